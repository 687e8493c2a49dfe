/* Messages with a header that says how long they are, and maybe an id that the answer repeats. */
#include "protocol/length/length.h"

#include "protocol/pass.h"
#include "protocol/protocols.h"

#include <inttypes.h>

/* Decimal digits whose number surely fits 64 bits. */
#define DIGITS_MAX 18

#define ID_COUNT_MAX (UINT64_C(1) << 32)

_Static_assert(LENGTH_ID_MAX <= PROTOCOL_CONTEXT_SIZE, "a request's context holds its own id");

struct length_client {
    uint64_t remaining; /* bytes of a decided request that have to come */
};

/* The header is kept until it is known whose answer it begins, and how that client's id has to be put back. */
struct length_connection {
    unsigned char head[LENGTH_HEAD_MAX];
    size_t head_length;
    bool in_body;
    uint64_t remaining; /* bytes of the body that have to come */
};

static size_t length_id_width(const struct protocol_settings *settings)
{
    return length_own(settings)->id_width <= LENGTH_ID_MAX ? (size_t)length_own(settings)->id_width : 0;
}

/* How many bytes have to be there before anything is known. */
static size_t length_head_size(const struct protocol_settings *settings)
{
    const struct length_settings *own = length_own(settings);
    int64_t end = own->offset + own->width, id_end = own->id_offset + own->id_width;
    return (size_t)(own->id_width > 0 && id_end > end ? id_end : end);
}

static struct number_format length_format(const struct protocol_settings *settings)
{
    return (struct number_format){ length_own(settings)->encoding, length_own(settings)->little_endian };
}

/* The size of a whole message whose length field has this value. False beyond 63 bits. */
static bool length_add(const struct length_settings *own, uint64_t value, int64_t *total)
{
    return !__builtin_add_overflow(own->offset + own->width, own->adjust, total) &&
           !__builtin_add_overflow(value, *total, total);
}

/* Reads how many bytes follow the first `head_length`. False if the header is wrong. */
static bool length_read_head(const struct protocol_settings *settings, const unsigned char *head,
                             size_t head_length, uint64_t *remaining)
{
    const struct length_settings *own = length_own(settings);
    uint64_t value;
    int64_t total;
    if (!number_read(length_format(settings), head + own->offset, (size_t)own->width, &value) ||
        !length_add(own, value, &total) || total < (int64_t)head_length)
        return false;
    *remaining = (uint64_t)total - head_length;
    return true;
}

static enum protocol_outcome length_read_request(const struct protocol_settings *settings, void *client_state,
                                                 struct protocol_request *request, struct slice *input,
                                                 struct buffer *out, struct buffer *answer)
{
    struct length_client *client = client_state;
    if (!request->decided) {
        enum protocol_outcome outcome = pass_head(settings, length_head_size(settings), input, out);
        if (outcome == PROTOCOL_MORE)
            return PROTOCOL_MORE;
        const unsigned char *head = (const unsigned char *)buffer_bytes(out);
        if (outcome == PROTOCOL_BROKEN || !length_read_head(settings, head, out->length, &client->remaining))
            return error_reply_break(settings, answer);
        memcpy(request->context, head + length_own(settings)->id_offset, length_id_width(settings));
        request->decided = true;
    }
    return pass_rest(&client->remaining, input, out);
}

static enum protocol_outcome length_read_response(const struct protocol_settings *settings,
                                                  void *connection_state, struct protocol_request *request,
                                                  struct slice *input, struct buffer *out, uint64_t *id)
{
    struct length_connection *connection = connection_state;
    if (!connection->in_body) {
        size_t size = length_head_size(settings), id_width = length_id_width(settings);
        unsigned char *own_id = connection->head + length_own(settings)->id_offset;
        if (!pass_collect(connection->head, &connection->head_length, size, request != NULL, input))
            return PROTOCOL_MORE;
        if (!length_read_head(settings, connection->head, size, &connection->remaining))
            return PROTOCOL_BROKEN;
        if (request == NULL)
            return number_read(length_format(settings), own_id, id_width, id) ? PROTOCOL_WHOSE
                                                                              : PROTOCOL_BROKEN;
        memcpy(own_id, request->context, id_width);
        buffer_append(out, (const char *)connection->head, size);
        connection->in_body = true;
    }
    if (pass_rest(&connection->remaining, input, out) == PROTOCOL_MORE)
        return PROTOCOL_MORE;
    connection->in_body = false;
    connection->head_length = 0;
    return PROTOCOL_COMPLETE;
}

static uint64_t length_id_count(const struct protocol_settings *settings)
{
    if (length_id_width(settings) == 0)
        return 0;
    uint64_t count = number_capacity(length_own(settings)->encoding, length_id_width(settings));
    return count < ID_COUNT_MAX ? count : ID_COUNT_MAX;
}

static void length_set_id(const struct protocol_settings *settings, struct protocol_request *, char *bytes,
                          uint64_t id)
{
    number_write(length_format(settings), (unsigned char *)bytes + length_own(settings)->id_offset,
                 length_id_width(settings), id);
}

static size_t length_largest_answer(const struct protocol_settings *settings)
{
    const struct length_settings *own = length_own(settings);
    size_t limit = settings->max_message > 0 ? (size_t)settings->max_message : 0;
    uint64_t capacity = number_capacity(own->encoding, (size_t)own->width);
    int64_t total;
    if (capacity == UINT64_MAX || !length_add(own, capacity - 1, &total) || total <= 0 ||
        (uint64_t)total > SIZE_MAX)
        return limit;
    return limit > 0 && limit < (size_t)total ? limit : (size_t)total;
}

static const char *const length_endians[] = { "big", "little", NULL };
static const char *const length_encodings[] = { "binary", "ascii", "bcd", NULL };

static const struct key length_id_keys[] = {
    INTEGER_KEY("offset", UNIT_BYTES, 0, LENGTH_HEAD_MAX - 1, NULL, "bytes before the id", .required = true,
                KEY_FIELD(struct length_settings, id_offset)),
    INTEGER_KEY("width", UNIT_BYTES, 1, LENGTH_ID_MAX, NULL, "bytes of the id", .required = true,
                KEY_FIELD(struct length_settings, id_width)),
};

static const struct key_scope length_id_scope = { "protocol: id: ", "PROTOCOL_ID_", length_id_keys,
                                                  sizeof length_id_keys / sizeof length_id_keys[0] };

static const struct key length_keys[] = {
    INTEGER_KEY("offset", UNIT_BYTES, 0, LENGTH_HEAD_MAX - 1, "0", "bytes before the length field",
                KEY_FIELD(struct length_settings, offset)),
    INTEGER_KEY("width", UNIT_BYTES, 1, DIGITS_MAX, NULL, "bytes of the length field", .required = true,
                KEY_FIELD(struct length_settings, width)),
    CHOICE_KEY("endian", length_endians, "big", "order of the length's bytes",
               KEY_FIELD(struct length_settings, little_endian)),
    INTEGER_KEY("adjust", UNIT_BYTES, -65536, 65536, "0", "what the length leaves out or counts in excess",
                KEY_FIELD(struct length_settings, adjust)),
    CHOICE_KEY("encoding", length_encodings, "binary", "how the length is written",
               KEY_FIELD(struct length_settings, encoding)),
    STRUCTURE_KEY("id", "where messages carry an id", .members = &length_id_scope),
    ERROR_REPLY_KEY,
};

static void length_check(const struct protocol_settings *settings, bool, const struct key_report *report)
{
    const struct length_settings *own = length_own(settings);
    int64_t end = own->offset + own->width, id_end = own->id_offset + own->id_width;
    if (own->encoding == NUMBER_BINARY && own->width > 4 && own->width != 8)
        key_error(report, "width", "a binary length has 1, 2, 3, 4 or 8 bytes");
    else if (own->encoding == NUMBER_BCD && own->width > DIGITS_MAX / 2)
        key_error(report, "width", "a bcd length has 1 to %d bytes, with two digits each", DIGITS_MAX / 2);
    if (end > LENGTH_HEAD_MAX)
        key_error(report, "width", "the length ends after %" PRId64 " bytes; a header has %d at most", end,
                  LENGTH_HEAD_MAX);
    if (id_end > LENGTH_HEAD_MAX)
        key_error(report, "id", "the id ends after %" PRId64 " bytes; a header has %d at most", id_end,
                  LENGTH_HEAD_MAX);
    if (own->id_width > 0 && own->id_offset < end && own->offset < id_end)
        key_error(report, "id", "the id overlaps the length");
    if (own->little_endian && own->encoding != NUMBER_BINARY)
        key_error(report, "endian",
                  "only binary numbers have an order of bytes; digits begin with the highest one");
}

const struct protocol protocol_length = {
    .name = "length",
    .keys = length_keys,
    .key_count = sizeof length_keys / sizeof length_keys[0],
    .check = length_check,
    .async_caution = ORDER_CAUTION,
    .client_size = sizeof(struct length_client),
    .connection_size = sizeof(struct length_connection),
    .read_request = length_read_request,
    .read_response = length_read_response,
    .write_error = error_reply_write,
    .id_count = length_id_count,
    .set_id = length_set_id,
    .id_remedy = "without `id` answers are taken in the order of requests",
    .largest_answer = length_largest_answer,
};
