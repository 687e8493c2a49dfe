/* What the file may say: types and ranges of every key, unknown keys, includes, and what libconfig would
 * spoil. */
#include "config/keys.h"
#include "config/problem.h"
#include "protocol/protocols.h"
#include "unit/config_place.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The type that a protocol's key needs beside it. */
static const char *type_for(const char *name, char *text)
{
    const struct protocol *const *protocol = protocols_all();
    while (*protocol != NULL && keys_of_protocol(*protocol, name) == NULL)
        protocol++;
    text[0] = '\0';
    if (strcmp(name, "type") != 0)
        sprintf(text, "type = \"%s\";", *protocol == NULL ? "raw" : (*protocol)->name);
    return text;
}

/* Loads a configuration whose only peculiarity is that one key of the scope has that value. */
static void read_key(struct config_place *place, const struct key_scope *scope, const char *key,
                     const char *value)
{
    char type[40];
    if (scope == &keys_global && strcmp(key, "listeners") == 0)
        config_place_read(place, "%s = %s;\n", key, value);
    else if (scope == &keys_global)
        config_place_read(place, "%s = %s;\n" CONFIG_LISTENER, key, value);
    else if (scope == &keys_log)
        config_place_read(place, "log = { %s = %s; };\n" CONFIG_LISTENER, key, value);
    else if (scope == &keys_admin)
        config_place_read(place, "admin = { %s = %s; };\n" CONFIG_LISTENER, key, value);
    else if (scope ==
             &keys_listener) /* a default of what is required would only be said to be required again */
        config_place_read(place, "defaults = { %s = %s; };\n" CONFIG_LISTENER, key, value);
    else if (scope == &keys_protocol)
        config_place_read(place, "defaults = { protocol = { %s %s = %s; }; };\n" CONFIG_LISTENER,
                          type_for(key, type), key, value);
    else if (scope == &keys_module)
        config_place_read(place, "modules = ( { %s %s = %s; } );\n" CONFIG_LISTENER,
                          strcmp(key, "path") == 0 ? "" : "path = \"a.so\";", key, value);
    else if (scope == &keys_check)
        config_place_read(place, "defaults = { check = { %s = %s; }; };\n" CONFIG_LISTENER, key, value);
    else if (scope == &keys_target)
        config_place_read(place,
                          "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\";\n"
                          "targets = ( \"127.0.0.1:2\", { %s = %s; %s } ); } );\n",
                          key, value, strcmp(key, "address") == 0 ? "" : "address = \"127.0.0.1:3\";");
    else
        config_place_read(place,
                          "defaults = { protocol = { type = \"length\"; width = 2; id = { %s = %s; }; }; "
                          "};\n" CONFIG_LISTENER,
                          key, value);
}

/* Fails unless there is an error that names the key and contains `text`. */
static void expect_error_of(const struct config_place *place, const char *key, const char *text)
{
    char named[80];
    snprintf(named, sizeof named, "%s: ", key);
    assert_null(place->config.settings);
    if (strstr(place->said, "error: ") == NULL || strstr(place->said, named) == NULL ||
        strstr(place->said, text) == NULL)
        fail_msg("no error of %s with \"%s\" in:\n%s", key, text, place->said);
    if (strstr(place->said, "main.conf:") == NULL)
        fail_msg("no line is named in:\n%s", place->said);
}

typedef void key_check(struct config_place *place, const struct key_scope *scope, const struct key *key);

static void each_key(struct config_place *place, key_check *check)
{
    const struct key_scope *scope;
    const struct key *key;
    for (size_t k = 0; (scope = keys_scope(k)) != NULL; k++)
        keys_foreach(scope, i, key) check(place, scope, key);
}

static void check_wrong_type(struct config_place *place, const struct key_scope *scope, const struct key *key)
{
    read_key(place, scope, key->name, "1.5");
    expect_error_of(place, key->name, "a number with a fraction");
}

static void every_key_refuses_another_type(void **state)
{
    each_key(*state, check_wrong_type);
}

static void check_range(struct config_place *place, const struct key_scope *scope, const struct key *key)
{
    char value[32];
    char range[80];
    if (key->type != KEY_INTEGER)
        return;
    snprintf(range, sizeof range, "an integer from %" PRId64 " to %" PRId64, key->minimum, key->maximum);
    snprintf(value, sizeof value, "%" PRId64 "L", key->maximum + 1);
    read_key(place, scope, key->name, value);
    expect_error_of(place, key->name, range);
    if (key->minimum > 0 || !key->can_disable) {
        snprintf(value, sizeof value, "%" PRId64, key->minimum - 1);
        read_key(place, scope, key->name, value);
        expect_error_of(place, key->name, range);
    }
    if (!key->can_disable && key->minimum >= 0) {
        read_key(place, scope, key->name, "-7");
        expect_error_of(place, key->name, range);
    }
}

static void every_integer_has_its_range(void **state)
{
    each_key(*state, check_range);
}

static void check_disabling(struct config_place *place, const struct key_scope *scope, const struct key *key)
{
    if (!key->can_disable)
        return;
    read_key(place, scope, key->name, "-7");
    config_place_expect(place, "");
    char *dump = config_place_dump(place);
    char line[80];
    snprintf(line, sizeof line, "%s = -1;", key->name);
    assert_non_null(strstr(dump, line));
    free(dump);
}

static void any_negative_number_disables(void **state)
{
    each_key(*state, check_disabling);
}

static void check_choice(struct config_place *place, const struct key_scope *scope, const struct key *key)
{
    if (key->type != KEY_CHOICE)
        return;
    read_key(place, scope, key->name, "\"zzzzzzzz\"");
    expect_error_of(place, key->name, "is unknown: one of");
}

static void every_choice_names_its_words(void **state)
{
    each_key(*state, check_choice);
}

/* A misspelt key is an error that names the right one, in each scope. */
static void check_suggestion(struct config_place *place, const struct key_scope *scope, const struct key *key)
{
    char misspelt[80];
    char suggestion[120];
    if (strlen(key->name) < 6 || scope == &keys_module)
        return; /* too short: another key may be as near; or a module's own, which the module judges */
    snprintf(misspelt, sizeof misspelt, "%sx", key->name);
    snprintf(suggestion, sizeof suggestion, "unknown key; did you mean \"%s\"?", key->name);
    read_key(place, scope, misspelt, "1");
    expect_error_of(place, misspelt, suggestion);
}

static void misspelt_keys_are_suggested(void **state)
{
    each_key(*state, check_suggestion);
}

static void all_errors_are_reported_with_their_lines(void **state)
{
    struct config_place *place = *state;
    config_place_read(place, "shutdown_timeout = 0;\n"
                             "usr = \"x\";\n"
                             "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\";\n"
                             "targets = \"127.0.0.1:2\";\n"
                             "backlog = true;\n"
                             "mode = \"prxy\"; } );\n");
    expect_error_of(place, "shutdown_timeout", "main.conf:1: error: shutdown_timeout: 0 is out of range");
    expect_error_of(place, "usr", "main.conf:2: error: usr: unknown key; did you mean \"user\"?");
    expect_error_of(place, "backlog", "main.conf:5: error: listener \"a\": backlog:");
    expect_error_of(place, "mode", "main.conf:6: error: listener \"a\": mode: \"prxy\" is unknown");
    assert_int_equal(place->config.errors, 4);
}

static void syntax_errors_stand_alone(void **state)
{
    struct config_place *place = *state;
    config_place_read(place, "shutdown_timeout = 0;\nlisteners = (\n{ name = ; } );\n");
    config_place_expect(place, "main.conf:3: error: syntax error\n");
    config_place_read(place,
                      "shutdown_timeout = 5000000000;\nuser = \"\\x00\";\nlisteners = (\n{ name = ; } );\n");
    config_place_expect(place, "main.conf:4: error: syntax error\n");
    config_place_read(place, "user = \"a\";\nuser = \"b\";\n" CONFIG_LISTENER);
    assert_null(place->config.settings);
    assert_non_null(strstr(place->said, "main.conf:2: error: duplicate"));
}

static void numbers_that_libconfig_would_wrap(void **state)
{
    static const char *const wrapped[] = { "5000000000", "0x1FFFFFFFF", "-2147483649", "0xFFFFFFFF" };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof wrapped / sizeof wrapped[0]; i++) {
        read_key(place, &keys_global, "shutdown_timeout", wrapped[i]);
        expect_error_of(place, "shutdown_timeout", "does not fit 32 bits: write");
    }
    read_key(place, &keys_global, "shutdown_timeout", "99999999999999999999L");
    expect_error_of(place, "shutdown_timeout", "is beyond what an integer can hold");
    read_key(place, &keys_global, "shutdown_timeout", "0x10");
    assert_int_equal(place->config.settings->shutdown_timeout, 16);
    read_key(place, &keys_global, "shutdown_timeout", "5000L");
    assert_int_equal(place->config.settings->shutdown_timeout, 5000);
    /* Inside strings and comments numbers are none. */
    config_place_read(place, "# 5000000000\n/* 5000000000 */ // 5000000000\n"
                             "log = { output = \"/tmp/5000000000\"; };\n" CONFIG_LISTENER);
    config_place_expect(place, "");
}

static void zeros_that_libconfig_would_cut_at(void **state)
{
    struct config_place *place = *state;
    static const char bytes[] = "shutdown_delay = 1;\n# \0\n" CONFIG_LISTENER;
    read_key(place, &keys_global, "pid_file", "\"/tmp/a\\x00b\"");
    expect_error_of(place, "pid_file", "\\x00");
    config_place_write_bytes(place, "main.conf", bytes, sizeof bytes - 1);
    config_place_load(place, NULL);
    assert_null(place->config.settings);
    assert_non_null(strstr(place->said, "main.conf:2: error: "));
}

static void includes_are_relative_to_the_main_file(void **state)
{
    struct config_place *place = *state;
    config_place_write(place, "sub/one.conf", "shutdown_delay = 11;\n@include \"sub/two.conf\"\n");
    config_place_write(place, "sub/two.conf", "shutdown_timeout = 22;\n");
    config_place_write(place, "three.conf", "log = { level = 3; };");
    config_place_read(place, "@include \"sub/one.conf\"\n@include \"DIR/three.conf\"\n" CONFIG_LISTENER);
    config_place_expect(place, "");
    assert_int_equal(place->config.settings->shutdown_delay, 11);
    assert_int_equal(place->config.settings->shutdown_timeout, 22);
    assert_int_equal(place->config.settings->log.level, LOG_LEVEL_DEBUG);
}

static void errors_in_included_files_name_them(void **state)
{
    struct config_place *place = *state;
    config_place_write(place, "one.conf", "\n\nshutdown_delay = -1;\n");
    config_place_read(place, "@include \"one.conf\"\nshutdown_timeout = 0;\n" CONFIG_LISTENER);
    expect_error_of(place, "shutdown_delay", "one.conf:3: error: shutdown_delay");
    expect_error_of(place, "shutdown_timeout", "main.conf:2: error: shutdown_timeout");
}

static void includes_that_can_not_be(void **state)
{
    struct config_place *place = *state;
    config_place_read(place, "\n@include \"missing.conf\"\n" CONFIG_LISTENER);
    assert_null(place->config.settings);
    assert_non_null(strstr(place->said, "main.conf:2: error: @include"));
    assert_non_null(strstr(place->said, "No such file"));
    config_place_write(place, "one.conf", "@include \"main.conf\"\n");
    config_place_read(place, "@include \"one.conf\"\n" CONFIG_LISTENER);
    assert_null(place->config.settings);
    assert_non_null(strstr(place->said, "one.conf:1: error: @include"));
    assert_non_null(strstr(place->said, "includes itself"));
    for (int i = 0; i < 13; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.conf", i);
        config_place_write(place, name, "@include \"%d.conf\"\n", i + 1);
    }
    config_place_read(place, "@include \"0.conf\"\n" CONFIG_LISTENER);
    assert_null(place->config.settings);
    assert_non_null(strstr(place->said, "files deep"));
}

/* It is read in steps, and nothing of it may be lost at their ends; beyond 16 MiB it is no configuration. */
static void files_have_any_length_up_to_the_limit(void **state)
{
    static const char last[] = "shutdown_delay = 4321;\n" CONFIG_LISTENER;
    static const size_t sizes[] = { 16383, 16384, 16385, 32768, 32769, 100000, 16777216, 16777217 };
    struct config_place *place = *state;
    char *text = malloc(16777217);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t padding = sizes[i] - (sizeof last - 1);
        memset(text, ' ', padding);
        for (size_t k = 100; k < padding; k += 100)
            text[k] = '\n';
        memcpy(text + padding, last, sizeof last - 1);
        config_place_write_bytes(place, "main.conf", text, sizes[i]);
        config_place_load(place, NULL);
        if (sizes[i] <= 16777216)
            assert_int_equal(place->config.settings->shutdown_delay, 4321);
        else
            config_place_expect(place, "main.conf: error: it is too large to be a configuration\n");
    }
    free(text);
}

static void includes_inside_comments_are_none(void **state)
{
    struct config_place *place = *state;
    config_place_read(place,
                      "/*\n@include \"missing.conf\"\n*/\n# @include \"missing.conf\"\n" CONFIG_LISTENER);
    config_place_expect(place, "");
}

static void structures_have_their_shapes(void **state)
{
    struct config_place *place = *state;
    config_place_read(place, "listeners = ( 5 );\n");
    expect_error_of(place, "listeners", "a listener is a group");
    config_place_read(place,
                      "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; targets = ( 5 ); } );\n");
    expect_error_of(place, "targets", "a target is a string or a group");
    config_place_read(place, "defaults = { name = \"x\"; listen = \"127.0.0.1:9\"; };\n" CONFIG_LISTENER);
    assert_non_null(strstr(place->said, "name belongs to a listener"));
    assert_non_null(strstr(place->said, "listen belongs to a listener"));
    config_place_read(place, "\n");
    assert_non_null(strstr(place->said, "there is no listener"));
}

/* In a process that may have only a little more memory than it has. The status says how it went. */
static void read_with_little_memory(struct config_place *place)
{
    struct rlimit limit;
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        _exit(2);
    fclose(file);
    limit.rlim_cur = limit.rlim_max = pages * (rlim_t)sysconf(_SC_PAGESIZE) + (16U << 20);
    if (setrlimit(RLIMIT_AS, &limit) == -1)
        _exit(2);
    config_place_load(place, NULL);
    _exit(place->config.problems->out_of_memory ? 0 : 1);
}

/* libconfig would crash. */
static void what_needs_more_memory_than_there_is_is_refused(void **state)
{
    enum { VALUES = 1 << 19 };
    struct config_place *place = *state;
    char *text = malloc(2 * VALUES + 64);
    int status;
    if (getenv("TEST_SANITIZED") != NULL) { /* which takes all addresses there are */
        free(text);
        skip();
    }
    assert_non_null(text);
    size_t length = (size_t)sprintf(text, "x = [ ");
    for (size_t i = 0; i < VALUES; i++, length += 2)
        memcpy(text + length, "1,", 2);
    length += (size_t)sprintf(text + length, "1 ];\n");
    config_place_write_bytes(place, "main.conf", text, length);
    free(text);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        read_with_little_memory(place);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(every_key_refuses_another_type),
        CONFIG_TEST(every_integer_has_its_range),
        CONFIG_TEST(any_negative_number_disables),
        CONFIG_TEST(every_choice_names_its_words),
        CONFIG_TEST(misspelt_keys_are_suggested),
        CONFIG_TEST(all_errors_are_reported_with_their_lines),
        CONFIG_TEST(syntax_errors_stand_alone),
        CONFIG_TEST(numbers_that_libconfig_would_wrap),
        CONFIG_TEST(zeros_that_libconfig_would_cut_at),
        CONFIG_TEST(includes_are_relative_to_the_main_file),
        CONFIG_TEST(errors_in_included_files_name_them),
        CONFIG_TEST(includes_that_can_not_be),
        CONFIG_TEST(files_have_any_length_up_to_the_limit),
        CONFIG_TEST(includes_inside_comments_are_none),
        CONFIG_TEST(structures_have_their_shapes),
        CONFIG_TEST(what_needs_more_memory_than_there_is_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
