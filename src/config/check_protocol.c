#include "config/check_protocol.h"

#include "config/bytes.h"
#include "protocol/length/length.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest strings of bytes. */
#define MARK_MAX        256
#define ERROR_REPLY_MAX 65536

/* Decimal digits whose number surely fits 64 bits. */
#define DIGITS_MAX 18

/* The group being checked and what comes of it. */
struct protocol_check {
    const struct check *check;
    const struct parsed_group *group;
    enum key_protocol type;
    struct protocol_settings *settings;
};

static const struct parsed_value *peek(const struct protocol_check *protocol, const char *key)
{
    return parsed_peek(protocol->group, key);
}

/* A value that can be judged: it is there, and nothing was said of it yet. */
static bool is_usable(const struct parsed_value *value)
{
    return value->set && !value->faulty;
}

static void take_plain(const struct protocol_check *protocol, const char *key, struct slice *slice)
{
    const struct parsed_value *value = peek(protocol, key);
    if (!is_usable(value))
        return;
    if (*value->string == '\0') {
        check_error(protocol->check, protocol->group, key, &value->origin, "is empty");
        return;
    }
    slice->bytes = strdup(value->string);
    slice->length = strlen(value->string);
    if (slice->bytes == NULL)
        problem_memory(protocol->check->parsed->problems);
}

/* The first bytes of an escape that there is none of; no more is shown, since strings can be long. */
static void report_escape(const struct protocol_check *protocol, const char *key, const char *wrong)
{
    check_error(protocol->check, protocol->group, key, &peek(protocol, key)->origin,
                "\"%.*s\" is no escape: there are \\n, \\r, \\t, \\0, \\\\ and \\xNN, which the file writes "
                "with two backslashes",
                wrong[1] == 'x' ? 4 : 2, wrong);
}

static void take_bytes(const struct protocol_check *protocol, const char *key, size_t most,
                       struct slice *slice)
{
    const struct parsed_value *value = peek(protocol, key);
    const char *wrong;
    if (!is_usable(value))
        return;
    if (!bytes_decode(value->string, slice, &wrong)) {
        if (wrong != NULL)
            report_escape(protocol, key, wrong);
        else
            problem_memory(protocol->check->parsed->problems);
    } else if (slice->length == 0) {
        check_error(protocol->check, protocol->group, key, &value->origin, "is empty");
    } else if (slice->length > most) {
        check_error(protocol->check, protocol->group, key, &value->origin, "has more than %zu bytes", most);
    }
}

static bool slice_ends_with(struct slice slice, struct slice end)
{
    return slice.length >= end.length &&
           memcmp(slice.bytes + slice.length - end.length, end.bytes, end.length) == 0;
}

/* Clients would go on waiting for the rest of a reply that is no whole message. */
static void check_error_reply(const struct protocol_check *protocol, struct slice start, struct slice end)
{
    struct slice reply = protocol->settings->error_reply;
    if (reply.length == 0 || end.length == 0)
        return;
    if (!slice_ends_with(reply, end) || reply.length < start.length ||
        memcmp(reply.bytes, start.bytes, start.length) != 0)
        check_warning(protocol->check, protocol->group, "error_reply", &peek(protocol, "error_reply")->origin,
                      "is no whole message: it does not %s",
                      protocol->type == TYPE_LINE ? "end with the delimiter" : "go from start to end");
}

static void take_raw(const struct protocol_check *protocol)
{
    protocol->settings->raw.response_gap = peek(protocol, "response_gap")->number;
}

static void take_line(const struct protocol_check *protocol)
{
    struct protocol_settings *settings = protocol->settings;
    const struct parsed_value *reply_lines = peek(protocol, "reply_lines");
    take_bytes(protocol, "delimiter", MARK_MAX, &settings->line.delimiter);
    take_bytes(protocol, "reply_until", MARK_MAX, &settings->line.reply_until);
    take_bytes(protocol, "reply_if", MARK_MAX, &settings->line.reply_if);
    take_bytes(protocol, "error_reply", ERROR_REPLY_MAX, &settings->error_reply);
    settings->line.reply_lines = reply_lines->number;
    if (reply_lines->number > 1 && peek(protocol, "reply_until")->set)
        check_error(protocol->check, protocol->group, "reply_lines", &reply_lines->origin,
                    "does not go with reply_until: an answer ends by one of them");
    check_error_reply(protocol, (struct slice){ "", 0 }, settings->line.delimiter);
}

static void check_width(const struct protocol_check *protocol)
{
    const struct parsed_value *width = peek(protocol, "width");
    int64_t number = width->number;
    if (!is_usable(width))
        return;
    switch (protocol->settings->length.encoding) {
    case PROTOCOL_BINARY:
        if (number > 4 && number != 8)
            check_error(protocol->check, protocol->group, "width", &width->origin,
                        "a binary length has 1, 2, 3, 4 or 8 bytes");
        break;
    case PROTOCOL_ASCII:
        if (number > DIGITS_MAX)
            check_error(protocol->check, protocol->group, "width", &width->origin,
                        "an ascii length has 1 to %d digits", DIGITS_MAX);
        break;
    case PROTOCOL_BCD:
        if (number > DIGITS_MAX / 2)
            check_error(protocol->check, protocol->group, "width", &width->origin,
                        "a bcd length has 1 to %d bytes, with two digits each", DIGITS_MAX / 2);
        break;
    }
    if (protocol->settings->length.offset + number > LENGTH_HEAD_MAX)
        check_error(protocol->check, protocol->group, "width", &width->origin,
                    "the length ends after %" PRId64 " bytes; a header has %d at most",
                    protocol->settings->length.offset + number, LENGTH_HEAD_MAX);
}

/* A key of `id`; false if it is missing or wrong. */
static bool take_id_number(const struct protocol_check *protocol, const char *key, int64_t *number)
{
    const struct parsed_value *id = peek(protocol, "id");
    const struct parsed_value *value = parsed_peek(id->group, key);
    if (!value->set && !value->faulty)
        check_error(protocol->check, id->group, key, &id->group->origin, "is required");
    *number = value->number;
    return is_usable(value);
}

static void take_id(const struct protocol_check *protocol)
{
    struct protocol_settings *settings = protocol->settings;
    const struct parsed_value *id = peek(protocol, "id");
    int64_t offset;
    int64_t width;
    if (!is_usable(id) || id->group == NULL)
        return;
    bool has_offset = take_id_number(protocol, "offset", &offset);
    bool has_width = take_id_number(protocol, "width", &width);
    if (!has_offset || !has_width)
        return;
    settings->length.id_offset = offset;
    settings->length.id_width = width;
    if (offset + width > LENGTH_HEAD_MAX)
        check_error(protocol->check, protocol->group, "id", &id->origin,
                    "the id ends after %" PRId64 " bytes; a header has %d at most", offset + width,
                    LENGTH_HEAD_MAX);
    if (is_usable(peek(protocol, "width")) && offset < settings->length.offset + settings->length.width &&
        settings->length.offset < offset + width)
        check_error(protocol->check, protocol->group, "id", &id->origin, "the id overlaps the length");
}

static void take_length(const struct protocol_check *protocol)
{
    struct protocol_settings *settings = protocol->settings;
    const struct parsed_value *endian = peek(protocol, "endian");
    settings->length.offset = peek(protocol, "offset")->number;
    settings->length.width = peek(protocol, "width")->number;
    settings->length.little_endian = endian->number != 0;
    settings->length.adjust = peek(protocol, "adjust")->number;
    settings->length.encoding = (enum protocol_encoding)peek(protocol, "encoding")->number;
    take_bytes(protocol, "error_reply", ERROR_REPLY_MAX, &settings->error_reply);
    check_width(protocol);
    take_id(protocol);
    if (settings->length.little_endian && settings->length.encoding != PROTOCOL_BINARY)
        check_error(protocol->check, protocol->group, "endian", &endian->origin,
                    "only binary numbers have an order of bytes; digits begin with the highest one");
}

static void take_marks(const struct protocol_check *protocol)
{
    struct protocol_settings *settings = protocol->settings;
    take_bytes(protocol, "start", MARK_MAX, &settings->marks.start);
    take_bytes(protocol, "end", MARK_MAX, &settings->marks.end);
    take_bytes(protocol, "error_reply", ERROR_REPLY_MAX, &settings->error_reply);
    check_error_reply(protocol, settings->marks.start, settings->marks.end);
}

static void take_modbus(const struct protocol_check *protocol)
{
    protocol->settings->modbus.match_order = peek(protocol, "match")->number != 0;
}

/* A name, or the beginning of one with an asterisk. */
static bool is_command(const char *text)
{
    size_t length = strlen(text);
    if (length > 0 && text[length - 1] == '*')
        length--;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] <= ' ' || (unsigned char)text[i] > '~' || text[i] == '*')
            return false;
    return *text != '\0';
}

static void take_command(const struct protocol_check *protocol, const struct parsed_item *item)
{
    struct protocol_settings *settings = protocol->settings;
    struct slice *command = &settings->redis.commands[settings->redis.command_count];
    if (!is_command(item->text)) {
        check_error(protocol->check, protocol->group, "commands", &item->origin,
                    "\"%.60s\" is no name of a command, nor the beginning of one with an asterisk as last "
                    "character",
                    item->text);
        return;
    }
    if (strcmp(item->text, "*") == 0)
        check_warning(protocol->check, protocol->group, "commands", &item->origin,
                      "\"*\" lets every command pass that is refused otherwise, also those that change the "
                      "connection for all who share it");
    command->bytes = strdup(item->text);
    command->length = strlen(item->text);
    if (command->bytes == NULL)
        problem_memory(protocol->check->parsed->problems);
    else
        settings->redis.command_count++;
}

static void take_commands(const struct protocol_check *protocol)
{
    const struct parsed_value *commands = peek(protocol, "commands");
    if (!is_usable(commands) || commands->count == 0)
        return;
    protocol->settings->redis.commands = calloc(commands->count, sizeof(struct slice));
    if (protocol->settings->redis.commands == NULL) {
        problem_memory(protocol->check->parsed->problems);
        return;
    }
    for (size_t i = 0; i < commands->count; i++)
        take_command(protocol, &commands->items[i]);
}

static void take_redis(const struct protocol_check *protocol)
{
    struct protocol_settings *settings = protocol->settings;
    const struct parsed_value *username = peek(protocol, "username");
    const struct parsed_value *password = peek(protocol, "password");
    const struct parsed_value *client_auth = peek(protocol, "client_auth");
    take_plain(protocol, "username", &settings->redis.username);
    take_plain(protocol, "password", &settings->redis.password);
    settings->redis.database = peek(protocol, "database")->number;
    settings->redis.client_auth = client_auth->number != 0;
    take_commands(protocol);
    if (username->set && !password->set && !password->faulty)
        check_error(protocol->check, protocol->group, "username", &username->origin, "needs a password");
    if (client_auth->set && !settings->redis.client_auth && !password->set && !password->faulty)
        check_warning(protocol->check, protocol->group, "client_auth", &client_auth->origin,
                      "has no effect without a password");
}

/* Each key has its protocols; those that are required are so for these. */
static void check_belonging(const struct protocol_check *protocol)
{
    size_t count;
    char owners[KEYS_TEXT_SIZE];
    const struct key *keys = keys_of(SCOPE_PROTOCOL, &count);
    for (size_t i = 0; i < count; i++) {
        const struct parsed_value *value = &protocol->group->values[i];
        bool belongs = keys_belongs(&keys[i], protocol->type);
        if (value->set && !belongs)
            check_error(protocol->check, protocol->group, keys[i].name, &value->origin,
                        "belongs to %s; the type here is \"%s\"",
                        keys_owners(&keys[i], owners, sizeof owners), keys_protocol_name(protocol->type));
        else if (!value->set && !value->faulty && belongs && keys[i].required)
            check_error(protocol->check, protocol->group, keys[i].name, &protocol->group->origin,
                        "is required with type \"%s\"", keys_protocol_name(protocol->type));
    }
}

static void take_keys(const struct protocol_check *protocol)
{
    switch (protocol->type) {
    case TYPE_RAW:
        take_raw(protocol);
        break;
    case TYPE_LINE:
        take_line(protocol);
        break;
    case TYPE_LENGTH:
        take_length(protocol);
        break;
    case TYPE_MARKS:
        take_marks(protocol);
        break;
    case TYPE_MODBUS:
        take_modbus(protocol);
        break;
    case TYPE_REDIS:
        take_redis(protocol);
        break;
    default:
        break; /* no keys of their own */
    }
}

void check_protocol(const struct check *check)
{
    const struct parsed_value *value = parsed_peek(check->group, "protocol");
    struct protocol_settings *settings = &check->settings->protocol;
    if (value->faulty || value->group == NULL)
        return;
    const struct protocol_check protocol = {
        .check = check,
        .group = value->group,
        .type = parsed_protocol(value->group),
        .settings = settings,
    };
    check->settings->protocol_name = keys_protocol_name(protocol.type);
    settings->protocol = protocol_find(check->settings->protocol_name);
    settings->follower = protocol_find_follower(check->settings->protocol_name);
    settings->is_async = check->settings->async;
    settings->head_limit = (size_t)check->settings->buffer_limit;
    settings->max_message = check->settings->max_message;
    check_belonging(&protocol);
    take_keys(&protocol);
}
