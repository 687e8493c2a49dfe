/* A set of targets in the loop: names are looked up, sockets connected, back-offs timed, changes logged. */
#ifndef TARGET_TARGET_LOOP_H
#define TARGET_TARGET_LOOP_H

#include "net/runtime.h"
#include "target/target.h"

/* `settings`: as in target_set_open(). NULL when memory is short. */
struct target_set *target_set_create(struct runtime *runtime, struct target_set_settings settings,
                                     const struct target_hooks *hooks, void *owner);

/* No attempt but the set's own may be running. NULL is allowed. */
void target_set_destroy(struct target_set *set);

#endif
