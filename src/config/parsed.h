/* The parsed configuration: every value with its origin, before it is checked as a whole
 * and becomes settings. */
#ifndef CONFIG_WRITTEN_H
#define CONFIG_WRITTEN_H

#include "config/keys.h"
#include "config/problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One entry of a list of strings. */
struct parsed_item {
    char *text;
    struct origin origin;
};

/* The value of one key. `set` is false as long as neither file, environment nor table has given one. */
struct parsed_value {
    bool set;
    bool inherited; /* from `defaults` */
    bool faulty;    /* something was given that can't be used, which has been said */
    struct origin origin;
    int64_t number; /* integers; booleans as 0 and 1; choices by index */
    char *string;   /* KEY_STRING */
    struct parsed_item *items;
    size_t count;
    struct parsed_group *group; /* of keys with members; owned. NULL: a choice's name was given */
};

/* A group: values by the indexes of their keys in its scope. A listener has its targets as children. */
struct parsed_group {
    const struct key_scope *scope;
    struct origin origin;
    struct parsed_value *values; /* behind the group, in the same piece of memory */
    size_t value_count;
    struct parsed_group **children;
    size_t child_count;
    struct origin children_origin;
    bool children_set;    /* also an empty list was given */
    bool children_faulty; /* some can't be used, which has been said */
};

/* A key of a module's own: only the module can say whether it is right. */
struct parsed_extra {
    char *name;
    enum key_type type; /* STRING, INTEGER, BOOLEAN; STRUCTURE: anything else, which no module takes */
    struct parsed_value value;
};

/* A group of `modules`. */
struct parsed_module {
    struct parsed_group *group; /* scope MODULE */
    struct parsed_extra *extras;
    size_t extra_count;
};

/* Owned by struct config. Owns the names that origins point to. */
struct parsed_configuration {
    struct parsed_group *global;
    struct parsed_group *log;
    struct parsed_group *admin;
    struct parsed_group *defaults; /* scope LISTENER; NULL: none */
    struct parsed_group **listeners;
    size_t listener_count;
    struct parsed_module *modules;
    size_t module_count;
    char *main_file;    /* NULL: there was none */
    bool is_unreadable; /* the file could not be read as a whole: what is in it can't be judged */
    char **names;       /* of files and variables, for origins */
    size_t name_count;
    char **files; /* that were read, lists included */
    size_t file_count;
    struct problem_list *problems; /* where what goes wrong is noted; not owned */
};

/* An empty configuration, or NULL when memory is short. */
struct parsed_configuration *parsed_create(struct problem_list *problems);
void parsed_free(struct parsed_configuration *parsed); /* NULL is allowed */

/* An empty group; NULL (noted as a problem) when memory is short. */
struct parsed_group *parsed_group_create(struct parsed_configuration *parsed, const struct key_scope *scope,
                                         const struct origin *origin);
void parsed_group_free(struct parsed_group *group); /* NULL is allowed */

/* Appends to an array of groups, taking the group over. False (noted) when memory is short: it is freed then. */
bool parsed_append(struct parsed_configuration *parsed, struct parsed_group ***groups, size_t *count,
                   struct parsed_group *group);

/* A new group of `modules`, or NULL (noted) when memory is short. Valid until the next one is added. */
struct parsed_module *parsed_add_module(struct parsed_configuration *parsed, const struct origin *origin);

/* The value of a further key of the last module, which is to be filled in; NULL (noted) when memory is short. */
struct parsed_value *parsed_add_extra(struct parsed_configuration *parsed, const char *name,
                                      enum key_type type);

/* Frees a group's children: what overrides them begins anew. */
void parsed_group_clear_children(struct parsed_group *group);

/* A lasting copy of a file's or variable's name, "" when memory is short (noted). */
const char *parsed_name(struct parsed_configuration *parsed, const char *name);

/* Notes that a file was read. */
void parsed_note_file(struct parsed_configuration *parsed, const char *path);

/* The listener of that name, or NULL. */
struct parsed_group *parsed_find_listener(const struct parsed_configuration *parsed, const char *name);

/* The value of the key with this index among those that count in the group, and the key; NULL at the end. In
 * a protocol's group these are `type` and the keys of the protocol that it names. */
struct parsed_value *parsed_at(const struct parsed_group *group, size_t index, const struct key **key);

/* The value of a key that exists; never NULL. */
struct parsed_value *parsed_get(struct parsed_group *group, const char *key);
const struct parsed_value *parsed_peek(const struct parsed_group *group, const char *key);

/* Makes a value unset. */
void parsed_clear(struct parsed_value *value);

/* Replaces a value, origin included. `string` is copied; false (noted) when memory is short. */
bool parsed_set_string(struct parsed_configuration *parsed, struct parsed_value *value,
                       const struct origin *origin, const char *string);
void parsed_set_number(struct parsed_value *value, const struct origin *origin, int64_t number);
bool parsed_add_item(struct parsed_configuration *parsed, struct parsed_value *value,
                     const struct origin *origin, const char *text);

/* Makes `text` the one entry of a list. */
bool parsed_set_item(struct parsed_configuration *parsed, struct parsed_value *value,
                     const struct origin *origin, const char *text);

/* The group that is the value of a key with members; an empty one is made if there is none. NULL (noted)
 * when memory is short. */
struct parsed_group *parsed_open_group(struct parsed_configuration *parsed, struct parsed_value *value,
                                       const struct key *key, const struct origin *origin);

/* Replaces a value by a copy of another one's, origins included, which counts as inherited. */
void parsed_inherit(struct parsed_configuration *parsed, const struct parsed_value *from,
                    struct parsed_value *to);

/* Reads a value from text, as variables and the command line have it. False if it does not fit the key: then
 * the reason is in `error` and the value is as before. */
bool parsed_read(struct parsed_configuration *parsed, const struct key *key, const char *text,
                 const struct origin *origin, struct parsed_value *value, char *error, size_t error_size);

/* Gives every key that nobody has set its value: a listener's from `defaults`, then the table's. Keys without
 * a default stay unset. */
void parsed_complete(struct parsed_configuration *parsed);

/* Whether `text` stands for that number (or boolean, or choice). */
bool parsed_equals(const struct key *key, int64_t number, const char *text);

/* The protocol that a listener's group `protocol` is about, once its `type` is complete. */
const struct protocol *parsed_protocol(const struct parsed_group *protocol);

/* Whether a completed listener's value is what it would be if nobody had set it. */
bool parsed_is_standard(const struct parsed_group *group, const struct key *key);

/* Whether a number fits an integer key; negative ones become -1 where the key can be disabled. */
bool parsed_fits(const struct key *key, int64_t *number);

/* The subject of a problem: `listener "mysql": max_connections`. `listener` may be NULL. Returns `text`. */
const char *parsed_subject(const struct parsed_group *group, const char *listener, const char *key,
                           char *text, size_t size);

#endif
