/* The one table of all configuration keys, those of the protocols included, which stand with their protocols,
 * and those of a target (keys_target) and of its check (keys_check), which stand there.
 * The readers of the file and of the environment, the checks, the dump (-T) and the test that compares the
 * manual page with the table all work from it. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include "base/key.h"
#include "protocol/protocol.h"
#include "target/target_settings.h"

/* The groups of the file in which keys stand. keys_protocol has `type` and then the keys of every protocol,
 * one protocol after the other; keys_module those that all modules have. */
extern const struct key_scope keys_global, keys_log, keys_admin, keys_listener, keys_protocol, keys_module;

/* Whether keys of the scope stand in a listener or in a group inside one. */
bool keys_is_of_listener(const struct key_scope *scope);

/* All scopes one after the other, with the groups inside a protocol's; NULL at the end. */
const struct key_scope *keys_scope(size_t index);

/* The keys of a scope one after the other; NULL at the end. A name that several protocols have comes several
 * times: what counts is the index of the first. */
const struct key *keys_at(const struct key_scope *scope, size_t index);
size_t keys_count(const struct key_scope *scope);

#define keys_foreach(scope, i, key) for (size_t i = 0; ((key) = keys_at(scope, i)) != NULL; i++)

/* The first key of that name, or NULL. `index` (may be NULL) gets its index in the scope. */
const struct key *keys_find(const struct key_scope *scope, const char *name, size_t *index);

/* The key that a protocol has by this name, or NULL. */
const struct key *keys_of_protocol(const struct protocol *protocol, const char *name);

/* Whether `candidate` may be what was meant by `text`, and is nearer to it than `distance`, which is lowered
 * then; SIZE_MAX at first. */
bool keys_is_nearer(const char *text, const char *candidate, size_t *distance);

/* The key of the scope nearest to a name, if one is near enough to have been meant; else NULL. */
const struct key *keys_suggest(const struct key_scope *scope, const char *name);

/* `; did you mean "WORD"?` with the nearest entry of `candidates` (ends with NULL), or "". Returns `hint`. */
#define KEYS_HINT_SIZE 80
const char *keys_hint(const char *text, const char *const *candidates, char hint[KEYS_HINT_SIZE]);

/* The protocols that have a key of this name: "line, length or marks". Returns `text`. */
const char *keys_owners(const char *name, char *text, size_t size);

/* Enough for what the following write. */
#define KEYS_TEXT_SIZE 288

/* Writes "integer, milliseconds, default 5000" or the like, as the manual page has it. Returns `text`. */
const char *keys_describe(const struct key *key, char *text, size_t size);

/* What a value of the key looks like, for errors: "an integer from 1 to 65535". Returns `text`. */
const char *keys_expectation(const struct key *key, char *text, size_t size);

/* The environment variable that sets the key of a scope: "PROXIMUX_LOG_LEVEL". False if none does. */
bool keys_variable(const struct key_scope *scope, const struct key *key, char *text, size_t size);

#endif
