/* Commands of MySQL clients. */
#include "protocol/mysql/mysql.h"

#define COMMAND_CHANGE_USER      0x11
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
static const struct command {
    unsigned char code;
    const char *kind;
    enum mysql_answer answer;
    enum mysql_text text;
} commands[] = {
    { 0x01, "quit", MYSQL_NOTHING, TEXT_NONE },
    { 0x02, "init_db", MYSQL_ONE, TEXT_REST },
    { 0x03, "query", MYSQL_RESULT, TEXT_QUERY },
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
    { 0x16, "prepare", MYSQL_PREPARED, TEXT_REST },
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
static void skip_parameters(struct reader *reader, uint64_t count)
{
    struct slice nulls = reader_bytes(reader, (count + 7) / 8);
    if (reader_little(reader, 1) != 1 || reader->failed) {
        reader->failed = true;
        return;
    }
    struct reader types = *reader;
    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        reader_little(reader, 2);
        reader_bytes(reader, mysql_read_length(reader));
    }
    for (uint64_t i = 0; i < count && !reader->failed; i++) {
        int size = mysql_value_size((unsigned)reader_little(&types, 2));
        reader_bytes(&types, mysql_read_length(&types));
        if ((nulls.bytes[i / 8] >> (i % 8) & 1) == 0)
            reader_bytes(reader, size < 0 ? mysql_read_length(reader) : (uint64_t)size);
    }
}

static struct slice query_text(const struct mysql *mysql, struct slice rest)
{
    struct reader reader = { .rest = rest };
    if (!mysql_can(mysql, MYSQL_QUERY_ATTRIBUTES))
        return rest;
    uint64_t count = mysql_read_length(&reader);
    mysql_read_length(&reader); /* of sets of parameters: 1 */
    if (count > 0 && count <= QUERY_PARAMETERS_MAX)
        skip_parameters(&reader, count);
    return reader.failed ? rest : reader.rest;
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

/* The statement that a command is about; `is_last`: the one that was prepared last. */
static uint32_t statement_id(const struct mysql *mysql, struct slice rest, bool *is_last)
{
    struct reader reader = { .rest = rest };
    uint32_t id = (uint32_t)reader_little(&reader, 4);
    *is_last = id == LAST_STATEMENT;
    return *is_last ? mysql->last_statement : id;
}

/* The text of the statement that was prepared last, of which the server need not have said anything yet. */
static struct text *unanswered_statement(const struct mysql *mysql)
{
    struct list_node *last = list_last(&mysql->observer.pending);
    struct pending *pending = last == NULL ? NULL : list_entry(last, struct pending, node);
    return pending != NULL && pending->code == MYSQL_PREPARED ? pending->text : NULL;
}

static void use_statement(struct mysql *mysql, const struct command *command, struct slice rest)
{
    bool is_last;
    bool is_bulk = command->code == COMMAND_BULK;
    uint32_t id = statement_id(mysql, rest, &is_last);
    struct text *parameters = NULL;
    struct text *text = is_last ? unanswered_statement(mysql) : NULL;
    if (text == NULL) {
        text = text_store_get(&mysql->statements, mysql_name(&id), NULL);
        if (command->code == COMMAND_EXECUTE || is_bulk)
            parameters = mysql_parameters_read(mysql, id, rest, is_bulk);
    }
    observe_ask(&mysql->observer, command->kind, text, parameters, (int)command->answer);
    text_release(parameters);
}

/* What a command has to do with statements beside what it asks for. */
static void note_statement(struct mysql *mysql, unsigned char code, struct slice rest)
{
    bool is_last;
    uint32_t id = statement_id(mysql, rest, &is_last);
    if (code == COMMAND_CHANGE_USER || code == COMMAND_RESET_CONNECTION) {
        text_store_clear(&mysql->statements);
        mysql_parameters_clear(mysql);
    } else if (code == COMMAND_LONG_DATA) {
        mysql_parameters_long(mysql, rest);
    } else if (code == COMMAND_CLOSE) {
        text_store_remove(&mysql->statements, mysql_name(&id));
        mysql_parameters_forget(mysql, id);
    } else if (code == COMMAND_RESET_STATEMENT) {
        mysql_parameters_forget(mysql, id);
    }
}

void mysql_command(struct mysql *mysql, struct slice message)
{
    struct observer *observer = &mysql->observer;
    const struct command *command = commands, *end = commands + sizeof commands / sizeof commands[0];
    while (command < end && (message.length == 0 || command->code != (unsigned char)message.bytes[0]))
        command++;
    if (command == end) {
        observe_lose(observer, "the client uses a command that is not followed");
        return;
    }
    slice_skip(&message, 1);
    if (observe_first(observer) == NULL) /* else what is being read belongs to the answer before */
        mysql->step = MYSQL_STEP_FIRST;
    note_statement(mysql, command->code, message);
    if (command->answer == MYSQL_NOTHING) {
        observe_drop(observer, OBSERVE_CLIENT);
    } else if (command->text == TEXT_STATEMENT) {
        use_statement(mysql, command, message);
    } else {
        struct slice bytes = command_text(mysql, command->text, message);
        struct text *text = bytes.length > 0 ? text_create(bytes, OBSERVE_TEXT_MAX) : NULL;
        observe_ask(observer, command->kind, text, NULL, (int)command->answer);
        text_release(text);
    }
}
