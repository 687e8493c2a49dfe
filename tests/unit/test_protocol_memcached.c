/* The memcached framer: doc/protocol.txt of memcached, and what its versions do where that is silent. */
#include "unit/framing.h"

#include "protocol/memcached.h"
#include "protocol/protocols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIFTY      "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcd"
#define KEY_250    FIFTY FIFTY FIFTY FIFTY FIFTY
#define BAD_FORMAT "CLIENT_ERROR bad command line format\\r\\n\n"

/* A case of requests or, with `answers`, of responses to them. */
struct example {
    const char *requests;
    const char *answers;
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

static void expect_answers(const struct example *examples, size_t count)
{
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    for (size_t i = 0; i < count; i++)
        framing_expect_responses_at(&settings, text(examples[i].requests), text(examples[i].answers), false,
                                    examples[i].expected, HERE);
}

#define EXPECT_REQUESTS(examples) expect_requests((examples), sizeof(examples) / sizeof((examples)[0]))
#define EXPECT_ANSWERS(examples)  expect_answers((examples), sizeof(examples) / sizeof((examples)[0]))

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
        { "set a 0 0 3 noreply\r\nabc\r\nget a\r\n", NULL,
          "forward set a 0 0 3\\r\\nabc\\r\\n\nforward get a\\r\\n\n" },
        { "set a 0 0 3   noreply  \nabc\r\n", NULL, "forward set a 0 0 3\\nabc\\r\\n\n" },
        { "cas a 0 0 3 7 noreply\r\nabc\r\n", NULL, "forward cas a 0 0 3 7\\r\\nabc\\r\\n\n" },
        { "delete a noreply\r\n", NULL, "forward delete a\\r\\n\n" },
        { "delete a 0 noreply\r\n", NULL, "forward delete a 0\\r\\n\n" },
        { "incr a 1 noreply\r\ndecr a 1 noreply\r\n", NULL,
          "forward incr a 1\\r\\n\nforward decr a 1\\r\\n\n" },
        { "touch a 0 noreply\r\n", NULL, "forward touch a 0\\r\\n\n" },
        { "flush_all noreply\r\n", NULL, "forward flush_all\\r\\n\n" },
        { "flush_all 5 noreply\r\n", NULL, "forward flush_all 5\\r\\n\n" },
        { "verbosity 1 noreply\r\n", NULL, "forward verbosity 1\\r\\n\n" },
        { "cache_memlimit 64 noreply\r\n", NULL, "forward cache_memlimit 64\\r\\n\n" },
        { "slabs automove 1 noreply\r\n", NULL, "forward slabs automove 1\\r\\n\n" },
        { "lru mode flat noreply\r\n", NULL, "forward lru mode flat\\r\\n\n" },
        { "lru_crawler enable noreply\r\n", NULL, "forward lru_crawler enable\\r\\n\n" },
        { "incr a noreply\r\n", NULL, "forward incr a\\r\\n\n" },
        /* With one taken away there is still one: memcached would say nothing. */
        { "flush_all noreply noreply\r\n", NULL, "local \n" },
        { "delete noreply noreply\r\n", NULL, "local \n" },
        { "delete noreply\r\nincr noreply\r\n", NULL, "local " BAD_FORMAT "local ERROR\\r\\n\n" },
        { "lru_crawler what noreply\r\n", NULL, "local \n" },
        /* Wrong ones are not answered, but closed all the same. */
        { "set a 0 0 noreply\r\n", NULL, "broken \n" },
        { "set a 0 0 -1 noreply\r\n", NULL, "broken \n" },
        { "set a 0 0 3 noreply noreply\r\nabc\r\n", NULL, "broken \n" },
        { "set a 0 0 3 noreply\r\nabcd\r\n", NULL, "broken \n" },
        { "set a 0 0 3 noreply x\r\nabc\r\n", NULL, "broken " BAD_FORMAT },
    };
    EXPECT_REQUESTS(examples);
}

static void what_can_be_said_here_is_said_here(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "mn\r\nget a\r\n", NULL, "local MN\\r\\n\nforward get a\\r\\n\n" },
        { "mn\nmn x\r\n", NULL, "local MN\\r\\n\nlocal MN\\r\\n\n" },
        { "quit\r\nget a\r\n", NULL, "local [closes] \n" },
        { "get a\r\nquit x\n", NULL, "forward get a\\r\\n\nlocal [closes] \n" },
        { "watch\r\nwatch mutations\r\n", NULL,
          "local [refused] CLIENT_ERROR watch commands not allowed\\r\\n\n"
          "local [refused] CLIENT_ERROR watch commands not allowed\\r\\n\n" },
        { "shutdown\r\nshutdown graceful\r\n", NULL,
          "local [refused] ERROR: shutdown not enabled\\r\\n\n"
          "local [refused] ERROR: shutdown not enabled\\r\\n\n" },
        { "\r\n\na\r\nGET a\r\nget\ra\r\n", NULL,
          "local ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\nbroken " BAD_FORMAT },
        { "mx a\r\nbget a\r\nmisbehave\r\ndebugtime p\r\n  \r\n nothing\r\n", NULL,
          "local ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\n"
          "local ERROR\\r\\n\nlocal ERROR\\r\\n\n" },
        { "get\r\ngat 0\r\ngats\r\n", NULL, "local ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\n" },
        /* The answers to the commands before would be lost. */
        { "get a " KEY_250 "x b\r\nget a\r\n", NULL, "local " BAD_FORMAT "forward get a\\r\\n\n" },
        { "mg " KEY_250 "x v\r\nmg a a a a a a a a a a a a a a a a a a a\r\n", NULL,
          "local " BAD_FORMAT "local CLIENT_ERROR options flags are too long\\r\\n\n" },
        /* 1.6.45 takes the beginnings of words for the words. */
        { "lru_crawler m all\r\nlru_crawler\r\nlru_crawler metadumps all\r\n", NULL,
          "local ERROR\\r\\n\nlocal ERROR\\r\\n\nlocal ERROR\\r\\n\n" },
        { "lru 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 noreply 20\r\n", NULL, "local ERROR\\r\\n\n" },
        /* As memcached does, for a browser's request may have commands in its body. */
        { "GET / HTTP/1.1\r\nset a 0 0 1\r\n", NULL, "broken \n" },
        { "POST /x HTTP/1.0\n", NULL, "broken \n" },
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
        { "set a 0 0 3\r\nabcd\r\n", NULL, "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "set a 0 0 3\r\nabc\n", NULL, "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "set a 0 0 3\r\nabc\rx", NULL, "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "set a 0 0 0\r\nab", NULL, "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "ms a 2\r\nabc\r\n", NULL, "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "ms a 2 q\r\nabc\r\n", NULL, "broken CLIENT_ERROR bad data chunk\\r\\n\n" },
        { "set a 0 0 3\r\nab", NULL, "more set a 0 0 3\\r\\nab\n" },
        { "set a 0 0 3\r\nabc\r", NULL, "more set a 0 0 3\\r\\nabc\\r\n" },
        { "set a 0 0 3", NULL, "more \n" },
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

static void answers_end_where_they_end(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "get a b\r\nget c\r\n", "VALUE a 0 5\r\nEND\r\n\r\nVALUE b 1 0\r\n\r\nEND\r\nEND\r\n",
          "answer VALUE a 0 5\\r\\nEND\\r\\n\\r\\nVALUE b 1 0\\r\\n\\r\\nEND\\r\\n\nanswer END\\r\\n\n" },
        { "gets a\r\n", "VALUE a 0 3 77\r\nabc\r\nEND\r\n",
          "answer VALUE a 0 3 77\\r\\nabc\\r\\nEND\\r\\n\n" },
        { "gat 0 a\r\n", "CLIENT_ERROR invalid exptime argument\r\n",
          "answer CLIENT_ERROR invalid exptime argument\\r\\n\n" },
        { "get a b\r\n", "VALUE a 0 1\r\nx\r\nSERVER_ERROR something\r\n",
          "answer VALUE a 0 1\\r\\nx\\r\\nSERVER_ERROR something\\r\\n\n" },
        { "set a 0 0 1\r\nx\r\nadd a 0 0 1\r\nx\r\ncas a 0 0 1 1\r\nx\r\ncas b 0 0 1 1\r\nx\r\n",
          "STORED\r\nNOT_STORED\r\nEXISTS\r\nNOT_FOUND\r\n",
          "answer STORED\\r\\n\nanswer NOT_STORED\\r\\n\nanswer EXISTS\\r\\n\nanswer NOT_FOUND\\r\\n\n" },
        { "set a 0 0 1\r\nx\r\n", "SERVER_ERROR object too large for cache\r\n",
          "answer SERVER_ERROR object too large for cache\\r\\n\n" },
        { "delete a\r\ntouch a 0\r\nincr a 1\r\ndecr a 1\r\nincr b 1\r\n",
          "DELETED\r\nTOUCHED\r\n18446744073709551615\r\nNOT_FOUND\r\n"
          "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
          "answer DELETED\\r\\n\nanswer TOUCHED\\r\\n\nanswer 18446744073709551615\\r\\n\n"
          "answer NOT_FOUND\\r\\n\n"
          "answer CLIENT_ERROR cannot increment or decrement non-numeric value\\r\\n\n" },
        { "mg a v\r\nmg a\r\nmg a\r\nms a 1\r\nx\r\nmd a\r\nma a v\r\nmg a\r\n",
          "VA 4 t5 kfoo\r\nMN\r\n\r\nHD\r\nEN\r\nNS\r\nNF O1\r\nVA 2\r\n10\r\nOK s5\r\n",
          "answer VA 4 t5 kfoo\\r\\nMN\\r\\n\\r\\n\nanswer HD\\r\\n\nanswer EN\\r\\n\nanswer NS\\r\\n\n"
          "answer NF O1\\r\\n\nanswer VA 2\\r\\n10\\r\\n\nanswer OK s5\\r\\n\n" },
        { "ms a 1 z\r\nx\r\nme a\r\nme b\r\n", "CLIENT_ERROR duplicate flag\r\nME a exp=-1 la=0\r\nEN\r\n",
          "answer CLIENT_ERROR duplicate flag\\r\\n\nanswer ME a exp=-1 la=0\\r\\n\nanswer EN\\r\\n\n" },
        { "stats\r\nstats reset\r\nstats detail on\r\nstats detail dump\r\nstats cachedump 1 1\r\nstats "
          "x\r\n",
          "STAT pid 1\r\nSTAT END 2\r\nEND\r\nRESET\r\nOK\r\nPREFIX a get 1\r\nEND\r\nITEM a [1 b; 0 s]\r\n"
          "END\r\nERROR\r\n",
          "answer STAT pid 1\\r\\nSTAT END 2\\r\\nEND\\r\\n\nanswer RESET\\r\\n\nanswer OK\\r\\n\n"
          "answer PREFIX a get 1\\r\\nEND\\r\\n\nanswer ITEM a [1 b; 0 s]\\r\\nEND\\r\\n\nanswer "
          "ERROR\\r\\n\n" },
        { "version\r\nflush_all\r\nverbosity 1\r\nslabs reassign 1 2\r\nshutdown\r\nrefresh_certs\r\n",
          "VERSION 1.6.18\r\nOK\r\nOK\r\nNOSPARE source class has no spare pages\r\nError TLS not "
          "enabled\r\n",
          "answer VERSION 1.6.18\\r\\n\nanswer OK\\r\\n\nanswer OK\\r\\n\n"
          "answer NOSPARE source class has no spare pages\\r\\n\nanswer Error TLS not enabled\\r\\n\n" },
        { "lru_crawler metadump all\r\nversion\r\n", "key=a exp=-1\nkey=END exp=-1\nEND\r\nVERSION 1\r\n",
          "answer key=a exp=-1\\nkey=END exp=-1\\nEND\\r\\n\nanswer VERSION 1\\r\\n\n" },
        { "lru_crawler metadump all\r\nlru_crawler metadump x\r\nlru_crawler metadump all\r\n",
          "BUSY currently processing crawler request\r\nBADCLASS invalid class id\r\n"
          "key=a exp=-1\nERROR locked try again later\r\n",
          "answer BUSY currently processing crawler request\\r\\n\n"
          "answer BADCLASS invalid class id\\r\\n\n"
          "answer key=a exp=-1\\nERROR locked try again later\\r\\n\n" },
        { "lru_crawler mgdump all\r\nlru_crawler mgdump all\r\nlru_crawler mgdump all\r\n",
          "OK\r\nmg EN\r\nmg OK b\r\nEN\r\nERROR\r\nNOTSTARTED no items to crawl\r\n",
          "answer OK\\r\\nmg EN\\r\\nmg OK b\\r\\nEN\\r\\n\nanswer ERROR\\r\\n\n"
          "answer NOTSTARTED no items to crawl\\r\\n\n" },
        { "lru_crawler crawl all\r\n", "OK\r\n", "answer OK\\r\\n\n" },
        { "get a\r\n", "VALUE a 0 5\r\nab", "more VALUE a 0 5\\r\\nab\n" },
        { "version\r\n", "VERSION 1\r\nVERSION 2\r\n", "answer VERSION 1\\r\\n\nstray\n" },
        { "set a 0 0 1\r\nx\r\n", "STORED\n", "answer STORED\\n\n" },
    };
    EXPECT_ANSWERS(examples);
}

/* Requests and answers are out of step, or the target is none of memcached. */
static void what_does_not_answer_the_command_breaks_the_connection(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "get a\r\n", "STORED\r\n", "broken \n" },
        { "get a\r\n", "VALUE a 0\r\n", "broken \n" },
        { "get a\r\n", "VALUE a 0 \r\n", "broken \n" },
        { "get a\r\n", "VALUE a 0 -1\r\n", "broken \n" },
        { "get a\r\n", "VALUE a 0 4294967296\r\n", "broken \n" },
        { "get a\r\n", "VALUE a 0 9223372036854775808\r\n", "broken \n" },
        { "get a\r\n", "VALUE a 0 18446744073709551618\r\n", "broken \n" },
        { "get a\r\n", "VALUE a 0 3\r\nabcd\r\n", "broken VALUE a 0 3\\r\\nabc\n" },
        { "get a\r\n", "VALUE a 0 3\r\nabc\rx", "broken VALUE a 0 3\\r\\nabc\\r\n" },
        { "get a\r\n", "ENDX\r\n", "broken \n" },
        { "get a\r\n", "\r\n", "broken \n" },
        { "get a\r\n", " END\r\n", "broken \n" },
        { "get a\r\n", "VA 3\r\nabc\r\n", "broken \n" },
        { "get a\r\n", "\x81\x0b\r\n", "broken \n" },
        { "set a 0 0 1\r\nx\r\n", "END\r\n", "broken \n" },
        { "set a 0 0 1\r\nx\r\n", "OK\r\n", "broken \n" },
        { "set a 0 0 1 noreply\r\nx\r\n", "END\r\n", "broken \n" },
        { "delete a\r\n", "STORED\r\n", "broken \n" },
        { "incr a 1\r\n", "-1\r\n", "broken \n" },
        { "mg a v\r\n", "VALUE a 0 3\r\n", "broken \n" },
        { "mg a v\r\n", "VA x\r\n", "broken \n" },
        { "mg a v\r\n", "VA\r\n", "broken \n" },
        { "mg a v\r\n", "MN\r\n", "broken \n" },
        { "mg a q\r\n", "MNX\r\n", "broken \n" },
        { "mg a q\r\n", "VA x\r\n", "broken \n" },
        { "mg a q\r\n", "END\r\n", "broken \n" },
        { "me a\r\n", "VA 1\r\n", "broken \n" },
        { "stats\r\n", "96 1\r\n", "broken \n" },
        { "stats\r\n", "VERSION 1\r\n", "broken \n" },
        { "version\r\n", "OK\r\n", "broken \n" },
        { "lru_crawler metadump all\r\n", "OK\r\n", "broken \n" },
        { "lru_crawler mgdump all\r\n", "key=a\n", "broken \n" },
    };
    EXPECT_ANSWERS(examples);
}

/* After these nobody can say which answer belongs to which command. */
static void some_errors_end_the_connection(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "mg a\r\nget b\r\n", "SERVER_ERROR out of memory writing get response\r\nEND\r\n",
          "answer [closes-target] SERVER_ERROR out of memory writing get response\\r\\n\n" },
        { "get a\r\n", "CLIENT_ERROR bad command line format\r\nEND\r\n",
          "answer [closes-target] CLIENT_ERROR bad command line format\\r\\n\n" },
        { "incr a\r\n", "CLIENT_ERROR bad command line format\r\n",
          "answer CLIENT_ERROR bad command line format\\r\\n\n" },
        { "set a 0 0 1\r\nx\r\n", "CLIENT_ERROR bad command line format\r\nERROR\r\n",
          "answer [closes-target] CLIENT_ERROR bad command line format\\r\\n\n" },
        { "set a 0 0 1 noreply\r\nx\r\n", "CLIENT_ERROR bad data chunk\r\nERROR\r\n",
          "answer [closes-target] \n" },
        { "ms a 1\r\nx\r\n", "ERROR\r\nERROR\r\n", "answer [closes-target] ERROR\\r\\n\n" },
        { "ms a 1\r\nx\r\n", "CLIENT_ERROR invalid flag\r\nERROR\r\n",
          "answer [closes-target] CLIENT_ERROR invalid flag\\r\\n\n" },
        { "mg a 1\r\n", "CLIENT_ERROR invalid flag\r\n", "answer CLIENT_ERROR invalid flag\\r\\n\n" },
        { "stats\r\n", "CLIENT_ERROR unauthenticated\r\n",
          "answer [closes-target] CLIENT_ERROR unauthenticated\\r\\n\n" },
        { "mg a v q\r\n", "ERROR\r\nERROR\r\n", "broken \n" },
        { "ms a 1 q\r\nx\r\n", "CLIENT_ERROR invalid flag\r\nERROR\r\nMN\r\n", "broken \n" },
        { "ma a 1 q\r\n", "CLIENT_ERROR invalid or duplicate flag\r\nMN\r\n",
          "answer CLIENT_ERROR invalid or duplicate flag\\r\\n\n" },
    };
    EXPECT_ANSWERS(examples);
}

static void answers_to_noreply_are_swallowed(void **state)
{
    (void)state;
    static const struct example examples[] = {
        { "set a 0 0 1 noreply\r\nx\r\nget a\r\ndelete a noreply\r\nincr a 1 noreply\r\nget a\r\n",
          "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nDELETED\r\nNOT_FOUND\r\nEND\r\n",
          "answer \nanswer VALUE a 0 1\\r\\nx\\r\\nEND\\r\\n\nanswer \nanswer \nanswer END\\r\\n\n" },
        { "set a 0 0 1 noreply\r\nx\r\nget a\r\n",
          "SERVER_ERROR object too large for cache\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
          "answer \nanswer VALUE a 0 1\\r\\nx\\r\\nEND\\r\\n\n" },
        { "lru_crawler metadump all noreply\r\nverbosity noreply\r\n", "key=a\nEND\r\nERROR\r\n",
          "answer \nanswer \n" },
    };
    EXPECT_ANSWERS(examples);
}

static void answers_to_a_run_end_with_mn(void **state)
{
    (void)state;
    static const struct example examples[] = {
        /* Ours, which is not the client's. */
        { "mg a v q\r\nmg b v q\r\nmg c v q\r\nget d\r\n", "VA 4\r\nMN\r\n\r\nVA 0 Ox\r\n\r\nMN\r\nEND\r\n",
          "answer VA 4\\r\\nMN\\r\\n\\r\\nVA 0 Ox\\r\\n\\r\\n\nanswer END\\r\\n\n" },
        { "mg a v q\r\nget d\r\n", "MN\r\nEND\r\n", "answer \nanswer END\\r\\n\n" },
        /* The client's. */
        { "mg a v q\r\nmn\r\nget d\r\n", "EN\r\nMN\r\nEND\r\n",
          "answer EN\\r\\nMN\\r\\n\nanswer END\\r\\n\n" },
        { "mg a v q\r\nmn\r\n", "MN\r\n", "answer MN\\r\\n\n" },
        /* Errors, and what is no success, arrive. */
        { "ms a 1 q\r\nx\r\nms b 1 q ME\r\nx\r\nmd c q\r\nma d q\r\nmn\r\n",
          "SERVER_ERROR out of memory storing object\r\nNS\r\nMN\r\nNF\r\n"
          "CLIENT_ERROR cannot increment or decrement non-numeric value\r\nMN\r\n",
          "answer SERVER_ERROR out of memory storing object\\r\\nNS\\r\\n\n"
          "answer NF\\r\\nCLIENT_ERROR cannot increment or decrement non-numeric value\\r\\nMN\\r\\n\n" },
        { "mg a q\r\n", "HD\r\nM", "more HD\\r\\n\n" },
    };
    EXPECT_ANSWERS(examples);
}

/* Lines longer than what is kept of one. */
static void long_lines_of_answers_are_passed_on(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    static const struct {
        const char *request;
        const char *word;
        bool passes;
        const char *end;
    } cases[] = {
        { "stats\r\n", "STAT ", true, "END\r\n" },   { "version\r\n", "VERSION ", true, "" },
        { "mg a q\r\n", "HD ", true, "MN\r\n" },     { "mg a q\r\n", "SERVER_ERROR ", true, "MN\r\n" },
        { "get a\r\n", "VALUE ", false, "END\r\n" }, { "mg a v\r\n", "VA 1 ", false, "" },
        { "get a\r\n", "END", false, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t shortest = MEMCACHED_VALUE_LINE_MAX + (cases[i].passes ? -4 : 1);
        for (size_t length = shortest; length < MEMCACHED_VALUE_LINE_MAX + 5; length++) {
            char bytes[2048], expected[2048], *line = long_line("", length);
            memcpy(line, cases[i].word, strlen(cases[i].word));
            if (strncmp(cases[i].word, "END", 3) == 0)
                memset(line + 3, 'x', length - 5);
            snprintf(bytes, sizeof bytes, "%s%s", line, cases[i].end);
            bool drops = strcmp(cases[i].end, "MN\r\n") == 0;
            snprintf(expected, sizeof expected, "answer %.*s\\r\\n%s\n", (int)length - 2, line,
                     !drops && cases[i].end[0] != '\0' ? "END\\r\\n" : "");
            framing_expect_responses_at(&settings, text(cases[i].request), text(bytes), false,
                                        cases[i].passes ? expected : "broken \n", HERE);
            free(line);
        }
    }
}

/* However the client's bytes are cut, it gets the same. The target here has `a` and `b` only. */
static void runs_give_the_same_answers_however_they_are_cut(void **state)
{
    (void)state;
    static const char requests[] =
        "mg a v q\r\nmg x v q\r\nms a 2 q\r\nmn\r\nmg b v q\r\nmn\r\nmg x q\r\nget a\r\nmn\r\n";
    static const struct {
        const char *command;
        const char *answer;
    } table[] = {
        { "mg a v q\r\n", "VA 1\r\nA\r\n" },
        { "mg b v q\r\n", "VA 1\r\nB\r\n" },
        { "mg x v q\r\n", "" },
        { "mg x q\r\n", "" },
        { "ms a 2 q\r\nmn\r\n", "NS\r\n" },
        { "get a\r\n", "VALUE a 0 1\r\nA\r\nEND\r\n" },
        { "mn\r\n", "MN\r\n" },
    };
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    for (size_t cut = 1; cut < sizeof requests; cut++) {
        struct memcached_client client = { 0 };
        struct memcached_link link = { 0 };
        struct buffer out = { 0 }, answer = { 0 }, target = { 0 }, received = { 0 };
        struct protocol_request request = { 0 };
        for (size_t piece = 0; piece < 2; piece++) {
            struct slice input = piece == 0 ? (struct slice){ requests, cut }
                                            : (struct slice){ requests + cut, sizeof requests - 1 - cut };
            while (input.length > 0) {
                if (protocol_memcached.read_request(&settings, &client, &request, &input, &out, &answer) !=
                    PROTOCOL_COMPLETE)
                    break;
                buffer_append(&received, buffer_bytes(&answer), answer.length);
                for (struct slice left = buffer_slice(&out); left.length > 0;) {
                    size_t i = 0;
                    while (strncmp(left.bytes, table[i].command, strlen(table[i].command)) != 0)
                        assert_true(++i < sizeof table / sizeof table[0]);
                    buffer_append_text(&target, table[i].answer);
                    slice_skip(&left, strlen(table[i].command));
                }
                struct slice answers = buffer_slice(&target);
                if (!request.local)
                    assert_int_equal(protocol_memcached.read_response(&settings, &link, &request, &answers,
                                                                      &received, NULL),
                                     PROTOCOL_COMPLETE);
                assert_int_equal(answers.length, 0);
                buffer_truncate(&target, 0);
                buffer_truncate(&out, 0);
                buffer_truncate(&answer, 0);
                memset(&request, 0, sizeof request);
            }
        }
        buffer_append(&received, "", 1);
        assert_string_equal(buffer_bytes(&received),
                            "VA 1\r\nA\r\nNS\r\nVA 1\r\nB\r\nMN\r\nVALUE a 0 1\r\nA\r\nEND\r\nMN\r\n");
        buffer_free(&out);
        buffer_free(&answer);
        buffer_free(&target);
        buffer_free(&received);
    }
}

static void errors_are_said_as_memcached_says_them(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    framing_expect_error(&settings, "get a\r\n", REASON_REQUEST_TIMEOUT,
                         "SERVER_ERROR proximux: no answer from the server in time\r\n");
    framing_expect_error(&settings, "get a", REASON_CLIENT_STALLED,
                         "SERVER_ERROR proximux: the request came too slowly\r\n");
    framing_expect_error(&settings, "set a 0 0 9\r\nab", REASON_DRAINED,
                         "SERVER_ERROR proximux: shutting down\r\n");
    framing_expect_error(&settings, "set a 0 0 1 noreply\r\nx\r\n", REASON_TARGET_CLOSED, "");
    framing_expect_error(&settings, "set a 0 0 9 noreply\r\nx", REASON_OVER_LIMIT, "");
    framing_expect_error(&settings, "mg a q\r\nmg b q\r\n", REASON_TARGET_RESET,
                         "SERVER_ERROR proximux: the server reset the connection\r\n");
    /* Its client reads on up to the MN. */
    framing_expect_error(&settings, "mg a q\r\nmn\r\n", REASON_QUEUE_FULL,
                         "SERVER_ERROR proximux: too many requests are waiting\r\nMN\r\n");
    for (int reason = 0; reason < REASON_COUNT; reason++) {
        struct protocol_request request = { 0 };
        struct buffer out = { 0 };
        assert_true(protocol_memcached.write_error(&settings, &request, (enum reason)reason, &out));
        assert_true(out.length > strlen("SERVER_ERROR proximux: \r\n"));
        request.begun = true;
        assert_false(protocol_memcached.write_error(&settings, &request, (enum reason)reason, &out));
        buffer_free(&out);
    }
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

static void bytes_of_answers_are_looked_at_once(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    struct memcached_link link = { 0 };
    struct memcached_context context = { .answer = MEMCACHED_STATS };
    struct protocol_request request = { 0 };
    struct buffer out = { 0 };
    memcpy(request.context, &context, sizeof context);
    char *line = long_line("STAT ", 100000);
    for (size_t i = 0; i < 100000; i++) {
        struct slice piece = { line + i, 1 };
        assert_int_equal(protocol_memcached.read_response(&settings, &link, &request, &piece, &out, NULL),
                         PROTOCOL_MORE);
    }
    assert_true(link.looked_at == 100000);
    assert_int_equal(out.length, 100000);
    buffer_free(&out);
    free(line);
}

static void it_is_found_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(protocol_find("memcached"), &protocol_memcached);
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
        cmocka_unit_test(answers_end_where_they_end),
        cmocka_unit_test(what_does_not_answer_the_command_breaks_the_connection),
        cmocka_unit_test(some_errors_end_the_connection),
        cmocka_unit_test(answers_to_noreply_are_swallowed),
        cmocka_unit_test(answers_to_a_run_end_with_mn),
        cmocka_unit_test(long_lines_of_answers_are_passed_on),
        cmocka_unit_test(runs_give_the_same_answers_however_they_are_cut),
        cmocka_unit_test(errors_are_said_as_memcached_says_them),
        cmocka_unit_test(bytes_are_looked_at_once),
        cmocka_unit_test(bytes_of_answers_are_looked_at_once),
        cmocka_unit_test(it_is_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
