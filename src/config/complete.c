/* From what was written to what is in force: `defaults` and the table's own values fill the gaps. */
#include "config/parsed.h"

#include "protocol/protocol.h"

#include <stdlib.h>
#include <string.h>

static void copy_values(struct parsed_configuration *parsed, const struct parsed_group *from,
                        struct parsed_group *to)
{
    for (size_t i = 0; i < KEYS_MAX; i++)
        if (from->values[i].set || from->values[i].faulty)
            parsed_inherit(parsed, &from->values[i], &to->values[i]);
}

void parsed_inherit(struct parsed_configuration *parsed, const struct parsed_value *from,
                    struct parsed_value *to)
{
    parsed_clear(to);
    if (from->string != NULL) {
        parsed_set_string(parsed, to, &from->origin, from->string);
    } else if (from->items != NULL) {
        for (size_t i = 0; i < from->count; i++)
            parsed_add_item(parsed, to, &from->items[i].origin, from->items[i].text);
    } else {
        to->number = from->number;
    }
    if (from->group != NULL) {
        to->group = parsed_group_create(parsed, from->group->scope, &from->group->origin);
        if (to->group != NULL)
            copy_values(parsed, from->group, to->group);
    }
    to->origin = from->origin;
    to->set = from->set;
    to->faulty = from->faulty;
    to->inherited = true;
}

static void copy_children(struct parsed_configuration *parsed, const struct parsed_group *from,
                          struct parsed_group *to)
{
    to->children_set = true;
    to->children_faulty = from->children_faulty;
    to->children_origin = from->children_origin;
    for (size_t i = 0; i < from->child_count; i++) {
        const struct parsed_group *child = from->children[i];
        struct parsed_group *copy = parsed_group_create(parsed, child->scope, &child->origin);
        if (copy == NULL || !parsed_append(parsed, &to->children, &to->child_count, copy))
            return;
        copy_values(parsed, child, copy);
    }
}

/* Whether the key means something in this group: a protocol has only keys of its own. */
static bool is_in_place(const struct parsed_group *group, const struct key *key)
{
    return key->scope != SCOPE_PROTOCOL || keys_belongs(key, parsed_protocol(group));
}

static void complete_group(struct parsed_configuration *parsed, const struct parsed_group *defaults,
                           struct parsed_group *group)
{
    static const struct origin origin = { .kind = ORIGIN_DEFAULT };
    size_t count;
    char error[KEYS_TEXT_SIZE];
    const struct key *keys = keys_of(group->scope, &count);
    for (size_t i = 0; i < count; i++) {
        struct parsed_value *value = &group->values[i];
        bool faulty = value->faulty || (defaults != NULL && !value->set && defaults->values[i].faulty);
        if (!value->set && defaults != NULL && defaults->values[i].set)
            parsed_inherit(parsed, &defaults->values[i], value);
        else if (!value->set && keys[i].fallback != NULL && is_in_place(group, &keys[i]))
            parsed_read(parsed, &keys[i], keys[i].fallback, &origin, value, error, sizeof error);
        value->faulty = faulty;
    }
}

enum key_protocol parsed_protocol(const struct parsed_group *protocol)
{
    return (enum key_protocol)parsed_peek(protocol, "type")->number;
}

/* A protocol given by its name becomes a group that has this type. */
static void complete_protocol(struct parsed_configuration *parsed, struct parsed_group *listener)
{
    struct parsed_value *value = parsed_get(listener, "protocol");
    bool named = value->group == NULL;
    struct parsed_group *group =
        parsed_open_group(parsed, value, keys_find(SCOPE_LISTENER, "protocol", NULL), &value->origin);
    if (group == NULL)
        return;
    if (named)
        parsed_set_number(parsed_get(group, "type"), &value->origin, value->number);
    complete_group(parsed, NULL, group);
    value->number = parsed_protocol(group);
    value->faulty = value->faulty || parsed_peek(group, "type")->faulty;
}

/* What a key that has its default from the protocol is without being set. */
static bool standard_of_protocol(const struct parsed_group *listener, const struct key *key)
{
    const struct protocol *protocol =
        protocol_find(keys_protocol_name((enum key_protocol)parsed_peek(listener, "protocol")->number));
    if (protocol == NULL)
        return false;
    return strcmp(key->name, "async") == 0 ? protocol->is_async : protocol->aborts_on_close;
}

static void complete_by_protocol(struct parsed_group *listener)
{
    static const struct origin origin = { .kind = ORIGIN_DEFAULT };
    size_t count;
    const struct key *keys = keys_of(SCOPE_LISTENER, &count);
    for (size_t i = 0; i < count; i++) {
        bool faulty = listener->values[i].faulty;
        if (!keys[i].default_by_protocol || listener->values[i].set)
            continue;
        parsed_set_number(&listener->values[i], &origin, standard_of_protocol(listener, &keys[i]));
        listener->values[i].faulty = faulty;
    }
}

bool parsed_is_standard(const struct parsed_group *group, const struct key *key)
{
    const struct parsed_value *value = parsed_peek(group, key->name);
    if (!value->set || value->origin.kind == ORIGIN_DEFAULT)
        return true;
    if (key->default_by_protocol)
        return (value->number != 0) == standard_of_protocol(group, key);
    if (value->string != NULL)
        return key->fallback != NULL && strcmp(value->string, key->fallback) == 0;
    return key->fallback != NULL && value->items == NULL && parsed_equals(key, value->number, key->fallback);
}

void parsed_complete(struct parsed_configuration *parsed)
{
    complete_group(parsed, NULL, parsed->global);
    complete_group(parsed, NULL, parsed->log);
    complete_group(parsed, NULL, parsed->admin);
    for (size_t i = 0; i < parsed->listener_count; i++) {
        struct parsed_group *listener = parsed->listeners[i];
        complete_group(parsed, parsed->defaults, listener);
        complete_protocol(parsed, listener);
        complete_by_protocol(listener);
        if (!listener->children_set && parsed->defaults != NULL && parsed->defaults->children_set)
            copy_children(parsed, parsed->defaults, listener);
        for (size_t k = 0; k < listener->child_count; k++)
            complete_group(parsed, NULL, listener->children[k]);
    }
}
