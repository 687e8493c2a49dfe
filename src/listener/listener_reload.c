/* From the running settings of a listener to those that a reload has brought. */
#include "listener/listener_parts.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

bool listener_services_differ(const struct listener_settings *a, const struct listener_settings *b)
{
    return a->mode != b->mode ||
           (a->mode != MODE_PROXY && !protocol_settings_equal(&a->protocol, &b->protocol));
}

/* A client whose header is awaited has as many descriptors reserved as the present mode wants. */
static bool listener_reserve_header_waits(struct listener *listener)
{
    size_t now = listener_descriptors_each(listener);
    size_t then = listener->next.generation->service->functions->descriptors_per_client;
    size_t missing = then > now ? (then - now) * listener->header_waits.count : 0;
    if (!descriptors_reserve(&listener->runtime->descriptors, missing)) {
        errno = EMFILE;
        return false;
    }
    listener->next.descriptors = missing;
    return true;
}

static bool listener_prepare_service(struct listener *listener, struct listener_settings *settings)
{
    struct service *service = listener->current->service;
    if (!listener_services_differ(listener->settings, settings))
        return service->functions->prepare(service, settings, listener->next.events);
    listener->next.generation = generation_create(listener, settings, listener->next.events);
    return listener->next.generation != NULL && listener_reserve_header_waits(listener);
}

bool listener_prepare(struct listener *listener, struct listener_settings *settings, struct events *events,
                      size_t sockets)
{
    listener->next = (struct listener_next){
        .settings = settings,
        .watchers = calloc(sockets, sizeof *listener->next.watchers),
        .closing = malloc(sizeof *listener->next.closing),
    };
    if (listener->next.watchers != NULL && listener->next.closing != NULL &&
        events_listener_create(events, settings, &listener->next.events) &&
        listener_prepare_service(listener, settings))
        return true;
    int error = errno;
    events_listener_release(listener->next.events);
    generation_destroy(listener->next.generation);
    free(listener->next.watchers);
    free(listener->next.closing);
    errno = error;
    return false;
}

void listener_rollback(struct listener *listener)
{
    struct service *service = listener->current->service;
    if (listener->next.generation == NULL)
        service->functions->rollback(service);
    generation_destroy(listener->next.generation);
    events_listener_release(listener->next.events);
    free(listener->next.watchers);
    free(listener->next.closing);
    if (listener->next.descriptors > 0)
        descriptors_return(&listener->runtime->descriptors, listener->next.descriptors);
}

/* A filter that counts clients, and ends none. */
static bool listener_count_client(void *data, const struct address *client)
{
    struct listener *listener = data;
    admission_count(&listener->admission, client);
    return false;
}

static bool listener_is_blocked(void *data, const struct address *client)
{
    const struct listener *listener = data;
    return admission_blocks(&listener->admission, client);
}

static void listener_filter(struct listener *listener, service_filter *filter)
{
    struct service *service = listener->current->service;
    service->functions->filter(service, filter, listener);
    list_foreach(&listener->earlier, node)
    {
        service = list_entry(node, struct generation, node)->service;
        service->functions->filter(service, filter, listener);
    }
}

static void listener_commit_service(struct listener *listener, int64_t shutdown_timeout)
{
    struct generation *before = listener->current;
    size_t each = listener_descriptors_each(listener);
    if (listener->next.generation == NULL) {
        before->service->functions->commit(before->service);
        return;
    }
    listener->current = listener->next.generation;
    listener->is_ready = false;
    if (listener_descriptors_each(listener) < each && listener->header_waits.count > 0)
        descriptors_return(&listener->runtime->descriptors,
                           (each - listener_descriptors_each(listener)) * listener->header_waits.count);
    generation_leave(before, shutdown_timeout);
    generation_start(listener->current);
}

static void listener_commit_sockets(struct listener *listener, struct bound_sockets *bound)
{
    struct bound_sockets left = listener->bound;
    ev_io *watchers = listener->watchers;
    listener_pause(listener);
    descriptors_forget(&listener->waiter);
    ev_timer_stop(listener->runtime->loop, &listener->pause);
    listener->bound = *bound;
    *bound = (struct bound_sockets){ 0 };
    listener_watch_sockets(listener, listener->next.watchers);
    bind_forget_taken(&left);
    listener_close_gradually(listener, listener->next.closing, &left, watchers);
    listener_resume(listener);
}

void listener_commit(struct listener *listener, struct bound_sockets *bound, int64_t shutdown_timeout)
{
    struct listener_settings *before = listener->settings;
    listener->settings = listener_settings_reference(listener->next.settings);
    listener->refusals.source = listener->settings->name;
    bool count = admission_change(&listener->admission, listener->settings);
    if (count)
        listener_filter(listener, listener_count_client);
    listener_filter(listener, listener_is_blocked);
    struct events_listener *events_before = listener->events;
    listener->events = listener->next.events;
    listener_commit_service(listener, shutdown_timeout);
    events_listener_release(events_before);
    listener_settings_release(before);
    listener_commit_sockets(listener, bound);
}
