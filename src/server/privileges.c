#include "server/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool privileges_fail(char *error, size_t error_size, const char *step)
{
    snprintf(error, error_size, "%s: %s", step, strerror(errno));
    return false;
}

uid_t privileges_user(const struct settings *settings)
{
    return settings->user != NULL && geteuid() == 0 ? settings->user_id : (uid_t)-1;
}

gid_t privileges_group(const struct settings *settings)
{
    bool is_set = settings->user != NULL || settings->group != NULL;
    return is_set && geteuid() == 0 ? settings->group_id : (gid_t)-1;
}

static bool change_groups(const struct settings *settings, char *error, size_t error_size)
{
    if (settings->user != NULL) {
        if (initgroups(settings->user, settings->group_id) == -1)
            return privileges_fail(error, error_size, "taking on the user's groups");
    } else if (setgroups(1, &settings->group_id) == -1) {
        return privileges_fail(error, error_size, "giving up groups");
    }
    if (setresgid(settings->group_id, settings->group_id, settings->group_id) == -1)
        return privileges_fail(error, error_size, "taking on the group");
    return true;
}

/* Keeps, of all that root could do, the right to bind ports below 1024, as far as root has it here: what is
 * read anew may name other ones. Ambient, so that a new binary that takes our place has it too. */
static bool keep_low_ports(void)
{
    const uint32_t bit = UINT32_C(1) << CAP_NET_BIND_SERVICE;
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct present[_LINUX_CAPABILITY_U32S_3] = { 0 };
    if (syscall(SYS_capget, &header, present) == -1)
        return false;
    uint32_t kept = present[0].permitted & bit;
    const struct __user_cap_data_struct reduced[_LINUX_CAPABILITY_U32S_3] = { { kept, kept, kept } };
    if (syscall(SYS_capset, &header, reduced) == -1)
        return false;
    if (kept != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == -1)
        return errno == EINVAL || errno == EPERM; /* kernels and service managers can have it switched off */
    return true;
}

bool privileges_drop(const struct settings *settings, char *error, size_t error_size)
{
    if (settings->user == NULL && settings->group == NULL)
        return true;
    if (geteuid() != 0) {
        bool is_us =
            (settings->user == NULL || settings->user_id == geteuid()) && settings->group_id == getegid();
        errno = EPERM;
        return is_us || privileges_fail(error, error_size, "only root can become another user or group");
    }
    if (!change_groups(settings, error, error_size))
        return false;
    if (settings->user == NULL)
        return true;
    if (settings->user_id != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == -1)
        return privileges_fail(error, error_size, "keeping the right to bind ports below 1024");
    if (setresuid(settings->user_id, settings->user_id, settings->user_id) == -1)
        return privileges_fail(error, error_size, "taking on the user");
    if (settings->user_id != 0 && !keep_low_ports())
        return privileges_fail(error, error_size, "giving up the capabilities of root");
    if (settings->user_id != 0 && setuid(0) == 0) {
        errno = EPERM;
        return privileges_fail(error, error_size, "the rights of root could be had back");
    }
    return true;
}

bool privileges_can_read(const struct settings *settings, const char *path)
{
    if (geteuid() != 0 || settings->user == NULL)
        return true;
    pid_t child = fork();
    if (child == -1)
        return false;
    if (child == 0) {
        char error[80];
        if (!privileges_drop(settings, error, sizeof error))
            _exit(errno);
        int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        _exit(descriptor == -1 ? errno : 0);
    }
    int status;
    if (TEMP_FAILURE_RETRY(waitpid(child, &status, 0)) == -1)
        return false;
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
    return errno == 0;
}
