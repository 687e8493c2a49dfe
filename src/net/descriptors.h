/* The account of file descriptors. A client is accepted only when the descriptor that its target connection
 * will need is there too; who can't get any waits here and is called when some come back. */
#ifndef NET_DESCRIPTORS_H
#define NET_DESCRIPTORS_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct descriptors {
    size_t available;
    struct list waiters; /* struct descriptors_waiter */
};

/* Embedded in whoever waits; leave with descriptors_forget() before freeing it. */
struct descriptors_waiter {
    struct list_node node;
    size_t count;                                      /* how many it waits for */
    void (*resume)(struct descriptors_waiter *waiter); /* called once per wait, off the list */
};

/* Raises the soft limit of open files to the hard one and, where permitted, the hard one to `wanted`. Then
 * counts what is open now and sets aside a margin for look-ups, logs and the like. Returns the limit. */
size_t descriptors_init(struct descriptors *descriptors, size_t wanted);

/* Takes `count` out of the account. False if so many are not there: nothing is taken then. */
bool descriptors_reserve(struct descriptors *descriptors, size_t count);

/* Gives `count` back, after the descriptors were closed, and calls those for whom there are enough now. */
void descriptors_return(struct descriptors *descriptors, size_t count);

/* Waits for `count` of them. */
void descriptors_wait(struct descriptors *descriptors, struct descriptors_waiter *waiter, size_t count);
void descriptors_forget(struct descriptors_waiter *waiter);

#endif
