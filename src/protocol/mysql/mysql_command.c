/* Commands of MySQL clients. */
#include "protocol/mysql/mysql.h"

#define COMMAND_QUERY            0x03
#define COMMAND_CHANGE_USER      0x11
#define COMMAND_PREPARE          0x16
#define COMMAND_EXECUTE          0x17
#define COMMAND_LONG_DATA        0x18
#define COMMAND_CLOSE            0x19
#define COMMAND_RESET_STATEMENT  0x1a
#define COMMAND_RESET_CONNECTION 0x1f
#define COMMAND_BULK             0xfa
#define LAST_STATEMENT           UINT32_MAX
#define QUERY_PARAMETERS_MAX     65535

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
    { COMMAND_EXECUTE, "execute", MYSQL_RESULT, TEXT_STATEMENT },
    { COMMAND_LONG_DATA, "send_long_data", MYSQL_NOTHING, TEXT_NONE },
    { COMMAND_CLOSE, "close", MYSQL_NOTHING, TEXT_NONE },
    { COMMAND_RESET_STATEMENT, "reset_statement", MYSQL_ONE, TEXT_STATEMENT },
    { 0x1b, "set_option", MYSQL_ONE, TEXT_NONE },
    { 0x1c, "fetch", MYSQL_ROWS, TEXT_STATEMENT },
    { COMMAND_RESET_CONNECTION, "reset_connection", MYSQL_ONE, TEXT_NONE },
    { COMMAND_BULK, "execute", MYSQL_RESULT, TEXT_STATEMENT },
};

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
        int size = mysql_value_size((unsigned)mysql_read_integer(&types, 2));
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

static uint32_t statement_id(const struct mysql *mysql, struct slice rest)
{
    struct mysql_reader reader = { .rest = rest };
    uint32_t id = (uint32_t)mysql_read_integer(&reader, 4);
    return id == LAST_STATEMENT ? mysql->last_statement : id;
}

/* The text of the statement that was prepared last, of which the server need not have said anything yet. */
static struct text *unanswered_statement(const struct observer *observer)
{
    struct list_node *last = list_last(&observer->pending);
    struct pending *pending = last == NULL ? NULL : list_entry(last, struct pending, node);
    return pending != NULL && pending->code == MYSQL_PREPARED ? pending->text : NULL;
}

static bool is_of_last_statement(struct slice rest)
{
    struct mysql_reader reader = { .rest = rest };
    return mysql_read_integer(&reader, 4) == LAST_STATEMENT;
}

static void close_statement(struct mysql *mysql, struct slice rest)
{
    uint32_t id = statement_id(mysql, rest);
    text_store_remove(&mysql->statements, (struct slice){ (const char *)&id, sizeof id });
    mysql_parameters_forget(mysql, id);
}

static void use_statement(struct observer *observer, struct mysql *mysql, size_t command, struct slice rest)
{
    unsigned char code = commands[command].code;
    uint32_t id = statement_id(mysql, rest);
    struct text *parameters = NULL;
    struct text *text = is_of_last_statement(rest) ? unanswered_statement(observer) : NULL;
    if (text == NULL) {
        text = text_store_get(&mysql->statements, (struct slice){ (const char *)&id, sizeof id }, NULL);
        if (code == COMMAND_EXECUTE || code == COMMAND_BULK)
            parameters = mysql_parameters_read(observer, mysql, id, rest, code == COMMAND_BULK);
    }
    if (code == COMMAND_RESET_STATEMENT)
        mysql_parameters_forget(mysql, id);
    struct pending *pending =
        observe_add(observer, commands[command].kind, text, (int)commands[command].answer);
    observe_add_parameters(observer, pending, parameters);
    text_release(parameters);
    if (pending != NULL)
        observe_tell(observer, pending);
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

/* What a command has to do with statements beside what it asks for. */
static void note_statement(struct observer *observer, struct mysql *mysql, unsigned char code,
                           struct slice rest)
{
    if (code == COMMAND_CHANGE_USER || code == COMMAND_RESET_CONNECTION) {
        text_store_clear(&mysql->statements);
        mysql_parameters_clear(mysql);
    } else if (code == COMMAND_CLOSE) {
        close_statement(mysql, rest);
    } else if (code == COMMAND_LONG_DATA) {
        mysql_parameters_long(observer, mysql, rest);
    }
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
    note_statement(observer, mysql, code, rest);
    if (commands[i].answer == MYSQL_NOTHING) {
        observe_drop(observer, OBSERVE_CLIENT);
    } else if (commands[i].text == TEXT_STATEMENT) {
        use_statement(observer, mysql, i, rest);
    } else {
        struct slice text = command_text(mysql, commands[i].text, rest);
        observe_ask(observer, commands[i].kind, text, (int)commands[i].answer);
    }
}
