/* The client's side: what it may send, answers in their order, and its end. */
#include "mux/mux_state.h"

#include <stdlib.h>

static struct mux *client_enter(struct mux_client *client, int64_t now)
{
    client->mux->now = now;
    return client->mux;
}

static bool client_output_is_full(const struct mux_client *client)
{
    return client->output.length >= client->mux->settings.buffer_limit;
}

/* What is held of its requests, apart from one of which its framer does not yet know what it is: that has a
 * limit of its own, which is noticed only if it may be reached, and passed. */
static size_t client_held_requests(const struct mux_client *client)
{
    const struct mux_exchange *incoming = client->incoming;
    if (incoming == NULL || incoming->request.decided || incoming->state != EXCHANGE_READING)
        return client->request_bytes;
    return client->request_bytes - incoming->bytes.length;
}

bool client_can_take(const struct mux_client *client)
{
    const struct mux_settings *settings = &client->mux->settings;
    return client->waiting < settings->pipeline_depth &&
           client->exchange_count < 2 * settings->pipeline_depth &&
           client_held_requests(client) < settings->buffer_limit &&
           client->answer_bytes < settings->buffer_limit && !client_output_is_full(client);
}

bool client_is_eligible(const struct mux_client *client)
{
    return !client_output_is_full(client) && client->in_flight < client->mux->answers_per_client;
}

/* How long it has waited; while the queue is held, time stands still. */
static int64_t client_queue_used(const struct mux_client *client)
{
    const struct timeout_list *list = &client->mux->queue_timeouts;
    int64_t used = (list->is_held ? list->held_since : client->mux->now) - client->queue.since;
    return used > 0 ? used : 0;
}

void client_watch_queue(struct mux_client *client)
{
    struct mux *mux = client->mux;
    const struct mux_exchange *first = client_first(client);
    bool waits = first != NULL && (first->state == EXCHANGE_WAITING || first->state == EXCHANGE_RESERVED);
    bool runs = list_linked(&client->queue.node);
    if (waits && !runs)
        timeout_start(&mux->queue_timeouts, &client->queue, mux->now - client->queue_used);
    if (waits || !runs)
        return;
    client->queue_used = client_queue_used(client);
    timeout_stop(&client->queue);
}

void client_queue_timed_out(struct mux_client *client)
{
    struct mux_exchange *first = client_first(client);
    exchange_fail(first, REASON_QUEUE_TIMEOUT);
}

/* ---- Stalling: a client that holds a connection up has to get on with it ---- */

/* Whether its connection can do nothing but wait for it. */
static bool client_holds_connection(const struct mux_client *client)
{
    const struct mux_exchange *incoming = client->incoming;
    if (client->connection == NULL || client->over)
        return false;
    bool sends = incoming != NULL && incoming->state == EXCHANGE_SENT && !client->mux->takes_turns &&
                 incoming->bytes.length == 0 && client->connection->output.length == 0;
    return sends || connection_is_blocked_by(client->connection, client);
}

static void client_begin_span(struct mux_client *client)
{
    client->stall_used = 0;
    client->stall_progress = 0;
    if (client->stalling)
        timeout_start(&client->mux->stall_timeouts, &client->stall, client->mux->now);
}

void client_watch_stall(struct mux_client *client)
{
    struct mux *mux = client->mux;
    bool holds = client->over ? client->output.length > 0 : client_holds_connection(client);
    if (client->stall_progress >= mux->settings.buffer_limit || (client->connection == NULL && !client->over))
        client_begin_span(client);
    if (holds && !client->stalling)
        timeout_start(&mux->stall_timeouts, &client->stall, mux->now - client->stall_used);
    if (!holds && client->stalling) {
        client->stall_used = mux->now - client->stall.since;
        timeout_stop(&client->stall);
    }
    client->stalling = holds;
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
    if (connection->reserved != NULL && connection->reserved->client != client &&
        connection->reserved->ready < since)
        since = connection->reserved->ready;
    return since;
}

void client_stalled(struct mux_client *client)
{
    struct mux *mux = client->mux;
    if (client->over) { /* it does not even take the last bytes */
        client_over(client, REASON_CLIENT_STALLED, true);
        return;
    }
    int64_t since = client_waited_for_since(client);
    if (since == INT64_MAX) {
        client_begin_span(client);
        return;
    }
    if (since < client->stall.since)
        since = client->stall.since;
    if (mux->now - since < mux->stall_timeouts.duration)
        timeout_start(&mux->stall_timeouts, &client->stall, since);
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
    if (client->over || (outstanding && !incomplete))
        timeout_stop(&client->idle);
    else if (!list_linked(&client->idle.node))
        timeout_start(&client->mux->idle_timeouts, &client->idle, client->mux->now);
}

static void client_restart_idle(struct mux_client *client)
{
    if (list_linked(&client->idle.node))
        timeout_start(&client->mux->idle_timeouts, &client->idle, client->mux->now);
}

void client_update(struct mux_client *client)
{
    struct mux *mux = client->mux;
    size_t memory = client->request_bytes + client->answer_bytes + client->held.length +
                    client->output.length + client->observed_bytes +
                    client->exchange_count * sizeof(struct mux_exchange);
    mux->memory = mux->memory - client->memory + memory;
    client->memory = memory;
    client_watch_queue(client);
    client_watch_stall(client);
    client_watch_idle(client);
    if (client->held.length > 0 && client_can_take(client) && !list_linked(&client->resumable))
        list_append(&mux->resumables, &client->resumable);
    if (!list_linked(&client->changed))
        list_append(&mux->changed_clients, &client->changed);
}

/* ---- Ends ---- */

/* A request that was sent goes on without its client: what answers it is thrown away. */
static void client_abandon(struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    struct mux_connection *connection = exchange->connection;
    client->request_bytes -= exchange->bytes.length;
    client->answer_bytes -= exchange->answer.length;
    buffer_free(&exchange->answer);
    list_remove(&exchange->in_client);
    client->exchange_count--;
    if (--client->in_flight == 0)
        client->connection = NULL;
    exchange->client = NULL;
    if (client->mux->takes_turns) /* nobody can tell where what answers it ends */
        connection_doom(connection, REASON_CLIENT_CLOSED, "");
    connection_update(connection);
}

/* Ends one of the client's exchanges because the client goes, or drops it. */
static void client_drop(struct mux_exchange *exchange, enum reason reason)
{
    struct mux_connection *connection = exchange->connection;
    if (exchange->state != EXCHANGE_READING)
        exchange_end(exchange, false, reason);
    if (exchange->state == EXCHANGE_SENT && connection_has_sent(exchange)) {
        if (exchange->complete) {
            client_abandon(exchange);
            return;
        }
        connection_doom(connection, reason, ""); /* half a request was sent */
    } else if (exchange->state == EXCHANGE_SENT) {
        connection_take_back(connection, exchange);
    }
    exchange_free(exchange);
}

void client_over(struct mux_client *client, enum reason reason, bool broken)
{
    if (client->over && !broken)
        return;
    if (!client->over) {
        client->reason = reason;
        client_begin_span(client);
    }
    client->over = true;
    client->input_over = true;
    if (broken) {
        client->broken = true;
        buffer_free(&client->output);
    }
    buffer_free(&client->held);
    struct mux_exchange *exchange;
    while ((exchange = client_first(client)) != NULL)
        client_drop(exchange, reason);
    struct mux_connection *late_connection = client->late_connection;
    if (late_connection != NULL) {
        late_connection->last_owner = NULL;
        client->late_connection = NULL;
        connection_update(late_connection);
    }
    list_remove(&client->resumable);
    list_remove(&client->untried);
    client_update(client);
}

void client_cut_off(struct mux_client *client, enum reason reason)
{
    const struct mux_exchange *first = client_first(client);
    client_over(client, reason, client->output.length > 0 || (first != NULL && first->request.begun));
}

/* Drops the request that has not come wholly; its client sends no more. */
static void client_drop_incoming(struct mux_client *client, enum reason reason)
{
    struct mux_exchange *incoming = client->incoming;
    if (incoming == NULL)
        return;
    client->incoming = NULL;
    if (client->mux->takes_turns) { /* what came is all there is */
        incoming->complete = true;
        list_remove(&incoming->incomplete);
        if (incoming->state == EXCHANGE_SENT)
            connection_pump(incoming->connection);
    } else {
        if (incoming->request.begun && incoming == client_first(client))
            client->cut = true; /* what it has of an answer must not look whole */
        client_drop(incoming, reason);
    }
}

void client_stop_input(struct mux_client *client, enum reason reason)
{
    if (!client->input_over)
        client->reason = reason;
    client->input_over = true;
    buffer_free(&client->held);
    client_drop_incoming(client, reason);
    client_deliver(client);
}

/* The first exchange is answered: its place in the order is given free. Returns whether the client goes on.
 */
static bool client_pass_first(struct mux_client *client, struct mux_exchange *first)
{
    const struct mux *mux = client->mux;
    bool cut = first->cut;
    bool closes = first->request.closes_client;
    bool begun = first->request.begun;
    enum reason reason = cut ? first->reason : client->input_over ? client->reason : REASON_CLIENT_CLOSED;
    exchange_end(first, first->answered, first->reason);
    timeout_stop(&client->queue); /* the next one's clock begins now */
    client->queue_used = 0;
    exchange_free(first);
    /* A stream that was cut must not look whole; where nobody knows what whole is, the target's end is passed
     * on. */
    client->cut = cut && begun && !(mux->takes_turns && reason == REASON_TARGET_CLOSED);
    if (cut || closes)
        client_over(client, reason, false);
    return !cut && !closes;
}

void client_deliver(struct mux_client *client)
{
    struct mux_exchange *first;
    while ((first = client_first(client)) != NULL) {
        client->answer_bytes -= first->answer.length;
        buffer_move(&client->output, &first->answer);
        if (client->output.failed) {
            client->answer_bytes += first->answer.length;
            client_over(client, REASON_INTERNAL, true);
            return;
        }
        if (first->state != EXCHANGE_ANSWERED)
            break;
        if (!client_pass_first(client, first))
            return;
    }
    if (first == NULL && client->draining && client->held.length == 0 && !client->input_over) {
        client->input_over = true;
        client->reason = REASON_DRAINED;
    }
    if (first == NULL && client->input_over)
        client_over(client, client->reason, false);
    else
        client_update(client);
}

/* ---- Input ---- */

/* What was read has been dealt with: ends that came meanwhile take effect. */
static void client_after_input(struct mux_client *client)
{
    if (client->input_over || client->held.length > 0)
        return;
    if (client->peer_ended)
        client_stop_input(client, REASON_CLIENT_CLOSED);
    else if (client->draining && client->incoming == NULL)
        client_stop_input(client, REASON_DRAINED);
}

void client_resume(struct mux_client *client)
{
    /* Taken out of the client while it is read, since reading may give the client up. */
    struct buffer held = client->held;
    struct slice input = buffer_slice(&held);
    client->held = (struct buffer){ 0 };
    request_read(client, &input, false);
    if (!client->input_over && input.length > 0) {
        buffer_consume(&held, held.length - input.length);
        client->held = held;
    } else {
        buffer_free(&held);
    }
    client_after_input(client);
    client_update(client);
}

/* ---- The interface ---- */

struct mux_client *mux_client_open(struct mux *mux, void *owner, uint64_t number, int64_t now)
{
    struct mux_client *client = calloc(1, sizeof *client + mux->protocol->client_size);
    if (client == NULL)
        return NULL;
    mux->now = now;
    client->mux = mux;
    client->owner = owner;
    list_init(&client->exchanges);
    list_append(&mux->clients, &client->node);
    mux->client_count++;
    if (mux->protocol->open_client != NULL)
        mux->protocol->open_client(mux->protocol_settings, client->framer, number);
    client_update(client);
    return client;
}

void mux_client_bytes(struct mux_client *client, const char *bytes, size_t length, int64_t now)
{
    struct mux *mux = client_enter(client, now);
    struct slice input = { bytes, length };
    if (client->input_over)
        return;
    client->stall_progress += length;
    client_restart_idle(client);
    request_read(client, &input, client->draining);
    if (!client->input_over && input.length > 0) {
        buffer_append(&client->held, input.bytes, input.length);
        if (client->held.failed)
            client_cut_off(client, REASON_INTERNAL);
    }
    client_update(client);
    mux_settle(mux);
}

/* Connections that have nothing to do and will take requests soon: they are being made, made ready, or rest. */
static size_t client_connections_to_come(const struct mux *mux)
{
    size_t count = mux->hooks.opening == NULL ? 0 : mux->hooks.opening(mux->owner);
    list_foreach(&mux->connections, node)
    {
        const struct mux_connection *connection = list_entry(node, struct mux_connection, node);
        if (connection_is_ending(connection) || connection->due)
            continue;
        bool works = connection->load > 0 || connection->reserved != NULL;
        if (works && mux->settings.in_order)
            return 0; /* all wait for this one */
        count += !works && (connection->state != CONNECTION_READY || connection->resting);
    }
    return count;
}

/* How many of its requests wait for nobody, but only until a connection can be used. */
static size_t client_requests_next(const struct mux_client *client)
{
    struct mux *mux = client->mux;
    if (client->connection != NULL || client->waiting == 0)
        return 0;
    size_t places = client_connections_to_come(mux);
    list_foreach(&mux->queue, node)
    {
        if (places-- == 0)
            return 0;
        if (list_entry(node, struct mux_exchange, in_queue)->client == client)
            return mux->settings.depth;
    }
    return 0;
}

/* Drops what waits of a client that has given up: a slow target must not be made to work for nobody. What was
 * answered here behind it goes with it, or it would stand in its place. */
static void client_drop_waiting(struct mux_client *client)
{
    size_t next = client_requests_next(client);
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
            client_drop(exchange, REASON_CLIENT_CLOSED);
    }
}

void mux_client_end(struct mux_client *client, int64_t now)
{
    struct mux *mux = client_enter(client, now);
    client->peer_ended = true;
    if (!client->over) {
        mux_settle(mux); /* what can be sent at once is */
        if (mux->settings.abort_on_close) {
            buffer_free(&client->held);
            client_drop_waiting(client);
            if (client->input_over)
                client_deliver(client); /* maybe nothing more is to come */
        }
        client_after_input(client);
    }
    client_update(client);
    mux_settle(mux);
}

void mux_client_fail(struct mux_client *client, enum reason reason, int64_t now)
{
    struct mux *mux = client_enter(client, now);
    client_over(client, reason, true);
    mux_settle(mux);
}

void mux_client_written(struct mux_client *client, size_t count, int64_t now)
{
    struct mux *mux = client_enter(client, now);
    bool was_eligible = client_is_eligible(client);
    buffer_consume(&client->output, count);
    if (client->output.length == 0)
        buffer_free(&client->output); /* who is idle holds no memory */
    client->stall_progress += count;
    client_restart_idle(client);
    if (client->waiting > 0 && !was_eligible && client_is_eligible(client))
        mux_try(mux, client);
    if (client->connection != NULL)
        connection_update(client->connection);
    if (client->late_connection != NULL)
        connection_update(client->late_connection);
    client_update(client);
    mux_settle(mux);
}

void mux_client_drain(struct mux_client *client, int64_t now)
{
    struct mux *mux = client_enter(client, now);
    client->draining = true;
    if (!client->over)
        client_after_input(client);
    client_update(client);
    mux_settle(mux);
}

void mux_client_leave(struct mux_client *client, int64_t now)
{
    struct mux *mux = client_enter(client, now);
    client->leaving = true;
    mux_settle(mux);
}

void client_reconfigure(struct mux_client *client)
{
    client_update(client);
}

void mux_client_close(struct mux_client *client, int64_t now)
{
    struct mux *mux = client_enter(client, now);
    client_over(client, REASON_DRAINED, true);
    mux->memory -= client->memory;
    mux->client_count--;
    list_remove(&client->node);
    list_remove(&client->changed);
    if (mux->protocol->close_client != NULL)
        mux->protocol->close_client(client->framer);
    free(client);
    mux_settle(mux);
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
    if (client->over || client->peer_ended)
        return false;
    return client->input_over || (client->held.length == 0 && client_can_take(client));
}

enum mux_fate mux_client_fate(const struct mux_client *client)
{
    if (client->broken)
        return MUX_RESET;
    if (!client->over || client->output.length > 0)
        return MUX_GOES_ON;
    return client->cut ? MUX_RESET : MUX_CLOSE;
}

bool mux_client_has_ended(const struct mux_client *client)
{
    return client->peer_ended;
}

enum reason mux_client_reason(const struct mux_client *client)
{
    return client->reason;
}
