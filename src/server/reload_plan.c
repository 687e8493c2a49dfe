#include "base/log.h"
#include "server/privileges.h"
#include "server/server_state.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* One listener of the new configuration. */
struct plan_entry {
    struct listener_settings *settings;
    const struct bind_wishes *wishes;
    const struct listener_changes *changes;
    struct bound_sockets bound;
    struct listener *listener; /* the running one of that name, or the new one; NULL: not there yet */
    bool is_new;
    bool is_kept; /* as it is: it goes on without noticing */
    bool is_prepared;
};

/* A socket that runs. */
struct plan_socket {
    struct bound_socket *socket;
    const struct listener *listener;
};

struct reload_plan {
    struct server *server;
    struct reload_found *found;
    struct events *events; /* those that go with the new settings */
    bool has_new_events;
    struct plan_entry *entries;
    size_t count;
    const struct listener *binding; /* whose sockets are being bound; NULL: a new one */
    struct plan_socket *sockets;    /* all that run, in the order of plan_compare() */
    size_t socket_count;
    size_t wanted;         /* sockets there will be */
    size_t descriptors;    /* reserved for sockets that come in addition */
    struct listener **all; /* room for all listeners there may be */
    struct log_file *log;  /* the new output; NULL: it stays */
};

static void plan_fail(struct reload_plan *plan, const char *source, const char *error)
{
    plan->found->errors++;
    log_error(source, "%s", error);
}

/* ---- Sockets that run ---- */

/* Compares paths, or ports; paths come after ports. */
static int plan_compare(const void *a, const void *b)
{
    const struct bound_socket *one = ((const struct plan_socket *)a)->socket;
    const struct bound_socket *other = ((const struct plan_socket *)b)->socket;
    if (one->path != NULL && other->path != NULL)
        return strcmp(one->path, other->path);
    if (one->path != NULL || other->path != NULL)
        return one->path != NULL ? 1 : -1;
    return (int)address_port(&one->address) - (int)address_port(&other->address);
}

/* The running sockets that compare equal to this one. */
static struct plan_socket *plan_range(const struct reload_plan *plan, struct bound_socket *like,
                                      size_t *count)
{
    const struct plan_socket wanted = { .socket = like };
    struct plan_socket *first =
        bsearch(&wanted, plan->sockets, plan->socket_count, sizeof wanted, plan_compare);
    struct plan_socket *end = first;
    while (first != NULL && first > plan->sockets && plan_compare(first - 1, &wanted) == 0)
        first--;
    while (end != NULL && end < plan->sockets + plan->socket_count && plan_compare(end, &wanted) == 0)
        end++;
    *count = (size_t)(end - first);
    return first;
}

/* The running socket that is wished for, one of this listener's own if there is a choice. Sockets come to be
 * wanted one after the other, and then to be taken: `is_wanted` is the state that is looked for. NULL: none. */
static const struct plan_socket *plan_search(const struct reload_plan *plan, const struct listener *own,
                                             const struct listener_settings *settings,
                                             const struct bind_wish *wish, bool is_wanted)
{
    struct bound_socket like = {
        .address = wish->address,
        .path = wish->address.family == AF_UNIX ? settings->listen[wish->entry].host : NULL,
    };
    const struct plan_socket *found = NULL;
    size_t count = plan->socket_count; /* a name of systemd may be that of any */
    const struct plan_socket *range =
        wish->address.family == AF_UNSPEC ? plan->sockets : plan_range(plan, &like, &count);
    for (size_t i = 0; i < count; i++) {
        const struct bound_socket *socket = range[i].socket;
        if (socket->is_wanted != is_wanted || socket->is_taken || !bind_matches(socket, settings, wish))
            continue;
        if (range[i].listener == own)
            return &range[i];
        if (found == NULL)
            found = &range[i];
    }
    return found;
}

/* All sockets that stay are known before the first new one is bound: only those that go may be overlapped. A
 * listener with which nothing changes, and whose sockets are those that are wished for, is kept. */
static void plan_want(const struct reload_plan *plan, struct plan_entry *entry)
{
    size_t own = 0;
    bool is_found = true;
    for (size_t i = 0; i < entry->wishes->count; i++) {
        const struct bind_wish *wish = &entry->wishes->wishes[i];
        const struct plan_socket *found = plan_search(plan, entry->listener, entry->settings, wish, false);
        is_found = is_found && found != NULL;
        while (found != NULL) {
            found->socket->is_wanted = true;
            own += found->listener == entry->listener;
            if (wish->address.family != AF_UNSPEC)
                break; /* only a name has several */
            found = plan_search(plan, entry->listener, entry->settings, wish, false);
        }
    }
    if (entry->is_new || plan->has_new_events || entry->changes->keys[0] != '\0' || !is_found ||
        listener_services_differ(listener_get_settings(entry->listener), entry->settings))
        return;
    struct bound_sockets *bound = listener_sockets(entry->listener);
    entry->is_kept = own == bound->count;
    for (size_t i = 0; entry->is_kept && i < bound->count; i++)
        bound->sockets[i].is_taken = true;
}

static struct bound_socket *plan_find(void *data, const struct listener_settings *settings,
                                      const struct bind_wish *wish)
{
    const struct reload_plan *plan = data;
    const struct plan_socket *found = plan_search(plan, plan->binding, settings, wish, true);
    if (found == NULL)
        return NULL;
    found->socket->is_taken = true;
    return found->socket;
}

static bool plan_make_way(void *data, const struct bind_wish *wish)
{
    struct bound_socket like = { .address = wish->address };
    bool is_made = false;
    size_t count;
    const struct plan_socket *range = plan_range(data, &like, &count);
    for (size_t i = 0; i < count; i++) {
        if (range[i].socket->is_wanted)
            continue;
        socket_set_reuse_port(range[i].socket->descriptor, true);
        is_made = true;
    }
    return is_made;
}

static void plan_forget_sockets(const struct reload_plan *plan)
{
    for (size_t i = 0; i < plan->socket_count; i++) {
        struct bound_socket *socket = plan->sockets[i].socket;
        if (!socket->is_wanted && socket->path == NULL)
            socket_set_reuse_port(socket->descriptor, socket->reuse_port);
        socket->is_wanted = false;
        socket->is_taken = false;
    }
}

static void plan_bind(struct reload_plan *plan, struct plan_entry *entry)
{
    const struct settings *settings = plan->server->config->settings; /* `user` stays who it was */
    struct inherited none = { 0 };
    const struct bind_running running = { .find = plan_find, .make_way = plan_make_way, .data = plan };
    const struct bind_means means = {
        .user = privileges_user(settings),
        .group = privileges_group(settings),
        .inherited = &none,
        .running = &running,
    };
    char error[ERROR_SIZE];
    plan->binding = entry->listener;
    if (!bind_open(entry->settings, entry->wishes, &means, &entry->bound, error, sizeof error))
        plan_fail(plan, entry->settings->name, error);
}

/* ---- Making ---- */

static void plan_prepare(struct reload_plan *plan, struct plan_entry *entry)
{
    size_t place = settings_find_shared(plan->found->config.settings, entry->settings);
    struct listener *shared = place == SIZE_MAX ? NULL : plan->entries[place].listener;
    if (place != SIZE_MAX && shared == NULL)
        return; /* what is wrong there was said */
    if (entry->is_new) {
        entry->listener = listener_create(&plan->server->runtime, entry->settings, plan->events,
                                          &entry->bound, shared, drain_listener_emptied, plan->server, NULL);
        entry->is_prepared = entry->listener != NULL;
    } else {
        entry->is_prepared = listener_prepare(entry->listener, entry->settings, plan->events, shared);
    }
    if (!entry->is_prepared)
        plan_fail(plan, entry->settings->name, strerror(errno));
}

static bool plan_list_sockets(struct reload_plan *plan)
{
    struct listener **running = server_running(plan->server);
    size_t listeners = plan->server->listeners.running;
    size_t count = 0;
    for (size_t i = 0; i < listeners; i++)
        count += listener_sockets(running[i])->count;
    plan->sockets = calloc(count, sizeof *plan->sockets);
    for (size_t i = 0; plan->sockets != NULL && i < listeners; i++) {
        struct bound_sockets *bound = listener_sockets(running[i]);
        for (size_t k = 0; k < bound->count; k++)
            plan->sockets[plan->socket_count++] = (struct plan_socket){ &bound->sockets[k], running[i] };
    }
    if (plan->sockets != NULL)
        qsort(plan->sockets, count, sizeof *plan->sockets, plan_compare);
    return plan->sockets != NULL;
}

static bool plan_allocate(struct reload_plan *plan)
{
    const struct listeners *listeners = &plan->server->listeners;
    size_t before = listeners->leaving + listeners->running;
    for (size_t i = 0; i < before; i++)
        listener_hurry_closing(listeners->all[i]);
    plan->entries = calloc(plan->count, sizeof *plan->entries);
    plan->all = calloc(before + plan->count, sizeof(struct listener *));
    if (!plan_list_sockets(plan) || plan->entries == NULL || plan->all == NULL) {
        plan_fail(plan, NULL, strerror(errno));
        return false;
    }
    for (size_t i = 0; i < plan->count; i++) {
        struct plan_entry *entry = &plan->entries[i];
        entry->settings = plan->found->config.settings->listeners[i];
        entry->wishes = &plan->found->wishes[i];
        entry->changes = &plan->found->changes.listeners[i];
        entry->is_new = entry->changes->before == SIZE_MAX;
        entry->listener = entry->is_new ? NULL : server_running(plan->server)[entry->changes->before];
    }
    return true;
}

/* Sockets that listen are descriptors too. */
static void plan_reserve(struct reload_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct plan_entry *entry = &plan->entries[i];
        plan->wanted += entry->is_kept ? listener_sockets(entry->listener)->count : entry->bound.count;
    }
    if (plan->wanted <= plan->socket_count)
        return;
    if (descriptors_reserve(&plan->server->runtime.descriptors, plan->wanted - plan->socket_count))
        plan->descriptors = plan->wanted - plan->socket_count;
    else
        plan_fail(plan, NULL, strerror(EMFILE));
}

/* The log, and modules: those that are as they were go on, else new instances take the place of the old ones, which
 * stay until the last client that they were told of has gone. */
static void plan_make_shared(struct reload_plan *plan)
{
    char error[ERROR_SIZE];
    if (!log_prepare(&plan->found->config.settings->log, &plan->log, error, sizeof error))
        plan_fail(plan, NULL, error);
    if (plan->found->errors > 0)
        return;
    plan->events = events_reference(plan->has_new_events ? plan->found->events : plan->server->events);
    if (plan->has_new_events && !events_start(plan->events, error, sizeof error))
        plan_fail(plan, NULL, error);
}

/* A step is done for all listeners even if it fails for one, so that all errors are logged. */
static void plan_make_all(struct reload_plan *plan)
{
    if (!plan_allocate(plan))
        return;
    for (size_t i = 0; i < plan->count; i++)
        plan_want(plan, &plan->entries[i]);
    for (size_t i = 0; i < plan->count; i++)
        if (!plan->entries[i].is_kept)
            plan_bind(plan, &plan->entries[i]);
    plan_make_shared(plan);
    if (plan->found->errors > 0)
        return;
    plan_reserve(plan);
    for (int doors = 0; doors < 2; doors++) /* listeners before those that share their targets */
        for (size_t i = 0; i < plan->count; i++)
            if (!plan->entries[i].is_kept && (plan->entries[i].settings->shared != NULL) == (doors == 1))
                plan_prepare(plan, &plan->entries[i]);
}

static void plan_roll_back(struct reload_plan *plan)
{
    for (size_t i = 0; plan->entries != NULL && i < plan->count; i++) {
        struct plan_entry *entry = &plan->entries[i];
        if (entry->is_new)
            listener_destroy(entry->listener);
        else if (entry->is_prepared)
            listener_rollback(entry->listener);
        bind_close(&entry->bound);
    }
    plan_forget_sockets(plan);
    descriptors_return(&plan->server->runtime.descriptors, plan->descriptors);
    log_file_close(plan->log);
}

/* ---- Carrying it out ---- */

/* The sockets that other listeners have taken over must be known before the first listener acts. */
static void plan_take_over(struct reload_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        struct plan_entry *entry = &plan->entries[i];
        bool has_its_sockets = entry->is_new || entry->is_kept;
        bind_take_over(entry->settings, has_its_sockets ? listener_sockets(entry->listener) : &entry->bound);
    }
}

/* Logs the keys of a listener that change. */
static void plan_say_changes(const struct plan_entry *entry)
{
    const struct listener_settings *settings = entry->settings;
    bool differs = listener_services_differ(listener_get_settings(entry->listener), settings);
    const char *rest = differs ? "; those who are connected are served as before until they go" : "";
    if (entry->changes->keys[0] != '\0')
        log_info(settings->name, "reload: changed: %s%s", entry->changes->keys, rest);
    else if (differs)
        log_info(settings->name, "reload: \"%s\" has another mode or protocol%s", settings->targets_of, rest);
}

/* A listener that is kept has its settings still, which thereby are those of the new configuration. */
static void plan_keep_settings(const struct reload_plan *plan, size_t index)
{
    struct listener_settings **before =
        &plan->server->config->settings->listeners[plan->entries[index].changes->before];
    struct listener_settings **after = &plan->found->config.settings->listeners[index];
    struct listener_settings *replaced = *after;
    *after = *before;
    *before = replaced;
}

static void plan_commit_listener(struct reload_plan *plan, size_t index)
{
    struct plan_entry *entry = &plan->entries[index];
    if (entry->is_new) {
        log_info(entry->settings->name, "reload: added");
        listener_start(entry->listener);
    } else if (entry->is_kept) {
        plan_keep_settings(plan, index);
    } else {
        plan_say_changes(entry);
        listener_commit(entry->listener, &entry->bound, plan->found->config.settings->shutdown_timeout);
    }
}

/* Puts the listeners of the plan in the place of those that run; those that it does not have leave. */
static void plan_replace_listeners(struct reload_plan *plan)
{
    struct listeners *listeners = &plan->server->listeners;
    struct listeners after = { .all = plan->all, .leaving = listeners->leaving, .running = plan->count };
    struct listener **before = server_running(plan->server);
    memcpy(after.all, listeners->all, after.leaving * sizeof(struct listener *));
    for (size_t i = 0; i < plan->count; i++)
        if (!plan->entries[i].is_new)
            before[plan->entries[i].changes->before] = NULL;
    for (size_t i = 0; i < listeners->running; i++)
        if (before[i] != NULL)
            after.all[after.leaving++] = before[i];
    for (size_t i = 0; i < plan->count; i++)
        after.all[after.leaving + i] = plan->entries[i].listener;
    size_t first = listeners->leaving;
    plan->all = listeners->all;
    *listeners = after;
    for (size_t i = first; i < after.leaving; i++) {
        log_info(listener_get_settings(after.all[i])->name, "reload: removed; %zu clients are left",
                 listener_clients(after.all[i]));
        listener_leave(after.all[i], plan->found->config.settings->shutdown_timeout);
    }
}

/* Warns of changes that take effect at the next start only. */
static void plan_warn(const struct settings *before, const struct settings *after,
                      const struct config_changes *changes)
{
    static const char text[] = "reload: %s stays as it was until the next start";
    if (!text_equal(before->user, after->user) || !text_equal(before->group, after->group))
        log_warning(NULL, text, "user and group");
    if (!text_equal(before->pid_file, after->pid_file))
        log_warning(NULL, text, "pid_file");
    if (changes->admin)
        log_warning(NULL, text, "admin");
}

static void plan_commit(struct reload_plan *plan)
{
    struct server *server = plan->server;
    struct reload_found *found = plan->found;
    config_log_problems(&found->config, false);
    plan_warn(server->config->settings, found->config.settings, &found->changes);
    if (found->changes.keys[0] != '\0')
        log_info(NULL, "reload: changed: %s", found->changes.keys);
    log_commit(&found->config.settings->log, plan->log);
    plan_take_over(plan);
    own_sockets_reconfigure(&server->runtime.own_sockets);
    for (size_t i = 0; i < plan->count; i++)
        plan_commit_listener(plan, i);
    plan_replace_listeners(plan);
    if (plan->wanted < plan->socket_count)
        descriptors_return(&server->runtime.descriptors, plan->socket_count - plan->wanted);
    events_release(server->events);
    server->events = events_reference(plan->events);
    struct config before = *server->config;
    *server->config = found->config;
    found->config = before; /* to be freed with what was found */
}

bool reload_plan_run(struct server *server, struct reload_found *found)
{
    struct reload_plan plan = {
        .server = server,
        .found = found,
        .count = found->count,
        .has_new_events = !events_are_equal(server->events, found->events),
    };
    plan_make_all(&plan);
    bool success = found->errors == 0;
    if (success)
        plan_commit(&plan);
    else
        plan_roll_back(&plan);
    events_release(plan.events);
    free(plan.entries);
    free(plan.sockets);
    free(plan.all);
    return success;
}
