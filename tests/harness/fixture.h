/* One test's surroundings: a temporary directory, and the program under test in it, as often as needed. What
 * a test leaves running is ended, and its log printed, when the test is over.
 *
 * The binary is named by the environment variable PROXIMUX, or is ./proximux. */
#ifndef HARNESS_FIXTURE_H
#define HARNESS_FIXTURE_H

#include "harness/process.h"
#include "harness/test.h"

#define FIXTURE_PATH 108 /* as long as the path of a unix socket may be */

struct proximux;

/* Owns its directory and the running programs. */
struct fixture {
    char directory[64];
    struct proximux *running; /* a list */
    unsigned started;         /* how many so far: numbers their files */
};

/* One running instance of the program. Owned by its fixture. */
struct proximux {
    struct proximux *next;
    struct fixture *fixture;
    pid_t process;
    int notifications; /* socket that the program reports to */
    bool over;         /* it ended as the test expected */
    char configuration[FIXTURE_PATH];
    char log[FIXTURE_PATH];
};

struct proximux_options {
    const char *configuration;      /* text of the file given with -c; NULL: none is given */
    const char *const *arguments;   /* further arguments, NULL at the end; NULL: none */
    const char *const *environment; /* "NAME=value", NULL at the end; NULL: none */
    rlim_t descriptors;             /* limit of open descriptors; 0: unchanged */
    bool may_raise_descriptors;     /* that is the soft limit only */
    bool own_log_level;             /* do not set the level to debug on the command line */
    bool no_standard;               /* start it without descriptors 0 to 2 */
    bool abstract_notifications;    /* it reports to a socket that is no file */
    const char *user;               /* run as this user, if root runs the test */
    const int *passed;              /* sockets that it is started with, as systemd passes them */
    size_t passed_count;
};

/* A cmocka test with a fixture as its state. */
#define fixture_test(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* The path of a file in the directory. `path` takes FIXTURE_PATH bytes; returns it. */
char *fixture_path(const struct fixture *fixture, const char *name, char *path);

/* Writes a file in the directory. */
#define fixture_write(fixture, name, text) fixture_write_at((fixture), (name), (text), HERE)
void fixture_write_at(const struct fixture *fixture, const char *name, const char *text, struct place place);

/* Starts the program with this configuration and waits until it says that it is ready. The log is at debug.
 */
#define proximux_start(fixture, ...) proximux_start_at((fixture), HERE, __VA_ARGS__)
struct proximux *proximux_start_at(struct fixture *fixture, struct place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Likewise, with one listener "main" on 127.0.0.1 and one target there; `keys` are further ones of the
 * listener, such as "max_connections = 1;". */
#define proximux_start_between(fixture, local, target, keys)                                                 \
    proximux_start_at((fixture), HERE,                                                                       \
                      "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; "                         \
                      "targets = ( \"127.0.0.1:%u\" ); %s } );",                                             \
                      (unsigned)(local), (unsigned)(target), (keys))

/* Likewise, with all options. */
#define proximux_start_with(fixture, options) proximux_start_with_at((fixture), (options), HERE)
struct proximux *proximux_start_with_at(struct fixture *fixture, const struct proximux_options *options,
                                        struct place place);

/* Runs the program to its end; returns its exit status, and what it wrote, standard output and error. */
#define proximux_run(fixture, options, output, size)                                                         \
    proximux_run_at((fixture), (options), (output), (size), HERE)
int proximux_run_at(struct fixture *fixture, const struct proximux_options *options, char *output,
                    size_t size, struct place place);

/* Takes over an instance that has gone to the background, by the pid file it wrote, so that it can be ended
 * like others. `log` is the file that it writes to. */
#define proximux_adopt(fixture, pid_file, log) proximux_adopt_at((fixture), (pid_file), (log), HERE)
struct proximux *proximux_adopt_at(struct fixture *fixture, const char *pid_file, const char *log,
                                   struct place place);

/* Waits for a text in the log; or counts the lines that have it now (all lines, if it is empty). */
#define proximux_wait_log(proximux, text)              proximux_wait_log_at((proximux), (text), 1, HERE)
#define proximux_wait_log_times(proximux, text, times) proximux_wait_log_at((proximux), (text), (times), HERE)
void proximux_wait_log_at(const struct proximux *proximux, const char *text, size_t times,
                          struct place place);
size_t proximux_log_count(const struct proximux *proximux, const char *text);

/* Waits for a notification such as "STOPPING=1". */
#define proximux_wait_notification(proximux, text) proximux_wait_notification_at((proximux), (text), HERE)
void proximux_wait_notification_at(struct proximux *proximux, const char *text, struct place place);

/* How many descriptors the program holds while it has no client, found out with one client of 127.0.0.1 and
 * `port`, whose target must send back what it gets. (Right after the start there may be one more for a
 * moment.) */
#define proximux_idle_descriptors(proximux, port) proximux_idle_descriptors_at((proximux), (port), HERE)
long proximux_idle_descriptors_at(const struct proximux *proximux, unsigned port, struct place place);

void proximux_signal(const struct proximux *proximux, int number);

/* Waits until it has ended by itself, with this exit status and nothing wrong in its log. */
#define proximux_expect_exit(proximux, status) proximux_expect_exit_at((proximux), (status), HERE)
void proximux_expect_exit_at(struct proximux *proximux, int status, struct place place);

/* Sends TERM; it must end with status 0 and nothing wrong in its log. The last line of nearly every test. */
#define proximux_stop(proximux) proximux_stop_at((proximux), HERE)
void proximux_stop_at(struct proximux *proximux, struct place place);

#endif
