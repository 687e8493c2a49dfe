#include "target/target_check.h"

#include "target/slot.h"
#include "target/target.h"

#include <inttypes.h>
#include <stdio.h>

static const struct check_settings *settings_of(const struct target *target)
{
    return &target->settings->check;
}

int64_t target_check_due(const struct target *target)
{
    const struct target_check *check = &target->check;
    bool is_wanted = settings_of(target)->type != CHECK_NONE && target->state == TARGET_UP;
    if (check->is_running)
        return is_wanted ? check->deadline : 0;
    if (!is_wanted)
        return TARGET_NEVER;
    /* While it is sick, its own answers have to come. */
    int64_t last = target->health.is_sick ? 0 : slot_last_answer(target);
    last = last > target->health.worked ? last : target->health.worked;
    int64_t answered = health_is_proving(target) ? 0 : last + settings_of(target)->interval * 1000;
    return answered > check->due ? answered : check->due;
}

/* It runs no more: the next one comes after so many milliseconds. */
static void check_end(struct target *target, int64_t pause, int64_t now)
{
    target->check.is_running = false;
    target->check.due = now + pause * 1000;
    target->set->driver->wake(target->set);
}

/* Ends the driver's part. */
static void check_hang_up(struct target *target, int64_t now)
{
    const struct target_driver *driver = target->set->driver;
    if (target->check.ask == NULL)
        return;
    driver->hang_up(target);
    target->check.ask = NULL;
    driver->probed(target, -1);
    target_release(target, false, now);
}

/* A shortage, or the target went down, which says more than a check could. */
void target_check_void(struct target *target, int64_t now)
{
    check_hang_up(target, now);
    check_end(target, target->state == TARGET_UP ? settings_of(target)->interval : 0, now);
}

void target_check_passed(struct target *target, int64_t now)
{
    check_hang_up(target, now);
    if (target->counters != NULL)
        target->counters->checks_passed++;
    health_check_passed(target, now);
    check_end(target, health_is_proving(target) ? 0 : settings_of(target)->interval, now);
}

void target_check_failed(struct target *target, enum reason reason, const char *text, int64_t now)
{
    check_hang_up(target, now);
    if (target->counters != NULL)
        target->counters->checks_failed++;
    health_check_failed(target, reason, text, now);
    check_end(target, settings_of(target)->interval, now);
}

void target_check_sent(struct target *target, int64_t now)
{
    struct target_check *check = &target->check;
    if (check->deadline != TARGET_NEVER)
        return;
    check->deadline = now + settings_of(target)->timeout * 1000;
    target->set->driver->wake(target->set);
}

void target_check_stop(struct target *target, int64_t now)
{
    struct target_check *check = &target->check;
    struct target_attempt *attempt = check->attempt;
    if (!check->is_running)
        return;
    if (check->is_owners)
        target->set->hooks->check_end(target->set->owner, target, now);
    check->attempt = NULL;
    if (attempt != NULL) {
        target_cancel(attempt, now);
        target->set->driver->probed(target, -1);
    }
    target_check_void(target, now);
}

static void check_connected(void *, struct target *target, int descriptor, int64_t now)
{
    const struct target_driver *driver = target->set->driver;
    struct target_check *check = &target->check;
    check->attempt = NULL;
    if (descriptor != -1 && settings_of(target)->type != CHECK_CONNECT) {
        check->ask = driver->ask(target, descriptor); /* which has it now */
        if (check->ask != NULL) {
            target_check_sent(target, now);
            return;
        }
        descriptor = -1;
        target_release(target, false, now);
        driver->probed(target, -1);
        target_check_void(target, now);
        return;
    }
    driver->probed(target, descriptor);
    if (descriptor == -1) {
        target_check_void(target, now);
        return;
    }
    target_release(target, false, now);
    target_check_passed(target, now);
}

/* On a connection of its own. False if there is no room, or no memory. */
static bool check_connect(struct target *target)
{
    const struct target_driver *driver = target->set->driver;
    int64_t limit = target->set->hooks->keeps_connections ? target->settings->connections
                                                          : target->settings->max_connections;
    if (!slot_has_room(target, limit, NULL) || !driver->may_probe(target))
        return false;
    target->check.attempt = target_connect(target, check_connected, NULL);
    if (target->check.attempt == NULL)
        driver->probed(target, -1);
    return target->check.attempt != NULL;
}

/* There is no room for a check. Connections show that the target can be connected to, and answers through another
 * listener that it works. */
static bool check_is_needless(const struct target *target, int64_t now)
{
    int64_t last = slot_last_answer(target);
    if (settings_of(target)->type == CHECK_CONNECT)
        return target->connections > 0;
    return last > target->health.worked && last + settings_of(target)->interval * 1000 > now;
}

static void check_begin(struct target *target, int64_t now)
{
    struct target_check *check = &target->check;
    bool only_connects = settings_of(target)->type == CHECK_CONNECT;
    check->is_running = true;
    check->deadline = TARGET_NEVER;
    check->is_owners = target->set->hooks->keeps_connections && !only_connects;
    bool has_begun =
        check->is_owners ? target->set->hooks->check(target->set->owner, target, now) : check_connect(target);
    if (has_begun)
        return;
    check->is_owners = false;
    if (health_is_proving(target) && check_is_needless(target, now))
        health_check_passed(target, now);
    check_end(target, settings_of(target)->interval, now);
}

void target_check_tick(struct target *target, int64_t now)
{
    char text[64];
    if (target_check_due(target) > now)
        return;
    if (!target->check.is_running) {
        check_begin(target, now);
    } else if (target->check.deadline > now) {
        target_check_stop(target, now); /* it is down, or not to be checked any more */
    } else {
        snprintf(text, sizeof text, "no answer within %" PRId64 " ms", settings_of(target)->timeout);
        if (target->check.is_owners)
            target->set->hooks->check_end(target->set->owner, target, now);
        target_check_failed(target, REASON_REQUEST_TIMEOUT, text, now);
    }
}
