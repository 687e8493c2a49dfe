#include "unit/config_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT_WARNING "warning: user: without it everything runs as root\n"

/* Takes every `word` out of the text, or puts something else in its place; frees the text. */
static char *replace_all(char *text, const char *word, const char *replacement)
{
    char *replaced = NULL;
    size_t size;
    FILE *stream = open_memstream(&replaced, &size);
    assert_non_null(stream);
    const char *rest = text;
    for (const char *found; (found = strstr(rest, word)) != NULL; rest = found + strlen(word)) {
        fwrite(rest, 1, (size_t)(found - rest), stream);
        fputs(replacement, stream);
    }
    fputs(rest, stream);
    assert_int_equal(fclose(stream), 0);
    free(text);
    return replaced;
}

int config_place_setup(void **state)
{
    struct config_place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    strcpy(place->directory, "/tmp/proximux-config-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    *state = place;
    return 0;
}

static void remove_folder(const char *path)
{
    DIR *directory = opendir(path);
    assert_non_null(directory);
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type == DT_DIR)
            remove_folder(name);
        else
            assert_int_equal(unlink(name), 0);
    }
    closedir(directory);
    assert_int_equal(rmdir(path), 0);
}

static void forget_load(struct config_place *place)
{
    config_free(&place->config);
    free(place->said);
    place->said = NULL;
}

int config_place_teardown(void **state)
{
    struct config_place *place = *state;
    forget_load(place);
    remove_folder(place->directory);
    free(place);
    return 0;
}

const char *config_place_path(const struct config_place *place, const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", place->directory, name);
    return path;
}

void config_place_write_bytes(const struct config_place *place, const char *name, const char *bytes,
                              size_t length)
{
    const char *slash = strchr(name, '/');
    if (slash != NULL) {
        char folder[128];
        snprintf(folder, sizeof folder, "%s/%.*s", place->directory, (int)(slash - name), name);
        mkdir(folder, 0755); /* it may be there already; if not, the file can't be made */
    }
    FILE *stream = fopen(config_place_path(place, name), "w");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, length, stream), length);
    assert_int_equal(fclose(stream), 0);
}

static void write_text(const struct config_place *place, const char *name, const char *format,
                       va_list arguments)
{
    char *text = NULL;
    assert_int_not_equal(vasprintf(&text, format, arguments), -1);
    text = replace_all(text, "DIR", place->directory);
    config_place_write_bytes(place, name, text, strlen(text));
    free(text);
}

void config_place_write(const struct config_place *place, const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_text(place, name, format, arguments);
    va_end(arguments);
}

/* The problems as text, without the directory of the test and the warning that only root gets. */
static char *print_problems(const struct config_place *place)
{
    char *said = NULL;
    char directory[80];
    size_t size;
    FILE *stream = open_memstream(&said, &size);
    assert_non_null(stream);
    config_print_problems(&place->config, stream);
    assert_int_equal(fclose(stream), 0);
    snprintf(directory, sizeof directory, "%s/", place->directory);
    return replace_all(replace_all(said, directory, ""), ROOT_WARNING, "");
}

void config_place_load_source(struct config_place *place, const struct config_source *source)
{
    forget_load(place);
    config_load(source, &place->config);
    place->said = print_problems(place);
}

void config_place_load(struct config_place *place, char **environment)
{
    static char *none[] = { NULL };
    const struct config_source source = {
        .file = config_place_path(place, "main.conf"),
        .environment = environment == NULL ? none : environment,
    };
    config_place_load_source(place, &source);
}

void config_place_read(struct config_place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_text(place, "main.conf", format, arguments);
    va_end(arguments);
    config_place_load(place, NULL);
}

void config_place_expect(const struct config_place *place, const char *said)
{
    bool failed = strstr(said, "error: ") != NULL;
    assert_string_equal(place->said, said);
    assert_int_equal(place->config.errors > 0, failed);
    assert_int_equal(place->config.settings == NULL, failed);
}

char *config_place_dump(const struct config_place *place)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    config_dump(&place->config, stream);
    assert_int_equal(fclose(stream), 0);
    return text;
}
