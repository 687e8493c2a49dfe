/* Servers, from the attempt to connect to the last answer. */
#include "simulation/pool/pool_world.h"

#include <stdlib.h>
#include <string.h>

static struct world *world_of(const struct target *target)
{
    return generation_of_set(target->set)->world;
}

/* Microseconds in which a server has not noticed yet that a connection was ended. */
#define BUSY_SPAN 30000

/* ---- Attempts ---- */

/* What becomes of a SYN to the server whose turn it is. */
static void attempt_try(struct attempt *attempt)
{
    struct world *world = world_of(attempt->target);
    const struct server *server = &world->servers[attempt->candidates[attempt->next]];
    check_server(world, attempt->candidates[attempt->next]);
    int64_t timeout = attempt->target->set->settings.connect_timeout;
    int64_t limit = timeout < 0 ? KERNEL_GIVES_UP : timeout * 1000;
    attempt->hangs = server->mood == MOOD_HANGS;
    attempt->succeeds = !attempt->hangs && server->mood != MOOD_REFUSES;
    attempt->due = world->now + (int64_t)random_below(&world->random, 2000);
    if (attempt->hangs)
        attempt->due = world->now + limit;
    else if (server->mood == MOOD_LATE && timeout >= 0)
        attempt->due = world->now + limit - 1;
}

/* The addresses of the target; the one that worked last first. */
static void attempt_take_servers(struct attempt *attempt)
{
    const struct target *target = attempt->target;
    struct world *world = world_of(target);
    size_t address = pool_settings_address(target->settings);
    size_t start = 0;
    attempt->count = 1;
    attempt->candidates[0] = address;
    if (address < SERVERS)
        return;
    const struct name *name = &world->names[address - SERVERS];
    attempt->count = name->count;
    for (size_t i = 0; i < name->count; i++)
        if (address_compare_host(&world->servers[name->servers[i]].address, &target->good_address) == 0)
            start = i;
    for (size_t i = 0; i < name->count; i++)
        attempt->candidates[i] = name->servers[(start + i) % name->count];
}

static struct target_attempt *driver_connect(struct target *target)
{
    struct world *world = world_of(target);
    check_connect(target);
    struct attempt *attempt = calloc(1, sizeof *attempt);
    world_require(world, attempt != NULL, "no memory");
    attempt->target = target;
    list_append(&world->attempts, &attempt->node);
    attempt->is_resolving = pool_settings_address(target->settings) >= SERVERS;
    attempt->due = world->now + (int64_t)random_below(&world->random, 2000);
    if (!attempt->is_resolving) {
        attempt_take_servers(attempt);
        attempt_try(attempt);
    }
    world->connects++;
    world_trace(world, "generation %u connects to %s", generation_of_set(target->set)->number,
                target->settings->name);
    return &attempt->attempt;
}

static void driver_cancel(struct target_attempt *cancelled)
{
    struct attempt *attempt = list_entry(cancelled, struct attempt, attempt);
    world_trace(world_of(attempt->target), "the attempt to connect to %s is given up",
                attempt->target->settings->name);
    list_remove(&attempt->node);
    free(attempt);
}

int64_t attempt_due(const struct attempt *attempt)
{
    return attempt->due;
}

/* The addresses of its name are known; there may be no slot for it. */
static void attempt_resolve(struct attempt *attempt)
{
    struct world *world = world_of(attempt->target);
    struct address addresses[ADDRESSES_OF_NAME];
    attempt_take_servers(attempt);
    for (size_t i = 0; i < attempt->count; i++)
        addresses[i] = world->servers[attempt->candidates[i]].address;
    if (target_resolved(attempt->target, addresses, attempt->count)) {
        attempt->is_resolving = false;
        attempt_try(attempt);
        return;
    }
    world_trace(world, "there is no slot for %s", attempt->target->settings->name);
    list_remove(&attempt->node);
    target_attempt_yielded(&attempt->attempt, world->now);
    free(attempt);
}

bool attempt_act(struct attempt *attempt)
{
    struct target *target = attempt->target;
    struct world *world = world_of(target);
    if (attempt->due > world->now)
        return false;
    if (attempt->is_resolving) {
        attempt_resolve(attempt);
        return true;
    }
    size_t server = attempt->candidates[attempt->next];
    if (!attempt->succeeds && ++attempt->next < attempt->count) {
        attempt_try(attempt);
        return true;
    }
    list_remove(&attempt->node);
    world_trace(world, "generation %u %s to %s", generation_of_set(target->set)->number,
                attempt->succeeds ? "is connected" : "can't connect", target->settings->name);
    if (attempt->succeeds) {
        target->good_address = world->servers[server].address;
        target_attempt_succeeded(&attempt->attempt, (int)server, world->now);
    } else {
        target_attempt_failed(&attempt->attempt,
                              attempt->hangs ? REASON_CONNECT_TIMEOUT : REASON_TARGET_REFUSED, "made up",
                              world->now);
    }
    free(attempt);
    return true;
}

static bool driver_attach(struct target *target)
{
    world_of(target)->address_targets[pool_settings_address(target->settings)]++;
    return true;
}

static void driver_detach(struct target *target)
{
    struct world *world = world_of(target);
    size_t address = pool_settings_address(target->settings);
    if (--world->address_targets[address] == 0)
        world->rest_until[address] = world->settle_until[address] = 0;
    check_forget(target);
}

static void driver_committed(struct target_set *set)
{
    (void)set;
}

static bool driver_may_probe(struct target *target)
{
    world_fail(world_of(target), "a probe of %s, whose connections are kept", target->settings->name);
}

static void driver_probed(struct target *target, int descriptor)
{
    (void)descriptor;
    world_fail(world_of(target), "a probe of %s has ended that never began", target->settings->name);
}

static void driver_changed(const struct target *target)
{
    world_trace(world_of(target), "generation %u: %s is %s", generation_of_set(target->set)->number,
                target->settings->name, target->state == TARGET_UP ? "up" : target->failure_text);
    if (target->state == TARGET_UP)
        check_up(target);
}

static void driver_told(const struct target *target, bool is_warning, const char *text)
{
    (void)is_warning;
    world_trace(world_of(target), "generation %u: %s", generation_of_set(target->set)->number, text);
}

static void driver_wake(struct target_set *set)
{
    generation_of_set(set)->woken = true;
}

const struct target_driver made_up_driver = {
    .attach = driver_attach,
    .detach = driver_detach,
    .connect = driver_connect,
    .cancel = driver_cancel,
    .may_probe = driver_may_probe,
    .probed = driver_probed,
    .committed = driver_committed,
    .changed = driver_changed,
    .told = driver_told,
    .wake = driver_wake,
};

/* ---- Connections, for the pool ---- */

static struct pool_connection *pool_create(void *owner)
{
    struct generation *generation = owner;
    struct connection *connection = calloc(1, sizeof *connection);
    world_require(generation->world, connection != NULL, "no memory");
    connection->generation = generation;
    return &connection->pooled;
}

static void pool_connected(struct pool_connection *pooled, int descriptor, int64_t now)
{
    struct connection *connection = connection_of_pooled(pooled);
    struct world *world = connection->generation->world;
    connection->number = ++world->connection_count;
    connection->server = (size_t)descriptor;
    connection->opened = now;
    connection->retry_min = connection->generation->settings->retry_min;
    connection->connect_delay = connection->generation->settings->connect_delay;
    connection->is_open = true;
    list_append(&world->connections, &connection->node);
    connection->may_settle = target_settles(pooled->target, now);
    connection->ready = now + (check_settles(connection) ? SETTLE_PAUSE * 1000 : 0);
    world_trace(world, "connection %u of generation %u to %s", connection->number,
                connection->generation->number, pooled->target->settings->name);
}

static void pool_ended(struct pool_connection *pooled, int64_t now)
{
    (void)now;
    struct connection *connection = connection_of_pooled(pooled);
    struct world *world = connection->generation->world;
    if (connection->is_open) {
        world_trace(world, "connection %u ends: %s", connection->number,
                    mux_connection_is_over(pooled->mux) ? reason_name(mux_connection_reason(pooled->mux))
                                                        : "");
        check_connection_ended(connection);
        if (!connection->closed_by_server)
            world->servers[connection->server].left = world->now;
    }
    connection->is_open = false;
    list_remove(&connection->node);
    list_append(&world->dead, &connection->node);
}

static void pool_ready(void *owner)
{
    struct generation *generation = owner;
    check_ready(generation);
    generation->is_ready = true;
}

static void pool_touch(void *owner)
{
    struct generation *generation = owner;
    generation->touched = true;
}

const struct pool_driver made_up_pool = {
    .create = pool_create,
    .connected = pool_connected,
    .ended = pool_ended,
    .ready = pool_ready,
    .touch = pool_touch,
};

/* ---- Connections, at the server ---- */

static void server_close(struct connection *connection, bool reset)
{
    struct world *world = connection->generation->world;
    connection->closed_by_server = true;
    world_trace(world, "connection %u is %s by the server", connection->number, reset ? "reset" : "closed");
    connection->was_reset = reset;
    if (reset)
        mux_connection_fail(connection->pooled.mux, REASON_TARGET_RESET, world->now);
    else
        mux_connection_end(connection->pooled.mux, world->now);
}

/* In fifo requests reach the servers in the order in which they became complete. */
static void server_expect_request(struct connection *connection, size_t number)
{
    struct generation *generation = connection->generation;
    struct world *world = generation->world;
    struct request *request = &world->requests[number];
    uint64_t *last_order = &generation->last_order[request->client->door];
    world_require(world, !request->ended || !request->answered, "request %zu is sent after its answer",
                  number);
    world_require(world, request->connections == 0, "request %zu is sent twice", number);
    world_require(
        world, !generation->pool.is_fifo || request->asked <= generation->last_sick || number >= *last_order,
        "request %zu is sent after request %llu", number, (unsigned long long)*last_order);
    request->connections++;
    if (number > *last_order)
        *last_order = number;
}

static void server_take_request(struct connection *connection, size_t number)
{
    struct world *world = connection->generation->world;
    if (number == CHECK_NUMBER)
        world->checks++;
    else
        server_expect_request(connection, number);
    world_trace(world, "connection %u takes request %zu", connection->number, number);
    size_t place = connection->waiting_count++;
    world_require(world, place < 64, "too many requests on connection %u", connection->number);
    connection->waiting[place] = number;
    connection->due[place] = world->now + (int64_t)random_below(&world->random, 4000);
}

static bool server_take(struct connection *connection)
{
    struct world *world = connection->generation->world;
    struct slice output = mux_connection_output(connection->pooled.mux);
    if (output.length == 0)
        return false;
    size_t length =
        random_chance(&world->random, 80) ? output.length : random_between(&world->random, 1, output.length);
    for (size_t i = 0; i < length; i++) {
        if (connection->input.length == 0)
            connection->requests++;
        world_require(world, world->now >= connection->ready, "connection %u takes a request too soon",
                      connection->number);
        buffer_append(&connection->input, &output.bytes[i], 1);
        if (connection->input.length < MESSAGE_SIZE)
            continue;
        uint32_t number;
        memcpy(&number, buffer_bytes(&connection->input), sizeof number);
        buffer_consume(&connection->input, MESSAGE_SIZE);
        world_require(world, number < world->request_count || (world->has_checks && number == CHECK_NUMBER),
                      "a request that nobody made");
        server_take_request(connection, number);
    }
    mux_connection_written(connection->pooled.mux, length, world->now);
    return true;
}

static bool server_answer(struct connection *connection)
{
    struct world *world = connection->generation->world;
    if (connection->waiting_count == 0 || connection->due[0] > world->now ||
        world->servers[connection->server].mood == MOOD_SILENT ||
        !mux_connection_wants_bytes(connection->pooled.mux))
        return false;
    char answer[MESSAGE_SIZE] = { 0 };
    uint32_t number = (uint32_t)connection->waiting[0];
    memcpy(answer, &number, sizeof number);
    answer[MESSAGE_SIZE - 1] = 'A';
    connection->waiting_count--;
    memmove(connection->waiting, connection->waiting + 1,
            connection->waiting_count * sizeof connection->waiting[0]);
    memmove(connection->due, connection->due + 1, connection->waiting_count * sizeof connection->due[0]);
    world_trace(world, "connection %u answers request %u", connection->number, number);
    connection->has_answered = true;
    mux_connection_bytes(connection->pooled.mux, answer, sizeof answer, world->now);
    return true;
}

int64_t connection_due(const struct connection *connection)
{
    const struct world *world = connection->generation->world;
    bool answers = connection->waiting_count > 0 && world->servers[connection->server].mood != MOOD_SILENT &&
                   !connection->closed_by_server;
    return answers ? connection->due[0] : INT64_MAX;
}

bool connection_act(struct connection *connection)
{
    struct world *world = connection->generation->world;
    enum mood mood = world->servers[connection->server].mood;
    if (connection->closed_by_server || mux_connection_is_over(connection->pooled.mux))
        return false;
    bool is_early = connection->opened < world->servers[connection->server].left + BUSY_SPAN;
    bool closes = mood == MOOD_CLOSES || (mood == MOOD_BUSY && is_early) ||
                  (mood == MOOD_SWALLOWS && connection->requests > 0) ||
                  (!world->calm && random_chance(&world->random, 1));
    if (closes && mux_connection_wants_bytes(connection->pooled.mux)) {
        server_close(connection, random_chance(&world->random, 40));
        return true;
    }
    return server_answer(connection) || server_take(connection);
}
