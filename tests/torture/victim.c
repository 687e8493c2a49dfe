#include "victim.h"

#include "harness/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* The shim comes before the sanitizer, whose functions it calls; and memory that is not there is no fault of
 * the program's. */
static void adapt_sanitizer(void)
{
    static const char own[] = "verify_asan_link_order=0:allocator_may_return_null=1";
    const char *options = getenv("ASAN_OPTIONS");
    char text[512];

    if (options == NULL || strstr(options, own) != NULL)
        return;
    snprintf(text, sizeof(text), "%s:%s", options, own);
    setenv("ASAN_OPTIONS", text, 1);
}

void victim_prepare_at(struct victim *victim, struct fixture *fixture, struct place place)
{
    int file;

    *victim = (struct victim){ .fixture = fixture };
    adapt_sanitizer();
    fixture_path(fixture, "control", victim->control_file);
    fixture_path(fixture, "proximux.conf", victim->configuration);
    fixture_path(fixture, "output", victim->log);
    file = open(victim->control_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file == -1 || ftruncate(file, sizeof(*victim->control)) == -1)
        test_fail_at(place, "%s: %s", victim->control_file, strerror(errno));
    victim->control = mmap(NULL, sizeof(*victim->control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (victim->control == MAP_FAILED)
        test_fail_at(place, "mmap: %s", strerror(errno));
    victim_disarm(victim);
}

void victim_start_at(struct victim *victim, bool sees_debug, struct place place)
{
    const char *binary = getenv("PROXIMUX");
    const char *modules = getenv("TEST_MODULES");
    char preload[256], control[FIXTURE_PATH + 32];
    const char *const arguments[] = { binary != NULL ? binary : "./proximux",
                                      "-c",
                                      victim->configuration,
                                      sees_debug ? "-l" : NULL,
                                      "debug",
                                      NULL };
    const char *const environment[] = { preload, control, NULL };
    struct process_options process = { .arguments = arguments,
                                       .environment = environment,
                                       .output = victim->log };

    snprintf(preload, sizeof(preload), "LD_PRELOAD=%s/tests/torture/shim.so",
             modules != NULL ? modules : ".");
    snprintf(control, sizeof(control), "%s=%s", TORTURE_VARIABLE, victim->control_file);
    if (truncate(victim->log, 0) == -1 && errno != ENOENT)
        test_fail_at(place, "%s: %s", victim->log, strerror(errno));
    victim->read = 0;
    victim->status = 0;
    atomic_store(&victim->control->living, 0);
    atomic_store(&victim->control->has_returned, 0);
    victim->process = process_start(&process);
    if (victim->process == -1)
        test_fail_at(place, "could not start %s", arguments[0]);
}

bool victim_runs(struct victim *victim)
{
    if (victim->process > 0 && process_wait(victim->process, 0, &victim->status))
        victim->process = 0;
    return victim->process > 0;
}

void victim_signal(struct victim *victim, int number)
{
    if (victim_runs(victim))
        kill(victim->process, number);
}

bool victim_wait_port(struct victim *victim, unsigned port, int64_t milliseconds)
{
    int64_t deadline = test_deadline(milliseconds);

    while (victim_runs(victim) && test_now() < deadline) {
        int probe = peer_try_connect(NULL, "127.0.0.1", port);

        if (probe != -1) {
            close(probe);
            return true;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    return false;
}

bool victim_wait_end(struct victim *victim, int64_t milliseconds)
{
    if (victim->process <= 0)
        return true;
    if (process_wait(victim->process, milliseconds, &victim->status)) {
        victim->process = 0;
        return true;
    }
    kill(victim->process, SIGKILL);
    process_wait(victim->process, TEST_PATIENCE, &victim->status);
    victim->process = 0;
    return false;
}

void victim_arm(struct victim *victim, int call, long from, long until, int error)
{
    struct torture_control *control = victim->control;

    victim_disarm(victim);
    atomic_store(&control->from, from);
    atomic_store(&control->until, until);
    atomic_store(&control->error, error);
    atomic_store(&control->reached, 0);
    atomic_store(&control->failed, 0);
    atomic_store(&control->armed, call);
}

void victim_disarm(struct victim *victim)
{
    atomic_store(&victim->control->armed, TORTURE_NONE);
}

void victim_clear_counts(struct victim *victim)
{
    for (int call = 0; call < TORTURE_COUNT; call++)
        atomic_store(&victim->control->counts[call], 0);
}

const char *victim_news(struct victim *victim)
{
    static char text[VICTIM_LOG_SIZE + 1];
    int file = open(victim->log, O_RDONLY | O_CLOEXEC);
    ssize_t length = file != -1 ? pread(file, text, VICTIM_LOG_SIZE, (off_t)victim->read) : 0;

    if (file != -1)
        close(file);
    text[length > 0 ? length : 0] = '\0';
    victim->read += length > 0 ? (size_t)length : 0;
    return text;
}
