/* Where messages end, in the opinion of another parser: Debian's http-parser library. Both get the same
 * bytes; each message that we take has to end where the library says, and what the library refuses we refuse
 * too. We may be stricter, and each way in which we are is in the tables: a difference that is not listed
 * fails, and so does a listed one that is none (any more). Made-up inputs follow, from the tables' and a
 * fixed seed. */
#include "unit/framing.h"

#include "protocol/http/http.h"
#include "protocol/protocols.h"

#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CUTS_MAX  64
#define INPUT_MAX 2048

/* What a parser says of an input. */
struct opinion {
    size_t cuts[CUTS_MAX]; /* where complete messages end; interim ones are not counted */
    size_t count;
    bool is_refused; /* the rules are broken behind the last cut */
    bool is_last;    /* nothing may follow the last message */
    bool ends;       /* with the connection, the unfinished answer is complete */
    bool is_in_head; /* behind the last cut there is a head that is not whole: we judge it later */
};

static void add_cut(struct opinion *opinion, size_t cut)
{
    assert_true(opinion->count < CUTS_MAX);
    opinion->cuts[opinion->count++] = cut;
}

/* ---- Ours --------------------------------------------------------------------------------------------- */

static struct opinion ours_of_requests(struct slice input)
{
    struct protocol_settings settings = framing_settings(&protocol_http);
    struct http_client client = { 0 };
    struct protocol_request request = { 0 };
    struct buffer out = { 0 }, answer = { 0 };
    struct opinion opinion = { 0 };
    struct slice rest = input;
    enum protocol_outcome outcome = PROTOCOL_COMPLETE;
    while (rest.length > 0 && outcome == PROTOCOL_COMPLETE && !opinion.is_last) {
        outcome = protocol_http.read_request(&settings, &client, &request, &rest, &out, &answer);
        if (request.local && request.closes_client) {
            opinion.is_refused = true; /* and its end is nobody's concern */
            break;
        }
        if (outcome == PROTOCOL_COMPLETE) {
            add_cut(&opinion, input.length - rest.length);
            opinion.is_last = request.closes_client;
            memset(&request, 0, sizeof request);
        }
        buffer_truncate(&out, outcome == PROTOCOL_COMPLETE ? 0 : out.length);
    }
    opinion.is_refused |= outcome == PROTOCOL_BROKEN;
    opinion.is_in_head = outcome == PROTOCOL_MORE && !client.in_body;
    buffer_free(&out);
    buffer_free(&answer);
    return opinion;
}

/* The requests: GET, or HEAD for letters "h" of `methods`; GET behind its end. */
static void ask(struct protocol_request *request, char method)
{
    struct protocol_settings settings = framing_settings(&protocol_http);
    struct http_client client = { 0 };
    struct slice input = SLICE("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    struct buffer out = { 0 }, answer = { 0 };
    if (method == 'h')
        input = SLICE("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    memset(request, 0, sizeof *request);
    assert_int_equal(protocol_http.read_request(&settings, &client, request, &input, &out, &answer),
                     PROTOCOL_COMPLETE);
    buffer_free(&out);
}

static struct opinion ours_of_responses(struct slice input, const char *methods)
{
    struct protocol_settings settings = framing_settings(&protocol_http);
    struct http_connection connection = { 0 };
    struct protocol_request request;
    struct buffer out = { 0 };
    struct opinion opinion = { 0 };
    struct slice rest = input;
    enum protocol_outcome outcome = PROTOCOL_INTERIM;
    ask(&request, *methods);
    while (rest.length > 0 && outcome == PROTOCOL_INTERIM && !opinion.is_last) {
        outcome = protocol_http.read_response(&settings, &connection, &request, &rest, &out, NULL);
        if (outcome != PROTOCOL_COMPLETE)
            continue;
        add_cut(&opinion, input.length - rest.length);
        opinion.is_last = request.closes_target;
        methods += *methods != '\0' ? 1 : 0;
        ask(&request, *methods);
        outcome = PROTOCOL_INTERIM;
    }
    opinion.is_refused = outcome == PROTOCOL_BROKEN;
    opinion.ends = outcome == PROTOCOL_MORE &&
                   protocol_http.end_response(&settings, &connection, &request, &out) == PROTOCOL_COMPLETE;
    opinion.is_in_head = outcome == PROTOCOL_MORE && !connection.in_body;
    protocol_http.close_connection(&connection);
    buffer_free(&out);
    return opinion;
}

/* ---- The library's ------------------------------------------------------------------------------------ */

struct library {
    struct opinion opinion;
    const char *methods; /* NULL: these are requests */
};

static int stop(http_parser *parser)
{
    http_parser_pause(parser, 1);
    return 0;
}

/* The library leaves it to its user to know what has no body: answers to HEAD, and 304 (RFC 9112 §6.3). */
static int skip_body(http_parser *parser)
{
    const struct library *library = parser->data;
    return library->methods != NULL && (*library->methods == 'h' || parser->status_code == 304) ? 1 : 0;
}

static bool is_interim(const http_parser *parser)
{
    return parser->type == HTTP_RESPONSE && parser->status_code / 100 == 1;
}

/* Reads all; returns the library's error. */
static enum http_errno library_read(struct library *library, struct slice input)
{
    http_parser_settings settings;
    http_parser parser;
    size_t position = 0;
    http_parser_settings_init(&settings);
    settings.on_message_complete = stop;
    settings.on_headers_complete = skip_body;
    http_parser_init(&parser, library->methods != NULL ? HTTP_RESPONSE : HTTP_REQUEST);
    parser.data = library;
    while (position < input.length) {
        position += http_parser_execute(&parser, &settings, input.bytes + position, input.length - position);
        if (HTTP_PARSER_ERRNO(&parser) != HPE_PAUSED)
            break;
        http_parser_pause(&parser, 0);
        if (is_interim(&parser))
            continue;
        add_cut(&library->opinion, position);
        if (library->methods != NULL && *library->methods != '\0')
            library->methods++;
        if (library->methods == NULL && parser.upgrade)
            break;
    }
    enum http_errno error = HTTP_PARSER_ERRNO(&parser);
    library->opinion.is_refused = error != HPE_OK;
    if (error == HPE_OK && library->methods != NULL) {
        http_parser_execute(&parser, &settings, NULL, 0);
        library->opinion.ends = HTTP_PARSER_ERRNO(&parser) == HPE_PAUSED;
    }
    return error;
}

/* ---- The comparison ----------------------------------------------------------------------------------- */

enum verdict { SAME, STRICTER, WRONG };

static enum verdict compare(const struct opinion *ours, const struct opinion *theirs)
{
    if (theirs->count < ours->count ||
        memcmp(ours->cuts, theirs->cuts, ours->count * sizeof ours->cuts[0]) != 0)
        return WRONG;
    if (ours->is_last)
        return SAME; /* what follows is nobody's */
    if (ours->is_refused)
        return theirs->is_refused && theirs->count == ours->count ? SAME : STRICTER;
    if (ours->is_in_head && theirs->count == ours->count)
        return SAME;
    return theirs->is_refused || theirs->count > ours->count || theirs->ends != ours->ends ? WRONG : SAME;
}

static void print_opinion(const char *whose, const struct opinion *opinion)
{
    print_error("%s:", whose);
    for (size_t i = 0; i < opinion->count; i++)
        print_error(" %zu", opinion->cuts[i]);
    print_error("%s%s%s\n", opinion->is_refused ? " refused" : "", opinion->is_last ? " last" : "",
                opinion->ends ? " ends" : "");
}

/* Whether the library errs, so that its opinion counts for nothing. It does not know every method, though all
 * tokens are some (RFC 9110 §9.1), and takes each field whose name begins with Transfer-Encoding for that
 * one.
 */
static bool is_mistaken(struct slice input, enum http_errno error)
{
    static const char name[] = "Transfer-Encoding";
    size_t length = sizeof name - 1;
    for (size_t i = 0; i + length < input.length; i++)
        if (strncasecmp(input.bytes + i, name, length) == 0 &&
            strchr(": \t", input.bytes[i + length]) == NULL)
            return true;
    return error == HPE_INVALID_METHOD;
}

static enum verdict judge(struct slice input, const char *methods, enum http_errno *error)
{
    struct opinion ours = methods != NULL ? ours_of_responses(input, methods) : ours_of_requests(input);
    struct library library = { .methods = methods };
    *error = library_read(&library, input);
    enum verdict verdict = compare(&ours, &library.opinion);
    if (verdict == WRONG && !is_mistaken(input, *error)) {
        print_error("%.*s\n", (int)input.length, input.bytes);
        print_opinion("ours", &ours);
        print_opinion("theirs", &library.opinion);
        print_error("%s\n", http_errno_name(*error));
    }
    return verdict;
}

struct sample {
    struct slice input;
    const char *methods;  /* of what responses answer; NULL: requests */
    const char *stricter; /* why we refuse what the library takes; NULL: we do not */
};

#define REQUEST(input, stricter)                                                                             \
    {                                                                                                        \
        { input, sizeof(input) - 1 }, NULL, stricter                                                         \
    }
#define RESPONSE(methods, input, stricter)                                                                   \
    {                                                                                                        \
        { input, sizeof(input) - 1 }, methods, stricter                                                      \
    }

#define GET     "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST    "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define NEXT    "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK      "HTTP/1.1 200 OK\r\n"
#define DONE    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"

static const struct sample samples[] = {
    /* Requests that both take. */
    REQUEST(GET "\r\n" NEXT, NULL),
    REQUEST("\r\n" GET "\r\n\r\n" NEXT, NULL),
    REQUEST(GET "Connection: close\r\n\r\n" NEXT, NULL),
    REQUEST("GET / HTTP/1.0\r\n\r\n" NEXT, NULL),
    REQUEST("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" NEXT, NULL),
    REQUEST("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" NEXT, NULL),
    REQUEST("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n" NEXT, NULL),
    REQUEST("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n" NEXT, "CONNECT"),
    REQUEST(POST "Content-Length: 5\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "content-length:  0005 \r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Content-Length: 0\r\n\r\n" NEXT, NULL),
    REQUEST(POST "\r\n" NEXT, NULL),
    REQUEST(POST "Content-Length: 5\r\n\r\nGET /" NEXT, NULL),
    REQUEST(POST "Content-Length: 9223372036854775807\r\n\r\n" NEXT, NULL),
    REQUEST(POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab" NEXT, NULL),
    REQUEST(CHUNKED "0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "5\r\nabcde\r\n000A\r\n0123456789\r\n00\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "5;a;b=c;d=\"e f\"\r\nabcde\r\n0;e\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "0\r\nA: b\r\nC:\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "5\r\n0\r\n\r\n\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "7fffffffffffffff\r\nabc", NULL),
    REQUEST(POST "Transfer-Encoding: cHuNkEd\r\n\r\n1\r\na\r\n0\r\n\r\n" NEXT, NULL),
    /* Requests that both refuse. */
    REQUEST(POST "Content-Length:\r\n\r\n" NEXT, NULL),
    REQUEST("\x16\x03\x01\x02\x00\x01", NULL),
    REQUEST("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NULL),
    REQUEST("GET / HTTP/1.1 a\r\nHost: a\r\n\r\n", NULL),
    REQUEST(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", NULL),
    REQUEST("GET / HTTP/1.1\rHost: a\r\n\r\n", NULL),
    REQUEST(GET "A\r\n\r\n" NEXT, NULL),
    REQUEST(GET ": b\r\n\r\n" NEXT, NULL),
    REQUEST(GET "A: b\rc\r\n\r\n" NEXT, NULL),
    REQUEST(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Content-Length: 5, 5\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Content-Length: 5\t\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(POST "Content-Length: -5\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Content-Length: +5\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Content-Length: 0x5\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Content-Length: 5 5\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Content-Length: 18446744073709551621\r\n\r\nabcde" NEXT, NULL),
    REQUEST(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(POST "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "\r\n" NEXT, NULL),
    REQUEST(CHUNKED "0x5\r\nabcde\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "-5\r\nabcde\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED " 5\r\nabcde\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "5\nabcde\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "5\r\nabcdef\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "5\r\nabcde\n0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "5\r\nabcde0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "10000000000000005\r\nabcde\r\n0\r\n\r\n" NEXT, NULL),
    REQUEST(CHUNKED "g\r\n" NEXT, NULL),
    /* Requests that only we refuse. */
    REQUEST(GET "A: \0\r\n\r\n" NEXT, "a control byte"),
    REQUEST(GET "A : b\r\n\r\n" NEXT, "a space before a colon"),
    REQUEST(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" NEXT, "a space before a colon"),
    REQUEST(CHUNKED "0\r\nA : b\r\n\r\n" NEXT, "a space before a colon"),
    REQUEST(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" NEXT, "another coding"),
    REQUEST(POST "Expect: tea\r\nContent-Length: 2\r\n\r\nab" NEXT, "an expectation"),
    REQUEST("\r\n\r\n" GET "\r\n" NEXT, "one empty line may be there"),
    REQUEST("\n" GET "\r\n" NEXT, "LF alone"),
    REQUEST("GET / HTTP/1.1\nHost: a\n\n" NEXT, "LF alone"),
    REQUEST(GET "A: b\n\r\n" NEXT, "LF alone"),
    REQUEST(GET "\n" NEXT, "LF alone"),
    REQUEST(GET "A: b\r\n c\r\n\r\n" NEXT, "a folded field"),
    REQUEST(POST "Content-Length:\r\n 5\r\n\r\nabcde" NEXT, "a folded field"),
    REQUEST("GET  / HTTP/1.1\r\nHost: a\r\n\r\n" NEXT, "one space"),
    REQUEST("GET /  HTTP/1.1\r\nHost: a\r\n\r\n" NEXT, "one space"),
    REQUEST("GET /\r\n\r\n" NEXT, "HTTP/0.9"),
    REQUEST("GET / HTTP/1.2\r\nHost: a\r\n\r\n" NEXT, "an unknown version"),
    REQUEST("GET / HTTP/1.1\r\n\r\n" NEXT, "no Host"),
    REQUEST(GET "Host: a\r\n\r\n" NEXT, "two Hosts"),
    REQUEST("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n" NEXT, "a malformed Host"),
    REQUEST("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n" NEXT, "two authorities"),
    REQUEST("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n" NEXT, "another scheme"),
    REQUEST("GET * HTTP/1.1\r\nHost: a\r\n\r\n" NEXT, "an asterisk for OPTIONS only"),
    REQUEST("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n" NEXT, "a fragment"),
    REQUEST(GET "A: \x01\r\n\r\n" NEXT, "a control byte"),
    REQUEST(GET "Connection: Content-Length\r\n\r\n" NEXT, "Connection and a foreign field"),
    REQUEST(POST "Content-Length:\t5\r\n\r\nabcde" NEXT, "a tab before a length"),
    REQUEST(POST "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" NEXT, "a tab before a coding"),
    REQUEST(POST "Content_Length: 5\r\n\r\n" NEXT, "an underscore"),
    REQUEST(POST "Content-Length: 9223372036854775808\r\n\r\n" NEXT, "more than 63 bits"),
    REQUEST("POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT,
            "chunks in HTTP/1.0"),
    REQUEST(POST "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" NEXT, "another coding"),
    REQUEST(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" NEXT,
            "two codings"),
    REQUEST(CHUNKED "5 \r\nabcde\r\n0\r\n\r\n" NEXT, "a space behind a size"),
    REQUEST(CHUNKED "5; a\r\nabcde\r\n0\r\n\r\n" NEXT, "a space in an extension"),
    REQUEST(CHUNKED "5;a=\"b\r\nabcde\r\n0\r\n\r\n" NEXT, "an unfinished string"),
    REQUEST(CHUNKED "5;\r\nabcde\r\n0\r\n\r\n" NEXT, "an empty extension"),
    REQUEST(CHUNKED "5;a\nb\r\nabcde\r\n0\r\n\r\n" NEXT, "LF alone"),
    REQUEST(CHUNKED "00000000000000005\r\nabcde\r\n0\r\n\r\n" NEXT, "17 digits"),
    REQUEST(CHUNKED "8000000000000000\r\nabc", "more than 63 bits"),
    REQUEST(CHUNKED "0\r\n\n" NEXT, "LF alone"),
    REQUEST(CHUNKED "0\r\nA: b\n\r\n" NEXT, "LF alone"),
    REQUEST(CHUNKED "0\r\nHost: b\r\n\r\n" NEXT, "a trailer that belongs into the head"),
    REQUEST(CHUNKED "0\r\nA: b\r\n c\r\n\r\n" NEXT, "a folded trailer"),
    /* Responses that both take. */
    RESPONSE("", DONE DONE, NULL),
    RESPONSE("hg", OK "Content-Length: 4\r\n\r\n" DONE, NULL),
    RESPONSE("hg", OK "Transfer-Encoding: chunked\r\n\r\n" DONE, NULL),
    RESPONSE("hg", OK "\r\n" DONE, NULL),
    RESPONSE("", "HTTP/1.1 204 No Content\r\n\r\n" DONE, NULL),
    RESPONSE("", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n" DONE, NULL),
    RESPONSE("", "HTTP/1.1 304 Not Modified\r\n\r\n" DONE, NULL),
    RESPONSE("", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" DONE DONE, NULL),
    RESPONSE("", OK "Transfer-Encoding: chunked\r\n\r\n4;a=b\r\ndone\r\n0\r\nA: b\r\n\r\n" DONE, NULL),
    RESPONSE("", OK "\r\n" DONE, NULL),
    RESPONSE("", OK "Connection: close\r\n\r\n", NULL),
    RESPONSE("", OK "Connection: close\r\nContent-Length: 4\r\n\r\ndone" DONE, NULL),
    RESPONSE("", "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\ndone" DONE, NULL),
    RESPONSE("", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\ndone" DONE, NULL),
    RESPONSE("", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\ndone" DONE, NULL),
    RESPONSE("", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n" DONE, NULL),
    RESPONSE("", "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n" DONE, NULL),
    RESPONSE("", OK "Content-Length: 9\r\n\r\ndone", NULL),
    RESPONSE("", OK "Content-Length: 4\r\n", NULL),
    /* Responses that both refuse. */
    RESPONSE("", "SSH-2.0-OpenSSH_9.2\r\n", NULL),
    RESPONSE("", "http/1.1 200 OK\r\n\r\n", NULL),
    RESPONSE("", "HTTP/1.1 2000 OK\r\n\r\n", NULL),
    RESPONSE("", OK "Content-Length: 4\r\nContent-Length: 4\r\n\r\ndone", NULL),
    RESPONSE("", OK "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL),
    RESPONSE("", OK "Transfer-Encoding: chunked\r\n\r\n4\r\ndonee\r\n0\r\n\r\n", NULL),
    /* Responses that only we refuse. */
    RESPONSE("", OK "A : b\r\nContent-Length: 4\r\n\r\ndone", "a space before a colon"),
    RESPONSE("", OK "Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n" DONE, "a tab behind a coding"),
    RESPONSE("", "\r\n" DONE, "an empty line"),
    RESPONSE("", "HTTP/1.1 200 OK\nContent-Length: 0\n\n" DONE, "LF alone"),
    RESPONSE("", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n" DONE, "a status of two digits"),
    RESPONSE("", OK "A: b\r\n c\r\nContent-Length: 0\r\n\r\n" DONE, "a folded field"),
    RESPONSE("", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n" DONE, "a body where there is none"),
    RESPONSE("", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" DONE,
             "a body where there is none"),
    RESPONSE("", OK "Transfer-Encoding: gzip\r\n\r\n" DONE, "another coding, until the connection ends"),
    RESPONSE("", "HTTP/1.1 101 Switching\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n", "another protocol"),
};

static void both_cut_at_the_same_places(void **state)
{
    (void)state;
    bool failed = false;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        enum http_errno error;
        enum verdict verdict = judge(samples[i].input, samples[i].methods, &error);
        if (verdict == (samples[i].stricter != NULL ? STRICTER : SAME))
            continue;
        failed = true;
        print_error("%s: %.*s\n",
                    verdict == WRONG      ? "another cut"
                    : verdict == STRICTER ? "stricter, and not listed"
                                          : "listed, and no difference",
                    (int)samples[i].input.length, samples[i].input.bytes);
    }
    assert_false(failed);
}

/* ---- Made-up inputs ----------------------------------------------------------------------------------- */

static uint32_t draw(uint64_t *seed, size_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (uint32_t)(*seed >> 32) % (uint32_t)below;
}

static const struct slice pieces[] = {
    { "\r", 1 },
    { "\n", 1 },
    { "\r\n", 2 },
    { "\r\n\r\n", 4 },
    { " ", 1 },
    { "\t", 1 },
    { ":", 1 },
    { ",", 1 },
    { ";", 1 },
    { "=", 1 },
    { "\"", 1 },
    { "0", 1 },
    { "4", 1 },
    { "F", 1 },
    { "-", 1 },
    { "\0", 1 },
    { "\x80", 1 },
    { "chunked", 7 },
    { "gzip, ", 6 },
    { "close", 5 },
    { "HTTP/1.0", 8 },
    { "HTTP/1.1", 8 },
    { "Content-Length: 4\r\n", 19 },
    { "Transfer-Encoding: chunked\r\n", 28 },
    { "Connection: keep-alive\r\n", 24 },
    { "0\r\n\r\n", 5 },
    { "204", 3 },
    { "HEAD", 4 },
};

/* Takes `cut` bytes out at `at` and puts others there, as far as there is room. */
static size_t replace(char *input, size_t length, size_t at, size_t cut, struct slice with)
{
    if (cut > length - at)
        cut = length - at;
    if (length - cut + with.length > INPUT_MAX)
        return length;
    memmove(input + at + with.length, input + at + cut, length - at - cut);
    memcpy(input + at, with.bytes, with.length);
    return length - cut + with.length;
}

static size_t make_up(uint64_t *seed, const struct sample *sample, char *input)
{
    size_t length = sample->input.length;
    memcpy(input, sample->input.bytes, length);
    for (uint32_t changes = 1 + draw(seed, 4); changes > 0; changes--) {
        struct slice with = pieces[draw(seed, sizeof pieces / sizeof pieces[0])];
        size_t cut = draw(seed, 2) == 0 ? 0 : draw(seed, 1 + with.length * 2);
        if (draw(seed, 4) == 0)
            with.length = 0;
        length = replace(input, length, draw(seed, length + 1), cut, with);
    }
    return length;
}

static void made_up_inputs_are_cut_where_the_library_cuts(void **state)
{
    (void)state;
    uint64_t seed = 0x9e3779b97f4a7c15;
    size_t taken = 0, count = test_scaled(300000, 3000);
    for (size_t i = 0; i < count; i++) {
        const struct sample *sample = &samples[draw(&seed, sizeof samples / sizeof samples[0])];
        enum http_errno error;
        char input[INPUT_MAX];
        size_t length = make_up(&seed, sample, input);
        enum verdict verdict = judge((struct slice){ input, length }, sample->methods, &error);
        taken += verdict == SAME ? 1 : 0;
        test_require(verdict != WRONG || is_mistaken((struct slice){ input, length }, error),
                     "input %zu: another cut", i);
    }
    /* Enough of them are taken by both to mean something. */
    assert_true(taken > count / 10);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_cut_at_the_same_places),
        cmocka_unit_test(made_up_inputs_are_cut_where_the_library_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
