/* What deployments of the original rely on, configured by environment variables alone: requests and answers
 * of any form (raw) over one shared connection or a few. And what it gets wrong. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/flow.h"
#include "harness/peer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VARIABLES_MAX 24

/* Milliseconds in which nothing may happen. */
#define QUIET 60

struct variables {
    char text[VARIABLES_MAX][64];
    const char *list[VARIABLES_MAX + 1];
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void add(struct variables *variables, const char *format, ...)
{
    va_list arguments;

    assert_true(variables->count < VARIABLES_MAX);
    va_start(arguments, format);
    vsnprintf(variables->text[variables->count], sizeof(variables->text[0]), format, arguments);
    va_end(arguments);
    variables->list[variables->count] = variables->text[variables->count];
    variables->list[++variables->count] = NULL;
}

/* So many connections to one target, which makes a fifo of one and a funnel of more. */
static struct proximux *start_original(struct fixture *fixture, unsigned port, unsigned target,
                                       unsigned connections, int inactive_timeout)
{
    struct variables variables = { .count = 0 };

    if (access(SYSCONFDIR "/proximux.conf", F_OK) == 0) {
        print_message("skipped: there is a %s, and this test needs none\n", SYSCONFDIR "/proximux.conf");
        skip();
    }
    add(&variables, "LOCAL_HOST=127.0.0.1");
    add(&variables, "LOCAL_PORT=%u", port);
    add(&variables, "LOCAL_MAX_CONNECTIONS=-1");
    add(&variables, "EXCHANGE_FUNNEL_ASYNC=0");
    add(&variables, "PROXY_INACTIVE_TIMEOUT=%d", inactive_timeout);
    add(&variables, "PROXY_CONNECTIONS_CNT=%u", connections);
    for (unsigned i = 1; i <= connections; i++) {
        add(&variables, "TARGET_HOST_%u=127.0.0.1", i);
        add(&variables, "TARGET_PORT_%u=%u", i, target);
        add(&variables, "TARGET_CONN_%u_KEEP_ALIVE=0", i);
    }
    return proximux_start_with(fixture, (&(struct proximux_options){ .environment = variables.list }));
}

/* The target takes so long for the request, in which no other one may reach it, and answers. */
static void answer_after(int target, const char *request, int milliseconds, const char *answer)
{
    peer_expect_text(target, request);
    peer_expect_silence(target, milliseconds);
    peer_send_text(target, answer);
}

static void three_clients_get_their_own_answers(void **state)
{
    unsigned port = peer_free_port(), target_port = peer_free_port();
    int listener = peer_listen("127.0.0.1", target_port, 16);
    struct proximux *proximux = start_original(*state, port, target_port, 1, -1);
    int clients[3], target = -1;

    proximux_wait_log(proximux, "means \"fifo\"");
    for (size_t i = 0; i < 3; i++)
        clients[i] = peer_connect("127.0.0.1", port);
    for (size_t round = 0; round < 2; round++) {
        peer_send_text(clients[0], "takes 50");
        if (target == -1)
            target = peer_accept(listener);
        answer_after(target, "takes 50", 0, "");
        peer_send_text(clients[1], "takes 20");
        peer_expect_silence(target, 25);
        peer_send_text(clients[2], "takes 0");
        peer_expect_silence(target, 25);
        peer_send_text(target, "took 50");
        answer_after(target, "takes 20", 20, "took 20");
        answer_after(target, "takes 0", 0, "took 0");
        peer_expect_text(clients[2], "took 0");
        peer_expect_text(clients[1], "took 20");
        peer_expect_text(clients[0], "took 50");
    }
    peer_expect_silence(listener, 0);
    for (size_t i = 0; i < 3; i++)
        close(clients[i]);
    proximux_stop(proximux);
    close(listener);
}

static void idle_connections_are_released_and_reopened(void **state)
{
    unsigned port = peer_free_port(), target_port = peer_free_port();
    int listener = peer_listen("127.0.0.1", target_port, 16);
    struct proximux *proximux = start_original(*state, port, target_port, 2, 200);
    int first = peer_connect("127.0.0.1", port);
    int second = peer_connect("127.0.0.1", port);

    proximux_wait_log(proximux, "means \"funnel\"");
    for (size_t round = 0; round < 3; round++) {
        peer_send_text(first, "one");
        int a = peer_accept(listener);
        peer_expect_text(a, "one");
        peer_send_text(second, "two");
        int b = peer_accept(listener);
        peer_expect_text(b, "two");
        peer_send_text(b, "TWO");
        peer_send_text(a, "ONE");
        peer_expect_text(first, "ONE");
        peer_expect_text(second, "TWO");
        int64_t begin = test_now();
        peer_expect_end(a);
        peer_expect_end(b);
        test_require(test_now() - begin >= 150, "released after %d ms", (int)(test_now() - begin));
        close(a);
        close(b);
    }
    close(first);
    close(second);
    proximux_stop(proximux);
    close(listener);
}

/* The original adds 50 ms to each request. */
static void one_client_alone_waits_for_the_target_only(void **state)
{
    enum { REQUESTS = 200 };
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start_original(*state, port, echo_port(echo), 1, -1);
    int client = peer_connect("127.0.0.1", port);
    int64_t begin = test_now();

    for (size_t i = 0; i < REQUESTS; i++) {
        peer_send_text(client, "request");
        peer_expect_text(client, "request");
    }
    int took = (int)(test_now() - begin);
    print_message("%d requests took %d ms\n", REQUESTS, took);
    if (test_figures_count()) /* each of them waited for response_gap: 4000 ms */
        test_require(took < 2000, "%d requests took %d ms", REQUESTS, took);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* The original takes what one read() gives for a whole answer. */
static void long_answer_in_pieces_is_one_answer(void **state)
{
    enum { PIECE = 1000, PIECES = 100 };
    unsigned port = peer_free_port(), target_port = peer_free_port();
    int listener = peer_listen("127.0.0.1", target_port, 16);
    struct proximux *proximux = start_original(*state, port, target_port, 1, -1);
    int first = peer_connect("127.0.0.1", port);
    char piece[PIECE], received[PIECE];

    peer_send_text(first, "much");
    int target = peer_accept(listener);
    peer_expect_text(target, "much");
    int second = peer_connect("127.0.0.1", port);
    peer_send_text(second, "little");
    for (size_t i = 0; i < PIECES; i++) {
        memset(piece, 'a' + (int)(i % 26), PIECE);
        peer_send(target, piece, PIECE);
        if (i % 10 == 0)
            peer_expect_silence(target, 3); /* a pause, and not yet the other client's turn */
        peer_receive(first, received, PIECE);
        assert_memory_equal(received, piece, PIECE);
    }
    peer_expect_text(target, "little");
    peer_send_text(target, "LITTLE");
    peer_expect_text(second, "LITTLE");
    peer_expect_silence(first, 0);
    close(first);
    close(second);
    proximux_stop(proximux);
    close(listener);
}

/* What is left of its answer is not the next one's: where nobody knows how long it is, the connection goes.
 */
static void client_that_leaves_takes_its_answer_along(void **state)
{
    unsigned port = peer_free_port(), target_port = peer_free_port();
    int listener = peer_listen("127.0.0.1", target_port, 16);
    struct proximux *proximux = start_original(*state, port, target_port, 1, -1);
    int leaver = peer_connect("127.0.0.1", port);

    peer_send_text(leaver, "long");
    int target = peer_accept(listener);
    peer_expect_text(target, "long");
    int other = peer_connect("127.0.0.1", port);
    peer_send_text(other, "short");
    peer_send_text(target, "LO");
    peer_expect_text(leaver, "LO");
    peer_reset(leaver);
    peer_expect_closed(target);
    close(target);
    target = peer_accept(listener);
    peer_expect_text(target, "short");
    peer_send_text(target, "SHORT");
    peer_expect_text(other, "SHORT");
    close(other);
    proximux_stop(proximux);
    close(listener);
}

static void target_that_closes_ends_only_its_own_client(void **state)
{
    unsigned port = peer_free_port(), target_port = peer_free_port();
    int listener = peer_listen("127.0.0.1", target_port, 16);
    struct proximux *proximux = start_original(*state, port, target_port, 1, -1);
    int first = peer_connect("127.0.0.1", port);

    peer_send_text(first, "one");
    int target = peer_accept(listener);
    peer_expect_text(target, "one");
    int second = peer_connect("127.0.0.1", port);
    peer_send_text(second, "two");
    peer_expect_silence(target, QUIET);
    close(target);
    peer_expect_closed(first);
    target = peer_accept(listener);
    peer_expect_text(target, "two");
    peer_send_text(target, "TWO");
    peer_expect_text(second, "TWO");
    close(first);
    close(second);
    proximux_stop(proximux);
    close(listener);
}

static void target_that_is_down_at_start_is_waited_for(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    struct proximux *proximux = start_original(*state, port, target, 1, -1);
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "early");
    proximux_wait_log(proximux, "is down");
    peer_expect_silence(client, QUIET);
    struct echo *echo = echo_start("127.0.0.1", target, NULL);
    peer_expect_text(client, "early");
    close(client);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "is down"), 1);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(three_clients_get_their_own_answers),
        fixture_test(idle_connections_are_released_and_reopened),
        fixture_test(one_client_alone_waits_for_the_target_only),
        fixture_test(long_answer_in_pieces_is_one_answer),
        fixture_test(client_that_leaves_takes_its_answer_along),
        fixture_test(target_that_closes_ends_only_its_own_client),
        fixture_test(target_that_is_down_at_start_is_waited_for),
    };

    return cmocka_run_group_tests_name("original", tests, NULL, NULL);
}
