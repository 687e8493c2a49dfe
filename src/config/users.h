/* Users and groups that the configuration names. */
#ifndef CONFIG_USERS_H
#define CONFIG_USERS_H

#include "config/written.h"

#include <sys/types.h>

/* Look a user or group up, by name or number. False (a problem of that value) if there is none. `group` may
 * be NULL; it gets the user's own group. */
bool users_find_user(struct written_configuration *written, const struct written_value *value,
                     const char *subject, uid_t *user, gid_t *group);
bool users_find_group(struct written_configuration *written, const struct written_value *value,
                      const char *subject, gid_t *group);

#endif
