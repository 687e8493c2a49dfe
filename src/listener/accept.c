/* Accepting: from the backlog of a socket to a client that is admitted, or refused. */
#include "listener/listener_parts.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    ACCEPT_PAUSE, /* something is short */
    ACCEPT_BROKEN /* an error that was never heard of, or of the socket itself: it may come for ever */
};

size_t listener_descriptors_each(const struct listener *listener)
{
    return listener->current->service->functions->descriptors_per_client;
}

static void closing_watch(struct closing_sockets *closing)
{
    struct ev_loop *loop = closing->listener->runtime->loop;
    for (size_t i = 0; i < closing->bound.count; i++)
        ev_io_start(loop, &closing->watchers[i]);
    ev_timer_again(loop, &closing->timer);
}

static void closing_unwatch(struct closing_sockets *closing)
{
    struct ev_loop *loop = closing->listener->runtime->loop;
    for (size_t i = 0; i < closing->bound.count; i++)
        ev_io_stop(loop, &closing->watchers[i]);
    ev_timer_stop(loop, &closing->timer);
}

static void closing_end(struct closing_sockets *closing)
{
    char text[160];
    closing_unwatch(closing);
    for (size_t i = 0; i < closing->bound.count; i++)
        log_info(closing->listener->settings->name, "not listening on %s any more",
                 bind_print(&closing->bound.sockets[i], text, sizeof text));
    bind_close(&closing->bound);
    list_remove(&closing->node);
    free(closing->watchers);
    free(closing);
}

void listener_resume(struct listener *listener)
{
    struct ev_loop *loop = listener->runtime->loop;
    for (size_t i = 0; listener->is_ready && i < listener->bound.count; i++)
        ev_io_start(loop, &listener->watchers[i]);
    list_foreach(&listener->closing, node) closing_watch(list_entry(node, struct closing_sockets, node));
}

void listener_pause(struct listener *listener)
{
    for (size_t i = 0; i < listener->bound.count; i++)
        ev_io_stop(listener->runtime->loop, &listener->watchers[i]);
    list_foreach(&listener->closing, node) closing_unwatch(list_entry(node, struct closing_sockets, node));
}

static void listener_descriptors_back(struct descriptors_waiter *waiter)
{
    listener_resume(list_entry(waiter, struct listener, waiter));
}

static void listener_pause_over(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    listener_resume(watcher->data);
}

/* One line when it begins; the next one only after clients could be accepted freely again. */
static void listener_say_short(struct listener *listener, const char *why)
{
    if (!listener->short_of_descriptors)
        log_error(listener->settings->name, "accepting pauses: %s", why);
    listener->short_of_descriptors = true;
}

void listener_stop_accepting(struct listener *listener)
{
    listener_pause(listener);
    descriptors_forget(&listener->waiter);
    ev_timer_stop(listener->runtime->loop, &listener->pause);
    refusals_stop(&listener->refusals);
}

void listener_close_sockets(struct listener *listener)
{
    listener_stop_accepting(listener);
    bind_close(&listener->bound);
    list_foreach(&listener->closing, node) closing_end(list_entry(node, struct closing_sockets, node));
}

size_t listener_clients(const struct listener *listener)
{
    return listener->header_waits.count + (size_t)listener->admission.clients;
}

bool listener_is_empty(const struct listener *listener)
{
    return listener->bound.count == 0 && list_empty(&listener->closing) && listener_clients(listener) == 0;
}

void listener_check_emptied(struct listener *listener)
{
    if (listener->draining && listener_is_empty(listener))
        listener->emptied(listener->owner);
}

/* Gives back what was reserved for a client. */
static void listener_return_descriptors(struct listener *listener)
{
    descriptors_return(&listener->runtime->descriptors, listener_descriptors_each(listener));
}

static void listener_refuse(struct listener *listener, int descriptor, const struct address *client,
                            enum reason reason)
{
    close(descriptor);
    listener->counters.refused++;
    listener->counters.ends[reason]++;
    refusals_note(&listener->refusals, client, reason);
    if (reason == REASON_INTERNAL)
        shortage_note(&listener->runtime->shortage, listener->settings->name);
    listener_return_descriptors(listener);
}

/* `sender` is at the other end of the connection: the client, or a proxy that brings it to `destination`. */
static void listener_admit(struct listener *listener, int descriptor, const struct address *sender,
                           const struct address *client, const struct address *destination)
{
    const struct keep_alive_settings *keep_alive = &listener->settings->client_keep_alive;
    enum reason reason = admission_enter(&listener->admission, client);
    if (reason != REASON_NONE) {
        listener_refuse(listener, descriptor, client, reason);
        return;
    }
    if (sender->family != AF_UNIX) {
        socket_no_delay(descriptor);
        if (keep_alive->enabled)
            socket_keep_alive(descriptor, keep_alive->idle, keep_alive->interval, keep_alive->count);
    }
    struct events_client *events = NULL;
    if (listener->events != NULL) {
        events = events_client_open(listener->events, &listener->runtime->turn, ++listener->runtime->clients,
                                    client, &reason);
        if (events == NULL) {
            admission_leave(&listener->admission, client);
            listener_refuse(listener, descriptor, client, reason);
            return;
        }
    }
    listener->counters.accepted++;
    listener->current->service->functions->accept(
        listener->current->service, &(struct service_client){ descriptor, client, destination, events });
}

static void listener_header_ended(void *owner, int descriptor, const struct address *sender,
                                  const struct address *client, const struct address *destination,
                                  enum reason reason)
{
    struct listener *listener = owner;
    if (reason == REASON_NONE) {
        listener_admit(listener, descriptor, sender, client, destination);
    } else if (reason == REASON_CLIENT_CLOSED || reason == REASON_CLIENT_RESET) {
        /* A health check: load balancers connect every few seconds and send nothing. */
        close(descriptor);
        listener_return_descriptors(listener);
    } else {
        listener_refuse(listener, descriptor, client, reason);
    }
    listener_check_emptied(listener);
}

static bool listener_expects_header(const struct listener *listener, const struct address *sender)
{
    const struct listener_settings *settings = listener->settings;
    if (settings->proxies == NULL)
        return false;
    return sender->family == AF_UNIX ? settings->unix_peers_are_proxies
                                     : access_list_contains(settings->proxies, sender);
}

static void listener_welcome(struct listener *listener, int descriptor, const struct sockaddr *socket_address)
{
    struct address sender;
    address_from_socket(socket_address, &sender);
    if (listener_expects_header(listener, &sender))
        header_waits_add(&listener->header_waits, descriptor, &sender);
    else
        listener_admit(listener, descriptor, &sender, &sender, NULL);
}

static void listener_rest(struct listener *listener, const char *why)
{
    listener_say_short(listener, why);
    listener_pause(listener);
    ev_timer_set(&listener->pause, ACCEPT_PAUSE_SECONDS, 0.0);
    ev_timer_start(listener->runtime->loop, &listener->pause);
}

static enum accept_outcome listener_accept_failed(struct listener *listener, int error)
{
    switch (error) {
    case EAGAIN:
        return ACCEPT_EMPTY;
    case EINVAL: /* a unix socket that has stopped listening */
        return ACCEPT_BROKEN;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        listener_rest(listener, strerror(error));
        return ACCEPT_PAUSE;
    case ECONNABORTED: /* from here on the client's own misfortune, see accept(2) */
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EINTR:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPERM:
    case EPROTO:
    case ETIMEDOUT:
        return ACCEPT_NEXT;
    default:
        listener_rest(listener, strerror(error));
        return ACCEPT_BROKEN;
    }
}

static enum accept_outcome listener_accept_one(struct listener *listener, int descriptor)
{
    struct descriptors *descriptors = &listener->runtime->descriptors;
    size_t wanted = listener_descriptors_each(listener);
    if (!descriptors_reserve(descriptors, wanted)) {
        listener_say_short(listener, "all file descriptors are in use");
        listener_pause(listener);
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
    listener_welcome(listener, accepted, (const struct sockaddr *)&address);
    return ACCEPT_NEXT;
}

/* As many as one turn takes. */
static enum accept_outcome listener_accept_batch(struct listener *listener, int descriptor)
{
    enum accept_outcome outcome = ACCEPT_NEXT;
    for (int i = 0; outcome == ACCEPT_NEXT && i < ACCEPT_BATCH; i++)
        outcome = listener_accept_one(listener, descriptor);
    if (outcome == ACCEPT_EMPTY && listener->short_of_descriptors) {
        log_info(listener->settings->name, "accepting goes on");
        listener->short_of_descriptors = false;
    }
    return outcome;
}

/* Returns whether the backlogs are empty, or can't be emptied. */
static bool closing_accept(const struct closing_sockets *closing)
{
    bool is_over = true;
    for (size_t i = 0; i < closing->bound.count; i++) {
        enum accept_outcome outcome =
            listener_accept_batch(closing->listener, closing->bound.sockets[i].descriptor);
        is_over = is_over && (outcome == ACCEPT_EMPTY || outcome == ACCEPT_BROKEN);
    }
    return is_over;
}

static void closing_expired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct closing_sockets *closing = watcher->data;
    struct listener *listener = closing->listener;
    bool goes_on = closing->has_accepted && ++closing->rounds < HANDSHAKE_ROUNDS;
    closing->has_accepted = false;
    if (!closing_accept(closing) || goes_on)
        return; /* the timer comes again, after a pause if there is one now */
    closing_end(closing);
    listener_check_emptied(listener);
}

static void closing_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct closing_sockets *closing = watcher->data;
    enum accept_outcome outcome =
        events & EV_ERROR ? ACCEPT_BROKEN : listener_accept_batch(closing->listener, watcher->fd);
    closing->has_accepted = closing->has_accepted || outcome != ACCEPT_BROKEN;
    /* The timer looks on: one that is shut down, or that the kernel can't watch, would be ready for ever. */
    if (outcome == ACCEPT_BROKEN || outcome == ACCEPT_EMPTY)
        ev_io_stop(loop, watcher);
}

void listener_hurry_closing(struct listener *listener)
{
    list_foreach(&listener->closing, node)
    {
        struct closing_sockets *closing = list_entry(node, struct closing_sockets, node);
        closing->rounds = HANDSHAKE_ROUNDS;
        closing_expired(listener->runtime->loop, &closing->timer, 0);
    }
}

void listener_close_gradually(struct listener *listener, struct closing_sockets *closing,
                              struct bound_sockets *bound, ev_io *watchers)
{
    bool has_handshakes = false;
    *closing = (struct closing_sockets){ .listener = listener, .bound = *bound, .watchers = watchers };
    *bound = (struct bound_sockets){ 0 };
    list_append(&listener->closing, &closing->node);
    ev_timer_init(&closing->timer, closing_expired, 0.0, HANDSHAKE_SECONDS);
    closing->timer.data = closing;
    for (size_t i = 0; i < closing->bound.count; i++) {
        const struct bound_socket *socket = &closing->bound.sockets[i];
        bind_stop_listening(socket);
        has_handshakes = has_handshakes || (socket->path == NULL && socket->systemd_name == NULL);
        ev_io_init(&watchers[i], closing_ready, socket->descriptor, EV_READ);
        watchers[i].data = closing;
    }
    bool is_over = closing_accept(closing);
    if (is_over && !has_handshakes)
        closing_end(closing);
    else if (!list_linked(&listener->waiter.node) && !ev_is_active(&listener->pause))
        closing_watch(closing);
}

void listener_close_all_gradually(struct listener *listener)
{
    ev_io *watchers = listener->watchers;
    for (size_t i = 0; i < listener->bound.count; i++)
        ev_io_stop(listener->runtime->loop, &watchers[i]);
    listener->watchers = NULL;
    listener_close_gradually(listener, listener->for_closing, &listener->bound, watchers);
    listener->for_closing = NULL;
}

static void listener_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    struct listener *listener = watcher->data;
    if (events & EV_ERROR)
        listener_rest(listener, "the kernel can't watch the socket");
    else
        listener_accept_batch(listener, watcher->fd);
}

void listener_watch_sockets(struct listener *listener, ev_io *watchers)
{
    listener->watchers = watchers;
    for (size_t i = 0; i < listener->bound.count; i++) {
        ev_io_init(&watchers[i], listener_ready, listener->bound.sockets[i].descriptor, EV_READ);
        watchers[i].data = listener;
    }
}

void listener_init_accepting(struct listener *listener)
{
    list_init(&listener->closing);
    listener->waiter.resume = listener_descriptors_back;
    admission_init(&listener->admission, listener->settings);
    refusals_init(&listener->refusals, listener->runtime->loop, listener->settings->name);
    header_waits_init(&listener->header_waits, listener->runtime, listener_header_ended, listener);
    ev_init(&listener->pause, listener_pause_over);
    listener->pause.data = listener;
}
