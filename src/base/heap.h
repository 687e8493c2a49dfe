/* A priority queue of intrusive nodes, the smallest key first: a pairing heap. Adding costs one step, removing log n.
 * All zeros is an empty heap, and a zeroed node is in none. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint64_t key; /* not to be changed while the node is in a heap */
    struct heap_node *child;
    struct heap_node *next;  /* the next child of the same parent */
    struct heap_node **link; /* what points to this node; NULL: it is in no heap */
};

struct heap {
    struct heap_node *first;
};

static inline bool heap_linked(const struct heap_node *node)
{
    return node->link != NULL;
}

/* Adds a node that is in no heap. */
void heap_add(struct heap *heap, struct heap_node *node, uint64_t key);

/* Takes a node out; one that is in no heap stays as it is. */
void heap_remove(struct heap_node *node);

#endif
