/* PostgreSQL, Redis and nginx for one test program: what the three modes are for, all at once. */
#ifndef HARNESS_BACKENDS_H
#define HARNESS_BACKENDS_H

#include "harness/database.h"
#include "harness/server.h"
#include "harness/watcher.h"

/* What nginx has: a page, and a file of so many bytes. */
#define BACKENDS_PAGE       "This is the page.\n"
#define BACKENDS_LARGE_SIZE (16 * 1024 * 1024)

/* The databases with the tables of pgbench: one for sessions that stay, one for those that come and go. */
#define BACKENDS_STAYS  "stays"
#define BACKENDS_VISITS "visits"

/* Running servers, each on 127.0.0.1 and on a unix socket. Owned by who started them: backends_stop(). */
struct backends {
    struct database database;
    struct server redis;
    struct server nginx;
    char database_socket[108];
    char redis_socket[108];
    char nginx_socket[108];
};

/* Starts all three and waits until they answer. Returns 0, or what the test program has to end with: it is
 * said why. backends_stop() is due in any case. */
int backends_start(struct backends *backends);
void backends_stop(struct backends *backends);

/* The byte at this place of nginx's large file. */
char backends_large_byte(size_t position);

/* Variables for PostgreSQL's tools, NULL at the end. */
extern const char *const backends_environment[];

/* Asks PostgreSQL itself, in a database of its own; the answer's rows are lines, without the last line feed.
 */
#define backends_query(backends, query, answer, size)                                                        \
    backends_query_at((backends), (query), (answer), (size), HERE)
void backends_query_at(const struct backends *backends, const char *query, char *answer, size_t size,
                       struct place place);

/* How many sessions a database has had; all must have ended well, and be over. */
#define backends_sessions(backends, name) backends_sessions_at((backends), (name), HERE)
long backends_sessions_at(const struct backends *backends, const char *name, struct place place);

/* The connections that Redis has over TCP, as its own ids in order, but for the one that asks. */
#define backends_redis_connections(backends, text, size)                                                     \
    backends_redis_connections_at((backends), (text), (size), HERE)
void backends_redis_connections_at(const struct backends *backends, char *text, size_t size,
                                   struct place place);

/* How many connections nginx has accepted, the one that asks among them. */
#define backends_nginx_accepted(backends) backends_nginx_accepted_at((backends), HERE)
long backends_nginx_accepted_at(const struct backends *backends, struct place place);

/* Watchers of all three, through the program at these ports: the first asks PostgreSQL whether it speaks TLS
 * and leaves; then one of Redis that stays and one that comes anew each time; likewise of nginx. Not started.
 */
#define BACKENDS_WATCHERS 5
void backends_make_watchers(struct watcher *watchers, unsigned database, unsigned cache, unsigned web);

/* PostgreSQL's question for TLS; the answer is the byte 'N'. */
#define BACKENDS_ASK_FOR_TLS "\x00\x00\x00\x08\x04\xd2\x16\x2f"

#endif
