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

/* One end. What its peer's socket would not take at once is kept with the peer as `pending`, or in `splice_pipe`;
 * while there is any, this end is not read: that is the back-pressure, and the bound of the memory. */
struct pipe_end {
    struct pipe_end *peer;
    struct pipe_session *session;
    ev_io watcher;                   /* its fd is this end's descriptor, -1 while there is none */
    struct splice_pipe *splice_pipe; /* has bytes to be written to this end; NULL if none */
    char *pending;                   /* likewise */
    uint32_t pending_start;
    uint32_t pending_length;
    uint32_t pending_capacity;
    bool read_ended;           /* nothing more comes from this end */
    bool write_ended;          /* nothing more can be, or is to be, written to it */
    bool reset;                /* it failed: what follows is closed with a reset too */
    bool is_copied;            /* what comes from this end can't be spliced */
    bool is_large;             /* what comes from this end is */
    unsigned char large_reads; /* in a row, while it is not */
    uint64_t received;
    uint64_t sent;
};

/*            target_choose() gives one          connected
 *   WAITING -------------------------> CONNECTING -----------> PIPING
 *      ^                                  |
 *      +------- the attempt failed -------+         from each: end
 *
 * WAITING: in the service's queue; the client is read (into `pending` of the other end) so that its going is
 * noticed. CONNECTING: `attempt` runs; the client is not read for that moment. PIPING: both ends have
 * descriptors. */
enum pipe_state { PIPE_WAITING, PIPE_CONNECTING, PIPE_PIPING };

/* How long sessions may take: what they began with counts until they end. Owned by its service as long as it
 * is in force or sessions have it. */
struct pipe_rules {
    struct list_node node;
    size_t sessions;
    struct timer queue_timer;
    struct timer inactivity_timer;
    struct timer half_close_timer;
};

/* Owned by its service, in one of its lists; freed in pipe_session_end() only. */
struct pipe_session {
    struct list_node node;
    struct pipe_service *service;
    struct pipe_rules *rules;
    enum pipe_state state;
    bool overdue; /* queue_timeout passed during an attempt: its failure is the end */
    struct pipe_end client;
    struct pipe_end target;
    const struct pipe_end *ended_first; /* NULL: neither has ended */
    struct target_attempt *attempt;     /* in CONNECTING */
    struct target *connected_target;    /* in PIPING */
    struct timeout queue_timeout;
    struct timeout inactivity;
    struct timeout half_close;
    struct hangup hangup;         /* of the client, while it is not read and has nothing to be written */
    struct events_client *events; /* NULL: nobody wants to know */
    struct address address;
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
    bool serving;          /* inside pipe_serve_queue(), or it must not be entered */
    bool is_held;          /* queue_timeout stands still */
    struct service_owner owner;
    struct listener_settings *next_settings; /* between `prepare` and what follows it */
    const struct events_listener *next_events;
    struct pipe_rules *next_rules; /* NULL: those in force go on */
};

/* A session for an accepted client, in the queue. NULL when memory is short. */
struct pipe_session *pipe_session_create(struct pipe_service *service, struct pipe_rules *rules,
                                         int descriptor, const struct address *client,
                                         struct events_client *events);

/* Enters a state; the lists and the count of those who wait follow from it. */
void pipe_session_enter(struct pipe_session *session, enum pipe_state state);

/* Puts a session whose attempt failed back to where its arrival places it in the queue. */
void pipe_session_requeue(struct pipe_session *session);

/* Takes over the connection to a target. May free the session. */
void pipe_session_connected(struct pipe_session *session, struct target *target, int descriptor);

/* After anything changed: passes ends of stream on, ends the session if it is over, and else watches both
 * ends for what can come next. May free the session: the caller's last word on it. */
void pipe_session_progress(struct pipe_session *session);

/* The hang-up of its client was seen. Ends the session if that is a reset: what the client has said could not
 * be passed on for a while, and nobody wants to know any more what comes of it. */
void pipe_session_hung_up(void *service, struct hangup *hangup);

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

/* Reads once and passes on to the peer. False: memory is short. */
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

/* Watches an end for exactly what can be dealt with; the kernel is told only when that changes. */
void pipe_end_watch(struct pipe_end *end);

#endif
