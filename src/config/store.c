#include "config/store.h"

#include "config/bytes.h"

#include <stdlib.h>
#include <string.h>

/* Whether the row has nothing against a string, or one of a list. */
static bool store_accepts(const struct check *check, const struct parsed_group *group, const struct key *key,
                          const struct origin *origin, const char *text)
{
    if (key->accepts == NULL || key->accepts(text))
        return true;
    check_error(check, group, key->name, origin, "\"%.60s\" %s", text, key->refusal);
    return false;
}

static bool store_copy(const struct check *check, const char *text, char **copy)
{
    *copy = strdup(text);
    if (*copy == NULL)
        problem_memory(check->parsed->problems);
    return *copy != NULL;
}

/* Decodes escapes. Of a wrong one the first bytes are shown and no more, since strings can be long. */
static bool store_bytes(const struct check *check, const struct parsed_group *group, const struct key *key,
                        const struct parsed_value *value, struct slice *slice)
{
    const char *wrong;
    if (bytes_decode(value->string, slice, &wrong))
        return true;
    if (wrong == NULL)
        problem_memory(check->parsed->problems);
    else
        check_error(
            check, group, key->name, &value->origin,
            "\"%.*s\" is no escape: there are \\n, \\r, \\t, \\0, \\\\ and \\xNN, which the file writes "
            "with two backslashes",
            wrong[1] == 'x' ? 4 : 2, wrong);
    return false;
}

static bool store_slice(const struct check *check, const struct parsed_group *group, const struct key *key,
                        const struct parsed_value *value, struct slice *slice)
{
    char *copy;
    if (key->is_bytes) {
        if (!store_bytes(check, group, key, value, slice))
            return false;
    } else {
        if (!store_copy(check, value->string, &copy))
            return false;
        *slice = (struct slice){ copy, strlen(copy) };
    }
    if (slice->length == 0)
        check_error(check, group, key->name, &value->origin, "is empty");
    else if (key->maximum > 0 && slice->length > (size_t)key->maximum)
        check_error(check, group, key->name, &value->origin, "has more than %zu bytes", (size_t)key->maximum);
    else
        return true;
    return false;
}

static bool store_strings(const struct check *check, const struct parsed_group *group, const struct key *key,
                          const struct parsed_value *value, struct slices *list)
{
    bool is_right = true;
    list->slices = calloc(value->count + 1, sizeof *list->slices);
    if (list->slices == NULL) {
        problem_memory(check->parsed->problems);
        return false;
    }
    for (size_t i = 0; i < value->count; i++) {
        const struct parsed_item *item = &value->items[i];
        char *copy;
        if (!store_accepts(check, group, key, &item->origin, item->text) ||
            !store_copy(check, item->text, &copy)) {
            is_right = false;
            continue;
        }
        list->slices[list->count++] = (struct slice){ copy, strlen(copy) };
    }
    return is_right;
}

static bool store_value(const struct check *check, const struct parsed_group *group, const struct key *key,
                        const struct parsed_value *value, void *settings)
{
    void *field = key_field(key, settings);
    if (key->type == KEY_STRINGS)
        return store_strings(check, group, key, value, field);
    if (key->type != KEY_STRING)
        key_store_number(key, settings, value->number);
    else if (!store_accepts(check, group, key, &value->origin, value->string))
        return false;
    else if (key->size == sizeof(struct slice))
        return store_slice(check, group, key, value, field);
    else
        return store_copy(check, value->string, field);
    return true;
}

bool store_group(const struct check *check, const struct parsed_group *group, void *settings)
{
    bool is_right = true;
    const struct key *key;
    const struct parsed_value *value;
    for (size_t i = 0; (value = parsed_at(group, i, &key)) != NULL; i++) {
        if (value->faulty)
            is_right = false;
        if (value->set && !value->faulty) {
            if (key->size > 0 && key->equal == NULL)
                is_right = store_value(check, group, key, value, settings) && is_right;
            else if (key->type == KEY_STRUCTURE && value->group != NULL)
                is_right = store_group(check, value->group, settings) && is_right;
        } else if (key->required && key->type != KEY_STRUCTURE && !value->faulty) {
            const char *type = group->scope == &keys_protocol ? parsed_protocol(group)->name : NULL;
            check_error(check, group, key->name, &group->origin, "is required%s%s%s",
                        type == NULL ? "" : " with type \"", type == NULL ? "" : type,
                        type == NULL ? "" : "\"");
            is_right = false;
        }
    }
    return is_right;
}
