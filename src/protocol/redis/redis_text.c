/* Numbers as Redis writes them, and text from outside in errors. */
#include "protocol/redis/redis.h"

/* Longest number that is taken: everything with so many digits fits 63 bits. */
#define DIGITS_MAX 18

enum redis_step redis_number_read(struct redis_number *number, char c)
{
    if (number->ended)
        return c == '\n' ? REDIS_DONE : REDIS_BAD;
    if (c == '\r') {
        if (number->digits == 0 || (number->negative && number->value == 0))
            return REDIS_BAD;
        if (number->negative)
            number->value = -number->value;
        number->ended = true;
        return REDIS_MORE;
    }
    if (c == '-' && number->digits == 0 && !number->negative) {
        number->negative = true;
        return REDIS_MORE;
    }
    if (c < '0' || c > '9' || number->digits == DIGITS_MAX || (number->digits > 0 && number->value == 0))
        return REDIS_BAD;
    number->value = number->value * 10 + (c - '0');
    number->digits++;
    return REDIS_MORE;
}

bool redis_number_parse(struct slice text, int64_t *value)
{
    struct redis_number number = { 0 };
    for (size_t i = 0; i < text.length; i++)
        if (text.bytes[i] == '\r' || redis_number_read(&number, text.bytes[i]) != REDIS_MORE)
            return false;
    if (redis_number_read(&number, '\r') != REDIS_MORE)
        return false;
    *value = number.value;
    return true;
}

void redis_append_escaped(struct buffer *buffer, struct slice text)
{
    size_t length = text.length < REDIS_ESCAPED_MAX ? text.length : REDIS_ESCAPED_MAX;
    for (size_t i = 0; i < length; i++) {
        char c = text.bytes[i];
        if (c >= ' ' && c <= '~')
            buffer_append(buffer, &c, 1);
        else
            buffer_print(buffer, "\\x%02x", (unsigned char)c);
    }
    if (text.length > length)
        buffer_append_text(buffer, "...");
}
