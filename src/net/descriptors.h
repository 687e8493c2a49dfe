/* The account of file descriptors. A client is accepted only when its target connection's can be reserved too: who
 * can't reserve any waits here, and is called when descriptors come back. */
#ifndef NET_DESCRIPTORS_H
#define NET_DESCRIPTORS_H

#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>

struct descriptors {
    size_t available;
    struct list waiters; /* struct descriptors_waiter */
};

/* Embedded in its owner, which takes it off the list (list_remove()) before it is freed. */
struct descriptors_waiter {
    struct list_node node;
    size_t count;                                      /* of descriptors it waits for */
    void (*resume)(struct descriptors_waiter *waiter); /* called once per wait, off the list */
};

/* Raises the soft limit of open files to the hard one and, where permitted, the hard one to `wanted`; returns it. Open
 * descriptors and a margin are not in the account. */
size_t descriptors_init(struct descriptors *descriptors, size_t wanted);

/* Reserves `count`. False if fewer are left: none is reserved then. */
bool descriptors_reserve(struct descriptors *descriptors, size_t count);

/* Returns `count`, after they were closed, and calls the waiters for which there are enough now. */
void descriptors_return(struct descriptors *descriptors, size_t count);

void descriptors_wait(struct descriptors *descriptors, struct descriptors_waiter *waiter, size_t count);

#endif
