/* A key of the configuration: reading, check, default, field, equality, dump and reload follow from its row. */
#ifndef BASE_KEY_H
#define BASE_KEY_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_type {
    KEY_STRING,
    KEY_INTEGER,
    KEY_BOOLEAN,
    KEY_CHOICE,    /* a string out of `choices`; also its number or a group, see below */
    KEY_STRINGS,   /* a list of strings, or a single one */
    KEY_STRUCTURE, /* a group, or a list of groups, with keys of their own */
};

/* What an integer counts. */
enum key_unit { UNIT_NONE, UNIT_MILLISECONDS, UNIT_CLIENTS, UNIT_CONNECTIONS, UNIT_REQUESTS, UNIT_BYTES };

/* The modes in which a key has an effect. */
enum key_use { USE_ALWAYS, USE_PROXY, USE_SHARED };

/* As many milliseconds as poll() can count: a bit more than 24 days. */
#define KEY_TIME_MAX  INT32_MAX
#define KEY_COUNT_MAX INT32_MAX

/* Strings that a field of type struct slices holds, each with memory of its own. */
struct slices {
    struct slice *slices;
    size_t count;
};

struct key_scope;

struct key {
    const char *name;
    enum key_type type;
    enum key_unit unit;
    int64_t minimum;  /* of an integer, apart from negative ones that disable */
    int64_t maximum;  /* of an integer; of the bytes in a struct slice, 0: no limit */
    bool can_disable; /* any negative number disables and counts as -1 */
    bool numbered;    /* a choice may also be given by its index, from 0 */
    bool required;
    bool is_secret;             /* never shown */
    bool has_variable;          /* a list that a variable sets to its one entry */
    bool is_bytes;              /* a string with escapes of its own, see config/bytes.h */
    bool is_list;               /* a list of groups, not one group */
    bool is_client_side;        /* of a listener: has a value of its own beside `targets_of` */
    const char *const *choices; /* ends with NULL */
    const char *fallback;       /* the default as the file would have it; NULL: none */
    const char *
        proxy_fallback; /* the default in mode proxy, and in mode fifo, where it differs; NULL: it does not */
    const char *fifo_fallback;
    size_t protocol_default; /* the default is this bool in struct protocol, its offset; 0: it is not */
    const struct key_scope *members; /* the value is a group, or a choice that may be one, with these keys */
    enum key_use use;
    size_t offset; /* of the field that holds the value in the checked settings */
    size_t size;   /* of that field; 0: a rule beyond the row makes something else of the value */
    /* Of a field that is no plain value, or holds a group: whether two are equal. NULL for numbers, strings and lists of
     * them. */
    bool (*equal)(const void *a, const void *b);
    /* Of a string, and of each of a list: whether it is right; if not, `refusal` says why. NULL: it always is. */
    bool (*accepts)(const char *text);
    const char *refusal;
    const char *help; /* a phrase for the manual's reader and for errors */
};

/* The keys of one group of the file. */
struct key_scope {
    const char *subject;  /* what stands before a key's name in errors: "log.", "protocol: id: " */
    const char *variable; /* what stands before it in its variable, such as "LOG_"; NULL: there is none */
    const struct key *keys;
    size_t count;
};

/* The field of a row: int64_t or int for integers, bool for booleans, an enum or bool for choices, char * or struct
 * slice for strings, struct slices for lists. */
#define KEY_FIELD(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)

/* One row each: the name, what is peculiar to the type, the help; then whatever else. */
#define KEY_ROW(kind, word, text, ...)                                                                       \
    {                                                                                                        \
        .name = word, .type = kind, .help = text, __VA_ARGS__                                                \
    }
#define STRING_KEY(word, standard, text, ...)                                                                \
    KEY_ROW(KEY_STRING, word, text, .fallback = standard, __VA_ARGS__)
#define STRINGS_KEY(word, text, ...)   KEY_ROW(KEY_STRINGS, word, text, __VA_ARGS__)
#define STRUCTURE_KEY(word, text, ...) KEY_ROW(KEY_STRUCTURE, word, text, __VA_ARGS__)
#define BOOLEAN_KEY(word, standard, text, ...)                                                               \
    KEY_ROW(KEY_BOOLEAN, word, text, .fallback = standard, __VA_ARGS__)
#define CHOICE_KEY(word, words, standard, text, ...)                                                         \
    KEY_ROW(KEY_CHOICE, word, text, .choices = words, .fallback = standard, __VA_ARGS__)
#define INTEGER_KEY(word, counts, least, most, standard, text, ...)                                          \
    KEY_ROW(KEY_INTEGER, word, text, .unit = counts, .minimum = least, .maximum = most,                      \
            .fallback = standard, __VA_ARGS__)
#define LIMIT_KEY(word, counts, least, most, standard, text, ...)                                            \
    INTEGER_KEY(word, counts, least, most, standard, text, .can_disable = true, __VA_ARGS__)

/* The field of a row in checked settings. */
static inline void *key_field(const struct key *key, const void *settings)
{
    return (char *)(uintptr_t)settings + key->offset;
}

/* Stores a number in the field of an integer, a boolean or a choice. */
void key_store_number(const struct key *key, void *settings, int64_t number);

/* Whether the fields of all these keys are the same in both settings; keys without a field are. */
bool key_fields_equal(const struct key *keys, size_t count, const void *a, const void *b);

/* Frees what the fields of these keys hold beyond themselves, those with an `equal` of their own apart. */
void key_fields_release(const struct key *keys, size_t count, void *settings);

/* How rules about several keys of a group say what is wrong. Owned by the caller of the rules. */
struct key_report {
    /* `key`: its name; NULL: the group as a whole. */
    void (*say)(const struct key_report *report, bool is_error, const char *key, const char *message);
};

void key_say(const struct key_report *report, bool is_error, const char *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define key_error(report, key, ...)   key_say(report, true, key, __VA_ARGS__)
#define key_warning(report, key, ...) key_say(report, false, key, __VA_ARGS__)

#endif
