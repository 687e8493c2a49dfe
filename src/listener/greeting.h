/* Clients that a trusted proxy brings: their connection has to begin with a PROXY header, and until that has
 * come nobody knows who they are. No byte after the header is touched, and none is kept. */
#ifndef LISTENER_GREETING_H
#define LISTENER_GREETING_H

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
typedef void greeting_ended(void *owner, int descriptor, const struct address *sender,
                            const struct address *client, const struct address *destination,
                            enum reason reason);

/* Owned by the listener. */
struct greetings {
    struct runtime *runtime;
    struct list waiting;
    size_t count;
    struct timer timer;
    greeting_ended *ended;
    void *owner;
};

void greetings_init(struct greetings *greetings, struct runtime *runtime, greeting_ended *ended, void *owner);

/* Waits for the header of a connection that was just accepted, at most five seconds. `ended` is called once,
 * possibly from inside this function; a descriptor for which memory is short ends with REASON_INTERNAL. */
void greetings_add(struct greetings *greetings, int descriptor, const struct address *sender);

/* Ends all that still wait. */
void greetings_close(struct greetings *greetings, enum reason reason);

#endif
