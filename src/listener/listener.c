#include "listener/listener.h"

#include "base/log.h"
#include "listener/admission.h"
#include "listener/greeting.h"
#include "listener/refusals.h"
#include "pipe/pipe.h"
#include "stream/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Clients taken at one turn of the loop, so that a flood of them leaves time for those who are in. */
#define ACCEPT_BATCH 64

/* How long a socket that closes waits for the ends of handshakes that have begun. The loop waits too, so it
 * is short: enough for peers nearby. */
#define HANDSHAKE_MILLISECONDS 2
#define HANDSHAKE_ROUNDS       8

/* How long accepting rests when the kernel lacks what the account can't know of. */
#define ACCEPT_PAUSE_SECONDS 0.2

/* What serves clients, since the start or since a reload that changed mode or protocol. The clients of an
 * earlier one stay there until they end. Owned by the listener. */
struct generation {
    struct list_node node;
    struct listener *listener;
    struct service *service;
    ev_timer expiry; /* until the clients of an earlier one are to go */
};

/* What listener_commit() will need. */
struct listener_next {
    struct listener_settings *settings;
    struct events_listener *events; /* NULL: nobody wants to know */
    ev_io *watchers;
    struct generation *generation; /* NULL: the present one goes on */
    size_t descriptors;            /* reserved for clients who greet, who will need more than now */
};

/* Owned by the server. */
struct listener {
    struct runtime *runtime;
    struct listener_settings *settings;
    struct bound_sockets bound;
    ev_io *watchers; /* one a socket */
    struct admission admission;
    struct refusals refusals;
    struct greetings greetings;
    struct generation *current;
    struct list earlier; /* generations that drain */
    ev_timer sweep;      /* frees those that have become empty */
    ev_timer expiry;     /* of a listener that goes */
    bool is_ready;       /* the service is prepared for clients */
    struct listener_next next;
    struct events_listener *events; /* NULL: nobody wants to know */
    struct descriptors_waiter waiter;
    ev_timer pause;
    bool short_of_descriptors; /* said in the log */
    bool draining;
    struct counters counters;
    listener_make_service *make; /* what serves the clients */
    void *make_data;
    listener_emptied *emptied;
    void *owner;
};

static size_t generation_clients(const struct generation *generation)
{
    return generation->service->functions->clients(generation->service);
}

/* How many descriptors each client needs that is accepted now. */
static size_t listener_descriptors_each(const struct listener *listener)
{
    return listener->current->service->functions->descriptors_per_client;
}

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
    descriptors_return(&listener->runtime->descriptors, listener_descriptors_each(listener));
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
    struct generation *generation = owner;
    struct listener *listener = generation->listener;
    struct counters *counters = &listener->counters;
    counters->ends[summary->reason]++;
    admission_leave(&listener->admission, client);
    descriptors_return(&listener->runtime->descriptors,
                       generation->service->functions->descriptors_per_client);
    if (generation != listener->current && generation_clients(generation) == 0)
        ev_timer_start(listener->runtime->loop, &listener->sweep);
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
    struct events_client *events = NULL;
    if (listener->events != NULL) {
        events = events_client_open(listener->events, ++listener->runtime->clients, client, &reason);
        if (events == NULL) {
            admission_leave(&listener->admission, client);
            listener_refuse(listener, descriptor, client, reason);
            return;
        }
    }
    listener->counters.accepted++;
    listener->current->service->functions->accept(listener->current->service, descriptor, client, events);
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
    struct generation *generation = owner;
    struct listener *listener = generation->listener;
    if (generation != listener->current)
        return;
    listener->is_ready = true;
    listener_resume(listener);
}

/* ---- Generations ---- */

static void generation_destroy(struct generation *generation)
{
    if (generation == NULL)
        return;
    ev_timer_stop(generation->listener->runtime->loop, &generation->expiry);
    list_remove(&generation->node);
    if (generation->service != NULL)
        generation->service->functions->destroy(generation->service);
    free(generation);
}

/* Its clients were served as before for long enough: what they have asked for is still answered. */
static void generation_expired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct generation *generation = watcher->data;
    log_info(generation->listener->settings->name,
             "shutdown_timeout has passed: %zu clients of before the change of mode or protocol are to go",
             generation_clients(generation));
    generation->service->functions->drain(generation->service);
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

/* NULL with errno. */
static struct generation *generation_create(struct listener *listener, struct listener_settings *settings,
                                            const struct events_listener *events)
{
    struct generation *generation = calloc(1, sizeof *generation);
    if (generation == NULL)
        return NULL;
    struct service_owner owner = {
        .owner = generation,
        .ready = listener_service_ready,
        .ended = listener_client_ended,
        .counters = &listener->counters,
        .events = events,
    };
    generation->listener = listener;
    ev_init(&generation->expiry, generation_expired);
    generation->expiry.data = generation;
    generation->service = listener->make(listener->make_data, listener->runtime, settings, &owner);
    if (generation->service != NULL)
        return generation;
    int error = errno;
    generation_destroy(generation);
    errno = error;
    return NULL;
}

static void generation_start(struct generation *generation)
{
    generation->service->functions->start(generation->service);
}

/* Another one takes its place; its clients stay. */
static void generation_leave(struct generation *generation, int64_t shutdown_timeout)
{
    struct ev_loop *loop = generation->listener->runtime->loop;
    list_append(&generation->listener->earlier, &generation->node);
    generation->service->functions->leave(generation->service);
    ev_timer_start(loop, &generation->listener->sweep);
    if (shutdown_timeout < 0)
        return;
    ev_timer_set(&generation->expiry, (double)shutdown_timeout / 1e3, 0.0);
    ev_timer_start(loop, &generation->expiry);
}

static void listener_swept(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct listener *listener = watcher->data;
    list_foreach(&listener->earlier, node)
    {
        struct generation *generation = list_entry(node, struct generation, node);
        if (generation_clients(generation) == 0)
            generation_destroy(generation);
    }
}

static void listener_expired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct listener *listener = watcher->data;
    log_info(listener->settings->name, "shutdown_timeout has passed: closing %zu clients",
             listener_clients(listener));
    listener_close(listener, REASON_DRAINED);
}

/* ---- The interface ---- */

static void listener_watch_sockets(struct listener *listener, ev_io *watchers)
{
    free(listener->watchers);
    listener->watchers = watchers;
    for (size_t i = 0; i < listener->bound.count; i++) {
        ev_io_init(&watchers[i], listener_ready, listener->bound.sockets[i].descriptor, EV_READ);
        watchers[i].data = listener;
    }
}

struct listener *listener_create(struct runtime *runtime, struct listener_settings *settings,
                                 struct events *events, struct bound_sockets *bound,
                                 listener_emptied *emptied, void *owner)
{
    return listener_create_with(runtime, settings, events, bound, emptied, owner, service_by_mode, NULL);
}

struct listener *listener_create_with(struct runtime *runtime, struct listener_settings *settings,
                                      struct events *events, struct bound_sockets *bound,
                                      listener_emptied *emptied, void *owner, listener_make_service *make,
                                      void *data)
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
    listener->make = make;
    listener->make_data = data;
    list_init(&listener->earlier);
    ev_timer_init(&listener->sweep, listener_swept, 0.0, 0.0);
    listener->sweep.data = listener;
    ev_init(&listener->expiry, listener_expired);
    listener->expiry.data = listener;
    ev_io *watchers = calloc(listener->bound.count, sizeof *watchers);
    bool has_events = events == NULL || events_listener_create(events, settings, &listener->events);
    if (watchers != NULL && has_events)
        listener->current = generation_create(listener, settings, listener->events);
    if (listener->current == NULL) {
        int error = errno;
        free(watchers);
        bind_close(&listener->bound);
        listener_destroy(listener);
        errno = error;
        return NULL;
    }
    listener_watch_sockets(listener, watchers);
    return listener;
}

void listener_destroy(struct listener *listener)
{
    if (listener == NULL)
        return;
    listener->draining = false; /* nobody is to be told */
    greetings_close(&listener->greetings, REASON_DRAINED);
    listener_close_sockets(listener);
    list_foreach(&listener->earlier, node) generation_destroy(list_entry(node, struct generation, node));
    generation_destroy(listener->current);
    ev_timer_stop(listener->runtime->loop, &listener->sweep);
    ev_timer_stop(listener->runtime->loop, &listener->expiry);
    events_listener_release(listener->events);
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
    generation_start(listener->current);
}

static void listener_drain_clients(struct listener *listener)
{
    listener->current->service->functions->drain(listener->current->service);
    list_foreach(&listener->earlier, node)
    {
        struct service *service = list_entry(node, struct generation, node)->service;
        service->functions->drain(service);
    }
}

void listener_drain(struct listener *listener)
{
    bool goes_already = listener->draining;
    listener->draining = true;
    listener_drain_clients(listener);
    if (!goes_already)
        listener_accept_rest(listener);
}

/* Leaves out the sockets that others have taken over. */
static void listener_forget_taken(struct listener *listener)
{
    struct bound_sockets *bound = &listener->bound;
    size_t count = 0;
    listener_pause(listener);
    for (size_t i = 0; i < bound->count; i++) {
        if (bound->sockets[i].descriptor == -1)
            continue;
        bound->sockets[count] = bound->sockets[i];
        ev_io_set(&listener->watchers[count], bound->sockets[i].descriptor, EV_READ);
        count++;
    }
    bound->count = count;
}

void listener_leave(struct listener *listener, int64_t shutdown_timeout)
{
    struct service *service = listener->current->service;
    listener_forget_taken(listener);
    for (size_t i = 0; i < listener->bound.count; i++)
        if (listener->bound.sockets[i].path == NULL)
            socket_stop_listening(listener->bound.sockets[i].descriptor);
    listener->draining = true;
    if (shutdown_timeout >= 0) {
        ev_timer_set(&listener->expiry, (double)shutdown_timeout / 1e3, 0.0);
        ev_timer_start(listener->runtime->loop, &listener->expiry);
    }
    service->functions->leave(service);
    listener_accept_rest(listener);
}

void listener_hand_over(struct listener *listener)
{
    if (listener->draining)
        return;
    listener->draining = true;
    listener_stop_accepting(listener);
    bind_leave(&listener->bound);
    listener_drain_clients(listener);
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
    list_foreach(&listener->earlier, node)
    {
        struct service *service = list_entry(node, struct generation, node)->service;
        service->functions->close(service, reason);
    }
    listener->current->service->functions->close(listener->current->service, reason);
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
    const struct service *service = listener->current->service;
    *gauges = (struct listener_gauges){
        .clients = listener_clients(listener),
        .waiting = service->functions->waiting(service),
        .in_flight = service->functions->in_flight(service),
        .ready = listener->is_ready && !listener->draining && listener_has_usable_target(listener),
    };
    list_foreach(&listener->earlier, node)
    {
        service = list_entry(node, struct generation, node)->service;
        gauges->waiting += service->functions->waiting(service);
        gauges->in_flight += service->functions->in_flight(service);
    }
}

const char *listener_state(const struct listener *listener)
{
    if (listener->draining)
        return "draining";
    if (!listener->is_ready)
        return "starting";
    return listener->short_of_descriptors ? "short of descriptors" : "accepting";
}

size_t listener_targets(const struct listener *listener)
{
    return listener->current->service->functions->targets(listener->current->service);
}

void listener_target(const struct listener *listener, size_t index, struct service_target *target)
{
    const struct service *service = listener->current->service;
    service->functions->target(service, index, target);
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
    size_t clients = listener->greetings.count + generation_clients(listener->current);
    list_foreach(&listener->earlier, node) clients +=
        generation_clients(list_entry(node, struct generation, node));
    return clients;
}

/* ---- Reload ---- */

struct bound_sockets *listener_sockets(struct listener *listener)
{
    return &listener->bound;
}

bool listener_services_differ(const struct listener_settings *a, const struct listener_settings *b)
{
    return a->mode != b->mode ||
           (a->mode != MODE_PROXY && !protocol_settings_equal(&a->protocol, &b->protocol));
}

/* A client who greets has as many descriptors reserved as the present mode wants. */
static bool listener_reserve_greetings(struct listener *listener)
{
    size_t now = listener_descriptors_each(listener);
    size_t then = listener->next.generation->service->functions->descriptors_per_client;
    size_t missing = then > now ? (then - now) * listener->greetings.count : 0;
    if (!descriptors_reserve(&listener->runtime->descriptors, missing)) {
        errno = EMFILE;
        return false;
    }
    listener->next.descriptors = missing;
    return true;
}

static bool listener_prepare_service(struct listener *listener, struct listener_settings *settings)
{
    struct service *service = listener->current->service;
    if (!listener_services_differ(listener->settings, settings))
        return service->functions->prepare(service, settings, listener->next.events);
    listener->next.generation = generation_create(listener, settings, listener->next.events);
    return listener->next.generation != NULL && listener_reserve_greetings(listener);
}

bool listener_prepare(struct listener *listener, struct listener_settings *settings, struct events *events,
                      size_t sockets)
{
    listener->next = (struct listener_next){
        .settings = settings,
        .watchers = calloc(sockets, sizeof *listener->next.watchers),
    };
    if (listener->next.watchers != NULL && events_listener_create(events, settings, &listener->next.events) &&
        listener_prepare_service(listener, settings))
        return true;
    int error = errno;
    events_listener_release(listener->next.events);
    generation_destroy(listener->next.generation);
    free(listener->next.watchers);
    errno = error;
    return false;
}

void listener_rollback(struct listener *listener)
{
    struct service *service = listener->current->service;
    if (listener->next.generation == NULL)
        service->functions->rollback(service);
    generation_destroy(listener->next.generation);
    events_listener_release(listener->next.events);
    free(listener->next.watchers);
    if (listener->next.descriptors > 0)
        descriptors_return(&listener->runtime->descriptors, listener->next.descriptors);
}

/* The filter that only counts. */
static bool listener_count_client(void *data, const struct address *client)
{
    struct listener *listener = data;
    admission_count(&listener->admission, client);
    return false;
}

static bool listener_is_blocked(void *data, const struct address *client)
{
    const struct listener *listener = data;
    return admission_blocks(&listener->admission, client);
}

static void listener_filter(struct listener *listener, service_filter *filter)
{
    struct service *service = listener->current->service;
    service->functions->filter(service, filter, listener);
    list_foreach(&listener->earlier, node)
    {
        service = list_entry(node, struct generation, node)->service;
        service->functions->filter(service, filter, listener);
    }
}

static void listener_commit_service(struct listener *listener, int64_t shutdown_timeout)
{
    struct generation *before = listener->current;
    size_t each = listener_descriptors_each(listener);
    if (listener->next.generation == NULL) {
        before->service->functions->commit(before->service);
        return;
    }
    listener->current = listener->next.generation;
    listener->is_ready = false;
    if (listener_descriptors_each(listener) < each && listener->greetings.count > 0)
        descriptors_return(&listener->runtime->descriptors,
                           (each - listener_descriptors_each(listener)) * listener->greetings.count);
    generation_leave(before, shutdown_timeout);
    generation_start(listener->current);
}

/* Accepts those who have come to sockets that go, and closes these. */
static void listener_close_left(struct listener *listener, struct bound_sockets *left)
{
    char text[160];
    for (size_t i = 0; i < left->count; i++) {
        const struct bound_socket *socket = &left->sockets[i];
        if (socket->descriptor == -1)
            continue;
        log_info(listener->settings->name, "not listening on %s any more",
                 bind_print(socket, text, sizeof text));
        if (socket->path == NULL)
            socket_stop_listening(socket->descriptor);
        struct pollfd watched = { .fd = socket->descriptor, .events = POLLIN };
        for (int round = 0; round < HANDSHAKE_ROUNDS; round++)
            if (listener_accept_batch(listener, socket->descriptor, INT32_MAX) == ACCEPT_PAUSE ||
                socket->path != NULL || poll(&watched, 1, HANDSHAKE_MILLISECONDS) != 1)
                break;
    }
    bind_close(left);
}

static void listener_commit_sockets(struct listener *listener, struct bound_sockets *bound)
{
    struct bound_sockets left = listener->bound;
    listener_pause(listener);
    descriptors_forget(&listener->waiter);
    ev_timer_stop(listener->runtime->loop, &listener->pause);
    listener->bound = *bound;
    *bound = (struct bound_sockets){ 0 };
    listener_watch_sockets(listener, listener->next.watchers);
    listener_close_left(listener, &left);
    if (listener->is_ready)
        listener_resume(listener);
}

void listener_commit(struct listener *listener, struct bound_sockets *bound, int64_t shutdown_timeout)
{
    struct listener_settings *before = listener->settings;
    listener->settings = listener_settings_reference(listener->next.settings);
    listener->refusals.source = listener->settings->name;
    bool count = admission_change(&listener->admission, listener->settings);
    if (count)
        listener_filter(listener, listener_count_client);
    listener_filter(listener, listener_is_blocked);
    struct events_listener *told_before = listener->events;
    listener->events = listener->next.events;
    listener_commit_service(listener, shutdown_timeout);
    events_listener_release(told_before);
    listener_settings_release(before);
    listener_commit_sockets(listener, bound);
}
