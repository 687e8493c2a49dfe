/* Shared modes, the target's side: when its connections are made, kept, replaced and given up, and which
 * target is used. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/scene.h"
#include "harness/web.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Milliseconds in which nothing may happen. */
#define QUIET 60

static void request_waits_for_a_target_that_comes_up(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    struct proximux *proximux =
        scene_start(*state, port, target, "fifo", 1, "retry_min = 20; retry_max = 40;");
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "early\n");
    proximux_wait_log(proximux, "is down");
    peer_expect_silence(client, 150); /* several attempts */
    struct echo *echo = echo_start("127.0.0.1", target, NULL);
    peer_expect_text(client, "early\n");
    peer_send_text(client, "late\n");
    peer_expect_text(client, "late\n");
    close(client);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "is down"), 1);
    assert_int_equal(proximux_log_count(proximux, "is up"), 1);
    assert_int_equal(echo_accepted(echo), 1);
    echo_stop(echo);
}

/* The connection that finds a target again is kept, and serves. */
static void target_is_found_again_without_clients(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    struct proximux *proximux =
        scene_start(*state, port, target, "funnel", 3, "retry_min = 20; retry_max = 40; queue_timeout = 60;");
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "hello\n");
    peer_expect_text(client, "ERROR\n");
    proximux_wait_log(proximux, "failed: queue_timeout");
    struct echo *echo = echo_start("127.0.0.1", target, NULL);
    proximux_wait_log(proximux, "is up");
    assert_int_equal(echo_open(echo), 1);
    peer_send_text(client, "again\n");
    peer_expect_text(client, "again\n");
    assert_int_equal(echo_accepted(echo), 1);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* Requests for targets that are all down end soon; a restart that is shorter costs nobody anything. */
static void requests_wait_for_a_restart_and_no_longer(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", target, NULL);
    struct proximux *proximux = scene_start(*state, port, target, "funnel", 1, "down_timeout = 700;");
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "before\n");
    peer_expect_text(client, "before\n");
    echo_stop(echo);
    proximux_wait_log(proximux, "target_closed");
    peer_send_text(client, "meanwhile\n");
    proximux_wait_log(proximux, "is down");
    echo = echo_start("127.0.0.1", target, NULL);
    peer_expect_text(client, "meanwhile\n");
    echo_stop(echo);
    peer_send_text(client, "for nothing\n");
    peer_expect_text(client, "ERROR\n");
    proximux_wait_log(proximux, "failed: target_down");
    close(client);
    proximux_stop(proximux);
}

static void nothing_waits_for_targets_that_take_no_work(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; "
                       "protocol = { type = \"line\"; error_reply = \"ERROR\\\\n\"; }; down_timeout = 100; "
                       "queue_timeout = -1; targets = ( { address = \"127.0.0.1:%u\"; weight = 0; } ); } );",
                       port, peer_free_port());
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "hello\n");
    peer_expect_text(client, "ERROR\n");
    proximux_wait_log(proximux, "failed: target_down");
    close(client);
    proximux_stop(proximux);
}

/* A target is on trial, and the client resets whose request that is: the target has done nothing wrong. */
static void client_that_resets_is_no_failure_of_a_target_on_trial(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port(), admin = peer_free_port();
    struct proximux *proximux =
        proximux_start(*state,
                       "admin: { listen = \"127.0.0.1:%u\"; }; listeners = ( { name = \"main\"; "
                       "listen = \"127.0.0.1:%u\"; mode = \"funnel\"; retry_min = 20; retry_max = 40; "
                       "targets = ( \"127.0.0.1:%u\" ); } );",
                       admin, port, target);
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "mine");
    proximux_wait_log(proximux, "is down");
    int listener = peer_listen("127.0.0.1", target, 16);
    int connection = peer_accept(listener);
    peer_expect_text(connection, "mine");
    peer_reset(client);
    peer_expect_closed(connection);
    close(connection);
    connection = peer_accept(listener); /* it is tried again */
    assert_true(web_has(admin, "/status.json", "Connection refused"));
    assert_false(web_has(admin, "/status.json", "the client reset"));
    close(connection);
    close(listener);
    proximux_stop(proximux);
}

/* A target that takes connections only to drop them is down, and is said to be, once. */
static void target_that_only_closes_is_down(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "warmup = true; retry_min = 300; retry_max = 300;");

    for (size_t i = 0; i < 4; i++) {
        int target = peer_accept(scene.listener);

        if (i % 2 == 0)
            peer_send_text(target, "go away\n");
        peer_reset(target);
    }
    int target = peer_accept(scene.listener);
    proximux_wait_log(scene.proximux, "is up"); /* this one it has kept */
    int client = scene_ask(&scene, "hello\n");
    peer_expect_text(target, "hello\n");
    peer_send_text(target, "HELLO\n");
    peer_expect_text(client, "HELLO\n");
    close(client);
    scene_end(&scene);
    assert_int_equal(proximux_log_count(scene.proximux, "is down"), 1);
    assert_int_equal(proximux_log_count(scene.proximux, "is up"), 1);
}

static void idle_connection_that_was_closed_is_replaced(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int client = scene_ask(&scene, "one\n");

    for (size_t i = 0; i < 3; i++) {
        int target = peer_accept(scene.listener);

        peer_expect_text(target, "one\n");
        peer_send_text(target, "ONE\n");
        peer_expect_text(client, "ONE\n");
        close(target);
        proximux_wait_log_times(scene.proximux, "closed: target_closed", i + 1);
        peer_expect_silence(scene.listener, QUIET); /* only when it is needed */
        peer_send_text(client, "one\n");
    }
    int target = peer_accept(scene.listener);
    peer_expect_text(target, "one\n");
    peer_send_text(target, "ONE\n");
    peer_expect_text(client, "ONE\n");
    close(client);
    scene_end(&scene);
    assert_int_equal(proximux_log_count(scene.proximux, "is down"), 0);
}

/* The end of the stream comes with the answer. Who waits next must not have its request sent into that. */
static void close_behind_an_answer_costs_nobody_anything(void **state)
{
    enum { ROUNDS = 30, CLIENTS = 3 };
    static const char *const requests[CLIENTS] = { "request 0\n", "request 1\n", "request 2\n" };
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int clients[CLIENTS];

    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = scene_ask(&scene, requests[i]);
    for (size_t i = 0; i < ROUNDS; i++) {
        int target = peer_accept(scene.listener);
        char request[10];

        peer_receive(target, request, sizeof(request));
        size_t next = (size_t)(request[8] - '0'); /* whose turn it is: some may not have been seen yet */
        test_require(next < CLIENTS, "%.10s", request);
        assert_memory_equal(request, requests[next], sizeof(request));
        proximux_signal(scene.proximux, SIGSTOP); /* so that both are there when it looks */
        peer_send_text(target, "answer\n");
        close(target);
        proximux_signal(scene.proximux, SIGCONT);
        peer_expect_text(clients[next], "answer\n");
        if (i + CLIENTS < ROUNDS)
            peer_send_text(clients[next], requests[next]);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        close(clients[i]);
    proximux_wait_log_times(scene.proximux, "ended: client_closed", CLIENTS);
    assert_int_equal(proximux_log_count(scene.proximux, " failed: "), 0);
    scene_end(&scene);
}

static void stray_bytes_reach_nobody(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int client = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    peer_send_text(target, "ONE\nand one more\n");
    peer_expect_text(client, "ONE\n");
    peer_expect_closed(target);
    close(target);
    proximux_wait_log(scene.proximux, "closed: protocol_error");
    peer_send_text(client, "two\n");
    target = peer_accept(scene.listener);
    peer_expect_text(target, "two\n");
    peer_send_text(target, "TWO\n");
    peer_expect_text(client, "TWO\n");
    close(client);
    scene_end(&scene);
}

/* What a target says before it was asked anything is no answer. */
static void target_that_speaks_first_is_no_target(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "welcome\n");
    struct proximux *proximux =
        scene_start(*state, port, echo_port(echo), "fifo", 1, "queue_timeout = 300; retry_min = 50;");
    int client = peer_connect("127.0.0.1", port);
    char answer[7] = "";

    peer_send_text(client, "hello\n");
    peer_receive(client, answer, 6);
    /* Once the request is on its way nothing can tell the two apart; that is what the promise excludes. */
    test_require(strcmp(answer, "ERROR\n") == 0 || strcmp(answer, "welcom") == 0, "it got %s", answer);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void inactivity_releases_connections_not_clients(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "inactivity_timeout = 100;");
    int client = scene_ask(&scene, "one\n");

    for (size_t i = 0; i < 3; i++) {
        int target = peer_accept(scene.listener);

        peer_expect_text(target, "one\n");
        peer_send_text(target, "ONE\n");
        peer_expect_text(client, "ONE\n");
        int64_t begin = test_now();
        peer_expect_end(target);
        test_require(test_now() - begin >= 80, "after %d ms already", (int)(test_now() - begin));
        close(target);
        proximux_wait_log_times(scene.proximux, "closed: inactivity", i + 1);
        if (i < 2)
            peer_send_text(client, "one\n");
    }
    close(client);
    scene_end(&scene);
    assert_int_equal(proximux_log_count(scene.proximux, "is down"), 0);
}

static void pauses_are_kept(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "connect_delay = 150; request_gap = 100;");
    int client = scene_ask(&scene, "one\ntwo\n");
    int target = peer_accept(scene.listener);

    peer_expect_silence(target, 100);
    peer_expect_text(target, "one\n");
    peer_send_text(target, "ONE\n");
    peer_expect_text(client, "ONE\n");
    peer_expect_silence(target, 70);
    peer_expect_text(target, "two\n");
    peer_send_text(target, "TWO\n");
    peer_expect_text(client, "TWO\n");
    close(client);
    scene_end(&scene);
}

static void connections_are_replaced_after_so_many_requests(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "max_requests_per_connection = 2;");
    int client = scene_ask(&scene, "a\nb\nc\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "a\n");
    peer_send_text(target, "A\n");
    peer_expect_text(target, "b\n");
    peer_expect_silence(scene.listener, QUIET); /* not before the old one is closed */
    peer_send_text(target, "B\n");
    peer_expect_end(target);
    close(target);
    target = peer_accept(scene.listener);
    peer_expect_text(target, "c\n");
    peer_send_text(target, "C\n");
    peer_expect_text(client, "A\nB\nC\n");
    close(client);
    scene_end(&scene);
}

static void warmup_opens_all_before_anybody_is_let_in(void **state)
{
    unsigned port = peer_free_port(), closed = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start(
        *state,
        "listeners = ( { name = \"warm\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; warmup = "
        "true; " SCENE_LINE
        "targets = ( { address = \"127.0.0.1:%u\"; connections = 3; }, \"127.0.0.1:%u\" ); } );",
        port, echo_port(echo), closed);
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "warm\n");
    peer_expect_text(client, "warm\n");
    assert_int_equal(echo_accepted(echo), 3);
    proximux_wait_log(proximux, "is down");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* A connection lives from when it can be used: where connection_ttl was not longer than connect_delay, none ever was
 * used, and the next one was made without a pause, 855 times in five seconds. */
static void short_lived_connections_are_used(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "connect_delay = 40; connection_ttl = 20;");
    int client = scene_ask(&scene, "hello\n");
    int target = peer_accept(scene.listener);
    peer_expect_text(target, "hello\n");
    peer_send_text(target, "HELLO\n");
    peer_expect_text(client, "HELLO\n");
    peer_expect_closed(target);
    close(target);
    close(client);
    scene_end(&scene);
}

/* Those that the target closes before they took a request are no reason to make the next one without a pause. */
static void closed_connections_are_made_with_pauses(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1,
                                     "connect_delay = 40; max_requests_per_connection = 1; retry_min = 400; "
                                     "retry_max = 400;");
    int client = scene_ask(&scene, "hello\n");
    close(peer_accept(scene.listener));
    proximux_wait_log(scene.proximux, "is down");
    peer_expect_silence(scene.listener, 200);
    peer_reset(client); /* so that nobody is waited for */
    scene_end(&scene);
}

/* One target and its backup: over to it, and back, never on both at a time. */
static void fifo_fails_over_and_back(void **state)
{
    unsigned port = peer_free_port(), first_port = peer_free_port(), second_port = peer_free_port();
    int second = peer_listen("127.0.0.1", second_port, 16);
    struct proximux *proximux = proximux_start(
        *state,
        "listeners = ( { name = \"pair\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; " SCENE_LINE
        "retry_min = 20; retry_max = 40;"
        "targets = ( \"127.0.0.1:%u\", { address = \"127.0.0.1:%u\"; backup = true; } ); } );",
        port, first_port, second_port);
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "one\n");
    int backup = peer_accept(second);
    peer_expect_text(backup, "one\n");
    int first = peer_listen("127.0.0.1", first_port, 16);
    int primary = peer_accept(first);
    proximux_wait_log(proximux, "is up");
    peer_send_text(client, "two\n");
    peer_expect_silence(primary, QUIET); /* the backup has not answered yet */
    peer_send_text(backup, "ONE\n");
    peer_expect_text(client, "ONE\n");
    peer_expect_end(backup);
    close(backup);
    peer_expect_text(primary, "two\n");
    peer_send_text(primary, "TWO\n");
    peer_expect_text(client, "TWO\n");
    close(client);
    proximux_stop(proximux);
    close(first);
    close(second);
}

static void silent_target_costs_one_client_only(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "request_timeout = 200;");
    int first = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int second = scene_ask(&scene, "two\n");
    peer_expect_text(first, "ERROR\n");
    peer_expect_closed(target);
    close(target);
    proximux_wait_log(scene.proximux, "failed: request_timeout");
    target = peer_accept(scene.listener);
    peer_expect_text(target, "two\n");
    peer_send_text(target, "TWO\n");
    peer_expect_text(second, "TWO\n");
    close(first);
    close(second);
    scene_end(&scene);
}

static void target_that_dies_in_mid_answer(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int first = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int second = scene_ask(&scene, "two\n");
    peer_send_text(target, "ON");
    peer_expect_text(first, "ON");
    peer_reset(target);
    peer_expect_reset(first); /* so that half an answer does not look whole */
    target = peer_accept(scene.listener);
    peer_expect_text(target, "two\n");
    peer_send_text(target, "TWO\n");
    peer_expect_text(second, "TWO\n");
    close(first);
    close(second);
    scene_end(&scene);
}

/* Two targets that the test plays, and what they get. */
static struct proximux *start_two(struct fixture *fixture, unsigned port, unsigned first, unsigned second,
                                  const char *keys, const char *second_keys)
{
    return proximux_start(
        fixture,
        "listeners = ( { name = \"two\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; " SCENE_LINE
        "%s retry_min = 20; retry_max = 40;"
        "targets = ( \"127.0.0.1:%u\", { address = \"127.0.0.1:%u\"; %s } ); } );",
        port, keys, first, second, second_keys);
}

static void funnel_leaves_its_backup_when_another_is_back(void **state)
{
    unsigned port = peer_free_port(), first_port = peer_free_port(), second_port = peer_free_port();
    int second = peer_listen("127.0.0.1", second_port, 16);
    struct proximux *proximux = start_two(*state, port, first_port, second_port, "", "backup = true;");
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "one\n");
    int backup = peer_accept(second);
    peer_expect_text(backup, "one\n");
    int first = peer_listen("127.0.0.1", first_port, 16);
    int primary = peer_accept(first);
    proximux_wait_log(proximux, "is up");
    int other = peer_connect("127.0.0.1", port);
    peer_send_text(other, "two\n");
    peer_expect_text(primary, "two\n");
    peer_send_text(primary, "TWO\n");
    peer_expect_text(other, "TWO\n");
    peer_send_text(backup, "ONE\n");
    peer_expect_text(client, "ONE\n");
    peer_expect_end(backup);
    close(backup);
    close(client);
    close(other);
    proximux_stop(proximux);
    close(first);
    close(second);
}

/* Plays a target for one request. */
static void serve_one(int target)
{
    peer_expect_text(target, "ping\n");
    peer_send_text(target, "pong\n");
}

static void round_robin_takes_turns_request_by_request(void **state)
{
    unsigned port = peer_free_port(), ports[2] = { peer_free_port(), peer_free_port() };
    int targets[2];
    int first = peer_listen("127.0.0.1", ports[0], 16), second = peer_listen("127.0.0.1", ports[1], 16);
    struct proximux *proximux =
        start_two(*state, port, ports[0], ports[1], "balance = \"round_robin\"; warmup = true;", "");
    size_t served[2] = { 0 };

    targets[0] = peer_accept(first);
    targets[1] = peer_accept(second);
    int client = peer_connect("127.0.0.1", port);
    for (size_t i = 0; i < 10; i++) {
        peer_send_text(client, "ping\n");
        test_wait_until(peer_readable(targets[0], 1) || peer_readable(targets[1], 1));
        size_t which = peer_readable(targets[0], 0) ? 0 : 1;
        serve_one(targets[which]);
        served[which]++;
        peer_expect_text(client, "pong\n");
    }
    assert_int_equal(served[0], 5);
    assert_int_equal(served[1], 5);
    close(client);
    proximux_stop(proximux);
    close(first);
    close(second);
}

/* However the choice falls, nobody waits while a connection is free. */
static void free_connection_is_used_whoever_is_chosen(void **state)
{
    unsigned port = peer_free_port(), ports[2] = { peer_free_port(), peer_free_port() };
    int first = peer_listen("127.0.0.1", ports[0], 16), second = peer_listen("127.0.0.1", ports[1], 16);
    struct proximux *proximux =
        start_two(*state, port, ports[0], ports[1], "balance = \"first\"; warmup = true;", "");
    int target = peer_accept(first), other_target = peer_accept(second);
    int client = peer_connect("127.0.0.1", port), other = peer_connect("127.0.0.1", port);

    peer_send_text(client, "ping\n");
    peer_expect_text(target, "ping\n");
    for (size_t i = 0; i < 3; i++) {
        peer_send_text(other, "ping\n");
        serve_one(other_target);
        peer_expect_text(other, "pong\n");
    }
    peer_send_text(target, "pong\n");
    peer_expect_text(client, "pong\n");
    close(client);
    close(other);
    proximux_stop(proximux);
    close(first);
    close(second);
}

/* The target takes connections, but not our password: it is down, and the log says why, once. */
static void target_that_refuses_our_greeting_is_down(void **state)
{
    unsigned port = peer_free_port(), target_port = peer_free_port();
    int listener = peer_listen("127.0.0.1", target_port, 16);
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"redis\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\";"
                       "protocol = { type = \"redis\"; password = \"wrong\"; client_auth = false; };"
                       "retry_min = 20; retry_max = 40; queue_timeout = 400;"
                       "targets = ( \"127.0.0.1:%u\" ); } );",
                       port, target_port);
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
    for (size_t i = 0; i < 4; i++) {
        int target = peer_accept(listener);

        peer_expect_text(target, "*2\r\n$4\r\nAUTH\r\n$5\r\nwrong\r\n");
        peer_send_text(target, "-WRONGPASS invalid username-password pair\r\n");
        peer_expect_closed(target);
        close(target);
    }
    peer_expect_text(client, "-ERR proximux: ");
    proximux_wait_log(proximux, "WRONGPASS");
    close(client);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "is down"), 1);
    assert_int_equal(proximux_log_count(proximux, "is up"), 0);
    close(listener);
}

/* ---- Descriptors ---- */

static struct proximux_options few_descriptors(char *text, size_t size, unsigned port, unsigned target,
                                               unsigned connections)
{
    snprintf(text, size,
             "listeners = ( { name = \"few\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; " SCENE_LINE
             "targets = ( { address = \"127.0.0.1:%u\"; connections = %u; } ); } );",
             port, target, connections);
    return (struct proximux_options){ .configuration = text, .descriptors = 64 };
}

/* Those of the target connections are reserved: however many clients there are, they are served. */
static void clients_never_take_the_descriptors_of_targets(void **state)
{
    enum { CLIENTS = 150 };
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    char text[512];
    struct proximux_options options = few_descriptors(text, sizeof(text), port, echo_port(echo), 8);
    struct proximux *proximux = proximux_start_with(*state, &options);
    int clients[CLIENTS];

    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = peer_connect("127.0.0.1", port);
    proximux_wait_log(proximux, "accepting pauses");
    for (size_t i = 0; i < CLIENTS; i++) { /* in the order in which they came */
        peer_send_text(clients[i], "ping\n");
        peer_expect_text(clients[i], "ping\n");
        close(clients[i]);
    }
    proximux_stop(proximux);
    echo_stop(echo);
}

static void too_few_descriptors_for_the_targets(void **state)
{
    char text[512], output[4096];
    struct proximux_options options = few_descriptors(text, sizeof(text), peer_free_port(), 9, 60);

    assert_int_equal(proximux_run(*state, &options, output, sizeof(output)), 1);
    test_require(strstr(output, "few: ") != NULL && strstr(output, "Too many open files") != NULL,
                 "it said: %s", output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(request_waits_for_a_target_that_comes_up),
        fixture_test(target_is_found_again_without_clients),
        fixture_test(requests_wait_for_a_restart_and_no_longer),
        fixture_test(nothing_waits_for_targets_that_take_no_work),
        fixture_test(client_that_resets_is_no_failure_of_a_target_on_trial),
        fixture_test(target_that_only_closes_is_down),
        fixture_test(idle_connection_that_was_closed_is_replaced),
        fixture_test(close_behind_an_answer_costs_nobody_anything),
        fixture_test(stray_bytes_reach_nobody),
        fixture_test(target_that_speaks_first_is_no_target),
        fixture_test(inactivity_releases_connections_not_clients),
        fixture_test(pauses_are_kept),
        fixture_test(connections_are_replaced_after_so_many_requests),
        fixture_test(warmup_opens_all_before_anybody_is_let_in),
        fixture_test(short_lived_connections_are_used),
        fixture_test(closed_connections_are_made_with_pauses),
        fixture_test(fifo_fails_over_and_back),
        fixture_test(silent_target_costs_one_client_only),
        fixture_test(target_that_dies_in_mid_answer),
        fixture_test(funnel_leaves_its_backup_when_another_is_back),
        fixture_test(round_robin_takes_turns_request_by_request),
        fixture_test(free_connection_is_used_whoever_is_chosen),
        fixture_test(target_that_refuses_our_greeting_is_down),
        fixture_test(clients_never_take_the_descriptors_of_targets),
        fixture_test(too_few_descriptors_for_the_targets),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
