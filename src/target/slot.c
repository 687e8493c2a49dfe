#include "target/slot.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* How long a device may take to notice that its last connection has gone, in microseconds. */
#define SETTLE_TIME 1000000

/* In the tree while there are targets. */
struct target_slots {
    const char *listener;
    struct endpoint endpoint;
    struct list targets;   /* all of them; by `in_slots` */
    struct list waiting;   /* those that want a connection, the longest waiting first; by `in_waiting` */
    int64_t resting_until; /* `reconnect_delay` runs; 0: it does not */
    int64_t
        settles_until; /* whoever connects before this may find that the last connection is not gone yet */
    void **all;
    char name[]; /* that of the listener */
};

static struct target *target_waiting(struct list_node *node)
{
    return list_entry(node, struct target, in_waiting);
}

static int slots_compare(const void *a, const void *b)
{
    const struct target_slots *one = a, *other = b;
    int order = endpoint_compare(&one->endpoint, &other->endpoint);
    return order != 0 ? order : strcmp(one->listener, other->listener);
}

static void slots_free(struct target_slots *slots)
{
    endpoint_free(&slots->endpoint);
    free(slots);
}

static struct target_slots *slots_create(void **all, const char *listener, const struct endpoint *endpoint)
{
    struct target_slots *slots = calloc(1, sizeof *slots + strlen(listener) + 1);
    if (slots == NULL)
        return NULL;
    list_init(&slots->targets);
    list_init(&slots->waiting);
    slots->listener = strcpy(slots->name, listener);
    slots->all = all;
    if (endpoint_copy(endpoint, &slots->endpoint) && tsearch(slots, all, slots_compare) != NULL)
        return slots;
    slots_free(slots);
    return NULL;
}

bool slot_join(struct target *target, void **all, const char *listener)
{
    const struct target_slots wanted = { .listener = listener, .endpoint = target->settings->endpoint };
    struct target_slots **found = tfind(&wanted, all, slots_compare);
    target->slots = found != NULL ? *found : slots_create(all, listener, &wanted.endpoint);
    if (target->slots == NULL)
        return false;
    list_append(&target->slots->targets, &target->in_slots);
    return true;
}

void slot_leave(struct target *target)
{
    struct target_slots *slots = target->slots;
    if (slots == NULL)
        return;
    slot_forget(target);
    target->slots = NULL;
    list_remove(&target->in_slots);
    if (!list_empty(&slots->targets))
        return;
    tdelete(slots, slots->all, slots_compare);
    slots_free(slots);
}

const char *slot_listener(const struct target *target)
{
    return target->slots->listener;
}

/* Connections of other generations. */
static int64_t slot_others(const struct target *target)
{
    int64_t others = 0;
    if (target->slots == NULL)
        return 0;
    list_foreach(&target->slots->targets, node)
    {
        const struct target *other = list_entry(node, struct target, in_slots);
        if (other != target && (other->set != target->set || target_is_retired(other)))
            others += other->connections;
    }
    return others;
}

int64_t slot_resting_until(const struct target *target)
{
    return target->slots == NULL ? 0 : target->slots->resting_until;
}

void slot_ended(struct target *target, bool was_left, int64_t now)
{
    int64_t rest = now + target->set->settings.reconnect_delay * 1000;
    target->slots->settles_until = was_left ? 0 : now + SETTLE_TIME;
    if (rest == now || rest < target->slots->resting_until)
        return;
    target->slots->resting_until = rest;
    target->set->driver->wake(target->set);
}

bool slot_settles(const struct target *target, int64_t now)
{
    return now < target->slots->settles_until && target->connections + slot_others(target) == 1;
}

/* Whether a target of another owner comes first. */
static bool slot_has_queue(const struct target *target)
{
    struct list_node *first = target->slots == NULL ? NULL : list_first(&target->slots->waiting);
    return first != NULL && target_waiting(first)->set != target->set;
}

bool slot_has_room(const struct target *target, int64_t limit, bool *by_others)
{
    bool has_room = slot_resting_until(target) == 0 && (limit < 0 || target->connections < limit);
    bool is_taken = has_room && limit >= 0 &&
                    (target->connections + slot_others(target) >= limit || slot_has_queue(target));
    if (by_others != NULL)
        *by_others = is_taken;
    return has_room && !is_taken;
}

/* Those who wait see whether it is their turn. */
static void slot_tell(struct target_slots *slots)
{
    list_foreach(&slots->waiting, node) target_set_note_usable(target_waiting(node)->set);
}

void slot_wait(struct target *target, int64_t limit)
{
    struct target_slots *slots = target->slots;
    target->slot_limit = limit;
    if (slots == NULL || list_linked(&target->in_waiting))
        return;
    list_append(&slots->waiting, &target->in_waiting);
    target->set->waits_for_slots = true;
    list_foreach(&slots->targets, node)
    {
        const struct target_set *other = list_entry(node, struct target, in_slots)->set;
        if (other != target->set && other->hooks->slot_wanted != NULL && other->owner != NULL)
            other->hooks->slot_wanted(other->owner);
    }
}

void slot_forget(struct target *target)
{
    if (!list_linked(&target->in_waiting))
        return;
    list_remove(&target->in_waiting);
    slot_tell(target->slots);
}

bool slot_is_wanted(const struct target *target, bool *is_short)
{
    bool is_wanted = false;
    *is_short = false;
    list_foreach(&target->slots->waiting, node)
    {
        const struct target *other = target_waiting(node);
        if (other->set == target->set)
            continue;
        is_wanted = true;
        *is_short = *is_short || other->connections + slot_others(other) >= other->slot_limit;
    }
    return is_wanted;
}

bool slot_rested(struct target *target, int64_t now)
{
    struct target_slots *slots = target->slots;
    if (slots->resting_until == 0 || slots->resting_until > now)
        return false;
    slots->resting_until = 0;
    list_foreach(&slots->targets, node)
        target_set_note_usable(list_entry(node, struct target, in_slots)->set);
    return true;
}

void slot_freed(struct target *target)
{
    if (target->slots != NULL)
        slot_tell(target->slots);
}
