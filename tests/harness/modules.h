/* Modules that were built for tests, and what they have written. */
#ifndef HARNESS_MODULES_H
#define HARNESS_MODULES_H

#include "harness/fixture.h"

/* The path of a module, such as "tests/modules/recorder.so". Valid until the fourth call after this one. */
const char *module_path(const char *name);

/* Waits until a file in the directory has so many lines, and compares them with `expected`. */
#define module_expect_lines(fixture, name, expected)                                                         \
    module_expect_lines_at((fixture), (name), (expected), HERE)
void module_expect_lines_at(const struct fixture *fixture, const char *name, const char *expected,
                            struct place place);

/* Waits until a file has at least so many lines; returns its text, to be freed. */
#define module_wait_lines(fixture, name, lines) module_wait_lines_at((fixture), (name), (lines), HERE)
char *module_wait_lines_at(const struct fixture *fixture, const char *name, size_t lines, struct place place);

/* Takes the lines out that have this text. */
void module_drop_lines(char *text, const char *having);

#endif
