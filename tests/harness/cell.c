#include "harness/cell.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define CELL_LENGTH (sizeof(CELL_REQUEST) - 1)

static void add_target(struct cell *cell, int made, struct place place)
{
    size_t i = 0;

    while (i < CELL_TARGETS && cell->targets[i] != -1)
        i++;
    if (i == CELL_TARGETS)
        test_fail_at(place, "there are too many target connections");
    cell->targets[i] = made;
}

/* Answers one request, or takes note of the end. */
static void serve_one(int *target, struct place place)
{
    char request[CELL_LENGTH];
    ssize_t got = recv(*target, request, sizeof(request), MSG_PEEK | MSG_WAITALL);

    if (got <= 0) {
        close(*target);
        *target = -1;
        return;
    }
    peer_expect_text_at(*target, CELL_REQUEST, place);
    peer_send_at(*target, CELL_ANSWER, CELL_LENGTH, place);
}

void cell_serve_at(struct cell *cell, int client, const char *answer, struct place place)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);

    for (;;) {
        struct pollfd watched[CELL_TARGETS + 2] = { { .fd = -1 } };

        for (size_t i = 0; i < CELL_TARGETS; i++)
            watched[i] = (struct pollfd){ .fd = cell->targets[i], .events = POLLIN };
        watched[CELL_TARGETS] = (struct pollfd){ .fd = cell->listener, .events = POLLIN };
        watched[CELL_TARGETS + 1] = (struct pollfd){ .fd = client, .events = POLLIN };
        if (poll(watched, CELL_TARGETS + 2, test_remaining(deadline)) <= 0)
            test_fail_at(place, "nobody asked for what \"%s\" answers", answer);
        if (watched[CELL_TARGETS + 1].revents != 0)
            break;
        if (watched[CELL_TARGETS].revents != 0)
            add_target(cell, peer_accept_at(cell->listener, place), place);
        for (size_t i = 0; i < CELL_TARGETS; i++)
            if (watched[i].revents != 0)
                serve_one(&cell->targets[i], place);
    }
    peer_expect_text_at(client, answer, place);
}

struct cell cell_begin_at(struct fixture *fixture, bool is_fifo, const char *keys, struct place place)
{
    struct cell cell = {
        .is_fifo = is_fifo,
        .port = peer_free_port_at(place),
        .target_port = peer_free_port_at(place),
        .target = -1,
    };

    for (size_t i = 0; i < CELL_TARGETS; i++)
        cell.targets[i] = -1;
    cell.listener = peer_listen_at("127.0.0.1", cell.target_port, 16, place);
    cell.proximux = proximux_start_at(
        fixture, place,
        "listeners = ( { name = \"cell\"; listen = \"127.0.0.1:%u\"; mode = \"%s\"; buffer_limit = 1024; "
        "protocol = { type = \"length\"; width = 8; encoding = \"ascii\"; error_reply = \"" CELL_ERROR
        "\"; }; retry_min = 20; retry_max = 40; "
        "targets = ( { address = \"127.0.0.1:%u\"; connections = %d; } ); %s } );",
        cell.port, is_fifo ? "fifo" : "funnel", cell.target_port, is_fifo ? 1 : 2, keys);
    cell.descriptors = process_descriptors(cell.proximux->process);
    cell.other = peer_connect_at(NULL, "127.0.0.1", cell.port, place);
    cell.victim = peer_connect_at(NULL, "127.0.0.1", cell.port, place);
    cell_serve_other_at(&cell, place);
    close(cell.targets[0]);
    cell.targets[0] = -1;
    proximux_wait_log_at(cell.proximux, "closed: target_closed", 1, place);
    return cell;
}

void cell_accept_at(struct cell *cell, struct place place)
{
    cell->target = peer_accept_at(cell->listener, place);
}

void cell_ask_at(struct cell *cell, struct place place)
{
    peer_send_at(cell->other, CELL_REQUEST, CELL_LENGTH, place);
    cell->other_waits = true;
}

void cell_ask_beside_at(struct cell *cell, struct place place)
{
    cell_ask_at(cell, place);
    if (cell->is_fifo)
        return;
    cell_serve_at(cell, cell->other, CELL_ANSWER, place);
    cell->other_waits = false;
}

void cell_keep_target_at(struct cell *cell, struct place place)
{
    if (cell->target != -1)
        add_target(cell, cell->target, place);
    cell->target = -1;
}

void cell_serve_other_at(struct cell *cell, struct place place)
{
    cell_keep_target_at(cell, place);
    if (cell->other_waits)
        cell_serve_at(cell, cell->other, CELL_ANSWER, place);
    cell->other_waits = false;
    close(cell->other);
    cell->other = peer_connect_at(NULL, "127.0.0.1", cell->port, place);
    peer_send_at(cell->other, CELL_REQUEST, CELL_LENGTH, place);
    cell_serve_at(cell, cell->other, CELL_ANSWER, place);
}

void cell_close_target(struct cell *cell, bool reset)
{
    if (reset)
        peer_reset(cell->target);
    else
        close(cell->target);
    cell->target = -1;
}

bool cell_has_connection(const struct cell *cell)
{
    for (size_t i = 0; i < CELL_TARGETS; i++)
        if (cell->targets[i] != -1)
            return true;
    return false;
}

void cell_hang_at(struct cell *cell, struct place place)
{
    if (listen(cell->listener, 0) == -1)
        test_fail_at(place, "the backlog can't be made small");
    for (;;) {
        struct pollfd filler = { .events = POLLOUT };

        if (cell->filler_count == CELL_TARGETS)
            test_fail_at(place, "the backlog takes too much");
        filler.fd = peer_connect_begin_at("127.0.0.1", cell->target_port, place);
        cell->fillers[cell->filler_count++] = filler.fd;
        if (poll(&filler, 1, 100) == 0)
            return; /* this one hangs, and so will the next */
    }
}

void cell_stop_hanging(struct cell *cell)
{
    while (cell->filler_count > 0)
        close(cell->fillers[--cell->filler_count]);
    listen(cell->listener, 16);
}

static void close_all(struct cell *cell)
{
    if (cell->victim != -1)
        close(cell->victim);
    close(cell->other);
    if (cell->target != -1)
        close(cell->target);
    for (size_t i = 0; i < CELL_TARGETS; i++)
        if (cell->targets[i] != -1)
            close(cell->targets[i]);
}

void cell_end_at(struct cell *cell, size_t failures, const char *reason, struct place place)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);
    char text[64];
    size_t failed, found;

    close_all(cell);
    while (process_descriptors(cell->proximux->process) > cell->descriptors) {
        if (test_now() >= deadline)
            test_fail_at(place, "%ld descriptors instead of %ld",
                         process_descriptors(cell->proximux->process), cell->descriptors);
        test_pause();
    }
    proximux_stop_at(cell->proximux, place);
    if (cell->listener != -1)
        close(cell->listener);
    snprintf(text, sizeof(text), " failed: %s,", reason != NULL ? reason : "");
    failed = proximux_log_count(cell->proximux, " failed: ");
    found = reason != NULL ? proximux_log_count(cell->proximux, text) : failed;
    if (failed != failures || found != failures)
        test_fail_at(place, "%zu requests failed, %zu of them with %s, instead of %zu", failed, found,
                     reason != NULL ? reason : "any reason", failures);
}
