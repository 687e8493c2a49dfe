/* Settings, and what a reload may change of them. */
#include "simulation/pool/pool_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGETS_MAX 4

static char address_names[ADDRESSES][32];

size_t pool_settings_address(const struct target_settings *settings)
{
    return (size_t)settings->keep_alive.count;
}

static void choose_target(struct world *world, struct target_settings *target)
{
    struct random *random = &world->random;
    target->connections = (int64_t)random_between(random, 1, 3);
    target->max_connections = -1;
    target->slots = world->slots_each;
    target->weight = random_chance(random, 15) ? 0 : (int64_t)random_between(random, 1, 3);
    target->backup = random_chance(random, 25);
    target->keep_alive.enabled = random_chance(random, 20); /* nothing but another target */
    if (!world->has_checks)
        return;
    target->check = (struct check_settings){
        .type = CHECK_EXCHANGE,
        .send = SLICE(CHECK_MESSAGE),
        .interval = (int64_t)random_between(random, 5, 1000),
        .timeout = (int64_t)random_between(random, 5, 500),
        .rise = (int64_t)random_between(random, 1, 3),
        .fall = (int64_t)random_between(random, 1, 3),
    };
}

/* A target with an address that none of the others has. */
static void add_target(struct world *world, struct listener_settings *settings)
{
    size_t address;
    bool taken;
    do {
        address = random_below(&world->random, ADDRESSES);
        taken = false;
        for (size_t i = 0; i < settings->target_count; i++)
            taken |= pool_settings_address(&settings->targets[i]) == address;
    } while (taken);
    struct target_settings *target = &settings->targets[settings->target_count++];
    snprintf(address_names[address], sizeof address_names[address], "%s%zu",
             address < SERVERS ? "server" : "name", address);
    *target = (struct target_settings){ .name = strdup(address_names[address]) };
    target->endpoint.kind = address < SERVERS ? ENDPOINT_NUMERIC : ENDPOINT_NAME;
    target->endpoint.host = strdup(address_names[address]);
    target->endpoint.port = PORT;
    target->keep_alive.count = (int64_t)address; /* for pool_settings_address() */
    if (address < SERVERS)
        target->endpoint.address = world->servers[address].address;
    choose_target(world, target);
}

/* Somebody takes work, and in fifo all but the first are backups. */
static void make_valid(struct listener_settings *settings)
{
    settings->targets[0].backup = false;
    if (settings->targets[0].weight == 0)
        settings->targets[0].weight = 1;
    for (size_t i = 1; i < settings->target_count && settings->mode == MODE_FIFO; i++)
        settings->targets[i].backup = true;
    if (settings->retry_max < settings->retry_min)
        settings->retry_max = settings->retry_min;
}

static int64_t choose_limit(struct world *world, size_t low, size_t high)
{
    return random_chance(&world->random, 75) ? -1 : (int64_t)random_between(&world->random, low, high);
}

/* One of what the listener itself has. */
static void choose_one(struct world *world, struct listener_settings *settings, size_t which)
{
    static const int64_t retries[] = { 1, 20, 100, 250, 1000 };
    static const int64_t connect_timeouts[] = { 20, 200, 5000 };
    static const enum balance balances[] = { BALANCE_LEAST_CONNECTIONS, BALANCE_ROUND_ROBIN, BALANCE_FIRST,
                                             BALANCE_SOURCE };
    struct random *random = &world->random;
    switch (which) {
    case 0:
        settings->mode = random_chance(random, 40) ? MODE_FIFO : MODE_FUNNEL;
        break;
    case 1:
        settings->balance = random_pick(random, balances);
        settings->slow_start = world->seed % 2 == 0 ? 0 : (int64_t)(world->seed * 37 % 3000);
        break;
    case 2:
        settings->connect_timeout = random_chance(random, 5) ? -1 : random_pick(random, connect_timeouts);
        break;
    case 3:
        settings->retry_min = random_pick(random, retries);
        settings->retry_max = settings->retry_min * (int64_t)random_between(random, 1, 20);
        break;
    case 4:
        settings->warmup = random_chance(random, 40);
        break;
    case 5:
        settings->queue_timeout = choose_limit(world, 50, 2000);
        break;
    case 6:
        settings->connect_delay = random_chance(random, 70) ? 0 : (int64_t)random_between(random, 1, 60);
        break;
    case 7:
        settings->connection_ttl = choose_limit(world, 5, 400);
        break;
    case 8:
        settings->inactivity_timeout = choose_limit(world, 5, 400);
        break;
    case 9:
        settings->max_requests_per_connection = choose_limit(world, 1, 5);
        break;
    case 10:
        settings->down_timeout = choose_limit(world, 20, 1500);
        break;
    case 11:
        settings->reconnect_delay = random_chance(random, 70) ? 0 : (int64_t)random_between(random, 1, 400);
        break;
    case 12:
        settings->fail_after =
            world->has_checks || random_chance(random, 30) ? -1 : (int64_t)random_between(random, 1, 4);
        break;
    default:
        settings->async = random_chance(random, 40);
        settings->request_timeout =
            random_chance(random, 30) ? -1 : (int64_t)random_between(random, 100, 3000);
        break;
    }
}

static struct listener_settings *settings_copy(const struct listener_settings *before)
{
    struct listener_settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL)
        abort();
    if (before != NULL)
        *settings = *before;
    settings->targets = calloc(TARGETS_MAX, sizeof *settings->targets);
    if (settings->targets == NULL)
        abort();
    for (size_t i = 0; i < settings->target_count; i++) {
        settings->targets[i] = before->targets[i];
        settings->targets[i].name = strdup(before->targets[i].name);
        settings->targets[i].endpoint.host = strdup(before->targets[i].endpoint.host);
    }
    return settings;
}

static void remove_target(struct listener_settings *settings, size_t which)
{
    free(settings->targets[which].name);
    free(settings->targets[which].endpoint.host);
    settings->targets[which] = settings->targets[--settings->target_count];
}

/* A correction of an address, an option, another order, one more, one less. */
static void change_targets(struct world *world, struct listener_settings *settings)
{
    struct random *random = &world->random;
    size_t which = random_below(random, settings->target_count);
    switch (random_below(random, 5)) {
    case 0:
        choose_target(world, &settings->targets[which]);
        break;
    case 1:
        if (settings->target_count < (world->has_checks ? 1 : TARGETS_MAX))
            add_target(world, settings);
        break;
    case 2:
        if (settings->target_count > 1)
            remove_target(settings, which);
        break;
    case 3:
        if (settings->target_count == TARGETS_MAX)
            remove_target(settings, which);
        add_target(world, settings);
        remove_target(settings, 0);
        break;
    default: {
        struct target_settings swapped = settings->targets[0];
        settings->targets[0] = settings->targets[which];
        settings->targets[which] = swapped;
        break;
    }
    }
}

struct listener_settings *pool_settings_make(struct world *world, size_t listener,
                                             const struct listener_settings *before)
{
    static const char *const names[LISTENERS] = { "one", "two", "three" };
    struct random *random = &world->random;
    struct listener_settings *settings = settings_copy(before);
    settings->name = (char *)names[listener];
    if (before == NULL) {
        for (size_t which = 0; which <= 13; which++)
            choose_one(world, settings, which);
        for (size_t count = world->has_checks ? 1 : random_between(random, 1, TARGETS_MAX); count > 0;
             count--)
            add_target(world, settings);
    } else if (random_chance(random, 60)) {
        change_targets(world, settings);
    } else {
        choose_one(world, settings, random_below(random, 14));
    }
    make_valid(settings);
    return settings;
}

void pool_settings_free(struct listener_settings *settings)
{
    while (settings->target_count > 0)
        remove_target(settings, settings->target_count - 1);
    free(settings->targets);
    free(settings);
}

void pool_settings_trace(const struct world *world, const struct listener_settings *settings)
{
    static const char *const balances[] = { [BALANCE_LEAST_CONNECTIONS] = "least_connections",
                                            [BALANCE_ROUND_ROBIN] = "round_robin",
                                            [BALANCE_FIRST] = "first",
                                            [BALANCE_SOURCE] = "source" };
    world_trace(
        world,
        "%s, %s, connect_timeout %lld, retry %lld to %lld, warmup %d, queue_timeout %lld, delay %lld, "
        "ttl %lld, inactivity %lld, max_requests %lld, request_timeout %lld, async %d, down_timeout %lld, "
        "reconnect_delay %lld, fail_after %lld, slow_start %lld",
        settings->mode == MODE_FIFO ? "fifo" : "funnel", balances[settings->balance],
        (long long)settings->connect_timeout, (long long)settings->retry_min, (long long)settings->retry_max,
        settings->warmup, (long long)settings->queue_timeout, (long long)settings->connect_delay,
        (long long)settings->connection_ttl, (long long)settings->inactivity_timeout,
        (long long)settings->max_requests_per_connection, (long long)settings->request_timeout,
        settings->async, (long long)settings->down_timeout, (long long)settings->reconnect_delay,
        (long long)settings->fail_after, (long long)settings->slow_start);
    for (size_t i = 0; i < settings->target_count; i++)
        world_trace(world, "  %s: connections %lld, weight %lld%s", settings->targets[i].name,
                    (long long)settings->targets[i].connections, (long long)settings->targets[i].weight,
                    settings->targets[i].backup ? ", backup" : "");
}
