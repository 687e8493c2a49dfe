#include "base/log_recent.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_recent ring[LOG_RECENT_COUNT]; /* guarded by `lock` */
static uint64_t line_count;                      /* guarded by `lock`: ever put in */

size_t log_recent(struct log_recent *lines)
{
    pthread_mutex_lock(&lock);
    size_t count = line_count < LOG_RECENT_COUNT ? (size_t)line_count : LOG_RECENT_COUNT;
    for (size_t i = 0; i < count; i++)
        lines[i] = ring[(line_count - 1 - i) % LOG_RECENT_COUNT];
    pthread_mutex_unlock(&lock);
    return count;
}

void log_recent_keep(enum log_kind kind, int64_t when, const char *source, const char *message)
{
    pthread_mutex_lock(&lock);
    struct log_recent *line = &ring[line_count++ % LOG_RECENT_COUNT];
    line->time = when;
    line->kind = kind;
    snprintf(line->source, sizeof line->source, "%s", source == NULL ? "" : source);
    int length = snprintf(line->message, sizeof line->message, "%s", message);
    if (length >= (int)sizeof line->message)
        memcpy(line->message + sizeof line->message - 4, "...", 4);
    pthread_mutex_unlock(&lock);
}
