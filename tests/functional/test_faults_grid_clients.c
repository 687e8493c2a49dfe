/* The grid of faults, the client's side: what a client does, and when, in both shared modes. Each cell says
 * what it must see, what its request comes to, and the reasons in the log; another client is served before,
 * beside and after it. */
#include "harness/cell.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum fault {
    FAULT_RESET,
    FAULT_CLOSE, /* both directions */
    FAULT_HALF_CLOSE,
    FAULT_SILENCE,
    FAULT_DRIP, /* goes on with its next request, byte by byte, for longer than it may be idle */
    FAULTS,
};

enum point {
    POINT_BEFORE,
    POINT_IN_REQUEST,
    POINT_IN_LONG_REQUEST, /* one that its target has begun to get */
    POINT_AFTER_REQUEST,
    POINT_IN_ANSWER,
    POINT_AFTER_ANSWER,
    POINT_IDLE,
    POINTS,
};

enum fate {
    FATE_GONE,   /* it sees nothing any more */
    FATE_ANSWER, /* it gets what was still to come of its answer, and may go on */
    FATE_ANSWER_CLOSE,
    FATE_CLOSE,
};

struct expectation {
    enum fate fate;
    const char *ended;    /* the reason of the client's end; NULL: it goes on */
    const char *failed;   /* of its request; NULL: none failed */
    bool closes;          /* its target connection is of no use any more */
    enum fate alone_fate; /* in funnel, where the other client waits for nothing */
    const char *alone_failed;
};

#define BOTH(fate, ended, failed, closes)                                                                    \
    {                                                                                                        \
        fate, ended, failed, closes, fate, failed                                                            \
    }

/* clang-format off */
static const struct expectation grid[FAULTS][POINTS] = {
    [FAULT_RESET] = {
        [POINT_BEFORE] = BOTH(FATE_GONE, "client_reset", NULL, false),
        [POINT_IN_REQUEST] = BOTH(FATE_GONE, "client_reset", NULL, false),
        [POINT_IN_LONG_REQUEST] = BOTH(FATE_GONE, "client_reset", "client_reset", true),
        [POINT_AFTER_REQUEST] = BOTH(FATE_GONE, "client_reset", "client_reset", false),
        [POINT_IN_ANSWER] = BOTH(FATE_GONE, "client_reset", "client_reset", false),
        [POINT_AFTER_ANSWER] = BOTH(FATE_GONE, "client_reset", NULL, false),
        [POINT_IDLE] = BOTH(FATE_GONE, "client_reset", NULL, false),
    },
    [FAULT_CLOSE] = { /* to whom it closes this looks like a half-close, until it is written to */
        [POINT_BEFORE] = BOTH(FATE_GONE, "client_closed", NULL, false),
        [POINT_IN_REQUEST] = BOTH(FATE_GONE, "client_closed", NULL, false),
        [POINT_IN_LONG_REQUEST] = BOTH(FATE_GONE, "client_closed", "client_closed", true),
        [POINT_AFTER_REQUEST] = BOTH(FATE_GONE, "client_closed", NULL, false),
        [POINT_IN_ANSWER] = BOTH(FATE_GONE, "client_closed", NULL, false),
        [POINT_AFTER_ANSWER] = BOTH(FATE_GONE, "client_closed", NULL, false),
        [POINT_IDLE] = BOTH(FATE_GONE, "client_closed", NULL, false),
    },
    [FAULT_HALF_CLOSE] = {
        [POINT_BEFORE] = BOTH(FATE_CLOSE, "client_closed", NULL, false),
        [POINT_IN_REQUEST] = BOTH(FATE_CLOSE, "client_closed", NULL, false),
        [POINT_IN_LONG_REQUEST] = BOTH(FATE_CLOSE, "client_closed", "client_closed", true),
        [POINT_AFTER_REQUEST] = BOTH(FATE_ANSWER_CLOSE, "client_closed", NULL, false),
        [POINT_IN_ANSWER] = BOTH(FATE_ANSWER_CLOSE, "client_closed", NULL, false),
        [POINT_AFTER_ANSWER] = BOTH(FATE_CLOSE, "client_closed", NULL, false),
        [POINT_IDLE] = BOTH(FATE_CLOSE, "client_closed", NULL, false),
    },
    [FAULT_SILENCE] = {
        [POINT_BEFORE] = BOTH(FATE_CLOSE, "client_idle", NULL, false),
        [POINT_IN_REQUEST] = BOTH(FATE_CLOSE, "client_idle", NULL, false),
        [POINT_IN_LONG_REQUEST] = BOTH(FATE_CLOSE, "client_idle", "client_idle", true),
        [POINT_AFTER_REQUEST] = BOTH(FATE_ANSWER, NULL, NULL, false), /* what it waits for takes its time */
        [POINT_IN_ANSWER] = BOTH(FATE_ANSWER, NULL, NULL, false),
        [POINT_AFTER_ANSWER] = BOTH(FATE_CLOSE, "client_idle", NULL, false),
        [POINT_IDLE] = BOTH(FATE_CLOSE, "client_idle", NULL, false),
    },
    [FAULT_DRIP] = {
        [POINT_BEFORE] = BOTH(FATE_ANSWER, NULL, NULL, false),
        [POINT_IN_REQUEST] = BOTH(FATE_ANSWER, NULL, NULL, false),
        [POINT_IN_LONG_REQUEST] =
            { FATE_CLOSE, "client_stalled", "client_stalled", true, FATE_ANSWER, NULL },
        [POINT_AFTER_REQUEST] = BOTH(FATE_ANSWER, NULL, NULL, false),
        [POINT_IN_ANSWER] = BOTH(FATE_ANSWER, NULL, NULL, false),
        [POINT_AFTER_ANSWER] = BOTH(FATE_ANSWER, NULL, NULL, false),
        [POINT_IDLE] = BOTH(FATE_ANSWER, NULL, NULL, false),
    },
};
/* clang-format on */

/* A request that is longer than `buffer_limit`: what has come of it before the fault, and the rest. */
#define LONG_HEAD "00001530"
#define LONG_PART 1500
#define LONG_REST "and this is all the rest of it"

/* An answer that no buffer holds. */
#define BIG_HEAD "24000000"
#define BIG_SIZE ((size_t)24000000)

/* ---- Up to the point ---- */

static void send_long_part(const struct cell *cell)
{
    char part[LONG_PART];

    memset(part, 'x', sizeof(part));
    cell_send(cell, LONG_HEAD);
    peer_send(cell->victim, part, sizeof(part));
}

static void receive_long_part(const struct cell *cell)
{
    char part[LONG_PART];

    peer_expect_text(cell->target, LONG_HEAD);
    peer_receive(cell->target, part, sizeof(part));
}

/* Another client is served on the connection, which is idle. */
static void use_connection(const struct cell *cell)
{
    peer_send_text(cell->other, CELL_REQUEST);
    peer_expect_text(cell->target, CELL_REQUEST);
    peer_send_text(cell->target, CELL_ANSWER);
    peer_expect_text(cell->other, CELL_ANSWER);
}

/* Brings the victim to this point. Its connection, if it has one, is `target`, and the other client asks. */
static void go_to(struct cell *cell, enum point point)
{
    if (point == POINT_BEFORE)
        return;
    if (point == POINT_IN_REQUEST) {
        cell_send(cell, CELL_HALF_REQUEST);
        return;
    }
    if (point == POINT_IN_LONG_REQUEST)
        send_long_part(cell);
    else
        cell_send(cell, CELL_REQUEST);
    cell_accept(cell);
    if (point == POINT_IN_LONG_REQUEST)
        receive_long_part(cell);
    else
        peer_expect_text(cell->target, CELL_REQUEST);
    if (point == POINT_IN_ANSWER) {
        peer_send_text(cell->target, CELL_FIRST_HALF);
        peer_expect_text(cell->victim, CELL_FIRST_HALF);
    }
    if (point == POINT_AFTER_ANSWER || point == POINT_IDLE) {
        peer_send_text(cell->target, CELL_ANSWER);
        peer_expect_text(cell->victim, CELL_ANSWER);
    }
    if (point == POINT_IDLE)
        use_connection(cell);
    else if (point != POINT_AFTER_ANSWER)
        cell_ask_beside(cell);
}

/* ---- The fault ---- */

/* Goes on sending, byte by byte, until all is sent or it is told to stop. */
static void drip(const struct cell *cell, const char *text, int pause)
{
    for (; *text != '\0'; text++)
        if (send(cell->victim, text, 1, MSG_NOSIGNAL) != 1 || peer_readable(cell->victim, pause))
            return;
}

/* What the victim does, but for what it does not read. */
static void do_fault(struct cell *cell, enum fault fault, enum point point)
{
    int limit = test_stretched(CELL_SHORT);

    switch (fault) {
    case FAULT_RESET:
        peer_reset(cell->victim);
        break;
    case FAULT_CLOSE:
        close(cell->victim);
        break;
    case FAULT_HALF_CLOSE:
        peer_end(cell->victim);
        break;
    case FAULT_SILENCE:
        if (point == POINT_AFTER_REQUEST || point == POINT_IN_ANSWER)
            peer_expect_silence(cell->victim, 2 * limit);
        break;
    case FAULT_DRIP:
        drip(cell,
             point == POINT_IN_REQUEST        ? "ng"
             : point == POINT_IN_LONG_REQUEST ? LONG_REST
                                              : CELL_REQUEST,
             limit / 8);
        break;
    case FAULTS:
        break;
    }
    if (fault == FAULT_RESET || fault == FAULT_CLOSE)
        cell->victim = -1;
}

/* ---- What follows ---- */

/* The target does what is still to be done for the victim, whether or not that is still there. */
static void finish_answer(struct cell *cell, enum point point, bool closes)
{
    if (cell->target == -1)
        return;
    if (point == POINT_AFTER_REQUEST)
        peer_send_text(cell->target, CELL_ANSWER);
    else if (point == POINT_IN_ANSWER)
        peer_send_text(cell->target, CELL_SECOND_HALF);
    else if (point == POINT_IN_LONG_REQUEST && closes)
        peer_expect_closed(cell->target);
    else if (point == POINT_IN_LONG_REQUEST) {
        peer_expect_text(cell->target, LONG_REST);
        peer_send_text(cell->target, CELL_ANSWER);
    }
    if (closes)
        cell_close_target(cell, false);
    else
        cell_keep_target(cell);
}

static void expect_fate(struct cell *cell, enum fate fate, enum fault fault, enum point point)
{
    bool owed = point == POINT_AFTER_REQUEST || point == POINT_IN_LONG_REQUEST;

    if (fate == FATE_GONE)
        return;
    if ((fate == FATE_ANSWER || fate == FATE_ANSWER_CLOSE) && point == POINT_IN_ANSWER)
        peer_expect_text(cell->victim, CELL_SECOND_HALF);
    else if ((fate == FATE_ANSWER || fate == FATE_ANSWER_CLOSE) && owed)
        peer_expect_text(cell->victim, CELL_ANSWER);
    if (fate == FATE_ANSWER) {
        if (fault != FAULT_DRIP || point == POINT_IN_LONG_REQUEST)
            cell_send(cell, CELL_REQUEST);
        cell_serve(cell, cell->victim, CELL_ANSWER);
    } else {
        peer_expect_end(cell->victim);
        close(cell->victim); /* which ends its stay at once */
        cell->victim = -1;
    }
}

static void run_cell(struct fixture *fixture, bool is_fifo, enum fault fault, enum point point)
{
    const struct expectation *expected = &grid[fault][point];
    enum fate fate = is_fifo ? expected->fate : expected->alone_fate;
    const char *failed = is_fifo ? expected->failed : expected->alone_failed;
    bool times = fault == FAULT_SILENCE || fault == FAULT_DRIP;
    bool closes = expected->closes && fate != FATE_ANSWER;
    char keys[128], text[96];

    snprintf(keys, sizeof(keys), "client_idle_timeout = %d; stall_timeout = %d;",
             times ? test_stretched(CELL_SHORT) : -1,
             fault == FAULT_DRIP ? test_stretched(CELL_SHORT) : 30000);
    struct cell cell = cell_begin(fixture, is_fifo, keys);
    snprintf(text, sizeof(text), "127.0.0.1:%u ended: %s", peer_port(cell.victim),
             expected->ended != NULL ? expected->ended : "");
    go_to(&cell, point);
    do_fault(&cell, fault, point);
    if (fate == FATE_GONE && expected->failed != NULL)
        proximux_wait_log(cell.proximux, text); /* it is gone before its answer comes */
    finish_answer(&cell, point, closes);
    expect_fate(&cell, fate, fault, point);
    cell_serve_other(&cell);
    if (fate != FATE_ANSWER)
        proximux_wait_log(cell.proximux, text);
    cell_end(&cell, failed != NULL ? 1 : 0, failed);
    if (closes) {
        snprintf(text, sizeof(text), "closed: %s", failed);
        assert_int_equal(proximux_log_count(cell.proximux, text), 1);
    }
    assert_int_equal(proximux_log_count(cell.proximux, "is down"), 0);
}

/* ---- A client that never reads ---- */

/* Sends as much as goes, and receives it if the victim reads; returns whether something moved. */
static bool move_some(const struct cell *cell, size_t *sent, size_t *received, bool reads)
{
    static char data[65536];
    size_t left = BIG_SIZE - *sent < sizeof(data) ? BIG_SIZE - *sent : sizeof(data);
    ssize_t count = left == 0 ? 0 : send(cell->target, data, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    ssize_t got = reads ? recv(cell->victim, data, sizeof(data), MSG_DONTWAIT) : 0;

    *sent += count > 0 ? (size_t)count : 0;
    *received += got > 0 ? (size_t)got : 0;
    return count > 0 || got > 0;
}

/* Until nothing has moved for a while. */
static void move_until_stuck(const struct cell *cell, size_t *sent)
{
    size_t received = 0;

    for (int quiet = 0; quiet < 20 && *sent < BIG_SIZE;) {
        quiet = move_some(cell, sent, &received, false) ? 0 : quiet + 1;
        if (quiet > 0)
            test_pause();
    }
}

/* Until all is sent and, if the victim reads, has come. */
static void move_all(const struct cell *cell, size_t *sent, bool reads)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);
    size_t received = 0;

    while (*sent < BIG_SIZE || (reads && received < BIG_SIZE)) {
        test_require(test_now() < deadline, "%zu bytes were sent, %zu came", *sent, received);
        if (!move_some(cell, sent, &received, reads))
            test_pause();
    }
}

/* Has the victim's request, from this point on, come to the target. */
static void ask_for_much(struct cell *cell, enum point point)
{
    if (point == POINT_IN_REQUEST)
        cell_send(cell, "ng");
    else if (point == POINT_IN_LONG_REQUEST)
        cell_send(cell, LONG_REST);
    else if (point != POINT_AFTER_REQUEST && point != POINT_IN_ANSWER)
        cell_send(cell, CELL_REQUEST);
    if (cell->target == -1)
        cell_accept(cell);
    if (point == POINT_IN_LONG_REQUEST)
        peer_expect_text(cell->target, LONG_REST);
    else if (point != POINT_AFTER_REQUEST && point != POINT_IN_ANSWER)
        peer_expect_text(cell->target, CELL_REQUEST);
}

static void run_unread(struct fixture *fixture, bool is_fifo, enum point point)
{
    size_t sent = 0;
    char keys[64];

    snprintf(keys, sizeof(keys), "stall_timeout = %d;", test_stretched(2 * CELL_SHORT));
    struct cell cell = cell_begin(fixture, is_fifo, keys);
    go_to(&cell, point == POINT_IN_ANSWER ? POINT_AFTER_REQUEST : point);
    ask_for_much(&cell, point);
    if (!cell.other_waits &&
        (point == POINT_BEFORE || point == POINT_IN_REQUEST || point >= POINT_AFTER_ANSWER))
        cell_ask_beside(&cell);
    peer_send_text(cell.target, BIG_HEAD);
    if (point == POINT_IN_ANSWER) /* that much it reads */
        peer_expect_text(cell.victim, BIG_HEAD);
    move_until_stuck(&cell, &sent);
    if (is_fifo) {
        proximux_wait_log(cell.proximux, "ended: client_stalled");
        peer_expect_closed(cell.victim);
        move_all(&cell, &sent, false); /* which nobody gets */
    } else {                           /* nobody waits for its connection */
        if (point != POINT_IN_ANSWER)
            peer_expect_text(cell.victim, BIG_HEAD);
        move_all(&cell, &sent, true);
    }
    cell_serve_other(&cell); /* on the same connection */
    cell_end(&cell, is_fifo ? 1 : 0, is_fifo ? "client_stalled" : NULL);
}

/* ---- The tests: one a cell ---- */

struct grid_test {
    void *fixture;
    bool is_fifo;
    enum fault fault; /* FAULTS: it never reads */
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
    if (test->fault == FAULTS)
        run_unread(test->fixture, test->is_fifo, test->point);
    else
        run_cell(test->fixture, test->is_fifo, test->fault, test->point);
}

int main(void)
{
    enum { ROWS = FAULTS + 1, CELLS = ROWS * POINTS };
    static const char *const faults[ROWS] = {
        "reset", "close", "half-close", "silence", "drip", "never reads"
    };
    static const char *const points[POINTS] = { "before",
                                                "in the request",
                                                "in a long request",
                                                "after the request",
                                                "in the answer",
                                                "after the answer",
                                                "idle" };
    static struct grid_test cells[2 * CELLS];
    static struct CMUnitTest tests[2 * CELLS];

    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
        struct grid_test *cell = &cells[i];

        cell->is_fifo = i < CELLS;
        cell->fault = (enum fault)(i / POINTS % ROWS);
        cell->point = (enum point)(i % POINTS);
        snprintf(cell->name, sizeof(cell->name), "%s: %s, %s", cell->is_fifo ? "fifo" : "funnel",
                 faults[cell->fault], points[cell->point]);
        tests[i] = (struct CMUnitTest){ cell->name, test_cell, set_up, tear_down, cell };
    }
    return cmocka_run_group_tests_name("grid of faults, clients", tests, NULL, NULL);
}
