/* Faults of clients, in both shared modes, each with the traffic of other clients beside it: every answer of
 * theirs is looked at, and comes in time. */
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/stage.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Clients that go ---- */

static void gone_in_mid_request(struct fixture *fixture, bool is_fifo)
{
    struct stage stage = stage_begin(fixture, is_fifo, true, "buffer_limit = 1024;");
    char half[65536];

    /* It has to end in the middle of what is held back, and in the middle of what is streamed. */
    int victim = stage_ask(&stage, "echo half a requ");
    peer_reset(victim);
    proximux_wait_log(stage.proximux, "ended: client_reset");
    assert_int_equal(proximux_log_count(stage.proximux, "closed: "), 0);

    size_t before = actor_bytes(stage.actor);
    memset(half, 'x', sizeof(half));
    victim = stage_ask(&stage, "echo ");
    peer_send(victim, half, sizeof(half));
    test_wait_until(actor_bytes(stage.actor) - before >= sizeof(half) / 2);
    peer_reset(victim);
    proximux_wait_log_times(stage.proximux, "ended: client_reset", 2);
    proximux_wait_log(stage.proximux, "closed: client_reset"); /* nobody can use that connection any more */
    stage_end(&stage, STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 1);
}

static void client_gone_in_mid_request(void **state)
{
    stage_each_mode(*state, gone_in_mid_request);
}

static void gone_in_mid_response(struct fixture *fixture, bool is_fifo)
{
    struct stage stage = stage_begin(fixture, is_fifo, true, "%s", "");
    size_t accepted = 0;

    for (size_t i = 0; i < 10; i++) {
        int victim = stage_ask(&stage, "half of an answer\n");

        peer_expect_text(victim, "of an ");
        accepted = actor_accepted(stage.actor);
        peer_reset(victim);
        proximux_wait_log_times(stage.proximux, "failed: client_reset", i + 1);
        actor_release(stage.actor);
        traffic_go_on(stage.traffic, 2);
    }
    assert_int_equal(actor_accepted(stage.actor), accepted); /* the connection went on, clean */
    stage_end(&stage, STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 10);
}

static void client_gone_in_mid_response(void **state)
{
    stage_each_mode(*state, gone_in_mid_response);
}

/* ---- Slow clients ---- */

/* More than all buffers between take. */
#define BIG ((size_t)24 << 20)

/* Where a socket's buffer overflows the kernel itself may pause, by its retransmission timers. */
#define STALL 1000

/* Takes what comes, a little every few milliseconds, and looks at it. */
static void read_big_slowly(int client, size_t size)
{
    static char data[65536];

    for (size_t done = 0; done < size;) {
        size_t count = size - done < sizeof(data) ? size - done : sizeof(data);

        peer_receive(client, data, count);
        for (size_t i = 0; i < count; i++)
            test_require(data[i] == actor_big_byte(done + i, size), "byte %zu is wrong", done + i);
        done += count;
        test_pause();
    }
}

/* One that reads slowly, but goes on, gets all of it; one that does not read is cut off if others wait. */
static void slow_reader(struct fixture *fixture, bool is_fifo)
{
    struct stage stage = stage_begin(fixture, is_fifo, true, "stall_timeout = %d;", test_stretched(STALL));
    char request[32];

    snprintf(request, sizeof(request), "big %zu\n", BIG);
    int slow = stage_ask(&stage, request);
    int64_t begin = test_now();
    read_big_slowly(slow, BIG);
    test_require(test_now() - begin > STALL, "it was no slow reader");
    close(slow);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 0);

    int stalled = stage_ask(&stage, request);
    if (is_fifo) {
        proximux_wait_log(stage.proximux, "failed: client_stalled");
        traffic_go_on(stage.traffic, 5);
        peer_expect_closed(stalled);
    } else { /* nobody waits for the connection that it holds */
        traffic_go_on(stage.traffic, 50);
        read_big_slowly(stalled, BIG);
    }
    close(stalled);
    stage_end(&stage, 2 * STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), is_fifo ? 1 : 0);
}

static void client_that_reads_slowly(void **state)
{
    stage_each_mode(*state, slow_reader);
}

/* The program does not run for longer than a client may stall; the client has read all there was meanwhile.
 */
static void late_program(struct fixture *fixture, bool is_fifo)
{
    int stall = test_stretched(STALL);
    struct stage stage = stage_begin(fixture, is_fifo, true, "stall_timeout = %d;", stall);
    static char data[65536];
    size_t done = 0;
    char request[32];

    snprintf(request, sizeof(request), "big %zu\n", BIG);
    int reader = stage_ask(&stage, request);
    peer_receive(reader, data, 1);
    peer_expect_text(reader, "b");
    int idle = peer_connect("127.0.0.1", stage.port);
    peer_expect_silence(idle, stall / 3); /* until no buffer takes anything any more */
    close(idle);
    proximux_signal(stage.proximux, SIGSTOP);
    while (peer_readable(reader, stall + stall / 2)) {
        ssize_t got = recv(reader, data, sizeof(data), MSG_DONTWAIT);

        test_require(got > 0, "it was closed");
        done += (size_t)got;
    }
    proximux_signal(stage.proximux, SIGCONT);
    for (done += 2; done < BIG; done += sizeof(data)) {
        size_t count = BIG - done < sizeof(data) ? BIG - done : sizeof(data);

        peer_receive(reader, data, count);
    }
    close(reader);
    stage_end(&stage, 2 * STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 0);
}

static void client_is_not_blamed_for_our_delay(void **state)
{
    stage_each_mode(*state, late_program);
}

/* One that sends slowly, but goes on, is served; one that stops in the middle of what is streamed is cut off
 * if others wait. */
static void slow_sender(struct fixture *fixture, bool is_fifo)
{
    enum { PIECE = 4096, PIECES = 100 };
    struct stage stage = stage_begin(fixture, is_fifo, true, "buffer_limit = %d; stall_timeout = %d;", PIECE,
                                     test_stretched(STAGE_SHORT));
    char piece[PIECE], answer[PIECE];

    memset(piece, 'x', sizeof(piece));
    int slow = stage_ask(&stage, "echo ");
    for (size_t i = 0; i < PIECES; i++) {
        peer_send(slow, piece, sizeof(piece));
        test_pause();
    }
    peer_send_text(slow, "\n");
    for (size_t i = 0; i < PIECES; i++) {
        peer_receive(slow, answer, sizeof(answer));
        assert_memory_equal(answer, piece, sizeof(piece));
    }
    peer_expect_text(slow, "\n");
    close(slow);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 0);

    int stalled = stage_ask(&stage, "echo ");
    peer_send(stalled, piece, sizeof(piece));
    peer_send(stalled, piece, sizeof(piece));
    if (is_fifo) {
        proximux_wait_log(stage.proximux, "failed: client_stalled");
        peer_expect_closed(stalled);
        proximux_wait_log(stage.proximux, "closed: client_stalled");
    } else {
        traffic_go_on(stage.traffic, 50);
        peer_send_text(stalled, "\n");
        peer_receive(stalled, answer, sizeof(answer));
    }
    close(stalled);
    stage_end(&stage, STAGE_SOON + STAGE_SHORT, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: client_stalled"), is_fifo ? 1 : 0);
}

static void client_that_sends_slowly(void **state)
{
    stage_each_mode(*state, slow_sender);
}

/* Byte by byte, for longer than a client may be idle: it is not idle, and holds nobody up. */
static void dripping(struct fixture *fixture, bool is_fifo)
{
    static const char request[] = "echo a byte at a time\n";
    int limit = test_stretched(STAGE_SHORT);
    struct stage stage = stage_begin(fixture, is_fifo, true, "client_idle_timeout = %d;", limit);
    int victim = peer_connect("127.0.0.1", stage.port);
    int64_t begin = test_now();

    for (size_t i = 0; i + 1 < sizeof(request); i++) {
        peer_send(victim, request + i, 1);
        if (i + 2 < sizeof(request))
            peer_expect_silence(victim, limit / 8);
    }
    test_require(test_now() - begin > limit, "it was no slow request");
    peer_expect_text(victim, "a byte at a time\n");
    peer_send_text(victim, "echo half");
    peer_expect_end(victim); /* this one is idle */
    proximux_wait_log(stage.proximux, "ended: client_idle");
    close(victim);
    stage_end(&stage, STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 0);
}

static void client_that_drips(void **state)
{
    stage_each_mode(*state, dripping);
}

/* ---- Many requests ---- */

/* Takes all connections, until they are released. */
static void hold_all(const struct stage *stage, int *holders)
{
    size_t count = stage->is_fifo ? 1 : 2;

    for (size_t i = 0; i < count; i++)
        holders[i] = stage_ask(stage, "hold it\n");
    test_wait_until(actor_held(stage->actor) == count);
    test_wait_until(traffic_outstanding(stage->traffic) == STAGE_OTHERS);
}

static void queue_full(struct fixture *fixture, bool is_fifo)
{
    enum { WAITERS = 3 };
    struct stage stage = stage_begin(fixture, is_fifo, true, "queue_limit = %d;", STAGE_OTHERS + WAITERS);
    int holders[2], waiters[WAITERS];

    hold_all(&stage, holders);
    for (size_t i = 0; i < WAITERS; i++)
        waiters[i] = stage_ask(&stage, "echo in time\n");
    for (size_t i = 0; i < 5; i++) {
        int victim = stage_ask(&stage, "echo too many\n");

        peer_expect_text(victim, "ERROR\n"); /* at once: nothing else moves */
        proximux_wait_log_times(stage.proximux, "failed: queue_full", i + 1);
        close(victim);
    }
    for (size_t i = 0; i < WAITERS; i++)
        peer_expect_silence(waiters[i], 0);
    actor_release(stage.actor);
    for (size_t i = 0; i < (is_fifo ? 1 : 2); i++) {
        peer_expect_text(holders[i], "it\n");
        close(holders[i]);
    }
    for (size_t i = 0; i < WAITERS; i++) {
        peer_expect_text(waiters[i], "in time\n");
        close(waiters[i]);
    }
    stage_end(&stage, STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 5);
}

static void queue_is_full(void **state)
{
    stage_each_mode(*state, queue_full);
}

/* Sends numbered requests as long as they are taken. */
static size_t send_pipeline(int client, size_t *next, size_t *offset)
{
    size_t sent = 0;

    for (;;) {
        char request[32];
        size_t length = (size_t)snprintf(request, sizeof(request), "echo %zu\n", *next);
        ssize_t taken = send(client, request + *offset, length - *offset, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (taken <= 0)
            return sent;
        sent += (size_t)taken;
        *offset += (size_t)taken;
        if (*offset == length) {
            *offset = 0;
            ++*next;
        }
        if (sent > 65536) /* so that its answers are looked at too */
            return sent;
    }
}

/* One that never stops asking, first taking its answers, then not. */
static void pipelining(struct fixture *fixture, bool is_fifo)
{
    struct stage stage = stage_begin(fixture, is_fifo, true, "%s", "");
    size_t rounds = test_scaled(100, 10), next = 0, offset = 0, answered = 0;
    int victim = peer_connect("127.0.0.1", stage.port);
    char text[32];

    for (size_t i = 0; i < rounds; i++) {
        send_pipeline(victim, &next, &offset);
        for (size_t k = 0; k < 50 && answered < next; k++) {
            snprintf(text, sizeof(text), "%zu\n", answered++);
            peer_expect_text(victim, text);
        }
        if (i % 20 == 0)
            traffic_go_on(stage.traffic, 1);
    }
    int64_t deadline = test_now() + 500; /* at the latest then it is not read any more */
    while (test_now() < deadline) {
        if (send_pipeline(victim, &next, &offset) == 0)
            test_pause();
    }
    traffic_go_on(stage.traffic, 20);
    if (test_figures_count())
        test_require(process_private_kilobytes(stage.proximux->process) < 20000, "it takes %ld kB",
                     process_private_kilobytes(stage.proximux->process));
    print_message("%zu requests in one pipeline, %zu answers looked at\n", next, answered);
    peer_reset(victim);
    proximux_wait_log(stage.proximux, "ended: client_reset");
    stage_end(&stage, STAGE_SOON, 0);
}

static void client_that_pipelines_without_end(void **state)
{
    stage_each_mode(*state, pipelining);
}

/* ---- Many clients ---- */

static void half_requests(struct fixture *fixture, bool is_fifo)
{
    size_t count = test_scaled(5000, 100);
    struct stage stage = stage_begin(fixture, is_fifo, true, "queue_limit = %zu;", count);
    int *clients = test_calloc(count, sizeof(*clients));
    char text[32];

    test_require(test_allow_descriptors(count + 100), "too few descriptors for %zu clients", count);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "echo %zu", i);
        clients[i] = stage_ask(&stage, text);
    }
    traffic_go_on(stage.traffic, 20);
    for (size_t i = 0; i < count; i += 2) /* half of them go on, the others never do */
        peer_send_text(clients[i], "!\n");
    for (size_t i = 0; i < count; i += 2) {
        snprintf(text, sizeof(text), "%zu!\n", i);
        peer_expect_text(clients[i], text);
    }
    for (size_t i = 1; i < count; i += 2)
        peer_expect_silence(clients[i], 0);
    if (is_fifo)
        assert_int_equal(actor_accepted(stage.actor), 1);
    for (size_t i = 0; i < count; i++)
        close(clients[i]);
    test_free(clients);
    proximux_wait_log_times(stage.proximux, "ended: client_closed", count);
    stage_end(&stage, STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 0);
}

static void thousands_of_clients_with_half_a_request(void **state)
{
    stage_each_mode(*state, half_requests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(client_gone_in_mid_request),
        fixture_test(client_gone_in_mid_response),
        fixture_test(client_that_reads_slowly),
        fixture_test(client_is_not_blamed_for_our_delay),
        fixture_test(client_that_sends_slowly),
        fixture_test(client_that_drips),
        fixture_test(queue_is_full),
        fixture_test(client_that_pipelines_without_end),
        fixture_test(thousands_of_clients_with_half_a_request),
    };

    return cmocka_run_group_tests_name("faults of clients", tests, NULL, NULL);
}
