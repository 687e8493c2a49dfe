/* What all clients and connections share: the queue, the clocks, the limits. */
#include "mux/mux_state.h"

#include <stdlib.h>

void mux_derive(struct mux *mux)
{
    const struct protocol_settings *protocol_settings = mux->settings.protocol;
    const struct protocol *protocol = protocol_settings->protocol;
    mux->protocol_settings = protocol_settings;
    mux->protocol = protocol;
    mux->takes_turns = protocol->takes_turns && !protocol_settings->is_async;
    mux->id_count = protocol->id_count == NULL ? 0 : protocol->id_count(protocol_settings);
    if (mux->takes_turns || mux->settings.request_gap > 0)
        mux->settings.depth = 1;
    mux->answers_per_client = SIZE_MAX;
    if (mux->id_count > 0) {
        size_t largest = protocol->largest_answer == NULL ? 0 : protocol->largest_answer(protocol_settings);
        mux->answers_per_client = largest == 0 ? 1 : mux->settings.buffer_limit / largest;
        if (mux->answers_per_client == 0)
            mux->answers_per_client = 1;
    }
}

struct mux *mux_create(const struct mux_settings *settings, const struct mux_hooks *hooks, void *owner)
{
    struct mux *mux = calloc(1, sizeof *mux);
    if (mux == NULL)
        return NULL;
    mux->settings = *settings;
    mux->hooks = *hooks;
    mux->owner = owner;
    mux->queue_allowed = settings->queue_limit;
    mux->memory_allowed = settings->memory_limit;
    mux_derive(mux);
    list_init(&mux->clients);
    list_init(&mux->connections);
    list_init(&mux->changed_clients);
    list_init(&mux->changed_connections);
    list_init(&mux->doomed);
    list_init(&mux->resumables);
    list_init(&mux->untried);
    list_init(&mux->queue);
    list_init(&mux->incompletes);
    list_init(&mux->waiters);
    timeout_list_init(&mux->queue_timeouts, settings->queue_timeout);
    timeout_list_init(&mux->idle_timeouts, settings->client_idle_timeout);
    timeout_list_init(&mux->stall_timeouts, settings->stall_timeout);
    timeout_list_init(&mux->exchange_timeouts, settings->request_timeout);
    timeout_list_init(&mux->answering_timeouts, settings->request_timeout);
    timeout_list_init(&mux->taking_timeouts, settings->request_timeout);
    timeout_list_init(&mux->discard_timeouts, settings->stall_timeout);
    timeout_list_init(&mux->inactivity_timeouts, settings->inactivity_timeout);
    timeout_list_init(&mux->ttl_timeouts, settings->connection_ttl);
    timeout_list_init(&mux->delay_timeouts, settings->connect_delay);
    timeout_list_init(&mux->gap_timeouts, settings->request_gap);
    timeout_list_init(&mux->turn_timeouts, settings->protocol->raw.response_gap);
    return mux;
}

void mux_destroy(struct mux *mux)
{
    if (mux == NULL)
        return;
    buffer_free(&mux->discarded);
    free(mux);
}

size_t mux_waiting(const struct mux *mux)
{
    return mux->waiter_count;
}

size_t mux_memory(const struct mux *mux)
{
    return mux->memory;
}

size_t mux_clients(const struct mux *mux)
{
    return mux->client_count;
}

bool mux_somebody_else_waits(const struct mux *mux, const struct mux_client *client)
{
    return mux->waiter_count > (client->waiting > 0 ? 1 : 0);
}

struct mux_client *mux_changed_client(struct mux *mux)
{
    struct list_node *node = list_first(&mux->changed_clients);
    if (node == NULL)
        return NULL;
    list_remove(node);
    return list_entry(node, struct mux_client, changed);
}

struct mux_connection *mux_changed_connection(struct mux *mux)
{
    struct list_node *node = list_first(&mux->changed_connections);
    if (node == NULL)
        return NULL;
    list_remove(node);
    return list_entry(node, struct mux_connection, changed);
}

/* ---- The queue ---- */

/* The connection that takes the next request of this client; NULL: none. `go_on`: another client's may be taken all
 * the same.
 */
static struct mux_connection *mux_find_connection(struct mux *mux, const struct mux_client *client,
                                                  bool *go_on)
{
    *go_on = true;
    if (client->connection != NULL) { /* its requests stay together, so that it reads its own writes */
        bool has_room = mux_connection_has_room(client->connection);
        *go_on = has_room || !mux->settings.in_order;
        return has_room ? client->connection : NULL;
    }
    if (client->late_connection != NULL && mux_connection_has_room(client->late_connection))
        return client->late_connection;
    struct mux_connection *connection = mux->hooks.choose(mux->owner, client->owner);
    *go_on = connection != NULL;
    return connection;
}

/* Gives the request a connection if there is one for it; false: there is none for those behind it either. */
static bool mux_hand_out(struct mux *mux, struct mux_exchange *exchange)
{
    bool go_on = true;
    if (!client_is_eligible(exchange->client))
        return true;
    struct mux_connection *connection = mux_find_connection(mux, exchange->client, &go_on);
    if (connection != NULL)
        connection_assign(connection, exchange);
    return go_on;
}

static void mux_hand_out_all(struct mux *mux)
{
    struct list_node *node = mux->queue.head.next;
    while (node != &mux->queue.head) {
        struct list_node *before = node->previous;
        if (!mux_hand_out(mux, list_entry(node, struct mux_exchange, in_queue)))
            break;
        node = list_linked(node) && node->previous == before ? node->next : before->next;
    }
}

/* Where clients take turns one more of them need not have the whole queue looked at. */
static void mux_hand_out_untried(struct mux *mux)
{
    struct list_node *node;
    while ((node = list_first(&mux->untried)) != NULL) {
        const struct mux_client *client = list_entry(node, struct mux_client, untried);
        list_remove(node);
        if (client->queued != NULL && !mux->wants_dispatch)
            mux_hand_out(mux, client->queued);
    }
}

void mux_try(struct mux *mux, struct mux_client *client)
{
    if (mux->settings.in_order)
        mux->wants_dispatch = true;
    else if (!list_linked(&client->untried))
        list_append(&mux->untried, &client->untried);
}

/* ---- Limits ---- */

/* A limit that was lowered while more was there: comes down with what is there. */
static void mux_lower(size_t *allowed, size_t limit, size_t present)
{
    if (present < *allowed)
        *allowed = present < limit ? limit : present;
}

/* The latest clients to wait are turned away. */
static void mux_limit_queue(struct mux *mux)
{
    mux_lower(&mux->queue_allowed, mux->settings.queue_limit, mux->waiter_count);
    while (mux->waiter_count > mux->queue_allowed) {
        struct mux_client *client = list_entry(list_last(&mux->waiters), struct mux_client, waiter);
        struct list_node *node = client->exchanges.head.next;
        while (exchange_of_client_node(node)->state != EXCHANGE_WAITING)
            node = node->next;
        exchange_fail(exchange_of_client_node(node), REASON_QUEUE_FULL);
    }
}

static struct mux_client *mux_largest_client(const struct mux *mux)
{
    struct mux_client *largest = NULL;
    list_foreach(&mux->clients, node)
    {
        struct mux_client *client = list_entry(node, struct mux_client, node);
        if (!client->broken && (largest == NULL || client->memory > largest->memory))
            largest = client;
    }
    return largest;
}

static void mux_limit_memory(struct mux *mux)
{
    mux_lower(&mux->memory_allowed, mux->settings.memory_limit, mux->memory);
    while (mux->memory > mux->memory_allowed) {
        struct list_node *node = list_first(&mux->incompletes);
        struct mux_client *client = node == NULL ? mux_largest_client(mux)
                                                 : list_entry(node, struct mux_exchange, incomplete)->client;
        if (client == NULL)
            break;
        client_over(client, REASON_OVER_LIMIT, true);
    }
}

void mux_settle(struct mux *mux)
{
    struct list_node *node;
    if (mux->settling)
        return;
    mux->settling = true;
    do {
        while ((node = list_first(&mux->doomed)) != NULL)
            connection_collapse(list_entry(node, struct mux_connection, doomed));
        while ((node = list_first(&mux->resumables)) != NULL) {
            list_remove(node);
            client_resume(list_entry(node, struct mux_client, resumable));
        }
        mux_hand_out_untried(mux);
        if (mux->wants_dispatch) {
            mux->wants_dispatch = false;
            mux_hand_out_all(mux);
        }
        mux_limit_queue(mux);
        mux_limit_memory(mux);
    } while (mux->wants_dispatch || !list_empty(&mux->doomed) || !list_empty(&mux->resumables) ||
             !list_empty(&mux->untried));
    mux->settling = false;
}

void mux_dispatch(struct mux *mux, int64_t now)
{
    mux->now = now;
    mux->wants_dispatch = true;
    mux_settle(mux);
}

/* ---- Time ---- */

int64_t mux_due(const struct mux *mux)
{
    const struct timeout_list *const lists[] = {
        &mux->queue_timeouts,     &mux->idle_timeouts,   &mux->stall_timeouts,   &mux->exchange_timeouts,
        &mux->answering_timeouts, &mux->taking_timeouts, &mux->discard_timeouts, &mux->inactivity_timeouts,
        &mux->ttl_timeouts,       &mux->delay_timeouts,  &mux->gap_timeouts,     &mux->turn_timeouts,
    };
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        int64_t next = timeout_list_due(lists[i]);
        if (next < due)
            due = next;
    }
    return due;
}

static void mux_tick_clients(struct mux *mux)
{
    struct timeout *timeout;
    while ((timeout = timeout_list_expire(&mux->idle_timeouts, mux->now)) != NULL) {
        client_cut_off(list_entry(timeout, struct mux_client, idle), REASON_CLIENT_IDLE);
        mux_settle(mux);
    }
    while ((timeout = timeout_list_expire(&mux->stall_timeouts, mux->now)) != NULL) {
        client_stalled(list_entry(timeout, struct mux_client, stall));
        mux_settle(mux);
    }
}

static void mux_tick_answers(struct mux *mux)
{
    struct timeout *timeout;
    while ((timeout = timeout_list_expire(&mux->exchange_timeouts, mux->now)) != NULL) {
        connection_exchange_overdue(list_entry(timeout, struct mux_exchange, answering));
        mux_settle(mux);
    }
    while ((timeout = timeout_list_expire(&mux->answering_timeouts, mux->now)) != NULL) {
        connection_answer_overdue(list_entry(timeout, struct mux_connection, answering));
        mux_settle(mux);
    }
    while ((timeout = timeout_list_expire(&mux->taking_timeouts, mux->now)) != NULL) {
        connection_taking_overdue(list_entry(timeout, struct mux_connection, taking));
        mux_settle(mux);
    }
    while ((timeout = timeout_list_expire(&mux->turn_timeouts, mux->now)) != NULL) {
        response_turn_over(list_entry(timeout, struct mux_connection, turn));
        mux_settle(mux);
    }
}

static void mux_tick_connections(struct mux *mux)
{
    struct timeout *timeout;
    while ((timeout = timeout_list_expire(&mux->discard_timeouts, mux->now)) != NULL) {
        connection_doom(list_entry(timeout, struct mux_connection, discard), REASON_TARGET_CLOSED, "");
        mux_settle(mux);
    }
    while ((timeout = timeout_list_expire(&mux->inactivity_timeouts, mux->now)) != NULL) {
        connection_retire(list_entry(timeout, struct mux_connection, inactivity), REASON_INACTIVITY);
        mux_settle(mux);
    }
    while ((timeout = timeout_list_expire(&mux->ttl_timeouts, mux->now)) != NULL) {
        connection_retire(list_entry(timeout, struct mux_connection, ttl), REASON_DRAINED);
        mux_settle(mux);
    }
    while ((timeout = timeout_list_expire(&mux->delay_timeouts, mux->now)) != NULL) {
        connection_pause_over(list_entry(timeout, struct mux_connection, pause));
        mux_settle(mux);
    }
    while ((timeout = timeout_list_expire(&mux->gap_timeouts, mux->now)) != NULL) {
        connection_pause_over(list_entry(timeout, struct mux_connection, pause));
        mux_settle(mux);
    }
}

/* Comes last, because connections that fail give requests back whose time is up. */
static void mux_tick_queue(struct mux *mux)
{
    struct timeout *timeout;
    while ((timeout = timeout_list_expire(&mux->queue_timeouts, mux->now)) != NULL) {
        client_queue_timed_out(list_entry(timeout, struct mux_client, queue));
        mux_settle(mux);
    }
}

void mux_tick(struct mux *mux, int64_t now)
{
    mux->now = now;
    mux_tick_clients(mux);
    mux_tick_answers(mux);
    mux_tick_connections(mux);
    mux_tick_queue(mux);
}
