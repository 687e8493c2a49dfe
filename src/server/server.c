#include "server/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/privileges.h"
#include "server/server_state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Time that a new process has until it is ready: enough for long lists and slow name servers. */
#define UPGRADE_SECONDS 30.0

static void server_end_signal(struct ev_loop *, ev_signal *watcher, int)
{
    struct server *server = watcher->data;
    upgrade_cancel(&server->upgrade);
    drain_signal(server);
}

static void server_reopen_signal(struct ev_loop *, ev_signal *watcher, int)
{
    log_reopen();
    if (watcher->signum == SIGHUP)
        reload_request(watcher->data);
}

/* Logs why a step failed, if it did. */
static bool server_check(bool success, const char *step, const char *error)
{
    if (!success)
        log_error(NULL, "%s%s", step, error);
    return success;
}

static bool server_take_pid_file(struct server *server)
{
    char error[ERROR_SIZE];
    const struct settings *settings = server->config->settings;
    return server_check(pid_file_take(&server->pid_file, server->pid_path, privileges_user(settings),
                                      privileges_group(settings), error, sizeof error),
                        "", error);
}

static void server_release(void *owner)
{
    pid_file_leave(&((struct server *)owner)->pid_file);
}

static void server_resume(void *owner)
{
    struct server *server = owner;
    if (server->pid_file.path == NULL) /* let go of, or none */
        server_take_pid_file(server);
    reload_upgrade_ended(server, 0);
}

/* Another process has taken over the sockets: this one drains. */
static void server_hand_over(void *owner, pid_t successor)
{
    struct server *server = owner;
    char state[80];
    log_info(NULL, "process %ld has taken over", (long)successor);
    snprintf(state, sizeof state, "MAINPID=%ld", (long)successor);
    notify_send(state);
    reload_upgrade_ended(server, successor);
    ev_timer_stop(server->runtime.loop, &server->watchdog);
    if (server->admin != NULL)
        listener_hand_over(server->admin);
    drain_hand_over(server);
}

/* Adds a listener's sockets to those that a new process gets, or counts them only; returns how many there are then. */
static size_t server_list_sockets(struct listener *listener, struct launch_socket *sockets, size_t count)
{
    const struct bound_sockets *bound = listener_sockets(listener);
    for (size_t i = 0; sockets != NULL && i < bound->count; i++) {
        const char *name = bound->sockets[i].systemd_name;
        sockets[count + i] = (struct launch_socket){
            .descriptor = bound->sockets[i].descriptor,
            .name = name != NULL ? name : INHERITED_BY_ADDRESS,
        };
    }
    return count + bound->count;
}

static size_t server_list_all_sockets(const struct server *server, struct launch_socket *sockets)
{
    size_t count = 0;
    for (size_t i = 0; i < server->listeners.running; i++)
        count = server_list_sockets(server_running(server)[i], sockets, count);
    return server->admin == NULL ? count : server_list_sockets(server->admin, sockets, count);
}

static void server_upgrade_signal(struct ev_loop *, ev_signal *watcher, int)
{
    struct server *server = watcher->data;
    if (server->drain.stage != DRAIN_RUNNING) {
        log_warning(NULL, "no upgrade: this process is ending");
        return;
    }
    if (getpid() == 1) {
        log_warning(NULL, "no upgrade: the end of process 1 of a container ends all others in it");
        return;
    }
    size_t count = server_list_all_sockets(server, NULL);
    struct launch_socket *sockets = calloc(count, sizeof *sockets);
    if (sockets == NULL) {
        log_error(NULL, "upgrade failed: %s", strerror(errno));
        return;
    }
    server_list_all_sockets(server, sockets);
    upgrade_start(&server->upgrade, sockets, count);
    free(sockets);
}

static const struct {
    int number;
    bool is_request; /* to a running server: it would kill one that starts */
    void (*callback)(struct ev_loop *, ev_signal *, int);
} server_signals[SERVER_SIGNALS] = {
    { SIGTERM, false, server_end_signal },    { SIGINT, false, server_end_signal },
    { SIGHUP, true, server_reopen_signal },   { SIGUSR1, true, server_reopen_signal },
    { SIGUSR2, true, server_upgrade_signal },
};

static void server_mask_requests(int how)
{
    sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < SERVER_SIGNALS; i++)
        if (server_signals[i].is_request)
            sigaddset(&signals, server_signals[i].number);
    pthread_sigmask(how, &signals, NULL);
}

void server_hold_signals(void)
{
    server_mask_requests(SIG_BLOCK);
}

static void server_watch_signals(struct server *server)
{
    for (size_t i = 0; i < SERVER_SIGNALS; i++) {
        ev_signal *watcher = &server->signals[i];
        ev_signal_init(watcher, server_signals[i].callback, server_signals[i].number);
        watcher->data = server;
        ev_signal_start(server->runtime.loop, watcher);
    }
    server_mask_requests(SIG_UNBLOCK);
}

static void server_watchdog_due(struct ev_loop *, ev_timer *, int)
{
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

/* Binds everything, admin last; says all that fails, not just the first. */
static bool server_bind(struct server *server, struct bound_sockets *bound)
{
    char error[ERROR_SIZE];
    const struct settings *settings = server->config->settings;
    bool success = true;
    for (size_t i = 0; i <= settings->listener_count; i++) {
        const struct listener_settings *own =
            i < settings->listener_count ? settings->listeners[i] : settings->admin;
        if (own == NULL || bind_listen(own, privileges_user(settings), privileges_group(settings),
                                       &server->inherited, &bound[i], error, sizeof error))
            continue;
        log_error(own->name, "%s", error);
        success = false;
    }
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
    if (!server_check(runtime->resolver != NULL, "the resolver can't be made: ", error))
        return false;
    size_t wanted = server_descriptors_wanted(server->config->settings);
    size_t limit = descriptors_init(&runtime->descriptors, wanted);
    if (wanted > runtime->descriptors.available)
        log_warning(NULL,
                    "the limit of %zu open files is too low for the clients that max_connections allows",
                    limit);
    return true;
}

/* Those that share the targets of others (`doors`), or those that do not. */
static bool server_make_some_listeners(struct server *server, struct bound_sockets *bound, bool doors)
{
    const struct settings *settings = server->config->settings;
    struct listener **all = server->listeners.all;
    for (size_t i = 0; i < settings->listener_count; i++) {
        struct listener_settings *own = settings->listeners[i];
        if ((own->shared != NULL) != doors)
            continue;
        struct listener *shared = doors ? all[settings_find_shared(settings, own)] : NULL;
        all[i] = listener_create(&server->runtime, own, server->events, &bound[i], shared,
                                 drain_listener_emptied, server, NULL);
        if (all[i] != NULL)
            continue;
        log_error(own->name, "%s", strerror(errno));
        return false;
    }
    return true;
}

static bool server_make_listeners(struct server *server, struct bound_sockets *bound)
{
    const struct settings *settings = server->config->settings;
    server->listeners.running = settings->listener_count;
    if (!server_make_some_listeners(server, bound, false) || !server_make_some_listeners(server, bound, true))
        return false;
    if (server_admin_open(server, &bound[settings->listener_count]))
        return true;
    log_error("admin", "%s", strerror(errno));
    return false;
}

static bool server_drop_privileges(const struct server *server)
{
    char error[ERROR_SIZE];
    return server_check(privileges_drop(server->config->settings, error, sizeof error),
                        "user, group: ", error);
}

/* Everything that is bound as root is made by the user that we become. */
static bool server_open(struct server *server)
{
    size_t count = server->config->settings->listener_count;
    struct bound_sockets *bound = calloc(count + 1, sizeof *bound);
    server->listeners.all = calloc(count, sizeof(struct listener *));
    bool success = bound != NULL && server->listeners.all != NULL;
    if (!success)
        log_error(NULL, "%s", strerror(errno));
    success = success && server_bind(server, bound) && server_drop_privileges(server) &&
              server_make_runtime(server) && server_make_listeners(server, bound);
    for (size_t i = 0; bound != NULL && i <= count; i++)
        bind_close(&bound[i]); /* what no listener has taken over */
    free(bound);
    return success;
}

/* All that can fail before the first client is accepted, in an order that leaves nothing behind. */
static bool server_prepare(struct server *server)
{
    char error[ERROR_SIZE];
    const struct log_options *log = &server->config->settings->log;
    if (server->predecessor == -1 && !server_take_pid_file(server))
        return false;
    if (!server_open(server) || !server_check(events_start(server->events, error, sizeof error), "", error) ||
        !server_check(log_start(log, error, sizeof error), "log.output: ", error))
        return false;
    if (server->predecessor == -1)
        return true;
    upgrade_ask(server->predecessor);
    return server_take_pid_file(server);
}

static bool server_announce(struct server *server, const struct server_options *options)
{
    log_info(NULL, "proximux %s started, process %ld", PACKAGE_VERSION, (long)getpid());
    config_log_problems(server->config, false);
    inherited_report(&server->inherited);
    turn_refresh(&server->runtime.turn);
    for (size_t i = 0; i < server->listeners.running; i++)
        listener_start(server_running(server)[i]);
    if (server->admin != NULL)
        listener_start(server->admin);
    /* who replaces a daemon is one already, but for its folder */
    if (options->daemon && (server->daemon != -1 ? !daemon_ready(&server->daemon) : chdir("/") == -1)) {
        log_error(NULL, "going to the background: %s", strerror(errno));
        return false;
    }
    server_start_watchdog(server);
    bool is_upgrade = server->predecessor != -1;
    if (is_upgrade)
        upgrade_take_over(server->predecessor);
    server->predecessor = -1;
    inherited_release(&server->inherited, is_upgrade);
    notify_send(NOTIFY_RUNNING);
    return true;
}

static void server_clean_up(struct server *server)
{
    /* Another TERM must not kill what is about to end by itself. */
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    reload_stop(server);
    listener_destroy(server->admin);
    drain_destroy(server);
    inherited_release(&server->inherited, false);
    upgrade_free(&server->upgrade);
    resolver_destroy(server->runtime.resolver);
    shortage_stop(&server->runtime.shortage);
    turn_close(&server->runtime.turn);
    if (server->runtime.loop != NULL)
        ev_loop_destroy(server->runtime.loop);
    events_release(server->events);
    own_sockets_close(&server->runtime.own_sockets);
    free(server->runtime.read_buffer);
    pid_file_release(&server->pid_file);
    free(server->pid_path);
    log_stop();
    /* The socket to a predecessor closes with the exit, which is how it learns our status. */
    if (server->daemon != -1) /* last, because it tells the terminal that the start has failed */
        close(server->daemon);
}

/* Goes to the background, unless the process whose place we take is there. */
static bool server_leave_terminal(struct server *server, const struct server_options *options)
{
    if (!options->daemon || server->predecessor != -1)
        return true;
    server->daemon = daemon_start();
    return server_check(server->daemon != -1, "going to the background: ", strerror(errno));
}

/* Takes what this process was started with, before anything else opens descriptors or changes the directory. */
static bool server_take_start(struct server *server, const struct server_options *options)
{
    const char *pid_path = options->pid_file != NULL ? options->pid_file : server->config->settings->pid_file;
    if (!daemon_fill_standard()) {
        log_error(NULL, "/dev/null: %s", strerror(errno));
        return false;
    }
    upgrade_init(&server->upgrade, options->arguments);
    server->predecessor = upgrade_find_predecessor();
    server->pid_path = pid_path == NULL ? NULL : strdup(pid_path);
    if ((pid_path == NULL || server->pid_path != NULL) && inherited_take(&server->inherited))
        return true;
    log_error(NULL, "%s", strerror(ENOMEM));
    return false;
}

/* Has the loop call what follows. */
static bool server_watch(struct server *server, const struct server_options *options)
{
    const struct upgrade_owner upgrade_owner = {
        .owner = server,
        .patience = UPGRADE_SECONDS,
        .release = server_release,
        .resume = server_resume,
        .over = server_hand_over,
    };
    upgrade_attach(&server->upgrade, server->runtime.loop, &upgrade_owner);
    server_watch_signals(server);
    drain_init(server);
    if (reload_init(server, &options->source))
        return true;
    log_error(NULL, "%s", strerror(errno));
    return false;
}

int server_run(struct config *config, const struct server_options *options)
{
    struct server server = {
        .config = config,
        .events = options->events,
        .started = clock_wall(),
        .daemon = -1,
        .predecessor = -1,
    };
    /* Errors at start reach the terminal, whatever the log is to hold later. */
    const struct log_options *log = &config->settings->log;
    log_configure(log->level == LOG_LEVEL_NONE ? LOG_LEVEL_ERROR : log->level, log->format);
    bool success = server_take_start(&server, options) && server_leave_terminal(&server, options) &&
                   server_prepare(&server) && server_watch(&server, options) &&
                   server_announce(&server, options);
    if (success) {
        ev_run(server.runtime.loop, 0);
        drain_log_totals(&server);
        log_info(NULL, "stopped");
    }
    server_clean_up(&server);
    return success ? EXIT_SUCCESS : EXIT_FAILURE;
}
