/* Configurations: the text of a file in, either settings or a named error out. What -T prints of a right one
 * is right as well. */
#include "fuzz/fuzz.h"

#include "config/config.h"

#include <sys/mman.h>
#include <unistd.h>

/* Makes a file of the text and loads it. */
static void load(const char *text, size_t size, struct config *config)
{
    char *no_environment[] = { NULL };
    char path[64];
    struct config_source source = { .file = path, .environment = no_environment };
    int file = memfd_create("configuration", MFD_CLOEXEC);

    FUZZ_REQUIRE(file != -1);
    FUZZ_REQUIRE(write(file, text, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    config_load(&source, config);
    close(file);
}

static void load_again(const struct config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    struct config again;

    FUZZ_REQUIRE(stream != NULL);
    config_dump(config, stream);
    FUZZ_REQUIRE(fclose(stream) == 0);
    load(text, size, &again);
    if (again.settings == NULL) {
        fprintf(stderr, "what was printed is refused:\n%s\n", text);
        config_print_problems(&again, stderr);
    }
    FUZZ_REQUIRE(again.settings != NULL);
    FUZZ_REQUIRE(again.settings->listener_count == config->settings->listener_count);
    config_free(&again);
    free(text);
}

static void check_problems(const struct config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    FUZZ_REQUIRE(stream != NULL);
    config_print_problems(config, stream);
    FUZZ_REQUIRE(fclose(stream) == 0);
    FUZZ_REQUIRE((config->settings == NULL) == (config->errors > 0));
    FUZZ_REQUIRE(config->errors == 0 || size > 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    struct config config;

    /* Includes and address lists may name any file of the machine; reading some of these never ends. */
    if (strstr(text, "@include") == NULL && strstr(text, "file:") == NULL) {
        load(text, size, &config);
        check_problems(&config);
        if (config.settings != NULL)
            load_again(&config);
        config_free(&config);
    }
    free(text);
    return 0;
}
