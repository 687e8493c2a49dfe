/* A client: its answers in their order, how it has to get on, and its end. */
#include "mux/mux_state.h"

/* ---- The clock of its oldest request ---- */

/* How long that has waited; while the queue is held, time stands still. */
static int64_t client_queue_used(const struct mux_client *client)
{
    const struct timeout_list *list = &client->mux->timers[TIMER_QUEUE];
    int64_t used = (list->is_held ? list->held_since : client->mux->now) - client->queue.since;
    return used > 0 ? used : 0;
}

static void client_watch_queue(struct mux_client *client)
{
    struct mux *mux = client->mux;
    const struct mux_exchange *first = client_first(client);
    bool waits = first != NULL && !client->door->is_apart &&
                 (first->state == EXCHANGE_WAITING || first->state == EXCHANGE_RESERVED);
    bool runs = list_linked(&client->queue.node);
    if (waits && !runs)
        timeout_start(&mux->timers[TIMER_QUEUE], &client->queue, mux->now - client->queue_used);
    if (waits || !runs)
        return;
    client->queue_used = client_queue_used(client);
    timeout_stop(&client->queue);
}

/* ---- Stalling: a client that holds up a connection has to get on with it ---- */

/* Whether its connection can do nothing but wait for it. */
static bool client_holds_connection(const struct mux_client *client)
{
    const struct mux_exchange *incoming = client->incoming;
    if (client->connection == NULL || client_is_over(client))
        return false;
    bool sends = incoming != NULL && incoming->state == EXCHANGE_SENT && !client->mux->takes_turns &&
                 incoming->bytes.length == 0 && client->connection->output.length == 0;
    return sends || connection_is_blocked_by(client->connection, client);
}

void client_begin_span(struct mux_client *client)
{
    client->stall_used = 0;
    client->stall_progress = 0;
    if (client->stalls)
        timeout_start(&client->mux->timers[TIMER_STALL], &client->stall, client->mux->now);
}

void client_watch_stall(struct mux_client *client)
{
    struct mux *mux = client->mux;
    bool is_over = client_is_over(client);
    bool holds = is_over ? client->output.length > 0 : client_holds_connection(client);
    if (client->stall_progress >= mux->settings.buffer_limit || (client->connection == NULL && !is_over))
        client_begin_span(client);
    if (holds && !client->stalls)
        timeout_start(&mux->timers[TIMER_STALL], &client->stall, mux->now - client->stall_used);
    if (!holds && client->stalls) {
        client->stall_used = mux->now - client->stall.since;
        timeout_stop(&client->stall);
    }
    client->stalls = list_linked(&client->stall.node); /* not while there is no stall_timeout */
}

/* Since when others wait for what this client holds; INT64_MAX: nobody does. */
static int64_t client_waited_for_since(const struct mux_client *client)
{
    const struct mux_connection *connection = client->connection;
    int64_t since = mux_somebody_else_waits(client->mux, client) ? client->mux->waited_since : INT64_MAX;
    list_foreach(&connection->in_flight, node)
    {
        const struct mux_exchange *exchange = exchange_of_connection_node(node);
        if (exchange->client != client && exchange->sent < since)
            since = exchange->sent;
    }
    const struct mux_exchange *reserved = connection->reserved;
    if (reserved != NULL && reserved->client != client && reserved->ready < since)
        since = reserved->ready;
    return since;
}

void client_stalled(struct mux_client *client)
{
    struct mux *mux = client->mux;
    struct timeout_list *timer = &mux->timers[TIMER_STALL];
    if (client_is_over(client)) { /* it does not even take the last bytes */
        client_terminate(client, CLIENT_RESETTING, REASON_CLIENT_STALLED);
        return;
    }
    int64_t since = client_waited_for_since(client);
    if (since == INT64_MAX) {
        client_begin_span(client);
        return;
    }
    if (since < client->stall.since)
        since = client->stall.since;
    if (mux->now - since < timer->duration)
        timeout_start(timer, &client->stall, since);
    else
        client_cut_off(client, REASON_CLIENT_STALLED);
}

/* ---- What follows from a change ---- */

static void client_watch_idle(struct mux_client *client)
{
    const struct mux_exchange *incoming = client->incoming;
    bool reading = incoming != NULL && incoming->state == EXCHANGE_READING;
    bool outstanding = client->exchange_count > (reading ? 1 : 0);
    bool incomplete = incoming != NULL && !client->mux->takes_turns && client_can_take(client);
    if (client_is_over(client) || (outstanding && !incomplete) || client->door->is_apart)
        timeout_stop(&client->idle);
    else if (!list_linked(&client->idle.node))
        timeout_start(&client->mux->timers[TIMER_IDLE], &client->idle, client->mux->now);
}

void client_progressed(struct mux_client *client, size_t count)
{
    client->stall_progress += count;
    if (list_linked(&client->idle.node))
        timeout_start(&client->mux->timers[TIMER_IDLE], &client->idle, client->mux->now);
    note_client(client);
}

/* The time of the request that waits first runs from when it came or, later, from when the last target was lost. */
static void client_watch_down(struct mux_client *client)
{
    struct mux *mux = client->mux;
    const struct mux_exchange *first = client_first_waiting(client);
    if (!mux->is_down || first == NULL || client->door->is_apart) {
        timeout_stop(&client->down);
    } else if (!list_linked(&client->down.node) || client->down_place != first->place) {
        client->down_place = first->place;
        timeout_start(&mux->timers[TIMER_DOWN], &client->down,
                      first->ready > mux->down_since ? first->ready : mux->down_since);
    }
}

void client_give_up(struct mux_client *client)
{
    struct mux_exchange *exchange;
    while ((exchange = client_first_waiting(client)) != NULL)
        exchange_fail(exchange, REASON_TARGET_DOWN);
}

void client_update(struct mux_client *client)
{
    struct mux *mux = client->mux;
    size_t memory = client->sums.memory + client->held.capacity + client->output.capacity;
    mux->memory += memory - client->memory;
    client->memory = memory;
    queue_update(client);
    client_watch_queue(client);
    client_watch_down(client);
    client_watch_stall(client);
    client_watch_idle(client);
}

/* ---- Ends ---- */

/* Bytes of the turn before are not for it any more. */
static void client_leave_last_turn(struct mux_client *client)
{
    if (client->last_turn == NULL)
        return;
    client->last_turn->last_client = NULL;
    note_connection(client->last_turn);
    client->last_turn = NULL;
}

void client_terminate(struct mux_client *client, enum client_state state, enum reason reason)
{
    struct mux_exchange *exchange;
    if (state <= client->state)
        return;
    if (!client_is_over(client))
        client_begin_span(client);
    client_enter(client, state, reason);
    if (state == CLIENT_RESETTING)
        buffer_free(&client->output);
    while ((exchange = client_first(client)) != NULL)
        exchange_drop(exchange, reason);
    client_leave_last_turn(client);
}

void client_cut_off(struct mux_client *client, enum reason reason)
{
    const struct mux_exchange *first = client_first(client);
    bool has_part = client->output.length > 0 || (first != NULL && first->request.begun);
    client_terminate(client, has_part ? CLIENT_RESETTING : CLIENT_CLOSING, reason);
}

/* Drops the request that has not come wholly; its client sends no more. Returns whether a part of its answer was
 * given out, which must not look whole. */
static bool client_drop_incoming(struct mux_client *client, enum reason reason)
{
    struct mux_exchange *incoming = client->incoming;
    if (incoming == NULL)
        return false;
    client->incoming = NULL;
    if (client->mux->takes_turns) { /* what came is all there is */
        exchange_complete(incoming);
        if (incoming->state == EXCHANGE_SENT)
            note_connection(incoming->connection);
        return false;
    }
    bool has_part = incoming->request.begun && incoming == client_first(client);
    exchange_drop(incoming, reason);
    return has_part;
}

void client_stop_input(struct mux_client *client, enum reason reason)
{
    client_enter(client, CLIENT_FINISHING, client_is_finishing(client) ? client->reason : reason);
    if (client_drop_incoming(client, reason))
        client_terminate(client, CLIENT_CUT_OFF, client->reason);
    else
        note_delivery(client);
}

void client_after_input(struct mux_client *client)
{
    if (client_is_finishing(client) || client->held.length > 0)
        return;
    if (client->has_ended)
        client_stop_input(client, REASON_CLIENT_CLOSED);
    else if (client->is_drained && client->incoming == NULL)
        client_stop_input(client, REASON_DRAINED);
}

/* Drops what waits of a client that has given up: a slow target must not be made to work for nobody. What was
 * answered here behind it goes with it, or it would stand in its place. */
void client_drop_waiting(struct mux_client *client, size_t next)
{
    bool drops = false;
    list_foreach(&client->exchanges, node)
    {
        struct mux_exchange *exchange = exchange_of_client_node(node);
        bool waits = exchange->state == EXCHANGE_WAITING || exchange->state == EXCHANGE_RESERVED;
        if (waits && next > 0)
            next--;
        else
            drops |= waits;
        if (drops && exchange->state != EXCHANGE_READING)
            exchange_drop(exchange, REASON_CLIENT_CLOSED);
    }
}

/* ---- Answers ---- */

/* How the client goes when this exchange, which was answered, is its last one. A stream that was cut must not look
 * whole; where nobody knows what whole is, the target's end is passed on. */
static enum client_state client_close_after(const struct mux_client *client,
                                            const struct mux_exchange *exchange, enum reason reason)
{
    bool passes_end = client->mux->takes_turns && reason == REASON_TARGET_CLOSED;
    return exchange->lacks_error && exchange->request.begun && !passes_end ? CLIENT_CUT_OFF : CLIENT_CLOSING;
}

/* The first exchange is answered: its place in the order is given free. */
static void client_pass_first(struct mux_client *client, struct mux_exchange *first)
{
    bool lacks_error = first->lacks_error;
    bool closes = lacks_error || first->request.closes_client;
    enum reason reason = lacks_error                   ? first->reason
                         : client_is_finishing(client) ? client->reason
                                                       : REASON_CLIENT_CLOSED;
    enum client_state state = client_close_after(client, first, reason);
    mux_observe_end(first, first->reason);
    timeout_stop(&client->queue); /* the next one's clock begins now */
    client->queue_used = 0;
    exchange_free(first);
    if (closes)
        client_terminate(client, state, reason);
}

void client_deliver(struct mux_client *client)
{
    struct mux_exchange *first;
    client->delivers = false;
    while ((first = client_first(client)) != NULL) {
        if (first->answer.length > 0) {
            buffer_move(&client->output, &first->answer);
            exchange_account(first);
        }
        if (client->output.failed) {
            client_terminate(client, CLIENT_RESETTING, REASON_INTERNAL);
            return;
        }
        if (first->state != EXCHANGE_ANSWERED)
            break;
        client_pass_first(client, first);
    }
    if (client->exchange_count == 0 && !client_is_over(client)) {
        if (client->is_drained && client->held.length == 0 && !client_is_finishing(client))
            client_enter(client, CLIENT_FINISHING, REASON_DRAINED);
        if (client_is_finishing(client))
            client_terminate(client, CLIENT_CLOSING, client->reason);
    }
    note_client(client);
}
