/* Accepting: from the backlog of a socket to a client that is admitted, or refused. */
#include "listener/listener_parts.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Clients taken at one turn of the loop, so that a flood of them leaves time for those who are in. */
#define ACCEPT_BATCH 64

/* How long accepting rests when the kernel lacks what the account can't know of. */
#define ACCEPT_PAUSE_SECONDS 0.2

/* How long a socket that closes waits for the ends of handshakes that have begun: until so long nobody has come,
 * and at most so many times. Who begins one meanwhile has no answer, so it is short: enough for peers nearby. */
#define HANDSHAKE_SECONDS 0.002
#define HANDSHAKE_ROUNDS  8

/* What a failure of accept4() means for the next call. */
enum accept_outcome {
    ACCEPT_NEXT,
    ACCEPT_EMPTY,
    ACCEPT_LAST,  /* the backlog is empty now, and was not */
    ACCEPT_PAUSE, /* something is short */
    ACCEPT_BROKEN /* an error that was never heard of, or of the socket itself: it may come for ever */
};

/* ---- Watching ---- */

static void closing_end(struct closing_sockets *closing)
{
    char text[160];
    ev_timer_stop(closing->listener->runtime->loop, &closing->timer);
    for (size_t i = 0; i < closing->bound.count; i++)
        log_info(closing->listener->settings->name, "not listening on %s any more",
                 bind_print(&closing->bound.sockets[i], text, sizeof text));
    bind_close(&closing->bound);
    list_remove(&closing->node);
    free(closing);
}

static bool listener_is_paused(const struct listener *listener)
{
    return list_linked(&listener->waiter.node) || ev_is_active(&listener->pause);
}

void listener_resume(struct listener *listener)
{
    for (size_t i = 0; listener->is_ready && i < listener->bound.count; i++)
        ev_io_start(listener->runtime->loop, &listener->bound.sockets[i].watcher);
    list_foreach(&listener->closing, node)
    {
        struct closing_sockets *closing = list_entry(node, struct closing_sockets, node);
        listener_start_timer(listener, &closing->timer, HANDSHAKE_SECONDS);
    }
}

static void listener_unwatch(struct bound_sockets *bound, struct ev_loop *loop)
{
    for (size_t i = 0; i < bound->count; i++)
        ev_io_stop(loop, &bound->sockets[i].watcher);
}

static void listener_pause(struct listener *listener)
{
    listener_unwatch(&listener->bound, listener->runtime->loop);
    list_foreach(&listener->closing, node)
        ev_timer_stop(listener->runtime->loop, &list_entry(node, struct closing_sockets, node)->timer);
}

void listener_stop_accepting(struct listener *listener)
{
    listener_pause(listener);
    list_remove(&listener->waiter.node);
    ev_timer_stop(listener->runtime->loop, &listener->pause);
}

void listener_close_sockets(struct listener *listener)
{
    listener_stop_accepting(listener);
    admission_stop(listener);
    bind_close(&listener->bound);
    list_foreach(&listener->closing, node) closing_end(list_entry(node, struct closing_sockets, node));
}

static void listener_descriptors_back(struct descriptors_waiter *waiter)
{
    listener_resume(list_entry(waiter, struct listener, waiter));
}

static void listener_pause_ended(struct ev_loop *, ev_timer *watcher, int)
{
    listener_resume(watcher->data);
}

/* One line when it begins; the next one only after clients could be accepted freely again. */
static void listener_pause_for(struct listener *listener, const char *why)
{
    if (!listener->short_of_descriptors)
        log_error(listener->settings->name, "accepting pauses: %s", why);
    listener->short_of_descriptors = true;
    listener_pause(listener);
}

static void listener_rest(struct listener *listener, const char *why)
{
    listener_pause_for(listener, why);
    listener_start_timer(listener, &listener->pause, ACCEPT_PAUSE_SECONDS);
}

/* ---- Accepting ---- */

static bool listener_expects_header(const struct listener *listener, const struct address *sender)
{
    const struct listener_settings *settings = listener->settings;
    if (settings->proxies == NULL)
        return false;
    return sender->family == AF_UNIX ? settings->unix_peers_are_proxies
                                     : access_list_contains(settings->proxies, sender);
}

/* The errors of one client are those that accept(2) says are to be treated like EAGAIN. */
static enum accept_outcome listener_accept_failed(struct listener *listener, int error)
{
    static const int of_one_client[] = {
        ECONNABORTED, EHOSTDOWN,   EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH,
        ENONET,       ENOPROTOOPT, EOPNOTSUPP,   EPERM, EPROTO,   ETIMEDOUT,
    };
    if (error == EAGAIN)
        return ACCEPT_EMPTY;
    if (error == EINVAL) /* a unix socket that has stopped listening */
        return ACCEPT_BROKEN;
    for (size_t i = 0; i < sizeof of_one_client / sizeof of_one_client[0]; i++)
        if (error == of_one_client[i])
            return ACCEPT_NEXT;
    listener_rest(listener, strerror(error));
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ? ACCEPT_PAUSE
                                                                                     : ACCEPT_BROKEN;
}

/* Whether a connection of our own comes back; that is said once. */
static bool listener_is_loop(const struct listener *listener, const struct address *sender)
{
    const char *from;
    bool is_new;
    bool is_loop = own_sockets_is_loop(&listener->runtime->own_sockets, sender, listener->settings->name,
                                       &from, &is_new);
    if (is_loop && is_new)
        log_warning(listener->settings->name,
                    "a connection to a target of \"%s\" comes back here: it is refused, as each would cause "
                    "another one",
                    from);
    return is_loop;
}

static enum accept_outcome listener_accept_one(struct listener *listener, int descriptor)
{
    struct descriptors *descriptors = &listener->runtime->descriptors;
    size_t wanted = listener_descriptors_each(listener);
    if (!descriptors_reserve(descriptors, wanted)) {
        listener_pause_for(listener, "all file descriptors are in use");
        descriptors_wait(descriptors, &listener->waiter, wanted);
        return ACCEPT_PAUSE;
    }
    struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
    socklen_t length = sizeof address;
    int accepted = accept4(descriptor, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted == -1) {
        int error = errno;
        descriptors_return(descriptors, wanted);
        return listener_accept_failed(listener, error);
    }
    struct address sender;
    address_from_socket((const struct sockaddr *)&address, &sender);
    if (listener_is_loop(listener, &sender))
        admission_refuse(listener, accepted, &sender, REASON_BLOCKED);
    else if (listener_expects_header(listener, &sender))
        header_waits_add(listener, accepted, &sender);
    else
        admission_admit(listener, accepted, &sender, &sender, NULL);
    return ACCEPT_NEXT;
}

/* As many as one turn takes. */
static enum accept_outcome listener_accept_batch(struct listener *listener, int descriptor)
{
    enum accept_outcome outcome = ACCEPT_NEXT;
    int calls = 0;
    for (; outcome == ACCEPT_NEXT && calls < ACCEPT_BATCH; calls++)
        outcome = listener_accept_one(listener, descriptor);
    if (outcome != ACCEPT_EMPTY)
        return outcome;
    if (listener->short_of_descriptors)
        log_info(listener->settings->name, "accepting goes on");
    listener->short_of_descriptors = false;
    return calls > 1 ? ACCEPT_LAST : ACCEPT_EMPTY;
}

static void listener_ready(struct ev_loop *, ev_io *watcher, int events)
{
    struct listener *listener = watcher->data;
    if (events & EV_ERROR)
        listener_rest(listener, "the kernel can't watch the socket");
    else
        listener_accept_batch(listener, watcher->fd);
}

void listener_init_sockets(struct listener *listener)
{
    for (size_t i = 0; i < listener->bound.count; i++) {
        struct bound_socket *socket = &listener->bound.sockets[i];
        ev_io_init(&socket->watcher, listener_ready, socket->descriptor, EV_READ);
        socket->watcher.data = listener;
        own_sockets_listen(&listener->runtime->own_sockets, &socket->address);
    }
}

void listener_init_accepting(struct listener *listener)
{
    list_init(&listener->closing);
    listener->waiter.resume = listener_descriptors_back;
    ev_init(&listener->pause, listener_pause_ended);
    listener->pause.data = listener;
}

/* ---- Sockets that close ---- */

/* Accepts those who have come, and ends when nobody has: `has_come` says that somebody may have before. */
static void closing_accept(struct closing_sockets *closing, bool has_come)
{
    struct listener *listener = closing->listener;
    bool is_done = true; /* the backlogs are empty, or can't be emptied */
    for (size_t i = 0; i < closing->bound.count; i++) {
        enum accept_outcome outcome = listener_accept_batch(listener, closing->bound.sockets[i].descriptor);
        is_done = is_done && outcome != ACCEPT_NEXT && outcome != ACCEPT_PAUSE;
        has_come = has_come || outcome == ACCEPT_NEXT || outcome == ACCEPT_LAST;
    }
    if (is_done && (closing->rounds == 0 || !has_come)) {
        closing_end(closing);
        listener_check_emptied(listener);
        return;
    }
    closing->rounds -= is_done;
    if (!listener_is_paused(listener))
        listener_start_timer(listener, &closing->timer, is_done ? HANDSHAKE_SECONDS : 0.0);
}

static void closing_expired(struct ev_loop *, ev_timer *watcher, int)
{
    closing_accept(watcher->data, false);
}

void listener_hurry_closing(struct listener *listener)
{
    list_foreach(&listener->closing, node)
    {
        struct closing_sockets *closing = list_entry(node, struct closing_sockets, node);
        closing->rounds = 0;
        closing_accept(closing, false);
    }
}

void listener_close_gradually(struct listener *listener, struct bound_sockets *bound)
{
    struct closing_sockets *closing = listener->for_closing;
    listener->for_closing = NULL;
    listener_unwatch(bound, listener->runtime->loop);
    bind_forget_taken(bound);
    *closing = (struct closing_sockets){ .listener = listener, .bound = *bound };
    *bound = (struct bound_sockets){ 0 };
    list_append(&listener->closing, &closing->node);
    ev_init(&closing->timer, closing_expired);
    closing->timer.data = closing;
    for (size_t i = 0; i < closing->bound.count; i++) {
        const struct bound_socket *socket = &closing->bound.sockets[i];
        bind_stop_listening(socket);
        if (socket->path == NULL && socket->systemd_name == NULL)
            closing->rounds = HANDSHAKE_ROUNDS;
    }
    closing_accept(closing, true);
}
