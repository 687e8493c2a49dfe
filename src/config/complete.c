/* From what was written to what is in force: `defaults` and the table's own values fill the gaps. */
#include "config/written.h"

#include <stdlib.h>
#include <string.h>

static void copy_value(struct written_configuration *written, const struct written_value *from,
                       struct written_value *to)
{
    if (from->string != NULL) {
        written_set_string(written, to, &from->origin, from->string);
    } else if (from->items != NULL) {
        for (size_t i = 0; i < from->count; i++)
            written_add_item(written, to, &from->items[i].origin, from->items[i].text);
        to->set = true;
        to->origin = from->origin;
    } else {
        written_set_number(to, &from->origin, from->number);
    }
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
        for (size_t k = 0; k < KEYS_MAX; k++)
            if (child->values[k].set)
                copy_value(written, &child->values[k], &copy->values[k]);
    }
}

static void complete_group(struct written_configuration *written, const struct written_group *defaults,
                           struct written_group *group)
{
    static const struct origin origin = { .kind = ORIGIN_DEFAULT };
    size_t count;
    char error[160];
    const struct key *keys = keys_of(group->scope, &count);
    for (size_t i = 0; i < count; i++) {
        struct written_value *value = &group->values[i];
        bool faulty = value->faulty;
        if (!value->set && defaults != NULL && defaults->values[i].set)
            copy_value(written, &defaults->values[i], value);
        else if (!value->set && keys[i].fallback != NULL)
            written_parse(written, &keys[i], keys[i].fallback, &origin, value, error, sizeof error);
        value->faulty = faulty;
    }
}

void written_complete(struct written_configuration *written)
{
    complete_group(written, NULL, written->global);
    complete_group(written, NULL, written->log);
    for (size_t i = 0; i < written->listener_count; i++) {
        struct written_group *listener = written->listeners[i];
        complete_group(written, written->defaults, listener);
        if (!listener->children_set && written->defaults != NULL && written->defaults->children_set)
            copy_children(written, written->defaults, listener);
        for (size_t k = 0; k < listener->child_count; k++)
            complete_group(written, NULL, listener->children[k]);
    }
}
