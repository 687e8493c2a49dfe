/* How many connections a pool may have, and how many are too many. Used by stream_pool.c. */
#ifndef STREAM_POOL_COUNT_H
#define STREAM_POOL_COUNT_H

#include "stream/stream_pool.h"

/* How many there may be to a target. */
size_t pool_limit(const struct listener_settings *settings, const struct target_settings *target);

/* The connections that are more than these settings allow, which are being prepared; `mark`: they are in force now. */
size_t pool_count_extra(const struct stream_pool *pool, const struct listener_settings *settings, bool mark);

#endif
