/* What each protocol asks a target to see whether it works, and how it judges the answer, at every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/check.h"
#include "protocol/protocols.h"
#include "protocol/redis/redis.h"

#include <string.h>

static struct protocol_settings settings_of(const char *name)
{
    return (
        struct protocol_settings){ .protocol = protocols_find(name), .head_limit = 65536, .max_message = -1 };
}

static struct check_settings standard(enum check_type type)
{
    struct check_settings check = check_standard;
    check.type = type;
    return check;
}

static void assert_asks(const char *name, const struct check_settings *check, const char *bytes,
                        size_t length)
{
    struct protocol_settings settings = settings_of(name);
    struct buffer out = { 0 };
    check_write(check, &settings, NULL, &out);
    assert_int_equal(out.length, length);
    if (length > 0)
        assert_memory_equal(buffer_bytes(&out), bytes, length);
    buffer_free(&out);
}

#define assert_asks_for(name, check, literal) assert_asks(name, check, literal, sizeof(literal) - 1)

static void each_protocol_asks_its_question(void **state)
{
    (void)state;
    struct check_settings check = standard(CHECK_PROTOCOL);
    assert_asks_for("redis", &check, "*1\r\n$4\r\nPING\r\n");
    assert_asks_for("memcached", &check, "version\r\n");
    assert_asks_for("http", &check, "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: proximux\r\n\r\n");
    assert_asks_for("modbus", &check, "\0\0\0\0\0\6\1\3\0\0\0\1");
    assert_asks_for("postgresql", &check, "\0\0\0\10\4\xd2\x16\x2f");
    assert_asks_for("mysql", &check, "");
    check.path = (char[]){ "/health" };
    assert_asks_for("http", &check,
                    "GET /health HTTP/1.1\r\nHost: localhost\r\nUser-Agent: proximux\r\n\r\n");
    check.unit = 255;
    check.function = 4;
    check.address = 30000;
    assert_asks_for("modbus", &check, "\0\0\0\0\0\6\xff\4\x75\x30\0\1");
    check = standard(CHECK_EXCHANGE);
    check.send = SLICE("*IDN?\n");
    assert_asks_for("line", &check, "*IDN?\n");
    check.type = CHECK_CONNECT;
    assert_asks_for("redis", &check, "");
}

/* Judges the answer with all its beginnings before it: those are never said to be wrong if it is right. */
static enum protocol_outcome judge(const char *name, const struct check_settings *check, struct slice answer,
                                   char *error, size_t size)
{
    struct protocol_settings settings = settings_of(name);
    enum protocol_outcome outcome = PROTOCOL_MORE;
    struct buffer text = { 0 };
    for (size_t length = 0; length <= answer.length && outcome == PROTOCOL_MORE; length++)
        outcome = check_read(check, &settings, (struct slice){ answer.bytes, length }, &text);
    assert_true(text.length < size);
    if (text.length > 0)
        memcpy(error, buffer_bytes(&text), text.length);
    error[text.length] = '\0';
    buffer_free(&text);
    return outcome;
}

static void each_protocol_judges_its_answer(void **state)
{
    const struct {
        const char *protocol;
        struct slice answer;
        enum protocol_outcome outcome;
        const char *error;
    } rows[] = {
        { "redis", SLICE("+PONG\r\n"), PROTOCOL_COMPLETE, "" },
        { "redis", SLICE("-NOAUTH Authentication required.\r\n"), PROTOCOL_COMPLETE, "" },
        { "redis", SLICE("-LOADING Redis is loading\r\n"), PROTOCOL_BROKEN,
          "it answered \"-LOADING Redis is loading\"" },
        { "redis", SLICE("+PON"), PROTOCOL_MORE, "" },
        { "memcached", SLICE("VERSION 1.6.18\r\n"), PROTOCOL_COMPLETE, "" },
        { "memcached", SLICE("SERVER_ERROR x\r\n"), PROTOCOL_BROKEN, "it answered \"SERVER_ERROR x\"" },
        { "http", SLICE("HTTP/1.1 200 OK\r\n"), PROTOCOL_COMPLETE, "" },
        { "http", SLICE("HTTP/1.0 200\r\n"), PROTOCOL_COMPLETE, "" },
        { "http", SLICE("HTTP/1.1 503 Service Unavailable\r\n"), PROTOCOL_BROKEN,
          "it answered \"HTTP/1.1 503 Service Unavailable\"" },
        { "http", SLICE("SSH-2.0-OpenSSH 200\r\n"), PROTOCOL_BROKEN, "it answered \"SSH-2.0-OpenSSH 200\"" },
        { "http", SLICE("HTTP\r\n"), PROTOCOL_BROKEN, "it answered \"HTTP\"" },
        { "modbus", SLICE("\0\0\0\0\0\5\1\3\2\0\7"), PROTOCOL_COMPLETE, "" },
        { "modbus", SLICE("\0\0\0\0\0\3\1\x83\2"), PROTOCOL_COMPLETE, "" },
        { "modbus", SLICE("\0\0\0\0\0\3\1\x83\4"), PROTOCOL_BROKEN, "exception 4: server device failure" },
        { "modbus", SLICE("\0\0\0\0\0\3\1\x83\x0a"), PROTOCOL_BROKEN,
          "exception 10: gateway path unavailable" },
        { "modbus", SLICE("\0\0\0\0\0\3\1\x83\x0b"), PROTOCOL_BROKEN,
          "exception 11: gateway target device failed to respond" },
        { "modbus", SLICE("\0\0\0\0\0\3\1\4\2"), PROTOCOL_BROKEN, "the answer is that of another function" },
        { "mysql", SLICE("\x4a\0\0\0\x0a"), PROTOCOL_COMPLETE, "" },
        { "mysql", SLICE("\x17\0\0\0\xff\x10\4Too many connections"), PROTOCOL_BROKEN,
          "it answered \"Too many connections\"" },
        { "mysql", SLICE("SSH-2.0"), PROTOCOL_BROKEN, "it does not greet as a MySQL server does" },
        { "postgresql", SLICE("S"), PROTOCOL_COMPLETE, "" },
        { "postgresql", SLICE("N"), PROTOCOL_COMPLETE, "" },
        { "postgresql", SLICE("E"), PROTOCOL_BROKEN, "SSLRequest was not answered with S or N" },
    };
    (void)state;
    struct check_settings check = standard(CHECK_PROTOCOL);
    char error[128];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum protocol_outcome outcome = judge(rows[i].protocol, &check, rows[i].answer, error, sizeof error);
        if (outcome != rows[i].outcome || strcmp(error, rows[i].error) != 0)
            fail_msg("row %zu: %s: %d, \"%s\"", i, rows[i].protocol, outcome, error);
    }
    check.status = 404;
    assert_int_equal(judge("http", &check, SLICE("HTTP/1.1 404 Not Found\r\n"), error, sizeof error),
                     PROTOCOL_COMPLETE);
}

static void an_exchange_wants_what_is_expected(void **state)
{
    (void)state;
    struct check_settings check = standard(CHECK_EXCHANGE);
    char error[128];
    assert_int_equal(judge("line", &check, SLICE("anything"), error, sizeof error), PROTOCOL_COMPLETE);
    check.expect = SLICE("READY");
    assert_int_equal(judge("line", &check, SLICE("are you READY?\n"), error, sizeof error),
                     PROTOCOL_COMPLETE);
    assert_int_equal(judge("line", &check, SLICE("READ\n"), error, sizeof error), PROTOCOL_MORE);
    assert_int_equal(judge("line", &check, SLICE(""), error, sizeof error), PROTOCOL_MORE);
}

/* With a password of the listener's no client is let in unasked, but a check is. */
static void a_check_needs_no_password_of_clients(void **state)
{
    (void)state;
    struct protocol_settings settings = settings_of("redis");
    redis_own(&settings)->password = SLICE("secret");
    redis_own(&settings)->client_auth = true;
    struct check_settings check = standard(CHECK_PROTOCOL);
    uint64_t client[64] = { 0 };
    assert_true(settings.protocol->client_size <= sizeof client);
    struct protocol_request request = { 0 };
    struct buffer written = { 0 }, out = { 0 }, answer = { 0 };
    settings.protocol->open_client(&settings, client, 1);
    check_write(&check, &settings, client, &written);
    struct slice input = buffer_slice(&written);
    assert_int_equal(settings.protocol->read_request(&settings, client, &request, &input, &out, &answer),
                     PROTOCOL_COMPLETE);
    assert_false(request.local);
    assert_int_equal(answer.length, 0);
    settings.protocol->close_client(client);
    buffer_free(&written);
    buffer_free(&out);
    buffer_free(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_protocol_asks_its_question),
        cmocka_unit_test(each_protocol_judges_its_answer),
        cmocka_unit_test(an_exchange_wants_what_is_expected),
        cmocka_unit_test(a_check_needs_no_password_of_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
