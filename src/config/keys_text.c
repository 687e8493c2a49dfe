/* What keys are called and what their values look like, in words: for errors, suggestions and the manual. */
#include "config/keys.h"

#include "protocol/protocols.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Longest word that is compared for suggestions. */
#define WORD_MAX 48

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t smaller = a < b ? a : b;
    return smaller < c ? smaller : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn one word into the other (optimal
 * string alignment), upper and lower case being equal. */
static size_t word_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1];
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);
    if (a_length > WORD_MAX || b_length > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= b_length; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            bool equal = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + (equal ? 0 : 1));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two_above[j - 2] + 1 < row[j])
                row[j] = two_above[j - 2] + 1;
        }
    }
    return rows[a_length % 3][b_length];
}

/* Whether so many differences can be slips in a word of this length. */
static bool is_near(size_t distance, size_t length)
{
    return distance <= (length < 4 ? 1 : length < 8 ? 2 : 3);
}

bool keys_is_nearer(const char *text, const char *candidate, size_t *distance)
{
    size_t found = word_distance(text, candidate);
    if (found >= *distance || !is_near(found, strlen(candidate)))
        return false;
    *distance = found;
    return true;
}

const struct key *keys_suggest(const struct key_scope *scope, const char *name)
{
    const struct key *best = NULL, *key;
    size_t distance = SIZE_MAX;
    keys_foreach(scope, i, key)
    {
        if (keys_is_nearer(name, key->name, &distance))
            best = key;
    }
    return best;
}

const char *keys_hint(const char *text, const char *const *candidates, char hint[KEYS_HINT_SIZE])
{
    size_t distance = SIZE_MAX;
    hint[0] = '\0';
    for (; *candidates != NULL; candidates++)
        if (keys_is_nearer(text, *candidates, &distance))
            snprintf(hint, KEYS_HINT_SIZE, "; did you mean \"%s\"?", *candidates);
    return hint;
}

const char *keys_owners(const char *name, char *text, size_t size)
{
    const char *owners[16];
    size_t count = 0, used = 0;
    for (const struct protocol *const *protocol = protocols_all(); *protocol != NULL; protocol++)
        if (keys_of_protocol(*protocol, name) != NULL && count < sizeof owners / sizeof owners[0])
            owners[count++] = (*protocol)->name;
    text[0] = '\0';
    for (size_t i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i == 0           ? ""
                                 : i + 1 == count ? " or "
                                                  : ", ",
                                 owners[i]);
    return text;
}

static const char *type_name(const struct key *key)
{
    static const char *const names[] = {
        [KEY_STRING] = "string",   [KEY_CHOICE] = "string",           [KEY_INTEGER] = "integer",
        [KEY_BOOLEAN] = "boolean", [KEY_STRINGS] = "list of strings", [KEY_STRUCTURE] = "group",
    };
    if (key->type == KEY_CHOICE && key->members != NULL)
        return "string or group";
    return key->is_list ? "list" : names[key->type];
}

static const char *unit_name(enum key_unit unit)
{
    static const char *const names[] = {
        [UNIT_NONE] = "",
        [UNIT_MILLISECONDS] = ", milliseconds",
        [UNIT_CLIENTS] = ", clients",
        [UNIT_CONNECTIONS] = ", connections",
        [UNIT_REQUESTS] = ", requests",
        [UNIT_BYTES] = ", bytes",
    };
    return names[unit];
}

const char *keys_describe(const struct key *key, char *text, size_t size)
{
    bool quoted = key->type == KEY_STRING || key->type == KEY_CHOICE;
    if (key->fallback == NULL)
        snprintf(text, size, "%s%s, %s", type_name(key), unit_name(key->unit),
                 key->required                ? "required"
                 : key->protocol_default != 0 ? "default by protocol"
                                              : "no default");
    else
        snprintf(text, size, quoted ? "%s%s, default \"%s\"%s%s" : "%s%s, default %s%s%s", type_name(key),
                 unit_name(key->unit), key->fallback,
                 key->proxy_fallback != NULL  ? "; in mode proxy "
                 : key->fifo_fallback != NULL ? "; in mode fifo "
                                              : "",
                 key->proxy_fallback != NULL  ? key->proxy_fallback
                 : key->fifo_fallback != NULL ? key->fifo_fallback
                                              : "");
    return text;
}

static void describe_choices(const struct key *key, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "one of");
    for (size_t i = 0; key->choices[i] != NULL && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s \"%s\"", i == 0 ? "" : ",", key->choices[i]);
    if (key->members != NULL && used < size)
        snprintf(text + used, size - used, ", or a group: { type = ...; ... }");
}

const char *keys_expectation(const struct key *key, char *text, size_t size)
{
    static const char *const words[] = {
        [KEY_STRING] = "a string",
        [KEY_BOOLEAN] = "true or false",
        [KEY_STRINGS] = "a string or a list of strings",
        [KEY_STRUCTURE] = "a group: { ... }",
    };
    if (key->type == KEY_INTEGER)
        snprintf(text, size, "an integer from %" PRId64 " to %" PRId64 "%s", key->minimum, key->maximum,
                 key->can_disable ? " (or -1: none)" : "");
    else if (key->type == KEY_CHOICE)
        describe_choices(key, text, size);
    else
        snprintf(text, size, "%s", key->is_list ? "a list: ( ... )" : words[key->type]);
    return text;
}
