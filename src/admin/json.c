#include "admin/json.h"

#include "base/clock.h"

#include <inttypes.h>
#include <math.h>

static void json_begin(struct json *json, const char *key)
{
    if (json->follows)
        buffer_append_text(json->out, ",");
    json->follows = true;
    if (key != NULL)
        buffer_print(json->out, "\"%s\":", key);
}

void json_open(struct json *json, const char *key, char bracket)
{
    json_begin(json, key);
    buffer_append(json->out, &bracket, 1);
    json->follows = false;
}

void json_close(struct json *json, char bracket)
{
    buffer_append(json->out, &bracket, 1);
    json->follows = true;
}

void json_print_text(struct buffer *out, const char *text)
{
    buffer_append_text(out, "\"");
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            buffer_print(out, "\\%c", c);
        else if (c < 0x20 || c > 0x7e)
            buffer_print(out, "\\\\x%02x", c);
        else
            buffer_append(out, text, 1);
    }
    buffer_append_text(out, "\"");
}

void json_text(struct json *json, const char *key, const char *text)
{
    json_begin(json, key);
    json_print_text(json->out, text);
}

void json_integer(struct json *json, const char *key, int64_t number)
{
    json_begin(json, key);
    buffer_print(json->out, "%" PRId64, number);
}

void json_boolean(struct json *json, const char *key, bool value)
{
    json_begin(json, key);
    buffer_append_text(json->out, value ? "true" : "false");
}

void json_real(struct json *json, const char *key, double number)
{
    json_begin(json, key);
    if (isfinite(number))
        buffer_print(json->out, "%.6g", number);
    else
        buffer_append_text(json->out, "null");
}

void json_moment(struct json *json, const char *key, int64_t milliseconds)
{
    char text[CLOCK_TEXT_SIZE];
    clock_print(milliseconds, text);
    json_text(json, key, text);
}
