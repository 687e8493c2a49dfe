/* Rates, and quotas of clients that share a key, by a made-up clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/quota.h"
#include "base/rate.h"

#define SECOND INT64_C(1000000)

/* Takes all tokens; returns how many there were. */
static unsigned rate_drain(struct rate *rate, int64_t limit, int64_t now)
{
    unsigned count = 0;
    for (; rate_tokens(rate, limit, now) > 0; count++)
        rate_take(rate, limit, now);
    return count;
}

static void bucket_holds_a_second(void **state)
{
    (void)state;
    struct rate rate = { 0 };
    assert_int_equal(rate_drain(&rate, 5, 0), 5);
    assert_int_equal(rate_drain(&rate, 5, SECOND / 5 - 1), 0);
    assert_int_equal(rate_drain(&rate, 5, SECOND / 5), 1);
    assert_int_equal(rate_drain(&rate, 5, SECOND), 4);
    assert_int_equal(rate_drain(&rate, 5, 1000 * SECOND), 5);
    assert_int_equal(rate_tokens(&rate, 5, 1000 * SECOND), 0);
}

static void due_is_when_the_next_one_is_there(void **state)
{
    (void)state;
    static const int64_t limits[] = { 1, 3, 7, 1000, 999983, 1000000 };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct rate rate = { 0 };
        int64_t now = 12345;
        assert_int_equal(rate_drain(&rate, limits[i], now), limits[i]);
        for (int round = 0; round < 20; round++) {
            int64_t due = rate_due(&rate, limits[i], now);
            assert_true(due > now);
            assert_int_equal(rate_tokens(&rate, limits[i], due - 1), 0);
            assert_int_equal(rate_tokens(&rate, limits[i], due), 1);
            rate_take(&rate, limits[i], due);
            now = due;
        }
    }
}

/* Over a long time exactly as many as the limit says. */
static void nothing_is_lost_by_looking_often(void **state)
{
    (void)state;
    struct rate rate = { 0 };
    unsigned count = rate_drain(&rate, 7, 0);
    for (int64_t now = 1; now <= 10 * SECOND; now += 13)
        count += rate_drain(&rate, 7, now);
    count += rate_drain(&rate, 7, 10 * SECOND);
    assert_int_equal(count, 7 + 70);
}

static void other_limit_counts_at_once(void **state)
{
    (void)state;
    struct rate rate = { 0 };
    assert_int_equal(rate_drain(&rate, 1000, 0), 1000);
    assert_int_equal(rate_due(&rate, 2, 0), SECOND / 2); /* not what a thousand would take */
    assert_int_equal(rate_tokens(&rate, 100, 0), 98);
    assert_int_equal(rate_tokens(&rate, -1, 0), INT64_MAX);
    assert_int_equal(rate_tokens(&rate, 0, 0), INT64_MAX);
    rate_take(&rate, -1, 0);
    assert_int_equal(rate_tokens(&rate, 100, 0), 98);
}

static size_t quotas_count(const struct quotas *quotas)
{
    size_t count = 0;
    list_foreach(&quotas->unused, node) count++;
    return count;
}

static struct slice key_of(const uint32_t *number)
{
    return (struct slice){ (const char *)number, sizeof *number };
}

static void quota_is_kept_till_it_is_full(void **state)
{
    (void)state;
    struct quotas quotas;
    quotas_init(&quotas, sizeof(struct quota));
    struct quota *one = quotas_join(&quotas, SLICE("one"), 0);
    struct quota *other = quotas_join(&quotas, SLICE("another"), 0);
    assert_non_null(one);
    assert_ptr_not_equal(one, other);
    assert_ptr_equal(quotas_join(&quotas, SLICE("one"), 0), one);
    assert_int_equal(one->clients, 2);
    rate_take(&one->rate, 1, 0);
    quotas_leave(&quotas, one, 0);
    quotas_leave(&quotas, one, 0);
    quotas_join(&quotas, SLICE("another"), SECOND - 1);
    assert_ptr_equal(quotas_find(&quotas, SLICE("one")), one);
    assert_int_equal(rate_tokens(&one->rate, 1, SECOND - 1), 0);
    assert_ptr_equal(quotas_join(&quotas, SLICE("one"), 5 * SECOND), one);
    quotas_leave(&quotas, one, 5 * SECOND);
    quotas_join(&quotas, SLICE("another"), 6 * SECOND);
    assert_null(quotas_find(&quotas, SLICE("one")));
    assert_ptr_equal(quotas_find(&quotas, SLICE("another")), other);
    quotas_free(&quotas);
}

/* Each comes from an address of its own, and goes at once: no more are there than a second brings, and no client has to
 * free many. */
static void quotas_are_bounded(void **state)
{
    (void)state;
    struct quotas quotas;
    quotas_init(&quotas, sizeof(struct quota));
    for (uint32_t i = 0; i < 20000; i++) {
        int64_t now = (int64_t)i * 1000;
        size_t before = quotas_count(&quotas);
        quotas_leave(&quotas, quotas_join(&quotas, key_of(&i), now), now);
        assert_true(quotas_count(&quotas) <= 1001);
        assert_true(before - quotas_count(&quotas) + 1 <= 4 || before < quotas_count(&quotas));
    }
    quotas_free(&quotas);
    assert_null(quotas.tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_holds_a_second),
        cmocka_unit_test(due_is_when_the_next_one_is_there),
        cmocka_unit_test(nothing_is_lost_by_looking_often),
        cmocka_unit_test(other_limit_counts_at_once),
        cmocka_unit_test(quota_is_kept_till_it_is_full),
        cmocka_unit_test(quotas_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
