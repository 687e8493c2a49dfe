#include "base/clock.h"
#include "base/log.h"
#include "server/server_state.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The thread that reads a configuration. Owned by the loop until it is abandoned, then by the thread. */
struct reload_job {
    pthread_t thread;
    pthread_mutex_t lock;  /* guards the next two */
    struct server *server; /* NULL: abandoned */
    bool has_ended;
    struct config_source source; /* its file is owned; what else it points to lives as long as the process */
    struct reload_found found;
};

/* ---- The thread ---- */

/* Logs every name that can't be looked up, not the first alone. */
static void reload_job_resolve(struct reload_found *found)
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
static void reload_job_compare(struct reload_job *job)
{
    struct reload_found *found = &job->found;
    if (job->server == NULL || found->config.settings == NULL || found->wishes == NULL ||
        config_compare(job->server->config, &found->config, &found->changes))
        return;
    log_error(NULL, "%s", strerror(ENOMEM));
    found->errors++;
}

/* Signals are the loop's. Returns 0 or an errno. */
static int reload_job_start_thread(pthread_t *thread, void *(*run)(void *), struct reload_job *job)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void *reload_job_free_all(void *data)
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

/* In a thread of its own: large configurations take long. */
static void reload_job_free(struct reload_job *job)
{
    pthread_t thread;
    events_release(job->found.events);
    if (reload_job_start_thread(&thread, reload_job_free_all, job) == 0)
        pthread_detach(thread);
    else
        reload_job_free_all(job);
}

static void *reload_job_run(void *data)
{
    struct reload_job *job = data;
    config_load(&job->source, &job->found.config);
    job->found.events = events_load(&job->found.config);
    if (job->found.config.settings != NULL)
        reload_job_resolve(&job->found);
    pthread_mutex_lock(&job->lock);
    reload_job_compare(job);
    job->has_ended = true;
    bool is_abandoned = job->server == NULL;
    if (!is_abandoned)
        ev_async_send(job->server->runtime.loop, &job->server->reload.finished);
    pthread_mutex_unlock(&job->lock);
    if (is_abandoned)
        reload_job_free(job);
    return NULL;
}

/* NULL with errno. */
static struct reload_job *reload_job_start(struct server *server)
{
    struct reload_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return NULL;
    pthread_mutex_init(&job->lock, NULL);
    job->server = server;
    job->source = server->reload.source;
    job->source.file = strdup(job->source.file);
    int error =
        job->source.file == NULL ? ENOMEM : reload_job_start_thread(&job->thread, reload_job_run, job);
    if (error == 0)
        return job;
    reload_job_free_all(job);
    errno = error;
    return NULL;
}

/* Leaves the job to its thread, which may still run. */
static void reload_job_abandon(struct reload_job *job)
{
    pthread_mutex_lock(&job->lock);
    bool has_ended = job->has_ended;
    job->server = NULL;
    if (!has_ended)
        pthread_detach(job->thread);
    pthread_mutex_unlock(&job->lock);
    if (!has_ended)
        return;
    pthread_join(job->thread, NULL);
    reload_job_free(job);
}

/* ---- What follows in the loop ---- */

static void reload_refuse(struct reload *reload, size_t errors)
{
    char state[120];
    const char *noun = errors == 1 ? "error" : "errors";
    reload->refused++;
    reload->was_refused = true;
    log_error(NULL, "reload refused: %zu %s; nothing was changed", errors, noun);
    snprintf(state, sizeof state, "READY=1\nSTATUS=running; the last reload was refused: %zu %s", errors,
             noun);
    notify_send(state);
}

/* Whether the process is stopping, or being replaced by a new one; the log says so then. */
static bool reload_comes_late(struct server *server)
{
    if (server->drain.stage != DRAIN_RUNNING) {
        log_info(NULL, "not reloaded: the process is stopping");
        return true;
    }
    if (server->upgrade.successor.process == 0)
        return false;
    log_info(NULL, "the reload waits: a new process is about to take over");
    server->reload.waits = true;
    return true;
}

static void reload_apply(struct server *server, struct reload_found *found)
{
    struct reload *reload = &server->reload;
    if (reload_comes_late(server)) {
        if (server->drain.stage == DRAIN_RUNNING)
            notify_send(NOTIFY_RUNNING);
        return;
    }
    if (found->config.settings == NULL && found->config.errors + found->errors == 0)
        found->errors = 1; /* memory was short */
    config_log_problems(&found->config, true);
    if (found->config.errors + found->errors > 0 || !reload_plan_run(server, found)) {
        reload_refuse(reload, found->config.errors + found->errors);
        return;
    }
    turn_refresh(&server->runtime.turn); /* the swap may have taken long */
    resolver_renew(server->runtime.resolver);
    reload->done++;
    reload->was_refused = false;
    reload->loaded = clock_wall();
    log_info(NULL, "reloaded: %zu listeners", found->count);
    notify_send(NOTIFY_RUNNING);
}

static void reload_finished(struct ev_loop *, ev_async *watcher, int)
{
    struct server *server = watcher->data;
    struct reload *reload = &server->reload;
    struct reload_job *job = reload->job;
    reload->job = NULL;
    pthread_join(job->thread, NULL);
    reload_apply(server, &job->found);
    reload_job_free(job);
    bool is_repeated = reload->is_repeated;
    reload->is_repeated = false;
    if (is_repeated)
        reload_request(server);
}

/* The working directory is another one later, in the background. */
static char *absolute_path(const char *file)
{
    char *path = NULL;
    if (file[0] == '/')
        return strdup(file);
    char *directory = getcwd(NULL, 0);
    if (directory == NULL || asprintf(&path, "%s/%s", directory, file) == -1)
        path = NULL;
    free(directory);
    return path;
}

bool reload_init(struct server *server, const struct config_source *source)
{
    struct reload *reload = &server->reload;
    reload->loaded = server->started;
    reload->source = *source;
    reload->source.file = absolute_path(source->file);
    if (reload->source.file == NULL)
        return false;
    ev_async_init(&reload->finished, reload_finished);
    reload->finished.data = server;
    ev_async_start(server->runtime.loop, &reload->finished);
    return true;
}

void reload_request(struct server *server)
{
    struct reload *reload = &server->reload;
    if (reload_comes_late(server))
        return;
    if (reload->job != NULL) {
        reload->is_repeated = true;
        return;
    }
    notify_reloading();
    log_info(NULL, "reloading the configuration");
    reload->job = reload_job_start(server);
    if (reload->job != NULL)
        return;
    log_error(NULL, "%s", strerror(errno));
    reload_refuse(reload, 1);
}

void reload_upgrade_ended(struct server *server, pid_t successor)
{
    bool waited = server->reload.waits;
    server->reload.waits = false;
    if (!waited)
        return;
    if (successor == 0)
        reload_request(server);
    else if (kill(successor, SIGHUP) == -1)
        log_warning(NULL, "process %ld can't be asked to reload: %s", (long)successor, strerror(errno));
}

void reload_stop(struct server *server)
{
    struct reload *reload = &server->reload;
    if (reload->source.file == NULL)
        return;
    ev_async_stop(server->runtime.loop, &reload->finished);
    if (reload->job != NULL)
        reload_job_abandon(reload->job);
    free((char *)reload->source.file);
}
