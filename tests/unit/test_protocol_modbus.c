/* Modbus TCP. */
#include "unit/framing_once.h"

#include "protocol/modbus/modbus.h"
#include "protocol/protocols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request for holding registers 107 to 109 of unit 17, after the application protocol specification, 6.3.
 */
#define READ(id)        id "\0\0\0\6\x11\3\0\x6b\0\3"
#define READ_TEXT(id)   id "\\x00\\x00\\x00\\x06\\x11\\x03\\x00k\\x00\\x03"
#define VALUES(id)      id "\0\0\0\x9\x11\3\6\2\x2b\0\0\0\x64"
#define VALUES_TEXT(id) id "\\x00\\x00\\x00\\x09\\x11\\x03\\x06\\x02+\\x00\\x00\\x00d"
/* The same with an exception: illegal data address. */
#define EXCEPTION(id)      id "\0\0\0\3\x11\x83\2"
#define EXCEPTION_TEXT(id) id "\\x00\\x00\\x00\\x03\\x11\\x83\\x02"

static struct protocol_settings by_order(void)
{
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    modbus_own(&settings)->match_order = true;
    return settings;
}

static void it_is_found(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    assert_ptr_equal(protocols_find("modbus"), &protocol_modbus);
    assert_false(protocol_modbus.is_async);
    assert_true(protocol_modbus.aborts_on_close);
    assert_int_equal(protocol_modbus.largest_answer(&settings), 260);
    assert_int_equal(protocol_modbus.id_count(&settings), 65536);
    settings = by_order();
    assert_int_equal(protocol_modbus.id_count(&settings), 0);
}

/* Clients that all send transaction id 1 are told apart; each gets its own back. */
static void ids_are_rewritten(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    framing_expect_requests(&settings, READ("\0\1") READ("\0\1") READ("\xff\xff"),
                            "forward " READ_TEXT("\\x00\\x00") "\nforward " READ_TEXT(
                                "\\x00\\x01") "\n"
                                              "forward " READ_TEXT("\\x00\\x02") "\n");
    framing_expect_responses(
        &settings, READ("\0\1") READ("\0\1") READ("\xff\xfe"),
        VALUES("\0\1") EXCEPTION("\0\2") VALUES("\0\0"), false,
        "whose 1\nanswer " VALUES_TEXT("\\x00\\x01") "\n"
                                                     "whose 2\nanswer " EXCEPTION_TEXT(
                                                         "\\xff\\xfe") "\n"
                                                                       "whose 0\nanswer " VALUES_TEXT(
                                                                           "\\x00\\x01") "\n");
    framing_expect_responses(&settings, READ("\0\1"), VALUES("\1\2"), false, "whose 258\n");
    framing_expect_responses(&settings, READ("\0\1"), "\0\0\0\0\0\3\x11", true, "");
    framing_expect_responses(&settings, READ("\0\1"), "\0\0\0\0\0\3\x11\3", true,
                             "whose 0\ncut \\x00\\x01\\x00\\x00\\x00\\x03\\x11\\x03\n");
}

/* The shortest message ends with its head, the longest has 260 bytes. */
static void lengths_have_limits(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    framing_expect_requests(&settings,
                            "\0\7\0\0\0\2\1\7"
                            "\0\7\0\0\0\2\1\7",
                            "forward \\x00\\x00\\x00\\x00\\x00\\x02\\x01\\x07\n"
                            "forward \\x00\\x01\\x00\\x00\\x00\\x02\\x01\\x07\n");
    framing_expect_responses(&settings, "\0\7\0\0\0\2\1\7", "\0\0\0\0\0\2\1\7", false,
                             "whose 0\nanswer \\x00\\x07\\x00\\x00\\x00\\x02\\x01\\x07\n");
    char longest[261], request[600], answer[600];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "\0\7\0\0\0\xfe\1\x41", 8);
    snprintf(request, sizeof request, "forward %s%.252s\nmore \n", "\\x00\\x00\\x00\\x00\\x00\\xfe\\x01A",
             longest + 8);
    framing_expect_requests_at(&settings, (struct slice){ longest, 261 }, request, HERE);
    longest[1] = 0;
    snprintf(answer, sizeof answer, "whose 0\nanswer %s%.252s\n", "\\x00\\x07\\x00\\x00\\x00\\xfe\\x01A",
             longest + 8);
    framing_expect_responses_at(&settings, SLICE("\0\7\0\0\0\2\1\x41"), (struct slice){ longest, 260 }, false,
                                answer, HERE);
}

/* Each is refused with the byte that shows it: of a message of length 0 no further one has to come. */
static const struct slice wrong_heads[] = {
    SLICE("\0\1\0\0\0\0"),     SLICE("\0\1\0\0\0\1"),       SLICE("\0\1\0\0\0\1\1"),
    SLICE("\0\1\0\0\0\xff"),   SLICE("\0\1\0\0\xff\xff"),   SLICE("\0\1\0\0\1"),
    SLICE("\0\1\0\0\1\2"),     SLICE("\0\1\0\1"),           SLICE("\0\1\1"),
    SLICE("\0\1\xff\xff\0\6"), SLICE("GET / HTTP/1.1\r\n"),
};

static void wrong_heads_are_refused(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    struct protocol_settings ordered = by_order();
    for (size_t i = 0; i < sizeof wrong_heads / sizeof *wrong_heads; i++) {
        framing_expect_requests_at(&settings, wrong_heads[i], "broken \n", HERE);
        framing_expect_responses_at(&settings, SLICE(READ("\0\1")), wrong_heads[i], false, "stray \n", HERE);
        framing_expect_responses_at(&ordered, SLICE(READ("\0\1")), wrong_heads[i], false, "broken \n", HERE);
    }
    framing_expect_requests(&settings, READ("\0\1") "\0\1\0\0\0\1",
                            "forward " READ_TEXT("\\x00\\x00") "\nbroken \n");
    framing_expect_requests(&settings, "\0\1\0\0\0", "more \n");
}

static void unit_and_function_are_checked(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    framing_expect_responses(&settings, READ("\0\1"), "\0\0\0\0\0\3\x12\3\0", false, "whose 0\nbroken \n");
    framing_expect_responses(&settings, READ("\0\1"), "\0\0\0\0\0\3\x11\4\0", false, "whose 0\nbroken \n");
    framing_expect_responses(&settings, READ("\0\1"), "\0\0\0\0\0\3\x11\x84\2", false, "whose 0\nbroken \n");
    framing_expect_responses(&settings, READ("\0\1"), "\0\0\0\0\0\3\x12\x83\2", false, "whose 0\nbroken \n");
    settings = by_order();
    framing_expect_responses(&settings, READ("\0\1"), "\0\0\0\0\0\3\x11\4\0", false, "broken \n");
}

/* No answer to a function from 128 on could be told from an exception. */
static void functions_of_exceptions_are_refused(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    framing_expect_requests(
        &settings, "\0\7\0\0\0\3\x11\x83\2" READ("\0\1") "\1\2\0\0\0\2\1\xff",
        "local [refused] \\x00\\x07\\x00\\x00\\x00\\x03\\x11\\x83\\x01\n"
        "forward " READ_TEXT("\\x00\\x00") "\n"
                                           "local [refused] \\x01\\x02\\x00\\x00\\x00\\x03\\x01\\xff\\x01\n");
    framing_expect_requests(&settings, "\0\7\0\0\0\4\x11\x80\2", "");
    /* Nor is 0 one. */
    framing_expect_requests(&settings, "\0\7\0\0\0\2\1\0" READ("\0\1"),
                            "local [refused] \\x00\\x07\\x00\\x00\\x00\\x03\\x01\\x80\\x01\n"
                            "forward " READ_TEXT("\\x00\\x00") "\n");
}

/* A request of its function and so many bytes of data, of which the one at `place` is `count`. */
static void expect_form(unsigned char function, size_t size, size_t place, unsigned char count, bool is_right)
{
    struct protocol_settings settings = by_order();
    char request[260] = { 0, 7, 0, 0, 0, (char)(size + 2), 1, (char)function };
    char expected[] = { 0, 7, 0, 0, 0, 3, 1, (char)(function | 0x80), 3 };
    struct protocol_request state = { 0 };
    struct buffer out = { 0 }, answer = { 0 };
    void *client = calloc(1, protocol_modbus.client_size);
    assert_non_null(client);
    if (place < size)
        request[8 + place] = (char)count;
    struct slice input = { request, 8 + size };
    enum protocol_outcome outcome =
        protocol_modbus.read_request(&settings, client, &state, &input, &out, &answer);
    test_require(outcome == (is_right ? PROTOCOL_COMPLETE : PROTOCOL_BROKEN),
                 "function %d, %zu bytes, count %d", function, size, count);
    assert_int_equal(state.decided, is_right);
    assert_int_equal(answer.length, is_right ? 0 : sizeof expected);
    if (!is_right)
        assert_memory_equal(buffer_bytes(&answer), expected, sizeof expected);
    buffer_free(&out);
    buffer_free(&answer);
    free(client);
}

/* Servers such as libmodbus find the end of a request by its function. Whatever they would cut elsewhere does
 * not reach them: neither a request inside of another, nor one that the next client's bytes would complete.
 */
static void forms_are_checked(void **state)
{
    (void)state;
    const struct {
        unsigned char function;
        size_t size;
        bool is_counted;
    } forms[] = {
        { 1, 4, false }, { 2, 4, false },  { 3, 4, false },  { 4, 4, false },  { 5, 4, false },
        { 6, 4, false }, { 7, 0, false },  { 11, 0, false }, { 12, 0, false }, { 15, 5, true },
        { 16, 5, true }, { 17, 0, false }, { 20, 1, true },  { 21, 1, true },  { 22, 6, false },
        { 23, 9, true }, { 24, 2, false },
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t size = forms[i].size, last = size - 1;
        expect_form(forms[i].function, size, last, 0, true);
        expect_form(forms[i].function, size + 1, last, forms[i].is_counted ? 2 : 0, false);
        expect_form(forms[i].function, size + 12, last, 0, false);
        if (size > 0)
            expect_form(forms[i].function, size - 1, last, 0, false);
        if (forms[i].is_counted) {
            expect_form(forms[i].function, size + 2, last, 2, true);
            expect_form(forms[i].function, 252, last, (unsigned char)(252 - size), true);
            expect_form(forms[i].function, size, last, 255, false);
        }
    }
    /* Of others nothing is known: a vendor's own, diagnostics, encapsulated interfaces. */
    for (size_t size = 0; size <= 252; size++) {
        expect_form(0x41, size, 0, 0, true);
        expect_form(0x08, size, 0, 0, true);
        expect_form(0x2b, size, 0, 0, true);
    }
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    framing_expect_requests(
        &settings,
        "\0\7\0\0\0\x9\1\x10\0\0\0\1\2\0\5"
        "\0\7\0\0\0\x9\1\x10\0\0\0\1\1\0\5",
        "forward \\x00\\x00\\x00\\x00\\x00\\x09\\x01\\x10\\x00\\x00\\x00\\x01\\x02\\x00\\x05\n"
        "broken \\x00\\x07\\x00\\x00\\x00\\x03\\x01\\x90\\x03\n");
    framing_expect_requests(&settings, "\0\7\0\0\0\x9\1\x10\0\0\0\1", "more \n");
    framing_expect_requests(&settings, "\0\7\0\0\0\x9\1\x10\0\0\0\1\2",
                            "more \\x00\\x07\\x00\\x00\\x00\\x09\\x01\\x10\\x00\\x00\\x00\\x01\\x02\n");
    settings.head_limit = 12;
    framing_expect_requests(&settings, "\0\7\0\0\0\x9\1\x10\0\0\0\1\2\0\5", "broken \n");
}

/* Devices that answer with whatever id: the order counts, and what the client sent is put back. */
static void order_may_count(void **state)
{
    (void)state;
    struct protocol_settings settings = by_order();
    framing_expect_requests(&settings, READ("\0\1") READ("\xff\xff"),
                            "forward " READ_TEXT("\\x00\\x01") "\nforward " READ_TEXT("\\xff\\xff") "\n");
    framing_expect_responses(
        &settings, READ("\0\1") READ("\xff\xff"), VALUES("\0\0") EXCEPTION("\0\0"), false,
        "answer " VALUES_TEXT("\\x00\\x01") "\nanswer " EXCEPTION_TEXT("\\xff\\xff") "\n");
    framing_expect_responses(&settings, READ("\0\1"), VALUES("\0\0") "\0", false,
                             "answer " VALUES_TEXT("\\x00\\x01") "\nstray\n");
    framing_expect_responses(&settings, READ("\0\1"), "\0\0\0\0\0\3\x11", true, "cut \n");
}

static void requests_stream_from_their_head_on(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    framing_expect_requests(&settings, "\0\1\0\0\0\6\x11", "more \n");
    framing_expect_requests(&settings, "\0\1\0\0\0\6\x11\3",
                            "more \\x00\\x01\\x00\\x00\\x00\\x06\\x11\\x03\n");
    settings.head_limit = 8;
    framing_expect_requests(&settings, READ("\0\1"), "forward " READ_TEXT("\\x00\\x00") "\n");
    settings.head_limit = 7;
    framing_expect_requests(&settings, READ("\0\1"), "broken \n");
}

static void errors_are_exceptions(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    const struct {
        enum reason reason;
        char code;
    } cases[] = {
        { REASON_REQUEST_TIMEOUT, 0x0B }, { REASON_TARGET_CLOSED, 0x0B },   { REASON_TARGET_RESET, 0x0B },
        { REASON_PROTOCOL_ERROR, 0x0B },  { REASON_QUEUE_TIMEOUT, 0x0A },   { REASON_QUEUE_FULL, 0x0A },
        { REASON_TARGET_REFUSED, 0x0A },  { REASON_CONNECT_TIMEOUT, 0x0A }, { REASON_OVER_LIMIT, 0x0A },
        { REASON_DRAINED, 0x0A },         { REASON_BLOCKED, 0x0A },         { REASON_INTERNAL, 0x0A },
    };
    struct buffer out = { 0 }, answer = { 0 };
    struct protocol_request request = { 0 };
    void *client = calloc(1, protocol_modbus.client_size);
    struct slice input = SLICE("\x12\x34\0\0\0\6\x11\3");
    assert_non_null(client);
    /* Half a request is enough, once its head is in and can be trusted. */
    assert_int_equal(protocol_modbus.read_request(&settings, client, &request, &input, &out, &answer),
                     PROTOCOL_MORE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[] = "\x12\x34\0\0\0\3\x11\x83?";
        expected[8] = cases[i].code;
        buffer_truncate(&out, 0);
        assert_true(protocol_modbus.write_error(&settings, &request, cases[i].reason, &out));
        assert_int_equal(out.length, 9);
        assert_memory_equal(buffer_bytes(&out), expected, 9);
    }
    buffer_truncate(&out, 0);
    request.begun = true;
    assert_false(protocol_modbus.write_error(&settings, &request, REASON_TARGET_CLOSED, &out));
    assert_int_equal(out.length, 0);
    buffer_free(&out);
    free(client);
}

static void nothing_is_said_to_an_unknown_request(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    framing_expect_error(&settings, "", REASON_DRAINED, NULL);
    framing_expect_error(&settings, "\0\1\0\0\0\6\x11", REASON_OVER_LIMIT, NULL);
    framing_expect_error(&settings, "\0\1\0\0\0\1\x11", REASON_PROTOCOL_ERROR, NULL);
}

static void each_byte_is_looked_at_once(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_modbus);
    char longest[260] = "\0\7\0\0\0\xfe\1\x41";
    struct slice message = { longest, sizeof longest };
    framing_expect_request_once(&settings, message, 8);
    framing_expect_response_once(&settings, message, message);
    char counted[260] = "\0\7\0\0\0\xfe\1\x10\0\0\0\1\xf7";
    framing_expect_request_once(&settings, (struct slice){ counted, sizeof counted }, 13);
    settings = by_order();
    framing_expect_response_once(&settings, message, message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_found),
        cmocka_unit_test(ids_are_rewritten),
        cmocka_unit_test(lengths_have_limits),
        cmocka_unit_test(wrong_heads_are_refused),
        cmocka_unit_test(unit_and_function_are_checked),
        cmocka_unit_test(functions_of_exceptions_are_refused),
        cmocka_unit_test(forms_are_checked),
        cmocka_unit_test(order_may_count),
        cmocka_unit_test(requests_stream_from_their_head_on),
        cmocka_unit_test(errors_are_exceptions),
        cmocka_unit_test(nothing_is_said_to_an_unknown_request),
        cmocka_unit_test(each_byte_is_looked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
