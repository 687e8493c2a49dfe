/* The values that PostgreSQL clients bind to statements: text as it is, and of the binary formats those of
 * simple types; all stand in quotes, as in the server's own log. */
#include "protocol/postgresql/postgresql.h"

#include "protocol/observe/parameters.h"

#include <inttypes.h>
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

static void add_uuid(struct parameters *list, struct slice value)
{
    char text[40];
    size_t length = 0;
    for (size_t i = 0; i < value.length; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%02x",
                                   i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                                   (unsigned)(unsigned char)value.bytes[i]);
    parameters_print(list, "'%s'", text);
}

static bool is_text(uint64_t type)
{
    return type == TYPE_CHAR || type == TYPE_NAME || type == TYPE_TEXT || type == TYPE_JSON ||
           type == TYPE_XML || type == TYPE_UNKNOWN || type == TYPE_BPCHAR || type == TYPE_VARCHAR;
}

static void add_binary(struct parameters *list, struct slice value, uint64_t type)
{
    size_t size = value.length;
    uint64_t number = size > 8 ? 0 : reader_big(&(struct reader){ .rest = value }, size);
    if (is_text(type))
        parameters_add_string(list, value, false);
    else if (type == TYPE_BOOL && size == 1)
        parameters_print(list, "'%c'", number != 0 ? 't' : 'f');
    else if ((type == TYPE_INT2 && size == 2) || (type == TYPE_INT4 && size == 4) ||
             (type == TYPE_INT8 && size == 8))
        parameters_print(list, "'%" PRId64 "'", reader_signed(number, size));
    else if (type == TYPE_OID && size == 4)
        parameters_print(list, "'%" PRIu64 "'", number);
    else if ((type == TYPE_FLOAT4 && size == 4) || (type == TYPE_FLOAT8 && size == 8))
        parameters_add_float(list, number, size, true);
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

static void add_value(struct parameters *list, struct reader *reader, bool is_binary_format, uint64_t type)
{
    uint64_t length = reader_big(reader, 4);
    if (reader->failed)
        return;
    if (length == UINT32_MAX) {
        parameters_print(list, "NULL");
        return;
    }
    struct slice value = reader_bytes(reader, length);
    if (!is_binary_format)
        parameters_add_string(list, value, reader->failed);
    else if (!reader->failed)
        add_binary(list, value, type);
}

struct text *postgresql_parameters(struct reader *reader, struct slice types, size_t limit)
{
    struct parameters list = { .limit = limit };
    struct reader type = { .rest = types };
    struct slice formats = reader_bytes(reader, 2 * reader_big(reader, 2));
    uint64_t count = reader_big(reader, 2);
    for (size_t i = 0; i < count && !reader->failed && parameters_take_more(&list); i++)
        add_value(&list, reader, is_binary(formats, i), reader_big(&type, TYPE_SIZE));
    return parameters_finish(&list, reader->failed);
}
