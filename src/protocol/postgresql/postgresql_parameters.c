/* The values that PostgreSQL clients bind to statements: text as it is, and of the binary formats those of
 * simple types; all stand in quotes, as in the server's own log. */
#include "protocol/postgresql/postgresql.h"

#include "protocol/observe/parameters.h"

#include <stdio.h>

#define FORMAT_BINARY 1
#define TYPE_SIZE     4

/* Object ids of types, which never change (pg_type.dat of PostgreSQL). */
enum {
    TYPE_BOOL = 16,
    TYPE_CHAR = 18,
    TYPE_NAME = 19,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_TEXT = 25,
    TYPE_OID = 26,
    TYPE_JSON = 114,
    TYPE_XML = 142,
    TYPE_FLOAT4 = 700,
    TYPE_FLOAT8 = 701,
    TYPE_UNKNOWN = 705,
    TYPE_BPCHAR = 1042,
    TYPE_VARCHAR = 1043,
    TYPE_UUID = 2950,
};

/* What is left of the message; what is not there reads as 0. */
struct reader {
    struct slice rest;
    bool failed;
};

static uint32_t read_integer(struct reader *reader, size_t size)
{
    uint32_t value = 0;
    if (reader->rest.length < size) {
        reader->failed = true;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        value = value << 8 | (unsigned char)reader->rest.bytes[i];
    slice_skip(&reader->rest, size);
    return value;
}

static struct slice read_bytes(struct reader *reader, size_t count)
{
    struct slice bytes = reader->rest;
    if (count > bytes.length)
        reader->failed = true;
    else
        bytes.length = count;
    slice_skip(&reader->rest, bytes.length);
    return bytes;
}

static int64_t signed_value(struct slice value)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < value.length; i++)
        bits = bits << 8 | (unsigned char)value.bytes[i];
    unsigned unused = 64 - 8 * (unsigned)value.length;
    return (int64_t)(bits << unused) >> unused;
}

static void add_integer(struct parameters *list, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    parameters_add_string(list, (struct slice){ text, strlen(text) }, false);
}

static void add_float(struct parameters *list, struct slice value)
{
    uint64_t bits = (uint64_t)signed_value(value);
    uint32_t low = (uint32_t)bits;
    double number;
    float single;
    memcpy(&number, &bits, sizeof number);
    memcpy(&single, &low, sizeof single);
    bool is_float = value.length == sizeof single;
    parameters_add_quoted_double(list, is_float ? (double)single : number, is_float);
}

static void add_uuid(struct parameters *list, struct slice value)
{
    char text[40];
    size_t length = 0;
    for (size_t i = 0; i < value.length; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%02x",
                                   i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                                   (unsigned)(unsigned char)value.bytes[i]);
    parameters_add_string(list, (struct slice){ text, length }, false);
}

static bool is_text(uint32_t type)
{
    return type == TYPE_CHAR || type == TYPE_NAME || type == TYPE_TEXT || type == TYPE_JSON ||
           type == TYPE_XML || type == TYPE_UNKNOWN || type == TYPE_BPCHAR || type == TYPE_VARCHAR;
}

static void add_binary(struct parameters *list, struct slice value, uint32_t type)
{
    size_t size = value.length;
    if (is_text(type))
        parameters_add_string(list, value, false);
    else if (type == TYPE_BOOL && size == 1)
        parameters_add_string(list, value.bytes[0] != 0 ? SLICE("t") : SLICE("f"), false);
    else if ((type == TYPE_INT2 && size == 2) || (type == TYPE_INT4 && size == 4) ||
             (type == TYPE_INT8 && size == 8))
        add_integer(list, signed_value(value));
    else if (type == TYPE_OID && size == 4)
        add_integer(list, postgresql_integer(value.bytes));
    else if ((type == TYPE_FLOAT4 && size == 4) || (type == TYPE_FLOAT8 && size == 8))
        add_float(list, value);
    else if (type == TYPE_UUID && size == 16)
        add_uuid(list, value);
    else
        parameters_add_hex(list, value);
}

/* No format: all are text; one: it is that of all. */
static bool is_binary(struct slice formats, size_t i)
{
    if (formats.length == 2)
        i = 0;
    return formats.length >= 2 * (i + 1) && formats.bytes[2 * i + 1] == FORMAT_BINARY;
}

static void add_value(struct parameters *list, struct reader *reader, bool is_binary_format, uint32_t type)
{
    uint32_t length = read_integer(reader, 4);
    if (reader->failed)
        return;
    if (length == UINT32_MAX) {
        parameters_add_word(list, "NULL");
        return;
    }
    struct slice value = read_bytes(reader, length);
    if (!is_binary_format)
        parameters_add_string(list, value, reader->failed);
    else if (!reader->failed)
        add_binary(list, value, type);
}

struct text *postgresql_parameters(struct slice body, struct slice types, size_t limit)
{
    struct reader reader = { .rest = body };
    struct parameters list = { .limit = limit };
    struct slice formats = read_bytes(&reader, 2 * (size_t)read_integer(&reader, 2));
    size_t count = read_integer(&reader, 2);
    for (size_t i = 0; i < count && !reader.failed && parameters_take_more(&list); i++) {
        uint32_t type = 0;
        if (types.length >= TYPE_SIZE * (i + 1))
            type = postgresql_integer(types.bytes + TYPE_SIZE * i);
        add_value(&list, &reader, is_binary(formats, i), type);
    }
    return parameters_finish(&list, reader.failed);
}
