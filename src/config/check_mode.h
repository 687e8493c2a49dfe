/* The mode of a listener, and what does or does not go with it. */
#ifndef CONFIG_CHECK_MODE_H
#define CONFIG_CHECK_MODE_H

#include "config/check_context.h"

/* Sets the mode; "auto" becomes one of the others, unless something that it depends on is wrong, which has
 * been said. Wants the targets to be there. */
void check_mode(struct check *check);

/* Says what the mode can't do with the targets and the protocol, what it ignores, and what is unsafe. Wants
 * everything else to be there. */
void check_mode_fits(const struct check *check);

#endif
