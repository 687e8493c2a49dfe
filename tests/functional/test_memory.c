/* The process's memory in shared modes: what many exchanges, clients that leave, and clients that never read
 * leave behind, or make it hold. */
#include "harness/dialogue.h"
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/flow.h"
#include "harness/peer.h"
#include "harness/scene.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* KiB that a client may make the program hold: two buffers and one read, and what is known of each of the
 * 1,024 requests that it may be ahead. */
#define BUFFER_LIMIT 64
#define CLIENT_LIMIT (3 * BUFFER_LIMIT + 1024 / 2)

static long held(const struct proximux *proximux)
{
    return process_private_kilobytes(proximux->process);
}

/* ---- Exchanges ---- */

/* Each step is so many lines, and they come back as they are. */
enum { LINES = 16, CLIENTS = 64, ROUNDS = 10, WARM = 2 };

static void lines(struct buffer *buffer, size_t client, size_t step)
{
    for (size_t i = 0; i < LINES; i++)
        buffer_print(buffer, "%zu asks %zu, %zu\n", client, step, i);
}

/* Clients that reset with answers under way. */
static void leave_in_the_middle(unsigned port)
{
    int clients[CLIENTS];
    struct buffer buffer = { 0 };

    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = peer_connect("127.0.0.1", port);
        buffer_truncate(&buffer, 0);
        lines(&buffer, i, 0);
        peer_send(clients[i], buffer_bytes(&buffer), buffer.length - i % 3);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        peer_reset(clients[i]);
    buffer_free(&buffer);
}

static void many_exchanges(struct fixture *fixture, const char *mode, unsigned connections, size_t exchanges)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux =
        scene_start(fixture, port, echo_port(echo), mode, connections, "async = true;");
    struct dialogue dialogue = { .port = port,
                                 .clients = CLIENTS,
                                 .steps = exchanges / LINES / CLIENTS / ROUNDS + 1,
                                 .depth = 6,
                                 .request = lines,
                                 .answer = lines };
    long warm = 0, most = 0;
    int64_t took = 0;

    for (size_t round = 0; round < ROUNDS; round++) {
        took += dialogue_run(&dialogue);
        leave_in_the_middle(port);
        proximux_wait_log_times(proximux, " ended: ", 2 * CLIENTS * (round + 1));
        if (round == WARM)
            warm = held(proximux);
        if (held(proximux) > most)
            most = held(proximux);
    }
    print_message(
        "%zu exchanges through the %s took %d ms; %ld KiB were held after the first %d %%, %ld KiB in "
        "the end, %ld KiB at most\n",
        (size_t)ROUNDS * CLIENTS * LINES * dialogue.steps, mode, (int)took, warm, 100 * (WARM + 1) / ROUNDS,
        held(proximux), most);
    /* How much is held once depends on how the answers of the moment fall together: that much may differ. */
    if (test_figures_count())
        test_require(held(proximux) <= warm + 1536, "%ld KiB became %ld KiB", warm, held(proximux));
    proximux_stop(proximux);
    echo_stop(echo);
}

static void a_million_exchanges(void **state)
{
    size_t exchanges = test_scaled(1000000, 20000);

    many_exchanges(*state, "fifo", 1, exchanges);
    many_exchanges(*state, "funnel", 4, exchanges / 2);
}

/* One exchange each. */
static void clients_that_come_and_go(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = scene_start(*state, port, echo_port(echo), "funnel", 2, "");
    size_t clients = test_scaled(10000, 500);
    long after_first = 0;

    for (size_t i = 0; i < clients; i++) {
        int client = peer_connect("127.0.0.1", port);

        peer_send_text(client, "hello\n");
        peer_expect_text(client, "hello\n");
        close(client);
        if (i == clients / 10)
            after_first = held(proximux);
    }
    print_message("%zu clients came and went; %ld KiB are held after a tenth of them, %ld KiB in the end\n",
                  clients, after_first, held(proximux));
    if (test_figures_count())
        test_require(held(proximux) <= after_first + 256, "%ld KiB became %ld KiB", after_first,
                     held(proximux));
    proximux_stop(proximux);
    echo_stop(echo);
}

/* ---- Clients that never read ---- */

/* Sends bytes of a line without end until nothing more is taken for a while. Returns how many. */
static size_t send_without_end(int socket, size_t limit)
{
    static char bytes[65536];
    struct pollfd watched = { .fd = socket, .events = POLLOUT };
    size_t sent = 0;

    memset(bytes, 'x', sizeof(bytes));
    while (sent < limit && poll(&watched, 1, test_remaining(test_deadline(300))) > 0) {
        ssize_t taken = send(socket, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);

        test_require(taken > 0 || errno == EAGAIN, "send after %zu bytes: %s", sent, strerror(errno));
        sent += taken > 0 ? (size_t)taken : 0;
    }
    return sent;
}

/* Its answer is as long as the target cares to make it. */
static void answer_that_nobody_reads(void **state)
{
    enum { LIMIT = 200 * 1024 * 1024 };
    struct scene scene = scene_begin(*state, "fifo", 1, "stall_timeout = 500;");
    int client = scene_ask(&scene, "much\n"), other;
    int target = peer_accept(scene.listener);

    peer_expect_text(target, "much\n");
    long before = held(scene.proximux);
    size_t sent = send_without_end(target, LIMIT);
    long grown = held(scene.proximux) - before;
    print_message("%zu KiB of an answer that nobody reads were taken; the program grew by %ld KiB\n",
                  sent / 1024, grown);
    assert_true(sent < LIMIT);
    if (test_figures_count())
        test_require(grown < 3 * BUFFER_LIMIT + 64, "it grew by %ld KiB", grown);
    other = scene_ask(&scene, "short\n"); /* now somebody waits */
    proximux_wait_log(scene.proximux, "ended: client_stalled");
    close(target); /* its answer had no end anyway */
    target = peer_accept(scene.listener);
    peer_expect_text(target, "short\n");
    peer_send_text(target, "SHORT\n");
    peer_expect_text(other, "SHORT\n");
    close(client);
    close(other);
    close(target);
    scene_end(&scene);
}

/* They ask and ask, and read nothing. */
static void clients_that_only_ask(void **state)
{
    enum { ASKING = 6, LIMIT = 100 * 1024 * 1024 };
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = scene_start(*state, port, echo_port(echo), "funnel", 4, "async = true;");
    int clients[ASKING], other = peer_connect("127.0.0.1", port);
    size_t sent = 0;

    peer_send_text(other, "before\n");
    peer_expect_text(other, "before\n");
    long before = held(proximux);
    for (size_t i = 0; i < ASKING; i++) {
        size_t taken;

        clients[i] = peer_connect("127.0.0.1", port);
        taken = flow_send_until_full(clients[i], LIMIT);
        test_require(taken < LIMIT, "client %zu could send without end", i);
        sent += taken;
    }
    long grown = held(proximux) - before;
    print_message("%d clients that never read sent %zu KiB each; the program grew by %ld KiB for each\n",
                  ASKING, sent / 1024 / ASKING, grown / ASKING);
    if (test_figures_count())
        test_require(grown < ASKING * CLIENT_LIMIT, "it grew by %ld KiB", grown);
    peer_send_text(other, "after\n");
    peer_expect_text(other, "after\n");
    for (size_t i = 0; i < ASKING; i++)
        close(clients[i]);
    close(other);
    proximux_wait_log_times(proximux, " ended: ", ASKING + 1);
    print_message("%ld KiB of it are held when they have left\n", held(proximux) - before);
    proximux_stop(proximux);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(a_million_exchanges),
        fixture_test(clients_that_come_and_go),
        fixture_test(answer_that_nobody_reads),
        fixture_test(clients_that_only_ask),
    };

    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
