/* The state of everything for people: what `proximux -s` prints. */
#include "admin/status.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More columns than any table has. */
#define COLUMNS_MAX 16

/* How many of the last errors are shown. */
#define ERRORS_SHOWN 5

/* Cells are texts that end with a zero byte, row after row; the titles are the first. */
struct table {
    size_t columns;
    bool is_number[COLUMNS_MAX]; /* the column is to stand on the right */
    size_t count;                /* of cells */
    struct buffer cells;
};

/* Text from outside must not move a terminal's cursor. */
static void table_append_escaped(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            buffer_print(out, "\\x%02x", (unsigned char)*text);
        else
            buffer_append(out, text, 1);
    }
}

static void table_add(struct table *table, const char *text, bool is_number)
{
    table->is_number[table->count++ % table->columns] = is_number;
    table_append_escaped(&table->cells, *text == '\0' ? "-" : text);
    buffer_append(&table->cells, "", 1);
}

static void table_add_text(struct table *table, const char *text)
{
    table_add(table, text, false);
}

static void table_add_number(struct table *table, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, number);
    table_add(table, text, true);
}

/* With one digit behind the point, or `decimals` of what is less than one, and none from one hundred on. */
static void table_add_real(struct table *table, double number, int decimals)
{
    char text[32];
    snprintf(text, sizeof text, "%.*f", number >= 100 ? 0 : number >= 1 ? 1 : decimals, number);
    table_add(table, text, true);
}

/* Bytes, rounded to at most four digits. */
static void table_add_bytes(struct table *table, uint64_t bytes)
{
    static const char *const units[] = { "", "k", "M", "G", "T", "P" };
    char text[32];
    double number = (double)bytes;
    size_t unit = 0;
    for (; number >= 9999.5 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        number /= 1000;
    snprintf(text, sizeof text, "%.0f%s", number, units[unit]);
    table_add(table, text, true);
}

/* Milliseconds. */
static void table_add_time(struct table *table, const struct histogram *histogram, double share)
{
    int64_t microseconds = histogram_quantile(histogram, share);
    if (microseconds < 0)
        table_add(table, "", true);
    else
        table_add_real(table, (double)microseconds / 1e3, 3);
}

/* `width` is at least that of the text. */
static void table_print_cell(struct buffer *out, const char *text, size_t width, bool is_number, bool is_last)
{
    if (!is_number)
        buffer_append_text(out, text);
    for (size_t i = strlen(text); i < width && (is_number || !is_last); i++)
        buffer_append_text(out, " ");
    if (is_number)
        buffer_append_text(out, text);
    buffer_append_text(out, is_last ? "\n" : "  ");
}

static struct table table_begin(const char *const *titles, size_t columns)
{
    struct table table = { .columns = columns };
    for (size_t i = 0; i < columns; i++)
        table_add_text(&table, titles[i]);
    return table;
}

/* Prints all rows, each column as wide as its widest cell, and frees the cells. */
static void table_print(struct table *table, struct buffer *out)
{
    size_t widths[COLUMNS_MAX] = { 0 };
    const char *cells = buffer_bytes(&table->cells);
    const char *end = cells + table->cells.length;
    size_t place = 0;
    for (const char *cell = cells; cell < end; cell += strlen(cell) + 1, place++)
        if (strlen(cell) > widths[place % table->columns])
            widths[place % table->columns] = strlen(cell);
    place = 0;
    for (const char *cell = cells; cell < end; cell += strlen(cell) + 1, place++) {
        size_t column = place % table->columns;
        table_print_cell(out, cell, widths[column], table->is_number[column], column + 1 == table->columns);
    }
    out->failed = out->failed || table->cells.failed;
    buffer_free(&table->cells);
    buffer_append_text(out, "\n");
}

static void table_print_moment(struct buffer *out, int64_t milliseconds)
{
    char text[CLOCK_TEXT_SIZE];
    clock_print(milliseconds, text);
    buffer_print(out, "%.10s %.8s UTC", text, text + sizeof "2026-11-23T" - 1);
}

static void table_print_process(const struct admin_process *process, struct buffer *out)
{
    buffer_print(out, "proximux %s, process %ld, %s, started ", PACKAGE_VERSION, (long)getpid(),
                 process->is_draining ? "draining" : "running");
    table_print_moment(out, process->started);
    buffer_append_text(out, "\nconfiguration ");
    if (process->file == NULL)
        buffer_append_text(out, "from the environment");
    else
        table_append_escaped(out, process->file);
    buffer_append_text(out, ", loaded ");
    table_print_moment(out, process->loaded);
    buffer_print(out, ", %" PRIu64 " reloads, %" PRIu64 " refused%s\n\n", process->reloads,
                 process->reloads_refused, process->is_refused ? " (the last one was)" : "");
}

static void table_print_listeners(const struct admin_source *source, const struct history_book *book,
                                  size_t count, struct buffer *out)
{
    static const char *const titles[] = { "LISTENER", "MODE",      "PROTOCOL",    "STATE",      "CLIENTS",
                                          "WAITING",  "IN FLIGHT", "CLIENTS/S",   "REQUESTS/S", "FAULTS/S",
                                          "WAIT P50", "P99",       "SERVICE P50", "P99" };
    struct table table = table_begin(titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; i < count; i++) {
        const struct admin_listener view = source->listener(source->owner, i);
        const struct history *history = history_find(book, view.name);
        const struct history_sample *last = history_last(history);
        const struct history_times recent = history_recent(history, source, i);
        table_add_text(&table, view.name);
        table_add_text(&table, view.mode);
        table_add_text(&table, view.protocol);
        table_add_text(&table, view.state);
        table_add_number(&table, view.gauges.clients);
        table_add_number(&table, view.gauges.waiting);
        table_add_number(&table, view.gauges.in_flight);
        table_add_real(&table, (double)last->clients_rate, 1);
        table_add_real(&table, (double)last->requests_rate, 1);
        table_add_real(&table, (double)last->faults_rate, 1);
        table_add_time(&table, &recent.wait, 0.5);
        table_add_time(&table, &recent.wait, 0.99);
        table_add_time(&table, &recent.service, 0.5);
        table_add_time(&table, &recent.service, 0.99);
    }
    table_print(&table, out);
}

static void table_print_totals(const struct admin_source *source, size_t count, struct buffer *out)
{
    static const char *const titles[] = { "LISTENER", "ACCEPTED", "REFUSED",  "REQUESTS",
                                          "ANSWERED", "FAILED",   "RECEIVED", "SENT" };
    struct table table = table_begin(titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; i < count; i++) {
        const struct admin_listener view = source->listener(source->owner, i);
        const struct counters *counters = view.counters;
        table_add_text(&table, view.name);
        table_add_number(&table, counters->accepted);
        table_add_number(&table, counters->refused);
        table_add_number(&table, counters->requests);
        table_add_number(&table, counters->answered);
        table_add_number(&table, counters_sum(counters->failures));
        table_add_bytes(&table, counters->bytes_from_clients);
        table_add_bytes(&table, counters->bytes_to_clients);
    }
    table_print(&table, out);
}

/* What went wrong last, and how long ago that was. */
static void table_add_failure(struct table *table, const struct service_target *target)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = { { "d", 86400 }, { "h", 3600 }, { "min", 60 }, { "s", 1 } };
    char text[256];
    int64_t age = (clock_now() - target->failed) / 1000000;
    size_t unit = 0;
    while (unit < 3 && age < 2 * units[unit].seconds)
        unit++;
    snprintf(text, sizeof text, "%" PRId64 " %s ago: %s", age / units[unit].seconds, units[unit].name,
             target->failure);
    table_add_text(table, target->failed == 0 ? "" : text);
}

static void table_add_target(struct table *table, const struct admin_source *source, size_t listener,
                             size_t index)
{
    char name[ADMIN_NAME_SIZE];
    const struct service_target target = source->target(source->owner, listener, index);
    const struct target_counters *counters = target.counters;
    table_add_text(table, admin_target_name(source, listener, index, name));
    table_add_text(table, target.state);
    table_add_number(table, target.gauges.connections);
    table_add_number(table, target.gauges.in_flight);
    table_add_number(table, counters->opened);
    table_add_number(table, counters_sum(counters->connect_failures));
    table_add_number(table, counters->answered);
    table_add_number(table, counters_sum(counters->failures));
    table_add_time(table, &counters->connect, 0.5);
    table_add_failure(table, &target);
}

/* The line of a listener whose targets stand with another one; there are so many columns in all. */
static void table_add_door(struct table *table, const struct admin_listener *door, size_t columns)
{
    char text[ADMIN_NAME_SIZE];
    snprintf(text, sizeof text, "those of %s", door->targets_of);
    table_add_text(table, door->name);
    table_add_text(table, text);
    for (size_t i = 2; i < columns; i++)
        table_add_text(table, "");
}

static void table_print_targets(const struct admin_source *source, size_t count, struct buffer *out)
{
    static const char *const titles[] = { "LISTENER",  "TARGET",      "STATE",       "CONNECTIONS",
                                          "IN FLIGHT", "OPENED",      "NOT OPENED",  "ANSWERED",
                                          "FAILED",    "CONNECT P50", "LAST FAILURE" };
    struct table table = table_begin(titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; i < count; i++) {
        const struct admin_listener view = source->listener(source->owner, i);
        if (view.targets_of != NULL)
            table_add_door(&table, &view, sizeof titles / sizeof titles[0]);
        for (size_t k = 0; k < view.targets; k++) {
            table_add_text(&table, view.name);
            table_add_target(&table, source, i, k);
        }
    }
    table_print(&table, out);
}

static void table_print_errors(struct buffer *out)
{
    struct log_recent lines[LOG_RECENT_COUNT];
    size_t count = log_recent(lines);
    for (size_t i = 0; i < count && i < ERRORS_SHOWN; i++) {
        table_print_moment(out, lines[i].time);
        buffer_print(out, " %s ", lines[i].kind == LOG_KIND_ERROR ? "error" : "warning");
        table_append_escaped(out, lines[i].source);
        buffer_append_text(out, lines[i].source[0] == '\0' ? "" : ": ");
        table_append_escaped(out, lines[i].message);
        buffer_append_text(out, "\n");
    }
}

void status_print_table(const struct admin_source *source, const struct history_book *book,
                        struct buffer *out)
{
    const struct admin_process process = source->process(source->owner);
    table_print_process(&process, out);
    table_print_listeners(source, book, process.listeners, out);
    table_print_totals(source, process.listeners, out);
    table_print_targets(source, process.listeners, out);
    table_print_errors(out);
    buffer_append_text(out, "times are milliseconds: of the last minutes, those to connect of all time\n");
}
