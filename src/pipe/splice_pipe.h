/* Kernel pipes through which the bytes of large flows move from socket to socket without being copied: see
 * splice(2). One is borrowed for each piece and given back when it is empty; only if the receiving socket
 * does not take all of the piece does it stay with a session, and only so many may. When the last large flow
 * is over, so are they. Used inside this room only. */
#ifndef PIPE_SPLICE_PIPE_H
#define PIPE_SPLICE_PIPE_H

#include "base/list.h"
#include "net/runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Owned by the store, or by who has borrowed it. */
struct splice_pipe {
    struct list_node node; /* among those that nobody has */
    int entry;
    int exit;
    size_t length; /* bytes in it */
};

/* Owned by the service. */
struct splice_pipes {
    struct runtime *runtime;
    struct list idle; /* struct splice_pipe */
    size_t count;     /* of all there are */
    size_t flows;     /* large ones that go on */
};

void splice_pipes_init(struct splice_pipes *splice_pipes, struct runtime *runtime);

/* A large flow begins; one is over. When the last one is, those splice_pipes are closed that nobody has. */
void splice_pipes_begin(struct splice_pipes *splice_pipes);
void splice_pipes_end(struct splice_pipes *splice_pipes);

/* An empty one, or NULL: there are enough, or no descriptors. */
struct splice_pipe *splice_pipe_borrow(struct splice_pipes *splice_pipes);

/* What is still in it is lost. */
void splice_pipe_give_back(struct splice_pipes *splice_pipes, struct splice_pipe *splice_pipe);

/* Moves a piece from a socket into an empty splice_pipe, and from a splice_pipe to a socket. As recv() and send():
 * bytes moved, 0 at the end of the stream, -1 with errno; EINVAL: this kind of socket can't. */
ssize_t splice_pipe_fill(struct splice_pipe *splice_pipe, int descriptor);
ssize_t splice_pipe_empty(struct splice_pipe *splice_pipe, int descriptor);

#endif
