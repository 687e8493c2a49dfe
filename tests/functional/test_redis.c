/* A real Redis behind shared connections; its own tools, and many clients with keys of their own, in front.
 */
#include "harness/dialogue.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASSWORD "secret word"

static struct server redis, locked; /* the second one asks for a password */

struct way {
    const char *mode;
    unsigned connections;
};

static const struct way fifo = { "fifo", 1 }, funnel = { "funnel", 4 };

static struct proximux *start(struct fixture *fixture, const struct way *way, unsigned port,
                              const struct server *server, const char *protocol, const char *keys)
{
    return proximux_start(fixture,
                          "listeners = ( { name = \"redis\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; "
                          "protocol = { type = \"redis\"; %s }; "
                          "targets = ( { address = \"127.0.0.1:%u\"; connections = %u; } ); %s } );",
                          port, way->mode, protocol, server->port, way->connections, keys);
}

/* ---- Many clients, each with keys of its own ---- */

/* Each client has three keys, and writes and reads them in turn; between that it asks for what is answered
 * without the target, or by it in an unusual form. */
enum { KEYS = 3, FORMS = 8 };

#define SCRIPT "return {1,{ARGV[1],{}},{err='ERR no'},false,'x'}"

static size_t value_number(size_t step)
{
    return step / FORMS;
}

static void append_key(struct buffer *buffer, size_t client, size_t step)
{
    char key[32];
    int length = snprintf(key, sizeof(key), "own:%zu:%zu", client, value_number(step) % KEYS);

    buffer_print(buffer, "$%d\r\n%s\r\n", length, key);
}

static void append_value(struct buffer *buffer, size_t client, size_t step)
{
    size_t size = dialogue_size(client, value_number(step));

    buffer_print(buffer, "$%zu\r\n", size);
    dialogue_value(buffer, client, value_number(step), size);
    buffer_append_text(buffer, "\r\n");
}

static void ask(struct buffer *buffer, size_t client, size_t step)
{
    switch (step % FORMS) {
    case 0:
        buffer_append_text(buffer, "*3\r\n$3\r\nSET\r\n");
        append_key(buffer, client, step);
        append_value(buffer, client, step);
        break;
    case 1:
        buffer_append_text(buffer, "*2\r\n$3\r\nGET\r\n");
        append_key(buffer, client, step);
        break;
    case 2: /* inline, quoted */
        buffer_print(buffer, "strlen \"own\\x3a%zu:%zu\"\r\n", client, value_number(step) % KEYS);
        break;
    case 3:
        buffer_append_text(buffer, "*1\r\n$5\r\nMULTI\r\n");
        break;
    case 4: /* the value, nothing, and the value again, nested */
        buffer_append_text(buffer, "*4\r\n$4\r\nMGET\r\n");
        append_key(buffer, client, step);
        buffer_append_text(buffer, "$7\r\nnothing\r\n");
        append_key(buffer, client, step);
        break;
    case 5:
        buffer_print(buffer, "*5\r\n$4\r\nEVAL\r\n$%zu\r\n%s\r\n$1\r\n1\r\n", sizeof(SCRIPT) - 1, SCRIPT);
        append_key(buffer, client, step);
        buffer_print(buffer, "$8\r\n%08zx\r\n", client * 65536 + step);
        break;
    case 6:
        buffer_append_text(buffer, "*2\r\n$3\r\nDEL\r\n");
        append_key(buffer, client, step);
        break;
    default:
        buffer_append_text(buffer, "\r\n*2\r\n$3\r\nGET\r\n");
        append_key(buffer, client, step);
    }
}

static void answer(struct buffer *buffer, size_t client, size_t step)
{
    switch (step % FORMS) {
    case 0:
        buffer_append_text(buffer, "+OK\r\n");
        break;
    case 1:
        append_value(buffer, client, step);
        break;
    case 2:
        buffer_print(buffer, ":%zu\r\n", dialogue_size(client, value_number(step)));
        break;
    case 3:
        buffer_append_text(buffer, "-ERR proximux: 'multi' changes the state of its connection, "
                                   "which others share\r\n");
        break;
    case 4:
        buffer_append_text(buffer, "*3\r\n");
        append_value(buffer, client, step);
        buffer_append_text(buffer, "$-1\r\n");
        append_value(buffer, client, step);
        break;
    case 5:
        buffer_print(buffer, "*5\r\n:1\r\n*2\r\n$8\r\n%08zx\r\n*0\r\n-ERR no\r\n$-1\r\n$1\r\nx\r\n",
                     client * 65536 + step);
        break;
    case 6:
        buffer_append_text(buffer, ":1\r\n");
        break;
    default:
        buffer_append_text(buffer, "$-1\r\n");
    }
}

static void own_keys(struct fixture *fixture, const struct way *way)
{
    unsigned port = peer_free_port();
    struct dialogue dialogue = { .port = port,
                                 .clients = 64,
                                 .steps = FORMS * test_scaled(14, 7),
                                 .depth = 24,
                                 .request = ask,
                                 .answer = answer };
    struct proximux *proximux = start(fixture, way, port, &redis, "", "");
    int64_t took = dialogue_run(&dialogue);

    print_message("%zu exchanges of 64 clients took %d ms through the %s\n", 64 * dialogue.steps, (int)took,
                  way->mode);
    proximux_stop(proximux);
}

static void own_keys_through_fifo(void **state)
{
    own_keys(*state, &fifo);
}

static void own_keys_through_funnel(void **state)
{
    own_keys(*state, &funnel);
}

/* ---- What is refused, and passwords ---- */

/* Asks in one line, and must get this. */
static void expect_answer(int client, const char *line, const char *expected)
{
    char text[256];

    snprintf(text, sizeof(text), "%s\r\n", line);
    peer_send_text(client, text);
    snprintf(text, sizeof(text), "%s\r\n", expected);
    peer_expect_text(client, text);
}

/* Asks in one line, and must be refused for this reason. */
static void expect_refusal(int client, const char *line, const char *reason)
{
    char text[256];
    size_t length = 0;

    snprintf(text, sizeof(text), "%s\r\n", line);
    peer_send_text(client, text);
    do
        peer_receive(client, text + length, 1);
    while (text[length++] != '\n' && length < sizeof(text) - 1);
    text[length] = '\0';
    test_require(strncmp(text, "-ERR proximux: ", 15) == 0 && strstr(text, reason) != NULL, "%s: %s", line,
                 text);
}

static void refused_commands_leave_all_as_it_was(void **state)
{
    static const char *const state_commands[] = { "MULTI",
                                                  "EXEC",
                                                  "DISCARD",
                                                  "WATCH key",
                                                  "UNWATCH",
                                                  "ASKING",
                                                  "CLIENT TRACKING on",
                                                  "CLIENT CACHING yes",
                                                  "READONLY",
                                                  "READWRITE" };
    static const char *const alone_commands[] = { "SUBSCRIBE x", "\"\\x53UBSCRIBE\" x", "PSUBSCRIBE *",
                                                  "MONITOR",     "CLIENT REPLY off",    "SYNC",
                                                  "PSYNC ? -1",  "SCRIPT DEBUG yes" };
    static const char *const blocking_commands[] = { "BLPOP list 0", "BRPOPLPUSH a b 0", "WAIT 1 0" };
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, &fifo, port, &redis, "", "");
    int client = peer_connect("127.0.0.1", port), other = peer_connect("127.0.0.1", port);
    char received[8];

    expect_answer(client, "SET key value", "+OK");
    for (size_t i = 0; i < sizeof(state_commands) / sizeof(state_commands[0]); i++) {
        expect_refusal(client, state_commands[i], "changes the state of its connection");
        expect_answer(client, "GET key", "$5\r\nvalue");
        expect_answer(other, "GET key", "$5\r\nvalue");
    }
    for (size_t i = 0; i < sizeof(alone_commands) / sizeof(alone_commands[0]); i++) {
        expect_refusal(client, alone_commands[i], "needs a connection of its own");
        expect_answer(other, "GET key", "$5\r\nvalue");
    }
    for (size_t i = 0; i < sizeof(blocking_commands) / sizeof(blocking_commands[0]); i++)
        expect_refusal(client, blocking_commands[i], "blocks its connection");
    expect_refusal(client, "XREAD BLOCK 0 STREAMS s $", "blocks its connection");
    expect_refusal(client, "SHUTDOWN NOSAVE", "stops the target");
    expect_refusal(client, "DEBUG SLEEP 60", "stops the target");
    expect_refusal(client, "JSON.GET x", "is not known here");
    expect_refusal(client, "SELECT 3", "the database is 0");
    expect_answer(client, "SELECT 0", "+OK");
    expect_answer(client, "PING", "+PONG");
    expect_answer(client, "DEL key", ":1");
    peer_send_text(client, "PING\r\nPOST / HTTP/1.1\r\nPING\r\n"); /* Redis itself closes */
    peer_receive(client, received, 7);
    peer_expect_closed(client);
    expect_answer(other, "QUIT", "+OK");
    peer_expect_end(other);
    close(client);
    close(other);
    proximux_stop(proximux);
}

static void clients_log_in_here_and_we_there(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, &funnel, port, &locked, "password = \"" PASSWORD "\";", "");
    int friend = peer_connect("127.0.0.1", port), stranger = peer_connect("127.0.0.1", port);
    int guesser = peer_connect("127.0.0.1", port);

    expect_answer(friend, "SET mine 1", "-NOAUTH Authentication required.");
    expect_answer(friend, "AUTH \"" PASSWORD "\"", "+OK");
    expect_answer(friend, "SET mine 1", "+OK");
    for (size_t i = 0; i < 3; i++) {
        expect_answer(stranger, "GET mine", "-NOAUTH Authentication required.");
        expect_answer(stranger, "PING", "-NOAUTH Authentication required.");
        expect_answer(guesser, "AUTH default \"secret worm\"",
                      "-WRONGPASS invalid username-password pair or user is disabled.");
        expect_answer(guesser, "AUTH secret",
                      "-WRONGPASS invalid username-password pair or user is disabled.");
        expect_answer(guesser, "GET mine", "-NOAUTH Authentication required.");
        expect_answer(friend, "GET mine", "$1\r\n1");
    }
    expect_answer(guesser, "AUTH default \"" PASSWORD "\"", "+OK");
    expect_answer(guesser, "GET mine", "$1\r\n1");
    close(friend);
    close(stranger);
    close(guesser);
    proximux_stop(proximux);
}

/* Where clients need no password, ours opens the target for them; and without one of ours, nobody's does. */
static void who_has_to_log_in(void **state)
{
    unsigned port = peer_free_port(), closed_port = peer_free_port();
    struct proximux *open =
        start(*state, &fifo, port, &locked, "password = \"" PASSWORD "\"; client_auth = false;", "");
    struct proximux *closed = start(*state, &fifo, closed_port, &locked, "", "");
    int client = peer_connect("127.0.0.1", port), other = peer_connect("127.0.0.1", closed_port);

    expect_answer(client, "SET ours 2", "+OK");
    expect_answer(client, "GET ours", "$1\r\n2");
    expect_answer(other, "GET ours", "-NOAUTH Authentication required.");
    close(client);
    close(other);
    proximux_stop(open);
    proximux_stop(closed);
}

/* The target refuses us: a client is told, and the log says why. */
static void wrong_password_of_ours(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, &fifo, port, &locked,
                                      "password = \"wrong\"; client_auth = false;", "queue_timeout = 300;");
    int client = peer_connect("127.0.0.1", port);

    expect_answer(client, "GET ours", "-ERR proximux: no connection to the target became free in time");
    proximux_wait_log(proximux, "WRONGPASS");
    close(client);
    proximux_stop(proximux);
}

/* ---- Its own tools ---- */

/* Runs a tool that must succeed; `output` takes 64 KiB. */
static void run(struct fixture *fixture, const char *const *arguments, char *output)
{
    char path[FIXTURE_PATH];
    int status = process_run(
        &(struct process_options){ .arguments = arguments, .output = fixture_path(fixture, "tool", path) },
        6 * TEST_PATIENCE, output, 65536);

    test_require(status == 0, "%s ended with status %d: %s", arguments[0], status, output);
}

static void benchmark(struct fixture *fixture, const struct way *way, const char *depth, size_t requests)
{
    static char output[65536];
    char port_text[16], requests_text[16];
    unsigned port = peer_free_port();
    struct proximux *proximux = start(fixture, way, port, &redis, "", "");

    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(requests_text, sizeof(requests_text), "%zu", test_scaled(requests, 1000));
    run(fixture,
        (const char *const[]){ "redis-benchmark", "-h", "127.0.0.1", "-p", port_text, "-c", "50", "-P", depth,
                               "-n", requests_text, "-q", "-t",
                               "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,mset",
                               NULL },
        output);
    const char *found = strstr(output, "GET: ");
    while (found != NULL && strncmp(found, "GET: rps=", 9) == 0) /* what it shows on the way */
        found = strstr(found + 1, "GET: ");
    if (found != NULL)
        print_message("1 %s of 50 clients, -P %s: %.*s\n", way->mode, depth, (int)strcspn(found, "\n"),
                      found);
    test_require(strstr(output, "MSET (10 keys): ") != NULL && strstr(output, "rror") == NULL, "it says: %s",
                 output);
    proximux_stop(proximux);
    assert_true(proximux_log_count(proximux, "ended: ") >= 50);
}

static void benchmark_through_fifo(void **state)
{
    benchmark(*state, &fifo, "1", 4000);
    benchmark(*state, &fifo, "16", 20000);
}

static void benchmark_through_funnel(void **state)
{
    benchmark(*state, &funnel, "16", 20000);
}

/* A million bytes of commands and more, sent as fast as they are taken. */
static void mass_insertion(void **state)
{
    static char output[65536];
    size_t lines = test_scaled(100000, 1000);
    char path[FIXTURE_PATH], command[2 * FIXTURE_PATH], expected[64];
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, &funnel, port, &redis, "", "");
    FILE *file = fopen(fixture_path(*state, "commands", path), "we");

    assert_non_null(file);
    for (size_t i = 0; i < lines; i++)
        fprintf(file, "*3\r\n$3\r\nSET\r\n$13\r\nmass:%08zu\r\n$8\r\n%08zu\r\n", i, i * 7);
    assert_int_equal(fclose(file), 0);
    snprintf(command, sizeof(command), "exec redis-cli -p %u --pipe <'%s'", port, path);
    run(*state, (const char *const[]){ "sh", "-c", command, NULL }, output);
    snprintf(expected, sizeof(expected), "errors: 0, replies: %zu", lines);
    test_require(strstr(output, expected) != NULL, "redis-cli says: %s", output);
    int client = peer_connect("127.0.0.1", port);
    snprintf(command, sizeof(command), "GET mass:%08zu", lines - 1);
    snprintf(expected, sizeof(expected), "$8\r\n%08zu", (lines - 1) * 7);
    expect_answer(client, command, expected);
    close(client);
    proximux_stop(proximux);
}

static bool start_redis(struct server *server, const char *program, const char *password)
{
    char port[16];

    if (!server_prepare(server))
        return false;
    snprintf(port, sizeof(port), "%u", server->port);
    const char *const arguments[] = {
        program, "--bind", "127.0.0.1",       "--port",        port,     "--save",
        "",      "--dir",  server->directory, "--requirepass", password, "--enable-debug-command",
        "yes",   NULL
    };
    return server_start(server, arguments) && server_wait(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(own_keys_through_fifo),
        fixture_test(own_keys_through_funnel),
        fixture_test(refused_commands_leave_all_as_it_was),
        fixture_test(clients_log_in_here_and_we_there),
        fixture_test(who_has_to_log_in),
        fixture_test(wrong_password_of_ours),
        fixture_test(benchmark_through_fifo),
        fixture_test(benchmark_through_funnel),
        fixture_test(mass_insertion),
    };
    char program[256], tool[256];
    int status = EXIT_FAILURE;

    if (!process_find_command("redis-server", "/usr/sbin/redis-server", program, sizeof(program)) ||
        !process_find_command("redis-benchmark", NULL, tool, sizeof(tool)) ||
        !process_find_command("redis-cli", NULL, tool, sizeof(tool))) {
        puts("SKIPPED: Redis is not installed (Debian: redis-server, redis-tools)");
        return SERVER_SKIPPED;
    }
    if (start_redis(&redis, program, "") && start_redis(&locked, program, PASSWORD))
        status = cmocka_run_group_tests_name("redis", tests, NULL, NULL);
    server_stop(&redis, SIGTERM);
    server_stop(&locked, SIGTERM);
    return status;
}
