#include "server/event_loop.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the middle of what libev does nothing can be tidied up. */
static void event_loop_give_up(const char *what)
{
    log_error(NULL, "the event loop can't go on: %s: %s", what, strerror(errno));
    log_stop();
    _exit(EXIT_FAILURE);
}

static void *event_loop_allocate(void *memory, long size)
{
    if (size == 0) {
        free(memory);
        return NULL;
    }
    void *made = realloc(memory, (size_t)size);
    if (made == NULL)
        event_loop_give_up("memory");
    return made;
}

static void event_loop_failed(const char *message)
{
    event_loop_give_up(message);
}

struct ev_loop *event_loop_create(void)
{
    ev_set_allocator(event_loop_allocate);
    ev_set_syserr_cb(event_loop_failed);
    return ev_loop_new(EVFLAG_AUTO);
}
