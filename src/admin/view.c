#include "admin/view.h"

#include <string.h>

const char *admin_target_name(const struct admin_source *source, size_t listener, size_t index, char *text)
{
    struct service_target target;
    size_t same = 1;
    source->target(source->owner, listener, index, &target);
    for (size_t i = 0; i < index; i++) {
        struct service_target other;
        source->target(source->owner, listener, i, &other);
        same += strcmp(other.name, target.name) == 0;
    }
    if (same == 1)
        snprintf(text, ADMIN_NAME_SIZE, "%s", target.name);
    else
        snprintf(text, ADMIN_NAME_SIZE, "%.300s#%zu", target.name, same);
    return text;
}
