#include "pipe/splice_pipe.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* The most of one listener. It limits how much of the kernel's memory, and how many descriptors, receivers that
 * do not read can hold. Further large flows are copied. */
#define SPLICE_PIPES_MAX 64

/* How many idle ones are kept. One is enough for all flows whose receivers take everything at once. */
#define SPLICE_PIPES_IDLE_MAX 4

/* Bytes that one holds. The kernel's default is as little as one read. */
#define SPLICE_PIPE_SIZE (4 * RUNTIME_READ_SIZE)

#define SPLICE_PIPE_DESCRIPTORS 2

void splice_pipes_init(struct splice_pipes *splice_pipes, struct runtime *runtime)
{
    *splice_pipes = (struct splice_pipes){ .runtime = runtime };
    list_init(&splice_pipes->idle);
}

static void splice_pipe_destroy(struct splice_pipes *splice_pipes, struct splice_pipe *splice_pipe)
{
    close(splice_pipe->entry);
    close(splice_pipe->exit);
    free(splice_pipe);
    splice_pipes->count--;
    descriptors_return(&splice_pipes->runtime->descriptors, SPLICE_PIPE_DESCRIPTORS);
}

void splice_pipes_begin(struct splice_pipes *splice_pipes)
{
    splice_pipes->flows++;
}

void splice_pipes_end(struct splice_pipes *splice_pipes)
{
    if (--splice_pipes->flows > 0)
        return;
    list_foreach(&splice_pipes->idle, node)
    {
        list_remove(node);
        splice_pipe_destroy(splice_pipes, list_entry(node, struct splice_pipe, node));
    }
}

static struct splice_pipe *splice_pipe_create(struct splice_pipes *splice_pipes)
{
    struct descriptors *descriptors = &splice_pipes->runtime->descriptors;
    int ends[2];
    struct splice_pipe *splice_pipe = NULL;
    if (splice_pipes->count >= SPLICE_PIPES_MAX || !descriptors_reserve(descriptors, SPLICE_PIPE_DESCRIPTORS))
        return NULL;
    splice_pipe = calloc(1, sizeof *splice_pipe);
    if (splice_pipe == NULL || pipe2(ends, O_CLOEXEC | O_NONBLOCK) == -1) {
        free(splice_pipe);
        descriptors_return(descriptors, SPLICE_PIPE_DESCRIPTORS);
        return NULL;
    }
    fcntl(ends[1], F_SETPIPE_SZ, (int)SPLICE_PIPE_SIZE); /* if refused, the default will do */
    splice_pipe->exit = ends[0];
    splice_pipe->entry = ends[1];
    splice_pipes->count++;
    return splice_pipe;
}

struct splice_pipe *splice_pipe_borrow(struct splice_pipes *splice_pipes)
{
    struct list_node *first = list_first(&splice_pipes->idle);
    if (first == NULL)
        return splice_pipe_create(splice_pipes);
    list_remove(first);
    return list_entry(first, struct splice_pipe, node);
}

void splice_pipe_give_back(struct splice_pipes *splice_pipes, struct splice_pipe *splice_pipe)
{
    size_t idle = 0;
    list_foreach(&splice_pipes->idle, node) idle++;
    if (splice_pipe->length > 0 || idle >= SPLICE_PIPES_IDLE_MAX || splice_pipes->flows == 0)
        splice_pipe_destroy(splice_pipes, splice_pipe);
    else
        list_append(&splice_pipes->idle, &splice_pipe->node);
}

ssize_t splice_pipe_fill(struct splice_pipe *splice_pipe, int descriptor)
{
    ssize_t moved = splice(descriptor, NULL, splice_pipe->entry, NULL, SPLICE_PIPE_SIZE,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved > 0)
        splice_pipe->length += (size_t)moved;
    return moved;
}

ssize_t splice_pipe_empty(struct splice_pipe *splice_pipe, int descriptor)
{
    ssize_t moved = splice(splice_pipe->exit, NULL, descriptor, NULL, splice_pipe->length,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved > 0)
        splice_pipe->length -= (size_t)moved;
    return moved;
}
