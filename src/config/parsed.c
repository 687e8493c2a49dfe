#include "config/parsed.h"

#include "protocol/protocols.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory that is freed together with the configuration. */
struct parsed_block {
    struct parsed_block *next;
    max_align_t bytes[];
};

/* Zeroed. */
static void *parsed_allocate(struct parsed_configuration *parsed, size_t size)
{
    struct parsed_block *block = calloc(1, sizeof *block + size);
    if (block == NULL) {
        problem_memory(parsed->problems);
        return NULL;
    }
    block->next = parsed->blocks;
    parsed->blocks = block;
    return block->bytes;
}

/* An array of `count` elements with room for one more: the same, or another one that is twice as large. */
static void *parsed_grow(struct parsed_configuration *parsed, void *array, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return array;
    void *grown = parsed_allocate(parsed, (count == 0 ? 1 : 2 * count) * size);
    return grown == NULL || count == 0 ? grown : memcpy(grown, array, count * size);
}

const char *parsed_copy(struct parsed_configuration *parsed, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = parsed_allocate(parsed, size);
    return copy == NULL ? NULL : memcpy(copy, text, size);
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
    parsed_release(parsed);
    free(parsed);
    return NULL;
}

void parsed_release(struct parsed_configuration *parsed)
{
    while (parsed != NULL && parsed->blocks != NULL) {
        struct parsed_block *block = parsed->blocks;
        parsed->blocks = block->next;
        free(block);
    }
}

struct parsed_group *parsed_group_create(struct parsed_configuration *parsed, const struct key_scope *scope,
                                         const struct origin *origin)
{
    size_t count = keys_count(scope);
    struct parsed_group *group = parsed_allocate(parsed, sizeof *group + count * sizeof *group->values);
    if (group == NULL)
        return NULL;
    group->scope = scope;
    group->values = (struct parsed_value *)(group + 1);
    group->value_count = count;
    group->origin = *origin;
    return group;
}

struct parsed_group *parsed_group_add(struct parsed_configuration *parsed, const struct key_scope *scope,
                                      const struct origin *origin, struct parsed_group ***groups,
                                      size_t *count)
{
    struct parsed_group *group = parsed_group_create(parsed, scope, origin);
    struct parsed_group **grown = parsed_grow(parsed, *groups, *count, sizeof(struct parsed_group *));
    if (group == NULL || grown == NULL)
        return NULL;
    *groups = grown;
    return grown[(*count)++] = group;
}

struct parsed_module *parsed_add_module(struct parsed_configuration *parsed, const struct origin *origin)
{
    struct parsed_group *group = parsed_group_create(parsed, &keys_module, origin);
    struct parsed_module *grown = parsed_grow(parsed, parsed->modules, parsed->module_count, sizeof *grown);
    if (group == NULL || grown == NULL)
        return NULL;
    parsed->modules = grown;
    grown[parsed->module_count] = (struct parsed_module){ .group = group };
    return &grown[parsed->module_count++];
}

struct parsed_value *parsed_add_extra(struct parsed_configuration *parsed, const char *name,
                                      enum key_type type)
{
    struct parsed_module *module = &parsed->modules[parsed->module_count - 1];
    struct parsed_extra *grown = parsed_grow(parsed, module->extras, module->extra_count, sizeof *grown);
    const char *copy = parsed_copy(parsed, name);
    if (grown == NULL || copy == NULL)
        return NULL;
    module->extras = grown;
    grown[module->extra_count] = (struct parsed_extra){ .name = copy, .type = type };
    return &grown[module->extra_count++].value;
}

/* Appends a copy to an array of texts; returns it. */
static const char *parsed_append(struct parsed_configuration *parsed, const char ***texts, size_t *count,
                                 const char *text)
{
    const char *copy = parsed_copy(parsed, text);
    const char **grown = parsed_grow(parsed, *texts, *count, sizeof(const char *));
    if (grown == NULL || copy == NULL)
        return NULL;
    *texts = grown;
    return grown[(*count)++] = copy;
}

const char *parsed_name(struct parsed_configuration *parsed, const char *name)
{
    for (size_t i = 0; i < parsed->name_count; i++)
        if (strcmp(parsed->names[i], name) == 0)
            return parsed->names[i];
    const char *copy = parsed_append(parsed, &parsed->names, &parsed->name_count, name);
    return copy == NULL ? "" : copy;
}

void parsed_note_file(struct parsed_configuration *parsed, const char *path)
{
    parsed_append(parsed, &parsed->files, &parsed->file_count, path);
}

struct parsed_group *parsed_find_listener(const struct parsed_configuration *parsed, const char *name)
{
    for (size_t i = 0; i < parsed->listener_count; i++) {
        const char *other = parsed_get(parsed->listeners[i], "name")->string;
        if (other != NULL && strcmp(other, name) == 0)
            return parsed->listeners[i];
    }
    return NULL;
}

struct parsed_value *parsed_get(const struct parsed_group *group, const char *key)
{
    size_t index;
    keys_find(group->scope, key, &index);
    return &group->values[index];
}

const struct protocol *parsed_protocol(const struct parsed_group *protocol)
{
    return protocols_all()[parsed_get(protocol, "type")->number];
}

struct parsed_value *parsed_at(const struct parsed_group *group, size_t index, const struct key **key)
{
    const struct key_scope *scope = group->scope;
    *key = index < scope->count ? &scope->keys[index] : NULL;
    if (*key != NULL)
        return &group->values[index];
    if (scope != &keys_protocol || index - scope->count >= parsed_protocol(group)->key_count)
        return NULL;
    *key = &parsed_protocol(group)->keys[index - scope->count];
    return parsed_get(group, (*key)->name);
}

bool parsed_set_string(struct parsed_configuration *parsed, struct parsed_value *value,
                       const struct origin *origin, const char *string)
{
    const char *copy = parsed_copy(parsed, string);
    if (copy != NULL)
        *value = (struct parsed_value){ .set = true, .origin = *origin, .string = copy };
    return copy != NULL;
}

void parsed_set_number(struct parsed_value *value, const struct origin *origin, int64_t number)
{
    *value = (struct parsed_value){ .set = true, .origin = *origin, .number = number };
}

bool parsed_add_item(struct parsed_configuration *parsed, struct parsed_value *value,
                     const struct origin *origin, const char *text)
{
    struct parsed_item *grown = parsed_grow(parsed, value->items, value->count, sizeof *grown);
    const char *copy = parsed_copy(parsed, text);
    if (grown == NULL || copy == NULL)
        return false;
    value->items = grown;
    grown[value->count++] = (struct parsed_item){ .text = copy, .origin = *origin };
    return true;
}

bool parsed_set_item(struct parsed_configuration *parsed, struct parsed_value *value,
                     const struct origin *origin, const char *text)
{
    *value = (struct parsed_value){ .set = true, .origin = *origin };
    return parsed_add_item(parsed, value, origin, text);
}

struct parsed_group *parsed_open_group(struct parsed_configuration *parsed, const struct parsed_group *group,
                                       const char *name, const struct origin *origin)
{
    size_t index;
    const struct key *key = keys_find(group->scope, name, &index);
    struct parsed_value *value = &group->values[index];
    if (value->group == NULL) {
        value->group = parsed_group_create(parsed, key->members, origin);
        if (value->group != NULL && value->set && key->type == KEY_CHOICE)
            parsed_set_number(parsed_get(value->group, "type"), &value->origin, value->number);
    }
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
                 const struct origin *origin, struct parsed_value *value)
{
    char expectation[KEYS_TEXT_SIZE];
    int64_t number;
    if (*text == '\0') {
        problem_error(parsed->problems, origin, NULL, "is empty");
        return false;
    }
    if (key->type == KEY_STRING)
        return parsed_set_string(parsed, value, origin, text);
    if (key->type == KEY_STRINGS)
        return parsed_set_item(parsed, value, origin, text);
    if (!parse_number(key, text, &number)) {
        problem_error(parsed->problems, origin, NULL, "\"%.60s\" does not fit: %s is wanted", text,
                      keys_expectation(key, expectation, sizeof expectation));
        return false;
    }
    parsed_set_number(value, origin, number);
    return true;
}

const char *parsed_subject(const struct parsed_group *group, const char *listener, const char *key,
                           char text[PARSED_SUBJECT_SIZE])
{
    if (listener != NULL)
        snprintf(text, PARSED_SUBJECT_SIZE, "listener \"%s\": %s%s", listener, group->scope->subject, key);
    else
        snprintf(text, PARSED_SUBJECT_SIZE, "%s%s%s", keys_is_of_listener(group->scope) ? "listener: " : "",
                 group->scope->subject, key);
    return text;
}
