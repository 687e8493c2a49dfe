#include "base/clock.h"

#include <stdio.h>

void clock_print(int64_t wall, char *text)
{
    const time_t seconds = (time_t)(wall / 1000);
    struct tm utc;
    size_t length = 0;
    if (gmtime_r(&seconds, &utc) != NULL)
        length = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + length, CLOCK_TEXT_SIZE - length, ".%03dZ", (int)(wall % 1000));
}
