/* MLLP, which carries HL7 version 2 messages ("Transport Specification: MLLP, Release 1").
 *
 *   0x0B  message  0x1C 0x0D
 *
 * CR and LF between messages are passed over. Segments of a message end with CR (some systems send LF, or both), and
 * the first one, MSH, says in MSH-1 what separates fields: MSH|^~\&|... The answer to a message repeats its control
 * id: MSA-2 is the request's MSH-10. One that names another message is late, or comes a second time (after the accept
 * acknowledgment of the enhanced mode, say): it is thrown away. */
#include "protocol/mllp/mllp.h"

#include "protocol/pass.h"
#include "protocol/protocols.h"

#include <ctype.h>

enum {
    MLLP_START = 0x0B,
    MLLP_END = 0x1C,
    MLLP_SEPARATOR_AT = 4, /* of MSH-1, behind the start and the segment's name */
    MLLP_CONTROL_ID = 10,
    MLLP_VERSION = 12, /* the last field of which an acknowledgment is made */
};

/* A request's context: its bytes from the start up to the end of MSH-12, as far as it goes. */
_Static_assert(sizeof(struct buffer) <= PROTOCOL_CONTEXT_SIZE, "a request's context holds it");

static struct slice mllp_head(const struct protocol_request *request)
{
    return buffer_slice((const struct buffer *)request->context);
}

static void mllp_release_request(struct protocol_request *request)
{
    buffer_free((struct buffer *)request->context);
}

static bool mllp_is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

/* A field of MSH, from 2 on, in bytes that begin with a message's start; empty if it is not there. */
static struct slice mllp_field(struct slice bytes, unsigned number)
{
    if (bytes.length <= MLLP_SEPARATOR_AT)
        return (struct slice){ 0 };
    const char separator = bytes.bytes[MLLP_SEPARATOR_AT];
    const char ends[] = { separator, '\r', '\n', MLLP_END };
    slice_skip(&bytes, MLLP_SEPARATOR_AT + 1);
    for (;; number--) {
        size_t length = 0;
        while (length < bytes.length && memchr(ends, bytes.bytes[length], sizeof ends) == NULL)
            length++;
        if (number == 2)
            return (struct slice){ bytes.bytes, length };
        if (length == bytes.length || bytes.bytes[length] != separator)
            return (struct slice){ 0 };
        slice_skip(&bytes, length + 1);
    }
}

static void mllp_append_field(struct buffer *out, char separator, struct slice field)
{
    buffer_append(out, &separator, 1);
    buffer_append(out, field.bytes, field.length);
}

/* Text in which nothing can be taken for a separator. */
static void mllp_append_text(struct buffer *out, struct slice head, const char *text)
{
    const char *separators = head.bytes + MLLP_SEPARATOR_AT;
    size_t count = 1 + mllp_field(head, 2).length;
    for (; *text != '\0'; text++)
        buffer_append(out, memchr(separators, *text, count) != NULL ? " " : text, 1);
}

/* Answers a request in the place of its receiver: sender and receiver change places, MSH-7,
 * the time, is left empty. */
static void mllp_acknowledge(struct slice head, const char *code, const char *text, struct buffer *out)
{
    static const unsigned fields[] = { 2, 5, 6, 3, 4 };
    char separator = head.bytes[MLLP_SEPARATOR_AT];
    buffer_append_text(out, "\x0bMSH");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        mllp_append_field(out, separator, mllp_field(head, fields[i]));
    buffer_print(out, "%c%c%cACK", separator, separator, separator);
    for (unsigned field = MLLP_CONTROL_ID; field <= MLLP_VERSION; field++)
        mllp_append_field(out, separator, mllp_field(head, field));
    buffer_print(out, "\rMSA%c%s", separator, code);
    mllp_append_field(out, separator, mllp_field(head, MLLP_CONTROL_ID));
    mllp_append_field(out, separator, SLICE(""));
    mllp_append_text(out, head, text);
    buffer_append_text(out, "\r\x1c\r");
}

static bool mllp_write_error(const struct protocol_settings *, const struct protocol_request *request,
                             enum reason reason, struct buffer *out)
{
    if (request->begun || mllp_head(request).length == 0)
        return false;
    mllp_acknowledge(mllp_head(request), "AE", reason_phrase(reason), out);
    return true;
}

/* Passes over what may stand between messages, and takes a message's first byte. BROKEN: it is none. */
static enum protocol_outcome mllp_begin(enum mllp_phase *phase, struct slice *input, struct buffer *out)
{
    while (input->length > 0 && mllp_is_line_end(input->bytes[0]))
        slice_skip(input, 1);
    if (input->length == 0)
        return PROTOCOL_MORE;
    if (input->bytes[0] != MLLP_START)
        return PROTOCOL_BROKEN;
    pass(input, 1, out);
    *phase = MLLP_HEAD;
    return PROTOCOL_MORE;
}

/* Takes bytes of a message's rest, to `out` unless it is NULL. COMPLETE: the message ends. */
static enum protocol_outcome mllp_read_rest(enum mllp_phase *phase, struct slice *input, struct buffer *out)
{
    if (*phase == MLLP_ENDING) {
        if (input->bytes[0] != '\r')
            return PROTOCOL_BROKEN;
        *phase = MLLP_BETWEEN;
        pass(input, 1, out);
        return PROTOCOL_COMPLETE;
    }
    const char *end = memchr(input->bytes, MLLP_END, input->length);
    if (end != NULL)
        *phase = MLLP_ENDING;
    pass(input, end != NULL ? (size_t)(end - input->bytes) + 1 : input->length, out);
    return PROTOCOL_MORE;
}

/* ---- Requests ---- */

/* Looks at the next byte of MSH. False: it can't stand there. `ends`: the head does, before this byte. */
static bool mllp_scan_head(struct mllp_client *client, size_t at, char c, bool *ends)
{
    static const char beginning[] = "\x0bMSH";
    if (at < MLLP_SEPARATOR_AT)
        return c == beginning[at];
    if (at == MLLP_SEPARATOR_AT) {
        client->separator = c;
        return isgraph((unsigned char)c) && !isalnum((unsigned char)c);
    }
    client->fields += c == client->separator;
    *ends = mllp_is_line_end(c) || c == MLLP_END || client->fields == MLLP_VERSION - 1;
    return true;
}

/* The head is in `out`: the request goes to the target, or is answered here. */
static void mllp_accept(struct mllp_client *client, struct protocol_request *request, struct buffer *out)
{
    struct buffer *head = (struct buffer *)request->context;
    size_t id_length = mllp_field(buffer_slice(out), MLLP_CONTROL_ID).length;
    buffer_append(head, buffer_bytes(out), out->length);
    out->failed = head->failed;
    if (out->failed)
        return;
    client->refuses = id_length == 0 || id_length > MLLP_ID_MAX;
    request->decided = !client->refuses;
    client->phase = MLLP_BODY;
    if (client->refuses)
        buffer_truncate(out, 0);
}

static enum protocol_outcome mllp_read_head(const struct protocol_settings *settings,
                                            struct mllp_client *client, struct protocol_request *request,
                                            struct slice *input, struct buffer *out)
{
    size_t limit = settings->head_limit < MLLP_HEAD_MAX ? settings->head_limit : MLLP_HEAD_MAX;
    size_t count = 0;
    bool ends = false;
    for (; count < input->length && !ends; count += !ends)
        if (out->length + count >= limit ||
            !mllp_scan_head(client, out->length + count, input->bytes[count], &ends))
            return PROTOCOL_BROKEN;
    pass(input, count, out);
    if (ends && !out->failed)
        mllp_accept(client, request, out);
    return PROTOCOL_MORE;
}

static enum protocol_outcome mllp_read_request(const struct protocol_settings *settings, void *state,
                                               struct protocol_request *request, struct slice *input,
                                               struct buffer *out, struct buffer *answer)
{
    struct mllp_client *client = state;
    enum protocol_outcome outcome = PROTOCOL_MORE;
    while (input->length > 0 && outcome == PROTOCOL_MORE && !out->failed) {
        if (client->phase == MLLP_BETWEEN)
            outcome = mllp_begin(&client->phase, input, out);
        else if (client->phase == MLLP_HEAD)
            outcome = mllp_read_head(settings, client, request, input, out);
        else
            outcome = mllp_read_rest(&client->phase, input, client->refuses ? NULL : out);
    }
    if (outcome == PROTOCOL_BROKEN && mllp_head(request).length > 0 && !request->begun)
        mllp_acknowledge(mllp_head(request), "AR", "the message does not end as MLLP wants", answer);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (client->refuses) {
        mllp_acknowledge(mllp_head(request), "AR", "MSH-10 has to have 1 to 199 characters", answer);
        request->local = true;
        request->refused = true;
    }
    *client = (struct mllp_client){ 0 };
    return PROTOCOL_COMPLETE;
}

/* ---- Responses ---- */

/* Looks at the next byte of what is held. False: it can't stand there. `ends`: MSA-2 does, before this
 * byte, or there is no MSA. */
static bool mllp_scan_answer(struct mllp_connection *connection, size_t at, char c, bool *ends)
{
    bool is_msa = connection->has_msh && memcmp(connection->segment, "MSA", 3) == 0;
    bool is_line_end = mllp_is_line_end(c);
    if (is_line_end || c == MLLP_END) {
        *ends = c == MLLP_END || connection->id_at > 0;
        connection->has_msh = connection->has_msh || connection->segment_bytes > 0;
        connection->segment_bytes = 0;
        connection->fields = 0;
        return at > MLLP_SEPARATOR_AT;
    }
    size_t index = connection->segment_bytes++;
    if (index < sizeof connection->segment)
        connection->segment[index] = c;
    else if (!connection->has_msh && at == MLLP_SEPARATOR_AT)
        connection->separator = c;
    else if (is_msa && c == connection->separator && (index == 3 || connection->fields > 0)) {
        if (++connection->fields == 2)
            connection->id_at = at + 1;
        *ends = connection->fields == 3;
    }
    return connection->has_msh || index >= 3 || c == "MSH"[index];
}

/* Holds an answer until MSA-2 says whose it is. */
static enum protocol_outcome mllp_hold(const struct protocol_settings *settings,
                                       struct mllp_connection *connection,
                                       const struct protocol_request *request, struct slice *input,
                                       struct buffer *out)
{
    struct buffer *held = &connection->held;
    size_t count = 0;
    bool ends = false;
    for (; count < input->length && !ends; count += !ends)
        if (held->length + count >= settings->head_limit ||
            !mllp_scan_answer(connection, held->length + count, input->bytes[count], &ends))
            return PROTOCOL_BROKEN;
    pass(input, count, held);
    if (held->failed)
        return PROTOCOL_BROKEN;
    if (!ends)
        return PROTOCOL_MORE;
    struct slice id = buffer_slice(held);
    slice_skip(&id, connection->id_at);
    connection->is_discarded = request == NULL || connection->id_at == 0 ||
                               !slice_equal(id, mllp_field(mllp_head(request), MLLP_CONTROL_ID));
    if (!connection->is_discarded)
        buffer_append(out, buffer_bytes(held), held->length);
    buffer_truncate(held, 0);
    connection->phase = MLLP_BODY;
    return PROTOCOL_MORE;
}

static enum protocol_outcome mllp_read_response(const struct protocol_settings *settings, void *state,
                                                struct protocol_request *request, struct slice *input,
                                                struct buffer *out, uint64_t *)
{
    struct mllp_connection *connection = state;
    enum protocol_outcome outcome = PROTOCOL_MORE;
    while (input->length > 0 && outcome == PROTOCOL_MORE) {
        if (connection->phase == MLLP_BETWEEN)
            outcome = mllp_begin(&connection->phase, input, &connection->held);
        else if (connection->phase == MLLP_HEAD)
            outcome = mllp_hold(settings, connection, request, input, out);
        else
            outcome = mllp_read_rest(&connection->phase, input, connection->is_discarded ? NULL : out);
    }
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    if (connection->is_discarded)
        outcome = PROTOCOL_DISCARDED;
    *connection = (struct mllp_connection){ .held = connection->held };
    return outcome;
}

static void mllp_close_connection(void *state)
{
    buffer_free(&((struct mllp_connection *)state)->held);
}

/* "ADT^A01 MSG00001": what kind of message it is, and its control id. */
static void mllp_describe(const struct protocol_settings *, struct slice bytes, struct buffer *text)
{
    while (bytes.length > 0 && mllp_is_line_end(bytes.bytes[0]))
        slice_skip(&bytes, 1);
    struct slice type = mllp_field(bytes, 9), id = mllp_field(bytes, MLLP_CONTROL_ID);
    buffer_append(text, type.bytes, type.length);
    if (id.length > 0)
        mllp_append_field(text, ' ', id);
}

/* "AE the patient is unknown": what MSA says, unless all is well. */
static void mllp_describe_error(const struct protocol_settings *, struct slice bytes, struct buffer *text)
{
    char separator = bytes.length > MLLP_SEPARATOR_AT ? bytes.bytes[MLLP_SEPARATOR_AT] : '|';
    while (bytes.length > 3 && !(mllp_is_line_end(bytes.bytes[0]) && memcmp(bytes.bytes + 1, "MSA", 3) == 0))
        slice_skip(&bytes, 1);
    if (bytes.length < 7 || bytes.bytes[4] != separator || bytes.bytes[6] == 'A')
        return;
    /* MSA has its fields where MSH has those with a number one higher. */
    struct slice code = mllp_field(bytes, 2), message = mllp_field(bytes, 4);
    buffer_append(text, code.bytes, code.length);
    if (message.length > 0)
        mllp_append_field(text, ' ', message);
}

const struct protocol protocol_mllp = {
    .name = "mllp",
    .async_caution =
        "the target has to answer in the order of the requests: an answer that overtakes another one is "
        "thrown away",
    .client_size = sizeof(struct mllp_client),
    .connection_size = sizeof(struct mllp_connection),
    .has_pushes = true,
    .close_connection = mllp_close_connection,
    .release_request = mllp_release_request,
    .read_request = mllp_read_request,
    .read_response = mllp_read_response,
    .write_error = mllp_write_error,
    .describe = mllp_describe,
    .describe_error = mllp_describe_error,
};
