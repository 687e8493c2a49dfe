/* One session, from its client's arrival to its end. */
#include "pipe/pipe_session.h"

#include "base/log.h"
#include "net/proxy_header.h"

#include <stdlib.h>
#include <sys/socket.h>

static int64_t session_now(const struct pipe_session *session)
{
    return session->service->runtime->turn.now;
}

static void session_log_end(const struct pipe_session *session, enum reason reason)
{
    if (!log_enabled(LOG_KIND_DEBUG))
        return;
    char client[ADDRESS_TEXT_SIZE];
    int64_t now = session_now(session);
    const struct target *target = session->connected_target;
    const char *failure = target_set_failure(session->service->targets);
    int64_t begun = target != NULL ? session->connected : now;
    log_debug(session->service->settings->name,
              "session %llu from %s to %s ended: %s, %llu bytes from client, %llu bytes from target, "
              "%lld ms until connected, %lld ms in all%s%s",
              (unsigned long long)session->number, address_print_client(&session->address, client),
              target != NULL ? target->settings->name : "no target", reason_name(reason),
              (unsigned long long)session->client.received, (unsigned long long)session->target.received,
              (long long)((begun - session->accepted) / 1000), (long long)((now - session->accepted) / 1000),
              target == NULL && failure != NULL ? ", last failure of a target: " : "",
              target == NULL && failure != NULL ? failure : "");
}

void pipe_session_watch_down(struct pipe_session *session)
{
    const struct pipe_service *service = session->service;
    int64_t since = session->accepted > service->down_since ? session->accepted : service->down_since;
    if (!service->is_down && session->overdue == REASON_TARGET_DOWN)
        session->overdue = REASON_NONE;
    if (!service->is_down || session->state == PIPE_PIPING)
        timeout_stop(&session->down);
    else
        timer_start(&session->rules->down_timer, &session->down, since);
}

void pipe_session_enter(struct pipe_session *session, enum pipe_state state)
{
    struct pipe_service *service = session->service;
    if (session->state == PIPE_WAITING && list_linked(&session->node))
        service->waiting_count--;
    list_remove(&session->node);
    session->state = state;
    if (state == PIPE_WAITING)
        service->waiting_count++;
    pipe_session_watch_down(session);
    list_append(state == PIPE_WAITING ? &service->waiting : &service->others, &session->node);
}

/* Notes once what the session shows of its target, where that is asked for: a byte that came from it shows that it
 * works, an end so soon that it does not. */
static void session_evaluate(struct pipe_session *session)
{
    const struct pipe_end *end = &session->target;
    struct target *target = session->connected_target;
    int64_t now = session_now(session);
    if (session->was_evaluated || target == NULL || (end->received == 0 && !end->read_ended))
        return;
    session->was_evaluated = true;
    timeout_stop(&session->trial);
    if (session->service->settings->fail_after < 0 || target_is_retired(target))
        return;
    uint64_t client = health_client(&session->address);
    if (end->received > 0) {
        health_worked(target, client, 0, now);
    } else if (!session->client.read_ended && !session->is_cancel &&
               now - session->connected < PIPE_EARLY_END * 1000) {
        const struct health_fault fault = {
            .reason = end->reset ? REASON_TARGET_RESET : REASON_TARGET_CLOSED,
            .text = "",
            .client = client,
        };
        health_failed(target, &fault, now);
    }
}

void pipe_session_outlived(struct pipe_session *session)
{
    struct target *target = session->connected_target;
    if (session->was_evaluated || session->client.read_ended || session->is_cancel ||
        target_is_retired(target) || session->service->settings->fail_after < 0)
        return;
    session->was_evaluated = true;
    health_worked(target, health_client(&session->address), 0, session_now(session));
}

void pipe_session_end(struct pipe_session *session, enum reason reason)
{
    struct pipe_service *service = session->service;
    session_log_end(session, reason);
    session_evaluate(session);
    if (session->state == PIPE_WAITING) {
        service->waiting_count--;
        target_set_note_usable(service->targets); /* perhaps nobody needs it any more */
    }
    list_remove(&session->node);
    timeout_stop(&session->queue_timeout);
    timeout_stop(&session->down);
    timeout_stop(&session->inactivity);
    timeout_stop(&session->half_close);
    timeout_stop(&session->trial);
    hangup_forget(&service->hangups, &session->hangup);
    /* A stream that is not whole ends with a reset, so that it does not look complete. */
    pipe_end_close(&session->client, reason == REASON_TARGET_RESET || pipe_end_has_pending(&session->client));
    pipe_end_close(&session->target, reason == REASON_CLIENT_RESET || pipe_end_has_pending(&session->target));
    struct service_summary summary = {
        .reason = reason,
        .bytes_from_client = session->client.received,
        .bytes_to_client = session->client.sent,
    };
    if (session->events != NULL)
        events_client_close(session->events, reason, session->client.received, session->target.received);
    struct address address = session->address;
    struct target_attempt *attempt = session->attempt;
    struct target *target = session->connected_target;
    session->rules->sessions--;
    free(session);
    service->session_count--;
    service->owner.ended(service->owner.owner, &address, &summary);
    if (attempt != NULL)
        target_cancel(attempt, turn_now(service->runtime->loop));
    if (target != NULL)
        target_release(target, false, turn_now(service->runtime->loop));
}

void pipe_session_requeue(struct pipe_session *session)
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

/* Why the session is over, or REASON_NONE if it is not. A reset ends both directions as soon as the bytes that
 * came before it are passed on; those of a client that waits are not. */
static enum reason session_end_reason(const struct pipe_session *session)
{
    const struct pipe_end *client = &session->client;
    const struct pipe_end *target = &session->target;
    if (target->reset && pipe_end_is_done(target))
        return REASON_TARGET_RESET;
    if (client->reset && (pipe_end_is_done(client) || !pipe_end_is_open(target)))
        return REASON_CLIENT_RESET;
    if (pipe_end_is_done(client) && pipe_end_is_done(target))
        return session->ended_first == client ? REASON_CLIENT_CLOSED : REASON_TARGET_CLOSED;
    return REASON_NONE;
}

/* A client is not read while the target takes nothing, so that the loop would not notice its reset. */
static void session_watch_hangup(struct pipe_session *session)
{
    const struct pipe_end *client = &session->client;
    struct hangups *hangups = &session->service->hangups;
    bool both_ended = client->read_ended && client->write_ended; /* a hang-up is no news then */
    if (session->state == PIPE_PIPING && !ev_is_active(&client->watcher) && !both_ended)
        hangup_watch(hangups, &session->hangup, client->watcher.fd, session_now(session));
    else
        hangup_forget(hangups, &session->hangup);
}

void pipe_session_hung_up(void *service, struct hangup *hangup)
{
    struct pipe_session *session = list_entry(hangup, struct pipe_session, hangup);
    (void)service;
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(session->client.watcher.fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0)
        pipe_session_end(session, REASON_CLIENT_RESET);
}

void pipe_session_progress(struct pipe_session *session)
{
    struct pipe_end *client = &session->client;
    struct pipe_end *target = &session->target;
    pipe_end_pass_on(client);
    pipe_end_pass_on(target);
    enum reason reason = session_end_reason(session);
    if (reason != REASON_NONE) {
        pipe_session_end(session, reason);
        return;
    }
    bool one_has_ended = client->read_ended || target->read_ended || client->reset || target->reset;
    if (one_has_ended && session->state == PIPE_PIPING && !list_linked(&session->half_close.node))
        timer_start(&session->rules->half_close_timer, &session->half_close, session_now(session));
    pipe_end_watch(client);
    pipe_end_watch(target);
    session_watch_hangup(session);
}

static void session_touch(struct pipe_session *session)
{
    struct pipe_rules *rules = session->rules;
    if (session->state != PIPE_PIPING)
        return;
    struct turn *turn = &session->service->runtime->turn;
    turn_step(turn);
    int64_t now = turn->now;
    timer_start(&rules->inactivity_timer, &session->inactivity, now);
    if (list_linked(&session->half_close.node))
        timer_start(&rules->half_close_timer, &session->half_close, now);
}

static void session_end_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    struct pipe_end *end = watcher->data;
    struct pipe_session *session = end->session;
    if (events & EV_ERROR) { /* the kernel can't watch it */
        pipe_session_end(session, REASON_INTERNAL);
        return;
    }
    session_touch(session);
    if (events & EV_WRITE)
        pipe_end_flush(end);
    bool is_short = (events & EV_READ) && !pipe_end_pump(end);
    session_evaluate(session);
    if (is_short)
        pipe_session_end(session, REASON_INTERNAL);
    else
        pipe_session_progress(session);
}

struct pipe_session *pipe_session_create(struct pipe_service *service, struct pipe_rules *rules,
                                         const struct service_client *client)
{
    struct pipe_session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->service = service;
    session->rules = rules;
    rules->sessions++;
    session->address = *client->address;
    session->destination.family = AF_UNSPEC;
    if (client->destination != NULL)
        session->destination = *client->destination;
    session->events = client->events;
    session->number =
        client->events != NULL ? events_client_number(client->events) : ++service->runtime->clients;
    session->accepted = session_now(session);
    pipe_end_init(&session->client, &session->target, session, session_end_ready);
    pipe_end_init(&session->target, &session->client, session, session_end_ready);
    pipe_end_open(&session->client, client->descriptor);
    service->session_count++;
    pipe_session_enter(session, PIPE_WAITING);
    timer_start(&session->rules->queue_timer, &session->queue_timeout, session->accepted);
    return session;
}

/* Puts a PROXY header in front, if the target wants one. False when memory is short. */
static bool session_put_proxy_header(struct pipe_session *session, const struct target *target)
{
    char header[PROXY_HEADER_WRITE_MAX];
    struct sockaddr_storage own = { .ss_family = AF_UNSPEC };
    socklen_t length = sizeof own;
    struct address destination = session->destination;
    int version = target->settings->send_proxy_protocol;
    if (version == 0)
        return true;
    if (destination.family == AF_UNSPEC &&
        getsockname(session->client.watcher.fd, (struct sockaddr *)&own, &length) == 0)
        address_from_socket((const struct sockaddr *)&own, &destination);
    return pipe_end_put_first(&session->target, header,
                              proxy_header_write(version, &session->address, &destination, header));
}

void pipe_session_connected(struct pipe_session *session, struct target *target, int descriptor)
{
    session->connected_target = target;
    session->connected = session_now(session);
    histogram_record(&session->service->owner.counters->wait, session->tried - session->accepted);
    timeout_stop(&session->queue_timeout);
    timer_start(&session->rules->inactivity_timer, &session->inactivity, session->connected);
    if (target->health.is_sick)
        timer_start(&session->rules->trial_timer, &session->trial, session->connected);
    if (session->events != NULL)
        events_client_connected(session->events, target->settings->name);
    pipe_end_open(&session->target, descriptor);
    pipe_session_enter(session, PIPE_PIPING);
    if (!session_put_proxy_header(session, target)) {
        pipe_session_end(session, REASON_INTERNAL);
        return;
    }
    pipe_end_flush(&session->target);
    pipe_session_progress(session);
}
