/* Configuration by the environment: over a file, and with no file at all. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLES_MAX 24

/* A set of variables. */
struct variables {
    char text[VARIABLES_MAX][96];
    const char *list[VARIABLES_MAX + 1];
    size_t count;
};

static char output[65536];

static void add(struct variables *variables, const char *name, const char *value)
{
    assert_true(variables->count < VARIABLES_MAX);
    snprintf(variables->text[variables->count], sizeof(variables->text[0]), "%s=%s", name, value);
    variables->list[variables->count] = variables->text[variables->count];
    variables->list[++variables->count] = NULL;
}

static void add_number(struct variables *variables, const char *name, unsigned value)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", value);
    add(variables, name, text);
}

static void add_target(struct variables *variables, unsigned number, unsigned port)
{
    char name[32];

    snprintf(name, sizeof(name), "TARGET_HOST_%u", number);
    add(variables, name, "127.0.0.1");
    snprintf(name, sizeof(name), "TARGET_PORT_%u", number);
    add_number(variables, name, port);
    snprintf(name, sizeof(name), "TARGET_CONN_%u_KEEP_ALIVE", number);
    add(variables, name, "0");
}

/* The variables of a deployment of the original: two clients at most, two target connections. */
static void add_deployment(struct variables *variables, unsigned port, unsigned first, unsigned second)
{
    add(variables, "LOG_LEVEL", "1");
    add(variables, "LOCAL_HOST", "localhost");
    add_number(variables, "LOCAL_PORT", port);
    add(variables, "LOCAL_IPV6_ONLY", "0");
    add(variables, "LOCAL_MAX_CONNECTIONS", "2");
    add(variables, "EXCHANGE_FUNNEL_ASYNC", "0");
    add(variables, "PROXY_INACTIVE_TIMEOUT", "-1");
    add(variables, "PROXY_CONNECTIONS_CNT", "2");
    add_target(variables, 1, first);
    add_target(variables, 2, second);
}

static int run(struct fixture *fixture, const char *configuration, const struct variables *variables)
{
    return proximux_run(fixture,
                        (&(struct proximux_options){ .configuration = configuration,
                                                     .arguments = (const char *const[]){ "-t", NULL },
                                                     .environment = variables->list,
                                                     .own_log_level = true }),
                        output, sizeof(output));
}

/* Runs the check with these variables over a file; it must fail and name what is wrong. */
static void expect_error(struct fixture *fixture, const struct variables *variables, const char *text,
                         struct place place)
{
    if (run(fixture, "listeners = ( );", variables) != 1)
        test_fail_at(place, "this was not an error: %s", output);
    if (strstr(output, text) == NULL)
        test_fail_at(place, "\"%s\" is missing in: %s", text, output);
}

/* Without -c the program reads the default file, if there is one: then this says nothing. */
static bool default_file_exists(void)
{
    if (access(SYSCONFDIR "/proximux.conf", F_OK) == -1)
        return false;
    print_message("skipped: there is a %s, and this test needs none\n", SYSCONFDIR "/proximux.conf");
    return true;
}

static void environment_alone_starts_two_connections(void **state)
{
    unsigned port = peer_free_port();
    struct echo *one = echo_start("127.0.0.1", 0, "x");
    struct echo *two = echo_start("127.0.0.1", 0, "x");
    struct variables variables = { .count = 0 };

    if (default_file_exists())
        skip();
    add_deployment(&variables, port, echo_port(one), echo_port(two));
    struct proximux *proximux = proximux_start_with(
        *state, (&(struct proximux_options){ .environment = variables.list, .own_log_level = true }));
    int first = peer_connect("127.0.0.1", port);
    int second = peer_connect("127.0.0.1", port);
    peer_expect_text(first, "x");
    peer_expect_text(second, "x");
    peer_send_text(first, "through");
    peer_expect_text(first, "through");
    int third = peer_connect("127.0.0.1", port);
    peer_expect_closed(third);
    assert_int_equal(echo_accepted(one), 1);
    assert_int_equal(echo_accepted(two), 1);
    close(first);
    close(second);
    close(third);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, " info "), 0); /* LOG_LEVEL=1: errors and warnings only */
    echo_stop(one);
    echo_stop(two);
}

static void auto_mode_is_said(void **state)
{
    unsigned port = peer_free_port();
    struct variables variables = { .count = 0 };

    if (default_file_exists())
        skip();
    add_deployment(&variables, port, 9, 9);
    struct proximux *proximux =
        proximux_start_with(*state, (&(struct proximux_options){ .environment = variables.list }));
    proximux_wait_log(proximux, "proxy");
    proximux_stop(proximux);
}

/* What was said to set up proxy mode, and does not. */
static void auto_mode_that_was_not_meant_is_warned_of(void **state)
{
    struct variables variables = { .count = 0 };

    if (default_file_exists())
        skip();
    add(&variables, "LOCAL_HOST", "127.0.0.1");
    add(&variables, "LOCAL_PORT", "1");
    add(&variables, "LOCAL_MAX_CONNECTIONS", "-2");
    add(&variables, "PROXY_CONNECTIONS_CNT", "2");
    add_target(&variables, 1, 9);
    add_target(&variables, 2, 10);
    assert_int_equal(run(*state, NULL, &variables), 0);
    test_require(
        strstr(output, "listener \"default\": mode \"auto\" means \"funnel\" here, as max_connections is not "
                       "limited and there are 2 target connections\n") != NULL,
        "the mode is not said: %s", output);
    test_require(strstr(output, "LOCAL_MAX_CONNECTIONS=2 or PROXIMUX_MODE=proxy") != NULL,
                 "what was meant is not said: %s", output);
}

static void no_file_and_no_environment(void **state)
{
    if (default_file_exists())
        skip();
    assert_int_equal(
        proximux_run(*state, (&(struct proximux_options){ .own_log_level = true }), output, sizeof(output)),
        1);
    test_require(strstr(output, "proximux.conf") != NULL, "the missing file is not named: %s", output);
}

static void negative_limit_means_none(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "x");
    struct variables variables = { .count = 0 };
    char text[256];
    int clients[5];

    snprintf(text, sizeof(text),
             "listeners = ( { name = \"default\"; listen = \"127.0.0.1:%u\"; max_connections = 1;"
             "targets = ( \"127.0.0.1:%u\" ); } );",
             port, echo_port(echo));
    add(&variables, "LOCAL_MAX_CONNECTIONS", "-2");
    struct proximux *proximux = proximux_start_with(
        *state, (&(struct proximux_options){ .configuration = text, .environment = variables.list }));
    for (size_t i = 0; i < 5; i++) {
        clients[i] = peer_connect("127.0.0.1", port);
        peer_expect_text(clients[i], "x");
    }
    for (size_t i = 0; i < 5; i++)
        close(clients[i]);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void environment_overrides_the_file(void **state)
{
    unsigned wrong = peer_free_port(), port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "x");
    struct variables variables = { .count = 0 };
    char text[256];

    snprintf(text, sizeof(text),
             "listeners = ( { name = \"default\"; listen = \"127.0.0.1:%u\"; inactivity_timeout = 60000;"
             "targets = ( \"127.0.0.1:9\" ); } );",
             wrong);
    add(&variables, "LOCAL_HOST", "127.0.0.1");
    add_number(&variables, "LOCAL_PORT", port);
    add(&variables, "PROXIMUX_INACTIVITY_TIMEOUT", "200");
    add(&variables, "PROXY_CONNECTIONS_CNT", "1");
    add_target(&variables, 1, echo_port(echo));
    struct proximux *proximux = proximux_start_with(
        *state, (&(struct proximux_options){ .configuration = text, .environment = variables.list }));
    int client = peer_connect("127.0.0.1", port);
    peer_expect_text(client, "x");
    peer_expect_closed(client);
    proximux_wait_log(proximux, "ended: inactivity");
    close(client);
    test_require(peer_try_connect(NULL, "127.0.0.1", wrong) == -1, "the address of the file is open");
    proximux_stop(proximux);
    echo_stop(echo);
}

static void missing_parts_are_named(void **state)
{
    static const char *const missing[] = { "TARGET_HOST_2", "TARGET_PORT_2", "LOCAL_HOST", "LOCAL_PORT" };

    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        struct variables all = { .count = 0 }, some = { .count = 0 };

        add_deployment(&all, 7, 9, 9);
        for (size_t j = 0; j < all.count; j++)
            if (strncmp(all.list[j], missing[i], strlen(missing[i])) != 0)
                some.list[some.count++] = all.list[j];
        assert_int_equal(some.count, all.count - 1);
        expect_error(*state, &some, missing[i], HERE);
    }
}

static void wrong_values_are_named(void **state)
{
    static const char *const wrong[][2] = {
        { "LOG_LEVEL", "loud" },
        { "LOCAL_PORT", "70000" },
        { "LOCAL_IPV6_ONLY", "maybe" },
        { "LOCAL_MAX_CONNECTIONS", "two" },
        { "PROXY_INACTIVE_TIMEOUT", "1s" },
        { "PROXY_CONNECTIONS_CNT", "-1" },
        { "TARGET_PORT_1", "http" },
        { "TARGET_CONN_1_KEEP_ALIVE", "2" },
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct variables variables = { .count = 0 };

        add_deployment(&variables, 7, 9, 9);
        for (size_t j = 0; j < variables.count; j++)
            if (strncmp(variables.text[j], wrong[i][0], strlen(wrong[i][0])) == 0)
                snprintf(variables.text[j], sizeof(variables.text[0]), "%s=%s", wrong[i][0], wrong[i][1]);
        expect_error(*state, &variables, wrong[i][0], HERE);
    }
}

static void names_near_a_key_are_errors_and_others_warnings(void **state)
{
    struct variables variables = { .count = 0 };
    static const char *const configuration =
        "listeners = ( { name = \"default\"; listen = \"127.0.0.1:7\"; targets = ( \"127.0.0.1:9\" ); } );";

    /* what a cluster puts into every container says nothing about us */
    add(&variables, "PROXIMUX_SERVICE_HOST", "10.0.0.1");
    add(&variables, "PROXIMUX_SERVICE_PORT", "3307");
    add(&variables, "PROXIMUX_PORT", "tcp://10.0.0.1:3307");
    add(&variables, "PROXIMUX_PORT_3307_TCP_ADDR", "10.0.0.1");
    assert_int_equal(run(*state, configuration, &variables), 0);
    test_require(strstr(output, "PROXIMUX_") == NULL, "there is a word about it: %s", output);

    add(&variables, "PROXIMUX_FAVOURITE_COLOUR", "blue");
    assert_int_equal(run(*state, configuration, &variables), 0);
    test_require(strstr(output, "PROXIMUX_FAVOURITE_COLOUR") != NULL, "no warning: %s", output);

    add(&variables, "PROXIMUX_MAX_CONECTIONS", "5");
    assert_int_equal(run(*state, configuration, &variables), 1);
    test_require(strstr(output, "PROXIMUX_MAX_CONECTIONS") != NULL, "no error: %s", output);
    test_require(strstr(output, "PROXIMUX_MAX_CONNECTIONS") != NULL, "no proposal: %s", output);
}

static void one_key_in_two_forms(void **state)
{
    struct variables variables = { .count = 0 };
    static const char *const configuration =
        "listeners = ( { name = \"default\"; listen = \"127.0.0.1:7\"; targets = ( \"127.0.0.1:9\" ); } );";

    add(&variables, "LOCAL_MAX_CONNECTIONS", "5");
    add(&variables, "PROXIMUX_MAX_CONNECTIONS", "5");
    assert_int_equal(run(*state, configuration, &variables), 0);
    variables.count--;
    add(&variables, "PROXIMUX_MAX_CONNECTIONS", "6");
    assert_int_equal(run(*state, configuration, &variables), 1);
    test_require(strstr(output, "LOCAL_MAX_CONNECTIONS") != NULL, "the variable is not named: %s", output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(environment_alone_starts_two_connections),
        fixture_test(auto_mode_is_said),
        fixture_test(auto_mode_that_was_not_meant_is_warned_of),
        fixture_test(no_file_and_no_environment),
        fixture_test(negative_limit_means_none),
        fixture_test(environment_overrides_the_file),
        fixture_test(missing_parts_are_named),
        fixture_test(wrong_values_are_named),
        fixture_test(names_near_a_key_are_errors_and_others_warnings),
        fixture_test(one_key_in_two_forms),
    };

    return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
