/* Requests: from what is read of a client to exchanges that wait, or are answered here. */
#include "mux/mux_state.h"

/* `held` bytes of its `answer` had been there before: an answer that came too early. */
static void request_broken(struct mux_client *client, struct mux_exchange *exchange, size_t held)
{
    size_t length = exchange->answer.length;
    if (exchange->request.begun && exchange == client_first(client)) {
        buffer_truncate(&exchange->answer, held); /* no error can follow what it has of the answer */
    } else if (exchange->request.begun) {
        buffer_consume(&exchange->answer, held);
        exchange->request.begun = false;
    }
    client->answer_bytes -= length - exchange->answer.length;
    if (exchange->connection != NULL && connection_has_sent(exchange))
        connection_doom(exchange->connection, REASON_PROTOCOL_ERROR, "");
    else if (exchange->state == EXCHANGE_SENT)
        connection_take_back(exchange->connection, exchange);
    client->input_over = true;
    client->reason = REASON_PROTOCOL_ERROR;
    exchange->request.closes_client = true;
    exchange->cut = exchange->answer.length == 0 || exchange->request.begun;
    exchange_local(exchange, false, REASON_PROTOCOL_ERROR);
}

/* More of a request has come. */
static void request_progress(struct mux_client *client, struct mux_exchange *exchange)
{
    bool is_long = exchange->request.decided && exchange->bytes.length >= client->mux->settings.buffer_limit;
    if (exchange->state == EXCHANGE_READING && (exchange->complete || is_long))
        exchange_wait(exchange);
    else if (exchange->state == EXCHANGE_SENT)
        connection_pump(exchange->connection);
    if (exchange->answer.length > 0 && exchange == client_first(client))
        client_deliver(client); /* an interim answer */
}

static void request_complete(struct mux_client *client, struct mux_exchange *exchange)
{
    client->incoming = NULL;
    exchange->complete = true;
    list_remove(&exchange->incomplete);
    exchange_asked(exchange);
    if (exchange->request.closes_client) {
        client->input_over = true;
        client->reason = REASON_CLIENT_CLOSED;
    }
    if (exchange->request.local)
        exchange_local(exchange, !exchange->request.refused, REASON_REFUSED_COMMAND);
    else
        request_progress(client, exchange);
}

/* Refuses a request for its length. */
static void request_too_long(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    if (exchange->request.local) { /* the error takes the place of what was to answer it */
        client->answer_bytes -= exchange->answer.length;
        buffer_truncate(&exchange->answer, 0);
    }
    if (exchange->state == EXCHANGE_SENT && connection_has_sent(exchange))
        connection_doom(exchange->connection, REASON_OVER_LIMIT, "");
    else if (exchange->state == EXCHANGE_SENT)
        connection_take_back(exchange->connection, exchange);
    exchange->complete = false; /* what follows is not to be read as a request */
    exchange_fail(exchange, REASON_OVER_LIMIT);
}

static void request_read_one(struct mux_client *client, struct slice *input)
{
    struct mux *mux = client->mux;
    struct mux_exchange *exchange = client->incoming != NULL ? client->incoming : exchange_create(client);
    if (exchange == NULL) {
        client_over(client, REASON_INTERNAL, false);
        return;
    }
    const char *bytes = input->bytes;
    size_t input_length = input->length;
    size_t length = exchange->bytes.length;
    size_t answer_length = exchange->answer.length;
    enum protocol_outcome outcome =
        mux->protocol->read_request(mux->protocol_settings, client->framer, &exchange->request, input,
                                    &exchange->bytes, &exchange->answer);
    exchange->request_bytes += input_length - input->length;
    if (exchange->observed != NULL)
        exchange_observe_request(exchange, bytes, input_length - input->length);
    client->request_bytes = client->request_bytes - length + exchange->bytes.length;
    client->answer_bytes = client->answer_bytes - answer_length + exchange->answer.length;
    if (exchange->bytes.failed || exchange->answer.failed)
        client_cut_off(client, REASON_INTERNAL);
    else if (outcome == PROTOCOL_BROKEN) {
        client->incoming = NULL;
        exchange->complete = true;
        list_remove(&exchange->incomplete);
        request_broken(client, exchange, answer_length);
    } else if (exchange->max_message >= 0 && exchange->request_bytes > (uint64_t)exchange->max_message)
        request_too_long(exchange);
    else if (outcome == PROTOCOL_COMPLETE)
        request_complete(client, exchange);
    else
        request_progress(client, exchange);
}

/* Where clients take turns there are no messages: what comes belongs to the client's turn, or to its next
 * one, once the answer to the present one has begun and others wait. */
static void request_read_turn(struct mux_client *client, struct slice *input)
{
    struct mux_exchange *exchange = client->incoming;
    if (exchange != NULL && exchange->request.begun) {
        if (mux_somebody_else_waits(client->mux, client)) {
            exchange->complete = true;
            list_remove(&exchange->incomplete);
            client->incoming = NULL;
            connection_pump(exchange->connection);
            exchange = NULL;
        } else {
            exchange->request.begun = false; /* the turn goes on: an answer is to come again */
            timeout_stop(&exchange->connection->turn);
        }
    }
    if (exchange == NULL)
        exchange = exchange_create(client);
    if (exchange == NULL) {
        client_over(client, REASON_INTERNAL, false);
        return;
    }
    exchange->request.decided = true;
    buffer_append(&exchange->bytes, input->bytes, input->length);
    if (exchange->bytes.failed) {
        client_cut_off(client, REASON_INTERNAL);
        return;
    }
    exchange->request_bytes += input->length;
    exchange_observe_request(exchange, input->bytes, input->length);
    client->request_bytes += input->length;
    slice_skip(input, input->length);
    exchange_asked(exchange); /* nobody knows more of it */
    if (exchange->state == EXCHANGE_READING)
        exchange_wait(exchange);
    else if (exchange->state == EXCHANGE_SENT)
        connection_pump(exchange->connection);
}

void request_read(struct mux_client *client, struct slice *input, bool once)
{
    while (input->length > 0 && !client->input_over && client_can_take(client)) {
        if (client->mux->takes_turns)
            request_read_turn(client, input);
        else
            request_read_one(client, input);
        if (once && client->incoming == NULL && !client->over)
            client_stop_input(client, REASON_DRAINED);
    }
}
