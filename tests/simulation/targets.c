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
    for (size_t i = world->first_link; i < world->link_count; i++)
        count += world->links[i]->state == LINK_CONNECTING;
    return count;
}

static size_t links_alive(const struct world *world)
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

static bool link_connect(struct world *world)
{
    unsigned number = (unsigned)random_below(&world->random, world->target_count);
    struct target *target = &world->targets[number];
    if (mux_waiting(world->mux) <= targets_opening(world) || target->count >= target->limit ||
        (world->single && links_alive(world) > 0) || (!world->calm && random_chance(&world->random, 50)))
        return false;
    for (size_t i = world->first_link; i < world->link_count; i++)
        if (world->links[i]->state == LINK_OPEN && mux_link_has_room(world->links[i]->mux_link))
            return false;
    world->wanted = false;
    mux_dispatch(world->mux, world->now);
    if (!world->wanted)
        return false;
    struct link *link = calloc(1, sizeof *link);
    world_require(world, link != NULL, "no memory");
    world->links = grow(world, world->links, world->link_count, &world->link_space, sizeof(struct link *));
    *link = (struct link){ .world = world, .number = (unsigned)world->link_count, .target = number };
    world->links[world->link_count++] = link;
    link->state = LINK_CONNECTING;
    world->changes++;
    link->connected_at = world->now + (int64_t)random_below(&world->random, 5000);
    link->answering = NOT_ANSWERING;
    target->count++;
    if (world_may(world, FAULT_REFUSED_CONNECTIONS) && random_chance(&world->random, 20))
        target->refuses_until = world->now + (int64_t)random_below(&world->random, 50000);
    world_trace(world, "connection %u to target %u", link->number, number);
    return true;
}

/* It has come up, or was refused. */
static bool link_connected(struct link *link)
{
    struct world *world = link->world;
    struct target *target = &world->targets[link->target];
    if (world->now < link->connected_at)
        return false;
    if (world->now < target->refuses_until) {
        link->state = LINK_GONE;
        target->count--;
        return true;
    }
    link->up_at = world->now;
    world->coverage->links++;
    world->link_at = link;
    link->mux_link = mux_link_open(world->mux, link, world->now);
    world->link_at = NULL;
    world_require(world, link->mux_link != NULL, "no memory");
    link->state = LINK_OPEN;
    mux_dispatch(world->mux, world->now);
    return true;
}

bool targets_connect(struct world *world)
{
    for (size_t i = world->first_link; i < world->link_count; i++)
        if (world->links[i]->state == LINK_CONNECTING && link_connected(world->links[i]))
            return true;
    return link_connect(world);
}

struct mux_link *targets_choose(void *owner, void *client_state)
{
    struct world *world = owner;
    struct client *client = client_state;
    size_t count = world->link_count - world->first_link;
    size_t start = random_below(&world->random, count);
    for (size_t i = 0; i < count; i++) {
        struct link *link = world->links[world->first_link + (start + i) % count];
        if (link->state != LINK_OPEN || !mux_link_has_room(link->mux_link))
            continue;
        world_trace(world, "client %u is given connection %u", client->number, link->number);
        check_choose(client, link);
        return link->mux_link;
    }
    check_choose(client, NULL);
    world->wanted = true;
    return NULL;
}

void link_free(struct link *link)
{
    buffer_free(&link->head);
    buffer_free(&link->inbound);
    buffer_free(&link->delivered);
    free(link->works);
    free(link->parts);
    free(link);
}

void link_close(struct link *link)
{
    struct world *world = link->world;
    enum reason reason = mux_link_reason(link->mux_link);
    world_trace(world, "connection %u is closed: %s %s", link->number, reason_name(reason),
                mux_link_explanation(link->mux_link));
    if (reason == REASON_DRAINED || reason == REASON_INACTIVITY)
        coverage_count(world->coverage, SITUATION_REPLACED);
    link->state = LINK_GONE;
    world->targets[link->target].count--;
    world->links_gone++;
    if (mux_link_was_useless(link->mux_link))
        coverage_count(world->coverage, SITUATION_USELESS);
    mux_link_close(link->mux_link, world->now);
    link->mux_link = NULL;
    check_link_gone(link);
}

void link_look(struct link *link)
{
    link->reads = mux_link_wants_bytes(link->mux_link);
    if (mux_link_is_over(link->mux_link))
        link_close(link);
    else if (!link->reads)
        coverage_count(link->world->coverage, SITUATION_LINK_PAUSED);
}

/* ---- What the target says ---- */

static void link_say(struct link *link, enum part_kind kind, struct request *request, struct slice bytes)
{
    buffer_append(&link->inbound, bytes.bytes, bytes.length);
    link->said += bytes.length;
    link->parts = grow(link->world, link->parts, link->part_count, &link->part_space, sizeof *link->parts);
    link->parts[link->part_count++] = (struct part){ kind, request, bytes.length, link->said };
}

static void link_say_buffer(struct link *link, enum part_kind kind, struct request *request,
                            struct buffer *bytes)
{
    link_say(link, kind, request, buffer_slice(bytes));
    buffer_free(bytes);
}

/* Says bytes of an answer, with the connection's id in them. */
static void link_say_answer(struct link *link, enum part_kind kind, struct request *request, uint64_t id,
                            const struct buffer *answer, size_t from, size_t length)
{
    const struct features *features = &link->world->features;
    struct buffer bytes = { 0 };
    buffer_append(&bytes, buffer_bytes(answer) + from, length);
    for (size_t i = 0; i < features->id_width; i++) {
        size_t place = features->id_offset + i;
        if (place >= from && place < from + length)
            buffer_bytes(&bytes)[place - from] = ((const char *)&id)[i];
    }
    link_say_buffer(link, kind, request, &bytes);
}

static void link_finish_stream(struct link *link, bool reset)
{
    if (link->closed || link->was_reset)
        return;
    const struct work *work = link->answering == NOT_ANSWERING ? NULL : &link->works[link->answering];
    if (work != NULL && work->request->answer_kind == ANSWER_TO_END)
        reset = true; /* an early end could not be told from the right one */
    world_trace(link->world, "target %s connection %u", reset ? "resets" : "closes", link->number);
    link->closed = !reset;
    link->was_reset = reset;
    if (reset) { /* what is on the way is lost */
        link->said -= link->inbound.length;
        buffer_free(&link->inbound);
        link->stray = false;
    }
}

void link_give_up(struct link *link)
{
    link_finish_stream(link, false);
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
static bool link_may_stray(const struct link *link)
{
    const struct world *world = link->world;
    uint32_t client;
    uint32_t number;
    if (link->answering != NOT_ANSWERING || link->works_open > 0 || link->current != NULL ||
        link->head.length > 0 || (world->features.greeting && !link->greeted) || link->closed)
        return false;
    if (!world->dialect->has_turns)
        return true;
    struct slice output = mux_link_output(link->mux_link);
    return output.length > 0 && link->work_count > 0 &&
           world->dialect->identify(world, output, &client, &number) > 0 &&
           link->works[link->work_count - 1].request->client->number != client;
}

/* What was said last, once more, maybe with the next id; or nonsense. */
static void link_say_stray(struct link *link)
{
    struct world *world = link->world;
    const struct work *last = link->work_count > 0 ? &link->works[link->work_count - 1] : NULL;
    world_trace(world, "stray bytes on connection %u", link->number);
    link->stray = true;
    if (last == NULL || random_chance(&world->random, 30)) {
        link_say(link, PART_STRAY, NULL, SLICE("stray"));
        return;
    }
    const struct buffer *answer = &last->request->answer;
    uint64_t id = last->request->id;
    if (random_chance(&world->random, 50))
        id = id_after(&world->features, id);
    link_say_answer(link, PART_STRAY, NULL, id, answer, 0, answer->length);
}

/* Something worse than an answer, now and then. */
static bool link_misbehave(struct link *link)
{
    struct world *world = link->world;
    struct random *random = &world->random;
    const struct dialect *dialect = world->dialect;
    bool at_rest = link->answering == NOT_ANSWERING;
    if (world->calm || random_chance(random, 85))
        return false;
    enum fault fault = (enum fault)random_between(random, FAULT_TARGET_CLOSES, FAULT_UNKNOWN_IDS);
    if (!world_has(world, fault))
        return false;
    struct buffer bytes = { 0 };
    switch (fault) {
    case FAULT_TARGET_CLOSES:
    case FAULT_TARGET_RESETS:
        link_finish_stream(link, fault == FAULT_TARGET_RESETS);
        return true;
    case FAULT_TARGET_SILENT:
        link->silent = true;
        return true;
    case FAULT_TARGET_DEAF:
        link->deaf = true;
        return true;
    case FAULT_STRAY_BYTES:
        if (!link_may_stray(link))
            return false;
        link_say_stray(link);
        return true;
    case FAULT_GARBAGE:
        if (!at_rest || dialect->write_garbage == NULL || (link->works_open == 0 && link->started > 0))
            return false;
        if (link->works_open == 0)
            link->stray = true;
        dialect->write_garbage(world, &bytes);
        link_say_buffer(link, PART_GARBAGE, NULL, &bytes);
        coverage_count(world->coverage, SITUATION_GARBAGE);
        link->silent = true;
        return true;
    default:
        return false;
    }
}

static struct work *link_choose_work(struct link *link)
{
    const struct world *world = link->world;
    size_t open[64];
    size_t count = 0;
    if (link->answering != NOT_ANSWERING)
        return &link->works[link->answering];
    for (size_t i = 0; i < link->work_count && count < 64; i++)
        if (!link->works[i].over)
            open[count++] = i;
    if (count == 0)
        return NULL;
    size_t chosen = open[world->features.ids ? random_below(&link->world->random, count) : 0];
    return world->now < link->works[chosen].due ? NULL : &link->works[chosen];
}

/* An answer with an id that nobody has. */
static bool link_say_unknown_id(struct link *link, const struct request *request)
{
    struct world *world = link->world;
    uint64_t id = random_next(&world->random) & (((uint64_t)1 << 8 * world->features.id_width) - 1);
    if (!world->features.ids || !world_may(world, FAULT_UNKNOWN_IDS) || random_chance(&world->random, 90) ||
        mux_link_output(link->mux_link).length > 0)
        return false;
    for (size_t i = 0; i < link->work_count; i++)
        if (link->works[i].request->id == id)
            return false;
    link_say_answer(link, PART_STRAY, NULL, id, &request->answer, 0, request->answer.length);
    link->stray = true;
    link->silent = true;
    coverage_count(world->coverage, SITUATION_UNKNOWN_ID);
    return true;
}

static void link_finish_answer(struct link *link, struct work *work)
{
    work->over = true;
    link->works_open--;
    link->answering = NOT_ANSWERING;
    if (!work->request->sent_whole) {
        link->early = true;
        coverage_count(link->world->coverage, SITUATION_EARLY_ANSWER);
    }
    if (work->request->answer_kind == ANSWER_PLAIN)
        return;
    link->closing_answer = true;
    link->silent = true;
    coverage_count(link->world->coverage, SITUATION_CLOSING_ANSWER);
    if (work->request->answer_kind == ANSWER_TO_END || random_chance(&link->world->random, 50))
        link_finish_stream(link, false);
}

static bool link_push(struct link *link)
{
    struct world *world = link->world;
    if (world->dialect->write_push == NULL || link->answering != NOT_ANSWERING || link->stray ||
        world->calm || (world->features.greeting && !link->greeted) || !random_chance(&world->random, 3))
        return false;
    struct buffer bytes = { 0 };
    world->dialect->write_push(world, &bytes);
    link_say_buffer(link, PART_PUSH, NULL, &bytes);
    coverage_count(world->coverage, SITUATION_PUSH);
    return true;
}

static bool link_answer(struct link *link)
{
    struct world *world = link->world;
    struct random *random = &world->random;
    if (link->closed || link->was_reset || link->silent)
        return false;
    if (link_push(link) || link_misbehave(link))
        return true;
    struct work *work = link_choose_work(link);
    if (work == NULL)
        return false;
    struct request *request = work->request;
    if (link->answering == NOT_ANSWERING && work->interims == 0 && link_say_unknown_id(link, request))
        return true;
    if (link->answering == NOT_ANSWERING && work->interims < request->interims) {
        const struct buffer *interim = &request->interim[work->interims++];
        link_say_answer(link, PART_INTERIM, request, request->id, interim, 0, interim->length);
        return true;
    }
    link->answering = (size_t)(work - link->works);
    size_t length = request->answer.length - work->said;
    if (!world->dialect->has_turns && random_chance(random, 30))
        length = random_between(random, 1, length);
    link_say_answer(link, PART_ANSWER, request, request->id, &request->answer, work->said, length);
    work->said += length;
    world_trace(world, "connection %u: %zu bytes of the answer to request %u of client %u", link->number,
                length, request->number, request->client->number);
    if (work->said == request->answer.length)
        link_finish_answer(link, work);
    return true;
}

/* ---- What the target gets ---- */

static void link_add_work(struct link *link, struct request *request)
{
    struct world *world = link->world;
    int64_t delay = random_chance(&world->random, 30) ? (int64_t)random_below(&world->random, 3000) : 0;
    if (world_may(world, FAULT_LATE_ANSWERS) && random_chance(&world->random, 30))
        delay = (int64_t)random_below(&world->random, 150000);
    link->works = grow(world, link->works, link->work_count, &link->work_space, sizeof *link->works);
    link->works[link->work_count++] = (struct work){ .request = request, .due = world->now + delay };
    link->works_open++;
}

static bool link_has_work(const struct link *link, const struct request *request)
{
    return link->work_count > 0 && link->works[link->work_count - 1].request == request;
}

static void link_request_progress(struct link *link, struct request *request, size_t length)
{
    struct world *world = link->world;
    request->sent += length;
    request->sent_at = world->now;
    request->client->sent_step = world->steps;
    bool answered = request->kind != REQUEST_UNANSWERED;
    if (request->sent == request->forward.length) {
        request->sent_whole = true;
        link->current = NULL;
        if (answered && !link_has_work(link, request))
            link_add_work(link, request);
    } else if (answered && !link_has_work(link, request) && world_may(world, FAULT_EARLY_ANSWERS) &&
               random_chance(&world->random, 20)) {
        link_add_work(link, request);
    }
}

/* Takes bytes of the request that is coming in. Returns how many. */
static size_t link_take_request(struct link *link, struct slice bytes)
{
    const struct features *features = &link->world->features;
    struct request *request = link->current;
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
            world_require(link->world, bytes.bytes[i] == expected[i],
                          "byte %zu of request %u of client %u reached the target wrong", place,
                          request->number, request->client->number);
    }
    link_request_progress(link, request, length);
    return length;
}

/* Takes a byte more of what a request begins with. */
static void link_take_head(struct link *link, char byte)
{
    struct world *world = link->world;
    uint32_t client;
    uint32_t number;
    buffer_append(&link->head, &byte, 1);
    if (link->head.length == 1) {
        link->started++;
        link->head_step = world->steps;
    }
    int found = world->dialect->identify(world, buffer_slice(&link->head), &client, &number);
    if (found == 0)
        return;
    world_require(world,
                  found > 0 && client >= 1 && client <= world->client_count &&
                      number < world->clients[client - 1].count,
                  "connection %u: a request that nobody made reached the target", link->number);
    struct request *request = &world->clients[client - 1].requests[number];
    check_request_begins(link, request);
    request->link = link;
    link->current = request;
    struct buffer head = link->head;
    link->head = (struct buffer){ 0 };
    size_t taken = link_take_request(link, buffer_slice(&head));
    world_require(world, taken == head.length, "a request is shorter than what it begins with");
    buffer_free(&head);
}

/* The first words; the target says its own. */
static void link_take_greeting(struct link *link, char byte)
{
    struct world *world = link->world;
    const struct dialect *dialect = world->dialect;
    world_require(world, byte == dialect->greeting.bytes[link->greeting], "the greeting is wrong");
    if (++link->greeting < dialect->greeting.length)
        return;
    bool refused = world_may(world, FAULT_BAD_GREETING) && random_chance(&world->random, 30);
    struct slice words = refused ? dialect->greeting_refusal : dialect->greeting_answer;
    link->greeted = true;
    link_say(link, PART_GREETING, NULL, words);
    coverage_count(world->coverage, SITUATION_GREETING);
}

static void link_take(struct link *link, struct slice bytes)
{
    while (bytes.length > 0) {
        size_t count = 1;
        if (link->world->features.greeting && !link->greeted)
            link_take_greeting(link, bytes.bytes[0]);
        else if (link->current == NULL)
            link_take_head(link, bytes.bytes[0]);
        else
            count = link_take_request(link, bytes);
        slice_skip(&bytes, count);
    }
}

/* The target's socket takes bytes; not before all that it said unasked was read. */
static bool link_write(struct link *link)
{
    struct world *world = link->world;
    struct slice output = mux_link_output(link->mux_link);
    if (output.length == 0 || link->deaf)
        return false;
    if (link->stray) {
        coverage_count(world->coverage, SITUATION_CROSSED);
        return false;
    }
    if (random_chance(&world->random, 40)) {
        output.length = random_between(&world->random, 1, output.length);
        coverage_count(world->coverage, SITUATION_PARTIAL_WRITE);
    }
    world_trace(world, "connection %u takes %zu bytes", link->number, output.length);
    link_take(link, output);
    link->written += output.length;
    mux_link_written(link->mux_link, output.length, world->now);
    return true;
}

/* ---- What is on the way ---- */

static void link_note_handed(struct link *link)
{
    struct world *world = link->world;
    uint64_t from = link->part_handed > 0 ? link->parts[link->part_handed - 1].end : 0;
    for (size_t i = link->part_handed; i < link->part_count && from < link->handed; i++) {
        const struct part *part = &link->parts[i];
        struct request *request = part->request;
        if (part->kind == PART_STRAY || part->kind == PART_GARBAGE)
            link->spoilt = true;
        from = part->end;
        if (part->end > link->handed)
            break;
        link->part_handed++;
        if (part->kind == PART_STRAY)
            coverage_count(world->coverage, SITUATION_STRAY);
        if (part->kind != PART_ANSWER)
            continue;
        request->told += part->length;
        request->answer_told = request->told == request->answer.length;
        if (!request->ended && !request->error_made) /* it is not late */
            link->rested_since = world->now;
    }
}

bool link_deliver(struct link *link)
{
    struct world *world = link->world;
    size_t length = link->inbound.length < world->read_size ? link->inbound.length : world->read_size;
    if (length == 0 || !mux_link_wants_bytes(link->mux_link))
        return false;
    if (random_chance(&world->random, 30))
        length = random_between(&world->random, 1, length);
    world_trace(world, "connection %u hands over %zu bytes", link->number, length);
    struct buffer bytes = { 0 };
    buffer_append(&bytes, buffer_bytes(&link->inbound), length);
    buffer_append(&link->delivered, buffer_bytes(&link->inbound), length);
    buffer_consume(&link->inbound, length);
    link->handed += length;
    link->silent_in_a_row = 0;
    if (link->inbound.length == 0)
        link->stray = false;
    link_note_handed(link);
    world->link_at = link;
    mux_link_bytes(link->mux_link, buffer_bytes(&bytes), length, world->now);
    world->link_at = NULL;
    buffer_free(&bytes);
    return true;
}

static bool link_tell_end(struct link *link)
{
    struct world *world = link->world;
    if (link->was_reset && !link->reset_told) {
        link->reset_told = true;
        mux_link_fail(link->mux_link, REASON_TARGET_RESET, world->now);
        return true;
    }
    if (link->closed && !link->end_told && link->inbound.length == 0 &&
        mux_link_wants_bytes(link->mux_link)) {
        link->end_told = true;
        mux_link_end(link->mux_link, world->now);
        return true;
    }
    return false;
}

static bool link_retire_at_random(struct link *link)
{
    struct world *world = link->world;
    if (!world->retires || link->retired || !random_chance(&world->random, 2))
        return false;
    link->retired = true;
    link->retired_step = world->steps;
    world_trace(world, "connection %u is retired", link->number);
    if (mux_link_load(link->mux_link) > 0)
        coverage_count(world->coverage, SITUATION_RETIRED_BUSY);
    mux_link_retire(link->mux_link, world->now);
    return true;
}

bool link_act(struct link *link)
{
    if (link->state != LINK_OPEN)
        return false;
    if (link_retire_at_random(link))
        return true;
    switch (random_below(&link->world->random, 3)) {
    case 0:
        return link_write(link) || link_deliver(link) || link_tell_end(link) || link_answer(link);
    case 1:
        return link_deliver(link) || link_tell_end(link) || link_answer(link) || link_write(link);
    default:
        return link_answer(link) || link_write(link) || link_deliver(link) || link_tell_end(link);
    }
}
