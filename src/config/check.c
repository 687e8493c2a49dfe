#include "config/check.h"

#include "config/check_listener.h"
#include "config/users.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t number_of(const struct written_group *group, const char *key)
{
    return written_peek(group, key)->number;
}

/* A copy that the settings own; NULL if the value is unset, or (noted) when memory is short. */
static char *copy_string(struct written_configuration *written, const struct written_value *value)
{
    if (value->string == NULL)
        return NULL;
    char *copy = strdup(value->string);
    if (copy == NULL)
        problem_memory(written->problems);
    return copy;
}

static void check_log(struct written_configuration *written, struct settings *settings)
{
    static const char *const words[] = { "stderr", "syslog", NULL };
    const struct written_value *output = written_peek(written->log, "output");
    settings->log.level = (enum log_level)number_of(written->log, "level");
    settings->log.mask_addresses = number_of(written->log, "mask_addresses") != 0;
    settings->log.format = (enum log_format)number_of(written->log, "format");
    if (output->string == NULL)
        return; /* memory was short */
    if (strcmp(output->string, "stderr") == 0) {
        settings->log.output = LOG_OUTPUT_STDERR;
    } else if (strcmp(output->string, "syslog") == 0) {
        settings->log.output = LOG_OUTPUT_SYSLOG;
    } else if (output->string[0] == '/') {
        settings->log.output = LOG_OUTPUT_FILE;
        settings->log.path = copy_string(written, output);
    } else {
        const char *near = keys_suggest_word(output->string, words);
        problem_error(written->problems, &output->origin, "log.output",
                      "\"%s\" is neither \"stderr\", \"syslog\" nor an absolute path%s%s%s", output->string,
                      near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near,
                      near == NULL ? "" : "\"?");
    }
}

static void check_identity(struct written_configuration *written, struct settings *settings)
{
    const struct written_value *user = written_peek(written->global, "user");
    const struct written_value *group = written_peek(written->global, "group");
    const struct origin nowhere = { .kind = ORIGIN_DEFAULT };
    settings->user = copy_string(written, user);
    settings->group = copy_string(written, group);
    if (settings->user != NULL)
        users_find_user(written, user, "user", &settings->user_id, &settings->group_id);
    if (settings->group != NULL)
        users_find_group(written, group, "group", &settings->group_id);
    if (settings->user == NULL && geteuid() == 0)
        problem_warning(written->problems, &nowhere, "user", "without it everything runs as root");
}

static void check_global(struct written_configuration *written, struct settings *settings)
{
    const struct written_value *pid_file = written_peek(written->global, "pid_file");
    check_log(written, settings);
    check_identity(written, settings);
    settings->shutdown_timeout = number_of(written->global, "shutdown_timeout");
    settings->shutdown_delay = number_of(written->global, "shutdown_delay");
    settings->pid_file = copy_string(written, pid_file);
    if (pid_file->string != NULL && pid_file->string[0] != '/')
        problem_error(written->problems, &pid_file->origin, "pid_file", "\"%s\" is no absolute path",
                      pid_file->string);
}

/* The listener before `end` that has the same name, or NULL. */
static const struct written_group *find_same_name(const struct written_configuration *written, size_t end)
{
    const char *name = written_peek(written->listeners[end], "name")->string;
    for (size_t i = 0; name != NULL && i < end; i++) {
        const char *other = written_peek(written->listeners[i], "name")->string;
        if (other != NULL && strcmp(other, name) == 0)
            return written->listeners[i];
    }
    return NULL;
}

static void check_names(struct written_configuration *written)
{
    for (size_t i = 0; i < written->listener_count; i++) {
        const struct written_group *other = find_same_name(written, i);
        const struct written_value *name = written_peek(written->listeners[i], "name");
        char place[300];
        if (other != NULL)
            problem_error(written->problems, &name->origin, "name",
                          "\"%s\" is the name of the listener at %s", name->string,
                          origin_print(&written_peek(other, "name")->origin, place, sizeof place));
    }
}

/* Two listeners on one address: an error unless both say that the address may be shared; a path never can. */
static void check_overlap(struct written_configuration *written, const struct settings *settings, size_t a,
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
                    written->problems, &written_peek(written->listeners[b], "listen")->items[i].origin,
                    written_subject(written->listeners[b], second->name, "listen", subject, sizeof subject),
                    "%s is already listened on by \"%s\"",
                    endpoint_print(&second->listen[i], text, sizeof text), first->name);
}

static void check_overlaps(struct written_configuration *written, const struct settings *settings)
{
    for (size_t b = 0; b < settings->listener_count; b++)
        for (size_t a = 0; a < b; a++)
            check_overlap(written, settings, a, b);
}

/* The addresses of admin are its own. */
static void check_admin_overlaps(struct written_configuration *written, const struct settings *settings)
{
    char text[300];
    const struct listener_settings *admin = settings->admin;
    for (size_t i = 0; i < settings->listener_count; i++)
        for (size_t k = 0; k < settings->listeners[i]->listen_count; k++)
            for (size_t m = 0; admin != NULL && m < admin->listen_count; m++)
                if (endpoint_equal(&settings->listeners[i]->listen[k], &admin->listen[m]))
                    problem_error(written->problems, &written_peek(written->admin, "listen")->items[m].origin,
                                  "admin.listen", "%s is already listened on by \"%s\"",
                                  endpoint_print(&admin->listen[m], text, sizeof text),
                                  settings->listeners[i]->name);
}

/* Makes all listeners; those after a wrong one are checked as well. */
static void check_listeners(struct written_configuration *written, struct settings *settings)
{
    const struct origin file = { .kind = ORIGIN_FILE, .name = written->main_file };
    const struct origin nowhere = { .kind = ORIGIN_DEFAULT };
    if (written->listener_count == 0) {
        problem_error(written->problems, written->main_file != NULL ? &file : &nowhere, "listeners",
                      "there is no listener");
        return;
    }
    settings->listeners = calloc(written->listener_count, sizeof(struct listener_settings *));
    if (settings->listeners == NULL) {
        problem_memory(written->problems);
        return;
    }
    check_names(written);
    for (size_t i = 0; i < written->listener_count; i++) {
        struct listener_settings *listener = check_listener(written, written->listeners[i]);
        if (listener != NULL)
            settings->listeners[settings->listener_count++] = listener;
    }
    if (settings->listener_count == written->listener_count)
        check_overlaps(written, settings);
}

struct settings *check_configuration(struct written_configuration *written)
{
    struct settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        problem_memory(written->problems);
        return NULL;
    }
    settings->references = 1;
    if (written->main_file != NULL) {
        settings->file = strdup(written->main_file);
        if (settings->file == NULL)
            problem_memory(written->problems);
    }
    check_global(written, settings);
    settings->admin = check_admin(written);
    check_listeners(written, settings);
    check_admin_overlaps(written, settings);
    if (written->problems->errors == 0)
        return settings;
    settings_release(settings);
    return NULL;
}
