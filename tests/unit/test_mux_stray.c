/* Bytes of a target behind an answer, with nothing outstanding, through the
 * multiplexer and each framer: the first one ends the connection, whether it
 * comes with the answer or later, so that it costs nobody's exchange. */
#include "harness/test.h"

#include "mux/mux.h"
#include "protocol/length/length.h"
#include "protocol/marks/marks.h"
#include "protocol/modbus/modbus.h"
#include "protocol/protocols.h"
#include "unit/framing.h"

#include <string.h>

#define ID_SIZE 2 /* where there are ids, they are the first bytes of a message */

struct row {
    const char *name;
    struct protocol_settings settings;
    struct slice request;
    struct slice answer;
    struct slice stray; /* a whole message */
};

static struct protocol_settings with_length(int64_t id_width)
{
    struct protocol_settings settings = framing_settings(&protocol_length);
    length_own(&settings)->offset = 2;
    length_own(&settings)->width = 2;
    length_own(&settings)->id_width = id_width;
    return settings;
}

static struct protocol_settings with_modbus(bool match_order)
{
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    modbus_own(&settings)->match_order = match_order;
    return settings;
}

static struct protocol_settings with_marks(void)
{
    struct protocol_settings settings = framing_settings(&protocol_marks);
    marks_own(&settings)->start = SLICE("\x02");
    marks_own(&settings)->end = SLICE("\x03");
    return settings;
}

#define MODBUS_REQUEST SLICE("\0\1\0\0\0\6\1\3\0\0\0\1")
#define MODBUS_ANSWER  SLICE("\0\1\0\0\0\5\1\3\2\0\7")
#define LENGTH_MESSAGE SLICE("\0\1\0\3abc")
#define HTTP_ANSWER    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- A multiplexer with one client and one connection at a time ---- */

struct bench {
    struct mux *mux;
    struct mux_connection *connection;
    struct mux_client *client;
    struct protocol_settings *settings;
    size_t failed; /* exchanges */
    char output[256];
    size_t length; /* of `output` */
};

static struct mux_connection *choose(void *owner, void *client)
{
    const struct bench *bench = owner;
    (void)client;
    bool has_room = bench->connection != NULL && mux_connection_has_room(bench->connection);
    return has_room ? bench->connection : NULL;
}

static size_t opening(void *owner)
{
    (void)owner;
    return 1;
}

static void ended(void *owner, const struct mux_ending *ending)
{
    struct bench *bench = owner;
    bench->failed += !ending->answered;
}

static void bench_start(struct bench *bench, struct protocol_settings *settings)
{
    static const struct mux_hooks hooks = { .choose = choose, .opening = opening, .ended = ended };
    struct mux_settings mux_settings = { .protocol = settings,
                                         .depth = 1,
                                         .pipeline_depth = 16,
                                         .buffer_limit = 65536,
                                         .memory_limit = 1 << 20,
                                         .max_message = -1,
                                         .queue_limit = 4,
                                         .queue_timeout = 1000,
                                         .request_timeout = 1000,
                                         .stall_timeout = 1000,
                                         .client_idle_timeout = -1,
                                         .inactivity_timeout = -1,
                                         .connection_ttl = -1,
                                         .max_requests = -1 };
    *bench = (struct bench){ .settings = settings };
    bench->mux = mux_create(&mux_settings, &hooks, bench);
    assert_non_null(bench->mux);
}

static void bench_keep(struct bench *bench, struct slice output)
{
    assert_true(output.length <= sizeof(bench->output));
    memcpy(bench->output, output.bytes, output.length);
    bench->length = output.length;
}

/* A new client sends the request on the connection, and what the target gets is
 * in `output`. */
static void ask(struct bench *bench, const struct row *row)
{
    bench->client = mux_client_open(bench->mux, NULL, 1, 0);
    assert_non_null(bench->client);
    mux_client_bytes(bench->client, row->request.bytes, row->request.length, 0);
    mux_dispatch(bench->mux, 0);
    bench_keep(bench, mux_connection_output(bench->connection));
    mux_connection_written(bench->connection, bench->length, 0);
    test_require(bench->length > 0, "%s: the request is not sent", row->name);
}

/* The answer to it, under the id that the request has there, and so many stray
 * bytes, in the same read or another. */
static void answer(struct bench *bench, const struct row *row, size_t stray, bool is_later)
{
    char bytes[256];
    size_t length = row->answer.length;

    memcpy(bytes, row->answer.bytes, length);
    memcpy(bytes + length, row->stray.bytes, row->stray.length);
    if (protocol_has_ids(bench->settings))
        memcpy(bytes, bench->output, ID_SIZE);
    mux_connection_bytes(bench->connection, bytes, is_later ? length : length + stray, 0);
    if (is_later && stray > 0) {
        mux_dispatch(bench->mux, 0);
        mux_connection_bytes(bench->connection, bytes + length, stray, 0);
    }
    mux_dispatch(bench->mux, 0);
}

/* The client has its answer, the whole of it and nothing else, and leaves. */
static void expect_answer(struct bench *bench, const struct row *row, size_t stray)
{
    struct slice output = mux_client_output(bench->client);

    test_require(slice_equal(output, row->answer), "%s, %zu stray bytes: the client gets %zu bytes for %zu",
                 row->name, stray, output.length, row->answer.length);
    mux_client_written(bench->client, output.length, 0);
    mux_client_close(bench->client, 0);
}

static void run_row(const struct row *row, size_t stray, bool is_later)
{
    struct protocol_settings settings = row->settings;
    struct bench bench;

    bench_start(&bench, &settings);
    bench.connection = mux_connection_open(bench.mux, NULL, false, 0);
    ask(&bench, row);
    answer(&bench, row, stray, is_later);
    expect_answer(&bench, row, stray);
    test_require(mux_connection_is_over(bench.connection),
                 "%s: %zu stray bytes %s the answer are not noticed", row->name, stray,
                 is_later ? "after" : "with");
    mux_connection_close(bench.connection, 0);
    bench.connection = mux_connection_open(bench.mux, NULL, false, 0);
    ask(&bench, row);
    answer(&bench, row, 0, false);
    expect_answer(&bench, row, 0);
    assert_int_equal(bench.failed, 0);
    mux_connection_close(bench.connection, 0);
    mux_destroy(bench.mux);
}

static void the_first_stray_byte_ends_the_connection(void **state)
{
    (void)state;
    const struct row rows[] = {
        { "http", framing_settings(&protocol_http), SLICE("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
          SLICE(HTTP_ANSWER), SLICE(HTTP_ANSWER) },
        { "line", framing_settings(&protocol_line), SLICE("ask\n"), SLICE("yes\n"), SLICE("no\n") },
        { "marks", with_marks(),
          SLICE("\x02"
                "ask\x03"),
          SLICE("\x02yes\x03"), SLICE("\x02no\x03") },
        { "memcached", framing_settings(&protocol_memcached), SLICE("get a\r\n"), SLICE("END\r\n"),
          SLICE("VALUE a 0 1\r\nx\r\nEND\r\n") },
        { "redis", framing_settings(&protocol_redis), SLICE("*1\r\n$4\r\nPING\r\n"), SLICE("+PONG\r\n"),
          SLICE("$3\r\nabc\r\n") },
        { "length without ids", with_length(0), LENGTH_MESSAGE, LENGTH_MESSAGE, LENGTH_MESSAGE },
        { "modbus without ids", with_modbus(true), MODBUS_REQUEST, MODBUS_ANSWER, MODBUS_ANSWER },
        { "length", with_length(ID_SIZE), LENGTH_MESSAGE, LENGTH_MESSAGE, LENGTH_MESSAGE },
        { "modbus", with_modbus(false), MODBUS_REQUEST, MODBUS_ANSWER, MODBUS_ANSWER },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t stray = 1; stray <= rows[i].stray.length; stray++) {
            run_row(&rows[i], stray, false);
            run_row(&rows[i], stray, true);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_stray_byte_ends_the_connection),
    };
    return cmocka_run_group_tests_name("mux_stray", tests, NULL, NULL);
}
