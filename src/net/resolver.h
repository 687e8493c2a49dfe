/* Looks names up with c-ares, never blocking the loop. Each name keeps its last answer: it is used until its
 * TTL (held between 1 and 300 seconds) has passed, and beyond that while the resolver fails. */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include "net/address.h"

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct resolver;

/* A name that is connected to again and again. Owned by the caller of resolver_add(). */
struct resolver_name;

/* What is known of a name. */
struct resolver_answer {
    struct address *addresses; /* ports 0 */
    size_t count;
    int64_t fresh_until; /* microseconds; a moment from now if the look-up failed */
    char failure[128];   /* of the last look-up; "": the addresses are its answer */
};

/* Called from the loop, never from inside another function of this file, when a look-up has ended, well or not. */
typedef void resolver_callback(void *data);

/* NULL when memory is short or c-ares can't start; the reason is in `error`. */
struct resolver *resolver_create(struct ev_loop *loop, char *error, size_t error_size);

/* All names must have been removed. NULL is allowed. */
void resolver_destroy(struct resolver *resolver);

/* Reads resolv.conf anew, changes of which are noticed anyway, and repeats pending look-ups. */
void resolver_renew(struct resolver *resolver);

/* Adds a name without a look-up; it starts with the addresses of another one of the same host, if any. `source`
 * (for the log) and `host` must outlive it. NULL when memory is short. */
struct resolver_name *resolver_add(struct resolver *resolver, const char *source, const char *host,
                                   resolver_callback *callback, void *data);

/* Removes a name, with its pending look-up; the callback is not called any more. */
void resolver_remove(struct resolver_name *name);

/* Makes sure that the addresses are current. True: they are; there may be none if the look-up failed at once. False: a
 * look-up is under way and the callback will be called, within five seconds. */
bool resolver_lookup(struct resolver_name *name);

/* The last answer; valid until the loop runs again. */
const struct resolver_answer *resolver_answer(const struct resolver_name *name);

#endif
