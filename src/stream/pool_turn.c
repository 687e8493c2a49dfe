#include "stream/pool_turn.h"

#include "target/slot.h"

/* How long a connection is used, once it is ready, before others who wait for its slot get it. Microseconds. */
#define TURN_MICROSECONDS 1000000

/* One that has nothing to do, or if `in_turn` the one with the least to do of those that have had their turn. None if
 * one goes already. */
static struct pool_connection *turn_pick(struct stream_pool *pool, const struct target *target, bool in_turn,
                                         int64_t now)
{
    struct pool_connection *best = NULL;
    list_foreach(&pool->connections, node)
    {
        struct pool_connection *connection = list_entry(node, struct pool_connection, node);
        if (connection->target != target || connection->mux == NULL)
            continue;
        if (connection->retired)
            return NULL;
        size_t load = mux_connection_load(connection->mux);
        bool is_idle = load == 0 && mux_waiting(pool->mux) == 0;
        int64_t due = is_idle ? now : connection->ready_since + TURN_MICROSECONDS;
        if (!connection->was_ready || (!is_idle && !in_turn))
            continue;
        if (due > now)
            pool->turn_due = due < pool->turn_due ? due : pool->turn_due;
        else if (best == NULL || load < mux_connection_load(best->mux))
            best = connection;
    }
    return best;
}

struct pool_connection *pool_turn_over(struct stream_pool *pool, const struct target *target, int64_t now)
{
    enum slot_demand demand = slot_demand(target);
    if (demand == SLOT_UNWANTED)
        return NULL;
    pool->is_wanted = true;
    return demand == SLOT_FREE ? NULL : turn_pick(pool, target, demand == SLOT_IN_TURN, now);
}
