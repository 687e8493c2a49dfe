/* Questions about clients, exchanges and connections, none of which changes anything. */
#include "mux/mux_state.h"

bool client_output_is_full(const struct mux_client *client)
{
    return client->output.length >= client->mux->settings.buffer_limit;
}

/* What is held of its requests, apart from one of which its framer does not yet know what it is: that has a limit of
 * its own, which is noticed only if it may be reached, and passed. */
static size_t client_held_requests(const struct mux_client *client)
{
    const struct mux_exchange *incoming = client->incoming;
    if (incoming == NULL || incoming->request.decided || incoming->state != EXCHANGE_READING)
        return client->sums.request;
    return client->sums.request - incoming->sums.request;
}

bool client_can_take(const struct mux_client *client)
{
    const struct mux_settings *settings = &client->mux->settings;
    return client->waiting_count < settings->pipeline_depth &&
           client->exchange_count < 2 * settings->pipeline_depth &&
           client_held_requests(client) < settings->buffer_limit &&
           client->sums.answer < settings->buffer_limit && !client_output_is_full(client);
}

bool client_is_eligible(const struct mux_client *client)
{
    return !client_output_is_full(client) && client->in_flight < client->mux->answers_per_client &&
           (client->connection == NULL || !client->connection->is_wary);
}

static bool exchange_is_in_flight(const struct mux_exchange *exchange)
{
    return exchange->state == EXCHANGE_SENT || exchange->state == EXCHANGE_ABANDONED;
}

bool exchange_was_sent(const struct mux_exchange *exchange)
{
    return exchange->state == EXCHANGE_LATE ||
           (exchange_is_in_flight(exchange) && exchange->start < exchange->connection->written);
}

bool exchange_was_sent_whole(const struct mux_exchange *exchange)
{
    return exchange->complete && exchange->bytes.length == 0 &&
           exchange->end <= exchange->connection->written;
}

bool connection_is_idle(const struct mux_connection *connection)
{
    return (connection->state == CONNECTION_READY || connection->state == CONNECTION_RESTING) &&
           connection->load == 0 && connection->reserved == NULL && connection->output.length == 0;
}

struct mux_exchange *connection_answering(const struct mux_connection *connection)
{
    return connection->mux->id_count > 0 ? connection->current : connection_first(connection);
}

bool connection_has_outstanding(const struct mux_connection *connection)
{
    const struct mux_exchange *first = connection_first(connection);
    return connection->ids_used > connection->load || (first != NULL && exchange_was_sent(first));
}

bool connection_is_blocked_by(const struct mux_connection *connection, const struct mux_client *client)
{
    const struct mux_exchange *exchange = connection_answering(connection);
    if (exchange == NULL)
        return connection->last_client == client && client_output_is_full(client);
    return exchange->client == client && exchange == client_first(client) && client_output_is_full(client);
}

bool connection_is_blocked(const struct mux_connection *connection)
{
    const struct mux_exchange *exchange = connection_answering(connection);
    const struct mux_client *client = exchange != NULL ? exchange->client : connection->last_client;
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
    return connection->state == CONNECTION_READY && (first == NULL || !first->request.alone) &&
           !connection->is_retiring && connection->reserved == NULL && connection->streaming == NULL &&
           connection->load < settings->depth && connection->output.length < settings->buffer_limit &&
           (connection->ids == NULL || connection->ids_used < connection->id_places);
}

size_t mux_connection_load(const struct mux_connection *connection)
{
    return connection->load + (connection->reserved != NULL ? 1 : 0);
}

bool mux_connection_was_useless(const struct mux_connection *connection)
{
    return connection->written <= connection->handshake;
}

const char *mux_connection_explanation(const struct mux_connection *connection)
{
    const struct buffer *explanation = &connection->explanation;
    return explanation->length > 0 && !explanation->failed ? buffer_bytes(explanation) : "";
}

bool mux_somebody_else_waits(const struct mux *mux, const struct mux_client *client)
{
    return mux->waiter_count > (client->waiting_count > 0 ? 1 : 0);
}

bool mux_has_waiting(const struct mux *mux)
{
    return mux->waiter_count > 0 || mux->apart_count > 0;
}

struct mux_connection *mux_client_connection(const struct mux_client *client)
{
    const struct mux_exchange *first = client_first(client);
    return first != NULL && first->state == EXCHANGE_SENT ? first->connection : NULL;
}

bool mux_client_is_owed(const struct mux_client *client)
{
    const struct mux_connection *connection = mux_client_connection(client);
    const struct mux_exchange *first = client_first(client);
    if (connection == NULL || first->bytes.length > 0 || first->end > connection->written)
        return false;
    return client->mux->id_count > 0 || connection_first(connection) == first;
}
