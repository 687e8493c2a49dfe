/* Every command that a real Redis says it has, once through one connection, with another client's request
 * right behind it: one answer belongs to each, whatever its form, and what can't be shared is refused whole.
 * A command of a later Redis that no line below names fails this test until somebody has found out what it
 * answers. */
#include "base/buffer.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/server.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A command and what becomes of it, in one letter before it:
 *   +  the target answers, and by no error      -  by an error
 *   *  one or the other, as it happens          =  Proximux answers
 *   !  refused for a reason of its own          ?  refused because it is not known
 * Run in this order: later ones use what earlier ones have stored. */
static const char *const rows[] = {
    /* clang-format off */
    "+SET k value", "+SET n 10", "+GET k", "+GETSET k value", "+APPEND s x", "+STRLEN k", "+SETRANGE s 0 y",
    "+GETRANGE k 0 1", "+SUBSTR k 0 1", "+GETEX k", "+SETEX t 100 v", "+PSETEX t 100000 v", "+SETNX t v",
    "+GETDEL t", "+MSET a 1 b 2", "+MSETNX a 1 b 2", "+MGET a none b", "+INCR n", "+DECR n", "+INCRBY n 5",
    "+DECRBY n 5", "+INCRBYFLOAT f 1.5", "+LCS a b", "-INCR k", "+SETBIT bits 7 1", "+GETBIT bits 7",
    "+BITCOUNT bits", "+BITPOS bits 1", "+BITFIELD bits GET u8 0", "+BITFIELD_RO bits GET u8 0",
    "+BITOP NOT bits2 bits", "+PFADD pf a b", "+PFCOUNT pf", "+PFMERGE pf2 pf", "+PFDEBUG ENCODING pf",
    "+PFSELFTEST", "+EXISTS k", "+TYPE k", "+TOUCH k none", "+TTL k", "+PTTL k", "+EXPIRE n 1000",
    "+PEXPIRE n 1000000", "+EXPIREAT n 9999999999", "+PEXPIREAT n 9999999999999", "+EXPIRETIME n",
    "+PEXPIRETIME n", "+PERSIST n", "+COPY k k2", "+RENAME k2 k3", "+RENAMENX k3 k4", "+DEL k4",
    "+UNLINK none", "+MOVE none 1", "+KEYS *", "+SCAN 0", "+RANDOMKEY", "+DBSIZE", "+DUMP k",
    "-RESTORE r 0 x", "-RESTORE-ASKING r 0 x", "+SORT list", "+SORT_RO list", "+OBJECT ENCODING k",
    "+OBJECT IDLETIME k", "+OBJECT REFCOUNT k", "+OBJECT HELP", "-OBJECT FREQ k", "+LPUSH list a b c",
    "+RPUSH list d", "+LPUSHX none a", "+RPUSHX none a", "+LLEN list", "+LINDEX list 0",
    "+LINSERT list BEFORE a x", "+LPOS list a", "+LRANGE list 0 -1", "+LREM list 1 x", "+LSET list 0 z",
    "+LTRIM list 0 2", "+LMOVE list list2 LEFT RIGHT", "+RPOPLPUSH list list2", "+LMPOP 1 list LEFT",
    "+LPOP none", "+RPOP none", "+LPOP none 2", "+HSET h f 1 g 2", "+HSETNX h f 1", "+HMSET h i 3",
    "+HGET h f", "+HMGET h f none", "+HGETALL h", "+HKEYS h", "+HVALS h", "+HLEN h", "+HEXISTS h f",
    "+HSTRLEN h f", "+HINCRBY h f 1", "+HINCRBYFLOAT h g 0.5", "+HRANDFIELD h",
    "+HRANDFIELD h 2 WITHVALUES", "+HSCAN h 0", "+HDEL h i", "+SADD set a b c", "+SCARD set",
    "+SISMEMBER set a", "+SMISMEMBER set a z", "+SMEMBERS set", "+SRANDMEMBER set", "+SSCAN set 0",
    "+SMOVE set set2 c", "+SDIFF set set2", "+SDIFFSTORE d set set2", "+SINTER set set2",
    "+SINTERCARD 2 set set2", "+SINTERSTORE d set set2", "+SUNION set set2", "+SUNIONSTORE d set set2",
    "+SREM set a", "+SPOP none", "+ZADD z 1 a 2 b 3 c", "+ZCARD z", "+ZCOUNT z 0 5", "+ZLEXCOUNT z - +",
    "+ZINCRBY z 1 a", "+ZSCORE z a", "+ZMSCORE z a none", "+ZRANK z a", "+ZREVRANK z a",
    "+ZRANGE z 0 -1 WITHSCORES", "+ZRANGEBYLEX z - +", "+ZRANGEBYSCORE z 0 5", "+ZREVRANGE z 0 -1",
    "+ZREVRANGEBYLEX z + -", "+ZREVRANGEBYSCORE z 5 0", "+ZRANGESTORE z2 z 0 -1", "+ZRANDMEMBER z",
    "+ZSCAN z 0", "+ZDIFF 2 z z2", "+ZDIFFSTORE d 2 z z2", "+ZINTER 2 z z2", "+ZINTERCARD 2 z z2",
    "+ZINTERSTORE d 2 z z2", "+ZUNION 2 z z2", "+ZUNIONSTORE d 2 z z2", "+ZMPOP 1 z2 MIN", "+ZPOPMIN z2",
    "+ZPOPMAX z2", "+ZREM z a", "+ZREMRANGEBYLEX none - +", "+ZREMRANGEBYRANK none 0 1",
    "+ZREMRANGEBYSCORE none 0 1", "+GEOADD geo 13.4 52.5 berlin 2.3 48.9 paris",
    "+GEODIST geo berlin paris", "+GEOHASH geo berlin", "+GEOPOS geo berlin none",
    "+GEORADIUS geo 13 52 500 km WITHCOORD WITHDIST", "+GEORADIUS_RO geo 13 52 500 km",
    "+GEORADIUSBYMEMBER geo paris 900 km", "+GEORADIUSBYMEMBER_RO geo paris 900 km",
    "+GEOSEARCH geo FROMMEMBER paris BYRADIUS 900 km",
    "+GEOSEARCHSTORE d geo FROMMEMBER paris BYRADIUS 900 km", "+XADD x 1-1 f v", "+XLEN x", "+XRANGE x - +",
    "+XREVRANGE x + -", "+XREAD COUNT 1 STREAMS x 0", "+XREAD STREAMS x $",
    "-XREAD COUNT BLOCK 0 STREAMS x 0", "+XGROUP CREATE x g 0", "+XGROUP CREATECONSUMER x g c",
    "+XGROUP SETID x g 0", "+XGROUP HELP", "+XREADGROUP GROUP g c STREAMS x >",
    "-XREADGROUP GROUP block c STREAMS x >", "+XPENDING x g", "+XCLAIM x g c 0 1-1",
    "+XAUTOCLAIM x g c 0 0", "+XACK x g 1-1", "+XINFO STREAM x", "+XINFO STREAM x FULL", "+XINFO GROUPS x",
    "+XINFO CONSUMERS x g", "+XINFO HELP", "+XGROUP DELCONSUMER x g c", "+XGROUP DESTROY x g",
    "+XSETID x 2-1", "+XTRIM x MAXLEN 10", "+XDEL x 1-1", "!XREAD BLOCK 0 STREAMS x $",
    "!XREAD COUNT 1 BLOCK 0 STREAMS x $", "!XREADGROUP GROUP g c BLOCK 0 STREAMS x >",
    "+EVAL \"return {1,{2,'x'},redis.error_reply('ERR no'),false}\" 0",
    "+EVAL \"return redis.call('GET',KEYS[1])\" 1 k", "-EVAL \"return redis.call('SUBSCRIBE','x')\" 0",
    "-EVAL \"return redis.call('CLIENT','REPLY','OFF')\" 0",
    "+EVAL \"redis.setresp(3); return redis.call('HGETALL',KEYS[1])\" 1 h", "+EVAL_RO \"return {}\" 0",
    "-EVALSHA 0000000000000000000000000000000000000000 0",
    "-EVALSHA_RO 0000000000000000000000000000000000000000 0", "+SCRIPT LOAD \"return 1\"",
    "+SCRIPT EXISTS 0000000000000000000000000000000000000000", "+SCRIPT FLUSH", "+SCRIPT HELP",
    "-SCRIPT KILL", "!SCRIPT DEBUG yes",
    "+FUNCTION LOAD \"#!lua name=library\\nredis.register_function{function_name='f',"
    "callback=function() return {1} end,flags={'no-writes'}}\"",
    "+FCALL f 0", "+FCALL_RO f 0", "+FUNCTION LIST", "+FUNCTION STATS", "+FUNCTION DUMP", "+FUNCTION HELP",
    "-FUNCTION KILL", "-FUNCTION RESTORE x", "+FUNCTION DELETE library", "+FUNCTION FLUSH",
    "+PUBLISH channel message", "+SPUBLISH channel message", "+PUBSUB CHANNELS", "+PUBSUB NUMPAT",
    "+PUBSUB NUMSUB channel", "+PUBSUB SHARDCHANNELS", "+PUBSUB SHARDNUMSUB channel", "+PUBSUB HELP",
    "+PING", "+PING text", "+ECHO text", "+TIME", "+ROLE", "+LASTSAVE", "+LOLWUT", "+LOLWUT VERSION 5",
    "+INFO", "+INFO everything", "+COMMAND", "+COMMAND COUNT", "+COMMAND DOCS", "+COMMAND LIST",
    "+COMMAND INFO get none", "+COMMAND GETKEYS GET k", "+COMMAND GETKEYSANDFLAGS GET k", "+COMMAND HELP",
    "+CONFIG GET maxmemory", "+CONFIG SET maxmemory 0", "+CONFIG RESETSTAT", "+CONFIG HELP",
    "-CONFIG REWRITE", "+ACL CAT", "+ACL GENPASS", "+ACL GETUSER default", "+ACL LIST", "+ACL LOG",
    "+ACL SETUSER someone on", "+ACL DRYRUN someone get k", "+ACL DELUSER someone", "+ACL USERS",
    "+ACL WHOAMI", "+ACL HELP", "-ACL LOAD", "-ACL SAVE", "+LATENCY DOCTOR", "+LATENCY HISTOGRAM",
    "+LATENCY HISTORY command", "+LATENCY LATEST", "+LATENCY RESET", "+LATENCY HELP",
    "-LATENCY GRAPH command", "+MEMORY DOCTOR", "+MEMORY MALLOC-STATS", "+MEMORY PURGE", "+MEMORY STATS",
    "+MEMORY USAGE k", "+MEMORY HELP", "+SLOWLOG GET", "+SLOWLOG LEN", "+SLOWLOG RESET", "+SLOWLOG HELP",
    "+MODULE LIST", "+MODULE HELP", "-MODULE LOAD /nothing", "-MODULE LOADEX /nothing",
    "-MODULE UNLOAD nothing", "-MIGRATE 127.0.0.1 1 k 0 100", "*SAVE", "*BGSAVE SCHEDULE", "*BGREWRITEAOF",
    "+SWAPDB 0 1", "+SWAPDB 0 1", "+CLIENT GETREDIR", "+CLIENT HELP", "+CLIENT INFO",
    "+CLIENT KILL ID 999999", "-CLIENT KILL 127.0.0.1:1", "+CLIENT LIST", "+CLIENT LIST TYPE pubsub",
    "+CLIENT TRACKINGINFO", "+CLIENT UNBLOCK 999999", "+CLIENT UNPAUSE", "=CLIENT GETNAME", "=CLIENT ID",
    "=CLIENT SETNAME name", "=CLIENT SETINFO lib-name test", "=AUTH password", "=AUTH default password",
    "=HELLO", "=HELLO 2 SETNAME name", "=HELLO 3", "=SELECT 0", "=SELECT 1", "=SELECT x", "=RESET", "=QUIT",
    "!CLIENT CACHING yes", "!CLIENT NO-EVICT on", "!CLIENT NO-TOUCH on", "!CLIENT TRACKING on",
    "!CLIENT PAUSE 1", "!CLIENT REPLY off", "!CLIENT REPLY skip", "!MULTI", "!EXEC", "!DISCARD", "!WATCH k",
    "!UNWATCH", "!ASKING", "!READONLY", "!READWRITE", "!SUBSCRIBE channel", "!PSUBSCRIBE channel",
    "!SSUBSCRIBE channel", "!UNSUBSCRIBE", "!UNSUBSCRIBE a b c", "!PUNSUBSCRIBE", "!SUNSUBSCRIBE",
    "!MONITOR", "!SYNC", "!PSYNC ? -1", "!REPLCONF ACK 1", "!REPLICAOF NO ONE", "!SLAVEOF NO ONE",
    "!FAILOVER", "!DEBUG SLEEP 0", "!DEBUG PROTOCOL push", "!SHUTDOWN NOSAVE", "!BLPOP none 0",
    "!BRPOP none 0", "!BRPOPLPUSH none none2 0", "!BLMOVE none none2 LEFT RIGHT 0", "!BLMPOP 0 1 none LEFT",
    "!BZPOPMIN none 0", "!BZPOPMAX none 0", "!BZMPOP 0 1 none MIN", "!WAIT 1 0", "!WAITAOF 1 0 0",
    "-CLUSTER ADDSLOTS 1", "-CLUSTER ADDSLOTSRANGE 1 2", "-CLUSTER BUMPEPOCH",
    "-CLUSTER COUNT-FAILURE-REPORTS x", "-CLUSTER COUNTKEYSINSLOT 1", "-CLUSTER DELSLOTS 1",
    "-CLUSTER DELSLOTSRANGE 1 2", "-CLUSTER FAILOVER", "-CLUSTER FLUSHSLOTS", "-CLUSTER FORGET x",
    "-CLUSTER GETKEYSINSLOT 1 1", "-CLUSTER HELP", "-CLUSTER INFO", "-CLUSTER KEYSLOT k", "-CLUSTER LINKS",
    "-CLUSTER MEET 127.0.0.1 1", "-CLUSTER MYID", "-CLUSTER NODES", "-CLUSTER REPLICAS x",
    "-CLUSTER REPLICATE x", "-CLUSTER RESET", "-CLUSTER SAVECONFIG", "-CLUSTER SET-CONFIG-EPOCH 1",
    "-CLUSTER SETSLOT 1 STABLE", "-CLUSTER SHARDS", "-CLUSTER SLAVES x", "-CLUSTER SLOTS", "!CLUSTER SYNCSLOTS ACK",
    "?NONSENSE",
    "?JSON.GET k", "?CLIENT NONSENSE", "?SCRIPT NONSENSE", "-CONFIG NONSENSE", "+FLUSHDB", "+FLUSHALL",
    /* clang-format on */
};

/* ---- Answers ---- */

/* The length of the answer of RESP2 that the text begins with; 0: it is not all there. */
static size_t answer_length(const char *text, size_t size)
{
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;

    if (end == NULL)
        return 0;
    size_t length = (size_t)(end - text) + 1;
    long count = strtol(text + 1, NULL, 10);
    switch (text[0]) {
    case '+':
    case '-':
    case ':':
        return length;
    case '$':
        length += count < 0 ? 0 : (size_t)count + 2;
        return length <= size ? length : 0;
    case '*':
        for (; count > 0; count--) {
            size_t element = answer_length(text + length, size - length);

            if (element == 0)
                return 0;
            length += element;
        }
        return length;
    default:
        test_fail_at(HERE, "an answer begins with \"%.*s\"", (int)(size < 32 ? size : 32), text);
    }
}

/* Reads until the answer is all there, and returns it with a NUL behind it and what follows it taken away. */
static const char *read_answer(int client, struct buffer *bytes, const char *command)
{
    static char chunk[65536];
    int64_t deadline = test_deadline(TEST_PATIENCE);
    size_t length;

    while ((length = answer_length(buffer_bytes(bytes), bytes->length)) == 0) {
        test_require(peer_readable(client, test_remaining(deadline)), "\"%s\" is not answered", command);
        ssize_t count = read(client, chunk, sizeof(chunk));
        test_require(count > 0, "the client of \"%s\" was closed", command);
        buffer_append(bytes, chunk, (size_t)count);
    }
    test_require(bytes->length == length, "\"%s\" has more than one answer: %.*s", command,
                 (int)(bytes->length - length), buffer_bytes(bytes) + length);
    buffer_append(bytes, "", 1);
    return buffer_bytes(bytes);
}

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Whether the answer is what the letter says. */
static bool is_as_expected(char letter, const char *answer)
{
    bool is_refused = begins_with(answer, "-ERR proximux: ");
    bool is_unknown = is_refused && strstr(answer, "is not known here") != NULL;

    switch (letter) {
    case '+':
        return answer[0] != '-';
    case '-':
        return answer[0] == '-' && !is_refused;
    case '*':
        return !is_refused;
    case '=':
        return !is_unknown;
    case '!':
        return is_refused && !is_unknown;
    case '?':
        return is_unknown;
    default:
        return true;
    }
}

/* ---- One command and its witnesses ---- */

static void append_witness(struct buffer *buffer, unsigned number)
{
    buffer_print(buffer, "ECHO w%07u\r\n", number);
}

/* The answer to append_witness() must be the next one, and the last. */
static void expect_witness(int client, const char *command, unsigned number)
{
    char expected[32], received[32];
    size_t length = (size_t)snprintf(expected, sizeof(expected), "$8\r\nw%07u\r\n", number);

    test_require(peer_readable(client, TEST_PATIENCE), "nothing is answered behind \"%s\"", command);
    peer_receive(client, received, length);
    received[length] = '\0';
    test_require(strcmp(received, expected) == 0, "behind \"%s\" a client got \"%s\"", command, received);
}

/* Sends the command, with a witness of its client and one of another client behind it. The answer to the
 * command comes first, and that to its client's witness, which is taken off it, last. */
static void run_command(const char *command, char letter, unsigned port, unsigned number)
{
    int client = peer_connect("127.0.0.1", port), other = peer_connect("127.0.0.1", port);
    struct buffer bytes = { 0 };

    buffer_print(&bytes, "%s\r\n", command);
    peer_send(client, buffer_bytes(&bytes), bytes.length);
    buffer_truncate(&bytes, 0);
    append_witness(&bytes, number);
    peer_send(other, buffer_bytes(&bytes), bytes.length);
    buffer_truncate(&bytes, 0);
    const char *answer = read_answer(client, &bytes, command);
    test_require(is_as_expected(letter, answer), "\"%s\" (%c) is answered by \"%.200s\"", command, letter,
                 answer);
    expect_witness(other, command, number);
    if (strncasecmp(command, "quit", 4) == 0) {
        peer_expect_end(client);
    } else {
        buffer_truncate(&bytes, 0);
        append_witness(&bytes, number + 1);
        peer_send(client, buffer_bytes(&bytes), bytes.length);
        expect_witness(client, command, number + 1);
    }
    buffer_free(&bytes);
    close(client);
    close(other);
}

/* ---- Every command that the server has ---- */

/* Whether the row, its letter skipped, is the command of that name: "client|id" is "CLIENT ID". */
static bool is_row_of(const char *row, const char *name)
{
    for (row++; *name != '\0'; row++, name++)
        if (tolower((unsigned char)*row) != (*name == '|' ? ' ' : *name))
            return false;
    return *row == '\0' || *row == ' ';
}

static const char *find_row(const char *name)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (is_row_of(rows[i], name))
            return rows[i];
    return NULL;
}

/* Asks the server itself for the names of its commands, one a line; the caller frees it. */
static struct buffer list_commands(const struct server *server)
{
    int client = peer_connect("127.0.0.1", server->port);
    struct buffer answer = { 0 }, names = { 0 };

    peer_send_text(client, "COMMAND LIST\r\n");
    for (const char *text = read_answer(client, &answer, "COMMAND LIST");
         (text = strchr(text, '\n')) != NULL;)
        if (*++text >= 'a' && *text <= 'z')
            buffer_append(&names, text, strcspn(text, "\r") + 1);
    buffer_append(&names, "", 1);
    buffer_free(&answer);
    close(client);
    return names;
}

static struct server redis;

static struct proximux *start(struct fixture *fixture, unsigned port)
{
    return proximux_start(fixture,
                          "listeners = ( { name = \"redis\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; "
                          "protocol = \"redis\"; targets = ( \"127.0.0.1:%u\" ); } );",
                          port, redis.port);
}

/* The id that the target has given our connection. */
static long connection_id(unsigned port)
{
    int client = peer_connect("127.0.0.1", port);
    struct buffer bytes = { 0 };

    peer_send_text(client, "CLIENT INFO\r\n");
    const char *id = strstr(read_answer(client, &bytes, "CLIENT INFO"), "id=");
    test_require(id != NULL, "CLIENT INFO says no id");
    long number = strtol(id + 3, NULL, 10);
    buffer_free(&bytes);
    close(client);
    return number;
}

static void each_command_has_one_answer(void **state)
{
    unsigned port = peer_free_port(), number = 0;
    struct proximux *proximux = start(*state, port);
    long id = connection_id(port);

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++, number += 2)
        run_command(rows[i] + 1, rows[i][0], port, number);
    assert_int_equal(connection_id(port), id);
    proximux_stop(proximux);
}

/* With none to six arguments, most of which are wrong. Refused is refused however it is written. */
static void each_command_of_the_server_is_known(void **state)
{
    enum { MOST = 6 };
    unsigned port = peer_free_port(), number = 0;
    struct proximux *proximux = start(*state, port);
    struct buffer names = list_commands(&redis), command = { 0 };
    char *rest = buffer_bytes(&names);
    long id = connection_id(port);

    for (char *name = strsep(&rest, "\r"); rest != NULL; name = strsep(&rest, "\r")) {
        const char *row = find_row(name);
        test_require(row != NULL, "nobody has said what becomes of \"%s\"", name);
        for (char *bar = name; (bar = strchr(bar, '|')) != NULL;)
            *bar = ' ';
        buffer_truncate(&command, 0);
        buffer_append_text(&command, name);
        for (size_t arguments = 0; arguments <= MOST; arguments++, number += 2) {
            buffer_append(&command, "", 1);
            run_command(buffer_bytes(&command), row[0] == '!' ? '!' : ' ', port, number);
            buffer_truncate(&command, command.length - 1);
            buffer_append_text(&command, " x");
        }
    }
    assert_int_equal(connection_id(port), id);
    buffer_free(&command);
    buffer_free(&names);
    proximux_stop(proximux);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(each_command_has_one_answer),
        fixture_test(each_command_of_the_server_is_known),
    };
    char program[256], port[16];
    int status = EXIT_FAILURE;

    if (!process_find_command("redis-server", "/usr/sbin/redis-server", program, sizeof(program))) {
        puts("SKIPPED: Redis is not installed (Debian: redis-server)");
        return SERVER_SKIPPED;
    }
    if (server_prepare(&redis)) {
        snprintf(port, sizeof(port), "%u", redis.port);
        const char *const arguments[] = { program,  "--bind", "127.0.0.1", "--port",        port,
                                          "--save", "",       "--dir",     redis.directory, NULL };
        if (server_start(&redis, arguments) && server_wait(&redis))
            status = cmocka_run_group_tests_name("redis_commands", tests, NULL, NULL);
    }
    server_stop(&redis, SIGTERM);
    return status;
}
