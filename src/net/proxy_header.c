#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* The fixed part of version 2: a signature, then command, family and the length of what follows. */
static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";
#define BINARY_FIXED 16

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { FAMILY_NONE = 0x00, FAMILY_IPV4 = 0x11, FAMILY_IPV6 = 0x21, FAMILY_UNIX = 0x31 };

/* How many bytes of addresses and ports each family has; 0 for one that TCP does not have. */
static const unsigned char binary_sizes[UINT8_MAX + 1] = {
    [FAMILY_IPV4] = 12,
    [FAMILY_IPV6] = 36,
    [FAMILY_UNIX] = 216,
};

/* ---- version 1 ---- */

/* A port is decimal, 0 to 65535, without leading zeros. */
static bool text_read_address(const char *word, const char *port_word, sa_family_t family,
                              struct address *address)
{
    unsigned char bytes[ADDRESS_WIDTH_MAX];
    unsigned long port = strtoul(port_word, NULL, 10);
    if (inet_pton(family, word, bytes) != 1 || *port_word == '\0' ||
        strspn(port_word, "0123456789") != strlen(port_word) ||
        (port_word[0] == '0' && port_word[1] != '\0') || port > UINT16_MAX)
        return false;
    address_from_bytes(family, bytes, (uint16_t)port, address);
    return true;
}

/* A whole line, its end included. */
static enum proxy_header_result text_read_line(struct proxy_header *header)
{
    char *rest = (char *)header->bytes + strlen("PROXY ");
    const char *words[5]; /* protocol, source, destination, their ports */
    header->bytes[header->total - strlen("\r\n")] = '\0';
    if (strlen((char *)header->bytes) != header->total - strlen("\r\n"))
        return PROXY_HEADER_BROKEN;
    for (size_t i = 0; i < 5; i++)
        words[i] = strsep(&rest, " ");
    if (strcmp(words[0], "UNKNOWN") == 0)
        return PROXY_HEADER_DONE;
    sa_family_t family = strcmp(words[0], "TCP4") == 0 ? AF_INET : AF_INET6;
    if ((family == AF_INET6 && strcmp(words[0], "TCP6") != 0) || words[4] == NULL || rest != NULL ||
        !text_read_address(words[1], words[3], family, &header->source) ||
        !text_read_address(words[2], words[4], family, &header->destination))
        return PROXY_HEADER_BROKEN;
    header->has_addresses = true;
    return PROXY_HEADER_DONE;
}

static enum proxy_header_result text_read(struct proxy_header *header, const char *bytes, size_t length,
                                          size_t *used)
{
    static const char begin[] = "PROXY ";
    while (*used < length) {
        unsigned char byte = (unsigned char)bytes[(*used)++];
        if (header->total < sizeof begin - 1 && byte != begin[header->total])
            return PROXY_HEADER_BROKEN;
        bool after_return = header->total > 0 && header->bytes[header->total - 1] == '\r';
        if (after_return != (byte == '\n')) /* a line has one end, and both of its bytes belong to it */
            return PROXY_HEADER_BROKEN;
        header->bytes[header->total++] = byte;
        if (byte == '\n')
            return text_read_line(header);
        if (header->total == PROXY_HEADER_TEXT_MAX)
            return PROXY_HEADER_BROKEN;
    }
    return PROXY_HEADER_MORE;
}

/* ---- version 2 ---- */

/* The length of the whole header. */
static size_t binary_length(const struct proxy_header *header)
{
    return BINARY_FIXED + ((size_t)header->bytes[14] << 8 | header->bytes[15]);
}

/* Whether the fixed part is valid. The addresses of a LOCAL header are ignored. */
static bool binary_is_valid(const struct proxy_header *header)
{
    unsigned char family = header->bytes[13];
    size_t size = binary_sizes[family];
    if (header->bytes[12] != COMMAND_PROXY)
        return header->bytes[12] == COMMAND_LOCAL;
    return family == FAMILY_NONE || (size > 0 && binary_length(header) >= BINARY_FIXED + size);
}

static void binary_read_addresses(struct proxy_header *header)
{
    unsigned char family = header->bytes[13];
    const unsigned char *addresses = header->bytes + BINARY_FIXED;
    if (header->bytes[12] != COMMAND_PROXY || (family != FAMILY_IPV4 && family != FAMILY_IPV6))
        return;
    size_t size = family == FAMILY_IPV4 ? 4 : 16;
    uint16_t ports[2];
    memcpy(ports, addresses + 2 * size, sizeof ports);
    header->has_addresses = true;
    address_from_bytes(size == 4 ? AF_INET : AF_INET6, addresses, ntohs(ports[0]), &header->source);
    address_from_bytes(size == 4 ? AF_INET : AF_INET6, addresses + size, ntohs(ports[1]),
                       &header->destination);
}

/* Takes bytes up to this end of the header, and keeps those there is room for. Whether it was reached. */
static bool binary_take(struct proxy_header *header, size_t end, const char *bytes, size_t length,
                        size_t *used)
{
    size_t count = MIN(end - header->total, length - *used);
    if (header->total < sizeof header->bytes)
        memcpy(header->bytes + header->total, bytes + *used,
               MIN(count, sizeof header->bytes - header->total));
    header->total += count;
    *used += count;
    return header->total == end;
}

static enum proxy_header_result binary_read(struct proxy_header *header, const char *bytes, size_t length,
                                            size_t *used)
{
    if (header->total < BINARY_FIXED) {
        bool is_whole = binary_take(header, BINARY_FIXED, bytes, length, used);
        if (memcmp(header->bytes, signature, MIN(header->total, sizeof signature)) != 0 ||
            (is_whole && !binary_is_valid(header)))
            return PROXY_HEADER_BROKEN;
        if (!is_whole)
            return PROXY_HEADER_MORE;
    }
    if (!binary_take(header, binary_length(header), bytes, length, used))
        return PROXY_HEADER_MORE;
    binary_read_addresses(header);
    return PROXY_HEADER_DONE;
}

enum proxy_header_result proxy_header_read(struct proxy_header *header, const char *bytes, size_t length,
                                           size_t *used)
{
    *used = 0;
    if (length == 0)
        return PROXY_HEADER_MORE;
    char first = header->total > 0 ? (char)header->bytes[0] : bytes[0];
    return first == signature[0] ? binary_read(header, bytes, length, used)
                                 : text_read(header, bytes, length, used);
}

/* ---- writing ---- */

/* Writes both in one family: IPv4 beside IPv6 is mapped. Returns the size of each, 0 if one is no IP address. */
static size_t write_addresses(const struct address *source, const struct address *destination,
                              unsigned char *bytes)
{
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
    const struct address *const both[] = { source, destination };
    size_t size = MAX(address_width(source), address_width(destination));
    if (address_width(source) == 0 || address_width(destination) == 0)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        size_t width = address_width(both[i]);
        memcpy(bytes + i * size, mapped, size - width);
        memcpy(bytes + (i + 1) * size - width, address_bytes(both[i]), width);
    }
    return size;
}

static size_t text_write(const struct address *source, const struct address *destination, char *bytes)
{
    unsigned char addresses[2 * ADDRESS_WIDTH_MAX];
    char from[INET6_ADDRSTRLEN];
    char to[INET6_ADDRSTRLEN];
    size_t size = write_addresses(source, destination, addresses);
    if (size == 0)
        return (size_t)snprintf(bytes, PROXY_HEADER_WRITE_MAX, "PROXY UNKNOWN\r\n");
    inet_ntop(size == 4 ? AF_INET : AF_INET6, addresses, from, sizeof from);
    inet_ntop(size == 4 ? AF_INET : AF_INET6, addresses + size, to, sizeof to);
    return (size_t)snprintf(bytes, PROXY_HEADER_WRITE_MAX, "PROXY TCP%c %s %s %u %u\r\n",
                            size == 4 ? '4' : '6', from, to, address_port(source), address_port(destination));
}

static size_t binary_write(const struct address *source, const struct address *destination, char *bytes)
{
    unsigned char *header = (unsigned char *)bytes;
    const uint16_t ports[2] = { htons(address_port(source)), htons(address_port(destination)) };
    size_t size = write_addresses(source, destination, header + BINARY_FIXED);
    memcpy(header, signature, sizeof signature);
    memcpy(header + BINARY_FIXED + 2 * size, ports, sizeof ports);
    header[12] = size == 0 ? COMMAND_LOCAL : COMMAND_PROXY;
    header[13] = size == 0 ? FAMILY_NONE : size == 4 ? FAMILY_IPV4 : FAMILY_IPV6;
    header[14] = 0;
    header[15] = binary_sizes[header[13]];
    return BINARY_FIXED + (size_t)header[15];
}

size_t proxy_header_write(int version, const struct address *source, const struct address *destination,
                          char *bytes)
{
    return version == 1 ? text_write(source, destination, bytes) : binary_write(source, destination, bytes);
}
