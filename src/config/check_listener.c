/* One listener: from its keys, each right by itself, to settings that make sense together. */
#include "config/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Of the sockets of admin. */
#define ADMIN_BACKLOG 128

static void check_name(const struct check *check)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *name = parsed_get(check->group, "name")->string;
    if (name == NULL)
        return; /* that it is required is said elsewhere */
    if (*name == '\0' || strspn(name, allowed) != strlen(name))
        check_error(check, "name", "a name consists of letters, digits and the characters -_.");
    else if (strlen(name) > 64)
        check_error(check, "name", "a name has 64 characters at most");
}

static bool is_listened_on(const struct listener_settings *settings, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < settings->listen_count; i++)
        if (endpoint_equal(&settings->listen[i], endpoint))
            return true;
    return false;
}

static void check_listen_item(const struct check *check, const struct parsed_item *item)
{
    struct listener_settings *settings = check->settings;
    char reason[REASON_SIZE];
    struct endpoint endpoint = { 0 };
    bool is_right = strncmp(item->text, "systemd:", 8) == 0
                        ? endpoint_make_systemd(item->text + 8, &endpoint, reason, sizeof reason)
                        : endpoint_parse(item->text, &endpoint, reason, sizeof reason);
    if (!is_right) {
        check_report(check, true, check->group, "listen", &item->origin, "%s", reason);
    } else if (is_listened_on(settings, &endpoint)) {
        check_report(check, true, check->group, "listen", &item->origin, "\"%.200s\" is named twice",
                     item->text);
        endpoint_free(&endpoint);
    } else {
        settings->listen[settings->listen_count++] = endpoint;
    }
}

static void check_listen(const struct check *check)
{
    struct listener_settings *settings = check->settings;
    const struct parsed_value *listen = parsed_get(check->group, "listen");
    if (listen->faulty || !listen->set)
        return;
    if (listen->count == 0 || listen->count > SETTINGS_MAX_LISTEN) {
        check_error(check, "listen",
                    listen->count == 0 ? "there is no address in the list" : "more than 64 addresses");
        return;
    }
    settings->listen = calloc(listen->count, sizeof *settings->listen);
    if (settings->listen == NULL) {
        problem_memory(check->parsed->problems);
        return;
    }
    for (size_t i = 0; i < listen->count; i++)
        check_listen_item(check, &listen->items[i]);
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

/* Keys of a listener, or of admin, that have no effect with these addresses are worth a word, unless they come from
 * `defaults`. */
static void check_idle_keys(const struct check *check)
{
    enum kind { OF_UNIX_SOCKETS, OF_OTHER_SOCKETS, OF_ADDRESSES };
    static const struct {
        const char *key;
        enum kind kind;
    } idle[] = {
        { "unix_mode", OF_UNIX_SOCKETS },
        { "unix_user", OF_UNIX_SOCKETS },
        { "unix_group", OF_UNIX_SOCKETS },
        { "ipv6_only", OF_OTHER_SOCKETS },
        { "reuse_port", OF_OTHER_SOCKETS },
        { "blocklist", OF_ADDRESSES },
        { "allowlist", OF_ADDRESSES },
        { "max_connections_per_address", OF_ADDRESSES },
        { "connection_rate_per_address", OF_ADDRESSES },
        { "request_rate_per_address", OF_ADDRESSES },
    };
    const struct key_scope *scope = check->group->scope;
    const struct listener_settings *settings = check->settings;
    const bool effective[] = {
        [OF_UNIX_SOCKETS] = listens_on(settings, true),
        [OF_OTHER_SOCKETS] = listens_on(settings, false),
        /* Clients that a proxy brings have addresses, whatever the proxy comes through. */
        [OF_ADDRESSES] = listens_on(settings, false) || settings->unix_peers_are_proxies,
    };
    if (scope == &keys_listener && settings->listen_count == 0)
        return;
    for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++) {
        const struct key *key = keys_find(scope, idle[i].key, NULL);
        if (key != NULL && !effective[idle[i].kind] && parsed_is_asked_for(check->group, key))
            check_warning(check, key->name, "has no effect: there %s in %slisten",
                          idle[i].kind == OF_UNIX_SOCKETS ? "is no unix socket"
                          : scope == &keys_listener       ? "are only unix sockets"
                                                          : "is no other than a unix socket",
                          scope->subject);
    }
}

static void check_unix(const struct check *check)
{
    struct unix_settings *unix_socket = &check->settings->unix_socket;
    const char *mode = parsed_get(check->group, "unix_mode")->string;
    *unix_socket = (struct unix_settings){ .user = (uid_t)-1, .group = (gid_t)-1 };
    if (mode != NULL) {
        size_t length = strlen(mode);
        unsigned long bits = strtoul(mode, NULL, 8);
        if (length == 0 || length > 4 || strspn(mode, "01234567") != length || bits > 0777)
            check_error(check, "unix_mode",
                        "permissions are an octal string from \"0000\" to \"0777\", such as \"0660\"");
        unix_socket->mode = (mode_t)bits;
    }
    check_user(check, "unix_user", &unix_socket->user, NULL);
    check_user_group(check, "unix_group", &unix_socket->group);
}

/* The address of a target, from `address` or from `host` and `port`. */
static bool check_target_address(const struct check *check, const struct parsed_group *target,
                                 struct endpoint *endpoint)
{
    char reason[REASON_SIZE];
    const struct parsed_value *address = parsed_get(target, "address");
    const struct parsed_value *host = parsed_get(target, "host");
    const struct parsed_value *port = parsed_get(target, "port");
    const char *key = address->set || !(host->set || port->set) ? "address" : "host";
    bool success = false;
    if (address->faulty || host->faulty || port->faulty)
        return false;
    if (address->set && (host->set || port->set)) {
        key = host->set ? "host" : "port";
        snprintf(reason, sizeof reason, "host and port do not go with address");
    } else if (address->set) {
        success = endpoint_parse(address->string, endpoint, reason, sizeof reason);
    } else if (host->set && port->set) {
        success = endpoint_make(host->string, port->number, endpoint, reason, sizeof reason);
    } else if (host->set) {
        key = "port";
        snprintf(reason, sizeof reason, "is required with host");
    } else {
        snprintf(reason, sizeof reason, "is required%s", port->set ? " with port" : "");
    }
    if (success && endpoint->kind == ENDPOINT_ANY) {
        endpoint_free(endpoint);
        success = false;
        snprintf(reason, sizeof reason, "\"*\" can be listened on, but not connected to");
    }
    if (success && endpoint->kind == ENDPOINT_NUMERIC) { /* IPv4 is the same when it is written as IPv6 */
        struct address written = endpoint->address;
        address_from_socket(&written.any, &endpoint->address);
    }
    const struct parsed_value *place = parsed_get(target, key)->set ? parsed_get(target, key) : host;
    if (!success)
        check_report(check, true, target, key, place->set ? &place->origin : &target->origin, "%s", reason);
    return success;
}

static void check_target(const struct check *check, const struct parsed_group *group)
{
    char text[REASON_SIZE];
    struct listener_settings *settings = check->settings;
    struct target_settings *target = &settings->targets[settings->target_count];
    if (!check_target_address(check, group, &target->endpoint))
        return;
    for (size_t i = 0; i < settings->target_count; i++)
        if (endpoint_equal(&settings->targets[i].endpoint, &target->endpoint) &&
            group->origin.kind == ORIGIN_FILE)
            check_report(check, false, group, "address", &group->origin,
                         "%s is named twice; a weight says it better", settings->targets[i].name);
    target->name = strdup(endpoint_print(&target->endpoint, text, sizeof text));
    if (target->name == NULL)
        problem_memory(check->parsed->problems);
    check_store(check, group, target);
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
    if (settings->target_count > 0 && working == 0)
        check_warning(check, "targets", "every target has weight 0: no client will be served");
    if (settings->target_count > 0 && backups == settings->target_count)
        check_warning(check, "targets", "every target is a backup");
}

static void check_targets(const struct check *check)
{
    const struct parsed_group *group = check->group;
    const struct parsed_value *targets = parsed_get(group, "targets");
    struct listener_settings *settings = check->settings;
    if (group->child_count == 0) {
        if (!targets->faulty)
            check_error(check, "targets", targets->set ? "there is no target in the list" : "is required");
        return;
    }
    if (group->child_count > SETTINGS_MAX_TARGETS) {
        check_error(check, "targets", "more than 64 targets");
        return;
    }
    settings->targets = calloc(group->child_count, sizeof *settings->targets);
    if (settings->targets == NULL) {
        problem_memory(check->parsed->problems);
        return;
    }
    for (size_t i = 0; i < group->child_count; i++)
        check_target(check, group->children[i]);
    check_targets_together(check);
}

/* Passes the faults of a list on. */
struct list_check {
    const struct check *check;
    const char *key;
};

static void list_fault(void *data, const char *file, unsigned line, const char *message)
{
    const struct list_check *list = data;
    const struct origin origin = { .kind = ORIGIN_FILE, .name = file, .line = line };
    check_report(list->check, true, list->check->group, list->key, file == NULL ? NULL : &origin, "%s",
                 message);
}

/* `has_unix` (NULL: not allowed) tells whether the entry "unix" is there, which is no address. */
static struct access_list *check_access_list(const struct check *check, const char *key, bool *has_unix)
{
    const struct parsed_value *value = parsed_get(check->group, key);
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
    const struct parsed_value *proxies = parsed_get(check->group, "accept_proxy_protocol");
    if (!proxies->set || proxies->inherited || settings->proxies == NULL || settings->listen_count == 0)
        return;
    if (access_list_size(settings->proxies) == 0 && !settings->unix_peers_are_proxies)
        check_warning(check, "accept_proxy_protocol", "is empty: nobody's PROXY header is believed");
    if (settings->unix_peers_are_proxies && !listens_on(settings, true))
        check_warning(check, "accept_proxy_protocol",
                      "\"unix\" has no effect: there is no unix socket in listen");
    if (access_list_size(settings->proxies) > 0 && !listens_on(settings, false))
        check_warning(check, "accept_proxy_protocol",
                      "addresses have no effect: there are only unix sockets in listen");
}

static void check_lists(const struct check *check)
{
    struct listener_settings *settings = check->settings;
    settings->blocklist = check_access_list(check, "blocklist", NULL);
    settings->allowlist = check_access_list(check, "allowlist", NULL);
    settings->proxies = check_access_list(check, "accept_proxy_protocol", &settings->unix_peers_are_proxies);
    if (settings->allowlist != NULL && access_list_size(settings->allowlist) == 0)
        check_warning(check, "allowlist", "is empty: no client will be let in");
    check_proxies(check);
}

static void check_times(const struct check *check)
{
    const struct parsed_value *retry_min = parsed_get(check->group, "retry_min");
    if (check->settings->retry_min > check->settings->retry_max)
        check_report(check, true, check->group, "retry_min",
                     retry_min->origin.kind == ORIGIN_DEFAULT ? &parsed_get(check->group, "retry_max")->origin
                                                              : NULL,
                     "is longer than retry_max");
}

static struct listener_settings *check_new_listener(struct parsed_configuration *parsed)
{
    struct listener_settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL)
        problem_memory(parsed->problems);
    else
        settings->references = 1;
    return settings;
}

/* What a listener has that has targets of its own. */
static void check_target_side(struct check *check)
{
    check_targets(check);
    check_mode(check);
    check_protocol(check);
    check_mode_fits(check);
    check_checks(check);
    check_times(check);
}

struct listener_settings *check_listener(struct parsed_configuration *parsed, struct parsed_group *listener,
                                         struct listener_settings *const *listeners)
{
    size_t errors = parsed->problems->errors;
    const char *name = parsed_get(listener, "name")->string;
    struct check check = { .parsed = parsed, .group = listener, .name = name == NULL ? "?" : name };
    check.settings = check_new_listener(parsed);
    if (check.settings == NULL)
        return NULL;
    check_name(&check);
    check_listen(&check);
    check_store(&check, listener, check.settings);
    if (check_is_door(listener))
        check_door(&check, listeners);
    else
        check_target_side(&check);
    check_unix(&check);
    check_lists(&check);
    check_idle_keys(&check);
    if (parsed->problems->errors == errors)
        return check.settings;
    listener_settings_release(check.settings);
    return NULL;
}

/* Whether only this machine can get there. A name is looked up when it is bound; the usual one is known; of a
 * socket that systemd passes whoever configures it there decides. */
static bool is_local(const struct endpoint *endpoint)
{
    return endpoint->kind == ENDPOINT_UNIX || endpoint->kind == ENDPOINT_SYSTEMD ||
           (endpoint->kind == ENDPOINT_NUMERIC && address_is_loopback(&endpoint->address)) ||
           (endpoint->kind == ENDPOINT_NAME && strcasecmp(endpoint->host, "localhost") == 0);
}

static void check_admin_reach(const struct check *check)
{
    const struct parsed_value *listen = parsed_get(check->group, "listen");
    for (size_t i = 0; i < check->settings->listen_count; i++)
        if (!is_local(&check->settings->listen[i]))
            check_report(check, false, check->group, "listen", &listen->items[i].origin,
                         "other machines can get there: all who do see the configuration and the traffic");
}

struct listener_settings *check_admin(struct parsed_configuration *parsed)
{
    size_t errors = parsed->problems->errors;
    struct listener_settings *settings = check_new_listener(parsed);
    const struct check check = { .parsed = parsed, .group = parsed->admin, .settings = settings };
    if (settings == NULL)
        return NULL;
    settings->name = strdup("admin");
    if (settings->name == NULL)
        problem_memory(parsed->problems);
    settings->backlog = ADMIN_BACKLOG;
    settings->max_connections = -1;
    settings->max_connections_per_address = -1;
    check_listen(&check);
    check_unix(&check);
    settings->allowlist = check_access_list(&check, "allowlist", NULL);
    check_admin_reach(&check);
    check_idle_keys(&check);
    if (parsed->problems->errors == errors && settings->listen_count > 0)
        return settings;
    listener_settings_release(settings);
    return NULL;
}
