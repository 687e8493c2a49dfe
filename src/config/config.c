#include "config/config.h"

#include "base/log.h"
#include "config/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void config_read_sources(const struct config_source *source, struct parsed_configuration *parsed)
{
    const struct origin file = { .kind = ORIGIN_FILE, .name = source->file };
    const struct origin option = { .kind = ORIGIN_COMMAND_LINE, .name = "--log-level" };
    bool is_there = !source->file_optional || access(source->file, F_OK) == 0 || errno != ENOENT;
    if (is_there)
        parsed_read_file(parsed, source->file);
    parsed_read_environment(parsed, source->environment);
    if (source->log_level != NULL)
        parsed_read(parsed, keys_find(&keys_log, "level", NULL), source->log_level, &option,
                    parsed_get(parsed->log, "level"));
    if (is_there || parsed->listener_count > 0)
        return;
    parsed->is_unreadable = true;
    problem_error(parsed->problems, &file, NULL,
                  "there is no such file, and the environment defines no listener");
}

void config_load(const struct config_source *source, struct config *config)
{
    *config = (struct config){ .problems = calloc(1, sizeof *config->problems) };
    if (config->problems == NULL) {
        config->errors = 1;
        return;
    }
    config->parsed = parsed_create(config->problems);
    if (config->parsed != NULL) {
        config_read_sources(source, config->parsed);
        if (!config->parsed->is_unreadable) {
            parsed_complete(config->parsed);
            config->settings = check_configuration(config->parsed);
        }
    }
    config->errors = config->problems->errors;
}

void config_free(struct config *config)
{
    settings_free(config->settings);
    parsed_release(config->parsed);
    free(config->parsed);
    if (config->problems != NULL)
        problem_list_free(config->problems);
    free(config->problems);
    *config = (struct config){ 0 };
}

void config_print_problems(const struct config *config, FILE *stream)
{
    for (size_t i = 0; config->problems != NULL && i < config->problems->count; i++) {
        const struct problem *problem = &config->problems->problems[i];
        fprintf(stream, "%s%s%s: %s\n", problem->place == NULL ? "" : problem->place,
                problem->place == NULL ? "" : ": ", problem->is_error ? "error" : "warning", problem->text);
    }
    if (config->problems == NULL || config->problems->out_of_memory)
        fprintf(stream, "error: %s\n", strerror(ENOMEM));
}

void config_log_problems(const struct config *config, bool errors)
{
    for (size_t i = 0; config->problems != NULL && i < config->problems->count; i++) {
        const struct problem *problem = &config->problems->problems[i];
        if (problem->is_error == errors)
            log_write(errors ? LOG_KIND_ERROR : LOG_KIND_WARNING, NULL, "%s%s%s",
                      problem->place == NULL ? "" : problem->place, problem->place == NULL ? "" : ": ",
                      problem->text);
    }
    if (errors && (config->problems == NULL || config->problems->out_of_memory))
        log_error(NULL, "%s", strerror(ENOMEM));
}

struct listener_settings *config_find_admin(const struct config *config)
{
    if (config->settings != NULL)
        return config->settings->admin == NULL ? NULL : listener_settings_reference(config->settings->admin);
    if (config->parsed == NULL || config->parsed->is_unreadable)
        return NULL;
    return check_admin(config->parsed);
}
