/* Follows PostgreSQL sessions, after "Frontend/Backend Protocol" 3.0 of its documentation.
 *
 * An exchange is a simple query, an Execute, a function call, or the preparation of a named statement. The
 * other messages are steps that have their place among what is pending, so that it is known which of them an
 * answer, or an error, belongs to. After an error the server passes over everything up to the next Sync. */
#include "protocol/observe/observe.h"
#include "protocol/observe/parameters.h"
#include "protocol/observe/reader.h"
#include "protocol/protocols.h"

#include <inttypes.h>
#include <stdio.h>

#define CODE_VERSION_3 3
#define CODE_CANCEL    80877102
#define CODE_SSL       80877103
#define CODE_GSS       80877104

/* As in the server. */
#define STARTUP_MAX 10000
#define MESSAGE_MAX 0x40000000

/* Bytes of a message that hold names of statements and portals. */
#define NAMES_KEEP 1024

/* Bytes of types of parameters: of a thousand of them. */
#define TYPES_KEEP ((size_t)4096)

enum postgresql_phase {
    POSTGRESQL_STARTUP, /* the client's first message, which has no type */
    POSTGRESQL_ASKED,   /* it wants encryption: a byte of the server says whether it gets it */
    POSTGRESQL_LOGIN,
    POSTGRESQL_READY,
};

/* What is pending. */
enum postgresql_step {
    STEP_QUERY,
    STEP_FUNCTION,
    STEP_PARSE,
    STEP_BIND,
    STEP_DESCRIBE,
    STEP_EXECUTE,
    STEP_CLOSE,
    STEP_SYNC,
};

/* The types of messages by which the server says that a step of an extended query is done. */
static const char *const step_messages[] = {
    [STEP_PARSE] = "1", [STEP_BIND] = "2", [STEP_DESCRIBE] = "Tn", [STEP_EXECUTE] = "CIs", [STEP_CLOSE] = "3",
};

struct postgresql {
    struct observer observer;
    enum postgresql_phase phase;
    bool is_skipping; /* the server does, up to a Sync that has not come yet */
    bool is_copying;  /* the client sends data in an extended query: its Syncs mean nothing meanwhile */
    struct text_store statements;
    struct text_store portals;
};

/* ---- Values that are bound ----
 *
 * Text as it is, and of the binary formats those of simple types; all stand in quotes, as in the server's own
 * log. */

#define FORMAT_BINARY 1
#define TYPE_SIZE     4

/* Object ids of types, which never change (pg_type.dat of PostgreSQL). */
enum {
    TYPE_BOOL = 16,
    TYPE_CHAR = 18,
    TYPE_NAME = 19,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_TEXT = 25,
    TYPE_OID = 26,
    TYPE_JSON = 114,
    TYPE_XML = 142,
    TYPE_FLOAT4 = 700,
    TYPE_FLOAT8 = 701,
    TYPE_UNKNOWN = 705,
    TYPE_BPCHAR = 1042,
    TYPE_VARCHAR = 1043,
    TYPE_UUID = 2950,
};

static void add_uuid(struct parameters *list, struct slice value)
{
    char text[40];
    size_t length = 0;
    for (size_t i = 0; i < value.length; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%02x",
                                   i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                                   (unsigned)(unsigned char)value.bytes[i]);
    parameters_print(list, "'%s'", text);
}

static bool is_text(uint64_t type)
{
    return type == TYPE_CHAR || type == TYPE_NAME || type == TYPE_TEXT || type == TYPE_JSON ||
           type == TYPE_XML || type == TYPE_UNKNOWN || type == TYPE_BPCHAR || type == TYPE_VARCHAR;
}

static void add_binary(struct parameters *list, struct slice value, uint64_t type)
{
    size_t size = value.length;
    uint64_t number = size > 8 ? 0 : reader_big(&(struct reader){ .rest = value }, size);
    if (is_text(type))
        parameters_add_string(list, value, false);
    else if (type == TYPE_BOOL && size == 1)
        parameters_print(list, "'%c'", number != 0 ? 't' : 'f');
    else if ((type == TYPE_INT2 && size == 2) || (type == TYPE_INT4 && size == 4) ||
             (type == TYPE_INT8 && size == 8))
        parameters_print(list, "'%" PRId64 "'", reader_signed(number, size));
    else if (type == TYPE_OID && size == 4)
        parameters_print(list, "'%" PRIu64 "'", number);
    else if ((type == TYPE_FLOAT4 && size == 4) || (type == TYPE_FLOAT8 && size == 8))
        parameters_add_float(list, number, size, true);
    else if (type == TYPE_UUID && size == 16)
        add_uuid(list, value);
    else
        parameters_add_hex(list, value);
}

/* No format: all are text; one: it is that of all. */
static bool is_binary(struct slice formats, size_t i)
{
    if (formats.length == 2)
        i = 0;
    return formats.length >= 2 * (i + 1) && formats.bytes[2 * i + 1] == FORMAT_BINARY;
}

static void add_value(struct parameters *list, struct reader *reader, bool is_binary_format, uint64_t type)
{
    uint64_t length = reader_big(reader, 4);
    if (reader->failed)
        return;
    if (length == UINT32_MAX) {
        parameters_print(list, "NULL");
        return;
    }
    struct slice value = reader_bytes(reader, length);
    if (!is_binary_format)
        parameters_add_string(list, value, reader->failed);
    else if (!reader->failed)
        add_binary(list, value, type);
}

/* The values of a Bind, from behind its names, to be released; at most `limit` bytes. NULL if there are none, or
 * memory is short. `types`: object ids, as far as they are known. */
static struct text *read_parameters(struct reader *reader, struct slice types, size_t limit)
{
    struct parameters list = { .limit = limit };
    struct reader type = { .rest = types };
    struct slice formats = reader_bytes(reader, 2 * reader_big(reader, 2));
    uint64_t count = reader_big(reader, 2);
    for (size_t i = 0; i < count && !reader->failed && parameters_take_more(&list); i++)
        add_value(&list, reader, is_binary(formats, i), reader_big(&type, TYPE_SIZE));
    return parameters_finish(&list, reader->failed);
}

/* ---- Requests ---- */

static void add_step(struct postgresql *session, const char *kind, struct text *text, struct text *parameters,
                     enum postgresql_step step, bool is_exchange)
{
    struct observer *observer = &session->observer;
    struct pending *pending = observe_add(observer, kind, text, parameters, (int)step);
    if (pending == NULL)
        return;
    if (is_exchange)
        observe_tell(observer, pending);
    if (!session->is_skipping)
        return;
    if (is_exchange)
        observe_note_error(observer, SLICE("skipped after an error"));
    observe_answer(observer, pending);
}

/* Types of parameters, which stand behind their count; NULL: nobody wants to know. */
static struct text *read_types(const struct postgresql *session, struct reader *body)
{
    reader_big(body, 2);
    if (session->observer.parameter_limit == 0 || body->rest.length == 0)
        return NULL;
    return text_create(body->rest, TYPES_KEEP);
}

static void client_query(struct postgresql *session, struct reader *body)
{
    struct text *text = text_create(reader_string(body), OBSERVE_TEXT_MAX);
    add_step(session, "query", text, NULL, STEP_QUERY, true);
    text_release(text);
}

static void client_function(struct postgresql *session, struct reader *)
{
    add_step(session, "function", NULL, NULL, STEP_FUNCTION, true);
}

static void client_parse(struct postgresql *session, struct reader *body)
{
    struct slice name = reader_string(body);
    struct text *text = text_create(reader_string(body), OBSERVE_TEXT_MAX);
    struct text *types = read_types(session, body);
    text_store_put(&session->statements, name, text, types);
    text_release(types);
    add_step(session, "prepare", text, NULL, STEP_PARSE, name.length > 0);
    text_release(text);
}

static void client_bind(struct postgresql *session, struct reader *body)
{
    size_t limit = session->observer.parameter_limit;
    struct slice portal = reader_string(body);
    struct text *types, *parameters = NULL;
    struct text *text = text_store_get(&session->statements, reader_string(body), &types);
    if (limit > 0 && text != NULL)
        parameters = read_parameters(body, text_slice(types), limit);
    text_store_put(&session->portals, portal, text, parameters);
    text_release(parameters);
    add_step(session, "bind", text, NULL, STEP_BIND, false);
}

/* A statement's description tells the types of its parameters that the client has not said itself. */
static void client_describe(struct postgresql *session, struct reader *body)
{
    struct text *text = NULL;
    if (reader_big(body, 1) == 'S')
        text = text_store_get(&session->statements, reader_string(body), NULL);
    add_step(session, "describe", text, NULL, STEP_DESCRIBE, false);
}

static void client_execute(struct postgresql *session, struct reader *body)
{
    struct text *parameters;
    struct text *text = text_store_get(&session->portals, reader_string(body), &parameters);
    add_step(session, "execute", text, parameters, STEP_EXECUTE, true);
}

static void client_close(struct postgresql *session, struct reader *body)
{
    bool is_portal = reader_big(body, 1) == 'P';
    text_store_remove(is_portal ? &session->portals : &session->statements, reader_string(body));
    add_step(session, "", NULL, NULL, STEP_CLOSE, false);
}

/* Passwords, and the end. */
static void client_other(struct postgresql *session, struct reader *)
{
    observe_drop(&session->observer, OBSERVE_CLIENT);
}

static void client_sync(struct postgresql *session, struct reader *body)
{
    if (!session->is_copying) {
        session->is_skipping = false;
        observe_add(&session->observer, "", NULL, NULL, STEP_SYNC);
    }
    client_other(session, body);
}

/* Data of a COPY belong to its query. */
static void client_copy(struct postgresql *session, struct reader *body)
{
    struct pending *first = observe_first(&session->observer);
    if (first != NULL && first->is_exchange)
        first->request_bytes += session->observer.sides[OBSERVE_CLIENT].count;
    client_other(session, body);
}

static void client_copy_end(struct postgresql *session, struct reader *body)
{
    client_copy(session, body);
    session->is_copying = false;
}

static void client_message(struct postgresql *session, char type, struct reader *body)
{
    static const struct {
        char type;
        void (*read)(struct postgresql *session, struct reader *body);
    } messages[] = {
        { 'Q', client_query },    { 'F', client_function }, { 'P', client_parse },    { 'B', client_bind },
        { 'D', client_describe }, { 'E', client_execute },  { 'C', client_close },    { 'S', client_sync },
        { 'd', client_copy },     { 'c', client_copy_end }, { 'f', client_copy_end }, { 'H', NULL },
        { 'p', client_other },    { 'X', client_other },
    };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        if (messages[i].type != type)
            continue;
        if (messages[i].read != NULL) /* a Flush belongs to what comes next */
            messages[i].read(session, body);
        return;
    }
    observe_lose(&session->observer, "the client sends a message of unknown type");
}

static void startup_message(struct postgresql *session, struct reader *body)
{
    struct observer *observer = &session->observer;
    uint32_t code = (uint32_t)reader_big(body, 4);
    observe_drop(observer, OBSERVE_CLIENT);
    if (code == CODE_SSL || code == CODE_GSS)
        session->phase = POSTGRESQL_ASKED;
    else if (code == CODE_CANCEL)
        observe_lose(observer, "the session only cancels a query");
    else if (code >> 16 == CODE_VERSION_3)
        session->phase = POSTGRESQL_LOGIN;
    else
        observe_lose(observer, "the client speaks another version of the protocol, or TLS");
}

/* ---- Responses ---- */

/* An error's fields, each a letter and a string: severity, code, message. */
static void note_error(struct observer *observer, struct reader *body)
{
    struct slice severity = SLICE(""), code = SLICE(""), message = SLICE("");
    uint64_t field;
    while (body->rest.length > 1 && (field = reader_big(body, 1)) != '\0') {
        struct slice value = reader_string(body);
        if (field == 'S')
            severity = value;
        else if (field == 'C')
            code = value;
        else if (field == 'M')
            message = value;
    }
    observe_print_error(observer, "%.*s %.*s: %.*s", (int)severity.length, severity.bytes, (int)code.length,
                        code.bytes, (int)message.length, message.bytes);
}

static bool is_step(const struct pending *pending, enum postgresql_step step)
{
    return pending != NULL && pending->code == (int)step;
}

/* Requests whose answer ends with ReadyForQuery. */
static bool is_simple(const struct pending *pending)
{
    return is_step(pending, STEP_QUERY) || is_step(pending, STEP_FUNCTION);
}

/* Whether anything up to the next Sync is an exchange, which can be said to have failed. */
static bool has_exchange(const struct observer *observer)
{
    list_foreach(&observer->pending, node)
    {
        const struct pending *pending = list_entry(node, struct pending, node);
        if (pending->is_exchange || pending->code == STEP_SYNC)
            return pending->is_exchange;
    }
    return false;
}

static void server_error(struct postgresql *session, struct reader *body)
{
    struct observer *observer = &session->observer;
    struct pending *first = observe_first(observer);
    session->is_copying = false;
    if (first == NULL) { /* such as that the server shuts down */
        observe_drop(observer, OBSERVE_TARGET);
        return;
    }
    if (is_step(first, STEP_SYNC)) /* the end of an implicit transaction */
        return;
    note_error(observer, body);
    if (is_simple(first))
        return;
    if (!has_exchange(observer))
        observe_tell(observer, first);
    for (; first != NULL && !is_step(first, STEP_SYNC); first = observe_first(observer)) {
        if (first->is_exchange)
            observe_note_error(observer, SLICE("skipped after an error"));
        observe_answer(observer, first);
    }
    session->is_skipping = first == NULL;
}

static void server_ready(struct postgresql *session)
{
    struct observer *observer = &session->observer;
    struct pending *first = observe_first(observer);
    if (session->phase == POSTGRESQL_LOGIN) {
        session->phase = POSTGRESQL_READY;
        observe_drop(observer, OBSERVE_TARGET);
    } else if (is_simple(first)) {
        observe_answer(observer, first);
    } else if (is_step(first, STEP_SYNC)) {
        observe_answer(observer, first);
        observe_drop(observer, OBSERVE_TARGET);
        observer->error_length = 0;
    } else {
        observe_lose(observer, "requests and answers are out of step");
    }
}

/* The types of parameters, of the statement that is being described. */
static void server_types(struct postgresql *session, struct reader *body)
{
    const struct pending *first = observe_first(&session->observer);
    struct text *types = read_types(session, body);
    if (types != NULL && is_step(first, STEP_DESCRIBE) && first->text != NULL)
        text_store_attach(&session->statements, first->text, types);
    text_release(types);
}

/* In an extended query the Syncs that the client has sent behind it are passed over while it sends its data. */
static void server_copy_in(struct postgresql *session)
{
    struct observer *observer = &session->observer;
    if (!is_step(observe_first(observer), STEP_EXECUTE))
        return;
    session->is_copying = true;
    list_foreach(&observer->pending, node)
    {
        struct pending *pending = list_entry(node, struct pending, node);
        if (is_step(pending, STEP_SYNC))
            observe_answer(observer, pending);
    }
}

/* Rows, data, notices, and whatever later versions add to them; or a step of an extended query is done. */
static void server_other(struct observer *observer, char type)
{
    struct pending *first = observe_first(observer);
    size_t step = 0;
    while (step < sizeof step_messages / sizeof step_messages[0] &&
           (step_messages[step] == NULL || type == '\0' || strchr(step_messages[step], type) == NULL))
        step++;
    if (step == sizeof step_messages / sizeof step_messages[0]) {
        if (first == NULL)
            observe_drop(observer, OBSERVE_TARGET);
    } else if (is_step(first, (enum postgresql_step)step)) {
        observe_answer(observer, first);
    } else if (!is_step(first, STEP_QUERY)) {
        observe_lose(observer, "requests and answers are out of step");
    }
}

static void server_message(struct postgresql *session, char type, struct reader *body)
{
    if (type == 'Z')
        server_ready(session);
    else if (type == 'E')
        server_error(session, body);
    else if (type == 't')
        server_types(session, body);
    else if (type == 'G')
        server_copy_in(session);
    else if (type == 'W')
        observe_lose(&session->observer, "the session turns to replication");
    else
        server_other(&session->observer, type);
}

/* ---- Bytes ---- */

static size_t bytes_to_keep(const struct observer *observer, enum observe_side side, char type)
{
    bool keeps_parameters = observer->parameter_limit > 0;
    if (side == OBSERVE_TARGET)
        return type == 'E' ? OBSERVE_ERROR_MAX + 256 : type == 't' && keeps_parameters ? TYPES_KEEP + 2 : 0;
    if (type == 'Q' || type == 'P' || (type == 'B' && keeps_parameters))
        return OBSERVE_TEXT_MAX + NAMES_KEEP;
    return NAMES_KEEP;
}

/* Reads a message's head. False if there is none yet, or it can't be one. */
static bool read_head(struct observer *observer, enum observe_side side, bool has_type, struct slice *input)
{
    struct packet *packet = &observer->sides[side].packet;
    struct reader head = { .rest = { (const char *)packet->head, has_type ? 5 : 4 } };
    if (!packet_read_head(observer, side, input, head.rest.length))
        return packet->has_head;
    char type = has_type ? (char)reader_little(&head, 1) : '\0';
    uint64_t length = reader_big(&head, 4);
    if (length < 4 || length > (has_type ? MESSAGE_MAX : STARTUP_MAX)) {
        observe_lose(observer, "the session is no longer one of PostgreSQL, or turns to TLS");
        return false;
    }
    packet->left = length - 4;
    packet->keep = bytes_to_keep(observer, side, type);
    return true;
}

/* The byte of the server that says whether the session will be encrypted. */
static void read_verdict(struct postgresql *session, enum observe_side side, struct slice *input)
{
    struct observer *observer = &session->observer;
    char verdict = input->bytes[0];
    if (side == OBSERVE_CLIENT) {
        observe_lose(observer, "the client does not wait for the answer about encryption");
        return;
    }
    observe_take(observer, OBSERVE_TARGET, input, 1);
    observe_drop(observer, OBSERVE_TARGET);
    if (verdict == 'N')
        session->phase = POSTGRESQL_STARTUP;
    else
        observe_lose(observer, verdict == 'S' ? "the session turns to TLS" : "the session is encrypted");
}

static void postgresql_bytes(struct observer *observer, enum observe_side side, struct slice *input)
{
    struct postgresql *session = (struct postgresql *)observer;
    struct packet *packet = &observer->sides[side].packet;
    bool has_type = side == OBSERVE_TARGET || session->phase != POSTGRESQL_STARTUP;
    struct reader body = { .failed = false };
    if (session->phase == POSTGRESQL_ASKED) {
        read_verdict(session, side, input);
        return;
    }
    if (!read_head(observer, side, has_type, input) || !packet_read_body(observer, side, input, &body.rest))
        return;
    if (side == OBSERVE_TARGET)
        server_message(session, (char)packet->head[0], &body);
    else if (has_type)
        client_message(session, (char)packet->head[0], &body);
    else
        startup_message(session, &body);
    buffer_free(&packet->body);
}

static void postgresql_open(struct observer *observer)
{
    struct postgresql *session = (struct postgresql *)observer;
    text_store_init(&session->statements, OBSERVE_TEXTS_MAX / 2);
    text_store_init(&session->portals, OBSERVE_TEXTS_MAX / 2);
}

static void postgresql_close(struct observer *observer)
{
    struct postgresql *session = (struct postgresql *)observer;
    text_store_clear(&session->statements);
    text_store_clear(&session->portals);
}

static const struct follower postgresql_follower = {
    .size = sizeof(struct postgresql),
    .open = postgresql_open,
    .close = postgresql_close,
    .bytes = postgresql_bytes,
};

/* An SSLRequest is answered before anybody logs in: S, N, or an error. */
static void postgresql_write_check(const struct protocol_settings *, const struct check_settings *, void *,
                                   struct buffer *out)
{
    static const char request[] = { 0, 0, 0, 8, 0x04, (char)0xd2, 0x16, 0x2f };
    buffer_append(out, request, sizeof request);
}

static enum protocol_outcome postgresql_read_check(const struct protocol_settings *,
                                                   const struct check_settings *, struct slice answer,
                                                   struct buffer *error)
{
    if (answer.bytes[0] == 'S' || answer.bytes[0] == 'N')
        return PROTOCOL_COMPLETE;
    buffer_append_text(error, "SSLRequest was not answered with S or N");
    return PROTOCOL_BROKEN;
}

const struct protocol protocol_postgresql = { .name = "postgresql",
                                              .follower = &postgresql_follower,
                                              .write_check = postgresql_write_check,
                                              .read_check = postgresql_read_check };
