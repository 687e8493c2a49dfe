/* The pool's beginning and end, other settings, and what its targets tell it. */
#include "stream/pool_check.h"
#include "stream/pool_count.h"
#include "stream/stream_pool_parts.h"
#include "target/slot.h"

/* ---- What the targets tell ---- */

/* Targets whose back-off has passed are tried, whether or not somebody waits, and the connection is kept. If
 * there is no memory, or clients still wait for first attempts, the target waits once more. */
static void pool_targets_usable(void *owner, int64_t now)
{
    struct stream_pool *pool = owner;
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct target *target = pool->targets->targets[i];
        bool by_others;
        if (target->state != TARGET_RETRY || pool->is_warming)
            continue;
        if (stream_pool_has_slot(pool, target, &by_others))
            (void)stream_pool_connect(pool, target, now);
        else if (by_others && mux_waiting(pool->mux) > 0)
            slot_wait(target, (int64_t)pool_limit(pool->settings, target->settings));
        else
            slot_forget(target);
    }
    stream_pool_touch(pool);
}

static void pool_slot_wanted(void *owner)
{
    struct stream_pool *pool = owner;
    pool->is_wanted = true;
    stream_pool_touch(pool);
}

/* Connections to addresses that the name does not have any more are replaced. */
static void pool_looked_up(void *owner, struct target *target, const struct address *addresses, size_t count,
                           int64_t now)
{
    struct stream_pool *pool = owner;
    list_foreach(&pool->connections, node)
    {
        struct pool_connection *connection = stream_pool_connection(node);
        bool found = connection->target != target;
        for (size_t i = 0; i < count && !found; i++)
            found = address_compare_host(&addresses[i], &connection->address) == 0;
        if (!found)
            stream_pool_retire(connection, now);
    }
}

const struct target_hooks stream_pool_hooks = {
    .keeps_connections = true,
    .usable = pool_targets_usable,
    .looked_up = pool_looked_up,
    .slot_wanted = pool_slot_wanted,
    .check = pool_check_begin,
    .check_end = pool_check_end,
};

/* ---- Beginning, reload, end ---- */

void stream_pool_init(struct stream_pool *pool, const struct pool_driver *driver, void *owner,
                      struct mux *mux, const struct listener_settings *settings)
{
    *pool = (struct stream_pool){
        .driver = driver, .owner = owner, .mux = mux, .settings = settings, .turn_due = TIMEOUT_NEVER
    };
    pool->is_fifo = settings->mode == MODE_FIFO;
    list_init(&pool->connections);
    list_init(&pool->checks);
    pool->check_door.is_apart = true;
    timeout_list_init(&pool->probation, settings->retry_min);
}

bool stream_pool_prepare(struct stream_pool *pool, const struct listener_settings *settings,
                         size_t *descriptors)
{
    if (!target_set_prepare(pool->targets, listener_settings_targets(settings)))
        return false;
    *descriptors = stream_pool_size(settings) + pool_count_extra(pool, settings, false);
    return true;
}

void stream_pool_rollback(struct stream_pool *pool)
{
    target_set_rollback(pool->targets);
}

/* What is being connected to a target that goes is given up; what is connected ends with the last answer. */
void stream_pool_commit(struct stream_pool *pool, const struct listener_settings *settings, int64_t now)
{
    pool_checks_stop(pool, now);
    pool->settings = settings;
    pool_count_extra(pool, settings, true);
    target_set_commit(pool->targets, now);
    timeout_list_change(&pool->probation, settings->retry_min, false, now);
    list_foreach(&pool->connections, node)
    {
        struct pool_connection *connection = stream_pool_connection(node);
        if (target_is_retired(connection->target) && connection->state == POOL_CONNECTING)
            stream_pool_end(connection, now);
    }
    stream_pool_touch(pool);
}

void stream_pool_close(struct stream_pool *pool, int64_t now)
{
    struct list_node *node;
    pool->is_closing = true;
    pool_checks_stop(pool, now);
    while ((node = list_first(&pool->connections)) != NULL)
        stream_pool_end(stream_pool_connection(node), now);
}
