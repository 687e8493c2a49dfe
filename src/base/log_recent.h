/* The latest errors and warnings of the log, kept for the status page. */
#ifndef BASE_LOG_RECENT_H
#define BASE_LOG_RECENT_H

#include "base/log.h"

#define LOG_RECENT_COUNT 32

/* One of them. */
struct log_recent {
    int64_t time; /* milliseconds since 1970 */
    enum log_kind kind;
    char source[40]; /* "" for the process itself */
    char message[216];
};

/* Copies the lines, the newest first, to room for LOG_RECENT_COUNT; returns their number. The texts hold any bytes. */
size_t log_recent(struct log_recent *lines);

/* Keeps a line in place of the oldest. `when` is clock_wall(); `source` may be NULL. */
void log_recent_keep(enum log_kind kind, int64_t when, const char *source, const char *message);

#endif
