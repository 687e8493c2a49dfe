/* Names and their last answers. Only the hosts file is asked, which every machine has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/resolver.h"

#include <string.h>

struct scene {
    struct ev_loop *loop;
    struct resolver *resolver;
};

static void answered(void *data)
{
    const struct scene *scene = data;
    ev_break(scene->loop, EVBREAK_ALL);
}

static int scene_make(void **state)
{
    static struct scene scene;
    char error[128];
    scene.loop = ev_loop_new(EVFLAG_AUTO);
    assert_non_null(scene.loop);
    scene.resolver = resolver_create(scene.loop, error, sizeof error);
    assert_non_null(scene.resolver);
    *state = &scene;
    return 0;
}

static int scene_end(void **state)
{
    const struct scene *scene = *state;
    resolver_destroy(scene->resolver);
    ev_loop_destroy(scene->loop);
    return 0;
}

static struct resolver_name *add(struct scene *scene, const char *host)
{
    struct resolver_name *name = resolver_add(scene->resolver, "test", host, answered, scene);
    assert_non_null(name);
    return name;
}

static size_t count_addresses(const struct resolver_name *name)
{
    size_t count;
    resolver_addresses(name, &count);
    return count;
}

static void last_answer_goes_on_to_the_next_name(void **state)
{
    struct scene *scene = *state;
    size_t count;
    size_t other_count;
    struct resolver_name *name = add(scene, "localhost");
    assert_int_equal(count_addresses(name), 0);
    if (!resolver_lookup(name))
        ev_run(scene->loop, 0); /* it ends within five seconds */
    const struct address *addresses = resolver_addresses(name, &count);
    assert_true(count > 0);

    struct resolver_name *same = add(scene, "localhost");
    struct resolver_name *another = add(scene, "localhost.invalid");
    const struct address *taken_over = resolver_addresses(same, &other_count);
    assert_int_equal(other_count, count);
    assert_memory_equal(taken_over, addresses, count * sizeof *addresses);
    assert_int_equal(resolver_fresh_until(same), resolver_fresh_until(name));
    assert_int_equal(count_addresses(another), 0);
    resolver_remove(name); /* its addresses are its own */
    assert_int_equal(count_addresses(same), count);
    resolver_remove(same);
    resolver_remove(another);
    same = add(scene, "localhost");
    assert_int_equal(count_addresses(same), 0);
    resolver_remove(same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(last_answer_goes_on_to_the_next_name, scene_make, scene_end),
    };
    return cmocka_run_group_tests_name("resolver", tests, NULL, NULL);
}
