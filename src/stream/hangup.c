/* Notices clients that reset while they are not read: their input is held back, or they have ended it. The
 * loop has no watcher for that, but an epoll descriptor that is asked for nothing tells of hang-ups all the
 * same. */
#include "base/log.h"
#include "stream/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Most pauses are over sooner, and cost nothing then. */
#define HOLD_MILLISECONDS 100

#define EVENTS_MAX 64

static void hangups_told(struct ev_loop *loop, ev_io *watcher, int events)
{
    if (events & EV_ERROR) { /* the loop could not watch it, and takes it for done unless it is set anew */
        ev_io_set(watcher, watcher->fd, EV_READ);
        ev_io_start(loop, watcher);
    }
    struct epoll_event told[EVENTS_MAX];
    int count = epoll_wait(watcher->fd, told, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++)
        stream_note_client(told[i].data.ptr, EV_CUSTOM);
}

static void hangups_begin(struct timer *timer, struct timeout *timeout)
{
    struct stream_hangups *hangups = timer->owner;
    struct stream_client *client = list_entry(timeout, struct stream_client, timeout);
    struct epoll_event event = { .events = 0, .data.ptr = client };
    if (epoll_ctl(hangups->watcher.fd, EPOLL_CTL_ADD, client->watcher.fd, &event) == 0)
        client->is_held = true;
    else /* it is noticed later then, when it is written to or read again */
        log_debug(client->service->settings->name, "client %llu can't be watched: %s",
                  (unsigned long long)client->number, strerror(errno));
}

bool stream_hangups_init(struct stream_hangups *hangups, struct ev_loop *loop)
{
    timer_init(&hangups->timer, loop, HOLD_MILLISECONDS, hangups_begin, hangups);
    ev_io_init(&hangups->watcher, hangups_told, epoll_create1(EPOLL_CLOEXEC), EV_READ);
    if (hangups->watcher.fd == -1)
        return false;
    ev_io_start(loop, &hangups->watcher);
    return true;
}

void stream_hangups_close(struct stream_hangups *hangups)
{
    timer_stop(&hangups->timer);
    if (hangups->watcher.fd == -1)
        return;
    ev_io_stop(hangups->timer.loop, &hangups->watcher);
    close(hangups->watcher.fd);
}

void stream_hangups_watch(struct stream_client *client, int64_t now)
{
    if (!client->is_held && !list_linked(&client->timeout.node))
        timer_start(&client->service->hangups.timer, &client->timeout, now);
}

void stream_hangups_forget(struct stream_client *client)
{
    timeout_stop(&client->timeout);
    if (client->is_held)
        epoll_ctl(client->service->hangups.watcher.fd, EPOLL_CTL_DEL, client->watcher.fd, NULL);
    client->is_held = false;
}
