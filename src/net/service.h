/* A service serves the accepted clients of a listener. Proxy mode (pipe), the shared modes (stream) and admin
 * have this interface. */
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
struct listener_settings;
struct service;

/* The summary of a session, at its end. */
struct service_summary {
    enum reason reason;
    uint64_t bytes_from_client;
    uint64_t bytes_to_client;
};

/* The listener, as its service knows it. Must outlive the service. */
struct service_owner {
    void *owner;
    /* The service is ready for clients. Called once, from the loop or from inside `start`. */
    void (*ready)(void *owner);
    /* A client has gone and its descriptors are closed. The service must not be destroyed from here. */
    void (*ended)(void *owner, const struct address *client, const struct service_summary *summary);
    struct counters *counters; /* of bytes, requests and times; the listener counts its clients itself */
    const struct events_listener *events; /* modules and request log, see events/events.h; NULL: none */
};

/* The present state of one target of a listener. It points into the service, valid until the loop goes on. */
struct service_target {
    const char *name;
    const char *state;   /* "untried", "up", "down", "busy", "trying", "sick", "draining" */
    const char *failure; /* the newest one; "" if there was none */
    int64_t failed;      /* when that was, as clock_now(); 0: never */
    bool is_backup;
    int64_t weight;
    struct target_gauges gauges;
    const struct target_counters *counters;
};

/* A client that was accepted. The addresses are there during the call only. */
struct service_client {
    int descriptor;
    const struct address *address;
    const struct address *destination; /* where a proxy says that it has connected to; NULL: to our socket */
    struct events_client *events;      /* what events know of it; NULL: nobody wants to know */
};

/* Whether a client is to be cut off. */
typedef bool service_filter(void *data, const struct address *client);

struct service_functions {
    /* How many descriptors are to be reserved for each client before it is accepted. */
    size_t descriptors_per_client;
    /* Clients that drain may go on for ever: no answer is their last one. */
    bool has_no_answers;

    /* Prepares for clients. */
    void (*start)(struct service *service);

    /* Takes over an accepted client, for which `ended` is called exactly once, possibly before this returns. */
    void (*accept)(struct service *service, const struct service_client *client);

    /* Lets clients finish what they have begun; the same for those accepted later, from a backlog. */
    void (*drain)(struct service *service);

    /* A reload goes on with other settings, of the same mode and protocol. `prepare` does all that can fail; false
     * with errno. Then `commit` makes settings and events count, or comes `rollback`. */
    bool (*prepare)(struct service *service, struct listener_settings *settings,
                    const struct events_listener *events);
    void (*commit)(struct service *service);
    void (*rollback)(struct service *service);

    /* Another service takes new clients. Present ones are served as before, without a limit of time; they are asked
     * to leave where the protocol has a way. */
    void (*leave)(struct service *service);

    /* Shows each client to the filter and ends, with REASON_BLOCKED, those for whom it returns true. */
    void (*filter)(struct service *service, service_filter *filter, void *data);

    /* Ends all clients now. */
    void (*close)(struct service *service, enum reason reason);

    /* All clients; those that wait for a target connection; requests at target connections (proxy mode: clients). */
    size_t (*clients)(const struct service *service);
    size_t (*waiting)(const struct service *service);
    size_t (*in_flight)(const struct service *service);

    /* The number of targets, those that a reload has taken away but that still have connections among them; the
     * target at an index. */
    size_t (*targets)(const struct service *service);
    void (*target)(const struct service *service, size_t index, struct service_target *target);

    /* Whether these are shown here: several services may share them, and one shows them. NULL: they are. */
    bool (*shows_targets)(const struct service *service);

    /* Ends all clients with REASON_DRAINED, then frees the service. */
    void (*destroy)(struct service *service);
};

/* Embedded in each room's own struct. Owned by the listener. */
struct service {
    const struct service_functions *functions;
};

#endif
