/* Starting a new process of our binary that outlives us: not as our child, but as that of whoever takes in
 * orphans. Under systemd that is systemd itself, which learns of the end of its own children only.
 *
 *   this process --- starter --- new process        while it starts
 *   this process     whoever --- new process        when it is let go
 *
 * The starter is a copy of this process that holds nothing and waits: only a parent learns how a process has
 * ended, and only as long as the parent has not asked does its number belong to nobody else. */
#ifndef SERVER_LAUNCH_H
#define SERVER_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A listening socket to hand over, and its name (see net/inherited.h). */
struct launch_socket {
    int descriptor;
    const char *name;
};

/* What is started. Nothing of it is copied. */
struct launch_program {
    char **arguments;
    const char *binary;
    const char *directory; /* NULL: this process's */
    const char *variable;  /* of the environment: gets the number of the new process's end of the pair */
};

/* A process that is being started. Owned by who started it. */
struct launched {
    pid_t process; /* 0: none */
    pid_t starter;
    int report; /* what the starter has to say */
};

/* Exit status of a process whose binary can't be executed, or lacks a library. */
#define LAUNCH_FAILED 127

/* Starts the program with the sockets, as systemd passes them, and one end of a socket pair. Returns the other end,
 * which does not block, or -1 with errno. */
int launch_start(struct launched *launched, const struct launch_program *program,
                 struct launch_socket *sockets, size_t count);

/* From now on the new process is no descendant of this one. */
void launch_let_go(struct launched *launched);

/* Ends it, unless it has ended by itself, and waits. Returns its status as of waitpid(2); -1: not to be known. */
int launch_end(struct launched *launched);

#endif
