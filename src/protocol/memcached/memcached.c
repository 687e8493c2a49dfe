/* memcached, text protocol: classic and meta commands (doc/protocol.txt of memcached).
 *
 * Neither noreply nor a quiet flag keeps memcached silent: it answers errors all the same, and the next
 * client would get them. So each request that goes to a target has an answer. The word noreply is taken out
 * of its line, and the answer is swallowed. Quiet commands that follow each other in the bytes at hand are
 * sent as one request, a run, with an `mn` behind them: what comes before its MN is the client's.
 *
 * A client's own `mn` directly behind a run, in the same bytes, serves as that `mn`; any other is answered
 * here, in its place among the answers. `version` goes to the target, since the version asked for is the
 * target's.
 *
 * A dump by lru_crawler goes alone: memcached refuses it behind other requests of one read, and what came in
 * one read with it is not looked at until still more bytes come (1.6.18). */
#include "protocol/memcached/memcached.h"

#include "protocol/check.h"
#include "protocol/describe.h"
#include "protocol/pass.h"
#include "protocol/protocols.h"

/* The first byte of the binary protocol's requests. */
#define BINARY_MAGIC 0x80

/* ---- Requests ---- */

/* The length of the line that the bytes begin with, its \n included; 0: no end within `limit` bytes. */
static size_t line_end(struct memcached_client *client, struct slice bytes, size_t limit)
{
    size_t count = pass_available(&bytes, limit);
    const char *newline = memchr(bytes.bytes, '\n', count);
    size_t end = newline != NULL ? (size_t)(newline - bytes.bytes) + 1 : 0;
    client->looked_at += end > 0 ? end : count;
    return end;
}

static size_t line_limit(const struct protocol_settings *settings, struct slice line)
{
    if (slice_begins_with(line, SLICE("get ")) || slice_begins_with(line, SLICE("gets ")) ||
        settings->head_limit < MEMCACHED_LINE_MAX)
        return settings->head_limit;
    return MEMCACHED_LINE_MAX;
}

static enum protocol_outcome break_request(struct buffer *answer, const char *text)
{
    buffer_append_text(answer, text);
    return PROTOCOL_BROKEN;
}

/* Collects the line in `out`. COMPLETE: all of it is there. */
static enum protocol_outcome read_request_line(const struct protocol_settings *settings,
                                               struct memcached_client *client, struct slice *input,
                                               struct buffer *out, struct buffer *answer)
{
    if (out->length == 0 && input->length > 0 && (unsigned char)input->bytes[0] == BINARY_MAGIC)
        return break_request(answer, "CLIENT_ERROR the binary protocol is not supported\r\n");
    /* A reload may have lowered it meanwhile. */
    size_t room = settings->head_limit > out->length ? settings->head_limit - out->length : 0;
    size_t end = line_end(client, *input, room);
    size_t wanted = end > 0 ? end : input->length;
    pass(input, wanted < room ? wanted : room, out);
    if (out->failed)
        return PROTOCOL_MORE;
    if (wanted > room || out->length > line_limit(settings, buffer_slice(out)))
        return break_request(answer, "CLIENT_ERROR line too long\r\n");
    return end > 0 ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}

/* Cuts the line, but for its end, to this length: the noreply that ended it is left out. */
static void shorten_line(struct buffer *out, size_t length)
{
    struct slice line = buffer_slice(out);
    size_t end_length = line.length - describe_line_of(line).length;
    buffer_remove(out, length, line.length - end_length - length);
}

static enum protocol_outcome answer_here(const struct memcached_command *command,
                                         struct protocol_request *request, struct buffer *out,
                                         struct buffer *answer)
{
    buffer_truncate(out, 0);
    buffer_append_text(answer, command->text);
    request->local = true;
    request->refused = command->is_refused;
    request->closes_client = request->closes_client || command->is_quit;
    return PROTOCOL_COMPLETE;
}

/* Decides on the request whose line is in `out`. MORE: it goes to the target; its data or the rest of its run
 * are still to be read. */
static enum protocol_outcome decide(struct memcached_client *client, struct protocol_request *request,
                                    struct buffer *out, struct buffer *answer)
{
    struct memcached_command command = memcached_command_read(describe_line_of(buffer_slice(out)));
    if (command.handling == MEMCACHED_BROKEN)
        return break_request(answer, command.text);
    if (command.handling == MEMCACHED_LOCAL)
        return answer_here(&command, request, out, answer);
    memcpy(request->context, &command.context, sizeof command.context);
    shorten_line(out, command.length);
    request->decided = true;
    request->alone =
        command.context.answer == MEMCACHED_METADUMP || command.context.answer == MEMCACHED_MGDUMP;
    client->block = command.context.has_block ? command.block + 2 : 0;
    return PROTOCOL_MORE;
}

/* The length of the quiet command that the bytes begin with, its data included; 0: the command is wrong, not
 * quiet, or not all there. `end` is the length of its line. */
static size_t whole_quiet_command(const struct memcached_command *command, struct slice bytes, size_t end)
{
    if (command->handling != MEMCACHED_FORWARD || command->context.answer != MEMCACHED_QUIET)
        return 0;
    if (!command->context.has_block)
        return end;
    if (bytes.length - end < command->block + 2)
        return 0;
    size_t length = end + (size_t)command->block;
    return memcmp(bytes.bytes + length, "\r\n", 2) == 0 ? length + 2 : 0;
}

/* Adds the further commands of the run that the input has, and the `mn` behind them. A run has either
 * commands with data or commands without: some errors mean more where there are data (see
 * `spoilers`). */
static void extend_run(const struct protocol_settings *settings, struct memcached_client *client,
                       struct protocol_request *request, struct slice *input, struct buffer *out)
{
    struct memcached_context context = memcached_context(request);
    size_t length = 0;
    while (input->length > 0 && length < settings->head_limit / 2) {
        size_t end = line_end(client, *input, line_limit(settings, *input));
        if (end == 0)
            break;
        struct memcached_command command =
            memcached_command_read(describe_line_of((struct slice){ input->bytes, end }));
        if (command.is_mn) {
            context.has_client_mn = true;
            slice_skip(input, end);
            break;
        }
        size_t count = whole_quiet_command(&command, *input, end);
        if (count == 0 || command.context.has_block != context.has_block)
            break;
        pass(input, count, out);
        length += count;
    }
    buffer_append_text(out, "mn\r\n");
    memcpy(request->context, &context, sizeof context);
}

static enum protocol_outcome memcached_read_request(const struct protocol_settings *settings, void *state,
                                                    struct protocol_request *request, struct slice *input,
                                                    struct buffer *out, struct buffer *answer)
{
    struct memcached_client *client = state;
    if (!request->decided) {
        enum protocol_outcome outcome = read_request_line(settings, client, input, out, answer);
        if (outcome != PROTOCOL_COMPLETE)
            return outcome;
        outcome = decide(client, request, out, answer);
        if (outcome != PROTOCOL_MORE)
            return outcome;
    }
    /* Data without their end break the request: memcached would take what follows for the next command. */
    enum protocol_outcome outcome = memcached_data_read(&client->block, input, out);
    struct memcached_context context = memcached_context(request);
    if (outcome == PROTOCOL_BROKEN)
        buffer_append_text(answer, context.is_swallowed ? "" : "CLIENT_ERROR bad data chunk\r\n");
    else if (outcome == PROTOCOL_COMPLETE && context.answer == MEMCACHED_QUIET)
        extend_run(settings, client, request, input, out);
    return outcome;
}

/* ---- Responses ----
 *
 * The first word of a line tells what it is, and only words pass that can be part of an answer to the command in
 * question: any other shows that requests and answers are out of step, and breaks the connection before
 * somebody gets it. */

#define VALUE_MAX ((uint64_t)UINT32_MAX)

#define TO(answer)    (1u << (answer))
#define ONE_LINE_META (TO(MEMCACHED_META) | TO(MEMCACHED_QUIET))

enum role {
    ROLE_STRAY, /* not to be expected */
    ROLE_NEXT,  /* further lines follow */
    ROLE_LAST,  /* ends the answer */
    ROLE_DATA,  /* data follow */
};

/* The first words of lines, the answers that they can be part of, and their role there. 1.6.9 says OK where
 * later versions say HD. */
static const struct {
    struct slice word;
    unsigned answers;
    enum role role;
} words[] = {
    { SLICE("VALUE"), TO(MEMCACHED_VALUES), ROLE_DATA },
    { SLICE("END"), TO(MEMCACHED_VALUES) | TO(MEMCACHED_STATS) | TO(MEMCACHED_METADUMP), ROLE_LAST },
    { SLICE("STORED"), TO(MEMCACHED_STORE), ROLE_LAST },
    { SLICE("VA"), ONE_LINE_META, ROLE_DATA },
    { SLICE("HD"), ONE_LINE_META, ROLE_LAST },
    { SLICE("EN"), ONE_LINE_META | TO(MEMCACHED_DEBUG) | TO(MEMCACHED_MGDUMP), ROLE_LAST },
    { SLICE("NF"), ONE_LINE_META, ROLE_LAST },
    { SLICE("NS"), ONE_LINE_META, ROLE_LAST },
    { SLICE("EX"), ONE_LINE_META, ROLE_LAST },
    { SLICE("ME"), TO(MEMCACHED_DEBUG), ROLE_LAST },
    { SLICE("STAT"), TO(MEMCACHED_STATS), ROLE_NEXT },
    { SLICE("ITEM"), TO(MEMCACHED_STATS), ROLE_NEXT },
    { SLICE("PREFIX"), TO(MEMCACHED_STATS), ROLE_NEXT },
    { SLICE("RESET"), TO(MEMCACHED_STATS), ROLE_LAST },
    { SLICE("OK"), TO(MEMCACHED_METADUMP) | TO(MEMCACHED_MGDUMP), ROLE_NEXT },
    { SLICE("OK"), ONE_LINE_META | TO(MEMCACHED_STATS), ROLE_LAST },
    { SLICE("NOT_FOUND"), TO(MEMCACHED_STORE) | TO(MEMCACHED_CHANGE), ROLE_LAST },
    { SLICE("NOT_STORED"), TO(MEMCACHED_STORE), ROLE_LAST },
    { SLICE("EXISTS"), TO(MEMCACHED_STORE), ROLE_LAST },
    { SLICE("DELETED"), TO(MEMCACHED_CHANGE), ROLE_LAST },
    { SLICE("TOUCHED"), TO(MEMCACHED_CHANGE), ROLE_LAST },
    { SLICE("VERSION"), TO(MEMCACHED_VERSION), ROLE_LAST },
    { SLICE("mg"), TO(MEMCACHED_MGDUMP), ROLE_NEXT },
    { SLICE("BUSY"), TO(MEMCACHED_METADUMP) | TO(MEMCACHED_MGDUMP), ROLE_LAST },
    { SLICE("BADCLASS"), TO(MEMCACHED_METADUMP) | TO(MEMCACHED_MGDUMP), ROLE_LAST },
    { SLICE("NOTSTARTED"), TO(MEMCACHED_METADUMP) | TO(MEMCACHED_MGDUMP), ROLE_LAST },
};

/* Errors after which the connection can't be used any more, and the answers of which that is true. */
static const struct {
    struct slice text;
    unsigned answers;
    bool with_block; /* only if the command came with data */
} spoilers[] = {
    /* memcached wants credentials, and takes data for commands until it has them. */
    { SLICE("CLIENT_ERROR unauthenticated"), ~0u, false },
    /* memcached has thrown away its answers to the commands before that one, so that this error may stand in
     * the place of another answer. A long key has the same effect, but none is sent. */
    { SLICE("SERVER_ERROR out of memory writing get response"), ~0u, false },
    { SLICE("CLIENT_ERROR bad command line format"), TO(MEMCACHED_VALUES), false },
    /* memcached knows no meta commands, so that no MN will come. */
    { SLICE("ERROR"), TO(MEMCACHED_QUIET), false },
    /* memcached did not understand the line (ms before 1.6.10), and takes the data for commands. */
    { SLICE("ERROR"), ~0u, true },
    { SLICE("CLIENT_ERROR bad command line format"), ~0u, true },
    { SLICE("CLIENT_ERROR bad data chunk"), ~0u, true },
    { SLICE("CLIENT_ERROR invalid flag"), ~0u, true },
};

static bool is_spoiler(const struct memcached_context *context, struct slice text)
{
    for (size_t i = 0; i < sizeof spoilers / sizeof spoilers[0]; i++)
        if ((spoilers[i].answers & TO(context->answer)) != 0 &&
            (context->has_block || !spoilers[i].with_block) && slice_equal(text, spoilers[i].text))
            return true;
    return false;
}

/* ERROR, "ERROR too bad", "ERROR: too bad"; CLIENT_ERROR and SERVER_ERROR likewise. */
static bool is_error(struct slice word)
{
    if (word.length > 0 && word.bytes[word.length - 1] == ':')
        word.length--;
    return slice_equal(word, SLICE("ERROR")) || slice_equal(word, SLICE("CLIENT_ERROR")) ||
           slice_equal(word, SLICE("SERVER_ERROR"));
}

/* The role of a line whose first word does not tell it. */
static enum role role_of_others(enum memcached_answer answer, struct slice text, struct slice word)
{
    if (answer == MEMCACHED_SIZES && slice_equal(word, SLICE("STAT")))
        return slice_equal(text, SLICE("STAT sizes_status error")) ? ROLE_NEXT : ROLE_LAST;
    if (answer == MEMCACHED_ANY)
        return ROLE_LAST;
    if (answer == MEMCACHED_CHANGE && word.bytes[0] >= '0' && word.bytes[0] <= '9')
        return ROLE_LAST;
    if (answer == MEMCACHED_METADUMP && word.length >= 4 && memcmp(word.bytes, "key=", 4) == 0)
        return ROLE_NEXT;
    return ROLE_STRAY;
}

static enum role role_of(const struct memcached_context *context, struct slice text, struct slice word)
{
    if (word.length == 0)
        return ROLE_STRAY;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if ((words[i].answers & TO(context->answer)) != 0 && slice_equal(words[i].word, word))
            return words[i].role;
    return is_error(word) ? ROLE_LAST : role_of_others(context->answer, text, word);
}

/* VALUE key flags bytes [unique], VA bytes flag... */
static bool read_value_line(const struct memcached_context *context, struct slice text, uint64_t *bytes)
{
    struct slice word = { 0 };
    int place = context->answer == MEMCACHED_VALUES ? 3 : 1;
    for (int i = 0; i <= place; i++)
        if (!memcached_word_next(&text, &word))
            return false;
    return number_parse(word, VALUE_MAX, bytes);
}

static void give(struct buffer *out, struct slice bytes)
{
    if (out != NULL)
        buffer_append(out, bytes.bytes, bytes.length);
}

/* The end of a line, or, of a very long one, of its beginning. */
static enum protocol_outcome end_line(const struct memcached_context *context,
                                      struct memcached_connection *connection,
                                      struct protocol_request *request, struct slice line, bool is_whole,
                                      struct buffer *out)
{
    struct slice text = is_whole ? describe_line_of(line) : line;
    struct slice rest = text, word;
    bool is_quiet = context->answer == MEMCACHED_QUIET;
    memcached_word_next(&rest, &word);
    if (word.bytes != text.bytes) /* a space was before it */
        return PROTOCOL_BROKEN;
    if (is_quiet && is_whole && slice_equal(text, SLICE("MN"))) {
        if (context->has_client_mn)
            give(out, line);
        return PROTOCOL_COMPLETE;
    }
    enum role role = role_of(context, text, word);
    bool spoils = role != ROLE_DATA && is_spoiler(context, text);
    if (role == ROLE_STRAY ||
        (role == ROLE_DATA && (!is_whole || !read_value_line(context, text, &connection->block))))
        return PROTOCOL_BROKEN;
    if (is_quiet && spoils) /* nothing tells which command it answers, nor where the answers of the run end */
        return PROTOCOL_BROKEN;
    give(out, line);
    connection->block += role == ROLE_DATA ? 2 : 0;
    connection->in_rest = !is_whole;
    connection->is_last =
        !is_quiet && (role == ROLE_LAST || (role == ROLE_DATA && context->answer == MEMCACHED_META));
    request->closes_target = request->closes_target || spoils;
    return connection->is_last && role == ROLE_LAST && is_whole ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}

/* Collects a line until its end is there or `line` is full. */
static enum protocol_outcome read_answer_line(const struct memcached_context *context,
                                              struct memcached_connection *connection,
                                              struct protocol_request *request, struct slice *input,
                                              struct buffer *out)
{
    size_t count = pass_available(input, sizeof connection->line - connection->length);
    const char *newline = memchr(input->bytes, '\n', count);
    if (newline != NULL)
        count = (size_t)(newline - input->bytes) + 1;
    memcpy(connection->line + connection->length, input->bytes, count);
    slice_skip(input, count);
    connection->looked_at += count;
    connection->length += count;
    if (newline == NULL && connection->length < sizeof connection->line)
        return PROTOCOL_MORE;
    struct slice line = { connection->line, connection->length };
    connection->length = 0;
    return end_line(context, connection, request, line, newline != NULL, out);
}

static enum protocol_outcome read_rest(struct memcached_connection *connection, struct slice *input,
                                       struct buffer *out)
{
    const char *newline = memchr(input->bytes, '\n', input->length);
    size_t count = newline != NULL ? (size_t)(newline - input->bytes) + 1 : input->length;
    pass(input, count, out);
    connection->looked_at += count;
    connection->in_rest = newline == NULL;
    return newline != NULL ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}

static enum protocol_outcome memcached_read_response(const struct protocol_settings *, void *state,
                                                     struct protocol_request *request, struct slice *input,
                                                     struct buffer *out, uint64_t *)
{
    struct memcached_connection *connection = state;
    struct memcached_context context = memcached_context(request);
    enum protocol_outcome outcome = PROTOCOL_MORE;
    if (context.is_swallowed)
        out = NULL;
    while (outcome == PROTOCOL_MORE && input->length > 0) {
        if (connection->block == 0 && !connection->in_rest) {
            outcome = read_answer_line(&context, connection, request, input, out);
            continue;
        }
        outcome = connection->in_rest ? read_rest(connection, input, out)
                                      : memcached_data_read(&connection->block, input, out);
        if (outcome == PROTOCOL_COMPLETE && !connection->is_last)
            outcome = PROTOCOL_MORE;
    }
    if (outcome == PROTOCOL_COMPLETE)
        connection->is_last = false;
    return outcome;
}

/* ---- Errors, descriptions, proxy mode ---- */

static bool memcached_write_error(const struct protocol_settings *, const struct protocol_request *request,
                                  enum reason reason, struct buffer *out)
{
    struct memcached_context context = memcached_context(request);
    if (request->begun)
        return false;
    if (context.is_swallowed)
        return true;
    buffer_print(out, "SERVER_ERROR proximux: %s\r\n", reason_phrase(reason));
    /* The client reads up to the MN. */
    if (context.has_client_mn)
        buffer_append_text(out, "MN\r\n");
    return true;
}

/* In proxy mode a noreply is believed, and the target answers what is answered here in shared modes. The end
 * of the answers to quiet commands is known only if their client's own `mn` came with them. */
static bool memcached_observes(const struct protocol_settings *, struct protocol_request *request,
                               struct slice bytes)
{
    struct memcached_command command = memcached_command_read(describe_line_of(bytes));
    struct memcached_context context = memcached_context(request);
    request->unanswered = command.context.is_swallowed || command.is_quit;
    if (!request->local)
        return command.context.answer != MEMCACHED_QUIET || context.has_client_mn;
    request->local = false;
    context = (struct memcached_context){ .answer = command.is_mn ? MEMCACHED_QUIET : MEMCACHED_ANY,
                                          .has_client_mn = command.is_mn };
    memcpy(request->context, &context, sizeof context);
    return !command.is_refused;
}

static void memcached_describe_error(const struct protocol_settings *settings, struct slice bytes,
                                     struct buffer *text)
{
    if (slice_begins_with(bytes, SLICE("ERROR")) || slice_begins_with(bytes, SLICE("CLIENT_ERROR")) ||
        slice_begins_with(bytes, SLICE("SERVER_ERROR")))
        describe_first_line(settings, bytes, text);
}

/* The one command that every version answers, and that is not answered here. */
static void memcached_write_check(const struct protocol_settings *, const struct check_settings *, void *,
                                  struct buffer *out)
{
    buffer_append_text(out, "version\r\n");
}

static enum protocol_outcome memcached_read_check(const struct protocol_settings *,
                                                  const struct check_settings *, struct slice answer,
                                                  struct buffer *error)
{
    if (memchr(answer.bytes, '\n', answer.length) == NULL)
        return PROTOCOL_MORE;
    if (slice_begins_with(answer, SLICE("VERSION ")))
        return PROTOCOL_COMPLETE;
    check_quote(answer, error);
    return PROTOCOL_BROKEN;
}

const struct protocol protocol_memcached = {
    .name = "memcached",
    .client_size = sizeof(struct memcached_client),
    .connection_size = sizeof(struct memcached_connection),
    .is_async = true,
    .read_request = memcached_read_request,
    .read_response = memcached_read_response,
    .write_error = memcached_write_error,
    .describe = describe_first_line,
    .describe_error = memcached_describe_error,
    .write_check = memcached_write_check,
    .read_check = memcached_read_check,
    .observes = memcached_observes,
};
