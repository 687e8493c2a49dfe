#include "protocol/check.h"

#include "protocol/describe.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of an answer that are shown. */
#define QUOTE_MAX 80

#define CHECK(member) KEY_FIELD(struct check_settings, member)

const char *const check_type_names[] = { "none", "connect", "protocol", "exchange", NULL };

static bool is_path(const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
            return false;
    return text[0] == '/';
}

static const struct key check_keys[] = {
    CHOICE_KEY("type", check_type_names, NULL, "how a target is checked", .required = true, CHECK(type)),
    INTEGER_KEY("interval", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "5000",
                "time from an answer to the next check", CHECK(interval)),
    INTEGER_KEY("timeout", UNIT_MILLISECONDS, 1, KEY_TIME_MAX, "2000", "how long its answer may take",
                CHECK(timeout)),
    INTEGER_KEY("rise", UNIT_NONE, 1, 100, "2", "good ones in a row that make a target usable", CHECK(rise)),
    INTEGER_KEY("fall", UNIT_NONE, 1, 100, "3", "failed ones in a row that make it sick", CHECK(fall)),
    STRING_KEY("send", NULL, "what an exchange sends", .is_bytes = true, .maximum = 1024, CHECK(send)),
    STRING_KEY("expect", NULL, "what its answer has to contain", .is_bytes = true, .maximum = 1024,
               CHECK(expect)),
    STRING_KEY("path", NULL, "what is asked of an http server", .accepts = is_path,
               .refusal = "is no path: it begins with / and has no blanks", CHECK(path)),
    INTEGER_KEY("status", UNIT_NONE, 100, 999, NULL, "the status that it has to answer with", CHECK(status)),
    INTEGER_KEY("unit", UNIT_NONE, 0, 255, NULL, "the modbus unit that is read", CHECK(unit)),
    INTEGER_KEY("function", UNIT_NONE, 1, 4, NULL, "the function that reads it", CHECK(function)),
    INTEGER_KEY("address", UNIT_NONE, 0, 65535, NULL, "the coil or register that is read", CHECK(address)),
};

const struct key_scope keys_check = { "check: ", "CHECK_", check_keys,
                                      sizeof check_keys / sizeof check_keys[0] };

const struct check_settings check_standard = { .status = 200, .unit = 1, .function = 3 };

static bool copy_bytes(struct slice *bytes)
{
    struct slice from = *bytes;
    if (from.bytes == NULL)
        return true;
    *bytes = (struct slice){ malloc(from.length), from.length };
    if (bytes->bytes != NULL)
        memcpy((char *)bytes->bytes, from.bytes, from.length);
    return bytes->bytes != NULL;
}

bool check_settings_copy(const struct check_settings *settings, struct check_settings *copy)
{
    *copy = *settings;
    copy->path = settings->path == NULL ? NULL : strdup(settings->path);
    bool has_send = copy_bytes(&copy->send);
    bool has_expect = copy_bytes(&copy->expect);
    return has_send && has_expect && (copy->path == NULL) == (settings->path == NULL);
}

void check_settings_release(struct check_settings *settings)
{
    key_fields_release(keys_check.keys, keys_check.count, settings);
}

bool check_settings_equal(const void *a, const void *b)
{
    return key_fields_equal(keys_check.keys, keys_check.count, a, b);
}

void check_write(const struct check_settings *check, const struct protocol_settings *protocol, void *client,
                 struct buffer *out)
{
    if (check->type == CHECK_EXCHANGE)
        buffer_append(out, check->send.bytes, check->send.length);
    else if (check->type == CHECK_PROTOCOL && protocol->protocol->write_check != NULL)
        protocol->protocol->write_check(protocol, check, client, out);
}

enum protocol_outcome check_read(const struct check_settings *check, const struct protocol_settings *protocol,
                                 struct slice answer, struct buffer *error)
{
    struct slice expect = check->expect;
    if (answer.length == 0)
        return PROTOCOL_MORE;
    if (check->type == CHECK_PROTOCOL)
        return protocol->protocol->read_check(protocol, check, answer, error);
    if (expect.length == 0 || memmem(answer.bytes, answer.length, expect.bytes, expect.length) != NULL)
        return PROTOCOL_COMPLETE;
    return PROTOCOL_MORE;
}

void check_quote(struct slice answer, struct buffer *error)
{
    struct slice line = describe_line_of(answer);
    buffer_print(error, "it answered \"%.*s\"", (int)(line.length < QUOTE_MAX ? line.length : QUOTE_MAX),
                 line.bytes);
}
