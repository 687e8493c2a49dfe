/* Up or down: the state of one target and its back-off. Used inside this room only. */
#ifndef TARGET_HEALTH_H
#define TARGET_HEALTH_H

#include "target/target.h"

void target_health_init(struct target *target);
void target_health_stop(struct target *target);

/* An attempt starts: a target that may be tried again is not offered a second time meanwhile. */
void target_health_started(struct target *target, const struct target_attempt *attempt);

/* An attempt has connected, which is a success unless the owner of the set judges its connections. Returns
 * whether the target came up by it. */
bool target_health_connected(struct target *target, const struct target_attempt *attempt);

/* How attempts end. An attempt that was given up says nothing about the target; nor does the failure of one
 * that began before the target went down, for the next trial decides. `failed` takes the text of why. Each
 * change of state is logged once. `succeeded` returns whether the target came up by it. */
bool target_health_succeeded(struct target *target);
void target_health_failed(struct target *target, const struct target_attempt *attempt, enum reason reason,
                          const char *text);
void target_health_cancelled(struct target *target, const struct target_attempt *attempt);

#endif
