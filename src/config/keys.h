/* The one table of all configuration keys. The file's reader, the environment's, the dump (-T) and the test
 * that compares the manual page with it all read this table. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Groups of the file in which keys stand. */
enum key_scope {
    SCOPE_GLOBAL,
    SCOPE_LOG,
    SCOPE_ADMIN,
    SCOPE_LISTENER,
    SCOPE_TARGET,
    SCOPE_PROTOCOL,    /* the group that stands for a protocol's name */
    SCOPE_PROTOCOL_ID, /* its group `id` */
    SCOPE_MODULE,      /* of `modules`: what all modules have; others are each module's own */
    SCOPE_COUNT,
};

enum key_type {
    KEY_STRING,
    KEY_INTEGER,
    KEY_BOOLEAN,
    KEY_CHOICE,    /* a string out of `choices`; also its number or a group, see below */
    KEY_STRINGS,   /* a list of strings, or a single one */
    KEY_STRUCTURE, /* groups or lists of groups, with keys of a scope of their own */
};

/* What an integer counts. */
enum key_unit { UNIT_NONE, UNIT_MILLISECONDS, UNIT_CLIENTS, UNIT_CONNECTIONS, UNIT_REQUESTS, UNIT_BYTES };

/* The modes in which a key has an effect. */
enum key_use { USE_ALWAYS, USE_PROXY, USE_SHARED };

/* The choices of `protocol` and of the `type` in its group, by their places. */
enum key_protocol {
    TYPE_RAW,
    TYPE_LINE,
    TYPE_LENGTH,
    TYPE_MARKS,
    TYPE_MODBUS,
    TYPE_REDIS,
    TYPE_MEMCACHED,
    TYPE_HTTP,
    TYPE_MYSQL,
    TYPE_POSTGRESQL,
    TYPE_COUNT,
};

/* The bit of a protocol in key.protocols. */
#define KEY_OF(type) (1u << (type))

struct key {
    enum key_scope scope;
    const char *name;
    enum key_type type;
    enum key_unit unit;
    int64_t minimum; /* of an integer, apart from negative ones that disable */
    int64_t maximum;
    bool can_disable;           /* any negative number disables and counts as -1 */
    bool numbered;              /* a choice may also be given by its place, from 0 */
    const char *const *choices; /* ends with NULL */
    const char *fallback;       /* the default as the file would have it; NULL: none */
    bool default_by_protocol;   /* the protocol says what the default is */
    bool required;              /* in SCOPE_PROTOCOL: for the protocols that have the key */
    bool is_secret;             /* never shown */
    bool has_variable;          /* a list that a variable sets to its one entry */
    bool is_bytes;              /* a string with escapes of its own, see config/bytes.h */
    enum key_scope members;     /* the value is a group, or a choice that may be one, with keys of this scope;
                                   SCOPE_GLOBAL: it is no group */
    enum key_use use;
    unsigned protocols; /* in SCOPE_PROTOCOL: KEY_OF() those that have the key */
    const char *help;   /* a phrase for the manual's reader and for errors */
};

/* More keys than any scope has. */
#define KEYS_MAX 64

/* The keys of a scope and how many they are. */
const struct key *keys_of(enum key_scope scope, size_t *count);

/* The key of that name, or NULL. `index` (may be NULL) gets its place in the scope. */
const struct key *keys_find(enum key_scope scope, const char *name, size_t *index);

/* The place of a key that is known to exist. */
size_t keys_index(enum key_scope scope, const char *name);

/* The key of the scope whose name is nearest to `name`, if one is near enough to have been meant; else NULL.
 */
const struct key *keys_suggest(enum key_scope scope, const char *name);

/* The entry of `candidates` (ends with NULL) nearest to `text`, if near enough to have been meant; else NULL.
 */
const char *keys_suggest_word(const char *text, const char *const *candidates);

/* Whether a protocol has a key of SCOPE_PROTOCOL. */
bool keys_belongs(const struct key *key, enum key_protocol type);

/* The names of the protocols that have a key of SCOPE_PROTOCOL: "line, length or marks". Returns `text`. */
const char *keys_owners(const struct key *key, char *text, size_t size);

/* The name of a protocol. */
const char *keys_protocol_name(enum key_protocol type);

/* Enough for what the following write. */
#define KEYS_TEXT_SIZE 288

/* Writes "integer, milliseconds, default 5000" or the like, as the manual page has it. Returns `text`. */
const char *keys_describe(const struct key *key, char *text, size_t size);

/* What a value of the key looks like, for errors: "an integer from 1 to 65535". Returns `text`. */
const char *keys_expectation(const struct key *key, char *text, size_t size);

/* The environment variable that sets the key: "PROXIMUX_LOG_LEVEL". False if none does. */
bool keys_variable(const struct key *key, char *text, size_t size);

#endif
