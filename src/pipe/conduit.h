/* Kernel pipes through which the bytes of large flows move from socket to socket without being copied: see
 * splice(2). One is borrowed for each piece and given back when it is empty; only if the receiving socket
 * does not take all of the piece does it stay with a session, and only so many may. When the last large flow
 * is over, so are they. Used inside this room only. */
#ifndef PIPE_CONDUIT_H
#define PIPE_CONDUIT_H

#include "base/list.h"
#include "net/runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Owned by the store, or by who has borrowed it. */
struct conduit {
    struct list_node node; /* among those that nobody has */
    int entry;
    int exit;
    size_t length; /* bytes in it */
};

/* Owned by the service. */
struct conduits {
    struct runtime *runtime;
    struct list idle; /* struct conduit */
    size_t count;     /* of all there are */
    size_t flows;     /* large ones that go on */
};

void conduits_init(struct conduits *conduits, struct runtime *runtime);

/* A large flow begins; one is over. When the last one is, those conduits are closed that nobody has. */
void conduits_begin(struct conduits *conduits);
void conduits_end(struct conduits *conduits);

/* An empty one, or NULL: there are enough, or no descriptors. */
struct conduit *conduit_borrow(struct conduits *conduits);

/* What is still in it is lost. */
void conduit_give_back(struct conduits *conduits, struct conduit *conduit);

/* Moves a piece from a socket into an empty conduit, and from a conduit to a socket. As recv() and send():
 * bytes moved, 0 at the end of the stream, -1 with errno; EINVAL: this kind of socket can't. */
ssize_t conduit_fill(struct conduit *conduit, int descriptor);
ssize_t conduit_empty(struct conduit *conduit, int descriptor);

#endif
