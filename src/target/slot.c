#include "target/slot.h"

#include "target/slot_account.h"

#include <stdlib.h>

/* How long a device may take to notice that its last connection has gone, in microseconds. */
#define SETTLE_TIME 1000000

/* Beyond so many addresses of a name, those that it had before are not kept in mind. */
#define ADDRESSES_MAX 32

static void account_tell(const struct slot_account *account, const struct target_set *telling);

/* ---- Accounts ---- */

/* Whether connections of the target say that its addresses answer. One that was retired keeps only those that do. */
static bool target_is_live(const struct target *target)
{
    return target->state == TARGET_UP || target->state == TARGET_RETIRED;
}

static int64_t target_count_live(const struct target *target)
{
    return target_is_live(target) ? target->connections : 0;
}

/* Whoever is not up looks again when the address has become busy, or ceases to be. */
static void account_note_busy(struct slot_account *account)
{
    bool is_busy = account->slots >= 0 && account->live > 0 && account->connections >= account->slots;
    if (is_busy == account->is_busy)
        return;
    account->is_busy = is_busy;
    list_foreach(&account->members, node)
    {
        const struct target *target = member_of(node)->target;
        if (!target_is_live(target))
            target_set_note_usable(target->set);
    }
}

/* The smallest number that any member names counts for all of them. */
static void account_reconfigure(struct slot_account *account)
{
    int64_t slots = -1;
    list_foreach(&account->members, node)
    {
        const struct target *target = member_of(node)->target;
        int64_t own = target_is_retired(target) ? -1 : target->settings->slots;
        if (own >= 0 && (slots < 0 || own < slots))
            slots = own;
    }
    if (slots == account->slots)
        return;
    account->slots = slots;
    account_note_busy(account);
    account_tell(account, NULL);
    account_ask(account, NULL);
}

/* ---- Members ---- */

static bool member_join(struct target *target, void **all, const char *listener,
                        const struct endpoint *endpoint)
{
    struct slot_account *account = account_find(all, listener, endpoint);
    struct slot_member **end = &target->slots;
    for (; *end != NULL; end = &(*end)->next)
        if ((*end)->account == account)
            return true;
    struct slot_member *member = calloc(1, sizeof *member);
    if (member != NULL && account == NULL)
        account = account_create(all, listener, endpoint);
    if (account == NULL || member == NULL) {
        free(member);
        return false;
    }
    member->account = account;
    member->target = target;
    list_append(&account->members, &member->in_account);
    account->connections += target->connections;
    account->live += target_count_live(target);
    *end = member;
    account_note_busy(account);
    if (listener[0] == '\0' && target->settings->slots >= 0)
        account_reconfigure(account);
    return true;
}

/* It waits for nothing. */
static void member_leave(struct slot_member *member)
{
    struct slot_account *account = member->account;
    account->connections -= member->target->connections;
    account->live -= target_count_live(member->target);
    list_remove(&member->in_account);
    free(member);
    if (list_empty(&account->members)) {
        account_remove(account);
    } else if (account->slots >= 0) {
        account_reconfigure(account);
        account_note_busy(account);
        account_tell(account, NULL);
    }
}

/* Whether no connection is left in the account, if one listener is allowed `limit`. */
static bool member_is_full(const struct slot_member *member, int64_t limit)
{
    const struct slot_account *account = member->account;
    const struct target *target = member->target;
    if (account_is_everybodys(account))
        return account->slots >= 0 && account->connections >= account->slots;
    return limit >= 0 &&
           target->connections + account->connections - account_count_own(account, target->set) >= limit;
}

/* Whether one that waits could not have a connection, even if its turn had come in this account. */
static bool member_is_full_elsewhere(const struct slot_member *member)
{
    members_foreach(member->target, other)
    {
        if (other != member &&
            (other->account->resting_until != 0 || member_is_full(other, member->target->slot_limit)))
            return true;
    }
    return false;
}

/* Whether it is full in another account, where it has not asked yet: it waited for this one so far. */
static bool member_has_to_ask(const struct slot_member *member)
{
    members_foreach(member->target, other)
    {
        if (other != member && !other->has_asked && member_is_full(other, member->target->slot_limit))
            return true;
    }
    return false;
}

/* Who waits and comes first sees whether it is its turn, but for those of the set that tells it. */
static void account_tell(const struct slot_account *account, const struct target_set *telling)
{
    struct target *first = NULL;
    if (account->resting_until != 0)
        return; /* slot_rested() comes */
    list_foreach(&account->waiting, node)
    {
        const struct slot_member *member = member_waiting(node);
        if (member_is_full(member, member->target->slot_limit))
            continue;
        if (member_is_full_elsewhere(member)) {
            if (member_has_to_ask(member) && member->target->set != telling)
                target_set_note_usable(member->target->set);
        } else if (first == NULL || member->target->connections < first->connections) {
            first = member->target;
        }
    }
    if (first != NULL && first->set != telling)
        target_set_note_usable(first->set);
}

/* Whether a target of another owner comes first. */
static bool member_has_queue(const struct slot_member *member)
{
    bool is_behind = true;
    list_foreach(&member->account->waiting, node)
    {
        const struct slot_member *waiting = member_waiting(node);
        const struct target *other = waiting->target;
        if (waiting == member)
            is_behind = false;
        else if (other->set != member->target->set &&
                 (other->connections < member->target->connections ||
                  (is_behind && other->connections == member->target->connections)) &&
                 !member_is_full_elsewhere(waiting))
            return true;
    }
    return false;
}

static bool member_is_blocked(const struct slot_member *member, int64_t limit)
{
    const struct slot_account *account = member->account;
    return account->resting_until != 0 ||
           (account_is_limited(account) && (member_is_full(member, limit) || member_has_queue(member)));
}

/* ---- Targets ---- */

static bool slot_enter(struct target *target, void **all, const char *listener)
{
    const struct endpoint *endpoint = &target->settings->endpoint;
    if (member_join(target, all, listener, endpoint) && member_join(target, all, "", endpoint))
        return true;
    slot_leave(target);
    return false;
}

bool slot_join(struct target *target, void **all, const char *listener)
{
    const struct endpoint *endpoint = &target->settings->endpoint;
    bool may_wait = endpoint->kind != ENDPOINT_NAME && target->settings->slots < 0 &&
                    account_find(all, listener, endpoint) == NULL && account_find(all, "", endpoint) == NULL;
    return may_wait || slot_enter(target, all, listener);
}

bool slot_use(struct target *target)
{
    return target->slots != NULL ||
           slot_enter(target, target->set->all_slots, target->set->settings.listener);
}

void slot_leave(struct target *target)
{
    slot_forget(target);
    while (target->slots != NULL) {
        struct slot_member *member = target->slots;
        target->slots = member->next;
        member_leave(member);
    }
}

static bool is_among(const struct slot_member *member, const struct address *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (address_compare_host(&member->account->endpoint.address, &addresses[i]) == 0)
            return true;
    return false;
}

/* Leaves the accounts of addresses that the name has no more. */
static void slot_forget_addresses(struct target *target, const struct address *addresses, size_t count)
{
    struct slot_member **place = &target->slots->next->next;
    while (*place != NULL) {
        struct slot_member *member = *place;
        if (is_among(member, addresses, count)) {
            place = &member->next;
            continue;
        }
        *place = member->next;
        member_leave(member);
    }
}

/* Who takes what others wait for learns of them: they may have asked only those who had it before. */
static void slot_note_waiting(const struct target *target)
{
    const struct target_set *set = target->set;
    members_foreach(target, member)
    {
        if (list_empty(&member->account->waiting) || set->hooks->slot_wanted == NULL || set->owner == NULL)
            continue;
        set->hooks->slot_wanted(set->owner);
        return;
    }
}

void slot_resolved(struct target *target, void **all, const struct address *addresses, size_t count)
{
    size_t known = 0;
    members_foreach(target, member) known++;
    slot_forget(target);
    if (target->connections <= 1 || known > ADDRESSES_MAX)
        slot_forget_addresses(target, addresses, count);
    for (size_t i = 0; i < count; i++) {
        char text[ADDRESS_TEXT_SIZE];
        struct endpoint endpoint = { .kind = ENDPOINT_NUMERIC, .host = text, .address = addresses[i] };
        address_set_port(&endpoint.address, target->settings->endpoint.port);
        address_print(&endpoint.address, text);
        (void)member_join(target, all, "", &endpoint); /* else it counts for its name alone */
    }
    slot_note_waiting(target);
    if (slot_rested_first(target) != 0)
        target->set->driver->wake(target->set);
}

void slot_reconfigure(struct target *target)
{
    members_foreach(target, member)
    {
        if (account_is_everybodys(member->account))
            account_reconfigure(member->account);
    }
}

const char *slot_listener(const struct target *target)
{
    return target->slots->account->listener;
}

void slot_count(struct target *target, int change)
{
    target->connections += change;
    members_foreach(target, member)
    {
        member->account->connections += change;
        member->account->live += target_is_live(target) ? change : 0;
        account_note_busy(member->account);
    }
    if (change > 0)
        slot_note_waiting(target);
}

void slot_entered(struct target *target, bool was_live)
{
    bool is_live = target_is_live(target);
    if (target->state != TARGET_TRYING)
        target->has_turn = false;
    members_foreach(target, member)
    {
        if (is_live != was_live)
            member->account->live += is_live ? target->connections : -target->connections;
        account_note_busy(member->account);
    }
}

bool slot_has_room(struct target *target, int64_t limit, bool *by_others)
{
    bool has_room = slot_use(target) && (limit < 0 || target->connections < limit);
    bool is_taken = false;
    members_foreach(target, member)
    {
        const struct slot_account *account = member->account;
        is_taken = is_taken || member_is_blocked(member, limit);
        if (account->slots >= 0 && account_count_own(account, target->set) >= account->slots)
            has_room = false;
    }
    if (by_others != NULL)
        *by_others = has_room && is_taken;
    return has_room && !is_taken;
}

bool slot_is_over(const struct target *target)
{
    members_foreach(target, member)
    {
        if (member->account->slots >= 0 && member->account->connections > member->account->slots)
            return true;
    }
    return false;
}

/* It queues in all its accounts at once, so that no two can be behind one another. */
void slot_wait(struct target *target, int64_t limit)
{
    bool is_first = !target->is_waiting;
    target->slot_limit = limit;
    target->is_waiting = true;
    target->asks_for_slot = true;
    target->set->waits_for_slots = true;
    members_foreach(target, member)
    {
        bool was_asked = member->has_asked && !is_first;
        if (is_first)
            list_append(&member->account->waiting, &member->in_waiting);
        member->has_asked = member_is_blocked(member, limit);
        if (member->has_asked && !was_asked)
            account_ask(member->account, target->set);
        if (!is_first && member_is_full_elsewhere(member))
            account_tell(member->account, target->set); /* others may go before it */
    }
}

void slot_forget(struct target *target)
{
    if (!target->is_waiting)
        return;
    target->is_waiting = false;
    members_foreach(target, member)
    {
        if (!list_linked(&member->in_waiting))
            continue;
        list_remove(&member->in_waiting);
        account_tell(member->account, NULL);
    }
}

bool slot_is_waiting(const struct target *target)
{
    return target->is_waiting;
}

bool slot_is_busy(const struct target *target)
{
    bool is_busy = target->has_turn;
    members_foreach(target, member) is_busy = is_busy || member->account->is_busy;
    return is_busy && !target_is_live(target);
}

void slot_hand_on(struct target *target)
{
    members_foreach(target, member)
    {
        if (!target_is_live(target) || !member->account->is_busy)
            continue;
        list_foreach(&member->account->waiting, node)
        {
            struct target *other = member_waiting(node)->target;
            other->has_turn = other->state == TARGET_RETRY;
        }
    }
}

bool slot_is_held(const struct target *target)
{
    const struct slot_account *account = target->slots == NULL ? NULL : target->slots->account;
    return target->is_waiting && account->connections > account_count_own(account, target->set);
}

/* Of those who wait, one without a connection gets one of somebody's in turn, and so does one that will not have more
 * than it takes it from. */
static enum slot_demand member_demand(const struct slot_member *member)
{
    const struct slot_account *account = member->account;
    const struct target *target = member->target;
    enum slot_demand demand = SLOT_UNWANTED;
    if (account->slots >= 0 && account->connections > account->slots)
        return SLOT_IN_TURN;
    list_foreach(&account->waiting, node)
    {
        const struct slot_member *other = member_waiting(node);
        enum slot_demand wanted = SLOT_FREE;
        if (other->target->set == target->set || !account_is_limited(account))
            continue;
        if (member_is_full(other, other->target->slot_limit))
            wanted = other->target->connections == 0 || other->target->connections + 1 < target->connections
                         ? SLOT_IN_TURN
                         : SLOT_IDLE;
        if (wanted > demand)
            demand = wanted;
    }
    return demand;
}

enum slot_demand slot_demand(const struct target *target)
{
    enum slot_demand demand = SLOT_UNWANTED;
    members_foreach(target, member)
    {
        enum slot_demand wanted = member_demand(member);
        if (wanted > demand)
            demand = wanted;
    }
    return demand;
}

int64_t slot_resting_until(const struct target *target)
{
    int64_t until = 0;
    members_foreach(target, member)
    {
        if (member->account->resting_until > until)
            until = member->account->resting_until;
    }
    return until;
}

int64_t slot_rested_first(const struct target *target)
{
    int64_t first = 0;
    members_foreach(target, member)
    {
        int64_t until = member->account->resting_until;
        if (until != 0 && (first == 0 || until < first))
            first = until;
    }
    return first;
}

void slot_ended(struct target *target, bool was_left, int64_t now)
{
    int64_t rest = now + target->set->settings.reconnect_delay * 1000;
    members_foreach(target, member)
    {
        struct slot_account *account = member->account;
        if (!account_is_everybodys(account))
            continue;
        account->settles_until = was_left ? 0 : now + SETTLE_TIME;
        if (rest == now || rest < account->resting_until)
            continue;
        account->resting_until = rest;
        list_foreach(&account->members, node)
        {
            struct target_set *set = member_of(node)->target->set;
            set->driver->wake(set);
        }
    }
}

bool slot_rested(struct target *target, int64_t now)
{
    bool has_rested = false;
    members_foreach(target, member)
    {
        struct slot_account *account = member->account;
        if (account->resting_until == 0 || account->resting_until > now)
            continue;
        account->resting_until = 0;
        has_rested = true;
        list_foreach(&account->members, node) target_set_note_usable(member_of(node)->target->set);
    }
    return has_rested;
}

bool slot_settles(const struct target *target, int64_t now)
{
    members_foreach(target, member)
    {
        if (now < member->account->settles_until && member->account->connections == 1)
            return true;
    }
    return false;
}

void slot_answered(struct target *target, int64_t now)
{
    members_foreach(target, member) member->account->answered = now;
}

int64_t slot_last_answer(const struct target *target)
{
    int64_t answered = 0;
    members_foreach(target, member)
    {
        if (member->account->answered > answered)
            answered = member->account->answered;
    }
    return answered;
}

void slot_freed(struct target *target)
{
    members_foreach(target, member) account_tell(member->account, NULL);
}
