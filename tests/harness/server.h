/* A real server for one test program: a process of its own, with a directory and a port that nobody else has.
 * As some refuse to run as root, and others should not, it runs as the user "nobody" then. */
#ifndef HARNESS_SERVER_H
#define HARNESS_SERVER_H

#include "harness/process.h"
#include "harness/test.h"

#define SERVER_SKIPPED 77 /* exit status of a test program whose server is not installed */

/* Owned by who prepared it: server_stop(). All zeros is one that was never prepared. */
struct server {
    char directory[64];
    char log[96]; /* the file that takes what it writes */
    pid_t process;
    unsigned port;
};

/* Makes the directory and chooses the port, on 127.0.0.1. */
bool server_prepare(struct server *server);

/* Writes a file in its directory, for all to read. */
bool server_write_file(const struct server *server, const char *name, const char *text);

/* Runs one of the server's own tools, which must succeed; else says why it did not. */
bool server_run_tool(const struct server *server, const char *const *arguments);

/* Starts the server; the arguments begin with the command and end with NULL. */
bool server_start(struct server *server, const char *const *arguments);

/* Waits until it takes connections. False, with its log printed, if it ends instead or takes too long. */
bool server_wait(struct server *server);

/* Ends the server with a signal, or KILL if that does not help, and removes its files. */
void server_stop(struct server *server, int signal);

/* Prints what the server has logged. */
void server_print_log(const struct server *server);

#endif
