#include "server/drain.h"

#include "base/log.h"
#include "server/notify.h"

/* systemd sends two to all processes of a service that it stops: at once, and when the main one has ended. */
#define HANDED_OVER_SIGNALS 2

void drain_check(struct drain *drain)
{
    if (drain->stage != DRAIN_DRAINING || !listeners_are_empty(drain->listeners))
        return;
    drain->stage = DRAIN_ENDED;
    ev_timer_stop(drain->loop, &drain->timer);
    ev_break(drain->loop, EVBREAK_ALL);
}

static void drain_close_all(struct drain *drain, const char *why)
{
    log_info(NULL, "%s: closing %zu clients", why, listeners_clients(drain->listeners));
    ev_timer_stop(drain->loop, &drain->timer);
    drain->stage = DRAIN_DRAINING;
    listeners_close(drain->listeners, REASON_DRAINED);
    drain_check(drain);
}

static void drain_set_timer(struct drain *drain, int64_t milliseconds)
{
    ev_timer_set(&drain->timer, (double)milliseconds / 1e3, 0.0);
    ev_timer_start(drain->loop, &drain->timer);
}

static void drain_begin(struct drain *drain, void (*begin)(struct listener *))
{
    drain->stage = DRAIN_DRAINING;
    listeners_drain(drain->listeners, begin);
    if (drain->stage != DRAIN_DRAINING)
        return;
    log_info(NULL, "draining: %zu clients are left", listeners_clients(drain->listeners));
    if (drain->config->settings->shutdown_timeout >= 0)
        drain_set_timer(drain, drain->config->settings->shutdown_timeout);
    drain_check(drain);
}

static void drain_timer_fired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct drain *drain = watcher->data;
    if (drain->stage == DRAIN_DELAYED)
        drain_begin(drain, listener_drain);
    else
        drain_close_all(drain, "shutdown_timeout has passed");
}

void drain_init(struct drain *drain, struct ev_loop *loop, const struct config *config,
                struct listeners *listeners)
{
    *drain = (struct drain){ .loop = loop, .config = config, .listeners = listeners };
    ev_timer_init(&drain->timer, drain_timer_fired, 0.0, 0.0);
    drain->timer.data = drain;
}

void drain_signal(struct drain *drain)
{
    if (drain->handed_over && drain->ignored < HANDED_OVER_SIGNALS) {
        log_info(NULL, "draining already: another process has taken over");
        drain->ignored++;
        return;
    }
    if (drain->stage != DRAIN_RUNNING) {
        if (drain->stage != DRAIN_ENDED)
            drain_close_all(drain, "second signal");
        return;
    }
    notify_send("STOPPING=1\nSTATUS=draining");
    log_info(NULL, "stopping");
    if (drain->config->settings->shutdown_delay > 0) {
        drain->stage = DRAIN_DELAYED;
        drain_set_timer(drain, drain->config->settings->shutdown_delay);
    } else {
        drain_begin(drain, listener_drain);
    }
}

void drain_hand_over(struct drain *drain)
{
    drain->handed_over = true;
    drain_begin(drain, listener_hand_over);
}
