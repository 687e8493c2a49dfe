/* Messages between a start and an end mark, such as STX and ETX, or the blocks of MLLP (HL7). Nothing may
 * stand between two messages. */
#include "protocol/marks/marks.h"

#include "protocol/match.h"
#include "protocol/pass.h"
#include "protocol/protocols.h"

/* Of a client and of a connection alike. All zeros between two messages. */
struct marks_reader {
    size_t started; /* how much of the start mark has come */
    struct match end;
};

/* Compares the next `count` bytes with the rest of the start mark. */
static bool marks_start(struct marks_reader *reader, struct slice mark, struct slice input, size_t count)
{
    if (memcmp(mark.bytes + reader->started, input.bytes, count) != 0)
        return false;
    reader->started += count;
    return true;
}

/* How many of the next bytes belong to the start mark, if it is one. */
static size_t marks_starting(const struct marks_reader *reader, struct slice mark, const struct slice *input)
{
    return reader->started < mark.length ? pass_available(input, mark.length - reader->started) : 0;
}

static enum protocol_outcome marks_read_rest(struct marks_reader *reader, struct slice end,
                                             struct slice *input, struct buffer *out)
{
    size_t taken;
    bool ends = match_find(&reader->end, end, *input, &taken);
    pass(input, taken, out);
    if (!ends)
        return PROTOCOL_MORE;
    *reader = (struct marks_reader){ 0 };
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome marks_read_request(const struct protocol_settings *settings, void *client,
                                                struct protocol_request *request, struct slice *input,
                                                struct buffer *out, struct buffer *answer)
{
    struct marks_reader *reader = client;
    struct slice start = marks_own(settings)->start;
    size_t starting = marks_starting(reader, start, input);
    if (starting > 0) {
        if (out->length + starting > settings->head_limit || !marks_start(reader, start, *input, starting))
            return error_reply_break(settings, answer);
        pass(input, starting, out);
        if (reader->started < start.length)
            return PROTOCOL_MORE;
    }
    enum protocol_outcome outcome = marks_read_rest(reader, marks_own(settings)->end, input, out);
    /* A longer message streams. */
    if (outcome == PROTOCOL_COMPLETE || out->length >= settings->head_limit)
        request->decided = true;
    return outcome;
}

static enum protocol_outcome marks_read_response(const struct protocol_settings *settings, void *connection,
                                                 struct protocol_request *, struct slice *input,
                                                 struct buffer *out, uint64_t *)
{
    struct marks_reader *reader = connection;
    struct slice start = marks_own(settings)->start;
    size_t starting = marks_starting(reader, start, input);
    if (starting > 0) {
        if (!marks_start(reader, start, *input, starting))
            return PROTOCOL_BROKEN;
        slice_skip(input, starting);
        if (reader->started < start.length)
            return PROTOCOL_MORE;
        /* The client gets nothing before it is known to be one: an error can still take its place. */
        buffer_append(out, start.bytes, start.length);
    }
    return marks_read_rest(reader, marks_own(settings)->end, input, out);
}

static const struct key marks_keys[] = {
    STRING_KEY("start", NULL, "what begins a message", .required = true, .is_bytes = true,
               .maximum = MARK_MAX, KEY_FIELD(struct marks_settings, start)),
    STRING_KEY("end", NULL, "what ends a message", .required = true, .is_bytes = true, .maximum = MARK_MAX,
               KEY_FIELD(struct marks_settings, end)),
    ERROR_REPLY_KEY,
};

static void marks_check(const struct protocol_settings *settings, bool, const struct key_report *report)
{
    error_reply_check(settings, marks_own(settings)->start, marks_own(settings)->end, "go from start to end",
                      report);
}

/* The message without what delimits it. */
static void marks_describe(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    struct slice start = marks_own(settings)->start;
    struct slice end = marks_own(settings)->end;
    if (slice_begins_with(bytes, start))
        slice_skip(&bytes, start.length);
    if (slice_ends_with(bytes, end))
        bytes.length -= end.length;
    buffer_append(text, bytes.bytes, bytes.length);
}

const struct protocol protocol_marks = {
    .name = "marks",
    .keys = marks_keys,
    .key_count = sizeof marks_keys / sizeof marks_keys[0],
    .check = marks_check,
    .async_caution = ORDER_CAUTION,
    .client_size = sizeof(struct marks_reader),
    .connection_size = sizeof(struct marks_reader),
    .read_request = marks_read_request,
    .read_response = marks_read_response,
    .write_error = error_reply_write,
    .describe = marks_describe,
};
