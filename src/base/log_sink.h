/* Where lines are written: standard error, a file or syslog. Used by the writer thread only. A write waits for
 * an output that takes nothing until `is_late` says that its time is up. */
#ifndef BASE_LOG_SINK_H
#define BASE_LOG_SINK_H

#include "base/log.h"

#include <sys/types.h>

/* Owned by its writer. */
struct log_sink {
    enum log_output output;
    char *path; /* of a file */
    int fd;     /* -1: none */
    bool is_socket;
    bool torn; /* the last write ended inside a line */
    bool (*is_late)(void *is_late_data);
    void *is_late_data;
};

/* False with the reason in `error`; log_sink_close() is due all the same. */
bool log_sink_open(struct log_sink *sink, const struct log_options *options, char *error, size_t error_size);
void log_sink_close(struct log_sink *sink);

/* Opens a file anew. False with errno: the old one goes on. */
bool log_sink_reopen(struct log_sink *sink);

/* Writes lines of one kind; to syslog, one line. Returns how many bytes were taken. */
size_t log_sink_write(struct log_sink *sink, enum log_kind kind, const char *text, size_t length);

/* Waits at most `milliseconds` until a write to a descriptor would not block. */
bool log_sink_writable(int fd, int milliseconds);

#endif
