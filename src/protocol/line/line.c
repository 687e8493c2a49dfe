/* Lines: a request is one, an answer a number of them, or all up to one that begins with given bytes. */
#include "protocol/line/line.h"

#include "protocol/match.h"
#include "protocol/pass.h"
#include "protocol/protocols.h"

/* All zeros between two requests. */
struct line_client {
    struct match delimiter;
    struct match reply_if;
    bool has_reply; /* there was reply_if, or there is none */
};

/* All zeros between two answers. */
struct line_connection {
    struct match delimiter;
    bool is_other;        /* this line does not begin with reply_until */
    size_t until_matched; /* how much of reply_until this line has begun with */
    int64_t lines;        /* that have ended */
};

static enum protocol_outcome line_read_request(const struct protocol_settings *settings, void *client_state,
                                               struct protocol_request *request, struct slice *input,
                                               struct buffer *out, struct buffer *)
{
    struct line_client *client = client_state;
    struct slice reply_if = line_own(settings)->reply_if;
    size_t taken, looked_at;
    bool ends = match_find(&client->delimiter, line_own(settings)->delimiter, *input, &taken);
    struct slice bytes = { input->bytes, taken };
    if (!client->has_reply)
        client->has_reply =
            reply_if.length == 0 || match_find(&client->reply_if, reply_if, bytes, &looked_at);
    /* A longer line streams. Whether it has an answer shows at its end, like that of any other. */
    if (ends || out->length + taken >= settings->head_limit)
        request->decided = true;
    pass(input, taken, out);
    if (!ends)
        return PROTOCOL_MORE;
    request->unanswered = !client->has_reply;
    *client = (struct line_client){ 0 };
    return PROTOCOL_COMPLETE;
}

/* Compares the next bytes of a line with what the last line of an answer begins with. The delimiter counts as
 * part of the line: ".\r\n" is the line that is "." and nothing else. */
static void line_compare_until(struct line_connection *connection, struct slice until, struct slice bytes)
{
    if (connection->is_other || connection->until_matched >= until.length)
        return;
    size_t count = pass_available(&bytes, until.length - connection->until_matched);
    if (memcmp(until.bytes + connection->until_matched, bytes.bytes, count) == 0)
        connection->until_matched += count;
    else
        connection->is_other = true;
}

/* Notes that a line has ended. True if it is the last one of its answer. */
static bool line_end(struct line_connection *connection, const struct protocol_settings *settings)
{
    size_t until = line_own(settings)->reply_until.length;
    bool is_until = !connection->is_other && connection->until_matched >= until;
    connection->lines++;
    connection->is_other = false;
    connection->until_matched = 0;
    return until > 0 ? is_until : connection->lines >= line_own(settings)->reply_lines;
}

static enum protocol_outcome line_read_response(const struct protocol_settings *settings,
                                                void *connection_state, struct protocol_request *,
                                                struct slice *input, struct buffer *out, uint64_t *)
{
    struct line_connection *connection = connection_state;
    while (input->length > 0) {
        size_t taken;
        bool ends = match_find(&connection->delimiter, line_own(settings)->delimiter, *input, &taken);
        line_compare_until(connection, line_own(settings)->reply_until,
                           (struct slice){ input->bytes, taken });
        pass(input, taken, out);
        if (ends && line_end(connection, settings)) {
            *connection = (struct line_connection){ 0 };
            return PROTOCOL_COMPLETE;
        }
    }
    return PROTOCOL_MORE;
}

static const struct key line_keys[] = {
    STRING_KEY("delimiter", "\\n", "what ends a line", .is_bytes = true, .maximum = MARK_MAX,
               KEY_FIELD(struct line_settings, delimiter)),
    INTEGER_KEY("reply_lines", UNIT_NONE, 1, 65535, "1", "lines of an answer",
                KEY_FIELD(struct line_settings, reply_lines)),
    STRING_KEY("reply_until", NULL, "beginning of an answer's last line", .is_bytes = true,
               .maximum = MARK_MAX, KEY_FIELD(struct line_settings, reply_until)),
    STRING_KEY("reply_if", NULL, "what requests with an answer contain", .is_bytes = true,
               .maximum = MARK_MAX, KEY_FIELD(struct line_settings, reply_if)),
    ERROR_REPLY_KEY,
};

static void line_check(const struct protocol_settings *settings, bool, const struct key_report *report)
{
    const struct line_settings *own = line_own(settings);
    if (own->reply_lines > 1 && own->reply_until.length > 0)
        key_error(report, "reply_lines", "does not go with reply_until: an answer ends by one of them");
    error_reply_check(settings, SLICE(""), own->delimiter, "end with the delimiter", report);
}

/* The message without what delimits it. */
static void line_describe(const struct protocol_settings *settings, struct slice bytes, struct buffer *text)
{
    struct slice delimiter = line_own(settings)->delimiter;
    if (slice_ends_with(bytes, delimiter))
        bytes.length -= delimiter.length;
    if (slice_ends_with(bytes, SLICE("\r")))
        bytes.length--;
    buffer_append(text, bytes.bytes, bytes.length);
}

const struct protocol protocol_line = {
    .name = "line",
    .keys = line_keys,
    .key_count = sizeof line_keys / sizeof line_keys[0],
    .check = line_check,
    .async_caution = ORDER_CAUTION,
    .client_size = sizeof(struct line_client),
    .connection_size = sizeof(struct line_connection),
    .read_request = line_read_request,
    .read_response = line_read_response,
    .write_error = error_reply_write,
    .describe = line_describe,
};
