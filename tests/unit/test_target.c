/* Which target a client is given: the four forms of `balance`, backups, limits and states; and how targets come to
 * their states, in proxy mode, by a made-up clock. (The shared modes are in tests/simulation/pool.) */
#include "target/balance.h"
#include "target/slot.h"
#include "target/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAX         8
#define MILLISECOND 1000

/* A set of targets over which no connection is ever made. */
struct fixture {
    struct target_settings target_settings[MAX];
    char names[MAX][40];
    struct target targets[MAX];
    struct target *in_set[MAX];
    struct target_set set;
    void *slots;
};

static void fixture_free(struct fixture *fixture)
{
    for (size_t i = 0; i < fixture->set.count; i++)
        slot_leave(&fixture->targets[i]);
    assert_null(fixture->slots);
}

static void fixture_make(struct fixture *fixture, enum balance balance, size_t count)
{
    fixture_free(fixture); /* a test may make several, one after the other */
    memset(fixture, 0, sizeof *fixture);
    fixture->set.settings = (struct target_set_settings){ .listener = "main", .balance = balance };
    fixture->set.all_slots = &fixture->slots;
    fixture->set.targets = fixture->in_set;
    fixture->set.count = count;
    for (size_t i = 0; i < count; i++) {
        snprintf(fixture->names[i], sizeof fixture->names[i], "192.0.2.%zu:3306", i + 1);
        fixture->target_settings[i] = (struct target_settings){
            .name = fixture->names[i], .weight = 1, .max_connections = -1, .slots = -1
        };
        fixture->target_settings[i].endpoint.host = fixture->names[i];
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
    struct target *target = target_choose(&fixture->set, &address, 0);
    return target == NULL ? SIZE_MAX : (size_t)(target - fixture->targets);
}

static void least_connections_evens_out(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
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
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
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
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    char order[9] = "";
    fixture_make(&f, BALANCE_ROUND_ROBIN, 2);
    f.target_settings[0].weight = 3;
    for (uint32_t i = 0; i < 8; i++)
        order[i] = (char)('A' + choose(&f, i));
    assert_string_equal(order, "AABAAABA");
}

/* Of `count` clients, how many the first of two targets gets, so many milliseconds after it has come back. */
static size_t count_of_first(struct fixture *fixture, int64_t passed, uint32_t count)
{
    size_t chosen = 0;
    fixture->set.settings.slow_start = 1000;
    fixture->targets[0].up_since = 5000 * MILLISECOND;
    for (uint32_t i = 0; i < count; i++) {
        struct address address = client_address(i);
        const struct target *target = target_choose(&fixture->set, &address, (5000 + passed) * MILLISECOND);
        chosen += target == &fixture->targets[0];
    }
    return chosen;
}

/* From a tenth: 100 to 1000, then 550 to 1000, then as much as the other one. */
static void share_grows_after_failures(void **state)
{
    (void)state;
    static const enum balance even[] = { BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONNECTIONS };
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    for (size_t i = 0; i < 2; i++) {
        fixture_make(&f, even[i], 2);
        assert_int_equal(count_of_first(&f, 0, 110), 10);
        assert_int_equal(count_of_first(&f, 500, 155), 55);
        assert_int_equal(count_of_first(&f, 1000, 100), 50);
        f.target_settings[0].weight = 3;
        assert_in_range(count_of_first(&f, 0, 130), 29, 31);
    }
    fixture_make(&f, BALANCE_LEAST_CONNECTIONS, 2);
    f.targets[1].connections = 20;
    f.targets[0].connections = 2;
    assert_int_equal(count_of_first(&f, 0, 110), 10); /* equal for their shares */
    f.targets[0].connections = 3;
    assert_int_equal(count_of_first(&f, 0, 110), 0);
    assert_int_equal(count_of_first(&f, 500, 110), 110);
    fixture_make(&f, BALANCE_SOURCE, 2);
    assert_in_range(count_of_first(&f, 0, 1100), 70, 130);
    assert_in_range(count_of_first(&f, 500, 1550), 480, 620);
    fixture_make(&f, BALANCE_FIRST, 2);
    assert_int_equal(count_of_first(&f, 0, 100), 100);
}

static void first_fills_in_order(void **state)
{
    (void)state;
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
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
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
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
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
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
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
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
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
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
    __attribute__((cleanup(fixture_free))) struct fixture f = { 0 };
    fixture_make(&f, BALANCE_LEAST_CONNECTIONS, 2);
    f.target_settings[0].weight = 0;
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(choose(&f, i), 1);
    f.target_settings[1].weight = 0;
    assert_int_equal(choose(&f, 1), SIZE_MAX);
}

/* ---- States ---- */

/* One target of proxy mode, whose connections end as the test wants. */
struct scene {
    struct target_settings target_settings;
    struct target_set_settings settings;
    struct target_set set;
    void *slots;
    struct target_attempt attempts[8];
    size_t connects;
    size_t cancelled;
    size_t probed;
    size_t usable;
    size_t changes;
    bool takes_retry; /* a client waits */
    int64_t now;
};

static struct scene *scene_of(const struct target_set *set)
{
    return list_entry(set, struct scene, set);
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
    struct scene *scene = scene_of(target->set);
    return &scene->attempts[scene->connects++ % 8];
}

static void driver_cancel(struct target_attempt *attempt)
{
    scene_of(attempt->target->set)->cancelled++;
}

static void driver_probed(struct target *target, int descriptor)
{
    (void)descriptor;
    scene_of(target->set)->probed++;
}

static void driver_changed(const struct target *target)
{
    scene_of(target->set)->changes++;
}

static void driver_told(const struct target *target, bool is_warning, const char *text)
{
    (void)target;
    (void)is_warning;
    (void)text;
}

static void driver_nothing(struct target_set *set)
{
    (void)set;
}

static void client_connected(void *data, struct target *target, int descriptor, int64_t now)
{
    (void)data;
    (void)target;
    (void)descriptor;
    (void)now;
}

static void hook_usable(void *owner, int64_t now)
{
    struct scene *scene = owner;
    (void)now;
    scene->usable++;
    struct target *target =
        scene->takes_retry ? target_choose(&scene->set, &(struct address){ 0 }, scene->now) : NULL;
    if (target != NULL)
        assert_non_null(target_connect(target, client_connected, scene));
}

static struct target *scene_open(struct scene *scene)
{
    static const struct target_hooks hooks = { .usable = hook_usable };
    static const struct target_driver driver = {
        .attach = driver_attach,
        .detach = driver_detach,
        .connect = driver_connect,
        .cancel = driver_cancel,
        .may_probe = driver_attach,
        .probed = driver_probed,
        .committed = driver_nothing,
        .changed = driver_changed,
        .told = driver_told,
        .wake = driver_nothing,
    };
    *scene = (struct scene){ .now = 1000 * MILLISECOND };
    scene->target_settings =
        (struct target_settings){ .name = (char *)"t", .weight = 1, .max_connections = -1, .slots = -1 };
    scene->target_settings.endpoint.host = (char *)"192.0.2.1";
    scene->settings = (struct target_set_settings){ .listener = "main",
                                                    .targets = &scene->target_settings,
                                                    .target_count = 1,
                                                    .retry_min = 100,
                                                    .retry_max = 300 };
    assert_true(target_set_open(&scene->set, &driver, &hooks, scene, &scene->slots, 7, scene->settings));
    return scene->set.targets[0];
}

static void scene_close(struct scene *scene)
{
    target_set_close(&scene->set);
    assert_null(scene->slots);
}

/* A client's attempt, which fails. */
static void scene_fail(struct scene *scene, struct target *target)
{
    struct target_attempt *attempt = target_connect(target, client_connected, scene);
    target_attempt_failed(attempt, REASON_TARGET_REFUSED, "refused", scene->now);
}

/* The back-off lasts so many milliseconds, give or take a quarter; it passes. */
static void scene_wait(struct scene *scene, int64_t milliseconds)
{
    target_set_tick(&scene->set, scene->now);
    int64_t due = target_set_due(&scene->set) - scene->now;
    assert_in_range(due, milliseconds * 750, milliseconds * 1250);
    target_set_tick(&scene->set, scene->now + due - 1);
    scene->now += due;
    target_set_tick(&scene->set, scene->now);
}

static void failing_target_is_probed_with_longer_and_longer_pauses(void **state)
{
    (void)state;
    struct scene scene;
    struct target *target = scene_open(&scene);
    assert_int_equal(target_set_due(&scene.set), TARGET_NEVER);
    scene_fail(&scene, target);
    assert_int_equal(target->state, TARGET_DOWN);
    assert_null(target_choose(&scene.set, &(struct address){ 0 }, scene.now));
    static const int64_t pauses[] = { 100, 200, 300, 300 };
    for (size_t i = 0; i < 4; i++) {
        scene_wait(&scene, pauses[i]);
        assert_int_equal(target->state, TARGET_TRYING);
        assert_int_equal(scene.connects, i + 2);
        assert_int_equal(target_set_due(&scene.set), TARGET_NEVER);
        target_attempt_failed(target->probe, REASON_CONNECT_TIMEOUT, "late", scene.now);
        assert_int_equal(scene.probed, i + 1);
    }
    assert_int_equal(scene.changes, 1); /* one line in the log */
    scene_wait(&scene, 300);
    target_attempt_succeeded(target->probe, 5, scene.now);
    assert_int_equal(target->state, TARGET_UP);
    assert_int_equal(target->up_since, scene.now); /* for slow_start */
    assert_int_equal(target->connections, 0);
    assert_int_equal(scene.changes, 2);
    size_t usable = scene.usable;
    target_set_tick(&scene.set, scene.now);
    assert_int_equal(scene.usable, usable + 1);
    scene_fail(&scene, target); /* begins anew */
    scene_wait(&scene, 100);
    scene_close(&scene);
}

static void waiting_client_tries_the_target_itself(void **state)
{
    (void)state;
    struct scene scene;
    struct target *target = scene_open(&scene);
    scene_fail(&scene, target);
    scene.takes_retry = true;
    scene_wait(&scene, 100);
    assert_int_equal(target->state, TARGET_TRYING);
    assert_null(target->probe);
    assert_int_equal(scene.connects, 2);
    /* One that leaves has shown nothing: the next one tries at once. */
    target_cancel(&scene.attempts[1], scene.now);
    assert_int_equal(target->state, TARGET_DOWN);
    assert_int_equal(target_set_due(&scene.set), 0);
    target_set_tick(&scene.set, scene.now);
    assert_int_equal(target->state, TARGET_TRYING);
    target_attempt_succeeded(&scene.attempts[2], 5, scene.now);
    assert_int_equal(target->state, TARGET_UP);
    target_release(target, false, 0);
    scene_close(&scene);
}

/* Of several attempts that ran when the first one failed, neither failure counts again. */
static void older_attempts_do_not_count(void **state)
{
    (void)state;
    struct scene scene;
    struct target *target = scene_open(&scene);
    for (size_t i = 0; i < 3; i++)
        assert_non_null(target_connect(target, client_connected, &scene));
    target_attempt_failed(&scene.attempts[0], REASON_TARGET_REFUSED, "first", scene.now);
    scene.now += 10 * MILLISECOND;
    target_attempt_failed(&scene.attempts[1], REASON_TARGET_REFUSED, "second", scene.now);
    scene.now -= 10 * MILLISECOND;
    assert_string_equal(target->failure_text, "second"); /* the newest one is shown */
    scene_wait(&scene, 100);
    target_attempt_succeeded(&scene.attempts[2], 5, scene.now); /* a success does */
    assert_int_equal(target->state, TARGET_UP);
    target_release(target, false, 0);
    scene_close(&scene);
    assert_int_equal(scene.cancelled, 1); /* the probe */
    assert_int_equal(scene.probed, 1);
}

static void shorter_times_count_at_once(void **state)
{
    (void)state;
    struct scene scene;
    struct target *target = scene_open(&scene);
    scene.set.settings.retry_min = scene.set.settings.retry_max = 100000;
    target->retry_delay = 100000;
    scene_fail(&scene, target);
    struct target_set_settings other = scene.settings;
    other.retry_min = other.retry_max = 20;
    assert_true(target_set_prepare(&scene.set, other));
    target_set_commit(&scene.set, scene.now);
    assert_ptr_equal(scene.set.targets[0], target);
    scene_wait(&scene, 20);
    scene_close(&scene);
}

/* Has the set go on with one target with these options. */
static void scene_reload(struct scene *scene, struct target_set_settings *settings,
                         const struct target_settings *target)
{
    *settings = scene->settings;
    settings->targets = target;
    assert_true(target_set_prepare(&scene->set, *settings));
    target_set_commit(&scene->set, scene->now);
}

static void reload_of_options_keeps_the_target(void **state)
{
    (void)state;
    struct scene scene;
    struct target_set_settings settings;
    struct service_target shown;
    struct target *target = scene_open(&scene);
    struct target_settings options = scene.target_settings;
    options.weight = 0;
    options.max_connections = 7;
    assert_non_null(target_connect(target, client_connected, &scene));
    scene_fail(&scene, target);
    scene_reload(&scene, &settings, &options);
    assert_ptr_equal(scene.set.targets[0], target);
    assert_int_equal(target->settings->max_connections, 7);
    target_describe(target, &shown);
    assert_string_equal(shown.state, "draining");
    assert_string_equal(shown.failure, "refused");
    assert_int_equal(shown.gauges.connections, 1);
    assert_int_equal(shown.counters->connect_failures[REASON_TARGET_REFUSED], 1);
    assert_int_equal(shown.counters->downs, 1);
    target_set_tick(&scene.set, scene.now);       /* there might be room for more */
    assert_int_equal(target->state, TARGET_DOWN); /* as it was, and it comes back by itself */
    scene_wait(&scene, 100);
    assert_int_equal(target->state, TARGET_TRYING);
    target_attempt_succeeded(target->probe, 5, scene.now);
    assert_int_equal(target->state, TARGET_UP);
    assert_null(target_choose(&scene.set, &(struct address){ 0 }, scene.now));
    assert_true(
        target_set_prepare(&scene.set, scene.settings)); /* what is not wanted after all is forgotten */
    target_set_rollback(&scene.set);
    assert_int_equal(target->settings->weight, 0);
    scene_reload(&scene, &settings, &scene.target_settings);
    assert_ptr_equal(target_choose(&scene.set, &(struct address){ 0 }, scene.now), target);
    target_release(target, false, 0);
    scene_close(&scene);
}

static void removed_target_is_shown_until_its_last_connection_has_gone(void **state)
{
    (void)state;
    struct scene scene;
    struct target_set_settings settings;
    struct service_target shown;
    struct target *target = scene_open(&scene);
    struct target_settings other = scene.target_settings;
    other.endpoint.host = (char *)"192.0.2.2";
    other.endpoint.address = client_address(1);
    assert_non_null(target_connect(target, client_connected, &scene));
    assert_int_equal(target_set_count_shown(&scene.set), 1);
    scene_reload(&scene, &settings, &other);
    assert_ptr_not_equal(scene.set.targets[0], target);
    assert_int_equal(target_set_count_shown(&scene.set), 2);
    assert_ptr_equal(target_set_shown(&scene.set, 0), scene.set.targets[0]);
    assert_ptr_equal(target_set_shown(&scene.set, 1), target);
    target_describe(target, &shown);
    assert_string_equal(shown.state, "draining");
    assert_int_equal(shown.gauges.connections, 1);
    assert_int_equal(shown.gauges.usable, 0);
    target_release(target, false, 0);
    assert_int_equal(target_set_count_shown(&scene.set), 1);
    scene_close(&scene);
}

/* While something waits, a target is tried again within a second, whatever its back-off. */
static void what_waits_brings_a_trial_forward(void **state)
{
    (void)state;
    struct scene scene;
    struct target *target = scene_open(&scene);
    scene.set.settings.retry_min = scene.set.settings.retry_max = 100000;
    target->retry_delay = 100000;
    scene_fail(&scene, target);
    assert_true(target_set_due(&scene.set) > scene.now + 75000 * MILLISECOND);
    target_set_want(&scene.set, true);
    assert_int_equal(target_set_due(&scene.set), scene.now + 1000 * MILLISECOND);
    target_set_want(&scene.set, false);
    assert_true(target_set_due(&scene.set) > scene.now + 75000 * MILLISECOND);
    scene.set.settings.reconnect_delay = 3000; /* which nothing brings forward */
    slot_count(target, 1);
    target_release(target, false, scene.now);
    target_set_tick(&scene.set, scene.now);
    target_set_want(&scene.set, true);
    assert_int_equal(target_set_due(&scene.set), scene.now + 3000 * MILLISECOND);
    scene_close(&scene);
}

static void an_address_rests_after_a_connection(void **state)
{
    (void)state;
    struct scene scene;
    struct target *target = scene_open(&scene);
    scene.set.settings.reconnect_delay = 200;
    target_connect(target, client_connected, &scene);
    target_attempt_succeeded(&scene.attempts[0], 5, scene.now);
    assert_false(target_settles(target, scene.now));
    assert_non_null(target_choose(&scene.set, &(struct address){ 0 }, scene.now));
    target_release(target, false, scene.now);
    assert_null(target_choose(&scene.set, &(struct address){ 0 }, scene.now));
    scene.now += 200 * MILLISECOND;
    assert_true(target_set_due(&scene.set) <= scene.now);
    target_set_tick(&scene.set, scene.now);
    assert_ptr_equal(target_choose(&scene.set, &(struct address){ 0 }, scene.now), target);
    /* A connection that follows soon may be too early, unless the target had ended the last one. */
    target_connect(target, client_connected, &scene);
    assert_true(target_settles(target, scene.now));
    assert_false(target_settles(target, scene.now + 1000 * MILLISECOND));
    target_attempt_succeeded(&scene.attempts[1], 5, scene.now);
    target_release(target, true, scene.now);
    target_connect(target, client_connected, &scene);
    assert_false(target_settles(target, scene.now));
    target_cancel(&scene.attempts[2], scene.now);
    scene_close(&scene);
}

/* ---- Slots ---- */

/* Listeners with a target each, of one process. */
struct slots_scene {
    struct scene scenes[3];
    void *all;
};

/* The endpoint is a number's, or (with a letter) that of a name. */
static void slots_open(struct slots_scene *slots, size_t index, const char *host, int64_t limit)
{
    static const char *const names[] = { "one", "two", "three" };
    struct scene *scene = &slots->scenes[index];
    scene_open(scene);
    target_set_close(&scene->set);
    scene->settings.listener = names[index];
    scene->target_settings.slots = limit;
    scene->target_settings.name = (char *)host;
    scene->target_settings.endpoint =
        (struct endpoint){ .host = (char *)host, .port = 502, .kind = ENDPOINT_NAME };
    if (address_parse(host, &scene->target_settings.endpoint.address)) {
        scene->target_settings.endpoint.kind = ENDPOINT_NUMERIC;
        address_set_port(&scene->target_settings.endpoint.address, 502);
    }
    const struct target_driver *driver = scene->set.driver;
    const struct target_hooks *hooks = scene->set.hooks;
    memset(&scene->set, 0, sizeof scene->set);
    assert_true(target_set_open(&scene->set, driver, hooks, scene, &slots->all, 7, scene->settings));
}

static struct target *slots_target(struct slots_scene *slots, size_t index)
{
    return slots->scenes[index].set.targets[0];
}

/* A client of the listener wants a connection. Whether it gets one. */
static bool slots_ask(struct slots_scene *slots, size_t index)
{
    struct scene *scene = &slots->scenes[index];
    struct target *target = target_choose(&scene->set, &(struct address){ 0 }, 0);
    if (target == NULL)
        return false;
    assert_non_null(target_connect(target, client_connected, scene));
    return true;
}

static void slots_close(struct slots_scene *slots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        target_set_close(&slots->scenes[i].set);
    assert_null(slots->all);
}

/* Whoever can't be tried because another one, to whom the address answers, has the only slot is not down. */
static void busy_target_is_not_down(void **state)
{
    (void)state;
    struct slots_scene slots = { 0 };
    slots_open(&slots, 0, "192.0.2.1", 1);
    slots_open(&slots, 1, "192.0.2.1", 1);
    struct scene *one = &slots.scenes[0], *two = &slots.scenes[1];
    scene_fail(two, slots_target(&slots, 1));
    assert_true(target_set_is_down(&two->set));
    assert_true(slots_ask(&slots, 0));
    assert_false(target_set_is_down(&two->set));
    struct service_target description;
    target_describe(slots_target(&slots, 1), &description);
    assert_string_equal(description.state, "busy");
    assert_int_equal(description.gauges.usable, 1);

    /* it waits, gets the slot, and is not down before its trial has failed */
    two->now += 1000 * MILLISECOND;
    target_set_tick(&two->set, two->now);
    two->takes_retry = true;
    two->now += 1000 * MILLISECOND;
    target_set_tick(&two->set, two->now);
    assert_true(slot_is_waiting(slots_target(&slots, 1)));
    assert_false(target_set_is_down(&two->set));
    target_attempt_succeeded(&one->attempts[0], 5, one->now);
    target_release(slots_target(&slots, 0), false, one->now);
    assert_false(target_set_is_down(&two->set));
    size_t connects = two->connects;
    target_set_tick(&two->set, two->now);
    assert_int_equal(two->connects, connects + 1);
    assert_false(target_set_is_down(&two->set));
    target_attempt_failed(&two->attempts[connects % 8], REASON_TARGET_REFUSED, "refused", two->now);
    assert_true(target_set_is_down(&two->set));

    /* one whose own attempts fail is no sign of life */
    scene_fail(one, slots_target(&slots, 0));
    one->takes_retry = true;
    one->now += 1000 * MILLISECOND;
    connects = one->connects;
    target_set_tick(&one->set, one->now);
    assert_int_equal(one->connects, connects + 1);
    assert_true(target_set_is_down(&two->set));
    target_cancel(&one->attempts[connects % 8], one->now);
    slots_close(&slots, 2);
}

/* Of the one slot that an address has, named by one of the listeners only. */
static void slot_goes_round(void **state)
{
    (void)state;
    struct slots_scene slots = { 0 };
    slots_open(&slots, 0, "192.0.2.1", 1);
    slots_open(&slots, 1, "192.0.2.1", -1);
    slots_open(&slots, 2, "192.0.2.1", 1);
    assert_true(slots_ask(&slots, 0));
    assert_false(slots_ask(&slots, 1));
    assert_false(slots_ask(&slots, 2));
    assert_false(slots_ask(&slots, 0)); /* is full, and does not queue for that */
    assert_false(target_set_is_held(&slots.scenes[1].set));
    assert_int_equal(slot_demand(slots_target(&slots, 0)), SLOT_IN_TURN);
    target_release(slots_target(&slots, 0), false, 0);
    assert_true(slots.scenes[1].set.has_usable); /* is told, and nobody else */
    assert_false(slots.scenes[2].set.has_usable);
    assert_false(slots_ask(&slots, 0));
    assert_false(slots_ask(&slots, 2));
    assert_true(slots_ask(&slots, 1));
    target_release(slots_target(&slots, 1), false, 0);
    assert_false(slots_ask(&slots, 1));
    target_set_want(&slots.scenes[2].set, false); /* it does not want one any more */
    assert_true(slots_ask(&slots, 0));
    assert_int_equal(slot_demand(slots_target(&slots, 0)), SLOT_IN_TURN);
    target_release(slots_target(&slots, 0), false, 0);
    assert_true(slots_ask(&slots, 1));
    target_release(slots_target(&slots, 1), false, 0);
    slots_close(&slots, 3);
}

/* Who has fewer comes first, and nobody gives one up so that another one has more. */
static void slots_are_shared_evenly(void **state)
{
    (void)state;
    struct slots_scene slots = { 0 };
    for (size_t i = 0; i < 3; i++)
        slots_open(&slots, i, "192.0.2.1", 3);
    assert_true(slots_ask(&slots, 0));
    assert_true(slots_ask(&slots, 0));
    assert_true(slots_ask(&slots, 1));
    assert_false(slots_ask(&slots, 1));
    assert_int_equal(slot_demand(slots_target(&slots, 0)),
                     SLOT_IDLE); /* two and one are as good as one and two */
    assert_false(slots_ask(&slots, 2));
    assert_int_equal(slot_demand(slots_target(&slots, 0)), SLOT_IN_TURN);
    target_release(slots_target(&slots, 0), false, 0);
    assert_false(slots_ask(&slots, 1)); /* has waited longer, but has one */
    assert_true(slots_ask(&slots, 2));
    for (size_t i = 0; i < 3; i++)
        target_release(slots_target(&slots, i), false, 0);
    slots_close(&slots, 3);
}

/* A name turns out to be the address of another target, and then another one's. */
static void one_device_has_many_names(void **state)
{
    (void)state;
    struct slots_scene slots = { 0 };
    struct address addresses[2];
    slots_open(&slots, 0, "192.0.2.1", 1);
    slots_open(&slots, 1, "plc.example", 1);
    slots_open(&slots, 2, "inverter.example", -1);
    assert_true(address_parse("192.0.2.1", &addresses[0]));
    assert_true(address_parse("2001:db8::1", &addresses[1]));
    assert_true(slots_ask(&slots, 0));
    assert_true(slots_ask(&slots, 1));
    assert_false(target_resolved(slots_target(&slots, 1), addresses, 2));
    target_attempt_yielded(&slots.scenes[1].attempts[0], 0);
    assert_int_equal(slots_target(&slots, 1)->state, TARGET_UP); /* it is no failure */
    assert_false(slots_ask(&slots, 1));
    target_release(slots_target(&slots, 0), false, 0);
    assert_true(slots_ask(&slots, 1));
    assert_true(target_resolved(slots_target(&slots, 1), addresses, 2));
    assert_true(slots_ask(&slots, 2));
    assert_false(target_resolved(slots_target(&slots, 2), &addresses[1], 1)); /* by its other family */
    target_attempt_yielded(&slots.scenes[2].attempts[0], 0);
    assert_false(slots_ask(&slots, 0));
    target_release(slots_target(&slots, 1), false, 0);
    assert_true(
        slots_ask(&slots, 2)); /* before the first one: it asked earlier at the address that they share */
    addresses[0].v4.sin_addr.s_addr ^= htonl(2);
    assert_true(target_resolved(slots_target(&slots, 2), addresses, 1)); /* it has moved */
    assert_true(slots_ask(&slots, 0));
    target_release(slots_target(&slots, 2), false, 0);
    target_release(slots_target(&slots, 0), false, 0);
    slots_close(&slots, 3);
}

static void number_of_slots_can_change(void **state)
{
    (void)state;
    struct slots_scene slots = { 0 };
    struct target_set_settings settings[2];
    struct target_settings options[2];
    for (size_t i = 0; i < 2; i++)
        slots_open(&slots, i, "192.0.2.1", 2);
    assert_true(slots_ask(&slots, 0));
    assert_true(slots_ask(&slots, 1));
    for (size_t i = 0; i < 2; i++) {
        options[i] = slots.scenes[i].target_settings;
        options[i].slots = 1;
        scene_reload(&slots.scenes[i], &settings[i], &options[i]);
    }
    assert_int_equal(slot_demand(slots_target(&slots, 0)), SLOT_IN_TURN); /* there are too many */
    target_release(slots_target(&slots, 0), false, 0);
    assert_int_equal(slot_demand(slots_target(&slots, 1)), SLOT_UNWANTED);
    assert_false(slots_ask(&slots, 0));
    for (size_t i = 0; i < 2; i++) {
        options[i].slots = -1;
        scene_reload(&slots.scenes[i], &settings[i], &options[i]);
    }
    assert_true(slots_ask(&slots, 0));
    for (size_t i = 0; i < 2; i++)
        target_release(slots_target(&slots, i), false, 0);
    slots_close(&slots, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_connections_evens_out),
        cmocka_unit_test(least_connections_shares_ties),
        cmocka_unit_test(round_robin_spreads_by_weight),
        cmocka_unit_test(share_grows_after_failures),
        cmocka_unit_test(first_fills_in_order),
        cmocka_unit_test(source_is_consistent),
        cmocka_unit_test(source_respects_weight),
        cmocka_unit_test(backups_serve_only_without_the_others),
        cmocka_unit_test(retry_is_the_last_resort),
        cmocka_unit_test(weight_zero_takes_no_new_work),
        cmocka_unit_test(failing_target_is_probed_with_longer_and_longer_pauses),
        cmocka_unit_test(waiting_client_tries_the_target_itself),
        cmocka_unit_test(older_attempts_do_not_count),
        cmocka_unit_test(shorter_times_count_at_once),
        cmocka_unit_test(reload_of_options_keeps_the_target),
        cmocka_unit_test(removed_target_is_shown_until_its_last_connection_has_gone),
        cmocka_unit_test(what_waits_brings_a_trial_forward),
        cmocka_unit_test(an_address_rests_after_a_connection),
        cmocka_unit_test(busy_target_is_not_down),
        cmocka_unit_test(slot_goes_round),
        cmocka_unit_test(slots_are_shared_evenly),
        cmocka_unit_test(one_device_has_many_names),
        cmocka_unit_test(number_of_slots_can_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
