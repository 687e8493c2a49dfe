/* When a target is sick, who can bring that about, who tries it, and what is told of it; by a made-up clock. */
#include "target/slot.h"
#include "target/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000

/* Targets that are up, over which no connection is ever made. */
struct fixture {
    struct target_settings target_settings[3];
    struct target targets[3];
    struct target *in_set[3];
    struct target_set set;
    void *slots;
    int64_t now;
    size_t warnings;
    size_t notices;
    char text[600]; /* the last line */
};

static void fixture_told(const struct target *target, bool is_warning, const char *text)
{
    struct fixture *fixture = list_entry(target->set, struct fixture, set);
    fixture->warnings += is_warning;
    fixture->notices += !is_warning;
    snprintf(fixture->text, sizeof fixture->text, "%s", text);
}

static void fixture_woken(struct target_set *set)
{
    (void)set;
}

static const struct target_hooks hooks = { .keeps_connections = true };
static const struct target_driver driver = { .told = fixture_told, .wake = fixture_woken };

static void fixture_free(struct fixture *fixture)
{
    for (size_t i = 0; i < fixture->set.count; i++)
        slot_leave(&fixture->targets[i]);
    assert_null(fixture->slots);
}

/* The first is regular, the others are backups. */
static void fixture_make(struct fixture *fixture, size_t count, int64_t fail_after)
{
    static const char *const names[] = { "192.0.2.1:502", "192.0.2.2:502", "192.0.2.3:502" };
    fixture_free(fixture); /* a test may make several, one after the other */
    memset(fixture, 0, sizeof *fixture);
    fixture->now = 1000 * (int64_t)SECOND;
    fixture->set = (struct target_set){
        .driver = &driver,
        .hooks = &hooks,
        .all_slots = &fixture->slots,
        .settings = { .listener = "main",
                      .fail_after = fail_after,
                      .request_timeout = 1000,
                      .retry_max = 4000 },
        .targets = fixture->in_set,
        .count = count,
        .jitter = 1,
    };
    for (size_t i = 0; i < count; i++) {
        fixture->target_settings[i] = (struct target_settings){ .name = (char *)(uintptr_t)names[i],
                                                                .weight = 1,
                                                                .max_connections = -1,
                                                                .slots = -1,
                                                                .backup = i > 0 };
        fixture->target_settings[i].endpoint.host = fixture->target_settings[i].name;
        fixture->targets[i] = (struct target){
            .set = &fixture->set, .settings = &fixture->target_settings[i], .state = TARGET_UP, .index = i
        };
        fixture->in_set[i] = &fixture->targets[i];
    }
}

static struct address client_address(uint32_t number)
{
    struct address address = { .family = AF_INET };
    address.v4.sin_addr.s_addr = htonl(0x0a000000U + number);
    return address;
}

static uint64_t client_id(uint32_t number)
{
    struct address address = client_address(number);
    return health_client(&address);
}

/* A request of this client for this unit is not answered, or is, a second later. */
static bool falter(struct fixture *fixture, uint32_t client, uint64_t unit)
{
    const struct health_fault fault = { .reason = REASON_REQUEST_TIMEOUT,
                                        .text = "no answer within request_timeout",
                                        .client = client_id(client),
                                        .part = unit };
    fixture->now += SECOND;
    health_failed(&fixture->targets[0], &fault, fixture->now);
    return fixture->targets[0].health.is_sick;
}

static void answer(struct fixture *fixture, uint32_t client, uint64_t unit)
{
    fixture->now += SECOND;
    health_worked(&fixture->targets[0], client_id(client), unit, fixture->now);
}

/* Answers of the backup. */
static void answer_elsewhere(struct fixture *fixture, uint32_t client, size_t count)
{
    for (size_t i = 0; i < count; i++)
        health_worked(&fixture->targets[1], client_id(client), 7, fixture->now);
}

/* The place of the target that this client gets. */
static size_t choose(struct fixture *fixture, uint32_t client)
{
    struct address address = client_address(client);
    const struct target *target = target_choose(&fixture->set, &address, fixture->now);
    return target == NULL ? SIZE_MAX : target->index;
}

static void one_client_alone_is_believed(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, 3);
    assert_false(falter(&f, 1, 7));
    assert_false(falter(&f, 1, 7));
    assert_int_equal(choose(&f, 1), 0);
    assert_true(falter(&f, 1, 7));
    assert_int_equal(choose(&f, 1), 1);
    assert_string_equal(f.text,
                        "target 192.0.2.1:502 is sick: no answer to 3 requests in a row (request_timeout "
                        "= 1000); a longer request_timeout waits for a slow one; requests go to others, "
                        "of which none has answered yet");
    struct service_target shown;
    target_describe(&f.targets[0], &shown);
    assert_string_equal(shown.state, "sick");
    assert_string_equal(shown.failure, "no answer within request_timeout");
    assert_int_equal(shown.failed, f.now);
    assert_int_equal(shown.gauges.sick, 1);
    assert_int_equal(shown.gauges.usable, 0);
}

static void good_answer_begins_anew(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, 3);
    for (int i = 0; i < 5; i++) {
        assert_false(falter(&f, 1, 7));
        assert_false(falter(&f, 1, 7));
        answer(&f, 1, 7);
    }
    assert_int_equal(f.notices, 0);
    falter(&f, 1, 7);
    falter(&f, 1, 7);
    assert_true(falter(&f, 1, 7));
    answer(&f, 1, 7);                               /* one ends the sickness, too */
    assert_int_equal(f.targets[0].up_since, f.now); /* for slow_start */
    assert_int_equal(f.notices, 1);
    assert_string_equal(f.text, "target 192.0.2.1:502 is well: it has answered");
    assert_int_equal(choose(&f, 1), 0);
}

/* Asks every 20 seconds. */
static void answer_now_and_then(struct fixture *fixture, uint32_t client, uint64_t unit)
{
    answer(fixture, client, unit);
    fixture->now += 20 * SECOND;
    answer(fixture, client, unit);
}

/* One client alone can't switch a target off while others ask; as many as ask can, be it two. */
static void one_client_among_others_counts_once(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, 3);
    answer_now_and_then(&f, 2, 7);
    for (int i = 0; i < 20; i++)
        assert_false(falter(&f, 1, 7));
    assert_true(falter(&f, 2, 7));

    fixture_make(&f, 2, 3); /* with more of them, fail_after are needed */
    answer_now_and_then(&f, 2, 7);
    answer_now_and_then(&f, 3, 7);
    answer_now_and_then(&f, 4, 7);
    for (int i = 0; i < 10; i++)
        assert_false(falter(&f, 1, 7));
    assert_false(falter(&f, 2, 7));
    assert_true(falter(&f, 3, 7));

    fixture_make(&f, 2, 3); /* who asked longer ago is not waited for */
    answer(&f, 2, 7);
    f.now += 58 * SECOND;
    assert_false(falter(&f, 1, 7));
    assert_false(falter(&f, 1, 7));
    assert_true(falter(&f, 1, 7));

    fixture_make(&f, 2, 3); /* nor who asked once, or has made a much longer pause than usual */
    answer(&f, 2, 7);
    answer(&f, 3, 7);
    answer(&f, 3, 7);
    for (int i = 0; i < 8; i++)
        assert_int_equal(falter(&f, 1, 7), i == 7);

    fixture_make(&f, 2, 3); /* but who may wait for the others' turn is, however many fail */
    f.set.settings.request_timeout = 10000;
    answer(&f, 2, 7);
    for (int i = 0; i < 34; i++)
        assert_false(falter(&f, 1, 7));

    fixture_make(&f, 2, 1); /* two at least, whatever the key says */
    answer(&f, 2, 7);
    assert_false(falter(&f, 1, 7));
    assert_true(falter(&f, 2, 7));
}

/* A dead device behind a good gateway. */
static void one_unit_among_others_is_no_sickness(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, 3);
    answer_now_and_then(&f, 1, 1);
    for (int i = 0; i < 20; i++)
        assert_false(falter(&f, 1, 9));
    assert_true(falter(&f, 1, 1));
}

static void last_usable_target_goes_on(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, 3);
    f.targets[1].state = TARGET_DOWN;
    for (int i = 0; i < 3; i++)
        falter(&f, 1, 7);
    assert_true(f.targets[0].health.is_sick);
    assert_non_null(strstr(f.text, "it goes on, as there is no other: a backup would take over"));
    assert_int_equal(choose(&f, 1), 0);
    struct service_target shown;
    target_describe(&f.targets[0], &shown);
    assert_int_equal(shown.gauges.usable, 1); /* so /readyz says 200 */
    f.targets[1].state = TARGET_UP;
    assert_int_equal(choose(&f, 1), 1);
    f.targets[1].settings = &f.target_settings[2]; /* drained: weight 0 */
    assert_int_equal(choose(&f, 1), 0);
    f.targets[1].settings = &f.target_settings[1];
    f.targets[1].health.is_sick = true; /* neither is better */
    f.targets[1].failed = f.now;
    assert_int_equal(choose(&f, 1), 0);
}

static void trial_is_one_request_after_a_pause(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, 3);
    for (int i = 0; i < 3; i++)
        falter(&f, 1, 7);
    f.now += 3 * SECOND - 1; /* 75 % of retry_max is the least */
    assert_int_equal(choose(&f, 1), 1);
    f.now += 2 * SECOND + 1;
    assert_int_equal(choose(&f, 1), 0); /* nobody else asks */
    assert_int_equal(choose(&f, 1), 1);
    falter(&f, 1, 7);
    answer_elsewhere(&f, 1, 7);
    f.now += 10 * SECOND;
    assert_int_equal(choose(&f, 2), 0); /* did not fail */
    answer_elsewhere(&f, 1, 7);
    answer_elsewhere(&f, 2, 7);
    f.now += 20 * SECOND;
    assert_int_equal(choose(&f, 1), 1); /* did, and client 2 asks */
    assert_int_equal(choose(&f, 2), 0);
    answer_elsewhere(&f, 1, 7);
    f.now += 61 * SECOND;
    assert_int_equal(choose(&f, 1), 0); /* does not any more */
    answer(&f, 1, 7);
    assert_int_equal(choose(&f, 1), 0);
    assert_int_equal(choose(&f, 2), 0);
}

/* The pause doubles, up to 16 times, and a minute. */
static void pause_between_trials_doubles(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, 3);
    for (int i = 0; i < 3; i++)
        falter(&f, 1, 7);
    for (int64_t pause = 4; pause < 1000; pause *= 2) {
        int64_t shortest = (pause < 60 ? pause : 60) * SECOND * 3 / 4;
        answer_elsewhere(&f, 1, 7);
        f.now += shortest - 1 - (pause > 4 ? SECOND : 0);
        assert_int_equal(choose(&f, 1), 1);
        f.now += shortest * 2 / 3 + SECOND;
        assert_int_equal(choose(&f, 1), 0);
        falter(&f, 1, 7);
    }
    answer(&f, 1, 7);
    for (int i = 0; i < 3; i++) /* and begins anew */
        falter(&f, 1, 7);
    answer_elsewhere(&f, 1, 7);
    f.now += 5 * SECOND;
    assert_int_equal(choose(&f, 1), 0);
}

/* However slowly it asks. */
static void trials_cost_a_client_one_request_of_eight(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, 3);
    for (int i = 0; i < 3; i++)
        falter(&f, 1, 7);
    size_t trials = 0;
    for (int i = 0; i < 80; i++) {
        f.now += 90 * SECOND;
        bool is_trial = choose(&f, 1) == 0;
        trials += is_trial;
        if (is_trial)
            falter(&f, 1, 7);
        else
            answer_elsewhere(&f, 1, 1);
        answer_elsewhere(&f, 2, 1); /* what others get does not change it */
    }
    assert_int_equal(trials, 10);
    f.now += 90 * SECOND;
    assert_int_equal(choose(&f, 1), 0);
    f.now += 90 * SECOND;
    assert_int_equal(choose(&f, 3), 1); /* nor do new ones try it at once after another */
    answer_elsewhere(&f, 2, 7);
    f.now += 90 * SECOND;
    assert_int_equal(choose(&f, 3), 0);
}

/* Where all are sick, none keeps the requests to itself. */
static void sick_targets_take_turns(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    const struct health_fault fault = { .reason = REASON_REQUEST_TIMEOUT,
                                        .text = "",
                                        .client = client_id(1) };
    fixture_make(&f, 2, 3);
    for (int i = 0; i < 3; i++)
        falter(&f, 1, 7);
    for (int i = 0; i < 3; i++) {
        f.now += SECOND;
        health_failed(&f.targets[1], &fault, f.now);
    }
    assert_true(f.targets[1].health.is_sick);
    f.set.owner = &f;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(choose(&f, 1), 0);
        f.set.has_usable = false;
        falter(&f, 1, 7);
        assert_true(f.set.has_usable); /* what waits may go elsewhere */
        assert_int_equal(choose(&f, 1), 1);
        f.now += SECOND;
        health_failed(&f.targets[1], &fault, f.now);
    }
    falter(&f, 1, 7);
    assert_int_equal(choose(&f, 1), 1); /* the backup is well again, the primary is not */
    answer_elsewhere(&f, 1, 1);
    assert_int_equal(choose(&f, 1), 0); /* a trial */
    falter(&f, 1, 7);
    for (int i = 0; i < 5; i++)
        assert_int_equal(choose(&f, 1), 1);
}

static void backup_is_not_tried_while_it_is_not_needed(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 3, 3);
    f.targets[1].health.is_sick = true;
    f.targets[1].failed = f.now;
    assert_int_equal(choose(&f, 1), 0);
    f.targets[0].state = TARGET_DOWN;
    assert_int_equal(choose(&f, 1), 1);
    assert_int_equal(choose(&f, 1), 2);
}

static void without_the_key_nothing_is_sick(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, -1);
    for (int i = 0; i < 20; i++)
        assert_false(falter(&f, 1, 7));
    assert_int_equal(choose(&f, 1), 0);
}

/* Nothing tries it any more in mode proxy. */
static void reload_without_the_key_ends_a_sickness(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 2, 3);
    for (int i = 0; i < 3; i++)
        falter(&f, 1, 7);
    health_reconfigure(&f.targets[0], f.now);
    assert_true(f.targets[0].health.is_sick);
    f.set.settings.fail_after = -1;
    health_reconfigure(&f.targets[0], f.now);
    assert_false(f.targets[0].health.is_sick);
    assert_string_equal(f.text, "target 192.0.2.1:502 is well: fail_after is -1 now");
    assert_int_equal(choose(&f, 1), 0);
}

/* A line a minute each way; the last change is told, be it later. */
static void changes_are_told_seldom(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, 1, 1);
    for (int i = 0; i < 10; i++) {
        assert_true(falter(&f, 1, 7));
        answer(&f, 1, 7);
    }
    assert_int_equal(f.warnings, 1);
    assert_int_equal(f.notices, 1);
    assert_true(falter(&f, 1, 7));
    f.now += 60 * SECOND;
    falter(&f, 1, 7);
    assert_int_equal(f.warnings, 2);
    assert_non_null(strstr(f.text, "a backup would take over (19 changes since the last such line)"));
    answer(&f, 1, 7);
    assert_int_equal(f.notices, 2);
    falter(&f, 1, 7);
    answer(&f, 1, 7);
    answer(&f, 1, 7);
    assert_int_equal(f.notices, 2);
    f.now += 60 * SECOND;
    answer(&f, 1, 7);
    assert_int_equal(f.notices, 3);
    assert_string_equal(f.text,
                        "target 192.0.2.1:502 is well: it has answered (2 changes since the last such line)");

    const struct health_fault fault = { .reason = REASON_TARGET_CLOSED, .text = "", .client = 1 };
    fixture_make(&f, 2, 1);
    answer_elsewhere(&f, 1, 1);
    health_failed(&f.targets[0], &fault, f.now);
    assert_string_equal(f.text, "target 192.0.2.1:502 is sick: it closed a connection without an answer; "
                                "connect_delay and reconnect_delay give it time between connections; others "
                                "serve until it answers again");
}

/* The first of each kind after a good answer, one line a minute. */
static void first_failures_are_told(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    struct health_fault fault = { .reason = REASON_TARGET_CLOSED, .text = "", .client = 1 };
    fixture_make(&f, 1, -1);
    falter(&f, 1, 7);
    assert_int_equal(f.warnings, 1);
    assert_string_equal(f.text, "target 192.0.2.1:502: no answer within request_timeout = 1000; a longer "
                                "request_timeout waits for a slow one");
    falter(&f, 1, 7);
    assert_int_equal(f.warnings, 1);
    health_failed(&f.targets[0], &fault, f.now); /* of another kind, but within the minute */
    assert_int_equal(f.warnings, 1);
    f.now += 60 * SECOND;
    falter(&f, 1, 7);
    assert_int_equal(f.warnings, 1);
    health_failed(&f.targets[0], &fault, f.now);
    assert_int_equal(f.warnings, 2);
    assert_string_equal(f.text,
                        "target 192.0.2.1:502: it closed a connection without an answer; connect_delay and "
                        "reconnect_delay give it time between connections");
    f.now += 60 * SECOND;
    answer(&f, 1, 7);
    falter(&f, 1, 7);
    assert_int_equal(f.warnings, 3);
}

/* A protocol that is broken is told, and counts for nothing. */
static void broken_protocol_is_only_told(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    const struct health_fault fault = { .reason = REASON_PROTOCOL_ERROR,
                                        .text = "an answer has an unknown id; match = \"order\" …",
                                        .is_told_only = true,
                                        .client = 1 };
    fixture_make(&f, 2, 3);
    for (int i = 0; i < 10; i++)
        health_failed(&f.targets[0], &fault, f.now);
    assert_false(f.targets[0].health.is_sick);
    assert_int_equal(f.warnings, 1);
    assert_string_equal(f.text, "target 192.0.2.1:502: an answer has an unknown id; match = \"order\" …");
    assert_string_equal(f.targets[0].failure_text, "an answer has an unknown id; match = \"order\" …");
}

static void addresses_are_told_apart(void **state)
{
    (void)state;
    struct address one = { .family = AF_INET6 }, other = { .family = AF_INET6 },
                   nobody = { .family = AF_UNSPEC };
    one.v6.sin6_addr.s6_addr[15] = 1;
    other.v6.sin6_addr.s6_addr[7] = 1;
    assert_true(health_client(&one) != health_client(&other));
    other.v6.sin6_addr.s6_addr[7] = 0;
    other.v6.sin6_addr.s6_addr[8] = 1; /* of the same host, perhaps */
    assert_true(health_client(&one) == health_client(&other));
    const unsigned char mapped[16] = { [10] = 0xff, 0xff, 10, 0, 0, 1 };
    memcpy(&other.v6.sin6_addr, mapped, sizeof mapped);
    assert_true(health_client(&other) == client_id(1));
    assert_true(health_client(&one) != client_id(0));
    assert_true(client_id(1) != client_id(2));
    assert_true(health_client(&nobody) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_client_alone_is_believed),
        cmocka_unit_test(good_answer_begins_anew),
        cmocka_unit_test(one_client_among_others_counts_once),
        cmocka_unit_test(one_unit_among_others_is_no_sickness),
        cmocka_unit_test(last_usable_target_goes_on),
        cmocka_unit_test(trial_is_one_request_after_a_pause),
        cmocka_unit_test(pause_between_trials_doubles),
        cmocka_unit_test(trials_cost_a_client_one_request_of_eight),
        cmocka_unit_test(sick_targets_take_turns),
        cmocka_unit_test(backup_is_not_tried_while_it_is_not_needed),
        cmocka_unit_test(without_the_key_nothing_is_sick),
        cmocka_unit_test(reload_without_the_key_ends_a_sickness),
        cmocka_unit_test(changes_are_told_seldom),
        cmocka_unit_test(first_failures_are_told),
        cmocka_unit_test(broken_protocol_is_only_told),
        cmocka_unit_test(addresses_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
