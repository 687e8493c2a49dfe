#include "access/access_list.h"

#include "access/set.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAULTS_SHOWN 20 /* of one file; the others are counted */
#define SHOWN_LENGTH 80 /* of a malformed text */

#define FILE_WORD       "file:"
#define WHITE_SPACE     " \t\r\n\v\f"
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

#define MAPPED_BITS 96 /* of an IPv4-mapped IPv6 address, before the IPv4 address */

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
    bool out_of_memory;
    const char *file; /* being read, or NULL */
    unsigned line;
    unsigned file_faults;
};

__attribute__((format(printf, 2, 3))) static void list_report(struct building *building, const char *format,
                                                              ...)
{
    building->failed = true;
    if (building->file != NULL && ++building->file_faults > FAULTS_SHOWN)
        return;
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    building->fault(building->data, building->file, building->line, message);
}

/* Ends the building, so that it is reported once. */
static void list_report_memory(struct building *building)
{
    building->out_of_memory = true;
    list_report(building, "%s", strerror(ENOMEM));
}

/* `fault` reads well after the entry, which is shown in quotes and cut if it is long. */
static void list_report_entry(struct building *building, const char *text, const char *fault)
{
    list_report(building, "\"%.*s%s\" %s", SHOWN_LENGTH, text, strlen(text) > SHOWN_LENGTH ? "..." : "",
                fault);
}

/* ---- One entry: an address, a block or a range ---- */

static size_t list_trimmed_length(const char *text, size_t length)
{
    while (length > 0 && strchr(WHITE_SPACE, text[length - 1]) != NULL)
        length--;
    return length;
}

/* Reads the address that is the whole of `length` characters, IPv4-mapped IPv6 as IPv4. */
static bool list_parse_bound(const char *text, size_t length, struct address *bound)
{
    struct address address;
    bool success = address_parse_part(text, length, &address);
    address_from_socket(&address.any, bound);
    return success;
}

static void list_add_bounds(struct building *building, sa_family_t family, const unsigned char *first,
                            const unsigned char *last)
{
    struct access_list *list = building->list;
    if (!access_set_add(family == AF_INET ? &list->v4 : &list->v6, first, last))
        list_report_memory(building);
}

/* `dash` is that of `text`; there may be white space around it. */
static void list_add_range(struct building *building, const char *text, const char *dash)
{
    struct address first;
    struct address last;
    size_t first_length = list_trimmed_length(text, (size_t)(dash - text));
    const char *last_text = dash + 1 + strspn(dash + 1, WHITE_SPACE);
    if (!list_parse_bound(text, first_length, &first) ||
        !list_parse_bound(last_text, strlen(last_text), &last))
        list_report_entry(building, text, "is not a range of IP addresses");
    else if (first.family != last.family)
        list_report_entry(building, text, "mixes IPv4 and IPv6");
    else if (address_compare_host(&first, &last) > 0)
        list_report(building, "%s is the wrong way round; did you mean %s-%.*s?", text, last_text,
                    (int)first_length, text);
    else
        list_add_bounds(building, first.family, address_bytes(&first), address_bytes(&last));
}

/* Clears the bits after the first `prefix` ones in `low` and sets them in `high`. Whether `low` had one. */
static bool list_spread_block(unsigned char *low, unsigned char *high, size_t width, unsigned long prefix)
{
    bool has_host_bits = false;
    for (size_t i = 0; i < width; i++) {
        size_t fixed = prefix < 8 * i ? 0 : prefix - 8 * i;
        unsigned host_bits = fixed >= 8 ? 0 : 0xffU >> fixed;
        has_host_bits = has_host_bits || (low[i] & host_bits) != 0;
        low[i] = (unsigned char)(low[i] & ~host_bits);
        high[i] = (unsigned char)(high[i] | host_bits);
    }
    return has_host_bits;
}

/* `slash` is that of `text`. */
static void list_add_block(struct building *building, const char *text, const char *slash)
{
    struct address address;
    unsigned char low[ADDRESS_WIDTH_MAX];
    unsigned char high[ADDRESS_WIDTH_MAX];
    if (!address_parse_part(text, (size_t)(slash - text), &address)) {
        list_report_entry(building, text, "is not a block of IP addresses");
        return;
    }
    size_t width = address_width(&address);
    bool is_mapped = address.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr);
    unsigned long least = is_mapped ? MAPPED_BITS : 0;
    unsigned long most = 8 * width;
    const char *digits = slash + 1;
    size_t digit_count = strspn(digits, "0123456789");
    unsigned long prefix = strtoul(digits, NULL, 10);
    if (digit_count == 0 || digits[digit_count] != '\0' || (digits[0] == '0' && digit_count > 1) ||
        prefix < least || prefix > most) {
        char fault[64];
        snprintf(fault, sizeof fault, "needs a prefix from %lu to %lu", least, most);
        list_report_entry(building, text, fault);
        return;
    }
    memcpy(low, address_bytes(&address), width);
    memcpy(high, low, width);
    if (list_spread_block(low, high, width, prefix)) {
        char meant[INET6_ADDRSTRLEN];
        inet_ntop(address.family, low, meant, sizeof meant);
        list_report(building, "%s has host bits set; did you mean %s/%lu?", text, meant, prefix);
        return;
    }
    if (is_mapped)
        list_add_bounds(building, AF_INET, low + MAPPED_BITS / 8, high + MAPPED_BITS / 8);
    else
        list_add_bounds(building, address.family, low, high);
}

static void list_add_entry(struct building *building, const char *text)
{
    const char *dash = strchr(text, '-');
    const char *slash = strchr(text, '/');
    struct address address;
    if (strchr(text, '%') != NULL)
        list_report_entry(building, text, "has a zone; address lists can't tell zones apart");
    else if (dash != NULL)
        list_add_range(building, text, dash);
    else if (slash != NULL)
        list_add_block(building, text, slash);
    else if (list_parse_bound(text, strlen(text), &address))
        list_add_bounds(building, address.family, address_bytes(&address), address_bytes(&address));
    else
        list_report_entry(building, text, "is not an IP address");
}

/* ---- Files and settings ---- */

static void list_add_line(struct building *building, char *line, size_t length)
{
    if (strlen(line) != length) {
        list_report(building, "there is a zero byte in this line");
        return;
    }
    if (building->line == 1 && strncmp(line, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
        line += strlen(BYTE_ORDER_MARK);
    line += strspn(line, WHITE_SPACE);
    line[list_trimmed_length(line, strcspn(line, "#"))] = '\0';
    if (strncmp(line, FILE_WORD, strlen(FILE_WORD)) == 0)
        list_report(building, "a list file may not name another file");
    else if (*line != '\0')
        list_add_entry(building, line);
}

/* Opens a list file; anything but a regular file could be endless or never answer. */
static FILE *list_open_file(struct building *building, const char *path)
{
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    FILE *stream = descriptor == -1 ? NULL : fdopen(descriptor, "r");
    if (stream == NULL || fstat(descriptor, &status) == -1)
        list_report(building, "cannot read %s: %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        list_report(building, "cannot read %s: %s", path,
                    S_ISDIR(status.st_mode) ? strerror(EISDIR) : "Not a regular file");
    else
        return stream;
    if (stream != NULL)
        fclose(stream);
    else if (descriptor != -1)
        close(descriptor);
    return NULL;
}

static void list_add_file(struct building *building, const char *path)
{
    if (*path != '/') { /* a reload may look from another folder */
        list_report(building, "\"" FILE_WORD "%s\" needs %s path", path, *path == '\0' ? "a" : "an absolute");
        return;
    }
    FILE *stream = list_open_file(building, path);
    if (stream == NULL)
        return;
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    building->file = path;
    building->file_faults = 0;
    while (!building->out_of_memory && (length = getline(&line, &size, stream)) != -1) {
        building->line++;
        list_add_line(building, line, (size_t)length);
    }
    if (!building->out_of_memory && !feof(stream)) {
        building->line++;
        list_report(building, "cannot read on: %s", strerror(errno));
    }
    free(line);
    fclose(stream);
    if (building->file_faults > FAULTS_SHOWN) {
        unsigned unshown = building->file_faults - FAULTS_SHOWN;
        building->file_faults = 0;
        list_report(building, "and %u more faults", unshown);
    }
    building->file = NULL;
    building->line = 0;
}

static void list_add_setting(struct building *building, const char *text)
{
    text += strspn(text, " \t");
    if (strncmp(text, FILE_WORD, strlen(FILE_WORD)) == 0) {
        list_add_file(building, text + strlen(FILE_WORD));
        return;
    }
    text += strspn(text, WHITE_SPACE);
    char *entry = strndup(text, list_trimmed_length(text, strlen(text)));
    if (entry == NULL)
        list_report_memory(building);
    else if (*entry == '\0')
        list_report(building, "an entry is empty");
    else
        list_add_entry(building, entry);
    free(entry);
}

/* ---- The list ---- */

struct access_list *access_list_reference(struct access_list *list)
{
    list->references++;
    return list;
}

void access_list_release(struct access_list *list)
{
    if (list == NULL || --list->references > 0)
        return;
    access_set_free(&list->v4);
    access_set_free(&list->v6);
    free(list);
}

struct access_list *access_list_build(const char *const *entries, size_t count, access_list_fault *fault,
                                      void *data)
{
    struct access_list *list = calloc(1, sizeof *list);
    struct building building = { .list = list, .fault = fault, .data = data };
    if (list == NULL) {
        list_report_memory(&building);
        return NULL;
    }
    list->references = 1;
    access_set_init(&list->v4, 4);
    access_set_init(&list->v6, 16);
    for (size_t i = 0; i < count && !building.out_of_memory; i++)
        list_add_setting(&building, entries[i]);
    if (building.failed) {
        access_list_release(list);
        return NULL;
    }
    access_set_finish(&list->v4);
    access_set_finish(&list->v6);
    return list;
}

bool access_list_contains(const struct access_list *list, const struct address *address)
{
    struct address plain;
    address_from_socket(&address->any, &plain);
    return address_width(&plain) > 0 &&
           access_set_contains(plain.family == AF_INET ? &list->v4 : &list->v6, address_bytes(&plain));
}

size_t access_list_size(const struct access_list *list)
{
    return list->v4.count + list->v6.count;
}

static bool list_set_equal(const struct access_set *a, const struct access_set *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->ranges, b->ranges, 2 * a->width * a->count) == 0);
}

bool access_list_equal(const struct access_list *a, const struct access_list *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return list_set_equal(&a->v4, &b->v4) && list_set_equal(&a->v6, &b->v6);
}
