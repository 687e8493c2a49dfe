#include "harness/sysbench.h"

#include "harness/database.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGUMENTS = 16, ARGUMENT_SIZE = 64 };

/* The server, and what is to be asked of it. */
static size_t write_arguments(const struct sysbench_options *options, char (*arguments)[ARGUMENT_SIZE])
{
    size_t count = 0;
    snprintf(arguments[count++], ARGUMENT_SIZE, "--db-driver=%s", options->driver);
    snprintf(arguments[count++], ARGUMENT_SIZE, "--%s-host=127.0.0.1", options->driver);
    snprintf(arguments[count++], ARGUMENT_SIZE, "--%s-port=%u", options->driver, options->port);
    snprintf(arguments[count++], ARGUMENT_SIZE, "--%s-user=" DATABASE_USER, options->driver);
    snprintf(arguments[count++], ARGUMENT_SIZE, "--%s-password=" DATABASE_PASSWORD, options->driver);
    snprintf(arguments[count++], ARGUMENT_SIZE, "--%s-db=%s", options->driver, options->database);
    snprintf(arguments[count++], ARGUMENT_SIZE, "--db-ps-mode=%s", options->prepared_mode);
    snprintf(arguments[count++], ARGUMENT_SIZE, "--threads=%u", options->threads);
    snprintf(arguments[count++], ARGUMENT_SIZE, "--events=%zu", options->events);
    snprintf(arguments[count++], ARGUMENT_SIZE, "--time=0");
    snprintf(arguments[count++], ARGUMENT_SIZE, "--tables=2");
    snprintf(arguments[count++], ARGUMENT_SIZE, "--table-size=1000");
    return count;
}

bool sysbench_is_installed(void)
{
    char path[256];
    return process_find_command("sysbench", NULL, path, sizeof(path));
}

size_t sysbench_run(struct fixture *fixture, const struct sysbench_options *options)
{
    static const char *const environment[] = { "PGOPTIONS=-c log_statement=all", NULL };
    static const char total[] = "total:";
    static char output[16384];
    char texts[ARGUMENTS][ARGUMENT_SIZE], path[FIXTURE_PATH];
    const char *arguments[ARGUMENTS + 3] = { "sysbench", options->script };
    size_t count = write_arguments(options, texts);

    for (size_t i = 0; i < count; i++)
        arguments[i + 2] = texts[i];
    arguments[count + 2] = options->command;
    int status = process_run(&(struct process_options){ .arguments = arguments,
                                                        .environment = environment,
                                                        .output = fixture_path(fixture, "sysbench", path) },
                             6 * TEST_PATIENCE, output, sizeof(output));
    test_require(status == 0, "sysbench ended with status %d: %s", status, output);
    const char *queries = strstr(output, total);
    return queries != NULL ? strtoul(queries + strlen(total), NULL, 10) : 0;
}
