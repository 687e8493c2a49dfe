/* The thread that reads a configuration for a reload. */
#ifndef SERVER_RELOAD_JOB_H
#define SERVER_RELOAD_JOB_H

#include "config/changes.h"
#include "config/config.h"
#include "listener/bind.h"

#include <ev.h>

struct reload_job;

/* What the thread has found out. */
struct reload_found {
    struct config config;
    struct config_changes changes; /* against the configuration in force; nothing if it has errors */
    struct events *events;         /* loaded, not started; NULL where something is wrong */
    struct bind_wishes *wishes;    /* one a listener of it; NULL if it has errors */
    size_t count;                  /* of these */
    size_t errors;                 /* of looking addresses up; each was written to the log */
};

/* Starts the thread; `finished` is sent when it has ended. Until then, or until the job is abandoned, `before`, the
 * configuration in force, must stay as it is. NULL with errno. */
struct reload_job *reload_job_start(struct ev_loop *loop, ev_async *finished,
                                    const struct config_source *source, const struct config *before);

/* Takes what a thread that has ended has found, which is the caller's then, and frees the job. */
void reload_job_take(struct reload_job *job, struct reload_found *found);

/* Detaches a thread that may still run; `finished` is not sent any more. */
void reload_job_abandon(struct reload_job *job);

/* Frees all, the configuration in a thread of its own: large ones take long. */
void reload_found_free(struct reload_found *found);

#endif
