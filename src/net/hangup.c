#include "net/hangup.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define HOLD_MILLISECONDS 100 /* most pauses in reading are shorter, and cost nothing */
#define BATCH             64  /* the most hang-ups of one turn of the loop */

static void hangups_ready(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct hangups *hangups = watcher->data;
    struct epoll_event event;
    /* libev drops a watcher whose descriptor it could not watch, unless it is set anew. */
    if (events & EV_ERROR) {
        ev_io_set(watcher, watcher->fd, EV_READ);
        ev_io_start(loop, watcher);
    }
    /* One at a time, since the callback for one may close another. */
    for (int i = 0; i < BATCH && epoll_wait(watcher->fd, &event, 1, 0) == 1; i++) {
        hangup_forget(hangups, event.data.ptr);
        hangups->callback(hangups->owner, event.data.ptr);
    }
}

static void hangups_begin(struct timer *timer, struct timeout *timeout)
{
    struct hangups *hangups = timer->owner;
    struct hangup *hangup = list_entry(timeout, struct hangup, timeout);
    struct epoll_event event = { .events = 0, .data.ptr = hangup };
    hangup->is_watched = epoll_ctl(hangups->watcher.fd, EPOLL_CTL_ADD, hangup->descriptor, &event) == 0;
    if (!hangup->is_watched) /* the hang-up is noticed at the next read or write then */
        log_debug(NULL, "a hang-up can't be watched for: %s", strerror(errno));
}

bool hangups_init(struct hangups *hangups, struct ev_loop *loop, hangup_callback *callback, void *owner)
{
    hangups->callback = callback;
    hangups->owner = owner;
    timer_init(&hangups->timer, loop, HOLD_MILLISECONDS, hangups_begin, hangups);
    ev_io_init(&hangups->watcher, hangups_ready, epoll_create1(EPOLL_CLOEXEC), EV_READ);
    hangups->watcher.data = hangups;
    if (hangups->watcher.fd == -1)
        return false;
    ev_io_start(loop, &hangups->watcher);
    return true;
}

void hangups_close(struct hangups *hangups)
{
    timer_stop(&hangups->timer);
    if (hangups->watcher.fd == -1)
        return;
    ev_io_stop(hangups->timer.loop, &hangups->watcher);
    close(hangups->watcher.fd);
}

void hangup_watch(struct hangups *hangups, struct hangup *hangup, int descriptor, int64_t now)
{
    hangup->descriptor = descriptor;
    if (!hangup->is_watched && !list_linked(&hangup->timeout.node))
        timer_start(&hangups->timer, &hangup->timeout, now);
}

void hangup_forget(struct hangups *hangups, struct hangup *hangup)
{
    list_remove(&hangup->timeout.node);
    if (!hangup->is_watched)
        return;
    epoll_ctl(hangups->watcher.fd, EPOLL_CTL_DEL, hangup->descriptor, NULL);
    hangup->is_watched = false;
}
