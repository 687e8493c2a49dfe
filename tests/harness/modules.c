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

static bool is_among(const char *kind, size_t length, const char *const *kinds)
{
    for (; *kinds != NULL; kinds++)
        if (strlen(*kinds) == length && memcmp(*kinds, kind, length) == 0)
            return true;
    return false;
}

char *module_queries(const char *json, const char *const *kinds)
{
    static const char kind_key[] = "\"kind\":\"", query_key[] = "\",\"query\":\"";
    char *queries = NULL;
    size_t size;
    FILE *stream = open_memstream(&queries, &size);

    assert_non_null(stream);
    while ((json = strstr(json, kind_key)) != NULL) {
        const char *kind = json + strlen(kind_key);
        const char *query = strstr(kind, query_key);
        assert_non_null(query);
        size_t kind_length = (size_t)(query - kind);
        query += strlen(query_key);
        const char *end = query;
        while (*end != '"')
            end += *end == '\\' ? 2 : 1;
        if (is_among(kind, kind_length, kinds))
            fprintf(stream, "%.*s %.*s\n", (int)kind_length, kind, (int)(end - query), query);
        json = end;
    }
    assert_int_equal(fclose(stream), 0);
    return queries;
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
