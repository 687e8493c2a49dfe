/* Requests: from what is read of a client to exchanges that wait, or are answered here. */
#include "mux/mux_state.h"

/* The rules are broken; `held` bytes of the exchange's `answer` had been there before: an answer that came too early. */
static void request_broken(struct mux_exchange *exchange, size_t held)
{
    struct mux_client *client = exchange->client;
    exchange_complete(exchange);
    if (exchange->request.begun && exchange == client_first(client)) {
        buffer_truncate(&exchange->answer, held); /* no error can follow what it has of the answer */
    } else if (exchange->request.begun) {
        buffer_consume(&exchange->answer, held);
        exchange->request.begun = false;
    }
    if (exchange_was_sent(exchange))
        note_failure(exchange->connection, REASON_PROTOCOL_ERROR, "");
    client_enter(client, CLIENT_FINISHING, REASON_PROTOCOL_ERROR);
    exchange->request.closes_client = true;
    exchange->lacks_error = exchange->answer.length == 0 || exchange->request.begun;
    exchange_answer_here(exchange, REASON_PROTOCOL_ERROR);
}

void request_progressed(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    bool is_long = exchange->request.decided && exchange->bytes.length >= client->mux->settings.buffer_limit;
    if (exchange->state == EXCHANGE_READING && (exchange->complete || is_long))
        exchange_wait(exchange);
    else if (exchange->state == EXCHANGE_SENT)
        note_connection(exchange->connection);
    if (exchange->answer.length > 0 && exchange == client_first(client))
        note_delivery(client); /* an interim answer */
}

static void request_completed(struct mux_exchange *exchange)
{
    exchange_complete(exchange);
    mux_observe_requested(exchange);
    if (exchange->request.closes_client)
        client_enter(exchange->client, CLIENT_FINISHING, REASON_CLIENT_CLOSED);
    if (exchange->request.local)
        exchange_answer_here(exchange, exchange->request.refused ? REASON_REFUSED_COMMAND : REASON_NONE);
    else
        request_progressed(exchange);
}

/* Refuses a request for its length. What follows it is not to be read as a request. */
static void request_too_long(struct mux_exchange *exchange)
{
    if (exchange->request.local) /* the error takes the place of what was to answer it */
        buffer_truncate(&exchange->answer, 0);
    if (exchange_was_sent(exchange))
        note_failure(exchange->connection, REASON_OVER_LIMIT, "");
    exchange_fail(exchange, REASON_OVER_LIMIT);
}

/* What was given of it to a connection, and not written, is not to go out any more. */
static void request_withdraw(struct mux_exchange *exchange)
{
    if (exchange->state == EXCHANGE_SENT && !exchange_was_sent(exchange))
        exchange_wait(exchange);
}

/* The exchange that the next bytes belong to, or NULL: memory is short, and the client goes. */
static struct mux_exchange *request_current(struct mux_client *client)
{
    struct mux_exchange *exchange = client->incoming != NULL ? client->incoming : exchange_create(client);
    if (exchange == NULL)
        client_terminate(client, CLIENT_CLOSING, REASON_INTERNAL);
    return exchange;
}

static void request_read_one(struct mux_client *client, struct slice *input)
{
    const struct mux *mux = client->mux;
    struct mux_exchange *exchange = request_current(client);
    if (exchange == NULL)
        return;
    const struct slice before = *input;
    size_t answer_length = exchange->answer.length;
    enum protocol_outcome outcome =
        mux->protocol->read_request(mux->protocol_settings, client->framer, &exchange->request, input,
                                    &exchange->bytes, &exchange->answer);
    size_t taken = before.length - input->length;
    exchange->request_bytes += taken;
    mux_observe_request(exchange, before.bytes, taken);
    exchange_account(exchange);
    bool is_too_long =
        exchange->max_message >= 0 && exchange->request_bytes > (uint64_t)exchange->max_message;
    if (exchange->bytes.failed || exchange->answer.failed) {
        client_cut_off(client, REASON_INTERNAL);
    } else if (outcome == PROTOCOL_BROKEN) {
        request_withdraw(exchange);
        request_broken(exchange, answer_length);
    } else if (is_too_long) {
        request_withdraw(exchange);
        request_too_long(exchange);
    } else if (outcome == PROTOCOL_COMPLETE) {
        request_completed(exchange);
    } else {
        request_progressed(exchange);
    }
}

/* Ends the client's turn, of which the answer has begun, or lets it go on: an answer is to come again. */
static void request_end_turn(struct mux_client *client)
{
    struct mux_exchange *exchange = client->incoming;
    if (mux_somebody_else_waits(client->mux, client)) {
        exchange_complete(exchange);
        note_connection(exchange->connection);
    } else {
        exchange->request.begun = false;
        timeout_stop(&exchange->connection->turn);
    }
}

/* Where clients take turns there are no messages: what comes belongs to the client's turn, or to its next one, once
 * the answer to the present one has begun and others wait. */
static void request_read_turn(struct mux_client *client, struct slice *input)
{
    if (client->incoming != NULL && client->incoming->request.begun)
        request_end_turn(client);
    struct mux_exchange *exchange = request_current(client);
    if (exchange == NULL)
        return;
    exchange->request.decided = true;
    buffer_append(&exchange->bytes, input->bytes, input->length);
    exchange->request_bytes += input->length;
    mux_observe_request(exchange, input->bytes, input->length);
    exchange_account(exchange);
    if (exchange->bytes.failed) {
        client_cut_off(client, REASON_INTERNAL);
        return;
    }
    slice_skip(input, input->length);
    mux_observe_requested(exchange); /* nobody knows more of it */
    if (exchange->state == EXCHANGE_READING)
        exchange_wait(exchange);
    else if (exchange->state == EXCHANGE_SENT)
        note_connection(exchange->connection);
}

void request_read(struct mux_client *client, struct slice *input, bool once)
{
    while (input->length > 0 && !client_is_finishing(client) && client_can_take(client)) {
        if (client->mux->takes_turns)
            request_read_turn(client, input);
        else
            request_read_one(client, input);
        if (once && client->incoming == NULL && !client_is_over(client))
            client_stop_input(client, REASON_DRAINED);
    }
    note_client(client);
}

void request_resume(struct mux_client *client)
{
    /* Taken out of the client while it is read, since reading may give the client up. */
    struct buffer held = client->held;
    struct slice input = buffer_slice(&held);
    client->held = (struct buffer){ 0 };
    request_read(client, &input, false);
    if (!client_is_finishing(client) && input.length > 0) {
        buffer_consume(&held, held.length - input.length);
        client->held = held;
    } else {
        buffer_free(&held);
    }
    client_after_input(client);
}
