/* Which target connection takes the next request, and when connections are made. */
#include "stream/parts.h"

#include "base/clock.h"
#include "target/balance.h"

#include <string.h>

/* What the links of one target look like at a moment. */
struct outlook {
    struct stream_link *best; /* of those with room the one with the least load; NULL: none has room */
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
    return (size_t)target->connections < pool_limit(pool, target);
}

static bool pool_may_open(const struct stream_pool *pool, const struct target *target)
{
    return !pool->is_closing && target->state == TARGET_UP && pool_has_place(pool, target);
}

static void pool_open(struct stream_pool *pool, struct target *target)
{
    if (!stream_link_connect(pool, target))
        target_fail(target, REASON_INTERNAL, "memory is short");
}

/* Fills one entry a target; returns how many connections are being made or made ready. */
static size_t pool_look(struct stream_pool *pool, struct outlook *outlooks)
{
    size_t opening = 0;
    memset(outlooks, 0, pool->targets->count * sizeof *outlooks);
    list_foreach(&pool->links, node)
    {
        struct stream_link *link = list_entry(node, struct stream_link, node);
        struct outlook *outlook = &outlooks[link->target - pool->targets->targets];
        bool has_room = stream_link_has_room(link);
        if (!link->was_ready)
            opening++;
        if (link->mux == NULL || link->retired || mux_link_is_over(link->mux))
            continue;
        size_t load = mux_link_load(link->mux);
        outlook->load += (int64_t)load;
        outlook->works = outlook->works || link->was_ready;
        if (has_room && (outlook->best == NULL || load < outlook->best_load)) {
            outlook->best = link;
            outlook->best_load = load;
        }
    }
    return opening;
}

/* Whether backup targets are not to be used: there is another one. */
static bool pool_has_regular(const struct stream_pool *pool, const struct outlook *outlooks)
{
    for (size_t i = 0; i < pool->targets->count; i++) {
        const struct target *target = &pool->targets->targets[i];
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
        struct target *target = &pool->targets->targets[i];
        if (target->settings->backup != backup || target->settings->weight == 0)
            continue;
        target->load = outlooks[i].load;
        if (outlooks[i].best != NULL || (may_open && pool_may_open(pool, target)))
            candidates[count++] = target;
    }
    return count;
}

/* Of several targets' free links the one with the least load. */
static struct stream_link *pool_best(const struct stream_pool *pool, const struct outlook *outlooks,
                                     struct target *const *candidates, size_t count)
{
    const struct outlook *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct outlook *outlook = &outlooks[candidates[i] - pool->targets->targets];
        if (outlook->best != NULL && (best == NULL || outlook->best_load < best->best_load))
            best = outlook;
    }
    return best == NULL ? NULL : best->best;
}

/* Any connection serves the request. The target whose turn it is gets it if it has a free one; else one is
 * opened there for those who come later. As many are opened as clients wait. */
static struct stream_link *pool_choose_any(struct stream_pool *pool, const struct stream_client *client)
{
    struct outlook outlooks[SETTINGS_MAX_TARGETS];
    struct target *candidates[SETTINGS_MAX_TARGETS];
    size_t opening = pool_look(pool, outlooks);
    size_t waiting = mux_waiting(pool->service->mux);
    struct stream_link *free_link = NULL;
    while (free_link == NULL) {
        bool may_open = opening == 0 || opening < waiting;
        size_t count = pool_candidates(pool, outlooks, may_open, candidates);
        if (count == 0)
            break;
        struct target *target = balance_pick(pool->targets, candidates, count, &client->address);
        free_link = outlooks[target - pool->targets->targets].best;
        if (free_link != NULL)
            break;
        pool_open(pool, target);
        opening++;
        free_link = pool_best(pool, outlooks, candidates, count);
    }
    return free_link;
}

/* The first target, in the order of the configuration and backups last, that is up. */
static struct target *pool_first_up(const struct stream_pool *pool)
{
    struct target *backup = NULL;
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct target *target = &pool->targets->targets[i];
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
static struct stream_link *pool_choose_only(struct stream_pool *pool)
{
    list_foreach(&pool->links, node)
    {
        struct stream_link *link = list_entry(node, struct stream_link, node);
        if (link->mux != NULL)
            return stream_link_has_room(link) ? link : NULL;
    }
    struct target *target = pool_first_up(pool);
    if (target != NULL && pool->attempts == 0 && pool_may_open(pool, target))
        pool_open(pool, target);
    return NULL;
}

struct mux_link *stream_pool_choose(void *owner, void *client)
{
    struct stream_service *service = owner;
    struct stream_pool *pool = &service->pool;
    struct stream_link *link = pool->is_fifo ? pool_choose_only(pool) : pool_choose_any(pool, client);
    return link == NULL ? NULL : link->mux;
}

/* A link is not to be used while there is a target that comes before its own. In fifo that is any one before
 * it, in funnel one that is no backup. */
static bool pool_is_replaced(const struct stream_pool *pool, const struct target *target,
                             const struct target *first)
{
    if (first == NULL || first == target)
        return false;
    if (first->settings->backup != target->settings->backup)
        return target->settings->backup;
    return pool->is_fifo && first < target;
}

void stream_pool_review(struct stream_pool *pool, int64_t now)
{
    if (!pool->changed)
        return;
    pool->changed = false;
    const struct target *first = pool_first_up(pool);
    list_foreach(&pool->links, node)
    {
        struct stream_link *link = list_entry(node, struct stream_link, node);
        if (pool_is_replaced(pool, link->target, first))
            stream_link_retire(link, now);
    }
}

/* Opens what is missing to the targets that would be used. Each is tried once: one that fails is not up any
 * more. When nothing is under way, clients may come. */
static void pool_warm(struct stream_pool *pool)
{
    const struct target *first = pool_first_up(pool);
    for (size_t i = 0; first != NULL && i < pool->targets->count; i++) {
        struct target *target = &pool->targets->targets[i];
        bool wanted = pool->is_fifo ? target == first : target->settings->backup == first->settings->backup;
        while (wanted && target->settings->weight > 0 && pool_may_open(pool, target))
            pool_open(pool, target);
    }
    if (pool->attempts > 0)
        return;
    pool->is_warming = false;
    pool->service->owner.ready(pool->service->owner.owner);
}

void stream_pool_start(struct stream_pool *pool)
{
    if (!pool->service->settings->warmup) {
        pool->service->owner.ready(pool->service->owner.owner);
        return;
    }
    pool->is_warming = true;
    pool_warm(pool);
}

void stream_pool_attempted(struct stream_pool *pool)
{
    pool->changed = true;
    if (pool->is_warming)
        pool_warm(pool);
    mux_dispatch(pool->service->mux, clock_now());
}

/* Targets whose back-off has passed are tried, whether or not somebody waits, and the connection is kept. */
static void pool_targets_usable(void *owner)
{
    struct stream_pool *pool = owner;
    if (pool->is_closing)
        return;
    pool->changed = true;
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct target *target = &pool->targets->targets[i];
        /* If there is no memory, or clients still wait for first attempts, it waits once more. */
        if (target->state == TARGET_RETRY && !pool->is_warming && pool_has_place(pool, target))
            (void)stream_link_connect(pool, target);
    }
    mux_dispatch(pool->service->mux, clock_now());
}

/* Connections to addresses that the name does not have any more are replaced. */
static void pool_looked_up(void *owner, struct target *target)
{
    struct stream_pool *pool = owner;
    size_t count;
    const struct address *addresses = resolver_addresses(target->name, &count);
    list_foreach(&pool->links, node)
    {
        struct stream_link *link = list_entry(node, struct stream_link, node);
        if (link->target != target || link->mux == NULL)
            continue;
        bool found = false;
        for (size_t i = 0; i < count && !found; i++)
            found = address_compare_host(&addresses[i], &link->address) == 0;
        if (!found)
            stream_link_retire(link, clock_now());
    }
}

bool stream_pool_init(struct stream_pool *pool, struct stream_service *service)
{
    struct runtime *runtime = service->runtime;
    const struct listener_settings *settings = service->settings;
    pool->service = service;
    pool->is_fifo = settings->mode == MODE_FIFO;
    list_init(&pool->links);
    timer_init(&pool->proof_timer, runtime->loop, settings->retry_min, stream_link_lasted, pool);
    pool->targets = target_set_create(runtime, settings, pool_targets_usable, pool);
    if (pool->targets == NULL)
        return false;
    target_set_keep_connections(pool->targets, pool_looked_up);
    return true;
}

void stream_pool_close(struct stream_pool *pool)
{
    struct list_node *node;
    pool->is_closing = true;
    while ((node = list_first(&pool->links)) != NULL)
        stream_link_end(list_entry(node, struct stream_link, node));
    timer_stop(&pool->proof_timer);
    target_set_destroy(pool->targets);
}
