/* The body of a message, as it comes: by length, in chunks, or until the connection ends (RFC 9112 §6, §7). The
 * same for both directions. */
#include "protocol/http/http.h"

#include "protocol/number.h"

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

/* After a size, or an extension that may end here. */
static int http_body_after_size(unsigned char c)
{
    return c == '\r' ? SIZE_LF : c == ';' ? EXTENSION_NAME_FIRST : -1;
}

static int http_body_step_size(struct http_body *body, unsigned char c)
{
    int value = number_hex_digit((char)c);
    if (value < 0)
        return body->digits > 0 ? http_body_after_size(c) : -1;
    /* 16 digits, 2^63 - 1 at most: more is never meant, and some would wrap. */
    if (body->digits == 16 || body->left > (uint64_t)INT64_MAX >> 4)
        return -1;
    body->left = body->left << 4 | (uint64_t)value;
    body->digits++;
    return SIZE;
}

/* A trailer must not say what only a head may: some would believe it. */
static int http_body_step_trailer_name(struct http_body *body, unsigned char c)
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

static int http_body_next_step(struct http_body *body, unsigned char c)
{
    bool is_token = http_token_bytes[c], is_text = http_text_bytes[c];
    switch (body->step) {
    case DATA_CR:
        return c == '\r' ? DATA_LF : -1;
    case SIZE:
        return http_body_step_size(body, c);
    case EXTENSION_NAME_FIRST:
        return is_token ? EXTENSION_NAME : -1;
    case EXTENSION_NAME:
        return is_token ? EXTENSION_NAME : c == '=' ? EXTENSION_VALUE_FIRST : http_body_after_size(c);
    case EXTENSION_VALUE_FIRST:
        return c == '"' ? EXTENSION_QUOTED : is_token ? EXTENSION_VALUE : -1;
    case EXTENSION_VALUE:
        return is_token ? EXTENSION_VALUE : http_body_after_size(c);
    case EXTENSION_QUOTED:
        if (c == '"' || c == '\\')
            return c == '"' ? EXTENSION_END : EXTENSION_ESCAPED;
        return is_text ? EXTENSION_QUOTED : -1;
    case EXTENSION_ESCAPED:
        return is_text ? EXTENSION_QUOTED : -1;
    case EXTENSION_END:
        return http_body_after_size(c);
    case SIZE_LF:
        body->digits = 0;
        body->extra = 0;
        return c != '\n' ? -1 : body->left > 0 ? DATA : TRAILER_FIRST;
    case TRAILER_FIRST:
        body->name_length = 0;
        return c == '\r' ? LAST_LF : is_token ? http_body_step_trailer_name(body, c) : -1;
    case TRAILER_NAME:
        return http_body_step_trailer_name(body, c);
    case TRAILER_VALUE:
        return is_text ? TRAILER_VALUE : c == '\r' ? TRAILER_LF : -1;
    case TRAILER_LF:
        return c == '\n' ? TRAILER_FIRST : -1;
    default: /* DATA_LF, LAST_LF */
        return c == '\n' ? SIZE : -1;
    }
}

static enum protocol_outcome http_body_step(struct http_body *body, unsigned char c)
{
    bool is_last = body->step == LAST_LF;
    body->looked_at++;
    int next = body->extra++ < HTTP_BODY_EXTRA_MAX ? http_body_next_step(body, c) : -1;
    if (next < 0)
        return PROTOCOL_BROKEN;
    body->step = (unsigned char)next;
    return is_last ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
}

/* Takes data, at most `available` bytes. */
static size_t http_body_take_data(struct http_body *body, size_t available, enum protocol_outcome *result)
{
    size_t count = body->left < available ? (size_t)body->left : available;
    if (body->kind == HTTP_BODY_UNTIL_CLOSE)
        return available;
    body->left -= count;
    if (body->left == 0) {
        body->step = DATA_CR;
        *result = body->kind == HTTP_BODY_LENGTH ? PROTOCOL_COMPLETE : PROTOCOL_MORE;
    }
    return count;
}

enum protocol_outcome http_body_read(struct http_body *body, struct slice *input, struct buffer *out)
{
    enum protocol_outcome result = PROTOCOL_MORE;
    size_t taken = 0;
    while (taken < input->length && result == PROTOCOL_MORE) {
        if (body->step == DATA)
            taken += http_body_take_data(body, input->length - taken, &result);
        else {
            result = http_body_step(body, (unsigned char)input->bytes[taken]);
            taken += result != PROTOCOL_BROKEN ? 1 : 0;
        }
    }
    buffer_append(out, input->bytes, taken);
    slice_skip(input, taken);
    return result;
}
