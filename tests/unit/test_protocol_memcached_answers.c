/* Answers of memcached, and errors that take their place. */
#include "unit/framing.h"

#include "protocol/memcached/memcached.h"
#include "protocol/protocols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct example {
    const char *requests;
    const char *answers;
    const char *expected;
};

static struct slice text(const char *bytes)
{
    return (struct slice){ bytes, strlen(bytes) };
}

static void expect_answers(const struct example *examples, size_t count)
{
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    for (size_t i = 0; i < count; i++)
        framing_expect_responses_at(&settings, text(examples[i].requests), text(examples[i].answers), false,
                                    examples[i].expected, HERE);
}

#define EXPECT_ANSWERS(examples) expect_answers((examples), sizeof(examples) / sizeof((examples)[0]))

/* A line of so many bytes. */
static char *long_line(size_t length)
{
    char *line = malloc(length + 1);
    assert_non_null(line);
    memset(line, 'x', length);
    memcpy(line + length - 2, "\r\n", 3);
    return line;
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
        { "stats sizes_enable\r\nget a\r\nstats sizes_disable x\r\nget a\r\nstats sizes_enable\r\nget a\r\n",
          "STAT sizes_status enabled\r\nEND\r\nSTAT sizes_status disabled\r\nEND\r\n"
          "STAT sizes_status error\r\nSTAT sizes_error no_memory\r\nEND\r\n",
          "answer STAT sizes_status enabled\\r\\n\nanswer END\\r\\n\n"
          "answer STAT sizes_status disabled\\r\\n\nanswer END\\r\\n\n"
          "answer STAT sizes_status error\\r\\nSTAT sizes_error no_memory\\r\\n\nanswer END\\r\\n\n" },
        { "stats sizes_enable\r\nget a\r\n", "ERROR\r\nEND\r\n", "answer ERROR\\r\\n\nanswer END\\r\\n\n" },
        { "stats sizes_status\r\n", "STAT sizes_status disabled\r\nEND\r\n",
          "answer STAT sizes_status disabled\\r\\nEND\\r\\n\n" },
        { "version\r\nflush_all\r\nverbosity 1\r\nslabs reassign 1 2\r\nshutdown\r\nrefresh_certs\r\n",
          "VERSION 1.6.18\r\nOK\r\nOK\r\nNOSPARE source class has no spare pages\r\nError TLS not "
          "enabled\r\n",
          "answer VERSION 1.6.18\\r\\n\nanswer OK\\r\\n\nanswer OK\\r\\n\n"
          "answer NOSPARE source class has no spare pages\\r\\n\nanswer Error TLS not enabled\\r\\n\n" },
        { "lru_crawler metadump all\r\nversion\r\n", "key=a exp=-1\nkey=END exp=-1\nEND\r\nVERSION 1\r\n",
          "answer key=a exp=-1\\nkey=END exp=-1\\nEND\\r\\n\nanswer VERSION 1\\r\\n\n" },
        { "lru_crawler metadump all\r\nversion\r\n", "OK\r\nkey=a exp=-1\nEND\r\nVERSION 1\r\n",
          "answer OK\\r\\nkey=a exp=-1\\nEND\\r\\n\nanswer VERSION 1\\r\\n\n" },
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
        { "stats sizes_enable\r\n", "END\r\n", "broken \n" },
        { "version\r\n", "OK\r\n", "broken \n" },
        { "lru_crawler metadump all\r\n", "OK\r\nmg a\r\n", "broken OK\\r\\n\n" },
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
        size_t shortest = cases[i].passes ? MEMCACHED_VALUE_LINE_MAX - 4 : MEMCACHED_VALUE_LINE_MAX + 1;
        for (size_t length = shortest; length < MEMCACHED_VALUE_LINE_MAX + 5; length++) {
            char bytes[2048], expected[2048], *line = long_line(length);
            memcpy(line, cases[i].word, strlen(cases[i].word));
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

/* The end of an answer's data says nothing of the long line in the answer after it. */
static void a_long_line_in_a_run_does_not_end_it(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    char bytes[2048], expected[2048], *line = long_line(1200);
    memcpy(line, "HD ", 3);
    snprintf(bytes, sizeof bytes, "VA 1\r\nx\r\n%sMN\r\n", line);
    snprintf(expected, sizeof expected, "answer VA 1\\r\\nx\\r\\n\nanswer %.1198s\\r\\n\n", line);
    framing_expect_responses_at(&settings, text("mg a v\r\nmg b q\r\n"), text(bytes), false, expected, HERE);
    free(line);
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
        struct memcached_connection connection = { 0 };
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
                    assert_int_equal(protocol_memcached.read_response(&settings, &connection, &request,
                                                                      &answers, &received, NULL),
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
                         "SERVER_ERROR proximux: the target did not answer in time\r\n");
    framing_expect_error(&settings, "get a", REASON_CLIENT_STALLED,
                         "SERVER_ERROR proximux: the client was too slow\r\n");
    framing_expect_error(&settings, "set a 0 0 9\r\nab", REASON_DRAINED,
                         "SERVER_ERROR proximux: the service is shutting down\r\n");
    framing_expect_error(&settings, "set a 0 0 1 noreply\r\nx\r\n", REASON_TARGET_CLOSED, "");
    framing_expect_error(&settings, "set a 0 0 9 noreply\r\nx", REASON_OVER_LIMIT, "");
    framing_expect_error(&settings, "mg a q\r\nmg b q\r\n", REASON_TARGET_RESET,
                         "SERVER_ERROR proximux: the target reset the connection\r\n");
    /* Its client reads on up to the MN. */
    framing_expect_error(&settings, "mg a q\r\nmn\r\n", REASON_QUEUE_FULL,
                         "SERVER_ERROR proximux: too many requests are waiting\r\nMN\r\n");
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
        struct protocol_request request = { 0 };
        struct buffer out = { 0 };
        assert_true(protocol_memcached.write_error(&settings, &request, (enum reason)reason, &out));
        assert_true(out.length > strlen("SERVER_ERROR proximux: \r\n"));
        request.begun = true;
        assert_false(protocol_memcached.write_error(&settings, &request, (enum reason)reason, &out));
        buffer_free(&out);
    }
}

static void bytes_of_answers_are_looked_at_once(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_memcached);
    struct memcached_connection connection = { 0 };
    struct memcached_context context = { .answer = MEMCACHED_STATS };
    struct protocol_request request = { 0 };
    struct buffer out = { 0 };
    memcpy(request.context, &context, sizeof context);
    char *line = long_line(100000);
    memcpy(line, "STAT ", 5);
    for (size_t i = 0; i < 100000; i++) {
        struct slice piece = { line + i, 1 };
        assert_int_equal(
            protocol_memcached.read_response(&settings, &connection, &request, &piece, &out, NULL),
            PROTOCOL_MORE);
    }
    assert_true(connection.looked_at == 100000);
    assert_int_equal(out.length, 100000);
    buffer_free(&out);
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_end_where_they_end),
        cmocka_unit_test(what_does_not_answer_the_command_breaks_the_connection),
        cmocka_unit_test(some_errors_end_the_connection),
        cmocka_unit_test(answers_to_noreply_are_swallowed),
        cmocka_unit_test(answers_to_a_run_end_with_mn),
        cmocka_unit_test(long_lines_of_answers_are_passed_on),
        cmocka_unit_test(a_long_line_in_a_run_does_not_end_it),
        cmocka_unit_test(runs_give_the_same_answers_however_they_are_cut),
        cmocka_unit_test(errors_are_said_as_memcached_says_them),
        cmocka_unit_test(bytes_of_answers_are_looked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
