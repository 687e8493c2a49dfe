/* Clients that were turned away: all counted, and logged without letting a flood of them flood the log. */
#ifndef LISTENER_REFUSALS_H
#define LISTENER_REFUSALS_H

#include "base/reason.h"
#include "net/address.h"

#include <ev.h>
#include <stdint.h>

/* Owned by the listener. */
struct refusals {
    struct ev_loop *loop;
    const char *source; /* for the log */
    ev_timer pause;
    uint64_t unsaid[REASON_COUNT]; /* refused since the last line, by reason */
};

void refusals_init(struct refusals *refusals, struct ev_loop *loop, const char *source);

/* Logs the first refusal at once; those of the next second are summed up in one line at its end. */
void refusals_note(struct refusals *refusals, const struct address *client, enum reason reason);

/* Says what is unsaid and stops the timer. */
void refusals_stop(struct refusals *refusals);

#endif
