#include "stream/stream.h"

#include "stream/stream_parts.h"

#include <stdlib.h>
#include <unistd.h>

static struct stream_service *stream_of(struct service *service)
{
    return list_entry(service, struct stream_service, service);
}

static void stream_start(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    stream_pool_start(&stream->hub->pool, stream_now(stream->hub));
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

static bool stream_prepare(struct service *service, struct listener_settings *settings,
                           const struct events_listener *events)
{
    struct stream_service *stream = stream_of(service);
    stream->next_settings = settings;
    stream->next_events = events;
    return stream_hub_prepare(stream->hub, settings);
}

static void stream_rollback(struct service *service)
{
    stream_hub_rollback(stream_of(service)->hub);
}

/* What modules want to see. The service goes by it as long as it has clients, also when another one has taken its place. */
static void stream_take_events(struct stream_service *stream, const struct events_listener *events)
{
    stream->request_bytes = events_request_bytes(events);
    stream->answer_bytes = events_response_bytes(events);
}

static void stream_commit(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    struct listener_settings *before = stream->settings;
    stream_take_events(stream, stream->next_events);
    stream->settings = listener_settings_reference(stream->next_settings);
    stream_hub_commit(stream->hub);
    listener_settings_release(before);
}

static void stream_leave(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    int64_t now = stream_now(stream->hub);
    stream->leaving = true;
    list_foreach(&stream->clients, node)
    {
        struct stream_client *client = list_entry(node, struct stream_client, node);
        if (client->mux != NULL)
            mux_client_leave(client->mux, now);
    }
    stream_touch(stream->hub);
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
    stream_touch(stream->hub);
}

static size_t stream_clients(const struct service *service)
{
    return list_entry(service, const struct stream_service, service)->client_count;
}

static size_t stream_waiting(const struct service *service)
{
    return mux_waiting(list_entry(service, const struct stream_service, service)->hub->mux);
}

static size_t stream_in_flight(const struct service *service)
{
    return stream_pool_load(&list_entry(service, const struct stream_service, service)->hub->pool, NULL);
}

static size_t stream_targets(const struct service *service)
{
    return target_set_count_shown(
        list_entry(service, const struct stream_service, service)->hub->pool.targets);
}

static void stream_target(const struct service *service, size_t index, struct service_target *target)
{
    const struct stream_service *stream = list_entry(service, const struct stream_service, service);
    const struct target *shown = target_set_shown(stream->hub->pool.targets, index);
    target_describe(shown, target);
    target->gauges.in_flight = stream_pool_load(&stream->hub->pool, shown);
}

static void stream_destroy(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    stream_close(service, REASON_DRAINED);
    stream_hub_leave(stream);
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

struct service *stream_service_create(struct runtime *runtime, struct listener_settings *settings,
                                      const struct service_owner *owner)
{
    struct stream_service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    struct stream_hub *hub = stream_hub_create(runtime, settings);
    if (hub == NULL) {
        free(service);
        return NULL;
    }
    service->service.functions = &stream_functions;
    service->settings = listener_settings_reference(settings);
    service->owner = *owner;
    list_init(&service->clients);
    stream_take_events(service, owner->events);
    stream_hub_join(hub, service);
    return &service->service;
}
