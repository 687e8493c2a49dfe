/* The clock of the program. Code that measures time takes it from here as a parameter. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic time in microseconds. */
static inline int64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The wall clock in milliseconds since 1970: to be shown, not for measuring. */
static inline int64_t clock_wall(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#define CLOCK_TEXT_SIZE 64

/* A moment of the wall clock as UTC with milliseconds, as in RFC 3339. `text` holds CLOCK_TEXT_SIZE bytes. */
void clock_print(int64_t wall, char *text);

#endif
