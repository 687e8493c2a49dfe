#include "harness/fixture.h"

#include "harness/peer.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ARGUMENTS_MAX 48
#define LOG_MAX       (4 * 1024 * 1024)

/* What no log may ever hold. */
static const char *const faults[] = { "ERROR: AddressSanitizer",
                                      "runtime error:",
                                      "LeakSanitizer",
                                      "ThreadSanitizer",
                                      "Assertion `",
                                      "definitely lost:",
                                      "indirectly lost:",
                                      "Invalid read",
                                      "Invalid write",
                                      "uninitialised value",
                                      NULL };

int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const char *parent = getenv("TMPDIR");

    if (fixture == NULL)
        return -1;
    if (parent == NULL || strlen(parent) > 32)
        parent = "/tmp";
    snprintf(fixture->directory, sizeof(fixture->directory), "%s/proximux-test-XXXXXX", parent);
    /* other users must reach it: servers that refuse to run as root; and the program in the background must
     * become our child when the one that we started ends */
    if (mkdtemp(fixture->directory) == NULL || chmod(fixture->directory, 0755) == -1 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) == -1) {
        free(fixture);
        return -1;
    }
    *state = fixture;
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

/* Removes the lines that valgrind has written. */
static void remove_wrapper_lines(char *text)
{
    char *end = text;

    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");

        length += line[length] == '\n';
        if (strncmp(line, "==", 2) != 0) {
            memmove(end, line, length);
            end += length;
        }
        line += length;
    }
    *end = '\0';
}

/* The whole log as text, to be freed; never NULL. */
static char *read_log(const struct proximux *proximux)
{
    char *text = malloc(LOG_MAX);

    if (text == NULL)
        abort();
    process_read_file(proximux->log, text, LOG_MAX);
    return text;
}

/* Likewise, what the program itself has written. */
static char *read_own_log(const struct proximux *proximux)
{
    char *text = read_log(proximux);

    remove_wrapper_lines(text);
    return text;
}

static void print_log(const struct proximux *proximux)
{
    char *text = read_log(proximux);
    char *line = text;

    print_error("---- %s ----\n", proximux->log);
    while (*line != '\0') { /* line by line: the runner's own buffer is small */
        size_t length = strcspn(line, "\n");

        print_error("%.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    print_error("---- end of the log ----\n");
    free(text);
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    int result = 0;

    while (fixture->running != NULL) {
        struct proximux *proximux = fixture->running;

        fixture->running = proximux->next;
        if (!proximux->over) {
            int status;

            if (proximux->process > 0) {
                kill(proximux->process, SIGKILL);
                process_wait(proximux->process, TEST_PATIENCE, &status);
            }
            print_log(proximux);
            result = -1;
        }
        if (proximux->notifications != -1)
            close(proximux->notifications);
        free(proximux);
    }
    nftw(fixture->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return result;
}

char *fixture_path(const struct fixture *fixture, const char *name, char *path)
{
    snprintf(path, FIXTURE_PATH, "%s/%s", fixture->directory, name);
    return path;
}

void fixture_write_at(const struct fixture *fixture, const char *name, const char *text, struct place place)
{
    char path[FIXTURE_PATH];
    FILE *file = fopen(fixture_path(fixture, name, path), "we");
    bool written = file != NULL && fputs(text, file) != EOF;

    if (file != NULL && fclose(file) == EOF)
        written = false;
    if (!written)
        test_fail_at(place, "writing %s: %s", path, strerror(errno));
}

/* Adds an instance, with its own names of files, to the fixture. */
static struct proximux *add_instance(struct fixture *fixture, struct place place)
{
    struct proximux *proximux = calloc(1, sizeof(*proximux));
    char name[32];

    if (proximux == NULL)
        test_fail_at(place, "out of memory");
    fixture->started++;
    snprintf(name, sizeof(name), "proximux-%u.conf", fixture->started);
    fixture_path(fixture, name, proximux->configuration);
    snprintf(name, sizeof(name), "proximux-%u.log", fixture->started);
    fixture_path(fixture, name, proximux->log);
    proximux->fixture = fixture;
    proximux->notifications = -1;
    proximux->next = fixture->running;
    fixture->running = proximux;
    return proximux;
}

/* The socket that the program reports its state to; `variable` becomes the setting that names it. */
static void listen_for_notifications(struct proximux *proximux, bool is_abstract, char *variable, size_t size,
                                     struct place place)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    socklen_t length = sizeof(address);
    char name[32], path[FIXTURE_PATH];

    snprintf(name, sizeof(name), "notify-%u", proximux->fixture->started);
    fixture_path(proximux->fixture, name, path);
    if (is_abstract) { /* all bytes count, zeros too; the directory makes the name ours alone */
        length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(path));
        memcpy(address.sun_path + 1, path, strlen(path));
    } else {
        memcpy(address.sun_path, path, strlen(path) + 1);
    }
    proximux->notifications = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (proximux->notifications == -1 ||
        bind(proximux->notifications, (struct sockaddr *)&address, length) == -1 ||
        (!is_abstract && chmod(path, 0666) == -1))
        test_fail_at(place, "socket for notifications: %s", strerror(errno));
    snprintf(variable, size, "NOTIFY_SOCKET=%s%s", is_abstract ? "@" : "", path);
}

/* The command line. `words` holds the pieces of TEST_WRAPPER. */
static void make_arguments(const struct proximux *proximux, const struct proximux_options *options,
                           char *words, const char **arguments)
{
    const char *binary = getenv("PROXIMUX");
    size_t count = 0;
    char *rest = words;

    for (char *word = strtok_r(words, " ", &rest); word != NULL && count < 16;
         word = strtok_r(NULL, " ", &rest))
        arguments[count++] = word;
    arguments[count++] = binary != NULL ? binary : "./proximux";
    if (options->configuration != NULL) {
        arguments[count++] = "-c";
        arguments[count++] = proximux->configuration;
    }
    if (!options->own_log_level) {
        arguments[count++] = "-l";
        arguments[count++] = "debug";
    }
    for (size_t i = 0;
         options->arguments != NULL && options->arguments[i] != NULL && count < ARGUMENTS_MAX - 1; i++)
        arguments[count++] = options->arguments[i];
    arguments[count] = NULL;
}

/* Writes the configuration and starts; sets proximux->process. */
static void launch(struct proximux *proximux, const struct proximux_options *options, struct place place)
{
    const char *wrapper = getenv("TEST_WRAPPER");
    const char *arguments[ARGUMENTS_MAX];
    const char *environment[ARGUMENTS_MAX];
    char words[512], notify[FIXTURE_PATH + 32];
    size_t count = 0;
    struct process_options process = { .arguments = arguments, .environment = environment };

    if (options->configuration != NULL)
        fixture_write_at(proximux->fixture, strrchr(proximux->configuration, '/') + 1, options->configuration,
                         place);
    listen_for_notifications(proximux, options->abstract_notifications, notify, sizeof(notify), place);
    snprintf(words, sizeof(words), "%s", wrapper != NULL ? wrapper : "");
    make_arguments(proximux, options, words, arguments);
    for (size_t i = 0; options->environment != NULL && options->environment[i] != NULL; i++)
        if (count < ARGUMENTS_MAX - 2)
            environment[count++] = options->environment[i];
    environment[count++] = notify; /* after those of the test, of which it may be one */
    environment[count] = NULL;
    process.output = proximux->log;
    process.descriptors = options->descriptors;
    process.may_raise = options->may_raise_descriptors;
    process.no_standard = options->no_standard;
    process.user = options->user;
    process.passed = options->passed;
    process.passed_count = options->passed_count;
    proximux->process = process_start(&process);
    if (proximux->process == -1)
        test_fail_at(place, "could not start %s", arguments[0]);
}

struct proximux *proximux_start_with_at(struct fixture *fixture, const struct proximux_options *options,
                                        struct place place)
{
    struct proximux *proximux = add_instance(fixture, place);

    launch(proximux, options, place);
    proximux_wait_notification_at(proximux, "READY=1", place);
    return proximux;
}

struct proximux *proximux_start_at(struct fixture *fixture, struct place place, const char *format, ...)
{
    static char text[65536];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof(text))
        test_fail_at(place, "the configuration is too long");
    return proximux_start_with_at(fixture, &(struct proximux_options){ .configuration = text }, place);
}

/* Whether valgrind tells of a descriptor that the program opened itself and left open. */
static bool has_open_descriptor(const char *text)
{
    for (const char *found = text; (found = strstr(found, "== Open ")) != NULL;) {
        found += strcspn(found, "\n");
        if (*found == '\n' && strncmp(found + 1 + strcspn(found + 1, " "), "    at 0x", 9) == 0)
            return true;
    }
    return false;
}

/* Fails the test if the log tells of a fault that the exit status may not show. */
static void check_log(const struct proximux *proximux, struct place place)
{
    char *text = read_log(proximux);
    const char *found = NULL;

    for (size_t i = 0; found == NULL && faults[i] != NULL; i++)
        if (strstr(text, faults[i]) != NULL)
            found = faults[i];
    if (found == NULL && has_open_descriptor(text))
        found = "Open file descriptor";
    free(text);
    if (found != NULL)
        test_fail_at(place, "the log has \"%s\"", found);
}

int proximux_run_at(struct fixture *fixture, const struct proximux_options *options, char *output,
                    size_t size, struct place place)
{
    struct proximux *proximux = add_instance(fixture, place);
    int status;

    launch(proximux, options, place);
    if (!process_wait(proximux->process, TEST_PATIENCE, &status))
        test_fail_at(place, "the program did not end");
    proximux->process = 0;
    check_log(proximux, place);
    process_read_file(proximux->log, output, size);
    remove_wrapper_lines(output);
    proximux->over = true;
    return status;
}

struct proximux *proximux_adopt_at(struct fixture *fixture, const char *pid_file, const char *log,
                                   struct place place)
{
    struct proximux *proximux = add_instance(fixture, place);
    char text[32];

    snprintf(proximux->log, sizeof(proximux->log), "%s", log);
    if (process_read_file(pid_file, text, sizeof(text)) == 0)
        test_fail_at(place, "there is no pid file %s", pid_file);
    proximux->process = (pid_t)strtol(text, NULL, 10);
    if (proximux->process <= 1 || kill(proximux->process, 0) == -1)
        test_fail_at(place, "the pid file names no process: %s", text);
    return proximux;
}

size_t proximux_log_count(const struct proximux *proximux, const char *text)
{
    char *log = read_own_log(proximux);
    size_t count = 0;

    for (char *line = log; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        bool last = line[length] == '\0';

        line[length] = '\0';
        count += strstr(line, text) != NULL;
        line += length + !last;
    }
    free(log);
    return count;
}

void proximux_wait_log_at(const struct proximux *proximux, const char *text, size_t times, struct place place)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);

    while (proximux_log_count(proximux, text) < times) {
        if (test_now() >= deadline)
            test_fail_at(place, "the log does not have \"%s\" %zu times", text, times);
        test_pause();
    }
}

void proximux_wait_notification_at(struct proximux *proximux, const char *text, struct place place)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);
    struct pollfd watched = { .fd = proximux->notifications, .events = POLLIN };
    char message[512];
    int status;

    while (test_now() < deadline) {
        ssize_t length;

        if (poll(&watched, 1, 20) != 1) {
            if (process_wait(proximux->process, 0, &status)) {
                proximux->process = 0;
                test_fail_at(place, "the program ended with status %d before \"%s\"", status, text);
            }
            continue;
        }
        length = recv(proximux->notifications, message, sizeof(message) - 1, MSG_DONTWAIT);
        message[length > 0 ? length : 0] = '\0';
        if (strstr(message, text) != NULL)
            return;
    }
    test_fail_at(place, "the program did not report \"%s\"", text);
}

long proximux_idle_descriptors_at(const struct proximux *proximux, unsigned port, struct place place)
{
    int client = peer_connect_at(NULL, "127.0.0.1", port, place);

    peer_send_at(client, "?", 1, place);
    peer_expect_text_at(client, "?", place);
    long held = process_descriptors(proximux->process);
    close(client);
    return held - 2; /* the client's and the target's */
}

void proximux_signal(const struct proximux *proximux, int number)
{
    kill(proximux->process, number);
}

void proximux_expect_exit_at(struct proximux *proximux, int expected, struct place place)
{
    int status;

    if (!process_wait(proximux->process, TEST_PATIENCE, &status))
        test_fail_at(place, "the program did not end");
    proximux->process = 0;
    if (status != expected)
        test_fail_at(place, "the program ended with status %d instead of %d", status, expected);
    check_log(proximux, place);
    proximux->over = true;
}

void proximux_stop_at(struct proximux *proximux, struct place place)
{
    proximux_signal(proximux, SIGTERM);
    proximux_expect_exit_at(proximux, 0, place);
}
