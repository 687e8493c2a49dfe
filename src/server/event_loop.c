#include "base/log.h"
#include "server/server_state.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The process ends here: a failure inside of libev can't be cleaned up. */
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

static void event_loop_woken(struct ev_loop *, ev_async *, int)
{
}

static void event_loop_note_pending(struct ev_loop *loop)
{
    *(bool *)ev_userdata(loop) = ev_pending_count(loop) > 0;
}

/* Signals and other threads wake the loop up by a descriptor of its own. That the kernel can't watch it libev
 * does not tell, and aborts at the first signal. A pending event of the only watcher tells it. */
static bool event_loop_can_be_woken(struct ev_loop *loop)
{
    bool is_pending = false;
    ev_async watcher;
    ev_async_init(&watcher, event_loop_woken);
    ev_async_start(loop, &watcher);
    ev_set_userdata(loop, &is_pending);
    ev_set_invoke_pending_cb(loop, event_loop_note_pending);
    ev_run(loop, EVRUN_NOWAIT);
    ev_set_invoke_pending_cb(loop, ev_invoke_pending);
    ev_set_userdata(loop, NULL);
    ev_async_stop(loop, &watcher);
    return !is_pending;
}

struct ev_loop *event_loop_create(void)
{
    ev_set_allocator(event_loop_allocate);
    ev_set_syserr_cb(event_loop_give_up);
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    if (loop == NULL)
        return NULL;
    errno = 0;
    if (event_loop_can_be_woken(loop))
        return loop;
    int error = errno != 0 ? errno : ENOMEM;
    ev_loop_destroy(loop);
    errno = error;
    return NULL;
}
