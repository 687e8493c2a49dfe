/* A histogram of durations from a microsecond to nineteen hours: each power of two has eight equal steps, so that a
 * value is known to one eighth of itself. All zeros is an empty histogram. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS  3
#define HISTOGRAM_VALUE_BITS 36
#define HISTOGRAM_STEPS      (1u << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_BUCKETS    ((HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1u) * HISTOGRAM_STEPS)

/* Values are microseconds. */
struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a value. Its upper bound belongs to it, so that counts up to any power of two are exact. */
static inline unsigned histogram_bucket(uint64_t value)
{
    uint64_t below = value > 0 ? value - 1 : 0;
    if (below >> HISTOGRAM_VALUE_BITS != 0)
        return HISTOGRAM_BUCKETS - 1;
    if (below < HISTOGRAM_STEPS)
        return (unsigned)below;
    unsigned shift = 63 - HISTOGRAM_STEP_BITS - (unsigned)__builtin_clzll(below);
    return shift * HISTOGRAM_STEPS + (unsigned)(below >> shift);
}

/* Negative values count as 0. */
static inline void histogram_record(struct histogram *histogram, int64_t microseconds)
{
    uint64_t value = microseconds > 0 ? (uint64_t)microseconds : 0;
    histogram->count++;
    histogram->sum += value;
    histogram->buckets[histogram_bucket(value)]++;
}

void histogram_add(struct histogram *histogram, const struct histogram *from);

/* Leaves what was recorded since `before`, an earlier copy. A bucket in which `before` has more becomes 0: a
 * sum over targets shrinks when a target goes. */
void histogram_subtract(struct histogram *histogram, const struct histogram *before);

/* How many values are not greater than 2 to the power of `exponent`. */
uint64_t histogram_count_to(const struct histogram *histogram, unsigned exponent);

/* The value that `share` (0 to 1) of all values do not exceed, known to one sixteenth; -1 if there is none. */
int64_t histogram_quantile(const struct histogram *histogram, double share);

#endif
