/* The place where a test of the log works: a directory of its own, and a standard error that goes where the
 * test wants it. */
#ifndef TESTS_LOG_PLACE_H
#define TESTS_LOG_PLACE_H

#include "base/log.h"

/* Longest wait for anything that has to happen, in milliseconds; reached only when a test fails. */
#define LOG_PLACE_PATIENCE 20000

/* A line's time, as a regular expression. */
#define LOG_STAMP "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

/* Made and freed by the set-up and tear-down of each test. */
struct log_place {
    char directory[64];
    char path[96]; /* a file in the directory */
    int saved_stderr;
    int pipe[2]; /* -1 where closed or not made */
};

/* For cmocka. The tear-down stops the log, whatever its state, and removes the directory. */
int log_place_setup(void **state);
int log_place_teardown(void **state);

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, log_place_setup, log_place_teardown)

/* Closes one end of the pipe, if it is open. */
void log_place_close(int *fd);

/* Standard error goes from now on into the file of the test, into a pipe that the test reads, or where it
 * went before. */
void log_place_stderr_to_file(struct log_place *place);
void log_place_stderr_to_pipe(struct log_place *place);
void log_place_stderr_back(struct log_place *place);

/* Starts the log at level debug; the test fails if that does. */
void log_place_start(enum log_output output, const char *path, enum log_format format);

/* The whole file as a string that the caller frees. */
char *log_place_text(const char *path);

/* Fails unless the text, or the file, matches the extended regular expression. */
void log_place_assert_matches(const char *text, const char *pattern);
void log_place_assert_file(const char *path, const char *pattern);

/* Waits until the log has dropped at least `count` lines, or until `word` is in the file. */
void log_place_await_dropped(uint64_t count);
void log_place_await_in_file(const char *path, const char *word);

#endif
