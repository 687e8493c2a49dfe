/* The error of protocols that have none of their own: the configured `error_reply`. */
#ifndef PROTOCOL_ERROR_REPLY_H
#define PROTOCOL_ERROR_REPLY_H

#include "protocol/protocol.h"

/* Strings of bytes in the settings of protocols are at most this long; an error_reply may be longer. */
#define MARK_MAX        256
#define ERROR_REPLY_MAX 65536

/* What the own settings of such a protocol begin with. */
struct error_reply_settings {
    struct slice error_reply; /* empty: none */
};

PROTOCOL_OWN(error_reply)

#define ERROR_REPLY_KEY                                                                                      \
    STRING_KEY("error_reply", NULL, "the answer in place of one that can't be had", .is_bytes = true,        \
               .maximum = ERROR_REPLY_MAX, KEY_FIELD(struct error_reply_settings, error_reply))

/* Warns of an error_reply that is no whole message: clients would go on waiting for the rest of it. `what`:
 * what it does not do then. */
void error_reply_check(const struct protocol_settings *settings, struct slice start, struct slice end,
                       const char *what, const struct key_report *report);

/* A write_error() of struct protocol. A request that has no answer gets none: its client would take it for
 * the answer to its next one. */
bool error_reply_write(const struct protocol_settings *settings, const struct protocol_request *request,
                       enum reason reason, struct buffer *out);

/* The end of a read_request() whose input breaks the rules. */
enum protocol_outcome error_reply_break(const struct protocol_settings *settings, struct buffer *answer);

/* The async_caution of protocols whose answers carry no id. */
#define ORDER_CAUTION                                                                                        \
    "without ids only their order tells whose answers are: it must be that of the requests, with none left " \
    "out"

#endif
