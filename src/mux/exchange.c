/* One request with its answer, from its first byte to its end. */
#include "mux/mux_state.h"

#include <assert.h>
#include <stdlib.h>

/* ---- States ---- */

/* One of its client's is not in flight any more. */
static void exchange_leave_flight(struct mux_client *client)
{
    client->door->in_flight--;
    if (--client->in_flight == 0)
        client->connection = NULL;
    queue_unbind(client);
}

/* It is not in flight any more, nor (LATE) expected. */
static void exchange_leave_connection(struct mux_exchange *exchange)
{
    struct mux_connection *connection = exchange->connection;
    struct mux_client *client = exchange->client;
    timeout_stop(&exchange->silence);
    list_remove(&exchange->in_connection);
    if (exchange->state == EXCHANGE_SENT || exchange->state == EXCHANGE_ABANDONED)
        connection->load--;
    if (connection->reserved == exchange)
        connection->reserved = NULL;
    if (connection->streaming == exchange)
        connection->streaming = NULL;
    if (connection->current == exchange)
        connection->current = NULL;
    if (connection->ids != NULL && connection->ids[exchange->id % connection->id_places] == exchange) {
        connection->ids[exchange->id % connection->id_places] = NULL;
        connection->ids_used--;
    }
    connection->released = true;
    note_connection(connection);
    if (client != NULL)
        exchange_leave_flight(client);
}

static void exchange_join_connection(struct mux_exchange *exchange, struct mux_connection *connection)
{
    exchange->connection = connection;
    exchange->client->connection = connection;
    exchange->client->in_flight++;
    exchange->client->door->in_flight++;
    note_connection(connection);
}

/* What its client had of it is the connection's alone. */
static void exchange_leave_client(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    if (client == NULL)
        return;
    client->sums.request -= exchange->sums.request;
    client->sums.answer -= exchange->sums.answer;
    client->sums.memory -= exchange->sums.memory;
    exchange->sums = (struct exchange_sums){ 0 };
    if (client->incoming == exchange)
        client->incoming = NULL;
    list_remove(&exchange->in_client);
    client->exchange_count--;
    note_client(client);
}

/* The one place where exchanges change their state. */
static void exchange_enter(struct mux_exchange *exchange, enum exchange_state state)
{
    static const unsigned followers[] = {
        [EXCHANGE_READING] = 1U << EXCHANGE_WAITING | 1U << EXCHANGE_ANSWERED | 1U << EXCHANGE_GONE,
        [EXCHANGE_WAITING] =
            1U << EXCHANGE_RESERVED | 1U << EXCHANGE_SENT | 1U << EXCHANGE_ANSWERED | 1U << EXCHANGE_GONE,
        [EXCHANGE_RESERVED] =
            1U << EXCHANGE_WAITING | 1U << EXCHANGE_SENT | 1U << EXCHANGE_ANSWERED | 1U << EXCHANGE_GONE,
        [EXCHANGE_SENT] =
            1U << EXCHANGE_WAITING | 1U << EXCHANGE_ABANDONED | 1U << EXCHANGE_ANSWERED | 1U << EXCHANGE_GONE,
        [EXCHANGE_ABANDONED] = 1U << EXCHANGE_GONE,
        [EXCHANGE_LATE] = 1U << EXCHANGE_GONE,
        [EXCHANGE_ANSWERED] = 1U << EXCHANGE_GONE,
        [EXCHANGE_GONE] = 0,
    };
    assert((followers[exchange->state] & 1U << state) != 0);
    if (exchange->state == EXCHANGE_WAITING)
        queue_leave(exchange);
    else if (exchange->state >= EXCHANGE_RESERVED && exchange->state <= EXCHANGE_LATE &&
             state != EXCHANGE_ABANDONED)
        exchange_leave_connection(exchange);
    if (state == EXCHANGE_ANSWERED && exchange->connection != NULL)
        list_append(&exchange->connection->finished, &exchange->in_connection);
    if (state == EXCHANGE_ABANDONED || state == EXCHANGE_GONE)
        exchange_leave_client(exchange);
    exchange->state = state;
}

/* ---- Beginning and end ---- */

struct mux_exchange *exchange_create(struct mux_client *client)
{
    /* calloc() would not look into glibc's list of free pieces of this size. */
    struct mux_exchange *exchange = malloc(sizeof *exchange);
    if (exchange == NULL)
        return NULL;
    *exchange = (struct mux_exchange){
        .client = client,
        .max_message = client->mux->settings.max_message,
    };
    if (!mux_observe_begin(exchange)) {
        free(exchange);
        return NULL;
    }
    list_append(&client->exchanges, &exchange->in_client);
    client->exchange_count++;
    client->incoming = exchange;
    list_append(&client->mux->incompletes, &exchange->incomplete);
    return exchange;
}

struct mux_exchange *exchange_create_late(const struct mux_exchange *exchange)
{
    struct mux_connection *connection = exchange->connection;
    struct mux_exchange *late = calloc(1, sizeof *late);
    if (late == NULL)
        return NULL;
    late->request = exchange->request;
    late->state = EXCHANGE_LATE;
    late->connection = connection;
    late->complete = true;
    late->start = exchange->start;
    late->end = exchange->end;
    late->id = exchange->id;
    late->max_message = exchange->max_message;
    connection->ids[late->id % connection->id_places] = late;
    return late;
}

void exchange_free(struct mux_exchange *exchange)
{
    const struct mux *mux = exchange->client != NULL ? exchange->client->mux : exchange->connection->mux;
    if (mux->protocol->release_request != NULL)
        mux->protocol->release_request(&exchange->request);
    exchange_enter(exchange, EXCHANGE_GONE);
    list_remove(&exchange->in_connection);
    list_remove(&exchange->incomplete);
    mux_observe_free(exchange);
    buffer_free(&exchange->bytes);
    buffer_free(&exchange->answer);
    free(exchange);
}

static size_t exchange_memory(const struct mux_exchange *exchange)
{
    const struct mux_observed *observed = exchange->observed;
    size_t memory = sizeof *exchange + exchange->bytes.capacity + exchange->answer.capacity;
    if (observed != NULL)
        memory += sizeof *observed + observed->request.capacity + observed->answer.capacity;
    return memory;
}

void exchange_account(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    if (client == NULL)
        return;
    const struct exchange_sums before = exchange->sums;
    exchange->sums.request = exchange->bytes.length;
    exchange->sums.answer = exchange->answer.length;
    exchange->sums.memory = exchange_memory(exchange);
    client->sums.request += exchange->sums.request - before.request;
    client->sums.answer += exchange->sums.answer - before.answer;
    client->sums.memory += exchange->sums.memory - before.memory;
}

void exchange_complete(struct mux_exchange *exchange)
{
    exchange->complete = true;
    list_remove(&exchange->incomplete);
    if (exchange->client->incoming == exchange)
        exchange->client->incoming = NULL;
}

/* ---- The way to the target ---- */

/* Its bytes, of which none was written, come out of the connection's output again, in front of its own. */
static void exchange_take_back(struct mux_exchange *exchange)
{
    struct mux_connection *connection = exchange->connection;
    struct buffer *output = &connection->output;
    size_t from = (size_t)(exchange->start - connection->written);
    size_t length = (size_t)(exchange->end - exchange->start);
    if (length == 0)
        return;
    char *bytes = buffer_bytes(output);
    buffer_prepend(&exchange->bytes, bytes + from, length);
    memmove(bytes + from, bytes + from + length, output->length - from - length);
    buffer_truncate(output, output->length - length);
    connection->given -= length;
    for (struct list_node *node = exchange->in_connection.next; node != &connection->in_flight.head;
         node = node->next) {
        struct mux_exchange *later = exchange_of_connection_node(node);
        later->start -= length;
        later->end -= length;
    }
    exchange->end = exchange->start;
    exchange_account(exchange);
}

void exchange_wait(struct mux_exchange *exchange)
{
    struct mux *mux = exchange->client->mux;
    bool again = exchange->state != EXCHANGE_READING;
    if (exchange->state == EXCHANGE_SENT)
        exchange_take_back(exchange);
    if (!again) {
        exchange->ready = mux->now;
        exchange->place = mux->next_place++;
    }
    exchange_enter(exchange, EXCHANGE_WAITING);
    exchange->connection = NULL;
    exchange->sent = 0;
    exchange->has_no_timeout = false;
    queue_enter(exchange, again);
    note_client(exchange->client);
}

void exchange_reserve(struct mux_exchange *exchange, struct mux_connection *connection)
{
    exchange_enter(exchange, EXCHANGE_RESERVED);
    exchange_join_connection(exchange, connection);
    connection->reserved = exchange;
    note_client(exchange->client);
}

/* Gives the exchange an id that no other one has here. There is a free place: the connection had room. */
static void exchange_set_id(struct mux_exchange *exchange)
{
    struct mux_connection *connection = exchange->connection;
    const struct mux *mux = connection->mux;
    uint64_t id = connection->next_id;
    while (connection->ids[id % connection->id_places] != NULL)
        id = (id + 1) % mux->id_count;
    connection->next_id = (id + 1) % mux->id_count;
    connection->ids[id % connection->id_places] = exchange;
    connection->ids_used++;
    exchange->id = id;
    mux->protocol->set_id(mux->protocol_settings, &exchange->request, buffer_bytes(&exchange->bytes), id);
}

void exchange_send(struct mux_exchange *exchange, struct mux_connection *connection)
{
    exchange_enter(exchange, EXCHANGE_SENT);
    exchange_join_connection(exchange, connection);
    if (connection->ids != NULL)
        exchange_set_id(exchange);
    exchange->sent = connection->mux->now;
    exchange->origin = exchange->client->origin;
    exchange->start = connection->given;
    exchange->end = connection->given;
    list_append(&connection->in_flight, &exchange->in_connection);
    connection->load++;
    connection->streaming = exchange;
    note_client(exchange->client);
}

void exchange_give(struct mux_exchange *exchange)
{
    struct mux_connection *connection = exchange->connection;
    size_t length = exchange->bytes.length;
    buffer_move(&connection->output, &exchange->bytes);
    if (connection->output.failed) {
        connection->output.failed = false;
        note_failure(connection, REASON_INTERNAL, "memory is short");
        return;
    }
    connection->given += length;
    exchange->end = connection->given;
    buffer_free(&exchange->bytes);
    exchange_account(exchange);
}

/* ---- Ends ---- */

void exchange_answer_here(struct mux_exchange *exchange, enum reason reason)
{
    mux_observe_local_answer(exchange);
    if (exchange->answer.failed)
        exchange->lacks_error = true;
    exchange->reason = reason;
    exchange_enter(exchange, EXCHANGE_ANSWERED);
    if (exchange != client_first(exchange->client)) /* it has to wait for its turn */
        exchange_account(exchange);
    note_delivery(exchange->client);
}

/* Nothing more of the request is to come, or wanted. */
static void exchange_close_request(struct mux_exchange *exchange, enum reason reason)
{
    if (exchange->complete)
        return;
    exchange->request.closes_client = true;
    exchange_complete(exchange);
    client_enter(exchange->client, CLIENT_FINISHING, reason);
}

void exchange_answered(struct mux_exchange *exchange)
{
    /* What follows an answer that came too early can't be told from the rest of its request. */
    if (exchange->request.closes_target)
        exchange->connection->target_left = true;
    if (!exchange_was_sent_whole(exchange) || exchange->request.closes_target)
        note_failure(exchange->connection, REASON_TARGET_CLOSED, "");
    if (exchange->client == NULL) {
        exchange_free(exchange);
        return;
    }
    exchange_close_request(exchange, REASON_CLIENT_CLOSED);
    buffer_free(&exchange->bytes);
    exchange_answer_here(exchange, REASON_NONE);
}

void exchange_fail(struct mux_exchange *exchange, enum reason reason)
{
    const struct mux_client *client = exchange->client;
    const struct protocol *protocol = client->mux->protocol;
    exchange_close_request(exchange, reason);
    buffer_free(&exchange->bytes);
    if (exchange != client_first(client)) { /* the client has seen nothing of it yet */
        buffer_free(&exchange->answer);
        exchange->request.begun = false;
    }
    if (client->is_drained && client_is_finishing(client) &&
        exchange->in_client.next == &client->exchanges.head)
        exchange->request.closes_client = true;
    exchange->lacks_error =
        exchange->request.begun || protocol->write_error == NULL ||
        !protocol->write_error(client->mux->protocol_settings, &exchange->request, reason, &exchange->answer);
    exchange_answer_here(exchange, reason);
}

/* A request that was sent goes on without its client: what answers it is thrown away. */
static void exchange_abandon(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    exchange_enter(exchange, EXCHANGE_ABANDONED);
    exchange->client = NULL;
    mux_observe_free(exchange);
    buffer_free(&exchange->answer);
    exchange_leave_flight(client);
    if (client->mux->takes_turns) /* nobody can tell where what answers it ends */
        note_failure(exchange->connection, REASON_CLIENT_CLOSED, "");
    note_connection(exchange->connection);
}

void exchange_drop(struct mux_exchange *exchange, enum reason reason)
{
    bool was_sent = exchange_was_sent(exchange);
    if (exchange->state != EXCHANGE_READING)
        mux_observe_end(exchange, reason);
    if (was_sent && exchange->complete) {
        exchange_abandon(exchange);
        return;
    }
    if (was_sent) /* half a request */
        note_failure(exchange->connection, reason, "");
    else if (exchange->state == EXCHANGE_SENT)
        exchange_take_back(exchange);
    exchange_free(exchange);
}
