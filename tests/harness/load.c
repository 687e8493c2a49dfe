#include "harness/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* With -t: so many transactions, and all of them. (With -T its time runs while it still logs in.) */
static size_t read_pgbench(const char *output)
{
    static const char failed[] = "number of failed transactions: 0 (0.000%)";
    static const char *const signs[] = { "aborted", "rror", "Reset", "reset", "unexpectedly", NULL };
    size_t processed = 0, wanted = 0;
    const char *found = strstr(output, "number of transactions actually processed: ");

    for (size_t i = 0; signs[i] != NULL; i++)
        if (strstr(output, signs[i]) != NULL)
            return 0;
    if (found == NULL || strstr(output, failed) == NULL)
        return 0;
    sscanf(strchr(found, ':'), ": %zu/%zu", &processed, &wanted);
    return processed == wanted ? processed : 0;
}

/* With --csv: a head, and a line for each of the tests that have come to their end. Their requests are what
 * the command line asks for, since it ends otherwise if one of them fails. */
static size_t read_redis_benchmark(const char *output, const char *const *arguments)
{
    size_t lines = 0, requests = 0;

    if (strstr(output, "rror") != NULL || strstr(output, "onnection reset") != NULL)
        return 0;
    for (const char *line = strchr(output, '\n'); line != NULL; line = strchr(line + 1, '\n'))
        lines += line[1] == '"';
    for (size_t i = 0; arguments[i] != NULL; i++)
        if (strcmp(arguments[i], "-n") == 0)
            requests = strtoul(arguments[i + 1], NULL, 10);
    return lines * requests;
}

/* It has lines about errors only if there were any. */
static size_t read_wrk(const char *output)
{
    size_t requests = 0;
    const char *found = strstr(output, " requests in ");

    if (found == NULL || strstr(output, "Socket errors") != NULL || strstr(output, "Non-2xx") != NULL)
        return 0;
    while (found > output && found[-1] >= '0' && found[-1] <= '9')
        found--;
    requests = strtoul(found, NULL, 10);
    return requests;
}

static size_t read_report(const struct load *load, const char *output)
{
    switch (load->kind) {
    case LOAD_PGBENCH:
        return read_pgbench(output);
    case LOAD_REDIS_BENCHMARK:
        return read_redis_benchmark(output, load->arguments);
    case LOAD_WRK:
        break;
    }
    return read_wrk(output);
}

void load_start_at(struct load *load, const struct fixture *fixture, struct place place)
{
    char path[FIXTURE_PATH];

    fixture_path(fixture, load->name, path);
    unlink(path);
    load->process = process_start(&(struct process_options){
        .arguments = load->arguments, .environment = load->environment, .output = path });
    if (load->process == -1) {
        load->process = 0;
        test_fail_at(place, "could not start %s", load->arguments[0]);
    }
}

bool load_has_ended_at(struct load *load, const struct fixture *fixture, struct place place)
{
    static char output[65536];
    char path[FIXTURE_PATH];
    int status;

    if (load->process == 0)
        return true;
    if (!process_wait(load->process, 0, &status))
        return false;
    load->process = 0;
    process_read_file(fixture_path(fixture, load->name, path), output, sizeof(output));
    size_t requests = read_report(load, output);
    if (status != 0 || requests == 0)
        test_fail_at(place, "%s, round %zu, ended with status %d: %s", load->name, load->rounds + 1, status,
                     output);
    load->rounds++;
    load->requests += requests;
    return true;
}
