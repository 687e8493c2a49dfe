/* The parsed configuration: every value with its origin, before it is checked as a whole and becomes settings. */
#ifndef CONFIG_PARSED_H
#define CONFIG_PARSED_H

#include "config/keys.h"
#include "config/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One entry of a list of strings. */
struct parsed_item {
    const char *text;
    struct origin origin;
};

/* The value of one key. `set` is false as long as neither file, environment nor table has given one. */
struct parsed_value {
    bool set;
    bool inherited; /* from `defaults` */
    bool faulty;    /* something was given that can't be used, which has been said */
    struct origin origin;
    int64_t number;     /* integers; booleans as 0 and 1; choices by index */
    const char *string; /* KEY_STRING */
    struct parsed_item *items;
    size_t count;
    struct parsed_group *group; /* of keys with members. NULL: a choice's name was given */
};

/* A group: values by the indexes of their keys in its scope. A listener has its targets as children. */
struct parsed_group {
    const struct key_scope *scope;
    struct origin origin;
    struct parsed_value *values; /* behind the group, in the same piece of memory */
    size_t value_count;
    struct parsed_group **children; /* its value of "targets" tells where they come from */
    size_t child_count;
};

/* A key of a module's own: only the module can say whether it is right. */
struct parsed_extra {
    const char *name;
    enum key_type type; /* STRING, INTEGER, BOOLEAN; STRUCTURE: anything else, which no module takes */
    struct parsed_value value;
};

/* A group of `modules`. */
struct parsed_module {
    struct parsed_group *group; /* scope MODULE */
    struct parsed_extra *extras;
    size_t extra_count;
};

/* Owned by struct config. All that it points to lives until parsed_release(), names in origins too. */
struct parsed_configuration {
    struct parsed_block *blocks; /* the memory of everything */
    struct parsed_group *global;
    struct parsed_group *log;
    struct parsed_group *admin;
    struct parsed_group *defaults; /* scope LISTENER; NULL: none */
    struct parsed_group **listeners;
    size_t listener_count;
    struct parsed_module *modules;
    size_t module_count;
    const char *main_file; /* NULL: there was none */
    bool is_unreadable;    /* the file could not be read as a whole: what is in it can't be judged */
    const char **names;    /* of files and variables, for origins */
    size_t name_count;
    const char **files; /* that were read, lists included */
    size_t file_count;
    struct problem_list *problems; /* where what goes wrong is noted; not owned */
};

/* What follows notes it as a problem when memory is short, and then returns NULL or false. */

/* An empty configuration. parsed_release() frees what it holds, but not itself; NULL is allowed. */
struct parsed_configuration *parsed_create(struct problem_list *problems);
void parsed_release(struct parsed_configuration *parsed);

/* Adds what the file (libconfig) says. Unknown keys and wrong types and ranges become problems; a syntax error
 * is reported alone, since nothing after it can be trusted. */
void parsed_read_file(struct parsed_configuration *parsed, const char *path);

/* Applies the variables of `environment` (as environ): LOG_LEVEL, the original's LOCAL_…, EXCHANGE_…, PROXY_…
 * and TARGET_…, and PROXIMUX_ with a key in capitals. Those for a listener override the one named "default",
 * which is made if there is none. What is wrong becomes problems that name the variable. */
void parsed_read_environment(struct parsed_configuration *parsed, char *const *environment);

/* Gives every key that nobody has set its value: a listener's from `defaults`, then the table's. Keys without
 * a default stay unset. */
void parsed_complete(struct parsed_configuration *parsed);

/* A copy of a text; with parsed_name() one for all of the same name, "" when memory is short. */
const char *parsed_copy(struct parsed_configuration *parsed, const char *text);
const char *parsed_name(struct parsed_configuration *parsed, const char *name);

/* Notes that a file was read. */
void parsed_note_file(struct parsed_configuration *parsed, const char *path);

/* An empty group; parsed_group_add() also appends it to an array of groups. */
struct parsed_group *parsed_group_create(struct parsed_configuration *parsed, const struct key_scope *scope,
                                         const struct origin *origin);
struct parsed_group *parsed_group_add(struct parsed_configuration *parsed, const struct key_scope *scope,
                                      const struct origin *origin, struct parsed_group ***groups,
                                      size_t *count);

/* A new group of `modules`, valid until the next one is added; and the value of a further key of the last one,
 * which is to be filled in. */
struct parsed_module *parsed_add_module(struct parsed_configuration *parsed, const struct origin *origin);
struct parsed_value *parsed_add_extra(struct parsed_configuration *parsed, const char *name,
                                      enum key_type type);

/* The listener of that name, or NULL. */
struct parsed_group *parsed_find_listener(const struct parsed_configuration *parsed, const char *name);

/* The value of the key with this index among those that count in the group, and the key; NULL at the end. In
 * a protocol's group these are `type` and the keys of the protocol that it names. */
struct parsed_value *parsed_at(const struct parsed_group *group, size_t index, const struct key **key);

/* The value of a key that exists; never NULL. */
struct parsed_value *parsed_get(const struct parsed_group *group, const char *key);

/* Replaces a value, origin included; a text is copied, and made the one entry of a list. */
bool parsed_set_string(struct parsed_configuration *parsed, struct parsed_value *value,
                       const struct origin *origin, const char *string);
void parsed_set_number(struct parsed_value *value, const struct origin *origin, int64_t number);
bool parsed_set_item(struct parsed_configuration *parsed, struct parsed_value *value,
                     const struct origin *origin, const char *text);
bool parsed_add_item(struct parsed_configuration *parsed, struct parsed_value *value,
                     const struct origin *origin, const char *text);

/* The group that is the value of a key with members; one is made if there is none, with the choice that was given
 * by its name as its `type`. */
struct parsed_group *parsed_open_group(struct parsed_configuration *parsed, const struct parsed_group *group,
                                       const char *name, const struct origin *origin);

/* Replaces a value by another one's, which counts as inherited. Texts are shared. */
void parsed_inherit(struct parsed_configuration *parsed, const struct parsed_value *from,
                    struct parsed_value *to);

/* Reads a value from text, as variables and the command line have it. False if it does not fit the key, which is
 * a problem; the value is as before then. */
bool parsed_read(struct parsed_configuration *parsed, const struct key *key, const char *text,
                 const struct origin *origin, struct parsed_value *value);

/* Whether `text` stands for that number (or boolean, or choice). */
bool parsed_equals(const struct key *key, int64_t number, const char *text);

/* The protocol that a listener's group `protocol` is about, once its `type` is complete. */
const struct protocol *parsed_protocol(const struct parsed_group *protocol);

/* Whether a completed listener itself, not `defaults`, asks for something else than the key's default. */
bool parsed_is_asked_for(const struct parsed_group *group, const struct key *key);

/* Whether a number fits an integer key; negative ones become -1 where the key can be disabled. */
bool parsed_fits(const struct key *key, int64_t *number);

/* The subject of a problem: `listener "mysql": max_connections`. `listener` may be NULL. Returns `text`. */
#define PARSED_SUBJECT_SIZE 192
const char *parsed_subject(const struct parsed_group *group, const char *listener, const char *key,
                           char text[PARSED_SUBJECT_SIZE]);

#endif
