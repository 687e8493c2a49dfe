#include "config/source.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
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
    FILE *text; /* of the source */
    struct parsed_configuration *parsed;
    const char *folder; /* of the main file, with its slash; "" for the current one */
    enum scan_state state;
    const struct origin *origin; /* of the line that is scanned */
    char word[WORD_SIZE];        /* the last word outside strings */
    char key[WORD_SIZE];         /* the last word that stood before '=' or ':' */
};

static bool source_read_file(struct reader *reader, const char *path, const struct reading *parent);

#define scan_error(reader, ...)                                                                              \
    problem_error((reader)->parsed->problems, (reader)->origin,                                              \
                  (reader)->key[0] == '\0' ? NULL : (reader)->key, __VA_ARGS__)

/* Of a word that libconfig takes for a number with no fraction. */
static void scan_integer(struct reader *reader, const char *word, size_t length)
{
    char text[48];
    size_t end = length;
    while (end > 0 && word[end - 1] == 'L')
        end--;
    size_t start = *word == '-' || *word == '+' ? 1 : 0;
    bool is_hex = strncasecmp(word + start, "0x", 2) == 0;
    start += is_hex ? 2 : 0;
    if (end <= start || strspn(word + start, is_hex ? "0123456789abcdefABCDEF" : "0123456789") < end - start)
        return;
    snprintf(text, sizeof text, "%.*s", (int)end, word);
    errno = 0;
    long long value = strtoll(text, NULL, is_hex ? 16 : 10);
    if (end >= sizeof text || errno == ERANGE)
        scan_error(reader, "%s is beyond what an integer can hold", text);
    else if (end == length && (value > INT32_MAX || value < INT32_MIN))
        scan_error(reader, "%s does not fit 32 bits: write %sL", text, text);
}

/* Outside strings and comments; a word is a key, a number, true or false. Returns where to go on. */
static const char *scan_plain(struct reader *reader, const char *c)
{
    static const char in_words[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-*.+";
    size_t length = strspn(c, in_words);
    if (length > 0) {
        snprintf(reader->word, sizeof reader->word, "%.*s", (int)length, c);
        scan_integer(reader, c, length);
        return c + length;
    }
    if (*c == '"')
        reader->state = SCAN_STRING;
    else if (*c == '#' || (*c == '/' && c[1] == '/'))
        reader->state = SCAN_LINE_COMMENT;
    else if (*c == '/' && c[1] == '*')
        reader->state = SCAN_BLOCK_COMMENT;
    else if (*c == '=' || *c == ':')
        memcpy(reader->key, reader->word, sizeof reader->key);
    else
        return c + 1;
    return c + (*c == '/' ? 2 : 1);
}

static const char *scan_string(struct reader *reader, const char *c)
{
    if (*c == '"')
        reader->state = SCAN_PLAIN;
    if (*c != '\\' || c[1] == '\0')
        return c + 1;
    if (strncasecmp(c, "\\x00", 4) == 0)
        scan_error(reader, "\\x00 would cut the string short");
    return c + 2;
}

/* Looks at one line, its line feed included. */
static void scan_line(struct reader *reader, const char *c)
{
    while (*c != '\0') {
        switch (reader->state) {
        case SCAN_PLAIN:
            c = scan_plain(reader, c);
            break;
        case SCAN_STRING:
            c = scan_string(reader, c);
            break;
        case SCAN_LINE_COMMENT:
            if (*c++ == '\n')
                reader->state = SCAN_PLAIN;
            break;
        case SCAN_BLOCK_COMMENT:
            if (c[0] == '*' && c[1] == '/') {
                reader->state = SCAN_PLAIN;
                c++;
            }
            c++;
            break;
        }
    }
}

/* If the line is an include directive, returns where the file's name begins, behind its opening quote; else NULL. */
static const char *include_argument(const struct reader *reader, const char *line)
{
    static const char directive[] = "@include";
    const char *c = line + strspn(line, " \t");
    if (reader->state != SCAN_PLAIN || strncmp(c, directive, strlen(directive)) != 0)
        return NULL;
    c += strlen(directive);
    size_t blanks = strspn(c, " \t");
    return blanks > 0 && c[blanks] == '"' ? c + blanks + 1 : NULL;
}

/* The file's name (to be freed) as written before the closing quote, with backslashes taken off; NULL when
 * memory is short. `rest` becomes what follows the quote, NULL if there is none. */
static char *include_name(const char *c, const char **rest)
{
    char *name = malloc(strlen(c) + 1);
    size_t length = 0;
    if (name == NULL)
        return NULL;
    for (; *c != '\0' && *c != '"'; c++) {
        if (*c == '\\' && c[1] != '\0')
            c++;
        name[length++] = *c;
    }
    name[length] = '\0';
    *rest = *c == '"' ? c + 1 : NULL;
    return name;
}

static bool is_blank_or_comment(const char *c)
{
    c += strspn(c, " \t\n\v\f\r");
    return *c == '\0' || *c == '#' || strncmp(c, "//", 2) == 0;
}

static bool read_include(struct reader *reader, const struct reading *reading, const char *argument)
{
    struct problem_list *problems = reader->parsed->problems;
    const char *rest;
    char *path = NULL;
    bool success = false;
    char *name = include_name(argument, &rest);
    if (name == NULL)
        problem_memory(problems);
    else if (rest == NULL)
        problem_error(problems, &reading->origin, NULL, "@include: the file's name has no closing quote");
    else if (!is_blank_or_comment(rest))
        problem_error(problems, &reading->origin, NULL,
                      "@include \"%s\": nothing but a comment may follow in the line", name);
    else if (asprintf(&path, "%s%s", name[0] == '/' ? "" : reader->folder, name) == -1)
        problem_memory(problems);
    else {
        success = source_read_file(reader, path, reading);
        free(path);
    }
    free(name);
    return success;
}

/* Notes where the text's next line comes from. */
static bool source_begin_line(struct reader *reader, const struct origin *origin)
{
    struct source *source = reader->source;
    size_t count = source->line_count;
    if ((count & (count - 1)) == 0) { /* it is full */
        struct origin *grown = reallocarray(source->lines, count == 0 ? 1 : 2 * count, sizeof *grown);
        if (grown == NULL) {
            problem_memory(reader->parsed->problems);
            return false;
        }
        source->lines = grown;
    }
    source->lines[source->line_count++] = *origin;
    return true;
}

static bool source_read_line(struct reader *reader, const struct reading *reading, const char *line,
                             size_t length)
{
    if (strlen(line) < length) {
        problem_error(reader->parsed->problems, &reading->origin, NULL, "there is a zero byte in this line");
        return false;
    }
    const char *argument = include_argument(reader, line);
    if (argument != NULL)
        return read_include(reader, reading, argument);
    reader->origin = &reading->origin;
    scan_line(reader, line);
    fprintf(reader->text, "%s%s", line, line[length - 1] == '\n' ? "" : "\n");
    return source_begin_line(reader, &reading->origin);
}

/* Reads to the end, or a byte more than a configuration may have, with room for another byte; NULL with errno. The
 * buffer grows as it is filled: one that is large enough for all, once freed, teaches malloc() to keep that much for
 * ever. */
static char *source_read_bytes(FILE *file, size_t *length)
{
    char *text = NULL;
    size_t capacity = READ_SIZE / 2;
    do {
        capacity = 2 * capacity < SOURCE_SIZE_MAX + 1 ? 2 * capacity : SOURCE_SIZE_MAX + 1;
        char *grown = realloc(text, capacity + 1);
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
static char *source_load(struct reader *reader, const char *path, const struct origin *place,
                         struct stat *status, size_t *length)
{
    char *text = NULL;
    FILE *file = fopen(path, "re");
    const char *reason = NULL;
    if (file == NULL || fstat(fileno(file), status) == -1)
        reason = strerror(errno);
    else if (!S_ISREG(status->st_mode) && !S_ISFIFO(status->st_mode) && !S_ISCHR(status->st_mode))
        reason = "it is no file";
    else if ((text = source_read_bytes(file, length)) == NULL || ferror(file))
        reason = strerror(errno);
    else if (*length > SOURCE_SIZE_MAX)
        reason = "it is too large to be a configuration";
    if (file != NULL)
        fclose(file);
    if (reason == NULL)
        return text;
    free(text);
    if (place->line > 0)
        problem_error(reader->parsed->problems, place, NULL, "@include \"%s\": %s", path, reason);
    else
        problem_error(reader->parsed->problems, place, NULL, "%s", reason);
    return NULL;
}

/* Whether a file may be read within others; else a problem. */
static bool source_may_include(const struct reader *reader, const char *path, const struct reading *parent,
                               const struct stat *status)
{
    int depth = 0;
    for (const struct reading *reading = parent; reading != NULL; reading = reading->parent) {
        depth++;
        if (reading->device != status->st_dev || reading->inode != status->st_ino)
            continue;
        problem_error(reader->parsed->problems, &parent->origin, NULL,
                      "@include \"%s\": the file includes itself", path);
        return false;
    }
    if (depth > INCLUDE_DEPTH_MAX)
        problem_error(reader->parsed->problems, &parent->origin, NULL,
                      "@include \"%s\": more than %d files deep", path, INCLUDE_DEPTH_MAX);
    return depth <= INCLUDE_DEPTH_MAX;
}

static bool source_read_file(struct reader *reader, const char *path, const struct reading *parent)
{
    struct reading reading = {
        .parent = parent,
        .origin = { .kind = ORIGIN_FILE, .name = parsed_name(reader->parsed, path) },
    };
    struct stat status;
    size_t length = 0;
    char *text =
        source_load(reader, path, parent == NULL ? &reading.origin : &parent->origin, &status, &length);
    bool success = text != NULL && source_may_include(reader, path, parent, &status);
    if (success) {
        reading.device = status.st_dev;
        reading.inode = status.st_ino;
        parsed_note_file(reader->parsed, path);
        for (char *line = text, *end; line < text + length; line = end) {
            char *feed = memchr(line, '\n', (size_t)(text + length - line));
            end = feed == NULL ? text + length : feed + 1;
            const char next = *end;
            *end = '\0';
            reading.origin.line++;
            success = source_read_line(reader, &reading, line, (size_t)(end - line)) && success;
            *end = next;
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
    size_t size;
    *source = (struct source){ 0 };
    reader.folder = folder;
    reader.text = open_memstream(&source->text, &size);
    if (folder == NULL || reader.text == NULL)
        problem_memory(parsed->problems);
    bool success = folder != NULL && reader.text != NULL && source_read_file(&reader, path, NULL);
    bool is_short = reader.text != NULL && ferror(reader.text) != 0;
    if (reader.text != NULL && (fclose(reader.text) != 0 || is_short || source->text == NULL)) {
        problem_memory(parsed->problems);
        success = false;
    }
    free(folder);
    return success;
}

void source_free(struct source *source)
{
    free(source->text);
    free(source->lines);
}

struct origin source_origin(const struct source *source, unsigned line)
{
    if (source->line_count == 0)
        return (struct origin){ .kind = ORIGIN_DEFAULT };
    if (line == 0)
        line = 1;
    return source->lines[line > source->line_count ? source->line_count - 1 : line - 1];
}
