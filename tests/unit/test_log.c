/* The log: what lines look like, which are shown, and its outputs as long as they do their part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/log_line.h"
#include "log_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

/* ---- format ---- */

static void test_direct_lines(void **state)
{
    struct log_place *place = *state;
    log_place_stderr_to_file(place);
    log_error(NULL, "first %d", 1);
    log_warning("mysql", "second");
    log_info("mysql", "third");
    log_debug("mysql", "fourth");
    log_place_stderr_back(place);
    log_place_assert_file(place->path,
                          "^" LOG_STAMP " error first 1\n" LOG_STAMP " warning mysql: second\n" LOG_STAMP
                          " info mysql: third\n" LOG_STAMP " debug mysql: fourth\n$");
}

static void test_json_lines(void **state)
{
    struct log_place *place = *state;
    log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_JSON);
    log_info("mysql", "a \"quoted\" \\ word");
    log_error(NULL, "plain");
    log_stop();
    log_place_assert_file(
        place->path, "^\\{\"time\":\"" LOG_STAMP "\",\"level\":\"info\",\"source\":\"mysql\",\"message\":\"a "
                     "\\\\\"quoted\\\\\" \\\\\\\\ word\"\\}\n"
                     "\\{\"time\":\"" LOG_STAMP "\",\"level\":\"error\",\"message\":\"plain\"\\}\n$");
}

static void test_time_is_utc(void **state)
{
    (void)state;
    char line[LOG_LINE_MAX + 1];
    struct log_line_style style = { .format = LOG_FORMAT_TEXT };
    int64_t when = INT64_C(1795515304007);
    setenv("TZ", "Asia/Tokyo", 1);
    tzset();
    size_t length = log_line_make(line, style, LOG_KIND_INFO, when, NULL, "x", false);
    unsetenv("TZ");
    tzset();
    line[length] = '\0';
    assert_string_equal(line, "2026-11-24T10:15:04.007Z info x\n");
}

static void test_time_is_now(void **state)
{
    struct log_place *place = *state;
    log_place_stderr_to_file(place);
    time_t before = time(NULL);
    log_info(NULL, "now");
    time_t after = time(NULL);
    log_place_stderr_back(place);
    char *text = log_place_text(place->path);
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
    int64_t when = 0;
    struct log_line_style text_style = { .format = LOG_FORMAT_TEXT, .bare = true };
    struct log_line_style json_style = { .format = LOG_FORMAT_JSON };
    for (unsigned byte = 1; byte < 256; byte++) {
        char line[LOG_LINE_MAX + 1];
        char expected[16];
        char whole[64];
        char message[] = { 'a', (char)byte, 'b', '\0' };
        expect_shown(expected, (unsigned char)byte);
        snprintf(whole, sizeof whole, "a%sb: a%sb\n", expected, expected);
        line[log_line_make(line, text_style, LOG_KIND_INFO, when, message, message, false)] = '\0';
        assert_string_equal(line, whole);

        char decoded[64];
        line[log_line_make(line, json_style, LOG_KIND_INFO, when, NULL, message, false)] = '\0';
        const char *start_of_message = strstr(line, "\"message\":\"");
        assert_non_null(start_of_message);
        json_decode(start_of_message + strlen("\"message\":\""), decoded);
        snprintf(whole, sizeof whole, "a%sb", expected);
        assert_string_equal(decoded, whole);
    }
}

static void test_foreign_text_cannot_forge_lines(void **state)
{
    struct log_place *place = *state;
    log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    log_info("x\ny", "bad\n2026-01-01T00:00:00.000Z error forged\x1b[31m\x9b");
    log_stop();
    log_place_assert_file(place->path, "^" LOG_STAMP " info x\\\\ny: bad\\\\n2026-01-01T00:00:00.000Z error "
                                       "forged\\\\x1b\\[31m\\\\x9b\n$");
}

static void test_lines_are_capped(void **state)
{
    struct log_place *place = *state;
    static char message[10001];
    memset(message, 'x', 10000);
    message[10000] = '\0';
    log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    log_info(message, "source");
    log_info(NULL, "%s", message);
    log_configure(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
    memset(message, 1, 10000);
    log_info(NULL, "%s", message);
    memset(message, '"', 10000);
    log_info(message, "%s", message);
    log_stop();
    log_place_assert_file(place->path,
                          " info x+\\.\\.\\.: source\n" LOG_STAMP " info x+\\.\\.\\.\n.*\"message\":\""
                          "(\\\\\\\\x01)+\\.\\.\\.\"\\}\n"
                          ".*\"source\":\"(\\\\\")+\\.\\.\\.\",\"message\":\"(\\\\\")+\\.\\.\\.\"\\}\n$");
    char *text = log_place_text(place->path);
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
    int64_t when = 0;
    struct log_line_style style = { .format = LOG_FORMAT_TEXT, .bare = true };
    bool was_cut = false;
    for (size_t length = LOG_LINE_MAX - 20; length < sizeof message; length++) {
        memset(message, 'x', length);
        message[length] = '\0';
        size_t made = log_line_make(line, style, LOG_KIND_INFO, when, NULL, message, false);
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
    struct log_place *place = *state;
    static const char *const shown[] = {
        [LOG_LEVEL_NONE] = "",
        [LOG_LEVEL_ERROR] = "EW",
        [LOG_LEVEL_INFO] = "EWI",
        [LOG_LEVEL_DEBUG] = "EWID",
    };
    static const char letters[] = { 'E', 'W', 'I', 'D' };
    log_place_stderr_to_file(place);
    for (enum log_level level = LOG_LEVEL_NONE; level <= LOG_LEVEL_DEBUG; level++) {
        log_configure(level, LOG_FORMAT_TEXT);
        for (enum log_kind kind = LOG_KIND_ERROR; kind <= LOG_KIND_DEBUG; kind++) {
            assert_int_equal(log_enabled(kind), strchr(shown[level], letters[kind]) != NULL);
            log_write(kind, NULL, "level%d%c", (int)level, letters[kind]);
        }
    }
    log_place_stderr_back(place);
    char *text = log_place_text(place->path);
    for (int level = LOG_LEVEL_NONE; level <= LOG_LEVEL_DEBUG; level++) {
        for (size_t kind = 0; kind < sizeof letters; kind++) {
            char word[32];
            snprintf(word, sizeof word, "level%d%c", level, letters[kind]);
            assert_int_equal(strstr(text, word) != NULL, strchr(shown[level], letters[kind]) != NULL);
        }
    }
    free(text);
}

static void test_errno_is_kept(void **state)
{
    struct log_place *place = *state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    assert_true(dup2(full, STDERR_FILENO) >= 0);
    close(full);
    errno = EXDEV;
    log_info(NULL, "directly, in vain");
    int direct = errno;
    log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    errno = ENOTDIR;
    log_info(NULL, "%m");
    int queued = errno;
    log_stop();
    log_place_stderr_back(place);
    assert_int_equal(direct, EXDEV);
    assert_int_equal(queued, ENOTDIR);
    log_place_assert_file(place->path, "info Not a directory\n$");
}

/* ---- outputs ---- */

static void test_file_mode(void **state)
{
    struct log_place *place = *state;
    mode_t mask = umask(0);
    log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    umask(mask);
    struct stat status;
    assert_int_equal(stat(place->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void test_file_is_appended_to(void **state)
{
    struct log_place *place = *state;
    for (int run = 0; run < 2; run++) {
        log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
        log_info(NULL, "run %d", run);
        log_stop();
        log_stop();
    }
    log_place_assert_file(place->path, "^" LOG_STAMP " info run 0\n" LOG_STAMP " info run 1\n$");
}

static void test_file_is_reopened(void **state)
{
    struct log_place *place = *state;
    char moved[128];
    snprintf(moved, sizeof moved, "%s.1", place->path);
    log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    log_info(NULL, "before");
    log_place_await_in_file(place->path, "before");
    assert_int_equal(rename(place->path, moved), 0);
    log_info(NULL, "between");
    log_place_await_in_file(moved, "between");
    log_reopen();
    log_info(NULL, "after");
    log_stop();
    log_place_assert_file(moved, "^" LOG_STAMP " info before\n" LOG_STAMP " info between\n$");
    log_place_assert_file(place->path, "^" LOG_STAMP " info after\n$");
}

static void test_failed_reopening_keeps_the_file(void **state)
{
    struct log_place *place = *state;
    char moved[128];
    snprintf(moved, sizeof moved, "%s.1", place->path);
    log_place_start(LOG_OUTPUT_FILE, place->path, LOG_FORMAT_TEXT);
    log_info(NULL, "before");
    log_place_await_in_file(place->path, "before");
    assert_int_equal(rename(place->path, moved), 0);
    assert_int_equal(mkdir(place->path, 0700), 0);
    log_reopen();
    log_place_await_in_file(moved, "cannot reopen the log file");
    log_info(NULL, "after");
    log_stop();
    log_place_assert_file(moved,
                          "^" LOG_STAMP " info before\n" LOG_STAMP " error cannot reopen the log file [^ ]+: "
                          "Is a directory; going on with the old one\n" LOG_STAMP " info after\n$");
}

static void test_start_fails_without_output(void **state)
{
    struct log_place *place = *state;
    char path[128];
    char error[256] = "";
    snprintf(path, sizeof path, "%s/missing/log", place->directory);
    struct log_options options = {
        .level = LOG_LEVEL_NONE, .output = LOG_OUTPUT_FILE, .path = path, .format = LOG_FORMAT_JSON
    };
    assert_false(log_start(&options, error, sizeof error));
    log_place_assert_matches(error, "^cannot open the log file .*/missing/log: No such file or directory$");
    assert_int_equal(mkfifo(place->path, 0600), 0); /* one that nobody reads */
    options.path = place->path;
    assert_false(log_start(&options, error, sizeof error));
    log_place_assert_matches(error, "^cannot open the log file .*/log: No such device or address$");
    assert_int_equal(unlink(place->path), 0);
    log_place_stderr_to_file(place);
    log_debug(NULL, "as it was");
    log_place_stderr_back(place);
    log_place_assert_file(place->path, "^" LOG_STAMP " debug as it was\n$");
}

static void test_syslog(void **state)
{
    (void)state;
    atomic_store(&syslog_calls, 0);
    log_place_start(LOG_OUTPUT_SYSLOG, NULL, LOG_FORMAT_TEXT);
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
    log_place_assert_matches(syslog_texts[4],
                             "^\\{\"time\":\"" LOG_STAMP "\",\"level\":\"info\",\"message\":\"object\"\\}$");
}

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
        LOG_TEST(test_syslog),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
