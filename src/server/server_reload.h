/* Reloading the configuration.
 *
 *            HUP                   read and right             bound and made
 *   IDLE ---------> READING (a thread) ---------> planned ------------------> committed
 *                       |                            |
 *                       +--- wrong ------------------+--- something failed: all is as it was
 *
 * A thread of its own reads files and environment, checks them, builds the lists and looks names up; the loop
 * goes on meanwhile. What it has made is a configuration of its own, handed over as a whole. The loop then
 * does all that can fail, aside, and after that what can't. A HUP that comes while the thread is at work is
 * done afterwards, once. While an upgrade is under way nothing is changed; what was asked for meanwhile is
 * then done by whoever serves, since the new process may have read the file before it was changed. */
#ifndef SERVER_RELOAD_H
#define SERVER_RELOAD_H

#include "config/config.h"
#include "events/events.h"
#include "server/drain.h"
#include "server/listeners.h"
#include "server/upgrade.h"

#include <ev.h>
#include <stdint.h>
#include <sys/types.h>

struct reload_job;

/* What a reload works on. All of it is the server's. */
struct reload_parts {
    struct runtime *runtime;
    struct config *config;  /* the one in force: replaced by a reload */
    struct events **events; /* likewise */
    const struct config_source *source;
    struct listeners *listeners;
    const struct drain *drain;
    const struct upgrade *upgrade;
    listener_emptied *emptied; /* for new listeners */
    void *owner;
};

/* Owned by the server. */
struct reload {
    struct reload_parts parts;
    char *file;             /* the main file, by an absolute path; NULL while there is no reload to be had */
    struct reload_job *job; /* NULL: no thread is at work */
    bool again;             /* a HUP has come meanwhile */
    bool waits;             /* likewise, while an upgrade was under way */
    ev_async finished;
    uint64_t done;    /* reloads that were carried out */
    uint64_t refused; /* and those that were not */
    bool was_refused; /* the last one */
    int64_t loaded;   /* when the last one was carried out: milliseconds since 1970; 0: never */
};

/* To be called while the working directory is still that of the start. False when memory is short. */
bool reload_init(struct reload *reload, const struct reload_parts *parts);

/* HUP has come. */
void reload_request(struct reload *reload);

/* An upgrade has failed (`successor` is 0), or has succeeded: a reload that waited for its end is done here, or is
 * asked of the successor. */
void reload_upgrade_ended(struct reload *reload, pid_t successor);

/* Gives up what is under way. Works on a zeroed struct too. */
void reload_stop(struct reload *reload);

#endif
