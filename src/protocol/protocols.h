/* The protocols there are, a file each. For protocol.c, and for tests that take one without its name. */
#ifndef PROTOCOL_PROTOCOLS_H
#define PROTOCOL_PROTOCOLS_H

#include "protocol/protocol.h"

extern const struct protocol protocol_http;
extern const struct protocol protocol_length;
extern const struct protocol protocol_line;
extern const struct protocol protocol_marks;
extern const struct protocol protocol_memcached;
extern const struct protocol protocol_modbus;
extern const struct protocol protocol_raw;
extern const struct protocol protocol_redis;

#endif
