/* The error of protocols that have none of their own: the configured `error_reply`. */
#ifndef PROTOCOL_ERROR_REPLY_H
#define PROTOCOL_ERROR_REPLY_H

#include "protocol/protocol.h"

/* A write_error() of struct protocol. A request that has no answer gets none: its client would take it for
 * the answer to its next one. */
bool error_reply_write(const struct protocol_settings *settings, const struct protocol_request *request,
                       enum reason reason, struct buffer *out);

/* The end of a read_request() whose input breaks the rules. */
enum protocol_outcome error_reply_break(const struct protocol_settings *settings, struct buffer *answer);

#endif
