/* Going to the background, and the pid file. */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Opens /dev/null in place of standard descriptors that are missing: a socket that got such a number would be written
 * the log. False with errno. */
bool daemon_fill_standard(void);

/* Splits off the daemon, and returns in that one only: a descriptor for daemon_ready(), which the caller closes instead
 * if the start fails, or -1 with errno. The process of the terminal waits for either, and exits with 0 or 1. */
int daemon_start(void);

/* Cuts the ties to the terminal, lets the waiting process exit, closes the descriptor and sets it to -1. False with
 * errno: then it is still open. */
bool daemon_ready(int *descriptor);

/* A pid file that is held. Owned by the server. */
struct pid_file {
    const char *path; /* NULL: none */
    int descriptor;
    dev_t device;
    ino_t inode;
};

/* Makes (with its last folder), locks and writes the file for `user` and `group` ((uid_t)-1: us). False with a reason
 * in `error`, such as that another process holds it. `path` must outlive it; NULL: does nothing. */
bool pid_file_take(struct pid_file *file, const char *path, uid_t user, gid_t group, char *error,
                   size_t error_size);

/* Lets go of the file for a process that takes our place; it stays as it is. */
void pid_file_leave(struct pid_file *file);

/* Removes the file, or empties it where removing is not permitted. */
void pid_file_release(struct pid_file *file);

#endif
