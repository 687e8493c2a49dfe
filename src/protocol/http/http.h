/* The parts of the http framer: what they share. Only http*.c and their tests include this. After RFC 9110 and
 * RFC 9112, as strictly as they can be read: what two programs could read differently is a fault. */
#ifndef PROTOCOL_HTTP_H
#define PROTOCOL_HTTP_H

#include "protocol/protocol.h"

/* ---- Heads (http_head.c) ------------------------------------------------------------------------------- */

/* tchar: what names and methods are made of. */
extern const bool http_token_bytes[256];

/* What may stand in a field's value: HTAB, SP, VCHAR and obs-text. */
extern const bool http_text_bytes[256];

/* The fields that a proxy has to know. */
enum http_name {
    HTTP_OTHER,
    HTTP_HOST,
    HTTP_CONNECTION,
    HTTP_CONTENT_LENGTH,
    HTTP_TRANSFER_ENCODING,
    HTTP_EXPECT,
    HTTP_AUTHORIZATION,
    HTTP_PROXY_AUTHORIZATION,
    /* These concern one connection only. */
    HTTP_KEEP_ALIVE,
    HTTP_PROXY_CONNECTION,
    HTTP_TE,
    HTTP_UPGRADE,
    HTTP_HTTP2_SETTINGS,
    /* One of the above with "_" for "-": programs that make variables of names take it for that one. */
    HTTP_DISGUISED,
};

/* The longest of their names. */
#define HTTP_NAME_MAX 19

enum http_name http_name_of(struct slice name);

/* Finds the end of a head; all zeros at its beginning. */
struct http_scanner {
    unsigned char state;
    uint64_t looked_at; /* bytes, of all heads; for tests */
};

/* Takes the next `piece` of a head, at most `room` bytes, off the input. COMPLETE: the head ends with it, and
 * consists of lines of text bytes that end with CRLF, the last one empty. BROKEN: its last byte must not be there. */
enum protocol_outcome http_scan(struct http_scanner *scanner, struct slice *input, size_t room,
                                struct slice *piece);

/* What a head says. Slices point into it. */
struct http_head {
    struct slice method; /* requests */
    struct slice target;
    uint64_t status; /* responses */
    unsigned minor;  /* of the version: 1.0 or 1.1 */
    bool has_length; /* Content-Length */
    uint64_t length;
    bool chunked;          /* Transfer-Encoding: chunked */
    bool compressed;       /* Transfer-Encoding: further, known codings and then chunked */
    bool closes;           /* Connection: close */
    bool keeps_alive;      /* Connection: keep-alive */
    bool has_hops;         /* there are fields that are not passed on */
    bool upgrades;         /* there is an Upgrade field */
    bool expects_continue; /* Expect: 100-continue */
    bool expects_other;
    bool logs_in_connection; /* credentials that hold for the connection: NTLM, Negotiate */
    unsigned host_count;
    struct slice host; /* the value of the last one */
};

/* Read a head that http_scan() found the end of. Return NULL, or what is wrong with it: a few words
 * for the client, static. */
const char *http_read_request_head(struct slice bytes, struct http_head *head);
const char *http_read_response_head(struct slice bytes, struct http_head *head);

/* Takes the fields that are for one connection only, and Expect, out of a head in place. Returns its new length. */
size_t http_strip_head(char *bytes, size_t length);

/* ---- Bodies (http_body.c) ------------------------------------------------------------------------------ */

/* Bytes that the line of one chunk's size, and all trailers together, may have. */
#define HTTP_BODY_EXTRA_MAX 16384

enum http_body_kind { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE };

/* Where in a body we are. */
struct http_body {
    unsigned char kind;
    unsigned char step;
    unsigned char digits; /* of the chunk's size */
    unsigned char name_length;
    char name[HTTP_NAME_MAX]; /* the trailer's name; one that is longer is cut */
    uint32_t extra;           /* bytes of the chunk's line, or of the trailers */
    uint64_t left;            /* bytes of the body, or of the chunk */
    uint64_t looked_at;       /* bytes, of all bodies; for tests */
};

/* `length` is that of a body by length, more than 0. */
void http_body_start(struct http_body *body, enum http_body_kind kind, uint64_t length);

/* Appends what belongs to the body, and moves the input on. COMPLETE: the body ended. BROKEN: the next byte
 * must not be there; it was not taken. */
enum protocol_outcome http_body_read(struct http_body *body, struct slice *input, struct buffer *out);

/* ---- States (http.c) ----------------------------------------------------------------------------------- */

#define HTTP_BLANK_DONE 2

/* Of a client. The head that is being read is in `out`. */
struct http_client {
    struct http_scanner scanner;
    struct http_body body;
    unsigned char blank; /* bytes of the empty line before a request that were there, or HTTP_BLANK_DONE */
    bool in_body;
};

/* Of a connection. A response's head is kept only if it does not come in one piece. */
struct http_connection {
    struct http_scanner scanner;
    struct http_body body;
    struct buffer head;
    bool in_body;
};

#endif
