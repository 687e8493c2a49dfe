#include "config/check_context.h"

#include <stdarg.h>
#include <stdio.h>

static const struct origin *place_of(const struct check *check, const struct origin *origin)
{
    return origin->kind == ORIGIN_DEFAULT ? &check->group->origin : origin;
}

void check_error(const struct check *check, const struct parsed_group *group, const char *key,
                 const struct origin *origin, const char *format, ...)
{
    char subject[SUBJECT_SIZE];
    char message[REASON_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    problem_error(check->parsed->problems, place_of(check, origin),
                  parsed_subject(group, check->name, key, subject, sizeof subject), "%s", message);
}

void check_warning(const struct check *check, const struct parsed_group *group, const char *key,
                   const struct origin *origin, const char *format, ...)
{
    char subject[SUBJECT_SIZE];
    char message[REASON_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    problem_warning(check->parsed->problems, place_of(check, origin),
                    parsed_subject(group, check->name, key, subject, sizeof subject), "%s", message);
}

bool check_is_asked_for(const struct parsed_group *group, const struct key *key)
{
    const struct parsed_value *value = parsed_peek(group, key->name);
    return value->set && !value->inherited && !parsed_is_standard(group, key);
}
