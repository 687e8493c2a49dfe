/* Child processes: started, watched, ended by their id, never waited for without a limit. */
#ifndef HARNESS_PROCESS_H
#define HARNESS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct process_options {
    const char *const *arguments;   /* the command and its arguments, NULL at the end; found by PATH */
    const char *const *environment; /* "NAME=value", NULL at the end, in addition to ours; NULL: none */
    const char *output;             /* file that takes standard output and error */
    bool no_standard;               /* start it without descriptors 0 to 2; `output` stays empty */
    const char *user;               /* become this user, if root runs the test; NULL: stay */
    rlim_t descriptors;             /* limit of open descriptors; 0: unchanged */
    const int *passed;              /* sockets that it gets from descriptor 3 on, as systemd passes them */
    size_t passed_count;            /* how many; LISTEN_PID is set, the other variables are the caller's */
    bool may_raise;                 /* that is the soft limit only: it may be raised again */
};

/* Starts a child, which gets a KILL when the test program dies. Variables that Proximux itself reads are not
 * handed on. -1 with errno if it could not be started; a missing command makes the child exit with 127. */
pid_t process_start(const struct process_options *options);

/* Waits up to so many milliseconds (stretched as deadlines are) for the end of a child. False: it still
 * runs. `status`: its exit status, or 128 and the number of the signal that killed it. */
bool process_wait(pid_t process, int64_t milliseconds, int *status);

/* Asks a child to end, waits, kills it if it does not. Returns the status as process_wait() does. */
int process_end(pid_t process);

/* Runs a command to its end and reads what it wrote, cut to `size` with a NUL at the end. Returns its status;
 * -1 if it did not end in time (then it is killed). `options->output` names the file in between. */
int process_run(const struct process_options *options, int64_t milliseconds, char *output, size_t size);

/* Reads a whole file as text, cut to `size`. Returns the length; 0 if it can't be read. */
size_t process_read_file(const char *path, char *text, size_t size);

/* The path of a command, looked up in PATH and then as `pattern` of glob(7), if not NULL. False: not
 * installed. */
bool process_find_command(const char *name, const char *pattern, char *path, size_t size);

/* Figures of a running process; each is -1 if it can't be read. */
long process_resident_kilobytes(pid_t process);
long process_private_kilobytes(pid_t process); /* memory of its own, pages of files left out */
long process_descriptors(pid_t process);
long process_descriptors_named(pid_t process, const char *name); /* those of that kind: "pipe:", "socket:" */
long process_processor_milliseconds(pid_t process);
long process_loop_milliseconds(pid_t process); /* the same of its first thread alone, to the millisecond */
long process_parent(pid_t process);

/* One of the children of a process, dead ones that it has not waited for included; 0: it has none. */
pid_t process_child(pid_t process);

#endif
