#include "base/timeout.h"

/* The longest duration in milliseconds, some 146,000 years: half of what the clock can count, so that the
 * moment when a timeout is due can always be expressed. */
#define DURATION_MAX (INT64_MAX / 2 / 1000)

void timeout_list_init(struct timeout_list *list, int64_t milliseconds)
{
    list_init(&list->entries);
    if (milliseconds > DURATION_MAX)
        milliseconds = DURATION_MAX;
    list->duration = milliseconds < 0 ? -1 : milliseconds * 1000;
}

void timeout_start(struct timeout_list *list, struct timeout *timeout, int64_t now)
{
    if (list->duration < 0)
        return;
    list_remove(&timeout->node);
    timeout->since = now;
    list_append(&list->entries, &timeout->node);
}

void timeout_start_since(struct timeout_list *list, struct timeout *timeout, int64_t since)
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
    if (first == NULL)
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
