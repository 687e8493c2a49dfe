/* Commands of MySQL clients. */
#include "protocol/mysql.h"

#define COMMAND_QUERY        0x03
#define COMMAND_CHANGE_USER  0x11
#define COMMAND_PREPARE      0x16
#define COMMAND_CLOSE        0x19
#define COMMAND_BULK         0xfa
#define LAST_STATEMENT       UINT32_MAX
#define QUERY_PARAMETERS_MAX 65535

/* Where the text of a command is. */
enum mysql_text { TEXT_NONE, TEXT_REST, TEXT_NAME, TEXT_QUERY, TEXT_STATEMENT };

/* What is not named here ends in silence: replication above all, whose answer never ends. */
static const struct {
    unsigned char code;
    const char *kind;
    enum mysql_answer answer;
    enum mysql_text text;
} commands[] = {
    { 0x01, "quit", MYSQL_NOTHING, TEXT_NONE },
    { 0x02, "init_db", MYSQL_ONE, TEXT_REST },
    { COMMAND_QUERY, "query", MYSQL_RESULT, TEXT_QUERY },
    { 0x04, "field_list", MYSQL_FIELDS, TEXT_NAME },
    { 0x05, "create_db", MYSQL_ONE, TEXT_REST },
    { 0x06, "drop_db", MYSQL_ONE, TEXT_REST },
    { 0x07, "refresh", MYSQL_ONE, TEXT_NONE },
    { 0x08, "shutdown", MYSQL_ONE, TEXT_NONE },
    { 0x09, "statistics", MYSQL_ONE, TEXT_NONE },
    { 0x0a, "process_info", MYSQL_RESULT, TEXT_NONE },
    { 0x0c, "process_kill", MYSQL_ONE, TEXT_NONE },
    { 0x0d, "debug", MYSQL_ONE, TEXT_NONE },
    { 0x0e, "ping", MYSQL_ONE, TEXT_NONE },
    { COMMAND_CHANGE_USER, "change_user", MYSQL_USER, TEXT_NONE },
    { COMMAND_PREPARE, "prepare", MYSQL_PREPARED, TEXT_REST },
    { 0x17, "execute", MYSQL_RESULT, TEXT_STATEMENT },
    { 0x18, "send_long_data", MYSQL_NOTHING, TEXT_NONE },
    { COMMAND_CLOSE, "close", MYSQL_NOTHING, TEXT_NONE },
    { 0x1a, "reset_statement", MYSQL_ONE, TEXT_STATEMENT },
    { 0x1b, "set_option", MYSQL_ONE, TEXT_NONE },
    { 0x1c, "fetch", MYSQL_ROWS, TEXT_STATEMENT },
    { 0x1f, "reset_connection", MYSQL_ONE, TEXT_NONE },
    { COMMAND_BULK, "execute", MYSQL_RESULT, TEXT_STATEMENT },
};

/* How many bytes a value of this type has in the binary protocol; -1: a length stands before it. */
static int value_size(unsigned type)
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

/* Query attributes: parameters that stand before the text, as those of prepared statements do, with names. */
static void skip_parameters(struct mysql_reader *reader, uint64_t count)
{
    struct slice nulls = mysql_read_bytes(reader, (count + 7) / 8);
    if (mysql_read_integer(reader, 1) != 1 || reader->failed) {
        reader->failed = true;
        return;
    }
    struct mysql_reader types = *reader;
    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        mysql_read_integer(reader, 2);
        mysql_read_bytes(reader, mysql_read_length(reader));
    }
    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        int size = value_size((unsigned)mysql_read_integer(&types, 2));
        mysql_read_bytes(&types, mysql_read_length(&types));
        if ((nulls.bytes[i / 8] >> (i % 8) & 1) == 0)
            mysql_read_bytes(reader, size < 0 ? mysql_read_length(reader) : (uint64_t)size);
    }
}

static struct slice query_text(const struct mysql *mysql, struct slice rest)
{
    struct mysql_reader reader = { .rest = rest };
    if ((mysql->capabilities & MYSQL_QUERY_ATTRIBUTES) == 0)
        return rest;
    uint64_t count = mysql_read_length(&reader);
    mysql_read_length(&reader); /* of sets of parameters: 1 */
    if (count > 0 && count <= QUERY_PARAMETERS_MAX)
        skip_parameters(&reader, count);
    return reader.failed ? rest : reader.rest;
}

static struct text *statement_text(struct mysql *mysql, struct slice rest)
{
    struct mysql_reader reader = { .rest = rest };
    uint32_t id = (uint32_t)mysql_read_integer(&reader, 4);
    if (id == LAST_STATEMENT)
        id = mysql->last_statement;
    return text_store_get(&mysql->statements, (struct slice){ (const char *)&id, sizeof id });
}

static void close_statement(struct mysql *mysql, struct slice rest)
{
    struct mysql_reader reader = { .rest = rest };
    uint32_t id = (uint32_t)mysql_read_integer(&reader, 4);
    text_store_remove(&mysql->statements, (struct slice){ (const char *)&id, sizeof id });
}

/* What was still being read when this came belongs to the answer before, if there is one. */
static void begin_command(struct observer *observer, struct mysql *mysql)
{
    if (observe_first(observer) == NULL)
        mysql->step = MYSQL_STEP_FIRST;
}

static struct slice command_text(const struct mysql *mysql, enum mysql_text where, struct slice rest)
{
    if (where == TEXT_QUERY)
        return query_text(mysql, rest);
    if (where == TEXT_NAME && rest.length > 0)
        rest.length = strnlen(rest.bytes, rest.length);
    else if (where != TEXT_REST)
        rest.length = 0;
    return rest;
}

void mysql_command(struct observer *observer, struct mysql *mysql, struct slice message)
{
    unsigned char code = message.length > 0 ? (unsigned char)message.bytes[0] : 0;
    struct slice rest = message;
    size_t i = 0;
    while (i < sizeof commands / sizeof commands[0] && commands[i].code != code)
        i++;
    if (message.length == 0 || i == sizeof commands / sizeof commands[0]) {
        observe_lose(observer, "the client uses a command that is not followed");
        return;
    }
    slice_skip(&rest, 1);
    begin_command(observer, mysql);
    if (code == COMMAND_CHANGE_USER)
        text_store_clear(&mysql->statements);
    if (code == COMMAND_CLOSE)
        close_statement(mysql, rest);
    if (commands[i].answer == MYSQL_NOTHING) {
        observe_drop(observer, OBSERVE_CLIENT);
    } else if (commands[i].text == TEXT_STATEMENT) {
        struct pending *pending =
            observe_add(observer, commands[i].kind, statement_text(mysql, rest), (int)commands[i].answer);
        if (pending != NULL)
            observe_tell(observer, pending);
    } else {
        struct slice text = command_text(mysql, commands[i].text, rest);
        observe_ask(observer, commands[i].kind, text, (int)commands[i].answer);
    }
}
