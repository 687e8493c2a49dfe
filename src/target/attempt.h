/* One attempt to connect to a target: look-up, then its addresses in turn. Used inside this room only. */
#ifndef TARGET_ATTEMPT_H
#define TARGET_ATTEMPT_H

#include "target/target.h"

/* The look-up that the attempt waited for has ended. */
void target_attempt_resolved(struct target_attempt *attempt);

/* The attempt as an entry of its target's list `waiting`. */
struct target_attempt *target_attempt_waiting(struct list_node *node);

/* One address had `connect_timeout` and did not answer. */
void target_attempt_timed_out(struct timer *timer, struct timeout *timeout);

#endif
