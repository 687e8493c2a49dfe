/* What the files of the memcached framer share. The protocol is doc/protocol.txt of memcached; where that is
 * silent, or versions differ, it is what memcached 1.6.18 and 1.6.45 do. */
#ifndef PROTOCOL_MEMCACHED_H
#define PROTOCOL_MEMCACHED_H

#include "protocol/number.h"
#include "protocol/protocol.h"

enum {
    /* Longest line but for "get " and "gets ": on a longer one without its end memcached closes the
     * connection, which all clients share. */
    MEMCACHED_LINE_MAX = 2048,
    /* Longest line of an answer that announces a value: twice what memcached writes. */
    MEMCACHED_VALUE_LINE_MAX = 1024,
};

/* The form of the answer to a command. */
enum memcached_answer {
    MEMCACHED_STORE,    /* STORED, NOT_STORED, EXISTS, NOT_FOUND */
    MEMCACHED_CHANGE,   /* DELETED, TOUCHED, NOT_FOUND, a number */
    MEMCACHED_VALUES,   /* VALUE ... and its data, any number of times; END */
    MEMCACHED_META,     /* VA ... and its data; or one line */
    MEMCACHED_DEBUG,    /* ME, EN */
    MEMCACHED_STATS,    /* STAT ..., any number of times; END */
    MEMCACHED_SIZES,    /* STAT sizes_status ..., and one more STAT if that says error; no END */
    MEMCACHED_METADUMP, /* OK (since 1.6.43); key=..., any number of times; END */
    MEMCACHED_MGDUMP,   /* OK; mg ..., any number of times; EN */
    MEMCACHED_VERSION,
    MEMCACHED_ANY,   /* one line, whatever it says: commands of the administrator */
    MEMCACHED_QUIET, /* answers of meta commands, any number of times; MN */
};

/* What is kept of a request until its answer is in. */
struct memcached_context {
    enum memcached_answer answer;
    bool is_swallowed;  /* a noreply: its client wants no answer, not even an error */
    bool has_block;     /* data came with it */
    bool has_client_mn; /* of quiet commands: the MN that ends their answer is the client's too */
};

/* What becomes of a command. */
enum memcached_handling {
    MEMCACHED_FORWARD,
    MEMCACHED_LOCAL,  /* `text` is the answer */
    MEMCACHED_BROKEN, /* `text` is the answer, and the client is closed after it */
};

/* What the line of a command says. */
struct memcached_command {
    enum memcached_handling handling;
    const char *text;
    bool is_refused; /* a right command that can't be shared */
    bool is_quit;
    bool is_mn;
    struct memcached_context context;
    uint64_t block; /* bytes of the data that follow, without the \r\n at their end */
    size_t length;  /* of the line as it is to be sent, without its end: a `noreply` is left out */
};

/* Reads a line, given without its end. */
struct memcached_command memcached_command_read(struct slice line);

/* Takes the next word, up to a space; false if there is none. */
bool memcached_word_next(struct slice *rest, struct slice *word);

/* Passes on the data that come with a command or an answer, their \r\n included, of which so many bytes have to
 * come. BROKEN: they do not end with it. */
enum protocol_outcome memcached_data_read(uint64_t *remaining, struct slice *input, struct buffer *out);

/* The state of one client; all zeros between two requests, apart from the count. */
struct memcached_client {
    uint64_t block;     /* bytes of the data, their \r\n included, that have to come */
    uint64_t looked_at; /* bytes of all requests, as often as they are looked at: for a test */
};

/* The state of one target connection; `line` apart, all zeros between two answers. */
struct memcached_connection {
    bool in_rest;       /* of a line longer than `line`: passed on up to its end */
    bool is_last;       /* what is being passed on ends the answer */
    uint64_t block;     /* bytes of the data, their \r\n included, that have to come */
    uint64_t looked_at; /* bytes of all answers, likewise */
    size_t length;
    char line[MEMCACHED_VALUE_LINE_MAX]; /* the beginning of the line that is coming in */
};

_Static_assert(sizeof(struct memcached_context) <= PROTOCOL_CONTEXT_SIZE, "a request's context holds it");

static inline struct memcached_context memcached_context(const struct protocol_request *request)
{
    struct memcached_context context;
    memcpy(&context, request->context, sizeof context);
    return context;
}

#endif
