/* What requests ask for and what is wrong with responses, as people would write it: what the describe() and
 * describe_error() of several protocols share. Messages need not be whole or right. What is appended may hold
 * any bytes: whoever shows it escapes it. */
#ifndef PROTOCOL_DESCRIBE_H
#define PROTOCOL_DESCRIBE_H

#include "protocol/protocol.h"

/* Appends what a request asks for: what its protocol's describe() says, or the first bytes as hexadecimal digits. */
void describe_request(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);

/* Whether that leaves something out, for a request of `size` bytes that begins with these. */
bool describe_is_cut(const struct protocol_settings *settings, struct slice bytes, uint64_t size);

/* Up to a line feed, or all; without it and a CR before it. */
struct slice describe_line_of(struct slice bytes);

/* A describe() of struct protocol: the first line, of memcached and of HTTP. */
void describe_first_line(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);

#endif
