/* Every call that can fail is made to fail in turn: while the program starts, serves, reloads and drains. It
 * must not crash or lose anything, no client may be stuck or be told anything wrong, and the log has to say
 * what happened. TORTURE_ALL in the environment has all of them fail (make torture), else it is a sample. */
#include "walk.h"

#include "harness/modules.h"
#include "harness/peer.h"
#include "harness/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Keys that make the program give up and try again soon, so that each try finds it at rest. */
#define SOON "retry_min = 10; retry_max = 40; down_timeout = 3000; "

#define ERROR_REPLY "protocol = { type = \"line\"; error_reply = \"ERROR\\\\n\"; }; "

#define PATIENCE 8000

/* Enough for a reload whose end is not to be seen. */
#define UNTOLD_PATIENCE 500

static void add_port(struct torture *torture, enum guest_language language)
{
    size_t count = 0;

    while (torture->ports[count] != 0)
        count++;
    torture->ports[count] = peer_free_port();
    torture->languages[count] = language;
}

/* ---- Traffic ---- */

/* One listener of a mode, alone. */
static void configure_one(struct torture *torture, const char *mode, enum guest_language language,
                          const char *keys)
{
    char text[1024];

    add_port(torture, language);
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

/* ---- Admin ---- */

static void prepare_admin(struct torture *torture)
{
    char text[1024];

    add_port(torture, GUEST_WEB);
    add_port(torture, GUEST_RAW);
    snprintf(
        text, sizeof(text),
        "admin: { listen = \"127.0.0.1:%u\"; }; "
        "listeners = ( { name = \"main\"; listen = \"127.0.0.1:%u\"; targets = ( \"127.0.0.1:%u\" ); } );",
        torture->ports[0], torture->ports[1], echo_port(torture->target));
    fixture_write(torture->fixture, "proximux.conf", text);
}

static void act_admin(struct torture *torture)
{
    static const char *const paths[] = { "/", "/metrics", "/status.json", "/config" };
    struct guest guests[sizeof(paths) / sizeof(paths[0])];
    size_t count = sizeof(paths) / sizeof(paths[0]);

    for (size_t i = 0; i < count; i++)
        guests[i] = (struct guest){
            .language = GUEST_WEB, .port = torture->ports[0], .requests = 1, .path = paths[i]
        };
    torture_serve(torture, guests, count);
}

static const struct scenario admin = {
    .name = "admin",
    .failures = 40,
    .is_silent = true,
    .prepare = prepare_admin,
    .act = act_admin,
};

/* ---- Start, and drain ---- */

/* A bit of everything. */
static void prepare_all(struct torture *torture)
{
    char text[4096], log[FIXTURE_PATH], list[FIXTURE_PATH], queries[FIXTURE_PATH], place[FIXTURE_PATH];
    unsigned target = echo_port(torture->target);

    add_port(torture, GUEST_WEB);
    add_port(torture, GUEST_RAW);
    add_port(torture, GUEST_REDIS);
    fixture_write(torture->fixture, "block.list",
                  "192.0.2.0/24 # nobody\n2001:db8::/32\n198.51.100.1-198.51.100.9\n");
    snprintf(
        text, sizeof(text),
        "log: { level = \"debug\"; output = \"%s\"; }; pid_file = \"%s.pid\"; shutdown_timeout = 1500; "
        "admin: { listen = \"127.0.0.1:%u\"; }; "
        "modules = ( { path = \"%s\"; output = \"%s\"; } ); "
        "listeners = ( "
        "{ name = \"pairs\"; listen = \"127.0.0.1:%u\"; targets = ( \"localhost:%u\", \"127.0.0.1:%u\" ); "
        "blocklist = [ \"203.0.113.7\", \"file:%s\" ]; " SOON "}, "
        "{ name = \"shared\"; listen = [ \"127.0.0.1:%u\", \"unix:%s\" ]; mode = \"fifo\"; "
        "protocol = \"redis\"; warmup = true; targets = ( \"localhost:%u\" ); " SOON "} );",
        fixture_path(torture->fixture, "output", log), fixture_path(torture->fixture, "process", place),
        torture->ports[0], module_path("modules/querylog.so"),
        fixture_path(torture->fixture, "queries", queries), torture->ports[1], target, target,
        fixture_path(torture->fixture, "block.list", list), torture->ports[2],
        fixture_path(torture->fixture, "shared.sock", (char[FIXTURE_PATH]){ 0 }), target);
    fixture_write(torture->fixture, "proximux.conf", text);
}

/* It starts all the same, or says why it can't. */
static void act_start(struct torture *torture)
{
    struct victim *victim = &torture->victim;

    victim_start(victim, false);
    bool is_ready = torture_wait_ready(torture) && torture_prime(torture);
    victim_disarm(victim);
    if (is_ready)
        torture_serve_fresh(torture);
    else if (victim_runs(victim))
        torture_problem(torture, "the start hangs");
    if (victim_runs(victim))
        torture_stop(torture);
    else if (victim->status != 1 || !torture_has_failed(torture))
        torture_problem(torture, "the program ended with status %d", victim->status);
    else if (torture->call != TORTURE_write && strstr(torture_news(torture), "error") == NULL)
        torture_problem(torture, "the program did not start, and does not say why");
    else
        torture_judge_leftover(torture);
}

static const struct scenario start = {
    .name = "start",
    .failures = 100,
    .starts_anew = true,
    .prepare = prepare_all,
    .act = act_start,
};

/* Clients in the middle of something. */
static void act_drain(struct torture *torture)
{
    struct victim *victim = &torture->victim;
    static const char half[] = "*2\r\n$3\r\nGET\r\n$5\r\nab", rest[] = "cde\r\n";
    int pair, shared, waiting;

    victim_start(victim, false);
    if (!torture_wait_ready(torture)) {
        torture_problem(torture, "the program does not start: status %d", victim->status);
        return;
    }
    torture_serve_fresh(torture);
    pair = peer_connect("127.0.0.1", torture->ports[1]);
    shared = peer_connect("127.0.0.1", torture->ports[2]);
    waiting = peer_connect("127.0.0.1", torture->ports[2]);
    peer_send_text(pair, "to be");
    peer_expect_text(pair, "to be");
    peer_send_text(shared, half);
    torture_arm(torture);
    victim_signal(victim, SIGTERM);
    send(pair, " or not", 7, MSG_NOSIGNAL);
    send(shared, rest, strlen(rest), MSG_NOSIGNAL);
    peer_end(pair);
    peer_end(shared);
    peer_readable(waiting, PATIENCE); /* it is told to go, and has to */
    close(waiting);
    if (!victim_wait_end(victim, PATIENCE))
        torture_problem(torture, "the program did not end");
    else if (victim->status != 0)
        torture_judge_end(torture);
    else
        torture_judge_leftover(torture);
    close(pair);
    close(shared);
}

static const struct scenario drain = {
    .name = "drain",
    .failures = 40,
    .starts_anew = true,
    .arms_itself = true,
    .prepare = prepare_all,
    .act = act_drain,
};

/* ---- Reload ---- */

/* Two configurations, in turn: another target, another address, a list, a module and a mode change. */
static void write_variant(struct torture *torture)
{
    static unsigned ports[2];
    char text[4096], list[FIXTURE_PATH], queries[FIXTURE_PATH];
    unsigned target = echo_port(torture->target);
    bool odd = torture->turn % 2 != 0;

    if (ports[0] == 0) {
        ports[0] = peer_free_port();
        ports[1] = peer_free_port();
    }
    fixture_write(torture->fixture, "block.list", odd ? "192.0.2.0/24\n" : "192.0.2.0/25\n2001:db8::/32\n");
    snprintf(text, sizeof(text),
             "modules = ( { path = \"%s\"; output = \"%s\"; slow = %d; } ); shutdown_timeout = 1500; "
             "listeners = ( "
             "{ name = \"pairs\"; listen = \"127.0.0.1:%u\"; targets = ( \"%s:%u\" ); max_connections = %d; "
             "blocklist = [ \"file:%s\" ]; " SOON "}, "
             "{ name = \"shared\"; listen = [ \"127.0.0.1:%u\", \"127.0.0.1:%u\" ]; mode = \"fifo\"; "
             "protocol = \"redis\"; targets = ( \"%s:%u\" ); inactivity_timeout = %d; " SOON "}, "
             "{ name = \"changing\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; " ERROR_REPLY
             "targets = ( \"localhost:%u\" ); inactivity_timeout = 20; " SOON "} );",
             module_path("modules/querylog.so"), fixture_path(torture->fixture, "queries", queries),
             odd ? 5 : 50, torture->ports[0], odd ? "localhost" : "127.0.0.1", target, odd ? 1000 : 2000,
             fixture_path(torture->fixture, "block.list", list), torture->ports[1], ports[odd],
             odd ? "127.0.0.1" : "localhost", target, odd ? 20 : 25, torture->ports[2],
             odd ? "fifo" : "funnel", target);
    fixture_write(torture->fixture, "proximux.conf", text);
}

static void prepare_reload(struct torture *torture)
{
    add_port(torture, GUEST_RAW);
    add_port(torture, GUEST_REDIS);
    add_port(torture, GUEST_LINE);
    write_variant(torture);
}

/* Waits for the outcome, which may be what could not be written. False: it was refused, or the program has
 * ended. */
static bool reload(struct torture *torture)
{
    bool is_told = torture->call != TORTURE_write;
    int64_t deadline = test_deadline(is_told ? PATIENCE : UNTOLD_PATIENCE);

    victim_signal(&torture->victim, SIGHUP);
    while (victim_runs(&torture->victim) && test_now() < deadline) {
        const char *news = torture_news(torture);

        if (strstr(news, "reloaded: ") != NULL)
            return true;
        if (strstr(news, "reload refused: ") != NULL)
            return false;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    if (is_told && victim_runs(&torture->victim))
        torture_problem(torture, "the reload does not end");
    return !is_told;
}

/* The rest of a request that began before the reload: it is answered, or the connection closed. */
static void finish_request(struct torture *torture, int client, const char *rest, const char *answer)
{
    int64_t deadline = test_deadline(PATIENCE);
    char got[64];
    size_t length = 0;
    ssize_t count = 1;

    send(client, rest, strlen(rest), MSG_NOSIGNAL);
    while (count > 0 && length < strlen(answer) && peer_readable(client, test_remaining(deadline))) {
        count = recv(client, got + length, sizeof(got) - length, MSG_DONTWAIT);
        length += count > 0 ? (size_t)count : 0;
    }
    if (count > 0 && length < strlen(answer) && victim_runs(&torture->victim))
        torture_problem(torture, "a client that was there before the reload is stuck");
    else if (memcmp(got, answer, length < strlen(answer) ? length : strlen(answer)) != 0 &&
             strncmp(got, "ERROR", 5) != 0 && strncmp(got, "-ERR", 4) != 0)
        torture_problem(torture, "a client that was there before the reload got something else");
    close(client);
}

static void act_reload(struct torture *torture)
{
    static const char *const halves[] = { "to ", "*2\r\n$3\r\nGET\r\n$5\r\nab", "a li" };
    static const char *const rests[] = { "be", "cde\r\n", "ne\n" };
    static const char *const answers[] = { "to be", "*2\r\n$3\r\nGET\r\n$5\r\nabcde\r\n", "a line\n" };
    int clients[3];

    write_variant(torture);
    for (size_t i = 0; i < 3; i++) {
        clients[i] = peer_try_connect(NULL, "127.0.0.1", torture->ports[i]);
        send(clients[i], halves[i], strlen(halves[i]), MSG_NOSIGNAL);
    }
    bool done = reload(torture);
    if (torture->call == TORTURE_open) /* each look-up without the file of hosts takes seconds */
        victim_disarm(&torture->victim);
    for (size_t i = 0; i < 3; i++)
        finish_request(torture, clients[i], rests[i], answers[i]);
    victim_disarm(&torture->victim);
    if (done || !victim_runs(&torture->victim))
        return;
    if (strstr(torture_news(torture), " error ") == NULL)
        torture_problem(torture, "the log does not say why the reload was refused");
    free(torture->news);
    torture->news = NULL;
    if (!reload(torture) && victim_runs(&torture->victim))
        torture_problem(torture, "a reload after one that has failed is refused too");
}

static const struct scenario reloading = {
    .name = "reload",
    .failures = 60,
    .prepare = prepare_reload,
    .act = act_reload,
};

/* ---- Upgrade ---- */

/* The process that has taken over; 0: it has failed, and that was said, or can't be waited for. -1: neither.
 */
static pid_t wait_for_heir(struct torture *torture)
{
    static const char taken[] = " has taken over";
    /* A process that can't be listened to is given up after half a minute, which is too long to wait for. */
    bool is_told = torture->call != TORTURE_epoll_ctl;
    int64_t deadline = test_deadline(is_told ? PATIENCE : UNTOLD_PATIENCE);

    while (test_now() < deadline) {
        const char *news = torture_news(torture);
        const char *found = strstr(news, taken);

        while (found != NULL && found > news && found[-1] >= '0' && found[-1] <= '9')
            found--;
        if (found != NULL)
            return (pid_t)strtol(found, NULL, 10);
        if (strstr(news, "upgrade failed: ") != NULL || !victim_runs(&torture->victim))
            return 0;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    return is_told ? -1 : 0;
}

/* The one that has ended had started another, which may be there still. */
static void end_orphan(struct torture *torture)
{
    static const char begun[] = "upgrade: process ";
    const char *found = strstr(torture_news(torture), begun);
    pid_t orphan = found != NULL ? (pid_t)strtol(found + strlen(begun), NULL, 10) : 0;
    int status;

    if (orphan <= 1)
        return;
    kill(orphan, SIGKILL);
    process_wait(orphan, PATIENCE, &status);
}

/* Another process takes over, or this one goes on. The calls of both count. */
static void act_upgrade(struct torture *torture)
{
    struct victim *victim = &torture->victim;
    pid_t heir;

    if (torture->call == TORTURE_write) { /* nobody could tell which process goes on */
        atomic_store(&victim->control->failed, 0);
        return;
    }
    victim_start(victim, false);
    if (!torture_wait_ready(torture) || !torture_prime(torture)) {
        torture_problem(torture, "the program does not start: status %d", victim->status);
        return;
    }
    torture_arm(torture);
    victim_signal(victim, SIGUSR2);
    heir = wait_for_heir(torture);
    victim_disarm(victim);
    if (heir == -1)
        torture_problem(torture, "the upgrade does not end");
    if (heir <= 0 && !victim_runs(victim)) {
        torture_judge_end(torture);
        end_orphan(torture);
        return;
    }
    if (heir > 0) {
        if (!victim_wait_end(victim, PATIENCE) || victim->status != 0)
            torture_problem(torture, "the process before ended with status %d", victim->status);
        victim->process = heir; /* ours, for we are the reaper of orphans */
    }
    torture_serve_fresh(torture);
    torture_stop(torture);
    if (heir <= 0)
        end_orphan(torture);
}

static const struct scenario upgrade = {
    .name = "upgrade",
    .failures = 30,
    .starts_anew = true,
    .arms_itself = true,
    .is_shared = true,
    .prepare = prepare_all,
    .act = act_upgrade,
};

/* ---- The tests ---- */

static void test_upgrade(void **state)
{
    torture_walk(*state, &upgrade);
}

static void test_start(void **state)
{
    torture_walk(*state, &start);
}

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

static void test_admin(void **state)
{
    torture_walk(*state, &admin);
}

static void test_reload(void **state)
{
    torture_walk(*state, &reloading);
}

static void test_drain(void **state)
{
    torture_walk(*state, &drain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(test_start),  fixture_test(test_proxy),   fixture_test(test_fifo),
        fixture_test(test_funnel), fixture_test(test_admin),   fixture_test(test_reload),
        fixture_test(test_drain),  fixture_test(test_upgrade),
    };
    const char *only = getenv("TORTURE_TEST");

    if (getenv("TEST_WRAPPER") != NULL) {
        puts("skipped: the calls of the wrapper would fail too");
        return SERVER_SKIPPED;
    }
    if (only != NULL)
        cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
