/* The parts of the shared modes, and how they work together. Used inside this room only.
 *
 *   stream             what the listener wants of its service: made, reloaded, drained, shown
 *   stream_turn        the service's part in a turn of the loop: the multiplexer's work and its timer
 *   stream_pool        the targets, and which of their connections takes the next request
 *   stream_connection  a target connection: the attempt to make it, then its socket
 *   stream_client      a client's socket
 *   stream_record      what the log, the counters and modules get to know of each request
 *
 * A file uses those below it only. Upwards, an object enters itself or its service in the turn of the loop, which calls
 * who is to act, in the order that base/turn.h shows. Callbacks of the loop do no more than that. */
#ifndef STREAM_PARTS_H
#define STREAM_PARTS_H

#include "base/list.h"
#include "base/timer.h"
#include "base/turn.h"
#include "events/events.h"
#include "mux/mux.h"
#include "net/hangup.h"
#include "stream/stream.h"
#include "target/target.h"

#include <ev.h>

/* Owned by its service until stream_client_end(), then by the turn, which frees it. A client is served while it has a
 * `mux`. Then it lingers: our stream has ended, and what it still sends is thrown away until it closes too. */
struct stream_client {
    struct turn_entry entry;
    struct list_node node; /* among the clients of the service */
    struct stream_service *service;
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

/* Owned by its pool until stream_connection_end(), then by the turn, which frees it.
 *
 *                 connected                        answered, or open for `retry_min`
 *   CONNECTING ---------------> OPEN, on probation ----------------------------------> OPEN, healthy
 *   (has an `attempt`)          (has a `mux`) */
struct stream_connection {
    struct turn_entry entry;
    struct list_node node; /* among the connections of the pool, the oldest first */
    struct stream_pool *pool;
    struct target *target;
    struct target_attempt *attempt;
    struct mux_connection *mux;
    ev_io watcher;
    int reported;             /* as of clients */
    struct timeout probation; /* ends when the connection has been open for a while */
    struct address address;   /* of the target's, the one it is connected to; none on a unix socket */
    uint64_t number;
    uint64_t received;
    uint64_t sent;
    int64_t opened;     /* microseconds */
    uint64_t read_turn; /* number of the last turn in which something was read */
    unsigned reads;     /* in that turn */
    bool is_blocked;    /* as of clients */
    bool write_failed; /* nothing can be written any more; what the target still sends is read all the same */
    bool was_ready;    /* it could take a request once */
    bool answered;     /* a request on it has had its response */
    bool is_healthy;   /* its end says nothing about the target any more */
    bool retired;
};

/* Embedded in its service. */
struct stream_pool {
    struct stream_service *service;
    struct target_set *targets;
    struct list connections; /* struct stream_connection */
    size_t attempts;         /* connections that are CONNECTING */
    struct timer probation_timer;
    bool is_fifo;
    bool is_warming; /* clients are not accepted yet */
    bool is_closing; /* nothing is to be opened any more */
    bool changed;    /* a connection or a target came or went since stream_pool_review() */
    bool is_wanted;  /* others wait for slots that connections hold: see target/slot.h */
    uint64_t next_number;
};

/* Owned by the listener until `destroy`, then by the turn, which frees it. */
struct stream_service {
    struct service service;
    struct turn_entry entry;
    struct runtime *runtime;
    struct listener_settings *settings;
    struct service_owner owner;
    struct mux *mux;
    struct stream_pool pool;
    struct hangups hangups; /* of clients that are not read */
    size_t descriptors;     /* reserved in the account */
    struct list clients;    /* struct stream_client */
    size_t client_count;
    struct timer linger_timer;
    ev_timer mux_timer; /* for mux_tick() */
    int64_t mux_due;    /* what that timer is set for */
    bool is_late;       /* mux_tick() was put off for one turn: see stream_turn.c */
    bool draining;
    bool leaving;
    struct listener_settings *next_settings; /* between `prepare` and what follows it */
    const struct events_listener *next_events;
    size_t next_descriptors;
};

static inline int64_t stream_now(const struct stream_service *service)
{
    return service->runtime->turn.now;
}

/* Something happened to the service: the multiplexer has to work in this turn. */
static inline void stream_touch(struct stream_service *service)
{
    turn_enter(&service->runtime->turn, TURN_WORK, &service->entry);
}

/* ---- The service in a turn ---- */

extern const struct turn_actions stream_actions;

/* Has only to begin a turn. */
void stream_mux_timer_fired(struct ev_loop *loop, ev_timer *watcher, int events);

/* ---- The pool ---- */

/* False with errno when memory is short; stream_pool_close() all the same. */
bool stream_pool_init(struct stream_pool *pool, struct stream_service *service);

/* How many connections there can be at a time. */
size_t stream_pool_size(const struct listener_settings *settings);

/* Ends all connections. The multiplexer must still be there. */
void stream_pool_close(struct stream_pool *pool);

/* Opens what `warmup` wants open, then calls owner.ready, at once if there is nothing to be waited for. */
void stream_pool_start(struct stream_pool *pool);

/* The hooks of the multiplexer. */
struct mux_connection *stream_pool_choose(void *owner, void *client);
size_t stream_pool_opening(void *owner);

/* Goes on with other settings: see service.h. `descriptors` gets how many are needed for all connections. */
bool stream_pool_prepare(struct stream_pool *pool, const struct listener_settings *settings,
                         size_t *descriptors);
void stream_pool_commit(struct stream_pool *pool, int64_t now);
void stream_pool_rollback(struct stream_pool *pool);

/* Connections to targets that go: there may be so many more than stream_pool_size(). */
size_t stream_pool_extra(const struct stream_pool *pool);

/* Whether requests wait because of connections of other generations. */
bool stream_pool_is_held(const struct stream_pool *pool);

/* Goes on warming up, retires connections to targets that are not to be used at present, and looks for work for those
 * that have come. To be called in every turn in which something happened to the service. */
void stream_pool_review(struct stream_pool *pool, int64_t now);

/* ---- Target connections ---- */

/* Starts to connect. False when memory is short. */
bool stream_connection_connect(struct stream_pool *pool, struct target *target);

/* Takes no new request; ends when the last response is in. */
void stream_connection_retire(struct stream_connection *connection, int64_t now);

/* Whether it can take a request now; notes that it could. */
bool stream_connection_has_room(struct stream_connection *connection);

/* The one place where connections end. The target does not learn why. */
void stream_connection_end(struct stream_connection *connection);

/* A connection has been open for a while. */
void stream_connection_probation_ended(struct timer *timer, struct timeout *timeout);

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
