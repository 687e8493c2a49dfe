/* Requests: where they end, and which way they go. */
#include "protocol/redis/redis.h"

#include <stdio.h>
#include <strings.h>

/* The limits of Redis: longest inline command, most arguments, longest argument, and the last two for a
 * client that has not given the password. */
#define INLINE_MAX                ((size_t)65536)
#define ARGUMENTS_MAX             INT32_MAX
#define ARGUMENT_MAX              (INT64_C(512) * 1024 * 1024)
#define UNAUTHENTICATED_ARGUMENTS 10
#define UNAUTHENTICATED_ARGUMENT  16384

#define NO_NAME  "is not the name of a command"
#define TOO_LONG "-ERR proximux: these arguments are too long"

/* A call of redis_read_request(). Bytes are kept, dropped or appended to `out` in one piece a call: `start`
 * is where the piece begins. */
struct reader {
    const struct protocol_settings *settings;
    struct redis_client *client;
    struct protocol_request *request;
    struct slice *input;
    const char *start;
    struct buffer *out;
    struct buffer *answer;
    bool is_converted; /* from an inline command: what Redis forbids in arrays only is allowed */
};

static enum protocol_outcome read_array(struct reader *reader);

/* ---- Ends ---------------------------------------------------------------------------------------------- */

static enum protocol_outcome break_off(struct reader *reader, const char *error)
{
    buffer_append_text(reader->answer, error);
    buffer_append_text(reader->answer, "\r\n");
    return PROTOCOL_BROKEN;
}

static void forget_request(struct reader *reader)
{
    memset(&reader->client->reading, 0, sizeof reader->client->reading);
    reader->start = reader->input->bytes;
    reader->client->word_length = 0;
}

/* The length of the request so far. */
static uint64_t request_size(const struct reader *reader)
{
    return reader->client->reading.size + (uint64_t)(reader->input->bytes - reader->start);
}

static void refuse(struct reader *reader, const char *refusal)
{
    reader->client->reading.way = REDIS_REFUSE;
    reader->client->reading.refusal = refusal;
    buffer_truncate(reader->out, 0);
}

/* Whether the request, undecided, is within head_limit. Also looked at where it is decided, so that the
 * result does not depend on where the input is cut. */
static bool fits(const struct reader *reader)
{
    return request_size(reader) <= reader->settings->head_limit;
}

/* Ends a piece: appends it to `out` unless the request is refused. */
static void keep_piece(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    size_t length = (size_t)(reader->input->bytes - reader->start);
    if (reading->way != REDIS_REFUSE && reading->way != REDIS_FORWARD && !fits(reader))
        refuse(reader, TOO_LONG);
    if (reading->way != REDIS_REFUSE)
        buffer_append(reader->out, reader->start, length);
    reading->size += length;
    reader->start = reader->input->bytes;
}

static void forward(struct reader *reader)
{
    reader->client->reading.way = REDIS_FORWARD;
    reader->request->decided = true;
}

static void write_refusal(struct reader *reader)
{
    const struct redis_client *client = reader->client;
    const char *refusal = client->reading.refusal;
    struct buffer *answer = reader->answer;
    if (refusal[0] != '-') {
        buffer_append_text(answer, "-ERR proximux: '");
        redis_append_escaped(answer, (struct slice){ client->word, client->word_length });
        buffer_append_text(answer, "' ");
    }
    buffer_append_text(answer, refusal);
    buffer_append_text(answer, "\r\n");
}

/* Ends the request, whose last byte was taken. */
static enum protocol_outcome finish(struct reader *reader)
{
    struct redis_client *client = reader->client;
    if (client->reading.way == REDIS_UNDECIDED && fits(reader))
        forward(reader);
    keep_piece(reader);
    if (client->reading.way == REDIS_ANSWER && !reader->out->failed)
        redis_answer(reader->settings, client, reader->request, buffer_slice(reader->out), reader->answer);
    if (client->reading.way == REDIS_REFUSE) {
        write_refusal(reader);
        reader->request->refused = true;
    }
    if (client->reading.way != REDIS_FORWARD) {
        reader->request->local = true;
        buffer_truncate(reader->out, 0);
    }
    forget_request(reader);
    return PROTOCOL_COMPLETE;
}

/* ---- Which way ----------------------------------------------------------------------------------------- */

static void go_by_class(struct reader *reader, enum redis_class class)
{
    const char *refusal = redis_class_refusal(class);
    if (class == REDIS_SHARED)
        forward(reader);
    else if (class == REDIS_LOCAL)
        reader->client->reading.way = REDIS_ANSWER;
    else if (refusal != NULL)
        refuse(reader, refusal);
}

/* Whether the key `commands` admits the command: it overrules the class, but not where answers could no
 * longer be told apart. The name of a container stands for all its subcommands. */
static bool is_admitted(const struct reader *reader, enum redis_class class, size_t container)
{
    const struct redis_client *client = reader->client;
    if (class == REDIS_UNPAIRED || class == REDIS_LOCAL)
        return false;
    return redis_command_admitted(reader->settings, (struct slice){ client->word, client->word_length }) ||
           (container > 0 &&
            redis_command_admitted(reader->settings, (struct slice){ client->word, container }));
}

/* Whether Redis lets the command pass before the password was given. */
static bool is_open(const char *name)
{
    return strcmp(name, "auth") == 0 || strcmp(name, "hello") == 0 || strcmp(name, "quit") == 0 ||
           strcmp(name, "reset") == 0;
}

/* Whether the word can be a name. Redis hashes the whole of a name but compares it up to a NUL, so that
 * "subscribe\0" may be a SUBSCRIBE; a '|' would pass for a subcommand. */
static bool is_name(const struct redis_client *client, size_t start)
{
    return client->reading.length <= (int64_t)REDIS_NAME_MAX &&
           memchr(client->word + start, '\0', client->word_length - start) == NULL &&
           memchr(client->word + start, '|', client->word_length - start) == NULL;
}

/* Decides by the first argument, of which as much is there as matters. False if it breaks the rules. */
static bool take_name(struct reader *reader)
{
    struct redis_client *client = reader->client;
    bool is_valid = is_name(client, 0);
    enum redis_class class = is_valid ? redis_command_class(client->word) : REDIS_UNKNOWN;
    client->reading.class = class;
    if (class == REDIS_FORBIDDEN)
        return false;
    if (redis_must_authenticate(reader->settings, client) && !(is_valid && is_open(client->word)))
        refuse(reader, "-NOAUTH Authentication required.");
    else if (!is_valid)
        refuse(reader, NO_NAME);
    else if (!redis_has_subcommands(class) && is_admitted(reader, class, 0))
        forward(reader);
    else
        go_by_class(reader, class);
    return true;
}

/* Decides by the second argument of a container, which stands in `word` behind the name and a '|'. */
static void take_subcommand(struct reader *reader)
{
    struct redis_client *client = reader->client;
    size_t container = strcspn(client->word, "|");
    bool is_valid = is_name(client, container + 1);
    enum redis_class class = is_valid ? redis_command_class(client->word) : REDIS_UNKNOWN;
    if (is_valid && class == REDIS_UNKNOWN && client->reading.class == REDIS_PARTLY)
        class = REDIS_SHARED;
    client->reading.class = class;
    if (!is_valid)
        refuse(reader, NO_NAME);
    else if (is_admitted(reader, class, container))
        forward(reader);
    else
        go_by_class(reader, class);
}

/* Decides by an argument of XREAD or XREADGROUP, compared up to a NUL as Redis does. */
static void take_option(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    const char *option = reader->client->option;
    if (reading->skip > 0)
        reading->skip--;
    else if (strcasecmp(option, "block") == 0)
        refuse(reader, "with BLOCK blocks its connection, which others share");
    else if (strcasecmp(option, "streams") == 0)
        forward(reader);
    else if (strcasecmp(option, "count") == 0)
        reading->skip = 1;
    else if (strcasecmp(option, "group") == 0)
        reading->skip = 2;
}

/* ---- Arguments ----------------------------------------------------------------------------------------- */

static bool is_subcommand(const struct redis_reading *reading)
{
    return reading->index == 1 && redis_has_subcommands(reading->class);
}

static bool is_word(const struct redis_reading *reading)
{
    return reading->way == REDIS_UNDECIDED && (reading->index == 0 || is_subcommand(reading));
}

/* Decides by the present argument, of which as much is there as matters. */
static enum protocol_outcome decide(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    if (!fits(reader))
        refuse(reader, TOO_LONG);
    else if (reading->index > 0 && is_subcommand(reading))
        take_subcommand(reader);
    else if (reading->index > 0)
        take_option(reader);
    else if (!take_name(reader))
        return break_off(reader, "-ERR proximux: this is no server for HTTP");
    return PROTOCOL_MORE;
}

static enum protocol_outcome end_argument(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    reading->phase = REDIS_REQUEST_CR;
    return reading->way == REDIS_UNDECIDED ? decide(reader) : PROTOCOL_MORE;
}

/* Keeps the bytes of an argument that a decision needs. */
static void look_at(struct redis_client *client, struct slice bytes)
{
    struct redis_reading *reading = &client->reading;
    if (reading->way != REDIS_UNDECIDED)
        return;
    bool is_of_word = is_word(reading);
    size_t limit = is_of_word ? REDIS_NAME_MAX : REDIS_OPTION_MAX;
    for (size_t i = 0; i < bytes.length && reading->written < limit; i++) {
        char c = bytes.bytes[i];
        if (is_of_word)
            client->word[client->word_length++] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        else
            client->option[reading->written] = c;
        reading->written++;
        client->looked_at++;
    }
    client->word[client->word_length] = '\0';
    if (!is_of_word)
        client->option[reading->written] = '\0';
}

/* Begins the argument whose length was read. */
static enum protocol_outcome begin_argument(struct reader *reader)
{
    struct redis_client *client = reader->client;
    struct redis_reading *reading = &client->reading;
    int64_t length = reading->number.value;
    if (length < 0 || length > ARGUMENT_MAX)
        return break_off(reader, "-ERR Protocol error: invalid bulk length");
    if (length > UNAUTHENTICATED_ARGUMENT && !reader->is_converted &&
        redis_must_authenticate(reader->settings, client))
        return break_off(reader, "-ERR Protocol error: unauthenticated bulk length");
    reading->left = length;
    reading->length = length;
    reading->written = 0;
    reading->phase = REDIS_REQUEST_DATA;
    if (is_word(reading) && reading->index > 0)
        client->word[client->word_length++] = '|';
    client->option[0] = '\0';
    client->word[client->word_length] = '\0';
    if (is_word(reading) && length > (int64_t)REDIS_NAME_MAX)
        return decide(reader);
    return length == 0 ? end_argument(reader) : PROTOCOL_MORE;
}

static enum protocol_outcome read_data(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    size_t length = reader->input->length;
    if ((int64_t)length > reading->left)
        length = (size_t)reading->left;
    look_at(reader->client, (struct slice){ reader->input->bytes, length });
    slice_skip(reader->input, length);
    reading->left -= (int64_t)length;
    return reading->left == 0 ? end_argument(reader) : PROTOCOL_MORE;
}

/* Begins the array whose number of arguments was read. */
static enum protocol_outcome begin_array(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    int64_t count = reading->number.value;
    if (count > ARGUMENTS_MAX)
        return break_off(reader, "-ERR Protocol error: invalid multibulk length");
    if (count > UNAUTHENTICATED_ARGUMENTS && !reader->is_converted &&
        redis_must_authenticate(reader->settings, reader->client))
        return break_off(reader, "-ERR Protocol error: unauthenticated multibulk length");
    if (count <= 0) {
        buffer_truncate(reader->out, 0);
        forget_request(reader);
        return PROTOCOL_MORE;
    }
    reading->count = count;
    reading->phase = REDIS_REQUEST_DOLLAR;
    return PROTOCOL_MORE;
}

static enum protocol_outcome read_number(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    bool is_count = reading->phase == REDIS_REQUEST_COUNT;
    enum redis_step step = redis_number_read(&reading->number, reader->input->bytes[0]);
    slice_skip(reader->input, 1);
    if (step == REDIS_BAD)
        return break_off(reader, is_count ? "-ERR Protocol error: invalid multibulk length"
                                          : "-ERR Protocol error: invalid bulk length");
    if (step == REDIS_MORE)
        return PROTOCOL_MORE;
    return is_count ? begin_array(reader) : begin_argument(reader);
}

static enum protocol_outcome read_dollar(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    char c = reader->input->bytes[0];
    if (c != '$') {
        buffer_print(reader->answer, "-ERR Protocol error: expected '$', got '%c'\r\n",
                     c > ' ' && c <= '~' ? c : ' ');
        return PROTOCOL_BROKEN;
    }
    slice_skip(reader->input, 1);
    reading->number = (struct redis_number){ 0 };
    reading->phase = REDIS_REQUEST_LENGTH;
    return PROTOCOL_MORE;
}

/* Redis skips any two bytes behind an argument; here they have to be CRLF, as other parsers want. */
static enum protocol_outcome read_end(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    bool is_cr = reading->phase == REDIS_REQUEST_CR;
    if (reader->input->bytes[0] != (is_cr ? '\r' : '\n'))
        return break_off(reader, "-ERR Protocol error: expected CRLF after an argument");
    slice_skip(reader->input, 1);
    if (is_cr) {
        reading->phase = REDIS_REQUEST_LF;
        return PROTOCOL_MORE;
    }
    reading->index++;
    reading->phase = REDIS_REQUEST_DOLLAR;
    return reading->index == reading->count ? finish(reader) : PROTOCOL_MORE;
}

/* ---- Inline commands ----------------------------------------------------------------------------------- */

/* Makes an array of the complete line and reads that. */
static enum protocol_outcome read_line(struct reader *reader, struct slice line)
{
    struct buffer array = { 0 };
    enum protocol_outcome outcome = PROTOCOL_BROKEN;
    reader->client->looked_at += line.length;
    enum redis_inline result = redis_inline_convert(line, reader->settings->head_limit, &array);
    buffer_truncate(reader->out, 0);
    forget_request(reader);
    if (array.failed) {
        reader->out->failed = true;
    } else if (result == REDIS_INLINE_EMPTY) {
        outcome = PROTOCOL_MORE;
    } else if (result == REDIS_INLINE_UNBALANCED) {
        break_off(reader, "-ERR Protocol error: unbalanced quotes in request");
    } else if (result == REDIS_INLINE_BIG) {
        break_off(reader, "-ERR Protocol error: too big inline request");
    } else {
        struct slice bytes = buffer_slice(&array);
        struct reader inner = *reader;
        inner.input = &bytes;
        inner.start = bytes.bytes;
        inner.is_converted = true;
        outcome = read_array(&inner);
    }
    buffer_free(&array);
    return outcome;
}

static enum protocol_outcome read_inline(struct reader *reader)
{
    struct slice *input = reader->input;
    size_t limit = reader->settings->head_limit < INLINE_MAX ? reader->settings->head_limit : INLINE_MAX;
    size_t size = (size_t)request_size(reader);
    size_t window = input->length < limit + 1 - size ? input->length : limit + 1 - size;
    const char *end = memchr(input->bytes, '\n', window);
    size_t length = end != NULL ? (size_t)(end - input->bytes) : window;
    reader->client->looked_at += length;
    if (memchr(input->bytes, '\0', length) != NULL)
        return break_off(reader, "-ERR Protocol error: NUL in inline request");
    if (end == NULL && size + window > limit)
        return break_off(reader, "-ERR Protocol error: too big inline request");
    slice_skip(input, length);
    struct slice line = { reader->start, (size_t)(input->bytes - reader->start) };
    if (end == NULL || reader->client->reading.size > 0)
        keep_piece(reader);
    if (end == NULL)
        return PROTOCOL_MORE;
    slice_skip(input, 1);
    if (reader->out->length > 0)
        line = buffer_slice(reader->out);
    if (line.length > 0 && line.bytes[line.length - 1] == '\r')
        line.length--;
    return read_line(reader, line);
}

/* ---- All together -------------------------------------------------------------------------------------- */

static enum protocol_outcome read_start(struct reader *reader)
{
    struct redis_reading *reading = &reader->client->reading;
    if (reader->input->bytes[0] != '*') {
        reading->phase = REDIS_REQUEST_INLINE;
        return PROTOCOL_MORE;
    }
    slice_skip(reader->input, 1);
    reading->phase = REDIS_REQUEST_COUNT;
    return PROTOCOL_MORE;
}

static enum protocol_outcome read_step(struct reader *reader)
{
    switch (reader->client->reading.phase) {
    case REDIS_REQUEST_START:
        return read_start(reader);
    case REDIS_REQUEST_INLINE:
        return read_inline(reader);
    case REDIS_REQUEST_COUNT:
    case REDIS_REQUEST_LENGTH:
        return read_number(reader);
    case REDIS_REQUEST_DOLLAR:
        return read_dollar(reader);
    case REDIS_REQUEST_DATA:
        return read_data(reader);
    case REDIS_REQUEST_CR:
    case REDIS_REQUEST_LF:
        break;
    }
    return read_end(reader);
}

static enum protocol_outcome read_array(struct reader *reader)
{
    size_t length = reader->input->length;
    enum protocol_outcome outcome = PROTOCOL_MORE;
    while (reader->input->length > 0 && outcome == PROTOCOL_MORE)
        outcome = read_step(reader);
    if (outcome == PROTOCOL_MORE)
        keep_piece(reader);
    reader->client->looked_at += length - reader->input->length;
    return outcome;
}

enum protocol_outcome redis_read_request(const struct protocol_settings *settings, void *client,
                                         struct protocol_request *request, struct slice *input,
                                         struct buffer *out, struct buffer *answer)
{
    struct reader reader = {
        .settings = settings,
        .client = client,
        .request = request,
        .input = input,
        .start = input->bytes,
        .out = out,
        .answer = answer,
    };
    return read_array(&reader);
}
