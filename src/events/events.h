/* Events: loads modules, and calls them and the request log for clients and exchanges.
 *
 * The modules of one configuration are one object, to which sessions hold a reference. A listener without modules
 * and request log has no struct events_listener, and its sessions pay nothing. */
#ifndef EVENTS_EVENTS_H
#define EVENTS_EVENTS_H

#include "base/reason.h"
#include "base/slice.h"
#include "base/turn.h"
#include "config/config.h"
#include "net/address.h"
#include "protocol/protocol.h"

/* Counted by reference. */
struct events;

/* Loads the modules of a configuration, without starting any, and checks their settings. Errors are added to
 * the problems of the configuration; NULL if there is any. */
struct events *events_load(struct config *config);

/* Starts all modules. False with the reason in `error`: events_release() then stops those that were started. */
bool events_start(struct events *events, char *error, size_t error_size);

/* Whether these are the same modules with the same settings. */
bool events_are_equal(const struct events *a, const struct events *b);

struct events *events_reference(struct events *events);

/* The last release stops and unloads the modules. NULL is allowed. */
void events_release(struct events *events);

/* ---- A listener ---- */

/* The modules and the request log of one listener. Counted by reference. */
struct events_listener;

/* Stores NULL if the listener has neither. False (with errno) when memory is short. */
bool events_listener_create(struct events *events, struct listener_settings *settings,
                            struct events_listener **listener);
void events_listener_release(struct events_listener *listener); /* NULL is allowed */

/* How many of the first bytes of requests and of responses are wanted in shared modes: at least those that the
 * text of a request is made from. 0: exchanges are not wanted at all. */
size_t events_request_bytes(const struct events_listener *listener);
size_t events_response_bytes(const struct events_listener *listener);

/* ---- A client ---- */

/* Owned by the client's session; holds a reference to the struct events_listener. */
struct events_client;

/* A client has come; its times are those of the turn. NULL with REASON_MODULE if a module turns it away, or
 * REASON_INTERNAL. */
struct events_client *events_client_open(struct events_listener *listener, const struct turn *turn,
                                         uint64_t number, const struct address *address, enum reason *reason);

uint64_t events_client_number(const struct events_client *client);

/* The client is gone. In proxy mode its outstanding exchanges end by this reason. Frees `client`. */
void events_client_close(struct events_client *client, enum reason reason, uint64_t bytes_from_client,
                         uint64_t bytes_to_client);

/* ---- Proxy mode ---- */

/* The client has its target connection. */
void events_client_connected(struct events_client *client, const char *target);

/* Whether the bytes that pass are wanted; and these bytes, as they pass. */
bool events_client_follows(const struct events_client *client);
void events_client_bytes(struct events_client *client, const char *bytes, size_t length);
void events_target_bytes(struct events_client *client, const char *bytes, size_t length);
void events_target_ended(struct events_client *client);

/* ---- Shared modes: exchanges as the multiplexer sees them ---- */

struct events_exchange {
    uint64_t number;
    const char *target;    /* NULL: none */
    struct slice request;  /* first bytes as they came */
    struct slice response; /* first bytes as they went to the client */
    uint64_t request_bytes;
    uint64_t response_bytes;
    bool answered;
    enum reason reason; /* unless `answered` */
    int64_t wait;       /* microseconds */
    int64_t service;
};

void events_exchange_requested(struct events_client *client, const struct events_exchange *exchange);
void events_exchange_ended(struct events_client *client, const struct events_exchange *exchange);

#endif
