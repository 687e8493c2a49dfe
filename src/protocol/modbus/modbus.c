/* Modbus TCP: "MODBUS Messaging on TCP/IP Implementation Guide" V1.0b and "MODBUS Application Protocol
 * Specification" V1.1b3.
 *
 *   transaction id (2)  protocol id (2)  length (2)  unit (1)  function (1)  data (length - 2)
 *
 * All numbers are big-endian. The length counts what follows it. An exception has the function's highest bit
 * set, and one byte of data. */
#include "protocol/modbus/modbus.h"

#include "protocol/check.h"
#include "protocol/pass.h"
#include "protocol/protocols.h"

enum {
    MODBUS_HEAD = 8, /* up to the function */
    MODBUS_PREFIX = 6,
    MODBUS_LENGTH_MIN = 2,   /* a unit and a function */
    MODBUS_LENGTH_MAX = 254, /* a unit and 253 bytes */
    MODBUS_IS_EXCEPTION = 0x80,
    MODBUS_ILLEGAL_FUNCTION = 0x01,
    MODBUS_ILLEGAL_DATA_VALUE = 0x03, /* "such as that the implied length is incorrect" */
    MODBUS_DEVICE_FAILURE = 0x04,
    MODBUS_NO_PATH = 0x0A,
    MODBUS_NO_ANSWER = 0x0B,
};

/* How what follows the function says what it is about, for people. */
enum modbus_subject { MODBUS_OTHER, MODBUS_RANGE, MODBUS_SINGLE };

/* The functions of the specification. Some servers, libmodbus among them, find the end of a request by its
 * function and not by its length: where the two disagree, the rest would be taken for a request of its own,
 * or another client's bytes for the rest. So the form of the data is checked where it is known. */
struct modbus_function {
    const char *name; /* NULL: there is no such function */
    enum modbus_subject subject;
    bool has_form;
    bool is_counted;    /* the last of these bytes says how many follow */
    unsigned char size; /* bytes of data */
};

static const struct modbus_function modbus_functions[MODBUS_IS_EXCEPTION] = {
    [1] = { "read coils", MODBUS_RANGE, true, false, 4 },
    [2] = { "read discrete inputs", MODBUS_RANGE, true, false, 4 },
    [3] = { "read holding registers", MODBUS_RANGE, true, false, 4 },
    [4] = { "read input registers", MODBUS_RANGE, true, false, 4 },
    [5] = { "write single coil", MODBUS_SINGLE, true, false, 4 },
    [6] = { "write single register", MODBUS_SINGLE, true, false, 4 },
    [7] = { "read exception status", MODBUS_OTHER, true, false, 0 },
    [8] = { "diagnostics", MODBUS_OTHER, false, false, 0 },
    [11] = { "get comm event counter", MODBUS_OTHER, true, false, 0 },
    [12] = { "get comm event log", MODBUS_OTHER, true, false, 0 },
    [15] = { "write multiple coils", MODBUS_RANGE, true, true, 5 },
    [16] = { "write multiple registers", MODBUS_RANGE, true, true, 5 },
    [17] = { "report server id", MODBUS_OTHER, true, false, 0 },
    [20] = { "read file record", MODBUS_OTHER, true, true, 1 },
    [21] = { "write file record", MODBUS_OTHER, true, true, 1 },
    [22] = { "mask write register", MODBUS_SINGLE, true, false, 6 },
    [23] = { "read/write multiple registers", MODBUS_RANGE, true, true, 9 },
    [24] = { "read fifo queue", MODBUS_SINGLE, true, false, 2 },
    [43] = { "encapsulated interface transport", MODBUS_OTHER, false, false, 0 },
};

/* What is remembered of a request. */
struct modbus_context {
    unsigned char transaction[2];
    unsigned char unit;
    unsigned char function;
    bool is_known; /* the head is in, and right */
};

_Static_assert(sizeof(struct modbus_context) <= PROTOCOL_CONTEXT_SIZE, "a request's context holds it");

/* All zeros between two requests. */
struct modbus_client {
    uint64_t remaining; /* bytes that have to come after the head */
    bool refuses;       /* the request is answered here */
};

/* The head is kept until it is known whose answer it begins. */
struct modbus_connection {
    unsigned char head[MODBUS_HEAD];
    size_t head_length;
    bool in_body;
    uint64_t remaining;
};

static const struct modbus_context *modbus_context(const struct protocol_request *request)
{
    return (const struct modbus_context *)request->context;
}

static unsigned modbus_word(const unsigned char *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* Whether as much of a head as has come is right. What can be wrong is seen as soon as it is there: a message
 * with length 0 would have no further byte to wait for. */
static bool modbus_head_is_right(const unsigned char *head, size_t count)
{
    if ((count > 2 && head[2] != 0) || (count > 3 && head[3] != 0) || (count > 4 && head[4] != 0))
        return false;
    return count < MODBUS_PREFIX || (head[5] >= MODBUS_LENGTH_MIN && head[5] <= MODBUS_LENGTH_MAX);
}

/* How many bytes follow the head. */
static size_t modbus_body_size(const unsigned char *head)
{
    return MODBUS_PREFIX + modbus_word(head + 4) - MODBUS_HEAD;
}

static void modbus_write_exception(const struct modbus_context *context, char code, struct buffer *out)
{
    char bytes[] = { 0,   0, 0, 0, 0, 3, (char)context->unit, (char)(context->function | MODBUS_IS_EXCEPTION),
                     code };
    memcpy(bytes, context->transaction, sizeof context->transaction);
    buffer_append(out, bytes, sizeof bytes);
}

/* Takes bytes of a request's head, up to `size`. */
static enum protocol_outcome modbus_take(const struct protocol_settings *settings, size_t size,
                                         struct slice *input, struct buffer *out)
{
    enum protocol_outcome outcome = pass_head(settings, size, input, out);
    if (!out->failed && !modbus_head_is_right((const unsigned char *)buffer_bytes(out), out->length))
        return PROTOCOL_BROKEN;
    return outcome;
}

/* Takes as much as the length of the data depends on, and checks it. A request that is wrong gets its
 * exception and is the client's last. */
static enum protocol_outcome modbus_read_form(const struct protocol_settings *settings,
                                              const struct modbus_context *context, struct slice *input,
                                              struct buffer *out, struct buffer *answer)
{
    const struct modbus_function *form = &modbus_functions[context->function];
    size_t data = modbus_body_size((const unsigned char *)buffer_bytes(out)), expected = form->size;
    if (form->has_form && form->is_counted && data >= form->size) {
        enum protocol_outcome outcome = modbus_take(settings, MODBUS_HEAD + expected, input, out);
        if (outcome != PROTOCOL_COMPLETE)
            return outcome;
        expected += (unsigned char)buffer_bytes(out)[MODBUS_HEAD + expected - 1];
    }
    if (!form->has_form || data == expected)
        return PROTOCOL_COMPLETE;
    modbus_write_exception(context, MODBUS_ILLEGAL_DATA_VALUE, answer);
    return PROTOCOL_BROKEN;
}

/* Reads until it is known what will be done with the request.
 *
 * The functions from 128 on are those of exceptions, and 0 is none. Servers answer such a request, if at all,
 * in ways that no check would let pass, and the connection would be lost for everybody on it: it is answered
 * here, as a device should. */
static enum protocol_outcome modbus_read_head(const struct protocol_settings *settings,
                                              struct modbus_client *client, struct protocol_request *request,
                                              struct slice *input, struct buffer *out, struct buffer *answer)
{
    struct modbus_context *context = (struct modbus_context *)request->context;
    enum protocol_outcome outcome = modbus_take(settings, MODBUS_HEAD, input, out);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    const unsigned char *head = (const unsigned char *)buffer_bytes(out);
    *context = (struct modbus_context){ { head[0], head[1] }, head[6], head[7], true };
    client->refuses = context->function == 0 || (context->function & MODBUS_IS_EXCEPTION) != 0;
    if (!client->refuses)
        outcome = modbus_read_form(settings, context, input, out, answer);
    if (outcome != PROTOCOL_COMPLETE)
        return outcome;
    client->remaining =
        MODBUS_HEAD + modbus_body_size((const unsigned char *)buffer_bytes(out)) - out->length;
    request->decided = !client->refuses;
    if (client->refuses)
        buffer_truncate(out, 0);
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome modbus_read_request(const struct protocol_settings *settings, void *client_state,
                                                 struct protocol_request *request, struct slice *input,
                                                 struct buffer *out, struct buffer *answer)
{
    struct modbus_client *client = client_state;
    if (!request->decided && !client->refuses) {
        enum protocol_outcome outcome = modbus_read_head(settings, client, request, input, out, answer);
        if (outcome != PROTOCOL_COMPLETE)
            return outcome;
    }
    if (pass_rest(&client->remaining, input, client->refuses ? NULL : out) == PROTOCOL_MORE)
        return PROTOCOL_MORE;
    if (client->refuses) {
        modbus_write_exception(modbus_context(request), MODBUS_ILLEGAL_FUNCTION, answer);
        request->local = true;
        request->refused = true;
    }
    *client = (struct modbus_client){ 0 };
    return PROTOCOL_COMPLETE;
}

static uint64_t modbus_id_count(const struct protocol_settings *settings)
{
    return modbus_own(settings)->match_order ? 0 : 65536;
}

static void modbus_set_id(const struct protocol_settings *, struct protocol_request *, char *bytes,
                          uint64_t id)
{
    bytes[0] = (char)(id >> 8);
    bytes[1] = (char)id;
}

/* Without a request it says whose answer it is. */
static enum protocol_outcome modbus_read_answer_head(struct modbus_connection *connection,
                                                     const struct protocol_request *request,
                                                     struct slice *input, uint64_t *id)
{
    unsigned char *head = connection->head;
    bool is_there = pass_collect(head, &connection->head_length, MODBUS_HEAD, request != NULL, input);
    if (!modbus_head_is_right(head, connection->head_length))
        return PROTOCOL_BROKEN;
    if (!is_there)
        return PROTOCOL_MORE;
    if (request == NULL) {
        *id = modbus_word(head);
        return PROTOCOL_WHOSE;
    }
    const struct modbus_context *context = modbus_context(request);
    if (head[6] != context->unit || (head[7] & ~MODBUS_IS_EXCEPTION) != context->function)
        return PROTOCOL_BROKEN;
    memcpy(head, context->transaction, sizeof context->transaction);
    connection->remaining = modbus_body_size(head);
    connection->in_body = true;
    return PROTOCOL_COMPLETE;
}

static enum protocol_outcome modbus_read_response(const struct protocol_settings *, void *connection_state,
                                                  struct protocol_request *request, struct slice *input,
                                                  struct buffer *out, uint64_t *id)
{
    struct modbus_connection *connection = connection_state;
    if (!connection->in_body) {
        enum protocol_outcome outcome = modbus_read_answer_head(connection, request, input, id);
        if (outcome != PROTOCOL_COMPLETE)
            return outcome;
        buffer_append(out, (const char *)connection->head, MODBUS_HEAD);
    }
    if (pass_rest(&connection->remaining, input, out) == PROTOCOL_MORE)
        return PROTOCOL_MORE;
    *connection = (struct modbus_connection){ 0 };
    return PROTOCOL_COMPLETE;
}

static size_t modbus_largest_answer(const struct protocol_settings *)
{
    return MODBUS_PREFIX + MODBUS_LENGTH_MAX;
}

/* "Gateway target device failed to respond" where the target had the request, else
 * "gateway path unavailable". */
static bool modbus_write_error(const struct protocol_settings *, const struct protocol_request *request,
                               enum reason reason, struct buffer *out)
{
    enum reason_class class = reason_class(reason);
    bool had_it = class == REASON_CLASS_LOST || class == REASON_CLASS_SILENT;
    if (request->begun || !modbus_context(request)->is_known)
        return false;
    modbus_write_exception(modbus_context(request), had_it ? MODBUS_NO_ANSWER : MODBUS_NO_PATH, out);
    return true;
}

/* "unit 1 read holding registers 100-109". */
static void modbus_describe(const struct protocol_settings *, struct slice bytes, struct buffer *text)
{
    if (bytes.length < MODBUS_HEAD)
        return;
    const unsigned char *head = (const unsigned char *)bytes.bytes;
    unsigned function = head[MODBUS_HEAD - 1];
    const struct modbus_function *known = &modbus_functions[function < MODBUS_IS_EXCEPTION ? function : 0];
    buffer_print(text, "unit %u ", head[MODBUS_HEAD - 2]);
    if (known->name != NULL)
        buffer_append_text(text, known->name);
    else
        buffer_print(text, "function %u", function);
    if (known->subject == MODBUS_OTHER || bytes.length < MODBUS_HEAD + 4)
        return;
    unsigned first = modbus_word(head + MODBUS_HEAD), count = modbus_word(head + MODBUS_HEAD + 2);
    buffer_print(text, " %u", first);
    if (known->subject == MODBUS_RANGE && count > 1)
        buffer_print(text, "-%u", first + count - 1);
}

static void modbus_describe_error(const struct protocol_settings *, struct slice bytes, struct buffer *text)
{
    static const char *const names[] = {
        [1] = "illegal function",
        [2] = "illegal data address",
        [3] = "illegal data value",
        [4] = "server device failure",
        [5] = "acknowledge",
        [6] = "server device busy",
        [8] = "memory parity error",
        [10] = "gateway path unavailable",
        [11] = "gateway target device failed to respond",
    };
    if (bytes.length < MODBUS_HEAD + 1 ||
        ((unsigned char)bytes.bytes[MODBUS_HEAD - 1] & MODBUS_IS_EXCEPTION) == 0)
        return;
    unsigned code = (unsigned char)bytes.bytes[MODBUS_HEAD];
    const char *name = code < sizeof names / sizeof names[0] ? names[code] : NULL;
    buffer_print(text, "exception %u%s%s", code, name != NULL ? ": " : "", name != NULL ? name : "");
}

static uint64_t modbus_part(const struct protocol_request *request)
{
    return modbus_context(request)->unit;
}

/* ---- Its check ---- */

static const char *const modbus_check_keys[] = { "unit", "function", "address", NULL };

static void modbus_write_check(const struct protocol_settings *, const struct check_settings *check, void *,
                               struct buffer *out)
{
    const unsigned char unit = (unsigned char)check->unit, function = (unsigned char)check->function;
    const unsigned char high = (unsigned char)(check->address >> 8), low = (unsigned char)check->address;
    const unsigned char request[] = { 0, 0, 0, 0, 0, 6, unit, function, high, low, 0, 1 };
    buffer_append(out, (const char *)request, sizeof request);
}

/* A device that refuses the address, say, works; one that says that it does not, or a gateway that says so of the device
 * behind it, does not. */
static enum protocol_outcome modbus_read_check(const struct protocol_settings *settings,
                                               const struct check_settings *check, struct slice answer,
                                               struct buffer *error)
{
    const unsigned char *bytes = (const unsigned char *)answer.bytes;
    if (answer.length < MODBUS_HEAD + 1)
        return PROTOCOL_MORE;
    unsigned char function = bytes[MODBUS_HEAD - 1];
    unsigned char code = bytes[MODBUS_HEAD];
    bool is_exception = function == ((unsigned char)check->function | MODBUS_IS_EXCEPTION);
    bool fails = code == MODBUS_DEVICE_FAILURE || code == MODBUS_NO_PATH || code == MODBUS_NO_ANSWER;
    if (is_exception ? !fails : function == check->function)
        return PROTOCOL_COMPLETE;
    if (is_exception)
        modbus_describe_error(settings, answer, error);
    else
        buffer_append_text(error, "the answer is that of another function");
    return PROTOCOL_BROKEN;
}

static const char *const modbus_matches[] = { "id", "order", NULL };

static const struct key modbus_keys[] = {
    CHOICE_KEY("match", modbus_matches, "id", "what tells whose an answer is",
               KEY_FIELD(struct modbus_settings, match_order)),
};

const struct protocol protocol_modbus = {
    .name = "modbus",
    .keys = modbus_keys,
    .key_count = sizeof modbus_keys / sizeof modbus_keys[0],
    .async_caution = ORDER_CAUTION,
    .client_size = sizeof(struct modbus_client),
    .connection_size = sizeof(struct modbus_connection),
    .aborts_on_close = true,
    .read_request = modbus_read_request,
    .read_response = modbus_read_response,
    .write_error = modbus_write_error,
    .id_count = modbus_id_count,
    .set_id = modbus_set_id,
    .id_remedy = "match = \"order\" is for a device that does not echo the transaction id",
    .part = modbus_part,
    .largest_answer = modbus_largest_answer,
    .describe = modbus_describe,
    .describe_error = modbus_describe_error,
    .write_check = modbus_write_check,
    .read_check = modbus_read_check,
    .check_keys = modbus_check_keys,
};
