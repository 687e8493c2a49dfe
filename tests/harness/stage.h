/* The usual beginning of tests of faults: the program in a shared mode before an actor, with the traffic of
 * other clients, which nobody's trouble may reach. */
#ifndef HARNESS_STAGE_H
#define HARNESS_STAGE_H

#include "harness/actor.h"
#include "harness/scene.h"
#include "harness/traffic.h"

/* Milliseconds within which everything happens that has to wait for no timeout: plenty. */
#define STAGE_SOON 3000

/* The timeouts that tests wait for, in milliseconds, before test_stretched(). */
#define STAGE_SHORT 500

/* How many other clients go on asking. */
#define STAGE_OTHERS 2

struct stage {
    unsigned port;
    unsigned target_port;
    bool is_fifo; /* with one connection; else funnel with two */
    struct actor *actor;
    struct proximux *proximux;
    struct traffic *traffic;
};

/* Runs the test in both modes. */
void stage_each_mode(struct fixture *fixture, void (*run)(struct fixture *fixture, bool is_fifo));

/* The program with these further keys of its listener, the target up or down. */
#define stage_begin(fixture, is_fifo, target_is_up, ...)                                                     \
    stage_begin_at((fixture), (is_fifo), (target_is_up), HERE, __VA_ARGS__)
struct stage stage_begin_at(struct fixture *fixture, bool is_fifo, bool target_is_up, struct place place,
                            const char *keys, ...) __attribute__((format(printf, 5, 6)));

/* The traffic goes on and had no trouble, each answer within so many milliseconds but for so many errors; the
 * program ends as it should. What it logged can be looked at afterwards. */
#define stage_end(stage, milliseconds, errors) stage_end_at((stage), (milliseconds), (errors), HERE)
void stage_end_at(struct stage *stage, int64_t milliseconds, size_t errors, struct place place);

/* A client that sends this as soon as it is connected. */
#define stage_ask(stage, request) stage_ask_at((stage), (request), HERE)
int stage_ask_at(const struct stage *stage, const char *request, struct place place);

#endif
