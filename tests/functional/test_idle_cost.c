/* What idle listeners cost a busy one: nothing. Each shared listener once had a watcher that ran in every turn of the
 * loop, so that fifty of them doubled the CPU time of a request to another one. */
#include "harness/instructions.h"

#include <stdio.h>
#include <stdlib.h>

#define LISTENER 300

static long long count_beside(struct fixture *fixture, const char *mode, size_t idle)
{
    char *text = calloc(idle + 1, LISTENER), *end = text;
    assert_non_null(text);
    for (size_t i = 0; i < idle; i++)
        end +=
            snprintf(end, LISTENER,
                     ", { name = \"idle%zu\"; listen = \"unix:%s/%zu\"; mode = \"%s\"; protocol = \"line\";"
                     "targets = ( \"unix:%s/target\" ); }",
                     i, fixture->directory, i, mode, fixture->directory);
    long long count = instructions_count(fixture, "", "mode = \"fifo\";", text);
    free(text);
    print_message("%lld instructions for an exchange beside %zu idle listeners of mode %s\n", count, idle,
                  mode);
    return count;
}

static void idle_listeners_cost_nothing(void **state)
{
    static const struct {
        const char *mode;
        size_t count;
    } idle[] = { { "fifo", 50 }, { "fifo", 1000 }, { "proxy", 1000 } };
    instructions_skip_unless_counted();
    assert_true(test_allow_descriptors(4096));
    long long alone = count_beside(*state, "fifo", 0);
    for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
        assert_true(count_beside(*state, idle[i].mode, idle[i].count) < alone + alone / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = { fixture_test(idle_listeners_cost_nothing) };
    return cmocka_run_group_tests_name("idle_cost", tests, NULL, NULL);
}
