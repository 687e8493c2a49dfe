/* One request with its answer, from its first byte to its end. */
#include "mux/mux_state.h"

#include <assert.h>
#include <stdlib.h>

struct mux_exchange *exchange_create(struct mux_client *client)
{
    struct mux_exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL)
        return NULL;
    if (client->mux->settings.observe_request > 0) {
        exchange->observed = calloc(1, sizeof *exchange->observed);
        if (exchange->observed == NULL) {
            free(exchange);
            return NULL;
        }
    }
    exchange->client = client;
    exchange->max_message = client->mux->settings.max_message;
    list_append(&client->exchanges, &exchange->in_client);
    client->exchange_count++;
    client->incoming = exchange;
    list_append(&client->mux->incompletes, &exchange->incomplete);
    return exchange;
}

static struct mux *exchange_mux(const struct mux_exchange *exchange)
{
    return exchange->client != NULL ? exchange->client->mux : exchange->connection->mux;
}

/* ---- What is kept to be seen ---- */

static void exchange_keep(struct mux_exchange *exchange, struct buffer *kept, size_t limit, const char *bytes,
                          size_t length)
{
    size_t before = kept->length;
    if (before >= limit)
        return;
    buffer_append(kept, bytes, length < limit - before ? length : limit - before);
    exchange->client->observed_bytes += kept->length - before;
}

void exchange_observe_request(struct mux_exchange *exchange, const char *bytes, size_t length)
{
    if (exchange->observed != NULL)
        exchange_keep(exchange, &exchange->observed->request, exchange->client->mux->settings.observe_request,
                      bytes, length);
}

void exchange_observe_answer(struct mux_exchange *exchange, const char *bytes, size_t length)
{
    if (exchange->observed != NULL)
        exchange_keep(exchange, &exchange->observed->answer, exchange->client->mux->settings.observe_answer,
                      bytes, length);
}

/* An answer that was made here, in the place of one of the target. */
static void exchange_observe_local(struct mux_exchange *exchange)
{
    struct mux_observed *observed = exchange->observed;
    if (observed == NULL || observed->answer.length > 0 || exchange->answer.length == 0)
        return;
    observed->local_bytes = exchange->answer.length;
    exchange_observe_answer(exchange, buffer_bytes(&exchange->answer), exchange->answer.length);
}

void exchange_asked(struct mux_exchange *exchange)
{
    struct mux_observed *observed = exchange->observed;
    const struct mux *mux = exchange_mux(exchange);
    if (observed == NULL || observed->told)
        return;
    observed->told = true;
    observed->number = ++exchange->client->told;
    if (mux->hooks.asked == NULL)
        return;
    const struct mux_asking asking = {
        .client = exchange->client->owner,
        .number = observed->number,
        .request_head = buffer_slice(&observed->request),
        .request_bytes = exchange->request_bytes,
    };
    mux->hooks.asked(mux->owner, &asking);
}

static void exchange_forget_observed(struct mux_exchange *exchange)
{
    struct mux_observed *observed = exchange->observed;
    if (observed == NULL)
        return;
    exchange->client->observed_bytes -= observed->request.length + observed->answer.length;
    buffer_free(&observed->request);
    buffer_free(&observed->answer);
    free(observed);
    exchange->observed = NULL;
}

static void exchange_tell_end(const struct mux_exchange *exchange, bool answered, enum reason reason)
{
    struct mux *mux = exchange_mux(exchange);
    const struct mux_observed *observed = exchange->observed;
    int64_t begun = exchange->sent != 0 ? exchange->sent : mux->now;
    struct mux_ending ending = {
        .client = exchange->client->owner,
        .connection = exchange->connection == NULL ? NULL : exchange->connection->owner,
        .request = &exchange->request,
        .answered = answered,
        .reason = reason,
        .request_bytes = exchange->request_bytes,
        .answer_bytes = exchange->answer_bytes,
        .wait = exchange->ready != 0 ? begun - exchange->ready : 0,
        .service = mux->now - begun,
    };
    if (observed != NULL) {
        ending.number = observed->number;
        ending.request_head = buffer_slice(&observed->request);
        ending.answer_head = buffer_slice(&observed->answer);
        ending.given_bytes = observed->local_bytes > 0 ? observed->local_bytes : exchange->answer_bytes;
    }
    mux->hooks.ended(mux->owner, &ending);
}

void exchange_end(struct mux_exchange *exchange, bool answered, enum reason reason)
{
    struct mux *mux = exchange_mux(exchange);
    assert(!exchange->ended);
    exchange_asked(exchange);
    exchange->ended = true;
    if (mux->hooks.ended != NULL)
        exchange_tell_end(exchange, answered, reason);
    exchange_forget_observed(exchange);
}

/* Puts the client's next waiting exchange into the queue, where clients take turns. */
static void exchange_queue_next(struct mux_client *client, struct mux_exchange *after)
{
    const struct list_node *end = &client->exchanges.head;
    client->queued = NULL;
    for (struct list_node *node = after->in_client.next; node != end; node = node->next) {
        struct mux_exchange *next = list_entry(node, struct mux_exchange, in_client);
        if (next->state != EXCHANGE_WAITING) /* it is answered here, or still being read */
            continue;
        client->queued = next;
        list_append(&client->mux->queue, &next->in_queue);
        return;
    }
}

static void exchange_count_waiting(struct mux_client *client, bool first)
{
    struct mux *mux = client->mux;
    if (client->waiting++ > 0)
        return;
    if (mux->waiter_count++ == 0)
        mux->waited_since = mux->now;
    if (first && !list_empty(&mux->waiters))
        list_insert_before(list_first(&mux->waiters), &client->waiter);
    else
        list_append(&mux->waiters, &client->waiter);
}

void exchange_wait(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    struct mux *mux = client->mux;
    exchange->state = EXCHANGE_WAITING;
    exchange->ready = mux->now;
    exchange_count_waiting(client, false);
    if (mux->settings.in_order || client->queued == NULL) {
        list_append(&mux->queue, &exchange->in_queue);
        client->queued = mux->settings.in_order ? NULL : exchange;
        mux_try(mux, client);
    }
    client_watch_queue(client);
}

void exchange_wait_again(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    struct mux *mux = client->mux;
    list_remove(&exchange->in_connection);
    exchange->state = EXCHANGE_WAITING;
    exchange->connection = NULL;
    exchange->sent = 0;
    exchange->untimed = false;
    exchange_count_waiting(client, true);
    if (!mux->settings.in_order) {
        if (client->queued != NULL) /* a later one of its requests */
            list_remove(&client->queued->in_queue);
        client->queued = exchange;
    }
    list_insert_before(mux->queue.head.next, &exchange->in_queue);
    mux->wants_dispatch = true;
    client_watch_queue(client);
}

static void exchange_leave_queue(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    struct mux *mux = client->mux;
    list_remove(&exchange->in_queue);
    if (--client->waiting == 0) {
        list_remove(&client->waiter);
        mux->waiter_count--;
    }
    if (client->queued == exchange)
        exchange_queue_next(client, exchange);
}

static void exchange_leave_connection(struct mux_exchange *exchange)
{
    struct mux_connection *connection = exchange->connection;
    struct mux_client *client = exchange->client;
    timeout_stop(&exchange->answering);
    list_remove(&exchange->in_connection);
    list_append(&connection->finished, &exchange->in_connection);
    if (exchange->in_flight)
        connection->load--;
    exchange->in_flight = false;
    if (connection->reserved == exchange)
        connection->reserved = NULL;
    if (connection->streaming == exchange)
        connection->streaming = NULL;
    if (connection->current == exchange)
        connection->current = NULL;
    if (connection->slots != NULL && connection->slots[exchange->id % connection->slot_count] == exchange) {
        connection->slots[exchange->id % connection->slot_count] = NULL;
        connection->slots_used--;
    }
    if (client != NULL) {
        if (--client->in_flight == 0)
            client->connection = NULL;
        if (client->waiting > 0) /* another connection may have had room for it all the time */
            mux_try(client->mux, client);
    }
    connection_released(connection);
}

void exchange_detach(struct mux_exchange *exchange)
{
    switch (exchange->state) {
    case EXCHANGE_WAITING:
        exchange_leave_queue(exchange);
        break;
    case EXCHANGE_RESERVED:
    case EXCHANGE_SENT:
        exchange_leave_connection(exchange);
        break;
    case EXCHANGE_READING:
    case EXCHANGE_ANSWERED:
        break;
    }
}

/* What is left of its request is of no use any more. */
static void exchange_drop_bytes(struct mux_exchange *exchange)
{
    if (exchange->client != NULL)
        exchange->client->request_bytes -= exchange->bytes.length;
    buffer_free(&exchange->bytes);
}

static void exchange_drop_answer(struct mux_exchange *exchange)
{
    if (exchange->client != NULL)
        exchange->client->answer_bytes -= exchange->answer.length;
    buffer_free(&exchange->answer);
}

void exchange_free(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    exchange_forget_observed(exchange);
    exchange_drop_bytes(exchange);
    exchange_drop_answer(exchange);
    exchange_detach(exchange);
    list_remove(&exchange->in_connection);
    list_remove(&exchange->incomplete);
    if (client != NULL) {
        if (client->incoming == exchange)
            client->incoming = NULL;
        list_remove(&exchange->in_client);
        client->exchange_count--;
    }
    free(exchange);
}

/* Nothing more of the request is to come, or wanted. */
static void exchange_close_request(struct mux_exchange *exchange, enum reason reason)
{
    struct mux_client *client = exchange->client;
    exchange->request.closes_client = true;
    exchange->complete = true;
    list_remove(&exchange->incomplete);
    if (client->incoming == exchange)
        client->incoming = NULL;
    client->input_over = true;
    client->reason = reason;
    buffer_free(&client->held);
}

void exchange_fail(struct mux_exchange *exchange, enum reason reason)
{
    struct mux_client *client = exchange->client;
    const struct protocol *protocol = client->mux->protocol;
    if (!exchange->complete)
        exchange_close_request(exchange, reason);
    exchange_drop_bytes(exchange);
    if (exchange != client_first(client)) { /* the client has seen nothing of it yet */
        exchange_drop_answer(exchange);
        exchange->request.begun = false;
    }
    if (client->draining && client->input_over && exchange->in_client.next == &client->exchanges.head)
        exchange->request.closes_client = true;
    size_t before = exchange->answer.length;
    exchange->cut =
        exchange->request.begun || protocol->write_error == NULL ||
        !protocol->write_error(client->mux->protocol_settings, &exchange->request, reason, &exchange->answer);
    client->answer_bytes += exchange->answer.length - before;
    exchange_local(exchange, false, reason);
}

void exchange_local(struct mux_exchange *exchange, bool answered, enum reason reason)
{
    exchange_observe_local(exchange);
    exchange_detach(exchange);
    exchange->state = EXCHANGE_ANSWERED;
    exchange->answered = answered;
    exchange->reason = reason;
    if (exchange->answer.failed)
        exchange->cut = true;
    client_deliver(exchange->client);
}

void exchange_answered(struct mux_exchange *exchange)
{
    struct mux_connection *connection = exchange->connection;
    bool whole = connection_has_sent_all(exchange);
    /* What follows an answer that came too early can't be told from the rest of its request. */
    if (!whole || exchange->request.closes_target)
        connection_doom(connection, REASON_TARGET_CLOSED, "");
    if (exchange->client == NULL) {
        exchange_free(exchange);
        return;
    }
    if (!exchange->complete)
        exchange_close_request(exchange, REASON_CLIENT_CLOSED);
    exchange_drop_bytes(exchange);
    exchange_local(exchange, true, REASON_NONE);
}
