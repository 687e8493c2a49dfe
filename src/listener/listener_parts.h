/* The parts of a listener, and how they work together. Used inside this room only.
 *
 *   admission      who gets in, and what becomes of those who don't
 *   proxy header   clients of trusted proxies, until their PROXY header names them
 *   accept         from a backlog to one of these
 *   generation     what serves the clients since the start, or since a reload that changed mode or protocol
 *   listener       its life: made, started, drained, left, closed; what can be seen of it
 *   reload         from the running settings to the next ones */
#ifndef LISTENER_PARTS_H
#define LISTENER_PARTS_H

#include "base/list.h"
#include "base/quota.h"
#include "base/timer.h"
#include "listener/listener.h"

#include <ev.h>

/* What serves clients, since the start or since a reload that changed mode or protocol. The clients of an
 * earlier one stay there until they end. Owned by the listener. */
struct generation {
    struct list_node node;
    struct listener *listener;
    struct service *service;
    ev_timer expiry; /* of an earlier one: until its clients are to go, or it is freed, having none */
};

/* Sockets that nobody comes to any more: those who have come are still accepted, then they are closed. Owned by
 * the listener, in its list. */
struct closing_sockets {
    struct list_node node;
    struct listener *listener;
    struct bound_sockets bound;
    ev_timer timer;
    unsigned rounds; /* of waiting for the ends of handshakes that had begun; those that are left */
};

/* What listener_commit() will need. */
struct listener_next {
    struct listener_settings *settings;
    struct events_listener *events;  /* NULL: nobody wants to know */
    struct closing_sockets *closing; /* takes the place of the one that the commit uses */
    struct generation *generation;   /* NULL: the present one goes on */
    size_t descriptors;              /* reserved for clients whose header is awaited, who will need more */
};

/* Owned by the server. */
struct listener {
    struct runtime *runtime;
    struct listener_settings *settings;
    struct events_listener *events; /* NULL: nobody wants to know */
    struct listener_next next;
    listener_make_service *make; /* NULL: by the mode of the settings */
    listener_emptied *emptied;
    void *owner;
    struct counters counters;
    bool is_ready; /* the service is prepared for clients */
    bool is_draining;
    ev_timer expiry; /* of a listener that goes */

    struct bound_sockets bound;
    struct list closing;                 /* struct closing_sockets */
    struct closing_sockets *for_closing; /* not in use yet; NULL once it has been drained */
    struct descriptors_waiter waiter;
    ev_timer pause;
    bool short_of_descriptors; /* said in the log */

    int64_t clients;               /* that were let in */
    struct quotas addresses;       /* of clients by address, kept only if there is a limit */
    struct rate rate;              /* of clients that come */
    uint64_t unsaid[REASON_COUNT]; /* clients refused since the last line in the log, by reason */
    ev_timer unsaid_pause;
    struct timer header_timer; /* its entries are the clients whose PROXY header is awaited */
    size_t header_waits;       /* how many */

    struct list generations; /* the last one is `current`; the others drain */
    struct generation *current;
};

/* Starts a timer that comes once, anew if it runs; negative seconds: never. */
static inline void listener_start_timer(const struct listener *listener, ev_timer *timer, double seconds)
{
    ev_timer_stop(listener->runtime->loop, timer);
    if (seconds < 0)
        return;
    ev_timer_set(timer, seconds, 0.0);
    ev_timer_start(listener->runtime->loop, timer);
}

/* ---- Admission ---- */

void admission_init(struct listener *listener);

/* How many descriptors each client needs that is accepted now; they are reserved before. */
size_t listener_descriptors_each(const struct listener *listener);

/* Hands a client over to the service, or refuses it. `sender` is at the other end of the connection: the client
 * itself, or a proxy that brings it to `destination` (NULL: to our socket). */
void admission_admit(struct listener *listener, int descriptor, const struct address *sender,
                     const struct address *client, const struct address *destination);

/* Closes the socket, counts and logs: the first refusal at once, those of the next second in one line a reason. */
void admission_refuse(struct listener *listener, int descriptor, const struct address *client,
                      enum reason reason);

/* Logs the refusals that were not logged yet. */
void admission_stop(struct listener *listener);

/* Frees what is left of clients that have gone. */
void admission_free(struct listener *listener);

/* A client that was let in has gone. */
void admission_leave(struct listener *listener, const struct address *client);

/* Other settings have taken the place of these: counts clients by address anew if need be, and ends those who are
 * blocked now. */
void admission_change(struct listener *listener, const struct listener_settings *before);

/* Tells the owner of a draining listener when it has become empty. */
void listener_check_emptied(struct listener *listener);

/* ---- PROXY headers ---- */

void header_waits_init(struct listener *listener);

/* Waits for the header of a connection that was just accepted, at most five seconds; then the client is admitted or
 * refused. No byte behind the header is read. */
void header_waits_add(struct listener *listener, int descriptor, const struct address *sender);

/* Ends all that still wait. */
void header_waits_close(struct listener *listener, enum reason reason);

/* ---- Accepting ---- */

void listener_init_accepting(struct listener *listener);

/* Makes the sockets ready to be watched. */
void listener_init_sockets(struct listener *listener);

/* Start and stop watching the sockets. No timer or descriptor resumes what was stopped. */
void listener_resume(struct listener *listener);
void listener_stop_accepting(struct listener *listener);

/* Has nobody come to these sockets any more, which are taken over, except those that another listener has; those who
 * have come are accepted over the next turns of the loop, then the sockets are closed. Uses `for_closing`. */
void listener_close_gradually(struct listener *listener, struct bound_sockets *bound);

/* Stops accepting and closes the sockets. */
void listener_close_sockets(struct listener *listener);

/* ---- Generations ---- */

/* Makes one that is not the listener's yet; NULL with errno. `shared`: as in listener_create(). */
struct generation *generation_create(struct listener *listener, struct listener_settings *settings,
                                     const struct events_listener *events, struct listener *shared);
void generation_destroy(struct generation *generation);

/* Makes it the present one. An earlier one has its clients until `shutdown_timeout` (milliseconds) has passed. */
void generation_follow(struct generation *generation, int64_t shutdown_timeout);

#endif
