/* Stands between the multiplexer and the framer: writes down which request each exchange is, and checks that
 * the framer is given every byte once, in order, and together with the right request. */
#include "simulation/dialect.h"
#include "simulation/world.h"

#include <string.h>

/* In front of the framer's own states. */
struct recorder_client {
    struct client *client;
    bool reading; /* in mid-request */
    size_t out;   /* bytes of the request that are not decided */
};

struct recorder_connection {
    struct connection *connection;
};

/* The framer's own state may hold anything. */
#define FRONT ((size_t)32)

_Static_assert(sizeof(struct recorder_client) <= FRONT && sizeof(struct recorder_connection) <= FRONT,
               "too long");

static struct world *recorder_world(const struct protocol_settings *settings)
{
    return (struct world *)(void *)((char *)(uintptr_t)settings - offsetof(struct world, protocol_settings));
}

static void *inner(void *state)
{
    return (char *)state + FRONT;
}

/* ---- Which request is which ---- */

static struct request_slot *recorder_slot(const struct world *world, const struct protocol_request *key)
{
    size_t place = ((uintptr_t)key >> 4) * 2654435761U % REQUEST_MAP_SLOTS;
    const struct request_slot *slots = world->map;
    for (size_t i = 0; i < REQUEST_MAP_SLOTS; i++, place = (place + 1) % REQUEST_MAP_SLOTS)
        if (slots[place].key == key || slots[place].key == NULL)
            return (struct request_slot *)(uintptr_t)&slots[place];
    world_fail(world, "the simulation's table of requests is full");
}

struct request *recorder_find(const struct world *world, const struct protocol_request *request)
{
    return recorder_slot(world, request)->request;
}

/* ---- Requests ---- */

static void recorder_open_client(const struct protocol_settings *settings, void *state, uint64_t number)
{
    struct world *world = recorder_world(settings);
    struct recorder_client *recorded = state;
    recorded->client = &world->clients[number - 1];
    if (world->dialect->protocol->open_client != NULL)
        world->dialect->protocol->open_client(settings, inner(state), number);
}

static void recorder_close_client(void *state)
{
    const struct recorder_client *recorded = state;
    recorded->client->world->dialect->protocol->close_client(inner(state));
}

static void check_request_input(struct client *client, struct slice input)
{
    struct slice stream = buffer_slice(&client->stream);
    world_require(client->world,
                  input.length <= stream.length - client->read_on &&
                      memcmp(stream.bytes + client->read_on, input.bytes, input.length) == 0,
                  "the framer of client %u is given other bytes than those that it sent", client->number);
}

static struct request *recorder_request(struct world *world, struct recorder_client *recorded,
                                        struct protocol_request *key)
{
    struct client *client = recorded->client;
    struct request_slot *slot = recorder_slot(world, key);
    world_require(world, client->reading < client->count, "client %u: a request too many", client->number);
    struct request *request = &client->requests[client->reading];
    if (!recorded->reading) {
        static const struct protocol_request nothing;
        world_require(world, memcmp(key, &nothing, sizeof nothing) == 0, "a new request is not all zeros");
        slot->key = key;
        slot->request = request;
        request->key = key;
        recorded->reading = true;
        request->begun_at = world->now;
    }
    world_require(world, slot->key == key && slot->request == request,
                  "a request has moved while it was read");
    return request;
}

static void recorder_note_request(struct world *world, struct client *client, struct request *request,
                                  const struct protocol_request *read, enum protocol_outcome outcome)
{
    request->broken = outcome == PROTOCOL_BROKEN;
    request->complete = outcome == PROTOCOL_COMPLETE;
    request->local = read->local;
    request->closes_client = read->closes_client;
    request->decided = read->decided;
    request->completed_at = world->now;
    request->completed_place = ++world->completed;
    request->completed_step = world->steps;
    world_trace(world, "request %u of client %u is %s: kind %d, %zu bytes, answer %zu", request->number,
                client->number, request->broken ? "broken" : "complete", (int)request->kind,
                request->bytes.length, request->answer.length);
    /* What is refused by its head need not be read on. */
    bool refused = request->broken || (read->local && read->closes_client);
    world_require(world, refused || client->read_on == client->ends[request->number],
                  "client %u: request %u ends at the wrong place", client->number, request->number);
}

static enum protocol_outcome recorder_read_request(const struct protocol_settings *settings, void *state,
                                                   struct protocol_request *read, struct slice *input,
                                                   struct buffer *out, struct buffer *answer)
{
    struct world *world = recorder_world(settings);
    struct recorder_client *recorded = state;
    struct client *client = recorded->client;
    check_request_input(client, *input);
    struct request *request = recorder_request(world, recorded, read);
    world_require(world, read->decided || out->length == recorded->out,
                  "undecided bytes have been taken away");
    size_t answer_length = answer->length;
    size_t input_length = input->length;
    enum protocol_outcome outcome =
        world->dialect->protocol->read_request(settings, inner(state), read, input, out, answer);
    client->read_on += input_length - input->length;
    buffer_append(&request->here, buffer_bytes(answer) + answer_length, answer->length - answer_length);
    recorded->out = read->decided ? 0 : out->length;
    request->decided = read->decided;
    if (outcome != PROTOCOL_MORE) {
        recorded->reading = false;
        recorded->out = 0;
        client->reading++;
        recorder_note_request(world, client, request, read, outcome);
    }
    return outcome;
}

/* How long nothing has been heard of this request, at the least. */
static int64_t recorder_quiet(const struct world *world, const struct request *request)
{
    bool answers = request->sent_whole && request->heard_at > request->sent_at;
    int64_t since = answers ? request->heard_at : request->sent_at;
    if (request->connection == NULL)
        since = request->begun_at;
    return world->now - since;
}

static bool recorder_write_error(const struct protocol_settings *settings,
                                 const struct protocol_request *read, enum reason reason, struct buffer *out)
{
    struct world *world = recorder_world(settings);
    struct request *request = recorder_find(world, read);
    size_t length = out->length;
    world_require(world, !request->ended, "an error is made for a request that has ended");
    world_require(world, !request->error_made, "two errors are made for one request");
    bool written = world->dialect->protocol->write_error(settings, read, reason, out);
    request->error_made = true;
    if (reason == REASON_REQUEST_TIMEOUT && request->connection != NULL) {
        request->connection->silent_in_a_row++;
        request->connection->silent_step = world->steps;
    }
    request->over_at = world->steps;
    request->error_written = written;
    request->error_reason = reason;
    request->error_at = world->now;
    request->quiet = recorder_quiet(world, request);
    buffer_append(&request->error, buffer_bytes(out) + length, out->length - length);
    return written;
}

/* ---- Responses ---- */

static struct connection *recorder_connection(struct world *world, void *state)
{
    struct recorder_connection *recorded = state;
    if (recorded->connection == NULL) {
        world_require(world, world->connection_at != NULL, "the framer is called for an unknown connection");
        recorded->connection = world->connection_at;
    }
    return recorded->connection;
}

static void recorder_close_connection(void *state)
{
    const struct recorder_connection *recorded = state;
    if (recorded->connection != NULL)
        recorded->connection->world->dialect->protocol->close_connection(inner(state));
}

static void recorder_greet(const struct protocol_settings *settings, void *state, struct buffer *out)
{
    struct world *world = recorder_world(settings);
    recorder_connection(world, state);
    if (world->dialect->protocol->write_handshake != NULL)
        world->dialect->protocol->write_handshake(settings, inner(state), out);
}

/* The bytes have to be the next ones of what the target said. */
static void check_answer_input(struct connection *connection, struct slice input)
{
    struct slice delivered = buffer_slice(&connection->delivered);
    world_require(connection->world,
                  input.length <= delivered.length &&
                      (input.length == 0 || memcmp(delivered.bytes, input.bytes, input.length) == 0),
                  "the framer of connection %u is given other bytes than those that came",
                  connection->number);
}

static void recorder_take(struct connection *connection, size_t count)
{
    buffer_consume(&connection->delivered, count);
    connection->read_on += count;
}

/* The part that the next bytes belong to, or NULL. After "whose?" the framer may have taken all of it
 * already. */
static const struct part *recorder_part(struct connection *connection)
{
    uint64_t place = connection->whose ? connection->read_on - 1 : connection->read_on;
    while (connection->part_now < connection->part_count &&
           connection->parts[connection->part_now].end <= place)
        connection->part_now++;
    return connection->part_now < connection->part_count ? &connection->parts[connection->part_now] : NULL;
}

static enum protocol_outcome recorder_read_greeting(const struct protocol_settings *settings, void *state,
                                                    struct slice *input, struct buffer *error)
{
    struct world *world = recorder_world(settings);
    struct connection *connection = recorder_connection(world, state);
    check_answer_input(connection, *input);
    size_t length = input->length;
    enum protocol_outcome outcome =
        world->dialect->protocol->read_handshake(settings, inner(state), input, error);
    recorder_take(connection, length - input->length);
    if (outcome == PROTOCOL_BROKEN)
        coverage_count(world->coverage, SITUATION_GREETING_REFUSED);
    return outcome;
}

/* The pairing: the target has said for whom this is. */
static void check_pairing(struct connection *connection, const struct request *request)
{
    const struct part *part = recorder_part(connection);
    if (part == NULL || request == NULL)
        return;
    if (part->kind == PART_STRAY)
        world_fail(connection->world,
                   "connection %u: stray bytes are taken for the answer to request %u of client %u",
                   connection->number, request->number, request->client->number);
    if (part->kind != PART_ANSWER && part->kind != PART_INTERIM)
        return;
    world_require(connection->world, part->request == request,
                  "connection %u: the answer to request %u of client %u is taken for that to request %u of "
                  "client %u",
                  connection->number, part->request->number, part->request->client->number, request->number,
                  request->client->number);
}

/* Whether an earlier one of its client has to end first. */
static bool recorder_is_held(const struct request *request)
{
    for (size_t i = 0; i < request->number; i++)
        if (!request->client->requests[i].ended)
            return true;
    return false;
}

/* Which request this is. What was given up may live on in another place, to catch its late answer, though its
 * end is told only after those before it; then the target knows better. */
static struct request *recorder_answered(struct connection *connection, const struct protocol_request *read)
{
    struct request_slot *slot = recorder_slot(connection->world, read);
    const struct part *part = recorder_part(connection);
    bool is_known = slot->key == read && slot->request->connection == connection && !slot->request->ended;
    if (is_known || part == NULL || part->request == NULL ||
        !(part->request->ended || recorder_is_held(part->request)))
        return slot->request;
    slot->key = read;
    slot->request = part->request;
    if (part->request->error_reason == REASON_REQUEST_TIMEOUT)
        coverage_count(connection->world->coverage, SITUATION_LATE_ANSWER);
    return slot->request;
}

static const char *const outcome_words[] = {
    [PROTOCOL_MORE] = "more",   [PROTOCOL_COMPLETE] = "complete", [PROTOCOL_INTERIM] = "interim",
    [PROTOCOL_WHOSE] = "whose", [PROTOCOL_BROKEN] = "broken",     [PROTOCOL_DISCARDED] = "discarded",
};

static enum protocol_outcome recorder_read_response(const struct protocol_settings *settings, void *state,
                                                    struct protocol_request *read, struct slice *input,
                                                    struct buffer *out, uint64_t *id)
{
    struct world *world = recorder_world(settings);
    struct connection *connection = recorder_connection(world, state);
    struct request *request = read == NULL ? NULL : recorder_answered(connection, read);
    check_answer_input(connection, *input);
    check_pairing(connection, request);
    size_t length = input->length;
    size_t out_length = out->length;
    enum protocol_outcome outcome =
        world->dialect->protocol->read_response(settings, inner(state), read, input, out, id);
    bool appended = out->length > out_length;
    bool is_late = request != NULL && (request->ended || request->key != read);
    connection->whose = outcome == PROTOCOL_WHOSE;
    world_trace(world, "connection %u: the framer reads %zu bytes: %s", connection->number,
                length - input->length, outcome_words[outcome]);
    recorder_take(connection, length - input->length);
    if (appended && is_late)
        coverage_count(world->coverage, SITUATION_DISCARDED_ANSWER);
    if (request != NULL && appended && outcome == PROTOCOL_INTERIM)
        coverage_count(world->coverage, SITUATION_INTERIM_ANSWER);
    if (request != NULL && !is_late)
        request->heard_at = world->now;
    if (request != NULL && !is_late && appended && recorder_is_held(request))
        coverage_count(world->coverage, SITUATION_HELD_ANSWER);
    if (request != NULL && !is_late)
        request->given_out += out->length - out_length;
    if (outcome == PROTOCOL_BROKEN) {
        connection->broke = true;
        coverage_count(world->coverage, SITUATION_BROKEN_ANSWER);
    }
    return outcome;
}

static enum protocol_outcome recorder_end_response(const struct protocol_settings *settings, void *state,
                                                   struct protocol_request *read, struct buffer *out)
{
    struct world *world = recorder_world(settings);
    enum protocol_outcome outcome = world->dialect->protocol->end_response(settings, inner(state), read, out);
    if (outcome == PROTOCOL_COMPLETE)
        coverage_count(world->coverage, SITUATION_ENDED_BY_CLOSE);
    return outcome;
}

void recorder_make(struct world *world)
{
    const struct protocol *protocol = world->dialect->protocol;
    struct protocol *recorder = &world->recorder;
    *recorder = *protocol;
    recorder->client_size = protocol->client_size + FRONT;
    recorder->connection_size = protocol->connection_size + FRONT;
    recorder->open_client = recorder_open_client;
    recorder->write_handshake = recorder_greet;
    recorder->read_request = recorder_read_request;
    recorder->read_response = recorder_read_response;
    if (protocol->close_client != NULL)
        recorder->close_client = recorder_close_client;
    if (protocol->close_connection != NULL)
        recorder->close_connection = recorder_close_connection;
    if (protocol->end_response != NULL)
        recorder->end_response = recorder_end_response;
    if (protocol->write_error != NULL)
        recorder->write_error = recorder_write_error;
    if (protocol->read_handshake != NULL)
        recorder->read_handshake = recorder_read_greeting;
}
