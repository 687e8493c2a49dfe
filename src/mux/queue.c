/* Clients whose next request waits for a connection.
 *
 * Where clients take turns, each that may be sent to is in `turns`: who had a turn comes last again. One whose turn it
 * is, but whose own connection has no room, stands aside in that connection's `held`, and comes first once there is.
 * Where requests go in order, it is in `order`, by the place of its first request that waits. Who may not be sent to
 * is in neither, so that the work for one request does not depend on how much waits. Each priority has a line of its
 * own. */
#include "mux/rates.h"

/* While others wait, so many turns in a row go to a priority before one goes to those below it. */
#define TURNS_IN_ROW 9

/* ---- Lines ---- */

static struct mux_line *queue_line(const struct mux_client *client)
{
    return &client->mux->lines[client->door->priority];
}

/* The first of a line; NULL: it is empty. */
static struct mux_client *queue_line_first(const struct mux_line *line)
{
    const struct list_node *turn = list_first(&line->turns);
    if (turn != NULL)
        return list_entry(turn, struct mux_client, in_turn);
    return line->order.first == NULL ? NULL : list_entry(line->order.first, struct mux_client, in_order);
}

static void queue_use_line(const struct mux_client *client)
{
    client->mux->lines_used |= 1U << client->door->priority;
}

/* The priority whose turn it is, of those in `used` (a bit each, at least one). */
static unsigned queue_pick(unsigned used, const unsigned *turns_in_row)
{
    unsigned highest = 31 - (unsigned)__builtin_clz(used);
    while (turns_in_row[highest] >= TURNS_IN_ROW && (used & ((1U << highest) - 1)) != 0) {
        used &= (1U << highest) - 1;
        highest = 31 - (unsigned)__builtin_clz(used);
    }
    return highest;
}

/* It has had a turn: those above it begin to count anew. */
static void queue_count(unsigned priority, unsigned used, unsigned *turns_in_row)
{
    if ((used & ((1U << priority) - 1)) != 0 && turns_in_row[priority] < TURNS_IN_ROW)
        turns_in_row[priority]++;
    for (unsigned higher = priority + 1; used >> higher != 0; higher++)
        if ((used & 1U << higher) != 0)
            turns_in_row[higher] = 0;
}

/* Finds out which lines are empty by now; returns those that are not. */
static unsigned queue_lines_used(struct mux *mux)
{
    for (unsigned used = mux->lines_used; used != 0; used &= used - 1) {
        unsigned priority = (unsigned)__builtin_ctz(used);
        if (queue_line_first(&mux->lines[priority]) == NULL)
            mux->lines_used &= ~(1U << priority);
    }
    return mux->lines_used;
}

/* ---- Clients ---- */

static void queue_take_out(struct mux_client *client)
{
    client->is_held = false;
    client->is_aside = false;
    list_remove(&client->in_turn);
    heap_remove(&client->in_order);
    rates_withdraw(client);
}

void queue_stand_aside(struct mux_client *client, bool first)
{
    struct mux_line *line = &client->account->aside;
    uint64_t place = client_first_waiting(client)->place;
    bool in_order = client->mux->settings.in_order;
    if (client->is_aside && (!in_order || client->in_order.key == place))
        return;
    queue_take_out(client);
    client->is_aside = true;
    if (in_order)
        heap_add(&line->order, &client->in_order, place);
    else
        list_insert_before(first ? line->turns.head.next : &line->turns.head, &client->in_turn);
}

void queue_update(struct mux_client *client)
{
    struct mux *mux = client->mux;
    const struct mux_exchange *first = client_first_waiting(client);
    if (first == NULL || !client_is_eligible(client)) {
        queue_take_out(client);
    } else if (client->is_held) {
        return;
    } else if (!rates_may_enter(client)) {
        queue_stand_aside(client, false);
    } else if (mux->settings.in_order) {
        if (heap_linked(&client->in_order) && client->in_order.key == first->place && !client->is_aside)
            return;
        heap_remove(&client->in_order);
        client->is_aside = false;
        heap_add(&queue_line(client)->order, &client->in_order, first->place);
        queue_use_line(client);
        mux->wants_dispatch = true;
    } else if (client->is_aside || !list_linked(&client->in_turn)) {
        list_remove(&client->in_turn);
        client->is_aside = false;
        list_append(&queue_line(client)->turns, &client->in_turn);
        queue_use_line(client);
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

/* The client comes before all others of its priority that wait. */
static void queue_come_first(struct mux_client *client)
{
    struct mux *mux = client->mux;
    if (mux->settings.in_order)
        return;
    queue_take_out(client);
    if (!rates_admit(client, true)) {
        queue_stand_aside(client, true);
        return;
    }
    list_insert_before(queue_line(client)->turns.head.next, &client->in_turn);
    queue_use_line(client);
    mux->wants_dispatch = true;
}

void queue_enter(struct mux_exchange *exchange, bool again)
{
    struct mux_client *client = exchange->client;
    struct mux *mux = client->mux;
    struct list_node *next = again ? client->waiting.head.next : &client->waiting.head;
    list_insert_before(next, &exchange->in_waiting);
    if (client->waiting_count++ == 0 && client->door->is_apart) {
        mux->apart_count++;
    } else if (client->waiting_count == 1) {
        client->door->waiting++;
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
    list_remove(&client->untried);
    queue_take_out(client);
    if (client->door->is_apart) {
        client->mux->apart_count--;
        return;
    }
    list_remove(&client->waiter);
    client->mux->waiter_count--;
    client->door->waiting--;
}

struct mux_client *queue_first(struct mux *mux)
{
    unsigned used = queue_lines_used(mux);
    if (used == 0)
        return NULL;
    return queue_line_first(&mux->lines[queue_pick(used, mux->turns_in_row)]);
}

void queue_let_in(struct mux_account *account)
{
    struct mux_client *client;
    while ((client = queue_line_first(&account->aside)) != NULL && rates_admit(client, true))
        queue_update(client);
    rates_watch(account, client != NULL);
}

void queue_count_turn(struct mux_client *client)
{
    queue_count(client->door->priority, queue_lines_used(client->mux), client->mux->turns_in_row);
}

void queue_hold(struct mux_client *client)
{
    queue_take_out(client);
    client->is_held = true;
    list_append(&client->connection->held[client->door->priority], &client->in_turn);
}

void queue_put_aside(struct mux_client *client, struct list *aside)
{
    queue_take_out(client);
    list_append(aside, &client->in_turn);
}

void queue_take_back(struct list *aside)
{
    struct list_node *node;
    while ((node = list_last(aside)) != NULL) {
        struct mux_client *client = list_entry(node, struct mux_client, in_turn);
        list_remove(node);
        if (client->mux->settings.in_order)
            queue_update(client);
        else
            queue_come_first(client);
    }
}

void queue_release(struct mux_connection *connection)
{
    for (size_t i = 0; i < MUX_PRIORITIES; i++) {
        struct list_node *first;
        while ((first = list_first(&connection->held[i])) != NULL) {
            struct mux_client *client = list_entry(first, struct mux_client, in_turn);
            queue_come_first(client);
            if (!client->is_aside) /* else it leaves the room to the next one */
                break;
        }
    }
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
    struct mux *mux = client->mux;
    if (mux->settings.in_order)
        return connections > 0 && queue_first(mux) == client ? mux->settings.depth : 0;
    unsigned turns_in_row[MUX_PRIORITIES];
    const struct list_node *nodes[MUX_PRIORITIES];
    unsigned used = queue_lines_used(mux);
    memcpy(turns_in_row, mux->turns_in_row, sizeof turns_in_row);
    for (size_t i = 0; i < MUX_PRIORITIES; i++)
        nodes[i] = mux->lines[i].turns.head.next;
    while (used != 0 && connections-- > 0) {
        unsigned priority = queue_pick(used, turns_in_row);
        if (nodes[priority] == &client->in_turn)
            return mux->settings.depth;
        queue_count(priority, used, turns_in_row);
        nodes[priority] = nodes[priority]->next;
        if (nodes[priority] == &mux->lines[priority].turns.head)
            used &= ~(1U << priority);
    }
    return 0;
}

void queue_set_priority(struct mux *mux, struct mux_door *door, unsigned priority)
{
    if (priority == door->priority)
        return;
    list_foreach(&mux->waiters, node)
    {
        struct mux_client *client = list_entry(node, struct mux_client, waiter);
        if (client->door == door)
            queue_take_out(client);
    }
    door->priority = priority;
    list_foreach(&mux->waiters, node)
    {
        struct mux_client *client = list_entry(node, struct mux_client, waiter);
        if (client->door == door)
            queue_update(client);
    }
}
