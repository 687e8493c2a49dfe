/* Users and groups that the configuration names. */
#ifndef CONFIG_USERS_H
#define CONFIG_USERS_H

#include "config/parsed.h"

#include <sys/types.h>

/* Look a user or group up, by name or number. False (a problem of that value) if there is none. `group` may
 * be NULL; it gets the user's own group. */
bool users_find_user(struct parsed_configuration *parsed, const struct parsed_value *value,
                     const char *subject, uid_t *user, gid_t *group);
bool users_find_group(struct parsed_configuration *parsed, const struct parsed_value *value,
                      const char *subject, gid_t *group);

#endif
