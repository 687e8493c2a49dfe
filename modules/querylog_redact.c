/* Takes literals out of requests. Errs towards taking out too much. */
#include "querylog.h"

#include <string.h>
#include <strings.h>

enum redaction redact_kind(const char *protocol)
{
    if (strcmp(protocol, "mysql") == 0 || strcmp(protocol, "postgresql") == 0)
        return REDACT_SQL;
    return strcmp(protocol, "redis") == 0 ? REDACT_REDIS : REDACT_NOTHING;
}

/* ---- SQL ------------------------------------------------------------------------------------------------
 */

/* Where reading and writing are. */
struct copy {
    const char *text;
    size_t length;
    size_t at;
    char *out;
    size_t used;
};

static char next(const struct copy *copy, size_t ahead)
{
    return copy->at + ahead < copy->length ? copy->text[copy->at + ahead] : '\0';
}

static void keep(struct copy *copy)
{
    copy->out[copy->used++] = copy->text[copy->at++];
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* 'text', "text": doubled quotes are part of it. Backslashes escape in MySQL, and in E'' of PostgreSQL; where
 * they do not, taking them so takes out what follows as well. */
static void skip_quoted(struct copy *copy, char quote)
{
    for (copy->at++; copy->at < copy->length; copy->at++) {
        if (next(copy, 0) == '\\')
            copy->at++;
        else if (next(copy, 0) == quote && next(copy, 1) == quote)
            copy->at++;
        else if (next(copy, 0) == quote)
            break;
    }
    copy->at = copy->at < copy->length ? copy->at + 1 : copy->length;
    copy->out[copy->used++] = '?';
}

/* $tag$ text $tag$ of PostgreSQL; false if there is none here. $1 is a parameter, and stays. */
static bool skip_dollars(struct copy *copy)
{
    const char *start = copy->text + copy->at;
    size_t left = copy->length - copy->at;
    size_t tag = 1;
    while (tag < left && is_word(start[tag]))
        tag++;
    if (tag >= left || start[tag] != '$' || is_digit(start[1]))
        return false;
    tag++;
    const char *end = memmem(start + tag, left - tag, start, tag);
    copy->at = end == NULL ? copy->length : (size_t)(end - copy->text) + tag;
    copy->out[copy->used++] = '?';
    return true;
}

/* 12, 1.5e-3, 0xff: everything that follows a digit like a word, and a sign behind an exponent. */
static void skip_number(struct copy *copy)
{
    while (copy->at < copy->length) {
        char c = next(copy, 0);
        bool has_exponent = (c == 'e' || c == 'E') && (next(copy, 1) == '+' || next(copy, 1) == '-') &&
                            is_digit(next(copy, 2));
        if (!is_word(c) && c != '.')
            break;
        copy->at += has_exponent ? 2 : 1;
    }
    copy->out[copy->used++] = '?';
}

/* Comments may hold anything, such as literals that somebody switched off. Hints for the server stay visible
 * as what they are: a comment. */
static bool skip_comment(struct copy *copy)
{
    bool is_line = (next(copy, 0) == '-' && next(copy, 1) == '-') || next(copy, 0) == '#';
    if (is_line) {
        while (copy->at < copy->length && next(copy, 0) != '\n')
            copy->at++;
        return true;
    }
    if (next(copy, 0) != '/' || next(copy, 1) != '*')
        return false;
    const char *start = copy->text + copy->at + 2;
    const char *end = memmem(start, copy->length - copy->at - 2, "*/", 2);
    copy->at = end == NULL ? copy->length : (size_t)(end - copy->text) + 2;
    return true;
}

static void keep_word(struct copy *copy)
{
    while (copy->at < copy->length && is_word(next(copy, 0)))
        keep(copy);
}

/* `name`, which is no literal. */
static void keep_name(struct copy *copy)
{
    keep(copy);
    while (copy->at < copy->length && next(copy, 0) != '`')
        keep(copy);
    if (copy->at < copy->length)
        keep(copy);
}

static size_t redact_sql(struct copy *copy)
{
    while (copy->at < copy->length) {
        char c = next(copy, 0);
        if (c == '\'' || c == '"') /* MySQL takes both for strings */
            skip_quoted(copy, c);
        else if (c == '`')
            keep_name(copy);
        else if (is_digit(c) || (c == '.' && is_digit(next(copy, 1))))
            skip_number(copy);
        else if (c == '$' && skip_dollars(copy))
            continue;
        else if (c == '$' && is_digit(next(copy, 1))) {
            keep(copy);
            keep_word(copy);
        } else if (skip_comment(copy))
            continue;
        else if (is_word(c))
            keep_word(copy);
        else
            keep(copy);
    }
    return copy->used;
}

/* ---- Redis ----------------------------------------------------------------------------------------------
 */

/* Commands that store something, and how many of their first arguments, their name included, may be seen. */
static const struct {
    const char *name;
    size_t shown;
} storing[] = {
    { "append", 2 },   { "auth", 1 },     { "config", 3 },  { "eval", 1 },   { "eval_ro", 1 },
    { "fcall", 2 },    { "getset", 2 },   { "hello", 2 },   { "hmset", 3 },  { "hset", 3 },
    { "hsetnx", 3 },   { "linsert", 3 },  { "lpush", 2 },   { "lpushx", 2 }, { "lrem", 3 },
    { "lset", 3 },     { "migrate", 4 },  { "mset", 2 },    { "msetnx", 2 }, { "pfadd", 2 },
    { "psetex", 3 },   { "publish", 2 },  { "restore", 3 }, { "rpush", 2 },  { "rpushx", 2 },
    { "sadd", 2 },     { "set", 2 },      { "setbit", 3 },  { "setex", 3 },  { "setnx", 2 },
    { "setrange", 3 }, { "spublish", 2 }, { "acl", 2 },     { "xadd", 3 },   { "zadd", 2 },
    { "function", 2 },
};

static size_t shown_words(const char *text, size_t length)
{
    for (size_t i = 0; i < sizeof storing / sizeof storing[0]; i++) {
        size_t name = strlen(storing[i].name);
        if (length >= name && strncasecmp(text, storing[i].name, name) == 0 &&
            (length == name || text[name] == ' '))
            return storing[i].shown;
    }
    return SIZE_MAX;
}

/* One argument, which may stand in quotes. */
static void take_argument(struct copy *copy, bool is_shown)
{
    bool is_quoted = next(copy, 0) == '"';
    size_t start = copy->at;
    if (is_quoted) {
        for (copy->at++; copy->at < copy->length && next(copy, 0) != '"'; copy->at++)
            if (next(copy, 0) == '\\')
                copy->at++;
        copy->at = copy->at < copy->length ? copy->at + 1 : copy->length;
    }
    while (copy->at < copy->length && next(copy, 0) != ' ')
        copy->at++;
    if (!is_shown) {
        copy->out[copy->used++] = '?';
        return;
    }
    memcpy(copy->out + copy->used, copy->text + start, copy->at - start);
    copy->used += copy->at - start;
}

static size_t redact_redis(struct copy *copy)
{
    size_t shown = shown_words(copy->text, copy->length);
    for (size_t word = 0; copy->at < copy->length; word++) {
        take_argument(copy, word < shown);
        while (next(copy, 0) == ' ')
            keep(copy);
    }
    return copy->used;
}

size_t redact(enum redaction kind, const char *text, size_t length, char *out)
{
    struct copy copy = { .text = text, .length = length, .out = out };
    switch (kind) {
    case REDACT_SQL:
        return redact_sql(&copy);
    case REDACT_REDIS:
        return redact_redis(&copy);
    case REDACT_NOTHING:
        break;
    }
    memcpy(out, text, length);
    return length;
}
