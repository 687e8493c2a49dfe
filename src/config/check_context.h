/* What the checks of one listener share: what is being checked, and how its faults are said. */
#ifndef CONFIG_CHECK_CONTEXT_H
#define CONFIG_CHECK_CONTEXT_H

#include "config/parsed.h"
#include "config/settings.h"

#define SUBJECT_SIZE 192
#define REASON_SIZE  320

struct check {
    struct parsed_configuration *parsed;
    struct parsed_group *group;
    const char *name; /* of the listener; "?" if it has none */
    struct listener_settings *settings;
};

/* Notes an error or a warning of a key in `group`: the listener's, or one inside it. Where nobody has set the
 * key, the place is the listener's. */
void check_error(const struct check *check, const struct parsed_group *group, const char *key,
                 const struct origin *origin, const char *format, ...) __attribute__((format(printf, 5, 6)));
void check_warning(const struct check *check, const struct parsed_group *group, const char *key,
                   const struct origin *origin, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Whether this listener itself asks for something else than the default; `group` as above. */
bool check_is_asked_for(const struct parsed_group *group, const struct key *key);

#endif
