/* The writer of the log: it neither keeps callers waiting, tears lines, spins nor loses count, whatever its
 * output does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "log_place.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Reads what a pipe or socket gives, until its end or until a text is seen. */
struct reading {
    int fd;
    const char *until; /* NULL: to the end */
    char *text;
    size_t length;
    size_t size;
};

static void *reading_run(void *data)
{
    struct reading *reading = data;
    for (;;) {
        if (reading->size - reading->length < 65536) {
            reading->size = reading->size * 2 + 131072;
            reading->text = realloc(reading->text, reading->size);
            if (reading->text == NULL)
                abort();
        }
        struct pollfd waiting = { .fd = reading->fd, .events = POLLIN };
        if (poll(&waiting, 1, LOG_PLACE_PATIENCE) <= 0)
            break;
        ssize_t count = read(reading->fd, reading->text + reading->length, 65536 - 1);
        if (count <= 0)
            break;
        size_t searched = reading->length < 256 ? 0 : reading->length - 256;
        reading->length += (size_t)count;
        reading->text[reading->length] = '\0';
        if (reading->until != NULL && strstr(reading->text + searched, reading->until) != NULL)
            break;
    }
    return NULL;
}

/* Counts the lines "NUMBER xxx" that came whole, checks that their numbers rise, and adds up what was said to
 * be dropped. */
static uint64_t count_numbered(char *text, uint64_t *announced)
{
    uint64_t lines = 0;
    long last = -1;
    *announced = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        long number;
        unsigned long long count;
        int end = 0;
        if (sscanf(line, "%*s warning log: %llu lines were dropped because the output did not take them%n",
                   &count, &end) == 1 &&
            end > 0) {
            *announced += count;
            continue;
        }
        if (sscanf(line, "%*s info numbered: %ld x%n", &number, &end) != 1 || end == 0)
            fail_msg("a torn line: %s", line);
        if (strspn(line + end - 1, "x") != 900)
            fail_msg("a torn line: %s", line);
        assert_true(number > last);
        last = number;
        lines++;
    }
    return lines;
}

static void write_numbered(int first, int count)
{
    char filling[901];
    memset(filling, 'x', 900);
    filling[900] = '\0';
    for (int i = first; i < first + count; i++)
        log_info("numbered", "%d %s", i, filling);
}

static void test_stuck_pipe_costs_lines_not_time(void **state)
{
    struct log_place *place = *state;
    log_place_stderr_to_pipe(place);
    log_place_start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    write_numbered(0, 2000); /* returns only because nothing waits for the pipe, which nobody reads */
    uint64_t dropped = log_dropped();
    struct reading reading = { .fd = place->pipe[0], .until = "lines were dropped" };
    reading_run(&reading); /* the announcement comes by itself, without another line */
    write_numbered(2000, 10);
    pthread_t reader;
    reading.until = NULL;
    assert_int_equal(pthread_create(&reader, NULL, reading_run, &reading), 0);
    log_stop();
    log_place_stderr_back(place); /* the last writing end: the reader sees the end */
    pthread_join(reader, NULL);
    uint64_t announced;
    uint64_t lines = count_numbered(reading.text, &announced);
    free(reading.text);
    assert_true(dropped > 1000);
    assert_true(lines >= 256);
    assert_int_equal(announced, dropped);
    assert_int_equal(log_dropped(), dropped);
    assert_int_equal(lines + dropped, 2010);
}

static void test_dropping_again_and_again(void **state)
{
    struct log_place *place = *state;
    log_place_stderr_to_pipe(place);
    log_place_start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    struct reading reading = { .fd = place->pipe[0] };
    for (int round = 0; round < 20; round++) {
        write_numbered(round * 1000, 1000);
        reading.until = "lines were dropped";
        reading_run(&reading);
    }
    pthread_t reader;
    reading.until = NULL;
    assert_int_equal(pthread_create(&reader, NULL, reading_run, &reading), 0);
    log_stop();
    log_place_stderr_back(place);
    pthread_join(reader, NULL);
    uint64_t announced;
    uint64_t lines = count_numbered(reading.text, &announced);
    free(reading.text);
    assert_int_equal(announced, log_dropped());
    assert_int_equal(lines + announced, 20000);
}

static void test_stop_leaves_a_stuck_pipe(void **state)
{
    struct log_place *place = *state;
    log_place_stderr_to_pipe(place);
    log_place_start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    write_numbered(0, 1000);
    int64_t before = clock_now();
    log_stop();
    int64_t stopped = clock_now();
    log_info(NULL, "directly, into the same pipe");
    int64_t written = clock_now();
    log_place_stderr_back(place);
    assert_in_range(stopped - before, 0, 2500000); /* two seconds, and a busy machine */
    assert_in_range(written - stopped, 0, 2500000);
    /* All that did not get into the pipe is counted. */
    struct reading reading = { .fd = place->pipe[0] };
    reading_run(&reading);
    uint64_t announced;
    uint64_t lines = count_numbered(reading.text, &announced);
    free(reading.text);
    assert_int_equal(lines + log_dropped(), 1000);
}

static void test_stop_writes_what_a_slow_reader_takes(void **state)
{
    struct log_place *place = *state;
    log_place_stderr_to_pipe(place);
    log_place_start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    write_numbered(0, 200);
    struct reading reading = { .fd = place->pipe[0] };
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, reading_run, &reading), 0);
    log_stop();
    log_place_stderr_back(place);
    pthread_join(reader, NULL);
    uint64_t announced;
    assert_int_equal(count_numbered(reading.text, &announced), 200);
    assert_int_equal(announced, 0);
    free(reading.text);
}

static int64_t cpu_time(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

static void test_full_device(void **state)
{
    (void)state;
    log_place_start(LOG_OUTPUT_FILE, "/dev/full", LOG_FORMAT_TEXT);
    for (uint64_t i = 1; i <= 100; i++) {
        log_info(NULL, "nobody will read this");
        log_place_await_dropped(i);
    }
    assert_int_equal(log_dropped(), 100);
    int64_t before = cpu_time();
    poll(NULL, 0, 300); /* the span that is measured */
    assert_in_range(cpu_time() - before, 0, 100000);
    log_stop();
    assert_int_equal(log_dropped(), 100);
}

/* A file that can't grow takes a part of a line; when it can grow again, lines begin on lines of their own.
 */
static void test_full_file_recovers(void **state)
{
    struct log_place *place = *state;
    struct rlimit unlimited;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    struct rlimit limited = { .rlim_cur = 55, .rlim_max = unlimited.rlim_max };
    log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
    log_info(NULL, "fits"); /* 35 bytes with its time */
    log_place_await_in_file(place->path, "fits\n");
    log_info(NULL, "does not fit");
    log_place_await_dropped(1);
    log_info(NULL, "lost");
    log_place_await_dropped(2);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    log_info(NULL, "fits again");
    log_stop();
    log_place_assert_file(place->path,
                          "^" LOG_STAMP " info fits\n[0-9T:.-]+\n" LOG_STAMP " warning log: 2 lines were "
                          "dropped because the output did not take them\n" LOG_STAMP " info fits again\n$");
}

static void test_reader_gone(void **state)
{
    struct log_place *place = *state;
    log_place_stderr_to_pipe(place);
    log_place_start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    log_place_close(&place->pipe[0]);
    log_info(NULL, "SIGPIPE would end the test here");
    log_place_await_dropped(1);
    log_stop();
    log_place_stderr_back(place);
    assert_int_equal(log_dropped(), 1);
}

static void test_signals_stay_with_the_others(void **state)
{
    struct log_place *place = *state;
    sigset_t usr1;
    sigset_t before;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0); /* would end the process if the thread took it */
    struct timespec patience = { .tv_sec = LOG_PLACE_PATIENCE / 1000 };
    assert_int_equal(sigtimedwait(&usr1, NULL, &patience), SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

static void write_through(struct log_place *place, int reading_end)
{
    struct reading reading = { .fd = reading_end };
    pthread_t reader;
    log_place_start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    write_numbered(0, 200); /* far more than the pipe holds, less than the ring does */
    assert_int_equal(pthread_create(&reader, NULL, reading_run, &reading), 0);
    log_stop();
    log_place_stderr_back(place);
    pthread_join(reader, NULL);
    uint64_t announced;
    assert_int_equal(count_numbered(reading.text, &announced), 200);
    assert_int_equal(log_dropped(), 0);
    free(reading.text);
}

static void test_non_blocking_pipe(void **state)
{
    struct log_place *place = *state;
    log_place_stderr_to_pipe(place);
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK), 0);
    write_through(place, place->pipe[0]);
}

static void test_socket(void **state)
{
    struct log_place *place = *state;
    int small = 4096;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, place->pipe), 0);
    assert_int_equal(setsockopt(place->pipe[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_true(dup2(place->pipe[1], STDERR_FILENO) >= 0);
    log_place_close(&place->pipe[1]);
    write_through(place, place->pipe[0]);
}

/* Others may share standard error: its flags are not the log's to change. */
static void test_flags_of_stderr_are_kept(void **state)
{
    struct log_place *place = *state;
    log_place_stderr_to_pipe(place);
    int before = fcntl(STDERR_FILENO, F_GETFL);
    log_place_start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    log_info(NULL, "a line");
    struct reading reading = { .fd = place->pipe[0], .until = "a line\n" };
    reading_run(&reading);
    free(reading.text);
    int during = fcntl(STDERR_FILENO, F_GETFL);
    log_stop();
    int after = fcntl(STDERR_FILENO, F_GETFL);
    log_place_stderr_back(place);
    assert_int_equal(during, before);
    assert_int_equal(after, before);
}

/* ---- many threads ---- */

#define THREADS          4
#define LINES_PER_THREAD 10000

static void *writing_run(void *data)
{
    int thread = *(int *)data;
    for (int i = 0; i < LINES_PER_THREAD; i++)
        log_info("threads", "%d %d %.*s|", thread, i, i % 50,
                 "..................................................");
    return NULL;
}

static void check_thread_lines(char *text, uint64_t *lines, uint64_t *announced)
{
    int next[THREADS] = { 0 };
    *lines = *announced = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int thread = -1;
        int number = -1;
        unsigned long long count;
        int end = 0;
        if (sscanf(line, "%*s warning log: %llu lines were dropped%n", &count, &end) == 1 && end > 0) {
            *announced += count;
            continue;
        }
        if (sscanf(line, "%*s info threads: %d %d %n", &thread, &number, &end) != 2 || end == 0 ||
            thread < 0 || thread >= THREADS || number < next[thread] ||
            strspn(line + end, ".") != (size_t)(number % 50) || strcmp(line + end + number % 50, "|") != 0)
            fail_msg("a torn line: %s", line);
        next[thread] = number + 1;
        (*lines)++;
    }
}

static void test_threads(void **state)
{
    struct log_place *place = *state;
    struct reading reading = { .fd = -1 };
    pthread_t reader;
    pthread_t writers[THREADS];
    int numbers[THREADS];
    log_place_stderr_to_pipe(place);
    reading.fd = place->pipe[0];
    assert_int_equal(pthread_create(&reader, NULL, reading_run, &reading), 0);
    log_place_start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&writers[i], NULL, writing_run, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(writers[i], NULL);
    log_stop();
    log_place_stderr_back(place);
    pthread_join(reader, NULL);
    uint64_t lines;
    uint64_t announced;
    check_thread_lines(reading.text, &lines, &announced);
    free(reading.text);
    assert_int_equal(announced, log_dropped());
    assert_int_equal(lines + announced, THREADS * LINES_PER_THREAD);
}

/* A file of a module, closed by a reload while it takes nothing: nobody waits for it before the end. */
static void test_closing_a_file_does_not_wait(void **state)
{
    const struct log_place *place = *state;
    char error[200], line[1001];
    assert_int_equal(mkfifo(place->path, 0600), 0);
    int reader = open(place->path, O_RDWR | O_CLOEXEC);
    assert_int_not_equal(reader, -1);
    struct log_file *file = log_file_open(place->path, error, sizeof error);
    assert_non_null(file);
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    for (int i = 0; i < 200; i++) /* more than a pipe holds */
        log_file_write(file, line, sizeof line);
    int64_t begun = clock_now();
    log_file_close(file);
    assert_true(clock_now() - begun < 1000000);
    log_stop();
    assert_true(clock_now() - begun > 1000000); /* which has waited for a reader */
    close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_stuck_pipe_costs_lines_not_time),
        LOG_TEST(test_dropping_again_and_again),
        LOG_TEST(test_stop_leaves_a_stuck_pipe),
        LOG_TEST(test_stop_writes_what_a_slow_reader_takes),
        LOG_TEST(test_full_device),
        LOG_TEST(test_full_file_recovers),
        LOG_TEST(test_reader_gone),
        LOG_TEST(test_signals_stay_with_the_others),
        LOG_TEST(test_non_blocking_pipe),
        LOG_TEST(test_socket),
        LOG_TEST(test_flags_of_stderr_are_kept),
        LOG_TEST(test_threads),
        LOG_TEST(test_closing_a_file_does_not_wait),
    };
    return cmocka_run_group_tests_name("log_writer", tests, NULL, NULL);
}
