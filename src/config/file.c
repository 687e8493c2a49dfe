#include "config/file.h"

#include "config/source.h"

#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SUBJECT_SIZE 192

/* What is passed down while the tree of the file is walked. */
struct walk {
    const struct source *source;
    struct parsed_configuration *parsed;
    const char *listener; /* the name of the listener we are in, for errors; NULL: in none */
};

static struct origin setting_origin(const struct walk *walk, const config_setting_t *setting)
{
    return source_origin(walk->source, config_setting_source_line(setting));
}

static const char *setting_type(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return "an integer";
    case CONFIG_TYPE_FLOAT:
        return "a number with a fraction";
    case CONFIG_TYPE_STRING:
        return "a string";
    case CONFIG_TYPE_BOOL:
        return "a boolean";
    case CONFIG_TYPE_GROUP:
        return "a group";
    case CONFIG_TYPE_ARRAY:
        return "an array";
    case CONFIG_TYPE_LIST:
        return "a list";
    default:
        return "nothing";
    }
}

static bool is_integer(const config_setting_t *setting)
{
    int type = config_setting_type(setting);
    return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

static bool is_string(const config_setting_t *setting)
{
    return config_setting_type(setting) == CONFIG_TYPE_STRING;
}

static bool is_sequence(const config_setting_t *setting)
{
    int type = config_setting_type(setting);
    return type == CONFIG_TYPE_LIST || type == CONFIG_TYPE_ARRAY;
}

static bool is_group(const config_setting_t *setting)
{
    return config_setting_type(setting) == CONFIG_TYPE_GROUP;
}

static int64_t integer_of(const config_setting_t *setting)
{
    return config_setting_type(setting) == CONFIG_TYPE_INT64 ? config_setting_get_int64(setting)
                                                             : config_setting_get_int(setting);
}

static void wrong_type(struct walk *walk, const struct parsed_group *group, const struct key *key,
                       const config_setting_t *setting)
{
    char subject[SUBJECT_SIZE];
    char expectation[KEYS_TEXT_SIZE];
    struct origin origin = setting_origin(walk, setting);
    const char *hint = "";
    if (strcmp(key->name, "unix_mode") == 0 && is_integer(setting))
        hint = "; write permissions as an octal string such as \"0660\"";
    else if (key->type == KEY_BOOLEAN && is_integer(setting))
        hint = "; write true or false";
    problem_error(walk->parsed->problems, &origin,
                  parsed_subject(group, walk->listener, key->name, subject, sizeof subject),
                  "%s is wanted, not %s%s", keys_expectation(key, expectation, sizeof expectation),
                  setting_type(setting), hint);
}

static void read_integer(struct walk *walk, const struct parsed_group *group, const struct key *key,
                         const config_setting_t *setting, struct parsed_value *value)
{
    char subject[SUBJECT_SIZE];
    char expectation[KEYS_TEXT_SIZE];
    struct origin origin = setting_origin(walk, setting);
    int64_t number = integer_of(setting);
    if (parsed_fits(key, &number))
        parsed_set_number(value, &origin, number);
    else
        problem_error(walk->parsed->problems, &origin,
                      parsed_subject(group, walk->listener, key->name, subject, sizeof subject),
                      "%" PRId64 " is out of range: %s is wanted", number,
                      keys_expectation(key, expectation, sizeof expectation));
}

static void read_choice(struct walk *walk, const struct parsed_group *group, const struct key *key,
                        const config_setting_t *setting, struct parsed_value *value)
{
    char subject[SUBJECT_SIZE];
    char expectation[KEYS_TEXT_SIZE];
    struct origin origin = setting_origin(walk, setting);
    parsed_subject(group, walk->listener, key->name, subject, sizeof subject);
    int64_t count = 0;
    while (key->choices[count] != NULL)
        count++;
    if (is_integer(setting)) {
        if (integer_of(setting) >= 0 && integer_of(setting) < count)
            parsed_set_number(value, &origin, integer_of(setting));
        else
            problem_error(walk->parsed->problems, &origin, subject,
                          "%" PRId64 " is out of range: 0 to %" PRId64 " or %s is wanted",
                          integer_of(setting), count - 1,
                          keys_expectation(key, expectation, sizeof expectation));
        return;
    }
    const char *text = config_setting_get_string(setting);
    for (int64_t i = 0; i < count; i++) {
        if (strcmp(text, key->choices[i]) == 0) {
            parsed_set_number(value, &origin, i);
            return;
        }
    }
    const char *near = keys_suggest_word(text, key->choices);
    problem_error(walk->parsed->problems, &origin, subject, "\"%s\" is unknown: %s is wanted%s%s%s", text,
                  keys_expectation(key, expectation, sizeof expectation),
                  near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near,
                  near == NULL ? "" : "\"?");
}

static void read_strings(struct walk *walk, const struct parsed_group *group, const struct key *key,
                         config_setting_t *setting, struct parsed_value *value)
{
    value->set = true;
    value->origin = setting_origin(walk, setting);
    if (is_string(setting)) {
        parsed_add_item(walk->parsed, value, &value->origin, config_setting_get_string(setting));
        return;
    }
    for (unsigned i = 0; i < (unsigned)config_setting_length(setting); i++) {
        config_setting_t *item = config_setting_get_elem(setting, i);
        struct origin origin = setting_origin(walk, item);
        if (is_string(item))
            parsed_add_item(walk->parsed, value, &origin, config_setting_get_string(item));
        else
            wrong_type(walk, group, key, item);
    }
}

/* Whether a plain key's setting is of its type. */
static bool has_right_type(const struct key *key, const config_setting_t *setting)
{
    switch (key->type) {
    case KEY_STRING:
        return is_string(setting);
    case KEY_INTEGER:
        return is_integer(setting);
    case KEY_BOOLEAN:
        return config_setting_type(setting) == CONFIG_TYPE_BOOL;
    case KEY_CHOICE:
        return is_string(setting) || (key->numbered && is_integer(setting));
    case KEY_STRINGS:
        return is_string(setting) || is_sequence(setting);
    case KEY_STRUCTURE:
        break;
    }
    return false;
}

static void read_right_type(struct walk *walk, struct parsed_group *group, const struct key *key,
                            config_setting_t *setting, struct parsed_value *value)
{
    struct origin origin = setting_origin(walk, setting);
    switch (key->type) {
    case KEY_STRING:
        parsed_set_string(walk->parsed, value, &origin, config_setting_get_string(setting));
        break;
    case KEY_INTEGER:
        read_integer(walk, group, key, setting, value);
        break;
    case KEY_BOOLEAN:
        parsed_set_number(value, &origin, config_setting_get_bool(setting));
        break;
    case KEY_CHOICE:
        read_choice(walk, group, key, setting, value);
        break;
    case KEY_STRINGS:
        read_strings(walk, group, key, setting, value);
        break;
    case KEY_STRUCTURE:
        break;
    }
}

static void read_value(struct walk *walk, struct parsed_group *group, const struct key *key,
                       config_setting_t *setting, struct parsed_value *value)
{
    size_t errors = walk->parsed->problems->errors;
    if (has_right_type(key, setting))
        read_right_type(walk, group, key, setting, value);
    else
        wrong_type(walk, group, key, setting);
    value->faulty = walk->parsed->problems->errors > errors;
}

static void unknown_key(struct walk *walk, const struct parsed_group *group, const config_setting_t *setting)
{
    char subject[SUBJECT_SIZE];
    struct origin origin = setting_origin(walk, setting);
    const char *name = config_setting_name(setting);
    const struct key *near = keys_suggest(group->scope, name);
    parsed_subject(group, walk->listener, name, subject, sizeof subject);
    if (near != NULL)
        problem_error(walk->parsed->problems, &origin, subject, "unknown key; did you mean \"%s\"?",
                      near->name);
    else
        problem_error(walk->parsed->problems, &origin, subject, "unknown key");
}

/* A key that is a list of groups, or a group of which there is one in the whole file. */
typedef void structure_reader(struct walk *walk, struct parsed_group *group, const struct key *key,
                              config_setting_t *setting);

static void read_group(struct walk *walk, struct parsed_group *group, config_setting_t *setting,
                       structure_reader *structure);

/* A key whose value is a group with keys of its own. */
static void read_members(struct walk *walk, const struct key *key, config_setting_t *setting,
                         struct parsed_value *value)
{
    struct origin origin = setting_origin(walk, setting);
    struct parsed_group *group = parsed_open_group(walk->parsed, value, key, &origin);
    if (group != NULL)
        read_group(walk, group, setting, NULL); /* these hold no lists of groups */
}

static void read_group(struct walk *walk, struct parsed_group *group, config_setting_t *setting,
                       structure_reader *structure)
{
    for (unsigned i = 0; i < (unsigned)config_setting_length(setting); i++) {
        config_setting_t *member = config_setting_get_elem(setting, i);
        size_t index;
        const struct key *key = keys_find(group->scope, config_setting_name(member), &index);
        if (key == NULL)
            unknown_key(walk, group, member);
        else if (key->members != NULL && is_group(member))
            read_members(walk, key, member, &group->values[index]);
        else if (key->type == KEY_STRUCTURE && key->members == NULL)
            structure(walk, group, key, member);
        else
            read_value(walk, group, key, member, &group->values[index]);
    }
}

static void read_target(struct walk *walk, struct parsed_group *listener, const struct key *key,
                        config_setting_t *setting)
{
    struct origin origin = setting_origin(walk, setting);
    if (!is_string(setting) && !is_group(setting)) {
        char subject[SUBJECT_SIZE];
        problem_error(walk->parsed->problems, &origin,
                      parsed_subject(listener, walk->listener, key->name, subject, sizeof subject),
                      "a target is a string or a group, not %s", setting_type(setting));
        listener->children_faulty = true;
        return;
    }
    struct parsed_group *target = parsed_group_create(walk->parsed, &keys_target, &origin);
    if (target == NULL || !parsed_append(walk->parsed, &listener->children, &listener->child_count, target))
        return;
    if (is_string(setting))
        parsed_set_string(walk->parsed, parsed_get(target, "address"), &origin,
                          config_setting_get_string(setting));
    else
        read_group(walk, target, setting, NULL); /* a target holds no groups */
}

/* `targets` is the one structure of a listener. */
static void read_targets(struct walk *walk, struct parsed_group *listener, const struct key *key,
                         config_setting_t *setting)
{
    listener->children_set = true;
    listener->children_origin = setting_origin(walk, setting);
    if (is_string(setting) || is_group(setting))
        read_target(walk, listener, key, setting);
    else if (!is_sequence(setting)) {
        listener->children_faulty = true;
        wrong_type(walk, listener, key, setting);
    } else
        for (unsigned i = 0; i < (unsigned)config_setting_length(setting); i++)
            read_target(walk, listener, key, config_setting_get_elem(setting, i));
}

static void read_defaults(struct walk *walk, const struct key *key, config_setting_t *setting)
{
    struct origin origin = setting_origin(walk, setting);
    if (!is_group(setting)) {
        wrong_type(walk, walk->parsed->global, key, setting);
        return;
    }
    struct parsed_group *defaults = parsed_group_create(walk->parsed, &keys_listener, &origin);
    if (defaults == NULL)
        return;
    walk->parsed->defaults = defaults;
    walk->listener = "(defaults)";
    read_group(walk, defaults, setting, read_targets);
    walk->listener = NULL;
    static const char *const own[] = { "name", "listen" };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (parsed_peek(defaults, own[i])->set)
            problem_error(walk->parsed->problems, &parsed_peek(defaults, own[i])->origin, "defaults",
                          "%s belongs to a listener", own[i]);
}

static void read_listener(struct walk *walk, const struct key *key, config_setting_t *setting)
{
    struct origin origin = setting_origin(walk, setting);
    if (!is_group(setting)) {
        problem_error(walk->parsed->problems, &origin, key->name, "a listener is a group: { ... }, not %s",
                      setting_type(setting));
        return;
    }
    struct parsed_configuration *parsed = walk->parsed;
    struct parsed_group *listener = parsed_group_create(parsed, &keys_listener, &origin);
    if (listener == NULL || !parsed_append(parsed, &parsed->listeners, &parsed->listener_count, listener))
        return;
    const char *name = NULL;
    config_setting_lookup_string(setting, "name", &name);
    walk->listener = name;
    read_group(walk, listener, setting, read_targets);
    walk->listener = NULL;
}

static void read_listeners(struct walk *walk, const struct key *key, config_setting_t *setting)
{
    if (!is_sequence(setting)) {
        wrong_type(walk, walk->parsed->global, key, setting);
        return;
    }
    for (unsigned i = 0; i < (unsigned)config_setting_length(setting); i++)
        read_listener(walk, key, config_setting_get_elem(setting, i));
}

/* A key that is the module's own: its type is noted, for the module to judge. */
static void read_extra(struct walk *walk, const config_setting_t *setting)
{
    struct origin origin = setting_origin(walk, setting);
    bool is_boolean = config_setting_type(setting) == CONFIG_TYPE_BOOL;
    enum key_type type = is_string(setting)    ? KEY_STRING
                         : is_integer(setting) ? KEY_INTEGER
                         : is_boolean          ? KEY_BOOLEAN
                                               : KEY_STRUCTURE;
    struct parsed_value *value = parsed_add_extra(walk->parsed, config_setting_name(setting), type);
    if (value == NULL)
        return;
    if (type == KEY_STRING)
        parsed_set_string(walk->parsed, value, &origin, config_setting_get_string(setting));
    else
        parsed_set_number(value, &origin,
                          type == KEY_INTEGER   ? integer_of(setting)
                          : type == KEY_BOOLEAN ? config_setting_get_bool(setting)
                                                : 0);
}

static void read_module(struct walk *walk, const struct key *key, config_setting_t *setting)
{
    struct origin origin = setting_origin(walk, setting);
    if (!is_group(setting)) {
        problem_error(walk->parsed->problems, &origin, key->name, "a module is a group: { ... }, not %s",
                      setting_type(setting));
        return;
    }
    const struct parsed_module *module = parsed_add_module(walk->parsed, &origin);
    for (unsigned i = 0; module != NULL && i < (unsigned)config_setting_length(setting); i++) {
        config_setting_t *member = config_setting_get_elem(setting, i);
        size_t index;
        const struct key *known = keys_find(&keys_module, config_setting_name(member), &index);
        if (known != NULL)
            read_value(walk, module->group, known, member, &module->group->values[index]);
        else
            read_extra(walk, member);
    }
}

static void read_modules(struct walk *walk, const struct key *key, config_setting_t *setting)
{
    if (!is_sequence(setting)) {
        wrong_type(walk, walk->parsed->global, key, setting);
        return;
    }
    for (unsigned i = 0; i < (unsigned)config_setting_length(setting); i++)
        read_module(walk, key, config_setting_get_elem(setting, i));
}

/* A group of the file itself, which holds no further ones. */
static void read_plain(struct walk *walk, struct parsed_group *group, const struct key *key,
                       config_setting_t *setting)
{
    if (is_group(setting))
        read_group(walk, group, setting, NULL);
    else
        wrong_type(walk, walk->parsed->global, key, setting);
}

static void read_global_structure(struct walk *walk, struct parsed_group *group, const struct key *key,
                                  config_setting_t *setting)
{
    (void)group;
    if (strcmp(key->name, "log") == 0)
        read_plain(walk, walk->parsed->log, key, setting);
    else if (strcmp(key->name, "admin") == 0)
        read_plain(walk, walk->parsed->admin, key, setting);
    else if (strcmp(key->name, "modules") == 0)
        read_modules(walk, key, setting);
    else if (strcmp(key->name, "defaults") == 0)
        read_defaults(walk, key, setting);
    else
        read_listeners(walk, key, setting);
}

/* libconfig crashes when it does not get the memory that it asks for, so it is asked only if there is enough:
 * a value of one digit and its comma become a setting of a hundred bytes. Not by malloc(), which would keep
 * as much from then on. */
static bool has_memory_for(const char *text)
{
    size_t size = strlen(text) * 64 + 65536;
    void *probe = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return probe != MAP_FAILED && munmap(probe, size) == 0;
}

void file_read(struct parsed_configuration *parsed, const char *path)
{
    struct source source;
    config_t config;
    parsed->main_file = strdup(path);
    if (parsed->main_file == NULL) {
        problem_memory(parsed->problems);
        return;
    }
    size_t problems = parsed->problems->count;
    if (!source_read(&source, parsed, path)) {
        parsed->is_unreadable = true;
    } else if (!has_memory_for(source.text)) {
        problem_memory(parsed->problems);
    } else {
        config_init(&config);
        if (config_read_string(&config, source.text) == CONFIG_TRUE) {
            struct walk walk = { .source = &source, .parsed = parsed };
            read_group(&walk, parsed->global, config_root_setting(&config), read_global_structure);
        } else {
            struct origin origin = source_origin(&source, (unsigned)config_error_line(&config));
            parsed->is_unreadable = true;
            problem_forget(parsed->problems, problems);
            problem_error(parsed->problems, &origin, NULL, "%s", config_error_text(&config));
        }
        config_destroy(&config);
    }
    source_free(&source);
}
