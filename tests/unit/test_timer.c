/* Timeout lists driven by a loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/timer.h"
#include "base/turn.h"

#include <stdlib.h>
#include <string.h>

/* A loop that has not come to its end after so many seconds is stuck. */
#define PATIENCE 20.0

struct thing {
    struct timeout timeout;
    int64_t started;
    int64_t expired; /* 0: not yet */
};

struct scene {
    struct ev_loop *loop;
    struct turn turn;
    ev_timer watchdog;
    bool stuck;
    struct timer timer;
    struct thing things[4];
    unsigned expired;
    unsigned restarts; /* how often an expired thing is started again */
};

static void watchdog_fired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)events;
    ((struct scene *)watcher->data)->stuck = true;
    ev_break(loop, EVBREAK_ALL);
}

static int setup(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    scene->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(scene->loop);
    turn_init(&scene->turn, scene->loop);
    ev_timer_init(&scene->watchdog, watchdog_fired, PATIENCE, 0.0);
    scene->watchdog.data = scene;
    ev_timer_start(scene->loop, &scene->watchdog);
    ev_unref(scene->loop);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    timer_stop(&scene->timer);
    ev_ref(scene->loop);
    ev_timer_stop(scene->loop, &scene->watchdog);
    ev_loop_destroy(scene->loop);
    free(scene);
    return 0;
}

/* Runs the loop until the timer waits for nothing more. */
static void run(struct scene *scene)
{
    ev_run(scene->loop, 0);
    assert_false(scene->stuck);
}

static void start_thing(struct scene *scene, size_t index)
{
    struct thing *thing = &scene->things[index];
    thing->started = clock_now();
    timer_start(&scene->timer, &thing->timeout, thing->started);
}

static void thing_expired(struct timer *timer, struct timeout *timeout)
{
    struct scene *scene = timer->owner;
    struct thing *thing = (struct thing *)timeout;
    assert_ptr_equal(timer, &scene->timer);
    assert_false(list_linked(&timeout->node));
    thing->expired = clock_now();
    scene->expired++;
    if (scene->restarts > 0) {
        scene->restarts--;
        start_thing(scene, (size_t)(thing - scene->things));
    }
}

static void test_expires_in_order_and_never_early(void **state)
{
    struct scene *scene = *state;
    timer_init(&scene->timer, scene->loop, 20, thing_expired, scene);
    for (size_t i = 0; i < 4; i++)
        start_thing(scene, i);
    assert_true(ev_is_active(&scene->timer.watcher));
    run(scene);
    assert_int_equal(scene->expired, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(scene->things[i].expired >= scene->things[i].started + 20000);
        assert_true(i == 0 || scene->things[i].expired >= scene->things[i - 1].expired);
    }
    assert_false(ev_is_active(&scene->timer.watcher));
}

static void test_starting_touches_the_watcher_only_once(void **state)
{
    struct scene *scene = *state;
    timer_init(&scene->timer, scene->loop, 3600000, thing_expired, scene);
    start_thing(scene, 0);
    double at = scene->timer.watcher.at;
    ev_now_update(scene->loop);
    start_thing(scene, 1);
    start_thing(scene, 0);
    assert_true(scene->timer.watcher.at >= at && scene->timer.watcher.at <= at);
}

/* The watcher fires for an entry that was restarted meanwhile: it must be set for the rest of the time. */
static void test_restarted_timeout_gets_its_whole_time(void **state)
{
    struct scene *scene = *state;
    timer_init(&scene->timer, scene->loop, 30, thing_expired, scene);
    start_thing(scene, 0);
    int64_t first = scene->things[0].started;
    while (clock_now() < first + 20000)
        ev_run(scene->loop, EVRUN_NOWAIT);
    size_t before = scene->expired; /* 0, unless the machine stood still meanwhile */
    start_thing(scene, 0);
    run(scene);
    assert_int_equal(scene->expired, before + 1);
    assert_true(scene->things[0].expired >= scene->things[0].started + 30000);
}

static void test_callback_may_start_again(void **state)
{
    struct scene *scene = *state;
    timer_init(&scene->timer, scene->loop, 5, thing_expired, scene);
    scene->restarts = 3;
    start_thing(scene, 0);
    int64_t first = scene->things[0].started;
    run(scene);
    assert_int_equal(scene->expired, 4);
    assert_true(scene->things[0].expired >= first + 4 * 5000);
}

/* libev's cached time is old when something took long in this turn of the loop. */
static void test_loop_with_old_time(void **state)
{
    struct scene *scene = *state;
    timer_init(&scene->timer, scene->loop, 5, thing_expired, scene);
    ev_now_update(scene->loop);
    int64_t begin = clock_now();
    while (clock_now() < begin + 50000)
        continue;
    start_thing(scene, 0);
    run(scene);
    assert_int_equal(scene->expired, 1);
    assert_true(scene->things[0].expired >= scene->things[0].started + 5000);
}

static void test_disabled_timer_starts_nothing(void **state)
{
    struct scene *scene = *state;
    timer_init(&scene->timer, scene->loop, -1, thing_expired, scene);
    start_thing(scene, 0);
    assert_false(list_linked(&scene->things[0].timeout.node));
    assert_false(ev_is_active(&scene->timer.watcher));
    run(scene);
    assert_int_equal(scene->expired, 0);
}

static void test_stop_forgets_all(void **state)
{
    struct scene *scene = *state;
    timer_init(&scene->timer, scene->loop, 1, thing_expired, scene);
    start_thing(scene, 0);
    start_thing(scene, 1);
    timer_stop(&scene->timer);
    assert_false(list_linked(&scene->things[0].timeout.node));
    assert_false(list_linked(&scene->things[1].timeout.node));
    run(scene);
    assert_int_equal(scene->expired, 0);
    timer_stop(&scene->timer);
    start_thing(scene, 2); /* and it can be used again */
    run(scene);
    assert_int_equal(scene->expired, 1);
}

static void stop_from_callback(struct timer *timer, struct timeout *timeout)
{
    thing_expired(timer, timeout);
    timer_stop(timer);
}

static void test_callback_may_stop_the_timer(void **state)
{
    struct scene *scene = *state;
    timer_init(&scene->timer, scene->loop, 1, stop_from_callback, scene);
    for (size_t i = 0; i < 4; i++)
        timer_start(&scene->timer, &scene->things[i].timeout, clock_now());
    run(scene);
    assert_int_equal(scene->expired, 1);
    assert_false(ev_is_active(&scene->timer.watcher));
}

static void remove_another(struct timer *timer, struct timeout *timeout)
{
    struct scene *scene = timer->owner;
    thing_expired(timer, timeout);
    timeout_stop(&scene->things[1].timeout);
}

static void test_callback_may_stop_another_timeout(void **state)
{
    struct scene *scene = *state;
    timer_init(&scene->timer, scene->loop, 1, remove_another, scene);
    for (size_t i = 0; i < 3; i++)
        start_thing(scene, i);
    run(scene);
    assert_int_equal(scene->expired, 2);
    assert_int_equal(scene->things[1].expired, 0);
}

#define TIMER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TIMER_TEST(test_expires_in_order_and_never_early),
        TIMER_TEST(test_starting_touches_the_watcher_only_once),
        TIMER_TEST(test_restarted_timeout_gets_its_whole_time),
        TIMER_TEST(test_callback_may_start_again),
        TIMER_TEST(test_loop_with_old_time),
        TIMER_TEST(test_disabled_timer_starts_nothing),
        TIMER_TEST(test_stop_forgets_all),
        TIMER_TEST(test_callback_may_stop_the_timer),
        TIMER_TEST(test_callback_may_stop_another_timeout),
    };
    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
