/* When a target is checked, what a check has for a connection, and what its luck brings about; by a made-up clock. */
#include "target/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MILLISECOND 1000

struct target_ask {
    int unused;
};

/* A regular target and a backup, both checked. */
struct fixture {
    struct target_settings settings[2];
    struct target_set set;
    void *slots;
    int64_t now;
    struct target_attempt *attempt; /* the newest */
    size_t attempts;
    struct target_ask ask;
    size_t asks;
    size_t hang_ups;
    size_t begun; /* by the owner */
    size_t ended;
    size_t descriptors; /* reserved */
    bool tries;         /* the owner tries a target again */
    size_t warnings;
    char text[600];
};

static struct fixture *fixture_of(const struct target *target)
{
    return list_entry(target->set, struct fixture, set);
}

static bool driver_attach(struct target *target)
{
    (void)target;
    return true;
}

static void driver_detach(struct target *target)
{
    (void)target;
}

static struct target_attempt *driver_connect(struct target *target)
{
    struct fixture *fixture = fixture_of(target);
    fixture->attempts++;
    fixture->attempt = calloc(1, sizeof *fixture->attempt);
    return fixture->attempt;
}

static void driver_cancel(struct target_attempt *attempt)
{
    free(attempt);
}

static bool driver_may_probe(struct target *target)
{
    fixture_of(target)->descriptors++;
    return true;
}

static void driver_probed(struct target *target, int descriptor)
{
    (void)descriptor;
    fixture_of(target)->descriptors--;
}

static struct target_ask *driver_ask(struct target *target, int descriptor)
{
    (void)descriptor;
    fixture_of(target)->asks++;
    return &fixture_of(target)->ask;
}

static void driver_hang_up(struct target *target)
{
    fixture_of(target)->hang_ups++;
}

static void driver_set(struct target_set *set)
{
    (void)set;
}

static void driver_changed(const struct target *target)
{
    (void)target;
}

static void driver_told(const struct target *target, bool is_warning, const char *text)
{
    struct fixture *fixture = fixture_of(target);
    fixture->warnings += is_warning;
    snprintf(fixture->text, sizeof fixture->text, "%s", text);
}

static void connected(void *data, struct target *target, int descriptor, int64_t now)
{
    (void)data;
    (void)target;
    (void)descriptor;
    (void)now;
}

static void hook_usable(void *owner, int64_t now)
{
    struct fixture *fixture = owner;
    struct target *target = fixture->set.targets[0];
    (void)now;
    if (fixture->tries && target->state == TARGET_RETRY)
        assert_non_null(target_connect(target, connected, NULL));
}

static bool hook_check(void *owner, struct target *target, int64_t now)
{
    (void)owner;
    (void)now;
    fixture_of(target)->begun++;
    return true;
}

static void hook_check_end(void *owner, struct target *target, int64_t now)
{
    (void)owner;
    (void)now;
    fixture_of(target)->ended++;
}

static const struct target_hooks proxy_hooks = { .usable = hook_usable };
static const struct target_hooks shared_hooks = {
    .keeps_connections = true, .usable = hook_usable, .check = hook_check, .check_end = hook_check_end
};

static struct target *fixture_open(struct fixture *fixture, const struct target_hooks *hooks, size_t count,
                                   enum check_type type)
{
    static const struct target_driver driver = {
        .attach = driver_attach,
        .detach = driver_detach,
        .connect = driver_connect,
        .cancel = driver_cancel,
        .may_probe = driver_may_probe,
        .probed = driver_probed,
        .ask = driver_ask,
        .hang_up = driver_hang_up,
        .committed = driver_set,
        .changed = driver_changed,
        .told = driver_told,
        .wake = driver_set,
    };
    static const char *const names[] = { "192.0.2.1:502", "192.0.2.2:502" };
    memset(fixture, 0, sizeof *fixture);
    fixture->now = 1000000 * (int64_t)MILLISECOND;
    for (size_t i = 0; i < 2; i++) {
        fixture->settings[i] = (struct target_settings){
            .name = (char *)(uintptr_t)names[i],
            .weight = 1,
            .connections = 1,
            .max_connections = -1,
            .slots = -1,
            .backup = i > 0,
            .check = { .type = type, .interval = 5000, .timeout = 2000, .rise = 2, .fall = 3 },
        };
        fixture->settings[i].endpoint.host = fixture->settings[i].name;
    }
    const struct target_set_settings settings = {
        .listener = "main",
        .targets = fixture->settings,
        .target_count = count,
        .retry_min = 100,
        .retry_max = 300,
        .fail_after = 3,
    };
    assert_true(target_set_open(&fixture->set, &driver, hooks, fixture, &fixture->slots, 7, settings));
    return fixture->set.targets[0];
}

static void fixture_close(struct fixture *fixture)
{
    target_set_close(&fixture->set);
    assert_int_equal(fixture->descriptors, 0);
    assert_null(fixture->slots);
}

static void tick(struct fixture *fixture, int64_t milliseconds)
{
    fixture->now += milliseconds * MILLISECOND;
    target_set_tick(&fixture->set, fixture->now);
}

static const char *state_of(const struct target *target)
{
    static struct service_target description;
    target_describe(target, &description);
    return description.gauges.usable ? description.state : "unusable";
}

/* The attempt of the check succeeds. */
static void connect_it(struct fixture *fixture)
{
    struct target_attempt *attempt = fixture->attempt;
    fixture->attempt = NULL;
    target_attempt_succeeded(attempt, 9, fixture->now);
    free(attempt);
}

static void rise_makes_it_usable_at_once(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &shared_hooks, 1, CHECK_PROTOCOL);
    assert_string_equal(state_of(target), "unusable");
    tick(&f, 0);
    assert_int_equal(f.begun, 1);
    target_check_sent(target, f.now);
    target_check_passed(target, f.now);
    assert_string_equal(state_of(target), "unusable");
    tick(&f, 0);
    assert_int_equal(f.begun, 2);
    target_check_passed(target, f.now);
    assert_string_equal(state_of(target), "untried");
    tick(&f, 4999);
    assert_int_equal(f.begun, 2);
    tick(&f, 1);
    assert_int_equal(f.begun, 3);
    fixture_close(&f);
    assert_int_equal(f.ended, 1);
}

/* Waiting for its turn is no failure; its time-out runs from when it was sent. */
static void time_out_runs_from_sending(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &shared_hooks, 1, CHECK_PROTOCOL);
    tick(&f, 0);
    tick(&f, 1000000);
    assert_int_equal(f.warnings, 0);
    target_check_sent(target, f.now);
    target_check_sent(target, f.now + 1500 * MILLISECOND);
    assert_int_equal(target_set_due(&f.set), f.now + 2000 * MILLISECOND);
    tick(&f, 1999);
    assert_int_equal(f.ended, 0);
    tick(&f, 1);
    assert_int_equal(f.ended, 1);
    assert_string_equal(f.text, "target 192.0.2.1:502: a check failed: no answer within 2000 ms");
    assert_int_equal(f.begun, 1);
    tick(&f, 5000);
    assert_int_equal(f.begun, 2);
    fixture_close(&f);
}

static void fail_check(struct fixture *f, struct target *target)
{
    target_check_failed(target, REASON_PROTOCOL_ERROR, "exception 11", f->now);
    tick(f, 5000);
}

static void fall_makes_it_sick_and_rise_well(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &shared_hooks, 2, CHECK_PROTOCOL);
    struct target *backup = f.set.targets[1];
    tick(&f, 0);
    for (size_t i = 0; i < 2; i++) {
        target_check_passed(target, f.now);
        target_check_passed(backup, f.now);
        tick(&f, 0);
    }
    assert_string_equal(state_of(target), "untried");
    tick(&f, 5000);
    fail_check(&f, target);
    fail_check(&f, target);
    assert_int_equal(f.warnings, 1);
    assert_false(health_is_left_out(target));
    fail_check(&f, target);
    assert_int_equal(f.warnings, 2);
    assert_string_equal(f.text, "target 192.0.2.1:502 is sick: 3 checks in a row failed, the last one: "
                                "exception 11; others serve until it answers again");
    assert_true(health_is_left_out(target));
    assert_string_equal(state_of(target), "unusable");
    assert_false(health_may_try(target, 1, f.now)); /* no client's request is used */
    target_check_passed(target, f.now);
    tick(&f, 5000);
    assert_true(health_is_left_out(target));
    fail_check(&f, target);
    target_check_passed(target, f.now);
    tick(&f, 5000);
    assert_true(health_is_left_out(target)); /* they have to come in a row */
    target_check_passed(target, f.now);
    assert_string_equal(f.text, "target 192.0.2.1:502 is well: it has answered");
    assert_string_equal(state_of(target), "untried");
    fixture_close(&f);
}

/* Before it is proved it is left out if another one is, and used if not. */
static void unproved_is_left_out_while_another_is_proved(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &shared_hooks, 2, CHECK_PROTOCOL);
    struct target *backup = f.set.targets[1];
    struct address nobody = { 0 };
    assert_ptr_equal(target_choose(&f.set, &nobody, f.now), target);
    tick(&f, 0);
    target_check_passed(backup, f.now);
    tick(&f, 0);
    target_check_passed(backup, f.now);
    assert_ptr_equal(target_choose(&f.set, &nobody, f.now), backup);
    target_check_passed(target, f.now);
    tick(&f, 0);
    target_check_passed(target, f.now);
    assert_ptr_equal(target_choose(&f.set, &nobody, f.now), target);
    fixture_close(&f);
}

static void answers_to_clients_are_as_good(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &shared_hooks, 1, CHECK_PROTOCOL);
    tick(&f, 0);
    health_worked(target, 1, 0, f.now);
    health_worked(target, 1, 0, f.now);
    assert_string_equal(state_of(target), "untried");
    target_check_passed(target, f.now);
    for (size_t i = 0; i < 100; i++) { /* while they succeed, no check is needed */
        tick(&f, 4000);
        health_worked(target, 1, 0, f.now);
    }
    assert_int_equal(f.begun, 1);
    tick(&f, 4999);
    assert_int_equal(f.begun, 1);
    tick(&f, 1);
    assert_int_equal(f.begun, 2);
    fixture_close(&f);
}

/* A target that is down is not checked, and has to prove itself anew. */
static void down_target_has_to_prove_itself_anew(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &shared_hooks, 1, CHECK_PROTOCOL);
    tick(&f, 0);
    target_check_passed(target, f.now);
    tick(&f, 0);
    target_check_passed(target, f.now);
    tick(&f, 5000);
    assert_int_equal(f.begun, 3);
    target_fail(target, REASON_TARGET_REFUSED, "refused", f.now);
    tick(&f, 0);
    assert_int_equal(f.ended, 1);
    target_succeed(target, f.now); /* nothing, as long as nobody has tried it */
    f.now = target_set_due(&f.set);
    f.tries = true;
    tick(&f, 0);
    connect_it(&f);
    target_succeed(target, f.now);
    assert_int_equal(target->state, TARGET_UP);
    tick(&f, 0);
    assert_int_equal(f.begun, 4);
    assert_string_equal(state_of(target), "unusable");
    fixture_close(&f);
}

static void proxy_mode_asks_on_a_connection_of_its_own(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &proxy_hooks, 1, CHECK_PROTOCOL);
    tick(&f, 0);
    assert_int_equal(f.attempts, 1);
    connect_it(&f);
    assert_int_equal(f.asks, 1);
    assert_int_equal(target->connections, 1);
    target_check_passed(target, f.now);
    assert_int_equal(f.hang_ups, 1);
    assert_int_equal(target->connections, 0);
    assert_int_equal(f.descriptors, 0);
    tick(&f, 0);
    connect_it(&f);
    tick(&f, 2000); /* silence */
    assert_int_equal(f.hang_ups, 2);
    assert_string_equal(f.text, "target 192.0.2.1:502: a check failed: no answer within 2000 ms");
    tick(&f, 5000);
    assert_int_equal(f.attempts, 3);
    fixture_close(&f); /* with an attempt under way */
}

static void connection_alone_is_enough_to_connect(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &proxy_hooks, 1, CHECK_CONNECT);
    for (size_t i = 0; i < 2; i++) {
        tick(&f, 0);
        connect_it(&f);
        assert_int_equal(target->connections, 0);
    }
    assert_int_equal(f.asks, 0);
    assert_string_equal(state_of(target), "up");
    fixture_close(&f);
}

static void check_without_room_is_left_out(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &proxy_hooks, 1, CHECK_PROTOCOL);
    target->settings->max_connections = 1;
    struct target_attempt *attempt = target_connect(target, connected, NULL);
    assert_non_null(attempt);
    for (size_t i = 0; i < 5; i++)
        tick(&f, 5000);
    assert_int_equal(f.attempts, 1);
    assert_int_equal(f.warnings, 0);
    target_cancel(attempt, f.now);
    tick(&f, 5000);
    assert_int_equal(f.attempts, 2);
    fixture_close(&f);
}

static void weight_zero_is_checked(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &shared_hooks, 1, CHECK_PROTOCOL);
    target->settings->weight = 0;
    tick(&f, 0);
    assert_int_equal(f.begun, 1);
    fixture_close(&f);
}

/* A target that works is not taken out of use by a reload that has it checked. */
static void reload_that_adds_a_check_doubts_nobody(void **state)
{
    (void)state;
    struct fixture f;
    struct target *target = fixture_open(&f, &shared_hooks, 1, CHECK_NONE);
    struct target_set_settings settings = f.set.settings;
    tick(&f, 0);
    assert_int_equal(f.begun, 0);
    f.settings[0].check.type = CHECK_PROTOCOL;
    settings.targets = f.settings;
    assert_true(target_set_prepare(&f.set, settings));
    target_set_commit(&f.set, f.now);
    assert_string_equal(state_of(target), "untried");
    tick(&f, 0);
    assert_int_equal(f.begun, 1);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rise_makes_it_usable_at_once),
        cmocka_unit_test(time_out_runs_from_sending),
        cmocka_unit_test(fall_makes_it_sick_and_rise_well),
        cmocka_unit_test(unproved_is_left_out_while_another_is_proved),
        cmocka_unit_test(answers_to_clients_are_as_good),
        cmocka_unit_test(down_target_has_to_prove_itself_anew),
        cmocka_unit_test(proxy_mode_asks_on_a_connection_of_its_own),
        cmocka_unit_test(connection_alone_is_enough_to_connect),
        cmocka_unit_test(check_without_room_is_left_out),
        cmocka_unit_test(weight_zero_is_checked),
        cmocka_unit_test(reload_that_adds_a_check_doubts_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
