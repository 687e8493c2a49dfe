#include "base/log.h"

#include "base/clock.h"
#include "base/log_line.h"
#include "base/log_recent.h"
#include "base/log_ring.h"
#include "base/log_sink.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the log, and of further files, which take more lines at a time. */
#define RING_SIZE      ((size_t)256 * 1024)
#define FILE_RING_SIZE ((size_t)4 * 1024 * 1024)
#define BATCH_SIZE     ((size_t)64 * 1024)

/* How long the thread may wait for its output in the end, microseconds, and log_stop() for all threads. */
#define STOP_WRITER_WAIT  INT64_C(1800000)
#define STOP_WAIT_SECONDS 2

/* How long, in milliseconds, a line that goes directly to standard error may wait for it. */
#define DIRECT_WAIT 1000

/* What the writer thread writes at once: whole lines, or the announcement of dropped ones. */
struct batch {
    char text[BATCH_SIZE];
    size_t length;
    enum log_kind kind; /* of its first line; syslog gets one line at a time */
    uint64_t announced; /* not 0: this is the announcement of so many dropped lines */
};

/* The writer thread and its ring. Owned by the log or its file; once it is `stopping`, by its own thread. The
 * first part is guarded by `lock`, the second is the thread's alone. */
struct writer {
    pthread_cond_t work; /* there is something to do */
    bool sleeping;
    bool reopen;
    bool stopping;
    bool failed;      /* the output did not take the last batch */
    int64_t deadline; /* when to give up an output that takes nothing */
    uint64_t pending; /* dropped lines not yet announced by an entry */
    struct log_ring ring;

    pthread_t thread;
    bool is_log;  /* false: a file of its own; set once */
    bool is_json; /* of a file of its own: its lines are objects */
    struct log_sink sink;
    struct batch batch;
};

/* Owned by whoever opened it. */
struct log_file {
    struct log_file *next;
    struct writer *writer;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t writer_ended = PTHREAD_COND_INITIALIZER; /* has written what it held */
static struct writer *active; /* guarded by `lock`; NULL: lines go directly to standard error */
static size_t dismissed;      /* guarded by `lock`: writers that still write out what they hold */
static _Atomic uint64_t dropped;
static struct log_file *files; /* guarded by `lock` */
static _Atomic int shown_level = LOG_LEVEL_INFO;
static _Atomic int shown_format = LOG_FORMAT_TEXT;
static _Atomic bool shown_bare;
static _Atomic bool shown_masked;

/* ---- the ring; all of it under the lock ---- */

static void ring_put(struct writer *writer, enum log_kind kind, const char *line, size_t length)
{
    if (!log_ring_put(&writer->ring, kind, writer->pending, line, length)) {
        writer->pending++;
        dropped += writer->is_log;
        return;
    }
    writer->pending = 0;
    if (writer->sleeping) {
        writer->sleeping = false;
        pthread_cond_signal(&writer->work);
    }
}

static struct log_line_style line_style(void)
{
    struct log_line_style style = {
        .format = (enum log_format)atomic_load_explicit(&shown_format, memory_order_relaxed),
        .bare = atomic_load_explicit(&shown_bare, memory_order_relaxed),
    };
    return style;
}

static void batch_announce(const struct writer *writer, struct batch *batch, uint64_t count)
{
    struct log_line_style style = line_style();
    if (!writer->is_log)
        style.format = writer->is_json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    char message[100];
    snprintf(message, sizeof message, "%llu lines were dropped because the output did not take them",
             (unsigned long long)count);
    batch->length = log_line_make(batch->text, style, LOG_KIND_WARNING, clock_wall(), "log", message, false);
    batch->kind = LOG_KIND_WARNING;
    batch->announced = count;
}

/* Moves what is to be written next from the ring into the batch. Lines dropped before an entry are announced
 * first, and alone, so that it is known of a batch that failed what was lost. */
static void batch_take(struct writer *writer)
{
    struct batch *batch = &writer->batch;
    batch->length = 0;
    batch->announced = 0;
    struct log_entry entry;
    while (log_ring_peek(&writer->ring, &entry)) {
        if (batch->length == 0 && entry.dropped > 0) {
            batch_announce(writer, batch, entry.dropped);
            log_ring_forget_dropped(&writer->ring);
            return;
        }
        if (entry.dropped > 0 || batch->length + entry.length > sizeof batch->text)
            return;
        if (batch->length == 0)
            batch->kind = entry.kind;
        log_ring_take(&writer->ring, &entry, batch->text + batch->length);
        batch->length += entry.length;
        if (writer->sink.output == LOG_OUTPUT_SYSLOG)
            return;
    }
    if (batch->length == 0 && writer->pending > 0) {
        batch_announce(writer, batch, writer->pending);
        writer->pending = 0;
    }
}

static uint64_t count_lines(const char *text, size_t length)
{
    uint64_t lines = 0;
    const char *end = text + length;
    while ((text = memchr(text, '\n', (size_t)(end - text))) != NULL) {
        lines++;
        text++;
    }
    return lines;
}

/* Accounts for the part of the batch that the output did not take. */
static void batch_lost(struct writer *writer, size_t written)
{
    const struct batch *batch = &writer->batch;
    if (batch->announced > 0) {
        writer->pending += batch->announced;
        return;
    }
    uint64_t lines = count_lines(batch->text + written, batch->length - written);
    writer->pending += lines;
    if (writer->is_log)
        dropped += lines;
}

/* ---- the writer thread ---- */

static void writer_free(struct writer *writer)
{
    log_sink_close(&writer->sink);
    pthread_cond_destroy(&writer->work);
    log_ring_free(&writer->ring);
    free(writer);
}

/* An announcement alone is no reason to try an output that has just failed: it goes with the next line. */
static bool writer_has_work(const struct writer *writer)
{
    return writer->reopen || writer->ring.used > 0 || (writer->pending > 0 && !writer->failed);
}

/* Gives up all that the ring still holds. */
static void writer_discard(struct writer *writer)
{
    while (writer->ring.used > 0) {
        batch_take(writer);
        batch_lost(writer, 0);
    }
}

/* Does what there is to do; called and returns with the lock held. */
static void writer_work(struct writer *writer)
{
    if (writer->reopen) {
        writer->reopen = false;
        pthread_mutex_unlock(&lock);
        if (!log_sink_reopen(&writer->sink))
            log_error(NULL, "cannot reopen the log file %s: %s; going on with the old one", writer->sink.path,
                      strerror(errno));
        pthread_mutex_lock(&lock);
        return;
    }
    batch_take(writer);
    pthread_mutex_unlock(&lock);
    const struct batch *batch = &writer->batch;
    size_t written = log_sink_write(&writer->sink, batch->kind, batch->text, batch->length);
    pthread_mutex_lock(&lock);
    writer->failed = written < writer->batch.length;
    if (writer->failed)
        batch_lost(writer, written);
}

static void *writer_run(void *data)
{
    struct writer *writer = data;
    pthread_mutex_lock(&lock);
    for (;;) {
        if (writer_has_work(writer)) {
            writer_work(writer);
            if (clock_now() >= writer->deadline)
                writer_discard(writer);
        } else if (writer->stopping) {
            break;
        } else {
            writer->sleeping = true;
            pthread_cond_wait(&writer->work, &lock);
            writer->sleeping = false;
        }
    }
    pthread_mutex_unlock(&lock);
    writer_free(writer);
    pthread_mutex_lock(&lock);
    dismissed--;
    pthread_cond_signal(&writer_ended);
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Whether the time for the output is up. The sink calls it without the lock. */
static bool writer_is_late(void *data)
{
    const struct writer *writer = data;
    pthread_mutex_lock(&lock);
    bool late = clock_now() >= writer->deadline;
    pthread_mutex_unlock(&lock);
    return late;
}

static struct writer *writer_new(size_t ring_size)
{
    struct writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return NULL;
    if (!log_ring_init(&writer->ring, ring_size)) {
        free(writer);
        return NULL;
    }
    writer->sink.is_late = writer_is_late;
    writer->sink.is_late_data = writer;
    writer->deadline = INT64_MAX;
    pthread_cond_init(&writer->work, NULL);
    return writer;
}

/* Starts the thread with all signals blocked: they are the loop's. */
static int writer_start(struct writer *writer)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&writer->thread, NULL, writer_run, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

/* ---- the interface ---- */

void log_configure(enum log_level level, enum log_format format)
{
    atomic_store(&shown_level, (int)level);
    atomic_store(&shown_format, (int)format);
}

void log_mask_addresses(bool mask)
{
    atomic_store(&shown_masked, mask);
}

bool log_masks_addresses(void)
{
    return atomic_load_explicit(&shown_masked, memory_order_relaxed);
}

/* A writer with its output open and its thread running. NULL with the reason in `error`. */
static struct writer *writer_create(const struct log_options *options, bool is_log, char *error,
                                    size_t error_size)
{
    struct writer *writer = writer_new(is_log ? RING_SIZE : FILE_RING_SIZE);
    if (writer == NULL) {
        snprintf(error, error_size, "cannot start the log: %s", strerror(errno));
        return NULL;
    }
    writer->is_log = is_log;
    if (log_sink_open(&writer->sink, options, error, error_size)) {
        int result = writer_start(writer);
        if (result == 0)
            return writer;
        snprintf(error, error_size, "cannot start the thread of the log: %s", strerror(result));
    }
    writer_free(writer);
    return NULL;
}

/* Owned by the caller of log_change_prepare(). */
struct log_change {
    struct log_options options;
    struct writer *writer; /* that takes over; NULL: the output stays */
};

bool log_start(const struct log_options *options, char *error, size_t error_size)
{
    struct log_change *change = log_change_prepare(options, error, error_size);
    if (change == NULL)
        return false;
    log_change_commit(change);
    return true;
}

/* Has a writer write out what it holds, within a limit, and free itself: nobody waits for its thread. */
static void writer_dismiss(struct writer *writer)
{
    pthread_t thread = writer->thread;
    writer->deadline = clock_now() + STOP_WRITER_WAIT;
    writer->stopping = true;
    dismissed++;
    pthread_cond_signal(&writer->work);
    pthread_detach(thread);
}

static bool log_output_differs(const struct log_options *options)
{
    pthread_mutex_lock(&lock);
    const struct writer *writer = active;
    pthread_mutex_unlock(&lock);
    return writer == NULL || writer->sink.output != options->output ||
           (options->output == LOG_OUTPUT_FILE && strcmp(writer->sink.path, options->path) != 0);
}

struct log_change *log_change_prepare(const struct log_options *options, char *error, size_t error_size)
{
    struct log_change *change = calloc(1, sizeof *change);
    if (change == NULL) {
        snprintf(error, error_size, "cannot start the log: %s", strerror(errno));
        return NULL;
    }
    change->options = *options;
    if (!log_output_differs(options))
        return change;
    change->writer = writer_create(options, true, error, error_size);
    if (change->writer != NULL)
        return change;
    free(change);
    return NULL;
}

void log_change_commit(struct log_change *change)
{
    pthread_mutex_lock(&lock);
    if (change->writer != NULL) {
        if (active != NULL)
            writer_dismiss(active);
        else
            dropped = 0;
        active = change->writer;
    }
    pthread_mutex_unlock(&lock);
    log_configure(change->options.level, change->options.format);
    log_mask_addresses(change->options.mask_addresses);
    atomic_store(&shown_bare, change->options.output == LOG_OUTPUT_SYSLOG);
    free(change);
}

void log_change_cancel(struct log_change *change)
{
    if (change == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (change->writer != NULL)
        writer_dismiss(change->writer);
    pthread_mutex_unlock(&lock);
    free(change);
}

void log_reopen(void)
{
    pthread_mutex_lock(&lock);
    if (active != NULL) {
        active->reopen = true;
        pthread_cond_signal(&active->work);
    }
    for (struct log_file *file = files; file != NULL; file = file->next) {
        file->writer->reopen = true;
        pthread_cond_signal(&file->writer->work);
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
        writer_dismiss(active);
        atomic_store(&shown_bare, false);
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
    struct log_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        snprintf(error, error_size, "%s", strerror(ENOMEM));
        return NULL;
    }
    file->writer = writer_create(&options, false, error, error_size);
    if (file->writer == NULL) {
        free(file);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    file->next = files;
    files = file;
    pthread_mutex_unlock(&lock);
    return file;
}

void log_file_write(struct log_file *file, const char *line, size_t length)
{
    struct writer *writer = file->writer;
    if (length == 0)
        return;
    pthread_mutex_lock(&lock);
    writer->is_json = line[0] == '{';
    if (length <= LOG_FILE_LINE_MAX)
        ring_put(writer, LOG_KIND_INFO, line, length);
    else
        writer->pending++;
    pthread_mutex_unlock(&lock);
}

void log_file_close(struct log_file *file)
{
    if (file == NULL)
        return;
    pthread_mutex_lock(&lock);
    struct log_file **link = &files;
    while (*link != file)
        link = &(*link)->next;
    *link = file->next;
    writer_dismiss(file->writer);
    pthread_mutex_unlock(&lock);
    free(file);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped, memory_order_relaxed);
}

bool log_enabled(enum log_kind kind)
{
    static const enum log_level shown_from[] = {
        [LOG_KIND_ERROR] = LOG_LEVEL_ERROR,
        [LOG_KIND_WARNING] = LOG_LEVEL_ERROR,
        [LOG_KIND_INFO] = LOG_LEVEL_INFO,
        [LOG_KIND_DEBUG] = LOG_LEVEL_DEBUG,
    };
    return atomic_load_explicit(&shown_level, memory_order_relaxed) >= (int)shown_from[kind];
}

/* Writes without the thread. Waits a moment for a slow terminal, never for ever. */
static void write_directly(const char *line, size_t length)
{
    size_t written = 0;
    while (written < length && log_sink_writable(STDERR_FILENO, DIRECT_WAIT)) {
        ssize_t count = write(STDERR_FILENO, line + written, length - written);
        if (count > 0)
            written += (size_t)count;
        else if (count == 0 || (errno != EINTR && errno != EAGAIN))
            break;
    }
}

static void write_line(enum log_kind kind, int64_t when, const char *source, const char *message, bool cut)
{
    char line[LOG_LINE_MAX];
    size_t length = log_line_make(line, line_style(), kind, when, source, message, cut);
    pthread_mutex_lock(&lock);
    bool direct = active == NULL;
    if (!direct)
        ring_put(active, kind, line, length);
    pthread_mutex_unlock(&lock);
    if (direct)
        write_directly(line, length);
}

void log_write(enum log_kind kind, const char *source, const char *format, ...)
{
    bool keeps = kind <= LOG_KIND_WARNING;
    if (!keeps && !log_enabled(kind))
        return;
    int saved_errno = errno;
    char message[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int message_length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (message_length < 0)
        snprintf(message, sizeof message, "%s", format);
    int64_t now = clock_wall();
    if (keeps)
        log_recent_keep(kind, now, source, message);
    if (log_enabled(kind))
        write_line(kind, now, source, message, message_length >= (int)sizeof message);
    errno = saved_errno;
}
