#include "protocol/describe.h"

/* Of a request in a protocol that has no describe(). */
#define DESCRIBE_BYTES_MAX 256

static void describe_bytes(struct slice bytes, struct buffer *text)
{
    static const char digits[] = "0123456789abcdef";
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
    if (slice_ends_with(bytes, SLICE("\r")))
        bytes.length--;
    return bytes;
}

/* A request of HTTP may have an empty line before it. */
static struct slice describe_skip_empty_line(struct slice bytes)
{
    if (slice_begins_with(bytes, SLICE("\r\n")))
        slice_skip(&bytes, 2);
    return bytes;
}

void describe_first_line(const struct protocol_settings *, struct slice bytes, struct buffer *text)
{
    struct slice line = describe_line_of(describe_skip_empty_line(bytes));
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
    bytes = describe_skip_empty_line(bytes);
    return protocol->describe != describe_first_line || bytes.length == 0 ||
           memchr(bytes.bytes, '\n', bytes.length) == NULL;
}
