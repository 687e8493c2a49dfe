/* A real PostgreSQL server behind the program; its own client library and tools in front of it. */
#include "harness/database.h"
#include "harness/fixture.h"
#include "harness/modules.h"
#include "harness/peer.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- The log of queries, compared with the server's own ---- */

static struct proximux *start_logging(struct fixture *fixture, unsigned port)
{
    return proximux_start(
        fixture,
        "modules = ( { path = \"%s\"; output = \"%s/queries\"; format = \"json\"; max_length = 8192; } );"
        "listeners = ( { name = \"pg\"; listen = \"127.0.0.1:%u\"; protocol = \"postgresql\";"
        "targets = \"127.0.0.1:%u\"; } );",
        module_path("modules/querylog.so"), fixture->directory, port, database.server.port);
}

/* What the server has logged from byte `from` on: "query TEXT" and "execute TEXT", a line each; of one
 * process, or of all (0). */
static char *server_log(size_t from, int process)
{
    static const char statement[] = "LOG:  statement: ", execution[] = "LOG:  execute ";
    size_t limit = 32 * 1024 * 1024, size;
    char *log = test_malloc(limit), *text = NULL, *at;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    process_read_file(database.server.log, log, limit);
    for (char *line = strtok_r(log + from, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at)) {
        char *entry = strchr(line, ' ');
        if (entry == NULL || (process != 0 && atoi(line) != process))
            continue;
        entry++;
        if (strncmp(entry, statement, strlen(statement)) == 0)
            fprintf(stream, "query %s\n", entry + strlen(statement));
        else if (strncmp(entry, execution, strlen(execution)) == 0)
            fprintf(stream, "execute %s\n", strstr(entry + strlen(execution), ": ") + 2);
    }
    assert_int_equal(fclose(stream), 0);
    test_free(log);
    return text;
}

static size_t server_log_size(void)
{
    size_t limit = 32 * 1024 * 1024;
    char *log = test_malloc(limit);
    size_t size = process_read_file(database.server.log, log, limit);
    test_free(log);
    return size;
}

static void ignore_notice(void *data, const char *message)
{
    (void)data;
    (void)message;
}

static void use_statements(PGconn *connection)
{
    const char *const values[] = { "7" };
    PGresult *result = PQprepare(connection, "named", "SELECT a FROM logged WHERE a >= $1", 1, NULL);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    for (size_t i = 0; i < 5; i++) {
        result = PQexecPrepared(connection, "named", 1, values, NULL, NULL, 0);
        assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
        PQclear(result);
    }
    for (size_t i = 0; i < 5; i++) {
        result = PQexecParams(connection, "SELECT b FROM logged WHERE a = $1::int", 1, NULL, values, NULL,
                              NULL, 0);
        assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
        PQclear(result);
    }
    result =
        PQexecParams(connection, "SELECT wrong FROM nowhere WHERE a = $1", 1, NULL, values, NULL, NULL, 0);
    assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
    PQclear(result);
}

/* Twenty queries on their way at once, one of which fails: those behind it are skipped, up to the next Sync.
 */
static void use_pipeline(PGconn *connection)
{
    char query[100];
    assert_int_equal(PQenterPipelineMode(connection), 1);
    for (size_t i = 0; i < 20; i++) {
        snprintf(query, sizeof(query), i == 12 ? "SELECT 1 / (%zu - 12)" : "SELECT %zu", i);
        assert_int_equal(PQsendQueryParams(connection, query, 0, NULL, NULL, NULL, NULL, 0), 1);
        if (i == 9)
            assert_int_equal(PQpipelineSync(connection), 1);
    }
    assert_int_equal(PQpipelineSync(connection), 1);
    for (size_t syncs = 0; syncs < 2;) {
        PGresult *result = PQgetResult(connection);
        syncs += result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC ? 1 : 0;
        PQclear(result);
    }
    assert_int_equal(PQexitPipelineMode(connection), 1);
}

static void ask_everything(PGconn *connection)
{
    size_t lines = 0;
    uint64_t hash = 0;
    execute(connection, "SET log_statement = 'all'", PGRES_COMMAND_OK);
    execute(connection, "CREATE TEMPORARY TABLE logged (a int, b text)", PGRES_COMMAND_OK);
    execute(connection, "INSERT INTO logged SELECT i, 'text ' || i FROM generate_series(1, 100) i",
            PGRES_COMMAND_OK);
    execute(connection, "SELECT 1; SELECT 2; SELECT a FROM logged", PGRES_TUPLES_OK);
    execute(connection, "SELECT wrong FROM", PGRES_FATAL_ERROR);
    execute(connection, "SELECT * FROM missing", PGRES_FATAL_ERROR);
    execute(connection, "", PGRES_EMPTY_QUERY);
    use_statements(connection);
    use_pipeline(connection);
    execute(connection, "CREATE TEMPORARY TABLE copied (number bigint, text text)", PGRES_COMMAND_OK);
    copy_in(connection, 100000, &lines, &hash);
    copy_out(connection, &lines, &hash);
    execute(connection, "DO $$ BEGIN RAISE NOTICE 'a notice'; END $$", PGRES_COMMAND_OK);
    execute(connection, "SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i", PGRES_TUPLES_OK);
    execute(connection, "BEGIN", PGRES_COMMAND_OK);
    execute(connection, "DECLARE c CURSOR FOR SELECT a FROM logged", PGRES_COMMAND_OK);
    execute(connection, "FETCH 3 FROM c", PGRES_TUPLES_OK);
    execute(connection, "COMMIT", PGRES_COMMAND_OK);
}

/* Both texts are cut up. */
static void expect_same_lines(char *ours, char *theirs)
{
    char *our_at, *their_at;
    char *mine = strtok_r(ours, "\n", &our_at), *line = strtok_r(theirs, "\n", &their_at);
    while (mine != NULL && line != NULL) {
        assert_string_equal(mine, line);
        mine = strtok_r(NULL, "\n", &our_at);
        line = strtok_r(NULL, "\n", &their_at);
    }
    test_require(mine == NULL && line == NULL, "too many: %s", mine != NULL ? mine : line);
}

static void the_log_of_queries_matches_the_servers(void **state)
{
    static const char *const kinds[] = { "query", "execute", NULL };
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    struct proximux *proximux = start_logging(fixture, port);
    PGconn *connection = login(port);
    size_t from = server_log_size();
    PQsetNoticeProcessor(connection, ignore_notice, NULL);
    ask_everything(connection);
    int process = PQbackendPID(connection);
    PQfinish(connection);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "are not followed any more"), 0);
    char *lines = module_wait_lines(fixture, "queries", 1);
    assert_non_null(strstr(lines, "\"kind\":\"prepare\",\"query\":\"SELECT a FROM logged WHERE a >= $1\"}"));
    assert_non_null(strstr(lines, "\"query\":\"SELECT wrong FROM\",\"error\":\"ERROR 42601: "));
    assert_non_null(strstr(lines, "\"query\":\"SELECT * FROM missing\",\"error\":\"ERROR 42P01: "));
    assert_non_null(strstr(lines, "\"query\":\"SELECT 1 / (12 - 12)\",\"error\":\"ERROR 22012: "));
    /* What the server does not log as a statement: what was turned on only then, what it could
     * not parse or plan (which it logs as an error), and what it has passed over. */
    module_drop_lines(lines, "SET log_statement");
    module_drop_lines(lines, "\"error\":\"ERROR 42601");
    module_drop_lines(lines, "WHERE a = $1\",\"error\":\"ERROR 42P01");
    module_drop_lines(lines, "\"error\":\"ERROR 22012");
    module_drop_lines(lines, "skipped after an error");
    char *ours = module_queries(lines, kinds);
    char *theirs = server_log(from, process);
    assert_non_null(strstr(theirs, "query COMMIT\n"));
    expect_same_lines(ours, theirs);
    free(lines);
    free(ours);
    free(theirs);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of a text, sorted; `count` of them. The text is cut up. */
static char **sorted_lines(char *text, size_t *count)
{
    size_t room = 16;
    char *at, **lines = malloc(room * sizeof(char *));
    assert_non_null(lines);
    *count = 0;
    for (char *line = strtok_r(text, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at)) {
        if (*count == room) {
            room *= 2;
            char **grown = realloc(lines, room * sizeof(char *));
            assert_non_null(grown);
            lines = grown;
        }
        lines[(*count)++] = line;
    }
    qsort(lines, *count, sizeof(char *), compare_lines);
    return lines;
}

/* Many sessions at once, in each of pgbench's ways to ask. */
static void the_log_of_many_sessions_matches_the_servers(void **state)
{
    static const char *const kinds[] = { "query", "execute", NULL };
    static const char *const modes[] = { "simple", "extended", "prepared" };
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char program[300], port_text[16], turns[16], path[FIXTURE_PATH];
    snprintf(program, sizeof(program), "%s/pgbench", database.programs);
    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(turns, sizeof(turns), "%zu", test_scaled(50, 5));
    for (size_t i = 0; i < 3; i++) {
        struct proximux *proximux = start_logging(fixture, port);
        size_t from = server_log_size(), our_count, their_count;
        run_pgbench(fixture,
                    (const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text, "-U", DATABASE_USER,
                                           "-c", "8", "-t", turns, "-n", "-M", modes[i], "postgres", NULL });
        proximux_stop(proximux);
        char *lines = module_wait_lines(fixture, "queries", 8 * test_scaled(50, 5) * 7);
        char *ours = module_queries(lines, kinds), *theirs = server_log(from, 0);
        char **our_lines = sorted_lines(ours, &our_count), **their_lines = sorted_lines(theirs, &their_count);
        for (size_t k = 0; k < our_count && k < their_count; k++)
            assert_string_equal(our_lines[k], their_lines[k]);
        assert_int_equal(our_count, their_count);
        print_message("%s: %zu queries are the server's\n", modes[i], our_count);
        free(our_lines);
        free(their_lines);
        free(ours);
        free(theirs);
        free(lines);
        assert_int_equal(unlink(fixture_path(fixture, "queries", path)), 0);
    }
}

/* Encrypted on request: the session works, and nothing of it is seen. */
static void an_encrypted_session_is_silent(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char query[200], value[64], path[FIXTURE_PATH], text[500];
    PGconn *admin = login(database.server.port), *connection;
    if (!database_make_certificate(&database)) {
        print_message("openssl is not installed (Debian: openssl)\n");
        PQfinish(admin);
        skip();
    }
    snprintf(query, sizeof(query), "ALTER SYSTEM SET ssl_cert_file = '%s/certificate.pem'",
             database.server.directory);
    execute(admin, query, PGRES_COMMAND_OK);
    snprintf(query, sizeof(query), "ALTER SYSTEM SET ssl_key_file = '%s/key.pem'", database.server.directory);
    execute(admin, query, PGRES_COMMAND_OK);
    execute(admin, "ALTER SYSTEM SET ssl = on", PGRES_COMMAND_OK);
    execute(admin, "SELECT pg_reload_conf()", PGRES_TUPLES_OK);
    PQfinish(admin);
    struct proximux *proximux = start_logging(fixture, port);
    snprintf(text, sizeof(text),
             "host=127.0.0.1 port=%u user=" DATABASE_USER " password='" DATABASE_PASSWORD "' dbname=postgres "
             "sslmode=require",
             port);
    test_wait_until((connection = PQconnectdb(text), PQstatus(connection) == CONNECTION_OK) ||
                    (PQfinish(connection), false));
    assert_int_equal(PQsslInUse(connection), 1);
    query_value(connection, "SELECT 'secret'", value, sizeof(value));
    assert_string_equal(value, "secret");
    PQfinish(connection);
    proximux_wait_log(proximux, "are not followed any more: the session turns to TLS");
    proximux_stop(proximux);
    assert_int_equal(process_read_file(fixture_path(fixture, "queries", path), value, sizeof(value)), 0);
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
        fixture_test(login_with_password),
        fixture_test(copy_there_and_back),
        fixture_test(listen_and_notify),
        fixture_test(cancel_request),
        fixture_test(benchmark),
        fixture_test(the_log_of_queries_matches_the_servers),
        fixture_test(the_log_of_many_sessions_matches_the_servers),
        fixture_test(an_encrypted_session_is_silent),
    };
    int status = start_server();

    if (status == 0)
        status = cmocka_run_group_tests_name("postgresql", tests, NULL, NULL);
    database_stop(&database);
    return status;
}
