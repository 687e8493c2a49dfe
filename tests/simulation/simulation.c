/* The simulation of the multiplexer: many runs, each made from one number. Fails at the first broken promise, and says by
 * which seed; at full scale also if a situation never came up. See README.md, and runner.h for the options. */
#include "simulation/coverage.h"
#include "simulation/runner.h"
#include "simulation/world.h"

#include <stdio.h>
#include <stdlib.h>

#define RUNS_FULL 10000 /* from here on every situation has to come up */

static struct coverage coverage;

static void run(uint64_t seed, bool trace)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL) {
        perror("simulation");
        exit(2);
    }
    world->seed = seed;
    world->trace = trace;
    world->coverage = &coverage;
    world_run(world);
    free(world);
}

static bool finish(unsigned long runs)
{
    coverage_print(&coverage);
    return runs < RUNS_FULL || coverage_is_full(&coverage);
}

int main(int argc, char **argv)
{
    return runner_main(argc, argv, &(struct runner){ .runs = 12000, .run = run, .finish = finish });
}
