/* length, against a model with numbers of 128 bits. */
#include "fuzz/framer.h"

#include "protocol/length/length.h"
#include "protocol/protocols.h"

__extension__ typedef __int128 wide;

/* The largest number of 64 bits and a bit more: beyond it nothing differs. */
#define WIDE_MAX ((wide)1 << 66)

/* -1 if the field holds no number. */
static wide model_number(const struct protocol_settings *settings, const char *bytes, size_t width)
{
    wide number = 0;
    for (size_t i = 0; i < width; i++) {
        bool backwards =
            length_own(settings)->encoding == NUMBER_BINARY && length_own(settings)->little_endian;
        unsigned byte = (uint8_t)bytes[backwards ? width - 1 - i : i];
        if (length_own(settings)->encoding == NUMBER_BINARY)
            number = number * 256 + byte;
        else if (length_own(settings)->encoding == NUMBER_ASCII && byte >= '0' && byte <= '9')
            number = number * 10 + (byte - '0');
        else if (length_own(settings)->encoding == NUMBER_BCD && byte / 16 < 10 && byte % 16 < 10)
            number = number * 100 + byte / 16 * 10 + byte % 16;
        else
            return -1;
        if (number > WIDE_MAX)
            number = WIDE_MAX;
    }
    return number > UINT64_MAX ? -1 : number;
}

static size_t model_head(const struct protocol_settings *settings)
{
    int64_t end = length_own(settings)->offset + length_own(settings)->width;
    int64_t id_end = length_own(settings)->id_width > 0
                         ? length_own(settings)->id_offset + length_own(settings)->id_width
                         : 0;
    return (size_t)(id_end > end ? id_end : end);
}

/* The size of a message; -1 if its header is wrong. */
static wide model_size(const struct protocol_settings *settings, struct slice text)
{
    wide value = model_number(settings, text.bytes + length_own(settings)->offset,
                              (size_t)length_own(settings)->width);
    wide size =
        value + length_own(settings)->offset + length_own(settings)->width + length_own(settings)->adjust;
    return value < 0 || size < (wide)model_head(settings) || size > INT64_MAX ? -1 : size;
}

/* Appends a request as it leaves, its id changed. */
static void model_forward(const struct protocol_settings *settings, enum framer_event event,
                          struct slice bytes, size_t number, struct buffer *model)
{
    struct buffer copy = { 0 };
    buffer_append(&copy, bytes.bytes, bytes.length);
    char *id = buffer_bytes(&copy) + length_own(settings)->id_offset;
    size_t width = (size_t)length_own(settings)->id_width;
    for (size_t i = 0; i < width; i++) {
        if (length_own(settings)->encoding == NUMBER_BINARY) {
            id[length_own(settings)->little_endian ? i : width - 1 - i] = (char)number;
            number /= 256;
        } else if (length_own(settings)->encoding == NUMBER_ASCII) {
            id[width - 1 - i] = (char)('0' + number % 10);
            number /= 10;
        } else {
            id[width - 1 - i] = (char)(number % 100 / 10 * 16 + number % 10);
            number /= 100;
        }
    }
    framer_note(model, event, buffer_slice(&copy));
    buffer_free(&copy);
}

/* `heads` are told where the forwarded requests begin. Returns how many there are. */
static size_t model_requests(const struct protocol_settings *settings, struct slice text,
                             const char *heads[FRAMER_REQUESTS_MAX], struct buffer *model)
{
    size_t head = model_head(settings), count = 0;
    while (count < FRAMER_REQUESTS_MAX && text.length > 0) {
        bool is_known = text.length >= head;
        wide size = is_known ? model_size(settings, text) : 0;
        if (size < 0 || (head > settings->head_limit && text.length > settings->head_limit)) {
            framer_note(model, FRAMER_BROKEN, error_reply_own(settings)->error_reply);
            break;
        }
        if (!is_known || size > text.length) {
            if (is_known)
                model_forward(settings, FRAMER_MORE, text, count, model);
            break;
        }
        struct slice message = { text.bytes, (size_t)size };
        model_forward(settings, FRAMER_FORWARD, message, count, model);
        heads[count++] = message.bytes;
        slice_skip(&text, message.length);
    }
    return count;
}

/* Appends an answer as it reaches the client, its own id put back. */
static void model_answer(const struct protocol_settings *settings, enum framer_event event,
                         struct slice bytes, const char *request, struct buffer *model)
{
    struct buffer copy = { 0 };
    buffer_append(&copy, bytes.bytes, bytes.length);
    if (length_own(settings)->id_width > 0)
        memcpy(buffer_bytes(&copy) + length_own(settings)->id_offset,
               request + length_own(settings)->id_offset, (size_t)length_own(settings)->id_width);
    framer_note(model, event, buffer_slice(&copy));
    buffer_free(&copy);
}

/* Finds the request that the head of an answer belongs to. False if there is none. */
static bool model_whose(const struct protocol_settings *settings, struct slice text, size_t count,
                        size_t *which, struct buffer *model)
{
    if (length_own(settings)->id_width == 0) {
        if (*which >= count)
            framer_note(model, FRAMER_STRAY, (struct slice){ 0 });
        return *which < count;
    }
    wide number = model_number(settings, text.bytes + length_own(settings)->id_offset,
                               (size_t)length_own(settings)->id_width);
    if (number < 0) {
        framer_note(model, FRAMER_BROKEN, (struct slice){ 0 });
        return false;
    }
    uint64_t id = (uint64_t)number;
    framer_note(model, FRAMER_WHOSE, (struct slice){ (const char *)&id, sizeof id });
    *which = id < count ? (size_t)id : count;
    return id < count;
}

static void model_responses(const struct protocol_settings *settings, struct slice text, const char **heads,
                            size_t count, struct buffer *model)
{
    size_t head = model_head(settings);
    for (size_t next = 0; text.length > 0; next++) {
        size_t which = next;
        bool has_ids = length_own(settings)->id_width > 0;
        if (!has_ids && !model_whose(settings, text, count, &which, model))
            return;
        if (text.length < head)
            return;
        wide size = model_size(settings, text);
        if (size < 0) {
            framer_note(model, FRAMER_BROKEN, (struct slice){ 0 });
            return;
        }
        if (has_ids && !model_whose(settings, text, count, &which, model))
            return;
        struct slice message = { text.bytes, size > text.length ? text.length : (size_t)size };
        model_answer(settings, size > text.length ? FRAMER_MORE : FRAMER_ANSWER, message, heads[which],
                     model);
        slice_skip(&text, message.length);
    }
}

static int64_t take_adjust(struct slice *input)
{
    uint8_t kind = framer_byte(input);
    if (kind != 0x7f)
        return (int8_t)kind;
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | framer_byte(input);
    return (int64_t)number;
}

static void take_settings(struct protocol_settings *settings, struct slice *input)
{
    static const int64_t widths[] = { 1, 2, 3, 4, 8 };
    settings->head_limit = framer_head_limit(input);
    error_reply_own(settings)->error_reply = framer_string(input, 4);
    length_own(settings)->encoding = (enum number_encoding)(framer_byte(input) % 3);
    length_own(settings)->little_endian = framer_byte(input) % 2 == 1;
    length_own(settings)->offset = framer_byte(input) % 8;
    length_own(settings)->width = length_own(settings)->encoding == NUMBER_BINARY
                                      ? widths[framer_byte(input) % 5]
                                      : 1 + framer_byte(input) % 24;
    length_own(settings)->adjust = take_adjust(input);
    length_own(settings)->id_offset = framer_byte(input) % 40;
    length_own(settings)->id_width = framer_byte(input) % 12;
    /* The configuration lets no field lie upon the other. */
    if (length_own(settings)->id_offset < length_own(settings)->offset + length_own(settings)->width &&
        length_own(settings)->offset < length_own(settings)->id_offset + length_own(settings)->id_width)
        length_own(settings)->id_width = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = { (const char *)data, size };
    struct protocol_settings settings = { .protocol = &protocol_length, .max_message = -1 };
    const char *heads[FRAMER_REQUESTS_MAX];
    struct buffer requests = { 0 }, responses = { 0 };
    take_settings(&settings, &input);
    struct framer_parts parts = framer_split(input);
    size_t count = model_requests(&settings, parts.requests, heads, &requests);
    /* Beyond its capacity ids would be given twice: no multiplexer does that. */
    if (length_own(&settings)->id_width == 0 || count <= protocol_length.id_count(&settings)) {
        model_responses(&settings, parts.responses, heads, count, &responses);
        framer_check(&settings, &parts, &requests, &responses);
    }
    (void)protocol_length.largest_answer(&settings);
    buffer_free(&requests);
    buffer_free(&responses);
    framer_string_free(error_reply_own(&settings)->error_reply);
    return 0;
}
