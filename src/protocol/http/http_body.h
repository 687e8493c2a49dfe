/* The body of an HTTP/1 message, as it comes: by length, in chunks, or until the connection ends (RFC 9112
 * §6, §7). The same for both directions. */
#ifndef PROTOCOL_HTTP_BODY_H
#define PROTOCOL_HTTP_BODY_H

#include "base/buffer.h"
#include "base/slice.h"
#include "protocol/http/http_field.h"

#include <stdint.h>

/* Bytes that the line of one chunk's size, and all trailers together, may have. */
#define HTTP_BODY_EXTRA_MAX 16384

enum http_body_kind { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE };

/* Where in a body we are; lives in the state of a client or of a connection. */
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

enum http_body_result { HTTP_BODY_MORE, HTTP_BODY_END, HTTP_BODY_BAD };

/* Appends what belongs to the body, and moves the input on. END: the body ended. BAD: the next byte must not
 * be there; it was not taken. */
enum http_body_result http_body_read(struct http_body *body, struct slice *input, struct buffer *out);

#endif
