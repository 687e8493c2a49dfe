/* Faults of targets, in both shared modes, each with the traffic of other clients beside it: every answer of
 * theirs is looked at, and comes in time. */
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/stage.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- The target dies ---- */

static void target_killed(struct fixture *fixture, bool is_fifo)
{
    struct stage stage = stage_begin(fixture, is_fifo, true, "retry_min = 20; retry_max = 40;");
    int victim = stage_ask(&stage, "half a long answer\n");

    peer_expect_text(victim, "a long ");
    actor_stop(stage.actor);
    peer_expect_reset(victim); /* so that half an answer does not look whole */
    proximux_wait_log(stage.proximux, "is down");
    stage.actor = actor_start(stage.target_port);
    proximux_wait_log(stage.proximux, "is up");
    close(victim);
    /* In funnel, requests of others were with the target when it died. */
    stage_end(&stage, STAGE_SOON, is_fifo ? 0 : STAGE_OTHERS);
    assert_int_equal(proximux_log_count(stage.proximux, "is down"), 1);
    assert_int_equal(proximux_log_count(stage.proximux, "is up"), 1);
    if (is_fifo)
        assert_int_equal(proximux_log_count(stage.proximux, "failed: target_reset"), 1);
}

static void target_is_killed_in_mid_response(void **state)
{
    stage_each_mode(*state, target_killed);
}

/* It is down when the program starts, and comes up later: the same process serves then. */
static void target_down_at_start(struct fixture *fixture, bool is_fifo)
{
    struct stage stage = stage_begin(fixture, is_fifo, false, "retry_min = 20; retry_max = 40;");

    proximux_wait_log(stage.proximux, "is down");
    int client = stage_ask(&stage, "echo early\n");
    peer_expect_silence(client, 200); /* several attempts */
    assert_int_equal(traffic_outstanding(stage.traffic), STAGE_OTHERS);
    stage.actor = actor_start(stage.target_port);
    peer_expect_text(client, "early\n");
    close(client);
    stage_end(&stage, 2 * STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, "is down"), 1);
    assert_int_equal(proximux_log_count(stage.proximux, "is up"), 1);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 0);
}

static void target_is_down_at_start_and_up_later(void **state)
{
    stage_each_mode(*state, target_down_at_start);
}

/* ---- The target is silent, or slow ---- */

static void target_silent(struct fixture *fixture, bool is_fifo)
{
    struct stage stage =
        stage_begin(fixture, is_fifo, true, "request_timeout = %d;", test_stretched(STAGE_SHORT));
    int victim = stage_ask(&stage, "silent\n");

    for (size_t i = 0; i < 3; i++) {
        peer_expect_text(victim, "ERROR\n");
        proximux_wait_log_times(stage.proximux, "failed: request_timeout", i + 1);
        peer_send_text(victim, i < 2 ? "silent\n" : "echo and now?\n");
    }
    peer_expect_text(victim, "and now?\n");
    close(victim);
    stage_end(&stage, STAGE_SHORT + STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 3);
}

static void target_that_is_silent(void **state)
{
    stage_each_mode(*state, target_silent);
}

/* Its answer takes much longer than the target may be silent, but it is not silent. */
static void target_dripping(struct fixture *fixture, bool is_fifo)
{
    struct stage stage =
        stage_begin(fixture, is_fifo, true, "request_timeout = %d;", test_stretched(STAGE_SHORT));
    int64_t begin = test_now();
    char request[64];

    snprintf(request, sizeof(request), "drip %d a byte at a time\n", test_stretched(STAGE_SHORT) / 6);
    int victim = stage_ask(&stage, request);
    peer_expect_text(victim, "a byte at a time\n");
    test_require(test_now() - begin > test_stretched(STAGE_SHORT), "it was no slow answer");
    close(victim);
    stage_end(&stage, 3 * STAGE_SHORT + STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 0);
}

static void target_that_drips(void **state)
{
    stage_each_mode(*state, target_dripping);
}

/* ---- The target closes, or speaks unasked ---- */

static void target_closing(struct fixture *fixture, bool is_fifo)
{
    enum { ROUNDS = 20 };
    struct stage stage = stage_begin(fixture, is_fifo, true, "%s", "");
    int victim = peer_connect("127.0.0.1", stage.port);

    for (size_t i = 0; i < ROUNDS; i++) {
        peer_send_text(victim, "close the door\n");
        peer_expect_text(victim, "the door\n");
        proximux_wait_log_times(stage.proximux, "closed: target_closed", i + 1);
    }
    close(victim);
    stage_end(&stage, STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 0);
    assert_int_equal(proximux_log_count(stage.proximux, "is down"), 0);
}

static void target_that_closes_when_idle(void **state)
{
    stage_each_mode(*state, target_closing);
}

static void target_straying(struct fixture *fixture, bool is_fifo)
{
    enum { ROUNDS = 20 };
    struct stage stage = stage_begin(fixture, is_fifo, true, "%s", "");
    int victim = peer_connect("127.0.0.1", stage.port);

    for (size_t i = 0; i < ROUNDS; i++) {
        peer_send_text(victim, "stray cat\n");
        peer_expect_text(victim, "cat\n");
        proximux_wait_log_times(stage.proximux, "closed: protocol_error", i + 1);
    }
    peer_expect_silence(victim, 0);
    close(victim);
    stage_end(&stage, STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 0);
}

static void target_that_sends_stray_bytes(void **state)
{
    stage_each_mode(*state, target_straying);
}

/* ---- The target does not take, or does not stop ---- */

/* Sends as much as is taken, until something comes back. */
static void push_until_answered(int client)
{
    static char filling[65536];
    int64_t deadline = test_deadline(TEST_PATIENCE);

    memset(filling, 'x', sizeof(filling));
    while (!peer_readable(client, 5)) {
        test_require(test_now() < deadline, "no answer came");
        while (send(client, filling, sizeof(filling), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            continue;
    }
}

static void target_deaf(struct fixture *fixture, bool is_fifo)
{
    struct stage stage =
        stage_begin(fixture, is_fifo, true, "request_timeout = %d;", test_stretched(STAGE_SHORT));
    int victim = stage_ask(&stage, "deaf ");

    push_until_answered(victim);
    peer_expect_text(victim, "ERROR\n");
    proximux_wait_log(stage.proximux, "failed: request_timeout");
    close(victim);
    stage_end(&stage, STAGE_SHORT + STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 1);
}

static void target_that_stops_reading_in_mid_request(void **state)
{
    stage_each_mode(*state, target_deaf);
}

/* Its client has gone; what is thrown away has an end. */
static void target_endless(struct fixture *fixture, bool is_fifo)
{
    struct stage stage =
        stage_begin(fixture, is_fifo, true, "stall_timeout = %d;", test_stretched(STAGE_SHORT));
    static char data[1 << 20];
    int victim = stage_ask(&stage, "endless\n");

    peer_receive(victim, data, sizeof(data));
    for (size_t i = 0; i < sizeof(data); i++)
        test_require(data[i] == actor_big_byte(i, 0), "byte %zu is wrong", i);
    peer_reset(victim);
    proximux_wait_log(stage.proximux, "failed: client_reset");
    proximux_wait_log(stage.proximux, "closed: target_closed");
    stage_end(&stage, STAGE_SHORT + STAGE_SOON, 0);
    assert_int_equal(proximux_log_count(stage.proximux, " failed: "), 1);
    assert_int_equal(proximux_log_count(stage.proximux, "is down"), 0);
}

static void abandoned_answer_that_never_ends(void **state)
{
    stage_each_mode(*state, target_endless);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(target_is_killed_in_mid_response),
        fixture_test(target_is_down_at_start_and_up_later),
        fixture_test(target_that_is_silent),
        fixture_test(target_that_drips),
        fixture_test(target_that_closes_when_idle),
        fixture_test(target_that_sends_stray_bytes),
        fixture_test(target_that_stops_reading_in_mid_request),
        fixture_test(abandoned_answer_that_never_ends),
    };

    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
