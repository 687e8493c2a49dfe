#include "config/written.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void written_clear(struct written_value *value)
{
    free(value->string);
    for (size_t i = 0; i < value->count; i++)
        free(value->items[i].text);
    free(value->items);
    written_group_free(value->group);
    *value = (struct written_value){ 0 };
}

void written_group_clear_children(struct written_group *group)
{
    for (size_t i = 0; i < group->child_count; i++)
        written_group_free(group->children[i]);
    free(group->children);
    group->children = NULL;
    group->child_count = 0;
}

void written_group_free(struct written_group *group)
{
    if (group == NULL)
        return;
    for (size_t i = 0; i < KEYS_MAX; i++)
        written_clear(&group->values[i]);
    written_group_clear_children(group);
    free(group);
}

struct written_group *written_group_create(struct written_configuration *written, enum key_scope scope,
                                           const struct origin *origin)
{
    struct written_group *group = calloc(1, sizeof *group);
    if (group == NULL) {
        problem_memory(written->problems);
        return NULL;
    }
    group->scope = scope;
    group->origin = *origin;
    return group;
}

struct written_configuration *written_create(struct problem_list *problems)
{
    const struct origin origin = { .kind = ORIGIN_DEFAULT };
    struct written_configuration *written = calloc(1, sizeof *written);
    if (written == NULL) {
        problem_memory(problems);
        return NULL;
    }
    written->problems = problems;
    written->global = written_group_create(written, SCOPE_GLOBAL, &origin);
    written->log = written_group_create(written, SCOPE_LOG, &origin);
    written->admin = written_group_create(written, SCOPE_ADMIN, &origin);
    if (written->global != NULL && written->log != NULL && written->admin != NULL)
        return written;
    written_free(written);
    return NULL;
}

static void module_free(struct written_module *module)
{
    written_group_free(module->group);
    for (size_t i = 0; i < module->extra_count; i++) {
        free(module->extras[i].name);
        written_clear(&module->extras[i].value);
    }
    free(module->extras);
}

struct written_module *written_add_module(struct written_configuration *written, const struct origin *origin)
{
    struct written_group *group = written_group_create(written, SCOPE_MODULE, origin);
    struct written_module *grown = reallocarray(written->modules, written->module_count + 1, sizeof *grown);
    if (grown != NULL)
        written->modules = grown;
    if (group == NULL || grown == NULL) {
        problem_memory(written->problems);
        written_group_free(group);
        return NULL;
    }
    grown[written->module_count] = (struct written_module){ .group = group };
    return &grown[written->module_count++];
}

struct written_value *written_add_extra(struct written_configuration *written, const char *name,
                                        enum key_type type)
{
    struct written_module *module = &written->modules[written->module_count - 1];
    struct written_extra *grown = reallocarray(module->extras, module->extra_count + 1, sizeof *grown);
    char *copy = strdup(name);
    if (grown != NULL)
        module->extras = grown;
    if (grown == NULL || copy == NULL) {
        problem_memory(written->problems);
        free(copy);
        return NULL;
    }
    grown[module->extra_count] = (struct written_extra){ .name = copy, .type = type };
    return &grown[module->extra_count++].value;
}

void written_free(struct written_configuration *written)
{
    if (written == NULL)
        return;
    written_group_free(written->global);
    written_group_free(written->log);
    written_group_free(written->admin);
    written_group_free(written->defaults);
    for (size_t i = 0; i < written->listener_count; i++)
        written_group_free(written->listeners[i]);
    free(written->listeners);
    for (size_t i = 0; i < written->module_count; i++)
        module_free(&written->modules[i]);
    free(written->modules);
    for (size_t i = 0; i < written->name_count; i++)
        free(written->names[i]);
    free(written->names);
    for (size_t i = 0; i < written->file_count; i++)
        free(written->files[i]);
    free(written->files);
    free(written->main_file);
    free(written);
}

bool written_append(struct written_configuration *written, struct written_group ***groups, size_t *count,
                    struct written_group *group)
{
    struct written_group **grown = reallocarray(*groups, *count + 1, sizeof(struct written_group *));
    if (grown == NULL) {
        problem_memory(written->problems);
        written_group_free(group);
        return false;
    }
    *groups = grown;
    grown[(*count)++] = group;
    return true;
}

/* Appends a copy to a list of strings; returns it, or NULL (noted). */
static const char *append_copy(struct written_configuration *written, char ***texts, size_t *count,
                               const char *text)
{
    char *copy = strdup(text);
    char **grown = reallocarray(*texts, *count + 1, sizeof(char *));
    if (grown != NULL)
        *texts = grown;
    if (grown == NULL || copy == NULL) {
        free(copy);
        problem_memory(written->problems);
        return NULL;
    }
    grown[(*count)++] = copy;
    return copy;
}

const char *written_name(struct written_configuration *written, const char *name)
{
    for (size_t i = 0; i < written->name_count; i++)
        if (strcmp(written->names[i], name) == 0)
            return written->names[i];
    const char *copy = append_copy(written, &written->names, &written->name_count, name);
    return copy == NULL ? "" : copy;
}

void written_note_file(struct written_configuration *written, const char *path)
{
    append_copy(written, &written->files, &written->file_count, path);
}

struct written_group *written_find_listener(const struct written_configuration *written, const char *name)
{
    for (size_t i = 0; i < written->listener_count; i++) {
        const char *other = written_peek(written->listeners[i], "name")->string;
        if (other != NULL && strcmp(other, name) == 0)
            return written->listeners[i];
    }
    return NULL;
}

struct written_value *written_get(struct written_group *group, const char *key)
{
    return &group->values[keys_index(group->scope, key)];
}

const struct written_value *written_peek(const struct written_group *group, const char *key)
{
    return &group->values[keys_index(group->scope, key)];
}

bool written_set_string(struct written_configuration *written, struct written_value *value,
                        const struct origin *origin, const char *string)
{
    char *copy = strdup(string);
    if (copy == NULL) {
        problem_memory(written->problems);
        return false;
    }
    written_clear(value);
    *value = (struct written_value){ .set = true, .origin = *origin, .string = copy };
    return true;
}

void written_set_number(struct written_value *value, const struct origin *origin, int64_t number)
{
    written_clear(value);
    *value = (struct written_value){ .set = true, .origin = *origin, .number = number };
}

bool written_add_item(struct written_configuration *written, struct written_value *value,
                      const struct origin *origin, const char *text)
{
    struct written_item *grown = reallocarray(value->items, value->count + 1, sizeof *grown);
    char *copy = strdup(text);
    if (grown != NULL)
        value->items = grown;
    if (grown == NULL || copy == NULL) {
        free(copy);
        problem_memory(written->problems);
        return false;
    }
    grown[value->count++] = (struct written_item){ .text = copy, .origin = *origin };
    return true;
}

bool written_set_item(struct written_configuration *written, struct written_value *value,
                      const struct origin *origin, const char *text)
{
    written_clear(value);
    value->set = true;
    value->origin = *origin;
    return written_add_item(written, value, origin, text);
}

struct written_group *written_open_group(struct written_configuration *written, struct written_value *value,
                                         const struct key *key, const struct origin *origin)
{
    if (value->group == NULL)
        value->group = written_group_create(written, key->members, origin);
    if (!value->set)
        value->origin = *origin;
    value->set = true;
    return value->group;
}

bool written_fits(const struct key *key, int64_t *number)
{
    if (*number < 0 && key->can_disable) {
        *number = -1;
        return true;
    }
    return *number >= key->minimum && *number <= key->maximum;
}

static bool parse_integer(const char *text, int64_t *number)
{
    char *end;
    if (*text == '\0' || strspn(text, "-0123456789") != strlen(text))
        return false;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0;
}

static bool parse_number(const struct key *key, const char *text, int64_t *number)
{
    switch (key->type) {
    case KEY_INTEGER:
        return parse_integer(text, number) && written_fits(key, number);
    case KEY_BOOLEAN:
        *number = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
        return *number == 1 || strcmp(text, "0") == 0 || strcmp(text, "false") == 0;
    default:
        break;
    }
    for (*number = 0; key->choices[*number] != NULL; (*number)++)
        if (strcmp(text, key->choices[*number]) == 0 ||
            (key->numbered && text[0] == '0' + *number && text[1] == '\0'))
            return true;
    return false;
}

bool written_equals(const struct key *key, int64_t number, const char *text)
{
    int64_t other;
    return parse_number(key, text, &other) && other == number;
}

bool written_parse(struct written_configuration *written, const struct key *key, const char *text,
                   const struct origin *origin, struct written_value *value, char *error, size_t error_size)
{
    char expectation[KEYS_TEXT_SIZE];
    int64_t number;
    error[0] = '\0';
    if (*text == '\0')
        snprintf(error, error_size, "is empty");
    else if (key->type == KEY_STRING)
        return written_set_string(written, value, origin, text);
    else if (key->type == KEY_STRINGS)
        return written_set_item(written, value, origin, text);
    else if (!parse_number(key, text, &number))
        snprintf(error, error_size, "\"%.60s\" does not fit: %s is wanted", text,
                 keys_expectation(key, expectation, sizeof expectation));
    else
        written_set_number(value, origin, number);
    return error[0] == '\0';
}

const char *written_subject(const struct written_group *group, const char *listener, const char *key,
                            char *text, size_t size)
{
    static const char *const groups[SCOPE_COUNT] = {
        [SCOPE_GLOBAL] = "",
        [SCOPE_LOG] = "log.",
        [SCOPE_ADMIN] = "admin.",
        [SCOPE_LISTENER] = "",
        [SCOPE_TARGET] = "target: ",
        [SCOPE_PROTOCOL] = "protocol: ",
        [SCOPE_PROTOCOL_ID] = "protocol: id: ",
        [SCOPE_MODULE] = "modules: ",
    };
    if (listener != NULL)
        snprintf(text, size, "listener \"%s\": %s%s", listener, groups[group->scope], key);
    else
        snprintf(text, size, "%s%s%s", group->scope >= SCOPE_LISTENER ? "listener: " : "",
                 groups[group->scope], key);
    return text;
}
