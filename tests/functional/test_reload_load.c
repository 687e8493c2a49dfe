/* Many reloads in a row while real clients ask real servers in all three modes: pgbench and PostgreSQL
 * through `proxy`, redis-benchmark and Redis through `funnel`, wrk and nginx through `fifo`, in one process.
 * Nobody may notice: the tools report no failure, the servers see none of the connections made again that no
 * reload has asked to, and the program is as large afterwards as before. TEST_SCALE=5 makes 1,000 of the 200
 * reloads. */
#include "harness/backends.h"
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/forms.h"
#include "harness/load.h"
#include "harness/modules.h"
#include "harness/peer.h"
#include "harness/watcher.h"
#include "harness/web.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELOADED "reloaded: "
#define REFUSED  "nothing was changed"

/* Target connections that are to stay from the first moment to the last. */
#define CACHE_CONNECTIONS 4

static struct backends backends;

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Who asks ---- */

static char database_port[16], cache_port[16], page[64], requests[16], pgbench[300];

#define PGBENCH_TO pgbench, "-h", "127.0.0.1", "-p", database_port, "-U", DATABASE_USER, "-n"

/* Clients of each tool, which it opens in each round. */
#define PGBENCH_CLIENTS 4
#define WRK_CLIENTS     4

enum load_index { LOAD_STAYS, LOAD_VISITS, LOAD_CACHE, LOAD_WEB, LOAD_WEB_VISITS, LOAD_COUNT };

static const struct load all_loads[LOAD_COUNT] = {
    [LOAD_STAYS] = { .name = "pgbench",
                     .kind = LOAD_PGBENCH,
                     .environment = backends_environment,
                     .arguments = (const char *const[]){ PGBENCH_TO, "-c", "4", "-t", "100", "-M", "prepared",
                                                         BACKENDS_STAYS, NULL } },
    [LOAD_VISITS] = { .name = "pgbench-C",
                      .kind = LOAD_PGBENCH,
                      .environment = backends_environment,
                      .arguments = (const char *const[]){ PGBENCH_TO, "-C", "-S", "-c", "1", "-t", "20",
                                                          BACKENDS_VISITS, NULL } },
    [LOAD_CACHE] = { .name = "redis-benchmark",
                     .kind = LOAD_REDIS_BENCHMARK,
                     .arguments = (const char *const[]){ "redis-benchmark", "-h", "127.0.0.1", "-p",
                                                         cache_port, "-c", "8", "-n", requests, "-t",
                                                         "set,get,incr,lpush,lpop,mset", "--csv", NULL } },
    [LOAD_WEB] = { .name = "wrk",
                   .kind = LOAD_WRK,
                   .arguments = (const char *const[]){ "wrk", "-t", "1", "-c", "4", "-d", "2s", "--timeout",
                                                       "20s", page, NULL } },
    [LOAD_WEB_VISITS] = { .name = "wrk-close",
                          .kind = LOAD_WRK,
                          .arguments =
                              (const char *const[]){ "wrk", "-t", "1", "-c", "1", "-d", "2s", "--timeout",
                                                     "20s", "-H", "Connection: close", page, NULL } },
};

/* A session of PostgreSQL that stays all the time: psql, to which the test writes what it asks. */
struct session {
    pid_t process;
    int input;
    size_t answers;
    char expected[32]; /* the server's process: it is the answer each time */
    char output[FIXTURE_PATH];
};

static void session_ask(struct session *session)
{
    static const char question[] = "SELECT pg_backend_pid();\n";
    static char answers[65536];
    size_t width = session->expected[0] != '\0' ? strlen(session->expected) : 2;

    assert_int_equal(write(session->input, question, sizeof(question) - 1), sizeof(question) - 1);
    session->answers++;
    test_wait_until(process_read_file(session->output, answers, sizeof(answers)) >=
                        session->answers * width &&
                    answers[strlen(answers) - 1] == '\n');
    if (session->expected[0] == '\0')
        snprintf(session->expected, sizeof(session->expected), "%.20s", answers);
    test_require(strcmp(answers + (session->answers - 1) * strlen(session->expected), session->expected) == 0,
                 "psql says: %s", answers);
}

static void session_begin(struct session *session, struct fixture *fixture)
{
    char questions[FIXTURE_PATH], command[600];

    *session = (struct session){ 0 };
    fixture_path(fixture, "session", session->output);
    assert_int_equal(mkfifo(fixture_path(fixture, "questions", questions), 0600), 0);
    session->input = open(questions, O_RDWR | O_CLOEXEC); /* so that opening waits for nobody */
    assert_int_not_equal(session->input, -1);
    snprintf(command, sizeof(command), "exec '%s/psql' -AtXq -h 127.0.0.1 -p %s -U %s %s <'%s'",
             backends.database.programs, database_port, DATABASE_USER, BACKENDS_STAYS, questions);
    session->process = process_start(
        &(struct process_options){ .arguments = (const char *const[]){ "sh", "-c", command, NULL },
                                   .environment = backends_environment,
                                   .output = session->output });
    assert_int_not_equal(session->process, -1);
    session_ask(session);
}

static void session_end(struct session *session)
{
    int status;

    session_ask(session);
    close(session->input);
    assert_true(process_wait(session->process, TEST_PATIENCE, &status));
    assert_int_equal(status, 0);
}

/* ---- The run ---- */

struct run {
    struct fixture *fixture;
    struct proximux *proximux;
    struct load loads[LOAD_COUNT];
    struct watcher watchers[BACKENDS_WATCHERS];
    struct session session;
    long descriptors; /* before anybody came */
    size_t done;      /* reloads */
    size_t refused;
};

/* Starts the rounds anew that have ended. */
static void run_go_on(struct run *run)
{
    for (size_t i = 0; i < LOAD_COUNT; i++)
        if (load_has_ended(&run->loads[i], run->fixture))
            load_start(&run->loads[i], run->fixture);
    for (size_t i = 0; i < BACKENDS_WATCHERS; i++)
        test_require(atomic_load(&run->watchers[i].ended) == WATCHER_RUNS, "%s: %s", run->watchers[i].name,
                     run->watchers[i].text);
}

/* Reloads with this file. */
static void run_reload(struct run *run, const struct form *form, bool is_good)
{
    static char text[8192];
    const char *outcome = is_good ? RELOADED : REFUSED;
    size_t *count = is_good ? &run->done : &run->refused;
    int64_t deadline = test_deadline(3 * TEST_PATIENCE);

    forms_make(form, text, sizeof(text));
    fixture_write(run->fixture, strrchr(run->proximux->configuration, '/') + 1, text);
    proximux_signal(run->proximux, SIGHUP);
    ++*count;
    while (proximux_log_count(run->proximux, outcome) < *count) {
        test_require(test_now() < deadline, "no \"%s\" came, the file has %s", outcome, form->what);
        run_go_on(run);
        test_pause();
    }
    proximux_wait_notification(run->proximux,
                               is_good ? "STATUS=running" : "STATUS=running; the last reload was");
}

/* Each watcher has one more answer, by the settings of this file. Visits to PostgreSQL are not waited for:
 * each costs it a process. */
static void run_let_all_ask(struct run *run)
{
    int64_t deadline = test_deadline(3 * TEST_PATIENCE);

    for (size_t i = 1; i < BACKENDS_WATCHERS; i++) {
        size_t answers = atomic_load(&run->watchers[i].answers);

        while (atomic_load(&run->watchers[i].answers) < answers + 1) {
            test_require(test_now() < deadline, "%s has no answer", run->watchers[i].name);
            run_go_on(run);
            test_pause();
        }
    }
}

static void run_start_watchers(struct run *run, bool those_that_stay)
{
    for (size_t i = 0; i < BACKENDS_WATCHERS; i++)
        if (run->watchers[i].stays == those_that_stay)
            watcher_start(&run->watchers[i]);
}

/* The plain file comes between all others, so that whatever came goes again; and last. */
static void run_reload_often(struct run *run, size_t from, size_t to)
{
    run_start_watchers(run, false);
    for (size_t i = from; i < to; i++) {
        if (i % 3 == 2)
            run_reload(run, &forms_broken[i / 3 % forms_broken_count], false);
        else
            run_reload(run, i % 3 == 0 ? &forms_plain : &forms_good[i / 3 % forms_good_count], true);
        run_let_all_ask(run);
        if (i % 20 == 0)
            session_ask(&run->session);
    }
    run_reload(run, &forms_plain, true);
}

static void write_list(struct fixture *fixture)
{
    static char text[200000];
    size_t length = 0;

    for (size_t i = 0; i < 10000; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "10.%zu.%zu.%zu\n", i / 4096,
                                   i / 16 % 256, i % 16 * 16);
    fixture_write(fixture, "list", text);
    forms_set(WORD_LIST, "%s/list", fixture->directory);
    forms_set(WORD_UNIX, "%s/unix", fixture->directory);
    forms_set(WORD_QUERIES, "%s/queries", fixture->directory);
}

static void run_begin(struct run *run)
{
    static char text[8192];

    write_list(run->fixture);
    forms_make(&forms_plain, text, sizeof(text));
    run->proximux = proximux_start_with(
        run->fixture, (&(struct proximux_options){ .configuration = text, .own_log_level = true }));
}

static void run_start_clients(struct run *run)
{
    memcpy(run->loads, all_loads, sizeof(all_loads));
    backends_make_watchers(run->watchers, forms_port(WORD_DATABASE), forms_port(WORD_CACHE),
                           forms_port(WORD_WEB));
    session_begin(&run->session, run->fixture);
    run_start_watchers(run, true);
}

/* The tools come to the end of their rounds; the other clients stay. */
static void run_end_rounds(struct run *run)
{
    int64_t deadline = test_deadline(6 * TEST_PATIENCE);
    size_t running = LOAD_COUNT;

    while (running > 0) {
        test_require(test_now() < deadline, "the load does not end");
        test_pause();
        running = 0;
        for (size_t i = 0; i < LOAD_COUNT; i++)
            running += !load_has_ended(&run->loads[i], run->fixture);
    }
}

static void run_stop_watchers(struct run *run, bool those_that_stay)
{
    for (size_t i = 0; i < BACKENDS_WATCHERS; i++)
        if (run->watchers[i].stays == those_that_stay)
            test_require(watcher_stop(&run->watchers[i]) == WATCHER_STOPPED, "%s: %s", run->watchers[i].name,
                         run->watchers[i].text);
}

/* What the program holds while only those are there that stay; exactly that many descriptors, or it fails. */
static long run_hold(struct run *run)
{
    long expected = run->descriptors + 2; /* psql's session */

    run_end_rounds(run);
    run_stop_watchers(run, false);
    for (size_t i = 0; i < BACKENDS_WATCHERS; i++)
        expected += run->watchers[i].stays;
    test_wait_until(process_descriptors(run->proximux->process) == expected);
    return process_private_kilobytes(run->proximux->process);
}

static void run_end_clients(struct run *run)
{
    run_stop_watchers(run, true);
    session_end(&run->session);
    test_wait_until(process_descriptors(run->proximux->process) == run->descriptors);
}

/* ---- What everybody says afterwards ---- */

/* The sum of the samples whose names begin so, but for those that have one of these words. */
static long long sum_of(const char *metrics, const char *beginning, const char *const *but)
{
    long long sum = 0;

    for (const char *line = metrics; line != NULL && *line != '\0';) {
        size_t length = strcspn(line, "\n");
        char text[400];

        snprintf(text, sizeof(text), "%.*s", (int)length, line);
        bool counts = strncmp(text, beginning, strlen(beginning)) == 0;
        for (size_t i = 0; counts && but != NULL && but[i] != NULL; i++)
            counts = strstr(text, but[i]) == NULL;
        if (counts)
            sum += strtoll(strrchr(text, ' '), NULL, 10);
        line += length + (line[length] == '\n');
    }
    return sum;
}

/* Those that begin so and are not 0. */
static void print_samples(const char *metrics, const char *beginning)
{
    for (const char *line = strstr(metrics, beginning); line != NULL; line = strstr(line + 1, beginning)) {
        int length = (int)strcspn(line, "\n");

        if (strncmp(line + length - 2, " 0", 2) != 0)
            print_error("%.*s\n", length, line);
    }
}

/* Of a listener's clients that have ended, or requests that have failed, only so many for other reasons. */
static void expect_at_most(const char *metrics, const char *name, const char *listener,
                           const char *const *reasons, long long most)
{
    char beginning[120];

    snprintf(beginning, sizeof(beginning), "proximux_listener_%s{listener=\"%s\"", name, listener);
    long long others = sum_of(metrics, beginning, reasons);
    if (others > most)
        print_samples(metrics, beginning);
    test_require(others <= most, "%lld, not %lld, %s of \"%s\"", others, most, name, listener);
}

static void expect_ends(const char *metrics, const char *listener, const char *const *reasons, long long most)
{
    expect_at_most(metrics, "clients_ended_total", listener, reasons, most);
    expect_at_most(metrics, "clients_refused_total", listener, NULL, 0);
}

/* A sample about a target. */
static long long target_sum(const char *metrics, const char *name, const char *listener, const char *target)
{
    char beginning[200];

    snprintf(beginning, sizeof(beginning), "proximux_target_%s{listener=\"%s\",target=\"127.0.0.1:%s\"", name,
             listener, target);
    return sum_of(metrics, beginning, NULL);
}

/* The connections that stay have been opened once, none has closed, and no target was ever down. */
static void expect_kept(const char *metrics, const char *listener, const char *target, long long connections)
{
    assert_int_equal(target_sum(metrics, "connections_opened_total", listener, target), connections);
    assert_int_equal(target_sum(metrics, "connections_closed_total", listener, target), 0);
    assert_int_equal(target_sum(metrics, "connections_failed_total", listener, target), 0);
    assert_int_equal(target_sum(metrics, "downs_total", listener, target), 0);
    assert_int_equal(target_sum(metrics, "requests_failed_total", listener, target), 0);
}

static void run_check_metrics(const struct run *run)
{
    struct web_answer answer = web_get("127.0.0.1", forms_port(WORD_ADMIN), "localhost", "/metrics");
    const char *metrics = answer.body;
    /* at the end of a round wrk goes away in the middle of its requests */
    long long torn =
        (long long)(run->loads[LOAD_WEB].rounds * WRK_CLIENTS + run->loads[LOAD_WEB_VISITS].rounds);

    assert_int_equal(answer.status, 200);
    assert_int_equal(web_metric(metrics, "proximux_reloads_total"), run->done);
    assert_int_equal(web_metric(metrics, "proximux_reloads_refused_total"), run->refused);
    /* PostgreSQL closes at once when a client takes its leave, at times before that one closes */
    expect_ends(metrics, "database", (const char *const[]){ "\"client_closed\"", "\"target_closed\"", NULL },
                0);
    expect_ends(metrics, "cache", (const char *const[]){ "\"client_closed\"", NULL }, 0);
    expect_ends(metrics, "web", (const char *const[]){ "\"client_closed\"", NULL }, torn);
    expect_at_most(metrics, "requests_failed_total", "cache", NULL, 0);
    expect_at_most(metrics, "requests_failed_total", "web", NULL, torn);
    expect_at_most(metrics, "requests_failed_total", "web",
                   (const char *const[]){ "\"client_closed\"", "\"client_reset\"", NULL }, 0);
    expect_kept(metrics, "cache", forms_get(WORD_REDIS), CACHE_CONNECTIONS);
    expect_kept(metrics, "web", forms_get(WORD_NGINX), 1);
    web_free(&answer);
}

/* What the servers themselves know of their connections. */
struct counted {
    char redis[200]; /* the ids of those that stay */
    long nginx;
    long stays, visits; /* sessions at PostgreSQL */
};

static void count(struct counted *counted)
{
    backends_redis_connections(&backends, counted->redis, sizeof(counted->redis));
    counted->nginx = backends_nginx_accepted(&backends);
    counted->stays = backends_sessions(&backends, BACKENDS_STAYS);
    counted->visits = backends_sessions(&backends, BACKENDS_VISITS);
}

/* PostgreSQL has seen a session for each client of each round, one in which pgbench looks around, and psql.
 */
static void run_check_servers(const struct run *run, const struct counted *before)
{
    struct counted after;
    long stays = (long)(run->loads[LOAD_STAYS].rounds * (PGBENCH_CLIENTS + 1) + 1);
    long visits = (long)(run->loads[LOAD_VISITS].rounds + run->loads[LOAD_VISITS].requests);

    count(&after);
    assert_string_equal(after.redis, before->redis);
    assert_int_equal(after.nginx, before->nginx + 1); /* that was us */
    assert_int_equal(after.stays - before->stays, stays);
    assert_int_equal(after.visits - before->visits, visits);
    print_message("%ld and %ld sessions at PostgreSQL, as many as clients; %d connections at Redis and 1 at "
                  "nginx, none of them anew\n",
                  stays, visits, CACHE_CONNECTIONS);
}

static void run_report(const struct run *run, int64_t took)
{
    print_message("%zu reloads, %zu of them refused, in %.1f s\n", run->done + run->refused, run->refused,
                  (double)took / 1e3);
    for (size_t i = 0; i < LOAD_COUNT; i++)
        print_message("%zu requests in %zu rounds of %s, 0 failed, 0 resets\n", run->loads[i].requests,
                      run->loads[i].rounds, run->loads[i].name);
    for (size_t i = 0; i < BACKENDS_WATCHERS; i++)
        print_message("%zu answers of %s to a client, %s\n", atomic_load(&run->watchers[i].answers),
                      run->watchers[i].name,
                      run->watchers[i].stays ? "on one connection" : "each on a connection of its own");
}

static void nobody_notices(void **state)
{
    static struct run run; /* its threads may outlive a test that fails */
    size_t reloads = test_scaled(200, 3 * forms_good_count);
    size_t early = reloads >= 1000 ? reloads / 10 : reloads / 2; /* the heap has its shape by then */
    struct counted before;

    run.fixture = *state;
    run_begin(&run);
    test_wait_until((count(&before), strlen(before.redis)) >= CACHE_CONNECTIONS * strlen("id=1 "));
    run.descriptors = process_descriptors(run.proximux->process);
    int64_t begun = test_now();
    run_start_clients(&run);
    run_reload_often(&run, 0, early);
    long then = run_hold(&run);
    run_reload_often(&run, early, reloads);
    long now = run_hold(&run);
    run_end_clients(&run);
    run_report(&run, test_now() - begun);
    run_check_servers(&run, &before);
    run_check_metrics(&run);
    print_message("%ld KiB after %zu reloads, %ld after %zu; as many descriptors as in the beginning\n", then,
                  early, now, reloads);
    /* the heap's holes come and go; what a reload makes is more than 10 KiB, and would show */
    if (test_figures_count())
        test_require(now - then < 768, "memory has grown by %ld KiB", now - then);
    proximux_stop(run.proximux);
}

/* What needs no fixture: ports, paths, and another server beside the real ones. */
static void set_words(unsigned echo, unsigned taken)
{
    static const enum word_index free_ports[] = { WORD_ADMIN, WORD_DATABASE, WORD_CACHE, WORD_WEB,
                                                  WORD_MORE,  WORD_OTHER,    WORD_CLOSED };

    for (size_t i = 0; i < COUNT(free_ports); i++)
        forms_set(free_ports[i], "%u", peer_free_port());
    forms_set(WORD_POSTGRESQL, "%u", backends.database.server.port);
    forms_set(WORD_REDIS, "%u", backends.redis.port);
    forms_set(WORD_NGINX, "%u", backends.nginx.port);
    forms_set(WORD_POSTGRESQL_SOCKET, "%s", backends.database_socket);
    forms_set(WORD_REDIS_SOCKET, "%s", backends.redis_socket);
    forms_set(WORD_NGINX_SOCKET, "%s", backends.nginx_socket);
    forms_set(WORD_ECHO, "%u", echo);
    forms_set(WORD_TAKEN, "%u", taken);
    forms_set(WORD_QUERYLOG, "%s", module_path("modules/querylog.so"));
    snprintf(database_port, sizeof(database_port), "%.8s", forms_get(WORD_DATABASE));
    snprintf(cache_port, sizeof(cache_port), "%.8s", forms_get(WORD_CACHE));
    snprintf(page, sizeof(page), "http://127.0.0.1:%.8s/page", forms_get(WORD_WEB));
    snprintf(pgbench, sizeof(pgbench), "%s/pgbench", backends.database.programs);
    snprintf(requests, sizeof(requests), "%zu", test_figures_count() ? (size_t)5000 : (size_t)500);
}

int main(void)
{
    const struct CMUnitTest tests[] = { fixture_test(nobody_notices) };
    int status = backends_start(&backends);

    if (status == 0) {
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        int taken = peer_listen("127.0.0.1", 0, 1);

        set_words(echo_port(echo), peer_port(taken));
        status = cmocka_run_group_tests_name("reload_load", tests, NULL, NULL);
        close(taken);
        echo_stop(echo);
    }
    backends_stop(&backends);
    return status;
}
