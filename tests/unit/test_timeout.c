/* Lists, and timeouts of one duration in one list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/timeout.h"

#include <string.h>

#define COUNT 5

struct item {
    int before; /* so that the node is not at the beginning */
    struct list_node node;
};

/* Checks the items of the list, in both directions and by every way to walk it. */
static void assert_items(const struct list *list, const struct item *const *expected, size_t count)
{
    size_t seen = 0;
    assert_int_equal(list_empty(list), count == 0);
    list_foreach(list, node)
    {
        assert_true(seen < count);
        assert_ptr_equal(list_entry(node, struct item, node), expected[seen++]);
    }
    assert_int_equal(seen, count);
    const struct list_node *node = list_first(list);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(node, &expected[i]->node);
        assert_true(list_linked(node));
        node = node->next == &list->head ? NULL : node->next;
    }
    assert_null(node);
    node = list->head.previous;
    for (size_t i = count; i-- > 0; node = node->previous)
        assert_ptr_equal(node, &expected[i]->node);
    assert_ptr_equal(node, &list->head);
}

static void test_list_keeps_order(void **state)
{
    (void)state;
    struct list list;
    struct item items[COUNT];
    memset(items, 0, sizeof items);
    list_init(&list);
    assert_items(&list, (const struct item *[]){ NULL }, 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_false(list_linked(&items[i].node));
        list_append(&list, &items[i].node);
    }
    assert_items(&list, (const struct item *[]){ &items[0], &items[1], &items[2], &items[3], &items[4] }, 5);
    list_remove(&items[2].node); /* from the middle */
    list_remove(&items[0].node); /* the first */
    list_remove(&items[4].node); /* the last */
    assert_items(&list, (const struct item *[]){ &items[1], &items[3] }, 2);
    assert_false(list_linked(&items[2].node));
    list_remove(&items[2].node); /* again: no effect */
    list_append(&list, &items[2].node);
    assert_items(&list, (const struct item *[]){ &items[1], &items[3], &items[2] }, 3);
    list_remove(&items[1].node);
    list_remove(&items[3].node);
    list_remove(&items[2].node);
    assert_items(&list, (const struct item *[]){ NULL }, 0);
}

static void test_walking_may_remove_the_current_node(void **state)
{
    (void)state;
    struct list list;
    struct item items[COUNT];
    memset(items, 0, sizeof items);
    list_init(&list);
    for (size_t i = 0; i < COUNT; i++)
        list_append(&list, &items[i].node);
    size_t seen = 0;
    list_foreach(&list, node)
    {
        assert_ptr_equal(node, &items[seen].node);
        if (seen++ % 2 == 0)
            list_remove(node);
    }
    assert_int_equal(seen, COUNT);
    assert_items(&list, (const struct item *[]){ &items[1], &items[3] }, 2);
    list_foreach(&list, node) list_remove(node);
    assert_items(&list, (const struct item *[]){ NULL }, 0);
}

static void test_nothing_is_ever_due_in_an_empty_list(void **state)
{
    (void)state;
    struct timeout_list list;
    timeout_list_init(&list, 100);
    assert_int_equal(timeout_list_due(&list), TIMEOUT_NEVER);
    assert_null(timeout_list_expire(&list, INT64_MAX - 1));
}

static void test_timeouts_expire_in_order_and_in_time(void **state)
{
    (void)state;
    struct timeout_list list;
    struct timeout timeouts[3];
    memset(timeouts, 0, sizeof timeouts);
    timeout_list_init(&list, 100);
    timeout_start(&list, &timeouts[0], 5000);
    timeout_start(&list, &timeouts[1], 6000);
    timeout_start(&list, &timeouts[2], 6000);
    assert_int_equal(timeout_list_due(&list), 105000);
    assert_null(timeout_list_expire(&list, 104999));
    assert_ptr_equal(timeout_list_expire(&list, 105000), &timeouts[0]);
    assert_false(list_linked(&timeouts[0].node));
    assert_int_equal(timeout_list_due(&list), 106000);
    assert_null(timeout_list_expire(&list, 105999));
    assert_ptr_equal(timeout_list_expire(&list, 200000), &timeouts[1]);
    assert_ptr_equal(timeout_list_expire(&list, 200000), &timeouts[2]);
    assert_null(timeout_list_expire(&list, 200000));
    assert_int_equal(timeout_list_due(&list), TIMEOUT_NEVER);
}

static void test_restarting_moves_to_the_end(void **state)
{
    (void)state;
    struct timeout_list list;
    struct timeout timeouts[2];
    memset(timeouts, 0, sizeof timeouts);
    timeout_list_init(&list, 1);
    timeout_start(&list, &timeouts[0], 0);
    timeout_start(&list, &timeouts[1], 10);
    timeout_start(&list, &timeouts[0], 20);
    assert_int_equal(timeout_list_due(&list), 1010);
    assert_ptr_equal(timeout_list_expire(&list, 1019), &timeouts[1]);
    assert_null(timeout_list_expire(&list, 1019));
    timeout_start(&list, &timeouts[0], 30); /* alone, again */
    assert_int_equal(timeout_list_due(&list), 1030);
    assert_ptr_equal(timeout_list_expire(&list, 1030), &timeouts[0]);
}

static void test_stopped_timeouts_do_not_expire(void **state)
{
    (void)state;
    struct timeout_list list;
    struct timeout timeouts[2];
    memset(timeouts, 0, sizeof timeouts);
    timeout_list_init(&list, 1);
    timeout_stop(&timeouts[0]); /* never started */
    timeout_start(&list, &timeouts[0], 0);
    timeout_start(&list, &timeouts[1], 1);
    timeout_stop(&timeouts[0]);
    timeout_stop(&timeouts[0]);
    assert_int_equal(timeout_list_due(&list), 1001);
    assert_ptr_equal(timeout_list_expire(&list, 5000), &timeouts[1]);
    assert_null(timeout_list_expire(&list, 5000));
}

static void test_disabled_lists_take_nothing(void **state)
{
    (void)state;
    static const int64_t durations[] = { -1, -2, INT64_MIN };
    for (size_t i = 0; i < 3; i++) {
        struct timeout_list list;
        struct timeout timeout;
        memset(&timeout, 0, sizeof timeout);
        timeout_list_init(&list, durations[i]);
        timeout_start(&list, &timeout, 0);
        assert_false(list_linked(&timeout.node));
        assert_int_equal(timeout_list_due(&list), TIMEOUT_NEVER);
        timeout_stop(&timeout);
    }
}

static void test_no_time_at_all(void **state)
{
    (void)state;
    struct timeout_list list;
    struct timeout timeout;
    memset(&timeout, 0, sizeof timeout);
    timeout_list_init(&list, 0);
    timeout_start(&list, &timeout, 7);
    assert_null(timeout_list_expire(&list, 6));
    assert_ptr_equal(timeout_list_expire(&list, 7), &timeout);
}

/* Durations beyond the reach of the clock must not wrap to one that is over. */
static void test_longest_durations(void **state)
{
    (void)state;
    static const int64_t durations[] = { INT32_MAX, INT64_MAX / 1000, INT64_MAX / 1000 + 1, INT64_MAX };
    const int64_t now = INT64_C(1) << 50; /* 35 years after the clock began */
    for (size_t i = 0; i < 4; i++) {
        struct timeout_list list;
        struct timeout timeout;
        memset(&timeout, 0, sizeof timeout);
        timeout_list_init(&list, durations[i]);
        timeout_start(&list, &timeout, now);
        assert_true(timeout_list_due(&list) >= now + INT64_C(1000) * INT32_MAX);
        assert_null(timeout_list_expire(&list, now + 1000000));
        assert_ptr_equal(list_first(&list.entries), &timeout.node);
    }
}

/* A longer duration counts at once; a shorter one makes nobody late before it has passed from now. */
static void test_another_duration(void **state)
{
    (void)state;
    struct timeout_list list;
    struct timeout old, young;
    memset(&old, 0, sizeof old);
    memset(&young, 0, sizeof young);
    timeout_list_init(&list, 100);
    timeout_start(&list, &old, 0);
    timeout_start(&list, &young, 90000);
    timeout_list_change(&list, 10, false, 95000);
    assert_int_equal(timeout_list_due(&list), 100000); /* as it was: that is sooner */
    assert_ptr_equal(timeout_list_expire(&list, 100000), &old);
    assert_int_equal(timeout_list_due(&list), 105000);
    timeout_list_change(&list, 200, false, 96000);
    assert_int_equal(timeout_list_due(&list), 295000);
    timeout_list_change(&list, -1, false, 97000);
    assert_false(list_linked(&young.node));
}

/* What runs is due when it was, and what starts later can be due sooner. */
static void test_another_duration_for_later_ones(void **state)
{
    (void)state;
    struct timeout_list list;
    struct timeout old, young;
    memset(&old, 0, sizeof old);
    memset(&young, 0, sizeof young);
    timeout_list_init(&list, 100);
    timeout_start(&list, &old, 0);
    timeout_list_change(&list, 10, true, 5000);
    assert_int_equal(timeout_list_due(&list), 100000);
    timeout_start(&list, &young, 6000);
    assert_ptr_equal(timeout_list_expire(&list, 16000), &young);
    assert_null(timeout_list_expire(&list, 99999));
    assert_ptr_equal(timeout_list_expire(&list, 100000), &old);
}

static void test_time_stands_still_while_held(void **state)
{
    (void)state;
    struct timeout_list list;
    struct timeout old, young;
    memset(&old, 0, sizeof old);
    memset(&young, 0, sizeof young);
    timeout_list_init(&list, 10);
    timeout_start(&list, &old, 0);
    timeout_list_hold(&list, 4000);
    timeout_list_hold(&list, 5000); /* it is held already */
    timeout_start(&list, &young, 7000);
    assert_int_equal(timeout_list_due(&list), TIMEOUT_NEVER);
    assert_null(timeout_list_expire(&list, 1000000));
    timeout_list_release(&list, 1004000);
    assert_ptr_equal(timeout_list_expire(&list, 1010000), &old);
    assert_null(timeout_list_expire(&list, 1013999));
    assert_ptr_equal(timeout_list_expire(&list, 1014000), &young);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_keeps_order),
        cmocka_unit_test(test_walking_may_remove_the_current_node),
        cmocka_unit_test(test_nothing_is_ever_due_in_an_empty_list),
        cmocka_unit_test(test_timeouts_expire_in_order_and_in_time),
        cmocka_unit_test(test_restarting_moves_to_the_end),
        cmocka_unit_test(test_stopped_timeouts_do_not_expire),
        cmocka_unit_test(test_disabled_lists_take_nothing),
        cmocka_unit_test(test_no_time_at_all),
        cmocka_unit_test(test_longest_durations),
        cmocka_unit_test(test_another_duration),
        cmocka_unit_test(test_another_duration_for_later_ones),
        cmocka_unit_test(test_time_stands_still_while_held),
    };
    return cmocka_run_group_tests_name("timeout", tests, NULL, NULL);
}
