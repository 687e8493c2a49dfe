/* Events: modules that are loaded, and what is told to them and to the log of requests.
 *
 * The modules of a configuration belong to its settings: whoever goes by these (a session that outlives a
 * reload among them) has the instances that came with them, and the last one to let go of them stops these.
 * Of a listener about which nobody wants to know anything the settings have no `events`, and its sessions do
 * nothing at all. */
#ifndef EVENTS_EVENTS_H
#define EVENTS_EVENTS_H

#include "base/reason.h"
#include "base/slice.h"
#include "config/config.h"
#include "net/address.h"
#include "protocol/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Loads the modules of a configuration, checks their settings, and makes them part of its settings, but
 * starts none. Notes what is wrong among the configuration's problems, beside what is there already; then
 * there are no settings any more. */
void events_load(struct config *config);

/* Starts all modules of the settings, in their order. False with the reason in `error`; then those that were
 * started are stopped when the settings are freed. */
bool events_start(const struct settings *settings, char *error, size_t error_size);

/* How many of the first bytes of requests and of responses are wanted in shared modes. 0: no exchanges at all
 * are; else at least as many as the text of a request is made from. */
size_t events_request_bytes(const struct listener_settings *settings);
size_t events_response_bytes(const struct listener_settings *settings);

/* ---- A client ---- */

/* Owned by whoever serves the client; holds a reference to the settings that it came under. */
struct events_client;

/* A client has come to a listener whose settings have `events`. NULL with REASON_MODULE if a module turns it
 * away, or REASON_INTERNAL. */
struct events_client *events_client_open(struct listener_settings *settings, uint64_t number,
                                         const struct address *address, enum reason *reason);

uint64_t events_client_number(const struct events_client *client);

/* It is gone. What is outstanding of it in proxy mode ends by this reason. Frees it. */
void events_client_close(struct events_client *client, enum reason reason, uint64_t bytes_from_client,
                         uint64_t bytes_to_client);

/* ---- Proxy mode: bytes as they pass ---- */

/* It has its target connection; the target's name is copied. */
void events_client_connected(struct events_client *client, const char *target);
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

void events_exchange_asked(struct events_client *client, const struct events_exchange *exchange);
void events_exchange_ended(struct events_client *client, const struct events_exchange *exchange);

#endif
