/* A piece of somebody else's bytes. Owns nothing; need not end with a zero. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *bytes;
    size_t length;
};

/* The slice of a string literal, its end left out. */
#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })

/* Moves the beginning, by at most the length. */
static inline void slice_skip(struct slice *slice, size_t count)
{
    slice->bytes += count;
    slice->length -= count;
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

/* Whether the slice is this word, upper or lower case. */
static inline bool slice_is_word(struct slice slice, const char *word)
{
    return slice.length == strlen(word) && strncasecmp(slice.bytes, word, slice.length) == 0;
}

/* Of strings, either of which may be NULL. */
static inline bool text_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static inline bool slice_begins_with(struct slice slice, struct slice beginning)
{
    return slice.length >= beginning.length &&
           slice_equal((struct slice){ slice.bytes, beginning.length }, beginning);
}

static inline bool slice_ends_with(struct slice slice, struct slice end)
{
    if (slice.length < end.length)
        return false;
    slice_skip(&slice, slice.length - end.length);
    return slice_equal(slice, end);
}

#endif
