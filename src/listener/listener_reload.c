/* From the running settings of a listener to those that a reload has brought. */
#include "listener/listener_parts.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

bool listener_services_differ(const struct listener_settings *a, const struct listener_settings *b)
{
    return a->mode != b->mode || !text_equal(a->targets_of, b->targets_of) ||
           (a->mode != MODE_PROXY && !protocol_settings_equal(&a->protocol, &b->protocol));
}

/* A client whose header is awaited has as many descriptors reserved as the present mode wants. */
static bool listener_reserve_header_waits(struct listener *listener)
{
    size_t now = listener_descriptors_each(listener);
    size_t then = listener->next.generation->service->functions->descriptors_per_client;
    size_t missing = then > now ? (then - now) * listener->header_waits : 0;
    if (!descriptors_reserve(&listener->runtime->descriptors, missing)) {
        errno = EMFILE;
        return false;
    }
    listener->next.descriptors = missing;
    return true;
}

static bool listener_prepare_service(struct listener *listener, struct listener_settings *settings,
                                     struct listener *shared)
{
    struct service *service = listener->current->service;
    if (!listener_services_differ(listener->settings, settings))
        return service->functions->prepare(service, settings, listener->next.events);
    listener->next.generation = generation_create(listener, settings, listener->next.events, shared);
    return listener->next.generation != NULL && listener_reserve_header_waits(listener);
}

/* Frees what was prepared. */
static void listener_forget_next(struct listener *listener)
{
    struct listener_next *next = &listener->next;
    generation_destroy(next->generation);
    next->generation = NULL;
    events_listener_release(next->events);
    free(next->closing);
    descriptors_return(&listener->runtime->descriptors, next->descriptors);
}

bool listener_prepare(struct listener *listener, struct listener_settings *settings, struct events *events,
                      struct listener *shared)
{
    struct listener_next *next = &listener->next;
    *next = (struct listener_next){ .settings = settings, .closing = malloc(sizeof *next->closing) };
    if (next->closing != NULL && events_listener_create(events, settings, &next->events) &&
        listener_prepare_service(listener, settings, shared))
        return true;
    int error = errno;
    listener_forget_next(listener);
    errno = error;
    return false;
}

void listener_rollback(struct listener *listener)
{
    struct service *service = listener->current->service;
    if (listener->next.generation == NULL)
        service->functions->rollback(service);
    listener_forget_next(listener);
}

static void listener_commit_service(struct listener *listener, int64_t shutdown_timeout)
{
    struct service *service = listener->current->service;
    size_t before = listener_descriptors_each(listener);
    if (listener->next.generation == NULL) {
        service->functions->commit(service);
        return;
    }
    listener->is_ready = false;
    generation_follow(listener->next.generation, shutdown_timeout);
    listener->next.generation = NULL;
    service = listener->current->service;
    size_t now = listener_descriptors_each(listener);
    if (now < before && listener->header_waits > 0)
        descriptors_return(&listener->runtime->descriptors, (before - now) * listener->header_waits);
    service->functions->start(service);
}

static void listener_commit_sockets(struct listener *listener, struct bound_sockets *bound)
{
    struct bound_sockets before = listener->bound;
    listener_stop_accepting(listener);
    listener->bound = *bound;
    *bound = (struct bound_sockets){ 0 };
    listener_init_sockets(listener);
    listener_close_gradually(listener, &before);
    listener->for_closing = listener->next.closing;
    listener_resume(listener);
}

void listener_commit(struct listener *listener, struct bound_sockets *bound, int64_t shutdown_timeout)
{
    struct listener_settings *settings_before = listener->settings;
    struct events_listener *events_before = listener->events;
    listener->settings = listener_settings_reference(listener->next.settings);
    admission_change(listener, settings_before);
    listener->events = listener->next.events;
    listener_commit_service(listener, shutdown_timeout);
    events_listener_release(events_before);
    listener_settings_release(settings_before);
    listener_commit_sockets(listener, bound);
}
