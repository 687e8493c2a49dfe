/* PostgreSQL sessions as they pass: where queries and their results are. */
#include "unit/observing.h"

#define STARTUP  "\0\0\0\x0d\0\3\0\0user\0"
#define AUTH_OK  "R\0\0\0\x08\0\0\0\0"
#define READY    "Z\0\0\0\5I"
#define COMPLETE "C\0\0\0\5\0"
#define ROW                                                                                                  \
    "D\0\0\0\x0b\0\1\0\0\0\1"                                                                                \
    "1"
#define COLUMNS  "T\0\0\0\6\0\0"
#define ERROR    "E\0\0\0\x18SERROR\0C42601\0Mbad\0\0"
#define SYNC     "S\0\0\0\4"
#define EXECUTE  "E\0\0\0\x09\0\0\0\0\0"
#define DESCRIBE "D\0\0\0\6P\0"
#define BIND     "B\0\0\0\x0c\0\0\0\0\0\0\0\0"

#define SESSION CLIENT_SAYS(STARTUP), TARGET_SAYS(AUTH_OK "K\0\0\0\x0c\0\0\0\1\0\0\0\1" READY)

static void expect(const struct said *said, const char *expected, struct place place)
{
    struct protocol_settings settings = observing_settings("postgresql");
    observing_expect_at(&settings, said, expected, place);
}

#define EXPECT(expected, ...)                                                                                \
    do {                                                                                                     \
        static const struct said session[] = { __VA_ARGS__, SAID_END };                                      \
        expect(session, (expected), HERE);                                                                   \
    } while (0)

static void simple_queries_end_when_the_server_is_ready(void **state)
{
    (void)state;
    EXPECT("ask 1 query SELECT 1 [14]\nanswer 1 [31]\n", SESSION, CLIENT_SAYS("Q\0\0\0\x0dSELECT 1\0"),
           TARGET_SAYS(COLUMNS ROW COMPLETE READY));
    /* several statements; an error; a notice; none */
    EXPECT("ask 1 query DO 1;DO 2 [15]\nanswer 1 [43] ERROR 42601: bad\nask 2 query [6]\nanswer 2 [11]\n",
           SESSION,
           CLIENT_SAYS("Q\0\0\0\x0e"
                       "DO 1;DO 2\0"),
           TARGET_SAYS(COMPLETE "N\0\0\0\5\0" ERROR READY), CLIENT_SAYS("Q\0\0\0\5\0"),
           TARGET_SAYS("I\0\0\0\4" READY));
}

static void extended_queries_are_told_by_execution(void **state)
{
    (void)state;
    EXPECT("ask 1 execute SELECT 1 [47]\nanswer 1 [33]\n", SESSION,
           CLIENT_SAYS("P\0\0\0\x10\0SELECT 1\0\0\0" BIND DESCRIBE EXECUTE SYNC),
           TARGET_SAYS("1\0\0\0\4"
                       "2\0\0\0\4"
                       "n\0\0\0\4" ROW COMPLETE READY));
}

static void named_statements_and_portals_keep_their_text(void **state)
{
    (void)state;
    EXPECT("ask 1 prepare DO 1 [14]\nanswer 1 [5]\nask 2 execute DO 1 [26]\nanswer 2 [11]\n"
           "ask 3 execute DO 1 [11]\nanswer 3 [5]\nask 4 execute [25]\nanswer 4 [25] ERROR 42601: bad\n",
           SESSION,
           CLIENT_SAYS("P\0\0\0\x0d"
                       "s\0DO 1\0\0\0" SYNC),
           TARGET_SAYS("1\0\0\0\4" READY),
           CLIENT_SAYS("B\0\0\0\x0ep\0s\0\0\0\0\0\0\0"
                       "E\0\0\0\x0a"
                       "p\0\0\0\0\1" SYNC),
           TARGET_SAYS("2\0\0\0\4" COMPLETE READY),
           /* once more from the same portal, suspended; then the statement is closed */
           CLIENT_SAYS("E\0\0\0\x0a"
                       "p\0\0\0\0\1"
                       "C\0\0\0\7Ss\0" SYNC),
           TARGET_SAYS("s\0\0\0\4"
                       "3\0\0\0\4" READY),
           CLIENT_SAYS("B\0\0\0\x0dq\0s\0\0\0\0\0\0"
                       "E\0\0\0\x0a"
                       "q\0\0\0\0\1\0"),
           TARGET_SAYS(ERROR));
}

static void errors_skip_up_to_a_sync(void **state)
{
    (void)state;
    /* both executions of the batch end by the error of the first; what comes behind the Sync goes on */
    EXPECT("ask 1 execute x [40]\nask 2 execute x [23]\nask 3 execute y [33]\n"
           "answer 1 [25] ERROR 42601: bad\nanswer 2 [0] skipped after an error\nanswer 3 [16]\n",
           SESSION,
           CLIENT_SAYS("P\0\0\0\x09\0x\0\0\0" BIND DESCRIBE EXECUTE BIND EXECUTE SYNC
                       "P\0\0\0\x09\0y\0\0\0" BIND EXECUTE SYNC),
           TARGET_SAYS(ERROR READY "1\0\0\0\4"
                                   "2\0\0\0\4" COMPLETE READY));
    /* the error comes before the rest of what is skipped */
    EXPECT("ask 1 prepare x [11]\nanswer 1 [25] ERROR 42601: bad\nask 2 execute x [28]\n"
           "answer 2 [0] skipped after an error\nask 3 query y [7]\nanswer 3 [12]\n",
           SESSION,
           CLIENT_SAYS("P\0\0\0\x0as\0x\0\0\0"
                       "H\0\0\0\4"),
           TARGET_SAYS(ERROR), CLIENT_SAYS("B\0\0\0\x0c\0s\0\0\0\0\0\0" EXECUTE SYNC), TARGET_SAYS(READY),
           CLIENT_SAYS("Q\0\0\0\6y\0"), TARGET_SAYS(COMPLETE READY));
    /* a preparation without a name is told if it fails, and nothing else of its batch could be */
    EXPECT("ask 1 prepare x [0]\nanswer 1 [25] ERROR 42601: bad\n", SESSION,
           CLIENT_SAYS("P\0\0\0\x09\0x\0\0\0" DESCRIBE SYNC), TARGET_SAYS(ERROR READY));
}

static void copies_are_part_of_their_query(void **state)
{
    (void)state;
    EXPECT("ask 1 query COPY t FROM STDIN [23]\nanswer 1 [20]\n", SESSION,
           CLIENT_SAYS("Q\0\0\0\x16"
                       "COPY t FROM STDIN\0"),
           TARGET_SAYS("G\0\0\0\7\0\0\0"),
           CLIENT_SAYS("d\0\0\0\x08QQQQ"
                       "c\0\0\0\4"),
           TARGET_SAYS(COMPLETE READY));
    EXPECT("ask 1 query COPY t TO STDOUT [22]\nanswer 1 [31]\n", SESSION,
           CLIENT_SAYS("Q\0\0\0\x15"
                       "COPY t TO STDOUT\0"),
           TARGET_SAYS("H\0\0\0\7\0\0\0"
                       "d\0\0\0\5x"
                       "c\0\0\0\4" COMPLETE READY));
    /* extended: the Sync behind the Execute is passed over, that behind the data is not */
    EXPECT("ask 1 execute COPY [36]\nanswer 1 [24]\nask 2 query y [7]\nanswer 2 [12]\n", SESSION,
           CLIENT_SAYS("P\0\0\0\x0c\0COPY\0\0\0" BIND EXECUTE SYNC),
           TARGET_SAYS("1\0\0\0\4"
                       "2\0\0\0\4"
                       "G\0\0\0\7\0\0\0"),
           CLIENT_SAYS("d\0\0\0\5x"
                       "c\0\0\0\4" SYNC),
           TARGET_SAYS(COMPLETE READY), CLIENT_SAYS("Q\0\0\0\6y\0"), TARGET_SAYS(COMPLETE READY));
}

static void pipelined_queries_are_answered_in_order(void **state)
{
    (void)state;
    EXPECT("ask 1 query a [7]\nask 2 query b [7]\nanswer 1 [12]\nanswer 2 [31] ERROR 42601: bad\n", SESSION,
           CLIENT_SAYS("Q\0\0\0\6a\0"
                       "Q\0\0\0\6b\0"),
           TARGET_SAYS(COMPLETE READY ERROR READY));
}

static void the_startup_can_ask_for_encryption(void **state)
{
    (void)state;
    EXPECT("ask 1 query a [7]\nanswer 1 [12]\n", CLIENT_SAYS("\0\0\0\x08\x04\xd2\x16\x30"), TARGET_SAYS("N"),
           CLIENT_SAYS("\0\0\0\x08\x04\xd2\x16\x2f"), TARGET_SAYS("N"), SESSION, CLIENT_SAYS("Q\0\0\0\6a\0"),
           TARGET_SAYS(COMPLETE READY));
    EXPECT("lost the session turns to TLS\n", CLIENT_SAYS("\0\0\0\x08\x04\xd2\x16\x2f"), TARGET_SAYS("S"),
           CLIENT_SAYS("\x16\x03\x01 something secret"));
    EXPECT("lost the session is encrypted\n", CLIENT_SAYS("\0\0\0\x08\x04\xd2\x16\x30"), TARGET_SAYS("G"));
    EXPECT("lost the session only cancels a query\n",
           CLIENT_SAYS("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\1\0\0\0\2"));
    /* TLS at once */
    EXPECT("lost the session is no longer one of PostgreSQL, or turns to TLS\n",
           CLIENT_SAYS("\x16\x03\x01\x02\x00\x01"));
}

static void what_can_not_be_followed_is_silence(void **state)
{
    (void)state;
    EXPECT("ask 1 query START_REPLICATION [23]\nunanswered 1 [8]\nlost the session turns to replication\n",
           SESSION, CLIENT_SAYS("Q\0\0\0\x16START_REPLICATION\0"), TARGET_SAYS("W\0\0\0\7\0\0\0d\0\0\0\4"));
    EXPECT("lost requests and answers are out of step\n", SESSION, TARGET_SAYS(READY));
    EXPECT("lost the client sends a message of unknown type\n", SESSION, CLIENT_SAYS("!\0\0\0\4"));
    EXPECT("", SESSION, TARGET_SAYS(ERROR)); /* the server shuts down */
    EXPECT("ask 1 query a [7]\nunanswered 1 [7]\n", SESSION, CLIENT_SAYS("Q\0\0\0\6a\0"),
           TARGET_SAYS(COLUMNS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_queries_end_when_the_server_is_ready),
        cmocka_unit_test(extended_queries_are_told_by_execution),
        cmocka_unit_test(named_statements_and_portals_keep_their_text),
        cmocka_unit_test(errors_skip_up_to_a_sync),
        cmocka_unit_test(copies_are_part_of_their_query),
        cmocka_unit_test(pipelined_queries_are_answered_in_order),
        cmocka_unit_test(the_startup_can_ask_for_encryption),
        cmocka_unit_test(what_can_not_be_followed_is_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
