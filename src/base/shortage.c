#include "base/shortage.h"

#include "base/log.h"

#include <stddef.h>

#define SHORTAGE_PAUSE_SECONDS 1.0

static void shortage_report(struct shortage *shortage)
{
    if (shortage->unreported > 0)
        log_error(
            NULL,
            "memory or another thing of this machine is short: %llu more clients or requests were given up",
            (unsigned long long)shortage->unreported);
    shortage->unreported = 0;
}

static void shortage_pause_over(struct ev_loop *loop, ev_timer *watcher, int)
{
    struct shortage *shortage = watcher->data;
    if (shortage->unreported == 0)
        ev_timer_stop(loop, watcher);
    shortage_report(shortage);
}

void shortage_init(struct shortage *shortage, struct ev_loop *loop)
{
    *shortage = (struct shortage){ .loop = loop };
    ev_timer_init(&shortage->pause, shortage_pause_over, 0.0, SHORTAGE_PAUSE_SECONDS);
    shortage->pause.data = shortage;
}

void shortage_note(struct shortage *shortage, const char *source)
{
    if (ev_is_active(&shortage->pause)) {
        shortage->unreported++;
        return;
    }
    log_error(source, "memory or another thing of this machine is short: a client or request was given up");
    ev_timer_again(shortage->loop, &shortage->pause);
}

void shortage_stop(struct shortage *shortage)
{
    if (shortage->loop == NULL)
        return;
    shortage_report(shortage);
    ev_timer_stop(shortage->loop, &shortage->pause);
}
