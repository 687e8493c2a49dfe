/* The protocol that is none. */
#include "unit/framing_once.h"

#include "protocol/protocols.h"

#include <stdlib.h>

static void clients_take_turns(void **state)
{
    (void)state;
    assert_ptr_equal(protocols_find("raw"), &protocol_raw);
    assert_non_null(protocol_raw.turn_gap);
    assert_false(protocol_raw.is_async);
    assert_false(protocol_raw.aborts_on_close);
    assert_null(protocol_raw.largest_answer);
    assert_null(protocol_raw.id_count);
    assert_null(protocol_raw.end_response);
}

static void expect_transcript(char *transcript, const char *expected)
{
    assert_string_equal(transcript, expected);
    free(transcript);
}

/* With `async`, what comes at once is a message. */
static void chunks_are_messages(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_raw);
    settings.is_async = true;
    expect_transcript(framing_requests(&settings, SLICE("ab\0\ncd"), 6, 1), "forward ab\\x00\\ncd\n");
    expect_transcript(framing_requests(&settings, SLICE("abcd"), 3, 1), "forward abc\nforward d\n");
    expect_transcript(framing_responses(&settings, SLICE("q"), SLICE("answer"), false, 6, 1),
                      "answer answer\n");
    expect_transcript(framing_responses(&settings, SLICE("q"), SLICE("answer"), false, 3, 3),
                      "answer ans\nstray\n");
}

/* More than any buffer limit is still a message: it is decided. */
static void large_chunks_are_decided(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_raw);
    settings.head_limit = 4;
    expect_transcript(framing_requests(&settings, SLICE("0123456789"), 10, 1), "forward 0123456789\n");
}

static void nothing_is_no_message(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_raw);
    struct protocol_request request = { 0 };
    struct slice input = SLICE("");
    struct buffer out = { 0 };
    uint64_t id;
    assert_int_equal(protocol_raw.read_request(&settings, NULL, &request, &input, &out, &out), PROTOCOL_MORE);
    assert_int_equal(protocol_raw.read_response(&settings, NULL, &request, &input, &out, &id), PROTOCOL_MORE);
    assert_false(request.decided);
    assert_int_equal(out.length, 0);
}

static void there_is_no_error(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_raw);
    framing_expect_error(&settings, "q", REASON_REQUEST_TIMEOUT, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_take_turns),       cmocka_unit_test(chunks_are_messages),
        cmocka_unit_test(large_chunks_are_decided), cmocka_unit_test(nothing_is_no_message),
        cmocka_unit_test(there_is_no_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
