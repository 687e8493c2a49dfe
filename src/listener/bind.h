/* From the addresses that a listener's settings name to sockets that listen. */
#ifndef LISTENER_BIND_H
#define LISTENER_BIND_H

#include "config/settings.h"
#include "net/inherited.h"
#include "net/socket.h"

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

/* One listening socket. */
struct bound_socket {
    int descriptor;          /* -1: another listener has taken it over */
    struct address address;  /* AF_UNIX: see path */
    char *path;              /* of a unix socket, else NULL */
    struct socket_file file; /* of a unix socket; all zero: the path is another process's */
    char *systemd_name;      /* systemd has made it and will remove its path; NULL: it is ours */
    bool ipv6_only;
    bool reuse_port;             /* as configured */
    bool is_wanted;              /* by the settings that are being prepared */
    bool is_taken;               /* and has been given to a listener of theirs */
    struct bound_socket *origin; /* while they are: the running one that this one is; NULL: it is new */
    ev_io watcher;               /* its listener's */
};

/* Owned by who embeds it. */
struct bound_sockets {
    struct bound_socket *sockets;
    size_t count;
};

/* An address that settings want a socket on. */
struct bind_wish {
    size_t entry;           /* of `listen` */
    struct address address; /* AF_UNIX: the entry has the path; AF_UNSPEC: the name that systemd uses */
    bool ipv6_only;
    bool may_lack; /* the machine may lack its family, as long as another one of the entry can be bound */
};

/* Owned by who embeds it. */
struct bind_wishes {
    struct bind_wish *wishes;
    size_t count;
};

/* Finds out which addresses the settings mean; looks names up, which blocks. False with `error` set. */
bool bind_resolve(const struct listener_settings *settings, struct bind_wishes *wishes, char *error,
                  size_t error_size);
void bind_wishes_free(struct bind_wishes *wishes);

/* Whether the running socket is what is wished for. A unix socket whose path is not ours any more is not. */
bool bind_matches(const struct bound_socket *socket, const struct listener_settings *settings,
                  const struct bind_wish *wish);

/* What a reload knows of the sockets that run. */
struct bind_running {
    /* The running socket that a wish is about, or NULL. */
    struct bound_socket *(*find)(void *data, const struct listener_settings *settings,
                                 const struct bind_wish *wish);
    /* Lets another socket be bound to addresses that overlap those of running ones that go; false if there
     * are none. */
    bool (*make_way)(void *data, const struct bind_wish *wish);
    void *data;
};

/* Where sockets come from, and whose they are to be. */
struct bind_means {
    uid_t user; /* also of folders that have to be made for unix sockets; (uid_t)-1: ours */
    gid_t group;
    struct inherited *inherited;        /* claimed instead of made */
    const struct bind_running *running; /* NULL: none */
};

/* Binds what is wished for, or takes it from what runs already or was inherited. An address whose family this
 * machine lacks is logged and skipped where that is allowed. On failure nothing new stays bound, and `error` names
 * the address and why. What was taken counts only after bind_take_over(); until then closing leaves it alone. */
bool bind_open(const struct listener_settings *settings, const struct bind_wishes *wishes,
               const struct bind_means *means, struct bound_sockets *bound, char *error, size_t error_size);

/* The sockets found running are these now, with the options of the settings. Of others only the mode and the
 * owner of a path are set anew. */
void bind_take_over(const struct listener_settings *settings, struct bound_sockets *bound);

/* Leaves out the sockets that others have taken over. None may be watched. */
void bind_forget_taken(struct bound_sockets *bound);

/* bind_resolve() and bind_open(), for a start. */
bool bind_listen(const struct listener_settings *settings, uid_t owner, gid_t owner_group,
                 struct inherited *inherited, struct bound_sockets *bound, char *error, size_t error_size);

/* What was inherited by address is ours alone from now on, its path to be removed by us. */
void bind_adopt(struct bound_sockets *bound);

/* Nobody comes to the socket any more; those in its backlog can still be accepted. One of systemd's stays as it
 * is: systemd keeps it, and whoever comes finds its next owner. */
void bind_stop_listening(const struct bound_socket *socket);

/* Closes all in favour of another process that has the same sockets: paths stay. */
void bind_leave(struct bound_sockets *bound);

/* Closes all; a unix path is removed only if it still is ours. */
void bind_close(struct bound_sockets *bound);

/* "127.0.0.1:80" or "unix:/run/x". Returns `text`. */
const char *bind_print(const struct bound_socket *socket, char *text, size_t size);

#endif
