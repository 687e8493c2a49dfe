/* Takes literals out of requests. Errs towards taking out too much. */
#include "querylog.h"

#include <ctype.h>
#include <string.h>

enum redaction redact_kind(const char *protocol)
{
    if (strcmp(protocol, "mysql") == 0)
        return REDACT_MYSQL;
    if (strcmp(protocol, "postgresql") == 0)
        return REDACT_POSTGRESQL;
    return strcmp(protocol, "redis") == 0 ? REDACT_REDIS : REDACT_NOTHING;
}

/* ---- SQL ---- */

/* Where reading and writing are. */
struct copy {
    enum redaction kind;
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

static bool begins(const struct copy *copy, const char *two)
{
    return next(copy, 0) == two[0] && next(copy, 1) == two[1];
}

static void keep(struct copy *copy)
{
    copy->out[copy->used++] = copy->text[copy->at++];
}

/* Where it depends on the server's settings what is a literal, all the rest is one. */
static void give_up(struct copy *copy)
{
    copy->at = copy->length;
    copy->out[copy->used++] = '?';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool redact_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* Whether a backslash makes the character behind it part of a string. */
enum escapes { ESCAPES_NEVER, ESCAPES_ALWAYS, ESCAPES_BY_SETTING };

static enum escapes escapes_in(const struct copy *copy, char quote)
{
    if (copy->kind == REDACT_MYSQL) /* NO_BACKSLASH_ESCAPES */
        return ESCAPES_BY_SETTING;
    if (quote == '"')
        return ESCAPES_NEVER;
    bool has_e = copy->at > 0 && (copy->text[copy->at - 1] == 'e' || copy->text[copy->at - 1] == 'E') &&
                 (copy->at == 1 || !redact_is_word(copy->text[copy->at - 2]));
    return has_e ? ESCAPES_ALWAYS : ESCAPES_BY_SETTING; /* standard_conforming_strings */
}

/* 'text', "text": doubled quotes are part of it. */
static void skip_quoted(struct copy *copy, char quote)
{
    enum escapes escapes = escapes_in(copy, quote);
    for (copy->at++; copy->at < copy->length; copy->at++) {
        bool is_escape = next(copy, 0) == '\\' && escapes != ESCAPES_NEVER;
        if (is_escape && escapes == ESCAPES_BY_SETTING && next(copy, 1) == quote) {
            give_up(copy);
            return;
        }
        if (is_escape || (next(copy, 0) == quote && next(copy, 1) == quote))
            copy->at++;
        else if (next(copy, 0) == quote)
            break;
    }
    copy->at = copy->at < copy->length ? copy->at + 1 : copy->length;
    copy->out[copy->used++] = '?';
}

/* $tag$ text $tag$ of PostgreSQL; false if there is none here. $1 is a parameter, and stays. To MySQL it is a
 * name before its version 9. */
static bool skip_dollars(struct copy *copy)
{
    const char *start = copy->text + copy->at;
    size_t left = copy->length - copy->at;
    size_t tag = 1;
    while (tag < left && redact_is_word(start[tag]))
        tag++;
    if (tag >= left || start[tag] != '$' || is_digit(start[1]))
        return false;
    if (copy->kind == REDACT_MYSQL) {
        give_up(copy);
        return true;
    }
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
        if (!redact_is_word(c) && c != '.')
            break;
        copy->at += has_exponent ? 2 : 1;
    }
    copy->out[copy->used++] = '?';
}

/* To MySQL two dashes begin a comment only if a blank follows. */
static bool begins_line_comment(const struct copy *copy)
{
    bool has_dashes = begins(copy, "--");
    if (copy->kind == REDACT_POSTGRESQL)
        return has_dashes;
    return next(copy, 0) == '#' ||
           (has_dashes && ((unsigned char)next(copy, 2) <= ' ' || next(copy, 2) == '\x7f'));
}

/* Whether this is a comment that some versions of MySQL execute, and whose end is not certain because something in
 * it could hide the end. */
static bool is_unsure_comment(const char *start, const char *end)
{
    if (*start != '!' && (*start != 'M' || start + 1 == end || start[1] != '!'))
        return false;
    for (const char *c = start; c < end; c++)
        if (strchr("'\"`#", *c) != NULL ||
            (c + 1 < end && (memcmp(c, "--", 2) == 0 || memcmp(c, "/*", 2) == 0)))
            return true;
    return false;
}

/* Moves behind a comment; those of PostgreSQL may stand in each other. */
static void skip_block_comment(struct copy *copy)
{
    size_t depth = 0;
    size_t start = copy->at + 2;
    do {
        bool opens = begins(copy, "/*") && (depth == 0 || copy->kind == REDACT_POSTGRESQL);
        bool closes = begins(copy, "*/");
        depth += opens;
        depth -= closes;
        copy->at += opens || closes ? 2 : 1;
    } while (depth > 0 && copy->at < copy->length);
    if (copy->kind == REDACT_MYSQL && start < copy->at &&
        is_unsure_comment(copy->text + start, copy->text + copy->at))
        give_up(copy);
}

/* Comments may hold anything, such as literals that somebody switched off. */
static bool skip_comment(struct copy *copy)
{
    if (begins_line_comment(copy)) {
        const char *ends = copy->kind == REDACT_POSTGRESQL ? "\n\r" : "\n";
        while (copy->at < copy->length && strchr(ends, next(copy, 0)) == NULL) /* a zero ends some of them */
            copy->at++;
        if (copy->at < copy->length && next(copy, 0) == '\0')
            give_up(copy);
        return true;
    }
    bool is_block = begins(copy, "/*");
    if (is_block)
        skip_block_comment(copy);
    return is_block;
}

/* `name`, which is no literal. */
static void keep_name(struct copy *copy)
{
    do {
        keep(copy);
    } while (copy->at < copy->length && next(copy, 0) != '`');
    if (copy->at < copy->length)
        keep(copy);
}

static size_t redact_sql(struct copy *copy)
{
    while (copy->at < copy->length) {
        char c = next(copy, 0);
        if (c == '\'' || c == '"') /* MySQL takes both for strings */
            skip_quoted(copy, c);
        else if (c == '`' && copy->kind == REDACT_MYSQL)
            keep_name(copy);
        else if (is_digit(c) || (c == '.' && is_digit(next(copy, 1))))
            skip_number(copy);
        else if (c == '$' && skip_dollars(copy))
            continue;
        else if (c == '$' && is_digit(next(copy, 1))) {
            keep(copy);
            while (is_digit(next(copy, 0)))
                keep(copy);
        } else if (skip_comment(copy))
            continue;
        else {
            keep(copy);
            while (redact_is_word(c) && (redact_is_word(next(copy, 0)) || next(copy, 0) == '$'))
                keep(copy);
        }
    }
    return copy->used;
}

/* ---- Redis ---- */

/* Commands whose arguments are keys, fields, ranges and options, and nothing that is stored. Each stands
 * between blanks. */
static const char plain_commands[] =
    " bgrewriteaof bgsave bitcount bitfield_ro bitop bitpos command copy dbsize decr del discard dump "
    "exec exists expire expireat expiretime flushall flushdb geodist geohash geopos get getbit getdel "
    "getex getrange hdel hexists hexpire hexpireat hexpiretime hget hgetall hgetdel hgetex hkeys hlen "
    "hmget hpersist hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hstrlen httl hvals incr "
    "info keys lindex llen lmove lmpop lpop lrange ltrim mget move multi object persist pexpire "
    "pexpireat pexpiretime pfcount pfmerge psubscribe pttl punsubscribe quit randomkey rename renamenx "
    "role rpop rpoplpush save scan scard sdiff sdiffstore select sinter sintercard sinterstore smembers "
    "sort sort_ro spop srandmember sscan ssubscribe strlen subscribe substr sunion sunionstore "
    "sunsubscribe swapdb time touch ttl type unlink unsubscribe unwatch watch xack xautoclaim xclaim "
    "xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xtrim zcard zcount zdiff "
    "zdiffstore zinter zintercard zinterstore zmpop zpopmax zpopmin zrandmember zrange zrangebyscore "
    "zrangestore zremrangebyrank zremrangebyscore zrevrange zrevrangebyscore zscan zunion zunionstore ";

/* Other commands, by how many of their first words are shown, the name included. Those that are not listed,
 * unknown ones too, show SHOWN_BY_DEFAULT. */
static const char *const storing_commands[] = {
    [1] = " auth echo eval eval_ro ping ",
    [3] = " config hincrby hincrbyfloat hmset hset hsetnx linsert lrem lset psetex restore setbit setex "
          "setrange xadd ",
    [4] = " migrate ",
};

#define SHOWN_BY_DEFAULT 2
#define COMMAND_MAX      32

/* Copies the name of the command in lower case, between blanks. False if Redis has no command of such a name. */
static bool command_name(const struct copy *copy, char *name)
{
    size_t length = 0;
    for (; copy->at + length < copy->length && next(copy, length) != ' '; length++) {
        char c = next(copy, length);
        if (length == COMMAND_MAX || !(redact_is_word(c) || c == '.' || c == '-') || (unsigned char)c >= 0x80)
            return false;
        name[1 + length] = (char)tolower((unsigned char)c);
    }
    name[0] = ' ';
    memcpy(name + 1 + length, " ", 2);
    return length > 0;
}

static size_t shown_words(const struct copy *copy)
{
    char name[COMMAND_MAX + 3];
    if (!command_name(copy, name))
        return 0;
    if (strstr(plain_commands, name) != NULL)
        return SIZE_MAX;
    for (size_t i = 0; i < sizeof storing_commands / sizeof storing_commands[0]; i++)
        if (storing_commands[i] != NULL && strstr(storing_commands[i], name) != NULL)
            return i;
    return SHOWN_BY_DEFAULT;
}

/* One argument, which may stand in quotes; one whose last quote was cut off may be several. False if it holds
 * other quotes: it may be a part of an argument then, in a line that Redis could not read either. */
static bool redact_argument(struct copy *copy, bool is_shown)
{
    size_t start = copy->at;
    bool is_quoted = next(copy, 0) == '"';
    bool is_whole = !is_quoted;
    if (is_quoted) {
        for (copy->at++; copy->at < copy->length && next(copy, 0) != '"'; copy->at++)
            if (next(copy, 0) == '\\')
                copy->at++;
        is_whole = copy->at < copy->length;
        copy->at = is_whole ? copy->at + 1 : copy->length;
    }
    while (copy->at < copy->length && next(copy, 0) != ' ')
        copy->at++;
    size_t length = copy->at - start;
    if (!is_shown || !is_whole) {
        copy->out[copy->used++] = '?';
        return false;
    }
    memcpy(copy->out + copy->used, copy->text + start, length);
    copy->used += length;
    return is_quoted || (memchr(copy->text + start, '\'', length) == NULL &&
                         memchr(copy->text + start, '"', length) == NULL);
}

static size_t redact_redis(struct copy *copy)
{
    while (next(copy, 0) == ' ')
        keep(copy);
    size_t shown = shown_words(copy);
    for (size_t word = 0; copy->at < copy->length; word++) {
        if (!redact_argument(copy, word < shown))
            shown = 0;
        while (next(copy, 0) == ' ')
            keep(copy);
    }
    return copy->used;
}

size_t redact(enum redaction kind, const char *text, size_t length, char *out)
{
    struct copy copy = { .kind = kind, .text = text, .length = length, .out = out };
    if (kind == REDACT_REDIS)
        return redact_redis(&copy);
    if (kind != REDACT_NOTHING)
        return redact_sql(&copy);
    memcpy(out, text, length);
    return length;
}
