#include "config/check_listener.h"

#include "config/check_context.h"
#include "config/check_mode.h"
#include "config/check_protocol.h"
#include "config/store.h"
#include "config/users.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Of the sockets of admin. */
#define ADMIN_BACKLOG 128

static const char *subject_of(const struct check *check, const struct parsed_group *group, const char *key,
                              char *text)
{
    return parsed_subject(group, check->name, key, text, SUBJECT_SIZE);
}

static void check_name(struct check *check)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const struct parsed_value *name = parsed_peek(check->group, "name");
    if (!name->set) {
        /* that it is required was said */
    } else if (*name->string == '\0' || strspn(name->string, allowed) != strlen(name->string)) {
        check_error(check, check->group, "name", &name->origin,
                    "a name consists of letters, digits and the characters -_.");
    } else if (strlen(name->string) > 64) {
        check_error(check, check->group, "name", &name->origin, "a name has 64 characters at most");
    }
    check->settings->name = strdup(check->name);
    if (check->settings->name == NULL)
        problem_memory(check->parsed->problems);
}

static bool is_listened_on(const struct listener_settings *settings, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < settings->listen_count; i++)
        if (endpoint_equal(&settings->listen[i], endpoint))
            return true;
    return false;
}

static bool parse_listen(const char *text, struct endpoint *endpoint, char *reason, size_t size)
{
    if (strncmp(text, "systemd:", 8) == 0)
        return endpoint_make_systemd(text + 8, endpoint, reason, size);
    return endpoint_parse(text, endpoint, reason, size);
}

static void check_listen_item(struct check *check, const struct parsed_item *item)
{
    struct listener_settings *settings = check->settings;
    char reason[REASON_SIZE];
    struct endpoint endpoint = { 0 };
    if (!parse_listen(item->text, &endpoint, reason, sizeof reason)) {
        check_error(check, check->group, "listen", &item->origin, "%s", reason);
    } else if (is_listened_on(settings, &endpoint)) {
        snprintf(reason, sizeof reason, "\"%.200s\" is named twice", item->text);
        check_error(check, check->group, "listen", &item->origin, "%s", reason);
        endpoint_free(&endpoint);
    } else {
        settings->listen[settings->listen_count++] = endpoint;
    }
}

static void check_listen(struct check *check)
{
    struct listener_settings *settings = check->settings;
    const struct parsed_value *listen = parsed_peek(check->group, "listen");
    if (listen->faulty || !listen->set)
        return;
    if (listen->count == 0) {
        check_error(check, check->group, "listen", &listen->origin, "there is no address in the list");
    } else if (listen->count > SETTINGS_MAX_LISTEN) {
        check_error(check, check->group, "listen", &listen->origin, "more than 64 addresses");
    } else {
        settings->listen = calloc(listen->count, sizeof *settings->listen);
        if (settings->listen == NULL) {
            problem_memory(check->parsed->problems);
            return;
        }
        for (size_t i = 0; i < listen->count; i++)
            check_listen_item(check, &listen->items[i]);
    }
}

/* Whether there may be sockets of that kind; systemd can pass both. */
static bool listens_on(const struct listener_settings *settings, bool unix_sockets)
{
    for (size_t i = 0; i < settings->listen_count; i++)
        if (settings->listen[i].kind == ENDPOINT_SYSTEMD ||
            (settings->listen[i].kind == ENDPOINT_UNIX) == unix_sockets)
            return true;
    return false;
}

/* Keys that have no effect with these addresses are worth a word, unless they come from `defaults`. */
static void check_idle_keys(const struct check *check)
{
    static const struct {
        const char *key;
        bool of_unix_sockets;
        bool of_clients; /* of their addresses, not of sockets */
    } idle[] = {
        { "unix_mode", true, false },   { "unix_user", true, false },
        { "unix_group", true, false },  { "ipv6_only", false, false },
        { "reuse_port", false, false }, { "blocklist", false, true },
        { "allowlist", false, true },   { "max_connections_per_address", false, true },
    };
    if (check->settings->listen_count == 0)
        return;
    /* Clients that a proxy brings have addresses, whatever the proxy comes through. */
    bool has_addresses = listens_on(check->settings, false) || check->settings->unix_peers_are_proxies;
    for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++)
        if (check_is_asked_for(check->group, keys_find(&keys_listener, idle[i].key, NULL)) &&
            !(idle[i].of_unix_sockets ? listens_on(check->settings, true)
              : idle[i].of_clients    ? has_addresses
                                      : listens_on(check->settings, false)))
            check_warning(check, check->group, idle[i].key, &parsed_peek(check->group, idle[i].key)->origin,
                          idle[i].of_unix_sockets ? "has no effect: there is no unix socket in listen"
                                                  : "has no effect: there are only unix sockets in listen");
}

static void check_unix(struct check *check)
{
    struct unix_settings *unix_socket = &check->settings->unix_socket;
    const struct parsed_value *mode = parsed_peek(check->group, "unix_mode");
    const struct parsed_value *user = parsed_peek(check->group, "unix_user");
    const struct parsed_value *group = parsed_peek(check->group, "unix_group");
    char subject[SUBJECT_SIZE];
    unix_socket->user = (uid_t)-1;
    unix_socket->group = (gid_t)-1;
    if (mode->string != NULL) {
        size_t length = strlen(mode->string);
        unsigned long bits = strtoul(mode->string, NULL, 8);
        if (length == 0 || length > 4 || strspn(mode->string, "01234567") != length || bits > 0777)
            check_error(check, check->group, "unix_mode", &mode->origin,
                        "permissions are an octal string from \"0000\" to \"0777\", such as \"0660\"");
        unix_socket->mode = (mode_t)bits;
    }
    if (user->set)
        users_find_user(check->parsed, user, subject_of(check, check->group, "unix_user", subject),
                        &unix_socket->user, NULL);
    if (group->set)
        users_find_group(check->parsed, group, subject_of(check, check->group, "unix_group", subject),
                         &unix_socket->group);
}

/* The address of a target, from `address` or from `host` and `port`. */
static bool check_target_address(struct check *check, const struct parsed_group *target,
                                 struct endpoint *endpoint)
{
    char subject[SUBJECT_SIZE];
    char reason[REASON_SIZE];
    const struct parsed_value *address = parsed_peek(target, "address");
    const struct parsed_value *host = parsed_peek(target, "host");
    const struct parsed_value *port = parsed_peek(target, "port");
    const struct parsed_value *culprit = address->set ? address : host;
    bool success = false;
    if (address->faulty || host->faulty || port->faulty)
        return false;
    if (address->set && (host->set || port->set)) {
        culprit = host->set ? host : port;
        snprintf(reason, sizeof reason, "host and port do not go with address");
    } else if (address->set) {
        success = endpoint_parse(address->string, endpoint, reason, sizeof reason);
    } else if (host->set && port->set) {
        success = endpoint_make(host->string, port->number, endpoint, reason, sizeof reason);
    } else {
        snprintf(reason, sizeof reason, "is required%s",
                 host->set   ? " with host"
                 : port->set ? " with port"
                             : "");
    }
    if (success && endpoint->kind == ENDPOINT_ANY) {
        endpoint_free(endpoint);
        success = false;
        snprintf(reason, sizeof reason, "\"*\" can be listened on, but not connected to");
    }
    const char *key = address->set              ? "address"
                      : host->set && !port->set ? "port"
                      : port->set               ? "host"
                                                : "address";
    if (address->set && culprit != address)
        key = host->set ? "host" : "port";
    if (!success)
        problem_error(check->parsed->problems, culprit->set ? &culprit->origin : &target->origin,
                      subject_of(check, target, key, subject), "%s", reason);
    return success;
}

static void check_target(struct check *check, const struct parsed_group *group)
{
    char text[REASON_SIZE];
    char subject[SUBJECT_SIZE];
    struct listener_settings *settings = check->settings;
    struct target_settings *target = &settings->targets[settings->target_count];
    if (!check_target_address(check, group, &target->endpoint))
        return;
    for (size_t i = 0; i < settings->target_count; i++)
        if (endpoint_equal(&settings->targets[i].endpoint, &target->endpoint) &&
            group->origin.kind == ORIGIN_FILE)
            problem_warning(check->parsed->problems, &group->origin,
                            subject_of(check, group, "address", subject),
                            "%s is named twice; a weight says it better", settings->targets[i].name);
    target->name = strdup(endpoint_print(&target->endpoint, text, sizeof text));
    if (target->name == NULL)
        problem_memory(check->parsed->problems);
    store_group(check, group, target);
    settings->target_count++;
}

/* What is strange about targets that are right one by one. */
static void check_targets_together(const struct check *check)
{
    const struct listener_settings *settings = check->settings;
    size_t working = 0;
    size_t backups = 0;
    for (size_t i = 0; i < settings->target_count; i++) {
        working += settings->targets[i].weight > 0;
        backups += settings->targets[i].backup;
    }
    if (settings->target_count == 0)
        return;
    if (working == 0)
        check_warning(check, check->group, "targets", &check->group->children_origin,
                      "every target has weight 0: no client will be served");
    if (backups == settings->target_count)
        check_warning(check, check->group, "targets", &check->group->children_origin,
                      "every target is a backup");
}

static void check_targets(struct check *check)
{
    const struct parsed_group *group = check->group;
    struct listener_settings *settings = check->settings;
    if (!group->children_set) {
        if (!group->children_faulty)
            check_error(check, check->group, "targets", &group->origin, "is required");
    } else if (group->child_count == 0) {
        if (!group->children_faulty)
            check_error(check, check->group, "targets", &group->children_origin,
                        "there is no target in the list");
    } else if (group->child_count > SETTINGS_MAX_TARGETS) {
        check_error(check, check->group, "targets", &group->children_origin, "more than 64 targets");
    } else {
        settings->targets = calloc(group->child_count, sizeof *settings->targets);
        if (settings->targets == NULL) {
            problem_memory(check->parsed->problems);
            return;
        }
        for (size_t i = 0; i < group->child_count; i++)
            check_target(check, group->children[i]);
        check_targets_together(check);
    }
}

/* Passes the faults of a list on. */
struct list_check {
    const struct check *check;
    const char *key;
};

static void list_fault(void *data, const char *file, unsigned line, const char *message)
{
    const struct list_check *list = data;
    char subject[SUBJECT_SIZE];
    struct origin origin = parsed_peek(list->check->group, list->key)->origin;
    if (file != NULL)
        origin = (struct origin){ .kind = ORIGIN_FILE, .name = file, .line = line };
    problem_error(list->check->parsed->problems, &origin,
                  subject_of(list->check, list->check->group, list->key, subject), "%s", message);
}

/* `has_unix` (NULL: not allowed) tells whether the entry "unix" is there, which is no address. */
static struct access_list *check_access_list(const struct check *check, const char *key, bool *has_unix)
{
    const struct parsed_value *value = parsed_peek(check->group, key);
    struct list_check list = { .check = check, .key = key };
    if (!value->set)
        return NULL;
    const char **entries = calloc(value->count + 1, sizeof(const char *));
    if (entries == NULL) {
        problem_memory(check->parsed->problems);
        return NULL;
    }
    size_t count = 0;
    for (size_t i = 0; i < value->count; i++) {
        const char *entry = value->items[i].text;
        if (has_unix != NULL && strcmp(entry, "unix") == 0) {
            *has_unix = true;
            continue;
        }
        entries[count++] = entry;
        if (strncmp(entry, "file:", 5) == 0)
            parsed_note_file(check->parsed, entry + 5);
    }
    struct access_list *built = access_list_build(entries, count, list_fault, &list);
    free(entries);
    return built;
}

/* Senders that can't come, for nothing they could come through is listened on. */
static void check_proxies(const struct check *check)
{
    const struct listener_settings *settings = check->settings;
    const struct parsed_value *proxies = parsed_peek(check->group, "accept_proxy_protocol");
    if (!proxies->set || proxies->inherited || settings->proxies == NULL || settings->listen_count == 0)
        return;
    if (access_list_size(settings->proxies) == 0 && !settings->unix_peers_are_proxies)
        check_warning(check, check->group, "accept_proxy_protocol", &proxies->origin,
                      "is empty: nobody's PROXY header is believed");
    if (settings->unix_peers_are_proxies && !listens_on(settings, true))
        check_warning(check, check->group, "accept_proxy_protocol", &proxies->origin,
                      "\"unix\" has no effect: there is no unix socket in listen");
    if (access_list_size(settings->proxies) > 0 && !listens_on(settings, false))
        check_warning(check, check->group, "accept_proxy_protocol", &proxies->origin,
                      "addresses have no effect: there are only unix sockets in listen");
}

static void check_lists(struct check *check)
{
    const struct parsed_value *allowlist = parsed_peek(check->group, "allowlist");
    struct listener_settings *settings = check->settings;
    settings->blocklist = check_access_list(check, "blocklist", NULL);
    settings->allowlist = check_access_list(check, "allowlist", NULL);
    settings->proxies = check_access_list(check, "accept_proxy_protocol", &settings->unix_peers_are_proxies);
    if (allowlist->set && settings->allowlist != NULL && access_list_size(settings->allowlist) == 0)
        check_warning(check, check->group, "allowlist", &allowlist->origin,
                      "is empty: no client will be let in");
    check_proxies(check);
}

static void check_times(struct check *check)
{
    struct listener_settings *settings = check->settings;
    const struct parsed_value *retry_min = parsed_peek(check->group, "retry_min");
    const struct parsed_value *retry_max = parsed_peek(check->group, "retry_max");
    if (settings->retry_min > settings->retry_max)
        check_error(check, check->group, "retry_min",
                    retry_min->origin.kind == ORIGIN_DEFAULT ? &retry_max->origin : &retry_min->origin,
                    "is longer than retry_max");
}

struct listener_settings *check_listener(struct parsed_configuration *parsed, struct parsed_group *listener)
{
    size_t errors = parsed->problems->errors;
    const char *name = parsed_peek(listener, "name")->string;
    struct listener_settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        problem_memory(parsed->problems);
        return NULL;
    }
    settings->references = 1;
    struct check check = {
        .parsed = parsed,
        .group = listener,
        .name = name == NULL ? "?" : name,
        .settings = settings,
    };
    check_name(&check);
    check_listen(&check);
    store_group(&check, listener, settings);
    check_targets(&check);
    check_mode(&check);
    check_protocol(&check);
    check_mode_fits(&check);
    check_unix(&check);
    check_lists(&check);
    check_times(&check);
    check_idle_keys(&check);
    if (parsed->problems->errors == errors)
        return settings;
    listener_settings_release(settings);
    return NULL;
}

/* Whether only this machine can get there. A name is looked up when it is bound; the usual one is known. */
static bool is_local(const struct endpoint *endpoint)
{
    switch (endpoint->kind) {
    case ENDPOINT_UNIX:
    case ENDPOINT_SYSTEMD: /* whoever configures the socket there decides */
        return true;
    case ENDPOINT_NUMERIC:
        return address_is_loopback(&endpoint->address);
    case ENDPOINT_NAME:
        return strcasecmp(endpoint->host, "localhost") == 0;
    case ENDPOINT_ANY:
        break;
    }
    return false;
}

static void check_admin_reach(const struct check *check)
{
    const struct parsed_value *listen = parsed_peek(check->group, "listen");
    for (size_t i = 0; i < check->settings->listen_count; i++)
        if (!is_local(&check->settings->listen[i]))
            check_warning(check, check->group, "listen", &listen->items[i].origin,
                          "other machines can get there: all who do see the configuration and the traffic");
}

/* Keys that mean something only with an address of that kind. */
static void check_admin_idle(const struct check *check)
{
    static const char *const keys[] = { "unix_mode", "unix_user", "unix_group", "allowlist" };
    const struct listener_settings *settings = check->settings;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        bool is_unix = strncmp(keys[i], "unix_", 5) == 0;
        if (check_is_asked_for(check->group, keys_find(&keys_admin, keys[i], NULL)) &&
            (settings->listen_count == 0 || !listens_on(settings, is_unix)))
            check_warning(check, check->group, keys[i], &parsed_peek(check->group, keys[i])->origin,
                          is_unix ? "has no effect: there is no unix socket in admin.listen"
                                  : "has no effect: there is no other than a unix socket in admin.listen");
    }
}

struct listener_settings *check_admin(struct parsed_configuration *parsed)
{
    size_t errors = parsed->problems->errors;
    struct listener_settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        problem_memory(parsed->problems);
        return NULL;
    }
    settings->references = 1;
    settings->backlog = ADMIN_BACKLOG;
    settings->max_connections = -1;
    settings->max_connections_per_address = -1;
    settings->name = strdup("admin");
    if (settings->name == NULL)
        problem_memory(parsed->problems);
    struct check check = { .parsed = parsed, .group = parsed->admin, .settings = settings };
    check_listen(&check);
    check_unix(&check);
    settings->allowlist = check_access_list(&check, "allowlist", NULL);
    check_admin_reach(&check);
    check_admin_idle(&check);
    if (parsed->problems->errors == errors && settings->listen_count > 0)
        return settings;
    listener_settings_release(settings);
    return NULL;
}
