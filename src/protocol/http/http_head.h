/* The head of an HTTP/1 message: finding its end as it comes, reading it once it is whole, and taking out
 * what is for one connection only. After RFC 9112 §2–§6, as strictly as it can be read: what two programs
 * could read differently is a fault. */
#ifndef PROTOCOL_HTTP_HEAD_H
#define PROTOCOL_HTTP_HEAD_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Finds the end of a head; all zeros at its beginning. */
struct http_scanner {
    unsigned char state;
    uint64_t looked_at; /* bytes, of all heads; for tests */
};

enum http_scan {
    HTTP_SCAN_MORE, /* all bytes were used */
    HTTP_SCAN_END,  /* the empty line ends with the last one used */
    HTTP_SCAN_BAD,  /* a control byte, or CR or LF that stands alone */
};

/* Looks at the next bytes of a head, whatever pieces they come in. What has an end consists of lines that end
 * with CRLF, of text bytes only, the last one empty. */
enum http_scan http_scan(struct http_scanner *scanner, struct slice bytes, size_t *used);

/* What a head says. Slices point into it. */
struct http_head {
    struct slice method; /* requests */
    struct slice target;
    unsigned status; /* responses */
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

/* Takes the fields that are for one connection only, and Expect, out of a head in place.
 * Returns its new length. */
size_t http_strip_head(char *bytes, size_t length);

#endif
