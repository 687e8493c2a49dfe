#include "access/access_list.h"

#include "access/entry.h"
#include "access/set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Faults of one file that are reported in full; the others are counted. */
#define FAULTS_SHOWN 20

#define FAULT_SIZE 512

#define FILE_WORD        "file:"
#define BYTE_ORDER_MARK  "\xef\xbb\xbf"
#define READ_BUFFER_SIZE ((size_t)64 * 1024)

struct access_list {
    _Atomic int references; /* as those of the settings that have it */
    struct access_set v4;
    struct access_set v6;
};

/* A list being built. */
struct building {
    struct access_list *list;
    access_list_fault *fault;
    void *data;
    bool failed;
    bool out_of_memory; /* reported once */
    const char *file;   /* being read, or NULL */
    unsigned line;
    unsigned file_faults;
};

__attribute__((format(printf, 2, 3))) static void report(struct building *building, const char *format, ...)
{
    building->failed = true;
    if (building->file != NULL && ++building->file_faults > FAULTS_SHOWN)
        return;
    char message[FAULT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    building->fault(building->data, building->file, building->line, message);
}

static void report_memory(struct building *building)
{
    if (!building->out_of_memory)
        report(building, "%s", strerror(ENOMEM));
    building->out_of_memory = true;
}

/* Adds one address, block or range. */
static void add_entry(struct building *building, const char *text)
{
    struct access_entry entry;
    char error[FAULT_SIZE];
    if (!access_entry_parse(text, &entry, error, sizeof error)) {
        report(building, "%s", error);
        return;
    }
    struct access_set *set = entry.ipv6 ? &building->list->v6 : &building->list->v4;
    if (!access_set_add(set, entry.first, entry.last))
        report_memory(building);
}

static void add_line(struct building *building, char *line, size_t length)
{
    if (strlen(line) != length) {
        report(building, "there is a zero byte in this line");
        return;
    }
    if (building->line == 1 && strncmp(line, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
        line += strlen(BYTE_ORDER_MARK);
    line[strcspn(line, "#")] = '\0';
    line = access_entry_trim(line);
    if (*line == '\0')
        return;
    if (strncmp(line, FILE_WORD, strlen(FILE_WORD)) == 0)
        report(building, "a list file may not name another file");
    else
        add_entry(building, line);
}

/* Opens a list file; anything but a regular file could be endless or never answer. */
static FILE *open_file(const char *path, const char **reason)
{
    struct stat status;
    FILE *stream = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd == -1 || fstat(fd, &status) == -1) {
        *reason = strerror(errno);
    } else if (S_ISDIR(status.st_mode)) {
        *reason = strerror(EISDIR);
    } else if (!S_ISREG(status.st_mode)) {
        *reason = "Not a regular file";
    } else {
        stream = fdopen(fd, "r");
        if (stream == NULL)
            *reason = strerror(errno);
    }
    if (stream == NULL && fd != -1)
        close(fd);
    return stream;
}

static void read_lines(struct building *building, FILE *stream)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    setvbuf(stream, NULL, _IOFBF, READ_BUFFER_SIZE);
    errno = 0;
    while (!building->out_of_memory && (length = getline(&line, &size, stream)) != -1) {
        building->line++;
        add_line(building, line, (size_t)length);
        errno = 0;
    }
    if (!building->out_of_memory && !feof(stream)) {
        building->line++;
        report(building, "cannot read on: %s", strerror(errno));
    }
    free(line);
}

static void add_file(struct building *building, const char *path)
{
    const char *reason = "";
    if (*path == '\0') {
        report(building, "\"" FILE_WORD "\" needs a path");
        return;
    }
    if (*path != '/') { /* a reload may look from another folder */
        report(building, "\"" FILE_WORD "%s\" needs an absolute path", path);
        return;
    }
    FILE *stream = open_file(path, &reason);
    if (stream == NULL) {
        report(building, "cannot read %s: %s", path, reason);
        return;
    }
    building->file = path;
    building->line = 0;
    building->file_faults = 0;
    read_lines(building, stream);
    fclose(stream);
    if (building->file_faults > FAULTS_SHOWN) {
        char message[FAULT_SIZE];
        snprintf(message, sizeof message, "and %u more faults", building->file_faults - FAULTS_SHOWN);
        building->fault(building->data, path, building->line, message);
    }
    building->file = NULL;
    building->line = 0;
}

static void add_setting(struct building *building, const char *text)
{
    text += strspn(text, " \t");
    if (strncmp(text, FILE_WORD, strlen(FILE_WORD)) == 0) {
        add_file(building, text + strlen(FILE_WORD));
        return;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        report_memory(building);
        return;
    }
    const char *entry = access_entry_trim(copy);
    if (*entry == '\0')
        report(building, "an entry is empty");
    else
        add_entry(building, entry);
    free(copy);
}

static void list_free(struct access_list *list)
{
    access_set_free(&list->v4);
    access_set_free(&list->v6);
    free(list);
}

struct access_list *access_list_build(const char *const *entries, size_t count, access_list_fault *fault,
                                      void *data)
{
    struct building building = { .fault = fault, .data = data };
    building.list = calloc(1, sizeof *building.list);
    if (building.list == NULL) {
        report_memory(&building);
        return NULL;
    }
    building.list->references = 1;
    access_set_init(&building.list->v4, access_entry_width(false));
    access_set_init(&building.list->v6, access_entry_width(true));
    for (size_t i = 0; i < count && !building.out_of_memory; i++)
        add_setting(&building, entries[i]);
    if (building.failed) {
        list_free(building.list);
        return NULL;
    }
    access_set_finish(&building.list->v4);
    access_set_finish(&building.list->v6);
    return building.list;
}

struct access_list *access_list_reference(struct access_list *list)
{
    list->references++;
    return list;
}

void access_list_release(struct access_list *list)
{
    if (list != NULL && --list->references == 0)
        list_free(list);
}

bool access_list_contains(const struct access_list *list, const struct address *address)
{
    if (address->family == AF_INET)
        return access_set_contains(&list->v4, (const unsigned char *)&address->v4.sin_addr);
    if (address->family != AF_INET6)
        return false;
    const unsigned char *bytes = address->v6.sin6_addr.s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
        return access_set_contains(&list->v4, bytes + 12);
    return access_set_contains(&list->v6, bytes);
}

size_t access_list_size(const struct access_list *list)
{
    return list->v4.count + list->v6.count;
}

static bool set_equal(const struct access_set *a, const struct access_set *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->ranges, b->ranges, 2 * a->width * a->count) == 0);
}

bool access_list_equal(const struct access_list *a, const struct access_list *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return set_equal(&a->v4, &b->v4) && set_equal(&a->v6, &b->v6);
}
