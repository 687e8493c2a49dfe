#include "config/problem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest text of a problem, so that no line of a list fills the terminal. */
#define PROBLEM_MAX 1000

/* Takes over a text and returns it as it can be shown to anybody: what comes from files can drive a terminal. NULL
 * when memory is short. */
static char *problem_escape(char *text)
{
    size_t length = strnlen(text, PROBLEM_MAX + 1);
    bool is_truncated = length > PROBLEM_MAX;
    char *escaped = malloc(4 * length + sizeof "...");
    char *end = escaped;
    for (size_t i = 0; escaped != NULL && i < length - is_truncated; i++) {
        if (text[i] >= ' ' && text[i] <= '~')
            *end++ = text[i];
        else
            end += sprintf(end, "\\x%02x", (unsigned char)text[i]);
    }
    if (escaped != NULL)
        strcpy(end, is_truncated ? "..." : "");
    free(text);
    return escaped;
}

static const char *const origin_kinds[] = {
    [ORIGIN_DEFAULT] = "default",
    [ORIGIN_FILE] = "file",
    [ORIGIN_ENVIRONMENT] = "environment",
    [ORIGIN_COMMAND_LINE] = "command line",
};

/* Where it is; NULL if nowhere in particular, or when memory is short. */
static char *problem_place(const struct origin *origin)
{
    char *place = NULL;
    if (origin->kind == ORIGIN_DEFAULT)
        return NULL;
    const char *name = origin->kind == ORIGIN_FILE ? origin->name : origin_kinds[origin->kind];
    int length =
        origin->line == 0 ? asprintf(&place, "%s", name) : asprintf(&place, "%s:%u", name, origin->line);
    return length == -1 ? NULL : problem_escape(place);
}

void problem_add(struct problem_list *list, bool is_error, const struct origin *origin, const char *subject,
                 const char *format, va_list arguments)
{
    struct problem problem = { .is_error = is_error, .place = problem_place(origin) };
    char *message = NULL;
    list->errors += is_error;
    if ((origin->kind == ORIGIN_ENVIRONMENT || origin->kind == ORIGIN_COMMAND_LINE) && origin->name != NULL)
        subject = origin->name;
    struct problem *grown = reallocarray(list->problems, list->count + 1, sizeof *grown);
    if (grown != NULL)
        list->problems = grown;
    if (grown != NULL && vasprintf(&message, format, arguments) != -1 &&
        asprintf(&problem.text, "%s%s%s", subject == NULL ? "" : subject, subject == NULL ? "" : ": ",
                 message) != -1 &&
        (problem.text = problem_escape(problem.text)) != NULL) {
        list->problems[list->count++] = problem;
    } else {
        free(problem.place);
        problem_memory(list);
    }
    free(message);
}

void problem_report(struct problem_list *list, bool is_error, const struct origin *origin,
                    const char *subject, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    problem_add(list, is_error, origin, subject, format, arguments);
    va_end(arguments);
}

void problem_memory(struct problem_list *list)
{
    if (!list->out_of_memory)
        list->errors++;
    list->out_of_memory = true;
}

void problem_forget(struct problem_list *list, size_t count)
{
    while (list->count > count) {
        struct problem *problem = &list->problems[--list->count];
        list->errors -= problem->is_error;
        free(problem->place);
        free(problem->text);
    }
}

void problem_list_free(struct problem_list *list)
{
    problem_forget(list, 0);
    free(list->problems);
    *list = (struct problem_list){ 0 };
}

const char *origin_print(const struct origin *origin, char *text, size_t size)
{
    if (origin->kind == ORIGIN_FILE)
        snprintf(text, size, "%s:%u", origin->name, origin->line);
    else
        snprintf(text, size, "%s%s%s", origin_kinds[origin->kind], origin->name == NULL ? "" : " ",
                 origin->name == NULL ? "" : origin->name);
    return text;
}
