/* A target that does what each request tells it to, so that one client can have it misbehave while others are
 * served. Requests and answers are lines. A thread for each connection, which serves one request after the
 * other.
 *
 *   echo TEXT     answers TEXT
 *   half TEXT     sends the first half of that answer, and the rest when actor_release() is called
 *   hold TEXT     answers when actor_release() is called
 *   silent        never answers
 *   close TEXT    answers, and closes with the last byte of it
 *   stray TEXT    answers, with bytes behind that nobody has asked for
 *   drip N TEXT   answers one byte every N milliseconds
 *   big N         answers with N bytes, the line's end among them
 *   endless       answers without an end
 *   deaf          stops reading as soon as this word has come, the line need not end; never answers
 *
 * What is not understood is answered by "WHAT". */
#ifndef HARNESS_ACTOR_H
#define HARNESS_ACTOR_H

#include "harness/test.h"

struct actor;

/* Starts one on 127.0.0.1. Owned by the caller: actor_stop(). */
#define actor_start(port) actor_start_at((port), HERE)
struct actor *actor_start_at(unsigned port, struct place place);

/* Connections since the start, those open now, requests that have come whole, bytes that have come. */
size_t actor_accepted(struct actor *actor);
size_t actor_open(struct actor *actor);
size_t actor_requests(struct actor *actor);
size_t actor_bytes(struct actor *actor);

/* Requests that wait for the next release, and those that wait go on. */
size_t actor_held(struct actor *actor);
void actor_release(struct actor *actor);

/* The byte at this place of the answer to "big N". */
char actor_big_byte(size_t position, size_t size);

/* Stops listening, resets all connections and ends the threads. */
void actor_stop(struct actor *actor);

#endif
