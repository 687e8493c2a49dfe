/* The pool: which target connection takes the next request, and when connections are made and replaced.
 *
 * Pure logic over targets, the multiplexer's connections and time: no socket, no loop, no clock, no log. Who
 * drives it has the sockets (stream_connection.c in the program), calls stream_pool_review() when something
 * has changed, and stream_pool_tick() when stream_pool_due() says so. */
#ifndef STREAM_STREAM_POOL_H
#define STREAM_STREAM_POOL_H

#include "base/list.h"
#include "base/timeout.h"
#include "config/settings.h"
#include "mux/mux.h"
#include "target/target.h"

/*              connected                    answered, or open for `retry_min`
 *   CONNECTING ---------> PROBATION ------------------------------------------> HEALTHY
 *       |                     |                                                    |
 *       +---------------------+----------------- ENDED <---------------------------+
 *
 * The end of a connection on probation is a failure of its target, unless it was our doing. */
enum pool_state { POOL_CONNECTING, POOL_PROBATION, POOL_HEALTHY, POOL_ENDED, POOL_STATES };

/* A target connection. Embedded in what its driver has of it, which frees it after pool_driver.ended. It is the
 * owner of its `mux`. */
struct pool_connection {
    struct list_node node; /* among the connections of the pool, in the order in which they were connected */
    struct stream_pool *pool;
    struct target *target;
    enum pool_state state;
    struct target_attempt *attempt; /* CONNECTING */
    struct mux_connection *mux;     /* PROBATION and HEALTHY, unless memory is short */
    struct timeout probation;       /* PROBATION */
    struct address address;         /* of the target's, the one it is connected to; none on a unix socket */
    int64_t ready_since;            /* valid if `was_ready` */
    bool was_ready;                 /* it could take a request once */
    bool retired;                   /* it takes no new request */
    bool is_extra;                  /* since a reload there have been more than stream_pool_size() says */
    bool is_for_check;              /* its target has had no work since it was made, but a check */
    bool is_for_trial;              /* its target was left out when it was made: a request is to try it */
};

/* What the pool has done for it. None of these calls the pool back from inside. */
struct pool_driver {
    /* A zeroed connection that is about to be made; NULL when memory is short. */
    struct pool_connection *(*create)(void *owner);
    /* It was made, and has a descriptor, but no `mux` yet. */
    void (*connected)(struct pool_connection *connection, int descriptor, int64_t now);
    /* It has ended, or never came to be: its descriptor, if it had one, is to be closed. Its `mux` may still be
     * asked why; its memory must stay until the pool's function has returned. */
    void (*ended)(struct pool_connection *connection, int64_t now);
    /* Warming up is over. Comes once. */
    void (*ready)(void *owner);
    /* stream_pool_review() is wanted. */
    void (*touch)(void *owner);
};

/* Owned by its driver, as are the targets; both it and the multiplexer must outlive it. */
struct stream_pool {
    const struct pool_driver *driver;
    void *owner;
    struct mux *mux;
    struct target_set *targets;
    const struct listener_settings *settings;
    struct list connections; /* struct pool_connection */
    struct list checks;      /* struct pool_check: see pool_check.c */
    struct mux_door check_door;
    size_t attempts; /* connections that are CONNECTING */
    struct timeout_list probation;
    bool is_fifo;
    bool is_warming;  /* `ready` has not come yet */
    bool is_closing;  /* nothing is to be opened any more */
    bool changed;     /* a connection or a target came or went since stream_pool_review() */
    bool is_wanted;   /* others wait for slots that connections hold: see target/slot.h */
    int64_t turn_due; /* when a connection has had its turn that others wait for */
};

/* What targets tell their pool, the owner of their set. */
extern const struct target_hooks stream_pool_hooks;

void stream_pool_init(struct stream_pool *pool, const struct pool_driver *driver, void *owner,
                      struct mux *mux, const struct listener_settings *settings);

/* How many connections there can be at a time. */
size_t stream_pool_size(const struct listener_settings *settings);

/* Ends all connections. */
void stream_pool_close(struct stream_pool *pool, int64_t now);

/* Opens what `warmup` wants open, then calls `ready`, at once if there is nothing to be waited for. */
void stream_pool_start(struct stream_pool *pool, int64_t now);

/* For the hooks of the multiplexer: which connection takes the next request of a client with this address; and
 * how many are being made. */
struct mux_connection *stream_pool_choose(struct stream_pool *pool, const struct address *client,
                                          int64_t now);
struct mux_connection *stream_pool_choose_check(struct stream_pool *pool, void *client, int64_t now);
void stream_pool_check_ended(const struct mux_ending *ending);
size_t stream_pool_opening(const struct stream_pool *pool);

/* A request on this connection has shown something of its target. */
void stream_pool_found(struct pool_connection *connection, const struct mux_finding *finding, int64_t now);

/* Something has happened to this connection: to be called whenever the multiplexer says that it has changed. One
 * that is over ends here. */
void stream_pool_progress(struct pool_connection *connection, int64_t now);

/* Goes on warming up, retires connections to targets that are not to be used at present, releases slots for
 * others, and hands out what waits. To be called whenever `touch` has come, or the multiplexer has worked. */
void stream_pool_review(struct stream_pool *pool, int64_t now);

/* When stream_pool_tick() is wanted, or TIMEOUT_NEVER. */
int64_t stream_pool_due(const struct stream_pool *pool);
void stream_pool_tick(struct stream_pool *pool, int64_t now);

/* Goes on with other settings, which must outlive the pool: see service.h. `descriptors` gets how many are needed
 * for all connections. */
bool stream_pool_prepare(struct stream_pool *pool, const struct listener_settings *settings,
                         size_t *descriptors);
void stream_pool_commit(struct stream_pool *pool, const struct listener_settings *settings, int64_t now);
void stream_pool_rollback(struct stream_pool *pool);

/* Connections beyond stream_pool_size() since a reload: those to targets that go, and those that a target may
 * have no more. */
size_t stream_pool_extra(const struct stream_pool *pool);

/* Requests at the connections to a target, or to all of them (NULL). */
size_t stream_pool_load(const struct stream_pool *pool, const struct target *target);

/* Whether requests wait because of connections of other generations. */
bool stream_pool_is_held(const struct stream_pool *pool);

#endif
