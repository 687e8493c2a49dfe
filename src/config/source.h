/* The text of the configuration: the main file with all that it includes, as one text that knows where each
 * of its lines comes from. What libconfig 1.5 would spoil in silence is refused here: integers beyond 32 bits
 * without L (it wraps them), \x00 in a string and zero bytes (it cuts there). */
#ifndef CONFIG_SOURCE_H
#define CONFIG_SOURCE_H

#include "config/parsed.h"

/* Owned by the reader. source_free() when done, also after a failure. */
struct source {
    char *text;           /* ends with a zero byte */
    struct origin *lines; /* of each line of the text */
    size_t line_count;
};

/* Reads the file `path`. `@include "FILE"` at the start of a line is replaced by the file, whose name is
 * relative to the folder of the main file; nothing but a comment may follow it. Everything that is wrong
 * becomes a problem; false if there was anything. */
bool source_read(struct source *source, struct parsed_configuration *parsed, const char *path);

void source_free(struct source *source);

/* Where line `line` (from 1) of the text comes from. */
struct origin source_origin(const struct source *source, unsigned line);

#endif
