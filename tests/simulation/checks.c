/* The promises. What is compared is what went in and what came out; what the multiplexer believes is not
 * asked. */
#include "simulation/dialect.h"
#include "simulation/world.h"

#include <string.h>

/* That a priority has, while lower ones wait, before one of these has one. */
#define TURNS_IN_ROW 9

static bool client_is_stuck(const struct client *client)
{
    return client->reads_late || client->sends_late;
}

/* Whether what others of its key have sent may hold it back. */
static bool client_is_limited(const struct client *client)
{
    return client->key != 0 && client->world->least.request_rate_each > 0;
}

/* ---- How a request may end ---- */

/* How many bytes of `bytes` are all of `expected`; 0: so far so good; -1: they differ. */
static long match(struct slice bytes, const struct buffer *expected)
{
    size_t length = bytes.length < expected->length ? bytes.length : expected->length;
    if (length > 0 && memcmp(bytes.bytes, buffer_bytes(expected), length) != 0)
        return -1;
    return length == expected->length ? (long)length : 0;
}

/* Since when nothing can have stopped this request from being sent but the queue. */
static int64_t request_waits_since(const struct request *request)
{
    const struct client *client = request->client;
    int64_t ready = request->complete && request->bytes.length < client->world->least.buffer_limit
                        ? request->completed_at
                        : request->begun_at;
    return client->first_since > ready ? client->first_since : ready;
}

/* Something, its own request_timeout among it, that brings down a connection by itself. */
static bool connection_may_fall(const struct connection *connection)
{
    const struct world *world = connection->world;
    return connection->end_told || connection->closing_answer || connection->early ||
           world->least.request_timeout >= 0 || world->least.stall_timeout >= 0;
}

static bool connection_may_break(const struct connection *connection)
{
    return connection->spoilt || connection->broke;
}

static bool milliseconds_passed(const struct world *world, int64_t since, int64_t milliseconds)
{
    return milliseconds >= 0 && world->now - since >= milliseconds * 1000;
}

static bool client_has_long_message(const struct client *client)
{
    return world_has(client->world, FAULT_LONG_MESSAGE);
}

static bool client_has_broken(const struct client *client)
{
    for (size_t i = 0; i < client->count; i++)
        if (client->requests[i].broken)
            return true;
    return false;
}

/* Whether a client, or a request of its, may end for this reason. */
static bool client_may_end(const struct client *client, enum reason reason)
{
    const struct world *world = client->world;
    switch (reason) {
    case REASON_CLIENT_CLOSED:
        return client->fin_given || client->has_ended_last;
    case REASON_CLIENT_RESET:
    case REASON_BLOCKED:
        return client->failed && client->failed_reason == reason;
    case REASON_PROTOCOL_ERROR:
        return client_has_broken(client);
    case REASON_CLIENT_STALLED:
        return world->least.stall_timeout >= 0;
    case REASON_CLIENT_IDLE:
        return world->least.client_idle_timeout >= 0;
    case REASON_OVER_LIMIT:
        return world_has(world, FAULT_SHORT_MEMORY) || client_has_long_message(client);
    case REASON_DRAINED:
        return client->drained || (client->failed && client->failed_reason == reason);
    default:
        return false;
    }
}

/* For want of an error for an earlier request its client was closed just now, and with it goes this one. */
static bool client_goes(const struct request *request, enum reason reason)
{
    const struct request *requests = request->client->requests;
    for (size_t i = 0; i < request->number; i++)
        if (requests[i].ended && !requests[i].answered && requests[i].reason == reason &&
            requests[i].ended_step == request->client->world->steps && requests[i].error.length == 0)
            return true;
    return false;
}

/* Whether this request may be the one of which that connection got too little to know it. */
static bool connection_may_have_begun(const struct connection *connection, const struct request *request)
{
    const struct features *features = &connection->world->features;
    struct slice head = buffer_slice(&connection->head);
    if (head.length == 0 || head.length > request->forward.length)
        return false;
    for (size_t i = 0; i < head.length; i++) {
        bool is_id = i >= features->id_offset && i - features->id_offset < features->id_width;
        if (!is_id && head.bytes[i] != buffer_bytes(&request->forward)[i])
            return false;
    }
    return true;
}

/* One of its requests was; and with its client, closed for that, go those that are with the target. */
static bool client_was_refused(const struct client *client)
{
    for (size_t i = 0; i < client->count; i++)
        if (client->requests[i].error_made && client->requests[i].error_reason == REASON_QUEUE_FULL)
            return true;
    return false;
}

/* Whether, for all that is known, as many as the rate allows were handed out in the last second (of a key that is not 0).
 * Those that were not sent then can't be told apart. */
static bool rate_is_used(const struct world *world, size_t key, int64_t rate)
{
    int64_t count = 0;
    if (rate <= 0 || world->connections_gone > 0)
        return rate > 0;
    for (size_t i = 0; i < world->client_count; i++) {
        const struct client *client = &world->clients[i];
        for (size_t j = 0; j < client->count && (key == 0 || client->key == key); j++) {
            const struct request *request = &client->requests[j];
            bool reached = request->connection != NULL && world->now - request->reached_at <= 1000000;
            bool vanished = request->connection == NULL && request->ended &&
                            request->reason != REASON_OVER_RATE && request->reason != REASON_QUEUE_TIMEOUT;
            count += reached || vanished;
        }
    }
    for (size_t i = world->first_connection; i < world->connection_count; i++)
        if (world->connections[i]->state == CONNECTION_OPEN)
            count += (int64_t)mux_connection_load(world->connections[i]->mux_connection);
    return count >= rate;
}

static bool request_may_end_on(const struct request *request, const struct connection *connection,
                               enum reason reason)
{
    const struct world *world = request->client->world;
    switch (reason) {
    case REASON_TARGET_CLOSED:
        return connection != NULL && connection_may_fall(connection);
    case REASON_TARGET_RESET:
        return connection != NULL && connection->reset_told;
    case REASON_REQUEST_TIMEOUT:
        return milliseconds_passed(world, request->error_made ? request->error_at - request->quiet : 0,
                                   world->least.request_timeout);
    case REASON_QUEUE_TIMEOUT:
        return request->connection == NULL &&
               milliseconds_passed(world, request_waits_since(request), world->least.queue_timeout);
    case REASON_OVER_RATE:
        return request->connection == NULL &&
               milliseconds_passed(world, request_waits_since(request), world->least.queue_timeout) &&
               (rate_is_used(world, 0, world->least.request_rate) ||
                (request->client->key != 0 &&
                 rate_is_used(world, request->client->key, world->least.request_rate_each)));
    case REASON_QUEUE_FULL:
        return world_has(world, FAULT_SHORT_QUEUE) &&
               (request->connection == NULL || client_was_refused(request->client));
    case REASON_PROTOCOL_ERROR:
        return client_has_broken(request->client) || (connection != NULL && connection_may_break(connection));
    case REASON_REFUSED_COMMAND:
        return request->kind == REQUEST_REFUSED || (request->local && request->closes_client);
    default:
        return client_may_end(request->client, reason);
    }
}

static bool request_may_end(const struct request *request, enum reason reason)
{
    const struct world *world = request->client->world;
    if (request_may_end_on(request, request->connection, reason))
        return true;
    for (size_t i = 0; i < world->connection_count && request->connection == NULL; i++)
        if (connection_may_have_begun(world->connections[i], request) &&
            request_may_end_on(request, world->connections[i], reason))
            return true;
    return false;
}

static void check_answered(const struct request *request)
{
    const struct world *world = request->client->world;
    uint32_t client = request->client->number;
    if (request->local) {
        world_require(world, request->connection == NULL, "client %u: a local request reached the target",
                      client);
        coverage_count(world->coverage, SITUATION_ANSWERED_LOCALLY);
        return;
    }
    if (request->kind == REQUEST_UNANSWERED) {
        world_require(world, request->sent_whole, "client %u: request %u is over, but was not sent", client,
                      request->number);
        coverage_count(world->coverage, SITUATION_UNANSWERED);
        return;
    }
    world_require(world, request->answer_told,
                  "client %u: request %u is answered, but its answer has not come", client, request->number);
    world_require(world, request->answer_kind != ANSWER_TO_END || request->connection->end_told,
                  "client %u: request %u is answered before the stream's end, which ends it", client,
                  request->number);
    coverage_count(world->coverage, SITUATION_ANSWERED);
}

/* What needs nothing at the client is past when it has ended. */
static void client_advance(struct client *client)
{
    while (client->seen < client->count) {
        struct request *request = &client->requests[client->seen];
        bool nothing = request->answered ? request->kind == REQUEST_UNANSWERED
                                         : request->error_written && request->error.length == 0;
        if (!request->ended || !nothing)
            return;
        request->passed = true;
        client->seen++;
    }
}

/* Where there are no messages an exchange is a turn. */
static void check_turn_ended(struct world *world, const struct mux_ending *ending)
{
    struct client *client = ending->client;
    world_trace(world, "a turn of client %u ends: %s", client->number,
                ending->answered ? "answered" : reason_name(ending->reason));
    world->coverage->exchanges++;
    if (ending->answered)
        coverage_count(world->coverage, SITUATION_TURN);
    else
        world->coverage->reasons[ending->reason]++;
    client->has_ended_last |= !ending->answered;
    world_require(world, world->faults != 0 || ending->answered,
                  "a turn of client %u ends as %s without cause", client->number,
                  reason_name(ending->reason));
}

/* Whether an earlier one of its client goes on. */
static bool request_is_behind(const struct request *request)
{
    for (size_t i = 0; i < request->number; i++)
        if (!request->client->requests[i].ended)
            return true;
    return false;
}

static bool request_is_for_target(const struct request *request)
{
    return request->kind != REQUEST_LOCAL && request->kind != REQUEST_REFUSED &&
           request->kind != REQUEST_BROKEN;
}

/* Its client has ended its stream, and is taken to have given up; but it waited for nobody, only until a
 * connection could be used. */
static void check_gave_up(const struct request *request)
{
    struct client *client = request->client;
    struct world *world = client->world;
    bool is_next = request_is_for_target(request) && request->complete && request->connection == NULL &&
                   request->chosen == NULL && !request_is_behind(request) && mux_waiting(world->mux) == 1;
    if (!is_next || !client->fin_given || client->failed || client->has_ended_last || client->drained ||
        client_is_limited(client))
        return;
    for (size_t i = world->first_connection; i < world->connection_count; i++)
        if (world->connections[i]->state == CONNECTION_OPEN)
            return;
    world_require(world, targets_opening(world) == 0,
                  "request %u of client %u is dropped, although a connection is being made for it",
                  request->number, client->number);
}

void check_ended(void *owner, const struct mux_ending *ending)
{
    struct world *world = owner;
    if (world->dialect->has_turns) {
        check_turn_ended(world, ending);
        return;
    }
    struct request *request = recorder_find(world, ending->request);
    world_require(world, request != NULL, "an exchange ends that nobody made");
    struct client *client = request->client;
    world_trace(world, "request %u of client %u ends: %s", request->number, client->number,
                ending->answered ? "answered" : reason_name(ending->reason));
    world_require(world, !request->ended, "request %u of client %u ends twice", request->number,
                  client->number);
    world_require(world, ending->client == client, "request %u ends for another client", request->number);
    world_require(world,
                  ending->connection == NULL || request->connection == NULL ||
                      ending->connection == request->connection,
                  "request %u of client %u ends on another connection", request->number, client->number);
    request->ended = true;
    request->answered = ending->answered;
    request->reason = ending->reason;
    request->ended_step = world->steps;
    if (!ending->answered)
        check_forget_turns(world);
    if (!request->error_made)
        request->over_at = world->steps;
    world->coverage->exchanges++;
    if (ending->answered) {
        check_answered(request);
    } else {
        world->coverage->reasons[ending->reason]++;
        world_require(world, request_may_end(request, ending->reason) || client_goes(request, ending->reason),
                      "request %u of client %u ends as %s without cause", request->number, client->number,
                      reason_name(ending->reason));
        if (ending->reason == REASON_CLIENT_CLOSED) {
            coverage_count(world->coverage, SITUATION_ABORTED);
            check_gave_up(request);
        }
    }
    bool early = request->answered && !request->complete;
    if (request->closes_client || request->said_last || early)
        client->has_ended_last = true;
    if (!request_is_behind(request))
        client->first_since = world->now;
    client_advance(client);
}

/* ---- What a client gets ---- */

/* All that may come now, one after the other. */
enum expectation { EXPECT_HERE, EXPECT_INTERIM, EXPECT_ANSWER, EXPECT_ERROR, EXPECT_COUNT };

static long match_expectation(struct request *request, enum expectation expectation, struct slice bytes)
{
    const struct world *world = request->client->world;
    bool here_over = request->here.length == 0 || request->here_seen > 0;
    switch (expectation) {
    case EXPECT_HERE:
        return here_over ? -1 : match(bytes, &request->here);
    case EXPECT_INTERIM:
        return !here_over || request->interims_seen == request->interims
                   ? -1
                   : match(bytes, &request->interim_expected[request->interims_seen]);
    case EXPECT_ANSWER:
        if (!here_over || request->connection == NULL || request->broken || request->local ||
            request->kind == REQUEST_UNANSWERED || request->interims_seen < request->interims)
            return -1;
        return world->dialect->match_answer == NULL ? match(bytes, &request->expected)
                                                    : world->dialect->match_answer(world, request, bytes);
    default:
        return request->error.length == 0 ? -1 : match(bytes, &request->error);
    }
}

static void request_passed(struct request *request, enum expectation expectation)
{
    struct client *client = request->client;
    const struct world *world = client->world;
    if (expectation == EXPECT_INTERIM) {
        request->interims_seen++;
        return;
    }
    if (expectation == EXPECT_HERE) {
        request->here_seen = request->here.length;
        if (!request->local && !request->broken) {
            coverage_count(world->coverage, SITUATION_CONTINUED);
            return;
        }
    }
    request->got_error = expectation == EXPECT_ERROR;
    request->got_answer = expectation == EXPECT_ANSWER;
    if (request->got_error)
        coverage_count(world->coverage, SITUATION_ERROR);
    if (request->said_last)
        coverage_count(world->coverage, SITUATION_LAST_ANSWER);
    request->passed = true;
    client->seen++;
}

/* Tries what is there against all that may come. False: more bytes are needed. */
static bool client_tell_apart(struct client *client)
{
    struct world *world = client->world;
    client_advance(client);
    world_require(world, client->seen < client->count, "client %u gets bytes after its last answer",
                  client->number);
    struct request *request = &client->requests[client->seen];
    struct slice bytes = buffer_slice(&client->news);
    bool possible = false;
    if (client->seen > 0) {
        const struct request *before = &client->requests[client->seen - 1];
        world_require(world, !before->closes_client && !before->said_last,
                      "client %u gets bytes after the answer that closes it", client->number);
    }
    for (int expectation = 0; expectation < EXPECT_COUNT; expectation++) {
        long count = match_expectation(request, (enum expectation)expectation, bytes);
        if (count > 0) {
            buffer_consume(&client->news, (size_t)count);
            request_passed(request, (enum expectation)expectation);
            return true;
        }
        possible |= count == 0;
    }
    world_require(world, possible, "client %u gets bytes in the place of request %u that are not for it",
                  client->number, request->number);
    return false;
}

void check_output(struct client *client, struct slice bytes)
{
    buffer_append(&client->news, bytes.bytes, bytes.length);
    while (client->news.length > 0 && client_tell_apart(client))
        ;
    client_advance(client);
}

/* ---- A client is gone ---- */

static void check_request_of_gone(const struct client *client, const struct request *request)
{
    const struct world *world = client->world;
    bool clean = client->closing == MUX_CLOSE && !client->failed;
    if (!request->ended) {
        world_require(world, !request->complete && !request->broken && request->sent == 0,
                      "client %u is gone, but its request %u has not ended", client->number, request->number);
        return;
    }
    /* It may be too long only with its last byte, or lack the end that says that it was all. */
    bool looks_whole = request->answer_kind == ANSWER_TO_END || request->reason == REASON_OVER_LIMIT;
    if (request->got_answer && !request->answered)
        world_require(world, looks_whole && !clean,
                      "client %u has the answer to request %u, which ended as %s", client->number,
                      request->number, reason_name(request->reason));
    if (request->got_error)
        world_require(world, !request->answered && request->reason == request->error_reason,
                      "client %u got another error for request %u than that by which it ended",
                      client->number, request->number);
    if (request->answered && !request->passed)
        world_require(world, !clean,
                      "client %u is closed without the answer to request %u, which counts as "
                      "answered",
                      client->number, request->number);
}

static void check_half_close(const struct client *client)
{
    const struct world *world = client->world;
    if (!client->ends_early || client->failed || client->seen == 0)
        return;
    if (client->requests[client->seen - 1].got_answer)
        coverage_count(world->coverage, SITUATION_HALF_CLOSED);
}

void check_client_gone(struct client *client)
{
    const struct world *world = client->world;
    if (world->dialect->has_turns) {
        world_require(world, world->faults != 0 || client_is_finished(client),
                      "client %u is closed before it has its answers", client->number);
        return;
    }
    for (size_t i = 0; i < client->count; i++)
        check_request_of_gone(client, &client->requests[i]);
    check_half_close(client);
    if (client->failed)
        return;
    bool in_answer = client->news.length > 0;
    if (in_answer)
        coverage_count(world->coverage, SITUATION_CUT_SHORT);
    world_require(world, !in_answer || client->closing == MUX_RESET,
                  "client %u got a part of an answer, and its stream ends as if it was all", client->number);
    if (client->drained)
        coverage_count(world->coverage, SITUATION_CLIENT_DRAINED);
    if (client->reason == REASON_CLIENT_IDLE)
        coverage_count(world->coverage, SITUATION_IDLE_CLIENT_CLOSED);
    const struct request *next = client->seen < client->count ? &client->requests[client->seen] : NULL;
    bool for_want = next != NULL && next->ended && !next->answered;
    if (for_want && !next->error_written)
        coverage_count(world->coverage, SITUATION_CLOSED_FOR_ERROR);
    const struct request *last = client->seen > 0 ? &client->requests[client->seen - 1] : NULL;
    bool by_request = (for_want && next->reason == client->reason) ||
                      (last != NULL && !last->answered && last->reason == client->reason);
    world_require(world, by_request || client_may_end(client, client->reason),
                  "client %u is closed as %s without cause", client->number, reason_name(client->reason));
}

/* ---- What a target gets ---- */

/* With the target, and nobody has given it up. */
static bool request_is_open(const struct request *request)
{
    return request->connection != NULL && !request->ended && !request->error_made && !request->answer_told &&
           !(request->kind == REQUEST_UNANSWERED && request->sent_whole);
}

/* The client's earlier requests are on their way, and on the same connection. */
static void check_earlier(const struct connection *connection, const struct request *request)
{
    const struct client *client = request->client;
    for (size_t i = 0; i < request->number; i++) {
        const struct request *earlier = &client->requests[i];
        world_require(connection->world,
                      !request_is_for_target(earlier) || earlier->connection != NULL || earlier->ended ||
                          earlier->error_made,
                      "client %u: request %u is sent before request %u", client->number, request->number,
                      earlier->number);
        world_require(connection->world, !request_is_open(earlier) || earlier->connection == connection,
                      "client %u: request %u is sent while request %u is on another connection",
                      client->number, request->number, earlier->number);
    }
}

static void check_room(const struct connection *connection, const struct request *request)
{
    const struct world *world = connection->world;
    size_t open = 0;
    for (size_t i = 0; i < connection->work_count; i++)
        open += request_is_open(connection->works[i].request);
    world_require(world, open < world->most.depth, "connection %u: %zu requests in flight",
                  connection->number, open + 1);
    world_require(world,
                  world->most.max_requests < 0 || connection->started <= (size_t)world->most.max_requests,
                  "connection %u: more than max_requests", connection->number);
    world_require(world, world->now >= connection->up_at + world->least.connect_delay * 1000,
                  "connection %u: a request before connect_delay is over", connection->number);
    world_require(world, request->complete || open == 0,
                  "connection %u: request %u of client %u streams before its turn", connection->number,
                  request->number, request->client->number);
    if (request->bytes.length < world->least.buffer_limit) { /* else it was given its place earlier */
        world_require(world,
                      connection->silent_in_a_row < 2 || request->completed_step <= connection->silent_step,
                      "connection %u: a request after two without an answer", connection->number);
        world_require(world, !connection->retired || request->completed_step <= connection->retired_step,
                      "connection %u: a request after it was retired", connection->number);
    }
    if (open == 0 && connection->rested_since > 0)
        world_require(world, world->now >= connection->rested_since + world->least.request_gap * 1000,
                      "connection %u: a request before request_gap is over", connection->number);
}

static size_t client_in_flight(const struct client *client)
{
    size_t count = 0;
    for (size_t i = 0; i < client->count; i++)
        count += request_is_open(&client->requests[i]);
    return count;
}

void check_forget_turns(struct world *world)
{
    for (size_t i = 0; i < MUX_PRIORITIES; i++) {
        world->turns[i] = TURNS_IN_ROW;
        world->behind[i] = 0;
    }
}

/* Whether a client certainly has had a request in the queue, and could be sent to, since before this step. */
static bool client_waits_since(const struct client *client, unsigned long step)
{
    if (client_is_limited(client))
        return false;
    for (size_t i = 0; client->state == CLIENT_HERE && i < client->count; i++) {
        const struct request *waiting = &client->requests[i];
        if (request_is_for_target(waiting) && waiting->connection == NULL && !waiting->ended &&
            !waiting->error_made)
            return waiting->complete && waiting->completed_step < step && client->busy_at < step &&
                   client->sent_step < step && client_in_flight(client) == 0;
    }
    return false;
}

static bool priority_waits_since(const struct world *world, unsigned priority, unsigned long step)
{
    for (size_t i = 0; i < world->client_count; i++)
        if (world->clients[i].door != NULL && world->clients[i].door->priority == priority &&
            client_waits_since(&world->clients[i], step))
            return true;
    return false;
}

/* One connection: a lower priority passes a higher one only after nine turns of that. */
static void check_passes(struct world *world, const struct request *request)
{
    unsigned own = request->client->door->priority;
    for (unsigned i = own + 1; i < MUX_PRIORITIES; i++) {
        if (!priority_waits_since(world, i, request->completed_step))
            continue;
        coverage_count(world->coverage, SITUATION_LOWER_PRIORITY);
        world_require(world, world->turns[i] >= TURNS_IN_ROW,
                      "request %u of client %u goes before priority %u, which has had %u turns",
                      request->number, request->client->number, i, world->turns[i]);
        world->turns[i] = 0;
    }
}

/* One connection: a lower priority that waits gets one of ten turns, here if there are two of them. Some may be on their
 * way that were handed out before. */
static void check_starving(struct world *world, unsigned own)
{
    for (unsigned i = 0; i < MUX_PRIORITIES; i++) {
        if (i >= own || !priority_waits_since(world, i, world->begun_step)) {
            world->behind[i] = 0;
            continue;
        }
        coverage_count(world->coverage, SITUATION_PRIORITY);
        world->behind[i]++;
        world_require(world, world->doors_used > 2 || world->behind[i] <= TURNS_IN_ROW + world->most.depth,
                      "priority %u has no turn while %u go to priority %u", i, world->behind[i], own);
    }
}

static void check_priorities(const struct connection *connection, const struct request *request)
{
    struct world *world = connection->world;
    unsigned own = request->client->door->priority;
    bool was_moved = request->chosen != NULL && request->chosen != connection;
    if (!world->settings.in_order || !world->single)
        return;
    if (!was_moved && request->complete && request->bytes.length < world->least.buffer_limit)
        check_passes(world, request);
    check_starving(world, own);
    world->turns[own]++;
    world->begun_step = world->steps;
}

/* One connection: what became complete first goes first, unless its client may not be sent to. */
static void check_fifo(const struct connection *connection, const struct request *request)
{
    const struct world *world = connection->world;
    bool was_moved = request->chosen != NULL && request->chosen != connection; /* it has kept its place */
    if (was_moved || !world->settings.in_order || !world->single || !request->complete ||
        request->bytes.length >= world->least.buffer_limit)
        return;
    for (size_t i = 0; i < world->client_count; i++) {
        const struct client *other = &world->clients[i];
        if (other == request->client || other->state != CLIENT_HERE ||
            other->door->priority != request->client->door->priority ||
            (client_is_limited(other) && (other->key != request->client->key || world->doors_used > 1)))
            continue;
        for (size_t j = 0; j < other->count; j++) {
            const struct request *waiting = &other->requests[j];
            if (!request_is_for_target(waiting) || waiting->connection != NULL || waiting->ended ||
                waiting->error_made)
                continue;
            bool eligible = other->busy_at < request->completed_step && client_in_flight(other) == 0 &&
                            other->sent_step < request->completed_step;
            if (!waiting->complete || !eligible)
                break;
            coverage_count(world->coverage, SITUATION_FIFO_ORDER);
            world_require(world, waiting->completed_place > request->completed_place,
                          "request %u of client %u overtakes request %u of client %u", request->number,
                          request->client->number, waiting->number, other->number);
            break;
        }
    }
}

/* Never more than a second's worth at once, and what has come since. */
static void check_rate(const struct world *world, size_t count, int64_t rate, enum situation situation)
{
    double seconds = (double)(world->now - world->began) / 1e6;
    if (rate <= 0)
        return;
    if (count > (size_t)rate)
        coverage_count(world->coverage, situation);
    world_require(world, (double)count <= (double)rate * (1 + seconds) + 0.001,
                  "%zu requests in %.3f seconds, at %lld a second", count, seconds, (long long)rate);
}

static void check_rates(struct world *world, struct request *request)
{
    size_t key = request->client->key;
    request->reached_at = world->now;
    check_rate(world, ++world->reached, world->most.request_rate, SITUATION_RATE);
    if (key != 0)
        check_rate(world, ++world->reached_of[key], world->most.request_rate_each, SITUATION_KEY_RATE);
}

void check_request_begins(struct connection *connection, struct request *request)
{
    struct world *world = connection->world;
    const struct client *client = request->client;
    size_t start = request->number == 0 ? 0 : client->ends[request->number - 1];
    world_require(world, request->connection == NULL, "request %u of client %u is sent twice",
                  request->number, client->number);
    bool over = request->ended || request->error_made;
    world_require(world, !over || connection->head_step <= request->over_at,
                  "request %u of client %u is sent after its end", request->number, client->number);
    world_require(world, request_is_for_target(request), "a request reaches the target that must not");
    world_require(world,
                  request->complete || client->read_on - start >= world->least.buffer_limit ||
                      world->dialect->has_turns,
                  "request %u of client %u is sent in part", request->number, client->number);
    if (!request->complete && !world->dialect->has_turns)
        coverage_count(world->coverage, SITUATION_REQUEST_STREAMED);
    if (request->bytes.length >= world->least.buffer_limit && request->chosen_busy)
        coverage_count(world->coverage, SITUATION_RESERVED);
    if (world->dialect->has_turns)
        return;
    check_rates(world, request);
    check_earlier(connection, request);
    check_room(connection, request);
    check_fifo(connection, request);
    check_priorities(connection, request);
    if (request->chosen != NULL && request->chosen != connection)
        coverage_count(world->coverage, SITUATION_MOVED);
}

void check_choose(struct client *client, struct connection *connection)
{
    const struct world *world = client->world;
    bool found = false;
    for (size_t i = 0; i < client->count; i++) {
        struct request *request = &client->requests[i];
        size_t start = i == 0 ? 0 : client->ends[i - 1];
        bool turns = world->dialect->has_turns && client->sent > start;
        bool has_come = turns || request->complete || client->read_on >= start + world->least.buffer_limit;
        if (!request_is_for_target(request) || !has_come || request->connection != NULL || request->ended)
            continue;
        if (request->chosen == NULL)
            request->chosen = connection;
        request->chosen_busy = !request->complete && connection != NULL && connection->works_open > 0;
        found = true;
        break;
    }
    world_require(world, found, "client %u, which asks nothing, is given a connection", client->number);
    world_require(world, mux_client_output(client->mux_client).length < world->most.buffer_limit,
                  "client %u, which takes none of its answers, is given a connection", client->number);
}

void check_connection_gone(struct connection *connection)
{
    struct world *world = connection->world;
    check_forget_turns(world);
    if (world->dialect->has_turns)
        return;
    for (size_t i = 0; i < world->client_count; i++) {
        for (size_t j = 0; j < world->clients[i].count; j++) {
            const struct request *request = &world->clients[i].requests[j];
            world_require(world, request->connection != connection || !request_is_open(request),
                          "connection %u is gone, and nobody is told of request %u of client %u",
                          connection->number, request->number, request->client->number);
        }
    }
}

/* ---- After every step ---- */

/* Nothing more is read of it: what comes is thrown away. */
static bool client_input_is_over(const struct client *client)
{
    const struct world *world = client->world;
    /* What has been refused behind a turn that goes on can't be known from outside. */
    bool refused = world->dialect->has_turns &&
                   (world_has(world, FAULT_SHORT_QUEUE) || world_has(world, FAULT_SHORT_TIMES));
    if (refused || client->drained || client->failed || client->has_ended_last ||
        client->closing != MUX_STAYS)
        return true;
    for (size_t i = 0; i < client->count; i++) {
        const struct request *request = &client->requests[i];
        if (request->broken || request->closes_client || request->said_last ||
            ((request->error_made || request->ended) && !request->complete) ||
            (request->error_made && request->error_reason == REASON_OVER_LIMIT))
            return true;
    }
    return false;
}

/* Bytes of requests that were taken from a client, and are neither with the target nor over. */
static size_t client_requests_held(const struct client *client)
{
    size_t held = 0;
    size_t start = 0;
    for (size_t i = 0; i < client->count && start < client->sent; i++) {
        const struct request *request = &client->requests[i];
        size_t end = client->ends[i] < client->sent ? client->ends[i] : client->sent;
        bool here = request->kind == REQUEST_LOCAL || request->kind == REQUEST_REFUSED || request->broken;
        if (!request->ended && !request->error_made && !here && !request->answer_told)
            held += end - start - request->sent;
        start = client->ends[i];
    }
    return held;
}

/* Bytes of answers that were given out for it, and have not left. */
static size_t client_answers_held(const struct client *client)
{
    size_t held = (size_t)(client->put_out - client->taken);
    for (size_t i = client->seen; i < client->count; i++) {
        const struct request *request = &client->requests[i];
        size_t out = request->here.length + request->given_out + request->error.length;
        held += i == client->seen && out >= client->news.length ? out - client->news.length : out;
    }
    return held;
}

static void check_client(const struct client *client)
{
    const struct world *world = client->world;
    struct slice output = mux_client_output(client->mux_client);
    size_t bound = 2 * world->most.buffer_limit + world->read_size;
    world_require(world,
                  output.length == client->put_out - client->taken &&
                      client->reads == mux_client_wants_bytes(client->mux_client) &&
                      client->closing == mux_client_closing(client->mux_client),
                  "client %u has changed, and nobody was told", client->number);
    /* What was on its way to a connection that went is the client's again. */
    size_t output_most = world->connections_gone > 0 ? bound : 0;
    for (size_t i = world->first_connection; i < world->connection_count; i++)
        if (world->connections[i]->state == CONNECTION_OPEN)
            output_most += mux_connection_output(world->connections[i]->mux_connection).length +
                           world->connections[i]->head.length;
    size_t held = client_requests_held(client);
    world_require(world, client_input_is_over(client) || held <= bound + output_most,
                  "client %u: %zu bytes of requests are held, of %zu, and %zu in outputs", client->number,
                  held, bound, output_most);
    held = client_answers_held(client);
    size_t here = 64 + world->dialect->local_most;
    for (size_t i = 0; i < client->count; i++) /* all that are in flight may fail at once */
        here += client->requests[i].error.length;
    world_require(world, client->closing != MUX_STAYS || held <= bound + here,
                  "client %u: %zu bytes of answers are held", client->number, held);
}

static void check_connection(const struct connection *connection)
{
    const struct world *world = connection->world;
    size_t length = mux_connection_output(connection->mux_connection).length;
    world_require(world,
                  connection->reads == mux_connection_wants_bytes(connection->mux_connection) &&
                      !mux_connection_is_over(connection->mux_connection),
                  "connection %u has changed, and nobody was told", connection->number);
    size_t bound = 2 * world->most.buffer_limit + world->read_size;
    world_require(world, length <= (world->connections_gone > 0 ? 2 * bound : bound),
                  "connection %u: %zu bytes wait to be sent", connection->number, length);
}

/* Each door counts what its clients have; requests may be on their way that no target has seen. */
static void check_doors(const struct world *world)
{
    size_t waiting = 0;
    for (size_t i = 0; i < DOORS; i++) {
        const struct mux_door *door = &world->doors[i];
        size_t in_flight = 0;
        waiting += door->waiting;
        for (size_t k = 0; k < world->client_count; k++)
            if (world->clients[k].state == CLIENT_HERE && world->clients[k].door == door)
                in_flight += client_in_flight(&world->clients[k]);
        world_require(world, door->in_flight >= in_flight || world->dialect->has_turns,
                      "a door has %zu requests in flight, and says %zu", in_flight, door->in_flight);
    }
    world_require(world, waiting == mux_waiting(world->mux), "%zu clients wait, %zu at doors",
                  mux_waiting(world->mux), waiting);
}

void check_world(struct world *world)
{
    size_t clients = 0;
    for (size_t i = 0; i < world->client_count; i++) {
        struct client *client = &world->clients[i];
        bool here = client->state == CLIENT_HERE || client->state == CLIENT_LEAVING;
        clients += here;
        if (!here)
            continue;
        check_client(client);
        if (client->put_out > client->taken || client_in_flight(client) > 0)
            client->busy_at = world->steps;
    }
    for (size_t i = world->first_connection; i < world->connection_count; i++)
        if (world->connections[i]->state == CONNECTION_OPEN)
            check_connection(world->connections[i]);
    world_require(world, mux_clients(world->mux) == clients, "the multiplexer counts %zu clients of %zu",
                  mux_clients(world->mux), clients);
    check_doors(world);
    world_require(world, mux_memory(world->mux) <= world->most.memory_limit, "memory_limit is exceeded");
    world_require(world, mux_waiting(world->mux) <= world->most.queue_limit, "queue_limit is exceeded");
}

/* ---- When nothing moves any more ---- */

static bool world_hangs(const struct world *world)
{
    for (size_t i = world->first_connection; i < world->connection_count; i++) {
        const struct connection *connection = world->connections[i];
        if (connection->state == CONNECTION_OPEN && (connection->silent || connection->deaf) &&
            world->most.request_timeout < 0)
            return true;
    }
    if (world->good || world->settings.stall_timeout >= 0)
        return false;
    for (size_t i = 0; i < world->client_count; i++)
        if (client_is_stuck(&world->clients[i]) && world->clients[i].state == CLIENT_HERE)
            return true;
    return false;
}

void check_quiet(struct world *world, bool everything)
{
    bool hangs = !everything && world_hangs(world);
    for (size_t i = 0; i < world->client_count; i++) {
        struct client *client = &world->clients[i];
        if (!world->good && client_is_stuck(client))
            continue;
        if (client->state == CLIENT_GONE)
            continue;
        if (hangs)
            coverage_count(world->coverage, SITUATION_HUNG);
        else
            world_fail(world, "client %u waits for ever", client->number);
    }
}
