#include "base/histogram.h"

void histogram_add(struct histogram *histogram, const struct histogram *from)
{
    histogram->count += from->count;
    histogram->sum += from->sum;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->buckets[i] += from->buckets[i];
}

void histogram_subtract(struct histogram *histogram, const struct histogram *before)
{
    histogram->count = 0;
    histogram->sum -= before->sum < histogram->sum ? before->sum : histogram->sum;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t *bucket = &histogram->buckets[i];
        *bucket -= before->buckets[i] < *bucket ? before->buckets[i] : *bucket;
        histogram->count += *bucket;
    }
}

uint64_t histogram_count_to(const struct histogram *histogram, unsigned exponent)
{
    uint64_t count = 0;
    unsigned last =
        exponent >= HISTOGRAM_VALUE_BITS ? HISTOGRAM_BUCKETS - 1 : histogram_bucket((uint64_t)1 << exponent);
    for (unsigned i = 0; i <= last; i++)
        count += histogram->buckets[i];
    return count;
}

/* The middle of a bucket. */
static int64_t bucket_middle(unsigned bucket)
{
    if (bucket < 2 * HISTOGRAM_STEPS)
        return (int64_t)bucket + 1;
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t lower = (uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << shift;
    return (int64_t)(lower + ((uint64_t)1 << shift) / 2);
}

int64_t histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count);
    uint64_t count = 0;
    if ((double)wanted < share * (double)histogram->count || wanted == 0)
        wanted++;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        count += histogram->buckets[i];
        if (count >= wanted)
            return bucket_middle(i);
    }
    return -1;
}
