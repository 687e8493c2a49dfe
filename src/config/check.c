#include "config/check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_log(const struct check *check, struct log_options *log)
{
    static const char *const words[] = { "stderr", "syslog", NULL };
    char hint[KEYS_HINT_SIZE];
    if (log->path == NULL)
        return; /* memory was short */
    if (strcmp(log->path, "stderr") == 0)
        log->output = LOG_OUTPUT_STDERR;
    else if (strcmp(log->path, "syslog") == 0)
        log->output = LOG_OUTPUT_SYSLOG;
    else if (log->path[0] == '/')
        log->output = LOG_OUTPUT_FILE;
    else
        check_report(check, true, check->parsed->log, "output", NULL,
                     "\"%s\" is neither \"stderr\", \"syslog\" nor an absolute path%s", log->path,
                     keys_hint(log->path, words, hint));
}

static void check_global(struct parsed_configuration *parsed, struct settings *settings)
{
    const struct check check = { .parsed = parsed, .group = parsed->global };
    check_store(&check, parsed->global, settings);
    check_store(&check, parsed->log, settings);
    check_log(&check, &settings->log);
    check_user(&check, "user", &settings->user_id, &settings->group_id);
    check_user_group(&check, "group", &settings->group_id);
    if (settings->user == NULL && geteuid() == 0)
        check_warning(&check, "user", "without it everything runs as root");
}

static void check_names(struct parsed_configuration *parsed)
{
    for (size_t i = 0; i < parsed->listener_count; i++) {
        const struct parsed_value *name = parsed_get(parsed->listeners[i], "name");
        const struct parsed_group *first =
            name->string == NULL ? NULL : parsed_find_listener(parsed, name->string);
        char place[300];
        if (first != NULL && first != parsed->listeners[i])
            problem_error(parsed->problems, &name->origin, "name", "\"%s\" is the name of the listener at %s",
                          name->string,
                          origin_print(&parsed_get(first, "name")->origin, place, sizeof place));
    }
}

/* A listener, or admin, on an address of another one: an error unless both say that the address may be shared; a
 * path never can. */
static void check_overlap(struct parsed_configuration *parsed, struct parsed_group *group,
                          const struct listener_settings *settings, const struct listener_settings *other)
{
    char text[300];
    const struct check check = { .parsed = parsed,
                                 .group = group,
                                 .name = group == parsed->admin ? NULL : settings->name };
    bool shared = other->reuse_port && settings->reuse_port;
    for (size_t i = 0; i < settings->listen_count; i++)
        for (size_t k = 0; k < other->listen_count; k++)
            if (endpoint_equal(&other->listen[k], &settings->listen[i]) &&
                (!shared || settings->listen[i].kind == ENDPOINT_UNIX ||
                 settings->listen[i].kind == ENDPOINT_SYSTEMD))
                check_report(&check, true, group, "listen", &parsed_get(group, "listen")->items[i].origin,
                             "%s is already listened on by \"%s\"",
                             endpoint_print(&settings->listen[i], text, sizeof text), other->name);
}

static void check_overlaps(struct parsed_configuration *parsed, const struct settings *settings)
{
    size_t count = settings->listener_count;
    for (size_t i = 0; count == parsed->listener_count && i < count; i++)
        for (size_t k = 0; k < i; k++)
            check_overlap(parsed, parsed->listeners[i], settings->listeners[i], settings->listeners[k]);
    for (size_t i = 0; settings->admin != NULL && i < count; i++)
        check_overlap(parsed, parsed->admin, settings->admin, settings->listeners[i]);
}

/* Makes those with targets of their own, and then their doors; NULL for those with which something is wrong. */
static void check_each_listener(struct parsed_configuration *parsed, struct listener_settings **listeners)
{
    for (int doors = 0; doors < 2; doors++)
        for (size_t i = 0; i < parsed->listener_count; i++)
            if (check_is_door(parsed->listeners[i]) == (doors == 1))
                listeners[i] = check_listener(parsed, parsed->listeners[i], listeners);
}

/* Makes all listeners; those after a wrong one are checked as well. */
static void check_listeners(struct parsed_configuration *parsed, struct settings *settings)
{
    const struct origin file = { .kind = ORIGIN_FILE, .name = parsed->main_file };
    const struct origin nowhere = { .kind = ORIGIN_DEFAULT };
    if (parsed->listener_count == 0) {
        problem_error(parsed->problems, parsed->main_file != NULL ? &file : &nowhere, "listeners",
                      "there is no listener");
        return;
    }
    settings->listeners = calloc(parsed->listener_count, sizeof(struct listener_settings *));
    if (settings->listeners == NULL) {
        problem_memory(parsed->problems);
        return;
    }
    check_names(parsed);
    check_each_listener(parsed, settings->listeners);
    for (size_t i = 0; i < parsed->listener_count; i++)
        if (settings->listeners[i] != NULL)
            settings->listeners[settings->listener_count++] = settings->listeners[i];
}

struct settings *check_configuration(struct parsed_configuration *parsed)
{
    struct settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        problem_memory(parsed->problems);
        return NULL;
    }
    check_global(parsed, settings);
    settings->admin = check_admin(parsed);
    check_listeners(parsed, settings);
    check_overlaps(parsed, settings);
    if (settings->listener_count == parsed->listener_count)
        check_all_targets(parsed, settings);
    if (parsed->problems->errors == 0)
        return settings;
    settings_free(settings);
    return NULL;
}
