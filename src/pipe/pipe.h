/* Proxy mode: each client gets a target connection of its own, and bytes are piped both ways. */
#ifndef PIPE_PIPE_H
#define PIPE_PIPE_H

#include "base/reason.h"
#include "config/settings.h"
#include "net/runtime.h"

#include <stdbool.h>
#include <stdint.h>

/* The sessions of one listener. Owned by the listener. */
struct pipe_service;

/* What one session was like, told when it ends. */
struct pipe_summary {
    enum reason reason;
    uint64_t bytes_from_client;
    uint64_t bytes_from_target;
};

/* A session has ended and both its descriptors are closed: the listener gives its two places in the account
 * back and forgets the client. It may not destroy the service from here. */
typedef void pipe_ended(void *owner, const struct address *client, const struct pipe_summary *summary);

/* Holds a reference to `settings`. NULL when memory is short. */
struct pipe_service *pipe_service_create(struct runtime *runtime, struct listener_settings *settings,
                                         pipe_ended *ended, void *owner);

/* Ends all sessions with REASON_DRAINED, then frees the service. NULL is allowed. */
void pipe_service_destroy(struct pipe_service *service);

/* Takes over an accepted client, for whom two descriptors are reserved: its own and one for a target
 * connection. From now on `ended` comes exactly once for it, possibly before this function returns (queue
 * full, no memory). */
void pipe_service_accept(struct pipe_service *service, int descriptor, const struct address *client);

/* Ends all sessions now. */
void pipe_service_close(struct pipe_service *service, enum reason reason);

/* Sessions there are; of these, clients waiting for a target connection. */
size_t pipe_service_sessions(const struct pipe_service *service);
size_t pipe_service_waiting(const struct pipe_service *service);

#endif
