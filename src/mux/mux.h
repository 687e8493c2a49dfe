/* The multiplexer: many clients share target connections, request by request, with every response at its own
 * client.
 *
 * Pure logic over bytes and time: no socket, no loop, no clock. Who drives it says what happened ("bytes
 * came, closed, connected, this is the time") and asks afterwards what each client and connection that changed
 * wants ("these bytes are to be written, read on or not, close"). Connections are target connections.
 *
 * A request becomes an exchange, which stands in its client's list (the order of answers) and, once it has
 * been given a connection, in that connection's list (the pairing). It ends in one function, with one reason.
 *
 *            complete, or too             a connection        the answer
 *            long to be held              has room            is whole          its turn at the client
 *   READING -----------------> WAITING ---------------> SENT ----------> ANSWERED --------------------> gone
 *      |                        ^  |                     |  |               ^  ^
 *      |                        |  +--> RESERVED ------->+  | not a byte    |  |
 *      |                        |          |             |  | was written   |  |
 *      |                        +----------+-------------|--+               |  |
 *      |                                                 | an error         |  |
 *      |                                                 +------------------+  |
 *      +-------------------- answered here, or an error (WAITING, RESERVED too)+
 *
 * RESERVED: longer than `buffer_limit`; its connection takes nothing else while it waits for the answers before it,
 * and streams it alone. A client that goes takes its exchanges along; where the target has begun to get one, the
 * connection keeps it as ABANDONED, so that its answer is known and thrown away.
 *
 * Every function that takes `now` (microseconds, never decreasing) may change any client and any connection; all
 * that changed are told by mux_changed_client() and mux_changed_connection(). Nothing is freed but by
 * mux_client_close() and mux_connection_close(). */
#ifndef MUX_MUX_H
#define MUX_MUX_H

#include "base/reason.h"
#include "base/slice.h"
#include "protocol/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mux;
struct mux_client;
struct mux_connection;

/* Where clients come in. Those of one door have the same priority, and are counted together. */
struct mux_door {
    unsigned priority; /* below MUX_PRIORITIES: mux_door_set_priority() */
    size_t waiting;    /* as of mux_waiting() */
    size_t in_flight;  /* requests that a connection has, for a client that is there */
    /* Requests that nobody waits for: they are sent in their turn, to connections that hooks.choose_apart() names, but
     * keep nobody from going on, count for no limit and have no time-out but that of a silent target; told to nobody
     * but hooks.ended_apart(). */
    bool is_apart;
};

/* Requests of clients with a higher priority go first; but while others wait, of ten turns one goes to those with a
 * lower one, and so on among these. */
#define MUX_PRIORITIES 10

/* Plain numbers. Times in milliseconds, negative: never. */
struct mux_settings {
    const struct protocol_settings *protocol; /* must outlive the multiplexer */
    bool in_order;         /* requests go out as they became complete; else clients take turns */
    size_t depth;          /* requests in flight on one connection; 1 unless `async` */
    size_t pipeline_depth; /* requests of one client that may wait */
    size_t buffer_limit;
    size_t memory_limit;
    int64_t max_message;
    size_t queue_limit;
    int64_t queue_timeout;
    int64_t down_timeout;
    int64_t request_timeout;
    int64_t stall_timeout;
    int64_t client_idle_timeout;
    int64_t inactivity_timeout;
    int64_t connect_delay;
    int64_t settle_pause; /* at least so long for connections that are to settle */
    int64_t request_gap;
    int64_t response_gap; /* where clients take turns */
    int64_t connection_ttl;
    int64_t max_requests;      /* per connection; negative: no limit */
    int64_t request_rate;      /* requests that may go out in a second; 0 or less: no limit */
    int64_t request_rate_each; /* likewise, of clients that share a key */
    bool abort_on_close;
    size_t
        observe_request;   /* bytes of each request that are kept for `hooks`; 0: none, and nothing to tell */
    size_t observe_answer; /* likewise of each answer, if requests are kept */
};

/* A request as it was read, for those who want to know of it before it has ended. */
struct mux_requested {
    void *client;    /* as given to mux_client_open() */
    uint64_t number; /* of the client's requests, from 1 */
    struct slice request_head;
    uint64_t request_bytes;
};

/* How one exchange ended. */
struct mux_ending {
    void *client;     /* as given to mux_client_open() */
    void *connection; /* as given to mux_connection_open(); NULL: it was never given one */
    const struct protocol_request *request;
    bool answered;      /* by its response; else by `reason` */
    enum reason reason; /* valid unless answered */
    uint64_t request_bytes;
    uint64_t answer_bytes;
    int64_t wait;    /* microseconds from complete to sent; all the time if it never was */
    int64_t service; /* microseconds from sent to its end; 0 if it never was */
    /* What was kept; nothing unless mux_settings.observe_request asks for it. */
    uint64_t number;
    struct slice request_head; /* as it came from the client */
    struct slice answer_head;  /* as it goes to the client */
    uint64_t given_bytes;      /* of the answer, also of one that was made here */
};

/* What a request has shown of the target that it was sent to. */
enum mux_verdict {
    MUX_WORKS,  /* it was answered, whole and in time */
    MUX_FAILED, /* no answer within `request_timeout`, or the connection ended without a byte of any answer */
    MUX_BROKEN, /* the target broke the protocol, or `max_message` */
};

/* Told once of each request, also of one whose client has gone, and of a connection only if it fails. */
struct mux_finding {
    void *connection; /* as given to mux_connection_open() */
    enum mux_verdict verdict;
    enum reason reason;      /* valid unless it works */
    const char *explanation; /* what more there is to say, or "" */
    uint64_t origin;         /* see mux_client_set_origin(); 0: nobody's request was at fault */
    uint64_t part;           /* see protocol.part */
};

/* Called from inside the multiplexer; may ask it (mux_connection_has_room() and the like), but not change it. */
struct mux_hooks {
    /* Which connection takes the next request of this client: one that has room, or NULL if none has now. The
     * callee may note that one more target connection is wanted. */
    struct mux_connection *(*choose)(void *owner, void *client);
    /* Likewise, of clients whose door is apart, and the end of their requests. Needed where there are such. */
    struct mux_connection *(*choose_apart)(void *owner, void *client);
    void (*ended_apart)(void *owner, const struct mux_ending *ending);
    /* Target connections that are being made, and are not connections yet. May be NULL. */
    size_t (*opening)(void *owner);
    /* A request was read whole, or ends without being so: once for each, before `ended`. Only where requests
     * are kept. May be NULL. */
    void (*requested)(void *owner, const struct mux_requested *requested);
    /* One exchange has ended: the only place where that is said. May be NULL. */
    void (*ended)(void *owner, const struct mux_ending *ending);
    /* A target works, or does not. May be NULL. */
    void (*found)(void *owner, const struct mux_finding *finding);
};

/* NULL when memory is short. */
struct mux *mux_create(const struct mux_settings *settings, const struct mux_hooks *hooks, void *owner);

/* Goes on with other settings: for clients, the queue and idle connections at once, except that nothing that waits,
 * or has come, ends because a limit or time has become smaller; for requests that were sent those count under
 * which they were. Mode and protocol must be the same: only `protocol->head_limit` and what it points to may
 * differ. */
void mux_reconfigure(struct mux *mux, const struct mux_settings *settings, int64_t now);

/* Has queue_timeout and down_timeout stand still, or go on: no connection can be had for reasons that are not the
 * target's. */
void mux_hold_queue(struct mux *mux, bool hold, int64_t now);

/* No target can be used at present, because each is down, or one can: what waits meanwhile ends after `down_timeout`,
 * and at once if its client is drained. */
void mux_set_down(struct mux *mux, bool is_down, int64_t now);

/* All clients and connections must have been closed. NULL is allowed. */
void mux_destroy(struct mux *mux);

/* When mux_tick() is wanted, or INT64_MAX. */
int64_t mux_due(const struct mux *mux);
void mux_tick(struct mux *mux, int64_t now);

/* Hands waiting requests out: hooks.choose() may find a connection now. */
void mux_dispatch(struct mux *mux, int64_t now);

/* Whether a request waits, be it apart. */
bool mux_has_waiting(const struct mux *mux);

/* Clients that have a request waiting for a connection; bytes held for clients; clients there are. */
size_t mux_waiting(const struct mux *mux);
size_t mux_memory(const struct mux *mux);
size_t mux_clients(const struct mux *mux);

/* One that changed since it was last told here, or NULL; clients that are apart have to be looked at anyway. */
struct mux_client *mux_changed_client(struct mux *mux);
struct mux_connection *mux_changed_connection(struct mux *mux);

/* ---- Clients ---- */

/* A client has come. `number` is unique in the process. NULL when memory is short. */
struct mux_client *mux_client_open(struct mux *mux, void *owner, uint64_t number, int64_t now);

/* Where the client comes from, by which findings tell clients apart: any number but 0 (which it is at first). */
void mux_client_set_origin(struct mux_client *client, uint64_t origin);

/* It has come in by this door, which outlives it. To be called at once, if at all: else it is one of priority 0. */
void mux_client_set_door(struct mux_client *client, struct mux_door *door);

/* All that wait stand in the order of the new priority from now on. */
void mux_door_set_priority(struct mux *mux, struct mux_door *door, unsigned priority, int64_t now);

/* It shares `request_rate_each` with all of this key (at most QUOTA_KEY_MAX bytes; none: with nobody). To be called
 * once it has come, and of all clients when that limit has been set; no effect while it is not. False when memory is
 * short: then it has no such limit. */
bool mux_client_share(struct mux_client *client, struct slice key, int64_t now);

/* The state that the protocol keeps of it. */
void *mux_client_framer(struct mux_client *client);

/* Where its first request is in flight, or NULL; and whether the answer to it is what the target owes next. */
struct mux_connection *mux_client_connection(const struct mux_client *client);
bool mux_client_is_owed(const struct mux_client *client);

/* What one read gave. Only while mux_client_wants_bytes(). */
void mux_client_bytes(struct mux_client *client, const char *bytes, size_t length, int64_t now);

/* It has ended its stream (FIN). With `abort_on_close` those of its requests are dropped that wait for a busy
 * connection; not those that are next for one that is being made or made ready, or rests between requests. */
void mux_client_end(struct mux_client *client, int64_t now);

/* It is gone, or has to go at once: its exchanges end with this reason. Answers to what was sent are thrown
 * away. */
void mux_client_fail(struct mux_client *client, enum reason reason, int64_t now);

/* So many bytes of its output were written. */
void mux_client_written(struct mux_client *client, size_t count, int64_t now);

/* What was read of it is still answered, then it is to go. */
void mux_client_drain(struct mux_client *client, int64_t now);

/* It is served on, but its next answer says that it is to go, where the protocol has a word for that. */
void mux_client_leave(struct mux_client *client, int64_t now);

/* To be called last, at any time: fails the client if it is not over, and frees it. */
void mux_client_close(struct mux_client *client, int64_t now);

/* Whether, and how, a client is to be closed. */
enum mux_closing {
    MUX_STAYS,
    MUX_CLOSE, /* all is written: end the stream towards it; if it has not ended its own, wait a little for
                  that */
    MUX_RESET, /* close at once, so that what it got does not look complete */
};

void *mux_client_owner(const struct mux_client *client);
struct slice mux_client_output(const struct mux_client *client);
bool mux_client_wants_bytes(const struct mux_client *client);
enum mux_closing mux_client_closing(const struct mux_client *client);
bool mux_client_has_ended(const struct mux_client *client);     /* FIN came from it */
enum reason mux_client_reason(const struct mux_client *client); /* why it ends; valid unless it stays */

/* ---- Connections ---- */

/* A target connection was made. `settles`: its target may have no room for it yet, and reset it; so the first request
 * waits for `settle_pause`. NULL when memory is short. */
struct mux_connection *mux_connection_open(struct mux *mux, void *owner, bool settles, int64_t now);

/* What one read gave. Only while mux_connection_wants_bytes(). */
void mux_connection_bytes(struct mux_connection *connection, const char *bytes, size_t length, int64_t now);

/* The target has ended its stream. */
void mux_connection_end(struct mux_connection *connection, int64_t now);

/* The connection broke. */
void mux_connection_fail(struct mux_connection *connection, enum reason reason, int64_t now);

/* So many bytes of its output were written. */
void mux_connection_written(struct mux_connection *connection, size_t count, int64_t now);

/* Its target is not to be trusted, or is again: each client has one request at a time there. */
void mux_connection_set_wary(struct mux_connection *connection, bool is_wary, int64_t now);

/* It is to go, for this reason: takes no new request, and is over when the last answer is in. */
void mux_connection_retire(struct mux_connection *connection, enum reason reason, int64_t now);

/* To be called last, at any time; frees it. */
void mux_connection_close(struct mux_connection *connection, int64_t now);

/* Whether it takes another request now; exchanges that it works on. */
bool mux_connection_has_room(const struct mux_connection *connection);
size_t mux_connection_load(const struct mux_connection *connection);

void *mux_connection_owner(const struct mux_connection *connection);
struct slice mux_connection_output(const struct mux_connection *connection);
bool mux_connection_wants_bytes(const struct mux_connection *connection);
bool mux_connection_is_over(const struct mux_connection *connection);

/* Whole messages of the target that answered nothing, since this was asked last. */
uint64_t mux_connection_take_discarded(struct mux_connection *connection);

/* Of one that is over: whether it ended before any request went out on it, which says that its target is of
 * no use at present, and why ("" if there is no more to say than the reason). */
bool mux_connection_was_useless(const struct mux_connection *connection);
bool mux_connection_was_left(
    const struct mux_connection *connection); /* its target has ended it in good order */
enum reason mux_connection_reason(const struct mux_connection *connection);
const char *mux_connection_explanation(const struct mux_connection *connection);

#endif
