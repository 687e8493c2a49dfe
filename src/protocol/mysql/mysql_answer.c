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
#define PACKET_FULL    0xffffff

#define OK_LENGTH_MIN 7

/* MariaDB tells the progress of long commands in what looks like errors. */
#define ERROR_PROGRESS 0xffff

/* No table has more. */
#define COLUMNS_MAX 65535

static bool deprecates_eof(const struct mysql *mysql)
{
    return (mysql->capabilities & MYSQL_DEPRECATE_EOF) != 0;
}

static bool is_end(const struct mysql *mysql, unsigned char mark, uint64_t length)
{
    return mark == MARK_END && length < (deprecates_eof(mysql) ? PACKET_FULL : OLD_EOF_LENGTH);
}

/* The status in an OK, or in an EOF, which without its deprecation has a form of its own. */
static unsigned status_of(const struct mysql *mysql, struct slice message)
{
    struct mysql_reader reader = { .rest = message };
    uint64_t mark = mysql_read_integer(&reader, 1);
    if (mark == MARK_END && !deprecates_eof(mysql)) {
        mysql_read_integer(&reader, 2);
    } else {
        mysql_read_length(&reader);
        mysql_read_length(&reader);
    }
    return (unsigned)mysql_read_integer(&reader, 2);
}

/* "1146 (42S02): Table 'x' doesn't exist" */
static void note_error(struct observer *observer, struct slice message)
{
    struct mysql_reader reader = { .rest = message };
    mysql_read_integer(&reader, 1);
    unsigned code = (unsigned)mysql_read_integer(&reader, 2);
    if (reader.rest.length >= 6 && reader.rest.bytes[0] == '#') {
        struct slice state = mysql_read_bytes(&reader, 6);
        observe_print_error(observer, "%u (%.5s): %.*s", code, state.bytes + 1, (int)reader.rest.length,
                            reader.rest.bytes);
    } else {
        observe_print_error(observer, "%u: %.*s", code, (int)reader.rest.length, reader.rest.bytes);
    }
}

static void finish(struct observer *observer, struct mysql *mysql, struct pending *pending)
{
    mysql->step = MYSQL_STEP_FIRST;
    observe_answer(observer, pending);
}

/* One result has ended; another may follow. */
static void end_result(struct observer *observer, struct mysql *mysql, struct pending *pending,
                       struct slice message)
{
    mysql->step = MYSQL_STEP_FIRST;
    if ((status_of(mysql, message) & STATUS_MORE_RESULTS) == 0)
        finish(observer, mysql, pending);
}

/* False if it was only news of the progress. */
static bool is_error(struct slice message)
{
    struct mysql_reader reader = { .rest = message };
    mysql_read_integer(&reader, 1);
    return mysql_read_integer(&reader, 2) != ERROR_PROGRESS;
}

/* How many columns the rows have, and whether their definitions follow. */
static void begin_rows(struct observer *observer, struct mysql *mysql, struct slice message)
{
    struct mysql_reader reader = { .rest = message };
    bool has_definitions = true;
    if ((mysql->capabilities & MYSQL_OPTIONAL_METADATA) != 0)
        has_definitions = mysql_read_integer(&reader, 1) != 0;
    mysql->left = mysql_read_length(&reader);
    if ((mysql->capabilities & MYSQL_CACHE_METADATA) != 0)
        has_definitions = mysql_read_integer(&reader, 1) != 0;
    if (reader.failed || reader.rest.length > 0 || mysql->left == 0 || mysql->left > COLUMNS_MAX)
        observe_lose(observer, "the server's answer can't be read");
    else if (has_definitions)
        mysql->step = MYSQL_STEP_DEFINITIONS;
    else
        mysql->step = deprecates_eof(mysql) ? MYSQL_STEP_ROWS : MYSQL_STEP_DEFINED;
}

/* Whether it is an OK. Rows without definitions begin with the same byte, but are announced in fewer
 * bytes than an OK has. */
static bool is_ok(const struct mysql *mysql, struct slice message)
{
    bool may_be_rows = (mysql->capabilities & MYSQL_OPTIONAL_METADATA) != 0;
    return message.bytes[0] == MARK_OK && (!may_be_rows || message.length >= OK_LENGTH_MIN);
}

static void first_of_result(struct observer *observer, struct mysql *mysql, struct pending *pending,
                            struct slice message, unsigned char mark)
{
    if (is_ok(mysql, message))
        end_result(observer, mysql, pending, message);
    else if (mark == MARK_FILE)
        mysql->step = MYSQL_STEP_FILE;
    else
        begin_rows(observer, mysql, message);
}

static void answer_result(struct observer *observer, struct mysql *mysql, struct pending *pending,
                          struct slice message, uint64_t length)
{
    unsigned char mark = (unsigned char)message.bytes[0];
    switch (mysql->step) {
    case MYSQL_STEP_FIRST:
    case MYSQL_STEP_FILE: /* an error may come before all of the file has */
        first_of_result(observer, mysql, pending, message, mark);
        break;
    case MYSQL_STEP_DEFINITIONS:
        if (--mysql->left == 0)
            mysql->step = deprecates_eof(mysql) ? MYSQL_STEP_ROWS : MYSQL_STEP_DEFINED;
        break;
    case MYSQL_STEP_DEFINED: /* with a cursor the rows are fetched later */
        mysql->step = MYSQL_STEP_ROWS;
        if ((status_of(mysql, message) & STATUS_CURSOR) != 0)
            end_result(observer, mysql, pending, message);
        break;
    case MYSQL_STEP_ROWS:
        if (is_end(mysql, mark, length))
            end_result(observer, mysql, pending, message);
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

static void answer_prepared(struct observer *observer, struct mysql *mysql, struct pending *pending,
                            struct slice message)
{
    if (mysql->step == MYSQL_STEP_SKIP) {
        if (--mysql->left == 0)
            finish(observer, mysql, pending);
        return;
    }
    struct mysql_reader reader = { .rest = message };
    mysql_read_integer(&reader, 1);
    uint32_t id = (uint32_t)mysql_read_integer(&reader, 4);
    uint64_t columns = mysql_read_integer(&reader, 2);
    uint64_t parameters = mysql_read_integer(&reader, 2);
    mysql_read_integer(&reader, 3);
    bool has_definitions = true;
    if ((mysql->capabilities & MYSQL_OPTIONAL_METADATA) != 0)
        has_definitions = mysql_read_integer(&reader, 1) != 0;
    if (reader.failed && has_definitions) {
        observe_lose(observer, "the server's answer can't be read");
        return;
    }
    mysql->last_statement = id;
    text_store_put(&mysql->statements, (struct slice){ (const char *)&id, sizeof id }, pending->text, NULL);
    mysql_parameters_prepared(observer, mysql, pending->text, (unsigned)parameters);
    mysql->left = has_definitions ? packets_of(mysql, columns) + packets_of(mysql, parameters) : 0;
    mysql->step = MYSQL_STEP_SKIP;
    if (mysql->left == 0)
        finish(observer, mysql, pending);
}

void mysql_answer(struct observer *observer, struct mysql *mysql, struct pending *pending,
                  struct slice message, uint64_t length)
{
    if (message.length == 0) {
        observe_lose(observer, "the server's answer can't be read");
        return;
    }
    unsigned char mark = (unsigned char)message.bytes[0];
    if (mark == MARK_ERROR) {
        if (!is_error(message))
            return;
        note_error(observer, message);
        finish(observer, mysql, pending);
        return;
    }
    switch ((enum mysql_answer)pending->code) {
    case MYSQL_NOTHING:
    case MYSQL_ONE:
        finish(observer, mysql, pending);
        break;
    case MYSQL_RESULT:
        answer_result(observer, mysql, pending, message, length);
        break;
    case MYSQL_FIELDS:
    case MYSQL_ROWS:
        if (is_end(mysql, mark, length))
            finish(observer, mysql, pending);
        break;
    case MYSQL_PREPARED:
        answer_prepared(observer, mysql, pending, message);
        break;
    case MYSQL_USER:
        if (mark == MARK_OK)
            finish(observer, mysql, pending);
        else
            mysql->step = MYSQL_STEP_USER;
        break;
    }
}
