#include "config/changes.h"

#include "config/parsed.h"

#include <stdio.h>
#include <string.h>

/* Names found so far. */
struct naming {
    char *text;
    size_t size;
    size_t length;
};

static void name_add(struct naming *naming, const char *name)
{
    int length = snprintf(naming->text + naming->length, naming->size - naming->length, "%s%s",
                          naming->length == 0 ? "" : ", ", name);
    naming->length += (size_t)length;
    if (naming->length >= naming->size) /* it was cut */
        naming->length = naming->size - 1;
}

static bool string_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool group_equal(const struct parsed_group *a, const struct parsed_group *b);

static bool value_equal(const struct parsed_value *a, const struct parsed_value *b)
{
    if (a->set != b->set || a->number != b->number || !string_equal(a->string, b->string) ||
        a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!string_equal(a->items[i].text, b->items[i].text))
            return false;
    return a->group == NULL || b->group == NULL ? a->group == b->group : group_equal(a->group, b->group);
}

static bool children_equal(const struct parsed_group *a, const struct parsed_group *b)
{
    if (a->child_count != b->child_count)
        return false;
    for (size_t i = 0; i < a->child_count; i++)
        if (!group_equal(a->children[i], b->children[i]))
            return false;
    return true;
}

static bool group_equal(const struct parsed_group *a, const struct parsed_group *b)
{
    for (size_t i = 0; i < a->value_count; i++)
        if (!value_equal(&a->values[i], &b->values[i]))
            return false;
    return children_equal(a, b);
}

static const struct listener_settings *find_settings(const struct config *config, const char *name)
{
    const struct settings *settings = config->settings;
    for (size_t i = 0; i < settings->listener_count; i++)
        if (strcmp(settings->listeners[i]->name, name) == 0)
            return settings->listeners[i];
    return NULL;
}

/* Lists that are the same in the configuration can name files whose contents have changed. */
static bool contents_differ(const struct listener_settings *a, const struct listener_settings *b,
                            const struct key *key)
{
    return a != NULL && b != NULL && key->equal != NULL && !key_fields_equal(key, 1, a, b);
}

static void name_group(struct naming *naming, const struct listener_settings *before,
                       const struct listener_settings *after, const struct parsed_group *a,
                       const struct parsed_group *b)
{
    const struct key *key;
    keys_foreach(a->scope, i, key)
    {
        bool is_targets = before != NULL && strcmp(key->name, "targets") == 0;
        if (!value_equal(&a->values[i], &b->values[i]) || (is_targets && !children_equal(a, b)) ||
            contents_differ(before, after, key))
            name_add(naming, key->name);
    }
}

static bool modules_equal(const struct parsed_configuration *a, const struct parsed_configuration *b)
{
    bool are_equal = a->module_count == b->module_count;
    for (size_t i = 0; are_equal && i < a->module_count; i++) {
        const struct parsed_module *one = &a->modules[i], *other = &b->modules[i];
        are_equal = group_equal(one->group, other->group) && one->extra_count == other->extra_count;
        for (size_t k = 0; are_equal && k < one->extra_count; k++)
            are_equal = strcmp(one->extras[k].name, other->extras[k].name) == 0 &&
                        one->extras[k].type == other->extras[k].type &&
                        value_equal(&one->extras[k].value, &other->extras[k].value);
    }
    return are_equal;
}

const char *changes_name(const struct config *before, const struct config *after, const char *listener,
                         char *text, size_t size)
{
    struct naming naming = { .text = text, .size = size };
    text[0] = '\0';
    if (listener != NULL) {
        const struct parsed_group *a = parsed_find_listener(before->parsed, listener);
        const struct parsed_group *b = parsed_find_listener(after->parsed, listener);
        if (a != NULL && b != NULL)
            name_group(&naming, find_settings(before, listener), find_settings(after, listener), a, b);
        return text;
    }
    name_group(&naming, NULL, NULL, before->parsed->global, after->parsed->global);
    if (!group_equal(before->parsed->log, after->parsed->log))
        name_add(&naming, "log");
    if (!group_equal(before->parsed->admin, after->parsed->admin))
        name_add(&naming, "admin");
    if (!modules_equal(before->parsed, after->parsed))
        name_add(&naming, "modules");
    return text;
}
