/* Long flows of bytes between two ends of the test, with every byte checked against its place in the flow. */
#ifndef HARNESS_FLOW_H
#define HARNESS_FLOW_H

#include "harness/test.h"

/* Sends `size` bytes into one socket while receiving and checking them from the other, as fast as both take
 * them; neither side is ended. `each`, if not NULL, is called about a hundred times on the way. */
#define flow_transfer(from, to, size, each, data) flow_transfer_at((from), (to), (size), (each), (data), HERE)
void flow_transfer_at(int from, int to, size_t size, void (*each)(void *data), void *data,
                      struct place place);

/* The bytes of a flow at one place, for tests that send and receive by themselves. At least `*size` bytes
 * from there on can be read; `*size` is how many. */
const char *flow_bytes(size_t position, size_t *size);

/* Receives bytes from the socket until `position` has reached `size`, checking each. */
#define flow_receive(socket, position, size) flow_receive_at((socket), (position), (size), HERE)
void flow_receive_at(int socket, size_t position, size_t size, struct place place);

#endif
