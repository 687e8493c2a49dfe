/* What a MySQL server answers. */
#include "protocol/mysql/mysql.h"

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

/* How many columns the rows have, and whether their definitions follow. */
static void begin_rows(struct mysql *mysql, struct slice message)
{
    struct reader reader = { .rest = message };
    bool has_definitions = true;
    if (mysql_can(mysql, MYSQL_OPTIONAL_METADATA))
        has_definitions = reader_little(&reader, 1) != 0;
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
    switch (mysql->step) {
    case MYSQL_STEP_FIRST:
    case MYSQL_STEP_FILE: /* an error may come before all of the file has */
        if (is_ok(mysql, message))
            end_result(mysql, message);
        else if (mark_of(message) == MARK_FILE)
            mysql->step = MYSQL_STEP_FILE;
        else
            begin_rows(mysql, message);
        break;
    case MYSQL_STEP_DEFINITIONS:
        if (--mysql->left == 0)
            mysql->step = step_to_rows(mysql);
        break;
    case MYSQL_STEP_DEFINED: /* with a cursor the rows are fetched later */
        mysql->step = MYSQL_STEP_ROWS;
        if ((status_of(mysql, message) & STATUS_CURSOR) != 0)
            end_result(mysql, message);
        break;
    case MYSQL_STEP_ROWS:
        if (is_end(mysql, message))
            end_result(mysql, message);
        break;
    case MYSQL_STEP_SKIP:
    case MYSQL_STEP_USER:
        break;
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
    bool has_definitions = true;
    if (mysql_can(mysql, MYSQL_OPTIONAL_METADATA))
        has_definitions = reader_little(&reader, 1) != 0;
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

void mysql_answer(struct mysql *mysql, struct slice message)
{
    if (message.length == 0) {
        observe_lose(&mysql->observer, "the server's answer can't be read");
        return;
    }
    if (mark_of(message) == MARK_ERROR) {
        answer_error(mysql, message);
        return;
    }
    switch ((enum mysql_answer)observe_first(&mysql->observer)->code) {
    case MYSQL_NOTHING:
    case MYSQL_ONE:
        finish(mysql);
        break;
    case MYSQL_RESULT:
        answer_result(mysql, message);
        break;
    case MYSQL_FIELDS:
    case MYSQL_ROWS:
        if (is_end(mysql, message))
            finish(mysql);
        break;
    case MYSQL_PREPARED:
        if (mysql->step != MYSQL_STEP_SKIP)
            answer_prepared(mysql, message);
        else if (--mysql->left == 0)
            finish(mysql);
        break;
    case MYSQL_USER:
        if (mark_of(message) == MARK_OK)
            finish(mysql);
        else
            mysql->step = MYSQL_STEP_USER;
        break;
    }
}
