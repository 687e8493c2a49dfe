/* Timeouts of one duration in one list, oldest first: starting one is a move to the end. Time is a parameter, in
 * microseconds as clock_now() gives it. base/timer.h drives such a list from the loop. */
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

/* Starts `timeout`, or starts it over, as of `since`; costs a step for each entry that was started later than that. No
 * effect on a disabled list. */
void timeout_start(struct timeout_list *list, struct timeout *timeout, int64_t since);

/* Gives the list another duration. For entries that run, a longer one counts from their start, a shorter one from now
 * at the earliest; with `keep` they stay due when they were. A list that becomes disabled drops all entries. */
void timeout_list_change(struct timeout_list *list, int64_t milliseconds, bool keep, int64_t now);

/* Stops the time of all entries, later ones included, until the list is released. */
void timeout_list_hold(struct timeout_list *list, int64_t now);
void timeout_list_release(struct timeout_list *list, int64_t now);

/* Takes `timeout` off its list, if it is on one. */
void timeout_stop(struct timeout *timeout);

/* When the oldest entry is due, or TIMEOUT_NEVER. */
int64_t timeout_list_due(const struct timeout_list *list);

/* Removes and returns the oldest entry that is due at `now`, or NULL. */
struct timeout *timeout_list_expire(struct timeout_list *list, int64_t now);

#endif
