#include "target/target_name.h"

#include "target/slot.h"

#include <stdlib.h>

/* Not sooner, also where the last answer is old because the resolver fails. */
#define REFRESH_MIN_SECONDS 1.0

/* Owned by its target. */
struct target_name {
    struct target *target;
    struct ev_loop *loop;
    struct resolver_name *resolved;
    struct list waiting; /* struct target_name_waiter */
    ev_timer refresh;
};

static void name_arm_refresh(struct target_name *name)
{
    double left = (double)(resolver_answer(name->resolved)->fresh_until - turn_now(name->loop)) / 1e6;
    ev_timer_stop(name->loop, &name->refresh);
    ev_timer_set(&name->refresh, left > REFRESH_MIN_SECONDS ? left : REFRESH_MIN_SECONDS, 0.0);
    ev_timer_start(name->loop, &name->refresh);
}

/* A look-up has ended, whoever asked for it. */
static void name_refreshed(struct target_name *name)
{
    struct target *target = name->target;
    const struct target_set *set = target->set;
    size_t count;
    if (!set->hooks->keeps_connections || target_is_retired(target))
        return;
    name_arm_refresh(name);
    const struct address *addresses = target_name_addresses(name, &count);
    set->hooks->looked_up(set->owner, target, addresses, count, turn_now(name->loop));
}

static void name_refresh_due(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct target_name *name = watcher->data;
    if (name->target->connections > 0 && !target_is_retired(name->target) && resolver_lookup(name->resolved))
        name_refreshed(name);
}

static void name_answered(void *data)
{
    struct target_name *name = data;
    list_foreach(&name->waiting, node)
    {
        struct target_name_waiter *waiter = list_entry(node, struct target_name_waiter, node);
        list_remove(node);
        waiter->answered(waiter);
    }
    name_refreshed(name);
}

bool target_name_attach(struct target *target, struct runtime *runtime)
{
    const struct endpoint *endpoint = &target->settings->endpoint;
    if (endpoint->kind != ENDPOINT_NAME)
        return true;
    struct target_name *name = calloc(1, sizeof *name);
    target->name = name;
    if (name == NULL)
        return false;
    name->target = target;
    name->loop = runtime->loop;
    list_init(&name->waiting);
    ev_timer_init(&name->refresh, name_refresh_due, 0.0, 0.0);
    name->refresh.data = name;
    name->resolved =
        resolver_add(runtime->resolver, slot_listener(target), endpoint->host, name_answered, name);
    return name->resolved != NULL;
}

void target_name_detach(struct target *target)
{
    struct target_name *name = target->name;
    if (name == NULL)
        return;
    ev_timer_stop(name->loop, &name->refresh);
    if (name->resolved != NULL)
        resolver_remove(name->resolved);
    free(name);
    target->name = NULL;
}

bool target_name_wait(struct target_name *name, struct target_name_waiter *waiter)
{
    if (resolver_lookup(name->resolved))
        return true;
    list_append(&name->waiting, &waiter->node);
    return false;
}

const struct address *target_name_addresses(const struct target_name *name, size_t *count)
{
    *count = resolver_answer(name->resolved)->count;
    return resolver_answer(name->resolved)->addresses;
}

const char *target_name_failure(const struct target_name *name)
{
    const char *failure = resolver_answer(name->resolved)->failure;
    return failure[0] == '\0' ? NULL : failure;
}

void target_name_keep_fresh(struct target_name *name)
{
    if (!ev_is_active(&name->refresh))
        name_arm_refresh(name);
}
