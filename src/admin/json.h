/* Writes JSON. Keys are given for members of objects, and are NULL in arrays. */
#ifndef ADMIN_JSON_H
#define ADMIN_JSON_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

/* All zeros but `out` begins a text. When memory is short, `out` has failed. */
struct json {
    struct buffer *out;
    bool follows; /* the next value needs a comma before it */
};

void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);

/* Text may hold any bytes: what is not printable ASCII is shown as \xNN, as in the log. json_print_text()
 * appends the string alone, with its quotes. */
void json_print_text(struct buffer *out, const char *text);
void json_text(struct json *json, const char *key, const char *text);
void json_integer(struct json *json, const char *key, int64_t number);
void json_boolean(struct json *json, const char *key, bool value);

/* Six digits; null for infinity and NaN. */
void json_real(struct json *json, const char *key, double number);

/* A moment, milliseconds since 1970, as "2026-11-23T10:15:04.123Z". */
void json_moment(struct json *json, const char *key, int64_t milliseconds);

#endif
