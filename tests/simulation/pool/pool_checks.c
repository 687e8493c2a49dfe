/* The promises, looked at from outside. */
#include "simulation/pool/pool_world.h"
#include "target/slot.h"

#include <string.h>

/* Microseconds of so many milliseconds of a nominal back-off, with the least and the most jitter. */
#define SHORTEST(milliseconds) ((milliseconds)*750)
#define LONGEST(milliseconds)  ((milliseconds)*1250)

static int64_t limit_of(const struct target *target)
{
    const struct generation *generation = generation_of_set(target->set);
    return generation->settings->mode == MODE_FIFO ? 1 : target->settings->connections;
}

/* Whether two targets of a listener have one address. */
static bool is_same(const struct target *one, const struct target *other)
{
    return pool_settings_address(one->settings) == pool_settings_address(other->settings) &&
           generation_of_set(one->set)->listener == generation_of_set(other->set)->listener;
}

size_t check_count(const struct target *target, bool of_all_generations)
{
    struct world *world = generation_of_set(target->set)->world;
    size_t count = 0;
    list_foreach(&world->attempts, node)
    {
        const struct target *other = list_entry(node, struct attempt, node)->target;
        count += of_all_generations ? is_same(target, other) : other == target;
    }
    list_foreach(&world->connections, node)
    {
        const struct target *other = list_entry(node, struct connection, node)->pooled.target;
        count += of_all_generations ? is_same(target, other) : other == target;
    }
    return count;
}

void check_server(const struct world *world, size_t server)
{
    int64_t count = 0;
    list_foreach(&world->attempts, node)
    {
        const struct attempt *attempt = list_entry(node, struct attempt, node);
        count += !attempt->is_resolving && attempt->candidates[attempt->next] == server;
    }
    list_foreach(&world->connections, node) count +=
        list_entry(node, struct connection, node)->server == server;
    world_require(world, world->slots_each < 0 || count <= world->slots_each,
                  "server %zu gets %lld connections, and has %lld slots", server, (long long)count,
                  (long long)world->slots_each);
}

/* Whether reconnect_delay runs, or has ended only now, which is not known yet. */
static bool is_resting(const struct target *target)
{
    const struct world *world = generation_of_set(target->set)->world;
    return world->now < world->rest_until[pool_settings_address(target->settings)] ||
           slot_resting_until(target) != 0;
}

/* That it may have none when there is none is checked at each connection. */
static bool has_slot(const struct target *target)
{
    return !is_resting(target) && slot_has_room((struct target *)(uintptr_t)target, limit_of(target), NULL);
}

/* Whether another target is up and well; or, with `turns`, is sick, too, and failed longer ago. */
static bool gives_way(const struct target *target, bool turns)
{
    for (size_t i = 0; target->health.is_sick && i < target->set->count; i++) {
        const struct target *other = target->set->targets[i];
        if (other == target || other->state != TARGET_UP || other->settings->weight == 0)
            continue;
        if (!other->health.is_sick ||
            (turns && (other->failed < target->failed ||
                       (other->failed == target->failed && other->index < target->index))))
            return true;
    }
    return false;
}

bool check_is_left_out(const struct target *target)
{
    return gives_way(target, true);
}

static bool takes_work(const struct target *target)
{
    return target->state == TARGET_UP && target->settings->weight > 0 && !check_is_left_out(target);
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

void check_identity(const struct generation *generation, const struct target *const *before)
{
    const struct world *world = generation->world;
    for (size_t i = 0; i < generation->set.count; i++) {
        const struct target *target = generation->set.targets[i];
        const struct target *was = before[pool_settings_address(target->settings)];
        world_require(world, was == NULL || was == target, "%s is not the same after a reload",
                      target->settings->name);
        world_require(world, target->settings->weight == generation->settings->targets[i].weight,
                      "%s keeps its old options", target->settings->name);
    }
}

static int64_t longest_trial_pause(const struct listener_settings *settings)
{
    int64_t longest = settings->retry_max * 16 < 60000 ? settings->retry_max * 16 : 60000;
    return longest < settings->retry_max ? settings->retry_max : longest;
}

void check_reloaded(struct generation *generation)
{
    const struct listener_settings *settings = generation->settings;
    int64_t now = generation->world->now;
    generation->down_changed = now;
    if (settings->down_timeout >= 0 && settings->down_timeout < generation->down_least)
        generation->down_least = settings->down_timeout;
    memset(generation->sources, 0, sizeof generation->sources);
    for (size_t i = 0; i < generation->shadow_count; i++) {
        struct shadow *shadow = &generation->shadows[i];
        int64_t delay = shadow->delay > settings->retry_max ? settings->retry_max : shadow->delay;
        int64_t latest = now + LONGEST(delay < settings->retry_min ? settings->retry_min : delay);
        shadow->short_lived = 0;
        shadow->free_since = now;
        if (shadow->trial_pause > longest_trial_pause(settings))
            shadow->trial_pause = longest_trial_pause(settings);
        if (shadow->trial_earliest > now + SHORTEST(shadow->trial_pause))
            shadow->trial_earliest = now + SHORTEST(shadow->trial_pause);
        if (shadow->trial_latest > now + LONGEST(shadow->trial_pause))
            shadow->trial_latest = now + LONGEST(shadow->trial_pause);
        shadow->latest = latest < shadow->latest ? latest : shadow->latest;
        latest = now + SHORTEST(delay);
        shadow->earliest = latest < shadow->earliest ? latest : shadow->earliest;
    }
    list_foreach(&generation->world->connections, node)
    {
        struct connection *connection = list_entry(node, struct connection, node);
        connection->ready = 0; /* it may have waited for connect_delay instead */
        if (settings->retry_min < connection->retry_min)
            connection->retry_min = settings->retry_min;
        if (settings->connect_delay < connection->connect_delay)
            connection->connect_delay = settings->connect_delay;
    }
}

void check_up(const struct target *target)
{
    const struct world *world = generation_of_set(target->set)->world;
    shadow_of(target)->short_lived = 0;
    world_require(world, target->up_since == world->now, "%s comes up, and has its share at once",
                  target->settings->name);
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
    bool is_wasted = target->down_since == world->now && generation->name_connected == world->now;
    if (is_wasted) /* its time came in this step, in which a name's attempt may have taken its slot for a moment */
        shadow->latest = world->now + LONGEST(shadow->delay);
    if (target->state == TARGET_DOWN && shadow->state != TARGET_DOWN) {
        bool failed = failures != shadow->failures; /* else nobody has tried it, or a reload gave that up */
        shadow->is_trial_early = false;
        shadow->down = world->now;
        shadow->earliest = world->now + (failed ? SHORTEST(shadow->delay) : 0);
        shadow->latest = world->now + LONGEST(shadow->delay);
        if (failed)
            shadow->delay = 2 * shadow->delay > settings->retry_max ? settings->retry_max : 2 * shadow->delay;
    }
    int64_t soon = shadow->down + WANTED_BACK_OFF;
    shadow->is_trial_early = shadow->is_trial_early || mux_has_waiting(generation->mux);
    world_require(world,
                  target->state != TARGET_DOWN || !shadow->is_free || !has_slot(target) ||
                      !generation->is_wanted || world->now <= soon ||
                      world->now <= generation->wanted_since ||
                      world->now <= shadow->free_since + WANTED_BACK_OFF,
                  "%s is down, and not tried, though something waits", target->settings->name);
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

/* ---- Sickness ---- */

void check_asked(struct generation *generation, const struct client *client, size_t request)
{
    generation->asked[client_from(client)] = generation->world->now;
    generation->asked_parts[request % PARTS] = generation->world->now;
}

/* Whether so many have failed as asked for so long, or `most`; `also_asked`, within a minute. */
static bool enough_failed(const bool *failed, const int64_t *asked, const int64_t *also_asked, size_t count,
                          int64_t most, int64_t patience, int64_t now)
{
    int64_t failing = 0, asking = 0;
    for (size_t i = 0; i < count; i++) {
        bool asks = (asked[i] != 0 && now - asked[i] < patience) ||
                    (also_asked != NULL && also_asked[i] != 0 && now - also_asked[i] <= MINUTE);
        failing += failed[i];
        asking += asks;
    }
    return failing >= (asking < most ? asking : most);
}

/* Whether the target has to be sick (`surely`), if all asked for it who asked for anything; or may be. */
static bool is_sickening(const struct generation *generation, const struct shadow *shadow, bool surely)
{
    int64_t fail_after = generation->settings->fail_after, now = generation->world->now;
    int64_t timeout = generation->settings->request_timeout;
    int64_t least = 5000000 + (timeout < 0 || fail_after < 0 ? 0 : fail_after * timeout * 1000);
    int64_t patience = surely || least > MINUTE ? MINUTE : least; /* who asks seldom is waited for longer */
    return fail_after >= 0 && shadow->unanswered >= fail_after &&
           enough_failed(shadow->failed, shadow->asked, surely ? generation->asked : NULL, CLIENTS_FROM,
                         fail_after < 2 ? 2 : fail_after, patience, now) &&
           enough_failed(shadow->failed_parts, shadow->asked_parts, surely ? generation->asked_parts : NULL,
                         PARTS, 2, patience, now);
}

static void begin_trial_pause(const struct generation *generation, struct shadow *shadow, int64_t pause)
{
    int64_t longest = longest_trial_pause(generation->settings);
    shadow->trial_pause = pause < longest ? pause : longest;
    shadow->trial_earliest = generation->world->now + SHORTEST(shadow->trial_pause);
    shadow->trial_latest = generation->world->now + LONGEST(shadow->trial_pause);
}

/* Whether a client from there has had enough answers since it tried a sick target last. */
static bool may_lose(const struct generation *generation, size_t from)
{
    bool has_anybody = false;
    for (size_t i = 0; i < CLIENTS_FROM; i++)
        has_anybody |= generation->has_tried[i];
    if (generation->has_tried[from])
        return generation->answers_since[from] >= 7;
    return !has_anybody || generation->answers >= 7;
}

void check_found(struct generation *generation, const struct mux_finding *finding)
{
    const struct world *world = generation->world;
    const struct connection *connection = connection_of_pooled(finding->connection);
    const struct target *target = connection->pooled.target;
    struct shadow *shadow = shadow_of(target);
    size_t from = finding->origin & 0xffffffff;
    from = ntohl((uint32_t)from) & 0xff;
    world_require(world, finding->verdict != MUX_FAILED || connection->requests > 0,
                  "%s fails without a request", target->settings->name);
    if (world->has_checks) /* which have to do with who is sick */
        return;
    shadow->asked[from] = world->now;
    shadow->asked_parts[finding->part] = world->now;
    if (finding->verdict == MUX_WORKS) {
        generation->answers++;
        generation->answers_since[from]++;
        world_require(world, !target->health.is_sick, "%s is sick, though it has answered",
                      target->settings->name);
        shadow->unanswered = 0;
        memset(shadow->failed, 0, sizeof shadow->failed);
        memset(shadow->failed_parts, 0, sizeof shadow->failed_parts);
    } else if (finding->verdict == MUX_FAILED && !target_is_retired(target)) {
        shadow->unanswered++;
        shadow->failed[from] = true;
        shadow->failed_parts[finding->part] = true;
        world_require(world,
                      !target->health.is_sick || shadow->is_sick || is_sickening(generation, shadow, false),
                      "%s is sick without cause", target->settings->name);
        world_require(world, target->health.is_sick || !is_sickening(generation, shadow, true),
                      "%s is not sick, though nobody gets answers", target->settings->name);
    }
    if (target->health.is_sick && !shadow->is_sick) {
        shadow->sick_since = world->now;
        begin_trial_pause(generation, shadow, generation->settings->retry_max);
    }
    if (shadow->is_sick)
        generation->last_sick = world->now;
    shadow->is_sick = target->health.is_sick;
}

/* While a target is sick, each client has one request at a time there. */
static void check_wary(const struct connection *connection)
{
    const struct world *world = connection->generation->world;
    const struct pool_connection *pooled = &connection->pooled;
    const struct shadow *shadow = shadow_of(pooled->target);
    world_require(world,
                  !check_is_left_out(pooled->target) || pooled->is_for_trial || pooled->retired ||
                      mux_connection_is_over(pooled->mux),
                  "connection %u to sick %s is kept", connection->number, pooled->target->settings->name);
    if (!shadow->is_sick || connection->opened <= shadow->sick_since)
        return;
    for (size_t i = 0; i < connection->waiting_count; i++)
        for (size_t j = 0; j < i; j++) {
            const struct request *one = &world->requests[connection->waiting[i]];
            const struct request *other = &world->requests[connection->waiting[j]];
            world_require(world, one->client != other->client || one->ended || other->ended,
                          "sick %s has two requests of a client", connection->pooled.target->settings->name);
        }
}

/* ---- Connections are made ---- */

/* To a target that is up: because somebody waits, or while warming up. */
static void check_connect_up(const struct generation *generation, const struct target *target)
{
    const struct world *world = generation->world;
    const char *name = target->settings->name;
    size_t attempts = 0;
    if (check_is_left_out(target)) {
        world_require(world, world->now >= shadow_of(target)->trial_earliest,
                      "sick %s is connected to too soon", name);
        world_require(world, check_count(target, false) == 0, "sick %s has a connection already", name);
        return;
    }
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
        attempts += other->set == target->set && !target_is_retired(other) && !check_is_left_out(other);
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

/* Who waits for the only slot of a server is overtaken by nobody twice. */
static void check_queue(const struct target *target)
{
    struct world *world = generation_of_set(target->set)->world;
    size_t generations = 0;
    list_foreach(&world->generations, node) generations++;
    list_foreach(&world->generations, node)
    {
        const struct target_set *set = &list_entry(node, struct generation, node)->set;
        for (size_t i = 0; i < set->count && set != target->set; i++) {
            struct shadow *shadow = shadow_of(set->targets[i]);
            if (shadow->waits_since != 0 && slot_is_waiting(set->targets[i]) &&
                pool_settings_address(set->targets[i]->settings) == pool_settings_address(target->settings))
                world_require(world, ++shadow->overtaken < generations, "%s is overtaken again and again",
                              target->settings->name);
        }
    }
}

void check_connect(struct target *target)
{
    struct generation *generation = generation_of_set(target->set);
    const struct world *world = generation->world;
    const char *name = target->settings->name;
    size_t count = check_count(target, true);
    if (pool_settings_address(target->settings) >= SERVERS)
        generation->name_connected = world->now;
    check_queue(target);
    world_require(world, world->now >= world->rest_until[pool_settings_address(target->settings)],
                  "%s is connected to within reconnect_delay", name);
    world_require(world, (int64_t)count < limit_of(target), "%s is connected to %zu times, of %lld", name,
                  count + 1, (long long)limit_of(target));
    world_require(world, target->state == TARGET_UP || target->state == TARGET_RETRY,
                  "%s is connected to while it is down", name);
    if (target->state == TARGET_UP)
        check_connect_up(generation, target);
    else
        world_require(world,
                      world->now >= shadow_of(target)->earliest ||
                          ((shadow_of(target)->is_trial_early || mux_has_waiting(generation->mux)) &&
                           world->now >= shadow_of(target)->down + WANTED_BACK_OFF),
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
        world_require(world, !wanted || !has_slot(target) || slot_demand(target) != SLOT_UNWANTED,
                      "warming up ends before %s has its connections", target->settings->name);
    }
}

/* ---- Requests are given out ---- */

static int64_t load_of(const struct target *target);

/* Whether somebody else asked within a minute who has not failed in this sickness. */
static bool has_better_asker(const struct generation *generation, const struct shadow *shadow, int64_t now)
{
    for (size_t i = 0; i < CLIENTS_FROM; i++)
        if (!shadow->failed[i] && may_lose(generation, i) && shadow->asked[i] != 0 &&
            now - shadow->asked[i] < MINUTE)
            return true;
    return false;
}

/* One request tries a sick target. */
static void check_trial(struct generation *generation, const struct connection *chosen,
                        const struct client *client)
{
    const struct world *world = generation->world;
    const struct target *target = chosen->pooled.target;
    struct shadow *shadow = shadow_of(target);
    world_require(world, world->now >= shadow->trial_earliest, "sick %s is tried too soon",
                  target->settings->name);
    world_require(world, load_of(target) == 0, "sick %s is tried twice at a time", target->settings->name);
    world_require(world, !target->settings->backup || !has_regular(generation),
                  "backup %s is tried, which nobody needs", target->settings->name);
    world_require(world,
                  !shadow->failed[client_from(client)] || !has_better_asker(generation, shadow, world->now),
                  "sick %s is tried by a client that has failed", target->settings->name);
    world_require(world, may_lose(generation, client_from(client)), "sick %s is tried by a client again",
                  target->settings->name);
    world_require(world, gives_way(target, false), "sick %s is tried, though it is not better elsewhere",
                  target->settings->name);
    generation->has_tried[client_from(client)] = true;
    generation->answers_since[client_from(client)] = 0;
    generation->answers = 0;
    begin_trial_pause(generation, shadow, 2 * shadow->trial_pause);
}

/* Nothing could have been tried. */
static void check_no_trial(const struct generation *generation, const struct client *client)
{
    const struct world *world = generation->world;
    const struct target *first = first_up(generation);
    for (size_t i = 0; i < generation->set.count && first != NULL; i++) {
        const struct target *target = generation->set.targets[i];
        const struct shadow *shadow = shadow_of(target);
        bool is_alike = first->settings->backup == target->settings->backup;
        bool has_its_turn = is_alike ? generation->settings->mode != MODE_FIFO || target->index < first->index
                                     : first->settings->backup;
        if (!gives_way(target, false) || target->state != TARGET_UP || target->settings->weight == 0 ||
            !has_its_turn || !may_lose(generation, client_from(client)) ||
            world->now < shadow->trial_latest || shadow->failed[client_from(client)] || load_of(target) > 0)
            continue;
        world_require(world, free_connection(target) == NULL, "sick %s is not tried", target->settings->name);
        world_require(world, check_count(target, false) > 0 || !has_slot(target),
                      "sick %s is not connected to", target->settings->name);
    }
}

static bool is_after(const struct target *target, const struct target *first)
{
    return target->settings->backup == first->settings->backup ? target->index > first->index
                                                               : target->settings->backup;
}

/* That it must not be used, or another one should have been. */
static void check_chosen(struct generation *generation, const struct connection *chosen,
                         const struct client *client)
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
    if (check_is_left_out(target)) {
        check_trial(generation, chosen, client);
        return;
    }
    check_no_trial(generation, client);
    if (generation->settings->mode != MODE_FIFO) {
        world_require(world, !target->settings->backup || !has_regular(generation),
                      "connection %u to a backup is used while another target is up", chosen->number);
        return;
    }
    const struct target *first = first_up(generation);
    bool comes_after = first != NULL && is_after(target, first);
    world_require(world, first != generation->first || !comes_after, "connection %u is used while %s is up",
                  chosen->number, first->settings->name);
    list_foreach(&world->connections, node)
    {
        const struct connection *other = list_entry(node, struct connection, node);
        bool is_idle = other->pooled.retired && other->pooled.mux != NULL &&
                       mux_connection_load(other->pooled.mux) == 0; /* it goes, and has nothing to do */
        bool is_unwanted = check_is_left_out(other->pooled.target) ||
                           (first != NULL && is_after(other->pooled.target, first));
        bool is_apart = is_idle || (is_unwanted && other->pooled.is_for_trial);
        world_require(world, other->generation != generation || is_apart || other->number >= chosen->number,
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

static bool is_starting(const struct generation *generation, const struct target *target)
{
    return target->up_since != 0 &&
           generation->world->now - target->up_since < generation->settings->slow_start * 1000;
}

/* Its share of the work: a tenth of its weight when it comes up, then growing. */
static double share_of(const struct generation *generation, const struct target *target)
{
    double share = (double)target->settings->weight;
    if (!is_starting(generation, target))
        return share;
    double passed = (double)(generation->world->now - target->up_since);
    return share * (0.1 + 0.9 * passed / (1000.0 * (double)generation->settings->slow_start));
}

/* Of the targets that had a free connection, the right one was picked; nothing had to be connected for it. */
static void check_balance(struct generation *generation, const struct client *client,
                          const struct target *picked)
{
    const struct world *world = generation->world;
    size_t mask = 0;
    bool only_free = true; /* nothing could have been connected instead */
    bool is_steady = true; /* shares do not grow */
    for (size_t i = 0; i < generation->set.count; i++) {
        const struct target *target = generation->set.targets[i];
        if (target->settings->weight == 0 || target->settings->backup != picked->settings->backup ||
            check_is_left_out(target))
            continue;
        is_steady &= !is_starting(generation, target);
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
                (double)load_of(picked) * share_of(generation, target) <=
                    (double)load_of(target) * share_of(generation, picked) * 1.02, /* for its rounding */
            "%s is picked, though %s has less to do", picked->settings->name, target->settings->name);
    }
    if (generation->settings->balance != BALANCE_SOURCE || !only_free || !is_steady)
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
        if (connection->generation == generation && !connection->pooled.target->settings->backup &&
            !check_is_left_out(connection->pooled.target))
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
    check_chosen(generation, chosen, client);
    if (generation->settings->mode != MODE_FIFO && connects == 0 && !check_is_left_out(chosen->pooled.target))
        check_balance(generation, client, chosen->pooled.target);
}

/* ---- Connections end ---- */

bool check_settles(const struct connection *connection)
{
    const struct target *target = connection->pooled.target;
    const struct world *world = connection->generation->world;
    bool is_alone =
        list_empty(&world->attempts) && world->connections.head.next == world->connections.head.previous;
    return world->now < world->settle_until[pool_settings_address(target->settings)] && is_alone;
}

void check_connection_ended(const struct connection *connection)
{
    struct world *world = connection->generation->world;
    size_t address = pool_settings_address(connection->pooled.target->settings);
    bool left = connection->closed_by_server && !connection->was_reset && connection->has_answered;
    int64_t rest = world->now + connection->pooled.target->set->settings.reconnect_delay * 1000;
    if (rest > world->rest_until[address])
        world->rest_until[address] = rest;
    world->settle_until[address] = world->now + SETTLE_SPAN;
    if (left) /* perhaps at an address that is that of a name, too */
        memset(world->settle_until, 0, sizeof world->settle_until);
    const struct generation *generation = connection->generation;
    const struct pool_connection *pooled = &connection->pooled;
    int64_t lived = generation->world->now - connection->opened;
    bool could_be_used = !connection->closed_by_server && lived >= connection->connect_delay * 1000;
    bool was_short = lived < connection->retry_min * 1000 && !could_be_used;
    if (connection->requests == 0 && was_short && !pooled->retired && !target_is_retired(pooled->target))
        shadow_of(pooled->target)->short_lived = generation->world->now + SHORTEST(connection->retry_min);
}

/* Whether all slots of a server are taken, some for a target of this address that is up, or was. */
static bool is_taken(const struct target *target)
{
    struct world *world = generation_of_set(target->set)->world;
    struct list *const lists[] = { &world->attempts, &world->connections };
    bool answers = false;
    int64_t count = 0;
    for (size_t i = 0; i < 2; i++)
        list_foreach(lists[i], node)
        {
            const struct target *other = i == 0 ? list_entry(node, struct attempt, node)->target
                                                : list_entry(node, struct connection, node)->pooled.target;
            if (pool_settings_address(other->settings) != pool_settings_address(target->settings))
                continue;
            answers = answers || other->state == TARGET_UP || target_is_retired(other);
            count++;
        }
    return answers && world->slots_each >= 0 && count >= world->slots_each;
}

/* Whether a target that is not up has no slot to be tried with while another one answers by it, or gets its slot. What
 * counts at the addresses of names is not counted here. */
static bool is_busy(const struct target *target)
{
    const struct world *world = generation_of_set(target->set)->world;
    bool is_busy = slot_is_busy(target);
    if (target->state == TARGET_UP || target->settings->weight == 0)
        return false;
    world_require(world, is_busy || !is_taken(target), "%s is said to be down, but is busy",
                  target->settings->name);
    world_require(world, !is_busy || world->slots_each >= 0, "%s is said to be busy, but is down",
                  target->settings->name);
    world_require(world, !target->has_turn || target->state == TARGET_RETRY || target->state == TARGET_TRYING,
                  "%s is not tried, though it has its turn", target->settings->name);
    return is_busy;
}

/* ---- After each step ---- */

bool check_is_down(const struct generation *generation)
{
    for (size_t i = 0; i < generation->set.count; i++)
        if (takes_work(generation->set.targets[i]) || is_busy(generation->set.targets[i]))
            return false;
    list_foreach(&generation->world->connections, node)
    {
        const struct connection *connection = list_entry(node, struct connection, node);
        if (connection->generation == generation && connection->pooled.state == POOL_HEALTHY &&
            !connection->pooled.retired && connection->pooled.mux != NULL &&
            !mux_connection_is_over(connection->pooled.mux))
            return false;
    }
    return true;
}

int64_t check_down_since(const struct request *request)
{
    const struct generation *generation = request->client->generation;
    return request->asked > generation->down_since ? request->asked : generation->down_since;
}

/* Whether a connection has been given requests, which do not wait any more though no server may have taken them. */
static bool has_given(const struct generation *generation)
{
    list_foreach(&generation->world->connections, node)
    {
        const struct connection *connection = list_entry(node, struct connection, node);
        if (connection->generation == generation && connection->pooled.mux != NULL &&
            mux_connection_load(connection->pooled.mux) > 0)
            return true;
    }
    return false;
}

/* While no target can be used, nothing waits longer than it has to; what waits is known for long. */
static void check_waiting(struct generation *generation)
{
    struct world *world = generation->world;
    bool is_down = check_is_down(generation), is_wanted = mux_waiting(generation->mux) > 0;
    int64_t timeout = generation->settings->down_timeout;
    if (is_down && !generation->is_down) {
        generation->down_since = world->now;
        generation->down_least = timeout < 0 ? INT64_MAX : timeout;
    }
    if (is_wanted && !generation->is_wanted)
        generation->wanted_since = world->now;
    bool is_held = stream_pool_is_held(&generation->pool);
    if (is_held || generation->is_held) /* time stands, or has just stood, still */
        generation->down_changed = world->now;
    generation->is_held = is_held;
    /* What comes back from a connection ends when time goes on; and a target may have been busy for a moment. */
    bool may_be_given = generation->given == world->now || world->slots_each >= 0;
    if (has_given(generation)) {
        may_be_given = true;
        generation->given = INT64_MAX;
    } else if (generation->given == INT64_MAX) {
        may_be_given = true;
        generation->given = world->now;
    }
    generation->is_down = is_down;
    generation->is_wanted = is_wanted;
    for (size_t i = 0; i < world->request_count && is_down && timeout >= 0; i++) {
        struct request *request = &world->requests[i];
        if (request->ended || request->connections > 0 || request->client->generation != generation)
            continue;
        int64_t since = check_down_since(request);
        request->was_down = request->was_down || world->now >= since + generation->down_least * 1000;
        if (may_be_given ||
            request->client->requests[request->client->ended] != i) /* its error may wait for its turn */
            continue;
        if (since < generation->down_changed)
            since = generation->down_changed;
        world_require(world, world->now <= since + timeout * 1000,
                      "request %zu waits, though every target is down", i);
    }
}

/* Whether it has a connection that it may use, or will. */
static bool has_connection(const struct generation *generation)
{
    const struct world *world = generation->world;
    list_foreach(&world->attempts, node)
    {
        if (list_entry(node, struct attempt, node)->target->set == &generation->set)
            return true;
    }
    list_foreach(&world->connections, node)
    {
        const struct connection *connection = list_entry(node, struct connection, node);
        if (connection->generation == generation && !target_is_retired(connection->pooled.target))
            return true;
    }
    return false;
}

bool check_is_held(const struct generation *generation)
{
    bool is_held = false;
    if (mux_waiting(generation->mux) == 0 || has_connection(generation))
        return false;
    for (size_t i = 0; i < generation->set.count; i++) {
        const struct target *target = generation->set.targets[i];
        if (!takes_work(target))
            continue;
        if ((int64_t)check_count(target, true) < limit_of(target) || is_resting(target))
            return false;
        is_held = true;
    }
    return is_held;
}

/* Connections that may be given requests. */
static int64_t count_in_use(const struct target *target)
{
    struct world *world = generation_of_set(target->set)->world;
    int64_t count = 0;
    list_foreach(&world->connections, node)
    {
        const struct pool_connection *pooled = &list_entry(node, struct connection, node)->pooled;
        count += pooled->target == target && !pooled->retired;
    }
    return count;
}

/* One that was just made, and need not settle, can take a request at once. */
static void check_new_connections(const struct world *world)
{
    list_foreach(&world->connections, node)
    {
        const struct connection *connection = list_entry(node, struct connection, node);
        const struct mux_connection *mux = connection->pooled.mux;
        if (connection->opened == world->now && connection->ready == world->now && mux != NULL &&
            connection->generation->settings->connect_delay == 0 && !connection->may_settle)
            world_require(world, connection->pooled.was_ready || mux_connection_is_over(mux),
                          "connection %u takes no request, for no reason", connection->number);
    }
}

/* Who holds the only slot of a server gives it up for a listener that has none: at once after its turn, and with
 * work not before that. */
static void check_turns(struct world *world, const struct target *waiting)
{
    struct shadow *shadow = shadow_of(waiting);
    bool waits = world->slots_each == 1 && slot_is_waiting(waiting) && check_count(waiting, true) == 0 &&
                 pool_settings_address(waiting->settings) < SERVERS;
    if (!waits)
        shadow->waits_since = 0;
    else if (shadow->waits_since == 0)
        shadow->waits_since = world->now;
    shadow->overtaken = waits ? shadow->overtaken : 0;
    list_foreach(&world->connections, node)
    {
        const struct connection *connection = list_entry(node, struct connection, node);
        const struct pool_connection *pooled = &connection->pooled;
        int64_t since = connection->usable > shadow->waits_since ? connection->usable : shadow->waits_since;
        world_require(
            world,
            !waits || connection->usable == 0 || pooled->retired || mux_connection_is_over(pooled->mux) ||
                connection->server != pool_settings_address(waiting->settings) || world->now < since + TURN,
            "connection %u keeps its slot, though %s waits", connection->number, waiting->settings->name);
    }
}

static void check_retired(const struct world *world, struct connection *connection)
{
    const struct pool_connection *pooled = &connection->pooled;
    const struct target_settings *settings = pooled->target->settings;
    const struct listener_settings *listener = connection->generation->settings;
    bool is_for_slot = pooled->retired && !connection->was_retired && !target_is_draining(pooled->target) &&
                       !pooled->is_extra && !settings->backup && listener->mode == MODE_FUNNEL &&
                       listener->fail_after < 0 && pool_settings_address(settings) < SERVERS;
    if (connection->usable == 0 && pooled->was_ready)
        connection->usable = world->now;
    world_require(world,
                  !is_for_slot || mux_connection_load(pooled->mux) == 0 ||
                      world->now >= connection->usable + TURN,
                  "connection %u gives its slot up before its turn is over", connection->number);
    connection->was_retired = pooled->retired;
}

/* What is no door's belongs to clients that have gone. */
static void check_doors(const struct generation *generation)
{
    struct mux_door sum = { 0 };
    for (size_t i = 0; i < DOORS; i++) {
        sum.waiting += generation->doors[i].waiting;
        sum.in_flight += generation->doors[i].in_flight;
    }
    world_require(generation->world, sum.waiting == mux_waiting(generation->mux),
                  "%zu clients wait, %zu at doors", mux_waiting(generation->mux), sum.waiting);
    world_require(generation->world, sum.in_flight <= stream_pool_load(&generation->pool, NULL),
                  "doors have %zu requests in flight, which is more than there are", sum.in_flight);
}

void check_world(struct world *world)
{
    list_foreach(&world->connections, node) check_retired(world, list_entry(node, struct connection, node));
    check_new_connections(world);
    list_foreach(&world->connections, node) check_wary(list_entry(node, struct connection, node));
    list_foreach(&world->generations, node)
    {
        struct generation *generation = list_entry(node, struct generation, node);
        check_doors(generation);
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
        check_waiting(generation);
        for (size_t i = 0; i < generation->set.count; i++) {
            const struct target *target = generation->set.targets[i];
            world_require(world, check_count(target, false) == (size_t)target->connections,
                          "%s has %zu connections, not %lld", target->settings->name,
                          check_count(target, false), (long long)target->connections);
            world_require(world, count_in_use(target) <= limit_of(target),
                          "%s has %lld connections in use, of %lld", target->settings->name,
                          (long long)count_in_use(target), (long long)limit_of(target));
            world_require(world, slot_rested_first(target) == 0 || slot_rested_first(target) > world->now,
                          "reconnect_delay of %s does not end", target->settings->name);
            world_require(world, health_is_left_out(target) == check_is_left_out(target),
                          "%s is left out, or is not", target->settings->name);
            check_turns(world, target);
            shadow_follow(generation, target);
            if (target->health.is_sick)
                generation->last_sick = world->now;
        }
    }
}
