/* One cell of a grid of faults: the program in a shared mode before a target that the test plays, a victim
 * that has trouble, and another client that must be served before it, beside it and after it. Messages have a
 * header of eight digits that says how many bytes follow; errors are the text "ERROR". */
#ifndef HARNESS_CELL_H
#define HARNESS_CELL_H

#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/test.h"

#include <string.h>

#define CELL_REQUEST "00000004ping"
#define CELL_ANSWER  "00000004pong"
#define CELL_ERROR   "00000005ERROR"

/* The beginning of a request that is too long to be held back, and of a short one. */
#define CELL_LONG_REQUEST "09000000"
#define CELL_HALF_REQUEST "00000004pi"

/* The two halves of an answer. */
#define CELL_FIRST_HALF  "00000004po"
#define CELL_SECOND_HALF "ng"

/* Timeouts that a cell waits for, milliseconds, before test_stretched(). */
#define CELL_SHORT 300

/* Connections of the target at a time: more than there may be. */
#define CELL_TARGETS 12

struct cell {
    bool is_fifo; /* with one connection; else funnel with two */
    unsigned port;
    unsigned target_port;
    int listener; /* of the target; -1: it refuses */
    struct proximux *proximux;
    long descriptors;          /* that the program had when it had no client and no target connection */
    int target;                /* the connection that has the trouble; -1: none */
    int targets[CELL_TARGETS]; /* the others; -1: none */
    int victim;                /* -1: it has gone */
    int other;
    bool other_waits;          /* it has asked and has no answer yet */
    int fillers[CELL_TARGETS]; /* clients that fill the backlog of the target */
    size_t filler_count;
};

/* Starts the program with these further keys of its listener, and serves the other client once; the
 * connection that was used for that is closed again. */
#define cell_begin(fixture, is_fifo, keys) cell_begin_at((fixture), (is_fifo), (keys), HERE)
struct cell cell_begin_at(struct fixture *fixture, bool is_fifo, const char *keys, struct place place);

/* The victim sends this. */
#define cell_send(cell, text) peer_send_text((cell)->victim, (text))

/* The target serves whoever asks, on connections new and old, until the client has got this. */
#define cell_serve(cell, client, answer) cell_serve_at((cell), (client), (answer), HERE)
void cell_serve_at(struct cell *cell, int client, const char *answer, struct place place);

/* Takes the connection that the program makes next. */
#define cell_accept(cell) cell_accept_at((cell), HERE)
void cell_accept_at(struct cell *cell, struct place place);

/* The other client asks while the victim has trouble: in funnel it is answered at once, on the other
 * connection; in fifo it has to wait for the end of the trouble. */
#define cell_ask_beside(cell) cell_ask_beside_at((cell), HERE)
void cell_ask_beside_at(struct cell *cell, struct place place);

/* It just asks. */
#define cell_ask(cell) cell_ask_at((cell), HERE)
void cell_ask_at(struct cell *cell, struct place place);

/* The connection that had the trouble serves on as others do. */
#define cell_keep_target(cell) cell_keep_target_at((cell), HERE)
void cell_keep_target_at(struct cell *cell, struct place place);

/* The trouble is over: the other client gets what it still waits for, and one more is served in its place. */
#define cell_serve_other(cell) cell_serve_other_at((cell), HERE)
void cell_serve_other_at(struct cell *cell, struct place place);

/* The target's end of the connection that has the trouble is closed, or reset. */
void cell_close_target(struct cell *cell, bool reset);

/* Whether the target has a connection that is in order. */
bool cell_has_connection(const struct cell *cell);

/* From now on, until it is stopped, new connections to the target hang: its backlog is full. */
#define cell_hang(cell) cell_hang_at((cell), HERE)
void cell_hang_at(struct cell *cell, struct place place);
void cell_stop_hanging(struct cell *cell);

/* Closes all there is; the program must have no more descriptors than before, and end well. `failures`: how
 * many requests must have failed, each with this reason (NULL: any). */
#define cell_end(cell, failures, reason) cell_end_at((cell), (failures), (reason), HERE)
void cell_end_at(struct cell *cell, size_t failures, const char *reason, struct place place);

#endif
