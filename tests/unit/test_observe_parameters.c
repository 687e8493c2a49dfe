/* The values that prepared statements are executed with, in sessions of MySQL and PostgreSQL as they pass. */
#include "unit/observing.h"

#include <stdio.h>
#include <stdlib.h>

/* What both sides say, put together message by message. */
struct session {
    const char *protocol;
    struct said said[32];
    size_t count;
    char bytes[262144];
    size_t used;
};

static void add(struct session *session, enum said_by side, const char *head, size_t head_size,
                struct slice body)
{
    char *message = session->bytes + session->used;
    assert_true(session->count < 31 && session->used + head_size + body.length <= sizeof(session->bytes));
    memcpy(message, head, head_size);
    memcpy(message + head_size, body.bytes, body.length);
    session->said[session->count++] = (struct said){ side, { message, head_size + body.length } };
    session->said[session->count] = (struct said)SAID_END;
    session->used += head_size + body.length;
}

static struct session *session_create(const char *protocol)
{
    struct session *session = calloc(1, sizeof(*session));
    assert_non_null(session);
    session->protocol = protocol;
    return session;
}

/* Compares what is told of the requests, and frees the session. */
static void expect_at(struct session *session, const char *expected, struct place place)
{
    struct protocol_settings settings = observing_settings(session->protocol);
    observing_expect_at(&settings, session->said, expected, place);
    free(session);
}

#define EXPECT(session, expected) expect_at((session), (expected), HERE)

/* ---- MySQL ---- */

static void add_packet(struct session *session, enum said_by side, struct slice body)
{
    const char head[] = { (char)(body.length & 0xff), (char)(body.length >> 8 & 0xff),
                          (char)(body.length >> 16) };
    add(session, side, (const char[]){ head[0], head[1], head[2], 0 }, 4, body);
}

#define CLIENT_PACKET(session, literal) add_packet((session), CLIENT, SLICE(literal))
#define TARGET_PACKET(session, literal) add_packet((session), TARGET, SLICE(literal))

#define OK            "\0\0\0\2\0\0\0"
#define ID            "\7\0\0\0"
#define EXECUTE       "\x17" ID "\0\1\0\0\0"
#define EXECUTE_ASKED "ask 2 execute INSERT ?"

/* Logged in, with a statement of so many parameters prepared; nothing defines them. */
static struct session *prepared(struct slice count, bool has_attributes)
{
    struct session *session = session_create("mysql");
    TARGET_PACKET(session,
                  "\x0a"
                  "8\0\1\0\0\0abcdefgh\0\xdf\xff\x2d\2\0\xff\xff\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0");
    if (has_attributes)
        CLIENT_PACKET(session,
                      "\1\x82\0\x0b\0\0\0\1\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0root\0");
    else
        CLIENT_PACKET(session, "\1\x82\0\3\0\0\0\1\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0root\0");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, "\x16INSERT ?");
    char answer[] = "\0" ID "\0\0\0\0\0\0\0\0";
    memcpy(answer + 7, count.bytes, 2);
    add_packet(session, TARGET, (struct slice){ answer, sizeof(answer) - 1 });
    return session;
}

#define PREPARED(count) prepared(SLICE(count), false)
#define BEGUN           "ask 1 prepare INSERT ? [13]\nanswer 1 [17]\n"

static void numbers_of_mysql(void **state)
{
    (void)state;
    struct session *session = PREPARED("\x09\0");
    CLIENT_PACKET(session, EXECUTE "\0\0\1\1\0\1\x80\2\0\2\x80\3\0\3\x80\x08\0\x08\x80\x0d\0"
                                   "\xff\xff\xfe\xff\xfe\xff\xfd\xff\xff\xff\xfd\xff\xff\xff"
                                   "\xfc\xff\xff\xff\xff\xff\xff\xff\xfc\xff\xff\xff\xff\xff\xff\xff\xe8\7");
    TARGET_PACKET(session, OK);
    EXPECT(session,
           BEGUN EXECUTE_ASKED " -- -1, 255, -2, 65534, -3, 4294967293, -4, 18446744073709551612, 2024"
                               " [67]\nanswer 2 [11]\n");
    /* 1.5 and 0.1 as float, 0.1 and infinity as double; a decimal */
    session = PREPARED("\5\0");
    CLIENT_PACKET(session, EXECUTE "\0\1\4\0\4\0\5\0\5\0\xf6\0\0\0\xc0\x3f\xcd\xcc\xcc\x3d"
                                   "\x9a\x99\x99\x99\x99\x99\xb9\x3f\0\0\0\0\0\0\xf0\x7f\6-12.50");
    TARGET_PACKET(session, OK);
    EXPECT(session,
           BEGUN EXECUTE_ASKED " -- 1.5, 0.10000000149011612, 0.1, 'inf', -12.50 [57]\nanswer 2 [11]\n");
}

static void strings_of_mysql(void **state)
{
    (void)state;
    /* quotes are doubled; one that says that it is a decimal, and is none */
    struct session *session = PREPARED("\5\0");
    CLIENT_PACKET(session, EXECUTE "\x10\1\xfe\0\xfd\0\x0f\0\xf6\0\xfe\0\3a'b\0\3\0\n\\\4), (");
    TARGET_PACKET(session, OK);
    EXPECT(session, BEGUN EXECUTE_ASKED " -- 'a''b', '', '\\x00\\x0a\\', '), (', NULL [40]\nanswer 2 [11]\n");
}

static void times_of_mysql(void **state)
{
    (void)state;
    struct session *session = PREPARED("\6\0");
    CLIENT_PACKET(session,
                  EXECUTE "\0\1\x0a\0\x0c\0\7\0\x0c\0\x0b\0\x0b\0\4\xe8\7\2\x1d\7\xe8\7\2\x1d\1\2\3"
                          "\x0b\xe8\7\2\x1d\1\2\3\5\0\0\0\0\x08\1\1\0\0\0\2\3\4\x0c\0\0\0\0\0\2\3\4\6\0\0\0");
    TARGET_PACKET(session, OK);
    EXPECT(session, BEGUN EXECUTE_ASKED
           " -- DATE'2024-02-29', TIMESTAMP'2024-02-29 01:02:03', TIMESTAMP'2024-02-29 01:02:03.000005',"
           " TIMESTAMP'0000-00-00 00:00:00', TIME'-26:03:04', TIME'02:03:04.000006'"
           " [76]\nanswer 2 [11]\n");
}

/* Types are said once; a statement that was not told them has none. */
static void types_are_remembered(void **state)
{
    (void)state;
    struct session *session = PREPARED("\2\0");
    CLIENT_PACKET(session, EXECUTE "\0\0\1a\1b");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, EXECUTE "\0\1\xfe\0\1\0\1a\2");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, EXECUTE "\1\0\3");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, EXECUTE "\0\1\1\0\1\0\4\5");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, EXECUTE "\0\0\6\7");
    TARGET_PACKET(session, OK);
    EXPECT(session, BEGUN "ask 2 execute INSERT ? [20]\nanswer 2 [11]\n"
                          "ask 3 execute INSERT ? -- 'a', 2 [23]\nanswer 3 [11]\n"
                          "ask 4 execute INSERT ? -- NULL, 3 [17]\nanswer 4 [11]\n"
                          "ask 5 execute INSERT ? -- 4, 5 [22]\nanswer 5 [11]\n"
                          "ask 6 execute INSERT ? -- 6, 7 [18]\nanswer 6 [11]\n");
}

/* Those that are sent before are not in the command; they are used up by it, or taken back. */
static void long_values_come_before(void **state)
{
    (void)state;
    struct session *session = PREPARED("\2\0");
    CLIENT_PACKET(session, "\x18" ID "\1\0lo");
    CLIENT_PACKET(session, "\x18" ID "\1\0ng");
    CLIENT_PACKET(session, EXECUTE "\0\1\1\0\xfc\0\1");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, EXECUTE "\0\0\2\1s");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, "\x18" ID "\1\0long");
    CLIENT_PACKET(session, "\x1a" ID);
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, EXECUTE "\0\0\3\1t");
    TARGET_PACKET(session, OK);
    EXPECT(session, BEGUN "ask 2 execute INSERT ? -- 1, 'long' [21]\nanswer 2 [11]\n"
                          "ask 3 execute INSERT ? -- 2, 's' [19]\nanswer 3 [11]\n"
                          "ask 4 reset_statement INSERT ? [9]\nanswer 4 [11]\n"
                          "ask 5 execute INSERT ? -- 3, 't' [19]\nanswer 5 [11]\n");
}

/* More of them than are kept: what the statement is executed with can't be told then, and is not guessed. */
static void too_many_long_values_are_not_told(void **state)
{
    (void)state;
    struct session *session = PREPARED("\2\0");
    static char values[65 * 11];
    for (size_t i = 0; i < 65; i++)
        memcpy(values + i * 11, (const char[]){ 7, 0, 0, 0, 0x18, 9, 0, 0, 0, (char)i, 0 }, 11);
    add(session, CLIENT, values, sizeof(values), SLICE(""));
    CLIENT_PACKET(session, EXECUTE "\0\1\1\0\1\0\1\2");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, "\x1f"); /* the connection begins anew, without statements */
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, "\x16INSERT ?");
    TARGET_PACKET(session, "\0" ID "\0\0\1\0\0\0\0\0");
    CLIENT_PACKET(session, EXECUTE "\0\1\1\0\1");
    TARGET_PACKET(session, OK);
    EXPECT(session,
           BEGUN "ask 2 execute INSERT ? [22]\nanswer 2 [11]\nask 3 reset_connection [5]\nanswer 3 [11]\n"
                 "ask 4 prepare INSERT ? [13]\nanswer 4 [17]\n"
                 "ask 5 execute INSERT ? -- 1 [19]\nanswer 5 [11]\n");
}

/* A list of more than is wanted, a value of more than is shown of any, and a command that is not whole. */
static void parameters_are_cut(void **state)
{
    (void)state;
    char command[1200] = EXECUTE "\0\1\xfe\0\1\0\xfc\xe8\3";
    char expected[600];
    struct session *session = PREPARED("\2\0");
    memset(command + 18, 'x', 1000);
    command[1018] = 1;
    add_packet(session, CLIENT, (struct slice){ command, 1019 });
    TARGET_PACKET(session, OK);
    snprintf(expected, sizeof(expected), BEGUN EXECUTE_ASKED " -- '%.199s... [1023]\nanswer 2 [11]\n",
             command + 18);
    EXPECT(session, expected);
    session = PREPARED("\2\0");
    CLIENT_PACKET(session, EXECUTE "\0\1\xfe\0\1\0\5abc");
    TARGET_PACKET(session, OK);
    EXPECT(session, BEGUN EXECUTE_ASKED " -- 'abc'...... [24]\nanswer 2 [11]\n");
    session = PREPARED("\2\0");
    CLIENT_PACKET(session, EXECUTE "\0");
    TARGET_PACKET(session, OK);
    EXPECT(session, BEGUN EXECUTE_ASKED " [15]\nanswer 2 [11]\n");
}

/* Of two parameters and one attribute, named "n", only the parameters are shown. */
static void attributes_are_no_parameters(void **state)
{
    (void)state;
    struct session *session = prepared(SLICE("\2\0"), true);
    CLIENT_PACKET(session, EXECUTE "\3\0\1\1\0\0\xfe\0\0\xfe\0\1n\5\1a\5value");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, EXECUTE "\3\0\0\6\1b\5value");
    TARGET_PACKET(session, OK);
    EXPECT(session, BEGUN "ask 2 execute INSERT ? -- 5, 'a' [36]\nanswer 2 [11]\n"
                          "ask 3 execute INSERT ? -- 6, 'b' [26]\nanswer 3 [11]\n");
}

/* MariaDB: values, NULL and the column's default. */
static void many_sets_at_once(void **state)
{
    (void)state;
    struct session *session = PREPARED("\2\0");
    CLIENT_PACKET(session, "\xfa" ID "\x80\0\1\0\xfe\0\0\1\0\1a\0\2\1\2\0\1b");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, "\xfa" ID "\0\0\0\3\3");
    TARGET_PACKET(session, OK);
    EXPECT(session,
           BEGUN "ask 2 execute INSERT ? -- (1, 'a'), (2, NULL), (DEFAULT, 'b') [27]\nanswer 2 [11]\n"
                 "ask 3 execute INSERT ? -- (3, IGNORE) [14]\nanswer 3 [11]\n");
}

/* Executed as "the last one" before the server has answered the preparation: the text is that of the
 * statement, the values can't be read, as nobody has said yet how many there are. */
static void a_statement_may_be_executed_before_it_is_known(void **state)
{
    (void)state;
    struct session *session = PREPARED("\1\0");
    CLIENT_PACKET(session, "\x16"
                           "DELETE ?");
    CLIENT_PACKET(session, "\x17\xff\xff\xff\xff\0\1\0\0\0\0\1\1\0\1");
    TARGET_PACKET(session, "\0\x08\0\0\0\0\0\1\0\0\0\0\0");
    TARGET_PACKET(session, OK);
    CLIENT_PACKET(session, "\x17\xff\xff\xff\xff\0\1\0\0\0\0\1\1\0\2");
    TARGET_PACKET(session, OK);
    EXPECT(session,
           BEGUN "ask 2 prepare DELETE ? [13]\nask 3 execute DELETE ? [19]\nanswer 2 [17]\nanswer 3 [11]\n"
                 "ask 4 execute DELETE ? -- 2 [19]\nanswer 4 [11]\n");
}

/* ---- PostgreSQL ---- */

static void add_message(struct session *session, enum said_by side, char type, struct slice body)
{
    size_t length = body.length + 4;
    add(session, side, (const char[]){ type, 0, (char)(length >> 16), (char)(length >> 8), (char)length }, 5,
        body);
}

#define CLIENT_MESSAGE(session, type, literal) add_message((session), CLIENT, (type), SLICE(literal))
#define TARGET_MESSAGE(session, type, literal) add_message((session), TARGET, (type), SLICE(literal))

static struct session *postgresql_session(void)
{
    struct session *session = session_create("postgresql");
    add(session, CLIENT, "\0\0\0\x0d\0\3\0\0user", 13, SLICE(""));
    TARGET_MESSAGE(session, 'R', "\0\0\0\0");
    TARGET_MESSAGE(session, 'Z', "I");
    return session;
}

static void text_of_postgresql(void **state)
{
    (void)state;
    struct session *session = postgresql_session();
    CLIENT_MESSAGE(session, 'P', "\0X\0\0\0");
    CLIENT_MESSAGE(session, 'B',
                   "\0\0\0\0\0\3\0\0\0\1"
                   "5\xff\xff\xff\xff\0\0\0\3a'b\0\0");
    CLIENT_MESSAGE(session, 'E', "\0\0\0\0\0");
    CLIENT_MESSAGE(session, 'S', "");
    TARGET_MESSAGE(session, '1', "");
    TARGET_MESSAGE(session, '2', "");
    TARGET_MESSAGE(session, 'C', "X\0");
    TARGET_MESSAGE(session, 'Z', "I");
    EXPECT(session, "ask 1 execute X -- '5', NULL, 'a''b' [49]\nanswer 1 [17]\n");
}

/* A portal keeps its values, whatever its statement is bound to later; types that the client has said. */
static void binary_of_postgresql(void **state)
{
    (void)state;
    struct session *session = postgresql_session();
    /* int4, int8, int2, float8, text, bool, bytea, oid; one of a type that is not said, and a date */
    CLIENT_MESSAGE(session, 'P',
                   "s\0X\0\0\x0a\0\0\0\x17\0\0\0\x14\0\0\0\x15\0\0\2\xbd\0\0\0\x19\0\0\0\x10"
                   "\0\0\0\x11\0\0\0\x1a\0\0\0\0\0\0\4\x3a");
    CLIENT_MESSAGE(session, 'B',
                   "p\0s\0\0\1\0\1\0\x0a\0\0\0\4\xff\xff\xff\xfe\0\0\0\x08\0\0\0\1\0\0\0\0"
                   "\0\0\0\2\0\7\0\0\0\x08\x3f\xf8\0\0\0\0\0\0\0\0\0\2it\0\0\0\1\1"
                   "\0\0\0\2\0\xff\0\0\0\4\xff\0\0\0\0\0\0\1\x2a\0\0\0\4\0\0\0\1\0\0");
    CLIENT_MESSAGE(session, 'B', "q\0s\0\0\0\0\0\0\0");
    CLIENT_MESSAGE(session, 'E', "p\0\0\0\0\0");
    CLIENT_MESSAGE(session, 'S', "");
    EXPECT(session, "ask 1 prepare X [51]\n"
                    "ask 2 execute X -- '-2', '4294967296', '7', '1.5', 'it', 't', '\\x00ff', '4278190080',"
                    " '\\x2a', '\\x00000001' [119]\nunanswered 1 [0]\nunanswered 2 [0]\n");
}

/* Types that the server says; of a statement that has taken the place of the one described it says nothing.
 */
static void described_types_of_postgresql(void **state)
{
    (void)state;
    struct session *session = postgresql_session();
    CLIENT_MESSAGE(session, 'P', "s\0X\0\0\0");
    CLIENT_MESSAGE(session, 'D', "Ss\0");
    CLIENT_MESSAGE(session, 'S', "");
    TARGET_MESSAGE(session, '1', "");
    TARGET_MESSAGE(session, 't', "\0\1\0\0\0\x17");
    TARGET_MESSAGE(session, 'n', "");
    TARGET_MESSAGE(session, 'Z', "I");
    CLIENT_MESSAGE(session, 'B', "\0s\0\0\1\0\1\0\1\0\0\0\4\0\0\0\5\0\0");
    CLIENT_MESSAGE(session, 'E', "\0\0\0\0\0");
    CLIENT_MESSAGE(session, 'D', "Ss\0");
    CLIENT_MESSAGE(session, 'P', "s\0Y\0\0\0");
    TARGET_MESSAGE(session, '2', "");
    TARGET_MESSAGE(session, 'C', "X\0");
    TARGET_MESSAGE(session, 't', "\0\1\0\0\0\x17");
    TARGET_MESSAGE(session, 'n', "");
    TARGET_MESSAGE(session, '1', "");
    CLIENT_MESSAGE(session, 'B', "\0s\0\0\1\0\1\0\1\0\0\0\4\0\0\0\5\0\0");
    CLIENT_MESSAGE(session, 'E', "\0\0\0\0\0");
    TARGET_MESSAGE(session, '2', "");
    TARGET_MESSAGE(session, 'C', "Y\0");
    EXPECT(session, "ask 1 prepare X [11]\nanswer 1 [5]\nask 2 execute X -- '5' [34]\n"
                    "ask 3 prepare Y [19]\nanswer 2 [12]\nanswer 3 [21]\nask 4 execute Y -- '\\x00000005' "
                    "[34]\nanswer 4 [12]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_mysql),
        cmocka_unit_test(strings_of_mysql),
        cmocka_unit_test(times_of_mysql),
        cmocka_unit_test(types_are_remembered),
        cmocka_unit_test(long_values_come_before),
        cmocka_unit_test(too_many_long_values_are_not_told),
        cmocka_unit_test(parameters_are_cut),
        cmocka_unit_test(attributes_are_no_parameters),
        cmocka_unit_test(many_sets_at_once),
        cmocka_unit_test(a_statement_may_be_executed_before_it_is_known),
        cmocka_unit_test(text_of_postgresql),
        cmocka_unit_test(binary_of_postgresql),
        cmocka_unit_test(described_types_of_postgresql),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
