/* Targets that can be connected to, but do not work: what it costs until others serve, how they are found to be well
 * again, and that nobody can bring it about alone. */
#include "harness/device.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/web.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TIMEOUT 100 /* request_timeout */

/* What a client is answered. */
enum { NO_ANSWER = 0x0B, NO_PATH = 0x0A, PRIMARY = 0x71, BACKUP = 0x72 };

/* The program before a primary and, but for `is_lone`, its backup. */
struct pair {
    unsigned port;
    unsigned admin;
    struct device *primary;
    struct device *backup; /* NULL: none */
    struct proximux *proximux;
};

static struct pair pair_start(struct fixture *fixture, bool is_modbus, bool is_lone, const char *keys)
{
    struct pair pair = { .port = peer_free_port(), .admin = peer_free_port() };
    char backup[80] = "", shared[80] = "";
    pair.primary = device_start(is_modbus, PRIMARY);
    if (!is_lone) {
        pair.backup = device_start(is_modbus, BACKUP);
        snprintf(backup, sizeof backup, ", { address = \"127.0.0.1:%u\"; backup = true; }",
                 device_port(pair.backup));
    }
    if (is_modbus)
        snprintf(shared, sizeof shared, "protocol = \"modbus\"; request_timeout = %d;",
                 test_stretched(TIMEOUT));
    pair.proximux = proximux_start(fixture,
                                   "admin: { listen = \"127.0.0.1:%u\"; };"
                                   "listeners = ( { name = \"inverter\"; listen = \"127.0.0.1:%u\"; %s %s "
                                   "targets = ( \"127.0.0.1:%u\"%s ); } );",
                                   pair.admin, pair.port, shared, keys, device_port(pair.primary), backup);
    return pair;
}

static void pair_stop(struct pair *pair)
{
    proximux_stop(pair->proximux);
    device_stop(pair->primary);
    if (pair->backup != NULL)
        device_stop(pair->backup);
}

static void send_read(int client, unsigned char unit)
{
    const unsigned char request[] = { 0x12, unit, 0, 0, 0, 6, unit, 3, 0, 0, 0, 1 };
    peer_send(client, request, sizeof request);
}

/* The value that was read, or the code of the exception. */
static int receive_answer(int client)
{
    unsigned char answer[11];
    peer_receive(client, answer, 9);
    if ((answer[7] & 0x80) != 0)
        return answer[8];
    peer_receive(client, answer + 9, 2);
    return answer[10];
}

static int ask(int client, unsigned char unit)
{
    send_read(client, unit);
    return receive_answer(client);
}

/* Of so many requests one after the other: how many fail. */
static size_t count_failures(const struct pair *pair, size_t count)
{
    int client = peer_connect("127.0.0.1", pair->port);
    size_t failures = 0;
    for (size_t i = 0; i < count; i++)
        failures += ask(client, 1) < PRIMARY;
    close(client);
    return failures;
}

static bool status_has(const struct pair *pair, const char *text)
{
    return web_has(pair->admin, "/status.json", text);
}

static long long target_figure(const struct pair *pair, const char *name)
{
    char sample[160];
    snprintf(sample, sizeof sample, "%s{listener=\"inverter\",target=\"127.0.0.1:%u\"}", name,
             device_port(pair->primary));
    return web_figure(pair->admin, sample);
}

static int ready_status(const struct pair *pair)
{
    struct web_answer answer = web_get("127.0.0.1", pair->admin, "localhost", "/readyz");
    int status = answer.status;
    web_free(&answer);
    return status;
}

/* ---- Others serve ---- */

static void costs_three_requests(struct fixture *fixture, const char *mode, enum device_mood mood,
                                 const char *said)
{
    struct pair pair = pair_start(fixture, true, false, mode);
    device_set_mood(pair.primary, mood);
    int64_t begun = test_now();
    size_t failures = count_failures(&pair, 20);
    print_message("%s mood %d: %zu of 20 requests fail, in %d ms\n", mode, (int)mood, failures,
                  (int)(test_now() - begun));
    test_require(failures <= 3, "%zu of 20 requests fail", failures);
    if (said != NULL) {
        proximux_wait_log(pair.proximux, said);
        assert_int_equal(proximux_log_count(pair.proximux, "is sick"), 1);
        assert_true(status_has(&pair, "\"state\":\"sick\""));
        assert_true(status_has(&pair, "\"last_failure_age\":"));
        assert_int_equal(target_figure(&pair, "proximux_target_sick"), 1);
        assert_int_equal(target_figure(&pair, "proximux_target_usable"), 0);
        assert_int_equal(target_figure(&pair, "proximux_target_sicknesses_total"), 1);
    }
    assert_int_equal(ready_status(&pair), 200);
    pair_stop(&pair);
}

static void hung_primary_costs_three_requests(void **state)
{
    costs_three_requests(*state, "mode = \"fifo\";", DEVICE_SILENT,
                         "is sick: no answer to 3 requests in a row");
    costs_three_requests(*state, "mode = \"funnel\";", DEVICE_SILENT, "of which none has answered yet");
}

static void primary_that_closes_costs_three_requests(void **state)
{
    costs_three_requests(*state, "mode = \"fifo\";", DEVICE_SWALLOWS,
                         "is sick: it closed 3 connections in a row without an answer; connect_delay and "
                         "reconnect_delay");
    costs_three_requests(*state, "mode = \"fifo\";", DEVICE_CLOSES,
                         NULL); /* before a request was sent, or after */
    costs_three_requests(*state, "mode = \"funnel\";", DEVICE_CLOSES, NULL);
}

/* What -s says of the primary. */
static void target_is_tried_until_it_is_well(void **state)
{
    struct pair pair = pair_start(*state, true, false, "mode = \"funnel\"; retry_min = 20; retry_max = 50;");
    device_set_mood(pair.primary, DEVICE_SILENT);
    int client = peer_connect("127.0.0.1", pair.port);
    while (ask(client, 1) == NO_ANSWER)
        ;
    test_wait_until(ask(client, 1) == NO_ANSWER); /* a trial */
    char output[8192];
    const char *const arguments[] = { "-s", "-c", pair.proximux->configuration, NULL };
    const struct proximux_options options = { .arguments = arguments };
    assert_int_equal(proximux_run(*state, &options, output, sizeof output), 0);
    test_require(strstr(output, " s ago: no answer within request_timeout") != NULL &&
                     strstr(output, " sick ") != NULL,
                 "%s", output);
    device_set_mood(pair.primary, DEVICE_GOOD);
    test_wait_until(ask(client, 1) == PRIMARY);
    proximux_wait_log(pair.proximux, "is well: it has answered");
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(ask(client, 1), PRIMARY);
    assert_false(status_has(&pair, "\"state\":\"sick\""));
    assert_false(status_has(&pair, "\"last_failure_age\":null,\"backup\":false"));
    close(client);
    pair_stop(&pair);
}

static void fourth_client_of_proxy_mode_is_served(void **state)
{
    struct pair pair = pair_start(*state, false, false, "fail_after = 3;");
    const unsigned char hello[] = { 0, 0, 0, 8, 0, 3, 0, 0 };
    device_set_mood(pair.primary, DEVICE_CLOSES);
    for (size_t i = 0; i < 8; i++) {
        int client = peer_connect("127.0.0.1", pair.port);
        if (i < 3) {
            peer_expect_closed(client);
        } else {
            peer_send(client, hello, sizeof hello);
            peer_expect_text(client, "R");
        }
        close(client);
    }
    assert_int_equal(device_requests(pair.backup), 5);
    proximux_wait_log(pair.proximux, "is sick: it closed 3 connections in a row without an answer");
    pair_stop(&pair);
}

/* Of a protocol in which nobody has said anything yet. */
static void trial_that_lives_on_is_a_good_one(void **state)
{
    struct pair pair = pair_start(*state, false, false, "fail_after = 3; retry_min = 20; retry_max = 50;");
    int clients[200];
    size_t count = 0;
    device_set_mood(pair.primary, DEVICE_CLOSES);
    for (size_t i = 0; i < 3; i++) {
        int client = peer_connect("127.0.0.1", pair.port);
        peer_expect_closed(client);
        close(client);
    }
    device_set_mood(pair.primary, DEVICE_SILENT);
    size_t before = device_accepted(pair.primary);
    while (count < 200 && device_accepted(pair.primary) == before) {
        clients[count++] = peer_connect("127.0.0.1", pair.port);
        test_wait_until(device_accepted(pair.primary) + device_accepted(pair.backup) == before + count);
    }
    proximux_wait_log(pair.proximux, "is well: it has answered");
    while (count > 0)
        close(clients[--count]);
    pair_stop(&pair);
}

/* ---- There is no other ---- */

static void lone_target_goes_on(void **state)
{
    struct pair pair =
        pair_start(*state, true, true, "mode = \"funnel\"; async = true; retry_min = 20; retry_max = 50;");
    device_set_mood(pair.primary, DEVICE_SILENT);
    int client = peer_connect("127.0.0.1", pair.port);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(ask(client, 1), NO_ANSWER);
    proximux_wait_log(pair.proximux, "it goes on, as there is no other");
    assert_int_equal(ready_status(&pair), 200);
    assert_int_equal(target_figure(&pair, "proximux_target_usable"), 1);
    size_t before = device_requests(pair.primary);
    for (unsigned char unit = 1; unit <= 4; unit++)
        send_read(client, unit);
    assert_int_equal(receive_answer(client), NO_ANSWER);
    assert_int_equal(device_requests(pair.primary) <= before + 2, true); /* one at a time */
    device_set_mood(pair.primary, DEVICE_GOOD);
    for (size_t i = 0; i < 3; i++)
        (void)receive_answer(client); /* the one that was sent then has no answer either */
    test_wait_until(ask(client, 1) == PRIMARY);
    proximux_wait_log(pair.proximux, "is well");
    close(client);
    pair_stop(&pair);
}

/* ---- Nobody may switch a target off from outside ---- */

static void dead_unit_behind_a_good_gateway(void **state)
{
    struct pair pair = pair_start(*state, true, false, "mode = \"funnel\"; async = true;");
    int dead = peer_connect_from("127.0.0.2", "127.0.0.1", pair.port);
    int good = peer_connect_from("127.0.0.3", "127.0.0.1", pair.port);
    for (size_t i = 0; i < 6; i++) {
        send_read(dead, DEVICE_DEAD_UNIT);
        assert_int_equal(ask(good, 1), PRIMARY);
        assert_int_equal(receive_answer(dead), NO_ANSWER);
    }
    for (size_t i = 0; i < 5; i++) /* alone for a while */
        assert_int_equal(ask(dead, DEVICE_DEAD_UNIT), NO_ANSWER);
    assert_int_equal(ask(good, 1), PRIMARY);
    assert_int_equal(proximux_log_count(pair.proximux, "is sick"), 0);
    assert_int_equal(device_accepted(pair.backup), 0);
    close(dead);
    close(good);
    pair_stop(&pair);
}

static void client_whose_requests_the_target_closes_on(void **state)
{
    struct pair pair = pair_start(*state, true, false, "mode = \"fifo\";");
    int bad = peer_connect_from("127.0.0.2", "127.0.0.1", pair.port);
    int good = peer_connect_from("127.0.0.3", "127.0.0.1", pair.port);
    assert_int_equal(ask(good, 1), PRIMARY);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(ask(bad, DEVICE_CRASH_UNIT), NO_ANSWER);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(ask(bad, DEVICE_CRASH_UNIT), NO_ANSWER);
        assert_int_equal(ask(good, 1), PRIMARY);
    }
    assert_int_equal(proximux_log_count(pair.proximux, "is sick"), 0);
    assert_int_equal(device_accepted(pair.backup), 0);
    close(bad);
    close(good);
    pair_stop(&pair);
}

/* A client of a server like PostgreSQL is answered by this one. */
static void expect_served(const struct pair *pair, const char *source, struct device *device)
{
    const unsigned char hello[] = { 0, 0, 0, 8, 0, 3, 0, 0 };
    size_t before = device_requests(device);
    int client = peer_connect_from(source, "127.0.0.1", pair->port);
    peer_send(client, hello, sizeof hello);
    peer_expect_text(client, "R");
    assert_int_equal(device_requests(device), before + 1);
    close(client);
}

static void port_scanner_before_a_server(void **state)
{
    struct pair pair = pair_start(*state, false, false, "fail_after = 3;");
    static const char *const says[] = { "GET / HTTP/1.0\r\n\r\n", "\x16\x03\x01\x02\x0f\x01\x02\x0f", "x" };
    expect_served(&pair, "127.0.0.3", pair.primary);
    for (size_t i = 0; i < 9; i++) {
        int scanner = peer_connect_from("127.0.0.2", "127.0.0.1", pair.port);
        peer_send_text(scanner, says[i % 3]);
        if (i % 3 < 2)
            peer_expect_closed(scanner);
        close(scanner);
    }
    for (size_t i = 0; i < 5; i++)
        expect_served(&pair, "127.0.0.3", pair.primary);
    assert_int_equal(proximux_log_count(pair.proximux, "is sick"), 0);
    pair_stop(&pair);

    /* alone it is believed; but whoever comes is served all the same */
    pair = pair_start(*state, false, false, "fail_after = 3;");
    for (size_t i = 0; i < 3; i++) {
        int scanner = peer_connect_from("127.0.0.2", "127.0.0.1", pair.port);
        peer_send_text(scanner, says[0]);
        peer_expect_closed(scanner);
        close(scanner);
    }
    proximux_wait_log(pair.proximux, "is sick");
    expect_served(&pair, "127.0.0.3", pair.backup);
    pair_stop(&pair);
}

/* The server ends those without a word. */
static void cancelling_is_no_failure(void **state)
{
    struct pair pair = pair_start(*state, false, false, "fail_after = 3;");
    const unsigned char cancel[] = { 0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2 };
    for (size_t i = 0; i < 6; i++) {
        int client = peer_connect("127.0.0.1", pair.port);
        peer_send(client, cancel, sizeof cancel);
        peer_expect_closed(client);
        close(client);
    }
    expect_served(&pair, NULL, pair.primary);
    assert_int_equal(proximux_log_count(pair.proximux, "is sick"), 0);
    assert_int_equal(proximux_log_count(pair.proximux, "closed a connection without"), 0);
    pair_stop(&pair);
}

/* ---- What is said, and what the kernel is told ---- */

static void remedies_are_named(void **state)
{
    struct pair pair = pair_start(*state, true, true, "mode = \"fifo\";");
    int client = peer_connect("127.0.0.1", pair.port);
    device_set_mood(pair.primary, DEVICE_STRANGE);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(ask(client, 1), NO_ANSWER);
    proximux_wait_log(pair.proximux,
                      "an answer has an unknown id; match = \"order\" is for a device that does not echo");
    assert_int_equal(proximux_log_count(pair.proximux, "warning inverter: target"), 1);
    assert_int_equal(proximux_log_count(pair.proximux, "is sick"), 0); /* told only */
    assert_true(status_has(&pair, "\"last_failure\":\"an answer has an unknown id; match"));
    close(client);
    pair_stop(&pair);
}

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* TCP_USER_TIMEOUT of the program's connection to this port; -1: it can't be found out here. */
static int user_timeout(const struct proximux *proximux, unsigned port)
{
    int process = (int)syscall(SYS_pidfd_open, proximux->process, 0), found = -1;
    for (int descriptor = 3; process != -1 && found == -1 && descriptor < 64; descriptor++) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer, size = sizeof found;
        int copy = (int)syscall(SYS_pidfd_getfd, process, descriptor, 0);
        if (copy != -1 && getpeername(copy, (struct sockaddr *)&peer, &length) == 0 &&
            peer.sin_family == AF_INET && ntohs(peer.sin_port) == port)
            getsockopt(copy, IPPROTO_TCP, TCP_USER_TIMEOUT, &found, &size);
        close(copy);
    }
    close(process);
    return found;
}

static void kernel_gives_up_after_request_timeout(void **state)
{
    struct pair pair = pair_start(*state, true, true, "mode = \"fifo\";");
    int client = peer_connect("127.0.0.1", pair.port);
    assert_int_equal(ask(client, 1), PRIMARY);
    int timeout = user_timeout(pair.proximux, device_port(pair.primary));
    if (timeout == -1)
        print_message("what the kernel was told can't be seen here\n");
    else
        assert_int_equal(timeout, test_stretched(TIMEOUT));
    close(client);
    pair_stop(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(hung_primary_costs_three_requests),
        fixture_test(primary_that_closes_costs_three_requests),
        fixture_test(target_is_tried_until_it_is_well),
        fixture_test(fourth_client_of_proxy_mode_is_served),
        fixture_test(trial_that_lives_on_is_a_good_one),
        fixture_test(lone_target_goes_on),
        fixture_test(dead_unit_behind_a_good_gateway),
        fixture_test(client_whose_requests_the_target_closes_on),
        fixture_test(port_scanner_before_a_server),
        fixture_test(cancelling_is_no_failure),
        fixture_test(remedies_are_named),
        fixture_test(kernel_gives_up_after_request_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
