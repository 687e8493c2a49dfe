/* Sets of numbers of one width, such as the addresses of one family: ranges, sorted and merged once, then
 * searched by halving. Numbers are given as bytes, the highest first, as addresses are on the wire. */
#ifndef ACCESS_SET_H
#define ACCESS_SET_H

#include <stdbool.h>
#include <stddef.h>

#define ACCESS_SET_WIDTH_MAX 16 /* bytes of the widest numbers */

/* Owned by whoever embeds it. */
struct access_set {
    size_t width;          /* bytes of a number */
    unsigned char *ranges; /* each its first and its last number */
    size_t count;
    size_t capacity;
};

void access_set_init(struct access_set *set, size_t width);

/* Adds all numbers from `first` to `last`, both included; `first` must not be higher. False if memory is short. */
bool access_set_add(struct access_set *set, const unsigned char *first, const unsigned char *last);

/* Sorts and merges what was added. Nothing may be added after it, nothing looked up before it. */
void access_set_finish(struct access_set *set);

bool access_set_contains(const struct access_set *set, const unsigned char *number);
void access_set_free(struct access_set *set);

#endif
