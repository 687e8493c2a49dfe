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

/* Appends a copy of an element to an array, whose address `array` is; an array that is full becomes one that is
 * twice as large. Returns the copy. */
static void *parsed_push(struct parsed_configuration *parsed, void *array, size_t *count, const void *element,
                         size_t size)
{
    char *elements;
    memcpy(&elements, array, sizeof elements);
    if ((*count & (*count - 1)) == 0) {
        char *grown = parsed_allocate(parsed, (*count == 0 ? 1 : 2 * *count) * size);
        if (grown == NULL)
            return NULL;
        if (*count > 0)
            memcpy(grown, elements, *count * size);
        elements = grown;
        memcpy(array, &elements, sizeof elements);
    }
    return memcpy(elements + (*count)++ * size, element, size);
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
    return group != NULL && parsed_push(parsed, groups, count, &group, sizeof group) != NULL ? group : NULL;
}

struct parsed_module *parsed_add_module(struct parsed_configuration *parsed, const struct origin *origin)
{
    const struct parsed_module module = { .group = parsed_group_create(parsed, &keys_module, origin) };
    if (module.group == NULL)
        return NULL;
    return parsed_push(parsed, &parsed->modules, &parsed->module_count, &module, sizeof module);
}

struct parsed_value *parsed_add_extra(struct parsed_configuration *parsed, const char *name,
                                      enum key_type type)
{
    struct parsed_module *module = &parsed->modules[parsed->module_count - 1];
    const struct parsed_extra extra = { .name = parsed_copy(parsed, name), .type = type };
    struct parsed_extra *added = NULL;
    if (extra.name != NULL)
        added = parsed_push(parsed, &module->extras, &module->extra_count, &extra, sizeof extra);
    return added == NULL ? NULL : &added->value;
}

/* Appends a copy to an array of texts; returns it. */
static const char *parsed_append(struct parsed_configuration *parsed, const char ***texts, size_t *count,
                                 const char *text)
{
    const char *copy = parsed_copy(parsed, text);
    return copy != NULL && parsed_push(parsed, texts, count, &copy, sizeof copy) != NULL ? copy : NULL;
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
    const struct parsed_item item = { .text = parsed_copy(parsed, text), .origin = *origin };
    return item.text != NULL && parsed_push(parsed, &value->items, &value->count, &item, sizeof item) != NULL;
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
    errno = 0;
    *number = strtoll(text, &end, 10);
    return *text != '\0' && strspn(text, "-0123456789") == strlen(text) && *end == '\0' && errno == 0;
}

static bool parse_number(const struct key *key, const char *text, int64_t *number)
{
    static const char *const booleans[] = { "false", "true", NULL };
    if (key->type == KEY_INTEGER)
        return parse_integer(text, number) && parsed_fits(key, number);
    const char *const *words = key->type == KEY_BOOLEAN ? booleans : key->choices;
    bool is_numbered = key->type == KEY_BOOLEAN || key->numbered;
    for (*number = 0; words[*number] != NULL; (*number)++)
        if (strcmp(text, words[*number]) == 0 || (is_numbered && text[0] == '0' + *number && text[1] == '\0'))
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

/* ---- From parsed values to those in force: `defaults` and the table's own values fill the gaps ---- */

static void inherit_all(struct parsed_configuration *parsed, const struct parsed_group *from,
                        struct parsed_group *to)
{
    for (size_t i = 0; i < from->value_count; i++)
        if (from->values[i].set || from->values[i].faulty)
            parsed_inherit(parsed, &from->values[i], &to->values[i]);
}

void parsed_inherit(struct parsed_configuration *parsed, const struct parsed_value *from,
                    struct parsed_value *to)
{
    *to = *from;
    to->inherited = true;
    if (from->group == NULL)
        return;
    to->group = parsed_group_create(parsed, from->group->scope, &from->group->origin);
    if (to->group != NULL)
        inherit_all(parsed, from->group, to->group);
}

static void inherit_children(struct parsed_configuration *parsed, const struct parsed_group *from,
                             struct parsed_group *to)
{
    parsed_get(to, "targets")->faulty = parsed_get(from, "targets")->faulty;
    for (size_t i = 0; i < from->child_count; i++) {
        const struct parsed_group *child = from->children[i];
        struct parsed_group *copy =
            parsed_group_add(parsed, child->scope, &child->origin, &to->children, &to->child_count);
        if (copy == NULL)
            return;
        inherit_all(parsed, child, copy);
    }
}

static void complete_group(struct parsed_configuration *parsed, const struct parsed_group *defaults,
                           struct parsed_group *group)
{
    static const struct origin origin = { .kind = ORIGIN_DEFAULT };
    const struct key *key;
    struct parsed_value *value;
    bool is_door = group->scope == &keys_listener && parsed_get(group, "targets_of")->set;
    for (size_t i = 0; (value = parsed_at(group, i, &key)) != NULL; i++) {
        if (is_door && !key->is_client_side)
            continue;
        bool is_faulty = value->faulty || (defaults != NULL && !value->set && defaults->values[i].faulty);
        if (!value->set && defaults != NULL && defaults->values[i].set)
            parsed_inherit(parsed, &defaults->values[i], value);
        else if (!value->set && key->fallback != NULL)
            parsed_read(parsed, key, key->fallback, &origin, value);
        value->faulty = is_faulty;
    }
}

/* A choice with members, such as a protocol, that is given by its name becomes a group that has this type. */
static void complete_choice(struct parsed_configuration *parsed, struct parsed_group *owner, const char *name)
{
    struct parsed_value *value = parsed_get(owner, name);
    struct parsed_group *group = value->set ? parsed_open_group(parsed, owner, name, &value->origin) : NULL;
    if (group == NULL)
        return;
    complete_group(parsed, NULL, group);
    value->number = parsed_get(group, "type")->number;
    value->faulty = value->faulty || parsed_get(group, "type")->faulty;
}

/* What a key that has its default from the protocol is without being set. */
static bool standard_of_protocol(const struct parsed_group *listener, const struct key *key)
{
    const struct protocol *protocol = protocols_all()[parsed_get(listener, "protocol")->number];
    return *(const bool *)((const char *)protocol + key->protocol_default);
}

static void complete_by_protocol(struct parsed_group *listener)
{
    const struct key *key;
    struct parsed_value *value;
    for (size_t i = 0; (value = parsed_at(listener, i, &key)) != NULL; i++) {
        if (key->protocol_default == 0 || value->set)
            continue;
        value->set = true;
        value->number = standard_of_protocol(listener, key);
    }
}

bool parsed_is_asked_for(const struct parsed_group *group, const struct key *key)
{
    const struct parsed_value *value = parsed_get(group, key->name);
    if (!value->set || value->inherited || value->origin.kind == ORIGIN_DEFAULT)
        return false;
    if (key->protocol_default != 0)
        return (value->number != 0) != standard_of_protocol(group, key);
    if (key->fallback == NULL || value->items != NULL)
        return true;
    return value->string != NULL ? strcmp(value->string, key->fallback) != 0
                                 : !parsed_equals(key, value->number, key->fallback);
}

void parsed_complete(struct parsed_configuration *parsed)
{
    complete_group(parsed, NULL, parsed->global);
    complete_group(parsed, NULL, parsed->log);
    complete_group(parsed, NULL, parsed->admin);
    for (size_t i = 0; i < parsed->listener_count; i++) {
        struct parsed_group *listener = parsed->listeners[i];
        complete_group(parsed, parsed->defaults, listener);
        if (parsed_get(listener, "targets_of")->set)
            continue;
        complete_choice(parsed, listener, "protocol");
        complete_choice(parsed, listener, "check");
        complete_by_protocol(listener);
        if (parsed_get(listener, "targets")->inherited)
            inherit_children(parsed, parsed->defaults, listener);
        for (size_t k = 0; k < listener->child_count; k++) {
            complete_group(parsed, NULL, listener->children[k]);
            complete_choice(parsed, listener->children[k], "check");
        }
    }
}
