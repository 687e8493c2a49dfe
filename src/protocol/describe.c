#include "protocol/describe.h"

static const char digits[] = "0123456789abcdef";

void describe_bytes(struct slice bytes, struct buffer *text)
{
    for (size_t i = 0; i < bytes.length && i < DESCRIBE_BYTES_MAX; i++) {
        unsigned char byte = (unsigned char)bytes.bytes[i];
        buffer_append(text, (const char[]){ digits[byte >> 4], digits[byte & 15] }, 2);
    }
}

/* Up to a line feed, or all; without it and a CR before it. */
static struct slice first_line(struct slice bytes)
{
    const char *end = bytes.length > 0 ? memchr(bytes.bytes, '\n', bytes.length) : NULL;
    if (end != NULL)
        bytes.length = (size_t)(end - bytes.bytes);
    if (bytes.length > 0 && bytes.bytes[bytes.length - 1] == '\r')
        bytes.length--;
    return bytes;
}

static bool begins_with(struct slice bytes, struct slice beginning)
{
    return bytes.length >= beginning.length && memcmp(bytes.bytes, beginning.bytes, beginning.length) == 0;
}

static void skip_empty_line(struct slice *bytes)
{
    if (begins_with(*bytes, SLICE("\r\n"))) /* before a request of HTTP */
        slice_skip(bytes, 2);
}

bool describe_has_first_line(struct slice bytes)
{
    skip_empty_line(&bytes);
    return bytes.length > 0 && memchr(bytes.bytes, '\n', bytes.length) != NULL;
}

void describe_first_line(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    (void)settings;
    skip_empty_line(&bytes);
    struct slice line = first_line(bytes);
    buffer_append(text, line.bytes, line.length);
}

/* ---- memcached, HTTP ------------------------------------------------------------------------------------
 */

void describe_memcached_error(const struct protocol_settings *settings, struct slice bytes,
                              struct buffer *text)
{
    if (begins_with(bytes, SLICE("ERROR")) || begins_with(bytes, SLICE("CLIENT_ERROR")) ||
        begins_with(bytes, SLICE("SERVER_ERROR")))
        describe_first_line(settings, bytes, text);
}

void describe_http_error(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    struct slice line = first_line(bytes);
    (void)settings;
    if (line.length < 12 || !begins_with(line, SLICE("HTTP/1.")) || line.bytes[9] < '4')
        return;
    buffer_append(text, line.bytes + 9, line.length - 9);
}

/* ---- line, marks ----------------------------------------------------------------------------------------
 */

void describe_line(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    struct slice delimiter = settings->line.delimiter;
    if (bytes.length >= delimiter.length &&
        memcmp(bytes.bytes + bytes.length - delimiter.length, delimiter.bytes, delimiter.length) == 0)
        bytes.length -= delimiter.length;
    if (bytes.length > 0 && bytes.bytes[bytes.length - 1] == '\r')
        bytes.length--;
    buffer_append(text, bytes.bytes, bytes.length);
}

void describe_marks(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    struct slice start = settings->marks.start;
    struct slice end = settings->marks.end;
    if (begins_with(bytes, start))
        slice_skip(&bytes, start.length);
    if (bytes.length >= end.length &&
        memcmp(bytes.bytes + bytes.length - end.length, end.bytes, end.length) == 0)
        bytes.length -= end.length;
    buffer_append(text, bytes.bytes, bytes.length);
}

/* ---- Modbus ----------------------------------------------------------------------------------------------
 */

/* Bytes before the function: transaction, protocol, length, unit. */
#define MODBUS_FUNCTION 7

/* How what follows the function says what it is about. */
enum modbus_form { FORM_OTHER, FORM_RANGE, FORM_SINGLE };

static const struct {
    unsigned char function;
    enum modbus_form form;
    const char *name;
} functions[] = {
    { 1, FORM_RANGE, "read coils" },
    { 2, FORM_RANGE, "read discrete inputs" },
    { 3, FORM_RANGE, "read holding registers" },
    { 4, FORM_RANGE, "read input registers" },
    { 5, FORM_SINGLE, "write single coil" },
    { 6, FORM_SINGLE, "write single register" },
    { 7, FORM_OTHER, "read exception status" },
    { 8, FORM_OTHER, "diagnostics" },
    { 11, FORM_OTHER, "get comm event counter" },
    { 12, FORM_OTHER, "get comm event log" },
    { 15, FORM_RANGE, "write multiple coils" },
    { 16, FORM_RANGE, "write multiple registers" },
    { 17, FORM_OTHER, "report server id" },
    { 20, FORM_OTHER, "read file record" },
    { 21, FORM_OTHER, "write file record" },
    { 22, FORM_SINGLE, "mask write register" },
    { 23, FORM_RANGE, "read/write multiple registers" },
    { 24, FORM_SINGLE, "read fifo queue" },
    { 43, FORM_OTHER, "encapsulated interface transport" },
};

static unsigned modbus_word(struct slice bytes, size_t at)
{
    return (unsigned)(unsigned char)bytes.bytes[at] << 8 | (unsigned char)bytes.bytes[at + 1];
}

void describe_modbus(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    (void)settings;
    if (bytes.length <= MODBUS_FUNCTION)
        return;
    unsigned char function = (unsigned char)bytes.bytes[MODBUS_FUNCTION];
    size_t i = 0;
    while (i < sizeof functions / sizeof functions[0] && functions[i].function != function)
        i++;
    buffer_print(text, "unit %u ", (unsigned)(unsigned char)bytes.bytes[MODBUS_FUNCTION - 1]);
    if (i == sizeof functions / sizeof functions[0]) {
        buffer_print(text, "function %u", (unsigned)function);
        return;
    }
    buffer_append_text(text, functions[i].name);
    if (functions[i].form == FORM_OTHER || bytes.length < MODBUS_FUNCTION + 5)
        return;
    unsigned first = modbus_word(bytes, MODBUS_FUNCTION + 1);
    unsigned count = modbus_word(bytes, MODBUS_FUNCTION + 3);
    buffer_print(text, " %u", first);
    if (functions[i].form == FORM_RANGE && count > 1)
        buffer_print(text, "-%u", first + count - 1);
}

void describe_modbus_error(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    static const char *const names[] = {
        [1] = "illegal function",
        [2] = "illegal data address",
        [3] = "illegal data value",
        [4] = "server device failure",
        [5] = "acknowledge",
        [6] = "server device busy",
        [8] = "memory parity error",
        [10] = "gateway path unavailable",
        [11] = "gateway target device failed to respond",
    };
    (void)settings;
    if (bytes.length < MODBUS_FUNCTION + 2 || ((unsigned char)bytes.bytes[MODBUS_FUNCTION] & 0x80) == 0)
        return;
    unsigned code = (unsigned char)bytes.bytes[MODBUS_FUNCTION + 1];
    const char *name = code < sizeof names / sizeof names[0] ? names[code] : NULL;
    buffer_print(text, "exception %u%s%s", code, name != NULL ? ": " : "", name != NULL ? name : "");
}
