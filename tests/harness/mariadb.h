/* A real MariaDB server, and its client library. For programs that are linked with that. */
#ifndef HARNESS_MARIADB_H
#define HARNESS_MARIADB_H

#include "harness/database.h"

#include <mysql.h>

/* Starts the server and waits until it answers; database_stop() in any case. Returns 0, or the status that
 * the program has to end with, having said why. */
int mariadb_start(struct database *database);

/* One attempt to log in; NULL if it failed. */
MYSQL *mariadb_try_login(unsigned port, const char *password);

/* These fail the test if the server does not do what is wanted. */
MYSQL *mariadb_login(unsigned port);
void mariadb_execute(MYSQL *connection, const char *query);

/* The one value that a query returns, as text. */
void mariadb_value(MYSQL *connection, const char *query, char *value, size_t size);

#endif
