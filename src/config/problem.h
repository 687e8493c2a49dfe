/* What is wrong with a configuration: errors and warnings, each saying where. */
#ifndef CONFIG_PROBLEM_H
#define CONFIG_PROBLEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum origin_kind { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_COMMAND_LINE };

/* Where a value comes from. */
struct origin {
    enum origin_kind kind;
    const char *name; /* the file, or the variable (NULL: none in particular); lives as long as the parsed
                         configuration */
    unsigned line;
};

struct problem {
    bool is_error;
    char *place; /* "FILE:LINE", "environment", ...; NULL: the configuration as a whole */
    char *text;  /* what follows it, beginning with the key or the variable */
};

/* Owned by the configuration. All zero is an empty one. */
struct problem_list {
    struct problem *problems;
    size_t count;
    size_t errors;
    bool out_of_memory; /* something could not be noted or read */
};

/* Adds "FILE:LINE: error: SUBJECT: MESSAGE", where SUBJECT (may be NULL) names group and key. A value of the
 * environment is placed by its variable instead: "environment: error: VARIABLE: MESSAGE". */
void problem_add(struct problem_list *list, bool is_error, const struct origin *origin, const char *subject,
                 const char *format, va_list arguments);
void problem_report(struct problem_list *list, bool is_error, const struct origin *origin,
                    const char *subject, const char *format, ...) __attribute__((format(printf, 5, 6)));

#define problem_error(list, ...)   problem_report(list, true, __VA_ARGS__)
#define problem_warning(list, ...) problem_report(list, false, __VA_ARGS__)

/* Takes the problems after the first `count` back. */
void problem_forget(struct problem_list *list, size_t count);

/* Notes that memory is short; the configuration is refused for it. */
void problem_memory(struct problem_list *list);

void problem_list_free(struct problem_list *list);

/* "/etc/proximux.conf:12", "environment LOCAL_PORT" or "default"; what -T shows. Returns `text`. */
const char *origin_print(const struct origin *origin, char *text, size_t size);

#endif
