/* Every reason with every protocol: what a client gets that waits for an answer when it ends for this reason. */
#include "protocol/protocols.h"
#include "unit/framing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A request that has been read; NULL: the protocol answers none in words of its own. */
static const char *request_for(const char *protocol, size_t *length)
{
    static const char modbus[] = "\0\1\0\0\0\6\1\3\0\0\0\1";
    static const struct {
        const char *protocol;
        const char *bytes;
    } requests[] = {
        { "redis", "*1\r\n$4\r\nINFO\r\n" },
        { "memcached", "get a\r\n" },
        { "http", "GET / HTTP/1.1\r\nHost: a\r\n\r\n" },
    };
    *length = sizeof modbus - 1;
    if (strcmp(protocol, "modbus") == 0)
        return modbus;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        if (strcmp(requests[i].protocol, protocol) == 0) {
            *length = strlen(requests[i].bytes);
            return requests[i].bytes;
        }
    return NULL;
}

/* The error of a request that was read, as long as nothing of an answer has been given; empty if it has none. */
static void write_error(const struct protocol *protocol, struct slice bytes, enum reason reason,
                        struct buffer *error)
{
    struct protocol_settings settings = framing_settings(protocol);
    struct protocol_request request = { 0 };
    struct buffer out = { 0 }, answer = { 0 };
    uint64_t client[64] = { 0 };
    assert_true(protocol->client_size <= sizeof client);
    assert_int_equal(protocol->read_request(&settings, client, &request, &bytes, &out, &answer),
                     PROTOCOL_COMPLETE);
    bool has_one = protocol->write_error(&settings, &request, reason, error);
    assert_int_equal(has_one, error->length > 0);
    request.begun = true;
    assert_false(protocol->write_error(&settings, &request, reason, &answer));
    assert_int_equal(answer.length, 0);
    if (protocol->close_client != NULL)
        protocol->close_client(client);
    buffer_free(&out);
    buffer_free(&answer);
}

static bool contains(const struct buffer *text, const char *phrase)
{
    size_t length = strlen(phrase);
    for (size_t at = 0; at + length <= text->length; at++)
        if (memcmp(buffer_bytes(text) + at, phrase, length) == 0)
            return true;
    return false;
}

/* The phrase is said by protocols that have words, but for what concerns either side. */
static bool says_phrase(const char *protocol, enum reason reason)
{
    return strcmp(protocol, "modbus") != 0 && !(strcmp(protocol, "http") == 0 && reason == REASON_OVER_LIMIT);
}

static void check(const struct protocol *protocol, struct slice bytes, enum reason reason)
{
    struct buffer error = { 0 };
    write_error(protocol, bytes, reason, &error);
    bool is_silent = strcmp(protocol->name, "http") == 0 && reason_class(reason) == REASON_CLASS_CLIENT;
    if (is_silent != (error.length == 0))
        fail_msg("%s, %s: %zu bytes", protocol->name, reason_name(reason), error.length);
    if (!is_silent && says_phrase(protocol->name, reason) && !contains(&error, reason_phrase(reason)))
        fail_msg("%s, %s: \"%.*s\"", protocol->name, reason_name(reason), (int)error.length,
                 buffer_bytes(&error));
    bool had_it = reason_class(reason) == REASON_CLASS_LOST || reason_class(reason) == REASON_CLASS_SILENT;
    if (strcmp(protocol->name, "modbus") == 0)
        assert_int_equal(buffer_bytes(&error)[8], had_it ? 0x0B : 0x0A);
    buffer_free(&error);
}

static void each_reason_has_its_answer_in_each_protocol(void **state)
{
    (void)state;
    size_t checked = 0;
    for (const struct protocol *const *protocol = protocols_all(); *protocol != NULL; protocol++)
        for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
            size_t length;
            const char *bytes = request_for((*protocol)->name, &length);
            if (bytes == NULL)
                continue;
            check(*protocol, (struct slice){ bytes, length }, (enum reason)reason);
            checked++;
        }
    assert_int_equal(checked, 4 * (REASON_COUNT - 1));
}

static void reasons_differ_in_name_and_phrase(void **state)
{
    (void)state;
    for (int a = 0; a < REASON_COUNT; a++) {
        assert_non_null(reason_phrase((enum reason)a));
        assert_int_equal(reason_class((enum reason)a) == REASON_CLASS_NONE, a == REASON_NONE);
        for (int b = 0; b < a; b++) {
            assert_string_not_equal(reason_name((enum reason)a), reason_name((enum reason)b));
            assert_string_not_equal(reason_phrase((enum reason)a), reason_phrase((enum reason)b));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason_has_its_answer_in_each_protocol),
        cmocka_unit_test(reasons_differ_in_name_and_phrase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
