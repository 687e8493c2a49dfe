#include "harness/queries.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Lines of querylog ---- */

/* The character behind a backslash, as querylog writes it: one of a byte, in \u00NN too. */
static char unescape(const char **at)
{
    char digits[3] = "";
    char c = *(*at)++;
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        memcpy(digits, *at + 2, 2);
        *at += 4;
        return (char)strtoul(digits, NULL, 16);
    default:
        return c;
    }
}

/* A string of the line, which ends at `end`; empty if it has none of that key. To be freed. */
static char *take_string(const char *line, const char *end, const char *key)
{
    char wanted[64];
    char *value = malloc((size_t)(end - line) + 1);
    size_t length = 0;
    assert_non_null(value);
    snprintf(wanted, sizeof(wanted), "\"%s\":\"", key);
    const char *at = memmem(line, (size_t)(end - line), wanted, strlen(wanted));
    if (at != NULL) {
        at += strlen(wanted);
        while (*at != '"') {
            char c = *at++;
            value[length++] = c == '\\' ? unescape(&at) : c;
        }
    }
    value[length] = '\0';
    return value;
}

bool logged_query_next(const char **json, struct logged_query *query)
{
    static const char session[] = "\"session\":";
    const char *line = *json, *end = strchr(line, '\n');

    if (end == NULL)
        return false;
    *json = end + 1;
    const char *number = strstr(line, session);
    test_require(number != NULL && number < end, "no session: %.*s", (int)(end - line), line);
    *query = (struct logged_query){
        .session = strtoull(number + strlen(session), NULL, 10),
        .kind = take_string(line, end, "kind"),
        .query = take_string(line, end, "query"),
        .parameters = take_string(line, end, "parameters"),
    };
    return true;
}

void logged_query_free(struct logged_query *query)
{
    free(query->kind);
    free(query->query);
    free(query->parameters);
}

/* ---- Values ---- */

/* Takes a value off a list and writes it as MariaDB would: with backslashes in its strings. */
static const char *write_value(FILE *stream, const char *list)
{
    static const char special[] = "\n\r\\'\"\x1a", letters[] = "nr\\'\"Z";
    bool is_quoted = *list == '\'';
    list += is_quoted ? 1 : 0;
    while (*list != '\0' && (is_quoted || *list != ',')) {
        if (is_quoted && *list == '\'' && *++list != '\'')
            break;
        const char *at = strchr(special, *list);
        if (is_quoted && at != NULL)
            fprintf(stream, "\\%c", letters[at - special]);
        else
            fputc(*list, stream);
        list++;
    }
    return *list == ',' ? list + 2 : list;
}

static void fill_in(FILE *stream, const char *query, const char *values)
{
    for (; *query != '\0'; query++) {
        if (*query != '?' || *values == '\0') {
            fputc(*query, stream);
            continue;
        }
        fputs(*values == '\'' ? "'" : "", stream);
        bool is_quoted = *values == '\'';
        values = write_value(stream, values);
        fputs(is_quoted ? "'" : "", stream);
    }
    if (*values != '\0')
        fprintf(stream, " and more: %s", values);
}

/* To be freed. */
static char *show_query(const struct logged_query *query, enum query_style style)
{
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    if (style == QUERY_FILLED_IN && query->parameters[0] != '(')
        fill_in(stream, query->query, query->parameters);
    else
        fprintf(stream, "%s", query->query);
    if (style == QUERY_APPENDED && query->parameters[0] != '\0')
        fprintf(stream, " -- %s", query->parameters);
    assert_int_equal(fclose(stream), 0);
    return text;
}

static bool is_among(const char *kind, const char *const *kinds)
{
    while (*kinds != NULL && strcmp(*kinds, kind) != 0)
        kinds++;
    return *kinds != NULL;
}

/* The text that holds each on a line of its own. */
static void write_line(FILE *stream, const char *kind, const char *query)
{
    fprintf(stream, "%s ", kind);
    for (; *query != '\0'; query++)
        fputc(*query == '\n' ? ' ' : *query, stream);
    fputc('\n', stream);
}

char *query_lines(const char *json, const char *const *kinds, enum query_style style)
{
    struct logged_query query;
    char *text;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    while (logged_query_next(&json, &query)) {
        char *shown = show_query(&query, style);
        if (is_among(query.kind, kinds))
            write_line(stream, query.kind, shown);
        free(shown);
        logged_query_free(&query);
    }
    assert_int_equal(fclose(stream), 0);
    return text;
}

/* ---- Sessions ---- */

struct session {
    uint64_t number;
    FILE *stream; /* into `text` */
    char *text;   /* a query a line */
    size_t size;
};

struct query_log {
    struct session *sessions;
    size_t count;
    size_t queries;
};

struct query_log *query_log_create(void)
{
    struct query_log *log = calloc(1, sizeof(*log));
    assert_non_null(log);
    return log;
}

void query_log_free(struct query_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        if (log->sessions[i].stream != NULL)
            fclose(log->sessions[i].stream);
        free(log->sessions[i].text);
    }
    free(log->sessions);
    free(log);
}

static struct session *find_session(struct query_log *log, uint64_t number)
{
    for (size_t i = 0; i < log->count; i++)
        if (log->sessions[i].number == number)
            return &log->sessions[i];
    return NULL;
}

/* Where its text is does not move when further sessions come: a stream writes to there. */
static struct session *add_session(struct query_log *log, uint64_t number)
{
    enum { SESSIONS_MAX = 1000 };
    if (log->sessions == NULL)
        log->sessions = calloc(SESSIONS_MAX, sizeof(*log->sessions));
    assert_non_null(log->sessions);
    assert_true(log->count < SESSIONS_MAX);
    struct session *session = &log->sessions[log->count++];
    session->number = number;
    session->stream = open_memstream(&session->text, &session->size);
    assert_non_null(session->stream);
    return session;
}

void query_log_add(struct query_log *log, uint64_t number, const char *kind, const char *query)
{
    struct session *session = find_session(log, number);
    if (session == NULL)
        session = add_session(log, number);
    write_line(session->stream, kind, query);
    log->queries++;
}

void query_log_add_json(struct query_log *log, const char *json, const char *const *kinds,
                        enum query_style style)
{
    struct logged_query query;
    while (logged_query_next(&json, &query)) {
        char *shown = show_query(&query, style);
        if (is_among(query.kind, kinds))
            query_log_add(log, query.session, query.kind, shown);
        free(shown);
        logged_query_free(&query);
    }
}

size_t query_log_count(const struct query_log *log)
{
    return log->queries;
}

static int compare_sessions(const void *a, const void *b)
{
    return strcmp(((const struct session *)a)->text, ((const struct session *)b)->text);
}

static void sort_sessions(struct query_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        if (log->sessions[i].stream != NULL)
            fclose(log->sessions[i].stream);
        log->sessions[i].stream = NULL;
    }
    if (log->count > 0)
        qsort(log->sessions, log->count, sizeof(*log->sessions), compare_sessions);
}

/* The first lines in which they differ. */
static void expect_same_text(const char *ours, const char *theirs, struct place place)
{
    while (*ours != '\0' && *theirs != '\0') {
        size_t our_length = strcspn(ours, "\n"), their_length = strcspn(theirs, "\n");
        if (our_length != their_length || memcmp(ours, theirs, our_length) != 0)
            break;
        ours += our_length + 1;
        theirs += their_length + 1;
    }
    if (*ours != '\0' || *theirs != '\0')
        test_fail_at(place, "ours:   %.*s\ntheirs: %.*s", (int)strcspn(ours, "\n"), ours,
                     (int)strcspn(theirs, "\n"), theirs);
}

void query_log_expect_same_at(struct query_log *ours, struct query_log *theirs, struct place place)
{
    sort_sessions(ours);
    sort_sessions(theirs);
    for (size_t i = 0; i < ours->count && i < theirs->count; i++)
        expect_same_text(ours->sessions[i].text, theirs->sessions[i].text, place);
    if (ours->count != theirs->count)
        test_fail_at(place, "%zu sessions are ours, %zu theirs", ours->count, theirs->count);
}
