/* What happens to one client or connection, as the owner of the multiplexer tells it; and what it may ask of one. */
#include "mux/rates.h"

#include <stdlib.h>

/* With ids: places for requests, answered or given up, at the least and at the most. */
#define ID_PLACES_MIN ((size_t)64)
#define ID_PLACES_MAX ((size_t)65536)

static struct mux *client_enter_call(struct mux_client *client, int64_t now)
{
    client->mux->now = now;
    note_client(client);
    return client->mux;
}

static struct mux *connection_enter_call(struct mux_connection *connection, int64_t now)
{
    connection->mux->now = now;
    note_connection(connection);
    return connection->mux;
}

/* ---- Clients ---- */

struct mux_client *mux_client_open(struct mux *mux, void *owner, uint64_t number, int64_t now)
{
    struct mux_client *client = calloc(1, sizeof *client + mux->protocol->client_size);
    if (client == NULL)
        return NULL;
    client->mux = mux;
    client->owner = owner;
    client->door = &mux->door;
    list_init(&client->exchanges);
    list_init(&client->waiting);
    list_append(&mux->clients, &client->node);
    mux->client_count++;
    if (mux->protocol->open_client != NULL)
        mux->protocol->open_client(mux->protocol_settings, client->framer, number);
    client_enter_call(client, now);
    mux_run_effects(mux);
    return client;
}

void mux_client_set_origin(struct mux_client *client, uint64_t origin)
{
    client->origin = origin;
}

void mux_client_set_door(struct mux_client *client, struct mux_door *door)
{
    client->door = door;
}

bool mux_client_share(struct mux_client *client, struct slice key, int64_t now)
{
    struct mux *mux = client_enter_call(client, now);
    bool shares = mux->settings.request_rate_each > 0 && client->account == NULL && key.length > 0;
    bool success = !shares || rates_join(client, key);
    mux_run_effects(mux);
    return success;
}

void *mux_client_framer(struct mux_client *client)
{
    return client->framer;
}

void mux_client_bytes(struct mux_client *client, const char *bytes, size_t length, int64_t now)
{
    struct mux *mux = client_enter_call(client, now);
    struct slice input = { bytes, length };
    if (!client_is_finishing(client)) {
        client_progressed(client, length);
        request_read(client, &input, client->is_drained);
    }
    if (!client_is_finishing(client) && input.length > 0) {
        buffer_append(&client->held, input.bytes, input.length);
        if (client->held.failed)
            client_cut_off(client, REASON_INTERNAL);
    }
    mux_run_effects(mux);
}

void mux_client_end(struct mux_client *client, int64_t now)
{
    struct mux *mux = client_enter_call(client, now);
    client->has_ended = true;
    mux_run_effects(mux); /* what can be sent at once is */
    if (mux->settings.abort_on_close && !client_is_over(client)) {
        buffer_free(&client->held);
        client_drop_waiting(client, dispatch_count_next(client));
        note_delivery(client); /* maybe nothing more is to come */
    }
    client_after_input(client);
    note_client(client);
    mux_run_effects(mux);
}

void mux_client_fail(struct mux_client *client, enum reason reason, int64_t now)
{
    struct mux *mux = client_enter_call(client, now);
    client_terminate(client, CLIENT_RESETTING, reason);
    mux_run_effects(mux);
}

void mux_client_written(struct mux_client *client, size_t count, int64_t now)
{
    struct mux *mux = client_enter_call(client, now);
    buffer_consume(&client->output, count);
    if (client->output.length == 0)
        buffer_free(&client->output); /* an idle client holds no memory */
    client_progressed(client, count);
    if (client->connection != NULL)
        note_connection(client->connection);
    if (client->last_turn != NULL)
        note_connection(client->last_turn);
    mux_run_effects(mux);
}

void mux_client_drain(struct mux_client *client, int64_t now)
{
    struct mux *mux = client_enter_call(client, now);
    client->is_drained = true;
    client_after_input(client);
    mux_run_effects(mux);
}

void mux_client_leave(struct mux_client *client, int64_t now)
{
    (void)client_enter_call(client, now);
    client->is_leaving = true;
    mux_run_effects(client->mux);
}

void mux_client_close(struct mux_client *client, int64_t now)
{
    struct mux *mux = client_enter_call(client, now);
    client_terminate(client, CLIENT_RESETTING, REASON_DRAINED);
    client_update(client);
    mux->client_count--;
    list_remove(&client->node);
    list_remove(&client->noted);
    rates_leave(client);
    if (mux->protocol->close_client != NULL)
        mux->protocol->close_client(client->framer);
    free(client);
    mux_run_effects(mux);
}

void *mux_client_owner(const struct mux_client *client)
{
    return client->owner;
}

struct slice mux_client_output(const struct mux_client *client)
{
    return buffer_slice(&client->output);
}

bool mux_client_wants_bytes(const struct mux_client *client)
{
    if (client_is_over(client) || client->has_ended)
        return false;
    return client_is_finishing(client) || (client->held.length == 0 && client_can_take(client));
}

enum mux_closing mux_client_closing(const struct mux_client *client)
{
    if (client->state == CLIENT_RESETTING)
        return MUX_RESET;
    if (!client_is_over(client) || client->output.length > 0)
        return MUX_STAYS;
    return client->state == CLIENT_CUT_OFF ? MUX_RESET : MUX_CLOSE;
}

bool mux_client_has_ended(const struct mux_client *client)
{
    return client->has_ended;
}

enum reason mux_client_reason(const struct mux_client *client)
{
    return client->reason;
}

/* ---- Connections ---- */

static bool connection_make_ids(struct mux_connection *connection)
{
    const struct mux *mux = connection->mux;
    size_t count = ID_PLACES_MIN;
    if (mux->id_count == 0)
        return true;
    while (count < 2 * mux->settings.depth && count < ID_PLACES_MAX)
        count *= 2;
    if (count > mux->id_count)
        count = (size_t)mux->id_count;
    connection->ids = calloc(count, sizeof(struct mux_exchange *));
    connection->id_places = count;
    return connection->ids != NULL;
}

struct mux_connection *mux_connection_open(struct mux *mux, void *owner, bool settles, int64_t now)
{
    struct mux_connection *connection = calloc(1, sizeof *connection + mux->protocol->connection_size);
    if (connection == NULL)
        return NULL;
    connection->mux = mux;
    connection->owner = owner;
    connection->reason = REASON_REPLACED; /* if it goes because its time has come */
    connection->settles = settles;
    list_init(&connection->in_flight);
    list_init(&connection->finished);
    for (size_t i = 0; i < MUX_PRIORITIES; i++)
        list_init(&connection->held[i]);
    if (mux->protocol->write_handshake != NULL)
        mux->protocol->write_handshake(mux->protocol_settings, connection->framer, &connection->output);
    if (!connection_make_ids(connection) || connection->output.failed) {
        buffer_free(&connection->output);
        free(connection->ids);
        free(connection);
        return NULL;
    }
    list_append(&mux->connections, &connection->node);
    connection->handshake = connection->output.length;
    connection->given = connection->handshake;
    connection_enter_call(connection, now);
    if (connection->handshake == 0)
        connection_ready(connection);
    mux_run_effects(mux);
    return connection;
}

void mux_connection_bytes(struct mux_connection *connection, const char *bytes, size_t length, int64_t now)
{
    struct mux *mux = connection_enter_call(connection, now);
    connection->silences = 0;
    if (list_linked(&connection->answering.node))
        timeout_start(&mux->timers[TIMER_ANSWERING], &connection->answering, now);
    response_read(connection, (struct slice){ bytes, length });
    mux_run_effects(mux);
}

void mux_connection_end(struct mux_connection *connection, int64_t now)
{
    struct mux *mux = connection_enter_call(connection, now);
    if (connection->has_spoken) /* else it refuses, perhaps because it has no room yet */
        connection->target_left = true;
    response_end(connection);
    note_failure(connection, REASON_TARGET_CLOSED, "");
    mux_run_effects(mux);
}

void mux_connection_fail(struct mux_connection *connection, enum reason reason, int64_t now)
{
    struct mux *mux = connection_enter_call(connection, now);
    note_failure(connection, reason, "");
    mux_run_effects(mux);
}

void mux_connection_written(struct mux_connection *connection, size_t count, int64_t now)
{
    struct mux *mux = connection_enter_call(connection, now);
    uint64_t before = connection->written;
    connection->written += count;
    if (connection->turn_taken <= SIZE_MAX - count)
        connection->turn_taken += count;
    buffer_consume(&connection->output, count);
    if (connection->output.length == 0)
        buffer_free(&connection->output);
    timeout_stop(&connection->taking);
    connection_sent(connection, before);
    mux_run_effects(mux);
}

void mux_connection_set_wary(struct mux_connection *connection, bool is_wary, int64_t now)
{
    if (is_wary == connection->is_wary)
        return;
    struct mux *mux = connection_enter_call(connection, now);
    connection->is_wary = is_wary;
    list_foreach(&connection->in_flight, node)
    {
        struct mux_client *client = exchange_of_connection_node(node)->client;
        if (client != NULL)
            note_client(client);
    }
    mux_run_effects(mux);
}

void mux_connection_retire(struct mux_connection *connection, enum reason reason, int64_t now)
{
    struct mux *mux = connection_enter_call(connection, now);
    connection_retire(connection, reason);
    mux_run_effects(mux);
}

void mux_connection_close(struct mux_connection *connection, int64_t now)
{
    struct mux *mux = connection_enter_call(connection, now);
    if (connection->state != CONNECTION_OVER) {
        connection->was_evaluated = true; /* it is our doing */
        note_failure(connection, REASON_TARGET_CLOSED, "");
        connection_tear_down(connection);
    }
    connection_update(connection); /* which stops its timeouts */
    connection_free_late(connection);
    list_foreach(&connection->finished, node)
    {
        exchange_of_connection_node(node)->connection = NULL;
        list_remove(node);
    }
    list_remove(&connection->node);
    list_remove(&connection->noted);
    if (mux->protocol->close_connection != NULL)
        mux->protocol->close_connection(connection->framer);
    buffer_free(&connection->output);
    buffer_free(&connection->explanation);
    free(connection->ids);
    free(connection);
    mux_run_effects(mux);
}

uint64_t mux_connection_take_discarded(struct mux_connection *connection)
{
    uint64_t discarded = connection->discarded;
    connection->discarded = 0;
    return discarded;
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

bool mux_connection_was_left(const struct mux_connection *connection)
{
    return connection->target_left;
}

enum reason mux_connection_reason(const struct mux_connection *connection)
{
    return connection->reason;
}
