/* A target that sends back what it gets, for any number of connections, in a thread of its own. It may greet
 * each connection first, so that clients know which of several targets they have reached. */
#ifndef HARNESS_ECHO_H
#define HARNESS_ECHO_H

#include "harness/test.h"

struct echo;

/* Starts one on an address (numeric, or the path of a unix socket) and port (0: a free one). `greeting` may
 * be NULL. Owned by the caller: echo_stop(). */
#define echo_start(address, port, greeting) echo_start_at((address), (port), (greeting), HERE)
struct echo *echo_start_at(const char *address, unsigned port, const char *greeting, struct place place);

unsigned echo_port(const struct echo *echo);

/* Connections since the start, and those open now. */
size_t echo_accepted(struct echo *echo);
size_t echo_open(struct echo *echo);

/* The most that were open at a time; one whose end has come does not count. */
size_t echo_most(struct echo *echo);

/* Closes everything and ends the thread. */
void echo_stop(struct echo *echo);

#endif
