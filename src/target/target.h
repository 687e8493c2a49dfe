/* The targets of a listener: which are up, which one is next, and what became of each connection to one. Used
 * alike by every mode.
 *
 * Pure logic over time: no socket, no loop, no clock, no log. Whoever drives a set (target_loop.h in the
 * program) makes its connections, and calls target_set_tick() when target_set_due() says so.
 *
 * A target is UP until an attempt fails; then it is DOWN for a back-off that doubles with each further
 * failure. When that has passed it may be TRIED once: by a waiting client if no other target is up, else by a
 * probe, whose connection is closed again. The first success makes it UP.
 *
 *        attempt failed              back-off passed           attempt started
 *   UP -----------------> DOWN -----------------------> RETRY -----------------> TRYING
 *   ^                     ^  ^                            |                        |  |
 *   |                     |  +------ nobody tried it -----+                        |  |
 *   |                     +-------- attempt failed, or was given up ---------------+  |
 *   +------------------- an attempt succeeded (also from DOWN and RETRY) -------------+
 *
 *   RETIRED can follow any of these, and nothing follows RETIRED: a reload has taken the target away. One that
 *   a reload leaves is the same afterwards, with its state, counters and connections, whatever its options.
 *
 * Where connections are kept (see target_hooks), a connection alone proves little: the target stays in TRYING
 * until its owner says what the connection was good for, by target_succeed() or target_fail(). */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include "base/counters.h"
#include "base/list.h"
#include "net/service.h"
#include "target/health.h"
#include "target/target_check.h"
#include "target/target_settings.h"

#define TARGET_NEVER INT64_MAX

enum target_state { TARGET_UP, TARGET_DOWN, TARGET_RETRY, TARGET_TRYING, TARGET_RETIRED, TARGET_STATES };

struct target_set;
struct target_name;
struct slot_member;

/* One target. Owned by its set. Once RETIRED it has no part in choices any more, takes what is being connected
 * still, and is freed when its last connection has gone. */
struct target {
    struct target_set *set;
    struct target_settings *settings;      /* a copy of its own */
    struct target_settings *next_settings; /* likewise, those that are being prepared; NULL: no others */
    struct list_node node;                 /* among the retired ones */
    struct slot_member *slots;             /* see target/slot.h */
    int64_t slot_limit;                    /* while it waits for a slot: how many its listener is allowed */
    bool is_waiting;                       /* for a slot */
    bool has_turn;                         /* see slot_is_busy() */
    bool asks_for_slot;                    /* it has said so since its owner looked last */
    size_t index;                          /* in the set */
    bool is_kept;                          /* by the settings that are being prepared */
    enum target_state state;
    int64_t connections;                /* live ones and attempts that are running */
    int64_t load;                       /* what least_connections compares; set before each choice */
    int64_t share;                      /* of the work, likewise: its weight by thousandths */
    int64_t up_since;                   /* when it came back; 0: it has never failed */
    int64_t credit;                     /* for round robin */
    int64_t retry_delay;                /* milliseconds; of the next back-off */
    int64_t retry_at;                   /* DOWN: when the back-off has passed; microseconds */
    int64_t down_since;                 /* DOWN: when it began */
    struct target_attempt *probe;       /* running, or NULL */
    const struct target_attempt *trial; /* TRYING: the one that decides; NULL: it has connected */
    struct target_name *name;           /* the driver's; NULL if the address is numeric or a path */
    struct address good_address;        /* the one that worked last: tried first */
    enum reason failure;                /* the newest one */
    char failure_text[160];
    int64_t failed; /* when that was; 0: never */
    struct target_health health;
    struct target_check check;
    struct target_counters *counters; /* NULL before the first attempt: many targets never have one */
};

/* What became of an attempt. On success `descriptor` (owned by the callee from now on) is connected and
 * counts as one of the target's connections until target_release(); else it is -1, the count is gone and the
 * target is down. The attempt is freed after the call. */
typedef void target_result(void *data, struct target *target, int descriptor, int64_t now);

/* An attempt to connect. Owned by the driver, which embeds it in its own, until its result is delivered or it
 * is cancelled. */
struct target_attempt {
    struct target *target;
    target_result *result;
    void *data;
};

/* What a set has done for it. None of these calls the set back from inside. */
struct target_driver {
    /* Prepares for connections to a target. False when memory is short; `detach` follows in any case. */
    bool (*attach)(struct target *target);
    void (*detach)(struct target *target);
    /* Begins to connect; target_attempt_succeeded() or target_attempt_failed() follows, unless the attempt is
     * cancelled, which frees it. NULL when memory is short. */
    struct target_attempt *(*connect)(struct target *target);
    void (*cancel)(struct target_attempt *attempt);
    /* Whether there is a descriptor for a probe; if so, what to do with the probe's connection follows (-1:
     * there is none), and the descriptor for it is free again. */
    bool (*may_probe)(struct target *target);
    void (*probed)(struct target *target, int descriptor);
    /* Puts the question of a check to the target, on this connection, which the driver has from now on;
     * target_check_passed(), _failed() or _void() follows, unless hang_up(), which ends it and closes the connection,
     * comes first. NULL when memory is short. */
    struct target_ask *(*ask)(struct target *target, int descriptor);
    void (*hang_up)(struct target *target);
    /* Other settings count from now on. */
    void (*committed)(struct target_set *set);
    /* The target came up, or went down: to be logged. */
    void (*changed)(const struct target *target);
    /* What is to be logged, at warning or at info: the target became sick, or well, or failed in some way. */
    void (*told)(const struct target *target, bool is_warning, const char *text);
    /* target_set_due() may be earlier than it was. */
    void (*wake)(struct target_set *set);
};

/* What the owner of a set is told. */
struct target_hooks {
    /* The owner keeps connections for many clients, and says what a connection proved. A target whose back-off
     * has passed is then tried by the owner, from inside `usable`, and not by a probe; if the owner does not,
     * the target waits once more. */
    bool keeps_connections;
    /* A target may have become usable: it came up, has room again, or may be tried once more. Comes from
     * target_set_tick() only. */
    void (*usable)(void *owner, int64_t now);
    /* Where connections are kept: these are the addresses of the target's name now. Comes from the loop. */
    void (*looked_up)(void *owner, struct target *target, const struct address *addresses, size_t count,
                      int64_t now);
    /* Where connections are kept: somebody else waits for a slot that connections of this set hold. Those
     * that are not needed are to be closed, later: this may come from inside any call. */
    void (*slot_wanted)(void *owner);
    /* Where connections are kept: makes a check as a request, of which target_check_sent() and then
     * target_check_passed(), _failed() or _void() tell, unless check_end() comes first. False when memory is
     * short. From target_set_tick() only. */
    bool (*check)(void *owner, struct target *target, int64_t now);
    void (*check_end)(void *owner, struct target *target, int64_t now);
};

/* All targets of a listener. Owned by who created it. */
struct target_set {
    const struct target_driver *driver;
    const struct target_hooks *hooks;
    void *owner; /* for the hooks; NULL while the set is being destroyed */
    struct target_set_settings settings;
    void **all_slots;        /* of the process: see target/slot.h */
    struct target **targets; /* in the order of the settings */
    size_t count;
    struct list retired;
    struct health_trials trials;
    uint64_t jitter;              /* state of the random numbers for back-offs; not 0 */
    bool has_usable;              /* `usable` is to be called */
    bool waits_for_slots;         /* targets may do so */
    bool is_wanted;               /* something waits for a target: no back-off is long */
    struct target **next_targets; /* between target_set_prepare() and what follows it */
    struct target_set_settings next_settings;
};

/* Makes a set at `set`, which is zeroed but for what a driver embeds it in. The name of the listener in `settings` must
 * outlive the set; the targets are copied. `all_slots` belongs to all sets of the process together; `jitter` is any
 * number. False when memory is short: nothing is left to be closed then. */
bool target_set_open(struct target_set *set, const struct target_driver *driver,
                     const struct target_hooks *hooks, void *owner, void **all_slots, uint64_t jitter,
                     struct target_set_settings settings);

/* No attempt but the set's own may be running. */
void target_set_close(struct target_set *set);

/* When target_set_tick() is wanted; TARGET_NEVER: not before something else happens. */
int64_t target_set_due(const struct target_set *set);

/* Ends back-offs that have passed, starts probes, and tells the owner of what may be usable. */
void target_set_tick(struct target_set *set, int64_t now);

/* Makes what other settings need. One of these follows: commit, from which on `settings` count (as in
 * target_set_open(); targets whose address is still there go on, the others are retired), or
 * rollback. False when memory is short: nothing has happened then. */
bool target_set_prepare(struct target_set *set, struct target_set_settings settings);
void target_set_commit(struct target_set *set, int64_t now);
void target_set_rollback(struct target_set *set);

/* Whether a target waits for connections of the listener's other generations to go. */
bool target_set_is_held(const struct target_set *set);

/* Whoever waits for a slot has to ask for it between these two, or is forgotten; targets that are to be tried again
 * apart. */
void target_set_begin_asking(struct target_set *set);
void target_set_end_asking(struct target_set *set);

/* Picks the target for a client as `balance` says: one that is up, not left out, and has room; backup targets only
 * while there is no other; one that may be tried again only while none at all is up. NULL: none now, wait for
 * target_hooks.usable. */
struct target *target_choose(struct target_set *set, const struct address *client, int64_t now);

/* Starts connecting to a target. The result always comes later. NULL when memory is short: then nothing was
 * started. The caller has one descriptor reserved for it. */
struct target_attempt *target_connect(struct target *target, target_result *result, void *data);

/* How an attempt ended, from the driver, which frees it afterwards. `text` says why, for the log. */
void target_attempt_succeeded(struct target_attempt *attempt, int descriptor, int64_t now);
void target_attempt_failed(struct target_attempt *attempt, enum reason reason, const char *text, int64_t now);

/* An attempt has found out that these are the addresses of the target's name. False: there is no slot for it, as one of
 * them turns out to be another target's too; target_attempt_yielded() is to follow, which is no failure, but has the
 * same result. */
bool target_resolved(struct target *target, const struct address *addresses, size_t count);
void target_attempt_yielded(struct target_attempt *attempt, int64_t now);

/* Gives an attempt up without a result. It does not count as a failure of the target. */
void target_cancel(struct target_attempt *attempt, int64_t now);

/* A connection to the target was closed. `was_left`: the target had ended it, so that it has room for another. */
void target_release(struct target *target, bool was_left, int64_t now);

/* Whether something waits for a target now: back-offs last a second at most then, and slots are waited for. */
void target_set_want(struct target_set *set, bool is_wanted);

/* Whether all targets that take new work are down, none of them only because others have its slots. */
bool target_set_is_down(const struct target_set *set);

/* Whether the one connection that there is to the target's address was made so soon after the end of the last one
 * that the target may not have noticed that end yet. */
bool target_settles(const struct target *target, int64_t now);

/* A kept connection has shown that the target works: it is up. */
void target_succeed(struct target *target, int64_t now);

/* A kept connection has ended by a client's doing, which says nothing of the target: a trial is made again. */
void target_leave_undecided(struct target *target, int64_t now);

/* A kept connection turned out useless: counts as a failed attempt. `text` says why, for the log. */
void target_fail(struct target *target, enum reason reason, const char *text, int64_t now);

/* Why a target that is down failed last, for the log; NULL if none is down. */
const char *target_set_failure(const struct target_set *set);

/* The targets that can be seen: those of the settings in their order, then those that still have connections after
 * a reload has taken them away. How many there are; the one at an index. */
size_t target_set_count_shown(const struct target_set *set);
const struct target *target_set_shown(const struct target_set *set, size_t index);

/* What the target is like now; in_flight is its connections, for owners who know better to correct. */
void target_describe(const struct target *target, struct service_target *description);

/* Whether it is up, and gets work. */
static inline bool target_takes_work(const struct target *target)
{
    return target->state == TARGET_UP && target->settings->weight > 0 && !health_is_left_out(target);
}

static inline bool target_is_retired(const struct target *target)
{
    return target->state == TARGET_RETIRED;
}

/* Whether it gets no new work, but finishes what it has. */
static inline bool target_is_draining(const struct target *target)
{
    return target_is_retired(target) || target->settings->weight == 0;
}

/* Has the owner of the set told, by the next tick, that a target may be usable. */
static inline void target_set_note_usable(struct target_set *set)
{
    if (set->owner == NULL)
        return;
    set->has_usable = true;
    set->driver->wake(set);
}

#endif
