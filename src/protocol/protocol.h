/* What the multiplexer needs to know of a protocol: where requests and responses end and what they are. One
 * constant struct of pure functions over bytes each. They work on whatever has arrived and resume where they
 * stopped: each byte is handed to them exactly once, and what they have to remember is in the state that the
 * caller keeps for them. Appending to a struct buffer may fail; the caller looks at `failed` after the call. */
#ifndef PROTOCOL_PROTOCOL_H
#define PROTOCOL_PROTOCOL_H

#include "base/buffer.h"
#include "base/key.h"
#include "base/reason.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct protocol_settings;

/* Most bytes of what a framer keeps with a request, and of a protocol's own settings: each has structs of its own. */
#define PROTOCOL_CONTEXT_SIZE  40
#define PROTOCOL_SETTINGS_SIZE 96

/* What a request is. Lives in the multiplexer's exchange; all zeros at first. */
struct protocol_request {
    /* Set by read_request(), before the request is complete if not said otherwise. */
    bool decided;    /* it goes to the target; its bytes are final and may be sent while more of them come */
    bool local;      /* it does not: what was appended to `answer` is its answer; known when it is complete */
    bool refused;    /* that answer is a refusal (REASON_REFUSED_COMMAND) */
    bool unanswered; /* the target answers nothing; the exchange is over when it is sent */
    bool alone; /* the target reads nothing that comes with it or behind it before it has answered, so that
                      * no other request may be on the connection meanwhile */
    /* After its answer nothing more is read from the client, and it is closed. Set by framers when the protocol
     * says so, and by the multiplexer, before the answer (drain, an incomplete request): framers that have a
     * word for it put it into the answer. */
    bool closes_client;
    bool closes_target; /* set by read_response(): the connection can't be used for another request */
    bool begun; /* set by the multiplexer: bytes of the final answer are out; no error can replace it */
    /* The framer's own. */
    union {
        unsigned char context[PROTOCOL_CONTEXT_SIZE];
        uint64_t align;
    };
};

enum protocol_outcome {
    PROTOCOL_MORE,     /* all bytes were taken; more have to come */
    PROTOCOL_COMPLETE, /* the message ends here; what follows it was not taken */
    /* Responses: an interim message, such as 1xx of HTTP, ends here; it was appended, and the answer proper has
     * not begun. */
    PROTOCOL_INTERIM,
    /* Responses of protocols that `has_pushes`: a whole message ends here that answers nothing; it was not
     * appended. */
    PROTOCOL_DISCARDED,
    /* Responses with ids, when called without a request: `id` says whose this is. The framer is to be called
     * again with that request; it has kept what it took so far. */
    PROTOCOL_WHOSE,
    /* The rules are broken. Of a request: its error is in `answer` as far as the protocol has one, and the
     * client is closed after it. Of a response: the connection to the target can't be used any more. */
    PROTOCOL_BROKEN,
};

struct check_settings;
struct follower;

struct protocol {
    const char *name;

    /* What follows the sessions of a protocol that can't be shared, which has nothing else; see
     * observe/observe.h. NULL: it can be shared. */
    const struct follower *follower;

    /* The keys of its group, `type` apart; their fields are in its own settings. */
    const struct key *keys;
    size_t key_count;

    /* Reports what is wrong with its keys together, each of which is right by itself. `is_shared`: in a mode
     * in which clients share target connections. May be NULL. */
    void (*check)(const struct protocol_settings *settings, bool is_shared, const struct key_report *report);

    /* What its users have to know where `async` is on and answers have no ids. NULL: nothing. */
    const char *async_caution;

    /* Bytes of state per client and per target connection; may be 0. Zeroed by the caller. */
    size_t client_size;
    size_t connection_size;

    bool is_async;        /* default of `async` */
    bool aborts_on_close; /* default of `abort_on_close` */
    bool has_pushes;      /* read_response() also takes bytes that answer nothing */
    bool announces_close; /* answers to a request that `closes_client` say so */

    /* Milliseconds of silence that end an answer, of protocols whose messages nobody reads, so that clients take
     * turns in time unless `async`. NULL: messages are read. */
    int64_t (*turn_gap)(const struct protocol_settings *settings);

    /* A client has come; `number` is unique in the process. May be NULL. */
    void (*open_client)(const struct protocol_settings *settings, void *client, uint64_t number);

    /* Free what the states hold beyond themselves. May be NULL. */
    void (*close_client)(void *client);
    void (*close_connection)(void *connection);

    /* Frees what the context of a request holds; called once. May be NULL, and is where responses have ids. */
    void (*release_request)(struct protocol_request *request);

    /* Reads on in a client's bytes: takes from `input` and appends to `out`, this request's bytes for the target.
     * Until it is `decided` all of them are there, at most settings->head_limit, and may be changed; later some
     * may be gone. `answer` takes bytes for this client: all of the answer if it is local, an error if broken,
     * or an interim one (100 Continue). Returns MORE, COMPLETE or BROKEN. */
    enum protocol_outcome (*read_request)(const struct protocol_settings *settings, void *client,
                                          struct protocol_request *request, struct slice *input,
                                          struct buffer *out, struct buffer *answer);

    /* Reads on in a target's bytes. `request`: the one that is being answered; NULL if `has_pushes` and there is
     * none, or if ids say which it is (then it returns WHOSE as soon as it knows, and sets `id`). What is for the
     * client is appended to `out`, where other bytes may stand before it. Returns any outcome. */
    enum protocol_outcome (*read_response)(const struct protocol_settings *settings, void *connection,
                                           struct protocol_request *request, struct slice *input,
                                           struct buffer *out, uint64_t *id);

    /* The target has ended its stream inside the answer to `request`, or before it. COMPLETE: that is how this
     * answer ends; else BROKEN. NULL: it never is. */
    enum protocol_outcome (*end_response)(const struct protocol_settings *settings, void *connection,
                                          struct protocol_request *request, struct buffer *out);

    /* Appends the error by which `request`, maybe incomplete, ends instead of an answer. False if there is none,
     * or not any more because the answer has begun: the client is closed then. */
    bool (*write_error)(const struct protocol_settings *settings, const struct protocol_request *request,
                        enum reason reason, struct buffer *out);

    /* How many different ids requests can have on one target connection, at most 2^32; 0: responses come in
     * order. NULL likewise. */
    uint64_t (*id_count)(const struct protocol_settings *settings);

    /* Writes an id, below id_count, into a decided request whose head is there; its own one is remembered in its
     * context and put back by read_response(). Called again if the request moves to another connection. */
    void (*set_id)(const struct protocol_settings *settings, struct protocol_request *request, char *bytes,
                   uint64_t id);

    /* What may help where an answer has an id that no request has: a clause. NULL where there are no ids. */
    const char *id_remedy;

    /* Which of several devices behind the target a complete request is for; NULL: there are none. */
    uint64_t (*part)(const struct protocol_request *request);

    /* Bytes of the largest answer that there can be; 0: there is no limit. NULL likewise. */
    size_t (*largest_answer)(const struct protocol_settings *settings);

    /* What is sent first on each new target connection; nothing appended: there is no need. NULL likewise. */
    void (*write_handshake)(const struct protocol_settings *settings, void *connection, struct buffer *out);

    /* Reads what the target says to that. COMPLETE: it is ready. BROKEN: it can't be used, for the reason, in
     * one phrase, that was appended to `error`. */
    enum protocol_outcome (*read_handshake)(const struct protocol_settings *settings, void *connection,
                                            struct slice *input, struct buffer *error);

    /* For events and logs: append what a request asks for, from its first bytes as they came from the client
     * (NULL: the bytes are shown), and what the target says is wrong, from the first bytes of its response
     * (nothing appended: all is well; NULL: it can't be told). */
    void (*describe)(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);
    void (*describe_error)(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);

    /* Its own check of a target: appends what is sent (NULL: the target speaks first), and judges what has come of the
     * answer, as check_read() does. `client`: the state of the client that sends it, which is let in unasked; NULL:
     * none does. `check_keys` are the keys of `check` that say more, with NULL at the end. NULL: it has none. */
    void (*write_check)(const struct protocol_settings *settings, const struct check_settings *check,
                        void *client, struct buffer *out);
    enum protocol_outcome (*read_check)(const struct protocol_settings *settings,
                                        const struct check_settings *check, struct slice answer,
                                        struct buffer *error);
    const char *const *check_keys;

    /* In proxy mode, where every request reaches the target as it came: sets `request` up for what will answer it,
     * given its first bytes, where that is not what is done in shared modes. False if answers can't be told apart
     * from here on. NULL: requests that are answered or refused here in shared modes end it. */
    bool (*observes)(const struct protocol_settings *settings, struct protocol_request *request,
                     struct slice bytes);
};

/* The settings of one listener's protocol, checked and decoded. Owned by the listener's settings; immutable. */
struct protocol_settings {
    const struct protocol *protocol;
    bool is_async;       /* `async` as it is in force */
    size_t head_limit;   /* bytes of a request until it is decided; `buffer_limit` */
    int64_t max_message; /* bytes; -1: no limit. The multiplexer watches over it */
    uint64_t own[PROTOCOL_SETTINGS_SIZE / sizeof(uint64_t)]; /* the protocol's own */
};

/* Defines NAME_own(): the own settings, a struct NAME_settings, of a listener that has this protocol. */
#define PROTOCOL_OWN(name)                                                                                   \
    _Static_assert(sizeof(struct name##_settings) <= PROTOCOL_SETTINGS_SIZE, "they fit");                    \
    static inline struct name##_settings *name##_own(const struct protocol_settings *settings)               \
    {                                                                                                        \
        return (struct name##_settings *)(uintptr_t)settings->own;                                           \
    }

/* Whether clients and target connections of two listeners speak the same, limits of sizes apart. */
bool protocol_settings_equal(const struct protocol_settings *a, const struct protocol_settings *b);

/* Frees what the protocol's own settings hold. */
void protocol_settings_release(struct protocol_settings *settings);

/* Whether clients can share target connections. */
static inline bool protocol_is_shared(const struct protocol *protocol)
{
    return protocol->follower == NULL;
}

/* Milliseconds of silence that end an answer where clients take turns; -1: they don't. */
static inline int64_t protocol_turn_gap(const struct protocol_settings *settings)
{
    return settings->protocol->turn_gap == NULL ? -1 : settings->protocol->turn_gap(settings);
}

/* Whether answers are told apart by ids. */
static inline bool protocol_has_ids(const struct protocol_settings *settings)
{
    return settings->protocol->id_count != NULL && settings->protocol->id_count(settings) > 0;
}

#endif
