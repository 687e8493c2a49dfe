/* The parts of a listener, and how they work together. Used inside this room only.
 *
 *   listener    its life: made, started, drained, left, closed; what can be seen of it
 *   accepting   from a backlog to a client who is in, or refused
 *   generation  what serves the clients since the start, or since a reload that changed mode or protocol
 *   reload      from the running settings to the next ones */
#ifndef LISTENER_PARTS_H
#define LISTENER_PARTS_H

#include "base/list.h"
#include "listener/admission.h"
#include "listener/listener.h"
#include "listener/listener_proxy_header.h"
#include "listener/refusals.h"

#include <ev.h>

/* What serves clients, since the start or since a reload that changed mode or protocol. The clients of an
 * earlier one stay there until they end. Owned by the listener. */
struct generation {
    struct list_node node;
    struct listener *listener;
    struct service *service;
    ev_timer expiry; /* until the clients of an earlier one are to go */
};

/* Sockets that nobody comes to any more: those who have come are still accepted, then they are closed. Owned by
 * the listener, in its list. */
struct closing_sockets {
    struct list_node node;
    struct listener *listener;
    struct bound_sockets bound;
    ev_io *watchers;   /* one a socket */
    ev_timer timer;    /* the round that is running */
    unsigned rounds;   /* of waiting for the ends of handshakes that had begun */
    bool has_accepted; /* in this round */
};

/* What listener_commit() will need. */
struct listener_next {
    struct listener_settings *settings;
    struct events_listener *events; /* NULL: nobody wants to know */
    ev_io *watchers;
    struct closing_sockets *closing; /* for those that are not wanted any more */
    struct generation *generation;   /* NULL: the present one goes on */
    size_t descriptors;              /* reserved for clients whose header is awaited, who will need more */
};

/* Owned by the server. */
struct listener {
    struct runtime *runtime;
    struct listener_settings *settings;
    struct bound_sockets bound;
    ev_io *watchers;                     /* one a socket */
    struct list closing;                 /* struct closing_sockets */
    struct closing_sockets *for_closing; /* not in use yet: for the sockets it has when it drains */
    struct admission admission;
    struct refusals refusals;
    struct header_waits header_waits;
    struct generation *current;
    struct list earlier; /* generations that drain */
    ev_timer sweep;      /* frees those that have become empty */
    ev_timer expiry;     /* of a listener that goes */
    bool is_ready;       /* the service is prepared for clients */
    struct listener_next next;
    struct events_listener *events; /* NULL: nobody wants to know */
    struct descriptors_waiter waiter;
    ev_timer pause;
    bool short_of_descriptors; /* said in the log */
    bool draining;
    struct counters counters;
    listener_make_service *make; /* what serves the clients */
    void *make_data;
    listener_emptied *emptied;
    void *owner;
};

/* ---- Accepting ---- */

/* Initializes the part of accept.c; the listener has its runtime and settings. */
void listener_init_accepting(struct listener *listener);

/* Takes over `watchers`, one for each bound socket; they are not started. */
void listener_watch_sockets(struct listener *listener, ev_io *watchers);

/* How many descriptors each client needs that is accepted now. */
size_t listener_descriptors_each(const struct listener *listener);

/* Start and stop watching the sockets. */
void listener_resume(struct listener *listener);
void listener_pause(struct listener *listener);

/* Has nobody come to these sockets any more; those who have come are accepted over the next turns of the loop,
 * then the sockets are closed. Takes over all three, of which `watchers` has one for each socket. */
void listener_close_gradually(struct listener *listener, struct closing_sockets *closing,
                              struct bound_sockets *bound, ev_io *watchers);

/* The same for all that it has. */
void listener_close_all_gradually(struct listener *listener);

/* Stops accepting for good: no timer or descriptor resumes it. Refusals that are not logged yet are logged. */
void listener_stop_accepting(struct listener *listener);

/* The same, and closes the sockets. */
void listener_close_sockets(struct listener *listener);

/* Tells the owner of a draining listener when it has become empty. */
void listener_check_emptied(struct listener *listener);

/* ---- Generations ---- */

/* NULL with errno. */
struct generation *generation_create(struct listener *listener, struct listener_settings *settings,
                                     const struct events_listener *events);
void generation_destroy(struct generation *generation);
void generation_start(struct generation *generation);
size_t generation_clients(const struct generation *generation);

/* Another generation follows; the clients of this one stay until `shutdown_timeout` (milliseconds) has passed. */
void generation_leave(struct generation *generation, int64_t shutdown_timeout);

/* Initializes the part of generation.c; the listener has no generation yet. */
void generation_init(struct listener *listener);

#endif
