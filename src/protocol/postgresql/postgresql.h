/* The parts of the follower of PostgreSQL sessions. Only postgresql*.c include this. After the documentation
 * of the frontend/backend protocol, version 3. */
#ifndef PROTOCOL_POSTGRESQL_H
#define PROTOCOL_POSTGRESQL_H

#include "base/slice.h"
#include "protocol/observe/text.h"

#include <stdint.h>

/* Numbers are in network order. */
static inline uint32_t postgresql_integer(const char *bytes)
{
    const unsigned char *digits = (const unsigned char *)bytes;
    return (uint32_t)digits[0] << 24 | (uint32_t)digits[1] << 16 | (uint32_t)digits[2] << 8 | digits[3];
}

/* The values of a Bind, from behind its names, to be released; at most `limit` bytes. NULL if there are none,
 * or memory is short. `types`: object ids of the types, four bytes each, as far as they are known. */
struct text *postgresql_parameters(struct slice body, struct slice types, size_t limit);

#endif
