/* Giving up the rights of root. */
#ifndef SERVER_PRIVILEGES_H
#define SERVER_PRIVILEGES_H

#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>

/* Becomes the settings' user and group for good, unless neither is set or we are that user already. Of the capabilities
 * of root only CAP_NET_BIND_SERVICE is kept. False with a reason in `error`. */
bool privileges_drop(const struct settings *settings, char *error, size_t error_size);

/* The owner of files and folders that are made before that: (uid_t)-1 and (gid_t)-1 if user and group stay. */
uid_t privileges_user(const struct settings *settings);
gid_t privileges_group(const struct settings *settings);

/* Whether the settings' user could read the file; true if we are not root or no user is set. False with errno. */
bool privileges_can_read(const struct settings *settings, const char *path);

#endif
