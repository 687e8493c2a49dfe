/* The table of all timeouts: a new one is a row here, its place in `enum mux_timer`, its key and its test. */
#include "mux/rates.h"

/* What becomes of those that run when the setting changes. */
enum timer_change {
    CHANGE_AT_ONCE, /* they go by the new one */
    CHANGE_LATER,   /* they are of requests that were sent, and keep the old one */
    CHANGE_PAUSE,   /* a pause: one that is disabled lasts no time */
};

struct timer_row {
    size_t setting; /* offset in struct mux_settings, of milliseconds */
    enum timer_change change;
    void (*expired)(struct timeout *timeout);
};

#define CLIENT_OF(timeout, member)     list_entry(timeout, struct mux_client, member)
#define CONNECTION_OF(timeout, member) list_entry(timeout, struct mux_connection, member)

static void idle_expired(struct timeout *timeout)
{
    client_cut_off(CLIENT_OF(timeout, idle), REASON_CLIENT_IDLE);
}

static void stall_expired(struct timeout *timeout)
{
    client_stalled(CLIENT_OF(timeout, stall));
}

static void silence_expired(struct timeout *timeout)
{
    connection_exchange_overdue(list_entry(timeout, struct mux_exchange, silence));
}

static void answering_expired(struct timeout *timeout)
{
    connection_answer_overdue(CONNECTION_OF(timeout, answering));
}

static void taking_expired(struct timeout *timeout)
{
    connection_taking_overdue(CONNECTION_OF(timeout, taking));
}

static void turn_expired(struct timeout *timeout)
{
    response_turn_over(CONNECTION_OF(timeout, turn));
}

static void discard_expired(struct timeout *timeout)
{
    note_failure(CONNECTION_OF(timeout, discard), REASON_TARGET_CLOSED, "");
}

static void inactivity_expired(struct timeout *timeout)
{
    connection_retire(CONNECTION_OF(timeout, inactivity), REASON_INACTIVITY);
}

static void ttl_expired(struct timeout *timeout)
{
    connection_retire(CONNECTION_OF(timeout, ttl), REASON_REPLACED);
}

static void pause_expired(struct timeout *timeout)
{
    connection_ready(CONNECTION_OF(timeout, pause));
}

static void down_expired(struct timeout *timeout)
{
    exchange_fail(client_first_waiting(CLIENT_OF(timeout, down)), REASON_TARGET_DOWN);
}

static void queue_expired(struct timeout *timeout)
{
    struct mux_exchange *exchange = client_first(CLIENT_OF(timeout, queue));
    exchange_fail(exchange, rates_hold_back(exchange) ? REASON_OVER_RATE : REASON_QUEUE_TIMEOUT);
}

#define SETTING(name) offsetof(struct mux_settings, name)

/* The queue comes last, because connections that fail give requests back whose time is up. */
static const struct timer_row timers[TIMER_COUNT] = {
    [TIMER_IDLE] = { SETTING(client_idle_timeout), CHANGE_AT_ONCE, idle_expired },
    [TIMER_STALL] = { SETTING(stall_timeout), CHANGE_AT_ONCE, stall_expired },
    [TIMER_SILENCE] = { SETTING(request_timeout), CHANGE_LATER, silence_expired },
    [TIMER_ANSWERING] = { SETTING(request_timeout), CHANGE_LATER, answering_expired },
    [TIMER_TAKING] = { SETTING(request_timeout), CHANGE_LATER, taking_expired },
    [TIMER_TURN] = { SETTING(response_gap), CHANGE_AT_ONCE, turn_expired },
    [TIMER_DISCARD] = { SETTING(stall_timeout), CHANGE_AT_ONCE, discard_expired },
    [TIMER_INACTIVITY] = { SETTING(inactivity_timeout), CHANGE_AT_ONCE, inactivity_expired },
    [TIMER_TTL] = { SETTING(connection_ttl), CHANGE_AT_ONCE, ttl_expired },
    [TIMER_DELAY] = { SETTING(connect_delay), CHANGE_PAUSE, pause_expired },
    [TIMER_SETTLE] = { SETTING(settle_pause), CHANGE_PAUSE, pause_expired },
    [TIMER_GAP] = { SETTING(request_gap), CHANGE_PAUSE, pause_expired },
    [TIMER_DOWN] = { SETTING(down_timeout), CHANGE_AT_ONCE, down_expired },
    [TIMER_QUEUE] = { SETTING(queue_timeout), CHANGE_AT_ONCE, queue_expired },
};

static int64_t timer_milliseconds(const struct mux *mux, enum mux_timer timer)
{
    const char *settings = (const char *)&mux->settings;
    int64_t milliseconds;
    memcpy(&milliseconds, settings + timers[timer].setting, sizeof milliseconds);
    return timers[timer].change == CHANGE_PAUSE && milliseconds < 0 ? 0 : milliseconds;
}

void timeouts_init(struct mux *mux)
{
    for (enum mux_timer i = 0; i < TIMER_COUNT; i++)
        timeout_list_init(&mux->timers[i], timer_milliseconds(mux, i));
}

void timeouts_change(struct mux *mux)
{
    for (enum mux_timer i = 0; i < TIMER_COUNT; i++)
        timeout_list_change(&mux->timers[i], timer_milliseconds(mux, i), timers[i].change == CHANGE_LATER,
                            mux->now);
}

int64_t timeouts_due(const struct mux *mux)
{
    int64_t due = INT64_MAX;
    for (enum mux_timer i = 0; i < TIMER_COUNT; i++) {
        if (list_empty(&mux->timers[i].entries)) /* most are, and this is asked in each turn */
            continue;
        int64_t next = timeout_list_due(&mux->timers[i]);
        if (next < due)
            due = next;
    }
    return due;
}

bool timeouts_expire(struct mux *mux)
{
    for (enum mux_timer i = 0; i < TIMER_COUNT; i++) {
        struct timeout *timeout = timeout_list_expire(&mux->timers[i], mux->now);
        if (timeout == NULL)
            continue;
        timers[i].expired(timeout);
        return true;
    }
    return false;
}
