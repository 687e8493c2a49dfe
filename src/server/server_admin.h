/* The listener of admin, and what it shows of the server. */
#ifndef SERVER_ADMIN_H
#define SERVER_ADMIN_H

#include "config/config.h"
#include "listener/listener.h"
#include "net/runtime.h"
#include "server/drain.h"
#include "server/server_reload.h"

/* Owned by the server, like all that it points to. */
struct server_admin {
    const struct runtime *runtime;
    const struct config *config;
    const struct drain *drain;
    const struct reload *reload;
    int64_t started;           /* milliseconds since 1970 */
    struct listener *listener; /* that of admin; NULL: there is none */
};

/* Notes that the process has started. What `drain` holds are the listeners that are shown. */
void server_admin_init(struct server_admin *admin, const struct runtime *runtime, const struct config *config,
                       const struct drain *drain, const struct reload *reload);

/* Makes the listener of admin, if the settings name one; takes `bound` over. False with errno. */
bool server_admin_open(struct server_admin *admin, struct runtime *runtime, struct bound_sockets *bound);

/* Starts to accept. */
void server_admin_start(struct server_admin *admin);

/* Another process answers from now on, on the same sockets. */
void server_admin_hand_over(struct server_admin *admin);

/* Closes it, with all who ask. */
void server_admin_close(struct server_admin *admin);

#endif
