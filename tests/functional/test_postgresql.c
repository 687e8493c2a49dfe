/* A real PostgreSQL server behind the program; its own client library and tools in front of it. */
#include "harness/database.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct database database;

/* One attempt to log in; NULL if it failed. */
static PGconn *try_login(unsigned port, const char *password)
{
    char port_text[16], timeout[16];
    const char *const keys[] = { "host", "port", "user", "password", "dbname", "connect_timeout", NULL };
    const char *const values[] = {
        "127.0.0.1", port_text, DATABASE_USER, password, "postgres", timeout, NULL
    };

    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(timeout, sizeof(timeout), "%d", (int)(test_deadline(TEST_PATIENCE) - test_now()) / 1000);
    PGconn *connection = PQconnectdbParams(keys, values, 0);
    if (PQstatus(connection) != CONNECTION_OK) {
        PQfinish(connection);
        return NULL;
    }
    return connection;
}

static PGconn *login(unsigned port)
{
    PGconn *connection = try_login(port, DATABASE_PASSWORD);

    test_require(connection != NULL, "could not log in");
    return connection;
}

static void execute(PGconn *connection, const char *query, ExecStatusType expected)
{
    PGresult *result = PQexec(connection, query);

    test_require(PQresultStatus(result) == expected, "%s: %s", query, PQerrorMessage(connection));
    PQclear(result);
}

/* The one value that a query returns, as text. */
static void query_value(PGconn *connection, const char *query, char *value, size_t size)
{
    PGresult *result = PQexec(connection, query);

    test_require(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1, "%s: %s", query,
                 PQerrorMessage(connection));
    snprintf(value, size, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
}

static struct proximux *start(struct fixture *fixture, unsigned port)
{
    return proximux_start_between(fixture, port, database.server.port, "");
}

/* Waits until the server has sent something. */
static void wait_for_server(const PGconn *connection)
{
    struct pollfd watched = { .fd = PQsocket(connection), .events = POLLIN };

    test_require(poll(&watched, 1, test_remaining(test_deadline(TEST_PATIENCE))) == 1,
                 "the server is silent");
}

static void login_with_password(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    char value[64];

    assert_null(try_login(port, "wrong"));
    PGconn *connection = login(port);
    query_value(connection, "SELECT 6 * 7", value, sizeof(value));
    assert_string_equal(value, "42");
    PQfinish(connection);
    proximux_stop(proximux);
}

/* One line of the copied data; every line differs. */
static size_t make_line(char *line, size_t number)
{
    return (size_t)sprintf(line, "%zu\tline %zu with some text to make it longer, and %08zx\n", number,
                           number, number * 2654435761u % 4294967296u);
}

static void copy_in(PGconn *connection, size_t size, size_t *lines, uint64_t *hash)
{
    char line[128];

    execute(connection, "COPY copied FROM STDIN", PGRES_COPY_IN);
    for (size_t sent = 0; sent < size; (*lines)++) {
        size_t length = make_line(line, *lines);

        for (size_t i = 0; i < length; i++)
            *hash = (*hash ^ (unsigned char)line[i]) * 1099511628211u;
        test_require(PQputCopyData(connection, line, (int)length) == 1, "%s", PQerrorMessage(connection));
        sent += length;
    }
    test_require(PQputCopyEnd(connection, NULL) == 1, "%s", PQerrorMessage(connection));
    PGresult *result = PQgetResult(connection);
    test_require(PQresultStatus(result) == PGRES_COMMAND_OK, "%s", PQerrorMessage(connection));
    PQclear(result);
    assert_null(PQgetResult(connection));
}

static void copy_out(PGconn *connection, size_t *lines, uint64_t *hash)
{
    char *line;
    int length;

    execute(connection, "COPY (SELECT * FROM copied ORDER BY number) TO STDOUT", PGRES_COPY_OUT);
    while ((length = PQgetCopyData(connection, &line, 0)) > 0) {
        for (int i = 0; i < length; i++)
            *hash = (*hash ^ (unsigned char)line[i]) * 1099511628211u;
        PQfreemem(line);
        (*lines)++;
    }
    assert_int_equal(length, -1);
    PGresult *result = PQgetResult(connection);
    test_require(PQresultStatus(result) == PGRES_COMMAND_OK, "%s", PQerrorMessage(connection));
    PQclear(result);
    assert_null(PQgetResult(connection));
}

/* 50 MB in and out again, with a checksum over all bytes, and the server's own over what it got. */
static void copy_there_and_back(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    PGconn *connection = login(port), *direct = login(database.server.port);
    size_t sent = 0, received = 0;
    uint64_t hash_sent = 14695981039346656037u, hash_received = 14695981039346656037u;
    char through[64], beside[64];
    static const char *const checksum =
        "SELECT md5(string_agg(md5(number || text), '' ORDER BY number)) FROM copied";

    execute(connection, "CREATE UNLOGGED TABLE copied (number bigint, text text)", PGRES_COMMAND_OK);
    copy_in(connection, test_scaled(50 * 1000 * 1000, 1000 * 1000), &sent, &hash_sent);
    copy_out(connection, &received, &hash_received);
    assert_int_equal(sent, received);
    test_require(hash_sent == hash_received, "the data came back changed");
    query_value(connection, checksum, through, sizeof(through));
    query_value(direct, checksum, beside, sizeof(beside));
    assert_string_equal(through, beside);
    execute(connection, "DROP TABLE copied", PGRES_COMMAND_OK);
    PQfinish(connection);
    PQfinish(direct);
    proximux_stop(proximux);
}

/* The server speaks unasked. */
static void listen_and_notify(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    PGconn *listener = login(port), *notifier = login(port);
    PGnotify *notification;

    execute(listener, "LISTEN news", PGRES_COMMAND_OK);
    for (size_t i = 0; i < 3; i++) {
        execute(notifier, "NOTIFY news, 'it works'", PGRES_COMMAND_OK);
        do {
            wait_for_server(listener);
            test_require(PQconsumeInput(listener) == 1, "%s", PQerrorMessage(listener));
        } while ((notification = PQnotifies(listener)) == NULL);
        assert_string_equal(notification->relname, "news");
        assert_string_equal(notification->extra, "it works");
        PQfreemem(notification);
    }
    PQfinish(listener);
    PQfinish(notifier);
    proximux_stop(proximux);
}

/* Goes over a connection of its own, which the server closes without a word. */
static void cancel_request(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    PGconn *connection = login(port);
    char error[256], value[64];

    assert_int_equal(PQsendQuery(connection, "SELECT pg_sleep(600)"), 1);
    PGcancel *cancel = PQgetCancel(connection);
    assert_non_null(cancel);
    /* The server forgets a request to cancel what it has not begun yet. */
    struct pollfd watched = { .fd = PQsocket(connection), .events = POLLIN };
    for (int64_t deadline = test_deadline(TEST_PATIENCE); poll(&watched, 1, 100) == 0;) {
        test_require(test_now() < deadline, "the server goes on");
        test_require(PQcancel(cancel, error, sizeof(error)) == 1, "%s", error);
    }
    PQfreeCancel(cancel);
    PGresult *result = PQgetResult(connection);
    test_require(strstr(PQresultErrorMessage(result), "cancel") != NULL, "%s", PQresultErrorMessage(result));
    PQclear(result);
    assert_null(PQgetResult(connection));
    query_value(connection, "SELECT 'alive'", value, sizeof(value));
    assert_string_equal(value, "alive");
    PQfinish(connection);
    proximux_stop(proximux);
}

static void run_pgbench(struct fixture *fixture, const char *const *arguments)
{
    static const char *const environment[] = { "PGPASSWORD=" DATABASE_PASSWORD, NULL };
    static char output[16384];
    char path[FIXTURE_PATH];
    int status = process_run(&(struct process_options){ .arguments = arguments,
                                                        .environment = environment,
                                                        .output = fixture_path(fixture, "pgbench", path) },
                             6 * TEST_PATIENCE, output, sizeof(output));

    test_require(status == 0, "pgbench ended with status %d: %s", status, output);
    test_require(strstr(output, "number of failed transactions: 0 ") != NULL ||
                     strstr(output, "done in") != NULL,
                 "pgbench: %s", output);
}

/* Many short transactions, over lasting connections and over a new one for each. */
static void benchmark(void **state)
{
    unsigned port = peer_free_port();
    char program[300], port_text[16], turns[16];

    snprintf(program, sizeof(program), "%s/pgbench", database.programs);
    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(turns, sizeof(turns), "%zu", test_scaled(50, 5));
    struct proximux *proximux = start(*state, port);
    run_pgbench(*state, (const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text, "-U",
                                               DATABASE_USER, "-i", "-q", "postgres", NULL });
    run_pgbench(*state,
                (const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text, "-U", DATABASE_USER, "-c",
                                       "8", "-t", turns, "-n", "postgres", NULL });
    run_pgbench(*state,
                (const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text, "-U", DATABASE_USER, "-c",
                                       "8", "-t", turns, "-n", "-C", "-S", "postgres", NULL });
    proximux_stop(proximux);
    test_require(proximux_log_count(proximux, "ended: ") > 8 * test_scaled(50, 5),
                 "pgbench did not go through the program");
}

/* Starts the server and waits until it answers. */
static int start_server(void)
{
    enum database_outcome outcome = database_start_postgresql(&database);
    int64_t deadline = test_deadline(6 * TEST_PATIENCE);
    int status;

    if (outcome == DATABASE_NOT_INSTALLED) {
        puts("SKIPPED: the PostgreSQL server is not installed (Debian: postgresql)");
        return SERVER_SKIPPED;
    }
    while (outcome == DATABASE_RUNS && test_now() < deadline) {
        PGconn *connection = try_login(database.server.port, DATABASE_PASSWORD);

        if (connection != NULL) {
            PQfinish(connection);
            return 0;
        }
        if (process_wait(database.server.process, 0, &status)) {
            database.server.process = 0;
            break;
        }
        test_pause();
    }
    puts("the PostgreSQL server does not start:");
    server_print_log(&database.server);
    return EXIT_FAILURE;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(login_with_password), fixture_test(copy_there_and_back), fixture_test(listen_and_notify),
        fixture_test(cancel_request),      fixture_test(benchmark),
    };
    int status = start_server();

    if (status == 0)
        status = cmocka_run_group_tests_name("postgresql", tests, NULL, NULL);
    database_stop(&database);
    return status;
}
