#include "server/reload_job.h"

#include "base/log.h"
#include "events/events.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ERROR_SIZE 320

/* Owned by the loop until it abandons it, then by the thread. */
struct reload_job {
    pthread_t thread;
    pthread_mutex_t lock; /* guards the next four */
    struct ev_loop *loop; /* NULL: abandoned */
    ev_async *finished;
    const struct config *before;
    bool has_ended;
    struct config_source source; /* its file is owned; what else it points to lives as long as the process */
    struct reload_found found;
};

static void job_free(struct reload_job *job)
{
    pthread_mutex_destroy(&job->lock);
    free((char *)job->source.file);
    free(job);
}

/* Logs every name that can't be looked up, not the first alone. */
static void job_resolve(struct reload_found *found)
{
    const struct settings *settings = found->config.settings;
    found->wishes = calloc(settings->listener_count, sizeof *found->wishes);
    if (found->wishes == NULL) {
        log_error(NULL, "%s", strerror(errno));
        found->errors++;
        return;
    }
    found->count = settings->listener_count;
    for (size_t i = 0; i < found->count; i++) {
        char error[ERROR_SIZE];
        if (bind_resolve(settings->listeners[i], &found->wishes[i], error, sizeof error))
            continue;
        log_error(settings->listeners[i]->name, "%s", error);
        found->errors++;
    }
}

/* Under the lock: once the job is abandoned, the configuration in force may go. */
static void job_compare(struct reload_job *job)
{
    struct reload_found *found = &job->found;
    if (job->loop == NULL || found->config.settings == NULL || found->wishes == NULL ||
        config_compare(job->before, &found->config, &found->changes))
        return;
    log_error(NULL, "%s", strerror(ENOMEM));
    found->errors++;
}

static void *job_run(void *data)
{
    struct reload_job *job = data;
    config_load(&job->source, &job->found.config);
    job->found.events = events_load(&job->found.config);
    if (job->found.config.settings != NULL)
        job_resolve(&job->found);
    pthread_mutex_lock(&job->lock);
    job_compare(job);
    job->has_ended = true;
    bool abandoned = job->loop == NULL;
    if (!abandoned)
        ev_async_send(job->loop, job->finished);
    pthread_mutex_unlock(&job->lock);
    if (abandoned) {
        reload_found_free(&job->found);
        job_free(job);
    }
    return NULL;
}

/* Signals are the loop's. Returns 0 or an errno. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *data)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, data);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct reload_job *reload_job_start(struct ev_loop *loop, ev_async *finished,
                                    const struct config_source *source, const struct config *before)
{
    struct reload_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return NULL;
    pthread_mutex_init(&job->lock, NULL);
    job->loop = loop;
    job->finished = finished;
    job->before = before;
    job->source = *source;
    job->source.file = strdup(source->file);
    int error = job->source.file == NULL ? ENOMEM : start_thread(&job->thread, job_run, job);
    if (error == 0)
        return job;
    job_free(job);
    errno = error;
    return NULL;
}

void reload_job_take(struct reload_job *job, struct reload_found *found)
{
    pthread_join(job->thread, NULL);
    *found = job->found;
    job_free(job);
}

void reload_job_abandon(struct reload_job *job)
{
    pthread_mutex_lock(&job->lock);
    bool has_ended = job->has_ended;
    job->loop = NULL;
    if (!has_ended)
        pthread_detach(job->thread);
    pthread_mutex_unlock(&job->lock);
    if (!has_ended)
        return;
    struct reload_found found;
    reload_job_take(job, &found);
    reload_found_free(&found);
}

static void *free_configuration(void *data)
{
    config_free(data);
    free(data);
    return NULL;
}

void reload_found_free(struct reload_found *found)
{
    pthread_t thread;
    struct config *config = malloc(sizeof *config);
    for (size_t i = 0; i < found->count; i++)
        bind_wishes_free(&found->wishes[i]);
    free(found->wishes);
    config_changes_free(&found->changes);
    events_release(found->events);
    if (config != NULL)
        *config = found->config;
    if (config != NULL && start_thread(&thread, free_configuration, config) == 0) {
        pthread_detach(thread);
    } else {
        config_free(&found->config);
        free(config);
    }
}
