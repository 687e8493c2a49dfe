/* Clients whose next request waits for a connection.
 *
 * Where clients take turns, each that may be sent to is in `turns`: who had a turn comes last again. One whose turn it
 * is, but whose own connection has no room, stands aside in that connection's `held`, and comes first once there is.
 * Where requests go in order, it is in `order`, by the place of its first request that waits. Who may not be sent to
 * is in neither, so that the work for one request does not depend on how much waits. */
#include "mux/mux_state.h"

static void queue_take_out(struct mux_client *client)
{
    client->is_held = false;
    list_remove(&client->in_turn);
    heap_remove(&client->in_order);
}

void queue_update(struct mux_client *client)
{
    struct mux *mux = client->mux;
    const struct mux_exchange *first = client_first_waiting(client);
    if (first == NULL || !client_is_eligible(client)) {
        queue_take_out(client);
    } else if (mux->settings.in_order) {
        if (heap_linked(&client->in_order) && client->in_order.key == first->place)
            return;
        heap_remove(&client->in_order);
        heap_add(&mux->order, &client->in_order, first->place);
        mux->wants_dispatch = true;
    } else if (!list_linked(&client->in_turn)) {
        list_append(&mux->turns, &client->in_turn);
        queue_try(client);
    }
}

void queue_try(struct mux_client *client)
{
    struct mux *mux = client->mux;
    if (mux->settings.in_order)
        mux->wants_dispatch = true;
    else if (!list_linked(&client->untried))
        list_append(&mux->untried, &client->untried);
}

/* The client comes before all others that wait. */
static void queue_come_first(struct mux_client *client)
{
    struct mux *mux = client->mux;
    if (mux->settings.in_order)
        return;
    queue_take_out(client);
    list_insert_before(mux->turns.head.next, &client->in_turn);
    mux->wants_dispatch = true;
}

void queue_enter(struct mux_exchange *exchange, bool again)
{
    struct mux_client *client = exchange->client;
    struct mux *mux = client->mux;
    struct list_node *next = again ? client->waiting.head.next : &client->waiting.head;
    list_insert_before(next, &exchange->in_waiting);
    if (client->waiting_count++ == 0) {
        if (mux->waiter_count++ == 0)
            mux->waited_since = mux->now;
        list_insert_before(again ? mux->waiters.head.next : &mux->waiters.head, &client->waiter);
    }
    if (again)
        queue_come_first(client);
    queue_update(client);
}

void queue_leave(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    list_remove(&exchange->in_waiting);
    if (--client->waiting_count > 0) {
        queue_update(client);
        return;
    }
    list_remove(&client->waiter);
    list_remove(&client->untried);
    client->mux->waiter_count--;
    queue_take_out(client);
}

struct mux_client *queue_first(const struct mux *mux)
{
    const struct list_node *turn = list_first(&mux->turns);
    if (turn != NULL)
        return list_entry(turn, struct mux_client, in_turn);
    return mux->order.first == NULL ? NULL : list_entry(mux->order.first, struct mux_client, in_order);
}

void queue_hold(struct mux_client *client)
{
    queue_take_out(client);
    client->is_held = true;
    list_append(&client->connection->held, &client->in_turn);
}

void queue_release(struct mux_connection *connection)
{
    struct list_node *first = list_first(&connection->held);
    if (first != NULL)
        queue_come_first(list_entry(first, struct mux_client, in_turn));
}

void queue_unbind(struct mux_client *client)
{
    if (client->is_held && client->connection == NULL)
        queue_come_first(client);
    if (client->waiting_count > 0) /* another connection may have had room for it all the time */
        queue_try(client);
}

size_t queue_count_next(const struct mux_client *client, size_t connections)
{
    const struct mux *mux = client->mux;
    if (mux->settings.in_order)
        return connections > 0 && queue_first(mux) == client ? mux->settings.depth : 0;
    list_foreach(&mux->turns, node)
    {
        if (connections-- == 0)
            return 0;
        if (node == &client->in_turn)
            return mux->settings.depth;
    }
    return 0;
}

void queue_set_down(struct mux *mux, bool is_down)
{
    mux->is_down = is_down;
    mux->down_since = mux->now;
    list_foreach(&mux->waiters, node) note_client(list_entry(node, struct mux_client, waiter));
}
