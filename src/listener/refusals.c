#include "listener/refusals.h"

#include "base/log.h"

#define REFUSALS_PAUSE_SECONDS 1.0

/* Logs refusals that were counted during the pause. Returns whether there were any. */
static bool refusals_say(struct refusals *refusals)
{
    bool said = false;
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
        if (refusals->unsaid[reason] == 0)
            continue;
        log_info(refusals->source, "%llu more clients refused: %s",
                 (unsigned long long)refusals->unsaid[reason], reason_name((enum reason)reason));
        refusals->unsaid[reason] = 0;
        said = true;
    }
    return said;
}

static void refusals_pause_over(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)events;
    if (!refusals_say(watcher->data))
        return;
    ev_timer_set(watcher, REFUSALS_PAUSE_SECONDS, 0.0);
    ev_timer_start(loop, watcher);
}

void refusals_init(struct refusals *refusals, struct ev_loop *loop, const char *source)
{
    *refusals = (struct refusals){ .loop = loop, .source = source };
    ev_timer_init(&refusals->pause, refusals_pause_over, REFUSALS_PAUSE_SECONDS, 0.0);
    refusals->pause.data = refusals;
}

void refusals_note(struct refusals *refusals, const struct address *client, enum reason reason)
{
    char text[ADDRESS_TEXT_SIZE];
    if (ev_is_active(&refusals->pause)) {
        refusals->unsaid[reason]++;
        return;
    }
    log_info(refusals->source, "client %s refused: %s", address_print_client(client, text),
             reason_name(reason));
    ev_timer_set(&refusals->pause, REFUSALS_PAUSE_SECONDS, 0.0);
    ev_timer_start(refusals->loop, &refusals->pause);
}

void refusals_stop(struct refusals *refusals)
{
    refusals_say(refusals);
    ev_timer_stop(refusals->loop, &refusals->pause);
}
