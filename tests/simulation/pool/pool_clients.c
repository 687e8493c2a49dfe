/* Clients, and what they speak: messages of eight bytes, a number and a letter. */
#include "simulation/pool/pool_world.h"

#include "stream/pool_check.h"

#include <string.h>

/* ---- The protocol ---- */

static enum protocol_outcome take_message(struct slice *input, struct buffer *out, size_t *taken)
{
    size_t length = MESSAGE_SIZE - *taken;
    if (length > input->length)
        length = input->length;
    buffer_append(out, input->bytes, length);
    slice_skip(input, length);
    *taken += length;
    return *taken < MESSAGE_SIZE ? PROTOCOL_MORE : PROTOCOL_COMPLETE;
}

static enum protocol_outcome read_request(const struct protocol_settings *settings, void *client,
                                          struct protocol_request *request, struct slice *input,
                                          struct buffer *out, struct buffer *answer)
{
    (void)settings;
    (void)client;
    (void)answer;
    size_t taken = out->length;
    if (take_message(input, out, &taken) == PROTOCOL_MORE)
        return PROTOCOL_MORE;
    memcpy(request->context, buffer_bytes(out), sizeof(uint32_t));
    request->decided = true;
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome read_response(const struct protocol_settings *settings, void *connection,
                                           struct protocol_request *request, struct slice *input,
                                           struct buffer *out, uint64_t *id)
{
    (void)settings;
    (void)request;
    (void)id;
    size_t *taken = connection;
    enum protocol_outcome outcome = take_message(input, out, taken);
    *taken %= MESSAGE_SIZE;
    return outcome;
}

static bool write_error(const struct protocol_settings *settings, const struct protocol_request *request,
                        enum reason reason, struct buffer *out)
{
    char error[MESSAGE_SIZE] = { 0 };
    (void)settings;
    (void)reason;
    memcpy(error, request->context, sizeof(uint32_t));
    error[MESSAGE_SIZE - 1] = 'E';
    buffer_append(out, error, sizeof error);
    return true;
}

static uint64_t part(const struct protocol_request *request)
{
    uint32_t number;
    memcpy(&number, request->context, sizeof number);
    return number % PARTS;
}

const struct protocol made_up_protocol = {
    .name = "made up",
    .connection_size = sizeof(size_t),
    .read_request = read_request,
    .read_response = read_response,
    .write_error = write_error,
    .part = part,
};

/* ---- Clients ---- */

void client_arrive(struct client *client, struct generation *generation)
{
    struct world *world = generation->world;
    *client = (struct client){ .generation = generation };
    client->address.family = AF_INET;
    client->address.v4.sin_addr.s_addr =
        htonl(0x0a000000U + (uint32_t)random_below(&world->random, CLIENTS_FROM));
    client->mux = mux_client_open(generation->mux, client, random_next(&world->random), world->now);
    world_require(world, client->mux != NULL, "no memory");
    client->door = ntohl(client->address.v4.sin_addr.s_addr) % DOORS;
    mux_client_set_door(client->mux, &generation->doors[client->door]);
    mux_client_set_origin(client->mux, health_client(&client->address));
    world_trace(world, "a client comes to generation %u", generation->number);
}

/* Nothing of its is outstanding. */
bool client_is_idle(const struct client *client)
{
    return client->mux == NULL || client->ended == client->sent;
}

/* Its first request that is not over begins to wait. */
static void client_begin_wait(struct client *client)
{
    struct world *world = client->generation->world;
    if (client->ended == client->sent)
        return;
    struct request *request = &world->requests[client->requests[client->ended]];
    request->ready = world->now;
    request->held = client->generation->held;
}

void client_ask(struct client *client)
{
    struct world *world = client->generation->world;
    char bytes[MESSAGE_SIZE] = { 0 };
    if (client->sent == sizeof client->requests / sizeof client->requests[0] ||
        world->request_count == REQUESTS_MAX || !mux_client_wants_bytes(client->mux))
        return;
    uint32_t number = (uint32_t)world->request_count++;
    world->requests[number] = (struct request){ .client = client, .number = number, .asked = world->now };
    client->requests[client->sent++] = number;
    if (client->sent == client->ended + 1)
        client_begin_wait(client);
    memcpy(bytes, &number, sizeof number);
    bytes[MESSAGE_SIZE - 1] = 'Q';
    check_asked(client->generation, client, number);
    world_trace(world, "request %u of generation %u", number, client->generation->number);
    mux_client_bytes(client->mux, bytes, sizeof bytes, world->now);
}

void client_leave(struct client *client, bool reset)
{
    struct world *world = client->generation->world;
    if (client->mux == NULL || client->leaving)
        return;
    client->leaving = true;
    world_trace(world, "a client leaves generation %u", client->generation->number);
    if (reset)
        mux_client_fail(client->mux, REASON_CLIENT_RESET, world->now);
    else
        mux_client_end(client->mux, world->now);
}

bool client_act(struct client *client)
{
    struct random *random = &client->generation->world->random;
    if (client->mux == NULL || client->leaving || !random_chance(random, 60))
        return false;
    if (random_chance(random, 8))
        client_leave(client, random_chance(random, 50));
    else if (client_is_idle(client) || random_chance(random, 20))
        client_ask(client);
    else
        return false;
    return true;
}

/* Takes an answer, which must be that to its next request. */
static void client_take(struct client *client)
{
    struct world *world = client->generation->world;
    const char *answer = buffer_bytes(&client->input);
    uint32_t number;
    memcpy(&number, answer, sizeof number);
    world_require(world, client->received < client->sent && client->requests[client->received] == number,
                  "a client gets the answer to request %u, which is not the next one of its", number);
    world_require(world, answer[MESSAGE_SIZE - 1] == (world->requests[number].answered ? 'A' : 'E'),
                  "request %u is answered otherwise than it ended", number);
    client->received++;
    buffer_consume(&client->input, MESSAGE_SIZE);
}

void client_look(struct client *client)
{
    struct world *world = client->generation->world;
    struct slice output = mux_client_output(client->mux);
    if (output.length > 0) {
        buffer_append(&client->input, output.bytes, output.length);
        mux_client_written(client->mux, output.length, world->now);
        while (client->input.length >= MESSAGE_SIZE)
            client_take(client);
    }
    if (mux_client_closing(client->mux) == MUX_STAYS)
        return;
    world_require(world, client->leaving, "a client is closed: %s",
                  reason_name(mux_client_reason(client->mux)));
    mux_client_close(client->mux, world->now);
    client->mux = NULL;
    buffer_free(&client->input);
}

/* Whether the connection of a request has, or may have, given it up. */
static bool may_fail(const struct request *request, const struct connection *connection, enum reason reason)
{
    const struct generation *generation = request->client->generation;
    const struct world *world = generation->world;
    int64_t timeout = generation->settings->queue_timeout;
    int64_t waited = world->now - request->ready - (generation->held - request->held);
    switch (reason) {
    case REASON_TARGET_CLOSED: /* or because of an earlier one's request_timeout */
        return connection != NULL &&
               (connection->closed_by_server || generation->settings->request_timeout >= 0);
    case REASON_TARGET_RESET:
        return connection != NULL && connection->closed_by_server;
    case REASON_REQUEST_TIMEOUT:
        return connection != NULL;
    case REASON_QUEUE_TIMEOUT:
        return request->connections == 0 && timeout >= 0 && waited >= timeout * 1000;
    case REASON_TARGET_DOWN:
        return request->connections == 0 &&
               (request->was_down ||
                (check_is_down(generation) && generation->settings->down_timeout >= 0 &&
                 world->now >= check_down_since(request) + generation->down_least * 1000));
    case REASON_CLIENT_CLOSED:
    case REASON_CLIENT_RESET:
    case REASON_DRAINED:
        return request->client->leaving;
    default:
        return false;
    }
}

void client_request_found(void *owner, const struct mux_finding *finding)
{
    struct generation *generation = owner;
    stream_pool_found(finding->connection, finding, generation->world->now);
    if (finding->origin != POOL_CHECK_ORIGIN)
        check_found(generation, finding);
}

void client_request_ended(void *owner, const struct mux_ending *ending)
{
    struct generation *generation = owner;
    struct world *world = generation->world;
    struct client *client = ending->client;
    uint32_t number;
    memcpy(&number, ending->request->context, sizeof number);
    world_require(world, number < world->request_count, "an exchange ends that nobody made");
    struct request *request = &world->requests[number];
    const struct connection *connection =
        ending->connection == NULL ? NULL : connection_of_pooled(ending->connection);
    world_trace(world, "request %u ends: %s", number,
                ending->answered ? "answered" : reason_name(ending->reason));
    world_require(world, !request->ended && request->client == client, "request %u ends twice", number);
    world_require(world, ending->answered || may_fail(request, connection, ending->reason),
                  "request %u ends as %s without cause", number, reason_name(ending->reason));
    request->ended = true;
    /* A target may be down for one generation only, because another one holds its slot. */
    bool is_alone = world->generations.head.next == world->generations.head.previous;
    request->waited_too_long = !ending->answered && (ending->reason == REASON_QUEUE_TIMEOUT ||
                                                     (ending->reason == REASON_TARGET_DOWN && !is_alone));
    request->answered = ending->answered;
    world->answered += ending->answered;
    size_t before = client->ended;
    while (client->ended < client->sent && world->requests[client->requests[client->ended]].ended)
        client->ended++;
    if (client->ended > before)
        client_begin_wait(client);
}
