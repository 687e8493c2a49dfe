#include "stream/stream_pool_parts.h"

#include "stream/pool_check.h"
#include "stream/pool_count.h"
#include "stream/pool_turn.h"
#include "target/balance.h"
#include "target/slot.h"

#include <assert.h>
#include <string.h>

/* What the connections of one target look like at a moment. */
struct pool_snapshot {
    struct pool_connection *best; /* of those with room the one with the least load; NULL: none has room */
    size_t best_load;
    int64_t load;
    bool works; /* it has a connection that can be used, now or later */
};

/* ---- One connection ---- */

/* The one place where the state changes. */
static void connection_enter(struct pool_connection *connection, enum pool_state state)
{
    static const bool allowed[POOL_STATES][POOL_STATES] = {
        [POOL_CONNECTING] = { [POOL_PROBATION] = true, [POOL_ENDED] = true },
        [POOL_PROBATION] = { [POOL_HEALTHY] = true, [POOL_ENDED] = true },
        [POOL_HEALTHY] = { [POOL_ENDED] = true },
    };
    struct stream_pool *pool = connection->pool;
    assert(allowed[connection->state][state]);
    if (connection->state == POOL_CONNECTING)
        pool->attempts--;
    timeout_stop(&connection->probation);
    connection->state = state;
    stream_pool_touch(pool);
}

/* Whether it can take a request now; notes that it could. */
static bool connection_has_room(struct pool_connection *connection, int64_t now)
{
    bool has_room = connection->mux != NULL && mux_connection_has_room(connection->mux);
    if (has_room && !connection->was_ready) {
        connection->was_ready = true;
        connection->ready_since = now;
        stream_pool_touch(connection->pool); /* there is one that can be used, perhaps again */
    }
    return has_room;
}

/* One to a sick target has one request of each client at a time. */
static void connection_trust(struct pool_connection *connection, int64_t now)
{
    mux_connection_set_wary(connection->mux, connection->target->health.is_sick, now);
}

static void connection_mark_healthy(struct pool_connection *connection, int64_t now)
{
    if (connection->state != POOL_PROBATION)
        return;
    connection_enter(connection, POOL_HEALTHY);
    target_succeed(connection->target, now);
}

void stream_pool_retire(struct pool_connection *connection, int64_t now)
{
    if (connection->mux == NULL || connection->retired)
        return;
    connection->retired = true;
    mux_connection_retire(connection->mux,
                          target_is_draining(connection->target) ? REASON_DRAINED : REASON_REPLACED, now);
    stream_pool_touch(connection->pool);
}

void stream_pool_end(struct pool_connection *connection, int64_t now)
{
    struct target *target = connection->target;
    bool was_connected = connection->state != POOL_CONNECTING;
    bool was_left = connection->mux != NULL && mux_connection_was_left(connection->mux);
    connection_enter(connection, POOL_ENDED);
    list_remove(&connection->node);
    if (connection->mux != NULL) {
        bool is_over = mux_connection_is_over(connection->mux);
        target->counters->closed[is_over ? mux_connection_reason(connection->mux) : REASON_DRAINED]++;
    }
    connection->pool->driver->ended(connection, now);
    if (connection->mux != NULL)
        mux_connection_close(connection->mux, now);
    connection->mux = NULL;
    if (was_connected)
        target_release(target, was_left, now);
    else if (connection->attempt != NULL)
        target_cancel(connection->attempt, now);
}

/* What the end of a connection says about its target. One that we ended because it had been there for so long
 * says nothing, but that it could be used at all; else the next one would be made without a pause. */
static void connection_evaluate(struct pool_connection *connection, int64_t now)
{
    enum reason reason = mux_connection_reason(connection->mux);
    bool by_us = reason == REASON_DRAINED || reason == REASON_REPLACED || reason == REASON_INACTIVITY;
    bool on_trial =
        connection->target->state != TARGET_UP; /* a request without an answer is no success then */
    bool was_used = !mux_connection_was_useless(connection->mux) && !on_trial;
    if (reason_class(reason) == REASON_CLASS_CLIENT) { /* no client can keep a target down */
        target_leave_undecided(connection->target, now);
        return;
    }
    if (connection->retired || (by_us ? connection->was_ready : was_used)) {
        connection_mark_healthy(connection, now);
        return;
    }
    const char *explanation = mux_connection_explanation(connection->mux);
    if (by_us)
        explanation = "the connection was to be replaced before it could take a request";
    else if (explanation[0] == '\0')
        explanation = reason_phrase(reason);
    target_fail(connection->target, reason, explanation, now);
}

void stream_pool_found(struct pool_connection *connection, const struct mux_finding *finding, int64_t now)
{
    struct target *target = connection->target;
    if (finding->verdict == MUX_WORKS)
        connection_mark_healthy(connection, now);
    if (finding->origin == POOL_CHECK_ORIGIN) /* the check says it */
        return;
    if (finding->verdict == MUX_WORKS) {
        health_worked(target, finding->origin, finding->part, now);
    } else if (!target_is_retired(target)) {
        const struct health_fault fault = {
            .reason = finding->reason,
            .text = finding->explanation,
            .is_told_only = finding->verdict == MUX_BROKEN,
            .client = finding->origin,
            .part = finding->part,
        };
        health_failed(target, &fault, now);
    }
}

void stream_pool_progress(struct pool_connection *connection, int64_t now)
{
    connection_has_room(connection, now);
    if (!mux_connection_is_over(connection->mux))
        return;
    if (connection->state == POOL_PROBATION && !target_is_retired(connection->target))
        connection_evaluate(connection, now);
    stream_pool_end(connection, now);
}

static void connection_attempted(void *data, struct target *target, int descriptor, int64_t now)
{
    struct pool_connection *connection = data;
    struct stream_pool *pool = connection->pool;
    connection->attempt = NULL;
    if (descriptor == -1) {
        stream_pool_end(connection, now);
        return;
    }
    connection_enter(connection, POOL_PROBATION);
    list_remove(&connection->node);
    list_append(&pool->connections, &connection->node);
    connection->address = target->good_address;
    pool->driver->connected(connection, descriptor, now);
    connection->mux = mux_connection_open(pool->mux, connection, target_settles(target, now), now);
    if (connection->mux != NULL) {
        connection_trust(connection, now);
        timeout_start(&pool->probation, &connection->probation, now);
        return;
    }
    target_fail(target, REASON_INTERNAL, "memory is short", now);
    stream_pool_end(connection, now);
}

/* The first target, in the order of the configuration and backups last, that is up. */
static struct target *pool_first_up(const struct stream_pool *pool)
{
    struct target *backup = NULL;
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct target *target = pool->targets->targets[i];
        if (!target_takes_work(target))
            continue;
        if (!target->settings->backup)
            return target;
        if (backup == NULL)
            backup = target;
    }
    return backup;
}

/* A connection is not to be used if its target drains, or while there is one that comes before it. In fifo that is any
 * one before it, in funnel one that is no backup. */
static bool pool_is_replaced(const struct stream_pool *pool, const struct target *target,
                             const struct target *first)
{
    if (target->settings->weight == 0)
        return true;
    if (first == NULL || first == target)
        return false;
    if (first->settings->backup != target->settings->backup)
        return target->settings->backup;
    return pool->is_fifo && first->index < target->index;
}

bool stream_pool_connect(struct stream_pool *pool, struct target *target, int64_t now)
{
    struct pool_connection *connection = pool->driver->create(pool->owner);
    if (connection == NULL)
        return false;
    connection->pool = pool;
    connection->target = target;
    connection->is_for_trial = health_is_left_out(target);
    connection->is_for_check = target->check.is_owners && target->check.is_running &&
                               pool_is_replaced(pool, target, pool_first_up(pool));
    pool->attempts++;
    list_append(&pool->connections, &connection->node);
    connection->attempt = target_connect(target, connection_attempted, connection);
    if (connection->attempt != NULL)
        return true;
    stream_pool_end(connection, now);
    return false;
}

/* ---- Choice ---- */

bool stream_pool_has_slot(const struct stream_pool *pool, struct target *target, bool *by_others)
{
    return slot_has_room(target, (int64_t)pool_limit(pool->settings, target->settings), by_others);
}

/* Notes, where only connections of others leave no slot, that the target waits for them. */
static bool pool_may_open(const struct stream_pool *pool, struct target *target)
{
    bool by_others;
    if (pool->is_closing || target->state != TARGET_UP)
        return false;
    bool has_slot = stream_pool_has_slot(pool, target, &by_others);
    if (by_others && !pool->is_warming)
        slot_wait(target, (int64_t)pool_limit(pool->settings, target->settings));
    return has_slot;
}

static void pool_open(struct stream_pool *pool, struct target *target, int64_t now)
{
    if (!stream_pool_connect(pool, target, now))
        target_fail(target, REASON_INTERNAL, "memory is short", now);
}

/* Fills one entry a target; returns how many connections are being made or made ready. */
static size_t pool_look(struct stream_pool *pool, struct pool_snapshot *snapshots, int64_t now)
{
    size_t opening = 0;
    memset(snapshots, 0, pool->targets->count * sizeof *snapshots);
    list_foreach(&pool->connections, node)
    {
        struct pool_connection *connection = stream_pool_connection(node);
        if (target_is_retired(connection->target))
            continue;
        struct pool_snapshot *snapshot = &snapshots[connection->target->index];
        bool has_room = connection_has_room(connection, now);
        if (!connection->was_ready)
            opening++;
        if (connection->mux == NULL || mux_connection_is_over(connection->mux) || connection->retired)
            continue;
        size_t load = mux_connection_load(connection->mux);
        snapshot->load += (int64_t)load;
        snapshot->works = snapshot->works || connection->was_ready;
        if (has_room && (snapshot->best == NULL || load < snapshot->best_load)) {
            snapshot->best = connection;
            snapshot->best_load = load;
        }
    }
    return opening;
}

/* Whether backup targets are not to be used: there is another one. */
static bool pool_has_regular(const struct stream_pool *pool, const struct pool_snapshot *snapshots)
{
    for (size_t i = 0; i < pool->targets->count; i++) {
        const struct target *target = pool->targets->targets[i];
        if (!target->settings->backup && target->settings->weight > 0 && !health_is_left_out(target) &&
            (target->state == TARGET_UP || snapshots[i].works))
            return true;
    }
    return false;
}

/* The targets that take a request now, or that a connection may be opened to. */
static size_t pool_candidates(const struct stream_pool *pool, const struct pool_snapshot *snapshots,
                              bool may_open, struct target **candidates)
{
    bool backup = !pool_has_regular(pool, snapshots);
    size_t count = 0;
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct target *target = pool->targets->targets[i];
        if (target->settings->backup != backup || target->settings->weight == 0 || health_is_left_out(target))
            continue;
        target->load = snapshots[i].load;
        if (snapshots[i].best != NULL || (may_open && pool_may_open(pool, target)))
            candidates[count++] = target;
    }
    return count;
}

/* Of several targets' free connections the one with the least load. */
static struct pool_connection *pool_best(const struct pool_snapshot *snapshots,
                                         struct target *const *candidates, size_t count)
{
    const struct pool_snapshot *best = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct pool_snapshot *snapshot = &snapshots[candidates[i]->index];
        if (snapshot->best != NULL && (best == NULL || snapshot->best_load < best->best_load))
            best = snapshot;
    }
    return best == NULL ? NULL : best->best;
}

/* Any connection serves the request. The target whose turn it is gets it if it has a free one; else one is
 * opened there for those who come later. As many are opened as clients wait. */
static struct pool_connection *pool_choose_any(struct stream_pool *pool, const struct address *client,
                                               int64_t now)
{
    struct pool_snapshot snapshots[SETTINGS_MAX_TARGETS];
    struct target *candidates[SETTINGS_MAX_TARGETS];
    size_t opening = pool_look(pool, snapshots, now);
    size_t waiting = mux_waiting(pool->mux);
    struct pool_connection *chosen = NULL;
    while (chosen == NULL) {
        bool may_open = opening == 0 || opening < waiting;
        size_t count = pool_candidates(pool, snapshots, may_open, candidates);
        if (count == 0)
            break;
        struct target *target = balance_pick(pool->targets, candidates, count, client, now);
        chosen = snapshots[target->index].best;
        if (chosen != NULL)
            break;
        pool_open(pool, target, now);
        opening++;
        chosen = pool_best(snapshots, candidates, count);
    }
    return chosen;
}

/* One connection serves all requests, in their order: the oldest one, so that a new one to a target that came
 * back takes over only when the old one is gone. */
static struct pool_connection *pool_choose_only(struct stream_pool *pool, int64_t now)
{
    struct target *first = pool_first_up(pool);
    list_foreach(&pool->connections, node)
    {
        struct pool_connection *connection = stream_pool_connection(node);
        const struct target *target = connection->target;
        bool is_left_out = health_is_left_out(target);
        bool may_be_used = !is_left_out && target->settings->weight > 0; /* else it is about to go */
        if (connection->mux == NULL || (is_left_out && connection->is_for_trial) || connection->is_for_check)
            continue;
        return may_be_used && connection_has_room(connection, now) ? connection : NULL;
    }
    if (first != NULL && pool_may_open(pool, first))
        pool_open(pool, first, now);
    return NULL;
}

/* The connection by which this request is to try a sick target, if it has nothing to do. If there is none, one is
 * opened for a later request. */
static struct pool_connection *pool_choose_trial(struct stream_pool *pool, struct target *target,
                                                 uint64_t client, int64_t now)
{
    struct pool_connection *chosen = NULL;
    bool is_there = false;
    list_foreach(&pool->connections, node)
    {
        struct pool_connection *connection = stream_pool_connection(node);
        if (connection->target != target)
            continue;
        if (connection->mux != NULL && mux_connection_load(connection->mux) > 0)
            return NULL;
        is_there = true;
        if (chosen == NULL && connection_has_room(connection, now))
            chosen = connection;
    }
    if (chosen != NULL)
        health_try(target, client, now);
    else if (!is_there && pool_may_open(pool, target))
        pool_open(pool, target, now);
    return chosen;
}

/* Likewise, for all targets: of those that would get work if they were well. */
static struct pool_connection *pool_choose_trials(struct stream_pool *pool, const struct address *address,
                                                  int64_t now)
{
    uint64_t client = health_client(address);
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct target *target = pool->targets->targets[i];
        if (!health_is_left_out(target) || pool_is_replaced(pool, target, pool_first_up(pool)) ||
            !health_may_try(target, client, now))
            continue;
        struct pool_connection *chosen = pool_choose_trial(pool, target, client, now);
        if (chosen != NULL)
            return chosen;
    }
    return NULL;
}

struct mux_connection *stream_pool_choose(struct stream_pool *pool, const struct address *client, int64_t now)
{
    struct pool_connection *connection = pool_choose_trials(pool, client, now);
    if (connection != NULL)
        return connection->mux;
    connection = pool->is_fifo ? pool_choose_only(pool, now) : pool_choose_any(pool, client, now);
    return connection == NULL ? NULL : connection->mux;
}

/* A check goes to its target, be it in use or not, by the connection that has the least to do. */
struct mux_connection *stream_pool_choose_check(struct stream_pool *pool, void *client, int64_t now)
{
    struct target *target = pool_check_target(client);
    struct pool_connection *best = NULL;
    bool is_there = false;
    list_foreach(&pool->connections, node)
    {
        struct pool_connection *connection = stream_pool_connection(node);
        if (connection->target != target || connection->retired)
            continue;
        is_there = true;
        if (connection_has_room(connection, now) &&
            (best == NULL || mux_connection_load(connection->mux) < mux_connection_load(best->mux)))
            best = connection;
    }
    if (!is_there && pool_may_open(pool, target))
        pool_open(pool, target, now);
    return best == NULL ? NULL : best->mux;
}

size_t stream_pool_opening(const struct stream_pool *pool)
{
    return pool->attempts;
}

/* ---- Review ---- */

/* Gives connections up whose slots others want. */
static void pool_release(struct stream_pool *pool, int64_t now)
{
    pool->is_wanted = false;
    pool->turn_due = TIMEOUT_NEVER;
    for (size_t i = 0; i < pool->targets->count; i++) {
        struct pool_connection *over = pool_turn_over(pool, pool->targets->targets[i], now);
        if (over != NULL)
            stream_pool_retire(over, now);
    }
}

bool stream_pool_is_held(const struct stream_pool *pool)
{
    if (target_set_is_held(pool->targets))
        return true;
    list_foreach(&pool->connections, node)
    {
        if (pool->is_fifo && target_is_draining(stream_pool_connection(node)->target))
            return true;
    }
    return false;
}

/* Opens what is missing to the targets that would be used. Each is tried once: one that fails is not up any more; and
 * what others wait for is theirs, else each connection that is given up for them would be made again. When nothing is
 * under way, or a reload has turned `warmup` off, clients may come. */
static void pool_warm(struct stream_pool *pool, int64_t now)
{
    const struct target *first = pool->settings->warmup ? pool_first_up(pool) : NULL;
    for (size_t i = 0; first != NULL && i < pool->targets->count; i++) {
        struct target *target = pool->targets->targets[i];
        bool wanted = pool->is_fifo ? target == first : target->settings->backup == first->settings->backup;
        while (wanted && target->settings->weight > 0 && slot_demand(target) == SLOT_UNWANTED &&
               pool_may_open(pool, target))
            pool_open(pool, target, now);
    }
    if (pool->settings->warmup && pool->attempts > 0)
        return;
    pool->is_warming = false;
    pool->driver->ready(pool->owner);
}

void stream_pool_start(struct stream_pool *pool, int64_t now)
{
    pool->is_warming = true;
    stream_pool_touch(pool); /* there may be no target that takes work */
    pool_warm(pool, now);
}

/* Whether no target can be used, because each is down. One that is tried is still down until its connection has proved
 * to be of use, else a device that closes each one would keep clients waiting; but not one that waits for a slot of
 * which others make use. */
static bool pool_is_down(struct stream_pool *pool)
{
    if (!target_set_is_down(pool->targets))
        return false;
    list_foreach(&pool->connections, node)
    {
        const struct pool_connection *connection = stream_pool_connection(node);
        if (connection->state == POOL_HEALTHY && !connection->retired && connection->mux != NULL &&
            !mux_connection_is_over(connection->mux))
            return false;
    }
    return true;
}

void stream_pool_review(struct stream_pool *pool, int64_t now)
{
    pool_checks_progress(pool, now);
    target_set_want(pool->targets, mux_has_waiting(pool->mux));
    if (pool->is_wanted)
        pool_release(pool, now);
    if (!pool->changed)
        return;
    pool->changed = false;
    if (pool->is_warming) /* an attempt has ended, or was given up */
        pool_warm(pool, now);
    const struct target *first = pool_first_up(pool);
    list_foreach(&pool->connections, node)
    {
        struct pool_connection *connection = stream_pool_connection(node);
        const struct target *target = connection->target;
        bool is_left_out = health_is_left_out(target) && !connection->is_for_trial;
        bool is_replaced = pool_is_replaced(pool, target, first);
        connection->is_for_check = connection->is_for_check && is_replaced;
        bool is_checked = connection->is_for_check && target->check.is_running;
        if (connection->is_extra || is_left_out || (is_replaced && !is_checked))
            stream_pool_retire(connection, now);
        else if (connection->mux != NULL)
            connection_trust(connection, now);
    }
    mux_set_down(pool->mux, pool_is_down(pool), now);
    target_set_begin_asking(pool->targets);
    mux_dispatch(pool->mux, now);
    target_set_end_asking(pool->targets);
}

int64_t stream_pool_due(const struct stream_pool *pool)
{
    int64_t due = timeout_list_due(&pool->probation);
    return pool->turn_due < due ? pool->turn_due : due;
}

void stream_pool_tick(struct stream_pool *pool, int64_t now)
{
    struct timeout *timeout;
    if (now >= pool->turn_due)
        pool_release(pool, now);
    bool has_expired = timeout_list_due(&pool->probation) <= now;
    while ((timeout = timeout_list_expire(&pool->probation, now)) != NULL) {
        struct pool_connection *connection = list_entry(timeout, struct pool_connection, probation);
        if (connection_has_room(connection, now) || connection->was_ready)
            connection_mark_healthy(connection, now);
        else /* its handshake still runs, or `connect_delay` */
            timeout_start(&pool->probation, timeout, now);
    }
    if (has_expired) /* what waits must not end in this very moment */
        mux_set_down(pool->mux, pool_is_down(pool), now);
}
