/* One value: how its problems are said, and what becomes of it in the settings, by the row of its key. */
#include "config/bytes.h"
#include "config/check.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

/* Room for an entry of the user database. */
#define ENTRY_SIZE 16384

void check_report(const struct check *check, bool is_error, const struct parsed_group *group, const char *key,
                  const struct origin *origin, const char *format, ...)
{
    char subject[PARSED_SUBJECT_SIZE];
    va_list arguments;
    if (origin == NULL)
        origin = &parsed_get(group, key)->origin;
    if (origin->kind == ORIGIN_DEFAULT)
        origin = &check->group->origin;
    va_start(arguments, format);
    problem_add(check->parsed->problems, is_error, origin, parsed_subject(group, check->name, key, subject),
                format, arguments);
    va_end(arguments);
}

static bool is_number(const char *text)
{
    return *text != '\0' && strlen(text) < 10 && strspn(text, "0123456789") == strlen(text);
}

void check_user(const struct check *check, const char *key, uid_t *user, gid_t *group)
{
    char buffer[ENTRY_SIZE];
    struct passwd entry, *found = NULL;
    const char *name = parsed_get(check->group, key)->string;
    if (name == NULL)
        return;
    int error = is_number(name) ? getpwuid_r((uid_t)atoi(name), &entry, buffer, sizeof buffer, &found)
                                : getpwnam_r(name, &entry, buffer, sizeof buffer, &found);
    if (found == NULL) {
        check_error(check, key, "there is no user \"%s\"%s%s", name, error == 0 ? "" : ": ",
                    error == 0 ? "" : strerror(error));
        return;
    }
    *user = entry.pw_uid;
    if (group != NULL)
        *group = entry.pw_gid;
}

void check_user_group(const struct check *check, const char *key, gid_t *group)
{
    char buffer[ENTRY_SIZE];
    struct group entry, *found = NULL;
    const char *name = parsed_get(check->group, key)->string;
    if (name == NULL)
        return;
    int error = is_number(name) ? getgrgid_r((gid_t)atoi(name), &entry, buffer, sizeof buffer, &found)
                                : getgrnam_r(name, &entry, buffer, sizeof buffer, &found);
    if (found == NULL)
        check_error(check, key, "there is no group \"%s\"%s%s", name, error == 0 ? "" : ": ",
                    error == 0 ? "" : strerror(error));
    else
        *group = entry.gr_gid;
}

/* Copies a string, or one of a list, if the row has nothing against it. Of a wrong escape the first bytes are shown
 * and no more, since strings can be long. */
static bool check_store_text(const struct check *check, const struct parsed_group *group,
                             const struct key *key, const struct origin *origin, const char *text,
                             struct slice *copy)
{
    const char *wrong = NULL;
    if (key->accepts != NULL && !key->accepts(text)) {
        check_report(check, true, group, key->name, origin, "\"%.60s\" %s", text, key->refusal);
        return false;
    }
    if (!key->is_bytes)
        *copy = (struct slice){ strdup(text), strlen(text) };
    if (key->is_bytes ? bytes_decode(text, copy, &wrong) : copy->bytes != NULL)
        return true;
    if (wrong == NULL)
        problem_memory(check->parsed->problems);
    else
        check_report(
            check, true, group, key->name, origin,
            "\"%.*s\" is no escape: there are \\n, \\r, \\t, \\0, \\\\ and \\xNN, which the file writes "
            "with two backslashes",
            wrong[1] == 'x' ? 4 : 2, wrong);
    return false;
}

static bool check_store_list(const struct check *check, const struct parsed_group *group,
                             const struct key *key, const struct parsed_value *value, struct slices *list)
{
    bool is_right = true;
    list->slices = calloc(value->count + 1, sizeof *list->slices);
    if (list->slices == NULL) {
        problem_memory(check->parsed->problems);
        return false;
    }
    for (size_t i = 0; i < value->count; i++) {
        const struct parsed_item *item = &value->items[i];
        if (check_store_text(check, group, key, &item->origin, item->text, &list->slices[list->count]))
            list->count++;
        else
            is_right = false;
    }
    return is_right;
}

static bool check_store_value(const struct check *check, const struct parsed_group *group,
                              const struct key *key, const struct parsed_value *value, void *settings)
{
    void *field = key_field(key, settings);
    struct slice copy;
    if (key->type == KEY_STRINGS)
        return check_store_list(check, group, key, value, field);
    if (key->type != KEY_STRING) {
        key_store_number(key, settings, value->number);
        return true;
    }
    if (!check_store_text(check, group, key, &value->origin, value->string, &copy))
        return false;
    if (key->size != sizeof copy) {
        *(const char **)field = copy.bytes;
        return true;
    }
    *(struct slice *)field = copy;
    if (copy.length == 0)
        check_report(check, true, group, key->name, NULL, "is empty");
    else if (key->maximum > 0 && copy.length > (size_t)key->maximum)
        check_report(check, true, group, key->name, NULL, "has more than %zu bytes", (size_t)key->maximum);
    else
        return true;
    return false;
}

bool check_store(const struct check *check, const struct parsed_group *group, void *settings)
{
    bool is_right = true;
    const struct key *key;
    const struct parsed_value *value;
    for (size_t i = 0; (value = parsed_at(group, i, &key)) != NULL; i++) {
        if (value->faulty)
            is_right = false;
        if (value->set && !value->faulty) {
            if (key->size > 0 && key->equal == NULL)
                is_right = check_store_value(check, group, key, value, settings) && is_right;
            else if (key->type == KEY_STRUCTURE && value->group != NULL)
                is_right = check_store(check, value->group, settings) && is_right;
        } else if (key->required && key->type != KEY_STRUCTURE && !value->faulty) {
            const char *type = group->scope == &keys_protocol ? parsed_protocol(group)->name : NULL;
            check_report(check, true, group, key->name, &group->origin, "is required%s%s%s",
                         type == NULL ? "" : " with type \"", type == NULL ? "" : type,
                         type == NULL ? "" : "\"");
            is_right = false;
        }
    }
    return is_right;
}
