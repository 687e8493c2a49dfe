/* The values that MySQL clients execute prepared statements with, in the binary protocol. */
#include "protocol/mysql/mysql.h"

#include <stdio.h>
#include <stdlib.h>

#define FLAG_UNSIGNED 0x8000

/* In an execution: a count of parameters stands there even if the statement has none. */
#define EXECUTE_HAS_COUNT 0x08

/* In one with many sets of values. */
#define BULK_HAS_TYPES 0x80

/* Kinds of types that are written in a way of their own. */
#define TYPE_DECIMAL     0x00
#define TYPE_FLOAT       0x04
#define TYPE_DOUBLE      0x05
#define TYPE_NULL        0x06
#define TYPE_TIMESTAMP   0x07
#define TYPE_DATE        0x0a
#define TYPE_TIME        0x0b
#define TYPE_DATETIME    0x0c
#define TYPE_NEW_DECIMAL 0xf6

/* What is attached to a statement's text: how many parameters it has, two bytes, and the types that they were
 * bound with last, two bytes each, if they were: a client need not repeat them. */
#define COUNT_SIZE 2
#define TYPE_SIZE  2

int mysql_value_size(unsigned type)
{
    switch (type & 0xff) {
    case 0x01: /* TINY */
        return 1;
    case 0x02: /* SHORT */
    case 0x0d: /* YEAR */
        return 2;
    case 0x03: /* LONG */
    case 0x04: /* FLOAT */
    case 0x09: /* INT24 */
        return 4;
    case 0x05: /* DOUBLE */
    case 0x08: /* LONGLONG */
        return 8;
    case 0x06: /* NULL */
        return 0;
    default:
        return -1;
    }
}

/* ---- Values that were sent before ---- */

/* Owned by its session's list. */
struct long_value {
    struct list_node node;
    uint32_t statement;
    unsigned parameter;
    struct text *text;
};

static void drop_long_value(struct mysql *mysql, struct long_value *value)
{
    list_remove(&value->node);
    mysql->long_value_count--;
    text_release(value->text);
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

static struct long_value *add_long_value(struct mysql *mysql, uint32_t statement, unsigned parameter)
{
    struct long_value *value = NULL;
    if (mysql->long_value_count < MYSQL_LONG_VALUES_MAX)
        value = calloc(1, sizeof *value);
    if (value == NULL)
        return NULL;
    value->statement = statement;
    value->parameter = parameter;
    list_append(&mysql->long_values, &value->node);
    mysql->long_value_count++;
    return value;
}

/* Its text with a piece behind it, as far as that will be shown. */
static struct text *longer_text(const struct text *text, struct slice piece)
{
    struct buffer bytes = { 0 };
    struct slice before = text_slice(text);
    buffer_append(&bytes, before.bytes, before.length);
    buffer_append(&bytes, piece.bytes, piece.length < PARAMETER_MAX ? piece.length : PARAMETER_MAX);
    struct text *longer = bytes.failed ? NULL : text_create(buffer_slice(&bytes), PARAMETER_MAX);
    if (longer != NULL)
        longer->is_cut = longer->is_cut || piece.length > PARAMETER_MAX;
    buffer_free(&bytes);
    return longer;
}

void mysql_parameters_long(struct observer *observer, struct mysql *mysql, struct slice rest)
{
    struct mysql_reader reader = { .rest = rest };
    uint32_t statement = (uint32_t)mysql_read_integer(&reader, 4);
    unsigned parameter = (unsigned)mysql_read_integer(&reader, 2);
    if (observer->parameter_limit == 0 || reader.failed)
        return;
    struct long_value *value = find_long_value(mysql, statement, parameter);
    if (value == NULL)
        value = add_long_value(mysql, statement, parameter);
    if (value != NULL && value->text != NULL && value->text->length == PARAMETER_MAX) {
        value->text->is_cut = value->text->is_cut || reader.rest.length > 0;
        return;
    }
    struct text *text = value == NULL ? NULL : longer_text(value->text, reader.rest);
    if (text == NULL) {
        mysql->long_values_are_lost = true;
        return;
    }
    text_release(value->text);
    value->text = text;
}

/* ---- Values ---- */

static void read_integer_value(struct parameters *list, struct mysql_reader *reader, unsigned type,
                               size_t size)
{
    uint64_t value = mysql_read_integer(reader, size);
    unsigned unused = 64 - 8 * (unsigned)size;
    if (reader->failed)
        return;
    if ((type & FLAG_UNSIGNED) != 0)
        parameters_print(list, "%llu", (unsigned long long)value);
    else
        parameters_print(list, "%lld", (long long)((int64_t)(value << unused) >> unused));
}

/* The server takes what a client sends as FLOAT for the DOUBLE that is nearest, and so says its log. */
static void read_float_value(struct parameters *list, struct mysql_reader *reader, bool is_double)
{
    uint64_t bits = mysql_read_integer(reader, is_double ? 8 : 4);
    uint32_t low = (uint32_t)bits;
    double value;
    float single;
    memcpy(&value, &bits, sizeof value);
    memcpy(&single, &low, sizeof single);
    if (!reader->failed)
        parameters_add_double(list, is_double ? value : (double)single);
}

/* Hours, minutes, seconds, and their fraction if there is one. */
static void add_clock(char *text, size_t size, struct mysql_reader *parts, uint64_t days)
{
    unsigned long long hours = days * 24 + mysql_read_integer(parts, 1);
    unsigned minutes = (unsigned)mysql_read_integer(parts, 1);
    unsigned seconds = (unsigned)mysql_read_integer(parts, 1);
    unsigned long microseconds = (unsigned long)mysql_read_integer(parts, 4);
    size_t length = strlen(text);
    length += (size_t)snprintf(text + length, size - length, "%02llu:%02u:%02u", hours, minutes, seconds);
    if (microseconds > 0)
        snprintf(text + length, size - length, ".%06lu", microseconds);
}

/* What is zero at the end may be left out: the parts are there as far as the length says. */
static void read_date_value(struct parameters *list, struct mysql_reader *reader, bool has_time)
{
    char text[64];
    struct mysql_reader parts = { .rest = mysql_read_bytes(reader, mysql_read_integer(reader, 1)) };
    unsigned year = (unsigned)mysql_read_integer(&parts, 2);
    unsigned month = (unsigned)mysql_read_integer(&parts, 1);
    unsigned day = (unsigned)mysql_read_integer(&parts, 1);
    if (reader->failed)
        return;
    snprintf(text, sizeof text, "%04u-%02u-%02u%s", year, month, day, has_time ? " " : "");
    if (has_time)
        add_clock(text, sizeof text, &parts, 0);
    parameters_print(list, "%s'%s'", has_time ? "TIMESTAMP" : "DATE", text);
}

static void read_time_value(struct parameters *list, struct mysql_reader *reader)
{
    char text[64];
    struct mysql_reader parts = { .rest = mysql_read_bytes(reader, mysql_read_integer(reader, 1)) };
    bool is_negative = mysql_read_integer(&parts, 1) != 0;
    uint64_t days = mysql_read_integer(&parts, 4);
    if (reader->failed)
        return;
    snprintf(text, sizeof text, "%s", is_negative ? "-" : "");
    add_clock(text, sizeof text, &parts, days);
    parameters_print(list, "TIME'%s'", text);
}

static bool is_number(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if (memchr("0123456789+-.eE", text.bytes[i], 15) == NULL)
            return false;
    return text.length > 0 && text.length < 64;
}

static void read_string_value(struct parameters *list, struct mysql_reader *reader, unsigned type)
{
    uint64_t length = mysql_read_length(reader);
    if (reader->failed)
        return;
    struct slice value = mysql_read_bytes(reader, length);
    if ((type == TYPE_DECIMAL || type == TYPE_NEW_DECIMAL) && !reader->failed && is_number(value))
        parameters_print(list, "%.*s", (int)value.length, value.bytes);
    else
        parameters_add_string(list, value, reader->failed);
}

static void read_value(struct parameters *list, struct mysql_reader *reader, unsigned type)
{
    int size = mysql_value_size(type);
    switch (type & 0xff) {
    case TYPE_NULL:
        parameters_add_word(list, "NULL");
        break;
    case TYPE_FLOAT:
    case TYPE_DOUBLE:
        read_float_value(list, reader, size == 8);
        break;
    case TYPE_DATE:
    case TYPE_DATETIME:
    case TYPE_TIMESTAMP:
        read_date_value(list, reader, (type & 0xff) != TYPE_DATE);
        break;
    case TYPE_TIME:
        read_time_value(list, reader);
        break;
    default:
        if (size > 0)
            read_integer_value(list, reader, type, (size_t)size);
        else
            read_string_value(list, reader, type & 0xff);
    }
}

/* ---- Executions ---- */

/* Of one command; owns nothing. */
struct execution {
    struct mysql_reader reader;
    uint32_t statement;
    uint64_t count; /* parameters of the statement */
    uint64_t sent;  /* with those that are attributes of the query, which come last */
    struct slice types;
};

static unsigned type_of(const struct execution *execution, uint64_t parameter)
{
    const unsigned char *type = (const unsigned char *)execution->types.bytes + TYPE_SIZE * parameter;
    return type[0] | (unsigned)type[1] << 8;
}

/* Reads types, and the names of attributes between them, into what is attached to the statement then. NULL if
 * they are not all there. */
static struct text *read_types(struct execution *execution, bool has_names)
{
    struct buffer types = { 0 };
    struct text *text = NULL;
    char count[COUNT_SIZE] = { (char)(execution->count & 0xff), (char)(execution->count >> 8) };
    buffer_append(&types, count, sizeof count);
    for (uint64_t i = 0; i < execution->sent && !execution->reader.failed; i++) {
        struct slice type = mysql_read_bytes(&execution->reader, TYPE_SIZE);
        buffer_append(&types, type.bytes, type.length);
        if (has_names)
            mysql_read_bytes(&execution->reader, mysql_read_length(&execution->reader));
    }
    if (!execution->reader.failed && !types.failed)
        text = text_create(buffer_slice(&types), types.length);
    buffer_free(&types);
    return text;
}

/* Finds the types, in the command or else as they were before. False if they are not known. */
static bool find_types(struct mysql *mysql, struct execution *execution, const struct text *statement,
                       struct text **attached, bool are_sent, bool has_names)
{
    if (are_sent) {
        struct text *types = read_types(execution, has_names);
        if (types == NULL)
            return false;
        if (slice_equal(text_slice(types), text_slice(*attached))) {
            text_release(types);
        } else {
            text_store_attach(&mysql->statements, statement, types);
            text_release(*attached);
            *attached = types;
        }
    }
    execution->types = text_slice(*attached);
    slice_skip(&execution->types, COUNT_SIZE);
    return execution->types.length >= TYPE_SIZE * execution->sent;
}

static void read_values(const struct mysql *mysql, struct parameters *list, struct execution *execution,
                        struct slice nulls)
{
    struct mysql_reader *reader = &execution->reader;
    for (uint64_t i = 0; i < execution->count && !reader->failed && parameters_take_more(list); i++) {
        const struct long_value *value = find_long_value(mysql, execution->statement, i);
        if (value != NULL)
            parameters_add_string(list, text_slice(value->text), value->text->is_cut);
        else if ((nulls.bytes[i / 8] >> (i % 8) & 1) != 0)
            parameters_add_word(list, "NULL");
        else
            read_value(list, reader, type_of(execution, i));
    }
}

static void read_execution(struct mysql *mysql, struct parameters *list, struct execution *execution,
                           const struct text *statement, struct text **attached)
{
    struct mysql_reader *reader = &execution->reader;
    bool has_attributes = (mysql->capabilities & MYSQL_QUERY_ATTRIBUTES) != 0;
    unsigned flags = (unsigned)mysql_read_integer(reader, 1);
    mysql_read_integer(reader, 4); /* iterations: 1 */
    if (has_attributes && (execution->count > 0 || (flags & EXECUTE_HAS_COUNT) != 0))
        execution->sent = mysql_read_length(reader);
    if (execution->sent < execution->count || execution->sent > UINT16_MAX)
        return;
    struct slice nulls = mysql_read_bytes(reader, (execution->sent + 7) / 8);
    bool are_sent = mysql_read_integer(reader, 1) == 1;
    if (!reader->failed && find_types(mysql, execution, statement, attached, are_sent, has_attributes))
        read_values(mysql, list, execution, nulls);
}

/* MariaDB: a byte before each value says whether it is there. */
static void read_set(struct parameters *list, struct execution *execution)
{
    static const char *const words[] = { "", "NULL", "DEFAULT", "IGNORE" };
    struct mysql_reader *reader = &execution->reader;
    parameters_open(list);
    for (uint64_t i = 0; i < execution->count && !reader->failed && parameters_take_more(list); i++) {
        uint64_t indicator = mysql_read_integer(reader, 1);
        if (reader->failed)
            break;
        if (indicator == 0)
            read_value(list, reader, type_of(execution, i));
        else if (indicator < sizeof words / sizeof words[0])
            parameters_add_word(list, words[indicator]);
        else
            reader->failed = true;
    }
    parameters_close(list);
}

static void read_bulk(struct mysql *mysql, struct parameters *list, struct execution *execution,
                      const struct text *statement, struct text **attached)
{
    struct mysql_reader *reader = &execution->reader;
    bool are_sent = (mysql_read_integer(reader, 2) & BULK_HAS_TYPES) != 0;
    if (reader->failed || !find_types(mysql, execution, statement, attached, are_sent, false))
        return;
    while (reader->rest.length > 0 && !reader->failed && parameters_take_more(list))
        read_set(list, execution);
}

void mysql_parameters_prepared(struct observer *observer, struct mysql *mysql, const struct text *statement,
                               unsigned count)
{
    const char bytes[COUNT_SIZE] = { (char)(count & 0xff), (char)(count >> 8) };
    if (observer->parameter_limit == 0 || count == 0 || statement == NULL)
        return;
    struct text *attached = text_create((struct slice){ bytes, sizeof bytes }, sizeof bytes);
    text_store_attach(&mysql->statements, statement, attached);
    text_release(attached);
}

struct text *mysql_parameters_read(struct observer *observer, struct mysql *mysql, uint32_t id,
                                   struct slice rest, bool is_bulk)
{
    struct parameters list = { .limit = observer->parameter_limit };
    struct execution execution = { .reader = { .rest = rest }, .statement = id };
    struct text *attached = NULL;
    if (observer->parameter_limit == 0)
        return NULL;
    struct text *statement =
        text_store_get(&mysql->statements, (struct slice){ (const char *)&id, sizeof id }, &attached);
    if (attached != NULL && !mysql->long_values_are_lost) {
        attached = text_reference(attached);
        execution.count = (unsigned char)attached->bytes[0] | (uint64_t)(unsigned char)attached->bytes[1]
                                                                  << 8;
        execution.sent = execution.count;
        mysql_read_integer(&execution.reader, 4);
        if (is_bulk)
            read_bulk(mysql, &list, &execution, statement, &attached);
        else
            read_execution(mysql, &list, &execution, statement, &attached);
        text_release(attached);
    }
    mysql_parameters_forget(mysql, id);
    return parameters_finish(&list, execution.reader.failed);
}
