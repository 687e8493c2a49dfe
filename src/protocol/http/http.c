/* HTTP/1.0 and 1.1 after RFC 9110 and RFC 9112. A request is decided when its head is whole and right: what
 * is for this connection only is taken out of it, and its body streams. */
#include "protocol/http/http.h"

#include "protocol/check.h"
#include "protocol/describe.h"
#include "protocol/pass.h"
#include "protocol/protocols.h"

#include <assert.h>
#include <stdlib.h>

/* What a request leaves for its answer. */
struct http_context {
    bool is_head;  /* the method */
    bool is_old;   /* HTTP/1.0 */
    bool answered; /* some of an answer came */
};

static_assert(sizeof(struct http_context) <= PROTOCOL_CONTEXT_SIZE, "the context has to fit");

static struct http_context *http_context(struct protocol_request *request)
{
    return (struct http_context *)request->context;
}

static const char http_400[] = "400 Bad Request";
static const char http_413[] = "413 Content Too Large";
static const char http_501[] = "501 Not Implemented";
static const char http_502[] = "502 Bad Gateway";
static const char http_503[] = "503 Service Unavailable";
static const char http_504[] = "504 Gateway Timeout";

static const char http_closes[] = "Connection: close\r\n";
static const char http_stays[] = "Connection: keep-alive\r\n";

/* An answer that is made here. */
struct http_error {
    const char *status; /* with its phrase; NULL: there is none */
    const char *why;    /* a few words for people */
};

static void http_error_write(const struct protocol_request *request, struct http_error error,
                             struct buffer *out)
{
    const struct http_context *context = (const struct http_context *)request->context;
    size_t length = strlen(error.status) + strlen(": \n") + strlen(error.why);
    buffer_print(out, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n", error.status,
                 length);
    buffer_append_text(out, request->closes_client ? http_closes : context->is_old ? http_stays : "");
    buffer_append_text(out, "\r\n");
    if (!context->is_head)
        buffer_print(out, "%s: %s\n", error.status, error.why);
}

/* Makes of the head at the end of `out`, from `start` on, what the other side is to see: without the fields of one
 * connection only, and with the one that is given. */
static void http_rewrite_head(const struct http_head *head, const char *field, size_t start,
                              struct buffer *out)
{
    size_t length = out->length - start;
    if (out->failed)
        return;
    if (head->has_hops)
        length = http_strip_head(buffer_bytes(out) + start, length);
    buffer_truncate(out, start + length - 2);
    buffer_append_text(out, field);
    buffer_append_text(out, "\r\n");
}

/* ---- Requests ----------------------------------------------------------------------------------------- */

/* The request can't be read: nobody knows where the next one begins. */
static enum protocol_outcome http_break_request(struct protocol_request *request, const char *status,
                                                const char *why, struct buffer *answer)
{
    request->closes_client = true;
    if (!request->begun)
        http_error_write(request, (struct http_error){ status, why }, answer);
    return PROTOCOL_BROKEN;
}

/* Takes one empty line before a request line, as RFC 9112 §2.2 advises. COMPLETE: what follows is the request. */
static enum protocol_outcome http_skip_blank(struct http_client *client, struct slice *input)
{
    while (input->length > 0 && client->blank < HTTP_BLANK_DONE) {
        if (input->bytes[0] == "\r\n"[client->blank]) {
            slice_skip(input, 1);
            client->blank++;
        } else if (client->blank > 0) {
            return PROTOCOL_BROKEN;
        } else {
            client->blank = HTTP_BLANK_DONE;
        }
    }
    return client->blank == HTTP_BLANK_DONE ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}

/* What is well-formed and still not for the target. */
static struct http_error http_find_refusal(const struct protocol_settings *settings,
                                           const struct http_head *head)
{
    if (slice_equal(head->method, SLICE("CONNECT")))
        return (struct http_error){ http_501, "CONNECT needs a connection of its own" };
    if (head->upgrades)
        return (struct http_error){ http_501, "Upgrade needs a connection of its own" };
    if (head->logs_in_connection)
        return (struct http_error){ http_501, "NTLM and Negotiate log in a whole connection" };
    if (head->compressed)
        return (struct http_error){ http_501, "an unknown transfer coding" };
    if (head->expects_other)
        return (struct http_error){ "417 Expectation Failed", "only 100-continue is understood" };
    if (settings->max_message >= 0 && head->length > (uint64_t)settings->max_message)
        return (struct http_error){ http_413, "the request is too long" };
    return (struct http_error){ NULL, NULL };
}

static enum protocol_outcome http_accept_request(const struct protocol_settings *settings,
                                                 struct http_client *client, struct protocol_request *request,
                                                 struct buffer *out, struct buffer *answer)
{
    struct http_head head;
    client->scanner.looked_at += out->length;
    const char *fault = http_read_request_head(buffer_slice(out), &head);
    if (fault != NULL)
        return http_break_request(request, http_400, fault, answer);
    *http_context(request) = (struct http_context){ .is_head = slice_equal(head.method, SLICE("HEAD")),
                                                    .is_old = head.minor == 0 };
    if (head.closes || (head.minor == 0 && !head.keeps_alive))
        request->closes_client = true;
    struct http_error refusal = http_find_refusal(settings, &head);
    if (refusal.status != NULL) {
        request->local = true;
        request->refused = true;
        /* The rest of a request that has a body is not waited for. */
        if (head.chunked || head.compressed || head.length > 0 || slice_equal(head.method, SLICE("CONNECT")))
            request->closes_client = true;
        http_error_write(request, refusal, answer);
        buffer_truncate(out, 0);
        return PROTOCOL_COMPLETE;
    }
    /* The connection to the target is for others too, so its end is not the client's to choose. */
    http_rewrite_head(&head, head.minor == 0 ? http_stays : "", 0, out);
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

static enum protocol_outcome http_collect_request_head(const struct protocol_settings *settings,
                                                       struct http_client *client,
                                                       struct protocol_request *request, struct slice *input,
                                                       struct buffer *out, struct buffer *answer)
{
    struct slice piece;
    size_t room = settings->head_limit > out->length ? settings->head_limit - out->length : 0;
    enum protocol_outcome outcome = http_skip_blank(client, input);
    if (outcome == PROTOCOL_BROKEN)
        return http_break_request(request, http_400, "a line that does not end with CRLF", answer);
    if (outcome == PROTOCOL_MORE)
        return PROTOCOL_MORE;
    outcome = http_scan(&client->scanner, input, room, &piece);
    buffer_append(out, piece.bytes, piece.length);
    if (outcome == PROTOCOL_BROKEN)
        return http_break_request(request, http_400, "a control byte, or a line that does not end with CRLF",
                                  answer);
    if (outcome == PROTOCOL_MORE && input->length > 0)
        return http_break_request(request, "431 Request Header Fields Too Large", "the head is too long",
                                  answer);
    if (out->failed)
        return PROTOCOL_BROKEN;
    return outcome == PROTOCOL_COMPLETE ? http_accept_request(settings, client, request, out, answer)
                                        : PROTOCOL_MORE;
}

static enum protocol_outcome http_read_request(const struct protocol_settings *settings, void *state,
                                               struct protocol_request *request, struct slice *input,
                                               struct buffer *out, struct buffer *answer)
{
    struct http_client *client = state;
    enum protocol_outcome outcome = PROTOCOL_MORE;
    if (!client->in_body)
        outcome = http_collect_request_head(settings, client, request, input, out, answer);
    if (client->in_body && outcome == PROTOCOL_MORE) {
        outcome = http_body_read(&client->body, input, out);
        if (outcome == PROTOCOL_BROKEN)
            return http_break_request(request, http_400, "a malformed chunk or trailer", answer);
    }
    if (outcome == PROTOCOL_COMPLETE) {
        client->blank = 0;
        client->in_body = false;
    }
    return outcome;
}

/* ---- Responses ---------------------------------------------------------------------------------------- */

/* Something else than HTTP is noticed by its first bytes: it may never send an end of a line. */
static bool http_begins_well(size_t there, struct slice input)
{
    struct slice beginning = SLICE("HTTP/1.");
    if (there >= beginning.length)
        return true;
    slice_skip(&beginning, there);
    input.length = pass_available(&input, beginning.length);
    return slice_begins_with(beginning, input);
}

/* How the answer's body comes; NONE if it has none. False: the rules are broken. */
static bool http_find_body(const struct http_context *context, const struct http_head *head,
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
static void http_answer_head(const struct protocol_request *request, const struct http_context *context,
                             struct slice bytes, const struct http_head *head, struct buffer *out)
{
    size_t start = out->length;
    const char *field = "";
    if (head->status >= 200 && request->closes_client)
        field = http_closes;
    else if (head->status >= 200 && (context->is_old || head->minor == 0))
        field = http_stays;
    buffer_append(out, bytes.bytes, bytes.length);
    http_rewrite_head(head, field, start, out);
}

/* MORE: what comes next is a body, or another head. */
static enum protocol_outcome http_accept_response(struct http_connection *connection,
                                                  struct protocol_request *request, struct slice bytes,
                                                  struct buffer *out)
{
    struct http_context *context = http_context(request);
    struct http_head head;
    enum http_body_kind kind;
    connection->scanner.looked_at += bytes.length;
    if (http_read_response_head(bytes, &head) != NULL || !http_find_body(context, &head, &kind))
        return PROTOCOL_BROKEN;
    if (head.status < 200) {
        /* A 100 of the target answers nothing: what the client expected was said here. */
        if (head.status == 100 || context->is_old)
            return PROTOCOL_MORE;
        http_answer_head(request, context, bytes, &head, out);
        return PROTOCOL_INTERIM;
    }
    if (head.closes || (head.minor == 0 && !head.keeps_alive))
        request->closes_target = true;
    if (kind == HTTP_BODY_UNTIL_CLOSE) {
        request->closes_target = true;
        request->closes_client = true;
    }
    http_answer_head(request, context, bytes, &head, out);
    if (kind == HTTP_BODY_NONE)
        return PROTOCOL_COMPLETE;
    http_body_start(&connection->body, kind, head.length);
    connection->in_body = true;
    return PROTOCOL_MORE;
}

static enum protocol_outcome http_collect_response_head(const struct protocol_settings *settings,
                                                        struct http_connection *connection,
                                                        struct protocol_request *request, struct slice *input,
                                                        struct buffer *out)
{
    struct buffer *head = &connection->head;
    struct slice piece;
    size_t room = settings->head_limit > head->length ? settings->head_limit - head->length : 0;
    if (!http_begins_well(head->length, *input))
        return PROTOCOL_BROKEN;
    enum protocol_outcome outcome = http_scan(&connection->scanner, input, room, &piece);
    if (outcome == PROTOCOL_BROKEN || (outcome == PROTOCOL_MORE && input->length > 0))
        return PROTOCOL_BROKEN;
    if (outcome == PROTOCOL_MORE || head->length > 0) {
        buffer_append(head, piece.bytes, piece.length);
        if (head->failed)
            return PROTOCOL_BROKEN;
        piece = buffer_slice(head);
    }
    if (outcome == PROTOCOL_MORE)
        return PROTOCOL_MORE;
    outcome = http_accept_response(connection, request, piece, out);
    buffer_free(head);
    return outcome;
}

static enum protocol_outcome http_read_response(const struct protocol_settings *settings, void *state,
                                                struct protocol_request *request, struct slice *input,
                                                struct buffer *out, uint64_t *)
{
    struct http_connection *connection = state;
    http_context(request)->answered = true;
    while (!connection->in_body && input->length > 0) {
        enum protocol_outcome outcome = http_collect_response_head(settings, connection, request, input, out);
        if (outcome != PROTOCOL_MORE)
            return outcome;
    }
    if (!connection->in_body)
        return PROTOCOL_MORE;
    enum protocol_outcome outcome = http_body_read(&connection->body, input, out);
    if (outcome == PROTOCOL_COMPLETE)
        connection->in_body = false;
    return outcome;
}

static enum protocol_outcome http_end_response(const struct protocol_settings *, void *state,
                                               struct protocol_request *, struct buffer *)
{
    const struct http_connection *connection = state;
    return connection->in_body && connection->body.kind == HTTP_BODY_UNTIL_CLOSE ? PROTOCOL_COMPLETE
                                                                                 : PROTOCOL_BROKEN;
}

static void http_close_connection(void *state)
{
    buffer_free(&((struct http_connection *)state)->head);
}

/* ---- Errors ------------------------------------------------------------------------------------------- */

/* Where there is no status, the client is gone, or is to be closed without a word. */
static const char *const http_statuses[REASON_CLASS_COUNT] = {
    [REASON_CLASS_LOST] = http_502,        [REASON_CLASS_SILENT] = http_504,
    [REASON_CLASS_UNREACHABLE] = http_503, [REASON_CLASS_NOT_IN_TIME] = http_504,
    [REASON_CLASS_BUSY] = http_503,        [REASON_CLASS_REFUSED] = http_501,
    [REASON_CLASS_TOO_LONG] = http_413,
};

static bool http_write_error(const struct protocol_settings *, const struct protocol_request *request,
                             enum reason reason, struct buffer *out)
{
    struct http_error error = { http_statuses[reason_class(reason)], reason_phrase(reason) };
    /* Two reasons tell of either side. */
    if (reason == REASON_OVER_LIMIT)
        error = ((const struct http_context *)request->context)->answered
                    ? (struct http_error){ http_502, "the answer is too long" }
                    : (struct http_error){ http_413, "the request is too long" };
    if (reason == REASON_PROTOCOL_ERROR && !request->decided)
        error = (struct http_error){ http_400, "a malformed request" };
    if (request->begun || error.status == NULL)
        return false;
    http_error_write(request, error, out);
    return true;
}

/* Of a status from 400 on: "404 Not Found". */
static void http_describe_error(const struct protocol_settings *, struct slice bytes, struct buffer *text)
{
    struct slice line = describe_line_of(bytes);
    if (line.length < 12 || !slice_begins_with(line, SLICE("HTTP/1.")) || line.bytes[9] < '4')
        return;
    buffer_append(text, line.bytes + 9, line.length - 9);
}

static const char *const http_check_keys[] = { "path", "status", NULL };

static void http_write_check(const struct protocol_settings *, const struct check_settings *check, void *,
                             struct buffer *out)
{
    buffer_append_text(out, "GET ");
    buffer_append_text(out, check->path == NULL ? "/" : check->path);
    buffer_append_text(out, " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: proximux\r\n\r\n");
}

static enum protocol_outcome http_read_check(const struct protocol_settings *,
                                             const struct check_settings *check, struct slice answer,
                                             struct buffer *error)
{
    if (memchr(answer.bytes, '\n', answer.length) == NULL)
        return PROTOCOL_MORE;
    bool is_http = answer.length >= 12 && slice_begins_with(answer, SLICE("HTTP/1."));
    if (is_http && strtol(answer.bytes + 9, NULL, 10) == check->status)
        return PROTOCOL_COMPLETE;
    check_quote(answer, error);
    return PROTOCOL_BROKEN;
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
    .write_check = http_write_check,
    .read_check = http_read_check,
    .check_keys = http_check_keys,
};
