/* What the test and the shim inside of the program under test share: a file that both have mapped. The shim
 * counts calls in it; the test says in it which call is to fail. */
#ifndef TORTURE_CONTROL_H
#define TORTURE_CONTROL_H

#include <stdatomic.h>
#include <stdint.h>

/* The environment variable that names the file. */
#define TORTURE_VARIABLE "TORTURE_CONTROL"

#define TORTURE_PLACES     24
#define TORTURE_PLACE_SIZE 96
#define TORTURE_ERRORS     8

/* The calls that can be made to fail, those that fail alike under one name, and what each may fail with. */
#define TORTURE_CALLS(CALL)                                                                                  \
    CALL(memory, ENOMEM)                                                                                     \
    CALL(mmap, ENOMEM)                                                                                       \
    CALL(socket, EMFILE, ENFILE, ENOBUFS, ENOMEM, EAFNOSUPPORT)                                              \
    CALL(socketpair, EMFILE, ENOMEM)                                                                         \
    CALL(bind, EADDRINUSE, EACCES, ENOMEM)                                                                   \
    CALL(listen, EADDRINUSE)                                                                                 \
    CALL(accept4, EMFILE, ECONNABORTED, ENFILE, ENOBUFS, EINTR, ENOMEM, EPROTO)                              \
    CALL(connect, ECONNREFUSED, EADDRNOTAVAIL, ENETUNREACH, ENOBUFS)                                         \
    CALL(setsockopt, ENOMEM, ENOBUFS)                                                                        \
    CALL(getsockopt, ENOBUFS)                                                                                \
    CALL(getsockname, ENOBUFS)                                                                               \
    CALL(shutdown, ENOTCONN)                                                                                 \
    CALL(receive, ECONNRESET, EAGAIN, EINTR, ETIMEDOUT)                                                      \
    CALL(send, EPIPE, EAGAIN, ENOBUFS, EINTR, ECONNRESET, ENOMEM)                                            \
    CALL(splice, ENOMEM, EPIPE, EAGAIN, ECONNRESET)                                                          \
    CALL(epoll_create, EMFILE, ENOMEM)                                                                       \
    CALL(epoll_ctl, ENOMEM, ENOSPC)                                                                          \
    CALL(epoll_wait, EINTR)                                                                                  \
    CALL(poll, EINTR, ENOMEM)                                                                                \
    CALL(eventfd, EMFILE, ENFILE, ENOMEM)                                                                    \
    CALL(timerfd, EMFILE, ENOMEM)                                                                            \
    CALL(inotify, EMFILE, ENOSPC)                                                                            \
    CALL(pipe, EMFILE, ENFILE)                                                                               \
    CALL(open, EMFILE, ENFILE, EACCES, ENOMEM)                                                               \
    CALL(duplicate, EMFILE, ENOMEM)                                                                          \
    CALL(read, EINTR, EIO)                                                                                   \
    CALL(write, EINTR, ENOSPC, EIO, EAGAIN)                                                                  \
    CALL(stat, ENOMEM, EACCES)                                                                               \
    CALL(file, EACCES, EROFS, ENOSPC)                                                                        \
    CALL(thread, EAGAIN)                                                                                     \
    CALL(fork, EAGAIN, ENOMEM)                                                                               \
    CALL(execute, ENOMEM, ENOENT)                                                                            \
    CALL(limit, EPERM)

#define TORTURE_NAME(name, ...) TORTURE_##name,
enum torture_call { TORTURE_CALLS(TORTURE_NAME) TORTURE_COUNT };
#undef TORTURE_NAME

/* No call at all. */
#define TORTURE_NONE (-1)

struct torture_control {
    /* the test's wishes */
    atomic_int armed;  /* an enum torture_call, or TORTURE_NONE; set last */
    atomic_long from;  /* the call of this kind, counted from 1 since it was armed, ... */
    atomic_long until; /* ... and the last one that fails */
    atomic_int error;  /* what it fails with */
    /* what the shim has seen */
    atomic_long counts[TORTURE_COUNT]; /* calls, until the test clears them */
    atomic_long reached;               /* calls of the armed kind since then */
    atomic_long failed;                /* calls made to fail since then */
    atomic_long living;                /* allocations since main() began, less those freed */
    atomic_int has_returned;           /* main() has */
    /* where the last call that failed came from, innermost first: "object+offset", for addr2line */
    char places[TORTURE_PLACES][TORTURE_PLACE_SIZE];
};

#endif
