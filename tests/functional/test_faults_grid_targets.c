/* The grid of faults, the target's side: what goes wrong, and when, in both shared modes. Each cell says what
 * the victim must see, and the reason in the log; another client is served before, beside and after it. */
#include "harness/cell.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum fault {
    FAULT_REFUSE,  /* the connection is reset, and new ones are refused for a while */
    FAULT_HANG,    /* the connection is silent, and new ones hang for a while */
    FAULT_RESET,   /* the connection is reset */
    FAULT_CLOSE,   /* it is closed */
    FAULT_SILENCE, /* nothing is read or said any more */
    FAULT_LATE,    /* likewise, and when it is too late all is made up for */
    FAULT_DOUBLE,  /* an answer more than was asked for */
    FAULT_GARBAGE, /* what is no answer */
    FAULTS,
};

enum point {
    POINT_BEFORE, /* the connection is made, and not yet used */
    POINT_IN_REQUEST,
    POINT_AFTER_REQUEST,
    POINT_IN_ANSWER,
    POINT_AFTER_ANSWER, /* with its last byte */
    POINT_IDLE,
    POINTS,
};

enum fate {
    FATE_ANSWER,       /* it is served as if nothing had happened */
    FATE_ERROR,        /* an error, and it may go on */
    FATE_ERROR_CLOSE,  /* an error, then the end, because the rest of its request is not read */
    FATE_ANSWER_CLOSE, /* the answer came too early; then the end, likewise */
    FATE_CUT,          /* half an answer, then a reset, so that it does not look whole */
};

/* What must follow. */
struct expectation {
    enum fate fate;
    const char *reason; /* of the victim's request; NULL: it did not fail */
    const char *closed; /* of its connection; NULL: there was none */
};

#define SERVED(closed)                                                                                       \
    {                                                                                                        \
        FATE_ANSWER, NULL, closed                                                                            \
    }
#define FAILED(fate, reason)                                                                                 \
    {                                                                                                        \
        fate, reason, reason                                                                                 \
    }
#define TIMED_OUT(fate)                                                                                      \
    {                                                                                                        \
        fate, "request_timeout", "target_closed"                                                             \
    }

static const struct expectation grid[FAULTS][POINTS] = {
    [FAULT_REFUSE] = {
        [POINT_BEFORE] = SERVED(NULL),
        [POINT_IN_REQUEST] = FAILED(FATE_ERROR_CLOSE, "target_reset"),
        [POINT_AFTER_REQUEST] = FAILED(FATE_ERROR, "target_reset"),
        [POINT_IN_ANSWER] = FAILED(FATE_CUT, "target_reset"),
        [POINT_AFTER_ANSWER] = SERVED("target_reset"),
        [POINT_IDLE] = SERVED("target_reset"),
    },
    [FAULT_HANG] = {
        [POINT_BEFORE] = SERVED(NULL),
        [POINT_IN_REQUEST] = TIMED_OUT(FATE_ERROR_CLOSE),
        [POINT_AFTER_REQUEST] = TIMED_OUT(FATE_ERROR),
        [POINT_IN_ANSWER] = TIMED_OUT(FATE_CUT),
        [POINT_AFTER_ANSWER] = TIMED_OUT(FATE_ERROR),
        [POINT_IDLE] = TIMED_OUT(FATE_ERROR),
    },
    [FAULT_RESET] = {
        [POINT_BEFORE] = SERVED("target_reset"),
        [POINT_IN_REQUEST] = FAILED(FATE_ERROR_CLOSE, "target_reset"),
        [POINT_AFTER_REQUEST] = FAILED(FATE_ERROR, "target_reset"),
        [POINT_IN_ANSWER] = FAILED(FATE_CUT, "target_reset"),
        [POINT_AFTER_ANSWER] = SERVED("target_reset"),
        [POINT_IDLE] = SERVED("target_reset"),
    },
    [FAULT_CLOSE] = {
        [POINT_BEFORE] = SERVED("target_closed"),
        [POINT_IN_REQUEST] = FAILED(FATE_ERROR_CLOSE, "target_closed"),
        [POINT_AFTER_REQUEST] = FAILED(FATE_ERROR, "target_closed"),
        [POINT_IN_ANSWER] = FAILED(FATE_CUT, "target_closed"),
        [POINT_AFTER_ANSWER] = SERVED("target_closed"),
        [POINT_IDLE] = SERVED("target_closed"),
    },
    [FAULT_SILENCE] = {
        [POINT_BEFORE] = TIMED_OUT(FATE_ERROR),
        [POINT_IN_REQUEST] = TIMED_OUT(FATE_ERROR_CLOSE),
        [POINT_AFTER_REQUEST] = TIMED_OUT(FATE_ERROR),
        [POINT_IN_ANSWER] = TIMED_OUT(FATE_CUT),
        [POINT_AFTER_ANSWER] = TIMED_OUT(FATE_ERROR),
        [POINT_IDLE] = TIMED_OUT(FATE_ERROR),
    },
    [FAULT_LATE] = {
        [POINT_BEFORE] = TIMED_OUT(FATE_ERROR),
        [POINT_IN_REQUEST] = TIMED_OUT(FATE_ERROR_CLOSE),
        [POINT_AFTER_REQUEST] = TIMED_OUT(FATE_ERROR),
        [POINT_IN_ANSWER] = TIMED_OUT(FATE_CUT),
        [POINT_AFTER_ANSWER] = TIMED_OUT(FATE_ERROR),
        [POINT_IDLE] = TIMED_OUT(FATE_ERROR),
    },
    [FAULT_DOUBLE] = {
        [POINT_BEFORE] = SERVED("protocol_error"),
        [POINT_IN_REQUEST] = { FATE_ANSWER_CLOSE, NULL, "target_closed" },
        [POINT_AFTER_REQUEST] = SERVED("protocol_error"),
        [POINT_IN_ANSWER] = SERVED("protocol_error"),
        [POINT_AFTER_ANSWER] = SERVED("protocol_error"),
        [POINT_IDLE] = SERVED("protocol_error"),
    },
    [FAULT_GARBAGE] = {
        [POINT_BEFORE] = SERVED("protocol_error"),
        [POINT_IN_REQUEST] = FAILED(FATE_ERROR_CLOSE, "protocol_error"),
        [POINT_AFTER_REQUEST] = FAILED(FATE_ERROR, "protocol_error"),
        [POINT_IN_ANSWER] = FAILED(FATE_ERROR, "protocol_error"), /* inside its header: none of it was given out */
        [POINT_AFTER_ANSWER] = SERVED("protocol_error"),
        [POINT_IDLE] = SERVED("protocol_error"),
    },
};

static bool is_silent(enum fault fault)
{
    return fault == FAULT_SILENCE || fault == FAULT_LATE || fault == FAULT_HANG;
}

/* ---- Up to the point ---- */

/* Sends a part of a long request; as much of it as is taken, if nobody reads it. */
static void send_part(struct cell *cell, bool nobody_reads)
{
    char part[4096];

    memset(part, 'x', sizeof(part));
    if (!nobody_reads) {
        cell_send(cell, "00009000");
        peer_send(cell->victim, part, sizeof(part));
        return;
    }
    cell_send(cell, "90000000");
    for (int quiet = 0; quiet < 5;) {
        bool taken = send(cell->victim, part, sizeof(part), MSG_DONTWAIT | MSG_NOSIGNAL) > 0;

        quiet = taken ? 0 : quiet + 1;
        if (!taken)
            test_pause();
    }
}

static void receive_part(struct cell *cell)
{
    char part[4096];

    peer_expect_text(cell->target, "00009000");
    peer_receive(cell->target, part, sizeof(part));
}

/* One whole exchange, which leaves the connection idle. */
static void serve_victim(struct cell *cell)
{
    cell_send(cell, CELL_REQUEST);
    cell_accept(cell);
    peer_expect_text(cell->target, CELL_REQUEST);
    peer_send_text(cell->target, CELL_ANSWER);
    peer_expect_text(cell->victim, CELL_ANSWER);
}

/* Connections are refused from now on, or hang. */
static void shut(struct cell *cell, enum fault fault)
{
    if (fault == FAULT_HANG) {
        cell_hang(cell);
    } else {
        close(cell->listener);
        cell->listener = -1;
    }
}

/* Brings the victim and its target to this point, the other client beside it where it may be. */
static void go_to(struct cell *cell, enum fault fault, enum point point)
{
    if (point == POINT_BEFORE && (fault == FAULT_REFUSE || fault == FAULT_HANG)) {
        shut(cell, fault);
        cell_send(cell, CELL_REQUEST);
        return;
    }
    if (point == POINT_IDLE || (point == POINT_AFTER_ANSWER && is_silent(fault))) {
        serve_victim(cell);
        return;
    }
    if (point == POINT_IN_REQUEST)
        send_part(cell, is_silent(fault));
    else
        cell_send(cell, CELL_REQUEST);
    cell_accept(cell);
    if (point == POINT_BEFORE) {
        proximux_wait_log_times(cell->proximux, " opened", 2);
        return;
    }
    if (point == POINT_IN_REQUEST && !is_silent(fault))
        receive_part(cell);
    if (point == POINT_AFTER_REQUEST || point == POINT_IN_ANSWER || point == POINT_AFTER_ANSWER)
        peer_expect_text(cell->target, CELL_REQUEST);
    if (point == POINT_IN_ANSWER && fault == FAULT_GARBAGE) {
        peer_send_text(cell->target, "0000");
    } else if (point == POINT_IN_ANSWER) {
        peer_send_text(cell->target, CELL_FIRST_HALF);
        peer_expect_text(cell->victim, CELL_FIRST_HALF);
    }
    cell_ask_beside(cell);
}

/* ---- The fault ---- */

/* What the target sends where the fault is what it says; answers are made whole first. */
static const char *wrong_words(enum fault fault, enum point point)
{
    if (fault == FAULT_GARBAGE)
        return "junkjunkjunk";
    if (point == POINT_AFTER_REQUEST || point == POINT_IN_REQUEST)
        return CELL_ANSWER CELL_ANSWER;
    return point == POINT_IN_ANSWER ? CELL_SECOND_HALF CELL_ANSWER : CELL_ANSWER;
}

/* The target does it at one go: what comes with an answer is there when the answer is looked at. */
static void do_fault(struct cell *cell, enum fault fault, enum point point)
{
    proximux_signal(cell->proximux, SIGSTOP);
    if (point == POINT_AFTER_ANSWER && !is_silent(fault))
        peer_send_text(cell->target, CELL_ANSWER);
    if (fault == FAULT_DOUBLE || fault == FAULT_GARBAGE)
        peer_send_text(cell->target, wrong_words(fault, point));
    if ((fault == FAULT_REFUSE || fault == FAULT_HANG) && point != POINT_BEFORE)
        shut(cell, fault);
    if (cell->target != -1 && (fault == FAULT_REFUSE || fault == FAULT_RESET))
        cell_close_target(cell, true);
    if (fault == FAULT_CLOSE)
        cell_close_target(cell, false);
    proximux_signal(cell->proximux, SIGCONT);
    if (is_silent(fault) && (point == POINT_AFTER_ANSWER || point == POINT_IDLE))
        cell_send(cell, CELL_REQUEST); /* the connection was in order until now */
}

/* ---- What follows ---- */

static void expect_fate(struct cell *cell, const struct expectation *expected, enum point point)
{
    switch (expected->fate) {
    case FATE_ANSWER:
        if (point == POINT_IN_ANSWER)
            peer_expect_text(cell->victim, CELL_SECOND_HALF);
        else if (point != POINT_IDLE && point != POINT_BEFORE) /* it has it already, or will have it */
            peer_expect_text(cell->victim, CELL_ANSWER);
        return;
    case FATE_ERROR:
        peer_expect_text(cell->victim, CELL_ERROR);
        return;
    case FATE_ERROR_CLOSE:
        peer_expect_text(cell->victim, CELL_ERROR);
        peer_expect_end(cell->victim);
        break;
    case FATE_ANSWER_CLOSE:
        peer_expect_text(cell->victim, CELL_ANSWER);
        peer_expect_end(cell->victim);
        break;
    case FATE_CUT:
        peer_expect_reset(cell->victim);
        break;
    }
    close(cell->victim);
    cell->victim = -1;
}

/* What comes too late reaches nobody. */
static void come_late(struct cell *cell)
{
    send(cell->target, CELL_ANSWER, sizeof(CELL_ANSWER) - 1, MSG_NOSIGNAL);
    peer_expect_closed(cell->target);
    if (cell->victim != -1)
        peer_expect_silence(cell->victim, 0);
    peer_expect_silence(cell->other, 0);
}

/* Connections are made again, once it was noticed that they are not. Returns whether it was. */
static bool recover(struct cell *cell, enum fault fault)
{
    if (fault != FAULT_REFUSE && fault != FAULT_HANG)
        return false;
    bool must_connect = !cell_has_connection(cell);

    if (must_connect)
        proximux_wait_log(cell->proximux, "is down");
    if (fault == FAULT_HANG)
        cell_stop_hanging(cell);
    else
        cell->listener = peer_listen("127.0.0.1", cell->target_port, 16);
    return must_connect;
}

/* The connection that had the trouble was closed for that; one was closed before the trouble, by the target.
 */
static void expect_close(const struct cell *cell, const struct expectation *expected)
{
    char text[64];

    if (expected->closed == NULL)
        return;
    snprintf(text, sizeof(text), "closed: %s", expected->closed);
    proximux_wait_log_times(cell->proximux, text, strcmp(expected->closed, "target_closed") == 0 ? 2 : 1);
}

/* The victim, if it may go on, is served, and so is the other one. Returns whether the target was down. */
static bool serve_all(struct cell *cell, const struct expectation *expected, enum fault fault,
                      enum point point)
{
    bool waits = point == POINT_BEFORE && expected->fate == FATE_ANSWER;

    if (cell->victim != -1 && !waits)
        cell_send(cell, CELL_REQUEST);
    else if (cell->victim == -1 && !cell->other_waits)
        cell_ask(cell);
    bool was_down = recover(cell, fault);
    if (cell->victim != -1)
        cell_serve(cell, cell->victim, CELL_ANSWER);
    cell_serve_other(cell);
    return was_down;
}

static void run_cell(struct fixture *fixture, bool is_fifo, enum fault fault, enum point point)
{
    const struct expectation *expected = &grid[fault][point];
    char keys[128];

    snprintf(keys, sizeof(keys), "%s request_timeout = %d; connect_timeout = %d;",
             point == POINT_BEFORE ? "connect_delay = 100;" : "",
             is_silent(fault) ? test_stretched(CELL_SHORT) : 30000, test_stretched(CELL_SHORT));
    struct cell cell = cell_begin(fixture, is_fifo, keys);
    go_to(&cell, fault, point);
    do_fault(&cell, fault, point);
    expect_fate(&cell, expected, point);
    expect_close(&cell, expected);
    if (fault == FAULT_LATE)
        come_late(&cell);
    if (cell.target != -1) /* it is of no use any more */
        cell_close_target(&cell, false);
    bool was_down = serve_all(&cell, expected, fault, point);
    /* A connection that ends before it was used says that its target is of no use. */
    was_down |= point == POINT_BEFORE && expected->fate == FATE_ANSWER;
    cell_end(&cell, expected->reason != NULL ? 1 : 0, expected->reason);
    assert_int_equal(proximux_log_count(cell.proximux, "is down"), was_down);
    assert_int_equal(proximux_log_count(cell.proximux, "is up"), was_down);
}

/* ---- The tests: one a cell ---- */

struct grid_test {
    void *fixture;
    bool is_fifo;
    enum fault fault;
    enum point point;
    char name[64];
};

static int set_up(void **state)
{
    struct grid_test *test = *state;
    return fixture_setup(&test->fixture);
}

static int tear_down(void **state)
{
    struct grid_test *test = *state;
    return fixture_teardown(&test->fixture);
}

static void test_cell(void **state)
{
    struct grid_test *test = *state;
    run_cell(test->fixture, test->is_fifo, test->fault, test->point);
}

int main(void)
{
    static const char *const faults[FAULTS] = { "refuse",  "hang", "reset",  "close",
                                                "silence", "late", "double", "garbage" };
    static const char *const points[POINTS] = { "before",        "in the request",   "after the request",
                                                "in the answer", "after the answer", "idle" };
    static struct grid_test cells[2 * FAULTS * POINTS];
    static struct CMUnitTest tests[2 * FAULTS * POINTS];

    for (size_t i = 0; i < 2 * FAULTS * POINTS; i++) {
        struct grid_test *cell = &cells[i];

        cell->is_fifo = i < FAULTS * POINTS;
        cell->fault = (enum fault)(i / POINTS % FAULTS);
        cell->point = (enum point)(i % POINTS);
        snprintf(cell->name, sizeof(cell->name), "%s: %s, %s", cell->is_fifo ? "fifo" : "funnel",
                 faults[cell->fault], points[cell->point]);
        tests[i] = (struct CMUnitTest){ cell->name, test_cell, set_up, tear_down, cell };
    }
    return cmocka_run_group_tests_name("grid of faults, targets", tests, NULL, NULL);
}
