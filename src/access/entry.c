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

/* `message` has one place for the text, which is shown in quotes and cut if it is long. */
static bool entry_fail(char *error, size_t error_size, const char *text, const char *message)
{
    bool cut = strlen(text) > SHOWN_LENGTH;
    snprintf(error, error_size, "\"%.*s%s\" %s", SHOWN_LENGTH, text, cut ? "..." : "", message);
    return false;
}

/* Reads an address as it is written: `bytes` holds 4 or 16. */
static bool parse_address(const char *text, unsigned char *bytes, bool *ipv6, char *error, size_t error_size)
{
    struct address address;
    if (strchr(text, '%') != NULL)
        return entry_fail(error, error_size, text, "has a zone; address lists can't tell zones apart");
    if (!address_parse(text, &address))
        return entry_fail(error, error_size, text, "is not an IP address");
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
static bool parse_bound(const char *text, unsigned char *bytes, bool *ipv6, char *error, size_t error_size)
{
    if (!parse_address(text, bytes, ipv6, error, error_size))
        return false;
    if (is_mapped(bytes, *ipv6)) {
        memmove(bytes, bytes + MAPPED_BITS / 8, 4);
        *ipv6 = false;
    }
    return true;
}

static bool parse_range(char *text, struct access_entry *entry, char *error, size_t error_size)
{
    char *dash = strchr(text, '-');
    *dash = '\0';
    const char *first = access_entry_trim(text);
    const char *last = access_entry_trim(dash + 1);
    bool last_ipv6;
    if (!parse_bound(first, entry->first, &entry->ipv6, error, error_size) ||
        !parse_bound(last, entry->last, &last_ipv6, error, error_size))
        return false;
    if (entry->ipv6 != last_ipv6) {
        snprintf(error, error_size, "the range \"%s-%s\" mixes IPv4 and IPv6", first, last);
        return false;
    }
    if (memcmp(entry->first, entry->last, access_entry_width(last_ipv6)) > 0) {
        snprintf(error, error_size, "the range \"%s-%s\" is the wrong way round; did you mean %s-%s?", first,
                 last, last, first);
        return false;
    }
    return true;
}

static bool parse_prefix(const char *text, unsigned limit, unsigned *prefix)
{
    size_t length = strlen(text);
    if (length == 0 || length > 3 || strspn(text, "0123456789") != length || (text[0] == '0' && length > 1))
        return false;
    *prefix = 0;
    for (; *text != '\0'; text++)
        *prefix = *prefix * 10 + (unsigned)(*text - '0');
    return *prefix <= limit;
}

/* Sets the bits after the first `prefix` ones to 0 in `first` and to 1 in `last`. */
static void block_bounds(unsigned char *first, unsigned char *last, size_t width, unsigned prefix)
{
    for (size_t i = 0; i < width; i++) {
        unsigned fixed = prefix < 8 * i ? 0 : prefix - (unsigned)(8 * i);
        unsigned free_bits = fixed >= 8 ? 0 : 0xffU >> fixed;
        first[i] = (unsigned char)(first[i] & ~free_bits);
        last[i] = (unsigned char)(last[i] | free_bits);
    }
}

static bool parse_block(char *text, struct access_entry *entry, char *error, size_t error_size)
{
    char *slash = strchr(text, '/');
    *slash = '\0';
    if (!parse_address(text, entry->first, &entry->ipv6, error, error_size))
        return false;
    bool mapped = is_mapped(entry->first, entry->ipv6);
    unsigned limit = entry->ipv6 ? 128 : 32;
    unsigned least = mapped ? MAPPED_BITS : 0;
    unsigned prefix;
    if (!parse_prefix(slash + 1, limit, &prefix) || prefix < least) {
        snprintf(error, error_size, "the prefix of \"%s/%.*s\" is not a number from %u to %u", text,
                 SHOWN_LENGTH, slash + 1, least, limit);
        return false;
    }
    unsigned char given[ACCESS_ADDRESS_SIZE];
    size_t width = access_entry_width(entry->ipv6);
    memcpy(given, entry->first, width);
    memcpy(entry->last, entry->first, width);
    block_bounds(entry->first, entry->last, width, prefix);
    if (memcmp(entry->first, given, width) != 0) {
        char meant[INET6_ADDRSTRLEN];
        inet_ntop(entry->ipv6 ? AF_INET6 : AF_INET, entry->first, meant, sizeof meant);
        snprintf(error, error_size, "%s/%u has host bits set; did you mean %s/%u?", text, prefix, meant,
                 prefix);
        return false;
    }
    if (mapped) {
        memmove(entry->first, entry->first + MAPPED_BITS / 8, 4);
        memmove(entry->last, entry->last + MAPPED_BITS / 8, 4);
        entry->ipv6 = false;
    }
    return true;
}

bool access_entry_parse(char *text, struct access_entry *entry, char *error, size_t error_size)
{
    if (strchr(text, '-') != NULL)
        return parse_range(text, entry, error, error_size);
    if (strchr(text, '/') != NULL)
        return parse_block(text, entry, error, error_size);
    if (!parse_bound(text, entry->first, &entry->ipv6, error, error_size))
        return false;
    memcpy(entry->last, entry->first, access_entry_width(entry->ipv6));
    return true;
}
