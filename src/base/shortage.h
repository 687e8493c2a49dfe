/* Says in the log that memory is short, for users would look in vain for what became of a client or request
 * otherwise, without letting what fails again and again flood the log. */
#ifndef BASE_SHORTAGE_H
#define BASE_SHORTAGE_H

#include <ev.h>
#include <stdint.h>

/* Owned by whoever embeds it; shortage_stop() before the loop is destroyed. */
struct shortage {
    struct ev_loop *loop; /* NULL: not yet in use */
    ev_timer pause;
    uint64_t unsaid; /* since the last line */
};

void shortage_init(struct shortage *shortage, struct ev_loop *loop);

/* A client or request of `source` was given up for want of memory. The first is said at once; those of the
 * next second are summed up in one line at its end. */
void shortage_note(struct shortage *shortage, const char *source);

/* Says what is unsaid and stops the timer. */
void shortage_stop(struct shortage *shortage);

#endif
