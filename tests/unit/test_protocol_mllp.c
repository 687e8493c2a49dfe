/* MLLP with HL7: where messages end, whose an answer is, and what is answered here. */
#include "unit/framing_once.h"

#include "protocol/mllp/mllp.h"
#include "protocol/protocols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MSH(id)       "MSH|^~\\&|APP|FAC|RECV|RFAC|20240101||ADT^A01|" id "|P|2.5\r"
#define REQUEST(id)   "\x0b" MSH(id) "PID|1||42\r\x1c\r"
#define ACK(code, id) "\x0bMSH|^~\\&|RECV|RFAC|APP|FAC|||ACK|77|P|2.5\rMSA|" code "|" id "\r\x1c\r"

/* The same as transcripts have them. */
#define MSH_WRITTEN(id)     "MSH|^~\\\\&|APP|FAC|RECV|RFAC|20240101||ADT^A01|" id "|P|2.5\\r"
#define REQUEST_WRITTEN(id) "\\x0b" MSH_WRITTEN(id) "PID|1||42\\r\\x1c\\r"
#define ACK_WRITTEN(code, id)                                                                                \
    "\\x0bMSH|^~\\\\&|RECV|RFAC|APP|FAC|||ACK|77|P|2.5\\rMSA|" code "|" id "\\r\\x1c\\r"

static void messages_stand_between_their_bytes(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_mllp);
    framing_expect_requests(&settings, "", "");
    framing_expect_requests(&settings, "\r\n\n", "");
    framing_expect_requests(&settings, REQUEST("1") "\r\n" REQUEST("2") "\n",
                            "forward " REQUEST_WRITTEN("1") "\nforward " REQUEST_WRITTEN("2") "\n");
    /* Other separators, no further segment, LF or CRLF between segments, more than MSH-12, less than it. */
    framing_expect_requests(&settings, "\x0bMSH$%~\\&$a$b$c$d$t$$X$9$P$2.3$more\x1c\r",
                            "forward \\x0bMSH$%~\\\\&$a$b$c$d$t$$X$9$P$2.3$more\\x1c\\r\n");
    framing_expect_requests(&settings, "\x0bMSH|^~\\&||||||||9\nPID|x\n\x1c\r",
                            "forward \\x0bMSH|^~\\\\&||||||||9\\nPID|x\\n\\x1c\\r\n");
    framing_expect_requests(&settings, "\x0bMSH|^~\\&||||||||9\r\nPID|x",
                            "more \\x0bMSH|^~\\\\&||||||||9\\r\\nPID|x\n");
}

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_mllp);
    framing_expect_requests(&settings, "x", "broken \n");
    framing_expect_requests(&settings, "\x0bPID", "broken \n");
    framing_expect_requests(&settings,
                            "\x0b"
                            "BHS|",
                            "broken \n"); /* batches have answers of another form */
    framing_expect_requests(&settings, "\x0bMSHa", "broken \n");
    framing_expect_requests(&settings, "\x0b\x1c\r", "broken \n");
    settings.head_limit = 40;
    framing_expect_requests(&settings, REQUEST("1"), "broken \n");
}

static void a_message_that_does_not_end_well_is_answered(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_mllp);
    framing_expect_requests(
        &settings, "\x0b" MSH("5") "PID|1\r\x1cx",
        "broken \\x0bMSH|^~\\\\&|RECV|RFAC|APP|FAC|||ACK|5|P|2.5\\rMSA|AR|5|the message does not end "
        "as MLLP wants\\r\\x1c\\r\n");
}

/* No answer could be told from another client's. */
static void messages_without_control_id_are_refused(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_mllp);
    framing_expect_requests(
        &settings, REQUEST("") REQUEST("1"),
        "local [refused] \\x0bMSH|^~\\\\&|RECV|RFAC|APP|FAC|||ACK||P|2.5\\rMSA|AR||MSH-10 has to have 1 to "
        "199 characters\\r\\x1c\\r\nforward " REQUEST_WRITTEN("1") "\n");
    char text[600], id[MLLP_ID_MAX + 2];
    memset(id, 'i', sizeof id);
    id[sizeof id - 1] = '\0';
    for (int length = MLLP_ID_MAX; length <= MLLP_ID_MAX + 1; length++) {
        snprintf(text, sizeof text, "\x0bMSH|^~\\&||||||||%.*s|P|2.5\rPID|1\r\x1c\r", length, id);
        char *transcript = framing_requests(&settings, (struct slice){ text, strlen(text) }, 7, 7);
        assert_memory_equal(transcript, length <= MLLP_ID_MAX ? "forward " : "local [re", 8);
        free(transcript);
    }
}

#define EXPECT(requests, responses, expected)                                                                \
    framing_expect_responses(&settings, requests, responses, false, expected)

static void an_answer_names_its_request(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_mllp);
    EXPECT(REQUEST("1") REQUEST("2"), ACK("AA", "1") "\r\n" ACK("AE", "2"),
           "answer " ACK_WRITTEN("AA", "1") "\nanswer " ACK_WRITTEN("AE", "2") "\n");
    /* late ones, second ones, and those that name nobody are thrown away, whether somebody waits or not */
    EXPECT(REQUEST("1"), ACK("AA", "0") ACK("AA", "12") ACK("AA", "") ACK("CA", "1") ACK("AA", "1") "\r",
           "discarded \ndiscarded \ndiscarded \nanswer " ACK_WRITTEN("CA", "1") "\ndiscarded \n");
    EXPECT("", ACK("AA", "1"), "discarded \n");
    EXPECT(REQUEST("1"), "\x0bMSH|^~\\&|x\rPID|1\r\x1c\r" ACK("AA", "1"),
           "discarded \nanswer " ACK_WRITTEN("AA", "1") "\n");
    /* the target's own separator, segments before MSA, fields behind MSA-2, more segments, MSA again */
    EXPECT(REQUEST("1"), "\x0bMSH#^~\\&#a\r\nSFT#x\r\nMSA#AA#1#text\r\nERR#\rMSA#AA#2\r\x1c\r",
           "answer \\x0bMSH#^~\\\\&#a\\r\\nSFT#x\\r\\nMSA#AA#1#text\\r\\nERR#\\rMSA#AA#2\\r\\x1c\\r\n");
    EXPECT(REQUEST("1"), "\x0bMSH|^~\\&|a\rMSA|AA|1\x1c\r", "answer \\x0bMSH|^~\\\\&|a\\rMSA|AA|1\\x1c\\r\n");
    EXPECT(REQUEST("1"), "\x0bMSH|^~\\&|a\rMSAX|AA|1\rMSA^AA^1\r\x1c\r", "discarded \n");
}

static void what_answers_in_no_way_breaks(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_mllp);
    EXPECT(REQUEST("1"), "x", "broken \n");
    EXPECT(REQUEST("1"), "\x0bPID|", "broken \n");
    EXPECT("", "\x0bPID|", "stray \n");
    EXPECT(REQUEST("1"), "\x0b\x1c\r", "broken \n");
    EXPECT(REQUEST("1"), "\x0bMSH|^~\\&|a\rMSA|AA|2\r\x1cx", "broken \n");
    settings.head_limit = 128;
    char text[400];
    snprintf(text, sizeof text, "\x0bMSH|^~\\&|%0200d\rMSA|AA|1\r\x1c\r", 0);
    char *transcript =
        framing_responses(&settings, SLICE(REQUEST("1")), (struct slice){ text, strlen(text) }, false, 1, 1);
    assert_string_equal(transcript, "broken \n");
    free(transcript);
}

static void errors_are_acknowledgments(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_mllp);
    framing_expect_error(
        &settings, REQUEST("1"), REASON_REQUEST_TIMEOUT,
        "\x0bMSH|^~\\&|RECV|RFAC|APP|FAC|||ACK|1|P|2.5\rMSA|AE|1|the target did not answer in time\r\x1c\r");
    /* what would be a separator there becomes a space */
    framing_expect_error(&settings, "\x0bMSHx", REASON_DRAINED, NULL);
    framing_expect_error(&settings, "\x0bMSH'^~\\&'a'b'c'd'''X'1'P'2.5\r", REASON_TARGET_REFUSED,
                         "\x0bMSH'^~\\&'c'd'a'b'''ACK'1'P'2.5\rMSA'AE'1'the target can t be reached\r\x1c\r");
    framing_expect_error(&settings, "\x0bMSH|^~\\&|", REASON_DRAINED, NULL);
}

static void messages_are_described(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_mllp);
    static const struct {
        bool is_error;
        struct slice bytes;
        const char *expected;
    } rows[] = {
        { false, SLICE(REQUEST("42")), "ADT^A01 42" },
        { false, SLICE("\r\n" REQUEST("42")), "ADT^A01 42" },
        { false, SLICE("\x0bMSH|"), "" },
        { true, SLICE(ACK("AA", "1")), "" },
        { true, SLICE(ACK("AE", "1|unknown patient")), "AE unknown patient" },
        { true, SLICE(ACK("CR", "1")), "CR" },
        { true, SLICE("\x0bMSH|\rMSA"), "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buffer text = { 0 };
        (rows[i].is_error ? protocol_mllp.describe_error : protocol_mllp.describe)(&settings, rows[i].bytes,
                                                                                   &text);
        buffer_append(&text, "", 1);
        assert_string_equal(buffer_bytes(&text), rows[i].expected);
        buffer_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_stand_between_their_bytes),
        cmocka_unit_test(what_is_no_message_is_refused),
        cmocka_unit_test(a_message_that_does_not_end_well_is_answered),
        cmocka_unit_test(messages_without_control_id_are_refused),
        cmocka_unit_test(an_answer_names_its_request),
        cmocka_unit_test(what_answers_in_no_way_breaks),
        cmocka_unit_test(errors_are_acknowledgments),
        cmocka_unit_test(messages_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
