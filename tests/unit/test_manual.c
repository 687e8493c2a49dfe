/* The manual page of the configuration against the table of keys, both ways: no key without its entry, no
 * entry without its key, and what an entry says first is what the table says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/keys.h"
#include "config/problem.h"
#include "protocol/protocols.h"
#include "unit/config_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE "man/proximux.conf.5"

/* The page as lines. */
struct page {
    char *text;
    char **lines;
    size_t count;
};

/* Lines of a page: from `first` up to, not including, `end`. */
struct section {
    size_t first;
    size_t end;
};

static struct page page;

static char *read_page(void)
{
    const char *source = getenv("srcdir");
    char path[512];
    char *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s", source == NULL ? "." : source, PAGE);
    FILE *stream = fopen(path, "r");
    if (stream == NULL || getdelim(&text, &size, '\0', stream) == -1) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    fclose(stream);
    return text;
}

static int load_page(void **state)
{
    (void)state;
    page.text = read_page();
    char *rest = page.text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char **grown = reallocarray(page.lines, page.count + 1, sizeof(char *));
        assert_non_null(grown);
        page.lines = grown;
        page.lines[page.count++] = line;
    }
    return 0;
}

static int free_page(void **state)
{
    (void)state;
    free(page.lines);
    free(page.text);
    return 0;
}

static bool begins_with(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

/* The section that this heading opens; it goes up to the next heading of its own or a higher rank. */
static struct section find_section(const char *heading)
{
    struct section section = { 0, page.count };
    while (section.first < page.count && strcmp(page.lines[section.first], heading) != 0)
        section.first++;
    if (section.first == page.count)
        fail_msg("the page has no line \"%s\"", heading);
    section.first++;
    bool is_subsection = begins_with(heading, ".Ss ");
    for (size_t i = section.end; i-- > section.first;)
        if (begins_with(page.lines[i], ".Sh ") || (is_subsection && begins_with(page.lines[i], ".Ss ")))
            section.end = i;
    return section;
}

static struct section section_of(const struct key_scope *scope)
{
    static const struct {
        const struct key_scope *scope;
        const char *heading;
    } headings[] = {
        { &keys_global, ".Ss Global keys" }, { &keys_log, ".Ss Log keys" },
        { &keys_admin, ".Ss Admin keys" },   { &keys_listener, ".Ss Listener keys" },
        { &keys_target, ".Ss Target keys" }, { &keys_protocol, ".Ss Protocol keys" },
        { &keys_module, ".Ss Module keys" }, { &keys_check, ".Ss Check keys" },
    };
    for (size_t i = 0; i < sizeof headings / sizeof headings[0]; i++)
        if (headings[i].scope == scope)
            return find_section(headings[i].heading);
    return find_section(".Ss Id keys"); /* the one group inside a protocol's */
}

/* Whether it is to be looked at: once, where several protocols have it. */
static bool counts(const struct key_scope *scope, const struct key *key)
{
    return keys_find(scope, key->name, NULL) == key;
}

/* The line of a key's entry in a section; fails unless there is exactly one. */
static size_t find_entry(struct section section, const char *key)
{
    char entry[80];
    size_t found = page.count;
    snprintf(entry, sizeof entry, ".It Ic %s", key);
    for (size_t i = section.first; i < section.end; i++) {
        if (strcmp(page.lines[i], entry) != 0)
            continue;
        if (found != page.count)
            fail_msg("lines %zu and %zu both describe %s", found + 1, i + 1, key);
        found = i;
    }
    if (found == page.count)
        fail_msg("the section that begins at line %zu has no entry \"%s\"", section.first, entry);
    return found;
}

/* Whether a line of the page says what the reader is to see: a backslash is written \\e there. */
static bool line_reads(const char *line, const char *text)
{
    for (; *line != '\0' && *text != '\0'; line++, text++) {
        if (*line != *text)
            return false;
        if (*line == '\\' && *++line != 'e')
            return false;
    }
    return *line == *text;
}

static void test_each_key_has_its_entry(void **state)
{
    (void)state;
    const struct key_scope *scope;
    const struct key *key;
    for (size_t k = 0; (scope = keys_scope(k)) != NULL; k++) {
        struct section section = section_of(scope);
        keys_foreach(scope, i, key)
        {
            if (!counts(scope, key))
                continue;
            char described[KEYS_TEXT_SIZE];
            char wanted[KEYS_TEXT_SIZE + 1];
            size_t entry = find_entry(section, key->name);
            snprintf(wanted, sizeof wanted, "%s.", keys_describe(key, described, sizeof described));
            if (!line_reads(page.lines[entry + 1], wanted))
                fail_msg("%s, line %zu: \"%s\" should be \"%s\"", key->name, entry + 2, page.lines[entry + 1],
                         wanted);
            assert_string_equal(page.lines[entry + 2], ".Pp"); /* what it means follows */
            assert_true(strlen(page.lines[entry + 3]) > 0);
        }
    }
}

static void test_each_entry_has_its_key(void **state)
{
    (void)state;
    struct section all = find_section(".Sh KEYS");
    size_t entries = 0;
    size_t keys = 0;
    const struct key_scope *scope;
    const struct key *key;
    for (size_t k = 0; (scope = keys_scope(k)) != NULL; k++) {
        struct section section = section_of(scope);
        keys_foreach(scope, i, key) keys += counts(scope, key);
        for (size_t i = section.first; i < section.end; i++) {
            if (!begins_with(page.lines[i], ".It Ic "))
                continue;
            entries++;
            if (keys_find(scope, page.lines[i] + strlen(".It Ic "), NULL) == NULL)
                fail_msg("line %zu describes \"%s\", which is no key there", i + 1, page.lines[i]);
        }
        assert_in_range(section.first, all.first, all.end);
    }
    assert_int_equal(entries, keys);
}

/* Whether the lines of the index from `first` on, up to its next entry, name the key; counts all that they name. */
static bool index_names(size_t first, const char *key, size_t *count)
{
    bool found = false;
    *count = 0;
    for (size_t i = first;
         i < page.count && !begins_with(page.lines[i], ".It ") && !begins_with(page.lines[i], ".El"); i++) {
        char line[120];
        char *rest = line;
        if (!begins_with(page.lines[i], ".Ic "))
            continue;
        snprintf(line, sizeof line, "%s", page.lines[i] + strlen(".Ic "));
        for (char *word; (word = strsep(&rest, " ")) != NULL;) {
            if (strcmp(word, ",") == 0 || strcmp(word, ";") == 0)
                continue;
            ++*count;
            found = found || strcmp(word, key) == 0;
        }
    }
    return found;
}

static void test_the_index_names_each_entry_once(void **state)
{
    static const char *const titles[] = { "Global keys", "Log keys",      "Admin keys", "Listener keys",
                                          "Target keys", "Protocol keys", "Id keys",    "Module keys" };
    (void)state;
    struct section all = find_section(".Sh INDEX OF KEYS");
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        char line[80];
        size_t place = all.first;
        snprintf(line, sizeof line, ".Ss %s", titles[i]);
        struct section section = find_section(line);
        snprintf(line, sizeof line, ".It Sx %s", titles[i]);
        while (place < all.end && strcmp(page.lines[place], line) != 0)
            place++;
        if (place == all.end)
            fail_msg("the index has no line \"%s\"", line);
        size_t entries = 0;
        size_t named = 0;
        for (size_t k = section.first; k < section.end; k++) {
            if (!begins_with(page.lines[k], ".It Ic "))
                continue;
            entries++;
            if (!index_names(place + 1, page.lines[k] + strlen(".It Ic "), &named))
                fail_msg("the index lacks %s of %s", page.lines[k] + strlen(".It Ic "), titles[i]);
        }
        if (named != entries)
            fail_msg("the index has %zu of %s, which are %zu", named, titles[i], entries);
    }
}

/* Where the range and the choices of a key are to be found: in its entry. */
static bool entry_says(struct section section, size_t entry, const char *text)
{
    for (size_t i = entry + 2; i < section.end && !begins_with(page.lines[i], ".It Ic "); i++)
        if (strstr(page.lines[i], text) != NULL)
            return true;
    return false;
}

static void assert_entry_says(struct section section, const struct key *key, const char *text)
{
    if (!entry_says(section, find_entry(section, key->name), text))
        fail_msg("the entry of %s does not say \"%s\"", key->name, text);
}

static void test_entries_say_ranges_and_choices(void **state)
{
    (void)state;
    const struct key_scope *scope;
    const struct key *key;
    for (size_t k = 0; (scope = keys_scope(k)) != NULL; k++) {
        struct section section = section_of(scope);
        keys_foreach(scope, i, key)
        {
            if (!counts(scope, key))
                continue;
            char text[80];
            snprintf(text, sizeof text, "%lld to", (long long)key->minimum);
            if (key->type == KEY_INTEGER)
                assert_entry_says(section, key, text);
            snprintf(text, sizeof text, "%lld", (long long)key->maximum);
            if (key->type == KEY_INTEGER)
                assert_entry_says(section, key, text);
            if (key->can_disable)
                assert_entry_says(section, key, "or -1: ");
            for (size_t m = 0; key->choices != NULL && key->choices[m] != NULL; m++) {
                snprintf(text, sizeof text, "Ql %s", key->choices[m]);
                assert_entry_says(section, key, text);
            }
        }
    }
}

/* Copies a literal block, beginning at its .Bd, as the reader sees it. Returns the line after it. */
static size_t copy_block(size_t line, FILE *stream)
{
    for (line++; line < page.count && strcmp(page.lines[line], ".Ed") != 0; line++) {
        for (const char *c = page.lines[line]; *c != '\0'; c++) {
            fputc(*c, stream);
            if (c[0] == '\\' && c[1] == 'e')
                c++;
        }
        fputc('\n', stream);
    }
    return line;
}

/* A reader's machine is not ours: it has that user and those files. */
static bool is_about_the_machine(const char *text)
{
    return strstr(text, "there is no user") != NULL || strstr(text, "there is no group") != NULL ||
           strstr(text, "cannot read /etc/") != NULL || strstr(text, "everything runs as root") != NULL;
}

static void assert_right(struct config_place *place, size_t line)
{
    config_place_load(place, NULL);
    const struct problem_list *problems = place->config.problems;
    for (size_t i = 0; i < problems->count; i++)
        if (!is_about_the_machine(problems->problems[i].text))
            fail_msg("the example at line %zu: %s: %s", line + 1, problems->problems[i].place,
                     problems->problems[i].text);
}

static size_t check_examples(struct config_place *place, struct section section)
{
    size_t examples = 0;
    for (size_t i = section.first; i < section.end; i++) {
        char *text = NULL;
        size_t size;
        if (!begins_with(page.lines[i], ".Bd -literal"))
            continue;
        FILE *stream = open_memstream(&text, &size);
        assert_non_null(stream);
        size_t begin = i;
        i = copy_block(i, stream);
        assert_int_equal(fclose(stream), 0);
        if (strstr(text, "listeners = (") != NULL) {
            config_place_write_bytes(place, "main.conf", text, size);
            assert_right(place, begin);
            examples++;
        }
        free(text);
    }
    return examples;
}

static void test_each_section_has_an_example_that_is_right(void **state)
{
    struct config_place *place = *state;
    const struct key_scope *scope;
    for (size_t k = 0; (scope = keys_scope(k)) != NULL; k++)
        assert_true(check_examples(place, section_of(scope)) >= 1);
    /* what the examples of files within files name */
    config_place_write(place, "conf.d/mysql.conf",
                       "{ name = \"mysql\"; listen = \"*:3307\"; targets = \"db:3306\"; }");
    config_place_write(place, "conf.d/web.conf",
                       "{ name = \"web\"; listen = \"*:8080\"; targets = \"web:80\"; }");
    assert_int_equal(check_examples(place, find_section(".Sh EXAMPLES")), 3);
}

/* The command of the example with no file: its variables, up to the program's name. */
static void test_the_example_of_the_environment_is_right(void **state)
{
    struct config_place *place = *state;
    struct section section = find_section(".Sh EXAMPLES");
    char *variables[32] = { NULL };
    char *text = NULL;
    size_t size;
    size_t count = 0;
    size_t begin = section.first;
    while (begin < section.end && !begins_with(page.lines[begin], "LOG_LEVEL="))
        begin++;
    assert_true(begin < section.end);
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    copy_block(begin - 1, stream);
    assert_int_equal(fclose(stream), 0);
    char *rest = text;
    for (char *word; (word = strsep(&rest, " \\\n")) != NULL && count < 31;)
        if (strchr(word, '=') != NULL)
            variables[count++] = word;
    const struct config_source source = { .file = config_place_path(place, "none.conf"),
                                          .file_optional = true,
                                          .environment = variables };
    config_place_load_source(place, &source);
    config_place_expect(place, "");
    assert_int_equal(place->config.settings->listeners[0]->target_count, 2);
    free(text);
}

/* Each protocol has a section, which names all its keys and no other one. */
static void test_protocols_are_described(void **state)
{
    (void)state;
    for (const struct protocol *const *protocol = protocols_all(); *protocol != NULL; protocol++) {
        char heading[40];
        char name[80];
        if (!protocol_is_shared(*protocol))
            continue;
        snprintf(heading, sizeof heading, ".Ss %s", (*protocol)->name);
        struct section section = find_section(heading);
        const struct key *key;
        keys_foreach(&keys_protocol, i, key)
        {
            size_t line = section.first;
            snprintf(name, sizeof name, ".Ic %s", key->name);
            while (line < section.end && (!begins_with(page.lines[line], name) ||
                                          strchr(" ", page.lines[line][strlen(name)]) == NULL))
                line++;
            bool belongs = keys_of_protocol(*protocol, key->name) != NULL;
            if (strcmp(key->name, "type") != 0 && belongs != (line < section.end))
                fail_msg("the section of %s %s %s", (*protocol)->name, belongs ? "lacks" : "has", key->name);
        }
    }
    find_section(".Ss mysql, postgresql");
}

static void test_variables_are_described(void **state)
{
    (void)state;
    static const char *const wanted[] = {
        ".It Ev LOG_LEVEL",
        ".It Ev LOCAL_HOST , LOCAL_PORT",
        ".It Ev LOCAL_IPV6_ONLY",
        ".It Ev LOCAL_MAX_CONNECTIONS",
        ".It Ev PROXY_INACTIVE_TIMEOUT",
        ".It Ev EXCHANGE_FUNNEL_ASYNC",
        ".It Ev PROXY_CONNECTIONS_CNT",
        ".It Ev TARGET_HOST_1 , TARGET_PORT_1 , TARGET_CONN_1_KEEP_ALIVE",
        ".Ev PROXIMUX_",
    };
    struct section section = find_section(".Sh ENVIRONMENT");
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        size_t line = section.first;
        while (line < section.end && strcmp(page.lines[line], wanted[i]) != 0)
            line++;
        if (line == section.end)
            fail_msg("ENVIRONMENT has no line \"%s\"", wanted[i]);
    }
}

/* The variable of a .Ev line, or NULL if the page names none there that sets a key. */
static const char *prefixed_variable(const char *line, char *name, size_t size)
{
    const char *begin = begins_with(line, ".Ev PROXIMUX_") ? line + strlen(".Ev ") : NULL;
    if (begin == NULL || strcmp(begin, "PROXIMUX_") == 0 || strstr(begin, "_SERVICE_") != NULL ||
        begins_with(begin, "PROXIMUX_PORT"))
        return NULL;
    snprintf(name, size, "%.*s", (int)strcspn(begin, " "), begin);
    return name;
}

static bool sets_a_key(const char *variable)
{
    const struct key_scope *scope;
    const struct key *key;
    for (size_t k = 0; (scope = keys_scope(k)) != NULL; k++) {
        keys_foreach(scope, i, key)
        {
            char name[160];
            if (keys_variable(scope, key, name, sizeof name) && strcmp(name, variable) == 0)
                return true;
        }
    }
    return false;
}

static void test_prefixed_variables_exist(void **state)
{
    (void)state;
    struct section section = find_section(".Sh ENVIRONMENT");
    size_t found = 0;
    for (size_t i = section.first; i < section.end; i++) {
        char name[80];
        if (prefixed_variable(page.lines[i], name, sizeof name) == NULL)
            continue;
        found++;
        if (!sets_a_key(name))
            fail_msg("line %zu: %s sets no key", i + 1, name);
    }
    assert_true(found >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_key_has_its_entry),
        cmocka_unit_test(test_each_entry_has_its_key),
        cmocka_unit_test(test_the_index_names_each_entry_once),
        cmocka_unit_test(test_entries_say_ranges_and_choices),
        CONFIG_TEST(test_each_section_has_an_example_that_is_right),
        CONFIG_TEST(test_the_example_of_the_environment_is_right),
        cmocka_unit_test(test_protocols_are_described),
        cmocka_unit_test(test_variables_are_described),
        cmocka_unit_test(test_prefixed_variables_exist),
    };
    return cmocka_run_group_tests(tests, load_page, free_page);
}
