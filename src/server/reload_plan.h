/* What a reload is going to change: made aside, then carried out or given up. */
#ifndef SERVER_RELOAD_PLAN_H
#define SERVER_RELOAD_PLAN_H

#include "server/reload_job.h"
#include "server/server_reload.h"

struct reload_plan;

/* Binds and makes all that is needed; what fails is written to the log, all of it, and counted in `errors`.
 * NULL if anything did: then all is as it was. */
struct reload_plan *reload_plan_make(const struct reload_parts *parts, struct reload_found *found,
                                     size_t *errors);

/* Carries it out: listeners have what `found` says, and `parts->config` is what was found. Frees the plan,
 * and empties `found`. */
void reload_plan_commit(struct reload_plan *plan);

#endif
