/* Histograms and the table of counters. */
#include "base/clock.h"
#include "base/counters.h"
#include "harness/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_buckets_follow_each_other(void **state)
{
    (void)state;
    unsigned last = histogram_bucket(0);
    assert_int_equal(last, 0);
    for (uint64_t value = 1; value < 1000000; value++) {
        unsigned bucket = histogram_bucket(value);
        test_require(bucket == last || bucket == last + 1, "%llu: from %u to %u", (unsigned long long)value,
                     last, bucket);
        last = bucket;
    }
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket((uint64_t)1 << HISTOGRAM_VALUE_BITS), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(((uint64_t)1 << HISTOGRAM_VALUE_BITS) - 1), HISTOGRAM_BUCKETS - 1);
}

/* One value alone is every quantile, and known to one sixteenth of itself. */
static void test_error_is_bounded(void **state)
{
    (void)state;
    for (uint64_t value = 1; value < (uint64_t)1 << 35; value += 1 + value / 13) {
        struct histogram histogram = { 0 };
        histogram_record(&histogram, (int64_t)value);
        int64_t found = histogram_quantile(&histogram, 0.5);
        int64_t error = found > (int64_t)value ? found - (int64_t)value : (int64_t)value - found;
        test_require(error * 16 <= (int64_t)value, "%llu was taken for %lld", (unsigned long long)value,
                     (long long)found);
    }
}

static void test_counts_to_powers_are_exact(void **state)
{
    (void)state;
    struct histogram histogram = { 0 };
    for (int64_t value = -3; value <= 5000; value++)
        histogram_record(&histogram, value);
    assert_int_equal(histogram.count, 5004);
    assert_int_equal(histogram.sum, 5000 * 5001 / 2);
    for (unsigned exponent = 0; exponent < 12; exponent++)
        assert_int_equal(histogram_count_to(&histogram, exponent), ((uint64_t)1 << exponent) + 4);
    assert_int_equal(histogram_count_to(&histogram, 13), 5004);
    assert_int_equal(histogram_count_to(&histogram, 63), 5004);
}

static void test_quantiles(void **state)
{
    (void)state;
    static const double shares[] = { 0.0, 0.01, 0.5, 0.9, 0.99, 1.0 };
    struct histogram histogram = { 0 };
    assert_int_equal(histogram_quantile(&histogram, 0.5), -1);
    for (int64_t value = 1; value <= 10000; value++)
        histogram_record(&histogram, value);
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        double exact = shares[i] > 0 ? shares[i] * 10000 : 1;
        double found = (double)histogram_quantile(&histogram, shares[i]);
        test_require(found >= exact * 15 / 16 && found <= exact * 17 / 16, "%g: %g", shares[i], found);
    }
}

static void test_differences(void **state)
{
    (void)state;
    struct histogram histogram = { 0 };
    histogram_record(&histogram, 10);
    struct histogram before = histogram;
    histogram_record(&histogram, 1000);
    struct histogram since = histogram;
    histogram_subtract(&since, &before);
    assert_int_equal(since.count, 1);
    assert_int_equal(since.sum, 1000);
    assert_true(histogram_quantile(&since, 0.0) > 900);
    histogram_add(&since, &before);
    assert_memory_equal(&since, &histogram, sizeof since);
}

/* The loop's own cost is in it; asserted is only what no machine misses. */
static void test_recording_is_cheap(void **state)
{
    (void)state;
    struct histogram histogram = { 0 };
    size_t rounds = test_scaled(20000000, 100000);
    uint64_t value = 88172645463325252u;
    int64_t begun = clock_now();
    for (size_t i = 0; i < rounds; i++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        histogram_record(&histogram, (int64_t)(value & 0xfffff));
        __asm__ volatile("" : : "r"(&histogram) : "memory"); /* or all of it is left out */
    }
    double nanoseconds = (double)(clock_now() - begun) * 1e3 / (double)rounds;
    assert_int_equal(histogram.count, rounds);
    print_message("# recording one value takes %.1f ns\n", nanoseconds);
    if (test_figures_count())
        assert_true(nanoseconds < 200);
}

/* Every field of the structs has its line, names are in order and unique, and totals are called totals. */
static void test_table(void **state)
{
    (void)state;
    static const size_t sizes[GROUP_COUNT] = {
        [GROUP_LISTENER_GAUGES] = sizeof(struct listener_gauges),
        [GROUP_LISTENER] = sizeof(struct counters),
        [GROUP_TARGET_GAUGES] = sizeof(struct target_gauges),
        [GROUP_TARGET] = sizeof(struct target_counters),
    };
    static const size_t widths[] = {
        [COUNTER_TOTAL] = sizeof(uint64_t),
        [COUNTER_BY_REASON] = REASON_COUNT * sizeof(uint64_t),
        [COUNTER_GAUGE] = sizeof(uint64_t),
        [COUNTER_TIMES] = sizeof(struct histogram),
    };
    for (int group = 0; group < GROUP_COUNT; group++) {
        size_t count;
        const struct counter *lines = counters_of((enum counter_group)group, &count);
        size_t covered = 0;
        for (size_t i = 0; i < count; i++) {
            covered += widths[lines[i].kind];
            bool is_total = lines[i].kind == COUNTER_TOTAL || lines[i].kind == COUNTER_BY_REASON;
            size_t length = strlen(lines[i].name);
            bool says_total = length > 6 && strcmp(lines[i].name + length - 6, "_total") == 0;
            test_require(is_total == says_total, "%s", lines[i].name);
            for (size_t other = 0; other < i; other++)
                assert_string_not_equal(lines[i].name, lines[other].name);
        }
        assert_int_equal(covered, sizes[group]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_follow_each_other),
        cmocka_unit_test(test_error_is_bounded),
        cmocka_unit_test(test_counts_to_powers_are_exact),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_recording_is_cheap),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
