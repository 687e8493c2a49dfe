/* Messages that begin with their length. */
#include "unit/framing_once.h"

#include "protocol/length/length.h"
#include "protocol/protocols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct protocol_settings with_length(int64_t offset, int64_t width, int64_t adjust,
                                            enum number_encoding encoding)
{
    struct protocol_settings settings = framing_settings(&protocol_length);
    length_own(&settings)->offset = offset;
    length_own(&settings)->width = width;
    length_own(&settings)->adjust = adjust;
    length_own(&settings)->encoding = encoding;
    return settings;
}

/* A type of one byte, an id of two, a length of two that counts what follows. */
static struct protocol_settings with_id(void)
{
    struct protocol_settings settings = with_length(3, 2, 0, NUMBER_BINARY);
    length_own(&settings)->id_offset = 1;
    length_own(&settings)->id_width = 2;
    return settings;
}

static void it_is_found(void **state)
{
    (void)state;
    assert_ptr_equal(protocols_find("length"), &protocol_length);
    assert_false(protocol_length.is_async);
    assert_false(protocol_length.aborts_on_close);
    assert_null(protocol_length.turn_gap);
}

static void binary_lengths_have_any_width(void **state)
{
    (void)state;
    const struct {
        int64_t width;
        bool little_endian;
        struct slice requests;
        const char *expected;
    } cases[] = {
        { 1, false, SLICE("\0\2ab"), "forward \\x00\nforward \\x02ab\n" },
        { 2, false, SLICE("\0\2ab"), "forward \\x00\\x02ab\n" },
        { 2, true, SLICE("\2\0ab\0\0"), "forward \\x02\\x00ab\nforward \\x00\\x00\n" },
        { 3, false, SLICE("\0\0\1a"), "forward \\x00\\x00\\x01a\n" },
        { 3, true, SLICE("\1\0\0a"), "forward \\x01\\x00\\x00a\n" },
        { 4, false, SLICE("\0\0\0\1a"), "forward \\x00\\x00\\x00\\x01a\n" },
        { 4, true, SLICE("\1\0\0\0a"), "forward \\x01\\x00\\x00\\x00a\n" },
        { 8, false, SLICE("\0\0\0\0\0\0\0\1a"), "forward \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01a\n" },
        { 8, true, SLICE("\1\0\0\0\0\0\0\0a"), "forward \\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00a\n" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct protocol_settings settings = with_length(0, cases[i].width, 0, NUMBER_BINARY);
        length_own(&settings)->little_endian = cases[i].little_endian;
        framing_expect_requests_at(&settings, cases[i].requests, cases[i].expected, HERE);
    }
}

static void digits_count_as_well(void **state)
{
    (void)state;
    /* ISO 8583 over TCP comes with either. */
    struct protocol_settings settings = with_length(0, 4, 0, NUMBER_ASCII);
    framing_expect_requests(&settings, "0004080000030000010x",
                            "forward 00040800\nforward 0003000\nmore 0010x\n");
    framing_expect_requests(&settings, "0000", "forward 0000\n");
    framing_expect_requests(&settings, "000:", "broken \n");
    framing_expect_requests(&settings, "  12", "broken \n");
    framing_expect_requests(&settings, "-001", "broken \n");
    settings = with_length(0, 2, 0, NUMBER_BCD);
    framing_expect_requests(&settings,
                            "\x00\x12"
                            "123456789012",
                            "forward \\x00\\x12123456789012\n");
    framing_expect_requests(&settings, "\x00\x0a", "broken \n");
    framing_expect_requests(&settings, "\xa0\x00", "broken \n");
    settings = with_length(1, 21, 0, NUMBER_ASCII);
    framing_expect_requests(&settings, "x000000000000000000001y", "forward x000000000000000000001y\n");
    framing_expect_requests(&settings, "x999999999999999999999", "broken \n");
}

static void the_sum_is_adjusted(void **state)
{
    (void)state;
    /* The length counts itself, too. */
    struct protocol_settings settings = with_length(0, 2, -2, NUMBER_BINARY);
    framing_expect_requests(&settings, "\0\3a\0\2\0\1", "forward \\x00\\x03a\nforward \\x00\\x02\nbroken \n");
    framing_expect_requests(&settings, "\0\0", "broken \n");
    /* It counts from the beginning of the message. */
    settings = with_length(4, 2, -6, NUMBER_BINARY);
    framing_expect_requests(&settings, "MAGI\0\7xMAGI\0\6",
                            "forward MAGI\\x00\\x07x\nforward MAGI\\x00\\x06\n");
    framing_expect_requests(&settings, "MAGI\0\5", "broken \n");
    /* A checksum follows that it does not count. */
    settings = with_length(1, 1, 2, NUMBER_BINARY);
    framing_expect_requests(&settings, "#\0cc#\1xcc#\0c",
                            "forward #\\x00cc\nforward #\\x01xcc\nmore #\\x00c\n");
}

static void no_sum_overflows(void **state)
{
    (void)state;
    struct protocol_settings settings = with_length(0, 8, 0, NUMBER_BINARY);
    framing_expect_requests(&settings, "\xff\xff\xff\xff\xff\xff\xff\xff", "broken \n");
    framing_expect_requests(&settings, "\x80\0\0\0\0\0\0\0", "broken \n");
    framing_expect_requests(&settings, "\x7f\xff\xff\xff\xff\xff\xff\xff", "broken \n");
    /* The largest that can be counted streams. */
    framing_expect_requests(&settings, "\x7f\xff\xff\xff\xff\xff\xff\xf7!",
                            "more \\x7f\\xff\\xff\\xff\\xff\\xff\\xff\\xf7!\n");
    length_own(&settings)->adjust = INT64_MAX;
    framing_expect_requests(&settings, "\0\0\0\0\0\0\0\0", "broken \n");
    length_own(&settings)->adjust = INT64_MIN;
    framing_expect_requests(&settings, "\0\0\0\0\0\0\0\0", "broken \n");
    framing_expect_requests(&settings, "\x80\0\0\0\0\0\0\1!",
                            "forward \\x80\\x00\\x00\\x00\\x00\\x00\\x00\\x01!\n");
    framing_expect_requests(&settings, "\xff\xff\xff\xff\xff\xff\xff\xf7!",
                            "more \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xf7!\n");
    assert_int_equal(protocol_length.largest_answer(&settings), 0);
}

static void a_header_ends_with_its_id(void **state)
{
    (void)state;
    struct protocol_settings settings = with_length(0, 1, 0, NUMBER_BINARY);
    length_own(&settings)->id_offset = 3;
    length_own(&settings)->id_width = 2;
    framing_expect_requests(&settings, "\4xyzz\5abcde",
                            "forward \\x04xy\\x00\\x00\nforward \\x05ab\\x00\\x01e\n");
    framing_expect_requests(&settings, "\4xyz", "more \n");
    framing_expect_requests(&settings, "\3xyzz", "broken \n");
    framing_expect_responses(&settings, "\4xyzz\5abcde", "\4ab\0\1\5xy\0\0!", false,
                             "whose 1\nanswer \\x04abcd\nwhose 0\nanswer \\x05xyzz!\n");
}

static void large_heads_are_refused(void **state)
{
    (void)state;
    struct protocol_settings settings = with_length(6, 2, 0, NUMBER_BINARY);
    settings.head_limit = 8;
    framing_expect_requests(&settings, "123456\0\3abc", "forward 123456\\x00\\x03abc\n");
    settings.head_limit = 7;
    error_reply_own(&settings)->error_reply = SLICE("ERR");
    framing_expect_requests(&settings, "1234567", "more \n");
    framing_expect_requests(&settings, "123456\0\3", "broken ERR\n");
}

static void answers_have_the_same_form(void **state)
{
    (void)state;
    struct protocol_settings settings = with_length(0, 2, 0, NUMBER_BINARY);
    framing_expect_responses(&settings, "\0\1a\0\1b", "\0\0\0\2xy", false,
                             "answer \\x00\\x00\nanswer \\x00\\x02xy\n");
    framing_expect_responses(&settings, "\0\1a", "\0\0\0", false, "answer \\x00\\x00\nstray\n");
    framing_expect_responses(&settings, "\0\1a", "\0\2x", false, "more \\x00\\x02x\n");
    framing_expect_responses(&settings, "\0\1a", "\0\2x", true, "cut \\x00\\x02x\n");
    framing_expect_responses(&settings, "\0\1a", "\0", true, "cut \n");
    framing_expect_responses(&settings, "", "\0\1a", true, "stray\n");
    length_own(&settings)->adjust = -2;
    framing_expect_responses(&settings, "\0\2", "\0\1", false, "broken \n");
    /* An answer may come before its request has ended. */
    settings = with_length(0, 1, 0, NUMBER_BINARY);
    framing_expect_responses(&settings, "\5ab", "\0", false, "answer \\x00\n");
}

static void ids_tell_answers_apart(void **state)
{
    (void)state;
    struct protocol_settings settings = with_id();
    assert_int_equal(protocol_length.id_count(&settings), 65536);
    /* All clients send the same. */
    framing_expect_requests(&settings, "AID\0\1aBID\0\1bCID\0\0",
                            "forward A\\x00\\x00\\x00\\x01a\nforward B\\x00\\x01\\x00\\x01b\n"
                            "forward C\\x00\\x02\\x00\\x00\n");
    framing_expect_responses(&settings, "AID\0\1aBid\0\1bC\xff\x00\0\0", "c\0\2\0\2ccb\0\1\0\0a\0\0\0\1a",
                             false,
                             "whose 2\nanswer c\\xff\\x00\\x00\\x02cc\nwhose 1\nanswer bid\\x00\\x00\n"
                             "whose 0\nanswer aID\\x00\\x01a\n");
    framing_expect_responses(&settings, "AID\0\1a", "a\0\1\0\1a", false, "whose 1\n");
    framing_expect_responses(&settings, "AID\0\1a", "a\xff\xff\0\1a", false, "whose 65535\n");
    framing_expect_responses(&settings, "AID\0\1a", "a\0\0\0", true, "");
    framing_expect_responses(&settings, "AID\0\1a", "a\0\0\0\2b", true, "whose 0\ncut aID\\x00\\x02b\n");
    length_own(&settings)->adjust = -5;
    framing_expect_responses(&settings, "AID\0\5", "a\0\0\0\4", true, "stray \n");
}

static void ids_are_written_like_lengths(void **state)
{
    (void)state;
    struct protocol_settings settings = with_id();
    length_own(&settings)->little_endian = true;
    framing_expect_requests(&settings, "AID\0\0AID\1\0a",
                            "forward A\\x00\\x00\\x00\\x00\nforward A\\x01\\x00\\x01\\x00a\n");
    framing_expect_responses(&settings, "AID\0\0Aid\0\0", "b\1\0\1\0b", false,
                             "whose 1\nanswer bid\\x01\\x00b\n");
    framing_expect_responses(&settings, "AID\0\0", "b\0\1\0\0", false, "whose 256\n");
    length_own(&settings)->encoding = NUMBER_ASCII;
    assert_int_equal(protocol_length.id_count(&settings), 100);
    framing_expect_requests(&settings, "AID00B\377\37701b", "forward A0000\nforward B0101b\n");
    framing_expect_responses(&settings, "AID00B\377\37701b", "c0101c", false,
                             "whose 1\nanswer c\\xff\\xff01c\n");
    framing_expect_responses(&settings, "AID00", "cID00", false, "stray \n");
    length_own(&settings)->encoding = NUMBER_BCD;
    assert_int_equal(protocol_length.id_count(&settings), 10000);
    framing_expect_requests(&settings, "AID\0\0", "forward A\\x00\\x00\\x00\\x00\n");
    framing_expect_responses(&settings, "AID\0\0", "c\x12\x34\0\0", false, "whose 1234\n");
    framing_expect_responses(&settings, "AID\0\0", "c\x0f\0\0\0", false, "stray \n");
}

/* A request that was not sent may move to another connection, where it gets another id. */
static void ids_can_be_changed(void **state)
{
    (void)state;
    struct protocol_settings settings = with_id();
    struct protocol_request request = { 0 };
    void *client = calloc(1, protocol_length.client_size);
    void *connection = calloc(1, protocol_length.connection_size);
    struct buffer out = { 0 }, answer = { 0 };
    struct slice input = SLICE("AID\0\1a"), response = SLICE("b\x12\x34\0\0");
    uint64_t id = 0;
    assert_int_equal(protocol_length.read_request(&settings, client, &request, &input, &out, &answer),
                     PROTOCOL_COMPLETE);
    protocol_length.set_id(&settings, &request, buffer_bytes(&out), 0xfffe);
    assert_memory_equal(buffer_bytes(&out), "A\xff\xfe\0\1a", 6);
    protocol_length.set_id(&settings, &request, buffer_bytes(&out), 0x1234);
    assert_memory_equal(buffer_bytes(&out), "A\x12\x34\0\1a", 6);
    buffer_truncate(&out, 0);
    assert_int_equal(protocol_length.read_response(&settings, connection, NULL, &response, &out, &id),
                     PROTOCOL_WHOSE);
    assert_int_equal(id, 0x1234);
    assert_int_equal(out.length, 0);
    assert_int_equal(protocol_length.read_response(&settings, connection, &request, &response, &out, &id),
                     PROTOCOL_COMPLETE);
    assert_int_equal(response.length, 0);
    assert_memory_equal(buffer_bytes(&out), "bID\0\0", 5);
    buffer_free(&out);
    free(client);
    free(connection);
}

static void ids_are_counted(void **state)
{
    (void)state;
    const struct {
        enum number_encoding encoding;
        int64_t width;
        uint64_t count;
    } cases[] = {
        { NUMBER_BINARY, 0, 0 },
        { NUMBER_BINARY, 1, 256 },
        { NUMBER_BINARY, 3, 1 << 24 },
        { NUMBER_BINARY, 4, UINT64_C(1) << 32 },
        { NUMBER_BINARY, 8, UINT64_C(1) << 32 },
        { NUMBER_BINARY, LENGTH_ID_MAX, UINT64_C(1) << 32 },
        { NUMBER_BINARY, LENGTH_ID_MAX + 1, 0 }, /* a request could not remember its own */
        { NUMBER_ASCII, 1, 10 },
        { NUMBER_ASCII, 9, 1000000000 },
        { NUMBER_ASCII, 10, UINT64_C(1) << 32 },
        { NUMBER_BCD, 1, 100 },
        { NUMBER_BCD, 4, 100000000 },
        { NUMBER_BCD, 5, UINT64_C(1) << 32 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct protocol_settings settings = with_length(100, 2, 0, cases[i].encoding);
        length_own(&settings)->id_width = cases[i].width;
        assert_true(protocol_length.id_count(&settings) == cases[i].count);
    }
}

/* The longest header and the longest id that there can be. */
static void headers_may_be_large(void **state)
{
    (void)state;
    struct protocol_settings settings = with_length(0, 4, 0, NUMBER_ASCII);
    length_own(&settings)->id_offset = LENGTH_HEAD_MAX - LENGTH_ID_MAX;
    length_own(&settings)->id_width = LENGTH_ID_MAX;
    char request[LENGTH_HEAD_MAX + 1], response[LENGTH_HEAD_MAX + 1], expected[LENGTH_HEAD_MAX + 32];
    snprintf(request, sizeof request, "%04d%0220d%s", LENGTH_HEAD_MAX - 4, 0,
             "who-has-written-these-32-letters");
    snprintf(response, sizeof response, "%04d%0220d%032d", LENGTH_HEAD_MAX - 4, 7, 0);
    snprintf(expected, sizeof expected, "whose 0\nanswer %04d%0220d%s\n", LENGTH_HEAD_MAX - 4, 7,
             "who-has-written-these-32-letters");
    framing_expect_responses_at(&settings, (struct slice){ request, LENGTH_HEAD_MAX },
                                (struct slice){ response, LENGTH_HEAD_MAX }, false, expected, HERE);
}

static void the_largest_answer_is_known(void **state)
{
    (void)state;
    const struct {
        enum number_encoding encoding;
        int64_t width;
        int64_t adjust;
        int64_t max_message;
        size_t largest;
    } cases[] = {
        { NUMBER_BINARY, 1, 0, -1, 10 + 1 + 255 },
        { NUMBER_BINARY, 2, -12, -1, 65535 },
        { NUMBER_BINARY, 2, 0, 1000, 1000 },
        { NUMBER_BINARY, 1, 0, 1000, 10 + 1 + 255 },
        { NUMBER_BINARY, 8, 0, -1, 0 },
        { NUMBER_BINARY, 8, 0, 1000, 1000 },
        { NUMBER_ASCII, 4, 0, -1, 10 + 4 + 9999 },
        { NUMBER_ASCII, 19, 0, -1, 0 }, /* 10^19 needs 64 bits */
        { NUMBER_ASCII, 30, 0, -1, 0 },
        { NUMBER_BCD, 2, 0, -1, 10 + 2 + 9999 },
        { NUMBER_BCD, 9, 0, 5, 5 },
        { NUMBER_BINARY, 1, -1000, -1, 0 },
        { NUMBER_BINARY, 4, INT64_MAX - 14, -1, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct protocol_settings settings =
            with_length(10, cases[i].width, cases[i].adjust, cases[i].encoding);
        settings.max_message = cases[i].max_message;
        size_t largest = protocol_length.largest_answer(&settings);
        assert_int_equal(largest, cases[i].largest);
    }
}

static void errors_are_configured(void **state)
{
    (void)state;
    struct protocol_settings settings = with_length(0, 2, -2, NUMBER_BINARY);
    framing_expect_error(&settings, "\0\2", REASON_TARGET_CLOSED, NULL);
    error_reply_own(&settings)->error_reply = SLICE("\7ERR");
    framing_expect_error(&settings, "\0\2", REASON_TARGET_CLOSED, "\7ERR");
    framing_expect_error(&settings, "\0\3", REASON_OVER_LIMIT, "\7ERR");
    framing_expect_error(&settings, "\0", REASON_OVER_LIMIT, "\7ERR");
    framing_expect_requests(&settings, "\0\1", "broken \\x07ERR\n");
    struct protocol_request request = { .decided = true, .begun = true };
    struct buffer out = { 0 };
    assert_false(protocol_length.write_error(&settings, &request, REASON_TARGET_CLOSED, &out));
    assert_int_equal(out.length, 0);
}

static void each_byte_is_looked_at_once(void **state)
{
    (void)state;
    struct protocol_settings settings = with_length(0, 4, 0, NUMBER_ASCII);
    size_t length = 4 + 9999;
    char *text = malloc(length + 1);
    assert_non_null(text);
    snprintf(text, length + 1, "%04d%09999d", 9999, 1);
    struct slice message = { text, length };
    framing_expect_request_once(&settings, message, 4);
    framing_expect_response_once(&settings, SLICE("0000"), message);
    length_own(&settings)->id_offset = 4;
    length_own(&settings)->id_width = 6;
    framing_expect_request_once(&settings, message, 10);
    framing_expect_response_once(&settings, SLICE("0006ID-ID-"), message);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_found),
        cmocka_unit_test(binary_lengths_have_any_width),
        cmocka_unit_test(digits_count_as_well),
        cmocka_unit_test(the_sum_is_adjusted),
        cmocka_unit_test(no_sum_overflows),
        cmocka_unit_test(a_header_ends_with_its_id),
        cmocka_unit_test(large_heads_are_refused),
        cmocka_unit_test(answers_have_the_same_form),
        cmocka_unit_test(ids_tell_answers_apart),
        cmocka_unit_test(ids_are_written_like_lengths),
        cmocka_unit_test(ids_can_be_changed),
        cmocka_unit_test(ids_are_counted),
        cmocka_unit_test(headers_may_be_large),
        cmocka_unit_test(the_largest_answer_is_known),
        cmocka_unit_test(errors_are_configured),
        cmocka_unit_test(each_byte_is_looked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
