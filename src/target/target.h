/* The targets of a listener: which are up, which one is next, and how a connection to one is made. Used alike
 * by every mode.
 *
 * A target is UP until an attempt fails; then it is DOWN for a back-off that doubles with each further
 * failure. When that has passed it may be TRIED once: by a waiting client if no other target is up, else by a
 * probe, whose connection is closed again. The first success makes it UP.
 *
 *        attempt failed              back-off passed           attempt started
 *   UP -----------------> DOWN -----------------------> RETRY -----------------> TRYING
 *   ^                      ^                                                        |  |
 *   |                      +----------------- attempt failed -----------------------+  |
 *   +---------------------------------------- attempt succeeded ----------------------+
 *
 * Where connections are kept (see target_set_keep_connections()), a connection alone proves little: the
 * target stays in TRYING until its owner says what the connection was good for, by target_succeed() or
 * target_fail(). */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include "base/counters.h"
#include "base/timer.h"
#include "config/settings.h"
#include "net/runtime.h"
#include "net/service.h"

enum target_state { TARGET_UP, TARGET_DOWN, TARGET_RETRY, TARGET_TRYING };

struct target_set;
struct target_attempt;
struct target_place;

/* One target. Owned by its set. When its settings go it is retired: it has no part in choices any more, takes
 * what is being connected still, and is freed when its last connection has gone. */
struct target {
    struct target_set *set;
    const struct target_settings *settings; /* a copy of its own */
    struct list_node node;                  /* among the retired ones */
    struct list_node in_place;
    struct list_node in_waiting; /* for a connection of its place */
    struct target_place *place;
    size_t index; /* in the set */
    bool is_retired;
    bool is_kept; /* by the settings that are being prepared */
    enum target_state state;
    int64_t connections;                /* live ones and attempts that are running */
    int64_t load;                       /* what least_connections compares; set before each choice */
    int64_t credit;                     /* for round robin */
    int64_t retry_delay;                /* milliseconds; of the next back-off */
    ev_timer retry;                     /* the back-off that is running */
    struct resolver_name *name;         /* NULL if the address is numeric or a path */
    struct list waiting;                /* attempts that wait for the name */
    struct target_attempt *probe;       /* running, or NULL */
    const struct target_attempt *trial; /* in TRYING: the one that decides; NULL: it has connected */
    ev_timer refresh;                   /* until the name is looked up again for the connections kept */
    struct address good_address;        /* the one that worked last: tried first */
    enum reason failure;                /* why it is not up */
    char failure_text[160];
    struct target_counters counters;
};

/* Called when a target may have become usable: it came up, has room again, or may be tried once more. Comes
 * from the loop, and from inside target_release() and target_cancel(). */
typedef void target_usable(void *owner);

/* The name of a target has been looked up: its addresses may be others now. Comes from the loop. */
typedef void target_looked_up(void *owner, struct target *target);

/* Somebody else waits for a place that connections of this set hold: those that are not needed are to be
 * closed. May come from inside any call that chooses a target or closes a connection: to be done later. */
typedef void target_yield(void *owner);

/* All targets of a listener. Owned by who created it. */
struct target_set {
    struct runtime *runtime;
    const struct listener_settings *settings;
    struct target **targets; /* in the order of the settings */
    size_t count;
    struct list retired;
    size_t next; /* where ties between targets are decided from */
    struct timer connect_timer;
    target_usable *usable;       /* NULL while the set is being destroyed */
    target_looked_up *looked_up; /* NULL unless connections are kept */
    target_yield *yield;         /* likewise */
    void *owner;
    struct target **next_targets; /* between target_set_prepare() and what follows it */
    const struct listener_settings *next_settings;
};

/* `settings` must outlive the set. NULL when memory is short. */
struct target_set *target_set_create(struct runtime *runtime, const struct listener_settings *settings,
                                     target_usable *usable, void *owner);

/* Tells the set that its owner keeps connections for many clients. A target whose back-off has passed is then
 * tried by the owner, from inside target_usable(), and not by a probe; if the owner does not, it waits once
 * more. The owner says what a connection proved. Names are looked up again, as long as there are connections,
 * when their answers have become too old. */
void target_set_keep_connections(struct target_set *set, target_looked_up *looked_up, target_yield *yield);

/* Makes what other settings need. One of these follows: commit, from which on `settings` count (they must
 * outlive the set; targets with the same address and options stay as they are, the others are retired), or
 * rollback. False when memory is short: nothing has happened then. */
bool target_set_prepare(struct target_set *set, const struct listener_settings *settings);
void target_set_commit(struct target_set *set);
void target_set_rollback(struct target_set *set);

/* Whether a target waits for connections of other generations to go. */
bool target_set_is_held(const struct target_set *set);

/* Nobody needs a connection any more. */
void target_set_forget(struct target_set *set);

/* No attempt but the set's own may be running. NULL is allowed. */
void target_set_destroy(struct target_set *set);

/* Picks the target for a client as `balance` says: one that is up and has room; backup targets only while no
 * other is up; one that may be tried again only while none at all is up. NULL: none now, wait for
 * target_usable(). */
struct target *target_choose(struct target_set *set, const struct address *client);

/* What became of an attempt. On success `descriptor` (owned by the callee from now on) is connected and
 * counts as one of the target's connections until target_release(); else it is -1, the count is gone and the
 * target is down. The attempt is freed after the call. */
typedef void target_result(void *data, struct target *target, int descriptor);

/* Starts connecting to a target that target_choose() gave, looking its name up if need be and trying its
 * addresses in turn. The result always comes later, from the loop. NULL when memory is short: then nothing
 * was started. The caller has one descriptor reserved for it. */
struct target_attempt *target_connect(struct target *target, target_result *result, void *data);

/* Gives an attempt up without a result. It does not count as a failure of the target. */
void target_cancel(struct target_attempt *attempt);

/* A connection to the target was closed. May call target_usable(). */
void target_release(struct target *target);

/* A kept connection has shown that the target works: it is up. May call target_usable(). */
void target_succeed(struct target *target);

/* A kept connection turned out useless: counts as a failed attempt. `text` says why, for the log. */
void target_fail(struct target *target, enum reason reason, const char *text);

/* Why a target that is down failed last, for the log; NULL if none is down. */
const char *target_set_failure(const struct target_set *set);

/* What the target is like now; in_flight is its connections, for owners who know better to correct. */
void target_describe(const struct target *target, struct service_target *description);

/* Tells the owner of the set that a target may be usable now. */
void target_set_notify(struct target_set *set);

#endif
