/* The multiplexer by hand: one client and one connection at a time, each row of the table of failures (docs/design.md, section 4) in
 * the smallest form. The simulation does the same at random, thousands of times. */
#include "harness/test.h"

#include "mux/mux_state.h"
#include "protocol/length/length.h"
#include "protocol/protocols.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A protocol of lines: a request is answered by one line; "quiet" by none; "quit" here; "alone"
 * shares its connection with no other. */
static enum protocol_outcome read_line(struct slice *input, struct buffer *out)
{
    const char *feed = memchr(input->bytes, '\n', input->length);
    size_t length = feed == NULL ? input->length : (size_t)(feed - input->bytes) + 1;
    buffer_append(out, input->bytes, length);
    slice_skip(input, length);
    return feed == NULL ? PROTOCOL_MORE : PROTOCOL_COMPLETE;
}

static enum protocol_outcome line_request(const struct protocol_settings *settings, void *client,
                                          struct protocol_request *request, struct slice *input,
                                          struct buffer *out, struct buffer *answer)
{
    (void)client;
    enum protocol_outcome outcome = read_line(input, out);
    if (outcome == PROTOCOL_MORE) {
        request->decided = out->length >= settings->head_limit;
        return outcome;
    }
    struct slice line = buffer_slice(out);
    if (!request->decided && slice_equal(line, SLICE("quit\n"))) {
        request->local = true;
        request->closes_client = true;
        buffer_append_text(answer, "bye\n");
    } else if (!request->decided && slice_equal(line, SLICE("bad\n"))) {
        buffer_append_text(answer, "broken\n");
        return PROTOCOL_BROKEN;
    }
    request->decided = !request->local;
    request->unanswered = slice_equal(line, SLICE("quiet\n"));
    request->alone = slice_equal(line, SLICE("alone\n"));
    return outcome;
}

static enum protocol_outcome line_response(const struct protocol_settings *settings, void *connection,
                                           struct protocol_request *request, struct slice *input,
                                           struct buffer *out, uint64_t *id)
{
    (void)settings;
    (void)connection;
    (void)request;
    (void)id;
    return read_line(input, out);
}

static bool line_error(const struct protocol_settings *settings, const struct protocol_request *request,
                       enum reason reason, struct buffer *out)
{
    (void)settings;
    (void)request;
    buffer_print(out, "error %s\n", reason_name(reason));
    return true;
}

static const struct protocol lines = {
    .name = "lines",
    .read_request = line_request,
    .read_response = line_response,
    .write_error = line_error,
};

/* Like them, but a line has to end before it is known what it is, and one that is too long is refused. */
static enum protocol_outcome careful_request(const struct protocol_settings *settings, void *client,
                                             struct protocol_request *request, struct slice *input,
                                             struct buffer *out, struct buffer *answer)
{
    (void)client;
    size_t room = settings->head_limit - out->length;
    struct slice piece = { input->bytes, input->length < room ? input->length : room };
    size_t length = piece.length;
    enum protocol_outcome outcome = read_line(&piece, out);
    slice_skip(input, length - piece.length);
    request->decided = outcome == PROTOCOL_COMPLETE;
    if (request->decided || input->length == 0)
        return outcome;
    buffer_append_text(answer, "too long\n");
    return PROTOCOL_BROKEN;
}

static const struct protocol careful_lines = {
    .name = "careful lines",
    .read_request = careful_request,
    .read_response = line_response,
    .write_error = line_error,
};

/* What comes is the request of who has the turn, what comes back its answer. */
static int64_t turn_gap(const struct protocol_settings *settings)
{
    (void)settings;
    return 20;
}

static const struct protocol turns = { .name = "turns", .turn_gap = turn_gap, .write_error = line_error };

#define PEERS 8

/* One multiplexer, and what its clients and connections have been given so far. */
struct bench {
    struct mux *mux;
    struct protocol_settings protocol;
    int64_t now;
    struct mux_client *clients[PEERS];
    struct mux_connection *connections[PEERS];
    size_t connection_count;
    size_t opening;          /* connections that are being made */
    char got[PEERS][4096];   /* by clients */
    char asked[PEERS][4096]; /* of connections */
    size_t endings;
    size_t endings_apart;
    size_t answered;
    enum reason last_reason;
    struct mux_finding found[16];
    size_t found_count;
};

static struct mux_connection *choose(void *owner, void *client)
{
    struct bench *bench = owner;
    (void)client;
    for (size_t i = 0; i < bench->connection_count; i++)
        if (bench->connections[i] != NULL && mux_connection_has_room(bench->connections[i]))
            return bench->connections[i];
    return NULL;
}

/* Of clients that are apart: the last connection alone will do, whatever others have. */
static struct mux_connection *choose_apart(void *owner, void *client)
{
    struct bench *bench = owner;
    (void)client;
    struct mux_connection *last =
        bench->connection_count == 0 ? NULL : bench->connections[bench->connection_count - 1];
    return last != NULL && mux_connection_has_room(last) ? last : NULL;
}

static void ended_apart(void *owner, const struct mux_ending *ending)
{
    struct bench *bench = owner;
    bench->endings_apart++;
    bench->last_reason = ending->answered ? REASON_NONE : ending->reason;
}

static size_t opening(void *owner)
{
    const struct bench *bench = owner;
    return bench->opening;
}

static void ended(void *owner, const struct mux_ending *ending)
{
    struct bench *bench = owner;
    bench->endings++;
    bench->answered += ending->answered;
    if (!ending->answered)
        bench->last_reason = ending->reason;
}

static void found(void *owner, const struct mux_finding *finding)
{
    struct bench *bench = owner;
    bench->found[bench->found_count++ % 16] = *finding;
}

static const struct mux_settings usual = {
    .depth = 1,
    .pipeline_depth = 16,
    .buffer_limit = 64,
    .memory_limit = 1 << 20,
    .max_message = -1,
    .queue_limit = 4,
    .queue_timeout = 1000,
    .request_timeout = 500,
    .stall_timeout = 200,
    .client_idle_timeout = -1,
    .inactivity_timeout = -1,
    .connect_delay = 0,
    .request_gap = 0,
    .response_gap = 20,
    .connection_ttl = -1,
    .max_requests = -1,
};

static const struct mux_hooks bench_hooks = { .choose = choose,
                                              .choose_apart = choose_apart,
                                              .ended_apart = ended_apart,
                                              .opening = opening,
                                              .ended = ended,
                                              .found = found };

static void bench_start_with(struct bench *bench, struct mux_settings settings,
                             const struct protocol *protocol)
{
    memset(bench, 0, sizeof *bench);
    bench->protocol = (struct protocol_settings){ .protocol = protocol, .head_limit = 64, .max_message = -1 };
    settings.protocol = &bench->protocol;
    bench->now = 1000;
    bench->mux = mux_create(&settings, &bench_hooks, bench);
    assert_non_null(bench->mux);
}

static void bench_start(struct bench *bench, struct mux_settings settings)
{
    bench_start_with(bench, settings, &lines);
}

static void take(char *to, struct slice output)
{
    assert_true(strlen(to) + output.length < 4096);
    strncat(to, output.bytes, output.length);
}

/* Writes everything out. */
static void settle(struct bench *bench)
{
    while (mux_changed_client(bench->mux) != NULL || mux_changed_connection(bench->mux) != NULL)
        ;
    for (size_t i = 0; i < PEERS; i++) {
        struct slice output = { NULL, 0 };
        if (bench->connections[i] != NULL)
            output = mux_connection_output(bench->connections[i]);
        if (output.length > 0) {
            take(bench->asked[i], output);
            mux_connection_written(bench->connections[i], output.length, bench->now);
        }
    }
    for (size_t i = 0; i < PEERS; i++) {
        struct slice output = { NULL, 0 };
        if (bench->clients[i] != NULL)
            output = mux_client_output(bench->clients[i]);
        if (output.length > 0) {
            take(bench->got[i], output);
            mux_client_written(bench->clients[i], output.length, bench->now);
        }
    }
}

static void bench_stop(struct bench *bench)
{
    for (size_t i = 0; i < PEERS; i++) {
        if (bench->clients[i] != NULL)
            mux_client_close(bench->clients[i], bench->now);
        if (bench->connections[i] != NULL)
            mux_connection_close(bench->connections[i], bench->now);
    }
    assert_int_equal(mux_memory(bench->mux), 0);
    assert_int_equal(mux_clients(bench->mux), 0);
    assert_int_equal(mux_waiting(bench->mux), 0);
    mux_destroy(bench->mux);
}

static void open_client(struct bench *bench, size_t i)
{
    bench->clients[i] = mux_client_open(bench->mux, &bench->clients[i], i + 1, bench->now);
    assert_non_null(bench->clients[i]);
}

static void open_connection(struct bench *bench)
{
    struct mux_connection *connection =
        mux_connection_open(bench->mux, &bench->connections[bench->connection_count], false, bench->now);
    assert_non_null(connection);
    bench->connections[bench->connection_count++] = connection;
    mux_dispatch(bench->mux, bench->now);
    settle(bench);
}

static void ask(struct bench *bench, size_t i, const char *text)
{
    assert_true(mux_client_wants_bytes(bench->clients[i]));
    mux_client_bytes(bench->clients[i], text, strlen(text), bench->now);
    settle(bench);
}

static void answer(struct bench *bench, size_t i, const char *text)
{
    assert_true(mux_connection_wants_bytes(bench->connections[i]));
    mux_connection_bytes(bench->connections[i], text, strlen(text), bench->now);
    settle(bench);
}

static void pass(struct bench *bench, int64_t milliseconds)
{
    bench->now += milliseconds * 1000;
    mux_tick(bench->mux, bench->now);
    settle(bench);
}

static void requests_take_turns_on_one_connection(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    for (size_t i = 0; i < 3; i++)
        open_client(&bench, i);
    ask(&bench, 0, "a1\na2\n");
    ask(&bench, 1, "b1\n");
    ask(&bench, 2, "c1\n");
    assert_int_equal(mux_waiting(bench.mux), 3);
    open_connection(&bench);
    assert_string_equal(bench.asked[0], "a1\n");
    answer(&bench, 0, "A1\n");
    assert_string_equal(bench.got[0], "A1\n");
    assert_string_equal(bench.asked[0], "a1\nb1\n"); /* not a2: clients take turns */
    answer(&bench, 0, "B");
    answer(&bench, 0, "1\n");
    assert_string_equal(bench.got[1], "B1\n");
    answer(&bench, 0, "C1\n");
    answer(&bench, 0, "A2\n");
    assert_string_equal(bench.got[0], "A1\nA2\n");
    assert_string_equal(bench.got[2], "C1\n");
    assert_int_equal(bench.answered, 4);
    bench_stop(&bench);
}

static void in_order_means_in_order(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.in_order = true;
    settings.depth = 4;
    bench_start(&bench, settings);
    open_client(&bench, 0);
    open_client(&bench, 1);
    ask(&bench, 0, "a1\na2\n");
    ask(&bench, 1, "b1\n");
    ask(&bench, 0, "a3\nquit\nignored\n");
    open_connection(&bench);
    assert_string_equal(bench.asked[0], "a1\na2\nb1\na3\n");
    answer(&bench, 0, "A1\nA2\nB1\n");
    assert_string_equal(bench.got[0], "A1\nA2\n");
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_STAYS);
    answer(&bench, 0, "A3\n");
    assert_string_equal(bench.got[0], "A1\nA2\nA3\nbye\n");
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_CLOSE);
    assert_string_equal(bench.got[1], "B1\n");
    bench_stop(&bench);
}

static void what_was_sent_of_a_client_that_left_is_thrown_away(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    open_client(&bench, 0);
    open_client(&bench, 1);
    open_connection(&bench);
    ask(&bench, 0, "a1\n");
    ask(&bench, 1, "b1\n");
    mux_client_fail(bench.clients[0], REASON_CLIENT_RESET, bench.now);
    mux_client_close(bench.clients[0], bench.now);
    bench.clients[0] = NULL;
    assert_int_equal(bench.last_reason, REASON_CLIENT_RESET);
    answer(&bench, 0, "A1 which is lo");
    answer(&bench, 0, "ng\n");
    answer(&bench, 0, "B1\n");
    assert_string_equal(bench.got[1], "B1\n");
    assert_false(mux_connection_is_over(bench.connections[0]));
    assert_int_equal(bench.endings, 2);
    bench_stop(&bench);
}

static void a_silent_target_costs_an_error_and_the_connection(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.depth = 2;
    bench_start(&bench, settings);
    open_client(&bench, 0);
    open_client(&bench, 1);
    open_client(&bench, 2);
    open_connection(&bench);
    ask(&bench, 0, "a1\n");
    ask(&bench, 1, "b1\n");
    ask(&bench, 2, "c1\n");
    pass(&bench, 499);
    assert_string_equal(bench.got[0], "");
    pass(&bench, 1);
    assert_string_equal(bench.got[0], "error request_timeout\n");
    assert_string_equal(bench.got[1], "error target_closed\n");
    assert_string_equal(bench.got[2], ""); /* not sent: it waits for another connection */
    assert_true(mux_connection_is_over(bench.connections[0]));
    assert_false(mux_connection_was_useless(bench.connections[0]));
    open_connection(&bench);
    assert_string_equal(bench.asked[1], "c1\n");
    answer(&bench, 1, "C1\n");
    assert_string_equal(bench.got[2], "C1\n");
    bench_stop(&bench);
}

static void a_cut_answer_resets_its_client(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    open_client(&bench, 0);
    open_connection(&bench);
    ask(&bench, 0, "a1\n");
    answer(&bench, 0, "half");
    mux_connection_end(bench.connections[0], bench.now);
    settle(&bench);
    assert_string_equal(bench.got[0], "half");
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_RESET);
    assert_int_equal(bench.last_reason, REASON_TARGET_CLOSED);
    bench_stop(&bench);
}

static void stray_bytes_cost_the_connection_only(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    open_client(&bench, 0);
    open_connection(&bench);
    mux_client_bytes(bench.clients[0], "a1\n", 3,
                     bench.now); /* given to the connection, but not yet written */
    mux_connection_bytes(bench.connections[0], "stray\n", 6, bench.now);
    settle(&bench);
    assert_true(mux_connection_is_over(bench.connections[0]));
    assert_true(mux_connection_was_useless(bench.connections[0]));
    assert_string_equal(bench.got[0], "");
    assert_int_equal(bench.endings, 0);
    open_connection(&bench);
    assert_string_equal(bench.asked[1], "a1\n");
    answer(&bench, 1, "A1\n");
    assert_string_equal(bench.got[0], "A1\n");
    bench_stop(&bench);
}

static void limits_and_waits_end_in_errors(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    for (size_t i = 0; i < 5; i++) {
        open_client(&bench, i);
        ask(&bench, i, "x\n");
    }
    assert_string_equal(bench.got[3], "");
    assert_string_equal(bench.got[4], "error queue_full\n");
    pass(&bench, 1000);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(bench.got[i], "error queue_timeout\n");
    ask(&bench, 4, "bad\n");
    assert_string_equal(bench.got[4], "error queue_full\nbroken\n");
    assert_int_equal(mux_client_closing(bench.clients[4]), MUX_CLOSE);
    bench_stop(&bench);
}

static void a_long_request_streams_alone(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    char piece[41];
    settings.depth = 4;
    bench_start(&bench, settings);
    memset(piece, 'l', 40);
    piece[40] = '\0';
    open_client(&bench, 0);
    open_client(&bench, 1);
    open_connection(&bench);
    ask(&bench, 1, "b1\n");
    ask(&bench, 0, piece);
    assert_string_equal(bench.asked[0], "b1\n");
    ask(&bench, 0, piece); /* beyond buffer_limit: reserved, behind b1 */
    assert_string_equal(bench.asked[0], "b1\n");
    answer(&bench, 0, "B1\n");
    assert_int_equal(strlen(bench.asked[0]), 3 + 80);
    ask(&bench, 1, "b2\n");
    ask(&bench, 0, piece);
    assert_int_equal(strlen(bench.asked[0]), 3 + 120);
    pass(&bench, 200); /* stall_timeout passes, b2 waits, a's client sent less than buffer_limit meanwhile */
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_CLOSE);
    assert_int_equal(bench.last_reason, REASON_CLIENT_STALLED);
    assert_true(mux_connection_is_over(bench.connections[0]));
    open_connection(&bench);
    assert_string_equal(bench.asked[1], "b2\n");
    bench_stop(&bench);
}

static void stall_timeout_counts_from_the_reload_that_sets_it(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    char piece[121];
    settings.stall_timeout = -1;
    bench_start(&bench, settings);
    memset(piece, 'l', 120);
    piece[120] = '\0';
    open_client(&bench, 0);
    open_client(&bench, 1);
    open_connection(&bench);
    ask(&bench, 0, piece);
    ask(&bench, 1, "b\n");
    pass(&bench, 900);
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_STAYS);
    settings.protocol = &bench.protocol;
    settings.stall_timeout = 50;
    mux_reconfigure(bench.mux, &settings, bench.now);
    pass(&bench, 49);
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_STAYS);
    pass(&bench, 1);
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_CLOSE);
    assert_int_equal(bench.last_reason, REASON_CLIENT_STALLED);
    bench_stop(&bench);
}

static void a_request_that_goes_alone_has_nothing_beside_it(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.depth = 8;
    settings.in_order = true;
    bench_start(&bench, settings);
    open_connection(&bench);
    for (size_t i = 0; i < 3; i++)
        open_client(&bench, i);
    ask(&bench, 0, "a\n");
    ask(&bench, 1, "alone\nb\n");
    ask(&bench, 2, "c\n");
    mux_dispatch(bench.mux, bench.now);
    settle(&bench);
    assert_string_equal(bench.asked[0], "a\n");
    answer(&bench, 0, "1\n");
    mux_dispatch(bench.mux, bench.now);
    settle(&bench);
    assert_string_equal(bench.asked[0], "a\nalone\n");
    answer(&bench, 0, "2\n");
    mux_dispatch(bench.mux, bench.now);
    settle(&bench);
    answer(&bench, 0, "3\n4\n");
    assert_string_equal(bench.got[0], "1\n");
    assert_string_equal(bench.got[1], "2\n3\n");
    assert_string_equal(bench.got[2], "4\n");
    bench_stop(&bench);
}

static void requests_without_answer_are_over_when_sent(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    open_client(&bench, 0);
    open_connection(&bench);
    ask(&bench, 0, "quiet\nx\n");
    settle(&bench);
    assert_string_equal(bench.asked[0], "quiet\nx\n");
    answer(&bench, 0, "X\n");
    assert_string_equal(bench.got[0], "X\n");
    assert_int_equal(bench.answered, 2);
    bench_stop(&bench);
}

static void a_client_that_ends_gets_its_answers(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    open_client(&bench, 0);
    open_connection(&bench);
    ask(&bench, 0, "a1\na2\nhalf of a3");
    mux_client_end(bench.clients[0], bench.now);
    settle(&bench);
    answer(&bench, 0, "A1\n");
    answer(&bench, 0, "A2\n");
    assert_string_equal(bench.got[0], "A1\nA2\n");
    assert_string_equal(bench.asked[0], "a1\na2\n");
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_CLOSE);
    bench_stop(&bench);
}

/* Who asks and ends its stream at once has not given up because a connection had to be made for it; who waits
 * behind others has. */
static void who_is_next_for_a_connection_to_come_is_answered(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.abort_on_close = true;
    settings.connect_delay = 10;
    bench_start(&bench, settings);
    for (size_t i = 0; i < 4; i++)
        open_client(&bench, i);
    ask(&bench, 0, "a1\na2\n");
    ask(&bench, 1, "b1\n");
    ask(&bench, 2, "c1\n");
    mux_client_end(bench.clients[2], bench.now); /* nothing is on its way */
    assert_int_equal(bench.last_reason, REASON_CLIENT_CLOSED);
    assert_int_equal(bench.endings, 1);
    bench.opening = 1;
    mux_client_end(bench.clients[0], bench.now); /* its second one waits for the first */
    assert_int_equal(bench.endings, 2);
    bench.opening = 0;
    open_connection(&bench); /* and its connect_delay runs */
    mux_client_end(bench.clients[1], bench.now);
    assert_int_equal(bench.endings, 3);
    pass(&bench, 10);
    assert_string_equal(bench.asked[0], "a1\n");
    answer(&bench, 0, "A1\n");
    assert_string_equal(bench.got[0], "A1\n");
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_CLOSE);
    assert_int_equal(mux_client_closing(bench.clients[1]), MUX_CLOSE);
    bench_stop(&bench);
}

static void who_is_next_after_a_gap_is_answered(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.abort_on_close = true;
    settings.request_gap = 10;
    bench_start(&bench, settings);
    for (size_t i = 0; i < 3; i++)
        open_client(&bench, i);
    open_connection(&bench);
    ask(&bench, 0, "a1\n");
    answer(&bench, 0, "A1\n");
    ask(&bench, 1, "b1\n");
    ask(&bench, 2, "c1\n");
    mux_client_end(bench.clients[2], bench.now);
    mux_client_end(bench.clients[1], bench.now);
    pass(&bench, 10);
    assert_string_equal(bench.asked[0], "a1\nb1\n");
    answer(&bench, 0, "B1\n");
    assert_string_equal(bench.got[1], "B1\n");
    assert_int_equal(bench.last_reason, REASON_CLIENT_CLOSED);
    assert_int_equal(bench.endings, 3);
    bench_stop(&bench);
}

static void reconfigure(struct bench *bench, struct mux_settings settings)
{
    settings.protocol = &bench->protocol;
    mux_reconfigure(bench->mux, &settings, bench->now);
    settle(bench);
}

/* Who waits already is not turned away because there may wait fewer now. */
static void a_lower_limit_turns_nobody_away(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    bench_start(&bench, usual);
    for (size_t i = 0; i < 5; i++)
        open_client(&bench, i);
    for (size_t i = 0; i < 3; i++)
        ask(&bench, i, "x\n");
    settings.queue_limit = 1;
    settings.memory_limit = 1;
    settings.max_message = 3;
    reconfigure(&bench, settings);
    assert_int_equal(mux_waiting(bench.mux), 3);
    assert_int_equal(bench.endings, 0);
    settings.memory_limit = usual.memory_limit;
    reconfigure(&bench, settings);
    ask(&bench, 3, "y\n"); /* the next one is */
    assert_int_equal(bench.endings, 1);
    open_connection(&bench);
    answer(&bench, 0, "a long answer\n"); /* to what came before */
    assert_string_equal(bench.got[0], "a long answer\n");
    bench_stop(&bench);
}

/* The queue goes by the new time at once, requests that were sent by the old one. */
static void times_change_for_what_waits(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.queue_timeout = -1;
    settings.request_timeout = -1;
    bench_start(&bench, settings);
    open_client(&bench, 0);
    open_client(&bench, 1);
    open_connection(&bench);
    ask(&bench, 0, "sent\n");
    ask(&bench, 1, "waits\n");
    settings.queue_timeout = 100;
    settings.request_timeout = 100;
    reconfigure(&bench, settings);
    pass(&bench, 101);
    assert_string_equal(bench.got[1], "error queue_timeout\n");
    assert_string_equal(bench.got[0], "");
    answer(&bench, 0, "A\n");
    assert_string_equal(bench.got[0], "A\n");
    ask(&bench, 0, "later\n");
    pass(&bench, 101);
    assert_string_equal(bench.got[0], "A\nerror request_timeout\n");
    bench_stop(&bench);
}

static void the_queue_can_be_held(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    open_client(&bench, 0);
    ask(&bench, 0, "x\n");
    mux_hold_queue(bench.mux, true, bench.now);
    pass(&bench, 5000);
    assert_int_equal(bench.endings, 0);
    mux_hold_queue(bench.mux, false, bench.now);
    pass(&bench, 999);
    assert_int_equal(bench.endings, 0);
    pass(&bench, 2);
    assert_string_equal(bench.got[0], "error queue_timeout\n");
    bench_stop(&bench);
}

/* While every target is down, a request has so long from when it came, or from when the last one was lost. */
static void nothing_waits_long_for_targets_that_are_down(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.down_timeout = 100;
    bench_start(&bench, settings);
    for (size_t i = 0; i < 3; i++)
        open_client(&bench, i);
    ask(&bench, 0, "a\n");
    pass(&bench, 150); /* a target that is busy has queue_timeout */
    assert_int_equal(bench.endings, 0);
    mux_set_down(bench.mux, true, bench.now);
    pass(&bench, 50);
    ask(&bench, 1, "b1\nb2\n");
    pass(&bench, 51);
    assert_string_equal(bench.got[0], "error target_down\n");
    assert_string_equal(bench.got[1], "");
    pass(&bench, 50);
    assert_string_equal(bench.got[1], "error target_down\nerror target_down\n");
    ask(&bench, 2, "c\n");
    pass(&bench, 99);
    mux_set_down(bench.mux, false, bench.now);
    pass(&bench, 500);
    open_connection(&bench);
    answer(&bench, 0, "C\n");
    assert_string_equal(bench.got[2], "C\n");
    bench_stop(&bench);
}

static void a_drain_does_not_wait_for_targets_that_are_down(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.down_timeout = -1;
    bench_start(&bench, settings);
    open_client(&bench, 0);
    ask(&bench, 0, "a\nb\n");
    mux_client_drain(bench.clients[0], bench.now);
    settle(&bench);
    assert_string_equal(bench.got[0], "");
    mux_set_down(bench.mux, true, bench.now);
    settle(&bench);
    assert_string_equal(bench.got[0], "error target_down\nerror target_down\n");
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_CLOSE);
    bench_stop(&bench);
}

/* On a connection that may have come too early nothing is sent at first; if it ends by then, nothing is lost. */
static void a_connection_that_settles_takes_no_request_yet(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.settle_pause = 50;
    bench_start(&bench, settings);
    open_client(&bench, 0);
    ask(&bench, 0, "a\n");
    for (size_t i = 0; i < 2; i++) {
        bench.connections[i] = mux_connection_open(bench.mux, &bench.connections[i], true, bench.now);
        bench.connection_count++;
        pass(&bench, 49);
        assert_string_equal(bench.asked[i], "");
        if (i == 0)
            mux_connection_fail(bench.connections[0], REASON_TARGET_RESET, bench.now);
        settle(&bench);
    }
    pass(&bench, 2);
    assert_string_equal(bench.asked[1], "a\n");
    answer(&bench, 1, "A\n");
    assert_string_equal(bench.got[0], "A\n");
    assert_int_equal(bench.endings, 1);
    bench_stop(&bench);
}

/* A target that closes has room again, if it had answered; else it refuses, perhaps for want of room. */
static void only_who_has_answered_leaves_in_good_order(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    open_client(&bench, 0);
    open_connection(&bench);
    mux_connection_end(bench.connections[0], bench.now);
    assert_false(mux_connection_was_left(bench.connections[0]));
    open_connection(&bench);
    ask(&bench, 0, "a\n");
    answer(&bench, 1, "A\n");
    mux_connection_end(bench.connections[1], bench.now);
    assert_true(mux_connection_was_left(bench.connections[1]));
    bench_stop(&bench);
}

/* What hooks were told of exchanges, a line each. */
static char told[1000];

static void tell_asked(void *owner, const struct mux_requested *requested)
{
    size_t length = strlen(told);
    (void)owner;
    snprintf(told + length, sizeof told - length, "asked %d %.*s %d|", (int)requested->number,
             (int)requested->request_head.length, requested->request_head.bytes,
             (int)requested->request_bytes);
}

static void tell_ended(void *owner, const struct mux_ending *ending)
{
    size_t length = strlen(told);
    ended(owner, ending);
    snprintf(told + length, sizeof told - length, "ended %d %.*s %d %.*s %d %s|", (int)ending->number,
             (int)ending->request_head.length, ending->request_head.bytes, (int)ending->request_bytes,
             (int)ending->answer_head.length, ending->answer_head.bytes, (int)ending->given_bytes,
             ending->answered ? "answered" : reason_name(ending->reason));
}

/* Each request is told when it is whole and when it ends, with its first bytes, whatever becomes of it; one
 * of which only a part has come is not told. What is kept for that counts as memory, and none of it is left.
 */
static void exchanges_can_be_seen(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.observe_request = 4;
    settings.observe_answer = 3;
    bench_start(&bench, settings);
    bench.mux->hooks.requested = tell_asked;
    bench.mux->hooks.ended = tell_ended;
    told[0] = '\0';
    open_client(&bench, 0);
    open_client(&bench, 1);
    size_t before = mux_memory(bench.mux);
    ask(&bench, 0, "first one\nsecond\nthi");
    assert_true(mux_memory(bench.mux) >= before + strlen("first one\nsecond\nthi") + 4 + 4);
    assert_string_equal(told, "asked 1 firs 10|asked 2 seco 7|");
    open_connection(&bench);
    answer(&bench, 0, "ANSWER\n");
    assert_string_equal(told, "asked 1 firs 10|asked 2 seco 7|ended 1 firs 10 ANS 7 answered|");
    ask(&bench, 1, "b\n");
    told[0] = '\0';
    mux_client_fail(bench.clients[0], REASON_CLIENT_RESET, bench.now);
    settle(&bench);
    assert_string_equal(told, "ended 2 seco 7  0 client_reset|");
    told[0] = '\0';
    answer(&bench, 0, "THROWN AWAY\n");
    answer(&bench, 0, "B\n");
    assert_string_equal(told, "ended 1 b\n 2 B\n 2 answered|");
    bench_stop(&bench);
}

/* A client that is not read any more would never be told that its request is too long, nor be seen to go. */
static void a_head_as_long_as_may_be_is_read_on(void **state)
{
    (void)state;
    struct bench bench;
    char head[65];
    bench_start_with(&bench, usual, &careful_lines);
    memset(head, 'a', 64);
    head[64] = '\0';
    open_client(&bench, 0);
    open_client(&bench, 1);
    open_connection(&bench);
    ask(&bench, 0, head);
    ask(&bench, 1, head);
    ask(&bench, 0, "\n");
    assert_string_equal(bench.got[0], "too long\n");
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_CLOSE);
    assert_true(mux_client_wants_bytes(bench.clients[1]));
    mux_client_end(bench.clients[1], bench.now);
    settle(&bench);
    assert_int_equal(mux_client_closing(bench.clients[1]), MUX_CLOSE);
    assert_string_equal(bench.asked[0], "");
    bench_stop(&bench);
}

/* A connection comes, is given the request, and fails before a byte is written. */
static void connection_fails_at_once(struct bench *bench, size_t i)
{
    struct mux_connection *connection =
        mux_connection_open(bench->mux, &bench->connections[i], false, bench->now);
    assert_non_null(connection);
    bench->connections[i] = connection;
    bench->connection_count = i + 1;
    mux_dispatch(bench->mux, bench->now);
    assert_int_equal(mux_connection_output(connection).length, 2);
    mux_connection_end(connection, bench->now);
    mux_connection_close(connection, bench->now);
    bench->connections[i] = NULL;
}

/* Were the wait to begin anew with each connection, it would never end at a target that only closes. */
static void connections_that_fail_do_not_prolong_the_wait(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    open_client(&bench, 0);
    ask(&bench, 0, "a\n");
    for (size_t i = 0; i < 3; i++) {
        pass(&bench, 300);
        connection_fails_at_once(&bench, i);
    }
    pass(&bench, 99);
    assert_string_equal(bench.got[0], "");
    pass(&bench, 1);
    assert_string_equal(bench.got[0], "error queue_timeout\n");
    bench_stop(&bench);
}

/* Nor do they shorten it by the time for which a reload has held the queue. */
static void connections_that_fail_do_not_shorten_the_wait(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, usual);
    open_client(&bench, 0);
    ask(&bench, 0, "a\n");
    pass(&bench, 300);
    mux_hold_queue(bench.mux, true, bench.now);
    pass(&bench, 5000);
    mux_hold_queue(bench.mux, false, bench.now);
    connection_fails_at_once(&bench, 0);
    pass(&bench, 300);
    mux_hold_queue(bench.mux, true, bench.now);
    pass(&bench, 5000);
    connection_fails_at_once(&bench, 1);
    mux_hold_queue(bench.mux, false, bench.now);
    pass(&bench, 300);
    assert_string_equal(bench.got[0], "");
    pass(&bench, 6000);
    assert_string_equal(bench.got[0], "error queue_timeout\n");
    bench_stop(&bench);
}

static void who_goes_on_asking_does_not_keep_its_turn(void **state)
{
    (void)state;
    struct bench bench;
    bench_start_with(&bench, usual, &turns);
    open_client(&bench, 0);
    open_client(&bench, 1);
    open_connection(&bench);
    for (size_t i = 0; i < 5; i++) { /* alone it may take its time */
        ask(&bench, 0, "a");
        pass(&bench, 400);
    }
    ask(&bench, 1, "b");
    pass(&bench, 90);
    assert_string_equal(bench.got[0], "");
    ask(&bench, 0, "a");
    assert_string_equal(bench.asked[0], "aaaaaa");
    pass(&bench, 10);
    assert_string_equal(bench.got[0], "error request_timeout\n");
    assert_true(mux_connection_is_over(bench.connections[0]));
    open_connection(&bench);
    assert_string_equal(bench.asked[1], "b");
    bench_stop(&bench);
}

/* Much of a request that comes in time is no delay. */
static void who_sends_much_keeps_its_turn(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.queue_timeout = -1;
    bench_start_with(&bench, settings, &turns);
    open_client(&bench, 0);
    open_client(&bench, 1);
    open_connection(&bench);
    ask(&bench, 0, "a");
    ask(&bench, 1, "b");
    for (size_t i = 0; i < 5; i++) {
        pass(&bench, 400);
        ask(&bench, 0, "0123456789012345678901234567890123456789012345678901234567890123");
    }
    answer(&bench, 0, "A");
    assert_string_equal(bench.got[0], "A");
    pass(&bench, 20);
    assert_true(strstr(bench.asked[0], "b") != NULL);
    bench_stop(&bench);
}

/* The program is linked with these before malloc(): see Makefile.am. */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
static bool memory_is_short;

void *__wrap_malloc(size_t size)
{
    return memory_is_short ? NULL : __real_malloc(size);
}

static void what_cannot_be_taken_back_costs_its_client(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.depth = 4;
    bench_start(&bench, settings);
    open_connection(&bench);
    open_client(&bench, 0);
    mux_client_bytes(bench.clients[0], "a1\na2\n", 6, bench.now); /* nothing is written */
    assert_int_equal(mux_connection_load(bench.connections[0]), 2);
    memory_is_short = true;
    mux_connection_fail(bench.connections[0], REASON_TARGET_RESET, bench.now);
    memory_is_short = false;
    assert_true(mux_connection_is_over(bench.connections[0]));
    assert_string_equal(mux_connection_explanation(bench.connections[0]), "");
    assert_int_equal(mux_connection_load(bench.connections[0]), 0);
    assert_int_not_equal(mux_client_closing(bench.clients[0]), MUX_STAYS);
    assert_int_equal(mux_client_reason(bench.clients[0]), REASON_INTERNAL);
    assert_int_equal(bench.endings, 2);
    bench_stop(&bench);
}

/* Before, a request that was read to the lower limit and not beyond was never sent, and nobody was told. */
static void a_request_longer_than_a_lower_limit_is_sent(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.buffer_limit = 1000;
    bench_start(&bench, settings);
    open_client(&bench, 0);
    open_connection(&bench);
    ask(&bench, 0, "sixty-four bytes of a line are enough to know that it goes on to");
    assert_string_equal(bench.asked[0], "");
    settings.buffer_limit = 64;
    reconfigure(&bench, settings);
    assert_int_equal(strlen(bench.asked[0]), 64);
    ask(&bench, 0, " the target\n");
    answer(&bench, 0, "A\n");
    assert_string_equal(bench.got[0], "A\n");
    bench_stop(&bench);
}

/* The work for one request must not grow with what waits of clients that may not be sent to. */
static void clients_that_take_nothing_are_not_in_the_queue(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.in_order = true;
    settings.buffer_limit = 8;
    bench_start(&bench, settings);
    open_connection(&bench);
    open_client(&bench, 0);
    mux_client_bytes(bench.clients[0], "1\n2\n3\n", 6, bench.now);
    settle(&bench);
    mux_connection_bytes(bench.connections[0], "a long answer\n", 14, bench.now); /* which nobody takes */
    assert_int_equal(mux_waiting(bench.mux), 1);
    assert_null(bench.mux->lines[0].order.first);
    open_client(&bench, 1);
    mux_client_bytes(bench.clients[1], "next\n", 5, bench.now);
    assert_true(slice_equal(mux_connection_output(bench.connections[0]), SLICE("next\n")));
    settle(&bench); /* it takes its answer, and its next request is in its place again */
    assert_non_null(bench.mux->lines[0].order.first);
    answer(&bench, 0, "A\n");
    answer(&bench, 0, "2\n");
    assert_string_equal(bench.asked[0], "1\nnext\n2\n3\n");
    bench_stop(&bench);
}

/* It counted for nobody who had stalled before it. */
static void a_stall_timeout_that_a_reload_brings_counts_at_once(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.stall_timeout = -1;
    settings.buffer_limit = 8;
    settings.queue_timeout = -1;
    bench_start(&bench, settings);
    open_connection(&bench);
    open_client(&bench, 0);
    open_client(&bench, 1);
    ask(&bench, 0, "a1\n");
    mux_connection_bytes(bench.connections[0], "a long ans", 10, bench.now); /* which nobody takes */
    mux_client_bytes(bench.clients[1], "b1\n", 3, bench.now);
    bench.now += 10000 * 1000;
    mux_tick(bench.mux, bench.now);
    settings.protocol = &bench.protocol;
    settings.stall_timeout = 200;
    mux_reconfigure(bench.mux, &settings, bench.now);
    bench.now += 199 * 1000;
    mux_tick(bench.mux, bench.now);
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_STAYS);
    bench.now += 1000;
    mux_tick(bench.mux, bench.now);
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_RESET);
    assert_int_equal(mux_client_reason(bench.clients[0]), REASON_CLIENT_STALLED);
    bench_stop(&bench);
}

/* Has a client of its own by each door, of which the later ones have the higher priority. */
static void open_doors(struct bench *bench, struct mux_door *doors, size_t count, unsigned step)
{
    for (size_t i = 0; i < count; i++) {
        doors[i] = (struct mux_door){ 0 };
        mux_door_set_priority(bench->mux, &doors[i], (unsigned)i * step, bench->now);
        open_client(bench, i);
        mux_client_set_door(bench->clients[i], &doors[i]);
    }
}

static void ask_often(struct bench *bench, size_t i, size_t times)
{
    const char request[] = { (char)('a' + i), '\n', '\0' };
    while (times-- > 0)
        ask(bench, i, request);
}

static size_t count_of(const char *text, char wanted)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == wanted;
    return count;
}

static void higher_priorities_go_first(bool in_order)
{
    struct bench bench;
    struct mux_door doors[2];
    struct mux_settings settings = usual;
    settings.pipeline_depth = 64;
    settings.in_order = in_order;
    bench_start(&bench, settings);
    open_doors(&bench, doors, 2, 9);
    ask_often(&bench, 0, 3);
    ask_often(&bench, 1, 20);
    assert_int_equal(doors[0].waiting, 1);
    open_connection(&bench);
    assert_int_equal(doors[1].in_flight, 1);
    for (size_t i = 0; i < 23; i++)
        answer(&bench, 0, "-\n");
    assert_string_equal(bench.asked[0], "b\nb\nb\nb\nb\nb\nb\nb\nb\na\n"
                                        "b\nb\nb\nb\nb\nb\nb\nb\nb\na\n"
                                        "b\nb\na\n");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(doors[i].waiting, 0);
        assert_int_equal(doors[i].in_flight, 0);
    }
    bench_stop(&bench);
}

static void of_ten_turns_one_goes_to_lower_priorities(void **state)
{
    (void)state;
    higher_priorities_go_first(false);
    higher_priorities_go_first(true);
}

static void lower_priorities_share_that_turn_likewise(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_door doors[3];
    struct mux_settings settings = usual;
    settings.pipeline_depth = 256;
    settings.buffer_limit = 1024;
    bench_start(&bench, settings);
    open_doors(&bench, doors, 3, 4);
    ask_often(&bench, 0, 20);
    ask_often(&bench, 1, 20);
    ask_often(&bench, 2, 200);
    open_connection(&bench);
    for (size_t i = 1; i < 100; i++)
        answer(&bench, 0, "-\n");
    assert_int_equal(count_of(bench.asked[0], 'a'), 1);
    assert_int_equal(count_of(bench.asked[0], 'b'), 9);
    assert_int_equal(count_of(bench.asked[0], 'c'), 90);
    bench_stop(&bench);
}

static void the_order_holds_within_a_priority(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_door doors[3];
    struct mux_settings settings = usual;
    settings.in_order = true;
    settings.depth = 16;
    bench_start(&bench, settings);
    open_doors(&bench, doors, 3, 1);
    mux_client_set_door(bench.clients[1], &doors[0]);
    ask(&bench, 0, "a1\n");
    ask(&bench, 1, "b1\n");
    ask(&bench, 0, "a2\n");
    ask(&bench, 2, "c1\n");
    ask(&bench, 1, "b2\n");
    open_connection(&bench);
    assert_string_equal(bench.asked[0], "c1\na1\nb1\na2\nb2\n");
    assert_int_equal(doors[0].in_flight, 4);
    bench_stop(&bench);
}

/* Who stands aside for its own connection is behind a higher priority once that has room. */
static void who_stood_aside_waits_for_higher_priorities(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_door doors[2];
    struct mux_settings settings = usual;
    settings.depth = 2;
    bench_start(&bench, settings);
    open_doors(&bench, doors, 2, 3);
    open_connection(&bench);
    ask(&bench, 0, "a1\na2\na3\n");
    ask(&bench, 1, "b1\nb2\n");
    assert_string_equal(bench.asked[0], "a1\na2\n");
    answer(&bench, 0, "A1\n");
    answer(&bench, 0, "A2\n");
    assert_string_equal(bench.asked[0], "a1\na2\nb1\nb2\n");
    answer(&bench, 0, "B1\n");
    assert_string_equal(bench.asked[0], "a1\na2\nb1\nb2\na3\n");
    bench_stop(&bench);
}

static void a_new_priority_counts_for_what_waits(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_door doors[2];
    struct mux_settings settings = usual;
    for (int in_order = 0; in_order < 2; in_order++) {
        settings.in_order = in_order != 0;
        bench_start(&bench, settings);
        open_doors(&bench, doors, 2, 3);
        ask(&bench, 0, "a1\n");
        ask(&bench, 1, "b1\n");
        mux_door_set_priority(bench.mux, &doors[0], 7, bench.now);
        open_connection(&bench);
        assert_string_equal(bench.asked[0], "a1\n");
        answer(&bench, 0, "A1\n");
        assert_string_equal(bench.asked[0], "a1\nb1\n");
        bench_stop(&bench);
    }
}

/* The connection that is being made is for somebody else. */
static void who_gave_up_behind_a_higher_priority_is_dropped(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_door doors[2];
    struct mux_settings settings = usual;
    settings.abort_on_close = true;
    bench_start(&bench, settings);
    bench.opening = 1;
    open_doors(&bench, doors, 2, 3);
    ask(&bench, 0, "a1\n");
    ask(&bench, 1, "b1\n");
    mux_client_end(bench.clients[1], bench.now);
    assert_int_equal(bench.endings, 0);
    mux_client_end(bench.clients[0], bench.now);
    assert_int_equal(bench.endings, 1);
    assert_int_equal(bench.last_reason, REASON_CLIENT_CLOSED);
    bench_stop(&bench);
}

static size_t allocated_now(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* What is counted is what is allocated, not what is in it. */
static void memory_is_what_is_allocated(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    enum { COUNT = 12 };
    settings.buffer_limit = 100000;
    settings.memory_limit = 1000000;
    if (getenv("TEST_SANITIZED") != NULL)
        skip(); /* whose allocator does not tell how much it gave */
    bench_start(&bench, settings);
    struct mux_client *clients[COUNT];
    char *bytes = malloc(66000); /* a bit more than a power of two */
    assert_non_null(bytes);
    memset(bytes, 'x', 66000);
    for (size_t i = 0; i < COUNT; i++)
        clients[i] = mux_client_open(bench.mux, NULL, i + 1, bench.now);
    size_t before = allocated_now();
    for (size_t i = 0; i < COUNT; i++)
        mux_client_bytes(clients[i], bytes, 66000, bench.now);
    size_t allocated = allocated_now() - before;
    assert_true(allocated <= settings.memory_limit + settings.memory_limit / 10);
    assert_true(mux_memory(bench.mux) <= settings.memory_limit);
    assert_true(allocated <= mux_memory(bench.mux) + mux_memory(bench.mux) / 10);
    assert_true(bench.endings == 0); /* no request was whole */
    for (size_t i = 0; i < COUNT; i++)
        mux_client_close(clients[i], bench.now);
    free(bytes);
    bench_stop(&bench);
}

/* It was over before it could take a request, and another one was made at once, for ever. */
static void a_short_life_begins_when_requests_can_go_out(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.connect_delay = 50;
    settings.connection_ttl = 20;
    bench_start(&bench, settings);
    open_client(&bench, 0);
    open_connection(&bench);
    ask(&bench, 0, "x\n");
    pass(&bench, 49);
    assert_false(mux_connection_is_over(bench.connections[0]));
    pass(&bench, 1);
    assert_string_equal(bench.asked[0], "x\n");
    answer(&bench, 0, "X\n");
    pass(&bench, 20);
    assert_true(mux_connection_is_over(bench.connections[0]));
    bench_stop(&bench);
}

/* A client that uses up the place of others in memory_limit for no longer than one call must not cost them theirs. */
static void what_is_sent_at_once_costs_nobody_else(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    char text[700];
    settings.buffer_limit = 2000;
    settings.memory_limit =
        2 * sizeof(struct mux_exchange) + 1536; /* two exchanges, but one buffer of 1,024 only */
    bench_start(&bench, settings);
    open_connection(&bench);
    open_client(&bench, 0);
    open_client(&bench, 1);
    memset(text, 'x', sizeof text);
    mux_client_bytes(bench.clients[0], text, sizeof text, bench.now); /* a part of a request */
    text[sizeof text - 1] = '\n';
    mux_client_bytes(bench.clients[1], text, sizeof text, bench.now);
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_STAYS);
    assert_int_equal(mux_client_closing(bench.clients[1]), MUX_STAYS);
    settle(&bench);
    answer(&bench, 0, "A\n");
    assert_string_equal(bench.got[1], "A\n");
    bench_stop(&bench);
}

/* A request begins to wait, and the one behind it is dropped, in one and the same call. */
static void a_request_before_one_that_is_dropped_finds_its_connection(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    struct buffer input = { 0 };
    settings.buffer_limit = 256;
    bench_start_with(&bench, settings, &protocol_redis);
    bench.protocol.head_limit = 256;
    open_client(&bench, 0);
    open_connection(&bench);
    buffer_append_text(&input, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    for (int i = 0; i < 4; i++) /* refused here, by more bytes than are held of answers */
        buffer_append_text(&input, "*1\r\n$7\r\nMONITOR\r\n");
    buffer_append_text(&input, "*2\r\n$3\r\nGET\r\n$1\r\nj\r\n*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$1000\r\n");
    for (int i = 0; i < 30; i++)
        buffer_append_text(&input, "part of it");
    mux_client_bytes(bench.clients[0], buffer_bytes(&input), input.length, bench.now);
    buffer_free(&input);
    mux_client_end(bench.clients[0], bench.now);
    settle(&bench);
    mux_connection_bytes(bench.connections[0], "$1\r\nK\r\n", 7, bench.now);
    for (int i = 0; i < 4; i++)
        settle(&bench); /* it takes what it got, and is read on */
    assert_non_null(strstr(bench.asked[0], "\nj\r\n"));
    mux_connection_bytes(bench.connections[0], "$1\r\nJ\r\n", 7, bench.now);
    settle(&bench);
    assert_non_null(strstr(bench.got[0], "\nJ\r\n"));
    bench_stop(&bench);
}

/* A client that stands aside for its connection keeps its turn, whoever's answer makes the room. */
static void clients_that_stand_aside_keep_their_turn(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.depth = 4;
    bench_start(&bench, settings);
    open_client(&bench, 0);
    open_client(&bench, 1);
    ask(&bench, 0, "a1\na2\n");
    ask(&bench, 1, "b1\nb2\n");
    open_connection(&bench);
    assert_string_equal(bench.asked[0], "a1\nb1\na2\nb2\n");
    ask(&bench, 0, "a3\na4\n");
    ask(&bench, 1, "b3\nb4\n");
    answer(&bench, 0, "A1\n");
    answer(&bench, 0, "B1\n");
    answer(&bench, 0, "A2\n");
    answer(&bench, 0, "B2\n");
    assert_string_equal(bench.asked[0], "a1\nb1\na2\nb2\na3\nb3\na4\nb4\n");
    bench_stop(&bench);
}

/* With ids nobody knows whose answer is next: the client that holds the connection is the one that streams. */
static void a_client_that_stops_in_a_long_request_has_its_time(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    char request[84] = "\0\1\0\120"; /* an id, and a length of 80 */
    settings.buffer_limit = 64;
    bench_start_with(&bench, settings, &protocol_length);
    length_own(&bench.protocol)->offset = 2;
    length_own(&bench.protocol)->width = 2;
    length_own(&bench.protocol)->id_width = 2;
    mux_destroy(bench.mux);
    settings.protocol = &bench.protocol;
    bench.mux = mux_create(&settings, &bench_hooks, &bench);
    assert_non_null(bench.mux);
    open_client(&bench, 0);
    open_client(&bench, 1);
    open_connection(&bench);
    mux_client_bytes(bench.clients[0], request, sizeof request - 10, bench.now);
    settle(&bench); /* all of that is written */
    mux_client_bytes(bench.clients[1], "\0\1\0\1x", 5, bench.now);
    settle(&bench);
    pass(&bench, 199);
    assert_int_equal(mux_client_closing(bench.clients[0]), MUX_STAYS);
    pass(&bench, 2);
    assert_int_equal(mux_client_reason(bench.clients[0]), REASON_CLIENT_STALLED);
    assert_int_equal(mux_client_closing(bench.clients[1]), MUX_STAYS);
    assert_true(mux_connection_is_over(bench.connections[0]));
    bench_stop(&bench);
}

/* ---- What requests show of their target ---- */

/* The last finding is this one, of a client that came from there. */
static void expect_found(struct bench *bench, size_t count, enum mux_verdict verdict, uint64_t origin)
{
    assert_int_equal(bench->found_count, count);
    assert_int_equal(bench->found[(count - 1) % 16].verdict, verdict);
    assert_int_equal(bench->found[(count - 1) % 16].origin, origin);
}

/* One client from 7, one connection, one request. */
static void bench_begin_request(struct bench *bench, struct mux_settings settings)
{
    bench_start(bench, settings);
    open_client(bench, 0);
    mux_client_set_origin(bench->clients[0], 7);
    open_connection(bench);
    ask(bench, 0, "a1\n");
}

static void answers_and_silence_are_found(void **state)
{
    (void)state;
    struct bench bench;
    bench_begin_request(&bench, usual);
    assert_int_equal(bench.found_count, 0);
    answer(&bench, 0, "A1\n");
    expect_found(&bench, 1, MUX_WORKS, 7);
    ask(&bench, 0, "a2\n");
    pass(&bench, 500);
    expect_found(&bench, 2, MUX_FAILED, 7);
    assert_int_equal(bench.found[1].reason, REASON_REQUEST_TIMEOUT);
    bench_stop(&bench);
    assert_int_equal(bench.found_count, 2); /* nothing of what ends by our doing */
}

/* Whose client did not wait for so long. */
static void silence_is_found_without_its_client(void **state)
{
    (void)state;
    struct bench bench;
    bench_begin_request(&bench, usual);
    mux_client_close(bench.clients[0], bench.now);
    bench.clients[0] = NULL;
    pass(&bench, 500);
    expect_found(&bench, 1, MUX_FAILED, 7);
    open_client(&bench, 1);
    open_connection(&bench);
    ask(&bench, 1, "b1\n");
    mux_client_close(bench.clients[1], bench.now);
    bench.clients[1] = NULL;
    answer(&bench, 1, "B1\n");
    expect_found(&bench, 2, MUX_WORKS, 0);
    bench_stop(&bench);
}

/* Only a connection on which no byte of any answer came; once. */
static void ends_without_an_answer_are_found(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.depth = 2;
    bench_begin_request(&bench, settings);
    open_client(&bench, 1);
    ask(&bench, 1, "b1\n");
    mux_connection_end(bench.connections[0], bench.now);
    settle(&bench);
    expect_found(&bench, 1, MUX_FAILED, 7);
    assert_int_equal(bench.found[0].reason, REASON_TARGET_CLOSED);
    open_connection(&bench);
    ask(&bench, 0, "a2\n");
    mux_connection_fail(bench.connections[1], REASON_TARGET_RESET, bench.now);
    settle(&bench);
    expect_found(&bench, 2, MUX_FAILED, 7);
    assert_int_equal(bench.found[1].reason, REASON_TARGET_RESET);
    open_connection(&bench);
    ask(&bench, 0, "a3\n");
    answer(&bench, 2, "A");
    mux_connection_end(bench.connections[2], bench.now);
    settle(&bench);
    open_connection(&bench);
    mux_connection_end(bench.connections[3], bench.now); /* it was idle */
    settle(&bench);
    bench_stop(&bench);
    assert_int_equal(bench.found_count, 2);
}

static void broken_rules_are_found(void **state)
{
    (void)state;
    struct bench bench;
    struct mux_settings settings = usual;
    settings.max_message = 8;
    bench_begin_request(&bench, settings);
    answer(&bench, 0, "much too long\n");
    expect_found(&bench, 1, MUX_BROKEN, 7);
    assert_int_equal(bench.found[0].reason, REASON_OVER_LIMIT);
    bench_stop(&bench);
    bench_begin_request(&bench, settings);
    answer(&bench, 0, "A1\n");
    answer(&bench, 0, "stray\n");
    expect_found(&bench, 2, MUX_BROKEN, 0);
    assert_int_equal(bench.found[1].reason, REASON_PROTOCOL_ERROR);
    bench_stop(&bench);
}

/* While the target is not trusted a client loses one request, not all of them. */
static void wary_connection_takes_one_request_of_each_client(void **state)
{
    (void)state;
    for (int in_order = 0; in_order < 2; in_order++) {
        struct bench bench;
        struct mux_settings settings = usual;
        settings.depth = 8;
        settings.in_order = in_order;
        bench_start(&bench, settings);
        open_client(&bench, 0);
        open_client(&bench, 1);
        open_connection(&bench);
        mux_connection_set_wary(bench.connections[0], true, bench.now);
        ask(&bench, 0, "a1\na2\n");
        ask(&bench, 1, "b1\nb2\n");
        assert_string_equal(bench.asked[0], "a1\nb1\n");
        answer(&bench, 0, "A1\n");
        assert_string_equal(bench.asked[0], "a1\nb1\na2\n");
        mux_connection_set_wary(bench.connections[0], false, bench.now);
        settle(&bench);
        assert_string_equal(bench.asked[0], "a1\nb1\na2\nb2\n");
        answer(&bench, 0, "B1\nA2\nB2\n");
        assert_string_equal(bench.got[1], "B1\nB2\n");
        bench_stop(&bench);
    }
}

/* A request that nobody waits for is sent in its turn, stands aside while there is no connection for it, and is in no
 * count and no limit. */
static void request_apart_keeps_nobody_up(void **state)
{
    (void)state;
    for (int in_order = 0; in_order < 2; in_order++) {
        struct bench bench;
        struct mux_settings settings = usual;
        struct mux_door door = { .is_apart = true };
        settings.in_order = in_order;
        settings.queue_limit = 1;
        bench_start(&bench, settings);
        open_client(&bench, 0);
        mux_client_set_door(bench.clients[0], &door);
        open_client(&bench, 1);
        ask(&bench, 0, "check\n");
        assert_int_equal(mux_waiting(bench.mux), 0);
        assert_true(mux_has_waiting(bench.mux));
        ask(&bench, 1, "b1\nb2\n");
        open_connection(&bench);
        assert_string_equal(bench.asked[0], "check\n"); /* it came first */
        assert_true(mux_client_is_owed(bench.clients[0]));
        assert_ptr_equal(mux_client_connection(bench.clients[0]), bench.connections[0]);
        answer(&bench, 0, "fine\n");
        assert_string_equal(bench.got[0], "fine\n");
        assert_false(mux_has_waiting(bench.mux) && bench.endings > 0);
        assert_int_equal(bench.endings_apart, 1);
        ask(&bench, 0, "check\n");
        answer(&bench, 0, "B1\n");
        open_connection(&bench); /* the one that it wants */
        assert_string_equal(bench.asked[1], "check\n");
        assert_int_equal(bench.endings, 1);
        answer(&bench, 1, "fine\n");
        answer(&bench, 0, "B2\n");
        assert_string_equal(bench.got[1], "B1\nB2\n");
        bench.connection_count = 3; /* there is none for it now */
        ask(&bench, 0, "check\n");
        ask(&bench, 1, "b3\n");
        assert_string_equal(bench.asked[0] + strlen("check\nb1\nb2\n"), "b3\n");
        pass(&bench, 100);
        answer(&bench, 0, "B3\n");
        pass(&bench, 5000); /* no time-out of the queue */
        assert_int_equal(bench.endings_apart, 2);
        assert_int_equal(bench.endings, 3);
        bench_stop(&bench);
        assert_int_equal(bench.endings_apart, 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_apart_keeps_nobody_up),
        cmocka_unit_test(requests_take_turns_on_one_connection),
        cmocka_unit_test(in_order_means_in_order),
        cmocka_unit_test(of_ten_turns_one_goes_to_lower_priorities),
        cmocka_unit_test(a_stall_timeout_that_a_reload_brings_counts_at_once),
        cmocka_unit_test(lower_priorities_share_that_turn_likewise),
        cmocka_unit_test(the_order_holds_within_a_priority),
        cmocka_unit_test(who_stood_aside_waits_for_higher_priorities),
        cmocka_unit_test(a_new_priority_counts_for_what_waits),
        cmocka_unit_test(who_gave_up_behind_a_higher_priority_is_dropped),
        cmocka_unit_test(what_was_sent_of_a_client_that_left_is_thrown_away),
        cmocka_unit_test(a_silent_target_costs_an_error_and_the_connection),
        cmocka_unit_test(a_cut_answer_resets_its_client),
        cmocka_unit_test(stray_bytes_cost_the_connection_only),
        cmocka_unit_test(limits_and_waits_end_in_errors),
        cmocka_unit_test(a_long_request_streams_alone),
        cmocka_unit_test(stall_timeout_counts_from_the_reload_that_sets_it),
        cmocka_unit_test(a_request_that_goes_alone_has_nothing_beside_it),
        cmocka_unit_test(requests_without_answer_are_over_when_sent),
        cmocka_unit_test(a_client_that_ends_gets_its_answers),
        cmocka_unit_test(who_is_next_for_a_connection_to_come_is_answered),
        cmocka_unit_test(who_is_next_after_a_gap_is_answered),
        cmocka_unit_test(a_lower_limit_turns_nobody_away),
        cmocka_unit_test(times_change_for_what_waits),
        cmocka_unit_test(a_request_longer_than_a_lower_limit_is_sent),
        cmocka_unit_test(clients_that_take_nothing_are_not_in_the_queue),
        cmocka_unit_test(memory_is_what_is_allocated),
        cmocka_unit_test(a_short_life_begins_when_requests_can_go_out),
        cmocka_unit_test(what_is_sent_at_once_costs_nobody_else),
        cmocka_unit_test(a_request_before_one_that_is_dropped_finds_its_connection),
        cmocka_unit_test(clients_that_stand_aside_keep_their_turn),
        cmocka_unit_test(a_client_that_stops_in_a_long_request_has_its_time),
        cmocka_unit_test(the_queue_can_be_held),
        cmocka_unit_test(exchanges_can_be_seen),
        cmocka_unit_test(a_head_as_long_as_may_be_is_read_on),
        cmocka_unit_test(connections_that_fail_do_not_prolong_the_wait),
        cmocka_unit_test(connections_that_fail_do_not_shorten_the_wait),
        cmocka_unit_test(who_goes_on_asking_does_not_keep_its_turn),
        cmocka_unit_test(who_sends_much_keeps_its_turn),
        cmocka_unit_test(nothing_waits_long_for_targets_that_are_down),
        cmocka_unit_test(a_drain_does_not_wait_for_targets_that_are_down),
        cmocka_unit_test(a_connection_that_settles_takes_no_request_yet),
        cmocka_unit_test(only_who_has_answered_leaves_in_good_order),
        cmocka_unit_test(answers_and_silence_are_found),
        cmocka_unit_test(silence_is_found_without_its_client),
        cmocka_unit_test(ends_without_an_answer_are_found),
        cmocka_unit_test(broken_rules_are_found),
        cmocka_unit_test(wary_connection_takes_one_request_of_each_client),
        cmocka_unit_test(what_cannot_be_taken_back_costs_its_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
