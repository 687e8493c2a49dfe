/* USR2: another process takes the place of the running one, under traffic; or fails to, and nothing changes.
 */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Clients that come, say hello, and leave, one after the other, until they are stopped. */
struct traffic {
    pthread_t thread;
    unsigned port;
    bool may_send_away;
    atomic_bool stop;
    atomic_size_t served;
    atomic_size_t failed;
};

enum outcome { SERVED, SENT_AWAY, FAILED };

/* One client's stay. SENT_AWAY: its connection was ended before it had an answer. */
static enum outcome visit(unsigned port)
{
    static const char hello[] = "hello\n";
    char answer[sizeof hello];
    size_t got = 0;
    ssize_t count = 1;
    int client = peer_try_connect(NULL, "127.0.0.1", port);

    if (client == -1)
        return FAILED;
    bool sent = send(client, hello, sizeof(hello) - 1, MSG_NOSIGNAL) == sizeof(hello) - 1;
    while (sent && count > 0 && got < sizeof(hello) - 1) {
        count = peer_readable(client, (int)test_deadline(TEST_PATIENCE) - (int)test_now())
                    ? recv(client, answer + got, sizeof(hello) - 1 - got, 0)
                    : -1;
        got += count > 0 ? (size_t)count : 0;
    }
    close(client);
    if (sent && got == 0 && count == 0)
        return SENT_AWAY;
    return got == sizeof(hello) - 1 && memcmp(answer, hello, got) == 0 ? SERVED : FAILED;
}

static bool exchange(unsigned port)
{
    return visit(port) == SERVED;
}

static void *traffic_run(void *data)
{
    struct traffic *traffic = data;

    while (!atomic_load(&traffic->stop)) {
        enum outcome outcome = visit(traffic->port);

        /* a drain of the shared modes ends those who have asked for nothing yet: they come again */
        if (outcome == SENT_AWAY && traffic->may_send_away)
            outcome = visit(traffic->port);
        atomic_fetch_add(outcome == SERVED ? &traffic->served : &traffic->failed, 1);
    }
    return NULL;
}

static void traffic_start(struct traffic *traffic, unsigned port, bool may_send_away)
{
    memset(traffic, 0, sizeof(*traffic));
    traffic->port = port;
    traffic->may_send_away = may_send_away;
    assert_int_equal(pthread_create(&traffic->thread, NULL, traffic_run, traffic), 0);
}

/* Waits until some more clients were served. */
static void traffic_wait(struct traffic *traffic)
{
    size_t before = atomic_load(&traffic->served);

    test_wait_until(atomic_load(&traffic->served) >= before + 20 || atomic_load(&traffic->failed) > 0);
}

static void traffic_stop(struct traffic *traffic)
{
    atomic_store(&traffic->stop, true);
    pthread_join(traffic->thread, NULL);
    assert_int_equal(atomic_load(&traffic->failed), 0);
    test_require(atomic_load(&traffic->served) > 0, "nobody was served");
}

/* The process that the pid file names. */
static long named_process(const char *pid_file)
{
    char text[32] = "";

    process_read_file(pid_file, text, sizeof(text));
    return strtol(text, NULL, 10);
}

static void nobody_is_refused_under_traffic(void **state)
{
    static const char *const modes[] = { "mode = \"proxy\";", "mode = \"fifo\"; protocol = \"line\";",
                                         "mode = \"funnel\"; protocol = \"line\";" };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        char pid_file[FIXTURE_PATH], expected[32];
        struct traffic traffic;
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        unsigned port = peer_free_port();
        struct proximux *proximux =
            proximux_start(fixture,
                           "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; "
                           "targets = ( \"127.0.0.1:%u\" ); %s } );",
                           fixture_path(fixture, "proximux.pid", pid_file), port, echo_port(echo), modes[i]);

        traffic_start(&traffic, port, i > 0);
        for (size_t k = 0; k < 3; k++) {
            int session = peer_connect("127.0.0.1", port);

            traffic_wait(&traffic);
            proximux_signal(proximux, SIGUSR2);
            test_wait_until(named_process(pid_file) > 0 &&
                            named_process(pid_file) != (long)proximux->process);
            struct proximux *heir = proximux_adopt(fixture, pid_file, proximux->log);
            if (k == 0) {
                snprintf(expected, sizeof(expected), "MAINPID=%ld", (long)heir->process);
                proximux_wait_notification(proximux, expected);
                /* who is told has it as a child by then; here that is this test, which takes in orphans */
                assert_int_equal(process_parent(heir->process), getpid());
            }
            /* a session stays with the old one until it has finished */
            if (i == 0) {
                peer_send_text(session, "still here\n");
                peer_expect_text(session, "still here\n");
            } else {
                peer_expect_end(session);
            }
            traffic_wait(&traffic);
            close(session);
            proximux_expect_exit(proximux, 0);
            assert_int_equal(named_process(pid_file), heir->process);
            proximux = heir;
        }
        traffic_wait(&traffic);
        traffic_stop(&traffic);
        proximux_stop(proximux);
        assert_int_equal(access(pid_file, F_OK), -1);
        echo_stop(echo);
    }
}

static void in_the_background(void **state)
{
    struct fixture *fixture = *state;
    char pid_file[FIXTURE_PATH], log[FIXTURE_PATH], text[512], output[4096];
    const char *const arguments[] = { "-d", "-p", pid_file, NULL };
    struct traffic traffic;
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();

    fixture_path(fixture, "proximux.pid", pid_file);
    snprintf(text, sizeof(text),
             "log: { output = \"%s\"; }; listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; "
             "targets = ( \"127.0.0.1:%u\" ); } );",
             fixture_path(fixture, "daemon.log", log), port, echo_port(echo));
    assert_int_equal(
        proximux_run(fixture, (&(struct proximux_options){ .configuration = text, .arguments = arguments }),
                     output, sizeof(output)),
        0);
    struct proximux *proximux = proximux_adopt(fixture, pid_file, log);
    traffic_start(&traffic, port, false);
    traffic_wait(&traffic);
    proximux_signal(proximux, SIGUSR2);
    test_wait_until(named_process(pid_file) > 0 && named_process(pid_file) != (long)proximux->process);
    struct proximux *heir = proximux_adopt(fixture, pid_file, log);
    proximux_wait_log(proximux, "has taken over");
    traffic_wait(&traffic);
    traffic_stop(&traffic);
    proximux_expect_exit(proximux, 0);
    proximux_stop(heir);
    echo_stop(echo);
}

static void unix_sockets_and_those_of_systemd(void **state)
{
    struct fixture *fixture = *state;
    char pid_file[FIXTURE_PATH], path[FIXTURE_PATH], text[512];
    const char *const environment[] = { "LISTEN_FDS=1", "LISTEN_FDNAMES=web", NULL };
    int passed = peer_listen("127.0.0.1", 0, 16);
    unsigned port = peer_port(passed);
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);

    fixture_path(fixture, "proximux.pid", pid_file);
    snprintf(text, sizeof(text),
             "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = [ \"unix:%s\", \"systemd:web\" ]; "
             "targets = ( \"127.0.0.1:%u\" ); } );",
             pid_file, fixture_path(fixture, "listen.sock", path), echo_port(echo));
    struct proximux *proximux = proximux_start_with(
        fixture,
        (&(struct proximux_options){
            .configuration = text, .environment = environment, .passed = &passed, .passed_count = 1 }));
    close(passed);
    for (size_t k = 0; k < 2; k++) {
        proximux_signal(proximux, SIGUSR2);
        test_wait_until(named_process(pid_file) > 0 && named_process(pid_file) != (long)proximux->process);
        struct proximux *heir = proximux_adopt(fixture, pid_file, proximux->log);
        proximux_expect_exit(proximux, 0);
        proximux = heir;
        int client = peer_connect(path, 0);
        peer_send_text(client, "hello");
        peer_expect_text(client, "hello");
        close(client);
        assert_true(exchange(port));
    }
    proximux_stop(proximux);
    assert_int_equal(access(path, F_OK), -1);
    echo_stop(echo);
}

/* What a reload has moved from systemd's name to its address is found by the new process, and stays
 * systemd's.
 */
static void sockets_of_systemd_known_by_address(void **state)
{
    struct fixture *fixture = *state;
    char pid_file[FIXTURE_PATH], path[FIXTURE_PATH], text[512];
    const char *const environment[] = { "LISTEN_FDS=2", "LISTEN_FDNAMES=web:web", NULL };
    int passed[] = { peer_listen("127.0.0.1", 0, 16),
                     peer_listen(fixture_path(fixture, "passed.sock", path), 0, 16) };
    unsigned port = peer_port(passed[0]);
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);

    fixture_path(fixture, "proximux.pid", pid_file);
    snprintf(text, sizeof(text),
             "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = \"systemd:web\"; "
             "targets = ( \"127.0.0.1:%u\" ); } );",
             pid_file, echo_port(echo));
    struct proximux *proximux = proximux_start_with(
        fixture,
        (&(struct proximux_options){
            .configuration = text, .environment = environment, .passed = passed, .passed_count = 2 }));
    close(passed[0]);
    close(passed[1]);
    snprintf(
        text, sizeof(text),
        "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = [ \"127.0.0.1:%u\", \"unix:%s\" ]; "
        "targets = ( \"127.0.0.1:%u\" ); } );",
        pid_file, port, path, echo_port(echo));
    fixture_write(fixture, strrchr(proximux->configuration, '/') + 1, text);
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log(proximux, "reloaded: ");
    proximux_signal(proximux, SIGUSR2);
    test_wait_until(named_process(pid_file) > 0 && named_process(pid_file) != (long)proximux->process);
    struct proximux *heir = proximux_adopt(fixture, pid_file, proximux->log);
    proximux_expect_exit(proximux, 0);
    assert_true(exchange(port));
    int client = peer_connect(path, 0);
    peer_send_text(client, "hello");
    peer_expect_text(client, "hello");
    close(client);
    proximux_stop(heir);
    assert_int_equal(access(path, F_OK), 0);
    echo_stop(echo);
}

/* A listener that the new process does not have any more. */
static void path_that_nobody_wants_is_removed(void **state)
{
    struct fixture *fixture = *state;
    char pid_file[FIXTURE_PATH], path[FIXTURE_PATH], text[512];
    unsigned port = peer_free_port();
    struct proximux *proximux = proximux_start(
        fixture,
        "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = [ \"unix:%s\", "
        "\"127.0.0.1:%u\" ]; targets = ( \"127.0.0.1:9\" ); } );",
        fixture_path(fixture, "proximux.pid", pid_file), fixture_path(fixture, "listen.sock", path), port);

    assert_int_equal(access(path, F_OK), 0);
    snprintf(text, sizeof(text),
             "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( "
             "\"127.0.0.1:9\" ); } );",
             pid_file, port);
    fixture_write(fixture, strrchr(proximux->configuration, '/') + 1, text);
    proximux_signal(proximux, SIGUSR2);
    test_wait_until(named_process(pid_file) > 0 && named_process(pid_file) != (long)proximux->process);
    struct proximux *heir = proximux_adopt(fixture, pid_file, proximux->log);
    proximux_expect_exit(proximux, 0);
    test_wait_until(access(path, F_OK) == -1);
    proximux_stop(heir);
}

/* The configuration is changed to `text`, the upgrade must fail, and all be as it was. */
static void expect_failure(struct fixture *fixture, struct proximux *proximux, const char *pid_file,
                           const char *path, const char *text, const char *said)
{
    size_t failures = proximux_log_count(proximux, "upgrade failed");
    int client = peer_connect(path, 0);

    fixture_write(fixture, strrchr(proximux->configuration, '/') + 1, text);
    proximux_signal(proximux, SIGUSR2);
    proximux_wait_log_times(proximux, "upgrade failed", failures + 1);
    proximux_wait_log(proximux, said);
    assert_int_equal(named_process(pid_file), proximux->process);
    assert_int_equal(process_child(proximux->process), 0);
    peer_send_text(client, "hello");
    peer_expect_text(client, "hello");
    close(client);
    client = peer_connect(path, 0);
    peer_send_text(client, "hello");
    peer_expect_text(client, "hello");
    close(client);
}

static void what_fails_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    char pid_file[FIXTURE_PATH], path[FIXTURE_PATH], good[512], bad[1024], output[4096];
    int taken = peer_listen("127.0.0.1", 0, 16);
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);

    fixture_path(fixture, "proximux.pid", pid_file);
    snprintf(good, sizeof(good),
             "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = \"unix:%s\"; targets = ( "
             "\"127.0.0.1:%u\" ); } );",
             pid_file, fixture_path(fixture, "listen.sock", path), echo_port(echo));
    struct proximux *proximux = proximux_start(fixture, "%s", good);
    /* a configuration that is wrong */
    expect_failure(fixture, proximux, pid_file, path, "listeners = ();", "ended with status 1");
    long descriptors = process_descriptors(proximux->process);
    /* an address that is taken, after the socket that is handed over was claimed */
    snprintf(bad, sizeof(bad),
             "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = [ \"unix:%s\", \"127.0.0.1:%u\" "
             "]; targets = ( \"127.0.0.1:%u\" ); } );",
             pid_file, path, peer_port(taken), echo_port(echo));
    expect_failure(fixture, proximux, pid_file, path, bad, "Address already in use");
    /* a pid file that can't be had, after the old process has let go of its own */
    snprintf(bad, sizeof(bad),
             "pid_file = \"/dev/null/x\"; listeners = ( { name = \"main\"; listen = \"unix:%s\"; targets = ( "
             "\"127.0.0.1:%u\" ); } );",
             path, echo_port(echo));
    expect_failure(fixture, proximux, pid_file, path, bad, "pid file /dev/null/x");
    test_wait_until(process_descriptors(proximux->process) <= descriptors);
    /* the lock is held again: a second instance is refused */
    assert_int_equal(
        proximux_run(fixture, (&(struct proximux_options){ .configuration = good }), output, sizeof(output)),
        1);
    test_require(strstr(output, "which is running") != NULL, "not said: %s", output);
    proximux_stop(proximux);
    close(taken);
    echo_stop(echo);
}

/* Copies the program, for a test that replaces it. */
static void copy_program(const char *to)
{
    static char bytes[1 << 16];
    const char *binary = getenv("PROXIMUX");
    FILE *from = fopen(binary != NULL ? binary : "./proximux", "re");
    FILE *copy = fopen(to, "we");
    size_t count;

    assert_non_null(from);
    assert_non_null(copy);
    while ((count = fread(bytes, 1, sizeof(bytes), from)) > 0)
        assert_int_equal(fwrite(bytes, 1, count, copy), count);
    fclose(from);
    assert_int_equal(fclose(copy), 0);
    assert_int_equal(chmod(to, 0755), 0);
}

#define OLD_SIZE 512

/* Has the harness start a copy of the program; `program` gets its path, `old` what use_original() needs. */
static void use_copy(struct fixture *fixture, char *program, char *old)
{
    const char *binary = getenv("PROXIMUX");

    snprintf(old, OLD_SIZE, "%s", binary != NULL ? binary : "");
    fixture_path(fixture, "program", program);
    copy_program(program);
    setenv("PROXIMUX", program, 1);
}

static void use_original(const char *old)
{
    if (old[0] != '\0')
        setenv("PROXIMUX", old, 1);
    else
        unsetenv("PROXIMUX");
}

/* Starts a copy of the program; `program` gets its path. */
static struct proximux *start_copy_with(struct fixture *fixture, char *program, const char *text)
{
    char old[OLD_SIZE];

    use_copy(fixture, program, old);
    struct proximux *proximux = proximux_start(fixture, "%s", text);
    use_original(old);
    return proximux;
}

static struct proximux *start_copy(struct fixture *fixture, char *program, unsigned port, struct echo *echo)
{
    char text[256];

    snprintf(
        text, sizeof(text),
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
        port, echo_port(echo));
    return start_copy_with(fixture, program, text);
}

static void a_new_binary_that_does_not_work(void **state)
{
    struct fixture *fixture = *state;
    char program[FIXTURE_PATH], pid_file[FIXTURE_PATH], path[FIXTURE_PATH], text[512];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);

    fixture_path(fixture, "proximux.pid", pid_file);
    snprintf(text, sizeof(text),
             "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = \"unix:%s\"; targets = ( "
             "\"127.0.0.1:%u\" ); } );",
             pid_file, fixture_path(fixture, "listen.sock", path), echo_port(echo));
    struct proximux *proximux = start_copy_with(fixture, program, text);
    assert_int_equal(unlink(program), 0);
    expect_failure(fixture, proximux, pid_file, path, text, "No such file or directory");
    fixture_write(fixture, "program", "#!/bin/sh\nexit 3\n");
    expect_failure(fixture, proximux, pid_file, path, text, "Permission denied");
    assert_int_equal(chmod(program, 0755), 0);
    expect_failure(fixture, proximux, pid_file, path, text, "ended with status 3");
    /* and one that does */
    assert_int_equal(unlink(program), 0);
    copy_program(program);
    proximux_signal(proximux, SIGUSR2);
    test_wait_until(named_process(pid_file) > 0 && named_process(pid_file) != (long)proximux->process);
    struct proximux *heir = proximux_adopt(fixture, pid_file, proximux->log);
    proximux_expect_exit(proximux, 0);
    proximux_stop(heir);
    echo_stop(echo);
}

/* The folder that the path counts from is left for the background, by the new process too. */
static void configuration_by_a_relative_path(void **state)
{
    struct fixture *fixture = *state;
    char program[FIXTURE_PATH], old[OLD_SIZE], pid_file[FIXTURE_PATH], log[FIXTURE_PATH], text[512],
        output[4096];
    const char *const arguments[] = { "-d", "-p", pid_file, "-c", "relative.conf", NULL };
    int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_int_not_equal(folder, -1);
    fixture_path(fixture, "proximux.pid", pid_file);
    snprintf(text, sizeof(text),
             "log: { output = \"%s\"; }; listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; "
             "targets = ( \"127.0.0.1:9\" ); } );",
             fixture_path(fixture, "daemon.log", log), peer_free_port());
    fixture_write(fixture, "relative.conf", text);
    use_copy(fixture, program, old);
    assert_int_equal(chdir(fixture->directory), 0);
    int status =
        proximux_run(fixture, (&(struct proximux_options){ .arguments = arguments }), output, sizeof(output));
    assert_int_equal(fchdir(folder), 0);
    close(folder);
    use_original(old);
    assert_int_equal(status, 0);
    struct proximux *proximux = proximux_adopt(fixture, pid_file, log);
    for (size_t k = 1; k <= 2; k++) {
        char current[64], link[64];

        proximux_signal(proximux, SIGHUP);
        proximux_wait_log_times(proximux, "reloaded: ", k);
        snprintf(link, sizeof(link), "/proc/%ld/cwd", (long)proximux->process);
        assert_int_equal(readlink(link, current, sizeof(current)), 1); /* the root */
        if (k == 2)
            break;
        proximux_signal(proximux, SIGUSR2);
        test_wait_until(named_process(pid_file) > 0 && named_process(pid_file) != (long)proximux->process);
        struct proximux *heir = proximux_adopt(fixture, pid_file, log);
        proximux_expect_exit(proximux, 0);
        proximux = heir;
    }
    proximux_stop(proximux);
}

/* A new binary that never gets anywhere. */
static void stopped_while_it_is_under_way(void **state)
{
    struct fixture *fixture = *state;
    char program[FIXTURE_PATH];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();
    struct proximux *proximux = start_copy(fixture, program, port, echo);

    assert_int_equal(unlink(program), 0);
    fixture_write(fixture, "program", "#!/bin/sh\nexec sleep 1000\n");
    assert_int_equal(chmod(program, 0755), 0);
    proximux_signal(proximux, SIGUSR2);
    proximux_wait_log(proximux, "is to take over");
    proximux_signal(proximux, SIGUSR2);
    proximux_wait_log(proximux, "an upgrade is under way already");
    assert_true(exchange(port));
    proximux_signal(proximux, SIGTERM);
    proximux_wait_log(proximux, "upgrade given up");
    proximux_expect_exit(proximux, 0);
    assert_int_equal(peer_try_connect(NULL, "127.0.0.1", port), -1);
    echo_stop(echo);
}

/* systemd tells all processes of a service that it stops, and once more when the main one has ended. */
static void the_signals_of_a_stop_do_not_cut_what_the_old_one_finishes(void **state)
{
    struct fixture *fixture = *state;
    char pid_file[FIXTURE_PATH];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();
    struct proximux *proximux =
        proximux_start(fixture,
                       "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; "
                       "targets = ( \"127.0.0.1:%u\" ); } );",
                       fixture_path(fixture, "proximux.pid", pid_file), port, echo_port(echo));
    int session = peer_connect("127.0.0.1", port);

    peer_send_text(session, "hello");
    peer_expect_text(session, "hello");
    proximux_signal(proximux, SIGUSR2);
    proximux_wait_log(proximux, "draining: 1 clients are left");
    struct proximux *heir = proximux_adopt(fixture, pid_file, proximux->log);
    proximux_signal(proximux, SIGTERM);
    proximux_wait_log(proximux, "draining already");
    proximux_stop(heir);
    proximux_signal(proximux, SIGTERM);
    proximux_wait_log_times(proximux, "draining already", 2);
    peer_send_text(session, "still here");
    peer_expect_text(session, "still here");
    proximux_signal(proximux, SIGTERM);
    proximux_wait_log(proximux, "second signal: closing 1 clients");
    proximux_expect_exit(proximux, 0);
    peer_expect_end(session);
    close(session);
    echo_stop(echo);
}

/* Its end would be that of the new process. */
static void process_1_of_a_container_is_not_upgraded(void **state)
{
    static const char *const wrapper[] = { "unshare", "--pid", "--fork", "true", NULL };
    struct fixture *fixture = *state;
    char output[256], path[FIXTURE_PATH];
    const char *before = getenv("TEST_WRAPPER");
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();

    if (before != NULL ||
        process_run((&(struct process_options){ .arguments = wrapper,
                                                .output = fixture_path(fixture, "unshare", path) }),
                    TEST_PATIENCE, output, sizeof(output)) != 0) {
        echo_stop(echo);
        skip();
    }
    setenv("TEST_WRAPPER", "unshare --pid --fork --kill-child", 1);
    struct proximux *proximux = proximux_start_between(fixture, port, echo_port(echo), "");
    unsetenv("TEST_WRAPPER");
    pid_t first = process_child(proximux->process);
    assert_int_not_equal(first, 0);
    assert_int_equal(kill(first, SIGUSR2), 0);
    proximux_wait_log(proximux, "no upgrade: the end of process 1");
    assert_true(exchange(port));
    assert_int_equal(kill(first, SIGTERM), 0);
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

/* TERM when the new process has been given the pid file already: nobody is left to remove it but this one. */
static void stopped_after_it_has_let_go(void **state)
{
    struct fixture *fixture = *state;
    char program[FIXTURE_PATH], pid_file[FIXTURE_PATH], told[FIXTURE_PATH], text[512], script[512], word[8];

    snprintf(text, sizeof(text),
             "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( "
             "\"127.0.0.1:9\" ); } );",
             fixture_path(fixture, "proximux.pid", pid_file), peer_free_port());
    struct proximux *proximux = start_copy_with(fixture, program, text);
    fixture_path(fixture, "told", told);
    snprintf(script, sizeof(script),
             "#!/bin/sh\neval \"printf R >&$LISTEN_HANDOVER\"\n"
             "while [ ! -s %s ]; do eval \"head -c 1 <&$LISTEN_HANDOVER > %s\" 2> /dev/null; done\n"
             "exec sleep 1000\n",
             told, told);
    assert_int_equal(unlink(program), 0);
    fixture_write(fixture, "program", script);
    assert_int_equal(chmod(program, 0755), 0);
    proximux_signal(proximux, SIGUSR2);
    test_wait_until(process_read_file(told, word, sizeof(word)) == 1 && word[0] == 'G');
    assert_int_equal(access(pid_file, F_OK), 0);
    proximux_signal(proximux, SIGTERM);
    proximux_expect_exit(proximux, 0);
    assert_int_equal(access(pid_file, F_OK), -1);
}

/* A HUP meanwhile is not lost, whoever serves in the end. */
static void reload_waits_for_the_end(void **state)
{
    struct fixture *fixture = *state;
    char program[FIXTURE_PATH], pid_file[FIXTURE_PATH], gate[FIXTURE_PATH], text[512], script[512], line[64];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();

    fixture_path(fixture, "gate", gate);
    assert_int_equal(mkfifo(gate, 0600), 0);
    snprintf(text, sizeof(text),
             "pid_file = \"%s\"; listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( "
             "\"127.0.0.1:%u\" ); } );",
             fixture_path(fixture, "proximux.pid", pid_file), port, echo_port(echo));
    struct proximux *proximux = start_copy_with(fixture, program, text);
    for (size_t k = 0; k < 2; k++) {
        char real[FIXTURE_PATH];

        /* the new binary waits for the gate, and fails the first time */
        copy_program(fixture_path(fixture, "real", real));
        snprintf(script, sizeof(script),
                 "#!/bin/sh\nread word < %s\n[ \"$word\" = go ] || exit 3\nexec %s \"$@\"\n", gate, real);
        assert_int_equal(unlink(program), 0);
        fixture_write(fixture, "program", script);
        assert_int_equal(chmod(program, 0755), 0);
        proximux_signal(proximux, SIGUSR2);
        proximux_wait_log_times(proximux, "is to take over", k + 1);
        proximux_signal(proximux, SIGHUP);
        proximux_wait_log_times(proximux, "the reload waits", k + 1);
        assert_int_equal(proximux_log_count(proximux, "reloaded: "), k);
        FILE *opened = fopen(gate, "we");
        assert_non_null(opened);
        fputs(k == 0 ? "stop\n" : "go\n", opened);
        fclose(opened);
        proximux_wait_log_times(proximux, "reloaded: ", k + 1);
    }
    struct proximux *heir = proximux_adopt(fixture, pid_file, proximux->log);
    snprintf(line, sizeof(line), "process %ld has taken over", (long)heir->process);
    proximux_wait_log(proximux, line);
    proximux_expect_exit(proximux, 0);
    assert_true(exchange(port));
    proximux_stop(heir);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(nobody_is_refused_under_traffic),
        fixture_test(in_the_background),
        fixture_test(unix_sockets_and_those_of_systemd),
        fixture_test(what_fails_changes_nothing),
        fixture_test(a_new_binary_that_does_not_work),
        fixture_test(stopped_while_it_is_under_way),
        fixture_test(the_signals_of_a_stop_do_not_cut_what_the_old_one_finishes),
        fixture_test(process_1_of_a_container_is_not_upgraded),
        fixture_test(configuration_by_a_relative_path),
        fixture_test(sockets_of_systemd_known_by_address),
        fixture_test(reload_waits_for_the_end),
        fixture_test(stopped_after_it_has_let_go),
        fixture_test(path_that_nobody_wants_is_removed),
    };

    return cmocka_run_group_tests_name("upgrade", tests, NULL, NULL);
}
