/* Checks that the pool makes: clients of the multiplexer without a socket, whose requests go to one target. Used by the
 * files of the pool only. */
#ifndef STREAM_POOL_CHECK_H
#define STREAM_POOL_CHECK_H

#include "stream/stream_pool.h"

/* What findings of the multiplexer name as the origin of a check. No client's address counts as it. */
#define POOL_CHECK_ORIGIN UINT64_MAX

/* For struct target_hooks. */
bool pool_check_begin(void *owner, struct target *target, int64_t now);
void pool_check_end(void *owner, struct target *target, int64_t now);

/* The target that a client which is apart is to check. */
struct target *pool_check_target(void *client);

/* Puts questions, and hears answers. */
void pool_checks_progress(struct stream_pool *pool, int64_t now);

/* Gives up all that run. */
void pool_checks_stop(struct stream_pool *pool, int64_t now);

#endif
