/* What the multiplexer is made of. Used inside this room only (and by tests that look into it).
 *
 * A file changes its own kind of object, and what it calls for in others it notes as an effect; mux.c applies the
 * effects, in one order, until none is left. So nothing that a function was given goes away while it runs, but where
 * its comment says so. From the bottom up:
 *
 *   predicates.c      questions about any object; changes nothing
 *   effects.c         states of clients and connections; notes that one has changed, or has to end
 *   mux_observe.c     what is kept of an exchange for those who want to see it, and the word that it has ended
 *   rates.c           how many requests may go out in a second
 *   queue.c           clients whose next request waits for a connection
 *   exchange.c        one request with its answer: all changes of its state
 *   mux_client.c      a client: answers in their order, limits, timers, end
 *   mux_connection.c  a target connection: requests out, pauses, silence, end
 *   request.c         from what a client sends to exchanges
 *   response.c        from what a target sends to answers
 *   dispatch.c        which connection gets which request
 *   timeouts.c        the table of all timeouts
 *   mux.c             effects, limits, and what happens to all clients and connections
 *   mux_events.c      what mux.h offers besides: what happens to one client or connection */
#ifndef MUX_MUX_STATE_H
#define MUX_MUX_STATE_H

#include "base/buffer.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/quota.h"
#include "base/timeout.h"
#include "mux/mux.h"

/* See mux.h for the picture. */
enum exchange_state {
    EXCHANGE_READING,   /* its client's `incoming` */
    EXCHANGE_WAITING,   /* in its client's `waiting` */
    EXCHANGE_RESERVED,  /* its connection's `reserved` */
    EXCHANGE_SENT,      /* in its connection's `in_flight` */
    EXCHANGE_ABANDONED, /* likewise, but its client has gone: what answers it is thrown away */
    EXCHANGE_LATE,      /* only in its connection's `ids`: stands for one that was given up */
    EXCHANGE_ANSWERED,  /* in no list but its client's */
    EXCHANGE_GONE,      /* about to be freed */
};

/* What is kept of an exchange for those who want to see it. */
struct mux_observed {
    uint64_t number;
    bool is_announced; /* hooks.requested() was called */
    uint64_t local_bytes;
    struct buffer request;
    struct buffer answer;
};

/* What an exchange adds to the sums of its client. */
struct exchange_sums {
    size_t request; /* bytes in `bytes` */
    size_t answer;  /* bytes in `answer` */
    size_t memory;  /* that it holds, itself included */
};

/* One request with its answer. Owned by its client; once that is gone (ABANDONED, LATE) by its connection. */
struct mux_exchange {
    struct list_node in_client;
    struct list_node
        in_connection;           /* of its connection's `in_flight` or, when it has left that, `finished` */
    struct list_node in_waiting; /* in its client's `waiting` */
    struct list_node incomplete; /* in `incompletes`, until all of the request has come */
    struct mux_client *client;   /* NULL: it has gone */
    struct mux_connection *connection;
    enum exchange_state state;
    bool complete;       /* all of the request has come */
    bool has_begun;      /* bytes of its answer have come from the target */
    bool lacks_error;    /* no error could be given: its client is closed when its turn comes */
    bool has_no_timeout; /* it was sent while there was no request_timeout */
    bool was_charged;    /* it counts as sent, though it may have come back */
    enum reason reason;  /* of ANSWERED; REASON_NONE: by its answer */
    struct protocol_request request;
    struct buffer bytes;  /* of the request, not yet given to a connection */
    struct buffer answer; /* held back until it is this exchange's turn at the client */
    struct exchange_sums sums;
    uint64_t place; /* in the order in which requests began to wait */
    uint64_t start; /* SENT: positions of its bytes in the stream of the connection */
    uint64_t end;
    uint64_t id; /* SENT, where there are ids */
    uint64_t request_bytes;
    uint64_t answer_bytes;
    int64_t max_message;
    int64_t ready; /* when it began to wait */
    int64_t sent;
    uint64_t origin;               /* of its client, once it was sent */
    struct timeout silence;        /* with ids: of the target, about this request */
    struct mux_observed *observed; /* until its end is told; NULL: nobody wants to see it */
};

/* States follow each other downwards only. */
enum client_state {
    CLIENT_SERVED,
    CLIENT_FINISHING, /* nothing more is read of it; it goes when all is answered */
    CLIENT_CLOSING,   /* it has no exchanges any more, and goes when its output is written */
    CLIENT_CUT_OFF,   /* likewise, but with a reset, since part of what it was to get is lacking */
    CLIENT_RESETTING, /* it goes now, with a reset */
};

/* Owned by the multiplexer from mux_client_open() to mux_client_close(). */
struct mux_client {
    struct list_node node;
    struct list_node noted;    /* in `noted_clients` or, when that was seen to, `changed_clients` */
    struct list_node waiter;   /* in `waiters`, while any of its requests waits */
    struct list_node in_turn;  /* clients take turns: in `turns`, or (`is_held`) in its connection's `held` */
    struct heap_node in_order; /* requests go in order: in `order` */
    struct mux_door *door;
    struct mux_account *account; /* NULL: it shares no rate */
    struct list_node untried;    /* in `untried` */
    struct mux *mux;
    void *owner;
    uint64_t origin;
    enum client_state state;
    enum reason reason;                /* why it goes */
    struct list exchanges;             /* oldest first: the order of answers */
    struct list waiting;               /* of these, those that are WAITING */
    struct mux_exchange *incoming;     /* the one that is being read, the last of them, or NULL */
    struct mux_connection *connection; /* where its exchanges are in flight, while there are any */
    struct mux_connection *last_turn;  /* whose `last_client` it is */
    size_t in_flight;                  /* RESERVED or SENT */
    size_t waiting_count;
    size_t exchange_count;
    struct exchange_sums sums; /* of its exchanges */
    uint64_t announced;        /* requests that were numbered */
    size_t memory;             /* as it is in the multiplexer's sum */
    struct buffer held;        /* input that could not be taken yet */
    struct buffer output;
    bool has_ended;        /* FIN came */
    bool is_drained;       /* it goes when all is answered */
    bool is_leaving;       /* likewise, if its protocol has a word for that */
    bool delivers;         /* its first exchange may have something to give out */
    bool is_held;          /* it was its turn, but its connection had no room */
    bool is_aside;         /* its line is its account's: that has no token left for it */
    bool is_admitted;      /* it stands in the queue for one of its account's tokens */
    size_t stall_progress; /* bytes that it sent or took in the present span */
    int64_t stall_used;    /* microseconds of the present span that have passed already */
    bool stalls;           /* the span runs */
    struct timeout stall;
    struct timeout idle;
    struct timeout queue;
    struct timeout
        down; /* no target can be used: of its first request that waits, the one with this `place` */
    uint64_t down_place;
    int64_t queue_used; /* microseconds that its first exchange has waited before it was given a connection */
    uint64_t framer[];  /* the protocol's own */
};

enum connection_state {
    CONNECTION_HANDSHAKE, /* the protocol's first words are awaited */
    CONNECTION_DELAYED,   /* connect_delay runs */
    CONNECTION_READY,
    CONNECTION_RESTING, /* request_gap runs */
    CONNECTION_FAILED,  /* in `failed`: it is torn down before the present call is over */
    CONNECTION_OVER,
};

/* Owned by the multiplexer from mux_connection_open() to mux_connection_close(). */
struct mux_connection {
    struct list_node node;
    struct list_node noted;  /* in `noted_connections` or, when that was seen to, `changed_connections` */
    struct list_node failed; /* in `failed` */
    struct mux *mux;
    void *owner;
    enum connection_state state;
    bool is_retiring;   /* takes no new request; over when it has nothing to do */
    bool target_left;   /* the target has ended its stream, or said with an answer that it does */
    bool settles;       /* it was made so soon that its target may have no room for it yet */
    bool is_wary;       /* each client has one request at a time */
    bool has_spoken;    /* a byte of an answer has come */
    bool was_evaluated; /* that it ends says nothing more of its target */
    bool released;      /* an exchange has left it: what waited for that can go on */
    enum reason reason;
    struct list in_flight;            /* SENT or ABANDONED, in the order in which they were sent */
    size_t load;                      /* how many of them */
    struct list finished;             /* exchanges that were here and wait for their turn at their clients */
    struct list held[MUX_PRIORITIES]; /* clients whose turn it was while it had no room for them */
    struct mux_exchange *reserved;
    struct mux_exchange *streaming; /* the last one in flight, while not all of its bytes are in `output` */
    struct mux_exchange *current;   /* with ids: whose response is being read */
    struct mux_exchange **ids;      /* with ids: by id modulo id_places */
    size_t id_places;
    size_t ids_used;
    uint64_t next_id;
    struct mux_client
        *last_client; /* turns: whose turn was the last one, as long as it may have late bytes */
    struct buffer output;
    uint64_t handshake; /* bytes of the protocol's first words */
    uint64_t given;     /* bytes ever put into `output` */
    uint64_t written;   /* of these, written */
    uint64_t discarded; /* whole messages that answered nothing, since this was asked last */
    int64_t requests;   /* sent so far */
    size_t turn_taken;  /* turns: bytes written since `answering` began anew; SIZE_MAX: it has to */
    unsigned silences;  /* requests in a row that were given up without a byte from the target (ids) */
    struct timeout answering;
    struct timeout taking;
    struct timeout discard;
    struct timeout inactivity;
    struct timeout ttl;
    struct timeout pause; /* connect_delay or its like, or request_gap */
    struct timeout turn;  /* turns: response_gap */
    struct buffer explanation;
    uint64_t framer[];
};

/* What there is a clock for: see timeouts.c. Those that are due at the same time are handled in this order. */
enum mux_timer {
    TIMER_IDLE,
    TIMER_STALL,
    TIMER_SILENCE,
    TIMER_ANSWERING,
    TIMER_TAKING,
    TIMER_TURN,
    TIMER_DISCARD,
    TIMER_INACTIVITY,
    TIMER_TTL,
    TIMER_DELAY,
    TIMER_SETTLE,
    TIMER_GAP,
    TIMER_DOWN,
    TIMER_QUEUE,
    TIMER_COUNT
};

/* Clients of one priority that may be sent to and have a request that waits. */
struct mux_line {
    struct list turns; /* they take turns */
    struct heap order; /* requests go in order: by the place of their first request */
};

/* Owned by who created it. */
struct mux {
    struct mux_settings settings;
    struct mux_hooks hooks;
    void *owner;
    const struct protocol_settings *protocol_settings;
    const struct protocol *protocol;
    bool takes_turns;
    uint64_t id_count;         /* 0: answers come in order */
    size_t answers_per_client; /* so many requests of one client may be in flight */
    int64_t now;
    struct list clients;
    size_t client_count;
    struct list connections;
    /* Effects. */
    struct list failed;            /* connections to be torn down */
    struct list noted_connections; /* that have changed */
    struct list noted_clients;
    struct list noted_accounts; /* who stands aside may be let in */
    struct list untried; /* clients to look for a connection for, unless all are with `wants_dispatch` */
    bool wants_dispatch; /* a connection may have room */
    bool runs_effects;
    struct list changed_clients; /* to be told to the owner */
    struct list changed_connections;
    /* The queue. */
    struct mux_line lines[MUX_PRIORITIES]; /* by priority */
    unsigned lines_used;                   /* a bit for each that may have clients */
    unsigned turns_in_row[MUX_PRIORITIES]; /* that each had while lower ones waited */
    struct mux_door door;                  /* of clients that have come by no other */
    uint64_t next_place;                   /* in the order of requests that began to wait */
    struct rate rate;
    int64_t rate_due; /* the queue waits for a token of `rate` until then; INT64_MAX: it does not */
    struct quotas accounts;
    struct heap accounts_due; /* by when they have a token */
    struct list waiters;      /* clients with a request that waits, in the order in which they came */
    size_t waiter_count;
    size_t apart_count;   /* likewise, of clients that are apart, which are in no such list */
    int64_t waited_since; /* when `waiters` was last empty */
    bool is_down;         /* no target can be used, since `down_since` */
    int64_t down_since;
    struct list incompletes; /* exchanges of which a part has come, oldest first */
    size_t memory;
    size_t queue_allowed;    /* at least the limit; more after the limit was lowered */
    size_t memory_allowed;   /* likewise */
    struct buffer discarded; /* takes what nobody wants */
    struct timeout_list timers[TIMER_COUNT];
};

static inline struct mux_exchange *exchange_of_client_node(struct list_node *node)
{
    return node == NULL ? NULL : list_entry(node, struct mux_exchange, in_client);
}

static inline struct mux_exchange *exchange_of_connection_node(struct list_node *node)
{
    return node == NULL ? NULL : list_entry(node, struct mux_exchange, in_connection);
}

static inline struct mux_exchange *client_first(const struct mux_client *client)
{
    return exchange_of_client_node(list_first(&client->exchanges));
}

static inline struct mux_exchange *client_first_waiting(const struct mux_client *client)
{
    struct list_node *node = list_first(&client->waiting);
    return node == NULL ? NULL : list_entry(node, struct mux_exchange, in_waiting);
}

static inline struct mux_exchange *connection_first(const struct mux_connection *connection)
{
    return exchange_of_connection_node(list_first(&connection->in_flight));
}

/* Whether nothing more is read of it. */
static inline bool client_is_finishing(const struct mux_client *client)
{
    return client->state >= CLIENT_FINISHING;
}

/* Whether it has no exchanges any more. */
static inline bool client_is_over(const struct mux_client *client)
{
    return client->state >= CLIENT_CLOSING;
}

/* Whether it is over, or will be before the present call is. */
static inline bool connection_is_ending(const struct mux_connection *connection)
{
    return connection->state >= CONNECTION_FAILED;
}

/* ---- predicates.c ---- */

bool client_output_is_full(const struct mux_client *client);

/* Whether it may have more requests here. */
bool client_can_take(const struct mux_client *client);

/* Whether it may be sent to now: how much is in flight or held. */
bool client_is_eligible(const struct mux_client *client);

/* Whether a byte of it was written; whether all of it was. */
bool exchange_was_sent(const struct mux_exchange *exchange);
bool exchange_was_sent_whole(const struct mux_exchange *exchange);

/* Whether nothing is going on. */
bool connection_is_idle(const struct mux_connection *connection);

/* The exchange whose answer is awaited or coming in; NULL: none, or (with ids) not known yet. */
struct mux_exchange *connection_answering(const struct mux_connection *connection);

/* Whether any request was sent on it that may still be answered. */
bool connection_has_outstanding(const struct mux_connection *connection);

/* Whether its answer is being waited for or coming in, its client does not take it, and so the connection is not
 * read; the first: because of this client. */
bool connection_is_blocked_by(const struct mux_connection *connection, const struct mux_client *client);
bool connection_is_blocked(const struct mux_connection *connection);

/* Whether anybody else than this client has a request waiting for a connection. */
bool mux_somebody_else_waits(const struct mux *mux, const struct mux_client *client);

/* ---- effects.c ---- */

/* The one place where clients change their state, which only goes down the list. The reason is kept once it is over. */
void client_enter(struct mux_client *client, enum client_state state, enum reason reason);

/* The one place where connections change theirs. */
void connection_enter(struct mux_connection *connection, enum connection_state state);

/* It has changed: what follows from that is found out, and its owner told. */
void note_client(struct mux_client *client);
void note_connection(struct mux_connection *connection);

/* Its first exchange may have something to give out. */
void note_delivery(struct mux_client *client);

/* It is torn down in this call: what was sent on it fails. The first reason counts. `explanation`: what more there is
 * to say, or "". */
void note_failure(struct mux_connection *connection, enum reason reason, const char *explanation);

/* ---- mux_observe.c ---- */

/* Whether requests are to be kept; false when memory is short. */
bool mux_observe_begin(struct mux_exchange *exchange);

/* Keeps bytes of its request, and of its answer, if somebody wants to see them. */
void mux_observe_request(struct mux_exchange *exchange, const char *bytes, size_t length);
void mux_observe_answer(struct mux_exchange *exchange, const char *bytes, size_t length);

/* An answer that was made here, in the place of one of the target. */
void mux_observe_local_answer(struct mux_exchange *exchange);

/* Its request is whole: says so, if somebody wants to know. */
void mux_observe_requested(struct mux_exchange *exchange);

/* Tells the owner that it has ended; REASON_NONE: by its answer. */
void mux_observe_end(struct mux_exchange *exchange, enum reason reason);

void mux_observe_free(struct mux_exchange *exchange);

/* Tells the owner what the exchange (NULL: none) has shown of the target. */
void mux_observe_finding(const struct mux_connection *connection, const struct mux_exchange *exchange,
                         enum mux_verdict verdict, enum reason reason, const char *explanation);

/* ---- queue.c ---- */

/* A request begins to wait; `again`: before all others of its client. It no longer does. */
void queue_enter(struct mux_exchange *exchange, bool again);
void queue_leave(struct mux_exchange *exchange);

/* The client may be sent to or not, or the connection that it is bound to is another: finds out where it stands. */
void queue_update(struct mux_client *client);

/* A connection may be found for the client's next request, and for no other one that could not be found before. */
void queue_try(struct mux_client *client);

/* There is no token for it; `first`: it comes before the others of its account. */
void queue_stand_aside(struct mux_client *client, bool first);

/* Lets those in that stand aside, as many as their account has tokens. */
void queue_let_in(struct mux_account *account);

/* Whose turn it is, or NULL; it has had it. */
struct mux_client *queue_first(struct mux *mux);
void queue_count_turn(struct mux_client *client);

/* It was its turn, but its connection has no room: it stands aside until that has. */
void queue_hold(struct mux_client *client);

/* There is no connection for the first client, which is apart: others are looked at meanwhile. Then all that stood aside
 * come first again. */
void queue_put_aside(struct mux_client *client, struct list *aside);
void queue_take_back(struct list *aside);

/* The connection has room: it is the turn of those that stand aside for it, of each priority the first. */
void queue_release(struct mux_connection *connection);

/* The client is bound to no connection any more. */
void queue_unbind(struct mux_client *client);

/* How many requests of the client would go out if `connections` had room for new work. */
size_t queue_count_next(const struct mux_client *client, size_t connections);

/* See mux_door_set_priority(). */
void queue_set_priority(struct mux *mux, struct mux_door *door, unsigned priority);

/* ---- exchange.c ---- */

/* A new exchange at the end of the client's list, READING. NULL when memory is short. */
struct mux_exchange *exchange_create(struct mux_client *client);

/* A stand-in for one that is given up, LATE, in its place among the ids. NULL when memory is short. */
struct mux_exchange *exchange_create_late(const struct mux_exchange *exchange);

/* The sums of its client follow what it holds now. After every change of `bytes` and `answer`. */
void exchange_account(struct mux_exchange *exchange);

/* All of its request has come, or is to come. */
void exchange_complete(struct mux_exchange *exchange);

/* READING to WAITING; RESERVED or SENT, of which not a byte was written, back to WAITING, before all that wait. */
void exchange_wait(struct mux_exchange *exchange);

/* WAITING to RESERVED, or to SENT; RESERVED to SENT. */
void exchange_reserve(struct mux_exchange *exchange, struct mux_connection *connection);
void exchange_send(struct mux_exchange *exchange, struct mux_connection *connection);

/* Moves what has come of its request into the connection's output. */
void exchange_give(struct mux_exchange *exchange);

/* SENT to ANSWERED: its response is whole. Frees it if it is ABANDONED. */
void exchange_answered(struct mux_exchange *exchange);

/* Any state but ANSWERED to ANSWERED: the answer (if `reason` is not REASON_NONE an error) is in `answer`. */
void exchange_answer_here(struct mux_exchange *exchange, enum reason reason);

/* Likewise, with an error in the place of its answer, or, where there is none, to be ended by closing its client. */
void exchange_fail(struct mux_exchange *exchange, enum reason reason);

/* Ends it because its client goes, or drops it: ABANDONED where its answer has to be thrown away, else freed. */
void exchange_drop(struct mux_exchange *exchange, enum reason reason);

/* Frees it, in any state. */
void exchange_free(struct mux_exchange *exchange);

/* ---- mux_client.c ---- */

/* Gives out what is its turn: the answers of the first exchanges, which are freed. Ends the client if nothing more is
 * to come. */
void client_deliver(struct mux_client *client);

/* Ends the client: all its exchanges with this reason. What is in its output still goes out, unless it is RESETTING. */
void client_terminate(struct mux_client *client, enum client_state state, enum reason reason);

/* Ends it where something is lacking of what it was to get: so that it shows, if it has got a part. */
void client_cut_off(struct mux_client *client, enum reason reason);

/* No more requests: the incomplete one is dropped. */
void client_stop_input(struct mux_client *client, enum reason reason);

/* What was read has been dealt with: ends that came meanwhile take effect. */
void client_after_input(struct mux_client *client);

/* Drops what waits, but the `next` first. */
void client_drop_waiting(struct mux_client *client, size_t next);

/* Bytes that it sent or took count against stalling and idleness. */
void client_progressed(struct mux_client *client, size_t count);

/* Fails what waits for a connection: no target can be used. */
void client_give_up(struct mux_client *client);

/* What follows from a change: sums and timers. */
void client_update(struct mux_client *client);

/* Which clock runs while it holds up its connection; that clock begins anew. */
void client_watch_stall(struct mux_client *client);
void client_begin_span(struct mux_client *client);

void client_stalled(struct mux_client *client);

/* ---- mux_connection.c ---- */

/* Its first words are said: it is delayed, or ready. */
void connection_ready(struct mux_connection *connection);

/* Gives it a request that waits. There is room. */
void connection_assign(struct mux_connection *connection, struct mux_exchange *exchange);

/* What follows from a change: requests that can go out, timers, its end. */
void connection_update(struct mux_connection *connection);

/* It takes no new request and is over when it has nothing to do. */
void connection_retire(struct mux_connection *connection, enum reason reason);

/* Carries a failure out: what was not sent waits again, what was sent fails. */
void connection_tear_down(struct mux_connection *connection);

/* Requests of which the last byte was written just now, `before` bytes having been before. */
void connection_sent(struct mux_connection *connection, uint64_t before);

/* Other settings are in force; `had_no_timeout`: before there was no request_timeout. */
void connection_reconfigure(struct mux_connection *connection, bool had_no_timeout);

/* What was kept to know late answers by. */
void connection_free_late(struct mux_connection *connection);

void connection_answer_overdue(struct mux_connection *connection);
void connection_taking_overdue(struct mux_connection *connection);
void connection_exchange_overdue(struct mux_exchange *exchange);

/* ---- request.c ---- */

/* Reads on in what the client sends, as much as may be; `once`: one request at the most. */
void request_read(struct mux_client *client, struct slice *input, bool once);

/* Reads on in what was held back. */
void request_resume(struct mux_client *client);

/* A part of it has come: it may be long enough to wait for a connection. */
void request_progressed(struct mux_exchange *exchange);

/* ---- response.c ---- */

/* Reads on in what the target sends. */
void response_read(struct mux_connection *connection, struct slice input);

/* The target has been silent for `response_gap`. */
void response_turn_over(struct mux_connection *connection);

/* The target has ended its stream, which may be how an answer ends. */
void response_end(struct mux_connection *connection);

/* ---- dispatch.c ---- */

/* Hands waiting requests out as long as there is room. */
void dispatch_run(struct mux *mux);

/* How many of the client's requests wait for nobody, but only until a connection can be used. */
size_t dispatch_count_next(const struct mux_client *client);

/* ---- mux.c ---- */

/* Follows up all that the present call has brought about. Every public function that changes anything ends with it. */
void mux_run_effects(struct mux *mux);

/* ---- timeouts.c ---- */

void timeouts_init(struct mux *mux);

/* Other settings are in force. */
void timeouts_change(struct mux *mux);

int64_t timeouts_due(const struct mux *mux);

/* Handles one that is due. False: none is. */
bool timeouts_expire(struct mux *mux);

#endif
