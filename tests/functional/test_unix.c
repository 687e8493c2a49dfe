/* Unix sockets at both ends: who may use them, and whose path is removed when. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct proximux *start_on_path(struct fixture *fixture, const char *path, struct echo *echo,
                                      const char *keys)
{
    return proximux_start(
        fixture,
        "listeners = ( { name = \"main\"; listen = \"unix:%s\"; targets = ( \"127.0.0.1:%u\" ); %s } );",
        path, echo_port(echo), keys);
}

/* Tries to start on that path; it must fail, and say why. */
static void expect_refusal(struct fixture *fixture, const char *path, const char *reason)
{
    char text[512], output[4096];

    snprintf(text, sizeof(text),
             "listeners = ( { name = \"main\"; listen = \"unix:%s\"; targets = ( \"127.0.0.1:1\" ); } );",
             path);
    assert_int_equal(
        proximux_run(fixture, &(struct proximux_options){ .configuration = text }, output, sizeof(output)),
        1);
    test_require(strstr(output, path) != NULL, "the path is not named: %s", output);
    test_require(strstr(output, reason) != NULL, "the reason is not said: %s", output);
}

static void unix_socket_at_both_ends(void **state)
{
    struct fixture *fixture = *state;
    char local[FIXTURE_PATH], remote[FIXTURE_PATH];
    struct echo *echo = echo_start(fixture_path(fixture, "target.sock", remote), 0, NULL);
    struct proximux *proximux = proximux_start(
        fixture, "listeners = ( { name = \"main\"; listen = \"unix:%s\"; targets = ( \"unix:%s\" ); } );",
        fixture_path(fixture, "listen.sock", local), remote);

    for (size_t i = 0; i < 3; i++) {
        int client = peer_connect(local, 0);

        peer_send_text(client, "over files");
        peer_expect_text(client, "over files");
        peer_end(client);
        peer_expect_end(client);
        close(client);
    }
    proximux_stop(proximux);
    test_require(access(local, F_OK) == -1 && errno == ENOENT, "the path is still there");
    assert_int_equal(access(remote, F_OK), 0); /* the target's is none of ours */
    echo_stop(echo);
}

static void mode_and_owner_are_set(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH], keys[256] = "unix_mode = \"0604\";";
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    const struct passwd *nobody = getpwnam("nobody");
    bool change_owner = geteuid() == 0 && nobody != NULL;
    struct stat status;

    if (change_owner)
        snprintf(keys, sizeof(keys), "unix_mode = \"0604\"; unix_user = \"nobody\"; unix_group = \"%u\";",
                 (unsigned)nobody->pw_gid);
    struct proximux *proximux =
        start_on_path(fixture, fixture_path(fixture, "listen.sock", path), echo, keys);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0604);
    if (change_owner) {
        assert_int_equal(status.st_uid, nobody->pw_uid);
        assert_int_equal(status.st_gid, nobody->pw_gid);
    }
    proximux_stop(proximux);
    proximux = start_on_path(fixture, path, echo, "");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0660);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void stale_socket_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);

    close(peer_listen(fixture_path(fixture, "listen.sock", path), 0, 1)); /* the file stays, nobody listens */
    struct proximux *proximux = start_on_path(fixture, path, echo, "");
    int client = peer_connect(path, 0);
    peer_send_text(client, "x");
    peer_expect_text(client, "x");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void living_socket_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH];
    int listener = peer_listen(fixture_path(fixture, "listen.sock", path), 0, 8);

    expect_refusal(fixture, path, "another process listens");
    while (peer_readable(listener, 0))
        close(peer_accept(listener)); /* the question whether somebody lives there */
    int client = peer_connect(path, 0);
    int server = peer_accept(listener);

    peer_send_text(server, "alive");
    peer_expect_text(client, "alive");
    close(client);
    close(server);
    close(listener);
}

static void regular_file_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH], text[32];

    fixture_write(fixture, "precious", "data");
    expect_refusal(fixture, fixture_path(fixture, "precious", path), "no socket");
    process_read_file(path, text, sizeof(text));
    assert_string_equal(text, "data");
}

static void path_of_another_is_not_removed(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = start_on_path(fixture, fixture_path(fixture, "listen.sock", path), echo, "");

    assert_int_equal(unlink(path), 0);
    int other = peer_listen(path, 0, 8); /* somebody else took the name meanwhile */
    proximux_stop(proximux);
    assert_int_equal(access(path, F_OK), 0);
    close(peer_connect(path, 0));
    close(other);
    echo_stop(echo);
}

static void missing_last_folder_is_made(void **state)
{
    struct fixture *fixture = *state;
    char folder[FIXTURE_PATH], path[FIXTURE_PATH];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct stat status;

    fixture_path(fixture, "run", folder);
    struct proximux *proximux =
        start_on_path(fixture, fixture_path(fixture, "run/listen.sock", path), echo, "");
    assert_int_equal(stat(folder, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0755);
    close(peer_connect(path, 0));
    proximux_stop(proximux);
    expect_refusal(fixture, fixture_path(fixture, "a/b/listen.sock", path), "No such file");
    echo_stop(echo);
}

/* Clients of a unix socket have no address: lists and the limit for each address do not hold them back. */
static void clients_without_address(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH];
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = start_on_path(fixture, fixture_path(fixture, "listen.sock", path), echo,
                                              "max_connections_per_address = 1; balance = \"source\";");
    int one = peer_connect(path, 0);
    int two = peer_connect(path, 0);

    peer_expect_text(one, "e");
    peer_expect_text(two, "e");
    close(one);
    close(two);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void target_path_may_be_missing_at_first(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    char path[FIXTURE_PATH];
    struct proximux *proximux = proximux_start(
        fixture,
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; retry_min = 20; retry_max = 40;"
        "targets = ( \"unix:%s\" ); } );",
        port, fixture_path(fixture, "target.sock", path));
    int client = peer_connect("127.0.0.1", port);

    proximux_wait_log(proximux, "is down: No such file");
    struct echo *echo = echo_start(path, 0, "e");
    peer_expect_text(client, "e");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(unix_socket_at_both_ends),
        fixture_test(mode_and_owner_are_set),
        fixture_test(stale_socket_is_replaced),
        fixture_test(living_socket_is_left_alone),
        fixture_test(regular_file_is_left_alone),
        fixture_test(path_of_another_is_not_removed),
        fixture_test(missing_last_folder_is_made),
        fixture_test(clients_without_address),
        fixture_test(target_path_may_be_missing_at_first),
    };

    return cmocka_run_group_tests_name("unix", tests, NULL, NULL);
}
