/* From parsed values to those in force: `defaults` and the table's own values fill the gaps. */
#include "config/parsed.h"

#include "protocol/protocols.h"

#include <string.h>

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
    for (size_t i = 0; (value = parsed_at(group, i, &key)) != NULL; i++) {
        bool is_faulty = value->faulty || (defaults != NULL && !value->set && defaults->values[i].faulty);
        if (!value->set && defaults != NULL && defaults->values[i].set)
            parsed_inherit(parsed, &defaults->values[i], value);
        else if (!value->set && key->fallback != NULL)
            parsed_read(parsed, key, key->fallback, &origin, value);
        value->faulty = is_faulty;
    }
}

/* A protocol given by its name becomes a group that has this type. */
static void complete_protocol(struct parsed_configuration *parsed, struct parsed_group *listener)
{
    struct parsed_value *value = parsed_get(listener, "protocol");
    struct parsed_group *group = parsed_open_group(parsed, listener, "protocol", &value->origin);
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

bool parsed_is_standard(const struct parsed_group *group, const struct key *key)
{
    const struct parsed_value *value = parsed_get(group, key->name);
    if (!value->set || value->origin.kind == ORIGIN_DEFAULT)
        return true;
    if (key->protocol_default != 0)
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
        if (parsed_get(listener, "targets")->inherited)
            inherit_children(parsed, parsed->defaults, listener);
        for (size_t k = 0; k < listener->child_count; k++)
            complete_group(parsed, NULL, listener->children[k]);
    }
}
