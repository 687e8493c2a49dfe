/* The modes: which one "auto" is, what each needs, what it ignores, and which mixtures are unsafe. */
#include "config/keys.h"
#include "unit/config_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Loads a listener with these keys, which stand on line 2. */
static void read_keys(struct config_place *place, const char *keys)
{
    config_place_read(place, "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\";\n%s } );\n", keys);
}

static void auto_has_its_rule(void **state)
{
    static const struct {
        const char *keys;
        enum listener_mode mode;
    } rows[] = {
        { "max_connections = 1; targets = \"x:1\";", MODE_PROXY },
        { "max_connections = 2; targets = ( \"x:1\", \"y:1\", { address = \"z:1\"; backup = true; } );",
          MODE_PROXY },
        { "max_connections = 5; targets = ( \"x:1\", { address = \"y:1\"; connections = 4; } );",
          MODE_PROXY },
        { "targets = \"x:1\";", MODE_FIFO },
        { "max_connections = 2; targets = \"x:1\";", MODE_FIFO },
        { "targets = ( \"x:1\", { address = \"z:1\"; backup = true; } );", MODE_FIFO },
        { "targets = ( \"x:1\", \"y:1\" );", MODE_FUNNEL },
        { "max_connections = 1; targets = ( \"x:1\", \"y:1\" );", MODE_FUNNEL },
        { "max_connections = 2; targets = ( \"x:1\", { address = \"y:1\"; connections = 4; } );",
          MODE_FUNNEL },
        { "max_connections = 1; targets = { address = \"y:1\"; connections = 2; };", MODE_FUNNEL },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char keys[256];
        char note[160];
        snprintf(keys, sizeof keys, "mode = \"auto\"; %s %s", rows[i].keys,
                 rows[i].mode == MODE_PROXY ? "" : "protocol = \"modbus\";");
        read_keys(place, keys);
        config_place_expect(place, "");
        const struct listener_settings *listener = place->config.settings->listeners[0];
        assert_int_equal(listener->mode, rows[i].mode);
        assert_true(listener->mode_was_auto);
        char *dump = config_place_dump(place);
        snprintf(note, sizeof note, "mode = \"auto\";  # %s/main.conf:2, which means \"%s\" here\n",
                 place->directory, settings_mode_name(rows[i].mode));
        assert_non_null(strstr(dump, note));
        free(dump);
    }
}

static void numbers_of_shared_modes(void **state)
{
    struct config_place *place = *state;
    read_keys(place, "mode = \"funnel\"; protocol = \"http\"; client_idle_timeout = 1; request_timeout = 2;"
                     "stall_timeout = 3; pipeline_depth = 4; connect_delay = 5; request_gap = 6;"
                     "connection_ttl = 7; max_requests_per_connection = 8; warmup = true;"
                     "buffer_limit = 1024; memory_limit = 1099511627776L; max_message = 9;"
                     "targets = { address = \"x:1\"; connections = 10; };");
    config_place_expect(place, "");
    const struct listener_settings *listener = place->config.settings->listeners[0];
    assert_int_equal(listener->mode, MODE_FUNNEL);
    assert_false(listener->mode_was_auto);
    assert_int_equal(listener->client_idle_timeout, 1);
    assert_int_equal(listener->request_timeout, 2);
    assert_int_equal(listener->stall_timeout, 3);
    assert_int_equal(listener->pipeline_depth, 4);
    assert_int_equal(listener->connect_delay, 5);
    assert_int_equal(listener->request_gap, 6);
    assert_int_equal(listener->connection_ttl, 7);
    assert_int_equal(listener->max_requests_per_connection, 8);
    assert_true(listener->warmup);
    assert_int_equal(listener->buffer_limit, 1024);
    assert_int_equal(listener->memory_limit, INT64_C(1) << 40);
    assert_int_equal(listener->max_message, 9);
    assert_int_equal(listener->targets[0].connections, 10);
    read_keys(place, "mode = \"fifo\"; protocol = \"http\"; targets = \"x:1\";");
    listener = place->config.settings->listeners[0];
    assert_int_equal(listener->client_idle_timeout, -1);
    assert_int_equal(listener->request_timeout, 30000);
    assert_int_equal(listener->stall_timeout, 10000);
    assert_int_equal(listener->pipeline_depth, 1024);
    assert_int_equal(listener->connection_ttl, -1);
    assert_false(listener->warmup);
    assert_int_equal(listener->buffer_limit, 65536);
    assert_int_equal(listener->memory_limit, 268435456);
    assert_int_equal(listener->max_message, -1);
    assert_int_equal(listener->targets[0].connections, 1);
}

static void modes_that_can_not_be(void **state)
{
    static const struct {
        const char *keys;
        const char *said;
    } rows[] = {
        { "mode = \"fifo\"; protocol = \"modbus\"; targets = ( \"x:1\", \"y:1\" );",
          "targets: mode \"fifo\" has exactly one target that is no backup, not 2" },
        { "mode = \"fifo\"; protocol = \"modbus\"; targets = { address = \"x:1\"; backup = true; };",
          "targets: mode \"fifo\" has exactly one target that is no backup, not 0" },
        { "mode = \"fifo\"; protocol = \"modbus\"; targets = { address = \"x:1\"; connections = 2; };",
          "target: connections: mode \"fifo\" has one target connection; \"funnel\" has more" },
        { "mode = \"auto\"; protocol = \"modbus\";"
          "targets = ( \"x:1\", { address = \"x:2\"; backup = true; connections = 2; } );",
          "target: connections: mode \"fifo\" (\"auto\" means that here) has one target connection" },
        { "mode = \"auto\"; protocol = \"mysql\"; targets = ( \"x:1\", \"y:1\" );",
          "protocol: \"mysql\" can't be shared, which mode \"funnel\" (\"auto\" means that here) would do" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        read_keys(place, rows[i].keys);
        if (place->config.settings != NULL || strstr(place->said, rows[i].said) == NULL)
            fail_msg("row %zu: \"%s\" is missing in:\n%s", i, rows[i].said, place->said);
        assert_non_null(strstr(place->said, "main.conf:2: error: listener \"a\": "));
    }
}

/* What was wrong already does not make "auto" guess. */
static void auto_waits_for_right_targets(void **state)
{
    static const char *const wrong[] = {
        "targets = ( \"x:1\", \"y\" );",
        "targets = ( \"x:1\", { address = \"y:1\"; connections = 0; } );",
        "targets = ( \"x:1\", { address = \"y:1\"; backup = 1; } );",
        "targets = ( \"x:1\", \"y:1\" ); max_connections = 0;",
        "targets = ( );",
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char keys[160];
        snprintf(keys, sizeof keys, "mode = \"auto\"; protocol = \"mysql\"; %s", wrong[i]);
        read_keys(place, keys);
        if (place->config.errors != 1 || strstr(place->said, "auto") != NULL)
            fail_msg("%s: more than one error:\n%s", wrong[i], place->said);
    }
}

/* Something else than the default, for a key of a listener or of a target. */
static void unusual_value(const struct key *key, char *text, size_t size)
{
    if (key->type == KEY_BOOLEAN)
        snprintf(text, size, "%s",
                 key->fallback != NULL && strcmp(key->fallback, "true") == 0 ? "false" : "true");
    else
        snprintf(text, size, "%lldL", (long long)key->maximum);
}

/* Loads a listener of that mode that has one unusual value. */
static void read_unusual(struct config_place *place, const struct key_scope *scope, const struct key *key,
                         enum listener_mode mode)
{
    char value[40];
    unusual_value(key, value, sizeof value);
    bool is_target = scope == &keys_target;
    config_place_read(place,
                      "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; mode = \"%s\"; %s\n"
                      "%s%s = %s;%s } );\n",
                      settings_mode_name(mode), mode == MODE_PROXY ? "" : "protocol = \"memcached\";",
                      is_target ? "targets = ( { address = \"x:1\"; " : "targets = \"x:1\"; ", key->name,
                      value, is_target ? " } );" : "");
}

static void keys_without_effect_are_warned_of(void **state)
{
    struct config_place *place = *state;
    size_t warned = 0;
    static const struct key_scope *const scopes[] = { &keys_listener, &keys_target };
    for (size_t k = 0; k < 2; k++) {
        const struct key_scope *scope = scopes[k];
        const struct key *key;
        keys_foreach(scope, i, key)
        {
            enum listener_mode without = key->use == USE_PROXY ? MODE_FUNNEL : MODE_PROXY;
            enum listener_mode with = key->use == USE_PROXY ? MODE_PROXY : MODE_FUNNEL;
            char said[160];
            if (key->use == USE_ALWAYS)
                continue;
            snprintf(said, sizeof said,
                     "main.conf:2: warning: listener \"a\": %s%s: has no effect in mode \"%s\"\n",
                     scope == &keys_target ? "target: " : "", key->name, settings_mode_name(without));
            read_unusual(place, scope, key, without);
            config_place_expect(place, said);
            read_unusual(place, scope, key, with);
            assert_null(strstr(place->said, "has no effect"));
            assert_int_equal(place->config.errors, 0);
            warned++;
        }
    }
    assert_true(warned >= 17);
}

static void keys_without_effect_may_be_defaults(void **state)
{
    struct config_place *place = *state;
    config_place_read(place,
                      "defaults = { request_timeout = 5; warmup = true; half_close_timeout = 9;\n"
                      "targets = { address = \"x:1\"; max_connections = 3; }; };\n"
                      "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; },\n"
                      "{ name = \"b\"; listen = \"127.0.0.1:2\"; mode = \"fifo\"; protocol = \"http\";\n"
                      "targets = { address = \"x:2\"; }; } );\n");
    config_place_expect(place, "");
    assert_int_equal(place->config.settings->listeners[1]->request_timeout, 5);
}

/* A value that is the default anyway says nothing, which a dump that is read again relies on. */
static void defaults_that_are_spelt_out_are_silent(void **state)
{
    struct config_place *place = *state;
    read_keys(place,
              "targets = { address = \"x:1\"; connections = 1; }; async = false; abort_on_close = false;"
              "warmup = false; request_timeout = 30000; max_message = -1; connect_delay = 0;");
    config_place_expect(place, "");
}

static void mixtures_that_are_unsafe(void **state)
{
    static const struct {
        const char *keys;
        const char *said;
    } rows[] = {
        { "protocol = \"line\"; async = true;", "async: without ids only their order tells" },
        { "protocol = { type = \"length\"; width = 2; }; async = true;", "async: without ids" },
        { "protocol = { type = \"marks\"; start = \"<\"; end = \">\"; }; async = true;",
          "async: without ids" },
        { "protocol = { type = \"modbus\"; match = \"order\"; }; async = true;", "async: without ids" },
        { "protocol = \"http\"; async = true;", "async: not every server stands pipelined requests" },
        { "protocol = \"redis\"; request_gap = 5;", "request_gap: with async requests are sent together" },
        { "protocol = \"http\"; connection_ttl = 100; connect_delay = 100;",
          "connection_ttl: is not longer than connect_delay" },
        { "protocol = \"http\"; memory_limit = 100000;", "memory_limit: is less than twice buffer_limit" },
    };
    static const char *const safe[] = {
        "protocol = { type = \"length\"; width = 2; id = { offset = 2; width = 2; }; }; async = true;",
        "protocol = \"modbus\"; async = true;",
        "protocol = \"redis\"; async = false; request_gap = 5;",
        "protocol = \"memcached\";",
        "protocol = \"http\"; connection_ttl = 101; connect_delay = 100;",
    };
    struct config_place *place = *state;
    char keys[256];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(keys, sizeof keys, "mode = \"fifo\"; targets = \"x:1\"; %s", rows[i].keys);
        read_keys(place, keys);
        assert_int_equal(place->config.errors, 0);
        assert_ptr_equal(strstr(place->said, "main.conf:2: warning: listener \"a\": "), place->said);
        if (strstr(place->said, rows[i].said) == NULL)
            fail_msg("row %zu: \"%s\" is missing in:\n%s", i, rows[i].said, place->said);
    }
    for (size_t i = 0; i < sizeof safe / sizeof safe[0]; i++) {
        snprintf(keys, sizeof keys, "mode = \"fifo\"; targets = \"x:1\"; %s", safe[i]);
        read_keys(place, keys);
        config_place_expect(place, "");
    }
}

static void a_wrong_mode_is_one_error(void **state)
{
    struct config_place *place = *state;
    read_keys(place, "mode = \"fifoo\"; request_timeout = 7; protocol = \"redis\"; targets = \"x:1\";");
    assert_int_equal(place->config.errors, 1);
    assert_null(strstr(place->said, "warning"));
    config_place_read(place, "defaults = { mode = \"fifoo\"; };\n"
                             "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; request_timeout = 7;\n"
                             "targets = \"x:1\"; } );\n");
    assert_int_equal(place->config.errors, 1);
    assert_null(strstr(place->said, "warning"));
}

/* A listener in mode fifo, and a door with these keys on line 2. */
static void read_door(struct config_place *place, const char *mode, const char *keys)
{
    config_place_read(place,
                      "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; mode = \"%s\"; protocol = "
                      "\"redis\"; targets = \"x:1\"; queue_limit = 7; max_connections = 2; }, {\n"
                      "name = \"b\"; listen = \"127.0.0.1:2\"; %s } );\n",
                      mode, keys);
}

static void a_door_has_what_its_owner_has(void **state)
{
    struct config_place *place = *state;
    read_door(place, "fifo", "targets_of = \"a\"; priority = 9; max_connections = 3;");
    config_place_expect(place, "");
    const struct listener_settings *owner = place->config.settings->listeners[0];
    const struct listener_settings *door = place->config.settings->listeners[1];
    assert_ptr_equal(door->shared, owner);
    assert_int_equal(settings_find_shared(place->config.settings, door), 0);
    assert_int_equal(settings_find_shared(place->config.settings, owner), SIZE_MAX);
    assert_string_equal(door->name, "b");
    assert_int_equal(door->mode, MODE_FIFO);
    assert_string_equal(door->protocol.protocol->name, "redis");
    assert_int_equal(door->queue_limit, 7);
    assert_int_equal(door->max_connections, 3);
    assert_int_equal(door->priority, 9);
    assert_int_equal(owner->priority, 0);
    char *dump = config_place_dump(place);
    const char *printed = strstr(dump, "targets_of = \"a\";");
    assert_non_null(printed);
    assert_null(strstr(printed, "mode = ")); /* what is printed can be read again */
    assert_null(strstr(printed, "targets = "));
    free(dump);
}

static void a_door_may_come_before_its_owner(void **state)
{
    struct config_place *place = *state;
    config_place_read(place,
                      "defaults = { queue_limit = 3; targets = \"y:1\"; priority = 1; };\n"
                      "listeners = ( { name = \"b\"; listen = \"127.0.0.1:2\"; targets_of = \"a\"; },\n"
                      "{ name = \"a\"; listen = \"127.0.0.1:1\"; mode = \"auto\"; protocol = \"http\"; "
                      "priority = 0; } );\n");
    config_place_expect(place, "");
    const struct listener_settings *door = place->config.settings->listeners[0];
    assert_ptr_equal(door->shared, place->config.settings->listeners[1]);
    assert_int_equal(door->mode, MODE_FIFO);
    assert_false(door->mode_was_auto);
    assert_int_equal(door->queue_limit, 3);
    assert_int_equal(door->priority, 1);
}

static void doors_that_can_not_be(void **state)
{
#define SAYS "main.conf:2: error: listener \"b\": "
    static const struct {
        const char *mode;
        const char *keys;
        const char *said;
    } rows[] = {
        { "fifo", "targets_of = \"aa\";",
          SAYS "targets_of: there is no listener \"aa\"; did you mean \"a\"?\n" },
        { "fifo", "targets_of = \"b\";",
          SAYS "targets_of: \"b\" has no targets of its own: it has targets_of itself\n" },
        { "proxy", "targets_of = \"a\";",
          SAYS
          "targets_of: \"a\" is in mode \"proxy\", where each client has a target connection of its own and "
          "nothing is shared\n" },
        { "fifo", "targets_of = \"a\"; mode = \"fifo\"; async = false;",
          SAYS "mode: is what \"a\" has: beside targets_of there are only keys of the client's side\n" SAYS
               "async: is what \"a\" has: beside targets_of there are only keys of the client's side\n" },
        { "fifo", "targets_of = \"a\"; targets = \"x:1\";",
          SAYS "targets: is what \"a\" has: beside targets_of there are only keys of the client's side\n" },
        { "fifo", "targets_of = \"a\"; priority = 10;",
          SAYS "priority: 10 is out of range: an integer from 0 to 9 is wanted\n" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        read_door(place, rows[i].mode, rows[i].keys);
        if (strstr(place->said, rows[i].said) == NULL)
            fail_msg("row %zu: \"%s\" is missing in:\n%s", i, rows[i].said, place->said);
        assert_null(place->config.settings);
    }
    config_place_read(place, "defaults = { targets_of = \"a\"; };\n" CONFIG_LISTENER);
    config_place_expect(place, "main.conf:1: error: defaults: targets_of belongs to a listener\n");
    /* what is wrong with the owner is said once */
    config_place_read(place,
                      "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; mode = \"fifo\"; protocol = "
                      "\"http\"; }, { name = \"b\"; listen = \"127.0.0.1:2\"; targets_of = \"a\"; } );\n");
    config_place_expect(place, "main.conf:1: error: listener \"a\": targets: is required\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(auto_has_its_rule),
        CONFIG_TEST(numbers_of_shared_modes),
        CONFIG_TEST(modes_that_can_not_be),
        CONFIG_TEST(auto_waits_for_right_targets),
        CONFIG_TEST(keys_without_effect_are_warned_of),
        CONFIG_TEST(keys_without_effect_may_be_defaults),
        CONFIG_TEST(defaults_that_are_spelt_out_are_silent),
        CONFIG_TEST(mixtures_that_are_unsafe),
        CONFIG_TEST(a_wrong_mode_is_one_error),
        CONFIG_TEST(a_door_has_what_its_owner_has),
        CONFIG_TEST(a_door_may_come_before_its_owner),
        CONFIG_TEST(doors_that_can_not_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
