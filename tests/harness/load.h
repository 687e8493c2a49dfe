/* Load by real clients, in rounds: each tool runs for seconds at a time, is looked at when it ends, and is
 * started again as long as the test wants it to. What a tool says of itself is read strictly: a round is good
 * if its exit status is 0 and its report knows of nothing that failed. */
#ifndef HARNESS_LOAD_H
#define HARNESS_LOAD_H

#include "harness/fixture.h"
#include "harness/test.h"

enum load_kind { LOAD_PGBENCH, LOAD_REDIS_BENCHMARK, LOAD_WRK };

/* Owned by the test; its process is ended with the test program at the latest. */
struct load {
    const char *name; /* of its output's file */
    enum load_kind kind;
    const char *const *arguments; /* the command and its arguments, NULL at the end */
    const char *const *environment;
    pid_t process;   /* 0: none runs */
    size_t rounds;   /* that have ended, all of them well */
    size_t requests; /* that it has counted in them */
};

/* Starts a round. */
#define load_start(load, fixture) load_start_at((load), (fixture), HERE)
void load_start_at(struct load *load, const struct fixture *fixture, struct place place);

/* Looks whether the round has ended, and adds it up then; a bad one fails the test. False: it still runs. */
#define load_has_ended(load, fixture) load_has_ended_at((load), (fixture), HERE)
bool load_has_ended_at(struct load *load, const struct fixture *fixture, struct place place);

#endif
