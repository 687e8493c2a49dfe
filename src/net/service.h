/* What serves the clients that a listener has let in: proxy mode (pipe) and the shared modes (stream) look
 * alike to it. */
#ifndef NET_SERVICE_H
#define NET_SERVICE_H

#include "base/counters.h"
#include "base/reason.h"
#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct events_client;
struct events_listener;

/* What one client's stay was like, told when it ends. */
struct service_summary {
    enum reason reason;
    uint64_t bytes_from_client;
    uint64_t bytes_to_client;
};

/* The listener, as its service knows it. Must outlive the service. */
struct service_owner {
    void *owner;
    /* The service is prepared: from now on clients may be accepted. Comes once, from the loop or from inside
     * `start`. */
    void (*ready)(void *owner);
    /* A client has gone and its descriptors are closed: the listener gives its places in the account back and
     * forgets it. It may not destroy the service from here. */
    void (*ended)(void *owner, const struct address *client, const struct service_summary *summary);
    /* The service counts bytes, requests and times here, the listener its clients. */
    struct counters *counters;
    /* What is to be told of clients, see events/events.h; NULL: nothing. */
    const struct events_listener *events;
};

/* What one target of a listener is like at a moment. What it points to is the service's, and may change when
 * the loop goes on. */
struct service_target {
    const char *name;
    const char *state;   /* "untried", "up", "down", "trying" */
    const char *failure; /* why it failed last; "" if it never has */
    bool is_backup;
    int64_t weight;
    struct target_gauges gauges;
    const struct target_counters *counters;
};

struct service;
struct listener_settings;

/* Whether a client is to be cut off. */
typedef bool service_filter(void *data, const struct address *client);

struct service_functions {
    /* How many descriptors are to be reserved for each client before it is accepted. */
    size_t descriptors_per_client;

    /* Prepares for clients. */
    void (*start)(struct service *service);

    /* Takes over an accepted client, and what events know of it (NULL: nobody wants to know). From now on
     * `ended` comes exactly once for it, possibly before this function returns. */
    void (*accept)(struct service *service, int descriptor, const struct address *client,
                   struct events_client *events);

    /* Lets clients finish what they have begun. Those who are accepted later (they waited in a backlog) are
     * treated likewise. */
    void (*drain)(struct service *service);

    /* A reload goes on with other settings, of the same mode and protocol. `prepare` does all that can fail;
     * false with errno. Then comes `commit`, from which on `settings` and `events` (as in service_owner)
     * count, or `rollback`. */
    bool (*prepare)(struct service *service, struct listener_settings *settings,
                    const struct events_listener *events);
    void (*commit)(struct service *service);
    void (*rollback)(struct service *service);

    /* Another service takes the listener's clients from now on: those who are here are served as before, as
     * long as they like; they are told to go where the protocol has a word for that. */
    void (*leave)(struct service *service);

    /* Shows each client to the filter and ends, with REASON_BLOCKED, those for whom it returns true. */
    void (*filter)(struct service *service, service_filter *filter, void *data);

    /* Ends all clients now. */
    void (*close)(struct service *service, enum reason reason);

    /* Clients there are; of these, those who wait for a target connection. */
    size_t (*clients)(const struct service *service);
    size_t (*waiting)(const struct service *service);

    /* Requests at target connections; in proxy mode, clients at theirs. */
    size_t (*in_flight)(const struct service *service);

    /* The targets; `index` is one of their places. */
    size_t (*targets)(const struct service *service);
    void (*target)(const struct service *service, size_t index, struct service_target *target);

    /* Ends all clients with REASON_DRAINED, then frees the service. */
    void (*destroy)(struct service *service);
};

/* Embedded as their first member in what the rooms make of it. Owned by the listener. */
struct service {
    const struct service_functions *functions;
};

#endif
