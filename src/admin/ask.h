/* Asks a running instance at its admin address: what `proximux -s` does. It waits; not for the loop. */
#ifndef ADMIN_ASK_H
#define ADMIN_ASK_H

#include "base/buffer.h"
#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>

#define ASK_ERROR_SIZE 1024

/* Asks for `path` at the addresses of admin, one after the other until one answers. The answer's body is
 * appended to `body`. False if none answers as it should, with all that was tried, and why it failed, in
 * `error`. */
bool ask_running(const struct listener_settings *admin, const char *path, struct buffer *body, char *error,
                 size_t error_size);

#endif
