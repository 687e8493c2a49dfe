/* From parsed values to the fields of checked settings, by the rows of the table of keys. */
#ifndef CONFIG_STORE_H
#define CONFIG_STORE_H

#include "config/check_context.h"

/* Stores each value of a group in the field that its row names in `settings`, and notes what is
 * missing or wrong by itself. False if any value of the group can't be relied on, so that there is no
 * use in comparing them. */
bool store_group(const struct check *check, const struct parsed_group *group, void *settings);

#endif
