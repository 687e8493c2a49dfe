/* Start and reload with a thousand listeners that have ten targets each: the loop serves others meanwhile, so
 * what it does itself is counted, by the processor's time that its thread took. */
#include "harness/fixture.h"
#include "harness/peer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTENERS 1000
#define TARGETS   10

/* Most that the whole program may take for a start, and its loop for a reload, milliseconds of the processor:
 * some times what they take. */
#define START_LIMIT         2500
#define CHANGE_ALL_LIMIT    250
#define CHANGE_NUMBER_LIMIT 50

/* The configuration: the targets have ports from `first_port` on; `keys` are those of one listener. */
static char *configuration(unsigned port, unsigned first_port, const char *keys)
{
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    assert_non_null(stream);
    fputs("log = { level = \"info\"; };\nlisteners = (\n", stream);
    for (unsigned i = 0; i < LISTENERS; i++) {
        fprintf(stream, "%s{ name = \"l%u\"; listen = \"127.1.%u.%u:%u\"; mode = \"funnel\";%s\n",
                i == 0 ? "" : ", ", i, i / 200, i % 200 + 1, port, i == LISTENERS / 2 ? keys : "");
        fputs("  protocol = \"line\"; targets = ( ", stream);
        for (unsigned k = 0; k < TARGETS; k++)
            fprintf(stream, "%s\"127.2.%u.%u:%u\"", k == 0 ? "" : ", ", i / 200, i % 200 + 1, first_port + k);
        fputs(" ); }\n", stream);
    }
    fputs(");\n", stream);
    assert_int_equal(fclose(stream), 0);
    return text;
}

/* Reloads with this text (freed), and returns what that cost the loop. */
static long reload(struct proximux *proximux, char *text)
{
    size_t before = proximux_log_count(proximux, "reloaded: ");
    long cost = process_loop_milliseconds(proximux->process);

    fixture_write(proximux->fixture, strrchr(proximux->configuration, '/') + 1, text);
    free(text);
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log_times(proximux, "reloaded: ", before + 1);
    proximux_wait_notification(proximux, "STATUS=running");
    cost = process_loop_milliseconds(proximux->process) - cost;
    print_message("a reload cost the loop %ld ms\n", cost);
    return cost;
}

static void many_targets_do_not_delay_others(void **state)
{
    unsigned port = peer_free_port();
    char *text = configuration(port, 10000, "");
    const struct proximux_options options = { .configuration = text, .own_log_level = true };
    struct proximux *proximux = proximux_start_with(*state, &options);
    long cost = process_processor_milliseconds(proximux->process);

    free(text);
    print_message("the start cost %ld ms\n", cost);
    assert_in_range(cost, 0, test_stretched(START_LIMIT));
    assert_in_range(reload(proximux, configuration(port, 11000, "")), 0, test_stretched(CHANGE_ALL_LIMIT));
    assert_in_range(reload(proximux, configuration(port, 11000, "queue_timeout = 29000;")), 0,
                    test_stretched(CHANGE_NUMBER_LIMIT));
    proximux_stop(proximux);
}

/* Milliseconds of the first line of the log that has this text. */
static long time_of(const struct proximux *proximux, const char *text)
{
    static char log[1024 * 1024];
    int hours, minutes, seconds, milliseconds;

    process_read_file(proximux->log, log, sizeof(log));
    char *line = strstr(log, text);
    assert_non_null(line);
    while (line > log && line[-1] != '\n')
        line--;
    assert_int_equal(sscanf(line, "%*[^T]T%d:%d:%d.%d", &hours, &minutes, &seconds, &milliseconds), 4);
    return ((hours * 60L + minutes) * 60 + seconds) * 1000 + milliseconds;
}

/* Each socket that closes waits a moment for the ends of handshakes, but the loop does not. */
static void many_sockets_close_at_once(void **state)
{
    char *text = configuration(peer_free_port(), 10000, "");
    const struct proximux_options options = { .configuration = text, .own_log_level = true };
    struct proximux *proximux = proximux_start_with(*state, &options);

    free(text);
    assert_true(asprintf(&text,
                         "listeners = ( { name = \"new\"; listen = \"127.0.0.1:%u\"; "
                         "targets = ( \"127.0.0.1:9\" ); } );",
                         peer_free_port()) != -1);
    fixture_write(proximux->fixture, strrchr(proximux->configuration, '/') + 1, text);
    free(text);
    proximux_signal(proximux, SIGHUP);
    proximux_wait_log(proximux, "reloaded: ");
    assert_in_range(time_of(proximux, "reloaded: ") - time_of(proximux, "reload: removed"), 0,
                    test_stretched(LISTENERS));
    proximux_wait_log_times(proximux, "not listening on ", LISTENERS);
    proximux_stop(proximux);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(many_targets_do_not_delay_others),
        fixture_test(many_sockets_close_at_once),
    };

    return cmocka_run_group_tests_name("reload_many", tests, NULL, NULL);
}
