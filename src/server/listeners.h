/* All listeners: those that the configuration has, and those that a reload has taken out of it, until their
 * last client has gone. */
#ifndef SERVER_LISTENERS_H
#define SERVER_LISTENERS_H

#include "listener/listener.h"

#include <stddef.h>

/* Owned by the server, like all listeners in it. */
struct listeners {
    struct listener **running; /* in the order of the configuration */
    size_t count;
    struct listener **leaving;
    size_t leaving_count;
};

/* Clients of all. */
size_t listeners_clients(const struct listeners *listeners);

/* Whether all have neither sockets nor clients any more. */
bool listeners_are_empty(const struct listeners *listeners);

/* Begins to drain all, those that are in force in this way: listener_drain() or listener_hand_over(). */
void listeners_drain(struct listeners *listeners, void (*begin)(struct listener *listener));
void listeners_close(struct listeners *listeners, enum reason reason);

/* Destroys those that leave and have become empty, writing their totals to the log. */
void listeners_sweep(struct listeners *listeners);

/* Writes what all have done to the log. */
void listeners_log_totals(const struct listeners *listeners);

void listeners_destroy(struct listeners *listeners);

#endif
