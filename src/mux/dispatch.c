/* Which connection gets which request. */
#include "mux/rates.h"

/* The connection that takes the next request of this client; NULL: none now. */
static struct mux_connection *dispatch_find(const struct mux *mux, const struct mux_client *client)
{
    if (client->connection != NULL) /* its requests stay together, so that it reads its own writes */
        return mux_connection_has_room(client->connection) ? client->connection : NULL;
    if (client->last_turn != NULL && mux_connection_has_room(client->last_turn))
        return client->last_turn;
    return client->door->is_apart ? mux->hooks.choose_apart(mux->owner, client->owner)
                                  : mux->hooks.choose(mux->owner, client->owner);
}

/* Hands out one request of the client. False: there is no connection for it. */
static bool dispatch_one(struct mux *mux, struct mux_client *client)
{
    struct mux_connection *connection = dispatch_find(mux, client);
    if (connection == NULL)
        return false;
    queue_count_turn(client);
    list_remove(&client->in_turn); /* it comes last again */
    client->is_held = false;
    if (!client->door->is_apart)
        rates_charge(client_first_waiting(client));
    rates_withdraw(client);
    connection_assign(connection, client_first_waiting(client));
    list_remove(&client->untried); /* its connection will say whether it has more room */
    return true;
}

/* It may not be sent to, which takes it out of the queue; another one may have stood aside behind it. */
static void dispatch_pass_over(struct mux_client *client)
{
    if (client_is_eligible(client))
        queue_stand_aside(client, true);
    else
        queue_update(client);
    if (client->connection != NULL)
        note_connection(client->connection);
}

/* In turn, until there is none for the first of them. */
static void dispatch_all(struct mux *mux)
{
    struct mux_client *client;
    struct list aside;
    list_init(&aside);
    mux->rate_due = INT64_MAX;
    while ((client = queue_first(mux)) != NULL) {
        if (!client_is_eligible(client) || !rates_has_token(client))
            dispatch_pass_over(client);
        else if (client->door->is_apart && !dispatch_one(mux, client))
            queue_put_aside(client, &aside);
        else if (client->door->is_apart)
            continue;
        else if (!rates_allow(client))
            break;
        else if (dispatch_one(mux, client))
            continue;
        else if (client->connection != NULL && !mux->settings.in_order)
            queue_hold(client);
        else
            break;
    }
    queue_take_back(&aside);
}

/* Out of turn, for a connection that nobody else could use. */
static void dispatch_try(struct mux *mux, struct mux_client *client)
{
    bool may_go =
        client->door->is_apart || (!client->is_aside && rates_admit(client, true) && rates_allow(client));
    bool goes = client_is_eligible(client) && may_go && dispatch_one(mux, client);
    if (!goes && client->is_held) /* it has no turn, and needs no token */
        rates_withdraw(client);
}

void dispatch_run(struct mux *mux)
{
    struct list_node *node;
    while ((node = list_first(&mux->untried)) != NULL) {
        struct mux_client *client = list_entry(node, struct mux_client, untried);
        list_remove(node);
        /* While others wait for a token it is not to come before them. */
        if (!mux->wants_dispatch && mux->rate_due == INT64_MAX && client->waiting_count > 0)
            dispatch_try(mux, client);
    }
    if (!mux->wants_dispatch)
        return;
    dispatch_all(mux);
    mux->wants_dispatch = false;
}

/* Connections that have nothing to do and will take requests soon: they are being made, made ready, or rest. */
static size_t dispatch_count_coming(const struct mux *mux)
{
    size_t count = mux->hooks.opening == NULL ? 0 : mux->hooks.opening(mux->owner);
    list_foreach(&mux->connections, node)
    {
        const struct mux_connection *connection = list_entry(node, struct mux_connection, node);
        if (connection_is_ending(connection) || connection->is_retiring)
            continue;
        bool works = mux_connection_load(connection) > 0;
        if (works && mux->settings.in_order)
            return 0; /* all wait for this one */
        count += !works && connection->state != CONNECTION_READY;
    }
    return count;
}

size_t dispatch_count_next(const struct mux_client *client)
{
    if (client->connection != NULL || client->waiting_count == 0)
        return 0;
    return queue_count_next(client, dispatch_count_coming(client->mux));
}
