/* Each protocol's own check against a real server: good while that works, failed while it is stopped. */
#include "harness/backends.h"
#include "harness/database.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/server.h"
#include "harness/web.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct backends backends;
static struct database mariadb;
static struct server memcached;

static void stop_and_go(const struct proximux *proximux, unsigned admin, const char *name,
                        const struct server *server)
{
    char path[80];
    snprintf(path, sizeof path, "/readyz/%s", name);
    char said[80];
    test_wait_until(web_status(admin, path) == 200);
    assert_int_equal(kill(server->process, SIGSTOP), 0);
    snprintf(said, sizeof said, "warning %s: target 127.0.0.1:%u is sick", name, server->port);
    proximux_wait_log(proximux, said);
    assert_int_equal(web_status(admin, path), 503);
    assert_int_equal(kill(server->process, SIGCONT), 0);
    test_wait_until(web_status(admin, path) == 200);
}

/* The program before all servers. */
static struct proximux *start(struct fixture *fixture, unsigned admin)
{
    const struct {
        const char *name;
        const char *protocol;
        const char *mode;
        const char *check;
        unsigned port;
    } rows[] = {
        { "redis", "redis", "funnel", "", backends.redis.port },
        { "cache", "memcached", "fifo", "", memcached.port },
        { "web", "http", "funnel", "path = \"/page\";", backends.nginx.port },
        { "nowhere", "http", "funnel", "path = \"/nowhere\"; fall = 2;", backends.nginx.port },
        { "piped", "http", "proxy", "path = \"/nowhere\"; status = 404;", backends.nginx.port },
        { "postgresql", "postgresql", "proxy", "", backends.database.server.port },
        { "mysql", "mysql", "proxy", "", mariadb.server.port },
    };
    char listeners[4096] = "";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        snprintf(listeners + strlen(listeners), sizeof listeners - strlen(listeners),
                 "%s{ name = \"%s\"; listen = \"127.0.0.1:%u\"; protocol = \"%s\"; mode = \"%s\"; "
                 "targets = \"127.0.0.1:%u\"; "
                 "check = { type = \"protocol\"; interval = 50; timeout = 300; %s }; }",
                 i == 0 ? "" : ", ", rows[i].name, peer_free_port(), rows[i].protocol, rows[i].mode,
                 rows[i].port, rows[i].check);
    return proximux_start(fixture, "admin: { listen = \"127.0.0.1:%u\"; }; listeners = ( %s );", admin,
                          listeners);
}

static void servers_are_found_to_work_and_to_hang(void **state)
{
    unsigned admin = peer_free_port();
    struct proximux *proximux = start(*state, admin);
    stop_and_go(proximux, admin, "redis", &backends.redis);
    stop_and_go(proximux, admin, "cache", &memcached);
    stop_and_go(proximux, admin, "postgresql", &backends.database.server);
    stop_and_go(proximux, admin, "mysql", &mariadb.server);
    test_wait_until(web_status(admin, "/readyz/web") == 200);
    test_wait_until(web_status(admin, "/readyz/piped") == 200);
    proximux_wait_log(proximux,
                      "2 checks in a row failed, the last one: it answered \"HTTP/1.1 404 Not Found\"");
    assert_int_equal(web_status(admin, "/readyz/nowhere"), 503);
    proximux_stop(proximux);
}

static bool start_memcached(const char *program)
{
    char port[16];
    if (!server_prepare(&memcached))
        return false;
    snprintf(port, sizeof port, "%u", memcached.port);
    const char *const arguments[] = { program, "-l", "127.0.0.1", "-p", port, "-U", "0", NULL };
    return server_start(&memcached, arguments) && server_wait(&memcached);
}

int main(void)
{
    const struct CMUnitTest tests[] = { fixture_test(servers_are_found_to_work_and_to_hang) };
    char program[256];
    int status = SERVER_SKIPPED;
    if (!process_find_command("memcached", NULL, program, sizeof program)) {
        puts("SKIPPED: memcached is not installed (Debian: memcached)");
        return status;
    }
    enum database_outcome outcome = database_start_mariadb(&mariadb);
    if (outcome == DATABASE_RUNS && start_memcached(program)) {
        status = backends_start(&backends);
        if (status == 0)
            status = cmocka_run_group_tests(tests, NULL, NULL);
        backends_stop(&backends);
    } else if (outcome != DATABASE_NOT_INSTALLED) {
        status = EXIT_FAILURE;
    }
    server_stop(&memcached, SIGTERM);
    database_stop(&mariadb);
    return status;
}
