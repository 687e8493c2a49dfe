/* Clients that go on asking, one request after the other each, in a thread of their own, while a test does
 * something else: they notice whether somebody else's trouble reaches them. They speak to an actor (see
 * harness/actor.h) through the program, each request with a text of its own, and look at every byte that
 * comes back, and how long it took. */
#ifndef HARNESS_TRAFFIC_H
#define HARNESS_TRAFFIC_H

#include "harness/test.h"

struct traffic;

/* Starts so many clients (at most 8) of 127.0.0.1 and port. Owned by the caller: traffic_stop(). */
#define traffic_start(port, clients) traffic_start_at((port), (clients), HERE)
struct traffic *traffic_start_at(unsigned port, size_t clients, struct place place);

/* Waits until each client has had so many more answers. */
#define traffic_go_on(traffic, answers) traffic_go_on_at((traffic), (answers), HERE)
void traffic_go_on_at(struct traffic *traffic, size_t answers, struct place place);

/* How many of the clients have a request unanswered. */
size_t traffic_outstanding(struct traffic *traffic);

/* Ends it. Every answer must have been right, but for so many errors ("ERROR"), and have come within so many
 * milliseconds (more where the program runs slowly). */
#define traffic_stop(traffic, milliseconds, errors) traffic_stop_at((traffic), (milliseconds), (errors), HERE)
void traffic_stop_at(struct traffic *traffic, int64_t milliseconds, size_t errors, struct place place);

#endif
