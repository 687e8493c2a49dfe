#include "base/log.h"
#include "server/server_state.h"

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

/* Signals are the loop's. Returns 0 or an errno. */
static int job_start_thread(pthread_t *thread, void *(*run)(void *), struct reload_job *job)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void *job_free(void *data)
{
    struct reload_job *job = data;
    for (size_t i = 0; i < job->found.count; i++)
        bind_wishes_free(&job->found.wishes[i]);
    free(job->found.wishes);
    config_changes_free(&job->found.changes);
    config_free(&job->found.config);
    pthread_mutex_destroy(&job->lock);
    free((char *)job->source.file);
    free(job);
    return NULL;
}

void reload_job_free(struct reload_job *job)
{
    pthread_t thread;
    events_release(job->found.events);
    if (job_start_thread(&thread, job_free, job) == 0)
        pthread_detach(thread);
    else
        job_free(job);
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
    bool is_abandoned = job->loop == NULL;
    if (!is_abandoned)
        ev_async_send(job->loop, job->finished);
    pthread_mutex_unlock(&job->lock);
    if (is_abandoned)
        reload_job_free(job);
    return NULL;
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
    int error = job->source.file == NULL ? ENOMEM : job_start_thread(&job->thread, job_run, job);
    if (error == 0)
        return job;
    job_free(job);
    errno = error;
    return NULL;
}

struct reload_found *reload_job_join(struct reload_job *job)
{
    pthread_join(job->thread, NULL);
    return &job->found;
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
    reload_job_join(job);
    reload_job_free(job);
}
