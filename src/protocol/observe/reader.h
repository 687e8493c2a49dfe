/* Numbers and strings in the messages of followed protocols. */
#ifndef PROTOCOL_READER_H
#define PROTOCOL_READER_H

#include "base/slice.h"

#include <stdint.h>

/* What is left of a message. A read beyond its end fails, and takes what there is. */
struct reader {
    struct slice rest;
    bool failed;
};

/* Numbers of at most eight bytes, the least or the most significant one first; 0 if they are not there. */
uint64_t reader_little(struct reader *reader, size_t size);
uint64_t reader_big(struct reader *reader, size_t size);

struct slice reader_bytes(struct reader *reader, uint64_t count);

/* A string up to the zero that ends it, which is taken as well. */
struct slice reader_string(struct reader *reader);

/* A number of `size` bytes as a signed one. */
static inline int64_t reader_signed(uint64_t number, size_t size)
{
    unsigned unused = 64 - 8 * (unsigned)size;
    return (int64_t)(number << unused) >> unused;
}

#endif
