#include "net/folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool folder_make_for(const char *path, uid_t user, gid_t group)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return true;
    char *folder = strndup(path, (size_t)(slash - path));
    if (folder == NULL)
        return false;
    bool success = mkdir(folder, 0755) == 0;
    if (success)
        /* the umask may have taken rights away */
        success = chmod(folder, 0755) == 0 && lchown(folder, user, group) == 0;
    else
        success = errno == EEXIST;
    int error = errno;
    free(folder);
    errno = error;
    return success;
}
