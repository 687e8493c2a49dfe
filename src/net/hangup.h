/* Notices peers that hang up while they are not read. libev has no watcher for that, but epoll reports hang-ups
 * of a descriptor that is watched for no event. */
#ifndef NET_HANGUP_H
#define NET_HANGUP_H

#include "base/timer.h"

#include <ev.h>
#include <stdbool.h>

/* Embedded in what is watched; all zero while it is not. */
struct hangup {
    struct timeout timeout; /* until it is watched */
    int descriptor;
    bool is_watched;
};

/* Called once when the peer has hung up: it was reset, or both directions have ended. May free the hangup. */
typedef void hangup_callback(void *owner, struct hangup *hangup);

/* Embedded in its owner. */
struct hangups {
    ev_io watcher; /* of the epoll descriptor */
    struct timer timer;
    hangup_callback *callback;
    void *owner;
};

/* False with errno when there is no descriptor; hangups_close() is due all the same. */
bool hangups_init(struct hangups *hangups, struct ev_loop *loop, hangup_callback *callback, void *owner);
void hangups_close(struct hangups *hangups);

/* For a descriptor that is not read from now on; for one that is read again, or about to be closed. */
void hangup_watch(struct hangups *hangups, struct hangup *hangup, int descriptor, int64_t now);
void hangup_forget(struct hangups *hangups, struct hangup *hangup);

#endif
