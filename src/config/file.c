/* Reads the configuration file (libconfig) into the configuration as parsed. */
#include "config/parsed.h"
#include "config/source.h"

#include <inttypes.h>
#include <libconfig.h>
#include <string.h>
#include <sys/mman.h>

/* What is passed down while the tree of the file is walked. */
struct walk {
    const struct source *source;
    struct parsed_configuration *parsed;
    const char *listener; /* the name of the listener we are in, for errors; NULL: in none */
};

static struct origin file_origin(const struct walk *walk, const config_setting_t *setting)
{
    return source_origin(walk->source, config_setting_source_line(setting));
}

__attribute__((format(printf, 5, 6))) static void file_error(const struct walk *walk,
                                                             const struct parsed_group *group,
                                                             const char *key, const config_setting_t *setting,
                                                             const char *format, ...)
{
    char subject[PARSED_SUBJECT_SIZE];
    struct origin origin = file_origin(walk, setting);
    va_list arguments;
    va_start(arguments, format);
    problem_add(walk->parsed->problems, true, &origin, parsed_subject(group, walk->listener, key, subject),
                format, arguments);
    va_end(arguments);
}

static const char *file_type(const config_setting_t *setting)
{
    static const char *const names[] = {
        [CONFIG_TYPE_NONE] = "nothing",     [CONFIG_TYPE_INT] = "an integer",
        [CONFIG_TYPE_INT64] = "an integer", [CONFIG_TYPE_FLOAT] = "a number with a fraction",
        [CONFIG_TYPE_STRING] = "a string",  [CONFIG_TYPE_BOOL] = "a boolean",
        [CONFIG_TYPE_GROUP] = "a group",    [CONFIG_TYPE_ARRAY] = "an array",
        [CONFIG_TYPE_LIST] = "a list",
    };
    return names[config_setting_type(setting)];
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
    return config_setting_is_list(setting) || config_setting_is_array(setting);
}

static void file_wrong_type(const struct walk *walk, const struct parsed_group *group, const struct key *key,
                            const config_setting_t *setting)
{
    char expectation[KEYS_TEXT_SIZE];
    const char *hint = "";
    if (strcmp(key->name, "unix_mode") == 0 && is_integer(setting))
        hint = "; write permissions as an octal string such as \"0660\"";
    else if (key->type == KEY_BOOLEAN && is_integer(setting))
        hint = "; write true or false";
    file_error(walk, group, key->name, setting, "%s is wanted, not %s%s",
               keys_expectation(key, expectation, sizeof expectation), file_type(setting), hint);
}

static void file_read_integer(const struct walk *walk, const struct parsed_group *group,
                              const struct key *key, const config_setting_t *setting,
                              struct parsed_value *value)
{
    char expectation[KEYS_TEXT_SIZE];
    struct origin origin = file_origin(walk, setting);
    int64_t number = config_setting_get_int64(setting);
    if (parsed_fits(key, &number))
        parsed_set_number(value, &origin, number);
    else
        file_error(walk, group, key->name, setting, "%" PRId64 " is out of range: %s is wanted", number,
                   keys_expectation(key, expectation, sizeof expectation));
}

/* A word, or its index where the key allows that. */
static void file_read_choice(const struct walk *walk, const struct parsed_group *group, const struct key *key,
                             const config_setting_t *setting, struct parsed_value *value)
{
    char expectation[KEYS_TEXT_SIZE];
    char hint[KEYS_HINT_SIZE];
    struct origin origin = file_origin(walk, setting);
    const char *text = config_setting_get_string(setting);
    int64_t number = text == NULL ? config_setting_get_int64(setting) : 0;
    int64_t count = 0;
    keys_expectation(key, expectation, sizeof expectation);
    while (key->choices[count] != NULL)
        count++;
    while (text != NULL && number < count && strcmp(text, key->choices[number]) != 0)
        number++;
    if (number >= 0 && number < count)
        parsed_set_number(value, &origin, number);
    else if (text == NULL)
        file_error(walk, group, key->name, setting,
                   "%" PRId64 " is out of range: 0 to %" PRId64 " or %s is wanted", number, count - 1,
                   expectation);
    else
        file_error(walk, group, key->name, setting, "\"%s\" is unknown: %s is wanted%s", text, expectation,
                   keys_hint(text, key->choices, hint));
}

static void file_read_strings(const struct walk *walk, const struct parsed_group *group,
                              const struct key *key, config_setting_t *setting, struct parsed_value *value)
{
    config_setting_t *item;
    value->set = true;
    value->origin = file_origin(walk, setting);
    if (is_string(setting)) {
        parsed_add_item(walk->parsed, value, &value->origin, config_setting_get_string(setting));
        return;
    }
    for (unsigned i = 0; (item = config_setting_get_elem(setting, i)) != NULL; i++) {
        struct origin origin = file_origin(walk, item);
        if (is_string(item))
            parsed_add_item(walk->parsed, value, &origin, config_setting_get_string(item));
        else
            file_wrong_type(walk, group, key, item);
    }
}

static void file_read_value(const struct walk *walk, const struct parsed_group *group, const struct key *key,
                            config_setting_t *setting, struct parsed_value *value)
{
    size_t errors = walk->parsed->problems->errors;
    struct origin origin = file_origin(walk, setting);
    if (key->type == KEY_STRING && is_string(setting))
        parsed_set_string(walk->parsed, value, &origin, config_setting_get_string(setting));
    else if (key->type == KEY_INTEGER && is_integer(setting))
        file_read_integer(walk, group, key, setting, value);
    else if (key->type == KEY_BOOLEAN && config_setting_type(setting) == CONFIG_TYPE_BOOL)
        parsed_set_number(value, &origin, config_setting_get_bool(setting));
    else if (key->type == KEY_CHOICE && (is_string(setting) || (key->numbered && is_integer(setting))))
        file_read_choice(walk, group, key, setting, value);
    else if (key->type == KEY_STRINGS && (is_string(setting) || is_sequence(setting)))
        file_read_strings(walk, group, key, setting, value);
    else
        file_wrong_type(walk, group, key, setting);
    value->faulty = walk->parsed->problems->errors > errors;
}

static void file_unknown_key(const struct walk *walk, const struct parsed_group *group,
                             const config_setting_t *setting)
{
    const char *name = config_setting_name(setting);
    const struct key *near = keys_suggest(group->scope, name);
    if (near != NULL)
        file_error(walk, group, name, setting, "unknown key; did you mean \"%s\"?", near->name);
    else
        file_error(walk, group, name, setting, "unknown key");
}

static void file_read_structure(struct walk *walk, struct parsed_group *group, const struct key *key,
                                config_setting_t *setting);

static void file_read_group(struct walk *walk, struct parsed_group *group, config_setting_t *setting)
{
    config_setting_t *member;
    for (unsigned i = 0; (member = config_setting_get_elem(setting, i)) != NULL; i++) {
        size_t index;
        const struct key *key = keys_find(group->scope, config_setting_name(member), &index);
        if (key == NULL) {
            file_unknown_key(walk, group, member);
        } else if (key->members != NULL && config_setting_is_group(member)) {
            struct origin origin = file_origin(walk, member);
            struct parsed_group *members = parsed_open_group(walk->parsed, group, key->name, &origin);
            if (members != NULL)
                file_read_group(walk, members, member);
        } else if (key->type == KEY_STRUCTURE && key->members == NULL) {
            file_read_structure(walk, group, key, member);
        } else {
            file_read_value(walk, group, key, member, &group->values[index]);
        }
    }
}

static void file_read_target(struct walk *walk, struct parsed_group *listener, config_setting_t *setting)
{
    struct origin origin = file_origin(walk, setting);
    if (!is_string(setting) && !config_setting_is_group(setting)) {
        file_error(walk, listener, "targets", setting, "a target is a string or a group, not %s",
                   file_type(setting));
        parsed_get(listener, "targets")->faulty = true;
        return;
    }
    struct parsed_group *target =
        parsed_group_add(walk->parsed, &keys_target, &origin, &listener->children, &listener->child_count);
    if (target != NULL && is_string(setting))
        parsed_set_string(walk->parsed, parsed_get(target, "address"), &origin,
                          config_setting_get_string(setting));
    else if (target != NULL)
        file_read_group(walk, target, setting);
}

static void file_read_targets(struct walk *walk, struct parsed_group *listener, const struct key *key,
                              config_setting_t *setting)
{
    config_setting_t *item;
    struct parsed_value *targets = parsed_get(listener, "targets");
    targets->set = true;
    targets->origin = file_origin(walk, setting);
    if (is_string(setting) || config_setting_is_group(setting)) {
        file_read_target(walk, listener, setting);
    } else if (!is_sequence(setting)) {
        targets->faulty = true;
        file_wrong_type(walk, listener, key, setting);
    } else {
        for (unsigned i = 0; (item = config_setting_get_elem(setting, i)) != NULL; i++)
            file_read_target(walk, listener, item);
    }
}

static void file_read_defaults(struct walk *walk, config_setting_t *setting)
{
    static const char *const own[] = { "name", "listen", "targets_of" };
    struct origin origin = file_origin(walk, setting);
    struct parsed_group *defaults = parsed_group_create(walk->parsed, &keys_listener, &origin);
    if (defaults == NULL)
        return;
    walk->parsed->defaults = defaults;
    walk->listener = "(defaults)";
    file_read_group(walk, defaults, setting);
    walk->listener = NULL;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        struct parsed_value *value = parsed_get(defaults, own[i]);
        if (value->set)
            problem_error(walk->parsed->problems, &value->origin, "defaults", "%s belongs to a listener",
                          own[i]);
        value->set = false;
    }
}

static void file_read_listener(struct walk *walk, config_setting_t *setting)
{
    struct parsed_configuration *parsed = walk->parsed;
    struct origin origin = file_origin(walk, setting);
    struct parsed_group *listener =
        parsed_group_add(parsed, &keys_listener, &origin, &parsed->listeners, &parsed->listener_count);
    if (listener == NULL)
        return;
    config_setting_lookup_string(setting, "name", &walk->listener);
    file_read_group(walk, listener, setting);
    walk->listener = NULL;
}

/* A key that is the module's own: its type is noted, for the module to judge. */
static void file_read_extra(const struct walk *walk, const config_setting_t *setting)
{
    struct origin origin = file_origin(walk, setting);
    enum key_type type = is_string(setting)                                 ? KEY_STRING
                         : is_integer(setting)                              ? KEY_INTEGER
                         : config_setting_type(setting) == CONFIG_TYPE_BOOL ? KEY_BOOLEAN
                                                                            : KEY_STRUCTURE;
    struct parsed_value *value = parsed_add_extra(walk->parsed, config_setting_name(setting), type);
    if (value == NULL)
        return;
    if (type == KEY_STRING)
        parsed_set_string(walk->parsed, value, &origin, config_setting_get_string(setting));
    else if (type == KEY_BOOLEAN)
        parsed_set_number(value, &origin, config_setting_get_bool(setting));
    else
        parsed_set_number(value, &origin, type == KEY_INTEGER ? config_setting_get_int64(setting) : 0);
}

static void file_read_module(struct walk *walk, config_setting_t *setting)
{
    config_setting_t *member;
    struct origin origin = file_origin(walk, setting);
    const struct parsed_module *module = parsed_add_module(walk->parsed, &origin);
    for (unsigned i = 0; module != NULL && (member = config_setting_get_elem(setting, i)) != NULL; i++) {
        size_t index;
        const struct key *known = keys_find(&keys_module, config_setting_name(member), &index);
        if (known != NULL)
            file_read_value(walk, module->group, known, member, &module->group->values[index]);
        else
            file_read_extra(walk, member);
    }
}

static void file_read_list(struct walk *walk, const struct key *key, config_setting_t *setting,
                           const char *word, void (*read)(struct walk *walk, config_setting_t *setting))
{
    config_setting_t *item;
    for (unsigned i = 0; (item = config_setting_get_elem(setting, i)) != NULL; i++)
        if (config_setting_is_group(item))
            read(walk, item);
        else
            file_error(walk, walk->parsed->global, key->name, item, "a %s is a group: { ... }, not %s", word,
                       file_type(item));
}

/* A key that is a list of groups, or a group of which there is one in the whole file. */
static void file_read_structure(struct walk *walk, struct parsed_group *group, const struct key *key,
                                config_setting_t *setting)
{
    if (strcmp(key->name, "targets") == 0)
        file_read_targets(walk, group, key, setting);
    else if (key->is_list ? !is_sequence(setting) : !config_setting_is_group(setting))
        file_wrong_type(walk, group, key, setting);
    else if (strcmp(key->name, "log") == 0)
        file_read_group(walk, walk->parsed->log, setting);
    else if (strcmp(key->name, "admin") == 0)
        file_read_group(walk, walk->parsed->admin, setting);
    else if (strcmp(key->name, "modules") == 0)
        file_read_list(walk, key, setting, "module", file_read_module);
    else if (strcmp(key->name, "defaults") == 0)
        file_read_defaults(walk, setting);
    else
        file_read_list(walk, key, setting, "listener", file_read_listener);
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

void parsed_read_file(struct parsed_configuration *parsed, const char *path)
{
    struct source source;
    config_t config;
    parsed->main_file = parsed_copy(parsed, path);
    if (parsed->main_file == NULL)
        return;
    size_t problems = parsed->problems->count;
    if (!source_read(&source, parsed, path)) {
        parsed->is_unreadable = true;
    } else if (!has_memory_for(source.text)) {
        problem_memory(parsed->problems);
    } else {
        config_init(&config);
        if (config_read_string(&config, source.text) == CONFIG_TRUE) {
            struct walk walk = { .source = &source, .parsed = parsed };
            file_read_group(&walk, parsed->global, config_root_setting(&config));
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
