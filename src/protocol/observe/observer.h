/* Sees requests and their responses in what passes between a client and its target in proxy mode, for events
 * and logs: it is shown the bytes of both directions in the order in which they came.
 *
 * The framers of the shared modes are used as they are, with what they write thrown away; mysql and postgresql
 * have followers of their own. Without a protocol (raw) what comes from the client before the target says
 * anything is a request, and the next chunk from the target is its response.
 *
 * What can't be followed (TLS, compression, a protocol broken or left) makes it silent for the rest of the
 * session. Pure: no socket, no clock, no log; memory is bounded whatever passes. */
#ifndef PROTOCOL_OBSERVER_H
#define PROTOCOL_OBSERVER_H

#include "protocol/protocol.h"

/* Bytes that are kept of the text of one request. */
#define OBSERVE_TEXT_MAX ((size_t)65536)

/* Bytes of texts that are kept in all: of requests without an answer yet, and of prepared statements, with
 * their parameters. What does not fit has no text. */
#define OBSERVE_TEXTS_MAX ((size_t)1024 * 1024)

/* Requests without an answer; with more the observer falls silent. */
#define OBSERVE_PENDING_MAX 16384

/* Bytes that are kept of what a target says is wrong. */
#define OBSERVE_ERROR_MAX ((size_t)512)

/* One exchange. Everything in it is valid during the call only. */
struct observation {
    uint64_t number;         /* from 1, in the order in which requests came */
    const char *kind;        /* of request, where the protocol has such: "query", "execute"; else "" */
    struct slice text;       /* what is asked for */
    bool is_truncated;       /* the text is not whole */
    struct slice parameters; /* the values of a statement that is executed; empty: none, or not known */
    bool parameters_are_cut;
    struct slice request;  /* its first bytes, in requested() only */
    struct slice response; /* its first bytes, in answered() only */
    uint64_t request_bytes;
    uint64_t response_bytes;
    int64_t requested;  /* microseconds: when the request was whole */
    struct slice error; /* what the target says is wrong; empty: nothing */
};

/* Each exchange is told twice: requested() when its request was whole, then answered() or unanswered(). None may
 * destroy the observer. */
struct observer_hooks {
    void (*requested)(void *owner, const struct observation *observation);
    void (*answered)(void *owner, const struct observation *observation);
    void (*unanswered)(void *owner, const struct observation *observation);
    void (*lost)(void *owner, const char *why); /* it is silent from now on; at most once. May be NULL */
};

/* Limits are bytes that are kept of each. */
struct observer_settings {
    const struct protocol_settings *protocol;
    size_t request_limit;
    size_t response_limit;
    size_t parameter_limit; /* of the values of a statement; 0: they are not read at all */
};

struct observer;

/* `settings->protocol` must outlive it. NULL when memory is short. */
struct observer *observer_create(const struct observer_settings *settings, const struct observer_hooks *hooks,
                                 void *owner);

/* Tells nothing. NULL is allowed. */
void observer_destroy(struct observer *observer);

/* What came from the client, and from the target. `now` in microseconds. */
void observer_client_bytes(struct observer *observer, const char *bytes, size_t length, int64_t now);
void observer_target_bytes(struct observer *observer, const char *bytes, size_t length, int64_t now);

/* The target has ended its stream, which may be how a response ends. */
void observer_target_end(struct observer *observer, int64_t now);

/* The session is over: tells what is pending as unanswered. */
void observer_end(struct observer *observer);

#endif
