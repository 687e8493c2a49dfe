/* Whole numbers in fields of fixed width: bytes, ASCII digits, or two decimal digits a byte (BCD); and in text. */
#ifndef PROTOCOL_NUMBER_H
#define PROTOCOL_NUMBER_H

#include "base/slice.h"

#include <stdint.h>

/* How the digits are written; a choice of the configuration, in this order. */
enum number_encoding { NUMBER_BINARY, NUMBER_ASCII, NUMBER_BCD };

struct number_format {
    enum number_encoding encoding;
    bool little_endian; /* of binary numbers only */
};

/* False if the bytes are no number, or one beyond 64 bits. */
bool number_read(struct number_format format, const unsigned char *bytes, size_t width, uint64_t *number);

/* Fills the whole width. Digits that do not fit are left out. */
void number_write(struct number_format format, unsigned char *bytes, size_t width, uint64_t number);

/* How many different numbers the field can hold; UINT64_MAX if more than that. */
uint64_t number_capacity(enum number_encoding encoding, size_t width);

/* Decimal digits, and nothing else, of a number up to `max` (9 or more). */
bool number_parse(struct slice text, uint64_t max, uint64_t *number);

/* The value of a hexadecimal digit; -1: it is none. */
int number_hex_digit(char c);

#endif
