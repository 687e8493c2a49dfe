#include "base/log_sink.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

/* How often, in milliseconds, the deadline is looked at while an output takes nothing. */
#define STUCK_POLL 100

static int sink_open(const char *path)
{
    /* Not blocking, for a FIFO: without a reader it is refused instead of waited for. */
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

static bool sink_is_writable(int fd, int milliseconds)
{
    struct pollfd waiting = { .fd = fd, .events = POLLOUT };
    return poll(&waiting, 1, milliseconds) > 0;
}

/* Waits until the output takes something again; false when it is time to give up. */
static bool sink_wait(const struct log_sink *sink)
{
    do {
        if (sink_is_writable(sink->fd, STUCK_POLL))
            return true;
    } while (clock_now() < sink->deadline);
    return false;
}

_Static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line must fit one atomic write to a pipe");

/* As many whole lines as fit one atomic write to a pipe. */
static size_t pipe_chunk(const char *text, size_t length)
{
    if (length <= PIPE_BUF)
        return length;
    const char *end = memrchr(text, '\n', PIPE_BUF);
    return end == NULL ? PIPE_BUF : (size_t)(end - text) + 1;
}

/* One write that can't block. The descriptor may be a blocking one, since other processes share it. A pipe
 * that is ready takes PIPE_BUF bytes at once. */
static ssize_t sink_try(const struct log_sink *sink, const char *text, size_t length)
{
    if (sink->is_socket)
        return send(sink->fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sink->output == LOG_OUTPUT_FILE) /* opened non-blocking */
        return write(sink->fd, text, length);
    if (sink_is_writable(sink->fd, 0))
        return write(sink->fd, text, pipe_chunk(text, length));
    errno = EAGAIN;
    return -1;
}

static size_t sink_write(struct log_sink *sink, const char *text, size_t length)
{
    size_t written = 0;
    while (written < length) {
        ssize_t count = sink_try(sink, text + written, length - written);
        if (count > 0)
            written += (size_t)count;
        else if (count == -1 && errno == EINTR)
            continue;
        else if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK) || !sink_wait(sink))
            break;
    }
    if (written > 0)
        sink->torn = text[written - 1] != '\n';
    return written;
}

char log_sink_mark(enum log_kind kind)
{
    static const char marks[] = {
        [LOG_KIND_ERROR] = LOG_ERR,
        [LOG_KIND_WARNING] = LOG_WARNING,
        [LOG_KIND_INFO] = LOG_INFO,
        [LOG_KIND_DEBUG] = LOG_DEBUG,
    };
    return marks[kind];
}

static void sink_write_syslog(const char *text, size_t length)
{
    const char *end = text + length;
    for (const char *line = text; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        syslog(line[0], "%.*s", (int)(next - line) - 1, line + 1);
        line = next + 1;
    }
}

size_t log_sink_write(struct log_sink *sink, const char *text, size_t length)
{
    if (sink->output == LOG_OUTPUT_SYSLOG) {
        sink_write_syslog(text, length);
        return length;
    }
    if (length == 0 || (sink->torn && sink_write(sink, "\n", 1) != 1))
        return 0;
    return sink_write(sink, text, length);
}

bool log_sink_reopen(struct log_sink *sink)
{
    if (sink->output != LOG_OUTPUT_FILE)
        return true;
    int fd = sink_open(sink->path);
    if (fd == -1)
        return false;
    close(sink->fd);
    sink->fd = fd;
    sink->torn = false;
    return true;
}

bool log_sink_open(struct log_sink *sink, const struct log_options *options, char *error, size_t error_size)
{
    sink->output = options->output;
    sink->fd = -1;
    if (options->output == LOG_OUTPUT_SYSLOG) {
        openlog("proximux", LOG_PID, LOG_DAEMON);
        return true;
    }
    if (options->output == LOG_OUTPUT_STDERR) {
        struct stat status;
        sink->fd = STDERR_FILENO;
        sink->is_socket = fstat(sink->fd, &status) == 0 && S_ISSOCK(status.st_mode);
        return true;
    }
    sink->path = strdup(options->path);
    if (sink->path == NULL) {
        snprintf(error, error_size, "cannot start the log: %s", strerror(errno));
        return false;
    }
    sink->fd = sink_open(sink->path);
    if (sink->fd == -1) {
        snprintf(error, error_size, "cannot open the log file %s: %s", sink->path, strerror(errno));
        return false;
    }
    return true;
}

void log_sink_close(struct log_sink *sink)
{
    if (sink->output == LOG_OUTPUT_SYSLOG)
        closelog();
    if (sink->output == LOG_OUTPUT_FILE && sink->fd != -1)
        close(sink->fd);
    free(sink->path);
}
