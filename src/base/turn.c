#include "base/turn.h"

#include "base/clock.h"

/* libev asks the kernel for this many events at a time, at the least. */
#define LOOP_EVENTS_MIN 64

/* Reads and writes between two readings of the clock. */
#define STEPS_MAX 8

int64_t turn_refresh(struct turn *turn)
{
    turn->steps = 0;
    turn->now = clock_now();
    return turn->now;
}

void turn_step(struct turn *turn)
{
    if (++turn->steps >= STEPS_MAX)
        turn_refresh(turn);
}

/* For reading in front, because libev calls back in the opposite order: what the kernel reported first comes last.
 */
void turn_enter(struct turn *turn, enum turn_pass pass, struct turn_entry *entry)
{
    if (list_linked(&entry->node)) {
        if (entry->pass == pass)
            return;
        list_remove(&entry->node);
    }
    entry->pass = pass;
    struct list_node *head = &turn->passes[pass].head;
    list_insert_before(pass <= TURN_READ_CLIENTS ? head->next : head, &entry->node);
}

/* Goes through these passes in their order, each until it is empty; returns whether there was anything. */
static bool turn_go_through(struct turn *turn, enum turn_pass first, enum turn_pass last)
{
    bool found = false;
    for (enum turn_pass pass = first; pass <= last; pass++) {
        struct list_node *node;
        while ((node = list_first(&turn->passes[pass])) != NULL) {
            struct turn_entry *entry = list_entry(node, struct turn_entry, node);
            list_remove(node);
            entry->actions->act[pass](entry);
            turn_step(turn);
            found = true;
        }
    }
    return found;
}

/* What libev calls in place of ev_invoke_pending() when it has collected events. */
static void turn_take(struct ev_loop *loop)
{
    struct turn *turn = turn_of(loop);
    turn_refresh(turn);
    turn->number++;
    turn->has_more = ev_pending_count(loop) >= LOOP_EVENTS_MIN;
    do {
        ev_invoke_pending(loop);
        do
            while (turn_go_through(turn, TURN_READ_TARGETS, TURN_WRITE_CLIENTS))
                ;
        while (turn_go_through(turn, TURN_TIME, TURN_TIME));
        turn_go_through(turn, TURN_FREE, TURN_FREE);
    } while (ev_pending_count(loop) > 0); /* such as attempts to connect that have ended at once */
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
        turn_go_through(turn, TURN_FREE, TURN_FREE);
}
