/* What makes no sense together, though each value is right; what comes from `defaults`; and the dump. */
#include "unit/config_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A listener with one more line of keys. */
#define LISTENER(name, listen, keys)                                                                         \
    "{ name = \"" name "\"; listen = " listen "; targets = \"127.0.0.1:2\";\n" keys " }"

static void expect_said(const struct config_place *place, const char *text)
{
    if (strstr(place->said, text) == NULL)
        fail_msg("\"%s\" is missing in:\n%s", text, place->said);
}

/* Rows of a listener's keys and the one thing that is said of them. */
static void one_listener_that_makes_no_sense(void **state)
{
    static const struct {
        const char *listener;
        const char *said;
    } rows[] = {
        { "listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\";", "name: is required" },
        { "name = \"a b\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\";", "a name consists of" },
        { "name = \"a\"; targets = \"127.0.0.1:2\";", "listen: is required" },
        { "name = \"a\"; listen = []; targets = \"127.0.0.1:2\";", "listen: there is no address" },
        { "name = \"a\"; listen = \"localhost\"; targets = \"127.0.0.1:2\";", "has no port" },
        { "name = \"a\"; listen = \"::1:80\"; targets = \"127.0.0.1:2\";", "is ambiguous" },
        { "name = \"a\"; listen = \"unix:x\"; targets = \"127.0.0.1:2\";", "needs an absolute path" },
        { "name = \"a\"; listen = \"systemd:\"; targets = \"127.0.0.1:2\";", "1 to 255 characters" },
        { "name = \"a\"; listen = \"systemd:a:b\"; targets = \"127.0.0.1:2\";", "neither spaces, colons" },
        { "name = \"a\"; listen = [ \"systemd:x\", \"systemd:x\" ]; targets = \"127.0.0.1:2\";",
          "is named twice" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"systemd:x\";", "the port of" },
        { "name = \"a\"; listen = [ \"127.0.0.1:1\", \"127.0.0.1:1\" ]; targets = \"127.0.0.1:2\";",
          "127.0.0.1:1" },
        { "name = \"a\"; listen = \"127.0.0.1:1\";", "targets: is required" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = ();", "targets: there is no target" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"*:2\";", "not connected to" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = ( { host = \"x\"; } );",
          "port: is required with host" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = ( { port = 2; } );",
          "host: is required with port" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = ( { address = \"x:1\"; port = 2; } );",
          "do not go with address" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; retry_min = 40000;",
          "is longer than retry_max" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; unix_mode = 660;",
          "octal string such as \"0660\"" },
        { "name = \"a\"; listen = \"unix:/x\"; targets = \"127.0.0.1:2\"; unix_mode = \"0888\";",
          "octal string" },
        { "name = \"a\"; listen = \"unix:/x\"; targets = \"127.0.0.1:2\"; unix_user = \"nobody-here\";",
          "there is no user" },
        { "name = \"a\"; listen = \"unix:/x\"; targets = \"127.0.0.1:2\"; unix_group = \"nobody-here\";",
          "there is no group" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; blocklist = [ \"10.0.0.1/8\" "
          "];",
          "did you mean 10.0.0.0/8?" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; allowlist = [ \"x\" ];",
          "\"x\"" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; allowlist = [ \"\\x1b[31m\" ];",
          "\"\\x1b[31m\"" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; blocklist = \"file:/missing\";",
          "/missing" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; accept_proxy_protocol = [ "
          "\"Unix\" ];",
          "accept_proxy_protocol: \"Unix\"" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; blocklist = [ \"unix\" ];",
          "blocklist: \"unix\"" },
        { "name = \"a\"; listen = \"127.0.0.1:1\"; targets = ( { address = \"127.0.0.1:2\"; "
          "send_proxy_protocol = 3; } );",
          "send_proxy_protocol: 3 is out of range" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        config_place_read(place, "listeners = (\n{ %s } );\n", rows[i].listener);
        if (place->config.settings != NULL)
            fail_msg("row %zu was taken: %s", i, rows[i].listener);
        expect_said(place, rows[i].said);
        expect_said(place, "main.conf:2: error: listener \"");
    }
}

static void global_values_that_make_no_sense(void **state)
{
    static const struct {
        const char *text;
        const char *said;
    } rows[] = {
        { "log = { output = \"stdrr\"; };", "did you mean \"stderr\"?" },
        { "log = { output = \"a/b.log\"; };", "nor an absolute path" },
        { "log = { level = 4; };", "log.level: 4 is out of range" },
        { "pid_file = \"x.pid\";", "no absolute path" },
        { "user = \"nobody-here\";", "there is no user \"nobody-here\"" },
        { "group = \"nobody-here\";", "there is no group \"nobody-here\"" },
        { "admin = { listen = []; };", "admin.listen: there is no address" },
        { "admin = { listen = \"127.0.0.1\"; };", "admin.listen: " },
        { "admin = { listen = [ \"127.0.0.1:3\", \"127.0.0.1:3\" ]; };", "is named twice" },
        { "admin = { listen = \"unix:/x\"; unix_mode = \"0999\"; };", "admin.unix_mode: " },
        { "admin = { listen = \"unix:/x\"; unix_user = \"nobody-here\"; };", "there is no user" },
        { "admin = { listen = \"127.0.0.1:3\"; allowlist = \"10.0.0.300\"; };", "admin.allowlist: " },
        { "admin = { listen = \"127.0.0.1:1\"; };", "admin.listen: 127.0.0.1:1 is already listened on" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        config_place_read(place, "%s\n" CONFIG_LISTENER, rows[i].text);
        assert_null(place->config.settings);
        expect_said(place, rows[i].said);
        expect_said(place, "main.conf:1: error: ");
    }
}

static void names_and_addresses_are_unique(void **state)
{
    struct config_place *place = *state;
    config_place_read(place, "listeners = (\n" LISTENER("a", "\"127.0.0.1:1\"", "") ",\n" LISTENER(
                                 "a", "\"127.0.0.1:2\"", "") " );\n");
    assert_null(place->config.settings);
    expect_said(place, "main.conf:4: error: ");
    expect_said(place, "main.conf:2");
    config_place_read(place, "listeners = (\n" LISTENER("a", "\"127.0.0.1:1\"", "") ",\n" LISTENER(
                                 "b", "\"127.0.0.1:1\"", "") " );\n");
    assert_null(place->config.settings);
    expect_said(place, "main.conf:4: error: listener \"b\": listen: ");
    config_place_read(place,
                      "listeners = (\n" LISTENER("a", "\"127.0.0.1:1\"", "reuse_port = true;") ",\n" LISTENER(
                          "b", "\"127.0.0.1:1\"", "reuse_port = true;") " );\n");
    config_place_expect(place, "");
    config_place_read(place,
                      "listeners = (\n" LISTENER("a", "\"systemd:x\"", "reuse_port = true;") ",\n" LISTENER(
                          "b", "\"systemd:x\"", "reuse_port = true;") " );\n");
    assert_null(place->config.settings);
    expect_said(place, "systemd:x is already listened on by \"a\"");
}

/* Two listeners, each with one target. */
#define PAIR(a, b) "listeners = (\n{ name = \"a\"; " a " },\n{ name = \"b\"; " b " } );\n"
#define LINE_FIFO  "mode = \"fifo\"; protocol = { type = \"line\"; error_reply = \"E\\\\n\"; };"

static void one_address_in_several_listeners(void **state)
{
    static const struct {
        const char *text;
        const char *said; /* "": nothing */
    } rows[] = {
        { PAIR("listen = \"127.0.0.1:1\"; targets = \"x:2\";",
               "listen = \"127.0.0.1:3\"; targets = \"X:2\";"),
          "" },
        { PAIR("listen = \"127.0.0.1:1\"; targets = \"x:2\";",
               "listen = \"127.0.0.1:3\"; targets = \"X:2\"; " LINE_FIFO),
          "main.conf:3: warning: listener \"b\": target: slots: without it X:2 gets connections from \"a\" "
          "beside the "
          "one from here; slots = 1 has them take turns\n" },
        { PAIR("listen = \"127.0.0.1:1\"; targets = ( { address = \"x:2\"; slots = 1; } ); " LINE_FIFO,
               "listen = \"127.0.0.1:3\"; targets = \"X:2\"; " LINE_FIFO),
          "" },
        { PAIR("listen = \"127.0.0.1:1\"; targets = ( { address = \"x:2\"; slots = 1; } ); " LINE_FIFO,
               "listen = \"127.0.0.1:3\"; targets = \"X:2\";"),
          "main.conf:3: warning: listener \"b\": target: slots: a session of mode \"proxy\" has its slot "
          "until it ends: "
          "\"a\" may wait for long\n" },
        { PAIR("listen = \"127.0.0.1:1\"; targets = ( { address = \"x:2\"; slots = 1; } );",
               "listen = \"127.0.0.1:3\"; targets = ( { address = \"X:2\"; slots = 2; } );"),
          "error: listener \"b\": target: slots: \"a\" says 1 for x:2: the slots of an address "
          "are those of "
          "all listeners together\n" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        config_place_read(place, "%s", rows[i].text);
        if (rows[i].said[0] == '\0')
            config_place_expect(place, "");
        else
            expect_said(place, rows[i].said);
        assert_int_equal(place->config.settings == NULL, strstr(rows[i].said, "error: ") != NULL);
    }
}

static void listener_is_no_target_of_its_own(void **state)
{
    static const struct {
        const char *listen;
        const char *target;
        bool is_loop;
    } rows[] = {
        { "127.0.0.1:1", "127.0.0.1:1", true },
        { "127.0.0.1:1", "127.0.0.1:2", false },
        { "127.0.0.1:1", "127.0.0.2:1", false },
        { "127.0.0.1:1", "localhost:1", true },
        { "localhost:1", "127.0.0.1:1", true },
        { "*:1", "127.0.0.1:1", true },
        { "*:1", "[::1]:1", true },
        { "*:1", "Localhost:1", true },
        { "*:1", "192.0.2.1:1", false },
        { "0.0.0.0:1", "127.9.0.1:1", true },
        { "0.0.0.0:1", "[::1]:1", false },
        { "127.0.0.1:1", "0.0.0.0:1", true },
        { "127.0.0.2:1", "localhost:1", false },
        { "127.0.0.2:1", "0.0.0.0:1", false },
        { "localhost:1", "127.0.0.2:1", false },
        { "[::1]:1", "localhost:1", true },
        { "[::1]:1", "0.0.0.0:1", false },
        { "127.0.0.1:1", "[::ffff:127.0.0.1]:1", true },
        { "[::]:1", "[::1]:1", true },
        { "192.0.2.1:1", "192.0.2.1:1", true },
        { "192.0.2.1:1", "localhost:1", false },
        { "db:1", "DB:1", true },
        { "unix:/x", "unix:/x", true },
        { "unix:/x", "unix:/y", false },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        config_place_read(place, "listeners = ( { name = \"a\"; listen = \"%s\";\ntargets = ( \"%s\" ); } );",
                          rows[i].listen, rows[i].target);
        if (rows[i].is_loop != (strstr(place->said, "each client would cause another one") != NULL))
            fail_msg("%s to %s: %s", rows[i].listen, rows[i].target, place->said);
        if (rows[i].is_loop)
            expect_said(
                place,
                "main.conf:2: error: listener \"a\": target: address: the listener itself listens on ");
    }
    config_place_read(place, PAIR("listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\";",
                                  "listen = \"127.0.0.1:2\"; targets = \"127.0.0.1:3\";"));
    config_place_expect(place, ""); /* another one's is none of its own */
}

static void admin_is_a_listener_of_its_own(void **state)
{
    static const struct {
        const char *admin;
        const char *said;
    } rows[] = {
        { "listen = [ \"127.0.0.1:3\", \"[::1]:3\", \"localhost:4\", \"unix:/x\" ];", "" },
        { "listen = \"*:3\";", "main.conf:1: warning: admin.listen: other machines can get there: all who do "
                               "see the configuration and the traffic\n" },
        { "listen = [ \"127.0.0.1:3\", \"192.0.2.1:3\" ];",
          "main.conf:1: warning: admin.listen: other machines can get there: all who do see the "
          "configuration "
          "and the traffic\n" },
        { "unix_mode = \"0660\";", "main.conf:1: warning: admin.unix_mode: has no effect: there is no unix "
                                   "socket in admin.listen\n" },
        { "listen = \"unix:/x\"; allowlist = \"10.0.0.1\";",
          "main.conf:1: warning: admin.allowlist: has no effect: there is no other than a unix socket in "
          "admin.listen\n" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        config_place_read(place, "admin = { %s };\n" CONFIG_LISTENER, rows[i].admin);
        config_place_expect(place, rows[i].said);
    }
    config_place_read(place, CONFIG_LISTENER);
    assert_null(place->config.settings->admin);
    char address[] = "PROXIMUX_ADMIN_LISTEN=unix:/run/x";
    char mode[] = "PROXIMUX_ADMIN_UNIX_MODE=0640";
    char *environment[] = { address, mode, NULL };
    config_place_load(place, environment);
    config_place_expect(place, "");
    const struct listener_settings *admin = place->config.settings->admin;
    assert_int_equal(admin->listen_count, 1);
    assert_string_equal(admin->listen[0].host, "/run/x");
    assert_int_equal(admin->unix_socket.mode, 0640);
}

static void faults_of_list_files_have_their_own_lines(void **state)
{
    struct config_place *place = *state;
    config_place_write(place, "block.list", "10.0.0.0/8\n\n10.0.0.300 # no address\n");
    config_place_read(place, "listeners = (\n" LISTENER("a", "\"127.0.0.1:1\"",
                                                        "blocklist = [ \"file:DIR/block.list\" ];") " );\n");
    assert_null(place->config.settings);
    expect_said(place, "block.list:3: error: listener \"a\": blocklist: ");
}

static void defaults_fill_the_gaps(void **state)
{
    struct config_place *place = *state;
    config_place_read(
        place,
        "defaults = { connect_timeout = 77; backlog = 5; unix_mode = \"0600\"; targets = ( \"127.0.0.1:9\","
        " \"127.0.0.1:8\" ); blocklist = [ \"10.0.0.0/8\" ]; };\n"
        "listeners = ( { name = \"a\"; listen = \"127.0.0.1:1\"; backlog = 6; },\n"
        "{ name = \"b\"; listen = \"127.0.0.1:2\"; targets = \"127.0.0.1:7\"; } );\n");
    config_place_expect(place, ""); /* unix_mode has no effect here, which in `defaults` is no matter */
    const struct listener_settings *a = place->config.settings->listeners[0];
    const struct listener_settings *b = place->config.settings->listeners[1];
    assert_int_equal(a->connect_timeout, 77);
    assert_int_equal(a->backlog, 6);
    assert_int_equal(a->target_count, 2);
    assert_non_null(a->blocklist);
    assert_int_equal(b->connect_timeout, 77);
    assert_int_equal(b->backlog, 5);
    assert_int_equal(b->target_count, 1);
    assert_string_equal(b->targets[0].name, "127.0.0.1:7");
}

static void what_is_strange_is_a_warning(void **state)
{
    static const struct {
        const char *keys;
        const char *said;
    } rows[] = {
        { "unix_mode = \"0600\";", "unix_mode: has no effect" },
        { "allowlist = [];", "allowlist: is empty" },
        { "accept_proxy_protocol = [];", "accept_proxy_protocol: is empty" },
        { "accept_proxy_protocol = [ \"unix\" ];", "\"unix\" has no effect" },
        { "targets = ( { address = \"x:1\"; weight = 0; } );", "weight 0" },
        { "targets = ( { address = \"x:1\"; backup = true; } );", "every target is a backup" },
    };
    struct config_place *place = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *targets = strstr(rows[i].keys, "targets") != NULL ? "" : "targets = \"x:1\";";
        config_place_read(place, "listeners = (\n{ name = \"a\"; listen = \"127.0.0.1:1\"; %s %s } );\n",
                          targets, rows[i].keys);
        assert_non_null(place->config.settings);
        expect_said(place, "main.conf:2: warning: listener \"a\": ");
        expect_said(place, rows[i].said);
    }
}

/* Clients that a proxy brings through a unix socket have addresses, so lists make sense there. */
static void lists_go_with_proxies_of_unix_sockets(void **state)
{
    struct config_place *place = *state;
    config_place_read(place, "listeners = (\n" LISTENER("a", "\"unix:/x\"",
                                                        "blocklist = [ \"10.0.0.0/8\" ]; "
                                                        "accept_proxy_protocol = [ \"unix\" ];") " );\n");
    config_place_expect(place, "");
    assert_true(place->config.settings->listeners[0]->unix_peers_are_proxies);
    config_place_read(place, "listeners = (\n" LISTENER("a", "\"unix:/x\"",
                                                        "blocklist = [ \"10.0.0.0/8\" ]; "
                                                        "accept_proxy_protocol = [ \"10.0.0.1\" ];") " );\n");
    expect_said(place, "blocklist: has no effect");
    expect_said(place, "accept_proxy_protocol: addresses have no effect");
}

/* What -T prints is a configuration with the same meaning; dumping that one gives the same text, origins
 * apart. */
static void the_dump_can_be_read_again(void **state)
{
    struct config_place *place = *state;
    config_place_read(
        place, "log = { level = 0; output = \"/tmp/a \\\"b\\\" \\\\ \\x07.log\"; format = \"json\"; };\n"
               "pid_file = \"/run/x.pid\"; shutdown_timeout = -5; shutdown_delay = 3;\n"
               "listeners = ( { name = \"a\"; listen = [ \"127.0.0.1:1\", \"[::1]:1\", \"unix:/x\" ];\n"
               "targets = ( \"x:1\", { host = \"::1\"; port = 5; weight = 3; keep_alive = true; } );\n"
               "unix_mode = \"0600\"; balance = \"source\"; max_connections = 7;\n"
               "blocklist = [ \"10.0.0.0/8\", \"2001:db8::/32\" ]; client_keep_alive = false; } );\n");
    config_place_expect(place, "");
    char *first = config_place_dump(place);
    assert_non_null(strstr(first, "main.conf:1"));
    assert_non_null(strstr(first, "# default"));
    config_place_write_bytes(place, "main.conf", first, strlen(first));
    config_place_load(place, NULL);
    config_place_expect(place, "");
    const struct listener_settings *a = place->config.settings->listeners[0];
    assert_string_equal(place->config.settings->log.path, "/tmp/a \"b\" \\ \a.log");
    assert_int_equal(place->config.settings->log.level, LOG_LEVEL_NONE);
    assert_int_equal(place->config.settings->shutdown_timeout, -1);
    assert_int_equal(a->listen_count, 3);
    assert_int_equal(a->unix_socket.mode, 0600);
    assert_int_equal(a->balance, BALANCE_SOURCE);
    assert_int_equal(a->target_count, 2);
    assert_string_equal(a->targets[1].name, "[::1]:5");
    assert_int_equal(a->targets[1].weight, 3);
    assert_true(a->targets[1].keep_alive.enabled);
    assert_false(a->client_keep_alive.enabled);
    assert_int_equal(access_list_size(a->blocklist), 2);
    char *second = config_place_dump(place);
    const char *one = first;
    const char *two = second;
    while (*one != '\0' && *two != '\0') { /* line by line, without the comments */
        size_t a_length = strcspn(one, "#\n");
        size_t b_length = strcspn(two, "#\n");
        assert_int_equal(a_length, b_length);
        assert_memory_equal(one, two, a_length);
        one += strcspn(one, "\n") + 1;
        two += strcspn(two, "\n") + 1;
    }
    assert_int_equal(*one, *two);
    free(first);
    free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(one_listener_that_makes_no_sense),
        CONFIG_TEST(global_values_that_make_no_sense),
        CONFIG_TEST(names_and_addresses_are_unique),
        CONFIG_TEST(faults_of_list_files_have_their_own_lines),
        CONFIG_TEST(defaults_fill_the_gaps),
        CONFIG_TEST(what_is_strange_is_a_warning),
        CONFIG_TEST(lists_go_with_proxies_of_unix_sockets),
        CONFIG_TEST(the_dump_can_be_read_again),
        CONFIG_TEST(one_address_in_several_listeners),
        CONFIG_TEST(listener_is_no_target_of_its_own),
        CONFIG_TEST(admin_is_a_listener_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
