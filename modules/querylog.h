/* The parts of querylog. Only its own files include this. */
#ifndef QUERYLOG_H
#define QUERYLOG_H

#include "proximux/module.h"

/* A line being written: what does not fit is left out. */
struct line {
    char *bytes;
    size_t length;
    size_t capacity;
    bool is_ascii; /* JSON shows other characters by their numbers */
};

/* Appends text as it is. */
void line_add(struct line *line, const char *text);
void line_print(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends text from outside, up to `limit` of its bytes: what is not printable ASCII as \n, \r, \t, \xNN
 * (text) or \u00NN (JSON, where quotes and backslashes are escaped too). "..." behind it if it is not whole,
 * also for want of room. UTF-8 passes in JSON, where it is right. */
void line_add_text(struct line *line, const char *text, size_t length, size_t limit, bool is_truncated,
                   bool is_json);

/* What there is to redact in a request. */
enum redaction { REDACT_NOTHING, REDACT_MYSQL, REDACT_POSTGRESQL, REDACT_REDIS };

enum redaction redact_kind(const char *protocol);

/* Copies the text to `out`, which has room for `length` + 1 bytes, with a question mark for each literal: of
 * SQL, strings and numbers; of the commands of Redis that store something or say a password, what they store.
 * A text that is cut is redacted up to its end. Returns the new length, which is never longer. */
size_t redact(enum redaction kind, const char *text, size_t length, char *out);

#endif
