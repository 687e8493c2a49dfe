#include "listener/listener_parts.h"

#include "base/log.h"
#include "pipe/pipe.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void listener_expired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct listener *listener = watcher->data;
    log_info(listener->settings->name, "shutdown_timeout has passed: closing %zu clients",
             listener_clients(listener));
    listener_close(listener, REASON_DRAINED);
}

/* What serves clients in each mode. */
static struct service *service_by_mode(void *data, struct runtime *runtime,
                                       struct listener_settings *settings, const struct service_owner *owner)
{
    static struct service *(*const create[])(struct runtime *, struct listener_settings *,
                                             const struct service_owner *) = {
        [MODE_PROXY] = pipe_service_create,
        [MODE_FIFO] = stream_service_create,
        [MODE_FUNNEL] = stream_service_create,
    };
    (void)data;
    return create[settings->mode](runtime, settings, owner);
}

struct listener *listener_create(struct runtime *runtime, struct listener_settings *settings,
                                 struct events *events, struct bound_sockets *bound,
                                 listener_emptied *emptied, void *owner)
{
    return listener_create_with(runtime, settings, events, bound, emptied, owner, service_by_mode, NULL);
}

struct listener *listener_create_with(struct runtime *runtime, struct listener_settings *settings,
                                      struct events *events, struct bound_sockets *bound,
                                      listener_emptied *emptied, void *owner, listener_make_service *make,
                                      void *data)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        bind_close(bound);
        return NULL;
    }
    listener->runtime = runtime;
    listener->settings = listener_settings_reference(settings);
    listener->bound = *bound;
    memset(bound, 0, sizeof *bound);
    listener->emptied = emptied;
    listener->owner = owner;
    listener_init_accepting(listener);
    generation_init(listener);
    listener->make = make;
    listener->make_data = data;
    ev_init(&listener->expiry, listener_expired);
    listener->expiry.data = listener;
    ev_io *watchers = calloc(listener->bound.count, sizeof *watchers);
    listener->for_closing = malloc(sizeof *listener->for_closing);
    bool has_events = events == NULL || events_listener_create(events, settings, &listener->events);
    if (watchers != NULL && listener->for_closing != NULL && has_events)
        listener->current = generation_create(listener, settings, listener->events);
    if (listener->current == NULL) {
        int error = errno;
        free(watchers);
        bind_close(&listener->bound);
        listener_destroy(listener);
        errno = error;
        return NULL;
    }
    listener_watch_sockets(listener, watchers);
    return listener;
}

void listener_destroy(struct listener *listener)
{
    if (listener == NULL)
        return;
    listener->draining = false; /* nobody is to be told */
    header_waits_close(&listener->header_waits, REASON_DRAINED);
    listener_close_sockets(listener);
    list_foreach(&listener->earlier, node) generation_destroy(list_entry(node, struct generation, node));
    generation_destroy(listener->current);
    ev_timer_stop(listener->runtime->loop, &listener->sweep);
    ev_timer_stop(listener->runtime->loop, &listener->expiry);
    events_listener_release(listener->events);
    free(listener->watchers);
    free(listener->for_closing);
    listener_settings_release(listener->settings);
    free(listener);
}

void listener_start(struct listener *listener)
{
    char text[SETTINGS_AUTO_SIZE];
    if (listener->settings->mode_was_auto)
        log_info(listener->settings->name, "%s",
                 settings_explain_auto(listener->settings, text, sizeof text));
    for (size_t i = 0; i < listener->bound.count; i++)
        log_info(listener->settings->name, "listening on %s",
                 bind_print(&listener->bound.sockets[i], text, sizeof text));
    bind_adopt(&listener->bound);
    generation_start(listener->current);
}

static void listener_drain_clients(struct listener *listener)
{
    listener->current->service->functions->drain(listener->current->service);
    list_foreach(&listener->earlier, node)
    {
        struct service *service = list_entry(node, struct generation, node)->service;
        service->functions->drain(service);
    }
}

void listener_drain(struct listener *listener)
{
    if (!listener->draining)
        listener_close_all_gradually(listener);
    listener->draining = true;
    listener_drain_clients(listener);
    listener_check_emptied(listener);
}

void listener_leave(struct listener *listener, int64_t shutdown_timeout)
{
    struct service *service = listener->current->service;
    listener_pause(listener);
    bind_forget_taken(&listener->bound);
    listener_close_all_gradually(listener);
    listener->draining = true;
    if (shutdown_timeout >= 0) {
        ev_timer_set(&listener->expiry, (double)shutdown_timeout / 1e3, 0.0);
        ev_timer_start(listener->runtime->loop, &listener->expiry);
    }
    service->functions->leave(service);
    listener_check_emptied(listener);
}

void listener_hand_over(struct listener *listener)
{
    if (listener->draining)
        return;
    listener->draining = true;
    listener_stop_accepting(listener);
    bind_leave(&listener->bound);
    listener_drain_clients(listener);
    listener_check_emptied(listener);
}

void listener_close(struct listener *listener, enum reason reason)
{
    listener->draining = true;
    listener_close_sockets(listener);
    if (listener_is_empty(listener)) {
        listener->emptied(listener->owner);
        return;
    }
    header_waits_close(&listener->header_waits, reason);
    list_foreach(&listener->earlier, node)
    {
        struct service *service = list_entry(node, struct generation, node)->service;
        service->functions->close(service, reason);
    }
    listener->current->service->functions->close(listener->current->service, reason);
}

size_t listener_descriptors(const struct listener_settings *settings)
{
    if (settings->max_connections < 0)
        return 0;
    size_t clients = (size_t)settings->max_connections;
    return settings->mode == MODE_PROXY ? 2 * clients : clients + stream_descriptors(settings);
}

/* A target that is up, or was not tried yet, and that may be given work. */
static bool listener_has_usable_target(const struct listener *listener)
{
    for (size_t i = 0; i < listener_targets(listener); i++) {
        struct service_target target;
        listener_target(listener, i, &target);
        if (target.gauges.usable && target.weight > 0)
            return true;
    }
    return false;
}

void listener_measure(const struct listener *listener, struct listener_gauges *gauges)
{
    const struct service *service = listener->current->service;
    *gauges = (struct listener_gauges){
        .clients = listener_clients(listener),
        .waiting = service->functions->waiting(service),
        .in_flight = service->functions->in_flight(service),
        .ready = listener->is_ready && !listener->draining && listener_has_usable_target(listener),
    };
    list_foreach(&listener->earlier, node)
    {
        service = list_entry(node, struct generation, node)->service;
        gauges->waiting += service->functions->waiting(service);
        gauges->in_flight += service->functions->in_flight(service);
    }
}

const char *listener_state(const struct listener *listener)
{
    if (listener->draining)
        return "draining";
    if (!listener->is_ready)
        return "starting";
    return listener->short_of_descriptors ? "short of descriptors" : "accepting";
}

/* Finds the target at an index among those of an earlier generation, which are seen while they have connections;
 * false, with `index` less by the number of them: it comes later. */
static bool generation_target(const struct service *service, size_t *index, struct service_target *target)
{
    for (size_t i = 0; i < service->functions->targets(service); i++) {
        service->functions->target(service, i, target);
        target->state = "draining";
        target->gauges.usable = 0;
        if (target->gauges.connections > 0 && (*index)-- == 0)
            return true;
    }
    return false;
}

size_t listener_targets(const struct listener *listener)
{
    struct service_target target;
    size_t left = SIZE_MAX;
    list_foreach(&listener->earlier, node)
        generation_target(list_entry(node, struct generation, node)->service, &left, &target);
    return listener->current->service->functions->targets(listener->current->service) + SIZE_MAX - left;
}

void listener_target(const struct listener *listener, size_t index, struct service_target *target)
{
    const struct service *service = listener->current->service;
    size_t count = service->functions->targets(service);
    if (index < count) {
        service->functions->target(service, index, target);
        return;
    }
    index -= count;
    list_foreach(&listener->earlier, node)
    {
        if (generation_target(list_entry(node, struct generation, node)->service, &index, target))
            return;
    }
}

struct bound_sockets *listener_sockets(struct listener *listener)
{
    return &listener->bound;
}

const struct listener_settings *listener_get_settings(const struct listener *listener)
{
    return listener->settings;
}

const struct counters *listener_get_counters(const struct listener *listener)
{
    return &listener->counters;
}
