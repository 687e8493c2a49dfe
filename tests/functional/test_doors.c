/* Listeners that share the targets of another one: doors of the same queue and connections. */
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/scene.h"
#include "harness/web.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The device has one slot; the test plays it. */
struct house {
    unsigned ports[3];
    unsigned admin;
    unsigned target;
    int device; /* listens */
    struct proximux *proximux;
};

/* The listener "device", with keys of its own, and its doors. The address of the target is a port below. */
#define ADMIN "admin: { listen = \"127.0.0.1:%u\"; }; "
#define OWNER                                                                                                \
    "{ name = \"device\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; " SCENE_LINE                             \
    " targets = ( { address = \"127.0.0.1:%u\"; slots = 1; } ); %s }"
#define DOOR(name) ", { name = \"" name "\"; targets_of = \"device\"; listen = \"127.0.0.1:%u\"; %s }"

static void house_write(struct house *house, struct fixture *fixture, const char *format, va_list arguments)
{
    char text[4096];
    size_t head = (size_t)snprintf(text, sizeof text, ADMIN "listeners = ( ", house->admin);

    vsnprintf(text + head, sizeof text - head - 4, format, arguments);
    strcat(text, " );");
    if (house->proximux == NULL)
        house->proximux = proximux_start(fixture, "%s", text);
    else
        fixture_write(fixture, strrchr(house->proximux->configuration, '/') + 1, text);
}

/* With this list of listeners. */
static void house_begin(struct house *house, struct fixture *fixture, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void house_begin(struct house *house, struct fixture *fixture, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    house_write(house, fixture, format, arguments);
    va_end(arguments);
}

static struct house house_prepare(void)
{
    struct house house = {
        .ports = { peer_free_port(), peer_free_port(), peer_free_port() },
        .admin = peer_free_port(),
        .target = peer_free_port(),
    };

    house.device = peer_listen("127.0.0.1", house.target, 16);
    return house;
}

/* A reload to this list of listeners, which ends in this way. */
static void house_reload(struct house *house, const char *outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void house_reload(struct house *house, const char *outcome, const char *format, ...)
{
    va_list arguments;
    size_t before = proximux_log_count(house->proximux, outcome);

    va_start(arguments, format);
    house_write(house, house->proximux->fixture, format, arguments);
    va_end(arguments);
    proximux_signal(house->proximux, SIGHUP);
    proximux_wait_log_times(house->proximux, outcome, before + 1);
}

#define RELOADED "reloaded: "
#define REFUSED  "reload refused: "

static void house_end(const struct house *house)
{
    proximux_stop(house->proximux);
    close(house->device);
}

/* A client that has asked by one of the doors. */
static int ask(const struct house *house, size_t door, const char *request)
{
    int client = peer_connect("127.0.0.1", house->ports[door]);

    peer_send_text(client, request);
    return client;
}

/* The device gets this, and says that. */
static void serve(int connection, const char *request, const char *answer)
{
    peer_expect_text(connection, request);
    peer_send_text(connection, answer);
}

static void expect_listed(const struct house *house, const char *path, const char *text, bool wanted)
{
    struct web_answer answer = web_get("127.0.0.1", house->admin, "localhost", path);

    test_require((strstr(answer.body, text) != NULL) == wanted, "%s is %s in %s:\n%s", text,
                 wanted ? "not" : "still", path, answer.body);
    web_free(&answer);
}

static int status_of(const struct house *house, const char *path)
{
    struct web_answer answer = web_get("127.0.0.1", house->admin, "localhost", path);
    int status = answer.status;

    web_free(&answer);
    return status;
}

static void doors_share_one_connection(void **state)
{
    static const char *const modes[] = { "fifo", "funnel" };

    for (size_t i = 0; i < 2; i++) {
        struct house house = house_prepare();
        house_begin(&house, *state, OWNER DOOR("hall") DOOR("yard"), house.ports[0], modes[i], house.target,
                    "", house.ports[1], "", house.ports[2], "");
        int clients[3];
        clients[0] = ask(&house, 0, "a?\n");
        int connection = peer_accept(house.device);
        peer_expect_text(connection, "a?\n");
        clients[1] = ask(&house, 1, "b?\n");
        test_wait_until(web_figure(house.admin, "proximux_listener_clients_waiting{listener=\"hall\"}") == 1);
        clients[2] = ask(&house, 2, "c?\n");
        test_wait_until(web_figure(house.admin, "proximux_listener_clients_waiting{listener=\"yard\"}") == 1);
        assert_int_equal(web_figure(house.admin, "proximux_listener_clients_waiting{listener=\"device\"}"),
                         0);
        assert_int_equal(web_figure(house.admin, "proximux_listener_in_flight{listener=\"device\"}"), 1);
        assert_int_equal(web_figure(house.admin, "proximux_listener_in_flight{listener=\"hall\"}"), 0);
        peer_send_text(connection, "A\n");
        serve(connection, "b?\n", "B\n");
        serve(connection, "c?\n", "C\n");
        peer_expect_text(clients[0], "A\n");
        peer_expect_text(clients[1], "B\n");
        peer_expect_text(clients[2], "C\n");
        peer_expect_silence(house.device, 50); /* nobody else has connected */
        for (size_t k = 0; k < 3; k++)
            close(clients[k]);
        close(connection);
        house_end(&house);
    }
}

static void each_door_has_lists_limits_and_figures_of_its_own(void **state)
{
    struct house house = house_prepare();
    char output[8192];

    house_begin(&house, *state, OWNER DOOR("hall") DOOR("yard"), house.ports[0], "fifo", house.target, "",
                house.ports[1], "max_connections = 1; request_log = true;", house.ports[2],
                "blocklist = [ \"127.0.0.0/8\" ];");
    int client = ask(&house, 1, "status?\n");
    int connection = peer_accept(house.device);
    serve(connection, "status?\n", "fine\n");
    peer_expect_text(client, "fine\n");
    int second = peer_connect("127.0.0.1", house.ports[1]);
    peer_expect_closed(second);
    int blocked = peer_connect("127.0.0.1", house.ports[2]);
    peer_expect_closed(blocked);
    int unlogged = ask(&house, 0, "hidden?\n");
    serve(connection, "hidden?\n", "no\n");
    peer_expect_text(unlogged, "no\n");

    proximux_wait_log(house.proximux, "status?");
    assert_int_equal(proximux_log_count(house.proximux, "hidden?"), 0);
    assert_int_equal(web_figure(house.admin, "proximux_listener_requests_answered_total{listener=\"hall\"}"),
                     1);
    assert_int_equal(web_figure(house.admin, "proximux_listener_received_bytes_total{listener=\"hall\"}"), 8);
    assert_int_equal(
        web_figure(house.admin, "proximux_listener_requests_answered_total{listener=\"device\"}"), 1);
    assert_int_equal(web_figure(house.admin, "proximux_listener_clients{listener=\"hall\"}"), 1);
    assert_int_equal(
        web_figure(house.admin,
                   "proximux_listener_clients_ended_total{listener=\"hall\",reason=\"over_limit\"}"),
        1);
    assert_int_equal(
        web_figure(house.admin,
                   "proximux_listener_clients_ended_total{listener=\"yard\",reason=\"blocked\"}"),
        1);
    expect_listed(&house, "/metrics", "proximux_target_usable{listener=\"device\"", true);
    expect_listed(&house, "/metrics", "proximux_target_usable{listener=\"hall\"", false);
    expect_listed(&house, "/status.json", "\"targets_of\":\"device\"", true);
    const char *const arguments[] = { "-s", "-c", house.proximux->configuration, NULL };
    const struct proximux_options options = { .arguments = arguments };
    assert_int_equal(proximux_run(*state, &options, output, sizeof output), 0);
    test_require(strstr(output, "those of device") != NULL, "the door is not in\n%s", output);
    assert_int_equal(status_of(&house, "/readyz/hall"), 200);

    /* without its target neither is ready */
    close(house.device);
    peer_reset(connection);
    int late = ask(&house, 0, "late?\n");
    test_wait_until(status_of(&house, "/readyz/device") == 503);
    assert_int_equal(status_of(&house, "/readyz/hall"), 503);
    close(client);
    close(second);
    close(blocked);
    close(unlogged);
    close(late);
    proximux_stop(house.proximux);
}

static void doors_come_and_go_and_nobody_notices(void **state)
{
    struct house house = house_prepare();

    house_begin(&house, *state, OWNER, house.ports[0], "fifo", house.target, "");
    int client = ask(&house, 0, "1?\n");
    int connection = peer_accept(house.device);
    peer_expect_text(connection, "1?\n");

    /* a door comes, changes, and goes, while the request is on its way */
    house_reload(&house, RELOADED, OWNER DOOR("hall"), house.ports[0], "fifo", house.target, "",
                 house.ports[1], "");
    int guest = ask(&house, 1, "2?\n");
    test_wait_until(web_figure(house.admin, "proximux_listener_clients_waiting{listener=\"hall\"}") == 1);
    house_reload(&house, RELOADED, OWNER DOOR("hall"), house.ports[0], "fifo", house.target, "",
                 house.ports[1], "request_log = true; priority = 3;");
    house_reload(&house, RELOADED, OWNER, house.ports[0], "fifo", house.target, "");
    peer_send_text(connection, "one\n");
    peer_expect_text(client, "one\n");
    serve(connection, "2?\n", "two\n"); /* who is there is served still */
    peer_expect_text(guest, "two\n");
    close(guest);
    proximux_wait_log(house.proximux, "hall: served 1 clients");
    assert_int_equal(proximux_log_count(house.proximux, "info device: reload: changed"), 0);

    /* the owner's address changes: its door goes there too */
    house_reload(&house, RELOADED, OWNER DOOR("hall"), house.ports[0], "fifo", house.target, "",
                 house.ports[1], "");
    unsigned other = peer_free_port();
    int elsewhere = peer_listen("127.0.0.1", other, 16);
    house_reload(&house, RELOADED, OWNER DOOR("hall"), house.ports[0], "fifo", other, "", house.ports[1], "");
    peer_expect_end(connection);
    close(connection);
    guest = ask(&house, 1, "3?\n");
    connection = peer_accept(elsewhere);
    serve(connection, "3?\n", "three\n");
    peer_expect_text(guest, "three\n");

    /* without its owner there is no door */
    house_reload(&house, REFUSED, "{ name = \"hall\"; targets_of = \"device\"; listen = \"127.0.0.1:%u\"; }",
                 house.ports[1]);
    proximux_wait_log(house.proximux, "targets_of: there is no listener \"device\"");
    peer_send_text(guest, "4?\n");
    serve(connection, "4?\n", "four\n");
    peer_expect_text(guest, "four\n");
    close(guest);
    close(client);
    close(connection);
    close(elsewhere);
    house_end(&house);
}

static void doors_follow_their_owner_to_another_protocol(void **state)
{
    static const char form[] =
        "{ name = \"device\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; protocol = { type = \"line\"; "
        "delimiter = \"%s\"; }; targets = ( { address = \"127.0.0.1:%u\"; slots = 1; } ); }" DOOR("hall");
    struct house house = house_prepare();

    house_begin(&house, *state, form, house.ports[0], "fifo", "\\\\n", house.target, house.ports[1], "");
    int old = ask(&house, 1, "old?\n");
    int connection = peer_accept(house.device);
    serve(connection, "old?\n", "old\n");
    peer_expect_text(old, "old\n");
    house_reload(&house, RELOADED, form, house.ports[0], "funnel", ";", house.target, house.ports[1], "");
    proximux_wait_log(house.proximux, "hall: reload: \"device\" has another mode or protocol");

    /* who was there is served as before: the one slot goes over and back */
    int new = ask(&house, 1, "new?;");
    peer_expect_end(connection);
    close(connection);
    connection = peer_accept(house.device);
    serve(connection, "new?;", "new;");
    peer_expect_text(new, "new;");
    expect_listed(&house, "/status.json", "\"protocol\":\"line\",\"targets_of\":\"device\"", true);
    peer_send_text(old, "again?\n");
    peer_expect_end(connection);
    close(connection);
    connection = peer_accept(house.device);
    serve(connection, "again?\n", "again\n");
    peer_expect_text(old, "again\n");
    close(old);
    peer_expect_end(connection); /* with the last client of before everything goes that was theirs */
    close(connection);
    peer_send_text(new, "last?;");
    connection = peer_accept(house.device);
    serve(connection, "last?;", "last;");
    peer_expect_text(new, "last;");

    /* a listener of its own becomes one; and the other way round */
    house_reload(&house, RELOADED,
                 "{ name = \"hall\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; " SCENE_LINE
                 " targets = \"127.0.0.1:%u\"; }, "
                 "{ name = \"device\"; targets_of = \"hall\"; listen = \"127.0.0.1:%u\"; }",
                 house.ports[1], house.target, house.ports[0]);
    close(new);
    peer_expect_end(connection);
    close(connection);
    int client = ask(&house, 0, "?\n");
    connection = peer_accept(house.device);
    serve(connection, "?\n", "!\n");
    peer_expect_text(client, "!\n");
    close(client);
    close(connection);
    house_end(&house);
}

static void higher_priorities_go_first(void **state)
{
    struct house house = house_prepare();
    int polls[12];

    house_begin(&house, *state, OWNER DOOR("hall"), house.ports[0], "fifo", house.target, "", house.ports[1],
                "priority = 5;");
    int first = ask(&house, 0, "first\n");
    int connection = peer_accept(house.device);
    peer_expect_text(connection, "first\n");
    int low = ask(&house, 0, "low\n");
    for (size_t i = 0; i < 12; i++)
        polls[i] = ask(&house, 1, "high\n");
    test_wait_until(web_figure(house.admin, "proximux_listener_clients_waiting{listener=\"hall\"}") == 12);
    peer_send_text(connection, "-\n");
    for (size_t i = 0; i < 9; i++)
        serve(connection, "high\n", "-\n");
    serve(connection, "low\n", "-\n"); /* of ten turns one */
    for (size_t i = 0; i < 3; i++)
        serve(connection, "high\n", "-\n");
    for (size_t i = 0; i < 12; i++) {
        peer_expect_text(polls[i], "-\n");
        close(polls[i]);
    }
    close(first);
    close(low);
    close(connection);
    house_end(&house);
}

static void drain_ends_all_doors_when_their_answers_are_in(void **state)
{
    struct house house = house_prepare();

    house_begin(&house, *state, OWNER DOOR("hall"), house.ports[0], "fifo", house.target, "", house.ports[1],
                "");
    int client = ask(&house, 0, "1?\n");
    int connection = peer_accept(house.device);
    peer_expect_text(connection, "1?\n");
    int guest = ask(&house, 1, "2?\n");
    test_wait_until(web_figure(house.admin, "proximux_listener_clients_waiting{listener=\"hall\"}") == 1);
    proximux_signal(house.proximux, SIGTERM);
    peer_send_text(connection, "one\n");
    peer_expect_text(client, "one\n");
    peer_expect_end(client);
    serve(connection, "2?\n", "two\n");
    peer_expect_text(guest, "two\n");
    peer_expect_end(guest);
    close(client);
    close(guest);
    proximux_expect_exit(house.proximux, 0);
    close(connection);
    close(house.device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(doors_share_one_connection),
        fixture_test(each_door_has_lists_limits_and_figures_of_its_own),
        fixture_test(doors_come_and_go_and_nobody_notices),
        fixture_test(doors_follow_their_owner_to_another_protocol),
        fixture_test(higher_priorities_go_first),
        fixture_test(drain_ends_all_doors_when_their_answers_are_in),
    };

    return cmocka_run_group_tests_name("doors", tests, NULL, NULL);
}
