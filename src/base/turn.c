#include "base/turn.h"

#include "base/clock.h"

/* libev asks the kernel for this many events at a time, at the least. */
#define LOOP_EVENTS_MIN 64

int64_t turn_refresh(struct turn *turn)
{
    turn->steps = 0;
    turn->now = clock_now();
    return turn->now;
}

/* The next pass that has entries, when these are behind us: of this round, of another one, or after all rounds. */
static enum turn_pass turn_next(const struct turn *turn, unsigned behind)
{
    unsigned round = turn->entered & ((1U << TURN_TIME) - 1);
    unsigned next = round & ~behind;
    if (next == 0)
        next = round != 0 ? round : turn->entered;
    return (enum turn_pass)__builtin_ctz(next);
}

static void turn_go_through(struct turn *turn, enum turn_pass pass)
{
    struct list_node *node;
    while ((node = list_first(&turn->passes[pass])) != NULL) {
        struct turn_entry *entry = list_entry(node, struct turn_entry, node);
        list_remove(node);
        entry->actions->act[pass](entry);
        turn_step(turn);
    }
    turn->entered &= ~(1U << pass);
}

/* Returns whether the loop's callbacks are to be called again, such as for attempts to connect that have
 * ended at once. */
static bool turn_act(struct turn *turn)
{
    bool has_acted = turn->entered != 0;
    for (unsigned behind = 0; turn->entered != 0;) {
        enum turn_pass pass = turn_next(turn, behind);
        turn_go_through(turn, pass);
        behind = (2U << pass) - 1;
    }
    return has_acted && ev_pending_count(turn->loop) > 0;
}

/* What libev calls in place of ev_invoke_pending() when it has collected events. */
static void turn_take(struct ev_loop *loop)
{
    struct turn *turn = turn_of(loop);
    turn_refresh(turn);
    turn->number++;
    turn->has_more = ev_pending_count(loop) >= LOOP_EVENTS_MIN;
    do
        ev_invoke_pending(loop);
    while (turn_act(turn));
}

void turn_init(struct turn *turn, struct ev_loop *loop)
{
    *turn = (struct turn){ .loop = loop };
    for (size_t i = 0; i < TURN_PASSES; i++)
        list_init(&turn->passes[i]);
    turn_refresh(turn);
    ev_set_userdata(loop, turn);
    ev_set_invoke_pending_cb(loop, turn_take);
}

void turn_close(struct turn *turn)
{
    if (turn->loop != NULL)
        turn_go_through(turn, TURN_FREE);
}
