/* Listening sockets that this process was started with: those that systemd passes (sd_listen_fds(3)), known by names,
 * and those of the process that an upgrade replaces (see server/upgrade.h), known by their addresses. */
#ifndef NET_INHERITED_H
#define NET_INHERITED_H

#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>

#define INHERITED_FIRST      3           /* the first descriptor that is passed; the others follow it */
#define INHERITED_BY_ADDRESS "(address)" /* the name of a socket that an upgrade passes */

struct inherited_socket {
    int descriptor; /* -1: it was claimed */
    char *name;
    struct address address; /* AF_UNIX: see path; AF_UNSPEC: it is no stream socket that listens */
    char *path;             /* NULL: none */
};

/* Owned by the server. All zero: there are none. */
struct inherited {
    struct inherited_socket *sockets;
    size_t count;
};

/* Takes over the sockets of LISTEN_FDS and LISTEN_FDNAMES if LISTEN_PID is this process, and removes these variables.
 * To be called before anything else opens descriptors. False when memory is short. */
bool inherited_take(struct inherited *inherited);

/* The first unclaimed socket of that name; NULL: no more. */
struct inherited_socket *inherited_named(struct inherited *inherited, const char *name);

/* The unclaimed socket that listens at this address or, if there is one, path, whatever its name. NULL: none. */
struct inherited_socket *inherited_at(struct inherited *inherited, const struct address *address,
                                      const char *path);

/* Claims the socket: its descriptor is the caller's then. */
int inherited_claim(struct inherited_socket *socket);

/* Logs each unclaimed socket. */
void inherited_report(const struct inherited *inherited);

/* Closes unclaimed sockets, and frees all. Removes the paths of unix sockets of the process that an upgrade replaced if
 * that has closed them too. */
void inherited_release(struct inherited *inherited, bool removes_paths);

#endif
