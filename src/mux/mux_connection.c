/* A target connection: requests out, pauses, silence, and its end. */
#include "mux/mux_state.h"

#include <assert.h>

/* With ids: requests in a row that may go unanswered before the connection is replaced. */
#define SILENCES_MAX 2

#define SILENCE_TEXT "no answer within request_timeout"

/* ---- Clocks ---- */

static void connection_run(struct mux_connection *connection, enum mux_timer timer, struct timeout *timeout,
                           bool runs)
{
    struct mux *mux = connection->mux;
    if (!runs)
        timeout_stop(timeout);
    else if (!list_linked(&timeout->node))
        timeout_start(&mux->timers[timer], timeout, mux->now);
}

/* Whether the target owes a byte: all of the oldest request is with it, and it is read. With ids each exchange has a
 * clock of its own. */
static bool connection_is_owed(const struct mux_connection *connection)
{
    const struct mux_exchange *first = connection_first(connection);
    if (!mux_connection_wants_bytes(connection))
        return false;
    if (connection->state == CONNECTION_HANDSHAKE)
        return connection->output.length == 0;
    if (first == NULL || first->has_no_timeout || connection->mux->id_count > 0)
        return false;
    if (connection->mux->takes_turns)
        return !first->request.begun && first->bytes.length == 0 && first->end <= connection->written;
    return exchange_was_sent_whole(first);
}

/* Whether the turn ends unless more of the answer comes: it has begun, and is read. */
static bool connection_ends_turn(const struct mux_connection *connection)
{
    const struct mux_exchange *first = connection_first(connection);
    return connection->mux->takes_turns && first != NULL && first->request.begun &&
           !connection_is_blocked(connection);
}

/* Turns: a client that sends a few bytes at a time while others wait can't put off the end of its turn by that. */
static void connection_watch_answer(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    if (!connection_is_owed(connection)) {
        timeout_stop(&connection->answering);
    } else if (!list_linked(&connection->answering.node)) {
        bool drips = mux->takes_turns && connection->turn_taken < mux->settings.buffer_limit &&
                     mux_somebody_else_waits(mux, connection_first(connection)->client);
        timeout_start(&mux->timers[TIMER_ANSWERING], &connection->answering,
                      drips ? connection->answering.since : mux->now);
        if (!drips)
            connection->turn_taken = 0;
    }
}

static void connection_watch(struct mux_connection *connection)
{
    const struct mux_exchange *answering = connection_answering(connection);
    const struct mux_exchange *first = connection_first(connection);
    bool ending = connection_is_ending(connection);
    bool discards = answering != NULL && answering->client == NULL && answering->has_begun;
    bool taking = !ending && connection->output.length > 0 && (first == NULL || !first->has_no_timeout);
    connection_run(connection, TIMER_TAKING, &connection->taking, taking);
    connection_watch_answer(connection);
    connection_run(connection, TIMER_DISCARD, &connection->discard, !ending && discards);
    connection_run(connection, TIMER_TURN, &connection->turn, !ending && connection_ends_turn(connection));
    connection_run(connection, TIMER_INACTIVITY, &connection->inactivity,
                   !ending && connection_is_idle(connection));
}

/* ---- Requests ---- */

/* What comes from now on is not for the client of the turn before. */
static void connection_forget_last_turn(struct mux_connection *connection)
{
    if (connection->last_client == NULL)
        return;
    connection->last_client->last_turn = NULL;
    connection->last_client = NULL;
}

/* Moves on what has come of the request that is streamed, as far as there is room. */
static void connection_pump(struct mux_connection *connection)
{
    struct mux_exchange *exchange = connection->streaming;
    if (exchange == NULL || connection_is_ending(connection))
        return;
    if (exchange->bytes.length > 0 && connection->output.length < connection->mux->settings.buffer_limit) {
        exchange_give(exchange);
        if (exchange->client != NULL)
            note_client(exchange->client);
    }
    if (exchange->complete && exchange->bytes.length == 0)
        connection->streaming = NULL;
}

static void connection_send(struct mux_connection *connection, struct mux_exchange *exchange)
{
    const struct mux *mux = connection->mux;
    connection_forget_last_turn(connection);
    if (exchange->client->last_turn != NULL)
        connection_forget_last_turn(exchange->client->last_turn);
    exchange_send(exchange, connection);
    connection->requests++;
    connection->turn_taken = SIZE_MAX;
    if (mux->settings.max_requests >= 0 && connection->requests >= mux->settings.max_requests)
        connection->is_retiring = true;
    connection_pump(connection);
}

void connection_assign(struct mux_connection *connection, struct mux_exchange *exchange)
{
    if ((!exchange->complete || exchange->request.alone) && connection->load > 0)
        exchange_reserve(exchange, connection);
    else
        connection_send(connection, exchange);
}

/* An exchange has left: what is reserved streams now, or the target gets its rest. */
static void connection_go_on(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    connection->released = false;
    if (connection->ids != NULL && connection->ids_used >= connection->id_places)
        connection->is_retiring = true; /* too many were never answered */
    if (connection->load > 0)
        return;
    if (connection->reserved != NULL) {
        connection_send(connection, connection->reserved);
    } else if (mux->settings.request_gap > 0 && connection->state >= CONNECTION_READY) {
        if (connection->state == CONNECTION_READY)
            connection_enter(connection, CONNECTION_RESTING);
        timeout_start(&mux->timers[TIMER_GAP], &connection->pause, mux->now);
    }
}

static void connection_over(struct mux_connection *connection)
{
    connection_enter(connection, CONNECTION_OVER);
    timeout_stop(&connection->ttl);
    timeout_stop(&connection->pause);
    connection_forget_last_turn(connection);
}

void connection_update(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    if (connection->released && !connection_is_ending(connection))
        connection_go_on(connection);
    connection_pump(connection);
    if (!connection_is_ending(connection) && connection->is_retiring && connection_is_idle(connection))
        connection_over(connection);
    connection_watch(connection);
    const struct mux_exchange *answering = connection_answering(connection);
    if (answering != NULL && answering->client != NULL) /* it may be the next one that is waited for */
        client_watch_stall(answering->client);
    if (connection->streaming != NULL &&
        connection->streaming->client != NULL) /* for the rest of its request */
        client_watch_stall(connection->streaming->client);
    if (mux_has_waiting(mux) && mux_connection_has_room(connection)) {
        mux->wants_dispatch = true;
        queue_release(connection);
    }
}

void connection_sent(struct mux_connection *connection, uint64_t before)
{
    struct mux *mux = connection->mux;
    struct list_node *node = connection->in_flight.head.previous;
    while (node != &connection->in_flight.head) {
        struct mux_exchange *exchange = exchange_of_connection_node(node);
        if (exchange->end <= before)
            break;
        node = node->previous;
        if (!exchange_was_sent_whole(exchange))
            continue;
        if (exchange->request.unanswered)
            exchange_answered(exchange);
        else if (mux->id_count > 0 && !exchange->has_no_timeout)
            timeout_start(&mux->timers[TIMER_SILENCE], &exchange->silence, mux->now);
    }
}

/* ---- Its end ---- */

/* What was not sent goes back to where it came from, the last one first, so that their order is kept. */
static void connection_give_back(struct mux_connection *connection)
{
    struct list_node *node;
    if (connection->reserved != NULL)
        exchange_wait(connection->reserved);
    while ((node = list_last(&connection->in_flight)) != NULL) {
        struct mux_exchange *exchange = exchange_of_connection_node(node);
        if (exchange_was_sent(exchange))
            return;
        exchange_wait(exchange);
        if (exchange->bytes.failed)
            client_cut_off(exchange->client, REASON_INTERNAL); /* which takes this one along */
    }
}

void connection_free_late(struct mux_connection *connection)
{
    for (size_t i = 0; i < connection->id_places; i++) {
        if (connection->ids[i] == NULL)
            continue;
        assert(connection->ids[i]->state == EXCHANGE_LATE);
        exchange_free(connection->ids[i]);
    }
}

/* What its end says of its target, if it is the target's doing and was not said yet. What is in flight was sent. */
static void connection_evaluate(struct mux_connection *connection)
{
    const struct mux_exchange *first = connection_first(connection);
    enum reason reason = connection->reason;
    bool has_ended = reason == REASON_TARGET_CLOSED || reason == REASON_TARGET_RESET;
    bool has_erred = reason == REASON_PROTOCOL_ERROR || reason == REASON_OVER_LIMIT;
    const char *explanation =
        mux_connection_explanation(connection); /* there is none if a client has erred */
    if (mux_connection_was_useless(connection))
        return;
    if (has_ended && first != NULL && !connection->has_spoken && !connection->was_evaluated)
        mux_observe_finding(connection, first, MUX_FAILED, reason, explanation);
    else if (has_erred && explanation[0] != '\0')
        mux_observe_finding(connection, first, MUX_BROKEN, reason, explanation);
}

void connection_tear_down(struct mux_connection *connection)
{
    struct mux_exchange *exchange;
    list_remove(&connection->failed);
    connection_over(connection);
    connection_give_back(connection);
    connection_evaluate(connection);
    while ((exchange = connection_first(connection)) != NULL) {
        if (exchange->client == NULL)
            exchange_free(exchange);
        else
            exchange_fail(exchange, connection->reason);
    }
    connection_free_late(connection);
    connection->current = NULL;
    buffer_free(&connection->output);
}

void connection_retire(struct mux_connection *connection, enum reason reason)
{
    connection->is_retiring = true;
    connection->reason = reason;
    note_connection(connection);
}

/* ---- Pauses and settings ---- */

void connection_ready(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    bool settles = connection->settles && mux->settings.settle_pause > mux->settings.connect_delay;
    if ((settles || mux->settings.connect_delay > 0) && connection->state == CONNECTION_HANDSHAKE) {
        connection_enter(connection, CONNECTION_DELAYED);
        timeout_start(&mux->timers[settles ? TIMER_SETTLE : TIMER_DELAY], &connection->pause, mux->now);
        return;
    }
    if (connection->state != CONNECTION_RESTING) { /* the first requests can go out */
        connection->ttl.since = mux->now;          /* remembered also if there is no limit now */
        timeout_start(&mux->timers[TIMER_TTL], &connection->ttl, mux->now);
    }
    connection_enter(connection, CONNECTION_READY);
}

void connection_reconfigure(struct mux_connection *connection, bool had_no_timeout)
{
    struct mux *mux = connection->mux;
    if (had_no_timeout)
        list_foreach(&connection->in_flight, node) exchange_of_connection_node(node)->has_no_timeout = true;
    bool is_ready = connection->state == CONNECTION_READY || connection->state == CONNECTION_RESTING;
    if (is_ready && !list_linked(&connection->ttl.node))
        timeout_start(&mux->timers[TIMER_TTL], &connection->ttl, connection->ttl.since);
    if (mux->settings.max_requests >= 0 && connection->requests >= mux->settings.max_requests)
        connection->is_retiring = true;
    note_connection(connection);
}

/* ---- Silence ---- */

/* The target has been silent for too long about this exchange (NULL: about nothing that a client waits for). */
static void connection_silent(struct mux_connection *connection, struct mux_exchange *exchange,
                              const char *explanation)
{
    bool in_handshake = connection->state == CONNECTION_HANDSHAKE;
    const struct mux_exchange *asked = exchange != NULL ? exchange : connection_first(connection);
    if (asked != NULL && !in_handshake && !mux_connection_was_useless(connection))
        mux_observe_finding(connection, asked, MUX_FAILED, REASON_REQUEST_TIMEOUT, explanation);
    connection->was_evaluated = true;
    note_failure(connection, in_handshake ? REASON_REQUEST_TIMEOUT : REASON_TARGET_CLOSED, explanation);
    if (exchange != NULL && exchange->client != NULL)
        exchange_fail(exchange, REASON_REQUEST_TIMEOUT);
}

void connection_answer_overdue(struct mux_connection *connection)
{
    connection_silent(connection, connection_first(connection), SILENCE_TEXT);
}

void connection_taking_overdue(struct mux_connection *connection)
{
    struct list_node *node = list_last(&connection->in_flight);
    while (node != NULL && !exchange_was_sent(exchange_of_connection_node(node)))
        node = node->previous == &connection->in_flight.head ? NULL : node->previous;
    struct mux_exchange *exchange = exchange_of_connection_node(node);
    if (exchange != NULL && exchange_was_sent_whole(exchange))
        exchange = NULL; /* it is the next one that is not taken, and that one can still go elsewhere */
    connection_silent(connection, exchange, "no byte was taken within request_timeout");
}

void connection_exchange_overdue(struct mux_exchange *exchange)
{
    struct mux_connection *connection = exchange->connection;
    struct mux *mux = connection->mux;
    if (!mux_connection_wants_bytes(connection)) {
        timeout_start(&mux->timers[TIMER_SILENCE], &exchange->silence, mux->now);
        return;
    }
    if (connection->current == exchange) { /* what has begun to come can't be told from what follows it */
        connection_silent(connection, exchange, "the rest of an answer did not come within request_timeout");
        return;
    }
    mux_observe_finding(connection, exchange, MUX_FAILED, REASON_REQUEST_TIMEOUT, SILENCE_TEXT);
    connection->was_evaluated = true;
    if (exchange_create_late(exchange) == NULL) {
        note_failure(connection, REASON_INTERNAL, "memory is short");
        return;
    }
    if (exchange->client != NULL)
        exchange_fail(exchange, REASON_REQUEST_TIMEOUT);
    else
        exchange_free(exchange);
    if (++connection->silences >= SILENCES_MAX)
        connection->is_retiring = true;
    note_connection(connection);
}
