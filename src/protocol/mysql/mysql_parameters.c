/* The values that MySQL clients execute prepared statements with, in the binary protocol. */
#include "protocol/mysql/mysql.h"

#include "protocol/observe/parameters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FLAG_UNSIGNED 0x8000

/* In an execution: a count of parameters stands there even if the statement has none. */
#define EXECUTE_HAS_COUNT 0x08

/* In one with many sets of values. */
#define BULK_HAS_TYPES 0x80

/* Types of a size, or written in a way, of their own. */
#define TYPE_DECIMAL     0x00
#define TYPE_TINY        0x01
#define TYPE_SHORT       0x02
#define TYPE_LONG        0x03
#define TYPE_FLOAT       0x04
#define TYPE_DOUBLE      0x05
#define TYPE_NULL        0x06
#define TYPE_TIMESTAMP   0x07
#define TYPE_LONGLONG    0x08
#define TYPE_INT24       0x09
#define TYPE_DATE        0x0a
#define TYPE_TIME        0x0b
#define TYPE_DATETIME    0x0c
#define TYPE_YEAR        0x0d
#define TYPE_NEW_DECIMAL 0xf6

/* What is attached to a statement's text: how many parameters it has, two bytes, and the types that they were
 * bound with last, two bytes each, if they were: a client need not repeat them. */
#define COUNT_SIZE 2
#define TYPE_SIZE  2

uint64_t mysql_read_length(struct reader *reader)
{
    static const size_t sizes[] = { 2, 3, 8 };
    uint64_t first = reader_little(reader, 1);
    if (first < 0xfb)
        return first;
    if (first >= 0xfc && first <= 0xfe)
        return reader_little(reader, sizes[first - 0xfc]);
    reader->failed = true;
    return 0;
}

int mysql_value_size(unsigned type)
{
    static const int sizes[] = { [TYPE_TINY] = 1,  [TYPE_SHORT] = 2, [TYPE_YEAR] = 2,   [TYPE_LONG] = 4,
                                 [TYPE_FLOAT] = 4, [TYPE_INT24] = 4, [TYPE_DOUBLE] = 8, [TYPE_LONGLONG] = 8 };
    type &= 0xff;
    if (type < sizeof sizes / sizeof sizes[0] && sizes[type] > 0)
        return sizes[type];
    return type == TYPE_NULL ? 0 : -1;
}

/* ---- Values that were sent before ---- */

/* More than so many are lost: what values their statements are executed with is not known then. */
#define LONG_VALUES_MAX 64

/* Owned by its session's list. */
struct long_value {
    struct list_node node;
    uint32_t statement;
    uint64_t parameter;
    struct buffer bytes;
    bool is_truncated;
};

static void drop_long_value(struct mysql *mysql, struct long_value *value)
{
    list_remove(&value->node);
    mysql->long_value_count--;
    buffer_free(&value->bytes);
    free(value);
}

void mysql_parameters_forget(struct mysql *mysql, uint32_t id)
{
    list_foreach(&mysql->long_values, node)
    {
        struct long_value *value = list_entry(node, struct long_value, node);
        if (value->statement == id)
            drop_long_value(mysql, value);
    }
}

void mysql_parameters_clear(struct mysql *mysql)
{
    struct list_node *node;
    while ((node = list_first(&mysql->long_values)) != NULL)
        drop_long_value(mysql, list_entry(node, struct long_value, node));
    mysql->long_values_are_lost = false;
}

static struct long_value *find_long_value(const struct mysql *mysql, uint32_t statement, uint64_t parameter)
{
    list_foreach(&mysql->long_values, node)
    {
        struct long_value *value = list_entry(node, struct long_value, node);
        if (value->statement == statement && value->parameter == parameter)
            return value;
    }
    return NULL;
}

void mysql_parameters_long(struct mysql *mysql, struct slice rest)
{
    struct reader reader = { .rest = rest };
    uint32_t statement = (uint32_t)reader_little(&reader, 4);
    uint64_t parameter = reader_little(&reader, 2);
    if (mysql->observer.parameter_limit == 0 || reader.failed)
        return;
    struct long_value *value = find_long_value(mysql, statement, parameter);
    if (value == NULL) {
        if (mysql->long_value_count < LONG_VALUES_MAX)
            value = calloc(1, sizeof *value);
        if (value == NULL) {
            mysql->long_values_are_lost = true;
            return;
        }
        value->statement = statement;
        value->parameter = parameter;
        list_append(&mysql->long_values, &value->node);
        mysql->long_value_count++;
    }
    size_t room = PARAMETER_MAX - value->bytes.length;
    size_t count = reader.rest.length < room ? reader.rest.length : room;
    buffer_append(&value->bytes, reader.rest.bytes, count);
    value->is_truncated = value->is_truncated || reader.rest.length > room;
    mysql->long_values_are_lost = mysql->long_values_are_lost || value->bytes.failed;
}

/* ---- Values ---- */

static void read_integer_value(struct parameters *list, struct reader *reader, unsigned type, size_t size)
{
    uint64_t value = reader_little(reader, size);
    if (reader->failed)
        return;
    if ((type & FLAG_UNSIGNED) != 0)
        parameters_print(list, "%" PRIu64, value);
    else
        parameters_print(list, "%" PRId64, reader_signed(value, size));
}

static void read_float_value(struct parameters *list, struct reader *reader, size_t size)
{
    uint64_t bits = reader_little(reader, size);
    if (!reader->failed)
        parameters_add_float(list, bits, size, false);
}

/* A date, a time, or both. What is zero at the end may be left out: the parts are there as far as the length
 * says. */
static void read_time_value(struct parameters *list, struct reader *reader, unsigned type)
{
    struct reader parts = { .rest = reader_bytes(reader, reader_little(reader, 1)) };
    char before[40] = "";
    char fraction[24] = "";
    uint64_t hours = 0;
    if (type == TYPE_TIME) {
        strcpy(before, reader_little(&parts, 1) != 0 ? "-" : "");
        hours = reader_little(&parts, 4) * 24;
    } else {
        unsigned year = (unsigned)reader_little(&parts, 2);
        unsigned month = (unsigned)reader_little(&parts, 1);
        unsigned day = (unsigned)reader_little(&parts, 1);
        snprintf(before, sizeof before, "%04u-%02u-%02u%s", year, month, day, type == TYPE_DATE ? "" : " ");
    }
    if (reader->failed)
        return;
    if (type == TYPE_DATE) {
        parameters_print(list, "DATE'%s'", before);
        return;
    }
    hours += reader_little(&parts, 1);
    unsigned minutes = (unsigned)reader_little(&parts, 1);
    unsigned seconds = (unsigned)reader_little(&parts, 1);
    unsigned microseconds = (unsigned)reader_little(&parts, 4);
    if (microseconds > 0)
        snprintf(fraction, sizeof fraction, ".%06u", microseconds);
    parameters_print(list, "%s'%s%02" PRIu64 ":%02u:%02u%s'", type == TYPE_TIME ? "TIME" : "TIMESTAMP",
                     before, hours, minutes, seconds, fraction);
}

static bool is_number(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if (memchr("0123456789+-.eE", text.bytes[i], 15) == NULL)
            return false;
    return text.length > 0 && text.length < 64;
}

static void read_string_value(struct parameters *list, struct reader *reader, unsigned type)
{
    uint64_t length = mysql_read_length(reader);
    if (reader->failed)
        return;
    struct slice value = reader_bytes(reader, length);
    if ((type == TYPE_DECIMAL || type == TYPE_NEW_DECIMAL) && !reader->failed && is_number(value))
        parameters_print(list, "%.*s", (int)value.length, value.bytes);
    else
        parameters_add_string(list, value, reader->failed);
}

static void read_value(struct parameters *list, struct reader *reader, unsigned type)
{
    int size = mysql_value_size(type);
    unsigned kind = type & 0xff;
    if (kind == TYPE_NULL)
        parameters_print(list, "NULL");
    else if (kind == TYPE_FLOAT || kind == TYPE_DOUBLE)
        read_float_value(list, reader, (size_t)size);
    else if (kind == TYPE_DATE || kind == TYPE_DATETIME || kind == TYPE_TIMESTAMP || kind == TYPE_TIME)
        read_time_value(list, reader, kind);
    else if (size > 0)
        read_integer_value(list, reader, type, (size_t)size);
    else
        read_string_value(list, reader, kind);
}

/* ---- Executions ---- */

/* Of one command. */
struct execution {
    struct mysql *mysql;
    struct reader reader;
    struct parameters list;
    uint32_t id;
    const struct text *statement;
    struct text *attached; /* to the statement; a reference */
    uint64_t count;        /* parameters of the statement */
    uint64_t sent;         /* with those that are attributes of the query, which come last */
};

static unsigned type_of(const struct execution *execution, uint64_t parameter)
{
    struct slice types = text_slice(execution->attached);
    slice_skip(&types, COUNT_SIZE + TYPE_SIZE * parameter);
    return (unsigned)reader_little(&(struct reader){ .rest = types }, TYPE_SIZE);
}

/* Reads types, and the names of attributes between them, and attaches them to the statement. False if they are
 * not all there. */
static bool read_types(struct execution *execution, bool has_names)
{
    struct buffer bytes = { 0 };
    struct text *types = NULL;
    buffer_append(&bytes, execution->attached->bytes, COUNT_SIZE);
    for (uint64_t i = 0; i < execution->sent && !execution->reader.failed; i++) {
        struct slice type = reader_bytes(&execution->reader, TYPE_SIZE);
        buffer_append(&bytes, type.bytes, type.length);
        if (has_names)
            reader_bytes(&execution->reader, mysql_read_length(&execution->reader));
    }
    if (!execution->reader.failed && !bytes.failed)
        types = text_create(buffer_slice(&bytes), bytes.length);
    buffer_free(&bytes);
    if (types == NULL)
        return false;
    text_store_attach(&execution->mysql->statements, execution->statement, types);
    text_release(execution->attached);
    execution->attached = types;
    return true;
}

/* Finds the types, in the command or else as they were before. False if they are not known. */
static bool find_types(struct execution *execution, bool are_sent, bool has_names)
{
    if (execution->reader.failed || (are_sent && !read_types(execution, has_names)))
        return false;
    return execution->attached->length >= COUNT_SIZE + TYPE_SIZE * execution->sent;
}

static bool takes_more(const struct execution *execution)
{
    return !execution->reader.failed && parameters_take_more(&execution->list);
}

static void read_execution(struct execution *execution)
{
    struct reader *reader = &execution->reader;
    struct parameters *list = &execution->list;
    bool has_attributes = mysql_can(execution->mysql, MYSQL_QUERY_ATTRIBUTES);
    uint64_t flags = reader_little(reader, 1);
    reader_little(reader, 4); /* iterations: 1 */
    if (has_attributes && (execution->count > 0 || (flags & EXECUTE_HAS_COUNT) != 0))
        execution->sent = mysql_read_length(reader);
    if (execution->sent < execution->count || execution->sent > UINT16_MAX)
        return;
    struct slice nulls = reader_bytes(reader, (execution->sent + 7) / 8);
    bool are_sent = reader_little(reader, 1) == 1;
    if (!find_types(execution, are_sent, has_attributes))
        return;
    for (uint64_t i = 0; i < execution->count && takes_more(execution); i++) {
        const struct long_value *value = find_long_value(execution->mysql, execution->id, i);
        if (value != NULL)
            parameters_add_string(list, buffer_slice(&value->bytes), value->is_truncated);
        else if ((nulls.bytes[i / 8] >> (i % 8) & 1) != 0)
            parameters_print(list, "NULL");
        else
            read_value(list, reader, type_of(execution, i));
    }
}

/* MariaDB: a byte before each value says whether it is there. */
static void read_set(struct execution *execution)
{
    static const char *const words[] = { "", "NULL", "DEFAULT", "IGNORE" };
    struct reader *reader = &execution->reader;
    parameters_open(&execution->list);
    for (uint64_t i = 0; i < execution->count && takes_more(execution); i++) {
        uint64_t indicator = reader_little(reader, 1);
        if (reader->failed)
            break;
        if (indicator == 0)
            read_value(&execution->list, reader, type_of(execution, i));
        else if (indicator < sizeof words / sizeof words[0])
            parameters_print(&execution->list, "%s", words[indicator]);
        else
            reader->failed = true;
    }
    parameters_close(&execution->list);
}

static void read_bulk(struct execution *execution)
{
    bool are_sent = (reader_little(&execution->reader, 2) & BULK_HAS_TYPES) != 0;
    if (!find_types(execution, are_sent, false))
        return;
    while (execution->reader.rest.length > 0 && takes_more(execution))
        read_set(execution);
}

void mysql_parameters_prepared(struct mysql *mysql, const struct text *statement, unsigned count)
{
    const char bytes[COUNT_SIZE] = { (char)(count & 0xff), (char)(count >> 8) };
    if (mysql->observer.parameter_limit == 0 || count == 0 || statement == NULL)
        return;
    struct text *attached = text_create((struct slice){ bytes, sizeof bytes }, sizeof bytes);
    text_store_attach(&mysql->statements, statement, attached);
    text_release(attached);
}

struct text *mysql_parameters_read(struct mysql *mysql, uint32_t id, struct slice rest, bool is_bulk)
{
    struct execution execution = { .mysql = mysql,
                                   .reader = { .rest = rest },
                                   .list = { .limit = mysql->observer.parameter_limit },
                                   .id = id };
    if (execution.list.limit == 0)
        return NULL;
    execution.statement = text_store_get(&mysql->statements, mysql_name(&id), &execution.attached);
    if (execution.attached != NULL && !mysql->long_values_are_lost) {
        text_reference(execution.attached);
        execution.count =
            reader_little(&(struct reader){ .rest = text_slice(execution.attached) }, COUNT_SIZE);
        execution.sent = execution.count;
        reader_little(&execution.reader, 4);
        if (is_bulk)
            read_bulk(&execution);
        else
            read_execution(&execution);
        text_release(execution.attached);
    }
    mysql_parameters_forget(mysql, id);
    return parameters_finish(&execution.list, execution.reader.failed);
}
