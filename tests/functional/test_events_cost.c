/* What events cost: instructions of the program for an exchange, counted by callgrind, with and without
 * modules. The figures are printed; what is wanted by nobody must not cost what is wanted. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/modules.h"
#include "harness/peer.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FEW  200
#define MANY 1200

/* The sum that callgrind has written for the process that the fixture started. */
static long long read_total(const struct fixture *fixture)
{
    static char text[4 * 1024 * 1024];
    char pattern[FIXTURE_PATH];
    glob_t found;
    fixture_path(fixture, "callgrind.*", pattern);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    assert_true(process_read_file(found.gl_pathv[0], text, sizeof(text)) > 0);
    assert_int_equal(unlink(found.gl_pathv[0]), 0);
    globfree(&found);
    const char *totals = strstr(text, "\ntotals: ");
    test_require(totals != NULL, "callgrind has written no sum");
    return atoll(totals + strlen("\ntotals: "));
}

static long long count_run(struct fixture *fixture, const char *global, const char *keys, int exchanges)
{
    char wrapper[300];
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    snprintf(wrapper, sizeof(wrapper), "valgrind -q --tool=callgrind --callgrind-out-file=%s/callgrind.%%p",
             fixture->directory);
    setenv("TEST_WRAPPER", wrapper, 1);
    struct proximux *proximux =
        proximux_start(fixture,
                       "%s listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\";"
                       "targets = ( \"127.0.0.1:%u\" ); protocol = \"line\"; %s } );",
                       global, port, echo_port(echo), keys);
    int client = peer_connect("127.0.0.1", port);
    for (int i = 0; i < exchanges; i++) {
        peer_send_text(client, "SELECT something FROM somewhere\n");
        peer_expect_text(client, "SELECT something FROM somewhere\n");
    }
    close(client);
    proximux_stop(proximux);
    unsetenv("TEST_WRAPPER");
    echo_stop(echo);
    return read_total(fixture);
}

static long long instructions(struct fixture *fixture, const char *global, const char *keys)
{
    long long few = count_run(fixture, global, keys, FEW);
    return (count_run(fixture, global, keys, MANY) - few) / (MANY - FEW);
}

static void what_nobody_wants_costs_nothing(void **state)
{
    static const char *const modes[] = { "proxy", "funnel" };
    struct fixture *fixture = *state;
    char valgrind[256], module[700], denier[700], keys[100];
    if (!test_figures_count() || !process_find_command("valgrind", NULL, valgrind, sizeof(valgrind))) {
        print_message("skipped: valgrind is not installed, or the figures would mean nothing here\n");
        skip();
    }
    snprintf(module, sizeof(module), "modules = ( { path = \"%s\"; output = \"%s/queries\"; } );",
             module_path("modules/querylog.so"), fixture->directory);
    snprintf(denier, sizeof(denier), "modules = ( { path = \"%s\"; from = 0; to = 0; } );",
             module_path("examples/deny-at-night.so"));
    for (size_t i = 0; i < 2; i++) {
        snprintf(keys, sizeof(keys), "mode = \"%s\";", modes[i]);
        long long without = instructions(fixture, "", keys);
        long long with_connected = instructions(fixture, denier, keys);
        long long with_querylog = instructions(fixture, module, keys);
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
