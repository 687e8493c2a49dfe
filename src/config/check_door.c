/* A door: a listener that shares the targets of another one, its owner. It has values of the client's side alone; all
 * else is what its owner has. */
#include "config/check.h"

#include <stdio.h>
#include <string.h>

bool check_is_door(const struct parsed_group *listener)
{
    return parsed_get(listener, "targets_of")->set;
}

/* `; did you mean "NAME"?`, or "". */
static const char *door_hint(const struct check *check, const char *text, char hint[KEYS_HINT_SIZE])
{
    size_t distance = SIZE_MAX;
    hint[0] = '\0';
    for (size_t i = 0; i < check->parsed->listener_count; i++) {
        const char *name = parsed_get(check->parsed->listeners[i], "name")->string;
        if (name != NULL && check->parsed->listeners[i] != check->group &&
            keys_is_nearer(text, name, &distance))
            snprintf(hint, KEYS_HINT_SIZE, "; did you mean \"%s\"?", name);
    }
    return hint;
}

/* The settings of its owner among those of all listeners; NULL: something is wrong with it, which has been said. */
static struct listener_settings *door_find_owner(const struct check *check,
                                                 struct listener_settings *const *listeners)
{
    const struct parsed_configuration *parsed = check->parsed;
    const char *name = parsed_get(check->group, "targets_of")->string;
    const struct parsed_group *owner = parsed_find_listener(parsed, name);
    char hint[KEYS_HINT_SIZE];
    size_t index = 0;
    if (owner == NULL) {
        check_error(check, "targets_of", "there is no listener \"%s\"%s", name, door_hint(check, name, hint));
        return NULL;
    }
    if (check_is_door(owner)) {
        check_error(check, "targets_of", "\"%s\" has no targets of its own: it has targets_of itself", name);
        return NULL;
    }
    while (parsed->listeners[index] != owner)
        index++;
    if (listeners[index] == NULL || listeners[index]->mode != MODE_PROXY)
        return listeners[index];
    check_error(check, "targets_of",
                "\"%s\" is in mode \"proxy\", where each client has a target connection of its own and "
                "nothing is shared",
                name);
    return NULL;
}

static bool door_check_keys(const struct check *check)
{
    bool is_right = true;
    const struct key *key;
    const struct parsed_value *value;
    for (size_t i = 0; (value = parsed_at(check->group, i, &key)) != NULL; i++)
        if (!key->is_client_side && (value->set || value->faulty)) {
            check_error(check, key->name,
                        "is what \"%s\" has: beside targets_of there are only keys of the client's side",
                        parsed_get(check->group, "targets_of")->string);
            is_right = false;
        }
    return is_right;
}

void check_door(const struct check *check, struct listener_settings *const *listeners)
{
    struct listener_settings *settings = check->settings;
    struct listener_settings *owner = door_find_owner(check, listeners);
    const struct key *key;
    if (!door_check_keys(check) || owner == NULL)
        return;
    keys_foreach(&keys_listener, i, key)
    {
        if (key->size > 0 && !key->is_client_side)
            memcpy(key_field(key, settings), key_field(key, owner), key->size);
    }
    settings->protocol = owner->protocol;
    settings->shared = listener_settings_reference(owner);
}
