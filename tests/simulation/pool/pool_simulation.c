/* The simulation of the pool: see README.md. Options as of simulation.c. */
#include "simulation/pool/pool_world.h"
#include "simulation/runner.h"

int main(int argc, char **argv)
{
    return runner_main(argc, argv, &(struct runner){ .runs = 2000, .run = world_run });
}
