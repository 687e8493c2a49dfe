#include "base/log_line.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

/* Room that is kept for the end of the line: "...", the end of the JSON object and the line feed. */
#define TAIL_SIZE 6

/* The longest source that is shown, so that it never displaces the message. */
#define SOURCE_MAX 512

struct writing {
    char *text;
    size_t length;
    bool json;
};

static const char *const kind_names[] = {
    [LOG_KIND_ERROR] = "error",
    [LOG_KIND_WARNING] = "warning",
    [LOG_KIND_INFO] = "info",
    [LOG_KIND_DEBUG] = "debug",
};

static void write_plain(struct writing *writing, const char *text)
{
    size_t length = strlen(text);
    memcpy(writing->text + writing->length, text, length);
    writing->length += length;
}

/* One byte as it is shown; returns the length, at most 5. In JSON the backslash of an escape is itself escaped. */
static size_t escape_byte(char *shown, unsigned char byte, bool json)
{
    const char *backslash = json ? "\\\\" : "\\";
    if (byte == '\n' || byte == '\r' || byte == '\t')
        return (size_t)sprintf(shown, "%s%c", backslash, byte == '\n' ? 'n' : byte == '\r' ? 'r' : 't');
    if (byte < 0x20 || byte > 0x7e)
        return (size_t)sprintf(shown, "%sx%02x", backslash, byte);
    size_t length = 0;
    if (json && (byte == '"' || byte == '\\'))
        shown[length++] = '\\';
    shown[length++] = (char)byte;
    return length;
}

/* Adds `text` escaped, while the line is no longer than `limit`. Whether all of it fitted. */
static bool write_escaped(struct writing *writing, const char *text, size_t limit)
{
    for (; *text != '\0'; text++) {
        char shown[8];
        size_t length = escape_byte(shown, (unsigned char)*text, writing->json);
        if (writing->length + length > limit)
            return false;
        memcpy(writing->text + writing->length, shown, length);
        writing->length += length;
    }
    return true;
}

static void write_source(struct writing *writing, const char *source)
{
    if (!write_escaped(writing, source, writing->length + SOURCE_MAX))
        write_plain(writing, "...");
}

static void write_head(struct writing *writing, bool is_bare, enum log_kind kind, int64_t when,
                       const char *source)
{
    char time[CLOCK_TEXT_SIZE];
    clock_print(when, time);
    const char *format = writing->json ? "{\"time\":\"%s\",\"level\":\"%s\"," : "%s %s ";
    if (writing->json || !is_bare)
        writing->length = (size_t)sprintf(writing->text, format, time, kind_names[kind]);
    if (source != NULL) {
        write_plain(writing, writing->json ? "\"source\":\"" : "");
        write_source(writing, source);
        write_plain(writing, writing->json ? "\"," : ": ");
    }
    write_plain(writing, writing->json ? "\"message\":\"" : "");
}

size_t log_line_make(char *line, struct log_line_style style, enum log_kind kind, int64_t when,
                     const char *source, const char *message, bool is_beginning)
{
    struct writing writing = { .text = line, .json = style.format == LOG_FORMAT_JSON };
    write_head(&writing, style.bare, kind, when, source);
    if (!write_escaped(&writing, message, LOG_LINE_MAX - TAIL_SIZE) || is_beginning)
        write_plain(&writing, "...");
    write_plain(&writing, writing.json ? "\"}\n" : "\n");
    return writing.length;
}
