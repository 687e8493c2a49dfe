/* The parts of the shared modes, and how they work together. Used inside this room only.
 *
 *   stream             what the listener wants of its service: made, reloaded, drained, shown
 *   stream_hub         what services share: the multiplexer, the pool, their timers; made, reloaded, freed
 *   stream_turn        the hub's part in a turn of the loop: the multiplexer's work and its timer
 *   stream_connection  a target connection's socket
 *   stream_client      a client's socket
 *   stream_record      what the log, the counters and modules get to know of each request
 *   stream_pool        the targets, and which of their connections takes the next request; needs none of these
 *   stream_pool_hooks  likewise, what its targets tell it, and reloads
 *   pool_check         checks of targets, as requests that nobody waits for
 *
 * A file uses those below it only. Upwards, an object enters itself or its hub in the turn of the loop,
 * which has each act in the order that base/turn.h shows. Callbacks of the loop do no more than that. */
#ifndef STREAM_PARTS_H
#define STREAM_PARTS_H

#include "base/list.h"
#include "base/timer.h"
#include "base/turn.h"
#include "events/events.h"
#include "mux/mux.h"
#include "net/hangup.h"
#include "stream/stream.h"
#include "stream/stream_pool.h"

#include <ev.h>

/* Owned by its service until stream_client_end(), then by the turn, which frees it. A client is served
 * while it has a `mux`. Then it lingers: our stream has ended, and what it still sends is thrown away
 * until it closes too. */
struct stream_client {
    struct turn_entry entry;
    struct list_node node; /* among the clients of the service */
    struct stream_service *service;
    struct stream_hub *hub; /* of its service */
    struct mux_client *mux;
    struct events_client *events; /* NULL: no module wants to know of it */
    ev_io watcher;                /* its fd is the client's descriptor */
    int reported;                 /* events of the watcher in this turn; EV_CUSTOM: a hang-up */
    struct timeout timeout;       /* of its service's linger_timer */
    struct hangup hangup;         /* while it is not read */
    struct address address;
    enum reason reason; /* while it lingers */
    bool is_blocked;    /* its socket took less than it was offered, and was not writable since */
    uint64_t number;
    uint64_t received;
    uint64_t sent;
    uint64_t requests; /* that have ended */
    int64_t accepted;  /* microseconds */
};

/* Owned by its pool until that ends it, then by the turn, which frees it. Has a descriptor once it is connected. */
struct stream_connection {
    struct turn_entry entry;
    struct pool_connection pooled;
    struct stream_hub *hub;
    ev_io watcher;
    int reported; /* as of clients */
    uint64_t number;
    uint64_t received;
    uint64_t sent;
    int64_t opened;     /* microseconds */
    uint64_t read_turn; /* number of the last turn in which something was read */
    unsigned reads;     /* in that turn */
    bool is_blocked;    /* as of clients */
    bool write_failed; /* nothing can be written any more; what the target still sends is read all the same */
};

/* Owned by its services together: the last one that goes takes it along. The turn frees it. */
struct stream_hub {
    struct turn_entry entry;
    struct runtime *runtime;
    struct listener_settings *settings; /* of the listener that has the targets */
    struct list services;               /* struct stream_service; the first one shows the targets */
    bool is_ready;                      /* for clients */
    struct mux *mux;
    struct stream_pool pool;
    uint64_t connections;   /* so far: gives each its number */
    struct hangups hangups; /* of clients that are not read */
    size_t descriptors;     /* reserved in the account */
    struct timer linger_timer;
    ev_timer mux_timer;                      /* for mux_tick() */
    int64_t mux_due;                         /* what that timer is set for */
    bool is_late;                            /* mux_tick() was put off for one turn: see stream_turn.c */
    struct listener_settings *next_settings; /* between stream_hub_prepare() and what follows it */
    size_t next_descriptors;
};

/* The clients of one listener. Owned by the listener. */
struct stream_service {
    struct service service;
    struct list_node node; /* among the services of the hub */
    struct stream_hub *hub;
    struct listener_settings *settings;
    struct service_owner owner;
    struct mux_door door;
    struct list clients; /* struct stream_client */
    size_t client_count;
    size_t request_bytes; /* of each request and answer that modules and request log want to see */
    size_t answer_bytes;
    bool is_started;
    bool draining;
    bool leaving;
    struct listener_settings *next_settings; /* between `prepare` and what follows it */
    const struct events_listener *next_events;
};

static inline int64_t stream_now(const struct stream_hub *hub)
{
    return hub->runtime->turn.now;
}

/* Something happened: the multiplexer has to work in this turn. */
static inline void stream_touch(struct stream_hub *hub)
{
    turn_enter(&hub->runtime->turn, TURN_WORK, &hub->entry);
}

/* ---- What services share ---- */

/* With no service yet; NULL with errno. Holds a reference to `settings`. */
struct stream_hub *stream_hub_create(struct runtime *runtime, struct listener_settings *settings);
void stream_hub_destroy(struct stream_hub *hub);

/* A service joins. It leaves, and has no clients by then; with the last one the hub goes. */
void stream_hub_join(struct stream_hub *hub, struct stream_service *service);
void stream_hub_leave(struct stream_service *service);

/* A service wants to see other bytes of requests. */
void stream_hub_observe(struct stream_hub *hub);

/* As of services. */
bool stream_hub_prepare(struct stream_hub *hub, struct listener_settings *settings);
void stream_hub_rollback(struct stream_hub *hub);
void stream_hub_commit(struct stream_hub *hub);

/* ---- The hub in a turn ---- */

extern const struct turn_actions stream_hub_actions;

/* Has only to begin a turn. */
void stream_mux_timer_fired(struct ev_loop *loop, ev_timer *watcher, int events);

/* ---- Target connections ---- */

/* What the pool has done for it. */
extern const struct pool_driver stream_connection_driver;

/* The connection that the pool, and so the multiplexer, knows. */
static inline struct stream_connection *stream_connection_of(struct pool_connection *pooled)
{
    return list_entry(pooled, struct stream_connection, pooled);
}

/* ---- Clients ---- */

/* Serves a client from now on. False when memory is short: nothing was done then. */
bool stream_client_accept(struct stream_service *service, int descriptor, const struct address *address,
                          struct events_client *events);

/* The client gets the answers to what it has sent so far, and is closed then. */
void stream_client_drain(struct stream_client *client);

/* The one place where clients end. `reset`: so that what the client got does not look complete. */
void stream_client_end(struct stream_client *client, enum reason reason, bool reset);

/* Ends a client, with a reset if it is in the middle of something: it must not take that for complete. */
void stream_client_cut_off(struct stream_client *client, enum reason reason);

/* A client that is not read has hung up. */
void stream_client_hung_up(void *service, struct hangup *hangup);

/* A client has lingered long enough. */
void stream_client_lingered(struct timer *timer, struct timeout *timeout);

/* ---- Requests: hooks of the multiplexer ---- */

void stream_record_request(void *owner, const struct mux_requested *request);
void stream_record_end(void *owner, const struct mux_ending *ending);

#endif
