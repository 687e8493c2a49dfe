/* The table of keys, looked at as a whole: each key makes sense, and no two get in each other's way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/parsed.h"
#include "protocol/protocol.h"

#include <stdio.h>
#include <string.h>

#define TEXT_SIZE KEYS_TEXT_SIZE

/* Calls `each` for every key there is. */
static void each_key(void (*each)(const struct key *key))
{
    for (int scope = 0; scope < SCOPE_COUNT; scope++) {
        size_t count;
        const struct key *keys = keys_of((enum key_scope)scope, &count);
        assert_in_range(count, 1, KEYS_MAX);
        for (size_t i = 0; i < count; i++)
            each(&keys[i]);
    }
}

static void check_place(const struct key *key)
{
    size_t count;
    size_t index = KEYS_MAX;
    const struct key *keys = keys_of(key->scope, &count);
    assert_ptr_equal(keys_find(key->scope, key->name, &index), key); /* so names are unique as well */
    assert_ptr_equal(&keys[index], key);
    assert_int_equal(keys_index(key->scope, key->name), index);
    assert_ptr_equal(keys_find(key->scope, key->name, NULL), key);
}

static void test_each_key_is_found(void **state)
{
    (void)state;
    each_key(check_place);
    assert_null(keys_find(SCOPE_LISTENER, "level", NULL));
    assert_null(keys_find(SCOPE_LOG, "", NULL));
}

static void check_words(const struct key *key)
{
    assert_true(key->name[0] >= 'a' && key->name[0] <= 'z');
    assert_int_equal(strspn(key->name, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(key->name));
    assert_non_null(key->help);
    assert_true(strlen(key->help) > 3);
    assert_int_not_equal(key->help[strlen(key->help) - 1], '.');
}

static void test_each_key_has_name_and_help(void **state)
{
    (void)state;
    each_key(check_words);
}

static void check_fallback(const struct key *key)
{
    struct problem_list problems = { 0 };
    struct parsed_configuration parsed = { .problems = &problems };
    const struct origin origin = { .kind = ORIGIN_DEFAULT };
    struct parsed_value value = { 0 };
    char error[TEXT_SIZE];
    if (key->fallback == NULL)
        return;
    assert_false(key->required);
    assert_false(key->default_by_protocol);
    assert_false(key->is_secret);
    assert_int_not_equal(key->type, KEY_STRUCTURE);
    assert_int_not_equal(key->type, KEY_STRINGS);
    if (!parsed_read(&parsed, key, key->fallback, &origin, &value, error, sizeof error))
        fail_msg("the default of %s: %s", key->name, error);
    assert_true(value.set);
    if (key->type == KEY_STRING)
        assert_string_equal(value.string, key->fallback);
    if (key->type == KEY_CHOICE)
        assert_string_equal(key->choices[value.number], key->fallback);
    parsed_clear(&value);
    assert_int_equal(problems.errors, 0);
}

static void test_each_default_fits_its_key(void **state)
{
    (void)state;
    each_key(check_fallback);
}

static void check_range(const struct key *key)
{
    if (key->type != KEY_INTEGER) {
        assert_int_equal(key->unit, UNIT_NONE);
        assert_false(key->can_disable);
        return;
    }
    bool is_correction = strcmp(key->name, "adjust") == 0;
    assert_int_equal(key->minimum < 0, is_correction);
    assert_true(key->minimum < key->maximum);
    if (key->unit != UNIT_BYTES) /* no larger number would fit a timer or a socket option */
        assert_true(key->maximum <= INT32_MAX);
    if (key->can_disable)
        assert_int_equal(key->minimum, 1); /* 0 has no meaning of its own beside -1 */
    else if (key->fallback != NULL && !is_correction)
        assert_int_not_equal(key->fallback[0], '-');
    bool counts_time = key->unit == UNIT_MILLISECONDS;
    bool named_as_time = strstr(key->name, "timeout") != NULL || strstr(key->name, "_idle") != NULL ||
                         strstr(key->name, "_interval") != NULL || strstr(key->name, "delay") != NULL ||
                         strstr(key->name, "_gap") != NULL || strstr(key->name, "_ttl") != NULL ||
                         strncmp(key->name, "retry_", 6) == 0;
    assert_int_equal(counts_time, named_as_time);
}

static void test_ranges_are_sane(void **state)
{
    (void)state;
    each_key(check_range);
}

static void check_choices(const struct key *key)
{
    assert_int_equal(key->choices != NULL, key->type == KEY_CHOICE);
    assert_true(!key->numbered || key->type == KEY_CHOICE);
    if (key->choices == NULL)
        return;
    for (size_t i = 0; key->choices[i] != NULL; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(key->choices[i], key->choices[k]);
    assert_non_null(key->choices[1]);
}

static void test_choices_differ(void **state)
{
    (void)state;
    each_key(check_choices);
}

static void check_kind(const struct key *key)
{
    bool is_group = key->type == KEY_STRUCTURE || key->type == KEY_CHOICE;
    assert_true(key->members == SCOPE_GLOBAL || is_group);
    assert_true(key->type == KEY_STRING || !(key->is_secret || key->is_bytes));
    assert_true(key->type == KEY_BOOLEAN || !key->default_by_protocol);
    assert_int_equal(key->protocols != 0, key->scope == SCOPE_PROTOCOL);
    assert_int_equal(key->protocols >> TYPE_COUNT, 0);
}

static void test_peculiarities_fit_the_type(void **state)
{
    (void)state;
    each_key(check_kind);
}

/* The names that `protocol` takes are those of the framers, and of the two protocols that can't be shared. */
static void test_choices_of_protocol_are_the_protocols(void **state)
{
    (void)state;
    const struct key *key = keys_find(SCOPE_LISTENER, "protocol", NULL);
    size_t shared = 0;
    for (int type = 0; type < TYPE_COUNT; type++) {
        bool is_shared = type != TYPE_MYSQL && type != TYPE_POSTGRESQL;
        const char *name = keys_protocol_name((enum key_protocol)type);
        assert_string_equal(key->choices[type], name);
        if ((protocol_find(name) != NULL) != is_shared)
            fail_msg("%s is%s known as a protocol that can be shared", name, is_shared ? " not" : "");
    }
    assert_null(key->choices[TYPE_COUNT]);
    while (protocol_all()[shared] != NULL)
        shared++;
    assert_int_equal(shared, TYPE_COUNT - 2);
}

static void assert_owners(const char *name, const char *expected)
{
    char text[TEXT_SIZE];
    const struct key *key = keys_find(SCOPE_PROTOCOL, name, NULL);
    assert_string_equal(keys_owners(key, text, sizeof text), expected);
}

static void test_owners_of_keys(void **state)
{
    (void)state;
    assert_owners("response_gap", "raw");
    assert_owners("error_reply", "line, length or marks");
    assert_true(keys_belongs(keys_find(SCOPE_PROTOCOL, "error_reply", NULL), TYPE_MARKS));
    assert_false(keys_belongs(keys_find(SCOPE_PROTOCOL, "error_reply", NULL), TYPE_REDIS));
}

static void test_no_two_keys_share_a_variable(void **state)
{
    (void)state;
    static char variables[SCOPE_COUNT * KEYS_MAX][TEXT_SIZE];
    size_t found = 0;
    for (int scope = 0; scope < SCOPE_COUNT; scope++) {
        size_t count;
        const struct key *keys = keys_of((enum key_scope)scope, &count);
        for (size_t i = 0; i < count; i++) {
            if (!keys_variable(&keys[i], variables[found], TEXT_SIZE))
                continue;
            assert_int_equal(strncmp(variables[found], "PROXIMUX_", 9), 0);
            for (size_t k = 0; k < found; k++)
                assert_string_not_equal(variables[k], variables[found]);
            found++;
        }
    }
    assert_true(found > 20);
}

static void assert_variable(enum key_scope scope, const char *name, const char *expected)
{
    char variable[TEXT_SIZE] = "";
    bool has_one = keys_variable(keys_find(scope, name, NULL), variable, sizeof variable);
    assert_int_equal(has_one, expected != NULL);
    if (expected != NULL)
        assert_string_equal(variable, expected);
}

static void test_variables_by_scope(void **state)
{
    (void)state;
    assert_variable(SCOPE_GLOBAL, "pid_file", "PROXIMUX_PID_FILE");
    assert_variable(SCOPE_LOG, "level", "PROXIMUX_LOG_LEVEL");
    assert_variable(SCOPE_LISTENER, "queue_timeout", "PROXIMUX_QUEUE_TIMEOUT");
    assert_variable(SCOPE_LISTENER, "max_connections", "PROXIMUX_MAX_CONNECTIONS");
    assert_variable(SCOPE_GLOBAL, "log", NULL);
    assert_variable(SCOPE_GLOBAL, "admin", NULL);
    assert_variable(SCOPE_ADMIN, "listen", "PROXIMUX_ADMIN_LISTEN");
    assert_variable(SCOPE_ADMIN, "unix_mode", "PROXIMUX_ADMIN_UNIX_MODE");
    assert_variable(SCOPE_ADMIN, "allowlist", NULL);
    assert_variable(SCOPE_LISTENER, "name", NULL);
    assert_variable(SCOPE_LISTENER, "listen", NULL);
    assert_variable(SCOPE_LISTENER, "targets", NULL);
    assert_variable(SCOPE_TARGET, "weight", NULL);
    assert_variable(SCOPE_LISTENER, "protocol", "PROXIMUX_PROTOCOL");
    assert_variable(SCOPE_LISTENER, "async", "PROXIMUX_ASYNC");
    assert_variable(SCOPE_PROTOCOL, "type", NULL);
    assert_variable(SCOPE_PROTOCOL, "password", "PROXIMUX_PROTOCOL_PASSWORD");
    assert_variable(SCOPE_PROTOCOL, "commands", NULL);
    assert_variable(SCOPE_PROTOCOL, "id", NULL);
    assert_variable(SCOPE_PROTOCOL_ID, "width", "PROXIMUX_PROTOCOL_ID_WIDTH");
}

static void assert_described(enum key_scope scope, const char *name, const char *described,
                             const char *expected)
{
    char text[TEXT_SIZE];
    const struct key *key = keys_find(scope, name, NULL);
    assert_string_equal(keys_describe(key, text, sizeof text), described);
    assert_string_equal(keys_expectation(key, text, sizeof text), expected);
}

static void test_descriptions(void **state)
{
    (void)state;
    assert_described(SCOPE_GLOBAL, "log", "group, no default", "a group: { ... }");
    assert_described(SCOPE_GLOBAL, "listeners", "list, no default", "a list: ( ... )");
    assert_described(SCOPE_LISTENER, "targets", "list, required", "a list: ( ... )");
    assert_described(SCOPE_LISTENER, "name", "string, required", "a string");
    assert_described(SCOPE_LISTENER, "blocklist", "list of strings, no default",
                     "a string or a list of strings");
    assert_described(SCOPE_LISTENER, "ipv6_only", "boolean, default false", "true or false");
    assert_described(SCOPE_LISTENER, "connect_timeout", "integer, milliseconds, default 5000",
                     "an integer from 1 to 2147483647 (or -1: none)");
    assert_described(SCOPE_TARGET, "max_connections", "integer, connections, default -1",
                     "an integer from 1 to 2147483647 (or -1: none)");
    assert_described(SCOPE_TARGET, "port", "integer, no default", "an integer from 1 to 65535");
    assert_described(SCOPE_LOG, "format", "string, default \"text\"", "one of \"text\", \"json\"");
    assert_described(SCOPE_LISTENER, "async", "boolean, default by protocol", "true or false");
    assert_described(SCOPE_LISTENER, "protocol", "string or group, default \"raw\"",
                     "one of \"raw\", \"line\", \"length\", \"marks\", \"modbus\", \"redis\", "
                     "\"memcached\", \"http\", \"mysql\", \"postgresql\", or a group: { type = ...; ... }");
    assert_described(SCOPE_LISTENER, "memory_limit", "integer, bytes, default 268435456",
                     "an integer from 65536 to 1099511627776");
    assert_described(SCOPE_LISTENER, "pipeline_depth", "integer, requests, default 1024",
                     "an integer from 1 to 1000000");
    assert_described(SCOPE_PROTOCOL, "width", "integer, bytes, required", "an integer from 1 to 18");
    assert_described(SCOPE_PROTOCOL, "delimiter", "string, default \"\\n\"", "a string");
    assert_described(SCOPE_PROTOCOL, "id", "group, no default", "a group: { ... }");
}

static void assert_suggested(enum key_scope scope, const char *parsed, const char *meant)
{
    const struct key *key = keys_suggest(scope, parsed);
    if (meant == NULL)
        assert_null(key);
    else
        assert_string_equal(key == NULL ? "nothing" : key->name, meant);
}

static void test_suggestions(void **state)
{
    (void)state;
    assert_suggested(SCOPE_LISTENER, "max_connection", "max_connections");
    assert_suggested(SCOPE_LISTENER, "maxconnections", "max_connections");
    assert_suggested(SCOPE_LISTENER, "Listen", "listen");
    assert_suggested(SCOPE_LISTENER, "blacklist", "blocklist");
    assert_suggested(SCOPE_LISTENER, "balnace", "balance"); /* neighbours that are swapped are one slip */
    assert_suggested(SCOPE_LISTENER, "protocoll", "protocol");
    assert_suggested(SCOPE_LISTENER, "wallpaper", NULL);
    assert_suggested(SCOPE_PROTOCOL, "pasword", "password");
    assert_suggested(SCOPE_LISTENER, "", NULL);
    assert_suggested(SCOPE_TARGET, "prot", "port");
    assert_suggested(SCOPE_GLOBAL, "pidfile", "pid_file");
    assert_suggested(SCOPE_GLOBAL, "a_name_that_is_much_longer_than_any_key_could_ever_be_in_this_table",
                     NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_key_is_found),
        cmocka_unit_test(test_each_key_has_name_and_help),
        cmocka_unit_test(test_each_default_fits_its_key),
        cmocka_unit_test(test_ranges_are_sane),
        cmocka_unit_test(test_choices_differ),
        cmocka_unit_test(test_peculiarities_fit_the_type),
        cmocka_unit_test(test_choices_of_protocol_are_the_protocols),
        cmocka_unit_test(test_owners_of_keys),
        cmocka_unit_test(test_no_two_keys_share_a_variable),
        cmocka_unit_test(test_variables_by_scope),
        cmocka_unit_test(test_descriptions),
        cmocka_unit_test(test_suggestions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
