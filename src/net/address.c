#include "net/address.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* The longest unix path that fits a socket address with its end. */
#define UNIX_PATH_MAX_LENGTH (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* Longest name that systemd gives a descriptor. */
#define SYSTEMD_NAME_MAX_LENGTH 255

/* Longest host name of RFC 1035; the dot that may end it does not count. */
#define HOST_NAME_MAX_LENGTH 253

static bool address_parse_zone(const char *zone, uint32_t *scope)
{
    unsigned index = if_nametoindex(zone);
    if (index == 0) {
        char *end;
        errno = 0;
        unsigned long number = strtoul(zone, &end, 10);
        if (*zone < '0' || *zone > '9' || *end != '\0' || errno != 0 || number == 0 || number > UINT32_MAX)
            return false;
        index = (unsigned)number;
    }
    *scope = index;
    return true;
}

bool address_parse(const char *text, struct address *address)
{
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, &address->v4.sin_addr) == 1) {
        address->family = AF_INET;
        return true;
    }
    char host[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "%");
    if (length >= sizeof host)
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    if (inet_pton(AF_INET6, host, &address->v6.sin6_addr) != 1 ||
        (text[length] == '%' && !address_parse_zone(text + length + 1, &address->v6.sin6_scope_id))) {
        memset(address, 0, sizeof *address);
        return false;
    }
    address->family = AF_INET6;
    return true;
}

void address_from_socket(const struct sockaddr *socket_address, struct address *address)
{
    memset(address, 0, sizeof *address);
    address->family = socket_address->sa_family;
    if (socket_address->sa_family == AF_INET) {
        memcpy(&address->v4, socket_address, sizeof address->v4);
    } else if (socket_address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, socket_address, sizeof v6);
        if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            address->v6 = v6;
            return;
        }
        address->family = AF_INET;
        address->v4.sin_port = v6.sin6_port;
        memcpy(&address->v4.sin_addr, &v6.sin6_addr.s6_addr[12], sizeof address->v4.sin_addr);
    }
}

void address_set_port(struct address *address, uint16_t port)
{
    if (address->family == AF_INET)
        address->v4.sin_port = htons(port);
    else if (address->family == AF_INET6)
        address->v6.sin6_port = htons(port);
}

uint16_t address_port(const struct address *address)
{
    if (address->family == AF_INET)
        return ntohs(address->v4.sin_port);
    return address->family == AF_INET6 ? ntohs(address->v6.sin6_port) : 0;
}

socklen_t address_length(const struct address *address)
{
    return address->family == AF_INET ? sizeof address->v4 : sizeof address->v6;
}

const char *address_print(const struct address *address, char *text)
{
    char host[INET6_ADDRSTRLEN];
    if (address->family == AF_INET) {
        inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_SIZE, "%s:%u", host, address_port(address));
    } else if (address->family == AF_INET6) {
        inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof host);
        char zone[16] = "";
        if (address->v6.sin6_scope_id != 0)
            snprintf(zone, sizeof zone, "%%%u", address->v6.sin6_scope_id);
        snprintf(text, ADDRESS_TEXT_SIZE, "[%s%s]:%u", host, zone, address_port(address));
    } else {
        snprintf(text, ADDRESS_TEXT_SIZE, "%s", address->family == AF_UNIX ? "unix" : "none");
    }
    return text;
}

static int compare_numbers(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

const char *address_print_client(const struct address *address, char *text)
{
    struct address masked = *address;
    if (!log_masks_addresses() || (address->family != AF_INET && address->family != AF_INET6))
        return address_print(address, text);
    if (masked.family == AF_INET) {
        masked.v4.sin_addr.s_addr &= htonl(0xffffff00);
        inet_ntop(AF_INET, &masked.v4.sin_addr, text, ADDRESS_TEXT_SIZE);
    } else {
        memset(masked.v6.sin6_addr.s6_addr + 6, 0, 10);
        inet_ntop(AF_INET6, &masked.v6.sin6_addr, text, ADDRESS_TEXT_SIZE);
    }
    return text;
}

int address_compare_host(const struct address *a, const struct address *b)
{
    if (a->family != b->family)
        return compare_numbers(a->family, b->family);
    if (a->family == AF_INET)
        return memcmp(&a->v4.sin_addr, &b->v4.sin_addr, sizeof a->v4.sin_addr);
    if (a->family != AF_INET6)
        return 0;
    int order = memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr);
    return order != 0 ? order : compare_numbers(a->v6.sin6_scope_id, b->v6.sin6_scope_id);
}

int address_compare(const struct address *a, const struct address *b)
{
    int order = address_compare_host(a, b);
    return order != 0 ? order : compare_numbers(address_port(a), address_port(b));
}

bool address_is_loopback(const struct address *address)
{
    if (address->family == AF_INET)
        return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
    return address->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

static bool endpoint_fail(char *error, size_t error_size, const char *message, const char *text)
{
    snprintf(error, error_size, message, text);
    return false;
}

/* Sets the fields; the only place where an endpoint gets its memory. */
static bool endpoint_set(struct endpoint *endpoint, enum endpoint_kind kind, const char *host, size_t length,
                         uint16_t port, char *error, size_t error_size)
{
    endpoint->host = strndup(host, length);
    if (endpoint->host == NULL)
        return endpoint_fail(error, error_size, "%s", strerror(ENOMEM));
    endpoint->kind = kind;
    endpoint->port = port;
    return true;
}

/* Letters, digits, '-' and '_' in labels of 1 to 63 characters. A last label of digits only would be a
 * malformed number ("10.0.0.256"), never a name that resolves. */
static bool host_is_name(const char *host, size_t length)
{
    size_t label = 0;
    bool digits_only = true;
    for (size_t i = 0; i < length; i++) {
        char c = host[i];
        bool digit = c >= '0' && c <= '9';
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            if (i + 1 < length) /* a dot at the very end says "fully qualified" */
                digits_only = true;
            continue;
        }
        if ((!digit && !letter) || ++label > 63)
            return false;
        digits_only = digits_only && digit;
    }
    return !digits_only;
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
    return endpoint_set(endpoint, ENDPOINT_UNIX, path, strlen(path), 0, error, error_size);
}

static bool endpoint_make_host(const char *host, size_t length, uint16_t port, struct endpoint *endpoint,
                               char *error, size_t error_size)
{
    char text[HOST_NAME_MAX_LENGTH + 2];
    bool brackets = length > 1 && host[0] == '[' && host[length - 1] == ']';
    if (brackets) {
        host++;
        length -= 2;
    }
    if (length == 0)
        return endpoint_fail(error, error_size, "the host is missing%s", "");
    if (length > HOST_NAME_MAX_LENGTH + (host[length - 1] == '.'))
        return endpoint_fail(error, error_size, "the host is too long%s", "");
    memcpy(text, host, length);
    text[length] = '\0';
    struct address address;
    bool numeric = address_parse(text, &address);
    if (brackets && (!numeric || address.family != AF_INET6))
        return endpoint_fail(error, error_size, "\"[%s]\" is not an IPv6 address", text);
    if (strcmp(text, "*") == 0)
        return endpoint_set(endpoint, ENDPOINT_ANY, text, length, port, error, error_size);
    if (numeric) {
        address_set_port(&address, port);
        endpoint->address = address;
        return endpoint_set(endpoint, ENDPOINT_NUMERIC, text, length, port, error, error_size);
    }
    if (!host_is_name(text, length))
        return endpoint_fail(error, error_size, "\"%s\" is neither a host name nor an address", text);
    return endpoint_set(endpoint, ENDPOINT_NAME, text, length, port, error, error_size);
}

static bool port_parse(const char *text, uint16_t *port)
{
    unsigned long number = 0;
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 5)
        return false;
    number = strtoul(text, NULL, 10);
    if (number == 0 || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
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
    return endpoint_set(endpoint, ENDPOINT_SYSTEMD, name, length, 0, error, error_size);
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
    if (copy->host == NULL) {
        memset(copy, 0, sizeof *copy);
        return false;
    }
    return true;
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

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return endpoint_compare(a, b) == 0;
}

const char *endpoint_print(const struct endpoint *endpoint, char *text, size_t size)
{
    if (endpoint->kind == ENDPOINT_UNIX)
        snprintf(text, size, "unix:%s", endpoint->host);
    else if (endpoint->kind == ENDPOINT_SYSTEMD)
        snprintf(text, size, "systemd:%s", endpoint->host);
    else if (strchr(endpoint->host, ':') != NULL)
        snprintf(text, size, "[%s]:%u", endpoint->host, endpoint->port);
    else
        snprintf(text, size, "%s:%u", endpoint->host, endpoint->port);
    return text;
}
