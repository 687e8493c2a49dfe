/* What targets do: take connections, read requests, answer them; well or badly. */
#include "simulation/dialect.h"
#include "simulation/world.h"

#include <stdlib.h>
#include <string.h>

/* ---- Connections ---- */

size_t targets_opening(void *owner)
{
    const struct world *world = owner;
    size_t count = 0;
    for (size_t i = world->first_connection; i < world->connection_count; i++)
        count += world->connections[i]->state == CONNECTION_CONNECTING;
    return count;
}

static size_t connections_alive(const struct world *world)
{
    size_t count = 0;
    for (size_t i = 0; i < world->target_count; i++)
        count += world->targets[i].count;
    return count;
}

/* Makes room for one more element. */
static void *grow(const struct world *world, void *array, size_t count, size_t *space, size_t size)
{
    if (count < *space)
        return array;
    *space = *space == 0 ? 16 : 2 * *space;
    void *grown = realloc(array, *space * size);
    world_require(world, grown != NULL, "no memory");
    return grown;
}

static bool connection_connect(struct world *world)
{
    unsigned number = (unsigned)random_below(&world->random, world->target_count);
    struct target *target = &world->targets[number];
    if (mux_waiting(world->mux) <= targets_opening(world) || target->count >= target->limit ||
        (world->single && connections_alive(world) > 0) ||
        (!world->calm && random_chance(&world->random, 50)))
        return false;
    for (size_t i = world->first_connection; i < world->connection_count; i++)
        if (world->connections[i]->state == CONNECTION_OPEN &&
            mux_connection_has_room(world->connections[i]->mux_connection))
            return false;
    world->wanted = false;
    mux_dispatch(world->mux, world->now);
    if (!world->wanted)
        return false;
    struct connection *connection = calloc(1, sizeof *connection);
    world_require(world, connection != NULL, "no memory");
    world->connections = grow(world, world->connections, world->connection_count, &world->connection_space,
                              sizeof(struct connection *));
    *connection =
        (struct connection){ .world = world, .number = (unsigned)world->connection_count, .target = number };
    world->connections[world->connection_count++] = connection;
    connection->state = CONNECTION_CONNECTING;
    world->changes++;
    connection->connected_at = world->now + (int64_t)random_below(&world->random, 5000);
    connection->answering = NOT_ANSWERING;
    target->count++;
    if (world_may(world, FAULT_REFUSED_CONNECTIONS) && random_chance(&world->random, 20))
        target->refuses_until = world->now + (int64_t)random_below(&world->random, 50000);
    world_trace(world, "connection %u to target %u", connection->number, number);
    return true;
}

/* It has come up, or was refused. */
static bool connection_connected(struct connection *connection)
{
    struct world *world = connection->world;
    struct target *target = &world->targets[connection->target];
    if (world->now < connection->connected_at)
        return false;
    if (world->now < target->refuses_until) {
        connection->state = CONNECTION_GONE;
        target->count--;
        return true;
    }
    connection->up_at = world->now;
    world->coverage->connections++;
    world->connection_at = connection;
    connection->mux_connection = mux_connection_open(world->mux, connection, false, world->now);
    world->connection_at = NULL;
    world_require(world, connection->mux_connection != NULL, "no memory");
    connection->state = CONNECTION_OPEN;
    mux_dispatch(world->mux, world->now);
    return true;
}

bool targets_connect(struct world *world)
{
    for (size_t i = world->first_connection; i < world->connection_count; i++)
        if (world->connections[i]->state == CONNECTION_CONNECTING &&
            connection_connected(world->connections[i]))
            return true;
    return connection_connect(world);
}

struct mux_connection *targets_choose(void *owner, void *client_state)
{
    struct world *world = owner;
    struct client *client = client_state;
    size_t count = world->connection_count - world->first_connection;
    size_t start = random_below(&world->random, count);
    for (size_t i = 0; i < count; i++) {
        struct connection *connection = world->connections[world->first_connection + (start + i) % count];
        if (connection->state != CONNECTION_OPEN || !mux_connection_has_room(connection->mux_connection))
            continue;
        world_trace(world, "client %u is given connection %u", client->number, connection->number);
        check_choose(client, connection);
        return connection->mux_connection;
    }
    check_choose(client, NULL);
    world->wanted = true;
    return NULL;
}

void connection_free(struct connection *connection)
{
    buffer_free(&connection->head);
    buffer_free(&connection->inbound);
    buffer_free(&connection->delivered);
    free(connection->works);
    free(connection->parts);
    free(connection);
}

void connection_close(struct connection *connection)
{
    struct world *world = connection->world;
    enum reason reason = mux_connection_reason(connection->mux_connection);
    world_trace(world, "connection %u is closed: %s %s", connection->number, reason_name(reason),
                mux_connection_explanation(connection->mux_connection));
    if (reason == REASON_DRAINED || reason == REASON_INACTIVITY)
        coverage_count(world->coverage, SITUATION_REPLACED);
    connection->state = CONNECTION_GONE;
    world->targets[connection->target].count--;
    world->connections_gone++;
    if (mux_connection_was_useless(connection->mux_connection))
        coverage_count(world->coverage, SITUATION_USELESS);
    mux_connection_close(connection->mux_connection, world->now);
    connection->mux_connection = NULL;
    check_connection_gone(connection);
}

void connection_look(struct connection *connection)
{
    connection->reads = mux_connection_wants_bytes(connection->mux_connection);
    if (mux_connection_is_over(connection->mux_connection))
        connection_close(connection);
    else if (!connection->reads)
        coverage_count(connection->world->coverage, SITUATION_CONNECTION_PAUSED);
}

/* ---- What the target says ---- */

static void connection_say(struct connection *connection, enum part_kind kind, struct request *request,
                           struct slice bytes)
{
    buffer_append(&connection->inbound, bytes.bytes, bytes.length);
    connection->said += bytes.length;
    connection->parts = grow(connection->world, connection->parts, connection->part_count,
                             &connection->part_space, sizeof *connection->parts);
    connection->parts[connection->part_count++] =
        (struct part){ kind, request, bytes.length, connection->said };
}

static void connection_say_buffer(struct connection *connection, enum part_kind kind, struct request *request,
                                  struct buffer *bytes)
{
    connection_say(connection, kind, request, buffer_slice(bytes));
    buffer_free(bytes);
}

/* Says bytes of an answer, with the connection's id in them. */
static void connection_say_answer(struct connection *connection, enum part_kind kind, struct request *request,
                                  uint64_t id, const struct buffer *answer, size_t from, size_t length)
{
    const struct features *features = &connection->world->features;
    struct buffer bytes = { 0 };
    buffer_append(&bytes, buffer_bytes(answer) + from, length);
    for (size_t i = 0; i < features->id_width; i++) {
        size_t place = features->id_offset + i;
        if (place >= from && place < from + length)
            buffer_bytes(&bytes)[place - from] = ((const char *)&id)[i];
    }
    connection_say_buffer(connection, kind, request, &bytes);
}

static void connection_finish_stream(struct connection *connection, bool reset)
{
    if (connection->closed || connection->was_reset)
        return;
    const struct work *work =
        connection->answering == NOT_ANSWERING ? NULL : &connection->works[connection->answering];
    if (work != NULL && work->request->answer_kind == ANSWER_TO_END)
        reset = true; /* an early end could not be told from the right one */
    world_trace(connection->world, "target %s connection %u", reset ? "resets" : "closes",
                connection->number);
    connection->closed = !reset;
    connection->was_reset = reset;
    if (reset) { /* what is on the way is lost */
        connection->said -= connection->inbound.length;
        buffer_free(&connection->inbound);
        connection->stray = false;
    }
}

void connection_give_up(struct connection *connection)
{
    connection_finish_stream(connection, false);
}

/* An id as it stands in messages, for comparing and copying only. */
static uint64_t id_after(const struct features *features, uint64_t id)
{
    unsigned char bytes[sizeof id];
    memcpy(bytes, &id, sizeof id);
    for (size_t i = features->id_width; i > 0 && ++bytes[i - 1] == 0; i--)
        ;
    memcpy(&id, bytes, sizeof id);
    return id;
}

/* Whether bytes that nobody asked for may come now: all that the target got is answered, and they can't be
 * taken for late ones of a turn, because another client's is about to begin. */
static bool connection_may_stray(const struct connection *connection)
{
    const struct world *world = connection->world;
    uint32_t client;
    uint32_t number;
    if (connection->answering != NOT_ANSWERING || connection->works_open > 0 || connection->current != NULL ||
        connection->head.length > 0 || (world->features.greeting && !connection->greeted) ||
        connection->closed)
        return false;
    if (!world->dialect->has_turns)
        return true;
    struct slice output = mux_connection_output(connection->mux_connection);
    return output.length > 0 && connection->work_count > 0 &&
           world->dialect->identify(world, output, &client, &number) > 0 &&
           connection->works[connection->work_count - 1].request->client->number != client;
}

/* What was said last, once more, maybe with the next id; or nonsense. */
static void connection_say_stray(struct connection *connection)
{
    struct world *world = connection->world;
    const struct work *last =
        connection->work_count > 0 ? &connection->works[connection->work_count - 1] : NULL;
    world_trace(world, "stray bytes on connection %u", connection->number);
    connection->stray = true;
    if (last == NULL || random_chance(&world->random, 30)) {
        connection_say(connection, PART_STRAY, NULL, SLICE("stray"));
        return;
    }
    const struct buffer *answer = &last->request->answer;
    uint64_t id = last->request->id;
    if (random_chance(&world->random, 50))
        id = id_after(&world->features, id);
    connection_say_answer(connection, PART_STRAY, NULL, id, answer, 0, answer->length);
}

/* Something worse than an answer, now and then. */
static bool connection_misbehave(struct connection *connection)
{
    struct world *world = connection->world;
    struct random *random = &world->random;
    const struct dialect *dialect = world->dialect;
    bool at_rest = connection->answering == NOT_ANSWERING;
    if (world->calm || random_chance(random, 85))
        return false;
    enum fault fault = (enum fault)random_between(random, FAULT_TARGET_CLOSES, FAULT_UNKNOWN_IDS);
    if (!world_has(world, fault))
        return false;
    struct buffer bytes = { 0 };
    switch (fault) {
    case FAULT_TARGET_CLOSES:
    case FAULT_TARGET_RESETS:
        connection_finish_stream(connection, fault == FAULT_TARGET_RESETS);
        return true;
    case FAULT_TARGET_SILENT:
        connection->silent = true;
        return true;
    case FAULT_TARGET_DEAF:
        connection->deaf = true;
        return true;
    case FAULT_STRAY_BYTES:
        if (!connection_may_stray(connection))
            return false;
        connection_say_stray(connection);
        return true;
    case FAULT_GARBAGE:
        if (!at_rest || dialect->write_garbage == NULL ||
            (connection->works_open == 0 && connection->started > 0))
            return false;
        if (connection->works_open == 0)
            connection->stray = true;
        dialect->write_garbage(world, &bytes);
        connection_say_buffer(connection, PART_GARBAGE, NULL, &bytes);
        coverage_count(world->coverage, SITUATION_GARBAGE);
        connection->silent = true;
        return true;
    default:
        return false;
    }
}

static struct work *connection_choose_work(struct connection *connection)
{
    const struct world *world = connection->world;
    size_t open[64];
    size_t count = 0;
    if (connection->answering != NOT_ANSWERING)
        return &connection->works[connection->answering];
    for (size_t i = 0; i < connection->work_count && count < 64; i++)
        if (!connection->works[i].over)
            open[count++] = i;
    if (count == 0)
        return NULL;
    size_t chosen = open[world->features.ids ? random_below(&connection->world->random, count) : 0];
    return world->now < connection->works[chosen].due ? NULL : &connection->works[chosen];
}

/* An answer with an id that nobody has. */
static bool connection_say_unknown_id(struct connection *connection, const struct request *request)
{
    struct world *world = connection->world;
    uint64_t id = random_next(&world->random) & (((uint64_t)1 << 8 * world->features.id_width) - 1);
    if (!world->features.ids || !world_may(world, FAULT_UNKNOWN_IDS) || random_chance(&world->random, 90) ||
        mux_connection_output(connection->mux_connection).length > 0)
        return false;
    for (size_t i = 0; i < connection->work_count; i++)
        if (connection->works[i].request->id == id)
            return false;
    connection_say_answer(connection, PART_STRAY, NULL, id, &request->answer, 0, request->answer.length);
    connection->stray = true;
    connection->silent = true;
    coverage_count(world->coverage, SITUATION_UNKNOWN_ID);
    return true;
}

static void connection_finish_answer(struct connection *connection, struct work *work)
{
    work->over = true;
    connection->works_open--;
    connection->answering = NOT_ANSWERING;
    if (!work->request->sent_whole) {
        connection->early = true;
        coverage_count(connection->world->coverage, SITUATION_EARLY_ANSWER);
    }
    if (work->request->answer_kind == ANSWER_PLAIN)
        return;
    connection->closing_answer = true;
    connection->silent = true;
    coverage_count(connection->world->coverage, SITUATION_CLOSING_ANSWER);
    if (work->request->answer_kind == ANSWER_TO_END || random_chance(&connection->world->random, 50))
        connection_finish_stream(connection, false);
}

static bool connection_push(struct connection *connection)
{
    struct world *world = connection->world;
    if (world->dialect->write_push == NULL || connection->answering != NOT_ANSWERING || connection->stray ||
        world->calm || (world->features.greeting && !connection->greeted) ||
        !random_chance(&world->random, 3))
        return false;
    struct buffer bytes = { 0 };
    world->dialect->write_push(world, &bytes);
    connection_say_buffer(connection, PART_PUSH, NULL, &bytes);
    coverage_count(world->coverage, SITUATION_PUSH);
    return true;
}

static bool connection_answer(struct connection *connection)
{
    struct world *world = connection->world;
    struct random *random = &world->random;
    if (connection->closed || connection->was_reset || connection->silent)
        return false;
    if (connection_push(connection) || connection_misbehave(connection))
        return true;
    struct work *work = connection_choose_work(connection);
    if (work == NULL)
        return false;
    struct request *request = work->request;
    if (connection->answering == NOT_ANSWERING && work->interims == 0 &&
        connection_say_unknown_id(connection, request))
        return true;
    if (connection->answering == NOT_ANSWERING && work->interims < request->interims) {
        const struct buffer *interim = &request->interim[work->interims++];
        connection_say_answer(connection, PART_INTERIM, request, request->id, interim, 0, interim->length);
        return true;
    }
    connection->answering = (size_t)(work - connection->works);
    size_t length = request->answer.length - work->said;
    if (!world->dialect->has_turns && random_chance(random, 30))
        length = random_between(random, 1, length);
    connection_say_answer(connection, PART_ANSWER, request, request->id, &request->answer, work->said,
                          length);
    work->said += length;
    world_trace(world, "connection %u: %zu bytes of the answer to request %u of client %u",
                connection->number, length, request->number, request->client->number);
    if (work->said == request->answer.length)
        connection_finish_answer(connection, work);
    return true;
}

/* ---- What the target gets ---- */

static void connection_add_work(struct connection *connection, struct request *request)
{
    struct world *world = connection->world;
    int64_t delay = random_chance(&world->random, 30) ? (int64_t)random_below(&world->random, 3000) : 0;
    if (world_may(world, FAULT_LATE_ANSWERS) && random_chance(&world->random, 30))
        delay = (int64_t)random_below(&world->random, 150000);
    connection->works = grow(world, connection->works, connection->work_count, &connection->work_space,
                             sizeof *connection->works);
    connection->works[connection->work_count++] =
        (struct work){ .request = request, .due = world->now + delay };
    connection->works_open++;
}

static bool connection_has_work(const struct connection *connection, const struct request *request)
{
    return connection->work_count > 0 && connection->works[connection->work_count - 1].request == request;
}

static void connection_request_progress(struct connection *connection, struct request *request, size_t length)
{
    struct world *world = connection->world;
    request->sent += length;
    request->sent_at = world->now;
    request->client->sent_step = world->steps;
    bool answered = request->kind != REQUEST_UNANSWERED;
    if (request->sent == request->forward.length) {
        request->sent_whole = true;
        connection->current = NULL;
        if (answered && !connection_has_work(connection, request))
            connection_add_work(connection, request);
    } else if (answered && !connection_has_work(connection, request) &&
               world_may(world, FAULT_EARLY_ANSWERS) && random_chance(&world->random, 20)) {
        connection_add_work(connection, request);
    }
}

/* Takes bytes of the request that is coming in. Returns how many. */
static size_t connection_take_request(struct connection *connection, struct slice bytes)
{
    const struct features *features = &connection->world->features;
    struct request *request = connection->current;
    size_t length = request->forward.length - request->sent;
    if (length > bytes.length)
        length = bytes.length;
    const char *expected = buffer_bytes(&request->forward) + request->sent;
    for (size_t i = 0; i < length; i++) {
        size_t place = request->sent + i;
        bool is_id = place >= features->id_offset && place - features->id_offset < features->id_width;
        if (is_id)
            ((char *)&request->id)[place - features->id_offset] = bytes.bytes[i];
        else
            world_require(connection->world, bytes.bytes[i] == expected[i],
                          "byte %zu of request %u of client %u reached the target wrong", place,
                          request->number, request->client->number);
    }
    connection_request_progress(connection, request, length);
    return length;
}

/* Takes a byte more of what a request begins with. */
static void connection_take_head(struct connection *connection, char byte)
{
    struct world *world = connection->world;
    uint32_t client;
    uint32_t number;
    buffer_append(&connection->head, &byte, 1);
    if (connection->head.length == 1) {
        connection->started++;
        connection->head_step = world->steps;
    }
    int found = world->dialect->identify(world, buffer_slice(&connection->head), &client, &number);
    if (found == 0)
        return;
    world_require(world,
                  found > 0 && client >= 1 && client <= world->client_count &&
                      number < world->clients[client - 1].count,
                  "connection %u: a request that nobody made reached the target", connection->number);
    struct request *request = &world->clients[client - 1].requests[number];
    check_request_begins(connection, request);
    request->connection = connection;
    connection->current = request;
    struct buffer head = connection->head;
    connection->head = (struct buffer){ 0 };
    size_t taken = connection_take_request(connection, buffer_slice(&head));
    world_require(world, taken == head.length, "a request is shorter than what it begins with");
    buffer_free(&head);
}

/* The first words; the target says its own. */
static void connection_take_greeting(struct connection *connection, char byte)
{
    struct world *world = connection->world;
    const struct dialect *dialect = world->dialect;
    world_require(world, byte == dialect->greeting.bytes[connection->greeting], "the greeting is wrong");
    if (++connection->greeting < dialect->greeting.length)
        return;
    bool refused = world_may(world, FAULT_BAD_GREETING) && random_chance(&world->random, 30);
    struct slice words = refused ? dialect->greeting_refusal : dialect->greeting_answer;
    connection->greeted = true;
    connection_say(connection, PART_GREETING, NULL, words);
    coverage_count(world->coverage, SITUATION_GREETING);
}

static void connection_take(struct connection *connection, struct slice bytes)
{
    while (bytes.length > 0) {
        size_t count = 1;
        if (connection->world->features.greeting && !connection->greeted)
            connection_take_greeting(connection, bytes.bytes[0]);
        else if (connection->current == NULL)
            connection_take_head(connection, bytes.bytes[0]);
        else
            count = connection_take_request(connection, bytes);
        slice_skip(&bytes, count);
    }
}

/* The target's socket takes bytes; not before all that it said unasked was read. */
static bool connection_write(struct connection *connection)
{
    struct world *world = connection->world;
    struct slice output = mux_connection_output(connection->mux_connection);
    if (output.length == 0 || connection->deaf)
        return false;
    if (connection->stray) {
        coverage_count(world->coverage, SITUATION_CROSSED);
        return false;
    }
    if (random_chance(&world->random, 40)) {
        output.length = random_between(&world->random, 1, output.length);
        coverage_count(world->coverage, SITUATION_PARTIAL_WRITE);
    }
    world_trace(world, "connection %u takes %zu bytes", connection->number, output.length);
    connection_take(connection, output);
    connection->written += output.length;
    mux_connection_written(connection->mux_connection, output.length, world->now);
    return true;
}

/* ---- What is on the way ---- */

static void connection_note_handed(struct connection *connection)
{
    struct world *world = connection->world;
    uint64_t from = connection->part_handed > 0 ? connection->parts[connection->part_handed - 1].end : 0;
    for (size_t i = connection->part_handed; i < connection->part_count && from < connection->handed; i++) {
        const struct part *part = &connection->parts[i];
        struct request *request = part->request;
        if (part->kind == PART_STRAY || part->kind == PART_GARBAGE)
            connection->spoilt = true;
        from = part->end;
        if (part->end > connection->handed)
            break;
        connection->part_handed++;
        if (part->kind == PART_STRAY)
            coverage_count(world->coverage, SITUATION_STRAY);
        if (part->kind != PART_ANSWER)
            continue;
        request->told += part->length;
        request->answer_told = request->told == request->answer.length;
        if (!request->ended && !request->error_made) /* it is not late */
            connection->rested_since = world->now;
    }
}

/* Whether what is handed over next is the beginning of something that nobody asked for, while the target owes
 * nothing and has got no part of a request. */
static bool connection_owes_nothing(const struct connection *connection)
{
    if (connection->part_handed >= connection->part_count || connection->works_open > 0 ||
        connection->current != NULL || connection->head.length > 0)
        return false;
    const struct part *part = &connection->parts[connection->part_handed];
    return part->kind == PART_STRAY && connection->handed == part->end - part->length;
}

bool connection_deliver(struct connection *connection)
{
    struct world *world = connection->world;
    size_t length =
        connection->inbound.length < world->read_size ? connection->inbound.length : world->read_size;
    if (length == 0 || !mux_connection_wants_bytes(connection->mux_connection))
        return false;
    bool must_end = world->features.ids && connection_owes_nothing(connection);
    if (random_chance(&world->random, 30))
        length = random_between(&world->random, 1, length);
    world_trace(world, "connection %u hands over %zu bytes", connection->number, length);
    struct buffer bytes = { 0 };
    buffer_append(&bytes, buffer_bytes(&connection->inbound), length);
    buffer_append(&connection->delivered, buffer_bytes(&connection->inbound), length);
    buffer_consume(&connection->inbound, length);
    connection->handed += length;
    connection->silent_in_a_row = 0;
    if (connection->inbound.length == 0)
        connection->stray = false;
    connection_note_handed(connection);
    world->connection_at = connection;
    mux_connection_bytes(connection->mux_connection, buffer_bytes(&bytes), length, world->now);
    world->connection_at = NULL;
    world_require(world, !must_end || mux_connection_is_over(connection->mux_connection),
                  "connection %u goes on after bytes that nobody asked for", connection->number);
    buffer_free(&bytes);
    return true;
}

static bool connection_tell_end(struct connection *connection)
{
    struct world *world = connection->world;
    if (connection->was_reset && !connection->reset_told) {
        connection->reset_told = true;
        mux_connection_fail(connection->mux_connection, REASON_TARGET_RESET, world->now);
        return true;
    }
    if (connection->closed && !connection->end_told && connection->inbound.length == 0 &&
        mux_connection_wants_bytes(connection->mux_connection)) {
        connection->end_told = true;
        mux_connection_end(connection->mux_connection, world->now);
        return true;
    }
    return false;
}

static bool connection_retire_at_random(struct connection *connection)
{
    struct world *world = connection->world;
    if (!world->retires || connection->retired || !random_chance(&world->random, 2))
        return false;
    connection->retired = true;
    connection->retired_step = world->steps;
    world_trace(world, "connection %u is retired", connection->number);
    if (mux_connection_load(connection->mux_connection) > 0)
        coverage_count(world->coverage, SITUATION_RETIRED_BUSY);
    mux_connection_retire(connection->mux_connection, REASON_DRAINED, world->now);
    return true;
}

bool connection_act(struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN)
        return false;
    if (connection_retire_at_random(connection))
        return true;
    switch (random_below(&connection->world->random, 3)) {
    case 0:
        return connection_write(connection) || connection_deliver(connection) ||
               connection_tell_end(connection) || connection_answer(connection);
    case 1:
        return connection_deliver(connection) || connection_tell_end(connection) ||
               connection_answer(connection) || connection_write(connection);
    default:
        return connection_answer(connection) || connection_write(connection) ||
               connection_deliver(connection) || connection_tell_end(connection);
    }
}
