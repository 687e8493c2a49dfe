/* The old process's side of an upgrade. The new processes are scripts; descriptor 3 is their end of the pair.
 */
#include "log_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "harness/process.h"
#include "server/upgrade.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A loop that has not come to its end after so many seconds is stuck. */
#define PATIENCE 20.0

/* Seconds that a new process which never serves is given. */
#define SHORT_SPAN 0.2

struct scene {
    struct log_place *place;
    struct ev_loop *loop;
    ev_timer watchdog;
    bool stuck;
    char script[128];
    const char *directory; /* that we were started in; NULL: the one that we are in */
    struct upgrade upgrade;
    bool hurries; /* has no patience any more once it has released */
    unsigned released;
    unsigned resumed;
    pid_t heir;  /* that took over; 0: none */
    long parent; /* of the heir, at that moment */
};

static void scene_yield(void *owner)
{
    struct scene *scene = owner;
    scene->released++;
    if (!scene->hurries)
        return;
    ev_timer_stop(scene->loop, &scene->upgrade.timer);
    ev_timer_set(&scene->upgrade.timer, SHORT_SPAN, 0.0);
    ev_timer_start(scene->loop, &scene->upgrade.timer);
}

static void scene_resume(void *owner)
{
    ((struct scene *)owner)->resumed++;
}

static void scene_over(void *owner, pid_t heir)
{
    struct scene *scene = owner;
    scene->heir = heir;
    scene->parent = process_parent(heir);
}

static void watchdog_fired(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    ((struct scene *)watcher->data)->stuck = true;
}

static int scene_setup(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans are ours */
    log_place_setup((void **)&scene->place);
    snprintf(scene->script, sizeof scene->script, "%s/script", scene->place->directory);
    scene->loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(scene->loop);
    ev_timer_init(&scene->watchdog, watchdog_fired, PATIENCE, 0.0);
    scene->watchdog.data = scene;
    ev_timer_start(scene->loop, &scene->watchdog);
    *state = scene;
    return 0;
}

static int scene_teardown(void **state)
{
    struct scene *scene = *state;
    upgrade_free(&scene->upgrade);
    ev_timer_stop(scene->loop, &scene->watchdog);
    ev_loop_destroy(scene->loop);
    unlink(scene->script);
    log_place_teardown((void **)&scene->place);
    free(scene);
    return 0;
}

/* Starts an upgrade to a script, of the shell unless it names another interpreter. */
static void scene_start(struct scene *scene, const char *script, double patience)
{
    static char name[] = "script";
    static char *arguments[] = { name, NULL };
    const struct upgrade_owner owner = {
        .owner = scene,
        .patience = patience,
        .release = scene_yield,
        .resume = scene_resume,
        .over = scene_over,
    };
    FILE *file = fopen(scene->script, "we");
    assert_non_null(file);
    assert_true(fprintf(file, "%s%s\n", script[0] == '#' ? "" : "#!/bin/sh\n", script) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(scene->script, 0755), 0);
    upgrade_init(&scene->upgrade, arguments);
    free(scene->upgrade.binary);
    scene->upgrade.binary = strdup(scene->script);
    if (scene->directory != NULL) {
        free(scene->upgrade.directory);
        scene->upgrade.directory = strdup(scene->directory);
    }
    upgrade_attach(&scene->upgrade, scene->loop, &owner);
    log_place_stderr_to_file(scene->place);
    upgrade_start(&scene->upgrade, NULL, 0);
    assert_true(scene->upgrade.successor.process > 0);
}

/* Lets the loop turn until the upgrade is over, well or not. */
static void scene_run(struct scene *scene)
{
    while (scene->upgrade.successor.process != 0 && !scene->stuck)
        ev_run(scene->loop, EVRUN_ONCE);
    log_place_stderr_back(scene->place);
    assert_false(scene->stuck);
}

/* What failed is known to the owner, has left no process behind, and `line` in the log. */
static void scene_expect_failure(struct scene *scene, const char *line)
{
    char pattern[256];
    assert_int_equal(scene->heir, 0);
    assert_int_equal(scene->resumed, 1);
    snprintf(pattern, sizeof pattern, "upgrade failed: process [0-9]+ %s; this one goes on\n$", line);
    log_place_assert_file(scene->place->path, pattern);
    assert_int_equal(process_child(getpid()), 0);
}

static void one_that_hangs_is_given_up(void **state)
{
    struct scene *scene = *state;
    int64_t begin = clock_now();
    scene_start(scene, "exec sleep 1000", SHORT_SPAN);
    scene_run(scene);
    assert_true(clock_now() - begin >= (int64_t)(SHORT_SPAN * 1e6));
    scene_expect_failure(scene, "was not ready in time \\(it was ended by signal 9\\)");
    assert_int_equal(scene->released, 0);
}

static void one_that_is_ready_but_never_serves_is_given_up(void **state)
{
    struct scene *scene = *state;
    scene->hurries = true;
    scene_start(scene, "printf R >&3; exec sleep 1000", PATIENCE);
    scene_run(scene);
    scene_expect_failure(scene, "was not ready in time \\(it was ended by signal 9\\)");
    assert_int_equal(scene->released, 1);
}

static void one_that_says_nonsense_is_ended(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, "printf D >&3; exec sleep 1000", PATIENCE);
    scene_run(scene);
    scene_expect_failure(scene, "did not start \\(it was ended by signal 9\\)");
}

static void its_end_is_known(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, "exit 3", PATIENCE);
    scene_run(scene);
    scene_expect_failure(scene, "did not start \\(it ended with status 3\\)");
}

/* A process that is started with CHLD ignored would not learn of its children by itself. */
static void its_end_is_known_where_children_are_ignored(void **state)
{
    struct scene *scene = *state;
    signal(SIGCHLD, SIG_IGN);
    scene_start(scene, "kill -SEGV $$", PATIENCE);
    scene_run(scene);
    signal(SIGCHLD, SIG_DFL);
    scene_expect_failure(scene, "did not start \\(it was ended by signal 11\\)");
}

static void one_that_serves_is_an_orphan(void **state)
{
    struct scene *scene = *state;
    int status;
    scene_start(scene, "printf RD >&3; exec sleep 1000", PATIENCE);
    assert_int_not_equal(process_parent(scene->upgrade.successor.process), getpid());
    scene_run(scene);
    assert_true(scene->heir > 0);
    assert_int_equal(scene->parent, getpid());
    assert_int_equal(scene->released, 1);
    assert_int_equal(scene->resumed, 0);
    /* nobody but it is left */
    assert_int_equal(kill(scene->heir, SIGKILL), 0);
    assert_int_equal(waitpid(-1, &status, 0), scene->heir);
    assert_int_equal(process_child(getpid()), 0);
}

/* It may be one that only root may enter, whom we have been. */
static void the_directory_may_be_gone(void **state)
{
    struct scene *scene = *state;
    int status;
    scene->directory = "/nowhere/at/all";
    scene_start(scene, "printf RD >&3; exec sleep 1000", PATIENCE);
    scene_run(scene);
    assert_true(scene->heir > 0);
    assert_int_equal(kill(scene->heir, SIGKILL), 0);
    assert_int_equal(waitpid(scene->heir, &status, 0), scene->heir);
}

static void a_binary_that_can_not_be_executed(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, "#!/nowhere/at/all", PATIENCE);
    scene_run(scene);
    scene_expect_failure(scene, "did not start \\(status 127: the binary can't be executed\\)");
}

/* Else what this process closes would stay half open. */
static void the_starter_holds_no_descriptors(void **state)
{
    struct scene *scene = *state;
    int64_t end = clock_now() + (int64_t)(PATIENCE * 1e6);
    scene_start(scene, "exec sleep 1000", PATIENCE);
    pid_t starter = process_child(getpid());
    assert_int_equal(starter, process_parent(scene->upgrade.successor.process));
    while (process_descriptors(starter) != 1 && clock_now() < end)
        ;
    assert_int_equal(process_descriptors(starter), 1);
    upgrade_cancel(&scene->upgrade);
    log_place_stderr_back(scene->place);
    log_place_assert_file(scene->place->path, "upgrade given up: process [0-9]+ was ended\n$");
    assert_int_equal(process_child(getpid()), 0);
}

static void the_starter_may_be_killed(void **state)
{
    struct scene *scene = *state;
    int status;
    scene_start(scene, "exec sleep 1000", SHORT_SPAN);
    pid_t heir = scene->upgrade.successor.process;
    assert_int_equal(kill(scene->upgrade.successor.starter, SIGKILL), 0);
    scene_run(scene);
    assert_int_equal(waitpid(heir, &status, 0), heir);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    scene_expect_failure(scene, "was not ready in time \\(how it ended is not known\\)");
}

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(one_that_hangs_is_given_up),
        SCENE_TEST(one_that_is_ready_but_never_serves_is_given_up),
        SCENE_TEST(one_that_says_nonsense_is_ended),
        SCENE_TEST(its_end_is_known),
        SCENE_TEST(its_end_is_known_where_children_are_ignored),
        SCENE_TEST(one_that_serves_is_an_orphan),
        SCENE_TEST(the_directory_may_be_gone),
        SCENE_TEST(a_binary_that_can_not_be_executed),
        SCENE_TEST(the_starter_holds_no_descriptors),
        SCENE_TEST(the_starter_may_be_killed),
    };
    return cmocka_run_group_tests_name("upgrade", tests, NULL, NULL);
}
