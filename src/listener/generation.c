/* A generation: the service that a listener's clients get, since the start or since a reload that changed mode or
 * protocol. */
#include "listener/listener_parts.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

size_t generation_clients(const struct generation *generation)
{
    return generation->service->functions->clients(generation->service);
}

static void generation_client_ended(void *owner, const struct address *client,
                                    const struct service_summary *summary)
{
    struct generation *generation = owner;
    struct listener *listener = generation->listener;
    struct counters *counters = &listener->counters;
    counters->ends[summary->reason]++;
    if (summary->reason == REASON_INTERNAL)
        shortage_note(&listener->runtime->shortage, listener->settings->name);
    admission_leave(&listener->admission, client);
    descriptors_return(&listener->runtime->descriptors,
                       generation->service->functions->descriptors_per_client);
    if (generation != listener->current && generation_clients(generation) == 0)
        ev_timer_start(listener->runtime->loop, &listener->sweep);
    listener_check_emptied(listener);
}

static void generation_ready(void *owner)
{
    struct generation *generation = owner;
    struct listener *listener = generation->listener;
    if (generation != listener->current)
        return;
    listener->is_ready = true;
    listener_resume(listener);
}

void generation_destroy(struct generation *generation)
{
    if (generation == NULL)
        return;
    ev_timer_stop(generation->listener->runtime->loop, &generation->expiry);
    list_remove(&generation->node);
    if (generation->service != NULL)
        generation->service->functions->destroy(generation->service);
    free(generation);
}

/* The time of the generation is over: its clients still get the answers to what they have sent. */
static void generation_expired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct generation *generation = watcher->data;
    log_info(generation->listener->settings->name,
             "shutdown_timeout has passed: %zu clients of before the change of mode or protocol are to go",
             generation_clients(generation));
    generation->service->functions->drain(generation->service);
}

struct generation *generation_create(struct listener *listener, struct listener_settings *settings,
                                     const struct events_listener *events)
{
    struct generation *generation = calloc(1, sizeof *generation);
    if (generation == NULL)
        return NULL;
    struct service_owner owner = {
        .owner = generation,
        .ready = generation_ready,
        .ended = generation_client_ended,
        .counters = &listener->counters,
        .events = events,
    };
    generation->listener = listener;
    ev_init(&generation->expiry, generation_expired);
    generation->expiry.data = generation;
    generation->service = listener->make(listener->make_data, listener->runtime, settings, &owner);
    if (generation->service != NULL)
        return generation;
    int error = errno;
    generation_destroy(generation);
    errno = error;
    return NULL;
}

void generation_start(struct generation *generation)
{
    generation->service->functions->start(generation->service);
}

void generation_leave(struct generation *generation, int64_t shutdown_timeout)
{
    struct ev_loop *loop = generation->listener->runtime->loop;
    list_append(&generation->listener->earlier, &generation->node);
    generation->service->functions->leave(generation->service);
    ev_timer_start(loop, &generation->listener->sweep);
    if (shutdown_timeout < 0)
        return;
    ev_timer_set(&generation->expiry, (double)shutdown_timeout / 1e3, 0.0);
    ev_timer_start(loop, &generation->expiry);
}

static void generation_swept(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct listener *listener = watcher->data;
    list_foreach(&listener->earlier, node)
    {
        struct generation *generation = list_entry(node, struct generation, node);
        if (generation_clients(generation) == 0)
            generation_destroy(generation);
    }
}

void generation_init(struct listener *listener)
{
    list_init(&listener->earlier);
    ev_timer_init(&listener->sweep, generation_swept, 0.0, 0.0);
    listener->sweep.data = listener;
}
