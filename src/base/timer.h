/* Drives a timeout list from the loop: one ev_timer a list, set for its oldest entry only. */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include "base/timeout.h"

#include <ev.h>

struct timer;

/* Called for each timeout that is due; it is off the list by then and may be freed. */
typedef void timer_callback(struct timer *timer, struct timeout *timeout);

/* Owned by whoever embeds it; timer_stop() before freeing. */
struct timer {
    struct timeout_list list;
    ev_timer watcher;
    struct ev_loop *loop;
    timer_callback *callback;
    void *owner; /* for the callback */
};

/* `milliseconds` negative: timeouts on it never start. `loop` must have a turn: see base/turn.h. */
void timer_init(struct timer *timer, struct ev_loop *loop, int64_t milliseconds, timer_callback *callback,
                void *owner);

/* Starts or restarts `timeout` at `now`. */
void timer_start(struct timer *timer, struct timeout *timeout, int64_t now);

/* As timeout_list_change(), timeout_list_hold() and timeout_list_release(). */
void timer_change(struct timer *timer, int64_t milliseconds, bool keep, int64_t now);
void timer_hold(struct timer *timer, int64_t now);
void timer_release(struct timer *timer, int64_t now);

/* Stops the ev_timer and unlinks all entries. */
void timer_stop(struct timer *timer);

#endif
