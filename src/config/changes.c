#include "config/changes.h"

#include "config/parsed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Appends to a list of names, "" to begin with, which is freed when memory is short. */
static char *name_add(char *names, const char *name)
{
    char *longer = NULL;
    if (names != NULL && asprintf(&longer, "%s%s%s", names, names[0] == '\0' ? "" : ", ", name) == -1)
        longer = NULL;
    free(names);
    return longer;
}

static bool group_equal(const struct parsed_group *a, const struct parsed_group *b);

static bool value_equal(const struct parsed_value *a, const struct parsed_value *b)
{
    if (a->set != b->set || a->number != b->number || !text_equal(a->string, b->string) ||
        a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!text_equal(a->items[i].text, b->items[i].text))
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

/* What is the same in the configuration can have another meaning now: lists name files, and users have numbers.
 */
static bool contents_differ(const struct listener_settings *a, const struct listener_settings *b,
                            const struct key *key)
{
    if (strcmp(key->name, "unix_user") == 0)
        return a->unix_socket.user != b->unix_socket.user;
    if (strcmp(key->name, "unix_group") == 0)
        return a->unix_socket.group != b->unix_socket.group;
    return key->equal != NULL && !key_fields_equal(key, 1, a, b);
}

/* The keys that differ; those outside of listeners have no settings of one. NULL when memory is short. */
static char *name_keys(const struct parsed_group *before, const struct parsed_group *after,
                       const struct listener_settings *settings_before,
                       const struct listener_settings *settings_after)
{
    const struct key *key;
    char *names = strdup("");
    keys_foreach(before->scope, i, key)
    {
        if (!value_equal(&before->values[i], &after->values[i]) ||
            (strcmp(key->name, "targets") == 0 && !children_equal(before, after)) ||
            (settings_before != NULL && contents_differ(settings_before, settings_after, key)))
            names = name_add(names, key->name);
    }
    return names;
}

static bool module_equal(const struct parsed_module *a, const struct parsed_module *b)
{
    if (!group_equal(a->group, b->group) || a->extra_count != b->extra_count)
        return false;
    for (size_t i = 0; i < a->extra_count; i++)
        if (strcmp(a->extras[i].name, b->extras[i].name) != 0 || a->extras[i].type != b->extras[i].type ||
            !value_equal(&a->extras[i].value, &b->extras[i].value))
            return false;
    return true;
}

static bool modules_equal(const struct parsed_configuration *a, const struct parsed_configuration *b)
{
    if (a->module_count != b->module_count)
        return false;
    for (size_t i = 0; i < a->module_count; i++)
        if (!module_equal(&a->modules[i], &b->modules[i]))
            return false;
    return true;
}

static char *name_outside(const struct parsed_configuration *a, const struct parsed_configuration *b,
                          bool admin)
{
    char *names = name_keys(a->global, b->global, NULL, NULL);
    if (!group_equal(a->log, b->log))
        names = name_add(names, "log");
    if (admin)
        names = name_add(names, "admin");
    return modules_equal(a, b) ? names : name_add(names, "modules");
}

/* A listener's place in its configuration. */
struct place {
    const char *name;
    size_t index;
};

static int place_compare(const void *a, const void *b)
{
    const struct place *one = a, *other = b;
    return strcmp(one->name, other->name);
}

/* Without errors the parsed listeners and those of the settings are the same. */
static bool compare_listeners(const struct config *before, const struct config *after,
                              struct config_changes *changes)
{
    size_t count = before->settings->listener_count;
    struct place *sorted = calloc(count, sizeof *sorted);
    bool success = sorted != NULL;
    for (size_t i = 0; success && i < count; i++)
        sorted[i] = (struct place){ before->settings->listeners[i]->name, i };
    if (success)
        qsort(sorted, count, sizeof *sorted, place_compare);
    for (size_t i = 0; success && i < changes->count; i++) {
        struct listener_changes *listener = &changes->listeners[i];
        const struct place wanted = { .name = after->settings->listeners[i]->name };
        const struct place *found = bsearch(&wanted, sorted, count, sizeof *sorted, place_compare);
        listener->before = found == NULL ? SIZE_MAX : found->index;
        if (found == NULL)
            continue;
        listener->keys = name_keys(before->parsed->listeners[found->index], after->parsed->listeners[i],
                                   before->settings->listeners[found->index], after->settings->listeners[i]);
        success = listener->keys != NULL;
    }
    free(sorted);
    return success;
}

bool config_compare(const struct config *before, const struct config *after, struct config_changes *changes)
{
    size_t count = after->settings->listener_count;
    *changes = (struct config_changes){
        .listeners = calloc(count, sizeof *changes->listeners),
        .count = count,
        .admin = !group_equal(before->parsed->admin, after->parsed->admin),
    };
    changes->keys = name_outside(before->parsed, after->parsed, changes->admin);
    return changes->listeners != NULL && changes->keys != NULL && compare_listeners(before, after, changes);
}

void config_changes_free(struct config_changes *changes)
{
    for (size_t i = 0; changes->listeners != NULL && i < changes->count; i++)
        free(changes->listeners[i].keys);
    free(changes->listeners);
    free(changes->keys);
    *changes = (struct config_changes){ 0 };
}
