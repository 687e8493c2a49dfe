#include "listener/listener.h"

#include "base/log.h"
#include "listener/admission.h"
#include "listener/greeting.h"
#include "listener/refusals.h"
#include "pipe/pipe.h"
#include "stream/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Clients taken at one turn of the loop, so that a flood of them leaves time for those who are in. */
#define ACCEPT_BATCH 64

/* How long accepting rests when the kernel lacks what the account can't know of. */
#define ACCEPT_PAUSE_SECONDS 0.2

/* Owned by the server. */
struct listener {
    struct runtime *runtime;
    struct listener_settings *settings;
    struct bound_sockets bound;
    ev_io *watchers; /* one a socket */
    struct admission admission;
    struct refusals refusals;
    struct greetings greetings;
    struct service *service;
    struct descriptors_waiter waiter;
    ev_timer pause;
    bool short_of_descriptors; /* said in the log */
    bool started;              /* clients are accepted */
    bool draining;
    struct counters counters;
    listener_emptied *emptied;
    void *owner;
};

static void listener_resume(struct listener *listener)
{
    struct ev_loop *loop = listener->runtime->loop;
    for (size_t i = 0; i < listener->bound.count; i++)
        ev_io_start(loop, &listener->watchers[i]);
    /* Those who waited may have left meanwhile, and an empty backlog does not call: it still has to be
     * closed. */
    if (listener->draining && listener->bound.count > 0)
        ev_feed_event(loop, &listener->watchers[0], EV_READ);
}

static void listener_pause(struct listener *listener)
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

static void listener_stop_accepting(struct listener *listener)
{
    listener_pause(listener);
    descriptors_forget(&listener->waiter);
    ev_timer_stop(listener->runtime->loop, &listener->pause);
    refusals_stop(&listener->refusals);
}

static void listener_close_sockets(struct listener *listener)
{
    listener_stop_accepting(listener);
    bind_close(&listener->bound);
}

/* Gives back what was reserved for a client. */
static void listener_return_descriptors(struct listener *listener)
{
    descriptors_return(&listener->runtime->descriptors, listener->service->functions->descriptors_per_client);
}

/* All backlogs of a draining listener have been emptied. */
static void listener_drained(struct listener *listener)
{
    listener_close_sockets(listener);
    if (listener_is_empty(listener))
        listener->emptied(listener->owner);
}

static void listener_client_ended(void *owner, const struct address *client,
                                  const struct service_summary *summary)
{
    struct listener *listener = owner;
    struct counters *counters = &listener->counters;
    counters->ends[summary->reason]++;
    admission_leave(&listener->admission, client);
    listener_return_descriptors(listener);
    if (listener->draining && listener_is_empty(listener))
        listener->emptied(listener->owner);
}

static void listener_refuse(struct listener *listener, int descriptor, const struct address *client,
                            enum reason reason)
{
    close(descriptor);
    listener->counters.refused++;
    listener->counters.ends[reason]++;
    refusals_note(&listener->refusals, client, reason);
    listener_return_descriptors(listener);
}

/* `sender` is at the other end of the connection: the client, or a proxy that brings it. */
static void listener_admit(struct listener *listener, int descriptor, const struct address *sender,
                           const struct address *client)
{
    const struct keep_alive_settings *keep_alive = &listener->settings->client_keep_alive;
    enum reason reason = admission_enter(&listener->admission, client);
    if (reason != REASON_COUNT) {
        listener_refuse(listener, descriptor, client, reason);
        return;
    }
    if (sender->family != AF_UNIX) {
        socket_no_delay(descriptor);
        if (keep_alive->enabled)
            socket_keep_alive(descriptor, (int)((keep_alive->idle + 999) / 1000),
                              (int)((keep_alive->interval + 999) / 1000), (int)keep_alive->count);
    }
    listener->counters.accepted++;
    listener->service->functions->accept(listener->service, descriptor, client);
}

/* A connection of a trusted proxy has told whom it brings, or has failed to. */
static void listener_greeted(void *owner, int descriptor, const struct address *sender,
                             const struct address *client, enum reason reason)
{
    struct listener *listener = owner;
    if (reason == REASON_COUNT) {
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

/* What accept4() failing means for the next one. */
enum accept_outcome { ACCEPT_NEXT, ACCEPT_EMPTY, ACCEPT_PAUSE };

static enum accept_outcome listener_accept_failed(struct listener *listener, int error)
{
    switch (error) {
    case EAGAIN:
        return ACCEPT_EMPTY;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        listener_say_short(listener, strerror(error));
        listener_pause(listener);
        ev_timer_set(&listener->pause, ACCEPT_PAUSE_SECONDS, 0.0);
        ev_timer_start(listener->runtime->loop, &listener->pause);
        return ACCEPT_PAUSE;
    default: /* the client's own misfortune, such as ECONNABORTED */
        return ACCEPT_NEXT;
    }
}

static enum accept_outcome listener_accept_one(struct listener *listener, int descriptor)
{
    struct descriptors *descriptors = &listener->runtime->descriptors;
    size_t wanted = listener->service->functions->descriptors_per_client;
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

static enum accept_outcome listener_accept_batch(struct listener *listener, int descriptor, int limit)
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

/* Accepts from all sockets until their backlogs are empty; closes them then, unless something was short. */
static void listener_accept_rest(struct listener *listener)
{
    for (size_t i = 0; i < listener->bound.count; i++) {
        int descriptor = listener->bound.sockets[i].descriptor;
        if (listener_accept_batch(listener, descriptor, INT32_MAX) == ACCEPT_PAUSE)
            return; /* resumes when there are descriptors again */
    }
    listener_drained(listener);
}

static void listener_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    struct listener *listener = watcher->data;
    if (listener->draining)
        listener_accept_rest(listener);
    else
        listener_accept_batch(listener, watcher->fd, ACCEPT_BATCH);
}

static void listener_service_ready(void *owner)
{
    struct listener *listener = owner;
    listener->started = true;
    listener_resume(listener);
}

/* What serves clients in each mode. */
static struct service *service_by_mode(void *data, struct runtime *runtime,
                                       struct listener_settings *settings, const struct service_owner *owner)
{
    static struct service *(*const create[])(struct runtime *, struct listener_settings *,
                                             const struct service_owner *) = {
        [MODE_PROXY] = pipe_service_create,
        [MODE_FIFO] = stream_service_create,
        [MODE_FUNNEL] = stream_service_create,
    };
    (void)data;
    return create[settings->mode](runtime, settings, owner);
}

struct listener *listener_create(struct runtime *runtime, struct listener_settings *settings,
                                 struct bound_sockets *bound, listener_emptied *emptied, void *owner)
{
    return listener_create_with(runtime, settings, bound, emptied, owner, service_by_mode, NULL);
}

struct listener *listener_create_with(struct runtime *runtime, struct listener_settings *settings,
                                      struct bound_sockets *bound, listener_emptied *emptied, void *owner,
                                      listener_make_service *make, void *data)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL) {
        bind_close(bound);
        return NULL;
    }
    listener->runtime = runtime;
    listener->settings = listener_settings_reference(settings);
    listener->bound = *bound;
    memset(bound, 0, sizeof *bound);
    listener->emptied = emptied;
    listener->owner = owner;
    listener->waiter.resume = listener_descriptors_back;
    admission_init(&listener->admission, settings);
    refusals_init(&listener->refusals, runtime->loop, settings->name);
    greetings_init(&listener->greetings, runtime, listener_greeted, listener);
    ev_init(&listener->pause, listener_pause_over);
    listener->pause.data = listener;
    listener->watchers = calloc(listener->bound.count, sizeof *listener->watchers);
    const struct service_owner service_owner = {
        .owner = listener,
        .ready = listener_service_ready,
        .ended = listener_client_ended,
        .counters = &listener->counters,
    };
    listener->service = make(data, runtime, settings, &service_owner);
    if (listener->watchers == NULL || listener->service == NULL) {
        int error = errno;
        bind_close(&listener->bound);
        listener_destroy(listener);
        errno = error;
        return NULL;
    }
    for (size_t i = 0; i < listener->bound.count; i++) {
        ev_io_init(&listener->watchers[i], listener_ready, listener->bound.sockets[i].descriptor, EV_READ);
        listener->watchers[i].data = listener;
    }
    return listener;
}

void listener_destroy(struct listener *listener)
{
    if (listener == NULL)
        return;
    listener->draining = false; /* nobody is to be told */
    greetings_close(&listener->greetings, REASON_DRAINED);
    listener_close_sockets(listener);
    if (listener->service != NULL)
        listener->service->functions->destroy(listener->service);
    free(listener->watchers);
    listener_settings_release(listener->settings);
    free(listener);
}

void listener_start(struct listener *listener)
{
    char text[160];
    if (listener->settings->mode_was_auto)
        log_info(listener->settings->name, "mode \"auto\" means \"%s\" here",
                 settings_mode_name(listener->settings->mode));
    for (size_t i = 0; i < listener->bound.count; i++)
        log_info(listener->settings->name, "listening on %s",
                 bind_print(&listener->bound.sockets[i], text, sizeof text));
    bind_adopt(&listener->bound);
    listener->service->functions->start(listener->service);
}

void listener_drain(struct listener *listener)
{
    if (listener->draining)
        return;
    listener->draining = true;
    listener->service->functions->drain(listener->service);
    listener_accept_rest(listener);
}

void listener_hand_over(struct listener *listener)
{
    if (listener->draining)
        return;
    listener->draining = true;
    listener_stop_accepting(listener);
    bind_leave(&listener->bound);
    listener->service->functions->drain(listener->service);
    if (listener_is_empty(listener))
        listener->emptied(listener->owner);
}

void listener_close(struct listener *listener, enum reason reason)
{
    listener->draining = true;
    listener_close_sockets(listener);
    if (listener_is_empty(listener)) {
        listener->emptied(listener->owner);
        return;
    }
    greetings_close(&listener->greetings, reason);
    listener->service->functions->close(listener->service, reason);
}

bool listener_is_empty(const struct listener *listener)
{
    return listener->bound.count == 0 && listener_clients(listener) == 0;
}

size_t listener_descriptors(const struct listener_settings *settings)
{
    if (settings->max_connections < 0)
        return 0;
    size_t clients = (size_t)settings->max_connections;
    return settings->mode == MODE_PROXY ? 2 * clients : clients + stream_descriptors(settings);
}

/* A target that is up, or was not tried yet, and that may be given work. */
static bool listener_has_usable_target(const struct listener *listener)
{
    for (size_t i = 0; i < listener_targets(listener); i++) {
        struct service_target target;
        listener_target(listener, i, &target);
        if (target.gauges.usable && target.weight > 0)
            return true;
    }
    return false;
}

void listener_measure(const struct listener *listener, struct listener_gauges *gauges)
{
    struct service *service = listener->service;
    *gauges = (struct listener_gauges){
        .clients = service->functions->clients(service),
        .waiting = service->functions->waiting(service),
        .in_flight = service->functions->in_flight(service),
        .ready = listener->started && !listener->draining && listener_has_usable_target(listener),
    };
}

const char *listener_state(const struct listener *listener)
{
    if (listener->draining)
        return "draining";
    if (!listener->started)
        return "starting";
    return listener->short_of_descriptors ? "short of descriptors" : "accepting";
}

const struct bound_sockets *listener_get_sockets(const struct listener *listener)
{
    return &listener->bound;
}

size_t listener_targets(const struct listener *listener)
{
    return listener->service->functions->targets(listener->service);
}

void listener_target(const struct listener *listener, size_t index, struct service_target *target)
{
    listener->service->functions->target(listener->service, index, target);
}

const struct listener_settings *listener_get_settings(const struct listener *listener)
{
    return listener->settings;
}

const struct counters *listener_get_counters(const struct listener *listener)
{
    return &listener->counters;
}

size_t listener_clients(const struct listener *listener)
{
    return listener->service->functions->clients(listener->service) + listener->greetings.count;
}
