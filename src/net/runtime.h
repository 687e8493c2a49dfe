/* What exists once in the process, for all code that runs in the loop. Owned by the server. */
#ifndef NET_RUNTIME_H
#define NET_RUNTIME_H

#include "base/shortage.h"
#include "base/turn.h"
#include "net/descriptors.h"
#include "net/own_sockets.h"
#include "net/resolver.h"

#include <ev.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that one read takes at most; all sessions read into the same buffer. */
#define RUNTIME_READ_SIZE ((size_t)65536)

struct runtime {
    struct ev_loop *loop;
    struct turn turn; /* of the loop */
    struct resolver *resolver;
    struct descriptors descriptors;
    struct shortage shortage;
    void *slots; /* tree (tsearch) of those of all addresses of targets: target/slot.h */
    struct own_sockets own_sockets;
    uint64_t clients;  /* so far: gives each its number */
    char *read_buffer; /* RUNTIME_READ_SIZE bytes, free to use until the next turn of the loop */
};

#endif
