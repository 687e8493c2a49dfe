#include "stream/stream.h"

#include "stream/stream_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static struct stream_service *stream_of(struct service *service)
{
    return list_entry(service, struct stream_service, service);
}

static bool stream_is_door(const struct stream_service *stream)
{
    return stream->settings->shared != NULL;
}

static void stream_start(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    stream->is_started = true;
    if (!stream_is_door(stream))
        stream_pool_start(&stream->hub->pool, stream_now(stream->hub));
    else if (stream->hub->is_ready)
        stream->owner.ready(stream->owner.owner);
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

/* A door can come, change and go without the others noticing. */
static bool stream_prepare(struct service *service, struct listener_settings *settings,
                           const struct events_listener *events)
{
    struct stream_service *stream = stream_of(service);
    stream->next_settings = settings;
    stream->next_events = events;
    return stream_is_door(stream) || stream_hub_prepare(stream->hub, settings);
}

static void stream_rollback(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    if (!stream_is_door(stream))
        stream_hub_rollback(stream->hub);
}

/* What modules want to see. The service goes by it as long as it has clients, also when another one has taken its
 * place. */
static void stream_take_events(struct stream_service *stream, const struct events_listener *events)
{
    stream->request_bytes = events_request_bytes(events);
    stream->answer_bytes = events_response_bytes(events);
}

static void stream_commit(struct service *service)
{
    struct stream_service *stream = stream_of(service);
    struct stream_hub *hub = stream->hub;
    struct listener_settings *before = stream->settings;
    stream->settings = listener_settings_reference(stream->next_settings);
    stream_take_events(stream, stream->next_events);
    mux_door_set_priority(hub->mux, &stream->door, (unsigned)stream->settings->priority, stream_now(hub));
    if (stream_is_door(stream))
        stream_hub_observe(hub);
    else
        stream_hub_commit(hub);
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

/* ---- What can be seen ---- */

static const struct stream_service *stream_of_shown(const struct service *service)
{
    return list_entry(service, const struct stream_service, service);
}

static size_t stream_clients(const struct service *service)
{
    return stream_of_shown(service)->client_count;
}

/* The first service shows what belongs to none alone: the targets, and requests of clients that have gone. */
static bool stream_is_first(const struct stream_service *stream)
{
    return stream->hub->services.head.next == &stream->node;
}

/* What the other doors have of all. */
static struct mux_door stream_others(const struct stream_service *stream)
{
    struct mux_door sum = { 0 };
    list_foreach(&stream->hub->services, node)
    {
        const struct stream_service *other = list_entry(node, struct stream_service, node);
        if (other == stream)
            continue;
        sum.waiting += other->door.waiting;
        sum.in_flight += other->door.in_flight;
    }
    return sum;
}

static size_t stream_waiting(const struct service *service)
{
    const struct stream_service *stream = stream_of_shown(service);
    return stream_is_first(stream) ? mux_waiting(stream->hub->mux) - stream_others(stream).waiting
                                   : stream->door.waiting;
}

static size_t stream_in_flight(const struct service *service)
{
    const struct stream_service *stream = stream_of_shown(service);
    return stream_is_first(stream)
               ? stream_pool_load(&stream->hub->pool, NULL) - stream_others(stream).in_flight
               : stream->door.in_flight;
}

static size_t stream_targets(const struct service *service)
{
    return target_set_count_shown(stream_of_shown(service)->hub->pool.targets);
}

static bool stream_shows_targets(const struct service *service)
{
    return stream_is_first(stream_of_shown(service));
}

static void stream_target(const struct service *service, size_t index, struct service_target *target)
{
    const struct stream_hub *hub = stream_of_shown(service)->hub;
    const struct target *shown = target_set_shown(hub->pool.targets, index);
    target_describe(shown, target);
    target->gauges.in_flight = stream_pool_load(&hub->pool, shown);
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
    .shows_targets = stream_shows_targets,
    .destroy = stream_destroy,
};

static struct service *stream_create(struct stream_hub *hub, struct listener_settings *settings,
                                     const struct service_owner *owner)
{
    struct stream_service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    service->service.functions = &stream_functions;
    service->settings = listener_settings_reference(settings);
    service->owner = *owner;
    service->door.priority = (unsigned)settings->priority;
    list_init(&service->clients);
    stream_take_events(service, owner->events);
    stream_hub_join(hub, service);
    return &service->service;
}

struct service *stream_service_create(struct runtime *runtime, struct listener_settings *settings,
                                      const struct service_owner *owner)
{
    struct stream_hub *hub = stream_hub_create(runtime, settings);
    struct service *service = hub == NULL ? NULL : stream_create(hub, settings, owner);
    if (hub != NULL && service == NULL) {
        stream_hub_destroy(hub);
        errno = ENOMEM;
    }
    return service;
}

struct service *stream_door_create(struct listener_settings *settings, const struct service_owner *owner,
                                   struct service *owner_service)
{
    return stream_create(stream_of(owner_service)->hub, settings, owner);
}
