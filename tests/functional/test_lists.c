/* Who is let in: blocklist and allowlist, at the edges of their entries. Every address of 127.0.0.0/8 is this
 * machine's, so clients can come from any of them. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/peer.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One expectation: a client from here is served, or not. */
struct row {
    const char *source;
    bool served;
};

/* Whether a client from that address gets the target's greeting. */
static bool is_served(const char *source, const char *address, unsigned port)
{
    int client = peer_connect_from(source, address, port);
    char greeting;

    if (!peer_readable(client, TEST_PATIENCE))
        fail_msg("client from %s: neither served nor closed", source);
    bool served = recv(client, &greeting, 1, 0) == 1;
    close(client);
    return served;
}

/* Starts a listener on `host` with these keys and checks each row, towards `address`. */
static void check_rows(struct fixture *fixture, const char *host, const char *address, const char *keys,
                       const struct row *rows, size_t count)
{
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, "e");
    struct proximux *proximux = proximux_start(
        fixture,
        "listeners = ( { name = \"main\"; listen = \"%s:%u\"; targets = ( \"127.0.0.1:%u\" ); %s } );", host,
        port, echo_port(echo), keys);
    size_t served = 0;

    for (size_t i = 0; i < count; i++) {
        bool result = is_served(rows[i].source, address, port);

        test_require(result == rows[i].served, "client from %s was %s", rows[i].source,
                     result ? "served" : "refused");
        served += result;
    }
    assert_int_equal(echo_accepted(echo), served); /* no target has seen a blocked one */
    if (served < count)
        proximux_wait_log(proximux, "blocked");
    proximux_stop(proximux);
    echo_stop(echo);
}

#define CHECK_ROWS(fixture, keys, rows)                                                                      \
    check_rows((fixture), "127.0.0.1", "127.0.0.1", (keys), (rows), sizeof(rows) / sizeof((rows)[0]))

static void blocklist_of_addresses_networks_and_ranges(void **state)
{
    static const struct row rows[] = {
        { "127.0.0.1", true },      { "127.0.0.8", true },     { "127.0.0.9", false },
        { "127.0.0.10", true },     { "127.0.255.255", true }, { "127.1.0.0", false },
        { "127.1.255.254", false }, { "127.2.0.0", true },     { "127.3.0.127", true },
        { "127.3.0.128", false },   { "127.3.0.255", false },  { "127.3.1.0", true },
        { "127.4.0.4", true },      { "127.4.0.5", false },    { "127.4.1.1", false },
        { "127.4.1.2", true },      { "127.5.0.1", true },     { "127.5.0.2", false },
        { "127.5.0.3", true },
    };

    CHECK_ROWS(*state,
               "blocklist = [ \"127.0.0.9\", \"127.1.0.0/16\", \"127.3.0.128/25\", \"127.4.0.5-127.4.1.1\", "
               "\"127.5.0.2/32\" ];",
               rows);
}

static void allowlist_lets_nobody_else_in(void **state)
{
    static const struct row rows[] = {
        { "127.0.0.1", false },  { "127.0.1.255", false }, { "127.0.2.0", true },
        { "127.0.3.255", true }, { "127.0.4.0", false },   { "127.9.9.9", true },
    };

    CHECK_ROWS(*state, "allowlist = [ \"127.0.2.0/23\", \"127.9.9.9\" ];", rows);
}

static void blocklist_wins_over_allowlist(void **state)
{
    static const struct row rows[] = {
        { "127.0.0.1", true },
        { "127.0.0.2", false },
        { "127.1.0.1", false },
    };

    CHECK_ROWS(*state, "allowlist = [ \"127.0.0.0/24\" ]; blocklist = [ \"127.0.0.2\" ];", rows);
}

static void whole_world_can_be_blocked(void **state)
{
    static const struct row rows[] = { { "127.0.0.1", false }, { "127.255.255.254", false } };

    CHECK_ROWS(*state, "blocklist = [ \"0.0.0.0/0\" ];", rows);
}

static void list_from_a_file(void **state)
{
    struct fixture *fixture = *state;
    char path[FIXTURE_PATH], keys[2 * FIXTURE_PATH];
    static const struct row rows[] = {
        { "127.0.0.1", true },  { "127.7.0.1", false }, { "127.7.1.0", true },
        { "127.8.0.3", false }, { "127.9.0.1", false }, { "127.9.0.2", true },
    };

    fixture_write(fixture, "block.list",
                  "# hosts that misbehaved\n"
                  "127.7.0.0/24\n"
                  "\n"
                  "   127.8.0.1-127.8.0.3   # a range, with a comment behind it\r\n"
                  "#127.0.0.1\n"
                  "127.9.0.1"); /* no newline at the end */
    snprintf(keys, sizeof(keys), "blocklist = [ \"file:%s\" ];", fixture_path(fixture, "block.list", path));
    CHECK_ROWS(fixture, keys, rows);
}

static void long_list_file_is_read_fast(void **state)
{
    struct fixture *fixture = *state;
    size_t count = test_scaled(500000, 10000);
    char path[FIXTURE_PATH], keys[2 * FIXTURE_PATH];
    FILE *file = fopen(fixture_path(fixture, "long.list", path), "we");
    static const struct row rows[] = { { "127.0.0.1", true }, { "127.0.0.3", false } };

    assert_non_null(file);
    for (size_t i = 0; i < count; i++)
        fprintf(file, "%zu.%zu.%zu.%zu\n", 16 + (i >> 16) % 90, (i >> 8) & 255, i & 255, (i * 7) & 255);
    fputs("127.0.0.3\n", file);
    fclose(file);
    snprintf(keys, sizeof(keys), "blocklist = [ \"file:%s\" ];", path);
    int64_t begin = test_now();
    CHECK_ROWS(fixture, keys, rows);
    print_message("%zu lines of a list: %d ms, with start and end of the program\n", count,
                  (int)(test_now() - begin));
}

static void ipv6_addresses(void **state)
{
    static const struct row blocked[] = { { "::1", false } };
    static const struct row served[] = { { "::1", true } };

    if (!peer_have_ipv6())
        skip();
    check_rows(*state, "[::1]", "::1", "blocklist = [ \"::1\" ];", blocked, 1);
    check_rows(*state, "[::1]", "::1", "blocklist = [ \"::/127\" ];", blocked, 1);
    check_rows(*state, "[::1]", "::1", "blocklist = [ \"::2/127\", \"2001:db8::/32\" ];", served, 1);
    check_rows(*state, "[::1]", "::1", "blocklist = [ \"::-::2\" ];", blocked, 1);
    check_rows(*state, "[::1]", "::1", "allowlist = [ \"::1/128\" ];", served, 1);
    check_rows(*state, "[::1]", "::1", "allowlist = [ \"::2\" ];", blocked, 1);
    check_rows(*state, "[::1]", "::1", "blocklist = [ \"0.0.0.0/0\" ];", served, 1);
}

/* A client that reaches an IPv6 socket over IPv4 is an IPv4 client, whichever way the list is written. */
static void mapped_addresses_count_as_ipv4(void **state)
{
    static const struct row rows[] = {
        { "127.0.0.1", true },
        { "127.0.0.2", false },
        { "127.0.0.3", false },
        { "127.0.0.4", true },
    };

    if (!peer_have_ipv6())
        skip();
    check_rows(*state, "[::]", "127.0.0.1", "blocklist = [ \"127.0.0.2\", \"::ffff:127.0.0.3\" ];", rows, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(blocklist_of_addresses_networks_and_ranges),
        fixture_test(allowlist_lets_nobody_else_in),
        fixture_test(blocklist_wins_over_allowlist),
        fixture_test(whole_world_can_be_blocked),
        fixture_test(list_from_a_file),
        fixture_test(long_list_file_is_read_fast),
        fixture_test(ipv6_addresses),
        fixture_test(mapped_addresses_count_as_ipv4),
    };

    return cmocka_run_group_tests_name("lists", tests, NULL, NULL);
}
