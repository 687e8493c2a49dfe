/* The parts of the follower of PostgreSQL sessions. Only postgresql*.c include this. After the documentation
 * of the frontend/backend protocol, version 3. */
#ifndef PROTOCOL_POSTGRESQL_H
#define PROTOCOL_POSTGRESQL_H

#include "protocol/observe/reader.h"
#include "protocol/observe/text.h"

/* The values of a Bind, from behind its names, to be released; at most `limit` bytes. NULL if there are none,
 * or memory is short. `types`: object ids of the types, four bytes each, as far as they are known. */
struct text *postgresql_parameters(struct reader *reader, struct slice types, size_t limit);

#endif
