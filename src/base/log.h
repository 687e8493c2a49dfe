/* The log. Until log_start() each line is written at once to standard error (start-up errors must reach the
 * terminal). From then on a line is formatted by the caller, put into a bounded ring and written by one
 * writer thread, so that no caller ever waits for a disk, a pipe or syslog: what the ring can't hold is
 * dropped, counted, and the count is said in a line of its own as soon as there is room again.
 *
 * Every byte outside printable ASCII is escaped (\n, \r, \t, \xNN) and lines are capped at LOG_LINE_MAX
 * bytes, in both formats, whoever wrote the text: nobody outside can forge a line or send escape sequences to
 * a terminal. The log and the loop are the only global state of the program. */
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

/* Opens the output and starts the writer thread, once: after the last fork, and after privileges were
 * dropped. False on failure, with the reason in `error`; the log then stays as it was. */
bool log_start(const struct log_options *options, char *error, size_t error_size);

/* A change of the options of a log that runs. Preparing it does all that can fail, such as opening a new
 * output (NULL with the reason in `error`); then it is committed or cancelled. Earlier lines go to the old
 * output. */
struct log_change;
struct log_change *log_change_prepare(const struct log_options *options, char *error, size_t error_size);
void log_change_commit(struct log_change *change);
void log_change_cancel(struct log_change *change); /* NULL is allowed */

/* Has each writer thread reopen its file (after rotation). Returns at once. A file that can't be reopened
 * stays in use, and the log says so. */
void log_reopen(void);

/* Writes out what the log and closed files hold, waiting at most two seconds for an output that does not take
 * it, and goes back to writing directly to standard error. Idempotent. */
void log_stop(void);

/* Lines dropped since log_start(). */
uint64_t log_dropped(void);

/* A further file to which lines are appended, with a thread and a ring of its own, so that no caller waits.
 * log_reopen() reopens it too. It works without the log being started. */
struct log_file;

/* Longest line, its line feed included; longer ones are dropped. */
#define LOG_FILE_LINE_MAX 64000

/* NULL on failure, with the reason in `error`. */
struct log_file *log_file_open(const char *path, char *error, size_t error_size);

/* Appends a line unchanged; it ends with a line feed. Lines that the file does not take are dropped, and
 * their number is written there in the same format: JSON if lines begin with a brace. */
void log_file_write(struct log_file *file, const char *line, size_t length);

/* Returns at once: the file's thread writes out what there is, which log_stop() waits for. NULL is allowed. */
void log_file_close(struct log_file *file);

/* Whether lines of this kind are shown, so that callers can spare the work of preparing one. */
bool log_enabled(enum log_kind kind);

/* Whether addresses of clients are to be masked in lines written from now on; set by log_start() too. */
void log_mask_addresses(bool mask);
bool log_masks_addresses(void);

/* Writes one line. `source` names what the line is about, mostly a listener; NULL for the process itself.
 * Text: "2026-11-23T10:15:04.123Z info mysql: ..."; JSON: one object with time, level, source, message.
 * Keeps errno. */
void log_write(enum log_kind kind, const char *source, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(source, ...)   log_write(LOG_KIND_ERROR, source, __VA_ARGS__)
#define log_warning(source, ...) log_write(LOG_KIND_WARNING, source, __VA_ARGS__)
#define log_info(source, ...)    log_write(LOG_KIND_INFO, source, __VA_ARGS__)
#define log_debug(source, ...)                                                                               \
    do {                                                                                                     \
        if (log_enabled(LOG_KIND_DEBUG))                                                                     \
            log_write(LOG_KIND_DEBUG, source, __VA_ARGS__);                                                  \
    } while (0)

#endif
