/* What can be asked at admin.listen, by whom, that its figures are exact, and that those who ask hurt nobody.
 */
#include "base/buffer.h"
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/scene.h"
#include "harness/web.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "127.0.0.1"

/* One listener "main" in front of a target, and admin on a port of 127.0.0.1 with these further keys. */
static struct proximux *start_with_admin(struct fixture *fixture, unsigned admin, const char *admin_keys,
                                         unsigned port, unsigned target, const char *keys)
{
    return proximux_start(fixture,
                          "admin: { listen = \"127.0.0.1:%u\"; %s };\n"
                          "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; "
                          "targets = ( \"127.0.0.1:%u\" ); %s } );",
                          admin, admin_keys, port, target, keys);
}

static void expect_answer_at(const char *address, unsigned port, const char *host, const char *path,
                             int status, const char *text, struct place place)
{
    struct web_answer answer = web_get_at(address, port, host, path, place);
    if (answer.status != status)
        test_fail_at(place, "%s for %s: status %d instead of %d: %s", path, host == NULL ? "nobody" : host,
                     answer.status, status, answer.head);
    if (strstr(answer.body, text) == NULL)
        test_fail_at(place, "%s: no \"%s\" in:\n%s", path, text, answer.body);
    web_free(&answer);
}

#define expect_answer(address, port, host, path, status, text)                                               \
    expect_answer_at((address), (port), (host), (path), (status), (text), HERE)

static void every_path_answers(void **state)
{
    static const struct {
        const char *path;
        int status;
        const char *type;
        const char *text;
    } rows[] = {
        { "/healthz", 200, "text/plain", "ok\n" },
        { "/readyz", 200, "text/plain", "ready\n" },
        { "/readyz/main", 200, "text/plain", "ready\n" },
        { "/readyz/other", 404, "text/plain", "no such listener" },
        { "/readyz/", 404, "text/plain", "nothing here" },
        { "/metrics", 200, "text/plain; version=0.0.4", "proximux_listener_clients{listener=\"main\"} 0\n" },
        { "/config", 200, "text/plain", "unix_mode = \"0640\";  # " },
        { "/", 200, "text/html; charset=utf-8", "<title>Proximux</title>" },
        { "/status.json", 200, "application/json", "\"name\":\"main\"" },
        { "/status.txt", 200, "text/plain", "main" },
        { "/history.json", 200, "application/json", "\"interval_seconds\":5" },
        { "/metrics/", 404, "text/plain", "nothing here" },
        { "/../etc/passwd", 404, "text/plain", "nothing here" },
    };
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH];
    unsigned admin = peer_free_port();
    unsigned port = peer_free_port();
    struct proximux *proximux = proximux_start(
        fixture,
        "admin: { listen = [ \"127.0.0.1:%u\", \"unix:%s\" ]; unix_mode = \"0640\"; };\n"
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:1\" ); } );",
        admin, fixture_path(fixture, "admin.sock", path), port);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_answer(HOST, admin, HOST, rows[i].path, rows[i].status, rows[i].text);
        expect_answer(path, 0, "anything", rows[i].path, rows[i].status, rows[i].text);
        struct web_answer answer = web_get(HOST, admin, HOST, rows[i].path);
        test_require(strstr(answer.head, rows[i].type) != NULL, "%s: %s", rows[i].path, answer.head);
        test_require(strstr(answer.head, "Content-Security-Policy: default-src 'none'") != NULL, "%s",
                     answer.head);
        web_free(&answer);
    }
    proximux_stop(proximux);
    assert_int_equal(access(path, F_OK), -1); /* the socket has gone */
}

static void only_addresses_and_localhost_are_names(void **state)
{
    static const struct {
        const char *host;
        int status;
    } rows[] = {
        { NULL, 200 },
        { "127.0.0.1", 200 },
        { "127.0.0.1:8404", 200 },
        { "192.0.2.1:80", 200 }, /* a forwarded port, perhaps */
        { "[::1]:8404", 200 },
        { "[::1]", 200 },
        { "::1", 200 },
        { "localhost", 200 },
        { "LocalHost:8404", 200 },
        { "localhost.evil.example", 403 },
        { "evil.example", 403 },
        { "evil.example:127", 403 },
        { "127.0.0.1.evil.example", 403 },
        { "127.0.0.1@evil.example", 403 },
        { "localhost:8404.evil.example", 403 },
        { "[::1].evil.example", 403 },
        { "[evil.example]", 403 },
        { "0x7f.1", 403 },
        { "", 403 },
    };
    unsigned admin = peer_free_port();
    struct proximux *proximux = start_with_admin(*state, admin, "", peer_free_port(), 1, "");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_answer(HOST, admin, rows[i].host, "/healthz", rows[i].status, "");
    proximux_stop(proximux);
}

static void nothing_but_reading(void **state)
{
    static const char *const requests[] = {
        "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\na=1",
        "DELETE /config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "OPTIONS /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    };
    unsigned admin = peer_free_port();
    struct proximux *proximux = start_with_admin(*state, admin, "", peer_free_port(), 1, "");
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct web_answer answer = web_ask(HOST, admin, requests[i]);
        assert_int_equal(answer.status, 405);
        assert_non_null(strstr(answer.head, "Allow: GET, HEAD"));
        web_free(&answer);
    }
    struct web_answer answer =
        web_ask(HOST, admin, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.length, 0);
    web_free(&answer);
    /* two requests on one connection, the first with a body that nobody wants */
    answer = web_ask(HOST, admin,
                     "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
                     "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body, "ok\n"));
    assert_non_null(strstr(answer.body, "ready\n"));
    web_free(&answer);
    proximux_stop(proximux);
}

/* Who ends with its requests has all answers, and then the end. */
static void half_closed_clients_are_answered_and_closed(void **state)
{
    static const char requests[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                                   "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct fixture *fixture = *state;
    unsigned admin = peer_free_port();
    char path[FIXTURE_PATH];
    const char *const addresses[] = { HOST, fixture_path(fixture, "admin.sock", path) };
    struct proximux *proximux = proximux_start(
        fixture,
        "admin: { listen = [ \"127.0.0.1:%u\", \"unix:%s\" ]; };"
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = \"127.0.0.1:1\"; } );",
        admin, path, peer_free_port());
    for (size_t i = 0; i < 4; i++) { /* with one request, and with two */
        char text[4000] = "";
        size_t length = 0;
        ssize_t count = 1;
        int client = peer_connect(addresses[i / 2], admin);
        peer_send_text(client, i % 2 == 0 ? requests : strstr(requests + 1, "GET"));
        peer_end(client);
        while (count > 0 && length < sizeof text - 1 && peer_readable(client, 20000)) {
            count = read(client, text + length, sizeof text - 1 - length);
            length += count > 0 ? (size_t)count : 0;
        }
        assert_int_equal(count, 0); /* it was closed, long before the patience with idle clients is over */
        assert_true(i % 2 == 1 || strstr(text, "\r\n\r\nok\n") != NULL);
        assert_non_null(strstr(text, "\r\n\r\nready\n"));
        close(client);
    }
    proximux_stop(proximux);
}

static void the_allowlist_is_kept(void **state)
{
    unsigned admin = peer_free_port();
    struct proximux *proximux =
        start_with_admin(*state, admin, "allowlist = \"127.0.0.2\";", peer_free_port(), 1, "");
    struct web_answer answer = web_get(HOST, admin, HOST, "/healthz");
    assert_int_equal(answer.status, 0);
    web_free(&answer);
    proximux_wait_log(proximux, "refused: blocked");
    int allowed = peer_connect_from("127.0.0.2", HOST, admin);
    peer_send_text(allowed, "GET /healthz HTTP/1.0\r\n\r\n");
    peer_expect_text(allowed, "HTTP/1.1 200 OK\r\n");
    close(allowed);
    proximux_stop(proximux);
}

/* In proxy mode, with bytes whose number is known, a client that is refused and a target that goes. */
static void figures_of_proxy_mode_are_exact(void **state)
{
    enum { CLIENTS = 20 };
    static char bytes[3000];
    unsigned admin = peer_free_port();
    unsigned port = peer_free_port();
    struct echo *echo = echo_start(HOST, 0, "hello");
    char target[64];
    struct proximux *proximux =
        start_with_admin(*state, admin, "", port, echo_port(echo), "max_connections = 20;");
    int clients[CLIENTS];
    memset(bytes, 'b', sizeof bytes);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = peer_connect(HOST, port);
        peer_expect_text(clients[i], "hello");
        peer_send(clients[i], bytes, sizeof bytes);
        peer_receive(clients[i], bytes, sizeof bytes);
    }
    int refused = peer_connect(HOST, port);
    peer_expect_closed(refused);
    close(refused);
    struct web_answer answer = web_get(HOST, admin, HOST, "/metrics");
    assert_int_equal(web_metric(answer.body, "proximux_listener_clients{listener=\"main\"}"), CLIENTS);
    assert_int_equal(web_metric(answer.body, "proximux_listener_clients_accepted_total{listener=\"main\"}"),
                     CLIENTS);
    assert_int_equal(web_metric(answer.body, "proximux_listener_clients_refused_total{listener=\"main\"}"),
                     1);
    assert_int_equal(web_metric(answer.body, "proximux_listener_clients_ended_total{listener=\"main\","
                                             "reason=\"over_limit\"}"),
                     1);
    assert_int_equal(web_metric(answer.body, "proximux_listener_received_bytes_total{listener=\"main\"}"),
                     CLIENTS * sizeof bytes);
    assert_int_equal(web_metric(answer.body, "proximux_listener_sent_bytes_total{listener=\"main\"}"),
                     CLIENTS * (sizeof bytes + 5));
    assert_int_equal(web_metric(answer.body, "proximux_listener_wait_seconds_count{listener=\"main\"}"),
                     CLIENTS);
    static const struct {
        const char *name;
        long long value;
    } rows[] = {
        { "proximux_target_usable", 1 },
        { "proximux_target_connections", CLIENTS },
        { "proximux_target_connections_opened_total", CLIENTS },
        { "proximux_target_sent_bytes_total", CLIENTS * sizeof bytes },
        { "proximux_target_received_bytes_total", CLIENTS * (sizeof bytes + 5) },
        { "proximux_target_connect_seconds_count", CLIENTS },
        { "proximux_target_downs_total", 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s{listener=\"main\",target=\"127.0.0.1:%u\"}", rows[i].name,
                 echo_port(echo));
        assert_int_equal(web_metric(answer.body, name), rows[i].value);
    }
    web_free(&answer);
    for (size_t i = 0; i < CLIENTS; i++)
        close(clients[i]);
    proximux_wait_log_times(proximux, "ended: client_closed", CLIENTS);
    assert_int_equal(web_figure(admin, "proximux_listener_clients{listener=\"main\"}"), 0);
    assert_int_equal(web_figure(admin, "proximux_listener_clients_ended_total{listener=\"main\","
                                       "reason=\"client_closed\"}"),
                     CLIENTS);
    snprintf(target, sizeof target, "{listener=\"main\",target=\"127.0.0.1:%u\"}", echo_port(echo));
    echo_stop(echo);
    int late = peer_connect(HOST, port); /* finds the target gone */
    proximux_wait_log(proximux, "is down");
    char name[160];
    snprintf(name, sizeof name, "proximux_target_downs_total%s", target);
    assert_int_equal(web_figure(admin, name), 1);
    snprintf(name, sizeof name, "proximux_target_usable%s", target);
    assert_int_equal(web_figure(admin, name), 0);
    peer_reset(late);
    proximux_stop(proximux);
}

/* In shared modes, with requests that are answered, and such that fail. */
static void figures_of_shared_modes_are_exact(void **state)
{
    enum { REQUESTS = 50 };
    unsigned admin = peer_free_port();
    unsigned port = peer_free_port();
    unsigned target_port = peer_free_port();
    int listener = peer_listen(HOST, target_port, 8);
    struct proximux *proximux = start_with_admin(*state, admin, "", port, target_port,
                                                 "mode = \"fifo\"; async = true; " SCENE_LINE
                                                 " queue_timeout = 10000; request_timeout = 300;");
    int client = peer_connect(HOST, port);
    int other = peer_connect(HOST, port);
    int target = -1;
    for (size_t i = 0; i < REQUESTS; i++) {
        peer_send_text(i % 2 == 0 ? client : other, "line\n");
        if (target == -1)
            target = peer_accept(listener);
        peer_expect_text(target, "line\n");
        peer_send_text(target, "ok\n");
        peer_expect_text(i % 2 == 0 ? client : other, "ok\n");
    }
    peer_send_text(client, "lost\n");
    peer_expect_text(target, "lost\n");
    peer_reset(target); /* sent, and not answered */
    peer_expect_text(client, "ERROR\n");
    peer_send_text(client, "late\n");
    target = peer_accept(listener);
    peer_expect_text(target, "late\n");
    assert_int_equal(web_figure(admin, "proximux_listener_in_flight{listener=\"main\"}"), 1);
    peer_expect_text(client, "ERROR\n"); /* after request_timeout */
    close(target);
    peer_send_text(client, "more\n");
    target = peer_accept(listener);
    peer_expect_text(target, "more\n");
    peer_send_text(target, "ok\n");
    peer_expect_text(client, "ok\n");
    peer_send_text(target, "stray\n"); /* answers nothing, and costs the connection */
    peer_expect_closed(target);
    close(target);
    struct web_answer answer = web_get(HOST, admin, HOST, "/metrics");
    static const struct {
        const char *name;
        long long value;
    } of_listener[] = {
        { "proximux_listener_clients{listener=\"main\"}", 2 },
        { "proximux_listener_in_flight{listener=\"main\"}", 0 },
        { "proximux_listener_requests_total{listener=\"main\"}", REQUESTS + 3 },
        { "proximux_listener_requests_answered_total{listener=\"main\"}", REQUESTS + 1 },
        { "proximux_listener_requests_failed_total{listener=\"main\",reason=\"target_reset\"}", 1 },
        { "proximux_listener_requests_failed_total{listener=\"main\",reason=\"request_timeout\"}", 1 },
        { "proximux_listener_requests_failed_total{listener=\"main\",reason=\"queue_timeout\"}", 0 },
        { "proximux_listener_received_bytes_total{listener=\"main\"}", (REQUESTS + 3) * 5 },
        { "proximux_listener_sent_bytes_total{listener=\"main\"}", (REQUESTS + 1) * 3 + 2 * 6 },
        { "proximux_listener_wait_seconds_count{listener=\"main\"}", REQUESTS + 3 },
    };
    for (size_t i = 0; i < sizeof of_listener / sizeof of_listener[0]; i++) {
        long long value = web_metric(answer.body, of_listener[i].name);
        test_require(value == of_listener[i].value, "%s %lld", of_listener[i].name, value);
    }
    static const struct {
        const char *name;
        const char *reason;
        long long value;
    } of_target[] = {
        { "connections_opened_total", "", 3 },
        { "connections_closed_total", ",reason=\"target_reset\"", 1 },
        { "connections_closed_total", ",reason=\"target_closed\"", 1 },
        { "connections_closed_total", ",reason=\"protocol_error\"", 1 },
        { "requests_answered_total", "", REQUESTS + 1 },
        { "requests_failed_total", ",reason=\"target_reset\"", 1 },
        { "requests_failed_total", ",reason=\"request_timeout\"", 1 },
        { "sent_bytes_total", "", (REQUESTS + 3) * 5 },
        { "received_bytes_total", "", (REQUESTS + 1) * 3 + 6 },
        { "service_seconds_count", "", REQUESTS + 1 },
        { "connect_seconds_count", "", 3 },
    };
    for (size_t i = 0; i < sizeof of_target / sizeof of_target[0]; i++) {
        char name[160];
        snprintf(name, sizeof name, "proximux_target_%s{listener=\"main\",target=\"127.0.0.1:%u\"%s}",
                 of_target[i].name, target_port, of_target[i].reason);
        long long value = web_metric(answer.body, name);
        test_require(value == of_target[i].value, "%s %lld", name, value);
    }
    web_free(&answer);
    close(client);
    close(other);
    close(listener);
    proximux_stop(proximux);
}

/* Two targets of one address, as the environment may name them, are told apart. */
static void no_sample_comes_twice(void **state)
{
    unsigned admin = peer_free_port();
    struct proximux *proximux = proximux_start(
        *state,
        "admin: { listen = \"127.0.0.1:%u\"; }; listeners = ( { name = \"main\"; mode = \"funnel\"; "
        "listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:1\", \"127.0.0.1:1\" ); " SCENE_LINE "} );",
        admin, peer_free_port());
    assert_int_equal(web_figure(admin, "proximux_target_usable{listener=\"main\",target=\"127.0.0.1:1\"}"),
                     1);
    assert_int_equal(web_figure(admin, "proximux_target_usable{listener=\"main\",target=\"127.0.0.1:1#2\"}"),
                     1);
    proximux_stop(proximux);
}

static void promtool_finds_nothing_wrong(void **state)
{
    struct fixture *fixture = *state;
    char promtool[FIXTURE_PATH];
    char output[4096];
    char command[512];
    char path[FIXTURE_PATH];
    if (!process_find_command("promtool", NULL, promtool, sizeof promtool)) {
        print_message("skipped: promtool is not installed (Debian: prometheus)\n");
        skip();
    }
    unsigned admin = peer_free_port();
    unsigned port = peer_free_port();
    struct echo *echo = echo_start(HOST, 0, NULL);
    struct proximux *proximux = start_with_admin(fixture, admin, "", port, echo_port(echo), "");
    int client = peer_connect(HOST, port);
    peer_send_text(client, "x");
    peer_expect_text(client, "x");
    struct web_answer answer = web_get(HOST, admin, HOST, "/metrics");
    fixture_write(fixture, "metrics", answer.body);
    web_free(&answer);
    snprintf(command, sizeof command, "%s check metrics <%s", promtool,
             fixture_path(fixture, "metrics", path));
    const char *const arguments[] = { "sh", "-c", command, NULL };
    char log[FIXTURE_PATH];
    struct process_options options = { .arguments = arguments, .output = fixture_path(fixture, "said", log) };
    int status = process_run(&options, TEST_PATIENCE, output, sizeof output);
    test_require(status == 0 && output[0] == '\0', "promtool says (%d): %s", status, output);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void readiness_follows_targets_and_end(void **state)
{
    unsigned admin = peer_free_port();
    unsigned port = peer_free_port();
    unsigned target_port = peer_free_port();
    struct proximux *proximux = proximux_start(
        *state,
        "shutdown_delay = 60000; admin: { listen = \"127.0.0.1:%u\"; };\n"
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" );\n"
        "                retry_min = 20; retry_max = 20; },\n"
        "              { name = \"untried\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:1\" ); } );",
        admin, port, target_port, peer_free_port());
    expect_answer(HOST, admin, HOST, "/readyz", 200, "ready");
    int client = peer_connect(HOST, port);
    proximux_wait_log(proximux, "is down");
    expect_answer(HOST, admin, HOST, "/readyz", 503, "listener main: no target is usable\n");
    expect_answer(HOST, admin, HOST, "/readyz/main", 503, "no target is usable");
    expect_answer(HOST, admin, HOST, "/readyz/untried", 200, "ready");
    assert_int_equal(web_figure(admin, "proximux_listener_ready{listener=\"main\"}"), 0);
    expect_answer(HOST, admin, HOST, "/healthz", 200, "ok");
    struct echo *echo = echo_start(HOST, target_port, NULL);
    proximux_wait_log(proximux, "is up");
    expect_answer(HOST, admin, HOST, "/readyz", 200, "ready");
    proximux_signal(proximux, SIGTERM);
    proximux_wait_notification(proximux, "STOPPING=1");
    expect_answer(HOST, admin, HOST, "/readyz", 503, "draining");
    expect_answer(HOST, admin, HOST, "/readyz/untried", 503, "draining");
    expect_answer(HOST, admin, HOST, "/healthz", 200, "ok");
    assert_int_equal(web_figure(admin, "proximux_draining"), 1);
    close(client);
    proximux_signal(proximux, SIGTERM); /* not so slowly */
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

/* What a listener has counted stays through a reload, targets that go take theirs along; a reload that is
 * refused is seen. */
static void reloads_are_counted(void **state)
{
    struct fixture *fixture = *state;
    unsigned admin = peer_free_port();
    unsigned port = peer_free_port();
    struct echo *echo = echo_start(HOST, 0, NULL);
    struct echo *other = echo_start(HOST, 0, NULL);
    char text[512];
    char name[160];
    struct proximux *proximux = start_with_admin(fixture, admin, "", port, echo_port(echo), "");
    int client = peer_connect(HOST, port);
    peer_send_text(client, "x");
    peer_expect_text(client, "x");
    close(client);
    proximux_wait_log(proximux, "ended: client_closed");
    snprintf(
        text, sizeof text,
        "admin: { listen = \"127.0.0.1:%u\"; };\n"
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
        admin, port, echo_port(other));
    fixture_write(fixture, strrchr(proximux->configuration, '/') + 1, text);
    proximux_signal(proximux, SIGHUP);
    test_wait_until(web_figure(admin, "proximux_reloads_total") == 1);
    assert_int_equal(web_figure(admin, "proximux_listener_clients_accepted_total{listener=\"main\"}"), 1);
    snprintf(name, sizeof name,
             "proximux_target_connections_opened_total{listener=\"main\",target=\"127.0.0.1:%u\"}",
             echo_port(other));
    assert_int_equal(web_figure(admin, name), 0);
    expect_answer(HOST, admin, HOST, "/status.txt", 200, ", 1 reloads, 0 refused\n");
    fixture_write(fixture, strrchr(proximux->configuration, '/') + 1, "listeners = ( wrong );");
    proximux_signal(proximux, SIGHUP);
    test_wait_until(web_figure(admin, "proximux_reloads_refused_total") == 1);
    assert_int_equal(web_figure(admin, "proximux_reload_last_refused"), 1);
    expect_answer(HOST, admin, HOST, "/status.json", 200, "\"last_refused\":true");
    expect_answer(HOST, admin, HOST, "/readyz", 200, "ready");
    snprintf(name, sizeof name, "127.0.0.1:%u", echo_port(other));
    expect_answer(HOST, admin, HOST, "/config", 200, name); /* of what is in force, not of the file */
    proximux_stop(proximux);
    echo_stop(echo);
    echo_stop(other);
}

/* Requests in half, such whose answers are not read, and silence. */
static int slow_client(unsigned admin, size_t number)
{
    static const char *const words[] = {
        "GET /metrics HTTP/1.1\r\nHost: local",
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "",
        "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx",
    };
    int client = peer_try_connect(NULL, HOST, admin);
    const char *text = words[number % (sizeof words / sizeof words[0])];
    if (client != -1)
        (void)!send(client, text, strlen(text), MSG_NOSIGNAL);
    return client;
}

static int64_t slowest_exchange(int client, size_t count)
{
    int64_t slowest = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t begun = test_now();
        peer_send_text(client, "ping");
        peer_expect_text(client, "ping");
        int64_t passed = test_now() - begun;
        slowest = passed > slowest ? passed : slowest;
    }
    return slowest;
}

static void slow_clients_hurt_nobody(void **state)
{
    size_t count = test_scaled(1000, 100);
    unsigned admin = peer_free_port();
    unsigned port = peer_free_port();
    if (!test_allow_descriptors(count + 100)) {
        print_message("skipped: too few file descriptors\n");
        skip();
    }
    struct echo *echo = echo_start(HOST, 0, NULL);
    struct proximux *proximux = start_with_admin(*state, admin, "", port, echo_port(echo), "");
    int *slow = calloc(count, sizeof *slow);
    int client = peer_connect(HOST, port);
    int64_t slowest = slowest_exchange(client, 10);
    for (size_t i = 0; i < count; i++) {
        slow[i] = slow_client(admin, i);
        test_require(slow[i] != -1, "client %zu does not get in", i);
        if (i % 20 != 0)
            continue;
        int64_t passed = slowest_exchange(client, 5);
        slowest = passed > slowest ? passed : slowest;
        expect_answer(HOST, admin, HOST, "/healthz", 200,
                      "ok"); /* and who asks gets an answer all the same */
    }
    long descriptors = process_descriptors(proximux->process);
    test_require(descriptors < 32 + 40, "it holds %ld descriptors", descriptors);
    long before = process_processor_milliseconds(proximux->process);
    int64_t passed = slowest_exchange(client, 200);
    long used = process_processor_milliseconds(proximux->process) - before;
    peer_expect_silence(client, 300);
    long idle = process_processor_milliseconds(proximux->process) - before - used;
    slowest = passed > slowest ? passed : slowest;
    print_message("# beside %zu slow clients the slowest exchange took %d ms; 300 ms of silence, %ld of the "
                  "processor\n",
                  count, (int)slowest, idle);
    if (test_figures_count()) {
        assert_true(slowest < 500);
        assert_true(idle < 100);
    }
    for (size_t i = 0; i < count; i++)
        close(slow[i]);
    expect_answer(HOST, admin, HOST, "/readyz", 200, "ready");
    free(slow);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

#define CLIENTS_MAX 16

/* Waits a moment for more, and reads what has come; the bytes until now. Closes, and sets to -1, who has
 * reached the end. */
static size_t drain_clients(int *clients, size_t count)
{
    static char bytes[65536];
    struct pollfd watched[CLIENTS_MAX];
    size_t length = 0;
    for (size_t i = 0; i < count; i++)
        watched[i] = (struct pollfd){ .fd = clients[i], .events = POLLIN };
    poll(watched, (nfds_t)count, 10);
    for (size_t i = 0; i < count; i++) {
        ssize_t got = 1;
        while (clients[i] != -1 && (got = recv(clients[i], bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
            length += (size_t)got;
        if (clients[i] == -1 || got != 0)
            continue;
        close(clients[i]);
        clients[i] = -1;
    }
    return length;
}

/* Who asks for one long answer after the other gets them all, but does not take the time of the traffic. */
static void greedy_clients_hurt_nobody(void **state)
{
    enum { CLIENTS = 8, REQUESTS = 60 };
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char last[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    unsigned admin = peer_free_port(), port = peer_free_port();
    struct echo *echo = echo_start(HOST, 0, NULL);
    struct proximux *proximux = start_with_admin(*state, admin, "", port, echo_port(echo), "");
    int clients[CLIENTS], client = peer_connect(HOST, port);
    struct web_answer answer = web_get(HOST, admin, HOST, "/metrics");
    size_t left = CLIENTS, length = 0, rounds = 0;
    int64_t slowest = slowest_exchange(client, 10);
    long before = process_processor_milliseconds(proximux->process);
    int64_t begun = test_now();
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = peer_connect(HOST, admin);
        for (size_t k = 0; k < REQUESTS; k++)
            peer_send_text(clients[i], k + 1 < REQUESTS ? request : last);
    }
    while (left > 0) {
        length += drain_clients(clients, CLIENTS);
        if (rounds++ % 50 == 0) {
            int64_t passed = slowest_exchange(client, 1);
            slowest = passed > slowest ? passed : slowest;
            expect_answer(HOST, admin, HOST, "/healthz", 200, "ok");
        }
        left = 0;
        for (size_t i = 0; i < CLIENTS; i++)
            left += clients[i] != -1;
    }
    int64_t taken = test_now() - begun;
    long used = process_processor_milliseconds(proximux->process) - before;
    assert_true(length > CLIENTS * REQUESTS * answer.length);
    print_message(
        "# %d long answers in %d ms, %ld of the processor; the slowest exchange beside them took %d ms\n",
        CLIENTS * REQUESTS, (int)taken, used, (int)slowest);
    if (test_figures_count()) {
        assert_true(slowest < 500);
        assert_true(used * 3 < taken * 2);
    }
    web_free(&answer);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* So many listeners that an answer about them takes milliseconds, and one of TCP. */
static struct proximux *start_with_many(struct fixture *fixture, unsigned admin, unsigned port,
                                        unsigned target)
{
    enum { LISTENERS = 60 };
    char path[FIXTURE_PATH];
    struct buffer text = { 0 };
    buffer_print(&text, "admin: { listen = \"127.0.0.1:%u\"; };\nlisteners = (\n", admin);
    for (size_t i = 0; i < LISTENERS; i++)
        buffer_print(&text,
                     "{ name = \"l%zu\"; listen = \"unix:%s-%zu\"; targets = ( \"127.0.0.1:%u\" ); },\n", i,
                     fixture_path(fixture, "s", path), i, target);
    buffer_print(&text, "{ name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
                 port, target);
    buffer_append(&text, "", 1);
    assert_false(text.failed);
    struct proximux *proximux = proximux_start(fixture, "%s", buffer_bytes(&text));
    buffer_free(&text);
    return proximux;
}

/* Many who ask at the same moment do not have all their answers made at one stretch: the traffic waits for
 * one answer or two. */
static void many_long_answers_hurt_nobody(void **state)
{
    enum { CLIENTS = 16, ALONE = 10, TRIES = 3 };
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    unsigned admin = peer_free_port(), port = peer_free_port();
    struct echo *echo = echo_start(HOST, 0, NULL);
    struct proximux *proximux = start_with_many(*state, admin, port, echo_port(echo));
    int client = peer_connect(HOST, port);
    int64_t best = INT64_MAX;
    slowest_exchange(client, 10);
    long before = process_processor_milliseconds(proximux->process);
    for (size_t i = 0; i < ALONE; i++)
        expect_answer(HOST, admin, HOST, "/metrics", 200, "proximux_");
    long all = (process_processor_milliseconds(proximux->process) - before) * CLIENTS / ALONE;
    for (size_t try = 0; try < TRIES; try++) {
        int clients[CLIENTS];
        int64_t slowest = 0;
        assert_int_equal(kill(proximux->process, SIGSTOP), 0);
        for (size_t i = 0; i < CLIENTS; i++) {
            clients[i] = peer_connect(HOST, admin);
            peer_send_text(clients[i], request);
        }
        assert_int_equal(kill(proximux->process, SIGCONT), 0);
        for (size_t left = CLIENTS; left > 0;) {
            int64_t passed = slowest_exchange(client, 1);
            slowest = passed > slowest ? passed : slowest;
            drain_clients(clients, CLIENTS);
            left = 0;
            for (size_t i = 0; i < CLIENTS; i++)
                left += clients[i] != -1;
        }
        best = slowest < best ? slowest : best;
    }
    print_message("# %d answers take %ld ms; the slowest exchange beside them took %d ms\n", CLIENTS, all,
                  (int)best);
    if (test_figures_count())
        assert_true(best < all / 2);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* What it held for admin is given back; and clients of admin, who are there, keep nobody from ending. */
static void nothing_is_left_behind(void **state)
{
    unsigned admin = peer_free_port();
    unsigned port = peer_free_port();
    struct echo *echo = echo_start(HOST, 0, NULL);
    struct proximux *proximux = start_with_admin(*state, admin, "", port, echo_port(echo), "");
    long long available = web_figure(admin, "proximux_descriptors_available");
    long before = proximux_idle_descriptors(proximux, port);
    for (size_t i = 0; i < test_scaled(500, 50); i++)
        expect_answer(HOST, admin, HOST, i % 2 == 0 ? "/metrics" : "/healthz", 200, "");
    assert_int_equal(web_figure(admin, "proximux_descriptors_available"), available);
    assert_int_equal(proximux_idle_descriptors(proximux, port), before);
    int kept = peer_connect(HOST, admin);
    int half = slow_client(admin, 0);
    peer_send_text(kept, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    peer_expect_text(kept, "HTTP/1.1 200 OK\r\n");
    proximux_stop(proximux);
    close(kept);
    close(half);
    echo_stop(echo);
}

static void an_address_in_use_is_an_error(void **state)
{
    char output[2048];
    char configuration[256];
    unsigned admin = peer_free_port();
    int taken = peer_listen(HOST, admin, 1);
    snprintf(configuration, sizeof configuration,
             "admin: { listen = \"127.0.0.1:%u\"; }; listeners = ( { name = \"main\"; listen = "
             "\"127.0.0.1:%u\"; targets = ( \"127.0.0.1:1\" ); } );",
             admin, peer_free_port());
    const struct proximux_options options = { .configuration = configuration };
    assert_int_equal(proximux_run(*state, &options, output, sizeof output), 1);
    assert_non_null(strstr(output, "admin: can't listen on 127.0.0.1:"));
    close(taken);
}

/* Runs the program with these arguments; returns its status. */
static int ask(struct fixture *fixture, const char *configuration, const char *first, const char *second,
               char *output, size_t size)
{
    const char *const arguments[] = { first, second, NULL };
    const struct proximux_options options = { .configuration = configuration,
                                              .arguments = arguments,
                                              .own_log_level = true };
    return proximux_run(fixture, &options, output, size);
}

static void the_command_asks_a_running_instance(void **state)
{
    struct fixture *fixture = *state;
    static char output[65536];
    char path[FIXTURE_PATH];
    char configuration[640];
    unsigned port = peer_free_port();
    unsigned unused = peer_free_port();
    struct echo *echo = echo_start(HOST, 0, NULL);
    /* the first address leads nowhere when it is asked: the second one answers */
    snprintf(
        configuration, sizeof configuration,
        "admin: { listen = [ \"127.0.0.1:%u\", \"unix:%s\" ]; };\n"
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\";\n"
        "  protocol = { type = \"redis\"; password = \"very secret\"; }; targets = ( \"127.0.0.1:%u\" ); } "
        ");",
        unused, fixture_path(fixture, "admin.sock", path), port, echo_port(echo));
    assert_int_equal(ask(fixture, configuration, "-s", NULL, output, sizeof output), 1);
    assert_non_null(strstr(output, "no running instance answers at 127.0.0.1:"));
    assert_non_null(strstr(output, ": Connection refused; unix:"));
    struct proximux *proximux = proximux_start(fixture, "%s", configuration);
    assert_int_equal(ask(fixture, configuration, "-s", NULL, output, sizeof output), 0);
    assert_non_null(strstr(output, "LISTENER  MODE    PROTOCOL  STATE"));
    assert_non_null(strstr(output, "\nmain      funnel  redis     accepting"));
    assert_int_equal(ask(fixture, configuration, "--status", "--json", output, sizeof output), 0);
    assert_non_null(strstr(output, "{\"name\":\"main\",\"mode\":\"funnel\",\"protocol\":\"redis\","));
    assert_int_equal(ask(fixture, configuration, "-s", "-T", output, sizeof output), 0);
    assert_non_null(strstr(output, "name = \"main\";"));
    assert_non_null(strstr(output, "password = \"(hidden)\";"));
    assert_null(strstr(output, "very secret"));
    assert_non_null(strstr(output, "level = \"debug\";  # command line")); /* of the instance, not of ours */
    /* an edit that went wrong does not keep anybody from looking */
    strcat(configuration, " pid_file = \"relative\";");
    assert_int_equal(ask(fixture, configuration, "-s", NULL, output, sizeof output), 0);
    assert_non_null(strstr(output, "\nmain "));
    proximux_stop(proximux);
    echo_stop(echo);
}

/* What listens there may be anything. */
static void the_command_says_what_is_wrong(void **state)
{
    static const struct {
        const char *answer;
        const char *said;
    } rows[] = {
        { "+OK\r\n", "what answers there is not Proximux" },
        { "", "what answers there is not Proximux" },
        { "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "does not know of this" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "the answer is not complete" },
        { "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "the answer is not complete" },
    };
    struct fixture *fixture = *state;
    char output[2048];
    char configuration[256];
    unsigned admin = peer_free_port();
    int listener = peer_listen(HOST, admin, 8);
    snprintf(configuration, sizeof configuration,
             "admin: { listen = \"127.0.0.1:%u\"; }; listeners = ( { name = \"main\"; listen = "
             "\"127.0.0.1:1\"; targets = ( \"127.0.0.1:2\" ); } );",
             admin);
    fixture_write(fixture, "main.conf", configuration);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[FIXTURE_PATH];
        char log[FIXTURE_PATH];
        const char *program = getenv("PROXIMUX");
        const char *const arguments[] = { program == NULL ? "./proximux" : program, "-s", "-c",
                                          fixture_path(fixture, "main.conf", path), NULL };
        struct process_options options = { .arguments = arguments,
                                           .output = fixture_path(fixture, "said", log) };
        int status;
        pid_t process = process_start(&options);
        int client = peer_accept(listener);
        peer_expect_text(client, "GET /status.txt HTTP/1.1\r\nHost: 127.0.0.1:");
        while (peer_readable(client, 0) && recv(client, output, sizeof output, 0) > 0)
            continue;
        peer_send_text(client, rows[i].answer);
        close(client);
        assert_true(process_wait(process, TEST_PATIENCE, &status));
        assert_int_equal(status, 1);
        process_read_file(options.output, output, sizeof output);
        test_require(strstr(output, rows[i].said) != NULL, "\"%s\": %s", rows[i].answer, output);
    }
    close(listener);
    snprintf(
        configuration, sizeof configuration,
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:1\"; targets = ( \"127.0.0.1:2\" ); } );");
    assert_int_equal(ask(fixture, configuration, "-s", NULL, output, sizeof output), 1);
    assert_non_null(strstr(output, "the configuration has no admin.listen"));
    assert_int_equal(ask(fixture, configuration, "-s", "-t", output, sizeof output), 1);
    assert_int_equal(ask(fixture, configuration, "--json", NULL, output, sizeof output), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(every_path_answers),
        fixture_test(only_addresses_and_localhost_are_names),
        fixture_test(nothing_but_reading),
        fixture_test(half_closed_clients_are_answered_and_closed),
        fixture_test(the_allowlist_is_kept),
        fixture_test(figures_of_proxy_mode_are_exact),
        fixture_test(figures_of_shared_modes_are_exact),
        fixture_test(no_sample_comes_twice),
        fixture_test(promtool_finds_nothing_wrong),
        fixture_test(readiness_follows_targets_and_end),
        fixture_test(reloads_are_counted),
        fixture_test(slow_clients_hurt_nobody),
        fixture_test(greedy_clients_hurt_nobody),
        fixture_test(many_long_answers_hurt_nobody),
        fixture_test(nothing_is_left_behind),
        fixture_test(an_address_in_use_is_an_error),
        fixture_test(the_command_asks_a_running_instance),
        fixture_test(the_command_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
