#include "admin/view.h"

#include "base/clock.h"

#include <string.h>
#include <unistd.h>

const char *admin_target_name(const struct admin_source *source, size_t listener, size_t index, char *text)
{
    const char *name = source->target(source->owner, listener, index).name;
    size_t same = 1;
    for (size_t i = 0; i < index; i++)
        same += strcmp(source->target(source->owner, listener, i).name, name) == 0;
    if (same == 1)
        snprintf(text, ADMIN_NAME_SIZE, "%s", name);
    else
        snprintf(text, ADMIN_NAME_SIZE, "%.300s#%zu", name, same);
    return text;
}

double admin_processor_seconds(void)
{
    struct timespec used;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == -1)
        return 0;
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

double admin_resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*s %lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}
