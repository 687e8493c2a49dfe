/* The registry: one line for each protocol there is, in the order in which errors name them. Those of the
 * list are called protocol_NAME, each in a folder of its own. */
#ifndef PROTOCOL_PROTOCOLS_H
#define PROTOCOL_PROTOCOLS_H

#include "protocol/protocol.h"

#define PROTOCOLS(EACH)                                                                                      \
    EACH(raw)                                                                                                \
    EACH(line)                                                                                               \
    EACH(length)                                                                                             \
    EACH(marks)                                                                                              \
    EACH(modbus)                                                                                             \
    EACH(redis)                                                                                              \
    EACH(memcached)                                                                                          \
    EACH(mllp)                                                                                               \
    EACH(http)                                                                                               \
    EACH(mysql)                                                                                              \
    EACH(postgresql)

#define PROTOCOL_DECLARE(name) extern const struct protocol protocol_##name;
PROTOCOLS(PROTOCOL_DECLARE)
#undef PROTOCOL_DECLARE

/* The names of all protocols, and the protocols in the same order; NULL at the end of both. */
extern const char *const protocol_names[];
const struct protocol *const *protocols_all(void);

/* The protocol of that name, or NULL. */
const struct protocol *protocols_find(const char *name);

#endif
