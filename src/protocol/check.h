/* The key `check` of listeners and targets: what a target is asked, and whether the answer is right. */
#ifndef PROTOCOL_CHECK_H
#define PROTOCOL_CHECK_H

#include "protocol/protocol.h"

enum check_type {
    CHECK_NONE,
    CHECK_CONNECT,  /* a connection is made, and nothing said */
    CHECK_PROTOCOL, /* what the protocol has for it: see protocol.write_check */
    CHECK_EXCHANGE, /* `send` and `expect` */
};

/* Owned by the settings of a target. Those of the protocols are 0, or as check_standard, where they are not given. */
struct check_settings {
    enum check_type type;
    int64_t interval; /* milliseconds */
    int64_t timeout;
    int64_t rise;
    int64_t fall;
    struct slice send;
    struct slice expect; /* empty: any answer is right */
    char *path;          /* NULL: "/" */
    int64_t status;
    int64_t unit;
    int64_t function;
    int64_t address;
};

/* The keys, and the words of `type`. */
extern const struct key_scope keys_check;
extern const char *const check_type_names[];

extern const struct check_settings check_standard;

/* Makes `copy`, which holds anything, one with memory of its own. False when memory is short: it holds what
 * check_settings_release() frees. */
bool check_settings_copy(const struct check_settings *settings, struct check_settings *copy);
void check_settings_release(struct check_settings *settings);

/* For the row of the key. */
bool check_settings_equal(const void *a, const void *b);

/* Appends what is sent; nothing: the target speaks first. `client` as in protocol.write_check. */
void check_write(const struct check_settings *check, const struct protocol_settings *protocol, void *client,
                 struct buffer *out);

/* Judges what the target has said so far. MORE: that can't be told yet; COMPLETE: it is right; BROKEN: it is not, for
 * the reason, in one phrase, that was appended to `error`. */
enum protocol_outcome check_read(const struct check_settings *check, const struct protocol_settings *protocol,
                                 struct slice answer, struct buffer *error);

/* For protocol.read_check: appends what the target said instead. */
void check_quote(struct slice answer, struct buffer *error);

#endif
