#include "protocol/describe.h"

static const char digits[] = "0123456789abcdef";

void describe_bytes(struct slice bytes, struct buffer *text)
{
    for (size_t i = 0; i < bytes.length && i < DESCRIBE_BYTES_MAX; i++) {
        unsigned char byte = (unsigned char)bytes.bytes[i];
        buffer_append(text, (const char[]){ digits[byte >> 4], digits[byte & 15] }, 2);
    }
}

struct slice describe_line_of(struct slice bytes)
{
    const char *end = bytes.length > 0 ? memchr(bytes.bytes, '\n', bytes.length) : NULL;
    if (end != NULL)
        bytes.length = (size_t)(end - bytes.bytes);
    if (bytes.length > 0 && bytes.bytes[bytes.length - 1] == '\r')
        bytes.length--;
    return bytes;
}

bool describe_begins_with(struct slice bytes, struct slice beginning)
{
    return bytes.length >= beginning.length && memcmp(bytes.bytes, beginning.bytes, beginning.length) == 0;
}

static void skip_empty_line(struct slice *bytes)
{
    if (describe_begins_with(*bytes, SLICE("\r\n"))) /* before a request of HTTP */
        slice_skip(bytes, 2);
}

/* Whether all of the first line is there. */
static bool has_first_line(struct slice bytes)
{
    skip_empty_line(&bytes);
    return bytes.length > 0 && memchr(bytes.bytes, '\n', bytes.length) != NULL;
}

void describe_first_line(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    (void)settings;
    skip_empty_line(&bytes);
    struct slice line = describe_line_of(bytes);
    buffer_append(text, line.bytes, line.length);
}

void describe_request(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    if (settings->protocol != NULL && settings->protocol->describe != NULL)
        settings->protocol->describe(settings, bytes, text);
    else
        describe_bytes(bytes, text);
}

bool describe_is_cut(const struct protocol_settings *settings, struct slice bytes, uint64_t size)
{
    const struct protocol *protocol = settings->protocol;
    if (protocol == NULL || protocol->describe == NULL)
        return size > DESCRIBE_BYTES_MAX;
    if (bytes.length >= size)
        return false;
    return protocol->describe != describe_first_line || !has_first_line(bytes);
}
