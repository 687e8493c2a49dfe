/* The target's side: requests out, responses in, each to the exchange that it answers. */
#include "mux/state.h"

#include <assert.h>
#include <stdlib.h>

/* With ids: requests in a row that may go unanswered before the connection is replaced. */
#define SILENT_MAX 3

/* With ids: places for requests, answered or given up, at the least and at the most. */
#define SLOTS_MIN ((size_t)64)
#define SLOTS_MAX ((size_t)65536)

bool link_is_ending(const struct mux_link *link)
{
    return link->state == LINK_OVER || list_linked(&link->doomed);
}

bool link_has_sent(const struct mux_exchange *exchange)
{
    return exchange->state == EXCHANGE_SENT && exchange->start < exchange->link->written;
}

bool link_has_sent_all(const struct mux_exchange *exchange)
{
    return exchange->complete && exchange->bytes.length == 0 && exchange->end <= exchange->link->written;
}

bool link_is_idle(const struct mux_link *link)
{
    return link->state == LINK_READY && link->load == 0 && link->reserved == NULL && link->output.length == 0;
}

struct mux_exchange *link_answering(const struct mux_link *link)
{
    return link->mux->id_count > 0 ? link->current : link_first(link);
}

bool link_is_blocked_by(const struct mux_link *link, const struct mux_client *client)
{
    const struct mux_exchange *exchange = link_answering(link);
    if (exchange == NULL)
        return link->last_owner == client && client->output.length >= link->mux->settings.buffer_limit;
    return exchange->client == client && exchange == client_first(client) &&
           client->output.length >= link->mux->settings.buffer_limit;
}

static bool link_is_blocked(const struct mux_link *link)
{
    const struct mux_exchange *exchange = link_answering(link);
    const struct mux_client *client = exchange != NULL ? exchange->client : link->last_owner;
    return client != NULL && link_is_blocked_by(link, client);
}

bool mux_link_wants_bytes(const struct mux_link *link)
{
    return !link_is_ending(link) && !link_is_blocked(link);
}

bool mux_link_has_room(const struct mux_link *link)
{
    const struct mux_settings *settings = &link->mux->settings;
    return link->state == LINK_READY && !link_is_ending(link) && !link->due && !link->resting &&
           link->reserved == NULL && link->streaming == NULL && link->load < settings->depth &&
           link->output.length < settings->buffer_limit &&
           (link->slots == NULL || link->slots_used < link->slot_count);
}

/* ---- Clocks ---- */

static void link_run(struct timeout_list *list, struct timeout *timeout, bool runs, int64_t now)
{
    if (!runs)
        timeout_stop(timeout);
    else if (!list_linked(&timeout->node))
        timeout_start(list, timeout, now);
}

/* Whether the target owes us a byte: all of the oldest request is with it, and we read. With ids each
 * exchange has a clock of its own. */
static bool link_is_owed(const struct mux_link *link)
{
    const struct mux_exchange *first = link_first(link);
    if (link_is_ending(link) || !mux_link_wants_bytes(link))
        return false;
    if (link->state == LINK_GREETING)
        return link->output.length == 0;
    if (first == NULL || first->untimed || link->mux->id_count > 0)
        return false;
    if (link->mux->takes_turns)
        return !first->request.begun && first->bytes.length == 0 && first->end <= link->written;
    return link_has_sent_all(first);
}

/* Whether the turn ends unless more of the answer comes: it has begun, and we read. */
static bool link_turn_ends(const struct mux_link *link)
{
    const struct mux_exchange *first = link_first(link);
    return link->mux->takes_turns && first != NULL && first->request.begun && !link_is_blocked(link);
}

/* Turns: who goes on asking, a few bytes at a time, while others wait does not put off the end of its turn.
 */
static void link_watch_answer(struct mux_link *link)
{
    struct mux *mux = link->mux;
    if (!link_is_owed(link)) {
        timeout_stop(&link->answering);
    } else if (!list_linked(&link->answering.node)) {
        bool drips = mux->takes_turns && link->taken < mux->settings.buffer_limit &&
                     mux_somebody_else_waits(mux, link_first(link)->client);
        timeout_start_since(&mux->answering_timeouts, &link->answering,
                            drips ? link->answering.since : mux->now);
        if (!drips)
            link->taken = 0;
    }
}

static void link_watch(struct mux_link *link)
{
    struct mux *mux = link->mux;
    const struct mux_exchange *answering = link_answering(link);
    const struct mux_exchange *first = link_first(link);
    bool ending = link_is_ending(link);
    bool discards = answering != NULL && answering->client == NULL && answering->seen;
    bool taking = !ending && link->output.length > 0 && (first == NULL || !first->untimed);
    link_run(&mux->taking_timeouts, &link->taking, taking, mux->now);
    link_watch_answer(link);
    link_run(&mux->discard_timeouts, &link->discard, !ending && discards, mux->now);
    link_run(&mux->turn_timeouts, &link->turn, !ending && link_turn_ends(link), mux->now);
    link_run(&mux->inactivity_timeouts, &link->inactivity, !ending && link_is_idle(link), mux->now);
}

static void link_over(struct mux_link *link)
{
    link->state = LINK_OVER;
    timeout_stop(&link->answering);
    timeout_stop(&link->taking);
    timeout_stop(&link->discard);
    timeout_stop(&link->inactivity);
    timeout_stop(&link->ttl);
    timeout_stop(&link->pause);
    timeout_stop(&link->turn);
    if (link->last_owner != NULL)
        link->last_owner->late_link = NULL;
    link->last_owner = NULL;
}

void link_update(struct mux_link *link)
{
    struct mux *mux = link->mux;
    if (!link_is_ending(link) && link->due && link_is_idle(link))
        link_over(link);
    link_watch(link);
    const struct mux_exchange *answering = link_answering(link);
    if (answering != NULL && answering->client != NULL) /* it may be the next one that is waited for */
        client_watch_stall(answering->client);
    if (!list_empty(&mux->queue) && mux_link_has_room(link))
        mux->wants_dispatch = true;
    if (!list_linked(&link->changed))
        list_append(&mux->changed_links, &link->changed);
}

/* ---- Requests ---- */

/* Moves what has come of a request into the output. */
static void link_give(struct mux_link *link, struct mux_exchange *exchange)
{
    size_t length = exchange->bytes.length;
    buffer_move(&link->output, &exchange->bytes);
    if (link->output.failed) {
        link->output.failed = false;
        link_doom(link, REASON_INTERNAL, "memory is short");
        return;
    }
    link->given += length;
    exchange->end = link->given;
    if (exchange->client != NULL)
        exchange->client->request_bytes -= length;
    buffer_free(&exchange->bytes);
}

void link_pump(struct mux_link *link)
{
    struct mux_exchange *exchange = link->streaming;
    if (exchange == NULL || link_is_ending(link))
        return;
    if (exchange->bytes.length > 0 && link->output.length < link->mux->settings.buffer_limit)
        link_give(link, exchange);
    if (exchange->complete && exchange->bytes.length == 0)
        link->streaming = NULL;
    if (exchange->client != NULL)
        client_update(exchange->client);
    link_update(link);
}

/* Gives the exchange an id that no other one has here. There is a free place: the link had room. */
static void link_set_id(struct mux_link *link, struct mux_exchange *exchange)
{
    struct mux *mux = link->mux;
    uint64_t id = link->next_id;
    while (link->slots[id % link->slot_count] != NULL)
        id = (id + 1) % mux->id_count;
    link->next_id = (id + 1) % mux->id_count;
    link->slots[id % link->slot_count] = exchange;
    link->slots_used++;
    exchange->id = id;
    mux->protocol->set_id(mux->protocol_settings, &exchange->request, buffer_bytes(&exchange->bytes), id);
}

/* Whatever comes from now on is not for the client of the turn before. */
static void link_forget_last_owner(struct mux_link *link)
{
    if (link->last_owner != NULL)
        link->last_owner->late_link = NULL;
    link->last_owner = NULL;
}

static void link_start(struct mux_link *link, struct mux_exchange *exchange)
{
    struct mux *mux = link->mux;
    struct mux_client *client = exchange->client;
    link_forget_last_owner(link);
    if (client->late_link != NULL)
        link_forget_last_owner(client->late_link);
    if (mux->id_count > 0)
        link_set_id(link, exchange);
    exchange->state = EXCHANGE_SENT;
    exchange->sent = mux->now;
    exchange->start = link->given;
    exchange->end = link->given;
    exchange->in_flight = true;
    list_append(&link->in_flight, &exchange->in_link);
    link->load++;
    link->requests++;
    link->taken = SIZE_MAX;
    if (mux->settings.max_requests >= 0 && link->requests >= mux->settings.max_requests)
        link->due = true;
    link->streaming = exchange;
    client_watch_queue(client);
    link_pump(link);
}

void link_assign(struct mux_link *link, struct mux_exchange *exchange)
{
    struct mux_client *client = exchange->client;
    exchange_detach(exchange);
    exchange->link = link;
    client->link = link;
    client->in_flight++;
    if (!exchange->complete && link->load > 0) {
        exchange->state = EXCHANGE_RESERVED;
        link->reserved = exchange;
        client_update(client);
        link_update(link);
    } else {
        link_start(link, exchange);
    }
}

void link_take_back(struct mux_link *link, struct mux_exchange *exchange)
{
    size_t from = (size_t)(exchange->start - link->written);
    size_t length = (size_t)(exchange->end - exchange->start);
    char *bytes = buffer_bytes(&link->output);
    buffer_prepend(&exchange->bytes, bytes + from, length);
    if (exchange->client != NULL)
        exchange->client->request_bytes += exchange->bytes.failed ? 0 : length;
    memmove(bytes + from, bytes + from + length, link->output.length - from - length);
    buffer_truncate(&link->output, link->output.length - length);
    link->given -= length;
    for (struct list_node *node = exchange->in_link.next; node != &link->in_flight.head; node = node->next) {
        struct mux_exchange *later = exchange_of_link_node(node);
        later->start -= length;
        later->end -= length;
    }
    exchange->end = exchange->start;
}

/* ---- Exchanges leave ---- */

void link_released(struct mux_link *link)
{
    const struct mux *mux = link->mux;
    if (!link_is_ending(link) && link->reserved != NULL && link->load == 0) {
        struct mux_exchange *exchange = link->reserved;
        link->reserved = NULL;
        link_start(link, exchange);
        return;
    }
    if (!link_is_ending(link) && mux->settings.request_gap > 0 && link->load == 0 &&
        link->state == LINK_READY) {
        link->resting = true;
        timeout_start(&link->mux->gap_timeouts, &link->pause, mux->now);
    }
    if (!link_is_ending(link) && link->slots != NULL && link->slots_used >= link->slot_count)
        link->due = true; /* too many were never answered */
    link_update(link);
}

void link_doom(struct mux_link *link, enum reason reason, const char *explanation)
{
    if (link_is_ending(link))
        return;
    link->reason = reason;
    buffer_truncate(&link->explanation, 0);
    buffer_append(&link->explanation, explanation, strlen(explanation) + 1);
    list_append(&link->mux->doomed, &link->doomed);
}

/* What was not sent goes back to where it came from, the last one first, so that their order is kept. */
static void link_give_back(struct mux_link *link)
{
    if (link->reserved != NULL) {
        struct mux_exchange *exchange = link->reserved;
        exchange_detach(exchange);
        exchange_wait_again(exchange);
        client_update(exchange->client);
    }
    struct list_node *node;
    while ((node = list_last(&link->in_flight)) != NULL) {
        struct mux_exchange *exchange = exchange_of_link_node(node);
        if (link_has_sent(exchange))
            return;
        link_take_back(link, exchange);
        struct mux_client *client = exchange->client;
        if (client == NULL) {
            exchange_free(exchange);
        } else if (exchange->bytes.failed) {
            client_cut_off(client, REASON_INTERNAL); /* which takes this one, still in its place, along */
        } else {
            exchange_detach(exchange);
            exchange_wait_again(exchange);
            client_update(client);
        }
    }
}

/* What was kept to know late answers by. */
static void link_free_late(struct mux_link *link)
{
    for (size_t i = 0; i < link->slot_count; i++) {
        if (link->slots[i] == NULL)
            continue;
        assert(link->slots[i]->client == NULL);
        exchange_free(link->slots[i]);
    }
}

void link_collapse(struct mux_link *link)
{
    struct mux_exchange *exchange;
    list_remove(&link->doomed);
    link_over(link);
    link_give_back(link);
    while ((exchange = link_first(link)) != NULL) {
        if (exchange->client == NULL)
            exchange_free(exchange);
        else
            exchange_fail(exchange, link->reason);
    }
    link_free_late(link);
    link->current = NULL;
    buffer_free(&link->output);
    link_update(link);
}

/* ---- The target's first words, and pauses ---- */

static void link_ready(struct mux_link *link)
{
    struct mux *mux = link->mux;
    if (mux->settings.connect_delay > 0) {
        link->state = LINK_DELAYED;
        timeout_start(&mux->delay_timeouts, &link->pause, mux->now);
    } else {
        link->state = LINK_READY;
    }
    link_update(link);
}

void link_pause_over(struct mux_link *link)
{
    link->resting = false;
    link->state = LINK_READY;
    link_update(link);
}

static void link_read_greeting(struct mux_link *link, struct slice *input)
{
    struct mux *mux = link->mux;
    struct buffer error = { 0 };
    switch (mux->protocol->read_greeting(mux->protocol_settings, link->framer, input, &error)) {
    case PROTOCOL_MORE:
        break;
    case PROTOCOL_COMPLETE:
        link_ready(link);
        break;
    default:
        buffer_append(&error, "", 1);
        link_doom(link, REASON_PROTOCOL_ERROR, error.length > 0 ? buffer_bytes(&error) : "");
        break;
    }
    buffer_free(&error);
}

/* ---- Silence ---- */

/* The target has been silent for too long about this exchange (NULL: about nothing that a client waits for).
 */
static void link_silent(struct mux_link *link, struct mux_exchange *exchange, const char *explanation)
{
    bool somebody_waits = exchange != NULL && exchange->client != NULL;
    link_doom(link, link->state == LINK_GREETING ? REASON_REQUEST_TIMEOUT : REASON_TARGET_CLOSED,
              explanation);
    if (somebody_waits)
        exchange_fail(exchange, REASON_REQUEST_TIMEOUT);
}

void link_answer_overdue(struct mux_link *link)
{
    link_silent(link, link_first(link), "no answer within request_timeout");
}

void link_taking_overdue(struct mux_link *link)
{
    struct list_node *node = list_last(&link->in_flight);
    while (node != NULL && !link_has_sent(exchange_of_link_node(node)))
        node = node->previous == &link->in_flight.head ? NULL : node->previous;
    struct mux_exchange *exchange = exchange_of_link_node(node);
    if (exchange != NULL && link_has_sent_all(exchange))
        exchange = NULL; /* it is the next one that is not taken, and that one can still go elsewhere */
    link_silent(link, exchange, "no byte was taken within request_timeout");
}

void link_exchange_overdue(struct mux_exchange *exchange)
{
    struct mux_link *link = exchange->link;
    struct mux *mux = link->mux;
    if (!mux_link_wants_bytes(link)) {
        timeout_start(&mux->exchange_timeouts, &exchange->answering, mux->now);
        return;
    }
    if (link->current == exchange) { /* what has begun to come can't be told from what follows it */
        link_silent(link, exchange, "the rest of an answer did not come within request_timeout");
        return;
    }
    /* Its place is kept, so that a late answer is known by its id, by a stand-in that belongs to nobody. */
    struct mux_exchange *late = calloc(1, sizeof *late);
    uint64_t id = exchange->id;
    if (late == NULL) {
        link_doom(link, REASON_INTERNAL, "memory is short");
        return;
    }
    late->request = exchange->request;
    late->state = EXCHANGE_SENT;
    late->link = link;
    late->complete = true;
    late->ended = true;
    late->start = exchange->start;
    late->end = exchange->end;
    late->id = id;
    late->max_message = exchange->max_message;
    link->slots[id % link->slot_count] = late;
    if (exchange->client != NULL)
        exchange_fail(exchange, REASON_REQUEST_TIMEOUT);
    else
        exchange_free(exchange);
    if (++link->silent >= SILENT_MAX)
        link->due = true;
    link_update(link);
}

/* ---- The interface ---- */

static struct mux *link_enter(struct mux_link *link, int64_t now)
{
    link->mux->now = now;
    return link->mux;
}

static bool link_make_slots(struct mux_link *link)
{
    const struct mux *mux = link->mux;
    size_t count = SLOTS_MIN;
    if (mux->id_count == 0)
        return true;
    while (count < 2 * mux->settings.depth && count < SLOTS_MAX)
        count *= 2;
    if (count > mux->id_count)
        count = (size_t)mux->id_count;
    link->slots = calloc(count, sizeof(struct mux_exchange *));
    link->slot_count = count;
    return link->slots != NULL;
}

struct mux_link *mux_link_open(struct mux *mux, void *owner, int64_t now)
{
    struct mux_link *link = calloc(1, sizeof *link + mux->protocol->link_size);
    if (link == NULL)
        return NULL;
    mux->now = now;
    link->mux = mux;
    link->owner = owner;
    link->reason = REASON_DRAINED; /* if it goes because its time has come */
    list_init(&link->in_flight);
    list_init(&link->finished);
    if (mux->protocol->greet != NULL)
        mux->protocol->greet(mux->protocol_settings, link->framer, &link->output);
    if (!link_make_slots(link) || link->output.failed) {
        buffer_free(&link->output);
        free(link->slots);
        free(link);
        return NULL;
    }
    list_append(&mux->links, &link->node);
    link->greeting = link->output.length;
    link->given = link->greeting;
    link->ttl.since = now; /* remembered also if there is no limit now */
    timeout_start(&mux->ttl_timeouts, &link->ttl, now);
    if (link->greeting > 0)
        link_update(link);
    else
        link_ready(link);
    mux_settle(mux);
    return link;
}

void mux_link_bytes(struct mux_link *link, const char *bytes, size_t length, int64_t now)
{
    struct mux *mux = link_enter(link, now);
    struct slice input = { bytes, length };
    link->silent = 0;
    if (list_linked(&link->answering.node))
        timeout_start(&mux->answering_timeouts, &link->answering, now);
    bool once_more = false;
    while ((input.length > 0 || once_more) && !link_is_ending(link)) {
        once_more = false;
        if (link->state == LINK_GREETING)
            link_read_greeting(link, &input);
        else if (mux->takes_turns)
            response_read_turn(link, &input);
        else
            once_more = response_read(link, &input);
    }
    link_update(link);
    mux_settle(mux);
}

void mux_link_end(struct mux_link *link, int64_t now)
{
    struct mux *mux = link_enter(link, now);
    response_end(link);
    link_doom(link, REASON_TARGET_CLOSED, "");
    link_update(link);
    mux_settle(mux);
}

void mux_link_fail(struct mux_link *link, enum reason reason, int64_t now)
{
    struct mux *mux = link_enter(link, now);
    link_doom(link, reason, "");
    link_update(link);
    mux_settle(mux);
}

/* Those that are sent wholly now: with ids, each has a clock of its own from then on; those that nobody
 * answers are over. */
static void link_sent(struct mux_link *link, uint64_t before)
{
    struct mux *mux = link->mux;
    struct list_node *node = link->in_flight.head.previous;
    while (node != &link->in_flight.head) {
        struct mux_exchange *exchange = exchange_of_link_node(node);
        if (exchange->end <= before)
            break;
        node = node->previous;
        if (!link_has_sent_all(exchange))
            continue;
        if (exchange->request.unanswered) {
            exchange_answered(exchange);
            node = link->in_flight.head.previous; /* others may have gone with it */
        } else if (mux->id_count > 0 && !exchange->untimed) {
            timeout_start(&mux->exchange_timeouts, &exchange->answering, mux->now);
        }
    }
}

void mux_link_written(struct mux_link *link, size_t count, int64_t now)
{
    struct mux *mux = link_enter(link, now);
    uint64_t before = link->written;
    link->written += count;
    if (link->taken <= SIZE_MAX - count)
        link->taken += count;
    buffer_consume(&link->output, count);
    if (link->output.length == 0)
        buffer_free(&link->output);
    timeout_stop(&link->taking);
    link_sent(link, before);
    link_pump(link);
    link_update(link);
    mux_settle(mux);
}

void link_retire(struct mux_link *link, enum reason reason)
{
    link->due = true;
    link->reason = reason;
    link_update(link);
}

void link_reconfigure(struct mux_link *link, bool was_untimed)
{
    struct mux *mux = link->mux;
    if (was_untimed)
        list_foreach(&link->in_flight, node) exchange_of_link_node(node)->untimed = true;
    if (!list_linked(&link->ttl.node) && link->state != LINK_OVER)
        timeout_start_since(&mux->ttl_timeouts, &link->ttl, link->ttl.since);
    if (mux->settings.max_requests >= 0 && link->requests >= mux->settings.max_requests)
        link->due = true;
    link_update(link);
}

void mux_link_retire(struct mux_link *link, int64_t now)
{
    struct mux *mux = link_enter(link, now);
    link_retire(link, REASON_DRAINED);
    mux_settle(mux);
}

void mux_link_close(struct mux_link *link, int64_t now)
{
    struct mux *mux = link_enter(link, now);
    if (link->state != LINK_OVER) {
        link_doom(link, REASON_TARGET_CLOSED, "");
        link_collapse(link);
    }
    link_free_late(link);
    list_foreach(&link->finished, node)
    {
        exchange_of_link_node(node)->link = NULL;
        list_remove(node);
    }
    list_remove(&link->node);
    list_remove(&link->changed);
    if (mux->protocol->close_link != NULL)
        mux->protocol->close_link(link->framer);
    buffer_free(&link->output);
    buffer_free(&link->explanation);
    free(link->slots);
    free(link);
    mux_settle(mux);
}

size_t mux_link_load(const struct mux_link *link)
{
    return link->load + (link->reserved != NULL ? 1 : 0);
}

void *mux_link_owner(const struct mux_link *link)
{
    return link->owner;
}

struct slice mux_link_output(const struct mux_link *link)
{
    return buffer_slice(&link->output);
}

bool mux_link_is_over(const struct mux_link *link)
{
    return link->state == LINK_OVER;
}

bool mux_link_was_useless(const struct mux_link *link)
{
    return link->written <= link->greeting && !link->due;
}

enum reason mux_link_reason(const struct mux_link *link)
{
    return link->reason;
}

const char *mux_link_explanation(const struct mux_link *link)
{
    return link->explanation.length > 0 && !link->explanation.failed ? buffer_bytes(&link->explanation) : "";
}
