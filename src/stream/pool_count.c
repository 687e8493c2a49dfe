#include "stream/pool_count.h"

static struct pool_connection *connection_of(struct list_node *node)
{
    return list_entry(node, struct pool_connection, node);
}

size_t pool_limit(const struct listener_settings *settings, const struct target_settings *target)
{
    return settings->mode == MODE_FIFO ? 1 : (size_t)target->connections;
}

size_t stream_pool_size(const struct listener_settings *settings)
{
    size_t sum = 0;
    for (size_t i = 0; i < settings->target_count; i++)
        sum += pool_limit(settings, &settings->targets[i]);
    return sum;
}

size_t stream_pool_load(const struct stream_pool *pool, const struct target *target)
{
    size_t load = 0;
    list_foreach(&pool->connections, node)
    {
        const struct pool_connection *connection = connection_of(node);
        if (connection->mux != NULL && (target == NULL || connection->target == target))
            load += mux_connection_load(connection->mux);
    }
    return load;
}

size_t pool_count_extra(const struct stream_pool *pool, const struct listener_settings *settings, bool mark)
{
    size_t kept[SETTINGS_MAX_TARGETS] = { 0 };
    size_t extra = 0;
    list_foreach(&pool->connections, node)
    {
        struct pool_connection *connection = connection_of(node);
        const struct target *target = connection->target;
        const struct target_settings *next =
            target->next_settings != NULL ? target->next_settings : target->settings;
        bool is_extra = connection->is_extra || target_is_retired(target) || !target->is_kept ||
                        ++kept[target->index] > pool_limit(settings, next);
        extra += is_extra;
        connection->is_extra = mark ? is_extra : connection->is_extra;
    }
    return extra;
}

size_t stream_pool_extra(const struct stream_pool *pool)
{
    size_t extra = 0;
    list_foreach(&pool->connections, node) extra += connection_of(node)->is_extra;
    return extra;
}
