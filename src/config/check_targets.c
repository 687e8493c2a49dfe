/* What the targets of all listeners are together. */
#include "config/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

/* Where a target stands. */
struct target_place {
    size_t listener;
    size_t index;
    const struct listener_settings *settings;
    const struct target_settings *target;
};

static int place_compare(const void *a, const void *b)
{
    const struct target_place *one = a, *other = b;
    int order = endpoint_compare(&one->target->endpoint, &other->target->endpoint);
    if (order == 0)
        order = (one->listener > other->listener) - (one->listener < other->listener);
    return order != 0 ? order : (one->index > other->index) - (one->index < other->index);
}

/* Notes a problem with a key of a target. */
static void place_report(struct parsed_configuration *parsed, const struct target_place *place, bool is_error,
                         const char *key, const char *format, ...) __attribute__((format(printf, 5, 6)));
static void place_report(struct parsed_configuration *parsed, const struct target_place *place, bool is_error,
                         const char *key, const char *format, ...)
{
    const struct parsed_group *group = parsed->listeners[place->listener]->children[place->index];
    const struct parsed_value *value = parsed_get(group, key);
    char subject[PARSED_SUBJECT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    problem_add(parsed->problems, is_error,
                value->origin.kind != ORIGIN_DEFAULT ? &value->origin : &group->origin,
                parsed_subject(group, place->settings->name, key, subject), format, arguments);
    va_end(arguments);
}

/* ---- Several listeners with one address ---- */

static void check_slots(struct parsed_configuration *parsed, const struct target_place *first,
                        const struct target_place *other)
{
    if (other->target->slots >= 0 && other->target->slots != first->target->slots)
        place_report(parsed, other, true, "slots",
                     "\"%s\" says %" PRId64
                     " for %s: the slots of an address are those of all listeners together",
                     first->settings->name, first->target->slots, first->target->name);
}

/* `limited` is the first that has slots, `one` and `other` have different listeners (NULL: there is but one), of which
 * one is the first in mode fifo, or with slots in mode proxy, if there is any. */
static void check_shared(struct parsed_configuration *parsed, const struct target_place *limited,
                         const struct target_place *one, const struct target_place *other)
{
    if (other == NULL)
        return;
    if (limited == NULL && one->settings->mode == MODE_FIFO)
        place_report(parsed, one, false, "slots",
                     "without it %s gets connections from \"%s\" beside the one from here; slots = 1 has "
                     "them take turns",
                     one->target->name, other->settings->name);
    if (limited != NULL && one->settings->mode == MODE_PROXY)
        place_report(parsed, one, false, "slots",
                     "a session of mode \"proxy\" has its slot until it ends: \"%s\" may wait for long",
                     other->settings->name);
}

/* All targets with one address. */
static void check_address(struct parsed_configuration *parsed, const struct target_place *places,
                          size_t count)
{
    const struct target_place *limited = NULL;
    const struct target_place *one = &places[0];
    const struct target_place *other = NULL;
    for (size_t i = 0; i < count && limited == NULL; i++)
        if (places[i].target->slots >= 0)
            limited = &places[i];
    enum listener_mode mode = limited == NULL ? MODE_FIFO : MODE_PROXY;
    for (size_t i = count; i-- > 0;)
        if (places[i].settings->mode == mode)
            one = &places[i];
    for (size_t i = count; i-- > 0;)
        if (places[i].listener != one->listener)
            other = &places[i];
    for (size_t i = 0; i < count && limited != NULL; i++)
        check_slots(parsed, limited, &places[i]);
    check_shared(parsed, limited, one, other);
}

/* ---- Listeners that would connect to themselves ---- */

static bool is_unspecified(const struct endpoint *endpoint)
{
    if (endpoint->kind != ENDPOINT_NUMERIC)
        return endpoint->kind == ENDPOINT_ANY;
    return endpoint->address.family == AF_INET ? endpoint->address.v4.sin_addr.s_addr == htonl(INADDR_ANY)
                                               : IN6_IS_ADDR_UNSPECIFIED(&endpoint->address.v6.sin6_addr);
}

/* Names are not looked up here; one is known. */
static bool is_localhost(const struct endpoint *endpoint)
{
    return endpoint->kind == ENDPOINT_NAME && strcasecmp(endpoint->host, "localhost") == 0;
}

static bool is_loopback(const struct endpoint *endpoint)
{
    return is_localhost(endpoint) || is_unspecified(endpoint) ||
           (endpoint->kind == ENDPOINT_NUMERIC && address_is_loopback(&endpoint->address));
}

/* Whether who connects to it gets to 127.0.0.1, or ::1. */
static bool is_home(const struct endpoint *endpoint)
{
    if (is_localhost(endpoint) || is_unspecified(endpoint))
        return true;
    return endpoint->kind == ENDPOINT_NUMERIC && address_is_loopback(&endpoint->address) &&
           (endpoint->address.family == AF_INET6 ||
            endpoint->address.v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
}

static bool is_family(const struct endpoint *endpoint, sa_family_t family)
{
    return endpoint->kind != ENDPOINT_NUMERIC || endpoint->address.family == family;
}

/* Whether who connects to the target certainly gets to what listens there. */
static bool leads_to(const struct endpoint *target, const struct endpoint *listen)
{
    if (endpoint_equal(target, listen))
        return true;
    if (target->kind == ENDPOINT_UNIX || listen->kind == ENDPOINT_UNIX || listen->kind == ENDPOINT_SYSTEMD ||
        target->port != listen->port || !is_loopback(target))
        return false;
    bool is_same_family = (is_family(target, AF_INET) && is_family(listen, AF_INET)) ||
                          (is_family(target, AF_INET6) && is_family(listen, AF_INET6));
    return is_same_family && (is_unspecified(listen) || (is_home(listen) && is_home(target)));
}

static void check_loop(struct parsed_configuration *parsed, const struct target_place *place)
{
    char text[300];
    for (size_t i = 0; i < place->settings->listen_count; i++) {
        if (!leads_to(&place->target->endpoint, &place->settings->listen[i]))
            continue;
        place_report(parsed, place, true, "address",
                     "the listener itself listens on %s: each client would cause another one, without end",
                     endpoint_print(&place->settings->listen[i], text, sizeof text));
        return;
    }
}

void check_all_targets(struct parsed_configuration *parsed, const struct settings *settings)
{
    size_t count = 0;
    for (size_t i = 0; i < settings->listener_count; i++)
        count += settings->listeners[i]->target_count;
    struct target_place *places = calloc(count, sizeof *places);
    if (places == NULL) {
        problem_memory(parsed->problems);
        return;
    }
    count = 0;
    for (size_t i = 0; i < settings->listener_count; i++)
        for (size_t k = 0; k < settings->listeners[i]->target_count; k++) {
            places[count] =
                (struct target_place){ i, k, settings->listeners[i], &settings->listeners[i]->targets[k] };
            check_loop(parsed, &places[count++]);
        }
    qsort(places, count, sizeof *places, place_compare);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1;
             end < count && endpoint_equal(&places[first].target->endpoint, &places[end].target->endpoint);)
            end++;
        check_address(parsed, &places[first], end - first);
    }
    free(places);
}
