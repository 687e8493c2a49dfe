/* Numbers and strings as Redis writes them, and text from outside. */
#include "protocol/redis/redis.h"

/* Longest number that is taken: everything with so many digits fits 63 bits. */
#define DIGITS_MAX 18

enum protocol_outcome redis_number_read(struct redis_number *number, char c)
{
    if (number->ended)
        return c == '\n' ? PROTOCOL_COMPLETE : PROTOCOL_BROKEN;
    if (c == '\r') {
        if (number->digits == 0 || (number->negative && number->value == 0))
            return PROTOCOL_BROKEN;
        if (number->negative)
            number->value = -number->value;
        number->ended = true;
        return PROTOCOL_MORE;
    }
    if (c == '-' && number->digits == 0 && !number->negative) {
        number->negative = true;
        return PROTOCOL_MORE;
    }
    if (c < '0' || c > '9' || number->digits == DIGITS_MAX || (number->digits > 0 && number->value == 0))
        return PROTOCOL_BROKEN;
    number->value = number->value * 10 + (c - '0');
    number->digits++;
    return PROTOCOL_MORE;
}

bool redis_number_parse(struct slice text, int64_t *value)
{
    struct redis_number number = { 0 };
    for (size_t i = 0; i < text.length; i++)
        if (text.bytes[i] == '\r' || redis_number_read(&number, text.bytes[i]) != PROTOCOL_MORE)
            return false;
    if (redis_number_read(&number, '\r') != PROTOCOL_MORE)
        return false;
    *value = number.value;
    return true;
}

bool redis_number_take(struct slice *bytes, char type, int64_t *value)
{
    bool is_type = bytes->length > 0 && bytes->bytes[0] == type;
    const char *end = is_type ? memmem(bytes->bytes, bytes->length, "\r\n", 2) : NULL;
    if (end == NULL)
        return false;
    struct slice text = { bytes->bytes + 1, (size_t)(end - bytes->bytes) - 1 };
    slice_skip(bytes, text.length + 3);
    return redis_number_parse(text, value) && *value >= 0;
}

void redis_append_bulk(struct buffer *buffer, struct slice text)
{
    buffer_print(buffer, "$%zu\r\n", text.length);
    buffer_append(buffer, text.bytes, text.length);
    buffer_append_text(buffer, "\r\n");
}

void redis_append_escaped(struct buffer *buffer, struct slice text, const char *quoted)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.bytes[i];
        if (c < ' ' || c > '~')
            buffer_print(buffer, "\\x%02x", (unsigned char)c);
        else if (strchr(quoted, c) != NULL)
            buffer_append(buffer, (const char[]){ '\\', c }, 2);
        else
            buffer_append(buffer, &c, 1);
    }
}

void redis_append_cited(struct buffer *buffer, struct slice text)
{
    bool is_cut = text.length > REDIS_ESCAPED_MAX;
    if (is_cut)
        text.length = REDIS_ESCAPED_MAX;
    redis_append_escaped(buffer, text, "");
    buffer_append_text(buffer, is_cut ? "..." : "");
}
