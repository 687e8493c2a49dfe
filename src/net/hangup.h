/* Notices peers that hang up while they are not read. The loop has no watcher for that, but an epoll
 * descriptor that is asked for nothing tells of hang-ups all the same. */
#ifndef NET_HANGUP_H
#define NET_HANGUP_H

#include "base/timer.h"

#include <ev.h>
#include <stdbool.h>

/* Embedded in what is watched; all zero while it is not. */
struct hangup {
    struct timeout timeout; /* until it is worth watching */
    int descriptor;
    bool is_watched;
};

/* The peer has hung up, which is told once: it was reset, or both directions have ended. May free what it is
 * about. */
typedef void hangup_seen(void *owner, struct hangup *hangup);

/* Embedded in its owner. */
struct hangups {
    ev_io watcher; /* of the epoll descriptor */
    struct timer timer;
    hangup_seen *seen;
    void *owner;
};

/* False with errno when there is no descriptor; hangups_close() is due all the same. */
bool hangups_init(struct hangups *hangups, struct ev_loop *loop, hangup_seen *seen, void *owner);
void hangups_close(struct hangups *hangups);

/* The descriptor is not read from now on; it is read again, or about to be closed. */
void hangup_watch(struct hangups *hangups, struct hangup *hangup, int descriptor, int64_t now);
void hangup_forget(struct hangups *hangups, struct hangup *hangup);

#endif
