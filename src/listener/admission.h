/* Admission of clients: address lists, and limits of how many there are, in all and from one address. */
#ifndef LISTENER_ADMISSION_H
#define LISTENER_ADMISSION_H

#include "base/reason.h"
#include "config/settings.h"

/* Owned by the listener. */
struct admission {
    const struct listener_settings *settings;
    int64_t clients;
    void *addresses; /* tree of clients per address (tsearch), kept only if there is a limit */
};

void admission_init(struct admission *admission, const struct listener_settings *settings);

/* Counts the client in and returns REASON_NONE, or returns why it may not come in. */
enum reason admission_enter(struct admission *admission, const struct address *client);

/* Whether the lists keep the client out. */
bool admission_blocks(const struct admission *admission, const struct address *client);

/* Other settings count from now on. Returns whether those who are in have to be counted by address:
 * admission_count(), once for each of them. */
bool admission_change(struct admission *admission, const struct listener_settings *settings);
void admission_count(struct admission *admission, const struct address *client);

/* A client that was let in has gone. */
void admission_leave(struct admission *admission, const struct address *client);

#endif
