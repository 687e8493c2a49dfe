/* What the multiplexer is made of. Used inside this room only (and by tests that look into it). */
#ifndef MUX_STATE_H
#define MUX_STATE_H

#include "base/buffer.h"
#include "base/list.h"
#include "base/timeout.h"
#include "mux/mux.h"

/* See mux.h for the picture. */
enum exchange_state {
    EXCHANGE_READING,  /* its client's `incoming` */
    EXCHANGE_WAITING,  /* in `queue`, or behind another one of its client that is */
    EXCHANGE_RESERVED, /* its connection's `reserved` */
    EXCHANGE_SENT,     /* in its connection's `in_flight`, or (given up, with ids) only in its `slots` */
    EXCHANGE_ANSWERED, /* in no list but its client's */
};

/* What is kept of an exchange for those who want to see it. */
struct mux_observed {
    uint64_t number;
    bool told; /* hooks.asked() was called */
    uint64_t local_bytes;
    struct buffer request;
    struct buffer answer;
};

/* One request with its answer. Owned by its client; once that is gone (it is `abandoned` then) by its connection.
 */
struct mux_exchange {
    struct list_node in_client;
    struct list_node
        in_connection; /* of its connection's `in_flight` or, when it has left that, `finished` */
    struct list_node in_queue;
    struct list_node incomplete;       /* in `incompletes`, until all of the request has come */
    struct mux_client *client;         /* NULL: abandoned */
    struct mux_connection *connection; /* RESERVED, SENT */
    enum exchange_state state;
    bool in_flight; /* counted in its connection's `load` */
    bool complete;  /* all of the request has come */
    bool ended;     /* exchange_end() was called */
    bool seen;      /* bytes of its answer have come from the target */
    bool cut;       /* no error could be given: its client is closed when its turn comes */
    bool answered;
    bool untimed;       /* it was sent while there was no request_timeout */
    enum reason reason; /* of ANSWERED, unless `answered` */
    struct protocol_request request;
    struct buffer bytes;  /* of the request, not yet given to a connection */
    struct buffer answer; /* held back until it is this exchange's turn at the client */
    uint64_t start;       /* SENT: places of its bytes in the stream of the connection */
    uint64_t end;
    uint64_t id; /* SENT, where there are ids */
    uint64_t request_bytes;
    uint64_t answer_bytes;
    int64_t max_message;
    int64_t ready; /* when it began to wait */
    int64_t sent;
    struct timeout answering;      /* with ids: silence of the target */
    struct mux_observed *observed; /* until its end is told; NULL: nobody wants to see it */
};

/* Owned by the multiplexer from mux_client_open() to mux_client_close(). */
struct mux_client {
    struct list_node node;
    struct list_node changed;
    struct list_node waiter;    /* in `waiters`, while `waiting` is not 0 */
    struct list_node resumable; /* in `resumables`: held input can go on */
    struct list_node untried;   /* in `untried`: it has a request that no connection was looked for yet */
    struct mux *mux;
    void *owner;
    struct list exchanges;         /* oldest first: the order of answers */
    struct mux_exchange *incoming; /* the one that is being read, the last of them, or NULL */
    struct mux_exchange *queued;   /* turns among clients: the only one of its exchanges that is in `queue` */
    struct mux_connection *connection;      /* where its exchanges are in flight, while there are any */
    struct mux_connection *late_connection; /* whose `last_owner` it is */
    size_t in_flight;                       /* RESERVED or SENT, and not answered */
    size_t waiting;                         /* WAITING */
    size_t exchange_count;
    size_t request_bytes;  /* in its exchanges' `bytes` */
    size_t answer_bytes;   /* in its exchanges' `answer` */
    size_t observed_bytes; /* kept of its exchanges to be seen */
    uint64_t told;         /* requests that were numbered */
    size_t memory;         /* as it is in the multiplexer's sum */
    struct buffer held;    /* input that could not be taken yet */
    struct buffer output;
    bool peer_ended;    /* FIN came */
    bool input_over;    /* nothing more is read; what comes is thrown away */
    bool draining;      /* it goes when all is answered */
    bool leaving;       /* likewise, if its protocol has a word for that */
    bool over;          /* no exchanges any more; `fate` says how it goes */
    bool cut;           /* it goes with a reset when its output is written */
    bool broken;        /* it goes with a reset now */
    enum reason reason; /* why it goes */
    size_t stall_progress;
    int64_t stall_used; /* microseconds of the present span that have passed already */
    bool stalling;
    struct timeout stall;
    struct timeout idle;
    struct timeout queue;
    int64_t queue_used; /* microseconds that its first exchange has waited before it was given a connection */
    uint64_t framer[];  /* the protocol's own */
};

enum connection_state {
    CONNECTION_GREETING, /* the protocol's first words are awaited */
    CONNECTION_DELAYED,  /* connect_delay runs */
    CONNECTION_READY,
    CONNECTION_OVER,
};

/* Owned by the multiplexer from mux_connection_open() to mux_connection_close(). */
struct mux_connection {
    struct list_node node;
    struct list_node changed;
    struct list_node doomed; /* in `doomed`: it ends before the present call is over */
    struct mux *mux;
    void *owner;
    enum connection_state state;
    bool due;     /* takes no new request; over when it has nothing to do */
    bool resting; /* request_gap runs */
    enum reason reason;
    struct list in_flight; /* SENT, in the order in which they were sent */
    size_t load;           /* how many of them */
    struct list finished;  /* exchanges that were here and wait for their turn at their clients */
    struct mux_exchange *reserved;
    struct mux_exchange *streaming; /* the last one in flight, while not all of its bytes are in `output` */
    struct mux_exchange *current;   /* with ids: whose response is being read */
    struct mux_exchange **slots;    /* with ids: by id modulo slot_count */
    size_t slot_count;
    size_t slots_used;
    uint64_t next_id;
    struct mux_client *last_owner; /* turns: whose turn was the last one, as long as it may have late bytes */
    struct buffer output;
    uint64_t greeting; /* bytes of the protocol's first words */
    uint64_t given;    /* bytes ever put into `output` */
    uint64_t written;  /* of these, written */
    int64_t requests;  /* sent so far */
    size_t taken;      /* turns: bytes written since `answering` began anew; SIZE_MAX: it has to */
    unsigned silent;   /* requests in a row that were given up without a byte from the target (ids) */
    struct timeout answering;
    struct timeout taking;
    struct timeout discard;
    struct timeout inactivity;
    struct timeout ttl;
    struct timeout pause; /* connect_delay, or request_gap */
    struct timeout turn;  /* turns: response_gap */
    struct buffer explanation;
    uint64_t framer[];
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
    struct list changed_clients;
    struct list changed_connections;
    struct list doomed;
    struct list resumables;
    struct list untried;     /* clients to look for a connection for, unless all are with `wants_dispatch` */
    struct list queue;       /* exchanges that wait for a connection */
    struct list incompletes; /* exchanges of which a part has come, oldest first */
    struct list waiters;     /* clients with a request that waits, in the order in which they came */
    size_t waiter_count;
    int64_t waited_since; /* when `waiters` was last empty */
    bool wants_dispatch;
    bool settling;
    size_t memory;
    size_t queue_allowed;    /* at least the limit; more after the limit was lowered */
    size_t memory_allowed;   /* likewise */
    struct buffer discarded; /* takes what nobody wants */
    struct timeout_list queue_timeouts;
    struct timeout_list idle_timeouts;
    struct timeout_list stall_timeouts;
    struct timeout_list exchange_timeouts; /* answering, of exchanges */
    struct timeout_list answering_timeouts;
    struct timeout_list taking_timeouts;
    struct timeout_list discard_timeouts;
    struct timeout_list inactivity_timeouts;
    struct timeout_list ttl_timeouts;
    struct timeout_list delay_timeouts;
    struct timeout_list gap_timeouts;
    struct timeout_list turn_timeouts;
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

static inline struct mux_exchange *connection_first(const struct mux_connection *connection)
{
    return exchange_of_connection_node(list_first(&connection->in_flight));
}

/* ---- mux.c ---- */

/* Carries out all that the present call has brought about: ends doomed connections, reads on in held input, hands
 * waiting requests out, keeps the limits. Every public function that changes anything ends with it. */
void mux_settle(struct mux *mux);

/* What follows from the settings, and has to be found out anew with each change of them. */
void mux_derive(struct mux *mux);

/* A connection may be found for the client's next request, and for no other one that could not be found before. */
void mux_try(struct mux *mux, struct mux_client *client);

/* Whether anybody else than this client has a request waiting for a connection. */
bool mux_somebody_else_waits(const struct mux *mux, const struct mux_client *client);

/* ---- exchange.c ---- */

/* A new exchange at the end of the client's list, READING. NULL when memory is short. */
struct mux_exchange *exchange_create(struct mux_client *client);

/* Keeps bytes of its request, and of its answer, if somebody wants to see them. */
void exchange_observe_request(struct mux_exchange *exchange, const char *bytes, size_t length);
void exchange_observe_answer(struct mux_exchange *exchange, const char *bytes, size_t length);

/* Its request is whole: says so, if somebody wants to know. */
void exchange_asked(struct mux_exchange *exchange);

/* The one place where exchanges end; says so to the owner. Does not free. */
void exchange_end(struct mux_exchange *exchange, bool answered, enum reason reason);

/* Takes it out of all lists and counts and frees it. */
void exchange_free(struct mux_exchange *exchange);

/* READING to WAITING. */
void exchange_wait(struct mux_exchange *exchange);

/* Back to WAITING, before all that wait: its connection went, or does not take it, and not a byte of it was sent.
 */
void exchange_wait_again(struct mux_exchange *exchange);

/* Takes it out of the queue or off its connection; what it was given there is forgotten. */
void exchange_detach(struct mux_exchange *exchange);

/* Ends it with an error in the place of its answer, or by closing its client. It may be in any state but
 * ANSWERED. */
void exchange_fail(struct mux_exchange *exchange, enum reason reason);

/* Its response is whole. */
void exchange_answered(struct mux_exchange *exchange);

/* Answered here; the answer is in `answer`. */
void exchange_local(struct mux_exchange *exchange, bool answered, enum reason reason);

/* ---- client.c ---- */

/* Reads on in what was held back. */
void client_resume(struct mux_client *client);

/* Gives out what is its turn: the answers of the first exchanges. Ends the client if nothing more is to come.
 */
void client_deliver(struct mux_client *client);

/* Other settings are in force. */
void client_reconfigure(struct mux_client *client);

/* Tells the owner, does the sums, and sees what can go on now. After every change. */
void client_update(struct mux_client *client);

/* Ends the client: all its exchanges with this reason. What is in its output still goes out, unless `broken`.
 */
void client_over(struct mux_client *client, enum reason reason, bool broken);

/* Ends it where something is lacking of what it was to get: broken, if it has to look so. */
void client_cut_off(struct mux_client *client, enum reason reason);

/* No more requests: the incomplete one is dropped. */
void client_stop_input(struct mux_client *client, enum reason reason);

/* Whether it may have more requests here. */
bool client_can_take(const struct mux_client *client);

/* Whether it may be sent to now: how much is in flight or held. */
bool client_is_eligible(const struct mux_client *client);

/* Whether the clock runs in which it has to get on with what it holds up. */
void client_watch_stall(struct mux_client *client);

void client_stalled(struct mux_client *client);
void client_queue_timed_out(struct mux_client *client);

/* Starts the clock of its oldest request, if that waits. */
void client_watch_queue(struct mux_client *client);

/* ---- request.c ---- */

/* Reads on in what the client sends, as much as may be; `once`: one request at the most. */
void request_read(struct mux_client *client, struct slice *input, bool once);

/* ---- connection.c ---- */

/* Tells the owner, and sees which clocks run. After every change. */
void connection_update(struct mux_connection *connection);

/* It ends in this call. The first reason counts. */
void connection_doom(struct mux_connection *connection, enum reason reason, const char *explanation);

/* What doom means. */
void connection_collapse(struct mux_connection *connection);

/* Gives it a request that waits. */
void connection_assign(struct mux_connection *connection, struct mux_exchange *exchange);

/* Moves on what has come of the request that is streamed, as far as there is room. */
void connection_pump(struct mux_connection *connection);

/* Other settings are in force; `was_untimed`: before there was no request_timeout. */
void connection_reconfigure(struct mux_connection *connection, bool was_untimed);

/* It takes no new request and is over when it has nothing to do. */
void connection_retire(struct mux_connection *connection, enum reason reason);

/* An exchange has left it. */
void connection_released(struct mux_connection *connection);

/* Takes its bytes, of which none was written, out of the connection's output again and puts them back in front of
 * the exchange's own. */
void connection_take_back(struct mux_connection *connection, struct mux_exchange *exchange);

/* Whether its answer is being waited for or coming in, its client does not take it, and so the connection is not
 * read. */
bool connection_is_blocked_by(const struct mux_connection *connection, const struct mux_client *client);

/* Whether a byte of it was written. */
bool connection_has_sent(const struct mux_exchange *exchange);

/* Whether it is over, or will be before the present call is. */
bool connection_is_ending(const struct mux_connection *connection);

/* The exchange whose answer is awaited or coming in; NULL: none, or (with ids) not known yet. */
struct mux_exchange *connection_answering(const struct mux_connection *connection);

/* Whether all of it was written. */
bool connection_has_sent_all(const struct mux_exchange *exchange);

/* Whether nothing is going on. */
bool connection_is_idle(const struct mux_connection *connection);

void connection_answer_overdue(struct mux_connection *connection);
void connection_taking_overdue(struct mux_connection *connection);
void connection_exchange_overdue(struct mux_exchange *exchange);
void connection_pause_over(struct mux_connection *connection);

/* ---- response.c ---- */

/* Reads on in what the target sends. Returns whether it has to be called once more, even if there are no more
 * bytes. */
bool response_read(struct mux_connection *connection, struct slice *input);

/* The same where clients take turns: all that comes belongs to the one whose turn it is; late bytes to the
 * one whose turn was the last, as long as nobody else's has begun. */
void response_read_turn(struct mux_connection *connection, struct slice *input);

/* The target has been silent for `response_gap`. */
void response_turn_over(struct mux_connection *connection);

/* The target has ended its stream, which may be how an answer ends. */
void response_end(struct mux_connection *connection);

#endif
