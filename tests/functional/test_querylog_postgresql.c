/* The module querylog between PostgreSQL and its clients: what it logs, compared with the server's own log.
 */
#include "harness/fixture.h"
#include "harness/modules.h"
#include "harness/peer.h"
#include "harness/postgresql.h"
#include "harness/queries.h"
#include "harness/sysbench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct database database;

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

typedef void statement_taker(void *taker, int process, const char *kind, const char *statement);

/* "execute X: SELECT $1" and "$1 = '5', $2 = NULL" in a line of its own: "SELECT $1 -- '5', NULL". To be
 * freed. */
static char *join_parameters(const char *execution, const char *parameters)
{
    char *joined;
    size_t size;
    bool is_quoted = false;
    FILE *stream = open_memstream(&joined, &size);
    assert_non_null(stream);
    fprintf(stream, "%s%s", strstr(execution, ": ") + 2, parameters[0] != '\0' ? " -- " : "");
    while (*parameters != '\0') {
        if (*parameters == '$' && !is_quoted)
            parameters = strstr(parameters, " = ") + 3;
        is_quoted ^= *parameters == '\'';
        fputc(*parameters++, stream);
    }
    assert_int_equal(fclose(stream), 0);
    return joined;
}

/* What a line of the server's log says behind the number of its process, if it begins like that; else NULL.
 */
static char *said(char *line, const char *beginning)
{
    char *entry = line == NULL ? NULL : strchr(line, ' ');
    bool is_that = entry != NULL && strncmp(entry + 1, beginning, strlen(beginning)) == 0;
    return is_that ? entry + 1 + strlen(beginning) : NULL;
}

/* Shows each statement that the server has logged from byte `from` on. What one is executed with stands in
 * the next line. */
static void each_statement(size_t from, statement_taker *take, void *taker)
{
    size_t limit = 64 * 1024 * 1024;
    char *log = test_malloc(limit), *at;
    process_read_file(database.server.log, log, limit);
    char *line = strtok_r(log + from, "\n", &at);
    while (line != NULL) {
        char *next = strtok_r(NULL, "\n", &at);
        const char *statement = said(line, "LOG:  statement: "), *execution = said(line, "LOG:  execute ");
        const char *parameters = said(next, "DETAIL:  parameters: ");
        if (statement != NULL) {
            take(taker, atoi(line), "query", statement);
        } else if (execution != NULL) {
            char *joined = join_parameters(execution, parameters != NULL ? parameters : "");
            take(taker, atoi(line), "execute", joined);
            free(joined);
        }
        line = next;
    }
    test_free(log);
}

static void add_to_sessions(void *log, int process, const char *kind, const char *statement)
{
    query_log_add(log, (uint64_t)process, kind, statement);
}

/* One session's, a line each. */
struct one_session {
    int process;
    FILE *stream;
};

static void add_to_one(void *taker, int process, const char *kind, const char *statement)
{
    const struct one_session *session = taker;
    if (process == session->process)
        fprintf(session->stream, "%s %s\n", kind, statement);
}

static char *server_log(size_t from, int process)
{
    char *text = NULL;
    size_t size;
    struct one_session session = { process, open_memstream(&text, &size) };
    assert_non_null(session.stream);
    each_statement(from, add_to_one, &session);
    assert_int_equal(fclose(session.stream), 0);
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
    postgresql_execute(connection, "SET log_statement = 'all'", PGRES_COMMAND_OK);
    postgresql_execute(connection, "CREATE TEMPORARY TABLE logged (a int, b text)", PGRES_COMMAND_OK);
    postgresql_execute(connection, "INSERT INTO logged SELECT i, 'text ' || i FROM generate_series(1, 100) i",
                       PGRES_COMMAND_OK);
    postgresql_execute(connection, "SELECT 1; SELECT 2; SELECT a FROM logged", PGRES_TUPLES_OK);
    postgresql_execute(connection, "SELECT wrong FROM", PGRES_FATAL_ERROR);
    postgresql_execute(connection, "SELECT * FROM missing", PGRES_FATAL_ERROR);
    postgresql_execute(connection, "", PGRES_EMPTY_QUERY);
    use_statements(connection);
    use_pipeline(connection);
    postgresql_execute(connection, "CREATE TEMPORARY TABLE copied (number bigint, text text)",
                       PGRES_COMMAND_OK);
    postgresql_copy_in(connection, 100000, &lines, &hash);
    postgresql_copy_out(connection, &lines, &hash);
    postgresql_execute(connection, "DO $$ BEGIN RAISE NOTICE 'a notice'; END $$", PGRES_COMMAND_OK);
    postgresql_execute(connection, "SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i",
                       PGRES_TUPLES_OK);
    postgresql_execute(connection, "BEGIN", PGRES_COMMAND_OK);
    postgresql_execute(connection, "DECLARE c CURSOR FOR SELECT a FROM logged", PGRES_COMMAND_OK);
    postgresql_execute(connection, "FETCH 3 FROM c", PGRES_TUPLES_OK);
    postgresql_execute(connection, "COMMIT", PGRES_COMMAND_OK);
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
    PGconn *connection = postgresql_login(port);
    size_t from = server_log_size();
    PQsetNoticeProcessor(connection, ignore_notice, NULL);
    ask_everything(connection);
    int process = PQbackendPID(connection);
    PQfinish(connection);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "are not followed any more"), 0);
    char *lines = module_wait_lines(fixture, "queries", 1);
    assert_non_null(strstr(lines, "\"kind\":\"prepare\",\"query\":\"SELECT a FROM logged WHERE a >= $1\"}"));
    assert_non_null(strstr(lines, "WHERE a >= $1\",\"parameters\":\"'7'\"}"));
    assert_non_null(strstr(lines, "\"query\":\"SELECT wrong FROM\",\"error\":\"ERROR 42601: "));
    assert_non_null(strstr(lines, "\"query\":\"SELECT * FROM missing\",\"error\":\"ERROR 42P01: "));
    assert_non_null(strstr(lines, "\"query\":\"SELECT 1 / (12 - 12)\",\"error\":\"ERROR 22012: "));
    /* What the server does not log as a statement: what was turned on only then, what it could
     * not parse or plan (which it logs as an error), and what it has passed over. */
    module_drop_lines(lines, "SET log_statement");
    module_drop_lines(lines, "\"error\":\"ERROR 42601");
    module_drop_lines(lines, "FROM nowhere WHERE a = $1");
    module_drop_lines(lines, "\"error\":\"ERROR 22012");
    module_drop_lines(lines, "skipped after an error");
    char *ours = query_lines(lines, kinds, QUERY_APPENDED);
    char *theirs = server_log(from, process);
    assert_non_null(strstr(theirs, "query COMMIT\n"));
    expect_same_lines(ours, theirs);
    free(lines);
    free(ours);
    free(theirs);
}

/* The log of all sessions from byte `from` on. */
static struct query_log *server_sessions(size_t from)
{
    struct query_log *log = query_log_create();
    each_statement(from, add_to_sessions, log);
    return log;
}

static void expect_the_servers(struct fixture *fixture, size_t from, size_t lines, const char *what)
{
    static const char *const kinds[] = { "query", "execute", NULL };
    char path[FIXTURE_PATH];
    char *text = module_wait_lines(fixture, "queries", lines);
    struct query_log *ours = query_log_create(), *theirs = server_sessions(from);
    query_log_add_json(ours, text, kinds, QUERY_APPENDED);
    query_log_expect_same(ours, theirs);
    print_message("%zu queries are the server's: %s\n", query_log_count(ours), what);
    query_log_free(ours);
    query_log_free(theirs);
    free(text);
    assert_int_equal(unlink(fixture_path(fixture, "queries", path)), 0);
}

/* One value of each type that is known, in its binary format. */
static void ask_in_binary(PGconn *connection, bool says_types)
{
    static const char query[] = "SELECT $1::int, $2::bigint, $3::smallint, $4::float8, $5::float4, $6::bool,"
                                " $7::bytea, $8::text, $9::uuid, $10::oid, $11::int";
    static const Oid types[] = { 23, 20, 21, 701, 700, 16, 17, 25, 2950, 26, 23 };
    static const char *const values[] = { "\xff\xff\xff\xfe",
                                          "\1\0\0\0\0\0\0\2",
                                          "\x80\0",
                                          "\x3f\xd5\x55\x55\x55\x55\x55\x55",
                                          "\x3d\xcc\xcc\xcd",
                                          "\1",
                                          "\0'\xff",
                                          "it's",
                                          "\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78\x9a\xbc\xde\xf0",
                                          "\xff\xff\xff\xff",
                                          NULL };
    static const int lengths[] = { 4, 8, 2, 8, 4, 1, 3, 4, 16, 4, 0 };
    static const int formats[] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    PGresult *result =
        PQprepare(connection, says_types ? "said" : "asked", query, 11, says_types ? types : NULL);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    if (!says_types) {
        result = PQdescribePrepared(connection, "asked");
        assert_int_equal(PQparamtype(result, 3), 701);
        PQclear(result);
    }
    result = PQexecPrepared(connection, says_types ? "said" : "asked", 11, values, lengths, formats, 0);
    test_require(PQresultStatus(result) == PGRES_TUPLES_OK, "%s", PQerrorMessage(connection));
    PQclear(result);
}

/* What the client says itself of its types, and what it has asked the server for; text with quotes in it. */
static void values_are_logged_as_by_the_server(void **state)
{
    static const char *const values[] = { "it's", NULL, "$2 = '5', NULL" };
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    PGconn *admin = postgresql_login(database.server.port);
    postgresql_execute(admin, "ALTER ROLE " DATABASE_USER " SET log_statement = 'all'", PGRES_COMMAND_OK);
    struct proximux *proximux = start_logging(fixture, port);
    size_t from = server_log_size();
    PGconn *connection = postgresql_login(port);
    PGresult *result = PQexecParams(connection, "SELECT $1, $2, $3", 3, NULL, values, NULL, NULL, 0);
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    ask_in_binary(connection, true);
    ask_in_binary(connection, false);
    PQfinish(connection);
    postgresql_execute(admin, "ALTER ROLE " DATABASE_USER " RESET log_statement", PGRES_COMMAND_OK);
    PQfinish(admin);
    proximux_stop(proximux);
    expect_the_servers(fixture, from, 5, "values");
}

/* Many sessions at once, in each of pgbench's ways to ask. */
static void pgbench_is_logged_as_by_the_server(void **state)
{
    static const char *const modes[] = { "simple", "extended", "prepared" };
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char program[300], port_text[16], turns[16], name[32];
    size_t count = test_scaled(50, 5);
    snprintf(program, sizeof(program), "%s/pgbench", database.programs);
    snprintf(port_text, sizeof(port_text), "%u", database.server.port);
    postgresql_run_pgbench(fixture, (const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text, "-U",
                                                           DATABASE_USER, "-i", "-q", "postgres", NULL });
    snprintf(port_text, sizeof(port_text), "%u", port);
    snprintf(turns, sizeof(turns), "%zu", count);
    for (size_t i = 0; i < 3; i++) {
        struct proximux *proximux = start_logging(fixture, port);
        size_t from = server_log_size();
        postgresql_run_pgbench(fixture, (const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text,
                                                               "-U", DATABASE_USER, "-c", "8", "-t", turns,
                                                               "-n", "-M", modes[i], "postgres", NULL });
        proximux_stop(proximux);
        snprintf(name, sizeof(name), "pgbench %s", modes[i]);
        expect_the_servers(fixture, from, 8 * count * 7, name);
    }
}

/* The same with sysbench, with statements that it has prepared and without. */
static void sysbench_is_logged_as_by_the_server(void **state)
{
    static const char *const scripts[] = { "oltp_read_write", "oltp_read_only", "oltp_write_only" };
    static const char *const modes[] = { "auto", "disable" };
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char name[64];
    struct sysbench_options options = {
        .driver = "pgsql", .database = "postgres", .threads = 4, .events = test_scaled(200, 10)
    };
    if (!sysbench_is_installed()) {
        print_message("skipped: sysbench is not installed (Debian: sysbench)\n");
        skip();
    }
    for (size_t i = 0; i < 6; i++) {
        options.script = scripts[i / 2];
        options.prepared_mode = modes[i % 2];
        options.command = "prepare";
        options.port = database.server.port;
        sysbench_run(fixture, &options);
        struct proximux *proximux = start_logging(fixture, port);
        size_t from = server_log_size();
        options.command = "run";
        options.port = port;
        size_t queries = sysbench_run(fixture, &options);
        proximux_stop(proximux);
        assert_int_equal(proximux_log_count(proximux, "are not followed any more"), 0);
        snprintf(name, sizeof(name), "%s, statements %s", options.script, options.prepared_mode);
        expect_the_servers(fixture, from, queries, name);
        options.command = "cleanup";
        options.port = database.server.port;
        sysbench_run(fixture, &options);
    }
}

/* Encrypted on request: the session works, and nothing of it is seen. */
static void an_encrypted_session_is_silent(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char query[200], value[64], path[FIXTURE_PATH], text[500];
    PGconn *admin = postgresql_login(database.server.port), *connection;
    if (!database_make_certificate(&database)) {
        print_message("openssl is not installed (Debian: openssl)\n");
        PQfinish(admin);
        skip();
    }
    snprintf(query, sizeof(query), "ALTER SYSTEM SET ssl_cert_file = '%s/certificate.pem'",
             database.server.directory);
    postgresql_execute(admin, query, PGRES_COMMAND_OK);
    snprintf(query, sizeof(query), "ALTER SYSTEM SET ssl_key_file = '%s/key.pem'", database.server.directory);
    postgresql_execute(admin, query, PGRES_COMMAND_OK);
    postgresql_execute(admin, "ALTER SYSTEM SET ssl = on", PGRES_COMMAND_OK);
    postgresql_execute(admin, "SELECT pg_reload_conf()", PGRES_TUPLES_OK);
    PQfinish(admin);
    struct proximux *proximux = start_logging(fixture, port);
    snprintf(text, sizeof(text),
             "host=127.0.0.1 port=%u user=" DATABASE_USER " password='" DATABASE_PASSWORD "' dbname=postgres "
             "sslmode=require",
             port);
    test_wait_until((connection = PQconnectdb(text), PQstatus(connection) == CONNECTION_OK) ||
                    (PQfinish(connection), false));
    assert_int_equal(PQsslInUse(connection), 1);
    postgresql_value(connection, "SELECT 'secret'", value, sizeof(value));
    assert_string_equal(value, "secret");
    PQfinish(connection);
    proximux_wait_log(proximux, "are not followed any more: the session turns to TLS");
    proximux_stop(proximux);
    assert_int_equal(process_read_file(fixture_path(fixture, "queries", path), value, sizeof(value)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(the_log_of_queries_matches_the_servers),
        fixture_test(values_are_logged_as_by_the_server),
        fixture_test(pgbench_is_logged_as_by_the_server),
        fixture_test(sysbench_is_logged_as_by_the_server),
        fixture_test(an_encrypted_session_is_silent),
    };
    int status = postgresql_start(&database);

    if (status == 0)
        status = cmocka_run_group_tests_name("querylog_postgresql", tests, NULL, NULL);
    database_stop(&database);
    return status;
}
