/* Which target a client gets, and what happens when targets are down, slow, full or unknown. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/flow.h"
#include "harness/peer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Greets with one letter, so that a client knows where it is. */
#define TARGETS 3
static struct echo *targets[TARGETS];

static void start_targets(void)
{
    static const char *const letters[TARGETS] = { "a", "b", "c" };

    for (size_t i = 0; i < TARGETS; i++)
        targets[i] = echo_start("127.0.0.1", 0, letters[i]);
}

static void stop_targets(void)
{
    for (size_t i = 0; i < TARGETS; i++)
        if (targets[i] != NULL)
            echo_stop(targets[i]);
    memset(targets, 0, sizeof(targets));
}

/* The three targets behind one listener; `a`, `b`, `c`: further keys of each. */
static struct proximux *start_balanced(struct fixture *fixture, unsigned port, const char *keys,
                                       const char *a, const char *b, const char *c)
{
    return proximux_start(fixture,
                          "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; %s targets = ("
                          "{ address = \"127.0.0.1:%u\"; %s }, { address = \"127.0.0.1:%u\"; %s },"
                          "{ address = \"127.0.0.1:%u\"; %s } ); } );",
                          port, keys, echo_port(targets[0]), a, echo_port(targets[1]), b,
                          echo_port(targets[2]), c);
}

/* Connects; returns the letter of the target and leaves the connection in `client`. */
static char connect_to_letter(const char *source, unsigned port, int *client)
{
    char letter;

    *client = peer_connect_from(source, "127.0.0.1", port);
    peer_receive(*client, &letter, 1);
    return letter;
}

/* Opens so many clients, one after the other, counts which targets they get, and closes them at the end. */
static void count_letters(unsigned port, size_t count, size_t *letters)
{
    int clients[64];

    memset(letters, 0, TARGETS * sizeof(*letters));
    assert_true(count <= 64);
    for (size_t i = 0; i < count; i++)
        letters[connect_to_letter(NULL, port, &clients[i]) - 'a']++;
    for (size_t i = 0; i < count; i++)
        close(clients[i]);
}

static void round_robin_goes_by_weight(void **state)
{
    unsigned port = peer_free_port();
    size_t letters[TARGETS];

    start_targets();
    struct proximux *proximux =
        start_balanced(*state, port, "balance = \"round_robin\";", "weight = 3;", "", "weight = 0;");
    count_letters(port, 12, letters);
    assert_int_equal(letters[0], 9);
    assert_int_equal(letters[1], 3);
    assert_int_equal(letters[2], 0);
    proximux_stop(proximux);
    stop_targets();
}

static void least_connections_fills_up_evenly(void **state)
{
    unsigned port = peer_free_port();
    size_t letters[TARGETS];
    int clients[6], more;

    start_targets();
    struct proximux *proximux = start_balanced(*state, port, "", "", "", "");
    memset(letters, 0, sizeof(letters));
    for (size_t i = 0; i < 6; i++)
        letters[connect_to_letter(NULL, port, &clients[i]) - 'a']++;
    for (size_t i = 0; i < TARGETS; i++)
        assert_int_equal(letters[i], 2);

    /* a place becomes free at one target: the next client gets it */
    char letter = 0;
    close(clients[0]);
    proximux_wait_log(proximux, "ended:");
    test_wait_until(echo_open(targets[0]) + echo_open(targets[1]) + echo_open(targets[2]) == 5);
    for (size_t i = 0; i < TARGETS; i++)
        if (echo_open(targets[i]) == 1)
            letter = (char)('a' + i);
    assert_int_equal(connect_to_letter(NULL, port, &more), letter);
    close(more);
    for (size_t i = 1; i < 6; i++)
        close(clients[i]);
    proximux_stop(proximux);
    stop_targets();
}

static void least_connections_goes_by_weight(void **state)
{
    unsigned port = peer_free_port();
    size_t letters[TARGETS];

    start_targets();
    struct proximux *proximux =
        start_balanced(*state, port, "balance = \"least_connections\";", "weight = 4;", "weight = 2;", "");
    count_letters(port, 14, letters);
    assert_int_equal(letters[0], 8);
    assert_int_equal(letters[1], 4);
    assert_int_equal(letters[2], 2);
    proximux_stop(proximux);
    stop_targets();
}

static void first_takes_the_first_that_is_up(void **state)
{
    unsigned port = peer_free_port();
    size_t letters[TARGETS];

    start_targets();
    struct proximux *proximux = start_balanced(*state, port, "balance = \"first\";", "", "", "");
    count_letters(port, 5, letters);
    assert_int_equal(letters[0], 5);
    echo_stop(targets[0]);
    targets[0] = NULL;
    count_letters(port, 5, letters);
    assert_int_equal(letters[1], 5);
    proximux_stop(proximux);
    stop_targets();
}

static void source_is_consistent(void **state)
{
    enum { SOURCES = 24 };
    unsigned port = peer_free_port();
    char before[SOURCES];
    size_t used[TARGETS] = { 0 };
    int client;

    start_targets();
    struct proximux *proximux = start_balanced(*state, port, "balance = \"source\";", "", "", "");
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < SOURCES; i++) {
            char source[32], letter;

            snprintf(source, sizeof(source), "127.0.7.%u", i + 1);
            letter = connect_to_letter(source, port, &client);
            close(client);
            if (turn == 0) {
                before[i] = letter;
                used[letter - 'a']++;
            } else {
                assert_int_equal(letter, before[i]);
            }
        }
    }
    for (size_t i = 0; i < TARGETS; i++)
        test_require(used[i] > 0, "target %zu got none of %d sources", i, SOURCES);

    /* a target that goes moves its own clients only */
    echo_stop(targets[1]);
    targets[1] = NULL;
    for (unsigned i = 0; i < SOURCES; i++) {
        char source[32], letter;

        snprintf(source, sizeof(source), "127.0.7.%u", i + 1);
        letter = connect_to_letter(source, port, &client);
        close(client);
        if (before[i] == 'b')
            assert_int_not_equal(letter, 'b');
        else
            assert_int_equal(letter, before[i]);
    }
    proximux_stop(proximux);
    stop_targets();
}

static void backup_serves_only_while_no_other_is_up(void **state)
{
    unsigned port = peer_free_port();
    size_t letters[TARGETS];

    start_targets();
    unsigned first = echo_port(targets[0]);
    struct proximux *proximux =
        start_balanced(*state, port, "retry_min = 20; retry_max = 40;", "", "backup = true;", "weight = 0;");
    count_letters(port, 4, letters);
    assert_int_equal(letters[0], 4);
    echo_stop(targets[0]);
    targets[0] = NULL;
    count_letters(port, 4, letters);
    assert_int_equal(letters[1], 4);
    targets[0] = echo_start("127.0.0.1", first, "a");
    proximux_wait_log(proximux, "is up");
    count_letters(port, 4, letters);
    assert_int_equal(letters[0], 4);
    proximux_stop(proximux);
    stop_targets();
}

static void refusing_target_is_passed_over(void **state)
{
    unsigned port = peer_free_port(), closed = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; balance = \"first\";"
                       "targets = ( \"127.0.0.1:%u\", \"127.0.0.1:%u\" ); } );",
                       port, closed, echo_port(echo));
    char down[64];
    int client;

    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(connect_to_letter(NULL, port, &client), 'e');
        close(client);
    }
    snprintf(down, sizeof(down), "target 127.0.0.1:%u is down: Connection refused", closed);
    proximux_wait_log(proximux, down);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "is down"), 1);
    echo_stop(echo);
}

static void silent_target_costs_connect_timeout(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct peer_deaf deaf;
    int client;

    peer_make_deaf(&deaf, "127.0.0.1");
    struct proximux *proximux = proximux_start(*state,
                                               "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; "
                                               "balance = \"first\"; connect_timeout = 200;"
                                               "targets = ( \"127.0.0.1:%u\", \"127.0.0.1:%u\" ); } );",
                                               port, deaf.port, echo_port(echo));
    int64_t begin = test_now();
    assert_int_equal(connect_to_letter(NULL, port, &client), 'e');
    test_require(test_now() - begin >= 190, "given up after %d ms", (int)(test_now() - begin));
    peer_send_text(client, "still there");
    peer_expect_text(client, "still there");
    close(client);
    proximux_wait_log(proximux, "is down");
    proximux_stop(proximux);
    peer_close_deaf(&deaf);
    echo_stop(echo);
}

/* Clients that come while a target is down wait for it, and it is found again without a restart. */
static void target_that_comes_up_later_is_found(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    struct proximux *proximux =
        proximux_start_between(*state, port, target, "retry_min = 20; retry_max = 40;");
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "early");
    proximux_wait_log(proximux, "is down");
    peer_expect_silence(client, 150); /* several attempts */
    struct echo *echo = echo_start("127.0.0.1", target, NULL);
    peer_expect_text(client, "early");
    peer_send_text(client, "late");
    peer_expect_text(client, "late");
    close(client);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "is down"), 1);
    assert_int_equal(proximux_log_count(proximux, "is up"), 1);
    echo_stop(echo);
}

/* Its back-off is kept, and the target tried, when no client waits at all. */
static void down_target_is_tried_without_clients(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    struct proximux *proximux =
        proximux_start_between(*state, port, target, "retry_min = 20; retry_max = 40; queue_timeout = 60;");
    int client = peer_connect("127.0.0.1", port);

    proximux_wait_log(proximux, "is down");
    peer_expect_closed(client);
    close(client);
    struct echo *echo = echo_start("127.0.0.1", target, "e");
    proximux_wait_log(proximux, "is up");
    test_wait_until(echo_accepted(echo) == 1); /* by the attempt that found it, and no more after that */
    assert_int_equal(connect_to_letter(NULL, port, &client), 'e');
    assert_int_equal(echo_accepted(echo), 2);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* A client does not wait for targets that are all down until queue_timeout, and not at all for the end of the program. */
static void nobody_waits_long_for_targets_that_are_down(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    struct proximux *proximux =
        proximux_start_between(*state, port, target, "retry_min = 20; retry_max = 40; down_timeout = 150;");
    int client = peer_connect("127.0.0.1", port);

    peer_expect_silence(client, 60);
    peer_expect_closed(client);
    close(client);
    proximux_wait_log(proximux, "ended: target_down");
    proximux_stop(proximux);
    proximux = proximux_start_between(*state, port, target, "down_timeout = -1; queue_timeout = -1;");
    client = peer_connect("127.0.0.1", port);
    proximux_wait_log(proximux, "is down");
    proximux_stop(proximux);
    peer_expect_closed(client);
    close(client);
}

static void unknown_name_is_a_target_that_is_down(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; balance = \"first\";"
                       "targets = ( \"proximux-test.invalid:80\", \"127.0.0.1:%u\" ); } );",
                       port, echo_port(echo));
    int client;

    assert_int_equal(connect_to_letter(NULL, port, &client), 'e');
    close(client);
    proximux_wait_log(proximux, "target proximux-test.invalid:80 is down");
    proximux_stop(proximux);
    echo_stop(echo);
}

static void targets_of_both_families_under_one_name(void **state)
{
    /* only the IPv4 side listens: the other address of the name is tried and passed over */
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = proximux_start(*state,
                                               "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\";"
                                               "targets = ( \"localhost:%u\" ); } );",
                                               port, echo_port(echo));
    int client;

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(connect_to_letter(NULL, port, &client), 'e');
        close(client);
    }
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "is down"), 0);
    echo_stop(echo);
}

/* A printer with one slot: each client is served whole, in the order of arrival, none at the same time. */
static void one_slot_serves_clients_in_order(void **state)
{
    enum { CLIENTS = 5 };
    unsigned port = peer_free_port(), target = peer_free_port();
    int listener = peer_listen("127.0.0.1", target, 16);
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"printer\"; listen = \"127.0.0.1:%u\";"
                       "targets = ( { address = \"127.0.0.1:%u\"; max_connections = 1; } ); } );",
                       port, target);
    int clients[CLIENTS];

    for (size_t i = 0; i < CLIENTS; i++) {
        char text[16];

        snprintf(text, sizeof(text), "job %zu", i);
        clients[i] = peer_connect("127.0.0.1", port);
        peer_send_text(clients[i], text);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        int server = peer_accept(listener);
        char text[16];

        snprintf(text, sizeof(text), "job %zu", i);
        peer_expect_text(server, text);
        peer_expect_silence(listener, 30);
        peer_send_text(server, "printed");
        peer_expect_text(clients[i], "printed");
        close(clients[i]);
        peer_expect_end(server);
        close(server);
    }
    proximux_stop(proximux);
    close(listener);
}

/* Attempts that fail are made for the first in the queue; that must not cost it its place. */
static void failed_attempts_keep_the_order(void **state)
{
    enum { CLIENTS = 5 };
    unsigned port = peer_free_port(), target = peer_free_port();
    struct proximux *proximux = proximux_start(
        *state,
        "listeners = ( { name = \"printer\"; listen = \"127.0.0.1:%u\"; retry_min = 10; retry_max = 20;"
        "targets = ( { address = \"127.0.0.1:%u\"; max_connections = 1; } ); } );",
        port, target);
    int clients[CLIENTS];
    char text[16];

    for (size_t i = 0; i < CLIENTS; i++) {
        snprintf(text, sizeof(text), "job %zu", i);
        clients[i] = peer_connect("127.0.0.1", port);
        peer_send_text(clients[i], text);
    }
    peer_expect_silence(clients[0], 130); /* several attempts */
    int listener = peer_listen("127.0.0.1", target, 16);
    for (size_t i = 0; i < CLIENTS; i++) {
        int server = peer_accept(listener);

        snprintf(text, sizeof(text), "job %zu", i);
        peer_expect_text(server, text);
        close(clients[i]);
        peer_expect_end(server);
        close(server);
    }
    proximux_stop(proximux);
    close(listener);
}

/* Takes the only slot of a target; returns the client that has it. */
static int take_slot(unsigned port)
{
    int client;

    assert_int_equal(connect_to_letter(NULL, port, &client), 'e');
    return client;
}

static struct proximux *start_with_slot(struct fixture *fixture, unsigned port, struct echo *echo,
                                        const char *keys)
{
    return proximux_start(fixture,
                          "listeners = ( { name = \"slot\"; listen = \"127.0.0.1:%u\"; %s"
                          "targets = ( { address = \"127.0.0.1:%u\"; max_connections = 1; } ); } );",
                          port, keys, echo_port(echo));
}

static void waiting_ends_with_queue_timeout(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start_with_slot(*state, port, echo, "queue_timeout = 200;");
    int holder = take_slot(port);
    int64_t begin = test_now();
    int waiting = peer_connect("127.0.0.1", port);

    peer_expect_end(waiting);
    test_require(test_now() - begin >= 190, "after %d ms already", (int)(test_now() - begin));
    peer_send_text(holder, "unhurt");
    peer_expect_text(holder, "unhurt");
    proximux_wait_log(proximux, "ended: queue_timeout");
    close(waiting);
    close(holder);
    proximux_stop(proximux);
    assert_int_equal(echo_accepted(echo), 1);
    echo_stop(echo);
}

static void queue_takes_so_many_and_no_more(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start_with_slot(*state, port, echo, "queue_limit = 2;");
    int holder = take_slot(port);
    int first = peer_connect("127.0.0.1", port);
    int second = peer_connect("127.0.0.1", port);
    int third = peer_connect("127.0.0.1", port);

    peer_expect_end(third);
    peer_expect_silence(first, 50);
    peer_expect_silence(second, 0);
    close(holder);
    peer_expect_text(first, "e");
    close(first);
    peer_expect_text(second, "e");
    close(second);
    close(third);
    proximux_wait_log(proximux, "queue_full");
    proximux_stop(proximux);
    echo_stop(echo);
}

/* Clients whose attempts to connect fail all at once join the queue all at once; its limit holds for them
 * too. */
static void queue_is_limited_when_a_target_goes_down(void **state)
{
    unsigned port = peer_free_port();
    struct peer_deaf deaf;
    int clients[5];

    peer_make_deaf(&deaf, "127.0.0.1");
    struct proximux *proximux = proximux_start_between(
        *state, port, deaf.port,
        "queue_limit = 2; connect_timeout = 300; retry_min = 60000; retry_max = 60000;");
    for (size_t i = 0; i < 5; i++)
        clients[i] = peer_connect("127.0.0.1", port);
    for (size_t i = 2; i < 5; i++) /* those who came last */
        peer_expect_end(clients[i]);
    proximux_wait_log_times(proximux, "ended: queue_full", 3);
    peer_expect_silence(clients[0], 50);
    peer_expect_silence(clients[1], 0);
    for (size_t i = 0; i < 5; i++)
        peer_reset(clients[i]);
    proximux_wait_log_times(proximux, "ended: client_reset", 2);
    peer_close_deaf(&deaf);
    proximux_stop(proximux);
}

static void client_that_resets_leaves_the_queue(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start_with_slot(*state, port, echo, "");
    int holder = take_slot(port);
    int leaver = peer_connect("127.0.0.1", port);
    int patient = peer_connect("127.0.0.1", port);

    peer_send_text(leaver, "never mind");
    peer_reset(leaver);
    proximux_wait_log(proximux, "ended: client_reset");
    close(holder);
    peer_expect_text(patient, "e");
    assert_int_equal(echo_accepted(echo), 2);
    close(patient);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* What a client sends while it waits is kept, held to a limit, and delivered first. */
static void waiting_client_may_send_ahead(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    int listener = peer_listen("127.0.0.1", target, 16);
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"slot\"; listen = \"127.0.0.1:%u\";"
                       "targets = ( { address = \"127.0.0.1:%u\"; max_connections = 1; } ); } );",
                       port, target);
    int holder = peer_connect("127.0.0.1", port);
    int held = peer_accept(listener);
    int waiting = peer_connect("127.0.0.1", port);
    size_t count = flow_send_until_full(waiting, 16 * 1024 * 1024);

    test_require(count < 16 * 1024 * 1024, "a client that waits was read without a limit");
    close(holder);
    peer_expect_end(held);
    close(held);
    int server = peer_accept(listener);
    flow_receive(server, 0, count);
    peer_send_text(waiting, "end");
    peer_expect_text(server, "end");
    close(waiting);
    peer_expect_end(server);
    close(server);
    proximux_stop(proximux);
    close(listener);
}

/* Attempts that began before the target went down may fail while it is being tried again: that is no reason
 * to try it a second time at once. */
static void target_is_tried_once_at_a_time(void **state)
{
    unsigned port = peer_free_port();
    struct peer_deaf deaf;

    peer_make_deaf(&deaf, "127.0.0.1");
    struct proximux *proximux = proximux_start_between(
        *state, port, deaf.port, "connect_timeout = 1000; retry_min = 100; retry_max = 100;");
    long before = process_descriptors(proximux->process);
    int early = peer_connect("127.0.0.1", port);
    peer_expect_silence(early, 500);
    int late = peer_connect("127.0.0.1", port);

    peer_reset(early);
    peer_reset(late);
    proximux_wait_log_times(proximux, "ended: client_reset", 2);
    /* the late attempt has failed during a trial, which has 500 ms left; a second one would begin after 125
     * ms */
    int64_t end = test_now() + 400;
    while (test_now() < end) {
        long used = process_descriptors(proximux->process);
        test_require(used <= before + 1, "%ld connections to a target that is down", used - before);
        test_pause();
    }
    peer_close_deaf(&deaf);
    proximux_stop(proximux);
}

/* Clients that leave while their target is being connected to leave nothing behind. */
static void clients_that_leave_while_connecting(void **state)
{
    unsigned port = peer_free_port();
    struct peer_deaf deaf;

    peer_make_deaf(&deaf, "127.0.0.1");
    struct proximux *proximux = proximux_start_between(*state, port, deaf.port, "connect_timeout = 300;");
    long before = process_descriptors(proximux->process);

    for (size_t i = 0; i < 20; i++)
        peer_reset(peer_connect("127.0.0.1", port));
    proximux_wait_log_times(proximux, "ended:", 20);
    test_wait_until(process_descriptors(proximux->process) <= before + 1); /* an attempt may be running */
    peer_close_deaf(&deaf);
    proximux_stop(proximux);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(round_robin_goes_by_weight),
        fixture_test(least_connections_fills_up_evenly),
        fixture_test(least_connections_goes_by_weight),
        fixture_test(first_takes_the_first_that_is_up),
        fixture_test(source_is_consistent),
        fixture_test(backup_serves_only_while_no_other_is_up),
        fixture_test(refusing_target_is_passed_over),
        fixture_test(silent_target_costs_connect_timeout),
        fixture_test(target_that_comes_up_later_is_found),
        fixture_test(down_target_is_tried_without_clients),
        fixture_test(nobody_waits_long_for_targets_that_are_down),
        fixture_test(nobody_waits_long_for_targets_that_are_down),
        fixture_test(unknown_name_is_a_target_that_is_down),
        fixture_test(targets_of_both_families_under_one_name),
        fixture_test(one_slot_serves_clients_in_order),
        fixture_test(failed_attempts_keep_the_order),
        fixture_test(waiting_ends_with_queue_timeout),
        fixture_test(queue_takes_so_many_and_no_more),
        fixture_test(queue_is_limited_when_a_target_goes_down),
        fixture_test(client_that_resets_leaves_the_queue),
        fixture_test(waiting_client_may_send_ahead),
        fixture_test(target_is_tried_once_at_a_time),
        fixture_test(clients_that_leave_while_connecting),
    };

    return cmocka_run_group_tests_name("targets", tests, NULL, NULL);
}
