/* The slots of an address: the connections that it takes. Two accounts are kept of them: that of one listener's name,
 * whatever the generation of its targets, for what `connections` and `max_connections` allow (a target that was taken
 * away by a reload must not be connected to beside its predecessor: a device with one slot would refuse it); and that
 * of the whole process, whatever listener, for what `slots` allows. Addresses that a name resolves to have accounts of
 * the process too, so that a device is the same whatever it is called. Used by target.c and by those who open
 * connections. */
#ifndef TARGET_SLOT_H
#define TARGET_SLOT_H

#include "target/target.h"

/* Takes part in the accounts of the target's address. `all` is the root of a tree of them, NULL at first. False when
 * memory is short. To be given back with slot_leave(), which is allowed in any case. Where nobody has accounts of the
 * address yet, and no number of slots is named, this waits for slot_use(): most of many targets are never used. */
bool slot_join(struct target *target, void **all, const char *listener);
void slot_leave(struct target *target);

/* A connection to the target is wanted. False when memory is short. */
bool slot_use(struct target *target);

/* These are the addresses of the target's name, found out by an attempt of its. What had others keeps these in mind
 * while it has connections. */
void slot_resolved(struct target *target, void **all, const struct address *addresses, size_t count);

/* Other options of the target are in force, or it is retired. */
void slot_reconfigure(struct target *target);

/* The name of the listener, as long as the target, which has a name to be looked up, is there. */
const char *slot_listener(const struct target *target);

/* A connection or an attempt more (1), or less (-1): the one place where they are counted. */
void slot_count(struct target *target, int change);

/* Whether the target may have one more connection if it is allowed `limit` (negative: any number), those of
 * others counted, and those before it in the queue. `by_others`, if not NULL: it may not, because of them alone. */
bool slot_has_room(struct target *target, int64_t limit, bool *by_others);

/* Whether there are more connections than the slots allow: where two names have turned out to be one address. */
bool slot_is_over(const struct target *target);

/* The target wants a connection as soon as others leave room, and gets it in turn: who has the fewest comes first, and
 * of several the one that has waited longest. target_hooks.usable tells when, and the others are asked to release what
 * they do not need. Ends when the target gets a connection, goes down, or by slot_forget(). */
void slot_wait(struct target *target, int64_t limit);
void slot_forget(struct target *target);
bool slot_is_waiting(const struct target *target);

/* Whether the target, which is not up, can't be tried because others use its slots, to whom the address answers; or a
 * slot that they gave back is to be its own. It is not down then, as far as anybody can tell. */
bool slot_is_busy(const struct target *target);

/* A connection of a target goes: it leaves its slot to those that wait, which have a trial now. */
void slot_hand_on(struct target *target);

/* The target has entered a state from another one. */
void slot_entered(struct target *target, bool was_live);

/* Whether it waits for connections of its own listener's other generations. */
bool slot_is_held(const struct target *target);

/* What is wanted of the connections of a target by others. */
enum slot_demand {
    SLOT_UNWANTED,
    SLOT_FREE,    /* somebody waits, and there is a free slot, perhaps only until that is taken */
    SLOT_IDLE,    /* one that has nothing to do */
    SLOT_IN_TURN, /* one that has had its turn, if none is idle */
};
enum slot_demand slot_demand(const struct target *target);

/* A connection has ended: `reconnect_delay` begins, in which nobody has room at its addresses. When that is over, or 0;
 * and whether it is now, which is said once. */
void slot_ended(struct target *target, bool was_left, int64_t now);
int64_t slot_resting_until(const struct target *target);
int64_t slot_rested_first(const struct target *target); /* likewise, at the first of several addresses */
bool slot_rested(struct target *target, int64_t now);

/* A good answer has come from the target; when the last one did from its addresses, through whatever listener; 0:
 * never. */
void slot_answered(struct target *target, int64_t now);
int64_t slot_last_answer(const struct target *target);

/* See target_settles(). */
bool slot_settles(const struct target *target, int64_t now);

/* A connection has gone: who waits is told. */
void slot_freed(struct target *target);

#endif
