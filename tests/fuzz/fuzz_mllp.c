/* mllp, against a model that splits whole texts into segments and fields. */
#include "fuzz/framer.h"

#include "protocol/mllp/mllp.h"
#include "protocol/protocols.h"

#define FIELDS_MAX 16

/* The requests that are answered one after the other, by their control ids. */
struct ids {
    struct slice list[FRAMER_REQUESTS_MAX];
    size_t count;
};

static bool is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

static void skip_line_ends(struct slice *text)
{
    while (text->length > 0 && is_line_end(text->bytes[0]))
        slice_skip(text, 1);
}

/* Where the segment ends that begins at `at`: at a CR, an LF, the message's end, or the text's. */
static size_t segment_end(struct slice text, size_t at)
{
    while (at < text.length && !is_line_end(text.bytes[at]) && text.bytes[at] != 0x1c)
        at++;
    return at;
}

/* Splits a segment; fields beyond those that there is room for are left out. Returns how many there are. */
static size_t split(struct slice segment, char separator, struct slice *fields)
{
    size_t count = 0;
    while (count < FIELDS_MAX) {
        const char *end = memchr(segment.bytes, separator, segment.length);
        fields[count++] =
            (struct slice){ segment.bytes, end == NULL ? segment.length : (size_t)(end - segment.bytes) };
        if (end == NULL)
            break;
        slice_skip(&segment, fields[count - 1].length + 1);
    }
    return count;
}

/* The end of the message, its last two bytes included; 0: it is not there, SIZE_MAX: the end is wrong. */
static size_t message_end(struct slice text, size_t from)
{
    const char *end = memchr(text.bytes + from, 0x1c, text.length - from);
    size_t at = end == NULL ? text.length : (size_t)(end - text.bytes) + 1;
    if (at >= text.length)
        return 0;
    return text.bytes[at] == '\r' ? at + 1 : SIZE_MAX;
}

static void acknowledge(struct slice *fields, char separator, const char *said, struct buffer *out)
{
    const struct slice empty = { "", 0 };
    /* fields[n] is MSH-(n + 1) */
    const struct slice parts[] = { { "MSH", 3 }, fields[1], fields[4],    fields[5], fields[2],  fields[3],
                                   empty,        empty,     { "ACK", 3 }, fields[9], fields[10], fields[11] };
    buffer_append(out, "\x0b", 1);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        buffer_append(out, &separator, i == 0 ? 0 : 1);
        buffer_append(out, parts[i].bytes, parts[i].length);
    }
    buffer_print(out, "\rMSA%cAR%c", separator, separator);
    buffer_append(out, fields[9].bytes, fields[9].length);
    buffer_append(out, &separator, 1);
    for (; *said != '\0'; said++)
        if (*said == separator || memchr(fields[1].bytes, *said, fields[1].length) != NULL)
            buffer_append(out, " ", 1);
        else
            buffer_append(out, said, 1);
    buffer_append_text(out, "\r\x1c\r");
}

/* The length of the head: up to the separator behind MSH-12, or the segment's end. 0: it is not there, SIZE_MAX: it is
 * wrong. */
static size_t head_length(struct slice text, size_t limit, struct slice *fields)
{
    size_t end = segment_end(text, 1);
    char separator = text.length > 4 ? text.bytes[4] : '\0';
    size_t there = text.length < 4 ? text.length : 4;
    if (memcmp(text.bytes, "\x0bMSH", there) != 0 || (end < text.length && end <= 4))
        return SIZE_MAX;
    if (text.length > 4 && (separator <= ' ' || separator > '~' || (separator >= '0' && separator <= '9') ||
                            (separator >= 'A' && separator <= 'Z') || (separator >= 'a' && separator <= 'z')))
        return SIZE_MAX;
    for (size_t i = 0; i < FIELDS_MAX; i++)
        fields[i] = (struct slice){ "", 0 };
    size_t count = text.length > 4 ? split((struct slice){ text.bytes + 1, end - 1 }, separator, fields) : 0;
    if (count > 12)
        end = (size_t)(fields[11].bytes + fields[11].length - text.bytes);
    for (size_t i = 12; i < FIELDS_MAX; i++)
        fields[i] = (struct slice){ "", 0 };
    if (end >= limit && text.length > limit)
        return SIZE_MAX;
    return end < text.length ? end : 0;
}

static void model_requests(const struct protocol_settings *settings, struct slice text, struct ids *ids,
                           struct buffer *model)
{
    size_t limit = settings->head_limit < MLLP_HEAD_MAX ? settings->head_limit : MLLP_HEAD_MAX;
    struct slice fields[FIELDS_MAX];
    for (skip_line_ends(&text); text.length > 0 && ids->count < FRAMER_REQUESTS_MAX; skip_line_ends(&text)) {
        size_t head = head_length(text, limit, fields);
        if (head == 0 || head == SIZE_MAX) {
            if (head == SIZE_MAX)
                framer_note(model, FRAMER_BROKEN, (struct slice){ 0 });
            return;
        }
        bool is_refused = fields[9].length == 0 || fields[9].length > MLLP_ID_MAX;
        size_t end = message_end(text, head);
        struct buffer answer = { 0 };
        if (end == SIZE_MAX)
            acknowledge(fields, text.bytes[4], "the message does not end as MLLP wants", &answer);
        else if (end > 0 && is_refused)
            acknowledge(fields, text.bytes[4], "MSH-10 has to have 1 to 199 characters", &answer);
        if (end == SIZE_MAX)
            framer_note(model, FRAMER_BROKEN, buffer_slice(&answer));
        else if (end > 0 && is_refused)
            framer_note(model, FRAMER_LOCAL, buffer_slice(&answer));
        else if (!is_refused)
            framer_note(model, end == 0 ? FRAMER_MORE : FRAMER_FORWARD,
                        (struct slice){ text.bytes, end == 0 ? text.length : end });
        buffer_free(&answer);
        if (end == 0 || end == SIZE_MAX)
            return;
        if (!is_refused)
            ids->list[ids->count++] = fields[9];
        slice_skip(&text, end);
    }
}

/* Up to where an answer has to be known until it is known whose it is, and whose; 0: it is not there yet, SIZE_MAX: it is
 * none. */
static size_t find_id(struct slice text, size_t limit, struct slice *id)
{
    struct slice fields[FIELDS_MAX];
    size_t at = segment_end(text, 1), there = text.length < 4 ? text.length : 4;
    *id = (struct slice){ 0 };
    if (memcmp(text.bytes, "\x0bMSH", there) != 0 || (at < text.length && at <= 4))
        return SIZE_MAX;
    while (at < text.length && text.bytes[at] != 0x1c && id->bytes == NULL) {
        size_t begin = at + 1;
        at = segment_end(text, begin);
        size_t count = split((struct slice){ text.bytes + begin, at - begin }, text.bytes[4], fields);
        bool is_msa = count >= 3 && slice_equal(fields[0], SLICE("MSA"));
        if (is_msa && (count > 3 || at < text.length)) {
            *id = fields[2];
            at = (size_t)(id->bytes + id->length - text.bytes);
        }
    }
    if (at >= limit && text.length > limit)
        return SIZE_MAX;
    return at < text.length ? at : 0;
}

static void model_responses(const struct protocol_settings *settings, struct slice text,
                            const struct ids *ids, struct buffer *model)
{
    size_t next = 0;
    for (skip_line_ends(&text); text.length > 0; skip_line_ends(&text)) {
        struct slice id;
        size_t known = find_id(text, settings->head_limit, &id);
        if (known == 0)
            return;
        bool is_answer =
            known != SIZE_MAX && id.bytes != NULL && next < ids->count && slice_equal(id, ids->list[next]);
        size_t end = known == SIZE_MAX ? SIZE_MAX : message_end(text, known);
        size_t passed = end == 0 ? text.length : end;
        if (end == SIZE_MAX && is_answer)
            passed =
                (size_t)((const char *)memchr(text.bytes + known, 0x1c, text.length - known) - text.bytes) +
                1;
        struct slice bytes = { text.bytes, is_answer ? passed : 0 };
        if (end == SIZE_MAX)
            framer_note(model, FRAMER_BROKEN, bytes);
        else if (end > 0)
            framer_note(model, is_answer ? FRAMER_ANSWER : FRAMER_DISCARDED, bytes);
        else if (is_answer)
            framer_note(model, FRAMER_MORE, bytes);
        if (end == 0 || end == SIZE_MAX)
            return;
        next += is_answer;
        slice_skip(&text, end);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = { (const char *)data, size };
    struct protocol_settings settings = { .protocol = &protocol_mllp, .max_message = -1 };
    settings.head_limit = framer_head_limit(&input);
    struct framer_parts parts = framer_split(input);
    struct buffer requests = { 0 }, responses = { 0 };
    struct ids ids = { .count = 0 };
    model_requests(&settings, parts.requests, &ids, &requests);
    model_responses(&settings, parts.responses, &ids, &responses);
    framer_check(&settings, &parts, &requests, &responses);
    buffer_free(&requests);
    buffer_free(&responses);
    return 0;
}
