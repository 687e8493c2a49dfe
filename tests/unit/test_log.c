/* The log: formats, limits, and that it neither waits, tears lines nor loses count, whatever its output does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/log_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longest wait for anything that has to happen, in milliseconds; reached only when the test fails. */
#define PATIENCE 20000

#define STAMP "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

/* ---- syslog, in place of the C library's ---- */

static _Atomic int syslog_calls;
static int syslog_priorities[8];
static char syslog_texts[8][256];
static char syslog_ident[64];

void openlog(const char *ident, int option, int facility);
void closelog(void);
void syslog(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __syslog_chk(int priority, int flag, const char *format, ...) __attribute__((format(printf, 3, 4)));

void openlog(const char *ident, int option, int facility)
{
    (void)option;
    (void)facility;
    snprintf(syslog_ident, sizeof syslog_ident, "%s", ident);
}

void closelog(void)
{
}

static void syslog_keep(int priority, const char *format, va_list arguments)
{
    int call = atomic_load(&syslog_calls);
    if (call == 8)
        return;
    syslog_priorities[call] = priority;
    vsnprintf(syslog_texts[call], sizeof syslog_texts[call], format, arguments);
    atomic_store(&syslog_calls, call + 1);
}

void syslog(int priority, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    syslog_keep(priority, format, arguments);
    va_end(arguments);
}

/* What syslog() is when the program is built with _FORTIFY_SOURCE. */
void __syslog_chk(int priority, int flag, const char *format, ...)
{
    (void)flag;
    va_list arguments;
    va_start(arguments, format);
    syslog_keep(priority, format, arguments);
    va_end(arguments);
}

/* ---- the place of a test ---- */

struct place {
    char directory[64];
    char path[96]; /* a file in the directory */
    int saved_stderr;
    int pipe[2]; /* -1 where closed or not made */
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
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

static void close_end(int *fd)
{
    if (*fd != -1)
        close(*fd);
    *fd = -1;
}

static int teardown(void **state)
{
    struct place *place = *state;
    dup2(place->saved_stderr, STDERR_FILENO);
    close(place->saved_stderr);
    close_end(&place->pipe[0]);
    log_stop();
    close_end(&place->pipe[1]);
    char moved[128];
    snprintf(moved, sizeof moved, "%s.1", place->path);
    unlink(moved);
    if (unlink(place->path) == -1)
        rmdir(place->path);
    assert_int_equal(rmdir(place->directory), 0);
    free(place);
    return 0;
}

/* Standard error goes into the file of the test from now on. */
static void stderr_to_file(struct place *place)
{
    int fd = open(place->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
}

/* Standard error goes into a pipe that the test reads, from now on. */
static void stderr_to_pipe(struct place *place)
{
    assert_int_equal(pipe2(place->pipe, O_CLOEXEC), 0);
    assert_true(dup2(place->pipe[1], STDERR_FILENO) >= 0);
    close_end(&place->pipe[1]);
}

static void stderr_back(struct place *place)
{
    assert_true(dup2(place->saved_stderr, STDERR_FILENO) >= 0);
}

static void start(enum log_output output, const char *path, enum log_format format)
{
    struct log_options options = {
        .level = LOG_LEVEL_DEBUG, .output = output, .path = path, .format = format
    };
    char error[256] = "";
    bool started = log_start(&options, error, sizeof error);
    if (!started)
        fail_msg("%s", error);
}

/* The whole file as a string that the caller frees. */
static char *file_text(const char *path)
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

static void assert_matches(const char *text, const char *pattern)
{
    regex_t compiled;
    assert_int_equal(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int result = regexec(&compiled, text, 0, NULL, 0);
    regfree(&compiled);
    if (result != 0)
        fail_msg("\"%s\" does not match \"%s\"", text, pattern);
}

static void assert_file_matches(const char *path, const char *pattern)
{
    char *text = file_text(path);
    assert_matches(text, pattern);
    free(text);
}

/* Waits until the log has dropped at least so many lines. */
static void await_dropped(uint64_t count)
{
    for (int waited = 0; log_dropped() < count; waited++) {
        assert_true(waited < PATIENCE);
        poll(NULL, 0, 1);
    }
}

/* Waits until the pattern is in the file. */
static void await_in_file(const char *path, const char *word)
{
    for (int waited = 0;; waited++) {
        char *text = file_text(path);
        bool found = strstr(text, word) != NULL;
        free(text);
        if (found)
            return;
        assert_true(waited < PATIENCE);
        poll(NULL, 0, 1);
    }
}

/* ---- format ---- */

static void test_direct_lines(void **state)
{
    struct place *place = *state;
    stderr_to_file(place);
    log_error(NULL, "first %d", 1);
    log_warning("mysql", "second");
    log_info("mysql", "third");
    log_debug("mysql", "fourth");
    stderr_back(place);
    assert_file_matches(place->path, "^" STAMP " error first 1\n" STAMP " warning mysql: second\n" STAMP
                                     " info mysql: third\n" STAMP " debug mysql: fourth\n$");
}

static void test_json_lines(void **state)
{
    struct place *place = *state;
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_JSON);
    log_info("mysql", "a \"quoted\" \\ word");
    log_error(NULL, "plain");
    log_stop();
    assert_file_matches(place->path,
                        "^\\{\"time\":\"" STAMP "\",\"level\":\"info\",\"source\":\"mysql\",\"message\":\"a "
                        "\\\\\"quoted\\\\\" \\\\\\\\ word\"\\}\n"
                        "\\{\"time\":\"" STAMP "\",\"level\":\"error\",\"message\":\"plain\"\\}\n$");
}

static void test_time_is_utc(void **state)
{
    (void)state;
    char line[LOG_LINE_MAX + 1];
    struct log_line_style style = { .format = LOG_FORMAT_TEXT };
    struct timespec when = { .tv_sec = 1795515304, .tv_nsec = 7999999 };
    setenv("TZ", "Asia/Tokyo", 1);
    tzset();
    size_t length = log_line_make(line, style, LOG_KIND_INFO, &when, NULL, "x", false);
    unsetenv("TZ");
    tzset();
    line[length] = '\0';
    assert_string_equal(line, "2026-11-24T10:15:04.007Z info x\n");
}

static void test_time_is_now(void **state)
{
    struct place *place = *state;
    stderr_to_file(place);
    time_t before = time(NULL);
    log_info(NULL, "now");
    time_t after = time(NULL);
    stderr_back(place);
    char *text = file_text(place->path);
    struct tm utc;
    memset(&utc, 0, sizeof utc);
    assert_non_null(strptime(text, "%Y-%m-%dT%H:%M:%S", &utc));
    time_t stamped = timegm(&utc);
    free(text);
    assert_in_range(stamped, before, after);
}

/* Decodes the JSON string that begins after its quote; fails on anything JSON does not allow there. */
static size_t json_decode(const char *text, char *decoded)
{
    size_t length = 0;
    for (; *text != '"'; text++) {
        assert_in_range((unsigned char)*text, 0x20, 0x7e);
        if (*text == '\\') {
            text++;
            assert_true(*text == '"' || *text == '\\');
        }
        decoded[length++] = *text;
    }
    decoded[length] = '\0';
    assert_string_equal(text, "\"}\n");
    return length;
}

static void expect_shown(char *expected, unsigned char byte)
{
    if (byte == '\n')
        strcpy(expected, "\\n");
    else if (byte == '\r')
        strcpy(expected, "\\r");
    else if (byte == '\t')
        strcpy(expected, "\\t");
    else if (byte < 0x20 || byte > 0x7e)
        sprintf(expected, "\\x%02x", byte);
    else
        sprintf(expected, "%c", byte);
}

static void test_every_byte_is_shown_safely(void **state)
{
    (void)state;
    struct timespec when = { .tv_sec = 0 };
    struct log_line_style text_style = { .format = LOG_FORMAT_TEXT, .bare = true };
    struct log_line_style json_style = { .format = LOG_FORMAT_JSON };
    for (unsigned byte = 1; byte < 256; byte++) {
        char line[LOG_LINE_MAX + 1];
        char expected[16];
        char whole[64];
        char message[] = { 'a', (char)byte, 'b', '\0' };
        expect_shown(expected, (unsigned char)byte);
        snprintf(whole, sizeof whole, "a%sb: a%sb\n", expected, expected);
        line[log_line_make(line, text_style, LOG_KIND_INFO, &when, message, message, false)] = '\0';
        assert_string_equal(line, whole);

        char decoded[64];
        line[log_line_make(line, json_style, LOG_KIND_INFO, &when, NULL, message, false)] = '\0';
        const char *start_of_message = strstr(line, "\"message\":\"");
        assert_non_null(start_of_message);
        json_decode(start_of_message + strlen("\"message\":\""), decoded);
        snprintf(whole, sizeof whole, "a%sb", expected);
        assert_string_equal(decoded, whole);
    }
}

static void test_foreign_text_cannot_forge_lines(void **state)
{
    struct place *place = *state;
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    log_info("x\ny", "bad\n2026-01-01T00:00:00.000Z error forged\x1b[31m\x9b");
    log_stop();
    assert_file_matches(place->path, "^" STAMP " info x\\\\ny: bad\\\\n2026-01-01T00:00:00.000Z error "
                                     "forged\\\\x1b\\[31m\\\\x9b\n$");
}

static void test_lines_are_capped(void **state)
{
    struct place *place = *state;
    char *message = malloc(10001);
    assert_non_null(message);
    memset(message, 'x', 10000);
    message[10000] = '\0';
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    log_info(message, "source");
    log_info(NULL, "%s", message);
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    memset(message, 1, 10000);
    log_info(NULL, "%s", message);
    memset(message, '"', 10000);
    log_info(message, "%s", message);
    log_stop();
    free(message);
    assert_file_matches(place->path,
                        " info x+\\.\\.\\.: source\n" STAMP " info x+\\.\\.\\.\n.*\"message\":\""
                        "(\\\\\\\\x01)+\\.\\.\\.\"\\}\n"
                        ".*\"source\":\"(\\\\\")+\\.\\.\\.\",\"message\":\"(\\\\\")+\\.\\.\\.\"\\}\n$");
    char *text = file_text(place->path);
    int lines = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) + 1 <= LOG_LINE_MAX);
        lines++;
    }
    free(text);
    assert_int_equal(lines, 4);
}

/* Lines of every length about the limit: cut exactly when they do not fit. */
static void test_cap_at_its_edge(void **state)
{
    (void)state;
    char message[LOG_LINE_MAX + 8];
    char line[LOG_LINE_MAX + 1];
    struct timespec when = { .tv_sec = 0 };
    struct log_line_style style = { .format = LOG_FORMAT_TEXT, .bare = true };
    bool was_cut = false;
    for (size_t length = LOG_LINE_MAX - 20; length < sizeof message; length++) {
        memset(message, 'x', length);
        message[length] = '\0';
        size_t made = log_line_make(line, style, LOG_KIND_INFO, &when, NULL, message, false);
        bool cut = memcmp(line + made - 4, "...\n", 4) == 0;
        assert_true(made <= LOG_LINE_MAX);
        assert_true(cut || made == length + 1);
        assert_true(cut || !was_cut);
        was_cut = cut;
    }
    assert_true(was_cut);
}

static void test_levels(void **state)
{
    struct place *place = *state;
    static const char *const shown[] = {
        [LOG_LEVEL_NONE] = "",
        [LOG_LEVEL_ERROR] = "EW",
        [LOG_LEVEL_INFO] = "EWI",
        [LOG_LEVEL_DEBUG] = "EWID",
    };
    static const char letters[] = { 'E', 'W', 'I', 'D' };
    stderr_to_file(place);
    for (enum log_level level = LOG_LEVEL_NONE; level <= LOG_LEVEL_DEBUG; level++) {
        log_configure(level, LOG_FORMAT_TEXT);
        for (enum log_kind kind = LOG_KIND_ERROR; kind <= LOG_KIND_DEBUG; kind++) {
            assert_int_equal(log_enabled(kind), strchr(shown[level], letters[kind]) != NULL);
            log_write(kind, NULL, "level%d%c", (int)level, letters[kind]);
        }
    }
    stderr_back(place);
    char *text = file_text(place->path);
    for (int level = LOG_LEVEL_NONE; level <= LOG_LEVEL_DEBUG; level++) {
        for (size_t kind = 0; kind < sizeof letters; kind++) {
            char word[16];
            snprintf(word, sizeof word, "level%d%c", level, letters[kind]);
            assert_int_equal(strstr(text, word) != NULL, strchr(shown[level], letters[kind]) != NULL);
        }
    }
    free(text);
}

static void test_errno_is_kept(void **state)
{
    struct place *place = *state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    assert_true(dup2(full, STDERR_FILENO) >= 0);
    close(full);
    errno = EXDEV;
    log_info(NULL, "directly, in vain");
    int direct = errno;
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    errno = ENOTDIR;
    log_info(NULL, "%m");
    int queued = errno;
    log_stop();
    stderr_back(place);
    assert_int_equal(direct, EXDEV);
    assert_int_equal(queued, ENOTDIR);
    assert_file_matches(place->path, "info Not a directory\n$");
}

/* ---- outputs ---- */

static void test_file_mode(void **state)
{
    struct place *place = *state;
    mode_t mask = umask(0);
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    umask(mask);
    struct stat status;
    assert_int_equal(stat(place->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void test_file_is_appended_to(void **state)
{
    struct place *place = *state;
    for (int run = 0; run < 2; run++) {
        start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
        log_info(NULL, "run %d", run);
        log_stop();
        log_stop();
    }
    assert_file_matches(place->path, "^" STAMP " info run 0\n" STAMP " info run 1\n$");
}

static void test_file_is_reopened(void **state)
{
    struct place *place = *state;
    char moved[128];
    snprintf(moved, sizeof moved, "%s.1", place->path);
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    log_info(NULL, "before");
    await_in_file(place->path, "before");
    assert_int_equal(rename(place->path, moved), 0);
    log_info(NULL, "between");
    await_in_file(moved, "between");
    log_reopen();
    log_info(NULL, "after");
    log_stop();
    assert_file_matches(moved, "^" STAMP " info before\n" STAMP " info between\n$");
    assert_file_matches(place->path, "^" STAMP " info after\n$");
}

static void test_failed_reopening_keeps_the_file(void **state)
{
    struct place *place = *state;
    char moved[128];
    snprintf(moved, sizeof moved, "%s.1", place->path);
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    log_info(NULL, "before");
    await_in_file(place->path, "before");
    assert_int_equal(rename(place->path, moved), 0);
    assert_int_equal(mkdir(place->path, 0700), 0);
    log_reopen();
    await_in_file(moved, "cannot reopen the log file");
    log_info(NULL, "after");
    log_stop();
    assert_file_matches(moved, "^" STAMP " info before\n" STAMP " error cannot reopen the log file [^ ]+: "
                               "Is a directory; going on with the old one\n" STAMP " info after\n$");
}

static void test_start_fails_without_output(void **state)
{
    struct place *place = *state;
    char path[128];
    char error[256] = "";
    snprintf(path, sizeof path, "%s/missing/log", place->directory);
    struct log_options options = {
        .level = LOG_LEVEL_NONE, .output = LOG_OUTPUT_FILE, .path = path, .format = LOG_FORMAT_JSON
    };
    assert_false(log_start(&options, error, sizeof error));
    assert_matches(error, "^cannot open the log file .*/missing/log: No such file or directory$");
    assert_int_equal(mkfifo(place->path, 0600), 0); /* one that nobody reads */
    options.path = place->path;
    assert_false(log_start(&options, error, sizeof error));
    assert_matches(error, "^cannot open the log file .*/log: No such device or address$");
    assert_int_equal(unlink(place->path), 0);
    stderr_to_file(place);
    log_debug(NULL, "as it was");
    stderr_back(place);
    assert_file_matches(place->path, "^" STAMP " debug as it was\n$");
}

static void test_second_start_is_refused(void **state)
{
    struct place *place = *state;
    char error[256] = "";
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    struct log_options options = { .level = LOG_LEVEL_NONE, .output = LOG_OUTPUT_STDERR };
    assert_false(log_start(&options, error, sizeof error));
    assert_string_equal(error, "the log is running already");
    log_info(NULL, "still here");
    log_stop();
    assert_file_matches(place->path, " info still here\n$");
}

static void test_syslog(void **state)
{
    (void)state;
    atomic_store(&syslog_calls, 0);
    start(LOG_OUTPUT_SYSLOG, NULL, LOG_FORMAT_TEXT);
    log_error(NULL, "an error: %s", "100%s");
    log_warning("mysql", "a warning");
    log_info("mysql", "information");
    log_debug("mysql", "detail\n");
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    log_info(NULL, "object");
    log_stop();
    static const int priorities[] = { 3, 4, 6, 7, 6 };
    static const char *const texts[] = { "an error: 100%s", "mysql: a warning", "mysql: information",
                                         "mysql: detail\\n" };
    assert_string_equal(syslog_ident, "proximux");
    assert_int_equal(atomic_load(&syslog_calls), 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(syslog_priorities[i], priorities[i]);
    for (int i = 0; i < 4; i++)
        assert_string_equal(syslog_texts[i], texts[i]);
    assert_matches(syslog_texts[4],
                   "^\\{\"time\":\"" STAMP "\",\"level\":\"info\",\"message\":\"object\"\\}$");
}

/* ---- outputs that do not take what they should ---- */

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
        if (poll(&waiting, 1, PATIENCE) <= 0)
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
    struct place *place = *state;
    stderr_to_pipe(place);
    start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    write_numbered(0, 2000); /* returns only because nothing waits for the pipe, which nobody reads */
    uint64_t dropped = log_dropped();
    struct reading reading = { .fd = place->pipe[0], .until = "lines were dropped" };
    reading_run(&reading); /* the announcement comes by itself, without another line */
    write_numbered(2000, 10);
    pthread_t reader;
    reading.until = NULL;
    assert_int_equal(pthread_create(&reader, NULL, reading_run, &reading), 0);
    log_stop();
    stderr_back(place); /* the last writing end: the reader sees the end */
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
    struct place *place = *state;
    stderr_to_pipe(place);
    start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
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
    stderr_back(place);
    pthread_join(reader, NULL);
    uint64_t announced;
    uint64_t lines = count_numbered(reading.text, &announced);
    free(reading.text);
    assert_int_equal(announced, log_dropped());
    assert_int_equal(lines + announced, 20000);
}

static void test_stop_leaves_a_stuck_pipe(void **state)
{
    struct place *place = *state;
    stderr_to_pipe(place);
    start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    write_numbered(0, 1000);
    int64_t before = clock_now();
    log_stop();
    int64_t stopped = clock_now();
    log_info(NULL, "directly, into the same pipe");
    int64_t written = clock_now();
    stderr_back(place);
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
    struct place *place = *state;
    stderr_to_pipe(place);
    start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    write_numbered(0, 200);
    struct reading reading = { .fd = place->pipe[0] };
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, reading_run, &reading), 0);
    log_stop();
    stderr_back(place);
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
    start(LOG_OUTPUT_FILE, "/dev/full", LOG_FORMAT_TEXT);
    for (uint64_t i = 1; i <= 100; i++) {
        log_info(NULL, "nobody will read this");
        await_dropped(i);
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
    struct place *place = *state;
    struct rlimit unlimited;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    struct rlimit limited = { .rlim_cur = 55, .rlim_max = unlimited.rlim_max };
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
    log_info(NULL, "fits"); /* 35 bytes with its time */
    await_in_file(place->path, "fits\n");
    log_info(NULL, "does not fit");
    await_dropped(1);
    log_info(NULL, "lost");
    await_dropped(2);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    log_info(NULL, "fits again");
    log_stop();
    assert_file_matches(place->path,
                        "^" STAMP " info fits\n[0-9T:.-]+\n" STAMP " warning log: 2 lines were "
                        "dropped because the output did not take them\n" STAMP " info fits again\n$");
}

static void test_reader_gone(void **state)
{
    struct place *place = *state;
    stderr_to_pipe(place);
    start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    close_end(&place->pipe[0]);
    log_info(NULL, "SIGPIPE would end the test here");
    await_dropped(1);
    log_stop();
    stderr_back(place);
    assert_int_equal(log_dropped(), 1);
}

static void test_signals_stay_with_the_others(void **state)
{
    struct place *place = *state;
    sigset_t usr1;
    sigset_t before;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, &before), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0); /* would end the process if the thread took it */
    struct timespec patience = { .tv_sec = PATIENCE / 1000 };
    assert_int_equal(sigtimedwait(&usr1, NULL, &patience), SIGUSR1);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

static void write_through(struct place *place, int reading_end)
{
    struct reading reading = { .fd = reading_end };
    pthread_t reader;
    start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    write_numbered(0, 200); /* far more than the pipe holds, less than the ring does */
    assert_int_equal(pthread_create(&reader, NULL, reading_run, &reading), 0);
    log_stop();
    stderr_back(place);
    pthread_join(reader, NULL);
    uint64_t announced;
    assert_int_equal(count_numbered(reading.text, &announced), 200);
    assert_int_equal(log_dropped(), 0);
    free(reading.text);
}

static void test_non_blocking_pipe(void **state)
{
    struct place *place = *state;
    stderr_to_pipe(place);
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, fcntl(STDERR_FILENO, F_GETFL) | O_NONBLOCK), 0);
    write_through(place, place->pipe[0]);
}

static void test_socket(void **state)
{
    struct place *place = *state;
    int small = 4096;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, place->pipe), 0);
    assert_int_equal(setsockopt(place->pipe[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    assert_true(dup2(place->pipe[1], STDERR_FILENO) >= 0);
    close_end(&place->pipe[1]);
    write_through(place, place->pipe[0]);
}

/* Others may share standard error: its flags are not the log's to change. */
static void test_flags_of_stderr_are_kept(void **state)
{
    struct place *place = *state;
    stderr_to_pipe(place);
    int before = fcntl(STDERR_FILENO, F_GETFL);
    start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    log_info(NULL, "a line");
    struct reading reading = { .fd = place->pipe[0], .until = "a line\n" };
    reading_run(&reading);
    free(reading.text);
    int during = fcntl(STDERR_FILENO, F_GETFL);
    log_stop();
    int after = fcntl(STDERR_FILENO, F_GETFL);
    stderr_back(place);
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
    struct place *place = *state;
    struct reading reading = { .fd = -1 };
    pthread_t reader;
    pthread_t writers[THREADS];
    int numbers[THREADS];
    stderr_to_pipe(place);
    reading.fd = place->pipe[0];
    assert_int_equal(pthread_create(&reader, NULL, reading_run, &reading), 0);
    start(LOG_OUTPUT_STDERR, NULL, LOG_FORMAT_TEXT);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&writers[i], NULL, writing_run, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(writers[i], NULL);
    log_stop();
    stderr_back(place);
    pthread_join(reader, NULL);
    uint64_t lines;
    uint64_t announced;
    check_thread_lines(reading.text, &lines, &announced);
    free(reading.text);
    assert_int_equal(announced, log_dropped());
    assert_int_equal(lines + announced, THREADS * LINES_PER_THREAD);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_direct_lines),
        LOG_TEST(test_json_lines),
        LOG_TEST(test_time_is_utc),
        LOG_TEST(test_time_is_now),
        LOG_TEST(test_every_byte_is_shown_safely),
        LOG_TEST(test_foreign_text_cannot_forge_lines),
        LOG_TEST(test_lines_are_capped),
        LOG_TEST(test_cap_at_its_edge),
        LOG_TEST(test_levels),
        LOG_TEST(test_errno_is_kept),
        LOG_TEST(test_file_mode),
        LOG_TEST(test_file_is_appended_to),
        LOG_TEST(test_file_is_reopened),
        LOG_TEST(test_failed_reopening_keeps_the_file),
        LOG_TEST(test_start_fails_without_output),
        LOG_TEST(test_second_start_is_refused),
        LOG_TEST(test_syslog),
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
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
