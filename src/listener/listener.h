/* A listener: sockets that accept, who gets in, and the hand-over of clients to what serves the listener's
 * mode. */
#ifndef LISTENER_LISTENER_H
#define LISTENER_LISTENER_H

#include "base/counters.h"
#include "events/events.h"
#include "listener/bind.h"
#include "net/runtime.h"
#include "net/service.h"

#include <stdbool.h>

struct listener;

/* The last client of a draining listener is gone, its sockets are closed. May not destroy the listener. */
typedef void listener_emptied(void *owner);

/* Makes what serves the clients of a listener; NULL with errno. */
typedef struct service *listener_make_service(void *owner, struct runtime *runtime,
                                              struct listener_settings *settings,
                                              const struct service_owner *service_owner);

/* Takes over `bound`, also on failure, and holds references to `settings` and `events` (NULL: nobody is told of its
 * clients). `shared`: the listener whose targets it shares, made or prepared before it; NULL: none. `owner` is handed
 * to the functions; `make` NULL: by the mode of the settings. Does not accept yet. NULL with errno when memory is
 * short, or descriptors for target connections of a shared mode (EMFILE). */
struct listener *listener_create(struct runtime *runtime, struct listener_settings *settings,
                                 struct events *events, struct bound_sockets *bound, struct listener *shared,
                                 listener_emptied *emptied, void *owner, listener_make_service *make);

/* Closes everything at once. NULL is allowed. */
void listener_destroy(struct listener *listener);

/* Logs the addresses, and accepts as soon as what serves the clients is prepared. */
void listener_start(struct listener *listener);

/* Accepts those who wait in the backlogs, then closes the sockets; clients stay until they end, or have what
 * they asked for. `emptied` is called from the loop or from inside this function. */
void listener_drain(struct listener *listener);

/* The same in favour of another process that has these sockets: who waits in their backlogs is left to it. */
void listener_hand_over(struct listener *listener);

/* Closes the sockets and ends all sessions now. */
void listener_close(struct listener *listener, enum reason reason);

/* Goes on with other settings, which a reload has brought; `shared` as above. Prepares all that can fail; false with
 * errno, then nothing was done. One of the two below follows. */
bool listener_prepare(struct listener *listener, struct listener_settings *settings, struct events *events,
                      struct listener *shared);
void listener_rollback(struct listener *listener);

/* The prepared settings count from now on. Takes over `bound`, after bind_take_over(); who waits at sockets that are
 * not among these any more is accepted, then they are closed. Clients who are blocked now are cut off. Where mode or
 * protocol are others, clients are served as before until `shutdown_timeout` (milliseconds, negative: for ever) has
 * passed, then what they have asked for is still answered. */
void listener_commit(struct listener *listener, struct bound_sockets *bound, int64_t shutdown_timeout);

/* The listener is not wanted any more: those in the backlogs are accepted, the sockets closed, clients served
 * as before until `shutdown_timeout` has passed, and closed then. `emptied` as with listener_drain(). */
void listener_leave(struct listener *listener, int64_t shutdown_timeout);

/* Closes the sockets that are about to be closed, unless it is short of what accepting from them takes: another
 * one may be bound to their addresses then. */
void listener_hurry_closing(struct listener *listener);

/* Descriptors that a listener with these settings may need at a time; 0: there is no limit. */
size_t listener_descriptors(const struct listener_settings *settings);

/* Whether the services of these can't take each other's clients over: mode or protocol are others. */
bool listener_services_differ(const struct listener_settings *a, const struct listener_settings *b);

/* What can be seen of it; sockets are there until it has drained. The state is "starting" (its service is being
 * prepared), "accepting", "short of descriptors" or "draining". It is empty without sockets and clients. */
struct bound_sockets *listener_sockets(struct listener *listener);
const struct listener_settings *listener_get_settings(const struct listener *listener);
const struct counters *listener_get_counters(const struct listener *listener);
const char *listener_state(const struct listener *listener);
bool listener_is_empty(const struct listener *listener);
size_t listener_clients(const struct listener *listener);
struct listener_gauges listener_measure(const struct listener *listener);
size_t listener_targets(const struct listener *listener);
struct service_target listener_target(const struct listener *listener, size_t index);

#endif
