/* A listener whose socket fails in ways that nobody has thought of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "listener/listener.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

/* Drains a listener that has these sockets, until nothing is left. Returns how many turns of the loop that took. */
static unsigned drain(const struct bound_socket *sockets, size_t count)
{
    struct runtime runtime = { .loop = ev_loop_new(EVFLAG_AUTO) };
    struct listener_settings settings = { .references = 1, .name = (char *)"main" };
    struct bound_sockets bound = { .sockets = calloc(count, sizeof *sockets), .count = count };
    assert_non_null(runtime.loop);
    assert_non_null(bound.sockets);
    list_init(&runtime.descriptors.waiters);
    runtime.descriptors.available = 100;
    memcpy(bound.sockets, sockets, count * sizeof *sockets);
    struct listener *listener =
        listener_create(&runtime, &settings, NULL, &bound, NULL, stop_loop, runtime.loop, make_nobody);
    assert_non_null(listener);
    listener_start(listener);
    int64_t begun = clock_now();
    listener_drain(listener);
    ev_run(runtime.loop, 0);
    assert_true(clock_now() - begun < 5000000);
    assert_true(listener_is_empty(listener));
    assert_int_equal(runtime.descriptors.available, 100);
    unsigned turns = ev_iteration(runtime.loop);
    listener_destroy(listener);
    ev_loop_destroy(runtime.loop);
    return turns;
}

/* accept4() on a pipe fails with ENOTSOCK, as often as it is asked. */
static void draining_ends_whatever_accept_says(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const struct bound_socket socket = { .descriptor = ends[0], .address.family = AF_INET };
    drain(&socket, 1);
    close(ends[1]);
}

static int listen_on(const struct sockaddr *address, socklen_t length)
{
    int descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(descriptor >= 0);
    assert_int_equal(bind(descriptor, address, length), 0);
    assert_int_equal(listen(descriptor, 8), 0);
    return descriptor;
}

/* While a TCP socket is watched for the end of handshakes, a unix socket beside it, which does not listen any more, is
 * always ready and has nobody: the loop went round thousands of times. */
static void a_socket_that_closes_does_not_keep_the_loop_busy(void **state)
{
    (void)state;
    const struct sockaddr local = { .sa_family = AF_UNIX }; /* the kernel chooses a name without a file */
    const struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char *path = strdup("/nowhere/socket");
    assert_non_null(path);
    const struct bound_socket sockets[] = {
        { .descriptor = listen_on((const struct sockaddr *)&loopback, sizeof loopback),
          .address.family = AF_INET },
        { .descriptor = listen_on(&local, sizeof local.sa_family), .address.family = AF_UNIX, .path = path },
    };
    assert_true(drain(sockets, 2) < 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draining_ends_whatever_accept_says),
        cmocka_unit_test(a_socket_that_closes_does_not_keep_the_loop_busy),
    };
    return cmocka_run_group_tests_name("listener", tests, NULL, NULL);
}
