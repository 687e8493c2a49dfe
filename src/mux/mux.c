/* What all clients and connections share: effects, limits, settings, time. */
#include "mux/rates.h"

#include <stdlib.h>

/* What follows from the settings, and has to be found out anew with each change of them. */
static void mux_derive(struct mux *mux)
{
    const struct protocol_settings *protocol_settings = mux->settings.protocol;
    const struct protocol *protocol = protocol_settings->protocol;
    mux->protocol_settings = protocol_settings;
    mux->protocol = protocol;
    mux->takes_turns = protocol->turn_gap != NULL && !protocol_settings->is_async;
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
    struct list *const lists[] = {
        &mux->clients,           &mux->connections,    &mux->failed,          &mux->noted_clients,
        &mux->noted_connections, &mux->noted_accounts, &mux->changed_clients, &mux->changed_connections,
        &mux->untried,           &mux->waiters,        &mux->incompletes,
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    for (size_t i = 0; i < MUX_PRIORITIES; i++)
        list_init(&mux->lines[i].turns);
    quotas_init(&mux->accounts, sizeof(struct mux_account));
    mux->rate_due = INT64_MAX;
    mux->settings = *settings;
    mux->hooks = *hooks;
    mux->owner = owner;
    mux->queue_allowed = settings->queue_limit;
    mux->memory_allowed = settings->memory_limit;
    mux_derive(mux);
    timeouts_init(mux);
    return mux;
}

void mux_destroy(struct mux *mux)
{
    if (mux == NULL)
        return;
    quotas_free(&mux->accounts);
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

struct mux_client *mux_changed_client(struct mux *mux)
{
    struct list_node *node;
    while ((node = list_first(&mux->changed_clients)) != NULL) {
        struct mux_client *client = list_entry(node, struct mux_client, noted);
        list_remove(node);
        if (!client->door->is_apart)
            return client;
    }
    return NULL;
}

struct mux_connection *mux_changed_connection(struct mux *mux)
{
    struct list_node *node = list_first(&mux->changed_connections);
    if (node == NULL)
        return NULL;
    list_remove(node);
    return list_entry(node, struct mux_connection, noted);
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
        exchange_fail(client_first_waiting(client), REASON_QUEUE_FULL);
    }
}

static struct mux_client *mux_largest_client(const struct mux *mux)
{
    struct mux_client *largest = NULL;
    list_foreach(&mux->clients, node)
    {
        struct mux_client *client = list_entry(node, struct mux_client, node);
        if (client->state != CLIENT_RESETTING && (largest == NULL || client->memory > largest->memory))
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
        client_terminate(client, CLIENT_RESETTING, REASON_OVER_LIMIT);
        client_update(client);
    }
}

/* ---- Effects ---- */

static void mux_follow_connection(struct mux_connection *connection)
{
    connection_update(connection);
    list_remove(&connection->noted);
    list_append(&connection->mux->changed_connections, &connection->noted);
}

static void mux_follow_client(struct mux_client *client)
{
    do {
        if (client->mux->is_down && client->is_drained)
            client_give_up(client);
        if (client->delivers)
            client_deliver(client);
        if (client->held.length > 0 && client_can_take(client))
            request_resume(client);
    } while (client->delivers);
    client_update(client);
    list_remove(&client->noted);
    list_append(&client->mux->changed_clients, &client->noted);
}

static bool mux_is_settled(const struct mux *mux)
{
    return !mux->wants_dispatch && list_empty(&mux->failed) && list_empty(&mux->noted_connections) &&
           list_empty(&mux->noted_clients) && list_empty(&mux->noted_accounts) && list_empty(&mux->untried);
}

/* The order: what fails is torn down, since it gives requests back; connections before clients, since they say what
 * was answered; new work last, when all room is known; then the limits, when all that waits, or is held, is counted. */
void mux_run_effects(struct mux *mux)
{
    struct list_node *node;
    do {
        while ((node = list_first(&mux->failed)) != NULL)
            connection_tear_down(list_entry(node, struct mux_connection, failed));
        while ((node = list_first(&mux->noted_connections)) != NULL)
            mux_follow_connection(list_entry(node, struct mux_connection, noted));
        while ((node = list_first(&mux->noted_clients)) != NULL)
            mux_follow_client(list_entry(node, struct mux_client, noted));
        while ((node = list_first(&mux->noted_accounts)) != NULL)
            queue_let_in(list_entry(node, struct mux_account, noted));
        dispatch_run(mux);
        if (mux_is_settled(mux))
            mux_limit_queue(mux);
        if (mux_is_settled(mux))
            mux_limit_memory(mux);
    } while (!mux_is_settled(mux));
}

void mux_dispatch(struct mux *mux, int64_t now)
{
    mux->now = now;
    mux->wants_dispatch = true;
    mux_run_effects(mux);
}

/* ---- Time ---- */

int64_t mux_due(const struct mux *mux)
{
    int64_t timeouts = timeouts_due(mux), rates = rates_due(mux);
    return timeouts < rates ? timeouts : rates;
}

void mux_tick(struct mux *mux, int64_t now)
{
    mux->now = now;
    rates_expire(mux); /* first: who has a token now has waited long enough */
    mux_run_effects(mux);
    while (timeouts_expire(mux))
        mux_run_effects(mux);
}

void mux_hold_queue(struct mux *mux, bool hold, int64_t now)
{
    static const enum mux_timer timers[] = { TIMER_QUEUE, TIMER_DOWN };
    for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++)
        if (hold)
            timeout_list_hold(&mux->timers[timers[i]], now);
        else
            timeout_list_release(&mux->timers[timers[i]], now);
}

void mux_set_down(struct mux *mux, bool is_down, int64_t now)
{
    if (is_down == mux->is_down)
        return;
    mux->now = now;
    mux->is_down = is_down;
    mux->down_since = now;
    list_foreach(&mux->waiters, node) note_client(list_entry(node, struct mux_client, waiter));
    mux_run_effects(mux);
}

/* ---- Other settings ---- */

void mux_door_set_priority(struct mux *mux, struct mux_door *door, unsigned priority, int64_t now)
{
    mux->now = now;
    queue_set_priority(mux, door, priority);
    mux_run_effects(mux);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

void mux_reconfigure(struct mux *mux, const struct mux_settings *settings, int64_t now)
{
    bool had_no_timeout = mux->settings.request_timeout < 0;
    bool could_stall = mux->settings.stall_timeout < 0;
    mux->now = now;
    mux->settings = *settings;
    mux_derive(mux);
    mux->queue_allowed = larger(settings->queue_limit, mux->waiter_count);
    mux->memory_allowed = larger(settings->memory_limit, mux->memory);
    timeouts_change(mux);
    list_foreach(&mux->connections, node)
        connection_reconfigure(list_entry(node, struct mux_connection, node), had_no_timeout);
    list_foreach(&mux->clients, node)
    {
        struct mux_client *client = list_entry(node, struct mux_client, node);
        if (client->incoming != NULL && !mux->takes_turns) /* it may be too long to be held now */
            request_progressed(client->incoming);
        rates_withdraw(client); /* there may be fewer tokens now */
        if (could_stall)        /* how long it has done so counts from now on */
            client_begin_span(client);
        note_client(client);
    }
    mux->wants_dispatch = true;
    mux_run_effects(mux);
}
