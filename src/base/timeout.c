#include "base/timeout.h"

/* In milliseconds: half of what the clock can count, so that the moment when a timeout is due can be expressed. */
#define DURATION_MAX (INT64_MAX / 2 / 1000)

static int64_t timeout_duration(int64_t milliseconds)
{
    return milliseconds < 0 ? -1 : milliseconds < DURATION_MAX ? milliseconds * 1000 : DURATION_MAX * 1000;
}

void timeout_list_init(struct timeout_list *list, int64_t milliseconds)
{
    *list = (struct timeout_list){ .duration = timeout_duration(milliseconds) };
    list_init(&list->entries);
}

void timeout_list_change(struct timeout_list *list, int64_t milliseconds, bool keep, int64_t now)
{
    int64_t before = list->duration;
    list->duration = timeout_duration(milliseconds);
    list_foreach(&list->entries, node)
    {
        struct timeout *timeout = list_entry(node, struct timeout, node);
        int64_t as_due = timeout->since + before - list->duration;
        if (list->duration < 0)
            list_remove(node);
        else if (keep)
            timeout->since = as_due;
        else if (list->duration < before)
            timeout->since = as_due < now ? as_due : now;
    }
}

void timeout_list_hold(struct timeout_list *list, int64_t now)
{
    if (!list->is_held)
        list->held_since = now;
    list->is_held = true;
}

void timeout_list_release(struct timeout_list *list, int64_t now)
{
    if (!list->is_held)
        return;
    list->is_held = false;
    list_foreach(&list->entries, node)
    {
        struct timeout *timeout = list_entry(node, struct timeout, node);
        timeout->since = timeout->since < list->held_since ? timeout->since + now - list->held_since : now;
    }
}

void timeout_start(struct timeout_list *list, struct timeout *timeout, int64_t since)
{
    if (list->duration < 0)
        return;
    list_remove(&timeout->node);
    timeout->since = since;
    struct list_node *next = &list->entries.head;
    while (next->previous != &list->entries.head &&
           list_entry(next->previous, struct timeout, node)->since > since)
        next = next->previous;
    list_insert_before(next, &timeout->node);
}

void timeout_stop(struct timeout *timeout)
{
    list_remove(&timeout->node);
}

int64_t timeout_list_due(const struct timeout_list *list)
{
    const struct list_node *first = list_first(&list->entries);
    if (first == NULL || list->is_held)
        return TIMEOUT_NEVER;
    return list_entry(first, const struct timeout, node)->since + list->duration;
}

struct timeout *timeout_list_expire(struct timeout_list *list, int64_t now)
{
    if (timeout_list_due(list) > now)
        return NULL;
    struct timeout *timeout = list_entry(list_first(&list->entries), struct timeout, node);
    timeout_stop(timeout);
    return timeout;
}
