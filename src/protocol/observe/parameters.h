/* The values that a prepared statement is executed with, as text: "5, 'abc', NULL". Used by the
 * followers of SQL only. */
#ifndef PROTOCOL_PARAMETERS_H
#define PROTOCOL_PARAMETERS_H

#include "base/buffer.h"
#include "protocol/observe/text.h"

#include <stdint.h>

/* Bytes of one value that are shown, so that those behind a long one are seen as well. */
#define PARAMETER_MAX ((size_t)1024)

/* A list that is being written; what goes beyond `limit` is left out. Owned by its writer, who ends it
 * by parameters_finish(). */
struct parameters {
    struct buffer text;
    size_t limit;
    bool is_truncated;
    bool is_begun; /* a comma comes before the next value */
};

/* Whether it takes anything more. */
static inline bool parameters_take_more(const struct parameters *parameters)
{
    return !parameters->is_truncated && !parameters->text.failed;
}

/* Each adds a value. A string stands in quotes, those within it doubled, with three dots behind it if there
 * is more of it, or too much. What is printed, at most 63 bytes, stands as it is. */
void parameters_add_string(struct parameters *parameters, struct slice value, bool is_truncated);
void parameters_print(struct parameters *parameters, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A floating-point number of `size` bytes, in the shortest digits that say exactly it: as PostgreSQL writes
 * it, in quotes; or as MySQL does, which takes a FLOAT for the DOUBLE that is nearest. */
void parameters_add_float(struct parameters *parameters, uint64_t bits, size_t size, bool is_quoted);

/* Bytes as PostgreSQL writes them: '\x00ff'. */
void parameters_add_hex(struct parameters *parameters, struct slice value);

/* Sets of values stand in parentheses. */
void parameters_open(struct parameters *parameters);
void parameters_close(struct parameters *parameters);

/* The list, for the caller to release; NULL if it is empty or memory is short. `is_truncated`: there was more
 * that could not be read. */
struct text *parameters_finish(struct parameters *parameters, bool is_truncated);

#endif
