/* modbus, against a model that looks at whole messages. */
#include "fuzz/framer.h"

#include "protocol/modbus/modbus.h"
#include "protocol/protocols.h"

#define HEAD 8

static unsigned byte_at(struct slice text, size_t at)
{
    return (uint8_t)text.bytes[at];
}

/* The size of the message; 0 if its head is wrong, as far as it has come, HEAD if it is right so far. */
static size_t model_size(struct slice text)
{
    if ((text.length > 2 && byte_at(text, 2) != 0) || (text.length > 3 && byte_at(text, 3) != 0) ||
        (text.length > 4 && byte_at(text, 4) != 0))
        return 0;
    if (text.length < 6)
        return HEAD;
    return byte_at(text, 5) < 2 || byte_at(text, 5) > 254 ? 0 : 6 + byte_at(text, 5);
}

/* How many bytes of data a function of the specification has, -1 if it says nothing; and how many of them
 * have to be there to know that, if the last of these counts those that follow. */
static int model_data(struct slice text, size_t *counted)
{
    unsigned function = byte_at(text, 7);
    *counted = 0;
    if (function >= 1 && function <= 6)
        return 4;
    if (function == 7 || function == 11 || function == 12 || function == 17)
        return 0;
    if (function == 22)
        return 6;
    if (function == 24)
        return 2;
    if (function == 15 || function == 16)
        *counted = 5;
    if (function == 20 || function == 21)
        *counted = 1;
    if (function == 23)
        *counted = 9;
    if (*counted == 0)
        return -1;
    return (int)*counted + (text.length < HEAD + *counted ? 0 : (int)byte_at(text, HEAD + *counted - 1));
}

/* Appends the exception that a request gets. */
static void model_exception(enum framer_event event, struct slice bytes, char code, struct buffer *model)
{
    char answer[] = {
        bytes.bytes[0], bytes.bytes[1], 0, 0, 0, 3, bytes.bytes[6], (char)(bytes.bytes[7] | 0x80), code
    };
    framer_note(model, event, (struct slice){ answer, sizeof answer });
}

/* Appends a message with another transaction id. */
static void model_note(enum framer_event event, struct slice bytes, unsigned high, unsigned low,
                       struct buffer *model)
{
    struct buffer copy = { 0 };
    buffer_append(&copy, bytes.bytes, bytes.length);
    buffer_bytes(&copy)[0] = (char)high;
    buffer_bytes(&copy)[1] = (char)low;
    framer_note(model, event, buffer_slice(&copy));
    buffer_free(&copy);
}

static void model_forward(const struct protocol_settings *settings, enum framer_event event,
                          struct slice bytes, size_t number, struct buffer *model)
{
    if (modbus_own(settings)->match_order)
        framer_note(model, event, bytes);
    else
        model_note(event, bytes, (unsigned)(number >> 8), (unsigned)(number & 255), model);
}

static size_t model_requests(const struct protocol_settings *settings, struct slice text,
                             struct slice heads[FRAMER_REQUESTS_MAX], struct buffer *model)
{
    size_t count = 0;
    while (count < FRAMER_REQUESTS_MAX && text.length > 0) {
        size_t limit = settings->head_limit;
        size_t size = model_size(text);
        if (size == 0 || (limit < HEAD && text.length > limit)) {
            framer_note(model, FRAMER_BROKEN, (struct slice){ 0 });
            break;
        }
        if (text.length < HEAD)
            break;
        bool is_refused = byte_at(text, 7) >= 0x80 || byte_at(text, 7) == 0;
        size_t counted, known = HEAD;
        int data = model_data(text, &counted), size_of_data = (int)(size - HEAD);
        if (!is_refused && counted > 0 && size_of_data >= (int)counted)
            known += counted;
        if (limit < known && text.length > limit) {
            framer_note(model, FRAMER_BROKEN, (struct slice){ 0 });
            break;
        }
        if (!is_refused && data >= 0 && data != size_of_data && text.length >= known) {
            model_exception(FRAMER_BROKEN, text, 3, model);
            break;
        }
        if (size > text.length) {
            if (!is_refused && text.length >= known)
                model_forward(settings, FRAMER_MORE, text, count, model);
            break;
        }
        struct slice message = { text.bytes, size };
        slice_skip(&text, size);
        if (is_refused) {
            model_exception(FRAMER_LOCAL, message, 1, model);
            continue;
        }
        model_forward(settings, FRAMER_FORWARD, message, count, model);
        heads[count++] = message;
    }
    return count;
}

/* Finds the request that an answer belongs to. False if there is none. */
static bool model_whose(const struct protocol_settings *settings, struct slice text, size_t count,
                        size_t *which, struct buffer *model)
{
    if (modbus_own(settings)->match_order) {
        if (*which >= count)
            framer_note(model, FRAMER_STRAY, (struct slice){ 0 });
        return *which < count;
    }
    uint64_t id = byte_at(text, 0) << 8 | byte_at(text, 1);
    framer_note(model, FRAMER_WHOSE, (struct slice){ (const char *)&id, sizeof id });
    *which = (size_t)id;
    return id < count;
}

static void model_responses(const struct protocol_settings *settings, struct slice text,
                            const struct slice *heads, size_t count, struct buffer *model)
{
    bool by_order = modbus_own(settings)->match_order;
    for (size_t next = 0; text.length > 0; next++) {
        size_t which = next;
        size_t size = model_size(text);
        if (by_order && !model_whose(settings, text, count, &which, model))
            return;
        if (size == 0) {
            framer_note(model, FRAMER_BROKEN, (struct slice){ 0 });
            return;
        }
        if (text.length < HEAD || (!by_order && !model_whose(settings, text, count, &which, model)))
            return;
        if (byte_at(text, 6) != byte_at(heads[which], 6) ||
            (byte_at(text, 7) & 0x7f) != byte_at(heads[which], 7)) {
            framer_note(model, FRAMER_BROKEN, (struct slice){ 0 });
            return;
        }
        struct slice message = { text.bytes, size < text.length ? size : text.length };
        model_note(size > text.length ? FRAMER_MORE : FRAMER_ANSWER, message, byte_at(heads[which], 0),
                   byte_at(heads[which], 1), model);
        slice_skip(&text, message.length);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = { (const char *)data, size };
    struct protocol_settings settings = { .protocol = &protocol_modbus, .max_message = -1 };
    struct slice heads[FRAMER_REQUESTS_MAX];
    struct buffer requests = { 0 }, responses = { 0 };
    settings.head_limit = framer_head_limit(&input);
    modbus_own(&settings)->match_order = framer_byte(&input) % 2 == 1;
    struct framer_parts parts = framer_split(input);
    size_t count = model_requests(&settings, parts.requests, heads, &requests);
    model_responses(&settings, parts.responses, heads, count, &responses);
    framer_check(&settings, &parts, &requests, &responses);
    buffer_free(&requests);
    buffer_free(&responses);
    return 0;
}
