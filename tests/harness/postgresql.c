#include "harness/postgresql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

PGconn *postgresql_try_login(unsigned port, const char *password)
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

PGconn *postgresql_login(unsigned port)
{
    PGconn *connection = postgresql_try_login(port, DATABASE_PASSWORD);

    test_require(connection != NULL, "could not log in");
    return connection;
}

void postgresql_execute(PGconn *connection, const char *query, ExecStatusType expected)
{
    PGresult *result = PQexec(connection, query);

    test_require(PQresultStatus(result) == expected, "%s: %s", query, PQerrorMessage(connection));
    PQclear(result);
}

void postgresql_value(PGconn *connection, const char *query, char *value, size_t size)
{
    PGresult *result = PQexec(connection, query);

    test_require(PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1, "%s: %s", query,
                 PQerrorMessage(connection));
    snprintf(value, size, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
}

/* One line of the copied data; every line differs. */
static size_t make_line(char *line, size_t number)
{
    return (size_t)sprintf(line, "%zu\tline %zu with some text to make it longer, and %08zx\n", number,
                           number, number * 2654435761u % 4294967296u);
}

void postgresql_copy_in(PGconn *connection, size_t size, size_t *lines, uint64_t *hash)
{
    char line[128];

    postgresql_execute(connection, "COPY copied FROM STDIN", PGRES_COPY_IN);
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

void postgresql_copy_out(PGconn *connection, size_t *lines, uint64_t *hash)
{
    char *line;
    int length;

    postgresql_execute(connection, "COPY (SELECT * FROM copied ORDER BY number) TO STDOUT", PGRES_COPY_OUT);
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

void postgresql_run_pgbench(struct fixture *fixture, const char *const *arguments)
{
    static const char *const environment[] = { "PGPASSWORD=" DATABASE_PASSWORD,
                                               "PGOPTIONS=-c log_statement=all", NULL };
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

int postgresql_start(struct database *database)
{
    enum database_outcome outcome = database_start_postgresql(database);
    int64_t deadline = test_deadline(6 * TEST_PATIENCE);
    int status;

    if (outcome == DATABASE_NOT_INSTALLED) {
        puts("SKIPPED: the PostgreSQL server is not installed (Debian: postgresql)");
        return SERVER_SKIPPED;
    }
    while (outcome == DATABASE_RUNS && test_now() < deadline) {
        PGconn *connection = postgresql_try_login(database->server.port, DATABASE_PASSWORD);

        if (connection != NULL) {
            PQfinish(connection);
            return 0;
        }
        if (process_wait(database->server.process, 0, &status)) {
            database->server.process = 0;
            break;
        }
        test_pause();
    }
    puts("the PostgreSQL server does not start:");
    server_print_log(&database->server);
    return EXIT_FAILURE;
}
