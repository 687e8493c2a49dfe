/* Reports in the log that memory is short, one line a second at most. */
#ifndef BASE_SHORTAGE_H
#define BASE_SHORTAGE_H

#include <ev.h>
#include <stdint.h>

/* Owned by whoever embeds it; shortage_stop() before the loop is destroyed. */
struct shortage {
    struct ev_loop *loop; /* NULL: not yet in use */
    ev_timer pause;
    uint64_t unreported; /* since the last line */
};

void shortage_init(struct shortage *shortage, struct ev_loop *loop);

/* A client or request of `source` was given up: the first is reported at once, those of the next second together. */
void shortage_note(struct shortage *shortage, const char *source);

/* Reports what was not reported yet and stops the timer. */
void shortage_stop(struct shortage *shortage);

#endif
