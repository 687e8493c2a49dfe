/* A listener: sockets that accept, who gets in, and the hand-over of clients to what serves the listener's
 * mode. */
#ifndef LISTENER_LISTENER_H
#define LISTENER_LISTENER_H

#include "base/counters.h"
#include "listener/bind.h"
#include "net/runtime.h"
#include "net/service.h"

#include <stdbool.h>

struct listener;

/* The last client of a draining listener has gone, and its sockets are closed. May not destroy the listener.
 */
typedef void listener_emptied(void *owner);

/* Takes over `bound`, also on failure, and holds a reference to `settings`. Does not accept yet. NULL with
 * errno when memory is short, or descriptors for the target connections of a shared mode (EMFILE). */
struct listener *listener_create(struct runtime *runtime, struct listener_settings *settings,
                                 struct bound_sockets *bound, listener_emptied *emptied, void *owner);

/* Makes what serves the clients of a listener; NULL with errno. */
typedef struct service *listener_make_service(void *data, struct runtime *runtime,
                                              struct listener_settings *settings,
                                              const struct service_owner *owner);

/* The same with a service of another making than that of the settings' mode. */
struct listener *listener_create_with(struct runtime *runtime, struct listener_settings *settings,
                                      struct bound_sockets *bound, listener_emptied *emptied, void *owner,
                                      listener_make_service *make, void *data);

/* Closes everything at once. NULL is allowed. */
void listener_destroy(struct listener *listener);

/* Logs the addresses, and accepts as soon as what serves the clients is prepared. */
void listener_start(struct listener *listener);

/* Accepts those who wait in the backlogs, then closes the sockets; clients stay until they end, or have what
 * they asked for. `emptied` is
 * called from the loop or from inside this function. */
void listener_drain(struct listener *listener);

/* The same in favour of another process that has these sockets: who waits in their backlogs is left to it. */
void listener_hand_over(struct listener *listener);

/* Closes the sockets and ends all sessions now. */
void listener_close(struct listener *listener, enum reason reason);

/* Whether it has neither sockets nor clients any more. */
bool listener_is_empty(const struct listener *listener);

/* Descriptors that a listener with these settings may need at a time; 0: there is no limit. */
size_t listener_descriptors(const struct listener_settings *settings);

const struct bound_sockets *listener_get_sockets(const struct listener *listener);
const struct listener_settings *listener_get_settings(const struct listener *listener);
const struct counters *listener_get_counters(const struct listener *listener);

/* Clients being served now. */
size_t listener_clients(const struct listener *listener);

/* What can be seen of it. The state is "starting" (its service is being prepared), "accepting", "short of
 * descriptors" or "draining"; sockets are there until it has drained. */
void listener_measure(const struct listener *listener, struct listener_gauges *gauges);
const char *listener_state(const struct listener *listener);
size_t listener_targets(const struct listener *listener);
void listener_target(const struct listener *listener, size_t index, struct service_target *target);

#endif
