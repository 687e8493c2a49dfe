#include "target/target.h"

#include "target/balance.h"
#include "target/slot.h"
#include "target/target_state.h"

#include <stdlib.h>

/* The longest back-off while something waits, in microseconds. */
#define WANTED_RETRY_MAX 1000000

/* Ends what the set has begun by itself. */
static void target_retire(struct target *target, int64_t now)
{
    target_state_enter(target, TARGET_RETIRED);
    slot_forget(target);
    slot_reconfigure(target);
    target_check_stop(target, now);
    if (target->probe == NULL)
        return;
    target_cancel(target->probe, now);
    target->probe = NULL;
    target->set->driver->probed(target, -1);
}

static void target_free(struct target *target)
{
    if (target == NULL)
        return;
    if (!target_is_retired(target))
        target_retire(target, 0);
    target->set->driver->detach(target);
    slot_leave(target);
    list_remove(&target->node);
    target_settings_free(target->settings);
    target_settings_free(target->next_settings);
    free(target->counters);
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
    target->retry_at = TARGET_NEVER;
    target->retry_delay = set->next_settings.retry_min;
    target->settings = target_settings_copy(settings);
    if (target->settings != NULL && slot_join(target, set->all_slots, listener) &&
        set->driver->attach(target))
        return target;
    target_free(target);
    return NULL;
}

/* The target that goes on with these settings, or NULL: that of the same address, and where this is named twice the
 * one with the same options. */
static struct target *target_find_kept(const struct target_set *set, const struct target_settings *settings)
{
    struct target *found = NULL;
    for (size_t i = 0; i < set->count; i++) {
        struct target *target = set->targets[i];
        if (target->is_kept || !endpoint_equal(&target->settings->endpoint, &settings->endpoint))
            continue;
        if (target_settings_equal(target->settings, settings))
            return target;
        if (found == NULL)
            found = target;
    }
    return found;
}

/* The target is to go on with these settings. False when memory is short. */
static bool target_keep(struct target *target, const struct target_settings *settings)
{
    target->is_kept = true;
    if (settings->slots >= 0 && !slot_use(target))
        return false;
    if (target_settings_equal(target->settings, settings))
        return true;
    target->next_settings = target_settings_copy(settings);
    return target->next_settings != NULL;
}

bool target_set_prepare(struct target_set *set, struct target_set_settings settings)
{
    for (size_t i = 0; i < set->count; i++)
        set->targets[i]->is_kept = false;
    set->next_settings = settings;
    set->next_targets = calloc(settings.target_count, sizeof *set->next_targets);
    if (set->next_targets == NULL)
        return false;
    for (size_t i = 0; i < settings.target_count; i++) {
        struct target *target = target_find_kept(set, &settings.targets[i]);
        bool success = target != NULL && target_keep(target, &settings.targets[i]);
        if (target == NULL) {
            target = target_create(set, settings.listener, &settings.targets[i]);
            success = target != NULL;
        }
        set->next_targets[i] = target;
        if (!success) {
            target_set_rollback(set);
            return false;
        }
    }
    return true;
}

/* A target that was there before is kept; others were made for what is not to be. */
void target_set_rollback(struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        target_settings_free(set->targets[i]->next_settings);
        set->targets[i]->next_settings = NULL;
    }
    for (size_t i = 0; set->next_targets != NULL && i < set->next_settings.target_count; i++)
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

void target_set_commit(struct target_set *set, int64_t now)
{
    for (size_t i = 0; i < set->count; i++) {
        struct target *target = set->targets[i];
        if (target->is_kept)
            continue;
        target_retire(target, now);
        list_append(&set->retired, &target->node);
    }
    free(set->targets);
    set->targets = set->next_targets;
    set->next_targets = NULL;
    set->settings = set->next_settings;
    set->count = set->settings.target_count;
    for (size_t i = 0; i < set->count; i++) {
        struct target *target = set->targets[i];
        target->index = i;
        if (target->next_settings != NULL) {
            bool was_checked = target->settings->check.type != CHECK_NONE;
            target_settings_free(target->settings);
            target->settings = target->next_settings;
            target->next_settings = NULL;
            target->health.is_proved = target->health.is_proved || !was_checked;
            slot_reconfigure(target);
        }
        target_state_reconfigure(target, now);
        health_reconfigure(target, now);
    }
    set->driver->committed(set);
    target_set_note_usable(set); /* there may be more slots, or a target whose address is at rest */
    target_set_reap(set);
}

bool target_set_open(struct target_set *set, const struct target_driver *driver,
                     const struct target_hooks *hooks, void *owner, void **all_slots, uint64_t jitter,
                     struct target_set_settings settings)
{
    set->driver = driver;
    set->hooks = hooks;
    set->owner = owner;
    set->all_slots = all_slots;
    set->jitter = jitter | 1;
    list_init(&set->retired);
    if (!target_set_prepare(set, settings))
        return false;
    target_set_commit(set, 0);
    set->has_usable = false;
    driver->wake(set); /* there may be checks */
    return true;
}

void target_set_close(struct target_set *set)
{
    set->owner = NULL;
    for (size_t i = 0; i < set->count; i++)
        target_free(set->targets[i]);
    list_foreach(&set->retired, node) target_free(list_entry(node, struct target, node));
    free(set->targets);
}

bool target_set_is_held(const struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (slot_is_held(set->targets[i]))
            return true;
    return false;
}

void target_set_begin_asking(struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        set->targets[i]->asks_for_slot = false;
}

void target_set_end_asking(struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (!set->targets[i]->asks_for_slot && set->targets[i]->state != TARGET_RETRY)
            slot_forget(set->targets[i]);
}

/* One that is to be tried again waits for another back-off instead. */
static void target_forget_slot(struct target *target)
{
    if (slot_is_waiting(target) && target->state == TARGET_RETRY)
        target_set_note_usable(target->set);
    slot_forget(target);
}

/* ---- Choice ---- */

/* Notes, where only connections of others leave none, that it waits for them. */
static bool target_has_room(struct target *target)
{
    bool by_others;
    bool has_room = slot_has_room(target, target->settings->max_connections, &by_others);
    if (by_others)
        slot_wait(target, target->settings->max_connections);
    else
        slot_forget(target);
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
        if (target->settings->backup != backup || target->settings->weight == 0 || target->state != state ||
            health_is_left_out(target))
            continue;
        usable++;
        target->load = target->connections;
        if (target_has_room(target))
            candidates[(*with_room)++] = target;
    }
    return usable;
}

static bool target_set_has_regular(const struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (target_takes_work(set->targets[i]) && !set->targets[i]->settings->backup)
            return true;
    return false;
}

/* A sick target that this client is to try: one that would have its turn if it were well. */
static struct target *target_choose_trial(struct target_set *set, const struct address *address, int64_t now)
{
    uint64_t client = health_client(address);
    for (size_t i = 0; i < set->count; i++) {
        struct target *target = set->targets[i];
        if (!health_is_left_out(target) || target->settings->weight == 0 ||
            (target->settings->backup && target_set_has_regular(set)) ||
            !health_may_try(target, client, now) || !target_has_room(target))
            continue;
        health_try(target, client, now);
        return target;
    }
    return NULL;
}

struct target *target_choose(struct target_set *set, const struct address *client, int64_t now)
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
    size_t with_room = 0;
    target_set_begin_asking(set);
    struct target *trial = target_choose_trial(set, client, now);
    for (size_t i = 0; trial == NULL && i < sizeof order / sizeof order[0]; i++)
        if (target_collect(set, order[i].backup, order[i].state, candidates, &with_room) > 0)
            break;
    for (size_t i = 0; i < set->count; i++)
        if (!set->targets[i]->asks_for_slot)
            target_forget_slot(set->targets[i]);
    if (trial != NULL)
        return trial;
    return with_room == 0 ? NULL : balance_pick(set, candidates, with_room, client, now);
}

/* ---- Time ---- */

/* When the target is to be tried again; while something waits, that is soon. */
static int64_t target_retry_due(const struct target *target)
{
    int64_t soon = target->down_since + WANTED_RETRY_MAX;
    int64_t rest = slot_resting_until(target);
    if (target->state != TARGET_DOWN || !target->set->is_wanted || soon > target->retry_at)
        return target->retry_at;
    return soon < rest ? rest : soon;
}

int64_t target_set_due(const struct target_set *set)
{
    int64_t due = set->has_usable ? 0 : TARGET_NEVER;
    for (size_t i = 0; i < set->count; i++) {
        int64_t retry = target_retry_due(set->targets[i]), rest = slot_rested_first(set->targets[i]);
        if (retry < due)
            due = retry;
        if (rest != 0 && rest < due)
            due = rest;
        if (target_check_due(set->targets[i]) < due)
            due = target_check_due(set->targets[i]);
    }
    return due;
}

/* Nobody needs a slot any more. */
static void target_set_forget_slots(struct target_set *set)
{
    set->waits_for_slots = false;
    for (size_t i = 0; i < set->count; i++)
        target_forget_slot(set->targets[i]);
}

void target_set_want(struct target_set *set, bool is_wanted)
{
    if (!is_wanted && set->waits_for_slots)
        target_set_forget_slots(set);
    if (is_wanted == set->is_wanted)
        return;
    set->is_wanted = is_wanted;
    for (size_t i = 0; i < set->count && is_wanted; i++)
        if (set->targets[i]->state == TARGET_DOWN) {
            set->driver->wake(set);
            return;
        }
}

bool target_set_is_down(const struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct target *target = set->targets[i];
        if (target->settings->weight > 0 && (target->state == TARGET_UP || slot_is_busy(target)))
            return false;
    }
    return true;
}

bool target_settles(const struct target *target, int64_t now)
{
    return slot_settles(target, now);
}

/* The probe's connection has shown what it was made for. */
static void target_probed(void *data, struct target *target, int descriptor, int64_t now)
{
    (void)data;
    target->probe = NULL;
    target->set->driver->probed(target, descriptor);
    if (descriptor != -1)
        target_release(target, false, now);
}

static bool target_probe(struct target *target)
{
    const struct target_driver *driver = target->set->driver;
    if (!slot_has_room(target, target->settings->max_connections, NULL) || !driver->may_probe(target))
        return false;
    target->probe = target_connect(target, target_probed, NULL);
    if (target->probe == NULL)
        driver->probed(target, -1);
    return target->probe != NULL;
}

void target_set_tick(struct target_set *set, int64_t now)
{
    for (size_t i = 0; i < set->count; i++)
        target_check_tick(set->targets[i], now);
    for (size_t i = 0; i < set->count; i++) {
        if (slot_rested(set->targets[i], now))
            set->has_usable = true;
        if (target_retry_due(set->targets[i]) > now)
            continue;
        target_state_enter(set->targets[i], TARGET_RETRY);
        set->has_usable = true;
    }
    if (!set->has_usable)
        return;
    set->has_usable = false;
    set->hooks->usable(set->owner, now);
    for (size_t i = 0; i < set->count; i++) {
        struct target *target = set->targets[i];
        if (target->state != TARGET_RETRY || slot_is_waiting(target))
            continue; /* a client, or the owner, tries it, or will as soon as there is a slot */
        if (set->hooks->keeps_connections || !target_probe(target))
            target_state_wait(target, now, now + target_state_back_off(target));
    }
}

/* ---- What can be seen ---- */

size_t target_set_count_shown(const struct target_set *set)
{
    size_t count = set->count;
    list_foreach(&set->retired, node) count += list_entry(node, struct target, node)->connections > 0;
    return count;
}

const struct target *target_set_shown(const struct target_set *set, size_t index)
{
    if (index < set->count)
        return set->targets[index];
    index -= set->count;
    list_foreach(&set->retired, node)
    {
        const struct target *target = list_entry(node, struct target, node);
        if (target->connections > 0 && index-- == 0)
            return target;
    }
    return NULL;
}

void target_describe(const struct target *target, struct service_target *description)
{
    static const char *const states[TARGET_STATES] = {
        [TARGET_UP] = "up",
        [TARGET_DOWN] = "down",
        [TARGET_RETRY] = "down",
        [TARGET_TRYING] = "trying",
    };
    static const struct target_counters none;
    bool is_busy = slot_is_busy(target);
    const char *state = is_busy ? "busy" : states[target->state];
    if (target->state == TARGET_UP && target->health.is_sick)
        state = "sick";
    else if (target->state == TARGET_UP && health_is_proving(target))
        state = "trying";
    else if (target->state == TARGET_UP && (target->counters == NULL || target->counters->opened == 0))
        state = "untried";
    *description = (struct service_target){
        .name = target->settings->name,
        .state = target_is_draining(target) ? "draining" : state,
        .failure = target->failure_text,
        .failed = target->failed,
        .is_backup = target->settings->backup,
        .weight = target->settings->weight,
        .gauges = {
            .usable = (target->state == TARGET_UP || is_busy) && !health_is_left_out(target) &&
                      !health_is_disproved(target),
            .sick = target->health.is_sick,
            .connections = (uint64_t)target->connections,
            .in_flight = (uint64_t)target->connections,
        },
        .counters = target->counters != NULL ? target->counters : &none,
    };
}

const char *target_set_failure(const struct target_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->targets[i]->state != TARGET_UP)
            return set->targets[i]->failure_text;
    return NULL;
}
