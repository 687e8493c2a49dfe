/* Handing bytes on as they came, and keeping those of which more has to be known first. */
#ifndef PROTOCOL_PASS_H
#define PROTOCOL_PASS_H

#include "base/buffer.h"

#include <stdint.h>

/* Moves the next `count` bytes, at most all, from `input` to `out`. */
static inline void pass(struct slice *input, size_t count, struct buffer *out)
{
    buffer_append(out, input->bytes, count);
    slice_skip(input, count);
}

/* How many of `wanted` bytes the input holds. */
static inline size_t pass_available(const struct slice *input, uint64_t wanted)
{
    return wanted < input->length ? (size_t)wanted : input->length;
}

/* Keeps the next bytes in `head`, of which `*length` are there, up to `size`. False if more have to come. */
static inline bool pass_collect(unsigned char *head, size_t *length, size_t size, struct slice *input)
{
    size_t wanted = size > *length ? size - *length : 0;
    size_t count = pass_available(input, wanted);
    if (count > 0)
        memcpy(head + *length, input->bytes, count);
    *length += count;
    slice_skip(input, count);
    return count == wanted;
}

#endif
