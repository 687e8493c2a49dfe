/* Which target a client is given: the four forms of `balance`, backups, limits and states. */
#include "target/balance.h"
#include "target/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAX 8

/* A set of targets over which no connection is ever made. */
struct fixture {
    struct target_settings target_settings[MAX];
    char names[MAX][40];
    struct listener_settings settings;
    struct target targets[MAX];
    struct target *in_set[MAX];
    struct target_set set;
};

static void fixture_make(struct fixture *fixture, enum balance balance, size_t count)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->settings.balance = balance;
    fixture->set.settings = &fixture->settings;
    fixture->set.targets = fixture->in_set;
    fixture->set.count = count;
    for (size_t i = 0; i < count; i++) {
        snprintf(fixture->names[i], sizeof fixture->names[i], "192.0.2.%zu:3306", i + 1);
        fixture->target_settings[i] =
            (struct target_settings){ .name = fixture->names[i], .weight = 1, .max_connections = -1 };
        fixture->targets[i].settings = &fixture->target_settings[i];
        fixture->in_set[i] = &fixture->targets[i];
        fixture->targets[i].set = &fixture->set;
        fixture->targets[i].state = TARGET_UP;
    }
}

static struct address client_address(uint32_t number)
{
    struct address address = { .family = AF_INET };
    address.v4.sin_addr.s_addr = htonl(0x0a000000U + number);
    return address;
}

static size_t choose(struct fixture *fixture, uint32_t client)
{
    struct address address = client_address(client);
    struct target *target = target_choose(&fixture->set, &address);
    return target == NULL ? SIZE_MAX : (size_t)(target - fixture->targets);
}

static void least_connections_evens_out(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, BALANCE_LEAST_CONNECTIONS, 3);
    f.target_settings[2].weight = 2;
    for (uint32_t i = 0; i < 40; i++)
        f.targets[choose(&f, i)].connections++;
    assert_int_equal(f.targets[0].connections, 10);
    assert_int_equal(f.targets[1].connections, 10);
    assert_int_equal(f.targets[2].connections, 20);
    f.targets[1].connections -= 3;
    for (uint32_t i = 0; i < 3; i++)
        f.targets[choose(&f, i)].connections++;
    assert_int_equal(f.targets[1].connections, 10);
}

static void least_connections_shares_ties(void **state)
{
    (void)state;
    struct fixture f;
    size_t chosen[3] = { 0 };
    fixture_make(&f, BALANCE_LEAST_CONNECTIONS, 3);
    for (uint32_t i = 0; i < 30; i++) /* each client has left before the next one comes */
        chosen[choose(&f, i)]++;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(chosen[i], 10);
}

static void round_robin_spreads_by_weight(void **state)
{
    (void)state;
    struct fixture f;
    char order[9] = "";
    fixture_make(&f, BALANCE_ROUND_ROBIN, 2);
    f.target_settings[0].weight = 3;
    for (uint32_t i = 0; i < 8; i++)
        order[i] = (char)('A' + choose(&f, i));
    assert_string_equal(order, "AABAAABA");
}

static void first_fills_in_order(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, BALANCE_FIRST, 3);
    f.target_settings[0].max_connections = 2;
    f.target_settings[1].max_connections = 1;
    f.target_settings[2].max_connections = 1;
    size_t expected[] = { 0, 0, 1, 2, SIZE_MAX };
    for (uint32_t i = 0; i < 5; i++) {
        size_t target = choose(&f, i);
        assert_int_equal(target, expected[i]);
        if (target != SIZE_MAX)
            f.targets[target].connections++;
    }
}

static void source_is_consistent(void **state)
{
    (void)state;
    struct fixture f;
    size_t before[1000];
    size_t share[4] = { 0 };
    fixture_make(&f, BALANCE_SOURCE, 4);
    for (uint32_t i = 0; i < 1000; i++) {
        before[i] = choose(&f, i);
        share[before[i]]++;
        assert_int_equal(choose(&f, i), before[i]);
    }
    for (size_t i = 0; i < 4; i++)
        assert_in_range(share[i], 190, 310);
    /* A target that goes moves its own clients and nobody else; when it is back, so are they. */
    f.targets[1].state = TARGET_DOWN;
    for (uint32_t i = 0; i < 1000; i++) {
        size_t now = choose(&f, i);
        if (before[i] == 1)
            assert_int_not_equal(now, 1);
        else
            assert_int_equal(now, before[i]);
    }
    f.targets[1].state = TARGET_UP;
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(choose(&f, i), before[i]);
}

static void source_respects_weight(void **state)
{
    (void)state;
    struct fixture f;
    size_t share[2] = { 0 };
    fixture_make(&f, BALANCE_SOURCE, 2);
    f.target_settings[0].weight = 3;
    for (uint32_t i = 0; i < 2000; i++)
        share[choose(&f, i)]++;
    assert_in_range(share[0], 1400, 1600);
}

static void backups_serve_only_without_the_others(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, BALANCE_LEAST_CONNECTIONS, 3);
    f.target_settings[2].backup = true;
    f.targets[0].state = TARGET_DOWN;
    assert_int_equal(choose(&f, 1), 1);
    /* Full is not down: then clients wait. */
    f.target_settings[1].max_connections = 1;
    f.targets[1].connections = 1;
    assert_int_equal(choose(&f, 1), SIZE_MAX);
    f.targets[1].state = TARGET_DOWN;
    assert_int_equal(choose(&f, 1), 2);
    f.targets[0].state = TARGET_UP;
    assert_int_equal(choose(&f, 1), 0);
}

static void retry_is_the_last_resort(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, BALANCE_FIRST, 2);
    f.targets[0].state = TARGET_RETRY;
    assert_int_equal(choose(&f, 1), 1);
    f.targets[1].state = TARGET_DOWN;
    assert_int_equal(choose(&f, 1), 0);
    f.targets[0].state = TARGET_TRYING;
    assert_int_equal(choose(&f, 1), SIZE_MAX);
}

static void weight_zero_takes_no_new_work(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, BALANCE_LEAST_CONNECTIONS, 2);
    f.target_settings[0].weight = 0;
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(choose(&f, i), 1);
    f.target_settings[1].weight = 0;
    assert_int_equal(choose(&f, 1), SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_connections_evens_out),
        cmocka_unit_test(least_connections_shares_ties),
        cmocka_unit_test(round_robin_spreads_by_weight),
        cmocka_unit_test(first_fills_in_order),
        cmocka_unit_test(source_is_consistent),
        cmocka_unit_test(source_respects_weight),
        cmocka_unit_test(backups_serve_only_without_the_others),
        cmocka_unit_test(retry_is_the_last_resort),
        cmocka_unit_test(weight_zero_takes_no_new_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
