/* Responses: where they end, however deep they are nested; and the handshake of a new target connection. */
#include "protocol/pass.h"
#include "protocol/redis/redis.h"

#include <stdio.h>

/* Most elements of a response: far from where sums would overflow. */
#define ELEMENTS_MAX (INT64_C(1) << 60)

/* ---- Elements ------------------------------------------------------------------------------------------ */

static bool redis_is_streamed_level(const struct redis_connection *connection)
{
    return connection->depth > 0 && connection->open[connection->depth] == 0;
}

/* Ends an element. COMPLETE if it is the last one of a response. */
static enum protocol_outcome redis_end_element(struct redis_connection *connection)
{
    connection->phase = REDIS_RESPONSE_TYPE;
    connection->open[connection->depth]--;
    if (connection->depth > 0 || connection->open[0] > 0)
        return PROTOCOL_MORE;
    connection->is_active = false;
    return connection->is_push ? PROTOCOL_MORE : PROTOCOL_COMPLETE;
}

/* An aggregate of so many elements begins. That of an attribute belongs to the element that follows, and is
 * none itself. */
static enum protocol_outcome redis_begin_aggregate(struct redis_connection *connection, int64_t count)
{
    int64_t each = connection->type == '%' || connection->type == '|' ? 2 : 1;
    if (count < 0 && (count != -1 || connection->type != '*'))
        return PROTOCOL_BROKEN;
    if (count > (ELEMENTS_MAX - connection->open[connection->depth]) / each)
        return PROTOCOL_BROKEN;
    if (count > 0)
        connection->open[connection->depth] += count * each;
    connection->phase = REDIS_RESPONSE_TYPE;
    return connection->type == '|' ? PROTOCOL_MORE : redis_end_element(connection);
}

/* Begins an aggregate or string without a length: an aggregate ends with a '.'. */
static enum protocol_outcome redis_begin_streamed(struct redis_connection *connection)
{
    connection->begins_stream = false;
    connection->phase = connection->type == '$' ? REDIS_RESPONSE_CHUNK : REDIS_RESPONSE_TYPE;
    if (connection->type == '$')
        return PROTOCOL_MORE;
    if (connection->depth == REDIS_STREAMED_DEPTH_MAX)
        return PROTOCOL_BROKEN;
    connection->open[++connection->depth] = 0;
    return PROTOCOL_MORE;
}

static enum protocol_outcome redis_begin_string(struct redis_connection *connection, int64_t length)
{
    bool is_null = length == -1 && connection->type == '$';
    bool is_last_chunk = length == 0 && connection->type == ';';
    if (is_null || is_last_chunk)
        return redis_end_element(connection);
    if (length < 0)
        return PROTOCOL_BROKEN;
    connection->left = (uint64_t)length;
    connection->phase = length > 0 ? REDIS_RESPONSE_DATA : REDIS_RESPONSE_CR;
    return PROTOCOL_MORE;
}

/* ---- Bytes --------------------------------------------------------------------------------------------- */

/* What follows a type; REDIS_RESPONSE_TYPE: there is no such type. */
static const unsigned char phases[256] = {
    ['+'] = REDIS_RESPONSE_TEXT,   ['-'] = REDIS_RESPONSE_TEXT,   [':'] = REDIS_RESPONSE_WORD,
    [','] = REDIS_RESPONSE_WORD,   ['('] = REDIS_RESPONSE_WORD,   ['#'] = REDIS_RESPONSE_WORD,
    ['_'] = REDIS_RESPONSE_WORD,   ['$'] = REDIS_RESPONSE_LENGTH, ['!'] = REDIS_RESPONSE_LENGTH,
    ['='] = REDIS_RESPONSE_LENGTH, ['*'] = REDIS_RESPONSE_LENGTH, ['~'] = REDIS_RESPONSE_LENGTH,
    ['%'] = REDIS_RESPONSE_LENGTH, ['|'] = REDIS_RESPONSE_LENGTH, ['>'] = REDIS_RESPONSE_LENGTH,
    ['.'] = REDIS_RESPONSE_CR,
};

/* Takes the next byte if it is that one. */
static bool redis_take_byte(struct slice *input, char c)
{
    bool is_there = input->bytes[0] == c;
    slice_skip(input, is_there);
    return is_there;
}

static enum protocol_outcome redis_read_type(struct redis_connection *connection, struct slice *input,
                                             bool is_expected)
{
    char c = input->bytes[0];
    bool is_first = !connection->is_active, is_push = c == '>';
    connection->phase = phases[(unsigned char)c];
    if (connection->phase == REDIS_RESPONSE_TYPE || (is_push && !is_first) ||
        (is_first && !is_push && !is_expected))
        return PROTOCOL_BROKEN;
    if (is_first) {
        connection->is_active = true;
        connection->is_push = is_push;
        connection->depth = 0;
        connection->open[0] = 1;
    }
    if (c == '.' && !redis_is_streamed_level(connection))
        return PROTOCOL_BROKEN;
    if (c != '.' && redis_is_streamed_level(connection))
        connection->open[connection->depth] = 1;
    connection->type = c;
    connection->number = (struct redis_number){ 0 };
    connection->left = 0;
    slice_skip(input, 1);
    return PROTOCOL_MORE;
}

static enum protocol_outcome redis_read_length(struct redis_connection *connection, struct slice *input)
{
    bool is_at_start = connection->number.digits == 0 && !connection->number.negative;
    if (input->bytes[0] == '?' && is_at_start && strchr("$*~%", connection->type) != NULL) {
        slice_skip(input, 1);
        connection->begins_stream = true;
        connection->phase = REDIS_RESPONSE_CR;
        return PROTOCOL_MORE;
    }
    enum protocol_outcome outcome = redis_number_read(&connection->number, input->bytes[0]);
    if (outcome == PROTOCOL_BROKEN)
        return PROTOCOL_BROKEN;
    slice_skip(input, 1);
    if (outcome == PROTOCOL_MORE)
        return PROTOCOL_MORE;
    return strchr("$!=;", connection->type) != NULL
               ? redis_begin_string(connection, connection->number.value)
               : redis_begin_aggregate(connection, connection->number.value);
}

static enum protocol_outcome redis_read_line_feed(struct redis_connection *connection, struct slice *input)
{
    if (!redis_take_byte(input, '\n'))
        return PROTOCOL_BROKEN;
    if (connection->begins_stream)
        return redis_begin_streamed(connection);
    if (connection->type == '.')
        connection->depth--;
    if (connection->type != ';')
        return redis_end_element(connection);
    connection->phase = REDIS_RESPONSE_CHUNK;
    return PROTOCOL_MORE;
}

/* Status and error: any bytes up to CRLF, as client libraries read it. */
static enum protocol_outcome redis_read_text(struct redis_connection *connection, struct slice *input)
{
    const char *end = memchr(input->bytes, '\r', input->length);
    if (end != NULL)
        connection->phase = REDIS_RESPONSE_TEXT_LF;
    slice_skip(input, end != NULL ? (size_t)(end - input->bytes) + 1 : input->length);
    return PROTOCOL_MORE;
}

/* Numbers, booleans, null: any word, which the client is to understand. */
static enum protocol_outcome redis_read_word(struct redis_connection *connection, struct slice *input)
{
    bool is_null = connection->type == '_';
    for (; input->length > 0 && input->bytes[0] != '\r'; slice_skip(input, 1)) {
        if (input->bytes[0] <= ' ' || input->bytes[0] > '~' || is_null)
            return PROTOCOL_BROKEN;
        connection->left = 1;
    }
    if (input->length == 0)
        return PROTOCOL_MORE;
    connection->phase = REDIS_RESPONSE_CR;
    return connection->left > 0 || is_null ? PROTOCOL_MORE : PROTOCOL_BROKEN;
}

static enum protocol_outcome redis_read_response_step(struct redis_connection *connection,
                                                      struct slice *input, bool is_expected)
{
    switch (connection->phase) {
    case REDIS_RESPONSE_TYPE:
        return redis_read_type(connection, input, is_expected);
    case REDIS_RESPONSE_TEXT:
        return redis_read_text(connection, input);
    case REDIS_RESPONSE_TEXT_LF:
        if (redis_take_byte(input, '\n'))
            return redis_end_element(connection);
        if (!redis_take_byte(input, '\r'))
            connection->phase = REDIS_RESPONSE_TEXT;
        return PROTOCOL_MORE;
    case REDIS_RESPONSE_WORD:
        return redis_read_word(connection, input);
    case REDIS_RESPONSE_LENGTH:
        return redis_read_length(connection, input);
    case REDIS_RESPONSE_DATA:
        if (pass_rest(&connection->left, input, NULL) == PROTOCOL_COMPLETE)
            connection->phase = REDIS_RESPONSE_CR;
        return PROTOCOL_MORE;
    case REDIS_RESPONSE_CHUNK:
        connection->type = ';';
        connection->number = (struct redis_number){ 0 };
        connection->phase = REDIS_RESPONSE_LENGTH;
        return redis_take_byte(input, ';') ? PROTOCOL_MORE : PROTOCOL_BROKEN;
    case REDIS_RESPONSE_CR:
        connection->phase = REDIS_RESPONSE_LF;
        return redis_take_byte(input, '\r') ? PROTOCOL_MORE : PROTOCOL_BROKEN;
    default:
        return redis_read_line_feed(connection, input);
    }
}

enum protocol_outcome redis_read_response(const struct protocol_settings *, void *state,
                                          struct protocol_request *request, struct slice *input,
                                          struct buffer *out, uint64_t *)
{
    struct redis_connection *connection = state;
    enum protocol_outcome outcome = PROTOCOL_MORE;
    const char *first = input->bytes, *start = first;
    while (input->length > 0 && outcome == PROTOCOL_MORE) {
        if (!connection->is_active)
            start = input->bytes; /* a push that has ended is left out */
        outcome = redis_read_response_step(connection, input, request != NULL);
    }
    if (!connection->is_push)
        buffer_append(out, start, (size_t)(input->bytes - start));
    connection->looked_at += (size_t)(input->bytes - first);
    return outcome;
}

/* ---- Handshake ----------------------------------------------------------------------------------------- */

void redis_write_handshake(const struct protocol_settings *settings, void *, struct buffer *out)
{
    const struct redis_settings *own = redis_own(settings);
    if (own->password.length > 0) {
        buffer_print(out, "*%d\r\n$4\r\nAUTH\r\n", own->username.length > 0 ? 3 : 2);
        if (own->username.length > 0)
            redis_append_bulk(out, own->username);
        redis_append_bulk(out, own->password);
    }
    if (own->database != 0) {
        char number[24];
        int length = snprintf(number, sizeof number, "%lld", (long long)own->database);
        buffer_append_text(out, "*2\r\n$6\r\nSELECT\r\n");
        redis_append_bulk(out, (struct slice){ number, (size_t)length });
    }
}

/* Takes the answer to the next command of the handshake: a line, or as much of it as fits. */
static enum protocol_outcome redis_take_greeting(struct redis_connection *connection, const char *command,
                                                 struct buffer *error)
{
    struct slice line = { connection->line, connection->line_length };
    if (slice_equal(line, SLICE("+OK\r\n"))) {
        connection->greeted++;
        connection->line_length = 0;
        return PROTOCOL_COMPLETE;
    }
    if (line.bytes[0] != '-') {
        buffer_print(error, "its answer to our %s is not understood", command);
        return PROTOCOL_BROKEN;
    }
    buffer_print(error, "it refuses our %s: ", command);
    slice_skip(&line, 1);
    while (slice_ends_with(line, SLICE("\n")) || slice_ends_with(line, SLICE("\r")))
        line.length--;
    redis_append_cited(error, line);
    return PROTOCOL_BROKEN;
}

enum protocol_outcome redis_read_handshake(const struct protocol_settings *settings, void *state,
                                           struct slice *input, struct buffer *error)
{
    struct redis_connection *connection = state;
    bool logs_in = redis_own(settings)->password.length > 0, selects = redis_own(settings)->database != 0;
    unsigned expected = (unsigned)logs_in + (unsigned)selects;
    while (input->length > 0 && connection->greeted < expected) {
        char c = input->bytes[0];
        slice_skip(input, 1);
        connection->line[connection->line_length++] = c;
        connection->looked_at++;
        if (c != '\n' && connection->line_length < REDIS_GREETING_MAX)
            continue;
        const char *command = logs_in && connection->greeted == 0 ? "AUTH" : "SELECT";
        if (redis_take_greeting(connection, command, error) == PROTOCOL_BROKEN)
            return PROTOCOL_BROKEN;
    }
    return connection->greeted == expected ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}
