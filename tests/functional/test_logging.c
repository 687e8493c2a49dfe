/* The log of a running instance: masked addresses, and an output that does not take it. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void exchange(const char *source, const char *address, unsigned port)
{
    int client = peer_connect_from(source, address, port);

    peer_send_text(client, "hello\n");
    peer_expect_text(client, "hello\n");
    close(client);
}

static void addresses_are_masked(void **state)
{
    static const char *const modes[] = { "", "mode = \"funnel\"; protocol = \"line\";" };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        unsigned port = peer_free_port();
        struct proximux *proximux = proximux_start(
            fixture,
            "log: { mask_addresses = true; }; "
            "listeners = ( { name = \"main\"; listen = \"*:%u\"; targets = ( \"127.0.0.1:%u\" ); "
            "blocklist = [ \"127.0.9.77\" ]; %s } );",
            port, echo_port(echo), modes[i]);

        exchange("127.0.8.77", "127.0.0.1", port);
        proximux_wait_log(proximux, "from 127.0.8.0");
        int client = peer_connect_from("127.0.9.77", "127.0.0.1", port);
        peer_expect_closed(client);
        close(client);
        proximux_wait_log(proximux, "client 127.0.9.0 refused: blocked");
        if (peer_have_ipv6()) {
            exchange(NULL, "::1", port);
            proximux_wait_log(proximux, "from :: ");
        }
        proximux_stop(proximux);
        assert_int_equal(proximux_log_count(proximux, ".8.77") + proximux_log_count(proximux, ".9.77"), 0);
        assert_int_equal(proximux_log_count(proximux, "[::1]:"), 0);
        echo_stop(echo);
    }
}

/* Reads what there is; returns how often a text was in it. */
static size_t drain_pipe(int descriptor, const char *text)
{
    static char bytes[1 << 20];
    size_t found = 0, length = 0;
    ssize_t count;

    while (length < sizeof(bytes) - 1 &&
           (count = read(descriptor, bytes + length, sizeof(bytes) - 1 - length)) > 0)
        length += (size_t)count;
    bytes[length] = '\0';
    for (const char *at = bytes; (at = strstr(at, text)) != NULL; at++)
        found++;
    return found;
}

static void a_sleeping_reader_stops_no_traffic(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();

    assert_int_equal(mkfifo(fixture_path(fixture, "log.pipe", path), 0666), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_not_equal(reader, -1);
    assert_int_not_equal(fcntl(reader, F_SETPIPE_SZ, 4096), -1);
    struct proximux *proximux = proximux_start(
        fixture,
        "log: { output = \"%s\"; }; "
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
        path, port, echo_port(echo));
    /* more lines than pipe and ring hold together; nobody waits for them to be written */
    for (size_t i = 0; i < 2500; i++)
        exchange(NULL, "127.0.0.1", port);
    size_t said = 0;
    test_wait_until((said += drain_pipe(reader, "lines were dropped")) > 0);
    exchange(NULL, "127.0.0.1", port);
    proximux_signal(proximux, SIGTERM);
    size_t stopped = 0;
    test_wait_until((stopped += drain_pipe(reader, "stopped")) > 0);
    proximux_expect_exit(proximux, 0);
    close(reader);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(addresses_are_masked),
        fixture_test(a_sleeping_reader_stops_no_traffic),
    };

    return cmocka_run_group_tests_name("logging", tests, NULL, NULL);
}
