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

struct pipe_service *pipe_service_create(struct runtime *runtime, struct listener_settings *settings,
                                         pipe_ended *ended, void *owner)
{
    struct pipe_service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return NULL;
    service->targets = target_set_create(runtime, settings, pipe_targets_usable, service);
    if (service->targets == NULL) {
        free(service);
        return NULL;
    }
    service->runtime = runtime;
    service->settings = listener_settings_reference(settings);
    service->ended = ended;
    service->owner = owner;
    list_init(&service->waiting);
    list_init(&service->others);
    timer_init(&service->queue_timer, runtime->loop, settings->queue_timeout, pipe_queue_timed_out, service);
    timer_init(&service->inactivity_timer, runtime->loop, settings->inactivity_timeout, pipe_inactive,
               service);
    timer_init(&service->half_close_timer, runtime->loop, settings->half_close_timeout, pipe_half_closed,
               service);
    return service;
}

void pipe_service_destroy(struct pipe_service *service)
{
    if (service == NULL)
        return;
    pipe_service_close(service, REASON_DRAINED);
    timer_stop(&service->queue_timer);
    timer_stop(&service->inactivity_timer);
    timer_stop(&service->half_close_timer);
    target_set_destroy(service->targets);
    listener_settings_release(service->settings);
    free(service);
}

void pipe_service_accept(struct pipe_service *service, int descriptor, const struct address *client)
{
    struct pipe_session *session = pipe_session_create(service, descriptor, client);
    if (session == NULL) {
        struct pipe_summary summary = { .reason = REASON_INTERNAL };
        close(descriptor);
        service->ended(service->owner, client, &summary);
        return;
    }
    uint64_t number = session->number;
    pipe_serve_queue(service);
    /* It still waits exactly if it is the last one in the queue. */
    struct list_node *last = list_last(&service->waiting);
    if (last == NULL || list_entry(last, struct pipe_session, node)->number != number)
        return;
    if (service->waiting_count > (size_t)service->settings->queue_limit)
        pipe_session_end(session, REASON_QUEUE_FULL);
    else
        pipe_session_progress(session);
}

void pipe_service_close(struct pipe_service *service, enum reason reason)
{
    struct list_node *node;
    /* The queue first: what the others leave free is not to be given to anybody. */
    while ((node = list_first(&service->waiting)) != NULL)
        pipe_session_end(list_entry(node, struct pipe_session, node), reason);
    while ((node = list_first(&service->others)) != NULL)
        pipe_session_end(list_entry(node, struct pipe_session, node), reason);
}

size_t pipe_service_sessions(const struct pipe_service *service)
{
    return service->session_count;
}

size_t pipe_service_waiting(const struct pipe_service *service)
{
    return service->waiting_count;
}
