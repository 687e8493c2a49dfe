#include "harness/mariadb.h"

#include <stdio.h>
#include <stdlib.h>

MYSQL *mariadb_try_login(unsigned port, const char *password)
{
    MYSQL *connection = mysql_init(NULL);
    unsigned timeout = (unsigned)(test_deadline(TEST_PATIENCE) - test_now()) / 1000;

    assert_non_null(connection);
    mysql_options(connection, MYSQL_OPT_CONNECT_TIMEOUT, &timeout);
    mysql_options(connection, MYSQL_OPT_READ_TIMEOUT, &timeout);
    mysql_options(connection, MYSQL_OPT_WRITE_TIMEOUT, &timeout);
    if (mysql_real_connect(connection, "127.0.0.1", DATABASE_USER, password, NULL, port, NULL, 0) == NULL) {
        mysql_close(connection);
        return NULL;
    }
    return connection;
}

MYSQL *mariadb_login(unsigned port)
{
    MYSQL *connection = mariadb_try_login(port, DATABASE_PASSWORD);

    test_require(connection != NULL, "could not log in");
    return connection;
}

void mariadb_execute(MYSQL *connection, const char *query)
{
    test_require(mysql_query(connection, query) == 0, "%s: %s", query, mysql_error(connection));
}

void mariadb_value(MYSQL *connection, const char *query, char *value, size_t size)
{
    mariadb_execute(connection, query);
    MYSQL_RES *result = mysql_store_result(connection);
    test_require(result != NULL, "%s: %s", query, mysql_error(connection));
    MYSQL_ROW row = mysql_fetch_row(result);
    test_require(row != NULL && row[0] != NULL, "%s: no value", query);
    snprintf(value, size, "%s", row[0]);
    mysql_free_result(result);
}

int mariadb_start(struct database *database)
{
    enum database_outcome outcome = database_start_mariadb(database);
    int64_t deadline = test_deadline(6 * TEST_PATIENCE);
    int status;

    if (outcome == DATABASE_NOT_INSTALLED) {
        puts("SKIPPED: the MariaDB server is not installed (Debian: mariadb-server)");
        return SERVER_SKIPPED;
    }
    while (outcome == DATABASE_RUNS && test_now() < deadline) {
        MYSQL *connection = mariadb_try_login(database->server.port, DATABASE_PASSWORD);

        if (connection != NULL) {
            mysql_close(connection);
            return 0;
        }
        if (process_wait(database->server.process, 0, &status)) {
            database->server.process = 0;
            break;
        }
        test_pause();
    }
    puts("the MariaDB server does not start:");
    server_print_log(&database->server);
    return EXIT_FAILURE;
}
