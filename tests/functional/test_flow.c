/* Ends, resets and back-pressure: what travels from one side to the other besides bytes. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/flow.h"
#include "harness/peer.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEBIBYTE (1024 * 1024)
#define PLENTY   ((size_t)256 * MEBIBYTE) /* more than all buffers on the way take */

/* A session with both of its ends in the test's hands. */
struct both_ends {
    struct proximux *proximux;
    unsigned port;
    int listener;
    int client;
    int server;
};

static struct both_ends open_both_ends(struct fixture *fixture, const char *keys)
{
    struct both_ends ends = { .port = peer_free_port() };
    unsigned target = peer_free_port();

    ends.listener = peer_listen("127.0.0.1", target, 64);
    ends.proximux = proximux_start_between(fixture, ends.port, target, keys);
    ends.client = peer_connect("127.0.0.1", ends.port);
    ends.server = peer_accept(ends.listener);
    return ends;
}

static void close_both_ends(struct both_ends *ends)
{
    close(ends->client);
    close(ends->server);
    proximux_stop(ends->proximux);
    close(ends->listener);
}

static void client_ends_and_is_still_answered(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    peer_send_text(ends.client, "the question");
    peer_end(ends.client);
    peer_expect_text(ends.server, "the question");
    peer_expect_end(ends.server);
    peer_expect_silence(ends.client, 100); /* one end is not both */
    peer_send_text(ends.server, "the answer");
    peer_expect_text(ends.client, "the answer");
    flow_transfer(ends.server, ends.client, test_scaled(8 * MEBIBYTE, MEBIBYTE), NULL, NULL);
    peer_end(ends.server);
    peer_expect_end(ends.client);
    proximux_wait_log(ends.proximux, "ended: client_closed");
    close_both_ends(&ends);
}

static void target_ends_and_still_listens(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    peer_send_text(ends.server, "bye");
    peer_end(ends.server);
    peer_expect_text(ends.client, "bye");
    peer_expect_end(ends.client);
    peer_expect_silence(ends.server, 100);
    flow_transfer(ends.client, ends.server, test_scaled(8 * MEBIBYTE, MEBIBYTE), NULL, NULL);
    peer_end(ends.client);
    peer_expect_end(ends.server);
    proximux_wait_log(ends.proximux, "ended: target_closed");
    close_both_ends(&ends);
}

static void both_end_at_once(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    peer_send_text(ends.client, "from here");
    peer_send_text(ends.server, "from there");
    peer_end(ends.client);
    peer_end(ends.server);
    peer_expect_text(ends.client, "from there");
    peer_expect_end(ends.client);
    peer_expect_text(ends.server, "from here");
    peer_expect_end(ends.server);
    close_both_ends(&ends);
}

/* What was sent before an end arrives before it, however full the way is. */
static void end_comes_after_all_bytes(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");
    size_t sent = flow_send_until_full(ends.server, PLENTY);

    peer_end(ends.server);
    flow_receive(ends.client, 0, sent);
    peer_expect_end(ends.client);
    close_both_ends(&ends);
}

static void end_before_there_is_a_connection_is_passed_on(void **state)
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
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "all I have to say");
    peer_end(client);
    peer_expect_silence(client, 50);
    close(holder);
    close(held);
    int server = peer_accept(listener);
    peer_expect_text(server, "all I have to say");
    peer_expect_end(server);
    peer_send_text(server, "heard");
    close(server);
    peer_expect_text(client, "heard");
    peer_expect_end(client);
    close(client);
    proximux_stop(proximux);
    close(listener);
}

/* The side that does not read makes the other one stop, at a few buffers of the program and the kernel's; and
 * nothing is lost when it goes on. */
static void sleep_and_go_on(struct fixture *fixture, bool client_sleeps)
{
    struct both_ends ends = open_both_ends(fixture, "");
    int sender = client_sleeps ? ends.server : ends.client;
    int sleeper = client_sleeps ? ends.client : ends.server;

    long before = process_private_kilobytes(ends.proximux->process);
    size_t sent = flow_send_until_full(sender, PLENTY);
    long after = process_private_kilobytes(ends.proximux->process);

    test_require(sent < PLENTY, "the sender was never stopped");
    if (test_figures_count())
        test_require(after - before < 1024, "%ld KiB more while a reader sleeps", after - before);
    peer_send_text(sleeper, "the other direction is free");
    peer_expect_text(sender, "the other direction is free");
    flow_receive(sleeper, 0, sent);
    peer_send_text(sender, "and on");
    peer_expect_text(sleeper, "and on");
    close_both_ends(&ends);
}

static void sleeping_reader_stops_the_sender(void **state)
{
    sleep_and_go_on(*state, true);
    sleep_and_go_on(*state, false);
}

/* A paused session costs no processor time either. */
static void paused_session_does_not_spin(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    flow_send_until_full(ends.server, PLENTY);
    long before = process_processor_milliseconds(ends.proximux->process);
    peer_expect_silence(ends.server, 300);
    long used = process_processor_milliseconds(ends.proximux->process) - before;
    if (test_figures_count())
        test_require(used < 100, "%ld of 300 ms used while there was nothing to do", used);
    peer_reset(ends.client);
    ends.client = -1;
    proximux_wait_log(ends.proximux, "ended: client_reset");
    close_both_ends(&ends);
}

/* What a long flow may cost. */
struct memory_watch {
    pid_t process;
    long begin;
    long most;
};

static void watch_memory(void *data)
{
    struct memory_watch *watch = data;
    long now = process_private_kilobytes(watch->process);

    if (now > watch->most)
        watch->most = now;
}

static void long_flow(struct fixture *fixture, bool from_client)
{
    struct both_ends ends = open_both_ends(fixture, "");
    size_t size = test_scaled((size_t)1024 * MEBIBYTE, 16 * MEBIBYTE);
    struct memory_watch watch = { .process = ends.proximux->process };
    int64_t begin = test_now();

    watch.begin = watch.most = process_private_kilobytes(watch.process);
    flow_transfer(from_client ? ends.client : ends.server, from_client ? ends.server : ends.client, size,
                  watch_memory, &watch);
    print_message("%zu MiB in %d ms, %ld KiB of memory more on the way\n", size / MEBIBYTE,
                  (int)(test_now() - begin), watch.most - watch.begin);
    if (test_figures_count())
        test_require(watch.most - watch.begin < 1024, "%ld KiB more for one flow", watch.most - watch.begin);
    close_both_ends(&ends);
}

static void long_flow_takes_a_few_buffers(void **state)
{
    long_flow(*state, true);
    long_flow(*state, false);
}

/* The kernel's pipes that the program has: two descriptors for each that splice() works with. */
static long pipes_of(const struct proximux *proximux)
{
    return process_descriptors_named(proximux->process, "pipe:");
}

struct pipe_watch {
    struct proximux *proximux;
    long most;
};

static void watch_pipes(void *data)
{
    struct pipe_watch *watch = data;
    long now = pipes_of(watch->proximux);

    if (now > watch->most)
        watch->most = now;
}

/* Once it is seen to be large a flow is moved, in both directions, and nothing of that stays behind. */
static void large_flow_is_not_copied(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");
    long before = pipes_of(ends.proximux);
    struct pipe_watch up = { .proximux = ends.proximux }, down = up;

    flow_transfer(ends.client, ends.server, 64 * MEBIBYTE, watch_pipes, &up);
    flow_transfer(ends.server, ends.client, 64 * MEBIBYTE, watch_pipes, &down);
    test_require(up.most >= before + 2 && down.most >= before + 2,
                 "%ld descriptors of pipes on the way up, %ld on the way down", up.most - before,
                 down.most - before);
    size_t sent = flow_send_until_full(ends.server, PLENTY);
    flow_receive(ends.client, 0, sent);
    peer_send_text(ends.server, "the end");
    peer_end(ends.server);
    peer_expect_text(ends.client, "the end");
    peer_expect_end(ends.client);
    peer_end(ends.client);
    test_wait_until(pipes_of(ends.proximux) == before);
    close_both_ends(&ends);
}

/* What somebody wants to see is not. */
static void watched_flow_is_copied(void **state)
{
    struct both_ends ends = open_both_ends(*state, "request_log = true;");
    struct pipe_watch watch = { .proximux = ends.proximux };
    long before = pipes_of(ends.proximux);

    flow_transfer(ends.server, ends.client, 16 * MEBIBYTE, watch_pipes, &watch);
    assert_int_equal(watch.most, before);
    close_both_ends(&ends);
}

/* Each of many readers who sleep holds a pipe, up to a limit; those beyond it are served all the same, and
 * every way to end gives the pipes back. */
static void sleeping_readers_hold_only_so_many_pipes(void **state)
{
    enum { READERS = 70, LIMIT = 64 };
    struct both_ends ends = open_both_ends(*state, "");
    long before = pipes_of(ends.proximux), descriptors = process_descriptors(ends.proximux->process);
    int clients[READERS], servers[READERS];
    static char bytes[MEBIBYTE];

    for (size_t i = 0; i < READERS; i++) {
        clients[i] = peer_connect("127.0.0.1", ends.port);
        servers[i] = peer_accept(ends.listener);
    }
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < READERS; i++)
            moved |= send(servers[i], bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
        if (!moved) /* it may only be slow */
            for (size_t i = 0; i < READERS && !moved; i++)
                moved = peer_writable(servers[i], 10);
    }
    long pipes = pipes_of(ends.proximux) - before;
    test_require(pipes > 0 && pipes <= 2 * LIMIT, "%ld descriptors of pipes", pipes);
    for (size_t i = 0; i < READERS; i++) {
        if (i % 3 == 0) {
            peer_reset(clients[i]);
        } else if (i % 3 == 1) {
            peer_reset(servers[i]);
        } else {
            close(servers[i]);
            while (recv(clients[i], bytes, sizeof(bytes), 0) > 0)
                ;
        }
        if (i % 3 != 0)
            close(clients[i]);
        if (i % 3 == 0)
            close(servers[i]);
    }
    test_wait_until(process_descriptors(ends.proximux->process) == descriptors);
    close_both_ends(&ends);
}

static void target_reset_reaches_the_client(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    peer_send_text(ends.server, "half an answ");
    peer_expect_text(ends.client, "half an answ");
    peer_reset(ends.server);
    peer_expect_reset(ends.client); /* an end would look as if the answer were whole */
    proximux_wait_log(ends.proximux, "ended: target_reset");
    close(ends.client);
    ends.client = peer_connect("127.0.0.1", ends.port); /* the next one is served */
    ends.server = peer_accept(ends.listener);
    peer_send_text(ends.server, "whole");
    peer_expect_text(ends.client, "whole");
    close_both_ends(&ends);
}

static void client_reset_reaches_the_target(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    peer_send_text(ends.client, "INSERT half of a");
    peer_expect_text(ends.server, "INSERT half of a");
    peer_reset(ends.client);
    peer_expect_reset(ends.server);
    proximux_wait_log(ends.proximux, "ended: client_reset");
    close(ends.server);
    ends.client = peer_connect("127.0.0.1", ends.port);
    ends.server = peer_accept(ends.listener);
    close_both_ends(&ends);
}

/* The target dies while its client is not reading, with the way full of bytes. */
static void target_dies_in_mid_stream(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    flow_send_until_full(ends.server, PLENTY);
    peer_reset(ends.server);
    peer_expect_closed(ends.client);
    proximux_wait_log(ends.proximux, "ended:");
    ends.server = -1;
    close_both_ends(&ends);
}

/* The target takes nothing, so that the client is not read: its reset is noticed all the same. */
static void client_resets_behind_a_target_that_sleeps(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    flow_send_until_full(ends.client, PLENTY);
    peer_reset(ends.client);
    proximux_wait_log(ends.proximux, "ended: client_reset");
    peer_expect_closed(ends.server);
    ends.client = -1;
    close_both_ends(&ends);
}

/* Both sides have ended their streams, which looks like hanging up; what the target has not taken yet still
 * reaches it. */
static void ended_client_behind_a_target_that_sleeps(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    size_t sent = flow_send_until_full(ends.client, PLENTY);
    peer_end(ends.server);
    peer_expect_end(ends.client);
    peer_end(ends.client);
    peer_expect_silence(ends.listener, 300);
    assert_int_equal(proximux_log_count(ends.proximux, "ended:"), 0);
    flow_receive(ends.server, 0, sent);
    peer_expect_end(ends.server);
    proximux_wait_log(ends.proximux, "ended: target_closed");
    close_both_ends(&ends);
}

/* A client that resets after its end, when the target is still writing, must not leave the session behind. */
static void client_resets_after_its_end(void **state)
{
    struct both_ends ends = open_both_ends(*state, "");

    peer_end(ends.client);
    peer_expect_end(ends.server);
    peer_reset(ends.client);
    ends.client = -1;
    for (size_t i = 0; i < 1000 && proximux_log_count(ends.proximux, "ended:") == 0; i++) {
        send(ends.server, "x", 1, MSG_NOSIGNAL);
        test_pause();
    }
    proximux_wait_log(ends.proximux, "ended:");
    close_both_ends(&ends);
}

/* Waits until the program holds as many descriptors as before, and so has lost none. */
static void expect_descriptors(struct proximux *proximux, long before)
{
    test_wait_until(process_descriptors(proximux->process) == before);
}

static void clients_that_leave_at_once(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "");
    long before = proximux_idle_descriptors(proximux, port);
    size_t count = test_scaled(300, 30);

    for (size_t i = 0; i < count; i++) {
        int client = peer_connect("127.0.0.1", port);

        switch (i % 3) {
        case 0:
            close(client);
            break;
        case 1:
            peer_reset(client);
            break;
        default:
            peer_send_text(client, "something");
            peer_reset(client);
        }
    }
    proximux_wait_log_times(proximux, "ended:", count + 1);
    expect_descriptors(proximux, before);
    test_wait_until(echo_open(echo) == 0);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* Bytes without sense from many sides, cut off anywhere: each session ends for itself, and nothing is lost.
 */
static void floods_of_garbage(void **state)
{
    enum { CLIENTS = 40 };
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "");
    int witness = peer_connect("127.0.0.1", port);
    static char garbage[MEBIBYTE];
    unsigned seed = 1;
    int clients[CLIENTS];

    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (char)rand_r(&seed);
    peer_send_text(witness, "before");
    peer_expect_text(witness, "before");
    long before = process_descriptors(proximux->process);
    for (size_t turn = 0; turn < test_scaled(10, 2); turn++) {
        for (size_t i = 0; i < CLIENTS; i++)
            clients[i] = peer_connect("127.0.0.1", port);
        for (size_t i = 0; i < CLIENTS; i++)
            send(clients[i], garbage, 1 + (size_t)rand_r(&seed) % sizeof(garbage),
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        peer_send_text(witness, "meanwhile");
        peer_expect_text(witness, "meanwhile");
        for (size_t i = 0; i < CLIENTS; i++) {
            if (i % 2 == 0)
                peer_reset(clients[i]);
            else
                close(clients[i]);
        }
    }
    expect_descriptors(proximux, before);
    peer_send_text(witness, "after");
    peer_expect_text(witness, "after");
    close(witness);
    proximux_stop(proximux);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(client_ends_and_is_still_answered),
        fixture_test(target_ends_and_still_listens),
        fixture_test(both_end_at_once),
        fixture_test(end_comes_after_all_bytes),
        fixture_test(end_before_there_is_a_connection_is_passed_on),
        fixture_test(sleeping_reader_stops_the_sender),
        fixture_test(paused_session_does_not_spin),
        fixture_test(long_flow_takes_a_few_buffers),
        fixture_test(large_flow_is_not_copied),
        fixture_test(watched_flow_is_copied),
        fixture_test(sleeping_readers_hold_only_so_many_pipes),
        fixture_test(target_reset_reaches_the_client),
        fixture_test(client_reset_reaches_the_target),
        fixture_test(target_dies_in_mid_stream),
        fixture_test(client_resets_behind_a_target_that_sleeps),
        fixture_test(ended_client_behind_a_target_that_sleeps),
        fixture_test(client_resets_after_its_end),
        fixture_test(clients_that_leave_at_once),
        fixture_test(floods_of_garbage),
    };

    return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
