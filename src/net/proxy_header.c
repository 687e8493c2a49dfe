#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The fixed part of version 2: a signature, then command, family and the length of what follows. */
static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";
#define BINARY_FIXED 16

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { FAMILY_NONE = 0x00, FAMILY_IPV4 = 0x11, FAMILY_IPV6 = 0x21, FAMILY_UNIX = 0x31 };

#define IPV4_SIZE 12
#define IPV6_SIZE 36
#define UNIX_SIZE 216

/* An IP address and port, IPv4-mapped IPv6 as IPv4. */
static void set_address(struct address *address, int family, const void *bytes, uint16_t port)
{
    if (family == AF_INET) {
        struct sockaddr_in v4 = { .sin_family = AF_INET };
        memcpy(&v4.sin_addr, bytes, sizeof v4.sin_addr);
        address_from_socket((const struct sockaddr *)&v4, address);
    } else {
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
        memcpy(&v6.sin6_addr, bytes, sizeof v6.sin6_addr);
        address_from_socket((const struct sockaddr *)&v6, address);
    }
    address_set_port(address, port);
}

/* ---- version 1 ---- */

/* Takes the word up to `end` off the text, which goes on after it; NULL if there is no such end. */
static char *proxy_header_take_word(char **text, const char *end)
{
    char *word = *text;
    char *found = strstr(word, end);
    if (found == NULL)
        return NULL;
    *found = '\0';
    *text = found + strlen(end);
    return word;
}

static bool read_text_address(const char *word, int family, unsigned char *bytes)
{
    return word != NULL && inet_pton(family, word, bytes) == 1;
}

/* Decimal, 0 to 65535, without leading zeros. */
static bool read_text_port(const char *word, uint16_t *port)
{
    if (word == NULL || *word == '\0' || strlen(word) > 5 || strspn(word, "0123456789") != strlen(word) ||
        (word[0] == '0' && word[1] != '\0'))
        return false;
    int number = atoi(word);
    *port = (uint16_t)number;
    return number <= 65535;
}

/* A whole line, its end included. */
static enum proxy_header_result read_text_line(struct proxy_header *header)
{
    char line[PROXY_HEADER_TEXT_MAX + 1];
    char *rest = line + 6;
    unsigned char source[16];
    unsigned char destination[16];
    uint16_t source_port;
    uint16_t destination_port;
    if (memchr(header->bytes, '\0', header->kept) != NULL)
        return PROXY_HEADER_BROKEN;
    memcpy(line, header->bytes, header->kept);
    line[header->kept] = '\0';
    if (strcmp(rest, "UNKNOWN\r\n") == 0 || strncmp(rest, "UNKNOWN ", 8) == 0)
        return PROXY_HEADER_DONE;
    int family = strncmp(rest, "TCP4 ", 5) == 0 ? AF_INET : AF_INET6;
    if (family == AF_INET6 && strncmp(rest, "TCP6 ", 5) != 0)
        return PROXY_HEADER_BROKEN;
    rest += 5;
    if (!read_text_address(proxy_header_take_word(&rest, " "), family, source) ||
        !read_text_address(proxy_header_take_word(&rest, " "), family, destination) ||
        !read_text_port(proxy_header_take_word(&rest, " "), &source_port) ||
        !read_text_port(proxy_header_take_word(&rest, "\r\n"), &destination_port))
        return PROXY_HEADER_BROKEN;
    header->has_addresses = true;
    set_address(&header->source, family, source, source_port);
    set_address(&header->destination, family, destination, destination_port);
    return PROXY_HEADER_DONE;
}

static enum proxy_header_result proxy_header_read_text(struct proxy_header *header, const char *bytes,
                                                       size_t length, size_t *used)
{
    static const char begin[] = "PROXY ";
    while (*used < length) {
        if (header->kept == PROXY_HEADER_TEXT_MAX)
            return PROXY_HEADER_BROKEN;
        unsigned char byte = (unsigned char)bytes[(*used)++];
        if (header->kept < sizeof begin - 1 && byte != begin[header->kept])
            return PROXY_HEADER_BROKEN;
        bool after_return = header->kept > 0 && header->bytes[header->kept - 1] == '\r';
        if (after_return != (byte == '\n')) /* a line has one end, and both of its bytes belong to it */
            return PROXY_HEADER_BROKEN;
        header->bytes[header->kept++] = byte;
        header->total++;
        if (byte == '\n')
            return read_text_line(header);
    }
    return header->kept < PROXY_HEADER_TEXT_MAX ? PROXY_HEADER_MORE : PROXY_HEADER_BROKEN;
}

/* ---- version 2 ---- */

/* How many bytes of addresses the family has; 0 for a family that TCP does not have. */
static size_t binary_addresses(unsigned char family)
{
    switch (family) {
    case FAMILY_IPV4:
        return IPV4_SIZE;
    case FAMILY_IPV6:
        return IPV6_SIZE;
    case FAMILY_UNIX:
        return UNIX_SIZE;
    default:
        return 0;
    }
}

static size_t binary_length(const struct proxy_header *header)
{
    return (size_t)header->bytes[14] << 8 | header->bytes[15];
}

/* Whether the fixed part is valid. The addresses of a LOCAL header are ignored. */
static bool is_binary_sound(const struct proxy_header *header)
{
    unsigned char family = header->bytes[13];
    if (header->bytes[12] == COMMAND_LOCAL)
        return true;
    if (header->bytes[12] != COMMAND_PROXY)
        return false;
    return family == FAMILY_NONE ||
           (binary_addresses(family) > 0 && binary_length(header) >= binary_addresses(family));
}

/* Bytes of the header that are kept. */
static size_t binary_wanted(const struct proxy_header *header)
{
    unsigned char family = header->bytes[13];
    bool is_read = header->bytes[12] == COMMAND_PROXY && (family == FAMILY_IPV4 || family == FAMILY_IPV6);
    return BINARY_FIXED + (is_read ? binary_addresses(family) : 0);
}

static uint16_t binary_port(const unsigned char *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void read_binary_addresses(struct proxy_header *header)
{
    const unsigned char *bytes = header->bytes + BINARY_FIXED;
    bool is_ipv4 = header->bytes[13] == FAMILY_IPV4;
    size_t size = is_ipv4 ? 4 : 16;
    if (header->kept == BINARY_FIXED)
        return;
    header->has_addresses = true;
    set_address(&header->source, is_ipv4 ? AF_INET : AF_INET6, bytes, binary_port(bytes + 2 * size));
    set_address(&header->destination, is_ipv4 ? AF_INET : AF_INET6, bytes + size,
                binary_port(bytes + 2 * size + 2));
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Keeps bytes until there are `wanted`. */
static void keep_binary(struct proxy_header *header, size_t wanted, const char *bytes, size_t length,
                        size_t *used)
{
    size_t count = smaller(wanted - header->kept, length - *used);
    memcpy(header->bytes + header->kept, bytes + *used, count);
    header->kept += count;
    header->total += count;
    *used += count;
}

static enum proxy_header_result proxy_header_read_binary(struct proxy_header *header, const char *bytes,
                                                         size_t length, size_t *used)
{
    if (header->kept < BINARY_FIXED) {
        keep_binary(header, BINARY_FIXED, bytes, length, used);
        if (memcmp(header->bytes, signature, smaller(header->kept, sizeof signature)) != 0)
            return PROXY_HEADER_BROKEN;
        if (header->kept < BINARY_FIXED)
            return PROXY_HEADER_MORE;
        if (!is_binary_sound(header))
            return PROXY_HEADER_BROKEN;
    }
    if (header->kept < binary_wanted(header)) {
        keep_binary(header, binary_wanted(header), bytes, length, used);
        if (header->kept < binary_wanted(header))
            return PROXY_HEADER_MORE;
    }
    size_t skipped = smaller(BINARY_FIXED + binary_length(header) - header->total, length - *used);
    header->total += skipped;
    *used += skipped;
    if (header->total < BINARY_FIXED + binary_length(header))
        return PROXY_HEADER_MORE;
    read_binary_addresses(header);
    return PROXY_HEADER_DONE;
}

enum proxy_header_result proxy_header_read(struct proxy_header *header, const char *bytes, size_t length,
                                           size_t *used)
{
    *used = 0;
    if (length == 0)
        return PROXY_HEADER_MORE;
    char first = header->kept > 0 ? (char)header->bytes[0] : bytes[0];
    if (first == signature[0])
        return proxy_header_read_binary(header, bytes, length, used);
    return proxy_header_read_text(header, bytes, length, used);
}

/* ---- writing ---- */

static bool is_internet(const struct address *address)
{
    return address->family == AF_INET || address->family == AF_INET6;
}

/* The address as IPv6, mapped if it is IPv4. */
static void as_ipv6(const struct address *address, unsigned char *bytes)
{
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (address->family == AF_INET6) {
        memcpy(bytes, &address->v6.sin6_addr, 16);
        return;
    }
    memcpy(bytes, mapped, sizeof mapped);
    memcpy(bytes + sizeof mapped, &address->v4.sin_addr, 4);
}

/* Both addresses in one family; returns the size of each. */
static size_t in_one_family(const struct address *source, const struct address *destination,
                            unsigned char *source_bytes, unsigned char *destination_bytes)
{
    if (source->family == AF_INET && destination->family == AF_INET) {
        memcpy(source_bytes, &source->v4.sin_addr, 4);
        memcpy(destination_bytes, &destination->v4.sin_addr, 4);
        return 4;
    }
    as_ipv6(source, source_bytes);
    as_ipv6(destination, destination_bytes);
    return 16;
}

static size_t proxy_header_write_text(const struct address *source, const struct address *destination,
                                      char *bytes)
{
    unsigned char from[16];
    unsigned char to[16];
    char from_text[INET6_ADDRSTRLEN];
    char to_text[INET6_ADDRSTRLEN];
    int length;
    if (is_internet(source) && is_internet(destination)) {
        size_t size = in_one_family(source, destination, from, to);
        inet_ntop(size == 4 ? AF_INET : AF_INET6, from, from_text, sizeof from_text);
        inet_ntop(size == 4 ? AF_INET : AF_INET6, to, to_text, sizeof to_text);
        length = snprintf(bytes, PROXY_HEADER_WRITE_MAX, "PROXY TCP%c %s %s %u %u\r\n", size == 4 ? '4' : '6',
                          from_text, to_text, address_port(source), address_port(destination));
    } else {
        length = snprintf(bytes, PROXY_HEADER_WRITE_MAX, "PROXY UNKNOWN\r\n");
    }
    return (size_t)length;
}

static size_t proxy_header_write_binary(const struct address *source, const struct address *destination,
                                        char *bytes)
{
    unsigned char header[BINARY_FIXED + IPV6_SIZE] = { 0 };
    size_t size = 0;
    memcpy(header, signature, sizeof signature);
    header[12] = COMMAND_LOCAL;
    if (is_internet(source) && is_internet(destination)) {
        unsigned char from[16];
        unsigned char to[16];
        size = in_one_family(source, destination, from, to);
        const uint16_t ports[2] = { htons(address_port(source)), htons(address_port(destination)) };
        header[12] = COMMAND_PROXY;
        header[13] = size == 4 ? FAMILY_IPV4 : FAMILY_IPV6;
        memcpy(header + BINARY_FIXED, from, size);
        memcpy(header + BINARY_FIXED + size, to, size);
        memcpy(header + BINARY_FIXED + 2 * size, ports, sizeof ports);
        header[15] = size == 4 ? IPV4_SIZE : IPV6_SIZE;
    }
    size_t length = (size_t)BINARY_FIXED + header[15];
    memcpy(bytes, header, length);
    return length;
}

size_t proxy_header_write(int version, const struct address *source, const struct address *destination,
                          char *bytes)
{
    return version == 1 ? proxy_header_write_text(source, destination, bytes)
                        : proxy_header_write_binary(source, destination, bytes);
}
