/* The places that one address has for connections: all those that one listener's name has to it, whatever the
 * generation of its targets. A target that was changed by a reload must not get a connection while those of
 * its predecessor still hold all places; a device with one place would refuse it. Used by target.c and by
 * those who open connections. */
#ifndef TARGET_PLACE_H
#define TARGET_PLACE_H

#include "target/target.h"

/* The places of this address for this listener; made if nobody has them yet. NULL when memory is short. To be
 * given back with place_leave(). */
struct target_place *place_join(struct target *target, const char *listener, const struct endpoint *endpoint);
void place_leave(struct target *target);

/* The name of the listener, as long as the target is there. */
const char *place_listener(const struct target *target);

/* Whether the target may have one more connection if it is allowed `limit` (negative: any number), those of
 * other generations counted. `by_others`, if not NULL: it may not, because of them alone. */
bool place_has_room(const struct target *target, int64_t limit, bool *by_others);

/* The target wants a connection as soon as others leave room: it is told by target_usable(), and they are
 * asked to give up what they do not need. Nothing happens if it waits already. */
void place_wait(struct target *target);
void place_forget(struct target *target);

/* Whether a target of another owner waits for a place that this one's connections hold. */
bool place_is_wanted(const struct target *target);

/* A connection has gone: those who wait are told. */
void place_freed(struct target *target);

#endif
