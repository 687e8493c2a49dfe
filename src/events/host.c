#include "events/host.h"

#include "base/log.h"

/* Modules know the file as an opaque type, so that their header needs no internal one. */
static struct log_file *file_of(struct proximux_file *file)
{
    return (struct log_file *)(void *)file;
}

static void host_log(enum proximux_level level, const char *source, const char *text)
{
    static const enum log_kind kinds[] = {
        [PROXIMUX_ERROR] = LOG_KIND_ERROR,
        [PROXIMUX_WARNING] = LOG_KIND_WARNING,
        [PROXIMUX_INFO] = LOG_KIND_INFO,
        [PROXIMUX_DEBUG] = LOG_KIND_DEBUG,
    };
    bool is_known = (unsigned)level < sizeof kinds / sizeof kinds[0];
    log_write(is_known ? kinds[level] : LOG_KIND_INFO, source, "%s", text);
}

static struct proximux_file *host_open(const char *path, char *error, size_t error_size)
{
    return (struct proximux_file *)(void *)log_file_open(path, error, error_size);
}

static void host_write(struct proximux_file *file, const char *line, size_t length)
{
    log_file_write(file_of(file), line, length);
}

static void host_close(struct proximux_file *file)
{
    log_file_close(file_of(file));
}

const struct proximux_host host = {
    .log = host_log,
    .open = host_open,
    .write = host_write,
    .close = host_close,
};
