/* From the addresses that a listener's settings name to sockets that listen. */
#ifndef LISTENER_BIND_H
#define LISTENER_BIND_H

#include "config/settings.h"
#include "net/inherited.h"
#include "net/socket.h"

#include <stdbool.h>
#include <stddef.h>

/* One listening socket. */
struct bound_socket {
    int descriptor;
    struct address address;  /* AF_UNIX: see path */
    char *path;              /* of a unix socket, else NULL */
    struct socket_file file; /* of a unix socket */
    char *systemd_name;      /* systemd has made it and will remove its path; NULL: it is ours */
};

/* Owned by who embeds it. */
struct bound_sockets {
    struct bound_socket *sockets;
    size_t count;
};

/* Binds every address of the settings, looking names up (this blocks: not to be called from the loop). A name
 * binds every address it has; one whose family this machine lacks is logged and skipped as long as another
 * one of the same entry binds. `owner` and `owner_group` become the owner of folders that have to be made for
 * unix sockets ((uid_t)-1, (gid_t)-1: us). Sockets that are among those inherited are claimed instead of
 * made. On failure nothing stays bound, and `error` names the address and why. */
bool bind_listen(const struct listener_settings *settings, uid_t owner, gid_t owner_group,
                 struct inherited *inherited, struct bound_sockets *bound, char *error, size_t error_size);

/* What was inherited by address is ours alone from now on, its path to be removed by us. */
void bind_adopt(struct bound_sockets *bound);

/* Closes all in favour of another process that has the same sockets: paths stay. */
void bind_leave(struct bound_sockets *bound);

/* Closes all; a unix path is removed only if it still is ours. */
void bind_close(struct bound_sockets *bound);

/* "127.0.0.1:80" or "unix:/run/x". Returns `text`. */
const char *bind_print(const struct bound_socket *socket, char *text, size_t size);

#endif
