/* The module querylog, with a target that the test plays and with a real Redis; its log compared with what
 * was sent. Those of MySQL and PostgreSQL are in the tests of these. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/modules.h"
#include "harness/peer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE "protocol = { type = \"line\"; error_reply = \"ERROR\\\\n\"; };"

static struct proximux *start(struct fixture *fixture, unsigned port, unsigned target,
                              const char *module_keys, const char *listener_keys)
{
    return proximux_start(fixture,
                          "modules = ( { path = \"%s\"; %s } );"
                          "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\";"
                          "targets = ( \"127.0.0.1:%u\" ); %s } );",
                          module_path("modules/querylog.so"), module_keys, port, target, listener_keys);
}

static void lines_say_who_asked_what(void **state)
{
    struct fixture *fixture = *state;
    char keys[200], expected[200];
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    snprintf(keys, sizeof(keys), "output = \"%s/queries\";", fixture->directory);
    struct proximux *proximux = start(fixture, port, echo_port(echo), keys, LINE);
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "a \x1b question\n");
    peer_expect_text(client, "a \x1b question\n");
    close(client);
    proximux_stop(proximux);
    char *text = module_wait_lines(fixture, "queries", 1);
    snprintf(expected, sizeof(expected), "Z main: 127.0.0.1:%u", 0u);
    assert_non_null(strstr(text, "Z main: 127.0.0.1:"));
    snprintf(expected, sizeof(expected), " > 127.0.0.1:%u ", echo_port(echo));
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, " ms, 13 + 13 bytes, ok: a \\x1b question\n"));
    free(text);
    echo_stop(echo);
}

/* Quick requests are left out; slow ones are not. */
static void only_slow_requests_can_be_wanted(void **state)
{
    struct fixture *fixture = *state;
    char keys[200];
    unsigned port = peer_free_port();
    int listener = peer_listen("127.0.0.1", 0, 16);
    snprintf(keys, sizeof(keys), "output = \"%s/queries\"; format = \"json\"; slow = 300;",
             fixture->directory);
    struct proximux *proximux = start(fixture, port, peer_port(listener), keys, LINE "mode = \"fifo\";");
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "slow\n");
    int target = peer_accept(listener);
    peer_expect_text(target, "slow\n");
    peer_expect_silence(client, 400);
    peer_send_text(target, "SLOW\n");
    peer_expect_text(client, "SLOW\n");
    peer_send_text(client, "quick\n");
    peer_expect_text(target, "quick\n");
    peer_send_text(target, "QUICK\n");
    peer_expect_text(client, "QUICK\n");
    close(client);
    close(target);
    proximux_stop(proximux);
    char *text = module_wait_lines(fixture, "queries", 1);
    assert_non_null(strstr(text, "\"query\":\"slow\"}\n"));
    assert_null(strstr(text, "quick"));
    free(text);
    close(listener);
}

static void the_file_is_reopened_with_the_log(void **state)
{
    struct fixture *fixture = *state;
    char keys[200], old[FIXTURE_PATH], new[FIXTURE_PATH];
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    snprintf(keys, sizeof(keys), "output = \"%s/queries\"; max_length = 16;", fixture->directory);
    struct proximux *proximux = start(fixture, port, echo_port(echo), keys, LINE);
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "first of all, this\n");
    peer_expect_text(client, "first of all, this\n");
    free(module_wait_lines(fixture, "queries", 1));
    assert_int_equal(rename(fixture_path(fixture, "queries", old), fixture_path(fixture, "queries.1", new)),
                     0);
    proximux_signal(proximux, SIGUSR1);
    test_wait_until(access(old, F_OK) == 0);
    peer_send_text(client, "second\n");
    peer_expect_text(client, "second\n");
    close(client);
    proximux_stop(proximux);
    char *text = module_wait_lines(fixture, "queries.1", 1);
    assert_non_null(strstr(text, ": first of all, th...\n"));
    free(text);
    text = module_wait_lines(fixture, "queries", 1);
    assert_non_null(strstr(text, ": second\n"));
    free(text);
    echo_stop(echo);
}

static void the_log_takes_queries_too(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start(*state, port, echo_port(echo), "", LINE);
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "to the log\n");
    peer_expect_text(client, "to the log\n");
    proximux_wait_log(proximux, " bytes, ok: to the log");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* JSON in the log stays JSON: it is not cut, and holds nothing that the log shows its own way. */
static void json_in_the_log_is_whole(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux =
        start(*state, port, echo_port(echo), "format = \"json\"; max_length = 8192;", LINE);
    int client = peer_connect("127.0.0.1", port);
    char text[6000] = "\xc3\xa4";

    memset(text + 2, '"', sizeof text - 4);
    text[sizeof text - 2] = '\n';
    peer_send_text(client, text);
    peer_send_text(client, "\xc3\xa4\n");
    proximux_wait_log(proximux, "\"query\":\"\\u00e4\"}");
    proximux_wait_log(proximux, "\\\"\\\"...\"}");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void wrong_outputs_are_refused(void **state)
{
    char configuration[1000], output[2000];
    snprintf(configuration, sizeof(configuration),
             "modules = ( { path = \"%s\"; output = \"queries\"; } );"
             "listeners = ( { name = \"main\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; } );",
             module_path("modules/querylog.so"));
    const char *const arguments[] = { "-t", NULL };
    const struct proximux_options test = { .configuration = configuration, .arguments = arguments };
    assert_int_equal(proximux_run(*state, &test, output, sizeof(output)), 1);
    assert_non_null(strstr(output, "\"queries\" is neither \"log\" nor an absolute path"));
    snprintf(configuration, sizeof(configuration),
             "modules = ( { path = \"%s\"; output = \"/nowhere/at/all\"; } );"
             "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = \"127.0.0.1:2\"; } );",
             module_path("modules/querylog.so"), peer_free_port());
    const struct proximux_options run = { .configuration = configuration };
    assert_int_equal(proximux_run(*state, &run, output, sizeof(output)), 1);
    assert_non_null(strstr(output, "querylog.so: cannot open the log file /nowhere/at/all: No such file"));
}

/* However the words of an inline command are written, they are what the target gets, and redacted as such;
 * what a target says of an error can repeat what it was sent. */
static void inline_commands_are_redacted(void **state)
{
    static const char *const spellings[] = { "SET k SECRET", "  SET\tk\tSECRET", "\"SET\" k SECRET",
                                             "'SET' k 'SECRET'", "\"\\x53ET\" k \"SECRET\"" };
    struct fixture *fixture = *state;
    char keys[200];
    unsigned port = peer_free_port();
    size_t count = sizeof spellings / sizeof spellings[0];
    int listener = peer_listen("127.0.0.1", 0, 16);
    snprintf(keys, sizeof(keys), "output = \"%s/queries\"; format = \"json\"; redact = true;",
             fixture->directory);
    struct proximux *proximux =
        start(fixture, port, peer_port(listener), keys, "mode = \"funnel\"; protocol = \"redis\";");
    int client = peer_connect("127.0.0.1", port);
    int target = -1;

    for (size_t i = 0; i < count; i++) {
        peer_send_text(client, spellings[i]);
        peer_send_text(client, "\r\n");
        target = target == -1 ? peer_accept(listener) : target;
        peer_expect_text(target, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$6\r\nSECRET\r\n");
        peer_send_text(target, "-ERR 'SECRET': no\r\n");
        peer_expect_text(client, "-ERR 'SECRET': no\r\n");
    }
    close(client);
    proximux_stop(proximux);
    char *lines = module_wait_lines(fixture, "queries", count);
    size_t found = 0;
    for (const char *at = lines; (at = strstr(at, "\"query\":\"SET k ?\",\"error\":\"ERR\"}\n")) != NULL;
         at++)
        found++;
    assert_int_equal(found, count);
    free(lines);
    close(target);
    close(listener);
}

/* A real Redis behind a funnel: every command of every client is there once, with its redacted text. */
static void redis_through_a_funnel(void **state)
{
    enum { CLIENTS = 8 };
    struct fixture *fixture = *state;
    char server[256], port_text[16], log[FIXTURE_PATH], keys[200], text[200];
    unsigned port = peer_free_port(), target = peer_free_port();
    size_t rounds = test_scaled(100, 5);
    if (!process_find_command("redis-server", NULL, server, sizeof(server))) {
        print_message("skipped: redis-server is not installed (Debian: redis-server)\n");
        skip();
    }
    snprintf(port_text, sizeof(port_text), "%u", target);
    const char *const arguments[] = {
        server, "--port", port_text, "--save", "", "--bind", "127.0.0.1", NULL
    };
    pid_t process = process_start(
        &(struct process_options){ .arguments = arguments, .output = fixture_path(fixture, "redis", log) });
    assert_true(process > 0);
    snprintf(keys, sizeof(keys), "output = \"%s/queries\"; format = \"json\"; redact = true;",
             fixture->directory);
    struct proximux *proximux =
        start(fixture, port, target, keys,
              "mode = \"funnel\"; protocol = \"redis\"; warmup = true; retry_max = 250;");
    int clients[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = peer_connect("127.0.0.1", port);
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < CLIENTS; i++) {
            snprintf(text, sizeof(text), "SET key%zu \"SECRET %zu\"\r\nGET key%zu\r\n", i, round, i);
            peer_send_text(clients[i], text);
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            snprintf(text, sizeof(text), "SECRET %zu", round);
            char expected[300];
            snprintf(expected, sizeof(expected), "+OK\r\n$%zu\r\n%s\r\n", strlen(text), text);
            peer_expect_text(clients[i], expected);
        }
    }
    peer_send_text(clients[0], "LPUSH key0 x\r\nMULTI\r\n");
    peer_expect_text(clients[0], "-WRONGTYPE ");
    for (size_t i = 0; i < CLIENTS; i++)
        close(clients[i]);
    char *lines = module_wait_lines(fixture, "queries", rounds * CLIENTS * 2 + 2);
    proximux_stop(proximux);
    assert_null(strstr(lines, "SECRET"));
    assert_non_null(strstr(lines, "\"outcome\":\"error\""));
    assert_non_null(strstr(lines, "\"query\":\"LPUSH key0 ?\",\"error\":\"WRONGTYPE\"}"));
    assert_non_null(strstr(lines, "\"outcome\":\"refused_command\""));
    for (size_t i = 0; i < CLIENTS; i++) {
        size_t sets = 0, gets = 0;
        char set[64], get[64];
        snprintf(set, sizeof(set), "\"query\":\"SET key%zu ?\"}\n", i);
        snprintf(get, sizeof(get), "\"query\":\"GET key%zu\"}\n", i);
        for (const char *at = lines; (at = strstr(at, set)) != NULL; at++)
            sets++;
        for (const char *at = lines; (at = strstr(at, get)) != NULL; at++)
            gets++;
        assert_int_equal(sets, rounds);
        assert_int_equal(gets, rounds);
    }
    free(lines);
    process_end(process);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(lines_say_who_asked_what),          fixture_test(only_slow_requests_can_be_wanted),
        fixture_test(the_file_is_reopened_with_the_log), fixture_test(the_log_takes_queries_too),
        fixture_test(json_in_the_log_is_whole),          fixture_test(wrong_outputs_are_refused),
        fixture_test(inline_commands_are_redacted),      fixture_test(redis_through_a_funnel),
    };
    return cmocka_run_group_tests_name("querylog", tests, NULL, NULL);
}
