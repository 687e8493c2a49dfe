/* The end of the program: sessions finish, those in the backlog are served, limits hold, the status is 0. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/watcher.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct proximux *start_with_globals(struct fixture *fixture, unsigned port, struct echo *echo,
                                           const char *globals)
{
    return proximux_start(
        fixture,
        "%s listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
        globals, port, echo_port(echo));
}

static bool is_open(unsigned port)
{
    int client = peer_try_connect(NULL, "127.0.0.1", port);

    if (client != -1)
        close(client);
    return client != -1;
}

static int connect_and_greet(unsigned port)
{
    int client = peer_connect("127.0.0.1", port);

    peer_expect_text(client, "e");
    return client;
}

static void finish_a_session(struct fixture *fixture, int number)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start_with_globals(fixture, port, echo, "");
    int client = connect_and_greet(port);

    proximux_signal(proximux, number);
    proximux_wait_notification(proximux, "STOPPING=1");
    test_wait_until(!is_open(port));
    peer_expect_silence(client, 100);
    peer_send_text(client, "unfinished business");
    peer_expect_text(client, "unfinished business");
    close(client);
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

static void sessions_finish_after_term_and_int(void **state)
{
    finish_a_session(*state, SIGTERM);
    finish_a_session(*state, SIGINT);
}

static void nothing_to_finish_means_the_end(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start_with_globals(*state, port, echo, "shutdown_timeout = -1;");

    close(connect_and_greet(port));
    proximux_signal(proximux, SIGTERM);
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

static void delay_leaves_the_door_open(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start_with_globals(*state, port, echo, "shutdown_delay = 500;");
    int64_t begin = test_now();

    proximux_signal(proximux, SIGTERM);
    proximux_wait_notification(proximux, "STOPPING=1");
    int client = connect_and_greet(port);
    test_wait_until(!is_open(port));
    test_require(test_now() - begin >= 480, "closed after %d ms", (int)(test_now() - begin));
    peer_send_text(client, "x");
    peer_expect_text(client, "x");
    close(client);
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

static void timeout_closes_the_rest(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start_with_globals(*state, port, echo, "shutdown_timeout = 300;");
    int client = connect_and_greet(port);
    int64_t begin = test_now();

    proximux_signal(proximux, SIGTERM);
    peer_expect_closed(client);
    test_require(test_now() - begin >= 280, "closed after %d ms", (int)(test_now() - begin));
    proximux_expect_exit(proximux, 0);
    assert_int_equal(proximux_log_count(proximux, "ended: drained"), 1);
    close(client);
    echo_stop(echo);
}

static void second_signal_closes_at_once(void **state)
{
    static const char *const globals[] = { "shutdown_timeout = -1;", "shutdown_delay = 3600000;" };

    for (size_t i = 0; i < 2; i++) { /* while it drains, and while it only waits to */
        unsigned port = peer_free_port();
        struct echo *echo = echo_start("127.0.0.1", 0, "e");
        struct proximux *proximux = start_with_globals(*state, port, echo, globals[i]);
        int client = connect_and_greet(port);

        proximux_signal(proximux, SIGTERM);
        proximux_wait_notification(proximux, "STOPPING=1");
        peer_expect_silence(client, 50);
        proximux_signal(proximux, i == 0 ? SIGTERM : SIGINT);
        peer_expect_closed(client);
        proximux_expect_exit(proximux, 0);
        close(client);
        echo_stop(echo);
    }
}

/* Connected by the kernel while the program was not looking: TERM must not throw them away. */
static void clients_in_the_backlog_are_served(void **state)
{
    enum { CLIENTS = 50 };
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start_with_globals(*state, port, echo, "");
    int clients[CLIENTS];

    proximux_signal(proximux, SIGSTOP);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = peer_connect("127.0.0.1", port);
    proximux_signal(proximux, SIGTERM);
    proximux_signal(proximux, SIGCONT);
    for (size_t i = 0; i < CLIENTS; i++) {
        peer_expect_text(clients[i], "e");
        peer_send_text(clients[i], "made it");
        peer_expect_text(clients[i], "made it");
    }
    for (size_t i = 0; i < CLIENTS; i++)
        close(clients[i]);
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

static void waiting_clients_are_served(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"slot\"; listen = \"127.0.0.1:%u\";"
                       "targets = ( { address = \"127.0.0.1:%u\"; max_connections = 1; } ); } );",
                       port, echo_port(echo));
    int holder = connect_and_greet(port);
    int waiting = peer_connect("127.0.0.1", port);

    peer_expect_silence(waiting, 50);
    proximux_signal(proximux, SIGTERM);
    proximux_wait_notification(proximux, "STOPPING=1");
    peer_expect_silence(waiting, 50);
    close(holder);
    peer_expect_text(waiting, "e");
    close(waiting);
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

/* Clients that come while it goes, to several sockets, which takes it a moment: who is connected is served,
 * or is told the end in an orderly way; nobody's connection is reset. */
static void nobody_comes_too_late(void **state)
{
    enum { PORTS = 12, CLIENTS = 6 };

    for (size_t round = 0; round < test_scaled(20, 2); round++) {
        char path[FIXTURE_PATH], addresses[PORTS * 24 + FIXTURE_PATH] = "";
        unsigned ports[PORTS];
        static struct watcher clients[CLIENTS]; /* their threads may outlive a test that fails */
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        size_t length = 0;

        for (size_t i = 0; i < PORTS; i++) {
            ports[i] = peer_free_port();
            length += (size_t)snprintf(addresses + length, sizeof(addresses) - length, "\"127.0.0.1:%u\", ",
                                       ports[i]);
        }
        struct proximux *proximux = proximux_start(
            *state,
            "listeners = ( { name = \"main\"; listen = [ %s\"unix:%s\" ]; mode = \"funnel\"; protocol = "
            "\"line\"; targets = ( \"127.0.0.1:%u\" ); } );",
            addresses, fixture_path(*state, "socket", path), echo_port(echo));
        for (size_t i = 0; i < CLIENTS; i++) {
            clients[i] = (struct watcher){ .path = i == 0 ? path : NULL,
                                           .port = ports[i],
                                           .request = "ask\n",
                                           .request_size = 4,
                                           .beginning = "ask",
                                           .end = "\n",
                                           .hurries = true };
            watcher_start(&clients[i]);
        }
        for (size_t i = 0; i < CLIENTS; i++)
            test_wait_until(atomic_load(&clients[i].answers) >= 5 ||
                            atomic_load(&clients[i].ended) != WATCHER_RUNS);
        proximux_signal(proximux, SIGTERM);
        proximux_expect_exit(proximux, 0);
        for (size_t i = 0; i < CLIENTS; i++) {
            test_wait_until(atomic_load(&clients[i].ended) != WATCHER_RUNS);
            enum watcher_end end = watcher_stop(&clients[i]);
            test_require(end == WATCHER_CLOSED || end == WATCHER_REFUSED, "client %zu: %s", i,
                         clients[i].text);
        }
        echo_stop(echo);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(sessions_finish_after_term_and_int), fixture_test(nothing_to_finish_means_the_end),
        fixture_test(delay_leaves_the_door_open),         fixture_test(timeout_closes_the_rest),
        fixture_test(second_signal_closes_at_once),       fixture_test(clients_in_the_backlog_are_served),
        fixture_test(waiting_clients_are_served),         fixture_test(nobody_comes_too_late),
    };

    return cmocka_run_group_tests_name("drain", tests, NULL, NULL);
}
