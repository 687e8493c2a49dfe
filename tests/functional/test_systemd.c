/* What a service manager sees and gives: sockets that it passes, notifications, the watchdog. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void expect_echo(const char *address, unsigned port)
{
    int client = peer_connect(address, port);

    peer_send_text(client, "hello");
    peer_expect_text(client, "hello");
    close(client);
}

static struct proximux *start_with(struct fixture *fixture, const char *listen, unsigned target,
                                   const int *passed, size_t count, const char *names)
{
    char text[512], number[32], name_list[128];
    const char *const environment[] = { number, name_list, NULL };

    snprintf(text, sizeof(text),
             "listeners = ( { name = \"main\"; listen = %s; targets = ( \"127.0.0.1:%u\" ); } );", listen,
             target);
    snprintf(number, sizeof(number), "LISTEN_FDS=%zu", count);
    snprintf(name_list, sizeof(name_list), "LISTEN_FDNAMES=%s", names);
    return proximux_start_with(
        fixture,
        (&(struct proximux_options){
            .configuration = text, .environment = environment, .passed = passed, .passed_count = count }));
}

static void sockets_are_known_by_name(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH], expected[64];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    int passed[] = { peer_listen("127.0.0.1", 0, 16), peer_listen("127.0.0.1", 0, 16),
                     peer_listen(fixture_path(fixture, "passed.sock", path), 0, 16),
                     peer_listen("127.0.0.1", 0, 16) };
    unsigned ports[] = { peer_port(passed[0]), peer_port(passed[1]), 0, peer_port(passed[3]) };
    struct proximux *proximux =
        start_with(fixture, "\"systemd:web\"", echo_port(echo), passed, 4, "web:other:web:web");

    for (size_t i = 0; i < 4; i++)
        close(passed[i]);
    expect_echo("127.0.0.1", ports[0]);
    expect_echo("127.0.0.1", ports[3]);
    expect_echo(path, 0);
    /* the one that nobody wants is closed, and said */
    assert_int_equal(peer_try_connect(NULL, "127.0.0.1", ports[1]), -1);
    snprintf(expected, sizeof(expected), "passed as \"other\": 127.0.0.1:%u", ports[1]);
    proximux_wait_log(proximux, expected);
    proximux_stop(proximux);
    assert_int_equal(access(path, F_OK), 0); /* it is systemd's to remove */
    echo_stop(echo);
}

static void beside_sockets_of_our_own(void **state)
{
    struct fixture *fixture = *state;
    char listen[128];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    int passed = peer_listen("127.0.0.1", 0, 16);
    unsigned port = peer_port(passed);
    unsigned own = peer_free_port();

    snprintf(listen, sizeof(listen), "[ \"systemd:web\", \"127.0.0.1:%u\" ]", own);
    struct proximux *proximux = start_with(fixture, listen, echo_port(echo), &passed, 1, "web");
    close(passed);
    expect_echo("127.0.0.1", port);
    expect_echo("127.0.0.1", own);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* What systemd has passed it keeps: when we leave, by a reload or for good, whoever comes waits for the next.
 */
static void systemd_goes_on_with_its_sockets(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < 2; i++) {
        char path[FIXTURE_PATH], text[256];
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        int passed[] = { peer_listen("127.0.0.1", 0, 16),
                         peer_listen(fixture_path(fixture, i == 0 ? "one" : "two", path), 0, 16) };
        struct proximux *proximux =
            start_with(fixture, "\"systemd:web\"", echo_port(echo), passed, 2, "web:web");

        expect_echo("127.0.0.1", peer_port(passed[0]));
        expect_echo(path, 0);
        if (i == 0) {
            snprintf(text, sizeof(text),
                     "listeners = ( { name = \"other\"; listen = \"127.0.0.1:%u\"; targets = "
                     "\"127.0.0.1:9\"; } );",
                     peer_free_port());
            fixture_write(fixture, strrchr(proximux->configuration, '/') + 1, text);
            proximux_signal(proximux, SIGHUP);
            proximux_wait_log(proximux, "main: served 2 clients");
        } else {
            proximux_stop(proximux);
        }
        for (size_t k = 0; k < 2; k++) {
            int client = k == 0 ? peer_connect("127.0.0.1", peer_port(passed[0])) : peer_connect(path, 0);
            int next = peer_accept(passed[k]);

            peer_send_text(next, "served by another");
            peer_expect_text(client, "served by another");
            close(client);
            close(next);
            close(passed[k]);
        }
        if (i == 0)
            proximux_stop(proximux);
        echo_stop(echo);
    }
}

/* Tries to start with one socket passed as `name`; it must fail, and say why. */
static void expect_failure(struct fixture *fixture, int passed, const char *name, const char *said)
{
    char output[4096], variable[64];
    const char *const environment[] = { "LISTEN_FDS=1", variable, NULL };

    snprintf(variable, sizeof(variable), "LISTEN_FDNAMES=%s", name);
    assert_int_equal(
        proximux_run(
            fixture,
            (&(struct proximux_options){
                .configuration = "listeners = ( { name = \"main\"; listen = \"systemd:web\"; targets "
                                 "= ( \"127.0.0.1:9\" ); } );",
                .environment = environment,
                .passed = &passed,
                .passed_count = 1 }),
            output, sizeof(output)),
        1);
    test_require(strstr(output, said) != NULL, "not said: %s", output);
}

static void sockets_that_are_missing_or_unfit(void **state)
{
    struct fixture *fixture = *state;
    int listener = peer_listen("127.0.0.1", 0, 16);
    int client = peer_connect("127.0.0.1", peer_port(listener));

    expect_failure(fixture, listener, "other",
                   "can't listen on systemd:web: systemd has passed no socket of that name");
    expect_failure(fixture, client, "web",
                   "can't listen on systemd:web: what systemd has passed is no stream socket that listens");
    close(client);
    close(listener);
}

static void the_watchdog_is_told_that_the_loop_turns(void **state)
{
    struct fixture *fixture = *state;
    char text[256];
    const char *const environment[] = { "WATCHDOG_USEC=100000", NULL };

    snprintf(text, sizeof(text),
             "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = \"127.0.0.1:9\"; } );",
             peer_free_port());
    struct proximux *proximux = proximux_start_with(
        fixture, (&(struct proximux_options){ .configuration = text, .environment = environment }));
    for (size_t i = 0; i < 3; i++)
        proximux_wait_notification(proximux, "WATCHDOG=1");
    proximux_signal(proximux, SIGTERM);
    proximux_wait_notification(proximux, "STOPPING=1");
    proximux_expect_exit(proximux, 0);
}

static void the_manager_may_listen_on_a_name_that_is_no_file(void **state)
{
    struct fixture *fixture = *state;
    char text[256];

    snprintf(text, sizeof(text),
             "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = \"127.0.0.1:9\"; } );",
             peer_free_port());
    struct proximux *proximux = proximux_start_with(
        fixture, (&(struct proximux_options){ .configuration = text, .abstract_notifications = true }));
    proximux_signal(proximux, SIGHUP);
    proximux_wait_notification(proximux, "RELOADING=1");
    proximux_wait_notification(proximux, "READY=1");
    proximux_signal(proximux, SIGTERM);
    proximux_wait_notification(proximux, "STOPPING=1");
    proximux_expect_exit(proximux, 0);
}

static void a_manager_that_can_not_be_told_is_no_reason_to_fail(void **state)
{
    static const char *const names[] = { "NOTIFY_SOCKET=relative", "NOTIFY_SOCKET=/nowhere/at/all",
                                         "NOTIFY_SOCKET=@proximux-test-nobody-is-there" };
    static const char *const said[] = { "NOTIFY_SOCKET is no path that can be used",
                                        "could not be told: No such file or directory",
                                        "could not be told: Connection refused" };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[256], pid_file[FIXTURE_PATH], log[FIXTURE_PATH], output[4096];
        const char *const environment[] = { names[i], NULL };
        const char *const arguments[] = { "-d", "-p", pid_file, NULL };

        fixture_path(fixture, "proximux.pid", pid_file);
        snprintf(text, sizeof(text),
                 "log: { output = \"%s\"; }; listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; "
                 "targets = \"127.0.0.1:9\"; } );",
                 fixture_path(fixture, "daemon.log", log), peer_free_port());
        assert_int_equal(
            proximux_run(fixture,
                         (&(struct proximux_options){
                             .configuration = text, .arguments = arguments, .environment = environment }),
                         output, sizeof(output)),
            0);
        struct proximux *proximux = proximux_adopt(fixture, pid_file, log);
        proximux_wait_log(proximux, said[i]);
        proximux_stop(proximux);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(sockets_are_known_by_name),
        fixture_test(beside_sockets_of_our_own),
        fixture_test(systemd_goes_on_with_its_sockets),
        fixture_test(sockets_that_are_missing_or_unfit),
        fixture_test(the_watchdog_is_told_that_the_loop_turns),
        fixture_test(the_manager_may_listen_on_a_name_that_is_no_file),
        fixture_test(a_manager_that_can_not_be_told_is_no_reason_to_fail),
    };

    return cmocka_run_group_tests_name("systemd", tests, NULL, NULL);
}
