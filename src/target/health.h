/* Whether a target that can be connected to does its work. What its connections show of it is noted here, for every
 * mode; the newest failure is remembered to be shown, and the first of a kind is told.
 *
 * A target is sick after `fail_after` failures with no good answer between. So that no client can switch it off, and no
 * dead device behind it, these have to be of as many client addresses as ask (at most `fail_after`), and of two parts
 * (see protocol.part), unless only one is asked for. Who asks is not known to have stopped: it asked a moment ago, or
 * pauses no longer than twice as usual, and a minute. The first 64 bits of an address of IPv6 are that of a client. It
 * is left out while another target is up and well. Then it is tried, by one request at a time, of an address that did
 * not fail in this sickness if such a one asks; the pause doubles with each trial, and 7 answers lie between two trials
 * of a client. One good answer ends the sickness. If all are sick, the one whose last failure is longest ago has its
 * turn, backup or not.
 *
 * Where the target is checked, see target_check.h, `fall` checks that fail make it sick too, it takes `rise` good
 * answers to end that, and no request tries it. Before `rise` have come at all, it is left out as a sick one is.
 *
 * Pure logic, as target.h. */
#ifndef TARGET_HEALTH_H
#define TARGET_HEALTH_H

#include "base/reason.h"
#include "net/address.h"

#include <stdbool.h>
#include <stdint.h>

struct target;

/* Clients, and parts, of which is remembered when they asked last. */
#define HEALTH_ASKERS 8

struct health_asker {
    uint64_t id;
    int64_t asked; /* microseconds; 0: there is none */
    int64_t every; /* microseconds: the longest pause of late */
    bool failed;   /* since the last good answer */
};

struct target_health {
    bool is_sick;
    int64_t failures;          /* since the last good answer */
    unsigned kinds;            /* of these, a bit for each reason */
    unsigned told;             /* those of them that were logged */
    int64_t told_at;           /* when one was; 0: never */
    int64_t change_told_at[2]; /* that it became well, and sick; 0: never */
    int64_t changes;           /* since such a line */
    bool is_change_untold;     /* the last of these */
    int64_t trial_at;          /* sick: when it may be tried again */
    int64_t trial_pause;       /* milliseconds: what passes until then, but for chance */
    /* Where the target is checked. */
    bool is_proved;        /* as many good answers as `rise` came since it was new, or went down */
    int64_t good;          /* in a row */
    int64_t failed_checks; /* in a row */
    int64_t worked;        /* the last good answer */
    struct health_asker clients[HEALTH_ASKERS];
    struct health_asker parts[HEALTH_ASKERS];
};

/* Who made trials last, of all targets of a set: at most one of 8 requests of a client is one. */
struct health_trials {
    struct health_trier {
        uint64_t id;     /* 0: nobody */
        int64_t answers; /* that it has had since */
    } triers[HEALTH_ASKERS];
    size_t count;    /* of the different ones */
    int64_t answers; /* that anybody has had since the last trial */
};

/* What went wrong with a request to a target. */
struct health_fault {
    enum reason reason;
    const char *text; /* what was seen, and what would help: a phrase; "": what the reason stands for */
    bool is_told_only;
    uint64_t client; /* health_client() of who asked */
    uint64_t part;
};

/* What a client's address counts as: never 0. */
uint64_t health_client(const struct address *address);

/* A request was answered in time; one was not. */
void health_worked(struct target *target, uint64_t client, uint64_t part, int64_t now);
void health_failed(struct target *target, const struct health_fault *fault, int64_t now);

/* A check was good, or failed: why, in a phrase. */
void health_check_passed(struct target *target, int64_t now);
void health_check_failed(struct target *target, enum reason reason, const char *text, int64_t now);

/* It went down: checks have to prove it anew. */
static inline void health_forget_proof(struct target_health *health)
{
    health->is_proved = false;
    health->good = 0;
    health->failed_checks = 0;
}

/* Whether it is checked, and neither proved yet nor sick; whether by its checks it is not to be used. */
bool health_is_proving(const struct target *target);
bool health_is_disproved(const struct target *target);

/* Other settings of the set are in force: a pause does not last longer than by these. */
void health_reconfigure(struct target *target, int64_t now);

/* Whether it gets no work, because it is sick and another target is up and well, or as sick and has its turn. */
bool health_is_left_out(const struct target *target);

/* Whether the next request of this client, which could go to the target if that were well, is to try it: then
 * health_try() has to be called if it does. */
bool health_may_try(struct target *target, uint64_t client, int64_t now);
void health_try(struct target *target, uint64_t client, int64_t now);

#endif
