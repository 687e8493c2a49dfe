/* A real PostgreSQL server behind the program; its own client library and tools in front of it. */
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/postgresql.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct database database;

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

    assert_null(postgresql_try_login(port, "wrong"));
    PGconn *connection = postgresql_login(port);
    postgresql_value(connection, "SELECT 6 * 7", value, sizeof(value));
    assert_string_equal(value, "42");
    PQfinish(connection);
    proximux_stop(proximux);
}

/* 50 MB in and out again, with a checksum over all bytes, and the server's own over what it got. */
static void copy_there_and_back(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    PGconn *connection = postgresql_login(port), *direct = postgresql_login(database.server.port);
    size_t sent = 0, received = 0;
    uint64_t hash_sent = 14695981039346656037u, hash_received = 14695981039346656037u;
    char through[64], beside[64];
    static const char *const checksum =
        "SELECT md5(string_agg(md5(number || text), '' ORDER BY number)) FROM copied";

    postgresql_execute(connection, "CREATE UNLOGGED TABLE copied (number bigint, text text)",
                       PGRES_COMMAND_OK);
    postgresql_copy_in(connection, test_scaled(50 * 1000 * 1000, 1000 * 1000), &sent, &hash_sent);
    postgresql_copy_out(connection, &received, &hash_received);
    assert_int_equal(sent, received);
    test_require(hash_sent == hash_received, "the data came back changed");
    postgresql_value(connection, checksum, through, sizeof(through));
    postgresql_value(direct, checksum, beside, sizeof(beside));
    assert_string_equal(through, beside);
    postgresql_execute(connection, "DROP TABLE copied", PGRES_COMMAND_OK);
    PQfinish(connection);
    PQfinish(direct);
    proximux_stop(proximux);
}

/* The server speaks unasked. */
static void listen_and_notify(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    PGconn *listener = postgresql_login(port), *notifier = postgresql_login(port);
    PGnotify *notification;

    postgresql_execute(listener, "LISTEN news", PGRES_COMMAND_OK);
    for (size_t i = 0; i < 3; i++) {
        postgresql_execute(notifier, "NOTIFY news, 'it works'", PGRES_COMMAND_OK);
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
    PGconn *connection = postgresql_login(port);
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
    postgresql_value(connection, "SELECT 'alive'", value, sizeof(value));
    assert_string_equal(value, "alive");
    PQfinish(connection);
    proximux_stop(proximux);
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
    postgresql_run_pgbench(*state, (const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text, "-U",
                                                          DATABASE_USER, "-i", "-q", "postgres", NULL });
    postgresql_run_pgbench(*state, (const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text, "-U",
                                                          DATABASE_USER, "-c", "8", "-t", turns, "-n",
                                                          "postgres", NULL });
    postgresql_run_pgbench(*state, (const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text, "-U",
                                                          DATABASE_USER, "-c", "8", "-t", turns, "-n", "-C",
                                                          "-S", "postgres", NULL });
    proximux_stop(proximux);
    test_require(proximux_log_count(proximux, "ended: ") > 8 * test_scaled(50, 5),
                 "pgbench did not go through the program");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(login_with_password), fixture_test(copy_there_and_back), fixture_test(listen_and_notify),
        fixture_test(cancel_request),      fixture_test(benchmark),
    };
    int status = postgresql_start(&database);

    if (status == 0)
        status = cmocka_run_group_tests_name("postgresql", tests, NULL, NULL);
    database_stop(&database);
    return status;
}
