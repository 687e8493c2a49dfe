#include "server/reload_plan.h"

#include "base/log.h"
#include "net/inherited.h"
#include "server/privileges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ERROR_SIZE   320
#define CHANGES_SIZE 400

/* One listener of the new configuration. */
struct plan_entry {
    struct listener_settings *settings;
    const struct bind_wishes *wishes;
    struct bound_sockets bound;
    struct listener *listener; /* the running one of that name, or the new one; NULL: not there yet */
    bool is_new;
    bool is_prepared;
};

/* Owned by the reload. */
struct reload_plan {
    const struct reload_parts *parts;
    struct reload_found *found;
    struct events *events; /* those that go with the new settings */
    struct plan_entry *entries;
    size_t count;
    size_t errors;
    size_t descriptors;        /* reserved for sockets that come in addition */
    size_t descriptors_before; /* of sockets */
    struct listener **running; /* room for them */
    struct listener **leaving; /* likewise; those that leave already are in it */
    struct log_change *log;
};

static void plan_fail(struct reload_plan *plan, const char *source, const char *error)
{
    plan->errors++;
    log_error(source, "%s", error);
}

/* ---- Sockets that run ---- */

typedef bool socket_visit(void *data, struct bound_socket *socket);

/* Shows the sockets of a listener of that name first, then all others; stops at the first that is accepted.
 */
static struct bound_socket *plan_search(const struct listeners *listeners, const char *name,
                                        socket_visit *visit, void *data)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < listeners->count; i++) {
            struct listener *listener = listeners->running[i];
            bool is_named = name != NULL && strcmp(listener_get_settings(listener)->name, name) == 0;
            struct bound_sockets *bound = listener_sockets(listener);
            for (size_t k = 0; is_named == (pass == 0) && k < bound->count; k++)
                if (visit(data, &bound->sockets[k]))
                    return &bound->sockets[k];
        }
    }
    return NULL;
}

/* A wish that looks for its socket. */
struct plan_search {
    const struct listener_settings *settings;
    const struct bind_wish *wish;
};

static bool visit_unwanted(void *data, struct bound_socket *socket)
{
    const struct plan_search *search = data;
    return !socket->is_wanted && bind_matches(socket, search->settings, search->wish);
}

static bool visit_untaken(void *data, struct bound_socket *socket)
{
    const struct plan_search *search = data;
    return socket->is_wanted && !socket->is_taken && bind_matches(socket, search->settings, search->wish);
}

/* All sockets that stay are known before the first new one is bound: only those that go may be overlapped. */
static void plan_want(const struct reload_plan *plan, const struct plan_entry *entry)
{
    for (size_t i = 0; i < entry->wishes->count; i++) {
        struct plan_search search = { entry->settings, &entry->wishes->wishes[i] };
        struct bound_socket *socket;
        do {
            socket = plan_search(plan->parts->listeners, entry->settings->name, visit_unwanted, &search);
            if (socket != NULL)
                socket->is_wanted = true;
        } while (socket != NULL && search.wish->address.family == AF_UNSPEC); /* a name has several */
    }
}

static struct bound_socket *plan_find(void *data, const struct listener_settings *settings,
                                      const struct bind_wish *wish)
{
    const struct reload_plan *plan = data;
    struct plan_search search = { settings, wish };
    struct bound_socket *socket = plan_search(plan->parts->listeners, settings->name, visit_untaken, &search);
    if (socket != NULL)
        socket->is_taken = true;
    return socket;
}

/* Whose port a new socket shares. */
struct plan_way {
    uint16_t port;
    bool found;
};

static bool visit_make_way(void *data, struct bound_socket *socket)
{
    struct plan_way *way = data;
    if (socket->path == NULL && !socket->is_wanted && address_port(&socket->address) == way->port) {
        socket_set_reuse_port(socket->descriptor, true);
        way->found = true;
    }
    return false;
}

static bool plan_make_way(void *data, const struct bind_wish *wish)
{
    const struct reload_plan *plan = data;
    struct plan_way way = { .port = address_port(&wish->address) };
    plan_search(plan->parts->listeners, NULL, visit_make_way, &way);
    return way.found;
}

static bool visit_forget(void *data, struct bound_socket *socket)
{
    (void)data;
    socket->is_wanted = false;
    socket->is_taken = false;
    if (socket->path == NULL)
        socket_set_reuse_port(socket->descriptor, socket->reuse_port);
    return false;
}

static bool visit_count(void *data, struct bound_socket *socket)
{
    (void)socket;
    ++*(size_t *)data;
    return false;
}

static void plan_bind(struct reload_plan *plan, struct plan_entry *entry)
{
    const struct settings *settings = plan->parts->config->settings; /* `user` stays who it was */
    struct inherited none = { 0 };
    const struct bind_running running = { .find = plan_find, .make_way = plan_make_way, .data = plan };
    const struct bind_means means = {
        .user = privileges_user(settings),
        .group = privileges_group(settings),
        .inherited = &none,
        .running = &running,
    };
    char error[ERROR_SIZE];
    if (!bind_open(entry->settings, entry->wishes, &means, &entry->bound, error, sizeof error))
        plan_fail(plan, entry->settings->name, error);
}

/* ---- Making ---- */

static void plan_prepare(struct reload_plan *plan, struct plan_entry *entry)
{
    const struct reload_parts *parts = plan->parts;
    if (entry->is_new) {
        entry->listener = listener_create(parts->runtime, entry->settings, plan->events, &entry->bound,
                                          parts->emptied, parts->owner);
        entry->is_prepared = entry->listener != NULL;
    } else {
        entry->is_prepared =
            listener_prepare(entry->listener, entry->settings, plan->events, entry->bound.count);
    }
    if (!entry->is_prepared)
        plan_fail(plan, entry->settings->name, strerror(errno));
}

static bool plan_allocate(struct reload_plan *plan)
{
    const struct listeners *listeners = plan->parts->listeners;
    plan->entries = calloc(plan->count, sizeof *plan->entries);
    plan->running = calloc(plan->count, sizeof(struct listener *));
    plan->leaving = calloc(listeners->leaving_count + listeners->count, sizeof(struct listener *));
    if (plan->entries == NULL || plan->running == NULL || plan->leaving == NULL) {
        plan_fail(plan, NULL, strerror(errno));
        return false;
    }
    for (size_t i = 0; i < plan->count; i++) {
        struct plan_entry *entry = &plan->entries[i];
        entry->settings = plan->found->config.settings->listeners[i];
        entry->wishes = &plan->found->wishes[i];
        entry->listener = listeners_find(listeners, entry->settings->name);
        entry->is_new = entry->listener == NULL;
    }
    return true;
}

/* Sockets that listen are descriptors too. */
static void plan_reserve(struct reload_plan *plan)
{
    size_t wanted = 0;
    plan_search(plan->parts->listeners, NULL, visit_count, &plan->descriptors_before);
    for (size_t i = 0; i < plan->count; i++)
        wanted += plan->entries[i].bound.count;
    if (wanted <= plan->descriptors_before)
        return;
    if (descriptors_reserve(&plan->parts->runtime->descriptors, wanted - plan->descriptors_before))
        plan->descriptors = wanted - plan->descriptors_before;
    else
        plan_fail(plan, NULL, strerror(EMFILE));
}

static void plan_make_log(struct reload_plan *plan)
{
    char error[ERROR_SIZE];
    plan->log = log_change_prepare(&plan->found->config.settings->log, error, sizeof error);
    if (plan->log == NULL)
        plan_fail(plan, NULL, error);
}

/* Modules that are as they were go on; else new instances take the place of the old ones, which stay until
 * the last client that they were told of has gone. */
static void plan_start_events(struct reload_plan *plan)
{
    char error[ERROR_SIZE];
    struct events *before = *plan->parts->events;
    if (events_are_equal(before, plan->found->events)) {
        plan->events = events_reference(before);
        return;
    }
    plan->events = events_reference(plan->found->events);
    if (!events_start(plan->events, error, sizeof error))
        plan_fail(plan, NULL, error);
}

/* Each step goes on where another part of it has failed, so that all errors are said. */
static void plan_make_all(struct reload_plan *plan)
{
    if (!plan_allocate(plan))
        return;
    for (size_t i = 0; i < plan->count; i++)
        plan_want(plan, &plan->entries[i]);
    for (size_t i = 0; i < plan->count; i++)
        plan_bind(plan, &plan->entries[i]);
    plan_make_log(plan);
    if (plan->errors == 0)
        plan_start_events(plan);
    if (plan->errors > 0)
        return;
    plan_reserve(plan);
    for (size_t i = 0; i < plan->count; i++)
        plan_prepare(plan, &plan->entries[i]);
}

static void plan_free(struct reload_plan *plan)
{
    events_release(plan->events);
    free(plan->entries);
    free(plan->running);
    free(plan->leaving);
    free(plan);
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
    plan_search(plan->parts->listeners, NULL, visit_forget, NULL);
    descriptors_return(&plan->parts->runtime->descriptors, plan->descriptors);
    log_change_cancel(plan->log);
    plan_free(plan);
}

struct reload_plan *reload_plan_make(const struct reload_parts *parts, struct reload_found *found,
                                     size_t *errors)
{
    struct reload_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        log_error(NULL, "%s", strerror(errno));
        ++*errors;
        return NULL;
    }
    plan->parts = parts;
    plan->found = found;
    plan->count = found->config.settings->listener_count;
    plan_make_all(plan);
    if (plan->errors == 0)
        return plan;
    *errors += plan->errors;
    plan_roll_back(plan);
    return NULL;
}

/* ---- Carrying it out ---- */

static bool plan_keeps(const struct reload_plan *plan, const struct listener *listener)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->entries[i].listener == listener)
            return true;
    return false;
}

/* The sockets that other listeners have taken over must be known before the first listener acts. */
static void plan_take_over(struct reload_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        struct plan_entry *entry = &plan->entries[i];
        struct bound_sockets *bound = entry->is_new ? listener_sockets(entry->listener) : &entry->bound;
        bind_take_over(entry->settings, bound);
    }
}

/* Fits the account to the sockets there are now. */
static void plan_settle_descriptors(const struct reload_plan *plan)
{
    size_t now = 0;
    plan_search(plan->parts->listeners, NULL, visit_count, &now);
    if (now < plan->descriptors_before)
        descriptors_return(&plan->parts->runtime->descriptors, plan->descriptors_before - now);
}

/* One line for what changes with a listener, none if nothing does. */
static void plan_say_changes(const struct reload_plan *plan, const struct plan_entry *entry)
{
    char text[CHANGES_SIZE];
    const struct listener_settings *before = listener_get_settings(entry->listener);
    config_name_changes(plan->parts->config, &plan->found->config, entry->settings->name, text, sizeof text);
    if (text[0] == '\0')
        return;
    log_info(entry->settings->name, "reload: changed: %s%s", text,
             listener_services_differ(before, entry->settings)
                 ? "; those who are connected are served as before until they go"
                 : "");
}

static void plan_commit_listeners(struct reload_plan *plan)
{
    int64_t timeout = plan->found->config.settings->shutdown_timeout;
    for (size_t i = 0; i < plan->count; i++) {
        struct plan_entry *entry = &plan->entries[i];
        plan->running[i] = entry->listener;
        if (entry->is_new) {
            log_info(entry->settings->name, "reload: added");
            listener_start(entry->listener);
        } else {
            plan_say_changes(plan, entry);
            listener_commit(entry->listener, &entry->bound, timeout);
        }
    }
}

/* Lets the listeners go that the plan does not have. */
static void plan_dismiss(struct reload_plan *plan)
{
    struct listeners *listeners = plan->parts->listeners;
    int64_t timeout = plan->found->config.settings->shutdown_timeout;
    struct listener **before = listeners->running;
    size_t count = listeners->count;
    for (size_t i = 0; i < listeners->leaving_count; i++)
        plan->leaving[i] = listeners->leaving[i];
    free(listeners->leaving);
    listeners->leaving = plan->leaving;
    plan->leaving = NULL;
    listeners->running = plan->running;
    listeners->count = plan->count;
    plan->running = NULL;
    for (size_t i = 0; i < count; i++) {
        struct listener *listener = before[i];
        if (plan_keeps(plan, listener))
            continue;
        listeners->leaving[listeners->leaving_count++] = listener;
        log_info(listener_get_settings(listener)->name, "reload: removed; %zu clients are left",
                 listener_clients(listener));
        listener_leave(listener, timeout);
    }
    free(before);
}

void reload_plan_commit(struct reload_plan *plan)
{
    log_change_commit(plan->log);
    plan_take_over(plan);
    plan_commit_listeners(plan);
    plan_dismiss(plan);
    plan_settle_descriptors(plan);
    events_release(*plan->parts->events);
    *plan->parts->events = events_reference(plan->events);
    struct config before = *plan->parts->config;
    *plan->parts->config = plan->found->config;
    plan->found->config = before; /* to be freed with what was found */
    plan_free(plan);
}
