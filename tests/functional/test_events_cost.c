/* What events cost: instructions of the program for an exchange, with and without modules. The figures are printed;
 * what is wanted by nobody must not cost what is wanted. */
#include "harness/instructions.h"
#include "harness/modules.h"

#include <stdio.h>

static void what_nobody_wants_costs_nothing(void **state)
{
    static const char *const modes[] = { "proxy", "funnel" };
    struct fixture *fixture = *state;
    char module[700], denier[700], keys[100];
    instructions_skip_unless_counted();
    snprintf(module, sizeof(module), "modules = ( { path = \"%s\"; output = \"%s/queries\"; } );",
             module_path("modules/querylog.so"), fixture->directory);
    snprintf(denier, sizeof(denier), "modules = ( { path = \"%s\"; from = 0; to = 0; } );",
             module_path("examples/deny-at-night.so"));
    for (size_t i = 0; i < 2; i++) {
        snprintf(keys, sizeof(keys), "mode = \"%s\";", modes[i]);
        long long without = instructions_count(fixture, "", keys, NULL);
        long long with_connected = instructions_count(fixture, denier, keys, NULL);
        long long with_querylog = instructions_count(fixture, module, keys, NULL);
        print_message(
            "%s: %lld instructions for an exchange without modules, %lld with one that wants no exchanges, "
            "%lld with querylog\n",
            modes[i], without, with_connected, with_querylog);
        /* what wants to know of connections only adds a few of them */
        assert_true(with_connected < without + without / 20 + 50);
        assert_true(with_querylog > without + without / 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { fixture_test(what_nobody_wants_costs_nothing) };
    return cmocka_run_group_tests_name("events_cost", tests, NULL, NULL);
}
