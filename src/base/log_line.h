/* Makes one line of the log out of a message: pure formatting, for log.c alone. */
#ifndef BASE_LOG_LINE_H
#define BASE_LOG_LINE_H

#include "base/log.h"

struct log_line_style {
    enum log_format format;
    bool bare; /* text without time and level, for syslog, which adds its own */
};

/* Writes the line with its line feed, at most LOG_LINE_MAX bytes and without a terminating zero; returns its length.
 * JSON shows the same escapes as text, so that it is as harmless once decoded. A message that does not fit, or is only
 * a beginning, ends with "...". `when` is clock_wall(); `source` may be NULL. */
size_t log_line_make(char *line, struct log_line_style style, enum log_kind kind, int64_t when,
                     const char *source, const char *message, bool is_beginning);

#endif
