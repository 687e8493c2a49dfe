/* Requests: where they end, and which way they go. */
#include "protocol/pass.h"
#include "protocol/redis/redis.h"

#include <ctype.h>
#include <strings.h>

/* The limits of Redis: longest inline command, most arguments, longest argument, and the last two for a
 * client that has not given the password. */
#define INLINE_MAX                ((size_t)65536)
#define ARGUMENTS_MAX             INT32_MAX
#define ARGUMENT_MAX              (INT64_C(512) * 1024 * 1024)
#define UNAUTHENTICATED_ARGUMENTS 10
#define UNAUTHENTICATED_ARGUMENT  16384

#define TOO_LONG   "-ERR proximux: these arguments are too long"
#define BAD_COUNT  "-ERR Protocol error: invalid multibulk length"
#define BAD_LENGTH "-ERR Protocol error: invalid bulk length"

/* A call of redis_read_request(). Bytes are kept, dropped or appended to `out` in one piece a call: `start`
 * is where the piece begins. */
struct reader {
    const struct protocol_settings *settings;
    struct redis_client *client;
    struct redis_reading *reading; /* the client's */
    struct protocol_request *request;
    struct slice *input;
    const char *start;
    struct buffer *out;
    struct buffer *answer;
    bool is_converted; /* from an inline command: what Redis forbids in arrays only is allowed */
};

static enum protocol_outcome redis_read_array(struct reader *reader);

static enum protocol_outcome redis_break_off(struct reader *reader, const char *error)
{
    buffer_print(reader->answer, "%s\r\n", error);
    return PROTOCOL_BROKEN;
}

static void redis_forget_request(struct reader *reader)
{
    *reader->reading = (struct redis_reading){ 0 };
    reader->start = reader->input->bytes;
}

static uint64_t redis_request_size(const struct reader *reader)
{
    return reader->reading->size + (uint64_t)(reader->input->bytes - reader->start);
}

static void redis_refuse(struct reader *reader, const char *refusal)
{
    reader->reading->way = REDIS_REFUSE;
    reader->reading->refusal = refusal;
    buffer_truncate(reader->out, 0);
}

/* Whether the request, undecided, is within head_limit. Also looked at where it is decided, so that the
 * result does not depend on where the input is cut. */
static bool redis_fits_limit(const struct reader *reader)
{
    return redis_request_size(reader) <= reader->settings->head_limit;
}

/* Ends a piece: appends it to `out` unless the request is refused. */
static void redis_keep_piece(struct reader *reader)
{
    struct redis_reading *reading = reader->reading;
    size_t length = (size_t)(reader->input->bytes - reader->start);
    if (reading->way != REDIS_REFUSE && reading->way != REDIS_FORWARD && !redis_fits_limit(reader))
        redis_refuse(reader, TOO_LONG);
    if (reading->way != REDIS_REFUSE)
        buffer_append(reader->out, reader->start, length);
    reading->size += length;
    reader->start = reader->input->bytes;
}

static void redis_forward(struct reader *reader)
{
    reader->reading->way = REDIS_FORWARD;
    reader->request->decided = true;
}

static struct slice redis_command_word(const struct reader *reader)
{
    return (struct slice){ reader->client->word, reader->reading->word_length };
}

static void redis_write_refusal(struct reader *reader)
{
    const char *refusal = reader->reading->refusal;
    if (refusal[0] != '-') {
        buffer_append_text(reader->answer, "-ERR proximux: '");
        redis_append_cited(reader->answer, redis_command_word(reader));
        buffer_append_text(reader->answer, "' ");
    }
    buffer_print(reader->answer, "%s\r\n", refusal);
    reader->request->refused = true;
}

static enum protocol_outcome redis_end_request(struct reader *reader)
{
    struct redis_reading *reading = reader->reading;
    if (reading->way == REDIS_UNDECIDED && redis_fits_limit(reader))
        redis_forward(reader);
    redis_keep_piece(reader);
    if (reading->way == REDIS_ANSWER && !reader->out->failed)
        redis_answer(reader->settings, reader->client, reader->request, buffer_slice(reader->out),
                     reader->answer);
    if (reading->way == REDIS_REFUSE)
        redis_write_refusal(reader);
    if (reading->way != REDIS_FORWARD) {
        reader->request->local = true;
        buffer_truncate(reader->out, 0);
    }
    redis_forget_request(reader);
    return PROTOCOL_COMPLETE;
}

/* ---- Which way ----------------------------------------------------------------------------------------- */

/* Whether the key `commands` admits the command: it overrules the class, but not where answers could no
 * longer be told apart. The name of a container stands for all its subcommands. */
static bool redis_is_admitted(const struct reader *reader, enum redis_class class, size_t container)
{
    struct slice word = redis_command_word(reader), name = { word.bytes, container };
    return class != REDIS_UNPAIRED && class != REDIS_LOCAL && !redis_has_subcommands(class) &&
           (redis_command_admitted(reader->settings, word) ||
            (container > 0 && redis_command_admitted(reader->settings, name)));
}

/* Whether Redis lets the command pass before the password was given. */
static bool redis_is_open(const char *name)
{
    return strcmp(name, "auth") == 0 || strcmp(name, "hello") == 0 || strcmp(name, "quit") == 0 ||
           strcmp(name, "reset") == 0;
}

/* Whether a word can be a name. Redis hashes the whole of a name but compares it up to a NUL, so that
 * "subscribe\0" may be a SUBSCRIBE; a '|' would pass for a subcommand. */
static bool redis_is_name(struct slice word)
{
    return memchr(word.bytes, '\0', word.length) == NULL && memchr(word.bytes, '|', word.length) == NULL;
}

/* Decides by the first argument or, of a container, by the second one, which stands in `word` behind the name
 * and a '|'. As much of it is there as matters. */
static enum protocol_outcome redis_decide_by_word(struct reader *reader)
{
    struct redis_reading *reading = reader->reading;
    struct slice word = redis_command_word(reader);
    size_t container = reading->index > 0 ? strcspn(word.bytes, "|") : 0;
    slice_skip(&word, container > 0 ? container + 1 : 0);
    bool is_valid = reading->length <= (int64_t)REDIS_NAME_MAX && redis_is_name(word);
    enum redis_class class = is_valid ? redis_command_class(reader->client->word) : REDIS_UNKNOWN;
    if (class == REDIS_UNKNOWN && reading->class == REDIS_PARTLY)
        class = REDIS_SHARED;
    reading->class = class;
    if (class == REDIS_FORBIDDEN)
        return redis_break_off(reader, "-ERR proximux: this is no server for HTTP");
    if (redis_must_authenticate(reader->settings, reader->client) && !(is_valid && redis_is_open(word.bytes)))
        redis_refuse(reader, "-NOAUTH Authentication required.");
    else if (!is_valid)
        redis_refuse(reader, "is not the name of a command");
    else if (class == REDIS_SHARED || redis_is_admitted(reader, class, container))
        redis_forward(reader);
    else if (class == REDIS_LOCAL)
        reading->way = REDIS_ANSWER;
    else if (redis_refusals[class] != NULL)
        redis_refuse(reader, redis_refusals[class]);
    return PROTOCOL_MORE;
}

/* Decides by an argument of XREAD or XREADGROUP, compared up to a NUL as Redis does. */
static void redis_decide_by_option(struct reader *reader)
{
    struct redis_reading *reading = reader->reading;
    const char *option = reader->client->option;
    if (reading->skip > 0)
        reading->skip--;
    else if (strcasecmp(option, "block") == 0)
        redis_refuse(reader, "with BLOCK blocks its connection, which others share");
    else if (strcasecmp(option, "streams") == 0)
        redis_forward(reader);
    else if (strcasecmp(option, "count") == 0)
        reading->skip = 1;
    else if (strcasecmp(option, "group") == 0)
        reading->skip = 2;
}

/* ---- Arguments ----------------------------------------------------------------------------------------- */

/* Whether the present argument belongs to the command's word. */
static bool redis_is_word(const struct redis_reading *reading)
{
    return reading->way == REDIS_UNDECIDED &&
           (reading->index == 0 || (reading->index == 1 && redis_has_subcommands(reading->class)));
}

/* Decides by the present argument, of which as much is there as matters. */
static enum protocol_outcome redis_decide(struct reader *reader)
{
    if (redis_fits_limit(reader) && redis_is_word(reader->reading))
        return redis_decide_by_word(reader);
    if (redis_fits_limit(reader))
        redis_decide_by_option(reader);
    else
        redis_refuse(reader, TOO_LONG);
    return PROTOCOL_MORE;
}

static enum protocol_outcome redis_end_argument(struct reader *reader)
{
    reader->reading->phase = REDIS_REQUEST_CR;
    return reader->reading->way == REDIS_UNDECIDED ? redis_decide(reader) : PROTOCOL_MORE;
}

/* Keeps the bytes of an argument that a decision needs. Those of a word are never too many. */
static void redis_look_at(struct redis_client *client, struct slice bytes)
{
    struct redis_reading *reading = &client->reading;
    bool is_of_word = redis_is_word(reading);
    char *text = is_of_word ? client->word : client->option;
    size_t *length = is_of_word ? &reading->word_length : &reading->option_length;
    size_t limit = (is_of_word ? sizeof client->word : sizeof client->option) - 1;
    if (reading->way != REDIS_UNDECIDED)
        return;
    size_t count = pass_available(&bytes, limit - *length);
    for (size_t i = 0; i < count; i++)
        text[*length + i] = (char)tolower((unsigned char)bytes.bytes[i]);
    *length += count;
    text[*length] = '\0';
    client->looked_at += count;
}

/* Whether the client may not ask for much yet. */
static bool redis_is_limited(const struct reader *reader)
{
    return !reader->is_converted && redis_must_authenticate(reader->settings, reader->client);
}

static enum protocol_outcome redis_begin_argument(struct reader *reader)
{
    struct redis_client *client = reader->client;
    struct redis_reading *reading = reader->reading;
    int64_t length = reading->number.value;
    if (length < 0 || length > ARGUMENT_MAX)
        return redis_break_off(reader, BAD_LENGTH);
    if (length > UNAUTHENTICATED_ARGUMENT && redis_is_limited(reader))
        return redis_break_off(reader, "-ERR Protocol error: unauthenticated bulk length");
    reading->left = (uint64_t)length;
    reading->length = length;
    reading->option_length = 0;
    reading->phase = REDIS_REQUEST_DATA;
    if (redis_is_word(reading) && reading->index > 0)
        client->word[reading->word_length++] = '|';
    client->option[0] = '\0';
    client->word[reading->word_length] = '\0';
    if (redis_is_word(reading) && length > (int64_t)REDIS_NAME_MAX)
        return redis_decide(reader);
    return length == 0 ? redis_end_argument(reader) : PROTOCOL_MORE;
}

static enum protocol_outcome redis_read_data(struct reader *reader)
{
    struct slice *input = reader->input;
    redis_look_at(reader->client,
                  (struct slice){ input->bytes, pass_available(input, reader->reading->left) });
    return pass_rest(&reader->reading->left, input, NULL) == PROTOCOL_COMPLETE ? redis_end_argument(reader)
                                                                               : PROTOCOL_MORE;
}

static enum protocol_outcome redis_begin_array(struct reader *reader)
{
    int64_t count = reader->reading->number.value;
    if (count > ARGUMENTS_MAX)
        return redis_break_off(reader, BAD_COUNT);
    if (count > UNAUTHENTICATED_ARGUMENTS && redis_is_limited(reader))
        return redis_break_off(reader, "-ERR Protocol error: unauthenticated multibulk length");
    if (count <= 0) {
        buffer_truncate(reader->out, 0);
        redis_forget_request(reader);
        return PROTOCOL_MORE;
    }
    reader->reading->count = count;
    reader->reading->phase = REDIS_REQUEST_DOLLAR;
    return PROTOCOL_MORE;
}

static enum protocol_outcome redis_read_digit(struct reader *reader, char c)
{
    bool is_count = reader->reading->phase == REDIS_REQUEST_COUNT;
    enum protocol_outcome outcome = redis_number_read(&reader->reading->number, c);
    if (outcome == PROTOCOL_BROKEN)
        return redis_break_off(reader, is_count ? BAD_COUNT : BAD_LENGTH);
    if (outcome == PROTOCOL_MORE)
        return PROTOCOL_MORE;
    return is_count ? redis_begin_array(reader) : redis_begin_argument(reader);
}

/* Redis skips any two bytes behind an argument; here they have to be CRLF, as other parsers want. */
static enum protocol_outcome redis_read_argument_end(struct reader *reader, char c)
{
    struct redis_reading *reading = reader->reading;
    bool is_cr = reading->phase == REDIS_REQUEST_CR;
    if (c != (is_cr ? '\r' : '\n'))
        return redis_break_off(reader, "-ERR Protocol error: expected CRLF after an argument");
    slice_skip(reader->input, 1);
    reading->phase = is_cr ? REDIS_REQUEST_LF : REDIS_REQUEST_DOLLAR;
    reading->index += !is_cr;
    return !is_cr && reading->index == reading->count ? redis_end_request(reader) : PROTOCOL_MORE;
}

/* ---- Inline commands ----------------------------------------------------------------------------------- */

/* Makes an array of the complete line and reads that. */
static enum protocol_outcome redis_read_line(struct reader *reader, struct slice line)
{
    struct buffer array = { 0 };
    enum protocol_outcome outcome = PROTOCOL_BROKEN;
    reader->client->looked_at += line.length;
    const char *error = redis_inline_convert(line, reader->settings->head_limit, &array);
    buffer_truncate(reader->out, 0);
    redis_forget_request(reader);
    if (array.failed) {
        reader->out->failed = true;
    } else if (error != NULL) {
        redis_break_off(reader, error);
    } else if (array.length == 0) {
        outcome = PROTOCOL_MORE;
    } else {
        struct slice bytes = buffer_slice(&array);
        struct reader inner = *reader;
        inner.input = &bytes;
        inner.start = bytes.bytes;
        inner.is_converted = true;
        outcome = redis_read_array(&inner);
    }
    buffer_free(&array);
    return outcome;
}

static enum protocol_outcome redis_read_inline(struct reader *reader)
{
    struct slice *input = reader->input;
    size_t limit = reader->settings->head_limit < INLINE_MAX ? reader->settings->head_limit : INLINE_MAX;
    size_t size = (size_t)redis_request_size(reader);
    size_t window = input->length < limit + 1 - size ? input->length : limit + 1 - size;
    const char *end = memchr(input->bytes, '\n', window);
    size_t length = end != NULL ? (size_t)(end - input->bytes) : window;
    reader->client->looked_at += length;
    if (memchr(input->bytes, '\0', length) != NULL)
        return redis_break_off(reader, "-ERR Protocol error: NUL in inline request");
    if (end == NULL && size + window > limit)
        return redis_break_off(reader, REDIS_INLINE_BIG);
    slice_skip(input, length);
    struct slice line = { reader->start, (size_t)(input->bytes - reader->start) };
    if (end == NULL || reader->reading->size > 0)
        redis_keep_piece(reader);
    if (end == NULL)
        return PROTOCOL_MORE;
    slice_skip(input, 1);
    if (reader->out->length > 0)
        line = buffer_slice(reader->out);
    if (line.length > 0 && line.bytes[line.length - 1] == '\r')
        line.length--;
    return redis_read_line(reader, line);
}

/* Most steps are one byte long: each asks for its phase once. */
static enum protocol_outcome redis_read_request_step(struct reader *reader)
{
    struct redis_reading *reading = reader->reading;
    char c = reader->input->bytes[0];
    switch (reading->phase) {
    case REDIS_REQUEST_START:
        reading->phase = c == '*' ? REDIS_REQUEST_COUNT : REDIS_REQUEST_INLINE;
        if (c != '*')
            return redis_read_inline(reader);
        break;
    case REDIS_REQUEST_INLINE:
        return redis_read_inline(reader);
    case REDIS_REQUEST_DOLLAR:
        if (c != '$') {
            buffer_print(reader->answer, "-ERR Protocol error: expected '$', got '%c'\r\n",
                         c > ' ' && c <= '~' ? c : ' ');
            return PROTOCOL_BROKEN;
        }
        reading->number = (struct redis_number){ 0 };
        reading->phase = REDIS_REQUEST_LENGTH;
        break;
    case REDIS_REQUEST_DATA:
        return redis_read_data(reader);
    case REDIS_REQUEST_CR:
    case REDIS_REQUEST_LF:
        return redis_read_argument_end(reader, c);
    default:
        slice_skip(reader->input, 1);
        return redis_read_digit(reader, c);
    }
    slice_skip(reader->input, 1);
    return PROTOCOL_MORE;
}

static enum protocol_outcome redis_read_array(struct reader *reader)
{
    size_t length = reader->input->length;
    enum protocol_outcome outcome = PROTOCOL_MORE;
    while (reader->input->length > 0 && outcome == PROTOCOL_MORE)
        outcome = redis_read_request_step(reader);
    if (outcome == PROTOCOL_MORE)
        redis_keep_piece(reader);
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
        .reading = &((struct redis_client *)client)->reading,
        .request = request,
        .input = input,
        .start = input->bytes,
        .out = out,
        .answer = answer,
    };
    return redis_read_array(&reader);
}
