#include "harness/process.h"

#include "harness/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Variables that would change what the program under test does. */
static bool is_own_variable(const char *variable)
{
    static const char *const beginnings[] = { "PROXIMUX",  "LOCAL_",    "TARGET_",       "PROXY_",
                                              "EXCHANGE_", "LOG_LEVEL", "NOTIFY_SOCKET", "LISTEN_",
                                              "WATCHDOG_", NULL };

    for (size_t i = 0; beginnings[i] != NULL; i++)
        if (strncmp(variable, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}

/* Filled in the child, which knows its number. */
static char listen_pid[32];

/* Our environment without the variables of the program, with `added`. Only the array is allocated. */
static char **make_environment(const char *const *added, bool passes_sockets)
{
    size_t count = 0, used = 0;
    char **environment;

    for (size_t i = 0; environ[i] != NULL; i++)
        count++;
    for (size_t i = 0; added != NULL && added[i] != NULL; i++)
        count++;
    environment = calloc(count + 2, sizeof(*environment));
    if (environment == NULL)
        return NULL;
    for (size_t i = 0; environ[i] != NULL; i++)
        if (!is_own_variable(environ[i]))
            environment[used++] = environ[i];
    for (size_t i = 0; added != NULL && added[i] != NULL; i++)
        environment[used++] = (char *)(uintptr_t)added[i];
    if (passes_sockets)
        environment[used++] = listen_pid;
    return environment;
}

/* Moves sockets to where systemd would put them. */
static bool pass_sockets(const struct process_options *options)
{
    int safe[16];

    for (size_t i = 0; i < options->passed_count; i++) /* out of the way first */
        if (i == 16 || (safe[i] = fcntl(options->passed[i], F_DUPFD_CLOEXEC, 64)) == -1)
            return false;
    for (size_t i = 0; i < options->passed_count; i++)
        if (dup2(safe[i], 3 + (int)i) == -1)
            return false;
    snprintf(listen_pid, sizeof(listen_pid), "LISTEN_PID=%ld", (long)getpid());
    return true;
}

/* In the child: never returns. Only calls that are safe after fork() in a program with threads. */
static void become(const struct process_options *options, char **environment, int output,
                   const struct passwd *user)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(output, STDOUT_FILENO) == -1 || dup2(output, STDERR_FILENO) == -1)
        _exit(126);
    if (user != NULL &&
        (setgroups(0, NULL) == -1 || setgid(user->pw_gid) == -1 || setuid(user->pw_uid) == -1))
        _exit(126);
    if (options->descriptors != 0) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
            _exit(126);
        limit.rlim_cur = options->descriptors;
        if (!options->may_raise)
            limit.rlim_max = options->descriptors;
        if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
            _exit(126);
    }
    for (int standard = STDIN_FILENO; options->no_standard && standard <= STDERR_FILENO; standard++)
        close(standard);
    if (!pass_sockets(options))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvpe(options->arguments[0], (char *const *)(uintptr_t)options->arguments, environment);
    _exit(127);
}

pid_t process_start(const struct process_options *options)
{
    const struct passwd *user = NULL;
    char **environment = make_environment(options->environment, options->passed_count > 0);
    int output = -1;
    pid_t child = -1;

    if (environment == NULL)
        return -1;
    if (options->user != NULL && geteuid() == 0) {
        user = getpwnam(options->user);
        if (user == NULL)
            goto out;
    }
    output = open(options->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (output == -1)
        goto out;
    child = fork();
    if (child == 0)
        become(options, environment, output, user);

out:
    if (output != -1)
        close(output);
    free(environment);
    return child;
}

bool process_wait(pid_t process, int64_t milliseconds, int *status)
{
    int64_t deadline = test_deadline(milliseconds);
    int raw;

    for (;;) {
        pid_t ended = waitpid(process, &raw, WNOHANG);

        if (ended == process) {
            *status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
            return true;
        }
        if (ended == -1 || test_now() >= deadline)
            return false;
        test_pause();
    }
}

int process_end(pid_t process)
{
    int status = -1;

    kill(process, SIGTERM);
    if (process_wait(process, TEST_PATIENCE, &status))
        return status;
    kill(process, SIGKILL);
    process_wait(process, TEST_PATIENCE, &status);
    return status;
}

int process_run(const struct process_options *options, int64_t milliseconds, char *output, size_t size)
{
    int status = -1;
    pid_t process;

    unlink(options->output);
    output[0] = '\0';
    process = process_start(options);
    if (process == -1)
        return -1;
    if (!process_wait(process, milliseconds, &status)) {
        int ignored;

        kill(process, SIGKILL);
        process_wait(process, TEST_PATIENCE, &ignored);
        status = -1;
    }
    process_read_file(options->output, output, size);
    return status;
}

size_t process_read_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t length = 0;

    if (file != NULL) {
        length = fread(text, 1, size - 1, file);
        fclose(file);
    }
    text[length] = '\0';
    return length;
}

bool process_find_command(const char *name, const char *pattern, char *path, size_t size)
{
    const char *folder = getenv("PATH");
    glob_t found;
    bool success = false;

    while (folder != NULL && *folder != '\0') {
        size_t length = strcspn(folder, ":");

        snprintf(path, size, "%.*s/%s", (int)length, folder, name);
        if (access(path, X_OK) == 0)
            return true;
        folder += length + (folder[length] == ':');
    }
    if (pattern == NULL || glob(pattern, 0, NULL, &found) != 0)
        return false;
    if (found.gl_pathc > 0 && access(found.gl_pathv[found.gl_pathc - 1], X_OK) == 0) {
        snprintf(path, size, "%s", found.gl_pathv[found.gl_pathc - 1]);
        success = true;
    }
    globfree(&found);
    return success;
}

/* Adds up the numbers that follow `label` at the beginning of a line. */
static long sum_of(pid_t process, const char *file, const char *label)
{
    char path[64], line[512];
    size_t length = strlen(label);
    long sum = -1;
    FILE *stream;

    snprintf(path, sizeof(path), "/proc/%ld/%s", (long)process, file);
    stream = fopen(path, "re");
    if (stream == NULL)
        return -1;
    while (fgets(line, sizeof(line), stream) != NULL)
        if (strncmp(line, label, length) == 0)
            sum = (sum < 0 ? 0 : sum) + strtol(line + length, NULL, 10);
    fclose(stream);
    return sum;
}

long process_resident_kilobytes(pid_t process)
{
    return sum_of(process, "status", "VmRSS:");
}

long process_private_kilobytes(pid_t process)
{
    /* Pages of files don't count: those of the program itself are private or shared as other instances of it
     * come and go. */
    long anonymous = sum_of(process, "smaps_rollup", "Anonymous:");
    long swapped = sum_of(process, "smaps_rollup", "Swap:");

    return anonymous < 0 || swapped < 0 ? -1 : anonymous + swapped;
}

long process_descriptors(pid_t process)
{
    return process_descriptors_named(process, "");
}

long process_descriptors_named(pid_t process, const char *name)
{
    char path[64], target[256];
    long count = 0;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%ld/fd", (long)process);
    folder = opendir(path);
    if (folder == NULL)
        return -1;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] == '.')
            continue;
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);
        target[length < 0 ? 0 : length] = '\0';
        count += strncmp(target, name, strlen(name)) == 0;
    }
    closedir(folder);
    return count;
}

/* Reads the fields of /proc/PID/stat that follow the name. `text` takes them; NULL if there are none. */
static const char *read_stat(pid_t process, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)process);
    if (process_read_file(path, text, size) == 0)
        return NULL;
    return strrchr(text, ')'); /* the name before it may hold anything */
}

long process_processor_milliseconds(pid_t process)
{
    char text[1024];
    const char *fields = read_stat(process, text, sizeof(text));
    unsigned long user, system;

    if (fields == NULL ||
        sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return -1;
    return (long)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

long process_loop_milliseconds(pid_t process)
{
    char path[64], text[128];
    unsigned long long nanoseconds;

    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/schedstat", (long)process, (long)process);
    if (process_read_file(path, text, sizeof(text)) == 0 || sscanf(text, "%llu", &nanoseconds) != 1)
        return -1;
    return (long)(nanoseconds / 1000000);
}

long process_parent(pid_t process)
{
    char text[1024];
    const char *fields = read_stat(process, text, sizeof(text));
    long parent;

    return fields != NULL && sscanf(fields, ") %*c %ld", &parent) == 1 ? parent : -1;
}

pid_t process_child(pid_t process)
{
    pid_t child = 0;
    DIR *folder = opendir("/proc");

    if (folder == NULL)
        return 0;
    for (struct dirent *entry = readdir(folder); entry != NULL && child == 0; entry = readdir(folder)) {
        pid_t number = (pid_t)strtol(entry->d_name, NULL, 10);

        if (number > 0 && process_parent(number) == process)
            child = number;
    }
    closedir(folder);
    return child;
}
