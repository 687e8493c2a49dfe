/* Inline commands: words with quotes, as people type them. The rules, which Redis has written down nowhere
 * but in its own code, are:
 *   - words end at space, tab or CR; between words any white space of C counts
 *   - "..." knows \n \r \t \b \a, \xHH, and takes any other character behind a backslash as it is
 *   - '...' knows \' only
 *   - quotes may begin inside a word, but a word ends with them: white space or nothing has to follow */
#include "protocol/number.h"
#include "protocol/redis/redis.h"

#include <ctype.h>
#include <stdio.h>

static bool is_space(char c)
{
    return isspace((unsigned char)c) != 0;
}

/* Takes an escape of double quotes, whose backslash is the first byte and not the last, off the line. */
static char take_escape(struct slice *line)
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
static bool take_quoted(struct slice *line, char quote, struct buffer *word)
{
    while (line->length > 0) {
        char c = line->bytes[0];
        if (c == quote) {
            slice_skip(line, 1);
            return line->length == 0 || is_space(line->bytes[0]);
        }
        if (c == '\\' && quote == '"' && line->length >= 2) {
            c = take_escape(line);
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

/* Takes a word off the line; there is one. */
static bool take_word(struct slice *line, struct buffer *word)
{
    while (line->length > 0 && memchr(" \t\n\r", line->bytes[0], 4) == NULL) {
        char c = line->bytes[0];
        slice_skip(line, 1);
        if (c == '"' || c == '\'')
            return take_quoted(line, c, word);
        buffer_append(word, &c, 1);
    }
    return true;
}

enum redis_inline redis_inline_convert(struct slice line, size_t limit, struct buffer *array)
{
    struct buffer word = { 0 };
    enum redis_inline result = REDIS_INLINE_EMPTY;
    unsigned count = 0;
    while (true) {
        while (line.length > 0 && is_space(line.bytes[0]))
            slice_skip(&line, 1);
        if (line.length == 0)
            break;
        buffer_truncate(&word, 0);
        if (!take_word(&line, &word)) {
            result = REDIS_INLINE_UNBALANCED;
            break;
        }
        redis_append_bulk(array, buffer_slice(&word));
        result = REDIS_INLINE_ARRAY;
        count++;
    }
    if (word.failed)
        array->failed = true;
    buffer_free(&word);
    if (result != REDIS_INLINE_ARRAY)
        return result;
    char head[24];
    size_t length = (size_t)snprintf(head, sizeof head, "*%u\r\n", count);
    if (length + array->length > limit)
        return REDIS_INLINE_BIG;
    buffer_prepend(array, head, length);
    return result;
}
