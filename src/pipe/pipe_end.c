/* One direction of a session: from an end to its peer. The same lines serve both directions. */
#include "net/socket.h"
#include "pipe/pipe_session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A flow is large after so many reads in a row of at least LARGE_READ bytes, until a piece has fewer than
 * LARGE_ENOUGH_YET. */
#define LARGE_READS      4
#define LARGE_READ       (RUNTIME_READ_SIZE / 4)
#define LARGE_ENOUGH_YET (RUNTIME_READ_SIZE / 16)

static struct ev_loop *end_loop(const struct pipe_end *end)
{
    return end->session->service->runtime->loop;
}

bool pipe_end_is_open(const struct pipe_end *end)
{
    return end->watcher.fd != -1;
}

bool pipe_end_has_pending(const struct pipe_end *end)
{
    return end->pending_length > 0 || end->splice_pipe != NULL;
}

static void end_drop_pending(struct pipe_end *end)
{
    if (end->splice_pipe != NULL)
        splice_pipe_give_back(&end->session->service->splice_pipes, end->splice_pipe);
    end->splice_pipe = NULL;
    free(end->pending);
    end->pending = NULL;
    end->pending_start = 0;
    end->pending_length = 0;
    end->pending_capacity = 0;
}

/* Writing to this end has failed: bytes for it are lost, and its peer is not read any more. Bytes that still come
 * from it are read. */
static void end_write_failed(struct pipe_end *end)
{
    end_drop_pending(end);
    end->write_ended = true;
    end->reset = true;
}

/* Keeps bytes that this end's socket would not take. False when memory is short. */
static bool end_keep(struct pipe_end *end, const char *bytes, size_t length)
{
    size_t needed = end->pending_length + length;
    if (end->pending_start + needed > end->pending_capacity) {
        /* Doubling, because a waiting client may send byte by byte. */
        size_t doubled = 2 * (size_t)end->pending_capacity;
        size_t capacity = doubled > RUNTIME_READ_SIZE || doubled < needed ? needed : doubled;
        char *grown = malloc(capacity);
        if (grown == NULL)
            return false;
        if (end->pending_length > 0)
            memcpy(grown, end->pending + end->pending_start, end->pending_length);
        free(end->pending);
        end->pending = grown;
        end->pending_start = 0;
        end->pending_capacity = (uint32_t)capacity;
    }
    memcpy(end->pending + end->pending_start + end->pending_length, bytes, length);
    end->pending_length += (uint32_t)length;
    return true;
}

bool pipe_end_put_first(struct pipe_end *end, const char *bytes, size_t length)
{
    size_t capacity = end->pending_length + length;
    char *grown = malloc(capacity);
    if (grown == NULL)
        return false;
    memcpy(grown, bytes, length);
    if (end->pending_length > 0)
        memcpy(grown + length, end->pending + end->pending_start, end->pending_length);
    free(end->pending);
    end->pending = grown;
    end->pending_start = 0;
    end->pending_length = (uint32_t)capacity;
    end->pending_capacity = (uint32_t)capacity;
    return true;
}

/* Counts the bytes of an end for the listener or the target. */
static void end_count(struct pipe_end *end, uint64_t received, uint64_t sent)
{
    struct pipe_session *session = end->session;
    end->received += received;
    end->sent += sent;
    if (end == &session->client) {
        session->service->owner.counters->bytes_from_clients += received;
        session->service->owner.counters->bytes_to_clients += sent;
    } else {
        session->connected_target->counters->bytes_received += received;
        session->connected_target->counters->bytes_sent += sent;
    }
}

/* Writes as much as the socket takes. Returns how much, or -1 if the end failed. */
static ssize_t end_write(struct pipe_end *end, const char *bytes, size_t length)
{
    ssize_t written = send(end->watcher.fd, bytes, length, MSG_NOSIGNAL);
    if (written == -1)
        return socket_would_wait(errno) ? 0 : -1;
    end_count(end, 0, (uint64_t)written);
    return written;
}

/* Moves bytes from the splice pipe to the socket, and gives the pipe back when it is empty. */
static void end_flush_splice_pipe(struct pipe_end *end)
{
    ssize_t moved = splice_pipe_empty(end->splice_pipe, end->watcher.fd);
    if (moved == -1 && !socket_would_wait(errno)) {
        end_write_failed(end);
        return;
    }
    if (moved > 0)
        end_count(end, 0, (uint64_t)moved);
    if (end->splice_pipe->length > 0)
        return;
    splice_pipe_give_back(&end->session->service->splice_pipes, end->splice_pipe);
    end->splice_pipe = NULL;
}

void pipe_end_flush(struct pipe_end *end)
{
    if (end->splice_pipe != NULL)
        end_flush_splice_pipe(end);
    if (end->pending_length == 0)
        return;
    ssize_t written = end_write(end, end->pending + end->pending_start, end->pending_length);
    if (written == -1) {
        end_write_failed(end);
        return;
    }
    end->pending_start += (uint32_t)written;
    end->pending_length -= (uint32_t)written;
    if (end->pending_length == 0)
        end_drop_pending(end);
}

/* Passes bytes that came from the peer on to this end. */
static bool end_accept(struct pipe_end *end, const char *bytes, size_t length)
{
    if (end->write_ended)
        return true;
    ssize_t written = 0;
    if (pipe_end_is_open(end)) {
        written = end_write(end, bytes, length);
        if (written == -1) {
            end_write_failed(end);
            return true;
        }
    }
    size_t left = length - (size_t)written;
    return left == 0 || end_keep(end, bytes + written, left);
}

/* How many bytes may be read from this end now. */
static size_t end_readable(const struct pipe_end *end)
{
    const struct pipe_end *peer = end->peer;
    if (end->read_ended || peer->write_ended || end->session->state == PIPE_CONNECTING)
        return 0;
    if (!pipe_end_is_open(peer))
        return RUNTIME_READ_SIZE - peer->pending_length;
    return pipe_end_has_pending(peer) ? 0 : RUNTIME_READ_SIZE;
}

/* Hands bytes that came from this end to events. */
static void end_show(const struct pipe_end *end, const char *bytes, size_t length)
{
    struct pipe_session *session = end->session;
    if (end == &session->client)
        events_client_bytes(session->events, bytes, length);
    else
        events_target_bytes(session->events, bytes, length);
}

static void end_set_large(struct pipe_end *end, bool is_large)
{
    struct splice_pipes *splice_pipes = &end->session->service->splice_pipes;
    if (is_large && !end->is_large)
        splice_pipes_begin(splice_pipes);
    else if (!is_large && end->is_large)
        splice_pipes_end(splice_pipes);
    end->is_large = is_large;
    end->large_reads = 0;
}

/* The stream from this end has ended, or failed. */
static void end_read_over(struct pipe_end *end, bool failed)
{
    struct pipe_session *session = end->session;
    end->read_ended = true;
    end_set_large(end, false);
    if (session->ended_first == NULL)
        session->ended_first = end;
    if (failed)
        end_write_failed(end);
    else if (session->events != NULL && end == &session->target)
        events_target_ended(session->events);
}

/* What a client says first may be that PostgreSQL is to cancel a query of another session. */
static void end_look_at_first(struct pipe_end *end, const char *bytes, size_t length)
{
    static const char cancel[] = "\0\0\0\x10\x04\xd2\x16\x2e";
    if (end == &end->session->client && length >= 8 && memcmp(bytes, cancel, 8) == 0)
        end->session->is_cancel = true;
}

/* Large flows are spliced, unless events want to see their bytes. */
static void end_measure_flow(struct pipe_end *end, size_t length)
{
    const struct pipe_session *session = end->session;
    if (length < LARGE_READ)
        end_set_large(end, false);
    else if (++end->large_reads >= LARGE_READS)
        end_set_large(end, !end->is_copied && pipe_end_is_open(end->peer) &&
                               (session->events == NULL || !events_client_follows(session->events)));
}

/* Moves a piece to the peer by splice(). False: the piece has to be copied. */
static bool end_move(struct pipe_end *end)
{
    struct splice_pipes *splice_pipes = &end->session->service->splice_pipes;
    struct splice_pipe *splice_pipe = splice_pipe_borrow(splice_pipes);
    if (splice_pipe == NULL)
        return false;
    ssize_t length = splice_pipe_fill(splice_pipe, end->watcher.fd);
    if (length <= 0) {
        int error = errno;
        splice_pipe_give_back(splice_pipes, splice_pipe);
        end->is_copied = length == -1 && error == EINVAL;
        end_set_large(end, false);
        if (length == 0 || (!end->is_copied && !socket_would_wait(error)))
            end_read_over(end, length == -1);
        return !end->is_copied;
    }
    if ((size_t)length < LARGE_ENOUGH_YET)
        end_set_large(end, false);
    end_count(end, (uint64_t)length, 0);
    end->peer->splice_pipe = splice_pipe;
    end_flush_splice_pipe(end->peer);
    return true;
}

bool pipe_end_pump(struct pipe_end *end)
{
    char *buffer = end->session->service->runtime->read_buffer;
    size_t wanted = end_readable(end);
    if (wanted == 0 || (end->is_large && end_move(end)))
        return true;
    ssize_t length = recv(end->watcher.fd, buffer, wanted, 0);
    if (length > 0) {
        if (end->received == 0)
            end_look_at_first(end, buffer, (size_t)length);
        end_measure_flow(end, (size_t)length);
        end_count(end, (uint64_t)length, 0);
        if (end->session->events != NULL)
            end_show(end, buffer, (size_t)length);
        return end_accept(end->peer, buffer, (size_t)length);
    }
    if (length == 0 || !socket_would_wait(errno))
        end_read_over(end, length == -1);
    return true;
}

void pipe_end_init(struct pipe_end *end, struct pipe_end *peer, struct pipe_session *session,
                   pipe_end_ready *ready)
{
    end->peer = peer;
    end->session = session;
    ev_io_init(&end->watcher, ready, -1, 0);
    end->watcher.data = end;
}

void pipe_end_open(struct pipe_end *end, int descriptor)
{
    ev_io_set(&end->watcher, descriptor, 0);
}

void pipe_end_close(struct pipe_end *end, bool reset)
{
    end_drop_pending(end);
    end_set_large(end, false);
    if (!pipe_end_is_open(end))
        return;
    ev_io_stop(end_loop(end), &end->watcher);
    if (reset)
        socket_close_reset(end->watcher.fd);
    else
        close(end->watcher.fd);
}

void pipe_end_watch(struct pipe_end *end)
{
    if (!pipe_end_is_open(end))
        return;
    int wanted = (end_readable(end) > 0 ? EV_READ : 0) | (pipe_end_has_pending(end) ? EV_WRITE : 0);
    int watched = ev_is_active(&end->watcher) ? end->watcher.events & (EV_READ | EV_WRITE) : 0;
    if (wanted == watched)
        return;
    ev_io_stop(end_loop(end), &end->watcher);
    ev_io_set(&end->watcher, end->watcher.fd, wanted);
    if (wanted != 0)
        ev_io_start(end_loop(end), &end->watcher);
}

void pipe_end_pass_on(struct pipe_end *end)
{
    struct pipe_end *peer = end->peer;
    if (!end->read_ended || end->reset || peer->write_ended || pipe_end_has_pending(peer) ||
        !pipe_end_is_open(peer))
        return;
    peer->write_ended = true;
    shutdown(peer->watcher.fd, SHUT_WR);
}

bool pipe_end_is_done(const struct pipe_end *end)
{
    return end->read_ended && !pipe_end_has_pending(end->peer) && (end->reset || end->peer->write_ended);
}
