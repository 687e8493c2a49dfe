/* What runs in the process, as the files of this room share it. */
#ifndef SERVER_SERVER_STATE_H
#define SERVER_SERVER_STATE_H

#include "config/changes.h"
#include "events/events.h"
#include "listener/listener.h"
#include "net/runtime.h"
#include "server/daemon.h"
#include "server/upgrade.h"

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a text that says why something failed. */
#define ERROR_SIZE 320

/* All listeners: those that a reload has taken out of the configuration, until their last client has gone, and
 * those that it has. */
struct listeners {
    struct listener **all;
    size_t leaving; /* so many come first */
    size_t running; /* the others, in the order of the configuration */
};

/* Ending the process without hurting anybody.
 *
 *            first signal            shutdown_delay passed           last client left
 *   RUNNING -------------> DELAYED -----------------------> DRAINING ----------------> ENDED
 *                             |                                |
 *                             +--- second signal, or shutdown_timeout: all closed ---> ENDED
 *
 * DELAYED: everything goes on, for load balancers to notice. DRAINING: those in the backlogs were accepted,
 * the sockets are closed, sessions finish; who waits in a queue is still served. */
enum drain_stage { DRAIN_RUNNING, DRAIN_DELAYED, DRAIN_DRAINING, DRAIN_ENDED };

struct drain {
    enum drain_stage stage;
    unsigned ignores; /* signals that are meant for the process that serves now */
    ev_timer timer;
    ev_timer sweep; /* of listeners that have become empty */
};

/* Reloading the configuration.
 *
 *            HUP                   read and right             bound and made
 *   IDLE ---------> READING (a thread) ---------> planned ------------------> committed
 *                       |                            |
 *                       +--- wrong ------------------+--- something failed: all is as it was
 *
 * The loop goes on while the thread reads, then does all that can fail, aside, and after that what can't. While an
 * upgrade is under way nothing is changed: whoever serves after it reloads then, since the new process may have read
 * the file before it was changed. */
struct reload {
    struct config_source source; /* its file is an absolute path, and owned; NULL: not initialised */
    struct reload_job *job;      /* NULL: no thread is at work */
    bool is_repeated;            /* a HUP has come meanwhile */
    bool waits;                  /* likewise, while an upgrade was under way */
    ev_async finished;
    uint64_t done;    /* reloads that were carried out */
    uint64_t refused; /* and those that were not */
    bool was_refused; /* the last one */
    int64_t loaded;   /* when the configuration in force was read: milliseconds since 1970 */
};

#define SERVER_SIGNALS 5

/* Owns everything that runs. */
struct server {
    struct config *config; /* in force; a reload replaces what is in it */
    struct events *events; /* likewise */
    struct runtime runtime;
    struct inherited inherited;
    struct listeners listeners;
    struct listener *admin; /* NULL: there is none */
    int64_t started;        /* milliseconds since 1970 */
    struct reload reload;
    struct drain drain;
    struct upgrade upgrade;
    struct pid_file pid_file;
    char *pid_path;  /* the settings that named it may be gone */
    int daemon;      /* for daemon_ready(); -1: foreground */
    int predecessor; /* the process whose place we take; -1: none */
    ev_timer watchdog;
    ev_signal signals[SERVER_SIGNALS];
};

static inline struct listener **server_running(const struct server *server)
{
    return server->listeners.all + server->listeners.leaving;
}

/* ---- event_loop.c ---- */

/* NULL with errno. Where libev would abort, now or later, the log says what is wrong and the process ends with 1. */
struct ev_loop *event_loop_create(void);

/* ---- notify.c: the state of the process for the service manager, as sd_notify(3) does it ---- */

#define NOTIFY_RUNNING "READY=1\nSTATUS=running"

/* Sends `state` as one datagram. Without $NOTIFY_SOCKET nothing happens; a failure is logged. */
void notify_send(const char *state);

/* A reload begins; READY=1 says that it is over. */
void notify_reloading(void);

/* How often the service manager wants to hear WATCHDOG=1, in seconds; 0: not at all. */
double notify_watchdog_period(void);

/* ---- drain.c ---- */

void drain_init(struct server *server);

/* TERM or INT has come: drains; the second time: closes all at once. Breaks the loop when nothing is left. */
void drain_signal(struct server *server);

/* Another process accepts from the same sockets now: leaves them to it, backlogs included, and drains. The
 * next two signals change nothing: they are meant for the process that serves. */
void drain_hand_over(struct server *server);

/* The `emptied` of all listeners, which belong to the server. */
void drain_listener_emptied(void *owner);

/* Writes what all listeners have done to the log; frees them all. */
void drain_log_totals(const struct server *server);
void drain_destroy(struct server *server);

/* ---- server_admin.c ---- */

/* Makes the listener of admin, if the settings name one; takes `bound` over. False with errno. */
bool server_admin_open(struct server *server, struct bound_sockets *bound);

/* ---- server_reload.c ---- */

/* To be called while the working directory is still that of the start. False when memory is short. */
bool reload_init(struct server *server, const struct config_source *source);

/* HUP has come. */
void reload_request(struct server *server);

/* An upgrade has failed (`successor` is 0) or succeeded: a reload that waited is done here, or asked of the
 * successor. */
void reload_upgrade_ended(struct server *server, pid_t successor);

/* Gives up what is under way. Works on a zeroed struct too. */
void reload_stop(struct server *server);

/* ---- reload_plan.c ---- */

/* What the thread of a reload has found. */
struct reload_found {
    struct config config;
    struct config_changes changes; /* against the configuration in force; nothing if it has errors */
    struct events *events;         /* loaded, not started; NULL where something is wrong */
    struct bind_wishes *wishes;    /* one a listener of it; NULL if it has errors */
    size_t count;                  /* of these */
    size_t errors;                 /* beyond those of the configuration; each was written to the log */
};

/* Listeners and configuration are from now on what was found. What fails is written to the log, all of it, and counted
 * in `found`: false, then all is as it was. What is to be freed is in `found`. */
bool reload_plan_run(struct server *server, struct reload_found *found);

#endif
