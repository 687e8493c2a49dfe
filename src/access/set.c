#include "access/set.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_START 16

void access_set_init(struct access_set *set, size_t width)
{
    *set = (struct access_set){ .width = width };
}

static unsigned char *range_first(const struct access_set *set, size_t index)
{
    return set->ranges + index * 2 * set->width;
}

static unsigned char *range_last(const struct access_set *set, size_t index)
{
    return range_first(set, index) + set->width;
}

bool access_set_add(struct access_set *set, const unsigned char *first, const unsigned char *last)
{
    if (set->count == set->capacity) {
        size_t capacity = set->capacity == 0 ? CAPACITY_START : set->capacity * 2;
        unsigned char *ranges = reallocarray(set->ranges, capacity, 2 * set->width);
        if (ranges == NULL)
            return false;
        set->ranges = ranges;
        set->capacity = capacity;
    }
    memcpy(range_first(set, set->count), first, set->width);
    memcpy(range_last(set, set->count), last, set->width);
    set->count++;
    return true;
}

/* By the first number; the order of ranges that begin alike makes no difference to merging. */
static int compare_ranges(const void *a, const void *b, void *width)
{
    return memcmp(a, b, *(const size_t *)width);
}

/* Whether a range that begins with `first` overlaps or adjoins one before it that ends with `last`. */
static bool range_continues(const unsigned char *last, const unsigned char *first, size_t width)
{
    unsigned char after[ACCESS_SET_WIDTH_MAX];
    if (memcmp(first, last, width) <= 0)
        return true;
    memcpy(after, last, width);
    size_t i = width;
    do /* ends, since `last` is not the highest number */
        i--;
    while (++after[i] == 0);
    return memcmp(first, after, width) == 0;
}

static void merge_ranges(struct access_set *set)
{
    size_t kept = 0;
    for (size_t i = 1; i < set->count; i++) {
        if (!range_continues(range_last(set, kept), range_first(set, i), set->width)) {
            kept++;
            memmove(range_first(set, kept), range_first(set, i), 2 * set->width);
        } else if (memcmp(range_last(set, i), range_last(set, kept), set->width) > 0) {
            memcpy(range_last(set, kept), range_last(set, i), set->width);
        }
    }
    set->count = kept + 1;
}

void access_set_finish(struct access_set *set)
{
    if (set->count == 0)
        return;
    qsort_r(set->ranges, set->count, 2 * set->width, compare_ranges, &set->width);
    merge_ranges(set);
    unsigned char *ranges = realloc(set->ranges, set->count * 2 * set->width);
    if (ranges != NULL) /* else the larger block serves as well */
        set->ranges = ranges;
    set->capacity = set->count;
}

bool access_set_contains(const struct access_set *set, const unsigned char *number)
{
    size_t low = 0;
    size_t high = set->count; /* the range looked for, if any, is in [low, high) */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(number, range_first(set, middle), set->width) < 0)
            high = middle;
        else if (memcmp(number, range_last(set, middle), set->width) > 0)
            low = middle + 1;
        else
            return true;
    }
    return false;
}

void access_set_free(struct access_set *set)
{
    free(set->ranges);
}
