/* Numbers and strings in messages of MySQL. */
#include "protocol/mysql/mysql.h"

uint64_t mysql_read_integer(struct mysql_reader *reader, size_t size)
{
    uint64_t value = 0;
    if (reader->rest.length < size) {
        reader->failed = true;
        reader->rest.length = 0;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)(unsigned char)reader->rest.bytes[i] << (8 * i);
    slice_skip(&reader->rest, size);
    return value;
}

uint64_t mysql_read_length(struct mysql_reader *reader)
{
    uint64_t first = mysql_read_integer(reader, 1);
    switch (first) {
    case 0xfc:
        return mysql_read_integer(reader, 2);
    case 0xfd:
        return mysql_read_integer(reader, 3);
    case 0xfe:
        return mysql_read_integer(reader, 8);
    case 0xfb:
    case 0xff:
        reader->failed = true;
        return 0;
    default:
        return first;
    }
}

struct slice mysql_read_bytes(struct mysql_reader *reader, uint64_t count)
{
    struct slice bytes = reader->rest;
    if (count > reader->rest.length) {
        reader->failed = true;
        count = reader->rest.length;
    }
    bytes.length = (size_t)count;
    slice_skip(&reader->rest, (size_t)count);
    return bytes;
}
