/* Logs of queries, the module's and a server's, taken apart by session and compared. */
#ifndef HARNESS_QUERIES_H
#define HARNESS_QUERIES_H

#include "harness/test.h"

/* A line that querylog has written as JSON, unescaped. Owned by whoever got it: logged_query_free(). */
struct logged_query {
    uint64_t session;
    char *kind;
    char *query;
    char *parameters; /* empty: none */
};

/* How the values of an execution are shown with its statement. */
enum query_style {
    QUERY_FILLED_IN, /* in the place of its question marks, as in MariaDB's log, which leaves out sets of them
                      */
    QUERY_APPENDED,  /* behind " -- " */
};

/* Takes the next line off the text; false at its end. Its texts are cut at a zero. */
bool logged_query_next(const char **json, struct logged_query *query);
void logged_query_free(struct logged_query *query);

/* What each session has asked, in its order. Owned by who created it. */
struct query_log;

struct query_log *query_log_create(void);
void query_log_free(struct query_log *log);

/* Adds a query to the end of its session. */
void query_log_add(struct query_log *log, uint64_t session, const char *kind, const char *query);

/* Adds the lines of querylog's JSON whose kind is among `kinds` (NULL at the end). */
void query_log_add_json(struct query_log *log, const char *json, const char *const *kinds,
                        enum query_style style);

/* The same of all sessions, as text: "KIND QUERY", a line each; to be freed. */
char *query_lines(const char *json, const char *const *kinds, enum query_style style);

/* How many queries there are. */
size_t query_log_count(const struct query_log *log);

/* Fails the test unless both have the same sessions: each has asked the same, in the same order, as one of
 * the other log. Which is which is told by what they have asked, as each log numbers them in its own way. */
#define query_log_expect_same(ours, theirs) query_log_expect_same_at((ours), (theirs), HERE)
void query_log_expect_same_at(struct query_log *ours, struct query_log *theirs, struct place place);

#endif
