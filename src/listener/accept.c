/* From a backlog to a client who is in, or refused. */
#include "listener/parts.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Clients taken at one turn of the loop, so that a flood of them leaves time for those who are in. */
#define ACCEPT_BATCH 64

/* How long accepting rests when the kernel lacks what the account can't know of. */
#define ACCEPT_PAUSE_SECONDS 0.2

/* How long a socket that closes waits for the ends of handshakes that have begun. The loop waits too, so it
 * is short: enough for peers nearby. */
#define HANDSHAKE_MILLISECONDS 2
#define HANDSHAKE_ROUNDS       8

size_t listener_descriptors_each(const struct listener *listener)
{
    return listener->current->service->functions->descriptors_per_client;
}

void listener_resume(struct listener *listener)
{
    struct ev_loop *loop = listener->runtime->loop;
    for (size_t i = 0; i < listener->bound.count; i++)
        ev_io_start(loop, &listener->watchers[i]);
    /* Those who waited may have left meanwhile, and an empty backlog does not call: it still has to be
     * closed. */
    if (listener->draining && listener->bound.count > 0)
        ev_feed_event(loop, &listener->watchers[0], EV_READ);
}

void listener_pause(struct listener *listener)
{
    for (size_t i = 0; i < listener->bound.count; i++)
        ev_io_stop(listener->runtime->loop, &listener->watchers[i]);
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
}

/* All backlogs of a draining listener have been emptied. */
static void listener_drained(struct listener *listener)
{
    listener_close_sockets(listener);
    if (listener_is_empty(listener))
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

/* `sender` is at the other end of the connection: the client, or a proxy that brings it. */
static void listener_admit(struct listener *listener, int descriptor, const struct address *sender,
                           const struct address *client)
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
            socket_keep_alive(descriptor, (int)((keep_alive->idle + 999) / 1000),
                              (int)((keep_alive->interval + 999) / 1000), (int)keep_alive->count);
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
    listener->current->service->functions->accept(listener->current->service, descriptor, client, events);
}

static void listener_greeted(void *owner, int descriptor, const struct address *sender,
                             const struct address *client, enum reason reason)
{
    struct listener *listener = owner;
    if (reason == REASON_NONE) {
        listener_admit(listener, descriptor, sender, client);
    } else if (reason == REASON_CLIENT_CLOSED || reason == REASON_CLIENT_RESET) {
        /* A look at the door, as load balancers take one every few seconds. */
        close(descriptor);
        listener_return_descriptors(listener);
    } else {
        listener_refuse(listener, descriptor, client, reason);
    }
    if (listener->draining && listener_is_empty(listener))
        listener->emptied(listener->owner);
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
        greetings_add(&listener->greetings, descriptor, &sender);
    else
        listener_admit(listener, descriptor, &sender, &sender);
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
    case EINVAL: /* a unix socket that has stopped listening */
        return ACCEPT_EMPTY;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        listener_rest(listener, strerror(error));
        return ACCEPT_PAUSE;
    default: /* the client's own misfortune, such as ECONNABORTED */
        return ACCEPT_NEXT;
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

enum accept_outcome listener_accept_batch(struct listener *listener, int descriptor, int limit)
{
    enum accept_outcome outcome = ACCEPT_NEXT;
    for (int i = 0; outcome == ACCEPT_NEXT && i < limit; i++)
        outcome = listener_accept_one(listener, descriptor);
    if (outcome == ACCEPT_EMPTY && listener->short_of_descriptors) {
        log_info(listener->settings->name, "accepting goes on");
        listener->short_of_descriptors = false;
    }
    return outcome;
}

bool listener_accept_last(struct listener *listener, const struct bound_socket *socket)
{
    struct pollfd watched = { .fd = socket->descriptor, .events = POLLIN };
    bool is_over =
        socket->path != NULL || socket->systemd_name != NULL; /* no handshakes, or not ours to end */
    bind_stop_listening(socket);
    for (int round = 0; round < HANDSHAKE_ROUNDS; round++) {
        if (listener_accept_batch(listener, socket->descriptor, INT32_MAX) == ACCEPT_PAUSE)
            return false;
        if (is_over || poll(&watched, 1, HANDSHAKE_MILLISECONDS) != 1)
            break;
    }
    return true;
}

void listener_accept_rest(struct listener *listener)
{
    for (size_t i = 0; i < listener->bound.count; i++)
        if (!listener_accept_last(listener, &listener->bound.sockets[i]))
            return; /* resumes when there are descriptors again */
    listener_drained(listener);
}

static void listener_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    struct listener *listener = watcher->data;
    if (events & EV_ERROR)
        listener_rest(listener, "the kernel can't watch the socket");
    else if (listener->draining)
        listener_accept_rest(listener);
    else
        listener_accept_batch(listener, watcher->fd, ACCEPT_BATCH);
}

void listener_watch_sockets(struct listener *listener, ev_io *watchers)
{
    free(listener->watchers);
    listener->watchers = watchers;
    for (size_t i = 0; i < listener->bound.count; i++) {
        ev_io_init(&watchers[i], listener_ready, listener->bound.sockets[i].descriptor, EV_READ);
        watchers[i].data = listener;
    }
}

void listener_init_accepting(struct listener *listener)
{
    listener->waiter.resume = listener_descriptors_back;
    admission_init(&listener->admission, listener->settings);
    refusals_init(&listener->refusals, listener->runtime->loop, listener->settings->name);
    greetings_init(&listener->greetings, listener->runtime, listener_greeted, listener);
    ev_init(&listener->pause, listener_pause_over);
    listener->pause.data = listener;
}
