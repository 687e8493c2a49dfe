/* Metrics and the status page, over HTTP. The listener accepts and hands each client over like to any other
 * service; libmicrohttpd speaks HTTP with it, inside the loop. A client that holds a place without asking for
 * anything loses it as soon as another one wants in. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "admin/view.h"
#include "config/settings.h"
#include "net/runtime.h"
#include "net/service.h"

/* Clients at a time. */
#define ADMIN_CLIENTS 32

/* The clients of admin. Their descriptors are taken out of the account here, so that admin can be asked when
 * all others are in use. Holds a reference to `settings`; copies `owner` and `source`. NULL with errno when
 * memory or descriptors (EMFILE) are short. */
struct service *admin_service_create(struct runtime *runtime, struct listener_settings *settings,
                                     const struct service_owner *owner, const struct admin_source *source);

#endif
