#include "net/own_sockets.h"

#include <stdlib.h>
#include <string.h>

/* Places in the table; a newer connection takes the place of an older one, so that a loop may run some rounds more. */
#define PLACES 256

struct own_socket {
    struct address address; /* ours */
    int descriptor;         /* may have been closed since */
    char *listener;
};

/* Connections of one listener reach another one. */
struct own_way {
    char *from;
    char *to;
    bool is_loop;
};

static bool own_has_port(const struct own_sockets *own, uint16_t port)
{
    return own->ports[port / 8] & 1 << port % 8;
}

void own_sockets_listen(struct own_sockets *own, const struct address *address)
{
    uint16_t port = address_port(address);
    if (address->family == AF_INET || address->family == AF_INET6)
        own->ports[port / 8] = (unsigned char)(own->ports[port / 8] | 1 << port % 8);
}

static bool own_find_address(int descriptor, struct address *address)
{
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    if (getsockname(descriptor, (struct sockaddr *)&own, &length) == -1)
        return false;
    address_from_socket((const struct sockaddr *)&own, address);
    return address->family == AF_INET || address->family == AF_INET6;
}

void own_sockets_connect(struct own_sockets *own, int descriptor, const struct address *address,
                         const char *listener)
{
    struct address local;
    if (!own_has_port(own, address_port(address)) || !own_find_address(descriptor, &local))
        return;
    if (own->sockets == NULL)
        own->sockets = calloc(PLACES, sizeof *own->sockets);
    char *name = own->sockets == NULL ? NULL : strdup(listener);
    if (name == NULL)
        return; /* then it is not noticed */
    struct own_socket *socket = &own->sockets[address_port(&local) % PLACES];
    free(socket->listener);
    *socket = (struct own_socket){ .address = local, .descriptor = descriptor, .listener = name };
}

/* Whose connection it is; NULL: none of ours, or of one that is closed by now. */
static const char *own_find(const struct own_sockets *own, const struct address *client)
{
    struct address local;
    if (own->sockets == NULL || (client->family != AF_INET && client->family != AF_INET6))
        return NULL;
    const struct own_socket *socket = &own->sockets[address_port(client) % PLACES];
    bool is_ours = socket->listener != NULL && address_compare(&socket->address, client) == 0 &&
                   own_find_address(socket->descriptor, &local) && address_compare(&local, client) == 0;
    return is_ours ? socket->listener : NULL;
}

static struct own_way *own_find_way(const struct own_sockets *own, const char *from, const char *to)
{
    for (size_t i = 0; i < own->way_count; i++)
        if (strcmp(own->ways[i].from, from) == 0 && strcmp(own->ways[i].to, to) == 0)
            return &own->ways[i];
    return NULL;
}

/* There is no loop among the ways that are followed. */
static bool own_leads(const struct own_sockets *own, const char *from, const char *to)
{
    if (strcmp(from, to) == 0)
        return true;
    for (size_t i = 0; i < own->way_count; i++)
        if (!own->ways[i].is_loop && strcmp(own->ways[i].from, from) == 0 &&
            own_leads(own, own->ways[i].to, to))
            return true;
    return false;
}

bool own_sockets_is_loop(struct own_sockets *own, const struct address *client, const char *listener,
                         const char **from, bool *is_new)
{
    *is_new = false;
    *from = own_find(own, client);
    if (*from == NULL)
        return false;
    const struct own_way *known = own_find_way(own, *from, listener);
    if (known != NULL)
        return known->is_loop;
    struct own_way way = { strdup(*from), strdup(listener), own_leads(own, listener, *from) };
    struct own_way *ways = realloc(own->ways, (own->way_count + 1) * sizeof *ways);
    if (ways != NULL)
        own->ways = ways;
    *is_new = ways != NULL && way.from != NULL && way.to != NULL;
    if (*is_new) {
        own->ways[own->way_count++] = way;
    } else {
        free(way.from);
        free(way.to);
    }
    return way.is_loop;
}

void own_sockets_reconfigure(struct own_sockets *own)
{
    for (size_t i = 0; i < own->way_count; i++) {
        free(own->ways[i].from);
        free(own->ways[i].to);
    }
    free(own->ways);
    own->ways = NULL;
    own->way_count = 0;
}

void own_sockets_close(struct own_sockets *own)
{
    own_sockets_reconfigure(own);
    for (size_t i = 0; own->sockets != NULL && i < PLACES; i++)
        free(own->sockets[i].listener);
    free(own->sockets);
    own->sockets = NULL;
}
