#include "listener/listener_parts.h"

#include "base/log.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdlib.h>

static void listener_expired(struct ev_loop *, ev_timer *watcher, int)
{
    struct listener *listener = watcher->data;
    log_info(listener->settings->name, "shutdown_timeout has passed: closing %zu clients",
             listener_clients(listener));
    listener_close(listener, REASON_DRAINED);
}

struct listener *listener_create(struct runtime *runtime, struct listener_settings *settings,
                                 struct events *events, struct bound_sockets *bound, struct listener *shared,
                                 listener_emptied *emptied, void *owner, listener_make_service *make)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        bind_close(bound);
        return NULL;
    }
    listener->runtime = runtime;
    listener->settings = listener_settings_reference(settings);
    listener->bound = *bound;
    *bound = (struct bound_sockets){ 0 };
    listener->emptied = emptied;
    listener->owner = owner;
    listener->make = make;
    admission_init(listener);
    header_waits_init(listener);
    listener_init_accepting(listener);
    listener_init_sockets(listener);
    list_init(&listener->generations);
    ev_init(&listener->expiry, listener_expired);
    listener->expiry.data = listener;
    listener->for_closing = malloc(sizeof *listener->for_closing);
    bool has_events = events == NULL || events_listener_create(events, settings, &listener->events);
    if (listener->for_closing != NULL && has_events)
        listener->current = generation_create(listener, settings, listener->events, shared);
    if (listener->current == NULL) {
        int error = errno;
        listener_destroy(listener);
        errno = error;
        return NULL;
    }
    list_append(&listener->generations, &listener->current->node);
    return listener;
}

void listener_destroy(struct listener *listener)
{
    if (listener == NULL)
        return;
    listener->is_draining = false; /* nobody is to be told */
    header_waits_close(listener, REASON_DRAINED);
    listener_close_sockets(listener);
    list_foreach(&listener->generations, node) generation_destroy(list_entry(node, struct generation, node));
    ev_timer_stop(listener->runtime->loop, &listener->expiry);
    events_listener_release(listener->events);
    admission_free(listener);
    free(listener->for_closing);
    listener_settings_release(listener->settings);
    free(listener);
}

void listener_start(struct listener *listener)
{
    struct service *service = listener->current->service;
    char text[SETTINGS_AUTO_SIZE];
    if (listener->settings->mode_was_auto)
        log_info(listener->settings->name, "%s",
                 settings_explain_auto(listener->settings, text, sizeof text));
    for (size_t i = 0; i < listener->bound.count; i++)
        log_info(listener->settings->name, "listening on %s",
                 bind_print(&listener->bound.sockets[i], text, sizeof text));
    bind_adopt(&listener->bound);
    service->functions->start(service);
}

static void listener_drain_clients(struct listener *listener)
{
    listener->is_draining = true;
    list_foreach(&listener->generations, node)
    {
        struct service *service = list_entry(node, struct generation, node)->service;
        service->functions->drain(service);
    }
    listener_check_emptied(listener);
}

void listener_drain(struct listener *listener)
{
    if (!listener->is_draining)
        listener_close_gradually(listener, &listener->bound);
    listener_drain_clients(listener);
}

void listener_hand_over(struct listener *listener)
{
    if (listener->is_draining)
        return;
    listener_stop_accepting(listener);
    admission_stop(listener);
    bind_leave(&listener->bound);
    listener_drain_clients(listener);
}

void listener_leave(struct listener *listener, int64_t shutdown_timeout)
{
    struct service *service = listener->current->service;
    listener_close_gradually(listener, &listener->bound);
    listener->is_draining = true;
    listener_start_timer(listener, &listener->expiry, (double)shutdown_timeout / 1e3);
    service->functions->leave(service);
    listener_check_emptied(listener);
}

void listener_close(struct listener *listener, enum reason reason)
{
    listener->is_draining = true;
    listener_close_sockets(listener);
    if (listener_is_empty(listener)) {
        listener->emptied(listener->owner);
        return;
    }
    header_waits_close(listener, reason);
    list_foreach(&listener->generations, node)
    {
        struct service *service = list_entry(node, struct generation, node)->service;
        service->functions->close(service, reason);
    }
}

size_t listener_descriptors(const struct listener_settings *settings)
{
    if (settings->max_connections < 0)
        return 0;
    size_t clients = (size_t)settings->max_connections;
    if (settings->mode == MODE_PROXY)
        return 2 * clients;
    return settings->shared != NULL ? clients : clients + stream_descriptors(settings);
}

/* A target that is up, or was not tried yet, and that may be given work, wherever it is shown. */
static bool listener_has_usable_target(const struct listener *listener)
{
    const struct service *service = listener->current->service;
    for (size_t i = 0; i < service->functions->targets(service); i++) {
        struct service_target target;
        service->functions->target(service, i, &target);
        if (target.gauges.usable && target.weight > 0)
            return true;
    }
    return false;
}

struct listener_gauges listener_measure(const struct listener *listener)
{
    struct listener_gauges gauges = {
        .clients = listener_clients(listener),
        .ready = listener->is_ready && !listener->is_draining && listener_has_usable_target(listener),
    };
    list_foreach(&listener->generations, node)
    {
        const struct service *service = list_entry(node, struct generation, node)->service;
        gauges.waiting += service->functions->waiting(service);
        gauges.in_flight += service->functions->in_flight(service);
    }
    return gauges;
}

const char *listener_state(const struct listener *listener)
{
    if (listener->is_draining)
        return "draining";
    if (!listener->is_ready)
        return "starting";
    return listener->short_of_descriptors ? "short of descriptors" : "accepting";
}

/* How many targets are shown with this service. */
static size_t listener_targets_of(const struct service *service)
{
    const struct service_functions *functions = service->functions;
    bool shows = functions->shows_targets == NULL || functions->shows_targets(service);
    return shows ? functions->targets(service) : 0;
}

/* Finds a target at an index among those of earlier generations, which are seen while they have connections; false,
 * with `index` less by the number of them: there is none. */
static bool listener_find_earlier(const struct listener *listener, size_t *index,
                                  struct service_target *target)
{
    list_foreach(&listener->generations, node)
    {
        const struct generation *generation = list_entry(node, struct generation, node);
        const struct service *service = generation->service;
        for (size_t i = 0; generation != listener->current && i < listener_targets_of(service); i++) {
            service->functions->target(service, i, target);
            target->state = "draining";
            target->gauges.usable = 0;
            if (target->gauges.connections > 0 && (*index)-- == 0)
                return true;
        }
    }
    return false;
}

size_t listener_targets(const struct listener *listener)
{
    const struct service *service = listener->current->service;
    struct service_target target;
    size_t left = SIZE_MAX;
    listener_find_earlier(listener, &left, &target);
    return listener_targets_of(service) + SIZE_MAX - left;
}

struct service_target listener_target(const struct listener *listener, size_t index)
{
    const struct service *service = listener->current->service;
    size_t count = listener_targets_of(service);
    struct service_target target = { 0 };
    if (index < count) {
        service->functions->target(service, index, &target);
        return target;
    }
    index -= count;
    listener_find_earlier(listener, &index, &target);
    return target;
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
