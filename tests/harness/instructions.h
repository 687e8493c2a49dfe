/* Instructions of the program for one exchange, counted by callgrind. */
#ifndef HARNESS_INSTRUCTIONS_H
#define HARNESS_INSTRUCTIONS_H

#include "harness/fixture.h"

/* Skips the test, and says so, where valgrind is missing or the figures would mean nothing. */
void instructions_skip_unless_counted(void);

/* Counts for lines that one client of the listener "main" gets echoed, one after the other. The configuration has
 * `global` at its top, `keys` in that listener, and `listeners` (NULL: none; each with a comma before it) behind it.
 * Start and end cancel out, since two runs differ in the number of exchanges only. */
long long instructions_count(struct fixture *fixture, const char *global, const char *keys,
                             const char *listeners);

#endif
