/* Metrics and the status page, over HTTP. The listener accepts clients as for any other service; libmicrohttpd
 * speaks HTTP with them, inside the loop. When all places are taken, a new client replaces the one that has been
 * idle longest. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "admin/view.h"
#include "base/buffer.h"
#include "config/settings.h"
#include "net/runtime.h"
#include "net/service.h"

/* The service of admin. It reserves descriptors for all its clients, so that admin answers when all others are
 * in use. Holds a reference to `settings`; copies `owner` and `source`. NULL with errno when
 * memory or descriptors (EMFILE) are short. */
struct service *admin_service_create(struct runtime *runtime, struct listener_settings *settings,
                                     const struct service_owner *owner, const struct admin_source *source);

/* For `proximux -s`: asks a running instance for `path` at the addresses of `admin`, one after the other until one
 * answers, and appends the answer's body to `body`. Blocks. False if none answers as it should; `error`, of
 * ADMIN_ASK_ERROR_SIZE, then names each address and its failure. */
#define ADMIN_ASK_ERROR_SIZE 1024
bool admin_ask(const struct listener_settings *admin, const char *path, struct buffer *body, char *error);

#endif
