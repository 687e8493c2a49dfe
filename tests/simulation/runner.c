#include "simulation/runner.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RUN_SECONDS  60 /* one that takes longer hangs */
#define SANITIZED_BY 8  /* times slower */

/* For what runs when a run crashes. */
static volatile sig_atomic_t seed_high;
static volatile sig_atomic_t seed_low;

static void say_seed(void)
{
    char text[] = "\ncrashed or hung in seed 00000000000000000000\n";
    uint64_t seed = (uint64_t)(uint32_t)seed_high << 32 | (uint32_t)seed_low;
    for (size_t place = sizeof text - 3; text[place] == '0'; place--, seed /= 10)
        text[place] = (char)('0' + seed % 10);
    ssize_t ignored = write(STDOUT_FILENO, text, sizeof text - 1);
    (void)ignored;
}

static void on_signal(int number)
{
    say_seed();
    signal(number, SIG_DFL);
    raise(number);
}

/* The sanitizers call it when they have found something. */
void __asan_on_error(void);
void __asan_on_error(void)
{
    say_seed();
}

static void catch_crashes(void)
{
    signal(SIGABRT, on_signal);
    signal(SIGALRM, on_signal);
#ifndef __SANITIZE_ADDRESS__
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
#endif
}

static void run(const struct runner *runner, uint64_t seed, bool trace)
{
    seed_high = (sig_atomic_t)(seed >> 32);
    seed_low = (sig_atomic_t)(uint32_t)seed;
    alarm(RUN_SECONDS);
    runner->run(seed, trace);
    alarm(0);
}

static int finish(const struct runner *runner, unsigned long runs)
{
    if (runner->finish != NULL && !runner->finish(runs))
        return 1;
    printf("every promise was kept in %lu runs\n", runs);
    return 0;
}

static unsigned long default_runs(const struct runner *runner)
{
    const char *scale = getenv("TEST_SCALE");
    double runs = (double)runner->runs * (scale == NULL ? 1 : strtod(scale, NULL));
    if (getenv("TEST_SANITIZED") != NULL)
        runs /= SANITIZED_BY;
    return runs < 10 ? 10 : (unsigned long)runs;
}

static int run_for(const struct runner *runner, unsigned long seconds)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t first = (uint64_t)now.tv_sec * 1000000;
    time_t end = now.tv_sec + (time_t)seconds;
    printf("from seed %llu on\n", (unsigned long long)first);
    unsigned long runs = 0;
    for (; now.tv_sec < end; runs++) {
        run(runner, first + runs, false);
        clock_gettime(CLOCK_REALTIME, &now);
    }
    return finish(runner, runs);
}

int runner_main(int argc, char **argv, const struct runner *runner)
{
    static const struct option options[] = {
        { "runs", required_argument, NULL, 'r' },    { "first", required_argument, NULL, 'f' },
        { "seconds", required_argument, NULL, 's' }, { "seed", required_argument, NULL, 'o' },
        { "trace", no_argument, NULL, 't' },         { NULL, 0, NULL, 0 },
    };
    unsigned long runs = default_runs(runner);
    unsigned long seconds = 0;
    uint64_t first = 1;
    bool one = false;
    bool trace = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'r':
            runs = strtoul(optarg, NULL, 10);
            break;
        case 's':
            seconds = strtoul(optarg, NULL, 10);
            break;
        case 'f':
        case 'o':
            first = strtoull(optarg, NULL, 10);
            one |= option == 'o';
            break;
        case 't':
            trace = true;
            break;
        default:
            return 2;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    catch_crashes();
    if (seconds > 0)
        return run_for(runner, seconds);
    if (one) {
        run(runner, first, trace);
        printf("every promise was kept in seed %llu\n", (unsigned long long)first);
        return 0;
    }
    for (unsigned long i = 0; i < runs; i++)
        run(runner, first + i, false);
    return finish(runner, runs);
}
