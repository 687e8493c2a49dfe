#include "base/log.h"
#include "server/server_state.h"

#include <stdlib.h>
#include <string.h>

/* systemd sends two to all processes of a service that it stops: at once, and when the main one has ended. */
#define HANDED_OVER_SIGNALS 2

static size_t drain_total(const struct server *server)
{
    return server->listeners.leaving + server->listeners.running;
}

static size_t drain_clients(const struct server *server)
{
    size_t clients = 0;
    for (size_t i = 0; i < drain_total(server); i++)
        clients += listener_clients(server->listeners.all[i]);
    return clients;
}

static void drain_log_listener(const struct listener *listener)
{
    const struct counters *counters = listener_get_counters(listener);
    log_info(listener_get_settings(listener)->name,
             "served %llu clients, refused %llu, %llu bytes from clients, %llu bytes to clients",
             (unsigned long long)counters->accepted, (unsigned long long)counters->refused,
             (unsigned long long)counters->bytes_from_clients,
             (unsigned long long)counters->bytes_to_clients);
    if (listener_get_settings(listener)->mode != MODE_PROXY)
        log_info(listener_get_settings(listener)->name, "%llu requests ended, %llu of them with their answer",
                 (unsigned long long)counters->requests, (unsigned long long)counters->answered);
}

void drain_log_totals(const struct server *server)
{
    for (size_t i = 0; i < drain_total(server); i++)
        drain_log_listener(server->listeners.all[i]);
}

void drain_destroy(struct server *server)
{
    for (size_t i = 0; i < drain_total(server); i++)
        listener_destroy(server->listeners.all[i]);
    free(server->listeners.all);
    server->listeners = (struct listeners){ 0 };
}

/* Ends the process if all listeners have neither sockets nor clients any more. */
static void drain_check(struct server *server)
{
    struct drain *drain = &server->drain;
    if (drain->stage != DRAIN_DRAINING)
        return;
    for (size_t i = 0; i < drain_total(server); i++)
        if (!listener_is_empty(server->listeners.all[i]))
            return;
    drain->stage = DRAIN_ENDED;
    ev_timer_stop(server->runtime.loop, &drain->timer);
    ev_break(server->runtime.loop, EVBREAK_ALL);
}

/* Frees those that leave and have become empty. */
static void drain_sweep(struct ev_loop *, ev_timer *watcher, int)
{
    struct server *server = watcher->data;
    struct listeners *listeners = &server->listeners;
    size_t left = 0;
    drain_check(server);
    for (size_t i = 0; i < listeners->leaving; i++) {
        struct listener *listener = listeners->all[i];
        if (!listener_is_empty(listener)) {
            listeners->all[left++] = listener;
            continue;
        }
        drain_log_listener(listener);
        listener_destroy(listener);
    }
    memmove(listeners->all + left, server_running(server), listeners->running * sizeof(struct listener *));
    listeners->leaving = left;
}

/* It calls from within its own functions: what follows comes when the loop does, once for all that are empty by then. */
void drain_listener_emptied(void *owner)
{
    struct server *server = owner;
    ev_timer_start(server->runtime.loop, &server->drain.sweep);
}

static void drain_close_all(struct server *server, const char *why)
{
    log_info(NULL, "%s: closing %zu clients", why, drain_clients(server));
    ev_timer_stop(server->runtime.loop, &server->drain.timer);
    server->drain.stage = DRAIN_DRAINING;
    for (size_t i = 0; i < drain_total(server); i++)
        listener_close(server->listeners.all[i], REASON_DRAINED);
    drain_check(server);
}

static void drain_set_timer(struct server *server, int64_t milliseconds)
{
    ev_timer_set(&server->drain.timer, (double)milliseconds / 1e3, 0.0);
    ev_timer_start(server->runtime.loop, &server->drain.timer);
}

/* Those that are in force begin in this way: listener_drain() or listener_hand_over(). */
static void drain_begin(struct server *server, void (*begin)(struct listener *))
{
    const struct listeners *listeners = &server->listeners;
    server->drain.stage = DRAIN_DRAINING;
    for (size_t i = 0; i < listeners->running; i++)
        begin(server_running(server)[i]);
    for (size_t i = 0; i < listeners->leaving; i++)
        listener_drain(listeners->all[i]);
    drain_check(server);
    if (server->drain.stage != DRAIN_DRAINING)
        return;
    log_info(NULL, "draining: %zu clients are left", drain_clients(server));
    if (server->config->settings->shutdown_timeout >= 0)
        drain_set_timer(server, server->config->settings->shutdown_timeout);
}

static void drain_timer_fired(struct ev_loop *, ev_timer *watcher, int)
{
    struct server *server = watcher->data;
    if (server->drain.stage == DRAIN_DELAYED)
        drain_begin(server, listener_drain);
    else
        drain_close_all(server, "shutdown_timeout has passed");
}

void drain_init(struct server *server)
{
    ev_timer_init(&server->drain.timer, drain_timer_fired, 0.0, 0.0);
    ev_timer_init(&server->drain.sweep, drain_sweep, 0.0, 0.0);
    server->drain.timer.data = server;
    server->drain.sweep.data = server;
}

void drain_signal(struct server *server)
{
    struct drain *drain = &server->drain;
    if (drain->ignores > 0) {
        log_info(NULL, "draining already: another process has taken over");
        drain->ignores--;
        return;
    }
    if (drain->stage != DRAIN_RUNNING) {
        if (drain->stage != DRAIN_ENDED)
            drain_close_all(server, "second signal");
        return;
    }
    notify_send("STOPPING=1\nSTATUS=draining");
    log_info(NULL, "stopping");
    if (server->config->settings->shutdown_delay > 0) {
        drain->stage = DRAIN_DELAYED;
        drain_set_timer(server, server->config->settings->shutdown_delay);
    } else {
        drain_begin(server, listener_drain);
    }
}

void drain_hand_over(struct server *server)
{
    server->drain.ignores = HANDED_OVER_SIGNALS;
    drain_begin(server, listener_hand_over);
}
