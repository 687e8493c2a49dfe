#include "server/server.h"

#include "base/log.h"
#include "net/inherited.h"
#include "net/runtime.h"
#include "server/daemon.h"
#include "server/drain.h"
#include "server/event_loop.h"
#include "server/listeners.h"
#include "server/notify.h"
#include "server/privileges.h"
#include "server/server_admin.h"
#include "server/server_reload.h"
#include "server/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ERROR_SIZE 320

/* Time that a new process has until it is ready: enough for long lists and slow name servers. */
#define UPGRADE_SECONDS 30.0

/* Owns everything that runs. */
struct server {
    struct config *config;
    struct events *events;
    struct runtime runtime;
    struct inherited inherited;
    struct bound_sockets *bound;      /* one a listener, until the listeners take them over */
    struct bound_sockets admin_bound; /* likewise, that of admin */
    struct listeners listeners;
    ev_timer sweep; /* of listeners that leave */
    struct reload reload;
    struct drain drain;
    struct server_admin admin;
    struct pid_file pid_file;
    char *pid_path;  /* the settings that named it may be gone */
    int daemon;      /* for daemon_ready(); -1: foreground */
    int predecessor; /* the process whose place we take; -1: none */
    struct upgrade upgrade;
    ev_timer watchdog;
    ev_signal signals[5];
    size_t signal_count;
};

static void server_end_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop;
    (void)events;
    struct server *server = watcher->data;
    upgrade_cancel(&server->upgrade);
    drain_signal(&server->drain);
}

static void server_reopen_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop;
    (void)events;
    struct server *server = watcher->data;
    log_reopen();
    if (watcher->signum == SIGHUP)
        reload_request(&server->reload);
}

static bool server_take_pid_file(struct server *server)
{
    char error[ERROR_SIZE];
    bool success =
        pid_file_take(&server->pid_file, server->pid_path, privileges_user(server->config->settings),
                      privileges_group(server->config->settings), error, sizeof error);
    if (!success)
        log_error(NULL, "%s", error);
    return success;
}

static void server_release(void *owner)
{
    struct server *server = owner;
    pid_file_leave(&server->pid_file);
}

static void server_resume(void *owner)
{
    struct server *server = owner;
    if (server->pid_file.path == NULL) /* let go of, or none */
        server_take_pid_file(server);
    reload_upgrade_ended(&server->reload, 0);
}

/* Another process has taken over the sockets: this one drains. */
static void server_hand_over(void *owner, pid_t successor)
{
    struct server *server = owner;
    char state[80];
    log_info(NULL, "process %ld has taken over", (long)successor);
    snprintf(state, sizeof state, "MAINPID=%ld", (long)successor);
    notify_send(state);
    reload_upgrade_ended(&server->reload, successor);
    ev_timer_stop(server->runtime.loop, &server->watchdog);
    server_admin_hand_over(&server->admin);
    drain_hand_over(&server->drain);
}

/* Adds a listener's sockets to those that a new process gets; returns how many there are then. */
static size_t server_list_sockets(struct listener *listener, struct launch_socket *sockets, size_t count)
{
    const struct bound_sockets *bound = listener_sockets(listener);
    for (size_t i = 0; i < bound->count; i++) {
        const char *name = bound->sockets[i].systemd_name;
        sockets[count].descriptor = bound->sockets[i].descriptor;
        sockets[count++].name = name != NULL ? name : INHERITED_BY_ADDRESS;
    }
    return count;
}

static void server_upgrade_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop;
    (void)events;
    struct server *server = watcher->data;
    size_t count = 0;
    if (server->drain.stage != DRAIN_RUNNING) {
        log_warning(NULL, "no upgrade: this process is ending");
        return;
    }
    if (getpid() == 1) {
        log_warning(NULL, "no upgrade: the end of process 1 of a container ends all others in it");
        return;
    }
    struct listener *admin = server->admin.listener;
    for (size_t i = 0; i < server->listeners.count; i++)
        count += listener_sockets(server->listeners.running[i])->count;
    if (admin != NULL)
        count += listener_sockets(admin)->count;
    struct launch_socket *sockets = calloc(count, sizeof *sockets);
    if (sockets == NULL) {
        log_error(NULL, "upgrade failed: %s", strerror(errno));
        return;
    }
    count = 0;
    for (size_t i = 0; i < server->listeners.count; i++)
        count = server_list_sockets(server->listeners.running[i], sockets, count);
    if (admin != NULL)
        count = server_list_sockets(admin, sockets, count);
    upgrade_start(&server->upgrade, sockets, count);
    free(sockets);
}

/* Signals that are requests to a running server. */
static const int requests[] = { SIGHUP, SIGUSR1, SIGUSR2 };

/* Blocks or unblocks them. */
static void server_mask_requests(int how)
{
    sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        sigaddset(&signals, requests[i]);
    pthread_sigmask(how, &signals, NULL);
}

void server_hold_signals(void)
{
    server_mask_requests(SIG_BLOCK);
}

static void server_watch_signal(struct server *server, int number,
                                void (*callback)(struct ev_loop *, ev_signal *, int))
{
    ev_signal *watcher = &server->signals[server->signal_count++];
    ev_signal_init(watcher, callback, number);
    watcher->data = server;
    ev_signal_start(server->runtime.loop, watcher);
}

static void server_watch_signals(struct server *server)
{
    server_watch_signal(server, SIGTERM, server_end_signal);
    server_watch_signal(server, SIGINT, server_end_signal);
    server_watch_signal(server, SIGHUP, server_reopen_signal);
    server_watch_signal(server, SIGUSR1, server_reopen_signal);
    server_watch_signal(server, SIGUSR2, server_upgrade_signal);
    server_mask_requests(SIG_UNBLOCK);
}

static void server_watchdog_due(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
    notify_send("WATCHDOG=1");
}

/* The watchdog of the service manager hears from the loop twice as often as it asks for. */
static void server_start_watchdog(struct server *server)
{
    double period = notify_watchdog_period() / 2;
    if (period <= 0)
        return;
    ev_timer_init(&server->watchdog, server_watchdog_due, period, period);
    ev_timer_start(server->runtime.loop, &server->watchdog);
}

static void server_listener_emptied(void *owner)
{
    struct server *server = owner;
    ev_timer_start(server->runtime.loop, &server->sweep);
    drain_check(&server->drain);
}

static void server_sweep(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop;
    (void)events;
    struct server *server = watcher->data;
    listeners_sweep(&server->listeners);
}

/* Descriptors that the listeners' own limits may ask for; 0 if one of them has none. */
static size_t server_descriptors_wanted(const struct settings *settings)
{
    size_t wanted = 0;
    for (size_t i = 0; i < settings->listener_count; i++) {
        size_t count = listener_descriptors(settings->listeners[i]);
        if (count == 0)
            return 0;
        wanted += count;
    }
    return wanted;
}

static bool server_bind_one(struct server *server, const struct listener_settings *settings,
                            struct bound_sockets *bound)
{
    char error[ERROR_SIZE];
    if (bind_listen(settings, privileges_user(server->config->settings),
                    privileges_group(server->config->settings), &server->inherited, bound, error,
                    sizeof error))
        return true;
    log_error(settings->name, "%s", error);
    return false;
}

/* Binds everything; says all that fails, not just the first. */
static bool server_bind(struct server *server)
{
    const struct settings *settings = server->config->settings;
    bool success = true;
    server->bound = calloc(settings->listener_count, sizeof *server->bound);
    server->listeners.running = calloc(settings->listener_count, sizeof(struct listener *));
    if (server->bound == NULL || server->listeners.running == NULL) {
        log_error(NULL, "%s", strerror(errno));
        return false;
    }
    for (size_t i = 0; i < settings->listener_count; i++)
        success = server_bind_one(server, settings->listeners[i], &server->bound[i]) && success;
    if (settings->admin != NULL)
        success = server_bind_one(server, settings->admin, &server->admin_bound) && success;
    return success;
}

static bool server_make_runtime(struct server *server)
{
    char error[ERROR_SIZE];
    struct runtime *runtime = &server->runtime;
    runtime->read_buffer = malloc(RUNTIME_READ_SIZE);
    if (runtime->read_buffer == NULL) {
        log_error(NULL, "%s", strerror(errno));
        return false;
    }
    runtime->loop = event_loop_create();
    if (runtime->loop == NULL) {
        log_error(NULL, "the event loop can't be made: %s", strerror(errno));
        return false;
    }
    turn_init(&runtime->turn, runtime->loop);
    shortage_init(&runtime->shortage, runtime->loop);
    runtime->resolver = resolver_create(runtime->loop, error, sizeof error);
    if (runtime->resolver == NULL) {
        log_error(NULL, "the resolver can't be made: %s", error);
        return false;
    }
    size_t wanted = server_descriptors_wanted(server->config->settings);
    size_t limit = descriptors_init(&runtime->descriptors, wanted);
    if (wanted > runtime->descriptors.available)
        log_warning(NULL,
                    "the limit of %zu open files is too low for the clients that max_connections allows",
                    limit);
    return true;
}

/* What the listeners have not taken over. */
static void server_close_bound(struct server *server)
{
    for (size_t i = 0; server->bound != NULL && i < server->config->settings->listener_count; i++)
        bind_close(&server->bound[i]);
    free(server->bound);
    server->bound = NULL;
}

static bool server_make_listeners(struct server *server)
{
    for (size_t i = 0; i < server->config->settings->listener_count; i++) {
        struct listener *listener =
            listener_create(&server->runtime, server->config->settings->listeners[i], server->events,
                            &server->bound[i], server_listener_emptied, server, NULL);
        if (listener == NULL) {
            log_error(server->config->settings->listeners[i]->name, "%s", strerror(errno));
            return false;
        }
        server->listeners.running[server->listeners.count++] = listener;
    }
    if (!server_admin_open(&server->admin, &server->runtime, &server->admin_bound)) {
        log_error("admin", "%s", strerror(errno));
        return false;
    }
    server_close_bound(server); /* a reload changes how many there are */
    return true;
}

/* All that can fail before the first client is accepted, in an order that leaves nothing behind. */
static bool server_prepare(struct server *server)
{
    char error[ERROR_SIZE];
    const struct settings *settings = server->config->settings;
    if (server->predecessor == -1 && !server_take_pid_file(server))
        return false;
    if (!server_bind(server))
        return false;
    if (!privileges_drop(settings, error, sizeof error)) {
        log_error(NULL, "user, group: %s", error);
        return false;
    }
    if (!server_make_runtime(server) || !server_make_listeners(server))
        return false;
    if (!events_start(server->events, error, sizeof error)) {
        log_error(NULL, "%s", error);
        return false;
    }
    if (!log_start(&settings->log, error, sizeof error)) {
        log_error(NULL, "log.output: %s", error);
        return false;
    }
    if (server->predecessor == -1)
        return true;
    upgrade_ask(server->predecessor);
    return server_take_pid_file(server);
}

static bool server_announce(struct server *server)
{
    log_info(NULL, "proximux %s started, process %ld", PACKAGE_VERSION, (long)getpid());
    config_log_warnings(server->config);
    inherited_report(&server->inherited);
    turn_refresh(&server->runtime.turn);
    for (size_t i = 0; i < server->listeners.count; i++)
        listener_start(server->listeners.running[i]);
    server_admin_start(&server->admin);
    if (server->daemon != -1 && !daemon_ready(&server->daemon)) {
        log_error(NULL, "going to the background: %s", strerror(errno));
        return false;
    }
    server_start_watchdog(server);
    if (server->predecessor != -1) {
        upgrade_take_over(server->predecessor);
        server->predecessor = -1;
        inherited_remove_paths(&server->inherited);
    }
    inherited_release(&server->inherited);
    notify_send("READY=1\nSTATUS=running");
    return true;
}

static void server_clean_up(struct server *server)
{
    /* Another TERM must not kill what is about to end by itself. */
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    reload_stop(&server->reload);
    server_admin_close(&server->admin);
    listeners_destroy(&server->listeners);
    server_close_bound(server);
    inherited_release(&server->inherited);
    upgrade_free(&server->upgrade);
    bind_close(&server->admin_bound);
    resolver_destroy(server->runtime.resolver);
    shortage_stop(&server->runtime.shortage);
    turn_close(&server->runtime.turn);
    if (server->runtime.loop != NULL) {
        ev_timer_stop(server->runtime.loop, &server->watchdog);
        ev_timer_stop(server->runtime.loop, &server->sweep);
        for (size_t i = 0; i < server->signal_count; i++)
            ev_signal_stop(server->runtime.loop, &server->signals[i]);
        ev_loop_destroy(server->runtime.loop);
    }
    events_release(server->events);
    free(server->runtime.read_buffer);
    pid_file_release(&server->pid_file);
    free(server->pid_path);
    log_stop();
    /* The socket to a predecessor closes with the exit, which is how it learns our status. */
    if (server->daemon != -1) /* last, because it tells the terminal that the start has failed */
        close(server->daemon);
}

static bool server_init_reload(struct server *server, const struct server_options *options)
{
    const struct reload_parts parts = {
        .runtime = &server->runtime,
        .config = server->config,
        .events = &server->events,
        .source = &options->source,
        .listeners = &server->listeners,
        .drain = &server->drain,
        .upgrade = &server->upgrade,
        .emptied = server_listener_emptied,
        .owner = server,
    };
    if (reload_init(&server->reload, &parts))
        return true;
    log_error(NULL, "%s", strerror(errno));
    return false;
}

/* Goes to the background, unless the process whose place we take is there. */
static bool server_leave_terminal(struct server *server, const struct server_options *options)
{
    if (!options->daemon || server->predecessor != -1)
        return true;
    server->daemon = daemon_start();
    if (server->daemon == -1)
        log_error(NULL, "going to the background: %s", strerror(errno));
    return server->daemon != -1;
}

/* What daemon_ready() does later for a process that had to go to the background itself. Not before all paths
 * of the command line have been noted. */
static bool server_leave_folder(const struct server *server, const struct server_options *options)
{
    if (!options->daemon || server->predecessor == -1 || chdir("/") == 0)
        return true;
    log_error(NULL, "going to the background: %s", strerror(errno));
    return false;
}

int server_run(struct config *config, const struct server_options *options)
{
    int status = EXIT_FAILURE;
    struct server server = {
        .config = config,
        .events = options->events,
        .daemon = -1,
        .predecessor = -1,
    };
    const struct upgrade_owner upgrade_owner = {
        .owner = &server,
        .patience = UPGRADE_SECONDS,
        .release = server_release,
        .resume = server_resume,
        .over = server_hand_over,
    };
    server_admin_init(&server.admin, &server.runtime, config, &server.drain, &server.reload);
    /* Errors at start reach the terminal, whatever the log is to hold later. */
    const struct log_options *log = &config->settings->log;
    log_configure(log->level == LOG_LEVEL_NONE ? LOG_LEVEL_ERROR : log->level, log->format);
    if (!daemon_fill_standard()) {
        log_error(NULL, "/dev/null: %s", strerror(errno));
        events_release(server.events);
        return EXIT_FAILURE;
    }
    upgrade_init(&server.upgrade, options->arguments);
    server.predecessor = upgrade_find_predecessor();
    const char *pid_path = options->pid_file != NULL ? options->pid_file : config->settings->pid_file;
    server.pid_path = pid_path == NULL ? NULL : strdup(pid_path);
    if (pid_path != NULL && server.pid_path == NULL) {
        log_error(NULL, "%s", strerror(errno));
        events_release(server.events);
        return EXIT_FAILURE;
    }
    if (!inherited_take(&server.inherited)) {
        log_error(NULL, "%s", strerror(ENOMEM));
        goto out;
    }
    if (!server_leave_terminal(&server, options) || !server_prepare(&server))
        goto out;
    upgrade_attach(&server.upgrade, server.runtime.loop, &upgrade_owner);
    server_watch_signals(&server);
    ev_timer_init(&server.sweep, server_sweep, 0.0, 0.0);
    server.sweep.data = &server;
    drain_init(&server.drain, server.runtime.loop, config, &server.listeners);
    if (!server_init_reload(&server, options) || !server_leave_folder(&server, options))
        goto out;
    if (!server_announce(&server))
        goto out;
    ev_run(server.runtime.loop, 0);
    listeners_log_totals(&server.listeners);
    log_info(NULL, "stopped");
    status = EXIT_SUCCESS;

out:
    server_clean_up(&server);
    return status;
}
