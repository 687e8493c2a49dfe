/* Responses: which exchange the bytes of a target answer, and what follows from them. */
#include "mux/mux_state.h"

#include <stdio.h>

/* Takes note of what a call of the framer has given out. */
static void response_account(struct mux_exchange *exchange, const struct buffer *out, size_t grown,
                             enum protocol_outcome outcome)
{
    exchange->answer_bytes += grown;
    exchange->has_begun = true;
    exchange->connection->has_spoken = true;
    if (outcome == PROTOCOL_INTERIM) /* an error may still follow it, also if it came in pieces */
        exchange->request.begun = false;
    else if (grown > 0)
        exchange->request.begun = true;
    if (exchange->client == NULL)
        return;
    if (grown > 0 && outcome != PROTOCOL_INTERIM)
        mux_observe_answer(exchange, buffer_bytes(out) + out->length - grown, grown);
    exchange_account(exchange);
    note_client(exchange->client);
}

static struct buffer *response_sink(const struct mux_connection *connection, struct mux_exchange *exchange)
{
    if (exchange == NULL || exchange->client == NULL)
        return &connection->mux->discarded;
    return exchange == client_first(exchange->client) ? &exchange->client->output : &exchange->answer;
}

/* Whose response begins here: sets `current`. */
static void response_find(struct mux_connection *connection, uint64_t id)
{
    struct mux_exchange *exchange = connection->ids[id % connection->id_places];
    if (exchange != NULL && exchange->id == id && exchange_was_sent(exchange)) {
        connection->current = exchange;
        return;
    }
    char text[120];
    const char *remedy = connection->mux->protocol->id_remedy;
    snprintf(text, sizeof text, "an answer has an unknown id%s%s", remedy == NULL ? "" : "; ",
             remedy == NULL ? "" : remedy);
    note_failure(connection, REASON_PROTOCOL_ERROR, text);
}

/* The client that closes after this answer is told so in it, where the protocol has a word for that. */
static void response_mark_last(struct mux_exchange *exchange)
{
    const struct mux_client *client = exchange->client;
    bool goes = client != NULL &&
                (client->is_drained || (client->is_leaving && client->mux->protocol->announces_close));
    if (goes && client->incoming == NULL && client->held.length == 0 &&
        exchange->in_client.next == &client->exchanges.head)
        exchange->request.closes_client = true;
}

static bool response_is_too_long(const struct mux_exchange *exchange)
{
    return exchange->max_message >= 0 && exchange->answer_bytes > (uint64_t)exchange->max_message;
}

/* Whether the next bytes answer something, or are allowed though they do not: that is `exchange`, unless the framer
 * has to find it out. */
static bool response_is_expected(const struct mux_connection *connection, const struct mux_exchange *exchange)
{
    const struct mux *mux = connection->mux;
    if (mux->id_count > 0)
        return connection_has_outstanding(connection);
    return exchange != NULL || mux->protocol->has_pushes;
}

/* The answer is whole. What it gives way to goes out at once, into the same buffer as what follows it. */
static void response_completed(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    if (exchange->state != EXCHANGE_LATE)
        mux_observe_finding(exchange->connection, exchange, MUX_WORKS, REASON_NONE, "");
    exchange_answered(exchange);
    if (client != NULL)
        client_deliver(client);
}

/* Carries out what the framer said of a response. `exchange`, if not NULL, may be freed by it. */
static void response_follow(struct mux_connection *connection, struct mux_exchange *exchange,
                            enum protocol_outcome outcome, uint64_t id)
{
    if (outcome == PROTOCOL_WHOSE)
        response_find(connection, id);
    else if (outcome == PROTOCOL_INTERIM && connection->mux->id_count > 0)
        connection->current = NULL; /* another one's may follow */
    else if (outcome == PROTOCOL_DISCARDED)
        connection->discarded++;
    else if (outcome == PROTOCOL_BROKEN)
        note_failure(connection, REASON_PROTOCOL_ERROR,
                     exchange == NULL ? "bytes came that answer nothing" : "an answer breaks the protocol");
    else if (exchange != NULL && response_is_too_long(exchange))
        note_failure(connection, REASON_OVER_LIMIT, "an answer is longer than max_message");
    else if (exchange != NULL && outcome == PROTOCOL_COMPLETE)
        response_completed(exchange);
}

/* The exchange that is answered where there are no ids: the oldest one, if it was sent and has an answer. */
static struct mux_exchange *response_current(const struct mux_connection *connection)
{
    struct mux_exchange *exchange = connection_answering(connection);
    if (connection->mux->id_count > 0 || exchange == NULL)
        return exchange;
    return exchange->request.unanswered || !exchange_was_sent(exchange) ? NULL : exchange;
}

/* Reads one message, or a part of it. Returns whether it has to be called once more, even if there are no more bytes. */
static bool response_read_one(struct mux_connection *connection, struct slice *input)
{
    struct mux *mux = connection->mux;
    struct mux_exchange *exchange = response_current(connection);
    if (!response_is_expected(connection, exchange)) {
        note_failure(connection, REASON_PROTOCOL_ERROR, "bytes came that answer nothing");
        return false;
    }
    struct mux_client *client = exchange == NULL ? NULL : exchange->client;
    struct buffer *out = response_sink(connection, exchange);
    size_t length = out->length;
    uint64_t id = 0;
    if (exchange != NULL)
        response_mark_last(exchange);
    enum protocol_outcome outcome =
        mux->protocol->read_response(mux->protocol_settings, connection->framer,
                                     exchange == NULL ? NULL : &exchange->request, input, out, &id);
    if (exchange != NULL) {
        response_account(exchange, out, out->length - length, outcome);
        if (list_linked(&exchange->silence.node))
            timeout_start(&mux->timers[TIMER_SILENCE], &exchange->silence, mux->now);
    }
    bool failed = client != NULL && out->failed;
    buffer_truncate(&mux->discarded, 0);
    mux->discarded.failed = false;
    response_follow(connection, exchange, outcome, id);
    if (failed)
        client_terminate(client, CLIENT_RESETTING,
                         REASON_INTERNAL); /* the rest of the answer is thrown away */
    return outcome == PROTOCOL_WHOSE;
}

/* Where clients take turns all that comes belongs to the one whose turn it is; late bytes to the one whose turn was
 * the last, as long as nobody else's has begun. */
static void response_read_turn(struct mux_connection *connection, struct slice *input)
{
    struct mux_exchange *exchange = connection_first(connection);
    struct mux_client *client = exchange == NULL ? connection->last_client : exchange->client;
    if (client == NULL || (exchange != NULL && !exchange_was_sent(exchange))) {
        note_failure(connection, REASON_PROTOCOL_ERROR, "bytes came that answer nothing");
        return;
    }
    connection->turn_taken = SIZE_MAX;
    buffer_append(&client->output, input->bytes, input->length);
    note_client(client);
    if (client->output.failed) {
        client_terminate(client, CLIENT_RESETTING, REASON_INTERNAL);
    } else if (exchange != NULL) {
        response_account(exchange, &client->output, input->length, PROTOCOL_MORE);
        timeout_stop(&connection->turn); /* it starts over */
        if (response_is_too_long(exchange))
            note_failure(connection, REASON_OVER_LIMIT, "an answer is longer than max_message");
    }
    slice_skip(input, input->length);
}

static void response_read_handshake(struct mux_connection *connection, struct slice *input)
{
    const struct mux *mux = connection->mux;
    struct buffer error = { 0 };
    enum protocol_outcome outcome =
        mux->protocol->read_handshake(mux->protocol_settings, connection->framer, input, &error);
    if (outcome == PROTOCOL_COMPLETE) {
        connection_ready(connection);
    } else if (outcome != PROTOCOL_MORE) {
        buffer_append(&error, "", 1);
        note_failure(connection, REASON_PROTOCOL_ERROR, error.length > 0 ? buffer_bytes(&error) : "");
    }
    buffer_free(&error);
}

void response_read(struct mux_connection *connection, struct slice input)
{
    bool once_more = false;
    while ((input.length > 0 || once_more) && !connection_is_ending(connection)) {
        once_more = false;
        if (connection->state == CONNECTION_HANDSHAKE)
            response_read_handshake(connection, &input);
        else if (connection->mux->takes_turns)
            response_read_turn(connection, &input);
        else
            once_more = response_read_one(connection, &input);
    }
    note_connection(connection);
}

void response_turn_over(struct mux_connection *connection)
{
    struct mux_exchange *exchange = connection_first(connection);
    struct mux_client *client = exchange->client;
    if (exchange->bytes.length > 0 || connection->output.length > 0) {
        timeout_start(&connection->mux->timers[TIMER_TURN], &connection->turn, connection->mux->now);
        return;
    }
    exchange_complete(exchange);
    response_completed(exchange);
    if (!client_is_over(client) && client->connection == NULL && !connection_is_ending(connection)) {
        connection->last_client = client;
        client->last_turn = connection;
    }
}

void response_end(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    struct mux_exchange *exchange = connection_answering(connection);
    if (connection->state != CONNECTION_READY || exchange == NULL || !exchange_was_sent(exchange) ||
        mux->protocol->end_response == NULL)
        return;
    struct buffer *out = response_sink(connection, exchange);
    size_t length = out->length;
    if (mux->protocol->end_response(mux->protocol_settings, connection->framer, &exchange->request, out) ==
        PROTOCOL_COMPLETE) {
        response_account(exchange, out, out->length - length, PROTOCOL_COMPLETE);
        response_completed(exchange);
    }
    buffer_truncate(&mux->discarded, 0);
}
