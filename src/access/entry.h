/* Reads one entry of an address list: an address, a block or a range. */
#ifndef ACCESS_ENTRY_H
#define ACCESS_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#define ACCESS_ADDRESS_SIZE 16

/* All addresses from `first` to `last`, both included, as bytes; IPv4 uses the first four. */
struct access_entry {
    bool ipv6;
    unsigned char first[ACCESS_ADDRESS_SIZE];
    unsigned char last[ACCESS_ADDRESS_SIZE];
};

/* Bytes of an address. */
static inline size_t access_entry_width(bool ipv6)
{
    return ipv6 ? 16 : 4;
}

/* Reads "ADDRESS", "ADDRESS/PREFIX" or "A-B", without space before and after it. IPv4-mapped IPv6 becomes
 * IPv4. On failure returns false with the fault in `error`. */
bool access_entry_parse(const char *text, struct access_entry *entry, char *error, size_t error_size);

/* Cuts white space off both ends; returns the new beginning. */
char *access_entry_trim(char *text);

#endif
