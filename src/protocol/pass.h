/* Handing bytes on as they came, and keeping those of which more has to be known first. */
#ifndef PROTOCOL_PASS_H
#define PROTOCOL_PASS_H

#include "protocol/protocol.h"

/* Moves the next `count` bytes, at most all, from `input` to `out`; NULL: nowhere. */
static inline void pass(struct slice *input, size_t count, struct buffer *out)
{
    if (out != NULL)
        buffer_append(out, input->bytes, count);
    slice_skip(input, count);
}

/* How many of `wanted` bytes the input holds. */
static inline size_t pass_available(const struct slice *input, uint64_t wanted)
{
    return wanted < input->length ? (size_t)wanted : input->length;
}

/* Moves bytes of a message of which so many have to come. COMPLETE: that was the last one. */
static inline enum protocol_outcome pass_rest(uint64_t *remaining, struct slice *input, struct buffer *out)
{
    size_t count = pass_available(input, *remaining);
    pass(input, count, out);
    *remaining -= count;
    return *remaining == 0 ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}

/* Moves bytes of an undecided request until `size` are in `out`. BROKEN: they would be more than head_limit. */
static inline enum protocol_outcome pass_head(const struct protocol_settings *settings, size_t size,
                                              struct slice *input, struct buffer *out)
{
    size_t wanted = size > out->length ? size - out->length : 0;
    size_t count = pass_available(input, wanted);
    if (out->length + count > settings->head_limit)
        return PROTOCOL_BROKEN;
    pass(input, count, out);
    return out->failed || count < wanted ? PROTOCOL_MORE : PROTOCOL_COMPLETE;
}

/* Keeps the next bytes of an answer's head, of which `*length` are there, up to `size`. As long as the request is not
 * known the last one is looked at but not taken: so there is something to call for again even where the head is all
 * of the answer. False if more have to come. */
static inline bool pass_collect(unsigned char *head, size_t *length, size_t size, bool is_known,
                                struct slice *input)
{
    size_t end = is_known ? size : size - 1;
    size_t wanted = end > *length ? end - *length : 0;
    size_t count = pass_available(input, wanted);
    if (count > 0)
        memcpy(head + *length, input->bytes, count);
    *length += count;
    slice_skip(input, count);
    if (is_known || count < wanted)
        return count == wanted;
    if (input->length > 0)
        head[end] = (unsigned char)input->bytes[0];
    return input->length > 0;
}

#endif
