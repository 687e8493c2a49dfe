/* What targets do: take connections, read requests, answer them; well or badly. */
#include "simulation/dialect.h"
#include "simulation/world.h"

#include <stdlib.h>
#include <string.h>

/* ---- Connections ---- */

static size_t links_connecting(const struct world *world)
{
    size_t count = 0;
    for (size_t i = 0; i < world->link_count; i++)
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
    if (mux_waiting(world->mux) <= links_connecting(world) || target->count >= target->limit ||
        (world->single && links_alive(world) > 0))
        return false;
    for (size_t i = 0; i < world->link_count; i++)
        if (world->links[i]->state == LINK_OPEN && mux_link_has_room(world->links[i]->mux_link))
            return false;
    struct link *link = calloc(1, sizeof *link);
    world_require(world, link != NULL, "no memory");
    world->links = grow(world, world->links, world->link_count, &world->link_space, sizeof(struct link *));
    *link = (struct link){ .world = world, .number = (unsigned)world->link_count, .target = number };
    world->links[world->link_count++] = link;
    link->state = LINK_CONNECTING;
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
    link->state = LINK_OPEN;
    link->heard_at = world->now;
    world->coverage->links++;
    world->link_at = link;
    link->mux_link = mux_link_open(world->mux, link, world->now);
    world->link_at = NULL;
    world_require(world, link->mux_link != NULL, "no memory");
    if (random_chance(&world->random, 50))
        mux_dispatch(world->mux, world->now);
    return true;
}

bool targets_connect(struct world *world)
{
    for (size_t i = 0; i < world->link_count; i++)
        if (world->links[i]->state == LINK_CONNECTING && link_connected(world->links[i]))
            return true;
    return link_connect(world);
}

struct mux_link *targets_choose(void *owner, void *client_state)
{
    struct world *world = owner;
    struct client *client = client_state;
    check_choose(client);
    size_t start = random_below(&world->random, world->link_count);
    for (size_t i = 0; i < world->link_count; i++) {
        struct link *link = world->links[(start + i) % world->link_count];
        if (link->state != LINK_OPEN || !mux_link_has_room(link->mux_link))
            continue;
        world_trace(world, "client %u is given connection %u", client->number, link->number);
        return link->mux_link;
    }
    return NULL;
}

void link_close(struct link *link)
{
    struct world *world = link->world;
    world_trace(world, "connection %u is closed: %s %s", link->number, reason_name_of_link(link),
                mux_link_explanation(link->mux_link));
    link->state = LINK_GONE;
    world->targets[link->target].count--;
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

static void link_say(struct link *link, enum part_kind kind, struct request *request, const char *bytes,
                     size_t length)
{
    struct part *last = link->part_count > 0 ? &link->parts[link->part_count - 1] : NULL;
    buffer_append(&link->inbound, bytes, length);
    link->said += length;
    if (last != NULL && last->kind == kind && kind == PART_ANSWER && last->request == request) {
        last->end = link->said;
        if (link->part_now == link->part_count) /* all of it had been given on */
            link->part_now--;
        if (link->part_handed == link->part_count)
            link->part_handed--;
        return;
    }
    link->parts = grow(link->world, link->parts, link->part_count, &link->part_space, sizeof *link->parts);
    link->parts[link->part_count++] = (struct part){ .kind = kind, .request = request, .end = link->said };
}

static void link_say_buffer(struct link *link, enum part_kind kind, struct buffer *bytes)
{
    link_say(link, kind, NULL, buffer_bytes(bytes), bytes->length);
    buffer_free(bytes);
}

/* Says the next `length` bytes of an answer, with the connection's id in them. */
static void link_say_answer(struct link *link, const struct work *work, enum part_kind kind,
                            const struct buffer *answer, size_t from, size_t length)
{
    const struct features *features = &link->world->features;
    const char *bytes = buffer_bytes(answer) + from;
    const char *id = (const char *)&work->id;
    for (size_t i = 0; i < length; i++) {
        bool is_id = from + i - features->id_offset < features->id_width && from + i >= features->id_offset;
        link_say(link, kind, work->request, is_id ? &id[from + i - features->id_offset] : &bytes[i], 1);
    }
}

static void link_finish_stream(struct link *link, bool reset)
{
    if (link->closed || link->was_reset)
        return;
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

/* Bytes that nobody asked for: what was said last, once more, or nonsense. Only when all that the target got is
 * answered. */
static void link_say_stray(struct link *link)
{
    const struct work *last = link->work_count > 0 ? &link->works[link->work_count - 1] : NULL;
    world_trace(link->world, "stray bytes on connection %u", link->number);
    link->stray = true;
    if (last == NULL || random_chance(&link->world->random, 30)) {
        link_say(link, PART_STRAY, NULL, "stray", 5);
        return;
    }
    struct work again = *last;
    size_t before = link->part_count;
    again.request = NULL;
    link_say_answer(link, &again, PART_STRAY, &last->request->answer, 0, last->request->answer.length);
    for (size_t i = before; i < link->part_count; i++)
        link->parts[i].kind = PART_STRAY;
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
        if (!at_rest || link->works_open > 0 || link->current != NULL || link->head.length > 0 ||
            (world->features.greeting && !link->greeted) || link->closed)
            return false;
        link_say_stray(link);
        return true;
    case FAULT_GARBAGE:
        if (!at_rest || dialect->write_garbage == NULL || (link->works_open == 0 && link->started > 0))
            return false;
        if (link->works_open == 0)
            link->stray = true;
        dialect->write_garbage(world, &bytes);
        link_say_buffer(link, PART_GARBAGE, &bytes);
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
static bool link_say_unknown_id(struct link *link, const struct work *work)
{
    struct world *world = link->world;
    struct work other = *work;
    if (!world->features.ids || !world_may(world, FAULT_UNKNOWN_IDS) || random_chance(&world->random, 90))
        return false;
    other.id = random_next(&world->random) & 0xffff;
    for (size_t i = 0; i < link->work_count; i++)
        if (link->works[i].id == other.id)
            return false;
    if (mux_link_output(link->mux_link).length > 0)
        return false;
    other.request = NULL;
    link_say_answer(link, &other, PART_STRAY, &work->request->answer, 0, work->request->answer.length);
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

static bool link_answer(struct link *link)
{
    struct world *world = link->world;
    struct random *random = &world->random;
    if (link->closed || link->was_reset || link->silent)
        return false;
    if (world->dialect->write_push != NULL && link->answering == NOT_ANSWERING && !link->stray &&
        !(world->features.greeting && !link->greeted) && !world->calm && random_chance(random, 3)) {
        struct buffer bytes = { 0 };
        world->dialect->write_push(world, &bytes);
        link_say_buffer(link, PART_PUSH, &bytes);
        coverage_count(world->coverage, SITUATION_PUSH);
        return true;
    }
    if (link_misbehave(link))
        return true;
    struct work *work = link_choose_work(link);
    if (work == NULL)
        return false;
    struct request *request = work->request;
    if (link->answering == NOT_ANSWERING && work->said == 0 && link_say_unknown_id(link, work))
        return true;
    link->answering = (size_t)(work - link->works);
    if (work->interims < request->interims) {
        const struct buffer *interim = &request->interim[work->interims++];
        link_say_answer(link, work, PART_INTERIM, interim, 0, interim->length);
        return true;
    }
    size_t length = request->answer.length - work->said;
    if (random_chance(random, 30))
        length = random_below(random, length + 1);
    link_say_answer(link, work, PART_ANSWER, &request->answer, work->said, length);
    work->said += length;
    world_trace(world, "connection %u: %zu bytes of the answer to request %u of client %u", link->number, length,
                request->number, request->client->number);
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
    link->works[link->work_count++] =
        (struct work){ .request = request, .due = world->now + delay, .id = request->id };
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
                          "byte %zu of request %u of client %u reached the target wrong", place, request->number,
                          request->client->number);
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
    if (link->head.length == 1)
        link->started++;
    int found = world->dialect->identify(world, buffer_slice(&link->head), &client, &number);
    if (found == 0)
        return;
    world_require(world, found > 0 && client >= 1 && client <= world->client_count &&
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
    link_say(link, PART_GREETING, NULL, words.bytes, words.length);
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
        link->crossed = true;
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
    while (link->part_handed < link->part_count && link->parts[link->part_handed].end <= link->handed) {
        const struct part *part = &link->parts[link->part_handed++];
        struct request *request = part->request;
        if (part->kind == PART_ANSWER && request->link == link) {
            request->heard_at = link->world->now;
            const struct work *work = link_work_of(link, request);
            request->answer_told = work->over && part->end <= link->handed;
        }
        if (part->kind == PART_STRAY || part->kind == PART_GARBAGE)
            link->spoilt = true;
    }
}

static bool link_deliver(struct link *link)
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
    link->heard_at = world->now;
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
    if (link->closed && !link->end_told && link->inbound.length == 0 && mux_link_wants_bytes(link->mux_link)) {
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
