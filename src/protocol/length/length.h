/* The settings of `length`, and their limits. */
#ifndef PROTOCOL_LENGTH_H
#define PROTOCOL_LENGTH_H

#include "protocol/error_reply.h"
#include "protocol/number.h"

/* Bytes of a header at most: up to the end of the length field, and of the id. */
#define LENGTH_HEAD_MAX 256

/* Bytes of an id at most: a request remembers its own. */
#define LENGTH_ID_MAX 32

struct length_settings {
    struct slice error_reply; /* first, see error_reply.h */
    int64_t offset;
    int64_t width; /* 1, 2, 3, 4, 8 (binary); digits of ASCII; bytes of BCD */
    bool little_endian;
    int64_t adjust; /* total = offset + width + value + adjust */
    enum number_encoding encoding;
    int64_t id_offset;
    int64_t id_width; /* 0: no ids */
};

PROTOCOL_OWN(length)

#endif
