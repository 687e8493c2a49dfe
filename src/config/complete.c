/* From what was written to what is in force: `defaults` and the table's own values fill the gaps. */
#include "config/written.h"

#include "protocol/protocol.h"

#include <stdlib.h>
#include <string.h>

static void copy_values(struct written_configuration *written, const struct written_group *from,
                        struct written_group *to)
{
    for (size_t i = 0; i < KEYS_MAX; i++)
        if (from->values[i].set || from->values[i].faulty)
            written_inherit(written, &from->values[i], &to->values[i]);
}

void written_inherit(struct written_configuration *written, const struct written_value *from,
                     struct written_value *to)
{
    written_clear(to);
    if (from->string != NULL) {
        written_set_string(written, to, &from->origin, from->string);
    } else if (from->items != NULL) {
        for (size_t i = 0; i < from->count; i++)
            written_add_item(written, to, &from->items[i].origin, from->items[i].text);
    } else {
        to->number = from->number;
    }
    if (from->group != NULL) {
        to->group = written_group_create(written, from->group->scope, &from->group->origin);
        if (to->group != NULL)
            copy_values(written, from->group, to->group);
    }
    to->origin = from->origin;
    to->set = from->set;
    to->faulty = from->faulty;
    to->inherited = true;
}

static void copy_children(struct written_configuration *written, const struct written_group *from,
                          struct written_group *to)
{
    to->children_set = true;
    to->children_faulty = from->children_faulty;
    to->children_origin = from->children_origin;
    for (size_t i = 0; i < from->child_count; i++) {
        const struct written_group *child = from->children[i];
        struct written_group *copy = written_group_create(written, child->scope, &child->origin);
        if (copy == NULL || !written_append(written, &to->children, &to->child_count, copy))
            return;
        copy_values(written, child, copy);
    }
}

/* Whether the key means something in this group: a protocol has only keys of its own. */
static bool is_in_place(const struct written_group *group, const struct key *key)
{
    return key->scope != SCOPE_PROTOCOL || keys_belongs(key, written_protocol(group));
}

static void complete_group(struct written_configuration *written, const struct written_group *defaults,
                           struct written_group *group)
{
    static const struct origin origin = { .kind = ORIGIN_DEFAULT };
    size_t count;
    char error[KEYS_TEXT_SIZE];
    const struct key *keys = keys_of(group->scope, &count);
    for (size_t i = 0; i < count; i++) {
        struct written_value *value = &group->values[i];
        bool faulty = value->faulty || (defaults != NULL && !value->set && defaults->values[i].faulty);
        if (!value->set && defaults != NULL && defaults->values[i].set)
            written_inherit(written, &defaults->values[i], value);
        else if (!value->set && keys[i].fallback != NULL && is_in_place(group, &keys[i]))
            written_parse(written, &keys[i], keys[i].fallback, &origin, value, error, sizeof error);
        value->faulty = faulty;
    }
}

enum key_protocol written_protocol(const struct written_group *protocol)
{
    return (enum key_protocol)written_peek(protocol, "type")->number;
}

/* A protocol given by its name becomes a group that has this type. */
static void complete_protocol(struct written_configuration *written, struct written_group *listener)
{
    struct written_value *value = written_get(listener, "protocol");
    bool named = value->group == NULL;
    struct written_group *group =
        written_open_group(written, value, keys_find(SCOPE_LISTENER, "protocol", NULL), &value->origin);
    if (group == NULL)
        return;
    if (named)
        written_set_number(written_get(group, "type"), &value->origin, value->number);
    complete_group(written, NULL, group);
    value->number = written_protocol(group);
    value->faulty = value->faulty || written_peek(group, "type")->faulty;
}

/* What a key that has its default from the protocol is without being set. */
static bool standard_of_protocol(const struct written_group *listener, const struct key *key)
{
    const struct protocol *protocol =
        protocol_find(keys_protocol_name((enum key_protocol)written_peek(listener, "protocol")->number));
    if (protocol == NULL)
        return false;
    return strcmp(key->name, "async") == 0 ? protocol->is_async : protocol->aborts_on_close;
}

static void complete_by_protocol(struct written_group *listener)
{
    static const struct origin origin = { .kind = ORIGIN_DEFAULT };
    size_t count;
    const struct key *keys = keys_of(SCOPE_LISTENER, &count);
    for (size_t i = 0; i < count; i++) {
        bool faulty = listener->values[i].faulty;
        if (!keys[i].default_by_protocol || listener->values[i].set)
            continue;
        written_set_number(&listener->values[i], &origin, standard_of_protocol(listener, &keys[i]));
        listener->values[i].faulty = faulty;
    }
}

bool written_is_standard(const struct written_group *group, const struct key *key)
{
    const struct written_value *value = written_peek(group, key->name);
    if (!value->set || value->origin.kind == ORIGIN_DEFAULT)
        return true;
    if (key->default_by_protocol)
        return (value->number != 0) == standard_of_protocol(group, key);
    if (value->string != NULL)
        return key->fallback != NULL && strcmp(value->string, key->fallback) == 0;
    return key->fallback != NULL && value->items == NULL && written_equals(key, value->number, key->fallback);
}

void written_complete(struct written_configuration *written)
{
    complete_group(written, NULL, written->global);
    complete_group(written, NULL, written->log);
    complete_group(written, NULL, written->admin);
    for (size_t i = 0; i < written->listener_count; i++) {
        struct written_group *listener = written->listeners[i];
        complete_group(written, written->defaults, listener);
        complete_protocol(written, listener);
        complete_by_protocol(listener);
        if (!listener->children_set && written->defaults != NULL && written->defaults->children_set)
            copy_children(written, written->defaults, listener);
        for (size_t k = 0; k < listener->child_count; k++)
            complete_group(written, NULL, listener->children[k]);
    }
}
