/* A session of proxy mode: two equal ends that point to each other. Used inside this room only. */
#ifndef PIPE_PIPE_SESSION_H
#define PIPE_PIPE_SESSION_H

#include "base/list.h"
#include "base/timer.h"
#include "events/events.h"
#include "net/hangup.h"
#include "pipe/pipe.h"
#include "pipe/splice_pipe.h"
#include "target/target.h"

#include <ev.h>

/* One end. Bytes that its socket would not take at once are kept here as `pending`, or in `splice_pipe`. While
 * there are any, its peer is not read: that is the back-pressure, and the bound of the memory. */
struct pipe_end {
    struct pipe_end *peer;
    struct pipe_session *session;
    ev_io watcher;                   /* its fd is this end's descriptor, -1 while there is none */
    struct splice_pipe *splice_pipe; /* bytes to be written to this end; NULL if none */
    char *pending;                   /* likewise */
    uint32_t pending_start;
    uint32_t pending_length;
    uint32_t pending_capacity;
    bool read_ended;           /* nothing more comes from this end */
    bool write_ended;          /* nothing more can be, or is to be, written to it */
    bool reset;                /* it failed, so that its peer is closed with a reset too */
    bool is_copied;            /* the flow from this end can't be spliced */
    bool is_large;             /* the flow from this end is a large one */
    unsigned char large_reads; /* in a row, until the flow is a large one */
    uint64_t received;
    uint64_t sent;
};

/*            target_choose() gives one          connected
 *   WAITING -------------------------> CONNECTING -----------> PIPING
 *      ^                                  |
 *      +------- the attempt failed -------+         from each: end
 *
 * WAITING: in the service's queue; the client is read (into `pending` of the other end) so that its end is
 * noticed. CONNECTING: `attempt` runs; the client is not read meanwhile. PIPING: both ends have
 * descriptors. */
#define PIPE_EARLY_END                                                                                       \
    1000 /* milliseconds: an end by the target that comes sooner, without a byte, is a failure */

enum pipe_state { PIPE_WAITING, PIPE_CONNECTING, PIPE_PIPING };

/* The timeouts of sessions. A session keeps the rules with which it began. Owned by the service while they are
 * in force or have sessions. */
struct pipe_rules {
    struct list_node node;
    size_t sessions;
    struct timer queue_timer;
    struct timer down_timer;
    struct timer inactivity_timer;
    struct timer half_close_timer;
    struct timer trial_timer;
};

/* Owned by its service, in one of its lists; freed in pipe_session_end() only. */
struct pipe_session {
    struct list_node node;
    struct pipe_service *service;
    struct pipe_rules *rules;
    enum pipe_state state;
    bool is_cancel;     /* the client asks PostgreSQL to cancel a query, for which there is no answer */
    bool was_evaluated; /* what it shows of its target was noted */
    enum reason
        overdue; /* its time in the queue has passed: if the attempt fails, the session ends; or NONE */
    struct pipe_end client;
    struct pipe_end target;
    const struct pipe_end *ended_first; /* NULL: neither has ended */
    struct target_attempt *attempt;     /* in CONNECTING */
    struct target *connected_target;    /* in PIPING */
    struct timeout queue_timeout;
    struct timeout down; /* not PIPING: no target can be used */
    struct timeout inactivity;
    struct timeout half_close;
    struct timeout trial; /* of a sick target: until the session has outlived what counts as an early end */
    struct hangup hangup; /* of the client, while it is not read and has nothing to be written */
    struct events_client *events; /* NULL: events are not wanted */
    struct address address;
    struct address destination; /* that a proxy has told; AF_UNSPEC: none */
    uint64_t number;
    int64_t accepted; /* microseconds */
    int64_t tried;    /* when the last attempt began */
    int64_t connected;
};

/* The sessions of one listener. Owned by the listener. */
struct pipe_service {
    struct service service;
    struct runtime *runtime;
    struct listener_settings *settings;
    struct target_set *targets;
    struct list waiting; /* the queue: in order of arrival */
    struct list others;  /* sessions that are CONNECTING or PIPING */
    size_t waiting_count;
    size_t session_count;
    struct splice_pipes splice_pipes;
    struct hangups hangups;
    struct list all_rules; /* struct pipe_rules, the last are in force */
    size_t queue_allowed;  /* queue_limit; more while more waited when it was lowered */
    bool is_held;          /* the time of queue_timeout is stopped */
    bool is_draining;
    bool is_down; /* no target can be used, since `down_since` */
    int64_t down_since;
    struct service_owner owner;
    struct listener_settings *next_settings; /* between `prepare` and `commit` or `rollback` */
    const struct events_listener *next_events;
    struct pipe_rules *next_rules; /* NULL: those in force stay */
};

/* A session for an accepted client, in the queue, under these rules. NULL when memory is short. */
struct pipe_session *pipe_session_create(struct pipe_service *service, struct pipe_rules *rules,
                                         const struct service_client *client);

/* Enters a state, and the list of that state. */
void pipe_session_enter(struct pipe_session *session, enum pipe_state state);

/* Starts or stops the time that it may wait while no target can be used. */
void pipe_session_watch_down(struct pipe_session *session);

/* Puts a session whose attempt failed back into the queue, by its arrival. */
void pipe_session_requeue(struct pipe_session *session);

/* Takes over the connection to a target. May free the session. */
void pipe_session_connected(struct pipe_session *session, struct target *target, int descriptor);

/* To be called after any change: passes ends of stream on, ends a session that is over, and else watches both
 * ends for what can come next. May free the session. */
void pipe_session_progress(struct pipe_session *session);

/* The client of a session that does not read it has hung up. A reset ends the session, and bytes that the target
 * has not taken are lost; after both ends of stream, it goes on. */
void pipe_session_hung_up(void *service, struct hangup *hangup);

/* It has lived for so long that its target, which was sick, seems to work. */
void pipe_session_outlived(struct pipe_session *session);

/* The one place where sessions end. Frees the session. */
void pipe_session_end(struct pipe_session *session, enum reason reason);

/* An end's descriptor can be read from or written to. */
typedef void pipe_end_ready(struct ev_loop *loop, ev_io *watcher, int events);

void pipe_end_init(struct pipe_end *end, struct pipe_end *peer, struct pipe_session *session,
                   pipe_end_ready *ready);

/* Sets an end up for its descriptor. */
void pipe_end_open(struct pipe_end *end, int descriptor);

bool pipe_end_is_open(const struct pipe_end *end);

/* Stops watching, closes (with a reset if `reset`) and frees what is pending. */
void pipe_end_close(struct pipe_end *end, bool reset);

/* Reads once and passes the bytes on to the peer. False: memory is short. */
bool pipe_end_pump(struct pipe_end *end);

/* Whether there are bytes to be written to this end. */
bool pipe_end_has_pending(const struct pipe_end *end);

/* Puts bytes in front of what is pending for this end. False: memory is short. */
bool pipe_end_put_first(struct pipe_end *end, const char *bytes, size_t length);

/* Writes what is pending for this end, as far as its socket takes it. */
void pipe_end_flush(struct pipe_end *end);

/* Passes the end of a stream on, once all that came before it was written. */
void pipe_end_pass_on(struct pipe_end *end);

/* Whether nothing can come from this end any more, all that came is written, and its end was passed on. */
bool pipe_end_is_done(const struct pipe_end *end);

/* Watches an end for what can be handled; a system call is made only when that changes. */
void pipe_end_watch(struct pipe_end *end);

#endif
