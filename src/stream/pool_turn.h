/* Turns at slots that others want too (see target/slot.h): which connection of a pool has to go for them. Used by
 * stream_pool.c. */
#ifndef STREAM_POOL_TURN_H
#define STREAM_POOL_TURN_H

#include "stream/stream_pool.h"

/* The connection to the target that is to be given up now, or NULL. Notes in the pool whether others want one, and when
 * the first turn is over. */
struct pool_connection *pool_turn_over(struct stream_pool *pool, const struct target *target, int64_t now);

#endif
