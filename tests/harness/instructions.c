#include "harness/instructions.h"

#include "harness/echo.h"
#include "harness/peer.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FEW  200
#define MANY 2200

#define LINE "SELECT something FROM somewhere\n"

void instructions_skip_unless_counted(void)
{
    char valgrind[256];
    if (test_figures_count() && process_find_command("valgrind", NULL, valgrind, sizeof(valgrind)))
        return;
    print_message("valgrind is not installed, or the figures would mean nothing here\n");
    skip();
}

/* The sum that callgrind has written for the process that the fixture started. */
static long long read_total(const struct fixture *fixture)
{
    static char text[4 * 1024 * 1024];
    char pattern[FIXTURE_PATH];
    glob_t found;
    fixture_path(fixture, "callgrind.*", pattern);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    assert_true(process_read_file(found.gl_pathv[0], text, sizeof(text)) > 0);
    assert_int_equal(unlink(found.gl_pathv[0]), 0);
    globfree(&found);
    const char *totals = strstr(text, "\ntotals: ");
    test_require(totals != NULL, "callgrind has written no sum");
    return atoll(totals + strlen("\ntotals: "));
}

static long long count_run(struct fixture *fixture, const char *global, const char *keys,
                           const char *listeners, int exchanges)
{
    char wrapper[300], *text;
    unsigned port = peer_free_port();
    struct echo *echo = echo_start("127.0.0.1", 0, NULL);
    /* In the loop only: at the start, the writer of the log makes for chance. */
    snprintf(wrapper, sizeof(wrapper),
             "valgrind -q --tool=callgrind --toggle-collect=ev_run --callgrind-out-file=%s/callgrind.%%p",
             fixture->directory);
    setenv("TEST_WRAPPER", wrapper, 1);
    assert_true(asprintf(&text,
                         "%s listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; protocol = \"line\";"
                         "targets = ( \"127.0.0.1:%u\" ); %s } %s );",
                         global, port, echo_port(echo), keys, listeners == NULL ? "" : listeners) > 0);
    struct proximux *proximux =
        proximux_start_with(fixture, &(struct proximux_options){ .configuration = text });
    free(text);
    int client = peer_connect("127.0.0.1", port);
    for (int i = 0; i < exchanges; i++) {
        peer_send_text(client, LINE);
        peer_expect_text(client, LINE);
    }
    close(client);
    proximux_wait_log(proximux,
                      "ended: client_closed"); /* draining costs more, or less, while clients are there */
    proximux_stop(proximux);
    unsetenv("TEST_WRAPPER");
    echo_stop(echo);
    return read_total(fixture);
}

long long instructions_count(struct fixture *fixture, const char *global, const char *keys,
                             const char *listeners)
{
    long long few = count_run(fixture, global, keys, listeners, FEW);
    return (count_run(fixture, global, keys, listeners, MANY) - few) / (MANY - FEW);
}
