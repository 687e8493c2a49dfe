#include "protocol/http/http_body.h"

/* Where in a chunked body the next byte stands. Spaces around ";" and "=" were allowed once and are read in
 * different ways, so there are none (RFC 9112 §7.1.1). */
enum {
    DATA,
    DATA_CR,
    DATA_LF,
    SIZE,
    EXTENSION_NAME_FIRST,
    EXTENSION_NAME,
    EXTENSION_VALUE_FIRST,
    EXTENSION_VALUE,
    EXTENSION_QUOTED,
    EXTENSION_ESCAPED,
    EXTENSION_END,
    SIZE_LF,
    TRAILER_FIRST,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
};

void http_body_start(struct http_body *body, enum http_body_kind kind, uint64_t length)
{
    uint64_t looked_at = body->looked_at;
    *body = (struct http_body){ .kind = (unsigned char)kind, .left = length, .looked_at = looked_at };
    body->step = kind == HTTP_BODY_CHUNKED ? SIZE : DATA;
}

/* All steps return the next one, or -1 if the byte must not be there. */

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* After a size, or an extension that may end here. */
static int after_size(unsigned char c)
{
    return c == '\r' ? SIZE_LF : c == ';' ? EXTENSION_NAME_FIRST : -1;
}

static int step_size(struct http_body *body, unsigned char c)
{
    int value = hex_value(c);
    if (value < 0)
        return body->digits > 0 ? after_size(c) : -1;
    /* 16 digits, 2^63 - 1 at most: more is never meant, and some would wrap. */
    if (body->digits == 16 || body->left > (uint64_t)INT64_MAX >> 4)
        return -1;
    body->left = body->left << 4 | (uint64_t)value;
    body->digits++;
    return SIZE;
}

static int step_extension(const struct http_body *body, unsigned char c)
{
    switch (body->step) {
    case EXTENSION_NAME_FIRST:
        return http_token_bytes[c] ? EXTENSION_NAME : -1;
    case EXTENSION_NAME:
        return http_token_bytes[c] ? EXTENSION_NAME : c == '=' ? EXTENSION_VALUE_FIRST : after_size(c);
    case EXTENSION_VALUE_FIRST:
        return c == '"' ? EXTENSION_QUOTED : http_token_bytes[c] ? EXTENSION_VALUE : -1;
    case EXTENSION_VALUE:
        return http_token_bytes[c] ? EXTENSION_VALUE : after_size(c);
    case EXTENSION_QUOTED:
        if (c == '"' || c == '\\')
            return c == '"' ? EXTENSION_END : EXTENSION_ESCAPED;
        return http_text_bytes[c] ? EXTENSION_QUOTED : -1;
    case EXTENSION_ESCAPED:
        return http_text_bytes[c] ? EXTENSION_QUOTED : -1;
    default:
        return after_size(c);
    }
}

/* A trailer must not say what only a head may: some would believe it. */
static int step_trailer_name(struct http_body *body, unsigned char c)
{
    if (http_token_bytes[c]) {
        if (body->name_length < sizeof body->name)
            body->name[body->name_length] = (char)c;
        if (body->name_length <= sizeof body->name)
            body->name_length++;
        return TRAILER_NAME;
    }
    bool is_known = body->name_length <= sizeof body->name &&
                    http_name_of((struct slice){ body->name, body->name_length }) != HTTP_OTHER;
    return c == ':' && !is_known ? TRAILER_VALUE : -1;
}

static int step_trailer(struct http_body *body, unsigned char c)
{
    switch (body->step) {
    case TRAILER_FIRST:
        if (c == '\r')
            return LAST_LF;
        body->name_length = 0;
        return http_token_bytes[c] ? step_trailer_name(body, c) : -1;
    case TRAILER_NAME:
        return step_trailer_name(body, c);
    case TRAILER_VALUE:
        return http_text_bytes[c] ? TRAILER_VALUE : c == '\r' ? TRAILER_LF : -1;
    default:
        return c == '\n' ? TRAILER_FIRST : -1;
    }
}

static int step_size_lf(struct http_body *body, unsigned char c)
{
    if (c != '\n')
        return -1;
    body->digits = 0;
    body->extra = 0;
    return body->left > 0 ? DATA : TRAILER_FIRST;
}

static enum http_body_result step(struct http_body *body, unsigned char c)
{
    int next;
    bool is_last = body->step == LAST_LF;
    body->looked_at++;
    if (body->extra++ >= HTTP_BODY_EXTRA_MAX)
        return HTTP_BODY_BAD;
    if (body->step == DATA_CR)
        next = c == '\r' ? DATA_LF : -1;
    else if (body->step == DATA_LF || is_last)
        next = c == '\n' ? SIZE : -1;
    else if (body->step == SIZE)
        next = step_size(body, c);
    else if (body->step == SIZE_LF)
        next = step_size_lf(body, c);
    else if (body->step < SIZE_LF)
        next = step_extension(body, c);
    else
        next = step_trailer(body, c);
    if (next < 0)
        return HTTP_BODY_BAD;
    body->step = (unsigned char)next;
    return is_last ? HTTP_BODY_END : HTTP_BODY_MORE;
}

/* Takes data, at most `available` bytes. */
static size_t take_data(struct http_body *body, size_t available, enum http_body_result *result)
{
    size_t count = body->left < available ? (size_t)body->left : available;
    if (body->kind == HTTP_BODY_UNTIL_CLOSE)
        return available;
    body->left -= count;
    if (body->left == 0) {
        body->step = DATA_CR;
        *result = body->kind == HTTP_BODY_LENGTH ? HTTP_BODY_END : HTTP_BODY_MORE;
    }
    return count;
}

enum http_body_result http_body_read(struct http_body *body, struct slice *input, struct buffer *out)
{
    enum http_body_result result = HTTP_BODY_MORE;
    size_t taken = 0;
    while (taken < input->length && result == HTTP_BODY_MORE) {
        if (body->step == DATA)
            taken += take_data(body, input->length - taken, &result);
        else {
            result = step(body, (unsigned char)input->bytes[taken]);
            taken += result != HTTP_BODY_BAD ? 1 : 0;
        }
    }
    buffer_append(out, input->bytes, taken);
    slice_skip(input, taken);
    return result;
}
