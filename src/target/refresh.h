/* Looks the name of a target up again and again, for those who keep connections to it. Used inside this room
 * only. */
#ifndef TARGET_REFRESH_H
#define TARGET_REFRESH_H

#include "target/target.h"

void target_refresh_init(struct target *target);
void target_refresh_stop(struct target *target);

/* A connection was made: from now on, as long as there is any, the name is looked up when its answer has
 * become too old. */
void target_refresh_start(struct target *target);

/* A look-up has ended, whoever asked for it. */
void target_refresh_answered(struct target *target);

#endif
