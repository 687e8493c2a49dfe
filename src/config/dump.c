/* The completed configuration in the syntax of the file, each value followed by a comment that names its origin. */
#include "config/config.h"
#include "config/parsed.h"

#include <inttypes.h>
#include <string.h>

#define INDENT "                        "

/* Shown in place of passwords. */
#define SECRET "(hidden)"

/* The state of a dump: its stream, and the depth of the present group. */
struct dump {
    FILE *stream;
    int depth;
    const struct listener_settings *listener; /* the one being dumped, or NULL */
};

static void dump_indent(const struct dump *dump)
{
    fprintf(dump->stream, "%.*s", 4 * dump->depth, INDENT);
}

/* The first and the last line of a group or of a list of groups. */
static void dump_open(struct dump *dump, const char *name, const char *bracket)
{
    dump_indent(dump);
    fprintf(dump->stream, "%s%s\n", name, bracket);
    dump->depth++;
}

static void dump_close(struct dump *dump, const char *bracket)
{
    dump->depth--;
    dump_indent(dump);
    fprintf(dump->stream, "%s\n", bracket);
}

static void dump_string(const struct dump *dump, const char *text)
{
    fputc('"', dump->stream);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(dump->stream, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(dump->stream, "\\x%02x", c);
        else
            fputc(c, dump->stream);
    }
    fputc('"', dump->stream);
}

/* The comment at the end of a line, without its end. */
static void dump_origin(const struct dump *dump, const struct origin *origin)
{
    char text[512];
    origin_print(origin, text, sizeof text);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20) /* a file's name must not end the comment */
            *c = '?';
    fprintf(dump->stream, "  # %s", text);
}

static void dump_items(struct dump *dump, const struct key *key, const struct parsed_value *value)
{
    if (value->count == 0) {
        dump_indent(dump);
        fprintf(dump->stream, "%s = [];", key->name);
        dump_origin(dump, &value->origin);
        fputc('\n', dump->stream);
        return;
    }
    dump_open(dump, key->name, " = [");
    for (size_t i = 0; i < value->count; i++) {
        dump_indent(dump);
        dump_string(dump, value->items[i].text);
        if (i + 1 < value->count)
            fputc(',', dump->stream);
        dump_origin(dump, &value->items[i].origin);
        fputc('\n', dump->stream);
    }
    dump_close(dump, "];");
}

/* The remark on a value that follows its origin. */
static void dump_note(const struct dump *dump, const struct key *key, const struct parsed_value *value)
{
    const struct listener_settings *listener = dump->listener;
    if (listener != NULL && listener->mode_was_auto && strcmp(key->name, "mode") == 0) {
        fprintf(dump->stream, ", which means \"%s\" here", settings_mode_name(listener->mode));
        return;
    }
    if (key->protocol_default != 0 && value->origin.kind == ORIGIN_DEFAULT)
        fputs(" by protocol", dump->stream);
    if (listener != NULL && !settings_has_effect(listener, key))
        fputs(", without effect in this mode", dump->stream);
}

static void dump_value(struct dump *dump, const struct key *key, const struct parsed_value *value)
{
    if (key->type == KEY_STRINGS) {
        dump_items(dump, key, value);
        return;
    }
    dump_indent(dump);
    fprintf(dump->stream, "%s = ", key->name);
    if (key->type == KEY_STRING)
        dump_string(dump, key->is_secret ? SECRET : value->string);
    else if (key->type == KEY_CHOICE)
        dump_string(dump, key->choices[value->number]);
    else if (key->type == KEY_BOOLEAN)
        fputs(value->number != 0 ? "true" : "false", dump->stream);
    else
        fprintf(dump->stream, "%" PRId64 "%s", value->number, value->number > INT32_MAX ? "L" : "");
    fputc(';', dump->stream);
    dump_origin(dump, &value->origin);
    dump_note(dump, key, value);
    fputc('\n', dump->stream);
}

/* Whether a group has no key but `type`, so that the name of the choice says the same. */
static bool is_plain_choice(const struct parsed_group *group)
{
    const struct key *key;
    const struct parsed_value *value;
    for (size_t i = 1; (value = parsed_at(group, i, &key)) != NULL; i++) /* the first is `type` */
        if (value->set)
            return false;
    return true;
}

static void dump_group(struct dump *dump, const struct parsed_group *group);

static void dump_members(struct dump *dump, const struct key *key, const struct parsed_value *value)
{
    if (key->type == KEY_CHOICE && is_plain_choice(value->group)) {
        dump_value(dump, key, value);
        return;
    }
    dump_open(dump, key->name, " = {");
    dump_group(dump, value->group);
    dump_close(dump, "};");
}

static void dump_targets(struct dump *dump, const struct parsed_group *listener)
{
    dump_open(dump, "targets", " = (");
    for (size_t i = 0; i < listener->child_count; i++) {
        dump_open(dump, "", "{");
        dump_group(dump, listener->children[i]);
        dump_close(dump, i + 1 < listener->child_count ? "}," : "}");
    }
    dump_close(dump, ");");
}

static void dump_group(struct dump *dump, const struct parsed_group *group)
{
    const struct key *key;
    const struct parsed_value *value;
    for (size_t i = 0; (value = parsed_at(group, i, &key)) != NULL; i++) {
        if (value->set && value->group != NULL)
            dump_members(dump, key, value);
        else if (key->type != KEY_STRUCTURE && value->set)
            dump_value(dump, key, value);
        else if (strcmp(key->name, "targets") == 0 && group->child_count > 0)
            dump_targets(dump, group);
    }
}

/* Modules have no word for a key that is secret: by its name it is, if that is, or ends with, one of these. */
static bool is_secret_name(const char *name)
{
    static const char *const words[] = { "password", "passwd", "passphrase", "secret", "token", "key" };
    const char *last = strrchr(name, '_');
    last = last == NULL ? name : last + 1;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(last, words[i]) == 0)
            return true;
    return false;
}

static void dump_extra(struct dump *dump, const struct parsed_extra *extra)
{
    const struct key key = {
        .name = extra->name,
        .type = extra->type,
        .is_secret = is_secret_name(extra->name),
    };
    dump_value(dump, &key, &extra->value);
}

static void dump_modules(struct dump *dump, const struct parsed_configuration *parsed)
{
    if (parsed->module_count == 0)
        return;
    dump_open(dump, "modules", " = (");
    for (size_t i = 0; i < parsed->module_count; i++) {
        const struct parsed_module *module = &parsed->modules[i];
        dump_open(dump, "", "{");
        dump_group(dump, module->group);
        for (size_t k = 0; k < module->extra_count; k++)
            dump_extra(dump, &module->extras[k]);
        dump_close(dump, i + 1 < parsed->module_count ? "}," : "}");
    }
    dump_close(dump, ");");
}

void config_dump(const struct config *config, FILE *stream)
{
    const struct parsed_configuration *parsed = config->parsed;
    struct dump dump = { .stream = stream };
    dump_open(&dump, "log", " = {");
    dump_group(&dump, parsed->log);
    dump_close(&dump, "};");
    dump_open(&dump, "admin", " = {");
    dump_group(&dump, parsed->admin);
    dump_close(&dump, "};");
    dump_group(&dump, parsed->global);
    dump_modules(&dump, parsed);
    dump_open(&dump, "listeners", " = (");
    for (size_t i = 0; i < parsed->listener_count; i++) {
        dump.listener = config->settings->listeners[i];
        dump_open(&dump, "", "{");
        dump_group(&dump, parsed->listeners[i]);
        dump_close(&dump, i + 1 < parsed->listener_count ? "}," : "}");
    }
    dump_close(&dump, ");");
}
