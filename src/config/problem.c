#include "config/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static char *make_text(const struct origin *origin, const char *subject, const char *severity,
                       const char *message)
{
    const char *colon = subject == NULL ? "" : ": ";
    char *text = NULL;
    int length = -1;
    if (subject == NULL)
        subject = "";
    switch (origin->kind) {
    case ORIGIN_FILE:
        if (origin->line == 0)
            length = asprintf(&text, "%s: %s: %s%s%s", origin->name, severity, subject, colon, message);
        else
            length = asprintf(&text, "%s:%u: %s: %s%s%s", origin->name, origin->line, severity, subject,
                              colon, message);
        break;
    case ORIGIN_ENVIRONMENT:
        length = asprintf(&text, "environment: %s: %s: %s", severity, origin->name, message);
        break;
    case ORIGIN_COMMAND_LINE:
        length = asprintf(&text, "command line: %s: %s: %s", severity, origin->name, message);
        break;
    case ORIGIN_DEFAULT:
        length = asprintf(&text, "%s: %s%s%s", severity, subject, colon, message);
        break;
    }
    return length == -1 ? NULL : text;
}

static void problem_add(struct problem_list *list, bool is_error, const struct origin *origin,
                        const char *subject, const char *format, va_list arguments)
{
    char *message = NULL;
    list->errors += is_error;
    struct problem *grown = reallocarray(list->problems, list->count + 1, sizeof *grown);
    if (grown != NULL)
        list->problems = grown;
    if (grown == NULL || vasprintf(&message, format, arguments) == -1) {
        problem_memory(list);
        return;
    }
    char *text = make_text(origin, subject, is_error ? "error" : "warning", message);
    free(message);
    if (text == NULL)
        problem_memory(list);
    else
        list->problems[list->count++] = (struct problem){ .is_error = is_error, .text = text };
}

void problem_error(struct problem_list *list, const struct origin *origin, const char *subject,
                   const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    problem_add(list, true, origin, subject, format, arguments);
    va_end(arguments);
}

void problem_warning(struct problem_list *list, const struct origin *origin, const char *subject,
                     const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    problem_add(list, false, origin, subject, format, arguments);
    va_end(arguments);
}

void problem_memory(struct problem_list *list)
{
    if (!list->out_of_memory)
        list->errors++;
    list->out_of_memory = true;
}

void problem_list_free(struct problem_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->problems[i].text);
    free(list->problems);
    *list = (struct problem_list){ 0 };
}

const char *origin_print(const struct origin *origin, char *text, size_t size)
{
    switch (origin->kind) {
    case ORIGIN_FILE:
        snprintf(text, size, "%s:%u", origin->name, origin->line);
        break;
    case ORIGIN_ENVIRONMENT:
        snprintf(text, size, "environment %s", origin->name);
        break;
    case ORIGIN_COMMAND_LINE:
        snprintf(text, size, "command line %s", origin->name);
        break;
    case ORIGIN_DEFAULT:
        snprintf(text, size, "default");
        break;
    }
    return text;
}
