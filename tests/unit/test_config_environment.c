/* The environment: the original's variables, PROXIMUX_ ones, and how both go together with a file. */
#include "protocol/length/length.h"
#include "protocol/modbus/modbus.h"
#include "protocol/redis/redis.h"
#include "unit/config_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What an existing deployment sets. */
#define DEPLOYMENT                                                                                           \
    "LOG_LEVEL=1", "LOCAL_HOST=localhost", "LOCAL_PORT=3307", "LOCAL_IPV6_ONLY=0",                           \
        "LOCAL_MAX_CONNECTIONS=2", "EXCHANGE_FUNNEL_ASYNC=0", "PROXY_INACTIVE_TIMEOUT=-1",                   \
        "PROXY_CONNECTIONS_CNT=2", "TARGET_HOST_1=192.0.2.1", "TARGET_PORT_1=3306",                          \
        "TARGET_CONN_1_KEEP_ALIVE=0", "TARGET_HOST_2=2001:db8::2", "TARGET_PORT_2=3306",                     \
        "TARGET_CONN_2_KEEP_ALIVE=1"

#define MAX 24

/* Loads the deployment without a file, with `change` (NAME=VALUE) in place of the variable of that name, or
 * added; a name alone takes the variable away; NULL changes nothing. */
static void load_changed(struct config_place *place, const char *change)
{
    static const char *const deployment[] = { DEPLOYMENT };
    const struct config_source source = { .file = config_place_path(place, "none.conf"),
                                          .file_optional = true };
    const char *environment[MAX] = { NULL };
    size_t count = 0;
    size_t length = change == NULL ? 0 : strcspn(change, "=");
    for (size_t i = 0; i < sizeof deployment / sizeof deployment[0]; i++)
        if (change == NULL || strncmp(deployment[i], change, length) != 0 || deployment[i][length] != '=')
            environment[count++] = deployment[i];
    if (change != NULL && change[length] == '=')
        environment[count++] = change;
    struct config_source with_environment = source;
    with_environment.environment = (char **)environment;
    config_place_load_source(place, &with_environment);
}

static void the_deployment_becomes_a_proxy(void **state)
{
    struct config_place *place = *state;
    load_changed(place, NULL);
    config_place_expect(place, "");
    const struct settings *settings = place->config.settings;
    const struct listener_settings *listener = settings->listeners[0];
    assert_int_equal(settings->listener_count, 1);
    assert_int_equal(settings->log.level, LOG_LEVEL_ERROR);
    assert_string_equal(listener->name, "default");
    assert_int_equal(listener->mode, MODE_PROXY);
    assert_true(listener->mode_was_auto);
    assert_int_equal(listener->max_connections, 2);
    assert_int_equal(listener->inactivity_timeout, -1);
    assert_int_equal(listener->listen_count, 1);
    assert_string_equal(listener->listen[0].host, "localhost");
    assert_int_equal(listener->listen[0].port, 3307);
    assert_int_equal(listener->target_count, 2);
    assert_string_equal(listener->targets[0].name, "192.0.2.1:3306");
    assert_false(listener->targets[0].keep_alive.enabled);
    assert_string_equal(listener->targets[1].name, "[2001:db8::2]:3306");
    assert_true(listener->targets[1].keep_alive.enabled);
}

static void faults_name_their_variable(void **state)
{
    static const struct {
        const char *change;
        const char *said;
    } rows[] = {
        { "LOG_LEVEL=loud", "environment: error: LOG_LEVEL: \"loud\" does not fit" },
        { "LOG_LEVEL=", "environment: error: LOG_LEVEL: is empty" },
        { "LOCAL_HOST", "environment: error: LOCAL_HOST: is missing" },
        { "LOCAL_HOST=", "environment: error: LOCAL_HOST: is empty" },
        { "LOCAL_HOST=a b", "environment: error: LOCAL_HOST, LOCAL_PORT: " },
        { "LOCAL_PORT", "environment: error: LOCAL_PORT: is missing" },
        { "LOCAL_PORT=99999", "environment: error: LOCAL_HOST, LOCAL_PORT: " },
        { "LOCAL_IPV6_ONLY=2", "environment: error: LOCAL_IPV6_ONLY: \"2\" does not fit" },
        { "LOCAL_MAX_CONNECTIONS=0", "environment: error: LOCAL_MAX_CONNECTIONS: \"0\" does not fit" },
        { "LOCAL_MAX_CONNECTIONS=2x", "environment: error: LOCAL_MAX_CONNECTIONS: \"2x\" does not fit" },
        { "EXCHANGE_FUNNEL_ASYNC=yes", "environment: error: EXCHANGE_FUNNEL_ASYNC: \"yes\" does not fit" },
        { "PROXY_INACTIVE_TIMEOUT=1.5", "environment: error: PROXY_INACTIVE_TIMEOUT: \"1.5\" does not fit" },
        { "PROXY_CONNECTIONS_CNT=0", "environment: error: PROXY_CONNECTIONS_CNT: \"0\" does not fit" },
        { "PROXY_CONNECTIONS_CNT=65", "environment: error: PROXY_CONNECTIONS_CNT: \"65\" does not fit" },
        { "PROXY_CONNECTIONS_CNT", "PROXY_CONNECTIONS_CNT is missing" },
        { "TARGET_HOST_2", "environment: error: TARGET_HOST_2: is missing" },
        { "TARGET_PORT_2", "environment: error: TARGET_PORT_2: is missing" },
        { "TARGET_CONN_2_KEEP_ALIVE", "environment: error: TARGET_CONN_2_KEEP_ALIVE: is missing" },
        { "TARGET_CONN_2_KEEP_ALIVE=on",
          "environment: error: TARGET_CONN_2_KEEP_ALIVE: \"on\" does not fit" },
        { "PROXIMUX_MAX_CONNECTIONS=3", "environment: error: PROXIMUX_MAX_CONNECTIONS: says something else" },
        { "PROXIMUX_LOG_LEVEL=debug", "environment: error: PROXIMUX_LOG_LEVEL: says something else" },
        { "PROXIMUX_QUEUE_TIMOUT=3", "did you mean PROXIMUX_QUEUE_TIMEOUT?" },
        { "PROXIMUX_TARGETS=x:1", "environment: error: PROXIMUX_TARGETS: this key can't be set" },
        { "PROXIMUX_BALANCE=fair", "environment: error: PROXIMUX_BALANCE: \"fair\" does not fit" },
        { "PROXIMUX_ASYNC=1", "environment: error: PROXIMUX_ASYNC: says something else" },
        { "PROXIMUX_PROTOCOL=redit",
          "environment: error: PROXIMUX_PROTOCOL: \"redit\" does not fit: one of \"raw\"" },
        { "PROXIMUX_PROTOCOL=length",
          "environment: error: PROXIMUX_PROTOCOL: is required with type \"length\"" },
        { "PROXIMUX_PROTOCOL_WIDTH=2",
          "PROXIMUX_PROTOCOL_WIDTH: belongs to length; the type here is \"raw\"" },
        { "PROXIMUX_PROTOCOL_WIDHT=2", "did you mean PROXIMUX_PROTOCOL_WIDTH?" },
        { "PROXIMUX_PROTOCOL_COMMANDS=X", "PROXIMUX_PROTOCOL_COMMANDS: this key can't be set" },
        { "PROXIMUX_BUFFER_LIMIT=1023", "environment: error: PROXIMUX_BUFFER_LIMIT: \"1023\" does not fit" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        load_changed(place, rows[i].change);
        if (place->config.settings != NULL || strstr(place->said, rows[i].said) == NULL)
            fail_msg("%s: \"%s\" is missing in:\n%s", rows[i].change, rows[i].said, place->said);
    }
}

/* The deployment with another limit of clients, and the protocol named. */
static void expect_mode(struct config_place *place, const char *const *environment, enum listener_mode mode,
                        bool async)
{
    const struct config_source source = { .file = config_place_path(place, "none.conf"),
                                          .file_optional = true,
                                          .environment = (char **)environment };
    config_place_load_source(place, &source);
    if (place->config.settings == NULL)
        fail_msg("refused:\n%s", place->said);
    const struct listener_settings *listener = place->config.settings->listeners[0];
    assert_int_equal(listener->mode, mode);
    assert_true(listener->mode_was_auto);
    assert_int_equal(listener->async, async);
    assert_int_equal(listener->protocol.is_async, async);
}

#define LISTENING "LOCAL_HOST=::1", "LOCAL_PORT=1"
#define TARGET_1  "TARGET_HOST_1=x", "TARGET_PORT_1=1", "TARGET_CONN_1_KEEP_ALIVE=0"
#define TARGET_2  "TARGET_HOST_2=y", "TARGET_PORT_2=1", "TARGET_CONN_2_KEEP_ALIVE=0"

static void deployments_reach_all_modes(void **state)
{
    static const char *const proxy[] = { LISTENING, "LOCAL_MAX_CONNECTIONS=1", "PROXY_CONNECTIONS_CNT=1",
                                         TARGET_1, NULL };
    static const char *const fifo[] = { LISTENING, "LOCAL_MAX_CONNECTIONS=-1", "PROXY_CONNECTIONS_CNT=1",
                                        TARGET_1,  "EXCHANGE_FUNNEL_ASYNC=0",  NULL };
    static const char *const funnel[] = { LISTENING, "PROXY_CONNECTIONS_CNT=2", TARGET_1,
                                          TARGET_2,  "EXCHANGE_FUNNEL_ASYNC=1", NULL };
    struct config_place *place = *state;
    expect_mode(place, proxy, MODE_PROXY, false);
    assert_string_equal(place->said, "");
    expect_mode(place, fifo, MODE_FIFO, false);
    assert_non_null(
        strstr(place->said, "environment: warning: listener \"default\": protocol: \"raw\" can't"));
    expect_mode(place, funnel, MODE_FUNNEL, true);
    assert_non_null(strstr(place->said, "protocol: DANGER: \"raw\" with async"));
}

static void protocols_come_from_variables(void **state)
{
    static const char *const redis[] = { LISTENING,
                                         "PROXY_CONNECTIONS_CNT=1",
                                         TARGET_1,
                                         "PROXIMUX_PROTOCOL=redis",
                                         "PROXIMUX_PROTOCOL_PASSWORD=secret",
                                         "PROXIMUX_REQUEST_TIMEOUT=500",
                                         NULL };
    static const char *const overridden[] = {
        LISTENING, "PROXY_CONNECTIONS_CNT=1", TARGET_1, "PROXIMUX_PROTOCOL=redis", "EXCHANGE_FUNNEL_ASYNC=0",
        NULL
    };
    /* the keys stand before the name: their order is not ours to choose */
    static const char *const length[] = { "PROXIMUX_PROTOCOL_ID_OFFSET=4",
                                          "PROXIMUX_PROTOCOL_ID_WIDTH=2",
                                          "PROXIMUX_PROTOCOL_WIDTH=3",
                                          "PROXIMUX_PROTOCOL_ERROR_REPLY=\\x00\\n",
                                          "PROXIMUX_PROTOCOL=length",
                                          LISTENING,
                                          "PROXY_CONNECTIONS_CNT=1",
                                          TARGET_1,
                                          NULL };
    struct config_place *place = *state;
    expect_mode(place, redis, MODE_FIFO, true);
    const struct listener_settings *listener = place->config.settings->listeners[0];
    assert_string_equal(listener->protocol.protocol->name, "redis");
    assert_int_equal(redis_own(&listener->protocol)->password.length, 6);
    assert_int_equal(listener->request_timeout, 500);
    expect_mode(place, overridden, MODE_FIFO, false);
    expect_mode(place, length, MODE_FIFO, false);
    listener = place->config.settings->listeners[0];
    assert_int_equal(length_own(&listener->protocol)->width, 3);
    assert_int_equal(length_own(&listener->protocol)->id_offset, 4);
    assert_int_equal(length_own(&listener->protocol)->id_width, 2);
    assert_int_equal(error_reply_own(&listener->protocol)->error_reply.length, 2);
    assert_memory_equal(error_reply_own(&listener->protocol)->error_reply.bytes, "\0\n", 2);
}

/* Loads a file whose listener has that protocol, or takes it from `defaults`, with variables over it. */
static const struct protocol_settings *load_over(struct config_place *place, bool in_defaults,
                                                 const char *protocol, const char *const *environment)
{
    config_place_write(place, "main.conf",
                       "defaults = { mode = \"fifo\"; %s };\n"
                       "listeners = ( { name = \"default\"; listen = \"127.0.0.1:1\"; %s\n"
                       "targets = \"x:1\"; } );\n",
                       in_defaults ? protocol : "", in_defaults ? "" : protocol);
    config_place_load(place, (char **)environment);
    config_place_expect(place, "");
    return &place->config.settings->listeners[0]->protocol;
}

static void variables_change_keys_of_the_file_s_protocol(void **state)
{
    static const char redis[] = "protocol = { type = \"redis\"; password = \"a\"; database = 4; };";
    static const char *const password[] = { "PROXIMUX_PROTOCOL_PASSWORD=bcd", NULL };
    static const char *const same[] = { "PROXIMUX_PROTOCOL=redis", NULL };
    static const char *const other[] = { "PROXIMUX_PROTOCOL=modbus", NULL };
    static const char *const match[] = { "PROXIMUX_PROTOCOL_MATCH=order", NULL };
    struct config_place *place = *state;
    for (int in_defaults = 0; in_defaults <= 1; in_defaults++) {
        const struct protocol_settings *settings = load_over(place, in_defaults, redis, password);
        assert_int_equal(redis_own(settings)->password.length, 3);
        assert_int_equal(redis_own(settings)->database, 4);
        settings = load_over(place, in_defaults, redis, same);
        assert_int_equal(redis_own(settings)->password.length, 1);
        settings = load_over(place, in_defaults, redis, other);
        assert_string_equal(settings->protocol->name, "modbus");
        assert_false(modbus_own(settings)->match_order);
        settings = load_over(place, in_defaults, "protocol = \"modbus\";", match);
        assert_true(modbus_own(settings)->match_order);
    }
}

static void variables_that_do_no_harm(void **state)
{
    static const char *const silent[] = {
        "PROXIMUX_MAX_CONNECTIONS=2",
        "PROXIMUX_LOG_LEVEL=error",
        "PROXIMUX_SERVICE_HOST=192.0.2.9",
        "PROXIMUX_SERVICE_PORT_MYSQL=3306",
        "PROXIMUX_PORT=tcp://192.0.2.9:1",
        "PROXIMUX_PORT_3306_TCP_ADDR=192.0.2.9",
        "SOMETHING_ELSE=1",
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++) {
        load_changed(place, silent[i]);
        config_place_expect(place, "");
    }
    load_changed(place, "PROXIMUX_WALLPAPER=blue");
    config_place_expect(place, "environment: warning: PROXIMUX_WALLPAPER: unknown, and ignored\n");
    load_changed(place, "TARGET_HOST_3=x");
    config_place_expect(place,
                        "environment: warning: TARGET_HOST_3: is ignored: PROXY_CONNECTIONS_CNT is 2\n");
}

static void any_negative_limit_means_none(void **state)
{
    struct config_place *place = *state;
    const char *environment[] = { "LOCAL_MAX_CONNECTIONS=-2", NULL };
    config_place_write(place, "main.conf",
                       "listeners = ( { name = \"default\"; listen = \"127.0.0.1:1\";\n"
                       "targets = \"x:1\"; max_connections = 9; } );\n");
    config_place_load(place, (char **)environment);
    config_place_expect(place, "");
    assert_int_equal(place->config.settings->listeners[0]->max_connections, -1);
}

static void the_file_s_listener_is_overridden(void **state)
{
    struct config_place *place = *state;
    const char *environment[] = { "LOCAL_HOST=::1",
                                  "LOCAL_PORT=5",
                                  "PROXY_CONNECTIONS_CNT=1",
                                  "TARGET_HOST_1=y",
                                  "TARGET_PORT_1=7",
                                  "TARGET_CONN_1_KEEP_ALIVE=1",
                                  "PROXIMUX_RETRY_MIN=11",
                                  "PROXIMUX_CLIENT_KEEP_ALIVE=false",
                                  "PROXIMUX_SHUTDOWN_DELAY=4",
                                  NULL };
    config_place_write(place, "main.conf",
                       "listeners = ( { name = \"other\"; listen = \"127.0.0.1:2\"; targets = \"z:1\"; },\n"
                       "{ name = \"default\"; listen = \"127.0.0.1:1\";\n"
                       "targets = ( \"x:1\", \"x:2\" ); queue_limit = 9; } );\n");
    config_place_load(place, (char **)environment);
    config_place_expect(place, "");
    const struct settings *settings = place->config.settings;
    const struct listener_settings *listener = settings->listeners[1];
    assert_int_equal(settings->listener_count, 2);
    assert_int_equal(settings->shutdown_delay, 4);
    assert_int_equal(settings->listeners[0]->retry_min, 250);
    assert_int_equal(listener->retry_min, 11);
    assert_int_equal(listener->queue_limit, 9);
    assert_false(listener->client_keep_alive.enabled);
    assert_string_equal(listener->listen[0].host, "::1");
    assert_int_equal(listener->target_count, 1);
    assert_string_equal(listener->targets[0].name, "y:7");
    assert_int_equal(listener->mode, MODE_PROXY);
    assert_false(listener->mode_was_auto);
}

static void without_file_and_variables_there_is_nothing(void **state)
{
    struct config_place *place = *state;
    const char *environment[] = { NULL };
    struct config_source source = { .file = config_place_path(place, "none.conf"),
                                    .file_optional = true,
                                    .environment = (char **)environment };
    config_place_load_source(place, &source);
    assert_null(place->config.settings);
    assert_non_null(strstr(place->said, "none.conf: error: there is no such file"));
    source.file_optional = false;
    config_place_load_source(place, &source);
    assert_non_null(strstr(place->said, "none.conf: error: No such file or directory"));
}

static void the_command_line_wins(void **state)
{
    struct config_place *place = *state;
    const char *environment[] = { "LOG_LEVEL=1", NULL };
    struct config_source source = { .environment = (char **)environment, .log_level = "debug" };
    config_place_write(place, "main.conf", "log = { level = 0; };\n" CONFIG_LISTENER);
    source.file = config_place_path(place, "main.conf");
    config_place_load_source(place, &source);
    config_place_expect(place, "");
    assert_int_equal(place->config.settings->log.level, LOG_LEVEL_DEBUG);
    source.log_level = "loud";
    config_place_load_source(place, &source);
    assert_null(place->config.settings);
    assert_non_null(strstr(place->said, "command line: error: --log-level: \"loud\" does not fit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(the_deployment_becomes_a_proxy),
        CONFIG_TEST(faults_name_their_variable),
        CONFIG_TEST(deployments_reach_all_modes),
        CONFIG_TEST(protocols_come_from_variables),
        CONFIG_TEST(variables_change_keys_of_the_file_s_protocol),
        CONFIG_TEST(variables_that_do_no_harm),
        CONFIG_TEST(any_negative_limit_means_none),
        CONFIG_TEST(the_file_s_listener_is_overridden),
        CONFIG_TEST(without_file_and_variables_there_is_nothing),
        CONFIG_TEST(the_command_line_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
