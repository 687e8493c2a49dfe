/* line, against a model that searches whole texts. */
#include "fuzz/framer.h"

#include "protocol/line/line.h"
#include "protocol/protocols.h"

static bool contains(struct slice text, struct slice part)
{
    return memmem(text.bytes, text.length, part.bytes, part.length) != NULL;
}

/* Takes the next line off the text; none if it has no end. */
static struct slice next_line(const struct protocol_settings *settings, struct slice *text)
{
    struct slice delimiter = line_own(settings)->delimiter;
    const char *end = memmem(text->bytes, text->length, delimiter.bytes, delimiter.length);
    struct slice line = { text->bytes, end == NULL ? 0 : (size_t)(end - text->bytes) + delimiter.length };
    slice_skip(text, line.length);
    return line;
}

/* Returns how many requests have an answer. */
static size_t model_requests(const struct protocol_settings *settings, struct slice text,
                             struct buffer *model)
{
    size_t answers = 0;
    for (size_t count = 0; count < FRAMER_REQUESTS_MAX; count++) {
        struct slice line = next_line(settings, &text);
        if (line.length == 0) {
            if (text.length >= settings->head_limit)
                framer_note(model, FRAMER_MORE, text);
            break;
        }
        bool has_answer =
            line_own(settings)->reply_if.length == 0 || contains(line, line_own(settings)->reply_if);
        framer_note(model, has_answer ? FRAMER_FORWARD : FRAMER_UNANSWERED, line);
        answers += has_answer;
    }
    return answers;
}

static bool is_last(const struct protocol_settings *settings, struct slice line, int64_t number)
{
    struct slice until = line_own(settings)->reply_until;
    if (until.length == 0)
        return number == line_own(settings)->reply_lines;
    return line.length >= until.length && memcmp(line.bytes, until.bytes, until.length) == 0;
}

/* Takes the next answer off the text; none if it has no end. */
static struct slice next_answer(const struct protocol_settings *settings, struct slice *text)
{
    struct slice rest = *text, line;
    int64_t number = 0;
    do {
        line = next_line(settings, &rest);
        if (line.length == 0)
            return (struct slice){ text->bytes, 0 };
    } while (!is_last(settings, line, ++number));
    struct slice answer = { text->bytes, text->length - rest.length };
    *text = rest;
    return answer;
}

static void model_responses(const struct protocol_settings *settings, struct slice text, size_t answers,
                            struct buffer *model)
{
    for (; text.length > 0 && answers > 0; answers--) {
        struct slice answer = next_answer(settings, &text);
        if (answer.length == 0) {
            framer_note(model, FRAMER_MORE, text);
            return;
        }
        framer_note(model, FRAMER_ANSWER, answer);
    }
    if (text.length > 0)
        framer_note(model, FRAMER_STRAY, (struct slice){ 0 });
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = { (const char *)data, size };
    struct protocol_settings settings = { .protocol = &protocol_line, .max_message = -1 };
    settings.head_limit = framer_head_limit(&input);
    error_reply_own(&settings)->error_reply = framer_string(&input, 4);
    line_own(&settings)->delimiter = framer_string(&input, 8);
    line_own(&settings)->reply_lines = 1 + framer_byte(&input) % 4;
    line_own(&settings)->reply_until = framer_string(&input, 6);
    line_own(&settings)->reply_if = framer_string(&input, 6);
    if (line_own(&settings)->delimiter.length > 0) {
        struct framer_parts parts = framer_split(input);
        struct buffer requests = { 0 }, responses = { 0 };
        size_t answers = model_requests(&settings, parts.requests, &requests);
        model_responses(&settings, parts.responses, answers, &responses);
        framer_check(&settings, &parts, &requests, &responses);
        buffer_free(&requests);
        buffer_free(&responses);
    }
    framer_string_free(error_reply_own(&settings)->error_reply);
    framer_string_free(line_own(&settings)->delimiter);
    framer_string_free(line_own(&settings)->reply_until);
    framer_string_free(line_own(&settings)->reply_if);
    return 0;
}
