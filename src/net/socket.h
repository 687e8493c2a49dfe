/* Sockets as this program uses them: non-blocking, closed on exec, TCP_NODELAY on every TCP connection. */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct socket_options {
    int backlog;
    bool reuse_port; /* of an IP address */
    bool ipv6_only;  /* of an IPv6 address; otherwise it takes IPv4 clients too */
    mode_t mode;     /* of a unix socket */
    uid_t user; /* whose socket it is to be: only sockets of one user can share an address; (uid_t)-1: ours */
    gid_t group; /* of a unix socket; (gid_t)-1: ours */
};

/* Binds and listens. Returns the descriptor, or -1 with errno. The caller closes it. */
int socket_listen(const struct address *address, const struct socket_options *options);

/* Allows that others of the same user listen on the address too, or not any more. */
void socket_set_reuse_port(int descriptor, bool reuse);

/* Makes a listening socket ignore further attempts, in all processes that share it, for good; its backlog stays. A TCP
 * client tries again a moment later, and reaches what replaces the socket; at a unix socket it is refused. */
void socket_stop_listening(int descriptor, bool is_unix);

/* Which file a bound unix socket is, so that only that one is removed at the end. */
struct socket_file {
    dev_t device;
    ino_t inode;
};

/* Binds a unix socket with mode and owner set before it listens, after socket_remove_stale(). Returns the descriptor,
 * or -1 with a reason in `error`. */
int socket_listen_unix(const char *path, const struct socket_options *options, struct socket_file *file,
                       char *error, size_t error_size);

/* Makes the last folder of `path`, as that of a unix socket or a pid file, if it is missing: 0755, of that user and
 * group ((uid_t)-1, (gid_t)-1: the process's). False with errno. */
bool socket_make_folder(const char *path, uid_t user, gid_t group);

/* Removes a socket file that nobody listens at, which a refused connection proves. NULL if the path is free then, or
 * why it is not. */
const char *socket_remove_stale(const char *path);

/* Which file a socket at that path is. False with errno. */
bool socket_find_file(const char *path, struct socket_file *file);

/* Whether the path still is the socket that `file` names; removes it if so. */
bool socket_is_file(const char *path, const struct socket_file *file);
void socket_unlink(const char *path, const struct socket_file *file);

/* Starts a connection. Returns the descriptor (connected or, most of the time, in progress: errno is then
 * EINPROGRESS, else 0), or -1 with errno. */
int socket_connect(const struct address *address);
int socket_connect_unix(const char *path);

/* The value of an option that is an int. -1 with errno. */
int socket_option(int descriptor, int level, int option);

/* The pending error of a socket, 0 if none: the outcome of a connect() once the socket became writable. */
int socket_error(int descriptor);

/* Whether reading or writing is to be tried again later: it would have had to wait, was interrupted, or the
 * kernel was short of memory, which leaves the connection whole. */
bool socket_would_wait(int error);

/* Times in milliseconds, rounded up to seconds; `idle` 0: not any more. No effect on unix sockets. */
void socket_keep_alive(int descriptor, int64_t idle, int64_t interval, int64_t count);

/* Milliseconds after which the kernel ends a connection whose peer takes nothing of what was sent, because its machine
 * is gone; negative: its own time, of many minutes. No effect on unix sockets. */
void socket_user_timeout(int descriptor, int64_t milliseconds);

/* For a connection that accept4() gave. */
void socket_no_delay(int descriptor);

/* Closes with a reset, so that the peer can't take a broken stream for a whole one. */
void socket_close_reset(int descriptor);

#endif
