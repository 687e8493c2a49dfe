#include "stream/stream.h"

#include "base/clock.h"
#include "base/log.h"
#include "stream/stream_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* How long a client that we have closed may take to close too. */
#define LINGER_MILLISECONDS 2000

/* Of hangup.c. */
#define HANGUP_DESCRIPTORS 1

/* Being so late means that we did not run, not that the loop was busy. */
#define LATE_MICROSECONDS 50000

/* libev asks the kernel for this many events at a time, at the least. */
#define LOOP_EVENTS_MIN 64

static struct stream_service *stream_of(struct service *service)
{
    return list_entry(service, struct stream_service, service);
}

/* In front, because the loop calls back the other way round: what the kernel told of first comes last. */
void stream_note_client(struct stream_client *client, int events)
{
    client->events |= events;
    if (!list_linked(&client->dirty))
        list_insert_before(client->service->dirty_clients.head.next, &client->dirty);
}

void stream_note_connection(struct stream_connection *connection, int events)
{
    struct stream_service *service = connection->pool->service;
    connection->events |= events;
    if (!list_linked(&connection->dirty))
        list_insert_before(service->dirty_connections.head.next, &connection->dirty);
}

static void stream_log_failure(const struct stream_service *service, const struct mux_ending *ending)
{
    const struct stream_client *client = ending->client;
    const struct stream_connection *connection = ending->connection;
    log_debug(service->settings->name,
              "request of client %llu to %s failed: %s, %llu bytes, waited %lld ms, then %lld ms",
              (unsigned long long)client->number,
              connection != NULL ? connection->target->settings->name : "no target",
              reason_name(ending->reason), (unsigned long long)ending->request_bytes,
              (long long)(ending->wait / 1000), (long long)(ending->service / 1000));
}

/* What was answered here has not waited, and had no target. */
static void stream_count(struct counters *counters, const struct mux_ending *ending)
{
    const struct stream_connection *connection = ending->connection;
    counters->requests++;
    if (ending->answered)
        counters->answered++;
    else
        counters->failures[ending->reason]++;
    if (connection != NULL || ending->wait > 0)
        histogram_record(&counters->wait, ending->wait);
    if (connection == NULL)
        return;
    struct target_counters *of_target = &connection->target->counters;
    if (ending->answered) {
        of_target->answered++;
        histogram_record(&of_target->service, ending->service);
    } else {
        of_target->failures[ending->reason]++;
    }
}

static void stream_request_asked(void *owner, const struct mux_asking *asking)
{
    const struct stream_client *client = asking->client;
    (void)owner;
    if (client->told == NULL)
        return;
    const struct events_exchange exchange = {
        .number = asking->number,
        .request = asking->request_head,
        .request_bytes = asking->request_bytes,
    };
    events_exchange_asked(client->told, &exchange);
}

static void stream_tell_end(const struct stream_client *client, const struct stream_connection *connection,
                            const struct mux_ending *ending)
{
    const struct events_exchange exchange = {
        .number = ending->number,
        .target = connection != NULL ? connection->target->settings->name : NULL,
        .request = ending->request_head,
        .response = ending->answer_head,
        .request_bytes = ending->request_bytes,
        .response_bytes = ending->given_bytes,
        .answered = ending->answered,
        .reason = ending->reason,
        .wait = ending->wait,
        .service = ending->service,
    };
    events_exchange_ended(client->told, &exchange);
}

/* The hook of the multiplexer: one request has ended. */
static void stream_request_ended(void *owner, const struct mux_ending *ending)
{
    struct stream_service *service = owner;
    struct counters *counters = service->owner.counters;
    struct stream_client *client = ending->client;
    struct stream_connection *connection = ending->connection;
    client->requests++;
    stream_count(counters, ending);
    if (client->told != NULL && ending->number > 0) /* 0: it came after a reload that wants to know of none */
        stream_tell_end(client, connection, ending);
    if (ending->answered) {
        if (connection != NULL)
            connection->answered = true;
        return;
    }
    if (ending->reason == REASON_INTERNAL)
        shortage_note(&service->runtime->shortage, service->settings->name);
    if (log_enabled(LOG_KIND_DEBUG))
        stream_log_failure(service, ending);
}

/* ---- The turn of the loop ---- */

static struct stream_connection *stream_next_connection(struct stream_service *service)
{
    struct list_node *node = list_first(&service->dirty_connections);
    if (node != NULL) {
        list_remove(node);
        return list_entry(node, struct stream_connection, dirty);
    }
    struct mux_connection *changed = mux_changed_connection(service->mux);
    return changed == NULL ? NULL : mux_connection_owner(changed);
}

static struct stream_client *stream_next_client(struct stream_service *service)
{
    struct list_node *node = list_first(&service->dirty_clients);
    if (node != NULL) {
        list_remove(node);
        return list_entry(node, struct stream_client, dirty);
    }
    struct mux_client *changed = mux_changed_client(service->mux);
    return changed == NULL ? NULL : mux_client_owner(changed);
}

/* Has the multiplexer called when it wants to be. A timer that fires too early is set anew then. */
static void stream_set_timer(struct stream_service *service, int64_t now)
{
    struct ev_loop *loop = service->runtime->loop;
    int64_t due = mux_due(service->mux);
    if (due == INT64_MAX || (ev_is_active(&service->due) && service->due_at <= due))
        return;
    ev_timer_stop(loop, &service->due);
    ev_timer_set(&service->due, due > now ? (double)(due - now) / 1e6 : 0.0, 0.0);
    ev_timer_start(loop, &service->due);
    service->due_at = due;
}

/* The loop has only to be woken up: see stream_turn_ends(). */
static void stream_due(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
}

/* Comes before everything else that the loop has learnt. */
static void stream_turn_begins(struct ev_loop *loop, ev_check *watcher, int events)
{
    (void)events;
    struct stream_service *service = watcher->data;
    service->turn++;
    service->many_events = ev_pending_count(loop) >= LOOP_EVENTS_MIN;
}

/* Targets first: what they said, or that they closed, comes before what is asked of them. */
static void stream_read_all(struct stream_service *service)
{
    list_foreach(&service->dirty_connections, node)
        stream_connection_read(list_entry(node, struct stream_connection, dirty));
    list_foreach(&service->dirty_clients, node)
        stream_client_read(list_entry(node, struct stream_client, dirty));
}

/* What is written may change more; all of that is dealt with too. */
static void stream_write_all(struct stream_service *service)
{
    for (;;) {
        stream_pool_review(&service->pool, clock_now());
        struct stream_connection *connection = stream_next_connection(service);
        if (connection != NULL) {
            stream_connection_progress(connection, clock_now());
            continue;
        }
        struct stream_client *client = stream_next_client(service);
        if (client == NULL)
            break;
        stream_client_progress(client, clock_now());
    }
}

void stream_wake(struct stream_service *service)
{
    struct ev_loop *loop = service->runtime->loop;
    ev_timer_stop(loop, &service->due);
    ev_timer_set(&service->due, 0.0, 0.0);
    ev_timer_start(loop, &service->due);
    service->due_at = 0;
}

/* Time comes last: who has sent in time, or has room for what we send, is not overdue because we looked late.
 * When we are late there is one more turn first, since this one may not have told of all: a signal, such as
 * the one that lets a stopped process go on, ends the wait for events with none. */
static bool stream_time_is_up(struct stream_service *service, int64_t now)
{
    int64_t due = mux_due(service->mux);
    bool is_up = now >= due;
    bool looks_again = is_up && now - due > LATE_MICROSECONDS && !service->is_late;
    service->is_late = looks_again;
    return is_up && !looks_again;
}

static void stream_turn_ends(struct ev_loop *loop, ev_prepare *watcher, int events)
{
    (void)loop;
    (void)events;
    struct stream_service *service = watcher->data;
    stream_read_all(service);
    stream_write_all(service);
    mux_hold_queue(service->mux, stream_pool_is_held(&service->pool), clock_now());
    int64_t now = clock_now();
    if (stream_time_is_up(service, now)) {
        mux_tick(service->mux, now);
        stream_write_all(service);
    }
    stream_set_timer(service, clock_now());
}

/* ---- What the listener wants ---- */

static void stream_start(struct service *service)
{
    stream_pool_start(&stream_of(service)->pool);
}

static void stream_accept(struct service *service, int descriptor, const struct address *client,
                          struct events_client *events)
{
    struct stream_service *stream = stream_of(service);
    if (stream_client_accept(stream, descriptor, client, events))
        return;
    struct service_summary summary = { .reason = REASON_INTERNAL };
    if (events != NULL)
        events_client_close(events, REASON_INTERNAL, 0, 0);
    close(descriptor);
    stream->owner.ended(stream->owner.owner, client, &summary);
}

static void stream_drain(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    stream->draining = true;
    list_foreach(&stream->clients, node) stream_client_drain(list_entry(node, struct stream_client, node));
}

/* The settings as the multiplexer has them. */
static struct mux_settings stream_plain(const struct listener_settings *settings,
                                        const struct events_listener *events)
{
    return (struct mux_settings){
        .protocol = &settings->protocol,
        .in_order = settings->mode == MODE_FIFO,
        .depth = settings->async ? (size_t)settings->pipeline_depth : 1,
        .pipeline_depth = (size_t)settings->pipeline_depth,
        .buffer_limit = (size_t)settings->buffer_limit,
        .memory_limit = (size_t)settings->memory_limit,
        .max_message = settings->max_message,
        .queue_limit = (size_t)settings->queue_limit,
        .queue_timeout = settings->queue_timeout,
        .request_timeout = settings->request_timeout,
        .stall_timeout = settings->stall_timeout,
        .client_idle_timeout = settings->client_idle_timeout,
        .inactivity_timeout = settings->inactivity_timeout,
        .connect_delay = settings->connect_delay,
        .request_gap = settings->request_gap,
        .connection_ttl = settings->connection_ttl,
        .max_requests = settings->max_requests_per_connection,
        .abort_on_close = settings->abort_on_close,
        .observe_request = events_request_bytes(events),
        .observe_answer = events_response_bytes(events),
    };
}

void stream_return_descriptor(struct stream_service *service)
{
    service->descriptors--;
    descriptors_return(&service->runtime->descriptors, 1);
}

/* What the connections need that are there, and may be made, whichever settings count in the end. */
static bool stream_prepare(struct service *service, struct listener_settings *settings,
                           const struct events_listener *events)
{
    struct stream_service *stream = stream_of(service);
    struct descriptors *descriptors = &stream->runtime->descriptors;
    size_t wanted;
    if (!stream_pool_prepare(&stream->pool, settings, &wanted))
        return false;
    wanted += HANGUP_DESCRIPTORS;
    stream->next_settings = settings;
    stream->next_events = events;
    stream->next_descriptors = wanted;
    if (wanted <= stream->descriptors)
        return true;
    if (descriptors_reserve(descriptors, wanted - stream->descriptors)) {
        stream->descriptors = wanted;
        return true;
    }
    stream_pool_rollback(&stream->pool);
    errno = EMFILE;
    return false;
}

static void stream_give_back(struct stream_service *stream, size_t keep)
{
    size_t extra = stream->descriptors > keep ? stream->descriptors - keep : 0;
    stream->descriptors -= extra;
    if (extra > 0)
        descriptors_return(&stream->runtime->descriptors, extra);
}

static void stream_rollback(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    size_t needed;
    stream_pool_rollback(&stream->pool);
    needed = stream_descriptors(stream->settings) + stream_pool_extra(&stream->pool);
    stream_give_back(stream, needed);
}

static void stream_commit(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    struct listener_settings *before = stream->settings;
    stream->owner.events = stream->next_events;
    struct mux_settings plain = stream_plain(stream->next_settings, stream->owner.events);
    int64_t now = clock_now();
    stream->settings = listener_settings_reference(stream->next_settings);
    stream_give_back(stream, stream->next_descriptors);
    stream_pool_commit(&stream->pool, now);
    mux_reconfigure(stream->mux, &plain, now);
    listener_settings_release(before);
    stream_wake(stream);
}

static void stream_leave(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    int64_t now = clock_now();
    stream->leaving = true;
    list_foreach(&stream->clients, node)
    {
        struct stream_client *client = list_entry(node, struct stream_client, node);
        if (client->mux != NULL)
            mux_client_leave(client->mux, now);
    }
}

/* A client that is cut off in the middle of something must not take it for complete. */
static void stream_cut_off(struct stream_client *client, enum reason reason)
{
    bool reset = false;
    if (client->mux != NULL) {
        mux_client_fail(client->mux, reason, clock_now());
        reset = mux_client_fate(client->mux) == MUX_RESET || mux_client_output(client->mux).length > 0;
    }
    stream_client_end(client, reason, reset);
}

static void stream_close(struct service *service, enum reason reason)
{
    struct stream_service *stream = stream_of(service);
    struct list_node *node;
    while ((node = list_first(&stream->clients)) != NULL)
        stream_cut_off(list_entry(node, struct stream_client, node), reason);
}

static void stream_filter(struct service *service, service_filter *filter, void *data)
{
    struct stream_service *stream = stream_of(service);
    list_foreach(&stream->clients, node)
    {
        struct stream_client *client = list_entry(node, struct stream_client, node);
        if (filter(data, &client->address))
            stream_cut_off(client, REASON_BLOCKED);
    }
    stream_wake(stream);
}

static size_t stream_clients(const struct service *service)
{
    return list_entry(service, const struct stream_service, service)->client_count;
}

static size_t stream_waiting(const struct service *service)
{
    return mux_waiting(list_entry(service, const struct stream_service, service)->mux);
}

static size_t stream_load(const struct stream_service *stream, const struct target *target)
{
    size_t load = 0;
    list_foreach(&stream->pool.connections, node)
    {
        const struct stream_connection *connection = list_entry(node, const struct stream_connection, node);
        if (connection->mux != NULL && (target == NULL || connection->target == target))
            load += mux_connection_load(connection->mux);
    }
    return load;
}

static size_t stream_in_flight(const struct service *service)
{
    return stream_load(list_entry(service, const struct stream_service, service), NULL);
}

static size_t stream_targets(const struct service *service)
{
    return list_entry(service, const struct stream_service, service)->pool.targets->count;
}

static void stream_target(const struct service *service, size_t index, struct service_target *target)
{
    const struct stream_service *stream = list_entry(service, const struct stream_service, service);
    target_describe(stream->pool.targets->targets[index], target);
    target->gauges.in_flight = stream_load(stream, stream->pool.targets->targets[index]);
}

static void stream_destroy(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    struct ev_loop *loop = stream->runtime->loop;
    stream_close(service, REASON_DRAINED);
    stream_pool_close(&stream->pool);
    mux_destroy(stream->mux);
    hangups_close(&stream->hangups);
    descriptors_return(&stream->runtime->descriptors, stream->descriptors);
    timer_stop(&stream->linger_timer);
    ev_timer_stop(loop, &stream->due);
    ev_check_stop(loop, &stream->turn_begins);
    ev_prepare_stop(loop, &stream->turn_ends);
    listener_settings_release(stream->settings);
    free(stream);
}

static const struct service_functions stream_functions = {
    .descriptors_per_client = 1,
    .start = stream_start,
    .accept = stream_accept,
    .drain = stream_drain,
    .prepare = stream_prepare,
    .commit = stream_commit,
    .rollback = stream_rollback,
    .leave = stream_leave,
    .filter = stream_filter,
    .close = stream_close,
    .clients = stream_clients,
    .waiting = stream_waiting,
    .in_flight = stream_in_flight,
    .targets = stream_targets,
    .target = stream_target,
    .destroy = stream_destroy,
};

static struct mux *stream_make_mux(struct stream_service *service)
{
    static const struct mux_hooks hooks = {
        .choose = stream_pool_choose,
        .opening = stream_pool_opening,
        .asked = stream_request_asked,
        .ended = stream_request_ended,
    };
    struct mux_settings plain = stream_plain(service->settings, service->owner.events);
    return mux_create(&plain, &hooks, service);
}

/* The turn begins before, and ends after, everything else of it, whatever the order of other watchers. */
static void stream_watch_turns(struct stream_service *service)
{
    ev_timer_init(&service->due, stream_due, 0.0, 0.0);
    service->due.data = service;
    ev_check_init(&service->turn_begins, stream_turn_begins);
    ev_set_priority(&service->turn_begins, EV_MAXPRI);
    service->turn_begins.data = service;
    ev_check_start(service->runtime->loop, &service->turn_begins);
    ev_prepare_init(&service->turn_ends, stream_turn_ends);
    ev_set_priority(&service->turn_ends, EV_MINPRI);
    service->turn_ends.data = service;
    ev_prepare_start(service->runtime->loop, &service->turn_ends);
}

size_t stream_descriptors(const struct listener_settings *settings)
{
    return stream_pool_size(settings) + HANGUP_DESCRIPTORS;
}

static bool stream_reserve_descriptors(struct stream_service *service)
{
    size_t count = stream_descriptors(service->settings);
    if (!descriptors_reserve(&service->runtime->descriptors, count)) {
        errno = EMFILE;
        return false;
    }
    service->descriptors = count;
    return true;
}

struct service *stream_service_create(struct runtime *runtime, struct listener_settings *settings,
                                      const struct service_owner *owner)
{
    struct stream_service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    service->service.functions = &stream_functions;
    service->runtime = runtime;
    service->settings = listener_settings_reference(settings);
    service->owner = *owner;
    list_init(&service->clients);
    list_init(&service->dirty_clients);
    list_init(&service->dirty_connections);
    timer_init(&service->linger_timer, runtime->loop, LINGER_MILLISECONDS, stream_client_lingered, service);
    stream_watch_turns(service);
    service->mux = stream_make_mux(service);
    /* All of them, so that all can be undone. */
    bool opened = stream_pool_init(&service->pool, service);
    opened = hangups_init(&service->hangups, runtime->loop, stream_client_hung_up, service) && opened;
    if (!opened || service->mux == NULL || !stream_reserve_descriptors(service)) {
        int error = errno;
        stream_destroy(&service->service);
        errno = error;
        return NULL;
    }
    return &service->service;
}
