/* Proxy mode: each client gets a target connection of its own, and bytes are piped both ways. */
#ifndef PIPE_PIPE_H
#define PIPE_PIPE_H

#include "config/settings.h"
#include "net/runtime.h"
#include "net/service.h"

/* The sessions of one listener. For each client two descriptors are reserved: its own and one for a target
 * connection. Holds a reference to `settings`; copies `owner`. NULL when memory is short. */
struct service *pipe_service_create(struct runtime *runtime, struct listener_settings *settings,
                                    const struct service_owner *owner);

#endif
