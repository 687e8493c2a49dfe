/* Reload: each line of what is promised of it, in all modes, with peers whose every move the test decides. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/scene.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Milliseconds in which nothing may happen. */
#define QUIET 60

/* Writes the configuration anew and asks for it; waits for that many outcomes of this kind. */
static void reload_until(struct proximux *proximux, const char *outcome, const char *text, struct place place)
{
    size_t before = proximux_log_count(proximux, outcome);

    fixture_write_at(proximux->fixture, strrchr(proximux->configuration, '/') + 1, text, place);
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log_at(proximux, outcome, before + 1, place);
}

#define RELOADED "reloaded: "
#define REFUSED  "nothing was changed"

/* Reloads with this text, which must succeed, or must be refused. */
#define reload(proximux, ...)      reload_with((proximux), RELOADED, HERE, __VA_ARGS__)
#define reload_fail(proximux, ...) reload_with((proximux), REFUSED, HERE, __VA_ARGS__)
static void reload_with(struct proximux *proximux, const char *outcome, struct place place,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
static void reload_with(struct proximux *proximux, const char *outcome, struct place place,
                        const char *format, ...)
{
    char text[4096];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    reload_until(proximux, outcome, text, place);
}

/* One listener "shared" on a port of 127.0.0.1; `rest` are its further keys. */
#define LISTENER "listeners = ( { name = \"shared\"; listen = \"127.0.0.1:%u\"; %s } );"

/* Target and mode as keys. */
static const char *keys(char *text, size_t size, const char *mode, unsigned target, const char *options,
                        const char *rest)
{
    snprintf(text, size, "mode = \"%s\"; %s targets = ( { address = \"127.0.0.1:%u\"; %s } ); %s", mode,
             strcmp(mode, "proxy") == 0 ? "" : SCENE_LINE, target, options, rest);
    return text;
}

/* A running program whose listener "shared" has these keys. */
static struct proximux *start(struct fixture *fixture, unsigned port, const char *mode, unsigned target,
                              const char *options, const char *rest)
{
    char text[1024];

    return proximux_start(fixture, LISTENER, port, keys(text, sizeof(text), mode, target, options, rest));
}

#define change(proximux, port, mode, target, options, rest)                                                  \
    do {                                                                                                     \
        char change_text[1024];                                                                              \
        reload((proximux), LISTENER, (port),                                                                 \
               keys(change_text, sizeof(change_text), (mode), (target), (options), (rest)));                 \
    } while (0)

/* The sockets that a program listens on, as inodes in the order of its descriptors. */
static void listening_sockets(const struct proximux *proximux, char *text, size_t size)
{
    size_t length = 0;

    text[0] = '\0';
    for (int descriptor = 0; descriptor < 64; descriptor++) {
        char target[64], line[64];
        ssize_t read;

        snprintf(line, sizeof(line), "/proc/%d/fd/%d", (int)proximux->process, descriptor);
        read = readlink(line, target, sizeof(target) - 1);
        if (read <= 0)
            continue;
        target[read] = '\0';
        if (strncmp(target, "socket:", 7) == 0)
            length += (size_t)snprintf(text + length, size - length, "%d=%s ", descriptor, target);
    }
}

/* Whether these are what it listens on. To be waited for: what tells the service manager comes and goes. */
static bool listens_on(const struct proximux *proximux, const char *sockets)
{
    char now[2048];

    listening_sockets(proximux, now, sizeof(now));
    return strcmp(now, sockets) == 0;
}

/* The configuration in force, as admin at this unix socket shows it (what -s -T prints). */
static void running_configuration(const char *admin, char *text, size_t size)
{
    int client = peer_connect(admin, 0);
    size_t length = 0;
    ssize_t got;

    peer_send_text(client, "GET /config HTTP/1.0\r\n\r\n");
    while ((got = recv(client, text + length, size - 1 - length, 0)) > 0)
        length += (size_t)got;
    close(client);
    text[length] = '\0';
    char *body = strstr(text, "\r\n\r\n");
    test_require(body != NULL && strstr(body, "listeners") != NULL, "admin says: %s", text);
    memmove(text, body, strlen(body) + 1);
}

/* ---- HUP reads the file anew; only if all of it is right it counts ---- */

static void refused_reload_changes_nothing(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port(), other = peer_free_port();
    int listener = peer_listen("127.0.0.1", target, 16);
    int occupied = peer_listen("127.0.0.1", other, 16);
    char admin[FIXTURE_PATH], text[1024], before[2048];
    static char dump[65536], dump_after[65536];
    fixture_path(*state, "admin", admin);
    struct proximux *proximux = proximux_start(*state, "admin: { listen = \"unix:%s\"; }; " LISTENER, admin,
                                               port, keys(text, sizeof(text), "fifo", target, "", ""));
    int client = peer_connect("127.0.0.1", port);

    running_configuration(admin, dump, sizeof(dump));
    peer_send_text(client, "one\n");
    int connection = peer_accept(listener);
    peer_expect_text(connection, "one\n");
    listening_sockets(proximux, before, sizeof(before));

    /* wrong, twice */
    reload_fail(proximux, LISTENER "bogus = 1;", port, "targets = ( \"127.0.0.1:70000\" );");
    assert_int_equal(proximux_log_count(proximux, "bogus"), 1);
    assert_int_equal(proximux_log_count(proximux, "70000"), 1);
    assert_int_equal(proximux_log_count(proximux, "2 errors; nothing was changed"), 1);
    /* right, but it can't be bound; the other listener could be */
    reload_fail(
        proximux,
        "listeners = ( { name = \"new\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); },"
        "{ name = \"shared\"; listen = [ \"127.0.0.1:%u\", \"127.0.0.1:%u\" ]; mode = \"funnel\"; " SCENE_LINE
        "targets = ( \"127.0.0.1:9\" ); } );",
        peer_free_port(), port, other);
    assert_int_equal(proximux_log_count(proximux, "Address already in use"), 1);
    /* a log file that can't be opened, a name that can't be looked up */
    reload_fail(proximux, "log: { output = \"/nowhere/at/all\"; }; " LISTENER, port,
                "targets = ( \"127.0.0.1:9\" );");
    reload_fail(proximux,
                "listeners = ( { name = \"shared\"; listen = \"no.such.name.invalid:%u\"; "
                "targets = ( \"127.0.0.1:9\" ); } );",
                port);
    proximux_wait_notification(proximux, "STATUS=running; the last reload was refused: 1 error");

    test_wait_until(listens_on(proximux, before));
    running_configuration(admin, dump_after, sizeof(dump_after));
    assert_string_equal(dump_after, dump);
    peer_send_text(connection, "ONE\n");
    peer_expect_text(client, "ONE\n");
    peer_send_text(client, "two\n");
    peer_expect_text(connection, "two\n");
    peer_send_text(connection, "TWO\n");
    peer_expect_text(client, "TWO\n");
    peer_expect_silence(listener, QUIET);
    close(client);
    proximux_stop(proximux);
    close(connection);
    close(listener);
    close(occupied);
}

/* What can't be changed while the program runs is said to stay, and does. */
static void what_stays_until_the_next_start_is_said(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port(), target = peer_free_port();
    char admin[FIXTURE_PATH], other[FIXTURE_PATH], text[1024];
    static char dump[65536];
    fixture_path(fixture, "admin", admin);
    fixture_path(fixture, "other", other);
    keys(text, sizeof(text), "fifo", target, "", "");
    struct proximux *proximux =
        proximux_start(fixture, "admin: { listen = \"unix:%s\"; }; " LISTENER, admin, port, text);

    reload(proximux, "admin: { listen = \"unix:%s\"; }; " LISTENER, admin, port, text);
    assert_int_equal(proximux_log_count(proximux, "until the next start"), 0);
    reload(proximux, "admin: { listen = \"unix:%s\"; }; pid_file = \"/tmp/nowhere\"; " LISTENER, other, port,
           text);
    proximux_wait_log(proximux, "reload: admin stays as it was until the next start");
    proximux_wait_log(proximux, "reload: pid_file stays as it was until the next start");
    assert_int_equal(access(other, F_OK), -1);
    running_configuration(admin, dump, sizeof(dump)); /* it still answers */
    proximux_stop(proximux);
}

/* Nothing may move by a reload that changes nothing, nor by many. */
static void reload_that_changes_nothing_moves_nothing(void **state)
{
    static const char *const modes[] = { "proxy", "fifo", "funnel" };

    for (size_t i = 0; i < 3; i++) {
        unsigned port = peer_free_port();
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        struct proximux *proximux = start(*state, port, modes[i], echo_port(echo), "", "");
        int client = peer_connect("127.0.0.1", port);
        char before[2048];

        peer_send_text(client, "one\n");
        peer_expect_text(client, "one\n");
        listening_sockets(proximux, before, sizeof(before));
        for (size_t k = 0; k < 20; k++)
            change(proximux, port, modes[i], echo_port(echo), "", "");
        test_wait_until(listens_on(proximux, before));
        peer_send_text(client, "two\n");
        peer_expect_text(client, "two\n");
        assert_int_equal(echo_accepted(echo), 1);
        assert_int_equal(proximux_log_count(proximux, "reload: changed"), 0);
        close(client);
        proximux_stop(proximux);
        echo_stop(echo);
    }
}

/* "A HUP meanwhile is done afterwards, once." A pipe that nobody writes to keeps the thread at work. */
static void hang_ups_meanwhile_are_done_once(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start(*state, port, "proxy", echo_port(echo), "", "");
    size_t before = proximux_log_count(proximux, "reloading");
    char text[1024], whole[1400];

    snprintf(whole, sizeof(whole), LISTENER, port,
             keys(text, sizeof(text), "proxy", echo_port(echo), "", "blocklist = [ \"10.0.0.0/8\" ];"));
    assert_int_equal(unlink(proximux->configuration), 0);
    assert_int_equal(mkfifo(proximux->configuration, 0600), 0);
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log_times(proximux, "reloading", before + 1);
    /* the loop goes on, and more of them wait */
    for (size_t i = 0; i < 3; i++) {
        int client = peer_connect("127.0.0.1", port);
        peer_send_text(client, "goes on");
        peer_expect_text(client, "goes on");
        close(client);
        proximux_signal(proximux, SIGHUP);
        proximux_wait_log_times(proximux, "ended: client_closed", i + 1);
    }
    for (size_t i = 0; i < 2; i++) {
        int writer;
        test_wait_until((writer = open(proximux->configuration, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) != -1);
        assert_int_equal(write(writer, whole, strlen(whole)), strlen(whole));
        close(writer);
        proximux_wait_log_times(proximux, RELOADED, i + 1);
    }
    peer_reset(peer_connect("127.0.0.1", port));
    proximux_wait_log_times(proximux, "ended: client_reset", 1);
    assert_int_equal(proximux_log_count(proximux, "reloading"), before + 2);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* The end of the program comes first, also if a thread is at work, whatever that waits for. */
static void term_ends_a_reload(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start(*state, port, "proxy", echo_port(echo), "", "");
    char fifo[FIXTURE_PATH], text[1024];
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "x");
    peer_expect_text(client, "x");
    assert_int_equal(mkfifo(fixture_path(*state, "slow.conf", fifo), 0600), 0);
    snprintf(text, sizeof(text), "@include \"%s\"\n", fifo);
    fixture_write(*state, strrchr(proximux->configuration, '/') + 1, text);
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log(proximux, "reloading");
    proximux_signal(proximux, SIGTERM);
    proximux_wait_log(proximux, "draining");
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log(proximux, "not reloaded: the process is stopping");
    close(client);
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

/* What the environment says is applied again, to what the file says now. */
static void environment_is_applied_again(void **state)
{
    unsigned port = peer_free_port(), file_port = peer_free_port();
    struct echo *one = echo_start("127.0.0.1", 0, "1"), *two = echo_start("127.0.0.1", 0, "2");
    char text[512], variable[40];
    const char *const environment[] = { "LOCAL_HOST=127.0.0.1", variable, "PROXIMUX_MAX_CONNECTIONS=1",
                                        NULL };
    static const char form[] =
        "listeners = ( { name = \"default\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );";

    snprintf(variable, sizeof(variable), "LOCAL_PORT=%u", port);
    snprintf(text, sizeof(text), form, file_port, echo_port(one));
    struct proximux_options with = { .configuration = text, .environment = environment };
    struct proximux *proximux = proximux_start_with(*state, &with);
    int client = peer_connect("127.0.0.1", port);
    peer_expect_text(client, "1");
    reload(proximux, form, file_port, echo_port(two));
    int refused = peer_connect("127.0.0.1", port); /* max_connections holds */
    peer_expect_closed(refused);
    close(refused);
    close(client);
    proximux_wait_log(proximux, "ended: client_closed");
    client = peer_connect("127.0.0.1", port);
    peer_expect_text(client, "2");
    assert_int_equal(peer_try_connect(NULL, "127.0.0.1", file_port), -1);
    close(client);
    proximux_stop(proximux);
    echo_stop(one);
    echo_stop(two);
}

/* ---- An address that stays keeps its socket ---- */

static void backlog_survives(void **state)
{
    unsigned port = peer_free_port(), more = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start(*state, port, "proxy", echo_port(echo), "", "");
    int clients[8];
    char text[1024];

    /* who comes while it can't accept, waits through the reload that renames the listener and adds an address
     */
    proximux_signal(proximux, SIGSTOP);
    for (size_t i = 0; i < 8; i++)
        clients[i] = peer_connect("127.0.0.1", port);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"renamed\"; listen = [ \"127.0.0.1:%u\", \"127.0.0.1:%u\" ]; "
             "targets = ( \"127.0.0.1:%u\" ); } );",
             more, port, echo_port(echo));
    fixture_write(*state, strrchr(proximux->configuration, '/') + 1, text);
    proximux_signal(proximux, SIGHUP);
    proximux_signal(proximux, SIGCONT);
    for (size_t i = 0; i < 8; i++) {
        peer_send_text(clients[i], "served");
        peer_expect_text(clients[i], "served");
        close(clients[i]);
    }
    proximux_wait_log(proximux, RELOADED);
    int client = peer_connect("127.0.0.1", more);
    peer_send_text(client, "x");
    peer_expect_text(client, "x");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* Connects again and again, with a request each; counts what goes wrong. In a process of its own. */
static pid_t start_connecting(unsigned port, int stop)
{
    pid_t process = fork();

    assert_int_not_equal(process, -1);
    if (process != 0)
        return process;
    int failures = 0;
    while (!peer_readable(stop, 0)) {
        char answer[4];
        int client = peer_try_connect(NULL, "127.0.0.1", port);
        bool good = client != -1 && send(client, "ask\n", 4, MSG_NOSIGNAL) == 4 &&
                    recv(client, answer, 4, MSG_WAITALL) == 4 && memcmp(answer, "ask\n", 4) == 0;
        failures += !good;
        if (client != -1)
            close(client);
    }
    _exit(failures > 200 ? 200 : failures);
}

/* Addresses that overlap change places while clients come all the time. */
static void overlapping_addresses_change_places(void **state)
{
    static const char *const addresses[] = { "0.0.0.0", "127.0.0.1", "*", "127.0.0.1", "[::]", "0.0.0.0" };
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start(*state, port, "proxy", echo_port(echo), "", "");
    int stop[2], status;

    if (!peer_have_ipv6())
        skip();
    assert_int_equal(pipe(stop), 0);
    pid_t clients = start_connecting(port, stop[0]);
    for (size_t i = 0; i < 6 * test_scaled(10, 2); i++)
        reload(proximux,
               "listeners = ( { name = \"shared\"; listen = \"%s:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
               addresses[i % 6], port, echo_port(echo));
    assert_int_equal(write(stop[1], "x", 1), 1);
    assert_true(process_wait(clients, TEST_PATIENCE, &status));
    assert_int_equal(status, 0);
    close(stop[0]);
    close(stop[1]);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* A unix socket stays, with another mode if need be; one that goes is removed. */
static void unix_sockets_stay(void **state)
{
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    char path[FIXTURE_PATH];
    struct stat before, after;
    static const char form[] = "listeners = ( { name = \"a\"; listen = %s\"unix:%s\" %s; unix_mode = \"%s\"; "
                               "targets = ( \"127.0.0.1:%u\" ); } );";

    fixture_path(*state, "socket", path);
    struct proximux *proximux = proximux_start(*state, form, "", path, "", "0600", echo_port(echo));
    assert_int_equal(stat(path, &before), 0);
    unsigned port = peer_free_port();
    char also[40];
    snprintf(also, sizeof(also), ", \"127.0.0.1:%u\" ]", port);
    reload(proximux, form, "[ ", path, also, "0666", echo_port(echo));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_mode & 0777, 0666);
    int client = peer_connect(path, 0);
    peer_send_text(client, "x");
    peer_expect_text(client, "x");
    close(client);
    reload(proximux,
           "listeners = ( { name = \"a\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
           port, echo_port(echo));
    assert_int_equal(stat(path, &after), -1);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* What root has given to others stays theirs, without a word, when the program is not root any more. */
static void unix_socket_of_another_user_stays(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH];
    struct stat file;
    static const char form[] = "user = \"nobody\"; listeners = ( { name = \"a\"; listen = \"unix:%s\"; "
                               "unix_user = \"daemon\"; unix_group = \"daemon\"; unix_mode = \"%s\"; "
                               "targets = ( \"127.0.0.1:9\" ); } );";

    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(fixture->directory, 0755), 0);
    struct proximux *proximux =
        proximux_start(fixture, form, fixture_path(fixture, "run/socket", path), "0600");
    reload(proximux, form, path, "0600");
    assert_int_equal(proximux_log_count(proximux, "can't be set"), 0);
    reload(proximux, form, path, "0660");
    assert_int_equal(proximux_log_count(proximux, "can't be set"), 1);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    proximux_stop(proximux);
}

/* ---- A target that stays keeps its connections, exchanges and queue; one that goes drains ---- */

static void target_that_stays_keeps_its_exchanges(void **state)
{
    static const char *const modes[] = { "fifo", "funnel" };

    for (size_t i = 0; i < 2; i++) {
        struct scene scene = scene_begin(*state, modes[i], 1, "");
        int first = scene_ask(&scene, "one\n");
        int target = peer_accept(scene.listener);
        peer_expect_text(target, "one\n");
        int second = scene_ask(&scene, "two\n");

        change(scene.proximux, scene.port, modes[i], scene.target_port, "",
               "queue_timeout = 20000; balance = \"first\";");
        assert_int_equal(proximux_log_count(scene.proximux, "reload: changed: balance, queue_timeout") +
                             proximux_log_count(scene.proximux, "reload: changed: queue_timeout, balance"),
                         1);
        peer_send_text(target, "ONE\n");
        peer_expect_text(first, "ONE\n");
        peer_expect_text(target, "two\n");
        peer_send_text(target, "TWO\n");
        peer_expect_text(second, "TWO\n");
        peer_expect_silence(scene.listener, QUIET);
        close(first);
        close(second);
        scene_end(&scene);
        close(target);
    }
}

static void target_that_goes_drains(void **state)
{
    static const char *const modes[] = { "fifo", "funnel" };

    for (size_t i = 0; i < 2; i++) {
        struct scene scene = scene_begin(*state, modes[i], 1, "");
        unsigned other_port = peer_free_port();
        int other = peer_listen("127.0.0.1", other_port, 16);
        int first = scene_ask(&scene, "one\n");
        int target = peer_accept(scene.listener);
        peer_expect_text(target, "one\n");
        int second = scene_ask(&scene, "two\n");

        change(scene.proximux, scene.port, modes[i], other_port, "", "");
        peer_send_text(target, "ONE\n");
        peer_expect_text(first, "ONE\n");
        peer_expect_closed(target);
        int replacement = peer_accept(other);
        peer_expect_text(replacement, "two\n");
        peer_send_text(replacement, "TWO\n");
        peer_expect_text(second, "TWO\n");
        peer_expect_silence(scene.listener, QUIET);
        close(first);
        close(second);
        scene_end(&scene);
        close(target);
        close(replacement);
        close(other);
    }
}

/* ---- A device with one slot survives any reload ---- */

/* A device that takes one connection: answers a line in capital letters, and fails the test if there is ever
 * a second connection beside the first. */
struct device {
    unsigned port;
    int listener;
    int connection; /* -1: none */
};

static struct device device_start(void)
{
    struct device device = { .port = peer_free_port(), .connection = -1 };

    device.listener = peer_listen("127.0.0.1", device.port, 16);
    return device;
}

/* Waits for a request, on whatever connection it comes; the one before must have been closed by then. */
static void device_expect_at(struct device *device, const char *text, struct place place)
{
    if (device->connection != -1 && peer_readable(device->connection, TEST_PATIENCE)) {
        char byte;
        if (recv(device->connection, &byte, 1, MSG_PEEK) <= 0) {
            close(device->connection);
            device->connection = -1;
        }
    }
    if (device->connection == -1)
        device->connection = peer_accept_at(device->listener, place);
    peer_expect_text_at(device->connection, text, place);
}
#define device_expect(device, text) device_expect_at((device), (text), HERE)

/* Its only connection goes, and only then another one comes. */
static void device_moves_at(struct device *device, struct place place)
{
    peer_expect_closed_at(device->connection, place);
    close(device->connection);
    device->connection = -1;
}
#define device_moves(device) device_moves_at((device), HERE)

/* A client has a request at the device while the listener changes from one form to another, and a second
 * client comes after it: it is served only when the first one's connection is gone, and not held against it.
 */
static void change_at_device(struct fixture *fixture, const char *mode, const char *options,
                             const char *new_mode, const char *new_options, const char *new_keys)
{
    struct device device = device_start();
    unsigned port = peer_free_port();
    struct proximux *proximux = start(fixture, port, mode, device.port, options, "queue_timeout = 150;");
    int first = peer_connect("127.0.0.1", port);

    peer_send_text(first, "one\n");
    device_expect(&device, "one\n");
    change(proximux, port, new_mode, device.port, new_options, new_keys);
    int second = peer_connect("127.0.0.1", port);
    peer_send_text(second, "two\n");
    peer_expect_silence(device.listener, 400); /* more than queue_timeout */
    peer_expect_silence(second, QUIET);
    peer_send_text(device.connection, "ONE\n");
    peer_expect_text(first, "ONE\n");
    if (strcmp(mode, "proxy") == 0) { /* the session holds the slot until it ends */
        peer_expect_silence(device.listener, QUIET);
        close(first);
    }
    device_moves(&device);
    device_expect(&device, "two\n");
    peer_expect_silence(device.listener, QUIET);
    peer_send_text(device.connection, "TWO\n");
    peer_expect_text(second, "TWO\n");
    if (strcmp(mode, "proxy") != 0 && strcmp(new_mode, "proxy") != 0) {
        /* the first one is still there, and so is the second one */
        peer_send_text(first, "three\n");
        device_expect(&device, "three\n");
        peer_send_text(device.connection, "THREE\n");
        peer_expect_text(first, "THREE\n");
        peer_send_text(second, "four\n");
        device_expect(&device, "four\n");
        peer_send_text(device.connection, "FOUR\n");
        peer_expect_text(second, "FOUR\n");
    }
    if (strcmp(mode, "proxy") != 0)
        close(first);
    close(second);
    close(device.connection);
    proximux_stop(proximux);
    assert_int_equal(proximux_log_count(proximux, "failed"), 0);
    close(device.listener);
}

static void device_survives_another_mode(void **state)
{
    change_at_device(*state, "fifo", "", "funnel", "", "queue_timeout = 150;");
    change_at_device(*state, "funnel", "", "fifo", "", "queue_timeout = 150;");
    change_at_device(*state, "proxy", "max_connections = 1;", "fifo", "", "queue_timeout = 150;");
    change_at_device(*state, "fifo", "", "proxy", "max_connections = 1;", "queue_timeout = 150;");
}

static void device_survives_another_protocol(void **state)
{
    change_at_device(*state, "fifo", "", "fifo", "", "queue_timeout = 150; async = true;");
}

/* The target is taken out and comes back while its request is under way. */
static void device_survives_its_removal(void **state)
{
    struct device device = device_start();
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start(*state, port, "funnel", device.port, "", "queue_timeout = 150;");
    int first = peer_connect("127.0.0.1", port), second = peer_connect("127.0.0.1", port);

    peer_send_text(first, "one\n");
    device_expect(&device, "one\n");
    change(proximux, port, "funnel", echo_port(echo), "", "queue_timeout = 150;");
    peer_send_text(second, "echoed\n");
    peer_expect_text(second, "echoed\n");
    change(proximux, port, "funnel", device.port, "", "queue_timeout = 150;");
    peer_send_text(second, "two\n");
    peer_expect_silence(device.listener, 400);
    peer_send_text(device.connection, "ONE\n");
    peer_expect_text(first, "ONE\n");
    device_moves(&device);
    device_expect(&device, "two\n");
    peer_send_text(device.connection, "TWO\n");
    peer_expect_text(second, "TWO\n");
    /* and with its listener */
    reload(proximux,
           "listeners = ( { name = \"x\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:9\" ); } );",
           peer_free_port());
    peer_send_text(second, "three\n"); /* who is connected is served on */
    device_expect(&device, "three\n");
    change(proximux, port, "funnel", device.port, "", "queue_timeout = 150;");
    int third = peer_connect("127.0.0.1", port);
    peer_send_text(third, "four\n");
    peer_expect_silence(device.listener, 400);
    peer_send_text(device.connection, "THREE\n");
    peer_expect_text(second, "THREE\n");
    device_moves(&device);
    device_expect(&device, "four\n");
    peer_send_text(device.connection, "FOUR\n");
    peer_expect_text(third, "FOUR\n");
    close(first);
    close(second);
    close(third);
    proximux_stop(proximux);
    close(device.connection);
    close(device.listener);
    echo_stop(echo);
}

/* ---- Warming up ends, whatever becomes of what it waits for ---- */

/* The listener warms up for a target that never answers. After a reload a client is accepted and gets this. */
static void change_while_warming(struct fixture *fixture, const char *mode, bool corrects_target,
                                 const char *rest, const char *answer)
{
    struct peer_deaf deaf;
    peer_make_deaf(&deaf, "127.0.0.1");
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();
    struct proximux *proximux =
        start(fixture, port, mode, deaf.port, "", "warmup = true; connect_timeout = 60000;");

    change(proximux, port, mode, corrects_target ? echo_port(echo) : deaf.port, "", rest);
    int client = peer_connect("127.0.0.1", port);
    peer_send_text(client, "warm\n");
    peer_expect_text(client, answer);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
    peer_close_deaf(&deaf);
}

/* Until 2026 the listener stayed shut for ever. */
static void warming_up_ends_when_its_target_is_changed(void **state)
{
    change_while_warming(*state, "fifo", true, "warmup = true; connect_timeout = 60000;", "warm\n");
    change_while_warming(*state, "funnel", true, "warmup = true; connect_timeout = 60000;", "warm\n");
}

static void warming_up_ends_when_nobody_wants_it_any_more(void **state)
{
    change_while_warming(*state, "fifo", false, "queue_timeout = 50; connect_timeout = 60000;", "ERROR\n");
    change_while_warming(*state, "funnel", false, "queue_timeout = 50; connect_timeout = 60000;", "ERROR\n");
}

/* ---- Clients stay; shared modes go by the new settings at once, a session by those it began with ---- */

static void clients_and_queue_go_by_the_new_settings(void **state)
{
    struct scene scene = scene_begin(*state, "fifo", 1, "queue_timeout = -1; request_timeout = -1;");
    int idle = peer_connect("127.0.0.1", scene.port);
    int first = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);
    peer_expect_text(target, "one\n");
    int second = scene_ask(&scene, "two\n");

    peer_expect_silence(second, QUIET);
    change(scene.proximux, scene.port, "fifo", scene.target_port, "",
           "queue_timeout = 100; client_idle_timeout = 100; request_timeout = 100; max_connections = 3;");
    peer_expect_text(second, "ERROR\n"); /* it waited too long, but as long as the new setting allows */
    peer_expect_closed(idle);
    peer_expect_silence(first, QUIET); /* its request was sent under the old ones */
    peer_send_text(target, "ONE\n");
    peer_expect_text(first, "ONE\n");
    close(first);
    close(second);
    close(idle);
    scene_end(&scene);
    close(target);
}

static void limits_hold_at_once(void **state)
{
    static const char *const modes[] = { "proxy", "fifo", "funnel" };

    for (size_t i = 0; i < 3; i++) {
        unsigned port = peer_free_port();
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        struct proximux *proximux = start(*state, port, modes[i], echo_port(echo), "", "");
        int clients[3];

        for (size_t k = 0; k < 3; k++) {
            clients[k] = peer_connect("127.0.0.1", port);
            peer_send_text(clients[k], "x\n");
            peer_expect_text(clients[k], "x\n");
        }
        change(proximux, port, modes[i], echo_port(echo), "", "max_connections_per_address = 2;");
        int refused = peer_connect("127.0.0.1", port);
        peer_expect_closed(refused);
        close(refused);
        for (size_t k = 0; k < 2; k++) { /* who is in stays in */
            peer_send_text(clients[k], "y\n");
            peer_expect_text(clients[k], "y\n");
            close(clients[k]);
            proximux_wait_log_times(proximux, "ended: client_closed", k + 1);
        }
        int client = peer_connect("127.0.0.1", port);
        peer_send_text(client, "z\n");
        peer_expect_text(client, "z\n");
        change(proximux, port, modes[i], echo_port(echo), "", "max_connections = 2;");
        refused = peer_connect("127.0.0.1", port);
        peer_expect_closed(refused);
        close(refused);
        close(client);
        close(clients[2]);
        proximux_stop(proximux);
        echo_stop(echo);
    }
}

/* For the clients that are there, too. */
static void rates_hold_at_once(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start(*state, port, "funnel", echo_port(echo), "", "");
    int clients[2];

    for (size_t i = 0; i < 2; i++) {
        clients[i] = peer_connect("127.0.0.1", port);
        peer_send_text(clients[i], "1\n2\n3\n");
        peer_expect_text(clients[i], "1\n2\n3\n");
    }
    change(proximux, port, "funnel", echo_port(echo), "",
           "request_rate_per_address = 1; request_rate = 1000; queue_timeout = 200;");
    peer_send_text(clients[0], "a\nb\n");
    peer_expect_text(clients[0], "a\nERROR\n");
    proximux_wait_log(proximux, "failed: over_rate");
    change(proximux, port, "funnel", echo_port(echo), "", "");
    peer_send_text(clients[1], "x\ny\nz\n");
    peer_expect_text(clients[1], "x\ny\nz\n");
    for (size_t i = 0; i < 2; i++)
        close(clients[i]);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void session_ends_by_the_rules_it_began_with(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start(*state, port, "proxy", echo_port(echo), "", "inactivity_timeout = -1;");
    int old = peer_connect("127.0.0.1", port);

    peer_expect_text(old, "e");
    change(proximux, port, "proxy", echo_port(echo), "", "inactivity_timeout = 100;");
    int young = peer_connect("127.0.0.1", port);
    peer_expect_text(young, "e");
    peer_expect_closed(young);
    peer_expect_silence(old, 300);
    change(proximux, port, "fifo", echo_port(echo), "", "");
    peer_send_text(old, "still a pipe");
    peer_expect_text(old, "still a pipe");
    close(old);
    close(young);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* ---- An address that is now blocked is cut at the swap ---- */

static void blocked_address_is_cut(void **state)
{
    static const char *const modes[] = { "proxy", "fifo", "funnel" };

    for (size_t i = 0; i < 3; i++) {
        unsigned port = peer_free_port(), target_port = peer_free_port();
        int listener = peer_listen("127.0.0.1", target_port, 16);
        struct proximux *proximux =
            start(*state, port, modes[i], target_port, i == 0 ? "max_connections = 1;" : "", "");
        int busy = peer_connect_from("127.0.0.2", "127.0.0.1", port);
        peer_send_text(busy, "one\n");
        int target = peer_accept(listener);
        peer_expect_text(target, "one\n");
        int waiting = peer_connect_from("127.0.0.2", "127.0.0.1", port);
        peer_send_text(waiting, "two\n");
        int good = peer_connect_from("127.0.0.3", "127.0.0.1", port);
        peer_send_text(good, "good\n");
        change(proximux, port, modes[i], target_port, i == 0 ? "max_connections = 1;" : "",
               "blocklist = [ \"127.0.0.2\" ];");
        peer_expect_closed(busy);
        peer_expect_closed(waiting);
        if (i == 0) { /* the slot is free */
            peer_expect_closed(target);
            close(target);
            target = peer_accept(listener);
        } else {
            peer_send_text(target, "ONE\n"); /* reaches nobody */
        }
        peer_expect_text(target, "good\n");
        peer_send_text(target, "GOOD\n");
        peer_expect_text(good, "GOOD\n");
        close(busy);
        close(waiting);
        close(good);
        close(target);
        proximux_stop(proximux);
        close(listener);
    }
}

/* ---- A listener that goes, or whose mode changes ---- */

static void listener_that_goes_drains(void **state)
{
    static const char *const modes[] = { "proxy", "fifo", "funnel" };

    for (size_t i = 0; i < 3; i++) {
        unsigned port = peer_free_port();
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        struct proximux *proximux = start(*state, port, modes[i], echo_port(echo), "", "");
        int client = peer_connect("127.0.0.1", port), leaver = peer_connect("127.0.0.1", port);

        peer_send_text(client, "one\n");
        peer_expect_text(client, "one\n");
        reload(proximux,
               "shutdown_timeout = 300; listeners = ( { name = \"other\"; listen = \"127.0.0.1:%u\"; "
               "targets = ( \"127.0.0.1:9\" ); } );",
               peer_free_port());
        proximux_wait_log(proximux, "not listening on");
        assert_int_equal(peer_try_connect(NULL, "127.0.0.1", port), -1);
        peer_send_text(client, "two\n");
        peer_expect_text(client, "two\n");
        close(leaver);
        peer_expect_closed(client);
        close(client);
        proximux_wait_log(proximux, "shutdown_timeout has passed: closing 1 clients");
        proximux_wait_log(proximux, "served 2 clients"); /* it is gone altogether */
        test_wait_until(echo_open(echo) == 0);
        proximux_stop(proximux);
        echo_stop(echo);
    }
}

/* "Served under its old rules until shutdown_timeout": then what was asked for is still answered. */
static void old_clients_of_another_mode_go_in_the_end(void **state)
{
    struct scene scene = scene_begin(*state, "funnel", 1, "");
    int idle = peer_connect("127.0.0.1", scene.port);
    int busy = scene_ask(&scene, "one\n");
    int target = peer_accept(scene.listener);
    char text[1024];

    peer_expect_text(target, "one\n");
    reload(scene.proximux, "shutdown_timeout = 200; " LISTENER, scene.port,
           keys(text, sizeof(text), "fifo", scene.target_port, "", ""));
    peer_expect_end(idle);
    close(idle);
    peer_expect_silence(busy, 200);
    peer_send_text(target, "ONE\n");
    peer_expect_text(busy, "ONE\n");
    peer_expect_end(busy);
    close(busy);
    scene_end(&scene);
    close(target);
}

/* http has a word for it. */
static void http_says_that_it_closes(void **state)
{
    unsigned port = peer_free_port(), target_port = peer_free_port();
    int listener = peer_listen("127.0.0.1", target_port, 16);
    static const char form[] = "listeners = ( { name = \"web\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; "
                               "protocol = \"http\"; targets = ( \"127.0.0.1:%u\" ); } );";
    struct proximux *proximux = proximux_start(*state, form, port, "funnel", target_port);
    int client = peer_connect("127.0.0.1", port);
    char answer[512] = "";

    peer_send_text(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    int target = peer_accept(listener);
    peer_receive(target, answer, 20);
    reload(proximux, form, port, "fifo", target_port);
    peer_send_text(target, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    size_t length = 0;
    ssize_t got;
    while ((got = recv(client, answer + length, sizeof(answer) - 1 - length, 0)) > 0)
        length += (size_t)got;
    assert_int_equal(got, 0);
    answer[length] = '\0';
    assert_non_null(strstr(answer, "Connection: close\r\n"));
    close(client);
    proximux_stop(proximux);
    close(target);
    close(listener);
}

/* ---- The log ---- */

static void log_goes_by_the_new_settings(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    char path[FIXTURE_PATH], text[1024], listener[1200], whole[1600];
    static char written[65536];

    snprintf(listener, sizeof(listener), LISTENER, port,
             keys(text, sizeof(text), "proxy", echo_port(echo), "", ""));
    struct proximux_options with = { .configuration = listener, .own_log_level = true };
    struct proximux *proximux = proximux_start_with(*state, &with);
    fixture_path(*state, "other.log", path);
    snprintf(whole, sizeof(whole), "log: { output = \"%s\"; format = \"json\"; level = \"debug\"; };\n%s",
             path, listener);
    fixture_write(*state, strrchr(proximux->configuration, '/') + 1, whole);
    proximux_signal(proximux, SIGHUP);
    test_wait_until(process_read_file(path, written, sizeof(written)) > 0 &&
                    strstr(written, "\"reloaded: 1 listeners\"") != NULL);
    peer_reset(peer_connect("127.0.0.1", port));
    test_wait_until(process_read_file(path, written, sizeof(written)) > 0 &&
                    strstr(written, "ended: client_reset") != NULL);
    assert_int_equal(proximux_log_count(proximux, "reloaded:"), 0);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* ---- Under load ---- */

/* The programs that ask all the time: each holds a connection and asks on it; one makes a new one each time.
 */
static pid_t start_asking(unsigned port, int stop)
{
    pid_t process = fork();

    assert_int_not_equal(process, -1);
    if (process != 0)
        return process;
    int failures = 0;
    int client = peer_try_connect(NULL, "127.0.0.1", port);
    while (client != -1 && failures == 0 && !peer_readable(stop, 0)) {
        char answer[4];
        failures += send(client, "ask\n", 4, MSG_NOSIGNAL) != 4 ||
                    recv(client, answer, 4, MSG_WAITALL) != 4 || memcmp(answer, "ask\n", 4) != 0;
    }
    _exit(client == -1 ? 100 : failures);
}

static void many_reloads_under_load(struct fixture *fixture, const char *mode)
{
    enum { ASKERS = 4 };
    static const char *const forms[] = {
        "",
        "max_connections = 100; queue_timeout = 5000;",
        "blocklist = [ \"10.0.0.0/8\", \"192.0.2.0/24\" ]; request_timeout = 20000;",
        "balance = \"round_robin\"; max_connections_per_address = 50;",
    };
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    const char *options = strcmp(mode, "funnel") == 0 ? "connections = 2;" : "";
    struct proximux *proximux = start(fixture, port, mode, echo_port(echo), options, "");
    size_t rounds = test_scaled(200, 12);
    int stop[2], status;
    pid_t askers[ASKERS + 1];
    long memory = 0, descriptors = 0;

    assert_int_equal(pipe(stop), 0);
    for (size_t i = 0; i < ASKERS; i++)
        askers[i] = start_asking(port, stop[0]);
    askers[ASKERS] = start_connecting(port, stop[0]);
    for (size_t i = 0; i < rounds; i++) {
        if (i % 5 == 4)
            reload_fail(proximux, "listeners = ( { name = \"shared\"; listen = 7; } );");
        else
            change(proximux, port, mode, echo_port(echo), options, forms[i % 4]);
        if (i == rounds / 4) {
            memory = process_private_kilobytes(proximux->process);
            descriptors = process_descriptors(proximux->process);
        }
    }
    long grown = process_private_kilobytes(proximux->process) - memory;
    long opened = process_descriptors(proximux->process) - descriptors;
    assert_int_equal(write(stop[1], "x", 1), 1);
    for (size_t i = 0; i <= ASKERS; i++) {
        assert_true(process_wait(askers[i], TEST_PATIENCE, &status));
        assert_int_equal(status, 0);
    }
    print_message("%s: %zu reloads under load, memory %+ld KiB, descriptors %+ld\n", mode, rounds, grown,
                  opened);
    if (test_figures_count())
        assert_true(grown < 512);
    assert_true(opened <= 4 && opened >= -4); /* one client comes and goes all the time */
    if (strcmp(mode, "proxy") != 0)
        assert_int_equal(echo_accepted(echo), strcmp(mode, "funnel") == 0 ? 2 : 1);
    assert_int_equal(proximux_log_count(proximux, "client_reset"), 0);
    close(stop[0]);
    close(stop[1]);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void many_reloads_under_load_proxy(void **state)
{
    many_reloads_under_load(*state, "proxy");
}

static void many_reloads_under_load_fifo(void **state)
{
    many_reloads_under_load(*state, "fifo");
}

static void many_reloads_under_load_funnel(void **state)
{
    many_reloads_under_load(*state, "funnel");
}

/* The loop never waits for a list, however long. */
static void long_list_does_not_delay_traffic(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start(*state, port, "proxy", echo_port(echo), "", "");
    size_t lines = test_scaled(500000, 5000), turns = 0;
    char path[FIXTURE_PATH], rest[200];
    int64_t longest = 0, sum = 0;
    FILE *list = fopen(fixture_path(*state, "long.list", path), "we");
    int client = peer_connect("127.0.0.1", port);
    long memory = process_private_kilobytes(proximux->process);

    assert_non_null(list);
    for (size_t i = 0; i < lines; i++)
        fprintf(list, "%zu.%zu.%zu.%zu\n", 128 + i / 8388608, i / 32768 % 256, i / 128 % 256, i % 128 * 2);
    fclose(list);
    snprintf(rest, sizeof(rest), "blocklist = [ \"file:%s\" ];", path);
    for (size_t round = 0; round < 4; round++) {
        char text[1024], whole[1400];
        snprintf(whole, sizeof(whole), LISTENER, port,
                 keys(text, sizeof(text), "proxy", echo_port(echo), "", round % 2 == 0 ? rest : ""));
        fixture_write(*state, strrchr(proximux->configuration, '/') + 1, whole);
        proximux_signal(proximux, SIGHUP);
        while (proximux_log_count(proximux, RELOADED) <= round) {
            for (size_t i = 0; i < 50; i++) {
                int64_t begun = test_now();
                peer_send_text(client, "x");
                peer_expect_text(client, "x");
                int64_t taken = test_now() - begun;
                longest = taken > longest ? taken : longest;
                sum += taken;
                turns++;
            }
        }
    }
    print_message(
        "latency while lists of %zu lines came and went: %lld ms at most of %zu, %.3f ms on average\n", lines,
        (long long)longest, turns, (double)sum / (double)turns);
    if (test_figures_count())
        assert_true(longest < 250); /* reading the list takes longer than that on a slow machine */
    long grown = process_private_kilobytes(proximux->process) - memory;
    print_message("%ld KiB more than before once the list has gone again\n", grown);
    if (test_figures_count())
        assert_true(grown < 6144); /* ten megabytes came and went */
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(refused_reload_changes_nothing),
        fixture_test(what_stays_until_the_next_start_is_said),
        fixture_test(reload_that_changes_nothing_moves_nothing),
        fixture_test(hang_ups_meanwhile_are_done_once),
        fixture_test(term_ends_a_reload),
        fixture_test(environment_is_applied_again),
        fixture_test(backlog_survives),
        fixture_test(overlapping_addresses_change_places),
        fixture_test(unix_sockets_stay),
        fixture_test(unix_socket_of_another_user_stays),
        fixture_test(target_that_stays_keeps_its_exchanges),
        fixture_test(target_that_goes_drains),
        fixture_test(device_survives_another_mode),
        fixture_test(device_survives_another_protocol),
        fixture_test(device_survives_its_removal),
        fixture_test(warming_up_ends_when_its_target_is_changed),
        fixture_test(warming_up_ends_when_nobody_wants_it_any_more),
        fixture_test(clients_and_queue_go_by_the_new_settings),
        fixture_test(limits_hold_at_once),
        fixture_test(rates_hold_at_once),
        fixture_test(session_ends_by_the_rules_it_began_with),
        fixture_test(blocked_address_is_cut),
        fixture_test(listener_that_goes_drains),
        fixture_test(old_clients_of_another_mode_go_in_the_end),
        fixture_test(http_says_that_it_closes),
        fixture_test(log_goes_by_the_new_settings),
        fixture_test(many_reloads_under_load_proxy),
        fixture_test(many_reloads_under_load_fifo),
        fixture_test(many_reloads_under_load_funnel),
        fixture_test(long_list_does_not_delay_traffic),
    };

    return cmocka_run_group_tests_name("reload", tests, NULL, NULL);
}
