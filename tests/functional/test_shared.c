/* Shared modes: many clients, few target connections, each answer at its own client. The protocol is `line`:
 * a request is a line, and so is an answer. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/scene.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Milliseconds in which nothing may happen. */
#define QUIET 60

static void fifo_serves_in_order_over_one_connection(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int first = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int second = scene_ask(&scene, "tw");
    int third = scene_ask(&scene, "three\n");
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
    int first = scene_ask(&scene, "one\n");
    int a = peer_accept(scene.listener);

    peer_expect_text(a, "one\n");
    peer_expect_silence(scene.listener, QUIET); /* one is enough for one client */
    int second = scene_ask(&scene, "two\n");
    int b = peer_accept(scene.listener);
    peer_expect_text(b, "two\n");
    int third = scene_ask(&scene, "three\n");
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
    int half = scene_ask(&scene, "no end of lin");

    peer_expect_silence(scene.listener, 2 * QUIET);
    close(silent);
    close(half);
    proximux_wait_log_times(scene.proximux, "ended: client_closed", 2);
    peer_expect_silence(scene.listener, 0);
    scene_end(&scene);
}

/* All that comes while it does not look is taken in the order in which it came. */
static void order_of_arrival_is_kept(void **state)
{
    enum { CLIENTS = 8 };
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int clients[CLIENTS], target = -1;
    char text[32];

    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = scene_ask(&scene, "hello\n");
        if (target == -1)
            target = peer_accept(scene.listener);
        peer_expect_text(target, "hello\n");
        peer_send_text(target, "HELLO\n");
        peer_expect_text(clients[i], "HELLO\n");
    }
    peer_expect_silence(target, QUIET);
    proximux_signal(scene.proximux, SIGSTOP);
    for (size_t i = CLIENTS; i-- > 0;) {
        snprintf(text, sizeof(text), "%zu\n", i);
        peer_send_text(clients[i], text);
    }
    proximux_signal(scene.proximux, SIGCONT);
    for (size_t i = CLIENTS; i-- > 0;) {
        snprintf(text, sizeof(text), "%zu\n", i);
        peer_expect_text(target, text);
        peer_send_text(target, text);
        peer_expect_text(clients[i], text);
        close(clients[i]);
    }
    scene_end(&scene);
}

static void waiting_request_ends_with_queue_timeout(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "queue_timeout = 200;");
    int first = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int64_t begin = test_now();
    int second = scene_ask(&scene, "two\n");
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

/* Its answer is thrown away, and the connection goes on, clean. */
static void client_that_leaves_in_mid_answer_hurts_nobody(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int leaver = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int other = scene_ask(&scene, "two\n");
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

/* A client is noticed to be gone also while nothing is read from it. */
static void client_that_resets_while_it_is_not_read(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "pipeline_depth = 2;");
    int holder = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int held = scene_ask(&scene, "a\nb\nc\nd\n"); /* more than may wait */
    int half = scene_ask(&scene, "e\n");
    peer_end(half);
    peer_expect_silence(half, 3 * QUIET);
    peer_reset(held);
    peer_reset(half);
    proximux_wait_log_times(scene.proximux, "ended: client_reset", 2);
    peer_send_text(target, "ONE\n");
    peer_expect_text(holder, "ONE\n");
    peer_expect_silence(target, QUIET); /* nothing of theirs is sent any more */
    close(holder);
    scene_end(&scene);
}

static void half_closed_client_gets_its_answers(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "");
    int client = scene_ask(&scene, "one\ntwo\nthr");
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
    int first = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "one\n");
    int second = scene_ask(&scene, "two\nthree\n");
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
    struct proximux *proximux = scene_start(*state, port, echo_port(echo), "fifo", 1, "");
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
    int client = scene_ask(&scene, "one\n");
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
    struct proximux *proximux = scene_start(fixture, port, echo_port(echo), mode, connections, keys);

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

static void unix_sockets_are_shared_too(void **state)
{
    char front[FIXTURE_PATH], back[FIXTURE_PATH];

    fixture_path(*state, "front.sock", front);
    fixture_path(*state, "back.sock", back);
    int listener = peer_listen(back, 0, 16);
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"unix\"; listen = \"unix:%s\"; mode = \"fifo\"; " SCENE_LINE
                       "targets = ( \"unix:%s\" ); } );",
                       front, back);
    int first = peer_connect(front, 0), second = peer_connect(front, 0);

    peer_send_text(first, "one\n");
    int target = peer_accept(listener);
    peer_expect_text(target, "one\n");
    peer_send_text(second, "two\n");
    int third = peer_connect(front, 0);
    peer_send_text(third, "three\n");
    peer_expect_silence(target, QUIET);
    close(second); /* its request is answered to nobody, or dropped */
    peer_send_text(target, "ONE\n");
    peer_expect_text(first, "ONE\n");
    for (bool done = false; !done;) {
        char line[7] = "";

        peer_receive(target, line, 4);
        done = strcmp(line, "thre") == 0;
        if (done)
            peer_expect_text(target, "e\n");
        peer_send_text(target, done ? "THREE\n" : "TWO\n");
    }
    peer_expect_text(third, "THREE\n");
    close(first);
    close(third);
    proximux_stop(proximux);
    close(listener);
}

/* The buffers for a thousand clients that say nothing: none. */
static void idle_clients_cost_little_memory(void **state)
{
    size_t count = test_scaled(1000, 50);
    unsigned port = peer_free_port();
    int *clients = test_calloc(count, sizeof(*clients));
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = scene_start(*state, port, echo_port(echo), "fifo", 1, "");
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
        fixture_test(order_of_arrival_is_kept),
        fixture_test(waiting_request_ends_with_queue_timeout),
        fixture_test(client_that_leaves_in_mid_answer_hurts_nobody),
        fixture_test(client_that_resets_while_it_is_not_read),
        fixture_test(half_closed_client_gets_its_answers),
        fixture_test(drain_answers_what_was_read),
        fixture_test(drain_answers_those_in_the_backlog),
        fixture_test(second_signal_closes_at_once),
        fixture_test(crowd_is_served_by_fifo),
        fixture_test(crowd_is_served_by_funnel),
        fixture_test(crowd_is_served_by_pipelines),
        fixture_test(unix_sockets_are_shared_too),
        fixture_test(idle_clients_cost_little_memory),
    };

    return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
