/* A real MariaDB server behind the program, and its own client library in front of it. */
#include "harness/fixture.h"
#include "harness/mariadb.h"
#include "harness/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct database database;

static struct proximux *start(struct fixture *fixture, unsigned port)
{
    return proximux_start(
        fixture,
        "listeners = ( { name = \"mysql\"; listen = \"127.0.0.1:%u\"; max_connections = 200;"
        "targets = ( { address = \"127.0.0.1:%u\"; keep_alive = true; } ); } );",
        port, database.server.port);
}

static void login_with_password(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    char value[64];

    assert_null(mariadb_try_login(port, "wrong"));
    MYSQL *connection = mariadb_login(port);
    mariadb_value(connection, "SELECT 6 * 7", value, sizeof(value));
    assert_string_equal(value, "42");
    mysql_close(connection);
    proximux_stop(proximux);
}

/* A 16 MiB blob there and back; both sides compute its checksum. */
static void large_blob_there_and_back(void **state)
{
    unsigned port = peer_free_port();
    size_t size = test_scaled(16 * 1024 * 1024, 1024 * 1024);
    struct proximux *proximux = start(*state, port);
    MYSQL *connection = mariadb_login(port);
    char *blob = test_malloc(size), there[64], here[64], *query = test_malloc(2 * size + 64);
    unsigned seed = 1;

    for (size_t i = 0; i < size; i++)
        blob[i] = (char)rand_r(&seed);
    mariadb_execute(connection,
                    "CREATE OR REPLACE TABLE tests.blobs (number INT PRIMARY KEY, content LONGBLOB)");
    size_t length = (size_t)sprintf(query, "INSERT INTO tests.blobs VALUES (1, '");
    length += mysql_real_escape_string(connection, query + length, blob, size);
    memcpy(query + length, "')", 2);
    test_require(mysql_real_query(connection, query, length + 2) == 0, "%s", mysql_error(connection));
    mariadb_value(connection, "SELECT CRC32(content) FROM tests.blobs", there, sizeof(there));
    mariadb_execute(connection, "SELECT content, CRC32(content) FROM tests.blobs");
    MYSQL_RES *result = mysql_store_result(connection);
    assert_non_null(result);
    MYSQL_ROW row = mysql_fetch_row(result);
    assert_non_null(row);
    assert_int_equal(mysql_fetch_lengths(result)[0], size);
    test_require(memcmp(row[0], blob, size) == 0, "the blob came back changed");
    snprintf(here, sizeof(here), "%s", row[1]);
    assert_string_equal(here, there);
    mysql_free_result(result);
    mysql_close(connection);
    test_free(blob);
    test_free(query);
    proximux_stop(proximux);
}

static void fifty_clients_at_once(void **state)
{
    enum { CLIENTS = 50 };
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    MYSQL *connections[CLIENTS];
    char query[64], value[64], expected[64];

    for (size_t i = 0; i < CLIENTS; i++) {
        connections[i] = mariadb_login(port);
        snprintf(query, sizeof(query), "SET @mine = %zu", i);
        mariadb_execute(connections[i], query);
    }
    for (size_t i = 0; i < CLIENTS; i++) { /* all ask before any of them looks at its answer */
        snprintf(query, sizeof(query), "SELECT @mine * 1000 + %zu", i);
        assert_int_equal(mysql_send_query(connections[i], query, strlen(query)), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(mysql_read_query_result(connections[i]), 0);
        MYSQL_RES *result = mysql_store_result(connections[i]);
        assert_non_null(result);
        MYSQL_ROW row = mysql_fetch_row(result);
        assert_non_null(row);
        snprintf(expected, sizeof(expected), "%zu", i * 1001);
        assert_string_equal(row[0], expected);
        mysql_free_result(result);
    }
    mariadb_value(connections[0],
                  "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '" DATABASE_USER "'",
                  value, sizeof(value));
    assert_string_equal(value, "50");
    for (size_t i = 0; i < CLIENTS; i++)
        mysql_close(connections[i]);
    proximux_stop(proximux);
}

static void killed_session_is_seen_by_its_client(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    MYSQL *victim = mariadb_login(port), *killer = mariadb_login(port);
    char query[64];

    assert_int_equal(mysql_send_query(victim, "SELECT SLEEP(600)", 17), 0);
    snprintf(query, sizeof(query), "KILL %lu", mysql_thread_id(victim));
    mariadb_execute(killer, query);
    assert_int_not_equal(mysql_read_query_result(victim), 0);
    print_message("the client was told: %s\n", mysql_error(victim));
    assert_int_not_equal(mysql_ping(victim), 0);
    mariadb_execute(killer, "DO 1");
    mysql_close(victim);
    mysql_close(killer);
    proximux_stop(proximux);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(login_with_password),
        fixture_test(large_blob_there_and_back),
        fixture_test(fifty_clients_at_once),
        fixture_test(killed_session_is_seen_by_its_client),
    };
    int status = mariadb_start(&database);

    if (status == 0)
        status = cmocka_run_group_tests_name("mariadb", tests, NULL, NULL);
    database_stop(&database);
    mysql_library_end();
    return status;
}
