#include "querylog.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void line_add_bytes(struct line *line, const char *bytes, size_t length)
{
    if (length > line->capacity - line->length)
        return;
    memcpy(line->bytes + line->length, bytes, length);
    line->length += length;
}

void line_add(struct line *line, const char *text)
{
    line_add_bytes(line, text, strlen(text));
}

void line_print(struct line *line, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0)
        line_add_bytes(line, text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

/* How many bytes the UTF-8 character has that begins here, as RFC 3629 has it; 0: it is none. */
static size_t character_length(const unsigned char *bytes, size_t length)
{
    size_t wanted = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || length < wanted)
        return 0;
    if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f) ||
        (bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] > 0x8f))
        return 0;
    /* U+0080 to U+009F are control characters, which some terminals obey. */
    if (bytes[0] == 0xc2 && bytes[1] < 0xa0)
        return 0;
    for (size_t i = 1; i < wanted; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    return wanted;
}

/* As JSON has them without UTF-8: what is beyond 16 bits is two surrogates. */
static void add_character(struct line *line, const unsigned char *bytes, size_t length)
{
    unsigned number = bytes[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++)
        number = number << 6 | (bytes[i] & 0x3fu);
    if (number < 0x10000)
        line_print(line, "\\u%04x", number);
    else
        line_print(line, "\\u%04x\\u%04x", 0xd800 + ((number - 0x10000) >> 10), 0xdc00 + (number & 0x3ff));
}

static void add_escaped(struct line *line, unsigned char byte, bool is_json)
{
    if (byte == '\n')
        line_add(line, "\\n");
    else if (byte == '\r')
        line_add(line, "\\r");
    else if (byte == '\t')
        line_add(line, "\\t");
    else
        line_print(line, is_json ? "\\u%04x" : "\\x%02x", byte);
}

/* The longest form of a byte, and the mark of what is not whole. */
#define ESCAPED_MAX 6
#define CUT_LENGTH  3

void line_add_text(struct line *line, const char *text, size_t length, size_t limit, bool is_truncated,
                   bool is_json)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t count = length < limit ? length : limit;
    size_t end = line->capacity > ESCAPED_MAX + CUT_LENGTH ? line->capacity - ESCAPED_MAX - CUT_LENGTH : 0;
    for (size_t i = 0; i < count; i++) {
        if (line->length > end) { /* so that the mark of what is cut fits */
            is_truncated = true;
            break;
        }
        unsigned char byte = bytes[i];
        size_t character = is_json && byte >= 0x80 ? character_length(bytes + i, count - i) : 0;
        if (character > 0) {
            if (line->is_ascii)
                add_character(line, bytes + i, character);
            else
                line_add_bytes(line, text + i, character);
            i += character - 1;
        } else if (byte == '\\' || (byte == '"' && is_json)) {
            line_add_bytes(line, (const char[]){ '\\', (char)byte }, 2);
        } else if (byte >= ' ' && byte <= '~') {
            line_add_bytes(line, text + i, 1);
        } else {
            add_escaped(line, byte, is_json);
        }
    }
    if (is_truncated || count < length)
        line_add(line, "...");
}
