/* Lines: delimiters of several bytes, answers of several lines, requests without an answer. */
#include "unit/framing_once.h"

#include "protocol/line/line.h"
#include "protocol/protocols.h"

#include <stdlib.h>
#include <string.h>

static struct protocol_settings with_delimiter(struct slice delimiter)
{
    struct protocol_settings settings = framing_settings(&protocol_line);
    line_own(&settings)->delimiter = delimiter;
    return settings;
}

static void it_is_found(void **state)
{
    (void)state;
    assert_ptr_equal(protocols_find("line"), &protocol_line);
    assert_false(protocol_line.is_async);
    assert_false(protocol_line.aborts_on_close);
    assert_null(protocol_line.turn_gap);
}

static void lines_are_requests(void **state)
{
    (void)state;
    struct protocol_settings settings = with_delimiter(SLICE("\n"));
    framing_expect_requests(&settings, "", "");
    framing_expect_requests(&settings, "\n", "forward \\n\n");
    framing_expect_requests(&settings, "one\ntwo\r\n\n", "forward one\\n\nforward two\\r\\n\nforward \\n\n");
    framing_expect_requests(&settings, "one\ntw", "forward one\\n\nmore \n");
    framing_expect_requests(&settings, "\0\xff\\\n", "forward \\x00\\xff\\\\\\n\n");
}

static void delimiters_have_any_bytes(void **state)
{
    (void)state;
    struct protocol_settings settings = with_delimiter(SLICE("\r\n"));
    framing_expect_requests(&settings, "a\rb\nc\r\r\n\r\n", "forward a\\rb\\nc\\r\\r\\n\nforward \\r\\n\n");
    settings = with_delimiter(SLICE("\0"));
    framing_expect_requests(&settings, "a\0\0b", "forward a\\x00\nforward \\x00\nmore \n");
    settings = with_delimiter(SLICE("abab!"));
    framing_expect_requests(&settings, "abababab!abaabab!ab", "forward abababab!\nforward abaabab!\nmore \n");
    settings = with_delimiter(SLICE("\n.\n"));
    framing_expect_requests(&settings, "x\n\n.\n.\n\n.\n", "forward x\\n\\n.\\n\nforward .\\n\\n.\\n\n");
}

/* SCPI: queries have a question mark, and only they have an answer. */
static void some_requests_have_no_answer(void **state)
{
    (void)state;
    struct protocol_settings settings = with_delimiter(SLICE("\n"));
    line_own(&settings)->reply_if = SLICE("?");
    framing_expect_requests(&settings, "*RST\n*IDN?\n:VOLT 5;:VOLT?\n",
                            "forward [unanswered] *RST\\n\nforward *IDN?\\n\nforward :VOLT 5;:VOLT?\\n\n");
    framing_expect_requests(&settings, "\n??\n", "forward [unanswered] \\n\nforward ??\\n\n");
    line_own(&settings)->reply_if = SLICE("aab");
    framing_expect_requests(&settings, "aaab\naa\nb\naaxb\naab",
                            "forward aaab\\n\nforward [unanswered] aa\\n\n"
                            "forward [unanswered] b\\n\n"
                            "forward [unanswered] aaxb\\n\nmore \n");
    /* The end of the line may be part of it. */
    line_own(&settings)->reply_if = SLICE("?\n");
    framing_expect_requests(&settings, "?x\nx?\n", "forward [unanswered] ?x\\n\nforward x?\\n\n");
    framing_expect_responses(&settings, "set\nget?\nset\n", "5\n6\n", false, "answer 5\\n\nstray\n");
}

static void long_lines_stream(void **state)
{
    (void)state;
    struct protocol_settings settings = with_delimiter(SLICE("\r\n"));
    settings.head_limit = 8;
    framing_expect_requests(&settings, "1234567", "more \n");
    framing_expect_requests(&settings, "12345678", "more 12345678\n");
    framing_expect_requests(&settings, "123456\r\n1234567\r\n12345678\r\n",
                            "forward 123456\\r\\n\nforward 1234567\\r\\n\nforward 12345678\\r\\n\n");
    /* Whether it has an answer is known at its end all the same. */
    line_own(&settings)->reply_if = SLICE("ab?");
    framing_expect_requests(&settings, "1234567ab?890\r\n1234567ab890\r\n",
                            "forward 1234567ab?890\\r\\n\nforward [unanswered] 1234567ab890\\r\\n\n");
}

static void answers_are_lines(void **state)
{
    (void)state;
    struct protocol_settings settings = with_delimiter(SLICE("\n"));
    framing_expect_responses(&settings, "a\nb\n", "1\n2\n", false, "answer 1\\n\nanswer 2\\n\n");
    framing_expect_responses(&settings, "a\n", "\n", false, "answer \\n\n");
    framing_expect_responses(&settings, "a\n", "1\n2\n", false, "answer 1\\n\nstray\n");
    framing_expect_responses(&settings, "a\n", "1", false, "more 1\n");
    framing_expect_responses(&settings, "a\n", "1", true, "cut 1\n");
    framing_expect_responses(&settings, "a\n", "", true, "cut \n");
    framing_expect_responses(&settings, "", "1\n", false, "stray\n");
    line_own(&settings)->reply_lines = 3;
    framing_expect_responses(&settings, "a\nb\n", "1\n\n3\n4\n5\n6\n", false,
                             "answer 1\\n\\n3\\n\nanswer 4\\n5\\n6\\n\n");
    framing_expect_responses(&settings, "a\n", "1\n2\n", true, "cut 1\\n2\\n\n");
    line_own(&settings)->delimiter = SLICE("\r\n");
    framing_expect_responses(&settings, "a\r\nb\r\n", "1\n\r\r\n\r\n3\r\n4", false,
                             "answer 1\\n\\r\\r\\n\\r\\n3\\r\\n\nmore 4\n");
}

static void answers_end_with_a_certain_line(void **state)
{
    (void)state;
    struct protocol_settings settings = with_delimiter(SLICE("\r\n"));
    line_own(&settings)->reply_until = SLICE("OK");
    line_own(&settings)->reply_lines = 2; /* no longer counts */
    framing_expect_responses(&settings, "a\r\nb\r\n", "1\r\nO\r\nxOK\r\n\r\nOK 3\r\nOK\r\n", false,
                             "answer 1\\r\\nO\\r\\nxOK\\r\\n\\r\\nOK 3\\r\\n\nanswer OK\\r\\n\n");
    framing_expect_responses(&settings, "a\r\n", "OOK\r\nO\r\nK\r\n", false,
                             "more OOK\\r\\nO\\r\\nK\\r\\n\n");
    /* Exactly a dot, as in SMTP and POP3, where lines that begin with one are doubled. */
    line_own(&settings)->reply_until = SLICE(".\r\n");
    framing_expect_responses(&settings, "a\r\nb\r\n", "..\r\n.\r.\r\n.\r\n.\r\n", false,
                             "answer ..\\r\\n.\\r.\\r\\n.\\r\\n\nanswer .\\r\\n\n");
}

static void errors_are_configured(void **state)
{
    (void)state;
    struct protocol_settings settings = with_delimiter(SLICE("\n"));
    framing_expect_error(&settings, "a\n", REASON_REQUEST_TIMEOUT, NULL);
    error_reply_own(&settings)->error_reply = SLICE("ERR\r\n");
    framing_expect_error(&settings, "a\n", REASON_REQUEST_TIMEOUT, "ERR\r\n");
    framing_expect_error(&settings, "a", REASON_OVER_LIMIT, "ERR\r\n");
    framing_expect_error(&settings, "", REASON_DRAINED, "ERR\r\n");
    /* Who waits for no answer would take it for that of the next request. */
    line_own(&settings)->reply_if = SLICE("?");
    framing_expect_error(&settings, "a\n", REASON_QUEUE_TIMEOUT, NULL);
    framing_expect_error(&settings, "a?\n", REASON_QUEUE_TIMEOUT, "ERR\r\n");
}

static void no_error_follows_half_an_answer(void **state)
{
    (void)state;
    struct protocol_settings settings = with_delimiter(SLICE("\n"));
    error_reply_own(&settings)->error_reply = SLICE("ERR");
    struct protocol_request request = { .decided = true, .begun = true };
    struct buffer out = { 0 };
    assert_false(protocol_line.write_error(&settings, &request, REASON_TARGET_CLOSED, &out));
    assert_int_equal(out.length, 0);
}

/* Beginnings of the delimiter everywhere, and of everything else that is looked for. */
static void each_byte_is_looked_at_once(void **state)
{
    (void)state;
    struct protocol_settings settings = with_delimiter(SLICE("aab"));
    line_own(&settings)->reply_if = SLICE("aac");
    size_t length = 20000;
    char *text = malloc(length);
    assert_non_null(text);
    memset(text, 'a', length);
    text[length / 2] = 'c';
    text[length - 1] = 'b';
    struct slice message = { text, length };
    framing_expect_request_once(&settings, message, 0);
    settings.head_limit = 100;
    framing_expect_request_once(&settings, message, 0);
    framing_expect_response_once(&settings, SLICE("aab"), message);
    line_own(&settings)->reply_until = SLICE("aaaaa");
    framing_expect_response_once(&settings, SLICE("aab"), message);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_found),
        cmocka_unit_test(lines_are_requests),
        cmocka_unit_test(delimiters_have_any_bytes),
        cmocka_unit_test(some_requests_have_no_answer),
        cmocka_unit_test(long_lines_stream),
        cmocka_unit_test(answers_are_lines),
        cmocka_unit_test(answers_end_with_a_certain_line),
        cmocka_unit_test(errors_are_configured),
        cmocka_unit_test(no_error_follows_half_an_answer),
        cmocka_unit_test(each_byte_is_looked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
