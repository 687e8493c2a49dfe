/* Handing our place over to a new process of the (perhaps new) binary, without a moment in which nobody listens.
 *
 *   the old process                            the new one, started like the old one was
 *   ---------------                            -----------------------------------------
 *   starts it with all listening sockets
 *   (see net/inherited.h) and one end of
 *   a socket pair
 *                                              has read its configuration, has bound everything
 *                          <-- 'R' (ready) ---
 *   lets go of the pid file
 *                          --- 'G' (go) ----->
 *                                              takes the pid file and begins to accept
 *                          <-- 'D' (done) ----
 *   makes it an orphan (see launch.c), tells
 *   the service manager, closes the pair
 *                                              tells the service manager, too
 *   drains
 *
 * If the new process ends before 'D', or is not that far in time, the old one goes on as if nothing had been
 * asked. */
#ifndef SERVER_UPGRADE_H
#define SERVER_UPGRADE_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Of the environment: the number of the new process's end of the pair. */
#define UPGRADE_VARIABLE "LISTEN_HANDOVER"

/* A process that is being started. */
struct launched {
    pid_t process; /* 0: none */
    pid_t starter;
    int report; /* what the starter has to say */
};

/* A listening socket to hand over, and its name (see net/inherited.h). */
struct launch_socket {
    int descriptor;
    const char *name;
};

/* What the old process is told. */
struct upgrade_owner {
    void *owner;
    double patience;                            /* seconds that a new process has to take over */
    void (*release)(void *owner);               /* let go of what only one process can have */
    void (*resume)(void *owner);                /* take it again, if let go of: the upgrade has failed */
    void (*over)(void *owner, pid_t successor); /* `successor` serves now */
};

/* The old process's side. Owned by the server. */
struct upgrade {
    struct ev_loop *loop;
    struct upgrade_owner owner;
    char **arguments;
    char *binary;              /* as it was found at start; NULL: not to be found out */
    char *directory;           /* that we were started in; NULL: gone */
    struct launched successor; /* none: no upgrade is under way */
    bool released;
    ev_io watcher;
    ev_timer timer;
};

/* Notes how this process was started, before the directory changes. `arguments` has to outlive it. */
void upgrade_init(struct upgrade *upgrade, char **arguments);

/* From now on an upgrade can be started. `owner` is copied. */
void upgrade_attach(struct upgrade *upgrade, struct ev_loop *loop, const struct upgrade_owner *owner);

/* Starts an upgrade, or logs why there is none. */
void upgrade_start(struct upgrade *upgrade, struct launch_socket *sockets, size_t count);

/* Ends a new process that has not taken over yet. */
void upgrade_cancel(struct upgrade *upgrade);
void upgrade_free(struct upgrade *upgrade);

/* ---- launch.c ---- */

/* Exit status of a process whose binary can't be executed, or lacks a library. */
#define LAUNCH_FAILED 127

/* Starts the binary with the sockets, as systemd passes them, and one end of a socket pair. Returns the other end,
 * which does not block, or -1 with errno. */
int launch_start(struct upgrade *upgrade, struct launch_socket *sockets, size_t count);

/* From now on the new process is no descendant of this one. */
void launch_let_go(struct launched *launched);

/* Ends it, unless it has ended by itself, and waits. Returns its status as of waitpid(2); -1: not to be known. */
int launch_end(struct launched *launched);

/* ---- The new process ---- */

/* The descriptor of the socket pair, or -1 if there is no old process. */
int upgrade_find_predecessor(void);

/* Tells the old process that all is ready, and waits until it has let go of what only one can have. */
void upgrade_ask(int descriptor);

/* Tells the old process that we serve, waits until it has told the service manager, and closes. */
void upgrade_take_over(int descriptor);

#endif
