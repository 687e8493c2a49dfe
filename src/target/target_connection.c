/* Connections to targets, and what their luck says. */
#include "target/slot.h"
#include "target/target.h"
#include "target/target_state.h"

#include <stdlib.h>

struct target_attempt *target_connect(struct target *target, target_result *result, void *data)
{
    if (target->counters == NULL)
        target->counters = calloc(1, sizeof *target->counters);
    if (target->counters == NULL || !slot_use(target))
        return NULL;
    slot_count(target, 1); /* the attempt may look at the slots already */
    struct target_attempt *attempt = target->set->driver->connect(target);
    if (attempt == NULL) {
        slot_count(target, -1);
        return NULL;
    }
    *attempt = (struct target_attempt){ .target = target, .result = result, .data = data };
    slot_forget(target);
    if (target->state == TARGET_RETRY) {
        target_state_enter(target, TARGET_TRYING);
        target->trial = attempt;
    }
    return attempt;
}

void target_attempt_succeeded(struct target_attempt *attempt, int descriptor, int64_t now)
{
    struct target *target = attempt->target;
    target->counters->opened++;
    if (!target->set->hooks->keeps_connections)
        target_state_succeeded(target, now);
    else if (target->trial == attempt)
        target->trial = NULL;
    attempt->result(attempt->data, target, descriptor, now);
}

void target_attempt_failed(struct target_attempt *attempt, enum reason reason, const char *text, int64_t now)
{
    struct target *target = attempt->target;
    slot_count(target, -1);
    target->counters->connect_failures[reason]++;
    target_state_failed(target, attempt, reason, text, now);
    attempt->result(attempt->data, target, -1, now);
    slot_freed(target);
}

bool target_resolved(struct target *target, const struct address *addresses, size_t count)
{
    slot_resolved(target, target->set->all_slots, addresses, count);
    return !slot_is_over(target);
}

void target_attempt_yielded(struct target_attempt *attempt, int64_t now)
{
    struct target *target = attempt->target;
    slot_count(target, -1);
    if (target->trial == attempt)
        target_state_wait(target, now, now);
    attempt->result(attempt->data, target, -1, now);
    slot_freed(target);
}

static void target_let_go(struct target *target)
{
    slot_count(target, -1);
    slot_freed(target);
    target_set_note_usable(target->set);
}

void target_cancel(struct target_attempt *attempt, int64_t now)
{
    struct target *target = attempt->target;
    bool was_trial = target->trial == attempt;
    target->set->driver->cancel(attempt);
    if (was_trial)
        target_state_wait(target, now, now);
    target_let_go(target);
}

void target_release(struct target *target, bool was_left, int64_t now)
{
    slot_hand_on(target);
    slot_ended(target, was_left, now);
    target_let_go(target);
}

/* Whether a kept connection's luck says anything: not while the target is down, for an older connection's
 * proves nothing then, nor while a trial has not connected yet. */
static bool target_is_evaluated(const struct target *target)
{
    return target->state == TARGET_UP || (target->state == TARGET_TRYING && target->trial == NULL);
}

void target_succeed(struct target *target, int64_t now)
{
    if (target_is_evaluated(target))
        target_state_succeeded(target, now);
}

void target_leave_undecided(struct target *target, int64_t now)
{
    if (target->state == TARGET_TRYING && target_is_evaluated(target))
        target_state_wait(target, now, now + target_state_back_off(target));
}

void target_fail(struct target *target, enum reason reason, const char *text, int64_t now)
{
    if (target->counters != NULL) /* memory may have been short for those too */
        target->counters->connect_failures[reason]++;
    target_state_failed(target, NULL, reason, text, now);
}
