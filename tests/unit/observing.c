#include "unit/observing.h"

#include "protocol/protocols.h"
#include "unit/framing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_bytes(FILE *stream, struct slice bytes)
{
    for (size_t i = 0; i < bytes.length; i++) {
        unsigned char byte = (unsigned char)bytes.bytes[i];
        if (byte < ' ' || byte > '~')
            fprintf(stream, "\\x%02x", byte);
        else
            fputc(byte, stream);
    }
}

static void told_asked(void *owner, const struct observation *observation)
{
    FILE *stream = owner;
    fprintf(stream, "ask %d %s%s", (int)observation->number, observation->kind,
            observation->kind[0] != '\0' && observation->text.length > 0 ? " " : "");
    write_bytes(stream, observation->text);
    if (observation->parameters.length > 0) {
        fputs(" -- ", stream);
        write_bytes(stream, observation->parameters);
        fputs(observation->parameters_are_cut ? "..." : "", stream);
    }
    fprintf(stream, "%s [%d]\n", observation->is_truncated ? "..." : "", (int)observation->request_bytes);
    assert_true(observation->parameters.length <= OBSERVING_PARAMETERS);
    assert_true(observation->request.length <= observation->request_bytes);
}

static void told_answered(void *owner, const struct observation *observation)
{
    FILE *stream = owner;
    fprintf(stream, "answer %d [%d]%s", (int)observation->number, (int)observation->response_bytes,
            observation->error.length > 0 ? " " : "");
    write_bytes(stream, observation->error);
    fputc('\n', stream);
    assert_true(observation->response.length <= observation->response_bytes);
}

static void told_unanswered(void *owner, const struct observation *observation)
{
    fprintf(owner, "unanswered %d [%d]\n", (int)observation->number, (int)observation->response_bytes);
}

static void told_lost(void *owner, const char *why)
{
    fprintf(owner, "lost %s\n", why);
}

struct protocol_settings observing_settings(const char *name)
{
    return framing_settings(protocols_find(name));
}

/* A piece in memory of its own, so that a byte read beyond it is noticed. */
static void show(struct observer *observer, enum said_by side, const char *bytes, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    if (side == CLIENT)
        observer_client_bytes(observer, copy, length, 1000);
    else
        observer_target_bytes(observer, copy, length, 2000);
    free(copy);
}

char *observing_transcript(const struct protocol_settings *settings, const struct said *said, size_t first,
                           size_t step)
{
    static const struct observer_hooks hooks = { told_asked, told_answered, told_unanswered, told_lost };
    struct observer_settings observed = { settings, 64, 64, OBSERVING_PARAMETERS };
    char *transcript;
    size_t size;
    FILE *stream = open_memstream(&transcript, &size);
    assert_non_null(stream);
    struct observer *observer = observer_create(&observed, &hooks, stream);
    assert_non_null(observer);
    for (; said->side != END; said++) {
        if (said->side == TARGET_ENDS)
            observer_target_end(observer, 3000);
        for (size_t at = 0; at < said->bytes.length;) {
            size_t count = at == 0 ? first : step;
            if (count > said->bytes.length - at)
                count = said->bytes.length - at;
            show(observer, said->side, said->bytes.bytes + at, count);
            at += count;
        }
    }
    observer_end(observer);
    observer_destroy(observer);
    fclose(stream);
    return transcript;
}

static void expect_cut(const struct protocol_settings *settings, const struct said *said,
                       const char *expected, size_t first, size_t step, struct place place)
{
    char *transcript = observing_transcript(settings, said, first, step);
    if (strcmp(transcript, expected) != 0)
        test_fail_at(place, "cut into %zu and then %zu bytes, expected:\n%sgot:\n%s", first, step, expected,
                     transcript);
    free(transcript);
}

void observing_expect_at(const struct protocol_settings *settings, const struct said *said,
                         const char *expected, struct place place)
{
    size_t longest = 1;
    for (const struct said *piece = said; piece->side != END; piece++)
        if (piece->bytes.length > longest)
            longest = piece->bytes.length;
    expect_cut(settings, said, expected, longest, longest, place);
    expect_cut(settings, said, expected, 1, 1, place);
    for (size_t first = 1; first < longest; first++)
        expect_cut(settings, said, expected, first, longest, place);
}
