/* The slots of an address: the connections that it takes from one listener's name, whatever the generation of
 * its targets. A target that was changed by a reload must not get a connection while those of its predecessor
 * still hold all slots; a device with one slot would refuse it. Used by target.c and by those who open
 * connections. */
#ifndef TARGET_SLOT_H
#define TARGET_SLOT_H

#include "target/target.h"

/* Takes part in the slots of the target's address for this listener. `all` is the root of a tree of them,
 * NULL at first. False when memory is short. To be given back with slot_leave(), which is allowed in any case. */
bool slot_join(struct target *target, void **all, const char *listener);
void slot_leave(struct target *target);

/* The name of the listener, as long as the target is there. */
const char *slot_listener(const struct target *target);

/* Whether the target may have one more connection if it is allowed `limit` (negative: any number), those of
 * other generations counted, and those before it in the queue. `by_others`, if not NULL: it may not, because of
 * them alone. */
bool slot_has_room(const struct target *target, int64_t limit, bool *by_others);

/* The target wants a connection as soon as others leave room, and gets it in turn: target_hooks.usable tells when,
 * and the others are asked to release what they do not need. Nothing happens if it waits already. Ends when the
 * target gets a connection, goes down, or by slot_forget(). */
void slot_wait(struct target *target, int64_t limit);
void slot_forget(struct target *target);

/* Whether a target of another owner waits for a slot; and none is free for it. */
bool slot_is_wanted(const struct target *target, bool *is_short);

/* A connection has ended: `reconnect_delay` begins, in which slot_has_room() says no. When it is over, or 0; and whether
 * it is now, which is said once. */
void slot_ended(struct target *target, bool was_left, int64_t now);
int64_t slot_resting_until(const struct target *target);
bool slot_rested(struct target *target, int64_t now);

/* See target_settles(). */
bool slot_settles(const struct target *target, int64_t now);

/* A connection has gone: those who wait are told. */
void slot_freed(struct target *target);

#endif
