/* The sessions of a listener: from the queue to a target connection to their end. */
#include "pipe/pipe.h"

#include "base/log.h"
#include "pipe/pipe_session.h"
#include "target/target_loop.h"

#include <stdlib.h>
#include <unistd.h>

static void pipe_serve_queue(struct pipe_service *service);

static struct pipe_rules *pipe_rules_in_force(const struct pipe_service *service)
{
    return list_entry(list_last(&service->all_rules), struct pipe_rules, node);
}

static void pipe_rules_free(struct pipe_rules *rules)
{
    if (rules == NULL)
        return;
    timer_stop(&rules->queue_timer);
    timer_stop(&rules->down_timer);
    timer_stop(&rules->inactivity_timer);
    timer_stop(&rules->half_close_timer);
    timer_stop(&rules->trial_timer);
    list_remove(&rules->node);
    free(rules);
}

/* Frees rules without sessions. The end of the last session can't do that: it may come from one of their
 * timers. */
static void pipe_reap_rules(struct pipe_service *service)
{
    list_foreach(&service->all_rules, node)
    {
        struct pipe_rules *rules = list_entry(node, struct pipe_rules, node);
        if (rules->sessions == 0 && rules != pipe_rules_in_force(service))
            pipe_rules_free(rules);
    }
}

/* Stops the times of waiting while connections of other generations hold all slots. */
static void pipe_hold_queue(struct pipe_service *service)
{
    bool hold = target_set_is_held(service->targets);
    if (hold == service->is_held)
        return;
    int64_t now = service->runtime->turn.now;
    service->is_held = hold;
    list_foreach(&service->all_rules, node)
    {
        struct pipe_rules *rules = list_entry(node, struct pipe_rules, node);
        struct timer *const timers[] = { &rules->queue_timer, &rules->down_timer };
        for (size_t i = 0; i < sizeof timers / sizeof timers[0]; i++)
            if (hold)
                timer_hold(timers[i], now);
            else
                timer_release(timers[i], now);
    }
}

/* Turns the latest clients away that wait beyond the limit. There can be many: clients whose attempts are under
 * way are not counted as waiting until these fail. */
static void pipe_shorten_queue(struct pipe_service *service)
{
    size_t limit = (size_t)service->settings->queue_limit;
    if (service->waiting_count < service->queue_allowed)
        service->queue_allowed = service->waiting_count < limit ? limit : service->waiting_count;
    while (service->waiting_count > service->queue_allowed)
        pipe_session_end(list_entry(list_last(&service->waiting), struct pipe_session, node),
                         REASON_QUEUE_FULL);
}

/* An attempt that is under way still counts, if it succeeds. */
static void pipe_turn_away(struct pipe_session *session, enum reason reason)
{
    if (session->state == PIPE_CONNECTING)
        session->overdue = reason;
    else
        pipe_session_end(session, reason);
}

/* Nobody waits for targets that are down while the service drains. */
static void pipe_give_up(struct pipe_service *service)
{
    struct list *const lists[] = { &service->waiting, &service->others };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_foreach(lists[i], node)
        {
            struct pipe_session *session = list_entry(node, struct pipe_session, node);
            if (session->state != PIPE_PIPING)
                pipe_turn_away(session, REASON_TARGET_DOWN);
        }
}

/* While no target can be used, whoever waits has `down_timeout`. */
static void pipe_watch_targets(struct pipe_service *service)
{
    bool is_down = target_set_is_down(service->targets);
    if (is_down == service->is_down)
        return;
    service->down_since = service->runtime->turn.now;
    service->is_down = is_down;
    list_foreach(&service->waiting, node)
        pipe_session_watch_down(list_entry(node, struct pipe_session, node));
    list_foreach(&service->others, node) pipe_session_watch_down(list_entry(node, struct pipe_session, node));
    if (is_down && service->is_draining)
        pipe_give_up(service);
}

static void pipe_connect_ended(void *data, struct target *target, int descriptor, int64_t now)
{
    (void)now;
    struct pipe_session *session = data;
    struct pipe_service *service = session->service;
    session->attempt = NULL;
    if (descriptor != -1) {
        pipe_session_connected(session, target, descriptor);
        return;
    }
    if (session->overdue != REASON_NONE) {
        pipe_session_end(session, session->overdue);
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
    struct list_node *first;
    while ((first = list_first(&service->waiting)) != NULL) {
        struct pipe_session *session = list_entry(first, struct pipe_session, node);
        struct target *target =
            target_choose(service->targets, &session->address, service->runtime->turn.now);
        if (target == NULL)
            break;
        pipe_session_enter(session, PIPE_CONNECTING);
        session->tried = service->runtime->turn.now;
        session->attempt = target_connect(target, pipe_connect_ended, session);
        if (session->attempt == NULL)
            pipe_session_end(session, REASON_INTERNAL);
        else
            pipe_session_progress(session);
    }
    target_set_want(service->targets, !list_empty(&service->waiting));
    pipe_watch_targets(service);
    pipe_hold_queue(service);
}

static void pipe_targets_usable(void *owner, int64_t now)
{
    (void)now;
    pipe_serve_queue(owner);
}

static void pipe_queue_timed_out(struct timer *, struct timeout *timeout)
{
    pipe_turn_away(list_entry(timeout, struct pipe_session, queue_timeout), REASON_QUEUE_TIMEOUT);
}

/* Another attempt on a target that is down is no reason to wait on. */
static void pipe_down_timed_out(struct timer *, struct timeout *timeout)
{
    struct pipe_session *session = list_entry(timeout, struct pipe_session, down);
    if (session->attempt != NULL && session->attempt->target->state == TARGET_TRYING)
        pipe_session_end(session, REASON_TARGET_DOWN);
    else
        pipe_turn_away(session, REASON_TARGET_DOWN);
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

static void pipe_outlived(struct timer *, struct timeout *timeout)
{
    pipe_session_outlived(list_entry(timeout, struct pipe_session, trial));
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

static void pipe_accept(struct service *service, const struct service_client *client)
{
    struct pipe_service *pipe = pipe_of(service);
    struct pipe_session *session = pipe_session_create(pipe, pipe_rules_in_force(pipe), client);
    if (session == NULL) {
        struct service_summary summary = { .reason = REASON_INTERNAL };
        if (client->events != NULL)
            events_client_close(client->events, REASON_INTERNAL, 0, 0);
        close(client->descriptor);
        pipe->owner.ended(pipe->owner.owner, client->address, &summary);
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

/* Sessions end when their two ends do, and waiting clients are still served, but for those for whom there is no
 * target. */
static void pipe_drain(struct service *service)
{
    struct pipe_service *pipe = pipe_of(service);
    pipe->is_draining = true;
    pipe_watch_targets(pipe);
    if (pipe->is_down)
        pipe_give_up(pipe);
}

static void pipe_close(struct service *service, enum reason reason)
{
    struct pipe_service *pipe = pipe_of(service);
    struct list_node *node;
    /* The queue first, so that no connection that comes free goes to a client in it. */
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

/* All sessions but the waiting ones have a connection or an attempt. */
static size_t pipe_in_flight(const struct service *service)
{
    return pipe_sessions(service) - pipe_waiting(service);
}

static size_t pipe_targets(const struct service *service)
{
    return target_set_count_shown(list_entry(service, const struct pipe_service, service)->targets);
}

static void pipe_target(const struct service *service, size_t index, struct service_target *target)
{
    const struct pipe_service *pipe = list_entry(service, const struct pipe_service, service);
    target_describe(target_set_shown(pipe->targets, index), target);
}

static void pipe_destroy(struct service *service)
{
    struct pipe_service *pipe = pipe_of(service);
    pipe_close(service, REASON_DRAINED);
    list_foreach(&pipe->all_rules, node) pipe_rules_free(list_entry(node, struct pipe_rules, node));
    hangups_close(&pipe->hangups);
    target_set_destroy(pipe->targets);
    listener_settings_release(pipe->settings);
    free(pipe);
}

static struct pipe_rules *pipe_rules_create(struct pipe_service *service,
                                            const struct listener_settings *settings)
{
    struct ev_loop *loop = service->runtime->loop;
    struct pipe_rules *rules = calloc(1, sizeof *rules);
    if (rules == NULL)
        return NULL;
    timer_init(&rules->queue_timer, loop, settings->queue_timeout, pipe_queue_timed_out, service);
    timer_init(&rules->down_timer, loop, settings->down_timeout, pipe_down_timed_out, service);
    timer_init(&rules->inactivity_timer, loop, settings->inactivity_timeout, pipe_inactive, service);
    timer_init(&rules->half_close_timer, loop, settings->half_close_timeout, pipe_half_closed, service);
    timer_init(&rules->trial_timer, loop, PIPE_EARLY_END, pipe_outlived, service);
    return rules;
}

static bool pipe_prepare(struct service *service, struct listener_settings *settings,
                         const struct events_listener *events)
{
    struct pipe_service *pipe = pipe_of(service);
    const struct listener_settings *now = pipe->settings;
    bool same = now->queue_timeout == settings->queue_timeout &&
                now->down_timeout == settings->down_timeout &&
                now->inactivity_timeout == settings->inactivity_timeout &&
                now->half_close_timeout == settings->half_close_timeout;
    pipe->next_rules = same ? NULL : pipe_rules_create(pipe, settings);
    pipe->next_settings = settings;
    pipe->next_events = events;
    if ((same || pipe->next_rules != NULL) &&
        target_set_prepare(pipe->targets, listener_settings_targets(settings)))
        return true;
    pipe_rules_free(pipe->next_rules);
    return false;
}

static void pipe_rollback(struct service *service)
{
    struct pipe_service *pipe = pipe_of(service);
    target_set_rollback(pipe->targets);
    pipe_rules_free(pipe->next_rules);
}

static void pipe_commit(struct service *service)
{
    struct pipe_service *pipe = pipe_of(service);
    struct listener_settings *before = pipe->settings;
    pipe->settings = listener_settings_reference(pipe->next_settings);
    pipe->owner.events = pipe->next_events;
    target_set_commit(pipe->targets, turn_now(pipe->runtime->loop));
    listener_settings_release(before);
    if (pipe->next_rules != NULL) {
        list_append(&pipe->all_rules, &pipe->next_rules->node);
        if (pipe->is_held) {
            timer_hold(&pipe->next_rules->queue_timer, pipe->runtime->turn.now);
            timer_hold(&pipe->next_rules->down_timer, pipe->runtime->turn.now);
        }
    }
    pipe_reap_rules(pipe);
    pipe->queue_allowed = pipe->waiting_count > (size_t)pipe->settings->queue_limit
                              ? pipe->waiting_count
                              : (size_t)pipe->settings->queue_limit;
    pipe_serve_queue(pipe);
}

/* Proxy mode knows no protocol in which clients could be told to leave. */
static void pipe_leave(struct service *service)
{
    (void)service;
}

static void pipe_filter_list(struct list *list, service_filter *filter, void *data)
{
    list_foreach(list, node)
    {
        struct pipe_session *session = list_entry(node, struct pipe_session, node);
        if (filter(data, &session->address))
            pipe_session_end(session, REASON_BLOCKED);
    }
}

static void pipe_filter(struct service *service, service_filter *filter, void *data)
{
    struct pipe_service *pipe = pipe_of(service);
    pipe_filter_list(&pipe->waiting, filter, data);
    pipe_filter_list(&pipe->others, filter, data);
}

static const struct service_functions pipe_functions = {
    .descriptors_per_client = 2,
    .has_no_answers = true,
    .start = pipe_start,
    .accept = pipe_accept,
    .drain = pipe_drain,
    .prepare = pipe_prepare,
    .commit = pipe_commit,
    .rollback = pipe_rollback,
    .leave = pipe_leave,
    .filter = pipe_filter,
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
    static const struct target_hooks target_hooks = { .usable = pipe_targets_usable };
    struct pipe_service *pipe = calloc(1, sizeof *pipe);
    if (pipe == NULL)
        return NULL;
    pipe->runtime = runtime;
    splice_pipes_init(&pipe->splice_pipes, runtime);
    list_init(&pipe->all_rules);
    struct pipe_rules *rules = pipe_rules_create(pipe, settings);
    pipe->targets = target_set_create(runtime, listener_settings_targets(settings), &target_hooks, pipe);
    bool watches = hangups_init(&pipe->hangups, runtime->loop, pipe_session_hung_up, pipe);
    if (rules == NULL || pipe->targets == NULL || !watches) {
        hangups_close(&pipe->hangups);
        pipe_rules_free(rules);
        target_set_destroy(pipe->targets);
        free(pipe);
        return NULL;
    }
    list_append(&pipe->all_rules, &rules->node);
    pipe->service.functions = &pipe_functions;
    pipe->queue_allowed = (size_t)settings->queue_limit;
    pipe->settings = listener_settings_reference(settings);
    pipe->owner = *owner;
    list_init(&pipe->waiting);
    list_init(&pipe->others);
    return &pipe->service;
}
