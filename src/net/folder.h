/* The folder of a unix socket or a pid file, such as /run/proximux, which each boot removes. */
#ifndef NET_FOLDER_H
#define NET_FOLDER_H

#include <stdbool.h>
#include <sys/types.h>

/* Makes the last folder of `path` (an absolute path of a file) if it is missing, 0755 and belonging to `user`
 * and `group` ((uid_t)-1, (gid_t)-1: the process's). False with errno. */
bool folder_make_for(const char *path, uid_t user, gid_t group);

#endif
