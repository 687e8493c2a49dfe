/* Checks of targets: what they find out with nobody asking, and that a device notices no more of them than it has to. */
#include "harness/device.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/web.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PRIMARY = 0x71, BACKUP = 0x72 };

/* The program before a device and, but for `is_lone`, its backup. */
struct pair {
    unsigned port;
    unsigned admin;
    struct device *primary;
    struct device *backup; /* NULL: none */
    struct proximux *proximux;
};

static struct pair pair_start(struct fixture *fixture, enum device_mood mood, bool is_lone, const char *keys)
{
    struct pair pair = { .port = peer_free_port(), .admin = peer_free_port() };
    char backup[80] = "";
    pair.primary = device_start(true, PRIMARY);
    device_set_mood(pair.primary, mood);
    if (!is_lone) {
        pair.backup = device_start(true, BACKUP);
        snprintf(backup, sizeof backup, ", { address = \"127.0.0.1:%u\"; backup = true; }",
                 device_port(pair.backup));
    }
    pair.proximux = proximux_start(fixture,
                                   "admin: { listen = \"127.0.0.1:%u\"; };"
                                   "listeners = ( { name = \"inverter\"; listen = \"127.0.0.1:%u\"; "
                                   "protocol = \"modbus\"; %s targets = ( \"127.0.0.1:%u\"%s ); } );",
                                   pair.admin, pair.port, keys, device_port(pair.primary), backup);
    return pair;
}

static void pair_stop(struct pair *pair)
{
    proximux_stop(pair->proximux);
    device_stop(pair->primary);
    if (pair->backup != NULL)
        device_stop(pair->backup);
}

static int pair_ready(const struct pair *pair)
{
    return web_status(pair->admin, "/readyz/inverter");
}

static long long checks_passed(const struct pair *pair, const struct device *device)
{
    char sample[160];
    snprintf(sample, sizeof sample,
             "proximux_target_checks_passed_total{listener=\"inverter\",target=\"127.0.0.1:%u\"}",
             device_port(device));
    return web_figure(pair->admin, sample);
}

static int ask(int client)
{
    static const unsigned char request[] = { 0x12, 0x34, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1 };
    unsigned char answer[11];
    peer_send(client, request, sizeof request);
    peer_receive(client, answer, sizeof answer);
    return answer[10];
}

#define QUICK "check = { type = \"protocol\"; interval = 30; timeout = 300; }; "

/* A hung device is found with nobody asking, waits for `rise` good ones, and `/readyz` says all of it. */
static void find_a_hung_target(struct fixture *fixture, const char *mode)
{
    struct pair pair = pair_start(fixture, DEVICE_GOOD, true, mode);
    test_wait_until(pair_ready(&pair) == 200);
    device_set_mood(pair.primary, DEVICE_SILENT);
    proximux_wait_log(pair.proximux,
                      "is sick: 3 checks in a row failed, the last one: no answer within 300 ms");
    assert_int_equal(pair_ready(&pair), 503);
    assert_int_equal(proximux_log_count(pair.proximux, "a check failed"), 1);
    device_set_mood(pair.primary, DEVICE_GOOD);
    proximux_wait_log(pair.proximux, "is well");
    assert_int_equal(pair_ready(&pair), 200);
    assert_int_equal(device_most(pair.primary), 1);
    pair_stop(&pair);
}

static void hung_target_is_found_with_nobody_asking(void **state)
{
    find_a_hung_target(*state, QUICK "mode = \"fifo\";");
    find_a_hung_target(*state, QUICK "mode = \"proxy\";");
}

/* Before `rise` have passed nothing is ready, and what has not proved itself serves only if nothing else does. */
static void nothing_is_ready_before_it_is_proved(void **state)
{
    struct pair pair = pair_start(*state, DEVICE_SILENT, true,
                                  "mode = \"fifo\"; check = { type = \"protocol\"; interval = 30; "
                                  "timeout = 100; fall = 100; };");
    test_wait_until(device_requests(pair.primary) >= 2);
    assert_int_equal(pair_ready(&pair), 503);
    device_set_mood(pair.primary, DEVICE_GOOD);
    test_wait_until(pair_ready(&pair) == 200);
    assert_int_equal(proximux_log_count(pair.proximux, "is sick"), 0);
    pair_stop(&pair);
}

static void let_others_serve(struct fixture *fixture, const char *keys)
{
    struct pair pair = pair_start(fixture, DEVICE_GOOD, false, keys);
    test_wait_until(checks_passed(&pair, pair.primary) >= 2 && checks_passed(&pair, pair.backup) >= 2);
    device_set_mood(pair.primary, DEVICE_SILENT);
    proximux_wait_log(pair.proximux, "others serve until it answers again");
    assert_int_equal(pair_ready(&pair), 200);
    int client = peer_connect("127.0.0.1", pair.port);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(ask(client), BACKUP);
    close(client);
    device_set_mood(pair.primary, DEVICE_GOOD);
    proximux_wait_log(pair.proximux, "is well");
    client = peer_connect("127.0.0.1", pair.port);
    test_wait_until(ask(client) == PRIMARY || strstr(keys, "proxy") != NULL);
    close(client);
    assert_true(device_most(pair.primary) == 1 || strstr(keys, "fifo") == NULL);
    assert_true(device_most(pair.backup) == 1 || strstr(keys, "fifo") == NULL);
    pair_stop(&pair);
}

static void no_client_has_to_find_out(void **state)
{
    let_others_serve(*state, QUICK "mode = \"fifo\";");
    let_others_serve(*state, QUICK "mode = \"funnel\";");
    let_others_serve(*state, QUICK "mode = \"proxy\";");
}

/* While a client polls it, while it is checked, and through reloads. */
static void device_with_one_slot_never_sees_two(void **state)
{
    struct pair pair = pair_start(*state, DEVICE_GOOD, true,
                                  "mode = \"fifo\"; check = { type = \"protocol\"; interval = 1; };");
    int client = peer_connect("127.0.0.1", pair.port);
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(ask(client), PRIMARY);
    for (size_t i = 0; i < 5; i++) {
        proximux_signal(pair.proximux, SIGHUP);
        proximux_wait_log_times(pair.proximux, "reloaded", i + 1);
        assert_int_equal(ask(client), PRIMARY);
    }
    long long passed = checks_passed(&pair, pair.primary);
    test_wait_until(checks_passed(&pair, pair.primary) > passed);
    assert_int_equal(device_most(pair.primary), 1);
    assert_int_equal(web_figure(pair.admin, "proximux_listener_requests_total{listener=\"inverter\"}"), 305);
    assert_int_equal(web_figure(pair.admin, "proximux_listener_clients{listener=\"inverter\"}"), 1);
    close(client);
    pair_stop(&pair);
}

/* A target with weight 0 is checked, and gets no request. */
static void target_without_weight_is_checked(void **state)
{
    struct pair pair = { .port = peer_free_port(), .admin = peer_free_port() };
    pair.primary = device_start(true, PRIMARY);
    pair.backup = device_start(true, BACKUP);
    pair.proximux =
        proximux_start(*state,
                       "admin: { listen = \"127.0.0.1:%u\"; };"
                       "listeners = ( { name = \"inverter\"; listen = \"127.0.0.1:%u\"; "
                       "protocol = \"modbus\"; mode = \"funnel\"; " QUICK
                       "targets = ( { address = \"127.0.0.1:%u\"; weight = 0; }, \"127.0.0.1:%u\" ); } );",
                       pair.admin, pair.port, device_port(pair.primary), device_port(pair.backup));
    int client = peer_connect("127.0.0.1", pair.port);
    test_wait_until(checks_passed(&pair, pair.primary) >= 5);
    assert_int_equal(ask(client), BACKUP);
    close(client);
    pair_stop(&pair);
}

/* Where a session takes the only connection, no check is made, and none fails. */
static void check_without_room_is_left_out(void **state)
{
    struct pair pair = { .port = peer_free_port(), .admin = peer_free_port() };
    pair.primary = device_start(true, PRIMARY);
    pair.proximux = proximux_start(*state,
                                   "admin: { listen = \"127.0.0.1:%u\"; };"
                                   "listeners = ( { name = \"inverter\"; listen = \"127.0.0.1:%u\"; "
                                   "protocol = \"modbus\"; " QUICK
                                   "targets = ( { address = \"127.0.0.1:%u\"; max_connections = 1; } ); } );",
                                   pair.admin, pair.port, device_port(pair.primary));
    test_wait_until(pair_ready(&pair) == 200);
    int client = peer_connect("127.0.0.1", pair.port);
    assert_int_equal(ask(client), PRIMARY);
    long long passed = checks_passed(&pair, pair.primary);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(ask(client), PRIMARY);
    assert_int_equal(checks_passed(&pair, pair.primary), passed);
    close(client);
    test_wait_until(checks_passed(&pair, pair.primary) > passed);
    assert_int_equal(device_most(pair.primary), 1);
    pair_stop(&pair);
}

/* Two listeners of shared modes and one of proxy mode, all checked: they take turns, and so do their checks. */
static void one_slot_behind_three_listeners(void **state)
{
    unsigned admin = peer_free_port(), ports[3] = { peer_free_port(), peer_free_port(), peer_free_port() };
    struct device *device = device_start(true, PRIMARY);
    unsigned port = device_port(device);
    struct proximux *proximux = proximux_start(
        *state,
        "admin: { listen = \"127.0.0.1:%u\"; };"
        "defaults = { protocol = \"modbus\"; check = { type = \"protocol\"; interval = 100; }; };"
        "listeners = ("
        "{ name = \"a\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; targets = ( { address = "
        "\"127.0.0.1:%u\"; slots = 1; } ); },"
        "{ name = \"b\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; targets = \"127.0.0.1:%u\"; },"
        "{ name = \"c\"; listen = \"127.0.0.1:%u\"; targets = \"127.0.0.1:%u\"; } );",
        admin, ports[0], port, ports[1], port, ports[2], port);
    for (size_t round = 0; round < 3; round++)
        for (size_t i = 0; i < 3; i++) {
            int client = peer_connect("127.0.0.1", ports[i]);
            assert_int_equal(ask(client), PRIMARY);
            close(client);
        }
    test_wait_until(web_status(admin, "/readyz/a") == 200 && web_status(admin, "/readyz/b") == 200 &&
                    web_status(admin, "/readyz/c") == 200);
    assert_int_equal(device_most(device), 1);
    assert_int_equal(proximux_log_count(proximux, "a check failed"), 0);
    proximux_stop(proximux);
    device_stop(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(hung_target_is_found_with_nobody_asking),
        fixture_test(nothing_is_ready_before_it_is_proved),
        fixture_test(no_client_has_to_find_out),
        fixture_test(device_with_one_slot_never_sees_two),
        fixture_test(target_without_weight_is_checked),
        fixture_test(check_without_room_is_left_out),
        fixture_test(one_slot_behind_three_listeners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
