/* What followers of sessions are, and what the observer does for them. Only followers and their tests include
 * this. */
#ifndef PROTOCOL_OBSERVE_H
#define PROTOCOL_OBSERVE_H

#include "base/buffer.h"
#include "base/list.h"
#include "protocol/observe/observer.h"
#include "protocol/observe/text.h"

enum observe_side { OBSERVE_CLIENT, OBSERVE_TARGET, OBSERVE_SIDES };

/* A request without an answer yet. Owned by its observer. */
struct pending {
    struct list_node node;
    uint64_t number;
    const char *kind;
    struct text *text;       /* a reference; NULL: none */
    struct text *parameters; /* likewise */
    bool is_exchange;        /* requested() was called: it is no mere step towards an exchange */
    uint64_t request_bytes;
    int64_t requested;
    int code;                        /* the follower's own: what answers it */
    uint64_t id;                     /* of framers with ids */
    struct protocol_request request; /* of framers */
};

/* A header that says how long the packet is, and a body. */
struct packet {
    unsigned char head[5];
    size_t head_length;
    bool has_head;
    uint64_t left; /* bytes of the body that have to come */
    size_t keep;   /* how many of its first bytes are kept */
    struct buffer body;
};

/* What was taken of one side since its last exchange. */
struct observed_side {
    uint64_t count;
    struct buffer head;
    size_t limit;
    struct packet packet; /* of followers that read packets */
};

/* Followers' own states begin with it. Owned by who created it. */
struct observer {
    const struct protocol_settings *protocol;
    const struct follower *follower;
    struct observer_hooks hooks;
    void *owner;
    int64_t now;
    bool is_silent;
    struct list pending; /* oldest first */
    size_t pending_count;
    size_t text_bytes; /* of their texts and parameters */
    size_t parameter_limit;
    uint64_t numbers;
    struct observed_side sides[OBSERVE_SIDES];
    char error[OBSERVE_ERROR_MAX]; /* of the response that is being read */
    size_t error_length;
};

/* A way to follow a session. Functions other than bytes() may be NULL. */
struct follower {
    size_t size; /* of its state, which is zeroed before open(); the states of the protocol stand behind it */
    void (*open)(struct observer *observer);
    void (*close)(struct observer *observer);

    /* Takes all of `input`, which is not empty, by observe_take(), or calls observe_lose(). May be called
     * again with what it has left. */
    void (*bytes)(struct observer *observer, enum observe_side side, struct slice *input);
    void (*target_end)(struct observer *observer);
};

/* Takes bytes off the input, for whatever exchange is told next. */
void observe_take(struct observer *observer, enum observe_side side, struct slice *input, size_t count);

/* What was taken of this side belongs to no exchange. */
void observe_drop(struct observer *observer, enum observe_side side);

/* A new one at the end of `pending`, with references to text and parameters (may be NULL) as far as they fit.
 * NULL when there are too many, or memory is short: the observer is silent then. */
struct pending *observe_add(struct observer *observer, const char *kind, struct text *text,
                            struct text *parameters, int code);

/* It is an exchange, and its request whole: what was taken of the client belongs to it. */
void observe_tell(struct observer *observer, struct pending *pending);

/* Both in one. */
struct pending *observe_ask(struct observer *observer, const char *kind, struct text *text,
                            struct text *parameters, int code);

/* The oldest one, or NULL. */
struct pending *observe_first(const struct observer *observer);

/* Notes what is wrong with the response that is being read; the first one counts. */
void observe_note_error(struct observer *observer, struct slice error);
void observe_print_error(struct observer *observer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* It was answered: what was taken of the target belongs to it. Frees it. */
void observe_answer(struct observer *observer, struct pending *pending);

/* Frees it, and says nothing. */
void observe_forget(struct observer *observer, struct pending *pending);

/* Nothing can be said of this session any more. */
void observe_lose(struct observer *observer, const char *why);

/* Takes a packet's header of `size` bytes; true when it is there. The caller then sets `left` and `keep`. */
bool packet_read_head(struct observer *observer, enum observe_side side, struct slice *input, size_t size);

/* Takes the body; true when its last byte is there: its beginning, which the caller frees in the packet
 * when it has read it, is in `body`. */
bool packet_read_body(struct observer *observer, enum observe_side side, struct slice *input,
                      struct slice *body);

#endif
