/* The driver's part of a check that has a connection of its own: puts the question, and hears the answer. Used inside
 * this room only. */
#ifndef TARGET_TARGET_ASK_H
#define TARGET_TARGET_ASK_H

#include "target/target.h"

/* These two are for struct target_driver. The descriptor is closed at the end, or when memory is short. */
struct target_ask *target_ask_start(struct target *target, int descriptor);
void target_ask_end(struct target *target);

#endif
