#include "pipe/conduit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* How many there may be for one listener: what sleeping readers may hold of the kernel's memory, and of the
 * descriptors. The other large flows are copied. */
#define CONDUITS_MAX 64

/* So many are kept for the next flow. One serves all that are read faster than they come. */
#define CONDUITS_IDLE_MAX 4

/* What one holds; the kernel's default is as little as one read. */
#define CONDUIT_SIZE (4 * RUNTIME_READ_SIZE)

#define CONDUIT_DESCRIPTORS 2

void conduits_init(struct conduits *conduits, struct runtime *runtime)
{
    *conduits = (struct conduits){ .runtime = runtime };
    list_init(&conduits->idle);
}

static void conduit_destroy(struct conduits *conduits, struct conduit *conduit)
{
    close(conduit->entry);
    close(conduit->exit);
    free(conduit);
    conduits->count--;
    descriptors_return(&conduits->runtime->descriptors, CONDUIT_DESCRIPTORS);
}

void conduits_begin(struct conduits *conduits)
{
    conduits->flows++;
}

void conduits_end(struct conduits *conduits)
{
    if (--conduits->flows > 0)
        return;
    list_foreach(&conduits->idle, node)
    {
        list_remove(node);
        conduit_destroy(conduits, list_entry(node, struct conduit, node));
    }
}

static struct conduit *conduit_create(struct conduits *conduits)
{
    struct descriptors *descriptors = &conduits->runtime->descriptors;
    int ends[2];
    struct conduit *conduit = NULL;
    if (conduits->count >= CONDUITS_MAX || !descriptors_reserve(descriptors, CONDUIT_DESCRIPTORS))
        return NULL;
    conduit = calloc(1, sizeof *conduit);
    if (conduit == NULL || pipe2(ends, O_CLOEXEC | O_NONBLOCK) == -1) {
        free(conduit);
        descriptors_return(descriptors, CONDUIT_DESCRIPTORS);
        return NULL;
    }
    fcntl(ends[1], F_SETPIPE_SZ, (int)CONDUIT_SIZE); /* one that stays small works too */
    conduit->exit = ends[0];
    conduit->entry = ends[1];
    conduits->count++;
    return conduit;
}

struct conduit *conduit_borrow(struct conduits *conduits)
{
    struct list_node *first = list_first(&conduits->idle);
    if (first == NULL)
        return conduit_create(conduits);
    list_remove(first);
    return list_entry(first, struct conduit, node);
}

void conduit_give_back(struct conduits *conduits, struct conduit *conduit)
{
    size_t idle = 0;
    list_foreach(&conduits->idle, node) idle++;
    if (conduit->length > 0 || idle >= CONDUITS_IDLE_MAX || conduits->flows == 0)
        conduit_destroy(conduits, conduit);
    else
        list_append(&conduits->idle, &conduit->node);
}

ssize_t conduit_fill(struct conduit *conduit, int descriptor)
{
    ssize_t moved =
        splice(descriptor, NULL, conduit->entry, NULL, CONDUIT_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved > 0)
        conduit->length += (size_t)moved;
    return moved;
}

ssize_t conduit_empty(struct conduit *conduit, int descriptor)
{
    ssize_t moved =
        splice(conduit->exit, NULL, descriptor, NULL, conduit->length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved > 0)
        conduit->length -= (size_t)moved;
    return moved;
}
