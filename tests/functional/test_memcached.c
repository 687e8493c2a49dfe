/* A real memcached behind shared connections, and many clients with keys of their own in front. */
#include "harness/dialogue.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server memcached;

static struct proximux *start(struct fixture *fixture, const char *mode, unsigned connections, unsigned port)
{
    return proximux_start(fixture,
                          "listeners = ( { name = \"memcached\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; "
                          "protocol = \"memcached\"; "
                          "targets = ( { address = \"127.0.0.1:%u\"; connections = %u; } ); } );",
                          port, mode, memcached.port, connections);
}

/* ---- Many clients, each with keys of its own ---- */

/* Each client writes and reads keys of its own, with what answers nothing, or not always, in between. */
enum { KEYS = 3, FORMS = 18 };

static size_t value_number(size_t step)
{
    return step / FORMS;
}

static size_t key_number(size_t step)
{
    return value_number(step) % KEYS;
}

static void append_value(struct buffer *buffer, size_t client, size_t step)
{
    dialogue_value(buffer, client, value_number(step), dialogue_size(client, value_number(step)));
    buffer_append_text(buffer, "\r\n");
}

static void ask(struct buffer *buffer, size_t client, size_t step)
{
    size_t key = key_number(step), size = dialogue_size(client, value_number(step));

    switch (step % FORMS) {
    case 0:
        buffer_print(buffer, "set own:%zu:%zu %zu 0 %zu\r\n", client, key, client, size);
        append_value(buffer, client, step);
        break;
    case 1:
    case 9:
        buffer_print(buffer, "get own:%zu:%zu\r\n", client, key);
        break;
    case 2:
        buffer_print(buffer, "set side:%zu 5 0 8 noreply\r\nx%07zx\r\n", client, step);
        break;
    case 3:
        buffer_print(buffer, "get own:%zu:%zu nothing side:%zu own:%zu:%zu\r\n", client, key, client, client,
                     key);
        break;
    case 4: /* memcached answers this one all the same: the value is no number */
        buffer_print(buffer, "incr side:%zu 1 noreply\r\n", client);
        break;
    case 5:
    case 8:
        buffer_print(buffer, "mg own:%zu:%zu v q O%zu\r\n", client, key, step);
        break;
    case 6:
        buffer_append_text(buffer, "mg nothing v q\r\n");
        break;
    case 7:
    case 14:
        buffer_append_text(buffer, "mn\r\n");
        break;
    case 10:
        buffer_append_text(buffer, "bogus\r\n");
        break;
    case 11:
        buffer_print(buffer, "delete side:%zu noreply\r\n", client);
        break;
    case 12:
        buffer_print(buffer, "get side:%zu\r\n", client);
        break;
    case 13:
        buffer_print(buffer, "ms side:%zu 8 q\r\n%08zx\r\n", client, step);
        break;
    case 15:
        buffer_print(buffer, "mg side:%zu v k\r\n", client);
        break;
    case 16:
        buffer_print(buffer, "touch own:%zu:%zu 0\r\n", client, key);
        break;
    default:
        buffer_append_text(buffer, "watch fetchers\r\n");
    }
}

static void append_item(struct buffer *buffer, size_t client, size_t step)
{
    buffer_print(buffer, "VALUE own:%zu:%zu %zu %zu\r\n", client, key_number(step), client,
                 dialogue_size(client, value_number(step)));
    append_value(buffer, client, step);
}

static void answer(struct buffer *buffer, size_t client, size_t step)
{
    switch (step % FORMS) {
    case 0:
        buffer_append_text(buffer, "STORED\r\n");
        break;
    case 1:
    case 9:
        append_item(buffer, client, step);
        buffer_append_text(buffer, "END\r\n");
        break;
    case 3:
        append_item(buffer, client, step);
        buffer_print(buffer, "VALUE side:%zu 5 8\r\nx%07zx\r\n", client, step - 1);
        append_item(buffer, client, step);
        buffer_append_text(buffer, "END\r\n");
        break;
    case 5:
    case 8:
        buffer_print(buffer, "VA %zu O%zu\r\n", dialogue_size(client, value_number(step)), step);
        append_value(buffer, client, step);
        break;
    case 7:
    case 14:
        buffer_append_text(buffer, "MN\r\n");
        break;
    case 10:
        buffer_append_text(buffer, "ERROR\r\n");
        break;
    case 12:
        buffer_append_text(buffer, "END\r\n");
        break;
    case 15:
        buffer_print(buffer, "VA 8 kside:%zu\r\n%08zx\r\n", client, step - 2);
        break;
    case 16:
        buffer_append_text(buffer, "TOUCHED\r\n");
        break;
    case 17:
        buffer_append_text(buffer, "CLIENT_ERROR watch commands not allowed\r\n");
        break;
    default: /* nothing is answered */
        break;
    }
}

static void own_keys(struct fixture *fixture, const char *mode, unsigned connections)
{
    unsigned port = peer_free_port();
    struct dialogue dialogue = { .port = port,
                                 .clients = 64,
                                 .steps = FORMS * test_scaled(14, 7),
                                 .depth = 24,
                                 .request = ask,
                                 .answer = answer };
    struct proximux *proximux = start(fixture, mode, connections, port);
    int64_t took = dialogue_run(&dialogue);

    print_message("%zu exchanges of 64 clients took %d ms through the %s\n", 64 * dialogue.steps, (int)took,
                  mode);
    proximux_stop(proximux);
}

static void own_keys_through_fifo(void **state)
{
    own_keys(*state, "fifo", 1);
}

static void own_keys_through_funnel(void **state)
{
    own_keys(*state, "funnel", 4);
}

/* ---- Single clients ---- */

/* Sends as the one thing, and must get the other. */
static void expect_answer(int client, const char *request, const char *expected)
{
    peer_send_text(client, request);
    peer_expect_text(client, expected);
}

static void lines_that_reach_no_target(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, "fifo", 1, port);
    int client = peer_connect("127.0.0.1", port), other = peer_connect("127.0.0.1", port);
    int unclear = peer_connect("127.0.0.1", port);

    expect_answer(other, "set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    expect_answer(unclear, "set key 0 0\r\n", "CLIENT_ERROR bad command line format\r\n");
    peer_expect_closed(unclear); /* is what follows a value? */
    expect_answer(client, "get\r\n", "ERROR\r\n");
    expect_answer(client, "shutdown\r\n", "ERROR: shutdown not enabled\r\n");
    expect_answer(client, "get key\r\n", "VALUE key 0 5\r\nvalue\r\nEND\r\n");
    expect_answer(client, "mn\r\nmn\r\nmg none v q\r\nmn\r\n", "MN\r\nMN\r\nMN\r\n");
    peer_send(client, "\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24); /* a binary no-op */
    peer_expect_closed(client);
    expect_answer(other, "get key\r\n", "VALUE key 0 5\r\nvalue\r\nEND\r\n");
    peer_send_text(other, "quit\r\n");
    peer_expect_end(other);
    close(client);
    close(other);
    close(unclear);
    proximux_stop(proximux);
}

/* memcached says so before it has the value, and reads on; others must not notice. */
static void value_that_is_too_large(void **state)
{
    enum { SIZE = 5 * 1024 * 1024 };
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, "fifo", 1, port);
    int client = peer_connect("127.0.0.1", port), other = peer_connect("127.0.0.1", port);
    char *value = test_malloc(SIZE), line[64];

    memset(value, 'v', SIZE);
    expect_answer(other, "set key 0 0 5\r\nvalue\r\n", "STORED\r\n");
    snprintf(line, sizeof(line), "set large 0 0 %d\r\n", SIZE);
    peer_send_text(client, line);
    peer_send(client, value, SIZE);
    peer_send_text(client, "\r\n");
    peer_send_text(other, "get key\r\n");
    peer_expect_text(client, "SERVER_ERROR object too large for cache\r\n");
    peer_expect_text(other, "VALUE key 0 5\r\nvalue\r\nEND\r\n");
    expect_answer(client, "get large key\r\n", "VALUE key 0 5\r\nvalue\r\nEND\r\n");
    test_free(value);
    close(client);
    close(other);
    proximux_stop(proximux);
}

/* Statistics are as long as they are, and what is counted shows that few connections were used. */
static void target_sees_few_connections(void **state)
{
    enum { CLIENTS = 40 };
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, "funnel", 3, port);
    int clients[CLIENTS];
    char statistics[16384];
    size_t length = 0;

    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = peer_connect("127.0.0.1", port);
        expect_answer(clients[i], "get none\r\n", "END\r\n");
    }
    peer_send_text(clients[0], "stats\r\n");
    do
        peer_receive(clients[0], statistics + length++, 1);
    while ((length < 5 || memcmp(statistics + length - 5, "END\r\n", 5) != 0) && length < sizeof(statistics));
    statistics[length - 1] = '\0';
    const char *found = strstr(statistics, "STAT curr_connections ");
    assert_non_null(found);
    long connections = strtol(found + 22, NULL, 10);
    test_require(connections <= 2 + 3, "memcached has %ld connections", connections);
    for (size_t i = 0; i < CLIENTS; i++) {
        expect_answer(clients[i], "get none\r\n", "END\r\n");
        close(clients[i]);
    }
    proximux_stop(proximux);
}

static bool start_memcached(const char *program)
{
    char port[16];

    if (!server_prepare(&memcached))
        return false;
    snprintf(port, sizeof(port), "%u", memcached.port);
    const char *const arguments[] = { program, "-l", "127.0.0.1", "-p",  port, "-U", "0",
                                      "-I",    "2m", "-m",        "512", "-t", "2",  NULL };
    return server_start(&memcached, arguments) && server_wait(&memcached);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(own_keys_through_fifo),       fixture_test(own_keys_through_funnel),
        fixture_test(lines_that_reach_no_target),  fixture_test(value_that_is_too_large),
        fixture_test(target_sees_few_connections),
    };
    char program[256];
    int status = EXIT_FAILURE;

    if (!process_find_command("memcached", NULL, program, sizeof(program))) {
        puts("SKIPPED: memcached is not installed (Debian: memcached)");
        return SERVER_SKIPPED;
    }
    if (start_memcached(program))
        status = cmocka_run_group_tests_name("memcached", tests, NULL, NULL);
    server_stop(&memcached, SIGTERM);
    return status;
}
