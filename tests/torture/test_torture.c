/* Every call that can fail is made to fail in turn: while the program starts, serves, reloads and drains. It
 * must not crash or lose anything, no client may be stuck or be told anything wrong, and the log has to say
 * what happened. TORTURE_ALL in the environment has all of them fail (make torture), else it is a sample. */
#include "walk.h"

#include "harness/peer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Keys that make the program give up and try again soon, so that each try finds it at rest. */
#define SOON "retry_min = 10; retry_max = 40; "

#define ERROR_REPLY "protocol = { type = \"line\"; error_reply = \"ERROR\\\\n\"; }; "

static void add_listener(struct torture *torture, enum guest_language language)
{
    size_t count = 0;

    while (torture->ports[count] != 0)
        count++;
    torture->ports[count] = peer_free_port();
    torture->languages[count] = language;
}

/* One listener of a mode, alone. */
static void configure_one(struct torture *torture, const char *mode, enum guest_language language,
                          const char *keys)
{
    char text[1024];

    add_listener(torture, language);
    snprintf(text, sizeof(text),
             "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; "
             "targets = ( { address = \"localhost:%u\"; %s } ); " SOON "%s } );",
             torture->ports[0], mode, echo_port(torture->target),
             strcmp(mode, "funnel") == 0 ? "connections = 3;" : "", keys);
    fixture_write(torture->fixture, "proximux.conf", text);
}

static void prepare_proxy(struct torture *torture)
{
    configure_one(torture, "proxy", GUEST_RAW, "");
}

static void prepare_fifo(struct torture *torture)
{
    configure_one(torture, "fifo", GUEST_REDIS, "protocol = \"redis\"; inactivity_timeout = 20;");
}

static void prepare_funnel(struct torture *torture)
{
    configure_one(torture, "funnel", GUEST_LINE, ERROR_REPLY "inactivity_timeout = 20;");
}

/* Clients of all kinds at the same time. */
static void act_traffic(struct torture *torture)
{
    unsigned port = torture->ports[0];
    enum guest_language language = torture->languages[0];
    struct guest guests[] = {
        { .language = language, .port = port, .requests = 3, .size = 40 },
        { .language = language, .port = port, .requests = 1, .size = 300000 },
        { .language = language, .port = port, .requests = 5, .size = 60, .half_close = true },
        { .language = language, .port = port, .requests = 1, .size = 3000, .pauses = true },
        { .language = language, .port = port, .requests = 2, .size = 5000, .vanishes = true },
    };

    torture_serve(torture, guests, sizeof(guests) / sizeof(guests[0]));
}

static const struct scenario proxy_traffic = {
    .name = "traffic in proxy",
    .failures = 60,
    .prepare = prepare_proxy,
    .act = act_traffic,
};

static const struct scenario fifo_traffic = {
    .name = "traffic in fifo",
    .failures = 60,
    .prepare = prepare_fifo,
    .act = act_traffic,
};

static const struct scenario funnel_traffic = {
    .name = "traffic in funnel",
    .failures = 60,
    .prepare = prepare_funnel,
    .act = act_traffic,
};

static void test_proxy(void **state)
{
    torture_walk(*state, &proxy_traffic);
}

static void test_fifo(void **state)
{
    torture_walk(*state, &fifo_traffic);
}

static void test_funnel(void **state)
{
    torture_walk(*state, &funnel_traffic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_proxy),
        fixture_test(test_fifo),
        fixture_test(test_funnel),
    };
    const char *only = getenv("TORTURE_TEST");

    if (only != NULL)
        cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
