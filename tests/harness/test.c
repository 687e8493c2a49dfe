#include "harness/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

void test_fail_at(struct place place, const char *format, ...)
{
    va_list arguments;
    char text[1024];

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    print_error("%s\n", text);
    _fail(place.file, place.line);
    abort(); /* not reached: _fail() jumps back into the runner */
}

int64_t test_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* How many times longer than the plain program this one may take. */
static int64_t slowness(void)
{
    if (getenv("TEST_WRAPPER") != NULL)
        return 10;
    return getenv("TEST_SANITIZED") != NULL ? 4 : 1;
}

int64_t test_deadline(int64_t milliseconds)
{
    return test_now() + milliseconds * slowness();
}

int test_stretched(int milliseconds)
{
    return (int)(milliseconds * slowness());
}

int test_remaining(int64_t deadline)
{
    int64_t left = deadline - test_now();

    return left > 0 ? (int)left : 0;
}

void test_pause(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

size_t test_scaled(size_t full, size_t least)
{
    const char *text = getenv("TEST_SCALE");
    double scale = text != NULL ? strtod(text, NULL) : 1;
    double size = (double)full * (scale > 0 ? scale : 1);

    return size > (double)least ? (size_t)size : least;
}

bool test_figures_count(void)
{
    return getenv("TEST_WRAPPER") == NULL && getenv("TEST_SANITIZED") == NULL;
}

bool test_allow_descriptors(size_t needed)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= needed;
}
