/* What the server shows to those who ask at `admin.listen`. */
#ifndef SERVER_OVERVIEW_H
#define SERVER_OVERVIEW_H

#include "config/config.h"
#include "listener/listener.h"
#include "net/runtime.h"
#include "server/drain.h"
#include "server/reload.h"

/* Owned by the server, like all that it points to. */
struct overview {
    const struct runtime *runtime;
    const struct config *config;
    const struct drain *drain;
    const struct reload *reload;
    int64_t started;           /* milliseconds since 1970 */
    struct listener *listener; /* that of admin; NULL: there is none */
};

/* Notes that the process has started. What `drain` holds are the listeners that are shown. */
void overview_init(struct overview *overview, const struct runtime *runtime, const struct config *config,
                   const struct drain *drain, const struct reload *reload);

/* Makes the listener of admin, if the settings name one; takes `bound` over. False with errno. */
bool overview_open(struct overview *overview, struct runtime *runtime, struct bound_sockets *bound);

/* Starts to accept. */
void overview_start(struct overview *overview);

/* Another process answers from now on, on the same sockets. */
void overview_hand_over(struct overview *overview);

/* Closes it, with all who ask. */
void overview_close(struct overview *overview);

#endif
