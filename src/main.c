/* The command line. */
#include "admin/admin.h"
#include "config/config.h"
#include "config/parsed.h"
#include "events/events.h"
#include "server/privileges.h"
#include "server/server.h"

#include <ares.h>
#include <errno.h>
#include <ev.h>
#include <getopt.h>
#include <libconfig.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum action { ACTION_RUN, ACTION_TEST, ACTION_DUMP };

/* The value of an option without a letter. */
#define OPTION_JSON 256

struct command_line {
    enum action action;
    bool asks_running; /* the running instance is what is asked */
    bool json;
    struct server_options server;
};

static void print_usage(FILE *stream)
{
    fputs("Usage: proximux [-c FILE] [-t | -T | -s [--json]] [-d] [-p FILE] [-l LEVEL] [-V] [-h]\n"
          "TCP proxy: pairs the clients of its listeners with target connections.\n"
          "\n"
          "  -c, --config FILE      the configuration; default " SYSCONFDIR "/proximux.conf\n"
          "  -t, --test             check the configuration and exit: 0 if it is right, else 1\n"
          "  -T, --dump             print the effective configuration, each value with its origin\n"
          "  -s, --status           ask the running instance, and print its state;\n"
          "                         with -T, the configuration that it runs on\n"
          "      --json             with -s: as JSON\n"
          "  -d, --daemon           go to the background once every listener is bound\n"
          "  -p, --pid-file FILE    write the process number there; overrides pid_file\n"
          "  -l, --log-level LEVEL  none, error, info or debug; overrides file and environment\n"
          "  -V, --version          print the versions of the program and its libraries\n"
          "  -h, --help             print this\n"
          "\n"
          "See proximux(8), proximux.conf(5) and proximux-admin(7).\n",
          stream);
}

static void print_version(void)
{
    printf("proximux %s\nlibev %d.%d, libconfig %d.%d.%d, c-ares %s, libmicrohttpd %s\n", PACKAGE_VERSION,
           ev_version_major(), ev_version_minor(), LIBCONFIG_VER_MAJOR, LIBCONFIG_VER_MINOR,
           LIBCONFIG_VER_REVISION, ares_version(NULL), MHD_get_version());
}

static int usage_error(const char *message, const char *argument)
{
    fprintf(stderr, "proximux: %s%s\nTry \"proximux --help\".\n", message, argument);
    return EXIT_FAILURE;
}

/* Returns -1 to go on, else the exit status. */
static int parse_command_line(int count, char **arguments, struct command_line *command)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "test", no_argument, NULL, 't' },
        { "dump", no_argument, NULL, 'T' },
        { "status", no_argument, NULL, 's' },
        { "json", no_argument, NULL, OPTION_JSON },
        { "daemon", no_argument, NULL, 'd' },
        { "pid-file", required_argument, NULL, 'p' },
        { "log-level", required_argument, NULL, 'l' },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { 0 },
    };
    int option;
    while ((option = getopt_long(count, arguments, "c:tTsdp:l:Vh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            command->server.source.file = optarg;
            command->server.source.file_optional = false;
            break;
        case 't':
        case 'T':
            if (command->action == (option == 't' ? ACTION_DUMP : ACTION_TEST))
                return usage_error("-t and -T exclude each other", "");
            command->action = option == 't' ? ACTION_TEST : ACTION_DUMP;
            break;
        case 's':
            command->asks_running = true;
            break;
        case OPTION_JSON:
            command->json = true;
            break;
        case 'd':
            command->server.daemon = true;
            break;
        case 'p':
            command->server.pid_file = optarg;
            break;
        case 'l':
            command->server.source.log_level = optarg;
            break;
        case 'V':
            print_version();
            return EXIT_SUCCESS;
        case 'h':
            print_usage(stdout);
            return EXIT_SUCCESS;
        default: /* getopt has said what is wrong */
            fputs("Try \"proximux --help\".\n", stderr);
            return EXIT_FAILURE;
        }
    }
    if (optind < count)
        return usage_error("unexpected argument: ", arguments[optind]);
    if (command->asks_running && command->action == ACTION_TEST)
        return usage_error("-s and -t exclude each other", "");
    if (command->json && (!command->asks_running || command->action == ACTION_DUMP))
        return usage_error("--json goes with -s alone", "");
    if (command->server.pid_file != NULL && command->server.pid_file[0] != '/')
        return usage_error("--pid-file needs an absolute path, not ", command->server.pid_file);
    return -1;
}

static int test_configuration(const struct config *config)
{
    char text[SETTINGS_AUTO_SIZE];
    const struct settings *settings = config->settings;
    for (size_t i = 0; i < config->parsed->file_count; i++)
        if (!privileges_can_read(settings, config->parsed->files[i]))
            fprintf(stderr, "%s: warning: user \"%s\" can't read it: %s\n", config->parsed->files[i],
                    settings->user, strerror(errno));
    for (size_t i = 0; i < settings->listener_count; i++) {
        const struct listener_settings *listener = settings->listeners[i];
        if (listener->mode_was_auto)
            printf("listener \"%s\": %s\n", listener->name,
                   settings_explain_auto(listener, text, sizeof text));
    }
    puts("The configuration is right.");
    return EXIT_SUCCESS;
}

static int end_of_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_SUCCESS;
    fprintf(stderr, "proximux: standard output: %s\n", strerror(errno));
    return EXIT_FAILURE;
}

/* Prints what the running instance answers. What else is wrong with the configuration is no matter here. */
static int ask_instance(const struct command_line *command, const struct config *config)
{
    struct buffer body = { 0 };
    char error[ADMIN_ASK_ERROR_SIZE];
    const char *path = command->action == ACTION_DUMP ? "/config"
                       : command->json                ? "/status.json"
                                                      : "/status.txt";
    struct listener_settings *admin = config_find_admin(config);
    if (admin == NULL) {
        if (config->settings == NULL)
            config_print_problems(config, stderr);
        fputs("proximux: no instance can be asked: the configuration has no admin.listen\n", stderr);
        return EXIT_FAILURE;
    }
    bool success = admin_ask(admin, path, &body, error);
    if (success)
        fwrite(buffer_bytes(&body), 1, body.length, stdout);
    else
        fprintf(stderr, "proximux: no running instance answers at %s\n", error);
    listener_settings_release(admin);
    buffer_free(&body);
    return success ? end_of_output() : EXIT_FAILURE;
}

/* Takes over `events`. A server that starts says its warnings in the log. */
static int act(struct command_line *command, struct config *config, struct events *events)
{
    int status = EXIT_FAILURE;
    if (config->errors > 0 || command->action != ACTION_RUN)
        config_print_problems(config, stderr);
    if (config->errors == 0 && command->action == ACTION_RUN) {
        command->server.events = events;
        return server_run(config, &command->server);
    }
    if (config->errors == 0 && command->action == ACTION_TEST) {
        status = test_configuration(config);
    } else if (config->errors == 0) {
        config_dump(config, stdout);
        status = end_of_output();
    }
    events_release(events);
    return status;
}

int main(int count, char **arguments)
{
    struct command_line command = {
        .server = {
            .arguments = arguments,
            .source = { .file = SYSCONFDIR "/proximux.conf", .file_optional = true, .environment = environ },
        },
    };
    /* Writing to a terminal or pipe that has gone is an error to report, not a reason to die. */
    signal(SIGPIPE, SIG_IGN);
    int status = parse_command_line(count, arguments, &command);
    if (status != -1)
        return status;
    if (command.action == ACTION_RUN && !command.asks_running)
        server_hold_signals();
    struct config config;
    config_load(&command.server.source, &config);
    status =
        command.asks_running ? ask_instance(&command, &config) : act(&command, &config, events_load(&config));
    config_free(&config);
    return status;
}
