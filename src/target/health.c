#include "target/health.h"

#include "target/slot.h"
#include "target/target.h"
#include "target/target_state.h"

#include <inttypes.h>
#include <stdio.h>

#define MINUTE          60000000 /* microseconds: who did not ask for so long does not count */
#define SHORTLY         5000000  /* microseconds */
#define LONGEST_PAUSE   60000    /* milliseconds: between trials, unless retry_max is longer */
#define ANSWERS_A_TRIAL 7        /* so many have to come between two requests that may be lost */

/* ---- Who asks ---- */

uint64_t health_client(const struct address *address)
{
    uint64_t words[2] = { 0 };
    uint32_t v4;
    if (address->family == AF_INET)
        return (uint64_t)1 << 32 | address->v4.sin_addr.s_addr;
    if (address->family != AF_INET6)
        return 1; /* clients of unix sockets are all the same */
    memcpy(words, &address->v6.sin6_addr, sizeof words);
    if (IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr)) {
        memcpy(&v4, &address->v6.sin6_addr.s6_addr[12], sizeof v4);
        return (uint64_t)1 << 32 | v4;
    }
    return (words[0] * UINT64_C(0x9e3779b97f4a7c15)) | UINT64_C(1) << 63; /* one host may have all the rest */
}

/* Whether somebody asks still: the pause is not twice the usual one, or within `least`. */
static bool asks(const struct health_asker *asker, int64_t least, int64_t now)
{
    int64_t longest = 2 * asker->every > least ? 2 * asker->every : least;
    return asker->asked != 0 && now - asker->asked < (longest < MINUTE ? longest : MINUTE);
}

/* Somebody asks: takes the place of who asked longest ago. */
static struct health_asker *note_asker(struct health_asker *askers, uint64_t id, int64_t now)
{
    struct health_asker *oldest = askers;
    for (size_t i = 0; i < HEALTH_ASKERS; i++) {
        struct health_asker *asker = &askers[i];
        if (asker->id == id && asker->asked != 0) {
            int64_t pause = now - asker->asked;
            if (pause < MINUTE)
                asker->every = pause > asker->every ? pause : asker->every - (asker->every - pause) / 16;
            asker->asked = now;
            return asker;
        }
        if (asker->asked < oldest->asked)
            oldest = asker;
    }
    *oldest = (struct health_asker){ .id = id, .asked = now };
    return oldest;
}

/* How long who asked once is taken to ask: it may wait for others whose requests fail. */
static int64_t patience_of(const struct target *target)
{
    const struct target_set_settings *settings = &target->set->settings;
    int64_t count = settings->fail_after < 60 ? settings->fail_after : 60;
    if (settings->request_timeout < 0 || count < 0 || !target->set->hooks->keeps_connections)
        return SHORTLY;
    return SHORTLY + count * settings->request_timeout * 1000;
}

/* Whether as many have failed as ask, or `most`. */
static bool enough_failed(const struct health_asker *askers, int64_t most, int64_t patience, int64_t now)
{
    int64_t failed = 0, asking = 0;
    for (size_t i = 0; i < HEALTH_ASKERS; i++) {
        failed += askers[i].failed;
        asking += asks(&askers[i], patience, now);
    }
    return failed >= (asking < most ? asking : most);
}

/* ---- What is told ---- */

static bool can_serve(const struct target *target)
{
    return target->state == TARGET_UP && target->settings->weight > 0;
}

static bool is_shared(const struct target *target)
{
    return target->set->hooks->keeps_connections;
}

/* What was seen, of one failure. */
static const char *describe_fault(const struct health_fault *fault)
{
    if (fault->reason == REASON_TARGET_CLOSED)
        return "it closed a connection without an answer";
    if (fault->reason == REASON_TARGET_RESET)
        return "it reset a connection without an answer";
    return fault->text[0] != '\0' ? fault->text : reason_phrase(fault->reason);
}

static const char *remedy_of(const struct target *target, enum reason reason)
{
    if (reason == REASON_REQUEST_TIMEOUT)
        return "; a longer request_timeout waits for a slow one";
    if (reason != REASON_TARGET_CLOSED && reason != REASON_TARGET_RESET)
        return ""; /* it is in the text */
    return is_shared(target) ? "; connect_delay and reconnect_delay give it time between connections"
                             : "; its own log may say why, and reconnect_delay gives it time";
}

static bool is_time_to_tell(const struct target_health *health, int64_t now)
{
    return health->told_at == 0 || now - health->told_at >= MINUTE;
}

/* The first failure of its kind, unless a line of that sort has just been written. */
static void tell_fault(struct target *target, const struct health_fault *fault, int64_t now)
{
    struct target_health *health = &target->health;
    unsigned kind = 1U << fault->reason;
    char timeout[40] = "", text[400];
    if ((health->told & kind) != 0 || !is_time_to_tell(health, now))
        return;
    health->told |= kind;
    health->told_at = now;
    if (fault->reason == REASON_REQUEST_TIMEOUT)
        snprintf(timeout, sizeof timeout, " = %" PRId64, target->set->settings.request_timeout);
    snprintf(text, sizeof text, "target %.100s: %s%s%s", target->settings->name, describe_fault(fault),
             timeout, remedy_of(target, fault->reason));
    target->set->driver->told(target, true, text);
}

/* Becoming sick, and well, has a line a minute each: what was left out is counted, and the last one written later. */
static void tell_change(struct target *target, const char *seen, const char *remedy, const char *outlook,
                        int64_t now)
{
    struct target_health *health = &target->health;
    int64_t *told_at = &health->change_told_at[health->is_sick];
    char text[600], count[60] = "";
    health->is_change_untold = *told_at != 0 && now - *told_at < MINUTE;
    if (health->is_change_untold)
        return;
    if (health->changes > 1)
        snprintf(count, sizeof count, " (%" PRId64 " changes since the last such line)", health->changes);
    snprintf(text, sizeof text, "target %.100s is %s: %s%s%s%s", target->settings->name,
             health->is_sick ? "sick" : "well", seen, remedy, outlook, count);
    *told_at = now;
    health->changes = 0;
    target->set->driver->told(target, health->is_sick, text);
}

static void tell_sick(struct target *target, const char *seen, const char *remedy, int64_t now)
{
    const struct target_set *set = target->set;
    const char *outlook = "; it goes on, as there is no other: a backup would take over";
    bool is_better = false, has_answered = false;
    for (size_t i = 0; i < set->count; i++) {
        const struct target *other = set->targets[i];
        if (other == target || !can_serve(other))
            continue;
        outlook = "; as all are, requests go to each in turn";
        is_better = is_better || !other->health.is_sick;
        has_answered = has_answered || (!other->health.is_sick && other->health.worked != 0);
    }
    if (is_better)
        outlook = has_answered ? "; others serve until it answers again"
                               : "; requests go to others, of which none has answered yet";
    tell_change(target, seen, remedy, outlook, now);
}

static void describe_sickness(const struct target *target, const struct health_fault *fault, char *seen,
                              size_t size)
{
    const struct target_health *health = &target->health;
    int64_t count = health->failures;
    if (count < 2)
        snprintf(seen, size, "%s", describe_fault(fault));
    else if (health->kinds != 1U << fault->reason)
        snprintf(seen, size, "%" PRId64 " failures in a row, the last one: %s", count, describe_fault(fault));
    else if (fault->reason == REASON_REQUEST_TIMEOUT)
        snprintf(seen, size, "no answer to %" PRId64 " requests in a row (request_timeout = %" PRId64 ")",
                 count, target->set->settings.request_timeout);
    else
        snprintf(seen, size, "it %s %" PRId64 " connections in a row without an answer",
                 fault->reason == REASON_TARGET_CLOSED ? "closed" : "reset", count);
}

/* ---- What is noted ---- */

static bool is_checked(const struct target *target)
{
    return target->settings->check.type != CHECK_NONE;
}

/* Of failures. */
static void begin_row(struct target_health *health)
{
    health->failures = 0;
    health->kinds = 0;
    health->told = 0;
    for (size_t i = 0; i < HEALTH_ASKERS; i++) {
        health->clients[i].failed = false;
        health->parts[i].failed = false;
    }
}

static void end_sickness(struct target *target, const char *why, int64_t now)
{
    struct target_health *health = &target->health;
    health->is_sick = false;
    health->changes++;
    target->up_since = now;
    tell_change(target, why, "", "", now);
    target_set_note_usable(target->set);
}

/* A good answer. Where there are checks several are needed. */
static void health_recover(struct target *target, int64_t now)
{
    struct target_health *health = &target->health;
    bool has_risen = ++health->good >= target->settings->check.rise;
    health->worked = now;
    slot_answered(target, now);
    health->failed_checks = 0;
    if (has_risen && !health->is_proved)
        target_set_note_usable(target->set);
    health->is_proved = health->is_proved || has_risen;
    if (health->is_change_untold && !health->is_sick)
        tell_change(target, "it has answered", "", "", now);
    if (health->kinds == 0 || (health->is_sick && is_checked(target) && !has_risen))
        return;
    begin_row(health);
    if (health->is_sick)
        end_sickness(target, "it has answered", now);
}

void health_worked(struct target *target, uint64_t client, uint64_t part, int64_t now)
{
    struct health_trials *trials = &target->set->trials;
    trials->answers++;
    for (size_t i = 0; i < HEALTH_ASKERS && trials->count > 0; i++)
        trials->triers[i].answers += trials->triers[i].id == client;
    note_asker(target->health.clients, client, now);
    note_asker(target->health.parts, part, now);
    health_recover(target, now);
}

void health_check_passed(struct target *target, int64_t now)
{
    health_recover(target, now);
}

static int64_t longest_pause(const struct target *target)
{
    int64_t shortest = target->set->settings.retry_max;
    if (shortest > LONGEST_PAUSE / 16)
        return shortest > LONGEST_PAUSE ? shortest : LONGEST_PAUSE;
    return shortest * 16;
}

/* A trial costs a client its request, if it fails: the next one comes after so many milliseconds. */
static void begin_pause(struct target *target, int64_t pause, int64_t now)
{
    int64_t longest = longest_pause(target);
    target->health.trial_pause = pause > longest ? longest : pause;
    target->health.trial_at = now + target_state_spread(target, target->health.trial_pause);
}

static void fall_sick(struct target *target, const char *seen, const char *remedy, int64_t now)
{
    target->health.is_sick = true;
    begin_pause(target, target->set->settings.retry_max, now);
    if (target->counters != NULL)
        target->counters->sicknesses++;
    target->health.changes++;
    tell_sick(target, seen, remedy, now);
    target_set_note_usable(target->set);
}

void health_check_failed(struct target *target, enum reason reason, const char *text, int64_t now)
{
    struct target_health *health = &target->health;
    char seen[300];
    target_state_note(target, reason, text, now);
    health->kinds |= 1U << reason;
    health->good = 0;
    int64_t count = ++health->failed_checks;
    if (count == 1)
        snprintf(seen, sizeof seen, "a check failed: %s", text);
    else
        snprintf(seen, sizeof seen, "%" PRId64 " checks in a row failed, the last one: %s", count, text);
    if (health->is_sick) {
        if (health->is_change_untold)
            tell_sick(target, seen, "", now);
        target_set_note_usable(target->set); /* it may be another's turn */
    } else if (count >= target->settings->check.fall) {
        fall_sick(target, seen, "", now);
    } else if (count == 1 && is_time_to_tell(health, now)) {
        health->told_at = now;
        snprintf(seen, sizeof seen, "target %.100s: a check failed: %s", target->settings->name, text);
        target->set->driver->told(target, true, seen);
    }
}

void health_failed(struct target *target, const struct health_fault *fault, int64_t now)
{
    struct target_health *health = &target->health;
    int64_t fail_after = target->set->settings.fail_after;
    target_state_note(target, fault->reason, describe_fault(fault), now);
    health->kinds |= 1U << fault->reason;
    if (!fault->is_told_only) {
        health->good = 0;
        health->failures++;
        note_asker(health->clients, fault->client, now)->failed = true;
        note_asker(health->parts, fault->part, now)->failed = true;
    }
    char seen[200];
    describe_sickness(target, fault, seen, sizeof seen);
    if (health->is_sick) {
        if (health->is_change_untold)
            tell_sick(target, seen, remedy_of(target, fault->reason), now);
        target_set_note_usable(target->set); /* it may be another's turn */
        return;
    }
    if (fault->is_told_only || fail_after < 0 || health->failures < fail_after ||
        !enough_failed(health->clients, fail_after < 2 ? 2 : fail_after, patience_of(target), now) ||
        !enough_failed(health->parts, 2, patience_of(target), now)) {
        tell_fault(target, fault, now);
        return;
    }
    fall_sick(target, seen, remedy_of(target, fault->reason), now);
}

/* ---- What follows ---- */

bool health_is_disproved(const struct target *target)
{
    return is_checked(target) && (target->health.is_sick || !target->health.is_proved);
}

bool health_is_proving(const struct target *target)
{
    return is_checked(target) && !target->health.is_sick && !target->health.is_proved;
}

/* The less, the better. */
static int rank_of(const struct target *target)
{
    return target->health.is_sick ? 2 : health_is_disproved(target);
}

/* Whether another one that can be used is in better health; or, with `of_equals`, is as sick and has its turn. */
static bool is_outranked(const struct target *target, bool of_equals)
{
    const struct target_set *set = target->set;
    int rank = rank_of(target);
    for (size_t i = 0; rank > 0 && i < set->count; i++) {
        const struct target *other = set->targets[i];
        if (other == target || !can_serve(other))
            continue;
        if (rank_of(other) < rank)
            return true;
        bool is_first = other->failed < target->failed ||
                        (other->failed == target->failed && other->index < target->index);
        if (of_equals && target->health.is_sick && is_first)
            return true;
    }
    return false;
}

bool health_is_left_out(const struct target *target)
{
    return is_outranked(target, true);
}

/* Whether enough was answered since the last trial that may have cost this client a request; if it is not known of it,
 * since that of anybody. */
static bool may_lose(const struct health_trials *trials, uint64_t client)
{
    for (size_t i = 0; i < HEALTH_ASKERS; i++)
        if (trials->triers[i].id == client)
            return trials->triers[i].answers >= ANSWERS_A_TRIAL;
    return trials->count == 0 || trials->answers >= ANSWERS_A_TRIAL;
}

bool health_may_try(struct target *target, uint64_t client, int64_t now)
{
    struct health_asker *clients = target->health.clients;
    const struct health_trials *trials = &target->set->trials;
    if (is_checked(target))
        return false;
    bool has_failed = note_asker(clients, client, now)->failed;
    if (target->state != TARGET_UP || target->health.trial_at > now || !may_lose(trials, client) ||
        !is_outranked(target, false))
        return false;
    for (size_t i = 0; has_failed && i < HEALTH_ASKERS; i++)
        if (!clients[i].failed && asks(&clients[i], MINUTE, now) && may_lose(trials, clients[i].id))
            return false; /* somebody else is to try it */
    return true;
}

void health_try(struct target *target, uint64_t client, int64_t now)
{
    struct health_trials *trials = &target->set->trials;
    struct health_trier *trier = trials->triers;
    while (trier < trials->triers + HEALTH_ASKERS && trier->id != client)
        trier++;
    if (trier == trials->triers + HEALTH_ASKERS)
        trier = &trials->triers[trials->count++ % HEALTH_ASKERS];
    *trier = (struct health_trier){ .id = client };
    trials->answers = 0;
    begin_pause(target, 2 * target->health.trial_pause, now);
}

void health_reconfigure(struct target *target, int64_t now)
{
    int64_t trial_at = target->health.trial_at;
    if (!target->health.is_sick)
        return;
    if (target->set->settings.fail_after < 0 &&
        !is_checked(target)) { /* nothing could end it in mode proxy */
        begin_row(&target->health);
        end_sickness(target, "fail_after is -1 now", now);
        return;
    }
    begin_pause(target, target->health.trial_pause, now);
    if (target->health.trial_at > trial_at)
        target->health.trial_at = trial_at;
}
