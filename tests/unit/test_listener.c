/* A listener whose socket fails in ways that nobody has thought of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "listener/listener.h"

#include <stdlib.h>
#include <unistd.h>

/* What serves nobody. */
static struct service nobody;
static struct service_owner nobody_owner;

static void nobody_nothing(struct service *service)
{
    assert_ptr_equal(service, &nobody);
}

static void nobody_start(struct service *service)
{
    nobody_nothing(service);
    nobody_owner.ready(nobody_owner.owner);
}

static const struct service_functions nobody_functions = {
    .descriptors_per_client = 2,
    .start = nobody_start,
    .drain = nobody_nothing,
    .destroy = nobody_nothing,
};

static struct service *make_nobody(void *data, struct runtime *runtime, struct listener_settings *settings,
                                   const struct service_owner *owner)
{
    (void)data;
    (void)runtime;
    (void)settings;
    nobody.functions = &nobody_functions;
    nobody_owner = *owner;
    return &nobody;
}

static void stop_loop(void *loop)
{
    ev_break(loop, EVBREAK_ALL);
}

/* accept4() on a pipe fails with ENOTSOCK, as often as it is asked. */
static void draining_ends_whatever_accept_says(void **state)
{
    (void)state;
    int ends[2];
    struct runtime runtime = { .loop = ev_loop_new(EVFLAG_AUTO) };
    struct listener_settings settings = { .references = 1, .name = (char *)"main" };
    struct bound_sockets bound = { .sockets = calloc(1, sizeof *bound.sockets), .count = 1 };
    assert_non_null(runtime.loop);
    assert_non_null(bound.sockets);
    list_init(&runtime.descriptors.waiters);
    runtime.descriptors.available = 100;
    assert_int_equal(pipe(ends), 0);
    bound.sockets[0] = (struct bound_socket){ .descriptor = ends[0], .address.family = AF_INET };
    struct listener *listener =
        listener_create_with(&runtime, &settings, NULL, &bound, stop_loop, runtime.loop, make_nobody, NULL);
    assert_non_null(listener);
    listener_start(listener);
    int64_t begun = clock_now();
    listener_drain(listener);
    ev_run(runtime.loop, 0);
    assert_true(clock_now() - begun < 5000000);
    assert_true(listener_is_empty(listener));
    assert_int_equal(runtime.descriptors.available, 100);
    listener_destroy(listener);
    close(ends[1]);
    ev_loop_destroy(runtime.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draining_ends_whatever_accept_says),
    };
    return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
