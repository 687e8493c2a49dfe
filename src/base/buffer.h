/* Bytes that grow at the end and are taken from the beginning; all zeros is an empty buffer. When memory is short an
 * append only sets `failed`, which stays set until buffer_free(): a writer appends piece by piece and asks once. */
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

/* Adds a copy of the bytes at the end; printed text of 511 bytes at most. */
void buffer_append(struct buffer *buffer, const char *bytes, size_t length);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_print(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts a copy of the bytes in front of all others. */
void buffer_prepend(struct buffer *buffer, const char *bytes, size_t length);

/* Moves all bytes of `from` to the end of `to`, without a copy if that is empty. Where `to` fails, `from` stays. */
void buffer_move(struct buffer *to, struct buffer *from);

/* Takes `count` bytes, at most all, off the beginning. Memory is kept. */
void buffer_consume(struct buffer *buffer, size_t count);

/* Takes `count` bytes out that begin at `from`; what follows them moves up. */
void buffer_remove(struct buffer *buffer, size_t from, size_t count);

/* Gives the memory back; the buffer is empty and usable, and has not failed, then. */
void buffer_free(struct buffer *buffer);

/* Cuts the end off; `length` is at most the present one. */
static inline void buffer_truncate(struct buffer *buffer, size_t length)
{
    buffer->length = length;
}

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
