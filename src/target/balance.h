/* Which of several targets is next: the four forms of `balance` over plain numbers. */
#ifndef TARGET_BALANCE_H
#define TARGET_BALANCE_H

#include "target/target.h"

/* Picks one of the `count` candidates (at least one, all of weight 1 or more), by their `load` where that counts. The
 * share of one that has come back grows from a tenth to its weight over `slow_start`. Updates what the form of `balance`
 * remembers in the targets and the set. */
struct target *balance_pick(struct target_set *set, struct target *const *candidates, size_t count,
                            const struct address *client, int64_t now);

#endif
