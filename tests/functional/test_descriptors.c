/* What happens when descriptors run out: accepting pauses, nobody is hurt, nothing spins, all are served. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 200

/* Reads the answer of every client that has one and closes it. Returns how many. */
static size_t serve_those_answered(int *clients, size_t count)
{
    size_t served = 0;

    for (size_t i = 0; i < count; i++) {
        char text[32];

        if (clients[i] == -1 || !peer_readable(clients[i], 0))
            continue;
        snprintf(text, sizeof(text), "client %zu", i);
        peer_expect_text(clients[i], text);
        close(clients[i]);
        clients[i] = -1;
        served++;
    }
    return served;
}

static size_t count_answered(const int *clients, size_t count)
{
    size_t answered = 0;

    for (size_t i = 0; i < count; i++)
        answered += peer_readable(clients[i], 0);
    return answered;
}

static void connect_all(unsigned port, int *clients)
{
    test_require(test_allow_descriptors(2 * CLIENTS + 50), "too few descriptors for %d clients", CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++) {
        char text[32];

        clients[i] = peer_connect("127.0.0.1", port);
        snprintf(text, sizeof(text), "client %zu", i);
        peer_send_text(clients[i], text);
    }
}

static struct proximux *start_with_few(struct fixture *fixture, unsigned port, struct echo *echo,
                                       bool may_raise)
{
    char text[256];

    snprintf(
        text, sizeof(text),
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
        port, echo_port(echo));
    return proximux_start_with(fixture, (&(struct proximux_options){ .configuration = text,
                                                                     .descriptors = 64,
                                                                     .may_raise_descriptors = may_raise }));
}

static void few_descriptors_under_many_clients(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start_with_few(*state, port, echo, false);
    long before = proximux_idle_descriptors(proximux, port);
    int clients[CLIENTS];
    size_t served = 0;

    connect_all(port, clients);
    proximux_wait_log(proximux, "accepting pauses");
    /* some are served, the others wait unhurt, and the program sleeps */
    test_wait_until(count_answered(clients, CLIENTS) >= 10);
    long used = process_processor_milliseconds(proximux->process);
    poll(NULL, 0, 400);
    used = process_processor_milliseconds(proximux->process) - used;
    if (test_figures_count())
        test_require(used < 100, "%ld of 400 ms used while accepting pauses", used);
    test_require(count_answered(clients, CLIENTS) < 32, "more sessions than descriptors");

    int64_t deadline = test_deadline(2 * TEST_PATIENCE);
    while (served < CLIENTS) {
        served += serve_those_answered(clients, CLIENTS);
        test_require(test_now() < deadline, "only %zu of %d clients were served", served, CLIENTS);
        test_pause();
    }
    test_wait_until(process_descriptors(proximux->process) == before);

    int client = peer_connect("127.0.0.1", port);
    peer_send_text(client, "all is well");
    peer_expect_text(client, "all is well");
    close(client);
    proximux_wait_log(proximux, "accepting goes on");
    proximux_stop(proximux);
    test_require(proximux_log_count(proximux, "accepting pauses") < 50, "the pauses flood the log");
    echo_stop(echo);
}

/* Those who wait while accepting pauses may leave again; the program must get over that too. */
static void clients_leave_while_accepting_pauses(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start_with_few(*state, port, echo, false);
    long before = proximux_idle_descriptors(proximux, port);
    int clients[CLIENTS];

    connect_all(port, clients);
    proximux_wait_log(proximux, "accepting pauses");
    for (size_t i = CLIENTS; i-- > 0;) {
        if (i % 2 == 0)
            close(clients[i]);
        else
            peer_reset(clients[i]);
    }
    test_wait_until(process_descriptors(proximux->process) == before);
    int client = peer_connect("127.0.0.1", port);
    peer_send_text(client, "all is well");
    peer_expect_text(client, "all is well");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* Who was in the backlog is served all the same. Nobody comes any more meanwhile, who would be cut off when
 * the socket closes. */
static void drain_while_accepting_pauses(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start_with_few(*state, port, echo, false);
    int clients[CLIENTS];
    size_t served = 0;

    connect_all(port, clients);
    proximux_wait_log(proximux, "accepting pauses");
    proximux_signal(proximux, SIGTERM);
    proximux_wait_log(proximux, "clients are left");
    int late = peer_connect_begin("127.0.0.1", port);
    test_require(!peer_writable(late, 100), "a client comes although the program is ending");
    close(late);
    int64_t deadline = test_deadline(2 * TEST_PATIENCE);
    while (served < CLIENTS) {
        served += serve_those_answered(clients, CLIENTS);
        test_require(test_now() < deadline, "only %zu of %d clients were served", served, CLIENTS);
        test_pause();
    }
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

static void soft_limit_is_raised(void **state)
{
    if (getenv("TEST_WRAPPER") != NULL)
        skip(); /* valgrind keeps the limit as it was */
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start_with_few(*state, port, echo, true);
    int clients[CLIENTS];

    connect_all(port, clients);
    test_wait_until(count_answered(clients, CLIENTS) == CLIENTS);
    assert_int_equal(serve_those_answered(clients, CLIENTS), CLIENTS);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "accepting pauses"), 0);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(few_descriptors_under_many_clients),
        fixture_test(clients_leave_while_accepting_pauses),
        fixture_test(drain_while_accepting_pauses),
        fixture_test(soft_limit_is_raised),
    };

    return cmocka_run_group_tests_name("descriptors", tests, NULL, NULL);
}
