/* Targets beyond one configuration and one listener: they keep their identity, are shown until they are gone, and
 * those that take few connections are shared by listeners. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/scene.h"
#include "harness/web.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Writes this configuration, and waits until it is in force. */
static void reload(struct proximux *proximux, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void reload(struct proximux *proximux, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    size_t before = proximux_log_count(proximux, "reloaded: ");

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fixture_write(proximux->fixture, strrchr(proximux->configuration, '/') + 1, text);
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log_times(proximux, "reloaded: ", before + 1);
}

/* Whether the status of the program whose admin listens at this port has that text. */
static bool status_has(unsigned admin, const char *path, const char *text)
{
    struct web_answer answer = web_get("127.0.0.1", admin, "localhost", path);
    bool has = strstr(answer.body, text) != NULL;

    web_free(&answer);
    return has;
}

/* ---- Targets that drain ---- */

#define ADMIN   "admin: { listen = \"127.0.0.1:%u\"; }; "
#define PROXIED "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( %s ); } );"

/* What -s says of the target, which has one line: state, connections and exchanges. */
static void expect_table(struct fixture *fixture, const struct proximux *proximux, const char *target,
                         const char *state, unsigned long connections)
{
    char output[8192], name[64], found[32];
    unsigned long count, in_flight;
    const char *const arguments[] = { "-s", "-c", proximux->configuration, NULL };
    const struct proximux_options options = { .arguments = arguments };

    assert_int_equal(proximux_run(fixture, &options, output, sizeof output), 0);
    const char *line = strstr(output, target);
    test_require(line != NULL, "%s is not in\n%s", target, output);
    assert_int_equal(sscanf(line, "%63s %31s %lu %lu", name, found, &count, &in_flight), 4);
    assert_string_equal(found, state);
    assert_int_equal(count, connections);
    assert_int_equal(in_flight, connections);
}

static void drained_target_is_shown_until_its_last_session_has_ended(void **state)
{
    unsigned port = peer_free_port(), admin = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "a"), *other = echo_start("127.0.0.1", 0, "b");
    int clients[3];
    char target[32], quoted[40], weightless[96], another[32], metric[160];

    snprintf(target, sizeof target, "127.0.0.1:%u", echo_port(echo));
    snprintf(another, sizeof another, "\"127.0.0.1:%u\"", echo_port(other));
    snprintf(weightless, sizeof weightless, "{ address = \"%s\"; weight = 0; }, %s", target, another);
    snprintf(metric, sizeof metric, "proximux_target_connections{listener=\"main\",target=\"%s\"}", target);
    snprintf(quoted, sizeof quoted, "\"%s\"", target);
    struct proximux *proximux = proximux_start(*state, ADMIN PROXIED, admin, port, quoted);
    for (size_t i = 0; i < 3; i++) {
        clients[i] = peer_connect("127.0.0.1", port);
        peer_expect_text(clients[i], "a");
    }
    expect_table(*state, proximux, target, "up", 3);
    reload(proximux, ADMIN PROXIED, admin, port, weightless);
    expect_table(*state, proximux, target, "draining", 3);
    assert_int_equal(web_figure(admin, metric), 3);
    close(clients[0]);
    test_wait_until(echo_open(echo) == 2);

    /* taken away altogether, and then another protocol: it still has two sessions */
    reload(proximux, ADMIN PROXIED, admin, port, another);
    expect_table(*state, proximux, target, "draining", 2);
    reload(proximux,
           ADMIN "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; " SCENE_LINE
                 "targets = ( %s ); } );",
           admin, port, another);
    expect_table(*state, proximux, target, "draining", 2);
    assert_int_equal(web_figure(admin, metric), 2);
    assert_true(status_has(admin, "/status.json", "\"state\":\"draining\""));
    peer_send_text(clients[1], "x");
    peer_expect_text(clients[1], "x");
    close(clients[1]);
    close(clients[2]);
    test_wait_until(!status_has(admin, "/metrics", metric));
    assert_false(status_has(admin, "/status.json", "\"state\":\"draining\""));
    proximux_stop(proximux);
    echo_stop(echo);
    echo_stop(other);
}

#define SHARED                                                                                               \
    "listeners = ( { name = \"shared\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; " SCENE_LINE "%s"      \
    "targets = ( { address = \"127.0.0.1:%u\"; %s } ); } );"

static void options_change_without_a_loss(void **state)
{
    unsigned port = peer_free_port(), admin = peer_free_port(), target = peer_free_port();
    int listener = peer_listen("127.0.0.1", target, 16);
    char answered[160];

    snprintf(answered, sizeof answered,
             "proximux_target_requests_answered_total{listener=\"shared\",target=\"127.0.0.1:%u\"}", target);
    struct proximux *proximux = proximux_start(*state, ADMIN SHARED, admin, port, "", target, "");
    int client = peer_connect("127.0.0.1", port);
    peer_send_text(client, "two\n");
    int connection = peer_accept(listener);
    peer_expect_text(connection, "two\n");
    peer_send_text(connection, "2\n");
    peer_expect_text(client, "2\n");

    /* the same connection serves on, and the first one that exceeds what is allowed goes */
    reload(proximux, ADMIN SHARED, admin, port, "", target, "keep_alive = true; connections = 2;");
    assert_int_equal(web_figure(admin, answered), 1);
    peer_send_text(client, "three\n");
    peer_expect_text(connection, "three\n");
    int other = peer_connect("127.0.0.1", port);
    peer_send_text(other, "four\n");
    int second = peer_accept(listener);
    peer_expect_text(second, "four\n");
    reload(proximux, ADMIN SHARED, admin, port, "", target, "connections = 1;");
    peer_send_text(second, "4\n");
    peer_expect_text(other, "4\n");
    peer_expect_end(second);
    proximux_wait_log(proximux, "closed: replaced");
    peer_send_text(connection, "3\n");
    peer_expect_text(client, "3\n");
    assert_int_equal(web_figure(admin, answered), 3);

    /* without weight the connection goes, and comes back with it */
    reload(proximux, ADMIN SHARED, admin, port, "", target, "weight = 0;");
    peer_expect_end(connection);
    proximux_wait_log(proximux, "closed: drained");
    close(connection);
    reload(proximux, ADMIN SHARED, admin, port, "max_requests_per_connection = 1; ", target, "");
    assert_int_equal(web_figure(admin, answered), 3);
    peer_send_text(client, "five\n");
    connection = peer_accept(listener);
    peer_expect_text(connection, "five\n");
    peer_send_text(connection, "5\n");
    peer_expect_text(client, "5\n");
    peer_expect_end(connection);
    proximux_wait_log_times(proximux, "closed: replaced", 2);
    assert_int_equal(proximux_log_count(proximux, "closed: drained"), 1);
    close(connection);
    close(second);
    close(client);
    close(other);
    proximux_stop(proximux);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(drained_target_is_shown_until_its_last_session_has_ended),
        fixture_test(options_change_without_a_loss),
    };

    return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
