/* From the configuration as written (and completed) to settings; finds what is wrong beyond single values. */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config/settings.h"
#include "config/written.h"

/* Returns settings with one reference, or NULL if there is any error, which is among the problems then. Reads
 * list files and looks up users; nothing else is touched. */
struct settings *check_configuration(struct written_configuration *written);

/* One listener; used by check_configuration(). NULL if something is wrong. */
struct listener_settings *check_listener(struct written_configuration *written,
                                         struct written_group *listener);

/* Looks a user or group up, by name or number. False (a problem of that value) if there is none. */
bool check_user(struct written_configuration *written, const struct written_value *value, const char *subject,
                uid_t *user, gid_t *group);
bool check_group(struct written_configuration *written, const struct written_value *value,
                 const char *subject, gid_t *group);

#endif
