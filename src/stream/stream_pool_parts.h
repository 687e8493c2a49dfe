/* What the files of the pool share. Used by them only. */
#ifndef STREAM_STREAM_POOL_PARTS_H
#define STREAM_STREAM_POOL_PARTS_H

#include "stream/stream_pool.h"

static inline struct pool_connection *stream_pool_connection(struct list_node *node)
{
    return list_entry(node, struct pool_connection, node);
}

/* Something has changed: stream_pool_review() is to come. */
static inline void stream_pool_touch(struct stream_pool *pool)
{
    pool->changed = true;
    pool->driver->touch(pool->owner);
}

/* Starts to connect. False when memory is short. */
bool stream_pool_connect(struct stream_pool *pool, struct target *target, int64_t now);

/* A connection takes no new request; it ends when the last answer is in. */
void stream_pool_retire(struct pool_connection *connection, int64_t now);

/* The one place where connections end. The target does not learn why. */
void stream_pool_end(struct pool_connection *connection, int64_t now);

/* Whether one more connection may be made to a target, or only those of others are in the way. */
bool stream_pool_has_slot(const struct stream_pool *pool, struct target *target, bool *by_others);

#endif
