/* HTTP/1.0 and 1.1 after RFC 9110 and RFC 9112. A request is decided when its head is whole and right: what
 * is for this connection only is taken out of it, and its body streams. */
#include "protocol/http/http.h"

#include "protocol/describe.h"
#include "protocol/http/http_error.h"
#include "protocol/protocols.h"

#include <assert.h>

/* What a request leaves for its answer. */
struct http_context {
    bool is_head;  /* the method */
    bool is_old;   /* HTTP/1.0 */
    bool answered; /* some of an answer came */
};

static_assert(sizeof(struct http_context) <= PROTOCOL_CONTEXT_SIZE, "the context has to fit");

static struct http_context *context_of(struct protocol_request *request)
{
    return (struct http_context *)request->context;
}

static const struct http_context *read_context(const struct protocol_request *request)
{
    return (const struct http_context *)request->context;
}

/* ---- Requests ----------------------------------------------------------------------------------------- */

/* How much of the empty line before a request was there. */
enum { BLANK_UNKNOWN, BLANK_CR, BLANK_DONE };

enum http_progress { PROGRESS_MORE, PROGRESS_NEXT, PROGRESS_BAD };

static void write_answer(const struct protocol_request *request, unsigned status, const char *why,
                         struct buffer *answer)
{
    const struct http_context *context = read_context(request);
    http_error_write(&(struct http_error){ .status = status,
                                           .why = why,
                                           .closes = request->closes_client,
                                           .keeps_alive = context->is_old,
                                           .answers_head = context->is_head },
                     answer);
}

/* The request can't be read: nobody knows where the next one begins. */
static enum protocol_outcome break_request(struct protocol_request *request, unsigned status, const char *why,
                                           struct buffer *answer)
{
    request->closes_client = true;
    if (!request->begun)
        write_answer(request, status, why, answer);
    return PROTOCOL_BROKEN;
}

/* Takes one empty line before a request line, as RFC 9112 §2.2 advises. */
static enum http_progress skip_blank(struct http_client *client, struct slice *input)
{
    if (client->blank == BLANK_UNKNOWN && input->length > 0) {
        client->blank = input->bytes[0] == '\r' ? BLANK_CR : BLANK_DONE;
        if (client->blank == BLANK_CR)
            slice_skip(input, 1);
    }
    if (client->blank == BLANK_CR && input->length > 0) {
        if (input->bytes[0] != '\n')
            return PROGRESS_BAD;
        slice_skip(input, 1);
        client->blank = BLANK_DONE;
    }
    return client->blank == BLANK_DONE ? PROGRESS_NEXT : PROGRESS_MORE;
}

/* An answer that is made here. */
struct http_refusal {
    unsigned status; /* 0: none */
    const char *why;
};

/* What is well-formed and still not for the target. */
static struct http_refusal find_refusal(const struct protocol_settings *settings,
                                        const struct http_head *head)
{
    if (slice_equal(head->method, SLICE("CONNECT")))
        return (struct http_refusal){ 501, "CONNECT needs a connection of its own" };
    if (head->upgrades)
        return (struct http_refusal){ 501, "Upgrade needs a connection of its own" };
    if (head->logs_in_connection)
        return (struct http_refusal){ 501, "NTLM and Negotiate log in a whole connection" };
    if (head->compressed)
        return (struct http_refusal){ 501, "an unknown transfer coding" };
    if (head->expects_other)
        return (struct http_refusal){ 417, "only 100-continue is understood" };
    if (settings->max_message >= 0 && head->length > (uint64_t)settings->max_message)
        return (struct http_refusal){ 413, "the request is too long" };
    return (struct http_refusal){ 0 };
}

/* Answers here. The rest of a request that has a body is not waited for. */
static enum protocol_outcome refuse(struct protocol_request *request, const struct http_head *head,
                                    struct http_refusal refusal, struct buffer *answer)
{
    request->local = true;
    request->refused = true;
    if (head->chunked || head->compressed || head->length > 0 || slice_equal(head->method, SLICE("CONNECT")))
        request->closes_client = true;
    write_answer(request, refusal.status, refusal.why, answer);
    return PROTOCOL_COMPLETE;
}

/* Turns the client's head, in `out`, into that for the target. */
static void forward_head(const struct http_head *head, struct buffer *out)
{
    bool is_old = head->minor == 0;
    if (head->has_hops)
        buffer_truncate(out, http_strip_head(buffer_bytes(out), out->length));
    /* The connection to the target is for others too, so its end is not the client's to choose. */
    if (is_old) {
        buffer_truncate(out, out->length - 2);
        buffer_append_text(out, "Connection: keep-alive\r\n\r\n");
    }
}

static enum protocol_outcome accept_request(const struct protocol_settings *settings,
                                            struct http_client *client, struct protocol_request *request,
                                            struct buffer *out, struct buffer *answer)
{
    struct http_head head;
    client->scanner.looked_at += out->length;
    const char *fault = http_read_request_head(buffer_slice(out), &head);
    if (fault != NULL)
        return break_request(request, 400, fault, answer);
    *context_of(request) = (struct http_context){ .is_head = slice_equal(head.method, SLICE("HEAD")),
                                                  .is_old = head.minor == 0 };
    if (head.closes || (head.minor == 0 && !head.keeps_alive))
        request->closes_client = true;
    struct http_refusal refusal = find_refusal(settings, &head);
    if (refusal.status != 0) {
        enum protocol_outcome outcome = refuse(request, &head, refusal, answer);
        buffer_truncate(out, 0);
        return outcome;
    }
    forward_head(&head, out);
    request->decided = true;
    if (!head.chunked && head.length == 0)
        return PROTOCOL_COMPLETE;
    /* The client need not wait until it is its turn: its body is held back here anyway. */
    if (head.expects_continue && head.minor == 1)
        buffer_append_text(answer, "HTTP/1.1 100 Continue\r\n\r\n");
    http_body_start(&client->body, head.chunked ? HTTP_BODY_CHUNKED : HTTP_BODY_LENGTH, head.length);
    client->in_body = true;
    return PROTOCOL_MORE;
}

static enum protocol_outcome read_request_head(const struct protocol_settings *settings,
                                               struct http_client *client, struct protocol_request *request,
                                               struct slice *input, struct buffer *out, struct buffer *answer)
{
    enum http_progress progress = skip_blank(client, input);
    if (progress == PROGRESS_MORE)
        return PROTOCOL_MORE;
    if (progress == PROGRESS_BAD)
        return break_request(request, 400, "a line that does not end with CRLF", answer);
    struct slice piece = *input;
    size_t room = settings->head_limit > out->length ? settings->head_limit - out->length : 0;
    size_t used;
    if (piece.length > room)
        piece.length = room;
    enum http_scan scan = http_scan(&client->scanner, piece, &used);
    buffer_append(out, piece.bytes, used);
    slice_skip(input, used);
    if (scan == HTTP_SCAN_BAD)
        return break_request(request, 400, "a control byte, or a line that does not end with CRLF", answer);
    if (scan == HTTP_SCAN_MORE && input->length > 0)
        return break_request(request, 431, "the head is too long", answer);
    if (out->failed)
        return PROTOCOL_BROKEN;
    return scan == HTTP_SCAN_END ? accept_request(settings, client, request, out, answer) : PROTOCOL_MORE;
}

static enum protocol_outcome read_request_body(struct http_client *client, struct protocol_request *request,
                                               struct slice *input, struct buffer *out, struct buffer *answer)
{
    switch (http_body_read(&client->body, input, out)) {
    case HTTP_BODY_END:
        return PROTOCOL_COMPLETE;
    case HTTP_BODY_BAD:
        return break_request(request, 400, "a malformed chunk or trailer", answer);
    default:
        return PROTOCOL_MORE;
    }
}

static enum protocol_outcome http_read_request(const struct protocol_settings *settings, void *state,
                                               struct protocol_request *request, struct slice *input,
                                               struct buffer *out, struct buffer *answer)
{
    struct http_client *client = state;
    enum protocol_outcome outcome = PROTOCOL_MORE;
    if (!client->in_body)
        outcome = read_request_head(settings, client, request, input, out, answer);
    if (client->in_body && outcome == PROTOCOL_MORE)
        outcome = read_request_body(client, request, input, out, answer);
    if (outcome == PROTOCOL_COMPLETE) {
        client->blank = 0;
        client->in_body = false;
    }
    return outcome;
}

/* ---- Responses ---------------------------------------------------------------------------------------- */

/* Something else than HTTP is noticed by its first bytes: it may never send an end of a line. */
static bool begins_well(const struct buffer *head, struct slice input)
{
    static const char beginning[] = "HTTP/1.";
    size_t length = sizeof beginning - 1;
    size_t there = head->length;
    if (there >= length)
        return true;
    size_t more = input.length < length - there ? input.length : length - there;
    return memcmp(input.bytes, beginning + there, more) == 0;
}

/* How the answer's body comes; NONE if it has none. False: the rules are broken. */
static bool find_body(const struct http_context *context, const struct http_head *head,
                      enum http_body_kind *kind)
{
    bool is_empty = head->status < 200 || head->status == 204;
    *kind = HTTP_BODY_NONE;
    if (head->compressed || head->status == 101)
        return false;
    if (head->chunked && (is_empty || context->is_old))
        return false;
    if (is_empty)
        return head->length == 0;
    if (context->is_head || head->status == 304)
        return true;
    if (head->chunked)
        *kind = HTTP_BODY_CHUNKED;
    else if (!head->has_length)
        *kind = HTTP_BODY_UNTIL_CLOSE;
    else if (head->length > 0)
        *kind = HTTP_BODY_LENGTH;
    return true;
}

/* Appends the target's head as the client is to see it. */
static void answer_head(const struct protocol_request *request, const struct http_context *context,
                        struct slice bytes, const struct http_head *head, struct buffer *out)
{
    size_t before = out->length;
    buffer_append(out, bytes.bytes, bytes.length);
    if (out->failed)
        return;
    size_t length = bytes.length;
    if (head->has_hops)
        length = http_strip_head(buffer_bytes(out) + before, length);
    buffer_truncate(out, before + length - 2);
    if (head->status >= 200 && request->closes_client)
        buffer_append_text(out, "Connection: close\r\n");
    else if (head->status >= 200 && (context->is_old || head->minor == 0))
        buffer_append_text(out, "Connection: keep-alive\r\n");
    buffer_append_text(out, "\r\n");
}

/* MORE: what comes next is a body, or another head. */
static enum protocol_outcome accept_response(struct http_connection *connection,
                                             struct protocol_request *request, struct slice bytes,
                                             struct buffer *out)
{
    struct http_context *context = context_of(request);
    struct http_head head;
    enum http_body_kind kind;
    connection->scanner.looked_at += bytes.length;
    if (http_read_response_head(bytes, &head) != NULL || !find_body(context, &head, &kind))
        return PROTOCOL_BROKEN;
    if (head.status < 200) {
        /* A 100 of the target answers nothing: what the client expected was said here. */
        if (head.status == 100 || context->is_old)
            return PROTOCOL_MORE;
        answer_head(request, context, bytes, &head, out);
        return PROTOCOL_INTERIM;
    }
    if (head.closes || (head.minor == 0 && !head.keeps_alive))
        request->closes_target = true;
    if (kind == HTTP_BODY_UNTIL_CLOSE) {
        request->closes_target = true;
        request->closes_client = true;
    }
    answer_head(request, context, bytes, &head, out);
    if (kind == HTTP_BODY_NONE)
        return PROTOCOL_COMPLETE;
    http_body_start(&connection->body, kind, head.length);
    connection->in_body = true;
    return PROTOCOL_MORE;
}

static enum protocol_outcome read_response_head(const struct protocol_settings *settings,
                                                struct http_connection *connection,
                                                struct protocol_request *request, struct slice *input,
                                                struct buffer *out)
{
    struct slice piece = *input;
    size_t room =
        settings->head_limit > connection->head.length ? settings->head_limit - connection->head.length : 0;
    size_t used;
    if (!begins_well(&connection->head, *input))
        return PROTOCOL_BROKEN;
    if (piece.length > room)
        piece.length = room;
    enum http_scan scan = http_scan(&connection->scanner, piece, &used);
    piece.length = used;
    slice_skip(input, used);
    if (scan == HTTP_SCAN_BAD || (scan == HTTP_SCAN_MORE && input->length > 0))
        return PROTOCOL_BROKEN;
    if (scan == HTTP_SCAN_MORE || connection->head.length > 0) {
        buffer_append(&connection->head, piece.bytes, piece.length);
        if (connection->head.failed)
            return PROTOCOL_BROKEN;
        piece = buffer_slice(&connection->head);
    }
    if (scan == HTTP_SCAN_MORE)
        return PROTOCOL_MORE;
    enum protocol_outcome outcome = accept_response(connection, request, piece, out);
    buffer_free(&connection->head);
    return outcome;
}

static enum protocol_outcome http_read_response(const struct protocol_settings *settings, void *state,
                                                struct protocol_request *request, struct slice *input,
                                                struct buffer *out, uint64_t *id)
{
    (void)id;
    struct http_connection *connection = state;
    context_of(request)->answered = true;
    while (!connection->in_body && input->length > 0) {
        enum protocol_outcome outcome = read_response_head(settings, connection, request, input, out);
        if (outcome != PROTOCOL_MORE)
            return outcome;
    }
    if (!connection->in_body)
        return PROTOCOL_MORE;
    switch (http_body_read(&connection->body, input, out)) {
    case HTTP_BODY_END:
        connection->in_body = false;
        return PROTOCOL_COMPLETE;
    case HTTP_BODY_BAD:
        return PROTOCOL_BROKEN;
    default:
        return PROTOCOL_MORE;
    }
}

static enum protocol_outcome http_end_response(const struct protocol_settings *settings, void *state,
                                               struct protocol_request *request, struct buffer *out)
{
    (void)settings;
    (void)request;
    (void)out;
    const struct http_connection *connection = state;
    return connection->in_body && connection->body.kind == HTTP_BODY_UNTIL_CLOSE ? PROTOCOL_COMPLETE
                                                                                 : PROTOCOL_BROKEN;
}

static void http_close_connection(void *state)
{
    struct http_connection *connection = state;
    buffer_free(&connection->head);
}

/* ---- Errors ------------------------------------------------------------------------------------------- */

/* Where there is no status, the client is gone, or is to be closed without a word. */
static const unsigned short http_statuses[REASON_CLASS_COUNT] = {
    [REASON_CLASS_LOST] = 502,        [REASON_CLASS_SILENT] = 504, [REASON_CLASS_UNREACHABLE] = 503,
    [REASON_CLASS_NOT_IN_TIME] = 504, [REASON_CLASS_BUSY] = 503,   [REASON_CLASS_REFUSED] = 501,
    [REASON_CLASS_TOO_LONG] = 413,
};

static bool http_write_error(const struct protocol_settings *settings, const struct protocol_request *request,
                             enum reason reason, struct buffer *out)
{
    (void)settings;
    struct http_refusal error = { http_statuses[reason_class(reason)], reason_phrase(reason) };
    /* Two reasons tell of either side. */
    if (reason == REASON_OVER_LIMIT)
        error = read_context(request)->answered ? (struct http_refusal){ 502, "the answer is too long" }
                                                : (struct http_refusal){ 413, "the request is too long" };
    if (reason == REASON_PROTOCOL_ERROR && !request->decided)
        error = (struct http_refusal){ 400, "a malformed request" };
    if (request->begun || error.status == 0)
        return false;
    write_answer(request, error.status, error.why, out);
    return true;
}

/* Of a status from 400 on: "404 Not Found". */
static void http_describe_error(const struct protocol_settings *settings, struct slice bytes,
                                struct buffer *text)
{
    struct slice line = describe_line_of(bytes);
    (void)settings;
    if (line.length < 12 || !slice_begins_with(line, SLICE("HTTP/1.")) || line.bytes[9] < '4')
        return;
    buffer_append(text, line.bytes + 9, line.length - 9);
}

const struct protocol protocol_http = {
    .name = "http",
    .async_caution =
        "not every server stands pipelined requests: some write 1xx into the middle of an answer",
    .client_size = sizeof(struct http_client),
    .connection_size = sizeof(struct http_connection),
    .aborts_on_close = true,
    .announces_close = true,
    .close_connection = http_close_connection,
    .read_request = http_read_request,
    .read_response = http_read_response,
    .end_response = http_end_response,
    .write_error = http_write_error,
    .describe = describe_first_line,
    .describe_error = http_describe_error,
};
