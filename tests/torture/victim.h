/* The program under test with the shim inside of it. */
#ifndef TORTURE_VICTIM_H
#define TORTURE_VICTIM_H

#include "control.h"
#include "harness/fixture.h"

#define VICTIM_LOG_SIZE ((size_t)1 << 20)

/* Owned by the test, its file by the fixture. */
struct victim {
    struct fixture *fixture;
    struct torture_control *control;
    char control_file[FIXTURE_PATH];
    char configuration[FIXTURE_PATH];
    char log[FIXTURE_PATH];
    pid_t process; /* 0: it does not run */
    int status;    /* once it has ended, as process_wait() gives it */
    size_t read;   /* bytes of the log that were looked at */
};

/* Makes the file that is shared. */
#define victim_prepare(victim, fixture) victim_prepare_at((victim), (fixture), HERE)
void victim_prepare_at(struct victim *victim, struct fixture *fixture, struct place place);

/* Starts the program with the configuration that was written; an armed call can fail from the beginning. Does
 * not wait. */
#define victim_start(victim, sees_debug) victim_start_at((victim), (sees_debug), HERE)
void victim_start_at(struct victim *victim, bool sees_debug, struct place place);

/* Waits until it takes connections on this port of 127.0.0.1, or has ended: false. */
bool victim_wait_port(struct victim *victim, unsigned port, int64_t milliseconds);

/* Whether it still runs. */
bool victim_runs(struct victim *victim);

/* Sends it a signal, if it still runs. */
void victim_signal(struct victim *victim, int number);

/* Waits for its end. False: it still runs, and is killed. */
bool victim_wait_end(struct victim *victim, int64_t milliseconds);

/* Makes the calls of this kind from one number to another, counted from now, fail. */
void victim_arm(struct victim *victim, int call, long from, long until, int error);
void victim_disarm(struct victim *victim);
void victim_clear_counts(struct victim *victim);

/* What the log has got since the last call; valid until the next one. */
const char *victim_news(struct victim *victim);

#endif
