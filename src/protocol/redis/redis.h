/* The parts of the redis framer: what they share. Only redis*.c and their tests include this.
 *
 * After the Redis serialization protocol specification (RESP2 and RESP3) and, where that is silent, what
 * Redis 7.0 does. */
#ifndef PROTOCOL_REDIS_H
#define PROTOCOL_REDIS_H

#include "protocol/protocol.h"

struct redis_settings {
    struct slice username;
    struct slice password; /* empty: none */
    int64_t database;
    bool client_auth;       /* with a password, clients have to give it too */
    struct slices commands; /* further commands that may pass: names, or prefixes that end with '*' */
};

PROTOCOL_OWN(redis)

/* Bytes at most: of the names of commands and of subcommands that are known or can be admitted, of the name that a
 * client gives itself, of an option that is compared, and of a line that answers the handshake. */
#define REDIS_NAME_MAX        ((size_t)48)
#define REDIS_CLIENT_NAME_MAX ((size_t)256)
#define REDIS_OPTION_MAX      ((size_t)9)
#define REDIS_GREETING_MAX    ((size_t)512)

/* Deepest nesting of streamed aggregates ("*?"), which Redis itself never sends. Those with a length, which
 * any client can have made by EVAL, may lie at any depth: one counter is enough for them. */
#define REDIS_STREAMED_DEPTH_MAX 8

/* ---- Numbers and text (redis_text.c) ------------------------------------------------------------------ */

/* A decimal number up to its CRLF, read byte by byte. */
struct redis_number {
    int64_t value;
    unsigned char digits;
    bool negative;
    bool ended; /* the CR was seen */
};

/* Takes one more byte of a number. As strict as Redis is with clients: no plus sign, no leading zero.
 * COMPLETE after the LF; then `value` counts. */
enum protocol_outcome redis_number_read(struct redis_number *number, char c);

/* Reads a whole string as number, in the same way; false if it is none. */
bool redis_number_parse(struct slice text, int64_t *value);

/* Takes a type, its number and their CRLF off the bytes. False: there is no such type, or none that is not negative. */
bool redis_number_take(struct slice *bytes, char type, int64_t *value);

/* Whether all characters are printable, and none is a space. */
bool redis_is_plain(struct slice text);

/* Appends a bulk string. */
void redis_append_bulk(struct buffer *buffer, struct slice text);

/* Appends text: what is not printable as \xNN, the `quoted` characters behind a backslash. */
void redis_append_escaped(struct buffer *buffer, struct slice text, const char *quoted);

/* Appends text from outside to an error: escaped, cut after so many bytes. */
#define REDIS_ESCAPED_MAX ((size_t)100)
void redis_append_cited(struct buffer *buffer, struct slice text);

#define REDIS_INLINE_BIG "-ERR Protocol error: too big inline request"

/* Takes the quotes off the words of `line` (without its end, and without NUL) as Redis does, and appends them
 * to `array` as an array of bulk strings of at most `limit` bytes; nothing if there is no word. Returns NULL, or the
 * error. */
const char *redis_inline_convert(struct slice line, size_t limit, struct buffer *array);

/* ---- Commands (redis_commands.c) ---------------------------------------------------------------------- */

/* What becomes of a command; redis_commands.c says what each means, and which commands it has. */
enum redis_class {
    REDIS_UNKNOWN,
    REDIS_LOCAL,
    REDIS_SHARED,
    REDIS_OPTIONS,
    REDIS_PARTLY,
    REDIS_CONTAINER,
    REDIS_STATE,
    REDIS_BLOCKS,
    REDIS_STOPS,
    REDIS_UNPAIRED,
    REDIS_FORBIDDEN,
};

/* The class of the command of that name: lower case, ended by a zero; subcommands as "client|id". */
enum redis_class redis_command_class(const char *name);

/* Why commands of a class are refused, to follow the command's name; NULL: they are not. */
extern const char *const redis_refusals[REDIS_FORBIDDEN + 1];

/* Whether the class of a command depends on its second word. */
static inline bool redis_has_subcommands(enum redis_class class)
{
    return class == REDIS_CONTAINER || class == REDIS_PARTLY;
}

/* Whether the command of that name is answered here (redis_local.c). */
bool redis_is_local(const char *name);

/* Whether the operator admits the command: one of redis_settings.commands names it, or is its beginning
 * followed by '*'. */
bool redis_command_admitted(const struct protocol_settings *settings, struct slice name);

/* ---- Requests (redis_request.c, redis_local.c) -------------------------------------------------------- */

enum redis_request_phase {
    REDIS_REQUEST_START,
    REDIS_REQUEST_INLINE,
    REDIS_REQUEST_COUNT,  /* in the number behind '*' */
    REDIS_REQUEST_DOLLAR, /* before an argument */
    REDIS_REQUEST_LENGTH, /* in the number behind '$' */
    REDIS_REQUEST_DATA,   /* in an argument */
    REDIS_REQUEST_CR,
    REDIS_REQUEST_LF,
};

/* The decision on a request. */
enum redis_way { REDIS_UNDECIDED, REDIS_FORWARD, REDIS_ANSWER, REDIS_REFUSE };

/* A client's state. */
struct redis_client {
    uint64_t number;
    char *name; /* owned; NULL: it has given itself none */
    bool authenticated;
    uint64_t looked_at; /* bytes, as often as they are looked at: for a test */

    /* The request that is being read. */
    struct redis_reading {
        enum redis_request_phase phase;
        enum redis_way way;
        const char *refusal; /* follows the command's name; from a '-' on it is the whole answer */
        struct redis_number number;
        uint64_t size;  /* of the request, up to where the last call stopped */
        int64_t count;  /* arguments in all, the name included */
        int64_t index;  /* of the present one */
        int64_t length; /* of the present one, in bytes */
        uint64_t left;  /* bytes of it that have to come */
        unsigned skip;  /* arguments that belong to an option */
        size_t word_length;
        size_t option_length;
        enum redis_class class;
    } reading;

    /* The name, then "name|subcommand", in lower case and ended by a zero; and the present option, likewise. */
    char word[REDIS_NAME_MAX + 1 + REDIS_NAME_MAX + 1];
    char option[REDIS_OPTION_MAX + 1];
};

/* Whether this client has to give the password before it may ask. */
bool redis_must_authenticate(const struct protocol_settings *settings, const struct redis_client *client);

enum protocol_outcome redis_read_request(const struct protocol_settings *settings, void *client,
                                         struct protocol_request *request, struct slice *input,
                                         struct buffer *out, struct buffer *answer);

/* Answers a complete request, well-formed and at the beginning of `bytes`, whose command is REDIS_LOCAL. */
void redis_answer(const struct protocol_settings *settings, struct redis_client *client,
                  struct protocol_request *request, struct slice bytes, struct buffer *answer);

/* ---- Responses (redis_response.c) --------------------------------------------------------------------- */

enum redis_response_phase {
    REDIS_RESPONSE_TYPE,
    REDIS_RESPONSE_TEXT,    /* in a line of any bytes */
    REDIS_RESPONSE_TEXT_LF, /* behind a CR in it */
    REDIS_RESPONSE_WORD,    /* in a line of printable characters */
    REDIS_RESPONSE_LENGTH,  /* in the number behind the type */
    REDIS_RESPONSE_DATA,    /* in a bulk string */
    REDIS_RESPONSE_CHUNK,   /* before a piece of a streamed string */
    REDIS_RESPONSE_CR,      /* of what is named by `type` */
    REDIS_RESPONSE_LF,
};

/* A target connection's state. */
struct redis_connection {
    uint64_t looked_at; /* as above */

    enum redis_response_phase phase;
    char type;      /* of the element that is being read */
    bool is_active; /* inside a response or push */
    bool is_push;
    bool begins_stream; /* behind the '?' that stands for a number */
    struct redis_number number;
    uint64_t left; /* bytes of a bulk string that have to come; whether a word has characters */
    /* Elements that have to come, however deep they lie: in all, and within each streamed aggregate. */
    int64_t open[REDIS_STREAMED_DEPTH_MAX + 1];
    unsigned depth;

    unsigned greeted; /* commands of the handshake that were answered */
    size_t line_length;
    char line[REDIS_GREETING_MAX];
};

enum protocol_outcome redis_read_response(const struct protocol_settings *settings, void *connection,
                                          struct protocol_request *request, struct slice *input,
                                          struct buffer *out, uint64_t *id);
void redis_write_handshake(const struct protocol_settings *settings, void *connection, struct buffer *out);
enum protocol_outcome redis_read_handshake(const struct protocol_settings *settings, void *connection,
                                           struct slice *input, struct buffer *error);

/* ---- Descriptions (redis.c) ---------------------------------------------------------------------------- */

void redis_describe(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);
void redis_describe_error(const struct protocol_settings *settings, struct slice bytes, struct buffer *text);

#endif
