/* Responses: which exchange the bytes of a target answer, and what follows from them. */
#include "mux/mux_state.h"

/* Takes note of what a call of the framer has given out. */
static void response_account(struct mux_exchange *exchange, const struct buffer *out, size_t grown,
                             bool interim)
{
    struct mux_client *client = exchange->client;
    exchange->answer_bytes += grown;
    exchange->seen = true;
    if (interim) /* an error may still follow it, also if it came in pieces */
        exchange->request.begun = false;
    else if (grown > 0)
        exchange->request.begun = true;
    if (out == &exchange->answer)
        client->answer_bytes += grown;
}

static struct buffer *response_sink(struct mux_connection *connection, struct mux_exchange *exchange)
{
    if (exchange == NULL || exchange->client == NULL)
        return &connection->mux->discarded;
    return exchange == client_first(exchange->client) ? &exchange->client->output : &exchange->answer;
}

/* Whose response begins here: sets `current`. */
static void response_find(struct mux_connection *connection, uint64_t id)
{
    struct mux_exchange *exchange = connection->slots[id % connection->slot_count];
    if (exchange == NULL || exchange->id != id || !connection_has_sent(exchange))
        connection_doom(connection, REASON_PROTOCOL_ERROR, "an answer has an unknown id");
    else
        connection->current = exchange;
}

/* The client that closes after this answer is told so in it, where the protocol has a word for that. */
static void response_mark_last(struct mux_exchange *exchange)
{
    const struct mux_client *client = exchange->client;
    bool goes =
        client != NULL && (client->draining || (client->leaving && client->mux->protocol->announces_close));
    if (goes && client->incoming == NULL && client->held.length == 0 &&
        exchange->in_client.next == &client->exchanges.head)
        exchange->request.closes_client = true;
}

static bool response_is_too_long(const struct mux_exchange *exchange)
{
    return exchange->max_message >= 0 && exchange->answer_bytes > (uint64_t)exchange->max_message;
}

/* The exchange that the next bytes answer. False: they answer nothing that was asked. */
static bool response_expected(struct mux_connection *connection, struct mux_exchange **exchange)
{
    *exchange = connection_answering(connection);
    if (connection->mux->id_count > 0)
        return true; /* the framer says whose it is */
    if (*exchange != NULL && ((*exchange)->request.unanswered || !connection_has_sent(*exchange)))
        *exchange = NULL;
    return *exchange != NULL || connection->mux->protocol->has_pushes;
}

/* Carries out what the framer said of a response. `exchange` may be freed by it. */
static void response_follow(struct mux_connection *connection, struct mux_exchange *exchange,
                            enum protocol_outcome outcome, uint64_t id)
{
    if (outcome == PROTOCOL_WHOSE)
        response_find(connection, id);
    else if (outcome == PROTOCOL_INTERIM && connection->mux->id_count > 0)
        connection->current = NULL; /* another one's may follow */
    else if (outcome == PROTOCOL_BROKEN)
        connection_doom(connection, REASON_PROTOCOL_ERROR,
                        exchange == NULL ? "bytes came that answer nothing"
                                         : "an answer breaks the protocol");
    else if (exchange != NULL && response_is_too_long(exchange))
        connection_doom(connection, REASON_OVER_LIMIT, "an answer is longer than max_message");
    else if (exchange != NULL && outcome == PROTOCOL_COMPLETE)
        exchange_answered(exchange);
}

bool response_read(struct mux_connection *connection, struct slice *input)
{
    struct mux *mux = connection->mux;
    struct mux_exchange *exchange;
    if (!response_expected(connection, &exchange)) {
        connection_doom(connection, REASON_PROTOCOL_ERROR, "bytes came that answer nothing");
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
        response_account(exchange, out, out->length - length, outcome == PROTOCOL_INTERIM);
        if (exchange->observed != NULL && out->length > length && outcome != PROTOCOL_INTERIM)
            exchange_observe_answer(exchange, buffer_bytes(out) + length, out->length - length);
        if (list_linked(&exchange->answering.node))
            timeout_start(&mux->exchange_timeouts, &exchange->answering, mux->now);
    }
    bool failed = out->failed;
    if (out == &mux->discarded) {
        buffer_truncate(out, 0);
        out->failed = false;
    }
    response_follow(connection, exchange, outcome, id);
    if (client != NULL && failed)
        client_over(client, REASON_INTERNAL, true); /* the rest of the answer is thrown away */
    else if (client != NULL)
        client_update(client);
    return outcome == PROTOCOL_WHOSE;
}

void response_read_turn(struct mux_connection *connection, struct slice *input)
{
    struct mux_exchange *exchange = connection_first(connection);
    struct mux_client *client = exchange == NULL ? connection->last_owner : exchange->client;
    if (client == NULL || (exchange != NULL && !connection_has_sent(exchange))) {
        connection_doom(connection, REASON_PROTOCOL_ERROR, "bytes came that answer nothing");
        return;
    }
    connection->taken = SIZE_MAX;
    buffer_append(&client->output, input->bytes, input->length);
    if (client->output.failed) {
        client_over(client, REASON_INTERNAL, true);
    } else if (exchange != NULL) {
        exchange->answer_bytes += input->length;
        exchange_observe_answer(exchange, input->bytes, input->length);
        exchange->seen = true;
        exchange->request.begun = true;
        timeout_stop(&connection->turn); /* it starts over */
        if (response_is_too_long(exchange))
            connection_doom(connection, REASON_OVER_LIMIT, "an answer is longer than max_message");
    }
    slice_skip(input, input->length);
    client_update(client);
}

void response_turn_over(struct mux_connection *connection)
{
    struct mux_exchange *exchange = connection_first(connection);
    struct mux_client *client = exchange->client;
    if (exchange->bytes.length > 0 || connection->output.length > 0) {
        timeout_start(&connection->mux->turn_timeouts, &connection->turn, connection->mux->now);
        return;
    }
    exchange->complete = true;
    list_remove(&exchange->incomplete);
    if (client->incoming == exchange)
        client->incoming = NULL;
    exchange_answered(exchange);
    if (!client->over && client->connection == NULL && !connection_is_ending(connection)) {
        connection->last_owner = client;
        client->late_connection = connection;
    }
}

void response_end(struct mux_connection *connection)
{
    struct mux *mux = connection->mux;
    struct mux_exchange *exchange = connection_answering(connection);
    if (connection_is_ending(connection) || connection->state != CONNECTION_READY || exchange == NULL ||
        !connection_has_sent(exchange) || mux->protocol->end_response == NULL)
        return;
    struct mux_client *client = exchange->client;
    struct buffer *out = response_sink(connection, exchange);
    size_t length = out->length;
    if (mux->protocol->end_response(mux->protocol_settings, connection->framer, &exchange->request, out) ==
        PROTOCOL_COMPLETE) {
        response_account(exchange, out, out->length - length, false);
        exchange_answered(exchange);
    }
    buffer_truncate(&mux->discarded, 0);
    if (client != NULL)
        client_update(client);
}
