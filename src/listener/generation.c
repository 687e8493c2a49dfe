/* A generation: the service that a listener's clients get, since the start or since a reload that changed mode or
 * protocol. */
#include "listener/listener_parts.h"

#include "base/log.h"
#include "pipe/pipe.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdlib.h>

static size_t generation_clients(const struct generation *generation)
{
    return generation->service->functions->clients(generation->service);
}

static void generation_client_ended(void *owner, const struct address *client,
                                    const struct service_summary *summary)
{
    struct generation *generation = owner;
    struct listener *listener = generation->listener;
    listener->counters.ends[summary->reason]++;
    if (summary->reason == REASON_INTERNAL)
        shortage_note(&listener->runtime->shortage, listener->settings->name);
    admission_leave(listener, client);
    descriptors_return(&listener->runtime->descriptors,
                       generation->service->functions->descriptors_per_client);
    if (generation != listener->current && generation_clients(generation) == 0)
        listener_start_timer(listener, &generation->expiry, 0.0);
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
    list_remove(&generation->node);
    if (generation->service != NULL)
        generation->service->functions->destroy(generation->service);
    ev_timer_stop(generation->listener->runtime->loop, &generation->expiry);
    free(generation);
}

/* Nobody is left, or the time has passed: who is left still gets the answers to what was sent. Sessions without answers
 * end now, lest those who wait for their target connections wait for ever. */
static void generation_expired(struct ev_loop *, ev_timer *watcher, int)
{
    struct generation *generation = watcher->data;
    const struct service_functions *functions = generation->service->functions;
    if (generation_clients(generation) == 0) {
        generation_destroy(generation);
        return;
    }
    log_info(generation->listener->settings->name,
             "shutdown_timeout has passed: %zu clients of before the change of mode or protocol are to go",
             generation_clients(generation));
    if (functions->has_no_answers)
        functions->close(generation->service, REASON_DRAINED);
    else
        functions->drain(generation->service);
}

/* The one that will be the present one after a reload that is being prepared. */
static struct generation *generation_coming(const struct listener *listener)
{
    return listener->next.generation != NULL ? listener->next.generation : listener->current;
}

static struct service *generation_make_service(const struct listener *listener,
                                               struct listener_settings *settings,
                                               const struct service_owner *owner, struct listener *shared)
{
    if (listener->make != NULL)
        return listener->make(listener->owner, listener->runtime, settings, owner);
    if (shared != NULL)
        return stream_door_create(settings, owner, generation_coming(shared)->service);
    return settings->mode == MODE_PROXY ? pipe_service_create(listener->runtime, settings, owner)
                                        : stream_service_create(listener->runtime, settings, owner);
}

struct generation *generation_create(struct listener *listener, struct listener_settings *settings,
                                     const struct events_listener *events, struct listener *shared)
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
    generation->service = generation_make_service(listener, settings, &owner, shared);
    if (generation->service != NULL)
        return generation;
    int error = errno;
    generation_destroy(generation);
    errno = error;
    return NULL;
}

void generation_follow(struct generation *generation, int64_t shutdown_timeout)
{
    struct listener *listener = generation->listener;
    struct generation *before = listener->current;
    list_append(&listener->generations, &generation->node);
    listener->current = generation;
    before->service->functions->leave(before->service);
    double seconds = generation_clients(before) == 0 ? 0.0 : (double)shutdown_timeout / 1e3;
    listener_start_timer(listener, &before->expiry, seconds);
}
