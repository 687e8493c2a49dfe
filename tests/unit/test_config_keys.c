/* The table of keys, looked at as a whole: each key makes sense, and no two get in each other's way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/parsed.h"
#include "protocol/protocols.h"

#include <stdio.h>
#include <string.h>

#define TEXT_SIZE KEYS_TEXT_SIZE

/* Calls `each` for every key there is; once for those that several protocols have. */
static void each_key(void (*each)(const struct key_scope *scope, const struct key *key))
{
    const struct key_scope *scope;
    const struct key *key;
    for (size_t k = 0; (scope = keys_scope(k)) != NULL; k++)
        keys_foreach(scope, i, key) each(scope, key);
}

/* A key is found by its name; one that several protocols have is the same for all that reads it. */
static void check_place(const struct key_scope *scope, const struct key *key)
{
    size_t index = SIZE_MAX;
    const struct key *found = keys_find(scope, key->name, &index);
    assert_non_null(found);
    assert_ptr_equal(keys_at(scope, index), found);
    assert_in_range(index, 0, keys_count(scope) - 1);
    if (found == key)
        return;
    assert_ptr_equal(scope, &keys_protocol);
    assert_int_equal(found->type, key->type);
    assert_int_equal(found->unit, key->unit);
    assert_int_equal(found->minimum, key->minimum);
    assert_int_equal(found->maximum, key->maximum);
    assert_int_equal(found->can_disable, key->can_disable);
    assert_ptr_equal(found->choices, key->choices);
    assert_ptr_equal(found->members, key->members);
    assert_string_equal(found->help, key->help);
}

static void test_each_key_is_found(void **state)
{
    (void)state;
    each_key(check_place);
    assert_null(keys_find(&keys_listener, "level", NULL));
    assert_null(keys_find(&keys_log, "", NULL));
}

static void check_words(const struct key_scope *scope, const struct key *key)
{
    (void)scope;
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

static void check_fallback(const struct key_scope *scope, const struct key *key)
{
    (void)scope;
    struct problem_list problems = { 0 };
    struct parsed_configuration parsed = { .problems = &problems };
    const struct origin origin = { .kind = ORIGIN_DEFAULT };
    struct parsed_value value = { 0 };
    if (key->fallback == NULL)
        return;
    assert_false(key->required);
    assert_int_equal(key->protocol_default, 0);
    assert_false(key->is_secret);
    assert_int_not_equal(key->type, KEY_STRUCTURE);
    assert_int_not_equal(key->type, KEY_STRINGS);
    if (!parsed_read(&parsed, key, key->fallback, &origin, &value))
        fail_msg("the default of %s: %s", key->name, problems.problems[0].text);
    assert_true(value.set);
    if (key->type == KEY_STRING)
        assert_string_equal(value.string, key->fallback);
    if (key->type == KEY_CHOICE)
        assert_string_equal(key->choices[value.number], key->fallback);
    parsed_release(&parsed);
    assert_int_equal(problems.errors, 0);
}

static void test_each_default_fits_its_key(void **state)
{
    (void)state;
    each_key(check_fallback);
}

static void check_range(const struct key_scope *scope, const struct key *key)
{
    (void)scope;
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
                         strstr(key->name, "interval") != NULL || strstr(key->name, "delay") != NULL ||
                         strstr(key->name, "_gap") != NULL || strstr(key->name, "_ttl") != NULL ||
                         strncmp(key->name, "retry_", 6) == 0 || strcmp(key->name, "slow_start") == 0;
    assert_int_equal(counts_time, named_as_time);
}

static void test_ranges_are_sane(void **state)
{
    (void)state;
    each_key(check_range);
}

static void check_choices(const struct key_scope *scope, const struct key *key)
{
    (void)scope;
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

static void check_kind(const struct key_scope *scope, const struct key *key)
{
    (void)scope;
    bool is_group = key->type == KEY_STRUCTURE || key->type == KEY_CHOICE;
    assert_true(key->members == NULL || is_group);
    assert_true(key->type == KEY_STRING || !(key->is_secret || key->is_bytes));
    assert_true(key->type == KEY_BOOLEAN || key->protocol_default == 0);
    assert_int_equal(key->accepts != NULL, key->refusal != NULL);
    if (key->size == 0 || key->equal != NULL)
        return;
    if (key->type == KEY_INTEGER)
        assert_true(key->size == sizeof(int) || key->size == sizeof(int64_t));
    else if (key->type == KEY_STRING)
        assert_true(key->size == sizeof(char *) || key->size == sizeof(struct slice));
    else if (key->type == KEY_STRINGS)
        assert_int_equal(key->size, sizeof(struct slices));
    else
        assert_true(key->size == sizeof(bool) || (key->size == sizeof(int) && key->type == KEY_CHOICE));
}

static void test_peculiarities_fit_the_type(void **state)
{
    (void)state;
    each_key(check_kind);
}

/* The names that `protocol` takes are those of the registry, each that of its protocol. */
static void test_choices_of_protocol_are_the_protocols(void **state)
{
    (void)state;
    const struct key *key = keys_find(&keys_listener, "protocol", NULL);
    size_t count = 0;
    for (; key->choices[count] != NULL; count++) {
        const struct protocol *protocol = protocols_all()[count];
        assert_string_equal(protocol->name, key->choices[count]);
        assert_ptr_equal(protocols_find(key->choices[count]), protocol);
        assert_int_equal(protocol_is_shared(protocol),
                         protocol->read_request != NULL || protocol->turn_gap != NULL);
    }
    assert_null(protocols_all()[count]);
    assert_null(protocols_find("nothing"));
}

static void assert_owners(const char *name, const char *expected)
{
    char text[TEXT_SIZE];
    assert_string_equal(keys_owners(name, text, sizeof text), expected);
}

static void test_owners_of_keys(void **state)
{
    (void)state;
    assert_owners("response_gap", "raw");
    assert_owners("error_reply", "line, length or marks");
    assert_non_null(keys_of_protocol(&protocol_marks, "error_reply"));
    assert_null(keys_of_protocol(&protocol_redis, "error_reply"));
}

static void test_no_two_keys_share_a_variable(void **state)
{
    (void)state;
    static char variables[256][TEXT_SIZE];
    size_t found = 0;
    const struct key_scope *scope;
    const struct key *key;
    for (size_t k = 0; (scope = keys_scope(k)) != NULL; k++)
        keys_foreach(scope, i, key)
        {
            if (keys_find(scope, key->name, NULL) != key ||
                !keys_variable(scope, key, variables[found], TEXT_SIZE))
                continue;
            assert_int_equal(strncmp(variables[found], "PROXIMUX_", 9), 0);
            for (size_t m = 0; m < found; m++)
                assert_string_not_equal(variables[m], variables[found]);
            assert_in_range(++found, 1, 255);
        }
    assert_true(found > 20);
}

static void assert_variable(const struct key_scope *scope, const char *name, const char *expected)
{
    char variable[TEXT_SIZE] = "";
    bool has_one = keys_variable(scope, keys_find(scope, name, NULL), variable, sizeof variable);
    assert_int_equal(has_one, expected != NULL);
    if (expected != NULL)
        assert_string_equal(variable, expected);
}

static void test_variables_by_scope(void **state)
{
    (void)state;
    assert_variable(&keys_global, "pid_file", "PROXIMUX_PID_FILE");
    assert_variable(&keys_log, "level", "PROXIMUX_LOG_LEVEL");
    assert_variable(&keys_listener, "queue_timeout", "PROXIMUX_QUEUE_TIMEOUT");
    assert_variable(&keys_listener, "max_connections", "PROXIMUX_MAX_CONNECTIONS");
    assert_variable(&keys_global, "log", NULL);
    assert_variable(&keys_global, "admin", NULL);
    assert_variable(&keys_admin, "listen", "PROXIMUX_ADMIN_LISTEN");
    assert_variable(&keys_admin, "unix_mode", "PROXIMUX_ADMIN_UNIX_MODE");
    assert_variable(&keys_admin, "allowlist", NULL);
    assert_variable(&keys_listener, "name", NULL);
    assert_variable(&keys_listener, "listen", NULL);
    assert_variable(&keys_listener, "targets", NULL);
    assert_variable(&keys_target, "weight", NULL);
    assert_variable(&keys_listener, "protocol", "PROXIMUX_PROTOCOL");
    assert_variable(&keys_listener, "async", "PROXIMUX_ASYNC");
    assert_variable(&keys_protocol, "type", NULL);
    assert_variable(&keys_listener, "check", "PROXIMUX_CHECK");
    assert_variable(&keys_check, "type", NULL);
    assert_variable(&keys_check, "interval", "PROXIMUX_CHECK_INTERVAL");
    assert_variable(&keys_protocol, "password", "PROXIMUX_PROTOCOL_PASSWORD");
    assert_variable(&keys_protocol, "commands", NULL);
    assert_variable(&keys_protocol, "id", NULL);
    assert_variable(keys_find(&keys_protocol, "id", NULL)->members, "width", "PROXIMUX_PROTOCOL_ID_WIDTH");
}

static void assert_described(const struct key_scope *scope, const char *name, const char *described,
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
    assert_described(&keys_global, "log", "group, no default", "a group: { ... }");
    assert_described(&keys_global, "listeners", "list, no default", "a list: ( ... )");
    assert_described(&keys_listener, "targets", "list, required", "a list: ( ... )");
    assert_described(&keys_listener, "name", "string, required", "a string");
    assert_described(&keys_listener, "blocklist", "list of strings, no default",
                     "a string or a list of strings");
    assert_described(&keys_listener, "ipv6_only", "boolean, default false", "true or false");
    assert_described(&keys_listener, "connect_timeout", "integer, milliseconds, default 5000",
                     "an integer from 1 to 2147483647 (or -1: none)");
    assert_described(&keys_target, "max_connections", "integer, connections, default -1",
                     "an integer from 1 to 2147483647 (or -1: none)");
    assert_described(&keys_target, "port", "integer, no default", "an integer from 1 to 65535");
    assert_described(&keys_log, "format", "string, default \"text\"", "one of \"text\", \"json\"");
    assert_described(&keys_listener, "async", "boolean, default by protocol", "true or false");
    assert_described(
        &keys_listener, "protocol", "string or group, default \"raw\"",
        "one of \"raw\", \"line\", \"length\", \"marks\", \"modbus\", \"redis\", "
        "\"memcached\", \"mllp\", \"http\", \"mysql\", \"postgresql\", or a group: { type = ...; ... }");
    assert_described(&keys_listener, "memory_limit", "integer, bytes, default 268435456",
                     "an integer from 65536 to 1099511627776");
    assert_described(&keys_listener, "pipeline_depth", "integer, requests, default 1024",
                     "an integer from 1 to 1000000");
    assert_described(&keys_protocol, "width", "integer, bytes, required", "an integer from 1 to 18");
    assert_described(&keys_protocol, "delimiter", "string, default \"\\n\"", "a string");
    assert_described(&keys_protocol, "id", "group, no default", "a group: { ... }");
}

static void assert_suggested(const struct key_scope *scope, const char *parsed, const char *meant)
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
    assert_suggested(&keys_listener, "max_connection", "max_connections");
    assert_suggested(&keys_listener, "maxconnections", "max_connections");
    assert_suggested(&keys_listener, "Listen", "listen");
    assert_suggested(&keys_listener, "blacklist", "blocklist");
    assert_suggested(&keys_listener, "balnace", "balance"); /* neighbours that are swapped are one slip */
    assert_suggested(&keys_listener, "protocoll", "protocol");
    assert_suggested(&keys_listener, "wallpaper", NULL);
    assert_suggested(&keys_protocol, "pasword", "password");
    assert_suggested(&keys_listener, "", NULL);
    assert_suggested(&keys_target, "prot", "port");
    assert_suggested(&keys_global, "pidfile", "pid_file");
    assert_suggested(&keys_global, "a_name_that_is_much_longer_than_any_key_could_ever_be_in_this_table",
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
