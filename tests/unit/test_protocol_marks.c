/* Messages between marks. */
#include "unit/framing_once.h"

#include "protocol/marks/marks.h"
#include "protocol/protocols.h"

#include <stdlib.h>
#include <string.h>

static struct protocol_settings with_marks(struct slice start, struct slice end)
{
    struct protocol_settings settings = framing_settings(&protocol_marks);
    marks_own(&settings)->start = start;
    marks_own(&settings)->end = end;
    return settings;
}

#define MLLP with_marks(SLICE("\x0b"), SLICE("\x1c\r"))

static void it_is_found(void **state)
{
    (void)state;
    assert_ptr_equal(protocols_find("marks"), &protocol_marks);
    assert_false(protocol_marks.is_async);
    assert_false(protocol_marks.aborts_on_close);
    assert_null(protocol_marks.turn_gap);
}

static void messages_stand_between_marks(void **state)
{
    (void)state;
    struct protocol_settings settings = with_marks(SLICE("\x02"), SLICE("\x03"));
    framing_expect_requests(&settings, "", "");
    framing_expect_requests(&settings, "\x02\x03", "forward \\x02\\x03\n");
    framing_expect_requests(&settings,
                            "\x02"
                            "a\x02"
                            "b\x03\x02"
                            "c",
                            "forward \\x02a\\x02b\\x03\nmore \n");
    settings = MLLP;
    framing_expect_requests(&settings, "\x0bMSH|^~\\&|A\rPID|1\r\x1c\r\x0b\x1c\x1c\r\x0b\r\x1cx\x1c\r",
                            "forward \\x0bMSH|^~\\\\&|A\\rPID|1\\r\\x1c\\r\nforward \\x0b\\x1c\\x1c\\r\n"
                            "forward \\x0b\\r\\x1cx\\x1c\\r\n");
    settings = with_marks(SLICE("<<"), SLICE("abab>"));
    framing_expect_requests(&settings, "<<abababab><<<abaabab>",
                            "forward <<abababab>\nforward <<<abaabab>\n");
    /* The same bytes at both ends. */
    settings = with_marks(SLICE("\"\""), SLICE("\"\""));
    framing_expect_requests(&settings, "\"\"\"x\"\"\"\"\"\"", "forward \"\"\"x\"\"\nforward \"\"\"\"\n");
}

static void nothing_stands_elsewhere(void **state)
{
    (void)state;
    struct protocol_settings settings = MLLP;
    framing_expect_requests(&settings, "x", "broken \n");
    framing_expect_requests(&settings, "\x1c\r", "broken \n");
    framing_expect_requests(&settings, "\x0b\x1c\r\n\x0b\x1c\r", "forward \\x0b\\x1c\\r\nbroken \n");
    error_reply_own(&settings)->error_reply = SLICE("\x0b\x1c\r");
    framing_expect_requests(&settings, " \x0b", "broken \\x0b\\x1c\\r\n");
    settings = with_marks(SLICE("aab"), SLICE("!"));
    framing_expect_requests(&settings, "aab!aaab!", "forward aab!\nbroken \n");
    framing_expect_requests(&settings, "ab", "broken \n");
    framing_expect_requests(&settings, "aa", "more \n");
}

static void long_messages_stream(void **state)
{
    (void)state;
    struct protocol_settings settings = with_marks(SLICE("<<"), SLICE(">>"));
    settings.head_limit = 6;
    framing_expect_requests(&settings, "<<345", "more \n");
    framing_expect_requests(&settings, "<<3456", "more <<3456\n");
    framing_expect_requests(&settings, "<<3456789>>", "forward <<3456789>>\n");
    settings.head_limit = 2;
    framing_expect_requests(&settings, "<<", "more <<\n");
    framing_expect_requests(&settings, "<<3456789>>", "forward <<3456789>>\n");
    settings.head_limit = 1; /* not even the mark fits */
    framing_expect_requests(&settings, "<", "more \n");
    framing_expect_requests(&settings, "<<", "broken \n");
}

static void answers_stand_between_marks(void **state)
{
    (void)state;
    struct protocol_settings settings = MLLP;
    framing_expect_responses(&settings, "\x0b\x1c\r\x0b\x1c\r", "\x0b\r\x1c\r\x0b\x1c\x1c\r", false,
                             "answer \\x0b\\r\\x1c\\r\nanswer \\x0b\\x1c\\x1c\\r\n");
    framing_expect_responses(&settings, "\x0b\x1c\r", "\x0bx\x1c", false, "more \\x0bx\\x1c\n");
    framing_expect_responses(&settings, "\x0b\x1c\r", "\x0bx\x1c", true, "cut \\x0bx\\x1c\n");
    framing_expect_responses(&settings, "\x0b\x1c\r", "\x0b\x1c\r\n", false, "answer \\x0b\\x1c\\r\nstray\n");
    framing_expect_responses(&settings, "\x0b\x1c\r\x0b\x1c\r", "\x0b\x1c\r\n\x0b\x1c\r", false,
                             "answer \\x0b\\x1c\\r\nbroken \n");
    framing_expect_responses(&settings, "", "\x0b\x1c\r", false, "stray\n");
}

/* Half a start mark reaches no client: an error can still take the answer's place. */
static void wrong_starts_are_held_back(void **state)
{
    (void)state;
    struct protocol_settings settings = with_marks(SLICE("aab"), SLICE("!"));
    framing_expect_responses(&settings, "aab!", "aab!", false, "answer aab!\n");
    framing_expect_responses(&settings, "aab!", "aaab!", false, "broken \n");
    framing_expect_responses(&settings, "aab!", "aa", true, "cut \n");
}

static void errors_are_configured(void **state)
{
    (void)state;
    struct protocol_settings settings = MLLP;
    framing_expect_error(&settings, "\x0b\x1c\r", REASON_TARGET_CLOSED, NULL);
    error_reply_own(&settings)->error_reply = SLICE("\x0b"
                                                    "ERR\x1c\r");
    framing_expect_error(&settings, "\x0b\x1c\r", REASON_TARGET_CLOSED,
                         "\x0b"
                         "ERR\x1c\r");
    framing_expect_error(&settings, "\x0b", REASON_OVER_LIMIT,
                         "\x0b"
                         "ERR\x1c\r");
    struct protocol_request request = { .decided = true, .begun = true };
    struct buffer out = { 0 };
    assert_false(protocol_marks.write_error(&settings, &request, REASON_TARGET_CLOSED, &out));
    assert_int_equal(out.length, 0);
}

static void each_byte_is_looked_at_once(void **state)
{
    (void)state;
    struct protocol_settings settings = with_marks(SLICE("aa"), SLICE("aab"));
    size_t length = 20000;
    char *text = malloc(length);
    assert_non_null(text);
    memset(text, 'a', length);
    text[length - 1] = 'b';
    struct slice message = { text, length };
    framing_expect_request_once(&settings, message, 0);
    settings.head_limit = 100;
    framing_expect_request_once(&settings, message, 0);
    framing_expect_response_once(&settings, SLICE("aaaab"), message);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_found),
        cmocka_unit_test(messages_stand_between_marks),
        cmocka_unit_test(nothing_stands_elsewhere),
        cmocka_unit_test(long_messages_stream),
        cmocka_unit_test(answers_stand_between_marks),
        cmocka_unit_test(wrong_starts_are_held_back),
        cmocka_unit_test(errors_are_configured),
        cmocka_unit_test(each_byte_is_looked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
