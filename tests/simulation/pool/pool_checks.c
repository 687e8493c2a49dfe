/* The promises, looked at from outside. */
#include "simulation/pool/pool_world.h"

#include <string.h>

/* Microseconds of so many milliseconds of a nominal back-off, with the least and the most jitter. */
#define SHORTEST(milliseconds) ((milliseconds)*750)
#define LONGEST(milliseconds)  ((milliseconds)*1250)

static int64_t limit_of(const struct target *target)
{
    const struct generation *generation = generation_of_set(target->set);
    return generation->settings->mode == MODE_FIFO ? 1 : target->settings->connections;
}

size_t check_count(const struct target *target, bool of_all_generations)
{
    struct world *world = generation_of_set(target->set)->world;
    size_t address = pool_settings_address(target->settings);
    size_t count = 0;
    list_foreach(&world->attempts, node)
    {
        const struct target *other = list_entry(node, struct attempt, node)->target;
        count += of_all_generations ? pool_settings_address(other->settings) == address : other == target;
    }
    list_foreach(&world->connections, node)
    {
        const struct target *other = list_entry(node, struct connection, node)->pooled.target;
        count += of_all_generations ? pool_settings_address(other->settings) == address : other == target;
    }
    return count;
}

/* Whether a target of another generation waits for a slot of the same address, and comes first. */
static bool has_queue(const struct target *target)
{
    struct world *world = generation_of_set(target->set)->world;
    list_foreach(&world->generations, node)
    {
        const struct target_set *set = &list_entry(node, struct generation, node)->set;
        for (size_t i = 0; i < set->count && set != target->set; i++)
            if (pool_settings_address(set->targets[i]->settings) == pool_settings_address(target->settings) &&
                list_linked(&set->targets[i]->in_waiting))
                return true;
    }
    return false;
}

static bool has_slot(const struct target *target)
{
    return (int64_t)check_count(target, true) < limit_of(target) && !has_queue(target);
}

static bool takes_work(const struct target *target)
{
    return target->state == TARGET_UP && target->settings->weight > 0;
}

/* Whether a target that is no backup is up. */
static bool has_regular(const struct generation *generation)
{
    for (size_t i = 0; i < generation->set.count; i++)
        if (takes_work(generation->set.targets[i]) && !generation->set.targets[i]->settings->backup)
            return true;
    return false;
}

static const struct target *first_up(const struct generation *generation)
{
    bool backup = !has_regular(generation);
    for (size_t i = 0; i < generation->set.count; i++)
        if (takes_work(generation->set.targets[i]) && generation->set.targets[i]->settings->backup == backup)
            return generation->set.targets[i];
    return NULL;
}

/* A connection to the target that takes a request now. */
static struct connection *free_connection(const struct target *target)
{
    struct world *world = generation_of_set(target->set)->world;
    list_foreach(&world->connections, node)
    {
        struct connection *connection = list_entry(node, struct connection, node);
        if (connection->pooled.target == target && connection->pooled.mux != NULL &&
            mux_connection_has_room(connection->pooled.mux))
            return connection;
    }
    return NULL;
}

/* ---- Shadows of targets ---- */

static struct shadow *shadow_of(const struct target *target)
{
    struct generation *generation = generation_of_set(target->set);
    for (size_t i = 0; i < generation->shadow_count; i++)
        if (generation->shadows[i].target == target)
            return &generation->shadows[i];
    world_require(generation->world,
                  generation->shadow_count < sizeof generation->shadows / sizeof(struct shadow),
                  "too many targets");
    struct shadow *shadow = &generation->shadows[generation->shadow_count++];
    *shadow =
        (struct shadow){ .target = target, .state = TARGET_UP, .delay = generation->settings->retry_min };
    return shadow;
}

void check_forget(const struct target *target)
{
    struct generation *generation = generation_of_set(target->set);
    for (size_t i = 0; i < generation->shadow_count; i++)
        if (generation->shadows[i].target == target)
            generation->shadows[i--] = generation->shadows[--generation->shadow_count];
}

void check_reloaded(struct generation *generation)
{
    const struct listener_settings *settings = generation->settings;
    int64_t now = generation->world->now;
    memset(generation->sources, 0, sizeof generation->sources);
    for (size_t i = 0; i < generation->shadow_count; i++) {
        struct shadow *shadow = &generation->shadows[i];
        int64_t delay = shadow->delay > settings->retry_max ? settings->retry_max : shadow->delay;
        int64_t latest = now + LONGEST(delay < settings->retry_min ? settings->retry_min : delay);
        shadow->short_lived = 0;
        shadow->free_since = now;
        shadow->latest = latest < shadow->latest ? latest : shadow->latest;
        latest = now + SHORTEST(delay);
        shadow->earliest = latest < shadow->earliest ? latest : shadow->earliest;
    }
    list_foreach(&generation->world->connections, node)
    {
        struct connection *connection = list_entry(node, struct connection, node);
        if (settings->retry_min < connection->retry_min)
            connection->retry_min = settings->retry_min;
        if (settings->connect_delay < connection->connect_delay)
            connection->connect_delay = settings->connect_delay;
    }
}

void check_up(const struct target *target)
{
    shadow_of(target)->short_lived = 0;
}

static uint64_t failures_of(const struct target *target)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < REASON_COUNT && target->counters != NULL; i++)
        sum += target->counters->connect_failures[i];
    return sum;
}

/* Follows a target through its back-off, and sees that it is tried again when that has passed, no sooner (see
 * check_connect()), no later. */
static void shadow_follow(struct generation *generation, const struct target *target)
{
    struct world *world = generation->world;
    const struct listener_settings *settings = generation->settings;
    struct shadow *shadow = shadow_of(target);
    uint64_t failures = failures_of(target);
    bool was_free = shadow->is_free;
    world_require(world,
                  shadow->state != TARGET_UP || failures == shadow->failures || target->state != TARGET_UP,
                  "%s has failed and is up", target->settings->name);
    if (shadow->delay > settings->retry_max)
        shadow->delay = settings->retry_max;
    if (shadow->delay < settings->retry_min || target->state == TARGET_UP)
        shadow->delay = settings->retry_min;
    if (target->state == TARGET_DOWN && shadow->state != TARGET_DOWN) {
        bool failed = shadow->state != TARGET_RETRY; /* else nobody has tried it */
        shadow->down = world->now;
        shadow->earliest = world->now + (failed ? SHORTEST(shadow->delay) : 0);
        shadow->latest = world->now + LONGEST(shadow->delay);
        if (failed)
            shadow->delay = 2 * shadow->delay > settings->retry_max ? settings->retry_max : 2 * shadow->delay;
    }
    shadow->is_free = has_slot(target) && generation->is_ready;
    if (shadow->is_free && !was_free)
        shadow->free_since = world->now;
    int64_t latest = shadow->free_since + LONGEST(shadow->delay);
    world_require(world,
                  target->state != TARGET_DOWN || !shadow->is_free ||
                      world->now <= (latest > shadow->latest ? latest : shadow->latest),
                  "%s is down, and not tried again", target->settings->name);
    world_require(world, target->state != TARGET_RETRY || !has_slot(target), "%s waits for a trial",
                  target->settings->name);
    shadow->state = target->state;
    shadow->failures = failures;
}

/* ---- Connections are made ---- */

/* To a target that is up: because somebody waits, or while warming up. */
static void check_connect_up(const struct generation *generation, const struct target *target)
{
    const struct world *world = generation->world;
    const char *name = target->settings->name;
    size_t attempts = 0;
    world_require(world, target->settings->weight > 0, "%s is given new work, with weight 0", name);
    world_require(world, !target->settings->backup || !has_regular(generation),
                  "backup %s is connected to while another target is up", name);
    world_require(world, generation->settings->mode != MODE_FIFO || target == first_up(generation),
                  "%s is connected to before its turn", name);
    world_require(world, world->now >= shadow_of(target)->short_lived, "%s is connected to without a pause",
                  name);
    if (!generation->is_ready)
        return;
    list_foreach(&world->attempts, node)
    {
        const struct target *other = list_entry(node, struct attempt, node)->target;
        attempts += other->set == target->set && !target_is_retired(other);
    }
    world_require(world,
                  generation->settings->mode == MODE_FIFO || attempts == 0 ||
                      attempts < mux_waiting(generation->mux),
                  "more connections are made than clients wait");
    for (size_t i = 0; i < target->index && generation->settings->balance == BALANCE_FIRST &&
                       generation->settings->mode != MODE_FIFO;
         i++) {
        const struct target *other = generation->set.targets[i];
        world_require(world,
                      !takes_work(other) || other->settings->backup != target->settings->backup ||
                          (!has_slot(other) && free_connection(other) == NULL),
                      "%s is connected to, though %s has room", name, other->settings->name);
    }
}

void check_connect(struct target *target)
{
    struct generation *generation = generation_of_set(target->set);
    const struct world *world = generation->world;
    const char *name = target->settings->name;
    size_t count = check_count(target, true);
    world_require(world, (int64_t)count < limit_of(target), "%s is connected to %zu times, of %lld", name,
                  count + 1, (long long)limit_of(target));
    world_require(world, target->state == TARGET_UP || target->state == TARGET_RETRY,
                  "%s is connected to while it is down", name);
    if (target->state == TARGET_UP)
        check_connect_up(generation, target);
    else
        world_require(world, world->now >= shadow_of(target)->earliest,
                      "generation %u: %s is tried again too soon: after %lld us, not %lld",
                      generation->number, name, (long long)(world->now - shadow_of(target)->down),
                      (long long)(shadow_of(target)->earliest - shadow_of(target)->down));
}

void check_ready(struct generation *generation)
{
    const struct world *world = generation->world;
    const struct target *first = first_up(generation);
    world_require(world, !generation->is_ready, "warming up ends twice");
    for (size_t i = 0; i < generation->set.count && generation->settings->warmup; i++) {
        const struct target *target = generation->set.targets[i];
        bool wanted = generation->settings->mode == MODE_FIFO
                          ? target == first
                          : takes_work(target) && target->settings->backup == first->settings->backup;
        world_require(world, !wanted || !has_slot(target), "warming up ends before %s has its connections",
                      target->settings->name);
    }
}

/* ---- Requests are given out ---- */

/* That it must not be used, or another one should have been. */
static void check_chosen(struct generation *generation, const struct connection *chosen)
{
    const struct world *world = generation->world;
    const struct target *target = chosen->pooled.target;
    size_t address = pool_settings_address(target->settings);
    world_require(world, !target_is_retired(target), "connection %u is used, whose target is no more",
                  chosen->number);
    world_require(world, target->settings->weight > 0, "connection %u is used, with weight 0",
                  chosen->number);
    if (address >= SERVERS) {
        const struct name *name = &world->names[address - SERVERS];
        bool found = chosen->opened >= name->changed;
        for (size_t i = 0; i < name->count; i++)
            found |= name->servers[i] == chosen->server;
        world_require(world, found, "connection %u is used, whose address its name has no more",
                      chosen->number);
    }
    if (generation->settings->mode != MODE_FIFO) {
        world_require(world, !target->settings->backup || !has_regular(generation),
                      "connection %u to a backup is used while another target is up", chosen->number);
        return;
    }
    const struct target *first = first_up(generation);
    bool comes_after =
        first != NULL && (target->settings->backup == first->settings->backup ? target->index > first->index
                                                                              : target->settings->backup);
    world_require(world, first != generation->first || !comes_after, "connection %u is used while %s is up",
                  chosen->number, first->settings->name);
    list_foreach(&world->connections, node)
    {
        const struct connection *other = list_entry(node, struct connection, node);
        world_require(world, other->generation != generation || other->number >= chosen->number,
                      "connection %u is used while connection %u is there", chosen->number, other->number);
    }
}

static int64_t load_of(const struct target *target)
{
    struct world *world = generation_of_set(target->set)->world;
    int64_t load = 0;
    list_foreach(&world->connections, node)
    {
        const struct connection *connection = list_entry(node, struct connection, node);
        if (connection->pooled.target == target && connection->pooled.mux != NULL &&
            !mux_connection_is_over(connection->pooled.mux) && !connection->pooled.retired)
            load += (int64_t)mux_connection_load(connection->pooled.mux);
    }
    return load;
}

/* Of the targets that had a free connection, the right one was picked; nothing had to be connected for it. */
static void check_balance(struct generation *generation, const struct client *client,
                          const struct target *picked)
{
    const struct world *world = generation->world;
    size_t mask = 0;
    bool only_free = true; /* nothing could have been connected instead */
    for (size_t i = 0; i < generation->set.count; i++) {
        const struct target *target = generation->set.targets[i];
        if (target->settings->weight == 0 || target->settings->backup != picked->settings->backup)
            continue;
        if (free_connection(target) == NULL) {
            only_free &= !takes_work(target) || !has_slot(target);
            continue;
        }
        mask |= (size_t)1 << i;
        world_require(world, generation->settings->balance != BALANCE_FIRST || i >= picked->index,
                      "%s is picked before %s", picked->settings->name, target->settings->name);
        world_require(
            world,
            generation->settings->balance != BALANCE_LEAST_CONNECTIONS ||
                load_of(picked) * target->settings->weight <= load_of(target) * picked->settings->weight,
            "%s is picked, though %s has less to do", picked->settings->name, target->settings->name);
    }
    if (generation->settings->balance != BALANCE_SOURCE || !only_free)
        return;
    const struct target **source = &generation->sources[ntohl(client->address.v4.sin_addr.s_addr) % 8][mask];
    world_require(world, *source == NULL || *source == picked, "a client moves from %s to %s",
                  *source == NULL ? "" : (*source)->settings->name, picked->settings->name);
    *source = picked;
}

/* Whether a target that is no backup is up, or serves on although the last attempt has failed. */
static bool regular_serves(const struct generation *generation)
{
    struct world *world = generation->world;
    list_foreach(&world->connections, node)
    {
        const struct connection *connection = list_entry(node, struct connection, node);
        if (connection->generation == generation && !connection->pooled.target->settings->backup)
            return true;
    }
    return has_regular(generation);
}

/* Nothing was free that could be used. */
static void check_none(const struct generation *generation)
{
    const struct world *world = generation->world;
    bool regular = regular_serves(generation);
    for (size_t i = 0; i < generation->set.count && generation->settings->mode != MODE_FIFO; i++) {
        const struct target *target = generation->set.targets[i];
        if (!takes_work(target) || (target->settings->backup && regular))
            continue;
        world_require(world, free_connection(target) == NULL, "a request waits, though connection %u is free",
                      free_connection(target)->number);
    }
}

void check_choose(struct generation *generation, const struct client *client,
                  const struct mux_connection *mux, size_t connects)
{
    if (mux == NULL) {
        check_none(generation);
        return;
    }
    const struct connection *chosen = connection_of_pooled(mux_connection_owner(mux));
    check_chosen(generation, chosen);
    if (generation->settings->mode != MODE_FIFO && connects == 0)
        check_balance(generation, client, chosen->pooled.target);
}

/* ---- Connections end ---- */

void check_connection_ended(const struct connection *connection)
{
    const struct generation *generation = connection->generation;
    const struct pool_connection *pooled = &connection->pooled;
    int64_t lived = generation->world->now - connection->opened;
    bool could_be_used = !connection->closed_by_server && lived >= connection->connect_delay * 1000;
    bool was_short = lived < connection->retry_min * 1000 && !could_be_used;
    if (connection->requests == 0 && was_short && !pooled->retired && !target_is_retired(pooled->target))
        shadow_of(pooled->target)->short_lived = generation->world->now + SHORTEST(connection->retry_min);
}

/* ---- After each step ---- */

bool check_is_held(const struct generation *generation)
{
    bool is_held = false;
    if (mux_waiting(generation->mux) == 0)
        return false;
    for (size_t i = 0; i < generation->set.count; i++) {
        const struct target *target = generation->set.targets[i];
        if (!takes_work(target))
            continue;
        if (check_count(target, false) > 0 || has_slot(target))
            return false;
        is_held = true;
    }
    return is_held;
}

void check_world(struct world *world)
{
    list_foreach(&world->generations, node)
    {
        struct generation *generation = list_entry(node, struct generation, node);
        size_t attempts = 0;
        list_foreach(&world->attempts, attempt) attempts +=
            list_entry(attempt, struct attempt, node)->target->set == &generation->set;
        world_require(world, generation->is_ready || attempts > 0,
                      "generation %u warms up, and waits for nothing", generation->number);
        world_require(world, generation->is_ready || generation->settings->warmup,
                      "generation %u warms up, though nobody wants it to", generation->number);
        world_require(world, attempts == generation->pool.attempts, "%zu attempts are running, not %zu",
                      attempts, generation->pool.attempts);
        generation->first = first_up(generation);
        for (size_t i = 0; i < generation->set.count; i++) {
            const struct target *target = generation->set.targets[i];
            world_require(world, check_count(target, false) == (size_t)target->connections,
                          "%s has %zu connections, not %lld", target->settings->name,
                          check_count(target, false), (long long)target->connections);
            shadow_follow(generation, target);
        }
    }
}
