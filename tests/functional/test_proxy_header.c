/* PROXY headers, accepted and sent: from and to scripted peers, and a real haproxy at the other end. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static const char *const modes[] = {
    "mode = \"proxy\";",
    "mode = \"fifo\"; protocol = \"line\";",
    "mode = \"funnel\"; protocol = \"line\";",
};
#define MODES (sizeof modes / sizeof modes[0])

static struct proximux *start(struct fixture *fixture, unsigned local, struct echo *echo, const char *mode,
                              const char *keys)
{
    char all[512];

    snprintf(all, sizeof(all), "%s %s", mode, keys);
    return proximux_start_between(fixture, local, echo_port(echo), all);
}

/* A client that introduces itself with a text, says hello, and leaves. */
static void expect_served(unsigned port, const char *header)
{
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, header);
    peer_send_text(client, "hello\n");
    peer_expect_text(client, "hello\n");
    close(client);
}

static void expect_refused(unsigned port, const char *header)
{
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, header);
    peer_expect_closed(client);
    close(client);
}

static void lists_and_limits_see_the_real_client(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < MODES; i++) {
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        unsigned port = peer_free_port();
        struct proximux *proximux =
            start(fixture, port, echo, modes[i],
                  "accept_proxy_protocol = [ \"127.0.0.1\" ]; blocklist = [ \"203.0.113.0/24\" ]; "
                  "max_connections_per_address = 1;");

        expect_served(port, "PROXY TCP4 198.51.100.4 192.0.2.1 1000 80\r\n");
        proximux_wait_log(proximux, "198.51.100.4:1000");
        expect_refused(port, "PROXY TCP4 203.0.113.9 192.0.2.1 1000 80\r\n");
        proximux_wait_log(proximux, "client 203.0.113.9:1000 refused: blocked");
        int first = peer_connect("127.0.0.1", port);
        peer_send_text(first, "PROXY TCP4 198.51.100.5 192.0.2.1 1000 80\r\nhello\n");
        peer_expect_text(first, "hello\n");
        expect_refused(port, "PROXY TCP4 198.51.100.5 192.0.2.1 1001 80\r\n");
        expect_served(port, "PROXY TCP4 198.51.100.6 192.0.2.1 1001 80\r\n");
        close(first);
        proximux_stop(proximux);
        echo_stop(echo);
    }
}

static void headers_come_in_pieces(void **state)
{
    static const char header[] = SIGNATURE "\x21\x11\x00\x10"
                                           "\xc6\x33\x64\x04\xc0\x00\x02\x01\x03\xe8\x00\x50\x04\x00\x01x"
                                           "hello\n";
    struct fixture *fixture = *state;
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();
    struct proximux *proximux =
        start(fixture, port, echo, modes[0], "accept_proxy_protocol = [ \"127.0.0.1\" ];");
    int client = peer_connect("127.0.0.1", port);

    for (size_t i = 0; i < sizeof header - 1; i++) {
        peer_send(client, &header[i], 1);
        /* the program has read the byte when it serves somebody who came after it */
        if (i < 34)
            expect_served(port, "PROXY UNKNOWN\r\n");
    }
    peer_expect_text(client, "hello\n");
    close(client);
    proximux_wait_log(proximux, "from 198.51.100.4:1000");
    proximux_stop(proximux);
    echo_stop(echo);
}

static void without_a_header_there_is_no_service(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < MODES; i++) {
        struct echo *echo = echo_start("127.0.0.1", 0, NULL);
        unsigned port = peer_free_port();
        struct proximux *proximux =
            start(fixture, port, echo, modes[i], "accept_proxy_protocol = [ \"127.0.0.0/8\" ];");

        expect_refused(port, "hello\n");
        proximux_wait_log(proximux, "refused: protocol_error");
        int silent = peer_connect("127.0.0.1", port);
        int halted = peer_connect("127.0.0.1", port);
        peer_send_text(halted, "PROXY TCP4 198.51");
        int ended = peer_connect("127.0.0.1", port);
        peer_send_text(ended, "PROXY ");
        peer_end(ended);
        peer_expect_closed(ended);
        /* five seconds later */
        peer_expect_closed(silent);
        peer_expect_closed(halted);
        close(silent);
        close(halted);
        close(ended);
        assert_int_equal(echo_accepted(echo), 0);
        proximux_stop(proximux);
        proximux_wait_log(proximux, "served 0 clients, refused 4,");
        echo_stop(echo);
    }
}

static void who_looks_at_the_door_is_not_refused(void **state)
{
    struct fixture *fixture = *state;
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();
    struct proximux *proximux =
        start(fixture, port, echo, modes[0], "accept_proxy_protocol = [ \"127.0.0.1\" ];");

    for (size_t i = 0; i < 3; i++)
        close(peer_connect("127.0.0.1", port));
    expect_served(port, "PROXY UNKNOWN\r\n");
    proximux_stop(proximux);
    proximux_wait_log(proximux, "served 1 clients, refused 0,");
    echo_stop(echo);
}

static void others_are_taken_as_they_are(void **state)
{
    struct fixture *fixture = *state;
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();
    struct proximux *proximux =
        start(fixture, port, echo, modes[0], "accept_proxy_protocol = [ \"127.0.0.2\" ];");
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "PROXY UNKNOWN\r\n");
    peer_expect_text(client, "PROXY UNKNOWN\r\n");
    close(client);
    /* one that names nobody is taken as itself */
    client = peer_connect_from("127.0.0.2", "127.0.0.1", port);
    peer_send(client, SIGNATURE "\x20\x00\x00\x00hello", 21);
    peer_expect_text(client, "hello");
    close(client);
    proximux_wait_log(proximux, "from 127.0.0.2:");
    proximux_stop(proximux);
    echo_stop(echo);
}

static void through_a_unix_socket(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH];
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start(
        fixture,
        "listeners = ( { name = \"main\"; listen = \"unix:%s\"; targets = ( \"127.0.0.1:%u\" ); "
        "accept_proxy_protocol = [ \"unix\" ]; blocklist = [ \"203.0.113.9\" ]; } );",
        fixture_path(fixture, "listen.sock", path), echo_port(echo));
    int client = peer_connect(path, 0);

    peer_send_text(client, "PROXY TCP6 2001:db8::7 2001:db8::1 7 80\r\nhello");
    peer_expect_text(client, "hello");
    close(client);
    proximux_wait_log(proximux, "from [2001:db8::7]:7");
    client = peer_connect(path, 0);
    peer_send_text(client, "PROXY TCP4 203.0.113.9 192.0.2.1 7 80\r\n");
    peer_expect_closed(client);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void a_header_may_still_come_while_draining(void **state)
{
    struct fixture *fixture = *state;
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    unsigned port = peer_free_port();
    struct proximux *proximux =
        start(fixture, port, echo, modes[0], "accept_proxy_protocol = [ \"127.0.0.1\" ];");
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "PROXY ");
    proximux_signal(proximux, SIGTERM);
    proximux_wait_log(proximux, "draining: 1 clients are left");
    peer_send_text(client, "UNKNOWN\r\nhello");
    peer_expect_text(client, "hello");
    close(client);
    proximux_expect_exit(proximux, 0);
    echo_stop(echo);
}

/* The port of this end of a connection. */
static unsigned own_port(int socket)
{
    return peer_port(socket);
}

static void targets_are_told_the_client(void **state)
{
    struct fixture *fixture = *state;
    char text[128], keys[256];
    int target = peer_listen("127.0.0.1", 0, 16);
    unsigned port = peer_free_port();
    struct proximux *proximux;

    snprintf(keys, sizeof(keys),
             "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( { address = "
             "\"127.0.0.1:%u\"; send_proxy_protocol = 1; } ); } );",
             port, peer_port(target));
    proximux = proximux_start(fixture, "%s", keys);
    /* the target may wait for the header before it speaks: no byte of the client is needed */
    int client = peer_connect_from("127.0.0.3", "127.0.0.1", port);
    int served = peer_accept(target);
    snprintf(text, sizeof(text), "PROXY TCP4 127.0.0.3 127.0.0.1 %u %u\r\n", own_port(client), port);
    peer_expect_text(served, text);
    peer_send_text(served, "first");
    peer_expect_text(client, "first");
    peer_send_text(client, "second");
    peer_expect_text(served, "second");
    close(client);
    peer_expect_end(served);
    close(served);
    proximux_stop(proximux);
    close(target);
}

/* Behind a proxy, where the client has connected to is what the proxy says, and not where it was. */
static void targets_are_told_the_real_destination(void **state)
{
    int target = peer_listen("127.0.0.1", 0, 16);
    unsigned port = peer_free_port();
    struct proximux *proximux =
        proximux_start(*state,
                       "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; accept_proxy_protocol = "
                       "[ \"127.0.0.1\" ]; "
                       "targets = ( { address = \"127.0.0.1:%u\"; send_proxy_protocol = 1; } ); } );",
                       port, peer_port(target));
    int client = peer_connect("127.0.0.1", port);

    peer_send_text(client, "PROXY TCP4 203.0.113.9 192.0.2.1 7 80\r\nhello");
    int served = peer_accept(target);
    peer_expect_text(served, "PROXY TCP4 203.0.113.9 192.0.2.1 7 80\r\nhello");
    close(client);
    close(served);
    proximux_stop(proximux);
    close(target);
}

static void early_bytes_follow_the_header(void **state)
{
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    unsigned target_port = peer_free_port();
    char header[28] = SIGNATURE "\x21\x11\x00\x0c\x7f\x00\x00\x04\x7f\x00\x00\x01";
    char received[28];
    struct proximux *proximux = proximux_start(
        fixture,
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; retry_min = 100; retry_max = 100; "
        "targets = ( { address = \"127.0.0.1:%u\"; send_proxy_protocol = 2; } ); } );",
        port, target_port);
    int client = peer_connect_from("127.0.0.4", "127.0.0.1", port);

    peer_send_text(client, "early");
    proximux_wait_log(proximux, "is down");
    int target = peer_listen("127.0.0.1", target_port, 16);
    int served = peer_accept(target);
    unsigned ports[2] = { own_port(client), port };
    for (size_t i = 0; i < 2; i++) {
        header[24 + 2 * i] = (char)(ports[i] >> 8);
        header[25 + 2 * i] = (char)ports[i];
    }
    peer_receive(served, received, sizeof(received));
    assert_memory_equal(received, header, sizeof(header));
    peer_expect_text(served, "early");
    close(client);
    close(served);
    close(target);
    proximux_stop(proximux);
}

static void probes_and_unix_clients_name_nobody(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH];
    unsigned target_port = peer_free_port();
    struct proximux *proximux = proximux_start(
        fixture,
        "listeners = ( { name = \"main\"; listen = \"unix:%s\"; retry_min = 100; retry_max = 100; "
        "queue_timeout = 50; "
        "targets = ( { address = \"127.0.0.1:%u\"; send_proxy_protocol = 1; } ); } );",
        fixture_path(fixture, "listen.sock", path), target_port);
    int client = peer_connect(path, 0);

    peer_expect_closed(client);
    close(client);
    int target = peer_listen("127.0.0.1", target_port, 16);
    int served = peer_accept(target);
    peer_expect_text(served, "PROXY UNKNOWN\r\n");
    peer_expect_end(served);
    close(served);
    client = peer_connect(path, 0);
    served = peer_accept(target);
    peer_expect_text(served, "PROXY UNKNOWN\r\n");
    peer_send_text(client, "hello");
    peer_expect_text(served, "hello");
    close(client);
    close(served);
    close(target);
    proximux_stop(proximux);
}

/* ---- haproxy ---- */

static char haproxy_command[128];

struct haproxy {
    pid_t process;
    char log[FIXTURE_PATH];
};

/* From `local` to `target`, with further words for the ends. Waits until it accepts. */
static void haproxy_start(struct fixture *fixture, struct haproxy *haproxy, unsigned local,
                          const char *bind_words, unsigned target, const char *server_words)
{
    char file[FIXTURE_PATH], text[512];
    const char *const arguments[] = { haproxy_command, "-db", "-f", file, NULL };

    snprintf(text, sizeof(text),
             "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n"
             "listen main\n  bind 127.0.0.1:%u %s\n  server one 127.0.0.1:%u %s\n",
             local, bind_words, target, server_words);
    fixture_write(fixture, "haproxy.conf", text);
    fixture_path(fixture, "haproxy.conf", file);
    fixture_path(fixture, "haproxy.log", haproxy->log);
    haproxy->process =
        process_start(&(struct process_options){ .arguments = arguments, .output = haproxy->log });
    test_require(haproxy->process != -1, "haproxy can't be started");
}

/* A client of haproxy: tried until it listens. */
static int haproxy_connect(const char *source, unsigned port)
{
    int client = -1;

    test_wait_until((client = peer_try_connect(source, "127.0.0.1", port)) != -1);
    return client;
}

static void haproxy_in_front(void **state)
{
    static const char *const words[] = { "send-proxy", "send-proxy-v2",
                                         "send-proxy-v2 proxy-v2-options unique-id,crc32c" };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (size_t k = 0; k < MODES; k++) {
            struct haproxy haproxy;
            char expected[64];
            struct echo *echo = echo_start("127.0.0.1", 0, NULL);
            unsigned outer = peer_free_port();
            unsigned inner = peer_free_port();
            struct proximux *proximux =
                start(fixture, inner, echo, modes[k], "accept_proxy_protocol = [ \"127.0.0.1\" ];");

            haproxy_start(fixture, &haproxy, outer, "", inner, words[i]);
            int client = haproxy_connect("127.0.0.7", outer);
            peer_send_text(client, "hello\n");
            peer_expect_text(client, "hello\n");
            snprintf(expected, sizeof(expected), "127.0.0.7:%u", own_port(client));
            close(client);
            proximux_wait_log(proximux, expected);
            process_end(haproxy.process);
            proximux_stop(proximux);
            echo_stop(echo);
        }
    }
}

static void haproxy_behind(void **state)
{
    struct fixture *fixture = *state;

    for (int version = 1; version <= 2; version++) {
        struct haproxy haproxy;
        char expected[128];
        unsigned outer = peer_free_port();
        unsigned inner = peer_free_port();
        int target = peer_listen("127.0.0.1", 0, 16);

        haproxy_start(fixture, &haproxy, inner, "accept-proxy", peer_port(target), "send-proxy");
        close(haproxy_connect(NULL, inner));
        struct proximux *proximux = proximux_start(
            fixture,
            "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( { address = "
            "\"127.0.0.1:%u\"; send_proxy_protocol = %d; } ); } );",
            outer, inner, version);
        int client = peer_connect_from("127.0.0.8", "127.0.0.1", outer);
        int served = peer_accept(target);
        /* haproxy passes on what it has understood */
        snprintf(expected, sizeof(expected), "PROXY TCP4 127.0.0.8 127.0.0.1 %u %u\r\n", own_port(client),
                 outer);
        peer_expect_text(served, expected);
        peer_send_text(client, "hello");
        peer_expect_text(served, "hello");
        peer_send_text(served, "answer");
        peer_expect_text(client, "answer");
        close(client);
        close(served);
        close(target);
        proximux_stop(proximux);
        process_end(haproxy.process);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(lists_and_limits_see_the_real_client),
        fixture_test(headers_come_in_pieces),
        fixture_test(without_a_header_there_is_no_service),
        fixture_test(who_looks_at_the_door_is_not_refused),
        fixture_test(others_are_taken_as_they_are),
        fixture_test(through_a_unix_socket),
        fixture_test(a_header_may_still_come_while_draining),
        fixture_test(targets_are_told_the_client),
        fixture_test(targets_are_told_the_real_destination),
        fixture_test(early_bytes_follow_the_header),
        fixture_test(probes_and_unix_clients_name_nobody),
    };
    const struct CMUnitTest haproxy_tests[] = {
        fixture_test(haproxy_in_front),
        fixture_test(haproxy_behind),
    };
    int failed = cmocka_run_group_tests_name("PROXY headers", tests, NULL, NULL);

    if (process_find_command("haproxy", "/usr/sbin/haproxy", haproxy_command, sizeof(haproxy_command)))
        return failed + cmocka_run_group_tests_name("haproxy", haproxy_tests, NULL, NULL);
    puts("skipped: haproxy is not installed (Debian: haproxy)");
    return failed;
}
