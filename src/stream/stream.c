#include "stream/stream.h"

#include "net/socket.h"
#include "stream/stream_parts.h"
#include "target/target_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* How long a client may take to close too, after the end of our stream. */
#define LINGER_MILLISECONDS 2000

/* How long a device may take to reset a connection that came too early for it. */
#define SETTLE_MILLISECONDS 50

/* The epoll descriptor of net/hangup.h. */
#define HANGUP_DESCRIPTORS 1

static struct stream_service *stream_of(struct service *service)
{
    return list_entry(service, struct stream_service, service);
}

static void stream_start(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    stream_pool_start(&stream->pool, stream_now(stream));
}

static void stream_accept(struct service *service, const struct service_client *client)
{
    struct stream_service *stream = stream_of(service);
    if (stream_client_accept(stream, client->descriptor, client->address, client->events))
        return;
    struct service_summary summary = { .reason = REASON_INTERNAL };
    if (client->events != NULL)
        events_client_close(client->events, REASON_INTERNAL, 0, 0);
    close(client->descriptor);
    stream->owner.ended(stream->owner.owner, client->address, &summary);
}

static void stream_drain(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    stream->draining = true;
    list_foreach(&stream->clients, node) stream_client_drain(list_entry(node, struct stream_client, node));
}

/* The plain numbers that the multiplexer gets. */
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
        .down_timeout = settings->down_timeout,
        .request_timeout = settings->request_timeout,
        .stall_timeout = settings->stall_timeout,
        .client_idle_timeout = settings->client_idle_timeout,
        .inactivity_timeout = settings->inactivity_timeout,
        .connect_delay = settings->connect_delay,
        .settle_pause = SETTLE_MILLISECONDS,
        .request_gap = settings->request_gap,
        .response_gap = protocol_turn_gap(&settings->protocol),
        .connection_ttl = settings->connection_ttl,
        .max_requests = settings->max_requests_per_connection,
        .abort_on_close = settings->abort_on_close,
        .observe_request = events_request_bytes(events),
        .observe_answer = events_response_bytes(events),
    };
}

/* Reserves descriptors for all connections there may be, whichever settings count in the end. */
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
    stream_pool_rollback(&stream->pool);
    stream_give_back(stream, stream_descriptors(stream->settings) + stream_pool_extra(&stream->pool));
}

/* Options of a target's sockets count for those that are there. */
static void stream_commit_connections(struct stream_service *stream)
{
    list_foreach(&stream->pool.connections, node)
    {
        struct pool_connection *pooled = list_entry(node, struct pool_connection, node);
        const struct target_settings *next = pooled->target->next_settings;
        if (next != NULL && pooled->state != POOL_CONNECTING)
            socket_keep_alive(stream_connection_of(pooled)->watcher.fd,
                              next->keep_alive.enabled ? next->keep_alive.idle : 0, next->keep_alive.interval,
                              next->keep_alive.count);
    }
}

static void stream_commit(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    struct listener_settings *before = stream->settings;
    stream->owner.events = stream->next_events;
    struct mux_settings plain = stream_plain(stream->next_settings, stream->owner.events);
    int64_t now = turn_refresh(&stream->runtime->turn); /* other listeners before this one took their time */
    stream->settings = listener_settings_reference(stream->next_settings);
    stream_give_back(stream, stream->next_descriptors);
    stream_commit_connections(stream);
    stream_pool_commit(&stream->pool, stream->settings, now);
    mux_reconfigure(stream->mux, &plain, now);
    listener_settings_release(before);
    stream_touch(stream);
}

static void stream_leave(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    int64_t now = stream_now(stream);
    stream->leaving = true;
    list_foreach(&stream->clients, node)
    {
        struct stream_client *client = list_entry(node, struct stream_client, node);
        if (client->mux != NULL)
            mux_client_leave(client->mux, now);
    }
    stream_touch(stream);
}

static void stream_close(struct service *service, enum reason reason)
{
    struct stream_service *stream = stream_of(service);
    struct list_node *node;
    while ((node = list_first(&stream->clients)) != NULL)
        stream_client_cut_off(list_entry(node, struct stream_client, node), reason);
}

static void stream_filter(struct service *service, service_filter *filter, void *data)
{
    struct stream_service *stream = stream_of(service);
    list_foreach(&stream->clients, node)
    {
        struct stream_client *client = list_entry(node, struct stream_client, node);
        if (filter(data, &client->address))
            stream_client_cut_off(client, REASON_BLOCKED);
    }
    stream_touch(stream);
}

static size_t stream_clients(const struct service *service)
{
    return list_entry(service, const struct stream_service, service)->client_count;
}

static size_t stream_waiting(const struct service *service)
{
    return mux_waiting(list_entry(service, const struct stream_service, service)->mux);
}

static size_t stream_in_flight(const struct service *service)
{
    return stream_pool_load(&list_entry(service, const struct stream_service, service)->pool, NULL);
}

static size_t stream_targets(const struct service *service)
{
    return target_set_count_shown(list_entry(service, const struct stream_service, service)->pool.targets);
}

static void stream_target(const struct service *service, size_t index, struct service_target *target)
{
    const struct stream_service *stream = list_entry(service, const struct stream_service, service);
    const struct target *shown = target_set_shown(stream->pool.targets, index);
    target_describe(shown, target);
    target->gauges.in_flight = stream_pool_load(&stream->pool, shown);
}

static void stream_destroy(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    stream_close(service, REASON_DRAINED);
    stream_pool_close(&stream->pool, stream_now(stream));
    target_set_destroy(stream->pool.targets);
    mux_destroy(stream->mux);
    hangups_close(&stream->hangups);
    descriptors_return(&stream->runtime->descriptors, stream->descriptors);
    timer_stop(&stream->linger_timer);
    ev_timer_stop(stream->runtime->loop, &stream->mux_timer);
    listener_settings_release(stream->settings);
    turn_enter(&stream->runtime->turn, TURN_FREE, &stream->entry);
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

/* ---- The hooks of the multiplexer ---- */

static struct mux_connection *stream_choose(void *owner, void *client)
{
    struct stream_service *service = owner;
    const struct stream_client *asking = client;
    return stream_pool_choose(&service->pool, &asking->address, stream_now(service));
}

static size_t stream_opening(void *owner)
{
    const struct stream_service *service = owner;
    return stream_pool_opening(&service->pool);
}

static struct mux *stream_make_mux(struct stream_service *service)
{
    static const struct mux_hooks hooks = {
        .choose = stream_choose,
        .opening = stream_opening,
        .requested = stream_record_request,
        .ended = stream_record_end,
    };
    struct mux_settings plain = stream_plain(service->settings, service->owner.events);
    return mux_create(&plain, &hooks, service);
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
    service->entry.actions = &stream_actions;
    service->runtime = runtime;
    service->settings = listener_settings_reference(settings);
    service->owner = *owner;
    list_init(&service->clients);
    timer_init(&service->linger_timer, runtime->loop, LINGER_MILLISECONDS, stream_client_lingered, service);
    ev_timer_init(&service->mux_timer, stream_mux_timer_fired, 0.0, 0.0);
    service->mux_timer.data = service;
    service->mux = stream_make_mux(service);
    /* All of them are initialised, so that stream_destroy() can undo them. */
    stream_pool_init(&service->pool, &stream_connection_driver, service, service->mux, settings);
    service->pool.targets =
        target_set_create(runtime, listener_settings_targets(settings), &stream_pool_hooks, &service->pool);
    bool watches = hangups_init(&service->hangups, runtime->loop, stream_client_hung_up, service);
    if (!watches || service->pool.targets == NULL || service->mux == NULL ||
        !stream_reserve_descriptors(service)) {
        int error = errno;
        stream_destroy(&service->service);
        errno = error;
        return NULL;
    }
    return &service->service;
}
