/* Going to the background, and the pid file. */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Opens /dev/null in place of standard descriptors that the process was started without: a socket that got
 * such a number would be written the log, or be replaced when we go to the background. False with errno. */
bool daemon_fill_standard(void);

/* Splits off the process that is to be the daemon; returns in that one only. The process that was started
 * from the terminal waits until the daemon is ready or has ended, and exits with 0 or 1 accordingly; the
 * daemon keeps the terminal's standard error until then. Returns a descriptor for daemon_ready(), which the
 * caller closes instead if the start fails, or -1 with errno. */
int daemon_start(void);

/* Lets the waiting process exit with 0, cuts the ties to the terminal, closes the descriptor and sets it to
 * -1. False with errno: then it is still open. */
bool daemon_ready(int *descriptor);

/* A pid file that is held. Owned by the server. */
struct pid_file {
    const char *path; /* NULL: none */
    int descriptor;
    dev_t device;
    ino_t inode;
};

/* Makes (with its last folder), locks and writes the file; it then belongs to `user` and `group` ((uid_t)-1:
 * us). False with a reason in `error`, such as that another process holds it. `path` must outlive it; NULL:
 * does nothing. */
bool pid_file_take(struct pid_file *file, const char *path, uid_t user, gid_t group, char *error,
                   size_t error_size);

/* Lets go of the file for a process that takes our place; it stays as it is. */
void pid_file_leave(struct pid_file *file);

/* Removes the file, or empties it where removing is not permitted. */
void pid_file_release(struct pid_file *file);

#endif
