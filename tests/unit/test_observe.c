/* Sessions followed by framers, and without a protocol; texts; bounds. */
#include "unit/observing.h"

#include "protocol/describe.h"
#include "protocol/line/line.h"
#include "protocol/marks/marks.h"
#include "protocol/observe/observe.h"
#include "protocol/protocols.h"
#include "protocol/redis/redis.h"

#include <stdio.h>
#include <stdlib.h>

#define EXPECT(protocol, expected, ...)                                                                      \
    do {                                                                                                     \
        static const struct said session[] = { __VA_ARGS__, SAID_END };                                      \
        struct protocol_settings settings = observing_settings(protocol);                                    \
        observing_expect(&settings, session, (expected));                                                    \
    } while (0)

static void redis_commands_have_their_answers(void **state)
{
    (void)state;
    EXPECT("redis",
           "ask 1 SET a \"b c\" [29]\nask 2 get a [7]\nanswer 1 [5]\nanswer 2 [9]\n"
           "ask 3 NOPE [14]\nanswer 3 [12] ERR what?\n",
           CLIENT_SAYS("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nb c\r\nget a\r\n"),
           TARGET_SAYS("+OK\r\n$3\r\nb c\r\n"), CLIENT_SAYS("*1\r\n$4\r\nNOPE\r\n"),
           TARGET_SAYS("-ERR what?\r\n"));
}

/* What shared modes refuse, or answer without the target, is answered by the target here. */
static void redis_commands_that_can_not_be_shared_are_followed(void **state)
{
    (void)state;
    EXPECT("redis",
           "ask 1 SELECT 5 [10]\nask 2 MULTI [7]\nask 3 QUIT [6]\nanswer 1 [5]\nanswer 2 [5]\nanswer 3 [5]\n",
           CLIENT_SAYS("SELECT 5\r\nMULTI\r\nQUIT\r\n"), TARGET_SAYS("+OK\r\n+OK\r\n+OK\r\n"));
    EXPECT(
        "redis",
        "ask 1 SUBSCRIBE x [13]\nunanswered 1 [0]\nlost what follows can't be told apart in this protocol\n",
        CLIENT_SAYS("SUBSCRIBE x\r\n"), TARGET_SAYS("*3\r\n"));
    EXPECT("redis",
           "ask 1 client reply off [18]\nunanswered 1 [0]\nlost what follows can't be told apart in this "
           "protocol\n",
           CLIENT_SAYS("client reply off\r\n"));
    EXPECT("redis", "lost a request breaks the protocol\n", CLIENT_SAYS("POST / HTTP/1.1\r\n"));
}

static void http_is_followed(void **state)
{
    (void)state;
    EXPECT("http",
           "ask 1 GET /x HTTP/1.1 [28]\nanswer 1 [46] 404 Not Found\nask 2 HEAD / HTTP/1.1 [28]\nanswer 2 "
           "[38]\n",
           CLIENT_SAYS("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
           TARGET_SAYS("HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx"),
           CLIENT_SAYS("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"),
           TARGET_SAYS("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"));
    /* an answer that ends by close; what comes before the request is whole is no part of it */
    EXPECT("http", "ask 1 PUT / HTTP/1.1 [70]\nanswer 1 [22]\n",
           CLIENT_SAYS("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"),
           TARGET_SAYS("HTTP/1.1 100 Continue\r\n\r\n"), CLIENT_SAYS("ok"),
           TARGET_SAYS("HTTP/1.1 200 OK\r\n\r\nabc"), { TARGET_ENDS, { NULL, 0 } });
    EXPECT("http",
           "ask 1 GET / HTTP/1.1 [60]\nunanswered 1 [0]\nlost what follows can't be told apart in this "
           "protocol\n",
           CLIENT_SAYS("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
           TARGET_SAYS("HTTP/1.1 101"));
}

static void modbus_answers_are_told_by_ids(void **state)
{
    (void)state;
    EXPECT("modbus",
           "ask 1 unit 17 read holding registers 107 [12]\nask 2 unit 17 read holding registers 8 [12]\n"
           "answer 2 [9] exception 2: illegal data address\nanswer 1 [11]\n",
           CLIENT_SAYS("\0\1\0\0\0\6\x11\x03\0\x6b\0\1"
                       "\0\2\0\0\0\6\x11\x03\0\x08\0\1"),
           TARGET_SAYS("\0\2\0\0\0\3\x11\x83\2"
                       "\0\1\0\0\0\5\x11\x03\2\0\7"));
}

static void memcached_is_followed(void **state)
{
    (void)state;
    EXPECT("memcached",
           "ask 1 set a 0 0 1 noreply [24]\nanswer 1 [0]\nask 2 get a [7]\nask 3 what? [7]\nask 4 mn [4]\n"
           "answer 2 [21]\nanswer 3 [7] ERROR\nanswer 4 [4]\n",
           CLIENT_SAYS("set a 0 0 1 noreply\r\nx\r\n"), CLIENT_SAYS("get a\r\nwhat?\r\nmn\r\n"),
           TARGET_SAYS("VALUE a 0 1\r\nx\r\nEND\r\nERROR\r\nMN\r\n"));
}

static void lines_are_followed(void **state)
{
    (void)state;
    EXPECT("line", "ask 1 *IDN? [6]\nask 2 VOLT 1 [7]\nanswer 1 [5]\nunanswered 2 [2]\n",
           TARGET_SAYS("220 hello\n"), CLIENT_SAYS("*IDN?\nVOLT 1\n"), TARGET_SAYS("ACME\nok"));
}

static void without_a_protocol_chunks_are_messages(void **state)
{
    (void)state;
    static const struct said session[] = {
        TARGET_SAYS("hello"),
        CLIENT_SAYS("\x01\xff"),
        CLIENT_SAYS("more"),
        TARGET_SAYS("abc"),
        TARGET_SAYS("d"),
        CLIENT_SAYS("x"),
        SAID_END,
    };
    struct protocol_settings settings = observing_settings("raw");
    char *transcript = observing_transcript(&settings, session, 100, 100);
    assert_string_equal(transcript, "ask 1 01ff [2]\nanswer 1 [3]\nask 2 78 [1]\nunanswered 2 [0]\n");
    free(transcript);
}

static void expect_description(void (*describe)(const struct protocol_settings *, struct slice,
                                                struct buffer *),
                               struct slice bytes, const char *expected, struct place place)
{
    struct protocol_settings settings = observing_settings("redis");
    if (describe == protocol_marks.describe)
        *marks_own(&settings) = (struct marks_settings){ .start = SLICE("\x02"), .end = SLICE("\x03") };
    else
        line_own(&settings)->delimiter = SLICE("\n");
    /* in memory of its own size, and every beginning of it, which may say anything but must not read on */
    for (size_t length = 0; length <= bytes.length; length++) {
        struct buffer text = { 0 };
        char *copy = malloc(length > 0 ? length : 1);
        assert_non_null(copy);
        memcpy(copy, bytes.bytes, length);
        describe(&settings, (struct slice){ copy, length }, &text);
        if (length == bytes.length &&
            (text.length != strlen(expected) ||
             (text.length > 0 && memcmp(buffer_bytes(&text), expected, text.length) != 0)))
            test_fail_at(place, "expected: %s\ngot: %.*s", expected, (int)text.length, buffer_bytes(&text));
        buffer_free(&text);
        free(copy);
    }
}

#define EXPECT_DESCRIPTION(describe, bytes, expected)                                                        \
    expect_description((describe), SLICE(bytes), (expected), HERE)

static void messages_are_described(void **state)
{
    (void)state;
    EXPECT_DESCRIPTION(redis_describe, "*2\r\n$3\r\nGET\r\n$2\r\n\"\n\r\n", "GET \"\\\"\\x0a\"");
    EXPECT_DESCRIPTION(redis_describe, "*2\r\n$3\r\nGET\r\n$9\r\nabc", "GET abc...");
    EXPECT_DESCRIPTION(redis_describe, "\r\n*1\r\n$0\r\n\r\n", "\"\"");
    EXPECT_DESCRIPTION(redis_describe, "*-1\r\n", "");
    EXPECT_DESCRIPTION(redis_describe_error, "-WRONGTYPE x\r\n+OK\r\n", "WRONGTYPE x");
    EXPECT_DESCRIPTION(redis_describe_error, "!5\r\nERR x\r\n", "ERR x");
    EXPECT_DESCRIPTION(redis_describe_error, "$3\r\n-no\r\n", "");
    EXPECT_DESCRIPTION(describe_first_line, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1");
    EXPECT_DESCRIPTION(protocol_http.describe_error, "HTTP/1.1 404 Not Found\r\nA: b\r\n", "404 Not Found");
    EXPECT_DESCRIPTION(protocol_http.describe_error, "HTTP/1.1 200 OK\r\n", "");
    EXPECT_DESCRIPTION(protocol_memcached.describe_error, "SERVER_ERROR out of memory\r\n",
                       "SERVER_ERROR out of memory");
    EXPECT_DESCRIPTION(protocol_memcached.describe_error, "STORED\r\n", "");
    EXPECT_DESCRIPTION(protocol_line.describe, "MEAS:VOLT?\r\n", "MEAS:VOLT?");
    EXPECT_DESCRIPTION(protocol_marks.describe, "\x02hello\x03", "hello");
    EXPECT_DESCRIPTION(protocol_modbus.describe, "\0\1\0\0\0\6\x11\x03\0\x6b\0\3",
                       "unit 17 read holding registers 107-109");
    EXPECT_DESCRIPTION(protocol_modbus.describe, "\0\1\0\0\0\6\x11\x05\0\x6b\xff\0",
                       "unit 17 write single coil 107");
    EXPECT_DESCRIPTION(protocol_modbus.describe, "\0\1\0\0\0\2\x11\x64", "unit 17 function 100");
    EXPECT_DESCRIPTION(protocol_modbus.describe_error, "\0\1\0\0\0\3\x11\x83\2",
                       "exception 2: illegal data address");
    EXPECT_DESCRIPTION(protocol_modbus.describe_error, "\0\1\0\0\0\3\x11\x03\2", "");
}

/* What is attached counts, is replaced, and goes with its text. */
static void texts_have_others_attached(void **state)
{
    (void)state;
    struct text_store store;
    struct text *text = text_create(SLICE("SELECT ?"), 100), *other = text_create(SLICE("SELECT"), 100);
    struct text *attached = text_create(SLICE("types"), 100), *found = text;
    assert_true(text != NULL && other != NULL && attached != NULL);
    text_store_init(&store, 10000);
    text_store_put(&store, SLICE("a"), text, NULL);
    text_store_put(&store, SLICE("b"), other, attached);
    size_t size = store.size;
    assert_ptr_equal(text_store_get(&store, SLICE("a"), &found), text);
    assert_null(found);
    text_store_attach(&store, text, attached);
    assert_true(store.size >= size + attached->length);
    assert_ptr_equal(text_store_get(&store, SLICE("a"), &found), text);
    assert_ptr_equal(found, attached);
    text_store_attach(&store, text, NULL);
    assert_int_equal(store.size, size);
    assert_null(text_store_get(&store, SLICE("c"), &found));
    assert_null(found);
    assert_int_equal(attached->references, 2);
    text_store_remove(&store, SLICE("b"));
    assert_int_equal(attached->references, 1);
    text_store_attach(&store, other, attached); /* no longer there */
    assert_int_equal(attached->references, 1);
    text_store_clear(&store);
    text_release(text);
    text_release(other);
    text_release(attached);
}

static void told_how_whole(void *owner, const struct observation *observation)
{
    *(bool *)owner = observation->is_truncated;
}

static void told_nothing(void *owner, const struct observation *observation)
{
    (void)owner;
    (void)observation;
}

/* Whether the text of a request of so many bytes, its beginning and its end aside, is said to be cut. */
static bool is_said_to_be_cut(const char *protocol, const char *begin, size_t length, const char *end)
{
    static const struct observer_hooks hooks = { told_how_whole, told_nothing, told_nothing, NULL };
    struct protocol_settings settings = observing_settings(protocol);
    struct observer_settings observed = { &settings, 64, 64, 64 };
    bool is_truncated = false;
    char *middle = malloc(length + 1);
    assert_non_null(middle);
    memset(middle, 'x', length);
    struct observer *observer = observer_create(&observed, &hooks, &is_truncated);
    assert_non_null(observer);
    if (begin[0] != '\0')
        observer_client_bytes(observer, begin, strlen(begin), 1000);
    observer_client_bytes(observer, middle, length, 1000);
    if (end[0] != '\0')
        observer_client_bytes(observer, end, strlen(end), 1000);
    assert_false(observer->is_silent);
    observer_destroy(observer);
    free(middle);
    return is_truncated;
}

static void what_is_cut_of_a_text_is_known(void **state)
{
    (void)state;
    assert_false(is_said_to_be_cut("line", "", 1000, "\n"));
    assert_true(is_said_to_be_cut("line", "", 100000, "\n"));
    assert_false(is_said_to_be_cut("raw", "", 256, ""));
    assert_true(is_said_to_be_cut("raw", "", 257, ""));
    /* a body leaves the request line what it is */
    assert_false(is_said_to_be_cut("http", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
                                   100000, ""));
    assert_false(is_said_to_be_cut("memcached", "set key 0 0 100000\r\n", 100000, "\r\n"));
    struct protocol_settings http = observing_settings("http");
    assert_true(describe_is_cut(&http, SLICE("\r\nGET /long"), 1000));
    assert_false(describe_is_cut(&http, SLICE("\r\nGET / HTTP/1.1\r\n"), 1000));
    assert_false(describe_is_cut(&http, SLICE("GET /"), 5));
}

static void a_store_of_texts_is_bounded(void **state)
{
    (void)state;
    struct text_store store;
    struct text *text = text_create(SLICE("0123456789"), 8);
    assert_non_null(text);
    assert_int_equal(text->length, 8);
    assert_true(text->is_truncated);
    text_store_init(&store, 10000);
    for (uint32_t i = 0; i < 1000; i++) {
        text_store_put(&store, (struct slice){ (const char *)&i, sizeof i }, text, NULL);
        assert_true(store.size <= 10000);
        /* the first one is used again and again, and stays */
        assert_ptr_equal(text_store_get(&store, (struct slice){ "\0\0\0\0", 4 }, NULL), text);
    }
    uint32_t one = 1, last = 999;
    assert_null(text_store_get(&store, (struct slice){ (const char *)&one, sizeof one }, NULL));
    assert_ptr_equal(text_store_get(&store, (struct slice){ (const char *)&last, sizeof last }, NULL), text);
    text_store_remove(&store, (struct slice){ (const char *)&last, sizeof last });
    assert_null(text_store_get(&store, (struct slice){ (const char *)&last, sizeof last }, NULL));
    text_store_clear(&store);
    assert_int_equal(store.size, 0);
    assert_int_equal(text->references, 1);
    text_release(text);
}

struct counts {
    size_t asked;
    size_t with_text;
    size_t unanswered;
    size_t lost;
};

static void count_asked(void *owner, const struct observation *observation)
{
    struct counts *counts = owner;
    counts->asked++;
    counts->with_text += observation->text.length > 0 ? 1 : 0;
}

static void count_unanswered(void *owner, const struct observation *observation)
{
    (void)observation;
    ((struct counts *)owner)->unanswered++;
}

static void count_lost(void *owner, const char *why)
{
    (void)why;
    ((struct counts *)owner)->lost++;
}

/* A client that pipelines without end, and a target that never answers. */
static void what_is_pending_is_bounded(void **state)
{
    (void)state;
    static const struct observer_hooks hooks = { count_asked, count_asked, count_unanswered, count_lost };
    struct protocol_settings settings = observing_settings("redis");
    struct observer_settings observed = { &settings, 0, 0, 0 };
    struct counts counts = { 0 };
    struct observer *observer = observer_create(&observed, &hooks, &counts);
    assert_non_null(observer);
    char request[2000];
    int length = snprintf(request, sizeof request, "GET %01000d\r\n", 7);
    for (int i = 0; i < OBSERVE_PENDING_MAX + 1; i++)
        observer_client_bytes(observer, request, (size_t)length, i);
    assert_int_equal(counts.asked, OBSERVE_PENDING_MAX);
    assert_int_equal(counts.with_text, OBSERVE_TEXTS_MAX / 1004);
    assert_int_equal(counts.unanswered, OBSERVE_PENDING_MAX);
    assert_int_equal(counts.lost, 1);
    assert_true(observer->is_silent);
    observer_client_bytes(observer, request, (size_t)length, 0);
    assert_int_equal(counts.asked, OBSERVE_PENDING_MAX);
    observer_destroy(observer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_commands_have_their_answers),
        cmocka_unit_test(redis_commands_that_can_not_be_shared_are_followed),
        cmocka_unit_test(http_is_followed),
        cmocka_unit_test(modbus_answers_are_told_by_ids),
        cmocka_unit_test(memcached_is_followed),
        cmocka_unit_test(lines_are_followed),
        cmocka_unit_test(without_a_protocol_chunks_are_messages),
        cmocka_unit_test(messages_are_described),
        cmocka_unit_test(what_is_cut_of_a_text_is_known),
        cmocka_unit_test(a_store_of_texts_is_bounded),
        cmocka_unit_test(texts_have_others_attached),
        cmocka_unit_test(what_is_pending_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
