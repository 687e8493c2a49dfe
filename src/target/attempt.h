/* One attempt to connect to a target: look-up, then its addresses in turn. Used inside this room only. */
#ifndef TARGET_ATTEMPT_H
#define TARGET_ATTEMPT_H

#include "base/timer.h"
#include "net/runtime.h"
#include "target/target.h"

/* A set as the loop drives it. */
struct target_loop {
    struct target_set set;
    struct runtime *runtime;
    ev_timer due; /* for target_set_tick() */
    struct timer connect_timer;
};

static inline struct target_loop *target_loop_of(const struct target_set *set)
{
    return list_entry(set, struct target_loop, set);
}

/* These two are for struct target_driver. */
struct target_attempt *attempt_start(struct target *target);
void attempt_cancel(struct target_attempt *attempt);

/* One address had `connect_timeout` and did not answer. */
void attempt_timed_out(struct timer *timer, struct timeout *timeout);

#endif
