/* What the simulations have in common: options, many runs, and the seed of one that fails, crashes or hangs.
 *
 *   PROGRAM                       as many runs as `make check` wants (TEST_SCALE scales it)
 *   PROGRAM --runs N [--first S]  N runs, from seed S on (1)
 *   PROGRAM --seconds N           as many as there is time for, from a seed that nobody knows
 *   PROGRAM --seed S [--trace]    this one again */
#ifndef SIMULATION_RUNNER_H
#define SIMULATION_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

struct runner {
    unsigned long runs; /* for `make check` */
    /* One run; ends the program at the first broken promise. */
    void (*run)(uint64_t seed, bool trace);
    /* Says what has happened in many runs; returns whether that was enough. May be NULL. */
    bool (*finish)(unsigned long runs);
};

/* Returns what main() is to return. */
int runner_main(int argc, char **argv, const struct runner *runner);

#endif
