/* States of clients and connections, and the notes of what is to be followed up from a known depth: see mux.c. */
#include "mux/mux_state.h"

#include <assert.h>

void client_enter(struct mux_client *client, enum client_state state, enum reason reason)
{
    assert(state >= client->state);
    if (!client_is_over(client))
        client->reason = reason;
    client->state = state;
    buffer_free(&client->held);
    note_client(client);
}

void connection_enter(struct mux_connection *connection, enum connection_state state)
{
    static const unsigned followers[] = {
        [CONNECTION_HANDSHAKE] = 1U << CONNECTION_DELAYED | 1U << CONNECTION_READY | 1U << CONNECTION_FAILED,
        [CONNECTION_DELAYED] = 1U << CONNECTION_READY | 1U << CONNECTION_FAILED,
        [CONNECTION_READY] = 1U << CONNECTION_RESTING | 1U << CONNECTION_FAILED | 1U << CONNECTION_OVER,
        [CONNECTION_RESTING] = 1U << CONNECTION_READY | 1U << CONNECTION_FAILED | 1U << CONNECTION_OVER,
        [CONNECTION_FAILED] = 1U << CONNECTION_OVER,
        [CONNECTION_OVER] = 0,
    };
    assert((followers[connection->state] & 1U << state) != 0);
    connection->state = state;
    note_connection(connection);
}

void note_client(struct mux_client *client)
{
    list_remove(&client->noted);
    list_append(&client->mux->noted_clients, &client->noted);
}

void note_connection(struct mux_connection *connection)
{
    list_remove(&connection->noted);
    list_append(&connection->mux->noted_connections, &connection->noted);
}

void note_delivery(struct mux_client *client)
{
    client->delivers = true;
    note_client(client);
}

void note_failure(struct mux_connection *connection, enum reason reason, const char *explanation)
{
    if (connection_is_ending(connection))
        return;
    connection_enter(connection, CONNECTION_FAILED);
    connection->reason = reason;
    buffer_truncate(&connection->explanation, 0);
    buffer_append(&connection->explanation, explanation, strlen(explanation) + 1);
    list_append(&connection->mux->failed, &connection->failed);
}
