/* Long flows of bytes between two ends of the test, with every byte checked against its place in the flow. */
#ifndef HARNESS_FLOW_H
#define HARNESS_FLOW_H

#include "harness/test.h"

/* Sends `size` bytes into one socket while receiving and checking them from the other, as fast as both take
 * them; neither side is ended. `each`, if not NULL, is called about a hundred times on the way. */
#define flow_transfer(from, to, size, each, data) flow_transfer_at((from), (to), (size), (each), (data), HERE)
void flow_transfer_at(int from, int to, size_t size, void (*each)(void *data), void *data,
                      struct place place);

/* Sends the beginning of a flow as long as the other side takes it, up to `limit` bytes; it counts as full
 * when nothing was taken for 300 ms. Returns the bytes sent. */
#define flow_send_until_full(socket, limit) flow_send_until_full_at((socket), (limit), HERE)
size_t flow_send_until_full_at(int socket, size_t limit, struct place place);

/* Receives bytes from the socket until `position` has reached `size`, checking each. */
#define flow_receive(socket, position, size) flow_receive_at((socket), (position), (size), HERE)
void flow_receive_at(int socket, size_t position, size_t size, struct place place);

#endif
