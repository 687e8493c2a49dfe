/* The latest errors and warnings of the log, kept for whoever looks. */
#ifndef BASE_LOG_RECENT_H
#define BASE_LOG_RECENT_H

#include "base/log.h"

#include <time.h>

#define LOG_RECENT_COUNT 32

/* One of them. */
struct log_recent {
    int64_t time; /* milliseconds since 1970 */
    enum log_kind kind;
    char source[40]; /* "" for the process itself */
    char message[216];
};

/* Copies them, the newest first, whatever the level of the log; returns how many there are. `lines` has room
 * for LOG_RECENT_COUNT. Their texts may hold any bytes. */
size_t log_recent(struct log_recent *lines);

/* Keeps one in place of the oldest; for log.c alone. `source` may be NULL. */
void log_recent_keep(enum log_kind kind, const struct timespec *when, const char *source,
                     const char *message);

#endif
