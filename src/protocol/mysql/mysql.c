/* Follows MySQL and MariaDB sessions: packets, the way to the first command, commands and their answers. After
 * the client/server protocols as MySQL 8 and MariaDB 10.11 document and speak them. */
#include "protocol/mysql/mysql.h"

#include "protocol/check.h"
#include "protocol/protocols.h"

/* Where a message goes on in the next packet. */
#define PACKET_FULL 0xffffff

/* Bytes that are kept of what the server says: an error's text is the longest that matters. */
#define ANSWER_KEEP (OBSERVE_ERROR_MAX + 64)

/* ---- Commands ---- */

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
    { 0x04, "field_list", MYSQL_ROWS, TEXT_NAME },
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

/* The text of the statement that was prepared last, of which the server need not have said anything yet. */
static struct text *unanswered_statement(const struct mysql *mysql)
{
    struct list_node *last = list_last(&mysql->observer.pending);
    struct pending *pending = last == NULL ? NULL : list_entry(last, struct pending, node);
    return pending != NULL && pending->code == MYSQL_PREPARED ? pending->text : NULL;
}

static void use_statement(struct mysql *mysql, const struct command *command, uint32_t id, bool is_last,
                          struct slice rest)
{
    bool is_bulk = command->code == COMMAND_BULK;
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
static void note_statement(struct mysql *mysql, unsigned char code, uint32_t id, struct slice rest)
{
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

static void mysql_command(struct mysql *mysql, struct slice message)
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
    uint32_t id =
        (uint32_t)reader_little(&(struct reader){ .rest = message }, 4); /* if it is about a statement */
    bool is_last = id == LAST_STATEMENT;
    if (is_last)
        id = mysql->last_statement;
    if (observe_first(observer) == NULL) /* else what is being read belongs to the answer before */
        mysql->step = MYSQL_STEP_FIRST;
    note_statement(mysql, command->code, id, message);
    if (command->answer == MYSQL_NOTHING) {
        observe_drop(observer, OBSERVE_CLIENT);
    } else if (command->text == TEXT_STATEMENT) {
        use_statement(mysql, command, id, is_last, message);
    } else {
        struct slice bytes = command_text(mysql, command->text, message);
        struct text *text = bytes.length > 0 ? text_create(bytes, OBSERVE_TEXT_MAX) : NULL;
        observe_ask(observer, command->kind, text, NULL, (int)command->answer);
        text_release(text);
    }
}

/* ---- Answers ---- */

#define STATUS_MORE_RESULTS 0x0008
#define STATUS_CURSOR       0x0040

#define MARK_OK    0x00
#define MARK_FILE  0xfb
#define MARK_END   0xfe
#define MARK_ERROR 0xff

/* An EOF of the old form has less than 9 bytes: else it is a row that begins with the same byte. */
#define OLD_EOF_LENGTH 9

#define OK_LENGTH_MIN 7

/* MariaDB tells the progress of long commands in what looks like errors. */
#define ERROR_PROGRESS 0xffff

/* No table has more. */
#define COLUMNS_MAX 65535

static bool deprecates_eof(const struct mysql *mysql)
{
    return mysql_can(mysql, MYSQL_DEPRECATE_EOF);
}

static unsigned char mark_of(struct slice message)
{
    return (unsigned char)message.bytes[0];
}

/* More of a message than the longest end has is kept, so that this is as good as its own length. */
static bool is_end(const struct mysql *mysql, struct slice message)
{
    return mark_of(message) == MARK_END &&
           (deprecates_eof(mysql) ? !mysql->is_continued[OBSERVE_TARGET] : message.length < OLD_EOF_LENGTH);
}

/* The status in an OK, or in an EOF, which without its deprecation has a form of its own. */
static unsigned status_of(const struct mysql *mysql, struct slice message)
{
    struct reader reader = { .rest = message };
    if (reader_little(&reader, 1) == MARK_END && !deprecates_eof(mysql)) {
        reader_little(&reader, 2);
    } else {
        mysql_read_length(&reader);
        mysql_read_length(&reader);
    }
    return (unsigned)reader_little(&reader, 2);
}

static void finish(struct mysql *mysql)
{
    mysql->step = MYSQL_STEP_FIRST;
    observe_answer(&mysql->observer, observe_first(&mysql->observer));
}

/* "1146 (42S02): Table 'x' doesn't exist" */
static void answer_error(struct mysql *mysql, struct slice message)
{
    struct reader reader = { .rest = message };
    reader_little(&reader, 1);
    unsigned code = (unsigned)reader_little(&reader, 2);
    struct slice state = SLICE("");
    if (code == ERROR_PROGRESS)
        return;
    if (reader.rest.length >= 6 && reader.rest.bytes[0] == '#')
        state = reader_bytes(&reader, 6);
    if (state.length > 0)
        observe_print_error(&mysql->observer, "%u (%.5s): %.*s", code, state.bytes + 1,
                            (int)reader.rest.length, reader.rest.bytes);
    else
        observe_print_error(&mysql->observer, "%u: %.*s", code, (int)reader.rest.length, reader.rest.bytes);
    finish(mysql);
}

/* One result has ended; another may follow. */
static void end_result(struct mysql *mysql, struct slice message)
{
    mysql->step = MYSQL_STEP_FIRST;
    if ((status_of(mysql, message) & STATUS_MORE_RESULTS) == 0)
        finish(mysql);
}

/* Behind the definitions. */
static enum mysql_step step_to_rows(const struct mysql *mysql)
{
    return deprecates_eof(mysql) ? MYSQL_STEP_ROWS : MYSQL_STEP_DEFINED;
}

/* Whether definitions follow. */
static bool read_has_definitions(const struct mysql *mysql, struct reader *reader)
{
    return !mysql_can(mysql, MYSQL_OPTIONAL_METADATA) || reader_little(reader, 1) != 0;
}

/* How many columns the rows have. */
static void begin_rows(struct mysql *mysql, struct slice message)
{
    struct reader reader = { .rest = message };
    bool has_definitions = read_has_definitions(mysql, &reader);
    mysql->left = mysql_read_length(&reader);
    if (mysql_can(mysql, MYSQL_CACHE_METADATA))
        has_definitions = reader_little(&reader, 1) != 0;
    if (reader.failed || reader.rest.length > 0 || mysql->left == 0 || mysql->left > COLUMNS_MAX)
        observe_lose(&mysql->observer, "the server's answer can't be read");
    else
        mysql->step = has_definitions ? MYSQL_STEP_DEFINITIONS : step_to_rows(mysql);
}

/* Rows without definitions begin with the same byte as an OK, but are announced in fewer bytes than it has. */
static bool is_ok(const struct mysql *mysql, struct slice message)
{
    return mark_of(message) == MARK_OK &&
           (!mysql_can(mysql, MYSQL_OPTIONAL_METADATA) || message.length >= OK_LENGTH_MIN);
}

static void answer_result(struct mysql *mysql, struct slice message)
{
    if (mysql->step == MYSQL_STEP_DEFINITIONS) {
        if (--mysql->left == 0)
            mysql->step = step_to_rows(mysql);
    } else if (mysql->step == MYSQL_STEP_DEFINED) { /* with a cursor the rows are fetched later */
        mysql->step = MYSQL_STEP_ROWS;
        if ((status_of(mysql, message) & STATUS_CURSOR) != 0)
            end_result(mysql, message);
    } else if (mysql->step == MYSQL_STEP_ROWS) {
        if (is_end(mysql, message))
            end_result(mysql, message);
    } else if (is_ok(mysql, message)) { /* it may come before all of a file has, as an error may */
        end_result(mysql, message);
    } else if (mark_of(message) == MARK_FILE) {
        mysql->step = MYSQL_STEP_FILE;
    } else {
        begin_rows(mysql, message);
    }
}

static uint64_t packets_of(const struct mysql *mysql, uint64_t definitions)
{
    return definitions > 0 && !deprecates_eof(mysql) ? definitions + 1 : definitions;
}

static void answer_prepared(struct mysql *mysql, struct slice message)
{
    struct text *text = observe_first(&mysql->observer)->text;
    struct reader reader = { .rest = message };
    reader_little(&reader, 1);
    uint32_t id = (uint32_t)reader_little(&reader, 4);
    uint64_t columns = reader_little(&reader, 2);
    uint64_t parameters = reader_little(&reader, 2);
    reader_little(&reader, 3);
    bool has_definitions = read_has_definitions(mysql, &reader);
    if (reader.failed && has_definitions) {
        observe_lose(&mysql->observer, "the server's answer can't be read");
        return;
    }
    mysql->last_statement = id;
    text_store_put(&mysql->statements, mysql_name(&id), text, NULL);
    mysql_parameters_prepared(mysql, text, (unsigned)parameters);
    mysql->left = has_definitions ? packets_of(mysql, columns) + packets_of(mysql, parameters) : 0;
    mysql->step = MYSQL_STEP_SKIP;
    if (mysql->left == 0)
        finish(mysql);
}

static void mysql_answer(struct mysql *mysql, struct slice message)
{
    enum mysql_answer answer = (enum mysql_answer)observe_first(&mysql->observer)->code;
    if (message.length == 0) {
        observe_lose(&mysql->observer, "the server's answer can't be read");
    } else if (mark_of(message) == MARK_ERROR) {
        answer_error(mysql, message);
    } else if (answer == MYSQL_RESULT) {
        answer_result(mysql, message);
    } else if (answer == MYSQL_ROWS) {
        if (is_end(mysql, message))
            finish(mysql);
    } else if (answer == MYSQL_PREPARED && mysql->step != MYSQL_STEP_SKIP) {
        answer_prepared(mysql, message);
    } else if (answer == MYSQL_PREPARED) {
        if (--mysql->left == 0)
            finish(mysql);
    } else if (answer == MYSQL_USER && mark_of(message) != MARK_OK) {
        mysql->step = MYSQL_STEP_USER;
    } else {
        finish(mysql);
    }
}

/* ---- The way to the first command ---- */

static void read_handshake(struct mysql *mysql, struct slice message)
{
    struct reader reader = { .rest = message };
    if (reader_little(&reader, 1) != 10) {
        observe_lose(&mysql->observer, "the server does not greet with version 10 of the protocol");
        return;
    }
    reader_string(&reader); /* the server's version */
    reader_bytes(&reader, 4 + 8 + 1);
    mysql->capabilities = reader_little(&reader, 2);
    reader_bytes(&reader, 1 + 2);
    mysql->capabilities |= reader_little(&reader, 2) << 16;
    reader_bytes(&reader, 1 + 6);
    uint64_t more = reader_little(&reader, 4);
    if (!mysql_can(mysql, MYSQL_LONG_PASSWORD))
        mysql->capabilities |= more << 32;
    mysql->phase = MYSQL_LOGIN;
    if (reader.failed)
        observe_lose(&mysql->observer, "the server's greeting can't be read");
}

static void read_login(struct mysql *mysql, struct slice message)
{
    struct reader reader = { .rest = message };
    uint64_t capabilities = reader_little(&reader, 4);
    reader_bytes(&reader, 4 + 1 + 19);
    uint64_t more = reader_little(&reader, 4);
    if ((capabilities & MYSQL_LONG_PASSWORD) == 0)
        capabilities |= more << 32;
    mysql->capabilities &= capabilities;
    mysql->phase = MYSQL_AUTHENTICATION;
    if ((capabilities & MYSQL_SSL) != 0)
        observe_lose(&mysql->observer, "the session turns to TLS");
    else if (reader.failed || (capabilities & MYSQL_PROTOCOL_41) == 0)
        observe_lose(&mysql->observer, "the client speaks a protocol older than 4.1");
}

static void read_verdict(struct mysql *mysql, struct slice message)
{
    if (message.length == 0 || message.bytes[0] != 0)
        return; /* a question, or no */
    mysql->phase = MYSQL_COMMANDS;
    if (mysql_can(mysql, MYSQL_COMPRESS | MYSQL_ZSTD))
        observe_lose(&mysql->observer, "the session is compressed");
}

/* ---- Messages ---- */

static void client_message(struct mysql *mysql, struct slice message)
{
    struct observer *observer = &mysql->observer;
    struct pending *first = observe_first(observer);
    if (mysql->phase == MYSQL_GREETING) {
        observe_lose(observer, "the client speaks first");
    } else if (mysql->phase == MYSQL_LOGIN) {
        read_login(mysql, message);
    } else if (mysql->phase == MYSQL_COMMANDS) {
        bool is_user = mysql->step == MYSQL_STEP_USER;
        if (first == NULL || (mysql->step != MYSQL_STEP_FILE && !is_user)) {
            mysql_command(mysql, message);
            return;
        }
        first->request_bytes += observer->sides[OBSERVE_CLIENT].count;
        if (is_user || message.length == 0)
            mysql->step = MYSQL_STEP_FIRST; /* the file's end, or the answer to the question */
    }
    observe_drop(observer, OBSERVE_CLIENT);
}

static void server_message(struct mysql *mysql, struct slice message)
{
    struct observer *observer = &mysql->observer;
    if (mysql->phase == MYSQL_COMMANDS && observe_first(observer) != NULL) {
        mysql_answer(mysql, message);
        return;
    }
    if (mysql->phase == MYSQL_GREETING)
        read_handshake(mysql, message);
    else if (mysql->phase == MYSQL_AUTHENTICATION)
        read_verdict(mysql, message);
    observe_drop(observer, OBSERVE_TARGET); /* also what answers nothing: "the server shuts down" */
}

static void mysql_bytes(struct observer *observer, enum observe_side side, struct slice *input)
{
    struct mysql *mysql = (struct mysql *)observer;
    struct packet *packet = &observer->sides[side].packet;
    struct slice message;
    if (packet_read_head(observer, side, input, 4)) {
        struct reader head = { .rest = { (const char *)packet->head, 3 } };
        packet->left = reader_little(&head, 3);
        mysql->is_continued[side] = mysql->goes_on[side];
        mysql->goes_on[side] = packet->left == PACKET_FULL;
        if (mysql->is_continued[side])
            packet->keep = packet->body.length; /* the message's beginning is enough */
        else
            packet->keep = side == OBSERVE_CLIENT ? OBSERVE_TEXT_MAX + 64 : ANSWER_KEEP;
    }
    if (!packet_read_body(observer, side, input, &message))
        return;
    if (mysql->goes_on[side]) {
        if (packet->body.length == 0) /* it came in one piece */
            buffer_append(&packet->body, message.bytes, message.length);
        return;
    }
    if (side == OBSERVE_CLIENT)
        client_message(mysql, message);
    else
        server_message(mysql, message);
    buffer_free(&packet->body);
}

static void mysql_open(struct observer *observer)
{
    struct mysql *mysql = (struct mysql *)observer;
    text_store_init(&mysql->statements, OBSERVE_TEXTS_MAX);
    list_init(&mysql->long_values);
}

static void mysql_close(struct observer *observer)
{
    struct mysql *mysql = (struct mysql *)observer;
    text_store_clear(&mysql->statements);
    mysql_parameters_clear(mysql);
}

static const struct follower mysql_follower = {
    .size = sizeof(struct mysql),
    .open = mysql_open,
    .close = mysql_close,
    .bytes = mysql_bytes,
};

/* Its greeting: a packet whose first byte is the protocol's version, or 255 for an error such as "too many connections",
 * whose text comes after its number. */
static enum protocol_outcome mysql_read_check(const struct protocol_settings *, const struct check_settings *,
                                              struct slice answer, struct buffer *error)
{
    const unsigned char *bytes = (const unsigned char *)answer.bytes;
    if (answer.length < 5)
        return PROTOCOL_MORE;
    size_t length = 4 + (size_t)(bytes[0] | bytes[1] << 8 | bytes[2] << 16);
    if (bytes[4] == 10 && bytes[3] == 0)
        return PROTOCOL_COMPLETE;
    if (bytes[4] != 255)
        buffer_append_text(error, "it does not greet as a MySQL server does");
    else if (answer.length < length)
        return PROTOCOL_MORE;
    else if (length > 7)
        check_quote((struct slice){ answer.bytes + 7, length - 7 }, error);
    return PROTOCOL_BROKEN;
}

const struct protocol protocol_mysql = { .name = "mysql",
                                         .follower = &mysql_follower,
                                         .read_check = mysql_read_check };
