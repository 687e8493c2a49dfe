#include "protocol/number.h"

#define BCD_NONE 100

/* How many values one byte of a field can have. */
static uint64_t number_base(enum number_encoding encoding)
{
    switch (encoding) {
    case NUMBER_ASCII:
        return 10;
    case NUMBER_BCD:
        return 100;
    case NUMBER_BINARY:
        break;
    }
    return 256;
}

/* The value of one byte; not below the base if it can't stand there. */
static uint64_t number_digit(enum number_encoding encoding, unsigned char byte)
{
    switch (encoding) {
    case NUMBER_ASCII:
        return (unsigned char)(byte - '0');
    case NUMBER_BCD:
        return byte >> 4 > 9 || (byte & 15) > 9 ? BCD_NONE : (uint64_t)(byte >> 4) * 10 + (byte & 15);
    case NUMBER_BINARY:
        break;
    }
    return byte;
}

static unsigned char number_byte(enum number_encoding encoding, uint64_t digit)
{
    switch (encoding) {
    case NUMBER_ASCII:
        return (unsigned char)('0' + digit);
    case NUMBER_BCD:
        return (unsigned char)(digit / 10 << 4 | digit % 10);
    case NUMBER_BINARY:
        break;
    }
    return (unsigned char)digit;
}

/* The index in the field of digit number `place`, counted from the most significant one. */
static size_t number_at(struct number_format format, size_t width, size_t place)
{
    return format.encoding == NUMBER_BINARY && format.little_endian ? width - 1 - place : place;
}

bool number_read(struct number_format format, const unsigned char *bytes, size_t width, uint64_t *number)
{
    uint64_t base = number_base(format.encoding);
    *number = 0;
    for (size_t place = 0; place < width; place++) {
        uint64_t digit = number_digit(format.encoding, bytes[number_at(format, width, place)]);
        if (digit >= base || __builtin_mul_overflow(*number, base, number) ||
            __builtin_add_overflow(*number, digit, number))
            return false;
    }
    return true;
}

void number_write(struct number_format format, unsigned char *bytes, size_t width, uint64_t number)
{
    uint64_t base = number_base(format.encoding);
    for (size_t place = width; place-- > 0; number /= base)
        bytes[number_at(format, width, place)] = number_byte(format.encoding, number % base);
}

uint64_t number_capacity(enum number_encoding encoding, size_t width)
{
    uint64_t capacity = 1;
    for (size_t place = 0; place < width; place++)
        if (__builtin_mul_overflow(capacity, number_base(encoding), &capacity))
            return UINT64_MAX;
    return capacity;
}
