/* Timeouts of one duration in one list, oldest first. Because all entries of a list last equally long,
 * starting or restarting one is a move to the end: constant time, no timer touched. Pure logic: time is a
 * parameter, in microseconds as clock_now() gives it. base/timer.h drives such a list from the loop. */
#ifndef BASE_TIMEOUT_H
#define BASE_TIMEOUT_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

#define TIMEOUT_NEVER INT64_MAX

struct timeout {
    struct list_node node;
    int64_t since;
};

struct timeout_list {
    struct list entries;
    int64_t duration; /* microseconds; negative: entries are never started */
    bool is_held;     /* time stands still since `held_since` */
    int64_t held_since;
};

/* `milliseconds` as in the configuration; negative disables the list. */
void timeout_list_init(struct timeout_list *list, int64_t milliseconds);

/* Starts `timeout`, or starts it over. No effect on a disabled list. */
void timeout_start(struct timeout_list *list, struct timeout *timeout, int64_t now);

/* The same as if it had been started at `since`, which may lie in the past: for time that is counted on after
 * an interruption. Costs a step for each entry that was started later. */
void timeout_start_since(struct timeout_list *list, struct timeout *timeout, int64_t since);

/* Gives the list another duration. Those that run get it too: one that is longer at once, but nobody is late
 * because of a shorter one before that much time has passed from now. With `keep` they are due when they
 * were. A list that becomes disabled forgets all. */
void timeout_list_change(struct timeout_list *list, int64_t milliseconds, bool keep, int64_t now);

/* Has time stand still for all entries, those that are started meanwhile included, until it is released. */
void timeout_list_hold(struct timeout_list *list, int64_t now);
void timeout_list_release(struct timeout_list *list, int64_t now);

/* Takes `timeout` off its list, if it is on one. */
void timeout_stop(struct timeout *timeout);

/* When the oldest entry is due, or TIMEOUT_NEVER. */
int64_t timeout_list_due(const struct timeout_list *list);

/* Removes and returns the oldest entry that is due at `now`, or NULL. Call it until it says NULL. */
struct timeout *timeout_list_expire(struct timeout_list *list, int64_t now);

#endif
