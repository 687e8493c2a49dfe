#include "config/source.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Files within files; as many as libconfig itself allows. */
#define INCLUDE_DEPTH_MAX 10

/* No configuration is as large; a device or a log file given by mistake is. */
#define SOURCE_SIZE_MAX ((size_t)16 << 20)

/* What is read of a file at first. */
#define READ_SIZE ((size_t)16 << 10)

#define WORD_SIZE 64

/* The kind of text the scan is in, which may continue beyond the end of an included file, as in libconfig. */
enum scan_state { SCAN_PLAIN, SCAN_STRING, SCAN_LINE_COMMENT, SCAN_BLOCK_COMMENT };

/* A file being read, and those that include it. */
struct reading {
    const struct reading *parent;
    dev_t device;
    ino_t inode;
    struct origin origin; /* of the current line */
};

struct reader {
    struct source *source;
    struct parsed_configuration *parsed;
    const char *folder; /* of the main file, with its slash; "" for the current one */
    enum scan_state state;
    char word[WORD_SIZE]; /* the last word outside strings */
    char key[WORD_SIZE];  /* the last word that stood before '=' or ':' */
};

static bool read_file(struct reader *reader, const char *path, const struct reading *parent);

static void source_error(struct reader *reader, const struct origin *origin, const char *message)
{
    problem_error(reader->parsed->problems, origin, reader->key[0] == '\0' ? NULL : reader->key, "%s",
                  message);
}

static bool source_append(struct reader *reader, const char *bytes, size_t length)
{
    struct source *source = reader->source;
    if (source->length + length + 1 > source->capacity) {
        size_t capacity = 2 * (source->length + length + 1);
        char *grown = realloc(source->text, capacity);
        if (grown == NULL) {
            problem_memory(reader->parsed->problems);
            return false;
        }
        source->text = grown;
        source->capacity = capacity;
    }
    memcpy(source->text + source->length, bytes, length);
    source->length += length;
    source->text[source->length] = '\0';
    return true;
}

/* Notes where the text's next line comes from. */
static bool source_begin_line(struct reader *reader, const struct origin *origin)
{
    struct source *source = reader->source;
    if (source->line_count == source->line_capacity) {
        size_t capacity = 2 * source->line_capacity + 64;
        struct origin *grown = reallocarray(source->lines, capacity, sizeof *grown);
        if (grown == NULL) {
            problem_memory(reader->parsed->problems);
            return false;
        }
        source->lines = grown;
        source->line_capacity = capacity;
    }
    source->lines[source->line_count++] = *origin;
    return true;
}

static bool is_word_character(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '*' || c == '.' || c == '+';
}

/* Whether libconfig would take the token for a number with no fraction and no L. */
static bool is_plain_integer(const char *token, size_t length)
{
    size_t start = length > 0 && (token[0] == '-' || token[0] == '+') ? 1 : 0;
    bool hex = length > start + 2 && token[start] == '0' && tolower((unsigned char)token[start + 1]) == 'x';
    if (hex)
        start += 2;
    for (size_t i = start; i < length; i++)
        if (hex ? !isxdigit((unsigned char)token[i]) : !isdigit((unsigned char)token[i]))
            return false;
    return length > start;
}

static void check_integer(struct reader *reader, const struct origin *origin, const char *token,
                          size_t length)
{
    char text[48];
    char message[160];
    size_t digits = length;
    bool is_long = false;
    while (digits > 0 && token[digits - 1] == 'L') {
        digits--;
        is_long = true;
    }
    if (!is_plain_integer(token, digits))
        return;
    snprintf(text, sizeof text, "%.*s", (int)(digits < sizeof text ? digits : sizeof text - 1), token);
    errno = 0;
    long long value = strtoll(text, NULL, strpbrk(text, "xX") != NULL ? 16 : 10);
    if (digits >= sizeof text || errno == ERANGE)
        snprintf(message, sizeof message, "%s is beyond what an integer can hold", text);
    else if (!is_long && (value > INT32_MAX || value < INT32_MIN))
        snprintf(message, sizeof message, "%s does not fit 32 bits: write %sL", text, text);
    else
        return;
    source_error(reader, origin, message);
}

/* A word outside strings and comments: a key, a number, true or false. Returns where it ends. */
static const char *scan_word(struct reader *reader, const struct origin *origin, const char *c,
                             const char *end)
{
    const char *start = c;
    while (c < end && is_word_character(*c))
        c++;
    size_t length = (size_t)(c - start);
    snprintf(reader->word, sizeof reader->word, "%.*s", (int)(length < WORD_SIZE ? length : WORD_SIZE - 1),
             start);
    check_integer(reader, origin, start, length);
    return c;
}

static const char *scan_plain(struct reader *reader, const struct origin *origin, const char *c,
                              const char *end)
{
    if (is_word_character(*c))
        return scan_word(reader, origin, c, end);
    if (*c == '"')
        reader->state = SCAN_STRING;
    else if (*c == '#' || (*c == '/' && c + 1 < end && c[1] == '/'))
        reader->state = SCAN_LINE_COMMENT;
    else if (*c == '/' && c + 1 < end && c[1] == '*')
        reader->state = SCAN_BLOCK_COMMENT;
    else if (*c == '=' || *c == ':')
        memcpy(reader->key, reader->word, sizeof reader->key);
    else
        return c + 1;
    return c + (*c == '/' ? 2 : 1);
}

static const char *scan_string(struct reader *reader, const struct origin *origin, const char *c,
                               const char *end)
{
    if (*c == '"')
        reader->state = SCAN_PLAIN;
    if (*c != '\\' || c + 1 >= end)
        return c + 1;
    if (end - c >= 4 && (c[1] == 'x' || c[1] == 'X') && c[2] == '0' && c[3] == '0')
        source_error(reader, origin, "\\x00 would cut the string short");
    return c + 2;
}

/* Looks at one line, its line feed included. */
static void scan_line(struct reader *reader, const struct origin *origin, const char *c, const char *end)
{
    while (c < end) {
        switch (reader->state) {
        case SCAN_PLAIN:
            c = scan_plain(reader, origin, c, end);
            break;
        case SCAN_STRING:
            c = scan_string(reader, origin, c, end);
            break;
        case SCAN_LINE_COMMENT:
            if (*c++ == '\n')
                reader->state = SCAN_PLAIN;
            break;
        case SCAN_BLOCK_COMMENT:
            if (end - c >= 2 && c[0] == '*' && c[1] == '/') {
                reader->state = SCAN_PLAIN;
                c++;
            }
            c++;
            break;
        }
    }
}

/* If the line is an include directive, returns where the file's name begins, behind its
 * opening quote; else NULL. */
static const char *include_argument(const struct reader *reader, const char *line, const char *end)
{
    static const char directive[] = "@include";
    const char *c = line;
    while (c < end && (*c == ' ' || *c == '\t'))
        c++;
    if (reader->state != SCAN_PLAIN || (size_t)(end - c) < sizeof directive ||
        strncmp(c, directive, sizeof directive - 1) != 0)
        return NULL;
    c += sizeof directive - 1;
    const char *blank = c;
    while (c < end && (*c == ' ' || *c == '\t'))
        c++;
    return c > blank && c < end && *c == '"' ? c + 1 : NULL;
}

/* The file's name (to be freed) as written before the closing quote, with backslashes taken off; NULL when
 * memory is short. `rest` becomes what follows the quote, NULL if there is none. */
static char *include_name(const char *c, const char *end, const char **rest)
{
    char *name = malloc((size_t)(end - c) + 1);
    size_t length = 0;
    *rest = NULL;
    if (name == NULL)
        return NULL;
    for (; c < end && *c != '"'; c++) {
        if (*c == '\\' && c + 1 < end)
            c++;
        name[length++] = *c;
    }
    name[length] = '\0';
    if (c < end)
        *rest = c + 1;
    return name;
}

static bool is_blank_or_comment(const char *c, const char *end)
{
    while (c < end && isspace((unsigned char)*c))
        c++;
    return c == end || *c == '#' || (*c == '/' && c + 1 < end && c[1] == '/');
}

static bool read_include(struct reader *reader, const struct reading *reading, const char *argument,
                         const char *end)
{
    const char *rest;
    char *path = NULL;
    bool success = false;
    char *name = include_name(argument, end, &rest);
    if (name == NULL)
        problem_memory(reader->parsed->problems);
    else if (rest == NULL)
        problem_error(reader->parsed->problems, &reading->origin, NULL,
                      "@include: the file's name has no closing quote");
    else if (!is_blank_or_comment(rest, end))
        problem_error(reader->parsed->problems, &reading->origin, NULL,
                      "@include \"%s\": nothing but a comment may follow in the line", name);
    else if (asprintf(&path, "%s%s", name[0] == '/' ? "" : reader->folder, name) == -1)
        problem_memory(reader->parsed->problems);
    else {
        success = read_file(reader, path, reading);
        free(path);
    }
    free(name);
    return success;
}

static bool read_line(struct reader *reader, struct reading *reading, const char *line, const char *end)
{
    if (memchr(line, '\0', (size_t)(end - line)) != NULL) {
        problem_error(reader->parsed->problems, &reading->origin, NULL, "there is a zero byte in this line");
        return false;
    }
    const char *argument = include_argument(reader, line, end);
    if (argument != NULL)
        return read_include(reader, reading, argument, end);
    scan_line(reader, &reading->origin, line, end);
    bool ends = end > line && end[-1] == '\n';
    return source_begin_line(reader, &reading->origin) && source_append(reader, line, (size_t)(end - line)) &&
           (ends || source_append(reader, "\n", 1));
}

/* Reads to the end, or a byte more than a configuration may have; NULL with errno. The buffer grows as it is
 * filled: one that is large enough for all, once freed, teaches malloc() to keep that much for ever. */
static char *read_bytes(FILE *file, size_t *length)
{
    char *text = NULL;
    size_t capacity = READ_SIZE / 2;
    do {
        capacity = 2 * capacity < SOURCE_SIZE_MAX + 1 ? 2 * capacity : SOURCE_SIZE_MAX + 1;
        char *grown = realloc(text, capacity);
        if (grown == NULL) {
            free(text);
            return NULL;
        }
        text = grown;
        *length += fread(text + *length, 1, capacity - *length, file);
    } while (*length == capacity && capacity <= SOURCE_SIZE_MAX);
    return text;
}

/* The whole file, or NULL (noted as a problem at `place`). */
static char *load_file(struct reader *reader, const char *path, const struct origin *place,
                       struct stat *status, size_t *length)
{
    char *text = NULL;
    FILE *file = fopen(path, "re");
    const char *reason = NULL;
    if (file == NULL || fstat(fileno(file), status) == -1)
        reason = strerror(errno);
    else if (!S_ISREG(status->st_mode) && !S_ISFIFO(status->st_mode) && !S_ISCHR(status->st_mode))
        reason = "it is no file";
    if (reason == NULL) {
        text = read_bytes(file, length);
        if (text == NULL || ferror(file))
            reason = strerror(errno);
        else if (*length > SOURCE_SIZE_MAX)
            reason = "it is too large to be a configuration";
    }
    if (file != NULL)
        fclose(file);
    if (reason == NULL)
        return text;
    free(text);
    if (place->kind == ORIGIN_FILE && place->line > 0)
        problem_error(reader->parsed->problems, place, NULL, "@include \"%s\": %s", path, reason);
    else
        problem_error(reader->parsed->problems, place, NULL, "%s", reason);
    return NULL;
}

static bool is_included_already(const struct reading *reading, const struct stat *status)
{
    for (; reading != NULL; reading = reading->parent)
        if (reading->device == status->st_dev && reading->inode == status->st_ino)
            return true;
    return false;
}

static unsigned include_depth(const struct reading *reading)
{
    unsigned depth = 0;
    for (; reading != NULL; reading = reading->parent)
        depth++;
    return depth;
}

static bool read_file(struct reader *reader, const char *path, const struct reading *parent)
{
    struct reading reading = {
        .parent = parent,
        .origin = { .kind = ORIGIN_FILE, .name = parsed_name(reader->parsed, path) },
    };
    const struct origin *place = parent == NULL ? &reading.origin : &parent->origin;
    struct stat status;
    size_t length = 0;
    char *text = load_file(reader, path, place, &status, &length);
    if (text == NULL)
        return false;
    bool success = false;
    if (is_included_already(parent, &status)) {
        problem_error(reader->parsed->problems, place, NULL, "@include \"%s\": the file includes itself",
                      path);
    } else if (include_depth(parent) > INCLUDE_DEPTH_MAX) {
        problem_error(reader->parsed->problems, place, NULL, "@include \"%s\": more than %d files deep", path,
                      INCLUDE_DEPTH_MAX);
    } else {
        reading.device = status.st_dev;
        reading.inode = status.st_ino;
        parsed_note_file(reader->parsed, path);
        success = true;
        for (const char *line = text, *end; line < text + length; line = end) {
            const char *feed = memchr(line, '\n', (size_t)(text + length - line));
            end = feed == NULL ? text + length : feed + 1;
            reading.origin.line++;
            success = read_line(reader, &reading, line, end) && success;
        }
    }
    free(text);
    return success;
}

bool source_read(struct source *source, struct parsed_configuration *parsed, const char *path)
{
    struct reader reader = { .source = source, .parsed = parsed };
    const char *slash = strrchr(path, '/');
    char *folder = strndup(path, slash == NULL ? 0 : (size_t)(slash - path) + 1);
    *source = (struct source){ 0 };
    if (folder == NULL) {
        problem_memory(parsed->problems);
        return false;
    }
    reader.folder = folder;
    bool success = source_append(&reader, "", 0) && read_file(&reader, path, NULL);
    free(folder);
    return success;
}

void source_free(struct source *source)
{
    free(source->text);
    free(source->lines);
    *source = (struct source){ 0 };
}

struct origin source_origin(const struct source *source, unsigned line)
{
    if (source->line_count == 0)
        return (struct origin){ .kind = ORIGIN_DEFAULT };
    if (line == 0)
        line = 1;
    return source->lines[line > source->line_count ? source->line_count - 1 : line - 1];
}
