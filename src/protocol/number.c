#include "protocol/number.h"

#include <ctype.h>

/* How many values one byte of a field can have. */
static const unsigned number_bases[] = { [NUMBER_BINARY] = 256, [NUMBER_ASCII] = 10, [NUMBER_BCD] = 100 };

/* The value of one byte; not below the base if it can't stand there. */
static uint64_t number_digit(enum number_encoding encoding, unsigned char byte)
{
    if (encoding == NUMBER_ASCII)
        return (unsigned char)(byte - '0');
    if (encoding == NUMBER_BCD)
        return byte >> 4 > 9 || (byte & 15) > 9 ? 100 : (uint64_t)(byte >> 4) * 10 + (byte & 15);
    return byte;
}

static unsigned char number_byte(enum number_encoding encoding, uint64_t digit)
{
    if (encoding == NUMBER_ASCII)
        return (unsigned char)('0' + digit);
    if (encoding == NUMBER_BCD)
        return (unsigned char)(digit / 10 << 4 | digit % 10);
    return (unsigned char)digit;
}

/* The index in the field of digit number `place`, counted from the most significant one. */
static size_t number_at(struct number_format format, size_t width, size_t place)
{
    return format.encoding == NUMBER_BINARY && format.little_endian ? width - 1 - place : place;
}

bool number_read(struct number_format format, const unsigned char *bytes, size_t width, uint64_t *number)
{
    uint64_t base = number_bases[format.encoding];
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
    uint64_t base = number_bases[format.encoding];
    for (size_t place = width; place-- > 0; number /= base)
        bytes[number_at(format, width, place)] = number_byte(format.encoding, number % base);
}

uint64_t number_capacity(enum number_encoding encoding, size_t width)
{
    uint64_t capacity = 1;
    for (size_t place = 0; place < width; place++)
        if (__builtin_mul_overflow(capacity, number_bases[encoding], &capacity))
            return UINT64_MAX;
    return capacity;
}

bool number_parse(struct slice text, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.length; i++) {
        unsigned digit = (unsigned)(unsigned char)text.bytes[i] - '0';
        if (digit > 9 || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return text.length > 0;
}

int number_hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *digit = c != '\0' ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return digit != NULL ? (int)(digit - digits) : -1;
}
