#include "base/timer.h"

#include "base/turn.h"

static void timer_arm(struct timer *timer, int64_t now)
{
    int64_t due = timeout_list_due(&timer->list);
    ev_timer_stop(timer->loop, &timer->watcher);
    if (due == TIMEOUT_NEVER)
        return;
    /* libev's cached time may lie behind `now`: a timer that fires early finds nothing due, and is set again. */
    double delay = due > now ? (double)(due - now) / 1e6 : 0.0;
    ev_timer_set(&timer->watcher, delay, 0.0);
    ev_timer_start(timer->loop, &timer->watcher);
}

static void timer_fired(struct ev_loop *loop, ev_timer *watcher, int)
{
    struct timer *timer = watcher->data;
    int64_t now = turn_now(loop);
    struct timeout *timeout;
    while ((timeout = timeout_list_expire(&timer->list, now)) != NULL)
        timer->callback(timer, timeout);
    timer_arm(timer, now);
}

void timer_init(struct timer *timer, struct ev_loop *loop, int64_t milliseconds, timer_callback *callback,
                void *owner)
{
    timeout_list_init(&timer->list, milliseconds);
    ev_timer_init(&timer->watcher, timer_fired, 0.0, 0.0);
    timer->watcher.data = timer;
    timer->loop = loop;
    timer->callback = callback;
    timer->owner = owner;
}

void timer_start(struct timer *timer, struct timeout *timeout, int64_t now)
{
    if (timer->list.duration < 0) /* most are disabled, and this is called for each chunk of bytes */
        return;
    timeout_start(&timer->list, timeout, now);
    /* A timer that is set fires before this entry is due; only after a change of the duration it may be the first. */
    const struct list *entries = &timer->list.entries;
    bool overtakes = list_first(entries) == &timeout->node && list_last(entries) != &timeout->node;
    if (overtakes || !ev_is_active(&timer->watcher))
        timer_arm(timer, now);
}

void timer_change(struct timer *timer, int64_t milliseconds, bool keep, int64_t now)
{
    timeout_list_change(&timer->list, milliseconds, keep, now);
    timer_arm(timer, now);
}

void timer_hold(struct timer *timer, int64_t now)
{
    timeout_list_hold(&timer->list, now);
    timer_arm(timer, now);
}

void timer_release(struct timer *timer, int64_t now)
{
    timeout_list_release(&timer->list, now);
    timer_arm(timer, now);
}

void timer_stop(struct timer *timer)
{
    ev_timer_stop(timer->loop, &timer->watcher);
    list_foreach(&timer->list.entries, node) list_remove(node);
}
