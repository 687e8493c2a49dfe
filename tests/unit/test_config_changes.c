/* What a reload notices: each key of the table is changed alone, and its change has to be seen, both where what
 * differs is named and where settings are compared. A key that were forgotten there would change the rules in the
 * middle of a stream. */
#include "config/changes.h"
#include "config/keys.h"
#include "protocol/protocols.h"
#include "unit/config_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_SIZE 4096

/* Two values that a key can have, as the file writes them. */
struct values {
    char one[80];
    char other[80];
};

/* Those that are no matter of the type alone. */
static bool find_special(const struct key_scope *scope, const char *name, struct values *values)
{
    static const struct {
        const char *name;
        struct values values;
    } rows[] = {
        { "user", { "\"root\"", "\"0\"" } },
        { "group", { "\"root\"", "\"0\"" } },
        { "unix_user", { "\"root\"", "\"0\"" } },
        { "unix_group", { "\"root\"", "\"0\"" } },
        { "pid_file", { "\"/run/a\"", "\"/run/b\"" } },
        { "output", { "\"stderr\"", "\"syslog\"" } },
        { "unix_mode", { "\"0600\"", "\"0640\"" } },
        { "check", { "\"none\"", "\"connect\"" } },
        { "listen", { "\"127.0.0.1:7\"", "\"127.0.0.1:8\"" } },
        { "blocklist", { "\"10.0.0.0/8\"", "\"10.0.0.0/9\"" } },
        { "allowlist", { "\"10.0.0.0/8\"", "\"10.0.0.0/9\"" } },
        { "accept_proxy_protocol", { "\"10.0.0.0/8\"", "\"10.0.0.0/9\"" } },
        { "mode", { "\"proxy\"", "\"fifo\"" } },
        { "address", { "\"127.0.0.1:2\"", "\"127.0.0.1:3\"" } },
        { "host", { "\"127.0.0.1\"", "\"127.0.0.2\"" } },
        { "path", { "\"a.so\"", "\"b.so\"" } },
        { "listeners", { "\"a\"", "\"b\"" } },
        { "retry_min", { "20", "21" } },
        { "width", { "2", "4" } },
        { "id", { "{ offset = 4; width = 2; }", "{ offset = 4; width = 3; }" } },
    };
    if (scope == &keys_check && strcmp(name, "path") == 0) {
        *values = (struct values){ "\"/a\"", "\"/b\"" };
        return true;
    }
    if (scope == &keys_check && strcmp(name, "address") == 0)
        return false;
    if (scope == &keys_check && strcmp(name, "type") == 0) {
        *values = (struct values){ "\"none\"", "\"connect\"" };
        return true;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].name, name) == 0) {
            *values = rows[i].values;
            return true;
        }
    if (strcmp(name, "offset") == 0) {
        bool is_of_id = scope != &keys_protocol;
        *values = (struct values){ "", "" };
        strcpy(values->one, is_of_id ? "4" : "0");
        strcpy(values->other, is_of_id ? "5" : "1");
        return true;
    }
    return false;
}

static struct values choose_values(const struct key_scope *scope, const struct key *key)
{
    struct values values = { "\"one\"", "\"other\"" };
    if (find_special(scope, key->name, &values))
        return values;
    if (key->type == KEY_INTEGER) {
        snprintf(values.one, sizeof values.one, "%lldL", (long long)key->maximum - 1);
        snprintf(values.other, sizeof values.other, "%lldL", (long long)key->maximum);
    } else if (key->type == KEY_BOOLEAN) {
        strcpy(values.one, "true");
        strcpy(values.other, "false");
    } else if (key->type == KEY_CHOICE) {
        snprintf(values.one, sizeof values.one, "\"%s\"", key->choices[0]);
        snprintf(values.other, sizeof values.other, "\"%s\"", key->choices[1]);
    }
    return values;
}

/* A check in which this key has an effect. */
static void compose_check(char *text, size_t size, const char *name, const char *keys)
{
    bool is_of_exchange = strcmp(name, "send") == 0 || strcmp(name, "expect") == 0;
    bool is_of_http = strcmp(name, "path") == 0 || strcmp(name, "status") == 0;
    bool is_of_modbus = strstr("unit function address", name) != NULL;
    snprintf(text, size, "protocol = \"%s\"; check = { %s%s %s };",
             is_of_http     ? "http"
             : is_of_modbus ? "modbus"
                            : "raw",
             strcmp(name, "type") == 0    ? ""
             : is_of_exchange             ? "type = \"exchange\";"
             : is_of_http || is_of_modbus ? "type = \"protocol\";"
                                          : "type = \"connect\";",
             strcmp(name, "expect") == 0 ? "send = \"a\";" : "", keys);
}

/* A configuration in which this key of the scope has this value, and which is right otherwise. */
static void compose(char *text, const struct key_scope *scope, const struct protocol *protocol,
                    const char *name, const char *value)
{
    static const char owners[] =
        ", { name = \"one\"; listen = \"127.0.0.1:3\"; mode = \"fifo\"; targets = \"x:1\"; }"
        ", { name = \"other\"; listen = \"127.0.0.1:4\"; mode = \"fifo\"; targets = \"x:1\"; }";
    char keys[256] = "", listener[1024] = "", target[512] = "";
    bool is_door = strcmp(name, "targets_of") == 0;
    snprintf(keys, sizeof keys, "%s = %s;", name, value);
    if (scope == &keys_listener)
        snprintf(listener, sizeof listener, "%s", keys);
    if (scope == &keys_target)
        snprintf(target, sizeof target, "%s%s", keys,
                 strcmp(name, "host") == 0   ? "port = 2;"
                 : strcmp(name, "port") == 0 ? "host = \"127.0.0.1\";"
                                             : "");
    bool is_type = strcmp(name, "type") == 0;
    const char *needed = protocol == NULL || is_type                                           ? ""
                         : strcmp(protocol->name, "length") == 0 && strcmp(name, "width") != 0 ? "width = 2;"
                         : strcmp(protocol->name, "marks") != 0                                ? ""
                         : strcmp(name, "start") == 0 ? "end = \"z\";"
                         : strcmp(name, "end") == 0   ? "start = \"a\";"
                                                      : "start = \"a\"; end = \"z\";";
    if (strcmp(name, "username") == 0)
        needed = "password = \"p\";";
    if (scope == &keys_protocol)
        snprintf(listener, sizeof listener, "protocol = { %s%s%s%s %s };", is_type ? "" : "type = \"",
                 is_type ? "" : protocol->name, is_type ? "" : "\";", needed, keys);
    else if (scope == &keys_check)
        compose_check(listener, sizeof listener, name, keys);
    else if (keys_is_of_listener(scope) && scope != &keys_listener && scope != &keys_target &&
             scope != &keys_module)
        snprintf(listener, sizeof listener, "protocol = { type = \"%s\"; width = 2; id = { %s %s }; };",
                 protocol->name, keys, strcmp(name, "offset") == 0 ? "width = 3;" : "offset = 6;");
    snprintf(text, TEXT_SIZE,
             "%s log = { %s }; admin = { %s }; modules = ( { %s %s } );\n"
             "listeners = ( { %s %s %s %s%s %s%s } %s );\n",
             scope == &keys_global ? keys : "", scope == &keys_log ? keys : "",
             scope == &keys_admin ? keys : "",
             scope == &keys_module && strcmp(name, "path") == 0 ? "" : "path = \"a.so\";",
             scope == &keys_module ? keys : "", strcmp(name, "name") == 0 ? "" : "name = \"a\";",
             scope == &keys_listener && strcmp(name, "listen") == 0 ? "" : "listen = \"127.0.0.1:1\";",
             listener, is_door ? "" : "targets = ( { ",
             is_door || (scope == &keys_target && strstr("address host port", name) != NULL)
                 ? ""
                 : "address = \"127.0.0.1:2\";",
             is_door ? "" : target, is_door ? "" : "} );", is_door ? owners : "");
}

static void load(struct config_place *place, const char *text, struct config *config)
{
    config_place_write_bytes(place, "main.conf", text, strlen(text));
    const struct config_source source = { .file = config_place_path(place, "main.conf"),
                                          .environment = (char *[]){ NULL } };
    config_load(&source, config);
    if (config->settings == NULL) {
        config_print_problems(config, stderr);
        fail_msg("refused: %s", text);
    }
}

/* Whether settings that a running listener or target compares are the same. */
static bool are_settings_equal(const struct config *a, const struct config *b)
{
    const struct listener_settings *one = a->settings->listeners[0], *other = b->settings->listeners[0];
    return protocol_settings_equal(&one->protocol, &other->protocol) &&
           (one->target_count == 0 || target_settings_equal(&one->targets[0], &other->targets[0]));
}

/* Where the change of a key has to be named: in the listener, or outside. */
static const char *name_of_change(const struct key_scope *scope, const struct key *key)
{
    if (scope == &keys_log)
        return "log";
    if (scope == &keys_admin)
        return "admin";
    if (scope == &keys_module)
        return "modules";
    if (scope == &keys_target)
        return "targets";
    if (scope == &keys_check)
        return "check";
    return scope == &keys_global || scope == &keys_listener ? key->name : "protocol";
}

/* The keys that differ: those of the one listener, or those outside of it. */
static void name_changes(const struct config *before, const struct config *after, bool of_listener,
                         char *named, size_t size)
{
    struct config_changes changes;
    assert_true(config_compare(before, after, &changes));
    assert_in_range(changes.count, 1, 3); /* the others are owners of the first */
    snprintf(named, size, "%s", of_listener ? changes.listeners[0].keys : changes.keys);
    config_changes_free(&changes);
}

static void check_change(struct config_place *place, const struct key_scope *scope,
                         const struct protocol *protocol, const struct key *key)
{
    struct config before, same, after;
    char text[TEXT_SIZE], named[200];
    struct values values = choose_values(scope, key);
    bool is_compared = scope == &keys_target ||
                       (keys_is_of_listener(scope) && scope != &keys_listener && scope != &keys_module);
    bool of_listener = keys_is_of_listener(scope) && scope != &keys_module;
    compose(text, scope, protocol, key->name, values.one);
    load(place, text, &before);
    load(place, text, &same);
    compose(text, scope, protocol, key->name, values.other);
    load(place, text, &after);
    name_changes(&before, &same, of_listener, named, sizeof named);
    assert_string_equal(named, "");
    assert_true(are_settings_equal(&before, &same));
    name_changes(&before, &after, of_listener, named, sizeof named);
    if (strcmp(key->name, "mode") == 0) /* and so do keys whose default depends on it */
        named[strcspn(named, ",")] = '\0';
    if (strcmp(named, name_of_change(scope, key)) != 0)
        fail_msg("%s from %s to %s: \"%s\" is said to differ", key->name, values.one, values.other, named);
    if (is_compared && are_settings_equal(&before, &after))
        fail_msg("%s from %s to %s: the settings are said to be equal", key->name, values.one, values.other);
    config_free(&before);
    config_free(&same);
    config_free(&after);
}

/* Whether there is one value to change: no group, and not a name, which makes another listener of it. */
static bool is_checked(const struct key_scope *scope, const struct key *key)
{
    return (key->type != KEY_STRUCTURE || strcmp(key->name, "id") == 0) &&
           !(scope == &keys_listener && strcmp(key->name, "name") == 0);
}

static void each_key_is_noticed(void **state)
{
    const struct key_scope *scope;
    const struct key *key;
    size_t checked = 0;
    for (size_t k = 0; (scope = keys_scope(k)) != NULL; k++)
        for (size_t i = 0; i < scope->count; i++) {
            key = &scope->keys[i];
            if (!is_checked(scope, key))
                continue;
            check_change(*state, scope, protocols_find("length"), key);
            checked++;
        }
    for (const struct protocol *const *protocol = protocols_all(); *protocol != NULL; protocol++)
        for (size_t i = 0; i < (*protocol)->key_count; i++) {
            check_change(*state, &keys_protocol, *protocol, &(*protocol)->keys[i]);
            checked++;
        }
    assert_true(checked > 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = { CONFIG_TEST(each_key_is_noticed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
