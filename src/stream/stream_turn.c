/* The hub's part in a turn of the loop: base/turn.h shows where it stands among the others. */
#include "stream/stream_parts.h"

#include <stdlib.h>

/* Being so late means that the process did not run, not that the loop was busy. */
#define LATE_MICROSECONDS 50000

static struct stream_hub *hub_of_entry(struct turn_entry *entry)
{
    return list_entry(entry, struct stream_hub, entry);
}

/* Enters for writing what has changed. What is written may change more, and enters the hub again. */
static void stream_work(struct turn_entry *entry)
{
    struct stream_hub *hub = hub_of_entry(entry);
    struct turn *turn = &hub->runtime->turn;
    struct mux_connection *connection;
    struct mux_client *client;
    stream_pool_review(&hub->pool, turn->now);
    while ((connection = mux_changed_connection(hub->mux)) != NULL)
        turn_enter(turn, TURN_WRITE_TARGETS, &stream_connection_of(mux_connection_owner(connection))->entry);
    while ((client = mux_changed_client(hub->mux)) != NULL)
        turn_enter(turn, TURN_WRITE_CLIENTS, &((struct stream_client *)mux_client_owner(client))->entry);
    if (!list_linked(&entry->node)) /* else the review has brought about more work */
        turn_enter(turn, TURN_TIME, entry);
}

void stream_mux_timer_fired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)events;
    struct stream_hub *hub = watcher->data;
    turn_enter(turn_of(loop), TURN_TIME, &hub->entry);
}

/* A timer that is set for an earlier moment stays: it is set anew when it has fired. */
static void stream_set_timer(struct stream_hub *hub, int64_t due, int64_t now)
{
    struct ev_loop *loop = hub->runtime->loop;
    if (due == INT64_MAX || (ev_is_active(&hub->mux_timer) && hub->mux_due <= due))
        return;
    ev_timer_stop(loop, &hub->mux_timer);
    ev_timer_set(&hub->mux_timer, due > now ? (double)(due - now) / 1e6 : 0.0, 0.0);
    ev_timer_start(loop, &hub->mux_timer);
    hub->mux_due = due;
}

/* A tick that comes late is put off for one more turn, because this one may not have reported all
 * that happened meanwhile: a signal, such as the one that lets a stopped process go on, ends the wait
 * for events with none. */
static void stream_time(struct turn_entry *entry)
{
    struct stream_hub *hub = hub_of_entry(entry);
    int64_t now = stream_now(hub);
    mux_hold_queue(hub->mux, stream_pool_is_held(&hub->pool), now);
    int64_t due = mux_due(hub->mux);
    if (stream_pool_due(&hub->pool) < due)
        due = stream_pool_due(&hub->pool);
    hub->is_late = now - due > LATE_MICROSECONDS && !hub->is_late;
    if (now < due || hub->is_late) {
        stream_set_timer(hub, due, now);
        return;
    }
    stream_pool_tick(&hub->pool, now);
    mux_tick(hub->mux, now);
    stream_touch(hub);
}

static void stream_free(struct turn_entry *entry)
{
    free(hub_of_entry(entry));
}

const struct turn_actions stream_hub_actions = {
    .act = { [TURN_WORK] = stream_work, [TURN_TIME] = stream_time, [TURN_FREE] = stream_free },
};
