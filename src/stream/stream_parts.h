/* The parts of the shared modes, and how they work together. Used inside this room only.
 *
 *   stream_service  one a listener: the multiplexer, its timer, the turn of the loop, all clients
 *   stream_client   a client's socket
 *   stream_pool     the targets, and which of their connections takes the next request
 *   stream_connection     a target connection: the attempt to make it, then its socket
 *
 * The loop's callbacks only note what can be done. stream_turn_ends(), which the loop calls before it waits
 * for the next events, first reads from all descriptors, in the order in which the kernel told of them; then
 * it writes, closes and frees. */
#ifndef STREAM_PARTS_H
#define STREAM_PARTS_H

#include "base/list.h"
#include "base/timer.h"
#include "events/events.h"
#include "mux/mux.h"
#include "net/hangup.h"
#include "stream/stream.h"
#include "target/target.h"

#include <ev.h>

/* Owned by its service; freed in stream_client_end() only. It is served while it has a `mux`; then it
 * lingers: the end of our stream was sent, and what it still sends is thrown away until it closes too. */
struct stream_client {
    struct list_node node;  /* among the clients of the service */
    struct list_node dirty; /* to be looked at when the turn ends, whatever the multiplexer says */
    int events;             /* that the loop told of in this turn; EV_CUSTOM: it has hung up */
    struct stream_service *service;
    struct mux_client *mux;
    struct events_client *told; /* what modules know of it; NULL: nobody wants to know */
    ev_io watcher;              /* its fd is the client's descriptor */
    struct timeout timeout;     /* of its service's linger_timer */
    struct hangup hangup;       /* while it is not read */
    struct address address;
    enum reason reason; /* while it lingers */
    bool blocked;       /* its socket took less than it was offered, and has not called since */
    uint64_t number;
    uint64_t received;
    uint64_t sent;
    uint64_t requests; /* that have ended */
    int64_t accepted;  /* microseconds */
};

/* Owned by its pool; freed in stream_connection_end() only.
 *
 *                 connected                         answered, or open for a while
 *   CONNECTING ---------------> OPEN, not yet proven ----------------------------> OPEN, proven
 *   (has an `attempt`)          (has a `mux`) */
struct stream_connection {
    struct list_node node;  /* among the connections of the pool, the oldest first */
    struct list_node dirty; /* as of clients */
    int events;             /* as of clients */
    struct stream_pool *pool;
    struct target *target;
    struct target_attempt *attempt;
    struct mux_connection *mux;
    ev_io watcher;
    struct timeout proof;   /* when it passes, the connection has been open for a while */
    struct address address; /* of the target's, the one it is connected to; none on a unix socket */
    uint64_t number;
    uint64_t received;
    uint64_t sent;
    int64_t opened;    /* microseconds */
    uint64_t looked;   /* the last turn in which something was read from it; see connection_look() */
    bool blocked;      /* as of clients */
    bool write_failed; /* nothing can be written any more; what the target still says is read all the same */
    bool was_ready;    /* it could take a request once */
    bool answered;     /* a request on it has had its answer */
    bool proven;       /* its end says nothing about the target any more */
    bool retired;
};

/* Embedded in its service. */
struct stream_pool {
    struct stream_service *service;
    struct target_set *targets;
    struct list connections; /* struct stream_connection */
    size_t attempts;         /* connections that are CONNECTING */
    struct timer proof_timer;
    bool is_fifo;
    bool is_warming; /* clients are not accepted yet */
    bool is_closing; /* nothing is to be opened any more */
    bool changed;    /* a connection or a target came or went since stream_pool_review() */
    bool is_wanted;  /* others wait for places that connections hold: see target/place.h */
    uint64_t next_number;
};

/* Owned by the listener. */
struct stream_service {
    struct service service;
    struct runtime *runtime;
    struct listener_settings *settings;
    struct service_owner owner;
    struct mux *mux;
    struct stream_pool pool;
    struct hangups hangups; /* of clients who are not read */
    size_t descriptors;     /* reserved in the account */
    struct list clients;    /* struct stream_client */
    size_t client_count;
    struct list dirty_clients;
    struct list dirty_connections;
    struct timer linger_timer;
    ev_timer due; /* when the multiplexer wants mux_tick() */
    int64_t due_at;
    bool is_late; /* time was up long ago: what happened meanwhile is looked at before it is told so */
    ev_check turn_begins;
    ev_prepare turn_ends;
    uint64_t turn;
    bool many_events; /* in this turn: there may be more that were not told yet */
    bool draining;
    bool leaving;
    struct listener_settings *next_settings; /* between `prepare` and what follows it */
    const struct events_listener *next_events;
    size_t next_descriptors;
};

/* ---- Clients ---- */

/* Serves a client from now on. False when memory is short: then nothing was done. */
bool stream_client_accept(struct stream_service *service, int descriptor, const struct address *address,
                          struct events_client *events);

/* After what it has sent so far was read: it gets its answers and is to go. */
void stream_client_drain(struct stream_client *client);

/* Does what the loop has called for: reads once. May free the client. */
void stream_client_read(struct stream_client *client);

/* Writes what there is for it, and does what the multiplexer wants done with it. May free the client. */
void stream_client_progress(struct stream_client *client, int64_t now);

/* The one place where clients end. `reset`: so that what it got does not look complete. */
void stream_client_end(struct stream_client *client, enum reason reason, bool reset);

/* The hang-up of one that is not read was seen. */
void stream_client_hung_up(void *service, struct hangup *hangup);

/* A client has lingered long enough. */
void stream_client_lingered(struct timer *timer, struct timeout *timeout);

/* ---- Target connections ---- */

/* Starts to connect. False when memory is short. */
bool stream_connection_connect(struct stream_pool *pool, struct target *target);

/* Does what the loop has called for: reads once. */
void stream_connection_read(struct stream_connection *connection);

/* Writes what there is for it, ends it if it is over. May free the connection. */
void stream_connection_progress(struct stream_connection *connection, int64_t now);

/* Takes no new request; ends when the last answer is in. */
void stream_connection_retire(struct stream_connection *connection, int64_t now);

/* Whether it can take a request now; notes that it could. */
bool stream_connection_has_room(struct stream_connection *connection);

/* The one place where connections end; says nothing about the target. */
void stream_connection_end(struct stream_connection *connection);

/* A connection has been open for a while. */
void stream_connection_lasted(struct timer *timer, struct timeout *timeout);

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

/* An attempt to connect has ended: `connection` is open, or is about to be freed. */
void stream_pool_attempted(struct stream_pool *pool);

/* Goes on with other settings: see service.h. `descriptors` gets how many are needed for all connections. */
bool stream_pool_prepare(struct stream_pool *pool, const struct listener_settings *settings,
                         size_t *descriptors);
void stream_pool_commit(struct stream_pool *pool, int64_t now);
void stream_pool_rollback(struct stream_pool *pool);

/* Connections to targets that go: there may be so many more than stream_pool_size(). */
size_t stream_pool_extra(const struct stream_pool *pool);

/* Whether requests wait because of connections of other generations. */
bool stream_pool_is_held(const struct stream_pool *pool);

/* Goes on warming up, and retires connections to targets that are not to be used at present. */
void stream_pool_review(struct stream_pool *pool, int64_t now);

/* ---- The service ---- */

/* What a callback of the loop does: notes what has come, to be dealt with when the turn ends. */
void stream_note_client(struct stream_client *client, int events);
void stream_note_connection(struct stream_connection *connection, int events);

/* A connection that was there beyond the size of the pool has ended. */
void stream_return_descriptor(struct stream_service *service);

/* Has a turn of the loop end soon: something changed that no descriptor tells of. */
void stream_wake(struct stream_service *service);

#endif
