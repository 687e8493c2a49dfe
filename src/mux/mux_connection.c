/* The target's side: requests out, responses in, each to the exchange that it answers. */
#include "mux/mux_state.h"

#include <assert.h>
#include <stdlib.h>

/* With ids: requests in a row that may go unanswered before the connection is replaced. */
#define SILENT_MAX 3

/* With ids: places for requests, answered or given up, at the least and at the most. */
#define SLOTS_MIN ((size_t)64)
#define SLOTS_MAX ((size_t)65536)

bool connection_is_ending(const struct mux_connection *connection)
{
    return connection->state == CONNECTION_OVER || list_linked(&connection->doomed);
}

bool connection_has_sent(const struct mux_exchange *exchange)
{
    return exchange->state == EXCHANGE_SENT && exchange->start < exchange->connection->written;
}

bool connection_has_sent_all(const struct mux_exchange *exchange)
{
    return exchange->complete && exchange->bytes.length == 0 &&
           exchange->end <= exchange->connection->written;
}

bool connection_is_idle(const struct mux_connection *connection)
{
    return connection->state == CONNECTION_READY && connection->load == 0 && connection->reserved == NULL &&
           connection->output.length == 0;
}

struct mux_exchange *connection_answering(const struct mux_connection *connection)
{
    return connection->mux->id_count > 0 ? connection->current : connection_first(connection);
}

bool connection_is_blocked_by(const struct mux_connection *connection, const struct mux_client *client)
{
    const struct mux_exchange *exchange = connection_answering(connection);
    if (exchange == NULL)
        return connection->last_owner == client &&
               client->output.length >= connection->mux->settings.buffer_limit;
    return exchange->client == client && exchange == client_first(client) &&
           client->output.length >= connection->mux->settings.buffer_limit;
}

static bool connection_is_blocked(const struct mux_connection *connection)
{
    const struct mux_exchange *exchange = connection_answering(connection);
    const struct mux_client *client = exchange != NULL ? exchange->client : connection->last_owner;
    return client != NULL && connection_is_blocked_by(connection, client);
}

bool mux_connection_wants_bytes(const struct mux_connection *connection)
{
    return !connection_is_ending(connection) && !connection_is_blocked(connection);
}

bool mux_connection_has_room(const struct mux_connection *connection)
{
    const struct mux_settings *settings = &connection->mux->settings;
    const struct mux_exchange *first = connection_first(connection);
    return connection->state == CONNECTION_READY && !connection_is_ending(connection) && !connection->due &&
           (first == NULL || !first->request.alone) && !connection->resting && connection->reserved == NULL &&
           connection->streaming == NULL && connection->load < settings->depth &&
           connection->output.length < settings->buffer_limit &&
           (connection->slots == NULL || connection->slots_used < connection->slot_count);
}

/* ---- Clocks ---- */

static void connection_run(struct timeout_list *list, struct timeout *timeout, bool runs, int64_t now)
{
    if (!runs)
        timeout_stop(timeout);
    else if (!list_linked(&timeout->node))
        timeout_start(list, timeout, now);
}

/* Whether the target owes us a byte: all of the oldest request is with it, and we read. With ids each
 * exchange has a clock of its own. */
static bool connection_is_owed(const struct mux_connection *connection)
{
    const struct mux_exchange *first = connection_first(connection);
    if (connection_is_ending(connection) || !mux_connection_wants_bytes(connection))
        return false;
    if (connection->state == CONNECTION_GREETING)
        return connection->output.length == 0;
    if (first == NULL || first->untimed || connection->mux->id_count > 0)
        return false;
    if (connection->mux->takes_turns)
        return !first->request.begun && first->bytes.length == 0 && first->end <= connection->written;
    return connection_has_sent_all(first);
}

/* Whether the turn ends unless more of the answer comes: it has begun, and we read. */
static bool connection_turn_ends(const struct mux_connection *connection)
{
    const struct mux_exchange *first = connection_first(connection);
    return connection->mux->takes_turns && first != NULL && first->request.begun &&
           !connection_is_blocked(connection);
}

/* Turns: who goes on asking, a few bytes at a time, while others wait does not put off the end of its turn.
 */
static void connection_watch_answer(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    if (!connection_is_owed(connection)) {
        timeout_stop(&connection->answering);
    } else if (!list_linked(&connection->answering.node)) {
        bool drips = mux->takes_turns && connection->taken < mux->settings.buffer_limit &&
                     mux_somebody_else_waits(mux, connection_first(connection)->client);
        timeout_start(&mux->answering_timeouts, &connection->answering,
                      drips ? connection->answering.since : mux->now);
        if (!drips)
            connection->taken = 0;
    }
}

static void connection_watch(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    const struct mux_exchange *answering = connection_answering(connection);
    const struct mux_exchange *first = connection_first(connection);
    bool ending = connection_is_ending(connection);
    bool discards = answering != NULL && answering->client == NULL && answering->seen;
    bool taking = !ending && connection->output.length > 0 && (first == NULL || !first->untimed);
    connection_run(&mux->taking_timeouts, &connection->taking, taking, mux->now);
    connection_watch_answer(connection);
    connection_run(&mux->discard_timeouts, &connection->discard, !ending && discards, mux->now);
    connection_run(&mux->turn_timeouts, &connection->turn, !ending && connection_turn_ends(connection),
                   mux->now);
    connection_run(&mux->inactivity_timeouts, &connection->inactivity,
                   !ending && connection_is_idle(connection), mux->now);
}

static void connection_over(struct mux_connection *connection)
{
    connection->state = CONNECTION_OVER;
    timeout_stop(&connection->answering);
    timeout_stop(&connection->taking);
    timeout_stop(&connection->discard);
    timeout_stop(&connection->inactivity);
    timeout_stop(&connection->ttl);
    timeout_stop(&connection->pause);
    timeout_stop(&connection->turn);
    if (connection->last_owner != NULL)
        connection->last_owner->late_connection = NULL;
    connection->last_owner = NULL;
}

void connection_update(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    if (!connection_is_ending(connection) && connection->due && connection_is_idle(connection))
        connection_over(connection);
    connection_watch(connection);
    const struct mux_exchange *answering = connection_answering(connection);
    if (answering != NULL && answering->client != NULL) /* it may be the next one that is waited for */
        client_watch_stall(answering->client);
    if (!list_empty(&mux->queue) && mux_connection_has_room(connection))
        mux->wants_dispatch = true;
    if (!list_linked(&connection->changed))
        list_append(&mux->changed_connections, &connection->changed);
}

/* ---- Requests ---- */

/* Moves what has come of a request into the output. */
static void connection_give(struct mux_connection *connection, struct mux_exchange *exchange)
{
    size_t length = exchange->bytes.length;
    buffer_move(&connection->output, &exchange->bytes);
    if (connection->output.failed) {
        connection->output.failed = false;
        connection_doom(connection, REASON_INTERNAL, "memory is short");
        return;
    }
    connection->given += length;
    exchange->end = connection->given;
    if (exchange->client != NULL)
        exchange->client->request_bytes -= length;
    buffer_free(&exchange->bytes);
}

void connection_pump(struct mux_connection *connection)
{
    struct mux_exchange *exchange = connection->streaming;
    if (exchange == NULL || connection_is_ending(connection))
        return;
    if (exchange->bytes.length > 0 && connection->output.length < connection->mux->settings.buffer_limit)
        connection_give(connection, exchange);
    if (exchange->complete && exchange->bytes.length == 0)
        connection->streaming = NULL;
    if (exchange->client != NULL)
        client_update(exchange->client);
    connection_update(connection);
}

/* Gives the exchange an id that no other one has here. There is a free place: the connection had room. */
static void connection_set_id(struct mux_connection *connection, struct mux_exchange *exchange)
{
    struct mux *mux = connection->mux;
    uint64_t id = connection->next_id;
    while (connection->slots[id % connection->slot_count] != NULL)
        id = (id + 1) % mux->id_count;
    connection->next_id = (id + 1) % mux->id_count;
    connection->slots[id % connection->slot_count] = exchange;
    connection->slots_used++;
    exchange->id = id;
    mux->protocol->set_id(mux->protocol_settings, &exchange->request, buffer_bytes(&exchange->bytes), id);
}

/* Whatever comes from now on is not for the client of the turn before. */
static void connection_forget_last_owner(struct mux_connection *connection)
{
    if (connection->last_owner != NULL)
        connection->last_owner->late_connection = NULL;
    connection->last_owner = NULL;
}

static void connection_start(struct mux_connection *connection, struct mux_exchange *exchange)
{
    struct mux *mux = connection->mux;
    struct mux_client *client = exchange->client;
    connection_forget_last_owner(connection);
    if (client->late_connection != NULL)
        connection_forget_last_owner(client->late_connection);
    if (mux->id_count > 0)
        connection_set_id(connection, exchange);
    exchange->state = EXCHANGE_SENT;
    exchange->sent = mux->now;
    exchange->start = connection->given;
    exchange->end = connection->given;
    exchange->in_flight = true;
    list_append(&connection->in_flight, &exchange->in_connection);
    connection->load++;
    connection->requests++;
    connection->taken = SIZE_MAX;
    if (mux->settings.max_requests >= 0 && connection->requests >= mux->settings.max_requests)
        connection->due = true;
    connection->streaming = exchange;
    client_watch_queue(client);
    connection_pump(connection);
}

void connection_assign(struct mux_connection *connection, struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    exchange_detach(exchange);
    exchange->connection = connection;
    client->connection = connection;
    client->in_flight++;
    if ((!exchange->complete || exchange->request.alone) && connection->load > 0) {
        exchange->state = EXCHANGE_RESERVED;
        connection->reserved = exchange;
        client_update(client);
        connection_update(connection);
    } else {
        connection_start(connection, exchange);
    }
}

void connection_take_back(struct mux_connection *connection, struct mux_exchange *exchange)
{
    size_t from = (size_t)(exchange->start - connection->written);
    size_t length = (size_t)(exchange->end - exchange->start);
    if (length > 0)
        buffer_prepend(&exchange->bytes, buffer_bytes(&connection->output) + from, length);
    if (exchange->client != NULL)
        exchange->client->request_bytes += exchange->bytes.failed ? 0 : length;
    buffer_remove(&connection->output, from, length);
    connection->given -= length;
    for (struct list_node *node = exchange->in_connection.next; node != &connection->in_flight.head;
         node = node->next) {
        struct mux_exchange *later = exchange_of_connection_node(node);
        later->start -= length;
        later->end -= length;
    }
    exchange->end = exchange->start;
}

/* ---- Exchanges leave ---- */

void connection_released(struct mux_connection *connection)
{
    const struct mux *mux = connection->mux;
    if (!connection_is_ending(connection) && connection->reserved != NULL && connection->load == 0) {
        struct mux_exchange *exchange = connection->reserved;
        connection->reserved = NULL;
        connection_start(connection, exchange);
        return;
    }
    if (!connection_is_ending(connection) && mux->settings.request_gap > 0 && connection->load == 0 &&
        connection->state == CONNECTION_READY) {
        connection->resting = true;
        timeout_start(&connection->mux->gap_timeouts, &connection->pause, mux->now);
    }
    if (!connection_is_ending(connection) && connection->slots != NULL &&
        connection->slots_used >= connection->slot_count)
        connection->due = true; /* too many were never answered */
    connection_update(connection);
}

void connection_doom(struct mux_connection *connection, enum reason reason, const char *explanation)
{
    if (connection_is_ending(connection))
        return;
    connection->reason = reason;
    buffer_truncate(&connection->explanation, 0);
    buffer_append(&connection->explanation, explanation, strlen(explanation) + 1);
    list_append(&connection->mux->doomed, &connection->doomed);
}

/* What was not sent goes back to where it came from, the last one first, so that their order is kept. */
static void connection_give_back(struct mux_connection *connection)
{
    if (connection->reserved != NULL) {
        struct mux_exchange *exchange = connection->reserved;
        exchange_detach(exchange);
        exchange_wait_again(exchange);
        client_update(exchange->client);
    }
    struct list_node *node;
    while ((node = list_last(&connection->in_flight)) != NULL) {
        struct mux_exchange *exchange = exchange_of_connection_node(node);
        if (connection_has_sent(exchange))
            return;
        connection_take_back(connection, exchange);
        struct mux_client *client = exchange->client;
        if (client == NULL) {
            exchange_free(exchange);
        } else if (exchange->bytes.failed) {
            client_cut_off(client, REASON_INTERNAL); /* which takes this one, still in its place, along */
        } else {
            exchange_detach(exchange);
            exchange_wait_again(exchange);
            client_update(client);
        }
    }
}

/* What was kept to know late answers by. */
static void connection_free_late(struct mux_connection *connection)
{
    for (size_t i = 0; i < connection->slot_count; i++) {
        if (connection->slots[i] == NULL)
            continue;
        assert(connection->slots[i]->client == NULL);
        exchange_free(connection->slots[i]);
    }
}

void connection_collapse(struct mux_connection *connection)
{
    struct mux_exchange *exchange;
    list_remove(&connection->doomed);
    connection_over(connection);
    connection_give_back(connection);
    while ((exchange = connection_first(connection)) != NULL) {
        if (exchange->client == NULL)
            exchange_free(exchange);
        else
            exchange_fail(exchange, connection->reason);
    }
    connection_free_late(connection);
    connection->current = NULL;
    buffer_free(&connection->output);
    connection_update(connection);
}

/* ---- The target's first words, and pauses ---- */

static void connection_ready(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    if (mux->settings.connect_delay > 0) {
        connection->state = CONNECTION_DELAYED;
        timeout_start(&mux->delay_timeouts, &connection->pause, mux->now);
    } else {
        connection->state = CONNECTION_READY;
    }
    connection_update(connection);
}

void connection_pause_over(struct mux_connection *connection)
{
    connection->resting = false;
    connection->state = CONNECTION_READY;
    connection_update(connection);
}

static void connection_read_greeting(struct mux_connection *connection, struct slice *input)
{
    struct mux *mux = connection->mux;
    struct buffer error = { 0 };
    switch (mux->protocol->read_greeting(mux->protocol_settings, connection->framer, input, &error)) {
    case PROTOCOL_MORE:
        break;
    case PROTOCOL_COMPLETE:
        connection_ready(connection);
        break;
    default:
        buffer_append(&error, "", 1);
        connection_doom(connection, REASON_PROTOCOL_ERROR, error.length > 0 ? buffer_bytes(&error) : "");
        break;
    }
    buffer_free(&error);
}

/* ---- Silence ---- */

/* The target has been silent for too long about this exchange (NULL: about nothing that a client waits for).
 */
static void connection_silent(struct mux_connection *connection, struct mux_exchange *exchange,
                              const char *explanation)
{
    bool somebody_waits = exchange != NULL && exchange->client != NULL;
    connection_doom(connection,
                    connection->state == CONNECTION_GREETING ? REASON_REQUEST_TIMEOUT : REASON_TARGET_CLOSED,
                    explanation);
    if (somebody_waits)
        exchange_fail(exchange, REASON_REQUEST_TIMEOUT);
}

void connection_answer_overdue(struct mux_connection *connection)
{
    connection_silent(connection, connection_first(connection), "no answer within request_timeout");
}

void connection_taking_overdue(struct mux_connection *connection)
{
    struct list_node *node = list_last(&connection->in_flight);
    while (node != NULL && !connection_has_sent(exchange_of_connection_node(node)))
        node = node->previous == &connection->in_flight.head ? NULL : node->previous;
    struct mux_exchange *exchange = exchange_of_connection_node(node);
    if (exchange != NULL && connection_has_sent_all(exchange))
        exchange = NULL; /* it is the next one that is not taken, and that one can still go elsewhere */
    connection_silent(connection, exchange, "no byte was taken within request_timeout");
}

void connection_exchange_overdue(struct mux_exchange *exchange)
{
    struct mux_connection *connection = exchange->connection;
    struct mux *mux = connection->mux;
    if (!mux_connection_wants_bytes(connection)) {
        timeout_start(&mux->exchange_timeouts, &exchange->answering, mux->now);
        return;
    }
    if (connection->current == exchange) { /* what has begun to come can't be told from what follows it */
        connection_silent(connection, exchange, "the rest of an answer did not come within request_timeout");
        return;
    }
    /* Its place is kept, so that a late answer is known by its id, by a stand-in that belongs to nobody. */
    struct mux_exchange *late = calloc(1, sizeof *late);
    uint64_t id = exchange->id;
    if (late == NULL) {
        connection_doom(connection, REASON_INTERNAL, "memory is short");
        return;
    }
    late->request = exchange->request;
    late->state = EXCHANGE_SENT;
    late->connection = connection;
    late->complete = true;
    late->ended = true;
    late->start = exchange->start;
    late->end = exchange->end;
    late->id = id;
    late->max_message = exchange->max_message;
    connection->slots[id % connection->slot_count] = late;
    if (exchange->client != NULL)
        exchange_fail(exchange, REASON_REQUEST_TIMEOUT);
    else
        exchange_free(exchange);
    if (++connection->silent >= SILENT_MAX)
        connection->due = true;
    connection_update(connection);
}

/* ---- The interface ---- */

static struct mux *connection_enter(struct mux_connection *connection, int64_t now)
{
    connection->mux->now = now;
    return connection->mux;
}

static bool connection_make_slots(struct mux_connection *connection)
{
    const struct mux *mux = connection->mux;
    size_t count = SLOTS_MIN;
    if (mux->id_count == 0)
        return true;
    while (count < 2 * mux->settings.depth && count < SLOTS_MAX)
        count *= 2;
    if (count > mux->id_count)
        count = (size_t)mux->id_count;
    connection->slots = calloc(count, sizeof(struct mux_exchange *));
    connection->slot_count = count;
    return connection->slots != NULL;
}

struct mux_connection *mux_connection_open(struct mux *mux, void *owner, int64_t now)
{
    struct mux_connection *connection = calloc(1, sizeof *connection + mux->protocol->connection_size);
    if (connection == NULL)
        return NULL;
    mux->now = now;
    connection->mux = mux;
    connection->owner = owner;
    connection->reason = REASON_DRAINED; /* if it goes because its time has come */
    list_init(&connection->in_flight);
    list_init(&connection->finished);
    if (mux->protocol->greet != NULL)
        mux->protocol->greet(mux->protocol_settings, connection->framer, &connection->output);
    if (!connection_make_slots(connection) || connection->output.failed) {
        buffer_free(&connection->output);
        free(connection->slots);
        free(connection);
        return NULL;
    }
    list_append(&mux->connections, &connection->node);
    connection->greeting = connection->output.length;
    connection->given = connection->greeting;
    connection->ttl.since = now; /* remembered also if there is no limit now */
    timeout_start(&mux->ttl_timeouts, &connection->ttl, now);
    if (connection->greeting > 0)
        connection_update(connection);
    else
        connection_ready(connection);
    mux_settle(mux);
    return connection;
}

void mux_connection_bytes(struct mux_connection *connection, const char *bytes, size_t length, int64_t now)
{
    struct mux *mux = connection_enter(connection, now);
    struct slice input = { bytes, length };
    connection->silent = 0;
    if (list_linked(&connection->answering.node))
        timeout_start(&mux->answering_timeouts, &connection->answering, now);
    bool once_more = false;
    while ((input.length > 0 || once_more) && !connection_is_ending(connection)) {
        once_more = false;
        if (connection->state == CONNECTION_GREETING)
            connection_read_greeting(connection, &input);
        else if (mux->takes_turns)
            response_read_turn(connection, &input);
        else
            once_more = response_read(connection, &input);
    }
    connection_update(connection);
    mux_settle(mux);
}

void mux_connection_end(struct mux_connection *connection, int64_t now)
{
    struct mux *mux = connection_enter(connection, now);
    response_end(connection);
    connection_doom(connection, REASON_TARGET_CLOSED, "");
    connection_update(connection);
    mux_settle(mux);
}

void mux_connection_fail(struct mux_connection *connection, enum reason reason, int64_t now)
{
    struct mux *mux = connection_enter(connection, now);
    connection_doom(connection, reason, "");
    connection_update(connection);
    mux_settle(mux);
}

/* Those that are sent wholly now: with ids, each has a clock of its own from then on; those that nobody
 * answers are over. */
static void connection_sent(struct mux_connection *connection, uint64_t before)
{
    struct mux *mux = connection->mux;
    struct list_node *node = connection->in_flight.head.previous;
    while (node != &connection->in_flight.head) {
        struct mux_exchange *exchange = exchange_of_connection_node(node);
        if (exchange->end <= before)
            break;
        node = node->previous;
        if (!connection_has_sent_all(exchange))
            continue;
        if (exchange->request.unanswered) {
            exchange_answered(exchange);
            node = connection->in_flight.head.previous; /* others may have gone with it */
        } else if (mux->id_count > 0 && !exchange->untimed) {
            timeout_start(&mux->exchange_timeouts, &exchange->answering, mux->now);
        }
    }
}

void mux_connection_written(struct mux_connection *connection, size_t count, int64_t now)
{
    struct mux *mux = connection_enter(connection, now);
    uint64_t before = connection->written;
    connection->written += count;
    if (connection->taken <= SIZE_MAX - count)
        connection->taken += count;
    buffer_consume(&connection->output, count);
    if (connection->output.length == 0)
        buffer_free(&connection->output);
    timeout_stop(&connection->taking);
    connection_sent(connection, before);
    connection_pump(connection);
    connection_update(connection);
    mux_settle(mux);
}

void connection_retire(struct mux_connection *connection, enum reason reason)
{
    connection->due = true;
    connection->reason = reason;
    connection_update(connection);
}

void connection_reconfigure(struct mux_connection *connection, bool was_untimed)
{
    struct mux *mux = connection->mux;
    if (was_untimed)
        list_foreach(&connection->in_flight, node) exchange_of_connection_node(node)->untimed = true;
    if (!list_linked(&connection->ttl.node) && connection->state != CONNECTION_OVER)
        timeout_start(&mux->ttl_timeouts, &connection->ttl, connection->ttl.since);
    if (mux->settings.max_requests >= 0 && connection->requests >= mux->settings.max_requests)
        connection->due = true;
    connection_update(connection);
}

void mux_connection_retire(struct mux_connection *connection, int64_t now)
{
    struct mux *mux = connection_enter(connection, now);
    connection_retire(connection, REASON_DRAINED);
    mux_settle(mux);
}

void mux_connection_close(struct mux_connection *connection, int64_t now)
{
    struct mux *mux = connection_enter(connection, now);
    if (connection->state != CONNECTION_OVER) {
        connection_doom(connection, REASON_TARGET_CLOSED, "");
        connection_collapse(connection);
    }
    connection_free_late(connection);
    list_foreach(&connection->finished, node)
    {
        exchange_of_connection_node(node)->connection = NULL;
        list_remove(node);
    }
    list_remove(&connection->node);
    list_remove(&connection->changed);
    if (mux->protocol->close_connection != NULL)
        mux->protocol->close_connection(connection->framer);
    buffer_free(&connection->output);
    buffer_free(&connection->explanation);
    free(connection->slots);
    free(connection);
    mux_settle(mux);
}

size_t mux_connection_load(const struct mux_connection *connection)
{
    return connection->load + (connection->reserved != NULL ? 1 : 0);
}

void *mux_connection_owner(const struct mux_connection *connection)
{
    return connection->owner;
}

struct slice mux_connection_output(const struct mux_connection *connection)
{
    return buffer_slice(&connection->output);
}

bool mux_connection_is_over(const struct mux_connection *connection)
{
    return connection->state == CONNECTION_OVER;
}

bool mux_connection_was_useless(const struct mux_connection *connection)
{
    return connection->written <= connection->greeting && !connection->due;
}

enum reason mux_connection_reason(const struct mux_connection *connection)
{
    return connection->reason;
}

const char *mux_connection_explanation(const struct mux_connection *connection)
{
    return connection->explanation.length > 0 && !connection->explanation.failed
               ? buffer_bytes(&connection->explanation)
               : "";
}
