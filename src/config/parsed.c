#include "config/parsed.h"

#include "protocol/protocols.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void parsed_clear(struct parsed_value *value)
{
    free(value->string);
    for (size_t i = 0; i < value->count; i++)
        free(value->items[i].text);
    free(value->items);
    parsed_group_free(value->group);
    *value = (struct parsed_value){ 0 };
}

void parsed_group_clear_children(struct parsed_group *group)
{
    for (size_t i = 0; i < group->child_count; i++)
        parsed_group_free(group->children[i]);
    free(group->children);
    group->children = NULL;
    group->child_count = 0;
}

void parsed_group_free(struct parsed_group *group)
{
    if (group == NULL)
        return;
    for (size_t i = 0; i < group->value_count; i++)
        parsed_clear(&group->values[i]);
    parsed_group_clear_children(group);
    free(group);
}

struct parsed_group *parsed_group_create(struct parsed_configuration *parsed, const struct key_scope *scope,
                                         const struct origin *origin)
{
    size_t count = keys_count(scope);
    struct parsed_group *group = calloc(1, sizeof *group + count * sizeof *group->values);
    if (group == NULL) {
        problem_memory(parsed->problems);
        return NULL;
    }
    group->scope = scope;
    group->values = (struct parsed_value *)(group + 1);
    group->value_count = count;
    group->origin = *origin;
    return group;
}

struct parsed_configuration *parsed_create(struct problem_list *problems)
{
    const struct origin origin = { .kind = ORIGIN_DEFAULT };
    struct parsed_configuration *parsed = calloc(1, sizeof *parsed);
    if (parsed == NULL) {
        problem_memory(problems);
        return NULL;
    }
    parsed->problems = problems;
    parsed->global = parsed_group_create(parsed, &keys_global, &origin);
    parsed->log = parsed_group_create(parsed, &keys_log, &origin);
    parsed->admin = parsed_group_create(parsed, &keys_admin, &origin);
    if (parsed->global != NULL && parsed->log != NULL && parsed->admin != NULL)
        return parsed;
    parsed_free(parsed);
    return NULL;
}

static void module_free(struct parsed_module *module)
{
    parsed_group_free(module->group);
    for (size_t i = 0; i < module->extra_count; i++) {
        free(module->extras[i].name);
        parsed_clear(&module->extras[i].value);
    }
    free(module->extras);
}

struct parsed_module *parsed_add_module(struct parsed_configuration *parsed, const struct origin *origin)
{
    struct parsed_group *group = parsed_group_create(parsed, &keys_module, origin);
    struct parsed_module *grown = reallocarray(parsed->modules, parsed->module_count + 1, sizeof *grown);
    if (grown != NULL)
        parsed->modules = grown;
    if (group == NULL || grown == NULL) {
        problem_memory(parsed->problems);
        parsed_group_free(group);
        return NULL;
    }
    grown[parsed->module_count] = (struct parsed_module){ .group = group };
    return &grown[parsed->module_count++];
}

struct parsed_value *parsed_add_extra(struct parsed_configuration *parsed, const char *name,
                                      enum key_type type)
{
    struct parsed_module *module = &parsed->modules[parsed->module_count - 1];
    struct parsed_extra *grown = reallocarray(module->extras, module->extra_count + 1, sizeof *grown);
    char *copy = strdup(name);
    if (grown != NULL)
        module->extras = grown;
    if (grown == NULL || copy == NULL) {
        problem_memory(parsed->problems);
        free(copy);
        return NULL;
    }
    grown[module->extra_count] = (struct parsed_extra){ .name = copy, .type = type };
    return &grown[module->extra_count++].value;
}

void parsed_free(struct parsed_configuration *parsed)
{
    if (parsed == NULL)
        return;
    parsed_group_free(parsed->global);
    parsed_group_free(parsed->log);
    parsed_group_free(parsed->admin);
    parsed_group_free(parsed->defaults);
    for (size_t i = 0; i < parsed->listener_count; i++)
        parsed_group_free(parsed->listeners[i]);
    free(parsed->listeners);
    for (size_t i = 0; i < parsed->module_count; i++)
        module_free(&parsed->modules[i]);
    free(parsed->modules);
    for (size_t i = 0; i < parsed->name_count; i++)
        free(parsed->names[i]);
    free(parsed->names);
    for (size_t i = 0; i < parsed->file_count; i++)
        free(parsed->files[i]);
    free(parsed->files);
    free(parsed->main_file);
    free(parsed);
}

bool parsed_append(struct parsed_configuration *parsed, struct parsed_group ***groups, size_t *count,
                   struct parsed_group *group)
{
    struct parsed_group **grown = reallocarray(*groups, *count + 1, sizeof(struct parsed_group *));
    if (grown == NULL) {
        problem_memory(parsed->problems);
        parsed_group_free(group);
        return false;
    }
    *groups = grown;
    grown[(*count)++] = group;
    return true;
}

/* Appends a copy to a list of strings; returns it, or NULL (noted). */
static const char *append_copy(struct parsed_configuration *parsed, char ***texts, size_t *count,
                               const char *text)
{
    char *copy = strdup(text);
    char **grown = reallocarray(*texts, *count + 1, sizeof(char *));
    if (grown != NULL)
        *texts = grown;
    if (grown == NULL || copy == NULL) {
        free(copy);
        problem_memory(parsed->problems);
        return NULL;
    }
    grown[(*count)++] = copy;
    return copy;
}

const char *parsed_name(struct parsed_configuration *parsed, const char *name)
{
    for (size_t i = 0; i < parsed->name_count; i++)
        if (strcmp(parsed->names[i], name) == 0)
            return parsed->names[i];
    const char *copy = append_copy(parsed, &parsed->names, &parsed->name_count, name);
    return copy == NULL ? "" : copy;
}

void parsed_note_file(struct parsed_configuration *parsed, const char *path)
{
    append_copy(parsed, &parsed->files, &parsed->file_count, path);
}

struct parsed_group *parsed_find_listener(const struct parsed_configuration *parsed, const char *name)
{
    for (size_t i = 0; i < parsed->listener_count; i++) {
        const char *other = parsed_peek(parsed->listeners[i], "name")->string;
        if (other != NULL && strcmp(other, name) == 0)
            return parsed->listeners[i];
    }
    return NULL;
}

struct parsed_value *parsed_get(struct parsed_group *group, const char *key)
{
    size_t index;
    keys_find(group->scope, key, &index);
    return &group->values[index];
}

const struct parsed_value *parsed_peek(const struct parsed_group *group, const char *key)
{
    return parsed_get((struct parsed_group *)(uintptr_t)group, key);
}

const struct protocol *parsed_protocol(const struct parsed_group *protocol)
{
    return protocols_all()[parsed_peek(protocol, "type")->number];
}

struct parsed_value *parsed_at(const struct parsed_group *group, size_t index, const struct key **key)
{
    const struct key_scope *scope = group->scope;
    *key = index < scope->count ? &scope->keys[index] : NULL;
    if (*key != NULL)
        return &group->values[index];
    if (scope != &keys_protocol)
        return NULL;
    const struct protocol *protocol = parsed_protocol(group);
    if (index - scope->count >= protocol->key_count)
        return NULL;
    *key = &protocol->keys[index - scope->count];
    keys_find(scope, (*key)->name, &index);
    return &group->values[index];
}

bool parsed_set_string(struct parsed_configuration *parsed, struct parsed_value *value,
                       const struct origin *origin, const char *string)
{
    char *copy = strdup(string);
    if (copy == NULL) {
        problem_memory(parsed->problems);
        return false;
    }
    parsed_clear(value);
    *value = (struct parsed_value){ .set = true, .origin = *origin, .string = copy };
    return true;
}

void parsed_set_number(struct parsed_value *value, const struct origin *origin, int64_t number)
{
    parsed_clear(value);
    *value = (struct parsed_value){ .set = true, .origin = *origin, .number = number };
}

bool parsed_add_item(struct parsed_configuration *parsed, struct parsed_value *value,
                     const struct origin *origin, const char *text)
{
    struct parsed_item *grown = reallocarray(value->items, value->count + 1, sizeof *grown);
    char *copy = strdup(text);
    if (grown != NULL)
        value->items = grown;
    if (grown == NULL || copy == NULL) {
        free(copy);
        problem_memory(parsed->problems);
        return false;
    }
    grown[value->count++] = (struct parsed_item){ .text = copy, .origin = *origin };
    return true;
}

bool parsed_set_item(struct parsed_configuration *parsed, struct parsed_value *value,
                     const struct origin *origin, const char *text)
{
    parsed_clear(value);
    value->set = true;
    value->origin = *origin;
    return parsed_add_item(parsed, value, origin, text);
}

struct parsed_group *parsed_open_group(struct parsed_configuration *parsed, struct parsed_value *value,
                                       const struct key *key, const struct origin *origin)
{
    if (value->group == NULL)
        value->group = parsed_group_create(parsed, key->members, origin);
    if (!value->set)
        value->origin = *origin;
    value->set = true;
    return value->group;
}

bool parsed_fits(const struct key *key, int64_t *number)
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
        return parse_integer(text, number) && parsed_fits(key, number);
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

bool parsed_equals(const struct key *key, int64_t number, const char *text)
{
    int64_t other;
    return parse_number(key, text, &other) && other == number;
}

bool parsed_read(struct parsed_configuration *parsed, const struct key *key, const char *text,
                 const struct origin *origin, struct parsed_value *value, char *error, size_t error_size)
{
    char expectation[KEYS_TEXT_SIZE];
    int64_t number;
    error[0] = '\0';
    if (*text == '\0')
        snprintf(error, error_size, "is empty");
    else if (key->type == KEY_STRING)
        return parsed_set_string(parsed, value, origin, text);
    else if (key->type == KEY_STRINGS)
        return parsed_set_item(parsed, value, origin, text);
    else if (!parse_number(key, text, &number))
        snprintf(error, error_size, "\"%.60s\" does not fit: %s is wanted", text,
                 keys_expectation(key, expectation, sizeof expectation));
    else
        parsed_set_number(value, origin, number);
    return error[0] == '\0';
}

const char *parsed_subject(const struct parsed_group *group, const char *listener, const char *key,
                           char *text, size_t size)
{
    if (listener != NULL)
        snprintf(text, size, "listener \"%s\": %s%s", listener, group->scope->subject, key);
    else
        snprintf(text, size, "%s%s%s", keys_is_of_listener(group->scope) ? "listener: " : "",
                 group->scope->subject, key);
    return text;
}
