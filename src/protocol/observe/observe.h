/* What followers of sessions are, and what the observer does for them. Only followers and
 * their tests include this. */
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
    bool is_exchange;        /* asked() was called: it is an exchange, and no mere step towards one */
    uint64_t request_bytes;
    int64_t asked;
    int code;                        /* the follower's own: what answers it */
    uint64_t id;                     /* of framers with ids */
    struct protocol_request request; /* of framers */
};

/* What was taken of one side since its last exchange. */
struct observed_side {
    uint64_t count;
    struct buffer head;
    size_t limit;
};

struct observer;

/* A way to follow a session. Both functions take all of `input` by observe_take(), or make the observer
 * silent by observe_lose(). */
struct follower {
    size_t size; /* of its state; zeroed before open() */
    void (*open)(struct observer *observer, void *state);
    void (*close)(struct observer *observer, void *state);
    void (*client)(struct observer *observer, void *state, struct slice *input);
    void (*target)(struct observer *observer, void *state, struct slice *input);
    void (*target_end)(struct observer *observer, void *state); /* NULL: nothing ends by that */
};

extern const struct follower follower_framer;
extern const struct follower follower_raw;

/* Bytes of state that the framer of these settings needs beyond the follower's own. */
size_t observe_framer_size(const struct protocol_settings *settings);

/* Owned by who created it. */
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
    uint64_t state[];
};

/* Takes bytes off the input, for whatever exchange is told next. */
void observe_take(struct observer *observer, enum observe_side side, struct slice *input, size_t count);

/* What was taken of this side belongs to no exchange. */
void observe_drop(struct observer *observer, enum observe_side side);

/* A new one at the end of `pending`, with a reference to the text (may be NULL). NULL when there are too
 * many, or memory is short: the observer is silent then. */
struct pending *observe_add(struct observer *observer, const char *kind, struct text *text, int code);

/* Gives it parameters, with a reference, if they fit. Both may be NULL. */
void observe_add_parameters(struct observer *observer, struct pending *pending, struct text *parameters);

/* It is an exchange, and its request whole: what was taken of the client belongs to it. */
void observe_tell(struct observer *observer, struct pending *pending);

/* Both in one, for a text of its own. */
struct pending *observe_ask(struct observer *observer, const char *kind, struct slice text, int code);

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

/* The session is over: all exchanges without an answer are said to have none. */
void observe_end(struct observer *observer);

/* Nothing can be said of this session any more. */
void observe_lose(struct observer *observer, const char *why);

/* ---- Packets: a header that says how long they are, and a body ---- */

#define PACKET_HEAD_MAX 5

struct packet {
    unsigned char head[PACKET_HEAD_MAX];
    unsigned char head_length;
    bool has_head;
    uint64_t left; /* bytes of the body that have to come */
    size_t keep;   /* how many of its first bytes are kept */
    struct buffer body;
};

/* Takes a header of `size` bytes; true when it is there. The caller then sets `left` and `keep`. */
bool packet_read_head(struct packet *packet, struct observer *observer, enum observe_side side,
                      struct slice *input, size_t size);

/* Takes the body; true when its last byte is there: its beginning is in `body`, until packet_next(). */
bool packet_read_body(struct packet *packet, struct observer *observer, enum observe_side side,
                      struct slice *input, struct slice *body);

/* Gets ready for the next packet. */
void packet_next(struct packet *packet);

#endif
