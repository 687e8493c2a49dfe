/* The shared modes: many clients, few target connections. Binds sockets and timers to the multiplexer
 * (mux/mux.h), which decides what goes where; the pool decides when connections are made, and to which
 * target.
 *
 * All that one turn of the loop brings is read first. At its end, what the multiplexer wants written leaves
 * in one write per client and per target connection. */
#ifndef STREAM_STREAM_H
#define STREAM_STREAM_H

#include "config/settings.h"
#include "net/runtime.h"
#include "net/service.h"

/* The clients and target connections of one listener. For each client one descriptor is reserved by the
 * listener; what is needed for all clients together is taken out of the account here. Holds a reference to
 * `settings`; copies `owner`. NULL with errno when memory is short, or descriptors (EMFILE). */
struct service *stream_service_create(struct runtime *runtime, struct listener_settings *settings,
                                      const struct service_owner *owner);

/* The clients of a listener that shares targets: `owner_service` is that of the listener that has them, and what it
 * is made of stays until the last of its doors has gone. NULL with errno when memory is short. */
struct service *stream_door_create(struct listener_settings *settings, const struct service_owner *owner,
                                   struct service *owner_service);

/* How many descriptors are needed, whatever the number of clients. */
size_t stream_descriptors(const struct listener_settings *settings);

#endif
