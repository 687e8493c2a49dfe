/* Modules: what they are told in each mode, what they can do, and what is said when they can't be used. */
#include "harness/echo.h"
#include "harness/fixture.h"
#include "harness/modules.h"
#include "harness/peer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE "protocol = { type = \"line\"; error_reply = \"ERROR\\\\n\"; };"

/* The program with the recorder, or another module, for one listener before a target that the test plays. */
struct place_of_events {
    struct fixture *fixture;
    unsigned port;
    int listener; /* of the target */
    struct proximux *proximux;
};

static struct place_of_events start_recorder(struct fixture *fixture, const char *listener_keys,
                                             const char *module_keys)
{
    struct place_of_events place = { .fixture = fixture, .port = peer_free_port() };

    place.listener = peer_listen("127.0.0.1", 0, 16);
    place.proximux = proximux_start(fixture,
                                    "modules = ( { path = \"%s\"; output = \"%s/events\"; %s } );"
                                    "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\";"
                                    "targets = ( \"127.0.0.1:%u\" ); %s } );",
                                    module_path("tests/modules/recorder.so"), fixture->directory, module_keys,
                                    place.port, peer_port(place.listener), listener_keys);
    return place;
}

static void in_proxy_mode_messages_are_found_by_the_protocol(void **state)
{
    struct place_of_events place = start_recorder(*state, LINE, "");
    int client = peer_connect("127.0.0.1", place.port);
    int target = peer_accept(place.listener);

    peer_send_text(client, "on");
    peer_expect_text(target, "on");
    peer_send_text(client, "e\ntwo\nthree\n");
    peer_expect_text(target, "e\ntwo\nthree\n");
    peer_send_text(target, "ONE\nTWO is a longer");
    peer_expect_text(client, "ONE\nTWO is a longer");
    peer_send_text(target, " one\n");
    peer_expect_text(client, " one\n");
    close(client);
    peer_expect_closed(target);
    close(target);
    proximux_stop(place.proximux);
    module_expect_lines(place.fixture, "events",
                        "start low 3\nconnected main proxy line\n"
                        "request 1 |one|one~|4 0||right\n"
                        "request 2 |two|two~|4 0||right\n"
                        "request 3 |three|three~|6 0||right\n"
                        "response 1 |one|ONE~|4 4||right\n"
                        "response 2 |two|TWO is a|4 20||right\n"
                        "failed 3 |three||6 0|client_closed|right\n"
                        "closed client_closed 14 24 right\nstop\n");
    close(place.listener);
}

static void without_a_protocol_chunks_are_messages(void **state)
{
    struct place_of_events place = start_recorder(*state, "", "");
    int client = peer_connect("127.0.0.1", place.port);
    int target = peer_accept(place.listener);

    peer_send_text(client, "abc");
    peer_expect_text(target, "abc");
    peer_send_text(target, "x");
    peer_expect_text(client, "x");
    close(target);
    peer_expect_closed(client);
    close(client);
    proximux_stop(place.proximux);
    module_expect_lines(place.fixture, "events",
                        "start low 3\nconnected main proxy raw\n"
                        "request 1 |616263|abc|3 0||right\n"
                        "response 1 |616263|x|3 1||right\n"
                        "closed target_closed 3 1 right\nstop\n");
    close(place.listener);
}

/* The target's connection comes late: the request was read while its client waited. */
static void what_waits_for_a_connection_is_told_too(void **state)
{
    struct place_of_events place = start_recorder(*state, LINE "queue_timeout = 600;", "");
    close(place.listener);
    int client = peer_connect("127.0.0.1", place.port);

    peer_send_text(client, "one\n");
    peer_expect_closed(client);
    close(client);
    proximux_stop(place.proximux);
    module_expect_lines(place.fixture, "events",
                        "start low 3\nconnected main proxy line\n"
                        "request 1 |one|one~|4 0||right\n"
                        "failed 1 |one||4 0|queue_timeout|right\n"
                        "closed queue_timeout 4 0 right\nstop\n");
}

static void in_shared_modes_exchanges_are_told(void **state)
{
    static const char *const modes[] = { "fifo", "funnel" };
    for (size_t i = 0; i < 2; i++) {
        char keys[200], expected[600], events[FIXTURE_PATH];
        snprintf(keys, sizeof(keys), LINE "mode = \"%s\";", modes[i]);
        struct place_of_events place = start_recorder(*state, keys, "");
        int client = peer_connect("127.0.0.1", place.port);

        peer_send_text(client, "one\ntwo\n");
        int target = peer_accept(place.listener);
        peer_expect_text(target, "one\n");
        peer_send_text(target, "ONE\n");
        peer_expect_text(client, "ONE\n");
        peer_expect_text(target, "two\n");
        close(target); /* in the place of an answer */
        peer_expect_text(client, "ERROR\n");
        close(client);
        proximux_stop(place.proximux);
        snprintf(expected, sizeof(expected),
                 "start low 3\nconnected main %s line\n"
                 "request 1 |one|one~|4 0||right\n"
                 "request 2 |two|two~|4 0||right\n"
                 "response 1 |one|ONE~|4 4||right\n"
                 "failed 2 |two||4 6|target_closed|right\n"
                 "closed client_closed 8 10 right\nstop\n",
                 modes[i]);
        module_expect_lines(place.fixture, "events", expected);
        assert_int_equal(unlink(fixture_path(place.fixture, "events", events)), 0);
        close(place.listener);
    }
}

/* A client that goes with requests under way; one that goes within a request has not asked anything. */
static void clients_that_leave_end_their_exchanges(void **state)
{
    struct place_of_events place = start_recorder(*state, LINE "mode = \"fifo\";", "");
    int client = peer_connect("127.0.0.1", place.port);

    peer_send_text(client, "one\ntwo\nthr");
    int target = peer_accept(place.listener);
    peer_expect_text(target, "one\n");
    peer_reset(client);
    char *text = module_wait_lines(place.fixture, "events", 7);
    free(text);
    peer_send_text(target, "ONE\n"); /* thrown away, and told to nobody */
    proximux_stop(place.proximux);
    module_expect_lines(place.fixture, "events",
                        "start low 3\nconnected main fifo line\n"
                        "request 1 |one|one~|4 0||right\n"
                        "request 2 |two|two~|4 0||right\n"
                        "failed 1 |one||4 0|client_reset|right\n"
                        "failed 2 |two||4 0|client_reset|right\n"
                        "closed client_reset 11 0 right\nstop\n");
    close(target);
    close(place.listener);
}

/* A module that rejects everybody, for one listener; another listener's traffic runs beside it. */
static void a_module_that_rejects_everybody_touches_nobody_else(void **state)
{
    struct fixture *fixture = *state;
    unsigned denied = peer_free_port(), open = peer_free_port();
    size_t count = test_scaled(1000, 50);
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    int guard = peer_listen("127.0.0.1", 0, 16);
    struct proximux *proximux = proximux_start(
        fixture,
        "modules = ( { path = \"%s\"; output = \"%s/events\"; deny = true; listeners = \"denied\"; } );"
        "listeners = ( { name = \"denied\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); },"
        "{ name = \"open\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
        module_path("tests/modules/recorder.so"), fixture->directory, denied, peer_port(guard), open,
        echo_port(echo));
    int other = peer_connect("127.0.0.1", open);

    for (size_t i = 0; i < count; i++) {
        char text[32];
        int client = peer_connect("127.0.0.1", denied);
        snprintf(text, sizeof(text), "message %zu", i);
        peer_send_text(other, text);
        peer_expect_text(other, text);
        peer_expect_closed(client);
        close(client);
    }
    peer_expect_silence(guard, 0); /* the target has seen nobody */
    proximux_wait_log(proximux, "refused: module");
    close(other);
    proximux_stop(proximux);
    char *events = module_wait_lines(fixture, "events", count + 2);
    assert_non_null(strstr(events, "connected denied proxy raw denied\n"));
    assert_null(strstr(events, "open"));
    assert_null(strstr(events, "closed"));
    free(events);
    close(guard);
    echo_stop(echo);
}

/* Each group is an instance of its own, with settings and listeners of its own. */
static void instances_know_nothing_of_each_other(void **state)
{
    struct fixture *fixture = *state;
    unsigned first = peer_free_port(), second = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    const char *module = module_path("tests/modules/recorder.so");
    struct proximux *proximux = proximux_start(
        fixture,
        "modules = ( { path = \"%s\"; output = \"%s/a\"; level = \"high\"; listeners = [ \"first\" ]; },"
        "{ path = \"%s\"; output = \"%s/b\"; count = 7; listeners = [ \"first\", \"second\" ]; } );"
        "listeners = ( { name = \"first\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); },"
        "{ name = \"second\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
        module, fixture->directory, module, fixture->directory, first, echo_port(echo), second,
        echo_port(echo));
    unsigned ports[] = { first, second };

    for (size_t i = 0; i < 2; i++) {
        int client = peer_connect("127.0.0.1", ports[i]);
        peer_send_text(client, "x");
        peer_expect_text(client, "x");
        peer_end(client);
        peer_expect_end(client);
        close(client);
    }
    proximux_stop(proximux);
    module_expect_lines(fixture, "a",
                        "start high 3\nconnected first proxy raw\nrequest 1 |78|x|1 0||right\n"
                        "response 1 |78|x|1 1||right\nclosed client_closed 1 1 right\nstop\n");
    module_expect_lines(fixture, "b",
                        "start low 7\nconnected first proxy raw\nrequest 1 |78|x|1 0||right\n"
                        "response 1 |78|x|1 1||right\nclosed client_closed 1 1 right\n"
                        "connected second proxy raw\nrequest 1 |78|x|1 0||right\n"
                        "response 1 |78|x|1 1||right\nclosed client_closed 1 1 right\nstop\n");
    echo_stop(echo);
}

/* What -t says of a group in `modules`; "" if nothing is wrong. */
static void expect_test(struct fixture *fixture, const char *group, const char *expected, struct place place)
{
    char configuration[2000], output[4000];
    snprintf(configuration, sizeof(configuration),
             "log = { output = \"stderr\"; };\nmodules = ( { %s } );\n"
             "listeners = ( { name = \"main\"; listen = \"127.0.0.1:1\"; targets = ( \"127.0.0.1:2\" ); } );",
             group);
    int status =
        proximux_run(fixture,
                     &((struct proximux_options){ .configuration = configuration,
                                                  .arguments = (const char *const[]){ "-t", NULL } }),
                     output, sizeof(output));
    if ((status == 0) != (expected[0] == '\0') || strstr(output, expected) == NULL)
        test_fail_at(place, "status %d, expected to find: %s\nin: %s", status, expected, output);
}

#define EXPECT_TEST(fixture, expected, ...)                                                                  \
    do {                                                                                                     \
        char group[1600];                                                                                    \
        snprintf(group, sizeof(group), __VA_ARGS__);                                                         \
        expect_test((fixture), group, (expected), HERE);                                                     \
    } while (0)

static void what_is_wrong_with_a_module_is_said(void **state)
{
    struct fixture *fixture = *state;
    char path[600], other[FIXTURE_PATH];
    snprintf(path, sizeof(path), "path = \"%s\"; output = \"%s/out\";",
             module_path("tests/modules/recorder.so"), fixture->directory);
    fixture_write(fixture, "text.so", "not a module\n");
    fixture_path(fixture, "text.so", other);

    EXPECT_TEST(fixture, "", "%s", path);
    assert_int_equal(access(fixture_path(fixture, "out", other), F_OK), -1); /* it was not started */
    EXPECT_TEST(fixture, "modules: path: is required", "listeners = \"main\";");
    EXPECT_TEST(fixture, "No such file or directory", "path = \"/nowhere/at/all.so\";");
    EXPECT_TEST(fixture, "/proximux/nowhere.so: No such file", "path = \"nowhere.so\";");
    EXPECT_TEST(fixture, "neither an absolute path nor the name of a file in", "path = \"here/x.so\";");
    EXPECT_TEST(fixture, "it can't be loaded: ", "path = \"%s\";", fixture_path(fixture, "text.so", other));
    EXPECT_TEST(fixture, "built for version 2 of the interface of modules; this is version 1",
                "path = \"%s\";", module_path("tests/modules/wrong_version.so"));
    EXPECT_TEST(fixture, "wrong_name.so has no name", "path = \"%s\";",
                module_path("tests/modules/wrong_name.so"));
    EXPECT_TEST(fixture, "modules: which: its default \"c\" is none of its choices", "path = \"%s\";",
                module_path("tests/modules/wrong_default.so"));
    EXPECT_TEST(fixture, "", "path = \"%s\"; which = \"a\";", module_path("tests/modules/wrong_default.so"));
    EXPECT_TEST(fixture, "modules: output: is required by \"recorder\"", "path = \"%s\";",
                module_path("tests/modules/recorder.so"));
    EXPECT_TEST(fixture, "modules: denny: unknown key of \"recorder\"; did you mean \"deny\"?",
                "%s denny = true;", path);
    EXPECT_TEST(fixture, "did you mean \"listeners\"?", "%s listener = \"main\";", path);
    EXPECT_TEST(fixture, "modules: deny: true or false is wanted", "%s deny = 1;", path);
    EXPECT_TEST(fixture, "modules: count: 10 is out of range: an integer from 1 to 9 is wanted",
                "%s count = 10;", path);
    EXPECT_TEST(fixture, "modules: count: an integer is wanted", "%s count = [ 1 ];", path);
    EXPECT_TEST(
        fixture,
        "modules: level: \"hihg\" is unknown: one of \"low\", \"high\" is wanted; did you mean \"high\"?",
        "%s level = \"hihg\";", path);
    EXPECT_TEST(fixture, "modules: recorder: count does not go with deny", "%s deny = true; count = 4;",
                path);
    EXPECT_TEST(fixture, "modules: listeners: there is no listener \"mian\"; did you mean \"main\"?",
                "%s listeners = \"mian\";", path);
    EXPECT_TEST(fixture, "modules: a module is a group", "%s } , { path = 3; } , \"x\" , { %s", path, path);
}

/* By the name of its key, since modules have no other word for it. */
static void secrets_of_modules_are_not_shown(void **state)
{
    char configuration[1000], output[8000];
    snprintf(configuration, sizeof(configuration),
             "modules = ( { path = \"%s\"; output = \"/tmp/seen\"; access_token = \"xyzzy\"; } );\n"
             "listeners = ( { name = \"main\"; listen = \"127.0.0.1:1\"; targets = \"127.0.0.1:2\"; } );",
             module_path("tests/modules/recorder.so"));
    assert_int_equal(
        proximux_run(*state,
                     &((struct proximux_options){ .configuration = configuration,
                                                  .arguments = (const char *const[]){ "-T", NULL } }),
                     output, sizeof(output)),
        0);
    assert_non_null(strstr(output, "output = \"/tmp/seen\";"));
    assert_non_null(strstr(output, "access_token = \"(hidden)\";"));
    assert_null(strstr(output, "xyzzy"));
}

/* All errors at once: those of the modules beside the others. */
static void all_errors_are_told(void **state)
{
    char configuration[1000], output[4000];
    snprintf(configuration, sizeof(configuration),
             "modules = ( { path = \"/nowhere.so\"; }, { path = \"%s\"; } );\n"
             "listeners = ( { name = \"main\"; listen = \"127.0.0.1:1\"; } );",
             module_path("tests/modules/recorder.so"));
    assert_int_equal(
        proximux_run(*state,
                     &((struct proximux_options){ .configuration = configuration,
                                                  .arguments = (const char *const[]){ "-t", NULL } }),
                     output, sizeof(output)),
        1);
    assert_non_null(strstr(output, "/nowhere.so: No such file"));
    assert_non_null(strstr(output, "output: is required"));
    assert_non_null(strstr(output, "targets"));
}

/* As root the program loads nothing that others could have written. */
static void what_others_may_write_is_refused_to_root(void **state)
{
    struct fixture *fixture = *state;
    char copy[FIXTURE_PATH], command[800];
    if (geteuid() != 0)
        skip();
    fixture_path(fixture, "copy.so", copy);
    snprintf(command, sizeof(command), "cp %s %s", module_path("tests/modules/recorder.so"), copy);
    assert_int_equal(system(command), 0);
    assert_int_equal(chmod(copy, 0755), 0);
    EXPECT_TEST(fixture, "", "path = \"%s\"; output = \"/tmp/x\";", copy);
    assert_int_equal(chmod(copy, 0775), 0);
    EXPECT_TEST(fixture, "is refused: others than root may write to it",
                "path = \"%s\"; output = \"/tmp/x\";", copy);
    assert_int_equal(chmod(copy, 0755), 0);
    assert_int_equal(chown(copy, 1, 0), 0);
    EXPECT_TEST(fixture, "is refused: others than root may write to it",
                "path = \"%s\"; output = \"/tmp/x\";", copy);
    assert_int_equal(chown(copy, 0, 0), 0);
    assert_int_equal(chmod(fixture->directory, 0777), 0);
    EXPECT_TEST(fixture, "is refused: others than root may write to its folder",
                "path = \"%s\"; output = \"/tmp/x\";", copy);
    assert_int_equal(chmod(fixture->directory, 01777), 0); /* there it could not be replaced */
    EXPECT_TEST(fixture, "", "path = \"%s\"; output = \"/tmp/x\";", copy);
    assert_int_equal(chmod(fixture->directory, 0700), 0);
}

/* Who may write above the folder can put another folder in its place; and a link leads elsewhere. */
static void what_others_may_replace_is_refused_to_root(void **state)
{
    struct fixture *fixture = *state;
    char folder[FIXTURE_PATH], copy[FIXTURE_PATH], link[FIXTURE_PATH], command[1200];
    if (geteuid() != 0)
        skip();
    fixture_path(fixture, "above", folder);
    fixture_path(fixture, "above/folder/copy.so", copy);
    fixture_path(fixture, "link.so", link);
    snprintf(command, sizeof(command), "mkdir -p -m 755 %s/folder && install -m 755 %s %s", folder,
             module_path("tests/modules/recorder.so"), copy);
    assert_int_equal(system(command), 0);
    assert_int_equal(symlink(copy, link), 0);
    EXPECT_TEST(fixture, "", "path = \"%s\"; output = \"/tmp/x\";", link);
    assert_int_equal(lchown(link, 1, 0), 0);
    EXPECT_TEST(fixture, "is refused: others than root may write to its folder, or to one above it",
                "path = \"%s\"; output = \"/tmp/x\";", link);
    assert_int_equal(lchown(link, 0, 0), 0);
    assert_int_equal(chown(folder, 1, 0), 0);
    EXPECT_TEST(fixture, "is refused: others than root may write to its folder, or to one above it",
                "path = \"%s\"; output = \"/tmp/x\";", copy);
    EXPECT_TEST(fixture, "is refused: others than root may write to its folder, or to one above it",
                "path = \"%s\"; output = \"/tmp/x\";", link);
}

/* A module that can't start stops the program, before it has accepted anybody; those before it are stopped.
 */
static void a_failing_start_is_an_error(void **state)
{
    static const char *const rows[][2] = {
        { "the stars are wrong", "recorder.so: the stars are wrong" },
        { "", "recorder.so: it refuses, and does not say why" },
    };
    struct fixture *fixture = *state;
    char configuration[2000], output[4000], path[FIXTURE_PATH];
    const char *module = module_path("tests/modules/recorder.so");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(
            configuration, sizeof(configuration),
            "modules = ( { path = \"%s\"; output = \"%s/first\"; },"
            "{ path = \"%s\"; output = \"%s/second\"; fail = \"%s\"; } );"
            "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:2\" ); } );",
            module, fixture->directory, module, fixture->directory, rows[i][0], peer_free_port());
        assert_int_equal(proximux_run(fixture, &((struct proximux_options){ .configuration = configuration }),
                                      output, sizeof(output)),
                         1);
        assert_non_null(strstr(output, rows[i][1]));
        module_expect_lines(fixture, "first", "start low 3\nstop\n");
        assert_int_equal(unlink(fixture_path(fixture, "first", path)), 0);
    }
}

/* The configuration of the test below; `keys` are the module's. */
static void write_configuration(char *text, size_t size, const struct fixture *fixture, const unsigned *ports,
                                unsigned target, const char *output, const char *keys)
{
    snprintf(
        text, size,
        "modules = ( { path = \"%s\"; output = \"%s/%s\"; %s } );"
        "listeners = ( { name = \"piped\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); " LINE
        " },"
        "{ name = \"shared\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; targets = ( \"127.0.0.1:%u\" "
        "); " LINE " } );",
        module_path("tests/modules/recorder.so"), fixture->directory, output, keys, ports[0], target,
        ports[1], target);
}

static void exchange(int client, const char *text)
{
    peer_send_text(client, text);
    peer_expect_text(client, text);
}

/* A reload that changes something about modules makes new instances; clients stay with those that they began
 * with. One that does not, or is refused for whatever reason, leaves them as they are. */
static void a_reload_makes_new_instances(void **state)
{
    struct fixture *fixture = *state;
    const unsigned ports[] = { peer_free_port(), peer_free_port() };
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    char text[3000];
    int before[2], after[2];
    write_configuration(text, sizeof(text), fixture, ports, echo_port(echo), "a", "level = \"high\";");
    struct proximux *proximux = proximux_start(fixture, "%s", text);
    const char *name = strrchr(proximux->configuration, '/') + 1;
    for (size_t i = 0; i < 2; i++) {
        before[i] = peer_connect("127.0.0.1", ports[i]);
        exchange(before[i], "one\n");
    }
    proximux_signal(proximux, SIGHUP); /* nothing has changed */
    proximux_wait_log(proximux, "reloaded: ");
    static const char *const wrong[] = { "level = \"middle\";", "fail = \"not today\";" };
    for (size_t i = 0; i < 2; i++) {
        write_configuration(text, sizeof(text), fixture, ports, echo_port(echo), "x", wrong[i]);
        fixture_write(fixture, name, text);
        proximux_signal(proximux, SIGHUP);
        proximux_wait_log_times(proximux, "nothing was changed", i + 1);
    }
    assert_int_equal(proximux_log_count(proximux, "recorder.so: not today"), 1);
    exchange(before[1], "two\n");
    write_configuration(text, sizeof(text), fixture, ports, echo_port(echo), "b", "count = 8;");
    fixture_write(fixture, name, text);
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log_times(proximux, "reloaded: ", 2);
    proximux_wait_log(proximux, "reload: changed: modules");
    for (size_t i = 0; i < 2; i++) {
        after[i] = peer_connect("127.0.0.1", ports[i]);
        exchange(after[i], "new\n");
        exchange(before[i], "old\n");
        peer_end(before[i]);
        peer_expect_end(before[i]);
        close(before[i]);
    }
    module_expect_lines(fixture, "a",
                        "start high 3\nconnected piped proxy line\nrequest 1 |one|one~|4 0||right\n"
                        "response 1 |one|one~|4 4||right\nconnected shared fifo line\n"
                        "request 1 |one|one~|4 0||right\nresponse 1 |one|one~|4 4||right\n"
                        "request 2 |two|two~|4 0||right\nresponse 2 |two|two~|4 4||right\n"
                        "request 2 |old|old~|4 0||right\nresponse 2 |old|old~|4 4||right\n"
                        "closed client_closed 8 8 right\n"
                        "request 3 |old|old~|4 0||right\nresponse 3 |old|old~|4 4||right\n"
                        "closed client_closed 12 12 right\nstop\n");
    /* without modules the clients that are there have nothing more to tell, and close as they should */
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"shared\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\";"
             "targets = ( \"127.0.0.1:%u\" ); " LINE " } );",
             ports[1], echo_port(echo));
    fixture_write(fixture, name, text);
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log_times(proximux, "reloaded: ", 3);
    exchange(after[1], "silent\n");
    for (size_t i = 0; i < 2; i++)
        close(after[i]);
    char *lines = module_wait_lines(fixture, "b", 10);
    assert_non_null(strstr(lines, "start low 8\n"));
    assert_null(strstr(lines, "silent"));
    assert_non_null(strstr(lines, "\nstop\n"));
    free(lines);
    proximux_stop(proximux);
    echo_stop(echo);
}

static void the_log_of_requests_needs_no_module(void **state)
{
    struct fixture *fixture = *state;
    unsigned piped = peer_free_port(), shared = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    struct proximux *proximux =
        proximux_start(fixture,
                       "defaults = { request_log = true; targets = ( \"127.0.0.1:%u\" ); " LINE " };"
                       "listeners = ( { name = \"piped\"; listen = \"127.0.0.1:%u\"; },"
                       "{ name = \"shared\"; listen = \"127.0.0.1:%u\"; mode = \"funnel\"; } );",
                       echo_port(echo), piped, shared);
    unsigned ports[] = { piped, shared };
    char expected[200];

    for (size_t i = 0; i < 2; i++) {
        int client = peer_connect("127.0.0.1", ports[i]);
        peer_send_text(client, "what\x1b?\n");
        peer_expect_text(client, "what\x1b?\n");
        close(client);
        snprintf(expected, sizeof(expected),
                 "%s: request 1 of client %zu from 127.0.0.1:", i == 0 ? "piped" : "shared", i + 1);
        proximux_wait_log(proximux, expected);
        snprintf(expected, sizeof(expected), " to 127.0.0.1:%u: answered, 7 bytes, answer 7 bytes, waited ",
                 echo_port(echo));
        proximux_wait_log_times(proximux, expected, i + 1);
        proximux_wait_log_times(proximux, " ms: what\\x1b?", i + 1);
    }
    proximux_stop(proximux);
    echo_stop(echo);
}

/* A body is no part of the request line, however long it is. */
static void a_request_line_is_not_cut_by_its_body(void **state)
{
    enum { BODY = 30000 };
    struct fixture *fixture = *state;
    unsigned port = peer_free_port();
    int listener = peer_listen("127.0.0.1", 0, 16);
    char head[200], body[BODY + 1];
    struct proximux *proximux = proximux_start(
        fixture,
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; protocol = \"http\";"
        "request_log = true; targets = ( \"127.0.0.1:%u\" ); } );",
        port, peer_port(listener));
    int client = peer_connect("127.0.0.1", port);
    snprintf(head, sizeof(head), "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY);
    memset(body, 'x', BODY);
    body[BODY] = '\0';

    peer_send_text(client, head);
    peer_send_text(client, body);
    int target = peer_accept(listener);
    peer_expect_text(target, head);
    peer_receive(target, body, BODY);
    peer_send_text(target, "HTTP/1.1 204 No Content\r\n\r\n");
    peer_expect_text(client, "HTTP/1.1 204 No Content\r\n\r\n");
    proximux_wait_log(proximux, " ms: POST /up HTTP/1.1");
    assert_int_equal(proximux_log_count(proximux, "HTTP/1.1..."), 0);
    close(client);
    close(target);
    proximux_stop(proximux);
    close(listener);
}

static void the_example_denies_by_the_hour(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *keys;
        bool lets_in;
    } rows[] = { { "from = 0; to = 24;", false }, { "from = 0; to = 0;", true } };
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);

    for (size_t i = 0; i < 2; i++) {
        unsigned port = peer_free_port();
        struct proximux *proximux =
            proximux_start(fixture,
                           "modules = ( { path = \"%s\"; %s } );"
                           "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( "
                           "\"127.0.0.1:%u\" ); } );",
                           module_path("examples/deny-at-night.so"), rows[i].keys, port, echo_port(echo));
        int client = peer_connect("127.0.0.1", port);
        if (rows[i].lets_in) {
            peer_send_text(client, "day");
            peer_expect_text(client, "day");
        } else {
            peer_expect_closed(client);
            proximux_wait_log(proximux, "refused: module");
        }
        close(client);
        proximux_stop(proximux);
    }
    echo_stop(echo);
}

static void the_example_logs_response_times(void **state)
{
    unsigned port = peer_free_port();
    int listener = peer_listen("127.0.0.1", 0, 16);
    struct proximux *proximux =
        proximux_start(*state,
                       "modules = ( { path = \"%s\"; } );"
                       "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; protocol = \"line\"; "
                       "targets = ( \"127.0.0.1:%u\" ); } );",
                       module_path("examples/response-time.so"), port, peer_port(listener));
    int client = peer_connect("127.0.0.1", port);
    int target = peer_accept(listener);

    peer_send_text(client, "how are you\n");
    peer_expect_text(target, "how are you\n");
    peer_expect_silence(client, 30); /* it thinks */
    assert_int_equal(proximux_log_count(proximux, ": how are you"), 0);
    peer_send_text(target, "well\n");
    peer_expect_text(client, "well\n");
    proximux_wait_log(proximux, " ms for 127.0.0.1:");
    proximux_wait_log(proximux, ": how are you");
    assert_int_equal(proximux_log_count(proximux, "main: 0."), 0); /* no less than it thought */
    close(client);
    close(target);
    proximux_stop(proximux);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(in_proxy_mode_messages_are_found_by_the_protocol),
        fixture_test(without_a_protocol_chunks_are_messages),
        fixture_test(what_waits_for_a_connection_is_told_too),
        fixture_test(in_shared_modes_exchanges_are_told),
        fixture_test(clients_that_leave_end_their_exchanges),
        fixture_test(a_module_that_rejects_everybody_touches_nobody_else),
        fixture_test(instances_know_nothing_of_each_other),
        fixture_test(what_is_wrong_with_a_module_is_said),
        fixture_test(secrets_of_modules_are_not_shown),
        fixture_test(all_errors_are_told),
        fixture_test(what_others_may_write_is_refused_to_root),
        fixture_test(what_others_may_replace_is_refused_to_root),
        fixture_test(a_failing_start_is_an_error),
        fixture_test(a_reload_makes_new_instances),
        fixture_test(the_log_of_requests_needs_no_module),
        fixture_test(a_request_line_is_not_cut_by_its_body),
        fixture_test(the_example_denies_by_the_hour),
        fixture_test(the_example_logs_response_times),
    };
    return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
