/* The running process: the loop, its signals and its listeners, from binding to the last client. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "config/config.h"
#include "events/events.h"

#include <stdbool.h>

struct server_options {
    char **arguments; /* the command line, for starting the binary anew */
    bool daemon;
    struct config_source source; /* what a reload reads */
    const char *pid_file;        /* of the command line; NULL: that of the settings */
    struct events *events;       /* loaded, not started; server_run() takes them over */
};

/* Holds back HUP, USR1 and USR2, which would kill a process that has no loop yet, until that of server_run()
 * takes them. To be called before the configuration is read. */
void server_hold_signals(void);

/* Serves until a signal ends it. `config` is without errors and stays the caller's; what a reload brings
 * takes the place of what it holds. Returns the exit status; errors at start were written to standard error. */
int server_run(struct config *config, const struct server_options *options);

#endif
