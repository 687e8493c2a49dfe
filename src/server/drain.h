/* Ending the process without hurting anybody.
 *
 *            first signal            shutdown_delay passed           last client left
 *   RUNNING -------------> DELAYED -----------------------> DRAINING ----------------> ENDED
 *                             |                                |
 *                             +--- second signal, or shutdown_timeout: all closed ---> ENDED
 *
 * DELAYED: everything goes on, for load balancers to notice. DRAINING: those in the backlogs were accepted,
 * the sockets are closed, sessions finish; who waits in a queue is still served. */
#ifndef SERVER_DRAIN_H
#define SERVER_DRAIN_H

#include "config/config.h"
#include "server/listeners.h"

#include <ev.h>
#include <stdbool.h>

enum drain_stage { DRAIN_RUNNING, DRAIN_DELAYED, DRAIN_DRAINING, DRAIN_ENDED };

/* Owned by the server, like all that it points to. */
struct drain {
    struct ev_loop *loop;
    const struct config *config;
    struct listeners *listeners;
    enum drain_stage stage;
    bool handed_over; /* to another process */
    unsigned ignored; /* signals since then */
    ev_timer timer;
};

void drain_init(struct drain *drain, struct ev_loop *loop, const struct config *config,
                struct listeners *listeners);

/* TERM or INT has come: drains; the second time: closes all at once. Breaks the loop when nothing is left. */
void drain_signal(struct drain *drain);

/* Another process accepts from the same sockets now: leaves them to it, backlogs included, and drains. The
 * next two signals change nothing: they are meant for the process that serves. */
void drain_hand_over(struct drain *drain);

/* A draining listener has become empty. */
void drain_check(struct drain *drain);

#endif
