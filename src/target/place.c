#include "target/place.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* In the runtime's tree while there are targets. */
struct target_place {
    const char *listener;
    struct endpoint endpoint;
    struct list targets; /* all of them; by `in_place` */
    struct list waiting; /* those that want a connection, the longest waiting first; by `in_waiting` */
    char name[];         /* that of the listener */
};

static struct target *target_of(struct list_node *in_place)
{
    return list_entry(in_place, struct target, in_place);
}

static int place_compare(const void *a, const void *b)
{
    const struct target_place *one = a, *other = b;
    int order = endpoint_compare(&one->endpoint, &other->endpoint);
    return order != 0 ? order : strcmp(one->listener, other->listener);
}

static void place_free(struct target_place *place)
{
    endpoint_free(&place->endpoint);
    free(place);
}

static struct target_place *place_create(void **places, const char *listener, const struct endpoint *endpoint)
{
    struct target_place *place = calloc(1, sizeof *place + strlen(listener) + 1);
    if (place == NULL)
        return NULL;
    list_init(&place->targets);
    list_init(&place->waiting);
    place->listener = strcpy(place->name, listener);
    if (endpoint_copy(endpoint, &place->endpoint) && tsearch(place, places, place_compare) != NULL)
        return place;
    place_free(place);
    return NULL;
}

struct target_place *place_join(struct target *target, const char *listener, const struct endpoint *endpoint)
{
    void **places = &target->set->runtime->places;
    const struct target_place wanted = { .listener = listener, .endpoint = *endpoint };
    struct target_place **found = tfind(&wanted, places, place_compare);
    struct target_place *place = found != NULL ? *found : place_create(places, listener, endpoint);
    if (place != NULL)
        list_append(&place->targets, &target->in_place);
    return place;
}

void place_leave(struct target *target)
{
    struct target_place *place = target->place;
    if (place == NULL)
        return;
    target->place = NULL;
    list_remove(&target->in_place);
    list_remove(&target->in_waiting);
    if (!list_empty(&place->targets))
        return;
    tdelete(place, &target->set->runtime->places, place_compare);
    place_free(place);
}

const char *place_listener(const struct target *target)
{
    return target->place->listener;
}

/* Connections of other generations. */
static int64_t place_others(const struct target *target)
{
    int64_t others = 0;
    if (target->place == NULL)
        return 0;
    list_foreach(&target->place->targets, node)
    {
        const struct target *other = target_of(node);
        if (other != target && (other->set != target->set || other->is_retired))
            others += other->connections;
    }
    return others;
}

bool place_has_room(const struct target *target, int64_t limit, bool *by_others)
{
    bool has_room = limit < 0 || target->connections < limit;
    bool is_taken = has_room && limit >= 0 && target->connections + place_others(target) >= limit;
    if (by_others != NULL)
        *by_others = is_taken;
    return has_room && !is_taken;
}

void place_wait(struct target *target)
{
    struct target_place *place = target->place;
    if (place == NULL || list_linked(&target->in_waiting))
        return;
    list_append(&place->waiting, &target->in_waiting);
    list_foreach(&place->targets, node)
    {
        struct target *other = target_of(node);
        if (other->set != target->set && other->set->yield != NULL)
            other->set->yield(other->set->owner);
    }
}

void place_forget(struct target *target)
{
    list_remove(&target->in_waiting);
}

bool place_is_wanted(const struct target *target)
{
    if (target->place == NULL)
        return false;
    list_foreach(&target->place->waiting,
                 node) if (list_entry(node, struct target, in_waiting)->set != target->set) return true;
    return false;
}

void place_freed(struct target *target)
{
    struct list_node *node;
    struct list told;
    if (target->place == NULL || list_empty(&target->place->waiting))
        return;
    /* Each is told once, even if it waits again at once. */
    list_init(&told);
    while ((node = list_first(&target->place->waiting)) != NULL) {
        list_remove(node);
        list_append(&told, node);
    }
    while ((node = list_first(&told)) != NULL) {
        list_remove(node);
        target_set_notify(list_entry(node, struct target, in_waiting)->set);
    }
}
