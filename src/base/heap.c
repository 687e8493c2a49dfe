#include "base/heap.h"

/* Puts a tree in the place that `link` is. */
static void heap_place(struct heap_node **link, struct heap_node *node)
{
    *link = node;
    if (node != NULL)
        node->link = link;
}

/* One tree out of two, neither of which has a `next`: the larger root becomes the first child of the other. */
static struct heap_node *heap_meld(struct heap_node *a, struct heap_node *b)
{
    if (a == NULL || b == NULL)
        return a == NULL ? b : a;
    struct heap_node *parent = b->key < a->key ? b : a;
    struct heap_node *child = parent == a ? b : a;
    heap_place(&child->next, parent->child);
    heap_place(&parent->child, child);
    return parent;
}

/* One tree out of a list of siblings: pairs first, from the left, then all pairs, from the right. */
static struct heap_node *heap_meld_all(struct heap_node *siblings)
{
    struct heap_node *pairs = NULL;
    while (siblings != NULL) {
        struct heap_node *a = siblings;
        struct heap_node *b = a->next;
        siblings = b == NULL ? NULL : b->next;
        a->next = NULL;
        if (b != NULL)
            b->next = NULL;
        struct heap_node *pair = heap_meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    struct heap_node *root = NULL;
    while (pairs != NULL) {
        struct heap_node *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        root = heap_meld(root, pair);
    }
    return root;
}

void heap_add(struct heap *heap, struct heap_node *node, uint64_t key)
{
    node->key = key;
    node->child = NULL;
    node->next = NULL;
    heap_place(&heap->first, heap_meld(heap->first, node));
}

/* What the node leaves behind, its children as one tree, takes its place among its siblings. */
void heap_remove(struct heap_node *node)
{
    if (!heap_linked(node))
        return;
    struct heap_node *rest = heap_meld_all(node->child);
    struct heap_node *next = node->next;
    if (rest != NULL)
        heap_place(&rest->next, next);
    heap_place(node->link, rest != NULL ? rest : next);
    node->child = NULL;
    node->next = NULL;
    node->link = NULL;
}
