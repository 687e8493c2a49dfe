/* The command line, errors at start, the background, and signals that concern the log. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char output[65536];

#define ARGUMENTS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void expect_output(const char *text, struct place place)
{
    if (strstr(output, text) == NULL)
        test_fail_at(place, "\"%s\" is missing in: %s", text, output);
}

/* Runs without a configuration file and with these arguments only. */
static int run_bare(struct fixture *fixture, const char *const *arguments)
{
    return proximux_run(fixture,
                        (&(struct proximux_options){ .arguments = arguments, .own_log_level = true }), output,
                        sizeof(output));
}

/* Runs with a configuration and these arguments. */
static int run_with(struct fixture *fixture, const char *configuration, const char *const *arguments)
{
    return proximux_run(fixture,
                        (&(struct proximux_options){
                            .configuration = configuration, .arguments = arguments, .own_log_level = true }),
                        output, sizeof(output));
}

static void version_and_help(void **state)
{
    static const char *const help[] = { "--config",   "--test",      "--dump",    "--daemon",
                                        "--pid-file", "--log-level", "--version", "--help" };

    assert_int_equal(run_bare(*state, ARGUMENTS("-V")), 0);
    expect_output("proximux ", HERE);
    assert_int_equal(run_bare(*state, ARGUMENTS("--version")), 0);
    assert_int_equal(run_bare(*state, ARGUMENTS("-h")), 0);
    for (size_t i = 0; i < sizeof(help) / sizeof(help[0]); i++)
        expect_output(help[i], HERE);
    assert_int_equal(run_bare(*state, ARGUMENTS("--help")), 0);
}

static void wrong_usage(void **state)
{
    assert_int_equal(run_bare(*state, ARGUMENTS("-x")), 1);
    expect_output("--help", HERE);
    assert_int_equal(run_bare(*state, ARGUMENTS("--no-such-option")), 1);
    assert_int_equal(run_bare(*state, ARGUMENTS("-c")), 1);
    assert_int_equal(run_bare(*state, ARGUMENTS("something")), 1);
    expect_output("something", HERE);
    assert_int_equal(run_bare(*state, ARGUMENTS("-t", "-T")), 1);
    assert_int_equal(run_bare(*state, ARGUMENTS("-t", "-c", "/nonexistent/proximux.conf")), 1);
    expect_output("/nonexistent/proximux.conf", HERE);
    expect_output("No such file", HERE);
    assert_int_equal(run_bare(*state, ARGUMENTS("-c", "/nonexistent/proximux.conf")), 1);
}

static const char *const good_configuration =
    "log: { level = \"info\"; };\n"
    "defaults: { connect_timeout = 1234; };\n"
    "listeners = (\n"
    "  { name = \"one\"; listen = \"127.0.0.1:7\"; targets = ( \"127.0.0.1:9\" ); max_connections = 17; }\n"
    ");\n";

static void test_of_a_good_configuration(void **state)
{
    /* port 7 is not bound: whether it could be does not matter */
    assert_int_equal(run_with(*state, good_configuration, ARGUMENTS("-t")), 0);
    assert_int_equal(run_with(*state, good_configuration, ARGUMENTS("--test")), 0);
}

/* All errors, each with file, line and key, and the key that was probably meant; nothing is bound. */
static void test_of_a_bad_configuration(void **state)
{
    static const char *const configuration =
        "shutdown_timeot = 5;\n"
        "listeners = (\n"
        "  { name = \"one\"; listen = \"127.0.0.1:70000\"; targets = ( \"127.0.0.1:9\" );\n"
        "    max_connections = \"many\"; },\n"
        "  { name = \"one\"; listen = \"127.0.0.1:7\"; targets = ( );\n"
        "    max_conections = 3; }\n"
        ");\n";

    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(run_with(*state, configuration, i == 0 ? ARGUMENTS("-t") : ARGUMENTS("-l", "info")),
                         1);
        expect_output(".conf:1:", HERE);
        expect_output("shutdown_timeot", HERE);
        expect_output("shutdown_timeout", HERE);
        expect_output(".conf:3:", HERE);
        expect_output("70000", HERE);
        expect_output(".conf:4:", HERE);
        expect_output(".conf:5:", HERE);
        expect_output("one", HERE);
        expect_output(".conf:6:", HERE);
        expect_output("max_conections", HERE);
        expect_output("max_connections", HERE);
    }
}

static void broken_syntax_is_reported_with_its_line(void **state)
{
    assert_int_equal(
        run_with(*state, "log: { level = \"info\"; };\nlisteners = ( { name = ; } );\n", ARGUMENTS("-t")), 1);
    expect_output(".conf:2:", HERE);
}

static void what_libconfig_would_spoil_is_refused(void **state)
{
    assert_int_equal(
        run_with(
            *state,
            "shutdown_timeout = 5000000000;\n"
            "listeners = ( { name = \"a\"; listen = \"127.0.0.1:7\"; targets = ( \"127.0.0.1:9\" ); } );\n",
            ARGUMENTS("-t")),
        1);
    expect_output(".conf:1:", HERE);
    expect_output("shutdown_timeout", HERE);
    assert_int_equal(
        run_with(*state,
                 "listeners = ( { name = \"a\"; listen = \"127.0.0.1:7\"; targets = ( \"127.0.0.1:9\" );\n"
                 "unix_mode = 0660; } );\n",
                 ARGUMENTS("-t")),
        1);
    expect_output(".conf:2:", HERE);
    expect_output("unix_mode", HERE);
    assert_int_equal(run_with(*state,
                              "listeners = ( { listen = \"127.0.0.1:7\"; targets = ( \"127.0.0.1:9\" );\n"
                              "name = \"a\\x00b\"; } );\n",
                              ARGUMENTS("-t")),
                     1);
    expect_output(".conf:2:", HERE);
}

static void shared_modes_are_checked(void **state)
{
    static const char *const modes[] = { "fifo", "funnel" };

    for (size_t i = 0; i < 2; i++) {
        char text[256];

        snprintf(text, sizeof(text),
                 "listeners = ( { name = \"a\"; listen = \"127.0.0.1:7\"; mode = \"%s\";\n"
                 "protocol = \"modbus\"; targets = ( \"127.0.0.1:9\" ); } );",
                 modes[i]);
        assert_int_equal(run_with(*state, text, ARGUMENTS("-t")), 0);
        snprintf(text, sizeof(text),
                 "listeners = ( { name = \"a\"; listen = \"127.0.0.1:7\"; mode = \"%s\";\n"
                 "protocol = \"mysql\"; targets = ( \"127.0.0.1:9\" ); } );",
                 modes[i]);
        assert_int_equal(run_with(*state, text, ARGUMENTS("-t")), 1);
        expect_output(".conf:2:", HERE);
        expect_output(modes[i], HERE);
        expect_output("can't be shared", HERE);
    }
}

static void dump_shows_values_with_their_origins(void **state)
{
    static const char *const environment[] = { "LOG_LEVEL=3", NULL };

    assert_int_equal(proximux_run(*state,
                                  (&(struct proximux_options){ .configuration = good_configuration,
                                                               .arguments = ARGUMENTS("-T"),
                                                               .environment = environment,
                                                               .own_log_level = true }),
                                  output, sizeof(output)),
                     0);
    expect_output("max_connections = 17", HERE);
    expect_output("connect_timeout = 1234", HERE);
    expect_output(".conf:4", HERE);
    expect_output("LOG_LEVEL", HERE);
    expect_output("default", HERE);
    expect_output("queue_timeout = 30000", HERE);

    /* what it prints can be read again; warnings, which root gets, come before it or behind */
    char *dump = strstr(output, "log = {");
    assert_non_null(dump);
    char *warning = strstr(dump, "warning:");
    if (warning != NULL)
        *warning = '\0';
    assert_int_equal(run_with(*state, dump, ARGUMENTS("-t")), 0);
}

static void address_in_use(void **state)
{
    struct fixture *fixture = *state;
    unsigned taken = peer_free_port(), other = peer_free_port();
    int listener = peer_listen("127.0.0.1", taken, 8);
    char text[1024], address[32], path[FIXTURE_PATH];

    snprintf(text, sizeof(text),
             "listeners = ("
             "{ name = \"path\"; listen = \"unix:%s\"; targets = ( \"127.0.0.1:9\" ); },"
             "{ name = \"free\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); },"
             "{ name = \"taken\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); } );",
             fixture_path(fixture, "listen.sock", path), other, taken);
    assert_int_equal(run_with(fixture, text, NULL), 1);
    snprintf(address, sizeof(address), "127.0.0.1:%u", taken);
    expect_output(address, HERE);
    expect_output("Address already in use", HERE);
    test_require(access(path, F_OK) == -1, "the unix socket of another listener stayed behind");
    close(listener);
}

static void foreign_address(void **state)
{
    assert_int_equal(
        run_with(
            *state,
            "listeners = ( { name = \"a\"; listen = \"192.0.2.1:8080\"; targets = ( \"127.0.0.1:9\" ); } );",
            NULL),
        1);
    expect_output("192.0.2.1:8080", HERE);
    expect_output("Cannot assign requested address", HERE);
}

static void log_level_of_the_command_line_wins(void **state)
{
    unsigned port = peer_free_port();
    char text[256];
    static const char *const environment[] = { "LOG_LEVEL=debug", NULL };

    snprintf(text, sizeof(text),
             "log: { level = \"debug\"; };"
             "listeners = ( { name = \"a\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); } );",
             port);
    struct proximux *proximux =
        proximux_start_with(*state, (&(struct proximux_options){ .configuration = text,
                                                                 .arguments = ARGUMENTS("-l", "error"),
                                                                 .environment = environment,
                                                                 .own_log_level = true }));
    peer_reset(peer_connect("127.0.0.1", port));
    proximux_wait_log(proximux, "is down");
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "listening on"), 0);
    assert_int_equal(proximux_log_count(proximux, "ended:"), 0);
    assert_int_equal(run_with(*state, good_configuration, ARGUMENTS("-t", "-l", "loud")), 1);
    expect_output("loud", HERE);
}

static void log_says_where_it_listens(void **state)
{
    unsigned port = peer_free_port();
    struct proximux *proximux = proximux_start_between(*state, port, 9, "");
    char text[64];

    snprintf(text, sizeof(text), "listening on 127.0.0.1:%u", port);
    proximux_wait_log(proximux, text);
    proximux_stop(proximux);
}

/* A configuration that logs to a file; its path is left in `log`. */
static void logging_configuration(struct fixture *fixture, unsigned port, char *log, char *text, size_t size)
{
    snprintf(text, size,
             "log: { output = \"%s\"; level = \"debug\"; };"
             "listeners = ( { name = \"a\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); } );",
             fixture_path(fixture, "file.log", log), port);
}

static bool file_has(const char *path, const char *text)
{
    static char content[65536];

    process_read_file(path, content, sizeof(content));
    return strstr(content, text) != NULL;
}

static void log_file_is_reopened(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char log[FIXTURE_PATH], moved[FIXTURE_PATH], text[512];
    static const int signals[] = { SIGUSR1, SIGHUP };

    logging_configuration(fixture, port, log, text, sizeof(text));
    struct proximux *proximux =
        proximux_start_with(fixture, (&(struct proximux_options){ .configuration = text }));
    test_wait_until(file_has(log, "listening on"));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(rename(log, fixture_path(fixture, "moved.log", moved)), 0);
        proximux_signal(proximux, signals[i]);
        test_wait_until(access(log, F_OK) == 0);
        peer_reset(peer_connect("127.0.0.1", port));
        test_wait_until(file_has(log, "ended: client_reset"));
    }
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "listening on"), 0); /* nothing of it on standard error */
}

/* A signal that is meant for a running server, such as one of logrotate, may come while it starts. The
 * configuration comes from a pipe, so that the start takes as long as the test wants. */
static void signals_at_start_do_no_harm(void **state)
{
    static const int signals[] = { SIGHUP, SIGUSR1, SIGUSR2 };
    const char *binary = getenv("PROXIMUX");
    unsigned port = peer_free_port();
    char pipe_path[FIXTURE_PATH], log[FIXTURE_PATH], text[256];
    int pipe_end;

    if (getenv("TEST_WRAPPER") != NULL)
        skip(); /* this starts the program by itself */
    assert_int_equal(mkfifo(fixture_path(*state, "pipe.conf", pipe_path), 0600), 0);
    const char *const arguments[] = { binary != NULL ? binary : "./proximux", "-c", pipe_path, NULL };
    struct process_options options = { .arguments = arguments, .output = fixture_path(*state, "log", log) };
    pid_t process = process_start(&options);

    test_wait_until((pipe_end = open(pipe_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) != -1);
    for (size_t i = 0; i < 3; i++)
        kill(process, signals[i]);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"a\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); } );",
             port);
    assert_int_equal(write(pipe_end, text, strlen(text)), strlen(text));
    close(pipe_end);
    test_wait_until(file_has(log, "is to take over") ||
                    kill(process, 0) == -1); /* they are obeyed once it runs */
    assert_true(file_has(log, "reload"));
    peer_reset(peer_connect("127.0.0.1", port));
    assert_int_equal(process_end(process), 0);
}

static void hang_up_keeps_clients(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "");
    int client = peer_connect("127.0.0.1", port);

    peer_expect_text(client, "e");
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log(proximux, "reload"); /* this version says that it can't yet */
    peer_send_text(client, "still here");
    peer_expect_text(client, "still here");
    close(client);
    peer_reset(peer_connect("127.0.0.1", port));
    proximux_stop(proximux);
    echo_stop(echo);
}

static void log_in_json(void **state)
{
    unsigned port = peer_free_port();
    char text[256];

    snprintf(text, sizeof(text),
             "log: { format = \"json\"; };"
             "listeners = ( { name = \"a\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); } );",
             port);
    struct proximux *proximux =
        proximux_start_with(*state, (&(struct proximux_options){ .configuration = text }));
    proximux_wait_log(proximux, "\"message\":\"listening on");
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "\"level\":"), proximux_log_count(proximux, ""));
}

static void background_with_pid_file(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port(), other_port = peer_free_port();
    char log[FIXTURE_PATH], pid_file[FIXTURE_PATH], text[512], other[512];

    logging_configuration(fixture, port, log, text, sizeof(text));
    fixture_path(fixture, "proximux.pid", pid_file);
    assert_int_equal(run_with(fixture, text, ARGUMENTS("-d", "-p", pid_file)), 0);
    assert_string_equal(output, "");
    struct proximux *proximux = proximux_adopt(fixture, pid_file, log);
    peer_reset(peer_connect("127.0.0.1", port)); /* bound before the command returned */
    assert_int_equal(getsid(proximux->process), proximux->process);

    /* a second one with the same pid file is refused and harms nothing */
    snprintf(other, sizeof(other),
             "listeners = ( { name = \"a\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); } );",
             other_port);
    assert_int_equal(run_with(fixture, other, ARGUMENTS("-p", pid_file)), 1);
    expect_output(pid_file, HERE);
    assert_int_equal(run_with(fixture, other, ARGUMENTS("-d", "-p", pid_file)), 1);
    expect_output(pid_file, HERE);
    assert_int_equal(access(pid_file, F_OK), 0);
    peer_reset(peer_connect("127.0.0.1", port));

    proximux_stop(proximux);
    test_require(access(pid_file, F_OK) == -1 && errno == ENOENT, "the pid file stayed behind");
}

/* No socket may get the number of a standard descriptor: it would be written the log, or be replaced by -d.
 */
static void standard_descriptors_may_be_missing(void **state)
{
    if (getenv("TEST_WRAPPER") != NULL)
        skip(); /* valgrind puts files of its own there */
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    char log[FIXTURE_PATH], pid_file[FIXTURE_PATH], text[512];

    snprintf(text, sizeof(text),
             "listeners = ( { name = \"a\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
             port, echo_port(echo));
    fixture_path(fixture, "proximux.pid", pid_file);
    for (size_t i = 0; i < 2; i++) {
        struct proximux_options options = { .configuration = text, .no_standard = true };
        struct proximux *proximux;

        if (i == 0) {
            proximux = proximux_start_with(fixture, &options);
        } else {
            options.arguments = ARGUMENTS("-d", "-p", pid_file);
            assert_int_equal(proximux_run(fixture, &options, output, sizeof(output)), 0);
            proximux = proximux_adopt(fixture, pid_file, fixture_path(fixture, "none.log", log));
        }
        int client = peer_connect("127.0.0.1", port);
        peer_send_text(client, "hello");
        peer_expect_text(client, "hello");
        close(client);
        for (int standard = 0; standard <= 2; standard++) {
            char path[64], held[64] = "";

            snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)proximux->process, standard);
            assert_int_not_equal(readlink(path, held, sizeof(held) - 1), -1);
            assert_string_equal(held, "/dev/null");
        }
        proximux_stop(proximux);
    }
    echo_stop(echo);
}

static void stale_pid_file_is_taken_over(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char pid_file[FIXTURE_PATH], text[512], content[32], expected[32];

    fixture_write(fixture, "proximux.pid", "1234567890\n");
    snprintf(text, sizeof(text),
             "pid_file = \"%s\"; listeners = ( { name = \"a\"; listen = \"127.0.0.1:%u\"; targets = ( "
             "\"127.0.0.1:9\" ); } );",
             fixture_path(fixture, "proximux.pid", pid_file), port);
    struct proximux *proximux =
        proximux_start_with(fixture, (&(struct proximux_options){ .configuration = text }));
    process_read_file(pid_file, content, sizeof(content));
    snprintf(expected, sizeof(expected), "%ld\n", (long)proximux->process);
    assert_string_equal(content, expected);
    proximux_stop(proximux);
    assert_int_equal(access(pid_file, F_OK), -1);
}

static void errors_reach_the_terminal_from_the_background(void **state)
{
    unsigned taken = peer_free_port();
    int listener = peer_listen("127.0.0.1", taken, 8);
    char text[256];

    snprintf(text, sizeof(text),
             "log: { level = \"none\"; };"
             "listeners = ( { name = \"a\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); } );",
             taken);
    assert_int_equal(run_with(*state, text, ARGUMENTS("-d")), 1);
    expect_output("Address already in use", HERE);
    close(listener);
}

/* Whether root has that right here, which containers can take away. */
static bool may_bind_low_ports(void)
{
    char status[4096];

    process_read_file("/proc/self/status", status, sizeof(status));
    return (strtoull(strstr(status, "CapPrm:") + 7, NULL, 16) & 0x400ULL) != 0;
}

/* Started as root, it serves as somebody else, to whom what it made belongs. */
static void rights_of_root_are_given_up(void **state)
{
    struct fixture *fixture = *state;
    char text[512], path[FIXTURE_PATH], status[4096];
    struct stat file;

    if (geteuid() != 0)
        skip();
    snprintf(text, sizeof(text),
             "user = \"nobody\"; listeners = ( { name = \"a\"; listen = \"unix:%s\"; targets = ( "
             "\"127.0.0.1:9\" ); } );",
             fixture_path(fixture, "run/listen.sock", path));
    struct proximux *proximux =
        proximux_start_with(fixture, (&(struct proximux_options){ .configuration = text }));
    assert_int_equal(stat(path, &file), 0);
    assert_int_not_equal(file.st_uid, 0);
    snprintf(text, sizeof(text), "/proc/%ld/status", (long)proximux->process);
    process_read_file(text, status, sizeof(status));
    assert_null(strstr(status, "Uid:\t0"));
    assert_null(strstr(status, "Gid:\t0"));
    /* of the capabilities, at most that of low ports is left (CAP_NET_BIND_SERVICE is number 10) */
    static const char *const sets[] = { "CapInh:", "CapPrm:", "CapEff:", "CapAmb:" };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        const char *set = strstr(status, sets[i]);
        assert_non_null(set);
        assert_int_equal(strtoull(set + 7, NULL, 16) & ~0x400ULL, 0);
    }
    test_require((strtoull(strstr(status, "CapEff:") + 7, NULL, 16) != 0) == may_bind_low_ports(),
                 "low ports: %s", strstr(status, "CapEff:"));
    proximux_stop(proximux);
    assert_int_equal(access(path, F_OK), -1); /* it may remove what is in a folder of its own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(version_and_help),
        fixture_test(wrong_usage),
        fixture_test(test_of_a_good_configuration),
        fixture_test(test_of_a_bad_configuration),
        fixture_test(broken_syntax_is_reported_with_its_line),
        fixture_test(what_libconfig_would_spoil_is_refused),
        fixture_test(shared_modes_are_checked),
        fixture_test(dump_shows_values_with_their_origins),
        fixture_test(address_in_use),
        fixture_test(foreign_address),
        fixture_test(log_level_of_the_command_line_wins),
        fixture_test(log_says_where_it_listens),
        fixture_test(log_file_is_reopened),
        fixture_test(signals_at_start_do_no_harm),
        fixture_test(hang_up_keeps_clients),
        fixture_test(log_in_json),
        fixture_test(background_with_pid_file),
        fixture_test(standard_descriptors_may_be_missing),
        fixture_test(stale_pid_file_is_taken_over),
        fixture_test(errors_reach_the_terminal_from_the_background),
        fixture_test(rights_of_root_are_given_up),
    };

    return cmocka_run_group_tests_name("command line", tests, NULL, NULL);
}
