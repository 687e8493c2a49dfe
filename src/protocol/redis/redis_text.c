/* Numbers and strings as Redis writes them, text from outside, and inline commands. */
#include "protocol/number.h"
#include "protocol/redis/redis.h"

#include <ctype.h>
#include <stdio.h>

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

bool redis_is_plain(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.bytes[i] < '!' || text.bytes[i] > '~')
            return false;
    return true;
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
    bool is_truncated = text.length > REDIS_ESCAPED_MAX;
    if (is_truncated)
        text.length = REDIS_ESCAPED_MAX;
    redis_append_escaped(buffer, text, "");
    buffer_append_text(buffer, is_truncated ? "..." : "");
}

/* ---- Inline commands ----------------------------------------------------------------------------------- */

/* Inline commands: words with quotes, as people type them. The rules, which Redis has written down nowhere
 * but in its own code, are:
 *   - words end at space, tab or CR; between words any white space of C counts
 *   - "..." knows \n \r \t \b \a, \xHH, and takes any other character behind a backslash as it is
 *   - '...' knows \' only
 *   - quotes may begin inside a word, but a word ends with them: white space or nothing has to follow */

static bool redis_is_space(char c)
{
    return isspace((unsigned char)c) != 0;
}

/* Takes an escape of double quotes, whose backslash is the first byte and not the last, off the line. */
static char redis_take_escape(struct slice *line)
{
    static const char letters[] = "nrtba", meanings[] = "\n\r\t\b\a";
    const char *bytes = line->bytes, *letter = strchr(letters, bytes[1]);
    if (line->length >= 4 && bytes[1] == 'x' && number_hex_digit(bytes[2]) >= 0 &&
        number_hex_digit(bytes[3]) >= 0) {
        slice_skip(line, 4);
        return (char)(number_hex_digit(bytes[2]) * 16 + number_hex_digit(bytes[3]));
    }
    slice_skip(line, 2);
    return letter != NULL ? meanings[letter - letters] : bytes[1];
}

/* Takes the inside of quotes and the closing one, off the line. False if that is missing, or something
 * follows it. */
static bool redis_take_quoted(struct slice *line, char quote, struct buffer *word)
{
    while (line->length > 0) {
        char c = line->bytes[0];
        if (c == quote) {
            slice_skip(line, 1);
            return line->length == 0 || redis_is_space(line->bytes[0]);
        }
        if (c == '\\' && quote == '"' && line->length >= 2) {
            c = redis_take_escape(line);
        } else if (c == '\\' && quote == '\'' && line->length >= 2 && line->bytes[1] == '\'') {
            c = '\'';
            slice_skip(line, 2);
        } else {
            slice_skip(line, 1);
        }
        buffer_append(word, &c, 1);
    }
    return false;
}

/* False if nothing is left then. */
static bool redis_skip_space(struct slice *line)
{
    while (line->length > 0 && redis_is_space(line->bytes[0]))
        slice_skip(line, 1);
    return line->length > 0;
}

/* Takes a word off the line; there is one. False as above. */
static bool redis_take_inline_word(struct slice *line, struct buffer *word)
{
    while (line->length > 0 && memchr(" \t\n\r", line->bytes[0], 4) == NULL) {
        char c = line->bytes[0];
        slice_skip(line, 1);
        if (c == '"' || c == '\'')
            return redis_take_quoted(line, c, word);
        buffer_append(word, &c, 1);
    }
    return true;
}

const char *redis_inline_convert(struct slice line, size_t limit, struct buffer *array)
{
    struct buffer word = { 0 };
    unsigned count = 0;
    bool is_balanced = true;
    while (is_balanced && redis_skip_space(&line)) {
        buffer_truncate(&word, 0);
        is_balanced = redis_take_inline_word(&line, &word);
        redis_append_bulk(array, buffer_slice(&word));
        count++;
    }
    array->failed = array->failed || word.failed;
    buffer_free(&word);
    if (!is_balanced)
        return "-ERR Protocol error: unbalanced quotes in request";
    if (count == 0)
        return NULL;
    char head[24];
    size_t length = (size_t)snprintf(head, sizeof head, "*%u\r\n", count);
    if (length + array->length > limit)
        return REDIS_INLINE_BIG;
    buffer_prepend(array, head, length);
    return NULL;
}
