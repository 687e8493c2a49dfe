/* A real MariaDB server behind the program, and its own client library in front of it. */
#include "harness/database.h"
#include "harness/fixture.h"
#include "harness/modules.h"
#include "harness/peer.h"

#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct database database;

/* One attempt to log in; NULL if it failed. */
static MYSQL *try_login(unsigned port, const char *password)
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

static MYSQL *login(unsigned port)
{
    MYSQL *connection = try_login(port, DATABASE_PASSWORD);

    test_require(connection != NULL, "could not log in");
    return connection;
}

static void execute(MYSQL *connection, const char *query)
{
    test_require(mysql_query(connection, query) == 0, "%s: %s", query, mysql_error(connection));
}

/* The one value that a query returns, as text. */
static void query_value(MYSQL *connection, const char *query, char *value, size_t size)
{
    execute(connection, query);
    MYSQL_RES *result = mysql_store_result(connection);
    test_require(result != NULL, "%s: %s", query, mysql_error(connection));
    MYSQL_ROW row = mysql_fetch_row(result);
    test_require(row != NULL && row[0] != NULL, "%s: no value", query);
    snprintf(value, size, "%s", row[0]);
    mysql_free_result(result);
}

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

    assert_null(try_login(port, "wrong"));
    MYSQL *connection = login(port);
    query_value(connection, "SELECT 6 * 7", value, sizeof(value));
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
    MYSQL *connection = login(port);
    char *blob = test_malloc(size), there[64], here[64], *query = test_malloc(2 * size + 64);
    unsigned seed = 1;

    for (size_t i = 0; i < size; i++)
        blob[i] = (char)rand_r(&seed);
    execute(connection, "CREATE OR REPLACE TABLE tests.blobs (number INT PRIMARY KEY, content LONGBLOB)");
    size_t length = (size_t)sprintf(query, "INSERT INTO tests.blobs VALUES (1, '");
    length += mysql_real_escape_string(connection, query + length, blob, size);
    memcpy(query + length, "')", 2);
    test_require(mysql_real_query(connection, query, length + 2) == 0, "%s", mysql_error(connection));
    query_value(connection, "SELECT CRC32(content) FROM tests.blobs", there, sizeof(there));
    execute(connection, "SELECT content, CRC32(content) FROM tests.blobs");
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
        connections[i] = login(port);
        snprintf(query, sizeof(query), "SET @mine = %zu", i);
        execute(connections[i], query);
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
    query_value(connections[0],
                "SELECT COUNT(*) FROM information_schema.processlist WHERE user = '" DATABASE_USER "'", value,
                sizeof(value));
    assert_string_equal(value, "50");
    for (size_t i = 0; i < CLIENTS; i++)
        mysql_close(connections[i]);
    proximux_stop(proximux);
}

static void killed_session_is_seen_by_its_client(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start(*state, port);
    MYSQL *victim = login(port), *killer = login(port);
    char query[64];

    assert_int_equal(mysql_send_query(victim, "SELECT SLEEP(600)", 17), 0);
    snprintf(query, sizeof(query), "KILL %lu", mysql_thread_id(victim));
    execute(killer, query);
    assert_int_not_equal(mysql_read_query_result(victim), 0);
    print_message("the client was told: %s\n", mysql_error(victim));
    assert_int_not_equal(mysql_ping(victim), 0);
    execute(killer, "DO 1");
    mysql_close(victim);
    mysql_close(killer);
    proximux_stop(proximux);
}

/* ---- The log of queries, compared with the server's own ---- */

static void execute_all(MYSQL *connection, const char *query)
{
    test_require(mysql_real_query(connection, query, strlen(query)) == 0, "%s: %s", query,
                 mysql_error(connection));
    do {
        MYSQL_RES *result = mysql_store_result(connection);
        if (result != NULL)
            mysql_free_result(result);
    } while (mysql_next_result(connection) == 0);
}

static void expect_failure(MYSQL *connection, const char *query)
{
    assert_int_not_equal(mysql_query(connection, query), 0);
}

/* Prepares once and executes several times, with parameters; by a cursor too, whose rows are fetched. */
static void use_statements(MYSQL *connection, size_t times)
{
    static const char query[] = "SELECT a, b FROM tests.logged WHERE a >= ? ORDER BY a";
    MYSQL_STMT *statement = mysql_stmt_init(connection);
    int from = 0;
    MYSQL_BIND parameter = { .buffer_type = MYSQL_TYPE_LONG, .buffer = &from };
    unsigned long cursor = CURSOR_TYPE_READ_ONLY, rows = 3;

    assert_int_equal(mysql_stmt_prepare(statement, query, strlen(query)), 0);
    assert_int_equal(mysql_stmt_bind_param(statement, &parameter), 0);
    for (size_t i = 0; i < times; i++) {
        from = (int)i;
        assert_int_equal(mysql_stmt_execute(statement), 0);
        assert_int_equal(mysql_stmt_store_result(statement), 0);
        mysql_stmt_free_result(statement);
    }
    mysql_stmt_attr_set(statement, STMT_ATTR_CURSOR_TYPE, &cursor);
    mysql_stmt_attr_set(statement, STMT_ATTR_PREFETCH_ROWS, &rows);
    from = 0;
    assert_int_equal(mysql_stmt_execute(statement), 0);
    while (mysql_stmt_fetch(statement) == 0)
        continue;
    mysql_stmt_close(statement);
    statement = mysql_stmt_init(connection);
    assert_int_not_equal(mysql_stmt_prepare(statement, "SELECT nothing FROM nowhere", 27), 0);
    mysql_stmt_close(statement);
}

static void load_file(struct fixture *fixture, MYSQL *connection)
{
    char path[FIXTURE_PATH], query[300], text[2000];
    size_t length = 0;
    for (int i = 1000; i < 1100; i++)
        length += (size_t)sprintf(text + length, "%d\tx%d\n", i, i);
    fixture_write(fixture, "data", text);
    snprintf(query, sizeof(query), "LOAD DATA LOCAL INFILE '%s' INTO TABLE tests.logged",
             fixture_path(fixture, "data", path));
    execute(connection, query);
    assert_int_equal(mysql_affected_rows(connection), 100);
}

static void ask_everything(struct fixture *fixture, MYSQL *connection)
{
    char query[200];
    execute(connection, "CREATE OR REPLACE TABLE tests.logged (a INT PRIMARY KEY, b VARCHAR(20))");
    for (size_t i = 0; i < 20; i++) {
        snprintf(query, sizeof(query), "INSERT INTO tests.logged VALUES (%zu, 'text %zu')", i, i);
        execute(connection, query);
    }
    execute_all(connection, "SELECT * FROM tests.logged");
    execute_all(connection,
                "SELECT 1; INSERT INTO tests.logged VALUES (500, NULL); SELECT * FROM tests.logged");
    expect_failure(connection, "SELECT wrong FROM");
    expect_failure(connection, "SELECT * FROM tests.missing");
    use_statements(connection, 5);
    load_file(fixture, connection);
    execute_all(connection, "SELECT REPEAT('0123456789', 1700000)"); /* a row of more than one packet */
    execute_all(connection, "SELECT seq, REPEAT('x', 100) FROM tests.seq_1_to_20000");
    assert_int_equal(mysql_change_user(connection, DATABASE_USER, DATABASE_PASSWORD, "tests"), 0);
    assert_int_equal(mysql_ping(connection), 0);
    execute_all(connection, "SELECT a FROM logged LIMIT 1");
    execute_all(connection, "SELECT 'the last one'");
}

/* Asks the server for its own log of one connection: "query TEXT", a line each, in their order. Each
 * statement of several at once has a line of its own there; so one that contains them stands for them in the
 * log of queries. */
static char *server_log(MYSQL *connection, unsigned long thread)
{
    char query[300];
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    snprintf(query, sizeof(query),
             "SELECT LOWER(command_type), argument FROM mysql.general_log WHERE thread_id = %lu"
             " AND command_type IN ('Query', 'Prepare', 'Execute')",
             thread);
    execute(connection, query);
    MYSQL_RES *result = mysql_store_result(connection);
    assert_non_null(result);
    for (MYSQL_ROW row; (row = mysql_fetch_row(result)) != NULL;)
        fprintf(stream, "%s %s\n", row[0], row[1]);
    mysql_free_result(result);
    assert_int_equal(fclose(stream), 0);
    return text;
}

/* Compares line by line. Parameters are filled in in the server's lines, and several statements at once are
 * single ones there. */
static void compare_logs(char *ours, char *theirs)
{
    char *ours_at, *theirs_at;
    char *mine = strtok_r(ours, "\n", &ours_at);
    for (char *line = strtok_r(theirs, "\n", &theirs_at); line != NULL;
         line = strtok_r(NULL, "\n", &theirs_at)) {
        test_require(mine != NULL, "the log of queries lacks: %s", line);
        char *question = strstr(mine, "?");
        bool is_execution = strncmp(mine, "execute ", 8) == 0 && question != NULL;
        size_t length = is_execution ? (size_t)(question - mine) : strlen(mine) + 1;
        if (strncmp(mine, line, length) == 0) {
            mine = strtok_r(NULL, "\n", &ours_at);
            continue;
        }
        test_require(strchr(mine, ';') != NULL && strncmp(mine, "query ", 6) == 0, "ours: %s\ntheirs: %s",
                     mine, line);
        char *all = strstr(mine, line + strlen("query "));
        test_require(all != NULL, "ours: %s\ntheirs: %s", mine, line);
        if (strchr(all, ';') == NULL)
            mine = strtok_r(NULL, "\n", &ours_at);
    }
    test_require(mine == NULL, "the server's log lacks: %s", mine);
}

static struct proximux *start_logging(struct fixture *fixture, unsigned port)
{
    return proximux_start(fixture,
                          "modules = ( { path = \"%s\"; output = \"%s/queries\"; format = \"json\"; } );"
                          "listeners = ( { name = \"mysql\"; listen = \"127.0.0.1:%u\"; protocol = \"mysql\";"
                          "targets = \"127.0.0.1:%u\"; } );",
                          module_path("modules/querylog.so"), fixture->directory, port, database.server.port);
}

static void the_log_of_queries_matches_the_servers(void **state)
{
    static const char *const kinds[] = { "query", "prepare", "execute", NULL };
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    MYSQL *admin = login(database.server.port);
    execute(admin, "SET GLOBAL log_output = 'TABLE'");
    execute(admin, "SET GLOBAL general_log = 1");
    struct proximux *proximux = start_logging(fixture, port);
    MYSQL *connection = mysql_init(NULL);
    assert_non_null(connection);
    unsigned local = 1;
    mysql_options(connection, MYSQL_OPT_LOCAL_INFILE, &local);
    test_require(mysql_real_connect(connection, "127.0.0.1", DATABASE_USER, DATABASE_PASSWORD, NULL, port,
                                    NULL, CLIENT_MULTI_STATEMENTS) != NULL,
                 "%s", mysql_error(connection));
    unsigned long thread = mysql_thread_id(connection);
    ask_everything(fixture, connection);
    mysql_close(connection);
    execute(admin, "SET GLOBAL general_log = 0");
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "are not followed any more"), 0);
    char *lines = module_wait_lines(fixture, "queries", 1);
    assert_non_null(strstr(lines, "\"query\":\"SELECT wrong FROM\",\"error\":\"1064 (42000): "));
    assert_non_null(strstr(lines, "\"query\":\"SELECT * FROM tests.missing\",\"error\":\"1146 (42S02): "));
    assert_null(strstr(lines, "target_closed"));
    assert_null(strstr(lines, "client_closed"));
    module_drop_lines(
        lines, "\"query\":\"SELECT nothing FROM nowhere\",\"error\""); /* the server logs it as an error */
    char *ours = module_queries(lines, kinds);
    char *theirs = server_log(admin, thread);
    assert_non_null(strstr(theirs, "query SELECT 'the last one'\n"));
    compare_logs(ours, theirs);
    free(lines);
    free(ours);
    free(theirs);
    mysql_close(admin);
}

/* Encrypted from the first login on: the session works, and nothing of it is seen. */
static void an_encrypted_session_is_silent(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char value[64], path[FIXTURE_PATH];
    my_bool yes = 1;
    if (!database.has_certificate) {
        print_message("openssl is not installed (Debian: openssl)\n");
        skip();
    }
    struct proximux *proximux = start_logging(fixture, port);
    MYSQL *connection = mysql_init(NULL);
    assert_non_null(connection);
    mysql_optionsv(connection, MYSQL_OPT_SSL_ENFORCE, &yes);
    test_require(mysql_real_connect(connection, "127.0.0.1", DATABASE_USER, DATABASE_PASSWORD, NULL, port,
                                    NULL, 0) != NULL,
                 "%s", mysql_error(connection));
    assert_non_null(mysql_get_ssl_cipher(connection));
    query_value(connection, "SELECT 'secret'", value, sizeof(value));
    assert_string_equal(value, "secret");
    mysql_close(connection);
    proximux_wait_log(proximux, "are not followed any more: the session turns to TLS");
    proximux_stop(proximux);
    assert_int_equal(process_read_file(fixture_path(fixture, "queries", path), value, sizeof(value)), 0);
}

/* Starts the server and waits until it answers. */
static int start_server(void)
{
    enum database_outcome outcome = database_start_mariadb(&database);
    int64_t deadline = test_deadline(6 * TEST_PATIENCE);
    int status;

    if (outcome == DATABASE_NOT_INSTALLED) {
        puts("SKIPPED: the MariaDB server is not installed (Debian: mariadb-server)");
        return SERVER_SKIPPED;
    }
    while (outcome == DATABASE_RUNS && test_now() < deadline) {
        MYSQL *connection = try_login(database.server.port, DATABASE_PASSWORD);

        if (connection != NULL) {
            mysql_close(connection);
            return 0;
        }
        if (process_wait(database.server.process, 0, &status)) {
            database.server.process = 0;
            break;
        }
        test_pause();
    }
    puts("the MariaDB server does not start:");
    server_print_log(&database.server);
    return EXIT_FAILURE;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(login_with_password),
        fixture_test(large_blob_there_and_back),
        fixture_test(fifty_clients_at_once),
        fixture_test(killed_session_is_seen_by_its_client),
        fixture_test(the_log_of_queries_matches_the_servers),
        fixture_test(an_encrypted_session_is_silent),
    };
    int status = start_server();

    if (status == 0)
        status = cmocka_run_group_tests_name("mariadb", tests, NULL, NULL);
    database_stop(&database);
    mysql_library_end();
    return status;
}
