/* The configuration files that alternate in the test of reloads under load: three listeners, "database",
 * "cache" and "web", that stay with their targets, while nearly everything beside them changes. */
#ifndef HARNESS_FORMS_H
#define HARNESS_FORMS_H

#include "harness/test.h"

/* What the $words in a form stand for: ports and paths, which the test sets. */
enum word_index {
    WORD_ADMIN,
    WORD_DATABASE,
    WORD_CACHE,
    WORD_WEB,
    WORD_POSTGRESQL,
    WORD_REDIS,
    WORD_NGINX,
    WORD_POSTGRESQL_SOCKET,
    WORD_REDIS_SOCKET,
    WORD_NGINX_SOCKET,
    WORD_MORE,   /* a port that the listener "database" has at times */
    WORD_OTHER,  /* that of another listener */
    WORD_ECHO,   /* its target's */
    WORD_CLOSED, /* a port at which nobody listens */
    WORD_TAKEN,  /* one at which somebody else does */
    WORD_LIST,   /* the path of a list */
    WORD_UNIX,   /* the path of another listener */
    WORD_QUERYLOG,
    WORD_QUERIES,
    WORD_COUNT,
};

void forms_set(enum word_index word, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *forms_get(enum word_index word);
unsigned forms_port(enum word_index word);

/* One of the files: what it has more than, or other than, the plainest one. */
struct form {
    const char *what;
    const char *host;    /* of the addresses that all have; NULL: 127.0.0.1 */
    const char *globals; /* each may be NULL: nothing */
    const char *database_listen;
    const char *database_targets;
    const char *database;
    const char *cache_targets;
    const char *cache;
    const char *web_targets;
    const char *web;
    const char *listeners;
};

/* The plainest one, those that change something, and those that must be refused: right but for one thing, and
 * nothing of what else is in them may count. */
extern const struct form forms_plain;
extern const struct form forms_good[];
extern const size_t forms_good_count;
extern const struct form forms_broken[];
extern const size_t forms_broken_count;

/* A form as a file's text. */
void forms_make(const struct form *form, char *text, size_t size);

#endif
