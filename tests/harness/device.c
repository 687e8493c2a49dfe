#include "harness/device.h"

#include "harness/peer.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define MODBUS_REQUEST  12 /* bytes of a read */

struct device_connection {
    int socket;
    unsigned char bytes[256];
    size_t length;
};

/* The thread owns everything but the mood and the counters. */
struct device {
    pthread_t thread;
    int listener;
    int stopper;
    unsigned port;
    bool is_modbus;
    unsigned char value;
    struct device_connection connections[CONNECTIONS_MAX];
    size_t count;
    atomic_int mood;
    atomic_size_t accepted;
    atomic_size_t requests;
    atomic_size_t most;
};

static void answer(const struct device *device, int socket, const unsigned char *request)
{
    unsigned char bytes[] = {
        request[0], request[1], 0, 0, 0, 5, request[6], request[7], 2, 0, device->value
    };
    if (atomic_load(&device->mood) == DEVICE_STRANGE)
        bytes[0] ^= 0x80;
    send(socket, bytes, sizeof bytes, MSG_NOSIGNAL);
}

/* Serves one whole request. False: the connection ends. */
static bool serve_modbus(struct device *device, const struct device_connection *connection)
{
    const unsigned char *request = connection->bytes;
    int mood = atomic_load(&device->mood);
    atomic_fetch_add(&device->requests, 1);
    if (mood == DEVICE_SWALLOWS || request[6] == DEVICE_CRASH_UNIT)
        return false;
    if (mood != DEVICE_SILENT && request[6] != DEVICE_DEAD_UNIT)
        answer(device, connection->socket, request);
    return true;
}

static bool serve_server(struct device *device, const struct device_connection *connection)
{
    static const unsigned char version[] = { 0, 3, 0, 0 };
    atomic_fetch_add(&device->requests, 1);
    return memcmp(connection->bytes + 4, version, 4) == 0 &&
           send(connection->socket, "R", 1, MSG_NOSIGNAL) == 1;
}

/* False: the connection ends. */
static bool serve(struct device *device, struct device_connection *connection)
{
    size_t size = device->is_modbus ? MODBUS_REQUEST : 8;
    ssize_t length = recv(connection->socket, connection->bytes + connection->length,
                          sizeof connection->bytes - connection->length, MSG_DONTWAIT);
    if (length <= 0)
        return false;
    connection->length += (size_t)length;
    while (connection->length >= size) {
        bool goes_on =
            device->is_modbus ? serve_modbus(device, connection) : serve_server(device, connection);
        if (!goes_on)
            return false;
        connection->length -= size;
        memmove(connection->bytes, connection->bytes + size, connection->length);
    }
    return true;
}

static void take_connection(struct device *device)
{
    int socket = accept4(device->listener, NULL, NULL, SOCK_CLOEXEC);
    if (socket == -1)
        return;
    atomic_fetch_add(&device->accepted, 1);
    if (atomic_load(&device->mood) == DEVICE_CLOSES || device->count == CONNECTIONS_MAX)
        close(socket);
    else
        device->connections[device->count++] = (struct device_connection){ .socket = socket };
    if (device->count > atomic_load(&device->most))
        atomic_store(&device->most, device->count);
}

static void *run(void *data)
{
    struct device *device = data;
    struct pollfd polled[CONNECTIONS_MAX + 2];
    for (;;) {
        polled[0] = (struct pollfd){ .fd = device->stopper, .events = POLLIN };
        polled[1] = (struct pollfd){ .fd = device->listener, .events = POLLIN };
        for (size_t i = 0; i < device->count; i++)
            polled[i + 2] = (struct pollfd){ .fd = device->connections[i].socket, .events = POLLIN };
        if (poll(polled, device->count + 2, -1) == -1)
            continue;
        if (polled[0].revents != 0)
            return NULL;
        for (size_t i = device->count; i-- > 0;) {
            if (polled[i + 2].revents == 0 || serve(device, &device->connections[i]))
                continue;
            close(device->connections[i].socket);
            device->connections[i] = device->connections[--device->count];
        }
        if (polled[1].revents != 0)
            take_connection(device);
    }
}

struct device *device_start_at(bool is_modbus, unsigned char value, struct place place)
{
    struct device *device = calloc(1, sizeof *device);
    if (device == NULL)
        abort();
    device->is_modbus = is_modbus;
    device->value = value;
    device->port = peer_free_port_at(place);
    device->listener = peer_listen_at("127.0.0.1", device->port, 64, place);
    device->stopper = eventfd(0, EFD_CLOEXEC);
    if (device->stopper == -1 || pthread_create(&device->thread, NULL, run, device) != 0)
        abort();
    return device;
}

unsigned device_port(const struct device *device)
{
    return device->port;
}

void device_set_mood(struct device *device, enum device_mood mood)
{
    atomic_store(&device->mood, (int)mood);
}

size_t device_accepted(struct device *device)
{
    return atomic_load(&device->accepted);
}

size_t device_requests(struct device *device)
{
    return atomic_load(&device->requests);
}

size_t device_most(struct device *device)
{
    return atomic_load(&device->most);
}

void device_stop(struct device *device)
{
    if (eventfd_write(device->stopper, 1) == -1)
        abort();
    pthread_join(device->thread, NULL);
    for (size_t i = 0; i < device->count; i++)
        close(device->connections[i].socket);
    close(device->listener);
    close(device->stopper);
    free(device);
}
