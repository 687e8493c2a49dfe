/* Intrusive doubly linked circular lists. A node that is in no list has both links NULL, so does a zeroed struct. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next;
    struct list_node *previous;
};

/* The head is a node of its own: `next` is the first entry, `previous` the last. */
struct list {
    struct list_node head;
};

/* The struct of which `node` is the member named `member`. */
#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *list)
{
    list->head.next = &list->head;
    list->head.previous = &list->head;
}

static inline bool list_empty(const struct list *list)
{
    return list->head.next == &list->head;
}

static inline bool list_linked(const struct list_node *node)
{
    return node->next != NULL;
}

/* The first and the last node; NULL if the list is empty. */
static inline struct list_node *list_first(const struct list *list)
{
    return list_empty(list) ? NULL : list->head.next;
}

static inline struct list_node *list_last(const struct list *list)
{
    return list_empty(list) ? NULL : list->head.previous;
}

/* Adds an unlinked node before `next`, which is in a list. */
static inline void list_insert_before(struct list_node *next, struct list_node *node)
{
    node->next = next;
    node->previous = next->previous;
    next->previous->next = node;
    next->previous = node;
}

/* Adds an unlinked node at the end. */
static inline void list_append(struct list *list, struct list_node *node)
{
    list_insert_before(&list->head, node);
}

/* Takes a node out of whatever list it is in; an unlinked node stays as it is. */
static inline void list_remove(struct list_node *node)
{
    if (!list_linked(node))
        return;
    node->previous->next = node->next;
    node->next->previous = node->previous;
    node->next = NULL;
    node->previous = NULL;
}

/* Walks over all entries; the body may remove the current one, and nothing else. */
#define list_foreach(list, node)                                                                             \
    for (struct list_node *node = (list)->head.next, *node##_after = node->next; node != &(list)->head;      \
         node = node##_after, node##_after = node->next)

#endif
