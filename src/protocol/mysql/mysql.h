/* The parts of the follower of MySQL sessions. Only mysql*.c include this. */
#ifndef PROTOCOL_MYSQL_H
#define PROTOCOL_MYSQL_H

#include "protocol/observe/observe.h"
#include "protocol/observe/reader.h"

/* Capabilities, as both sides declare them; those of MariaDB alone follow from bit 32 on. */
#define MYSQL_LONG_PASSWORD     (UINT64_C(1) << 0) /* with MariaDB: its absence says that there are more */
#define MYSQL_COMPRESS          (UINT64_C(1) << 5)
#define MYSQL_PROTOCOL_41       (UINT64_C(1) << 9)
#define MYSQL_SSL               (UINT64_C(1) << 11)
#define MYSQL_DEPRECATE_EOF     (UINT64_C(1) << 24)
#define MYSQL_OPTIONAL_METADATA (UINT64_C(1) << 25)
#define MYSQL_ZSTD              (UINT64_C(1) << 26)
#define MYSQL_QUERY_ATTRIBUTES  (UINT64_C(1) << 27)
#define MYSQL_CACHE_METADATA    (UINT64_C(1) << 36)

enum mysql_phase {
    MYSQL_GREETING, /* the server speaks first */
    MYSQL_LOGIN,    /* the client says who it is and what it can do */
    MYSQL_AUTHENTICATION,
    MYSQL_COMMANDS,
};

/* What answers a command. */
enum mysql_answer {
    MYSQL_NOTHING,
    MYSQL_ONE,    /* one packet */
    MYSQL_RESULT, /* OK, an error, or rows; maybe several of them */
    MYSQL_ROWS,   /* rows, or definitions, up to an end */
    MYSQL_PREPARED,
    MYSQL_USER, /* an authentication */
};

/* Where in such an answer we are. */
enum mysql_step {
    MYSQL_STEP_FIRST,
    MYSQL_STEP_DEFINITIONS, /* `left` of them have to come */
    MYSQL_STEP_DEFINED,     /* the EOF behind them has to come */
    MYSQL_STEP_ROWS,
    MYSQL_STEP_SKIP, /* `left` packets have to come, whatever they are */
    MYSQL_STEP_FILE, /* the client sends the file that LOCAL INFILE names */
    MYSQL_STEP_USER, /* the client answers a question of the authentication */
};

struct mysql {
    struct observer observer;
    enum mysql_phase phase;
    uint64_t capabilities; /* of the server; once the client has said its own, of both */
    /* A message longer than a packet can be goes on in the next packet. */
    bool goes_on[OBSERVE_SIDES];
    bool is_continued[OBSERVE_SIDES]; /* the present packet continues a message */
    enum mysql_step step;
    uint64_t left;
    uint32_t last_statement;      /* MariaDB: what the id 0xffffffff stands for */
    struct text_store statements; /* with their parameters, see mysql_parameters.c */
    struct list long_values;
    size_t long_value_count;
    bool long_values_are_lost;
};

static inline bool mysql_can(const struct mysql *mysql, uint64_t capabilities)
{
    return (mysql->capabilities & capabilities) != 0;
}

/* The name of a statement in the store. */
static inline struct slice mysql_name(const uint32_t *id)
{
    return (struct slice){ (const char *)id, sizeof *id };
}

/* A length-encoded number. */
uint64_t mysql_read_length(struct reader *reader);

/* How many bytes a value of this type has in the binary protocol; -1: a length stands before it. */
int mysql_value_size(unsigned type);

/* A statement has so many parameters. */
void mysql_parameters_prepared(struct mysql *mysql, const struct text *statement, unsigned count);

/* What a statement is executed with, from behind the command's code; to be released. NULL if there is
 * nothing, or it can't be told, or nobody wants to know. What it was sent before is used up. */
struct text *mysql_parameters_read(struct mysql *mysql, uint32_t id, struct slice rest, bool is_bulk);

/* A value, or a part of it, is sent before its statement is executed. */
void mysql_parameters_long(struct mysql *mysql, struct slice rest);

/* What a statement was sent before is forgotten; and for all of them. */
void mysql_parameters_forget(struct mysql *mysql, uint32_t id);
void mysql_parameters_clear(struct mysql *mysql);

#endif
