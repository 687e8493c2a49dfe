/* Addresses: `struct address` is one a socket can use (an IP address with a port); `struct endpoint` is what
 * a configuration names: HOST:PORT, [V6]:PORT, *:PORT or unix:PATH. */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include "base/slice.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_SIZE 80 /* of every text of address_print() */
#define ADDRESS_WIDTH_MAX 16 /* bytes of an IP address */
#define ADDRESS_HOST_MAX  20 /* bytes of address_host() */

/* An IP address with its port. Family AF_UNIX stands for "a peer on a unix socket", which has no address;
 * AF_UNSPEC (all zero) for none at all. */
struct address {
    union {
        struct {
            sa_family_t family;
            in_port_t port; /* as it is on the wire */
        };
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
};

/* The bytes of an IP address, the highest first, and their number, which is 0 for other families. */
static inline const unsigned char *address_bytes(const struct address *address)
{
    return address->family == AF_INET ? (const unsigned char *)&address->v4.sin_addr
                                      : address->v6.sin6_addr.s6_addr;
}

static inline size_t address_width(const struct address *address)
{
    return address->family == AF_INET ? 4 : address->family == AF_INET6 ? 16 : 0;
}

/* What distinguishes hosts: the bytes of an IP address, and where IPv6 is local the link. In `address`; empty for other
 * families. */
struct slice address_host(const struct address *address);

/* Reads a numeric IPv4 or IPv6 address without port (an IPv6 zone as in "fe80::1%eth0" is understood), or one that is
 * the first `length` characters; the port becomes 0. False if it is none: the address is all zero then. */
bool address_parse(const char *text, struct address *address);
bool address_parse_part(const char *text, size_t length, struct address *address);

/* Takes an address of AF_INET or AF_INET6 as it is on the wire, or a socket's address as accept() and
 * getpeername() give it. IPv4-mapped IPv6 becomes IPv4. */
void address_from_bytes(sa_family_t family, const unsigned char *bytes, uint16_t port,
                        struct address *address);
void address_from_socket(const struct sockaddr *socket_address, struct address *address);

/* The port; 0 for other families, of which it can't be set. */
static inline uint16_t address_port(const struct address *address)
{
    return ntohs(address->port);
}

static inline void address_set_port(struct address *address, uint16_t port)
{
    if (address_width(address) > 0)
        address->port = htons(port);
}

/* Length to hand to bind() and connect(). IP addresses only. */
static inline socklen_t address_length(const struct address *address)
{
    return address->family == AF_INET ? sizeof address->v4 : sizeof address->v6;
}

/* "192.0.2.1:80", "[2001:db8::1]:80", "unix" or "none". Returns `text`, of ADDRESS_TEXT_SIZE bytes. */
const char *address_print(const struct address *address, char *text);

/* The same of a client, for the log: if that masks addresses, "192.0.2.0" or "2001:db8:1::", the last octet
 * of IPv4 and the last 80 bits of IPv6 being zero, without the port. */
const char *address_print_client(const struct address *address, char *text);

/* Total order of addresses, ports left out (host) or included: <0, 0, >0. */
int address_compare_host(const struct address *a, const struct address *b);
int address_compare(const struct address *a, const struct address *b);

/* Whether it belongs to this machine alone: 127.0.0.0/8 or ::1. */
bool address_is_loopback(const struct address *address);

enum endpoint_kind {
    ENDPOINT_NUMERIC, /* `address` is complete; `host` is its text */
    ENDPOINT_NAME,    /* `host` has to be looked up */
    ENDPOINT_ANY,     /* "*": every address of the machine, both families; listening only */
    ENDPOINT_UNIX,    /* `host` is the path */
    ENDPOINT_SYSTEMD  /* `host` is the name under which systemd passes sockets; listening only */
};

/* Owned by whoever embeds it; endpoint_free() when done. */
struct endpoint {
    enum endpoint_kind kind;
    char *host; /* name, numeric text without brackets, "*" or path */
    uint16_t port;
    struct address address; /* of ENDPOINT_NUMERIC, port included */
};

/* Make one of "HOST:PORT", "[V6]:PORT", "*:PORT" or "unix:PATH" (absolute, and short enough for a socket); of a host
 * (brackets allowed, not needed) and a port from 1 to 65535; of the name under which systemd passes sockets. False
 * with a reason in `error` that reads well after "KEY: ". */
bool endpoint_parse(const char *text, struct endpoint *endpoint, char *error, size_t error_size);
bool endpoint_make(const char *host, int64_t port, struct endpoint *endpoint, char *error, size_t error_size);
bool endpoint_make_systemd(const char *name, struct endpoint *endpoint, char *error, size_t error_size);

void endpoint_free(struct endpoint *endpoint);

/* False when memory is short; `copy` is empty then. */
bool endpoint_copy(const struct endpoint *endpoint, struct endpoint *copy);

/* An order of endpoints, by their address or by port and name; names are compared without regard to case. */
int endpoint_compare(const struct endpoint *a, const struct endpoint *b);

static inline bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return endpoint_compare(a, b) == 0;
}

/* As a configuration would write it: "db1:3306", "[::1]:80", "unix:/run/x". Cut to `size`. Returns `text`. */
const char *endpoint_print(const struct endpoint *endpoint, char *text, size_t size);

#endif
