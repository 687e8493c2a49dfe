/* The commands of Redis, up to 7.4 and those of 8 that are plainly alike, by what becomes of them in shared
 * modes and why. A command that stands in no list is refused as unknown.
 *
 * shared     leaves its connection as it was and has exactly one answer, even if it reaches far (FLUSHALL,
 *            CONFIG SET): to forbid that is for the target's ACL
 * options    shared, unless the option BLOCK is there
 * partly     shared, but for those subcommands that stand in another list
 * containers each of its subcommands stands in a list itself, or is unknown
 * local      is about the client's own connection: answered here
 * state      only works on a connection of the client's own
 * blocks     holds its connection until something happens
 * stops      ends, stops or takes away the target of everybody
 * unpaired   is not followed by one answer, so that all later ones would reach the wrong clients
 * forbidden  no command: a browser was made to speak to Redis, which closes then
 *
 * Each list is sorted by strcmp(). Those that are local stand in redis_local.c. The key `commands`
 * admits what is refused, but for unpaired. */
#include "protocol/redis/redis.h"

#include <stdlib.h>
#include <strings.h>

/* clang-format off */
static const char *const shared[] = {
    "acl", "append", "bgrewriteaof", "bgsave", "bitcount", "bitfield", "bitfield_ro", "bitop", "bitpos",
    "client|getredir", "client|help", "client|info", "client|kill", "client|list", "client|trackinginfo",
    "client|unblock", "client|unpause", "command", "config", "copy", "dbsize", "decr", "decrby", "del",
    "delex", "digest", "dump", "echo", "eval", "eval_ro", "evalsha", "evalsha_ro", "exists", "expire",
    "expireat", "expiretime", "fcall", "fcall_ro", "flushall", "flushdb", "function", "geoadd", "geodist",
    "geohash", "geopos", "georadius", "georadius_ro", "georadiusbymember", "georadiusbymember_ro",
    "geosearch", "geosearchstore", "get", "getbit", "getdel", "getex", "getrange", "getset", "hdel",
    "hexists", "hexpire", "hexpireat", "hexpiretime", "hget", "hgetall", "hgetdel", "hgetex", "hincrby",
    "hincrbyfloat", "hkeys", "hlen", "hmget", "hmset", "hpersist", "hpexpire", "hpexpireat", "hpexpiretime",
    "hpttl", "hrandfield", "hscan", "hset", "hsetex", "hsetnx", "hstrlen", "httl", "hvals", "incr", "incrby",
    "incrbyfloat", "info", "keys", "lastsave", "latency", "lcs", "lindex", "linsert", "llen", "lmove",
    "lmpop", "lolwut", "lpop", "lpos", "lpush", "lpushx", "lrange", "lrem", "lset", "ltrim", "memory", "mget",
    "migrate", "module", "move", "mset", "msetex", "msetnx", "object", "persist", "pexpire", "pexpireat",
    "pexpiretime", "pfadd", "pfcount", "pfdebug", "pfmerge", "pfselftest", "ping", "psetex", "pttl",
    "publish", "pubsub", "randomkey", "rename", "renamenx", "restore", "restore-asking", "role", "rpop",
    "rpoplpush", "rpush", "rpushx", "sadd", "save", "scan", "scard", "script|exists", "script|flush",
    "script|help", "script|kill", "script|load", "sdiff", "sdiffstore", "set", "setbit", "setex", "setnx",
    "setrange", "sinter", "sintercard", "sinterstore", "sismember", "slowlog", "smembers", "smismember",
    "smove", "sort", "sort_ro", "spop", "spublish", "srandmember", "srem", "sscan", "strlen", "substr",
    "sunion", "sunionstore", "swapdb", "time", "touch", "ttl", "type", "unlink", "xack", "xackdel", "xadd",
    "xautoclaim", "xclaim", "xdel", "xdelex", "xgroup", "xinfo", "xlen", "xpending", "xrange", "xrevrange",
    "xsetid", "xtrim", "zadd", "zcard", "zcount", "zdiff", "zdiffstore", "zincrby", "zinter", "zintercard",
    "zinterstore", "zlexcount", "zmpop", "zmscore", "zpopmax", "zpopmin", "zrandmember", "zrange",
    "zrangebylex", "zrangebyscore", "zrangestore", "zrank", "zrem", "zremrangebylex", "zremrangebyrank",
    "zremrangebyscore", "zrevrange", "zrevrangebylex", "zrevrangebyscore", "zrevrank", "zscan", "zscore",
    "zunion", "zunionstore",
};
static const char *const options[] = { "xread", "xreadgroup" };
static const char *const partly[] = { "cluster" };
static const char *const containers[] = { "client", "script" };
static const char *const state[] = {
    "asking", "client|caching", "client|no-evict", "client|no-touch", "client|tracking", "discard", "exec",
    "multi", "readonly", "readwrite", "unwatch", "watch",
};
static const char *const blocks[] = {
    "blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin", "wait", "waitaof",
};
static const char *const stops[] = {
    "client|pause", "debug", "failover", "replicaof", "shutdown", "slaveof",
};
static const char *const unpaired[] = {
    "client|reply", "cluster|syncslots", "monitor", "psubscribe", "psync", "punsubscribe", "replconf",
    "script|debug", "ssubscribe", "subscribe", "sunsubscribe", "sync", "unsubscribe",
};
static const char *const forbidden[] = { "host:", "post" };
/* clang-format on */

#define NAMES(list) list, sizeof list / sizeof *list

/* The first list is that of the commands that are asked for most. */
static const struct {
    const char *const *names;
    size_t count;
} lists[] = {
    [REDIS_SHARED] = { NAMES(shared) },       [REDIS_OPTIONS] = { NAMES(options) },
    [REDIS_PARTLY] = { NAMES(partly) },       [REDIS_CONTAINER] = { NAMES(containers) },
    [REDIS_STATE] = { NAMES(state) },         [REDIS_BLOCKS] = { NAMES(blocks) },
    [REDIS_STOPS] = { NAMES(stops) },         [REDIS_UNPAIRED] = { NAMES(unpaired) },
    [REDIS_FORBIDDEN] = { NAMES(forbidden) },
};

const char *const redis_refusals[REDIS_FORBIDDEN + 1] = {
    [REDIS_UNKNOWN] = "is not known here; the key \"commands\" can admit it",
    [REDIS_STATE] = "changes the state of its connection, which others share",
    [REDIS_BLOCKS] = "blocks its connection, which others share",
    [REDIS_STOPS] = "stops the target, which others share",
    [REDIS_UNPAIRED] = "needs a connection of its own, and this one is shared",
};

static int redis_compare_names(const void *name, const void *element)
{
    const char *word = name, *listed = *(const char *const *)element;
    return *word != *listed ? (unsigned char)*word - (unsigned char)*listed : strcmp(word, listed);
}

enum redis_class redis_command_class(const char *name)
{
    for (enum redis_class of = REDIS_SHARED; of <= REDIS_FORBIDDEN; of++)
        if (bsearch(name, lists[of].names, lists[of].count, sizeof(char *), redis_compare_names) != NULL)
            return of;
    return redis_is_local(name) ? REDIS_LOCAL : REDIS_UNKNOWN;
}

bool redis_command_admitted(const struct protocol_settings *settings, struct slice name)
{
    for (size_t i = 0; i < redis_own(settings)->commands.count; i++) {
        struct slice entry = redis_own(settings)->commands.slices[i];
        bool is_prefix = slice_ends_with(entry, SLICE("*"));
        if (is_prefix)
            entry.length--;
        if ((is_prefix ? name.length >= entry.length : name.length == entry.length) &&
            strncasecmp(name.bytes, entry.bytes, entry.length) == 0)
            return true;
    }
    return false;
}
