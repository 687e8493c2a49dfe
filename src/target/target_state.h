/* The state of one target and its back-off. Used inside this room only. */
#ifndef TARGET_TARGET_STATE_H
#define TARGET_TARGET_STATE_H

#include "target/target.h"

/* The one place where the state changes. An illegal change is a fault of ours. */
void target_state_enter(struct target *target, enum target_state state);

/* Back to DOWN without a failure: to be tried again at this time. */
void target_state_wait(struct target *target, int64_t now, int64_t retry_at);

/* 75 to 125 % of so long, in microseconds: so that many targets and processes don't retry in step. */
int64_t target_state_spread(struct target *target, int64_t milliseconds);

/* A back-off like the last one. */
int64_t target_state_back_off(struct target *target);

/* Other settings of the set are in force: a back-off does not last longer than by these. */
void target_state_reconfigure(struct target *target, int64_t now);

/* Remembers a failure of any kind as the newest one. */
void target_state_note(struct target *target, enum reason reason, const char *text, int64_t now);

/* The target works, or does not: see target_succeed() and target_fail(). `attempt` is the one that failed; NULL:
 * a connection did. The failure of an attempt that began before the target went down counts for nothing, since
 * the next trial decides. */
void target_state_succeeded(struct target *target, int64_t now);
void target_state_failed(struct target *target, const struct target_attempt *attempt, enum reason reason,
                         const char *text, int64_t now);

#endif
