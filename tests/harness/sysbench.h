/* The benchmark sysbench, as a client of a database that asks known statements. */
#ifndef HARNESS_SYSBENCH_H
#define HARNESS_SYSBENCH_H

#include "harness/fixture.h"

struct sysbench_options {
    const char *driver; /* "mysql" or "pgsql" */
    unsigned port;      /* on 127.0.0.1; the user is that of harness/database.h */
    const char *database;
    const char *script;        /* "oltp_read_write", ... */
    const char *command;       /* "prepare", "run" or "cleanup" */
    const char *prepared_mode; /* of statements: "auto" (prepared) or "disable" */
    unsigned threads;
    size_t events;
};

bool sysbench_is_installed(void);

/* Runs it to its end, which must be a good one. Returns how many queries it says it has performed. */
size_t sysbench_run(struct fixture *fixture, const struct sysbench_options *options);

#endif
