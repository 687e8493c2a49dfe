#include "config/check.h"

#include "config/check_listener.h"
#include "config/store.h"
#include "config/users.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_log(struct parsed_configuration *parsed, struct settings *settings)
{
    static const char *const words[] = { "stderr", "syslog", NULL };
    const struct parsed_value *output = parsed_peek(parsed->log, "output");
    if (output->string == NULL)
        return; /* memory was short */
    if (strcmp(output->string, "stderr") == 0) {
        settings->log.output = LOG_OUTPUT_STDERR;
    } else if (strcmp(output->string, "syslog") == 0) {
        settings->log.output = LOG_OUTPUT_SYSLOG;
    } else if (output->string[0] == '/') {
        settings->log.output = LOG_OUTPUT_FILE;
        settings->log.path = strdup(output->string);
        if (settings->log.path == NULL)
            problem_memory(parsed->problems);
    } else {
        const char *near = keys_suggest_word(output->string, words);
        problem_error(parsed->problems, &output->origin, "log.output",
                      "\"%s\" is neither \"stderr\", \"syslog\" nor an absolute path%s%s%s", output->string,
                      near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near,
                      near == NULL ? "" : "\"?");
    }
}

static void check_identity(struct parsed_configuration *parsed, struct settings *settings)
{
    const struct parsed_value *user = parsed_peek(parsed->global, "user");
    const struct parsed_value *group = parsed_peek(parsed->global, "group");
    const struct origin nowhere = { .kind = ORIGIN_DEFAULT };
    if (settings->user != NULL)
        users_find_user(parsed, user, "user", &settings->user_id, &settings->group_id);
    if (settings->group != NULL)
        users_find_group(parsed, group, "group", &settings->group_id);
    if (settings->user == NULL && geteuid() == 0)
        problem_warning(parsed->problems, &nowhere, "user", "without it everything runs as root");
}

static void check_global(struct parsed_configuration *parsed, struct settings *settings)
{
    const struct check check = { .parsed = parsed, .group = parsed->global };
    store_group(&check, parsed->global, settings);
    store_group(&check, parsed->log, settings);
    check_log(parsed, settings);
    check_identity(parsed, settings);
}

/* The listener before `end` that has the same name, or NULL. */
static const struct parsed_group *find_same_name(const struct parsed_configuration *parsed, size_t end)
{
    const char *name = parsed_peek(parsed->listeners[end], "name")->string;
    for (size_t i = 0; name != NULL && i < end; i++) {
        const char *other = parsed_peek(parsed->listeners[i], "name")->string;
        if (other != NULL && strcmp(other, name) == 0)
            return parsed->listeners[i];
    }
    return NULL;
}

static void check_names(struct parsed_configuration *parsed)
{
    for (size_t i = 0; i < parsed->listener_count; i++) {
        const struct parsed_group *other = find_same_name(parsed, i);
        const struct parsed_value *name = parsed_peek(parsed->listeners[i], "name");
        char place[300];
        if (other != NULL)
            problem_error(parsed->problems, &name->origin, "name", "\"%s\" is the name of the listener at %s",
                          name->string,
                          origin_print(&parsed_peek(other, "name")->origin, place, sizeof place));
    }
}

/* Two listeners on one address: an error unless both say that the address may be shared; a path never can. */
static void check_overlap(struct parsed_configuration *parsed, const struct settings *settings, size_t a,
                          size_t b)
{
    char text[300];
    char subject[192];
    const struct listener_settings *first = settings->listeners[a];
    const struct listener_settings *second = settings->listeners[b];
    bool shared = first->reuse_port && second->reuse_port;
    for (size_t i = 0; i < second->listen_count; i++)
        for (size_t k = 0; k < first->listen_count; k++)
            if (endpoint_equal(&first->listen[k], &second->listen[i]) &&
                (!shared || second->listen[i].kind == ENDPOINT_UNIX ||
                 second->listen[i].kind == ENDPOINT_SYSTEMD))
                problem_error(
                    parsed->problems, &parsed_peek(parsed->listeners[b], "listen")->items[i].origin,
                    parsed_subject(parsed->listeners[b], second->name, "listen", subject, sizeof subject),
                    "%s is already listened on by \"%s\"",
                    endpoint_print(&second->listen[i], text, sizeof text), first->name);
}

static void check_overlaps(struct parsed_configuration *parsed, const struct settings *settings)
{
    for (size_t b = 0; b < settings->listener_count; b++)
        for (size_t a = 0; a < b; a++)
            check_overlap(parsed, settings, a, b);
}

/* The addresses of admin are its own. */
static void check_admin_overlaps(struct parsed_configuration *parsed, const struct settings *settings)
{
    char text[300];
    const struct listener_settings *admin = settings->admin;
    for (size_t i = 0; i < settings->listener_count; i++)
        for (size_t k = 0; k < settings->listeners[i]->listen_count; k++)
            for (size_t m = 0; admin != NULL && m < admin->listen_count; m++)
                if (endpoint_equal(&settings->listeners[i]->listen[k], &admin->listen[m]))
                    problem_error(parsed->problems, &parsed_peek(parsed->admin, "listen")->items[m].origin,
                                  "admin.listen", "%s is already listened on by \"%s\"",
                                  endpoint_print(&admin->listen[m], text, sizeof text),
                                  settings->listeners[i]->name);
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
    for (size_t i = 0; i < parsed->listener_count; i++) {
        struct listener_settings *listener = check_listener(parsed, parsed->listeners[i]);
        if (listener != NULL)
            settings->listeners[settings->listener_count++] = listener;
    }
    if (settings->listener_count == parsed->listener_count)
        check_overlaps(parsed, settings);
}

struct settings *check_configuration(struct parsed_configuration *parsed)
{
    struct settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        problem_memory(parsed->problems);
        return NULL;
    }
    if (parsed->main_file != NULL) {
        settings->file = strdup(parsed->main_file);
        if (settings->file == NULL)
            problem_memory(parsed->problems);
    }
    check_global(parsed, settings);
    settings->admin = check_admin(parsed);
    check_listeners(parsed, settings);
    check_admin_overlaps(parsed, settings);
    if (parsed->problems->errors == 0)
        return settings;
    settings_free(settings);
    return NULL;
}
