/* Kernel pipes through which the bytes of large flows move from socket to socket without being copied: see
 * splice(2). A session borrows one for each piece and gives it back when it is empty, which is at once unless the
 * receiving socket takes a part of the piece only. When the last large flow ends, the idle pipes are closed. Used
 * inside this room only. */
#ifndef PIPE_SPLICE_PIPE_H
#define PIPE_SPLICE_PIPE_H

#include "base/list.h"
#include "net/runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Owned by struct splice_pipes while idle, else by the borrower. */
struct splice_pipe {
    struct list_node node; /* among the idle ones */
    int entry;
    int exit;
    size_t length; /* bytes in it */
};

/* Owned by the service. */
struct splice_pipes {
    struct runtime *runtime;
    struct list idle; /* struct splice_pipe */
    size_t count;     /* idle and borrowed ones */
    size_t flows;     /* present large flows */
};

void splice_pipes_init(struct splice_pipes *splice_pipes, struct runtime *runtime);

/* A large flow begins, or ends. The end of the last one closes all idle pipes. */
void splice_pipes_begin(struct splice_pipes *splice_pipes);
void splice_pipes_end(struct splice_pipes *splice_pipes);

/* An empty one, or NULL: the limit is reached, or descriptors are short. */
struct splice_pipe *splice_pipe_borrow(struct splice_pipes *splice_pipes);

/* Bytes that are still in it are lost. */
void splice_pipe_give_back(struct splice_pipes *splice_pipes, struct splice_pipe *splice_pipe);

/* Moves a piece from a socket into an empty splice_pipe, and from a splice_pipe to a socket. As recv() and send():
 * bytes moved, 0 at the end of the stream, -1 with errno; EINVAL: this kind of socket can't. */
ssize_t splice_pipe_fill(struct splice_pipe *splice_pipe, int descriptor);
ssize_t splice_pipe_empty(struct splice_pipe *splice_pipe, int descriptor);

#endif
