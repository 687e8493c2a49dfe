/* The framer `http`: the examples of RFC 9110 and RFC 9112, the family of smuggling tricks, and every way in
 * which a body can end. test_http_parser compares the cut points with those of another parser. */
#include "unit/framing.h"

#include "protocol/http/http.h"
#include "protocol/protocols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

/* What http_error_write() makes, as transcripts show it. */
static const char *error_text(unsigned status, const char *phrase, const char *connection, const char *why)
{
    static char text[1024];
    size_t length = strlen("NNN : \n") + strlen(phrase) + strlen(why);
    snprintf(text, sizeof text,
             "HTTP/1.1 %u %s\\r\\nContent-Type: text/plain\\r\\nContent-Length: %zu\\r\\n%s%s%s\\r\\n"
             "%u %s: %s\\n",
             status, phrase, length, *connection != '\0' ? "Connection: " : "", connection,
             *connection != '\0' ? "\\r\\n" : "", status, phrase, why);
    return text;
}

static void expect_broken(struct slice input, unsigned status, const char *phrase, const char *why,
                          const char *before, struct place place)
{
    struct protocol_settings settings = framing_settings(&protocol_http);
    char expected[2048];
    snprintf(expected, sizeof expected, "%sbroken %s\n", before, error_text(status, phrase, "close", why));
    framing_expect_requests_at(&settings, input, expected, place);
}

#define HOST    "Host: a\r\n"
#define GET     "GET / HTTP/1.1\r\n" HOST
#define POST    "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

/* ---- Requests ----------------------------------------------------------------------------------------- */

static void examples_of_the_rfcs_pass(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    /* RFC 9112 §2.1, RFC 9110 §3.9 */
    framing_expect_requests(&settings,
                            "GET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: www.example.com\r\n"
                            "Accept-Language: en, mi\r\n\r\n",
                            "forward GET /hello.txt HTTP/1.1\\r\\nUser-Agent: curl/7.64.1\\r\\n"
                            "Host: www.example.com\\r\\nAccept-Language: en, mi\\r\\n\\r\\n\n");
    /* RFC 9112 §3.2.1 to §3.2.4: the forms of a target */
    framing_expect_requests(&settings, "GET /where?q=now HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
                            "forward GET /where?q=now HTTP/1.1\\r\\nHost: www.example.org\\r\\n\\r\\n\n");
    framing_expect_requests(&settings,
                            "GET http://www.example.org/pub/WWW/TheProject.html HTTP/1.1\r\n"
                            "Host: www.example.org\r\n\r\n",
                            "forward GET http://www.example.org/pub/WWW/TheProject.html HTTP/1.1\\r\\n"
                            "Host: www.example.org\\r\\n\\r\\n\n");
    framing_expect_requests(&settings, "OPTIONS * HTTP/1.1\r\nHost: www.example.org:8001\r\n\r\n",
                            "forward OPTIONS * HTTP/1.1\\r\\nHost: www.example.org:8001\\r\\n\\r\\n\n");
    framing_expect_requests(
        &settings, "OPTIONS http://www.example.org:8001 HTTP/1.1\r\nHost: www.example.org:8001\r\n\r\n",
        "forward OPTIONS http://www.example.org:8001 HTTP/1.1\\r\\n"
        "Host: www.example.org:8001\\r\\n\\r\\n\n");
    /* RFC 9110 §10.1.1: the body may be long, the head streams */
    framing_expect_requests(&settings,
                            "PUT /somewhere/fun HTTP/1.1\r\nHost: origin.example.com\r\n"
                            "Content-Type: video/h264\r\nContent-Length: 1234567890987\r\n"
                            "Expect: 100-continue\r\n\r\nfirst",
                            "interim HTTP/1.1 100 Continue\\r\\n\\r\\n\n"
                            "more PUT /somewhere/fun HTTP/1.1\\r\\nHost: origin.example.com\\r\\n"
                            "Content-Type: video/h264\\r\\nContent-Length: 1234567890987\\r\\n\\r\\nfirst\n");
    /* RFC 9110 §10.1.4: TE is for one connection */
    framing_expect_requests(&settings,
                            GET "TE: deflate\r\nTE:\r\nTE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\n",
                            "forward GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\n");
    /* RFC 9112 §7.1: chunks, extensions, a trailer */
    framing_expect_requests(
        &settings,
        CHUNKED "4\r\nWiki\r\n6;a;b=c;d=\"e\\\"f; \"\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n"
                "0;last\r\nExpires: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n",
        "forward POST / HTTP/1.1\\r\\nHost: a\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
        "4\\r\\nWiki\\r\\n6;a;b=c;d=\"e\\\\\"f; \"\\r\\npedia \\r\\nE\\r\\nin \\r\\n\\r\\nchunks.\\r\\n"
        "0;last\\r\\nExpires: Wed, 21 Oct 2015 07:28:00 GMT\\r\\n\\r\\n\n");
}

static void requests_follow_each_other(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    framing_expect_requests(&settings,
                            GET "\r\n" POST "Content-Length: 5\r\n\r\nGET /" CHUNKED
                                "003\r\n\r\n0\r\n00\r\n\r\n" POST "content-length:0\r\n\r\n" GET "\r\n"
                                "\r\nHEAD / HTTP/1.1\r\nHost: b",
                            "forward GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\n"
                            "forward POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 5\\r\\n\\r\\nGET /\n"
                            "forward POST / HTTP/1.1\\r\\nHost: a\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
                            "003\\r\\n\\r\\n0\\r\\n00\\r\\n\\r\\n\n"
                            "forward POST / HTTP/1.1\\r\\nHost: a\\r\\ncontent-length:0\\r\\n\\r\\n\n"
                            "forward GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\n"
                            "more \n");
}

static void connections_are_ours(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    framing_expect_requests(&settings, GET "Connection: close\r\n\r\n" GET "\r\n",
                            "forward [closes] GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\n");
    framing_expect_requests(&settings, GET "Connection: keep-alive,\t, CLOSE\r\n\r\n",
                            "forward [closes] GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\n");
    framing_expect_requests(
        &settings,
        GET "Keep-Alive: timeout=5\r\nA: 1\r\nProxy-Connection: keep-alive\r\nB: 2\r\n"
            "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
            "cOnNeCtIoN: Keep-Alive, TE, Upgrade, Proxy-Connection, HTTP2-Settings\r\nC:\t3 \r\n\r\n",
        "forward GET / HTTP/1.1\\r\\nHost: a\\r\\nA: 1\\r\\nB: 2\\r\\nC:\\x093 \\r\\n\\r\\n\n");
    /* Of HTTP/1.0, whose connections end unless it is said that they don't. */
    framing_expect_requests(&settings, "GET / HTTP/1.0\r\n\r\n" GET "\r\n",
                            "forward [closes] GET / HTTP/1.0\\r\\nConnection: keep-alive\\r\\n\\r\\n\n");
    framing_expect_requests(&settings,
                            "POST / HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nab"
                            "HEAD / HTTP/1.0\r\nHost: a\r\n\r\n",
                            "forward POST / HTTP/1.0\\r\\nContent-Length: 2\\r\\n"
                            "Connection: keep-alive\\r\\n\\r\\nab\n"
                            "forward [closes] HEAD / HTTP/1.0\\r\\nHost: a\\r\\n"
                            "Connection: keep-alive\\r\\n\\r\\n\n");
}

static void expectations_are_answered_here(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    framing_expect_requests(&settings,
                            POST "Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                            "interim HTTP/1.1 100 Continue\\r\\n\\r\\n\n"
                            "forward POST / HTTP/1.1\\r\\nHost: a\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
                            "0\\r\\n\\r\\n\n");
    /* Without a body there is nothing to continue, and HTTP/1.0 knows no 100. */
    framing_expect_requests(&settings, GET "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n",
                            "forward GET / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 0\\r\\n\\r\\n\n");
    framing_expect_requests(&settings, "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
                            "forward [closes] PUT / HTTP/1.0\\r\\nContent-Length: 1\\r\\n"
                            "Connection: keep-alive\\r\\n\\r\\nx\n");
    char expected[1024];
    snprintf(expected, sizeof expected, "broken HTTP/1.1 100 Continue\\r\\n\\r\\n%s\n",
             error_text(400, "Bad Request", "close", "a malformed chunk or trailer"));
    framing_expect_requests(&settings, POST "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n0\n",
                            expected);
}

static void unusual_requests_pass(void **state)
{
    (void)state;
    static const char *const inputs[] = {
        "M-SEARCH / HTTP/1.1\r\n" HOST "\r\n",
        "a!#$%&'*+-.^_`|~9 / HTTP/1.1\r\n" HOST "\r\n",
        "get / HTTP/1.1\r\n" HOST "\r\n",
        "GET //a/../%2e?\"<>[]{}|^`\\ HTTP/1.1\r\n" HOST "\r\n",
        "GET /? HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: %2Frun%2Fa_b.sock\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
        "GET http://A:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET HTTPS://a?b HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "GET http://[::1] HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        GET "Empty:\r\n\r\n",
        GET "Trailer: Content-Length\r\nX-Content-Length: -1\r\nA: \"\r\n\r\n",
        GET "Authorization: Basic TlRMTQ==\r\n\r\n",
        GET "Authorization: NTLMish x\r\n\r\n",
        GET "Content-Length: 0000\r\n\r\n",
    };
    struct protocol_settings settings = framing_settings(&protocol_http);
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        struct slice input = { inputs[i], strlen(inputs[i]) };
        char expected[512] = "forward ";
        for (const char *c = inputs[i]; *c != '\0'; c++) {
            static const char *const escapes[] = { ['\r'] = "\\r", ['\n'] = "\\n", ['\\'] = "\\\\" };
            if (strchr("\r\n\\", *c) != NULL)
                strcat(expected, escapes[(int)*c]);
            else
                strncat(expected, c, 1);
        }
        strcat(expected, "\n");
        framing_expect_requests_at(&settings, input, expected, HERE);
    }
    framing_expect_requests(&settings, "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\nB: \xff\r\n\r\n",
                            "forward GET /\\xc3\\xa4 HTTP/1.1\\r\\nHost: a\\r\\nB: \\xff\\r\\n\\r\\n\n");
}

/* Each is answered by 400, and the client closed; what is `decided` before that has gone nowhere unless it is
 * larger than `buffer_limit`. */
static const struct {
    struct slice input;
    const char *why;
} tricks[] = {
    /* Both lengths, in all orders. */
    { BYTES(POST "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
      "both Content-Length and Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n"),
      "both Content-Length and Transfer-Encoding" },
    { BYTES(POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "both Content-Length and Transfer-Encoding" },
    { BYTES(POST "Content-Length: 4\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
      "both Content-Length and Transfer-Encoding" },
    /* Lengths. */
    { BYTES(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), "more than one Content-Length" },
    { BYTES(POST "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"), "more than one Content-Length" },
    { BYTES(POST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n"), "more than one Content-Length" },
    { BYTES(POST "Content-Length: 5, 5\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 5,\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length:\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length:  \r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 5\t\r\n\r\n"), "a tab in Content-Length or Transfer-Encoding" },
    { BYTES(POST "Content-Length:\t5\r\n\r\n"), "a tab in Content-Length or Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked\t\r\n\r\n"), "a tab in Content-Length or Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding:\tchunked\r\n\r\n"), "a tab in Content-Length or Transfer-Encoding" },
    { BYTES(POST "Content-Length: -1\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: +5\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 0x5\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 5 5\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 5;a\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 5.0\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 1e1\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: \"5\"\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: \xef\xbc\x95\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 9223372036854775808\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 18446744073709551616\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 18446744073709551621\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content-Length: 99999999999999999999999999\r\n\r\n"), "a malformed Content-Length" },
    { BYTES(POST "Content_Length: 5\r\n\r\n"), "a field name with \"_\" for \"-\"" },
    /* Codings. */
    { BYTES(POST "Transfer-Encoding: xchunked\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunkedx\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: \"chunked\"\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: 'chunked'\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked, identity\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: identity, chunked\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: identity\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked, chunked\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked,\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: ,chunked\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked;q=1\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked, gzip\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: gzip\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: gzip, chunked, gzip\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: x\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: ch unked\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding:\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: ch\xc5\xabnked\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n"),
      "more than one Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "more than one Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer_Encoding: chunked\r\n\r\n"), "a field name with \"_\" for \"-\"" },
    { BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
      "Transfer-Encoding in HTTP/1.0" },
    { BYTES("POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "Transfer-Encoding in HTTP/1.0" },
    /* Spaces and control bytes around names and values. */
    { BYTES(POST "Transfer-Encoding : chunked\r\n\r\n"), "a malformed field name" },
    { BYTES(POST "Transfer-Encoding\t: chunked\r\n\r\n"), "a malformed field name" },
    { BYTES(POST "Content-Length : 5\r\n\r\n"), "a malformed field name" },
    { BYTES(POST " Transfer-Encoding: chunked\r\n\r\n"), "a folded field" },
    { BYTES(POST "X: y\r\n Transfer-Encoding: chunked\r\n\r\n"), "a folded field" },
    { BYTES(POST "Transfer-Encoding:\r\n\tchunked\r\n\r\n"), "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding: chunked\r\n , identity\r\n\r\n"), "a folded field" },
    { BYTES("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), "a folded field" },
    { BYTES("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n"), "a folded field" },
    { BYTES(POST "Transfer-Encoding: \x0b"
                 "chunked\r\n\r\n"),
      "" },
    { BYTES(POST "Transfer-Encoding:\x0c"
                 "chunked\r\n\r\n"),
      "" },
    { BYTES(POST "Transfer-Encoding: chunked\0\r\n\r\n"), "" },
    { BYTES(POST "Transfer-Encoding\0: chunked\r\n\r\n"), "" },
    { BYTES(POST "Transfer-Encoding: chunked\x7f\r\n\r\n"), "" },
    { BYTES(POST "\0: b\r\n\r\n"), "" },
    { BYTES(POST "Transfer-Encoding\xa0: chunked\r\n\r\n"), "a malformed field name" },
    { BYTES(POST "Transfer-Encoding: \xa0"
                 "chunked\r\n\r\n"),
      "a malformed Transfer-Encoding" },
    { BYTES(POST "Transfer-Encoding\r\n : chunked\r\n\r\n"), "a malformed field name" },
    { BYTES(POST "Transfer-Encoding\r\n: chunked\r\n\r\n"), "a malformed field name" },
    { BYTES(POST ": chunked\r\n\r\n"), "a malformed field name" },
    { BYTES(POST "A\r\n\r\n"), "a malformed field name" },
    { BYTES(POST "\"A\": b\r\n\r\n"), "a malformed field name" },
    { BYTES(POST "A(b): c\r\n\r\n"), "a malformed field name" },
    { BYTES(POST "A/b: c\r\n\r\n"), "a malformed field name" },
    /* Ends of lines. */
    { BYTES("GET / HTTP/1.1\nHost: a\r\n\r\n"), "" },
    { BYTES("GET / HTTP/1.1\r\nHost: a\n\r\n"), "" },
    { BYTES("GET / HTTP/1.1\r\nHost: a\r\n\n"), "" },
    { BYTES(POST "A: b\rTransfer-Encoding: chunked\r\n\r\n"), "" },
    { BYTES(POST "A: b\nTransfer-Encoding: chunked\r\n\r\n"), "" },
    { BYTES(POST "A: b\r\r\nTransfer-Encoding: chunked\r\n\r\n"), "" },
    { BYTES(POST "A: b\n\rTransfer-Encoding: chunked\r\n\r\n"), "" },
    { BYTES(POST "\rTransfer-Encoding: chunked\r\n\r\n"), "" },
    { BYTES("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "" },
    { BYTES("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "a line that does not end with CRLF" },
    { BYTES("\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "a line that does not end with CRLF" },
    { BYTES("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "no request line" },
    { BYTES("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "" },
    /* Connection, which makes others take fields out. */
    { BYTES(POST "Connection: Content-Length\r\nContent-Length: 5\r\n\r\n"),
      "Connection names a field that is not its own" },
    { BYTES(POST "Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "Connection names a field that is not its own" },
    { BYTES(GET "Connection: Host\r\n\r\n"), "Connection names a field that is not its own" },
    { BYTES(GET "Connection: Connection\r\n\r\n"), "Connection names a field that is not its own" },
    { BYTES(GET "Connection: Cookie\r\n\r\n"), "Connection names a field that is not its own" },
    { BYTES(GET "Connection: X-Real-IP, keep-alive\r\n\r\n"),
      "Connection names a field that is not its own" },
    { BYTES(GET "Connection: Authorization\r\n\r\n"), "Connection names a field that is not its own" },
    { BYTES(GET "Connection: keep_alive\r\n\r\n"), "Connection names a field that is not its own" },
    { BYTES(GET "Connection: close;q=1\r\n\r\n"), "Connection names a field that is not its own" },
    { BYTES(GET "Connection: \"close\"\r\n\r\n"), "Connection names a field that is not its own" },
    /* Host. */
    { BYTES("GET / HTTP/1.1\r\n\r\n"), "no Host" },
    { BYTES("GET http://a/ HTTP/1.1\r\n\r\n"), "no Host" },
    { BYTES(GET "Host: b\r\n\r\n"), "more than one Host" },
    { BYTES(GET "hOST: a\r\n\r\n"), "more than one Host" },
    { BYTES("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), "more than one Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: []\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: a%2\r\n\r\n"), "a malformed Host" },
    { BYTES("GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n"), "a malformed Host" },
    { BYTES("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"), "Host is not that of the request target" },
    { BYTES("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n"), "Host is not that of the request target" },
    { BYTES("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n"), "Host is not that of the request target" },
    { BYTES("GET http://a/ HTTP/1.0\r\nHost: ab\r\n\r\n"), "Host is not that of the request target" },
    /* The request line. */
    { BYTES("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request line" },
    { BYTES("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed method" },
    { BYTES("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed method" },
    { BYTES("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request line" },
    { BYTES("GET / a HTTP/1.1\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET /\r\nHost: a\r\n\r\n"), "a malformed request line" },
    { BYTES("GET\r\n\r\n"), "a malformed method" },
    { BYTES("GET HTTP/1.1\r\n\r\n"), "a malformed request line" },
    { BYTES("GET / http/1.1\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET / HTTP/0.9\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET / HTTP/01.1\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET / HTTP/1,1\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET / HTTP/2\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("GET / ICE/1.0\r\nHost: a\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "not HTTP/1.0 or HTTP/1.1" },
    { BYTES("G{T / HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed method" },
    { BYTES("G\xc3T / HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed method" },
    { BYTES("Head / HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed method" },
    { BYTES("connect a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed method" },
    { BYTES("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("GET http:///a HTTP/1.1\r\nHost:\r\n\r\n"), "a malformed request target" },
    { BYTES("GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n"), "a malformed request target" },
    { BYTES("GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), "a malformed request target" },
    { BYTES("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"), "" },
    { BYTES("\x16\x03\x01\x02\x00\x01\x00\x01"), "" },
    /* Chunks. */
    { BYTES(CHUNKED "\r\n"), "chunk" },
    { BYTES(CHUNKED ";a\r\n"), "chunk" },
    { BYTES(CHUNKED "0x5\r\nabcde\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "+5\r\nabcde\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "-1\r\n"), "chunk" },
    { BYTES(CHUNKED " 5\r\nabcde\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "5 \r\nabcde\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "5\t\r\nabcde\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "5\nabcde\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "5\r\nabcde\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "5\r\nabcde0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "5\r\nabcdef\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "5\r\nabcde\r\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "5\r\nabcde\r\n\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "5\rX\nabcde\r\n0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\n\n"), "chunk" },
    { BYTES(CHUNKED "0\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\n\rX"), "chunk" },
    { BYTES(CHUNKED "5\0\r\n"), "chunk" },
    { BYTES(CHUNKED "5,5\r\n"), "chunk" },
    { BYTES(CHUNKED "g\r\n"), "chunk" },
    { BYTES(CHUNKED "1_0\r\n"), "chunk" },
    { BYTES(CHUNKED "8000000000000000\r\n"), "chunk" },
    { BYTES(CHUNKED "FFFFFFFFFFFFFFFF\r\n"), "chunk" },
    { BYTES(CHUNKED "10000000000000005\r\n"), "chunk" },
    { BYTES(CHUNKED "00000000000000005\r\n"), "chunk" },
    { BYTES(CHUNKED "5 ;a=b\r\n"), "chunk" },
    { BYTES(CHUNKED "5; a=b\r\n"), "chunk" },
    { BYTES(CHUNKED "5;\r\n"), "chunk" },
    { BYTES(CHUNKED "5;;a\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a=\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a =b\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a= b\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a=b=c\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a\nb\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a\rb\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a=\"b\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a=\"b\nc\"\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a=\"\\\n\"\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a=\"b\"c\r\n"), "chunk" },
    { BYTES(CHUNKED "5;a=\"b\0\"\r\n"), "chunk" },
    /* Trailers. */
    { BYTES(CHUNKED "0\r\nContent-Length: 5\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nHost: b\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nproxy-authorization: b\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nConnection: close\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\ntransfer_encoding: chunked\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nA : b\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nA: b\r\n c\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\n A: b\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nA: b\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nA: b\rc\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nA\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\n: b\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nA: \0\r\n\r\n"), "chunk" },
    { BYTES(CHUNKED "0\r\nGET / HTTP/1.1\r\n"), "chunk" },
};

static void smuggling_tricks_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof tricks / sizeof tricks[0]; i++) {
        const char *why = tricks[i].why;
        if (*why == '\0')
            why = "a control byte, or a line that does not end with CRLF";
        else if (strcmp(why, "chunk") == 0)
            why = "a malformed chunk or trailer";
        expect_broken(tricks[i].input, 400, "Bad Request", why, "", HERE);
        /* And behind a request that is right. */
        char bytes[512] = GET "\r\n";
        size_t length = strlen(bytes);
        assert_true(length + tricks[i].input.length <= sizeof bytes);
        memcpy(bytes + length, tricks[i].input.bytes, tricks[i].input.length);
        expect_broken((struct slice){ bytes, length + tricks[i].input.length }, 400, "Bad Request", why,
                      "forward GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\n", HERE);
    }
}

static void what_needs_a_connection_of_its_own_is_refused(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    static const struct {
        struct slice input;
        unsigned status;
        const char *phrase;
        const char *connection;
        const char *why;
    } cases[] = {
        /* RFC 9112 §3.2.3 */
        { BYTES("CONNECT www.example.com:80 HTTP/1.1\r\nHost: www.example.com\r\n\r\nbytes"), 501,
          "Not Implemented", "close", "CONNECT needs a connection of its own" },
        /* RFC 9110 §7.8 */
        { BYTES("GET /hello HTTP/1.1\r\nHost: www.example.com\r\nConnection: upgrade\r\n"
                "Upgrade: websocket, IRC/6.9, RTA/x11\r\n\r\n"),
          501, "Not Implemented", "", "Upgrade needs a connection of its own" },
        { BYTES(GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n"), 501,
          "Not Implemented", "", "Upgrade needs a connection of its own" },
        { BYTES(GET "Authorization: NTLM TlRMTVNTUAABAAAA\r\n\r\n"), 501, "Not Implemented", "",
          "NTLM and Negotiate log in a whole connection" },
        { BYTES(GET "Authorization:\tnegotiate\r\nConnection: close\r\n\r\n"), 501, "Not Implemented",
          "close", "NTLM and Negotiate log in a whole connection" },
        { BYTES(GET "Proxy-Authorization: Negotiate YII=\r\n\r\n"), 501, "Not Implemented", "",
          "NTLM and Negotiate log in a whole connection" },
        /* RFC 9112 §6.1, §7 */
        { BYTES(POST "Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"), 501,
          "Not Implemented", "close", "an unknown transfer coding" },
        { BYTES(POST "Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc"), 417, "Expectation Failed", "close",
          "only 100-continue is understood" },
        { BYTES("GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue, a=b\r\n\r\n"), 417,
          "Expectation Failed", "keep-alive", "only 100-continue is understood" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[1024];
        bool closes = strcmp(cases[i].connection, "close") == 0;
        snprintf(expected, sizeof expected, "local %s %s\n", closes ? "[closes,refused]" : "[refused]",
                 error_text(cases[i].status, cases[i].phrase, cases[i].connection, cases[i].why));
        framing_expect_requests_at(&settings, cases[i].input, expected, HERE);
        if (closes)
            continue;
        /* The connection stays usable. */
        char bytes[512];
        size_t length = cases[i].input.length;
        memcpy(bytes, cases[i].input.bytes, length);
        memcpy(bytes + length, GET "\r\n", sizeof GET + 1);
        strcat(expected, "forward GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\n");
        framing_expect_requests_at(&settings, (struct slice){ bytes, length + sizeof GET + 1 }, expected,
                                   HERE);
    }
}

static void heads_are_limited(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    char expected[1024];
    settings.head_limit = strlen(GET "A: b\r\n\r\n");
    framing_expect_requests(&settings, "\r\n" GET "A: b\r\n\r\n",
                            "forward GET / HTTP/1.1\\r\\nHost: a\\r\\nA: b\\r\\n\\r\\n\n");
    snprintf(expected, sizeof expected, "broken %s\n",
             error_text(431, "Request Header Fields Too Large", "close", "the head is too long"));
    framing_expect_requests(&settings, GET "A: bc\r\n\r\n", expected);
    framing_expect_requests(&settings, "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", expected);
    /* An HTTP/1.0 head gets longer, but only when it is decided. */
    settings.head_limit = strlen("GET / HTTP/1.0\r\n\r\n");
    framing_expect_requests(&settings, "GET / HTTP/1.0\r\n\r\n",
                            "forward [closes] GET / HTTP/1.0\\r\\nConnection: keep-alive\\r\\n\\r\\n\n");
    framing_expect_responses(&settings, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 204\r\n\r\n", false,
                             "answer [closes] HTTP/1.1 204\\r\\nConnection: close\\r\\n\\r\\n\n");
    framing_expect_responses(&settings, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n", false,
                             "broken \n");
}

static void declared_lengths_are_limited(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    char expected[1024];
    settings.max_message = 1000;
    snprintf(expected, sizeof expected, "local [closes,refused] %s\n",
             error_text(413, "Content Too Large", "close", "the request is too long"));
    framing_expect_requests(&settings, POST "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n", expected);
    framing_expect_requests(&settings, POST "Content-Length: 1000\r\n\r\nab",
                            "more POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 1000\\r\\n\\r\\nab\n");
}

/* What stands around chunks is not data, so nobody else counts it. */
static void chunk_lines_and_trailers_are_limited(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    static const char *const forms[] = { CHUNKED "1;%s\r\nx\r\n", CHUNKED "0\r\nA: %s\r\n" };
    for (size_t i = 0; i < 2; i++) {
        for (size_t length = 10000; length <= 20000; length += 10000) {
            char *input, *filler = calloc(1, length + 1);
            assert_non_null(filler);
            memset(filler, 'a', length);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            int size = asprintf(&input, forms[i], filler);
#pragma GCC diagnostic pop
            assert_true(size > 0);
            for (size_t step = 1; step < 20000; step += 9000) {
                char *text = framing_requests(&settings, (struct slice){ input, (size_t)size }, step, step);
                assert_int_equal(strncmp(text, "broken", 6) == 0, length == 20000);
                free(text);
            }
            free(input);
            free(filler);
        }
    }
}

/* ---- Responses ---------------------------------------------------------------------------------------- */

#define OK  "HTTP/1.1 200 OK\r\n"
#define ONE "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"

static void answers_end_where_they_say(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    /* RFC 9112 §2.1, RFC 9110 §3.9 */
    framing_expect_responses(
        &settings, GET "\r\n" GET "\r\n",
        "HTTP/1.1 200 OK\r\nDate: Mon, 27 Jul 2009 12:28:53 GMT\r\nServer: Apache\r\n"
        "Last-Modified: Wed, 22 Jul 2009 19:15:56 GMT\r\nETag: \"34aa387-d-1568eb00\"\r\n"
        "Accept-Ranges: bytes\r\nContent-Length: 51\r\nVary: Accept-Encoding\r\n"
        "Content-Type: text/plain\r\n\r\nHello World! My content includes a trailing CRLF.\r\n"
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\nmore",
        false,
        "answer HTTP/1.1 200 OK\\r\\nDate: Mon, 27 Jul 2009 12:28:53 GMT\\r\\nServer: Apache\\r\\n"
        "Last-Modified: Wed, 22 Jul 2009 19:15:56 GMT\\r\\nETag: \"34aa387-d-1568eb00\"\\r\\n"
        "Accept-Ranges: bytes\\r\\nContent-Length: 51\\r\\nVary: Accept-Encoding\\r\\n"
        "Content-Type: text/plain\\r\\n\\r\\nHello World! My content includes a trailing CRLF.\\r\\n\n"
        "answer HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n\n"
        "stray\n");
    framing_expect_responses(&settings, GET "\r\n",
                             OK "Transfer-Encoding: Chunked\r\n\r\n5;a=\"b\"\r\nabcde\r\n0\r\nA: b\r\n\r\nx",
                             false,
                             "answer HTTP/1.1 200 OK\\r\\nTransfer-Encoding: Chunked\\r\\n\\r\\n"
                             "5;a=\"b\"\\r\\nabcde\\r\\n0\\r\\nA: b\\r\\n\\r\\n\n"
                             "stray\n");
    framing_expect_responses(&settings, GET "\r\n", OK "Content-Length: 9223372036854775807\r\n\r\nab", false,
                             "more HTTP/1.1 200 OK\\r\\nContent-Length: 9223372036854775807\\r\\n\\r\\nab\n");
    framing_expect_responses(&settings, GET "\r\n", "HTTP/1.1 999\r\nContent-Length: 0\r\n\r\n", false,
                             "answer HTTP/1.1 999\\r\\nContent-Length: 0\\r\\n\\r\\n\n");
}

static void some_answers_have_no_body(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    framing_expect_responses(
        &settings, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n" GET "\r\n",
        OK "Content-Length: 99\r\n\r\n" OK "Transfer-Encoding: chunked\r\n\r\n" OK
           "Content-Length: 1\r\n\r\nx",
        false,
        "answer HTTP/1.1 200 OK\\r\\nContent-Length: 99\\r\\n\\r\\n\n"
        "answer HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n\n"
        "answer HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\n\\r\\nx\n");
    framing_expect_responses(
        &settings, GET "\r\n" GET "\r\n" GET "\r\n" GET "\r\n",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n",
        false,
        "answer HTTP/1.1 204 No Content\\r\\n\\r\\n\n"
        "answer HTTP/1.1 204 No Content\\r\\nContent-Length: 0\\r\\n\\r\\n\n"
        "answer HTTP/1.1 304 Not Modified\\r\\nContent-Length: 99\\r\\n\\r\\n\n"
        "answer HTTP/1.1 304 Not Modified\\r\\n\\r\\n\n");
}

static void some_answers_end_with_the_connection(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    framing_expect_responses(
        &settings, GET "\r\n", OK "Server: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", true,
        "ended [closes,closes-target] HTTP/1.1 200 OK\\r\\nServer: a\\r\\nConnection: close\\r\\n\\r\\n"
        "HTTP/1.1 200 OK\\r\\n\\r\\n\n");
    framing_expect_responses(
        &settings, ONE, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", true,
        "ended [closes,closes-target] HTTP/1.0 200 OK\\r\\nConnection: close\\r\\n\\r\\n\n");
    /* All others are cut off by that. */
    framing_expect_responses(&settings, GET "\r\n", OK "Content-Length: 3\r\n\r\nab", true,
                             "cut HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nab\n");
    framing_expect_responses(&settings, GET "\r\n", OK "Transfer-Encoding: chunked\r\n\r\n0\r\n", true,
                             "cut HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\n");
    framing_expect_responses(&settings, GET "\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n", true, "cut \n");
    framing_expect_responses(&settings, GET "\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n", true,
                             "interim HTTP/1.1 103 Early Hints\\r\\n\\r\\n\n"
                             "cut \n");
}

static void connections_to_targets_are_ours(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    framing_expect_responses(
        &settings, GET "\r\n",
        OK "Connection: close, Upgrade\r\nUpgrade: h2,h2c\r\nA: b\r\nKeep-Alive: timeout=5, max=100\r\n"
           "Proxy-Connection: close\r\nContent-Length: 1\r\nTE: x\r\n\r\nx",
        false, "answer [closes-target] HTTP/1.1 200 OK\\r\\nA: b\\r\\nContent-Length: 1\\r\\n\\r\\nx\n");
    framing_expect_responses(
        &settings, GET "Connection: close\r\n\r\n", OK "Content-Length: 1\r\n\r\nx", false,
        "answer [closes] HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\nConnection: close\\r\\n\\r\\nx\n");
    /* HTTP/1.0 on either side, or on both: both have to hear that it goes on. */
    framing_expect_responses(
        &settings, ONE ONE, OK "Content-Length: 1\r\n\r\nxHTTP/1.1 204 No Content\r\n\r\n", false,
        "answer HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\nConnection: keep-alive\\r\\n\\r\\nx\n"
        "answer HTTP/1.1 204 No Content\\r\\nConnection: keep-alive\\r\\n\\r\\n\n");
    framing_expect_responses(
        &settings, GET "\r\n" GET "\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx"
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        false,
        "answer HTTP/1.0 200 OK\\r\\nContent-Length: 1\\r\\nConnection: keep-alive\\r\\n\\r\\nx\n"
        "answer [closes-target] HTTP/1.0 200 OK\\r\\nContent-Length: 1\\r\\n"
        "Connection: keep-alive\\r\\n\\r\\nx\n");
    framing_expect_responses(
        &settings, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 304 Not Modified\r\n\r\n", false,
        "answer [closes,closes-target] HTTP/1.0 304 Not Modified\\r\\nConnection: close\\r\\n\\r\\n\n");
}

static void interim_answers_pass(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
#define INTERIMS                                                                                             \
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nConnection: close\r\n\r\n"                      \
    "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    framing_expect_responses(&settings, POST "Content-Length: 1\r\n\r\nx",
                             INTERIMS OK "Content-Length: 0\r\n\r\n", false,
                             "interim HTTP/1.1 102 Processing\\r\\n\\r\\n\n"
                             "interim HTTP/1.1 103 Early Hints\\r\\nLink: </a>\\r\\n\\r\\n\n"
                             "answer HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n\n");
    framing_expect_responses(
        &settings, ONE, INTERIMS OK "Content-Length: 0\r\n\r\n", false,
        "answer HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: keep-alive\\r\\n\\r\\n\n");
    /* An answer may come while its request is under way. */
    framing_expect_responses(&settings, CHUNKED "5\r\nab",
                             "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", false,
                             "answer HTTP/1.1 413 Too Large\\r\\nContent-Length: 2\\r\\n\\r\\nno\n");
}

/* All to a plain GET of HTTP/1.1; nothing of them reaches the client but, maybe, a beginning. */
static void targets_are_held_to_the_rules(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    static const struct slice silent[] = {
        BYTES("HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n"),
        BYTES("HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n"),
        BYTES("HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES("HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\n"),
        BYTES("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES(OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES(OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        BYTES(OK "Content-Length: 1, 1\r\n\r\nx"),
        BYTES(OK "Content-Length: -1\r\n\r\nx"),
        BYTES(OK "Content-Length: 9223372036854775808\r\n\r\nx"),
        BYTES(OK "Content-Length:\r\n\r\nx"),
        BYTES(OK "Content-Length : 1\r\n\r\nx"),
        BYTES(OK "Transfer-Encoding: gzip, chunked\r\n\r\n"),
        BYTES(OK "Transfer-Encoding: gzip\r\n\r\n"),
        BYTES(OK "Transfer-Encoding: identity\r\n\r\n"),
        BYTES(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        BYTES(OK "Connection: Content-Length\r\nContent-Length: 1\r\n\r\nx"),
        BYTES(OK "Content_Length: 1\r\n\r\nx"),
        BYTES(OK " Content-Length: 1\r\n\r\nx"),
        BYTES(OK "A: b\r\n c\r\n\r\nx"),
        BYTES(OK "A: b\nContent-Length: 1\r\n\r\nx"),
        BYTES(OK "A: b\rContent-Length: 1\r\n\r\nx"),
        BYTES(OK "A: \0\r\n\r\nx"),
        BYTES("HTTP/1.1 200 OK\n\n"),
        BYTES("\r\nHTTP/1.1 200 OK\r\n\r\n"),
        BYTES("HTTP/1.2 200 OK\r\n\r\n"),
        BYTES("HTTP/2 200 OK\r\n\r\n"),
        BYTES("http/1.1 200 OK\r\n\r\n"),
        BYTES("HTTP/1.1  200 OK\r\n\r\n"),
        BYTES("HTTP/1.1\t200 OK\r\n\r\n"),
        BYTES("HTTP/1.1 20 OK\r\n\r\n"),
        BYTES("HTTP/1.1 2000 OK\r\n\r\n"),
        BYTES("HTTP/1.1 -20 OK\r\n\r\n"),
        BYTES("HTTP/1.1 099 OK\r\n\r\n"),
        BYTES("HTTP/1.1 2xx OK\r\n\r\n"),
        BYTES("HTTP/1.1 200OK\r\n\r\n"),
        BYTES("HTTP/1.1\r\n\r\n"),
        BYTES("HTTP/1.1 200 OK\r\nA\r\n\r\n"),
        BYTES("\r\n\r\n"),
        BYTES("HTTP/2"),
        BYTES("SSH-2.0"),
        BYTES("<"),
    };
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++)
        framing_expect_responses_at(&settings, (struct slice)BYTES(GET "\r\n"), silent[i], false, "broken \n",
                                    HERE);
    framing_expect_responses(&settings, GET "\r\n", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nabc", false,
                             "broken HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nab\n");
    framing_expect_responses(&settings, GET "\r\n",
                             OK "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n", false,
                             "broken HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
                             "0\\r\\nContent-Length\n");
    /* HTTP/1.0 knows no chunks, whatever the method. */
    framing_expect_responses(&settings, ONE, OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false,
                             "broken \n");
    framing_expect_responses(&settings, "HEAD / HTTP/1.0\r\n\r\n", OK "Transfer-Encoding: chunked\r\n\r\n",
                             false, "broken \n");
}

/* ---- Errors ------------------------------------------------------------------------------------------- */

static void expect_error(const char *requests, enum reason reason, const char *expected, struct place place)
{
    struct protocol_settings settings = framing_settings(&protocol_http);
    framing_expect_error_at(&settings, (struct slice){ requests, strlen(requests) }, reason, expected, place);
}

#define ERROR(line, length, connection)                                                                      \
    "HTTP/1.1 " line "\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n" connection "\r\n"

static void reasons_have_a_status(void **state)
{
    (void)state;
    static const struct {
        enum reason reason;
        unsigned status;
    } cases[] = {
        { REASON_TARGET_CLOSED, 502 },   { REASON_TARGET_RESET, 502 },
        { REASON_TARGET_REFUSED, 503 },  { REASON_CONNECT_TIMEOUT, 504 },
        { REASON_TARGET_DOWN, 503 },     { REASON_REQUEST_TIMEOUT, 504 },
        { REASON_QUEUE_TIMEOUT, 504 },   { REASON_QUEUE_FULL, 503 },
        { REASON_INACTIVITY, 504 },      { REASON_PROTOCOL_ERROR, 502 },
        { REASON_REFUSED_COMMAND, 501 }, { REASON_BLOCKED, 503 },
        { REASON_OVER_LIMIT, 413 },      { REASON_DRAINED, 503 },
        { REASON_INTERNAL, 503 },        { REASON_CLIENT_CLOSED, 0 },
        { REASON_CLIENT_RESET, 0 },      { REASON_CLIENT_STALLED, 0 },
        { REASON_CLIENT_IDLE, 0 },       { REASON_MODULE, 0 },
        { REASON_REPLACED, 0 },          { REASON_OVER_RATE, 503 },
    };
    struct protocol_settings settings = framing_settings(&protocol_http);
    _Static_assert(sizeof cases / sizeof cases[0] == REASON_COUNT - 1, "each reason has to be here");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct protocol_request request = { .decided = true };
        struct buffer out = { 0 };
        char start[32];
        snprintf(start, sizeof start, "HTTP/1.1 %u ", cases[i].status);
        assert_int_equal(protocol_http.write_error(&settings, &request, cases[i].reason, &out),
                         cases[i].status != 0);
        if (cases[i].status != 0)
            assert_memory_equal(buffer_bytes(&out), start, strlen(start));
        buffer_free(&out);
        request.begun = true;
        assert_false(protocol_http.write_error(&settings, &request, cases[i].reason, &out));
        assert_int_equal(out.length, 0);
    }
}

static void errors_suit_the_request(void **state)
{
    (void)state;
    expect_error(
        GET "\r\n", REASON_REQUEST_TIMEOUT,
        ERROR("504 Gateway Timeout", "55", "") "504 Gateway Timeout: the target did not answer in time\n",
        HERE);
    expect_error(GET "Connection: close\r\n\r\n", REASON_REQUEST_TIMEOUT,
                 ERROR("504 Gateway Timeout", "55",
                       "Connection: close\r\n") "504 Gateway Timeout: the target did not answer in time\n",
                 HERE);
    expect_error(
        ONE, REASON_QUEUE_FULL,
        ERROR("503 Service Unavailable", "55",
              "Connection: keep-alive\r\n") "503 Service Unavailable: too many requests are waiting\n",
        HERE);
    expect_error("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", REASON_QUEUE_FULL,
                 ERROR("503 Service Unavailable", "55", ""), HERE);
    /* Incomplete ones. */
    expect_error(
        "", REASON_DRAINED,
        ERROR("503 Service Unavailable", "54", "") "503 Service Unavailable: the service is shutting down\n",
        HERE);
    expect_error("GET / HT", REASON_PROTOCOL_ERROR,
                 ERROR("400 Bad Request", "37", "") "400 Bad Request: a malformed request\n", HERE);
    expect_error(CHUNKED "5\r\na", REASON_OVER_LIMIT,
                 ERROR("413 Content Too Large", "47", "") "413 Content Too Large: the request is too long\n",
                 HERE);
    expect_error(GET "\r\n", REASON_CLIENT_STALLED, NULL, HERE);
}

/* The limit of one message is that of both: who broke it shows in what came. */
static void an_answer_can_be_too_long(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    struct protocol_request request = { .decided = true };
    struct http_connection connection = { 0 };
    struct slice input = SLICE("HTTP/1.1 200 OK\r\nA: ");
    struct buffer out = { 0 };
    assert_int_equal(protocol_http.read_response(&settings, &connection, &request, &input, &out, NULL),
                     PROTOCOL_MORE);
    assert_int_equal(out.length, 0);
    assert_true(connection.head.length > 0);
    assert_true(protocol_http.write_error(&settings, &request, REASON_OVER_LIMIT, &out));
    assert_memory_equal(buffer_bytes(&out), "HTTP/1.1 502 ", 13);
    /* What was kept of the head goes with the connection, or with the head. */
    input = SLICE("\r\nContent-Length: 1\r\n\r\n");
    assert_int_equal(protocol_http.read_response(&settings, &connection, &request, &input, &out, NULL),
                     PROTOCOL_MORE);
    assert_null(connection.head.memory);
    protocol_http.close_connection(&connection);
    buffer_free(&out);
}

/* A client's fault inside its body is not said once its answer has begun. */
static void a_broken_body_adds_nothing_to_an_answer(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    struct http_client client = { 0 };
    struct protocol_request request = { 0 };
    struct slice input = SLICE(CHUNKED);
    struct buffer out = { 0 }, answer = { 0 };
    assert_int_equal(protocol_http.read_request(&settings, &client, &request, &input, &out, &answer),
                     PROTOCOL_MORE);
    assert_true(request.decided);
    request.begun = true;
    input = SLICE("x");
    assert_int_equal(protocol_http.read_request(&settings, &client, &request, &input, &out, &answer),
                     PROTOCOL_BROKEN);
    assert_int_equal(answer.length, 0);
    assert_true(request.closes_client);
    buffer_free(&out);
}

/* The multiplexer may decide to close the client at any time before the head of its answer. */
static void an_answer_says_that_the_client_is_closed(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    struct protocol_request request = { .decided = true, .closes_client = true };
    struct http_connection connection = { 0 };
    struct slice input = SLICE("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
    struct buffer out = { 0 };
    assert_int_equal(protocol_http.read_response(&settings, &connection, &request, &input, &out, NULL),
                     PROTOCOL_INTERIM);
    assert_int_equal(protocol_http.read_response(&settings, &connection, &request, &input, &out, NULL),
                     PROTOCOL_COMPLETE);
    static const char expected[] =
        "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    assert_int_equal(out.length, sizeof expected - 1);
    assert_memory_equal(buffer_bytes(&out), expected, sizeof expected - 1);
    buffer_free(&out);
}

/* ---- Effort ------------------------------------------------------------------------------------------- */

/* A head of `fields` fields, and a body of as many chunks with extensions. */
static char *long_message(const char *first_line, size_t fields, size_t *size)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, size);
    assert_non_null(stream);
    fputs(first_line, stream);
    for (size_t i = 0; i < fields; i++)
        fprintf(stream, "Field-%zu: value of the field\r\n", i);
    fputs("Transfer-Encoding: chunked\r\n\r\n", stream);
    for (size_t i = 0; i < fields; i++)
        fputs("4;name=value\r\nbody\r\n", stream);
    fputs("0\r\nTrailer-Field: its value\r\n\r\n", stream);
    assert_int_equal(fclose(stream), 0);
    return text;
}

static void bytes_are_looked_at_once_as_they_come(void **state)
{
    (void)state;
    struct protocol_settings settings = framing_settings(&protocol_http);
    struct http_client client = { 0 };
    struct http_connection connection = { 0 };
    struct protocol_request request = { 0 };
    struct buffer out = { 0 }, answer = { 0 };
    enum protocol_outcome outcome = PROTOCOL_MORE;
    size_t size;
    char *text = long_message(POST, 1000, &size);
    for (size_t i = 0; i < size; i++) {
        struct slice input = { text + i, 1 };
        assert_int_equal(outcome, PROTOCOL_MORE);
        outcome = protocol_http.read_request(&settings, &client, &request, &input, &out, &answer);
    }
    assert_int_equal(outcome, PROTOCOL_COMPLETE);
    /* A head once as it comes, once when it is whole. */
    assert_true(client.scanner.looked_at + client.body.looked_at <= 2 * size);
    assert_true(client.scanner.looked_at >= 30000);
    assert_true(client.body.looked_at >= 14000);
    free(text);
    buffer_truncate(&out, 0);

    text = long_message(OK, 1000, &size);
    outcome = PROTOCOL_MORE;
    for (size_t i = 0; i < size; i++) {
        struct slice input = { text + i, 1 };
        assert_int_equal(outcome, PROTOCOL_MORE);
        outcome = protocol_http.read_response(&settings, &connection, &request, &input, &out, NULL);
    }
    assert_int_equal(outcome, PROTOCOL_COMPLETE);
    assert_int_equal(out.length, size);
    assert_true(connection.scanner.looked_at + connection.body.looked_at <= 2 * size);
    assert_true(connection.scanner.looked_at >= 30000);
    assert_true(connection.body.looked_at >= 14000);
    free(text);
    protocol_http.close_connection(&connection);
    buffer_free(&out);
    buffer_free(&answer);
}

static void what_is_said_of_it_is_true(void **state)
{
    (void)state;
    assert_ptr_equal(protocols_find("http"), &protocol_http);
    assert_false(protocol_http.is_async);
    assert_true(protocol_http.aborts_on_close);
    assert_false(protocol_http.has_pushes);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfcs_pass),
        cmocka_unit_test(requests_follow_each_other),
        cmocka_unit_test(connections_are_ours),
        cmocka_unit_test(expectations_are_answered_here),
        cmocka_unit_test(unusual_requests_pass),
        cmocka_unit_test(smuggling_tricks_are_refused),
        cmocka_unit_test(what_needs_a_connection_of_its_own_is_refused),
        cmocka_unit_test(heads_are_limited),
        cmocka_unit_test(declared_lengths_are_limited),
        cmocka_unit_test(chunk_lines_and_trailers_are_limited),
        cmocka_unit_test(answers_end_where_they_say),
        cmocka_unit_test(some_answers_have_no_body),
        cmocka_unit_test(some_answers_end_with_the_connection),
        cmocka_unit_test(connections_to_targets_are_ours),
        cmocka_unit_test(interim_answers_pass),
        cmocka_unit_test(targets_are_held_to_the_rules),
        cmocka_unit_test(reasons_have_a_status),
        cmocka_unit_test(errors_suit_the_request),
        cmocka_unit_test(an_answer_can_be_too_long),
        cmocka_unit_test(a_broken_body_adds_nothing_to_an_answer),
        cmocka_unit_test(an_answer_says_that_the_client_is_closed),
        cmocka_unit_test(bytes_are_looked_at_once_as_they_come),
        cmocka_unit_test(what_is_said_of_it_is_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
