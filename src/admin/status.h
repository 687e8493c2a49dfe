/* The state of everything as JSON, and as a table for people; proximux-admin(7) describes both. */
#ifndef ADMIN_STATUS_H
#define ADMIN_STATUS_H

#include "admin/history.h"
#include "admin/view.h"
#include "base/buffer.h"

/* Each appends to `out`, which has failed when memory was short. */
void status_print(const struct admin_source *source, const struct history_book *book, struct buffer *out);
void status_print_history(const struct admin_source *source, const struct history_book *book,
                          struct buffer *out);
void status_print_table(const struct admin_source *source, const struct history_book *book,
                        struct buffer *out);

/* The key of a line of the table in base/counters.h: its name without "listener_" or "target_" at the
 * beginning, and "_total" or "_seconds" at the end. `text` takes STATUS_KEY_SIZE; returns it. */
#define STATUS_KEY_SIZE 64
const char *status_key(const struct counter *counter, char *text);

#endif
