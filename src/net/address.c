#include "net/address.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define UNIX_PATH_MAX_LENGTH    (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define SYSTEMD_NAME_MAX_LENGTH 255 /* of a descriptor */
#define HOST_NAME_MAX_LENGTH    253 /* RFC 1035; the dot that may end it does not count */

static bool address_parse_zone(const char *zone, uint32_t *scope)
{
    *scope = if_nametoindex(zone);
    if (*scope == 0 && strspn(zone, "0123456789") == strlen(zone)) {
        unsigned long number = strtoul(zone, NULL, 10);
        *scope = number <= UINT32_MAX ? (uint32_t)number : 0;
    }
    return *scope != 0;
}

struct slice address_host(const struct address *address)
{
    _Static_assert(offsetof(struct sockaddr_in6, sin6_scope_id) ==
                       offsetof(struct sockaddr_in6, sin6_addr) + sizeof(struct in6_addr),
                   "an IPv6 address and its scope are one piece");
    size_t from = address->family == AF_INET ? offsetof(struct sockaddr_in, sin_addr)
                                             : offsetof(struct sockaddr_in6, sin6_addr);
    return (struct slice){ (const char *)address + from,
                           address->family == AF_INET6 ? ADDRESS_HOST_MAX : address_width(address) };
}

bool address_parse_part(const char *text, size_t length, struct address *address)
{
    char host[INET6_ADDRSTRLEN + IF_NAMESIZE]; /* with a zone, and its '%' */
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    memset(address, 0, sizeof *address);
    if (length >= sizeof host)
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    if (inet_pton(AF_INET, host, &address->v4.sin_addr) == 1) {
        address->family = AF_INET;
        return true;
    }
    char *zone = strchr(host, '%');
    if (zone != NULL)
        *zone++ = '\0';
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) != 1 ||
        (zone != NULL && !address_parse_zone(zone, &v6.sin6_scope_id)))
        return false;
    address->v6 = v6;
    return true;
}

bool address_parse(const char *text, struct address *address)
{
    return address_parse_part(text, strlen(text), address);
}

void address_from_bytes(sa_family_t family, const unsigned char *bytes, uint16_t port,
                        struct address *address)
{
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
    memset(address, 0, sizeof *address);
    if (family == AF_INET6 && memcmp(bytes, mapped, sizeof mapped) == 0) {
        family = AF_INET;
        bytes += sizeof mapped;
    }
    address->family = family;
    memcpy(family == AF_INET ? (void *)&address->v4.sin_addr : &address->v6.sin6_addr, bytes,
           address_width(address));
    address_set_port(address, port);
}

void address_from_socket(const struct sockaddr *socket_address, struct address *address)
{
    memset(address, 0, sizeof *address);
    address->family = socket_address->sa_family;
    if (address->family == AF_INET) {
        memcpy(&address->v4, socket_address, sizeof address->v4);
    } else if (address->family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, socket_address, sizeof v6);
        address_from_bytes(AF_INET6, v6.sin6_addr.s6_addr, ntohs(v6.sin6_port), address);
        if (address->family == AF_INET6)
            address->v6 = v6;
    }
}

const char *address_print(const struct address *address, char *text)
{
    char host[INET6_ADDRSTRLEN] = "";
    char zone[16] = "";
    inet_ntop(address->family, address_bytes(address), host, sizeof host);
    if (address->family == AF_INET6 && address->v6.sin6_scope_id != 0)
        snprintf(zone, sizeof zone, "%%%u", address->v6.sin6_scope_id);
    if (address->family == AF_INET)
        snprintf(text, ADDRESS_TEXT_SIZE, "%s:%u", host, address_port(address));
    else if (address->family == AF_INET6)
        snprintf(text, ADDRESS_TEXT_SIZE, "[%s%s]:%u", host, zone, address_port(address));
    else
        snprintf(text, ADDRESS_TEXT_SIZE, "%s", address->family == AF_UNIX ? "unix" : "none");
    return text;
}

const char *address_print_client(const struct address *address, char *text)
{
    unsigned char kept[ADDRESS_WIDTH_MAX] = { 0 };
    if (!log_masks_addresses() || address_width(address) == 0)
        return address_print(address, text);
    memcpy(kept, address_bytes(address), address->family == AF_INET ? 3 : 6);
    inet_ntop(address->family, kept, text, ADDRESS_TEXT_SIZE);
    return text;
}

static int compare_numbers(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

int address_compare_host(const struct address *a, const struct address *b)
{
    if (a->family != b->family)
        return compare_numbers(a->family, b->family);
    int order = memcmp(address_bytes(a), address_bytes(b), address_width(a));
    if (order != 0 || a->family != AF_INET6)
        return order;
    return compare_numbers(a->v6.sin6_scope_id, b->v6.sin6_scope_id);
}

int address_compare(const struct address *a, const struct address *b)
{
    int order = address_compare_host(a, b);
    return order != 0 ? order : compare_numbers(address_port(a), address_port(b));
}

bool address_is_loopback(const struct address *address)
{
    return address->family == AF_INET
               ? address_bytes(address)[0] == 127
               : address->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

static bool endpoint_fail(char *error, size_t error_size, const char *message, const char *text)
{
    snprintf(error, error_size, message, text);
    return false;
}

static bool endpoint_set(struct endpoint *endpoint, enum endpoint_kind kind, const char *host, uint16_t port,
                         char *error, size_t error_size)
{
    endpoint->host = strdup(host);
    if (endpoint->host == NULL)
        return endpoint_fail(error, error_size, "%s", strerror(ENOMEM));
    endpoint->kind = kind;
    endpoint->port = port;
    return true;
}

/* Letters, digits, '-' and '_' in labels of 1 to 63 characters. A last label of digits only would be a malformed
 * number ("10.0.0.256"), never a name that resolves. */
static bool host_is_name(const char *host)
{
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    size_t length;
    for (const char *label = host;; label += length + 1) {
        length = strspn(label, allowed);
        if (length == 0 || length > 63 || (label[length] != '.' && label[length] != '\0'))
            return false;
        if (label[length] == '\0' || label[length + 1] == '\0') /* a dot at the end: "fully qualified" */
            return strspn(label, "0123456789") < length;
    }
}

static bool endpoint_make_unix(const char *path, struct endpoint *endpoint, char *error, size_t error_size)
{
    if (path[0] != '/')
        return endpoint_fail(error, error_size, "\"unix:%s\" needs an absolute path", path);
    if (strlen(path) > UNIX_PATH_MAX_LENGTH) {
        snprintf(error, error_size, "\"unix:%s\" is longer than a socket path can be (%zu bytes)", path,
                 UNIX_PATH_MAX_LENGTH);
        return false;
    }
    return endpoint_set(endpoint, ENDPOINT_UNIX, path, 0, error, error_size);
}

static bool endpoint_make_host(const char *host, size_t length, uint16_t port, struct endpoint *endpoint,
                               char *error, size_t error_size)
{
    char text[HOST_NAME_MAX_LENGTH + 2];
    bool has_brackets = length > 1 && host[0] == '[' && host[length - 1] == ']';
    if (has_brackets) {
        host++;
        length -= 2;
    }
    if (length == 0)
        return endpoint_fail(error, error_size, "the host is missing%s", "");
    if (length > HOST_NAME_MAX_LENGTH + (host[length - 1] == '.'))
        return endpoint_fail(error, error_size, "the host is too long%s", "");
    memcpy(text, host, length);
    text[length] = '\0';
    enum endpoint_kind kind = strcmp(text, "*") == 0 ? ENDPOINT_ANY : ENDPOINT_NAME;
    if (address_parse(text, &endpoint->address))
        kind = ENDPOINT_NUMERIC;
    if (has_brackets && endpoint->address.family != AF_INET6)
        return endpoint_fail(error, error_size, "\"[%s]\" is not an IPv6 address", text);
    if (kind == ENDPOINT_NAME && !host_is_name(text))
        return endpoint_fail(error, error_size, "\"%s\" is neither a host name nor an address", text);
    address_set_port(&endpoint->address, port);
    return endpoint_set(endpoint, kind, text, port, error, error_size);
}

static bool port_parse(const char *text, uint16_t *port)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long number = strtoul(text, NULL, 10);
    *port = (uint16_t)number;
    return digits <= 5 && text[digits] == '\0' && number > 0 && number <= UINT16_MAX;
}

bool endpoint_parse(const char *text, struct endpoint *endpoint, char *error, size_t error_size)
{
    memset(endpoint, 0, sizeof *endpoint);
    if (strncmp(text, "unix:", 5) == 0)
        return endpoint_make_unix(text + 5, endpoint, error, error_size);
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return endpoint_fail(error, error_size, "\"%s\" has no port; write HOST:PORT or unix:PATH", text);
    if (memchr(text, ':', (size_t)(colon - text)) != NULL && (text[0] != '[' || colon[-1] != ']'))
        return endpoint_fail(error, error_size,
                             "\"%s\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT", text);
    uint16_t port;
    if (!port_parse(colon + 1, &port))
        return endpoint_fail(error, error_size, "the port of \"%s\" is not a number from 1 to 65535", text);
    return endpoint_make_host(text, (size_t)(colon - text), port, endpoint, error, error_size);
}

bool endpoint_make(const char *host, int64_t port, struct endpoint *endpoint, char *error, size_t error_size)
{
    memset(endpoint, 0, sizeof *endpoint);
    if (port < 1 || port > UINT16_MAX)
        return endpoint_fail(error, error_size, "the port is not a number from 1 to 65535%s", "");
    return endpoint_make_host(host, strlen(host), (uint16_t)port, endpoint, error, error_size);
}

bool endpoint_make_systemd(const char *name, struct endpoint *endpoint, char *error, size_t error_size)
{
    memset(endpoint, 0, sizeof *endpoint);
    size_t length = strlen(name);
    if (length == 0 || length > SYSTEMD_NAME_MAX_LENGTH)
        return endpoint_fail(error, error_size, "\"systemd:%s\": a name has 1 to 255 characters", name);
    for (const char *c = name; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~' || *c == ':')
            return endpoint_fail(
                error, error_size,
                "\"systemd:%s\": a name has neither spaces, colons nor other than ASCII characters", name);
    return endpoint_set(endpoint, ENDPOINT_SYSTEMD, name, 0, error, error_size);
}

void endpoint_free(struct endpoint *endpoint)
{
    free(endpoint->host);
    memset(endpoint, 0, sizeof *endpoint);
}

bool endpoint_copy(const struct endpoint *endpoint, struct endpoint *copy)
{
    *copy = *endpoint;
    copy->host = strdup(endpoint->host);
    if (copy->host == NULL)
        memset(copy, 0, sizeof *copy);
    return copy->host != NULL;
}

int endpoint_compare(const struct endpoint *a, const struct endpoint *b)
{
    if (a->kind != b->kind)
        return compare_numbers(a->kind, b->kind);
    if (a->kind == ENDPOINT_NUMERIC)
        return address_compare(&a->address, &b->address);
    if (a->port != b->port)
        return compare_numbers(a->port, b->port);
    return a->kind == ENDPOINT_NAME ? strcasecmp(a->host, b->host) : strcmp(a->host, b->host);
}

const char *endpoint_print(const struct endpoint *endpoint, char *text, size_t size)
{
    if (endpoint->kind == ENDPOINT_UNIX || endpoint->kind == ENDPOINT_SYSTEMD)
        snprintf(text, size, "%s:%s", endpoint->kind == ENDPOINT_UNIX ? "unix" : "systemd", endpoint->host);
    else
        snprintf(text, size, strchr(endpoint->host, ':') != NULL ? "[%s]:%u" : "%s:%u", endpoint->host,
                 endpoint->port);
    return text;
}
