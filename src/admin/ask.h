/* Asks a running instance at its admin address, for `proximux -s`. It blocks, and is not for use in the loop. */
#ifndef ADMIN_ASK_H
#define ADMIN_ASK_H

#include "base/buffer.h"
#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>

#define ASK_ERROR_SIZE 1024

/* Asks for `path` at the addresses of admin, one after the other until one answers, and appends the answer's
 * body to `body`. False if none answers as it should; `error` then names each address and its failure. */
bool ask_running(const struct listener_settings *admin, const char *path, struct buffer *body, char *error,
                 size_t error_size);

#endif
