/* Proxy mode: bytes go both ways, untouched, between any kind of address. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/flow.h"
#include "harness/peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A client sends, and gets the same back. */
static void exchange(int client, const char *text)
{
    peer_send_text(client, text);
    peer_expect_text(client, text);
}

static void exchange_with(const char *address, unsigned port, const char *text)
{
    int client = peer_connect(address, port);

    exchange(client, text);
    close(client);
}

static void bytes_go_both_ways(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    int listener = peer_listen("127.0.0.1", target, 16);
    struct proximux *proximux = proximux_start_between(*state, port, target, "");
    int client = peer_connect("127.0.0.1", port);
    int server = peer_accept(listener);

    peer_send_text(client, "from the client");
    peer_expect_text(server, "from the client");
    peer_send_text(server, "from the target");
    peer_expect_text(client, "from the target");
    peer_send(client, "\0\xff\r\n", 4);
    char received[4];
    peer_receive(server, received, 4);
    assert_memory_equal(received, "\0\xff\r\n", 4);
    close(client);
    peer_expect_end(server);
    close(server);
    proximux_wait_log(proximux, "ended: client_closed");
    proximux_stop(proximux);
    close(listener);
}

static void target_may_speak_first(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "220 ready\r\n");
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "");
    int client = peer_connect("127.0.0.1", port);

    peer_expect_text(client, "220 ready\r\n");
    exchange(client, "HELO");
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void several_listeners_with_several_addresses(void **state)
{
    unsigned first = peer_free_port(), second = peer_free_port(), third = peer_free_port();
    struct echo *a = echo_start("127.0.0.1", 0, "a");
    struct echo *b = echo_start("127.0.0.1", 0, "b");
    struct proximux *proximux = proximux_start(
        *state,
        "listeners = ("
        "{ name = \"a\"; listen = [ \"127.0.0.1:%u\", \"127.0.0.2:%u\" ]; targets = ( \"127.0.0.1:%u\" ); },"
        "{ name = \"b\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
        first, second, echo_port(a), third, echo_port(b));
    static const char *const addresses[] = { "127.0.0.1", "127.0.0.2", "127.0.0.1" };
    const unsigned ports[] = { first, second, third };
    static const char *const greetings[] = { "a", "a", "b" };

    for (size_t i = 0; i < 3; i++) {
        int client = peer_connect(addresses[i], ports[i]);

        peer_expect_text(client, greetings[i]);
        exchange(client, "hello");
        close(client);
    }
    test_require(peer_try_connect(NULL, "127.0.0.2", first) == -1, "an address that nobody named is open");
    proximux_stop(proximux);
    echo_stop(a);
    echo_stop(b);
}

static void ipv6_at_both_ends(void **state)
{
    if (!peer_have_ipv6())
        skip();
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("::1", 0, NULL);
    struct proximux *proximux = proximux_start(
        *state, "listeners = ( { name = \"six\"; listen = \"[::1]:%u\"; targets = ( \"[::1]:%u\" ); } );",
        port, echo_port(echo));

    exchange_with("::1", port, "six to six");
    proximux_stop(proximux);
    echo_stop(echo);
}

static void ipv6_any_takes_ipv4_unless_told_otherwise(void **state)
{
    if (!peer_have_ipv6())
        skip();
    unsigned both = peer_free_port(), only = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start(
        *state,
        "listeners = ( { name = \"both\"; listen = \"[::]:%u\"; targets = ( \"127.0.0.1:%u\" ); },"
        "{ name = \"only\"; listen = \"[::]:%u\"; ipv6_only = true; targets = ( \"127.0.0.1:%u\" ); } );",
        both, echo_port(echo), only, echo_port(echo));

    exchange_with("::1", both, "both");
    exchange_with("127.0.0.1", both, "both");
    proximux_wait_log(proximux, "from 127.0.0.1:"); /* and not from ::ffff:127.0.0.1 */
    exchange_with("::1", only, "only");
    test_require(peer_try_connect(NULL, "127.0.0.1", only) == -1, "ipv6_only lets IPv4 in");
    proximux_stop(proximux);
    echo_stop(echo);
}

static void star_and_pairs_listen_on_both_families(void **state)
{
    if (!peer_have_ipv6())
        skip();
    unsigned star = peer_free_port(), pair = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start(
        *state,
        "listeners = ( { name = \"star\"; listen = \"*:%u\"; targets = ( \"127.0.0.1:%u\" ); },"
        "{ name = \"pair\"; listen = [ \"[::]:%u\", \"0.0.0.0:%u\" ]; targets = ( \"127.0.0.1:%u\" ); } );",
        star, echo_port(echo), pair, pair, echo_port(echo));

    exchange_with("127.0.0.1", star, "star");
    exchange_with("::1", star, "star");
    exchange_with("127.0.0.1", pair, "pair");
    exchange_with("::1", pair, "pair");
    proximux_stop(proximux);
    echo_stop(echo);
}

static void names_are_looked_up(void **state)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", target, NULL);
    struct proximux *proximux = proximux_start(
        *state,
        "listeners = ( { name = \"named\"; listen = \"localhost:%u\"; targets = ( \"localhost:%u\" ); } );",
        port, target);

    exchange_with("127.0.0.1", port, "by name");
    proximux_stop(proximux);
    echo_stop(echo);
}

static void target_may_be_a_group_with_host_and_port(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start(*state,
                                               "listeners = ( { name = \"group\"; listen = \"127.0.0.1:%u\"; "
                                               "targets = ( { host = \"127.0.0.1\"; port = %u; } ); } );",
                                               port, echo_port(echo));

    exchange_with("127.0.0.1", port, "grouped");
    proximux_stop(proximux);
    echo_stop(echo);
}

static void many_small_messages(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "");
    int client = peer_connect("127.0.0.1", port);
    size_t count = test_scaled(5000, 100);

    for (size_t i = 0; i < count; i++) {
        char text[32];

        snprintf(text, sizeof(text), "message %zu;", i);
        exchange(client, text);
    }
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

/* Each of many clients, all at once, must get its own bytes back and nobody else's. */
static void many_clients_stay_apart(void **state)
{
    enum { CLIENTS = 300 };
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "");
    int clients[CLIENTS];
    char text[32];

    test_require(test_allow_descriptors(2 * CLIENTS + 50), "too few descriptors for %d clients", CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = peer_connect("127.0.0.1", port);
    for (size_t turn = 0; turn < 3; turn++) {
        for (size_t i = 0; i < CLIENTS; i++) {
            snprintf(text, sizeof(text), "client %zu, turn %zu", i, turn);
            peer_send_text(clients[i], text);
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            snprintf(text, sizeof(text), "client %zu, turn %zu", i, turn);
            peer_expect_text(clients[i], text);
        }
    }
    for (size_t i = 0; i < CLIENTS; i++)
        close(clients[i]);
    test_wait_until(echo_open(echo) == 0);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void large_message_comes_back_whole(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux = proximux_start_between(*state, port, echo_port(echo), "");
    int client = peer_connect("127.0.0.1", port);

    flow_transfer(client, client, test_scaled(64 * 1024 * 1024, 1024 * 1024), NULL, NULL);
    peer_end(client);
    peer_expect_end(client);
    close(client);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void reuse_port_lets_two_instances_share(void **state)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *one = proximux_start_between(*state, port, echo_port(echo), "reuse_port = true;");
    struct proximux *two = proximux_start_between(*state, port, echo_port(echo), "reuse_port = true;");

    exchange_with("127.0.0.1", port, "one of the two");
    proximux_stop(one);
    exchange_with("127.0.0.1", port, "the other one");
    proximux_stop(two);
    echo_stop(echo);
}

/* Whether the kernel runs the keep-alive timer for a connection of this machine, from its table. */
static bool has_keep_alive(unsigned local_port, unsigned remote_port)
{
    char line[512];
    bool found = false, active = false;
    FILE *table = fopen("/proc/net/tcp", "re");

    if (table == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), table) != NULL) {
        unsigned local, remote, timer;

        if (sscanf(line, " %*d: %*x:%x %*x:%x %*x %*x:%*x %x:", &local, &remote, &timer) == 3 &&
            local == local_port && remote == remote_port) {
            found = true;
            active = timer == 2;
        }
    }
    fclose(table);
    return active;
}

static unsigned remote_port(int socket)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);

    if (getpeername(socket, (struct sockaddr *)&address, &length) == -1)
        return 0;
    return ntohs(address.sin_port);
}

/* One client through a listener; then whether keep-alive runs towards the client and towards the target. */
static void look_for_keep_alive(struct fixture *fixture, const char *client_key, const char *target_key,
                                bool towards_client, bool towards_target)
{
    unsigned port = peer_free_port(), target = peer_free_port();
    int listener = peer_listen("127.0.0.1", target, 16);
    struct proximux *proximux =
        proximux_start(fixture,
                       "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; %s"
                       "targets = ( { address = \"127.0.0.1:%u\"; %s } ); } );",
                       port, client_key, target, target_key);
    int client = peer_connect("127.0.0.1", port);
    int server = peer_accept(listener);

    peer_send_text(client, "x");
    peer_expect_text(server, "x");
    /* the timer of a retransmission, if any, hides the other one for a moment */
    if (towards_client)
        test_wait_until(has_keep_alive(port, peer_port(client)));
    else
        assert_false(has_keep_alive(port, peer_port(client)));
    if (towards_target)
        test_wait_until(has_keep_alive(remote_port(server), target));
    else
        assert_false(has_keep_alive(remote_port(server), target));
    close(client);
    close(server);
    close(listener);
    proximux_stop(proximux);
}

static void keep_alive_runs_where_it_is_set(void **state)
{
    look_for_keep_alive(*state, "", "", true, false);
    look_for_keep_alive(*state, "client_keep_alive = false;", "keep_alive = true;", false, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(bytes_go_both_ways),
        fixture_test(target_may_speak_first),
        fixture_test(several_listeners_with_several_addresses),
        fixture_test(ipv6_at_both_ends),
        fixture_test(ipv6_any_takes_ipv4_unless_told_otherwise),
        fixture_test(star_and_pairs_listen_on_both_families),
        fixture_test(names_are_looked_up),
        fixture_test(target_may_be_a_group_with_host_and_port),
        fixture_test(many_small_messages),
        fixture_test(many_clients_stay_apart),
        fixture_test(large_message_comes_back_whole),
        fixture_test(reuse_port_lets_two_instances_share),
        fixture_test(keep_alive_runs_where_it_is_set),
    };

    return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
