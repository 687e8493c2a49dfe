/* The log. Until log_start() each line is written at once to standard error. From then on a thread writes them, so
 * that no caller waits for a disk, a pipe or syslog: what its bounded memory can't hold is dropped, counted, and the
 * count is announced as soon as there is room. Bytes outside printable ASCII are escaped (\n, \r, \t, \xNN) and lines
 * capped at LOG_LINE_MAX bytes: nobody outside can forge a line or send escape sequences to a terminal. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 4096

enum log_level { LOG_LEVEL_NONE, LOG_LEVEL_ERROR, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_output { LOG_OUTPUT_STDERR, LOG_OUTPUT_SYSLOG, LOG_OUTPUT_FILE };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* What a line is; warnings are shown from level "error" on. */
enum log_kind { LOG_KIND_ERROR, LOG_KIND_WARNING, LOG_KIND_INFO, LOG_KIND_DEBUG };

struct log_options {
    enum log_level level;
    enum log_output output;
    const char *path; /* of the file, for LOG_OUTPUT_FILE; copied */
    enum log_format format;
    bool mask_addresses; /* of clients: see net/address.h */
};

/* Level and format from now on, for lines written before log_start() too. */
void log_configure(enum log_level level, enum log_format format);

/* Opens the output and starts the thread, once: after the last fork, and after privileges were dropped. False with
 * the reason in `error`: the log stays as it was. */
bool log_start(const struct log_options *options, char *error, size_t error_size);

/* Other options for a log that runs. Preparing does all that can fail (false with the reason in `error`); then the
 * output (NULL: it stays) is committed, or closed by log_file_close(). Earlier lines go to the old one. */
struct log_file;
bool log_prepare(const struct log_options *options, struct log_file **output, char *error, size_t error_size);
void log_commit(const struct log_options *options, struct log_file *output);

/* Has each thread reopen its file, after rotation. A file that can't be reopened stays in use, and the log says so. */
void log_reopen(void);

/* Writes out what the log and closed files hold, within two seconds; later lines go directly to standard error. */
void log_stop(void);

/* Lines dropped since log_start(). */
uint64_t log_dropped(void);

/* Longest line of a file, its line feed included; longer ones are dropped. */
#define LOG_FILE_LINE_MAX 64000

/* A further file to which lines are appended by a thread of its own; it works without the log being started. NULL with
 * the reason in `error`. */
struct log_file *log_file_open(const char *path, char *error, size_t error_size);

/* Appends a line unchanged; it ends with a line feed. The number of lines that were dropped is written there in the
 * same format: JSON if lines begin with a brace. */
void log_file_write(struct log_file *file, const char *line, size_t length);

/* The file's thread writes out what there is, which log_stop() waits for. NULL is allowed. */
void log_file_close(struct log_file *file);

/* Whether lines of this kind are shown. */
bool log_enabled(enum log_kind kind);

/* Whether addresses of clients are to be masked; set by log_start() too. */
void log_mask_addresses(bool mask);
bool log_masks_addresses(void);

/* Writes one line, and keeps errno. `source` names what the line is about, mostly a listener; NULL: the process.
 * Text: "2026-11-23T10:15:04.123Z info mysql: ..."; JSON: one object with time, level, source, message. */
void log_write(enum log_kind kind, const char *source, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One of the latest errors and warnings, which are kept for the status page. */
struct log_recent {
    int64_t time; /* milliseconds since 1970 */
    enum log_kind kind;
    char source[40];   /* "" for the process itself */
    char message[216]; /* any bytes, as in `source` */
};

#define LOG_RECENT_COUNT 32

/* Copies them, the newest first, to room for LOG_RECENT_COUNT; returns their number. */
size_t log_recent(struct log_recent *lines);

#define log_error(source, ...)   log_write(LOG_KIND_ERROR, source, __VA_ARGS__)
#define log_warning(source, ...) log_write(LOG_KIND_WARNING, source, __VA_ARGS__)
#define log_info(source, ...)    log_write(LOG_KIND_INFO, source, __VA_ARGS__)
#define log_debug(source, ...)                                                                               \
    do {                                                                                                     \
        if (log_enabled(LOG_KIND_DEBUG))                                                                     \
            log_write(LOG_KIND_DEBUG, source, __VA_ARGS__);                                                  \
    } while (0)

#endif
