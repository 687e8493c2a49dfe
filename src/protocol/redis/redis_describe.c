/* What requests ask for and what is wrong with responses, as people would write it. */
#include "protocol/describe.h"
#include "protocol/redis/redis.h"

#define ARGUMENTS_MAX 64
#define ARGUMENT_MAX  ((size_t)1024)

static bool is_word(struct slice argument)
{
    for (size_t i = 0; i < argument.length; i++) {
        char c = argument.bytes[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\')
            return false;
    }
    return argument.length > 0;
}

static void append_argument(struct buffer *text, struct slice argument, bool is_cut)
{
    if (argument.length > ARGUMENT_MAX) {
        argument.length = ARGUMENT_MAX;
        is_cut = true;
    }
    buffer_append_text(text, text->length > 0 ? " " : "");
    if (is_word(argument)) {
        buffer_append(text, argument.bytes, argument.length);
    } else {
        buffer_append_text(text, "\"");
        redis_append_escaped(text, argument, "\"\\");
        buffer_append_text(text, "\"");
    }
    buffer_append_text(text, is_cut ? "..." : "");
}

static void describe_array(struct slice bytes, struct buffer *text)
{
    int64_t count, length;
    if (!redis_number_take(&bytes, '*', &count))
        return;
    for (int64_t i = 0; i < count && redis_number_take(&bytes, '$', &length); i++) {
        if (i == ARGUMENTS_MAX) {
            buffer_print(text, " ... (%lld more)", (long long)(count - i));
            return;
        }
        bool is_cut = (uint64_t)length > bytes.length;
        struct slice argument = { bytes.bytes, is_cut ? bytes.length : (size_t)length };
        append_argument(text, argument, is_cut);
        if (bytes.length - argument.length < 2)
            return;
        slice_skip(&bytes, argument.length + 2);
    }
}

/* An inline command reads like the array that it stands for, however it is quoted. */
static void describe_inline(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    struct buffer array = { 0 }, line = { 0 };
    describe_first_line(settings, bytes, &line);
    if (redis_inline_convert(buffer_slice(&line), SIZE_MAX, &array) == NULL && array.length > 0)
        describe_array(buffer_slice(&array), text);
    else
        buffer_append(text, buffer_bytes(&line), line.length);
    text->failed = text->failed || array.failed || line.failed;
    buffer_free(&array);
    buffer_free(&line);
}

void redis_describe(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    while (slice_begins_with(bytes, SLICE("\r\n")))
        slice_skip(&bytes, 2);
    if (bytes.length > 0 && bytes.bytes[0] != '*')
        describe_inline(settings, bytes, text);
    else
        describe_array(bytes, text);
}

void redis_describe_error(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    char type = bytes.length > 0 ? bytes.bytes[0] : '\0';
    if (type == '!') { /* the error stands in the line behind its length */
        const char *end = memchr(bytes.bytes, '\n', bytes.length);
        slice_skip(&bytes, end != NULL ? (size_t)(end - bytes.bytes) + 1 : bytes.length);
    } else if (type == '-') {
        slice_skip(&bytes, 1);
    } else {
        return;
    }
    describe_first_line(settings, bytes, text);
}
