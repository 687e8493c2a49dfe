#include "events/events_module.h"

#include "base/log.h"

#include <argz.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The most that a module may see of a message. */
#define MESSAGE_BYTES_MAX ((size_t)1024 * 1024)

/* The same of the values of a statement. */
#define PARAMETER_BYTES_MAX ((size_t)65536)

#define SYMBOL "proximux_module"

/* The module that is being loaded, for errors. */
struct loading {
    struct module *module;
    const struct parsed_configuration *parsed;
    const struct parsed_module *group;
    const struct parsed_value *path; /* as configured */
};

__attribute__((format(printf, 4, 5))) static void module_fail(const struct loading *loading,
                                                              const struct origin *origin, const char *key,
                                                              const char *format, ...)
{
    char subject[192];
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(subject, sizeof subject, "modules: %s", key);
    problem_error(loading->parsed->problems, origin, subject, "%s", text);
}

/* ---- The file ---- */

/* Whether users other than root could replace what is at `path`, by these bits of its mode. The mode of a folder
 * with the sticky bit does not count, only its owner. */
static bool others_may_write(const char *path, mode_t bits)
{
    struct stat status;
    struct stat link;
    if (lstat(path, &link) == -1 || stat(path, &status) == -1)
        return false;
    if (link.st_uid != 0)
        return true;
    bool is_sticky = S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0;
    return status.st_uid != 0 || (!is_sticky && (status.st_mode & bits) != 0);
}

/* The same of the folders that lead to a file. Above its own folder the group may write: Debian gives /usr/local
 * to a group. */
static bool others_may_replace(const char *path)
{
    char folder[PATH_MAX];
    mode_t bits = S_IWGRP | S_IWOTH;
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash; (slash = strrchr(folder, '/')) != NULL;) {
        *slash = '\0';
        if (others_may_write(folder[0] == '\0' ? "/" : folder, bits))
            return true;
        bits = S_IWOTH;
    }
    return false;
}

/* As root, no module is loaded that other users could have written, or linked to. */
static bool is_trusted(const struct loading *loading)
{
    char file[PATH_MAX];
    const char *path = loading->module->path;
    const struct origin *origin = &loading->path->origin;
    if (realpath(path, file) == NULL) {
        module_fail(loading, origin, "path", "%s: %s", path, strerror(errno));
        return false;
    }
    if (geteuid() != 0)
        return true;
    const char *what = NULL;
    if (others_may_write(file, S_IWGRP | S_IWOTH))
        what = "it";
    else if (others_may_write(path, 0) || others_may_replace(file) || others_may_replace(path))
        what = "its folder, or to one above it";
    if (what != NULL)
        module_fail(loading, origin, "path",
                    "%s is refused: others than root may write to %s, and the program runs as root", path,
                    what);
    return what == NULL;
}

static bool find_file(const struct loading *loading)
{
    const struct parsed_value *path = loading->path;
    char text[PATH_MAX];
    if (!path->set) {
        if (!path->faulty)
            module_fail(loading, &loading->group->group->origin, "path", "is required");
        return false;
    }
    if (path->string[0] != '/' && strchr(path->string, '/') != NULL) {
        module_fail(loading, &path->origin, "path",
                    "\"%s\" is neither an absolute path nor the name of a file in %s", path->string,
                    MODULEDIR);
        return false;
    }
    int length =
        snprintf(text, sizeof text, "%s%s", path->string[0] == '/' ? "" : MODULEDIR "/", path->string);
    loading->module->path = length < (int)sizeof text ? strdup(text) : NULL;
    if (loading->module->path == NULL) {
        module_fail(loading, &path->origin, "path", "%s",
                    length < (int)sizeof text ? strerror(errno) : "is too long");
        return false;
    }
    return is_trusted(loading);
}

static bool open_library(const struct loading *loading)
{
    struct module *module = loading->module;
    const struct origin *origin = &loading->path->origin;
    const char *path = module->path;
    module->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct proximux_module *found = module->library == NULL ? NULL : dlsym(module->library, SYMBOL);
    module->module = found;
    if (module->library == NULL)
        module_fail(loading, origin, "path", "it can't be loaded: %s", dlerror());
    else if (found == NULL)
        module_fail(loading, origin, "path", "%s is no module: it does not define \"%s\"", path, SYMBOL);
    else if (found->version != PROXIMUX_MODULE_VERSION)
        module_fail(loading, origin, "path",
                    "%s was built for version %u of the interface of modules; this is version %d", path,
                    (unsigned)found->version, PROXIMUX_MODULE_VERSION);
    else if (found->name == NULL)
        module_fail(loading, origin, "path", "%s has no name", path);
    else if (found->parameter_bytes > PARAMETER_BYTES_MAX)
        module_fail(loading, origin, "path", "%s asks for more than %zu bytes of parameters", path,
                    PARAMETER_BYTES_MAX);
    else if (found->request_bytes > MESSAGE_BYTES_MAX || found->response_bytes > MESSAGE_BYTES_MAX)
        module_fail(loading, origin, "path", "%s asks for more than %zu bytes of each message", path,
                    MESSAGE_BYTES_MAX);
    else
        return true;
    return false;
}

/* ---- Its settings ---- */

static size_t count_keys(const struct proximux_module *module)
{
    size_t count = 0;
    while (module->keys != NULL && module->keys[count].name != NULL)
        count++;
    return count;
}

/* The place of a key; that of the end if there is none of that name. */
static size_t find_key(const struct proximux_module *module, const char *name)
{
    size_t place = 0;
    while (place < count_keys(module) && strcmp(module->keys[place].name, name) != 0)
        place++;
    return place;
}

static void module_report_unknown(const struct loading *loading, const struct parsed_extra *extra)
{
    const struct proximux_module *module = loading->module->module;
    size_t count = count_keys(module);
    const char **names = calloc(count + 3, sizeof(const char *));
    char hint[KEYS_HINT_SIZE] = "";
    if (names != NULL) {
        names[0] = "path";
        names[1] = "listeners";
        for (size_t i = 0; i < count; i++)
            names[2 + i] = module->keys[i].name;
        keys_hint(extra->name, names, hint);
    }
    module_fail(loading, &extra->value.origin, extra->name, "unknown key of \"%s\"%s", module->name, hint);
    free(names);
}

static void take_string(const struct loading *loading, const char *text, struct proximux_value *value)
{
    value->string = strdup(text);
    if (value->string == NULL)
        problem_memory(loading->parsed->problems);
}

static bool take_choice(const struct proximux_key *key, const char *text, struct proximux_value *value)
{
    for (int64_t i = 0; key->choices[i] != NULL; i++) {
        if (strcmp(key->choices[i], text) == 0) {
            value->number = i;
            value->string = key->choices[i];
            return true;
        }
    }
    return false;
}

static void take_value(const struct loading *loading, const struct proximux_key *key,
                       const struct parsed_extra *extra, struct proximux_value *value)
{
    static const struct {
        enum key_type given;
        const char *wanted;
        enum key_type type;
    } types[] = {
        [PROXIMUX_STRING] = { KEY_STRING, "a string", KEY_STRING },
        [PROXIMUX_INTEGER] = { KEY_INTEGER, "an integer", KEY_INTEGER },
        [PROXIMUX_BOOLEAN] = { KEY_BOOLEAN, "true or false", KEY_BOOLEAN },
        [PROXIMUX_CHOICE] = { KEY_STRING, "a string", KEY_CHOICE },
    };
    const struct key described = { .type = types[key->type].type,
                                   .minimum = key->minimum,
                                   .maximum = key->maximum,
                                   .choices = key->choices };
    const struct origin *origin = &extra->value.origin;
    const char *text = extra->value.string;
    int64_t number = extra->value.number;
    char expectation[KEYS_TEXT_SIZE], hint[KEYS_HINT_SIZE];
    keys_expectation(&described, expectation, sizeof expectation);
    if (extra->type != types[key->type].given) {
        module_fail(loading, origin, extra->name, "%s is wanted", types[key->type].wanted);
    } else if (key->type == PROXIMUX_CHOICE) {
        value->is_set = take_choice(key, text, value);
        if (!value->is_set)
            module_fail(loading, origin, extra->name, "\"%s\" is unknown: %s is wanted%s", text, expectation,
                        keys_hint(text, key->choices, hint));
    } else if (key->type == PROXIMUX_INTEGER && (number < key->minimum || number > key->maximum)) {
        module_fail(loading, origin, extra->name, "%" PRId64 " is out of range: %s is wanted", number,
                    expectation);
    } else {
        value->number = number;
        value->is_set = true;
        if (key->type == PROXIMUX_STRING)
            take_string(loading, text, value);
    }
}

static void take_fallback(const struct loading *loading, const struct proximux_key *key,
                          struct proximux_value *value)
{
    if (key->fallback == NULL)
        return;
    value->is_set = true;
    if (key->type == PROXIMUX_STRING)
        take_string(loading, key->fallback, value);
    else if (key->type == PROXIMUX_INTEGER)
        value->number = strtoll(key->fallback, NULL, 10);
    else if (key->type == PROXIMUX_BOOLEAN)
        value->number = strcmp(key->fallback, "true") == 0;
    else if (!take_choice(key, key->fallback, value))
        module_fail(loading, &loading->path->origin, key->name, "its default \"%s\" is none of its choices",
                    key->fallback);
}

static bool is_given(const struct parsed_module *group, const char *name)
{
    for (size_t i = 0; i < group->extra_count; i++)
        if (strcmp(group->extras[i].name, name) == 0)
            return true;
    return false;
}

static void take_values(const struct loading *loading)
{
    struct module *module = loading->module;
    const struct proximux_key *keys = module->module->keys;
    size_t count = count_keys(module->module);
    module->values = calloc(count + 1, sizeof *module->values);
    if (module->values == NULL) {
        problem_memory(loading->parsed->problems);
        return;
    }
    for (size_t i = 0; i < loading->group->extra_count; i++) {
        const struct parsed_extra *extra = &loading->group->extras[i];
        size_t place = find_key(module->module, extra->name);
        if (!extra->value.set) /* memory was short, which was reported */
            continue;
        if (place == count)
            module_report_unknown(loading, extra);
        else
            take_value(loading, &keys[place], extra, &module->values[place]);
    }
    for (size_t i = 0; i < count; i++) {
        if (module->values[i].is_set)
            continue;
        take_fallback(loading, &keys[i], &module->values[i]);
        if (keys[i].required && !is_given(loading->group, keys[i].name))
            module_fail(loading, &loading->group->group->origin, keys[i].name, "is required by \"%s\"",
                        module->module->name);
    }
}

/* ---- Its listeners ---- */

static void check_listener_name(const struct loading *loading, const struct parsed_item *item)
{
    const struct parsed_configuration *parsed = loading->parsed;
    char hint[KEYS_HINT_SIZE] = "";
    if (parsed_find_listener(parsed, item->text) != NULL)
        return;
    const char **names = calloc(parsed->listener_count + 1, sizeof(const char *));
    size_t count = 0;
    for (size_t i = 0; names != NULL && i < parsed->listener_count; i++) {
        names[count] = parsed_get(parsed->listeners[i], "name")->string;
        count += names[count] != NULL ? 1 : 0;
    }
    if (names != NULL)
        keys_hint(item->text, names, hint);
    module_fail(loading, &item->origin, "listeners", "there is no listener \"%s\"%s", item->text, hint);
    free(names);
}

static void take_listeners(const struct loading *loading)
{
    struct module *module = loading->module;
    const struct parsed_value *value = parsed_get(loading->group->group, "listeners");
    module->is_for_all = !value->set;
    for (size_t i = 0; i < value->count; i++) {
        check_listener_name(loading, &value->items[i]);
        if (argz_add(&module->listeners, &module->listeners_size, value->items[i].text) != 0)
            problem_memory(loading->parsed->problems);
    }
}

bool module_is_for(const struct module *module, const char *listener)
{
    const char *name = NULL;
    while ((name = argz_next(module->listeners, module->listeners_size, name)) != NULL)
        if (strcmp(name, listener) == 0)
            return true;
    return module->is_for_all;
}

/* ---- From load to close ---- */

/* The reason of a module, which it may have left empty. */
static const char *reason_or_default(const char *reason)
{
    return reason[0] != '\0' ? reason : "it refuses, and does not say why";
}

bool module_load(struct module *module, const struct parsed_configuration *parsed,
                 const struct parsed_module *group)
{
    const struct loading loading = {
        .module = module,
        .parsed = parsed,
        .group = group,
        .path = parsed_get(group->group, "path"),
    };
    size_t errors = parsed->problems->errors;
    char error[512] = "";
    take_listeners(&loading);
    if (!find_file(&loading) || !open_library(&loading))
        return false;
    take_values(&loading);
    if (parsed->problems->errors == errors && module->module->check != NULL &&
        !module->module->check(module->values, error, sizeof error))
        module_fail(&loading, &group->group->origin, module->module->name, "%s", reason_or_default(error));
    return parsed->problems->errors == errors;
}

bool module_is_equal(const struct module *a, const struct module *b)
{
    bool equal = text_equal(a->path, b->path) && a->module == b->module && a->is_for_all == b->is_for_all &&
                 slice_equal((struct slice){ a->listeners, a->listeners_size },
                             (struct slice){ b->listeners, b->listeners_size });
    for (size_t i = 0; equal && i < count_keys(a->module); i++)
        equal = a->values[i].is_set == b->values[i].is_set && a->values[i].number == b->values[i].number &&
                text_equal(a->values[i].string, b->values[i].string);
    return equal;
}

/* ---- What a module may call ---- */

static void host_log(enum proximux_level level, const char *source, const char *text)
{
    _Static_assert((int)PROXIMUX_ERROR == LOG_KIND_ERROR && (int)PROXIMUX_WARNING == LOG_KIND_WARNING &&
                       (int)PROXIMUX_INFO == LOG_KIND_INFO && (int)PROXIMUX_DEBUG == LOG_KIND_DEBUG,
                   "levels are kinds");
    bool is_known = (unsigned)level <= PROXIMUX_DEBUG;
    log_write(is_known ? (enum log_kind)level : LOG_KIND_INFO, source, "%s", text);
}

/* Modules know the file as an opaque type, so that their header needs no internal one. */
static struct proximux_file *host_open(const char *path, char *error, size_t error_size)
{
    return (struct proximux_file *)log_file_open(path, error, error_size);
}

static void host_write(struct proximux_file *file, const char *line, size_t length)
{
    log_file_write((struct log_file *)file, line, length);
}

static void host_close(struct proximux_file *file)
{
    log_file_close((struct log_file *)file);
}

static const struct proximux_host host = { host_log, host_open, host_write, host_close };

bool module_start(struct module *module, char *error, size_t error_size)
{
    char reason[256] = "";
    module->started = module->module->start == NULL ||
                      module->module->start(&host, module->values, &module->instance, reason, sizeof reason);
    if (!module->started)
        snprintf(error, error_size, "module %s: %s", module->path, reason_or_default(reason));
    return module->started;
}

void module_close(struct module *module)
{
    if (module->started && module->module->stop != NULL)
        module->module->stop(module->instance);
    for (size_t i = 0; module->values != NULL && i < count_keys(module->module); i++)
        if (module->module->keys[i].type == PROXIMUX_STRING)
            free((char *)module->values[i].string);
    free(module->values);
    free(module->listeners);
    free(module->path);
    if (module->library != NULL)
        dlclose(module->library);
    *module = (struct module){ 0 };
}
