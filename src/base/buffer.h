/* Bytes in a row that grow at the end and are taken from the beginning. All zeros is a valid, empty buffer,
 * and an empty buffer that was freed holds no memory: idle connections keep none.
 *
 *   0 <= start <= start + length <= capacity
 *
 * When memory is short an append changes nothing but sets `failed`, which stays set until buffer_free(): a
 * writer may append piece by piece, and its caller asks once at the end. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* Owned by whoever embeds it; buffer_free() when done. */
struct buffer {
    char *memory;
    size_t start;
    size_t length;
    size_t capacity;
    bool failed;
};

/* Adds a copy of the bytes at the end. */
void buffer_append(struct buffer *buffer, const char *bytes, size_t length);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_print(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts a copy of the bytes in front of all others. */
void buffer_prepend(struct buffer *buffer, const char *bytes, size_t length);

/* Moves all bytes of `from` to the end of `to`; `from` is empty then, unless memory was short: then `to` has
 * failed and `from` is as it was. Nothing is copied if `to` is empty. */
void buffer_move(struct buffer *to, struct buffer *from);

/* Takes `count` bytes, at most all, off the beginning. Memory is kept. */
void buffer_consume(struct buffer *buffer, size_t count);

/* Cuts the end off; `length` is at most the present one. */
void buffer_truncate(struct buffer *buffer, size_t length);

/* Takes `count` bytes out that begin at `from`; what follows them moves up. */
void buffer_remove(struct buffer *buffer, size_t from, size_t count);

/* Gives the memory back; the buffer is empty and usable, and has not failed, then. */
void buffer_free(struct buffer *buffer);

/* The bytes; valid until the buffer is changed. NULL if it never had any. */
static inline char *buffer_bytes(const struct buffer *buffer)
{
    return buffer->memory == NULL ? NULL : buffer->memory + buffer->start;
}

static inline struct slice buffer_slice(const struct buffer *buffer)
{
    return (struct slice){ buffer_bytes(buffer), buffer->length };
}

#endif
