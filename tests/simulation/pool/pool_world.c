/* A run: its settings, its steps, its end. */
#include "simulation/pool/pool_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* In which everything that has happened has to have brought about all that follows. */
#define ROUNDS_MAX 1000

/* Generations at a time. */
#define GENERATIONS_MAX 3

/* ---- Saying things ---- */

void world_fail(const struct world *world, const char *format, ...)
{
    va_list arguments;
    printf("seed %llu fails in step %lu: ", (unsigned long long)world->seed, world->steps);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\nsee it with: pool_simulation --seed %llu --trace\n", (unsigned long long)world->seed);
    exit(1);
}

void world_trace(const struct world *world, const char *format, ...)
{
    va_list arguments;
    if (!world->trace)
        return;
    printf("%6lu %12.3f  ", world->steps, (double)world->now / 1000);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* ---- Generations ---- */

static struct generation *generation_at(struct list_node *node)
{
    return list_entry(node, struct generation, node);
}

static struct mux_connection *hook_choose(void *owner, void *client_owner)
{
    struct generation *generation = owner;
    const struct client *client = client_owner;
    size_t before = generation->world->connects;
    struct mux_connection *chosen =
        stream_pool_choose(&generation->pool, &client->address, generation->world->now);
    check_choose(generation, client, chosen, generation->world->connects - before);
    return chosen;
}

static struct mux_connection *hook_choose_check(void *owner, void *client)
{
    struct generation *generation = owner;
    return stream_pool_choose_check(&generation->pool, client, generation->world->now);
}

static void hook_check_ended(void *owner, const struct mux_ending *ending)
{
    (void)owner;
    stream_pool_check_ended(ending);
}

static size_t hook_opening(void *owner)
{
    const struct generation *generation = owner;
    return stream_pool_opening(&generation->pool);
}

static struct mux_settings generation_plain(struct generation *generation)
{
    const struct listener_settings *settings = generation->settings;
    return (struct mux_settings){
        .protocol = &generation->protocol,
        .in_order = settings->mode == MODE_FIFO,
        .depth = settings->async ? 4 : 1,
        .pipeline_depth = 4,
        .buffer_limit = 4096,
        .memory_limit = 1 << 20,
        .max_message = -1,
        .queue_limit = 1024,
        .queue_timeout = settings->queue_timeout,
        .down_timeout = settings->down_timeout,
        .settle_pause = SETTLE_PAUSE,
        .request_timeout = settings->request_timeout,
        .stall_timeout = -1,
        .client_idle_timeout = -1,
        .inactivity_timeout = settings->inactivity_timeout,
        .connect_delay = settings->connect_delay,
        .connection_ttl = settings->connection_ttl,
        .max_requests = settings->max_requests_per_connection,
        .observe_request = 0,
    };
}

static struct listener_settings *world_make_settings(struct world *world, size_t listener,
                                                     const struct listener_settings *before)
{
    struct listener_settings *settings = pool_settings_make(world, listener, before);
    world->settings[world->settings_count++] = settings;
    pool_settings_trace(world, settings);
    return settings;
}

static void generation_create(struct world *world, size_t listener, struct listener_settings *settings)
{
    static const struct mux_hooks hooks = {
        .choose = hook_choose,
        .choose_apart = hook_choose_check,
        .ended_apart = hook_check_ended,
        .opening = hook_opening,
        .ended = client_request_ended,
        .found = client_request_found,
    };
    struct generation *generation = calloc(1, sizeof *generation);
    world_require(world, generation != NULL, "no memory");
    generation->world = world;
    generation->number = ++world->generation_count;
    generation->listener = listener;
    generation->settings = settings;
    generation->protocol = (struct protocol_settings){
        .protocol = &made_up_protocol, .is_async = settings->async, .head_limit = 4096, .max_message = -1
    };
    list_append(&world->generations, &generation->node);
    struct mux_settings plain = generation_plain(generation);
    generation->mux = mux_create(&plain, &hooks, generation);
    stream_pool_init(&generation->pool, &made_up_pool, generation, generation->mux, settings);
    bool opened =
        target_set_open(&generation->set, &made_up_driver, &stream_pool_hooks, &generation->pool,
                        &world->slots, random_next(&world->random), listener_settings_targets(settings));
    world_require(world, opened && generation->mux != NULL, "no memory");
    generation->pool.targets = &generation->set;
    world_trace(world, "generation %u begins", generation->number);
    stream_pool_start(&generation->pool, world->now);
}

static void world_bury(struct world *world)
{
    list_foreach(&world->dead, node)
    {
        struct connection *connection = list_entry(node, struct connection, node);
        list_remove(node);
        buffer_free(&connection->input);
        free(connection);
    }
}

static void generation_destroy(struct generation *generation)
{
    struct world *world = generation->world;
    world_trace(world, "generation %u ends", generation->number);
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &generation->clients[i];
        if (client->mux == NULL)
            continue;
        client->leaving = true;
        mux_client_close(client->mux, world->now);
        buffer_free(&client->input);
    }
    stream_pool_close(&generation->pool, world->now);
    target_set_close(&generation->set);
    mux_destroy(generation->mux);
    world_bury(world);
    list_remove(&generation->node);
    free(generation);
}

static bool generation_has_clients(const struct generation *generation)
{
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (generation->clients[i].mux != NULL)
            return true;
    return false;
}

/* ---- What follows from what has happened ---- */

/* As a turn of the loop does it. Returns whether there was anything. */
static bool generation_work(struct generation *generation)
{
    struct world *world = generation->world;
    struct mux_connection *connection;
    struct mux_client *client;
    bool worked = generation->touched || generation->woken;
    generation->touched = false;
    if (generation->woken) {
        generation->woken = false;
        target_set_tick(&generation->set, world->now);
        world_require(
            world, target_set_due(&generation->set) > world->now || generation->set.has_usable,
            "what was due of targets is due again"); /* else a slot that one leaves is another one's */
    }
    stream_pool_review(&generation->pool, world->now);
    while ((connection = mux_changed_connection(generation->mux)) != NULL) {
        stream_pool_progress(mux_connection_owner(connection), world->now);
        worked = true;
    }
    while ((client = mux_changed_client(generation->mux)) != NULL) {
        client_look(mux_client_owner(client));
        worked = true;
    }
    mux_hold_queue(generation->mux, stream_pool_is_held(&generation->pool), world->now);
    return worked || generation->touched || generation->woken;
}

static void generation_tick(struct generation *generation)
{
    struct world *world = generation->world;
    if (target_set_due(&generation->set) <= world->now)
        generation->woken = true;
    if (stream_pool_due(&generation->pool) <= world->now) {
        stream_pool_tick(&generation->pool, world->now);
        world_require(world, stream_pool_due(&generation->pool) > world->now,
                      "what was due of a pool is due again");
    }
    if (mux_due(generation->mux) <= world->now)
        mux_tick(generation->mux, world->now);
}

void world_settle(struct world *world)
{
    bool worked = true;
    for (unsigned rounds = 0; worked; rounds++) {
        world_require(world, rounds < ROUNDS_MAX, "it does not come to rest");
        worked = false;
        list_foreach(&world->generations, node)
        {
            worked |= generation_work(generation_at(node));
        }
    }
    world_bury(world);
    list_foreach(&world->generations, node)
    {
        struct generation *generation = generation_at(node);
        if (generation->leaving && !generation_has_clients(generation)) {
            generation_destroy(generation);
            world_settle(world);
            return;
        }
    }
}

/* ---- Time ---- */

static void earlier(int64_t *next, int64_t due)
{
    if (due < *next)
        *next = due;
}

static int64_t world_next(const struct world *world)
{
    int64_t next = INT64_MAX;
    list_foreach(&world->generations, node)
    {
        const struct generation *generation = generation_at(node);
        earlier(&next, mux_due(generation->mux));
        earlier(&next, stream_pool_due(&generation->pool));
        earlier(&next, target_set_due(&generation->set));
    }
    list_foreach(&world->attempts, node) earlier(&next, attempt_due(list_entry(node, struct attempt, node)));
    list_foreach(&world->connections, node)
        earlier(&next, connection_due(list_entry(node, struct connection, node)));
    return next;
}

static void world_advance(struct world *world, int64_t now)
{
    list_foreach(&world->generations, node)
    {
        struct generation *generation = generation_at(node);
        if (check_is_held(generation))
            generation->held += now - world->now;
    }
    world->now = now;
    list_foreach(&world->generations, node)
    {
        generation_tick(generation_at(node));
    }
    world_settle(world);
}

/* ---- What happens ---- */

static void world_change_server(struct world *world)
{
    struct random *random = &world->random;
    struct server *server = &world->servers[random_below(random, SERVERS)];
    server->mood = random_chance(random, 50) ? MOOD_GOOD : (enum mood)random_below(random, MOODS);
    world_trace(world, "server %zu is in mood %d", (size_t)(server - world->servers), server->mood);
}

static void name_choose(struct world *world, struct name *name)
{
    name->count = random_between(&world->random, 1, ADDRESSES_OF_NAME);
    for (size_t i = 0; i < name->count; i++)
        name->servers[i] = random_below(&world->random, SERVERS);
    name->changed = world->now;
}

/* It has other addresses, and those who keep connections learn of it. */
static void world_change_name(struct world *world)
{
    struct name *name = &world->names[random_below(&world->random, NAMES)];
    size_t address = SERVERS + (size_t)(name - world->names);
    struct address addresses[ADDRESSES_OF_NAME];
    name_choose(world, name);
    world_trace(world, "name%zu has other addresses", address);
    for (size_t i = 0; i < name->count; i++)
        addresses[i] = world->servers[name->servers[i]].address;
    list_foreach(&world->generations, node)
    {
        struct generation *generation = generation_at(node);
        for (size_t i = 0; i < generation->set.count; i++) {
            struct target *target = generation->set.targets[i];
            if (pool_settings_address(target->settings) == address)
                stream_pool_hooks.looked_up(&generation->pool, target, addresses, name->count, world->now);
        }
    }
}

static void generation_leave(struct generation *generation)
{
    generation->leaving = true;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (generation->clients[i].mux != NULL)
            mux_client_leave(generation->clients[i].mux, generation->world->now);
}

struct generation *world_current(const struct world *world, size_t listener)
{
    struct generation *current = NULL;
    list_foreach(&world->generations, node)
    {
        if (generation_at(node)->listener == listener)
            current = generation_at(node);
    }
    return current;
}

static size_t world_generations(const struct world *world)
{
    size_t count = 0;
    list_foreach(&world->generations, node) count++;
    return count;
}

static void world_reload(struct world *world)
{
    size_t listener = random_below(&world->random, world->listeners);
    struct generation *generation = world_current(world, listener);
    size_t descriptors;
    if (world->settings_count == sizeof world->settings / sizeof world->settings[0])
        return;
    world_trace(world, "reload");
    struct listener_settings *settings = world_make_settings(world, listener, generation->settings);
    if (settings->mode != generation->settings->mode || settings->async != generation->settings->async) {
        if (world_generations(world) >= GENERATIONS_MAX + world->listeners - 1) {
            pool_settings_free(settings);
            world->settings_count--;
            return;
        }
        generation_leave(generation);
        generation_create(world, listener, settings);
        return;
    }
    bool prepared = stream_pool_prepare(&generation->pool, settings, &descriptors);
    world_require(world, prepared, "no memory");
    if (random_chance(&world->random, 10)) {
        stream_pool_rollback(&generation->pool);
        pool_settings_free(settings);
        world->settings_count--;
        return;
    }
    const struct target *before[ADDRESSES] = { NULL };
    for (size_t i = 0; i < generation->set.count; i++)
        before[pool_settings_address(generation->set.targets[i]->settings)] = generation->set.targets[i];
    generation->settings = settings;
    stream_pool_commit(&generation->pool, settings, world->now);
    check_identity(generation, before);
    struct mux_settings plain = generation_plain(generation);
    mux_reconfigure(generation->mux, &plain, world->now);
    check_reloaded(generation);
}

/* The list has this many. */
static size_t list_length(const struct list *list)
{
    size_t length = 0;
    list_foreach(list, node) length++;
    return length;
}

static struct list_node *list_pick(struct world *world, const struct list *list)
{
    size_t skipped = random_below(&world->random, list_length(list));
    struct list_node *picked = list->head.next;
    while (skipped-- > 0)
        picked = picked->next;
    return picked;
}

static bool world_client_acts(struct world *world)
{
    if (world->calm)
        return false;
    struct generation *generation = generation_at(list_pick(world, &world->generations));
    struct client *client = &generation->clients[random_below(&world->random, CLIENTS_MAX)];
    if (client->mux != NULL)
        return client_act(client);
    if (generation->leaving || !generation->is_ready || !random_chance(&world->random, 50))
        return false;
    client_arrive(client, generation);
    return true;
}

static bool world_attempt_ends(struct world *world)
{
    return !list_empty(&world->attempts) &&
           attempt_act(list_entry(list_pick(world, &world->attempts), struct attempt, node));
}

static bool world_connection_acts(struct world *world)
{
    return !list_empty(&world->connections) &&
           connection_act(list_entry(list_pick(world, &world->connections), struct connection, node));
}

/* Bytes that servers could take, or answers that are due. */
static bool world_has_output(const struct world *world)
{
    list_foreach(&world->connections, node)
    {
        const struct connection *connection = list_entry(node, struct connection, node);
        if (connection_due(connection) <= world->now ||
            mux_connection_output(connection->pooled.mux).length > 0)
            return true;
    }
    return false;
}

/* Something happens, or a little time passes. */
static void world_step(struct world *world)
{
    struct random *random = &world->random;
    world->steps++;
    bool acted = false;
    switch (random_below(random, 12)) {
    case 0:
    case 1:
    case 2:
        acted = world_client_acts(world);
        break;
    case 3:
    case 4:
        acted = world_attempt_ends(world);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        acted = world_connection_acts(world);
        break;
    case 9:
        if (!world->calm && random_chance(random, 15))
            world_reload(world);
        else if (!world->calm && random_chance(random, 30))
            world_change_server(world);
        else if (!world->calm && random_chance(random, 10))
            world_change_name(world);
        acted = true;
        break;
    default:
        break;
    }
    if (acted) {
        world_settle(world);
    } else {
        int64_t next = world_next(world);
        int64_t step = (int64_t)random_below(random, world->calm && world_has_output(world) ? 100 : 3000);
        if (world->calm && world_has_output(world))
            next = INT64_MAX; /* servers that are well take what there is */
        if (next != INT64_MAX && next > world->now && random_chance(random, 30))
            step = next - world->now - (int64_t)random_below(random, 2);
        else if (!world->calm && random_chance(random, 3))
            step = (int64_t)random_below(random, 300000);
        world_advance(world, world->now + step);
    }
    check_world(world);
}

/* ---- Rest ---- */

/* The number of a generation with somebody who waits for an answer; 0: there is none. */
static unsigned world_waiting(const struct world *world)
{
    list_foreach(&world->generations, node)
    {
        const struct generation *generation = generation_at(node);
        for (size_t i = 0; i < CLIENTS_MAX; i++)
            if (!client_is_idle(&generation->clients[i]))
                return generation->number;
    }
    return 0;
}

/* Until nothing is outstanding, within so many microseconds. */
static void world_rest(struct world *world, int64_t most)
{
    int64_t end = world->now + most;
    while (world_waiting(world) != 0) {
        world_require(world, world->now < end, "generation %u waits for ever", world_waiting(world));
        world_step(world);
    }
}

/* So much time passes, in which nobody asks for anything. */
static void world_pass(struct world *world, int64_t most)
{
    int64_t end = world->now + most;
    while (world->now < end)
        world_step(world);
}

/* Everybody asks once more, and is answered. */
static void world_ask_all(struct world *world)
{
    size_t first = world->request_count;
    list_foreach(&world->generations, node)
    {
        struct generation *generation = generation_at(node);
        if (!generation->leaving && generation->is_ready && generation->clients[0].mux == NULL)
            client_arrive(&generation->clients[0], generation);
        for (size_t i = 0; i < CLIENTS_MAX; i++)
            if (generation->clients[i].mux != NULL && !generation->clients[i].leaving)
                client_ask(&generation->clients[i]);
    }
    world_settle(world);
    world_rest(world, 20000000);
    for (size_t i = first; i < world->request_count; i++)
        world_require(world, world->requests[i].answered || world->requests[i].waited_too_long,
                      "request %zu is not answered, though all is well", i);
}

/* From here on all goes well. */
static void world_calm_down(struct world *world)
{
    world->calm = true;
    world_trace(world, "calm");
    for (size_t i = 0; i < SERVERS; i++)
        world->servers[i].mood = MOOD_GOOD;
    world_rest(world, KERNEL_GIVES_UP + 60000000);
    world_pass(world, 30000000);
    for (int64_t end = world->now + KERNEL_GIVES_UP; world->now < end && !list_empty(&world->attempts);)
        world_step(world); /* attempts that hang since before end */
    world_ask_all(world);
}

void world_run(uint64_t seed, bool trace)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL)
        abort();
    world->seed = seed;
    world->trace = trace;
    world->now = 1000000;
    random_seed(&world->random, seed);
    list_init(&world->generations);
    list_init(&world->attempts);
    list_init(&world->connections);
    list_init(&world->dead);
    for (size_t i = 0; i < SERVERS; i++) {
        world->servers[i].address.family = AF_INET;
        world->servers[i].address.v4.sin_addr.s_addr = htonl(0xc0000201U + (uint32_t)i);
        world->servers[i].address.v4.sin_port = htons(PORT);
        world->servers[i].mood =
            random_chance(&world->random, 60) ? MOOD_GOOD : (enum mood)random_below(&world->random, MOODS);
    }
    for (size_t i = 0; i < NAMES; i++)
        name_choose(world, &world->names[i]);
    world->listeners = random_chance(&world->random, 50) ? 1 : random_between(&world->random, 2, LISTENERS);
    world->has_checks = random_chance(&world->random, 25);
    world->slots_each =
        random_chance(&world->random, 50) ? -1 : (int64_t)random_between(&world->random, 1, 3);
    for (size_t i = 0; i < world->listeners; i++)
        generation_create(world, i, world_make_settings(world, i, NULL));
    world_settle(world);
    for (size_t steps = random_between(&world->random, 50, 800); steps > 0; steps--)
        world_step(world);
    world_calm_down(world);
    while (!list_empty(&world->generations))
        generation_destroy(generation_at(list_first(&world->generations)));
    world_require(world, world->slots == NULL, "slots are held for nobody");
    world_require(world, list_empty(&world->attempts) && list_empty(&world->connections),
                  "connections are left over");
    while (world->settings_count > 0)
        pool_settings_free(world->settings[--world->settings_count]);
    free(world);
}
