/* Connections of trusted proxies, which have to begin with a PROXY header: the header names the client. No byte
 * behind the header is read. */
#ifndef LISTENER_PROXY_HEADER_H
#define LISTENER_PROXY_HEADER_H

#include "base/list.h"
#include "base/reason.h"
#include "base/timer.h"
#include "net/address.h"
#include "net/runtime.h"

#include <stdbool.h>
#include <stddef.h>

/* A header has come from the proxy at `sender`, which brings the client `client` to `destination` (NULL: the
 * proxy is the client itself, of our socket). With a `reason` other than REASON_NONE there is none, and `client`
 * is the proxy. The descriptor is the callee's now. */
typedef void header_ended(void *owner, int descriptor, const struct address *sender,
                          const struct address *client, const struct address *destination,
                          enum reason reason);

/* Owned by the listener. */
struct header_waits {
    struct runtime *runtime;
    struct list waiting;
    size_t count;
    struct timer timer;
    header_ended *ended;
    void *owner;
};

void header_waits_init(struct header_waits *waits, struct runtime *runtime, header_ended *ended, void *owner);

/* Waits for the header of a connection that was just accepted, at most five seconds. `ended` is called once,
 * possibly from inside this function; a descriptor for which memory is short ends with REASON_INTERNAL. */
void header_waits_add(struct header_waits *waits, int descriptor, const struct address *sender);

/* Ends all that still wait. */
void header_waits_close(struct header_waits *waits, enum reason reason);

#endif
