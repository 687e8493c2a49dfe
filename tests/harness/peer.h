/* Clients and targets whose every move the test decides. All helpers have a deadline; where what must happen
 * does not, they fail the test at the line that called them. Addresses are numeric IPv4 or IPv6 text, or a
 * path that begins with '/' for a unix socket (the port is ignored then). */
#ifndef HARNESS_PEER_H
#define HARNESS_PEER_H

#include "harness/test.h"

#include <sys/types.h>

/* A listening socket; a backlog of 0 lets a test fill it with one connection or two. Fails the test if the
 * address is taken. */
#define peer_listen(address, port, backlog) peer_listen_at((address), (port), (backlog), HERE)
int peer_listen_at(const char *address, unsigned port, int backlog, struct place place);

/* Connects and waits until it is done. */
#define peer_connect(address, port)              peer_connect_at(NULL, (address), (port), HERE)
#define peer_connect_from(source, address, port) peer_connect_at((source), (address), (port), HERE)
int peer_connect_at(const char *source, const char *address, unsigned port, struct place place);

/* Connects; -1 with errno instead of failing the test. */
int peer_try_connect(const char *source, const char *address, unsigned port);

/* Begins to connect and returns at once, for connections that must hang. */
#define peer_connect_begin(address, port) peer_connect_begin_at((address), (port), HERE)
int peer_connect_begin_at(const char *address, unsigned port, struct place place);

/* Takes the next connection of a listening socket. */
#define peer_accept(listener) peer_accept_at((listener), HERE)
int peer_accept_at(int listener, struct place place);

/* Sends and receives exactly so many bytes; the text forms without the NUL. */
#define peer_send(socket, data, size)    peer_send_at((socket), (data), (size), HERE)
#define peer_send_text(socket, text)     peer_send_at((socket), (text), strlen(text), HERE)
#define peer_receive(socket, data, size) peer_receive_at((socket), (data), (size), HERE)
#define peer_expect_text(socket, text)   peer_expect_text_at((socket), (text), HERE)
void peer_send_at(int socket, const void *data, size_t size, struct place place);
void peer_receive_at(int socket, void *data, size_t size, struct place place);
void peer_expect_text_at(int socket, const char *text, struct place place);

/* The other side must end what it sends (FIN), reset the connection, or either. Bytes before it are an error,
 * but for peer_expect_closed(), which skips them. */
#define peer_expect_end(socket)    peer_expect_end_at((socket), HERE)
#define peer_expect_reset(socket)  peer_expect_reset_at((socket), HERE)
#define peer_expect_closed(socket) peer_expect_closed_at((socket), HERE)
void peer_expect_end_at(int socket, struct place place);
void peer_expect_reset_at(int socket, struct place place);
void peer_expect_closed_at(int socket, struct place place);

/* Nothing may come for so many milliseconds: no byte, no end, and on a listening socket no connection. */
#define peer_expect_silence(socket, milliseconds) peer_expect_silence_at((socket), (milliseconds), HERE)
void peer_expect_silence_at(int socket, int milliseconds, struct place place);

/* Whether there is something to read, or to accept, within so many milliseconds. */
bool peer_readable(int socket, int milliseconds);

/* Whether something can be sent within so many milliseconds. */
bool peer_writable(int socket, int milliseconds);

/* Ends what this side sends; the other direction stays open. */
void peer_end(int socket);

/* Closes so that the other side sees a reset. */
void peer_reset(int socket);

/* The port that a socket is bound to. */
unsigned peer_port(int socket);

/* A port which nobody else is given until the process ends, free for both families on all addresses. A socket
 * stays bound to it, which does not keep others from listening there if they set SO_REUSEADDR. */
#define peer_free_port() peer_free_port_at(HERE)
unsigned peer_free_port_at(struct place place);

/* Whether this machine has IPv6 on its loopback. */
bool peer_have_ipv6(void);

/* A listening socket that answers no further connection attempt: its backlog is full. `fillers` are the
 * clients that fill it. */
struct peer_deaf {
    int listener;
    unsigned port;
    int fillers[16];
    size_t filler_count;
};

#define peer_make_deaf(deaf, address) peer_make_deaf_at((deaf), (address), HERE)
void peer_make_deaf_at(struct peer_deaf *deaf, const char *address, struct place place);
void peer_close_deaf(struct peer_deaf *deaf);

#endif
