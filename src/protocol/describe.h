/* What requests ask for and what is wrong with responses, as people would write it: the describe() and
 * describe_error() of struct protocol. From the first bytes of a message, which need not be whole or right.
 * What they append may hold any bytes: whoever shows it escapes it. */
#ifndef PROTOCOL_DESCRIBE_H
#define PROTOCOL_DESCRIBE_H

#include "protocol/protocol.h"

/* Hexadecimal digits, of the first bytes. */
#define DESCRIBE_BYTES_MAX 256
void describe_bytes(struct slice bytes, struct buffer *text);

/* The first line: of memcached, and of HTTP. */
void describe_first_line(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);
/* Whether all of it is there. */
bool describe_has_first_line(struct slice bytes);
void describe_memcached_error(const struct protocol_settings *settings, struct slice bytes,
                              struct buffer *text);
/* Of a status from 400 on: "404 Not Found". */
void describe_http_error(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);

/* The message without what delimits it. */
void describe_line(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);
void describe_marks(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);

/* "unit 1 read holding registers 100-109". */
void describe_modbus(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);
void describe_modbus_error(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);

#endif
