/* The one source of chance of a run: the same seed gives the same run on every machine. */
#ifndef SIMULATION_RANDOM_H
#define SIMULATION_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_seed(struct random *random, uint64_t seed);
uint64_t random_next(struct random *random);

/* 0 to limit - 1; 0 if limit is 0. */
size_t random_below(struct random *random, size_t limit);

/* From low to high, both included. */
size_t random_between(struct random *random, size_t low, size_t high);

/* True in so many cases of a hundred. */
bool random_chance(struct random *random, unsigned percent);

/* One of an array's numbers. */
#define random_pick(random, array) ((array)[random_below((random), sizeof(array) / sizeof((array)[0]))])

#endif
