/* Requests to memcached: doc/protocol.txt of memcached, and what its versions do where that is silent. */
#include "unit/framing.h"

#include "protocol/memcached/memcached.h"
#include "protocol/protocols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIFTY      "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcd"
#define KEY_250    FIFTY FIFTY FIFTY FIFTY FIFTY
#define BAD_FORMAT "CLIENT_ERROR bad command line format\\r\\n\n"

struct example {
    const char *requests;
    const char *expected;
};

static struct slice text(const char *bytes)
{
    return (struct slice){ bytes, strlen(bytes) };
}

static void expect_requests(const struct example *examples, size_t count)
{
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    for (size_t i = 0; i < count; i++)
        framing_expect_requests_at(&settings, text(examples[i].requests), examples[i].expected, HERE);
}

#define EXPECT_REQUESTS(examples) expect_requests((examples), sizeof(examples) / sizeof((examples)[0]))

static void commands_go_out_as_they_came(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "get a\r\n",
        "get a b  c\r\n",
        "gets a\n",
        "gat 10 a b\r\n",
        "gats -1 a\r\n",
        "get " KEY_250 " b\r\n",
        "get noreply\r\n",
        "get a \xc3\xa4\xff\r\n",
        "set a 0 0 3\r\nabc\r\n",
        "set a 4294967295 -2147483647 0\r\n\r\n",
        "add a 1 2 003\nabc\r\n",
        "replace a 0 0 3\r\nabc\r\n",
        "append a 0 0 3\r\nabc\r\n",
        "prepend a 0 0 3\r\nabc\r\n",
        "cas a 0 0 3 18446744073709551615\r\nabc\r\n",
        "delete a\r\n",
        "delete a 0\r\n",
        "delete a 5\r\n",
        "incr a 1\r\n",
        "decr a 99999999999999999999999\r\n",
        "incr noreply 1\r\n",
        "incr a\r\n",
        "touch a 0\r\n",
        "mg a\r\n",
        "mg a v t k Oqueer\r\n",
        "mg q\r\n",
        "mg\r\n",
        "ms a 3 T0 F4294967295\r\nabc\r\n",
        "ms q 0\r\n\r\n",
        "md a I T30\r\n",
        "ma a MD D5 v\r\n",
        "me a\r\n",
        "me a q\r\n",
        "me\r\n",
        "version\r\n",
        "version noreply\r\n",
        "stats\r\n",
        "stats items\r\n",
        "stats noreply\r\n",
        "stats cachedump 1 10\r\n",
        "flush_all\r\n",
        "flush_all 10\r\n",
        "verbosity 1\r\n",
        "cache_memlimit 64\r\n",
        "slabs reassign 1 2\r\n",
        "lru mode flat\r\n",
        "lru_crawler crawl all\r\n",
        "lru_crawler metadump all\r\n",
        "lru_crawler mgdump hash\r\n",
        "extstore item_age 1\r\n",
        "refresh_certs\r\n",
    };
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        char expected[1024], *end = expected + sprintf(expected, "forward ");
        for (const char *c = commands[i]; *c != '\0'; c++)
            end += sprintf(end,
                           *c == '\r'                 ? "\\r"
                           : *c == '\n'               ? "\\n"
                           : (unsigned char)*c > 0x7e ? "\\x%02x"
                                                      : "%c",
                           (unsigned char)*c);
        sprintf(end, "\n");
        framing_expect_requests_at(&settings, text(commands[i]), expected, HERE);
    }
    framing_expect_requests(&settings, "set a 0 0 6 \r\n\r\n\0\r\n\xff\r\nget a\r\n",
                            "forward set a 0 0 6 \\r\\n\\r\\n\\x00\\r\\n\\xff\\r\\n\n"
                            "forward get a\\r\\n\n");
}

static void noreply_goes_out_without_the_word(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "set a 0 0 3 noreply\r\nabc\r\nget a\r\n",
          "forward set a 0 0 3\\r\\nabc\\r\\n\nforward get a\\r\\n\n" },
        { "set a 0 0 3   noreply  \nabc\r\n", "forward set a 0 0 3\\nabc\\r\\n\n" },
        { "cas a 0 0 3 7 noreply\r\nabc\r\n", "forward cas a 0 0 3 7\\r\\nabc\\r\\n\n" },
        { "delete a noreply\r\n", "forward delete a\\r\\n\n" },
        { "delete a 0 noreply\r\n", "forward delete a 0\\r\\n\n" },
        { "incr a 1 noreply\r\ndecr a 1 noreply\r\n", "forward incr a 1\\r\\n\nforward decr a 1\\r\\n\n" },
        { "touch a 0 noreply\r\n", "forward touch a 0\\r\\n\n" },
        { "flush_all noreply\r\n", "forward flush_all\\r\\n\n" },
        { "flush_all 5 noreply\r\n", "forward flush_all 5\\r\\n\n" },
        { "verbosity 1 noreply\r\n", "forward verbosity 1\\r\\n\n" },
        { "cache_memlimit 64 noreply\r\n", "forward cache_memlimit 64\\r\\n\n" },
        { "slabs automove 1 noreply\r\n", "forward slabs automove 1\\r\\n\n" },
        { "lru mode flat noreply\r\n", "forward lru mode flat\\r\\n\n" },
        { "lru_crawler enable noreply\r\n", "forward lru_crawler enable\\r\\n\n" },
        { "incr a noreply\r\n", "forward incr a\\r\\n\n" },
        /* With one taken away there is still one: memcached would say nothing. */
        { "flush_all noreply noreply\r\n", "local \n" },
        { "delete noreply noreply\r\n", "local \n" },
        { "delete noreply\r\nincr noreply\r\n", "local " BAD_FORMAT "local ERROR\\r\\n\n" },
        { "lru_crawler what noreply\r\n", "local \n" },
        /* Wrong ones are not answered, but closed all the same. */
        { "set a 0 0 noreply\r\n", "broken \n" },
        { "set a 0 0 -1 noreply\r\n", "broken \n" },
        { "set a 0 0 3 noreply noreply\r\nabc\r\n", "broken \n" },
        { "set a 0 0 3 noreply\r\nabcd\r\n", "broken \n" },
        { "set a 0 0 3 noreply x\r\nabc\r\n", "broken " BAD_FORMAT },
    };
    EXPECT_REQUESTS(examples);
}

static void what_can_be_said_here_is_said_here(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "mn\r\nget a\r\n", "local MN\\r\\n\nforward get a\\r\\n\n" },
        { "mn\nmn x\r\n", "local MN\\r\\n\nlocal MN\\r\\n\n" },
        { "quit\r\nget a\r\n", "local [closes] \n" },
        { "get a\r\nquit x\n", "forward get a\\r\\n\nlocal [closes] \n" },
        { "watch\r\nwatch mutations\r\n", "local [refused] CLIENT_ERROR watch commands not allowed\\r\\n\n"
                                          "local [refused] CLIENT_ERROR watch commands not allowed\\r\\n\n" },
        { "shutdown\r\nshutdown graceful\r\n", "local [refused] ERROR: shutdown not enabled\\r\\n\n"
                                               "local [refused] ERROR: shutdown not enabled\\r\\n\n" },
        { "\r\n\na\r\nGET a\r\nget\ra\r\n",
          "local ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\nbroken " BAD_FORMAT },
        { "mx a\r\nbget a\r\nmisbehave\r\ndebugtime p\r\n  \r\n nothing\r\n",
          "local ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\n"
          "local ERROR\\r\\n\nlocal ERROR\\r\\n\n" },
        { "get\r\ngat 0\r\ngats\r\n", "local ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\n" },
        /* The answers to the commands before would be lost. */
        { "get a " KEY_250 "x b\r\nget a\r\n", "local " BAD_FORMAT "forward get a\\r\\n\n" },
        { "mg " KEY_250 "x v\r\nmg a a a a a a a a a a a a a a a a a a a\r\n",
          "local " BAD_FORMAT "local CLIENT_ERROR options flags are too long\\r\\n\n" },
        /* 1.6.45 takes the beginnings of words for the words. */
        { "lru_crawler m all\r\nlru_crawler\r\nlru_crawler metadumps all\r\n",
          "local ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\n" },
        { "lru 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 noreply 20\r\n", "local ERROR\\r\\n\n" },
        /* As memcached does, for a browser's request may have commands in its body. */
        { "GET / HTTP/1.1\r\nset a 0 0 1\r\n", "broken \n" },
        { "POST /x HTTP/1.0\n", "broken \n" },
    };
    EXPECT_REQUESTS(examples);
}

/* Where it is not certain how long the data are, nothing passes, and there is no going on. */
static void doubtful_data_close_the_client(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "set",
        "set a",
        "set a 0 0",
        "set a 0 0 x",
        "set a 0 0 -1",
        "set a 0 0 +3",
        "set a 0 0 3x",
        "set a 0 0 0x3",
        "set a 0 0 2147483646",
        "set a 0 0 4294967299",
        "set a 0 0 9223372036854775808",
        "set a 0 0 18446744073709551619",
        "set a 0 0 99999999999999999999999999999999",
        "set a 0 0 3 x",
        "set a x 0 3",
        "set a -1 0 3",
        "set a 4294967296 0 3",
        "set a 0 x 3",
        "set a 0 - 3",
        "set a 0 2147483648 3",
        "set " KEY_250 "x 0 0 3",
        " set a 0 0 3",
        "set\ta 0 0 3",
        "set a\r 0 0 3",
        "set a 0 0 3\r",
        "set a\x7f 0 0 3",
        "append a 0 0",
        "cas a 0 0 3",
        "cas a 0 0 3 x",
        "cas a 0 0 3 -1",
        "cas a 0 0 3 18446744073709551616",
        "cas a 0 0 3 1 2",
        "ms",
        "ms a",
        "ms a q",
        "ms a S3",
        "ms a -1",
        "ms a 3x",
        "ms a 2147483646",
        "ms a 3 $",
        "ms a 3 1",
        "ms a 3 Fx",
        "ms a 3 F",
        "ms a 3 a a a a a a a a a a a a a a a a a",
        "ms " KEY_250 "x 3",
        " get a",
        "get a\tb",
    };
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char bytes[512];
        snprintf(bytes, sizeof bytes, "%s\r\nabc\r\nget a\r\n", lines[i]);
        framing_expect_requests_at(&settings, text(bytes), "broken " BAD_FORMAT, HERE);
    }
    framing_expect_requests(&settings, "get a\0b\r\n", "broken " BAD_FORMAT);
    framing_expect_requests(&settings, "set a\0 0 0 3\r\nabc\r\n", "broken " BAD_FORMAT);
}

static void data_have_to_end_with_a_line_end(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "set a 0 0 3\r\nabcd\r\n", "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "set a 0 0 3\r\nabc\n", "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "set a 0 0 3\r\nabc\rx", "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "set a 0 0 0\r\nab", "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "ms a 2\r\nabc\r\n", "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "ms a 2 q\r\nabc\r\n", "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "set a 0 0 3\r\nab", "more set a 0 0 3\\r\\nab\n" },
        { "set a 0 0 3\r\nabc\r", "more set a 0 0 3\\r\\nabc\\r\n" },
        { "set a 0 0 3", "more \n" },
    };
    EXPECT_REQUESTS(examples);
}

static void the_binary_protocol_is_refused(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    framing_expect_requests(&settings, "\x80\x0b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                            "broken CLIENT_ERROR the binary protocol is not supported\\r\\n\n");
    framing_expect_requests(&settings, "version\r\n\x80",
                            "forward version\\r\\n\n"
                            "broken CLIENT_ERROR the binary protocol is not supported\\r\\n\n");
}

/* `word` and then keys, so that the line has `length` bytes. */
static char *long_line(const char *word, size_t length)
{
    char *line = malloc(length + 1);
    assert_non_null(line);
    for (size_t i = 0; i < length; i++)
        line[i] = i % 50 == 49 ? ' ' : 'k';
    memcpy(line, word, strlen(word));
    memcpy(line + length - 2, "\r\n", 3);
    return line;
}

static void expect_long_line(const char *word, size_t length, bool passes, struct place place)
{
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    char *line = long_line(word, length), *expected = malloc(length + 16);
    assert_non_null(expected);
    if (passes)
        sprintf(expected, "forward %.*s\\r\\n\n", (int)length - 2, line);
    else
        sprintf(expected, "broken CLIENT_ERROR line too long\\r\\n\n");
    framing_expect_requests_at(&settings, text(line), expected, place);
    free(expected);
    free(line);
}

/* memcached closes on a longer one, unless it is a get or gets. */
static void lines_have_a_limit(void **state)
{
    (void)state;
    expect_long_line("gat 0 ", 2048, true, HERE);
    expect_long_line("gat 0 ", 2049, false, HERE);
    expect_long_line("gat 0 ", 70000, false, HERE);
    expect_long_line("nonsense ", 2049, false, HERE);
    expect_long_line("get ", 2049, true, HERE);
    expect_long_line("gets ", 65536, true, HERE);
    expect_long_line("get ", 65537, false, HERE);
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    settings.head_limit = 8;
    framing_expect_requests(&settings, "get ab\r\n", "forward get ab\\r\\n\n");
    framing_expect_requests(&settings, "get abc\r\n", "broken CLIENT_ERROR line too long\\r\\n\n");
    framing_expect_requests(&settings, "touch ab", "more \n");
    framing_expect_requests(&settings, "touch abc", "broken CLIENT_ERROR line too long\\r\\n\n");
}

/* Data are passed on as they come, whatever their size. */
static void large_data_stream(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    size_t size = 300000;
    char *bytes = malloc(size + 64), *expected = malloc(size + 64);
    assert_non_null(bytes);
    assert_non_null(expected);
    size_t head = (size_t)sprintf(bytes, "set a 0 0 %zu\r\n", size);
    memset(bytes + head, 'x', size);
    memcpy(bytes + head + size, "\r\n", 2);
    size_t length = (size_t)sprintf(expected, "forward set a 0 0 %zu\\r\\n", size);
    memset(expected + length, 'x', size);
    strcpy(expected + length + size, "\\r\\n\n");
    framing_expect_requests_at(&settings, (struct slice){ bytes, head + size + 2 }, expected, HERE);
    free(expected);
    free(bytes);
}

/* Where runs end depends on where the bytes are cut: each case is tried as it is given. */
static void expect_run(const char *requests, size_t first, const char *expected, struct place place)
{
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    char *transcript = framing_requests(&settings, text(requests), first, strlen(requests));
    if (strcmp(transcript, expected) != 0) {
        print_error("%s\nexpected:\n%s\n", transcript, expected);
        test_fail_at(place, "another transcript was expected");
    }
    free(transcript);
}

static void quiet_commands_go_out_in_runs(void **state)
{
    (void)state;
    expect_run("mg a v q\r\nmg b v q\r\n", 999, "forward mg a v q\\r\\nmg b v q\\r\\nmn\\r\\n\n", HERE);
    /* The client's own mn is the end, whatever it looks like. */
    expect_run("mg a v q\r\nmn\r\n", 999, "forward mg a v q\\r\\nmn\\r\\n\n", HERE);
    expect_run("mg a v q\r\nmn x\nmn\r\n", 999, "forward mg a v q\\r\\nmn\\r\\n\nlocal MN\\r\\n\n", HERE);
    expect_run("mg a v q\r\nmn\r\n", 10, "forward mg a v q\\r\\nmn\\r\\n\nlocal MN\\r\\n\n", HERE);
    expect_run("mg a v q\r\nmn\r\n", 12, "forward mg a v q\\r\\nmn\\r\\n\nlocal MN\\r\\n\n", HERE);
    /* What follows is another request. */
    expect_run("mg a v q\r\nmg b v\r\nmd b q\r\nget b\r\n", 999,
               "forward mg a v q\\r\\nmn\\r\\n\nforward mg b v\\r\\n\n"
               "forward md b q\\r\\nmn\\r\\n\nforward get b\\r\\n\n",
               HERE);
    expect_run("mg a v q\r\nnonsense\r\nmg b q\r\nmg c", 999,
               "forward mg a v q\\r\\nmn\\r\\n\nlocal ERROR\\r\\n\nforward mg b q\\r\\nmn\\r\\n\nmore \n",
               HERE);
    expect_run("md a q\r\nma a q\r\nquit\r\n", 999,
               "forward md a q\\r\\nma a q\\r\\nmn\\r\\n\nlocal [closes] \n", HERE);
    /* Data belong to it, if all of them are at hand and right; the first command's in any case. */
    expect_run("ms a 3 q\r\nabc\r\nms b 2 q\r\nxy\r\nmn\r\n", 999,
               "forward ms a 3 q\\r\\nabc\\r\\nms b 2 q\\r\\nxy\\r\\nmn\\r\\n\n", HERE);
    expect_run("ms a 3 q\r\nabc\r\nms b 2 q\r\nxy\r\nmn\r\n", 12,
               "forward ms a 3 q\\r\\nabc\\r\\nms b 2 q\\r\\nxy\\r\\nmn\\r\\n\n", HERE);
    expect_run("ms a 3 q\r\nabc\r\nms b 2 q\r\nxy\r\nmn\r\n", 28,
               "forward ms a 3 q\\r\\nabc\\r\\nmn\\r\\n\nforward ms b 2 q\\r\\nxy\\r\\nmn\\r\\n\n", HERE);
    expect_run("mg a q\r\nms b 2 q\r\nxyz\r\n", 999,
               "forward mg a q\\r\\nmn\\r\\n\nbroken CLIENT_ERROR bad data chunk\\r\\n\n", HERE);
    expect_run("mg a q\r\nms b 2147483645 q\r\nxyz\r\n", 999,
               "forward mg a q\\r\\nmn\\r\\n\nmore ms b 2147483645 q\\r\\nxyz\\r\\n\n", HERE);
    expect_run("mg a q\r\nms b x q\r\nxyz\r\n", 999, "forward mg a q\\r\\nmn\\r\\n\nbroken " BAD_FORMAT,
               HERE);
    expect_run("mg a q\r\nms b 1 q\r\nx\r\nmn\r\n", 999,
               "forward mg a q\\r\\nmn\\r\\n\nforward ms b 1 q\\r\\nx\\r\\nmn\\r\\n\n", HERE);
    /* A flag is known by its first byte. */
    expect_run("mg a v Oq\r\nmg q q2\r\n", 999, "forward mg a v Oq\\r\\n\nforward mg q q2\\r\\nmn\\r\\n\n",
               HERE);
}

static void runs_have_a_limit(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    settings.head_limit = 32;
    char *transcript =
        framing_requests(&settings, SLICE("mg a q\r\nmg b q\r\nmg c q\r\nmg d q\r\nmn\r\n"), 99, 99);
    assert_string_equal(transcript, "forward mg a q\\r\\nmg b q\\r\\nmg c q\\r\\nmn\\r\\n\n"
                                    "forward mg d q\\r\\nmn\\r\\n\n");
    free(transcript);
}

/* Reads requests byte by byte or in one piece; returns how many bytes were looked at. */
static uint64_t bytes_looked_at(struct slice input, size_t step)
{
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    struct memcached_client client = { 0 };
    struct protocol_request request = { 0 };
    struct buffer out = { 0 }, answer = { 0 };
    while (input.length > 0) {
        struct slice piece = { input.bytes, step < input.length ? step : input.length };
        slice_skip(&input, piece.length);
        while (piece.length > 0) {
            enum protocol_outcome outcome =
                protocol_memcached.read_request(&settings, &client, &request, &piece, &out, &answer);
            assert_int_not_equal(outcome, PROTOCOL_BROKEN);
            if (outcome == PROTOCOL_COMPLETE) {
                memset(&request, 0, sizeof request);
                buffer_truncate(&out, 0);
            }
        }
    }
    buffer_free(&out);
    buffer_free(&answer);
    return client.looked_at;
}

/* A line is searched for its end once; in a run, the line behind it once more, which then begins a request.
 */
static void bytes_are_looked_at_once(void **state)
{
    (void)state;
    char *line = long_line("get ", 60000);
    assert_true(bytes_looked_at(text(line), 1) == 60000);
    assert_true(bytes_looked_at(text(line), 7) == 60000);
    assert_true(bytes_looked_at(text(line), 60000) == 60000);
    free(line);
    size_t size = 0;
    char *runs = NULL;
    FILE *stream = open_memstream(&runs, &size);
    assert_non_null(stream);
    for (size_t i = 0; i < 3000; i++)
        fprintf(stream, "mg key%zu v q\r\nms a 20 q\r\n12345678901234567890\r\n%s", i,
                i % 7 == 0 ? "mn\r\n" : "");
    assert_int_equal(fclose(stream), 0);
    for (size_t step = 1; step < 5000; step += 61)
        assert_true(bytes_looked_at((struct slice){ runs, size }, step) <= 2 * size);
    free(runs);
}

static void it_is_found_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(protocols_find("memcached"), &protocol_memcached);
    assert_true(protocol_memcached.is_async);
    assert_false(protocol_memcached.aborts_on_close);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_go_out_as_they_came),
        cmocka_unit_test(noreply_goes_out_without_the_word),
        cmocka_unit_test(what_can_be_said_here_is_said_here),
        cmocka_unit_test(doubtful_data_close_the_client),
        cmocka_unit_test(data_have_to_end_with_a_line_end),
        cmocka_unit_test(the_binary_protocol_is_refused),
        cmocka_unit_test(lines_have_a_limit),
        cmocka_unit_test(large_data_stream),
        cmocka_unit_test(quiet_commands_go_out_in_runs),
        cmocka_unit_test(runs_have_a_limit),
        cmocka_unit_test(bytes_are_looked_at_once),
        cmocka_unit_test(it_is_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
