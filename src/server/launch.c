/* Starting a new process of our binary that outlives us: not as our child, but as that of whoever takes in
 * orphans. Under systemd that is systemd itself, which learns of the end of its own children only.
 *
 *   this process --- starter --- new process        while it starts
 *   this process     whoever --- new process        when it is let go
 *
 * The starter is a copy of this process that holds nothing and waits: only a parent learns how a process has
 * ended, and only as long as the parent has not asked does its number belong to nobody else. */
#include "base/buffer.h"
#include "net/inherited.h"
#include "server/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define VARIABLE_SIZE 40

/* All that the new process is started with, made before the fork: after it, memory can't be had safely. */
struct launch {
    const struct upgrade *upgrade;
    struct launch_socket *sockets;
    size_t count;
    int pair;   /* its end of the socket pair */
    int report; /* the starter's end of the pipe */
    struct buffer names;
    char descriptors[VARIABLE_SIZE];
    char handover[VARIABLE_SIZE];
    char listen_pid[VARIABLE_SIZE]; /* these two are filled in by the new process */
    char watchdog_pid[VARIABLE_SIZE];
    char **environment;
};

static bool is_replaced(const char *variable)
{
    return strncmp(variable, "LISTEN_", 7) == 0 || strncmp(variable, "WATCHDOG_PID=", 13) == 0;
}

static bool launch_make_environment(struct launch *launch)
{
    size_t count = 0;
    size_t used = 0;
    for (size_t i = 0; environ[i] != NULL; i++)
        count++;
    launch->environment = calloc(count + 6, sizeof(char *));
    if (launch->environment == NULL)
        return false;
    for (size_t i = 0; environ[i] != NULL; i++)
        if (!is_replaced(environ[i]))
            launch->environment[used++] = environ[i];
    launch->environment[used++] = launch->descriptors;
    launch->environment[used++] = launch->handover;
    launch->environment[used++] = launch->listen_pid;
    launch->environment[used++] = buffer_bytes(&launch->names);
    if (getenv("WATCHDOG_PID") != NULL)
        launch->environment[used++] = launch->watchdog_pid;
    return true;
}

static bool launch_make(struct launch *launch)
{
    buffer_append_text(&launch->names, "LISTEN_FDNAMES=");
    for (size_t i = 0; i < launch->count; i++)
        buffer_print(&launch->names, "%s%s", i == 0 ? "" : ":", launch->sockets[i].name);
    buffer_append(&launch->names, "", 1);
    snprintf(launch->descriptors, VARIABLE_SIZE, "LISTEN_FDS=%zu", launch->count);
    snprintf(launch->handover, VARIABLE_SIZE, UPGRADE_VARIABLE "=%zu", INHERITED_FIRST + launch->count);
    return !launch->names.failed && launch_make_environment(launch);
}

static void launch_free(struct launch *launch)
{
    free(launch->environment);
    buffer_free(&launch->names);
}

/* ---- the new process, before it becomes the new binary ---- */

/* Puts the sockets and the pair's end where the new process expects them, out of each other's way first. */
static bool launch_place_descriptors(struct launch *launch)
{
    int end = INHERITED_FIRST + (int)launch->count;
    int pair = fcntl(launch->pair, F_DUPFD_CLOEXEC, end + 1);
    if (pair == -1)
        return false;
    for (size_t i = 0; i < launch->count; i++) {
        int *descriptor = &launch->sockets[i].descriptor; /* of this process's copy */
        *descriptor = fcntl(*descriptor, F_DUPFD_CLOEXEC, end + 1);
        if (*descriptor == -1)
            return false;
    }
    for (size_t i = 0; i < launch->count; i++)
        if (dup2(launch->sockets[i].descriptor, INHERITED_FIRST + (int)i) == -1)
            return false;
    return dup2(pair, end) != -1;
}

/* Relative names of the command line are meant from there. It may be gone by now, or not be for the user that
 * we have become: then the new binary says what it can't find. */
static void launch_enter(const char *directory)
{
    if (directory != NULL && chdir(directory) == -1)
        return;
}

/* All signals are blocked. */
static void launch_become(struct launch *launch)
{
    static const int handled[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };
    sigset_t none;
    sigemptyset(&none);
    for (size_t i = 0; i < sizeof handled / sizeof handled[0]; i++)
        signal(handled[i], SIG_DFL); /* the loop's handlers would wake the old process */
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(launch->listen_pid, VARIABLE_SIZE, "LISTEN_PID=%ld", (long)getpid());
    snprintf(launch->watchdog_pid, VARIABLE_SIZE, "WATCHDOG_PID=%ld", (long)getpid());
    launch_enter(launch->upgrade->directory);
    if (launch_place_descriptors(launch))
        execve(launch->upgrade->binary, launch->upgrade->arguments, launch->environment);
    _exit(LAUNCH_FAILED);
}

/* ---- the starter ---- */

/* Waits for the end of the new process, and reports it on the pipe, by now descriptor 0. TERM asks for its end. */
static void starter_watch(pid_t process)
{
    int status = -1;
    int number = 0;
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGTERM);
    while (waitpid(process, &status, WNOHANG) == 0)
        if (sigwait(&awaited, &number) == 0 && number == SIGTERM)
            kill(process, SIGKILL);
    _exit(write(0, &status, sizeof status) == sizeof status ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* All signals are blocked. The pipe gets the number of the new process, or a negative errno. */
static void starter_run(struct launch *launch, pid_t parent)
{
    signal(SIGCHLD, SIG_DFL); /* where it is ignored, nobody learns how a child has ended */
    /* without the old process there is nobody to report to, and the new one goes on by itself */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != parent)
        _exit(EXIT_FAILURE);
    pid_t process = fork();
    if (process == 0)
        launch_become(launch);
    int said = process == -1 ? -errno : (int)process;
    /* a socket that the old process closes must not stay open here */
    if (launch->report != 0 && dup2(launch->report, 0) == -1)
        _exit(EXIT_FAILURE);
    closefrom(1);
    if (write(0, &said, sizeof said) == sizeof said && process != -1)
        starter_watch(process);
    _exit(EXIT_FAILURE);
}

/* ---- this process ---- */

static pid_t launch_fork(struct launch *launch)
{
    sigset_t all;
    sigset_t before;
    pid_t parent = getpid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t starter = fork();
    if (starter == 0)
        starter_run(launch, parent);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return starter;
}

/* Reads a number that the starter writes; false if it ended without. */
static bool launched_read(const struct launched *launched, int *number)
{
    return TEMP_FAILURE_RETRY(read(launched->report, number, sizeof *number)) == sizeof *number;
}

/* The starter is ended, or ends by itself. */
static void launched_reap(struct launched *launched)
{
    TEMP_FAILURE_RETRY(waitpid(launched->starter, NULL, 0));
    close(launched->report);
    *launched = (struct launched){ .report = -1 };
}

/* Forks, and learns the number of the new process. False with errno. */
static bool launch_run(struct launch *launch, struct launched *launched)
{
    int said = 0;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) == -1)
        return false;
    launch->report = ends[1];
    pid_t starter = launch_fork(launch);
    int error = errno;
    close(ends[1]);
    *launched = (struct launched){ .starter = starter, .report = ends[0] };
    if (starter == -1) {
        close(ends[0]);
        errno = error;
        return false;
    }
    if (launched_read(launched, &said) && said > 0) {
        launched->process = said;
        return true;
    }
    launched_reap(launched);
    errno = said < 0 ? -said : ECHILD;
    return false;
}

int launch_start(struct upgrade *upgrade, struct launch_socket *sockets, size_t count)
{
    int ends[2];
    struct launch launch = { .upgrade = upgrade, .sockets = sockets, .count = count };
    if (access(upgrade->binary, X_OK) == -1 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == -1)
        return -1;
    launch.pair = ends[1];
    bool success = launch_make(&launch) && launch_run(&launch, &upgrade->successor);
    int error = errno;
    launch_free(&launch);
    close(ends[1]);
    if (success)
        return ends[0];
    close(ends[0]);
    errno = error;
    return -1;
}

void launch_let_go(struct launched *launched)
{
    kill(launched->starter, SIGKILL);
    launched_reap(launched);
}

int launch_end(struct launched *launched)
{
    int status = -1;
    kill(launched->starter, SIGTERM); /* nothing but a zombie, if the new process has ended by itself */
    if (!launched_read(launched, &status)) {
        status = -1;
        kill(launched->process, SIGKILL); /* somebody has killed the starter */
    }
    launched_reap(launched);
    return status;
}
