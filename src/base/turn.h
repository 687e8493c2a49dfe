/* One turn of the event loop: first the loop's callbacks, in which listeners and proxy mode work and the shared modes
 * only enter the object that something happened to in a pass; then the passes. Those up to TURN_WRITE_CLIENTS are
 * repeated until nothing is entered in them, and again after TURN_TIME. The time is taken when a turn begins, and again
 * after every few steps of it. */
#ifndef BASE_TURN_H
#define BASE_TURN_H

#include "base/list.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

/* Reads and writes between two readings of the clock. */
#define TURN_STEPS 8

/* In this order. */
enum turn_pass {
    TURN_READ_TARGETS,  /* what a target sent, or that it closed, is known before anything is written to it */
    TURN_READ_CLIENTS,  /* like targets in the order in which the kernel reported them */
    TURN_WORK,          /* services: pool and multiplexer, which enter what has changed for writing */
    TURN_WRITE_TARGETS, /* target connections are written to, watched, or ended */
    TURN_WRITE_CLIENTS, /* likewise clients */
    TURN_TIME,          /* services: timeouts. Nobody is overdue whose bytes have come, or could be written */
    TURN_FREE,          /* the memory of what has ended: no function above returns into a freed object */
    TURN_PASSES,
};

struct turn_entry;

/* What an object does in each pass that it enters. */
struct turn_actions {
    void (*act[TURN_PASSES])(struct turn_entry *entry);
};

/* Embedded in what acts in a turn. */
struct turn_entry {
    struct list_node node;
    const struct turn_actions *actions;
    enum turn_pass pass; /* while it is linked */
};

/* Owned by whoever owns the loop. */
struct turn {
    struct ev_loop *loop;
    int64_t now;      /* microseconds, as clock_now() */
    uint64_t number;  /* counts the turns */
    bool has_more;    /* the kernel may have had more to report than it was asked for */
    unsigned steps;   /* since the time was taken */
    unsigned entered; /* a bit for each pass that has entries */
    struct list passes[TURN_PASSES];
};

/* The turn must stay where it is until turn_close(). */
void turn_init(struct turn *turn, struct ev_loop *loop);

/* Frees what has ended since the last turn. A zeroed turn is allowed. */
void turn_close(struct turn *turn);

/* Has the entry act once in this pass, of this turn or the next one; of several passes the last one counts. Readers
 * come in front, because libev calls back in the opposite order: what the kernel reported first comes last. */
static inline void turn_enter(struct turn *turn, enum turn_pass pass, struct turn_entry *entry)
{
    struct list_node *head = &turn->passes[pass].head;
    if (list_linked(&entry->node)) {
        if (entry->pass == pass)
            return;
        list_remove(&entry->node);
    }
    entry->pass = pass;
    turn->entered |= 1U << pass;
    list_insert_before(pass <= TURN_READ_CLIENTS ? head->next : head, &entry->node);
}

/* Takes the time anew, after something that may have taken long; returns it. */
int64_t turn_refresh(struct turn *turn);

/* Counts a step that took microseconds, such as one read or write; takes the time anew after some. */
static inline void turn_step(struct turn *turn)
{
    if (++turn->steps >= TURN_STEPS)
        turn_refresh(turn);
}

/* The turn, and its time, for those who have the loop only. */
static inline struct turn *turn_of(struct ev_loop *loop)
{
    return ev_userdata(loop);
}

static inline int64_t turn_now(struct ev_loop *loop)
{
    return turn_of(loop)->now;
}

#endif
