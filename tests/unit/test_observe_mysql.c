/* MySQL sessions as they pass: where queries and their results are. */
#include "unit/observing.h"

#include <stdlib.h>

/* Packets. Lengths are given by hand, which is what makes them examples. */
#define GREETING_OF(low, high, more)                                                                         \
    "\x49\0\0\0\x0a"                                                                                         \
    "8.0.1\0"                                                                                                \
    "\x01\0\0\0"                                                                                             \
    "abcdefgh\0" low "\x2d\x02\0" high "\x15\0\0\0\0\0\0" more "ijklmnopqrst\0"                              \
    "caching_sha2_password\0"
/* Everything but COMPRESS and the deprecation of EOF. */
#define GREETING     GREETING_OF("\xdf\xff", "\xff\x00", "\0\0\0\0")
#define GREETING_NEW GREETING_OF("\xdf\xff", "\xff\xff", "\0\0\0\0")
#define LOGIN_OF(capabilities, more)                                                                         \
    "\x25\0\0\x01" capabilities "\0\0\0\x01\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" more "root\0"
#define LOGIN     LOGIN_OF("\x01\x82\x00\x00", "\0\0\0\0")
#define LOGIN_NEW LOGIN_OF("\x01\x82\x00\x01", "\0\0\0\0")
#define OK        "\x07\0\0\x02\0\0\0\x02\0\0\0"

#define SESSION     TARGET_SAYS(GREETING), CLIENT_SAYS(LOGIN), TARGET_SAYS(OK)
#define SESSION_NEW TARGET_SAYS(GREETING_NEW), CLIENT_SAYS(LOGIN_NEW), TARGET_SAYS(OK)

#define COLUMN                                                                                               \
    "\x04\0\0\x02\x03"                                                                                       \
    "def"
#define EOF_OF(sequence, status) "\x05\0\0" sequence "\xfe\0\0" status "\0"

static void expect(const struct said *said, const char *expected, struct place place)
{
    struct protocol_settings settings = observing_settings("mysql");
    observing_expect_at(&settings, said, expected, place);
}

#define EXPECT(expected, ...)                                                                                \
    do {                                                                                                     \
        static const struct said session[] = { __VA_ARGS__, SAID_END };                                      \
        expect(session, (expected), HERE);                                                                   \
    } while (0)

static void queries_end_with_their_results(void **state)
{
    (void)state;
    /* OK */
    EXPECT("ask 1 query SET x=1 [12]\nanswer 1 [11]\n", SESSION, CLIENT_SAYS("\x08\0\0\0\x03SET x=1"),
           TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0"));
    /* rows, both styles of ends; a row that begins like an EOF of the other style does not end them */
    EXPECT("ask 1 query SELECT 1 [13]\nanswer 1 [37]\n", SESSION, CLIENT_SAYS("\x09\0\0\0\x03SELECT 1"),
           TARGET_SAYS("\x01\0\0\x01\x01" COLUMN EOF_OF("\x03", "\x02") "\x02\0\0\x04\x01"
                                                                        "1" EOF_OF("\x05", "\x02")));
    EXPECT("ask 1 query SELECT 1 [13]\nanswer 1 [30]\n", SESSION_NEW, CLIENT_SAYS("\x09\0\0\0\x03SELECT 1"),
           TARGET_SAYS("\x01\0\0\x01\x01" COLUMN "\x02\0\0\x03\x01"
                       "1\x07\0\0\x04\xfe\0\0\x02\0\0\0"));
    /* an empty result, and a NULL */
    EXPECT("ask 1 query SELECT 1 [13]\nanswer 1 [36]\n", SESSION, CLIENT_SAYS("\x09\0\0\0\x03SELECT 1"),
           TARGET_SAYS(
               "\x01\0\0\x01\x01" COLUMN EOF_OF("\x03", "\x02") "\x01\0\0\x04\xfb" EOF_OF("\x05", "\x02")));
}

static void errors_are_told(void **state)
{
    (void)state;
    EXPECT("ask 1 query x [6]\nanswer 1 [18] 1064 (42000): bad\\x0a!\n", SESSION,
           CLIENT_SAYS("\x02\0\0\0\x03x"), TARGET_SAYS("\x0e\0\0\x01\xff\x28\x04#42000bad\n!"));
    /* in the middle of the rows */
    EXPECT(
        "ask 1 query SELECT 1 [13]\nanswer 1 [39] 1317 (70100): gone\n", SESSION,
        CLIENT_SAYS("\x09\0\0\0\x03SELECT 1"),
        TARGET_SAYS("\x01\0\0\x01\x01" COLUMN EOF_OF("\x03", "\x02") "\x0d\0\0\x04\xff\x25\x05#70100gone"));
    /* MariaDB's news of the progress is none */
    EXPECT("ask 1 query x [6]\nanswer 1 [22]\n", SESSION, CLIENT_SAYS("\x02\0\0\0\x03x"),
           TARGET_SAYS("\x07\0\0\x01\xff\xff\xff\x01\x01\x01\x01\x07\0\0\x02\0\0\0\x02\0\0\0"));
}

static void several_results_are_one_answer(void **state)
{
    (void)state;
    EXPECT("ask 1 query DO 1;SELECT 1 [18]\nanswer 1 [48]\nask 2 ping [5]\nanswer 2 [11]\n", SESSION,
           CLIENT_SAYS("\x0e\0\0\0\x03"
                       "DO 1;SELECT 1"),
           TARGET_SAYS("\x07\0\0\x01\0\0\0\x0a\0\0\0"
                       "\x01\0\0\x02\x01" COLUMN EOF_OF("\x04", "\x02") "\x02\0\0\x05\x01"
                                                                        "1" EOF_OF("\x06", "\x02")),
           CLIENT_SAYS("\x01\0\0\0\x0e"), TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0"));
}

static void prepared_statements_keep_their_text(void **state)
{
    (void)state;
    /* one parameter, one column; then executed, by its id and as the last one; closed, it has no text */
    EXPECT("ask 1 prepare SELECT ? [13]\nanswer 1 [50]\n"
           "ask 2 execute SELECT ? [14]\nanswer 2 [11]\n"
           "ask 3 execute SELECT ? [14]\nanswer 3 [11]\n"
           "ask 4 execute [14]\nanswer 4 [15] 1243 (HY000): \n",
           SESSION, CLIENT_SAYS("\x09\0\0\0\x16SELECT ?"),
           TARGET_SAYS("\x0c\0\0\x01\0\x07\0\0\0\x01\0\x01\0\0\0\0" COLUMN EOF_OF("\x03", "\x02")
                           COLUMN EOF_OF("\x05", "\x02")),
           CLIENT_SAYS("\x0a\0\0\0\x17\x07\0\0\0\0\x01\0\0\0"), TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0"),
           CLIENT_SAYS("\x0a\0\0\0\x17\xff\xff\xff\xff\0\x01\0\0\0"),
           TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0"), CLIENT_SAYS("\x05\0\0\0\x19\x07\0\0\0"),
           CLIENT_SAYS("\x0a\0\0\0\x17\x07\0\0\0\0\x01\0\0\0"),
           TARGET_SAYS("\x0b\0\0\x01\xff\xdb\x04#HY000\0\0"));
}

static void cursors_fetch_later(void **state)
{
    (void)state;
    EXPECT("ask 1 prepare SELECT 1 [13]\nanswer 1 [33]\n"
           "ask 2 execute SELECT 1 [14]\nanswer 2 [22]\n"
           "ask 3 fetch SELECT 1 [13]\nanswer 3 [15]\n",
           SESSION, CLIENT_SAYS("\x09\0\0\0\x16SELECT 1"),
           TARGET_SAYS("\x0c\0\0\x01\0\x07\0\0\0\x01\0\0\0\0\0\0" COLUMN EOF_OF("\x03", "\x02")),
           CLIENT_SAYS("\x0a\0\0\0\x17\x07\0\0\0\x01\x01\0\0\0"),
           TARGET_SAYS("\x01\0\0\x01\x01" COLUMN EOF_OF("\x03", "\x42")),
           CLIENT_SAYS("\x09\0\0\0\x1c\x07\0\0\0\x01\0\0\0"),
           TARGET_SAYS("\x02\0\0\x01\0\0" EOF_OF("\x02", "\x82")));
}

static void files_are_sent_on_request(void **state)
{
    (void)state;
    /* the file's bytes look like commands */
    EXPECT("ask 1 query LOAD [9]\nanswer 1 [17]\nask 2 ping [5]\nanswer 2 [11]\n", SESSION,
           CLIENT_SAYS("\x05\0\0\0\x03LOAD"),
           TARGET_SAYS("\x02\0\0\x01\xfb"
                       "f"),
           CLIENT_SAYS("\x02\0\0\x02\x03x\x02\0\0\x03\x0e\x0e\0\0\0\x04"),
           TARGET_SAYS("\x07\0\0\x05\0\0\0\x02\0\0\0"), CLIENT_SAYS("\x01\0\0\0\x0e"),
           TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0"));
}

static void users_can_be_changed(void **state)
{
    (void)state;
    EXPECT("ask 1 change_user [10]\nanswer 1 [18]\nask 2 ping [5]\nanswer 2 [11]\n", SESSION,
           CLIENT_SAYS("\x06\0\0\0\x11root\0"),
           TARGET_SAYS("\x03\0\0\x01\xfe"
                       "m\0"),
           CLIENT_SAYS("\x04\0\0\x02hash"), TARGET_SAYS("\x07\0\0\x03\0\0\0\x02\0\0\0"),
           CLIENT_SAYS("\x01\0\0\0\x0e"), TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0"));
}

static void other_commands_have_one_answer(void **state)
{
    (void)state;
    EXPECT("ask 1 init_db shop [9]\nanswer 1 [11]\nask 2 statistics [5]\nanswer 2 [6]\n"
           "ask 3 field_list t [7]\nanswer 3 [17]\n",
           SESSION, CLIENT_SAYS("\x05\0\0\0\x02shop"), TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0"),
           CLIENT_SAYS("\x01\0\0\0\x09"), TARGET_SAYS("\x02\0\0\x01Up"), CLIENT_SAYS("\x03\0\0\0\x04t\0"),
           TARGET_SAYS(COLUMN EOF_OF("\x02", "\x02")), CLIENT_SAYS("\x01\0\0\0\x01"));
}

static void pipelined_commands_are_answered_in_order(void **state)
{
    (void)state;
    EXPECT("ask 1 query a [6]\nask 2 query b [6]\nanswer 1 [11]\nanswer 2 [13] 1064 (42000): \n", SESSION,
           CLIENT_SAYS("\x02\0\0\0\x03"
                       "a\x02\0\0\0\x03"
                       "b"),
           TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0\x09\0\0\x01\xff\x28\x04#42000"));
}

static void metadata_may_be_left_out(void **state)
{
    (void)state;
    /* MariaDB: 1 and a 0 behind the count; its own capabilities */
    EXPECT("ask 1 query SELECT 1 [13]\nanswer 1 [23]\n",
           TARGET_SAYS(GREETING_OF("\xde\xff", "\xff\x01", "\x10\0\0\0")),
           CLIENT_SAYS(LOGIN_OF("\x00\x82\x00\x01", "\x10\0\0\0")), TARGET_SAYS(OK),
           CLIENT_SAYS("\x09\0\0\0\x03SELECT 1"),
           TARGET_SAYS("\x02\0\0\x01\x01\0\x02\0\0\x02\x01"
                       "1\x07\0\0\x03\xfe\0\0\x02\0\0\0"));
    /* MySQL: the flag stands before the count */
    EXPECT("ask 1 query SELECT 1 [13]\nanswer 1 [23]\n", TARGET_SAYS(GREETING_NEW),
           CLIENT_SAYS(LOGIN_OF("\x01\x82\x00\x03", "\0\0\0\0")), TARGET_SAYS(OK),
           CLIENT_SAYS("\x09\0\0\0\x03SELECT 1"),
           TARGET_SAYS("\x02\0\0\x01\0\x01\x02\0\0\x02\x01"
                       "1\x07\0\0\x03\xfe\0\0\x02\0\0\0"));
}

static void attributes_stand_before_the_query(void **state)
{
    (void)state;
    EXPECT("ask 1 query DO 1 [11]\nanswer 1 [11]\nask 2 query DO 2 [19]\nanswer 2 [11]\n",
           TARGET_SAYS(GREETING_NEW), CLIENT_SAYS(LOGIN_OF("\x01\x82\x00\x09", "\0\0\0\0")), TARGET_SAYS(OK),
           CLIENT_SAYS("\x07\0\0\0\x03\0\x01"
                       "DO 1"),
           TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0"),
           /* one, a string "v" named "n" */
           CLIENT_SAYS("\x0f\0\0\0\x03\x01\x01\0\x01\xfe\0\x01n\x01v"
                       "DO 2"),
           TARGET_SAYS("\x07\0\0\x01\0\0\0\x02\0\0\0"));
}

static void what_can_not_be_read_is_silence(void **state)
{
    (void)state;
    EXPECT(
        "lost the session turns to TLS\n", TARGET_SAYS(GREETING),
        CLIENT_SAYS("\x20\0\0\x01\x01\x8a\0\0\0\0\0\x01\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        CLIENT_SAYS("\x16\x03\x01 something secret"), TARGET_SAYS("\x16\x03\x01"));
    EXPECT("lost the session is compressed\n", TARGET_SAYS(GREETING_OF("\xff\xff", "\xff\x00", "\0\0\0\0")),
           CLIENT_SAYS(LOGIN_OF("\x21\x82\x00\x00", "\0\0\0\0")), TARGET_SAYS(OK), CLIENT_SAYS("\x03"));
    EXPECT("lost the client uses a command that is not followed\n", SESSION,
           CLIENT_SAYS("\x02\0\0\0\x12x")); /* binlog */
    EXPECT("lost the server does not greet with version 10 of the protocol\n",
           TARGET_SAYS("\x05\0\0\0\xff\x10\x04no"));
    EXPECT("lost the client speaks first\n", CLIENT_SAYS("\x01\0\0\0\x01"));
    EXPECT("ask 1 query a [6]\nunanswered 1 [4]\nlost the server's answer can't be read\n", SESSION,
           CLIENT_SAYS("\x02\0\0\0\x03"
                       "a"),
           TARGET_SAYS("\0\0\0\x01"));
}

static void a_refused_login_is_no_exchange(void **state)
{
    (void)state;
    EXPECT("", TARGET_SAYS(GREETING), CLIENT_SAYS(LOGIN), TARGET_SAYS("\x09\0\0\x02\xff\x15\x04#28000"));
}

static void what_is_pending_at_the_end_is_unanswered(void **state)
{
    (void)state;
    EXPECT("ask 1 query SELECT 1 [13]\nunanswered 1 [13]\n", SESSION, CLIENT_SAYS("\x09\0\0\0\x03SELECT 1"),
           TARGET_SAYS("\x01\0\0\x01\x01" COLUMN));
}

/* Messages of more than 16 MiB go on in further packets, which are no messages of their own. */
static void large_packets_go_on(void **state)
{
    (void)state;
    const size_t full = 0xffffff;
    char *query = calloc(1, full + 4 + 4 + 2);
    char *rows = calloc(1, 27 + 4 + full + 4 + 5 + 9);
    assert_non_null(query);
    assert_non_null(rows);
    memset(query + 4, 'x', full);
    memcpy(query, "\xff\xff\xff\0\x03", 5);
    memcpy(query + 4 + full, "\x02\0\0\x01\x03z", 6);
    /* one definition; a row that begins like an end; what it goes on with looks like an end, and an error */
    size_t at = 0;
    memcpy(rows,
           "\x01\0\0\x01\x01\x04\0\0\x02\x03"
           "def\x05\0\0\x03\xfe\0\0\x02\0",
           22);
    at = 22;
    memcpy(rows + at, "\xff\xff\xff\x04\xfe", 5);
    at += 4 + full;
    memcpy(rows + at, "\x05\0\0\x05\xff\0\0\x02\0\x05\0\0\x06\xfe\0\0\x02\0", 18);
    at += 18;
    const struct said session[] = {
        SESSION,
        { CLIENT, { query, full + 4 + 6 } },
        { TARGET, { rows, at } },
        SAID_END,
    };
    struct protocol_settings settings = observing_settings("mysql");
    for (size_t step = 100000; step < 30000000; step *= 12) {
        char *transcript = observing_transcript(&settings, session, step - 1, step);
        char *cut = strstr(transcript, "... [16777225]\n");
        assert_non_null(cut);
        assert_int_equal(cut - transcript, strlen("ask 1 query ") + OBSERVE_TEXT_MAX);
        assert_string_equal(cut, "... [16777225]\nanswer 1 [16777259]\n");
        free(transcript);
    }
    free(query);
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_end_with_their_results),
        cmocka_unit_test(errors_are_told),
        cmocka_unit_test(several_results_are_one_answer),
        cmocka_unit_test(prepared_statements_keep_their_text),
        cmocka_unit_test(cursors_fetch_later),
        cmocka_unit_test(files_are_sent_on_request),
        cmocka_unit_test(users_can_be_changed),
        cmocka_unit_test(other_commands_have_one_answer),
        cmocka_unit_test(pipelined_commands_are_answered_in_order),
        cmocka_unit_test(metadata_may_be_left_out),
        cmocka_unit_test(attributes_stand_before_the_query),
        cmocka_unit_test(what_can_not_be_read_is_silence),
        cmocka_unit_test(a_refused_login_is_no_exchange),
        cmocka_unit_test(what_is_pending_at_the_end_is_unanswered),
        cmocka_unit_test(large_packets_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
