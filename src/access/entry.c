#include "access/entry.h"

#include "net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* How much of a malformed text a message shows. */
#define SHOWN_LENGTH 80

#define WHITE_SPACE " \t\r\n\v\f"

/* Of an IPv4-mapped IPv6 address: the bits before the IPv4 address. */
#define MAPPED_BITS 96

char *access_entry_trim(char *text)
{
    text += strspn(text, WHITE_SPACE);
    size_t length = strlen(text);
    while (length > 0 && strchr(WHITE_SPACE, text[length - 1]) != NULL)
        length--;
    text[length] = '\0';
    return text;
}

/* `fault` reads well after the text, which is shown in quotes and cut if it is long. */
static bool entry_fail(char *error, size_t error_size, const char *text, const char *fault)
{
    bool cut = strlen(text) > SHOWN_LENGTH;
    snprintf(error, error_size, "\"%.*s%s\" %s", SHOWN_LENGTH, text, cut ? "..." : "", fault);
    return false;
}

/* Reads the address that is the whole of `length` characters; `bytes` has room for 16. */
static bool parse_address(const char *text, size_t length, unsigned char *bytes, bool *ipv6)
{
    char copy[INET6_ADDRSTRLEN];
    struct address address;
    if (length >= sizeof copy)
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (!address_parse(copy, &address))
        return false;
    *ipv6 = address.family == AF_INET6;
    if (*ipv6)
        memcpy(bytes, &address.v6.sin6_addr, 16);
    else
        memcpy(bytes, &address.v4.sin_addr, 4);
    return true;
}

static bool is_mapped(const unsigned char *bytes, bool ipv6)
{
    static const unsigned char mapped[MAPPED_BITS / 8] = { [10] = 0xff, [11] = 0xff };
    return ipv6 && memcmp(bytes, mapped, sizeof mapped) == 0;
}

/* As parse_address(), with IPv4-mapped IPv6 made IPv4. */
static bool parse_bound(const char *text, size_t length, unsigned char *bytes, bool *ipv6)
{
    if (!parse_address(text, length, bytes, ipv6))
        return false;
    if (is_mapped(bytes, *ipv6)) {
        memmove(bytes, bytes + MAPPED_BITS / 8, 4);
        *ipv6 = false;
    }
    return true;
}

/* `dash` is that of `text`; there may be white space around it. */
static bool parse_range(const char *text, const char *dash, struct access_entry *entry, char *error,
                        size_t error_size)
{
    int first_length = (int)(dash - text);
    while (first_length > 0 && strchr(WHITE_SPACE, text[first_length - 1]) != NULL)
        first_length--;
    const char *last = dash + 1 + strspn(dash + 1, WHITE_SPACE);
    bool last_ipv6;
    if (!parse_bound(text, (size_t)first_length, entry->first, &entry->ipv6) ||
        !parse_bound(last, strlen(last), entry->last, &last_ipv6))
        return entry_fail(error, error_size, text, "is not a range of IP addresses");
    if (entry->ipv6 != last_ipv6)
        return entry_fail(error, error_size, text, "mixes IPv4 and IPv6");
    if (memcmp(entry->first, entry->last, access_entry_width(entry->ipv6)) > 0) {
        snprintf(error, error_size, "%s is the wrong way round; did you mean %s-%.*s?", text, last,
                 first_length, text);
        return false;
    }
    return true;
}

static bool parse_prefix(const char *text, unsigned *prefix)
{
    size_t length = strlen(text);
    if (length == 0 || length > 3 || strspn(text, "0123456789") != length || (text[0] == '0' && length > 1))
        return false;
    *prefix = 0;
    for (; *text != '\0'; text++)
        *prefix = *prefix * 10 + (unsigned)(*text - '0');
    return true;
}

/* Sets the bits after the first `prefix` ones to 0 in `first` and to 1 in `last`. */
static void block_bounds(unsigned char *first, unsigned char *last, size_t width, unsigned prefix)
{
    for (unsigned i = 0; i < width; i++) {
        unsigned fixed = prefix < 8 * i ? 0 : prefix - 8 * i;
        unsigned free_bits = fixed >= 8 ? 0 : 0xffU >> fixed;
        first[i] = (unsigned char)(first[i] & ~free_bits);
        last[i] = (unsigned char)(last[i] | free_bits);
    }
}

/* Makes the block around the address in `entry->first`; false, with the block that was probably meant in
 * `error`, if that is not the block's first one. */
static bool make_block(const char *text, unsigned prefix, struct access_entry *entry, char *error,
                       size_t error_size)
{
    unsigned char given[ACCESS_ADDRESS_SIZE];
    size_t width = access_entry_width(entry->ipv6);
    memcpy(given, entry->first, width);
    memcpy(entry->last, entry->first, width);
    block_bounds(entry->first, entry->last, width, prefix);
    if (memcmp(entry->first, given, width) == 0)
        return true;
    char meant[INET6_ADDRSTRLEN];
    inet_ntop(entry->ipv6 ? AF_INET6 : AF_INET, entry->first, meant, sizeof meant);
    snprintf(error, error_size, "%s has host bits set; did you mean %s/%u?", text, meant, prefix);
    return false;
}

/* `slash` is that of `text`. */
static bool parse_block(const char *text, const char *slash, struct access_entry *entry, char *error,
                        size_t error_size)
{
    if (!parse_address(text, (size_t)(slash - text), entry->first, &entry->ipv6))
        return entry_fail(error, error_size, text, "is not a block of IP addresses");
    bool mapped = is_mapped(entry->first, entry->ipv6);
    unsigned least = mapped ? MAPPED_BITS : 0;
    unsigned most = entry->ipv6 ? 128 : 32;
    unsigned prefix;
    if (!parse_prefix(slash + 1, &prefix) || prefix < least || prefix > most) {
        char fault[64];
        snprintf(fault, sizeof fault, "needs a prefix from %u to %u", least, most);
        return entry_fail(error, error_size, text, fault);
    }
    if (!make_block(text, prefix, entry, error, error_size))
        return false;
    if (mapped) {
        memmove(entry->first, entry->first + MAPPED_BITS / 8, 4);
        memmove(entry->last, entry->last + MAPPED_BITS / 8, 4);
        entry->ipv6 = false;
    }
    return true;
}

bool access_entry_parse(const char *text, struct access_entry *entry, char *error, size_t error_size)
{
    const char *dash = strchr(text, '-');
    const char *slash = strchr(text, '/');
    if (strchr(text, '%') != NULL)
        return entry_fail(error, error_size, text, "has a zone; address lists can't tell zones apart");
    if (dash != NULL)
        return parse_range(text, dash, entry, error, error_size);
    if (slash != NULL)
        return parse_block(text, slash, entry, error, error_size);
    if (!parse_bound(text, strlen(text), entry->first, &entry->ipv6))
        return entry_fail(error, error_size, text, "is not an IP address");
    memcpy(entry->last, entry->first, access_entry_width(entry->ipv6));
    return true;
}
