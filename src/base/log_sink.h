/* Where lines are written: standard error, a file or syslog. Used by one thread only. A write waits for an output
 * that takes nothing until the deadline has passed. */
#ifndef BASE_LOG_SINK_H
#define BASE_LOG_SINK_H

#include "base/log.h"

/* Owned by its writer. */
struct log_sink {
    enum log_output output;
    char *path; /* of a file */
    int fd;     /* -1: none */
    bool is_socket;
    bool torn;                /* the last write ended inside a line */
    _Atomic int64_t deadline; /* by clock_now(); may be set by another thread */
};

/* False with the reason in `error`; log_sink_close() is due all the same. */
bool log_sink_open(struct log_sink *sink, const struct log_options *options, char *error, size_t error_size);
void log_sink_close(struct log_sink *sink);

/* Opens a file anew. False with errno: the old one goes on. */
bool log_sink_reopen(struct log_sink *sink);

/* The byte that stands before a line for syslog. */
char log_sink_mark(enum log_kind kind);

/* Writes whole lines, for syslog with their marks. Returns how many bytes were taken. */
size_t log_sink_write(struct log_sink *sink, const char *text, size_t length);

#endif
