/* Responses: where they end, however deep they are nested; and the handshake of a new target connection. */
#include "protocol/redis/redis.h"

#include <stdio.h>

/* Most elements of a response: far from where sums would overflow. */
#define ELEMENTS_MAX (INT64_C(1) << 60)

/* A call of redis_read_response(). */
struct reader {
    struct redis_connection *connection;
    struct slice *input;
    const char *start; /* of the bytes that were not given out yet */
    struct buffer *out;
    bool is_expected; /* there is a request */
};

/* Appends what was read to `out`, but for pushes. */
static void give_out(struct reader *reader)
{
    if (!reader->connection->is_push)
        buffer_append(reader->out, reader->start, (size_t)(reader->input->bytes - reader->start));
    reader->start = reader->input->bytes;
}

/* ---- Elements ------------------------------------------------------------------------------------------ */

static bool is_streamed_level(const struct redis_connection *connection)
{
    return connection->depth > 0 && connection->open[connection->depth] == 0;
}

/* Ends an element. COMPLETE if it is the last one of a response. */
static enum protocol_outcome end_element(struct reader *reader)
{
    struct redis_connection *connection = reader->connection;
    connection->phase = REDIS_RESPONSE_TYPE;
    connection->open[connection->depth]--;
    if (connection->depth > 0 || connection->open[0] > 0)
        return PROTOCOL_MORE;
    bool was_push = connection->is_push;
    give_out(reader);
    connection->is_active = false;
    connection->is_push = false;
    return was_push ? PROTOCOL_MORE : PROTOCOL_COMPLETE;
}

/* An aggregate of so many elements begins. That of an attribute belongs to the element that follows, and is
 * none itself. */
static enum protocol_outcome begin_aggregate(struct reader *reader, int64_t count)
{
    struct redis_connection *connection = reader->connection;
    int64_t each = connection->type == '%' || connection->type == '|' ? 2 : 1;
    if (count < 0 && (count != -1 || connection->type != '*'))
        return PROTOCOL_BROKEN;
    if (count > (ELEMENTS_MAX - connection->open[connection->depth]) / each)
        return PROTOCOL_BROKEN;
    if (count > 0)
        connection->open[connection->depth] += count * each;
    connection->phase = REDIS_RESPONSE_TYPE;
    return connection->type == '|' ? PROTOCOL_MORE : end_element(reader);
}

/* Begins an aggregate or string without a length: an aggregate ends with a '.'. */
static enum protocol_outcome begin_streamed(struct reader *reader)
{
    struct redis_connection *connection = reader->connection;
    if (connection->type == '$') {
        connection->phase = REDIS_RESPONSE_CHUNK;
        return PROTOCOL_MORE;
    }
    if (connection->depth == REDIS_STREAMED_DEPTH_MAX)
        return PROTOCOL_BROKEN;
    connection->open[++connection->depth] = 0;
    connection->phase = REDIS_RESPONSE_TYPE;
    return PROTOCOL_MORE;
}

static enum protocol_outcome end_streamed(struct reader *reader)
{
    reader->connection->depth--;
    return end_element(reader);
}

/* Begins the string whose length was read. */
static enum protocol_outcome begin_string(struct reader *reader, int64_t length)
{
    struct redis_connection *connection = reader->connection;
    if (length == -1 && connection->type == '$')
        return end_element(reader);
    if (length < 0)
        return PROTOCOL_BROKEN;
    if (length == 0 && connection->type == ';')
        return end_element(reader);
    connection->left = length;
    connection->phase = length > 0 ? REDIS_RESPONSE_DATA : REDIS_RESPONSE_CR;
    return PROTOCOL_MORE;
}

/* ---- Bytes --------------------------------------------------------------------------------------------- */

/* Begins the response or push whose first byte this is. False if it is neither. */
static bool begin_response(struct reader *reader, char c)
{
    struct redis_connection *connection = reader->connection;
    if (c != '>' && !reader->is_expected)
        return false;
    connection->is_active = true;
    connection->is_push = c == '>';
    connection->depth = 0;
    connection->open[0] = 1;
    return true;
}

static enum redis_response_phase phase_of(char type)
{
    switch (type) {
    case '+':
    case '-':
        return REDIS_RESPONSE_TEXT;
    case ':':
    case ',':
    case '(':
    case '#':
    case '_':
        return REDIS_RESPONSE_WORD;
    case '.':
        return REDIS_RESPONSE_CR;
    default:
        return REDIS_RESPONSE_LENGTH;
    }
}

static enum protocol_outcome read_type(struct reader *reader)
{
    struct redis_connection *connection = reader->connection;
    char c = reader->input->bytes[0];
    bool is_first = !connection->is_active;
    if (c == '\0' || strchr("+-:,(#_$!=*~%|>.", c) == NULL)
        return PROTOCOL_BROKEN;
    if (is_first && !begin_response(reader, c))
        return PROTOCOL_BROKEN;
    if (c == '>' && !is_first)
        return PROTOCOL_BROKEN;
    if (c == '.' && !is_streamed_level(connection))
        return PROTOCOL_BROKEN;
    if (c != '.' && is_streamed_level(connection))
        connection->open[connection->depth] = 1;
    connection->type = c;
    connection->phase = phase_of(c);
    connection->number = (struct redis_number){ 0 };
    connection->left = 0;
    slice_skip(reader->input, 1);
    return PROTOCOL_MORE;
}

/* Status and error: any bytes up to CRLF, as client libraries read it. */
static enum protocol_outcome read_text(struct reader *reader)
{
    struct slice *input = reader->input;
    const char *end = memchr(input->bytes, '\r', input->length);
    if (end == NULL) {
        slice_skip(input, input->length);
        return PROTOCOL_MORE;
    }
    slice_skip(input, (size_t)(end - input->bytes) + 1);
    reader->connection->phase = REDIS_RESPONSE_TEXT_LF;
    return PROTOCOL_MORE;
}

static enum protocol_outcome read_text_end(struct reader *reader)
{
    char c = reader->input->bytes[0];
    slice_skip(reader->input, 1);
    if (c == '\n')
        return end_element(reader);
    if (c != '\r')
        reader->connection->phase = REDIS_RESPONSE_TEXT;
    return PROTOCOL_MORE;
}

/* Numbers, booleans, null: any word, which the client is to understand. */
static enum protocol_outcome read_word(struct reader *reader)
{
    struct redis_connection *connection = reader->connection;
    struct slice *input = reader->input;
    bool is_null = connection->type == '_';
    while (input->length > 0 && input->bytes[0] != '\r') {
        if (input->bytes[0] <= ' ' || input->bytes[0] > '~' || is_null)
            return PROTOCOL_BROKEN;
        connection->left = 1;
        slice_skip(input, 1);
    }
    if (input->length == 0)
        return PROTOCOL_MORE;
    if (connection->left == 0 && !is_null)
        return PROTOCOL_BROKEN;
    connection->phase = REDIS_RESPONSE_CR;
    return PROTOCOL_MORE;
}

static enum protocol_outcome read_length(struct reader *reader)
{
    struct redis_connection *connection = reader->connection;
    char c = reader->input->bytes[0];
    if (c == '?' && connection->number.digits == 0 && !connection->number.negative) {
        if (strchr("$*~%", connection->type) == NULL)
            return PROTOCOL_BROKEN;
        slice_skip(reader->input, 1);
        connection->begins_stream = true;
        connection->phase = REDIS_RESPONSE_CR;
        return PROTOCOL_MORE;
    }
    enum redis_step step = redis_number_read(&connection->number, c);
    if (step == REDIS_BAD)
        return PROTOCOL_BROKEN;
    slice_skip(reader->input, 1);
    if (step == REDIS_MORE)
        return PROTOCOL_MORE;
    return strchr("$!=;", connection->type) != NULL ? begin_string(reader, connection->number.value)
                                                    : begin_aggregate(reader, connection->number.value);
}

static enum protocol_outcome read_chunk(struct reader *reader)
{
    struct redis_connection *connection = reader->connection;
    if (reader->input->bytes[0] != ';')
        return PROTOCOL_BROKEN;
    slice_skip(reader->input, 1);
    connection->type = ';';
    connection->number = (struct redis_number){ 0 };
    connection->phase = REDIS_RESPONSE_LENGTH;
    return PROTOCOL_MORE;
}

static enum protocol_outcome read_data(struct reader *reader)
{
    struct redis_connection *connection = reader->connection;
    size_t length = reader->input->length;
    if ((int64_t)length > connection->left)
        length = (size_t)connection->left;
    slice_skip(reader->input, length);
    connection->left -= (int64_t)length;
    if (connection->left == 0)
        connection->phase = REDIS_RESPONSE_CR;
    return PROTOCOL_MORE;
}

static enum protocol_outcome read_end(struct reader *reader)
{
    struct redis_connection *connection = reader->connection;
    bool is_cr = connection->phase == REDIS_RESPONSE_CR;
    if (reader->input->bytes[0] != (is_cr ? '\r' : '\n'))
        return PROTOCOL_BROKEN;
    slice_skip(reader->input, 1);
    if (is_cr) {
        connection->phase = REDIS_RESPONSE_LF;
        return PROTOCOL_MORE;
    }
    if (connection->begins_stream) {
        connection->begins_stream = false;
        return begin_streamed(reader);
    }
    if (connection->type == '.')
        return end_streamed(reader);
    if (connection->type != ';')
        return end_element(reader);
    connection->phase = REDIS_RESPONSE_CHUNK;
    return PROTOCOL_MORE;
}

static enum protocol_outcome read_step(struct reader *reader)
{
    switch (reader->connection->phase) {
    case REDIS_RESPONSE_TYPE:
        return read_type(reader);
    case REDIS_RESPONSE_TEXT:
        return read_text(reader);
    case REDIS_RESPONSE_TEXT_LF:
        return read_text_end(reader);
    case REDIS_RESPONSE_WORD:
        return read_word(reader);
    case REDIS_RESPONSE_LENGTH:
        return read_length(reader);
    case REDIS_RESPONSE_DATA:
        return read_data(reader);
    case REDIS_RESPONSE_CHUNK:
        return read_chunk(reader);
    case REDIS_RESPONSE_CR:
    case REDIS_RESPONSE_LF:
        break;
    }
    return read_end(reader);
}

enum protocol_outcome redis_read_response(const struct protocol_settings *settings, void *connection,
                                          struct protocol_request *request, struct slice *input,
                                          struct buffer *out, uint64_t *id)
{
    (void)settings;
    (void)id;
    struct reader reader = {
        .connection = connection,
        .input = input,
        .start = input->bytes,
        .out = out,
        .is_expected = request != NULL,
    };
    size_t length = input->length;
    enum protocol_outcome outcome = PROTOCOL_MORE;
    while (input->length > 0 && outcome == PROTOCOL_MORE)
        outcome = read_step(&reader);
    if (outcome != PROTOCOL_COMPLETE)
        give_out(&reader);
    reader.connection->looked_at += length - input->length;
    return outcome;
}

/* ---- Greeting ------------------------------------------------------------------------------------------ */

static void append_argument(struct buffer *out, struct slice argument)
{
    buffer_print(out, "$%zu\r\n", argument.length);
    buffer_append(out, argument.bytes, argument.length);
    buffer_append_text(out, "\r\n");
}

void redis_write_handshake(const struct protocol_settings *settings, void *connection, struct buffer *out)
{
    (void)connection;
    struct slice username = redis_own(settings)->username;
    if (redis_own(settings)->password.length > 0) {
        buffer_append_text(out, username.length > 0 ? "*3\r\n$4\r\nAUTH\r\n" : "*2\r\n$4\r\nAUTH\r\n");
        if (username.length > 0)
            append_argument(out, username);
        append_argument(out, redis_own(settings)->password);
    }
    if (redis_own(settings)->database != 0) {
        char number[24];
        int length = snprintf(number, sizeof number, "%lld", (long long)redis_own(settings)->database);
        buffer_append_text(out, "*2\r\n$6\r\nSELECT\r\n");
        append_argument(out, (struct slice){ number, (size_t)length });
    }
}

/* Takes the answer to the next command of the handshake: a line, or as much of it as fits. */
static enum protocol_outcome take_greeting(const struct protocol_settings *settings,
                                           struct redis_connection *connection, struct buffer *error)
{
    bool is_login = redis_own(settings)->password.length > 0 && connection->greeted == 0;
    const char *command = is_login ? "AUTH" : "SELECT";
    struct slice line = { connection->line, connection->line_length };
    if (slice_equal(line, SLICE("+OK\r\n"))) {
        connection->greeted++;
        connection->line_length = 0;
        return PROTOCOL_COMPLETE;
    }
    if (line.bytes[0] == '-') {
        buffer_print(error, "it refuses our %s: ", command);
        slice_skip(&line, 1);
        while (line.length > 0 &&
               (line.bytes[line.length - 1] == '\n' || line.bytes[line.length - 1] == '\r'))
            line.length--;
        redis_append_escaped(error, line);
    } else {
        buffer_print(error, "its answer to our %s is not understood", command);
    }
    return PROTOCOL_BROKEN;
}

enum protocol_outcome redis_read_handshake(const struct protocol_settings *settings, void *connection,
                                           struct slice *input, struct buffer *error)
{
    struct redis_connection *redis = connection;
    unsigned expected =
        (redis_own(settings)->password.length > 0 ? 1U : 0U) + (redis_own(settings)->database != 0 ? 1U : 0U);
    while (input->length > 0 && redis->greeted < expected) {
        char c = input->bytes[0];
        slice_skip(input, 1);
        redis->line[redis->line_length++] = c;
        redis->looked_at++;
        if (c != '\n' && redis->line_length < REDIS_GREETING_MAX)
            continue;
        if (take_greeting(settings, redis, error) == PROTOCOL_BROKEN)
            return PROTOCOL_BROKEN;
    }
    return redis->greeted == expected ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}
