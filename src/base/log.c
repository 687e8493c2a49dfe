#include "base/log.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log_line.h"
#include "base/log_sink.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes that wait for the thread, of the log and of further files, which take more lines at a time. */
#define LOG_SIZE      ((size_t)256 * 1024)
#define LOG_FILE_SIZE ((size_t)4 * 1024 * 1024)

/* How long the thread may wait for its output in the end, microseconds, and log_stop() for all threads. */
#define STOP_WRITER_WAIT  INT64_C(1800000)
#define STOP_WAIT_SECONDS 2

/* How long, in microseconds, a line that goes directly to standard error may wait for it. */
#define DIRECT_WAIT 1000000

/* An output with its thread: of the log, or a file of its own. Owned by whoever opened it; once it is `stopping`,
 * by its thread. Callers fill `lines` while the thread writes `batch`; then it swaps the two. */
struct log_file {
    /* Guarded by `lock`. */
    struct list_node node; /* in `files`, until it is stopping */
    pthread_cond_t work;   /* there is something to do */
    bool reopen;
    bool stopping;
    bool failed;          /* the output did not take the last batch */
    bool is_json;         /* of a file of its own: its lines are objects */
    char *lines;          /* whole ones */
    size_t length;        /* of these; `size` at most */
    uint64_t lost_before; /* lines that were lost before these, and not yet announced */
    uint64_t lost_after;  /* likewise, after them */

    /* The thread's alone, or set once. */
    bool is_log;
    size_t size;
    char *batch;
    struct log_sink sink;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t writer_ended = PTHREAD_COND_INITIALIZER;       /* has written what it held */
static struct list files = { .head = { &files.head, &files.head } }; /* guarded by `lock` */
static struct log_file *active; /* guarded by `lock`; NULL: lines go directly to standard error */
static size_t dismissed;        /* guarded by `lock`: threads that still write out what they hold */
static struct log_recent recent[LOG_RECENT_COUNT]; /* guarded by `lock` */
static uint64_t recent_count;                      /* guarded by `lock`: ever put in */
static _Atomic uint64_t dropped;
static _Atomic enum log_level shown_level = LOG_LEVEL_INFO;
static _Atomic enum log_format shown_format = LOG_FORMAT_TEXT;
static _Atomic bool shown_bare;
static _Atomic bool shown_masked;

/* ---- lines ---- */

/* A line, with the mark of its kind in front, which log_sink_write() wants for syslog only. */
struct marked_line {
    char text[1 + LOG_LINE_MAX];
    size_t length;
};

static void marked_line_make(struct marked_line *line, enum log_format format, enum log_kind kind,
                             int64_t when, const char *source, const char *message, bool is_beginning)
{
    const struct log_line_style style = { .format = format, .bare = shown_bare };
    line->text[0] = log_sink_mark(kind);
    line->length = 1 + log_line_make(line->text + 1, style, kind, when, source, message, is_beginning);
}

static size_t marked_line_skip(const struct log_file *file)
{
    return file->sink.output == LOG_OUTPUT_SYSLOG ? 0 : 1;
}

static uint64_t count_lines(const char *text, size_t length)
{
    uint64_t lines = 0;
    for (const char *end = text + length; (text = memchr(text, '\n', (size_t)(end - text))) != NULL; text++)
        lines++;
    return lines;
}

/* Adds a line, under the lock. */
static void log_file_put(struct log_file *file, const char *line, size_t length)
{
    if (length > file->size - file->length) {
        file->lost_after++;
        dropped += file->is_log;
        return;
    }
    memcpy(file->lines + file->length, line, length);
    file->length += length;
    pthread_cond_signal(&file->work);
}

/* ---- the writer thread ---- */

static void log_file_free(struct log_file *file)
{
    log_sink_close(&file->sink);
    pthread_cond_destroy(&file->work);
    free(file->lines);
    free(file->batch);
    free(file);
}

/* An announcement alone is no reason to try an output that has just failed: it goes with the next line. */
static bool log_file_has_work(const struct log_file *file)
{
    return file->length > 0 || (file->lost_before + file->lost_after > 0 && !file->failed);
}

/* Accounts for lines that were accepted and are not written. */
static void log_file_lose(struct log_file *file, const char *text, size_t length)
{
    uint64_t lines = count_lines(text, length);
    file->lost_before += lines;
    if (file->is_log)
        dropped += lines;
}

static bool log_file_announce(struct log_file *file, uint64_t lost)
{
    struct marked_line line;
    char message[100];
    enum log_format format = shown_format;
    if (!file->is_log)
        format = file->is_json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    snprintf(message, sizeof message, "%llu lines were dropped because the output did not take them",
             (unsigned long long)lost);
    marked_line_make(&line, format, LOG_KIND_WARNING, clock_wall(), "log", message, false);
    size_t skip = marked_line_skip(file);
    size_t length = line.length - skip;
    return log_sink_write(&file->sink, line.text + skip, length) == length;
}

static void log_file_reopen(struct log_file *file)
{
    file->reopen = false;
    pthread_mutex_unlock(&lock);
    if (!log_sink_reopen(&file->sink))
        log_error(NULL, "cannot reopen the log file %s: %s; going on with the old one", file->sink.path,
                  strerror(errno));
    pthread_mutex_lock(&lock);
}

/* Writes all lines that wait, after the announcement of those that were lost before them. */
static void log_file_write_batch(struct log_file *file)
{
    char *batch = file->lines;
    size_t length = file->length;
    uint64_t lost = file->lost_before;
    file->lines = file->batch;
    file->batch = batch;
    file->length = 0;
    file->lost_before = file->lost_after;
    file->lost_after = 0;
    pthread_mutex_unlock(&lock);
    bool announced = lost == 0 || log_file_announce(file, lost);
    size_t written = announced ? log_sink_write(&file->sink, batch, length) : 0;
    pthread_mutex_lock(&lock);
    file->failed = !announced || written < length;
    if (!announced)
        file->lost_before += lost;
    log_file_lose(file, batch + written, length - written);
}

static void *log_file_run(void *data)
{
    struct log_file *file = data;
    pthread_mutex_lock(&lock);
    for (;;) {
        if (file->reopen)
            log_file_reopen(file);
        else if (log_file_has_work(file))
            log_file_write_batch(file);
        else if (file->stopping)
            break;
        else
            pthread_cond_wait(&file->work, &lock);
        if (clock_now() >= file->sink.deadline) {
            log_file_lose(file, file->lines, file->length);
            file->length = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    log_file_free(file);
    pthread_mutex_lock(&lock);
    dismissed--;
    pthread_cond_signal(&writer_ended);
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Starts the thread with all signals blocked: they are the loop's. Returns 0 or an errno. */
static int log_file_start(struct log_file *file)
{
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&thread, NULL, log_file_run, file);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0)
        return result;
    pthread_detach(thread);
    pthread_mutex_lock(&lock);
    list_append(&files, &file->node);
    pthread_mutex_unlock(&lock);
    return 0;
}

/* With its output open and its thread running. NULL with the reason in `error`. */
static struct log_file *log_file_create(const struct log_options *options, bool is_log, char *error,
                                        size_t error_size)
{
    struct log_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        snprintf(error, error_size, "cannot start the log: %s", strerror(errno));
        return NULL;
    }
    pthread_cond_init(&file->work, NULL);
    file->is_log = is_log;
    file->size = is_log ? LOG_SIZE : LOG_FILE_SIZE;
    file->lines = malloc(file->size);
    file->batch = malloc(file->size);
    file->sink.deadline = INT64_MAX;
    if (file->lines == NULL || file->batch == NULL) {
        snprintf(error, error_size, "cannot start the log: %s", strerror(errno));
    } else if (log_sink_open(&file->sink, options, error, error_size)) {
        int result = log_file_start(file);
        if (result == 0)
            return file;
        snprintf(error, error_size, "cannot start the thread of the log: %s", strerror(result));
    }
    log_file_free(file);
    return NULL;
}

/* Has the thread write out what there is, within a limit, and free the file: nobody waits for it. Under the lock. */
static void log_file_dismiss(struct log_file *file)
{
    list_remove(&file->node);
    file->sink.deadline = clock_now() + STOP_WRITER_WAIT;
    file->stopping = true;
    dismissed++;
    pthread_cond_signal(&file->work);
}

/* ---- the interface ---- */

void log_configure(enum log_level level, enum log_format format)
{
    shown_level = level;
    shown_format = format;
}

void log_mask_addresses(bool mask)
{
    shown_masked = mask;
}

bool log_masks_addresses(void)
{
    return shown_masked;
}

bool log_start(const struct log_options *options, char *error, size_t error_size)
{
    struct log_file *output;
    if (!log_prepare(options, &output, error, error_size))
        return false;
    log_commit(options, output);
    return true;
}

static bool log_output_differs(const struct log_options *options)
{
    pthread_mutex_lock(&lock);
    const struct log_file *file = active;
    pthread_mutex_unlock(&lock);
    return file == NULL || file->sink.output != options->output ||
           (options->output == LOG_OUTPUT_FILE && strcmp(file->sink.path, options->path) != 0);
}

bool log_prepare(const struct log_options *options, struct log_file **output, char *error, size_t error_size)
{
    bool differs = log_output_differs(options);
    *output = differs ? log_file_create(options, true, error, error_size) : NULL;
    return !differs || *output != NULL;
}

void log_commit(const struct log_options *options, struct log_file *output)
{
    pthread_mutex_lock(&lock);
    if (output != NULL) {
        if (active != NULL)
            log_file_dismiss(active);
        else
            dropped = 0;
        active = output;
    }
    pthread_mutex_unlock(&lock);
    log_configure(options->level, options->format);
    log_mask_addresses(options->mask_addresses);
    shown_bare = options->output == LOG_OUTPUT_SYSLOG;
}

void log_reopen(void)
{
    pthread_mutex_lock(&lock);
    list_foreach(&files, node)
    {
        struct log_file *file = list_entry(node, struct log_file, node);
        file->reopen = true;
        pthread_cond_signal(&file->work);
    }
    pthread_mutex_unlock(&lock);
}

void log_stop(void)
{
    struct timespec until;
    int result = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += STOP_WAIT_SECONDS;
    pthread_mutex_lock(&lock);
    if (active != NULL) {
        log_file_dismiss(active);
        shown_bare = false;
    }
    active = NULL;
    /* A call to a disk or a syslog that hangs can't be ended: it is not waited for any longer then. */
    while (dismissed > 0 && result == 0)
        result = pthread_cond_clockwait(&writer_ended, &lock, CLOCK_MONOTONIC, &until);
    pthread_mutex_unlock(&lock);
}

struct log_file *log_file_open(const char *path, char *error, size_t error_size)
{
    const struct log_options options = { .output = LOG_OUTPUT_FILE, .path = path };
    return log_file_create(&options, false, error, error_size);
}

void log_file_write(struct log_file *file, const char *line, size_t length)
{
    if (length == 0)
        return;
    pthread_mutex_lock(&lock);
    file->is_json = line[0] == '{';
    if (length <= LOG_FILE_LINE_MAX)
        log_file_put(file, line, length);
    else
        file->lost_after++;
    pthread_mutex_unlock(&lock);
}

void log_file_close(struct log_file *file)
{
    if (file == NULL)
        return;
    pthread_mutex_lock(&lock);
    log_file_dismiss(file);
    pthread_mutex_unlock(&lock);
}

uint64_t log_dropped(void)
{
    return dropped;
}

bool log_enabled(enum log_kind kind)
{
    static const enum log_level shown_from[] = {
        [LOG_KIND_ERROR] = LOG_LEVEL_ERROR,
        [LOG_KIND_WARNING] = LOG_LEVEL_ERROR,
        [LOG_KIND_INFO] = LOG_LEVEL_INFO,
        [LOG_KIND_DEBUG] = LOG_LEVEL_DEBUG,
    };
    return shown_level >= shown_from[kind];
}

size_t log_recent(struct log_recent *lines)
{
    pthread_mutex_lock(&lock);
    size_t count = recent_count < LOG_RECENT_COUNT ? (size_t)recent_count : LOG_RECENT_COUNT;
    for (size_t i = 0; i < count; i++)
        lines[i] = recent[(recent_count - 1 - i) % LOG_RECENT_COUNT];
    pthread_mutex_unlock(&lock);
    return count;
}

static void log_keep(enum log_kind kind, int64_t when, const char *source, const char *message)
{
    pthread_mutex_lock(&lock);
    struct log_recent *line = &recent[recent_count++ % LOG_RECENT_COUNT];
    line->time = when;
    line->kind = kind;
    snprintf(line->source, sizeof line->source, "%s", source == NULL ? "" : source);
    if (snprintf(line->message, sizeof line->message, "%s", message) >= (int)sizeof line->message)
        memcpy(line->message + sizeof line->message - 4, "...", 4);
    pthread_mutex_unlock(&lock);
}

static void log_write_line(enum log_kind kind, int64_t when, const char *source, const char *message,
                           bool is_beginning)
{
    struct marked_line line;
    marked_line_make(&line, shown_format, kind, when, source, message, is_beginning);
    pthread_mutex_lock(&lock);
    bool is_direct = active == NULL;
    if (!is_direct)
        log_file_put(active, line.text + marked_line_skip(active), line.length - marked_line_skip(active));
    pthread_mutex_unlock(&lock);
    if (is_direct) { /* waits a moment for a slow terminal, never for ever */
        struct log_sink direct = { .fd = STDERR_FILENO, .deadline = clock_now() + DIRECT_WAIT };
        log_sink_write(&direct, line.text + 1, line.length - 1);
    }
}

void log_write(enum log_kind kind, const char *source, const char *format, ...)
{
    bool is_kept = kind <= LOG_KIND_WARNING;
    if (!is_kept && !log_enabled(kind))
        return;
    int saved_errno = errno;
    char message[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0)
        snprintf(message, sizeof message, "%s", format);
    int64_t now = clock_wall();
    if (is_kept)
        log_keep(kind, now, source, message);
    if (log_enabled(kind))
        log_write_line(kind, now, source, message, length >= (int)sizeof message);
    errno = saved_errno;
}
