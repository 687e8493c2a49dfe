/* Addresses as configurations name them: what is understood is printed as a text that means the same. */
#include "fuzz/fuzz.h"

#include "net/address.h"

static void try_endpoint(const char *text)
{
    struct endpoint endpoint, again, copy;
    char error[256], printed[1024];

    if (!endpoint_parse(text, &endpoint, error, sizeof(error))) {
        FUZZ_REQUIRE(memchr(error, '\0', sizeof(error)) != NULL && error[0] != '\0');
        return;
    }
    endpoint_print(&endpoint, printed, sizeof(printed));
    FUZZ_REQUIRE(endpoint_parse(printed, &again, error, sizeof(error)));
    FUZZ_REQUIRE(endpoint_equal(&endpoint, &again));
    FUZZ_REQUIRE(endpoint_copy(&endpoint, &copy));
    FUZZ_REQUIRE(endpoint_equal(&endpoint, &copy));
    endpoint_free(&copy);
    endpoint_free(&again);
    endpoint_free(&endpoint);
}

static void try_host(const char *text)
{
    struct endpoint endpoint;
    char error[256];

    if (endpoint_make(text, 1, &endpoint, error, sizeof(error)))
        endpoint_free(&endpoint);
}

static void try_address(const char *text)
{
    struct address address, again;
    char printed[ADDRESS_TEXT_SIZE];
    char *end;

    if (!address_parse(text, &address))
        return;
    FUZZ_REQUIRE(address_compare(&address, &address) == 0);
    address_set_port(&address, 443);
    FUZZ_REQUIRE(address_port(&address) == 443);
    address_print(&address, printed);
    end = strrchr(printed, ':');
    FUZZ_REQUIRE(end != NULL && strcmp(end, ":443") == 0);
    *end = '\0';
    if (printed[0] == '[') {
        FUZZ_REQUIRE(end[-1] == ']');
        end[-1] = '\0';
        memmove(printed, printed + 1, strlen(printed));
    }
    FUZZ_REQUIRE(address_parse(printed, &again));
    FUZZ_REQUIRE(address_compare_host(&address, &again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);

    try_endpoint(text);
    try_host(text);
    try_address(text);
    free(text);
    return 0;
}
