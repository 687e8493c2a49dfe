/* Limits of a listener: how many clients, and how long they may be silent. Times are checked as "happens, and
 * not before its time", with some tolerance for the clock of one turn of the loop. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOLERANCE 20

static void require_not_before(int64_t begin, int64_t milliseconds, struct place place)
{
    int64_t passed = test_now() - begin;

    if (passed < milliseconds - TOLERANCE)
        test_fail_at(place, "after %d ms instead of %d", (int)passed, (int)milliseconds);
}

static void further_clients_are_closed_at_once(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "max_connections = 2;");
    int first = peer_connect("127.0.0.1", port);
    int second = peer_connect("127.0.0.1", port);

    peer_expect_text(first, "e");
    peer_expect_text(second, "e");
    int third = peer_connect("127.0.0.1", port);
    peer_expect_closed(third);
    close(third);
    proximux_wait_log(proximux, "refused: over_limit");
    peer_send_text(second, "unhurt");
    peer_expect_text(second, "unhurt");
    close(first);
    proximux_wait_log(proximux, "ended:");
    int fourth = peer_connect("127.0.0.1", port);
    peer_expect_text(fourth, "e");
    assert_int_equal(echo_accepted(echo), 3);
    close(second);
    close(fourth);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void refused_clients_do_not_flood_the_log(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "max_connections = 1;");
    int holder = peer_connect("127.0.0.1", port);

    peer_expect_text(holder, "e");
    for (size_t i = 0; i < 200; i++) {
        int refused = peer_connect("127.0.0.1", port);

        peer_expect_closed(refused);
        close(refused);
    }
    close(holder);
    proximux_stop(proximux);
    test_require(proximux_log_count(proximux, "over_limit") < 100, "a line for every refused client");
    echo_stop(echo);
}

static void limit_for_each_address(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux =
        proximux_start_between(*state, port, echo_port(echo), "max_connections_per_address = 1;");
    int one = peer_connect_from("127.0.0.1", "127.0.0.1", port);
    int other = peer_connect_from("127.0.0.2", "127.0.0.1", port);

    peer_expect_text(one, "e");
    peer_expect_text(other, "e");
    int again = peer_connect_from("127.0.0.2", "127.0.0.1", port);
    peer_expect_closed(again);
    close(again);
    close(other);
    proximux_wait_log(proximux, "ended:");
    again = peer_connect_from("127.0.0.2", "127.0.0.1", port);
    peer_expect_text(again, "e");
    close(again);
    close(one);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* Whether a client that comes from this address is let in. */
static bool is_let_in(const char *address, unsigned port)
{
    int client = peer_connect_from(address, "127.0.0.1", port);
    char byte;
    bool is_in = peer_readable(client, 5000) && recv(client, &byte, 1, 0) == 1;
    close(client);
    return is_in;
}

/* No more than `rate`, and so many for each second that it took. */
static void require_rate(unsigned count, unsigned rate, int64_t begin, struct place place)
{
    if (count > rate + rate * (double)(test_now() - begin + TOLERANCE) / 1000)
        test_fail_at(place, "%u came in %d ms", count, (int)(test_now() - begin));
}

static void clients_that_come_too_fast_are_closed(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = proximux_start_between(
        *state, port, echo_port(echo), "connection_rate = 4; connection_rate_per_address = 2;");
    int64_t begin = test_now();
    unsigned one = 0, other = 0;

    for (unsigned i = 0; i < 20; i++)
        one += is_let_in("127.0.0.1", port);
    assert_true(one >= 2);
    require_rate(one, 2, begin, HERE);
    assert_true(is_let_in("127.0.0.2", port)); /* there is room for those of other addresses */
    for (unsigned i = 0; i < 30; i++)
        other += is_let_in(i % 2 == 0 ? "127.0.0.3" : "127.0.0.4", port);
    require_rate(one + 1 + other, 4, begin, HERE);
    proximux_wait_log(proximux, "refused: over_rate");
    while (!is_let_in("127.0.0.1", port)) /* those who were refused do not count */
        test_require(test_now() - begin < 10000, "nobody is let in any more");
    proximux_stop(proximux);
    echo_stop(echo);
}

/* Ten requests, of which three go at once, and the others when their time has come; another address is served at once. */
static void requests_over_the_rate_wait(struct fixture *fixture, const char *mode)
{
    unsigned port = peer_free_port();
    char keys[200];
    struct echo *echo = echo_start("127.0.0.1", 0, "");

    snprintf(keys, sizeof keys, "mode = \"%s\"; protocol = \"line\"; request_rate_per_address = 4;%s", mode,
             " request_rate = 50; queue_timeout = 20000;");
    struct proximux *proximux = proximux_start_between(fixture, port, echo_port(echo), keys);
    int one = peer_connect_from("127.0.0.1", "127.0.0.1", port);
    int other = peer_connect_from("127.0.0.2", "127.0.0.1", port);
    int64_t begin = test_now();

    peer_send_text(one, "0\n1\n2\n3\n4\n5\n6\n7\n");
    peer_expect_text(one, "0\n1\n2\n3\n");
    peer_send_text(other, "x\n");
    peer_expect_text(other, "x\n");
    peer_expect_text(one, "4\n5\n6\n7\n");
    require_not_before(begin, 1000, HERE);
    test_require(test_now() - begin < 20000, "they waited until queue_timeout");
    close(one);
    close(other);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void requests_over_the_rate_wait_in_each_mode(void **state)
{
    requests_over_the_rate_wait(*state, "funnel");
    requests_over_the_rate_wait(*state, "fifo");
}

static void waiting_clients_count_too(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"slot\"; listen = \"127.0.0.1:%u\"; max_connections = 2;"
                       "targets = ( { address = \"127.0.0.1:%u\"; max_connections = 1; } ); } );",
                       port, echo_port(echo));
    int holder = peer_connect("127.0.0.1", port);

    peer_expect_text(holder, "e");
    int waiting = peer_connect("127.0.0.1", port);
    int refused = peer_connect("127.0.0.1", port);
    peer_expect_closed(refused);
    close(refused);
    peer_expect_silence(waiting, 30);
    close(holder);
    peer_expect_text(waiting, "e");
    close(waiting);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void silence_ends_a_session(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    int listener = peer_listen("127.0.0.1", target, 16);
    struct proximux *proximux = proximux_start_between(*state, port, target, "inactivity_timeout = 300;");
    int64_t begin = test_now();
    int client = peer_connect("127.0.0.1", port);
    int server = peer_accept(listener);

    /* bytes of either side begin the time anew: four of them outlast it */
    for (size_t i = 0; i < 4; i++) {
        bool from_client = i % 2 == 0;

        peer_expect_silence(from_client ? server : client, 120);
        begin = test_now();
        peer_send_text(from_client ? client : server, "x");
        peer_expect_text(from_client ? server : client, "x");
    }
    peer_expect_closed(client);
    require_not_before(begin, 300, HERE);
    peer_expect_closed(server);
    proximux_wait_log(proximux, "ended: inactivity");
    close(client);
    close(server);
    proximux_stop(proximux);
    close(listener);
}

static void sessions_are_silent_as_long_as_they_like(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux =
        proximux_start_between(*state, port, echo_port(echo), "inactivity_timeout = -1;");
    int client = peer_connect("127.0.0.1", port);

    peer_expect_silence(client, 400);
    peer_send_text(client, "awake");
    peer_expect_text(client, "awake");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* One side has ended; the other one goes on for a while, then is closed for its silence. */
static void end_half_and_wait(struct fixture *fixture, bool client_ends)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    int listener = peer_listen("127.0.0.1", target, 16);
    struct proximux *proximux = proximux_start_between(fixture, port, target, "half_close_timeout = 200;");
    int client = peer_connect("127.0.0.1", port);
    int server = peer_accept(listener);
    int ending = client_ends ? client : server, other = client_ends ? server : client;

    peer_expect_silence(client, 300); /* no limit before one side ends */
    peer_end(ending);
    peer_expect_end(other);
    int64_t begin = test_now();
    peer_send_text(other, "last words");
    peer_expect_text(ending, "last words");
    peer_expect_closed(ending);
    require_not_before(begin, 200, HERE);
    close(client);
    close(server);
    proximux_wait_log(proximux, "ended: inactivity");
    proximux_stop(proximux);
    close(listener);
}

static void half_closed_session_ends_after_its_silence(void **state)
{
    end_half_and_wait(*state, true);
    end_half_and_wait(*state, false);
}

/* The buffers for a thousand clients that say nothing: none. */
static void idle_clients_cost_little_memory(void **state)
{
    size_t count = test_scaled(1000, 50);
    unsigned port = peer_free_port();
    int *clients = test_calloc(count, sizeof(*clients));
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "");

    test_require(test_allow_descriptors(2 * count + 50), "too few descriptors for %zu clients", count);
    clients[0] = peer_connect("127.0.0.1", port); /* so that what is needed once is there */
    peer_send_text(clients[0], "x");
    peer_expect_text(clients[0], "x");
    long before = process_private_kilobytes(proximux->process);
    for (size_t i = 1; i < count; i++)
        clients[i] = peer_connect("127.0.0.1", port);
    for (size_t i = 1; i < count; i++) {
        peer_send_text(clients[i], "hello");
        peer_expect_text(clients[i], "hello");
    }
    long after = process_private_kilobytes(proximux->process);
    if (test_figures_count()) {
        long each = (after - before) * 1024 / (long)count;

        print_message("%zu idle clients: %ld bytes of memory each\n", count, each);
        if (count >= 1000)
            test_require(each < 1024, "%ld bytes for each idle client", each);
    }
    for (size_t i = 0; i < count; i++)
        close(clients[i]);
    test_wait_until(echo_open(echo) == 0);
    test_free(clients);
    proximux_stop(proximux);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(further_clients_are_closed_at_once),
        fixture_test(refused_clients_do_not_flood_the_log),
        fixture_test(limit_for_each_address),
        fixture_test(clients_that_come_too_fast_are_closed),
        fixture_test(requests_over_the_rate_wait_in_each_mode),
        fixture_test(waiting_clients_count_too),
        fixture_test(silence_ends_a_session),
        fixture_test(sessions_are_silent_as_long_as_they_like),
        fixture_test(half_closed_session_ends_after_its_silence),
        fixture_test(idle_clients_cost_little_memory),
    };

    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
