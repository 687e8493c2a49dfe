#include "config/users.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

/* Room for an entry of the user database. */
#define ENTRY_SIZE 16384

static bool is_number(const char *text)
{
    return *text != '\0' && strlen(text) < 10 && strspn(text, "0123456789") == strlen(text);
}

bool users_find_user(struct parsed_configuration *parsed, const struct parsed_value *value,
                     const char *subject, uid_t *user, gid_t *group)
{
    char buffer[ENTRY_SIZE];
    struct passwd entry;
    struct passwd *found = NULL;
    int error = is_number(value->string)
                    ? getpwuid_r((uid_t)atoi(value->string), &entry, buffer, sizeof buffer, &found)
                    : getpwnam_r(value->string, &entry, buffer, sizeof buffer, &found);
    if (found == NULL) {
        problem_error(parsed->problems, &value->origin, subject, "there is no user \"%s\"%s%s", value->string,
                      error == 0 ? "" : ": ", error == 0 ? "" : strerror(error));
        return false;
    }
    *user = entry.pw_uid;
    if (group != NULL)
        *group = entry.pw_gid;
    return true;
}

bool users_find_group(struct parsed_configuration *parsed, const struct parsed_value *value,
                      const char *subject, gid_t *group)
{
    char buffer[ENTRY_SIZE];
    struct group entry;
    struct group *found = NULL;
    int error = is_number(value->string)
                    ? getgrgid_r((gid_t)atoi(value->string), &entry, buffer, sizeof buffer, &found)
                    : getgrnam_r(value->string, &entry, buffer, sizeof buffer, &found);
    if (found == NULL) {
        problem_error(parsed->problems, &value->origin, subject, "there is no group \"%s\"%s%s",
                      value->string, error == 0 ? "" : ": ", error == 0 ? "" : strerror(error));
        return false;
    }
    *group = entry.gr_gid;
    return true;
}
