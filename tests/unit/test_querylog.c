/* What the module querylog writes of texts from outside: escaped, cut, and without literals. */
#include "harness/test.h"

#include "querylog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Whole, and each beginning of it, in memory of its own size: none may be longer when it is redacted, and the
 * secret may be in none of them. */
static void expect_redacted(const char *protocol, const char *text, const char *expected, struct place place)
{
    size_t length = strlen(text);
    for (size_t cut = 0; cut <= length; cut++) {
        char *copy = malloc(cut + 1), *out = malloc(cut + 1);
        assert_non_null(copy);
        assert_non_null(out);
        memcpy(copy, text, cut);
        size_t used = redact(redact_kind(protocol), copy, cut, out);
        assert_true(used <= cut);
        out[used] = '\0';
        if (cut == length && strcmp(out, expected) != 0)
            test_fail_at(place, "%s\nexpected: %s\ngot: %s", text, expected, out);
        if (strstr(out, "SECRET") != NULL)
            test_fail_at(place, "cut after %zu bytes, %s shows: %s", cut, text, out);
        free(copy);
        free(out);
    }
}

#define EXPECT_REDACTED(protocol, text, expected) expect_redacted((protocol), (text), (expected), HERE)

static void literals_of_sql_are_left_out(void **state)
{
    (void)state;
    EXPECT_REDACTED("mysql", "SELECT * FROM t1 WHERE a = 'SECRET' AND b=\"it's \\\"SECRET\\\"\"",
                    "SELECT * FROM t1 WHERE a = ? AND b=?");
    EXPECT_REDACTED("mysql", "INSERT INTO `t 1` VALUES (12, -1.5e-3, 0xff, .5, NULL, '')",
                    "INSERT INTO `t 1` VALUES (?, -?, ?, ?, NULL, ?)");
    EXPECT_REDACTED("postgresql",
                    "SELECT 'it''s SECRET', E'a\\'SECRET', $1, $tag$a $x$ SECRET$tag$, $$SECRET$$, x2",
                    "SELECT ?, E?, $1, ?, ?, x2");
    EXPECT_REDACTED("postgresql", "SELECT a -- SECRET\n, b /* SECRET */ FROM \"SECRET\"",
                    "SELECT a \n, b  FROM ?");
    EXPECT_REDACTED("mysql", "SELECT 1 # SECRET", "SELECT ? ");
    EXPECT_REDACTED("mysql", "SELECT 'open SECRET", "SELECT ?");
    EXPECT_REDACTED("mysql",
                    "SELECT \xc3\xa4"
                    "1, a1.b2, 1SECRET",
                    "SELECT \xc3\xa4"
                    "1, a1.b2, ?");
}

/* Servers disagree about these, and some about their own settings: nothing may be taken for certain that is
 * not. */
static void what_is_a_literal_depends_on_the_server(void **state)
{
    (void)state;
    EXPECT_REDACTED("postgresql", "SELECT 'a\\\\', 'SECRET', E'\\'SECRET', b", "SELECT ?, ?, E?, b");
    EXPECT_REDACTED("postgresql", "SELECT 'a\\', 'SECRET', b", "SELECT ?");
    EXPECT_REDACTED("mysql", "SELECT 'a\\', 'SECRET', b", "SELECT ?");
    EXPECT_REDACTED("mysql", "SELECT 'a\\n\\\\', \"\\\\\", b", "SELECT ?, ?, b");
    EXPECT_REDACTED("postgresql", "SELECT \"a\\\", 'SECRET', b", "SELECT ?, ?, b");
    EXPECT_REDACTED("postgresql", "SELECT name'SECRET', e'\\'SECRET', b", "SELECT name?, e?, b");
    /* comments */
    EXPECT_REDACTED("postgresql", "SELECT /* a /* b */ SECRET */ 'SECRET'", "SELECT  ?");
    EXPECT_REDACTED("mysql", "SELECT /* a /* b */ 'SECRET'", "SELECT  ?");
    EXPECT_REDACTED("postgresql", "SELECT a #> 'x\nSECRET', b", "SELECT a #> ?, b");
    EXPECT_REDACTED("mysql", "SELECT a--'x\nSECRET', b", "SELECT a--?, b");
    EXPECT_REDACTED("mysql", "SELECT a -- 'SECRET\n, b", "SELECT a \n, b");
    EXPECT_REDACTED("postgresql", "SELECT a --'\r, 'b\nSECRET'", "SELECT a \r, ?");
    EXPECT_REDACTED("mysql", "/*!40101 SET NAMES utf8 */ SELECT b", " SELECT b");
    EXPECT_REDACTED("mysql", "SELECT /*!99999 it's */ 'SECRET', b", "SELECT ?");
    EXPECT_REDACTED("mysql", "SELECT /*M! 'a */ SECRET' */, b", "SELECT ?");
    /* dollars, backticks */
    EXPECT_REDACTED("postgresql", "SELECT a$b$, 'c$b$ SECRET', d$1", "SELECT a$b$, ?, d$1");
    EXPECT_REDACTED("mysql", "SELECT $a$, 'c$a$ SECRET'", "SELECT ?");
    EXPECT_REDACTED("mysql", "SELECT a$b$, 'c$b$ SECRET'", "SELECT a$b$, ?");
    EXPECT_REDACTED("postgresql", "SELECT 1 ` 'SECRET ` '", "SELECT ? ` ?");
    EXPECT_REDACTED("mysql", "SELECT `it's`, 'SECRET'", "SELECT `it's`, ?");
}

static void what_redis_stores_is_left_out(void **state)
{
    (void)state;
    EXPECT_REDACTED("redis", "SET key SECRET EX 10", "SET key ? ? ?");
    EXPECT_REDACTED("redis", "set \"a key\" \"the \\\"SECRET\\\" one\"", "set \"a key\" ?");
    EXPECT_REDACTED("redis", "HSET key field SECRET f2 SECRET", "HSET key field ? ? ?");
    EXPECT_REDACTED("redis", "AUTH SECRET", "AUTH ?");
    EXPECT_REDACTED("redis", "HELLO 3 AUTH user SECRET", "HELLO 3 ? ? ?");
    EXPECT_REDACTED("redis", "GET key", "GET key");
    EXPECT_REDACTED("redis", "getex key EX 10", "getex key EX 10");
    EXPECT_REDACTED("redis", "INCRBY key 12", "INCRBY key ?");
    EXPECT_REDACTED("redis", "SADD key SECRET", "SADD key ?");
    EXPECT_REDACTED("redis", "EVALSHA 0123 0 SECRET", "EVALSHA 0123 ? ?");
    EXPECT_REDACTED("redis", "CONFIG SET requirepass SECRET", "CONFIG SET requirepass ?");
    EXPECT_REDACTED("redis", "CLIENT SETNAME SECRET", "CLIENT SETNAME ?");
    EXPECT_REDACTED("redis", "PING SECRET", "PING ?");
    EXPECT_REDACTED("redis", "JSON.SET key SECRET", "JSON.SET key ?"); /* what is not known stores */
    EXPECT_REDACTED("redis", " SET it's SECRET", " SET it's ?");
    /* what Redis would not understand either */
    EXPECT_REDACTED("redis", "S\"E\"T k SECRET", "? ? ?");
    EXPECT_REDACTED("redis", "SET\tk\t\"SECRET", "?");
    EXPECT_REDACTED("redis", "HSET \"k f SECRET", "HSET ?");
    EXPECT_REDACTED("redis", "HSET 'k \"x' f SECRET\" y", "HSET 'k ? ?");
    EXPECT_REDACTED("redis", "HSET k\"a \"b SECRET\" y", "HSET k\"a ? ?");
    EXPECT_REDACTED("redis", "SETTLE key", "SETTLE key");
    EXPECT_REDACTED("redis", "", "");
}

static void other_protocols_are_left_alone(void **state)
{
    (void)state;
    EXPECT_REDACTED("http", "GET /?a='1' HTTP/1.1", "GET /?a='1' HTTP/1.1");
}

static void expect_line(const char *text, size_t length, size_t limit, bool is_truncated, bool is_json,
                        const char *expected, struct place place)
{
    char bytes[200];
    struct line line = { .bytes = bytes, .capacity = sizeof bytes - 1 };
    char *copy = malloc(length + 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    line_add_text(&line, copy, length, limit, is_truncated, is_json);
    free(copy);
    bytes[line.length] = '\0';
    if (strcmp(bytes, expected) != 0)
        test_fail_at(place, "expected: %s\ngot: %s", expected, bytes);
}

static void characters_have_numbers_where_only_ascii_may_stand(void **state)
{
    static const char text[] = "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xff";
    char bytes[100];
    struct line line = { .bytes = bytes, .capacity = sizeof bytes - 1, .is_ascii = true };
    (void)state;
    line_add_text(&line, text, sizeof text - 1, 100, false, true);
    bytes[line.length] = '\0';
    assert_string_equal(bytes, "\\u00e4\\u20ac\\ud83d\\ude00\\u00ff");
}

#define EXPECT_LINE(text, limit, is_truncated, is_json, expected)                                            \
    expect_line((text), sizeof(text) - 1, (limit), (is_truncated), (is_json), (expected), HERE)

static void texts_are_escaped(void **state)
{
    (void)state;
    EXPECT_LINE("a\n\"b\"\\\x1b[1m\0z", 100, false, false, "a\\n\"b\"\\\\\\x1b[1m\\x00z");
    EXPECT_LINE("a\n\"b\"\\\x1b[1m\0z", 100, false, true, "a\\n\\\"b\\\"\\\\\\u001b[1m\\u0000z");
    /* UTF-8 passes in JSON where it is right; control characters in it, surrogates and long forms are not */
    EXPECT_LINE("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 100, false, true,
                "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    EXPECT_LINE("\xc2\x9b\xed\xa0\x80\xc0\x80\xc3", 100, false, true,
                "\\u00c2\\u009b\\u00ed\\u00a0\\u0080\\u00c0\\u0080\\u00c3");
    EXPECT_LINE("\xc3\xa4", 100, false, false, "\\xc3\\xa4");
    EXPECT_LINE("abcdef", 3, false, false, "abc...");
    EXPECT_LINE("abc", 3, false, false, "abc");
    EXPECT_LINE("abc", 3, true, false, "abc...");
}

static void a_line_never_grows_beyond_its_room(void **state)
{
    (void)state;
    char bytes[10];
    struct line line = { .bytes = bytes, .capacity = sizeof bytes };
    line_add(&line, "12345678");
    line_add_text(&line, "\x01\x02\x03", 3, 100, false, false);
    line_print(&line, "%d", 1234567);
    assert_true(line.length <= sizeof bytes);
}

/* What does not fit is marked as cut, in the room that there is. */
static void a_text_without_room_is_cut(void **state)
{
    (void)state;
    char bytes[40];
    struct line line = { .bytes = bytes, .capacity = sizeof bytes };
    line_add_text(&line, "\x01\x01\x01\x01\x01\x01\x01\x01\x01", 9, 100, false, true);
    assert_int_equal(line.length, 6 * 6 + 3);
    assert_memory_equal(bytes + line.length - 9, "\\u0001...", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_of_sql_are_left_out),
        cmocka_unit_test(what_is_a_literal_depends_on_the_server),
        cmocka_unit_test(what_redis_stores_is_left_out),
        cmocka_unit_test(other_protocols_are_left_alone),
        cmocka_unit_test(texts_are_escaped),
        cmocka_unit_test(characters_have_numbers_where_only_ascii_may_stand),
        cmocka_unit_test(a_line_never_grows_beyond_its_room),
        cmocka_unit_test(a_text_without_room_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
