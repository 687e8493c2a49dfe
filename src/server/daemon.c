#include "server/daemon.h"

#include "base/log.h"
#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often a pid file that is removed under our hands is made anew. */
#define PID_FILE_ROUNDS 10

bool daemon_fill_standard(void)
{
    for (int standard = STDIN_FILENO; standard <= STDERR_FILENO; standard++)
        /* the lowest number that is free is taken, and those below are not */
        if (fcntl(standard, F_GETFD) == -1 && open("/dev/null", O_RDWR) == -1)
            return false;
    return true;
}

/* Waits in the process of the terminal for the daemon's one byte; the pipe's end means that it failed. */
static void wait_for_daemon(int descriptor)
{
    char byte;
    ssize_t got = TEMP_FAILURE_RETRY(read(descriptor, &byte, 1));
    close(descriptor);
    _exit(got == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

int daemon_start(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) == -1)
        return -1;
    pid_t child = fork();
    if (child == -1) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        errno = error;
        return -1;
    }
    if (child > 0) {
        close(ends[1]);
        wait_for_daemon(ends[0]);
    }
    close(ends[0]);
    if (setsid() == -1) {
        close(ends[1]);
        return -1;
    }
    return ends[1];
}

bool daemon_ready(int *descriptor)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null == -1)
        return false;
    bool success = chdir("/") == 0 && dup2(null, STDIN_FILENO) != -1 && dup2(null, STDOUT_FILENO) != -1 &&
                   dup2(null, STDERR_FILENO) != -1;
    close(null);
    if (!success || write(*descriptor, "", 1) != 1)
        return false;
    close(*descriptor);
    *descriptor = -1;
    return true;
}

static bool pid_file_fail(struct pid_file *file, const char *why, char *error, size_t error_size)
{
    snprintf(error, error_size, "pid file %s: %s", file->path, why);
    if (file->descriptor != -1)
        close(file->descriptor);
    file->descriptor = -1;
    file->path = NULL;
    return false;
}

/* Writes our number over what another process left there; who reads meanwhile finds a number. */
static bool pid_file_write(struct pid_file *file)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    return pwrite(file->descriptor, text, (size_t)length, 0) == length &&
           ftruncate(file->descriptor, length) == 0;
}

/* Opens and locks the file. False with a reason in `error`. */
static bool pid_file_lock(struct pid_file *file, char *error, size_t error_size)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct stat status;
    file->descriptor = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file->descriptor == -1 || fstat(file->descriptor, &status) == -1)
        return pid_file_fail(file, strerror(errno), error, error_size);
    if (!S_ISREG(status.st_mode))
        return pid_file_fail(file, "it is no regular file", error, error_size);
    file->device = status.st_dev;
    file->inode = status.st_ino;
    if (fcntl(file->descriptor, F_SETLK, &lock) == 0)
        return true;
    char text[64] = "";
    if ((errno == EAGAIN || errno == EACCES) && fcntl(file->descriptor, F_GETLK, &lock) == 0)
        snprintf(text, sizeof text, "held by process %ld, which is running", (long)lock.l_pid);
    return pid_file_fail(file, text[0] != '\0' ? text : strerror(errno), error, error_size);
}

/* Whether the path still is the file that was opened. */
static bool pid_file_is_there(const struct pid_file *file)
{
    struct stat status;
    return lstat(file->path, &status) == 0 && status.st_dev == file->device && status.st_ino == file->inode;
}

bool pid_file_take(struct pid_file *file, const char *path, uid_t user, gid_t group, char *error,
                   size_t error_size)
{
    *file = (struct pid_file){ .path = path, .descriptor = -1 };
    if (path == NULL)
        return true;
    if (!socket_make_folder(path, user, group))
        return pid_file_fail(file, strerror(errno), error, error_size);
    /* A process that ends removes its file: what was opened before that is not to be found by anybody. */
    int round = 0;
    do {
        if (file->descriptor != -1)
            close(file->descriptor);
        if (!pid_file_lock(file, error, error_size))
            return false;
    } while (!pid_file_is_there(file) && round++ < PID_FILE_ROUNDS);
    if (fchown(file->descriptor, user, group) == -1 || !pid_file_write(file))
        return pid_file_fail(file, strerror(errno), error, error_size);
    return true;
}

void pid_file_leave(struct pid_file *file)
{
    if (file->path != NULL)
        close(file->descriptor);
    file->path = NULL;
}

void pid_file_release(struct pid_file *file)
{
    if (file->path != NULL && pid_file_is_there(file) && unlink(file->path) == -1 &&
        ftruncate(file->descriptor, 0) == -1)
        log_debug(NULL, "pid file %s stays: %s", file->path, strerror(errno));
    pid_file_leave(file);
}
