/* The thread that reads a configuration for a reload. */
#ifndef SERVER_RELOAD_JOB_H
#define SERVER_RELOAD_JOB_H

#include "config/config.h"
#include "listener/bind.h"

#include <ev.h>

struct reload_job;

/* What the thread has found out. */
struct reload_found {
    struct config config;
    struct events *events;      /* loaded, not started; NULL where something is wrong */
    struct bind_wishes *wishes; /* one a listener of it; NULL if it has errors */
    size_t errors;              /* of looking addresses up; each was written to the log */
};

/* Starts the thread; `finished` is sent when it has ended. NULL with errno. */
struct reload_job *reload_job_start(struct ev_loop *loop, ev_async *finished,
                                    const struct config_source *source);

/* Takes what a thread that has ended has found, which is the caller's then, and frees the job. */
void reload_job_take(struct reload_job *job, struct reload_found *found);

/* Lets a thread that may still be at work end by itself. Nobody is told any more. */
void reload_job_abandon(struct reload_job *job);

void reload_found_free(struct reload_found *found);

#endif
