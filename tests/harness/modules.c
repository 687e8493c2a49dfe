#include "harness/modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((size_t)16 * 1024 * 1024)

const char *module_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    const char *folder = getenv("TEST_MODULES");
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder != NULL ? folder : ".", name);
    return path;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;

    while ((text = strchr(text, '\n')) != NULL) {
        lines++;
        text++;
    }
    return lines;
}

char *module_wait_lines_at(const struct fixture *fixture, const char *name, size_t lines, struct place place)
{
    char path[FIXTURE_PATH];
    char *text = malloc(FILE_MAX);
    int64_t deadline = test_deadline(TEST_PATIENCE);

    assert_non_null(text);
    text[0] = '\0';
    fixture_path(fixture, name, path);
    for (;;) {
        process_read_file(path, text, FILE_MAX);
        if (count_lines(text) >= lines)
            return text;
        if (test_now() >= deadline)
            test_fail_at(place, "%s has %zu lines instead of %zu:\n%s", name, count_lines(text), lines, text);
        test_pause();
    }
}

void module_expect_lines_at(const struct fixture *fixture, const char *name, const char *expected,
                            struct place place)
{
    char *text = module_wait_lines_at(fixture, name, count_lines(expected), place);

    if (strcmp(text, expected) != 0)
        test_fail_at(place, "expected:\n%sgot:\n%s", expected, text);
    free(text);
}

void module_drop_lines(char *text, const char *having)
{
    char *out = text;
    for (char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n") + 1;
        char end = line[length - 1];
        line[length - 1] = '\0';
        bool is_kept = strstr(line, having) == NULL;
        line[length - 1] = end;
        if (is_kept)
            memmove(out, line, length);
        out += is_kept ? length : 0;
        line += length;
    }
    *out = '\0';
}
