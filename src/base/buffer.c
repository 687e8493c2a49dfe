#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_MINIMUM ((size_t)256)

/* Makes room at the end: by moving the bytes to the front where that is cheap, else by growing to twice the size. */
static bool buffer_make_room(struct buffer *buffer, size_t length)
{
    if (length <= buffer->capacity - buffer->start - buffer->length)
        return true;
    if (length <= buffer->capacity - buffer->length && buffer->start >= buffer->length) {
        memcpy(buffer->memory, buffer->memory + buffer->start, buffer->length);
        buffer->start = 0;
        return true;
    }
    size_t capacity = buffer->capacity < BUFFER_MINIMUM ? BUFFER_MINIMUM : buffer->capacity;
    char *memory = NULL;
    if (length <= SIZE_MAX / 4 - buffer->length) {
        while (capacity < buffer->length + length)
            capacity *= 2;
        memory = malloc(capacity);
    }
    if (memory == NULL) {
        buffer->failed = true;
        return false;
    }
    if (buffer->length > 0)
        memcpy(memory, buffer->memory + buffer->start, buffer->length);
    free(buffer->memory);
    buffer->memory = memory;
    buffer->start = 0;
    buffer->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *buffer, const char *bytes, size_t length)
{
    if (length == 0 || !buffer_make_room(buffer, length))
        return;
    memcpy(buffer->memory + buffer->start + buffer->length, bytes, length);
    buffer->length += length;
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_print(struct buffer *buffer, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof text)
        buffer->failed = true;
    else
        buffer_append(buffer, text, (size_t)length);
}

void buffer_prepend(struct buffer *buffer, const char *bytes, size_t length)
{
    if (length == 0)
        return;
    if (length > buffer->start) {
        if (!buffer_make_room(buffer, length))
            return;
        if (buffer->length > 0)
            memmove(buffer->memory + length, buffer->memory + buffer->start, buffer->length);
        buffer->start = length;
    }
    buffer->start -= length;
    memcpy(buffer->memory + buffer->start, bytes, length);
    buffer->length += length;
}

void buffer_move(struct buffer *to, struct buffer *from)
{
    if (to->length == 0 && !to->failed) {
        struct buffer empty = *to;
        empty.start = 0;
        *to = *from;
        *from = empty;
        return;
    }
    buffer_append(to, from->memory + from->start, from->length);
    if (!to->failed)
        buffer_consume(from, from->length);
}

void buffer_consume(struct buffer *buffer, size_t count)
{
    buffer->start += count;
    buffer->length -= count;
    if (buffer->length == 0)
        buffer->start = 0;
}

void buffer_remove(struct buffer *buffer, size_t from, size_t count)
{
    size_t rest = buffer->length - from - count;
    if (count == 0)
        return; /* there may be no memory at all */
    memmove(buffer_bytes(buffer) + from, buffer_bytes(buffer) + from + count, rest);
    buffer->length = from + rest;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->memory);
    *buffer = (struct buffer){ 0 };
}
