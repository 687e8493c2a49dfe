/* A real PostgreSQL server, its client library and tools. For programs that are linked with that library. */
#ifndef HARNESS_POSTGRESQL_H
#define HARNESS_POSTGRESQL_H

#include "harness/database.h"
#include "harness/fixture.h"

#include <libpq-fe.h>

/* Starts the server and waits until it answers; database_stop() in any case. Returns 0, or the status that
 * the program has to end with, having said why. */
int postgresql_start(struct database *database);

/* One attempt to log in; NULL if it failed. */
PGconn *postgresql_try_login(unsigned port, const char *password);

/* These fail the test if the server does not do what is wanted. */
PGconn *postgresql_login(unsigned port);
void postgresql_execute(PGconn *connection, const char *query, ExecStatusType expected);

/* The one value that a query returns, as text. */
void postgresql_value(PGconn *connection, const char *query, char *value, size_t size);

/* Copies so many bytes of numbered lines into the table "copied", and all of its lines out of it. Both count
 * the lines, and go on with a hash over their bytes (FNV-1a). */
void postgresql_copy_in(PGconn *connection, size_t size, size_t *lines, uint64_t *hash);
void postgresql_copy_out(PGconn *connection, size_t *lines, uint64_t *hash);

/* Runs pgbench, all of whose statements the server logs, to its end. */
void postgresql_run_pgbench(struct fixture *fixture, const char *const *arguments);

#endif
