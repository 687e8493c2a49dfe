/* Other settings for what is under way. */
#include "mux/mux_state.h"

/* A pause that was not wanted before, or is not any more, lasts no time. */
static int64_t reconfigure_pause(int64_t milliseconds)
{
    return milliseconds < 0 ? 0 : milliseconds;
}

static void reconfigure_clocks(struct mux *mux)
{
    const struct mux_settings *settings = &mux->settings;
    int64_t now = mux->now;
    timeout_list_change(&mux->queue_timeouts, settings->queue_timeout, false, now);
    timeout_list_change(&mux->idle_timeouts, settings->client_idle_timeout, false, now);
    timeout_list_change(&mux->stall_timeouts, settings->stall_timeout, false, now);
    timeout_list_change(&mux->discard_timeouts, settings->stall_timeout, false, now);
    timeout_list_change(&mux->inactivity_timeouts, settings->inactivity_timeout, false, now);
    timeout_list_change(&mux->ttl_timeouts, settings->connection_ttl, false, now);
    timeout_list_change(&mux->delay_timeouts, reconfigure_pause(settings->connect_delay), false, now);
    timeout_list_change(&mux->gap_timeouts, reconfigure_pause(settings->request_gap), false, now);
    /* Of requests that were sent. */
    timeout_list_change(&mux->exchange_timeouts, settings->request_timeout, true, now);
    timeout_list_change(&mux->answering_timeouts, settings->request_timeout, true, now);
    timeout_list_change(&mux->taking_timeouts, settings->request_timeout, true, now);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

void mux_reconfigure(struct mux *mux, const struct mux_settings *settings, int64_t now)
{
    bool was_untimed = mux->settings.request_timeout < 0;
    mux->now = now;
    mux->settings = *settings;
    mux_derive(mux);
    mux->queue_allowed = larger(settings->queue_limit, mux->waiter_count);
    mux->memory_allowed = larger(settings->memory_limit, mux->memory);
    reconfigure_clocks(mux);
    list_foreach(&mux->connections, node)
        connection_reconfigure(list_entry(node, struct mux_connection, node), was_untimed);
    list_foreach(&mux->clients, node) client_reconfigure(list_entry(node, struct mux_client, node));
    mux->wants_dispatch = true;
    mux_settle(mux);
}

void mux_hold_queue(struct mux *mux, bool hold, int64_t now)
{
    if (hold)
        timeout_list_hold(&mux->queue_timeouts, now);
    else
        timeout_list_release(&mux->queue_timeouts, now);
}
