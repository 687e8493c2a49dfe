/* The PROXY protocol, versions 1 and 2: a header in front of a connection's bytes that names the client on
 * whose behalf a proxy has made the connection (haproxy's proxy-protocol.txt). Pure functions over bytes. */
#ifndef NET_PROXY_HEADER_H
#define NET_PROXY_HEADER_H

#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>

/* The longest header of version 1, with its line end; and room for writing one, with a zero. */
#define PROXY_HEADER_TEXT_MAX  107
#define PROXY_HEADER_WRITE_MAX (PROXY_HEADER_TEXT_MAX + 1)

enum proxy_header_result {
    PROXY_HEADER_MORE, /* all bytes belong to the header, and it is not complete */
    PROXY_HEADER_DONE,
    PROXY_HEADER_BROKEN /* no header, or one that contradicts itself */
};

/* A header that comes in pieces. All zero is the beginning. */
struct proxy_header {
    unsigned char
        bytes[PROXY_HEADER_TEXT_MAX]; /* its beginning: what follows, extensions of version 2, is skipped */
    size_t total;                     /* bytes that have come */
    /* Once it is done: whether it names a client. If not (LOCAL, UNKNOWN, a unix socket), the connection's
     * own addresses are the ones to go by. */
    bool has_addresses;
    struct address source;
    struct address destination;
};

/* Reads the next `length` bytes; `used` gets how many of them belong to the header: all, unless it is done. A header
 * that another reader could understand differently is broken. IPv4-mapped IPv6 becomes IPv4. */
enum proxy_header_result proxy_header_read(struct proxy_header *header, const char *bytes, size_t length,
                                           size_t *used);

/* Writes a header of version 1 or 2 for a client at `source` that was accepted at `destination`; returns its length.
 * One of IPv4 and IPv6 is mapped; without an IP address it names none (UNKNOWN, LOCAL). `bytes` holds
 * PROXY_HEADER_WRITE_MAX. */
size_t proxy_header_write(int version, const struct address *source, const struct address *destination,
                          char *bytes);

#endif
