#include "log_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int log_place_setup(void **state)
{
    struct log_place *place = calloc(1, sizeof *place);
    assert_non_null(place);
    strcpy(place->directory, "/tmp/proximux-log-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->path, sizeof place->path, "%s/log", place->directory);
    place->saved_stderr = dup(STDERR_FILENO);
    assert_true(place->saved_stderr >= 0);
    place->pipe[0] = place->pipe[1] = -1;
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    *state = place;
    return 0;
}

void log_place_close(int *fd)
{
    if (*fd != -1)
        close(*fd);
    *fd = -1;
}

int log_place_teardown(void **state)
{
    struct log_place *place = *state;
    dup2(place->saved_stderr, STDERR_FILENO);
    close(place->saved_stderr);
    log_place_close(&place->pipe[0]);
    log_stop();
    log_place_close(&place->pipe[1]);
    char moved[128];
    snprintf(moved, sizeof moved, "%s.1", place->path);
    unlink(moved);
    if (unlink(place->path) == -1)
        rmdir(place->path);
    assert_int_equal(rmdir(place->directory), 0);
    free(place);
    return 0;
}

void log_place_stderr_to_file(struct log_place *place)
{
    int fd = open(place->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
}

void log_place_stderr_to_pipe(struct log_place *place)
{
    assert_int_equal(pipe2(place->pipe, O_CLOEXEC), 0);
    assert_true(dup2(place->pipe[1], STDERR_FILENO) >= 0);
    log_place_close(&place->pipe[1]);
}

void log_place_stderr_back(struct log_place *place)
{
    assert_true(dup2(place->saved_stderr, STDERR_FILENO) >= 0);
}

void log_place_start(enum log_output output, const char *path, enum log_format format)
{
    struct log_options options = {
        .level = LOG_LEVEL_DEBUG, .output = output, .path = path, .format = format
    };
    char error[256] = "";
    bool started = log_start(&options, error, sizeof error);
    if (!started)
        fail_msg("%s", error);
}

char *log_place_text(const char *path)
{
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    size_t length = fread(text, 1, (1 << 20) - 1, stream);
    text[length] = '\0';
    fclose(stream);
    return text;
}

void log_place_assert_matches(const char *text, const char *pattern)
{
    regex_t compiled;
    assert_int_equal(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int result = regexec(&compiled, text, 0, NULL, 0);
    regfree(&compiled);
    if (result != 0)
        fail_msg("\"%s\" does not match \"%s\"", text, pattern);
}

void log_place_assert_file(const char *path, const char *pattern)
{
    char *text = log_place_text(path);
    log_place_assert_matches(text, pattern);
    free(text);
}

void log_place_await_dropped(uint64_t count)
{
    for (int waited = 0; log_dropped() < count; waited++) {
        assert_true(waited < LOG_PLACE_PATIENCE);
        poll(NULL, 0, 1);
    }
}

void log_place_await_in_file(const char *path, const char *word)
{
    for (int waited = 0;; waited++) {
        char *text = log_place_text(path);
        bool found = strstr(text, word) != NULL;
        free(text);
        if (found)
            return;
        assert_true(waited < LOG_PLACE_PATIENCE);
        poll(NULL, 0, 1);
    }
}
