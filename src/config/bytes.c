#include "config/bytes.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Reads the escape at `text`, which begins with a backslash. Returns how long it is; 0: it is none. */
static size_t bytes_escape(const char *text, char *byte)
{
    static const char letters[] = "nrt0\\";
    static const char meanings[] = "\n\r\t\0\\";
    if (text[1] == 'x' && isxdigit((unsigned char)text[2]) && isxdigit((unsigned char)text[3])) {
        *byte = (char)strtoul((char[]){ text[2], text[3], '\0' }, NULL, 16);
        return 4;
    }
    const char *letter = text[1] == '\0' ? NULL : strchr(letters, text[1]);
    if (letter == NULL)
        return 0;
    *byte = meanings[letter - letters];
    return 2;
}

bool bytes_decode(const char *text, struct slice *bytes, const char **wrong)
{
    char *decoded = malloc(strlen(text) + 1);
    size_t length = 0;
    *wrong = NULL;
    while (decoded != NULL && *text != '\0') {
        size_t taken = 1;
        if (*text != '\\')
            decoded[length] = *text;
        else
            taken = bytes_escape(text, &decoded[length]);
        if (taken == 0) {
            *wrong = text;
            free(decoded);
            return false;
        }
        text += taken;
        length++;
    }
    *bytes = (struct slice){ decoded, length };
    return decoded != NULL;
}
