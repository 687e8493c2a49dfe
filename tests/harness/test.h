/* What every test uses: failing with the caller's place, the clock, deadlines and the scale of a run.
 *
 * Environment of a run:
 *   TEST_SCALE      factor for sizes (1 if unset): 0.1 makes a run ten times smaller
 *   TEST_WRAPPER    command that the program is started through, such as "valgrind -q"
 *   TEST_SANITIZED  set if the program was built with sanitizers: memory figures mean nothing then */
#ifndef HARNESS_TEST_H
#define HARNESS_TEST_H

/* cmocka needs these five first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

/* A line of a test: failures are reported there and not inside of the harness. */
struct place {
    const char *file;
    int line;
};

#define HERE ((struct place){ __FILE__, __LINE__ })

/* Ends the running test as failed. Only for the thread that runs the test. */
void test_fail_at(struct place place, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* Fails the test unless the condition holds. */
#define test_require(condition, ...)                                                                         \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            test_fail_at(HERE, __VA_ARGS__);                                                                 \
    } while (0)

/* Milliseconds of the monotonic clock. */
int64_t test_now(void);

/* The point of time that lies so many milliseconds ahead, more where the program runs slowly. */
int64_t test_deadline(int64_t milliseconds);

/* Milliseconds until then, for poll(): never negative. */
int test_remaining(int64_t deadline);

/* A time of the program's configuration, in milliseconds: longer where the program runs slowly. */
int test_stretched(int milliseconds);

/* How long to wait for what must happen, milliseconds, before test_deadline() stretches it. */
#define TEST_PATIENCE 10000

/* Pause between two looks at a condition that has no descriptor to wait for. */
void test_pause(void);

/* Waits until the expression holds, and fails the test if it does not in time. */
#define test_wait_until(condition)                                                                           \
    do {                                                                                                     \
        int64_t wait_deadline = test_deadline(TEST_PATIENCE);                                                \
        while (!(condition)) {                                                                               \
            test_require(test_now() < wait_deadline, "never came true: %s", #condition);                     \
            test_pause();                                                                                    \
        }                                                                                                    \
    } while (0)

/* A size or count of this run: `full` by TEST_SCALE, at least `least`. */
size_t test_scaled(size_t full, size_t least);

/* Whether memory and processor figures of the program can be trusted: not under a wrapper or sanitizers. */
bool test_figures_count(void);

/* Lifts the limit of descriptors of this process to what is allowed. False if fewer than `needed` are. */
bool test_allow_descriptors(size_t needed);

#endif
