/* When a target is checked, see the key `check`, and what becomes of it. Used inside this room, but for what owners of
 * sets that keep connections have to say of the checks that they make. Pure logic, as target.h.
 *
 * A check begins when it is due, on a target that is up. Where connections are kept its owner makes it, as a request
 * (target_hooks.check); else, and with type "connect", it has a connection of its own here, if there is room. */
#ifndef TARGET_TARGET_CHECK_H
#define TARGET_TARGET_CHECK_H

#include "base/reason.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct target;
struct target_attempt;
struct target_ask;

struct target_check {
    bool is_running;
    bool is_owners;   /* made by the owner of the set */
    int64_t due;      /* not running: not before then; microseconds */
    int64_t deadline; /* running: when it has failed; TARGET_NEVER: it still waits for its turn */
    struct target_attempt *attempt; /* connects for it, or NULL */
    struct target_ask *ask;         /* the driver's, while its own connection is there */
};

/* When target_check_tick() is wanted; TARGET_NEVER: not before something else happens. */
int64_t target_check_due(const struct target *target);
void target_check_tick(struct target *target, int64_t now);

/* Gives the one that runs up. */
void target_check_stop(struct target *target, int64_t now);

/* All that comes before the answer is done: the time-out runs. Of checks that the owner makes. */
void target_check_sent(struct target *target, int64_t now);

/* How one ended, of the owner's or of the driver's: it was good, it was not (why, in a phrase), or nothing was found
 * out. */
void target_check_passed(struct target *target, int64_t now);
void target_check_failed(struct target *target, enum reason reason, const char *text, int64_t now);
void target_check_void(struct target *target, int64_t now);

#endif
