/* Follows PostgreSQL sessions, after "Frontend/Backend Protocol" 3.0 of its documentation.
 *
 * An exchange is a simple query, an Execute, a function call, or the preparation of a named statement. The
 * other messages are steps that have their place among what is pending, so that it is known which of them an
 * answer, or an error, belongs to. After an error the server passes over everything up to the next Sync. */
#include "protocol/postgresql/postgresql.h"
#include "protocol/observe/observe.h"
#include "protocol/protocols.h"

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

struct postgresql {
    enum postgresql_phase phase;
    struct packet packets[OBSERVE_SIDES];
    bool is_skipping; /* the server does, up to a Sync that has not come yet */
    bool is_copying;  /* the client sends data in an extended query: its Syncs mean nothing meanwhile */
    struct text_store statements;
    struct text_store portals;
};

/* Takes a string that a zero ends. One that is not whole is all there is. */
static struct slice next_string(struct slice *rest)
{
    struct slice string = *rest;
    const char *end = rest->length > 0 ? memchr(rest->bytes, '\0', rest->length) : NULL;
    if (end != NULL)
        string.length = (size_t)(end - rest->bytes);
    slice_skip(rest, end != NULL ? string.length + 1 : rest->length);
    return string;
}

/* ---- Requests ---- */

static void begin_step(struct observer *observer, struct postgresql *session, struct pending *pending,
                       bool is_exchange)
{
    if (pending != NULL && is_exchange)
        observe_tell(observer, pending);
    if (pending == NULL || !session->is_skipping)
        return;
    if (is_exchange)
        observe_note_error(observer, SLICE("skipped after an error"));
    observe_answer(observer, pending);
}

static void add_step(struct observer *observer, struct postgresql *session, const char *kind,
                     struct text *text, enum postgresql_step step, bool is_exchange)
{
    begin_step(observer, session, observe_add(observer, kind, text, (int)step), is_exchange);
}

static void client_parse(struct observer *observer, struct postgresql *session, struct slice body)
{
    struct slice name = next_string(&body);
    struct slice query = next_string(&body);
    struct text *text = text_create(query, OBSERVE_TEXT_MAX);
    struct text *types = NULL;
    if (observer->parameter_limit > 0 && body.length > 2) /* behind their count */
        types = text_create((struct slice){ body.bytes + 2, body.length - 2 }, TYPES_KEEP);
    text_store_put(&session->statements, name, text, types);
    text_release(types);
    add_step(observer, session, "prepare", text, STEP_PARSE, name.length > 0);
    text_release(text);
}

static void client_bind(struct observer *observer, struct postgresql *session, struct slice body)
{
    struct slice portal = next_string(&body);
    struct text *types, *parameters = NULL;
    struct text *text = text_store_get(&session->statements, next_string(&body), &types);
    if (observer->parameter_limit > 0 && text != NULL)
        parameters = postgresql_parameters(body, text_slice(types), observer->parameter_limit);
    text_store_put(&session->portals, portal, text, parameters);
    text_release(parameters);
    add_step(observer, session, "bind", text, STEP_BIND, false);
}

/* A statement's description tells the types of its parameters that the client has not said itself. */
static void client_describe(struct observer *observer, struct postgresql *session, struct slice body)
{
    struct text *text = NULL;
    bool is_statement = body.length > 0 && body.bytes[0] == 'S';
    if (body.length > 0)
        slice_skip(&body, 1);
    if (is_statement)
        text = text_store_get(&session->statements, next_string(&body), NULL);
    add_step(observer, session, "describe", text, STEP_DESCRIBE, false);
}

static void client_execute(struct observer *observer, struct postgresql *session, struct slice body)
{
    struct text *parameters;
    struct text *text = text_store_get(&session->portals, next_string(&body), &parameters);
    struct pending *pending = observe_add(observer, "execute", text, STEP_EXECUTE);
    observe_add_parameters(observer, pending, parameters);
    begin_step(observer, session, pending, true);
}

static void client_close(struct observer *observer, struct postgresql *session, struct slice body)
{
    bool is_portal = body.length > 0 && body.bytes[0] == 'P';
    if (body.length > 0)
        slice_skip(&body, 1);
    text_store_remove(is_portal ? &session->portals : &session->statements, next_string(&body));
    add_step(observer, session, "", NULL, STEP_CLOSE, false);
}

static void client_sync(struct observer *observer, struct postgresql *session)
{
    if (!session->is_copying) {
        session->is_skipping = false;
        observe_add(observer, "", NULL, STEP_SYNC);
    }
    observe_drop(observer, OBSERVE_CLIENT);
}

/* Data of a COPY belong to its query. */
static void client_copy(struct observer *observer, struct postgresql *session, char type)
{
    struct pending *first = observe_first(observer);
    if (first != NULL && first->is_exchange)
        first->request_bytes += observer->sides[OBSERVE_CLIENT].count;
    observe_drop(observer, OBSERVE_CLIENT);
    if (type != 'd')
        session->is_copying = false;
}

static void client_message(struct observer *observer, struct postgresql *session, char type,
                           struct slice body)
{
    switch (type) {
    case 'Q': {
        struct text *text = text_create(next_string(&body), OBSERVE_TEXT_MAX);
        add_step(observer, session, "query", text, STEP_QUERY, true);
        text_release(text);
        break;
    }
    case 'F':
        add_step(observer, session, "function", NULL, STEP_FUNCTION, true);
        break;
    case 'P':
        client_parse(observer, session, body);
        break;
    case 'B':
        client_bind(observer, session, body);
        break;
    case 'D':
        client_describe(observer, session, body);
        break;
    case 'E':
        client_execute(observer, session, body);
        break;
    case 'C':
        client_close(observer, session, body);
        break;
    case 'S':
        client_sync(observer, session);
        break;
    case 'd':
    case 'c':
    case 'f':
        client_copy(observer, session, type);
        break;
    case 'H': /* Flush */
        break;
    case 'p': /* passwords */
    case 'X': /* Terminate */
        observe_drop(observer, OBSERVE_CLIENT);
        break;
    default:
        observe_lose(observer, "the client sends a message of unknown type");
    }
}

static void startup_message(struct observer *observer, struct postgresql *session, struct slice body)
{
    uint32_t code = body.length >= 4 ? postgresql_integer(body.bytes) : 0;
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
static void note_error(struct observer *observer, struct slice body)
{
    struct slice severity = SLICE(""), code = SLICE(""), message = SLICE("");
    while (body.length > 1 && body.bytes[0] != '\0') {
        char field = body.bytes[0];
        slice_skip(&body, 1);
        struct slice value = next_string(&body);
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

static bool is_first(const struct pending *first, enum postgresql_step step)
{
    return first != NULL && first->code == (int)step;
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

static void server_error(struct observer *observer, struct postgresql *session, struct slice body)
{
    struct pending *first = observe_first(observer);
    session->is_copying = false;
    if (first == NULL) { /* such as that the server shuts down */
        observe_drop(observer, OBSERVE_TARGET);
        return;
    }
    if (is_first(first, STEP_SYNC)) /* the end of an implicit transaction */
        return;
    note_error(observer, body);
    if (is_first(first, STEP_QUERY) || is_first(first, STEP_FUNCTION))
        return;
    if (!has_exchange(observer))
        observe_tell(observer, first);
    session->is_skipping = true;
    while ((first = observe_first(observer)) != NULL && !is_first(first, STEP_SYNC)) {
        if (first->is_exchange)
            observe_note_error(observer, SLICE("skipped after an error"));
        observe_answer(observer, first);
    }
    if (first != NULL)
        session->is_skipping = false;
}

static void server_ready(struct observer *observer, struct postgresql *session)
{
    struct pending *first = observe_first(observer);
    if (session->phase == POSTGRESQL_LOGIN) {
        session->phase = POSTGRESQL_READY;
        observe_drop(observer, OBSERVE_TARGET);
    } else if (is_first(first, STEP_QUERY) || is_first(first, STEP_FUNCTION)) {
        observe_answer(observer, first);
    } else if (is_first(first, STEP_SYNC)) {
        observe_answer(observer, first);
        observe_drop(observer, OBSERVE_TARGET);
        observer->error_length = 0;
    } else {
        observe_lose(observer, "requests and answers are out of step");
    }
}

/* One of the steps of an extended query is done. */
static void server_step(struct observer *observer, enum postgresql_step step)
{
    struct pending *first = observe_first(observer);
    if (is_first(first, step))
        observe_answer(observer, first);
    else if (!is_first(first, STEP_QUERY))
        observe_lose(observer, "requests and answers are out of step");
}

/* The types of parameters, of the statement that is being described. */
static void server_types(struct observer *observer, struct postgresql *session, struct slice body)
{
    const struct pending *first = observe_first(observer);
    if (observer->parameter_limit == 0 || body.length <= 2 || !is_first(first, STEP_DESCRIBE) ||
        first->text == NULL)
        return;
    struct text *types = text_create((struct slice){ body.bytes + 2, body.length - 2 }, TYPES_KEEP);
    text_store_attach(&session->statements, first->text, types);
    text_release(types);
}

/* In an extended query the Syncs that the client has sent behind it are passed over while it sends its data. */
static void server_copy_in(struct observer *observer, struct postgresql *session)
{
    const struct pending *first = observe_first(observer);
    if (!is_first(first, STEP_EXECUTE))
        return;
    session->is_copying = true;
    list_foreach(&observer->pending, node)
    {
        struct pending *pending = list_entry(node, struct pending, node);
        if (pending->code == STEP_SYNC)
            observe_answer(observer, pending);
    }
}

static void server_message(struct observer *observer, struct postgresql *session, char type,
                           struct slice body)
{
    switch (type) {
    case 'Z':
        server_ready(observer, session);
        break;
    case 'E':
        server_error(observer, session, body);
        break;
    case 'C':
    case 'I':
    case 's':
        server_step(observer, STEP_EXECUTE);
        break;
    case '1':
        server_step(observer, STEP_PARSE);
        break;
    case '2':
        server_step(observer, STEP_BIND);
        break;
    case '3':
        server_step(observer, STEP_CLOSE);
        break;
    case 'T':
    case 'n':
        server_step(observer, STEP_DESCRIBE);
        break;
    case 't':
        server_types(observer, session, body);
        break;
    case 'G':
        server_copy_in(observer, session);
        break;
    case 'W':
        observe_lose(observer, "the session turns to replication");
        break;
    default: /* rows, data, notices, and whatever later versions add to them */
        if (observe_first(observer) == NULL)
            observe_drop(observer, OBSERVE_TARGET);
    }
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
static bool read_head(struct observer *observer, struct packet *packet, enum observe_side side, bool has_type,
                      struct slice *input)
{
    size_t at = has_type ? 1 : 0;
    if (!packet_read_head(packet, observer, side, input, at + 4))
        return packet->has_head;
    uint32_t length = postgresql_integer((const char *)packet->head + at);
    if (length < 4 || length > (has_type ? MESSAGE_MAX : STARTUP_MAX)) {
        observe_lose(observer, "the session is no longer one of PostgreSQL, or turns to TLS");
        return false;
    }
    packet->left = length - 4;
    packet->keep = bytes_to_keep(observer, side, has_type ? (char)packet->head[0] : '\0');
    return true;
}

static void postgresql_client(struct observer *observer, void *state, struct slice *input)
{
    struct postgresql *session = state;
    struct packet *packet = &session->packets[OBSERVE_CLIENT];
    bool has_type = session->phase != POSTGRESQL_STARTUP;
    struct slice body;
    if (session->phase == POSTGRESQL_ASKED) {
        observe_lose(observer, "the client does not wait for the answer about encryption");
        return;
    }
    if (!read_head(observer, packet, OBSERVE_CLIENT, has_type, input) ||
        !packet_read_body(packet, observer, OBSERVE_CLIENT, input, &body))
        return;
    if (has_type)
        client_message(observer, session, (char)packet->head[0], body);
    else
        startup_message(observer, session, body);
    packet_next(packet);
}

/* The byte that says whether the session will be encrypted. */
static void read_verdict(struct observer *observer, struct postgresql *session, struct slice *input)
{
    char verdict = input->bytes[0];
    observe_take(observer, OBSERVE_TARGET, input, 1);
    observe_drop(observer, OBSERVE_TARGET);
    if (verdict == 'N')
        session->phase = POSTGRESQL_STARTUP;
    else
        observe_lose(observer, verdict == 'S' ? "the session turns to TLS" : "the session is encrypted");
}

static void postgresql_target(struct observer *observer, void *state, struct slice *input)
{
    struct postgresql *session = state;
    struct packet *packet = &session->packets[OBSERVE_TARGET];
    struct slice body;
    if (session->phase == POSTGRESQL_ASKED) {
        read_verdict(observer, session, input);
        return;
    }
    if (!read_head(observer, packet, OBSERVE_TARGET, true, input) ||
        !packet_read_body(packet, observer, OBSERVE_TARGET, input, &body))
        return;
    server_message(observer, session, (char)packet->head[0], body);
    packet_next(packet);
}

static void postgresql_open(struct observer *observer, void *state)
{
    struct postgresql *session = state;
    (void)observer;
    text_store_init(&session->statements, OBSERVE_TEXTS_MAX / 2);
    text_store_init(&session->portals, OBSERVE_TEXTS_MAX / 2);
}

static void postgresql_close(struct observer *observer, void *state)
{
    struct postgresql *session = state;
    (void)observer;
    text_store_clear(&session->statements);
    text_store_clear(&session->portals);
    for (int i = 0; i < OBSERVE_SIDES; i++)
        packet_next(&session->packets[i]);
}

static const struct follower postgresql_follower = {
    .size = sizeof(struct postgresql),
    .open = postgresql_open,
    .close = postgresql_close,
    .client = postgresql_client,
    .target = postgresql_target,
};

const struct protocol protocol_postgresql = { .name = "postgresql", .follower = &postgresql_follower };
