#include "unit/framing_once.h"

#include <stdlib.h>
#include <string.h>

#define FILLER 0xEE

static void *make_state(size_t size)
{
    assert_true(size <= FRAMING_ONCE_STATE);
    void *state = calloc(1, size + 1);
    assert_non_null(state);
    return state;
}

static void overwrite(struct buffer *buffer, size_t from)
{
    if (buffer->length > from)
        memset(buffer_bytes(buffer) + from, FILLER, buffer->length - from);
}

/* Reads a request byte by byte. */
static void read_request(const struct protocol_settings *settings, struct slice bytes, size_t head,
                         struct protocol_request *request)
{
    const struct protocol *protocol = settings->protocol;
    struct buffer out = { 0 }, answer = { 0 };
    void *client = make_state(protocol->client_size);
    assert_null(protocol->close_client);
    for (size_t i = 0; i < bytes.length; i++) {
        char byte = bytes.bytes[i];
        struct slice input = { &byte, 1 };
        enum protocol_outcome expected = i + 1 < bytes.length ? PROTOCOL_MORE : PROTOCOL_COMPLETE;
        assert_int_equal(protocol->read_request(settings, client, request, &input, &out, &answer), expected);
        assert_int_equal(input.length, 0);
        overwrite(&out, head);
        if (request->decided)
            buffer_truncate(&out, 0);
    }
    buffer_free(&out);
    buffer_free(&answer);
    free(client);
}

void framing_expect_request_once(const struct protocol_settings *settings, struct slice request, size_t head)
{
    struct protocol_request state = { 0 };
    read_request(settings, request, head, &state);
    assert_true(state.decided);
}

void framing_expect_response_once(const struct protocol_settings *settings, struct slice request,
                                  struct slice response)
{
    const struct protocol *protocol = settings->protocol;
    struct protocol_request state = { 0 };
    struct buffer out = { 0 };
    void *connection = make_state(protocol->connection_size);
    bool is_known = !protocol_has_ids(settings);
    read_request(settings, request, SIZE_MAX, &state);
    assert_null(protocol->close_connection);
    for (size_t i = 0; i < response.length; i++) {
        char byte = response.bytes[i];
        struct slice input = { &byte, 1 };
        uint64_t id;
        enum protocol_outcome expected = i + 1 < response.length ? PROTOCOL_MORE : PROTOCOL_COMPLETE;
        enum protocol_outcome outcome =
            protocol->read_response(settings, connection, is_known ? &state : NULL, &input, &out, &id);
        if (outcome == PROTOCOL_WHOSE) {
            is_known = true;
            outcome = protocol->read_response(settings, connection, &state, &input, &out, &id);
        }
        assert_int_equal(outcome, expected);
        assert_int_equal(input.length, 0);
        overwrite(&out, 0);
    }
    assert_int_equal(out.length, response.length);
    buffer_free(&out);
    free(connection);
}
