#include "target/target_state.h"

#include "target/slot.h"

#include <assert.h>
#include <stdio.h>

void target_state_enter(struct target *target, enum target_state state)
{
    static const bool allowed[TARGET_STATES][TARGET_STATES] = {
        [TARGET_UP] = { [TARGET_DOWN] = true, [TARGET_RETIRED] = true },
        [TARGET_DOWN] = { [TARGET_RETRY] = true, [TARGET_UP] = true, [TARGET_RETIRED] = true },
        [TARGET_RETRY] = { [TARGET_TRYING] = true,
                           [TARGET_DOWN] = true,
                           [TARGET_UP] = true,
                           [TARGET_RETIRED] = true },
        [TARGET_TRYING] = { [TARGET_UP] = true, [TARGET_DOWN] = true, [TARGET_RETIRED] = true },
    };
    enum target_state before = target->state;
    assert(allowed[before][state]);
    bool was_live = before == TARGET_UP || before == TARGET_RETIRED;
    target->state = state;
    slot_entered(target, was_live);
    target->trial = NULL;
    target->retry_at = TARGET_NEVER;
    if (state == TARGET_UP) {
        target->retry_delay = target->set->settings.retry_min;
        target_set_note_usable(target->set);
    }
    if (state == TARGET_DOWN) {
        slot_forget(target);
        target->check.due = 0;
        health_forget_proof(&target->health);
    }
    if (before == TARGET_UP && state == TARGET_DOWN && target->counters != NULL)
        target->counters->downs++;
    if (state == TARGET_UP || (before == TARGET_UP && state == TARGET_DOWN))
        target->set->driver->changed(target);
}

void target_state_wait(struct target *target, int64_t now, int64_t retry_at)
{
    int64_t rest = slot_resting_until(target);
    target_state_enter(target, TARGET_DOWN);
    target->down_since = now;
    target->retry_at = retry_at < rest ? rest : retry_at;
    target->set->driver->wake(target->set);
}

int64_t target_state_spread(struct target *target, int64_t milliseconds)
{
    uint64_t *jitter = &target->set->jitter; /* xorshift64 */
    *jitter ^= *jitter << 13;
    *jitter ^= *jitter >> 7;
    *jitter ^= *jitter << 17;
    return milliseconds * (int64_t)(750 + *jitter % 501);
}

int64_t target_state_back_off(struct target *target)
{
    return target_state_spread(target, target->retry_delay);
}

void target_state_reconfigure(struct target *target, int64_t now)
{
    const struct target_set_settings *settings = &target->set->settings;
    if (target->retry_delay > settings->retry_max)
        target->retry_delay = settings->retry_max;
    if (target->retry_delay < settings->retry_min || target->state == TARGET_UP)
        target->retry_delay = settings->retry_min;
    int64_t latest = now + target_state_back_off(target);
    if (target->state != TARGET_DOWN || target->retry_at <= latest)
        return;
    target->retry_at = latest;
    target->set->driver->wake(target->set);
}

void target_state_succeeded(struct target *target, int64_t now)
{
    if (target->state == TARGET_UP) {
        target->retry_delay = target->set->settings.retry_min;
    } else if (target->state != TARGET_RETIRED) {
        target->up_since = now;
        target_state_enter(target, TARGET_UP);
    }
}

void target_state_note(struct target *target, enum reason reason, const char *text, int64_t now)
{
    target->failure = reason;
    target->failed = now;
    snprintf(target->failure_text, sizeof target->failure_text, "%s", text);
}

void target_state_failed(struct target *target, const struct target_attempt *attempt, enum reason reason,
                         const char *text, int64_t now)
{
    target_state_note(target, reason, text, now);
    bool decides = target->state == TARGET_TRYING && target->trial == attempt;
    if (target->state != TARGET_UP && !decides)
        return; /* one of several attempts that ran when the first of them failed, or of a retired target */
    int64_t longest = target->set->settings.retry_max;
    target_state_wait(target, now, now + target_state_back_off(target));
    target->retry_delay = target->retry_delay > longest / 2 ? longest : target->retry_delay * 2;
}
