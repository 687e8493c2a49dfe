#include "server/server_reload.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/runtime.h"
#include "server/notify.h"
#include "server/reload_job.h"
#include "server/reload_plan.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool string_differs(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

/* Warns of changes that take effect at the next start only. */
static void reload_warn(const struct settings *before, const struct settings *after,
                        const struct config_changes *changes)
{
    static const char text[] = "reload: %s stays as it was until the next start";
    if (string_differs(before->user, after->user) || string_differs(before->group, after->group))
        log_warning(NULL, text, "user and group");
    if (string_differs(before->pid_file, after->pid_file))
        log_warning(NULL, text, "pid_file");
    if (changes->admin)
        log_warning(NULL, text, "admin");
}

static void reload_refuse(struct reload *reload, size_t errors)
{
    char state[120];
    reload->refused++;
    reload->was_refused = true;
    log_error(NULL, "reload refused: %zu %s; nothing was changed", errors, errors == 1 ? "error" : "errors");
    snprintf(state, sizeof state, "READY=1\nSTATUS=running; the last reload was refused: %zu %s", errors,
             errors == 1 ? "error" : "errors");
    notify_send(state);
}

static void reload_carry_out(struct reload *reload, struct reload_plan *plan, struct reload_found *found)
{
    const struct reload_parts *parts = &reload->parts;
    config_log_warnings(&found->config);
    reload_warn(parts->config->settings, found->config.settings, &found->changes);
    if (found->changes.keys[0] != '\0')
        log_info(NULL, "reload: changed: %s", found->changes.keys);
    reload_plan_commit(plan);
    turn_refresh(&parts->runtime->turn); /* the swap may have taken long */
    resolver_renew(parts->runtime->resolver);
    reload->done++;
    reload->was_refused = false;
    reload->loaded = clock_wall();
    log_info(NULL, "reloaded: %zu listeners", found->count);
    notify_send("READY=1\nSTATUS=running");
}

/* Whether the process is stopping, or being replaced by a new one; the log says so then. */
static bool reload_comes_late(struct reload *reload)
{
    if (reload->parts.drain->stage != DRAIN_RUNNING) {
        log_info(NULL, "not reloaded: the process is stopping");
    } else if (reload->parts.upgrade->successor.process != 0) {
        log_info(NULL, "the reload waits: a new process is about to take over");
        reload->waits = true;
    } else {
        return false;
    }
    return true;
}

static void reload_apply(struct reload *reload, struct reload_found *found)
{
    size_t errors = found->config.errors + found->errors;
    if (reload_comes_late(reload)) {
        if (reload->parts.drain->stage == DRAIN_RUNNING)
            notify_send("READY=1\nSTATUS=running");
        return;
    }
    if (found->config.settings == NULL && errors == 0)
        errors = 1; /* memory was short */
    config_log_errors(&found->config);
    struct reload_plan *plan = NULL;
    if (errors == 0)
        plan = reload_plan_make(&reload->parts, found, &errors);
    if (plan == NULL)
        reload_refuse(reload, errors);
    else
        reload_carry_out(reload, plan, found);
}

static void reload_start(struct reload *reload)
{
    struct config_source source = *reload->parts.source;
    source.file = reload->file;
    notify_reloading();
    log_info(NULL, "reloading the configuration");
    reload->job =
        reload_job_start(reload->parts.runtime->loop, &reload->finished, &source, reload->parts.config);
    if (reload->job != NULL)
        return;
    log_error(NULL, "%s", strerror(errno));
    reload_refuse(reload, 1);
}

static void reload_finished(struct ev_loop *loop, ev_async *watcher, int events)
{
    (void)loop;
    (void)events;
    struct reload *reload = watcher->data;
    struct reload_found found;
    reload_job_take(reload->job, &found);
    reload->job = NULL;
    reload_apply(reload, &found);
    reload_found_free(&found);
    bool again = reload->again;
    reload->again = false;
    if (again)
        reload_request(reload);
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

bool reload_init(struct reload *reload, const struct reload_parts *parts)
{
    *reload = (struct reload){ .parts = *parts, .file = absolute_path(parts->source->file) };
    if (reload->file == NULL)
        return false;
    ev_async_init(&reload->finished, reload_finished);
    reload->finished.data = reload;
    ev_async_start(parts->runtime->loop, &reload->finished);
    return true;
}

void reload_request(struct reload *reload)
{
    if (reload_comes_late(reload))
        return;
    if (reload->job != NULL)
        reload->again = true;
    else
        reload_start(reload);
}

void reload_upgrade_ended(struct reload *reload, pid_t successor)
{
    bool waited = reload->waits;
    reload->waits = false;
    if (!waited)
        return;
    if (successor == 0)
        reload_request(reload);
    else if (kill(successor, SIGHUP) == -1)
        log_warning(NULL, "process %ld can't be asked to reload: %s", (long)successor, strerror(errno));
}

void reload_stop(struct reload *reload)
{
    if (reload->file == NULL)
        return;
    ev_async_stop(reload->parts.runtime->loop, &reload->finished);
    if (reload->job != NULL)
        reload_job_abandon(reload->job);
    reload->job = NULL;
    free(reload->file);
    reload->file = NULL;
}
