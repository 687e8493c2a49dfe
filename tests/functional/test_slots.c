/* Targets beyond one configuration and one listener: they keep their identity, are shown until they are gone, and
 * those that take few connections are shared by listeners. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/scene.h"
#include "harness/web.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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
    assert_true(web_has(admin, "/status.json", "\"state\":\"draining\""));
    peer_send_text(clients[1], "x");
    peer_expect_text(clients[1], "x");
    close(clients[1]);
    close(clients[2]);
    test_wait_until(!web_has(admin, "/metrics", metric));
    assert_false(web_has(admin, "/status.json", "\"state\":\"draining\""));
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

/* ---- One device, several listeners ---- */

/* A client that goes on asking, in a thread of its own. */
struct asker {
    unsigned port;
    const char *request;
    size_t ahead; /* requests that are outstanding at a time; 1: it comes anew for each */
    pthread_t thread;
    atomic_bool stop;
    atomic_size_t answers;
    atomic_size_t failures;
    int64_t longest; /* milliseconds */
};

/* Takes one answer: the device sends back what it gets. */
static bool asker_take(const struct asker *asker, int socket, size_t length)
{
    size_t got = 0;
    char answer[16] = { 0 };

    while (got < length) {
        ssize_t count =
            peer_readable(socket, TEST_PATIENCE) ? recv(socket, answer + got, length - got, 0) : 0;
        if (count <= 0)
            return false;
        got += (size_t)count;
    }
    return memcmp(answer, asker->request, length) == 0;
}

static void *asker_run(void *data)
{
    struct asker *asker = data;
    size_t length = asker->request[0] == '\0' ? 4 : strlen(asker->request), outstanding = 0;
    int socket = -1;

    while (!atomic_load(&asker->stop)) {
        int64_t begun = test_now();
        if (socket == -1)
            socket = peer_try_connect(NULL, "127.0.0.1", asker->port);
        for (; outstanding < asker->ahead; outstanding++)
            send(socket, asker->request, length, MSG_NOSIGNAL);
        bool answered = asker_take(asker, socket, length);
        int64_t taken = test_now() - begun;
        outstanding--;
        atomic_fetch_add(answered ? &asker->answers : &asker->failures, 1);
        asker->longest = taken > asker->longest ? taken : asker->longest;
        if (asker->ahead == 1 || !answered) {
            close(socket);
            socket = -1;
            outstanding = 0;
        }
    }
    if (socket != -1)
        close(socket);
    return NULL;
}

/* Of each of the three listeners; the device has a slot for one connection. */
#define KINDS  3
#define EACH   2
#define ASKERS (2 * EACH + 1) /* in mode proxy one will do */

static void askers_start(struct asker *askers, const unsigned *ports, size_t ahead)
{
    /* a line, a frame of `length`, and anything in proxy mode */
    static const char *const requests[KINDS] = { "line\n", "\0\2ab", "any" };

    for (size_t i = 0; i < ASKERS; i++) {
        size_t kind = i / EACH;
        askers[i] =
            (struct asker){ .port = ports[kind], .request = requests[kind], .ahead = kind == 2 ? 1 : ahead };
        assert_int_equal(pthread_create(&askers[i].thread, NULL, asker_run, &askers[i]), 0);
    }
}

/* Ends them, who must all have had answers only, each within so many milliseconds. */
static void askers_stop(struct asker *askers, int64_t most)
{
    for (size_t i = 0; i < ASKERS; i++)
        atomic_store(&askers[i].stop, true);
    for (size_t i = 0; i < ASKERS; i++)
        pthread_join(askers[i].thread, NULL);
    for (size_t i = 0; i < ASKERS; i++) {
        print_message("asker %zu: %zu answers, the longest wait was %lld ms\n", i,
                      atomic_load(&askers[i].answers), (long long)askers[i].longest);
        test_require(atomic_load(&askers[i].failures) == 0, "%zu requests of asker %zu failed",
                     atomic_load(&askers[i].failures), i);
        test_require(askers[i].longest <= test_stretched((int)most), "asker %zu waited for %lld ms", i,
                     (long long)askers[i].longest);
    }
}

#define LENGTH "protocol = { type = \"length\"; offset = 0; width = 2; };"
#define DEVICE "targets = ( { address = \"127.0.0.1:%u\"; slots = 1; %s } );"
#define THREE                                                                                                \
    "defaults = { request_gap = %u; }; listeners = ( { name = \"one\"; listen = \"127.0.0.1:%u\"; mode = "   \
    "\"%s\"; " SCENE_LINE DEVICE "},"                                                                        \
    "{ name = \"two\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; %s " LENGTH DEVICE " },"                \
    "{ name = \"three\"; listen = \"127.0.0.1:%u\"; " DEVICE " } );"

/* Its log is at info: all that happens at debug would be more than the log takes. */
static struct proximux *start_quietly(struct fixture *fixture, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static struct proximux *start_quietly(struct fixture *fixture, const char *format, ...)
{
    char text[4096];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    const struct proximux_options options = { .configuration = text, .own_log_level = true };
    return proximux_start_with(fixture, &options);
}

static void three_listeners_take_turns_at_one_slot(void **state)
{
    unsigned ports[KINDS] = { peer_free_port(), peer_free_port(), peer_free_port() };
    struct echo *device = echo_start("127.0.0.1", 0, NULL);
    unsigned target = echo_port(device);
    struct asker askers[ASKERS];
    struct proximux *proximux = start_quietly(*state, THREE, 4, ports[0], "fifo", target, "", ports[1], "",
                                              target, "connections = 3;", ports[2], target, "");

    askers_start(askers, ports, 64);
    for (size_t i = 0; i < ASKERS; i++)
        test_wait_until(atomic_load(&askers[i].answers) > 0);
    /* in mode proxy a client has the slot for one request only; the others use their second for as many as they can */
    int64_t begun = test_now();
    size_t accepted = echo_accepted(device), proxied = atomic_load(&askers[2 * EACH].answers);
    test_wait_until(atomic_load(&askers[2 * EACH].answers) > proxied);
    accepted = echo_accepted(device) - accepted;
    int64_t taken = test_now() - begun;
    askers_stop(askers, 4000); /* two turns and more */
    assert_int_equal(echo_most(device), 1);
    test_require(accepted <= 5 + (size_t)taken / 250, "%zu connections in %lld ms are no turns", accepted,
                 (long long)taken);
    proximux_stop(proximux);
    echo_stop(device);
}

static void one_slot_survives_reloads(void **state)
{
    unsigned ports[KINDS] = { peer_free_port(), peer_free_port(), peer_free_port() };
    struct echo *device = echo_start("127.0.0.1", 0, NULL);
    unsigned target = echo_port(device);
    const char *count = getenv("SLOT_RELOADS"); /* as many as wanted; a few will do */
    struct asker askers[ASKERS];
    struct proximux *proximux = start_quietly(*state, THREE, 0, ports[0], "fifo", target, "", ports[1], "",
                                              target, "", ports[2], target, "");

    askers_start(askers, ports, 1);
    for (int i = 0; i < (count == NULL ? 12 : atoi(count)); i++)
        reload(proximux, THREE, 0, ports[0], i % 3 == 0 ? "funnel" : "fifo", target,
               i % 2 == 0 ? "keep_alive = true;" : "", ports[1], i % 5 == 0 ? "warmup = true;" : "", target,
               i % 4 == 0 ? "connections = 2;" : "", ports[2], target,
               i % 7 == 0 ? "max_connections = 1;" : "");
    for (size_t i = 0; i < ASKERS; i++) {
        size_t before = atomic_load(&askers[i].answers);
        test_wait_until(atomic_load(&askers[i].answers) > before + 1);
    }
    askers_stop(askers, 4000);
    assert_int_equal(echo_most(device), 1);
    print_message("the device had %zu connections\n", echo_accepted(device));
    proximux_stop(proximux);
    echo_stop(device);
}

/* A device whose only slot another listener has is not down, though it was when it was tried last. */
static void busy_device_is_not_down(void **state)
{
    unsigned ports[2] = { peer_free_port(), peer_free_port() }, admin = peer_free_port();
    unsigned target = peer_free_port();
    struct proximux *proximux = proximux_start(
        *state,
        ADMIN "defaults = { down_timeout = 300; }; listeners = ( "
              "{ name = \"one\"; listen = \"127.0.0.1:%u\"; " DEVICE " }, "
              "{ name = \"two\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; " SCENE_LINE DEVICE
              " }, { name = \"three\"; listen = \"127.0.0.1:%u\"; " DEVICE " } );",
        admin, ports[0], target, "", ports[1], target, "", peer_free_port(), target, "");
    int early = peer_connect("127.0.0.1", ports[1]);
    peer_send_text(early, "early\n");
    proximux_wait_log(proximux, "failed: target_down"); /* nothing listens */
    close(early);
    int listener = peer_listen("127.0.0.1", target, 16);
    int holder = peer_connect("127.0.0.1", ports[0]);
    int connection = peer_accept(listener);
    peer_send_text(holder, "x");
    char byte = 0;
    while (!peer_readable(connection, 500) || recv(connection, &byte, 1, 0) != 1) {
        close(connection); /* it was an attempt of those who had found the device off */
        connection = peer_accept(listener);
    }
    assert_int_equal(byte, 'x');
    int client = peer_connect("127.0.0.1", ports[1]);
    peer_send_text(client, "late\n");
    test_wait_until(web_has(admin, "/status.json", "\"state\":\"busy\""));
    assert_true(web_has(admin, "/readyz/two", "ready"));
    peer_expect_silence(client, 600);
    close(holder);
    peer_expect_closed(connection);
    close(connection);
    connection = peer_accept(listener);
    peer_expect_text(connection, "late\n");
    peer_send_text(connection, "answer\n");
    peer_expect_text(client, "answer\n");
    close(client);
    close(connection);
    close(listener);
    proximux_stop(proximux);
}

/* Where a session of before the change of mode has the only slot, those of after it wait for no longer than
 * shutdown_timeout. */
static void sessions_of_another_mode_end(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    int listener = peer_listen("127.0.0.1", target, 16);
    static const char text[] = "shutdown_timeout = 300; listeners = ( { name = \"main\"; listen = "
                               "\"127.0.0.1:%u\"; %s targets = ( { address = \"127.0.0.1:%u\"; %s } ); } );";
    struct proximux *proximux = proximux_start(*state, text, port, "", target, "max_connections = 1;");
    int old = peer_connect("127.0.0.1", port);
    int connection = peer_accept(listener);
    peer_send_text(old, "x");
    peer_expect_text(connection, "x");
    reload(proximux, text, port, "mode = \"fifo\"; " SCENE_LINE, target, "");
    int client = peer_connect("127.0.0.1", port);
    peer_send_text(client, "new\n");
    peer_expect_closed(old);
    peer_expect_closed(connection);
    int second = peer_accept(listener);
    peer_expect_text(second, "new\n");
    peer_send_text(second, "answer\n");
    peer_expect_text(client, "answer\n");
    close(old);
    close(connection);
    close(client);
    close(second);
    close(listener);
    proximux_stop(proximux);
}

/* ---- Listeners that lead to each other ---- */

static void loop_is_noticed_and_a_chain_is_none(void **state)
{
    unsigned ports[2] = { peer_free_port(), peer_free_port() };
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    static const char two[] =
        "listeners = ( { name = \"one\"; listen = \"127.0.0.1:%u\"; targets = \"127.0.0.1:%u\"; },"
        "{ name = \"two\"; listen = \"127.0.0.1:%u\"; targets = \"127.0.0.1:%u\"; } );";
    struct proximux *proximux = proximux_start(*state, two, ports[0], ports[1], ports[1], ports[0]);

    for (size_t i = 0; i < 2; i++) {
        int client = peer_connect("127.0.0.1", ports[0]);
        peer_expect_closed(client);
        close(client);
    }
    proximux_wait_log(proximux, "one: a connection to a target of \"two\" comes back here");
    proximux_wait_log_times(proximux, " ended: ", 4); /* each client's, and the one that it has caused */
    assert_int_equal(proximux_log_count(proximux, "comes back here"), 1);
    test_require(proximux_log_count(proximux, " ended: ") <= 8, "more sessions than two clients cause");

    /* the other one's target is another one now */
    reload(proximux, two, ports[0], ports[1], ports[1], echo_port(echo));
    int client = peer_connect("127.0.0.1", ports[0]);
    peer_send_text(client, "through both");
    peer_expect_text(client, "through both");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(drained_target_is_shown_until_its_last_session_has_ended),
        fixture_test(options_change_without_a_loss),
        fixture_test(three_listeners_take_turns_at_one_slot),
        fixture_test(one_slot_survives_reloads),
        fixture_test(busy_device_is_not_down),
        fixture_test(sessions_of_another_mode_end),
        fixture_test(loop_is_noticed_and_a_chain_is_none),
    };

    return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
