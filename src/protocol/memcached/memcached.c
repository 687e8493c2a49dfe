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

#include "protocol/describe.h"
#include "protocol/pass.h"
#include "protocol/protocols.h"

/* The first byte of the binary protocol's requests. */
#define BINARY_MAGIC 0x80

#define MN "mn\r\n"

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
static enum protocol_outcome read_line(const struct protocol_settings *settings,
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
 * memcached_answer.c). */
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
    buffer_append_text(out, MN);
    memcpy(request->context, &context, sizeof context);
}

static enum protocol_outcome memcached_read_request(const struct protocol_settings *settings, void *state,
                                                    struct protocol_request *request, struct slice *input,
                                                    struct buffer *out, struct buffer *answer)
{
    struct memcached_client *client = state;
    if (!request->decided) {
        enum protocol_outcome outcome = read_line(settings, client, input, out, answer);
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

const struct protocol protocol_memcached = {
    .name = "memcached",
    .client_size = sizeof(struct memcached_client),
    .connection_size = sizeof(struct memcached_connection),
    .is_async = true,
    .read_request = memcached_read_request,
    .read_response = memcached_answer_read,
    .write_error = memcached_write_error,
    .describe = describe_first_line,
    .describe_error = memcached_describe_error,
    .observes = memcached_observes,
};
