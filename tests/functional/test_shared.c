/* Shared modes: many clients, few target connections, each answer at its own client. The protocol is `line`: a
 * request is a line, and so is an answer. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE "protocol = { type = \"line\"; error_reply = \"ERROR\\\\n\"; };"

/* Milliseconds in which nothing may happen. */
#define QUIET 60

/* One listener "shared" in this mode, with these keys, before one target that may be given so many connections.
 */
static struct proximux *start_shared(struct fixture *fixture, unsigned port, unsigned target,
                                     const char *mode, unsigned connections, const char *keys)
{
    return proximux_start(fixture,
                          "listeners = ( { name = \"shared\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; " LINE
                          "targets = ( { address = \"127.0.0.1:%u\"; connections = %u; } ); %s } );",
                          port, mode, target, connections, keys);
}

/* A scripted target with one client's request on its way: the usual beginning. */
struct scene {
    unsigned port;
    unsigned target_port;
    int listener; /* of the target */
    struct proximux *proximux;
};

static struct scene scene_begin(struct fixture *fixture, const char *mode, unsigned connections,
                                const char *keys)
{
    struct scene scene = { .port = peer_free_port(), .target_port = peer_free_port() };

    scene.listener = peer_listen("127.0.0.1", scene.target_port, 16);
    scene.proximux = start_shared(fixture, scene.port, scene.target_port, mode, connections, keys);
    return scene;
}

static void scene_end(const struct scene *scene)
{
    proximux_stop(scene->proximux);
    close(scene->listener);
}

static int ask(const struct scene *scene, const char *request)
{
    int client = peer_connect("127.0.0.1", scene->port);

    peer_send_text(client, request);
    return client;
}

static void fifo_serves_in_order_over_one_connection(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int first = ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int second = ask(&scene, "tw");
    int third = ask(&scene, "three\n");
    peer_expect_silence(target, QUIET);
    peer_send_text(second, "o\n"); /* complete later than the third one's */
    peer_expect_silence(target, QUIET);
    peer_send_text(target, "ONE\n");
    peer_expect_text(first, "ONE\n");
    peer_expect_text(target, "three\n");
    peer_send_text(target, "THR");
    peer_expect_text(third, "THR");
    peer_expect_silence(target, QUIET);
    peer_send_text(target, "EE\n");
    peer_expect_text(third, "EE\n");
    peer_expect_text(target, "two\n");
    peer_send_text(target, "TWO\n");
    peer_expect_text(second, "TWO\n");
    peer_expect_silence(scene.listener, 0); /* no second connection */
    close(first);
    close(second);
    close(third);
    scene_end(&scene);
}

static void funnel_uses_as_many_connections_as_it_may(void **state)
{
    struct scene scene = scene_begin(*state, "funnel", 2, "");
    int first = ask(&scene, "one\n");
    int a = peer_accept(scene.listener);

    peer_expect_text(a, "one\n");
    peer_expect_silence(scene.listener, QUIET); /* one is enough for one client */
    int second = ask(&scene, "two\n");
    int b = peer_accept(scene.listener);
    peer_expect_text(b, "two\n");
    int third = ask(&scene, "three\n");
    peer_expect_silence(scene.listener, QUIET);
    peer_send_text(b, "TWO\n");
    peer_expect_text(second, "TWO\n");
    peer_expect_text(b, "three\n");
    peer_send_text(a, "ONE\n");
    peer_send_text(b, "THREE\n");
    peer_expect_text(first, "ONE\n");
    peer_expect_text(third, "THREE\n");
    close(first);
    close(second);
    close(third);
    scene_end(&scene);
}

static void clients_that_say_nothing_touch_no_target(void **state)
{
    struct scene scene = scene_begin(*state, "funnel", 4, "");
    int silent = peer_connect("127.0.0.1", scene.port);
    int half = ask(&scene, "no end of lin");

    peer_expect_silence(scene.listener, 2 * QUIET);
    close(silent);
    close(half);
    proximux_wait_log_times(scene.proximux, "ended: client_closed", 2);
    peer_expect_silence(scene.listener, 0);
    scene_end(&scene);
}

static void request_waits_for_a_target_that_comes_up(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    struct proximux *proximux =
        start_shared(*state, port, target, "fifo", 1, "retry_min = 20; retry_max = 40;");
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
    struct proximux *proximux = start_shared(*state, port, target, "funnel", 3,
                                             "retry_min = 20; retry_max = 40; queue_timeout = 60;");
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

/* A target that takes connections only to drop them is down, and is said to be, once. */
static void target_that_only_closes_is_down(void **state)
{
    struct scene scene =
        scene_begin(*state, "fifo", 1, "warmup = true; retry_min = 300; retry_max = 300;");

    for (size_t i = 0; i < 4; i++) {
        int target = peer_accept(scene.listener);

        if (i % 2 == 0)
            peer_send_text(target, "go away\n");
        peer_reset(target);
    }
    int target = peer_accept(scene.listener);
    proximux_wait_log(scene.proximux, "is up"); /* this one it has kept */
    int client = ask(&scene, "hello\n");
    peer_expect_text(target, "hello\n");
    peer_send_text(target, "HELLO\n");
    peer_expect_text(client, "HELLO\n");
    close(client);
    scene_end(&scene);
    assert_int_equal(proximux_log_count(scene.proximux, "is down"), 1);
    assert_int_equal(proximux_log_count(scene.proximux, "is up"), 1);
}

/* All that comes while it does not look is taken in the order in which it came. */
static void order_of_arrival_is_kept(void **state)
{
    enum { CLIENTS = 8 };
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int clients[CLIENTS];
    char text[16];

    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = ask(&scene, "half");
    peer_expect_silence(scene.listener, QUIET);
    proximux_signal(scene.proximux, SIGSTOP);
    for (size_t i = CLIENTS; i-- > 0;) {
        snprintf(text, sizeof(text), "%zu\n", i);
        peer_send_text(clients[i], text);
    }
    proximux_signal(scene.proximux, SIGCONT);
    int target = peer_accept(scene.listener);
    for (size_t i = CLIENTS; i-- > 0;) {
        snprintf(text, sizeof(text), "half%zu\n", i);
        peer_expect_text(target, text);
        peer_send_text(target, text);
        peer_expect_text(clients[i], text);
        close(clients[i]);
    }
    scene_end(&scene);
}

static void idle_connection_that_was_closed_is_replaced(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int client = ask(&scene, "one\n");

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
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int clients[CLIENTS];

    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = ask(&scene, "request\n");
    for (size_t i = 0; i < ROUNDS; i++) {
        int target = peer_accept(scene.listener);
        int client = clients[i % CLIENTS];

        peer_expect_text(target, "request\n");
        proximux_signal(scene.proximux, SIGSTOP); /* so that both are there when it looks */
        peer_send_text(target, "answer\n");
        close(target);
        proximux_signal(scene.proximux, SIGCONT);
        peer_expect_text(client, "answer\n");
        if (i + CLIENTS < ROUNDS)
            peer_send_text(client, "request\n");
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
    int client = ask(&scene, "one\n");
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
        start_shared(*state, port, echo_port(echo), "fifo", 1, "queue_timeout = 300; retry_min = 50;");
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

static void waiting_request_ends_with_queue_timeout(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "queue_timeout = 200;");
    int first = ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int64_t begin = test_now();
    int second = ask(&scene, "two\n");
    peer_expect_text(second, "ERROR\n");
    test_require(test_now() - begin >= 190, "after %d ms already", (int)(test_now() - begin));
    proximux_wait_log(scene.proximux, "failed: queue_timeout");
    peer_send_text(target, "ONE\n");
    peer_expect_text(first, "ONE\n");
    peer_expect_silence(target, QUIET); /* the second one was never sent */
    peer_send_text(second, "three\n");  /* and its client may go on */
    peer_expect_text(target, "three\n");
    peer_send_text(target, "THREE\n");
    peer_expect_text(second, "THREE\n");
    close(first);
    close(second);
    scene_end(&scene);
}

static void silent_target_costs_one_client_only(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "request_timeout = 200;");
    int first = ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int second = ask(&scene, "two\n");
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

/* Its answer is thrown away, and the connection goes on, clean. */
static void client_that_leaves_in_mid_answer_hurts_nobody(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int leaver = ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int other = ask(&scene, "two\n");
    peer_send_text(target, "ON");
    peer_expect_text(leaver, "ON");
    peer_reset(leaver);
    proximux_wait_log(scene.proximux, "ended: client_reset");
    peer_send_text(target, "E\n");
    peer_expect_text(target, "two\n");
    peer_send_text(target, "TWO\n");
    peer_expect_text(other, "TWO\n");
    peer_expect_silence(scene.listener, 0);
    close(other);
    scene_end(&scene);
}

static void target_that_dies_in_mid_answer(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int first = ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int second = ask(&scene, "two\n");
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

static void half_closed_client_gets_its_answers(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int client = ask(&scene, "one\ntwo\nthr");
    int target = peer_accept(scene.listener);

    peer_end(client);
    peer_expect_text(target, "one\n");
    peer_send_text(target, "ONE\n");
    peer_expect_text(target, "two\n");
    peer_send_text(target, "TWO\n");
    peer_expect_text(client, "ONE\nTWO\n");
    peer_expect_end(client);
    peer_expect_silence(target, QUIET);
    close(client);
    scene_end(&scene);
}

static void drain_answers_what_was_read(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int idle = peer_connect("127.0.0.1", scene.port);
    int first = ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int second = ask(&scene, "two\nthree\n");
    peer_expect_silence(second, QUIET);
    proximux_signal(scene.proximux, SIGTERM);
    proximux_wait_notification(scene.proximux, "STOPPING=1");
    peer_expect_end(idle);
    peer_send_text(first, "too late\n");
    peer_send_text(target, "ONE\n");
    peer_expect_text(first, "ONE\n");
    peer_expect_end(first);
    peer_expect_text(target, "two\n");
    peer_send_text(target, "TWO\n");
    peer_expect_text(target, "three\n");
    peer_send_text(target, "THREE\n");
    peer_expect_text(second, "TWO\nTHREE\n");
    peer_expect_end(second);
    close(idle);
    close(first);
    close(second);
    peer_expect_closed(target);
    proximux_expect_exit(scene.proximux, 0);
    close(scene.listener);
}

/* Clients that the kernel has accepted have their requests answered too. */
static void drain_answers_those_in_the_backlog(void **state)
{
    enum { CLIENTS = 20 };
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start_shared(*state, port, echo_port(echo), "fifo", 1, "");
    int clients[CLIENTS];

    proximux_signal(proximux, SIGSTOP);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = peer_connect("127.0.0.1", port);
        peer_send_text(clients[i], "made it\n");
    }
    proximux_signal(proximux, SIGTERM);
    proximux_signal(proximux, SIGCONT);
    for (size_t i = 0; i < CLIENTS; i++) {
        peer_expect_text(clients[i], "made it\n");
        peer_expect_end(clients[i]);
        close(clients[i]);
    }
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

static void second_signal_closes_at_once(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int client = ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    proximux_signal(scene.proximux, SIGTERM);
    proximux_wait_notification(scene.proximux, "STOPPING=1");
    peer_expect_silence(client, QUIET);
    proximux_signal(scene.proximux, SIGTERM);
    peer_expect_closed(client);
    peer_expect_closed(target);
    proximux_expect_exit(scene.proximux, 0);
    close(client);
    close(scene.listener);
}

static void inactivity_releases_connections_not_clients(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "inactivity_timeout = 100;");
    int client = ask(&scene, "one\n");

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
    int client = ask(&scene, "one\ntwo\n");
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
    int client = ask(&scene, "a\nb\nc\n");
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
        "listeners = ( { name = \"warm\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; warmup = true; " LINE
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

/* One target and its backup: over to it, and back, never on both at a time. */
static void fifo_fails_over_and_back(void **state)
{
    unsigned port = peer_free_port(), first_port = peer_free_port(), second_port = peer_free_port();
    int second = peer_listen("127.0.0.1", second_port, 16);
    struct proximux *proximux = proximux_start(
        *state,
        "listeners = ( { name = \"pair\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; " LINE
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

/* ---- Many clients ---- */

#define CROWD        64
#define CROWD_ROUNDS 40

static size_t crowd_line(char *line, size_t client, size_t round)
{
    /* lengths from a few bytes to some hundreds */
    size_t length = (size_t)sprintf(line, "client %zu round %zu ", client, round);
    size_t filling = (client * 31 + round * 17) % 400;

    memset(line + length, 'a' + (int)((client + round) % 26), filling);
    line[length + filling] = '\n';
    return length + filling + 1;
}

/* All ask at once, and each has its own answers, in every round. */
static void crowd_asks(unsigned port)
{
    int clients[CROWD];
    char line[512], answer[512];

    for (size_t i = 0; i < CROWD; i++)
        clients[i] = peer_connect("127.0.0.1", port);
    for (size_t round = 0; round < CROWD_ROUNDS; round += 2) {
        for (size_t i = 0; i < CROWD; i++)
            for (size_t k = round; k < round + 2; k++)
                peer_send(clients[i], line, crowd_line(line, i, k));
        for (size_t i = 0; i < CROWD; i++)
            for (size_t k = round; k < round + 2; k++) {
                size_t length = crowd_line(line, i, k);

                peer_receive(clients[i], answer, length);
                assert_memory_equal(answer, line, length);
            }
    }
    for (size_t i = 0; i < CROWD; i++)
        close(clients[i]);
}

static void crowd_in_mode(struct fixture *fixture, const char *mode, unsigned connections, const char *keys)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start_shared(fixture, port, echo_port(echo), mode, connections, keys);

    crowd_asks(port);
    assert_int_equal(echo_accepted(echo), connections);
    proximux_stop(proximux);
    test_require(proximux_log_count(proximux, " failed: ") == 0, "a request failed");
    echo_stop(echo);
}

static void crowd_is_served_by_fifo(void **state)
{
    crowd_in_mode(*state, "fifo", 1, "");
}

static void crowd_is_served_by_funnel(void **state)
{
    crowd_in_mode(*state, "funnel", 4, "");
}

static void crowd_is_served_by_pipelines(void **state)
{
    crowd_in_mode(*state, "fifo", 1, "async = true;");
}

/* The buffers for a thousand clients that say nothing: none. */
static void idle_clients_cost_little_memory(void **state)
{
    size_t count = test_scaled(1000, 50);
    unsigned port = peer_free_port();
    int *clients = test_calloc(count, sizeof(*clients));
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start_shared(*state, port, echo_port(echo), "fifo", 1, "");
    long before = 0;

    test_require(test_allow_descriptors(2 * count + 50), "too few descriptors for %zu clients", count);
    for (size_t i = 0; i < count; i++) {
        clients[i] = peer_connect("127.0.0.1", port);
        peer_send_text(clients[i], "hello\n");
        peer_expect_text(clients[i], "hello\n");
        if (i == 0) /* so that what is needed once is there */
            before = process_private_kilobytes(proximux->process);
    }
    long after = process_private_kilobytes(proximux->process);
    if (test_figures_count()) {
        long each = (after - before) * 1024 / (long)count;

        print_message("%zu idle clients: %ld bytes of memory each\n", count, each);
        if (count >= 1000)
            test_require(each < 1024, "%ld bytes for each idle client", each);
    }
    for (size_t i = 0; i < count; i++)
        close(clients[i]);
    test_free(clients);
    proximux_stop(proximux);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(fifo_serves_in_order_over_one_connection),
        fixture_test(funnel_uses_as_many_connections_as_it_may),
        fixture_test(clients_that_say_nothing_touch_no_target),
        fixture_test(request_waits_for_a_target_that_comes_up),
        fixture_test(target_is_found_again_without_clients),
        fixture_test(target_that_only_closes_is_down),
        fixture_test(order_of_arrival_is_kept),
        fixture_test(idle_connection_that_was_closed_is_replaced),
        fixture_test(close_behind_an_answer_costs_nobody_anything),
        fixture_test(stray_bytes_reach_nobody),
        fixture_test(target_that_speaks_first_is_no_target),
        fixture_test(waiting_request_ends_with_queue_timeout),
        fixture_test(silent_target_costs_one_client_only),
        fixture_test(client_that_leaves_in_mid_answer_hurts_nobody),
        fixture_test(target_that_dies_in_mid_answer),
        fixture_test(half_closed_client_gets_its_answers),
        fixture_test(drain_answers_what_was_read),
        fixture_test(drain_answers_those_in_the_backlog),
        fixture_test(second_signal_closes_at_once),
        fixture_test(inactivity_releases_connections_not_clients),
        fixture_test(pauses_are_kept),
        fixture_test(connections_are_replaced_after_so_many_requests),
        fixture_test(warmup_opens_all_before_anybody_is_let_in),
        fixture_test(fifo_fails_over_and_back),
        fixture_test(crowd_is_served_by_fifo),
        fixture_test(crowd_is_served_by_funnel),
        fixture_test(crowd_is_served_by_pipelines),
        fixture_test(idle_clients_cost_little_memory),
    };

    return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
