#include "net/descriptors.h"

#include <dirent.h>
#include <sys/resource.h>

#define DESCRIPTORS_MARGIN 12 /* for look-ups, reopening logs and whatever a library opens in passing */

static size_t count_open(void)
{
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return 0;
    size_t count = 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count - 3; /* ".", ".." and the directory's own */
}

/* Raises the hard limit only as far as `wanted` asks, the soft one to the hard one. Returns the soft one. */
static size_t raise_limit(size_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return 1024;
    rlim_t highest = limit.rlim_max < wanted ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){ highest, highest }) == 0)
        return highest;
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){ limit.rlim_max, limit.rlim_max }) == 0)
        return limit.rlim_max;
    return limit.rlim_cur;
}

size_t descriptors_init(struct descriptors *descriptors, size_t wanted)
{
    list_init(&descriptors->waiters);
    size_t used = count_open() + DESCRIPTORS_MARGIN;
    size_t limit = raise_limit(wanted == 0 ? 0 : wanted + used);
    descriptors->available = limit > used ? limit - used : 0;
    return limit;
}

bool descriptors_reserve(struct descriptors *descriptors, size_t count)
{
    if (descriptors->available < count)
        return false;
    descriptors->available -= count;
    return true;
}

void descriptors_return(struct descriptors *descriptors, size_t count)
{
    descriptors->available += count;
    /* Each waiter is called at most once here, even if it waits again at once. */
    struct list called;
    list_init(&called);
    list_foreach(&descriptors->waiters, waiting)
    {
        if (list_entry(waiting, struct descriptors_waiter, node)->count > descriptors->available)
            continue;
        list_remove(waiting);
        list_append(&called, waiting);
    }
    while (!list_empty(&called)) {
        struct descriptors_waiter *waiter = list_entry(list_first(&called), struct descriptors_waiter, node);
        list_remove(&waiter->node);
        waiter->resume(waiter);
    }
}

void descriptors_wait(struct descriptors *descriptors, struct descriptors_waiter *waiter, size_t count)
{
    waiter->count = count;
    if (!list_linked(&waiter->node))
        list_append(&descriptors->waiters, &waiter->node);
}
