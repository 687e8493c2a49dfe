/* One scenario: what the program is asked to do while each of its calls fails in turn, and how all that is
 * walked through. */
#ifndef TORTURE_WALK_H
#define TORTURE_WALK_H

#include "guests.h"
#include "harness/echo.h"
#include "victim.h"

/* What surrounds a scenario: the program, its target, and the ports of its listeners. Owned by the test. */
struct torture {
    struct fixture *fixture;
    struct victim victim;
    struct echo *target;
    unsigned ports[GUESTS_MAX]; /* of what a fresh client is served by; 0 at the end */
    enum guest_language languages[GUESTS_MAX];
    const struct scenario *scenario;
    long descriptors; /* of the program at rest */
    size_t turn;      /* how often the scenario was gone through */
    /* the failure in hand */
    int call; /* TORTURE_NONE: none */
    long number;
    int error;
    bool lasts;
    char *news;           /* what the log has got since the failure began */
    int64_t trouble_said; /* when the log had an error last, for all to see */
    long leftover;        /* allocations at the end of a program that nothing failed in; -1: not known */
    size_t problems;
};

struct scenario {
    const char *name;
    size_t failures; /* how many a run of usual size tries */

    /* Each failure meets a program of its own, from its start on; else they come one after the other. */
    bool starts_anew;

    /* The log does not tell of each client's end. */
    bool is_silent;

    /* Two processes count in one account: what is left of memory can't be told. */
    bool is_shared;

    /* Writes the configuration. */
    void (*prepare)(struct torture *torture);

    /* Has the program do what is to fail; says what went wrong by torture_problem(). In a scenario that
     * starts anew the call is armed already, and the program is started in here, and ended. */
    void (*act)(struct torture *torture);

    /* Arms the call itself, by torture_arm(), somewhere in act(). */
    bool arms_itself;
};

/* Runs the scenario, counted once, and then with one failure after the other. Fails the test if there was any
 * problem. */
void torture_walk(struct fixture *fixture, const struct scenario *scenario);

/* Arms the failure in hand, if there is any. */
void torture_arm(struct torture *torture);

/* Prints what went wrong, the failure that led to it, and what the log said. */
void torture_problem(struct torture *torture, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Reads on in the log; returns all of it since the failure began. */
const char *torture_news(struct torture *torture);

/* Runs guests, none of whom may be stuck or be told anything wrong; those that were not served must be
 * explained in the log. */
void torture_serve(struct torture *torture, struct guest *guests, size_t count);

/* A fresh client of each listener is served, whatever happened. */
void torture_serve_fresh(struct torture *torture);

/* Whether the failure in hand has happened. */
bool torture_has_failed(const struct torture *torture);

/* Waits until the program takes connections on all ports. False: it has ended, or hangs. */
bool torture_wait_ready(struct torture *torture);

/* Waits until it has started, not just bound its ports, and lets its first clients come, whatever becomes of
 * them. False: it has ended. */
bool torture_prime(struct torture *torture);

/* Ends the program, which was asked for nothing else, and looks at what it has left. */
void torture_stop(struct torture *torture);

/* Of a program that has ended by itself: it may hold no more than one in which nothing failed. */
void torture_judge_leftover(struct torture *torture);

/* The program has ended. It may have, if it was for want of memory and it said so. */
void torture_judge_end(struct torture *torture);

#endif
