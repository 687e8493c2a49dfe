/* The dashboard and the alerts that are shipped, with a real Prometheus that asks a running program: every
 * expression of every panel has data, and alerts fire. (When each alert fires, and when not, is in
 * tests/monitoring/alerts.yml; how long a condition must hold is left out here.) */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/web.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST "127.0.0.1"

/* ---- The files that are shipped ---- */

static char *read_shipped(const char *name)
{
    const char *source = getenv("srcdir");
    char path[512];
    char *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof(path), "%s/etc/monitoring/%s", source == NULL ? "." : source, name);
    FILE *stream = fopen(path, "r");
    test_require(stream != NULL && getdelim(&text, &size, '\0', stream) != -1, "%s can't be read", path);
    fclose(stream);
    return text;
}

/* Takes the string that follows the next `key` in JSON, with Grafana's variables filled in; NULL: there is
 * none. To be freed. */
static char *next_string(const char **json, const char *key)
{
    static const char *const variables[][2] = {
        { "$instance", ".*" },
        { "$listener", ".*" },
        { "$__rate_interval", "1m" },
    };
    const char *at = strstr(*json, key);
    if (at == NULL)
        return NULL;
    at += strlen(key);
    char *value;
    size_t size;
    FILE *stream = open_memstream(&value, &size);
    assert_non_null(stream);
    while (*at != '"') {
        size_t length = 0;
        for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]) && length == 0; i++)
            if (strncmp(at, variables[i][0], strlen(variables[i][0])) == 0) {
                fputs(variables[i][1], stream);
                length = strlen(variables[i][0]);
            }
        if (length == 0) {
            at += *at == '\\' ? 1 : 0;
            fputc(*at, stream);
            length = 1;
        }
        at += length;
    }
    fclose(stream);
    *json = at;
    return value;
}

/* The alerts without the time that they wait before they fire; how many there are. */
static size_t write_impatient_alerts(const struct fixture *fixture)
{
    char *text = read_shipped("alerts.yml"), *at, path[FIXTURE_PATH];
    size_t count = 0;
    FILE *stream = fopen(fixture_path(fixture, "alerts.yml", path), "w");
    assert_non_null(stream);
    for (char *line = strtok_r(text, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at)) {
        if (strstr(line, " for: ") != NULL)
            continue;
        count += strstr(line, "- alert: ") != NULL ? 1 : 0;
        fprintf(stream, "%s\n", line);
    }
    assert_int_equal(fclose(stream), 0);
    free(text);
    return count;
}

/* ---- Prometheus ---- */

static pid_t start_prometheus(struct fixture *fixture, unsigned port, unsigned admin)
{
    char program[256], configuration[1000], path[FIXTURE_PATH], log[FIXTURE_PATH], arguments[3][200];
    assert_true(process_find_command("prometheus", NULL, program, sizeof(program)));
    snprintf(configuration, sizeof(configuration),
             "global: { scrape_interval: 1s, evaluation_interval: 1s }\n"
             "rule_files: [ alerts.yml ]\n"
             "scrape_configs: [ { job_name: proximux, static_configs: [ { targets: [ '" HOST
             ":%u' ] } ] } ]\n",
             admin);
    fixture_write(fixture, "prometheus.yml", configuration);
    snprintf(arguments[0], sizeof(arguments[0]), "--config.file=%s",
             fixture_path(fixture, "prometheus.yml", path));
    snprintf(arguments[1], sizeof(arguments[1]), "--storage.tsdb.path=%s",
             fixture_path(fixture, "prometheus", path));
    snprintf(arguments[2], sizeof(arguments[2]), "--web.listen-address=" HOST ":%u", port);
    const char *const command[] = { program, arguments[0], arguments[1], arguments[2], NULL };
    pid_t process = process_start(&(struct process_options){
        .arguments = command, .output = fixture_path(fixture, "prometheus.log", log) });
    assert_true(process > 0);
    return process;
}

/* The answer of its interface; the body is empty while it does not listen. To be freed. */
static char *ask_prometheus(unsigned port, const char *path)
{
    char request[4096];
    int socket = peer_try_connect(NULL, HOST, port);
    if (socket == -1)
        return calloc(1, 1);
    close(socket);
    snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", path);
    struct web_answer answer = web_ask(HOST, port, request);
    char *body = strdup(answer.status == 200 || answer.status == 400 ? answer.body : "");
    assert_non_null(body);
    web_free(&answer);
    return body;
}

/* Whether the expression has any number as a result. It must be one that Prometheus understands. */
static bool has_data(unsigned port, const char *expression)
{
    static const char value[] = "\"value\":[";
    char path[4000] = "/api/v1/query?query=";
    size_t length = strlen(path);
    for (const char *at = expression; *at != '\0'; at++)
        length += (size_t)snprintf(path + length, sizeof(path) - length,
                                   isalnum((unsigned char)*at) ? "%c" : "%%%02X", (unsigned char)*at);
    char *answer = ask_prometheus(port, path);
    test_require(answer[0] == '\0' || strstr(answer, "\"status\":\"success\"") != NULL, "%s: %s", expression,
                 answer);
    bool found = false;
    for (const char *at = answer; !found && (at = strstr(at, value)) != NULL; at++) {
        const char *number = strstr(at, ",\"");
        found = number != NULL && strncmp(number, ",\"NaN", 5) != 0;
    }
    free(answer);
    return found;
}

static bool is_firing(unsigned port, const char *alert)
{
    char wanted[100];
    char *answer = ask_prometheus(port, "/api/v1/alerts");
    snprintf(wanted, sizeof(wanted), "\"alertname\":\"%s\"", alert);
    bool is_there = strstr(answer, wanted) != NULL;
    free(answer);
    return is_there;
}

static size_t count_texts(const char *text, const char *wanted)
{
    size_t count = 0;
    while ((text = strstr(text, wanted)) != NULL) {
        count++;
        text += strlen(wanted);
    }
    return count;
}

/* ---- Traffic ---- */

enum { PROXY, FIFO, FUNNEL, DEAD, FULL, SLOW, PORTS };

/* One listener in each mode, of which two have a target that is down beside the one that answers; one that
 * has no other; one that is full with one client; and one that takes its time. */
static struct proximux *start_program(struct fixture *fixture, unsigned admin, unsigned target,
                                      const unsigned *ports)
{
    char configuration[4000];
    unsigned down = peer_free_port();
    snprintf(configuration, sizeof(configuration),
             "admin: { listen = \"" HOST ":%u\"; };"
             "defaults: { protocol = { type = \"line\"; error_reply = \"ERROR\\\\n\"; }; retry_max = 300; };"
             "listeners = ("
             "{ name = \"proxy\"; listen = \"" HOST ":%u\"; targets = ( \"" HOST ":%u\", \"" HOST ":%u\" );"
             "  balance = \"first\"; },"
             "{ name = \"fifo\"; listen = \"" HOST ":%u\"; targets = ( \"" HOST ":%u\" ); mode = \"fifo\"; },"
             "{ name = \"funnel\"; listen = \"" HOST ":%u\"; targets = ( \"" HOST ":%u\", \"" HOST ":%u\" );"
             "  mode = \"funnel\"; },"
             "{ name = \"dead\"; listen = \"" HOST ":%u\"; targets = ( \"" HOST ":%u\" ); mode = \"fifo\";"
             "  queue_timeout = 100; },"
             "{ name = \"full\"; listen = \"" HOST ":%u\"; targets = ( \"" HOST
             ":%u\" ); max_connections = 1; },"
             "{ name = \"slow\"; listen = \"" HOST ":%u\"; targets = ( \"" HOST ":%u\" ); mode = \"fifo\";"
             "  connect_delay = 6000; } );",
             admin, ports[PROXY], down, target, ports[FIFO], target, ports[FUNNEL], down, target, ports[DEAD],
             down, ports[FULL], target, ports[SLOW], target);
    return proximux_start_with(
        fixture, (&(struct proximux_options){ .configuration = configuration, .descriptors = 150 }));
}

static void ask(unsigned port, const char *expected)
{
    int client = peer_connect(HOST, port);
    peer_send_text(client, "a line\n");
    peer_expect_text(client, expected);
    close(client);
}

static void make_traffic(const unsigned *ports)
{
    for (int mode = PROXY; mode <= FUNNEL; mode++)
        ask(ports[mode], "a line\n");
    ask(ports[DEAD], "ERROR\n");
    int client = peer_connect(HOST, ports[FULL]);
    peer_expect_closed(client);
    close(client);
}

/* With traffic going on. */
#define wait_for(condition, ports, ...)                                                                      \
    do {                                                                                                     \
        int64_t wait_deadline = test_deadline(6 * TEST_PATIENCE);                                            \
        while (!(condition)) {                                                                               \
            test_require(test_now() < wait_deadline, __VA_ARGS__);                                           \
            make_traffic(ports);                                                                             \
            test_pause();                                                                                    \
        }                                                                                                    \
    } while (0)

static size_t expect_data(unsigned prometheus, const unsigned *ports, const char *key)
{
    char *dashboard = read_shipped("grafana.json");
    const char *at = dashboard;
    char *expression;
    size_t count = 0;
    for (; (expression = next_string(&at, key)) != NULL; count++) {
        wait_for(has_data(prometheus, expression), ports, "no data: %s", expression);
        free(expression);
    }
    free(dashboard);
    return count;
}

static void expect_alerts(unsigned prometheus, const unsigned *ports, struct proximux *proximux,
                          size_t alerts)
{
    static const char *const firing[] = { "ProximuxListenerNotReady", "ProximuxTargetDown",
                                          "ProximuxRequestsFail",     "ProximuxClientsRefused",
                                          "ProximuxWaitingLong",      "ProximuxDescriptorsShort",
                                          "ProximuxReloadRefused" };
    assert_false(is_firing(prometheus, "ProximuxReloadRefused"));
    assert_false(is_firing(prometheus, "ProximuxGone"));
    fixture_write(proximux->fixture, strrchr(proximux->configuration, '/') + 1, "listeners = nothing;");
    proximux_signal(proximux, SIGHUP);
    for (size_t i = 0; i < sizeof(firing) / sizeof(firing[0]); i++)
        wait_for(is_firing(prometheus, firing[i]), ports, "%s does not fire", firing[i]);
    char *rules = ask_prometheus(prometheus, "/api/v1/rules");
    assert_int_equal(count_texts(rules, "\"health\":\"ok\""), alerts);
    free(rules);
}

static void the_dashboard_has_data_and_alerts_fire(void **state)
{
    struct fixture *fixture = *state;
    char program[256];
    unsigned ports[PORTS], admin = peer_free_port(), prometheus = peer_free_port();
    if (!process_find_command("prometheus", NULL, program, sizeof(program))) {
        print_message("skipped: prometheus is not installed (Debian: prometheus)\n");
        skip();
    }
    for (size_t i = 0; i < PORTS; i++)
        ports[i] = peer_free_port();
    struct echo *echo = echo_start(HOST, 0, NULL);
    struct proximux *proximux = start_program(fixture, admin, echo_port(echo), ports);
    size_t alerts = write_impatient_alerts(fixture);
    pid_t process = start_prometheus(fixture, prometheus, admin);
    int holder = peer_connect(HOST, ports[FULL]), slow = peer_connect(HOST, ports[SLOW]);
    peer_send_text(holder, "first\n");
    peer_expect_text(holder, "first\n");
    wait_for(has_data(prometheus, "up == 1"), ports, "Prometheus does not reach the program");
    peer_send_text(slow, "slow\n"); /* only now, so that its wait is seen to be added */
    size_t expressions = expect_data(prometheus, ports, "\"expr\": \"");
    print_message("%zu expressions of the dashboard have data\n", expressions);
    assert_true(expressions >= 20);
    expect_alerts(prometheus, ports, proximux, alerts);
    peer_expect_text(slow, "slow\n");
    close(slow);
    close(holder);
    proximux_stop(proximux);
    int64_t deadline = test_deadline(6 * TEST_PATIENCE);
    while (!is_firing(prometheus, "ProximuxGone")) {
        test_require(test_now() < deadline, "ProximuxGone does not fire");
        test_pause();
    }
    process_end(process);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(the_dashboard_has_data_and_alerts_fire),
    };
    return cmocka_run_group_tests_name("monitoring", tests, NULL, NULL);
}
