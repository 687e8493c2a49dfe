/* What clients do: come, send requests in pieces, read, wait, leave; well or badly. */
#include "simulation/dialect.h"
#include "simulation/world.h"

#include <string.h>

/* ---- Making them ---- */

/* A kind that the dialect has; PLAIN mostly. */
static enum request_kind choose_request_kind(const struct client *client)
{
    struct world *world = client->world;
    unsigned kinds = world->dialect->request_kinds;
    enum request_kind kind = (enum request_kind)random_below(&world->random, REQUEST_BROKEN_END + 1);
    bool broken = kind == REQUEST_BROKEN || kind == REQUEST_BROKEN_END;
    if (client->floods && (kinds & 1U << client->flood_kind) != 0)
        return client->flood_kind;
    if ((kinds & 1U << kind) == 0 || random_chance(&world->random, 60))
        return REQUEST_PLAIN;
    if (broken && (!world_has(world, FAULT_BROKEN_REQUEST) || random_chance(&world->random, 50)))
        return REQUEST_PLAIN;
    if (kind == REQUEST_LAST && random_chance(&world->random, 70))
        return REQUEST_PLAIN;
    return kind;
}

static enum answer_kind choose_answer_kind(struct world *world)
{
    enum answer_kind kind = (enum answer_kind)random_below(&world->random, ANSWER_TO_END + 1);
    if ((world->dialect->answer_kinds & 1U << kind) == 0 || random_chance(&world->random, 90))
        return ANSWER_PLAIN;
    if (world->features.ids && kind == ANSWER_TO_END)
        return ANSWER_PLAIN;
    return kind;
}

/* Around the limits mostly. */
static size_t choose_size(struct world *world)
{
    struct random *random = &world->random;
    size_t limit = world->settings.buffer_limit;
    switch (random_below(random, 8)) {
    case 0:
        return 0;
    case 1:
    case 2:
    case 3:
        return random_below(random, limit / 4 + 2);
    case 4:
        return random_between(random, limit - limit / 4, limit + limit / 4);
    case 5:
        return random_below(random, (limit < 3000 ? limit : 3000) * 6);
    default:
        return random_below(random, 24);
    }
}

static void client_make_request(struct client *client, uint32_t number)
{
    struct world *world = client->world;
    struct request *request = &client->requests[number];
    *request = (struct request){ .client = client, .number = number };
    request->kind = choose_request_kind(client);
    request->answer_kind = choose_answer_kind(world);
    request->size = choose_size(world);
    request->answer_size = choose_size(world);
    if (client->floods)
        request->size = random_below(&world->random, 8);
    if (request->kind == REQUEST_LATE && request->size > world->settings.buffer_limit / 2)
        request->size = random_below(&world->random, 8);
    if (world->dialect->has_interims && random_chance(&world->random, 10))
        request->interims = random_below(&world->random, INTERIMS_MAX + 1);
    world->dialect->compose(world, request);
    buffer_append(&client->stream, buffer_bytes(&request->bytes), request->bytes.length);
    client->ends[number] = client->stream.length;
}

static void client_choose_faults(struct client *client)
{
    struct world *world = client->world;
    struct random *random = &world->random;
    client->stop = client->stream.length;
    client->reads_to = SIZE_MAX;
    if (world_has(world, FAULT_CLIENT_ENDS_EARLY) && random_chance(random, 40)) {
        client->ends_early = true;
        if (random_chance(random, 60))
            client->stop = random_below(random, client->stream.length + 1);
    } else if (world_has(world, FAULT_CLIENT_RESET) && random_chance(random, 40)) {
        client->resets = true;
        client->stop = random_below(random, client->stream.length + 1);
    } else if (world_has(world, FAULT_CLIENT_NEVER_SENDS) && random_chance(random, 40)) {
        client->sends_late = true;
        client->stop = random_below(random, client->stream.length + 1);
    }
    if (world_has(world, FAULT_CLIENT_NEVER_READS) && random_chance(random, 40)) {
        client->reads_late = true;
        client->reads_to = random_below(random, 2 * world->settings.buffer_limit);
    }
}

static void client_make(struct world *world, uint32_t number)
{
    static const size_t windows[] = { 1, 1, 2, 4, REQUESTS_MAX };
    struct client *client = &world->clients[number - 1];
    struct random *random = &world->random;
    client->world = world;
    client->number = number;
    client->state = CLIENT_COMING;
    client->arrives = world->now + (int64_t)random_below(random, 30000);
    client->floods = random_chance(random, 8);
    client->flood_kind = (enum request_kind)random_between(random, REQUEST_UNANSWERED, REQUEST_REFUSED);
    client->count = random_chance(random, 10) ? 0 : random_between(random, 1, world->requests_max);
    if (client->floods)
        client->count = REQUESTS_MAX;
    for (uint32_t i = 0; i < client->count; i++)
        client_make_request(client, i);
    client->window = world->dialect->has_turns ? 1 : random_pick(random, windows);
    client->drips = client->stream.length < 400 && random_chance(random, 10);
    client_choose_faults(client);
}

void clients_make(struct world *world)
{
    world->requests_max = random_between(&world->random, 1, REQUESTS_MAX);
    world->client_count = random_between(&world->random, 1, CLIENTS_MAX);
    for (uint32_t i = 0; i < world->client_count; i++)
        client_make(world, i + 1);
}

/* ---- Looking at what the multiplexer wants ---- */

static void client_gone(struct client *client)
{
    world_trace(client->world, "client %u is closed", client->number);
    client->state = CLIENT_GONE;
    client->reason = mux_client_reason(client->mux_client);
    mux_client_close(client->mux_client, client->world->now);
    client->mux_client = NULL;
    check_client_gone(client);
}

void client_look(struct client *client)
{
    struct slice output = mux_client_output(client->mux_client);
    size_t known = (size_t)(client->put_out - client->taken);
    client->reads = mux_client_wants_bytes(client->mux_client);
    client->closing = mux_client_closing(client->mux_client);
    if (!client->reads && client->closing == MUX_STAYS && !client->fin_given)
        coverage_count(client->world->coverage, SITUATION_CLIENT_PAUSED);
    if (client->closing == MUX_RESET) {
        client_gone(client);
        return;
    }
    world_require(client->world, output.length >= known, "client %u: output has vanished", client->number);
    if (output.length > known) {
        slice_skip(&output, known);
        client->put_out += output.length;
        check_output(client, output);
    }
    if (client->closing == MUX_CLOSE && client->state == CLIENT_HERE) {
        world_require(client->world, mux_client_output(client->mux_client).length == 0,
                      "client %u is to be closed before all is written", client->number);
        client->state = CLIENT_LEAVING;
    }
}

/* ---- Acting ---- */

void client_share(struct client *client)
{
    struct slice key = { (const char *)&client->key, client->key == 0 ? 0 : sizeof client->key };
    world_require(client->world, mux_client_share(client->mux_client, key, client->world->now), "no memory");
}

static bool client_arrive(struct client *client)
{
    struct world *world = client->world;
    if (world->now < client->arrives && !world->calm)
        return false;
    world_trace(world, "client %u comes, with %zu requests", client->number, client->count);
    client->mux_client = mux_client_open(world->mux, client, client->number, world->now);
    world_require(world, client->mux_client != NULL, "no memory");
    struct mux_door *door = &world->doors[(client->number + world->seed) % world->doors_used];
    mux_client_set_door(client->mux_client, door);
    client->door = door;
    client->key = (client->number + world->seed / 5) % KEYS;
    client_share(client);
    client->state = CLIENT_HERE;
    client->first_since = world->now;
    world->coverage->clients++;
    return true;
}

/* How far it may send: it allows itself so many requests without an answer. */
static size_t client_sendable(const struct client *client)
{
    size_t last = client->seen + client->window;
    size_t end = last < client->count ? client->ends[last - 1] : client->stream.length;
    bool stops = !client->sends_late || !client->world->good;
    return stops && client->stop < end ? client->stop : end;
}

static bool client_send(struct client *client)
{
    struct world *world = client->world;
    size_t sendable = client_sendable(client);
    if (sendable <= client->sent || client->fin_given || !mux_client_wants_bytes(client->mux_client))
        return false;
    size_t length = sendable - client->sent;
    if (length > world->read_size)
        length = world->read_size;
    if (client->drips && !world->good)
        length = 1;
    else if (random_chance(&world->random, 60))
        length = random_between(&world->random, 1, length);
    world_trace(world, "client %u sends %zu bytes", client->number, length);
    const char *bytes = buffer_bytes(&client->stream) + client->sent;
    client->sent += length;
    world->changes++;
    mux_client_bytes(client->mux_client, bytes, length, world->now);
    return true;
}

static bool client_take(struct client *client)
{
    struct world *world = client->world;
    size_t length = mux_client_output(client->mux_client).length;
    if (client->reads_late && !world->good) {
        size_t rest = client->reads_to - (size_t)client->taken;
        length = length < rest ? length : rest;
    }
    if (length == 0 || (client->floods && !world->calm && random_chance(&world->random, 80)))
        return false;
    if (random_chance(&world->random, 40)) {
        length = random_between(&world->random, 1, length);
        coverage_count(world->coverage, SITUATION_PARTIAL_WRITE);
    }
    world_trace(world, "client %u takes %zu bytes", client->number, length);
    client->taken += length;
    mux_client_written(client->mux_client, length, world->now);
    return true;
}

bool client_is_finished(const struct client *client)
{
    return client->seen >= client->count && client->sent >= client->stream.length;
}

/* Ends its stream: early, or when all that it wanted is there. */
static bool client_finish(struct client *client)
{
    struct world *world = client->world;
    bool early = client->ends_early && client->sent >= client->stop;
    bool satisfied = client_is_finished(client) && (world->calm || random_chance(&world->random, 20));
    if (client->fin_given || !(early || satisfied))
        return false;
    world_trace(world, "client %u ends its stream", client->number);
    client->fin_given = true;
    mux_client_end(client->mux_client, world->now);
    return true;
}

static void client_fail(struct client *client, enum reason reason)
{
    world_trace(client->world, "client %u fails: %s", client->number, reason_name(reason));
    client->failed = true;
    client->failed_reason = reason;
    mux_client_fail(client->mux_client, reason, client->world->now);
}

static bool client_misbehave(struct client *client)
{
    struct world *world = client->world;
    struct random *random = &world->random;
    if (client->resets && client->sent >= client->stop && (world->calm || random_chance(random, 30))) {
        client_fail(client, REASON_CLIENT_RESET);
        return true;
    }
    if (world_may(world, FAULT_CLIENT_BLOCKED) && random_chance(random, 1)) {
        if (random_chance(random, 70)) {
            client_fail(client, REASON_BLOCKED);
        } else {
            client->failed = true;
            client->failed_reason = REASON_DRAINED;
            client_gone(client);
        }
        return true;
    }
    if (world_may(world, FAULT_CLIENT_DRAINED) && !client->drained && random_chance(random, 2)) {
        world_trace(world, "client %u is drained", client->number);
        client->drained = true;
        mux_client_drain(client->mux_client, world->now);
        return true;
    }
    return false;
}

/* It was told to go: it does, after a while, in which it may still end its stream. */
static bool client_leave(struct client *client)
{
    struct world *world = client->world;
    if (!client->fin_given && random_chance(&world->random, 30)) {
        client->fin_given = true;
        mux_client_end(client->mux_client, world->now);
    } else if (random_chance(&world->random, 10)) {
        client_fail(client, REASON_CLIENT_RESET);
    } else {
        client_gone(client);
    }
    return true;
}

bool client_act(struct client *client)
{
    switch (client->state) {
    case CLIENT_COMING:
        return client_arrive(client);
    case CLIENT_GONE:
        return false;
    case CLIENT_LEAVING:
        return client_leave(client);
    case CLIENT_HERE:
        break;
    }
    if (client_misbehave(client))
        return true;
    if (random_chance(&client->world->random, 50))
        return client_take(client) || client_send(client) || client_finish(client);
    return client_send(client) || client_take(client) || client_finish(client);
}

void client_free(struct client *client)
{
    for (size_t i = 0; i < client->count; i++) {
        struct request *request = &client->requests[i];
        buffer_free(&request->bytes);
        buffer_free(&request->forward);
        buffer_free(&request->answer);
        buffer_free(&request->expected);
        buffer_free(&request->here);
        buffer_free(&request->error);
        for (size_t j = 0; j < INTERIMS_MAX; j++) {
            buffer_free(&request->interim[j]);
            buffer_free(&request->interim_expected[j]);
        }
    }
    buffer_free(&client->stream);
    buffer_free(&client->news);
}
