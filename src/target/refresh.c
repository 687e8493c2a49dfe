#include "target/refresh.h"

#include "base/clock.h"

/* Not sooner, also where the last answer is old because the resolver fails. */
#define REFRESH_MIN_SECONDS 1.0

static void refresh_arm(struct target *target)
{
    struct ev_loop *loop = target->set->runtime->loop;
    double left = (double)(resolver_fresh_until(target->name) - clock_now()) / 1e6;
    ev_timer_stop(loop, &target->refresh);
    ev_timer_set(&target->refresh, left > REFRESH_MIN_SECONDS ? left : REFRESH_MIN_SECONDS, 0.0);
    ev_timer_start(loop, &target->refresh);
}

static void refresh_due(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct target *target = watcher->data;
    if (target->connections > 0 && resolver_lookup(target->name))
        target_refresh_answered(target);
}

void target_refresh_init(struct target *target)
{
    ev_timer_init(&target->refresh, refresh_due, 0.0, 0.0);
    target->refresh.data = target;
}

void target_refresh_stop(struct target *target)
{
    ev_timer_stop(target->set->runtime->loop, &target->refresh);
}

void target_refresh_start(struct target *target)
{
    if (target->set->looked_up != NULL && target->name != NULL && !ev_is_active(&target->refresh))
        refresh_arm(target);
}

void target_refresh_answered(struct target *target)
{
    if (target->set->looked_up == NULL)
        return;
    refresh_arm(target);
    target->set->looked_up(target->set->owner, target);
}
