/* Addresses and endpoints: every form, good and bad, and their way back into text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct address make_address(const char *text, uint16_t port)
{
    struct address address;
    if (!address_parse(text, &address))
        fail_msg("not an address: %s", text);
    address_set_port(&address, port);
    return address;
}

/* ---- addresses ---- */

static void test_addresses_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        sa_family_t family;
        const char *printed; /* with port 0 */
    } good[] = {
        { "0.0.0.0", AF_INET, "0.0.0.0:0" },
        { "192.0.2.1", AF_INET, "192.0.2.1:0" },
        { "255.255.255.255", AF_INET, "255.255.255.255:0" },
        { "::", AF_INET6, "[::]:0" },
        { "::1", AF_INET6, "[::1]:0" },
        { "2001:DB8:0:0:0:0:0:A", AF_INET6, "[2001:db8::a]:0" },
        { "::ffff:192.0.2.1", AF_INET6, "[::ffff:192.0.2.1]:0" },
        { "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", AF_INET6,
          "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:0" },
        { "fe80::1%1", AF_INET6, "[fe80::1%1]:0" },
        { "fe80::1%lo", AF_INET6, "[fe80::1%1]:0" },
        { "fe80::1%4294967295", AF_INET6, "[fe80::1%4294967295]:0" },
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        char printed[ADDRESS_TEXT_SIZE];
        struct address address;
        if (!address_parse(good[i].text, &address))
            fail_msg("refused: %s", good[i].text);
        assert_int_equal(address.family, good[i].family);
        assert_ptr_equal(address_print(&address, printed), printed);
        assert_string_equal(printed, good[i].printed);
    }
}

static void test_malformed_addresses_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "256.0.0.1",
        "1.2.3.-4",
        "01.2.3.4",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.4:80",
        "1.2.3.4%lo",
        "1.2.3.4/8",
        "0x1.2.3.4",
        ":",
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1::2::3",
        "12345::",
        "g::",
        "[::1]",
        "::1%",
        "::1%0",
        "::1%-1",
        "::1%+1",
        "::1% 1",
        "::1%1x",
        "::1%4294967296",
        "::1%99999999999999999999999",
        "::1%no-such-interface",
        "::1%lo%lo",
        "localhost",
        "*",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct address address;
        struct address zero;
        memset(&zero, 0, sizeof zero);
        memset(&address, 0xa5, sizeof address);
        if (address_parse(bad[i], &address))
            fail_msg("accepted: \"%s\"", bad[i]);
        assert_memory_equal(&address, &zero, sizeof address);
    }
}

static void test_ports(void **state)
{
    (void)state;
    char printed[ADDRESS_TEXT_SIZE];
    struct address v4 = make_address("192.0.2.1", 65535);
    struct address v6 = make_address("2001:db8::1", 80);
    struct address none;
    memset(&none, 0, sizeof none);
    address_set_port(&none, 80);
    assert_int_equal(address_port(&v4), 65535);
    assert_int_equal(v4.v4.sin_port, htons(65535));
    assert_int_equal(address_port(&v6), 80);
    assert_int_equal(address_port(&none), 0);
    assert_string_equal(address_print(&v4, printed), "192.0.2.1:65535");
    assert_string_equal(address_print(&v6, printed), "[2001:db8::1]:80");
    assert_string_equal(address_print(&none, printed), "none");
    assert_int_equal(address_length(&v4), sizeof(struct sockaddr_in));
    assert_int_equal(address_length(&v6), sizeof(struct sockaddr_in6));
}

static void test_longest_address_fits_its_text(void **state)
{
    (void)state;
    char printed[ADDRESS_TEXT_SIZE];
    struct address address = make_address("fec0:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295", 65535);
    assert_string_equal(address_print(&address, printed),
                        "[fec0:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

static void test_addresses_of_sockets(void **state)
{
    (void)state;
    char printed[ADDRESS_TEXT_SIZE];
    struct address address;
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(80) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(81), .sin6_scope_id = 3 };
    struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "/x" };

    assert_int_equal(inet_pton(AF_INET, "192.0.2.1", &v4.sin_addr), 1);
    address_from_socket((const struct sockaddr *)&v4, &address);
    assert_string_equal(address_print(&address, printed), "192.0.2.1:80");

    assert_int_equal(inet_pton(AF_INET6, "fe80::1", &v6.sin6_addr), 1);
    address_from_socket((const struct sockaddr *)&v6, &address);
    assert_string_equal(address_print(&address, printed), "[fe80::1%3]:81");

    address_from_socket((const struct sockaddr *)&local, &address);
    assert_int_equal(address.family, AF_UNIX);
    assert_string_equal(address_print(&address, printed), "unix");
    assert_int_equal(address_port(&address), 0);
}

static void test_mapped_sockets_become_ipv4(void **state)
{
    (void)state;
    struct address address;
    struct address v4 = make_address("192.0.2.1", 80);
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_scope_id = 3 };
    assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &v6.sin6_addr), 1);
    address_from_socket((const struct sockaddr *)&v6, &address);
    assert_int_equal(address.family, AF_INET);
    assert_int_equal(address_compare(&address, &v4), 0);
    assert_int_equal(address_length(&address), sizeof(struct sockaddr_in));

    /* Neighbours of the mapped block stay what they are. */
    static const char *const others[] = { "::192.0.2.1", "::fffe:192.0.2.1", "::1:ffff:192.0.2.1",
                                          "64:ff9b::192.0.2.1" };
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_int_equal(inet_pton(AF_INET6, others[i], &v6.sin6_addr), 1);
        address_from_socket((const struct sockaddr *)&v6, &address);
        assert_int_equal(address.family, AF_INET6);
    }
}

static int sign(int number)
{
    return (number > 0) - (number < 0);
}

static void test_order_is_total(void **state)
{
    (void)state;
    struct address ordered[10];
    memset(ordered, 0, sizeof ordered); /* the first: none */
    ordered[1].family = AF_UNIX;
    ordered[2] = make_address("9.0.0.1", 256);
    ordered[3] = make_address("10.0.0.0", 65535);
    ordered[4] = make_address("10.0.0.1", 255);
    ordered[5] = make_address("10.0.0.1", 256);
    ordered[6] = make_address("200.0.0.1", 1);
    ordered[7] = make_address("::1", 9);
    ordered[8] = make_address("fe80::1%1", 9);
    ordered[9] = make_address("fe80::1%256", 1);
    for (int i = 0; i < 10; i++) {
        for (int j = 0; j < 10; j++)
            assert_int_equal(sign(address_compare(&ordered[i], &ordered[j])), sign(i - j));
    }
    assert_int_equal(address_compare_host(&ordered[4], &ordered[5]), 0);
    assert_true(address_compare_host(&ordered[5], &ordered[3]) > 0);
    assert_true(address_compare_host(&ordered[8], &ordered[9]) < 0);
}

/* ---- endpoints ---- */

struct good_endpoint {
    const char *text;
    enum endpoint_kind kind;
    const char *host;
    uint16_t port;
    const char *printed; /* NULL: as `text` */
};

#define LABEL_63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

/* 107 characters: all that a socket address holds beside its end. */
#define LONG_PATH                                                                                            \
    "/aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiiiiijjjjjjjjjjkk" \
    "k"                                                                                                      \
    "kkkk"

static const struct good_endpoint good_endpoints[] = {
    { "db1:3306", ENDPOINT_NAME, "db1", 3306, NULL },
    { "DB-1.some_where.internal:1", ENDPOINT_NAME, "DB-1.some_where.internal", 1, NULL },
    { "db1.internal.:80", ENDPOINT_NAME, "db1.internal.", 80, NULL },
    { "1and1.example:80", ENDPOINT_NAME, "1and1.example", 80, NULL },
    { "10.0.0.1a:80", ENDPOINT_NAME, "10.0.0.1a", 80, NULL },
    { LABEL_63 ":80", ENDPOINT_NAME, LABEL_63, 80, NULL },
    { "192.0.2.1:65535", ENDPOINT_NUMERIC, "192.0.2.1", 65535, NULL },
    { "192.0.2.1:00080", ENDPOINT_NUMERIC, "192.0.2.1", 80, "192.0.2.1:80" },
    { "0.0.0.0:80", ENDPOINT_NUMERIC, "0.0.0.0", 80, NULL },
    { "[::]:80", ENDPOINT_NUMERIC, "::", 80, NULL },
    { "[2001:db8::1]:80", ENDPOINT_NUMERIC, "2001:db8::1", 80, NULL },
    { "[::ffff:192.0.2.1]:80", ENDPOINT_NUMERIC, "::ffff:192.0.2.1", 80, NULL },
    { "[fe80::1%lo]:80", ENDPOINT_NUMERIC, "fe80::1%lo", 80, NULL },
    { "*:80", ENDPOINT_ANY, "*", 80, NULL },
    { "unix:/run/x", ENDPOINT_UNIX, "/run/x", 0, NULL },
    { "unix:/a:80", ENDPOINT_UNIX, "/a:80", 0, NULL },
    { "unix:" LONG_PATH, ENDPOINT_UNIX, LONG_PATH, 0, NULL },
};

static void test_endpoints_are_read_and_printed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_endpoints); i++) {
        const struct good_endpoint *good = &good_endpoints[i];
        const char *printed = good->printed == NULL ? good->text : good->printed;
        struct endpoint endpoint;
        struct endpoint again;
        char error[256] = "untouched";
        char text[256];
        if (!endpoint_parse(good->text, &endpoint, error, sizeof error))
            fail_msg("refused: %s: %s", good->text, error);
        assert_string_equal(error, "untouched");
        assert_int_equal(endpoint.kind, good->kind);
        assert_string_equal(endpoint.host, good->host);
        assert_int_equal(endpoint.port, good->port);
        if (good->kind == ENDPOINT_NUMERIC)
            assert_int_equal(address_port(&endpoint.address), good->port);
        assert_ptr_equal(endpoint_print(&endpoint, text, sizeof text), text);
        assert_string_equal(text, printed);
        assert_true(endpoint_parse(text, &again, error, sizeof error));
        assert_true(endpoint_equal(&endpoint, &again));
        endpoint_free(&endpoint);
        endpoint_free(&again);
        assert_null(endpoint.host);
    }
}

struct bad_endpoint {
    const char *text;
    const char *error;
};

static void test_malformed_endpoints_are_refused(void **state)
{
    (void)state;
    static const struct bad_endpoint bad[] = {
        { "", "\"\" has no port; write HOST:PORT or unix:PATH" },
        { "db1", "\"db1\" has no port; write HOST:PORT or unix:PATH" },
        { "/run/x", "\"/run/x\" has no port; write HOST:PORT or unix:PATH" },
        { ":80", "the host is missing" },
        { "[]:80", "the host is missing" },
        { "db1:", "the port of \"db1:\" is not a number from 1 to 65535" },
        { "db1:0", "the port of \"db1:0\" is not a number from 1 to 65535" },
        { "db1:65536", "the port of \"db1:65536\" is not a number from 1 to 65535" },
        { "db1:4294967376", "the port of \"db1:4294967376\" is not a number from 1 to 65535" },
        { "db1:-1", "the port of \"db1:-1\" is not a number from 1 to 65535" },
        { "db1:+80", "the port of \"db1:+80\" is not a number from 1 to 65535" },
        { "db1: 80", "the port of \"db1: 80\" is not a number from 1 to 65535" },
        { "db1:80 ", "the port of \"db1:80 \" is not a number from 1 to 65535" },
        { "db1:0x50", "the port of \"db1:0x50\" is not a number from 1 to 65535" },
        { "db1:http", "the port of \"db1:http\" is not a number from 1 to 65535" },
        { "::1:80", "\"::1:80\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT" },
        { "::1", "\"::1\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT" },
        { "[::1]", "\"[::1]\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT" },
        { "[::1]80", "\"[::1]80\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT" },
        { "[::1:80", "\"[::1:80\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT" },
        { "::1]:80", "\"::1]:80\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT" },
        { "db1:80:90", "\"db1:80:90\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT" },
        { "[:]:80", "\"[:]\" is not an IPv6 address" },
        { "[db1]:80", "\"[db1]\" is not an IPv6 address" },
        { "[*]:80", "\"[*]\" is not an IPv6 address" },
        { "[192.0.2.1]:80", "\"[192.0.2.1]\" is not an IPv6 address" },
        { "[::1%]:80", "\"[::1%]\" is not an IPv6 address" },
        { "[[::1]]:80", "\"[[::1]]\" is not an IPv6 address" },
        { "[db1:80", "\"[db1\" is neither a host name nor an address" },
        { "10.0.0.256:80", "\"10.0.0.256\" is neither a host name nor an address" },
        { "10.0.0:80", "\"10.0.0\" is neither a host name nor an address" },
        { "10.0.0.:80", "\"10.0.0.\" is neither a host name nor an address" },
        { "3306:80", "\"3306\" is neither a host name nor an address" },
        { ".:80", "\".\" is neither a host name nor an address" },
        { ".db1:80", "\".db1\" is neither a host name nor an address" },
        { "db1..internal:80", "\"db1..internal\" is neither a host name nor an address" },
        { "db1..:80", "\"db1..\" is neither a host name nor an address" },
        { "db 1:80", "\"db 1\" is neither a host name nor an address" },
        { " db1:80", "\" db1\" is neither a host name nor an address" },
        { "tcp//db1:80", "\"tcp//db1\" is neither a host name nor an address" },
        { "d\xc3\xa9:80", "\"d\xc3\xa9\" is neither a host name nor an address" },
        { "**:80", "\"**\" is neither a host name nor an address" },
        { "a" LABEL_63 ":80", "\"a" LABEL_63 "\" is neither a host name nor an address" },
        { LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63 ":80", "the host is too long" },
        { "unix:", "\"unix:\" needs an absolute path" },
        { "unix:x", "\"unix:x\" needs an absolute path" },
        { "unix:" LONG_PATH "x", "\"unix:" LONG_PATH "x\" is longer than a socket path can be (107 bytes)" },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct endpoint endpoint;
        char error[512] = "";
        if (endpoint_parse(bad[i].text, &endpoint, error, sizeof error))
            fail_msg("accepted: %s", bad[i].text);
        assert_string_equal(error, bad[i].error);
        assert_null(endpoint.host);
        endpoint_free(&endpoint); /* harmless */
    }
}

static void test_errors_are_cut_to_their_room(void **state)
{
    (void)state;
    struct endpoint endpoint;
    char error[16];
    memset(error, 'x', sizeof error);
    assert_false(endpoint_parse("a-name-without-port", &endpoint, error, 8));
    assert_string_equal(error, "\"a-name");
    assert_int_equal(error[8], 'x');
}

static void test_endpoints_of_host_and_port(void **state)
{
    (void)state;
    static const struct good_endpoint good[] = {
        { "db1", ENDPOINT_NAME, "db1", 3306, "db1:3306" },
        { "192.0.2.1", ENDPOINT_NUMERIC, "192.0.2.1", 1, "192.0.2.1:1" },
        { "::1", ENDPOINT_NUMERIC, "::1", 65535, "[::1]:65535" },
        { "[::1]", ENDPOINT_NUMERIC, "::1", 80, "[::1]:80" },
        { "fe80::1%lo", ENDPOINT_NUMERIC, "fe80::1%lo", 80, "[fe80::1%lo]:80" },
        { "*", ENDPOINT_ANY, "*", 80, "*:80" },
    };
    for (size_t i = 0; i < COUNT(good); i++) {
        struct endpoint endpoint;
        char error[256] = "";
        char text[256];
        if (!endpoint_make(good[i].text, good[i].port, &endpoint, error, sizeof error))
            fail_msg("refused: %s: %s", good[i].text, error);
        assert_int_equal(endpoint.kind, good[i].kind);
        assert_string_equal(endpoint.host, good[i].host);
        assert_string_equal(endpoint_print(&endpoint, text, sizeof text), good[i].printed);
        endpoint_free(&endpoint);
    }
}

static void test_malformed_hosts_and_ports_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        int64_t port;
        const char *error;
    } bad[] = {
        { "", 80, "the host is missing" },
        { "[]", 80, "the host is missing" },
        { "[", 80, "\"[\" is neither a host name nor an address" },
        { "db1:80", 80, "\"db1:80\" is neither a host name nor an address" },
        { "[db1]", 80, "\"[db1]\" is not an IPv6 address" },
        { "unix:/run/x", 80, "\"unix:/run/x\" is neither a host name nor an address" },
        { "10.0.0.256", 80, "\"10.0.0.256\" is neither a host name nor an address" },
        { "::g", 80, "\"::g\" is neither a host name nor an address" },
        { "db1", 0, "the port is not a number from 1 to 65535" },
        { "db1", -1, "the port is not a number from 1 to 65535" },
        { "db1", 65536, "the port is not a number from 1 to 65535" },
        { "db1", INT64_C(4294967376), "the port is not a number from 1 to 65535" },
        { "db1", INT64_MIN, "the port is not a number from 1 to 65535" },
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct endpoint endpoint;
        char error[256] = "";
        if (endpoint_make(bad[i].host, bad[i].port, &endpoint, error, sizeof error))
            fail_msg("accepted: %s and %lld", bad[i].host, (long long)bad[i].port);
        assert_string_equal(error, bad[i].error);
        assert_null(endpoint.host);
    }
}

/* The longest host name, RFC 1035: 253 characters, with a dot at its end one more. */
static void test_longest_host_name(void **state)
{
    (void)state;
    char host[260];
    struct endpoint endpoint;
    char error[256];
    for (size_t i = 0; i < sizeof host; i++)
        host[i] = i % 64 == 63 ? '.' : 'a';
    host[253] = '\0';
    assert_true(endpoint_make(host, 80, &endpoint, error, sizeof error));
    assert_int_equal(strlen(endpoint.host), 253);
    endpoint_free(&endpoint);
    strcpy(host + 253, ".");
    assert_true(endpoint_make(host, 80, &endpoint, error, sizeof error));
    endpoint_free(&endpoint);
    strcpy(host + 253, "a");
    assert_false(endpoint_make(host, 80, &endpoint, error, sizeof error));
    assert_string_equal(error, "the host is too long");
}

static bool equal(const char *a, const char *b)
{
    struct endpoint first;
    struct endpoint second;
    char error[256];
    assert_true(endpoint_parse(a, &first, error, sizeof error));
    assert_true(endpoint_parse(b, &second, error, sizeof error));
    bool result = endpoint_equal(&first, &second);
    assert_int_equal(endpoint_equal(&second, &first), result);
    endpoint_free(&first);
    endpoint_free(&second);
    return result;
}

static void test_equality(void **state)
{
    (void)state;
    assert_true(equal("db1:80", "DB1:80"));
    assert_false(equal("db1:80", "db1:81"));
    assert_false(equal("db1:80", "db2:80"));
    assert_true(equal("[::1]:80", "[0:0:0:0:0:0:0:1]:80"));
    assert_false(equal("[::1]:80", "[::1]:81"));
    assert_false(equal("[fe80::1%1]:80", "[fe80::1%2]:80"));
    assert_true(equal("*:80", "*:80"));
    assert_false(equal("*:80", "[::]:80"));
    assert_true(equal("unix:/run/x", "unix:/run/x"));
    assert_false(equal("unix:/run/x", "unix:/run/X"));
}

static void test_copies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good_endpoints); i++) {
        struct endpoint endpoint;
        struct endpoint copy;
        char error[256];
        char text[256];
        assert_true(endpoint_parse(good_endpoints[i].text, &endpoint, error, sizeof error));
        assert_true(endpoint_copy(&endpoint, &copy));
        assert_true(endpoint_equal(&endpoint, &copy));
        assert_ptr_not_equal(endpoint.host, copy.host);
        endpoint_free(&endpoint);
        assert_non_null(strstr(endpoint_print(&copy, text, sizeof text), good_endpoints[i].host));
        endpoint_free(&copy);
    }
}

static void test_printing_is_cut_to_its_room(void **state)
{
    (void)state;
    struct endpoint endpoint;
    char error[256];
    char text[8];
    assert_true(endpoint_parse("a-long-name:80", &endpoint, error, sizeof error));
    assert_string_equal(endpoint_print(&endpoint, text, sizeof text), "a-long-");
    endpoint_free(&endpoint);
}

static void test_print_client(void **state)
{
    static const struct {
        const char *address;
        const char *open;
        const char *masked;
    } rows[] = {
        { "192.0.2.77", "192.0.2.77:80", "192.0.2.0" },
        { "255.255.255.255", "255.255.255.255:80", "255.255.255.0" },
        { "2001:db8:1:2:3:4:5:6", "[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1::" },
        { "::1", "[::1]:80", "::" },
    };
    char text[ADDRESS_TEXT_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address address;
        assert_true(address_parse(rows[i].address, &address));
        address_set_port(&address, 80);
        assert_string_equal(address_print_client(&address, text), rows[i].open);
        log_mask_addresses(true);
        assert_string_equal(address_print_client(&address, text), rows[i].masked);
        log_mask_addresses(false);
    }
    log_mask_addresses(true);
    assert_string_equal(address_print_client(&(struct address){ .family = AF_UNIX }, text), "unix");
    log_mask_addresses(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_read),
        cmocka_unit_test(test_malformed_addresses_are_refused),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_longest_address_fits_its_text),
        cmocka_unit_test(test_addresses_of_sockets),
        cmocka_unit_test(test_mapped_sockets_become_ipv4),
        cmocka_unit_test(test_order_is_total),
        cmocka_unit_test(test_endpoints_are_read_and_printed),
        cmocka_unit_test(test_malformed_endpoints_are_refused),
        cmocka_unit_test(test_errors_are_cut_to_their_room),
        cmocka_unit_test(test_endpoints_of_host_and_port),
        cmocka_unit_test(test_malformed_hosts_and_ports_are_refused),
        cmocka_unit_test(test_longest_host_name),
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_printing_is_cut_to_its_room),
        cmocka_unit_test(test_print_client),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
