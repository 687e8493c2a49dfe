/* The event loop, which can't go on without memory. */
#ifndef SERVER_EVENT_LOOP_H
#define SERVER_EVENT_LOOP_H

#include <ev.h>

/* NULL with errno. Where libev would abort, now or later, the process says in its log what is wrong and ends
 * with status 1. */
struct ev_loop *event_loop_create(void);

#endif
