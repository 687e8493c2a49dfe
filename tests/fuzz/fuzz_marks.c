/* marks, against a model that searches whole texts. */
#include "fuzz/framer.h"

#include "protocol/marks/marks.h"
#include "protocol/protocols.h"

/* Whether the text can still become a message: it agrees with the start mark as far as both go. */
static bool begins(const struct protocol_settings *settings, struct slice text)
{
    struct slice start = marks_own(settings)->start;
    size_t length = text.length < start.length ? text.length : start.length;
    return length == 0 || memcmp(text.bytes, start.bytes, length) == 0;
}

/* Takes the next message off the text; none if it has no end. */
static struct slice next_message(const struct protocol_settings *settings, struct slice *text)
{
    struct slice start = marks_own(settings)->start, end = marks_own(settings)->end, rest = *text;
    struct slice none = { text->bytes, 0 };
    if (text->length < start.length)
        return none;
    slice_skip(&rest, start.length);
    const char *found = memmem(rest.bytes, rest.length, end.bytes, end.length);
    if (found == NULL)
        return none;
    struct slice message = { text->bytes, (size_t)(found - text->bytes) + end.length };
    slice_skip(text, message.length);
    return message;
}

static size_t model_requests(const struct protocol_settings *settings, struct slice text,
                             struct buffer *model)
{
    size_t start = marks_own(settings)->start.length, count = 0;
    while (count < FRAMER_REQUESTS_MAX && text.length > 0) {
        if (!begins(settings, text) || (start > settings->head_limit && text.length > settings->head_limit)) {
            framer_note(model, FRAMER_BROKEN, error_reply_own(settings)->error_reply);
            return count;
        }
        struct slice message = next_message(settings, &text);
        if (message.length == 0) {
            if (text.length >= start && text.length >= settings->head_limit)
                framer_note(model, FRAMER_MORE, text);
            return count;
        }
        framer_note(model, FRAMER_FORWARD, message);
        count++;
    }
    return count;
}

static void model_responses(const struct protocol_settings *settings, struct slice text, size_t answers,
                            struct buffer *model)
{
    for (; text.length > 0; answers--) {
        if (answers == 0 || !begins(settings, text)) {
            framer_note(model, answers == 0 ? FRAMER_STRAY : FRAMER_BROKEN, (struct slice){ 0 });
            return;
        }
        struct slice message = next_message(settings, &text);
        if (message.length == 0) {
            if (text.length >= marks_own(settings)->start.length)
                framer_note(model, FRAMER_MORE, text);
            return;
        }
        framer_note(model, FRAMER_ANSWER, message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = { (const char *)data, size };
    struct protocol_settings settings = { .protocol = &protocol_marks, .max_message = -1 };
    settings.head_limit = framer_head_limit(&input);
    error_reply_own(&settings)->error_reply = framer_string(&input, 4);
    marks_own(&settings)->start = framer_string(&input, 6);
    marks_own(&settings)->end = framer_string(&input, 8);
    if (marks_own(&settings)->start.length > 0 && marks_own(&settings)->end.length > 0) {
        struct framer_parts parts = framer_split(input);
        struct buffer requests = { 0 }, responses = { 0 };
        size_t count = model_requests(&settings, parts.requests, &requests);
        model_responses(&settings, parts.responses, count, &responses);
        framer_check(&settings, &parts, &requests, &responses);
        buffer_free(&requests);
        buffer_free(&responses);
    }
    framer_string_free(error_reply_own(&settings)->error_reply);
    framer_string_free(marks_own(&settings)->start);
    framer_string_free(marks_own(&settings)->end);
    return 0;
}
