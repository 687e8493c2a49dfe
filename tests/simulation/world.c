/* A run: its settings, its steps, its end. */
#include "simulation/world.h"
#include "simulation/dialect.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So often there is a reload. */
#define RELOAD_STEPS 29

/* Steps in which a run has to come to rest. */
#define STEPS_MAX 400000

/* So many in a row, in which nothing changes, are rest: some do nothing only by chance. */
#define IDLE_STEPS 300

/* ---- Saying things ---- */

void world_fail(const struct world *world, const char *format, ...)
{
    va_list arguments;
    printf("seed %llu fails in step %lu (%s): ", (unsigned long long)world->seed, world->steps,
           world->dialect->name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\nsee it with: simulation --seed %llu --trace\n", (unsigned long long)world->seed);
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

/* ---- Settings ---- */

/* A timeout: disabled, so short that it fires, or so long that it does not. */
static int64_t choose_timeout(struct world *world)
{
    if (random_chance(&world->random, 25))
        return -1;
    if (!world_has(world, FAULT_SHORT_TIMES))
        return 3600000;
    return (int64_t)random_between(&world->random, 1, 120);
}

/* -1 mostly. */
static int64_t choose_limit(struct world *world, size_t most)
{
    return random_chance(&world->random, 80) ? -1 : (int64_t)random_between(&world->random, 1, most);
}

/* None, one, or many. */
static uint32_t choose_faults(struct random *random)
{
    uint32_t all = (1U << FAULT_COUNT) - 1;
    switch (random_below(random, 8)) {
    case 0:
        return 0;
    case 1:
    case 2:
        return 1U << random_below(random, FAULT_COUNT);
    case 3:
        return 1U << random_below(random, FAULT_COUNT) | 1U << FAULT_SHORT_TIMES;
    case 4:
        return (uint32_t)random_next(random) & all;
    case 5:
        return 1U << random_below(random, FAULT_COUNT) | 1U << random_below(random, FAULT_COUNT);
    default:
        return (uint32_t)(random_next(random) & random_next(random)) & all;
    }
}

/* Half of the runs have none. */
static void choose_rates(struct world *world)
{
    static const int64_t rates[] = { -1, -1, -1, -1, -1, -1, 2, 30 };
    static const int64_t rates_each[] = { -1, -1, -1, -1, -1, -1, 1, 8 };
    uint64_t number = world->seed / 3 + world->steps;
    world->settings.request_rate = rates[number % 8];
    world->settings.request_rate_each = rates_each[number / 8 % 8];
}

static void choose_times(struct world *world)
{
    struct mux_settings *settings = &world->settings;
    settings->queue_timeout = choose_timeout(world);
    settings->request_timeout = choose_timeout(world);
    settings->stall_timeout = choose_timeout(world);
    settings->client_idle_timeout = choose_timeout(world);
    settings->inactivity_timeout = choose_limit(world, 40);
    settings->connect_delay =
        random_chance(&world->random, 10) ? (int64_t)random_below(&world->random, 10) : 0;
    settings->request_gap = random_chance(&world->random, 10) ? (int64_t)random_below(&world->random, 6) : 0;
    settings->connection_ttl =
        random_chance(&world->random, 80) ? -1 : (int64_t)random_between(&world->random, 30, 90);
    settings->max_requests = choose_limit(world, 10);
}

/* All sizes but that of one read. */
static void choose_limits(struct world *world)
{
    static const size_t buffer_limits[] = { 48, 64, 100, 256, 1000, 4096, 65536 };
    static const size_t pipeline_depths[] = { 1, 2, 8, 1024 };
    struct random *random = &world->random;
    struct mux_settings *settings = &world->settings;
    settings->buffer_limit = random_pick(random, buffer_limits);
    if (settings->buffer_limit < world->dialect->head_limit)
        settings->buffer_limit = world->dialect->head_limit;
    settings->pipeline_depth = random_pick(random, pipeline_depths);
    settings->memory_limit = world_has(world, FAULT_SHORT_MEMORY)
                                 ? random_between(random, 1000, 4000 + 8 * settings->buffer_limit)
                                 : 256 << 20;
    settings->queue_limit = world_has(world, FAULT_SHORT_QUEUE) ? random_between(random, 1, 3) : 1024;
    settings->max_message = -1;
    if (world_has(world, FAULT_LONG_MESSAGE))
        settings->max_message = (int64_t)random_between(random, 20, 3 * settings->buffer_limit);
}

static void choose_read_size(struct world *world)
{
    static const size_t read_sizes[] = { 16, 64, 256, 4096, 65536 };
    size_t least = world->settings.buffer_limit / 64;
    world->read_size = random_pick(&world->random, read_sizes);
    if (world->read_size < least)
        world->read_size = least;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Of two numbers that a negative value disables: the smaller enabled one, or the larger or disabled one. */
static int64_t sooner(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static int64_t later(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? a : b;
}

/* What may still be in force of settings that are not any more. */
static void widen_settings(struct world *world)
{
    const struct mux_settings *settings = &world->settings;
    struct mux_settings *least = &world->least;
    struct mux_settings *most = &world->most;
    least->buffer_limit = smaller(least->buffer_limit, settings->buffer_limit);
    least->queue_timeout = sooner(least->queue_timeout, settings->queue_timeout);
    least->request_timeout = sooner(least->request_timeout, settings->request_timeout);
    least->stall_timeout = sooner(least->stall_timeout, settings->stall_timeout);
    least->client_idle_timeout = sooner(least->client_idle_timeout, settings->client_idle_timeout);
    least->request_rate = sooner(least->request_rate, settings->request_rate);
    least->request_rate_each = sooner(least->request_rate_each, settings->request_rate_each);
    least->connect_delay = sooner(least->connect_delay, settings->connect_delay);
    least->request_gap = sooner(least->request_gap, settings->request_gap);
    most->buffer_limit = larger(most->buffer_limit, settings->buffer_limit);
    most->memory_limit = larger(most->memory_limit, settings->memory_limit);
    most->queue_limit = larger(most->queue_limit, settings->queue_limit);
    most->depth = larger(most->depth, settings->depth);
    most->max_requests = later(most->max_requests, settings->max_requests);
    most->request_timeout = later(most->request_timeout, settings->request_timeout);
    most->request_rate = later(most->request_rate, settings->request_rate);
    most->request_rate_each = later(most->request_rate_each, settings->request_rate_each);
}

static void choose_settings(struct world *world)
{
    struct random *random = &world->random;
    struct mux_settings *settings = &world->settings;
    world->dialect = dialect_pick(random);
    world->faults = choose_faults(random);
    if (world->dialect->faults != 0)
        world->faults &= world->dialect->faults;
    world->protocol_settings = (struct protocol_settings){ .protocol = &world->recorder };
    settings->protocol = &world->protocol_settings;
    settings->in_order = random_chance(random, 40);
    choose_limits(world);
    choose_read_size(world);
    choose_times(world);
    choose_rates(world);
    world->protocol_settings.head_limit = settings->buffer_limit;
    world->protocol_settings.max_message = settings->max_message;
    recorder_make(world);
    world->dialect->choose(world);
    bool async = random_chance(random, 50) && !world->dialect->has_turns;
    settings->depth = async ? random_between(random, 2, 12) : 1;
    if (settings->request_gap > 0)
        settings->depth = 1;
    world->protocol_settings.is_async = async;
    settings->abort_on_close = random_chance(random, 40);
    world->retires = random_chance(random, 15);
    world->single = settings->in_order;
    world->doors_used = 1 + world->seed % DOORS;
    world->target_count = random_between(random, 1, TARGETS_MAX);
    for (size_t i = 0; i < world->target_count; i++)
        world->targets[i].limit = world->single ? 1 : random_between(random, 1, CONNECTIONS_MAX);
}

/* Mostly they are different ones. */
static void choose_priorities(struct world *world, size_t number)
{
    for (size_t i = 0; i < DOORS; i++)
        mux_door_set_priority(world->mux, &world->doors[i], (unsigned)((i * 3 + number) % MUX_PRIORITIES),
                              world->now);
}

/* ---- Time ---- */

/* The connections that there are now. */
static size_t world_open_connections(struct world *world, struct connection **open)
{
    size_t count = 0;
    while (world->first_connection < world->connection_count &&
           world->connections[world->first_connection]->state == CONNECTION_GONE)
        world->first_connection++;
    for (size_t i = world->first_connection; i < world->connection_count; i++)
        if (world->connections[i]->state == CONNECTION_OPEN)
            open[count++] = world->connections[i];
    return count;
}

/* The next point of time at which somebody wants to do something. */
static int64_t world_next(const struct world *world)
{
    int64_t next = mux_due(world->mux);
    for (size_t i = 0; i < world->client_count; i++) {
        const struct client *client = &world->clients[i];
        if (client->state == CLIENT_COMING && client->arrives < next)
            next = client->arrives;
    }
    for (size_t i = world->first_connection; i < world->connection_count; i++) {
        const struct connection *connection = world->connections[i];
        if (connection->state == CONNECTION_CONNECTING && connection->connected_at < next)
            next = connection->connected_at;
        for (size_t j = 0; connection->state == CONNECTION_OPEN && j < connection->work_count; j++)
            if (!connection->works[j].over && !connection->silent && !connection->closed &&
                !connection->was_reset && connection->works[j].due > world->now &&
                connection->works[j].due < next)
                next = connection->works[j].due;
    }
    return next;
}

static void world_tick(struct world *world)
{
    if (mux_due(world->mux) > world->now)
        return;
    world_trace(world, "time");
    mux_tick(world->mux, world->now);
    world_require(world, mux_due(world->mux) > world->now, "what was due is due again");
    world_settle(world);
}

/* Where answers end in time, what can be read is read before any time passes. */
static void world_read_all(struct world *world)
{
    struct connection *open[OPEN_CONNECTIONS_MAX];
    size_t count = world_open_connections(world, open);
    if (!world->dialect->has_turns)
        return;
    for (size_t i = 0; i < count; i++) {
        while (open[i]->state == CONNECTION_OPEN && connection_deliver(open[i]))
            world_settle(world);
    }
}

/* A little later. Now and then exactly when something is due, just before that, or well after. */
static void world_pass_time(struct world *world)
{
    struct random *random = &world->random;
    int64_t due = world_next(world);
    int64_t step = (int64_t)random_below(random, 2000);
    world_read_all(world);
    if (due > world->now && due - world->now < 1000000 && random_chance(random, 15))
        step = due - world->now - (int64_t)random_below(random, 2);
    else if (world_has(world, FAULT_SHORT_TIMES) && random_chance(random, 3))
        step = (int64_t)random_below(random, 100000);
    world->now += step;
    if (random_chance(random, 80))
        world_tick(world);
}

/* Nobody can do anything now: on to when somebody can. False: nobody ever will. */
static bool world_skip_time(struct world *world, int64_t most)
{
    world_read_all(world);
    int64_t next = world_next(world);
    if (next == INT64_MAX || next - world->now > most)
        return false;
    if (next > world->now)
        world->now = next;
    world_tick(world);
    return true;
}

/* ---- Steps ---- */

void world_settle(struct world *world)
{
    struct mux_client *client;
    struct mux_connection *connection;
    for (;; world->changes++) {
        if ((connection = mux_changed_connection(world->mux)) != NULL)
            connection_look(mux_connection_owner(connection));
        else if ((client = mux_changed_client(world->mux)) != NULL)
            client_look(mux_client_owner(client));
        else
            break;
    }
}

/* A reload that changes nothing must not be noticed. */
static void world_reload(struct world *world)
{
    world_trace(world, "reload");
    if (world_has(world, FAULT_NEW_SETTINGS) && random_chance(&world->random, 30)) {
        choose_limits(world);
        choose_times(world);
        choose_rates(world);
        world->settings.response_gap = (int64_t)random_between(&world->random, 1, 30);
        world->settings.depth = world->protocol_settings.is_async && world->settings.request_gap == 0
                                    ? random_between(&world->random, 2, 12)
                                    : 1;
        widen_settings(world);
        check_forget_turns(world);
        choose_priorities(world, random_below(&world->random, MUX_PRIORITIES));
        coverage_count(world->coverage, SITUATION_NEW_SETTINGS);
    }
    mux_reconfigure(world->mux, &world->settings, world->now);
    for (size_t i = 0; i < world->client_count; i++)
        if (world->clients[i].mux_client != NULL)
            client_share(&world->clients[i]);
    world_settle(world);
    check_world(world);
}

/* Somebody does something, or time passes. False: nothing can happen any more, for `most` microseconds. */
static bool world_step(struct world *world, int64_t most)
{
    struct connection *open[OPEN_CONNECTIONS_MAX];
    size_t connections = world_open_connections(world, open);
    size_t actors = world->client_count + connections + 1;
    world->steps++;
    if (random_chance(&world->random, 10))
        world_pass_time(world);
    if (world->steps % RELOAD_STEPS == 0 && !world->calm) /* everybody looks up: that is no rest */
        world_reload(world);
    size_t start = random_below(&world->random, actors);
    for (size_t i = 0; i < actors; i++) {
        size_t actor = (start + i) % actors;
        bool acted = actor < connections   ? connection_act(open[actor])
                     : actor == actors - 1 ? targets_connect(world)
                                           : client_act(&world->clients[actor - connections]);
        if (!acted)
            continue;
        world_settle(world);
        check_world(world);
        return true;
    }
    bool goes_on = world_skip_time(world, most);
    check_world(world);
    return goes_on;
}

/* Until nothing happens any more: time may go on for ever, with clocks that start over. */
static void world_rest(struct world *world)
{
    unsigned long last = world->steps + STEPS_MAX;
    unsigned idle = 0;
    while (idle < IDLE_STEPS) {
        unsigned long changes = world->changes;
        bool goes_on = world_step(world, INT64_MAX);
        idle = world->changes > changes ? 0 : idle + (goes_on ? 1 : IDLE_STEPS / 10);
        world_require(world, world->steps < last, "it does not come to rest");
    }
}

static void world_storm(struct world *world)
{
    size_t steps = random_between(&world->random, 20, 700);
    unsigned idle = 0;
    for (size_t i = 0; i < steps && idle < 20; i++)
        idle = world_step(world, 1000000) ? 0 : idle + 1;
}

/* ---- Beginning and end ---- */

static void world_free(struct world *world)
{
    for (size_t i = 0; i < world->client_count; i++)
        client_free(&world->clients[i]);
    for (size_t i = 0; i < world->connection_count; i++)
        connection_free(world->connections[i]);
    free(world->connections);
}

static void world_end(struct world *world)
{
    for (size_t i = 0; i < world->connection_count; i++)
        if (world->connections[i]->state == CONNECTION_OPEN)
            connection_close(world->connections[i]);
    world_settle(world);
    for (size_t i = 0; i < DOORS; i++)
        world_require(world, world->doors[i].in_flight == 0, "a door has requests in flight without clients");
    world_require(world, mux_memory(world->mux) == 0, "%zu bytes are held for nobody",
                  mux_memory(world->mux));
    mux_destroy(world->mux);
    world->mux = NULL;
}

void world_run(struct world *world)
{
    static const struct mux_hooks hooks = {
        .choose = targets_choose,
        .opening = targets_opening,
        .ended = check_ended,
    };
    random_seed(&world->random, world->seed);
    world->now = 1000000;
    world->began = world->now;
    choose_settings(world);
    world_trace(world, "%s, faults %x", world->dialect->name, world->faults);
    clients_make(world);
    world->settings.response_gap = protocol_turn_gap(&world->protocol_settings);
    world->least = world->settings;
    world->most = world->settings;
    world->mux = mux_create(&world->settings, &hooks, world);
    world_require(world, world->mux != NULL, "no memory");
    choose_priorities(world, world->seed);
    world_storm(world);
    world_trace(world, "calm");
    world->calm = true;
    world_rest(world);
    check_quiet(world, false);
    world_trace(world, "all is well");
    world->good = true;
    world_rest(world);
    check_quiet(world, false);
    for (size_t i = 0; i < world->connection_count; i++)
        if (world->connections[i]->state == CONNECTION_OPEN &&
            (world->connections[i]->silent || world->connections[i]->deaf))
            connection_give_up(world->connections[i]);
    world_rest(world);
    check_quiet(world, true);
    world_end(world);
    world->coverage->runs++;
    world->coverage->steps += world->steps;
    world_free(world);
}
