/* The sessions of a listener: from the queue to a target connection to their end. */
#include "pipe/pipe.h"

#include "base/clock.h"
#include "base/log.h"
#include "pipe/session.h"

#include <stdlib.h>
#include <unistd.h>

static void pipe_serve_queue(struct pipe_service *service);

/* Turns away those who came last and wait beyond the limit. Many may: while a target is being connected to,
 * its clients don't wait, until the attempts fail. */
static void pipe_shorten_queue(struct pipe_service *service)
{
    while (service->waiting_count > (size_t)service->settings->queue_limit)
        pipe_session_end(list_entry(list_last(&service->waiting), struct pipe_session, node),
                         REASON_QUEUE_FULL);
}

static void pipe_connect_ended(void *data, struct target *target, int descriptor)
{
    struct pipe_session *session = data;
    struct pipe_service *service = session->service;
    session->attempt = NULL;
    if (descriptor != -1) {
        pipe_session_connected(session, target, descriptor);
        return;
    }
    if (session->overdue) {
        pipe_session_end(session, REASON_QUEUE_TIMEOUT);
    } else {
        pipe_session_requeue(session);
        pipe_session_progress(session);
    }
    pipe_serve_queue(service);
    pipe_shorten_queue(service);
}

/* Gives the longest waiting clients connections as long as there are any. */
static void pipe_serve_queue(struct pipe_service *service)
{
    if (service->serving)
        return; /* an end in the loop below freed a place: the loop sees it */
    service->serving = true;
    struct list_node *first;
    while ((first = list_first(&service->waiting)) != NULL) {
        struct pipe_session *session = list_entry(first, struct pipe_session, node);
        struct target *target = target_choose(service->targets, &session->address);
        if (target == NULL)
            break;
        pipe_session_enter(session, PIPE_CONNECTING);
        session->tried = clock_now();
        session->attempt = target_connect(target, pipe_connect_ended, session);
        if (session->attempt == NULL)
            pipe_session_end(session, REASON_INTERNAL);
        else
            pipe_session_progress(session);
    }
    service->serving = false;
}

static void pipe_targets_usable(void *owner)
{
    pipe_serve_queue(owner);
}

static void pipe_queue_timed_out(struct timer *timer, struct timeout *timeout)
{
    (void)timer;
    struct pipe_session *session = list_entry(timeout, struct pipe_session, queue_timeout);
    if (session->state == PIPE_CONNECTING)
        session->overdue = true;
    else
        pipe_session_end(session, REASON_QUEUE_TIMEOUT);
}

static void pipe_inactive(struct timer *timer, struct timeout *timeout)
{
    (void)timer;
    pipe_session_end(list_entry(timeout, struct pipe_session, inactivity), REASON_INACTIVITY);
}

static void pipe_half_closed(struct timer *timer, struct timeout *timeout)
{
    (void)timer;
    pipe_session_end(list_entry(timeout, struct pipe_session, half_close), REASON_INACTIVITY);
}

static struct pipe_service *pipe_of(struct service *service)
{
    return list_entry(service, struct pipe_service, service);
}

static void pipe_start(struct service *service)
{
    const struct pipe_service *pipe = pipe_of(service);
    pipe->owner.ready(pipe->owner.owner);
}

static void pipe_accept(struct service *service, int descriptor, const struct address *client)
{
    struct pipe_service *pipe = pipe_of(service);
    struct pipe_session *session = pipe_session_create(pipe, descriptor, client);
    if (session == NULL) {
        struct service_summary summary = { .reason = REASON_INTERNAL };
        close(descriptor);
        pipe->owner.ended(pipe->owner.owner, client, &summary);
        return;
    }
    uint64_t number = session->number;
    pipe_serve_queue(pipe);
    /* It still waits exactly if it is the last one in the queue. */
    struct list_node *last = list_last(&pipe->waiting);
    if (last == NULL || list_entry(last, struct pipe_session, node)->number != number)
        return;
    if (pipe->waiting_count > (size_t)pipe->settings->queue_limit)
        pipe_session_end(session, REASON_QUEUE_FULL);
    else
        pipe_session_progress(session);
}

/* Sessions end when their two sides say so, and those who wait are still served: there is nothing to be done.
 */
static void pipe_drain(struct service *service)
{
    (void)service;
}

static void pipe_close(struct service *service, enum reason reason)
{
    struct pipe_service *pipe = pipe_of(service);
    struct list_node *node;
    /* The queue first: what the others leave free is not to be given to anybody. */
    while ((node = list_first(&pipe->waiting)) != NULL)
        pipe_session_end(list_entry(node, struct pipe_session, node), reason);
    while ((node = list_first(&pipe->others)) != NULL)
        pipe_session_end(list_entry(node, struct pipe_session, node), reason);
}

static size_t pipe_sessions(const struct service *service)
{
    return list_entry(service, const struct pipe_service, service)->session_count;
}

static size_t pipe_waiting(const struct service *service)
{
    return list_entry(service, const struct pipe_service, service)->waiting_count;
}

/* Waiting ones apart, each has a connection or an attempt. */
static size_t pipe_in_flight(const struct service *service)
{
    return pipe_sessions(service) - pipe_waiting(service);
}

static size_t pipe_targets(const struct service *service)
{
    return list_entry(service, const struct pipe_service, service)->targets->count;
}

static void pipe_target(const struct service *service, size_t index, struct service_target *target)
{
    const struct pipe_service *pipe = list_entry(service, const struct pipe_service, service);
    target_describe(&pipe->targets->targets[index], target);
}

static void pipe_destroy(struct service *service)
{
    struct pipe_service *pipe = pipe_of(service);
    pipe_close(service, REASON_DRAINED);
    timer_stop(&pipe->queue_timer);
    timer_stop(&pipe->inactivity_timer);
    timer_stop(&pipe->half_close_timer);
    target_set_destroy(pipe->targets);
    listener_settings_release(pipe->settings);
    free(pipe);
}

static const struct service_functions pipe_functions = {
    .descriptors_per_client = 2,
    .start = pipe_start,
    .accept = pipe_accept,
    .drain = pipe_drain,
    .close = pipe_close,
    .clients = pipe_sessions,
    .waiting = pipe_waiting,
    .in_flight = pipe_in_flight,
    .targets = pipe_targets,
    .target = pipe_target,
    .destroy = pipe_destroy,
};

struct service *pipe_service_create(struct runtime *runtime, struct listener_settings *settings,
                                    const struct service_owner *owner)
{
    struct pipe_service *pipe = calloc(1, sizeof *pipe);
    if (pipe == NULL)
        return NULL;
    pipe->targets = target_set_create(runtime, settings, pipe_targets_usable, pipe);
    if (pipe->targets == NULL) {
        free(pipe);
        return NULL;
    }
    pipe->service.functions = &pipe_functions;
    pipe->runtime = runtime;
    pipe->settings = listener_settings_reference(settings);
    pipe->owner = *owner;
    list_init(&pipe->waiting);
    list_init(&pipe->others);
    timer_init(&pipe->queue_timer, runtime->loop, settings->queue_timeout, pipe_queue_timed_out, pipe);
    timer_init(&pipe->inactivity_timer, runtime->loop, settings->inactivity_timeout, pipe_inactive, pipe);
    timer_init(&pipe->half_close_timer, runtime->loop, settings->half_close_timeout, pipe_half_closed, pipe);
    return &pipe->service;
}
