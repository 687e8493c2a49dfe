/* What the framer `http` keeps for each client and each connection to a target. Only http.c and
 * its test need to know. */
#ifndef PROTOCOL_HTTP_H
#define PROTOCOL_HTTP_H

#include "base/buffer.h"
#include "protocol/http/http_body.h"
#include "protocol/http/http_head.h"

/* Of a client. The head that is being read is in `out`. */
struct http_client {
    struct http_scanner scanner;
    struct http_body body;
    unsigned char blank; /* how much of the empty line before a request was there */
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
