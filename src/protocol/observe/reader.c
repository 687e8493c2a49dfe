#include "protocol/observe/reader.h"

#include "protocol/number.h"

struct slice reader_bytes(struct reader *reader, uint64_t count)
{
    struct slice bytes = reader->rest;
    if (count > bytes.length)
        reader->failed = true;
    else
        bytes.length = (size_t)count;
    slice_skip(&reader->rest, bytes.length);
    return bytes;
}

static uint64_t reader_number(struct reader *reader, size_t size, bool is_little)
{
    struct number_format format = { .encoding = NUMBER_BINARY, .little_endian = is_little };
    struct slice bytes = reader_bytes(reader, size);
    uint64_t number;
    if (bytes.length < size || !number_read(format, (const unsigned char *)bytes.bytes, size, &number))
        return 0;
    return number;
}

uint64_t reader_little(struct reader *reader, size_t size)
{
    return reader_number(reader, size, true);
}

uint64_t reader_big(struct reader *reader, size_t size)
{
    return reader_number(reader, size, false);
}

struct slice reader_string(struct reader *reader)
{
    struct slice string = reader->rest;
    if (string.length > 0)
        string.length = strnlen(string.bytes, string.length);
    reader_bytes(reader, (uint64_t)string.length + 1);
    return string;
}
