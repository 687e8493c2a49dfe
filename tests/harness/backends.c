#include "harness/backends.h"

#include "harness/peer.h"
#include "harness/web.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where its owner asks, so that it does not count as a session of the other databases. */
#define OWN_DATABASE "template1"

const char *const backends_environment[] = { "PGPASSWORD=" DATABASE_PASSWORD, NULL };

char backends_large_byte(size_t position)
{
    return (char)('!' + (position ^ position >> 8 ^ position >> 16) % 90);
}

/* ---- PostgreSQL ---- */

/* Runs one of its tools with what every one needs; false if it ends otherwise than with status 0. */
static bool run_database_tool(const struct backends *backends, const char *name, const char *const *arguments,
                              char *output, size_t size)
{
    char program[300], port[16], path[128];
    const char *all[24] = { program, "-h", "127.0.0.1", "-p", port, "-U", DATABASE_USER };
    size_t count = 7;

    snprintf(program, sizeof(program), "%s/%s", backends->database.programs, name);
    snprintf(port, sizeof(port), "%u", backends->database.server.port);
    snprintf(path, sizeof(path), "%s/tool", backends->database.server.directory);
    while (*arguments != NULL && count < sizeof(all) / sizeof(all[0]) - 1)
        all[count++] = *arguments++;
    return process_run(&(struct process_options){ .arguments = all,
                                                  .environment = backends_environment,
                                                  .output = path },
                       6 * TEST_PATIENCE, output, size) == 0;
}

static bool query(const struct backends *backends, const char *text, char *answer, size_t size)
{
    const char *const arguments[] = { "-AtXq", "-c", text, OWN_DATABASE, NULL };
    bool success = run_database_tool(backends, "psql", arguments, answer, size);

    size_t length = strlen(answer);

    if (length > 0 && answer[length - 1] == '\n')
        answer[length - 1] = '\0';
    return success;
}

void backends_query_at(const struct backends *backends, const char *text, char *answer, size_t size,
                       struct place place)
{
    if (!query(backends, text, answer, size))
        test_fail_at(place, "%s: %s", text, answer);
}

static bool start_database(struct backends *backends)
{
    static const char *const fill[] = { "-i", "-q", BACKENDS_STAYS, NULL };
    char output[4096] = "";
    int64_t deadline = test_deadline(6 * TEST_PATIENCE);
    int status;

    snprintf(backends->database_socket, sizeof(backends->database_socket), "%.60s/.s.PGSQL.%u",
             backends->database.server.directory, backends->database.server.port);
    while (!query(backends, "SELECT 1", output, sizeof(output))) {
        if (test_now() >= deadline || process_wait(backends->database.server.process, 0, &status)) {
            print_error("PostgreSQL does not start: %s\n", output);
            server_print_log(&backends->database.server);
            return false;
        }
        test_pause();
    }
    if (query(backends, "CREATE DATABASE " BACKENDS_STAYS, output, sizeof(output)) &&
        run_database_tool(backends, "pgbench", fill, output, sizeof(output)) &&
        query(backends, "CREATE DATABASE " BACKENDS_VISITS " TEMPLATE " BACKENDS_STAYS, output,
              sizeof(output)))
        return true;
    print_error("PostgreSQL could not be filled: %s\n", output);
    return false;
}

long backends_sessions_at(const struct backends *backends, const char *name, struct place place)
{
    char text[512], answer[256];
    int64_t deadline = test_deadline(TEST_PATIENCE);
    long sessions, abandoned, fatal, killed;

    /* what a session has counted is added when it ends */
    snprintf(text, sizeof(text), "SELECT count(*) FROM pg_stat_activity WHERE datname = '%s'", name);
    do
        backends_query_at(backends, text, answer, sizeof(answer), place);
    while (strcmp(answer, "0") != 0 && test_now() < deadline);
    snprintf(text, sizeof(text),
             "SELECT sessions, sessions_abandoned, sessions_fatal, sessions_killed "
             "FROM pg_stat_database WHERE datname = '%s'",
             name);
    backends_query_at(backends, text, answer, sizeof(answer), place);
    if (sscanf(answer, "%ld|%ld|%ld|%ld", &sessions, &abandoned, &fatal, &killed) != 4 || abandoned != 0 ||
        fatal != 0 || killed != 0)
        test_fail_at(place, "PostgreSQL says of its sessions (all, abandoned, fatal, killed): %s", answer);
    return sessions;
}

/* ---- Redis ---- */

static bool start_redis(struct backends *backends, const char *program)
{
    struct server *redis = &backends->redis;
    char port[16];

    if (!server_prepare(redis))
        return false;
    snprintf(port, sizeof(port), "%u", redis->port);
    snprintf(backends->redis_socket, sizeof(backends->redis_socket), "%s/socket", redis->directory);
    const char *const arguments[] = { program,
                                      "--bind",
                                      "127.0.0.1",
                                      "--port",
                                      port,
                                      "--save",
                                      "",
                                      "--dir",
                                      redis->directory,
                                      "--unixsocket",
                                      backends->redis_socket,
                                      "--unixsocketperm",
                                      "777",
                                      NULL };
    return server_start(redis, arguments) && server_wait(redis);
}

void backends_redis_connections_at(const struct backends *backends, char *text, size_t size,
                                   struct place place)
{
    static char list[65536];
    size_t length = 0;
    int client = peer_connect_at(NULL, "127.0.0.1", backends->redis.port, place);

    /* the list comes in the order of the ids; the socket that asks is the last of those that are there */
    peer_send_at(client, "CLIENT LIST\r\n", 13, place);
    do
        peer_receive_at(client, list + length, 1, place);
    while (list[length++] != '\n' && length < 20);
    size_t bytes = strtoul(list + 1, NULL, 10);
    if (list[0] != '$' || bytes >= sizeof(list))
        test_fail_at(place, "Redis answers: %.20s", list);
    peer_receive_at(client, list, bytes, place);
    list[bytes] = '\0';
    close(client);
    text[0] = '\0';
    length = 0;
    for (char *line = strtok(list, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (strstr(line, " addr=127.0.0.1:") != NULL && strstr(line, "cmd=client|list") == NULL &&
            length < size)
            length += (size_t)snprintf(text + length, size - length, "%.*s ", (int)strcspn(line, " "), line);
}

/* ---- nginx ---- */

static bool write_large_file(const struct server *nginx)
{
    char path[128];
    bool written = true;

    snprintf(path, sizeof(path), "%s/www/large", nginx->directory);
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return false;
    for (size_t i = 0; i < BACKENDS_LARGE_SIZE; i++)
        written = putc_unlocked(backends_large_byte(i), file) != EOF && written;
    return fclose(file) == 0 && written && chmod(path, 0644) == 0;
}

/* It must never be nginx that ends a connection: so no limit of requests. */
static bool start_nginx(struct backends *backends, const char *program)
{
    static char configuration[4096];
    struct server *nginx = &backends->nginx;
    char path[128], prefix[80];

    if (!server_prepare(nginx))
        return false;
    const char *directory = nginx->directory;
    snprintf(backends->nginx_socket, sizeof(backends->nginx_socket), "%s/socket", directory);
    snprintf(configuration, sizeof(configuration),
             "daemon off; master_process off; pid %s/pid; error_log %s/error.log;\n"
             "events { worker_connections 256; }\n"
             "http {\n"
             "  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; keepalive_time 10h;\n"
             "  client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;\n"
             "  uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
             "  server {\n"
             "    listen 127.0.0.1:%u; listen unix:%s; root %s/www;\n"
             "    location = /status { stub_status; }\n"
             "  }\n"
             "}\n",
             directory, directory, directory, directory, directory, directory, directory, nginx->port,
             backends->nginx_socket, directory);
    snprintf(path, sizeof(path), "%s/www", directory);
    if (mkdir(path, 0777) == -1 || chmod(path, 0777) == -1 ||
        !server_write_file(nginx, "www/page", BACKENDS_PAGE) || !write_large_file(nginx) ||
        !server_write_file(nginx, "nginx.conf", configuration))
        return false;
    snprintf(path, sizeof(path), "%s/nginx.conf", directory);
    snprintf(prefix, sizeof(prefix), "%s/", directory);
    const char *const arguments[] = { program, "-p", prefix, "-c", path, NULL };
    return server_start(nginx, arguments) && server_wait(nginx);
}

long backends_nginx_accepted_at(const struct backends *backends, struct place place)
{
    static const char label[] = "server accepts handled requests\n ";
    struct web_answer answer = web_get_at("127.0.0.1", backends->nginx.port, "localhost", "/status", place);
    const char *found = answer.body != NULL ? strstr(answer.body, label) : NULL;

    if (found == NULL)
        test_fail_at(place, "nginx has no status: %s", answer.head);
    long accepted = strtol(found + sizeof(label) - 1, NULL, 10);
    web_free(&answer);
    return accepted;
}

/* ---- Who asks them ---- */

#define REQUEST(text) .request = (text), .request_size = sizeof(text) - 1

void backends_make_watchers(struct watcher *watchers, unsigned database, unsigned cache, unsigned web)
{
    const struct watcher all[BACKENDS_WATCHERS] = {
        { .name = "PostgreSQL",
          .port = database,
          REQUEST(BACKENDS_ASK_FOR_TLS),
          .beginning = "N",
          .end = "N" },
        { .name = "Redis",
          .port = cache,
          REQUEST("ECHO one\r\n"),
          .beginning = "$3\r\none\r\n",
          .end = "one\r\n",
          .stays = true },
        { .name = "Redis",
          .port = cache,
          REQUEST("ECHO two\r\n"),
          .beginning = "$3\r\ntwo\r\n",
          .end = "two\r\n" },
        { .name = "nginx",
          .port = web,
          REQUEST("GET /page HTTP/1.1\r\nHost: a\r\n\r\n"),
          .beginning = "HTTP/1.1 200 OK\r\n",
          .end = "\r\n\r\n" BACKENDS_PAGE,
          .stays = true },
        { .name = "nginx",
          .port = web,
          REQUEST("GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
          .beginning = "HTTP/1.1 200 OK\r\n",
          .end = "\r\n\r\n" BACKENDS_PAGE },
    };

    memcpy(watchers, all, sizeof(all));
}

/* ---- All of them ---- */

int backends_start(struct backends *backends)
{
    char redis[256], nginx[256], tool[256];

    *backends = (struct backends){ 0 };
    if (!process_find_command("redis-server", "/usr/sbin/redis-server", redis, sizeof(redis)) ||
        !process_find_command("redis-benchmark", NULL, tool, sizeof(tool))) {
        puts("SKIPPED: Redis is not installed (Debian: redis-server, redis-tools)");
        return SERVER_SKIPPED;
    }
    if (!process_find_command("nginx", "/usr/sbin/nginx", nginx, sizeof(nginx)) ||
        !process_find_command("wrk", NULL, tool, sizeof(tool))) {
        puts("SKIPPED: nginx or wrk is not installed (Debian: nginx, wrk)");
        return SERVER_SKIPPED;
    }
    enum database_outcome outcome = database_start_postgresql(&backends->database);
    if (outcome == DATABASE_NOT_INSTALLED) {
        puts("SKIPPED: the PostgreSQL server is not installed (Debian: postgresql)");
        return SERVER_SKIPPED;
    }
    return outcome == DATABASE_RUNS && start_redis(backends, redis) && start_nginx(backends, nginx) &&
                   start_database(backends)
               ? 0
               : EXIT_FAILURE;
}

void backends_stop(struct backends *backends)
{
    server_stop(&backends->nginx, SIGTERM);
    server_stop(&backends->redis, SIGTERM);
    database_stop(&backends->database);
}
