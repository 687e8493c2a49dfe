/* Real database servers for one test program. */
#ifndef HARNESS_DATABASE_H
#define HARNESS_DATABASE_H

#include "harness/server.h"

#define DATABASE_USER     "tester"
#define DATABASE_PASSWORD "secret word"

/* A running server. Owned by who started it. */
struct database {
    struct server server;
    char programs[256]; /* the folder of its command line tools */
};

enum database_outcome { DATABASE_RUNS, DATABASE_NOT_INSTALLED, DATABASE_FAILED };

/* Starts a server on 127.0.0.1 that knows DATABASE_USER, and returns when its process runs; clients must try
 * until it answers. Says on the terminal why it does not run. */
enum database_outcome database_start_mariadb(struct database *database);
enum database_outcome database_start_postgresql(struct database *database);

/* Ends the server and removes its files. */
void database_stop(struct database *database);

#endif
