/* The module querylog between MariaDB and its clients: what it logs, compared with the server's own log. */
#include "harness/fixture.h"
#include "harness/mariadb.h"
#include "harness/modules.h"
#include "harness/peer.h"
#include "harness/queries.h"
#include "harness/sysbench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct database database;

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
    mariadb_execute(connection, query);
    assert_int_equal(mysql_affected_rows(connection), 100);
}

static void ask_everything(struct fixture *fixture, MYSQL *connection)
{
    char query[200];
    mariadb_execute(connection, "CREATE OR REPLACE TABLE tests.logged (a INT PRIMARY KEY, b VARCHAR(20))");
    for (size_t i = 0; i < 20; i++) {
        snprintf(query, sizeof(query), "INSERT INTO tests.logged VALUES (%zu, 'text %zu')", i, i);
        mariadb_execute(connection, query);
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
    mariadb_execute(connection, query);
    MYSQL_RES *result = mysql_store_result(connection);
    assert_non_null(result);
    for (MYSQL_ROW row; (row = mysql_fetch_row(result)) != NULL;)
        fprintf(stream, "%s %s\n", row[0], row[1]);
    mysql_free_result(result);
    assert_int_equal(fclose(stream), 0);
    return text;
}

/* Compares line by line. Several statements at once are single ones in the server's log. */
static void compare_logs(char *ours, char *theirs)
{
    char *ours_at, *theirs_at;
    char *mine = strtok_r(ours, "\n", &ours_at);
    for (char *line = strtok_r(theirs, "\n", &theirs_at); line != NULL;
         line = strtok_r(NULL, "\n", &theirs_at)) {
        test_require(mine != NULL, "the log of queries lacks: %s", line);
        if (strcmp(mine, line) == 0) {
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

/* The server begins to log what it is asked; returns who ends that. */
static MYSQL *begin_server_log(void)
{
    MYSQL *admin = mariadb_login(database.server.port);
    mariadb_execute(admin, "SET GLOBAL log_output = 'TABLE'");
    mariadb_execute(admin, "SET GLOBAL general_log = 1");
    return admin;
}

/* Compares our lines of one session with the server's log of it. */
static void compare_session(MYSQL *admin, unsigned long thread, const char *lines)
{
    static const char *const kinds[] = { "query", "prepare", "execute", NULL };
    char *ours = query_lines(lines, kinds, QUERY_FILLED_IN);
    char *theirs = server_log(admin, thread);
    compare_logs(ours, theirs);
    free(ours);
    free(theirs);
}

static void the_log_of_queries_matches_the_servers(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    MYSQL *admin = begin_server_log();
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
    mariadb_execute(admin, "SET GLOBAL general_log = 0");
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "are not followed any more"), 0);
    char *lines = module_wait_lines(fixture, "queries", 1);
    assert_non_null(strstr(lines, "\"query\":\"SELECT wrong FROM\",\"error\":\"1064 (42000): "));
    assert_non_null(strstr(lines, "\"query\":\"SELECT * FROM tests.missing\",\"error\":\"1146 (42S02): "));
    assert_null(strstr(lines, "target_closed"));
    assert_null(strstr(lines, "client_closed"));
    module_drop_lines(
        lines, "\"query\":\"SELECT nothing FROM nowhere\",\"error\""); /* the server logs it as an error */
    assert_non_null(strstr(lines, "\"query\":\"SELECT 'the last one'\""));
    compare_session(admin, thread, lines);
    free(lines);
    mysql_close(admin);
}

/* ---- Values ---- */

static void execute_statement(MYSQL_STMT *statement)
{
    test_require(mysql_stmt_execute(statement) == 0, "%s", mysql_stmt_error(statement));
    mysql_stmt_free_result(statement);
}

/* Strings, with what has to be escaped; a decimal is one of them to the client. */
static void ask_with_strings(MYSQL *connection)
{
    static const char query[] = "SELECT ?, ?, ?, ?, ?";
    char text[] = "it's a \"text\",\n\\ (5, NULL), \x1a, ?", decimal[] = "-12.50";
    unsigned long text_length = sizeof(text) - 1, decimal_length = sizeof(decimal) - 1, none = 0;
    char null = 1;
    MYSQL_BIND values[] = {
        { .buffer_type = MYSQL_TYPE_STRING, .buffer = text, .length = &text_length },
        { .buffer_type = MYSQL_TYPE_BLOB, .buffer = text, .length = &text_length },
        { .buffer_type = MYSQL_TYPE_NEWDECIMAL, .buffer = decimal, .length = &decimal_length },
        { .buffer_type = MYSQL_TYPE_VAR_STRING, .buffer = text, .length = &none },
        { .buffer_type = MYSQL_TYPE_STRING, .buffer = text, .length = &text_length, .is_null = &null },
    };
    MYSQL_STMT *statement = mysql_stmt_init(connection);
    assert_int_equal(mysql_stmt_prepare(statement, query, strlen(query)), 0);
    assert_int_equal(mysql_stmt_bind_param(statement, values), 0);
    execute_statement(statement);
    null = 0;
    execute_statement(statement);
    /* sent before, in pieces */
    assert_int_equal(mysql_stmt_send_long_data(statement, 1, "a long ", 7), 0);
    assert_int_equal(mysql_stmt_send_long_data(statement, 1, "value", 5), 0);
    execute_statement(statement);
    execute_statement(statement);
    mysql_stmt_close(statement);
}

static void ask_with_numbers(MYSQL *connection)
{
    static const char query[] = "SELECT ?, ?, ?, ?, ?, ?, ?, ?";
    signed char tiny = -128;
    unsigned char unsigned_tiny = 255;
    short small = -32768;
    int number = INT32_MIN;
    long long big = INT64_MIN;
    unsigned long long unsigned_big = UINT64_MAX;
    float single = 0.1F;
    double real = 1.0 / 3.0;
    MYSQL_BIND values[] = {
        { .buffer_type = MYSQL_TYPE_TINY, .buffer = &tiny },
        { .buffer_type = MYSQL_TYPE_TINY, .buffer = &unsigned_tiny, .is_unsigned = 1 },
        { .buffer_type = MYSQL_TYPE_SHORT, .buffer = &small },
        { .buffer_type = MYSQL_TYPE_LONG, .buffer = &number },
        { .buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &big },
        { .buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &unsigned_big, .is_unsigned = 1 },
        { .buffer_type = MYSQL_TYPE_FLOAT, .buffer = &single },
        { .buffer_type = MYSQL_TYPE_DOUBLE, .buffer = &real },
    };
    MYSQL_STMT *statement = mysql_stmt_init(connection);
    assert_int_equal(mysql_stmt_prepare(statement, query, strlen(query)), 0);
    assert_int_equal(mysql_stmt_bind_param(statement, values), 0);
    execute_statement(statement);
    real = -2.5e-20;
    execute_statement(statement);
    mysql_stmt_close(statement);
}

static void ask_with_times(MYSQL *connection)
{
    static const char query[] = "SELECT ?, ?, ?, ?";
    MYSQL_TIME time = { .year = 2024, .month = 2, .day = 29, .hour = 13, .minute = 4, .second = 5 };
    MYSQL_TIME span = { .day = 2, .hour = 1, .minute = 2, .second = 3, .neg = 1 };
    MYSQL_BIND values[] = {
        { .buffer_type = MYSQL_TYPE_DATE, .buffer = &time },
        { .buffer_type = MYSQL_TYPE_DATETIME, .buffer = &time },
        { .buffer_type = MYSQL_TYPE_TIMESTAMP, .buffer = &time },
        { .buffer_type = MYSQL_TYPE_TIME, .buffer = &span },
    };
    MYSQL_STMT *statement = mysql_stmt_init(connection);
    assert_int_equal(mysql_stmt_prepare(statement, query, strlen(query)), 0);
    assert_int_equal(mysql_stmt_bind_param(statement, values), 0);
    execute_statement(statement);
    time.second_part = 120000;
    execute_statement(statement);
    mysql_stmt_close(statement);
}

/* Prepared and executed in one go, and many sets of values in one command: both of MariaDB alone. */
static void ask_at_once(MYSQL *connection)
{
    static const char query[] = "INSERT INTO tests.sets VALUES (?, ?)";
    enum { SETS = 3 };
    int numbers[SETS] = { 1, 2, 3 };
    char texts[SETS][8] = { "one", "", "it's 3" };
    char *pointers[SETS] = { texts[0], texts[1], texts[2] };
    unsigned long lengths[SETS] = { 3, 0, 6 };
    char indicators[SETS] = { STMT_INDICATOR_NONE, STMT_INDICATOR_NULL, STMT_INDICATOR_NONE };
    unsigned sets = SETS;
    MYSQL_BIND values[] = {
        { .buffer_type = MYSQL_TYPE_LONG, .buffer = numbers },
        { .buffer_type = MYSQL_TYPE_STRING,
          .buffer = pointers,
          .length = lengths,
          .u.indicator = indicators },
    };
    mariadb_execute(connection, "CREATE OR REPLACE TABLE tests.sets (a INT, b VARCHAR(20))");
    MYSQL_STMT *statement = mysql_stmt_init(connection);
    assert_int_equal(mysql_stmt_prepare(statement, query, strlen(query)), 0);
    mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &sets);
    assert_int_equal(mysql_stmt_bind_param(statement, values), 0);
    execute_statement(statement);
    mysql_stmt_close(statement);
    statement = mysql_stmt_init(connection);
    assert_int_equal(mariadb_stmt_execute_direct(statement, "DELETE FROM tests.sets", 22), 0);
    mysql_stmt_close(statement);
}

static void values_are_logged_as_by_the_server(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    MYSQL *admin = begin_server_log();
    struct proximux *proximux = start_logging(fixture, port);
    MYSQL *connection = mariadb_login(port);
    unsigned long thread = mysql_thread_id(connection);
    ask_with_strings(connection);
    ask_with_numbers(connection);
    ask_with_times(connection);
    ask_at_once(connection);
    mysql_close(connection);
    mariadb_execute(admin, "SET GLOBAL general_log = 0");
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "are not followed any more"), 0);
    char *text = module_wait_lines(fixture, "queries", 1);
    assert_non_null(strstr(text, "\"parameters\":\"(1, 'one'), (2, NULL), (3, 'it''s 3')\"}"));
    compare_session(admin, thread, text);
    free(text);
    mysql_close(admin);
}

/* In text, with little room; and where they must not be seen. */
static void values_can_be_cut_and_hidden(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    const char *querylog = module_path("modules/querylog.so");
    struct proximux *proximux =
        proximux_start(fixture,
                       "modules = ( { path = \"%s\"; output = \"%s/text\"; max_length = 20; },"
                       "{ path = \"%s\"; output = \"%s/hidden\"; redact = true; },"
                       "{ path = \"%s\"; output = \"%s/hidden.json\"; redact = true; format = \"json\"; } );"
                       "listeners = ( { name = \"mysql\"; listen = \"127.0.0.1:%u\"; protocol = \"mysql\";"
                       "targets = \"127.0.0.1:%u\"; } );",
                       querylog, fixture->directory, querylog, fixture->directory, querylog,
                       fixture->directory, port, database.server.port);
    MYSQL *connection = mariadb_login(port);
    MYSQL_STMT *statement = mysql_stmt_init(connection);
    char text[] = "a SECRET\n";
    int number = 47110815;
    unsigned long length = sizeof(text) - 1;
    MYSQL_BIND values[] = { { .buffer_type = MYSQL_TYPE_STRING, .buffer = text, .length = &length },
                            { .buffer_type = MYSQL_TYPE_LONG, .buffer = &number } };
    assert_int_equal(mysql_stmt_prepare(statement, "SELECT ?, ?", 11), 0);
    assert_int_equal(mysql_stmt_bind_param(statement, values), 0);
    execute_statement(statement);
    mysql_stmt_close(statement);
    mysql_close(connection);
    proximux_stop(proximux);
    char *cut = module_wait_lines(fixture, "text", 2);
    assert_non_null(strstr(cut, "ok: execute SELECT ?, ? -- ['a SECRET\\n', 4711081...]\n"));
    char *hidden = module_wait_lines(fixture, "hidden", 2);
    assert_non_null(strstr(hidden, "ok: execute SELECT ?, ?\n"));
    char *json = module_wait_lines(fixture, "hidden.json", 2);
    assert_non_null(strstr(json, "\"kind\":\"execute\",\"query\":\"SELECT ?, ?\"}\n"));
    free(cut);
    free(hidden);
    free(json);
}

/* ---- sysbench ---- */

/* The server's own log of what all but one connection have asked. */
static struct query_log *server_sessions(MYSQL *connection)
{
    char query[300];
    struct query_log *log = query_log_create();
    snprintf(query, sizeof(query),
             "SELECT LOWER(command_type), argument, thread_id FROM mysql.general_log WHERE thread_id <> %lu"
             " AND command_type IN ('Query', 'Prepare', 'Execute')",
             mysql_thread_id(connection));
    mariadb_execute(connection, query);
    MYSQL_RES *result = mysql_store_result(connection);
    assert_non_null(result);
    for (MYSQL_ROW row; (row = mysql_fetch_row(result)) != NULL;)
        query_log_add(log, strtoull(row[2], NULL, 10), row[0], row[1]);
    mysql_free_result(result);
    return log;
}

/* Runs it through the program, with the server's log of just that time. Returns the queries that it has
 * performed, as it says. */
static size_t run_logged(struct fixture *fixture, MYSQL *admin, struct sysbench_options *options)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = start_logging(fixture, port);
    mariadb_execute(admin, "TRUNCATE mysql.general_log");
    mariadb_execute(admin, "SET GLOBAL general_log = 1");
    options->command = "run";
    options->port = port;
    size_t queries = sysbench_run(fixture, options);
    mariadb_execute(admin, "SET GLOBAL general_log = 0");
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "are not followed any more"), 0);
    return queries;
}

static void compare_run(struct fixture *fixture, MYSQL *admin, struct sysbench_options *options)
{
    static const char *const kinds[] = { "query", "prepare", "execute", NULL };
    char path[FIXTURE_PATH];
    size_t queries = run_logged(fixture, admin, options);
    char *text = module_wait_lines(fixture, "queries", queries);
    struct query_log *ours = query_log_create(), *theirs = server_sessions(admin);
    query_log_add_json(ours, text, kinds, QUERY_FILLED_IN);
    query_log_expect_same(ours, theirs);
    test_require(query_log_count(ours) >= queries, "%zu of %zu queries are logged", query_log_count(ours),
                 queries);
    print_message("%zu queries are the server's: %s, statements %s\n", query_log_count(ours), options->script,
                  options->prepared_mode);
    query_log_free(ours);
    query_log_free(theirs);
    free(text);
    assert_int_equal(unlink(fixture_path(fixture, "queries", path)), 0);
}

/* Several sessions at once; each is the server's, query for query and value for value, with statements that
 * are prepared and without. */
static void sysbench_is_logged_as_by_the_server(void **state)
{
    static const char *const scripts[] = { "oltp_read_write", "oltp_read_only", "oltp_write_only" };
    static const char *const modes[] = { "auto", "disable" };
    struct fixture *fixture = *state;
    struct sysbench_options options = {
        .driver = "mysql", .database = "tests", .threads = 4, .events = test_scaled(200, 10)
    };
    if (!sysbench_is_installed()) {
        print_message("skipped: sysbench is not installed (Debian: sysbench)\n");
        skip();
    }
    MYSQL *admin = mariadb_login(database.server.port);
    mariadb_execute(admin, "SET GLOBAL log_output = 'TABLE'");
    for (size_t i = 0; i < 6; i++) {
        options.script = scripts[i / 2];
        options.prepared_mode = modes[i % 2];
        options.command = "prepare";
        options.port = database.server.port;
        sysbench_run(fixture, &options);
        compare_run(fixture, admin, &options);
        options.command = "cleanup";
        options.port = database.server.port;
        sysbench_run(fixture, &options);
    }
    mysql_close(admin);
}

/* Encrypted from the first mariadb_login on: the session works, and nothing of it is seen. */
static void an_encrypted_session_is_silent(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char value[64], path[FIXTURE_PATH];
    my_bool yes = 1;
    if (!database.has_certificate) {
        print_message("skipped: openssl is not installed (Debian: openssl)\n");
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
    mariadb_value(connection, "SELECT 'secret'", value, sizeof(value));
    assert_string_equal(value, "secret");
    mysql_close(connection);
    proximux_wait_log(proximux, "are not followed any more: the session turns to TLS");
    proximux_stop(proximux);
    assert_int_equal(process_read_file(fixture_path(fixture, "queries", path), value, sizeof(value)), 0);
}

/* ---- The shipped example ---- */

/* Puts another text in the place of one that must be there; `text` takes `size` bytes. */
static void replace(char *text, size_t size, const char *old, const char *new)
{
    char *at = strstr(text, old);
    test_require(at != NULL, "the example does not say %s", old);
    size_t length = strlen(text), old_length = strlen(old), new_length = strlen(new);
    assert_true(length - old_length + new_length < size);
    memmove(at + new_length, at + old_length, length - old_length - (size_t)(at - text) + 1);
    memcpy(at, new, new_length);
}

/* etc/examples/mariadb.conf, with this server for its first target, shows connections, blocked addresses,
 * queries, and how long these took; the second target refuses. */
static void the_example_shows_what_it_says(void **state)
{
    struct fixture *fixture = *state;
    const char *source = getenv("srcdir");
    unsigned port = peer_free_port();
    char path[512], text[4096], address[64], queries[FIXTURE_PATH];

    snprintf(path, sizeof(path), "%s/etc/examples/mariadb.conf", source != NULL ? source : ".");
    assert_true(process_read_file(path, text, sizeof(text)) > 0);
    replace(text, sizeof(text), "path = \"querylog.so\"", "path = \"MODULE\"");
    replace(text, sizeof(text), "MODULE", module_path("modules/querylog.so"));
    replace(text, sizeof(text), "/var/log/proximux/queries.log", fixture_path(fixture, "queries", queries));
    snprintf(address, sizeof(address), "\"127.0.0.1:%u\"", port);
    replace(text, sizeof(text), "\"localhost:3307\"", address);
    snprintf(address, sizeof(address), "127.0.0.1:%u", database.server.port);
    replace(text, sizeof(text), "db1.example.org:3306", address);
    replace(text, sizeof(text), "db2.example.org:3306", "127.0.0.1:9");
    replace(text, sizeof(text), "203.0.113.7", "127.0.0.2");
    struct proximux *proximux = proximux_start_with(
        fixture, (&(struct proximux_options){ .configuration = text, .own_log_level = true }));

    MYSQL *connection = mariadb_login(port);
    execute_all(connection, "SELECT SLEEP(0.2)");
    int blocked = peer_connect_from("127.0.0.2", "127.0.0.1", port);
    peer_expect_closed(blocked);
    close(blocked);
    proximux_wait_log(proximux, "mariadb: client 127.0.0.2");
    proximux_wait_log(proximux, "refused: blocked");
    mysql_close(connection);
    proximux_wait_log(proximux, "mariadb: session 1 from 127.0.0.1:");
    proximux_stop(proximux);
    char *lines = module_wait_lines(fixture, "queries", 1);
    char *query = strstr(lines, "SELECT SLEEP(0.2)");
    assert_non_null(query);
    *query = '\0';
    char *line = strrchr(lines, '\n'); /* "... > TARGET 200.511 ms, waited 0.000 ms, ..." */
    char *took = strstr(line != NULL ? line : lines, address);
    assert_non_null(took);
    double milliseconds = strtod(took + strlen(address), NULL);
    test_require(milliseconds >= 200 && milliseconds < 10000, "it took %.3f ms", milliseconds);
    free(lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(the_log_of_queries_matches_the_servers),
        fixture_test(values_are_logged_as_by_the_server),
        fixture_test(values_can_be_cut_and_hidden),
        fixture_test(sysbench_is_logged_as_by_the_server),
        fixture_test(an_encrypted_session_is_silent),
        fixture_test(the_example_shows_what_it_says),
    };
    int status = mariadb_start(&database);

    if (status == 0)
        status = cmocka_run_group_tests_name("querylog_mariadb", tests, NULL, NULL);
    database_stop(&database);
    mysql_library_end();
    return status;
}
