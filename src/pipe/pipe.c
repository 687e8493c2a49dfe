/* The sessions of a listener: from the queue to a target connection to their end. */
#include "pipe/pipe.h"

#include "base/clock.h"
#include "base/log.h"
#include "pipe/session.h"

#include <stdlib.h>
#include <unistd.h>

static void pipe_serve_queue(struct pipe_service *service);

static void pipe_log_end(const struct pipe_session *session, enum reason reason)
{
    if (!log_enabled(LOG_KIND_DEBUG))
        return;
    char client[ADDRESS_TEXT_SIZE];
    int64_t now = clock_now();
    const struct target *target = session->connected_target;
    const char *failure = target_set_failure(session->service->targets);
    int64_t begun = target != NULL ? session->connected : now;
    log_debug(session->service->settings->name,
              "session %llu from %s to %s ended: %s, %llu bytes from client, %llu bytes from target, "
              "%lld ms until connected, %lld ms in all%s%s",
              (unsigned long long)session->number, address_print(&session->address, client),
              target != NULL ? target->settings->name : "no target", reason_name(reason),
              (unsigned long long)session->client.received, (unsigned long long)session->target.received,
              (long long)((begun - session->accepted) / 1000), (long long)((now - session->accepted) / 1000),
              target == NULL && failure != NULL ? ", last failure of a target: " : "",
              target == NULL && failure != NULL ? failure : "");
}

/* Enters a state; the lists and the count of those who wait follow from it. */
static void pipe_session_enter(struct pipe_session *session, enum pipe_state state)
{
    struct pipe_service *service = session->service;
    if (session->state == PIPE_WAITING && list_linked(&session->node))
        service->waiting_count--;
    list_remove(&session->node);
    session->state = state;
    if (state == PIPE_WAITING)
        service->waiting_count++;
    list_append(state == PIPE_WAITING ? &service->waiting : &service->others, &session->node);
}

void pipe_session_end(struct pipe_session *session, enum reason reason)
{
    struct pipe_service *service = session->service;
    pipe_log_end(session, reason);
    if (session->state == PIPE_WAITING)
        service->waiting_count--;
    list_remove(&session->node);
    timeout_stop(&session->queue_timeout);
    timeout_stop(&session->inactivity);
    timeout_stop(&session->half_close);
    /* A stream that was cut off must not look complete. */
    pipe_end_close(&session->client, reason == REASON_TARGET_RESET || session->client.pending_length > 0);
    pipe_end_close(&session->target, reason == REASON_CLIENT_RESET || session->target.pending_length > 0);
    struct pipe_summary summary = {
        .reason = reason,
        .bytes_from_client = session->client.received,
        .bytes_from_target = session->target.received,
    };
    struct address address = session->address;
    struct target_attempt *attempt = session->attempt;
    struct target *target = session->connected_target;
    free(session);
    service->session_count--;
    service->ended(service->owner, &address, &summary);
    /* Last, because these may serve the next one in the queue. */
    if (attempt != NULL)
        target_cancel(attempt);
    if (target != NULL)
        target_release(target);
}

/* Puts a session whose attempt failed back to where its arrival places it. */
static void pipe_session_requeue(struct pipe_session *session)
{
    struct pipe_service *service = session->service;
    pipe_session_enter(session, PIPE_WAITING);
    list_foreach(&service->waiting, node)
    {
        const struct pipe_session *other = list_entry(node, struct pipe_session, node);
        if (other->number > session->number) {
            list_remove(&session->node);
            list_insert_before(node, &session->node);
            break;
        }
    }
}

static void pipe_connection_made(struct pipe_session *session, struct target *target, int descriptor)
{
    session->connected_target = target;
    session->connected = clock_now();
    timeout_stop(&session->queue_timeout);
    timer_start(&session->service->inactivity_timer, &session->inactivity, session->connected);
    pipe_end_open(&session->target, descriptor);
    pipe_session_enter(session, PIPE_PIPING);
    pipe_end_flush(&session->target);
    pipe_session_progress(session);
}

static void pipe_connect_ended(void *data, struct target *target, int descriptor)
{
    struct pipe_session *session = data;
    struct pipe_service *service = session->service;
    session->attempt = NULL;
    if (descriptor != -1) {
        pipe_connection_made(session, target, descriptor);
        return;
    }
    if (session->overdue) {
        pipe_session_end(session, REASON_QUEUE_TIMEOUT);
    } else {
        pipe_session_requeue(session);
        pipe_session_progress(session);
    }
    pipe_serve_queue(service);
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

static struct pipe_session *pipe_session_create(struct pipe_service *service, int descriptor,
                                                const struct address *client)
{
    struct pipe_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->service = service;
    session->address = *client;
    session->number = ++service->next_number;
    session->accepted = clock_now();
    pipe_end_init(&session->client, &session->target, session);
    pipe_end_init(&session->target, &session->client, session);
    pipe_end_open(&session->client, descriptor);
    service->session_count++;
    pipe_session_enter(session, PIPE_WAITING);
    timer_start(&service->queue_timer, &session->queue_timeout, session->accepted);
    return session;
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
