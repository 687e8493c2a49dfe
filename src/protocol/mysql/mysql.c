/* Follows MySQL and MariaDB sessions: packets, and the way to the first command. */
#include "protocol/mysql/mysql.h"

#include "protocol/protocols.h"

/* Where a message goes on in the next packet. */
#define PACKET_FULL 0xffffff

/* Bytes that are kept of what the server says: an error's text is the longest that matters. */
#define ANSWER_KEEP (OBSERVE_ERROR_MAX + 64)

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

const struct protocol protocol_mysql = { .name = "mysql", .follower = &mysql_follower };
