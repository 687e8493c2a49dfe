/* Answers that are made here. */
#ifndef PROTOCOL_HTTP_ERROR_H
#define PROTOCOL_HTTP_ERROR_H

#include "base/buffer.h"

#include <stdbool.h>

struct http_error {
    unsigned status;
    const char *why;   /* a few words for people */
    bool closes;       /* says that the connection closes */
    bool keeps_alive;  /* says that it does not, as HTTP/1.0 wants to hear */
    bool answers_head; /* has no body then */
};

/* Appends the answer: a head, and one line of text. */
void http_error_write(const struct http_error *error, struct buffer *out);

#endif
