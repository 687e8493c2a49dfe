#include "target/target.h"

#include "target/attempt.h"
#include "target/balance.h"
#include "target/health.h"
#include "target/refresh.h"

#include <stdlib.h>

static void target_name_answered(void *data);

static bool target_init(struct target *target, struct target_set *set, const struct target_settings *settings)
{
    target->set = set;
    target->settings = settings;
    list_init(&target->waiting);
    target_health_init(target);
    target_refresh_init(target);
    if (settings->endpoint.kind != ENDPOINT_NAME)
        return true;
    target->name = resolver_add(set->runtime->resolver, set->settings->name, settings->endpoint.host,
                                target_name_answered, target);
    return target->name != NULL;
}

struct target_set *target_set_create(struct runtime *runtime, const struct listener_settings *settings,
                                     target_usable *usable, void *owner)
{
    struct target_set *set = calloc(1, sizeof *set);
    if (set == NULL)
        return NULL;
    set->runtime = runtime;
    set->settings = settings;
    set->usable = usable;
    set->owner = owner;
    timer_init(&set->connect_timer, runtime->loop, settings->connect_timeout, target_attempt_timed_out, set);
    set->targets = calloc(settings->target_count, sizeof *set->targets);
    if (set->targets == NULL)
        goto fail;
    for (; set->count < settings->target_count; set->count++)
        if (!target_init(&set->targets[set->count], set, &settings->targets[set->count]))
            goto fail;
    return set;

fail:
    target_set_destroy(set);
    return NULL;
}

void target_set_keep_connections(struct target_set *set, target_looked_up *looked_up)
{
    set->looked_up = looked_up;
}

void target_set_destroy(struct target_set *set)
{
    if (set == NULL)
        return;
    set->usable = NULL;
    for (size_t i = 0; i < set->count; i++) {
        target_health_stop(&set->targets[i]);
        target_refresh_stop(&set->targets[i]);
        if (set->targets[i].name != NULL)
            resolver_remove(set->targets[i].name);
    }
    timer_stop(&set->connect_timer);
    free(set->targets);
    free(set);
}

void target_set_notify(struct target_set *set)
{
    if (set->usable != NULL)
        set->usable(set->owner);
}

static void target_name_answered(void *data)
{
    struct target *target = data;
    list_foreach(&target->waiting, node)
    {
        list_remove(node);
        target_attempt_resolved(target_attempt_waiting(node));
    }
    target_refresh_answered(target);
}

static bool target_has_room(const struct target *target)
{
    return target->settings->max_connections < 0 || target->connections < target->settings->max_connections;
}

/* The targets of one kind and state that take new work; how many of them have room is returned in
 * `with_room`. */
static size_t target_collect(struct target_set *set, bool backup, enum target_state state,
                             struct target **candidates, size_t *with_room)
{
    size_t usable = 0;
    *with_room = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct target *target = &set->targets[i];
        if (target->settings->backup != backup || target->settings->weight == 0 || target->state != state)
            continue;
        usable++;
        target->load = target->connections;
        if (target_has_room(target))
            candidates[(*with_room)++] = target;
    }
    return usable;
}

struct target *target_choose(struct target_set *set, const struct address *client)
{
    static const struct {
        enum target_state state;
        bool backup;
    } order[] = {
        { TARGET_UP, false },
        { TARGET_UP, true },
        { TARGET_RETRY, false },
        { TARGET_RETRY, true },
    };
    struct target *candidates[SETTINGS_MAX_TARGETS];
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        size_t with_room;
        if (target_collect(set, order[i].backup, order[i].state, candidates, &with_room) == 0)
            continue;
        return with_room == 0 ? NULL : balance_pick(set, candidates, with_room, client);
    }
    return NULL;
}

void target_release(struct target *target)
{
    target->connections--;
    target_set_notify(target->set);
}

/* Whether a kept connection's luck says anything: not while the target is down, for an older connection's
 * proves nothing then, nor while a trial has not connected yet. */
static bool target_is_judged(const struct target *target)
{
    return target->state == TARGET_UP || (target->state == TARGET_TRYING && target->trial == NULL);
}

void target_succeed(struct target *target)
{
    if (target_is_judged(target) && target_health_succeeded(target))
        target_set_notify(target->set);
}

void target_fail(struct target *target, enum reason reason, const char *text)
{
    target->counters.connect_failures[reason]++;
    if (target_is_judged(target))
        target_health_failed(target, NULL, reason, text);
}

void target_describe(const struct target *target, struct service_target *description)
{
    static const char *const states[] = {
        [TARGET_UP] = "up",
        [TARGET_DOWN] = "down",
        [TARGET_RETRY] = "down",
        [TARGET_TRYING] = "trying",
    };
    bool is_untried = target->state == TARGET_UP && target->counters.opened == 0;
    *description = (struct service_target){
        .name = target->settings->name,
        .state = is_untried ? "untried" : states[target->state],
        .failure = target->failure_text,
        .is_backup = target->settings->backup,
        .weight = target->settings->weight,
        .gauges = {
            .usable = target->state == TARGET_UP,
            .connections = (uint64_t)target->connections,
            .in_flight = (uint64_t)target->connections,
        },
        .counters = &target->counters,
    };
}

const char *target_set_failure(const struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->targets[i].state != TARGET_UP)
            return set->targets[i].failure_text;
    return NULL;
}
