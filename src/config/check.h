/* From the parsed configuration (and completed) to settings; finds what is wrong beyond single values. */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config/parsed.h"
#include "config/settings.h"

#define REASON_SIZE 320

/* What is being checked. */
struct check {
    struct parsed_configuration *parsed;
    struct parsed_group *group; /* a listener's, or one of those that there are once */
    const char *name;           /* of the listener; "?" if it has none. NULL: it is no listener */
    struct listener_settings *settings;
    char mode[64]; /* of the listener, as errors name it; from check_mode() on */
};

/* Notes a problem of a key in `group`: the check's, or one inside it. `origin` NULL: where the key has its value
 * from. Where nobody has set it, the place is the group of the check. */
void check_report(const struct check *check, bool is_error, const struct parsed_group *group, const char *key,
                  const struct origin *origin, const char *format, ...) __attribute__((format(printf, 6, 7)));

#define check_error(check, key, ...)   check_report(check, true, (check)->group, key, NULL, __VA_ARGS__)
#define check_warning(check, key, ...) check_report(check, false, (check)->group, key, NULL, __VA_ARGS__)

/* Look up the user or group that a key names, by name or number, if it is set. `group` may be NULL; it gets the
 * user's own group. */
void check_user(const struct check *check, const char *key, uid_t *user, gid_t *group);
void check_user_group(const struct check *check, const char *key, gid_t *group);

/* Stores each value of a group in the field that its row names in `settings`, and notes what is missing or wrong
 * by itself. False if any value of the group can't be relied on, so that there is no use in comparing them. */
bool check_store(const struct check *check, const struct parsed_group *group, void *settings);

/* Sets the mode; "auto" becomes one of the others, unless something that it depends on is wrong, which has
 * been said. Wants the targets to be there. */
void check_mode(struct check *check);

/* Says what the mode can't do with the targets and the protocol, what it ignores, and what is unsafe. Wants
 * everything else to be there. */
void check_mode_fits(const struct check *check);

/* Fills the settings' `protocol` from the group of that name. Wants mode and plain values to be there. */
void check_protocol(const struct check *check);

/* Fills the settings of each target's `check`: its own, or that of its listener. Wants everything else to be there. */
void check_checks(const struct check *check);

/* Whether it shares the targets of another listener; and what it is then. `listeners`: the settings of those that have
 * targets of their own, in the order in which they were parsed; NULL: something is wrong with it. */
bool check_is_door(const struct parsed_group *listener);
void check_door(const struct check *check, struct listener_settings *const *listeners);

/* Settings with one reference, or NULL if something is wrong; `listeners`: as above. Those of admin are what its
 * connections come in by, a listener "admin" without targets; NULL also if none is wanted. */
struct listener_settings *check_listener(struct parsed_configuration *parsed, struct parsed_group *listener,
                                         struct listener_settings *const *listeners);
struct listener_settings *check_admin(struct parsed_configuration *parsed);

/* Says what the targets of all listeners together can't be. Wants the listeners in the order in which they were parsed,
 * each right by itself. */
void check_all_targets(struct parsed_configuration *parsed, const struct settings *settings);

/* Returns settings with one reference, or NULL if there is any error, which is among the problems then. Reads
 * list files and looks up users; nothing else is touched. */
struct settings *check_configuration(struct parsed_configuration *parsed);

#endif
