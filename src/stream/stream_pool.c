/* Which target connection takes the next request, and when connections are made. */
#include "stream/stream_parts.h"

#include "target/balance.h"
#include "target/slot.h"
#include "target/target_loop.h"

#include <string.h>

/* What the connections of one target look like at a moment. */
struct outlook {
    struct stream_connection *best; /* of those with room the one with the least load; NULL: none has room */
    size_t best_load;
    int64_t load;
    bool works; /* it has a connection that can be used, now or later */
};

static size_t pool_limit(const struct stream_pool *pool, const struct target *target)
{
    return pool->is_fifo ? 1 : (size_t)target->settings->connections;
}

size_t stream_pool_size(const struct listener_settings *settings)
{
    size_t sum = 0;
    for (size_t i = 0; i < settings->target_count; i++)
        sum += settings->mode == MODE_FIFO ? 1 : (size_t)settings->targets[i].connections;
    return sum;
}

static bool pool_has_place(const struct stream_pool *pool, const struct target *target)
{
    return slot_has_room(target, (int64_t)pool_limit(pool, target), NULL);
}

/* Notes, where only connections of other generations leave no place, that the target waits for them. */
static bool pool_may_open(const struct stream_pool *pool, struct target *target)
{
    bool by_others;
    if (pool->is_closing || target->state != TARGET_UP)
        return false;
    bool has_place = slot_has_room(target, (int64_t)pool_limit(pool, target), &by_others);
    if (by_others && !pool->is_warming)
        slot_wait(target);
    return has_place;
}

static void pool_open(struct stream_pool *pool, struct target *target)
{
    if (!stream_connection_connect(pool, target))
        target_fail(target, REASON_INTERNAL, "memory is short", stream_now(pool->service));
}

/* Fills one entry a target; returns how many connections are being made or made ready. */
static size_t pool_look(struct stream_pool *pool, struct outlook *outlooks)
{
    size_t opening = 0;
    memset(outlooks, 0, pool->targets->count * sizeof *outlooks);
    list_foreach(&pool->connections, node)
    {
        struct stream_connection *connection = list_entry(node, struct stream_connection, node);
        if (target_is_retired(connection->target))
            continue;
        struct outlook *outlook = &outlooks[connection->target->index];
        bool has_room = stream_connection_has_room(connection);
        if (!connection->was_ready)
            opening++;
        if (connection->mux == NULL || connection->retired || mux_connection_is_over(connection->mux))
            continue;
        size_t load = mux_connection_load(connection->mux);
        outlook->load += (int64_t)load;
        outlook->works = outlook->works || connection->was_ready;
        if (has_room && (outlook->best == NULL || load < outlook->best_load)) {
            outlook->best = connection;
            outlook->best_load = load;
        }
    }
    return opening;
}

/* Whether backup targets are not to be used: there is another one. */
static bool pool_has_regular(const struct stream_pool *pool, const struct outlook *outlooks)
{
    for (size_t i = 0; i < pool->targets->count; i++) {
        const struct target *target = pool->targets->targets[i];
        if (!target->settings->backup && target->settings->weight > 0 &&
            (target->state == TARGET_UP || outlooks[i].works))
            return true;
    }
    return false;
}

/* The targets that take a request now, or that a connection may be opened to. */
static size_t pool_candidates(const struct stream_pool *pool, const struct outlook *outlooks, bool may_open,
                              struct target **candidates)
{
    bool backup = !pool_has_regular(pool, outlooks);
    size_t count = 0;
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct target *target = pool->targets->targets[i];
        if (target->settings->backup != backup || target->settings->weight == 0)
            continue;
        target->load = outlooks[i].load;
        if (outlooks[i].best != NULL || (may_open && pool_may_open(pool, target)))
            candidates[count++] = target;
    }
    return count;
}

/* Of several targets' free connections the one with the least load. */
static struct stream_connection *pool_best(const struct outlook *outlooks, struct target *const *candidates,
                                           size_t count)
{
    const struct outlook *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct outlook *outlook = &outlooks[candidates[i]->index];
        if (outlook->best != NULL && (best == NULL || outlook->best_load < best->best_load))
            best = outlook;
    }
    return best == NULL ? NULL : best->best;
}

/* Any connection serves the request. The target whose turn it is gets it if it has a free one; else one is
 * opened there for those who come later. As many are opened as clients wait. */
static struct stream_connection *pool_choose_any(struct stream_pool *pool, const struct stream_client *client)
{
    struct outlook outlooks[SETTINGS_MAX_TARGETS];
    struct target *candidates[SETTINGS_MAX_TARGETS];
    size_t opening = pool_look(pool, outlooks);
    size_t waiting = mux_waiting(pool->service->mux);
    struct stream_connection *free_connection = NULL;
    while (free_connection == NULL) {
        bool may_open = opening == 0 || opening < waiting;
        size_t count = pool_candidates(pool, outlooks, may_open, candidates);
        if (count == 0)
            break;
        struct target *target = balance_pick(pool->targets, candidates, count, &client->address);
        free_connection = outlooks[target->index].best;
        if (free_connection != NULL)
            break;
        pool_open(pool, target);
        opening++;
        free_connection = pool_best(outlooks, candidates, count);
    }
    return free_connection;
}

/* The first target, in the order of the configuration and backups last, that is up. */
static struct target *pool_first_up(const struct stream_pool *pool)
{
    struct target *backup = NULL;
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct target *target = pool->targets->targets[i];
        if (target->state != TARGET_UP || target->settings->weight == 0)
            continue;
        if (!target->settings->backup)
            return target;
        if (backup == NULL)
            backup = target;
    }
    return backup;
}

/* One connection serves all requests, in their order: the oldest one, so that a new one to a target that came
 * back takes over only when the old one is gone. */
static struct stream_connection *pool_choose_only(struct stream_pool *pool)
{
    list_foreach(&pool->connections, node)
    {
        struct stream_connection *connection = list_entry(node, struct stream_connection, node);
        if (connection->mux != NULL)
            return stream_connection_has_room(connection) ? connection : NULL;
    }
    struct target *target = pool_first_up(pool);
    if (target != NULL && pool->attempts == 0 && pool_may_open(pool, target))
        pool_open(pool, target);
    return NULL;
}

struct mux_connection *stream_pool_choose(void *owner, void *client)
{
    struct stream_service *service = owner;
    struct stream_pool *pool = &service->pool;
    struct stream_connection *connection =
        pool->is_fifo ? pool_choose_only(pool) : pool_choose_any(pool, client);
    return connection == NULL ? NULL : connection->mux;
}

size_t stream_pool_opening(void *owner)
{
    const struct stream_service *service = owner;
    return service->pool.attempts;
}

/* A connection is not to be used while there is a target that comes before its own. In fifo that is any one before
 * it, in funnel one that is no backup. */
static bool pool_is_replaced(const struct stream_pool *pool, const struct target *target,
                             const struct target *first)
{
    if (first == NULL || first == target)
        return false;
    if (first->settings->backup != target->settings->backup)
        return target->settings->backup;
    return pool->is_fifo && first->index < target->index;
}

/* Whether the connection may be given up for others: it has been of use, or there is no use for it. */
static bool pool_can_spare(const struct stream_pool *pool, const struct stream_connection *connection)
{
    return connection->mux != NULL && connection->was_ready && !connection->retired &&
           (connection->answered || mux_connection_load(connection->mux) > 0 ||
            mux_waiting(pool->service->mux) == 0);
}

/* Gives one connection to the target up for others, unless one goes already: the one with the least to do. */
static void pool_release_one(struct stream_pool *pool, const struct target *target, int64_t now)
{
    struct stream_connection *best = NULL;
    list_foreach(&pool->connections, node)
    {
        struct stream_connection *connection = list_entry(node, struct stream_connection, node);
        if (connection->target != target)
            continue;
        if (connection->retired)
            return;
        if (pool_can_spare(pool, connection) &&
            (best == NULL || mux_connection_load(connection->mux) < mux_connection_load(best->mux)))
            best = connection;
    }
    if (best != NULL)
        stream_connection_retire(best, now);
}

static void pool_release(struct stream_pool *pool, int64_t now)
{
    pool->is_wanted = false;
    for (size_t i = 0; i < pool->targets->count; i++) {
        const struct target *target = pool->targets->targets[i];
        if (target->connections == 0 || !slot_is_wanted(target))
            continue;
        pool->is_wanted = true;
        pool_release_one(pool, target, now);
    }
}

bool stream_pool_is_held(const struct stream_pool *pool)
{
    if (target_set_is_held(pool->targets))
        return true;
    list_foreach(
        &pool->connections,
        node) if (pool->is_fifo &&
                  target_is_retired(list_entry(node, struct stream_connection, node)->target)) return true;
    return false;
}

/* Opens what is missing to the targets that would be used. Each is tried once: one that fails is not up any
 * more. When nothing is under way, or a reload has turned `warmup` off, clients may come. */
static void pool_warm(struct stream_pool *pool)
{
    const struct target *first = pool->service->settings->warmup ? pool_first_up(pool) : NULL;
    for (size_t i = 0; first != NULL && i < pool->targets->count; i++) {
        struct target *target = pool->targets->targets[i];
        bool wanted = pool->is_fifo ? target == first : target->settings->backup == first->settings->backup;
        while (wanted && target->settings->weight > 0 && pool_may_open(pool, target))
            pool_open(pool, target);
    }
    if (pool->service->settings->warmup && pool->attempts > 0)
        return;
    pool->is_warming = false;
    pool->service->owner.ready(pool->service->owner.owner);
}

void stream_pool_review(struct stream_pool *pool, int64_t now)
{
    if (pool->is_wanted)
        pool_release(pool, now);
    if (!pool->changed)
        return;
    pool->changed = false;
    if (pool->is_warming) /* an attempt has ended, or was given up */
        pool_warm(pool);
    if (mux_waiting(pool->service->mux) == 0)
        target_set_forget(pool->targets);
    const struct target *first = pool_first_up(pool);
    list_foreach(&pool->connections, node)
    {
        struct stream_connection *connection = list_entry(node, struct stream_connection, node);
        if (target_is_retired(connection->target) || pool_is_replaced(pool, connection->target, first))
            stream_connection_retire(connection, now);
    }
    mux_dispatch(pool->service->mux, now);
}

void stream_pool_start(struct stream_pool *pool)
{
    pool->is_warming = true;
    pool_warm(pool);
}

/* Targets whose back-off has passed are tried, whether or not somebody waits, and the connection is kept. */
static void pool_targets_usable(void *owner, int64_t now)
{
    struct stream_pool *pool = owner;
    if (pool->is_closing)
        return;
    pool->changed = true;
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct target *target = pool->targets->targets[i];
        /* If there is no memory, or clients still wait for first attempts, it waits once more. */
        if (target->state == TARGET_RETRY && !pool->is_warming && pool_has_place(pool, target))
            (void)stream_connection_connect(pool, target);
    }
    mux_dispatch(pool->service->mux, now);
    stream_touch(pool->service);
}

/* Others wait for places. */
static void pool_slot_wanted(void *owner)
{
    struct stream_pool *pool = owner;
    pool->is_wanted = true;
    stream_touch(pool->service);
}

/* Connections to addresses that the name does not have any more are replaced. */
static void pool_looked_up(void *owner, struct target *target, const struct address *addresses, size_t count,
                           int64_t now)
{
    struct stream_pool *pool = owner;
    list_foreach(&pool->connections, node)
    {
        struct stream_connection *connection = list_entry(node, struct stream_connection, node);
        if (connection->target != target || connection->mux == NULL)
            continue;
        bool found = false;
        for (size_t i = 0; i < count && !found; i++)
            found = address_compare_host(&addresses[i], &connection->address) == 0;
        if (!found)
            stream_connection_retire(connection, now);
    }
}

bool stream_pool_init(struct stream_pool *pool, struct stream_service *service)
{
    static const struct target_hooks target_hooks = {
        .keeps_connections = true,
        .usable = pool_targets_usable,
        .looked_up = pool_looked_up,
        .slot_wanted = pool_slot_wanted,
    };
    struct runtime *runtime = service->runtime;
    const struct listener_settings *settings = service->settings;
    pool->service = service;
    pool->is_fifo = settings->mode == MODE_FIFO;
    list_init(&pool->connections);
    timer_init(&pool->probation_timer, runtime->loop, settings->retry_min, stream_connection_probation_ended,
               pool);
    pool->targets = target_set_create(runtime, settings, &target_hooks, pool);
    return pool->targets != NULL;
}

bool stream_pool_prepare(struct stream_pool *pool, const struct listener_settings *settings,
                         size_t *descriptors)
{
    if (!target_set_prepare(pool->targets, settings))
        return false;
    *descriptors = stream_pool_size(settings);
    list_foreach(&pool->connections, node)
    {
        const struct target *target = list_entry(node, struct stream_connection, node)->target;
        *descriptors += target_is_retired(target) || !target->is_kept;
    }
    return true;
}

size_t stream_pool_extra(const struct stream_pool *pool)
{
    size_t extra = 0;
    list_foreach(&pool->connections, node) extra +=
        target_is_retired(list_entry(node, struct stream_connection, node)->target);
    return extra;
}

void stream_pool_rollback(struct stream_pool *pool)
{
    target_set_rollback(pool->targets);
}

/* What is being connected to a target that goes is given up; what is connected ends with the last answer. */
void stream_pool_commit(struct stream_pool *pool, int64_t now)
{
    target_set_commit(pool->targets, now);
    timer_change(&pool->probation_timer, pool->targets->settings->retry_min, false, now);
    list_foreach(&pool->connections, node)
    {
        struct stream_connection *connection = list_entry(node, struct stream_connection, node);
        if (!target_is_retired(connection->target))
            continue;
        if (connection->attempt != NULL)
            stream_connection_end(connection);
        else
            stream_connection_retire(connection, now);
    }
    pool->changed = true;
}

void stream_pool_close(struct stream_pool *pool)
{
    struct list_node *node;
    pool->is_closing = true;
    while ((node = list_first(&pool->connections)) != NULL)
        stream_connection_end(list_entry(node, struct stream_connection, node));
    timer_stop(&pool->probation_timer);
    target_set_destroy(pool->targets);
}
