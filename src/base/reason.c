#include "base/reason.h"

static const struct {
    const char *name;
    enum reason_class class;
    const char *phrase;
} reasons[REASON_COUNT] = {
#define REASON_ROW(word, name, class, phrase) [REASON_##word] = { name, REASON_CLASS_##class, phrase },
    REASONS(REASON_ROW)
#undef REASON_ROW
};

const char *reason_name(enum reason reason)
{
    return reasons[reason].name;
}

const char *reason_phrase(enum reason reason)
{
    return reasons[reason].phrase;
}

enum reason_class reason_class(enum reason reason)
{
    return reasons[reason].class;
}
