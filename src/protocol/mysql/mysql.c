/* Follows MySQL and MariaDB sessions: packets, and the way to the first command. */
#include "protocol/mysql/mysql.h"

#include "protocol/protocols.h"

/* Where a message goes on in the next packet. */
#define PACKET_FULL 0xffffff

/* Bytes that are kept of what the server says: an error's text is the longest that matters. */
#define ANSWER_KEEP (OBSERVE_ERROR_MAX + 64)

static void skip_string(struct mysql_reader *reader)
{
    const char *end = memchr(reader->rest.bytes, '\0', reader->rest.length);
    if (end == NULL)
        reader->failed = true;
    mysql_read_bytes(reader, end == NULL ? 0 : (uint64_t)(end - reader->rest.bytes) + 1);
}

/* ---- The way to the first command ---- */

static void read_handshake(struct observer *observer, struct mysql *mysql, struct slice message)
{
    struct mysql_reader reader = { .rest = message };
    if (mysql_read_integer(&reader, 1) != 10) {
        observe_lose(observer, "the server does not greet with version 10 of the protocol");
        return;
    }
    skip_string(&reader); /* the server's version */
    mysql_read_bytes(&reader, 4 + 8 + 1);
    mysql->capabilities = mysql_read_integer(&reader, 2);
    mysql_read_bytes(&reader, 1 + 2);
    mysql->capabilities |= mysql_read_integer(&reader, 2) << 16;
    mysql_read_bytes(&reader, 1 + 6);
    uint64_t more = mysql_read_integer(&reader, 4);
    if ((mysql->capabilities & MYSQL_LONG_PASSWORD) == 0)
        mysql->capabilities |= more << 32;
    mysql->phase = MYSQL_LOGIN;
    if (reader.failed)
        observe_lose(observer, "the server's greeting can't be read");
}

static void read_login(struct observer *observer, struct mysql *mysql, struct slice message)
{
    struct mysql_reader reader = { .rest = message };
    uint64_t capabilities = mysql_read_integer(&reader, 4);
    mysql_read_bytes(&reader, 4 + 1 + 19);
    uint64_t more = mysql_read_integer(&reader, 4);
    if ((capabilities & MYSQL_LONG_PASSWORD) == 0)
        capabilities |= more << 32;
    mysql->capabilities &= capabilities;
    mysql->phase = MYSQL_AUTHENTICATION;
    if ((capabilities & MYSQL_SSL) != 0)
        observe_lose(observer, "the session turns to TLS");
    else if (reader.failed || (capabilities & MYSQL_PROTOCOL_41) == 0)
        observe_lose(observer, "the client speaks a protocol older than 4.1");
}

static void read_verdict(struct observer *observer, struct mysql *mysql, struct slice message)
{
    if (message.length == 0 || message.bytes[0] != 0)
        return; /* a question, or no */
    mysql->phase = MYSQL_COMMANDS;
    if ((mysql->capabilities & (MYSQL_COMPRESS | MYSQL_ZSTD)) != 0)
        observe_lose(observer, "the session is compressed");
}

/* ---- Messages ---- */

static void client_message(struct observer *observer, struct mysql *mysql, struct slice message)
{
    struct pending *first = observe_first(observer);
    switch (mysql->phase) {
    case MYSQL_GREETING:
        observe_lose(observer, "the client speaks first");
        return;
    case MYSQL_LOGIN:
        read_login(observer, mysql, message);
        break;
    case MYSQL_AUTHENTICATION:
        break;
    case MYSQL_COMMANDS:
        if (first == NULL || (mysql->step != MYSQL_STEP_FILE && mysql->step != MYSQL_STEP_USER)) {
            mysql_command(observer, mysql, message);
            return;
        }
        first->request_bytes += observer->sides[OBSERVE_CLIENT].count;
        if (mysql->step == MYSQL_STEP_USER || message.length == 0)
            mysql->step = MYSQL_STEP_FIRST; /* the file's end, or the answer to the question */
        break;
    }
    observe_drop(observer, OBSERVE_CLIENT);
}

static void server_message(struct observer *observer, struct mysql *mysql, struct slice message,
                           uint64_t length)
{
    struct pending *first = observe_first(observer);
    if (mysql->phase == MYSQL_COMMANDS && first != NULL) {
        mysql_answer(observer, mysql, first, message, length);
        return;
    }
    if (mysql->phase == MYSQL_GREETING)
        read_handshake(observer, mysql, message);
    else if (mysql->phase == MYSQL_AUTHENTICATION)
        read_verdict(observer, mysql, message);
    observe_drop(observer, OBSERVE_TARGET); /* also what answers nothing: "the server shuts down" */
}

/* The message is whole. Its length matters only as far as it tells rows from ends, which are short. */
static void side_message(struct observer *observer, struct mysql *mysql, enum observe_side side,
                         struct slice message, uint64_t length)
{
    if (side == OBSERVE_CLIENT)
        client_message(observer, mysql, message);
    else
        server_message(observer, mysql, message, length);
}

/* A packet is whole. */
static void side_packet(struct observer *observer, struct mysql *mysql, enum observe_side which,
                        struct slice body, bool is_full)
{
    struct mysql_side *side = &mysql->sides[which];
    bool was_going_on = side->goes_on;
    side->goes_on = is_full;
    if (is_full && !was_going_on) {
        buffer_append(&side->beginning, body.bytes, body.length);
    } else if (!is_full && was_going_on) {
        side_message(observer, mysql, which, buffer_slice(&side->beginning), UINT64_MAX);
        buffer_free(&side->beginning);
    } else if (!is_full) {
        side_message(observer, mysql, which, body, body.length);
    }
}

static void side_read(struct observer *observer, struct mysql *mysql, enum observe_side which,
                      struct slice *input)
{
    struct packet *packet = &mysql->sides[which].packet;
    if (packet_read_head(packet, observer, which, input, 4)) {
        packet->left =
            (uint64_t)packet->head[0] | (uint64_t)packet->head[1] << 8 | (uint64_t)packet->head[2] << 16;
        packet->keep = which == OBSERVE_CLIENT ? OBSERVE_TEXT_MAX + 64 : ANSWER_KEEP;
        if (mysql->sides[which].goes_on)
            packet->keep = 0;
    }
    struct slice body;
    if (!packet_read_body(packet, observer, which, input, &body))
        return;
    uint32_t size =
        (uint32_t)packet->head[0] | (uint32_t)packet->head[1] << 8 | (uint32_t)packet->head[2] << 16;
    /* An end is never as long as what is kept, so that this is as good as the message's own length. */
    side_packet(observer, mysql, which, body, size == PACKET_FULL);
    packet_next(packet);
}

static void mysql_client(struct observer *observer, void *state, struct slice *input)
{
    side_read(observer, state, OBSERVE_CLIENT, input);
}

static void mysql_target(struct observer *observer, void *state, struct slice *input)
{
    side_read(observer, state, OBSERVE_TARGET, input);
}

static void mysql_open(struct observer *observer, void *state)
{
    struct mysql *mysql = state;
    (void)observer;
    text_store_init(&mysql->statements, OBSERVE_TEXTS_MAX);
    list_init(&mysql->long_values);
}

static void mysql_close(struct observer *observer, void *state)
{
    struct mysql *mysql = state;
    (void)observer;
    text_store_clear(&mysql->statements);
    mysql_parameters_clear(mysql);
    for (int i = 0; i < OBSERVE_SIDES; i++) {
        packet_next(&mysql->sides[i].packet);
        buffer_free(&mysql->sides[i].beginning);
    }
}

static const struct follower mysql_follower = {
    .size = sizeof(struct mysql),
    .open = mysql_open,
    .close = mysql_close,
    .client = mysql_client,
    .target = mysql_target,
};

const struct protocol protocol_mysql = { .name = "mysql", .follower = &mysql_follower };
