#include "walk.h"

#include "harness/peer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Longer than a name is looked up for, if the files that would tell can't be read. */
#define STUCK_MILLISECONDS 8000
#define START_MILLISECONDS 5000
#define PROBLEMS_SHOWN     20

/* How long the line that tells of the start is waited for, which may be what fails. */
#define STARTED_MILLISECONDS 500

#define ENDING_MILLISECONDS 2000
#define CRASH_MILLISECONDS  20
#define REST_MILLISECONDS   50

/* How many calls fail in a row where it is not one alone: a shortage that is over before anybody's patience.
 */
#define LASTING_CALLS 8

/* The log tells of a shortage once in so long, and no more. */
#define SHORTAGE_MILLISECONDS 3000

static const char *const call_names[] = {
#define NAME(name, ...) #name,
    TORTURE_CALLS(NAME)
#undef NAME
};

static const int call_errors[][TORTURE_ERRORS] = {
#define ERRORS(name, ...) { __VA_ARGS__ },
    TORTURE_CALLS(ERRORS)
#undef ERRORS
};

/* One failure to be tried. */
struct point {
    int call;
    long number;
    int error;
    bool lasts; /* some more calls of this kind fail too */
};

/* ---- What is said ---- */

const char *torture_news(struct torture *torture)
{
    const char *more = victim_news(&torture->victim);
    size_t had = torture->news != NULL ? strlen(torture->news) : 0;
    char *grown = realloc(torture->news, had + strlen(more) + 1);

    if (grown == NULL)
        abort();
    strcpy(grown + had, more);
    torture->news = grown;
    return grown;
}

static void forget_news(struct torture *torture)
{
    victim_news(&torture->victim);
    free(torture->news);
    torture->news = NULL;
}

/* Lines, because the runner's own buffer is small. */
static void print_lines(const char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");

        print_error("    | %.*s\n", (int)length, text);
        text += length + (text[length] == '\n');
    }
}

void torture_problem(struct torture *torture, const char *format, ...)
{
    const struct torture_control *control = torture->victim.control;
    char text[512];
    va_list arguments;

    torture->problems++;
    if (torture->problems > PROBLEMS_SHOWN)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    print_error("%s: %s\n", torture->scenario->name, text);
    if (torture->call == TORTURE_NONE) {
        print_error("  no call was made to fail\n");
    } else {
        print_error("  %s %ld of %s failed: %s; %ld did in all\n", torture->lasts ? "from" : "call",
                    torture->number, call_names[torture->call], strerror(torture->error),
                    atomic_load(&control->failed));
        for (size_t i = 0; atomic_load(&control->failed) > 0 && i < TORTURE_PLACES; i++)
            if (control->places[i][0] != '\0')
                print_error("  from %s\n", control->places[i]);
    }
    print_lines(torture_news(torture));
}

/* ---- The failure in hand ---- */

void torture_arm(struct torture *torture)
{
    if (torture->scenario->arms_itself)
        victim_clear_counts(&torture->victim);
    if (torture->call != TORTURE_NONE)
        victim_arm(&torture->victim, torture->call, torture->number,
                   torture->number + (torture->lasts ? LASTING_CALLS - 1 : 0), torture->error);
}

bool torture_has_failed(const struct torture *torture)
{
    return torture->call != TORTURE_NONE && atomic_load(&torture->victim.control->failed) > 0;
}

/* Whether this run tries all there is. */
static bool tries_all(void)
{
    return getenv("TORTURE_ALL") != NULL;
}

/* Whether users would look for the cause in the log. */
static bool is_shortage(int error)
{
    return error == ENOMEM || error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOSPC;
}

static bool says_trouble(const char *news)
{
    return strstr(news, " error ") != NULL || strstr(news, " warning ") != NULL;
}

/* A guest was not served: why must be in the log, and for all to see if something was short. That is said
 * once in a while only; then the end of the client or request itself says it. */
static bool is_explained(struct torture *torture)
{
    int64_t deadline = test_deadline(SHORTAGE_MILLISECONDS);
    bool is_strict = tries_all() && !torture->scenario->is_silent; /* which takes time */

    if (torture->call == TORTURE_write) /* the log's own */
        return true;
    if (torture->scenario->is_silent &&
        torture->call != TORTURE_memory) /* a library's affair, it says nothing */
        return true;
    do {
        const char *news = torture_news(torture);
        bool is_fresh = test_now() - torture->trouble_said < test_stretched(SHORTAGE_MILLISECONDS);

        if (says_trouble(news)) {
            torture->trouble_said = test_now();
            return true;
        }
        if (is_shortage(torture->error) ? is_fresh && (!is_strict || strstr(news, ": internal") != NULL)
                                        : torture->scenario->is_silent || strstr(news, " ended: ") != NULL)
            return true;
        test_pause();
    } while (victim_runs(&torture->victim) && test_now() < deadline);
    return false;
}

void torture_judge_end(struct torture *torture)
{
    const char *news = torture_news(torture);

    if (torture->victim.status == 1 && torture_has_failed(torture) && strstr(news, " error ") != NULL &&
        strstr(news, "event loop") != NULL)
        return;
    torture_problem(torture, "the program ended with status %d", torture->victim.status);
}

/* Whether the program is ending: it has said so, or crashed, which takes it a moment. */
static bool is_ending(struct torture *torture)
{
    bool has_said_so = strstr(torture_news(torture), "event loop can't go on") != NULL;
    int64_t deadline = test_deadline(has_said_so ? ENDING_MILLISECONDS : CRASH_MILLISECONDS);

    while (victim_runs(&torture->victim) && test_now() < deadline)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    return !victim_runs(&torture->victim);
}

void torture_serve(struct torture *torture, struct guest *guests, size_t count)
{
    size_t unserved = 0;

    guests_run(guests, count, STUCK_MILLISECONDS);
    if (!victim_runs(&torture->victim))
        return;
    for (size_t i = 0; i < count; i++) {
        enum guest_end end = guests[i].end;

        if (end == GUEST_STUCK || end == GUEST_WRONG)
            torture_problem(torture, "guest %zu is %s", i, guest_end_name(end));
        else if (end != GUEST_SERVED)
            unserved++;
    }
    if (unserved > 0 && is_ending(torture)) /* which is judged elsewhere */
        return;
    if (unserved > 0 && !torture_has_failed(torture))
        torture_problem(torture, "%zu guests were not served, and nothing failed", unserved);
    else if (unserved > 0 && !is_explained(torture))
        torture_problem(torture, "%zu guests were not served, and the log does not say why", unserved);
}

/* Returns how many there are. */
static size_t serve_fresh(const struct torture *torture, struct guest *fresh)
{
    size_t count = 0;

    for (; count < GUESTS_MAX && torture->ports[count] != 0; count++)
        fresh[count] = (struct guest){ .port = torture->ports[count],
                                       .language = torture->languages[count],
                                       .requests = torture->languages[count] == GUEST_WEB ? 1 : 2,
                                       .path = "/metrics",
                                       .size = 100 };
    guests_run(fresh, count, STUCK_MILLISECONDS);
    return count;
}

void torture_serve_fresh(struct torture *torture)
{
    struct guest fresh[GUESTS_MAX];
    size_t count = serve_fresh(torture, fresh);
    bool all = true;

    for (size_t i = 0; i < count; i++)
        all = all && fresh[i].end == GUEST_SERVED;
    if (!all && is_ending(torture)) /* which is judged elsewhere */
        return;
    for (size_t i = 0; i < count; i++)
        if (fresh[i].end != GUEST_SERVED)
            torture_problem(torture, "a fresh client of listener %zu is %s", i, guest_end_name(fresh[i].end));
}

/* The program is at rest: nothing is held that it did not hold before. */
static void settle(struct torture *torture)
{
    int64_t deadline = test_deadline(STUCK_MILLISECONDS);
    long held;

    for (;;) {
        held = process_descriptors(torture->victim.process);
        if (echo_open(torture->target) == 0 && (torture->descriptors == 0 || held == torture->descriptors))
            return;
        if (test_now() >= deadline || !victim_runs(&torture->victim))
            break;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    if (victim_runs(&torture->victim))
        torture_problem(torture, "at rest: %ld descriptors instead of %ld, %zu target connections", held,
                        torture->descriptors, echo_open(torture->target));
    torture->descriptors = 0; /* the next one is not to blame */
}

/* ---- The program's beginning and end ---- */

bool torture_wait_ready(struct torture *torture)
{
    for (size_t i = 0; torture->ports[i] != 0; i++)
        if (!victim_wait_port(&torture->victim, torture->ports[i], START_MILLISECONDS))
            return false;
    return true;
}

bool torture_prime(struct torture *torture)
{
    int64_t deadline = test_deadline(STARTED_MILLISECONDS);
    struct guest fresh[GUESTS_MAX];

    while (victim_runs(&torture->victim) && strstr(torture_news(torture), " started, process ") == NULL &&
           test_now() < deadline)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    if (victim_runs(&torture->victim))
        serve_fresh(torture, fresh);
    return victim_runs(&torture->victim);
}

void torture_judge_leftover(struct torture *torture)
{
    const struct torture_control *control = torture->victim.control;
    long living = atomic_load(&control->living);

    if (!atomic_load(&control->has_returned)) /* it was not to be tidied up */
        return;
    /* A sanitizer takes care of that, and confuses the shim's account. */
    if (torture->scenario->is_shared || getenv("TEST_SANITIZED") != NULL)
        return;
    if (torture->call == TORTURE_NONE && (torture->leftover == -1 || living > torture->leftover))
        torture->leftover = living;
    if (living > torture->leftover && torture->leftover != -1)
        torture_problem(torture, "%ld allocations are left at the end, %ld without failures", living,
                        torture->leftover);
}

void torture_stop(struct torture *torture)
{
    if (!victim_runs(&torture->victim))
        return;
    victim_signal(&torture->victim, SIGTERM);
    if (!victim_wait_end(&torture->victim, STUCK_MILLISECONDS))
        torture_problem(torture, "the program did not end");
    else if (torture->victim.status != 0)
        torture_problem(torture, "the program ended with status %d", torture->victim.status);
    else
        torture_judge_leftover(torture);
}

/* ---- Programs that run on ---- */

/* How many the program has at rest: the number at which they stay. */
static long count_descriptors(struct torture *torture)
{
    long held = process_descriptors(torture->victim.process);
    int64_t since = test_now();

    while (test_now() - since < test_stretched(REST_MILLISECONDS) && victim_runs(&torture->victim)) {
        long now = process_descriptors(torture->victim.process);

        if (now != held)
            since = test_now();
        held = now;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    return held;
}

static bool start_running(struct torture *torture)
{
    torture->call = TORTURE_NONE;
    torture->descriptors = 0;
    victim_disarm(&torture->victim);
    victim_start(&torture->victim, true);
    if (!torture_wait_ready(torture)) {
        torture_problem(torture, "the program does not start: status %d", torture->victim.status);
        return false;
    }
    torture_serve_fresh(torture);
    torture_serve_fresh(torture);
    settle(torture);
    torture->descriptors = count_descriptors(torture);
    return true;
}

static void stop_running(struct torture *torture)
{
    torture->call = TORTURE_NONE;
    forget_news(torture);
    torture_stop(torture);
}

static void go_through(struct torture *torture)
{
    torture->turn++;
    forget_news(torture);
    if (!torture->scenario->arms_itself)
        torture_arm(torture);
    torture->scenario->act(torture);
    victim_disarm(&torture->victim);
}

static void try_running(struct torture *torture)
{
    go_through(torture);
    if (!victim_runs(&torture->victim)) {
        torture_judge_end(torture);
        start_running(torture);
        return;
    }
    torture_serve_fresh(torture);
    settle(torture);
    if (!victim_runs(&torture->victim)) {
        torture_judge_end(torture);
        start_running(torture);
    } else if (torture->descriptors == 0) {
        stop_running(torture);
        start_running(torture);
    }
}

/* ---- Programs of their own ---- */

static void try_anew(struct torture *torture)
{
    if (victim_runs(&torture->victim))
        victim_wait_end(&torture->victim, 0);
    go_through(torture);
    if (victim_runs(&torture->victim)) {
        torture_problem(torture, "the program still runs");
        victim_wait_end(&torture->victim, 0);
    }
}

/* ---- The walk ---- */

static void count_calls(struct torture *torture, long *counts)
{
    const struct scenario *scenario = torture->scenario;

    torture->call = TORTURE_NONE;
    if (scenario->starts_anew)
        try_anew(torture); /* what is cached once for all is cached then */
    victim_clear_counts(&torture->victim);
    if (scenario->starts_anew) {
        try_anew(torture);
    } else {
        go_through(torture);
        settle(torture);
    }
    for (int call = 0; call < TORTURE_COUNT; call++)
        counts[call] = atomic_load(&torture->victim.control->counts[call]);
}

static size_t count_errors(int call)
{
    size_t count = 0;

    while (count < TORTURE_ERRORS && call_errors[call][count] != 0)
        count++;
    return count;
}

/* Gives each kind of call one more try, as long as there are any left; returns what is left of the budget. */
static size_t share_evenly(const long *counts, size_t budget, int first, int last, size_t *shares)
{
    bool any = true;

    while (any && budget > 0) {
        any = false;
        for (int call = first; call <= last && budget > 0; call++) {
            if (shares[call] >= (size_t)counts[call] * count_errors(call))
                continue;
            shares[call]++;
            budget--;
            any = true;
        }
    }
    return budget;
}

/* How many failures of each kind are tried: half of them are of memory, which is asked for in many more
 * places than anything else. */
static void share_out(const long *counts, size_t budget, size_t *shares)
{
    size_t left = budget / 2;

    memset(shares, 0, TORTURE_COUNT * sizeof(*shares));
    left = share_evenly(counts, budget - left, TORTURE_memory + 1, TORTURE_COUNT - 1, shares) + left;
    share_evenly(counts, left, TORTURE_memory, TORTURE_memory, shares);
}

static struct point choose_point(int call, long count, size_t share, size_t index)
{
    size_t errors = count_errors(call);
    size_t total = (size_t)count * errors;
    /* spread over all pairs of number and error */
    size_t pair = share < total ? index * total / share : index;

    return (struct point){ .call = call,
                           .number = 1 + (long)(pair / errors),
                           .error = call_errors[call][(pair + (share < total ? index : 0)) % errors],
                           .lasts = (pair / errors + index) % 4 == 3 };
}

/* What can go on for a while; other errors come once for each connection. */
static bool can_last(struct point point)
{
    return is_shortage(point.error);
}

static void try_point(struct torture *torture, struct point point)
{
    torture->call = point.call;
    torture->number = point.number;
    torture->error = point.error;
    torture->lasts = point.lasts;
    if (torture->scenario->starts_anew)
        try_anew(torture);
    else
        try_running(torture);
}

/* Goes through what one kind of call can do. Returns how many have failed. */
static size_t walk_call(struct torture *torture, int call, long count, size_t share)
{
    size_t happened = 0;

    for (size_t i = 0; i < share; i++) {
        struct point point = choose_point(call, count, share, i);
        long living = atomic_load(&torture->victim.control->living);

        for (int pass = 0; pass < (tries_all() && can_last(point) ? 2 : 1); pass++) {
            if (tries_all() || !can_last(point))
                point.lasts = pass == 1;
            try_point(torture, point);
            happened += atomic_load(&torture->victim.control->failed) > 0;
            if (getenv("TORTURE_VERBOSE") != NULL)
                print_message("%s %s %ld %s%s: living %+ld\n", torture->scenario->name, call_names[call],
                              point.number, strerror(point.error), point.lasts ? " lasting" : "",
                              atomic_load(&torture->victim.control->living) - living);
        }
    }
    return happened;
}

/* What is left when the program ends, and nothing has failed: after an odd and an even number of turns, as a
 * scenario may go to and fro. */
static void measure_leftover(struct torture *torture)
{
    for (int turns = 1; turns <= 2; turns++) {
        if (!start_running(torture))
            return;
        for (int i = 0; i < turns; i++)
            go_through(torture);
        torture_serve_fresh(torture);
        stop_running(torture);
    }
}

static void begin(struct torture *torture, struct fixture *fixture, const struct scenario *scenario)
{
    *torture =
        (struct torture){ .fixture = fixture, .scenario = scenario, .call = TORTURE_NONE, .leftover = -1 };
    victim_prepare(&torture->victim, fixture);
    torture->target = echo_start("127.0.0.1", 0, NULL);
    scenario->prepare(torture);
}

static void walk_all(struct torture *torture)
{
    const struct scenario *scenario = torture->scenario;
    size_t budget = tries_all() ? SIZE_MAX / 2 : test_scaled(scenario->failures, 10);
    size_t shares[TORTURE_COUNT], tried = 0;
    long counts[TORTURE_COUNT];
    const char *only = getenv("TORTURE_ONLY");

    count_calls(torture, counts);
    share_out(counts, budget, shares);
    for (int call = 0; call < TORTURE_COUNT; call++) {
        size_t happened;

        if (shares[call] == 0 || (only != NULL && strcmp(only, call_names[call]) != 0))
            continue;
        happened = walk_call(torture, call, counts[call], shares[call]);
        print_message("    %s, %s: %ld calls, %zu tries failed\n", scenario->name, call_names[call],
                      counts[call], happened);
        tried += happened;
    }
    print_message("%zu failures in the scenario \"%s\"\n", tried, scenario->name);
}

void torture_walk(struct fixture *fixture, const struct scenario *scenario)
{
    struct torture torture;

    begin(&torture, fixture, scenario);
    if (!scenario->starts_anew) {
        measure_leftover(&torture);
        start_running(&torture);
    }
    walk_all(&torture);
    if (!scenario->starts_anew)
        stop_running(&torture);
    echo_stop(torture.target);
    free(torture.news);
    if (torture.problems > 0)
        test_fail_at(HERE, "%zu problems in the scenario \"%s\"", torture.problems, scenario->name);
}
