/* TERM while real clients ask real servers in all modes: what is in flight finishes, nobody sees a reset
 * before `shutdown_timeout`, and what still runs then is closed. */
#include "harness/backends.h"
#include "harness/fixture.h"
#include "harness/load.h"
#include "harness/peer.h"
#include "harness/watcher.h"
#include "harness/web.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct backends backends;

/* The program in front of all three servers. */
struct scene {
    struct fixture *fixture;
    struct proximux *proximux;
    unsigned admin, database, cache, web;
};

static struct scene begin(struct fixture *fixture, int shutdown_timeout)
{
    static char text[2048];
    struct scene scene = { .fixture = fixture,
                           .admin = peer_free_port(),
                           .database = peer_free_port(),
                           .cache = peer_free_port(),
                           .web = peer_free_port() };

    snprintf(
        text, sizeof(text),
        "admin: { listen = \"127.0.0.1:%u\"; }; shutdown_timeout = %d;\n"
        "defaults: { stall_timeout = 600000; };\n"
        "listeners = (\n"
        "  { name = \"database\"; listen = \"127.0.0.1:%u\"; mode = \"proxy\"; protocol = \"postgresql\";\n"
        "    targets = ( \"127.0.0.1:%u\" ); },\n"
        "  { name = \"cache\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; protocol = \"redis\";\n"
        "    targets = ( { address = \"127.0.0.1:%u\"; connections = 4; } ); },\n"
        "  { name = \"web\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; protocol = \"http\";\n"
        "    targets = ( \"127.0.0.1:%u\" ); }\n"
        ");\n",
        scene.admin, shutdown_timeout, scene.database, backends.database.server.port, scene.cache,
        backends.redis.port, scene.web, backends.nginx.port);
    scene.proximux = proximux_start_with(
        fixture, (&(struct proximux_options){ .configuration = text, .own_log_level = true }));
    return scene;
}

static void expect_ready(const struct scene *scene, int status)
{
    struct web_answer answer = web_get("127.0.0.1", scene->admin, "localhost", "/readyz");

    assert_int_equal(answer.status, status);
    web_free(&answer);
}

/* Waits until a listener has so many requests at its target (proxy mode: clients). */
static void wait_in_flight(const struct scene *scene, const char *listener, long long count)
{
    char name[80];

    snprintf(name, sizeof(name), "proximux_listener_in_flight{listener=\"%s\"}", listener);
    test_wait_until(web_figure(scene->admin, name) >= count);
}

/* ---- Work that goes on until the test lets it end ---- */

/* It ends when the table "go" has a row; then there is one more exchange in the same session. */
#define SLOW_STATEMENT                                                                                       \
    "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM go) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$"
#define SECOND_STATEMENT "SELECT 'finished, ' || count(*) FROM generate_series(1, 100000)"

/* What Redis is asked for, and nginx: more than sockets and buffers hold, so that it is in flight as long as
 * the client does not read. */
#define VALUE_SIZE    ((size_t)512 * 1024)
#define VALUE_COUNT   16
#define LARGE_REQUEST "GET /large HTTP/1.1\r\nHost: a\r\n\r\n"
#define PAGE_REQUEST  "GET /page HTTP/1.1\r\nHost: a\r\n\r\n"

struct work {
    pid_t query;
    char output[FIXTURE_PATH]; /* of the query */
    int cache;                 /* has asked for all values at once */
    int web;                   /* has asked for the large file */
    int next;                  /* has asked nginx, too, and waits for its turn */
    int idle_session;          /* of PostgreSQL: has asked for nothing but TLS */
    int idle_cache, idle_web;  /* have asked for nothing */
};

static void fill_cache(const struct scene *scene)
{
    static char value[VALUE_SIZE];
    char head[80];
    int client = peer_connect("127.0.0.1", scene->cache);

    for (size_t i = 0; i < VALUE_SIZE; i++)
        value[i] = backends_large_byte(i);
    snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$5\r\nvalue\r\n$%zu\r\n", VALUE_SIZE);
    peer_send_text(client, head);
    peer_send(client, value, VALUE_SIZE);
    peer_send_text(client, "\r\n");
    peer_expect_text(client, "+OK\r\n");
    close(client);
}

static struct work start_work(const struct scene *scene)
{
    char program[300], port[16], answer[100];
    struct work work;

    backends_query(&backends, "DROP TABLE IF EXISTS go; CREATE TABLE go (i int)", answer, sizeof(answer));
    fill_cache(scene);
    unlink(fixture_path(scene->fixture, "query", work.output));
    snprintf(program, sizeof(program), "%s/psql", backends.database.programs);
    snprintf(port, sizeof(port), "%u", scene->database);
    work.query = process_start(&(struct process_options){
        .arguments =
            (const char *const[]){ program, "-AtXq", "-h", "127.0.0.1", "-p", port, "-U", DATABASE_USER, "-c",
                                   SLOW_STATEMENT, "-c", SECOND_STATEMENT, "template1", NULL },
        .environment = backends_environment,
        .output = work.output });
    assert_int_not_equal(work.query, -1);
    work.idle_session = peer_connect("127.0.0.1", scene->database);
    peer_send(work.idle_session, BACKENDS_ASK_FOR_TLS, sizeof(BACKENDS_ASK_FOR_TLS) - 1);
    peer_expect_text(work.idle_session, "N");
    work.idle_cache = peer_connect("127.0.0.1", scene->cache);
    work.idle_web = peer_connect("127.0.0.1", scene->web);
    work.cache = peer_connect("127.0.0.1", scene->cache);
    for (size_t i = 0; i < VALUE_COUNT; i++)
        peer_send_text(work.cache, "*2\r\n$3\r\nGET\r\n$5\r\nvalue\r\n");
    peer_send_text(work.cache, "*2\r\n$4\r\nECHO\r\n$4\r\nlast\r\n");
    work.web = peer_connect("127.0.0.1", scene->web);
    peer_send_text(work.web, LARGE_REQUEST);
    wait_in_flight(scene, "web", 1);
    work.next = peer_connect("127.0.0.1", scene->web);
    peer_send_text(work.next, PAGE_REQUEST);
    wait_in_flight(scene, "cache", 1);
    wait_in_flight(scene, "database", 2);
    test_wait_until((backends_query(&backends, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%'",
                                    answer, sizeof(answer)),
                     strcmp(answer, "1")) == 0);
    return work;
}

static void let_query_end(const struct work *work)
{
    char answer[100];
    int status;

    backends_query(&backends, "INSERT INTO go VALUES (1)", answer, sizeof(answer));
    assert_true(process_wait(work->query, 3 * TEST_PATIENCE, &status));
    process_read_file(work->output, answer, sizeof(answer));
    test_require(status == 0 && strcmp(answer, "finished, 100000\n") == 0, "psql ended with status %d: %s",
                 status, answer);
}

/* Reads bytes of a flow that repeats itself after so many; each is looked at. */
static void expect_large(int client, size_t size)
{
    static char bytes[65536];

    for (size_t position = 0; position < size;) {
        size_t count = size - position < sizeof(bytes) ? size - position : sizeof(bytes);

        peer_receive(client, bytes, count);
        for (size_t i = 0; i < count; i++, position++)
            test_require(bytes[i] == backends_large_byte(position), "byte %zu is wrong", position);
    }
}

/* The head of an answer of nginx; that of one which was asked for before the drain, and comes after its
 * beginning, says that the connection ends. */
static void expect_head(int client, bool is_last)
{
    char head[2048];
    size_t length = 0;

    do
        peer_receive(client, head + length, 1);
    while (++length < sizeof(head) - 1 && (length < 4 || memcmp(head + length - 4, "\r\n\r\n", 4) != 0));
    head[length] = '\0';
    test_require(strncmp(head, "HTTP/1.1 200 OK\r\n", 17) == 0 &&
                     (strstr(head, "\r\nConnection: close\r\n") != NULL) == is_last,
                 "the head: %s", head);
}

/* An orderly end, no reset, and nothing before it. */
static void expect_end(int client)
{
    peer_expect_end(client);
    close(client);
}

static void exchanges_in_flight_finish(void **state)
{
    struct scene scene = begin(*state, 600000);
    struct work work = start_work(&scene);
    char head[80];

    expect_ready(&scene, 200);
    proximux_signal(scene.proximux, SIGTERM);
    proximux_wait_notification(scene.proximux, "STOPPING=1");
    expect_ready(&scene, 503);
    test_wait_until(peer_try_connect(NULL, "127.0.0.1", scene.web) == -1);
    expect_end(work.idle_cache);
    expect_end(work.idle_web);
    peer_expect_silence(work.idle_session, 100);
    peer_expect_silence(work.next, 100);

    /* Redis answers the whole pipeline, in order */
    snprintf(head, sizeof(head), "$%zu\r\n", VALUE_SIZE);
    for (size_t i = 0; i < VALUE_COUNT; i++) {
        peer_expect_text(work.cache, head);
        expect_large(work.cache, VALUE_SIZE);
        peer_expect_text(work.cache, "\r\n");
    }
    peer_expect_text(work.cache, "$4\r\nlast\r\n");
    expect_end(work.cache);
    expect_ready(&scene, 503);

    /* nginx answers with all of its file, and then to whoever waits */
    expect_head(work.web, false);
    expect_large(work.web, BACKENDS_LARGE_SIZE);
    expect_end(work.web);
    expect_head(work.next, true);
    peer_expect_text(work.next, BACKENDS_PAGE);
    expect_end(work.next);
    expect_ready(&scene, 503);

    /* PostgreSQL's sessions go on until their clients have enough */
    let_query_end(&work);
    peer_expect_silence(work.idle_session, 100);
    close(work.idle_session);
    proximux_expect_exit(scene.proximux, 0);
    assert_int_equal(proximux_log_count(scene.proximux, "shutdown_timeout has passed"), 0);
}

static void what_still_runs_is_closed(void **state)
{
    int timeout = test_stretched(1500);
    struct scene scene = begin(*state, timeout);
    struct work work = start_work(&scene);
    char output[1024];
    int64_t begun = test_now();
    int status;

    proximux_signal(scene.proximux, SIGTERM);
    expect_end(work.idle_cache);
    expect_end(work.idle_web);
    peer_expect_closed(work.idle_session);
    test_require(test_now() - begun >= timeout - 20, "a session was closed after %d ms",
                 (int)(test_now() - begun));
    proximux_expect_exit(scene.proximux, 0);
    assert_int_equal(proximux_log_count(scene.proximux, "shutdown_timeout has passed: closing 5 clients"), 1);
    peer_expect_closed(work.cache);
    peer_expect_closed(work.web);
    peer_expect_closed(work.next);
    assert_true(process_wait(work.query, TEST_PATIENCE, &status));
    process_read_file(work.output, output, sizeof(output));
    assert_int_not_equal(status, 0);
    test_require(strstr(output, "server closed the connection unexpectedly") != NULL, "psql says: %s",
                 output);
    close(work.idle_session);
    close(work.cache);
    close(work.web);
    close(work.next);
}

/* ---- Under load ---- */

enum { TOOL_PGBENCH, TOOL_REDIS_BENCHMARK, TOOL_WRK, TOOLS };
enum { WRK_CLIENTS = 8 };
/* Of one group that leaves time to others, and one that hurries: its requests are always on their way. */
enum { GROUPS = 2, WATCHERS = GROUPS * BACKENDS_WATCHERS };

static char database_port[16], cache_port[16], page[64], pgbench[300];

static const struct load all_tools[TOOLS] = {
    [TOOL_PGBENCH] = { .name = "pgbench",
                       .kind = LOAD_PGBENCH,
                       .environment = backends_environment,
                       .arguments = (const char *const[]){ pgbench, "-h", "127.0.0.1", "-p", database_port,
                                                           "-U", DATABASE_USER, "-n", "-c", "4", "-t", "200",
                                                           BACKENDS_STAYS, NULL } },
    [TOOL_REDIS_BENCHMARK] = { .name = "redis-benchmark",
                               .kind = LOAD_REDIS_BENCHMARK,
                               .arguments =
                                   (const char *const[]){ "redis-benchmark", "-h", "127.0.0.1", "-p",
                                                          cache_port, "-c", "20", "-P", "4", "-n",
                                                          "100000000", "-t", "get", "--csv", NULL } },
    [TOOL_WRK] = { .name = "wrk",
                   .kind = LOAD_WRK,
                   .arguments =
                       (const char *const[]){ "wrk", "-t", "1", "-c", "8", "-d", "600s", page, NULL } },
};

/* It waits for the end of a tool that can't end well, as nobody listens any more. */
static int wait_for_tool(const struct scene *scene, struct load *tool, char *output, size_t size)
{
    char path[FIXTURE_PATH];
    int status;

    test_require(process_wait(tool->process, 3 * TEST_PATIENCE, &status), "%s does not end", tool->name);
    tool->process = 0;
    process_read_file(fixture_path(scene->fixture, tool->name, path), output, size);
    return status;
}

/* PostgreSQL's sessions go on until their clients have enough. */
static void expect_pgbench_finishes(const struct scene *scene, struct load *pgbench_load)
{
    int64_t deadline = test_deadline(3 * TEST_PATIENCE);

    while (!load_has_ended(pgbench_load, scene->fixture)) {
        test_require(test_now() < deadline, "pgbench does not end");
        test_pause();
    }
}

/* Redis's clients are told that it is over, and see no reset; nginx's find nobody when they come again, which
 * wrk counts as errors of writing. One whose request crosses the end of its connection, once each, counts it
 * as an error of reading; that it is no reset, watchers see that do the same. */
static void expect_orderly_ends_of_tools(const struct scene *scene, struct load *tools)
{
    static char output[65536];
    int connect = 0, read = 0, written = 0, late = 0;

    int status = wait_for_tool(scene, &tools[TOOL_REDIS_BENCHMARK], output, sizeof(output));
    test_require(status == 1 && strstr(output, "Error: Server closed the connection\n") != NULL &&
                     strstr(output, "eset") == NULL,
                 "redis-benchmark ended with status %d: %s", status, output);
    kill(tools[TOOL_WRK].process, SIGINT); /* it reports then */
    status = wait_for_tool(scene, &tools[TOOL_WRK], output, sizeof(output));
    const char *errors = strstr(output, "Socket errors: ");
    bool is_read =
        errors == NULL || sscanf(errors, "Socket errors: connect %d, read %d, write %d, timeout %d", &connect,
                                 &read, &written, &late) == 4;
    test_require(status == 0 && strstr(output, "Non-2xx") == NULL && is_read && read <= WRK_CLIENTS &&
                     late == 0,
                 "wrk ended with status %d: %s", status, output);
    print_message("%zu transactions of pgbench, 0 failed; %d of %d requests of wrk crossed the end, 0 late\n",
                  tools[TOOL_PGBENCH].requests, read, WRK_CLIENTS);
}

/* All that was read of the clients of the shared modes was answered. */
static void expect_all_answered(const struct scene *scene)
{
    static char log[65536];
    size_t lines = 0;

    process_read_file(scene->proximux->log, log, sizeof(log));
    for (const char *line = log; (line = strstr(line, " requests ended, ")) != NULL; line++, lines++) {
        const char *number = line;

        while (number[-1] != ' ')
            number--;
        assert_int_equal(strtoull(number, NULL, 10), strtoull(line + strlen(" requests ended, "), NULL, 10));
    }
    assert_int_equal(lines, 2);
}

/* They are told in an orderly way that it is over, or find nobody when they come again. */
static void expect_orderly_ends_of_watchers(struct watcher *watchers)
{
    for (size_t i = 0; i < WATCHERS; i++) {
        test_wait_until(atomic_load(&watchers[i].ended) != WATCHER_RUNS);
        enum watcher_end end = watcher_stop(&watchers[i]);
        test_require(end == WATCHER_CLOSED || end == WATCHER_REFUSED, "%s: %s", watchers[i].name,
                     watchers[i].text);
    }
}

static void start_load(const struct scene *scene, struct load *tools, struct watcher *watchers)
{
    snprintf(pgbench, sizeof(pgbench), "%s/pgbench", backends.database.programs);
    snprintf(database_port, sizeof(database_port), "%u", scene->database);
    snprintf(cache_port, sizeof(cache_port), "%u", scene->cache);
    snprintf(page, sizeof(page), "http://127.0.0.1:%u/page", scene->web);
    memcpy(tools, all_tools, sizeof(all_tools));
    for (size_t i = 0; i < TOOLS; i++)
        load_start(&tools[i], scene->fixture);
    wait_in_flight(scene, "database", 4);
    for (size_t i = 0; i < GROUPS; i++)
        backends_make_watchers(watchers + i * BACKENDS_WATCHERS, scene->database, scene->cache, scene->web);
    for (size_t i = 0; i < WATCHERS; i++) {
        watchers[i].hurries = i >= BACKENDS_WATCHERS;
        watcher_start(&watchers[i]);
    }
    for (size_t i = 0; i < WATCHERS; i++)
        test_wait_until(atomic_load(&watchers[i].answers) >= 5 ||
                        atomic_load(&watchers[i].ended) != WATCHER_RUNS);
}

static void nobody_sees_a_reset(void **state)
{
    for (size_t i = 0; i < test_scaled(3, 2); i++) {
        struct scene scene = begin(*state, 600000);
        struct load tools[TOOLS];
        static struct watcher watchers[WATCHERS]; /* their threads may outlive a test that fails */

        start_load(&scene, tools, watchers);
        proximux_signal(scene.proximux, SIGTERM);
        proximux_wait_notification(scene.proximux, "STOPPING=1");
        expect_ready(&scene, 503);
        expect_orderly_ends_of_watchers(watchers);
        expect_pgbench_finishes(&scene, &tools[TOOL_PGBENCH]);
        proximux_expect_exit(scene.proximux, 0);
        expect_orderly_ends_of_tools(&scene, tools);
        expect_all_answered(&scene);
        assert_int_equal(proximux_log_count(scene.proximux, "shutdown_timeout has passed"), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(exchanges_in_flight_finish),
        fixture_test(what_still_runs_is_closed),
        fixture_test(nobody_sees_a_reset),
    };
    int status = backends_start(&backends);

    if (status == 0)
        status = cmocka_run_group_tests_name("drain_load", tests, NULL, NULL);
    backends_stop(&backends);
    return status;
}
