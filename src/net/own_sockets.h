/* Our own connections that may lead to a listener of ours, so that a listener notices when clients of its come back to
 * it: by a name, another address of this machine, or other listeners. Each of them would cause another one. */
#ifndef NET_OWN_SOCKETS_H
#define NET_OWN_SOCKETS_H

#include "net/address.h"

/* Owned by the runtime; all zero at first. */
struct own_sockets {
    unsigned char ports[65536 / 8]; /* that we listen on, or once did */
    struct own_socket *sockets;     /* a table by port; NULL: there has been none */
    struct own_way *ways;
    size_t way_count;
};

/* A socket of ours listens at this address. */
void own_sockets_listen(struct own_sockets *own, const struct address *address);

/* A socket of ours connects to this address for a target of that listener. */
void own_sockets_connect(struct own_sockets *own, int descriptor, const struct address *address,
                         const char *listener);

/* Whether a client of a listener, who comes from this address, is the listener itself, perhaps by way of others;
 * `from` gets whose connection it is, and `is_new` whether that is known for the first time. */
bool own_sockets_is_loop(struct own_sockets *own, const struct address *client, const char *listener,
                         const char **from, bool *is_new);

/* Other targets are in force: what led where is forgotten. */
void own_sockets_reconfigure(struct own_sockets *own);

void own_sockets_close(struct own_sockets *own);

#endif
