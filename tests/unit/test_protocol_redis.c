/* The framer of Redis: what passes, what is answered here, what is refused, and where messages end. */
#include "unit/framing.h"

#include "protocol/protocols.h"
#include "protocol/redis/redis.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static struct protocol_settings plain(void)
{
    return framing_settings(&protocol_redis);
}

static struct protocol_settings with_password(void)
{
    struct protocol_settings settings = plain();
    redis_own(&settings)->password = SLICE("secret");
    return settings;
}

/* ---- Requests ------------------------------------------------------------------------------------------ */

#define GET_A         "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
#define GET_A_WRITTEN "*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\na\\r\\n"
#define PING_WRITTEN  "*1\\r\\n$4\\r\\nPING\\r\\n"

static void arrays_pass_as_they_came(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_requests(&settings, GET_A, "forward " GET_A_WRITTEN "\n");
    framing_expect_requests(&settings, "*3\r\n$3\r\nsEt\r\n$4\r\nk\r\n\0\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n",
                            "forward *3\\r\\n$3\\r\\nsEt\\r\\n$4\\r\\nk\\r\\n\\x00\\r\\n$0\\r\\n\\r\\n\n"
                            "forward " PING_WRITTEN "\n");
    framing_expect_requests(&settings, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab",
                            "more *3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$5\\r\\nab\n");
    framing_expect_requests(&settings, "*3\r\n$3\r\nSE", "more \n");
}

static void empty_requests_are_swallowed(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_requests(&settings, "\r\n\n   \r\n*0\r\n*-1\r\n*-99\r\n\t\v\f\r\n" GET_A "\r\n*0\r\n",
                            "forward " GET_A_WRITTEN "\n");
    framing_expect_requests(&settings, "*0\r\n", "");
    framing_expect_requests(&settings, "\n", "");
}

static void a_large_value_needs_no_memory_to_be_decided(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    settings.head_limit = 64;
    framing_expect_requests(&settings, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nxyz",
                            "more *3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$536870912\\r\\nxyz\n");
    framing_expect_requests(&settings, "*2147483647\r\n$4\r\nMGET\r\n$1\r\nk",
                            "more *2147483647\\r\\n$4\\r\\nMGET\\r\\n$1\\r\\nk\n");
}

static void inline_commands_become_arrays(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *array;
    } cases[] = {
        { "PING", "*1\\r\\n$4\\r\\nPING\\r\\n" },
        { "  PING\t\t", "*1\\r\\n$4\\r\\nPING\\r\\n" },
        { "\v\fPING a\rb", "*3\\r\\n$4\\r\\nPING\\r\\n$1\\r\\na\\r\\n$1\\r\\nb\\r\\n" },
        { "GET \"\"", "*2\\r\\n$3\\r\\nGET\\r\\n$0\\r\\n\\r\\n" },
        { "GET ''", "*2\\r\\n$3\\r\\nGET\\r\\n$0\\r\\n\\r\\n" },
        { "GET a\"b c\"", "*2\\r\\n$3\\r\\nGET\\r\\n$4\\r\\nab c\\r\\n" },
        { "GET a'b c'", "*2\\r\\n$3\\r\\nGET\\r\\n$4\\r\\nab c\\r\\n" },
        { "GET \"\\n\\r\\t\\b\\a\\q\\\\\\\"\"",
          "*2\\r\\n$3\\r\\nGET\\r\\n$8\\r\\n\\n\\r\\x09\\x08\\x07q\\\\\"\\r\\n" },
        { "GET \"\\x41\\xfF\\x4\\xg0\\x\"", "*2\\r\\n$3\\r\\nGET\\r\\n$8\\r\\nA\\xffx4xg0x\\r\\n" },
        { "GET 'a\\'b\\n\\\\x'", "*2\\r\\n$3\\r\\nGET\\r\\n$8\\r\\na'b\\\\n\\\\\\\\x\\r\\n" },
        { "GET \"a'b\" 'a\"b'", "*3\\r\\n$3\\r\\nGET\\r\\n$3\\r\\na'b\\r\\n$3\\r\\na\"b\\r\\n" },
        { "GET \"a\"\v\"b\"", "*3\\r\\n$3\\r\\nGET\\r\\n$1\\r\\na\\r\\n$1\\r\\nb\\r\\n" },
        { "GET a\vb", "*2\\r\\n$3\\r\\nGET\\r\\n$3\\r\\na\\x0bb\\r\\n" },
        { "GET *1", "*2\\r\\n$3\\r\\nGET\\r\\n$2\\r\\n*1\\r\\n" },
        { "\"\\x47ET\" \"\\x00\"", "*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\n\\x00\\r\\n" },
    };
    struct protocol_settings settings = plain();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char input[200], expected[400];
        for (int with_cr = 0; with_cr < 2; with_cr++) {
            int length = snprintf(input, sizeof input, "%s%s\n" GET_A, cases[i].line, with_cr ? "\r" : "");
            snprintf(expected, sizeof expected, "forward %s\nforward " GET_A_WRITTEN "\n", cases[i].array);
            framing_expect_requests_at(&settings, (struct slice){ input, (size_t)length }, expected, HERE);
        }
    }
}

#define PROTOCOL_ERROR "broken -ERR Protocol error: "

static void what_redis_closes_on_is_answered_here(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    static const struct {
        struct slice input;
        const char *error;
    } cases[] = {
        { SLICE("PING \"a\r\n"), "unbalanced quotes in request" },
        { SLICE("PING 'a\r\n"), "unbalanced quotes in request" },
        { SLICE("PING \"a\\\"\r\n"), "unbalanced quotes in request" },
        { SLICE("PING 'a\\'\r\n"), "unbalanced quotes in request" },
        { SLICE("PING 'a\\\\'\r\n"), "unbalanced quotes in request" },
        { SLICE("PING \"a\"b\r\n"), "unbalanced quotes in request" },
        { SLICE("PING 'a'b\r\n"), "unbalanced quotes in request" },
        { SLICE("PING a\"b c\"d\r\n"), "unbalanced quotes in request" },
        { SLICE("\"\n"), "unbalanced quotes in request" },
        { SLICE("\"\\\n"), "unbalanced quotes in request" },
        { SLICE("PING\0\r\n"), "NUL in inline request" },
        { SLICE("*\r\n"), "invalid multibulk length" },
        { SLICE("*x\r\n"), "invalid multibulk length" },
        { SLICE("*+1\r\n"), "invalid multibulk length" },
        { SLICE("*01\r\n"), "invalid multibulk length" },
        { SLICE("*-0\r\n"), "invalid multibulk length" },
        { SLICE("*--1\r\n"), "invalid multibulk length" },
        { SLICE("* 1\r\n"), "invalid multibulk length" },
        { SLICE("*1\n$4\r\nPING\r\n"), "invalid multibulk length" },
        { SLICE("*1\rX$4\rXPINGXX"), "invalid multibulk length" },
        { SLICE("*2147483648\r\n"), "invalid multibulk length" },
        { SLICE("*18446744073709551617\r\n"), "invalid multibulk length" },
        { SLICE("*9223372036854775808\r\n"), "invalid multibulk length" },
        { SLICE("*1\r\n$-1\r\n"), "invalid bulk length" },
        { SLICE("*1\r\n$\r\n"), "invalid bulk length" },
        { SLICE("*1\r\n$ 4\r\n"), "invalid bulk length" },
        { SLICE("*1\r\n$04\r\n"), "invalid bulk length" },
        { SLICE("*1\r\n$536870913\r\n"), "invalid bulk length" },
        { SLICE("*1\r\n$18446744073709551620\r\nPING\r\n"), "invalid bulk length" },
        { SLICE("*1\r\n+4\r\n"), "expected '$', got '+'" },
        { SLICE("*1\r\n*1\r\n$4\r\nPING\r\n"), "expected '$', got '*'" },
        { SLICE("*1\r\n\r\n"), "expected '$', got ' '" },
        { SLICE("*1\r\n\0"), "expected '$', got ' '" },
        { SLICE("*1\r\n\xff"), "expected '$', got ' '" },
        { SLICE("*1\r\n$4\r\nPINGx\r\n"), "expected CRLF after an argument" },
        { SLICE("*1\r\n$4\r\nPING\rx"), "expected CRLF after an argument" },
        { SLICE("*2\r\n$5\r\nMULTI\r\n$-5\r\n"), "invalid bulk length" },
        { SLICE("*2\r\n$3\r\nGET\r\n$x\r\n"), "invalid bulk length" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[200];
        snprintf(expected, sizeof expected, PROTOCOL_ERROR "%s\\r\\n\n", cases[i].error);
        framing_expect_requests_at(&settings, cases[i].input, expected, HERE);
    }
    framing_expect_requests(&settings, GET_A "*x\r\n" GET_A,
                            "forward " GET_A_WRITTEN "\n" PROTOCOL_ERROR "invalid multibulk length\\r\\n\n");
}

static void browsers_are_sent_away(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    struct slice everything = SLICE("*");
    redis_own(&settings)->commands.slices = &everything;
    redis_own(&settings)->commands.count = 1;
    const char *expected = "broken -ERR proximux: this is no server for HTTP\\r\\n\n";
    framing_expect_requests(&settings, "POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a b\r\n", expected);
    framing_expect_requests(&settings, "Host: x\r\n", expected);
    framing_expect_requests(&settings, "\"\\x70ost\"\r\n", expected);
    framing_expect_requests(&settings, "*2\r\n$5\r\nhOsT:\r\n$1\r\nx\r\n", expected);
    settings = with_password();
    framing_expect_requests(&settings, "POST / HTTP/1.1\r\n", expected);
}

/* Requests of any size, compared whole and in pieces by the harness. */
static void expect_large(const struct protocol_settings *settings, const char *before, size_t filling,
                         const char *after, const char *expected, struct place place)
{
    size_t length = strlen(before) + filling + strlen(after);
    char *input = malloc(length + 1);
    assert_non_null(input);
    memcpy(input, before, strlen(before));
    memset(input + strlen(before), 'a', filling);
    memcpy(input + strlen(before) + filling, after, strlen(after) + 1);
    framing_expect_requests_at(settings, (struct slice){ input, length }, expected, place);
    free(input);
}

static void heads_are_limited(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    const char *big = PROTOCOL_ERROR "too big inline request\\r\\n\n";
    const char *refusal = "local [refused] -ERR proximux: these arguments are too long\\r\\n\n";
    expect_large(&settings, "", 65536, "", "more \n", HERE);
    expect_large(&settings, "", 65537, "", big, HERE);
    expect_large(&settings, "", 65537, "\n", big, HERE);
    settings.head_limit = 100;
    expect_large(&settings, "", 100, "", "more \n", HERE);
    expect_large(&settings, "", 101, "", big, HERE);
    /* The line would do, but not the array. */
    expect_large(&settings, "GET ", 90, "\r\n", big, HERE);
    /* Names and options are looked for in so many bytes; a longer request is not taken to pieces. */
    expect_large(&settings, "*2\r\n$4\r\nAUTH\r\n$200\r\n", 200, "\r\n", refusal, HERE);
    expect_large(&settings, "*6\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$200\r\n", 200,
                 "\r\n$1\r\nc\r\n$5\r\nBLOCK\r\n$1\r\n0\r\n", refusal, HERE);
    expect_large(&settings, "*2\r\n$5\r\nXREAD\r\n$200\r\n", 200, "\r\n", refusal, HERE);
    expect_large(&settings, "*1\r\n$200\r\n", 200, "\r\n",
                 "local [refused] -ERR proximux: '' is not the name of a command\\r\\n\n", HERE);
    expect_large(&settings, "*2\r\n$6\r\nCLIENT\r\n$200\r\n", 200, "\r\n",
                 "local [refused] -ERR proximux: 'client|' is not the name of a command\\r\\n\n", HERE);
    expect_large(&settings, "*2\r\n$5\r\nMULTI\r\n$200\r\n", 200, "\r\n",
                 "local [refused] -ERR proximux: 'multi' changes the state of its connection, which others "
                 "share\\r\\n\n",
                 HERE);
    settings.head_limit = 12;
    framing_expect_requests(&settings, "*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nPING\r\n",
                            "local [refused] -ERR proximux: these arguments are too long\\r\\n\n"
                            "forward " PING_WRITTEN "\n");
}

/* ---- Which commands ------------------------------------------------------------------------------------ */

/* Sends each of the names, in small and capital letters and with two arguments, and expects `outcome`, with
 * the name, in small letters, in the place of a '%'. */
static void expect_each(const struct protocol_settings *settings, const char *const *names,
                        const char *outcome)
{
    for (; *names != NULL; names++) {
        for (int capitals = 0; capitals < 2; capitals++) {
            char name[64], input[300], expected[400];
            size_t length = strlen(*names);
            for (size_t i = 0; i <= length; i++)
                name[i] = (char)(capitals ? toupper((*names)[i]) : (*names)[i]);
            size_t size = (size_t)snprintf(input, sizeof input, "*3\r\n$%zu\r\n%s\r\n$1\r\n1\r\n$1\r\n2\r\n",
                                           length, name);
            if (outcome == NULL)
                snprintf(expected, sizeof expected,
                         "forward *3\\r\\n$%zu\\r\\n%s\\r\\n$1\\r\\n1\\r\\n$1\\r\\n2\\r\\n\n", length, name);
            else
                snprintf(expected, sizeof expected, "local [refused] -ERR proximux: '%s' %s\\r\\n\n", *names,
                         outcome);
            framing_expect_requests_at(settings, (struct slice){ input, size }, expected, HERE);
        }
    }
}

static const char *const shared[] = {
    "acl",
    "append",
    "bgrewriteaof",
    "bgsave",
    "bitcount",
    "bitfield",
    "bitfield_ro",
    "bitop",
    "bitpos",
    "cluster",
    "command",
    "config",
    "copy",
    "dbsize",
    "decr",
    "decrby",
    "del",
    "delex",
    "digest",
    "dump",
    "echo",
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "exists",
    "expire",
    "expireat",
    "expiretime",
    "fcall",
    "fcall_ro",
    "flushall",
    "flushdb",
    "function",
    "geoadd",
    "geodist",
    "geohash",
    "geopos",
    "georadius",
    "georadius_ro",
    "georadiusbymember",
    "georadiusbymember_ro",
    "geosearch",
    "geosearchstore",
    "get",
    "getbit",
    "getdel",
    "getex",
    "getrange",
    "getset",
    "hdel",
    "hexists",
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hget",
    "hgetall",
    "hgetdel",
    "hgetex",
    "hincrby",
    "hincrbyfloat",
    "hkeys",
    "hlen",
    "hmget",
    "hmset",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "hrandfield",
    "hscan",
    "hset",
    "hsetex",
    "hsetnx",
    "hstrlen",
    "httl",
    "hvals",
    "incr",
    "incrby",
    "incrbyfloat",
    "info",
    "keys",
    "lastsave",
    "latency",
    "lcs",
    "lindex",
    "linsert",
    "llen",
    "lmove",
    "lmpop",
    "lolwut",
    "lpop",
    "lpos",
    "lpush",
    "lpushx",
    "lrange",
    "lrem",
    "lset",
    "ltrim",
    "memory",
    "mget",
    "migrate",
    "module",
    "move",
    "mset",
    "msetex",
    "msetnx",
    "object",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "pfadd",
    "pfcount",
    "pfdebug",
    "pfmerge",
    "pfselftest",
    "ping",
    "psetex",
    "pttl",
    "publish",
    "pubsub",
    "randomkey",
    "rename",
    "renamenx",
    "restore",
    "restore-asking",
    "role",
    "rpop",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sadd",
    "save",
    "scan",
    "scard",
    "sdiff",
    "sdiffstore",
    "set",
    "setbit",
    "setex",
    "setnx",
    "setrange",
    "sinter",
    "sintercard",
    "sinterstore",
    "sismember",
    "slowlog",
    "smembers",
    "smismember",
    "smove",
    "sort",
    "sort_ro",
    "spop",
    "spublish",
    "srandmember",
    "srem",
    "sscan",
    "strlen",
    "substr",
    "sunion",
    "sunionstore",
    "swapdb",
    "time",
    "touch",
    "ttl",
    "type",
    "unlink",
    "xack",
    "xackdel",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xdel",
    "xdelex",
    "xgroup",
    "xinfo",
    "xlen",
    "xpending",
    "xrange",
    "xrevrange",
    "xsetid",
    "xtrim",
    "zadd",
    "zcard",
    "zcount",
    "zdiff",
    "zdiffstore",
    "zincrby",
    "zinter",
    "zintercard",
    "zinterstore",
    "zlexcount",
    "zmpop",
    "zmscore",
    "zpopmax",
    "zpopmin",
    "zrandmember",
    "zrange",
    "zrangebylex",
    "zrangebyscore",
    "zrangestore",
    "zrank",
    "zrem",
    "zremrangebylex",
    "zremrangebyrank",
    "zremrangebyscore",
    "zrevrange",
    "zrevrangebylex",
    "zrevrangebyscore",
    "zrevrank",
    "zscan",
    "zscore",
    "zunion",
    "zunionstore",
    NULL,
};

static const char *const state_changing[] = {
    "asking", "discard", "exec", "multi", "readonly", "readwrite", "unwatch", "watch", NULL,
};

static const char *const blocking[] = {
    "blmove",   "blmpop",   "blpop", "brpop",   "brpoplpush", "bzmpop",
    "bzpopmax", "bzpopmin", "wait",  "waitaof", NULL,
};

static const char *const stopping[] = { "debug", "failover", "replicaof", "shutdown", "slaveof", NULL };

static const char *const unpaired[] = {
    "monitor",   "psubscribe",   "psync", "punsubscribe", "replconf", "ssubscribe",
    "subscribe", "sunsubscribe", "sync",  "unsubscribe",  NULL,
};

static const char *const unknown[] = {
    "", "ge", "gett", "json.get", "ft.search", "sentinel", "subscribex", "client.id", "?", "'", NULL,
};

#define STATE_TEXT    "changes the state of its connection, which others share"
#define BLOCKS_TEXT   "blocks its connection, which others share"
#define STOPS_TEXT    "stops the target, which others share"
#define UNPAIRED_TEXT "needs a connection of its own, and this one is shared"
#define UNKNOWN_TEXT  "is not known here; the key \"commands\" can admit it"

static void commands_pass_or_are_refused(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    expect_each(&settings, shared, NULL);
    expect_each(&settings, state_changing, STATE_TEXT);
    expect_each(&settings, blocking, BLOCKS_TEXT);
    expect_each(&settings, stopping, STOPS_TEXT);
    expect_each(&settings, unpaired, UNPAIRED_TEXT);
    framing_expect_requests(&settings, "cluster syncslots x\r\ncluster nodes\r\n",
                            "local [refused] -ERR proximux: 'cluster|syncslots' " UNPAIRED_TEXT "\\r\\n\n"
                            "forward *2\\r\\n$7\\r\\ncluster\\r\\n$5\\r\\nnodes\\r\\n\n");
    framing_expect_requests(&settings, "json.get a\r\nNOSUCH\r\n\"\\x1b[2J\"\r\n\"\"\r\n",
                            "local [refused] -ERR proximux: 'json.get' " UNKNOWN_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: 'nosuch' " UNKNOWN_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: '\\\\x1b[2j' " UNKNOWN_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: '' " UNKNOWN_TEXT "\\r\\n\n");
}

static void the_operator_admits_commands(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    struct slice commands[] = { SLICE("Json.*"), SLICE("MULTI"), SLICE("xread"), SLICE("client|no-evict") };
    redis_own(&settings)->commands.slices = commands;
    redis_own(&settings)->commands.count = sizeof commands / sizeof *commands;
    const char *const admitted[] = { "json.get", "json.", "multi", NULL };
    const char *const others[] = { "json", "multix", "mult", NULL };
    expect_each(&settings, admitted, NULL);
    expect_each(&settings, others, UNKNOWN_TEXT);
    framing_expect_requests(&settings, "*2\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n*1\r\n$4\r\nEXEC\r\n",
                            "forward *2\\r\\n$5\\r\\nXREAD\\r\\n$5\\r\\nBLOCK\\r\\n\n"
                            "local [refused] -ERR proximux: 'exec' " STATE_TEXT "\\r\\n\n");
    framing_expect_requests(&settings, "client no-evict\nclient pause\n",
                            "forward *2\\r\\n$6\\r\\nclient\\r\\n$8\\r\\nno-evict\\r\\n\n"
                            "local [refused] -ERR proximux: 'client|pause' " STOPS_TEXT "\\r\\n\n");
}

static void nothing_admits_what_is_not_one_answer(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    struct slice everything = SLICE("*");
    redis_own(&settings)->commands.slices = &everything;
    redis_own(&settings)->commands.count = 1;
    expect_each(&settings, unpaired, UNPAIRED_TEXT);
    expect_each(&settings, unknown, NULL);
    expect_each(&settings, blocking, NULL);
    expect_each(&settings, stopping, NULL);
    framing_expect_requests(
        &settings,
        "CLIENT REPLY OFF\r\nscript debug yes\r\ncluster syncslots ack\r\nclient x\r\nCLIENT ID\r\nQUIT\r\n",
        "local [refused] -ERR proximux: 'client|reply' " UNPAIRED_TEXT "\\r\\n\n"
        "local [refused] -ERR proximux: 'script|debug' " UNPAIRED_TEXT "\\r\\n\n"
        "local [refused] -ERR proximux: 'cluster|syncslots' " UNPAIRED_TEXT "\\r\\n\n"
        "forward *2\\r\\n$6\\r\\nclient\\r\\n$1\\r\\nx\\r\\n\n"
        "local :7\\r\\n\n"
        "local [closes] +OK\\r\\n\n");
    /* Redis compares names up to the NUL. */
    framing_expect_requests(
        &settings, "\"SUBSCRIBE\\x00abc\" x\r\nCLIENT \"REPLY\\x00\" OFF\r\n\"CLIENT|REPLY\" OFF\r\n",
        "local [refused] -ERR proximux: 'subscribe\\\\x00abc' is not the name of a command\\r\\n\n"
        "local [refused] -ERR proximux: 'client|reply\\\\x00' is not the name of a command\\r\\n\n"
        "local [refused] -ERR proximux: 'client|reply' is not the name of a command\\r\\n\n");
}

static void quoting_hides_no_command(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    const char *expected = "local [refused] -ERR proximux: 'subscribe' " UNPAIRED_TEXT "\\r\\n\n";
    framing_expect_requests(&settings, "\"\\x53UBSCRIBE\" x\r\n", expected);
    framing_expect_requests(&settings, "'SUBSCRIBE' x\r\n", expected);
    framing_expect_requests(&settings, "SUB\"SCRIBE\" x\r\n", expected);
    framing_expect_requests(&settings, "\r\n \v\"sub\\scribe\"\r\n", expected);
}

static void containers_are_looked_into(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_requests(&settings, "CLIENT LIST\r\nclient\r\nSCRIPT LOAD x\r\nSCRIPT\r\nCONFIG GET x\r\n",
                            "forward *2\\r\\n$6\\r\\nCLIENT\\r\\n$4\\r\\nLIST\\r\\n\n"
                            "forward *1\\r\\n$6\\r\\nclient\\r\\n\n"
                            "forward *3\\r\\n$6\\r\\nSCRIPT\\r\\n$4\\r\\nLOAD\\r\\n$1\\r\\nx\\r\\n\n"
                            "forward *1\\r\\n$6\\r\\nSCRIPT\\r\\n\n"
                            "forward *3\\r\\n$6\\r\\nCONFIG\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nx\\r\\n\n");
    framing_expect_requests(&settings,
                            "client caching yes\nclient no-evict on\nclient no-touch on\nclient tracking on\n"
                            "client pause 1\nclient reply skip\nclient foo\nclient ''\n",
                            "local [refused] -ERR proximux: 'client|caching' " STATE_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: 'client|no-evict' " STATE_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: 'client|no-touch' " STATE_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: 'client|tracking' " STATE_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: 'client|pause' " STOPS_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: 'client|reply' " UNPAIRED_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: 'client|foo' " UNKNOWN_TEXT "\\r\\n\n"
                            "local [refused] -ERR proximux: 'client|' " UNKNOWN_TEXT "\\r\\n\n");
    framing_expect_requests(&settings, "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n" GET_A,
                            "local [refused] -ERR proximux: 'client|reply' " UNPAIRED_TEXT "\\r\\n\n"
                            "forward " GET_A_WRITTEN "\n");
}

#define BLOCK_REFUSED(name)                                                                                  \
    "local [refused] -ERR proximux: '" name "' with BLOCK blocks its connection, which others share\\r\\n\n"

static void streams_are_read_without_blocking(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_requests(&settings, "xread block 0 streams a $\n", BLOCK_REFUSED("xread"));
    framing_expect_requests(&settings, "xread count 1 Block 0 streams a $\n", BLOCK_REFUSED("xread"));
    framing_expect_requests(&settings, "xread \"block\\x00\" 0 streams a $\n", BLOCK_REFUSED("xread"));
    framing_expect_requests(&settings, "xread \"block\\x00aaaaaaaaaaa\" 0 streams a $\n",
                            BLOCK_REFUSED("xread"));
    framing_expect_requests(&settings, "xreadgroup group g c noack block 0 streams a >\n",
                            BLOCK_REFUSED("xreadgroup"));
    framing_expect_requests(&settings, "xreadgroup group block block block 0 streams a >\n",
                            BLOCK_REFUSED("xreadgroup"));
    framing_expect_requests(
        &settings, "xread streams block 0\n",
        "forward *4\\r\\n$5\\r\\nxread\\r\\n$7\\r\\nstreams\\r\\n$5\\r\\nblock\\r\\n$1\\r\\n0\\r\\n\n");
    framing_expect_requests(&settings, "xread count block\n",
                            "forward *3\\r\\n$5\\r\\nxread\\r\\n$5\\r\\ncount\\r\\n$5\\r\\nblock\\r\\n\n");
    framing_expect_requests(&settings, "xreadgroup group block block blockblockblock\n",
                            "forward *5\\r\\n$10\\r\\nxreadgroup\\r\\n$5\\r\\ngroup\\r\\n$5\\r\\nblock\\r\\n"
                            "$5\\r\\nblock\\r\\n$15\\r\\nblockblockblock\\r\\n\n");
    framing_expect_requests(&settings, "xread\n", "forward *1\\r\\n$5\\r\\nxread\\r\\n\n");
}

/* ---- Answered here ------------------------------------------------------------------------------------- */

static void the_client_keeps_a_name(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_requests(&settings,
                            "CLIENT GETNAME\nCLIENT SETNAME worker-1\nclient getname\nCLIENT SETNAME ''\n"
                            "CLIENT GETNAME\nCLIENT SETNAME x\nRESET\nCLIENT GETNAME\n",
                            "local $-1\\r\\n\n"
                            "local +OK\\r\\n\n"
                            "local $8\\r\\nworker-1\\r\\n\n"
                            "local +OK\\r\\n\n"
                            "local $-1\\r\\n\n"
                            "local +OK\\r\\n\n"
                            "local +RESET\\r\\n\n"
                            "local $-1\\r\\n\n");
    framing_expect_requests(
        &settings, "CLIENT SETNAME 'a b'\nCLIENT SETNAME\nCLIENT GETNAME x\nCLIENT ID x\n",
        "local -ERR Client names cannot contain spaces, newlines or special characters.\\r\\n\n"
        "local -ERR wrong number of arguments for 'client|setname' command\\r\\n\n"
        "local -ERR wrong number of arguments for 'client|getname' command\\r\\n\n"
        "local -ERR wrong number of arguments for 'client|id' command\\r\\n\n");
    framing_expect_requests(
        &settings,
        "*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\nclient setinfo LIB-NAME x\nclient setinfo lib-ver 'a b'\n",
        "local :7\\r\\n\n"
        "local +OK\\r\\n\n"
        "local -ERR lib-ver cannot contain spaces, newlines or special characters.\\r\\n\n");
    framing_expect_requests(&settings, "client setinfo \"a\\n\" x\nclient setinfo lib-name\n",
                            "local -ERR Unrecognized option 'a\\\\x0a'\\r\\n\n"
                            "local -ERR wrong number of arguments for 'client|setinfo' command\\r\\n\n");
    expect_large(&settings, "CLIENT SETNAME ", REDIS_CLIENT_NAME_MAX, "\n", "local +OK\\r\\n\n", HERE);
    expect_large(&settings, "CLIENT SETNAME ", REDIS_CLIENT_NAME_MAX + 1, "\nCLIENT GETNAME\n",
                 "local -ERR proximux: this name is too long\\r\\n\nlocal $-1\\r\\n\n", HERE);
}

static void the_connection_ends_here(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_requests(&settings, GET_A "QUIT\r\n" GET_A,
                            "forward " GET_A_WRITTEN "\nlocal [closes] +OK\\r\\n\n");
    framing_expect_requests(&settings, "*2\r\n$4\r\nquit\r\n$3\r\nnow\r\n", "local [closes] +OK\\r\\n\n");
    framing_expect_requests(&settings, "RESET x\n",
                            "local -ERR wrong number of arguments for 'reset' command\\r\\n\n");
}

static void only_the_present_database_is_selected(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_requests(
        &settings,
        "SELECT 0\nselect 1\nSELECT x\nSELECT 00\nSELECT 99999999999999999999\nSELECT\nSELECT 0 0\n",
        "local +OK\\r\\n\n"
        "local [refused] -ERR proximux: the database is 0, for all who share the connection\\r\\n\n"
        "local -ERR value is not an integer or out of range\\r\\n\n"
        "local -ERR value is not an integer or out of range\\r\\n\n"
        "local -ERR value is not an integer or out of range\\r\\n\n"
        "local -ERR wrong number of arguments for 'select' command\\r\\n\n"
        "local -ERR wrong number of arguments for 'select' command\\r\\n\n");
    redis_own(&settings)->database = 12;
    framing_expect_requests(
        &settings, "SELECT 12\nSELECT 0\nSELECT \"12\\r\"\nSELECT ''\n",
        "local +OK\\r\\n\n"
        "local [refused] -ERR proximux: the database is 12, for all who share the connection\\r\\n\n"
        "local -ERR value is not an integer or out of range\\r\\n\n"
        "local -ERR value is not an integer or out of range\\r\\n\n");
}

#define HELLO_WRITTEN                                                                                        \
    "local *14\\r\\n$6\\r\\nserver\\r\\n$8\\r\\nproximux\\r\\n$7\\r\\nversion\\r\\n$5\\r\\n7.0.0\\r\\n"      \
    "$5\\r\\nproto\\r\\n:2\\r\\n$2\\r\\nid\\r\\n:7\\r\\n$4\\r\\nmode\\r\\n$10\\r\\nstandalone\\r\\n"         \
    "$4\\r\\nrole\\r\\n$6\\r\\nmaster\\r\\n$7\\r\\nmodules\\r\\n*0\\r\\n\n"
#define WRONGPASS "local [refused] -WRONGPASS invalid username-password pair or user is disabled.\\r\\n\n"
#define NOAUTH    "local [refused] -NOAUTH Authentication required.\\r\\n\n"

static void hello_speaks_resp2(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_requests(&settings, "HELLO\r\n", HELLO_WRITTEN);
    framing_expect_requests(&settings,
                            "*4\r\n$5\r\nhello\r\n$1\r\n2\r\n$7\r\nsetname\r\n$1\r\nq\r\nCLIENT GETNAME\n",
                            HELLO_WRITTEN "local $1\\r\\nq\\r\\n\n");
    framing_expect_requests(&settings, "HELLO 2 AUTH default x SETNAME q\n", HELLO_WRITTEN);
    framing_expect_requests(
        &settings, "HELLO 3\nHELLO 3 AUTH a b\nHELLO 1\nHELLO -2\nHELLO x\nHELLO AUTH a b\nHELLO 02\n",
        "local -NOPROTO unsupported protocol version\\r\\n\n"
        "local -NOPROTO unsupported protocol version\\r\\n\n"
        "local -NOPROTO unsupported protocol version\\r\\n\n"
        "local -NOPROTO unsupported protocol version\\r\\n\n"
        "local -ERR Protocol version is not an integer or out of range\\r\\n\n"
        "local -ERR Protocol version is not an integer or out of range\\r\\n\n"
        "local -ERR Protocol version is not an integer or out of range\\r\\n\n");
    framing_expect_requests(&settings,
                            "HELLO 2 FOO\nHELLO 2 SETNAME\nHELLO 2 AUTH a\nHELLO 2 \"\\r\\n-ERR\"\n",
                            "local -ERR Syntax error in HELLO option 'FOO'\\r\\n\n"
                            "local -ERR Syntax error in HELLO option 'SETNAME'\\r\\n\n"
                            "local -ERR Syntax error in HELLO option 'AUTH'\\r\\n\n"
                            "local -ERR Syntax error in HELLO option '\\\\x0d\\\\x0a-ERR'\\r\\n\n");
    framing_expect_requests(
        &settings, "HELLO 2 AUTH nobody x\nHELLO 2 SETNAME 'a b'\n",
        WRONGPASS "local -ERR Client names cannot contain spaces, newlines or special characters.\\r\\n\n");
}

static void logins_without_password(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_requests(
        &settings, "AUTH x\nAUTH default x\nAUTH nobody x\nAUTH a b c\nAUTH\n",
        "local -ERR AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?\\r\\n\n"
        "local +OK\\r\\n\n" WRONGPASS "local -ERR syntax error\\r\\n\n"
        "local -ERR wrong number of arguments for 'auth' command\\r\\n\n");
}

static void nothing_passes_before_the_password(void **state)
{
    (void)state;
    struct protocol_settings settings = with_password();
    framing_expect_requests(
        &settings,
        GET_A "SUBSCRIBE x\nNOSUCH\nCLIENT ID\nSELECT 0\nxread block 0 streams a $\nHELLO\n"
              "AUTH wrong\nAUTH secre\nAUTH secrets\nAUTH secretsecret\nAUTH ''\nAUTH other secret\n" GET_A
              "AUTH secret\n" GET_A "AUTH wrong\n" GET_A "RESET\n" GET_A "QUIT\n",
        NOAUTH NOAUTH NOAUTH NOAUTH NOAUTH NOAUTH
        "local [refused] -NOAUTH HELLO must be called with the client already authenticated, otherwise the "
        "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP "
        "protocol version at the same time\\r\\n\n" WRONGPASS WRONGPASS WRONGPASS WRONGPASS WRONGPASS
            WRONGPASS NOAUTH "local +OK\\r\\n\nforward " GET_A_WRITTEN "\n" WRONGPASS "forward " GET_A_WRITTEN
        "\nlocal +RESET\\r\\n\n" NOAUTH "local [closes] +OK\\r\\n\n");
    framing_expect_requests(&settings, "AUTH default secret\nPING\n",
                            "local +OK\\r\\n\nforward " PING_WRITTEN "\n");
    framing_expect_requests(&settings, "HELLO 2 AUTH default secret\nPING\n",
                            HELLO_WRITTEN "forward " PING_WRITTEN "\n");
    framing_expect_requests(&settings, "HELLO 2 AUTH default wrong SETNAME x\nPING\n", WRONGPASS NOAUTH);
    redis_own(&settings)->username = SLICE("app");
    framing_expect_requests(&settings,
                            "AUTH secret\nAUTH default secret\nAUTH app wrong\nAUTH app secret\nPING\n",
                            WRONGPASS WRONGPASS WRONGPASS "local +OK\\r\\n\nforward " PING_WRITTEN "\n");
}

static void strangers_send_little(void **state)
{
    (void)state;
    struct protocol_settings settings = with_password();
    framing_expect_requests(&settings, "*11\r\n", PROTOCOL_ERROR "unauthenticated multibulk length\\r\\n\n");
    framing_expect_requests(&settings, "*2\r\n$3\r\nGET\r\n$16385\r\n",
                            PROTOCOL_ERROR "unauthenticated bulk length\\r\\n\n");
    framing_expect_requests(&settings, "AUTH secret\n*11\r\n$4\r\nMGET\r\n$16385\r\n",
                            "local +OK\\r\\n\nmore *11\\r\\n$4\\r\\nMGET\\r\\n$16385\\r\\n\n");
    framing_expect_requests(&settings, "GET 1 2 3 4 5 6 7 8 9 10 11 12\n", NOAUTH);
    redis_own(&settings)->client_auth = false;
    framing_expect_requests(&settings, "PING\nAUTH wrong\nPING\nAUTH secret\nHELLO\n",
                            "forward " PING_WRITTEN "\n" WRONGPASS "forward " PING_WRITTEN
                            "\nlocal +OK\\r\\n\n" HELLO_WRITTEN);
}

/* Ten thousand requests at once, of three kinds: each gets what it should, in order. */
static void pipelines_keep_their_order(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    char *input = NULL, *expected = NULL;
    size_t length = 0, expected_length = 0;
    FILE *in = open_memstream(&input, &length);
    FILE *out = open_memstream(&expected, &expected_length);
    assert_non_null(in);
    assert_non_null(out);
    for (unsigned i = 0; i < 10000; i++) {
        if (i % 3 == 0) {
            fprintf(in, "*2\r\n$3\r\nGET\r\n$6\r\n%06u\r\n", i);
            fprintf(out, "forward *2\\r\\n$3\\r\\nGET\\r\\n$6\\r\\n%06u\\r\\n\n", i);
        } else if (i % 3 == 1) {
            fprintf(in, "*2\r\n$9\r\nSUBSCRIBE\r\n$6\r\n%06u\r\n", i);
            fprintf(out, "local [refused] -ERR proximux: 'subscribe' " UNPAIRED_TEXT "\\r\\n\n");
        } else {
            fprintf(in, "CLIENT SETNAME n%u\r\nCLIENT GETNAME\n", i);
            fprintf(out, "local +OK\\r\\n\nlocal $%d\\r\\nn%u\\r\\n\n", snprintf(NULL, 0, "n%u", i), i);
        }
    }
    fclose(in);
    fclose(out);
    static const size_t steps[] = { SIZE_MAX, 1, 7, 16384 };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        size_t step = steps[i] < length ? steps[i] : length;
        char *transcript = framing_requests(&settings, (struct slice){ input, length }, step, step);
        assert_string_equal(transcript, expected);
        free(transcript);
    }
    free(input);
    free(expected);
}

/* ---- Responses ----------------------------------------------------------------------------------------- */

#define ONE "PING\n"
#define TWO "PING\nPING\n"

static void expect_answer(struct slice response, const char *written, struct place place)
{
    struct protocol_settings settings = plain();
    char expected[2000];
    snprintf(expected, sizeof expected, "answer %s\nanswer +OK\\r\\n\n", written);
    char *bytes = malloc(response.length + 5);
    assert_non_null(bytes);
    memcpy(bytes, response.bytes, response.length);
    memcpy(bytes + response.length, "+OK\r\n", 5);
    framing_expect_responses_at(&settings, SLICE(TWO), (struct slice){ bytes, response.length + 5 }, false,
                                expected, place);
    free(bytes);
}

#define EXPECT_ANSWER(response, written) expect_answer(SLICE(response), (written), HERE)

static void answers_of_every_type_end_where_they_should(void **state)
{
    (void)state;
    /* RESP2 */
    EXPECT_ANSWER("+OK\r\n", "+OK\\r\\n");
    EXPECT_ANSWER("+\r\n", "+\\r\\n");
    EXPECT_ANSWER("+a\nb\rc\r\r\n", "+a\\nb\\rc\\r\\r\\n");
    EXPECT_ANSWER("-ERR unknown command 'x'\r\n", "-ERR unknown command 'x'\\r\\n");
    EXPECT_ANSWER(":1000\r\n", ":1000\\r\\n");
    EXPECT_ANSWER(":-1\r\n", ":-1\\r\\n");
    EXPECT_ANSWER("$5\r\nhello\r\n", "$5\\r\\nhello\\r\\n");
    EXPECT_ANSWER("$4\r\n\r\n\0+\r\n", "$4\\r\\n\\r\\n\\x00+\\r\\n");
    EXPECT_ANSWER("$0\r\n\r\n", "$0\\r\\n\\r\\n");
    EXPECT_ANSWER("$-1\r\n", "$-1\\r\\n");
    EXPECT_ANSWER("*-1\r\n", "*-1\\r\\n");
    EXPECT_ANSWER("*0\r\n", "*0\\r\\n");
    EXPECT_ANSWER("*2\r\n$5\r\nhello\r\n$-1\r\n", "*2\\r\\n$5\\r\\nhello\\r\\n$-1\\r\\n");
    EXPECT_ANSWER("*3\r\n*2\r\n:1\r\n:2\r\n*0\r\n*2\r\n+a\r\n*1\r\n-b\r\n",
                  "*3\\r\\n*2\\r\\n:1\\r\\n:2\\r\\n*0\\r\\n*2\\r\\n+a\\r\\n*1\\r\\n-b\\r\\n");
    EXPECT_ANSWER("*2\r\n*-1\r\n*1\r\n$3\r\n*1\r\r\n", "*2\\r\\n*-1\\r\\n*1\\r\\n$3\\r\\n*1\\r\\r\\n");
    /* RESP3 */
    EXPECT_ANSWER("_\r\n", "_\\r\\n");
    EXPECT_ANSWER("#t\r\n", "#t\\r\\n");
    EXPECT_ANSWER(",1.23\r\n", ",1.23\\r\\n");
    EXPECT_ANSWER(",-inf\r\n", ",-inf\\r\\n");
    EXPECT_ANSWER("(3492890328409238509324850943850943825024385\r\n",
                  "(3492890328409238509324850943850943825024385\\r\\n");
    EXPECT_ANSWER("!21\r\nSYNTAX invalid syntax\r\n", "!21\\r\\nSYNTAX invalid syntax\\r\\n");
    EXPECT_ANSWER("=15\r\ntxt:Some string\r\n", "=15\\r\\ntxt:Some string\\r\\n");
    EXPECT_ANSWER("%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n",
                  "%2\\r\\n+first\\r\\n:1\\r\\n+second\\r\\n:2\\r\\n");
    EXPECT_ANSWER("%0\r\n", "%0\\r\\n");
    EXPECT_ANSWER("~3\r\n+a\r\n#f\r\n_\r\n", "~3\\r\\n+a\\r\\n#f\\r\\n_\\r\\n");
    EXPECT_ANSWER("%1\r\n*1\r\n:1\r\n%1\r\n~1\r\n:2\r\n*0\r\n",
                  "%1\\r\\n*1\\r\\n:1\\r\\n%1\\r\\n~1\\r\\n:2\\r\\n*0\\r\\n");
    /* Streamed */
    EXPECT_ANSWER("$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n",
                  "$?\\r\\n;4\\r\\nHell\\r\\n;5\\r\\no wor\\r\\n;1\\r\\nd\\r\\n;0\\r\\n");
    EXPECT_ANSWER("*?\r\n:1\r\n*2\r\n:2\r\n*?\r\n.\r\n.\r\n",
                  "*?\\r\\n:1\\r\\n*2\\r\\n:2\\r\\n*?\\r\\n.\\r\\n.\\r\\n");
    EXPECT_ANSWER("*2\r\n%?\r\n+a\r\n:1\r\n.\r\n~?\r\n$?\r\n;0\r\n.\r\n",
                  "*2\\r\\n%?\\r\\n+a\\r\\n:1\\r\\n.\\r\\n~?\\r\\n$?\\r\\n;0\\r\\n.\\r\\n");
}

static void attributes_belong_to_the_answer(void **state)
{
    (void)state;
    EXPECT_ANSWER(
        "|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.19\r\n$1\r\nb\r\n,0.0012\r\n*2\r\n:2039123\r\n:9\r\n",
        "|1\\r\\n+key-popularity\\r\\n%2\\r\\n$1\\r\\na\\r\\n,0.19\\r\\n$1\\r\\nb\\r\\n,0.0012\\r\\n"
        "*2\\r\\n:2039123\\r\\n:9\\r\\n");
    EXPECT_ANSWER("*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n",
                  "*3\\r\\n:1\\r\\n:2\\r\\n|1\\r\\n+ttl\\r\\n:3600\\r\\n:3\\r\\n");
    EXPECT_ANSWER("|0\r\n|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n+d\r\n$1\r\nx\r\n",
                  "|0\\r\\n|1\\r\\n+a\\r\\n|1\\r\\n+b\\r\\n+c\\r\\n+d\\r\\n$1\\r\\nx\\r\\n");
    EXPECT_ANSWER("*?\r\n|1\r\n+a\r\n:1\r\n:2\r\n.\r\n", "*?\\r\\n|1\\r\\n+a\\r\\n:1\\r\\n:2\\r\\n.\\r\\n");
}

static void pushes_reach_nobody(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_responses(
        &settings, TWO,
        ">2\r\n+invalidate\r\n*1\r\n$3\r\nfoo\r\n+one\r\n>0\r\n>1\r\n*?\r\n.\r\n$3\r\ntwo\r\n"
        ">1\r\n|1\r\n+a\r\n+b\r\n:1\r\n",
        false, "answer +one\\r\\n\nanswer $3\\r\\ntwo\\r\\n\n");
    framing_expect_responses(&settings, "", ">3\r\n+a\r\n$1\r\nb\r\n_\r\n", false, "");
    framing_expect_responses(&settings, ONE, ">3\r\n+a\r\n", true, "cut \n");
    framing_expect_responses(&settings, ONE, "+OK\r\n>1\r\n+x\r\n+y\r\n", false,
                             "answer +OK\\r\\n\nstray \n");
    framing_expect_responses(&settings, ONE, ">1\r\n>1\r\n", false, "broken \n");
    framing_expect_responses(&settings, ONE, "*2\r\n>1\r\n+a\r\n", false, "broken *2\\r\\n\n");
    framing_expect_responses(&settings, ONE, "|1\r\n+a\r\n+b\r\n>1\r\n", false,
                             "broken |1\\r\\n+a\\r\\n+b\\r\\n\n");
    framing_expect_responses(&settings, "", "|1\r\n", false, "stray \n");
    framing_expect_responses(&settings, "", "+OK\r\n", false, "stray \n");
    framing_expect_responses(&settings, ONE, "+OK\r\n$", false, "answer +OK\\r\\n\nstray \n");
}

static void what_is_no_answer_breaks_the_connection(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    static const struct {
        struct slice response;
        const char *passed;
    } cases[] = {
        { SLICE("HTTP/1.1 400"), "" },
        { SLICE("\r\n"), "" },
        { SLICE("\0"), "" },
        { SLICE(";0\r\n"), "" },
        { SLICE(".\r\n"), "" },
        { SLICE("$+5\r\n"), "$" },
        { SLICE("$ 5\r\n"), "$" },
        { SLICE("$05\r\n"), "$0" },
        { SLICE("$5\n"), "$5" },
        { SLICE("$5\r\r"), "$5\\r" },
        { SLICE("$\r\n"), "$" },
        { SLICE("$-2\r\n"), "$-2\\r\\n" },
        { SLICE("$-0\r\n"), "$-0" },
        { SLICE("$--1\r\n"), "$-" },
        { SLICE("$-?\r\n"), "$-" },
        { SLICE("$1?\r\n"), "$1" },
        { SLICE("$9223372036854775808\r\n"), "$922337203685477580" },
        { SLICE("$18446744073709551615\r\n"), "$184467440737095516" },
        { SLICE("$1\r\nab\r\n"), "$1\\r\\na" },
        { SLICE("$1\r\na\n"), "$1\\r\\na" },
        { SLICE("$1\r\na\ra"), "$1\\r\\na\\r" },
        { SLICE("!-1\r\n"), "!-1\\r\\n" },
        { SLICE("=-1\r\n"), "=-1\\r\\n" },
        { SLICE("%-1\r\n"), "%-1\\r\\n" },
        { SLICE("~-1\r\n"), "~-1\\r\\n" },
        { SLICE("*-2\r\n"), "*-2\\r\\n" },
        { SLICE("*999999999999999999\r\n*999999999999999999\r\n"),
          "*999999999999999999\\r\\n*999999999999999999\\r\\n" },
        { SLICE("%999999999999999999\r\n"), "%999999999999999999\\r\\n" },
        { SLICE(":\r\n"), ":" },
        { SLICE(":1 2\r\n"), ":1" },
        { SLICE(":1\n"), ":1" },
        { SLICE(":1\rx"), ":1\\r" },
        { SLICE("_x\r\n"), "_" },
        { SLICE("#\r\n"), "#" },
        { SLICE(",\x80\r\n"), "," },
        { SLICE("*1\r\n.\r\n"), "*1\\r\\n" },
        { SLICE("*?\r\n*1\r\n.\r\n"), "*?\\r\\n*1\\r\\n" },
        { SLICE("*?\r\n.x"), "*?\\r\\n." },
        { SLICE("*?x"), "*?" },
        { SLICE("$?\r\n+"), "$?\\r\\n" },
        { SLICE("$?\r\n;-1\r\n"), "$?\\r\\n;-1\\r\\n" },
        { SLICE("$?\r\n;?\r\n"), "$?\\r\\n;" },
        { SLICE("!?\r\n"), "!" },
        { SLICE("|?\r\n"), "|" },
        { SLICE("*?\r\n*?\r\n*?\r\n*?\r\n*?\r\n*?\r\n*?\r\n*?\r\n*?\r\n"),
          "*?\\r\\n*?\\r\\n*?\\r\\n*?\\r\\n*?\\r\\n*?\\r\\n*?\\r\\n*?\\r\\n*?\\r\\n" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[300];
        snprintf(expected, sizeof expected, "broken %s\n", cases[i].passed);
        framing_expect_responses_at(&settings, SLICE(ONE), cases[i].response, false, expected, HERE);
    }
}

static void large_answers_are_passed_on_as_they_come(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_responses(&settings, ONE, "$536870912\r\nabc", false, "more $536870912\\r\\nabc\n");
    framing_expect_responses(&settings, ONE, "$536870912\r\nabc", true, "cut $536870912\\r\\nabc\n");
    framing_expect_responses(&settings, ONE, "*1000000000000\r\n:1\r\n", false,
                             "more *1000000000000\\r\\n:1\\r\\n\n");
}

/* EVAL makes answers of any depth for whoever asks: that must not cost the others their connection. */
static void answers_nest_at_any_depth(void **state)
{
    (void)state;
    enum { DEPTH = 20000 };
    struct protocol_settings settings = plain();
    struct redis_connection connection = { 0 };
    struct buffer in = { 0 }, out = { 0 };
    struct protocol_request request = { 0 };
    for (int i = 0; i < DEPTH; i++)
        buffer_append_text(&in, i % 2 == 0 ? "*2\r\n" : "%1\r\n:1\r\n");
    for (int i = 0; i < DEPTH; i++)
        buffer_append_text(&in, i % 2 == 0 ? "" : ":1\r\n");
    struct slice input = buffer_slice(&in);
    assert_int_equal(redis_read_response(&settings, &connection, &request, &input, &out, NULL),
                     PROTOCOL_MORE);
    struct slice last = SLICE("+end\r\n+next\r\n");
    assert_int_equal(redis_read_response(&settings, &connection, &request, &last, &out, NULL),
                     PROTOCOL_COMPLETE);
    assert_int_equal(last.length, 7);
    assert_int_equal(out.length, in.length + 6);
    assert_memory_equal(buffer_bytes(&out), buffer_bytes(&in), in.length);
    buffer_free(&in);
    buffer_free(&out);
}

/* ---- Errors, greeting, cost ---------------------------------------------------------------------------- */

static void errors_are_in_plain_words(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    framing_expect_error(&settings, ONE, REASON_REQUEST_TIMEOUT,
                         "-ERR proximux: the target did not answer in time\r\n");
    framing_expect_error(&settings, "*2\r\n$3\r\nGET\r\n", REASON_QUEUE_FULL,
                         "-ERR proximux: too many requests are waiting\r\n");
    framing_expect_error(&settings, "", REASON_INTERNAL,
                         "-ERR proximux: the proxy is short of resources\r\n");
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
        struct protocol_request request = { 0 };
        struct buffer out = { 0 };
        assert_true(protocol_redis.write_error(&settings, &request, (enum reason)reason, &out));
        assert_memory_equal(buffer_bytes(&out), "-ERR proximux: ", 15);
        assert_memory_equal(buffer_bytes(&out) + out.length - 2, "\r\n", 2);
        buffer_truncate(&out, 0);
        request.begun = true;
        assert_false(protocol_redis.write_error(&settings, &request, (enum reason)reason, &out));
        assert_int_equal(out.length, 0);
        buffer_free(&out);
    }
}

static void expect_greeting(const struct protocol_settings *settings, const char *expected)
{
    struct redis_connection connection = { 0 };
    struct buffer out = { 0 };
    protocol_redis.write_handshake(settings, &connection, &out);
    assert_int_equal(out.length, strlen(expected));
    if (out.length > 0)
        assert_memory_equal(buffer_bytes(&out), expected, out.length);
    buffer_free(&out);
}

/* Gives the target's words in pieces of `step` bytes; `rest` is what must be left of them. */
static void expect_greeted(const struct protocol_settings *settings, struct slice said, size_t step,
                           enum protocol_outcome expected, const char *text, size_t rest)
{
    struct redis_connection connection = { 0 };
    struct buffer error = { 0 };
    enum protocol_outcome outcome = PROTOCOL_MORE;
    while (said.length > 0 && outcome == PROTOCOL_MORE) {
        struct slice piece = { said.bytes, step < said.length ? step : said.length };
        size_t given = piece.length;
        outcome = protocol_redis.read_handshake(settings, &connection, &piece, &error);
        assert_true(outcome != PROTOCOL_MORE || piece.length == 0);
        slice_skip(&said, given - piece.length);
    }
    assert_int_equal(outcome, expected);
    assert_int_equal(said.length, rest);
    assert_int_equal(error.length, strlen(text));
    if (error.length > 0)
        assert_memory_equal(buffer_bytes(&error), text, error.length);
    buffer_free(&error);
}

static void targets_are_greeted(void **state)
{
    (void)state;
    struct protocol_settings settings = plain();
    expect_greeting(&settings, "");
    redis_own(&settings)->database = 12;
    expect_greeting(&settings, "*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n");
    redis_own(&settings)->password = SLICE("a\r\nb");
    expect_greeting(&settings, "*2\r\n$4\r\nAUTH\r\n$4\r\na\r\nb\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n");
    redis_own(&settings)->username = SLICE("app");
    expect_greeting(&settings,
                    "*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$4\r\na\r\nb\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n");
    for (size_t step = 1; step < 100; step++) {
        expect_greeted(&settings, SLICE("+OK\r\n+OK\r\n>1"), step, PROTOCOL_COMPLETE, "", 2);
        expect_greeted(&settings, SLICE("+OK\r\n+OK\r"), step, PROTOCOL_MORE, "", 0);
        expect_greeted(&settings, SLICE("-WRONGPASS no\x1b\r\n+OK\r\n"), step, PROTOCOL_BROKEN,
                       "it refuses our AUTH: WRONGPASS no\\x1b", 5);
        expect_greeted(&settings, SLICE("+OK\r\n-ERR DB index is out of range\r\n"), step, PROTOCOL_BROKEN,
                       "it refuses our SELECT: ERR DB index is out of range", 0);
        expect_greeted(&settings, SLICE("+OK\n"), step, PROTOCOL_BROKEN,
                       "its answer to our AUTH is not understood", 0);
        expect_greeted(&settings, SLICE("\n"), step, PROTOCOL_BROKEN,
                       "its answer to our AUTH is not understood", 0);
        expect_greeted(&settings, SLICE("+OK\r\n$1\r\n"), step, PROTOCOL_BROKEN,
                       "its answer to our SELECT is not understood", 0);
    }
    char endless[REDIS_GREETING_MAX + 10];
    memset(endless, 'a', sizeof endless);
    endless[0] = '-';
    char error[200];
    snprintf(error, sizeof error, "it refuses our AUTH: %.*s...", (int)REDIS_ESCAPED_MAX, endless + 1);
    expect_greeted(&settings, (struct slice){ endless, sizeof endless }, 1, PROTOCOL_BROKEN, error, 10);
    settings = plain();
    redis_own(&settings)->database = 1;
    expect_greeted(&settings, SLICE("-NOAUTH no\r\n"), 3, PROTOCOL_BROKEN, "it refuses our SELECT: NOAUTH no",
                   0);
}

/* Bytes that were looked at while this came byte by byte. */
static uint64_t cost_of_request(struct slice input, enum protocol_outcome expected)
{
    struct protocol_settings settings = plain();
    struct redis_client client = { 0 };
    struct protocol_request request = { 0 };
    struct buffer out = { 0 }, answer = { 0 };
    enum protocol_outcome outcome = PROTOCOL_MORE;
    for (size_t i = 0; i < input.length && outcome == PROTOCOL_MORE; i++) {
        struct slice byte = { input.bytes + i, 1 };
        outcome = redis_read_request(&settings, &client, &request, &byte, &out, &answer);
    }
    assert_int_equal(outcome, expected);
    protocol_redis.close_client(&client);
    buffer_free(&out);
    buffer_free(&answer);
    return client.looked_at;
}

static void slow_bytes_are_looked_at_once(void **state)
{
    (void)state;
    enum { LENGTH = 60000 };
    static const char *const beginnings[] = {
        "SET k ",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$60000\r\n",
        "*2\r\n$9\r\nSUBSCRIBE\r\n$60000\r\n",
        "*2\r\n$4\r\nAUTH\r\n$60000\r\n",
        "*2\r\n$5\r\nXREAD\r\n$60000\r\n",
    };
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        struct buffer input = { 0 };
        buffer_append_text(&input, beginnings[i]);
        for (int k = 0; k < LENGTH; k++)
            buffer_append_text(&input, "v");
        buffer_append_text(&input, "\r\n");
        uint64_t cost = cost_of_request(buffer_slice(&input), PROTOCOL_COMPLETE);
        assert_true(cost >= input.length);
        assert_true(cost <= 5 * input.length);
        buffer_free(&input);
    }
    struct protocol_settings settings = plain();
    struct redis_connection connection = { 0 };
    struct protocol_request request = { 0 };
    struct buffer out = { 0 };
    for (int k = 0; k < LENGTH; k++) {
        struct slice byte = { k == 0 ? "+" : "v", 1 };
        assert_int_equal(redis_read_response(&settings, &connection, &request, &byte, &out, NULL),
                         PROTOCOL_MORE);
    }
    assert_int_equal(connection.looked_at, LENGTH);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_pass_as_they_came),
        cmocka_unit_test(empty_requests_are_swallowed),
        cmocka_unit_test(a_large_value_needs_no_memory_to_be_decided),
        cmocka_unit_test(inline_commands_become_arrays),
        cmocka_unit_test(what_redis_closes_on_is_answered_here),
        cmocka_unit_test(browsers_are_sent_away),
        cmocka_unit_test(heads_are_limited),
        cmocka_unit_test(commands_pass_or_are_refused),
        cmocka_unit_test(the_operator_admits_commands),
        cmocka_unit_test(nothing_admits_what_is_not_one_answer),
        cmocka_unit_test(quoting_hides_no_command),
        cmocka_unit_test(containers_are_looked_into),
        cmocka_unit_test(streams_are_read_without_blocking),
        cmocka_unit_test(the_client_keeps_a_name),
        cmocka_unit_test(the_connection_ends_here),
        cmocka_unit_test(only_the_present_database_is_selected),
        cmocka_unit_test(hello_speaks_resp2),
        cmocka_unit_test(logins_without_password),
        cmocka_unit_test(nothing_passes_before_the_password),
        cmocka_unit_test(strangers_send_little),
        cmocka_unit_test(pipelines_keep_their_order),
        cmocka_unit_test(answers_of_every_type_end_where_they_should),
        cmocka_unit_test(attributes_belong_to_the_answer),
        cmocka_unit_test(pushes_reach_nobody),
        cmocka_unit_test(what_is_no_answer_breaks_the_connection),
        cmocka_unit_test(large_answers_are_passed_on_as_they_come),
        cmocka_unit_test(answers_nest_at_any_depth),
        cmocka_unit_test(errors_are_in_plain_words),
        cmocka_unit_test(targets_are_greeted),
        cmocka_unit_test(slow_bytes_are_looked_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
