#include "protocol/observe/parameters.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void add(struct parameters *parameters, const char *bytes, size_t length)
{
    size_t room = parameters->limit - parameters->text.length;
    if (length > room) {
        length = room;
        parameters->is_truncated = true;
    }
    buffer_append(&parameters->text, bytes, length);
}

static void begin(struct parameters *parameters)
{
    if (parameters->is_begun)
        add(parameters, ", ", 2);
    parameters->is_begun = true;
}

void parameters_add_string(struct parameters *parameters, struct slice value, bool is_truncated)
{
    is_truncated = is_truncated || value.length > PARAMETER_MAX;
    value.length = value.length < PARAMETER_MAX ? value.length : PARAMETER_MAX;
    begin(parameters);
    add(parameters, "'", 1);
    while (value.length > 0) {
        const char *quote = memchr(value.bytes, '\'', value.length);
        size_t count = quote != NULL ? (size_t)(quote - value.bytes) + 1 : value.length;
        add(parameters, value.bytes, count);
        if (quote != NULL)
            add(parameters, "'", 1);
        slice_skip(&value, count);
    }
    add(parameters, "'...", is_truncated ? 4 : 1);
}

void parameters_print(struct parameters *parameters, const char *format, ...)
{
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    begin(parameters);
    add(parameters, text, strlen(text));
}

void parameters_add_float(struct parameters *parameters, uint64_t bits, size_t size, bool is_quoted)
{
    uint32_t low = (uint32_t)bits;
    double value;
    float single;
    char text[40];
    memcpy(&value, &bits, sizeof value);
    memcpy(&single, &low, sizeof single);
    if (size == sizeof single)
        value = (double)single;
    bool is_float = size == sizeof single && is_quoted;
    int most = is_float ? 9 : 17;
    for (int digits = is_float ? 6 : 15; digits <= most; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (is_float ? strtof(text, NULL) == single : strtod(text, NULL) == value)
            break;
    }
    char *exponent = strchr(text, 'e');
    if (!is_quoted && exponent != NULL) /* MySQL: 1e20, PostgreSQL: 1e+20 */
        snprintf(exponent, sizeof text - (size_t)(exponent - text), "e%d", atoi(exponent + 1));
    parameters_print(parameters, is_quoted || !isfinite(value) ? "'%s'" : "%s", text);
}

void parameters_add_hex(struct parameters *parameters, struct slice value)
{
    static const char digits[] = "0123456789abcdef";
    bool is_truncated = value.length > PARAMETER_MAX / 2;
    begin(parameters);
    add(parameters, "'\\x", 3);
    if (is_truncated)
        value.length = PARAMETER_MAX / 2;
    for (size_t i = 0; i < value.length; i++) {
        unsigned char byte = (unsigned char)value.bytes[i];
        add(parameters, (const char[]){ digits[byte >> 4], digits[byte & 15] }, 2);
    }
    add(parameters, is_truncated ? "'..." : "'", is_truncated ? 4 : 1);
}

void parameters_open(struct parameters *parameters)
{
    begin(parameters);
    add(parameters, "(", 1);
    parameters->is_begun = false;
}

void parameters_close(struct parameters *parameters)
{
    add(parameters, ")", 1);
    parameters->is_begun = true;
}

struct text *parameters_finish(struct parameters *parameters, bool is_truncated)
{
    struct text *text = NULL;
    if (!parameters->text.failed && parameters->text.length > 0)
        text = text_create(buffer_slice(&parameters->text), parameters->limit);
    if (text != NULL)
        text->is_truncated = parameters->is_truncated || is_truncated;
    buffer_free(&parameters->text);
    return text;
}
