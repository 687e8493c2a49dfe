/* The one table of all configuration keys. The file's reader, the environment's, the dump (-T) and the test
 * that compares the manual page with it all read this table. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Groups of the file in which keys stand. */
enum key_scope { SCOPE_GLOBAL, SCOPE_LOG, SCOPE_LISTENER, SCOPE_TARGET, SCOPE_COUNT };

enum key_type {
    KEY_STRING,
    KEY_INTEGER,
    KEY_BOOLEAN,
    KEY_CHOICE,    /* a string out of `choices`, or its number where `numbered` */
    KEY_STRINGS,   /* a list of strings, or a single one */
    KEY_STRUCTURE, /* groups or lists of groups, with keys of a scope of their own */
};

/* What an integer counts. */
enum key_unit { UNIT_NONE, UNIT_MILLISECONDS, UNIT_CLIENTS, UNIT_CONNECTIONS };

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
    bool required;
    const char *help; /* a phrase for the manual's reader and for errors */
};

/* More keys than any scope has. */
#define KEYS_MAX 32

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

/* Writes "integer, milliseconds, default 5000" or the like, as the manual page has it. Returns `text`. */
const char *keys_describe(const struct key *key, char *text, size_t size);

/* What a value of the key looks like, for errors: "an integer from 1 to 65535". Returns `text`. */
const char *keys_expectation(const struct key *key, char *text, size_t size);

/* The environment variable that sets the key: "PROXIMUX_LOG_LEVEL". False if none does. */
bool keys_variable(const struct key *key, char *text, size_t size);

#endif
