#include "target/target.h"

#include "base/clock.h"
#include "target/attempt.h"
#include "target/balance.h"
#include "target/health.h"
#include "target/place.h"
#include "target/refresh.h"

#include <stdlib.h>

static void target_name_answered(void *data);

static void target_free(struct target *target)
{
    if (target == NULL)
        return;
    target->is_retired = true; /* ends of its own attempts are not to start anything again */
    target_health_stop(target);
    target_refresh_stop(target);
    if (target->name != NULL)
        resolver_remove(target->name);
    place_leave(target);
    list_remove(&target->node);
    target_settings_free((struct target_settings *)target->settings);
    free(target);
}

/* NULL when memory is short. */
static struct target *target_create(struct target_set *set, const char *listener,
                                    const struct target_settings *settings)
{
    struct target *target = calloc(1, sizeof *target);
    if (target == NULL)
        return NULL;
    target->set = set;
    list_init(&target->waiting);
    target_health_init(target);
    target_refresh_init(target);
    target->retry_delay = set->next_settings->retry_min;
    target->settings = target_settings_copy(settings);
    target->place = place_join(target, listener, &settings->endpoint);
    if (target->settings == NULL || target->place == NULL)
        goto fail;
    if (settings->endpoint.kind != ENDPOINT_NAME)
        return target;
    target->name = resolver_add(set->runtime->resolver, place_listener(target),
                                target->settings->endpoint.host, target_name_answered, target);
    if (target->name != NULL)
        return target;

fail:
    target_free(target);
    return NULL;
}

/* The target that goes on with these settings, or NULL. */
static struct target *target_find_kept(const struct target_set *set, const struct target_settings *settings)
{
    for (size_t i = 0; i < set->count; i++)
        if (!set->targets[i]->is_kept && target_settings_equal(set->targets[i]->settings, settings))
            return set->targets[i];
    return NULL;
}

bool target_set_prepare(struct target_set *set, const struct listener_settings *settings)
{
    for (size_t i = 0; i < set->count; i++)
        set->targets[i]->is_kept = false;
    set->next_settings = settings;
    set->next_targets = calloc(settings->target_count, sizeof *set->next_targets);
    if (set->next_targets == NULL)
        return false;
    for (size_t i = 0; i < settings->target_count; i++) {
        struct target *target = target_find_kept(set, &settings->targets[i]);
        if (target != NULL)
            target->is_kept = true;
        else
            target = target_create(set, settings->name, &settings->targets[i]);
        set->next_targets[i] = target;
        if (target == NULL) {
            target_set_rollback(set);
            return false;
        }
    }
    return true;
}

/* A target that was there before is kept; others were made for what is not to be. */
void target_set_rollback(struct target_set *set)
{
    for (size_t i = 0; set->next_targets != NULL && i < set->next_settings->target_count; i++)
        if (set->next_targets[i] != NULL && !set->next_targets[i]->is_kept)
            target_free(set->next_targets[i]);
    free(set->next_targets);
    set->next_targets = NULL;
}

/* Retired targets live until somebody looks: nothing of theirs is in use any more then. */
static void target_set_reap(struct target_set *set)
{
    list_foreach(&set->retired, node)
    {
        struct target *target = list_entry(node, struct target, node);
        if (target->connections == 0)
            target_free(target);
    }
}

static void target_retire(struct target *target)
{
    struct target_set *set = target->set;
    target->is_retired = true;
    target_health_stop(target);
    target_refresh_stop(target);
    place_forget(target);
    list_append(&set->retired, &target->node);
}

void target_set_commit(struct target_set *set)
{
    const struct listener_settings *settings = set->next_settings;
    int64_t now = clock_now();
    for (size_t i = 0; i < set->count; i++)
        if (!set->targets[i]->is_kept)
            target_retire(set->targets[i]);
    free(set->targets);
    set->targets = set->next_targets;
    set->next_targets = NULL;
    set->count = settings->target_count;
    set->settings = settings;
    for (size_t i = 0; i < set->count; i++) {
        set->targets[i]->index = i;
        if (set->targets[i]->retry_delay > settings->retry_max)
            set->targets[i]->retry_delay = settings->retry_max;
        if (set->targets[i]->retry_delay < settings->retry_min)
            set->targets[i]->retry_delay = settings->retry_min;
    }
    timer_change(&set->connect_timer, settings->connect_timeout, true, now);
    target_set_reap(set);
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
    list_init(&set->retired);
    timer_init(&set->connect_timer, runtime->loop, settings->connect_timeout, target_attempt_timed_out, set);
    if (!target_set_prepare(set, settings)) {
        target_set_destroy(set);
        return NULL;
    }
    target_set_commit(set);
    return set;
}

void target_set_keep_connections(struct target_set *set, target_looked_up *looked_up, target_yield *yield)
{
    set->looked_up = looked_up;
    set->yield = yield;
}

void target_set_destroy(struct target_set *set)
{
    if (set == NULL)
        return;
    set->usable = NULL;
    set->yield = NULL;
    for (size_t i = 0; i < set->count; i++)
        target_free(set->targets[i]);
    list_foreach(&set->retired, node) target_free(list_entry(node, struct target, node));
    timer_stop(&set->connect_timer);
    free(set->targets);
    free(set);
}

bool target_set_is_held(const struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (list_linked(&set->targets[i]->in_waiting))
            return true;
    return false;
}

void target_set_forget(struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        place_forget(set->targets[i]);
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

/* Notes, where only connections of other generations leave none, that it waits for them. */
static bool target_has_room(struct target *target)
{
    bool by_others;
    bool has_room = place_has_room(target, target->settings->max_connections, &by_others);
    if (by_others)
        place_wait(target);
    else
        place_forget(target);
    return has_room;
}

/* The targets of one kind and state that take new work; how many of them have room is returned in
 * `with_room`. */
static size_t target_collect(struct target_set *set, bool backup, enum target_state state,
                             struct target **candidates, size_t *with_room)
{
    size_t usable = 0;
    *with_room = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct target *target = set->targets[i];
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
    struct target_set *set = target->set;
    target->connections--;
    place_freed(target);
    target_set_notify(set);
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
        if (set->targets[i]->state != TARGET_UP)
            return set->targets[i]->failure_text;
    return NULL;
}
