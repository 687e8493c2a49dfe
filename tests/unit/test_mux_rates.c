/* How many requests may go out in a second: in all, and of clients that share a key. */
#include "harness/test.h"

#include "mux/mux_state.h"
#include "protocol/protocols.h"

#include <stdio.h>
#include <string.h>

#define PEERS  5000
#define SECOND INT64_C(1000000)

/* A protocol of lines, each answered by one. */
static enum protocol_outcome read_line(struct slice *input, struct buffer *out)
{
    const char *feed = memchr(input->bytes, '\n', input->length);
    size_t length = feed == NULL ? input->length : (size_t)(feed - input->bytes) + 1;
    buffer_append(out, input->bytes, length);
    slice_skip(input, length);
    return feed == NULL ? PROTOCOL_MORE : PROTOCOL_COMPLETE;
}

static enum protocol_outcome line_request(const struct protocol_settings *, void *, struct protocol_request *,
                                          struct slice *input, struct buffer *out, struct buffer *)
{
    return read_line(input, out);
}

static enum protocol_outcome line_response(const struct protocol_settings *, void *,
                                           struct protocol_request *, struct slice *input, struct buffer *out,
                                           uint64_t *)
{
    return read_line(input, out);
}

static bool line_error(const struct protocol_settings *, const struct protocol_request *, enum reason reason,
                       struct buffer *out)
{
    buffer_append_text(out, reason_name(reason));
    buffer_append_text(out, "\n");
    return true;
}

static const struct protocol lines = {
    .name = "lines", .read_request = line_request, .read_response = line_response, .write_error = line_error
};

/* One multiplexer with one connection at a time, whose target answers at once unless it is `busy`. */
struct bench {
    struct mux *mux;
    struct protocol_settings protocol;
    struct mux_settings settings;
    int64_t now;
    struct mux_client *clients[PEERS];
    size_t client_count;
    struct mux_connection *connection;
    bool is_busy;
    char sent[200]; /* what went out, a letter a request */
    size_t sent_count;
    size_t ends[REASON_COUNT];
    size_t choices;
    size_t changed; /* clients that the multiplexer had to do with */
};

static struct mux_connection *choose(void *owner, void *)
{
    struct bench *bench = owner;
    bench->choices++;
    bool has_room = bench->connection != NULL && mux_connection_has_room(bench->connection);
    return has_room ? bench->connection : NULL;
}

static void ended(void *owner, const struct mux_ending *ending)
{
    struct bench *bench = owner;
    bench->ends[ending->answered ? REASON_NONE : ending->reason]++;
}

static void bench_connect(struct bench *bench)
{
    bench->connection = mux_connection_open(bench->mux, NULL, false, bench->now);
    assert_non_null(bench->connection);
    mux_dispatch(bench->mux, bench->now);
}

static void bench_start(struct bench *bench, int64_t rate, int64_t each, bool in_order)
{
    static const struct mux_hooks hooks = { .choose = choose, .ended = ended };
    memset(bench, 0, sizeof *bench);
    bench->protocol = (struct protocol_settings){ .protocol = &lines, .head_limit = 64, .max_message = -1 };
    bench->settings = (struct mux_settings){
        .protocol = &bench->protocol,
        .in_order = in_order,
        .depth = 1,
        .pipeline_depth = 100,
        .buffer_limit = 1000,
        .memory_limit = 100 << 20,
        .max_message = -1,
        .queue_limit = PEERS,
        .queue_timeout = -1,
        .down_timeout = -1,
        .request_timeout = -1,
        .stall_timeout = -1,
        .client_idle_timeout = -1,
        .inactivity_timeout = -1,
        .connection_ttl = -1,
        .max_requests = -1,
        .request_rate = rate,
        .request_rate_each = each,
    };
    bench->now = 5 * SECOND;
    bench->mux = mux_create(&bench->settings, &hooks, bench);
    assert_non_null(bench->mux);
    bench_connect(bench);
}

static void bench_stop(struct bench *bench)
{
    for (size_t i = 0; i < bench->client_count; i++)
        mux_client_close(bench->clients[i], bench->now);
    mux_connection_close(bench->connection, bench->now);
    assert_int_equal(mux_memory(bench->mux), 0);
    assert_int_equal(mux_waiting(bench->mux), 0);
    assert_null(bench->mux->accounts_due.first);
    mux_destroy(bench->mux);
}

/* The target takes what there is, and answers it. */
static void settle(struct bench *bench)
{
    struct mux_client *client;
    struct slice output;
    do {
        while (mux_changed_connection(bench->mux) != NULL)
            ;
        while ((client = mux_changed_client(bench->mux)) != NULL) {
            bench->changed++;
            if (mux_client_output(client).length > 0)
                mux_client_written(client, mux_client_output(client).length, bench->now);
        }
        output = mux_connection_output(bench->connection);
        if (output.length > 0 && !bench->is_busy) {
            char line[16];
            snprintf(line, sizeof line, "%.*s", (int)output.length, output.bytes);
            bench->sent[bench->sent_count++ % (sizeof bench->sent - 1)] = line[0];
            mux_connection_written(bench->connection, output.length, bench->now);
            mux_connection_bytes(bench->connection, line, strlen(line), bench->now);
        }
    } while (output.length > 0 && !bench->is_busy);
}

/* A client of this key; its name is the letter that all its requests are. */
static void open_client(struct bench *bench, const char *key)
{
    size_t i = bench->client_count++;
    bench->clients[i] = mux_client_open(bench->mux, NULL, i + 1, bench->now);
    assert_non_null(bench->clients[i]);
    assert_true(mux_client_share(bench->clients[i], (struct slice){ key, strlen(key) }, bench->now));
}

static void ask(struct bench *bench, size_t i, size_t times)
{
    const char request[] = { (char)('a' + i % 26), '\n' };
    while (times-- > 0)
        mux_client_bytes(bench->clients[i], request, sizeof request, bench->now);
    settle(bench);
}

/* As whoever drives it: wakes it when it wants. */
static void pass(struct bench *bench, int64_t time)
{
    int64_t end = bench->now + time, due;
    while ((due = mux_due(bench->mux)) <= end) {
        assert_true(due > bench->now);
        bench->now = due;
        mux_tick(bench->mux, bench->now);
        settle(bench);
    }
    bench->now = end;
}

static void expect_sent(struct bench *bench, const char *expected)
{
    assert_string_equal(bench->sent, expected);
    assert_int_equal(bench->ends[REASON_NONE], strlen(expected));
}

/* What is over the rate waits in its place, and goes as tokens come. */
static void all_together(bool in_order)
{
    struct bench bench;
    bench_start(&bench, 2, -1, in_order);
    for (size_t i = 0; i < 4; i++)
        open_client(&bench, "");
    ask(&bench, 0, 2);
    ask(&bench, 1, 2);
    ask(&bench, 2, 1);
    expect_sent(&bench, "aa");
    assert_int_equal(mux_due(bench.mux), bench.now + SECOND / 2);
    pass(&bench, SECOND / 2 - 1);
    ask(&bench, 3, 1); /* comes late, and does not come before others */
    expect_sent(&bench, "aa");
    pass(&bench, 1);
    expect_sent(&bench, "aab");
    pass(&bench, SECOND);
    expect_sent(&bench, in_order ? "aabbc" : "aabcd");
    pass(&bench, SECOND / 2);
    expect_sent(&bench, in_order ? "aabbcd" : "aabcdb");
    assert_int_equal(mux_due(bench.mux), INT64_MAX);
    pass(&bench, 10 * SECOND);
    ask(&bench, 0, 5);
    expect_sent(&bench, in_order ? "aabbcdaa" : "aabcdbaa");
    bench_stop(&bench);
}

static void requests_over_the_rate_wait(void **state)
{
    (void)state;
    all_together(false);
    all_together(true);
}

/* Who has many clients has no more of it; others are not held up, and those of one key go in their order. */
static void by_key(bool in_order)
{
    struct bench bench;
    bench_start(&bench, -1, 2, in_order);
    open_client(&bench, "one"); /* a, b, c */
    open_client(&bench, "one");
    open_client(&bench, "one");
    open_client(&bench, "two"); /* d */
    open_client(&bench, "");    /* e: of a unix socket */
    ask(&bench, 0, 3);
    ask(&bench, 1, 1);
    ask(&bench, 2, 1);
    expect_sent(&bench, "aa");
    ask(&bench, 4, 5);
    ask(&bench, 3, 3);
    expect_sent(&bench, "aaeeeeedd");
    pass(&bench, SECOND / 2);
    expect_sent(&bench, "aaeeeeeddad");
    pass(&bench, SECOND);
    expect_sent(&bench, "aaeeeeeddadbc");
    assert_int_equal(mux_due(bench.mux), INT64_MAX);
    bench_stop(&bench);
}

static void each_key_has_its_rate(void **state)
{
    (void)state;
    by_key(false);
    by_key(true);
}

static void reason_is_what_it_waited_for(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, 4, 1, false);
    bench.settings.queue_timeout = 300;
    mux_reconfigure(bench.mux, &bench.settings, bench.now);
    open_client(&bench, "one");
    open_client(&bench, "two");
    open_client(&bench, "three");
    ask(&bench, 0, 2);
    pass(&bench, SECOND / 2); /* its address has no token */
    assert_int_equal(bench.ends[REASON_OVER_RATE], 1);
    bench.is_busy = true;
    ask(&bench, 1, 1);
    ask(&bench, 2, 1);
    pass(&bench, SECOND / 2); /* the target has no time */
    assert_int_equal(bench.ends[REASON_QUEUE_TIMEOUT], 1);
    bench.is_busy = false;
    settle(&bench);
    bench.settings.request_rate = 1;
    bench.settings.request_rate_each = -1;
    mux_reconfigure(bench.mux, &bench.settings, bench.now);
    ask(&bench, 1, 3); /* nobody has one */
    pass(&bench, SECOND / 2);
    assert_int_equal(bench.ends[REASON_OVER_RATE], 2);
    assert_int_equal(bench.ends[REASON_QUEUE_TIMEOUT], 1);
    bench_stop(&bench);
}

static void what_comes_back_is_not_charged_again(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, 1, 1, false);
    open_client(&bench, "one");
    open_client(&bench, "two");
    bench.is_busy = true;
    ask(&bench, 0, 2);
    ask(&bench, 1, 1);
    struct mux_connection *failed = bench.connection;
    mux_connection_fail(failed, REASON_TARGET_RESET, bench.now);
    bench.connection = NULL;
    mux_connection_close(failed, bench.now);
    bench.is_busy = false;
    bench_connect(&bench);
    settle(&bench);
    expect_sent(&bench, "a");
    pass(&bench, 2 * SECOND);
    expect_sent(&bench, "aba");
    bench_stop(&bench);
}

/* Where requests go in order, those of a key do, also when an earlier one can go only later. */
static void order_is_kept_within_a_key(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, -1, 2, true);
    open_client(&bench, "one");
    open_client(&bench, "one");
    bench.is_busy = true;
    ask(&bench, 0, 2);
    ask(&bench, 1, 2);
    bench.is_busy = false;
    settle(&bench);
    expect_sent(&bench, "aa");
    pass(&bench, SECOND / 2);
    bench.is_busy = true;
    ask(&bench, 0, 2);
    bench.now += 5 * SECOND; /* nobody has looked meanwhile */
    ask(&bench, 0, 1);
    bench.is_busy = false;
    settle(&bench);
    pass(&bench, 5 * SECOND);
    expect_sent(&bench, "aabbaaa");
    bench_stop(&bench);
}

/* Whose turn it is may leave, and who stands behind it comes up. */
static void tokens_are_not_lost(void **state)
{
    (void)state;
    for (int in_order = 0; in_order < 2; in_order++) {
        struct bench bench;
        bench_start(&bench, -1, 1, in_order != 0);
        for (size_t i = 0; i < 5; i++)
            open_client(&bench, i < 4 ? "one" : "two");
        bench.is_busy = true;
        ask(&bench, 4, 1);
        for (size_t i = 0; i < 4; i++)
            ask(&bench, i, 1);
        assert_int_equal(mux_waiting(bench.mux), 4);
        mux_client_fail(bench.clients[0], REASON_CLIENT_RESET, bench.now); /* it had the token */
        bench.is_busy = false;
        settle(&bench);
        expect_sent(&bench, "eb");
        mux_client_fail(bench.clients[2], REASON_CLIENT_RESET, bench.now); /* it was the next one */
        pass(&bench, SECOND);
        expect_sent(&bench, "ebd");
        bench_stop(&bench);
    }
}

static void other_rates_count_at_once(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, -1, -1, false);
    for (size_t i = 0; i < 3; i++)
        open_client(&bench, "one");
    bench.is_busy = true;
    for (size_t i = 0; i < 3; i++)
        ask(&bench, i, 2);
    bench.settings.request_rate_each = 2; /* they were not counted, and wait */
    mux_reconfigure(bench.mux, &bench.settings, bench.now);
    for (size_t i = 0; i < 3; i++)
        assert_true(mux_client_share(bench.clients[i], SLICE("one"), bench.now));
    bench.is_busy = false;
    settle(&bench);
    assert_int_equal(bench.sent_count, 3); /* one was on its way */
    bench.settings.request_rate_each = 1;
    mux_reconfigure(bench.mux, &bench.settings, bench.now);
    pass(&bench, SECOND);
    assert_int_equal(bench.sent_count, 4);
    bench.settings.request_rate_each = -1;
    mux_reconfigure(bench.mux, &bench.settings, bench.now);
    settle(&bench);
    assert_int_equal(bench.sent_count, 6);
    bench_stop(&bench);
}

/* Five thousand wait, and for each token the multiplexer has to do with the one that gets it. */
static void work_does_not_depend_on_who_waits(void **state)
{
    (void)state;
    static struct bench bench;
    for (int i = 0; i < 4; i++) {
        bool by_key = i < 2;
        bench_start(&bench, by_key ? -1 : 100, by_key ? 100 : -1, i % 2 != 0);
        for (size_t client = 0; client < PEERS; client++)
            open_client(&bench, "one");
        for (size_t client = 0; client < PEERS; client++)
            ask(&bench, client, 1);
        size_t sent = bench.sent_count;
        bench.changed = bench.choices = 0;
        pass(&bench, 10 * SECOND);
        sent = bench.sent_count - sent;
        assert_int_equal(sent, 1000);
        assert_true(bench.choices <= 2 * sent && bench.changed <= 3 * sent);
        bench_stop(&bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_over_the_rate_wait),
        cmocka_unit_test(each_key_has_its_rate),
        cmocka_unit_test(reason_is_what_it_waited_for),
        cmocka_unit_test(what_comes_back_is_not_charged_again),
        cmocka_unit_test(order_is_kept_within_a_key),
        cmocka_unit_test(tokens_are_not_lost),
        cmocka_unit_test(other_rates_count_at_once),
        cmocka_unit_test(work_does_not_depend_on_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
