/* Every command of memcached, good and malformed, once through one connection to a real memcached, with
 * another client's requests right behind it: what answers a command reaches its client whole, and nobody else
 * gets a byte of it. The commands are those of doc/protocol.txt; each line says what memcached 1.6.18, which
 * Debian has, or Proximux answers. */
#include "base/buffer.h"
#include "harness/fixture.h"
#include "harness/peer.h"
#include "harness/server.h"

#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the server was started with: some commands answer otherwise then. */
enum { PLAIN = 1, RESTRICTED = 2, EXTENDED = 4, ANY = 7 };

struct row {
    unsigned servers;
    const char *request; /* without the end of its last line */
    const char *answer;  /* a pattern of fnmatch(3); with '!' before it: the client is closed behind it */
};

#define FORMAT      "CLIENT_ERROR bad command line format\r\n"
#define NO_ERROR    "ERROR\r\n"
#define STATISTICS  "STAT *\r\nEND\r\n"
#define OK          "OK\r\n"
#define NOT_NUMERIC "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
#define LARGE_KEY                                                                                            \
    "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk" \
    "kk"                                                                                                     \
    "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk" \
    "kk"                                                                                                     \
    "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"

static const struct row rows[] = {
    /* Storage. */
    { ANY, "set k 5 0 5\r\nvalue", "STORED\r\n" },
    { ANY, "set n 0 0 2\r\n10", "STORED\r\n" },
    { ANY, "add k 0 0 1\r\nx", "NOT_STORED\r\n" },
    { ANY, "add a 0 0 1\r\nx", "STORED\r\n" },
    { ANY, "replace a 0 0 1\r\ny", "STORED\r\n" },
    { ANY, "replace none 0 0 1\r\ny", "NOT_STORED\r\n" },
    { ANY, "append a 0 0 1\r\nz", "STORED\r\n" },
    { ANY, "prepend a 0 0 1\r\nz", "STORED\r\n" },
    { ANY, "append none 0 0 1\r\nz", "NOT_STORED\r\n" },
    { ANY, "cas none 0 0 1 1\r\nz", "NOT_FOUND\r\n" },
    { PLAIN | EXTENDED, "cas a 0 0 1 1\r\nz", "EXISTS\r\n" },
    { ANY, "set k 0 0 5 noreply\r\nvalue", "" },
    { ANY, "cas none 0 0 1 1 noreply\r\nz", "" },
    { ANY, "set k 0 0 5 bogus\r\nvalue", "!" FORMAT },
    { ANY, "set k 0 0 5 bogus noreply\r\nvalue", "!" },
    { ANY, "set k", "!" FORMAT },
    { ANY, "set k 0 0 -1", "!" FORMAT },
    { ANY, "set k x 0 1\r\nx", "!" FORMAT },
    { ANY, "set k 0 x 1\r\nx", "!" FORMAT },
    { ANY, "set k 0 0 1\r\nxx", "!CLIENT_ERROR bad data chunk\r\n" },
    { ANY, "set " LARGE_KEY " 0 0 1\r\nx", "!" FORMAT },
    { ANY, "set large 0 0 1100000 noreply\r\n%", "" },
    { ANY, "set large 0 0 1100000\r\n%", "SERVER_ERROR object too large for cache\r\n" },
    { ANY, "cas k 0 0 1\r\nx", "!" FORMAT },
    { ANY, "cas k 0 0 1 x\r\nx", "!" FORMAT },
    /* Retrieval. */
    { ANY, "get k", "VALUE k 0 5\r\nvalue\r\nEND\r\n" },
    { ANY, "get none", "END\r\n" },
    { ANY, "get k none n", "VALUE k 0 5\r\nvalue\r\nVALUE n 0 2\r\n10\r\nEND\r\n" },
    { ANY, "get k noreply", "VALUE k 0 5\r\nvalue\r\nEND\r\n" },
    { ANY, "gets k", "VALUE k 0 5*\r\nvalue\r\nEND\r\n" },
    { ANY, "get", NO_ERROR },
    { ANY, "gets", NO_ERROR },
    { ANY, "get k " LARGE_KEY, FORMAT },
    { ANY, "gat 0 k n", "VALUE k 0 5\r\nvalue\r\nVALUE n 0 2\r\n10\r\nEND\r\n" },
    { ANY, "gats 0 k", "VALUE k 0 5*\r\nvalue\r\nEND\r\n" },
    { ANY, "gat 0 none", "END\r\n" },
    { ANY, "gat x k", "CLIENT_ERROR invalid exptime argument\r\n" },
    { ANY, "gats x k n", "CLIENT_ERROR invalid exptime argument\r\n" },
    { ANY, "gat noreply k", "CLIENT_ERROR invalid exptime argument\r\n" },
    { ANY, "gat 0", NO_ERROR },
    { ANY, "gat", NO_ERROR },
    { ANY, "gats 0 " LARGE_KEY, FORMAT },
    { ANY, "bget k", NO_ERROR },
    /* Changes. */
    { ANY, "touch k 0", "TOUCHED\r\n" },
    { ANY, "touch none 0", "NOT_FOUND\r\n" },
    { ANY, "touch k x", "CLIENT_ERROR invalid exptime argument\r\n" },
    { ANY, "touch k 0 noreply", "" },
    { ANY, "touch k x noreply", "" },
    { ANY, "touch k 0 x noreply", "" },
    { ANY, "touch k", NO_ERROR },
    { ANY, "touch", NO_ERROR },
    { ANY, "incr n 5", "15\r\n" },
    { ANY, "decr n 5", "10\r\n" },
    { ANY, "incr k 1", NOT_NUMERIC },
    { ANY, "incr none 1", "NOT_FOUND\r\n" },
    { ANY, "incr n x", "CLIENT_ERROR invalid numeric delta argument\r\n" },
    { ANY, "decr n 0 1", "10\r\n" },
    { ANY, "incr n 0 noreply", "" },
    { ANY, "incr k 1 noreply", "" },
    { ANY, "incr n noreply", "" },
    { ANY, "incr n", NO_ERROR },
    { ANY, "decr", NO_ERROR },
    { ANY, "incr " LARGE_KEY " 1", FORMAT },
    { ANY, "delete a", "DELETED\r\n" },
    { ANY, "delete a", "NOT_FOUND\r\n" },
    { ANY, "delete a 0", "NOT_FOUND\r\n" },
    { ANY, "delete a 5", "CLIENT_ERROR bad command line format.  Usage: delete <key> ?noreply?\r\n" },
    { ANY, "delete a noreply", "" },
    { ANY, "delete a 5 noreply", "" },
    { ANY, "delete a x y", "CLIENT_ERROR bad command line format.  Usage: delete <key> ?noreply?\r\n" },
    { ANY, "delete noreply", FORMAT },
    { ANY, "delete", NO_ERROR },
    /* Meta. */
    { ANY, "mn", "MN\r\n" },
    { ANY, "mn x q", "MN\r\n" },
    { ANY, "mg k", "HD\r\n" },
    { ANY, "mg k v", "VA 5\r\nvalue\r\n" },
    { ANY, "mg k f h k l O5 s t v", "VA 5 f0 h1 kk l? O5 s5 t-1\r\nvalue\r\n" },
    { PLAIN | EXTENDED, "mg k c", "HD c*\r\n" },
    { ANY, "mg none", "EN\r\n" },
    { ANY, "mg none v q", "" },
    { ANY, "mg k q", "HD\r\n" },
    { ANY, "mg k q\r\nmn", "HD\r\nMN\r\n" },
    { ANY, "mg fresh N30 t v", "VA 0 t?? W\r\n\r\n" },
    { ANY, "mg azE= b k v", "EN kazE= b\r\n" },
    { ANY, "mg !! b v", "CLIENT_ERROR error decoding key\r\n" },
    { ANY, "mg k x", "CLIENT_ERROR invalid flag\r\n" },
    { ANY, "mg k v v", "CLIENT_ERROR duplicate flag\r\n" },
    { ANY, "mg", NO_ERROR },
    { ANY, "mg " LARGE_KEY, FORMAT },
    { ANY, "mg k 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
      "CLIENT_ERROR options flags are too long\r\n" },
    { ANY, "ms m 2\r\nxx", "HD\r\n" },
    { ANY, "ms m 2 T0 k O1 F5 I\r\nxx", "HD km O1\r\n" },
    { ANY, "ms bQ== 2 b\r\nxx", "HD\r\n" },
    { ANY, "ms m 2 MA\r\nxx", "HD\r\n" },
    { ANY, "ms m 2 MP\r\nxx", "HD\r\n" },
    { ANY, "ms m 2 MR\r\nxx", "HD\r\n" },
    { ANY, "ms m 2 MS\r\nxx", "HD\r\n" },
    { ANY, "ms m 2 ME\r\nxx", "NS\r\n" },
    { ANY, "ms none 2 C1\r\nxx", "NF\r\n" },
    { PLAIN | EXTENDED, "ms m 2 C1\r\nxx", "EX\r\n" },
    { ANY, "ms m 2 q\r\nxx", "" },
    { ANY, "ms m 2 ME q\r\nxx", "NS\r\n" },
    { ANY, "ms m 2 MX\r\nxx", "CLIENT_ERROR invalid mode for ms M token\r\n" },
    { ANY, "ms m 2 Mset\r\nxx", "CLIENT_ERROR incorrect length for M token\r\n" },
    { ANY, "ms m 2 Cx\r\nxx", "CLIENT_ERROR bad token in command line format\r\n" },
    { ANY, "ms m 2 Tx\r\nxx", "CLIENT_ERROR bad token in command line format\r\n" },
    { ANY, "ms m 2 Fx\r\nxx", "!" FORMAT },
    { ANY, "ms m 2 !\r\nxx", "!" FORMAT },
    { ANY, "ms m 2 T0 T1\r\nxx", "CLIENT_ERROR duplicate flag\r\n" },
    { ANY, "ms !! 2 b\r\nxx", "CLIENT_ERROR error decoding key\r\n" },
    { ANY, "ms m 1100000\r\n%", "SERVER_ERROR object too large for cache\r\n" },
    { ANY, "ms m 2\r\nxxx", "!CLIENT_ERROR bad data chunk\r\n" },
    { ANY, "ms m x", "!" FORMAT },
    { ANY, "ms m S2\r\nxx", "!" FORMAT },
    { ANY, "ms m", "!" FORMAT },
    { ANY, "ms", "!" FORMAT },
    { ANY, "ma c", "NF\r\n" },
    { ANY, "ma c q", "NF\r\n" },
    { ANY, "ma c N0 J5", "HD\r\n" },
    { ANY, "ma c v t k O1", "VA 1 t-1 kc O1\r\n6\r\n" },
    { ANY, "ma c D2 MI", "HD\r\n" },
    { ANY, "ma c MD v", "VA 1\r\n7\r\n" },
    { ANY, "ma c q", "" },
    { ANY, "ma k", NOT_NUMERIC },
    { ANY, "ma c MX", "CLIENT_ERROR invalid mode for ma M token\r\n" },
    { ANY, "ma c Dx", "CLIENT_ERROR invalid or duplicate flag\r\n" },
    { ANY, "ma", NO_ERROR },
    { ANY, "md fresh", "HD\r\n" },
    { ANY, "md m", "NF\r\n" },
    { ANY, "md m q", "NF\r\n" },
    { ANY, "md k I T30 C1", "EX\r\n" },
    { ANY, "md m k O1", "NF km O1\r\n" },
    { ANY, "md m !", "CLIENT_ERROR invalid or duplicate flag\r\n" },
    { ANY, "md", NO_ERROR },
    { ANY, "me k", "ME k exp=* size=*\r\n" },
    { ANY, "me none", "EN\r\n" },
    { ANY, "me k x q", "ME k exp=* size=*\r\n" },
    { ANY, "me bm9uZQ== b", "EN\r\n" },
    { ANY, "me k b", FORMAT },
    { ANY, "me", FORMAT },
    /* Statistics. */
    { ANY, "stats", STATISTICS },
    { ANY, "stats settings", STATISTICS },
    { ANY, "stats items", STATISTICS },
    { ANY, "stats slabs", STATISTICS },
    { ANY, "stats conns", STATISTICS },
    { PLAIN | RESTRICTED, "stats sizes", "STAT sizes_status disabled\r\nEND\r\n" },
    { EXTENDED, "stats sizes", "STAT * ?*\r\nEND\r\n" },
    { PLAIN | EXTENDED, "stats sizes_enable", "STAT sizes_status enabled\r\n" },
    { PLAIN | EXTENDED, "stats sizes_enable x noreply", "STAT sizes_status enabled\r\n" },
    { RESTRICTED, "stats sizes_enable",
      "STAT sizes_status error\r\nSTAT sizes_error cas_support_disabled\r\n" },
    { ANY, "stats sizes_disable", "STAT sizes_status disabled\r\n" },
    { ANY, "stats sizes_disabled", NO_ERROR },
    { ANY, "stats sizes x", "STAT sizes_status disabled\r\nEND\r\n" },
    { ANY, "stats reset", "RESET\r\n" },
    { ANY, "stats reset noreply", "RESET\r\n" },
    { ANY, "stats detail on", OK },
    { ANY, "get key:with:prefix", "END\r\n" },
    { ANY, "stats detail dump", "PREFIX key *\r\nEND\r\n" },
    { ANY, "stats detail off noreply", OK },
    { ANY, "stats detail", "CLIENT_ERROR usage: stats detail on|off|dump\r\n" },
    { ANY, "stats detail x", "CLIENT_ERROR usage: stats detail on|off|dump\r\n" },
    { PLAIN, "stats cachedump 1 0", "ITEM *\r\nEND\r\n" },
    { PLAIN, "stats cachedump 1 10 noreply", "ITEM *\r\nEND\r\n" },
    { RESTRICTED, "stats cachedump 1 0", "CLIENT_ERROR stats cachedump not allowed\r\n" },
    { PLAIN, "stats cachedump 300 0", "CLIENT_ERROR Illegal slab id\r\n" },
    { PLAIN, "stats cachedump x y", FORMAT },
    { PLAIN, "stats cachedump", "CLIENT_ERROR bad command line\r\n" },
    { EXTENDED, "stats extstore", "STAT *\r\nEND\r\n" },
    { PLAIN | RESTRICTED, "stats extstore", "END\r\n" },
    { ANY, "stats proxy", NO_ERROR },
    { ANY, "stats proxyfuncs", NO_ERROR },
    { ANY, "stats proxybe", NO_ERROR },
    { ANY, "stats malloc", NO_ERROR },
    { ANY, "stats maps", NO_ERROR },
    { ANY, "stats noreply", NO_ERROR },
    /* The administrator's. */
    { ANY, "version", "VERSION *\r\n" },
    { ANY, "version noreply", "VERSION *\r\n" },
    { ANY, "verbosity 0", OK },
    { ANY, "verbosity 0 noreply", "" },
    { ANY, "verbosity noreply", "" },
    { ANY, "verbosity x", FORMAT },
    { ANY, "verbosity 0 1 2", NO_ERROR },
    { ANY, "verbosity", NO_ERROR },
    { ANY, "cache_memlimit 64", OK },
    { ANY, "cache_memlimit 64 noreply", "" },
    { ANY, "cache_memlimit 1", "MEMLIMIT_TOO_SMALL *\r\n" },
    { ANY, "cache_memlimit x", NO_ERROR },
    { ANY, "cache_memlimit", NO_ERROR },
    { PLAIN | EXTENDED, "slabs reassign 1 2", "NOSPARE *\r\n" },
    { RESTRICTED, "slabs reassign 1 2", "CLIENT_ERROR slab reassignment disabled\r\n" },
    { PLAIN, "slabs reassign 200 300", "BADCLASS *\r\n" },
    { PLAIN, "slabs reassign 1 1", "SAME *\r\n" },
    { PLAIN, "slabs reassign x y", FORMAT },
    { ANY, "slabs reassign 1 2 3", NO_ERROR },
    { ANY, "slabs reassign 1 2 noreply", "" },
    { ANY, "slabs reassign", NO_ERROR },
    { ANY, "slabs automove 0", OK },
    { ANY, "slabs automove 0 noreply", "" },
    { ANY, "slabs automove ratio 0.5", OK },
    { ANY, "slabs automove 3", NO_ERROR },
    { ANY, "slabs automove x", FORMAT },
    { ANY, "slabs automove", NO_ERROR },
    { ANY, "slabs bogus x", NO_ERROR },
    { ANY, "slabs", NO_ERROR },
    { ANY, "lru tune 10 25 0.1 2", OK },
    { ANY, "lru tune 10 25 0.1 2 noreply", "" },
    { ANY, "lru tune 99 99 1 1", "ERROR hot and warm pcts must not exceed 80\r\n" },
    { ANY, "lru tune x y z z", NO_ERROR },
    { ANY, "lru tune", NO_ERROR },
    { PLAIN | EXTENDED, "lru mode flat", OK },
    { PLAIN | EXTENDED, "lru mode segmented", OK },
    { RESTRICTED, "lru mode segmented", NO_ERROR },
    { ANY, "lru mode x", NO_ERROR },
    { PLAIN | EXTENDED, "lru temp_ttl 5", OK },
    { PLAIN | EXTENDED, "lru temp_ttl -1", OK },
    { ANY, "lru temp_ttl x", NO_ERROR },
    { ANY, "lru temp_ttl 5 noreply", "" },
    { ANY, "lru bogus", NO_ERROR },
    { ANY, "lru", NO_ERROR },
    { ANY, "extstore free_memchunks 1 1", OK },
    { ANY, "extstore item_size 512", OK },
    { ANY, "extstore item_age 5", OK },
    { ANY, "extstore low_ttl 0", OK },
    { ANY, "extstore recache_rate 5", OK },
    { ANY, "extstore compact_under 5", OK },
    { ANY, "extstore drop_under 5", OK },
    { ANY, "extstore max_frag 0.5", OK },
    { ANY, "extstore drop_unread 1 noreply", "" },
    { ANY, "extstore bogus 1", NO_ERROR },
    { ANY, "extstore", NO_ERROR },
    { ANY, "refresh_certs", "Error TLS not enabled\r\n" },
    { ANY, "refresh_certs noreply", "" },
    { ANY, "lru_crawler", NO_ERROR },
    { ANY, "lru_crawler noreply", "" },
    { PLAIN | EXTENDED, "lru_crawler enable", "ERROR failed to start lru crawler thread\r\n" },
    { ANY, "lru_crawler enable x", NO_ERROR },
    { ANY, "lru_crawler sleep 100", OK },
    { ANY, "lru_crawler sleep 100 noreply", "" },
    { ANY, "lru_crawler sleep 99999999", "CLIENT_ERROR sleep must be one second or less\r\n" },
    { ANY, "lru_crawler sleep x", FORMAT },
    { ANY, "lru_crawler sleep", NO_ERROR },
    { ANY, "lru_crawler tocrawl 0", OK },
    { ANY, "lru_crawler tocrawl x", FORMAT },
    { PLAIN | EXTENDED, "lru_crawler crawl all", "OK\r\n" },
    { PLAIN | EXTENDED, "lru_crawler crawl 9999", "BADCLASS invalid class id\r\n" },
    { RESTRICTED, "lru_crawler crawl all", "CLIENT_ERROR lru crawler disabled\r\n" },
    { ANY, "lru_crawler crawl all x", NO_ERROR },
    { ANY, "lru_crawler crawl", NO_ERROR },
    { PLAIN | EXTENDED, "lru_crawler metadump all", "key=*\nEND\r\n" },
    { PLAIN | EXTENDED, "lru_crawler metadump hash", "key=*\nEND\r\n" },
    { PLAIN | EXTENDED, "lru_crawler metadump 63", "END\r\n" },
    { PLAIN | EXTENDED, "lru_crawler metadump x", "BADCLASS invalid class id\r\n" },
    { RESTRICTED, "lru_crawler metadump all", "CLIENT_ERROR lru crawler disabled\r\n" },
    { ANY, "lru_crawler metadump all x", NO_ERROR },
    { ANY, "lru_crawler metadump", NO_ERROR },
    { ANY, "lru_crawler mgdump all", "ERROR\r\n" },
    { ANY, "lru_crawler mgdump", NO_ERROR },
    { ANY, "lru_crawler m all", NO_ERROR },
    { ANY, "lru_crawler bogus noreply", "" },
    { ANY, "lru_crawler disable", OK },
    { PLAIN | EXTENDED, "lru_crawler enable", "*\r\n" }, /* an error if it still stops */
    { PLAIN | EXTENDED, "flush_all 1000000", OK },
    { PLAIN | EXTENDED, "flush_all 1000000 noreply", "" },
    { PLAIN | EXTENDED, "flush_all x", "CLIENT_ERROR invalid exptime argument\r\n" },
    { PLAIN | EXTENDED, "flush_all -1", OK },
    { PLAIN | EXTENDED, "flush_all noreply", "" },
    { PLAIN | EXTENDED, "flush_all", OK },
    { RESTRICTED, "flush_all", "CLIENT_ERROR flush_all not allowed\r\n" },
    { RESTRICTED, "flush_all noreply", "" },
    { ANY, "flush_all 1 2 3", NO_ERROR },
    /* What can't be shared, and what memcached does not know either. */
    { ANY, "watch", "CLIENT_ERROR watch commands not allowed\r\n" },
    { ANY, "watch fetchers", "CLIENT_ERROR watch commands not allowed\r\n" },
    { ANY, "watch bogus", "CLIENT_ERROR watch commands not allowed\r\n" },
    { ANY, "shutdown", "ERROR: shutdown not enabled\r\n" },
    { ANY, "shutdown graceful", "ERROR: shutdown not enabled\r\n" },
    { ANY, "shutdown noreply", "ERROR: shutdown not enabled\r\n" },
    { ANY, "misbehave", NO_ERROR },
    { ANY, "debugtime p", NO_ERROR },
    { ANY, "debugitem lock k", NO_ERROR },
    { ANY, "auth a b", NO_ERROR },
    { ANY, "bogus", NO_ERROR },
    { ANY, "bogus noreply", NO_ERROR },
    { ANY, " get k", "!" FORMAT },
    { ANY, "GET k", NO_ERROR },
    { ANY, "GET / HTTP/1.1", "!" },
    { ANY, "\x80", "!CLIENT_ERROR the binary protocol is not supported\r\n" },
    { ANY, "quit", "!" },
    { ANY, "quit noreply", "!" },
};

/* ---- One exchange and its witness ---- */

/* A witness's answers: one that the answers to other commands end with, too, and one that is its own. */
#define WITNESS_ANSWER "END\r\nHD O%u\r\n"

static void append_witness(struct buffer *buffer, unsigned number)
{
    buffer_print(buffer, "get nothing\r\nma witness N0 O%u\r\n", number);
}

/* Reads up to the witness's answer, or, without `end`, to the end of the stream. */
static void receive_answer(int client, char *text, size_t size, const char *end)
{
    int64_t deadline = test_deadline(TEST_PATIENCE);
    size_t length = 0, end_length = end != NULL ? strlen(end) : size;

    while (length < size - 1 && peer_readable(client, test_remaining(deadline))) {
        ssize_t count = read(client, text + length, size - 1 - length);

        if (count <= 0)
            break;
        length += (size_t)count;
        if (length >= end_length && memcmp(text + length - end_length, end, end_length) == 0) {
            length -= end_length;
            break;
        }
    }
    text[length] = '\0';
}

/* The request as it is sent: '%' stands for a value that is larger than the server takes. */
static void append_request(struct buffer *buffer, const char *request)
{
    enum { LARGE = 1100000 };
    const char *mark = strchr(request, '%');
    size_t length = mark != NULL ? (size_t)(mark - request) : strlen(request);

    buffer_append(buffer, request, length);
    for (size_t i = 0; mark != NULL && i < LARGE / 10; i++)
        buffer_append_text(buffer, "tencharact");
    buffer_append_text(buffer, "\r\n");
}

enum verdict { RIGHT, WRONG, BUSY };

/* Whether a client gets what the pattern says, and behind it `end` or, if NULL, the end of the stream. */
static enum verdict read_answer(int client, const char *request, const char *pattern, const char *end)
{
    static char received[262144];

    receive_answer(client, received, sizeof(received), end);
    close(client);
    if (fnmatch(pattern, received, FNM_NOESCAPE) == 0)
        return RIGHT;
    if (strncmp(received, "BUSY", 4) == 0)
        return BUSY;
    print_error("\"%s\": expected \"%s\", but got \"%s\"\n", request, pattern, received);
    return WRONG;
}

/* BUSY: memcached still does what an earlier command asked of it. */
static enum verdict run_row(const struct row *row, unsigned port, unsigned number)
{
    int client = peer_connect("127.0.0.1", port), witness = peer_connect("127.0.0.1", port);
    struct buffer request = { 0 };
    char own[64], other[64];

    snprintf(own, sizeof(own), WITNESS_ANSWER, number);
    snprintf(other, sizeof(other), WITNESS_ANSWER, number + 1);
    append_request(&request, row->request);
    append_witness(&request, number);
    peer_send(client, buffer_bytes(&request), request.length);
    buffer_truncate(&request, 0);
    append_witness(&request, number + 1);
    peer_send(witness, buffer_bytes(&request), request.length);
    buffer_free(&request);
    bool is_closed = row->answer[0] == '!';
    enum verdict verdict = read_answer(client, row->request, row->answer + is_closed, is_closed ? NULL : own);
    return read_answer(witness, row->request, "", other) == RIGHT ? verdict : WRONG;
}

/* ---- The servers ---- */

static struct server plain, restricted, extended;

static void run_rows(struct fixture *fixture, const struct server *server, unsigned kind)
{
    unsigned port = peer_free_port(), wrong = 0;
    struct proximux *proximux =
        proximux_start(fixture,
                       "listeners = ( { name = \"memcached\"; listen = \"127.0.0.1:%u\"; mode = \"fifo\"; "
                       "protocol = \"memcached\"; request_timeout = %d; targets = ( \"127.0.0.1:%u\" ); } );",
                       port, test_stretched(3000), server->port);

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t deadline = test_deadline(TEST_PATIENCE);
        enum verdict verdict = (rows[i].servers & kind) != 0 ? BUSY : RIGHT;

        while (verdict == BUSY && test_now() < deadline)
            verdict = run_row(&rows[i], port, 2 * i);
        wrong += verdict != RIGHT;
    }
    test_require(wrong == 0, "%u commands are not answered as expected", wrong);
    proximux_stop(proximux);
}

static void commands_of_a_plain_server(void **state)
{
    run_rows(*state, &plain, PLAIN);
}

/* Most of what can be switched off is. */
static void commands_of_a_restricted_server(void **state)
{
    run_rows(*state, &restricted, RESTRICTED);
}

/* What may be switched on is: `shutdown`, sizes, storage on disk. */
static void commands_of_an_extended_server(void **state)
{
    run_rows(*state, &extended, EXTENDED);
}

static bool start_memcached(struct server *server, const char *program, const char *switches,
                            const char *options)
{
    char port[16];

    snprintf(port, sizeof(port), "%u", server->port);
    const char *const arguments[] = { program, "-l",     "127.0.0.1", "-U",    "0", "-p",
                                      port,    switches, "-o",        options, NULL };
    return server_start(server, arguments) && server_wait(server);
}

static bool start_servers(const char *program)
{
    char options[128];

    if (!server_prepare(&plain) || !server_prepare(&restricted) || !server_prepare(&extended))
        return false;
    snprintf(options, sizeof(options), "track_sizes,ext_path=%s/store:64m", extended.directory);
    return start_memcached(&plain, program, "-m64", "modern") &&
           start_memcached(&restricted, program, "-CFWX",
                           "no_lru_crawler,no_lru_maintainer,no_slab_reassign") &&
           start_memcached(&extended, program, "-A", options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(commands_of_a_plain_server),
        fixture_test(commands_of_a_restricted_server),
        fixture_test(commands_of_an_extended_server),
    };
    char program[256];
    int status = EXIT_FAILURE;

    if (!process_find_command("memcached", NULL, program, sizeof(program))) {
        puts("SKIPPED: memcached is not installed (Debian: memcached)");
        return SERVER_SKIPPED;
    }
    if (start_servers(program))
        status = cmocka_run_group_tests_name("memcached_commands", tests, NULL, NULL);
    server_stop(&plain, SIGTERM);
    server_stop(&restricted, SIGTERM);
    server_stop(&extended, SIGTERM);
    return status;
}
